//! File systems with one journal that commits in order: many changes become durable with one flush.
//!
//! ext4 and XFS put every change of metadata into the transaction (XFS: the checkpoint) that is open when it is made, and
//! none becomes durable before the one in front of it. So the flush of one file makes everything durable that was changed
//! before that file was. Which file of a group was changed last nobody can say while cores work side by side. So the
//! flushing thread makes the last change itself: it takes whatever waits, then sets the time of a file of its own, the
//! mark, and flushes that. Each change of the group had returned from its system call before it was put into the queue, and
//! that of the mark begins afterwards, so it is in the same transaction or in a later one.
//!
//! What is flushed here has to be metadata: nobody writes the page cache of the group's files back. That is [`settle`]'s
//! part, before a file gets its name. When it returns, the data is on the device, and the extents and the size that go with
//! it are in the open transaction (ext4 and XFS see to both before they end the writeback of a page). The journal flushes
//! the device's cache in front of its commit record. So no name is stable before the data behind it is, whoever has the
//! journal written, and when: a power cut leaves the whole object or none of it.
//!
//! [`settle`]: Journal::settle

use std::fs as std_fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use flume::{Receiver, Sender};
use rustix::fs::{self, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Done, FLUSH_STACK_BYTES, Flushed};
use crate::failpoint;
use crate::limits;
use crate::runtime::mailbox::{Answer, answer_all, question};
use crate::runtime::{file, yield_to_cores};

/// The queues in front of the two threads that serve a journal.
pub(super) struct Journal {
    device: u64,
    mark: Arc<Mark>,
    settling: Sender<Settling>,
    flushing: Sender<Answer<Flushed>>,
}

/// A file that waits for its data to be on the device. It comes back with the answer.
struct Settling {
    file: OwnedFd,
    answer: Answer<(OwnedFd, Flushed)>,
}

impl Journal {
    /// Starts the threads if the file system of `staging`, a directory of the server's own, commits in order. At most
    /// `group_max` changes share a flush.
    pub(super) fn start(
        staging: BorrowedFd<'_>,
        group_max: usize,
        done: &Arc<Done>,
    ) -> std::io::Result<Option<Journal>> {
        if !commits_in_order(staging) {
            return Ok(None);
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let Ok(file) = fs::openat(staging, ".", flags, Mode::from_raw_mode(0o600)) else { return Ok(None) };
        let device = fs::fstat(&file)?.st_dev;
        let mark = Arc::new(Mark { file });
        let (settling, to_settle) = flume::unbounded();
        let (flushing, to_flush) = flume::unbounded();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).stack_size(FLUSH_STACK_BYTES).spawn(work)
        };
        spawn("settle", Box::new(move || settle_groups(&to_settle)))?;
        let (flushed, done) = (mark.clone(), done.clone());
        spawn("commit", Box::new(move || flush_groups(&flushed, group_max, &to_flush, &done)))?;
        Ok(Some(Journal { device, mark, settling, flushing }))
    }

    /// Whether a file is on this file system, and not on another one that is mounted inside.
    pub(super) fn covers(&self, file: BorrowedFd<'_>) -> bool {
        fs::fstat(file).is_ok_and(|stat| stat.st_dev == self.device)
    }

    /// Waits until the data of a small file is on the device.
    pub(super) async fn settle(&self, file: OwnedFd) -> (Option<OwnedFd>, Flushed) {
        let (answer, reply) = question();
        let sent = self.settling.send(Settling { file, answer });
        assert!(sent.is_ok(), "the threads live as long as their queues");
        match reply.await {
            Some((file, settled)) => (Some(file), settled),
            None => (None, Err(Errno::IO)),
        }
    }

    /// Waits until everything that was changed before is durable.
    pub(super) async fn flush(&self) -> Flushed {
        let (answer, reply) = question();
        assert!(self.flushing.send(answer).is_ok(), "the threads live as long as their queues");
        reply.await.unwrap_or(Err(Errno::IO))
    }

    /// As [`flush`](Self::flush), on the calling thread.
    pub(super) fn flush_and_wait(&self) -> Flushed {
        self.mark.flush()
    }

    /// Changes that no flush has taken up yet.
    pub(super) fn waiting(&self) -> usize {
        self.flushing.len()
    }
}

/// The file whose change comes after those that its flush makes durable. It has no name, so nothing is left of it.
struct Mark {
    file: OwnedFd,
}

impl Mark {
    fn flush(&self) -> Flushed {
        let now = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW };
        fs::futimens(&self.file, &Timestamps { last_access: now, last_modification: now })?;
        fs::fsync(&self.file)
    }
}

/// All data is on its way before the first is waited for, so that a group takes the time of one write.
fn settle_groups(waiting: &Receiver<Settling>) {
    yield_to_cores();
    while let Ok(first) = waiting.recv() {
        let group: Vec<_> =
            std::iter::once(first).chain(waiting.try_iter()).take(limits::FLUSH_GROUP_MAX).collect();
        for Settling { file, .. } in &group {
            // What could not be started is found again below.
            let _ = file::start_writeback(file.as_fd());
        }
        answer_all(group.into_iter().map(|Settling { file, answer }| {
            let settled = write_back(file.as_fd());
            (answer, (file, settled))
        }));
    }
}

/// Waits until all data of a file is on the device, in its cache at least.
pub(super) fn write_back(file: BorrowedFd<'_>) -> Flushed {
    file::write_back(file).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// The busier the server, the more changes wait while a flush is under way, and share the next one; no timer is involved.
fn flush_groups(mark: &Mark, group_max: usize, waiting: &Receiver<Answer<Flushed>>, done: &Done) {
    yield_to_cores();
    while let Ok(first) = waiting.recv() {
        let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter().take(group_max - 1)).collect();
        let began = Instant::now();
        failpoint::pass("commit:taken");
        let flushed = mark.flush();
        failpoint::pass("commit:flushed");
        done.add(group.len(), began.elapsed());
        answer_all(group.into_iter().map(|answer| (answer, flushed)));
    }
}

/// Whether the file system commits metadata in the order in which it was changed: XFS does, and ext4 if it has a journal.
pub(in crate::storage) fn commits_in_order(directory: BorrowedFd<'_>) -> bool {
    match fs::fstatfs(directory).map(|stat| stat.f_type as u64) {
        Ok(XFS) => true,
        Ok(EXT) => has_journal(directory).unwrap_or(false),
        _ => false,
    }
}

/// ext2 and ext4 have one number, and ext4 need not have a journal: it names the task that writes one in sysfs. Where that
/// cannot be read each change is flushed for itself.
fn has_journal(directory: BorrowedFd<'_>) -> Option<bool> {
    let device = fs::fstat(directory).ok()?.st_dev;
    let device = format!("/sys/dev/block/{}:{}", fs::major(device), fs::minor(device));
    let device = std_fs::read_link(device).ok()?;
    let task = Path::new("/sys/fs/ext4").join(device.file_name()?).join("journal_task");
    Some(std_fs::read_to_string(task).ok()?.trim().parse::<u32>().is_ok())
}

// statfs(2).
const EXT: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
