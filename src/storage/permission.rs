//! What the kernel is asked beforehand, where the server does with its own credentials what a user may do or not.
//!
//! That is so for versions: they lie in the server's own directory, and an object gets there, and back, by one rename or
//! link between that directory and the user's, which no user could make. The rules are those that would hold if they lay
//! beside the object:
//! - Replacing or deleting the current version takes what removing its name takes: w and x of its directory, and in a
//!   sticky one its ownership or the directory's.
//! - Reading a version takes r of its file, and x of the directories that stand on the way to its key.
//! - Deleting one that is not current, and making a delete marker where no object is, takes w and x of the key's
//!   directory, or of the nearest one above it that stands.
//!
//! Each question is the kernel's (faccessat2 with AT_EACCESS, as the user), with access control lists and all. Without a
//! user nothing is asked.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::error::{At, Error, Result, Subject};
use super::layout::{self, KeyPath, ObjectKey, ObjectKeyError};
use super::object::Object;
use super::root::Bucket;
use super::walk;
use crate::runtime::credentials;

/// Whether the kernel is asked what a user may do with files.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum PosixPermissions {
    /// The server may do everything.
    #[default]
    Bypass,
    /// A user may do what the modes of the files say.
    Enforce,
}

impl PosixPermissions {
    /// All, with their names.
    pub const ALL: [(&'static str, PosixPermissions); 2] =
        [("bypass", PosixPermissions::Bypass), ("enforce", PosixPermissions::Enforce)];

    /// Its name, as settings and commands have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Enforce => "enforce",
        }
    }
}

/// Whether the user may read an open file.
///
/// # Errors
/// EACCES.
pub fn to_read(file: BorrowedFd<'_>) -> Result<()> {
    if !credentials::is_user() {
        return Ok(());
    }
    fs::accessat(fs::CWD, walk::proc_path(file).as_str(), Access::READ_OK, AtFlags::EACCESS)
        .at(Subject::Object, OP_READ)
}

/// Whether the user may remove the name of an object in this directory, or put another file in its place.
///
/// # Errors
/// EACCES; EPERM in a sticky directory.
pub fn to_remove(directory: BorrowedFd<'_>, object: &Object) -> Result<()> {
    let Some(user) = credentials::current() else { return Ok(()) };
    to_write_in(directory)?;
    let stat = fs::fstat(directory).at(Subject::Directory, OP_WRITE)?;
    let is_sticky = stat.st_mode & Mode::SVTX.as_raw_mode() != 0;
    if is_sticky && ![object.owner.uid, stat.st_uid].contains(&user.uid()) {
        return Err(Errno::PERM).at(Subject::Object, OP_REMOVE);
    }
    Ok(())
}

/// As [`to_remove`], of an object that was found with the server's credentials: whether the user finds it there too.
///
/// # Errors
/// As [`to_remove`]. EBUSY: another directory stands there by now.
pub fn to_remove_of(
    bucket: &Bucket,
    path: &KeyPath,
    directory: BorrowedFd<'_>,
    object: &Object,
) -> Result<()> {
    let inode = |directory: BorrowedFd<'_>| {
        let stat = fs::fstat(directory).at(Subject::Directory, OP_WRITE)?;
        Ok((stat.st_dev, stat.st_ino))
    };
    let found = nearest(bucket, path)?;
    if inode(found.as_fd())? != inode(directory)? {
        return Err(Errno::BUSY).at(Subject::Directory, OP_WRITE);
    }
    to_remove(directory, object)
}

/// Whether the user may make and remove names in the directory of a key, or in the nearest one above it that stands.
///
/// # Errors
/// EACCES.
pub fn to_change(bucket: &Bucket, path: &KeyPath) -> Result<()> {
    if !credentials::is_user() {
        return Ok(());
    }
    to_write_in(nearest(bucket, path)?.as_fd())
}

