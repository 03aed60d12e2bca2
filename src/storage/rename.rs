//! Another name for an object: one rename of its file, under the locks of both keys.
//!
//! The inode stays, and with it the data, the record, the ETag, the time of modification and the owner. At no moment is
//! the object under both keys or under neither.
//!
//! A key may be a part of the other's path. `a` to `a/b`: the file in the way becomes a directory that holds it (see
//! `walk::make_parent`), and leaves it. `a/b` to `a`: the directory stays, because an exchange of the two would not be
//! atomic for readers of other keys below it, and the object lies in it under [`layout::SELF_NAME`].

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, RenameFlags, Stat};
use rustix::io::Errno;
use smallvec::smallvec;

use super::commit::Change;
use super::error::{At, Error, Result, Subject};
use super::layout::{self, KeyPath, ObjectKey};
use super::object::{self, Object};
use super::root::{Bucket, Root};
use super::{spill, walk};
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;

/// What has to hold of the object and of the one that stands under its new key, for the rename to go on.
pub type Decide<'d, E> = &'d dyn Fn(&Object, Option<&Object>) -> std::result::Result<(), E>;

/// Gives the object `from` the key `to`, in place of what has it. Directories that are made belong to `owner`.
/// `Ok(Ok(None))`: there is no object `from`. The inner error is that of `decide`, which is called under the locks of
/// both keys.
pub fn rename<E>(
    root: &Root,
    bucket: &Bucket,
    from: &ObjectKey,
    to: &ObjectKey,
    owner: PosixOwner,
    decide: Decide<'_, E>,
) -> Result<std::result::Result<Option<Change>, E>> {
    let mut target = layout::path(to);
    for attempt in 1..=limits::PUBLICATION_ATTEMPTS_MAX {
        if Place::of(bucket, from)?.is_none() {
            return Ok(Ok(None));
        }
        let parent = walk::make_parent(root, bucket, &target, owner)?;
        let order = root.lock_both(&bucket.name, from, to);
        let Some(source) = Place::of(bucket, from)? else {
            drop((order, parent));
            walk::remove_empty_parents(bucket, &target);
            return Ok(Ok(None));
        };
        let Some((file, stat)) = walk::open_regular(source.parent.as_fd(), source.path.name())? else {
            continue;
        };
        let object = object::inspect(root, file, &stat)?;
        let current = object::open(root, bucket, to)?;
        if let Err(refused) = decide(&object, current.as_ref()) {
            drop((order, parent));
            walk::remove_empty_parents(bucket, &target);
            return Ok(Err(refused));
        }
        let standing = stat_of(&parent.fd, target.name())?;
        if standing.as_ref().is_some_and(walk::is_directory) && target.name() != layout::SELF_NAME {
            target = target.in_directory();
            continue;
        }
        // Renaming one link of a file to another one would do nothing and leave both.
        let is_same_file =
            standing.as_ref().is_some_and(|other| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino));
        let replaced = if is_same_file { None } else { spill::of(root, parent.fd.as_fd(), target.name()) };
        let renamed = if from == to {
            Ok(())
        } else if is_same_file {
            fs::unlinkat(&source.parent, source.path.name(), AtFlags::empty())
        } else {
            let names = [(&source.parent, source.path.name()), (&parent.fd, target.name())];
            rename_file(names, standing.is_none())
        };
        drop(order);
        failpoint::pass("rename:done");
        match renamed {
            Ok(()) => {
                if let Some(replaced) = replaced {
                    spill::remove(root, &replaced);
                }
                walk::remove_empty_parents(bucket, &source.path);
                // As after a deletion: the removal of a directory cannot be flushed by itself.
                let wide = parent.made || source.path.parent().is_some();
                return Ok(Ok(Some(Change {
                    files: smallvec![object.file.into(), parent.fd, source.parent.into()],
                    wide,
                })));
            }
            // A directory was removed under us, or one took a name: once more.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {}
            // It was moved out of the data directory, where the sandbox lets nothing be linked.
            Err(Errno::XDEV) if attempt < limits::PUBLICATION_ATTEMPTS_MAX => {}
            Err(errno) => return Err(errno).at(Subject::Object, "rename the object"),
        }
        if fs::fstat(&bucket.fd).is_ok_and(|stat| stat.st_nlink == 0) {
            return Err(Errno::NOENT).at(Subject::Bucket, "rename the object: its bucket was deleted");
        }
    }
    Err(Error {
        op: "rename the object: its directory keeps changing",
        subject: Subject::Object,
        errno: Errno::BUSY,
    })
}

/// Renames a file. `is_new`: the new name was free when it was decided, and if another program has taken it since, it is
/// decided again.
fn rename_file([(from, old), (to, new)]: [(&OwnedFd, &[u8]); 2], is_new: bool) -> rustix::io::Result<()> {
    if is_new {
        match fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
            // The file system cannot tell.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            done => return done,
        }
    }
    fs::renameat(from, old, to, new)
}

/// Where the file of an object lies.
struct Place {
    path: KeyPath,
    parent: OwnedFd,
}

impl Place {
    /// `None`: there is no such object.
    fn of(bucket: &Bucket, key: &ObjectKey) -> Result<Option<Place>> {
        let mut path = layout::path(key);
        loop {
            let parent = match path.parent() {
                None => bucket.fd.try_clone().at(Subject::Bucket, "open the bucket")?,
                Some(parent) => match walk::open_directory(bucket.fd.as_fd(), parent) {
                    Ok(parent) => parent,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                    Err(errno) => return Err(errno).at(Subject::Directory, "open the object's directory"),
                },
            };
            match stat_of(&parent, path.name())? {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                    return Ok(Some(Place { path, parent }));
                }
                Some(stat) if walk::is_directory(&stat) && path.name() != layout::SELF_NAME => {
                    path = path.in_directory();
                }
                // Nothing, or nothing that is an object.
                _ => return Ok(None),
            }
        }
    }
}

