//! Group commit: what was published becomes durable, many objects with one flush.
//!
//! One thread flushes. Objects that finish while a flush is under way wait for the next one, so the busier the
//! server, the more objects share a flush, and no timer is involved. A small group is flushed by `fsync` of its own
//! files and directories, so that a lone object never waits for what other programs have written; a large group by
//! one `syncfs`, which costs the same for 1 and for 1,000 objects.
//!
//! Both cover data written by O_DIRECT (the journal commit carries the extents, and the device's cache is flushed),
//! tails in the page cache, records, owners, names and removed names.

use std::os::fd::OwnedFd;
use std::thread;

use flume::{Receiver, Sender};
use rustix::fs;
use rustix::io::Errno;
use smallvec::SmallVec;

use super::error::{At, Result, Subject};
use crate::runtime::mailbox::{Answer, question};

/// How much of an acknowledged change survives what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Data, record and name survive a power cut before the answer is sent.
    Commit,
    /// Survives a crash of the process; after a power cut the last seconds may be missing.
    None,
}

/// What one request changed and waits for.
pub struct Change {
    /// Files and directories to flush, for a small group. They are closed by the flushing thread.
    pub files: SmallVec<[OwnedFd; 2]>,
    /// The change touched more than `files` says (directories were made or removed on the way): the flush must be
    /// of the whole file system.
    pub wide: bool,
}

/// The queue in front of the flushing thread.
pub struct Committer {
    queue: Option<Sender<Waiting>>,
}

struct Waiting {
    change: Change,
    answer: Answer<rustix::io::Result<()>>,
}

impl Committer {
    /// Starts the flushing thread for the file system that `root` is on, unless nothing is to be flushed.
    pub fn start(root: OwnedFd, durability: Durability) -> std::io::Result<Committer> {
        if durability == Durability::None {
            return Ok(Committer { queue: None });
        }
        let (queue, waiting) = flume::unbounded();
        thread::Builder::new().name("commit".into()).spawn(move || flush_groups(&root, &waiting))?;
        Ok(Committer { queue: Some(queue) })
    }

    /// Waits until `change` is as durable as configured. The queue is as long as there are requests that wait, which
    /// the connections bound.
    pub async fn commit(&self, change: Change) -> Result<()> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let (answer, reply) = question();
        let sent = queue.send(Waiting { change, answer });
        assert!(sent.is_ok(), "the flushing thread lives as long as the queue");
        reply.await.unwrap_or(Err(Errno::IO)).at(Subject::Root, "flush what was written to stable storage")
    }
}

fn flush_groups(root: &OwnedFd, waiting: &Receiver<Waiting>) {
    let mut group = Vec::new();
    while let Ok(first) = waiting.recv() {
        group.push(first);
        group.extend(waiting.try_iter());
        let small = group.len() <= FSYNC_GROUP_MAX && !group.iter().any(|waiting| waiting.change.wide);
        let flushed = if small { Err(Errno::AGAIN) } else { fs::syncfs(root) };
        for Waiting { change, answer } in group.drain(..) {
            answer.send(if small { change.files.iter().try_for_each(fs::fsync) } else { flushed });
        }
    }
}

/// Up to this many changes the flush is by file.
const FSYNC_GROUP_MAX: usize = 2;
