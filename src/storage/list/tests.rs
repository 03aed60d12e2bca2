//! Listings against a model that is the definition: all keys in order, filtered, rolled up and cut into pages.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::storage::layout::{self, SELF_NAME};
use crate::storage::record::{HeaderField, Record, StoredChecksum, XATTR_NAME};

/// A bucket's directory with objects in it.
pub(super) struct Bucket {
    pub(super) directory: tempfile::TempDir,
    pub(super) fd: File,
    pub(super) keys: BTreeSet<Vec<u8>>,
}

impl Bucket {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fd = File::open(directory.path()).unwrap();
        Self { directory, fd, keys: BTreeSet::new() }
    }

    pub(super) fn with(keys: &[&str]) -> Self {
        let mut bucket = Self::new();
        keys.iter().for_each(|key| bucket.put(key));
        bucket
    }

    pub(super) fn path(&self, relative: &[u8]) -> PathBuf {
        self.directory.path().join(OsStr::from_bytes(relative))
    }

    /// Stores an object as the server would, but for its record. Its size is the length of its key.
    pub(super) fn put(&mut self, key: &str) {
        let content = vec![b'x'; key.len()];
        let path = layout::path(&ObjectKey::parse(key.as_bytes()).unwrap());
        let own_name = std::str::from_utf8(SELF_NAME).unwrap();
        // Directory by directory: the path of an odd key is too long for one call.
        let mut at = self.fd.try_clone().unwrap();
        let beneath = |at: &File| PathBuf::from(format!("/proc/self/fd/{}", at.as_raw_fd()));
        for name in
            path.parent().unwrap_or_default().split(|byte| *byte == b'/').filter(|name| !name.is_empty())
        {
            let directory = beneath(&at).join(OsStr::from_bytes(name));
            if directory.is_file() {
                let own = fs::read(&directory).unwrap();
                fs::remove_file(&directory).unwrap();
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join(own_name), own).unwrap();
            } else if !directory.is_dir() {
                fs::create_dir(&directory).unwrap();
            }
            at = File::open(directory).unwrap();
        }
        let mut file = beneath(&at).join(OsStr::from_bytes(path.name()));
        if file.is_dir() {
            file.push(own_name);
        }
        fs::write(file, content).unwrap();
        self.keys.insert(key.as_bytes().to_vec());
    }

    /// What POSIX users leave behind and what is no object.
    pub(super) fn clutter(&self) {
        let odd_names = [
            ".sgate~!1",
            ".sgate~=plain",
            ".sgate~=%41%00",
            ".sgate~+abc",
            ".sgate~x",
            ".sgate~@",
            "zz-empty/",
            "a/zz-empty/deeper/",
            "b/.sgate~=x/",
            ".sgate~+dir/",
        ];
        for name in odd_names {
            match name.strip_suffix('/') {
                Some(directory) => drop(fs::create_dir_all(self.path(directory.as_bytes()))),
                None => drop(File::create_new(self.path(name.as_bytes()))),
            }
        }
        let _ = fs::write(self.path(b"not-utf8-\xff"), b"x");
        let _ = fs::write(self.path(b".sgate~+dir/plain"), b"x");
        let _ = symlink("/etc", self.path(b"link-to-directory"));
        let _ = symlink("/etc/passwd", self.path(b"a-link"));
        let _ = symlink("..", self.path(b"a/up"));
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let _ = rustix::fs::mknodat(&self.fd, "fifo", rustix::fs::FileType::Fifo, mode, 0);
    }

    fn list(&self, cache: &DirectoryCache, request: &ListRequest<'_>) -> ListPage {
        list(self.fd.as_fd(), cache, request).unwrap()
    }

    /// Compares one page with the definition, and returns where the next begins.
    fn check(&self, cache: &DirectoryCache, request: &ListRequest<'_>) -> Option<Vec<u8>> {
        let page = self.list(cache, request);
        let expected = model(&self.keys, request);
        let found: Vec<_> = page.entries.iter().map(|entry| entry.key.as_bytes().to_vec()).collect();
        let context =
            || format!("{request:?} of {:?}", self.keys.iter().map(|key| lossy(key)).collect::<Vec<_>>());
        assert_eq!(lossy_all(&found), lossy_all(&expected.0), "keys, {}", context());
        assert_eq!(lossy_all(&page.common_prefixes), lossy_all(&expected.1), "prefixes, {}", context());
        assert_eq!(page.next.as_deref().map(lossy), expected.2.as_deref().map(lossy), "next, {}", context());
        for entry in &page.entries {
            assert_eq!(entry.size, entry.key.as_bytes().len() as u64);
            assert!(entry.etag.to_string().ends_with("-1"), "no record, no MD5");
        }
        page.next
    }

    /// Compares all pages from the first on.
    fn check_all(&self, cache: &DirectoryCache, request: ListRequest<'_>) {
        let mut start_after = Vec::new();
        for _ in 0..=self.keys.len() {
            match self.check(cache, &ListRequest { start_after: &start_after, ..request }) {
                Some(next) => start_after = next,
                None => return,
            }
        }
        panic!("more pages than keys");
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn lossy_all(texts: &[Vec<u8>]) -> Vec<String> {
    texts.iter().map(|text| lossy(text)).collect()
}

pub(super) type Model = (Vec<Vec<u8>>, Vec<Vec<u8>>, Option<Vec<u8>>);

/// The keys, the common prefixes, and where the next page begins.
pub(super) fn model(keys: &BTreeSet<Vec<u8>>, request: &ListRequest<'_>) -> Model {
    let &ListRequest { prefix, delimiter, start_after, max_keys } = request;
    let mut items: Vec<(Vec<u8>, bool)> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let end =
            (prefix.len()..key.len()).find(|at| !delimiter.is_empty() && key[*at..].starts_with(delimiter));
        let item = match end {
            Some(at) => (key[..at + delimiter.len()].to_vec(), true),
            None => (key.clone(), false),
        };
        if item.0.as_slice() > start_after && items.last() != Some(&item) {
            items.push(item);
        }
    }
    if max_keys == 0 {
        return Model::default();
    }
    let next = (items.len() > max_keys).then(|| items[max_keys - 1].0.clone());
    items.truncate(max_keys);
    let (prefixes, keys): (Vec<_>, Vec<_>) = items.into_iter().partition(|(_, is_prefix)| *is_prefix);
    let texts = |items: Vec<(Vec<u8>, bool)>| items.into_iter().map(|(text, _)| text).collect();
    (texts(keys), texts(prefixes), next)
}

