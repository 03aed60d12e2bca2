//! Group commit: what was published becomes durable, many objects with one flush of the journal.
//!
//! Each change waits in a thread of its own for `fsync` of the file it changed last. The file systems' journals do the
//! grouping: everything that asks while a commit is under way shares the next one, so the busier the server, the more
//! objects share a flush, and no timer is involved. The alternative, one thread with one `syncfs` for each group, waits
//! for everything that any program has written to the file system. Measured on ext4 with 64 connections that put 4 KiB
//! objects: alone 6,500 a second against 7,200 by `syncfs`; beside a program that keeps writing, 1,500 against 40.
//!
//! ext4 and XFS commit metadata in the order in which it was changed. So flushing the file that was changed last makes
//! durable what was changed before it for the same object: its data, its record, its owner, the name it got (which
//! changes the inode as well), and the directories made on the way. On other file systems every file and directory of
//! the change is flushed, and the whole file system if that may not be enough.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use flume::{Receiver, Sender};
use rustix::fs;
use smallvec::SmallVec;

use super::error::{At, Result, Subject};
use super::root::Root;
use crate::limits;
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
    /// The files and directories it changed. The first is the one that was changed last, and the one whose data may
    /// still be in the page cache. They are closed by the flushing thread.
    pub files: SmallVec<[OwnedFd; 2]>,
    /// More was changed than `files` says: directories were made or removed on the way.
    pub wide: bool,
}

impl Change {
    /// Flushes the change on the calling thread, whatever the durability of objects is.
    pub fn flush(&self, root: &Root) -> Result<()> {
        let flushed = match self.wide {
            true => fs::syncfs(&root.fd),
            false => self.files.iter().try_for_each(fs::fsync),
        };
        flushed.at(Subject::Root, "flush what was changed to stable storage")
    }
}

/// The queue in front of the flushing threads.
pub struct Committer {
    queue: Option<Sender<Waiting>>,
}

struct Waiting {
    change: Change,
    answer: Answer<rustix::io::Result<()>>,
}

impl Committer {
    /// Starts the flushing threads for the file system that `root` is on, unless nothing is to be flushed.
    pub fn start(root: OwnedFd, durability: Durability) -> std::io::Result<Committer> {
        if durability == Durability::None {
            return Ok(Committer { queue: None });
        }
        let (queue, waiting) = flume::unbounded();
        let ordered = fs::fstatfs(&root).is_ok_and(|stat| ORDERED.contains(&(stat.f_type as u64)));
        let root = Arc::new(root);
        for index in 0..limits::FLUSH_THREADS {
            let (root, waiting) = (root.clone(), waiting.clone());
            thread::Builder::new()
                .name(format!("commit-{index}"))
                .stack_size(FLUSH_STACK_BYTES)
                .spawn(move || flush_changes(&root, ordered, &waiting))?;
        }
        Ok(Committer { queue: Some(queue) })
    }

    /// Whether changes are flushed at all.
    pub fn is_durable(&self) -> bool {
        self.queue.is_some()
    }

    /// Waits until `change` is as durable as configured. The queue is as long as there are requests that wait, which
    /// the connections bound.
    pub async fn commit(&self, change: Change) -> Result<()> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let (answer, reply) = question();
        let sent = queue.send(Waiting { change, answer });
        assert!(sent.is_ok(), "the flushing threads live as long as the queue");
        let flushed = reply.await.unwrap_or(Err(rustix::io::Errno::IO));
        flushed.at(Subject::Root, "flush what was written to stable storage")
    }
}

fn flush_changes(root: &OwnedFd, ordered: bool, waiting: &Receiver<Waiting>) {
    for Waiting { change, answer } in waiting.iter() {
        let flushed = match change.files.first() {
            Some(last) if ordered => fs::fsync(last),
            Some(_) if !change.wide => change.files.iter().try_for_each(fs::fsync),
            _ => fs::syncfs(root),
        };
        drop(change);
        answer.send(flushed);
    }
}

/// File systems that commit metadata in order: ext4, XFS (statfs(2)).
const ORDERED: [u64; 2] = [0xef53, 0x5846_5342];

/// A flushing thread calls into the kernel and into the mailbox, no deeper.
const FLUSH_STACK_BYTES: usize = 128 * 1024;
