//! Tables of the mapping, and the properties that make it one.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[test]
fn bucket_names() {
    let check = |name: &str, expected: Result<(), BucketNameError>| {
        let parsed = BucketName::parse(name.as_bytes());
        assert_eq!(parsed.map(|_| ()), expected, "{name}");
        if let Ok(parsed) = parsed {
            assert_eq!((parsed.as_str(), parsed.to_string().as_str()), (name, name));
        }
    };
    use BucketNameError::*;
    for name in [
        "abc",
        "a-b.c-d",
        "my.bucket.2024",
        "0a0",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.x",
        "1234.1.1.1",
        "amzn-s3-demo-bucket",
    ] {
        check(name, Ok(()));
    }
    check(&"a".repeat(63), Ok(()));
    for name in ["", "a", "ab", &"a".repeat(64)] {
        check(name, Err(Length));
    }
    for name in ["Abc", "a_bc", "a/b", "../x", "a\0b", "häuser", "a b", ".sluicegate!"] {
        check(name, Err(Character));
    }
    for name in [".abc", "abc.", "-abc", "abc-", "a..b", "a.-b", "a-.b", "...", SYSTEM_DIR] {
        check(name, Err(Label));
    }
    for name in ["1.2.3.4", "192.168.5.4", "999.999.999.999"] {
        check(name, Err(IpAddress));
    }
    for name in [
        "xn--abc",
        "sthree-abc",
        "sthree-configurator",
        "a-s3alias",
        "a--ol-s3",
        "a.mrap",
        "a--x-s3",
        "a--table-s3",
    ] {
        check(name, Err(Reserved));
    }
    assert!(BucketName::parse(b"abc").unwrap() < BucketName::parse(b"abc.d").unwrap());
}

#[test]
fn object_keys() {
    assert_eq!(ObjectKey::parse(b""), Err(ObjectKeyError::Empty));
    assert_eq!(ObjectKey::parse(b"\xff"), Err(ObjectKeyError::NotUtf8));
    assert_eq!(ObjectKey::parse(&[b'a'; 1025]), Err(ObjectKeyError::TooLong { key_bytes: 1025 }));
    assert!(ObjectKey::parse(&[b'a'; 1024]).is_ok());
    assert_eq!(ObjectKey::parse("a\0ä".as_bytes()).unwrap().as_str(), "a\0ä");
}

fn path_of(key: &str) -> KeyPath {
    path(&ObjectKey::parse(key.as_bytes()).unwrap())
}

#[test]
fn keys_to_paths() {
    let check = |key_text: &str, expected: &str| {
        let path = path_of(key_text);
        assert_eq!(String::from_utf8_lossy(path.as_bytes()), expected);
        assert_eq!(path.as_c_str().to_bytes(), expected.as_bytes());
        assert_eq!(key(expected.as_bytes()).unwrap().as_str(), key_text);
        assert_eq!(key(path.in_directory().as_bytes()).unwrap().as_str(), key_text);
    };
    check("photos/2024/a.jpg", "photos/2024/a.jpg");
    check("100%", "100%");
    check("dir/", "dir/.sgate~=");
    check("/", ".sgate~=/.sgate~=");
    check("/lead", ".sgate~=/lead");
    check("a//b", "a/.sgate~=/b");
    check("./x", ".sgate~=./x");
    check("a/../../b", "a/.sgate~=../.sgate~=../b");
    check("...", "...");
    check("a\0%b", ".sgate~=a%00%25b");
    check(".sgate~@", ".sgate~=.sgate~@");
    check(".sgate~", ".sgate~=.sgate~");
    check(".sgate", ".sgate");
    check(".sgate~=/.sgate~+x", ".sgate~=.sgate~=/.sgate~=.sgate~+x");
    check(".sluicegate/format", ".sluicegate/format");
    check(&"x".repeat(255), &"x".repeat(255));
    check(&"x".repeat(256), &format!(".sgate~+{}/.sgate~={}", "x".repeat(240), "x".repeat(16)));
    check(
        &format!("{}/y", "x".repeat(600)),
        &format!(".sgate~+{0}/.sgate~+{0}/.sgate~={1}/y", "x".repeat(240), "x".repeat(120)),
    );
    // 239 bytes, then a character of two: it moves to the next piece whole.
    check(
        &format!("{}é{}", "x".repeat(239), "y".repeat(30)),
        &format!(".sgate~+{}/.sgate~=é{}", "x".repeat(239), "y".repeat(30)),
    );
    // 80 × 3 quoted bytes fill a piece.
    check(&"\0".repeat(81), &format!(".sgate~+{}/.sgate~=%00", "%00".repeat(80)));
}