pub(super) const ALL: ListRequest<'_> =
    ListRequest { prefix: b"", delimiter: b"", start_after: b"", max_keys: 1000 };

#[test]
fn keys_come_in_the_order_of_their_bytes() {
    let bucket =
        Bucket::with(&["a", "a-b", "a/", "a//", "a/b", "a/b/c", "a0", "a\u{1}", "ab", "A", "é", "z/../y"]);
    bucket.clutter();
    let cache = DirectoryCache::new(1 << 20);
    let page = bucket.list(&cache, &ALL);
    let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["A", "a", "a\u{1}", "a-b", "a/", "a//", "a/b", "a/b/c", "a0", "ab", "z/../y", "é"]);
    assert_eq!((page.common_prefixes.len(), page.next), (0, None));
    for max_keys in 1..=4 {
        bucket.check_all(&cache, ListRequest { max_keys, ..ALL });
        bucket.check_all(&cache, ListRequest { max_keys, delimiter: b"/", ..ALL });
        bucket.check_all(&cache, ListRequest { max_keys, delimiter: b"/", prefix: b"a/", ..ALL });
    }
}

#[test]
fn prefixes_and_delimiters() {
    let bucket = Bucket::with(&["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla"]);
    let cache = DirectoryCache::new(1 << 20);
    let check = |request: ListRequest<'_>, keys: &[&str], prefixes: &[&str], next: Option<&str>| {
        let page = bucket.list(&cache, &request);
        assert_eq!(page.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), keys);
        assert_eq!(lossy_all(&page.common_prefixes), prefixes);
        assert_eq!(page.next.as_deref().map(lossy).as_deref(), next);
    };
    // The pages that ceph/s3-tests asks for.
    let page = ListRequest { delimiter: b"/", max_keys: 1, ..ALL };
    check(page, &["asdf"], &[], Some("asdf"));
    check(ListRequest { start_after: b"asdf", ..page }, &[], &["boo/"], Some("boo/"));
    check(ListRequest { start_after: b"boo/", ..page }, &[], &["cquux/"], None);
    let page = ListRequest { delimiter: b"/", max_keys: 2, prefix: b"boo/", ..ALL };
    check(page, &["boo/bar"], &["boo/baz/"], None);
    check(ListRequest { max_keys: 1, ..page }, &["boo/bar"], &[], Some("boo/bar"));
    check(ListRequest { delimiter: b"a", ..ALL }, &["cquux/thud"], &["a", "boo/ba", "cquux/bla"], None);
    check(ListRequest { max_keys: 0, ..ALL }, &[], &[], None);
    check(ListRequest { prefix: b"nothing/here/", ..ALL }, &[], &[], None);
    check(ListRequest { prefix: b"asdf/", ..ALL }, &[], &[], None);
    check(ListRequest { prefix: b"boo", start_after: b"c", ..ALL }, &[], &[], None);
    check(ListRequest { start_after: b"boo/bar", delimiter: b"/", ..ALL }, &[], &["cquux/"], None);
}

