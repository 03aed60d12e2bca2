//! A closed loop of S3 requests from one pinned thread: each connection sends its next request when the answer to the
//! last one is there. Prints one JSON object.
//!
//! Objects are made before the clock runs where the work reads or deletes them. What is read is compared with what was
//! written, byte for byte; listings have to name every key once and in order; an answer with another status than
//! expected ends the run with an error.
//!
//! # Whether the load is the limit
//! A load that has no time left measures itself. So each result says what share of its core the load used
//! (`load_busy`), and what share of one core the server did (`server_busy`); `perf/compare` marks results in which the
//! load was busy and the server was not. A request costs the load one `send` and one `recv`, as it costs the server, but
//! on the loopback the sender of the larger part pays for its way through the kernel: that is the server for GET, and
//! the load for PUT.

mod listing;
mod objects;
mod shared;
mod text;
mod uploads;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use serde_json::{Value, json};
use sluicegate_perf::content::Contents;
use sluicegate_perf::http::Connection;
use sluicegate_perf::ring;
use sluicegate_perf::sign::{Signer, amz_date};
use sluicegate_perf::stats::{Usage, median};

use self::listing::{delete_many, list};
use self::objects::{delete, get, head, put, put_signed, range};
use self::shared::{Heads, Options, Shared, Work, sign_put, take_next, timed, timed_as, usage};
use self::uploads::{complete, multipart};

fn main() {
    let options = Options::parse();
    let core = options.core;
    match ring::run(core, run(options)) {
        Ok(()) => {}
        Err(error) => {
            eprintln!("load: {error}");
            std::process::exit(1);
        }
    }
}

async fn run(options: Options) -> io::Result<()> {
    let address = options
        .address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the address has no host"))?;
    allow_descriptors(options.connections as u64 + 64)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
    let signer = Signer {
        access_key: options.access_key.clone(),
        secret: options.secret_key.clone(),
        host: options.address.clone(),
        amz_date: amz_date(now.as_secs()),
    };
    let contents = Contents::new(options.size_of_content());
    let heads = Heads::sign(&options, &signer, &contents);
    let shared = Rc::new(Shared {
        options,
        address,
        signer,
        contents,
        next: Cell::new(0),
        stop: Cell::new(false),
        measuring: Cell::new(false),
        stats: RefCell::default(),
        of_kind: RefCell::default(),
        completions: RefCell::default(),
        pages: RefCell::default(),
        heads,
        failure: RefCell::default(),
    });
    let Options { work, prepared, prepare_only, .. } = shared.options;
    let needs_objects = !matches!(work, Work::Put | Work::Multipart | Work::Complete);
    if needs_objects && !prepared {
        all_connections(&shared, Phase::Prepare).await?;
    }
    if prepare_only {
        println!("{}", json!({"objects": shared.options.objects}));
        return Ok(());
    }
    println!("{}", measure(&shared).await?);
    Ok(())
}

/// The work itself, and what there is to say about it.
async fn measure(shared: &Rc<Shared>) -> io::Result<Value> {
    let Options { work, size, connections, objects, .. } = shared.options;
    let finite = work.ends_by_itself(&shared.options);
    shared.measuring.set(finite);
    // From the first reading to the second: what ends between them counts, whenever it began, and nothing else does.
    let readings = Rc::new(Cell::new((Reading::now(shared), None)));
    if !finite {
        let (warmup, seconds) = (shared.options.warmup, shared.options.seconds);
        let (clock, taken) = (shared.clone(), readings.clone());
        drop(monoio::spawn(async move {
            monoio::time::sleep(Duration::from_secs_f64(warmup)).await;
            let began = Reading::now(&clock);
            clock.measuring.set(true);
            monoio::time::sleep(Duration::from_secs_f64(seconds)).await;
            clock.stop.set(true);
            taken.set((began, Some(Reading::now(&clock))));
        }));
    }
    all_connections(shared, Phase::Work).await?;
    let (began, end) = readings.get();
    let end = end.unwrap_or_else(|| Reading::now(shared));
    let seconds = end.at.duration_since(began.at).as_secs_f64();
    let used = end.server.zip(began.server).map(|(now, earlier)| now.since(earlier));
    let mut report = shared.stats.borrow().report(seconds, used);
    report["load_busy"] = json!(end.load.since(began.load).cpu.as_secs_f64() / seconds);
    if matches!(work, Work::Multipart | Work::Complete) {
        let completions = shared.completions.borrow().report(seconds, None);
        report["complete_p50_us"] = completions["p50_us"].clone();
        report["complete_p99_us"] = completions["p99_us"].clone();
        report["completions"] = completions["count"].clone();
    }
    for (kind, stats) in &*shared.of_kind.borrow() {
        report["operations"][kind] = stats.report(seconds, None);
    }
    if work == Work::List {
        let pages = shared.pages.borrow();
        let tenth = pages.len().div_ceil(10);
        report["listed"] = json!(pages.len().div_ceil(objects.div_ceil(1000)) * objects);
        report["list_seconds"] = json!(pages.iter().sum::<f64>() / 1e6);
        report["first_pages_us"] = json!(median(&pages[..tenth]));
        report["last_pages_us"] = json!(median(&pages[pages.len() - tenth..]));
    }
    report["work"] = json!(work.name());
    report["size"] = json!(size);
    report["connections"] = json!(connections);
    report["objects"] = json!(objects);
    Ok(report)
}

