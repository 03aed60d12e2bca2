//! The runtime of one core: tasks, sockets, direct files, offload threads, aligned buffers.
//!
//! The only place that names monoio, so that a change of runtime stays local, and with [`crate::digest`] the only
//! place with `unsafe`; everything it exports is safe.
//!
//! Rules that follow from monoio 0.2.4 and that the rest of the crate relies on:
//! - no accept and no open is ever dropped while in flight (each would leak a descriptor): files are opened inline
//!   by `rustix`, and an accept lives in its own task as long as its listener;
//! - no task yields in a loop: with DEFER_TASKRUN completions are reaped only when the run queue is empty;
//! - no timer per request: the wheel ticks at 1 ms and rounds up. Time limits are deadlines that one sweep per
//!   second compares ([`watch`]), and the group commit is driven by events;
//! - no task waker ever leaves its core: other threads answer through the core's [`mailbox`].

#![expect(
    unsafe_code,
    reason = "owned buffers for the kernel, borrowed descriptors, attributes, file handles, credentials of threads, prefetching; every export is safe"
)]

pub mod attribute;
pub mod background;
pub mod buffer;
pub mod clock;
pub mod credentials;
pub mod driver;
pub mod file;
pub mod gate;
pub mod groups;
pub mod handle;
pub mod lanes;
pub mod mailbox;
pub mod memory;
pub mod offload;
pub mod prefetch;
pub mod share;
pub mod socket;
pub mod tls;
pub mod turn;
pub mod watch;

pub use background::yield_to_cores;
pub use buffer::AlignedBuf;
pub use clock::now;
pub use driver::{Driver, run_core, sleep, spawn};
pub use file::RingFile;
pub use gate::Pass;
pub use handle::FileHandle;
pub use mailbox::Reply;
pub use offload::Offload;
pub use prefetch::prefetch;
pub use share::{Pool, Share};
pub use socket::{Accepted, Hangup, Listener, Stream};
pub use turn::Turn;
pub use watch::{Phase, Watch};