#[test]
fn empty_directories_are_nothing() {
    let mut bucket = Bucket::with(&["a/b/c/d", "own"]);
    bucket.clutter();
    fs::create_dir_all(bucket.path(b"e/f/g")).unwrap();
    fs::create_dir_all(bucket.path(b"own-only")).unwrap();
    fs::write(bucket.path(b"own-only/.sgate~@"), b"12345678").unwrap();
    bucket.keys.insert(b"own-only".to_vec());
    let cache = DirectoryCache::new(1 << 20);
    bucket.check_all(&cache, ListRequest { delimiter: b"/", ..ALL });
    bucket.check_all(&cache, ALL);
    // A directory that holds only a directory with its own object is none.
    bucket.put("e/f/g/h");
    fs::rename(bucket.path(b"e/f/g/h"), bucket.path(b"e/f/g/.sgate~@")).unwrap();
    bucket.keys.remove(&b"e/f/g/h"[..]);
    bucket.keys.insert(b"e/f/g".to_vec());
    let page = bucket.list(&cache, &ListRequest { delimiter: b"/", ..ALL });
    assert_eq!(lossy_all(&page.common_prefixes), ["a/", "e/"]);
}

#[test]
fn entries_show_their_records() {
    let mut bucket = Bucket::with(&["with", "stale", "damaged", "large", "dir"]);
    bucket.put("dir/below");
    let label = |name: &str, change: &dyn Fn(&mut Record)| {
        let path = bucket.path(name.as_bytes());
        let stat = rustix::fs::stat(&path).unwrap();
        let mtime = Timestamp { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 };
        let mut record = Record::new(stat.st_size as u64, mtime, ETag::Md5([0xAB; 16]));
        record.checksum = Some(StoredChecksum::full_object(Algorithm::Crc32, &[1; 4]).unwrap());
        change(&mut record);
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        if name == "damaged" {
            bytes[0] = 99;
        }
        rustix::fs::setxattr(&path, XATTR_NAME, &bytes, rustix::fs::XattrFlags::empty())
    };
    if label("with", &|_| {}).is_err() {
        // A file system without attributes: nothing to show.
        return;
    }
    label("stale", &|record| record.size += 1).unwrap();
    label("damaged", &|_| {}).unwrap();
    label("large", &|record| {
        record.headers.set(HeaderField::Expires, FieldText::parse(&[b'x'; 1500]).ok());
        record.headers.set(HeaderField::StorageClass, FieldText::parse(b"GLACIER").ok());
    })
    .unwrap();
    label("dir/.sgate~@", &|_| {}).unwrap();
    let page = bucket.list(&DirectoryCache::new(1 << 20), &ALL);
    let md5 = "ab".repeat(16);
    for entry in &page.entries {
        let (key, etag) = (entry.key.as_str(), entry.etag.to_string());
        let has_record = ["with", "large", "dir"].contains(&key);
        assert_eq!(etag == md5, has_record, "{key}: {etag}");
        assert_eq!(entry.checksum.is_some(), has_record);
        let class = entry.storage_class.as_ref().map(FieldText::as_bytes);
        assert_eq!(class, (key == "large").then_some(&b"GLACIER"[..]));
        assert_eq!(entry.size, key.len() as u64);
        assert_eq!(
            (entry.uid, entry.gid),
            (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        );
        assert!(entry.modified.seconds > 1_700_000_000);
    }
    assert_eq!(page.entries.len(), 6);
}

#[test]
fn links_lead_nowhere() {
    let bucket = Bucket::with(&["a/b"]);
    let outside = Bucket::with(&["secret/x"]);
    symlink(outside.directory.path(), bucket.path(b"link")).unwrap();
    symlink(outside.directory.path().join("secret"), bucket.path(b"a/link")).unwrap();
    let cache = DirectoryCache::new(1 << 20);
    for prefix in
        [&b""[..], b"link", b"link/", b"link/secret/", b"a/link/", b"a/link/x", b"../", b"/", b"a/../"]
    {
        for delimiter in [&b""[..], b"/"] {
            bucket.check_all(&cache, ListRequest { prefix, delimiter, ..ALL });
        }
    }
}

#[test]
fn deep_trees_and_the_longest_keys() {
    let mut bucket = Bucket::new();
    let keys = [
        "/".repeat(1024),
        "a/".repeat(512),
        format!("{}b", "a/".repeat(511)),
        "../".repeat(341),
        "\0/".repeat(512),
        "\0".repeat(1024),
        "é".repeat(512),
        format!("{}y", "a/".repeat(30)),
        format!("{}x", "a/".repeat(20)),
    ];
    keys.iter().for_each(|key| bucket.put(key));
    let cache = DirectoryCache::new(1 << 20);
    for max_keys in [1, 3, 1000] {
        bucket.check_all(&cache, ListRequest { max_keys, ..ALL });
        bucket.check_all(&cache, ListRequest { max_keys, delimiter: b"/", ..ALL });
        bucket.check_all(&cache, ListRequest { max_keys, prefix: b"a/a/a/", delimiter: b"/a/a/", ..ALL });
    }
    // Deeper than a key can be: no key, and no harm.
    let deeper = bucket.path(&b"d/".repeat(700));
    fs::create_dir_all(&deeper).unwrap();
    fs::write(deeper.join("x"), b"").unwrap();
    bucket.check_all(&cache, ALL);
    bucket.check_all(&cache, ListRequest { delimiter: b"/", ..ALL });
}

#[test]
fn only_canonical_pieces_are_keys() {
    let mut bucket = Bucket::new();
    let piece = "x".repeat(240);
    for tail in ["a".repeat(16), "y".repeat(300), "z".repeat(500)] {
        bucket.put(&format!("{piece}{tail}"));
        bucket.put(&format!("dir/{piece}{tail}/below"));
    }
    // Too short to be cut at all; cut too early; a name of its own where only pieces can be; no last piece.
    for (directory, file) in [
        (format!(".sgate~+{piece}"), ".sgate~=short"),
        (format!(".sgate~+{}", &piece[1..]), &format!(".sgate~={}", "x".repeat(100))),
        (format!(".sgate~+{piece}"), "plain"),
        (format!(".sgate~+{piece}"), ".sgate~@"),
        (format!(".sgate~+{piece}"), ".sgate~="),
        (format!("empty/.sgate~+{piece}"), ".sgate~=short"),
    ] {
        fs::create_dir_all(bucket.path(directory.as_bytes())).unwrap();
        fs::write(bucket.path(directory.as_bytes()).join(file), b"x").unwrap();
    }
    for cache in [DirectoryCache::new(1 << 20), DirectoryCache::new(0)] {
        for (max_keys, delimiter) in [(1, &b""[..]), (1, b"/"), (1000, b""), (1000, b"/"), (2, b"yy")] {
            bucket.check_all(&cache, ListRequest { max_keys, delimiter, ..ALL });
            bucket.check_all(&cache, ListRequest { max_keys, delimiter, prefix: b"dir/xx", ..ALL });
        }
    }
}

#[test]
fn what_vanishes_is_left_out() {
    let bucket = Bucket::with(&["a", "b", "c"]);
    let cache = DirectoryCache::new(1 << 20);
    let mut cursor = Cursor::start(bucket.fd.as_fd(), &cache, b"", b"", b"\0".to_vec()).unwrap();
    assert!(matches!(cursor.next(), Ok(Some(Item::Key))));
    fs::remove_file(bucket.path(b"a")).unwrap();
    fs::remove_file(bucket.path(b"b")).unwrap();
    symlink("c", bucket.path(b"b")).unwrap();
    while cursor.next().unwrap().is_some() {}
    let entries: Vec<_> = cursor.finish(3).unwrap().into_iter().filter_map(Entry::of).collect();
    assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_bucket_that_changes_is_never_an_error() {
    let bucket = Bucket::with(&["stays", "a/stays", "b/c/stays", "z"]);
    let outside = Bucket::with(&["secret"]);
    let until = std::time::Instant::now() + Duration::from_millis(400);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (root, outside) = (bucket.directory.path(), outside.directory.path());
            scope.spawn(move || {
                let mut next = seeded(seed);
                while std::time::Instant::now() < until {
                    let name = root.join(["x", "a/x", "b/c/x", "y", "y/x", "y/x/.sgate~@"][next(6)]);
                    // Most of these fail, because the other thread was here before.
                    let _ = match next(6) {
                        0 => fs::write(&name, b"x"),
                        1 => fs::create_dir_all(&name),
                        2 => symlink(outside, &name),
                        3 => fs::remove_dir_all(&name),
                        4 => fs::rename(&name, root.join(["x", "y", "a/x"][next(3)])),
                        _ => fs::remove_file(&name),
                    };
                }
            });
        }
        let cache = DirectoryCache::new(1 << 20);
        let mut listings = 0;
        while std::time::Instant::now() < until {
            let page = bucket.list(&cache, &ALL);
            let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
            assert!(keys.is_sorted(), "{keys:?}");
            assert!(bucket.keys.iter().all(|key| keys.contains(&lossy(key).as_str())), "{keys:?}");
            assert!(!keys.iter().any(|key| key.ends_with("secret")), "{keys:?}");
            bucket.list(&cache, &ListRequest { delimiter: b"/", prefix: b"y", max_keys: 1, ..ALL });
            listings += 1;
        }
        assert!(listings > 0);
    });
}

