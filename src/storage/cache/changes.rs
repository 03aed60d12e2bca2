//! Files whose every change the kernel reports: what saves asking each of them.
//!
//! Asking a file's descriptor whether it is as it was costs a system call for each request, about a tenth of all that a
//! small GET costs. So an object that is asked for often gets a watch (inotify(7)) on its file, and one look at the queue of
//! reports answers for all watched objects that are asked for in one [`Turn`].
//!
//! # Invariants
//! - A program's change is in the queue before its system call returns, or its completion is in its ring. So whoever knows of a change and then sends a request is answered by one who has read the report.
//! - The watch is on the file itself, whatever name a change is made by. It is placed before the file's state is compared.
//! - A report comes when a write has ended, not when it begins: it tells nothing of content that was read meanwhile. What
//!   was read for an answer is compared by the file's times, which move first; only what is in memory goes by reports.
//! - Only where no other machine writes to the file system
//!   ([`Capabilities::reports_changes`](crate::storage::root::Capabilities)).
//! - After its first report a watch is gone, so that no program can fill the queue, and its object is asked by its
//!   descriptor until its path is followed again.
//! - What the kernel does not report: stores through a mapping (mmap), and writes of io_submit(2) or of a ring that polls
//!   (IOPOLL). That a program opens the file to make them is reported; if it had opened it before, such changes show when
//!   the object's path is followed again, within [`TRUST`](super::TRUST).

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::runtime::Turn;
use crate::storage::walk;

/// What is reported to one core.
pub(super) struct Changes {
    queue: Option<OwnedFd>,
    /// The watches, by the kernel's numbers, of which it gives none twice.
    watched: RefCell<HashSet<i32>>,
    watches_max: usize,
    /// Of the watches that somebody holds, so many are gone.
    lost: Cell<usize>,
    /// The last turn in which the queue was emptied.
    emptied: Cell<Option<Turn>>,
}

/// A watch on a file, for as long as this is there.
pub(super) struct Watch {
    number: i32,
    changes: Rc<Changes>,
}

impl Changes {
    /// So many watches at most; 0 for none.
    pub(super) fn new(watches_max: usize) -> Rc<Changes> {
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        // EMFILE: the user's programs have all queues that they may. Objects are asked by their descriptors then.
        let queue = (watches_max > 0).then(|| inotify::init(flags).ok()).flatten();
        Rc::new(Changes {
            queue,
            watched: RefCell::default(),
            watches_max,
            lost: Cell::new(0),
            emptied: Cell::new(None),
        })
    }

    /// Watches a file. What it was like has to be found out after this. `None`: there is no room for another watch, or the
    /// file has one already.
    pub(super) fn watch(self: &Rc<Changes>, file: BorrowedFd<'_>) -> Option<Watch> {
        let queue = self.queue.as_ref()?;
        let mut watched = self.watched.borrow_mut();
        if watched.len() >= self.watches_max {
            return None;
        }
        let number = inotify::add_watch(queue, walk::proc_path(file).as_str(), REPORTED).ok()?;
        // A second name of the same file has the same watch.
        watched.insert(number).then(|| Watch { number, changes: self.clone() })
    }

    /// Takes what was reported up to this turn, once in it.
    fn catch_up(&self, turn: Turn) {
        if self.emptied.replace(Some(turn)) == Some(turn) {
            return;
        }
        let Some(queue) = &self.queue else { return };
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        let mut reader = Reader::new(queue, &mut buffer);
        // It ends: each report takes its watch away.
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                    self.lose_all(queue)
                }
                Ok(event) => self.lose(queue, event.wd()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.lose_all(queue),
            }
        }
    }

    fn lose(&self, queue: &OwnedFd, number: i32) {
        // Reports may follow that of a watch which is gone.
        if self.watched.borrow_mut().remove(&number) {
            self.lost.set(self.lost.get() + 1);
            let _ = inotify::remove_watch(queue, number);
        }
    }

    fn lose_all(&self, queue: &OwnedFd) {
        let numbers: Vec<i32> = self.watched.borrow().iter().copied().collect();
        numbers.into_iter().for_each(|number| self.lose(queue, number));
    }
}

