//! The runtime that load and floors share: monoio with the ring flags the server uses.

use std::future::Future;

use monoio::{IoUringDriver, RuntimeBuilder};

/// Runs `main` on this thread, pinned to `core` if one is named.
///
/// # Panics
/// The kernel refuses the ring or the core.
pub fn run<F: Future>(core: Option<usize>, main: F) -> F::Output {
    if let Some(core) = core {
        pin(core);
    }
    let mut builder = monoio_uring::IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    RuntimeBuilder::<IoUringDriver>::new()
        .uring_builder(builder)
        .with_entries(1024)
        .enable_timer()
        .build()
        .expect("this kernel gives a ring with SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1 or later)")
        .block_on(main)
}

/// Keeps this thread on one core.
///
/// # Panics
/// There is no such core.
pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).expect("the core exists and may be used");
}
