//! Objects: finding them, what is known of them, publishing them and deleting them.
//!
//! The order of a write (steps 1 and 2 are in [`super::writer`], 6 in [`super::commit`]):
//! 3. The caller verifies length and digests.
//! 4. [`publish`]: the record `user.s3` is set and the file is given to its owner.
//! 5. The file gets its name by one `linkat` (which fails if the name exists) or by one rename over the old object; where
//!    others keep removing its directories, they come with it (`storage::prepared`).
//!    Conditions are decided under the key's lock right before it, and where the bucket keeps versions the old object is
//!    put aside ([`versions`]).
//!
//! # Files that other programs write to
//! A record speaks of its content as long as the file has the size and the time of modification it was sealed with; any
//! write gives the file another time. What goes unnoticed: stores through a shared mapping (mmap) until the kernel notices
//! them, on file systems with times of whole seconds (ext4 with inodes of 128 bytes) a change that keeps the length and
//! follows the PUT within its second, and whoever sets the time back on purpose.
//!
//! Readers hold the file they opened: an object that is replaced or deleted under them stays whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{self, AtFlags, FileType, Stat, Statx, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use smallvec::smallvec;

use super::commit::Change;
use super::content::Content;
use super::error::{At, Error, Result, Subject};
use super::layout::{self, KeyPath, ObjectKey};
use super::permission;
use super::prepared::Prepared;
use super::record::{ETag, FileStamp, Record, XATTR_BYTES_MAX, XATTR_NAME};
use super::root::{Bucket, Root};
use super::spill::Spill;
use super::versions::{self, Absence, Version, Versioning};
use super::walk::{self, Emptied};
use super::writer::Staged;
use crate::codec::dates::Timestamp;
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;
use crate::runtime::credentials;

/// An object as it stands on disk, open for reading.
pub struct Object {
    /// Its file.
    pub file: OwnedFd,
    /// Length in bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: Timestamp,
    /// Its entity tag: the record's, or one made from the stat data if the file has none that fits.
    pub etag: ETag,
    /// The record, unless the file was written or changed by another program since.
    pub record: Option<Record>,
    /// Who owns the file.
    pub owner: PosixOwner,
    /// What its file was when the rest was read of it.
    pub file_id: FileId,
    /// Whether its file stands in the directory that has the path of its key (see [`KeyPath::in_directory`]).
    pub in_directory: bool,
    /// Which version of its key it is; always the null one in a bucket that never kept versions.
    pub version: Version,
}

