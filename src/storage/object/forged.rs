//! Records that a program forged: what is believed of them, and that nothing but the file itself is touched.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use proptest::collection::vec;

use super::tests::{Store, etag_of, new_bucket, parsed};
use super::*;
use crate::storage::list::{ListRequest, list};
use crate::storage::record::{FieldText, HeaderField, Tags, UserMetadata};

use proptest::prelude::*;

/// A number as records have it, the extremes more often than others.
fn number() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(0), Just(1), Just(17), Just(10_000), Just(10_001), Just(u64::MAX), any::<u64>()]
        .prop_map(varint)
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"plain".to_vec()),
        Just(b"x\r\nset-cookie: 1".to_vec()),
        Just(vec![0]),
        Just(vec![b'a'; 20_000]),
        vec(any::<u8>(), 0..20),
    ]
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&varint(bytes.len() as u64), bytes].concat()
}

/// The value of a field with this number: often what may stand there.
fn value(number: u8) -> BoxedStrategy<Vec<u8>> {
    let id = prop_oneof![Just(vec![0; 16]), vec(any::<u8>(), 16), vec(any::<u8>(), 0..20)];
    let pairs = vec((text(), text()), 0..3).prop_map(|pairs| {
        pairs
            .iter()
            .flat_map(|(name, value)| [with_length(name), with_length(value)].concat())
            .collect::<Vec<u8>>()
    });
    let likely = match number {
        1..=8 => text().boxed(),
        9 | 10 => pairs.boxed(),
        11 | 14 => (0..12u8, 0..3u8, vec(any::<u8>(), 0..40))
            .prop_map(|(a, b, rest)| [vec![a, b], rest].concat())
            .boxed(),
        12 => vec((self::number(), self::number()), 0..3)
            .prop_map(|runs| runs.into_iter().flat_map(|(count, size)| [count, size].concat()).collect())
            .boxed(),
        17 => (0..4u8, self::number()).prop_map(|(mode, until)| [vec![mode], until].concat()).boxed(),
        18 => (0..3u8).prop_map(|held| vec![held]).boxed(),
        _ => id.boxed(),
    };
    prop_oneof![4 => likely, 1 => vec(any::<u8>(), 0..40)].boxed()
}

/// A record of a file with this size and time, with up to six fields in the order they have to have.
#[derive(Clone, Debug)]
struct Forged {
    kind: u8,
    etag: (u8, Vec<u8>),
    content_type: u8,
    lies: bool,
    fields: BTreeMap<u8, Vec<u8>>,
    names_victim: bool,
}

fn forged() -> impl Strategy<Value = Forged> {
    let etag = prop_oneof![
        vec(any::<u8>(), 16).prop_map(|digest| (0, digest)),
        (vec(any::<u8>(), 16), number()).prop_map(|(digest, count)| (1, [digest, count].concat())),
        text().prop_map(|text| (2, with_length(&text))),
    ];
    let field = prop_oneof![1..20u8, Just(200)].prop_flat_map(|number| (Just(number), value(number)));
    let fields = vec(field, 0..6).prop_map(|fields| fields.into_iter().collect());
    (
        prop_oneof![5 => Just(1u8), 3 => Just(2), 1 => any::<u8>()],
        etag,
        0..14u8,
        prop::bool::weighted(0.1),
        fields,
        any::<bool>(),
    )
        .prop_map(|(kind, etag, content_type, lies, fields, names_victim)| Forged {
            kind,
            etag,
            content_type,
            lies,
            fields,
            names_victim,
        })
}

impl Forged {
    fn encode(&self, size: u64, modified: Timestamp, victim: Option<&[u8; 16]>) -> Vec<u8> {
        let mut fields = self.fields.clone();
        if let Some(victim) = victim.filter(|_| self.names_victim) {
            fields.insert(13, victim.to_vec());
        }
        let kind = if fields.contains_key(&13) && self.kind == 1 { 2 } else { self.kind };
        let mut bytes = vec![1, kind, self.etag.0, self.content_type];
        bytes.extend(varint(if self.lies { u64::MAX } else { size }));
        bytes.extend(varint((modified.seconds as u64) << 1));
        bytes.extend(modified.nanos.to_le_bytes());
        bytes.extend(&self.etag.1);
        for (number, value) in fields {
            bytes.push(number);
            bytes.extend(with_length(&value));
        }
        bytes
    }
}

