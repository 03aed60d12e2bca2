//! Gates: of what a core holds only for a moment there is so much at a time, and the rest waits in its order. Who waits holds
//! nothing.
//!
//! - Pages of listings: offload threads can be faster than the core that they work for. Without a gate as many pages could
//!   wait for a core as there are connections, each a megabyte of keys that no pool of [`super::share`] counts, because
//!   their size is known only once they are there.
//! - Spare buffers, for transfers that go on while buffers are scarce (`worker::spare`).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

thread_local! {
    static PAGES: Arc<Semaphore> = Arc::new(Semaphore::new(limits::PAGES_IN_HAND_MAX));
    static SPARE_BUFFERS: Arc<Semaphore> = Arc::new(Semaphore::new(limits::SPARE_BUFFERS_MAX));
}

/// The right to hold one; it ends when this is dropped.
#[derive(Debug)]
pub struct Pass {
    _permit: OwnedSemaphorePermit,
}

/// Waits until this core may have one more page of a listing made.
pub async fn page() -> Pass {
    enter(PAGES.with(Arc::clone)).await
}

/// Waits until this core may take one more spare buffer.
pub(super) async fn spare_buffer() -> Pass {
    enter(SPARE_BUFFERS.with(Arc::clone)).await
}

async fn enter(gate: Arc<Semaphore>) -> Pass {
    Pass { _permit: gate.acquire_owned().await.expect("nobody closes the semaphore") }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::runtime::driver::{Driver, run_core, sleep, spawn};

    #[test]
    fn so_many_pass_and_all_do_in_their_order() {
        run_core(Driver::Epoll, || async {
            let count = 3 * limits::PAGES_IN_HAND_MAX;
            let (held, most, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            for index in 0..count {
                let (held, most, done) = (held.clone(), most.clone(), done.clone());
                spawn(async move {
                    let pass = page().await;
                    held.set(held.get() + 1);
                    most.set(most.get().max(held.get()));
                    sleep(Duration::from_millis(2)).await;
                    held.set(held.get() - 1);
                    assert_eq!(done.get() / limits::PAGES_IN_HAND_MAX, index / limits::PAGES_IN_HAND_MAX);
                    done.set(done.get() + 1);
                    drop(pass);
                });
            }
            while done.get() < count {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(most.get(), limits::PAGES_IN_HAND_MAX);
        })
        .unwrap();
    }
}
