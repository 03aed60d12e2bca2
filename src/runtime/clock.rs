//! The wall clock, which layer 0 takes as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::codec::dates::Timestamp;

/// The time now. A clock set before 1970 counts as 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() }
}
