//! Writes the access log and the audit ([`crate::s3::journal`]): a thread for each file, and a task of the control thread
//! for the webhook. Those who are slow hold up neither the cores nor each other.
//!
//! Files are appended to, and opened again when they were moved away ([`Files::reopen`]). What cannot be written, because
//! the disk is full, is dropped and counted; so is what a webhook does not take.
//!
//! What waits when the server ends is written as long as the drain time allows. A crash of the process loses the lines of
//! the last moments, and one of the machine what the system had not written to the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use flume::Receiver;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::StartError;
use super::webhook::{self, Access, Target};
use crate::config::{Config, LogTarget};
use crate::s3::journal::{Journal, Outlet, ServerFacts, Sink};

/// Who is told, ready to begin.
pub struct Writers {
    files: Vec<(Arc<LogFile>, Outlet)>,
    webhook: Option<(Target, Outlet)>,
    calls: Option<Calls>,
}

/// How the webhook of the audit is called. It can be replaced while it is called.
#[derive(Clone)]
pub struct Calls {
    access: Arc<ArcSwap<Access>>,
    batch_max: Arc<AtomicUsize>,
}

/// The webhook of the audit as it is to be called, if there is one.
pub struct Prepared(Option<Access>);

impl Prepared {
    /// Reads its token and certificates.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn read(config: &Config) -> Result<Prepared, StartError> {
        let mut webhooks = webhook::prepare(config.audit_webhook.as_slice(), config.notify_ca.as_deref())?;
        Ok(Prepared(webhooks.pop()))
    }
}

impl Calls {
    /// From the next call on.
    pub fn change(&self, prepared: Prepared, batch_max: usize) {
        if let Prepared(Some(access)) = prepared {
            self.access.store(Arc::new(access));
        }
        self.batch_max.store(batch_max, Ordering::Relaxed);
    }
}

/// The files, for those who move them away.
#[derive(Clone, Default)]
pub struct Files(Vec<Arc<LogFile>>);

/// Those who are told.
pub struct Running {
    threads: Vec<Receiver<()>>,
    webhook: Option<JoinHandle<()>>,
}

impl Writers {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn prepare(config: &Config) -> Result<(Writers, Journal), StartError> {
        let mut journal = Journal::default();
        let mut files = Vec::new();
        if let Some(target) = &config.access_log {
            let (sink, outlet) = Sink::new("access_log");
            files.push((Arc::new(LogFile::open("--access-log", target)?), outlet));
            journal.access.push(sink);
        }
        if let Some(target) = &config.audit_log {
            let (sink, outlet) = Sink::new("audit_log");
            files.push((Arc::new(LogFile::open("--audit-log", target)?), outlet));
            journal.audit.push(sink);
        }
        let (mut webhook, mut calls) = (None, None);
        if let Prepared(Some(access)) = Prepared::read(config)? {
            let (sink, outlet) = Sink::new("audit_webhook");
            journal.audit.push(sink);
            let (target, access) = Target::new(access);
            calls = Some(Calls { access, batch_max: Arc::new(AtomicUsize::new(config.audit_batch)) });
            webhook = Some((target, outlet));
        }
        if !journal.audit.is_empty() {
            journal.server = ServerFacts {
                deployment_id: deployment_id(&config.root)?,
                region: config.region.clone(),
                host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            };
        }
        Ok((Writers { files, webhook, calls }, journal))
    }

    /// The files, to be opened again later.
    pub fn files(&self) -> Files {
        Files(self.files.iter().map(|(file, _)| file.clone()).collect())
    }

    /// How the webhook is called, to be changed later.
    pub fn calls(&self) -> Option<Calls> {
        self.calls.clone()
    }

    /// Begins. Runs inside a tokio runtime.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(self) -> io::Result<Running> {
        let mut threads = Vec::new();
        for (file, outlet) in self.files {
            // The end of the thread shows itself by the end of this queue.
            let (alive, ended) = flume::bounded(0);
            thread::Builder::new().name(outlet.name().into()).spawn(move || {
                write_all(&file, &outlet);
                drop(alive);
            })?;
            threads.push(ended);
        }
        let webhook = self.webhook.zip(self.calls);
        let webhook = webhook
            .map(|((target, outlet), calls)| tokio::spawn(deliver_all(target, outlet, calls.batch_max)));
        Ok(Running { threads, webhook })
    }
}

