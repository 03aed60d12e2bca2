//! Starting a core: the ring with the flags that matter, or epoll where the kernel refuses the ring.
//!
//! SINGLE_ISSUER and DEFER_TASKRUN together are worth 1.7 times the requests per second of a default ring, for any
//! runtime; a ring without them is slower than epoll, so there is no third mode.

use std::future::Future;
use std::io;
use std::time::Duration;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use super::turn;

/// What drives the sockets and files of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1 and later).
    IoUring,
    /// epoll; file operations are plain system calls on the core.
    Epoll,
}

impl Driver {
    /// Finds out whether this kernel gives us the ring we want. The reason of a refusal (an old kernel, a seccomp
    /// filter of the container) is returned for the log.
    pub fn probe() -> Result<Driver, io::Error> {
        uring_builder().build(8).map(|_| Driver::IoUring)
    }

    /// The name used in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// Runs `main` on the calling thread until it is done, driving every task it spawns.
pub fn run_core<F: Future>(driver: Driver, main: impl FnOnce() -> F) -> io::Result<F::Output> {
    match driver {
        Driver::IoUring => {
            let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
                .uring_builder(uring_builder())
                .with_entries(RING_ENTRIES)
                .enable_timer()
                .build()?;
            let result = runtime.block_on(async {
                turn::start();
                main().await
            });
            turn::stop();
            Ok(result)
        }
        Driver::Epoll => {
            let mut runtime =
                RuntimeBuilder::<LegacyDriver>::new().with_entries(RING_ENTRIES).enable_timer().build()?;
            Ok(runtime.block_on(async { main().await }))
        }
    }
}

/// Starts a task on this core. It runs to its end whether or not anybody waits for it.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(task));
}

/// Waits at least this long; the resolution is one millisecond.
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

fn uring_builder() -> monoio_uring::Builder {
    let mut builder = monoio_uring::IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    builder
}

/// Submission entries of a core's ring. More operations than this may be in flight: a full queue is submitted
/// early.
const RING_ENTRIES: u32 = 1024;
