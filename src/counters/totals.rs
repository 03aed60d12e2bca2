//! What all cores counted, added up when somebody asks.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{CORES, Cache, Core, FLUSH_GROUPS, FLUSHED, GROUP_BOUNDS, LATENCY_BOUNDS, NO_CORE};

/// What all cores counted so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// What each core is doing.
    pub cores: Vec<OfCore>,
    /// Requests by operation and status, in the order of the two.
    pub requests: Vec<Requests>,
    /// Answers by error code, in the order of the codes.
    pub failures: Vec<(&'static str, u64)>,
    /// Look-ups in caches.
    pub caches: Vec<Cached>,
    /// What became durable together.
    pub flush_groups: Groups,
}

/// One core.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfCore {
    /// Open connections.
    pub connections: i64,
    /// Requests under way.
    pub in_flight: i64,
    /// Answered requests.
    pub requests: u64,
    /// Bytes from peers.
    pub received_bytes: u64,
    /// Bytes to peers.
    pub sent_bytes: u64,
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
    /// How long they took.
    pub took: Histogram,
    /// How long their first bytes took.
    pub first_byte: Histogram,
}

/// A histogram.
#[derive(Clone, Copy, Default, Debug)]
pub struct Histogram {
    /// All together.
    pub sum: Duration,
    /// How many were at most as long as the bound of the same place in [`LATENCY_BOUNDS`], and longer than the one before.
    pub buckets: [u64; LATENCY_BOUNDS.len()],
}

impl Histogram {
    /// Takes another one in.
    pub fn add(&mut self, other: &Histogram) {
        self.sum += other.sum;
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, count)| *sum += count);
    }
}

/// Look-ups in one cache.
#[derive(Clone, Copy, Debug)]
pub struct Cached {
    /// Which one.
    pub cache: Cache,
    /// What was looked for was there.
    pub found: u64,
    /// It was not.
    pub missed: u64,
}

/// Flushes by how many changes shared them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Groups {
    /// How many had at most as many changes as the bound of the same place in [`GROUP_BOUNDS`], and more than the one
    /// before; the last had more than all of them.
    pub buckets: [u64; GROUP_BOUNDS.len() + 1],
    /// Changes of all of them.
    pub changes: u64,
}

/// Adds the counters of all cores up.
pub fn totals() -> Totals {
    let mut totals = Totals {
        caches: Cache::ALL.map(|cache| Cached { cache, found: 0, missed: 0 }).to_vec(),
        flush_groups: Groups {
            buckets: std::array::from_fn(|bucket| read(&FLUSH_GROUPS[bucket])),
            changes: read(&FLUSHED),
        },
        ..Totals::default()
    };
    totals.add_caches(&NO_CORE);
    for core in CORES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        totals.add(core);
    }
    totals.requests.sort_unstable_by_key(|requests| (requests.operation, requests.status));
    totals.failures.sort_unstable();
    totals
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Totals {
    fn add(&mut self, core: &Core) {
        let mut of_core = OfCore {
            connections: core.connections.load(Ordering::Relaxed),
            in_flight: core.in_flight.load(Ordering::Relaxed),
            requests: 0,
            received_bytes: read(&core.received_bytes),
            sent_bytes: read(&core.sent_bytes),
        };
        for kind in &core.kinds {
            let Some(&(operation, status)) = kind.of.get() else { continue };
            let (count, took, first_byte) = (read(&kind.count), kind.took.read(), kind.first_byte.read());
            of_core.requests += count;
            let known =
                self.requests.iter_mut().find(|known| known.status == status && known.operation == operation);
            match known {
                Some(known) => {
                    known.count += count;
                    known.took.add(&took);
                    known.first_byte.add(&first_byte);
                }
                None => self.requests.push(Requests { operation, status, count, took, first_byte }),
            }
        }
        for failure in &core.failures {
            let Some(&code) = failure.code.get() else { continue };
            match self.failures.iter_mut().find(|(known, _)| *known == code) {
                Some((_, count)) => *count += read(&failure.count),
                None => self.failures.push((code, read(&failure.count))),
            }
        }
        self.add_caches(core);
        self.cores.push(of_core);
    }

    fn add_caches(&mut self, core: &Core) {
        for (cached, [missed, found]) in self.caches.iter_mut().zip(&core.caches) {
            cached.missed += read(missed);
            cached.found += read(found);
        }
    }
}

impl super::Times {
    fn read(&self) -> Histogram {
        Histogram {
            sum: Duration::from_nanos(read(&self.nanos)),
            buckets: std::array::from_fn(|bucket| read(&self.buckets[bucket])),
        }
    }
}
