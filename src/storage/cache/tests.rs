use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::rc::Weak;
use std::thread;

use rustix::fs::{Timespec, Timestamps, XattrFlags};

use super::*;
use crate::runtime::now;
use crate::storage::commit::Durability;
use crate::storage::record::{ETag, Record};
use crate::storage::writer::{Staged, write_all};
use crate::storage::{Condition, bucket, object};
use std::os::fd::AsFd;

/// A data directory with one bucket and a cache.
struct Store {
    directory: tempfile::TempDir,
    root: Root,
    name: BucketName,
    cache: ObjectCache,
}

impl Store {
    fn new(objects_max: usize) -> Store {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let name = BucketName::parse(b"bucket").unwrap();
        bucket::create(&root, &name, "maker", root.process_owner()).unwrap();
        Store { directory, root, name, cache: ObjectCache::new(objects_max, WATCHES_MAX) }
    }

    fn put(&self, key: &str, content: &[u8]) {
        let (bucket, key) = (self.root.bucket(&self.name).unwrap().unwrap(), parsed(key));
        let staged = Staged::create(&self.root, &bucket, &layout::path(&key)).unwrap();
        write_all(staged.as_fd(), content, 0).unwrap();
        let mut record = Record::new(0, Timestamp::from_seconds(0), ETag::Md5([7; 16]));
        let always = Condition::<()>::Always;
        object::publish(&self.root, &bucket, &key, staged, &mut record, self.root.process_owner(), &always)
            .unwrap()
            .unwrap();
    }

    /// Opens an object as a request does some seconds from now, and keeps it.
    fn open(&self, key: &str) {
        let (bucket, parsed) = (self.root.bucket(&self.name).unwrap().unwrap(), parsed(key));
        let versioning = self.root.versioning(&self.name);
        let object = object::open(&self.root, &bucket, &parsed).unwrap().unwrap();
        self.cache.keep(&self.root, (&self.name, &parsed), versioning, object, later());
    }

    fn find(&self, key: &str) -> Option<Rc<CachedObject>> {
        let place = self.cache.expect(&self.name, &parsed(key))?;
        self.cache.foresee(place);
        self.cache.find(&self.root, place, &self.name, &parsed(key))
    }

    /// Whether a request for the object is answered without opening it.
    fn serves(&self, key: &str) -> bool {
        self.serves_in(None, key)
    }

    /// As [`Store::serves`], in one turn of the core.
    fn serves_in(&self, turn: Option<Turn>, key: &str) -> bool {
        self.shows(Shown::Kept, turn, key)
    }

    fn shows(&self, shown: Shown, turn: Option<Turn>, key: &str) -> bool {
        self.find(key).is_some_and(|cached| self.cache.stands(&self.root, &cached, shown, turn, later()))
    }

    /// Asks for objects of one directory so often that their files are watched, and returns the next turn.
    fn watch(&self, keys: &[&str]) -> u64 {
        let turns = 3 + u64::from(WATCHED_AFTER);
        for turn in 1..=turns {
            // The first of a turn is asked by its path.
            for key in keys.iter().chain(keys) {
                let cached = self.find(key).unwrap();
                cached.stood.set(None);
                assert!(
                    self.cache.stands(&self.root, &cached, Shown::Kept, Some(Turn(turn)), later()),
                    "{key}"
                );
            }
        }
        for key in keys {
            assert_eq!(self.is_watched(key), self.root.capabilities.reports_changes, "{key}");
        }
        turns + 1
    }

    fn is_watched(&self, key: &str) -> bool {
        self.find(key).unwrap().watch.get().is_some_and(|watch| !watch.is_lost())
    }

    fn opened(&self, key: &str) -> Duration {
        let hash = self.cache.hash(&self.name, &parsed(key));
        self.cache.slots.borrow_mut().find(hash, |_| true).unwrap().opened
    }

    /// Waits until the object is trusted no more.
    fn outlive_trust(&self, key: &str) {
        wait_until(self.opened(key) + TRUST);
    }

    fn directory_hash(&self, path: &str) -> u64 {
        xxh3_64_with_seed(path.as_bytes(), self.cache.seed)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }
}