/// Opens an object for reading. `Ok(None)`: there is no object of this key.
pub fn open(root: &Root, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Object>> {
    open_at(root, bucket, &layout::path(key))
}

fn open_at(root: &Root, bucket: &Bucket, path: &KeyPath) -> Result<Option<Object>> {
    let Some((name, stat)) = walk::find(bucket.fd.as_fd(), path.as_bytes())? else { return Ok(None) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let file = walk::reopen(name.as_fd(), fs::OFlags::RDONLY).at(Subject::Object, OP_OPEN)?;
            Ok(Some(inspect_current(root, bucket, file, &stat)?))
        }
        FileType::Directory => match walk::open_regular(bucket.fd.as_fd(), path.in_directory().as_bytes())? {
            Some((file, stat)) => {
                let object = inspect_current(root, bucket, file, &stat)?;
                Ok(Some(Object { in_directory: true, ..object }))
            }
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Opens the current object of a bucket whose name in its directory is known.
pub(super) fn open_in(
    root: &Root,
    bucket: &Bucket,
    directory: BorrowedFd<'_>,
    name: &[u8],
) -> Result<Option<Object>> {
    match walk::open_regular(directory, name)? {
        Some((file, stat)) => Ok(Some(inspect_current(root, bucket, file, &stat)?)),
        None => Ok(None),
    }
}

fn inspect_current(root: &Root, bucket: &Bucket, file: OwnedFd, stat: &Stat) -> Result<Object> {
    let mut object = inspect(root, file, stat)?;
    if root.versioning(&bucket.name) == Versioning::Unversioned {
        object.version = Version::Null;
    }
    Ok(object)
}

/// Reads the record of an open file and judges whether it still fits.
pub fn inspect(root: &Root, file: OwnedFd, stat: &Stat) -> Result<Object> {
    let size = stat.st_size as u64;
    let modified = modified(stat);
    let record = read_record(root, file.as_fd(), stat)?.filter(|record| record.matches(size, modified));
    let file_id = FileId::of(stat);
    let etag = match &record {
        Some(record) => record.etag.clone(),
        None => ETag::foreign(&file_id.stamp),
    };
    let owner = PosixOwner { uid: stat.st_uid, gid: stat.st_gid };
    let version = Version::of_record(record.as_ref().and_then(|record| record.version));
    Ok(Object { file, size, modified, etag, record, owner, file_id, in_directory: false, version })
}

/// What tells one state of a file from every other one, of this file or another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId {
    /// The device that its file system is on.
    pub device: u64,
    /// Everything else.
    pub stamp: FileStamp,
}

impl FileId {
    /// Of this file.
    pub(super) fn of(stat: &Stat) -> FileId {
        FileId { device: stat.st_dev, stamp: stamp(stat) }
    }
}

impl From<&Statx> for FileId {
    fn from(stat: &Statx) -> FileId {
        FileId { device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stamp: FileStamp::from(stat) }
    }
}

impl Object {
    /// Which content of the file the rest speaks of.
    pub fn content(&self) -> Content {
        Content::new(self.size, self.modified)
    }

    /// How long to wait until what is read of the file is sure to be what its size and time speak of. `None`: it is.
    ///
    /// The kernel sets a file's time when a write begins, and copies the data afterwards. So while the time is fresh, a
    /// write may be under way that changes no time any more. A file with a record was not written to since.
    pub fn settles_in(&self, now: Timestamp) -> Option<Duration> {
        if self.record.is_some() {
            return None;
        }
        let nanos = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        let age = nanos(now) - nanos(self.modified);
        let settled = i128::from(limits::SETTLED_MS) * 1_000_000;
        // A time in the future was set by somebody, and says nothing.
        (0..settled).contains(&age).then(|| Duration::from_nanos((settled - age) as u64))
    }
}

/// The time of the last change of the content, from a stat.
pub fn modified(stat: &Stat) -> Timestamp {
    Timestamp { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 }
}

fn stamp(stat: &Stat) -> FileStamp {
    FileStamp {
        inode: stat.st_ino,
        size: stat.st_size as u64,
        mtime: modified(stat),
        ctime: Timestamp { seconds: stat.st_ctime, nanos: stat.st_ctime_nsec as u32 },
    }
}

/// Reads `user.s3` of an open file. A record that cannot be decoded counts as none: it is input, any program may have
/// written it.
fn read_record(root: &Root, file: BorrowedFd<'_>, stat: &Stat) -> Result<Option<Record>> {
    let mut small = [0u8; 512];
    let decoded = match fs::fgetxattr(file, XATTR_NAME, &mut small[..]) {
        Ok(length) => Record::decode(&small[..length]),
        Err(Errno::RANGE) => {
            let mut large = vec![0u8; XATTR_BYTES_MAX];
            match fs::fgetxattr(file, XATTR_NAME, &mut large[..]) {
                Ok(length) => Record::decode(&large[..length]),
                Err(_) => return Ok(None),
            }
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Object, "read the object's record"),
    };
    let Ok(record) = decoded else { return Ok(None) };
    match record.spill {
        None => Ok(Some(record)),
        Some(id) => {
            Ok(super::spill::read(root, &id, stat.st_ino).filter(|whole| record.is_essence_of(whole)))
        }
    }
}

/// Step 4: completes `record` with the file's length and time, attaches it, and gives the file to `owner`.
fn seal(
    root: &Root,
    bucket: &Bucket,
    staged: &Staged<'_>,
    record: &mut Record,
    owner: PosixOwner,
) -> Result<()> {
    if !root.capabilities.fine_times {
        set_exact_time(staged.as_fd())?;
    }
    let stat = fs::fstat(staged).at(Subject::Object, "stat a new object")?;
    record.size = stat.st_size as u64;
    record.mtime = modified(&stat);
    let attached = match attach(root, staged.as_fd(), record, stat.st_ino) {
        // Not the user's file yet: the data of an upload. Or one that nobody may write to, as its directory wants it.
        Err(error) if error.errno == Errno::ACCESS && credentials::is_user() => {
            credentials::as_server(|| attach(root, staged.as_fd(), record, stat.st_ino))
        }
        done => done,
    };
    if let Some(spill) = attached? {
        staged.owns(spill);
    }
    let mode = root.modes_of(&bucket.name).of_file(stat.st_mode);
    root.hand_over(staged.as_fd(), &stat, mode, owner, Subject::Object)
}

/// Gives a file a time that no later write gives it: where the clock of files ticks, one between the ticks.
fn set_exact_time(file: BorrowedFd<'_>) -> Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let keep = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT };
    let times = Timestamps { last_access: keep, last_modification: now };
    fs::futimens(file, &times).at(Subject::Object, "set the time of a new object")
}

/// Sets the record of a file. Returns what had no room in it.
fn attach(root: &Root, file: BorrowedFd<'_>, record: &Record, inode: u64) -> Result<Option<Spill>> {
    if !root.capabilities.attributes {
        return Ok(None);
    }
    let op = "set the object's record";
    let mut bytes = Vec::with_capacity(128);
    record.encode(&mut bytes);
    match fs::fsetxattr(file, XATTR_NAME, &bytes, fs::XattrFlags::empty()) {
        // ext4 says ENOSPC when the attribute exceeds its block; so does a full disk, which the spill then finds.
        Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) if bytes.len() > SPILL_BYTES_MIN => {
            let id = super::spill::write(root, &bytes, file, inode)?;
            bytes.clear();
            record.spilled(id).encode(&mut bytes);
            let spill = Spill::new(id, inode);
            failpoint::pass("record:spilled");
            match fs::fsetxattr(file, XATTR_NAME, &bytes, fs::XattrFlags::empty()) {
                Ok(()) => Ok(Some(spill)),
                Err(errno) => {
                    super::spill::remove(root, &spill);
                    Err(errno).at(Subject::Object, op)
                }
            }
        }
        done => done.map(|()| None).at(Subject::Object, op),
    }
}

/// What has to hold of the object in place for a change to go on.
pub enum Condition<'c, E> {
    /// Nothing.
    Always,
    /// What the function says of the object in place, if there is one; its error ends the change. It is called under
    /// the key's lock.
    Decide(&'c dyn Fn(Option<&Object>) -> std::result::Result<(), E>),
}

/// Steps 4 and 5: completes the record with length, time and, in a bucket that keeps versions, a version; attaches it;
/// gives the file to `owner`, and its name. The inner error is the condition's. The returned change is what a commit has
/// to make durable.
///
/// Whether the bucket keeps versions is decided when the record is attached: a change of that which comes later holds
/// for what is published later.
pub fn publish<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    mut staged: Staged<'_>,
    record: &mut Record,
    owner: PosixOwner,
    condition: &Condition<'_, E>,
) -> Result<std::result::Result<Change, E>> {
    record.version = match root.versioning(&bucket.name) {
        Versioning::Enabled => Some(Version::new_id(root.tick())?),
        Versioning::Suspended | Versioning::Unversioned => None,
    };
    seal(root, bucket, &staged, record, owner)?;
    failpoint::pass("publish:sealed");
    let mut path = layout::path(key);
    let mut seen = staged.directory.take();
    let mut may_prepare = true;
    for attempt in 1..=limits::PUBLICATION_ATTEMPTS_MAX {
        let is_last = attempt == limits::PUBLICATION_ATTEMPTS_MAX;
        // If it fails with the directory that the file was made in, the next attempt asks anew.
        let known = seen.take().filter(|seen| seen.stands(root)).map(|seen| seen.directory);
        let prepared = if attempt > IN_PLACE_ATTEMPTS && may_prepare && !path.is_in_directory() {
            Prepared::of(root, bucket, &path, owner)?
        } else {
            None
        };
        let parent = if let Some(known) = &known {
            walk::Parent { fd: known.fd.clone(), made: false }
        } else if let Some(prepared) = &prepared {
            walk::Parent { fd: prepared.parent.clone(), made: true }
        } else if path.is_in_directory() {
            // Keys below had made it. Once they are gone, the object is a plain file again.
            match walk::open_parent(bucket, &path)? {
                Some(fd) => walk::Parent { fd, made: false },
                None => {
                    path = layout::path(key);
                    continue;
                }
            }
        } else {
            match walk::make_parent(root, bucket, &path, owner) {
                Err(error) if error.errno == Errno::BUSY && !is_last => continue,
                made => made?,
            }
        };
        let order = root.lock(&bucket.name, key);
        let keeps_versions =
            record.version.is_some() || root.versioning(&bucket.name) != Versioning::Unversioned;
        let current = match (keeps_versions, condition) {
            (true, _) => match versions::standing(parent.fd.as_fd(), path.name())? {
                Some(FileType::Directory) if !path.is_in_directory() => {
                    path = path.in_directory();
                    continue;
                }
                Some(FileType::RegularFile) => {
                    // A user may replace what they may not read.
                    credentials::as_server(|| open_in(root, bucket, parent.fd.as_fd(), path.name()))?
                }
                _ => None,
            },
            (false, Condition::Decide(_)) => open_at(root, bucket, &layout::path(key))?,
            (false, Condition::Always) => None,
        };
        if let (Condition::Decide(_), Some(current)) = (condition, &current) {
            permission::to_read(current.file.as_fd())?;
        }
        if let Condition::Decide(decide) = condition
            && let Err(refused) = decide(current.as_ref())
        {
            drop(order);
            drop(parent);
            walk::remove_empty_parents(bucket, &path);
            return Ok(Err(refused));
        }
        let create_only = current.is_none() && (keeps_versions || matches!(condition, Condition::Decide(_)));
        let mut kept = None;
        if keeps_versions
            && let Some(current) = &current
            && (record.version.is_some() || current.version != Version::Null)
        {
            let (base, at) = (layout::path(key), parent.fd.as_fd());
            permission::to_remove(at, current)?;
            let (history, other) = credentials::as_server(|| {
                versions::keep_before(root, bucket, &base, at, path.name(), current, record.version)
            })?;
            if other.is_some() {
                record.version = other;
                if let Some(spill) = credentials::as_server(|| reattach(root, staged.as_fd(), record))? {
                    staged.owns(spill);
                }
            }
            kept = Some(history);
            failpoint::pass("publish:kept");
        }
        staged.inherit(parent.fd.as_fd(), root.modes_of(&bucket.name))?;
        // A link that fails costs more than a look, which is in vain where new names come one after the other.
        let standing = || versions::standing(parent.fd.as_fd(), path.name());
        let is_new = create_only || known.as_ref().is_some_and(|known| known.takes_new_names());
        let mut in_place = if is_new { None } else { standing()? };
        let mut linked = Err(Errno::EXIST);
        if in_place.is_none() {
            linked = match prepared {
                Some(prepared) => {
                    let placed = prepared.place(&mut staged, path.name());
                    may_prepare = placed != Err(Errno::XDEV);
                    placed
                }
                None => staged.link(parent.fd.as_fd(), path.name()),
            };
            if linked == Err(Errno::EXIST) {
                in_place = standing()?;
            }
        }
        if let Some(known) = &known {
            known.took(linked.is_ok());
        }
        let linked = match linked {
            Err(Errno::EXIST) => match in_place {
                Some(FileType::Directory) if !path.is_in_directory() => {
                    path = path.in_directory();
                    continue;
                }
                // A file came while the condition was decided: decide again.
                Some(FileType::RegularFile) if create_only => continue,
                _ => {
                    // What is kept keeps its record.
                    let old = match kept {
                        Some(_) => None,
                        None => super::spill::of(root, parent.fd.as_fd(), path.name()),
                    };
                    let replaced = staged.replace(parent.fd.as_fd(), path.name());
                    failpoint::pass("publish:replaced");
                    if let (Ok(()), Some(old)) = (replaced, old) {
                        super::spill::remove(root, &old);
                    }
                    replaced
                }
            },
            done => done,
        };
        failpoint::pass("publish:linked");
        if linked.is_ok() && keeps_versions && record.version.is_none() {
            credentials::as_server(|| versions::forget_nulls(root, bucket, &layout::path(key)))?;
        }
        drop(order);
        match linked {
            Ok(()) => {
                let wide = parent.made || kept.as_ref().is_some_and(|history| history.made);
                let mut files = smallvec![staged.into_fd()?.into(), parent.fd];
                files.extend(kept.map(|history| history.fd.into()));
                return Ok(Ok(Change { files, wide }));
            }
            // The directory was removed under us, or a directory took the name: once more.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {}
            // It was moved out of the data directory, where the sandbox lets nothing be linked.
            Err(Errno::XDEV) if !is_last => {}
            Err(errno) => return Err(errno).at(Subject::Object, "publish the object"),
        }
        walk::check_bucket_stands(bucket)?;
    }
    Err(Error {
        op: "publish the object: its directory keeps changing",
        subject: Subject::Object,
        errno: Errno::BUSY,
    })
}

