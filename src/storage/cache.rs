//! Objects that this core opened a moment ago, still open, so that the next request for one need not open it again.
//!
//! Opening an object takes some ten system calls: its bucket, its path without following a link, its record. Of an object
//! that is in here, one tells whether all of that would give the same again: [`ObjectCache::stands`] asks what stands at
//! the object's path, and compares it with what the file was when its record was read. Whoever has read content asks
//! afterwards, so that the answer also says that what was read is of that one state. In a directory of which many objects
//! are asked for at a time it is the open file that is asked, and once for all of them the directory (`directories`); and of
//! files that are asked for often the kernel reports changes, so that they need not be asked (`changes`).
//!
//! What is in here is scattered over the memory, and the processor waits for each piece of it. So a request asks in three
//! steps, between which it does other work: whether there is anything at all ([`ObjectCache::expect`]), for the pieces that
//! this names ([`ObjectCache::foresee`]), and for the object.
//!
//! # Invariants
//! - Nothing in here is used unless its path names the same inode of the same device, with the same size and the same two
//!   times, or the kernel would have reported that it does not. The time of the last change (ctime), which nobody can set,
//!   moves with everything that an entry holds: content, record (an attribute of the file), owner, mode and links.
//! - That holds because a file whose ctime is young is not taken in: the next change gets another one for sure, which
//!   within one tick of the clock of files it would not ([`SETTLED_MS`], `COARSE_SETTLED`).
//! - The path is not resolved as strictly here as it was at first: a symbolic link that took the place of one of its
//!   directories is followed, and only to the very same file. So an entry is trusted for [`TRUST`] only, however often it
//!   is used; then its path is followed as strictly as at first, and only if that leads to the same file again, in the same
//!   state, it is trusted anew (`Slot::renew`). The way to its directory is followed once for all objects in it.
//! - Whether the bucket is served, and whether it keeps versions, is asked every time.
//! - An entry that is not trusted any more is dropped within about a second ([`ObjectCache::sweep`]), so that files that
//!   are deleted give their blocks back and file systems can be unmounted.
//! - Bounded: there are so many places (`slots`), and bodies have a number of bytes that they share
//!   ([`KEPT_BODIES_BYTES_MAX`]).
//!
//! # Bodies
//! The content of a small object that is read again is kept beside its open file ([`CachedObject::body`]), which saves
//! reading it. It is used under the same condition: it was read after the file's ctime had settled, and whoever sends it
//! asks afterwards whether the object stands. What that cannot tell are stores through a shared mapping (mmap) of the file,
//! of which the kernel takes no time as they happen, and what it does not report (`changes`): a body that was kept before
//! them is shown for [`TRUST`] at most, where reading the file would have shown them at once.
//!
//! Only current objects are in here; noncurrent versions are looked for every time.

mod changes;
mod directories;
mod slots;

pub(super) use changes::are_reported;

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{self, AtFlags, StatxFlags};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::changes::{Changes, Watch};
use self::directories::{Directories, Directory};
use self::slots::{Slot, Slots};
use super::layout::{self, BucketName, HOP_BYTES_MAX, ObjectKey};
use super::object::{FileId, Object};
use super::root::Root;
use super::versions::Versioning;
use super::walk;
use crate::codec::dates::Timestamp;
use crate::limits::{KEPT_BODIES_BYTES_MAX, KEPT_BODY_BYTES_MAX, SETTLED_MS};
use crate::runtime::clock::coarse;
use crate::runtime::{Turn, prefetch};

/// The objects of one core.
pub struct ObjectCache {
    slots: RefCell<Slots>,
    /// Bytes that bodies may still take.
    room: Rc<Cell<usize>>,
    directories: Directories,
    changes: Rc<Changes>,
    /// Random, so that nobody can choose keys that share a set.
    seed: u64,
}

/// The content of an object, counted as long as it is there.
struct Body {
    bytes: Box<[u8]>,
    room: Rc<Cell<usize>>,
}

