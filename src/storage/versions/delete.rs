//! Deleting: by a delete marker, or one version for good.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, RenameFlags};
use rustix::io::Errno;
use smallvec::{SmallVec, smallvec};

use super::super::commit::Change;
use super::super::error::{At, Error, Result, Subject};
use super::super::layout::{self, ObjectKey};
use super::super::object::{self, Condition, Object};
use super::super::root::{Bucket, Root};
use super::super::walk::Emptied;
use super::super::{permission, spill, walk};
use super::history::{History, remove_file};
use super::name::Kept;
use super::replace::{Site, Way, floor, keep, remove_nulls};
use super::{Absence, Place, Version, Versioning, inode_of, latest};
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;
use crate::runtime::credentials::{self, Credentials};

/// What a deletion did. The change is what a commit has to make durable.
pub enum Deleted {
    /// Nothing: there was nothing to delete, or what decides said so.
    Nothing,
    /// A version, or a delete marker, is gone for good.
    Removed {
        /// Which one; the null one in a bucket without versions.
        version: Version,
        /// Whether it was a delete marker.
        was_marker: bool,
        /// What was changed.
        change: Change,
    },
    /// The object has a new delete marker.
    Marked {
        /// The marker's id.
        version: Version,
        /// What was changed.
        change: Change,
    },
}

/// Decides about what is to be deleted, under the key's lock: whether anything is done. Its error ends the deletion.
pub type Decide<'d, E> = &'d dyn Fn(std::result::Result<&Object, &Absence>) -> std::result::Result<bool, E>;

/// Deletes a version for good, or if none is named the object: in a bucket that keeps versions by a delete marker of
/// `owner`, otherwise for good. Without `decide` everything is deleted.
pub fn delete<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<Version>,
    owner: PosixOwner,
    decide: Option<Decide<'_, E>>,
) -> Result<std::result::Result<Deleted, E>> {
    delete_one_of_many(root, bucket, key, version, owner, decide, &mut Emptied::new(bucket))
}

/// As [`delete`]; the directories that are empty now are removed when `emptied` is dropped.
///
/// # Errors
/// As [`delete`].
pub fn delete_one_of_many<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<Version>,
    owner: PosixOwner,
    decide: Option<Decide<'_, E>>,
    emptied: &mut Emptied<'_>,
) -> Result<std::result::Result<Deleted, E>> {
    let versioning = root.versioning(&bucket.name);
    if version.is_none() && versioning == Versioning::Unversioned {
        return delete_plainly(root, bucket, key, decide, emptied);
    }
    let user = credentials::current();
    let asker = Asker { user: user.as_ref(), reads: decide.is_some() };
    credentials::as_server(|| match version {
        Some(version) => remove(root, bucket, key, version, &asker, decide),
        None => mark(root, bucket, key, versioning, owner, &asker, decide),
    })
}

/// Whom the kernel is asked about before the server does something for them.
struct Asker<'u> {
    user: Option<&'u Credentials>,
    /// Whether what the object is decides, so that they learn something of it.
    reads: bool,
}

impl Asker<'_> {
    fn may(&self, bucket: &Bucket, place: &Place) -> Result<()> {
        let Some(user) = self.user else { return Ok(()) };
        let ask = || match (&place.current, &place.parent) {
            (Some(current), Some(parent)) => {
                permission::to_remove_of(bucket, &place.path, parent.as_fd(), current)?;
                if self.reads { permission::to_read(current.file.as_fd()) } else { Ok(()) }
            }
            _ => permission::to_change(bucket, &place.path),
        };
        credentials::as_user(Some(user), ask).at(Subject::Object, "act as the user")?
    }
}

fn delete_plainly<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    decide: Option<Decide<'_, E>>,
    emptied: &mut Emptied<'_>,
) -> Result<std::result::Result<Deleted, E>> {
    let removed = |change: Option<Change>| match change {
        Some(change) => Deleted::Removed { version: Version::Null, was_marker: false, change },
        None => Deleted::Nothing,
    };
    let Some(decide) = decide else {
        return Ok(object::delete::<E>(root, bucket, key, &Condition::Always, emptied)?.map(removed));
    };
    // `None` is the refusal that is no error: nothing is to be done.
    let condition = |current: Option<&Object>| match decide(current.ok_or(&Absence::Nothing)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(None),
        Err(error) => Err(Some(error)),
    };
    Ok(match object::delete(root, bucket, key, &Condition::Decide(&condition), emptied)? {
        Ok(change) => Ok(removed(change)),
        Err(None) => Ok(Deleted::Nothing),
        Err(Some(error)) => Err(error),
    })
}

