//! Counters of the data plane, one set for each core: written by that core alone with plain loads and stores, read by the
//! control plane at any time. Nothing on the way of a request waits for another core.
//!
//! What is read is consistent enough for a graph: a count and the histogram beside it may differ by a request.
//!
//! In its directory: `totals` (what all cores counted, added up).

mod totals;

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use totals::{Cached, Groups, Histogram, OfCore, Requests, Totals, totals};

/// The counters of one core.
pub struct Core {
    connections: AtomicI64,
    in_flight: AtomicI64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    kinds: [Kind; KINDS],
    failures: [Failure; FAILURES],
    caches: [[AtomicU64; 2]; Cache::ALL.len()],
}

/// Requests of one operation that were answered with one status.
struct Kind {
    of: OnceLock<(&'static str, u16)>,
    count: AtomicU64,
    took: Times,
    first_byte: Times,
}

/// A histogram of times, and their sum.
struct Times {
    nanos: AtomicU64,
    buckets: [AtomicU64; LATENCY_BOUNDS.len()],
}

/// Answers with one error code.
struct Failure {
    code: OnceLock<&'static str>,
    count: AtomicU64,
}

/// Upper bounds of the latency histograms. What takes longer than the last is in the total alone.
pub const LATENCY_BOUNDS: [Duration; 20] = [
    Duration::from_micros(25),
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
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Pairs of operation and status that a core tells apart: four times what all operations with their usual answers are.
/// Beyond it requests are counted under no name.
const KINDS: usize = 1024;
/// Error codes that a core tells apart: twice what S3, STS and IAM have.
const FAILURES: usize = 256;

/// Upper bounds of the histogram of flush groups, in changes.
pub const GROUP_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// What is kept in memory so that it need not be made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// Signing keys, of each core.
    SigningKeys,
    /// Opened session tokens, of each core.
    Sessions,
    /// Sorted directories for listings.
    Directories,
    /// Open files of objects.
    Descriptors,
}

impl Cache {
    /// All of them; each stands at its number.
    pub const ALL: [Cache; 4] = [Cache::SigningKeys, Cache::Sessions, Cache::Directories, Cache::Descriptors];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Cache::SigningKeys => "signing_keys",
            Cache::Sessions => "sessions",
            Cache::Directories => "directories",
            Cache::Descriptors => "descriptors",
        }
    }
}

thread_local! {
    static OWN: Cell<&'static Core> = const { Cell::new(&NO_CORE) };
}

/// For threads that are no core, several of which may count at a time.
static NO_CORE: Core = Core::new();
static FLUSH_GROUPS: [AtomicU64; GROUP_BOUNDS.len() + 1] =
    [const { AtomicU64::new(0) }; GROUP_BOUNDS.len() + 1];
static FLUSHED: AtomicU64 = AtomicU64::new(0);
static CORES: Mutex<Vec<&'static Core>> = Mutex::new(Vec::new());
static EXPIRED: AtomicU64 = AtomicU64::new(0);
static UPLOADS_EXPIRED: AtomicU64 = AtomicU64::new(0);
static NOTICES_DELIVERED: AtomicU64 = AtomicU64::new(0);
static NOTICES_DROPPED: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Gives this thread a set of counters of its own. Of what threads without one count, only caches are looked at.
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

/// A request was read at this time. It is under way until the value is dropped.
pub fn begun(at: Instant) -> Begun {
    let core = OWN.get();
    shift(&core.in_flight, 1);
    Begun { core, at }
}

/// A request under way.
pub struct Begun {
    core: &'static Core,
    at: Instant,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Its operation as AWS spells it.
    pub operation: &'static str,
    /// The status of its answer.
    pub status: u16,
    /// The code of its answer, if that is an error.
    pub code: Option<&'static str>,
    /// When the first byte of its answer went to the kernel; none, if none did.
    pub first_byte: Option<Instant>,
}

/// How long a request took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Took {
    /// From when its head had come, be it in a turn that others had before it, to the last byte of its answer.
    pub total: Duration,
    /// From then to the first byte of its answer.
    pub first_byte: Duration,
}

impl Begun {
    /// It was answered, and that was known at this time: counts it.
    pub fn answered(self, at: Instant, outcome: Outcome) -> Took {
        let total = at.saturating_duration_since(self.at);
        let first_byte = outcome.first_byte.map_or(total, |at| at.saturating_duration_since(self.at));
        // `at` may be the time of a turn, which the first byte left in.
        let first_byte = first_byte.min(total);
        if let Some(kind) = self.core.kind(outcome.operation, outcome.status) {
            add(&kind.count, 1);
            kind.took.note(total);
            kind.first_byte.note(first_byte);
        }
        if let Some(code) = outcome.code {
            self.core.failed(code);
        }
        Took { total, first_byte }
    }
}

/// Something was looked for in a cache, and was there or not.
pub fn looked_up(cache: Cache, found: bool) {
    let core = OWN.get();
    let counter = &core.caches[cache as usize][usize::from(found)];
    if std::ptr::eq(core, &NO_CORE) {
        counter.fetch_add(1, Ordering::Relaxed);
    } else {
        add(counter, 1);
    }
}

