//! Plain counters of the data plane, one set per process. Written with relaxed additions, read by the control plane.

use std::sync::atomic::{AtomicU64, Ordering};

static ANSWERED: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];
static PANICS: AtomicU64 = AtomicU64::new(0);

/// An answer with this status was made.
pub fn answered(status: u16) {
    if let Some(class) = ANSWERED.get(usize::from(status / 100).wrapping_sub(1)) {
        class.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request's handler panicked.
pub fn panicked() {
    PANICS.fetch_add(1, Ordering::Relaxed);
}

/// Answers by class of their status: 1xx to 5xx.
pub fn answers() -> [u64; 5] {
    std::array::from_fn(|class| ANSWERED[class].load(Ordering::Relaxed))
}

/// Handlers that panicked. A test run in which this is not 0 has failed.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}
