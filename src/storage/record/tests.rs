//! Records as tables of bytes, and the property that each has one encoding.

use proptest::prelude::*;

use super::*;
use crate::digest::Algorithm;
use crate::iam::acl::{Grant, Grantee, Permission};

const MTIME: Timestamp = Timestamp { seconds: 1_763_900_000, nanos: 123_456_789 };

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    bytes
}

fn text(text: &str) -> Option<FieldText> {
    Some(FieldText::parse(text.as_bytes()).unwrap())
}

/// A record with everything in it.
fn full_record() -> Record {
    let mut record = Record::new(17, MTIME, ETag::Parts { digest: [0x11; 16], part_count: 3 });
    for field in HeaderField::ALL {
        record.headers.set(field, text(&format!("value of {}", field.name())));
    }
    record.user_metadata =
        UserMetadata::from_pairs([(&b"Zeta"[..], &b"1"[..]), (b"alpha", "ä\t".as_bytes())]).unwrap();
    record.tags = Tags::from_pairs([("zone", "ö"), ("a", "")]).unwrap();
    record.checksum = Some(StoredChecksum::composite(Algorithm::Crc32c, b"abcd", 3).unwrap());
    record.parts = Some(PartTable::from_sizes([8, 8, 1]).unwrap());
    record.part_checksums = Some(PartChecksums::new(Algorithm::Crc32c, b"aaaabbbbcccc").unwrap());
    record.version = Some([7; 16]);
    record.retention = Some(Retention { mode: RetentionMode::Compliance, until_seconds: 1_893_456_000 });
    record.legal_hold = Some(true);
    record.acl = Some(acl("AIDA1"));
    record
}

fn acl(id: &str) -> Acl {
    let grantees =
        [Grantee::Owner, Grantee::AllUsers, Grantee::AuthenticatedUsers, Grantee::user(id).unwrap()];
    let grants = grantees.into_iter().zip(Permission::ALL);
    Acl::new(grants.map(|(grantee, permission)| Grant { grantee, permission }).collect()).unwrap()
}

#[test]
fn the_common_record_stays_in_the_inode() {
    let mut record = Record::new(4096, MTIME, ETag::Md5([0xAA; 16]));
    record.headers.set(HeaderField::ContentType, text("binary/octet-stream"));
    record.checksum = Some(StoredChecksum::full_object(Algorithm::Crc32, &[1, 2, 3, 4]).unwrap());
    let bytes = encoded(&record);
    // Byte for byte, as the head of the module has it.
    let mut expected = vec![1, 1, 0, 1, 0x80, 0x20, 0xC0, 0xE9, 0x97, 0x92, 0x0D];
    expected.extend(123_456_789_u32.to_le_bytes());
    expected.extend([0xAA; 16]);
    expected.extend([11, 6, 1, 0, 1, 2, 3, 4]);
    assert_eq!(bytes, expected);
    assert_eq!(bytes.len(), 39);
    assert_eq!(Record::decode(&bytes), Ok(record));
}

#[test]
fn everything_round_trips() {
    let record = full_record();
    let bytes = encoded(&record);
    assert_eq!(Record::decode(&bytes).as_ref(), Ok(&record));
    let pairs: Vec<_> = record.user_metadata.iter().collect();
    assert_eq!(pairs, [(&b"alpha"[..], "ä\t".as_bytes()), (b"zeta", b"1")]);
    assert_eq!(record.tags.iter().collect::<Vec<_>>(), [("zone", "ö"), ("a", "")]);
    assert_eq!((record.tags.count(), record.headers.iter().count()), (2, 8));
    let summary = Summary::decode(&bytes).unwrap();
    assert_eq!((&summary.etag, summary.checksum), (&record.etag, record.checksum));
    assert_eq!(summary.storage_class, text("value of x-amz-storage-class"));
    assert_eq!(summary.version, record.version);
    assert!(summary.matches(17, MTIME));
}