impl Running {
    /// Waits until everything that is queued is written, but not longer than this. Nobody writes any more.
    pub async fn finish(self, journal: &Journal, time: Duration) {
        let end = Instant::now() + time;
        journal.close();
        let mut is_whole = true;
        if let Some(webhook) = self.webhook {
            is_whole &= timeout(time, webhook).await.is_ok();
        }
        for ended in self.threads {
            is_whole &= !matches!(ended.recv_deadline(end), Err(flume::RecvTimeoutError::Timeout));
        }
        if !is_whole {
            tracing::warn!("the time to drain is over: lines of the access log or the audit are lost");
        }
    }
}

impl Files {
    /// Opens all files anew under their names, and makes those that are missing. One that cannot be opened is written to
    /// as before.
    ///
    /// # Errors
    /// What went wrong, as sentences.
    pub fn reopen(&self) -> Result<(), String> {
        let problems: Vec<String> = self.0.iter().filter_map(|file| file.reopen().err()).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}

/// A log that is written to.
struct LogFile {
    option: &'static str,
    path: Option<PathBuf>,
    open: Mutex<Open>,
}

struct Open {
    to: Destination,
    /// The last line is not whole: the disk was full.
    is_torn: bool,
}

enum Destination {
    Stdout,
    File(File),
}

impl LogFile {
    fn open(option: &'static str, target: &LogTarget) -> Result<LogFile, StartError> {
        let (path, to) = match target {
            LogTarget::Stdout => (None, Destination::Stdout),
            LogTarget::File(path) => {
                let file = append_to(path).map_err(|error| {
                    StartError::new(format!(
                        "cannot write to {}: {error}. Make its directory exist and writable for the user the server \
                         runs as, or give another file by {option}",
                        path.display()
                    ))
                })?;
                (Some(path.clone()), Destination::File(file))
            }
        };
        Ok(LogFile { option, path, open: Mutex::new(Open { to, is_torn: false }) })
    }

    fn reopen(&self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| {
            format!("the file of {} {} cannot be opened again: {error}", self.option, path.display())
        };
        let file = append_to(path).map_err(|error| failed(&error))?;
        let open = self.open.try_lock_for(REOPEN_TIME);
        let mut open = open.ok_or_else(|| failed(&"a write to it does not end"))?;
        *open = Open { to: Destination::File(file), is_torn: false };
        Ok(())
    }

    fn write(&self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock();
        let Open { to, is_torn } = &mut *open;
        if *is_torn {
            // What was begun is ended, so that what follows is whole lines again.
            to.write(b"\n")?;
        }
        *is_torn = true;
        to.write(lines)?;
        *is_torn = false;
        Ok(())
    }
}

impl Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Destination::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Destination::File(file) => file.write_all(bytes),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // Who may read it besides the server is for the administrator to say: names of users and keys stand in it.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Writes until the end of the queue.
fn write_all(file: &LogFile, outlet: &Outlet) {
    let mut is_failing = false;
    for sheet in outlet.sheets.iter().take_while(|sheet| !sheet.is_end()) {
        match file.write(&sheet.lines) {
            Ok(()) => {
                outlet.done(sheet.count, sheet.lines.len());
                if std::mem::take(&mut is_failing) {
                    tracing::info!(log = outlet.name(), "can be written to again");
                }
            }
            Err(error) => {
                outlet.dropped(sheet.count, sheet.lines.len());
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(log = outlet.name(), %error, "cannot be written to: lines are dropped");
                }
            }
        }
    }
}

/// Delivers until the end of the queue: one event with each call, or so many, each on a line of its own.
async fn deliver_all(mut target: Target, outlet: Outlet, batch_max: Arc<AtomicUsize>) {
    while let Ok(sheet) = outlet.sheets.recv_async().await {
        if sheet.is_end() {
            return;
        }
        let mut left = sheet.lines;
        while !left.is_empty() {
            let (batch, count) = take_lines(&mut left, batch_max.load(Ordering::Relaxed));
            let bytes = batch.len();
            match target.deliver(&batch).await {
                Ok(()) => outlet.done(count, bytes),
                Err(failure) => {
                    outlet.dropped(count, bytes);
                    tracing::warn!(target = target.name(), %failure, count, "audit events were given up");
                }
            }
        }
    }
}

