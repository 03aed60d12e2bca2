//! Objects against a model: whatever the keys, whatever order they come and go in, and with others at work meanwhile.
//!
//! The tests' directories are made in `TMPDIR`, so that they run on whatever file system that is.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::storage::commit::Durability;
use crate::storage::layout::BucketName;
use crate::storage::layout::tests::any_key;
use crate::storage::list::{ListRequest, list};
use crate::storage::record::Tags;
use crate::storage::writer::write_all;
use crate::storage::{Result as StorageResult, bucket, spill};

/// A data directory with one bucket, which belongs to whoever runs the test.
pub(in crate::storage) struct Store {
    pub(in crate::storage) directory: tempfile::TempDir,
    pub(in crate::storage) root: Root,
    pub(in crate::storage) bucket: Bucket,
}

impl Store {
    pub(in crate::storage) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let bucket = new_bucket(&root, "bucket");
        Self { directory, root, bucket }
    }

    pub(in crate::storage) fn put(&self, key: &str, content: &[u8]) -> StorageResult<()> {
        put(&self.root, &self.bucket, key, content, &[])
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        get(&self.root, &self.bucket, key)
    }

    pub(in crate::storage) fn delete(&self, key: &str) -> bool {
        delete_key(&self.root, &self.bucket, key)
    }

    pub(in crate::storage) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join("bucket").join(relative)
    }

    fn names(&self, relative: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(relative)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

pub(super) fn new_bucket(root: &Root, name: &str) -> Bucket {
    let name = BucketName::parse(name.as_bytes()).unwrap();
    let made = bucket::create(root, &name, "maker", root.process_owner()).unwrap();
    assert!(matches!(made, bucket::Created::Made(_)));
    root.bucket(&name).unwrap().unwrap()
}

pub(super) fn parsed(key: &str) -> ObjectKey {
    ObjectKey::parse(key.as_bytes()).unwrap()
}

/// Stores an object as a PUT does. Its ETag is made of its content.
fn put(root: &Root, bucket: &Bucket, key: &str, content: &[u8], tags: &[(&str, &str)]) -> StorageResult<()> {
    let key = parsed(key);
    let staged = Staged::create(root, bucket, &layout::path(&key))?;
    write_all(staged.as_fd(), content, 0).unwrap();
    let mut record = Record::new(0, Timestamp::from_seconds(0), etag_of(content));
    record.tags = Tags::from_pairs(tags.iter().copied()).unwrap();
    let always = Condition::<()>::Always;
    publish(root, bucket, &key, staged, &mut record, root.process_owner(), &always)?.unwrap();
    Ok(())
}

pub(super) fn etag_of(content: &[u8]) -> ETag {
    ETag::Md5(xxhash_rust::xxh3::xxh3_128(content).to_be_bytes())
}

fn get(root: &Root, bucket: &Bucket, key: &str) -> Option<Vec<u8>> {
    let object = open(root, bucket, &parsed(key)).unwrap()?;
    let mut content = vec![0; object.size as usize];
    assert_eq!(rustix::io::pread(&object.file, &mut content[..], 0).unwrap(), content.len());
    assert_eq!(object.etag, etag_of(&content), "{key}: the record is its own");
    Some(content)
}

fn delete_key(root: &Root, bucket: &Bucket, key: &str) -> bool {
    delete::<()>(root, bucket, &parsed(key), &Condition::Always, &mut Emptied::new(bucket))
        .unwrap()
        .unwrap()
        .is_some()
}

/// Threads that run until the test body ends.
fn beside<T>(disturb: impl Fn(&AtomicBool) + Sync, threads: usize, body: impl FnOnce() -> T) -> T {
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| disturb(&ended));
        }
        let _ends = Ends(&ended);
        body()
    })
}

#[test]
fn a_put_never_fails_because_its_directory_is_removed() {
    let store = Store::new();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..1_000 {
                    // The same directory for all, and below it one of each one's own.
                    let key = ["d/e/f", "d/e//f", "d/../e"][round % 3].to_owned() + &format!("/{thread}");
                    store.put(&key, key.as_bytes()).unwrap();
                    assert_eq!(store.get(&key).as_deref(), Some(key.as_bytes()));
                    assert!(store.delete(&key), "{key}");
                }
            });
        }
    });
    assert_eq!(store.names(""), [] as [&str; 0]);
}