/// So many changes became durable with one flush.
pub fn flushed_together(changes: usize) {
    let changes = changes as u64;
    let bucket = GROUP_BOUNDS.partition_point(|bound| *bound < changes);
    FLUSH_GROUPS[bucket].fetch_add(1, Ordering::Relaxed);
    FLUSHED.fetch_add(changes, Ordering::Relaxed);
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
            failures: [const { Failure { code: OnceLock::new(), count: AtomicU64::new(0) } }; FAILURES],
            caches: [const { [const { AtomicU64::new(0) }; 2] }; Cache::ALL.len()],
        }
    }

    fn failed(&self, code: &'static str) {
        let start = code.as_ptr() as usize >> 3;
        let mut slots = (0..FAILURES).map(|step| &self.failures[(start + step) % FAILURES]);
        let slot = slots.find(|slot| {
            let of = *slot.code.get_or_init(|| code);
            std::ptr::eq(of, code) || of == code
        });
        if let Some(slot) = slot {
            add(&slot.count, 1);
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
        Self { of: OnceLock::new(), count: AtomicU64::new(0), took: Times::new(), first_byte: Times::new() }
    }
}

impl Times {
    const fn new() -> Self {
        Self { nanos: AtomicU64::new(0), buckets: [const { AtomicU64::new(0) }; LATENCY_BOUNDS.len()] }
    }

    fn note(&self, time: Duration) {
        add(&self.nanos, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        // From the shortest on: the more requests there are, the fewer steps.
        if let Some(bucket) = LATENCY_BOUNDS.iter().position(|bound| time <= *bound) {
            add(&self.buckets[bucket], 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_count_for_themselves_and_are_added_up() {
        let work = || {
            open();
            let _connected = connected();
            let under_way = begun(Instant::now());
            received(100);
            sent(7);
            for (status, code) in [(200, None), (404, Some("TestOnlyMissing")), (200, None)] {
                let outcome = Outcome { operation: "TestOnly", status, code, first_byte: None };
                begun(Instant::now()).answered(Instant::now(), outcome);
            }
            looked_up(Cache::Descriptors, true);
            looked_up(Cache::Descriptors, false);
            let seen = totals();
            drop(under_way);
            seen
        };
        let first = std::thread::spawn(work).join().unwrap();
        assert!(
            first.cores.iter().any(|core| (core.in_flight, core.connections, core.requests) == (1, 1, 3))
        );
        std::thread::spawn(work).join().unwrap();
        let all = totals();
        let of = |status| {
            let mut found =
                all.requests.iter().filter(|it| it.operation == "TestOnly" && it.status == status);
            let found = (found.next().unwrap(), found.next().is_none());
            assert!(found.1, "one line for each kind");
            assert_eq!(found.0.took.buckets.iter().sum::<u64>(), found.0.count);
            assert_eq!(found.0.first_byte.buckets.iter().sum::<u64>(), found.0.count);
            found.0.count
        };
        assert_eq!((of(200), of(404)), (4, 2));
        let sums = |of: fn(&OfCore) -> u64| all.cores.iter().map(of).sum::<u64>();
        assert!(sums(|core| core.received_bytes) >= 200 && sums(|core| core.sent_bytes) >= 14);
        assert_eq!(
            all.failures.iter().find(|(code, _)| *code == "TestOnlyMissing"),
            Some(&("TestOnlyMissing", 2))
        );
        let descriptors = all.caches.iter().find(|cached| cached.cache == Cache::Descriptors).unwrap();
        assert!(descriptors.found >= 2 && descriptors.missed >= 2);
    }

    #[test]
    fn the_first_byte_is_not_later_than_the_last() {
        let start = Instant::now();
        let after = move |millis| start + Duration::from_millis(millis);
        let work = move || {
            open();
            [(Some(after(3)), 3), (None, 7), (Some(after(8)), 7)].map(|(first_byte, expected)| {
                let outcome = Outcome { operation: "TestOnlyTimes", status: 200, code: None, first_byte };
                let took = begun(start).answered(after(7), outcome);
                assert_eq!(took.total, Duration::from_millis(7));
                assert_eq!(took.first_byte, Duration::from_millis(expected));
                took
            })
        };
        let took = std::thread::spawn(work).join().unwrap();
        let all = totals();
        let counted = all.requests.iter().find(|it| it.operation == "TestOnlyTimes").unwrap();
        let sum = |of: fn(&Took) -> Duration| took.iter().map(of).sum::<Duration>();
        let expected = (sum(|took| took.total), sum(|took| took.first_byte));
        assert_eq!((counted.took.sum, counted.first_byte.sum), expected);
    }

    #[test]
    fn groups_fall_into_the_bucket_of_their_size() {
        let before = totals().flush_groups;
        for changes in [1, 3, 4, 5000] {
            flushed_together(changes);
        }
        let after = totals().flush_groups;
        let grown: Vec<u64> =
            after.buckets.iter().zip(before.buckets).map(|(after, before)| after - before).collect();
        // Other tests flush at the same time.
        let expected = [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(grown.iter().zip(expected).all(|(grown, expected)| *grown >= expected), "{grown:?}");
        assert!(after.changes - before.changes >= 5008);
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