/// Takes at most `count_max` lines off the front.
fn take_lines(lines: &mut Bytes, count_max: usize) -> (Bytes, u64) {
    let mut ends = memchr::memchr_iter(b'\n', lines).take(count_max);
    let (count, end) = ends.by_ref().fold((0, 0), |(count, _), end| (count + 1, end + 1));
    // Every line has its line feed; should one not, it must not be tried for ever.
    let end = if end == 0 { lines.len() } else { end };
    (lines.split_to(end), count)
}

/// The id of the data directory for receivers of audit events: made once, and kept in it.
fn deployment_id(root: &Path) -> Result<String, StartError> {
    let path = root.join(".sluicegate").join("deployment-id");
    let failed = |error: &dyn std::fmt::Display| {
        StartError::new(format!("cannot read or make {}: {error}", path.display()))
    };
    match std::fs::read_to_string(&path) {
        Ok(id) if is_uuid(id.trim_end()) => return Ok(id.trim_end().to_owned()),
        Ok(_) => return Err(failed(&"it holds no UUID. Remove it, and a new one is made")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(|error| failed(&error))?;
    let id = uuid(random);
    let aside = path.with_extension("new");
    let make = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        std::fs::rename(&aside, &path)
    };
    make().map_err(|error| failed(&error))?;
    Ok(id)
}

/// A UUID of random bits (RFC 9562, version 4).
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = format!("{:032x}", u128::from_be_bytes(random));
    for place in [20, 16, 12, 8] {
        text.insert(place, '-');
    }
    text
}

fn is_uuid(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_digit(byte),
        })
}

/// How long a write that is under way may hold up the opening of its file.
const REOPEN_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_in_batches() {
        let mut lines = Bytes::from_static(b"1\n22\n333\n");
        assert_eq!(take_lines(&mut lines, 2), (Bytes::from_static(b"1\n22\n"), 2));
        assert_eq!(take_lines(&mut lines, 2), (Bytes::from_static(b"333\n"), 1));
        assert!(lines.is_empty());
        let mut torn = Bytes::from_static(b"no end");
        assert_eq!(take_lines(&mut torn, 1), (Bytes::from_static(b"no end"), 0));
        assert!(torn.is_empty());
    }

    #[test]
    fn the_id_of_a_directory_stays() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(".sluicegate")).unwrap();
        let id = deployment_id(root.path()).unwrap();
        assert!(is_uuid(&id), "{id}");
        assert_eq!(deployment_id(root.path()), Ok(id));
        let other = tempfile::tempdir().unwrap();
        assert!(deployment_id(other.path()).unwrap_err().to_string().contains("deployment-id"));
        std::fs::write(root.path().join(".sluicegate/deployment-id"), "mine").unwrap();
        assert!(deployment_id(root.path()).unwrap_err().to_string().contains("no UUID"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let file = Arc::new(LogFile::open("--access-log", &LogTarget::File(path.clone())).unwrap());
        let files = Files(vec![file.clone()]);
        file.write(b"1\n").unwrap();
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        file.write(b"2\n").unwrap();
        files.reopen().unwrap();
        file.write(b"3\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "1\n2\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
        std::fs::remove_dir_all(directory.path()).unwrap();
        assert!(files.reopen().unwrap_err().contains("--access-log"));
        file.write(b"4\n").unwrap();
    }

    #[test]
    fn a_line_that_was_torn_is_ended_before_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = LogFile::open("--audit-log", &LogTarget::File(path.clone())).unwrap();
        file.write(b"{}\n").unwrap();
        // As a full disk leaves it: a part of a line is written, and the write fails.
        let full = LogFile {
            option: "--audit-log",
            path: None,
            open: Mutex::new(Open {
                to: Destination::File(File::open("/dev/null").unwrap()),
                is_torn: false,
            }),
        };
        assert!(full.write(b"{}\n").is_err(), "it is open for reading alone");
        assert!(full.open.lock().is_torn);
        file.open.lock().is_torn = true;
        file.write(b"{}\n").unwrap();
        assert!(!file.open.lock().is_torn);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n\n{}\n");
    }
}