/// Makes a delete marker the latest version.
fn mark<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    versioning: Versioning,
    owner: PosixOwner,
    asker: &Asker<'_>,
    decide: Option<Decide<'_, E>>,
) -> Result<std::result::Result<Deleted, E>> {
    let base = layout::path(key);
    let _order = root.lock(&bucket.name, key);
    let place = Place::find(root, bucket, key)?;
    asker.may(bucket, &place)?;
    if let Some(decide) = decide {
        let decided = match &place.current {
            Some(current) => decide(Ok(current)),
            None => decide(Err(&latest(root, bucket, &base)?)),
        };
        match decided {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(Deleted::Nothing)),
            Err(error) => return Ok(Err(error)),
        }
    }
    let history = History::make(root, &bucket.name, &base)?;
    let floor = match &place.current {
        Some(current) => floor(&history, current)?,
        None => 0,
    };
    let nanos = root.tick().max(floor + 1);
    let version = match versioning {
        Versioning::Enabled => Version::Named(Version::new_id(nanos)?),
        _ => Version::Null,
    };
    let marker = Kept::marker(version, nanos);
    let marked = history.mark(root, &marker, owner)?;
    failpoint::pass("mark:given");
    let mut files: SmallVec<[Arc<OwnedFd>; 2]> = SmallVec::new();
    if let (Some(current), Some(parent)) = (&place.current, place.parent) {
        let site = Site { directory: parent.as_fd(), name: place.path.name() };
        if version == Version::Null && current.version == Version::Null {
            remove_file(root, site.directory, site.name)?;
        } else {
            keep(root, &history, site, current, Way::Move, nanos - 1)?;
        }
        failpoint::pass("mark:moved");
        files.push(parent.into());
        walk::remove_empty_parents(bucket, &place.path);
    }
    if version == Version::Null {
        remove_nulls(root, &history, None, Some(&marker))?;
    }
    // Where nothing was moved, the marker's owner is what was changed last.
    files.extend([marked.into(), history.fd.into()]);
    // The marker and its owner, and directories made or removed on the way.
    Ok(Ok(Deleted::Marked { version, change: Change { files, wide: true } }))
}

