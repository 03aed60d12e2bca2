//! Versions: the current one of a key at its natural path, the others beside the buckets.
//!
//! ```text
//! <root>/<bucket>/<P>                                      the current version, at the path P that `layout` gives the key
//! <root>/.sluicegate/versions/<bucket>/<P>/.sgate~v/<id>   a noncurrent version: the same plain file, of the same owner
//! <root>/.sluicegate/versions/<bucket>/<P>/.sgate~v/<id>.marker   a delete marker: an empty file
//! <root>/.sluicegate/versions/<bucket>/<P>/.sgate~@        empty: the key has noncurrent versions or markers
//! ```
//!
//! So the tree below `versions/<bucket>` looks to [`super::list`] like a bucket whose keys are those that have noncurrent
//! versions. Its directories are the server's own, and reached through `.sluicegate` (mode 0700) alone.
//!
//! # What is current
//! The file at the natural path, whoever put it there. A file without a record that fits is the null version: one that a
//! POSIX program wrote over a version replaces that one, and one that it removed is gone without a delete marker. Without
//! a file there, the newest entry decides: if it is a marker, the key is deleted. A noncurrent version is what the name of
//! its file says. The version of a current one stands in its record and so moves with the file.
//!
//! Noncurrent versions belong to whom they belonged before, and count into that user's quota. A program that holds a file
//! open when it ceases to be current, or gave it another name, still writes into it. Who renames a bucket's directory by hand renames the one below
//! `versions` as well.
//!
//! # Order
//! An id begins with the time, newest first ([`Version`]). Whoever makes one holds the key's lock and takes a later time
//! than that of the version it follows, also when the clock was set back. The null version has its place among the others
//! in the name of its file, because its times can be anything.
//!
//! # What a crash leaves
//! - A PUT links the current file into the history before the new one takes its name: readers never see a gap, and
//!   nothing is lost. In between the file has both names: an entry of the version that is current is not there for
//!   anybody, and so is a null entry while the null version is current, or behind another null entry.
//! - A DELETE makes its marker before it takes the current name away. In between the object stands, before a marker that
//!   nobody was told of.
//! - Removing a version that uncovers another renames that one to the natural path before it does anything else.
//!
//! # Users with POSIX permissions
//! Everything in the history is done with the server's credentials, and the kernel is asked before what the user may do
//! ([`permission`]).
//!
//! # Locks of objects
//! [`delete`] asks its caller about every version it is to remove. Nothing here keeps the owner of a current file from
//! removing or overwriting it as a POSIX program may; noncurrent versions are out of reach of all but the superuser.
//!
//! Spec: "Using versioning in S3 buckets" of the Amazon S3 user guide.

mod delete;
mod history;
mod list;
mod name;
mod replace;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, FileType};
use rustix::io::Errno;

pub use self::delete::{Decide, Deleted, delete, delete_one_of_many};
pub(super) use self::history::standing;
pub use self::list::{Content, VersionEntry, VersionPage, VersionRequest, list};
pub(super) use self::list::{remove_empty_tree, remove_tree};
pub use self::name::{Version, fuzz};
pub(super) use self::replace::{forget_nulls, keep_before};

use self::history::History;
use super::error::{At, Result, Subject};
use super::layout::{self, KeyPath, ObjectKey};
use super::object::{self, Object};
use super::root::{Bucket, Root};
use super::{permission, walk};
use crate::codec::dates::Timestamp;
use crate::iam::principal::PosixOwner;
use crate::runtime::credentials::as_server;

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Versioning {
    /// It never did.
    #[default]
    Unversioned,
    /// It does.
    Enabled,
    /// It did once: what it has stays, new objects are the null version.
    Suspended,
}

/// A delete marker.
#[derive(Clone, Debug)]
pub struct Marker {
    /// Its id.
    pub version: Version,
    /// When it was made.
    pub modified: Timestamp,
    /// Who made it.
    pub owner: PosixOwner,
}

/// Why there is no object.
#[derive(Clone, Debug)]
pub enum Absence {
    /// Nothing of this key, or no such version.
    Nothing,
    /// What was asked for is a delete marker.
    Marker(Marker),
}

/// Opens a version of an object for reading; the current one if none is named.
pub fn find(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<Version>,
) -> Result<std::result::Result<Object, Absence>> {
    let found = look(root, bucket, key, version)?;
    if version.is_none() || !matches!(found, Err(Absence::Nothing)) {
        return Ok(found);
    }
    // A version that became current, or ceased to be, in between may have been missed in both places.
    let _order = root.lock(&bucket.name, key);
    look(root, bucket, key, version)
}