#[test]
fn locks() {
    let mut record = Record::new(5, MTIME, ETag::Md5([0; 16]));
    assert!(!record.is_locked(100));
    record.retention = Some(Retention { mode: RetentionMode::Governance, until_seconds: 101 });
    assert!(record.is_locked(100) && !record.is_locked(101));
    record.legal_hold = Some(false);
    assert!(!record.is_locked(101));
    record.legal_hold = Some(true);
    assert!(record.is_locked(101));
    for mode in [RetentionMode::Governance, RetentionMode::Compliance] {
        assert_eq!(RetentionMode::parse(mode.name()), Some(mode));
    }
    assert_eq!(RetentionMode::parse("governance"), None);
}

#[test]
fn a_record_speaks_of_one_state_only() {
    let record = Record::new(5, MTIME, ETag::Md5([0; 16]));
    assert!(record.matches(5, MTIME));
    assert!(!record.matches(6, MTIME));
    assert!(!record.matches(5, Timestamp { nanos: 0, ..MTIME }));
    assert!(!record.matches(5, Timestamp { seconds: 0, ..MTIME }));
}

#[test]
fn a_spilled_record_keeps_the_essentials() {
    let mut record = full_record();
    record.headers.set(HeaderField::StorageClass, text("STANDARD_IA"));
    let spilled = record.spilled([9; 16]);
    let bytes = encoded(&spilled);
    assert!(bytes.len() <= 120, "{}", bytes.len());
    let found = Record::decode(&bytes).unwrap();
    assert_eq!((found.spill, &found.etag, found.size), (Some([9; 16]), &record.etag, record.size));
    assert_eq!(found.headers.iter().collect::<Vec<_>>(), [("x-amz-storage-class", &b"STANDARD_IA"[..])]);
    assert!(found.is_essence_of(&record));
    assert!(!found.is_essence_of(&found));
    let other = Record { etag: ETag::Md5([0; 16]), ..record.clone() };
    assert!(!found.is_essence_of(&other));
    assert!(!found.is_essence_of(&Record { mtime: Timestamp::from_seconds(0), ..record.clone() }));
    record.headers.set(HeaderField::StorageClass, text(&"x".repeat(2000)));
    assert!(encoded(&record.spilled([9; 16])).len() <= 120);
    assert!(!found.is_essence_of(&Record { version: None, ..record }));
}

#[test]
fn the_largest_record_is_within_its_bound() {
    let mut record = Record::new(0, MTIME, ETag::parse(&[b'x'; 128]).unwrap());
    for field in HeaderField::ALL {
        record.headers.set(field, Some(FieldText::parse(&[b'x'; HEAD_BYTES_MAX]).unwrap()));
    }
    let names: Vec<_> = (0..crate::limits::USER_METADATA_BYTES_MAX / 2)
        .map(|index| format!("{index:02}"))
        .take(100)
        .collect();
    record.user_metadata =
        UserMetadata::from_pairs(names.iter().map(|name| (name.as_bytes(), &b""[..]))).unwrap();
    let tags: Vec<_> =
        (0..10).map(|index| (format!("{index}{}", "🦀".repeat(127)), "🦀".repeat(256))).collect();
    record.tags = Tags::from_pairs(tags.iter().map(|(key, value)| (&key[..], &value[..]))).unwrap();
    let table = PartTable::from_sizes((0..10_000).map(|index| (5 << 30) + index)).unwrap();
    record.size = table.total_bytes();
    record.parts = Some(table);
    record.checksum = Some(StoredChecksum::composite(Algorithm::Sha512, &[1; 64], 10_000).unwrap());
    record.part_checksums = Some(PartChecksums::new(Algorithm::Sha512, &vec![1; 640_000]).unwrap());
    record.version = Some([7; 16]);
    record.retention = Some(Retention { mode: RetentionMode::Compliance, until_seconds: i64::MIN });
    record.legal_hold = Some(true);
    let longest = Grant {
        grantee: Grantee::user(&"A".repeat(Grantee::ID_BYTES_MAX)).unwrap(),
        permission: Permission::FullControl,
    };
    record.acl = Acl::new(vec![longest; Acl::GRANTS_MAX]);
    let bytes = encoded(&record);
    assert!(bytes.len() <= RECORD_BYTES_MAX, "{} of {RECORD_BYTES_MAX}", bytes.len());
    assert_eq!(Record::decode(&bytes), Ok(record));
    assert_eq!(
        Record::decode(&vec![1; RECORD_BYTES_MAX + 1]),
        Err(RecordError::TooLong { record_bytes: RECORD_BYTES_MAX + 1 })
    );
}