/// Deletes one version for good. Where that uncovers another one, it becomes the current one.
fn remove<E>(
    root: &Root,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Version,
    asker: &Asker<'_>,
    decide: Option<Decide<'_, E>>,
) -> Result<std::result::Result<Deleted, E>> {
    let base = layout::path(key);
    let allowed = |found: std::result::Result<&Object, &Absence>| match decide {
        Some(decide) => decide(found),
        None => Ok(found.is_ok() || matches!(found, Err(Absence::Marker(_)))),
    };
    let mut made = false;
    for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
        let order = root.lock(&bucket.name, key);
        let place = Place::find(root, bucket, key)?;
        asker.may(bucket, &place)?;
        let history = History::open(root, &bucket.name, &base)?;
        if let (Some(current), Some(parent)) = (&place.current, &place.parent)
            && current.version == version
        {
            match allowed(Ok(current)) {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(Deleted::Nothing)),
                Err(error) => return Ok(Err(error)),
            }
            let site = Site { directory: parent.as_fd(), name: place.path.name() };
            remove_current(root, history.as_ref(), site, current)?;
            failpoint::pass("remove:current");
            History::prune(root, &bucket.name, &base);
            drop(order);
            walk::remove_empty_parents(bucket, &place.path);
            let wide = history.is_some() || place.path.parent().is_some();
            let mut files: SmallVec<[Arc<OwnedFd>; 2]> = place.parent.into_iter().map(Arc::new).collect();
            files.extend(history.map(|history| history.fd.into()));
            let change = Change { files, wide };
            return Ok(Ok(Deleted::Removed { version, was_marker: false, change }));
        }
        let kept = match &history {
            Some(history) => history.find(version)?,
            None => None,
        };
        let (Some(history), Some(kept)) = (history, kept) else {
            return Ok(allowed(Err(&Absence::Nothing)).map(|_| Deleted::Nothing));
        };
        let decided = match history.object(root, &kept)? {
            Some(object) => allowed(Ok(&object)),
            None => allowed(Err(&history.marker(&kept)?.map_or(Absence::Nothing, Absence::Marker))),
        };
        match decided {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(Deleted::Nothing)),
            Err(error) => return Ok(Err(error)),
        }
        let mut files: SmallVec<[Arc<OwnedFd>; 2]> = smallvec![];
        if kept.is_marker()
            && place.current.is_none()
            && history.newest(None)?.as_ref() == Some(&kept)
            && let Some(next) = history.newest(Some(version))?
            && let Some(uncovered) = history.object(root, &next)?
        {
            let Some(parent) = place.parent else {
                drop(order);
                // Making it may need the locks of other keys. It stands when this is tried again.
                made = walk::make_parent(root, bucket, &place.path, uncovered.owner)?.made;
                continue;
            };
            let into = Site { directory: parent.as_fd(), name: place.path.name() };
            uncover(&history, &next, into, RenameFlags::NOREPLACE)?;
            failpoint::pass("remove:uncovered");
            files.push(parent.into());
        }
        let was_marker = kept.is_marker();
        history.remove(root, &kept)?;
        failpoint::pass("remove:entry");
        if version == Version::Null {
            remove_nulls(root, &history, None, None)?;
        }
        History::prune(root, &bucket.name, &base);
        drop(order);
        if made {
            // In case nothing was to be uncovered any more.
            walk::remove_empty_parents(bucket, &place.path);
        }
        // What was changed last is flushed first.
        files.insert(0, history.fd.into());
        return Ok(Ok(Deleted::Removed { version, was_marker, change: Change { files, wide: true } }));
    }
    Err(Error {
        op: "delete a version: the object's directory keeps changing",
        subject: Subject::Object,
        errno: Errno::BUSY,
    })
}

/// Removes the current object at `site`: the newest of the others takes its name if it is data.
fn remove_current(root: &Root, history: Option<&History>, site: Site<'_>, current: &Object) -> Result<()> {
    let Some(history) = history else { return remove_file(root, site.directory, site.name) };
    let inode = inode_of(current)?;
    // What a crash left of it goes first.
    let own = Kept::data(current.version, 0);
    match current.version {
        Version::Null => remove_nulls(root, history, Some(inode), None)?,
        Version::Named(_) if history.inode(&own)? == Some(inode) => history.remove(root, &own)?,
        Version::Named(_) => {}
    }
    loop {
        match history.newest(None)? {
            Some(next) if !next.is_marker() => {
                if history.inode(&next)? == Some(inode) {
                    // Renaming a file over another name of its own would do nothing.
                    history.remove(root, &next)?;
                    continue;
                }
                let spilled = spill::of_file(current.file.as_fd(), inode);
                uncover(history, &next, site, RenameFlags::empty())?;
                failpoint::pass("remove:replaced");
                if let Some(spilled) = spilled {
                    spill::remove(root, &spilled);
                }
                return Ok(());
            }
            _ => return remove_file(root, site.directory, site.name),
        }
    }
}

/// Makes an entry of the history the current object.
fn uncover(history: &History, kept: &Kept, into: Site<'_>, flags: RenameFlags) -> Result<()> {
    let renamed = match fs::renameat_with(&history.fd, kept.name(), into.directory, into.name, flags) {
        // The file system knows no such rename.
        Err(Errno::INVAL | Errno::NOSYS) if !flags.is_empty() => {
            fs::linkat(&history.fd, kept.name(), into.directory, into.name, AtFlags::empty())
                .and_then(|()| fs::unlinkat(&history.fd, kept.name(), AtFlags::empty()))
        }
        done => done,
    };
    match renamed {
        // Another program put a file there just now: that one is current.
        Err(Errno::EXIST) => Ok(()),
        done => done.at(Subject::Object, "make a version the current one"),
    }
}
