//! What is configured for a bucket, one small file for each item:
//!
//! ```text
//! <root>/.sluicegate/buckets/<bucket>/policy.json   the bucket policy, byte for byte as it was sent
//! <root>/.sluicegate/buckets/<bucket>/tagging.xml   its tags, and so on: the XML document of each setting
//! <root>/.sluicegate/buckets/<bucket>/unlinked      empty; the directory of this name is no bucket while it stands
//! ```
//!
//! What a file says is not looked at here. A file is replaced as a whole: it is written aside, flushed, and renamed over
//! the old one, so that it is found after a crash as it was before or after the change; a change has reached stable
//! storage when its call returns, whatever the durability of objects is.
//!
//! Changes of configurations, and the making and deleting of buckets, are ordered by [`Root::lock_configuration`], which
//! their callers hold. A configuration goes with its bucket. One that is left behind, because the server crashed in the
//! middle or the directory was removed by another program, is removed when a bucket of that name is made through the
//! server; a directory that another program makes takes it over.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::error::{At, Result, Subject};
use super::layout::BucketName;
use super::root::Root;
use super::writer::write_all;
use super::{recover, walk};
use crate::failpoint;
use crate::runtime::credentials::as_server;

/// What can be configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// The access control list.
    Acl,
    /// The CORS configuration.
    Cors,
    /// Rules that delete objects.
    Lifecycle,
    /// Who is told of changes of objects.
    Notification,
    /// Its object lock.
    ObjectLock,
    /// The ownership controls.
    Ownership,
    /// The bucket policy.
    Policy,
    /// Where it differs from S3, for speed.
    Profile,
    /// The public access block.
    PublicAccessBlock,
    /// Tags of the bucket.
    Tagging,
    /// The directory is no bucket.
    Unlinked,
    /// Whether it keeps versions.
    Versioning,
}

impl Item {
    /// The name of its file.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Acl => "acl.xml",
            Self::Cors => "cors.xml",
            Self::Lifecycle => "lifecycle.xml",
            Self::Notification => "notification.xml",
            Self::ObjectLock => "object-lock.xml",
            Self::Ownership => "ownership.xml",
            Self::Policy => "policy.json",
            Self::Profile => "profile.json",
            Self::PublicAccessBlock => "public-access-block.xml",
            Self::Tagging => "tagging.xml",
            Self::Unlinked => "unlinked",
            Self::Versioning => "versioning.xml",
        }
    }
}

/// The content of an item, at most [`CONTENT_BYTES_MAX`] of it. `None`: it is not configured.
pub fn read(root: &Root, bucket: &BucketName, item: Item) -> Result<Option<Vec<u8>>> {
    let read = || -> rustix::io::Result<Option<Vec<u8>>> {
        let Some(directory) = open(root, bucket)? else { return Ok(None) };
        let Some((file, stat)) = found(
            walk::open_regular(directory.as_fd(), item.file().as_bytes()).map_err(|error| error.errno),
        )?
        .flatten() else {
            return Ok(None);
        };
        let size = usize::try_from(stat.st_size).unwrap_or(CONTENT_BYTES_MAX);
        let mut content = vec![0; size.min(CONTENT_BYTES_MAX)];
        let mut length = 0;
        while length < content.len() {
            match rustix::io::pread(&file, &mut content[length..], length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        content.truncate(length);
        Ok(Some(content))
    };
    as_server(read).at(Subject::Configuration, "read the configuration")
}

/// Configures an item durably, in place of what was there.
pub fn write(root: &Root, bucket: &BucketName, item: Item, content: &[u8]) -> Result<()> {
    let aside = root.staging_name();
    let write = || -> rustix::io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = fs::openat(&root.staging, aside.as_str(), flags, Mode::from_raw_mode(0o600))?;
        write_all(file.as_fd(), content, 0)?;
        fs::fsync(&file)?;
        failpoint::pass("configuration:aside");
        match fs::mkdirat(&root.buckets, bucket.as_str(), Mode::from_raw_mode(0o700)) {
            Ok(()) => fs::fsync(&root.buckets)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        failpoint::pass("configuration:directory");
        let directory = walk::open_directory(root.buckets.as_fd(), bucket.as_bytes())?;
        fs::renameat(&root.staging, aside.as_str(), &directory, item.file())?;
        failpoint::pass("configuration:renamed");
        fs::fsync(&directory)
    };
    let written = as_server(write);
    if written.is_err() {
        // It may not have been made, or be renamed already.
        let _ = fs::unlinkat(&root.staging, aside.as_str(), AtFlags::empty());
    }
    written.at(Subject::Configuration, "write the configuration")
}

/// Removes an item durably. False: it was not configured.
pub fn remove(root: &Root, bucket: &BucketName, item: Item) -> Result<bool> {
    let remove = || -> rustix::io::Result<bool> {
        let Some(directory) = open(root, bucket)? else { return Ok(false) };
        let removed = found(fs::unlinkat(&directory, item.file(), AtFlags::empty()))?.is_some();
        failpoint::pass("configuration:removed");
        // Also if somebody removed it before, and the flush failed.
        fs::fsync(&directory)?;
        Ok(removed)
    };
    as_server(remove).at(Subject::Configuration, "remove the configuration")
}

/// Removes the whole configuration of a bucket durably. False: there was none.
pub fn remove_all(root: &Root, bucket: &BucketName) -> Result<bool> {
    let remove = || -> rustix::io::Result<bool> {
        let Some(directory) = open(root, bucket)? else { return Ok(false) };
        recover::remove_content(directory.as_fd(), recover::DEPTH_MAX);
        failpoint::pass("configuration:emptied");
        fs::unlinkat(&root.buckets, bucket.as_str(), AtFlags::REMOVEDIR)?;
        fs::fsync(&root.buckets)?;
        Ok(true)
    };
    as_server(remove).at(Subject::Configuration, "remove the configuration")
}

/// Removes all that is configured of a bucket but that it is unlinked, durably.
pub fn remove_settings(root: &Root, bucket: &BucketName) -> Result<()> {
    let remove = || -> rustix::io::Result<()> {
        let Some(directory) = open(root, bucket)? else { return Ok(()) };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") && name.to_bytes() != Item::Unlinked.file().as_bytes()
            {
                found(fs::unlinkat(&directory, name, AtFlags::empty()))?;
            }
        }
        fs::fsync(&directory)
    };
    as_server(remove).at(Subject::Configuration, "remove the configuration")
}

/// All buckets that have an item configured, those that are gone included.
pub fn with(root: &Root, item: Item) -> Result<Vec<BucketName>> {
    let list = || -> rustix::io::Result<Vec<BucketName>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&root.buckets)? {
            let Ok(name) = BucketName::parse(entry?.file_name().to_bytes()) else { continue };
            let Some(directory) = open(root, &name)? else { continue };
            if found(fs::accessat(&directory, item.file(), fs::Access::EXISTS, AtFlags::empty()))?.is_some() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    };
    as_server(list).at(Subject::Configuration, "list the configurations")
}

