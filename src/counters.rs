//! Counters of the data plane, one set for each core: written by that core alone with plain loads and stores, read by the
//! control plane at any time. Nothing on the way of a request waits for another core.
//!
//! What is read is consistent enough for a graph: a count and the histogram beside it may differ by a request.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The counters of one core.
pub struct Core {
    connections: AtomicI64,
    in_flight: AtomicI64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    kinds: [Kind; KINDS],
}

/// Requests of one operation that were answered with one status.
struct Kind {
    of: OnceLock<(&'static str, u16)>,
    count: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; LATENCY_BOUNDS.len()],
}

/// Upper bounds of the latency histogram. What takes longer than the last is in the total alone.
pub const LATENCY_BOUNDS: [Duration; 16] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Pairs of operation and status that a core tells apart: four times what all operations with their usual answers are.
/// Beyond it requests are counted under no name.
const KINDS: usize = 1024;

thread_local! {
    static OWN: Cell<&'static Core> = const { Cell::new(&NO_CORE) };
}

static NO_CORE: Core = Core::new();
static CORES: Mutex<Vec<&'static Core>> = Mutex::new(Vec::new());
static EXPIRED: AtomicU64 = AtomicU64::new(0);
static UPLOADS_EXPIRED: AtomicU64 = AtomicU64::new(0);
static NOTICES_DELIVERED: AtomicU64 = AtomicU64::new(0);
static NOTICES_DROPPED: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Gives this thread a set of counters of its own. Threads without one count, if they do at all, where nobody looks.
pub fn open() {
    // One for each worker for the life of the process.
    let core: &'static Core = Box::leak(Box::new(Core::new()));
    CORES.lock().unwrap_or_else(PoisonError::into_inner).push(core);
    OWN.set(core);
}

/// A connection was accepted; it ends when the value is dropped.
pub fn connected() -> Connected {
    let core = OWN.get();
    shift(&core.connections, 1);
    Connected(core)
}

