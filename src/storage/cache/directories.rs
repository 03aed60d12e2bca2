//! Directories that are as they were: what saves following the path of each object by itself.
//!
//! A directory gets other times whenever a name in it is made, removed or given to another file. So while it has the same
//! ones, and its own path leads to it, all names in it stand for the files that they stood for; and to know that a file is
//! as it was, one asks its descriptor, which costs a third of following its path. One look at a directory serves all objects
//! in it that are asked for in one [`Turn`].
//!
//! # Invariants
//! - A directory is believed only where the times of files are fine enough that every change makes others
//!   ([`Capabilities::fine_times`](crate::storage::root::Capabilities)), which was found out for the root's file system;
//!   one on another file system is not. It is looked at first when its times have settled, and the name of an object in it
//!   after that.
//! - The first object of a turn is found by its own path: it may be the only one.
//! - What this cannot tell, for as long as an object is trusted: a file system that is mounted on the object's file itself.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs;

use super::{CachedObject, TRUST, file_id_at, is_settled};
use crate::codec::dates::Timestamp;
use crate::limits::DIRECTORIES_KEPT;
use crate::runtime::Turn;
use crate::runtime::clock::coarse;
use crate::storage::layout::BucketName;
use crate::storage::object::FileId;
use crate::storage::root::Root;
use crate::storage::walk;

/// The directories of the objects of one core.
pub(super) struct Directories {
    /// Each has one place, which the hash of its path names.
    slots: RefCell<Box<[Option<Rc<Directory>>]>>,
    /// The device of the root.
    device: OnceCell<Option<u64>>,
}

/// A directory as it was when it was looked at.
pub(super) struct Directory {
    /// From the root on, with a NUL at its end.
    path: Box<[u8]>,
    state: FileId,
    /// It is not what it was, or was changed too short a time ago to tell.
    changed: Cell<bool>,
    looked: Duration,
    /// When its path was last followed as strictly as that of an object that is opened, by [`coarse`].
    followed: Cell<Option<Duration>>,
    /// The last turn in which an object of it was asked for, and the last in which it was as it was.
    asked: Cell<Option<Turn>>,
    stood: Cell<Option<Turn>>,
}

impl Directories {
    pub(super) fn new() -> Directories {
        let slots = (0..DIRECTORIES_KEPT).map(|_| None).collect();
        Directories { slots: RefCell::new(slots), device: OnceCell::new() }
    }

    /// The directory with this path, if it can be told later whether it has changed. `hash` is that of the path.
    pub(super) fn look(&self, root: &Root, path: &[u8], hash: u64, now: Timestamp) -> Option<Rc<Directory>> {
        if !root.capabilities.fine_times {
            return None;
        }
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(hash as usize % DIRECTORIES_KEPT)?;
        if let Some(directory) = slot.as_ref().filter(|directory| directory.is_at(path)) {
            if !directory.changed.get() {
                return Some(directory.clone());
            }
            if coarse().saturating_sub(directory.looked) < LOOK_AGAIN {
                return None;
            }
        }
        let path = [path, b"\0"].concat().into_boxed_slice();
        let state = file_id_at(root, CStr::from_bytes_with_nul(&path).ok()?)?;
        let device = *self.device.get_or_init(|| fs::fstat(&root.fd).ok().map(|stat| stat.st_dev));
        let is_sure = device == Some(state.device) && is_settled(state.stamp.ctime, now, true);
        let directory = Rc::new(Directory {
            path,
            state,
            changed: Cell::new(!is_sure),
            looked: coarse(),
            followed: Cell::new(None),
            asked: Cell::new(None),
            stood: Cell::new(None),
        });
        *slot = Some(directory.clone());
        is_sure.then_some(directory)
    }
}

impl Directory {
    fn is_at(&self, path: &[u8]) -> bool {
        self.path.strip_suffix(b"\0") == Some(path)
    }

    /// Whether the object's file is on its file system: no other one is mounted on the file itself.
    pub(super) fn is_of_device_of(&self, cached: &CachedObject) -> bool {
        self.state.device == cached.object.file_id.device
    }

    /// When its path was last followed strictly to what it was: now, unless that is less than [`TRUST`] ago. `None`: it does
    /// not lead there any more.
    pub(super) fn followed(&self, root: &Root, bucket: &BucketName) -> Option<Duration> {
        let now = coarse();
        let recently = self.followed.get().filter(|followed| now.saturating_sub(*followed) < TRUST);
        if recently.is_none() && !self.changed.get() {
            self.changed.set(self.follow(root, bucket) != Some(self.state));
            self.followed.set(Some(now));
        }
        self.followed.get().filter(|_| !self.changed.get())
    }

    fn follow(&self, root: &Root, bucket: &BucketName) -> Option<FileId> {
        let below_bucket = self.path.strip_prefix(bucket.as_bytes())?.strip_suffix(b"\0")?;
        let bucket = root.bucket(bucket).ok()??;
        let stat = match below_bucket.strip_prefix(b"/") {
            Some(path) => walk::find(bucket.fd.as_fd(), path).ok()??.1,
            None => fs::fstat(&bucket.fd).ok()?,
        };
        Some(FileId::of(&stat))
    }

    /// Whether an object that was in here still is. False: it has to be found by its own path.
    pub(super) fn stands(&self, root: &Root, turn: Turn) -> bool {
        if self.stood.get() == Some(turn) {
            return true;
        }
        if self.asked.replace(Some(turn)) != Some(turn) || self.changed.get() {
            return false;
        }
        let path = CStr::from_bytes_with_nul(&self.path).ok();
        let stands = path.and_then(|path| file_id_at(root, path)) == Some(self.state);
        self.changed.set(!stands);
        self.stood.set(stands.then_some(turn));
        stands
    }
}

/// How long after it was found changed a directory is looked at again: one that is written to all the time is left alone.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