#[test]
fn damaged_records() {
    let base = encoded(&Record::new(5, MTIME, ETag::Md5([0; 16])));
    let check = |tail: &[u8], expected: RecordError| {
        let bytes = [&base[..], tail].concat();
        assert_eq!(Record::decode(&bytes), Err(expected), "{tail:?}");
        fuzz(&bytes);
    };
    for end in 0..base.len() {
        assert_eq!(Record::decode(&base[..end]), Err(RecordError::Truncated), "{end}");
    }
    let full = encoded(&full_record());
    for end in 0..full.len() {
        // What still decodes lacks whole fields at the end; nothing is ever taken in half.
        fuzz(&full[..end]);
    }
    check(&[2], RecordError::Truncated);
    check(&[2, 5, b'x'], RecordError::Truncated);
    check(&[2, 1, 1], RecordError::Text);
    check(&[2, 3, b'a', b'\r', b'\n'], RecordError::Text);
    check(&[2, 1, 0x7F], RecordError::Text);
    check(&[2, 1, b'a', 2, 1, b'b'], RecordError::Order { number: 2 });
    check(&[3, 1, b'a', 2, 1, b'b'], RecordError::Order { number: 2 });
    check(&[0, 0], RecordError::Order { number: 0 });
    check(&[15, 0], RecordError::Field { number: 15 });
    check(&[16, 1, 7], RecordError::Field { number: 16 });
    check(&[17, 2, 3, 0], RecordError::Field { number: 17 });
    check(&[17, 3, 1, 0, 0], RecordError::Field { number: 17 });
    check(&[17, 1, 1], RecordError::Truncated);
    check(&[18, 1, 2], RecordError::Field { number: 18 });
    check(&[18, 0], RecordError::Field { number: 18 });
    check(&[127, 0], RecordError::Field { number: 127 });
    check(&[13, 2, 1, 1], RecordError::Field { number: 13 });
    check(&[12, 2, 1, 4], RecordError::Field { number: 12 });
    check(&[12, 0], RecordError::Parts);
    check(&[14, 5, 1, 0, 0, 0, 0], RecordError::Field { number: 14 });
    check(&[11, 6, 99, 0, 0, 0, 0, 0], RecordError::Checksum);
    check(&[11, 6, 1, 2, 0, 0, 0, 0], RecordError::Checksum);
    check(&[11, 5, 1, 0, 0, 0, 0], RecordError::Checksum);
    check(&[19, 1, 0x40], RecordError::Acl);
    check(&[19, 1, 0x50], RecordError::Acl);
    check(&[19, 1, 0x04], RecordError::Acl);
    check(&[19, 1, 0x03], RecordError::Truncated);
    check(&[19, 2, 0x03, 0], RecordError::Acl);
    check(&[19, 3, 0x03, 1, b'-'], RecordError::Acl);
    check(&[19, 4, 0x03, 0x81, 0, b'A'], RecordError::Varint);
    check(&[&[19, 101][..], &[0x01; 101]].concat(), RecordError::Acl);
    check(&[18, 0], RecordError::Field { number: 18 });
    check(&[9, 4, 1, b'A', 1, b'v'], RecordError::UserMetadata);
    check(&[9, 3, 0, 1, b'v'], RecordError::UserMetadata);
    check(&[9, 8, 1, b'b', 1, b'v', 1, b'a', 1, b'v'], RecordError::UserMetadata);
    check(&[9, 3, 1, b'a', 1], RecordError::Truncated);
    check(&[9, 4, 1, b'a', 1, b'\n'], RecordError::Text);
    check(&[10, 4, 1, 0xFF, 1, b'v'], RecordError::Tags);
    check(&[10, 8, 1, b'a', 1, b'v', 1, b'a', 1, b'v'], RecordError::Tags);
    check(&[1, 10, b't', b'e', b'x', b't', b'/', b'p', b'l', b'a', b'i', b'n'], RecordError::ContentType);

    let with = |index: usize, byte: u8| {
        let mut bytes = base.clone();
        bytes[index] = byte;
        Record::decode(&bytes)
    };
    assert_eq!(with(0, 2), Err(RecordError::Version(2)));
    assert_eq!(with(1, 0), Err(RecordError::Kind(0)));
    assert_eq!(with(1, 2), Err(RecordError::Field { number: 13 }));
    assert_eq!(with(2, 3), Err(RecordError::ETag));
    assert_eq!(with(3, 99), Err(RecordError::ContentType));
    assert_eq!(with(13, 0xFF), Err(RecordError::Mtime));
}

