//! What was written becomes durable, and gets its name only when its data is on the disk.
//!
//! A publication takes two steps here. Before a file gets its name, [`Committer::settle`] waits until its data is on the
//! device; so a power cut at any moment leaves the whole object or none of it. Afterwards [`Committer::commit`] waits until
//! its record, its owner and its name are durable, and only then the client has its answer.
//!
//! On ext4 with a journal and XFS many changes share one flush (`journal`). The alternatives, measured on ext4 with 64
//! connections that put 4 KiB objects: `fsync` of each file in a thread of its own lets the kernel group them, but costs a
//! change of context and a call for each object; one `syncfs` for each group waits for everything that any program has
//! written to the file system. On other file systems every file and directory of a change is flushed, and the whole file
//! system if that may not be enough.

mod journal;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use flume::{Receiver, Sender};
use rustix::fs;
use rustix::io::Errno;
use smallvec::SmallVec;

pub(super) use self::journal::commits_in_order;
use self::journal::{Journal, write_back};
use super::error::{At, Result, Subject};
use super::root::Root;
use crate::counters;
use crate::failpoint;
use crate::limits;
use crate::runtime::file::cached_bytes;
use crate::runtime::mailbox::{Answer, question};

/// How much of an acknowledged change survives what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Data, record and name survive a power cut before the answer is sent.
    Commit,
    /// The same, but each change is flushed for itself, one after the other: what sharing flushes buys is measured
    /// against this.
    Each,
    /// Survives a crash of the process; after a power cut what was written in the last seconds may be missing, and small
    /// objects among it may be there without their data.
    None,
}

impl Durability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Commit, Self::Each, Self::None];

    /// Those that a bucket can have of its own: how many changes share a flush is the server's.
    pub const OF_BUCKETS: [Self; 2] = [Self::Commit, Self::None];

    /// Its name, as commands and files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Each => "each",
            Self::None => "none",
        }
    }
}

/// What one request changed and waits for.
pub struct Change {
    /// The files and directories it changed, at least one. The first is the one that was changed last.
    pub files: SmallVec<[Arc<OwnedFd>; 2]>,
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

/// Makes changes as durable as configured.
pub struct Committer {
    staging: OwnedFd,
    durability: Durability,
    /// There are none until something is to be flushed.
    threads: OnceLock<Threads>,
    done: Arc<Done>,
}

/// What does the waiting.
struct Threads {
    /// If the file system has one that commits in order.
    journal: Option<Journal>,
    /// The queue in front of the threads that flush files one by one.
    files: Sender<Waiting>,
}

/// What became of a flush.
type Flushed = rustix::io::Result<()>;

/// What the flushing threads have done.
#[derive(Default)]
struct Done {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// What became of changes so far.
#[derive(Clone, Copy, Debug)]
pub struct Flushes {
    /// Changes that were flushed, or failed to be.
    pub count: u64,
    /// How long they waited for the disk, added up.
    pub took: Duration,
    /// Changes that no thread has taken up yet.
    pub waiting: usize,
}

struct Waiting {
    work: Work,
    answer: Answer<Flushed>,
}

/// What one of the threads for single files does.
enum Work {
    /// Brings the data of a file to the device.
    Settle(OwnedFd),
    /// Makes the data of the first file and everything that was changed before it durable, in order.
    Flush(Change),
    /// Makes every file durable, and the whole file system if that may not be enough.
    FlushAll(Change),
}

impl Committer {
    /// Flushes on the file system that `staging`, a directory of the server's own, is on; `durability` is that of buckets
    /// which have none of their own. If that is to flush nothing, the flushing threads start with the first change of a
    /// bucket that has another.
    pub fn start(staging: BorrowedFd<'_>, durability: Durability) -> std::io::Result<Committer> {
        let (staging, threads) = (staging.try_clone_to_owned()?, OnceLock::new());
        let committer = Committer { staging, durability, threads, done: Arc::default() };
        if durability != Durability::None {
            committer.started()?;
        }
        Ok(committer)
    }