/// Makes the new record of an object from what was found of it; its error ends the change.
pub type Amend<'a, E> = &'a dyn Fn(std::result::Result<&Object, &Absence>) -> std::result::Result<Record, E>;

/// Gives a version of an object, the current one if none is named, another record in place; its content, and what fits
/// to it of the record, stay. `record_of` is called under the key's lock, also if there is no such object, and then has to
/// refuse. Returns which version it was.
pub fn amend<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<Version>,
    record_of: Amend<'_, E>,
) -> Result<std::result::Result<(Version, Change), E>> {
    let _order = root.lock(&bucket.name, key);
    let found = versions::look(root, bucket, key, version)?;
    let mut record = match record_of(found.as_ref()) {
        Ok(record) => record,
        Err(refused) => return Ok(Err(refused)),
    };
    let Ok(object) = found else {
        return Err(Errno::NOENT).at(Subject::Object, "change the record of an object that is not there");
    };
    (record.size, record.mtime) = (object.size, object.modified);
    reattach(root, object.file.as_fd(), &mut record)?;
    failpoint::pass("amend:done");
    Ok(Ok((object.version, Change { files: smallvec![object.file.into()], wide: false })))
}

/// Puts a record in the place of the one a file has.
fn reattach(root: &Root, file: BorrowedFd<'_>, record: &mut Record) -> Result<Option<Spill>> {
    let inode = fs::fstat(file).at(Subject::Object, "stat the object")?.st_ino;
    record.spill = None;
    let old = super::spill::of_file(file, inode);
    let new = attach(root, file, record, inode)?;
    failpoint::pass("record:replaced");
    if let Some(old) = old {
        super::spill::remove(root, &old);
    }
    Ok(new)
}

