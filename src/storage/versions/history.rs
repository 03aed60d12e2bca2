//! The directory that holds the noncurrent versions and delete markers of one key.
//!
//! It is made with its first entry and removed with its last one. Whoever changes it holds the key's lock.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::error::{At, Error, Result, Subject};
use super::super::layout::{BucketName, HISTORY_NAME, KeyPath, SELF_NAME};
use super::super::object::{self, Object};
use super::super::root::{Bucket, Root};
use super::super::{spill, walk};
use super::name::Kept;
use super::{Marker, Version};
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;

/// An open history.
pub(in crate::storage) struct History {
    pub(in crate::storage) fd: OwnedFd,
    /// Whether it was made just now: its own name has to become durable as well.
    pub(in crate::storage) made: bool,
}

impl History {
    /// Opens the history of the key whose path is `path`. `Ok(None)`: it has none.
    pub(super) fn open(root: &Root, bucket: &BucketName, path: &KeyPath) -> Result<Option<History>> {
        let path = [bucket.as_bytes(), path.as_bytes(), HISTORY_NAME].join(&b'/');
        match walk::open_directory(root.versions.as_fd(), &path) {
            Ok(fd) => Ok(Some(History { fd, made: false })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).at(Subject::Object, "open the versions of an object"),
        }
    }

    /// Opens the history of a key, and makes it if there is none.
    pub(super) fn make(root: &Root, bucket: &BucketName, path: &KeyPath) -> Result<History> {
        let mut made = false;
        for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
            if let Some(history) = Self::open(root, bucket, path)? {
                return Ok(History { made, ..history });
            }
            match make_directories(root, bucket, path) {
                Ok(()) => made = true,
                // Another key's change removed a directory on the way because it was still empty.
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(errno).at(Subject::Object, "make the directory of an object's versions");
                }
            }
        }
        Err(Error {
            op: "make the directory of an object's versions: others keep removing it",
            subject: Subject::Object,
            errno: Errno::BUSY,
        })
    }

    /// Removes the history of a key if it is empty, with the directories on the way that become empty.
    pub(super) fn prune(root: &Root, bucket: &BucketName, path: &KeyPath) {
        let Ok(fd) = walk::open_directory(root.versions.as_fd(), bucket.as_bytes()) else { return };
        let mirror = Bucket { name: *bucket, fd: Arc::new(fd) };
        let Ok(own) = walk::open_directory(mirror.fd.as_fd(), path.as_bytes()) else { return };
        match fs::unlinkat(&own, HISTORY_NAME, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(_) => return,
        }
        failpoint::pass("history:removed");
        let _ = fs::unlinkat(&own, SELF_NAME, AtFlags::empty());
        drop(own);
        walk::remove_empty_parents(&mirror, &path.in_directory());
    }

    /// The newest entry that is not of the version `except`.
    pub(super) fn newest(&self, except: Option<Version>) -> Result<Option<Kept>> {
        let mut newest: Option<Kept> = None;
        self.for_each(|kept| {
            if Some(kept.version()) != except && newest.as_ref().is_none_or(|newest| kept < *newest) {
                newest = Some(kept);
            }
        })?;
        Ok(newest)
    }

    /// The entries of the null version, newest first. Only the first one counts: the others are what a crash left.
    pub(super) fn nulls(&self) -> Result<BTreeSet<Kept>> {
        let mut nulls = BTreeSet::new();
        self.for_each(|kept| {
            if kept.version() == Version::Null {
                nulls.insert(kept);
            }
        })?;
        Ok(nulls)
    }

    /// The entry of a version.
    pub(super) fn find(&self, version: Version) -> Result<Option<Kept>> {
        if version == Version::Null {
            return Ok(self.nulls()?.pop_first());
        }
        for kept in [Kept::data(version, 0), Kept::marker(version, 0)] {
            match fs::accessat(&self.fd, kept.name(), fs::Access::EXISTS, AtFlags::empty()) {
                Ok(()) => return Ok(Some(kept)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).at(Subject::Object, "look a version up"),
            }
        }
        Ok(None)
    }

    /// At most `count` entries that sort after `after`, newest first, without those of the version `except`.
    pub(super) fn page(
        &self,
        after: Option<&Kept>,
        except: Option<Version>,
        count: usize,
    ) -> Result<BTreeSet<Kept>> {
        let mut page = BTreeSet::new();
        self.for_each(|kept| {
            if Some(kept.version()) != except && after.is_none_or(|after| kept > *after) {
                page.insert(kept);
                if page.len() > count {
                    page.pop_last();
                }
            }
        })?;
        Ok(page)
    }

    /// The inode of an entry. `Ok(None)`: it is gone.
    pub(super) fn inode(&self, kept: &Kept) -> Result<Option<u64>> {
        match fs::statat(&self.fd, kept.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.st_ino)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).at(Subject::Object, "stat a version"),
        }
    }

    /// Opens the data of an entry. `Ok(None)`: it is gone, or a marker.
    pub(super) fn object(&self, root: &Root, kept: &Kept) -> Result<Option<Object>> {
        if kept.is_marker() {
            return Ok(None);
        }
        let Some((file, stat)) = walk::open_regular(self.fd.as_fd(), kept.name())? else { return Ok(None) };
        Ok(Some(Object { version: kept.version(), ..object::inspect(root, file, &stat)? }))
    }

    /// What is known of an entry that is a marker. `Ok(None)`: it is gone.
    pub(super) fn marker(&self, kept: &Kept) -> Result<Option<Marker>> {
        match fs::statat(&self.fd, kept.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Marker {
                version: kept.version(),
                modified: object::modified(&stat),
                owner: PosixOwner { uid: stat.st_uid, gid: stat.st_gid },
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).at(Subject::Object, "stat a delete marker"),
        }
    }

    /// Makes a delete marker. Returns its file.
    pub(super) fn mark(&self, root: &Root, kept: &Kept, owner: PosixOwner) -> Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = fs::openat(&self.fd, kept.name(), flags, Mode::from_raw_mode(0o600))
            .at(Subject::Object, "make a delete marker")?;
        failpoint::pass("mark:made");
        if root.can_give(owner) {
            root.give(file.as_fd(), owner, Subject::Object)?;
        }
        Ok(file)
    }

    /// Removes an entry for good.
    pub(super) fn remove(&self, root: &Root, kept: &Kept) -> Result<()> {
        remove_file(root, self.fd.as_fd(), kept.name())
    }

    fn for_each(&self, mut take: impl FnMut(Kept)) -> Result<()> {
        let op = "list the versions of an object";
        for entry in Dir::read_from(&self.fd).at(Subject::Object, op)? {
            match entry {
                Ok(entry) => {
                    if let Some(kept) = Kept::parse(entry.file_name().to_bytes()) {
                        take(kept);
                    }
                }
                // Removed while it was read: it is empty.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(errno).at(Subject::Object, op),
            }
        }
        Ok(())
    }
}