/// An object that was opened a moment ago.
pub struct CachedObject {
    /// As it was when it was opened.
    pub object: Object,
    /// What an answer says of it, written once. Nothing but the object and what this cache compares may decide it.
    pub lines: OnceCell<Box<[u8]>>,
    body: OnceCell<Body>,
    names: Names,
    versioning: Versioning,
    /// Where it was found once, if that can be asked.
    directory: OnceCell<Rc<Directory>>,
    /// The last turn in which it stood.
    stood: Cell<Option<Turn>>,
    /// How often its file was asked, until that is often enough to watch it.
    asked: Cell<u8>,
    watch: OnceCell<Watch>,
}

/// What an answer shows of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// What is in memory.
    Kept,
    /// Content that was read from its file for this answer.
    Read,
}

/// Where an object may be.
#[derive(Clone, Copy)]
pub struct Place {
    hash: u64,
}

/// How an object is called, in one piece of memory: its path from the root on, with a NUL at its end, and then its bucket
/// and its key.
struct Names {
    text: Box<[u8]>,
    path_bytes: u32,
    bucket_bytes: u32,
}

impl ObjectCache {
    /// A cache of about so many objects, each of which keeps a file open; 0 for none. Of so many at most the kernel reports
    /// changes.
    #[must_use]
    pub fn new(objects_max: usize, watches_max: usize) -> ObjectCache {
        let slots = Slots::new(objects_max);
        let if_any = |max| if slots.capacity() == 0 { 0 } else { max };
        ObjectCache {
            directories: Directories::new(),
            changes: Changes::new(if_any(watches_max)),
            room: Rc::new(Cell::new(if_any(KEPT_BODIES_BYTES_MAX))),
            slots: RefCell::new(slots),
            seed: RandomState::new().hash_one(()),
        }
    }