/// The clock, and what the two sides have used.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    load: Usage,
    server: Option<Usage>,
}

impl Reading {
    fn now(shared: &Shared) -> Reading {
        Reading { at: Instant::now(), load: Usage::own(), server: usage(shared) }
    }
}

/// What the connections are to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Prepare,
    Work,
}

async fn all_connections(shared: &Rc<Shared>, phase: Phase) -> io::Result<()> {
    shared.next.set(0);
    let connections = match shared.options.work {
        // Pages come one after the other: each needs the token of the last. Uploads without data are made one by one.
        Work::List | Work::Complete if phase == Phase::Work => 1,
        _ if phase == Phase::Prepare => PREPARING,
        _ => shared.options.connections,
    };
    let mut tasks = Vec::new();
    for number in 0..connections {
        let shared = shared.clone();
        tasks.push(monoio::spawn(async move {
            let done = match phase {
                Phase::Prepare => prepare(&shared).await,
                Phase::Work => work(&shared, number).await,
            };
            if let Err(error) = done {
                shared.stop.set(true);
                shared.failure.borrow_mut().get_or_insert(error);
            }
        }));
    }
    for task in tasks {
        task.await;
    }
    match shared.failure.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// One connection that makes objects.
async fn prepare(shared: &Shared) -> io::Result<()> {
    let mut connection = Connection::open(shared.address).await?;
    let objects = if shared.options.work == Work::Idle { 1 } else { shared.options.objects };
    while let Some(object) = take_next(shared, objects) {
        let head = sign_put(&shared.options, &shared.signer, &shared.contents, object);
        put_signed(&mut connection, &head, shared.contents.of(object)).await?;
    }
    Ok(())
}

/// One connection that works.
async fn work(shared: &Shared, number: usize) -> io::Result<()> {
    let mut connection = Connection::open(shared.address).await?;
    let options = &shared.options;
    match options.work {
        Work::List => list(shared, &mut connection).await,
        Work::Multipart => {
            while !shared.stop.get() {
                multipart(shared, &mut connection, number).await?;
            }
            Ok(())
        }
        Work::Complete => {
            let uploads = options.uploads.as_deref();
            let uploads = uploads.ok_or_else(|| io::Error::other("`complete` needs --uploads"))?;
            let began = Instant::now();
            while began.elapsed().as_secs_f64() < options.seconds {
                complete(shared, &mut connection, uploads).await?;
            }
            Ok(())
        }
        Work::Idle => {
            head(shared, &mut connection, 0).await?;
            while !shared.stop.get() {
                monoio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
        Work::Delete => {
            while let Some(object) = take_next(shared, options.objects) {
                timed(shared, delete(shared, &mut connection, object)).await?;
            }
            Ok(())
        }
        Work::DeleteMany => {
            while let Some(batch) = take_next(shared, options.objects.div_ceil(DELETE_KEYS)) {
                let objects = batch * DELETE_KEYS..((batch + 1) * DELETE_KEYS).min(options.objects);
                delete_many(shared, &mut connection, objects).await?;
            }
            Ok(())
        }
        Work::Get if options.once => {
            while let Some(object) = take_next(shared, options.objects) {
                timed(shared, get(shared, &mut connection, object)).await?;
            }
            Ok(())
        }
        Work::Put | Work::Get | Work::Head | Work::Range | Work::Mixed => {
            turns(shared, &mut connection).await
        }
    }
}

/// Requests for one object after the other, in turn with the other connections, until the time is over.
async fn turns(shared: &Shared, connection: &mut Connection) -> io::Result<()> {
    while !shared.stop.get() {
        let turn = shared.next.get();
        shared.next.set(turn + 1);
        let object = turn % shared.options.objects;
        let kind = pick(shared.options.work, turn);
        match kind {
            Work::Put => timed_as(shared, kind, put(shared, connection, object)).await?,
            Work::Get => timed_as(shared, kind, get(shared, connection, object)).await?,
            Work::Range => timed_as(shared, kind, range(shared, connection, object)).await?,
            Work::Delete => {
                // Gone and back at once, so that nobody else finds it missing for long: reads accept 404.
                timed_as(shared, kind, delete(shared, connection, object)).await?;
                put(shared, connection, object).await?;
            }
            _ => timed_as(shared, kind, head(shared, connection, object)).await?,
        }
    }
    Ok(())
}

/// The share of each operation in mixed work, by the turn.
fn pick(work: Work, turn: usize) -> Work {
    // 7919 has no factor in common with 100: each hundred of turns has each remainder once.
    match (work, turn.wrapping_mul(7919) % 100) {
        (Work::Mixed, 0..45) => Work::Get,
        (Work::Mixed, 45..75) => Work::Head,
        (Work::Mixed, 75..90) => Work::Put,
        (Work::Mixed, _) => Work::Delete,
        (other, _) => other,
    }
}

/// Takes as many descriptors as the connections need.
fn allow_descriptors(wanted: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })?)
}

const DELETE_KEYS: usize = 1000;
/// Connections that make objects.
const PREPARING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_work_has_its_shares() {
        let count = |work| (300..400).filter(|turn| pick(Work::Mixed, *turn) == work).count();
        assert_eq!([Work::Get, Work::Head, Work::Put, Work::Delete].map(count), [45, 30, 15, 10]);
        assert!((0..100).all(|turn| pick(Work::Range, turn) == Work::Range));
    }
}
