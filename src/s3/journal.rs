//! What is told of each request, if the administrator wants it told: a line of the access log, and an event for the audit.
//!
//! A core writes its lines into a sheet of its own ([`Desk`]), and hands the sheet to the queues of those who want it
//! ([`Sink`]) when it is full, or after [`HAND_OVER`]. It never waits: if a queue is full, what is on the sheet is dropped
//! and counted. `control::journal` takes the sheets out of the queues, and writes files and calls webhooks.
//!
//! While nobody wants anything a request costs one comparison. Otherwise what has to be remembered of it is in a [`Note`],
//! which is used again for another request, and the sheet is the only memory that grows.
//!
//! In its directory: `line` (what the lines say).
//!
//! Invariants: no secret, signature or session token enters a line; a line is one JSON object without a line feed in it.

mod line;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use flume::{Receiver, Sender};
use serde::Serialize;

use self::line::{AccessLine, AuditEvent};
use super::access::{Caller, Peer};
use super::context::RequestId;
use super::operation::Operation;
use super::reply::Reply;
use crate::codec::dates::Timestamp;
use crate::counters::{Outcome, Took};
use crate::http::head::Head;
use crate::limits::{JOURNAL_NOTES_KEPT, JOURNAL_QUEUE_BYTES_MAX, JOURNAL_SHEET_BYTES};
use crate::runtime::Stream;

/// How long a line may stay on its sheet.
pub const HAND_OVER: Duration = Duration::from_millis(100);

/// Who wants to be told what. The default: nobody.
#[derive(Default)]
pub struct Journal {
    /// Who takes the access log.
    pub access: Vec<Sink>,
    /// Who takes audit events.
    pub audit: Vec<Sink>,
    /// What audit events say of the server.
    pub server: ServerFacts,
}

/// What audit events say of the server.
#[derive(Clone, Default, Debug)]
pub struct ServerFacts {
    /// The id of the data directory, a UUID.
    pub deployment_id: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The name of the machine.
    pub host: String,
}

/// Whole lines, each with its line feed.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The lines.
    pub lines: Bytes,
    /// How many.
    pub count: u64,
}

impl Sheet {
    /// Whether nothing follows it: see [`Journal::close`].
    pub fn is_end(&self) -> bool {
        self.count == 0
    }
}

/// The queue to one who wants lines. Clones are of the same queue.
#[derive(Clone)]
pub struct Sink {
    queue: Sender<Sheet>,
    state: Arc<State>,
}

/// The other end of a [`Sink`].
pub struct Outlet {
    /// What comes out. Each sheet has to be [`done`](Outlet::done) with or [`dropped`](Outlet::dropped).
    pub sheets: Receiver<Sheet>,
    state: Arc<State>,
}

struct State {
    name: &'static str,
    waiting_bytes: AtomicUsize,
    waiting: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Whether lines were dropped since the queue was last half empty: that is said once.
    is_dropping: AtomicBool,
}

/// What became of the lines of a sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SinkTotals {
    /// Its name in metrics and in the log.
    pub name: &'static str,
    /// Lines in the queue.
    pub waiting: u64,
    /// Lines that were written or delivered.
    pub written: u64,
    /// Lines that were lost.
    pub dropped: u64,
}

impl Sink {
    /// A queue under this name, and where it ends.
    pub fn new(name: &'static str) -> (Sink, Outlet) {
        // Its bound is that of bytes, which says more than one of sheets.
        let (queue, sheets) = flume::unbounded();
        let state = Arc::new(State {
            name,
            waiting_bytes: AtomicUsize::new(0),
            waiting: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_dropping: AtomicBool::new(false),
        });
        (Sink { queue, state: state.clone() }, Outlet { sheets, state })
    }

