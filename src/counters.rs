//! Plain counters of the data plane, one set per process. Written with relaxed additions, read by the control plane.

use std::sync::atomic::{AtomicU64, Ordering};

static ANSWERED: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];
static EXPIRED: AtomicU64 = AtomicU64::new(0);
static UPLOADS_EXPIRED: AtomicU64 = AtomicU64::new(0);
static NOTICES_DELIVERED: AtomicU64 = AtomicU64::new(0);
static NOTICES_DROPPED: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicU64 = AtomicU64::new(0);

/// An answer with this status was made.
pub fn answered(status: u16) {
    if let Some(class) = ANSWERED.get(usize::from(status / 100).wrapping_sub(1)) {
        class.fetch_add(1, Ordering::Relaxed);
    }
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

/// Answers by class of their status: 1xx to 5xx.
pub fn answers() -> [u64; 5] {
    std::array::from_fn(|class| ANSWERED[class].load(Ordering::Relaxed))
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