    fn started(&self) -> std::io::Result<&Threads> {
        if let Some(threads) = self.threads.get() {
            return Ok(threads);
        }
        let group_max = if self.durability == Durability::Each { 1 } else { limits::FLUSH_GROUP_MAX };
        let journal = Journal::start(self.staging.as_fd(), group_max, &self.done)?;
        let (files, waiting) = flume::unbounded();
        for index in 0..limits::FLUSH_THREADS {
            let (waiting, done) = (waiting.clone(), self.done.clone());
            thread::Builder::new()
                .name(format!("commit-{index}"))
                .stack_size(FLUSH_STACK_BYTES)
                .spawn(move || flush_files(&waiting, &done))?;
        }
        // Of two that start at the same time one wins; the threads of the other end.
        Ok(self.threads.get_or_init(|| Threads { journal, files }))
    }

    /// Who flushes a change of this durability; none: nobody does.
    fn threads(&self, durability: Durability) -> Result<Option<&Threads>> {
        if durability == Durability::None {
            return Ok(None);
        }
        let started = self.started().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN));
        started.map(Some).at(Subject::Root, "start the flushing threads")
    }

    /// What holds for buckets that have no durability of their own.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// What was done so far.
    pub fn statistics(&self) -> Flushes {
        let waiting = self
            .threads
            .get()
            .map_or(0, |threads| threads.files.len() + threads.journal.as_ref().map_or(0, Journal::waiting));
        Flushes {
            count: self.done.count.load(Ordering::Relaxed),
            took: Duration::from_nanos(self.done.nanos.load(Ordering::Relaxed)),
            waiting,
        }
    }

    /// Whether many changes can share a flush. What nobody flushed yet shares none.
    pub fn shares_flushes(&self) -> bool {
        self.threads.get().is_some_and(|threads| threads.journal.is_some())
    }

    /// Waits until the data of a small file is on the device, so that the file can be given its name; the file comes back.
    pub async fn settle(&self, durability: Durability, file: OwnedFd) -> Result<OwnedFd> {
        let Some(threads) = self.threads(durability)? else { return Ok(file) };
        match threads.journal_of(Some(file.as_fd())) {
            Some(journal) => {
                let (file, settled) = journal.settle(file).await;
                settled.and(file.ok_or(Errno::IO)).at(Subject::Object, OP_SETTLE)
            }
            None => {
                let clone = file.try_clone().at(Subject::Object, OP_SETTLE)?;
                self.settle_large(durability, clone).await?;
                Ok(file)
            }
        }
    }

    /// As [`settle`](Self::settle), for a file that may have so much data in the page cache that others must not wait for
    /// it.
    pub async fn settle_large(&self, durability: Durability, file: OwnedFd) -> Result<()> {
        let Some(threads) = self.threads(durability)? else { return Ok(()) };
        let work = match threads.journal_of(Some(file.as_fd())) {
            Some(_) => Work::Settle(file),
            None => Work::FlushAll(Change { files: SmallVec::from_iter([Arc::new(file)]), wide: false }),
        };
        threads.wait_for(work).await.at(Subject::Object, OP_SETTLE)
    }

    /// As [`settle`](Self::settle), for a file all of which was to go past the page cache: mostly there is nothing to wait
    /// for, and no thread to be woken.
    pub async fn settle_direct(&self, durability: Durability, file: BorrowedFd<'_>) -> Result<()> {
        let Some(threads) = self.threads(durability)? else { return Ok(()) };
        if threads.journal_of(Some(file)).is_some() && cached_bytes(file, 0, 0) == Some(0) {
            // What was there after all and is gone may have failed.
            return write_back(file).at(Subject::Object, OP_SETTLE);
        }
        let file = file.try_clone_to_owned().at(Subject::Object, OP_SETTLE)?;
        self.settle_large(durability, file).await
    }

    /// As [`settle`](Self::settle), for a thread that is no core and may wait.
    pub fn settle_and_wait(&self, durability: Durability, file: BorrowedFd<'_>) -> Result<()> {
        let Some(threads) = self.threads(durability)? else { return Ok(()) };
        let settled = match threads.journal_of(Some(file)) {
            Some(_) => write_back(file),
            None => fs::fsync(file),
        };
        settled.at(Subject::Object, OP_SETTLE)
    }

