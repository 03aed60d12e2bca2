//! `sluicegate top`: what a running server does, anew each second.
//!
//! Reads the metrics on the admin socket, or at the address for monitors, and shows how they changed between two readings.
//! On a terminal the picture is drawn anew in place, on a screen of its own, so that Ctrl-C leaves what was there before;
//! elsewhere the pictures follow each other as plain text.
//!
//! In its directory: `page` (the metrics as they are read), `view` (what follows from two of them), `picture` (how that is
//! shown).

mod page;
mod picture;
mod view;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::page::Page;
use self::picture::Size;
use self::view::View;
use super::client::Client;
use super::{Failure, ServerArgs, refused};

/// The command line of `sluicegate top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Address of --monitor-listen of a running server; without it, the admin socket is asked
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["root", "admin_socket"])]
    monitor: Option<SocketAddr>,
    /// Show one picture, of one interval, and end
    #[arg(long)]
    once: bool,
    /// How long one picture stands, and what it is about: 1s to 60s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 1..=60) => Ok(Duration::from_secs(seconds)),
        _ => Err("write 1s to 60s".into()),
    }
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &TopArgs) -> Result<(), Failure> {
    let (client, path) = match args.monitor {
        Some(address) => (Client::of_monitor(address), "/metrics"),
        None => (args.server.client(), "/v1/metrics"),
    };
    let read = || client.text(path).map(|text| Reading { at: Instant::now(), page: Page::parse(&text) });
    let mut pause = Pause::new()?;
    let mut before = read()?;
    if args.once {
        pause.wait(args.interval);
        let after = read()?;
        return super::print(&picture::draw(&View::between(&before, &after), &Size::UNBOUNDED));
    }
    let mut screen = Screen::open();
    while pause.wait(args.interval) {
        let picture = match read() {
            Ok(after) => {
                let view = View::between(&before, &after);
                before = after;
                picture::draw(&view, &screen.size())
            }
            // It may be started again.
            Err(failure) => format!("{failure}\n"),
        };
        if screen.show(&picture).is_err() {
            // Nobody reads any more.
            break;
        }
    }
    Ok(())
}

/// Metrics, and when they were read.
struct Reading {
    at: Instant,
    page: Page,
}

/// Waits, or is told to end.
struct Pause {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Pause {
    fn new() -> Result<Pause, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| refused(&error))?;
        let listen = |kind| {
            let _inside = runtime.enter();
            signal(kind).map_err(|error| refused(&error))
        };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Pause { runtime, interrupt, terminate })
    }

    /// False if a signal said to end.
    fn wait(&mut self, time: Duration) -> bool {
        let Pause { runtime, interrupt, terminate } = self;
        runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(time) => true,
                _ = interrupt.recv() => false,
                _ = terminate.recv() => false,
            }
        })
    }
}

/// Where pictures are shown. Dropping it leaves a terminal as it was.
struct Screen {
    is_terminal: bool,
}

impl Screen {
    fn open() -> Screen {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            // The other screen, without a cursor.
            let _ = write!(io::stdout(), "\x1b[?1049h\x1b[?25l");
        }
        Screen { is_terminal }
    }

    fn size(&self) -> Size {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if self.is_terminal && size.ws_row > 0 && size.ws_col > 0 => {
                Size { rows: size.ws_row.into(), columns: size.ws_col.into() }
            }
            _ => Size::UNBOUNDED,
        }
    }

    fn show(&mut self, picture: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_terminal {
            // Over the old picture, so that nothing flickers: each line and the rest is cleared behind what is written.
            let lines = picture.trim_end().replace('\n', "\x1b[K\r\n");
            write!(out, "\x1b[H{lines}\x1b[K\x1b[J")?;
        } else {
            writeln!(out, "{picture}")?;
        }
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(io::stdout(), "\x1b[?25h\x1b[?1049l").and_then(|()| io::stdout().flush());
        }
    }
}