/// Removes the name of an object's file, and its spilled record unless the file has another name.
pub(super) fn remove_file(root: &Root, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let spilled = match walk::open_regular(directory, name)? {
        Some((file, stat)) if stat.st_nlink == 1 => spill::of_file(file.as_fd(), stat.st_ino),
        _ => None,
    };
    match fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).at(Subject::Object, "delete a version"),
    }
    failpoint::pass("version:unlinked");
    if let Some(spilled) = spilled {
        spill::remove(root, &spilled);
    }
    Ok(())
}

/// Makes the directories down to the history. The file that says that the key has one comes before it, so that no
/// history stands without it.
fn make_directories(root: &Root, bucket: &BucketName, path: &KeyPath) -> rustix::io::Result<()> {
    let mut at: Option<OwnedFd> = None;
    for component in std::iter::once(bucket.as_bytes()).chain(path.as_bytes().split(|byte| *byte == b'/')) {
        let above = at.as_ref().map_or(root.versions.as_fd(), AsFd::as_fd);
        make_directory(above, component)?;
        at = Some(walk::open_directory(above, component)?);
        failpoint::pass("history:directory");
    }
    let at = at.ok_or(Errno::NOENT)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(&at, SELF_NAME, flags, Mode::from_raw_mode(0o600))?;
    failpoint::pass("history:noted");
    make_directory(at.as_fd(), HISTORY_NAME)
}

fn make_directory(above: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    match fs::mkdirat(above, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// What kind of file has a name.
pub(in crate::storage) fn standing(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<FileType>> {
    match fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).at(Subject::Object, "look at the object in place"),
    }
}