    /// Waits until `change` is as durable as its bucket is to be (see [`Root::durability`]). It is one of metadata, and of
    /// files whose data is settled. Any queue here is as long as there are requests that wait, which the connections bound.
    pub async fn commit(&self, durability: Durability, change: Change) -> Result<()> {
        let Some(threads) = self.threads(durability)? else { return Ok(()) };
        let flushed = match threads.journal_of(change.files.first().map(AsFd::as_fd)) {
            Some(journal) => {
                drop(change);
                journal.flush().await
            }
            None => threads.wait_for(Work::FlushAll(change)).await,
        };
        flushed.at(Subject::Root, OP_COMMIT)
    }

    /// As [`commit`](Self::commit), of a change whose first file has data in the page cache.
    pub async fn commit_data(&self, durability: Durability, change: Change) -> Result<()> {
        let Some(threads) = self.threads(durability)? else { return Ok(()) };
        let work = match threads.journal_of(change.files.first().map(AsFd::as_fd)) {
            Some(_) => Work::Flush(change),
            None => Work::FlushAll(change),
        };
        threads.wait_for(work).await.at(Subject::Root, OP_COMMIT)
    }

    /// As [`commit`](Self::commit), for a thread that is no core and may wait.
    pub fn commit_and_wait(&self, durability: Durability, change: &Change) -> Result<()> {
        let Some(threads) = self.threads(durability)? else { return Ok(()) };
        let flushed = match threads.journal_of(change.files.first().map(AsFd::as_fd)) {
            Some(journal) => journal.flush_and_wait(),
            None => flush_all(change),
        };
        flushed.at(Subject::Root, OP_COMMIT)
    }
}

#[cfg(test)]
impl Committer {
    fn journal(&self) -> Option<&Journal> {
        self.threads.get()?.journal.as_ref()
    }
}

impl Threads {
    /// The journal that a changed file belongs to. A file system that is mounted inside the data directory has its own.
    fn journal_of(&self, file: Option<BorrowedFd<'_>>) -> Option<&Journal> {
        self.journal.as_ref().filter(|journal| file.is_some_and(|file| journal.covers(file)))
    }

    async fn wait_for(&self, work: Work) -> Flushed {
        let (answer, reply) = question();
        let sent = self.files.send(Waiting { work, answer });
        assert!(sent.is_ok(), "the flushing threads live as long as the queue");
        reply.await.unwrap_or(Err(Errno::IO))
    }
}

impl Done {
    /// Counts `count` changes that waited for one flush.
    fn add(&self, count: usize, took: Duration) {
        counters::flushed_together(count);
        let nanos = took.as_nanos().saturating_mul(count as u128);
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(nanos).unwrap_or(0), Ordering::Relaxed);
    }
}

fn flush_files(waiting: &Receiver<Waiting>, done: &Done) {
    for Waiting { work, answer } in waiting.iter() {
        let began = Instant::now();
        failpoint::pass("commit:taken");
        let flushed = match &work {
            Work::Settle(file) => write_back(file.as_fd()),
            Work::Flush(change) => change.files.first().map_or(Ok(()), fs::fsync),
            Work::FlushAll(change) => flush_all(change),
        };
        if !matches!(work, Work::Settle(_)) {
            done.add(1, began.elapsed());
        }
        failpoint::pass("commit:flushed");
        drop(work);
        answer.send(flushed);
    }
}

/// Makes a change durable on a file system that promises no order.
fn flush_all(change: &Change) -> Flushed {
    match change.files.first() {
        Some(first) if change.wide => fs::syncfs(first),
        _ => change.files.iter().try_for_each(fs::fsync),
    }
}

const OP_SETTLE: &str = "write the object's data to the disk";
const OP_COMMIT: &str = "flush what was changed to stable storage";

/// A flushing thread calls into the kernel and into the mailbox, no deeper.
const FLUSH_STACK_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests;
