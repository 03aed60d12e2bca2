//! How other threads answer a task of this core.
//!
//! monoio's task wakers must not be dropped on a foreign thread (the task could be freed there), so none ever leaves
//! its core. A task that waits for another thread registers a ticket in its core's mailbox; the thread posts the
//! answer under that ticket and rings a socket which one task of the core reads. Answers that are posted while the
//! core is busy share one ring.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use monoio::io::AsyncReadRent;
use parking_lot::Mutex;
use smallvec::SmallVec;

/// An answer on its way to a core.
type Letter = (u64, Box<dyn Any + Send>);

/// The address of a core, for other threads.
#[derive(Clone)]
struct Address {
    shared: Arc<Shared>,
}

struct Shared {
    letters: Mutex<Vec<Letter>>,
    bell: UnixStream,
}

/// The core's own side: who waits for which ticket.
struct Desk {
    address: Address,
    next_ticket: Cell<u64>,
    waiting: RefCell<HashMap<u64, Slot>>,
}

enum Slot {
    Waiting(Option<Waker>),
    Arrived(Box<dyn Any + Send>),
}

thread_local! {
    static DESK: RefCell<Option<Rc<Desk>>> = const { RefCell::new(None) };
}

/// Opens the mailbox of this core. Must be called once, inside the runtime, before anything asks another thread.
pub fn open() -> io::Result<()> {
    let (bell, ear) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    ear.set_nonblocking(true)?;
    let ear = monoio::net::UnixStream::from_std(ear)?;
    let address = Address { shared: Arc::new(Shared { letters: Mutex::new(Vec::new()), bell }) };
    let desk = Rc::new(Desk { address, next_ticket: Cell::new(0), waiting: RefCell::new(HashMap::new()) });
    DESK.set(Some(desk.clone()));
    super::spawn(deliver(desk, ear));
    Ok(())
}

/// Registers a question: the sender travels to the other thread, the reply is awaited here.
pub fn question<T: Send + 'static>() -> (Answer<T>, Reply<T>) {
    let desk = DESK.with_borrow(|desk| desk.clone()).expect("the core opened its mailbox when it started");
    let ticket = desk.next_ticket.get();
    desk.next_ticket.set(ticket + 1);
    desk.waiting.borrow_mut().insert(ticket, Slot::Waiting(None));
    let answer = Answer { address: desk.address.clone(), ticket, sent: false, kind: PhantomData };
    (answer, Reply { desk, ticket, kind: PhantomData })
}

/// The right to answer one question, once. Dropping it without an answer tells the waiting task so.
pub struct Answer<T: Send + 'static> {
    address: Address,
    ticket: u64,
    sent: bool,
    kind: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Answer<T> {
    /// Posts the answer. The task may be gone; then the answer is dropped.
    pub fn send(mut self, value: T) {
        self.sent = true;
        self.address.post(self.ticket, Box::new(Some(value)));
    }
}

/// Posts many answers; each core is rung once.
pub fn answer_all<T: Send + 'static>(answers: impl IntoIterator<Item = (Answer<T>, T)>) {
    let mut to_ring: SmallVec<[Address; 8]> = SmallVec::new();
    for (mut answer, value) in answers {
        answer.sent = true;
        if answer.address.put(answer.ticket, Box::new(Some(value))) {
            to_ring.push(answer.address.clone());
        }
    }
    to_ring.iter().for_each(Address::ring);
}

impl<T: Send + 'static> Drop for Answer<T> {
    fn drop(&mut self) {
        if !self.sent {
            self.address.post(self.ticket, Box::new(None::<T>));
        }
    }
}

/// The answer to come: `None` if the other thread dropped the question (it panicked or is shutting down).
pub struct Reply<T> {
    desk: Rc<Desk>,
    ticket: u64,
    kind: PhantomData<fn() -> T>,
}

impl<T: Send + 'static> Future for Reply<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut waiting = self.desk.waiting.borrow_mut();
        match waiting.get_mut(&self.ticket) {
            Some(Slot::Waiting(waker)) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(Slot::Arrived(_)) => {
                let Some(Slot::Arrived(letter)) = waiting.remove(&self.ticket) else { unreachable!() };
                Poll::Ready(*letter.downcast::<Option<T>>().expect("a ticket has one type"))
            }
            None => Poll::Ready(None),
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.desk.waiting.borrow_mut().remove(&self.ticket);
    }
}

impl Address {
    fn post(&self, ticket: u64, value: Box<dyn Any + Send>) {
        if self.put(ticket, value) {
            self.ring();
        }
    }

    /// True: the core has to be rung.
    fn put(&self, ticket: u64, value: Box<dyn Any + Send>) -> bool {
        let mut letters = self.shared.letters.lock();
        letters.push((ticket, value));
        letters.len() == 1
    }

    fn ring(&self) {
        // A full socket buffer means that the core has rings enough to read; other errors mean that it is gone.
        let _ = (&self.shared.bell).write(&[1]);
    }
}

/// The task that hands out what arrived. Ends when the core's side is dropped with the runtime.
async fn deliver(desk: Rc<Desk>, mut ear: monoio::net::UnixStream) {
    let mut buf = vec![0u8; 64];
    loop {
        let (result, back) = ear.read(buf).await;
        buf = back;
        if matches!(result, Ok(0) | Err(_)) {
            return;
        }
        let letters = std::mem::take(&mut *desk.address.shared.letters.lock());
        let mut waiting = desk.waiting.borrow_mut();
        for (ticket, value) in letters {
            // Nobody at the ticket: the task was dropped, and the answer with it.
            if let Some(slot) = waiting.get_mut(&ticket)
                && let Slot::Waiting(Some(waker)) = std::mem::replace(slot, Slot::Arrived(value))
            {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::driver::{Driver, run_core};

    fn on_core<F: Future<Output = ()>>(main: impl FnOnce() -> F + Clone) {
        for driver in [Driver::IoUring, Driver::Epoll] {
            if driver == Driver::IoUring && Driver::probe().is_err() {
                continue;
            }
            run_core(driver, main.clone()).unwrap();
        }
    }

    #[test]
    fn answers_reach_their_questions() {
        on_core(|| async {
            open().unwrap();
            let mut replies = Vec::new();
            for index in 0..1000u32 {
                let (answer, reply) = question::<u32>();
                std::thread::spawn(move || if index % 10 == 3 { drop(answer) } else { answer.send(index) });
                replies.push((index, reply));
            }
            for (index, reply) in replies {
                assert_eq!(reply.await, (index % 10 != 3).then_some(index));
            }
            DESK.with_borrow(|desk| assert!(desk.as_ref().unwrap().waiting.borrow().is_empty()));
        });
    }

    #[test]
    fn many_answers_share_a_ring() {
        on_core(|| async {
            open().unwrap();
            let (answers, replies): (Vec<_>, Vec<_>) = (0..1000).map(|_| question::<u32>()).unzip();
            std::thread::spawn(move || answer_all(answers.into_iter().zip(0..)));
            for (index, reply) in (0..).zip(replies) {
                assert_eq!(reply.await, Some(index));
            }
        });
    }

    #[test]
    fn a_dropped_reply_loses_only_its_own_answer() {
        on_core(|| async {
            open().unwrap();
            let (lost, reply) = question::<&str>();
            drop(reply);
            let (kept, reply) = question::<&str>();
            std::thread::spawn(move || {
                lost.send("lost");
                kept.send("kept");
            });
            assert_eq!(reply.await, Some("kept"));
        });
    }
}