#[test]
fn lists_byte_for_byte() {
    let base = Record::new(5, MTIME, ETag::Md5([0; 16]));
    let check = |acl: Option<Acl>, tail: &[u8]| {
        let record = Record { acl, ..base.clone() };
        let bytes = encoded(&record);
        assert_eq!(bytes[encoded(&base).len()..], *tail);
        assert_eq!(Record::decode(&bytes), Ok(record));
    };
    check(None, &[]);
    check(Acl::new(Vec::new()), &[19, 0]);
    check(Some(acl("AB")), &[19, 7, 0x00, 0x11, 0x22, 0x33, 2, b'A', b'B']);
}

#[test]
fn additions_of_a_later_server_are_ignored() {
    let record = full_record();
    let bytes = [&encoded(&record)[..], &[128, 2, 1, 2, 200, 0]].concat();
    assert_eq!(Record::decode(&bytes), Ok(record));
    fuzz(&bytes);
}

#[test]
fn limits_of_user_metadata_and_tags() {
    let metadata = |name: &str, value_bytes: usize| {
        UserMetadata::from_pairs([(name.as_bytes(), &vec![b'v'; value_bytes][..])]).map(|_| ())
    };
    assert_eq!(metadata("n", 2047), Ok(()));
    assert_eq!(metadata("n", 2048), Err(RecordError::UserMetadata));
    assert_eq!(metadata("", 1), Err(RecordError::UserMetadata));
    assert_eq!(metadata("a b", 1), Err(RecordError::UserMetadata));
    let joined = UserMetadata::from_pairs([(&b"A"[..], &b"1"[..]), (b"a", b"2")]).unwrap();
    assert_eq!(joined.iter().collect::<Vec<_>>(), [(&b"a"[..], &b"1,2"[..])]);

    let tags = |tags: &[(&str, &str)]| Tags::from_pairs(tags.iter().copied()).map(|tags| tags.count());
    let (key, value) = ("ä".repeat(128), "🦀".repeat(256));
    assert_eq!(tags(&[(&key, &value)]), Ok(1));
    assert_eq!(tags(&[(&format!("{key}x"), "")]), Err(RecordError::Tags));
    assert_eq!(tags(&[("k", &format!("{value}x"))]), Err(RecordError::Tags));
    assert_eq!(tags(&[("", "")]), Err(RecordError::Tags));
    assert_eq!(tags(&[("a\u{85}", "")]), Err(RecordError::Tags));
    let many: Vec<_> = (0..11).map(|index| index.to_string()).collect();
    let many: Vec<_> = many.iter().map(|key| (&key[..], "")).collect();
    assert_eq!((tags(&many[..10]), tags(&many)), (Ok(10), Err(RecordError::Tags)));
}