/// Whether the user may go through the directories that stand on the way to a key.
///
/// # Errors
/// EACCES.
pub fn to_reach(bucket: &Bucket, path: &KeyPath) -> Result<()> {
    if !credentials::is_user() {
        return Ok(());
    }
    let directory = nearest(bucket, path)?;
    fs::accessat(&directory, ".", Access::EXEC_OK, AtFlags::EACCESS).at(Subject::Object, OP_REACH)
}

/// Whether the user may list the directory of a prefix, `path` in the bucket (`.` for the bucket itself), and go through
/// it. What does not stand may be listed: nothing is there.
///
/// # Errors
/// EACCES.
pub fn to_list(bucket: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
    if !credentials::is_user() {
        return Ok(());
    }
    let listed = walk::open_beneath(bucket, path, OFlags::PATH | OFlags::DIRECTORY).and_then(|directory| {
        fs::accessat(&directory, ".", Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS)
    });
    match listed {
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => Err(errno).at(Subject::Directory, OP_LIST),
        _ => Ok(()),
    }
}

/// As [`to_list`], of the directory that the keys with this prefix are in or, if it does not stand, of the nearest one above
/// it: what was in it once is seen by whoever would see it missing.
///
/// # Errors
/// EACCES.
pub fn to_list_near(bucket: &Bucket, prefix: &[u8]) -> Result<()> {
    let directory = &prefix[..memchr::memrchr(b'/', prefix).map_or(0, |slash| slash + 1)];
    // A key in it, or itself one where none fits in.
    let key = match ObjectKey::parse(&[directory, b"-"].concat()) {
        Err(ObjectKeyError::TooLong { .. }) => ObjectKey::parse(directory),
        key => key,
    };
    // No key starts so.
    let Ok(key) = key else { return Ok(()) };
    let directory = nearest(bucket, &layout::path(&key))?;
    to_list(directory.as_fd(), b".")
}

fn to_write_in(directory: BorrowedFd<'_>) -> Result<()> {
    fs::accessat(directory, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .at(Subject::Directory, OP_WRITE)
}

/// The directory of a key, or the nearest one above it that stands.
fn nearest(bucket: &Bucket, path: &KeyPath) -> Result<OwnedFd> {
    for directory in path.parents().rev() {
        match walk::open_beneath(bucket.fd.as_fd(), directory, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            done => return done.at(Subject::Object, OP_REACH),
        }
    }
    bucket.fd.try_clone().at(Subject::Bucket, OP_REACH)
}

impl Error {
    /// Which POSIX permission an operation lacks that the kernel refused to a user: a sentence.
    pub fn lacking(&self) -> &'static str {
        if self.errno == Errno::PERM {
            return "In a sticky directory only its owner and that of the file remove or replace it; other things only the \
                    owner of a file may do.";
        }
        match (self.op, self.subject) {
            (OP_REACH | "look the object up" | "look at the object in place", _) => {
                "Search permission (x) is needed on every directory on the way to the object."
            }
            (OP_READ | "open the object's file" | "read the object's record", _) => {
                "Read permission (r) is needed on the object's file, and search permission (x) on every directory on the \
                 way to it."
            }
            ("set the object's record", _) => "Write permission (w) is needed on the object's file.",
            (OP_LIST, _) => {
                "Read and search permission (r and x) are needed on the directory of the prefix, and search permission \
                 (x) on those above it."
            }
            ("open the object's directory" | "enter a directory", _) => {
                "Search permission (x) is needed on every directory of the object."
            }
            ("make a directory", _) => {
                "Write and search permission (w and x) are needed on the directory in which a new one is to be made."
            }
            _ => {
                "Write and search permission (w and x) are needed on the object's directory, and search permission (x) on \
                 those above it."
            }
        }
    }
}

/// What is said of an object's file that cannot be opened.
const OP_READ: &str = "read the object's file";
const OP_WRITE: &str = "change names in the object's directory";
const OP_REMOVE: &str = "remove or replace the object";
const OP_REACH: &str = "reach the object";
const OP_LIST: &str = "list the directory of the prefix";

#[cfg(test)]
mod tests;