fn is_of_headers(text: &[u8]) -> bool {
    !text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_forged_record_gives_no_more_than_its_own_file(forged in forged()) {
        let store = Store::new();
        let other = new_bucket(&store.root, "victims");
        // A record too large for the attribute, so that there is a file beside it to go for.
        let mut record = Record::new(0, Timestamp::from_seconds(0), etag_of(b"victim"));
        record.tags = Tags::from_pairs([("of", "the victim")]).unwrap();
        let long = vec![b'v'; 1900];
        record.user_metadata = UserMetadata::from_pairs([(&b"m"[..], &long[..])]).unwrap();
        for field in [HeaderField::CacheControl, HeaderField::ContentDisposition] {
            record.headers.set(field, FieldText::parse(&vec![b'v'; 9000]).ok());
        }
        put_record(&store.root, &other, "k", b"victim", record);
        let victims = open(&store.root, &other, &parsed("k")).unwrap().unwrap();
        let spilled = std::fs::read_dir(store.directory.path().join(".sluicegate/spill")).unwrap().flatten().next();
        let name = spilled.map(|entry| entry.file_name().into_string().unwrap());
        let id = name.as_ref().map(|name| {
            let mut id = [0; 16];
            assert!(crate::codec::hex::decode(name.as_bytes(), &mut id));
            id
        });
        let path = store.path("k");
        std::fs::write(&path, b"of the attacker!!").unwrap();
        let stat = std::fs::metadata(&path).unwrap();
        let modified = Timestamp { seconds: stat.mtime(), nanos: stat.mtime_nsec() as u32 };
        let bytes = forged.encode(17, modified, id.as_ref());
        let file = std::fs::File::open(&path).unwrap();
        prop_assume!(fs::fsetxattr(&file, XATTR_NAME, &bytes, fs::XattrFlags::empty()).is_ok());

        let object = open(&store.root, &store.bucket, &parsed("k")).unwrap().unwrap();
        prop_assert_eq!((object.size, object.owner.uid), (17, stat.uid()));
        let mut etag = Vec::new();
        object.etag.write_into(&mut etag);
        prop_assert!(is_of_headers(&etag) && !etag.contains(&b'"'));
        if let Some(record) = &object.record {
            let texts = record.headers.iter().chain(record.user_metadata.iter().map(|(_, value)| ("", value)));
            for (_, text) in texts {
                prop_assert!(is_of_headers(text) && !text.starts_with(b"vvvv"));
            }
            prop_assert!(record.user_metadata.iter().all(|(name, _)| is_of_headers(name)));
            prop_assert!(record.tags.iter().all(|tag| tag.0 != "of"));
            if let Some(parts) = &record.parts {
                prop_assert_eq!(parts.total_bytes(), 17);
            }
        }
        // A listing says the same of it.
        let request = ListRequest { prefix: b"", delimiter: b"", start_after: b"", max_keys: 10 };
        let page = list(store.bucket.fd.as_fd(), &store.root.directories, &request).unwrap();
        prop_assert_eq!(page.entries.len(), 1);
        prop_assert_eq!(page.entries[0].size, 17);
        // Then it is changed and deleted as any other, and what is the victim's stays.
        let amended = |found: std::result::Result<&Object, &Absence>| -> std::result::Result<Record, ()> {
            let object = found.map_err(drop)?;
            Ok(object.record.clone().unwrap_or_else(|| Record::new(0, object.modified, object.etag.clone())))
        };
        amend(&store.root, &store.bucket, &parsed("k"), None, &amended).unwrap().unwrap();
        store.put("k/below", b"below").unwrap();
        prop_assert!(store.delete("k") && store.delete("k/below"));
        let after = open(&store.root, &other, &parsed("k")).unwrap().unwrap();
        prop_assert_eq!(&after.record, &victims.record);
        prop_assert!(after.record.is_some_and(|record| record.tags.count() == 1 && record.headers.iter().count() == 2));
    }
}

fn put_record(root: &Root, bucket: &Bucket, key: &str, content: &[u8], mut record: Record) {
    let key = parsed(key);
    let staged = Staged::create(root, bucket, &layout::path(&key)).unwrap();
    crate::storage::writer::write_all(staged.as_fd(), content, 0).unwrap();
    let always = Condition::<()>::Always;
    publish(root, bucket, &key, staged, &mut record, root.process_owner(), &always).unwrap().unwrap();
}