    /// What became of its lines so far.
    pub fn totals(&self) -> SinkTotals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let State { name, waiting, written, dropped, .. } = &*self.state;
        SinkTotals { name, waiting: read(waiting), written: read(written), dropped: read(dropped) }
    }

    fn send(&self, sheet: Sheet) {
        let State { name, waiting_bytes, waiting, dropped, is_dropping, .. } = &*self.state;
        let (bytes, count) = (sheet.lines.len(), sheet.count);
        let before = waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        waiting.fetch_add(count, Ordering::Relaxed);
        let is_full = before + bytes > JOURNAL_QUEUE_BYTES_MAX;
        if is_full || self.queue.send(sheet).is_err() {
            waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            waiting.fetch_sub(count, Ordering::Relaxed);
            dropped.fetch_add(count, Ordering::Relaxed);
            if !is_dropping.swap(true, Ordering::Relaxed) {
                tracing::warn!(sink = name, "the queue is full: lines are dropped");
            }
        } else if before < JOURNAL_QUEUE_BYTES_MAX / 2 && is_dropping.load(Ordering::Relaxed) {
            is_dropping.store(false, Ordering::Relaxed);
            tracing::info!(sink = name, "the queue has room again");
        }
    }
}

impl Outlet {
    /// The name of the sink.
    pub fn name(&self) -> &'static str {
        self.state.name
    }

    /// So many lines, of so many bytes, were taken.
    pub fn done(&self, count: u64, bytes: usize) {
        self.state.written.fetch_add(count, Ordering::Relaxed);
        self.leave(count, bytes);
    }

    /// So many lines, of so many bytes, are lost.
    pub fn dropped(&self, count: u64, bytes: usize) {
        self.state.dropped.fetch_add(count, Ordering::Relaxed);
        self.leave(count, bytes);
    }

    fn leave(&self, count: u64, bytes: usize) {
        self.state.waiting.fetch_sub(count, Ordering::Relaxed);
        self.state.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Journal {
    /// Everybody who wants something.
    pub fn sinks(&self) -> impl Iterator<Item = &Sink> {
        self.access.iter().chain(&self.audit)
    }

    /// Says to everybody that nothing follows.
    pub fn close(&self) {
        for sink in self.sinks() {
            // Who is gone need not be told.
            let _ = sink.queue.send(Sheet { lines: Bytes::new(), count: 0 });
        }
    }

    fn is_wanted(&self) -> bool {
        !self.access.is_empty() || !self.audit.is_empty()
    }
}

/// Where one core writes.
pub struct Desk {
    journal: Arc<Journal>,
    access: RefCell<Draft>,
    audit: RefCell<Draft>,
    notes: RefCell<Vec<Slip>>,
}

/// A sheet that is being written.
#[derive(Default)]
struct Draft {
    lines: BytesMut,
    count: u64,
}

impl Desk {
    /// The desk of a core.
    pub fn new(journal: Arc<Journal>) -> Desk {
        Desk { journal, access: RefCell::default(), audit: RefCell::default(), notes: RefCell::default() }
    }

    /// Whether anybody wants lines: then somebody has to [`hand over`](Desk::hand_over) from time to time.
    pub fn is_wanted(&self) -> bool {
        self.journal.is_wanted()
    }

    /// Begins to note a request whose body begins at `position` of the stream; `None` if nobody wants to know.
    pub fn begin(&self, position: u64) -> Option<Slip> {
        if !self.is_wanted() {
            return None;
        }
        let mut note = self.notes.borrow_mut().pop().unwrap_or_default();
        note.body_begin = position;
        Some(note)
    }

    /// The request was answered: writes down what was noted.
    pub fn finish(&self, mut note: Slip, peer: Peer, outcome: Outcome, took: Took, ended: Ended<'_>) {
        let answer = ended.stream.answer();
        let sent_bytes = match ended.is_whole {
            true => note.reply_bytes,
            false => note.reply_bytes.min(answer.bytes.saturating_sub(note.reply_head.len() as u64)),
        };
        let ending = Ending { peer, outcome, took, sent_bytes, is_whole: ended.is_whole };
        if !self.journal.access.is_empty() {
            self.access.borrow_mut().write(&self.journal.access, &AccessLine::of(&note, &ending));
        }
        if !self.journal.audit.is_empty() {
            let local = ended.stream.local_address().map(|address| address.ip());
            let event = AuditEvent::of(&note, &ending, &self.journal.server, local);
            self.audit.borrow_mut().write(&self.journal.audit, &event);
        }
        note.clear();
        let mut notes = self.notes.borrow_mut();
        if notes.len() < JOURNAL_NOTES_KEPT {
            notes.push(note);
        }
    }

    /// Hands over what is on the sheets.
    pub fn hand_over(&self) {
        self.access.borrow_mut().hand_over(&self.journal.access);
        self.audit.borrow_mut().hand_over(&self.journal.audit);
    }
}

impl Draft {
    fn write(&mut self, sinks: &[Sink], line: &impl Serialize) {
        let written = serde_json::to_writer((&mut self.lines).writer(), line);
        debug_assert!(written.is_ok(), "lines have text as keys, and memory takes what is written");
        self.lines.put_u8(b'\n');
        self.count += 1;
        if self.lines.len() >= JOURNAL_SHEET_BYTES {
            self.hand_over(sinks);
        }
    }

    fn hand_over(&mut self, sinks: &[Sink]) {
        if self.count == 0 {
            return;
        }
        let sheet = Sheet { lines: self.lines.split().freeze(), count: std::mem::take(&mut self.count) };
        // The same memory again, if nobody has the earlier sheets any more.
        self.lines.reserve(JOURNAL_SHEET_BYTES);
        for sink in sinks {
            sink.send(sheet.clone());
        }
    }
}

/// The end of a request.
pub struct Ended<'s> {
    /// Its connection.
    pub stream: &'s Stream,
    /// Whether the whole answer was sent.
    pub is_whole: bool,
}