#[test]
fn a_change_shows_at_once() {
    let mut bucket = Bucket::new();
    (0..200).for_each(|index| bucket.put(&format!("k{index:03}")));
    let cache = DirectoryCache::new(1 << 20);
    std::thread::sleep(Duration::from_millis(130));
    bucket.check_all(&cache, ListRequest { max_keys: 7, ..ALL });
    assert!(cache.bytes() > 0);
    for index in 0..50 {
        bucket.put(&format!("k{index:03}-new"));
        fs::remove_file(bucket.path(format!("k{:03}", index + 100).as_bytes())).unwrap();
        bucket.keys.remove(format!("k{:03}", index + 100).as_bytes());
        bucket.check(&cache, &ALL);
    }
}

#[test]
fn a_cached_tree_lists_as_the_model_does() {
    let mut bucket = Bucket::new();
    let mut next = seeded(7);
    for _ in 0..1_500 {
        let depth = next(3);
        let components: Vec<_> =
            (0..=depth).map(|_| ["a", "b", "b-", "c0", "", "."][next(6)].repeat(next(4))).collect();
        let key = format!("{}{}", components.join("/"), next(400));
        bucket.put(&key);
    }
    bucket.clutter();
    std::thread::sleep(Duration::from_millis(130));
    let keys: Vec<_> = bucket.keys.iter().cloned().collect();
    for budget_bytes in [1 << 20, 8 << 10, 0] {
        let cache = DirectoryCache::new(budget_bytes);
        for _ in 0..400 {
            let (key, start) = (&keys[next(keys.len())], &keys[next(keys.len())]);
            let request = ListRequest {
                prefix: &key[..next(key.len() + 1) / (1 + next(3))],
                delimiter: [&b""[..], b"/", b"b", b"b/", b"//", b"-"][next(6)],
                start_after: &start[..next(2) * next(start.len() + 1)],
                max_keys: [1, 2, 10, 100][next(4)],
            };
            bucket.check(&cache, &request);
            assert!(cache.bytes() <= budget_bytes);
        }
    }
}