fn any_etag() -> impl Strategy<Value = ETag> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(ETag::Md5),
        (any::<[u8; 16]>(), 1u16..=10_000)
            .prop_map(|(digest, part_count)| ETag::Parts { digest, part_count }),
        "[!#-~]{1,128}".prop_map(|text| ETag::parse(text.as_bytes()).unwrap()),
    ]
}

prop_compose! {
    fn any_record()(
        size: u64, seconds: i64, nanos in 0u32..1_000_000_000, etag in any_etag(),
        texts in prop::collection::vec(prop::option::of("(binary/octet-stream|text/plain|[ -~]{0,20})"), 8),
        metadata in prop::collection::hash_map("[a-z-]{1,4}", "\\PC{0,8}", 0..5),
        tags in prop::collection::hash_map("[a-z]{1,4}", "\\PC{0,8}", 0..5),
        checksum in prop::option::of((any::<[u8; 32]>(), prop::option::of(1u32..=10_000))),
        parts in prop::option::of(prop::collection::vec(0u64..3, 1..12)), spill in prop::option::of(any::<[u8; 16]>()),
        upload in prop::option::of(any::<[u8; 16]>()), version in prop::option::of(any::<[u8; 16]>()),
        retention in prop::option::of((any::<bool>(), any::<i64>())), legal_hold: Option<bool>,
    ) -> Record {
        let mut record = Record::new(size, Timestamp { seconds, nanos }, etag);
        for (field, text) in HeaderField::ALL.into_iter().zip(texts) {
            record.headers.set(field, text.map(|text| FieldText::parse(text.as_bytes()).unwrap()));
        }
        let metadata = metadata.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        record.user_metadata = UserMetadata::from_pairs(metadata).unwrap();
        record.tags = Tags::from_pairs(tags.iter().map(|(key, value)| (&key[..], &value[..]))).unwrap();
        record.checksum = checksum.map(|(value, parts)| match parts {
            None => StoredChecksum::full_object(Algorithm::Sha256, &value).unwrap(),
            Some(part_count) => StoredChecksum::composite(Algorithm::Sha256, &value, part_count).unwrap(),
        });
        if let Some(sizes) = parts {
            record.part_checksums = Some(PartChecksums::new(Algorithm::Crc32, &vec![5; 4 * sizes.len()]).unwrap());
            let table = PartTable::from_sizes(sizes).unwrap();
            record.size = table.total_bytes();
            record.parts = Some(table);
        }
        record.spill = spill;
        record.upload = upload;
        record.version = version;
        record.retention = retention.map(|(compliance, until_seconds)| {
            let mode = if compliance { RetentionMode::Compliance } else { RetentionMode::Governance };
            Retention { mode, until_seconds }
        });
        record.legal_hold = legal_hold;
        record
    }
}

proptest! {
    #[test]
    fn every_record_round_trips(record in any_record()) {
        let bytes = encoded(&record);
        let decoded = Record::decode(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&record));
        fuzz(&bytes);
    }

    #[test]
    fn one_changed_byte_never_panics(record in any_record(), index: prop::sample::Index, byte: u8) {
        let mut bytes = encoded(&record);
        let index = index.index(bytes.len());
        bytes[index] = byte;
        fuzz(&bytes);
    }
}

#[test]
fn fuzz_runs_on_a_corpus_and_seeded_bytes() {
    let full = encoded(&full_record());
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..50_000 {
        let mut data = full.clone();
        for _ in 0..next() % 4 + 1 {
            let start = next() % data.len();
            match next() % 3 {
                0 => data[start] = next() as u8,
                1 => drop(data.drain(start..(start + next() % 8).min(data.len()))),
                _ => data.insert(start, next() as u8),
            }
        }
        fuzz(&data);
    }
    for length in 0..2_000 {
        let data: Vec<u8> = (0..length % 100).map(|_| next() as u8).collect();
        fuzz(&data);
    }
}
