//! Directories that this core put objects into a moment ago, still open, so that the next object of one need not open its
//! bucket and its directory again.
//!
//! # Invariants
//! - A directory in here is used only while its path from the root on names it: one that was renamed away, removed or
//!   replaced gets no object of a request that came later. One statx tells (`OpenDirectory::stands`).
//! - That path is not resolved as strictly as when the directory was opened: a symbolic link that took the place of a
//!   directory on the way is followed, and only to the very same directory. So one is trusted for [`TRUST`] only after it
//!   was opened, never longer, however often it is used.
//! - What is done for a user (see [`super::permission`]) uses nothing in here: the kernel is asked for every step whether
//!   that user may go there.
//! - Whether the bucket is served is asked every time.
//! - A directory that is not trusted any more is closed within about a second ([`OpenDirectories::sweep`]).
//! - Bounded: a new directory takes the place of the one that was opened longest ago.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{self, AtFlags, StatxFlags};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cache::TRUST;
use super::error::Result;
use super::layout::{BucketName, HOP_BYTES_MAX, KeyPath};
use super::root::{Bucket, Root};
use super::walk;
use crate::runtime::clock::coarse;
use crate::runtime::credentials;

/// The directories of one core.
pub struct OpenDirectories {
    slots: RefCell<Vec<Slot>>,
    directories_max: usize,
    /// Random, so that nobody can choose paths whose hashes are equal.
    seed: u64,
}

struct Slot {
    hash: u64,
    /// By [`coarse`].
    opened: Duration,
    directory: Rc<OpenDirectory>,
}

/// A directory that was opened beneath the root.
pub struct OpenDirectory {
    pub(super) fd: Arc<OwnedFd>,
    /// From the root on, with a NUL at its end.
    path: Path,
    /// Not asked for before it is needed: it does not change.
    id: OnceCell<Option<Id>>,
    /// Whether the last object that came here had a new name.
    takes_new_names: Cell<bool>,
}

/// A directory whose path named it at some time.
pub struct Seen {
    pub(super) directory: Rc<OpenDirectory>,
    at: Duration,
}

type Path = SmallVec<[u8; 128]>;

/// Device and inode.
type Id = (u32, u32, u64);

impl OpenDirectories {
    /// As many directories as `directories_max`, each of which keeps a descriptor; 0 for none.
    #[must_use]
    pub fn new(directories_max: usize) -> Self {
        Self { slots: RefCell::default(), directories_max, seed: RandomState::new().hash_one(()) }
    }

    /// Opens a bucket, as [`Root::bucket`] does.
    ///
    /// # Errors
    /// Those of [`Root::bucket`].
    pub fn bucket(&self, root: &Root, name: &BucketName) -> Result<Option<Bucket>> {
        let path = path_of(name, None);
        if credentials::is_user() || root.is_unlinked(name) {
            return root.bucket(name);
        }
        let now = coarse();
        if let Some(directory) = self.find(&path, now, |directory| directory.stands(root)) {
            return Ok(Some(Bucket { name: *name, fd: directory.fd.clone() }));
        }
        let bucket = root.bucket(name)?;
        if let Some(bucket) = &bucket {
            self.keep(OpenDirectory::new(bucket.fd.clone(), path), now);
        }
        Ok(bucket)
    }

    /// The directory of an object's name. `None`: it is not there, or has to be opened anew for this object.
    pub fn parent(&self, root: &Root, bucket: &Bucket, path: &KeyPath) -> Option<Seen> {
        let at = path_of(&bucket.name, path.parent());
        if credentials::is_user() || at.len() > HOP_BYTES_MAX {
            return None;
        }
        let now = coarse();
        // That the bucket stands was asked when it was opened for this object.
        let stands =
            |directory: &OpenDirectory| Arc::ptr_eq(&directory.fd, &bucket.fd) || directory.stands(root);
        if let Some(directory) = self.find(&at, now, stands) {
            return Some(Seen { directory, at: now });
        }
        let fd = match path.parent() {
            Some(parent) => Arc::new(walk::open_directory(bucket.fd.as_fd(), parent).ok()?),
            None => bucket.fd.clone(),
        };
        Some(Seen { directory: self.keep(OpenDirectory::new(fd, at), now), at: now })
    }

    /// Closes the directories that are not trusted any more.
    pub fn sweep(&self) {
        let now = coarse();
        self.slots.borrow_mut().retain(|slot| !slot.is_old(now));
    }

    fn find(
        &self,
        path: &Path,
        now: Duration,
        stands: impl FnOnce(&OpenDirectory) -> bool,
    ) -> Option<Rc<OpenDirectory>> {
        let hash = self.hash(path);
        let mut slots = self.slots.borrow_mut();
        let index = slots.iter().position(|slot| slot.hash == hash && slot.directory.path == *path)?;
        let slot = &slots[index];
        if slot.is_old(now) || !stands(&slot.directory) {
            slots.swap_remove(index);
            return None;
        }
        Some(slot.directory.clone())
    }