fn wait_until(time: Duration) {
    while coarse() < time {
        thread::sleep(time.saturating_sub(coarse()));
    }
}

fn parsed(key: &str) -> ObjectKey {
    ObjectKey::parse(key.as_bytes()).unwrap()
}

/// As many as any test wants.
const WATCHES_MAX: usize = 1024;

fn later() -> Timestamp {
    Timestamp { seconds: now().seconds + 5, ..now() }
}

/// Everything that may happen to an object that is kept, done to `bucket/a/b`.
#[test]
fn what_changed_in_any_way_is_opened_again() {
    let check = |what: &str, expected: bool, change: &dyn Fn(&Store)| {
        let store = Store::new(64);
        store.put("a/b", b"content");
        store.open("a/b");
        assert!(store.serves("a/b"), "{what}: served before");
        change(&store);
        assert_eq!(store.serves("a/b"), expected, "{what}");
        // The same where its directory is asked in its place.
        let store = Store::new(64);
        ["a/b", "a/z"].iter().for_each(|key| store.put(key, b"content"));
        ["a/b", "a/z"].iter().for_each(|key| store.open(key));
        let asked = |turn| [store.serves_in(turn, "a/z"), store.serves_in(turn, "a/b")];
        for turn in 1..=2 {
            assert_eq!(asked(Some(Turn(turn))), [true; 2], "{what}: served before");
        }
        let is_asked =
            store.find("a/b").unwrap().directory.get().is_some_and(|it| it.stands(&store.root, Turn(2)));
        assert_eq!(is_asked, store.root.capabilities.fine_times);
        change(&store);
        assert_eq!(asked(Some(Turn(3)))[1], expected, "{what}, with its directory");
        // The same where the kernel reports changes.
        let store = Store::new(64);
        ["a/b", "a/z"].iter().for_each(|key| store.put(key, b"content"));
        ["a/b", "a/z"].iter().for_each(|key| store.open(key));
        let turn = Some(Turn(store.watch(&["a/z", "a/b"])));
        change(&store);
        assert!(store.serves_in(turn, "a/z") || !expected, "{what}: another one");
        assert_eq!(store.serves_in(turn, "a/b"), expected, "{what}, with reports");
    };
    let file = |store: &Store| store.path("bucket/a/b");
    check("nothing", true, &|_| ());
    check("it was read", true, &|store| assert_eq!(fs::read(file(store)).unwrap(), b"content"));
    check("another object was written", true, &|store| store.put("a/c", b"content"));
    check("replaced by the server", false, &|store| store.put("a/b", b"content"));
    check("replaced by a program", false, &|store| {
        fs::write(store.path("bucket/a/x"), b"content").unwrap();
        fs::rename(store.path("bucket/a/x"), file(store)).unwrap();
    });
    check("deleted", false, &|store| fs::remove_file(file(store)).unwrap());
    check("written in place, of the same length", false, &|store| {
        fs::write(file(store), b"CONTENT").unwrap()
    });
    check("written in place, and its time set back", false, &|store| {
        let before = fs::metadata(file(store)).unwrap();
        fs::write(file(store), b"CONTENT").unwrap();
        let time = Timespec { tv_sec: before.mtime(), tv_nsec: before.mtime_nsec() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(File::open(file(store)).unwrap(), &times).unwrap();
        let after = fs::metadata(file(store)).unwrap();
        assert_eq!((after.size(), after.mtime_nsec()), (before.size(), before.mtime_nsec()));
    });
    check("cut off", false, &|store| {
        File::options().write(true).open(file(store)).unwrap().set_len(3).unwrap();
    });
    check("another record", false, &|store| {
        let file = File::open(file(store)).unwrap();
        rustix::fs::fsetxattr(&file, "user.s3", b"x", XattrFlags::empty()).unwrap();
    });
    check("another mode", false, &|store| {
        fs::set_permissions(file(store), PermissionsExt::from_mode(0o600)).unwrap();
    });
    check("another group", false, &|store| {
        let group = rustix::process::getegid();
        rustix::fs::chown(file(store), None, Some(group)).unwrap();
    });
    check("a second link", false, &|store| fs::hard_link(file(store), store.path("bucket/a/x")).unwrap());
    check("moved away, and back", false, &|store| {
        fs::rename(file(store), store.path("bucket/a/x")).unwrap();
        fs::rename(store.path("bucket/a/x"), file(store)).unwrap();
    });
    check("a link in its place", false, &|store| {
        fs::rename(file(store), store.path("bucket/a/x")).unwrap();
        symlink("x", file(store)).unwrap();
    });
    check("its directory moved away", false, &|store| {
        fs::rename(store.path("bucket/a"), store.path("bucket/x")).unwrap();
    });
    check("another directory in the place of its own", false, &|store| {
        fs::rename(store.path("bucket/a"), store.path("bucket/x")).unwrap();
        store.put("a/b", b"content");
    });
    check("a link to another directory in the place of its own", false, &|store| {
        store.put("x/b", b"content");
        fs::rename(store.path("bucket/a"), store.path("bucket/y")).unwrap();
        symlink("x", store.path("bucket/a")).unwrap();
    });
    check("the bucket moved away", false, &|store| {
        fs::rename(store.path("bucket"), store.path("other")).unwrap();
    });
    check("the bucket replaced", false, &|store| {
        fs::rename(store.path("bucket"), store.path("other")).unwrap();
        bucket::create(&store.root, &store.name, "maker", store.root.process_owner()).unwrap();
        store.put("a/b", b"content");
    });
    check("the bucket not served any more", false, &|store| {
        let _configuration = store.root.lock_configuration();
        store.root.unlink(&store.name).unwrap();
    });
    check("its bucket keeps versions now", false, &|store| {
        store.root.set_versioning(&store.name, Versioning::Enabled);
    });
    check("forgotten", false, &|store| store.cache.forget(&store.name, &parsed("a/b")));
    check("another one forgotten", true, &|store| store.cache.forget(&store.name, &parsed("a/c")));
}

#[test]
fn an_object_beside_a_directory_of_its_name() {
    let store = Store::new(64);
    store.put("a", b"content");
    store.open("a");
    store.put("a/b", b"below");
    assert!(!store.serves("a"), "it stands in the directory now");
    store.open("a");
    assert!(store.serves("a"));
    fs::remove_dir_all(store.path("bucket/a")).unwrap();
    fs::write(store.path("bucket/a"), b"content").unwrap();
    assert!(!store.serves("a"), "it is a plain file again");
}

/// The path is followed here even through links, so what is kept is resolved afresh in time.
#[test]
fn nothing_is_trusted_or_kept_open_for_long() {
    let store = Store::new(64);
    store.put("a/b", b"content");
    store.open("a/b");
    let kept: Weak<CachedObject> = Rc::downgrade(&store.find("a/b").unwrap());
    fs::rename(store.path("bucket/a"), store.path("bucket/x")).unwrap();
    symlink("x", store.path("bucket/a")).unwrap();
    assert!(store.serves("a/b"), "the very same file");
    assert!(store.cache.sweep() && store.serves("a/b"), "the sweep leaves it");
    store.outlive_trust("a/b");
    assert!(store.find("a/b").is_none(), "however often it was used");
    assert!(store.cache.sweep() && kept.upgrade().is_some(), "it might have been renewed");
    wait_until(store.opened("a/b") + SWEPT_AFTER);
    assert!(kept.upgrade().is_some());
    assert!(store.cache.sweep());
    assert!(kept.upgrade().is_none(), "its file is closed");
    assert!(store.cache.is_empty());
}

#[test]
fn the_number_of_objects_is_bounded_and_closing_them_goes_step_by_step() {
    for (objects_max, expected) in [(0, 0), (3, 0), (4, 4), (7, 4), (1000, 1000)] {
        let store = Store::new(objects_max);
        store.put("k", b"content");
        for number in 0..2 * objects_max.max(8) {
            let bucket = store.root.bucket(&store.name).unwrap().unwrap();
            let object = object::open(&store.root, &bucket, &parsed("k")).unwrap().unwrap();
            let key = parsed(&format!("k{number}"));
            store.cache.keep(&store.root, (&store.name, &key), Versioning::Unversioned, object, later());
        }
        let count = store.cache.slots.borrow().taken();
        assert!(count <= expected && count >= expected / 20 * 19, "{objects_max}: {count}");
        let wait = SWEPT_AFTER.as_millis() as u64 + 20;
        thread::sleep(Duration::from_millis(if objects_max == 1000 { wait } else { 0 }));
        if objects_max == 1000 {
            assert!(!store.cache.sweep(), "not all at once");
            let left = store.cache.slots.borrow().taken();
            assert!(left > 0 && left < count);
            while !store.cache.sweep() {}
            assert!(store.cache.is_empty());
        }
    }
}

#[test]
fn the_one_of_a_set_that_was_used_longest_ago_gives_way() {
    let store = Store::new(slots::WAYS);
    let keys: Vec<String> = (0..=slots::WAYS).map(|number| format!("k{number}")).collect();
    keys.iter().for_each(|key| store.put(key, b"content"));
    keys[..slots::WAYS].iter().for_each(|key| store.open(key));
    assert!(store.serves("k0"));
    store.open(&keys[slots::WAYS]);
    assert!(store.serves("k0") && !store.serves("k1") && store.serves(&keys[slots::WAYS]));
    store.put("k0", b"changed");
    store.open("k0");
    assert!(store.serves("k0") && store.serves("k2"), "an object has one place");
}

#[test]
fn what_changed_just_now_is_not_kept() {
    let at = |seconds, millis: u32| Timestamp { seconds, nanos: millis * 1_000_000 };
    let check =
        |now, fine, expected| assert_eq!(is_settled(at(100, 500), now, fine), expected, "{now:?} {fine}");
    check(at(100, 500), true, false);
    check(at(100, 519), true, false);
    check(at(100, 520), true, true);
    check(at(100, 520), false, false);
    check(at(102, 499), false, false);
    check(at(102, 500), false, true);
    check(at(99, 999), true, false);
    check(at(0, 0), true, false);

    let store = Store::new(64);
    store.put("k", b"content");
    let bucket = store.root.bucket(&store.name).unwrap().unwrap();
    let object = object::open(&store.root, &bucket, &parsed("k")).unwrap().unwrap();
    let time = object.file_id.stamp.ctime;
    store.cache.keep(&store.root, (&store.name, &parsed("k")), Versioning::Unversioned, object, time);
    assert!(store.find("k").is_none());
}

#[test]
fn bodies_have_their_room_and_give_it_back() {
    let store = Store::new(2 * KEPT_BODIES_BYTES_MAX / KEPT_BODY_BYTES_MAX);
    let kept = |key: &str, content: &[u8]| {
        store.put(key, content);
        store.open(key);
        let cached = store.find(key).unwrap();
        store.cache.keep_body(&cached, content);
        cached.body().map(<[u8]>::to_vec)
    };
    assert_eq!(kept("small", b"content").unwrap(), b"content");
    assert_eq!(kept("large", &[7; KEPT_BODY_BYTES_MAX + 1]), None);
    assert_eq!(store.cache.room.get(), KEPT_BODIES_BYTES_MAX - 7);
    let largest = [7; KEPT_BODY_BYTES_MAX];
    let count = KEPT_BODIES_BYTES_MAX / KEPT_BODY_BYTES_MAX - 1;
    store.put("k", &largest);
    store.open("k");
    let cached = store.find("k").unwrap();
    store.cache.keep_body(&cached, &largest);
    store.cache.keep_body(&cached, &largest);
    assert_eq!(store.cache.room.get(), KEPT_BODIES_BYTES_MAX - 7 - largest.len(), "once");
    // The rest of the room is taken.
    store.cache.room.set(store.cache.room.get() - (count - 1) * largest.len());
    assert_eq!(kept("full", &largest), None);
    assert!(kept("fits", b"content").is_some());
    drop(cached);
    ["small", "k", "fits"].iter().for_each(|key| store.cache.forget(&store.name, &parsed(key)));
    store.cache.room.set(store.cache.room.get() + (count - 1) * largest.len());
    assert_eq!(store.cache.room.get(), KEPT_BODIES_BYTES_MAX);
}

#[test]
fn a_directory_in_which_much_happens_is_left_alone() {
    let store = Store::new(64);
    ["a/b", "a/z"].iter().for_each(|key| store.put(key, b"content"));
    let state = |store: &Store| {
        let path = b"bucket/a";
        store.cache.directories.look(&store.root, path, store.directory_hash("bucket/a"), now()).is_some()
    };
    assert!(!state(&store), "it was changed just now");
    thread::sleep(Duration::from_millis(120));
    assert_eq!(state(&store), store.root.capabilities.fine_times);
    ["a/b", "a/z"].iter().for_each(|key| store.open(key));
    for turn in 1.. {
        let served = [store.serves_in(Some(Turn(turn)), "a/z"), store.serves_in(Some(Turn(turn)), "a/b")];
        assert_eq!(served, [true; 2], "each by its own path");
        match turn {
            2 => store.put("a/x", b"content"),
            4 => break,
            _ => {}
        }
    }
    assert!(!state(&store));
}

/// Objects that are asked for in turns displace each other only if there are more than places.
#[test]
fn all_of_as_many_as_nearly_fill_it_are_found() {
    let store = Store::new(1000);
    store.put("k", b"content");
    let bucket = store.root.bucket(&store.name).unwrap().unwrap();
    let keys: Vec<_> = (0..800).map(|number| parsed(&format!("k{number}"))).collect();
    for key in &keys {
        let object = object::open(&store.root, &bucket, &parsed("k")).unwrap().unwrap();
        store.cache.keep(&store.root, (&store.name, key), Versioning::Unversioned, object, later());
    }
    let lost = keys.iter().filter(|key| store.cache.expect(&store.name, key).is_none()).count();
    assert!(lost < 16, "{lost} of {}", keys.len());
}

#[test]
fn what_its_path_still_leads_to_is_trusted_anew() {
    let store = Store::new(64);
    let trust = |key: &str| store.outlive_trust(key);
    store.put("a/b", b"content");
    store.open("a/b");
    let opened = store.opened("a/b");
    store.cache.keep_body(&store.find("a/b").unwrap(), b"content");
    trust("a/b");
    assert!(store.serves("a/b"));
    assert!(store.opened("a/b") >= opened + TRUST);
    assert_eq!(store.find("a/b").unwrap().body(), None, "no body is shown for longer");
    trust("a/b");
    let held = store.find("a/b").unwrap();
    trust("a/b");
    assert!(store.find("a/b").is_none(), "somebody looks at it");
    drop(held);
    fs::write(store.path("bucket/a/b"), b"CONTENT").unwrap();
    assert!(store.find("a/b").is_none(), "it is in another state");
    store.open("a/b");
    thread::sleep(RENEWED_WITHIN + Duration::from_millis(20));
    assert!(store.find("a/b").is_none(), "it was not used for too long");
}

/// The way to a directory is followed for the first of its objects, which the others have in common with it.
#[test]
fn objects_of_a_directory_are_trusted_anew_with_it() {
    let keys = ["a/b", "a/y", "a/z"];
    let check = |what: &str, expected: [bool; 3], change: &dyn Fn(&Store)| {
        let store = Store::new(64);
        keys.iter().for_each(|key| store.put(key, b"content"));
        keys.iter().for_each(|key| store.open(key));
        for turn in (1..=2).map(|turn| Some(Turn(turn))) {
            assert_eq!(keys.map(|key| store.serves_in(turn, key)), [true; 3], "{what}: served before");
        }
        let directory = store.find("a/b").unwrap().directory.get().cloned();
        assert_eq!(directory.is_some(), store.root.capabilities.fine_times);
        store.outlive_trust("a/z");
        change(&store);
        assert_eq!(keys.map(|key| store.find(key).is_some()), expected, "{what}");
        let Some(directory) = directory.filter(|_| what == "nothing") else { return };
        let followed = directory.followed(&store.root, &store.name).unwrap();
        assert_eq!(
            keys.map(|key| store.opened(key)),
            [followed; 3],
            "{what}: no longer than their directory"
        );
    };
    let path = |store: &Store, name: &str| store.path("bucket/a").join(name);
    check("nothing", [true; 3], &|_| ());
    check("one was written in place", [true, false, true], &|store| {
        fs::write(path(store, "y"), b"CONTENT").unwrap();
    });
    check("a link to the same file in the place of one", [true, false, true], &|store| {
        fs::rename(path(store, "y"), store.path("bucket/y")).unwrap();
        symlink("../y", path(store, "y")).unwrap();
    });
    check("another object came", [true; 3], &|store| store.put("a/x", b"content"));
    check("a link to the same directory in its place", [false; 3], &|store| {
        fs::rename(store.path("bucket/a"), store.path("bucket/x")).unwrap();
        symlink("x", store.path("bucket/a")).unwrap();
    });
    check("a link to the same bucket in its place", [false; 3], &|store| {
        fs::rename(store.path("bucket"), store.path("x")).unwrap();
        symlink("x", store.path("bucket")).unwrap();
    });
}

#[test]
fn what_stood_in_a_turn_did_so_for_all_of_it_and_for_no_other() {
    let store = Store::new(64);
    store.put("a/b", b"content");
    store.open("a/b");
    assert!(store.serves_in(None, "a/b"));
    assert!(store.serves_in(Some(Turn(1)), "a/b"));
    fs::write(store.path("bucket/a/b"), b"CONTENT").unwrap();
    assert!(store.serves_in(Some(Turn(1)), "a/b"), "it was found out in this turn");
    assert!(!store.shows(Shown::Read, Some(Turn(1)), "a/b"), "what was read after that");
    assert!(!store.serves_in(Some(Turn(1)), "a/b"), "this too was found out");
    assert!(!store.serves_in(Some(Turn(2)), "a/b"), "another turn");
    assert!(!store.serves_in(None, "a/b"), "without turns it is asked each time");
}

/// Content that is read meanwhile is not of one state until the write has ended, which is when it is reported.
#[test]
fn what_is_in_memory_goes_by_reports_and_what_was_read_by_times() {
    let store = Store::new(64);
    if !store.root.capabilities.reports_changes {
        return;
    }
    ["a/b", "a/z"].iter().for_each(|key| store.put(key, b"content"));
    store.open("a/b");
    let turn = Turn(store.watch(&["a/b"]));
    let hash = store.directory_hash("bucket/a");
    let directory = store.cache.directories.look(&store.root, b"bucket/a", hash, later()).unwrap();
    assert!(!directory.stands(&store.root, turn), "the first of a turn");
    fs::write(store.path("bucket/a/b"), b"CONTENT").unwrap();
    // As if it had not been reported.
    let other = File::open(store.path("bucket/a/z")).unwrap();
    if let Some(other) = store.cache.changes.watch(other.as_fd()) {
        let place = store.cache.expect(&store.name, &parsed("a/b")).unwrap();
        let mut slots = store.cache.slots.borrow_mut();
        let slot = slots.find(place.hash, |_| true).unwrap();
        Rc::get_mut(&mut slot.object).unwrap().watch = OnceCell::from(other);
    }
    assert!(store.serves_in(Some(turn), "a/b"));
    assert!(!store.shows(Shown::Read, Some(turn), "a/b"));
}

#[test]
fn a_watch_is_gone_after_its_report_and_comes_back_when_the_path_was_followed() {
    let store = Store::new(64);
    if !store.root.capabilities.reports_changes {
        return;
    }
    ["a/b", "a/z"].iter().for_each(|key| store.put(key, b"content"));
    ["a/b", "a/z"].iter().for_each(|key| store.open(key));
    let turn = store.watch(&["a/z", "a/b"]);
    // Read by somebody, which is reported too.
    fs::read(store.path("bucket/a/b")).unwrap();
    assert!(store.serves_in(Some(Turn(turn)), "a/z") && store.serves_in(Some(Turn(turn)), "a/b"));
    assert!(store.is_watched("a/z") && !store.is_watched("a/b"));
    store.outlive_trust("a/b");
    assert!(store.find("a/z").is_some() && store.find("a/b").is_some());
    assert!(store.is_watched("a/z"), "it has been there all the time");
    store.watch(&["a/z", "a/b"]);
}
