//! MD5 of many bodies at once: the uploads of a core share its SIMD lanes.
//!
//! One stream of MD5 cannot use the width of a core; [`digest::update_many`] advances up to sixteen streams in nearly
//! the time of one. An upload with a full buffer puts it into the core's queue and waits. The first one in the queue
//! starts a task, which runs when every task that is ready now has had its turn, and hashes what has gathered by then:
//! an upload that is alone waits for nobody, and the busier the core, the more streams go together.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::buffer::AlignedBuf;
use super::driver::spawn;
use crate::digest::{self, Md5State};

struct Job {
    state: Md5State,
    buf: AlignedBuf,
    slot: Rc<RefCell<Slot>>,
}

#[derive(Default)]
struct Slot {
    done: Option<(Md5State, AlignedBuf)>,
    waker: Option<Waker>,
}

thread_local! {
    static QUEUE: RefCell<Vec<Job>> = const { RefCell::new(Vec::new()) };
}

/// Advances `state` by the content of `buf`, together with what other uploads of this core have at the same time.
pub async fn update_md5(state: Md5State, buf: AlignedBuf) -> (Md5State, AlignedBuf) {
    let slot = Rc::new(RefCell::new(Slot::default()));
    let is_first = QUEUE.with_borrow_mut(|queue| {
        queue.push(Job { state, buf, slot: slot.clone() });
        queue.len() == 1
    });
    if is_first {
        spawn(async { hash_queue() });
    }
    poll_fn(|context| {
        let mut slot = slot.borrow_mut();
        match slot.done.take() {
            Some(done) => Poll::Ready(done),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

fn hash_queue() {
    let mut jobs = QUEUE.with_borrow_mut(std::mem::take);
    let mut streams: Vec<(&mut Md5State, &[u8])> =
        jobs.iter_mut().map(|job| (&mut job.state, &job.buf[..])).collect();
    digest::update_many(&mut streams);
    for Job { state, buf, slot } in jobs {
        let mut slot = slot.borrow_mut();
        slot.done = Some((state, buf));
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::runtime::driver::{Driver, run_core, sleep};

    #[test]
    fn uploads_side_by_side_get_their_own_digests() {
        run_core(Driver::Epoll, || async {
            let left = Rc::new(Cell::new(40));
            for seed in 0..40u8 {
                let left = left.clone();
                spawn(async move {
                    let mut state = Md5State::new();
                    let mut whole = Vec::new();
                    for piece in 0..4usize {
                        let content = vec![seed; 1000 * usize::from(seed % 5) + piece];
                        whole.extend_from_slice(&content);
                        let mut buf = AlignedBuf::take().unwrap();
                        buf.append(&content);
                        let (advanced, back) = update_md5(state, buf).await;
                        assert_eq!(&back[..], content);
                        state = advanced;
                    }
                    assert_eq!(state.finish(), Md5State::digest(&whole));
                    left.set(left.get() - 1);
                });
            }
            while left.get() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .unwrap();
    }
}
