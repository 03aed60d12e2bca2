use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;

use super::*;
use crate::codec::dates::Timestamp;
use crate::storage::commit::Durability;
use crate::storage::record::{ETag, Record};
use crate::storage::writer::{Staged, write_all};
use crate::storage::{Condition, Emptied, ObjectKey, bucket, layout, object, versions};

/// A data directory with one bucket, and directories of it that are kept open.
struct Store {
    directory: tempfile::TempDir,
    root: Root,
    name: BucketName,
    directories: OpenDirectories,
}

impl Store {
    fn new(directories_max: usize) -> Store {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let name = BucketName::parse(b"bucket").unwrap();
        bucket::create(&root, &name, "maker", root.process_owner()).unwrap();
        Store { directory, root, name, directories: OpenDirectories::new(directories_max) }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    fn bucket(&self) -> Option<Bucket> {
        self.directories.bucket(&self.root, &self.name).unwrap()
    }

    fn parent(&self, key: &str) -> Option<Seen> {
        self.directories.parent(&self.root, &self.bucket()?, &layout::path(&parsed(key)))
    }

    /// An object whose body has come, before it gets its name.
    fn staged(&self, key: &str) -> (Bucket, Staged<'_>) {
        let bucket = self.bucket().unwrap();
        let path = layout::path(&parsed(key));
        let directory = self.directories.parent(&self.root, &bucket, &path);
        let mut staged = Staged::create(&self.root, &bucket, &path).unwrap();
        staged.directory = directory;
        write_all(staged.as_fd(), key.as_bytes(), 0).unwrap();
        (bucket, staged)
    }

    fn publish(&self, key: &str, (bucket, staged): (Bucket, Staged<'_>)) {
        let mut record = Record::new(0, Timestamp::from_seconds(0), ETag::Md5([7; 16]));
        let (owner, always) = (self.root.process_owner(), Condition::<()>::Always);
        let done = object::publish(&self.root, &bucket, &parsed(key), staged, &mut record, owner, &always);
        done.unwrap().unwrap();
    }

    fn put(&self, key: &str) {
        self.publish(key, self.staged(key));
    }

    /// Puts another directory in the place of this one, which gets the name `away`.
    fn replace(&self, path: &str) {
        fs::rename(self.path(path), self.path("away")).unwrap();
        fs::create_dir(self.path(path)).unwrap();
    }
}

fn parsed(key: &str) -> ObjectKey {
    ObjectKey::parse(key.as_bytes()).unwrap()
}

/// Until what was seen has to be asked for again.
fn pass_a_tick() {
    let now = coarse();
    while coarse() == now {
        thread::sleep(Duration::from_millis(1));
    }
}

fn is_same(one: Option<Seen>, other: Option<Seen>) -> bool {
    Rc::ptr_eq(&one.unwrap().directory, &other.unwrap().directory)
}

#[test]
fn directories_are_opened_once() {
    let store = Store::new(8);
    assert!(store.parent("a/b/c").is_none(), "nothing is made for an object that has not come");
    store.put("a/b/c");
    assert!(is_same(store.parent("a/b/c"), store.parent("a/b/d")));
    assert!(!is_same(store.parent("a/b/c"), store.parent("a/c")));
    assert!(is_same(store.parent("top"), store.parent("level")));
    assert!(Arc::ptr_eq(&store.bucket().unwrap().fd, &store.bucket().unwrap().fd));
    let none = Store::new(0);
    none.put("a/b");
    assert!(!is_same(none.parent("a/b"), none.parent("a/b")));
}

/// Whatever happens to `bucket/a/b` after an object was put there.
#[test]
fn what_was_replaced_gets_no_objects() {
    type Change = fn(&Store);
    let changes: [(&str, Change); 6] = [
        ("the directory", |store| store.replace("bucket/a/b")),
        ("the one above", |store| store.replace("bucket/a")),
        ("the bucket", |store| store.replace("bucket")),
        ("it is removed", |store| fs::remove_dir_all(store.path("bucket/a/b")).unwrap()),
        ("all is removed", |store| fs::remove_dir_all(store.path("bucket/a")).unwrap()),
        ("two change places", |store| {
            fs::create_dir(store.path("bucket/a/c")).unwrap();
            fs::rename(store.path("bucket/a/b"), store.path("away")).unwrap();
            fs::rename(store.path("bucket/a/c"), store.path("bucket/a/b")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let store = Store::new(8);
        store.put("a/b/first");
        let staged = store.staged("a/b/slow");
        change(&store);
        store.put("a/b/second");
        let stored = fs::read(store.path("bucket/a/b/second"));
        assert_eq!(stored.ok().as_deref(), Some(&b"a/b/second"[..]), "{name}");
        if name != "the bucket" {
            // The body of this one had come before.
            pass_a_tick();
            store.publish("a/b/slow", staged);
            let stored = fs::read(store.path("bucket/a/b/slow"));
            assert_eq!(stored.ok().as_deref(), Some(&b"a/b/slow"[..]), "{name}");
        }
        let away = store.path("away");
        for late in ["second", "slow", "b/second", "b/slow", "a/b/second"] {
            assert!(!away.join(late).exists(), "{name}: {late}");
        }
    }
}

#[test]
fn a_link_is_not_entered() {
    for moved in ["bucket/a/b", "bucket"] {
        let store = Store::new(8);
        store.put("a/b/first");
        fs::rename(store.path(moved), store.path("moved")).unwrap();
        symlink(store.path("moved"), store.path(moved)).unwrap();
        assert!(store.parent("a/b/second").is_none(), "{moved}");
    }
}

#[test]
fn an_unlinked_bucket_is_none() {
    let store = Store::new(8);
    store.put("a");
    store.root.unlink(&store.name).unwrap();
    assert!(store.bucket().is_none());
}

#[test]
fn trust_ends_and_the_sweep_closes() {
    let store = Store::new(8);
    store.put("a/b");
    let first = store.parent("a/b");
    for slot in store.directories.slots.borrow_mut().iter_mut() {
        slot.opened = slot.opened.checked_sub(TRUST).unwrap();
    }
    assert!(!is_same(first, store.parent("a/b")));
    store.directories.sweep();
    assert_eq!(store.directories.slots.borrow().len(), 2, "the bucket and the directory, opened again");
    for slot in store.directories.slots.borrow_mut().iter_mut() {
        slot.opened = slot.opened.checked_sub(TRUST).unwrap();
    }
    store.directories.sweep();
    assert!(store.directories.slots.borrow().is_empty());
}

#[test]
fn there_are_never_more_than_wanted() {
    let store = Store::new(4);
    for _ in 0..2 {
        for index in 0..10 {
            store.put(&format!("{index}/object"));
            store.put(&format!("{index}/other"));
            assert!(store.directories.slots.borrow().len() <= 4);
        }
    }
    for index in 0..10 {
        assert_eq!(fs::read_dir(store.path(&format!("bucket/{index}"))).unwrap().count(), 2);
    }
}

#[test]
fn names_that_are_taken_are_found_where_new_ones_are_expected() {
    let store = Store::new(8);
    for key in ["d/x/below", "d/a", "d/b", "d/a", "d/c", "d/x", "d/e", "d/b"] {
        store.put(key);
        let path = if key == "d/x" { "bucket/d/x/.sgate~@".to_owned() } else { format!("bucket/{key}") };
        assert_eq!(fs::read(store.path(&path)).unwrap(), key.as_bytes());
    }
    assert_eq!(fs::read_dir(store.path("bucket/d")).unwrap().count(), 5);
}

#[test]
fn deletions_one_after_the_other_follow_what_changes() {
    let store = Store::new(8);
    for key in ["d/1", "d/2", "d/3", "e/1", "top"] {
        store.put(key);
    }
    let bucket = store.bucket().unwrap();
    let mut emptied = Emptied::new(&bucket);
    let mut delete = |key: &str| {
        let (key, owner) = (parsed(key), store.root.process_owner());
        let none = None::<versions::Decide<'_, ()>>;
        let done = versions::delete_one_of_many(&store.root, &bucket, &key, None, owner, none, &mut emptied);
        matches!(done.unwrap().unwrap(), versions::Deleted::Removed { .. })
    };
    assert!(delete("d/1") && !delete("d/1") && delete("e/1") && delete("top"));
    assert!(delete("d/2"));
    store.replace("bucket/d");
    fs::write(store.path("bucket/d/4"), b"").unwrap();
    pass_a_tick();
    assert!(!delete("d/3") && store.path("away/3").exists());
    assert!(delete("d/4"));
    drop(emptied);
    assert!(!store.path("bucket/d").exists() && !store.path("bucket/e").exists());
}
