//! The turns of a core: what is found out in one holds for every request that is answered in it.
//!
//! A core takes completions from its ring, wakes the tasks that waited for them, and lets all of these run before it looks
//! at the ring again. What one of them asks the file system is as good for those that run after it: what they were woken by
//! had come before. A turn ends where that ends: once somebody has asked for it, a task goes to the end of the queue, in
//! front of which only tasks are that were woken earlier, and begins the next turn.
//!
//! So is the time: what a request waits for the others of its turn is part of what it takes ([`moment`]).
//!
//! With epoll there are no turns: a task that runs reads what has come in that very moment.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::clock;
use super::driver::spawn;
use crate::codec::dates::Timestamp;

/// One turn of a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn(pub u64);

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock that nobody sets.
    pub instant: Instant,
    /// By the one that says what time it is.
    pub time: Timestamp,
}

thread_local! {
    static TURN: Cell<u64> = const { Cell::new(0) };
    /// The next turn has its place in the queue.
    static ENDS: Cell<bool> = const { Cell::new(false) };
    static NEXT: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// When this turn was first asked for the time.
    static MOMENT: Cell<Option<Moment>> = const { Cell::new(None) };
}

/// The turn that this core is in; none on other threads.
pub fn current() -> Option<Turn> {
    if !ENDS.get() {
        NEXT.with_borrow(|next| next.as_ref().map(Waker::wake_by_ref))?;
        ENDS.set(true);
    }
    Some(Turn(TURN.get()))
}

/// The time of the turn that this core is in, which is not later than now; on other threads it is now.
pub fn moment() -> Moment {
    let read = || Moment { instant: Instant::now(), time: clock::now() };
    if current().is_none() {
        return read();
    }
    MOMENT.get().unwrap_or_else(|| {
        let moment = read();
        MOMENT.set(Some(moment));
        moment
    })
}

/// Lets this core have turns.
pub(super) fn start() {
    spawn(poll_fn(|context| {
        TURN.set(TURN.get() + 1);
        ENDS.set(false);
        MOMENT.set(None);
        NEXT.with_borrow_mut(|next| {
            next.get_or_insert_with(|| context.waker().clone());
        });
        Poll::Pending
    }));
}

/// The core has ended.
pub(super) fn stop() {
    NEXT.take();
    MOMENT.take();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Driver, run_core, sleep};
    use std::rc::Rc;
    use std::time::Duration;

    #[test]
    fn a_turn_is_that_of_all_who_were_woken_before_and_of_nobody_else() {
        let Ok(driver) = Driver::probe() else { return };
        let seen = Rc::new(RefCell::new(Vec::new()));
        let note = |seen: &Rc<RefCell<Vec<Option<Turn>>>>| seen.borrow_mut().push(current());
        run_core(driver, async || {
            sleep(Duration::from_millis(1)).await;
            // Both are in the queue before the first of them runs; the third is woken by the first.
            let (first, second, third) = (seen.clone(), seen.clone(), seen.clone());
            spawn(async move {
                note(&first);
                spawn(async move { note(&third) });
            });
            spawn(async move { note(&second) });
            sleep(Duration::from_millis(5)).await;
            note(&seen);
        })
        .unwrap();
        let seen = seen.take();
        assert!(seen.iter().all(Option::is_some));
        assert_eq!(seen[0], seen[1]);
        assert_ne!(seen[1], seen[2]);
        assert_ne!(seen[2], seen[3]);
        assert_eq!(current(), None, "the core has ended");
    }

    #[test]
    fn the_time_is_that_of_the_turn() {
        let Ok(driver) = Driver::probe() else { return };
        run_core(driver, async || {
            sleep(Duration::from_millis(1)).await;
            let first = moment();
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(moment().instant, first.instant);
            assert_eq!(moment().time, first.time);
            sleep(Duration::from_millis(1)).await;
            assert!(moment().instant >= first.instant + Duration::from_millis(2));
            assert!(moment().time > first.time);
        })
        .unwrap();
        let first = moment();
        assert!(moment().instant > first.instant, "no core: now");
    }

    #[test]
    fn there_are_none_without_a_ring() {
        assert_eq!(current(), None);
        assert_eq!(run_core(Driver::Epoll, async || current()).unwrap(), None);
    }
}
