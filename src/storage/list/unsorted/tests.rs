//! Unsorted listings against the sorted ones' model: the same keys and common prefixes, each once, in any order.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::tests::{ALL, Bucket, Part, any_key, lossy_all, model, part, seeded};
use super::*;

type Texts = BTreeSet<Vec<u8>>;

/// All keys and common prefixes, page by page; between two pages `meanwhile` happens. None of them may come twice.
fn all(
    bucket: &Bucket,
    prefix: &[u8],
    rolls_up: bool,
    max_keys: usize,
    mut meanwhile: impl FnMut(),
) -> (Texts, Texts) {
    let cache = DirectoryCache::new(0);
    let (mut keys, mut prefixes, mut position) = (Texts::new(), Texts::new(), None);
    loop {
        let request = UnsortedRequest { prefix, rolls_up, position: position.as_ref(), max_keys };
        let (page, next) = list_unsorted(bucket.fd.as_fd(), &cache, &request).unwrap();
        assert!(page.entries.len() + page.common_prefixes.len() <= max_keys);
        for entry in page.entries {
            assert!(keys.insert(entry.key.as_bytes().to_vec()), "{} comes twice", entry.key.as_str());
        }
        for text in page.common_prefixes {
            assert!(prefixes.insert(text.clone()), "{} comes twice", String::from_utf8_lossy(&text));
        }
        let Some(next) = next else { return (keys, prefixes) };
        let form = next.encode();
        assert!(form.len() <= Position::BYTES_MAX);
        position = Position::decode(&form);
        assert_eq!(position.as_ref(), Some(&next));
        meanwhile();
    }
}

fn check(bucket: &Bucket, prefix: &[u8], rolls_up: bool, max_keys: usize) {
    let delimiter: &[u8] = if rolls_up { b"/" } else { b"" };
    let request = ListRequest { prefix, delimiter, max_keys: usize::MAX, ..ALL };
    let (expected_keys, expected_prefixes, _) = model(&bucket.keys, &request);
    let (keys, prefixes) = all(bucket, prefix, rolls_up, max_keys, || {});
    let sorted = |texts: Texts| lossy_all(&texts.into_iter().collect::<Vec<_>>());
    assert_eq!(sorted(keys), lossy_all(&expected_keys), "keys, {request:?} by {max_keys}");
    assert_eq!(sorted(prefixes), lossy_all(&expected_prefixes), "prefixes, {request:?} by {max_keys}");
}

/// Whether the test's directories are where unsorted listings are offered.
fn is_offered(bucket: &Bucket) -> bool {
    keeps_places(bucket.fd.as_fd()).unwrap()
}

#[test]
fn every_key_comes_once() {
    let mut bucket =
        Bucket::with(&["a", "a-b", "a/", "a//", "a/b", "a/b/c", "a0", "ab", "A", "é", "z/../y", "e/f/g/h"]);
    bucket.clutter();
    bucket.put(&format!("{}tail", "x".repeat(300)));
    bucket.put(&format!("{}/below", "x".repeat(500)));
    bucket.put(&"x".repeat(250));
    for max_keys in [1, 2, 3, 1000] {
        for prefix in ["", "a", "a/", "a/b", "b", "x", "xx", "e/f", "z/../", "nothing/here/"] {
            check(&bucket, prefix.as_bytes(), false, max_keys);
            check(&bucket, prefix.as_bytes(), true, max_keys);
        }
        check(&bucket, "x".repeat(260).as_bytes(), true, max_keys);
        check(&bucket, "x".repeat(245).as_bytes(), false, max_keys);
    }
    let request = UnsortedRequest { prefix: b"", rolls_up: false, position: None, max_keys: 0 };
    let (page, next) = list_unsorted(bucket.fd.as_fd(), &DirectoryCache::new(0), &request).unwrap();
    assert_eq!((page.entries.len(), next), (0, None));
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
        "a/".repeat(DEPTH_MAX),
        format!("{}own", "a/".repeat(DEPTH_MAX)),
        format!("{}own/below", "a/".repeat(DEPTH_MAX)),
        format!("{}own", "a/".repeat(DEPTH_MAX + 1)),
        format!("{}own/below", "a/".repeat(DEPTH_MAX + 1)),
        format!("{}{}/{}", "a/".repeat(DEPTH_MAX - 1), "y".repeat(400), "z".repeat(400)),
    ];
    keys.iter().for_each(|key| bucket.put(key));
    for max_keys in [1, 2, 1000] {
        for prefix in ["", "a/a/a/", "../../", "/////"] {
            check(&bucket, prefix.as_bytes(), false, max_keys);
            check(&bucket, prefix.as_bytes(), true, max_keys);
        }
    }
}

#[test]
fn what_stays_comes_once_while_the_rest_changes() {
    let mut bucket = Bucket::new();
    let name = |index: usize| format!("{}/k{index:04}", ["d", "e", "e/f"][index % 3]);
    (0..900).for_each(|index| bucket.put(&name(index)));
    if !is_offered(&bucket) {
        return;
    }
    let path = |key: String| bucket.path(key.as_bytes());
    let mut next = seeded(3);
    let mut round = 0;
    // Every other key stays; the directories shrink, grow, and get and lose subdirectories between two pages.
    let (keys, _) = all(&bucket, b"", false, 40, || {
        round += 1;
        for _ in 0..60 {
            drop(fs::remove_file(path(name(next(450) * 2 + 1))));
            drop(fs::write(path(format!("{}new-{round}-{}", ["d/", "e/", ""][next(3)], next(1000))), b""));
            let directory = path(format!("d/sub-{}", next(20)));
            drop(if next(2) == 0 { fs::create_dir(directory) } else { fs::remove_dir_all(directory) });
        }
    });
    assert!(round > 10);
    for index in (0..900).step_by(2) {
        assert!(keys.contains(name(index).as_bytes()), "{} is missing", name(index));
    }
}