/// As [`find`], while the caller holds the key's lock or takes the risk of missing what moves.
pub(super) fn look(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<Version>,
) -> Result<std::result::Result<Object, Absence>> {
    if let Some(mut object) = object::open(root, bucket, key)? {
        if version.is_some() {
            doubt(root, bucket, &layout::path(key), &mut object)?;
        }
        if version.is_none_or(|version| version == object.version) {
            return Ok(Ok(object));
        }
    }
    match version {
        None => Ok(Err(latest(root, bucket, &layout::path(key))?)),
        Some(version) => noncurrent(root, bucket, &layout::path(key), version),
    }
}

/// Why a key has no current object.
fn latest(root: &Root, bucket: &Bucket, path: &KeyPath) -> Result<Absence> {
    if root.versioning(&bucket.name) == Versioning::Unversioned {
        return Ok(Absence::Nothing);
    }
    as_server(|| {
        let Some(history) = History::open(root, &bucket.name, path)? else { return Ok(Absence::Nothing) };
        let marker = match history.newest(None)? {
            Some(kept) if kept.is_marker() => history.marker(&kept)?,
            _ => None,
        };
        Ok(marker.map_or(Absence::Nothing, Absence::Marker))
    })
}

fn noncurrent(
    root: &Root,
    bucket: &Bucket,
    path: &KeyPath,
    version: Version,
) -> Result<std::result::Result<Object, Absence>> {
    permission::to_reach(bucket, path)?;
    let found = as_server(|| {
        let Some(history) = History::open(root, &bucket.name, path)? else {
            return Ok(Err(Absence::Nothing));
        };
        let Some(kept) = history.find(version)? else { return Ok(Err(Absence::Nothing)) };
        if kept.is_marker() {
            return Ok(Err(history.marker(&kept)?.map_or(Absence::Nothing, Absence::Marker)));
        }
        Ok(history.object(root, &kept)?.ok_or(Absence::Nothing))
    })?;
    if let Ok(object) = &found {
        permission::to_read(object.file.as_fd())?;
    }
    Ok(found)
}

/// Takes a current object for the null version if it claims to be one that the history holds: the owner of its file copied
/// or forged the record. So nobody can pass a file off as a noncurrent version, let alone have that one deleted with it.
fn doubt(root: &Root, bucket: &Bucket, path: &KeyPath, current: &mut Object) -> Result<()> {
    if current.version == Version::Null {
        return Ok(());
    }
    as_server(|| {
        let Some(history) = History::open(root, &bucket.name, path)? else { return Ok(()) };
        let Some(kept) = history.find(current.version)? else { return Ok(()) };
        // Both names are of one file only where a crash came between two steps.
        if history.inode(&kept)? != Some(inode_of(current)?) {
            current.version = Version::Null;
        }
        Ok(())
    })
}

/// Where the current object of a key stands, or would stand. Looked up under the key's lock.
struct Place {
    /// The directory; none if it is not there.
    parent: Option<OwnedFd>,
    path: KeyPath,
    current: Option<Object>,
}

impl Place {
    fn find(root: &Root, bucket: &Bucket, key: &ObjectKey) -> Result<Place> {
        let mut path = layout::path(key);
        loop {
            let parent = match path.parent() {
                None => bucket.fd.try_clone().at(Subject::Bucket, "open the bucket")?,
                Some(parent) => match walk::open_directory(bucket.fd.as_fd(), parent) {
                    Ok(parent) => parent,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        return Ok(Place { parent: None, path, current: None });
                    }
                    Err(errno) => return Err(errno).at(Subject::Directory, "open the object's directory"),
                },
            };
            let current = match standing(parent.as_fd(), path.name())? {
                Some(FileType::Directory) if path.name() != layout::SELF_NAME => {
                    path = path.in_directory();
                    continue;
                }
                Some(FileType::RegularFile) => object::open_in(root, bucket, parent.as_fd(), path.name())?,
                _ => None,
            };
            let current = match current {
                Some(mut current) => {
                    doubt(root, bucket, &layout::path(key), &mut current)?;
                    Some(current)
                }
                None => None,
            };
            return Ok(Place { parent: Some(parent), path, current });
        }
    }
}

fn inode_of(object: &Object) -> Result<u64> {
    Ok(fs::fstat(&object.file).at(Subject::Object, "stat the object")?.st_ino)
}

#[cfg(test)]
mod tests;
