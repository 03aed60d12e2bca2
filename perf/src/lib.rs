//! Measuring sluicegate: a closed-loop S3 load (`load`), and programs that do the work no server can avoid and nothing
//! else (`floor`). `perf/compare` runs both in alternation.
//!
//! Everything here runs on one pinned thread. Requests are signed before the clock runs, so that one core of load
//! saturates one core of a server.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod buffer;
pub mod content;
pub mod http;
pub mod ring;
pub mod sign;
pub mod stats;
