//! As root, on directories of every kind: what the kernel says of a user beforehand is what it says when it is done.

use std::fs as std_fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use super::super::layout::BucketName;
use super::super::list::{ListRequest, list};
use super::super::object::{self, Object};
use super::super::{Durability, Root};
use super::*;
use crate::runtime::credentials::Credentials;

const USER: u32 = 4321;
const OTHER: u32 = 4322;

struct Store {
    directory: tempfile::TempDir,
    root: Root,
    bucket: Bucket,
}

/// A store with a bucket for everybody, unless this is not root.
fn store() -> Option<Store> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    credentials::prepare().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path(), Durability::None).unwrap();
    root.admit_users().unwrap();
    std_fs::create_dir(directory.path().join("bucket")).unwrap();
    let bucket = root.bucket(&BucketName::parse(b"bucket").unwrap()).unwrap().unwrap();
    let store = Store { directory, root, bucket };
    store.set("", 0o777, OTHER);
    Some(store)
}

impl Store {
    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("bucket").join(path)
    }

    fn set(&self, path: &str, mode: u32, uid: u32) {
        chown(self.path(path), Some(uid), Some(uid)).unwrap();
        std_fs::set_permissions(self.path(path), std_fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory with a file `k` in it that belongs to somebody else.
    fn make(&self, name: &str, mode: u32, uid: u32, file_mode: u32) {
        std_fs::create_dir(self.path(name)).unwrap();
        std_fs::write(self.path(&format!("{name}/k")), b"content").unwrap();
        self.set(&format!("{name}/k"), file_mode, OTHER);
        self.set(name, mode, uid);
    }

    fn object(&self, key: &ObjectKey) -> Object {
        object::open(&self.root, &self.bucket, key).unwrap().unwrap()
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text.as_bytes()).unwrap()
}

fn user() -> Credentials {
    Credentials::new(USER, USER, &[])
}

fn asked<T>(ask: impl FnOnce() -> Result<T>) -> Option<Errno> {
    credentials::as_user(Some(&user()), ask).unwrap().err().map(|error| error.errno)
}

#[test]
fn what_the_kernel_says_beforehand() {
    let Some(store) = store() else { return };
    let refused = Some(Errno::ACCESS);
    // Mode and owner of the directory, mode of the file: to read, remove, change, reach, list.
    let rows: [(u32, u32, u32, [Option<Errno>; 5]); 8] = [
        (0o755, OTHER, 0o644, [None, refused, refused, None, None]),
        (0o755, USER, 0o600, [refused, None, None, None, None]),
        (0o777, OTHER, 0o600, [refused, None, None, None, None]),
        (0o1777, OTHER, 0o604, [None, Some(Errno::PERM), None, None, None]),
        (0o1755, USER, 0o604, [None, None, None, None, None]),
        (0o711, OTHER, 0o604, [None, refused, refused, None, refused]),
        (0o733, OTHER, 0o600, [refused, None, None, None, refused]),
        (0o744, OTHER, 0o644, [refused, refused, refused, refused, refused]),
    ];
    for (number, (mode, uid, file_mode, expected)) in rows.into_iter().enumerate() {
        let name = format!("d{number}");
        store.make(&name, mode, uid, file_mode);
        let key = key(&format!("{name}/k"));
        let (path, object) = (layout::path(&key), store.object(&key));
        let directory = walk::open_directory(store.bucket.fd.as_fd(), name.as_bytes()).unwrap();
        let found = [
            asked(|| object::open(&store.root, &store.bucket, &key)),
            asked(|| to_remove_of(&store.bucket, &path, directory.as_fd(), &object)),
            asked(|| to_change(&store.bucket, &path)),
            asked(|| to_reach(&store.bucket, &path)),
            asked(|| to_list_near(&store.bucket, path.as_bytes())),
        ];
        assert_eq!(found, expected, "{mode:o} {file_mode:o}");
        if expected[3].is_none() {
            assert_eq!(asked(|| to_read(object.file.as_fd())), expected[0], "{mode:o} {file_mode:o}");
        }
        // And what is said when it is done.
        let prefix = format!("{name}/");
        let request =
            ListRequest { prefix: prefix.as_bytes(), delimiter: b"", start_after: b"", max_keys: 9 };
        let listed = || list(store.bucket.fd.as_fd(), &store.root.directories, &request);
        assert_eq!(asked(listed), expected[4], "{mode:o}");
        let always = object::Condition::<()>::Always;
        let delete = || {
            let mut emptied = walk::Emptied::new(&store.bucket);
            object::delete(&store.root, &store.bucket, &key, &always, &mut emptied)
        };
        let deleted = asked(delete);
        assert_eq!(deleted, expected[1], "{mode:o}");
        assert_eq!(store.path(&name).join("k").exists(), expected[1].is_some());
    }
}

#[test]
fn the_nearest_directory_decides_of_what_is_gone() {
    let Some(store) = store() else { return };
    store.make("closed", 0o755, OTHER, 0o644);
    let (gone, free) = (layout::path(&key("closed/gone/deep/k")), layout::path(&key("free/k")));
    assert_eq!(asked(|| to_change(&store.bucket, &gone)), Some(Errno::ACCESS));
    assert_eq!(asked(|| to_change(&store.bucket, &free)), None);
    assert_eq!(asked(|| to_reach(&store.bucket, &gone)), None);
    assert_eq!(asked(|| to_list_near(&store.bucket, b"closed/gone/")), None);
    store.set("closed", 0o700, OTHER);
    assert_eq!(asked(|| to_reach(&store.bucket, &gone)), Some(Errno::ACCESS));
    assert_eq!(asked(|| to_list_near(&store.bucket, b"closed/gone/")), Some(Errno::ACCESS));
    // Without a user nothing is asked.
    assert!(to_change(&store.bucket, &gone).is_ok() && to_list_near(&store.bucket, b"closed/").is_ok());
}

#[test]
fn a_directory_that_was_put_in_the_place_of_another_is_not_the_one_that_was_asked_for() {
    let Some(store) = store() else { return };
    store.make("d", 0o777, OTHER, 0o644);
    let key = key("d/k");
    let object = store.object(&key);
    let directory = walk::open_directory(store.bucket.fd.as_fd(), b"d").unwrap();
    std_fs::rename(store.path("d"), store.path("away")).unwrap();
    store.make("d", 0o777, USER, 0o644);
    let ask = || to_remove_of(&store.bucket, &layout::path(&key), directory.as_fd(), &object);
    assert_eq!(asked(ask), Some(Errno::BUSY));
}

#[test]
fn a_user_s_object_is_the_user_s_from_the_beginning() {
    let Some(store) = store() else { return };
    store.make("group", 0o2777, OTHER, 0o644);
    let put = |text: &str| {
        use super::super::record::{ETag, Record};
        use super::super::writer::Staged;
        let key = key(text);
        let path = layout::path(&key);
        let staged = Staged::create(&store.root, &store.bucket, &path)?;
        let time = crate::codec::dates::Timestamp::from_seconds(0);
        let mut record = Record::new(0, time, ETag::Md5([0; 16]));
        let owner = crate::iam::principal::PosixOwner { uid: USER, gid: USER };
        let always = object::Condition::<()>::Always;
        object::publish(&store.root, &store.bucket, &key, staged, &mut record, owner, &always)
    };
    for (text, gid) in [("k", USER), ("new/deep/k", USER), ("group/k", OTHER), ("group/new/k", OTHER)] {
        assert_eq!(asked(|| put(text)), None, "{text}");
        let made = std_fs::metadata(store.path(text)).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (USER, gid, 0o644), "{text}");
        assert!(store.object(&key(text)).record.is_some());
    }
    let made = std_fs::metadata(store.path("group/new")).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (USER, OTHER, 0o2755));
    store.set("", 0o755, OTHER);
    assert_eq!(asked(|| put("refused")), Some(Errno::ACCESS));
    assert!(!store.path("refused").exists());
}