fn stat_of(directory: &OwnedFd, name: &[u8]) -> Result<Option<Stat>> {
    match fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).at(Subject::Object, "look at the object in place"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs as std_fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::super::{BucketName, Durability};
    use super::*;

    struct Fixture {
        directory: tempfile::TempDir,
        root: Root,
        bucket: Bucket,
    }

    fn fixture(files: &[&str]) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        std_fs::create_dir(directory.path().join("photos")).unwrap();
        let bucket = root.bucket(&BucketName::parse(b"photos").unwrap()).unwrap().unwrap();
        let fixture = Fixture { directory, root, bucket };
        for file in files {
            let path = fixture.path(file);
            std_fs::create_dir_all(path.parent().unwrap()).unwrap();
            std_fs::write(path, file).unwrap();
        }
        fixture
    }

    impl Fixture {
        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join("photos").join(name)
        }

        fn rename(&self, from: &str, to: &str, refuse: bool) -> std::result::Result<bool, String> {
            let key = |text: &str| ObjectKey::parse(text.as_bytes()).unwrap();
            let owner = self.root.process_owner();
            let decide = |_: &Object, current: Option<&Object>| match refuse {
                true => Err(if current.is_some() { "replaces" } else { "is new" }.to_owned()),
                false => Ok(()),
            };
            rename(&self.root, &self.bucket, &key(from), &key(to), owner, &decide)
                .unwrap()
                .map(|change| change.is_some())
        }

        /// Every file below the bucket with its content.
        fn files(&self) -> Vec<(String, String)> {
            let mut found = Vec::new();
            let mut directories = vec![self.path("")];
            while let Some(directory) = directories.pop() {
                for entry in std_fs::read_dir(&directory).unwrap() {
                    let path = entry.unwrap().path();
                    let name = path.strip_prefix(self.path("")).unwrap().to_str().unwrap().to_owned();
                    if path.is_dir() {
                        found.push((name + "/", String::new()));
                        directories.push(path);
                    } else {
                        found.push((name, std_fs::read_to_string(&path).unwrap()));
                    }
                }
            }
            found.sort();
            found
        }
    }

    fn check(files: &[&str], from: &str, to: &str, expected: &[(&str, &str)]) {
        let fixture = fixture(files);
        let before = std_fs::metadata(fixture.path(files[0])).unwrap();
        assert_eq!(fixture.rename(from, to, false), Ok(true), "{from} to {to}");
        let found = fixture.files();
        let found: Vec<_> = found.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
        assert_eq!(found, expected, "{from} to {to}");
        let (name, _) = expected.iter().find(|(_, content)| *content == files[0]).unwrap();
        let after = std_fs::metadata(fixture.path(name)).unwrap();
        assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()));
    }

    #[test]
    fn every_shape_of_two_keys() {
        check(&["a"], "a", "b", &[("b", "a")]);
        check(&["a", "b"], "a", "b", &[("b", "a")]);
        check(&["a"], "a", "a", &[("a", "a")]);
        check(&["a"], "a", "x/y/z", &[("x/", ""), ("x/y/", ""), ("x/y/z", "a")]);
        check(&["x/y/z"], "x/y/z", "a", &[("a", "x/y/z")]);
        check(&["x/y/z", "x/k"], "x/y/z", "x/a", &[("x/", ""), ("x/a", "x/y/z"), ("x/k", "x/k")]);
        check(&["a"], "a", "a/b", &[("a/", ""), ("a/b", "a")]);
        check(&["a"], "a", "a/", &[("a/", ""), ("a/.sgate~=", "a")]);
        check(&["a/b"], "a/b", "a", &[("a/", ""), ("a/.sgate~@", "a/b")]);
        check(&["a/b", "a/c"], "a/b", "a", &[("a/", ""), ("a/.sgate~@", "a/b"), ("a/c", "a/c")]);
        check(&["a/.sgate~@", "a/c"], "a", "a/b", &[("a/", ""), ("a/b", "a/.sgate~@"), ("a/c", "a/c")]);
        check(&["a", "d/c"], "a", "d", &[("d/", ""), ("d/.sgate~@", "a"), ("d/c", "d/c")]);
        check(&["a", "d"], "a", "d/c", &[("d/", ""), ("d/.sgate~@", "d"), ("d/c", "a")]);
    }

    #[test]
    fn what_is_not_there_makes_no_directories() {
        let fixture = fixture(&["d/k"]);
        for from in ["a", "d", "d/k/x", "x/y"] {
            assert_eq!(fixture.rename(from, "new/b", false), Ok(false), "{from}");
        }
        std::os::unix::fs::symlink("d/k", fixture.path("link")).unwrap();
        assert_eq!(fixture.rename("link", "new/b", false), Ok(false));
        std_fs::remove_file(fixture.path("link")).unwrap();
        assert_eq!(fixture.files(), [("d/".to_owned(), String::new()), ("d/k".into(), "d/k".into())]);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let fixture = fixture(&["a", "b"]);
        let before = fixture.files();
        assert_eq!(fixture.rename("a", "b", true), Err("replaces".into()));
        assert_eq!(fixture.rename("a", "new/b", true), Err("is new".into()));
        assert_eq!(fixture.files(), before);
    }

    #[test]
    fn a_second_link_of_the_file_is_no_reason_to_keep_the_first() {
        let fixture = fixture(&["a"]);
        std_fs::hard_link(fixture.path("a"), fixture.path("b")).unwrap();
        assert_eq!(fixture.rename("a", "b", false), Ok(true));
        assert_eq!(fixture.files(), [("b".to_owned(), "a".to_owned())]);
    }
}