fn open(root: &Root, bucket: &BucketName) -> rustix::io::Result<Option<OwnedFd>> {
    found(walk::open_directory(root.buckets.as_fd(), bucket.as_bytes()))
}

fn found<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Most bytes of an item that are read: more than any item may have, so that one that is too long is noticed.
pub const CONTENT_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::super::Durability;
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        (directory, root)
    }

    fn name(text: &str) -> BucketName {
        BucketName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn items_are_replaced_as_a_whole_and_removed() {
        let (directory, root) = root();
        let (photos, music) = (name("photos"), name("music"));
        assert_eq!(read(&root, &photos, Item::Policy).unwrap(), None);
        assert!(!remove(&root, &photos, Item::Policy).unwrap() && !remove_all(&root, &photos).unwrap());
        write(&root, &photos, Item::Policy, b"a long first version").unwrap();
        write(&root, &photos, Item::Policy, b"short").unwrap();
        write(&root, &music, Item::Unlinked, b"").unwrap();
        assert_eq!(read(&root, &photos, Item::Policy).unwrap().as_deref(), Some(&b"short"[..]));
        assert_eq!(with(&root, Item::Policy).unwrap(), [photos]);
        assert_eq!(with(&root, Item::Unlinked).unwrap(), [music]);
        let file = directory.path().join(".sluicegate/buckets/photos/policy.json");
        assert_eq!(std::fs::read(&file).unwrap(), b"short");
        assert!(remove(&root, &photos, Item::Policy).unwrap());
        assert_eq!(read(&root, &photos, Item::Policy).unwrap(), None);
        assert!(remove_all(&root, &music).unwrap());
        assert!(with(&root, Item::Unlinked).unwrap().is_empty());
        assert!(!directory.path().join(".sluicegate/buckets/music").exists());
    }

    #[test]
    fn a_failed_write_leaves_the_old_item() {
        let (directory, root) = root();
        write(&root, &name("photos"), Item::Policy, b"old").unwrap();
        // A directory in the way of the file cannot be renamed over.
        std::fs::create_dir(directory.path().join(".sluicegate/buckets/photos/unlinked")).unwrap();
        assert!(write(&root, &name("photos"), Item::Unlinked, b"").is_err());
        assert_eq!(read(&root, &name("photos"), Item::Policy).unwrap().as_deref(), Some(&b"old"[..]));
        let staging = std::fs::read_dir(directory.path().join(".sluicegate/staging")).unwrap();
        for own in staging {
            assert_eq!(std::fs::read_dir(own.unwrap().path()).unwrap().count(), 0, "nothing is left aside");
        }
    }

    #[test]
    fn an_unlinked_directory_is_no_bucket_until_it_is_linked() {
        let (directory, root) = root();
        std::fs::create_dir(directory.path().join("photos")).unwrap();
        assert!(root.bucket(&name("photos")).unwrap().is_some());
        root.unlink(&name("photos")).unwrap();
        assert!(root.bucket(&name("photos")).unwrap().is_none());
        assert!(root.is_unlinked(&name("photos")));
        drop(root);
        let root = Root::open(directory.path(), Durability::None).unwrap();
        assert!(root.bucket(&name("photos")).unwrap().is_none(), "also after a restart");
        assert!(root.link(&name("photos")).unwrap() && !root.link(&name("photos")).unwrap());
        assert!(root.bucket(&name("photos")).unwrap().is_some());
    }
}