/// Numbers below a limit, the same in every run.
pub(super) fn seeded(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |limit| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    }
}

pub(super) fn any_key() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        8 => "[ab0-]{1,2}",
        1 => Just(String::new()),
        1 => "[.]{1,3}",
        1 => r"\.sgate~[@=+!]?a?",
        1 => "[a\0%]{1,3}",
        2 => (236usize..=258, "[xé%\0]{0,20}").prop_map(|(length, tail)| "x".repeat(length) + &tail),
        1 => (78usize..=82, "[x\0]{0,2}").prop_map(|(length, tail)| "\0".repeat(length) + &tail),
        1 => (2usize..=4, "[xy]{0,2}").prop_map(|(pieces, tail)| "x".repeat(240 * pieces - 1) + &tail),
    ];
    prop::collection::vec(component, 1..5)
        .prop_map(|components| components.join("/"))
        .prop_filter("a legal key", |key| ObjectKey::parse(key.as_bytes()).is_ok())
}

prop_compose! {
    /// A request, as parts of the keys with these numbers.
    fn any_request()(
        prefix in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3),
        start in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3, prop::option::of("[\0-/b]")),
        delimiter in prop_oneof![
            3 => Just("/"), 2 => Just(""), 1 => Just("//"), 1 => Just("a/"), 1 => Just("-"), 1 => Just("xx"), 1 => Just("/b"),
            1 => Just("\0"),
        ],
        max_keys in prop_oneof![0usize..5, Just(1000usize)],
    ) -> (Part, Part, Option<String>, &'static str, usize) {
        ((prefix.0, prefix.1, prefix.2), (start.0, start.1, start.2), start.3, delimiter, max_keys)
    }
}