/// A connection that is counted.
pub struct Connected(&'static Core);

impl Drop for Connected {
    fn drop(&mut self) {
        shift(&self.0.connections, -1);
    }
}

/// Bytes came from a peer.
pub fn received(bytes: usize) {
    add(&OWN.get().received_bytes, bytes as u64);
}

/// Bytes were given to the kernel for a peer.
pub fn sent(bytes: usize) {
    add(&OWN.get().sent_bytes, bytes as u64);
}

/// A request was read. It is under way until the value is dropped.
pub fn begun() -> Begun {
    let core = OWN.get();
    shift(&core.in_flight, 1);
    Begun { core, at: Instant::now() }
}

/// A request under way.
pub struct Begun {
    core: &'static Core,
    at: Instant,
}

impl Begun {
    /// It was answered: counts it under its operation and status.
    pub fn answered(self, operation: &'static str, status: u16) {
        let took = self.at.elapsed();
        let Some(kind) = self.core.kind(operation, status) else { return };
        add(&kind.count, 1);
        add(&kind.nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if let Some(bucket) = LATENCY_BOUNDS.iter().position(|bound| took <= *bound) {
            add(&kind.buckets[bucket], 1);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        shift(&self.core.in_flight, -1);
    }
}

impl Core {
    const fn new() -> Self {
        Self {
            connections: AtomicI64::new(0),
            in_flight: AtomicI64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            kinds: [const { Kind::new() }; KINDS],
        }
    }

    fn kind(&self, operation: &'static str, status: u16) -> Option<&Kind> {
        let start = (operation.as_ptr() as usize >> 3) ^ usize::from(status).wrapping_mul(31);
        (0..KINDS).map(|step| &self.kinds[(start + step) % KINDS]).find(|kind| {
            let (name, of) = *kind.of.get_or_init(|| (operation, status));
            of == status && (std::ptr::eq(name, operation) || name == operation)
        })
    }
}

impl Kind {
    const fn new() -> Self {
        Self {
            of: OnceLock::new(),
            count: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; LATENCY_BOUNDS.len()],
        }
    }
}

/// Only the core itself writes, so that no instruction with a lock is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

fn shift(gauge: &AtomicI64, by: i64) {
    gauge.store(gauge.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Lifecycle rules deleted so many objects and aborted so many uploads.
pub fn expired(objects: u64, uploads: u64) {
    EXPIRED.fetch_add(objects, Ordering::Relaxed);
    UPLOADS_EXPIRED.fetch_add(uploads, Ordering::Relaxed);
}

/// A notice was taken by its target.
pub fn notice_delivered() {
    NOTICES_DELIVERED.fetch_add(1, Ordering::Relaxed);
}

/// Notices were given up: a queue was full, or a target did not take them.
pub fn notices_dropped(count: u64) {
    NOTICES_DROPPED.fetch_add(count, Ordering::Relaxed);
}

/// A request's handler, or a job of the server's own, panicked.
pub fn panicked() {
    PANICS.fetch_add(1, Ordering::Relaxed);
}

/// Objects that lifecycle rules deleted, and uploads that they aborted.
pub fn expirations() -> (u64, u64) {
    (EXPIRED.load(Ordering::Relaxed), UPLOADS_EXPIRED.load(Ordering::Relaxed))
}

/// Notices that were delivered, and notices that were dropped.
pub fn notices() -> (u64, u64) {
    (NOTICES_DELIVERED.load(Ordering::Relaxed), NOTICES_DROPPED.load(Ordering::Relaxed))
}

/// Handlers and jobs that panicked. A test run in which this is not 0 has failed.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// What all cores counted so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Open connections, for each core.
    pub connections: Vec<i64>,
    /// Requests under way.
    pub in_flight: i64,
    /// Bytes from peers.
    pub received_bytes: u64,
    /// Bytes to peers.
    pub sent_bytes: u64,
    /// Requests by operation and status, in the order of the two.
    pub requests: Vec<Requests>,
}

/// Requests of one kind.
#[derive(Clone, Debug)]
pub struct Requests {
    /// The operation as AWS spells it.
    pub operation: &'static str,
    /// The status of their answers.
    pub status: u16,
    /// How many.
    pub count: u64,
    /// How long they took together.
    pub took: Duration,
    /// How many took at most as long as the bound of the same place in [`LATENCY_BOUNDS`], and longer than the one before.
    pub buckets: [u64; LATENCY_BOUNDS.len()],
}

/// Adds the counters of all cores up.
pub fn totals() -> Totals {
    let mut totals = Totals::default();
    for core in CORES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        totals.connections.push(core.connections.load(Ordering::Relaxed));
        totals.in_flight += core.in_flight.load(Ordering::Relaxed);
        totals.received_bytes += read(&core.received_bytes);
        totals.sent_bytes += read(&core.sent_bytes);
        for kind in &core.kinds {
            let Some(&(operation, status)) = kind.of.get() else { continue };
            let known = totals
                .requests
                .iter_mut()
                .find(|known| known.status == status && known.operation == operation);
            let buckets = std::array::from_fn(|bucket| read(&kind.buckets[bucket]));
            let took = Duration::from_nanos(read(&kind.nanos));
            match known {
                Some(known) => {
                    known.count += read(&kind.count);
                    known.took += took;
                    known.buckets.iter_mut().zip(buckets).for_each(|(sum, count)| *sum += count);
                }
                None => {
                    let count = read(&kind.count);
                    totals.requests.push(Requests { operation, status, count, took, buckets });
                }
            }
        }
    }
    totals.requests.sort_unstable_by_key(|requests| (requests.operation, requests.status));
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_count_for_themselves_and_are_added_up() {
        let work = || {
            open();
            let _connected = connected();
            let under_way = begun();
            received(100);
            sent(7);
            for status in [200, 404, 200] {
                begun().answered("TestOnly", status);
            }
            let seen = totals();
            drop(under_way);
            seen
        };
        let first = std::thread::spawn(work).join().unwrap();
        assert!(first.in_flight >= 1 && first.connections.contains(&1));
        std::thread::spawn(work).join().unwrap();
        let all = totals();
        let of = |status| {
            let mut found =
                all.requests.iter().filter(|it| it.operation == "TestOnly" && it.status == status);
            let found = (found.next().unwrap(), found.next().is_none());
            assert!(found.1, "one line for each kind");
            assert_eq!(found.0.buckets.iter().sum::<u64>(), found.0.count);
            found.0.count
        };
        assert_eq!((of(200), of(404)), (4, 2));
        assert!(all.received_bytes >= 200 && all.sent_bytes >= 14);
    }

    #[test]
    fn what_finds_no_place_is_not_counted_and_harms_nothing() {
        static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
        let names = NAMES.get_or_init(|| (0..20).map(|n| &*format!("Name{n}").leak()).collect());
        let core = Core::new();
        let found = names.iter().flat_map(|name| (200..300).map(move |status| (*name, status)));
        assert_eq!(found.filter(|(name, status)| core.kind(name, *status).is_some()).count(), KINDS);
    }
}
