//! Time limits of connections, without a timer for each: every connection has a deadline, and one sweep per second
//! hangs up on those that are past theirs.
//!
//! The clock of a core is the count of its sweeps, so that setting a deadline is a store. A limit is exact to a
//! second.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::driver::{sleep, spawn};
use super::socket::Hangup;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For the next request. Such a connection is closed at once when the server drains.
    Idle,
    /// For the peer: the rest of a head, bytes of a body, room for an answer.
    Peer,
    /// For nothing but the server's own work.
    Working,
}

/// The watch over one connection; dropping it ends the watch.
pub struct Watch {
    id: u64,
    entry: Rc<Entry>,
}

struct Entry {
    hangup: Hangup,
    phase: Cell<Phase>,
    deadline: Cell<u64>,
    expired: Cell<bool>,
}

thread_local! {
    static CONNECTIONS: RefCell<HashMap<u64, Rc<Entry>>> = RefCell::new(HashMap::new());
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
    static SECONDS: Cell<u64> = const { Cell::new(0) };
    static DRAINING: Cell<bool> = const { Cell::new(false) };
}

impl Watch {
    /// Starts watching a connection.
    pub fn new(hangup: Hangup) -> Watch {
        let id = NEXT_ID.replace(NEXT_ID.get() + 1);
        let entry = Entry {
            hangup,
            phase: Cell::new(Phase::Working),
            deadline: Cell::new(u64::MAX),
            expired: Cell::new(false),
        };
        let entry = Rc::new(entry);
        CONNECTIONS.with_borrow_mut(|connections| connections.insert(id, entry.clone()));
        Watch { id, entry }
    }

    /// The connection has `limit` from now on for what `phase` says.
    pub fn allow(&self, phase: Phase, limit: Duration) {
        self.entry.phase.set(phase);
        // One more, because the current second is partly over.
        self.entry.deadline.set(SECONDS.get() + limit.as_secs() + 1);
        if phase == Phase::Idle && DRAINING.get() {
            self.entry.hangup.end_of_requests();
        }
    }

    /// Nothing is expected of the peer.
    pub fn working(&self) {
        self.entry.phase.set(Phase::Working);
        self.entry.deadline.set(u64::MAX);
    }

    /// Whether the connection was ended for its slowness.
    pub fn expired(&self) -> bool {
        self.entry.expired.get()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        CONNECTIONS.with_borrow_mut(|connections| connections.remove(&self.id));
    }
}

/// Starts the sweeps of this core.
pub fn start() {
    spawn(async {
        loop {
            sleep(Duration::from_secs(1)).await;
            sweep();
        }
    });
}

fn sweep() {
    let now = SECONDS.get() + 1;
    SECONDS.set(now);
    CONNECTIONS.with_borrow(|connections| {
        for entry in connections.values().filter(|entry| entry.deadline.get() < now) {
            if entry.expired.replace(true) || entry.phase.get() == Phase::Idle {
                entry.hangup.now();
            } else {
                // What is being read ends, and the peer can still be told why; if that takes too long, all ends.
                entry.hangup.end_of_requests();
                entry.deadline.set(now + GRACE_SECONDS);
            }
        }
    });
}

/// From now on a connection that waits for its next request is closed.
pub fn drain() {
    DRAINING.set(true);
    CONNECTIONS.with_borrow(|connections| {
        for entry in connections.values().filter(|entry| entry.phase.get() == Phase::Idle) {
            entry.hangup.end_of_requests();
        }
    });
}

/// Whether the core is draining: answers say `Connection: close`.
pub fn draining() -> bool {
    DRAINING.get()
}

/// Connections of this core.
pub fn connections() -> usize {
    CONNECTIONS.with_borrow(HashMap::len)
}

/// How long a connection that was too slow may take to send its last answer, unless its sender asks for more time.
const GRACE_SECONDS: u64 = 2;
