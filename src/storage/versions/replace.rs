//! What a publication in a bucket that keeps versions does to the version in its way.

use std::os::fd::BorrowedFd;

use rustix::fs::{self, AtFlags, RenameFlags};
use rustix::io::Errno;

use super::super::error::{At, Result, Subject};
use super::super::layout::KeyPath;
use super::super::object::Object;
use super::super::root::{Bucket, Root};
use super::history::{History, remove_file};
use super::name::{Kept, nanos_of};
use super::{Version, inode_of};
use crate::failpoint;
use crate::limits;

/// How the current file gets its name in the history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It keeps its natural name until another file takes it.
    Link,
    /// It loses its natural name in the same step.
    Move,
}

/// Where an object stands: its directory and its name there.
#[derive(Clone, Copy)]
pub(super) struct Site<'s> {
    pub(super) directory: BorrowedFd<'s>,
    pub(super) name: &'s [u8],
}

/// Keeps the current object as a noncurrent version, before a new one of version `new` takes its name at `directory` and
/// `name`. If the new one has to be given another id, so that it sorts before the one it follows, that is returned.
/// `path` is the key's, whether or not its object stands in a directory.
pub(in crate::storage) fn keep_before(
    root: &Root,
    bucket: &Bucket,
    path: &KeyPath,
    directory: BorrowedFd<'_>,
    name: &[u8],
    current: &Object,
    new: Option<[u8; 16]>,
) -> Result<(History, Option<[u8; 16]>)> {
    let history = History::make(root, &bucket.name, path)?;
    failpoint::pass("keep:history");
    let floor = floor(&history, current)?;
    let nanos = new.map_or_else(|| root.tick(), |id| nanos_of(&id));
    let later = nanos.max(floor + 1);
    keep(root, &history, Site { directory, name }, current, Way::Link, later - 1)?;
    let other = match new {
        Some(_) if later != nanos => Some(Version::new_id(later)?),
        _ => None,
    };
    Ok((history, other))
}

/// The time that what follows the current object has to exceed.
pub(super) fn floor(history: &History, current: &Object) -> Result<u64> {
    Ok(match current.version {
        Version::Named(id) => nanos_of(&id).min(u64::MAX - 2),
        // It gets a place between the newest of the others and what follows it.
        Version::Null => {
            history.newest(Some(Version::Null))?.map_or(0, |kept| kept.nanos().min(u64::MAX - 3) + 1)
        }
    })
}

/// Gives the current object, which stands at `site`, a name in the history; the null version gets its place at `nanos`.
pub(super) fn keep(
    root: &Root,
    history: &History,
    site: Site<'_>,
    current: &Object,
    mut way: Way,
    nanos: u64,
) -> Result<()> {
    let inode = inode_of(current)?;
    let mut kept = Kept::data(current.version, nanos);
    if current.version == Version::Null {
        let nulls = history.nulls()?;
        for null in &nulls {
            if history.inode(null)? == Some(inode) {
                // A crash came between this and the next step.
                if way == Way::Move {
                    remove_file(root, site.directory, site.name)?;
                }
                return remove_nulls(root, history, None, Some(null));
            }
        }
        for null in &nulls {
            if is_locked(root, history, null)? {
                // There is one null version, and the old one must not go: the new one, which a program wrote, gets an id.
                kept = Kept::data(Version::Named(Version::new_id(nanos)?), nanos);
            }
        }
    }
    for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
        match place(history, site, &kept, way) {
            // Another program removed it: nothing is left to keep.
            Ok(()) | Err(Errno::NOENT) => break,
            Err(Errno::EXIST) if history.inode(&kept)? == Some(inode) => {
                // As above, of a version with an id.
                if way == Way::Move {
                    remove_file(root, site.directory, site.name)?;
                }
                break;
            }
            // The record was copied or forged: two files claim one version. Both are kept.
            Err(Errno::EXIST) => kept = Kept::data(Version::Named(Version::new_id(nanos)?), nanos),
            // The file system has no links, or none to a file of another owner. For readers there is a gap then.
            Err(Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) if way == Way::Link => way = Way::Move,
            Err(errno) => return Err(errno).at(Subject::Object, "keep a version of the object"),
        }
    }
    failpoint::pass("keep:placed");
    match kept.version() {
        Version::Null => remove_nulls(root, history, None, Some(&kept)),
        Version::Named(_) => Ok(()),
    }
}

fn is_locked(root: &Root, history: &History, kept: &Kept) -> Result<bool> {
    let record = history.object(root, kept)?.and_then(|object| object.record);
    Ok(record.is_some_and(|record| record.is_locked(crate::runtime::now().seconds)))
}

/// Removes the entries of the null version, except `except` and those that are locked. A name of the file `inode` goes
/// in any case.
pub(super) fn remove_nulls(
    root: &Root,
    history: &History,
    inode: Option<u64>,
    except: Option<&Kept>,
) -> Result<()> {
    for null in history.nulls()?.iter().filter(|null| Some(*null) != except) {
        let is_name_of_file = inode.is_some() && history.inode(null)? == inode;
        if is_name_of_file || !is_locked(root, history, null)? {
            history.remove(root, null)?;
            failpoint::pass("nulls:removed");
        }
    }
    Ok(())
}

fn place(history: &History, site: Site<'_>, kept: &Kept, way: Way) -> rustix::io::Result<()> {
    let Site { directory, name } = site;
    let link = || fs::linkat(directory, name, &history.fd, kept.name(), AtFlags::empty());
    if way == Way::Link {
        return link();
    }
    match fs::renameat_with(directory, name, &history.fd, kept.name(), RenameFlags::NOREPLACE) {
        // The file system knows no such rename.
        Err(Errno::INVAL | Errno::NOSYS) => {
            link()?;
            fs::unlinkat(directory, name, AtFlags::empty())
        }
        done => done,
    }
}

/// Removes what the history has of the null version, which was written anew.
pub(in crate::storage) fn forget_nulls(root: &Root, bucket: &Bucket, path: &KeyPath) -> Result<()> {
    let Some(history) = History::open(root, &bucket.name, path)? else { return Ok(()) };
    if !history.nulls()?.is_empty() {
        remove_nulls(root, &history, None, None)?;
        History::prune(root, &bucket.name, path);
    }
    Ok(())
}