#[test]
fn directories_that_go_end_nothing_else() {
    let mut bucket = Bucket::with(&["a/1", "b/1", "c/1", "d/1", "a/2", "b/2", "c/2", "d/2"]);
    let mut seen = Texts::new();
    let cache = DirectoryCache::new(0);
    let mut position = None;
    loop {
        let request =
            UnsortedRequest { prefix: b"", rolls_up: false, position: position.as_ref(), max_keys: 1 };
        let (page, next) = list_unsorted(bucket.fd.as_fd(), &cache, &request).unwrap();
        for entry in page.entries {
            let directory = &entry.key.as_bytes()[..1];
            // Whatever the walk is in goes, and a link comes in its place.
            fs::remove_dir_all(bucket.path(directory)).unwrap();
            symlink("/etc", bucket.path(directory)).unwrap();
            assert!(seen.insert(directory.to_vec()));
        }
        position = next;
        if position.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 4);
    bucket.keys.clear();
    check(&bucket, b"", false, 2);
}

#[test]
fn a_made_up_position_shows_nothing_else() {
    let bucket = Bucket::with(&["in/a", "in/b/c", "out/secret", "inner"]);
    symlink("out", bucket.path(b"in/link")).unwrap();
    let step = |name: &str, after| Step { is_piece: false, name: name.as_bytes().into(), after };
    let place = |next| At::Place { next, told: None };
    let cache = DirectoryCache::new(0);
    for (steps, at) in [
        (vec![step("..", 0), step("out", 0)], place(0)),
        (vec![step("..", 0)], At::Key(b"out/".to_vec())),
        (vec![step("link", 0)], place(0)),
        (vec![], place(u64::MAX)),
        (vec![], place(1 << 62)),
        (vec![], At::Key(b"out/".to_vec())),
        ((0..DEPTH_MAX + 4).map(|_| step("b", 1)).collect(), At::Key(Vec::new())),
        (vec![Step { is_piece: true, name: Box::from(&b"x"[..]), after: 5 }], place(0)),
        (vec![step("b", u64::MAX)], At::Place { next: 0, told: Some(Box::from(&b"c"[..])) }),
    ] {
        let position = Position { steps, at };
        for rolls_up in [false, true] {
            let request =
                UnsortedRequest { prefix: b"in/", rolls_up, position: Some(&position), max_keys: 100 };
            let (page, _) = list_unsorted(bucket.fd.as_fd(), &cache, &request).unwrap();
            assert!(
                page.entries.iter().all(|entry| entry.key.as_bytes().starts_with(b"in/")),
                "{position:?}"
            );
            assert!(page.common_prefixes.iter().all(|text| text.starts_with(b"in/")), "{position:?}");
        }
    }
}

#[test]
fn a_bucket_that_changes_is_never_an_error() {
    let bucket = Bucket::with(&["stays", "a/stays", "b/c/stays", "z"]);
    let until = Instant::now() + Duration::from_millis(300);
    std::thread::scope(|scope| {
        let root = bucket.directory.path();
        scope.spawn(move || {
            let mut next = seeded(1);
            while Instant::now() < until {
                let name = root.join(["x", "a/x", "b/c/x", "y", "y/x", "y/x/.sgate~@"][next(6)]);
                let _ = match next(5) {
                    0 => fs::write(&name, b"x"),
                    1 => fs::create_dir_all(&name),
                    2 => symlink("/etc", &name),
                    3 => fs::remove_dir_all(&name),
                    _ => fs::remove_file(&name),
                };
            }
        });
        let mut listings = 0;
        while Instant::now() < until {
            let (keys, _) = all(&bucket, b"", false, 1 + listings % 5, || {});
            assert!(!is_offered(&bucket) || bucket.keys.is_subset(&keys), "{keys:?}");
            all(&bucket, b"", true, 2, || {});
            listings += 1;
        }
        assert!(listings > 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn all_pages_together_are_as_the_model_has_them(
        keys in prop::collection::hash_set(any_key(), 1..30),
        requests in prop::collection::vec(any_prefix(), 20),
        clutter: bool,
    ) {
        let mut bucket = Bucket::new();
        keys.iter().for_each(|key| bucket.put(key));
        if clutter {
            bucket.clutter();
        }
        let keys: Vec<_> = bucket.keys.iter().cloned().collect();
        for (prefix, rolls_up, max_keys) in requests {
            check(&bucket, &part(&keys, prefix), rolls_up, max_keys);
        }
    }
}

prop_compose! {
    fn any_prefix()(
        prefix in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3),
        rolls_up: bool,
        max_keys in prop_oneof![1usize..5, Just(1000usize)],
    ) -> (Part, bool, usize) {
        (prefix, rolls_up, max_keys)
    }
}