    /// Whether there is nothing in here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.borrow().is_empty()
    }

    /// Where the object of this key is, if it was opened a moment ago. Whether it is that object, [`ObjectCache::find`] says.
    pub fn expect(&self, bucket: &BucketName, key: &ObjectKey) -> Option<Place> {
        let hash = self.hash(bucket, key);
        let mut slots = self.slots.borrow_mut();
        let slot = slots.touch(hash, |_| true)?;
        if slot.age(coarse()) >= RENEWED_WITHIN {
            return None;
        }
        prefetch(&*slot.object);
        Some(Place { hash })
    }

    /// Says that what is at this place is looked at in a moment.
    pub fn foresee(&self, place: Place) {
        let mut slots = self.slots.borrow_mut();
        if let Some(cached) = slots.find(place.hash, |_| true).map(|slot| &slot.object) {
            prefetch(&*cached.names.text);
            cached.lines.get().into_iter().for_each(|lines| prefetch(&**lines));
            cached.body.get().into_iter().for_each(|body| prefetch(&*body.bytes));
        }
    }

    /// The object of this key, if that is what is at this place. Whether it still stands is the caller's to ask, once it has
    /// read what it wants of it.
    pub fn find(
        &self,
        root: &Root,
        place: Place,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Option<Rc<CachedObject>> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.find(place.hash, |slot| slot.object.names.are_of(bucket, key))?;
        if slot.object.versioning != root.versioning(bucket) || root.is_unlinked(bucket) {
            return None;
        }
        let is_trusted = slot.age(coarse()) < TRUST || slot.renew(root, bucket);
        is_trusted.then(|| slot.object.clone())
    }

    /// Whether the object's path still names the file that was opened, in the state it was in then. What was read of it
    /// before is of that state; what was in memory is as good as what another request of this turn has found out. `turn` is
    /// the current one, and `now` not later than now.
    #[must_use]
    pub fn stands(
        &self,
        root: &Root,
        cached: &CachedObject,
        shown: Shown,
        turn: Option<Turn>,
        now: Timestamp,
    ) -> bool {
        let Some(turn) = turn else { return cached.stands_at_its_path(root) };
        if shown == Shown::Kept && cached.stood.get() == Some(turn) {
            return true;
        }
        let stands = match cached.directory.get() {
            Some(directory) if directory.stands(root, turn) => match shown {
                Shown::Kept if cached.is_quiet(turn) => true,
                Shown::Kept => {
                    self.watch(root, cached, directory);
                    cached.is_unchanged()
                }
                Shown::Read => cached.is_unchanged(),
            },
            Some(_) => cached.stands_at_its_path(root),
            None => {
                let path = cached.names.directory();
                let directory = self.directories.look(root, path, xxh3_64_with_seed(path, self.seed), now);
                let stands = cached.stands_at_its_path(root);
                // Only now: the directory was looked at before.
                if let (true, Some(directory)) = (stands, directory) {
                    let _ = cached.directory.set(directory);
                }
                stands
            }
        };
        cached.stood.set(stands.then_some(turn));
        stands
    }

    /// Watches the object's file once it was asked often enough.
    fn watch(&self, root: &Root, cached: &CachedObject, directory: &Directory) {
        let is_reported = root.capabilities.reports_changes && directory.is_of_device_of(cached);
        if !is_reported || cached.asked.get() >= WATCHED_AFTER {
            return;
        }
        cached.asked.set(cached.asked.get() + 1);
        if cached.asked.get() == WATCHED_AFTER
            && let Some(watch) = self.changes.watch(cached.object.file.as_fd())
        {
            let _ = cached.watch.set(watch);
        }
    }

    /// Takes an object in that was opened just now as the current one of this key, unless what could be said of it later
    /// is uncertain. `versioning` is the bucket's from before it was opened.
    pub fn keep(
        &self,
        root: &Root,
        (bucket, key): (&BucketName, &ObjectKey),
        versioning: Versioning,
        object: Object,
        now: Timestamp,
    ) {
        if !is_settled(object.file_id.stamp.ctime, now, root.capabilities.fine_times) {
            return;
        }
        let mut path = layout::path(key);
        if object.in_directory {
            path = path.in_directory();
        }
        let names = Names::new(bucket, key, path.as_bytes());
        if names.path().len() > HOP_BYTES_MAX {
            return;
        }
        let cached = CachedObject {
            object,
            lines: OnceCell::new(),
            body: OnceCell::new(),
            names,
            versioning,
            directory: OnceCell::new(),
            stood: Cell::new(None),
            asked: Cell::new(0),
            watch: OnceCell::new(),
        };
        let mut slots = self.slots.borrow_mut();
        let is_it = |slot: &Slot| slot.object.names.are_of(bucket, key);
        slots.put(self.hash(bucket, key), coarse(), Rc::new(cached), is_it);
    }

    /// Keeps the content of an object, all of which was read just now, if there is room for it.
    pub fn keep_body(&self, cached: &CachedObject, content: &[u8]) {
        debug_assert_eq!(content.len() as u64, cached.object.size);
        let Some(left) = self.room.get().checked_sub(content.len()) else { return };
        if content.len() <= KEPT_BODY_BYTES_MAX && cached.body.get().is_none() {
            self.room.set(left);
            let _ = cached.body.set(Body { bytes: content.into(), room: self.room.clone() });
        }
    }

    /// Forgets the object of this key.
    pub fn forget(&self, bucket: &BucketName, key: &ObjectKey) {
        let is_it = |slot: &Slot| slot.object.names.are_of(bucket, key);
        self.slots.borrow_mut().remove(self.hash(bucket, key), is_it);
    }

    /// Drops entries that are not trusted any more, but only so many that the core is not kept long by closing their
    /// files. True: the sweep has seen all; else it wants to go on soon.
    pub fn sweep(&self) -> bool {
        self.slots.borrow_mut().sweep(coarse(), SWEPT_AFTER, DROPPED_AT_ONCE)
    }

    fn hash(&self, bucket: &BucketName, key: &ObjectKey) -> u64 {
        xxh3_64_with_seed(key.as_bytes(), xxh3_64_with_seed(bucket.as_bytes(), self.seed))
    }
}

impl Slot {
    /// Trusts the object anew if its path, followed as strictly as at first, leads to the same file in the same state.
    fn renew(&mut self, root: &Root, bucket: &BucketName) -> bool {
        let Some(cached) = Rc::get_mut(&mut self.object) else { return false };
        let directory = cached.directory.get().and_then(|directory| directory.followed(root, bucket));
        self.opened = match directory {
            Some(followed) if cached.stands_at_its_path(root) => followed,
            _ => {
                let now = coarse();
                let Ok(Some(bucket)) = root.bucket(bucket) else { return false };
                let Ok(Some((_, stat))) = walk::find(bucket.fd.as_fd(), cached.names.below_bucket()) else {
                    return false;
                };
                if FileId::of(&stat) != cached.object.file_id {
                    return false;
                }
                cached.directory = OnceCell::new();
                now
            }
        };
        // No body is shown for longer.
        cached.body = OnceCell::new();
        if cached.watch.get().is_none_or(Watch::is_lost) {
            (cached.watch, cached.asked) = (OnceCell::new(), Cell::new(0));
        }
        true
    }
}