/// What lines say of the end of a request.
struct Ending {
    peer: Peer,
    outcome: Outcome,
    took: Took,
    sent_bytes: u64,
    is_whole: bool,
}

/// A note that is written, apart from the connection that it is about: those of which nobody wants to know stay small.
#[derive(Default)]
pub struct Slip(Box<Note>);

impl Deref for Slip {
    type Target = Note;

    fn deref(&self) -> &Note {
        &self.0
    }
}

impl DerefMut for Slip {
    fn deref_mut(&mut self) -> &mut Note {
        &mut self.0
    }
}

/// What is remembered of a request until it is answered.
#[derive(Default)]
pub struct Note {
    time: Option<Timestamp>,
    request_id: Option<RequestId>,
    bucket: String,
    key: String,
    /// Who asked, if the signature was right.
    caller: Option<Named>,
    head: Option<Head>,
    body_begin: u64,
    body_bytes: u64,
    reply_head: Vec<u8>,
    reply_length: Option<u64>,
    reply_bytes: u64,
}

struct Named {
    user: Arc<str>,
    arn: Box<str>,
    access_key: Box<str>,
}

impl Note {
    /// The request was given its id, and is about this.
    pub fn asked(&mut self, id: RequestId, now: Timestamp, operation: Option<&Operation>) {
        (self.request_id, self.time) = (Some(id), Some(now));
        if let Some(bucket) = operation.and_then(Operation::bucket) {
            self.bucket.push_str(bucket.as_str());
        }
        if let Some(key) = operation.and_then(Operation::key) {
            self.key.push_str(key.as_str());
        }
    }

    /// Who sent it, and what it is about if a form in its body says so.
    pub fn sent_by(&mut self, caller: &Caller<'_>, posted: Option<&Operation>) {
        if let Some(key) = posted.and_then(Operation::key) {
            self.key.push_str(key.as_str());
        }
        self.caller = caller.user().map(|user| Named {
            user: user.name.clone(),
            arn: caller.arn().into(),
            access_key: caller.access_key().into(),
        });
    }

    /// It was carried out, or refused, and this answer will be sent; what was read of its body ends at `position` of the
    /// stream.
    pub fn carried_out(&mut self, head: Head, position: u64, reply: &Reply) {
        self.head = Some(head);
        self.body_bytes = position.saturating_sub(self.body_begin);
        self.answered_by(reply);
    }

    /// This answer will be sent.
    pub fn answered_by(&mut self, reply: &Reply) {
        self.reply_head.clear();
        self.reply_head.extend_from_slice(reply.head());
        self.reply_length = reply.content_length();
        self.reply_bytes = reply.body_bytes();
    }

    fn clear(&mut self) {
        let Note { bucket, key, reply_head, .. } = self;
        let (mut bucket, mut key) = (std::mem::take(bucket), std::mem::take(key));
        let mut reply_head = std::mem::take(reply_head);
        bucket.clear();
        key.clear();
        reply_head.clear();
        *self = Note { bucket, key, reply_head, ..Note::default() };
    }
}
