//! Directories that come with an object in them.
//!
//! The directories of a new object are made where they belong, one inside the other. As long as nothing is in them
//! anybody may remove them: the DELETE that emptied them a moment ago, or a program that looks for empty directories all
//! the time, and that may be faster. Where this goes on they are made in the staging directory instead, get the object,
//! and then their place by one rename: there is no moment at which they are empty.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, RenameFlags};
use rustix::io::Errno;

use super::error::{At, Result, Subject};
use super::layout::KeyPath;
use super::root::{Bucket, Root};
use super::writer::Staged;
use super::{modes, recover, walk};
use crate::iam::principal::PosixOwner;
use crate::runtime::credentials;

/// All directories that an object lacks, without a place yet. Dropped without one, they are removed.
pub struct Prepared<'r> {
    root: &'r Root,
    /// What the outermost is called in the staging directory.
    aside: String,
    outermost: OwnedFd,
    /// The innermost one, in which the object's name is to stand.
    pub parent: Arc<OwnedFd>,
    /// Where the outermost belongs.
    place: (Arc<OwnedFd>, Vec<u8>),
}

impl<'r> Prepared<'r> {
    /// The directories that are missing for an object at `path`. They belong to `owner`. `Ok(None)`: none is missing, or
    /// they cannot be made in this way.
    pub fn of(root: &'r Root, bucket: &Bucket, path: &KeyPath, owner: PosixOwner) -> Result<Option<Self>> {
        let Some(parent) = path.parent() else { return Ok(None) };
        let mut components = parent.split(|byte| *byte == b'/');
        let mut at = bucket.fd.clone();
        let missing = loop {
            let Some(component) = components.next() else { return Ok(None) };
            match walk::open_directory(at.as_fd(), component) {
                Ok(fd) => at = Arc::new(fd),
                Err(Errno::NOENT) => break component,
                Err(Errno::NOTDIR) => return Ok(None),
                Err(errno) => return Err(errno).at(Subject::Directory, "open the object's directory"),
            }
        };
        if components.clone().count() >= LEVELS_MAX {
            return Ok(None);
        }
        let aside = root.staging_name();
        let make = |directory: &OwnedFd, name: &[u8]| -> rustix::io::Result<OwnedFd> {
            fs::mkdirat(directory, name, walk::DIRECTORY_MODE)?;
            walk::open_directory(directory.as_fd(), name)
        };
        let op = "prepare a directory";
        let outermost = make(&root.staging, aside.as_bytes()).at(Subject::Directory, op)?;
        let innermost = outermost.try_clone().at(Subject::Directory, op)?;
        let mut prepared =
            Self { root, aside, outermost, parent: Arc::new(innermost), place: (at, missing.to_vec()) };
        let (outermost, above) = (prepared.outermost.as_fd(), prepared.place.0.as_fd());
        credentials::as_server(|| modes::inherit(outermost, above)).at(Subject::Directory, op)?;
        walk::hand_over_directory(root, bucket, outermost, owner)?;
        for component in components {
            let inner = make(&prepared.parent, component).at(Subject::Directory, op)?;
            walk::hand_over_directory(root, bucket, inner.as_fd(), owner)?;
            prepared.parent = Arc::new(inner);
        }
        Ok(Some(prepared))
    }

    /// Gives the innermost directory the object, and all of them their place.
    ///
    /// # Errors
    /// ENOTEMPTY or ENOTDIR: something stands in that place meanwhile. ENOENT: where it belongs there is no directory any more.
    /// EXDEV: the file system has no such rename there (a quota of XFS for a project, say).
    pub fn place(self, staged: &mut Staged<'_>, name: &[u8]) -> rustix::io::Result<()> {
        staged.link_too(self.parent.as_fd(), name)?;
        let (from, (above, at)) = (&self.root.staging, &self.place);
        match fs::renameat_with(from, self.aside.as_str(), above, at.as_slice(), RenameFlags::NOREPLACE) {
            // The file system knows no such rename. The one it knows replaces nothing but an empty directory.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::renameat(from, self.aside.as_str(), above, at.as_slice())?
            }
            Err(Errno::EXIST) => return Err(Errno::NOTEMPTY),
            done => done?,
        }
        staged.left();
        Ok(())
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        // Once they have their place there is nothing under that name.
        if fs::accessat(&self.root.staging, self.aside.as_str(), fs::Access::EXISTS, AtFlags::empty()).is_ok()
        {
            credentials::as_server(|| recover::remove_content(self.outermost.as_fd(), LEVELS_MAX));
            let _ = fs::unlinkat(&self.root.staging, self.aside.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

/// At most this many directories are prepared for one object.
pub const LEVELS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs as std_fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::super::layout::{self, ObjectKey};
    use super::super::object::tests::Store;
    use super::*;

    fn path(key: &str) -> KeyPath {
        layout::path(&ObjectKey::parse(key.as_bytes()).unwrap())
    }

    fn staged<'s>(store: &'s Store, path: &KeyPath) -> Staged<'s> {
        Staged::create(&store.root, &store.bucket, path).unwrap()
    }