impl Watch {
    /// Whether no change was reported before this turn.
    pub(super) fn is_quiet(&self, turn: Turn) -> bool {
        self.changes.catch_up(turn);
        !self.is_lost()
    }

    /// Whether it reports nothing any more.
    pub(super) fn is_lost(&self) -> bool {
        // Mostly none is, and nothing has to be looked for.
        self.changes.lost.get() > 0 && !self.changes.watched.borrow().contains(&self.number)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Changes { queue, watched, lost, .. } = &*self.changes;
        if !watched.borrow_mut().remove(&self.number) {
            lost.set(lost.get() - 1);
        } else if let Some(queue) = queue {
            let _ = inotify::remove_watch(queue, self.number);
        }
    }
}

/// Whether the kernel reports a change of this file.
pub(in crate::storage) fn are_reported(file: BorrowedFd<'_>) -> bool {
    let changes = Changes::new(1);
    let Some(watch) = changes.watch(file) else { return false };
    let is_quiet = watch.is_quiet(Turn(0));
    is_quiet && rustix::io::pwrite(file, b"x", 0).is_ok() && !watch.is_quiet(Turn(1))
}

/// Content, attributes, owner, mode, the number of links, another name; and that it is opened, by whom ever.
const REPORTED: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::OPEN);
/// Some hundred reports.
const READ_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::{AsFd, AsRawFd};

    use rustix::fs::Mode;
    use tempfile::TempDir;

    /// A directory, and as many files in it.
    fn files<const COUNT: usize>() -> (TempDir, [File; COUNT]) {
        let directory = tempfile::tempdir().unwrap();
        let open = |number| File::create_new(directory.path().join(format!("{number}"))).unwrap();
        let files = std::array::from_fn(open);
        (directory, files)
    }

    #[test]
    fn there_are_so_many_watches_and_one_for_a_file_and_the_kernel_is_given_them_back() {
        let (directory, [one, two, three]) = files();
        let changes = Changes::new(2);
        let kernel = || {
            let queue = changes.queue.as_ref().unwrap().as_raw_fd();
            let text = fs::read_to_string(format!("/proc/self/fdinfo/{queue}")).unwrap();
            text.matches("inotify wd").count()
        };
        let first = changes.watch(one.as_fd()).unwrap();
        assert!(changes.watch(one.as_fd()).is_none(), "it has one");
        let second = changes.watch(two.as_fd()).unwrap();
        assert!(changes.watch(three.as_fd()).is_none(), "no room");
        assert_eq!(kernel(), 2);
        drop(second);
        assert_eq!(kernel(), 1);
        let third = changes.watch(three.as_fd()).unwrap();
        assert!(first.is_quiet(Turn(1)) && third.is_quiet(Turn(1)));
        File::open(directory.path().join("0")).unwrap();
        assert!(first.is_quiet(Turn(1)), "the same turn");
        assert!(!first.is_quiet(Turn(2)) && first.is_lost() && third.is_quiet(Turn(2)));
        assert_eq!((kernel(), changes.lost.get()), (1, 1));
        drop(first);
        assert_eq!((changes.lost.get(), changes.watched.borrow().len()), (0, 1));
        assert!(changes.watch(one.as_fd()).unwrap().is_quiet(Turn(3)), "another one");
        drop(third);
        assert_eq!((kernel(), changes.lost.get(), changes.watched.borrow().len()), (0, 0, 0));
        assert!(Changes::new(0).watch(one.as_fd()).is_none());
    }

    #[test]
    fn reports_that_the_kernel_had_no_room_for_are_taken_for_changes_of_all() {
        let room = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let room: usize = room.trim().parse().unwrap();
        let (_directory, [busy, silent]) = files();
        let changes = Changes::new(2);
        let watches = [&busy, &silent].map(|file| changes.watch(file.as_fd()).unwrap());
        assert!(watches.iter().all(|watch| watch.is_quiet(Turn(1))));
        // Two of the same kind in a row would be one report.
        for _ in 0..=room / 2 {
            rustix::io::pwrite(&busy, b"x", 0).unwrap();
            rustix::fs::fchmod(&busy, Mode::RUSR).unwrap();
        }
        assert!(watches.iter().all(|watch| !watch.is_quiet(Turn(2))));
    }
}