/// Deletes the current object for good, whatever versions the bucket keeps ([`versions::delete`] asks). `Ok(Ok(None))`: there was none. The inner error is the condition's.
pub(super) fn delete<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    condition: &Condition<'_, E>,
    emptied: &mut Emptied<'_>,
) -> Result<std::result::Result<Option<Change>, E>> {
    let mut path = layout::path(key);
    let order = root.lock(&bucket.name, key);
    if let Condition::Decide(decide) = condition
        && let Err(refused) = decide(open_at(root, bucket, &path)?.as_ref())
    {
        return Ok(Err(refused));
    }
    let mut spilled = None;
    let removed = loop {
        let Some(parent) = emptied.parent(root, &path)? else { break None };
        match versions::standing(parent.as_fd(), path.name())? {
            Some(FileType::RegularFile) => {
                spilled = spilled.or_else(|| super::spill::of(root, parent.as_fd(), path.name()));
                match fs::unlinkat(&parent, path.name(), AtFlags::empty()) {
                    Ok(()) => break Some(parent),
                    Err(Errno::NOENT) => break None,
                    // Another program put a directory in its place just now, which has an object of its own or none.
                    Err(Errno::ISDIR) if !path.is_in_directory() => path = path.in_directory(),
                    Err(errno) => return Err(errno).at(Subject::Object, "delete the object"),
                }
            }
            Some(FileType::Directory) if !path.is_in_directory() => path = path.in_directory(),
            // Nothing, or nothing that is an object.
            _ => break None,
        }
    };
    drop(order);
    let Some(parent) = removed else { return Ok(Ok(None)) };
    failpoint::pass("delete:unlinked");
    if let Some(spill) = spilled {
        super::spill::remove(root, &spill);
    }
    // A removed directory cannot be flushed for its parent's sake, so with parents the flush is of everything.
    let wide = path.parent().is_some();
    emptied.note(path);
    Ok(Ok(Some(Change { files: smallvec![parent], wide })))
}

const OP_OPEN: &str = "open the object's file";

/// A record of at most this many bytes fits every file system's attributes, so that ENOSPC means a full disk.
const SPILL_BYTES_MIN: usize = 1024;

/// How often a publication makes the directories of its object where they belong, before they come with it.
const IN_PLACE_ATTEMPTS: usize = 2;

#[cfg(test)]
mod forged;
#[cfg(test)]
pub(super) mod tests;