    fn prepared<'s>(store: &'s Store, path: &KeyPath) -> Option<Prepared<'s>> {
        Prepared::of(&store.root, &store.bucket, path, store.root.process_owner()).unwrap()
    }

    /// What has a name in the staging directory.
    fn aside(store: &Store) -> usize {
        let staging = walk::proc_path(store.root.staging.as_fd());
        std_fs::read_dir(staging.as_str()).unwrap().count()
    }

    #[test]
    fn directories_come_with_the_object() {
        let store = Store::new();
        std_fs::create_dir(store.path("a")).unwrap();
        std_fs::set_permissions(store.path("a"), std_fs::Permissions::from_mode(0o2775)).unwrap();
        let before = aside(&store);
        for key in ["a/b/c/k", "x/k"] {
            let path = path(key);
            let prepared = prepared(&store, &path).unwrap();
            let mut staged = staged(&store, &path);
            let inode = fs::fstat(&staged).unwrap().st_ino;
            prepared.place(&mut staged, path.name()).unwrap();
            drop(staged);
            let object = std_fs::metadata(store.path(key)).unwrap();
            assert_eq!((object.ino(), object.nlink()), (inode, 1));
        }
        assert_eq!(aside(&store), before);
        // As if they had been made there.
        for (directory, mode) in [("a/b", 0o2755), ("a/b/c", 0o2755), ("x", 0o755)] {
            assert_eq!(std_fs::metadata(store.path(directory)).unwrap().mode() & 0o7777, mode, "{directory}");
        }
    }

    #[test]
    fn directories_have_the_access_control_list_they_would_have_there() {
        let store = Store::new();
        for directory in ["a", "in-place"] {
            std_fs::create_dir(store.path(directory)).unwrap();
            // user::rwx,user:1234:rwx,group::r-x,mask::rwx,other::---
            let entries = [
                (1u16, 7u16, u32::MAX),
                (2, 7, 1234),
                (4, 5, u32::MAX),
                (16, 7, u32::MAX),
                (32, 0, u32::MAX),
            ];
            let mut list = 2u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in entries {
                list.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
            }
            let name = "system.posix_acl_default";
            match fs::setxattr(store.path(directory), name, &list, fs::XattrFlags::empty()) {
                // TMPDIR has no such lists; the file systems that the tests of the storage are run on have them.
                Err(Errno::OPNOTSUPP) => return,
                done => done.unwrap(),
            }
        }
        let path = path("a/b/c/k");
        prepared(&store, &path).unwrap().place(&mut staged(&store, &path), path.name()).unwrap();
        std_fs::create_dir_all(store.path("in-place/b/c")).unwrap();
        for directory in ["b", "b/c"] {
            let of = |above: &str, name: &str| {
                let mut value = [0; 1024];
                let path = store.path(above).join(directory);
                let length = fs::getxattr(path, name, &mut value[..]).unwrap();
                value[..length].to_vec()
            };
            for name in ["system.posix_acl_default", "system.posix_acl_access"] {
                assert_eq!(of("a", name), of("in-place", name), "{name} of {directory}");
            }
        }
    }

    #[test]
    fn what_gets_no_place_leaves_nothing() {
        let store = Store::new();
        let before = aside(&store);
        let path = path("a/b/k");
        drop(prepared(&store, &path));
        assert_eq!(aside(&store), before);
        // Somebody makes one of the directories meanwhile, removes the one that they belong in, or makes a file.
        let meanwhile: [(&dyn Fn() -> std::io::Result<()>, Errno); 3] = [
            (&|| std_fs::create_dir(store.path("a")), Errno::NOTEMPTY),
            (&|| std_fs::remove_dir(store.path("a")), Errno::NOENT),
            (&|| std_fs::write(store.path("a"), "a file"), Errno::NOTEMPTY),
        ];
        for (act, error) in meanwhile {
            let prepared = prepared(&store, &path).unwrap();
            let mut staged = staged(&store, &path);
            act().unwrap();
            assert_eq!(prepared.place(&mut staged, path.name()), Err(error));
            // The object has its name outside the buckets, and may be published as any other.
            assert_eq!((aside(&store), fs::fstat(&staged).unwrap().st_nlink), (before + 1, 1));
            staged.link(store.bucket.fd.as_fd(), b"elsewhere").unwrap();
            drop(staged);
            std_fs::remove_file(store.path("elsewhere")).unwrap();
            assert_eq!(aside(&store), before);
        }
        assert_eq!(std_fs::read(store.path("a")).unwrap(), b"a file");
        assert!(prepared(&store, &path).is_none());
    }

    #[test]
    fn only_what_is_missing_is_prepared_and_not_without_end() {
        let store = Store::new();
        std_fs::create_dir_all(store.path("a/b")).unwrap();
        for (key, is_prepared) in [("k", false), ("a/b/k", false), ("a/b/c/k", true)] {
            assert_eq!(prepared(&store, &path(key)).is_some(), is_prepared, "{key}");
        }
        let deep = |levels: usize| path(&("d/".repeat(levels) + "k"));
        assert!(prepared(&store, &deep(LEVELS_MAX)).is_some());
        assert!(prepared(&store, &deep(LEVELS_MAX + 1)).is_none());
        let before = aside(&store);
        drop(prepared(&store, &deep(LEVELS_MAX)));
        assert_eq!(aside(&store), before);
    }
}