#[test]
fn paths_of_no_object() {
    let long = "x".repeat(240);
    let no_objects = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        ".sgate~@",
        "a/.sgate~@/b",
        ".sgate~",
        ".sgate~!1",
        ".sgate~v",
        "a/.sgate~v",
        "a/.sgate~v/b",
        ".sgate~x",
        ".sgate~=a",
        ".sgate~=a%00b%2",
        ".sgate~=%41%00",
        ".sgate~=a\0",
        ".sgate~+a/.sgate~=b",
        ".sgate~+",
        "a/.sgate~+x",
        &format!(".sgate~={}", "x".repeat(247)),
        &format!(".sgate~+{long}"),
        &format!(".sgate~+{long}/"),
        &format!(".sgate~+{long}/.sgate~="),
        &format!(".sgate~+{long}/.sgate~={}", "x".repeat(15)),
        &format!(".sgate~+{long}/{long}"),
        &format!(".sgate~+{long}/.sgate~@"),
        &format!(".sgate~+{}/.sgate~={}", "x".repeat(239), "x".repeat(100)),
        &"x".repeat(256),
    ];
    for path in no_objects {
        assert_eq!(key(path.as_bytes()), None, "{path}");
    }
    assert_eq!(key(b"a\xff"), None);
}

#[test]
fn parents_and_names() {
    let path = path_of("a/b//c");
    let parents: Vec<_> = path.parents().map(|parent| String::from_utf8_lossy(parent).into_owned()).collect();
    assert_eq!(parents, ["a", "a/b", "a/b/.sgate~="]);
    assert_eq!((path.parent(), path.name()), (Some(&b"a/b/.sgate~="[..]), &b"c"[..]));
    assert_eq!(path.name_c_str().to_bytes(), b"c");
    let path = path_of("a");
    assert_eq!((path.parent(), path.name(), path.parents().count()), (None, &b"a"[..], 0));
    assert_eq!((path.in_directory().parent(), path.in_directory().name()), (Some(&b"a"[..]), SELF_NAME));
}

#[test]
fn the_longest_paths_have_hops() {
    assert_eq!(path_of("a/b").hops().collect::<Vec<_>>(), [b"a/b"]);
    for key in ["/".repeat(1024), "\0/".repeat(512), "../".repeat(341), "\0".repeat(1024), "ab/".repeat(341)]
    {
        fuzz(key.as_bytes());
    }
    assert_eq!(path_of(&"/".repeat(1024)).hops().count(), 3);
}

#[test]
fn pieces_that_may_come_first() {
    let check = |component: &[u8], expected: &[usize]| {
        assert_eq!(first_piece_ends(component).collect::<Vec<_>>(), expected);
        // Where the component is cut, the first cut is among them.
        let first = piece_ends(component).next().unwrap();
        assert!(first == component.len() || expected.contains(&first));
    };
    check(&[b'x'; 100], &[]);
    check(&[b'x'; 238], &[237, 238]);
    check(&[b'x'; 300], &[237, 238, 239, 240]);
    check(&[0; 300], &[79, 80]);
    check("é".repeat(200).as_bytes(), &[238, 240]);
}

/// Keys in which the odd components are as frequent as the plain ones.
pub(crate) fn any_key() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        4 => "[a-c]{1,2}",
        1 => Just(String::new()),
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => "[a%\0]{1,4}",
        1 => r"\.sgate~[@=+!]?[a-c%]{0,2}",
        1 => r"\.sgate~[@=+][.]{0,2}",
        1 => (236usize..=245, "[xé%\0]{0,20}").prop_map(|(length, tail)| "x".repeat(length) + &tail),
        1 => (75usize..=85, "[x\0]{0,2}").prop_map(|(length, tail)| "\0".repeat(length) + &tail),
        1 => "\\PC{0,5}",
    ];
    prop::collection::vec(component, 1..6)
        .prop_map(|components| components.join("/"))
        .prop_filter("a legal key", |key| ObjectKey::parse(key.as_bytes()).is_ok())
}

proptest! {
    #[test]
    fn every_key_round_trips(key in any_key()) {
        fuzz(key.as_bytes());
    }

    #[test]
    fn no_two_keys_share_a_path(keys in prop::collection::hash_set(any_key(), 2..40)) {
        let mut taken = HashMap::new();
        for key in &keys {
            let path = path_of(key);
            for bytes in [path.as_bytes().to_vec(), path.in_directory().as_bytes().to_vec()] {
                prop_assert_eq!(taken.insert(bytes, key), None);
            }
        }
        // Nor may a directory of one key's path be another key's object inside a directory.
        for key in &keys {
            for parent in path_of(key).parents() {
                prop_assert_ne!(parent.rsplit(|byte| *byte == b'/').next(), Some(SELF_NAME));
            }
        }
    }

    #[test]
    fn paths_made_of_odd_names_decode_only_if_canonical(names in prop::collection::vec(
        prop_oneof![Just("a".to_owned()), r"\.sgate~[@=+!][a%]{0,3}(00|25)?[.]{0,2}", r"\.sgate~\+x{237,241}", r"\.sgate~=x{0,30}"], 1..4))
    {
        fuzz(names.join("/").as_bytes());
    }
}

#[test]
fn fuzz_runs_on_seeded_bytes() {
    let alphabet: &[&[u8]] = &[
        b"/", b".", b"..", b".sgate~", b"=", b"+", b"@", b"%", b"%00", b"%25", b"\0", b"a", b"\xc3", b"\xa9",
        b"-", b"1",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..20_000 {
        let mut data = Vec::new();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..(state >> 60) + 1 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let repeats = if state >> 40 & 15 == 0 { 100 } else { 1 };
            data.extend(alphabet[(state >> 60) as usize].repeat(repeats));
        }
        fuzz(&data);
    }
}
