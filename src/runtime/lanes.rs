//! MD5 and SHA-256 of many bodies at once: the uploads of a core share its SIMD lanes.
//!
//! One stream cannot use the width of a core; [`digest::update_many`] advances the MD5 of up to 32 streams in nearly the
//! time of one, and the SHA-256 of three in less than the time of two. An upload with a full buffer puts it into the core's queue and waits. The first one in the queue
//! starts a task, which runs when every task that is ready now has had its turn, and hashes what has gathered by then:
//! an upload that is alone waits for nobody, and the busier the core, the more streams go together.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::buffer::AlignedBuf;
use super::driver::spawn;
use crate::digest::{self, Hashes};

struct Job {
    hashes: Hashes,
    buf: AlignedBuf,
    slot: Rc<RefCell<Slot>>,
}

#[derive(Default)]
struct Slot {
    done: Option<(Hashes, AlignedBuf)>,
    waker: Option<Waker>,
}

thread_local! {
    static QUEUE: RefCell<Vec<Job>> = const { RefCell::new(Vec::new()) };
}

/// Advances `hashes` by the content of `buf`, together with what other uploads of this core have at the same time.
pub async fn update_hashes(hashes: Hashes, buf: AlignedBuf) -> (Hashes, AlignedBuf) {
    let slot = Rc::new(RefCell::new(Slot::default()));
    let is_first = QUEUE.with_borrow_mut(|queue| {
        queue.push(Job { hashes, buf, slot: slot.clone() });
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
    let mut bodies: Vec<(&mut Hashes, &[u8])> =
        jobs.iter_mut().map(|job| (&mut job.hashes, &job.buf[..])).collect();
    digest::update_many(&mut bodies);
    for Job { hashes, buf, slot } in jobs {
        let mut slot = slot.borrow_mut();
        slot.done = Some((hashes, buf));
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
    use crate::digest::{BodyDigests, Wanted};
    use crate::runtime::driver::{Driver, run_core, sleep};

    #[test]
    fn uploads_side_by_side_get_their_own_digests() {
        run_core(Driver::Epoll, || async {
            let left = Rc::new(Cell::new(40));
            for seed in 0..40u8 {
                let left = left.clone();
                spawn(async move {
                    let wanted = Wanted { md5: true, sha256: seed % 2 == 0, ..Wanted::default() };
                    let mut digests = BodyDigests::new(wanted);
                    let mut whole = Vec::new();
                    for piece in 0..4usize {
                        let content = vec![seed; 1000 * usize::from(seed % 5) + piece];
                        whole.extend_from_slice(&content);
                        let mut buf = AlignedBuf::take().unwrap();
                        buf.append(&content);
                        let (hashes, back) = update_hashes(digests.take_hashes(), buf).await;
                        assert_eq!(&back[..], content);
                        digests.put_hashes(hashes);
                    }
                    let mut alone = BodyDigests::new(wanted);
                    alone.update(&whole);
                    let (together, alone) = (digests.finish(), alone.finish());
                    assert_eq!((together.md5, together.sha256), (alone.md5, alone.sha256));
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