impl Names {
    fn new(bucket: &BucketName, key: &ObjectKey, path: &[u8]) -> Names {
        let (bucket, key) = (bucket.as_bytes(), key.as_bytes());
        // Both are far below 4 GiB: names and keys have their limits.
        let path_bytes = (bucket.len() + 1 + path.len() + 1) as u32;
        let text = [bucket, b"/", path, b"\0", bucket, key].concat().into_boxed_slice();
        Names { text, path_bytes, bucket_bytes: bucket.len() as u32 }
    }

    /// From the root on, with a NUL at its end.
    fn path(&self) -> &[u8] {
        &self.text[..self.path_bytes as usize]
    }

    /// From the bucket on, without a NUL.
    fn below_bucket(&self) -> &[u8] {
        let path = self.path();
        &path[self.bucket_bytes as usize + 1..path.len() - 1]
    }

    /// The directory that the path ends in, without a NUL.
    fn directory(&self) -> &[u8] {
        let path = self.path();
        &path[..memchr::memrchr(b'/', path).unwrap_or(0)]
    }

    fn are_of(&self, bucket: &BucketName, key: &ObjectKey) -> bool {
        let (own_bucket, own_key) =
            self.text[self.path_bytes as usize..].split_at(self.bucket_bytes as usize);
        own_key == key.as_bytes() && own_bucket == bucket.as_bytes()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.room.set(self.room.get() + self.bytes.len());
    }
}

impl CachedObject {
    /// The content, if it was kept.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.body.get().map(|body| &*body.bytes)
    }

    fn stands_at_its_path(&self, root: &Root) -> bool {
        let path = CStr::from_bytes_with_nul(self.names.path());
        path.is_ok_and(|path| file_id_at(root, path) == Some(self.object.file_id))
    }

    /// Whether the kernel would have reported a change of its file, and has not.
    fn is_quiet(&self, turn: Turn) -> bool {
        self.watch.get().is_some_and(|watch| watch.is_quiet(turn))
    }

    fn is_unchanged(&self) -> bool {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        let stat = fs::statx(&self.object.file, c"", flags, WANTED);
        stat.is_ok_and(|stat| FileId::from(&stat) == self.object.file_id)
    }
}

/// What stands at a path below the root.
fn file_id_at(root: &Root, path: &CStr) -> Option<FileId> {
    // On a file system of the network the server of that is asked, as it is when a file is opened.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
    fs::statx(&root.fd, path, flags, WANTED).ok().map(|stat| FileId::from(&stat))
}

const WANTED: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME);

/// Whether a change of the file from now on is sure to give it another ctime.
fn is_settled(ctime: Timestamp, now: Timestamp, fine_times: bool) -> bool {
    let nanos = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let needed = if fine_times { Duration::from_millis(SETTLED_MS) } else { COARSE_SETTLED };
    // A clock that was set back says nothing.
    u128::try_from(nanos(now) - nanos(ctime)).is_ok_and(|age| age >= needed.as_nanos())
}

/// How long an entry is trusted after it was opened, or its path was followed again.
pub const TRUST: Duration = Duration::from_secs(1);
/// An older one is opened afresh.
const RENEWED_WITHIN: Duration = Duration::from_secs(2);
/// What is asked for all the time is renewed as soon as it is not trusted any more, and all objects of a directory at
/// that moment. The sweep leaves them time for it.
const SWEPT_AFTER: Duration = Duration::from_millis(1100);
/// Where a look at a file's times does not make the next change get others, they tick in milliseconds or, on the coarsest
/// file systems, in seconds.
const COARSE_SETTLED: Duration = Duration::from_secs(2);
/// Files that one step of the sweep closes at most, and stops to watch: some hundred microseconds.
const DROPPED_AT_ONCE: usize = 256;
/// Watching a file costs as much as asking it three or four times.
const WATCHED_AFTER: u8 = 4;

#[cfg(test)]
mod tests;