#[test]
fn a_put_never_fails_because_a_program_removes_empty_directories() {
    let store = Store::new();
    let remove = |ended: &AtomicBool| {
        // As fast as the directories are made, one inside the other.
        while !ended.load(Ordering::Relaxed) {
            for directory in ["d/e/f", "d/e", "d"] {
                let _ = std::fs::remove_dir(store.path(directory));
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    };
    let put = |key: &str| {
        for round in 0..1_000_u32 {
            store.put(key, &round.to_le_bytes()).unwrap();
            assert_eq!(store.get(key).as_deref(), Some(&round.to_le_bytes()[..]));
            assert!(store.delete(key));
        }
    };
    beside(remove, 8, || {
        std::thread::scope(|scope| {
            for key in ["d/e/f/k", "d/e/f/l", "d/e/k", "d/k"] {
                scope.spawn(move || put(key));
            }
        });
    });
    assert_eq!(store.names(""), [] as [&str; 0]);
}

#[test]
fn an_object_and_the_keys_below_it_come_and_go_together() {
    let store = Store::new();
    let writer = |ended: &AtomicBool| {
        while !ended.load(Ordering::Relaxed) {
            store.put("a/b/c", b"below").unwrap();
            assert_eq!(store.get("a/b/c").as_deref(), Some(&b"below"[..]));
            store.delete("a/b/c");
        }
    };
    beside(writer, 1, || {
        for round in 0..2_000_u32 {
            let key = ["a", "a/b"][round as usize % 2];
            store.put(key, &round.to_le_bytes()).unwrap();
            // Its file becomes a directory and the directory is removed again, and nobody sees that.
            for _ in 0..3 {
                assert_eq!(store.get(key).as_deref(), Some(&round.to_le_bytes()[..]));
            }
            assert!(store.delete(key), "{key}");
            assert_eq!(store.get(key), None);
        }
    });
    store.delete("a/b/c");
    assert_eq!(store.names(""), [] as [&str; 0]);
    let staging = store.directory.path().join(".sluicegate/staging");
    let own = std::fs::read_dir(staging).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_dir(own).unwrap().count(), 0, "nothing is left aside");
}

#[test]
fn what_a_program_puts_in_the_way_is_never_lost() {
    let store = Store::new();
    // A program that replaces a file by a directory with content, again and again, while the server wants a directory.
    let program = |ended: &AtomicBool| {
        while !ended.load(Ordering::Relaxed) {
            let _ = std::fs::write(store.path("a"), "file");
            if std::fs::remove_file(store.path("a")).is_ok() && std::fs::create_dir(store.path("a")).is_ok() {
                // The server may remove it while it is empty, and no longer.
                if std::fs::write(store.path("a/precious"), "kept").is_err() {
                    continue;
                }
                let until = Instant::now() + Duration::from_secs(5);
                // For an instant it may stand aside, again and again.
                while std::fs::read(store.path("a/precious")).is_err() {
                    assert!(Instant::now() < until, "the program's file is lost");
                }
                while std::fs::remove_file(store.path("a/precious")).is_err() {
                    assert!(Instant::now() < until, "the program's file is lost after it was found");
                }
            }
            let _ = std::fs::remove_file(store.path("a/.sgate~@"));
            let _ = std::fs::remove_dir(store.path("a"));
        }
    };
    beside(program, 1, || {
        for _ in 0..3_000 {
            store.put("a/b", b"below").unwrap();
            assert!(store.delete("a/b"));
        }
    });
}

/// Ten tags as long as they may be: more than a file of ext4 has room for.
fn full_tags() -> Vec<(String, String)> {
    (0..10).map(|number| (format!("{number}{}", "é".repeat(127)), "ü".repeat(256))).collect()
}

impl Store {
    fn put_large(&self, key: &str) {
        let tags = full_tags();
        let pairs: Vec<_> = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        put(&self.root, &self.bucket, key, key.as_bytes(), &pairs).unwrap();
    }

    fn has_all_tags(&self, key: &str) -> bool {
        let Some(record) = open(&self.root, &self.bucket, &parsed(key)).unwrap().unwrap().record else {
            return false;
        };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        record.tags.iter().map(owned).eq(full_tags())
    }

    fn spill_count(&self) -> usize {
        std::fs::read_dir(self.directory.path().join(".sluicegate/spill")).unwrap().count()
    }
}

#[test]
fn what_has_no_room_in_a_record_goes_with_its_object() {
    let store = Store::new();
    store.put_large("k");
    // File systems with more room put nothing aside, and nothing of this can fail.
    let one = store.spill_count();
    let amend = |record: fn(&Object) -> std::result::Result<Record, ()>| {
        let record_of = |found: std::result::Result<&Object, &Absence>| record(found.unwrap());
        amend(&store.root, &store.bucket, &parsed("k"), None, &record_of).unwrap().map(|_| ())
    };
    assert!(one <= 1 && store.has_all_tags("k"));
    store.put_large("k");
    assert_eq!(store.spill_count(), one, "replaced");
    assert_eq!(amend(|object| Ok(object.record.clone().unwrap())), Ok(()));
    assert!(store.spill_count() == one && store.has_all_tags("k"), "amended");
    assert_eq!(amend(|_| Err(())), Err(()));
    assert!(store.spill_count() == one && store.has_all_tags("k"), "not amended");
    store.put("k/below", b"x").unwrap();
    assert!(store.has_all_tags("k"), "in a directory");
    assert!(store.delete("k/below") && store.has_all_tags("k"));
    assert_eq!(amend(|object| Ok(Record::new(0, object.modified, object.etag.clone()))), Ok(()));
    assert_eq!(store.spill_count(), 0, "amended by what has room");
    store.put_large("k");
    assert!(store.delete("k"));
    assert_eq!(store.spill_count(), 0, "deleted");
    store.put("taken", b"x").unwrap();
    let refuse = |object: Option<&Object>| if object.is_some() { Err(()) } else { Ok(()) };
    let tags = full_tags();
    for key in ["taken", "taken"] {
        let staged = Staged::create(&store.root, &store.bucket, &layout::path(&parsed(key))).unwrap();
        let mut record = Record::new(0, Timestamp::from_seconds(0), etag_of(b""));
        record.tags =
            Tags::from_pairs(tags.iter().map(|(name, value)| (name.as_str(), value.as_str()))).unwrap();
        let condition = Condition::Decide(&refuse);
        let owner = store.root.process_owner();
        let published =
            publish(&store.root, &store.bucket, &parsed(key), staged, &mut record, owner, &condition)
                .unwrap();
        assert!(published.is_err());
        assert_eq!(store.spill_count(), 0, "refused");
    }
}

#[test]
fn what_other_programs_leave_of_large_records_is_cleared() {
    let store = Store::new();
    for key in ["stays", "moved", "below", "removed", "replaced", "rewritten"] {
        store.put_large(key);
    }
    if store.spill_count() == 0 {
        eprintln!("not tested: this file system has room for every record");
        return;
    }
    assert_eq!(store.spill_count(), 6);
    store.put("below/x", b"x").unwrap();
    std::fs::create_dir(store.path("to")).unwrap();
    std::fs::rename(store.path("moved"), store.path("to/here")).unwrap();
    std::fs::remove_file(store.path("removed")).unwrap();
    std::fs::write(store.path("new"), "new").unwrap();
    std::fs::rename(store.path("new"), store.path("replaced")).unwrap();
    // A copy with its attributes names the record of another file.
    let mut copy = std::process::Command::new("cp");
    assert!(
        copy.arg("--preserve=all")
            .args([store.path("stays"), store.path("copy")])
            .status()
            .unwrap()
            .success()
    );
    std::fs::write(store.path("rewritten"), "rewritten").unwrap();
    assert_eq!(spill::clear(&store.root, 3600), 0, "all are young");
    let cleared = spill::clear(&store.root, 0);
    if cleared == 0 {
        eprintln!("not tested: this process may not open handles");
        return;
    }
    assert_eq!((cleared, store.spill_count()), (2, 4));
    assert!(["stays", "below", "to/here"].into_iter().all(|key| store.has_all_tags(key)));
    store.put("rewritten", b"x").unwrap();
    assert_eq!((spill::clear(&store.root, 0), store.spill_count()), (0, 3));
}

#[test]
fn an_edit_right_after_a_put_never_shows_the_record() {
    let mut store = Store::new();
    for fine_times in [store.root.capabilities.fine_times, false] {
        store.root.capabilities.fine_times = fine_times;
        for number in 0..200_u32 {
            store.put("k", b"before").unwrap();
            assert_eq!(store.get("k").as_deref(), Some(&b"before"[..]), "the record fits");
            // At once, in place, and as long as before.
            let file = std::fs::OpenOptions::new().write(true).open(store.path("k")).unwrap();
            write_all(file.as_fd(), b"after!", 0).unwrap();
            let object = open(&store.root, &store.bucket, &parsed("k")).unwrap().unwrap();
            assert!(object.record.is_none() && object.etag != etag_of(b"before"), "{number}");
        }
    }
}

#[test]
fn a_file_settles_when_nobody_has_written_to_it_for_a_while() {
    let store = Store::new();
    let moment = |seconds, millis: u32| Timestamp { seconds, nanos: millis * 1_000_000 };
    store.put("k", b"x").unwrap();
    let mut object = open(&store.root, &store.bucket, &parsed("k")).unwrap().unwrap();
    object.modified = moment(10, 995);
    assert_eq!(object.settles_in(moment(10, 996)), None, "its record speaks for it");
    object.record = None;
    let check =
        |now, expected: Option<u64>| assert_eq!(object.settles_in(now), expected.map(Duration::from_millis));
    check(moment(10, 995), Some(20));
    check(moment(11, 14), Some(1));
    check(moment(11, 15), None);
    check(moment(100, 0), None);
    check(moment(10, 994), None);
}

/// Keys that stand in each other's way: for some keys also what is above, below and beside them.
fn any_pool() -> impl Strategy<Value = Vec<String>> {
    let relatives = |key: String| {
        let above = key.rsplit_once('/').map(|(above, _)| above.to_owned());
        let beside = [
            format!("{key}/"),
            format!("{key}/x"),
            format!("{key}/x/y"),
            format!("{key}-"),
            format!("{key}//"),
        ];
        beside.into_iter().chain(above).chain([key]).collect::<Vec<_>>()
    };
    prop::collection::vec(any_key(), 1..4).prop_map(move |keys| {
        let pool: BTreeSet<String> = keys.into_iter().flat_map(relatives).collect();
        pool.into_iter().filter(|key| ObjectKey::parse(key.as_bytes()).is_ok()).collect()
    })
}

fn listed(store: &Root, bucket: &Bucket, prefix: &str, page: usize) -> Vec<String> {
    let (mut keys, mut start_after) = (Vec::new(), Vec::new());
    loop {
        let request = ListRequest {
            prefix: prefix.as_bytes(),
            delimiter: b"",
            start_after: &start_after,
            max_keys: page,
        };
        let found = list(bucket.fd.as_fd(), &store.directories, &request).unwrap();
        keys.extend(found.entries.into_iter().map(|entry| entry.key.to_string()));
        match found.next {
            Some(next) => start_after = next,
            None => return keys,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_bucket_is_a_map(
        pool in any_pool(),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..5, 1usize..5), 1..60),
    ) {
        let store = Store::new();
        let mut model = BTreeMap::new();
        for (number, (index, action, page)) in steps.into_iter().enumerate() {
            let key = index.get(&pool);
            if action < 3 {
                let content = format!("{number} {key}").into_bytes();
                store.put(key, &content).unwrap();
                model.insert(key.clone(), content);
            } else {
                prop_assert_eq!(store.delete(key), model.remove(key).is_some(), "{}", key);
            }
            for key in &pool {
                prop_assert_eq!(store.get(key), model.get(key).cloned(), "{:?} of {:?}", key, pool);
            }
            let prefix = &key[..key.char_indices().nth(page).map_or(0, |(at, _)| at)];
            let expected: Vec<_> = model.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
            prop_assert_eq!(listed(&store.root, &store.bucket, prefix, page), expected);
        }
        for key in model.keys() {
            prop_assert!(store.delete(key));
        }
        prop_assert_eq!(store.names(""), [] as [&str; 0]);
    }
}