    /// `opened`: not later than it was.
    fn keep(&self, directory: OpenDirectory, opened: Duration) -> Rc<OpenDirectory> {
        let directory = Rc::new(directory);
        if self.directories_max == 0 {
            return directory;
        }
        let slot = Slot { hash: self.hash(&directory.path), opened, directory: directory.clone() };
        let mut slots = self.slots.borrow_mut();
        if slots.len() < self.directories_max {
            slots.push(slot);
        } else if let Some(oldest) = slots.iter_mut().min_by_key(|slot| slot.opened) {
            *oldest = slot;
        }
        directory
    }

    fn hash(&self, path: &Path) -> u64 {
        xxh3_64_with_seed(path, self.seed)
    }
}

impl Slot {
    fn is_old(&self, now: Duration) -> bool {
        now.saturating_sub(self.opened) >= TRUST
    }
}

impl OpenDirectory {
    fn new(fd: Arc<OwnedFd>, path: Path) -> Self {
        Self { fd, path, id: OnceCell::new(), takes_new_names: Cell::new(false) }
    }

    /// Whether its path is that of a directory of a bucket, or of the bucket itself.
    fn is_at(&self, bucket: &BucketName, directory: Option<&[u8]>) -> bool {
        let rest = self.path.strip_prefix(bucket.as_bytes()).and_then(|rest| rest.strip_suffix(b"\0"));
        match (rest, directory) {
            (Some(rest), Some(directory)) => rest.strip_prefix(b"/") == Some(directory),
            (Some(rest), None) => rest.is_empty(),
            (None, _) => false,
        }
    }

    /// Whether its path still names it.
    fn stands(&self, root: &Root) -> bool {
        let Some(id) = *self.id.get_or_init(|| id(self.fd.as_fd(), c"", AtFlags::EMPTY_PATH)) else {
            return false;
        };
        // On a file system of the network the server of that is asked, as it is when a directory is opened.
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
        CStr::from_bytes_with_nul(&self.path)
            .is_ok_and(|path| self::id(root.fd.as_fd(), path, flags) == Some(id))
    }

    /// Whether an object that comes here is likely to have a new name, as the last one had.
    pub(super) fn takes_new_names(&self) -> bool {
        self.takes_new_names.get()
    }

    /// Notes whether an object had a new name.
    pub(super) fn took(&self, new_name: bool) {
        self.takes_new_names.set(new_name);
    }
}

impl Seen {
    /// Whether its path names it: within one tick of the coarsest clock nothing is asked again.
    pub(super) fn stands(&self, root: &Root) -> bool {
        self.stands_at(root, coarse())
    }

    fn stands_at(&self, root: &Root, now: Duration) -> bool {
        self.at == now || self.directory.stands(root)
    }
}

/// The directory of the object that was deleted last, for the next one.
pub(super) struct LastParent<'b> {
    bucket: &'b Bucket,
    seen: Option<Seen>,
}

impl<'b> LastParent<'b> {
    pub(super) fn new(bucket: &'b Bucket) -> Self {
        Self { bucket, seen: None }
    }

    /// As [`walk::open_parent`].
    pub(super) fn open(&mut self, root: &Root, path: &KeyPath) -> Result<Option<Arc<OwnedFd>>> {
        let now = coarse();
        if let Some(seen) = &mut self.seen
            && seen.directory.is_at(&self.bucket.name, path.parent())
            && seen.stands_at(root, now)
        {
            seen.at = now;
            return Ok(Some(seen.directory.fd.clone()));
        }
        self.seen = None;
        let Some(fd) = walk::open_parent(self.bucket, path)? else { return Ok(None) };
        let at = path_of(&self.bucket.name, path.parent());
        if at.len() <= HOP_BYTES_MAX {
            self.seen = Some(Seen { directory: Rc::new(OpenDirectory::new(fd.clone(), at)), at: now });
        }
        Ok(Some(fd))
    }
}

/// The path of a directory of a bucket from the root on.
fn path_of(bucket: &BucketName, directory: Option<&[u8]>) -> Path {
    let mut path = Path::from_slice(bucket.as_bytes());
    if let Some(directory) = directory {
        path.push(b'/');
        path.extend_from_slice(directory);
    }
    path.push(0);
    path
}

/// What tells a directory from every other one. `None`: nothing is there, or no directory.
fn id(at: BorrowedFd<'_>, path: &CStr, flags: AtFlags) -> Option<Id> {
    let stat = fs::statx(at, path, flags, StatxFlags::TYPE | StatxFlags::INO).ok()?;
    Some((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}

#[cfg(test)]
mod tests;