pub(super) type Part = (prop::sample::Index, prop::sample::Index, i32);

/// Nothing, some of a key, or all of it.
pub(super) fn part(keys: &[Vec<u8>], (key, length, how): Part) -> Vec<u8> {
    let key = key.get(keys);
    match how {
        0 => Vec::new(),
        1 => key[..length.index(key.len() + 1)].to_vec(),
        _ => key.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_page_is_as_the_model_has_it(
        keys in prop::collection::hash_set(any_key(), 1..30),
        requests in prop::collection::vec(any_request(), 30),
        clutter: bool,
    ) {
        let mut bucket = Bucket::new();
        keys.iter().for_each(|key| bucket.put(key));
        if clutter {
            bucket.clutter();
        }
        let keys: Vec<_> = bucket.keys.iter().cloned().collect();
        let (large, small) = (DirectoryCache::new(1 << 20), DirectoryCache::new(0));
        for (prefix, start, tail, delimiter, max_keys) in requests {
            let prefix = part(&keys, prefix);
            let mut start_after = part(&keys, start);
            start_after.extend_from_slice(tail.unwrap_or_default().as_bytes());
            let request = ListRequest { prefix: &prefix, delimiter: delimiter.as_bytes(), start_after: &start_after, max_keys };
            for cache in [&large, &small] {
                bucket.check(cache, &request);
                if max_keys > 0 {
                    bucket.check_all(cache, request);
                }
            }
        }
    }
}
