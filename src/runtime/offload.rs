//! Threads for system calls that may wait on the disk: listings, cold directories, copies, deletions of many keys.
//!
//! A few threads serve all cores. The queue is bounded ([`limits::OFFLOAD_QUEUE_MAX`]); at the bound the caller
//! answers 503 SlowDown.

use std::thread;

use flume::{Sender, TrySendError};

use super::mailbox::question;
use crate::limits;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the offload threads; they end when the last handle is dropped.
#[derive(Clone)]
pub struct Offload {
    queue: Sender<Job>,
}

/// Why a job has no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full.
    Busy,
    /// The job panicked; the panic is in the log.
    Panicked,
}

impl Offload {
    /// Starts `threads` threads.
    pub fn start(threads: usize) -> std::io::Result<Offload> {
        let (queue, jobs) = flume::bounded::<Job>(limits::OFFLOAD_QUEUE_MAX);
        for index in 0..threads {
            let jobs = jobs.clone();
            thread::Builder::new().name(format!("offload-{index}")).spawn(move || {
                for job in jobs.iter() {
                    // The job's answer is dropped by the unwinding, which its task sees as `Panicked`.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                }
            })?;
        }
        Ok(Offload { queue })
    }

    /// Runs `job` on an offload thread and waits for its result.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, reply) = question::<T>();
        let job: Job = Box::new(move || answer.send(job()));
        match self.queue.try_send(job) {
            Ok(()) => reply.await.ok_or(Refused::Panicked),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Refused::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::driver::{Driver, run_core};
    use crate::runtime::mailbox;

    #[test]
    fn jobs_return_and_panics_are_told() {
        run_core(Driver::Epoll, || async {
            mailbox::open().unwrap();
            let offload = Offload::start(2).unwrap();
            assert_eq!(offload.run(|| 6 * 7).await, Ok(42));
            assert_eq!(offload.run(|| -> u32 { panic!("as the test wants") }).await, Err(Refused::Panicked));
            assert_eq!(offload.run(|| "still alive").await, Ok("still alive"));
        })
        .unwrap();
    }
}
