//! Versions against a model that is the definition of AWS: a list of versions for each key.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::result::Result;

use proptest::prelude::*;

use super::super::bucket::{self, Created};
use super::super::commit::Durability;
use super::super::object::Condition;
use super::super::record::{ETag, Record, Retention, RetentionMode};
use super::super::root::process_owner;
use super::super::writer::{Staged, write_all};
use super::name::Kept;
use super::*;
use crate::storage::BucketName;

struct Fixture {
    directory: tempfile::TempDir,
    root: Root,
    bucket: Bucket,
}

type Never = std::convert::Infallible;

impl Fixture {
    fn new(versioning: Versioning) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let name = BucketName::parse(b"bucket").unwrap();
        assert!(matches!(bucket::create(&root, &name, "me", process_owner()).unwrap(), Created::Made(_)));
        let bucket = root.bucket(&name).unwrap().unwrap();
        root.set_versioning(&name, versioning);
        Fixture { directory, root, bucket }
    }

    fn set(&self, versioning: Versioning) {
        self.root.set_versioning(&self.bucket.name, versioning);
    }

    fn put(&self, key: &str, body: &str) -> Version {
        self.put_record(key, body, Record::new(0, Timestamp::from_seconds(0), ETag::Md5([7; 16])))
    }

    fn put_record(&self, name: &str, body: &str, mut record: Record) -> Version {
        let key = key(name);
        let staged = Staged::create(&self.root, &self.bucket, &layout::path(&key)).unwrap();
        write_all(staged.as_fd(), body.as_bytes(), 0).unwrap();
        let always = Condition::<Never>::Always;
        let owner = process_owner();
        let change = object::publish(&self.root, &self.bucket, &key, staged, &mut record, owner, &always);
        assert!(change.unwrap().is_ok());
        Version::of_record(record.version)
    }

    fn delete(&self, name: &str, version: Option<Version>) -> Deleted {
        let owner = process_owner();
        delete::<Never>(&self.root, &self.bucket, &key(name), version, owner, None).unwrap().unwrap()
    }

    fn read(&self, name: &str, version: Option<Version>) -> Result<(Version, String), Option<Version>> {
        match find(&self.root, &self.bucket, &key(name), version).unwrap() {
            Ok(object) => {
                let mut text = String::new();
                std::fs::File::from(object.file).read_to_string(&mut text).unwrap();
                Ok((object.version, text))
            }
            Err(Absence::Nothing) => Err(None),
            Err(Absence::Marker(marker)) => Err(Some(marker.version)),
        }
    }

    fn page(&self, request: &VersionRequest<'_>) -> VersionPage {
        list(&self.root, &self.bucket, request).unwrap()
    }

    fn natural(&self, path: &str) -> PathBuf {
        self.directory.path().join("bucket").join(path)
    }

    fn history(&self, path: &str) -> PathBuf {
        self.directory.path().join(".sluicegate/versions/bucket").join(path).join(".sgate~v")
    }

    /// The tree of noncurrent versions vanishes with the last of them.
    fn assert_gone(&self) {
        let tree = self.directory.path().join(".sluicegate/versions/bucket");
        assert!(!tree.exists() || std::fs::read_dir(&tree).unwrap().next().is_none(), "the tree is empty");
        let deleted = bucket::delete(&self.root, &self.bucket.name).unwrap();
        assert!(matches!(deleted, bucket::Deleted::Gone(_)));
        assert!(!tree.exists());
    }
}

const ALL: VersionRequest<'static> =
    VersionRequest { prefix: b"", delimiter: b"", key_marker: b"", version_marker: None, max_keys: 1000 };

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text.as_bytes()).unwrap()
}

/// One version of the model. No body: a delete marker.
#[derive(Clone, PartialEq, Debug)]
struct Modelled {
    version: Version,
    body: Option<String>,
}

/// One entry of a listing: key, version, whether it is a marker, whether it is the latest; prefixes have none of these.
type Listed = (String, Option<(Version, bool, bool)>);

/// The versions of each key, oldest first.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, Vec<Modelled>>,
    versioning: Versioning,
}

impl Model {
    fn of(&mut self, key: &str) -> &mut Vec<Modelled> {
        self.keys.entry(key.to_owned()).or_default()
    }

    fn write(&mut self, key: &str, version: Version, body: Option<String>) {
        let versions = self.of(key);
        if version == Version::Null {
            versions.retain(|it| it.version != Version::Null);
        }
        versions.push(Modelled { version, body });
    }

    /// What ListObjectVersions says.
    fn list(&self, prefix: &str, delimiter: &str) -> Vec<Listed> {
        let mut entries = Vec::new();
        for (key, versions) in &self.keys {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            if let Some(at) = rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                let rolled = key[..prefix.len() + at + delimiter.len()].to_owned();
                if !versions.is_empty() && entries.last() != Some(&(rolled.clone(), None)) {
                    entries.push((rolled, None));
                }
                continue;
            }
            for (index, it) in versions.iter().enumerate().rev() {
                let is_latest = index + 1 == versions.len();
                entries.push((key.clone(), Some((it.version, it.body.is_none(), is_latest))));
            }
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries
    }
}

fn entries_of(page: &VersionPage) -> Vec<Listed> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut entries: Vec<_> = page
        .entries
        .iter()
        .map(|it| {
            let is_marker = matches!(it.content, Content::Marker(_));
            (it.key.as_str().to_owned(), Some((it.version, is_marker, it.is_latest)))
        })
        .chain(page.common_prefixes.iter().map(|prefix| (text(prefix), None)))
        .collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    entries
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Put,
    Delete,
    DeleteNewest,
    DeleteOldest,
    DeleteSecond,
    DeleteNull,
    DeleteUnknown,
    Toggle,
    /// Another program replaces the object's file.
    Foreign,
}

const STEPS: [Step; 9] = [
    Step::Put,
    Step::Delete,
    Step::DeleteNewest,
    Step::DeleteOldest,
    Step::DeleteSecond,
    Step::DeleteNull,
    Step::DeleteUnknown,
    Step::Toggle,
    Step::Foreign,
];

fn run(fixture: &Fixture, model: &mut Model, name: &str, step: Step, number: usize) {
    let body = format!("body {number} of {name}");
    match step {
        Step::Put => {
            let version = fixture.put(name, &body);
            assert_eq!(version != Version::Null, model.versioning == Versioning::Enabled);
            model.write(name, version, Some(body));
        }
        Step::Delete => match (fixture.delete(name, None), model.versioning) {
            (Deleted::Marked { version, .. }, Versioning::Enabled | Versioning::Suspended) => {
                assert_eq!(version != Version::Null, model.versioning == Versioning::Enabled);
                model.write(name, version, None);
            }
            (Deleted::Removed { version: Version::Null, was_marker: false, .. }, Versioning::Unversioned) => {
                assert!(model.of(name).pop().is_some());
            }
            (Deleted::Nothing, Versioning::Unversioned) => assert!(model.of(name).is_empty()),
            _ => panic!("{step:?} does not do this"),
        },
        Step::Toggle => {
            model.versioning = match model.versioning {
                Versioning::Enabled => Versioning::Suspended,
                _ => Versioning::Enabled,
            };
            fixture.set(model.versioning);
        }
        Step::Foreign => {
            let path = fixture.natural(std::str::from_utf8(layout::path(&key(name)).as_bytes()).unwrap());
            if path.parent().unwrap().is_dir() && !path.is_dir() {
                let aside = fixture.directory.path().join("aside");
                std::fs::write(&aside, &body).unwrap();
                std::fs::rename(&aside, &path).unwrap();
                if model.of(name).last().is_some_and(|it| it.body.is_some()) {
                    model.of(name).pop();
                }
                model.write(name, Version::Null, Some(body));
            }
        }
        _ => {
            let versions = model.of(name);
            let index = match step {
                Step::DeleteNewest => versions.len().checked_sub(1),
                Step::DeleteOldest => (!versions.is_empty()).then_some(0),
                Step::DeleteSecond => versions.len().checked_sub(2),
                Step::DeleteNull => versions.iter().position(|it| it.version == Version::Null),
                _ => None,
            };
            let version = match (step, index) {
                (_, Some(index)) => versions[index].version,
                (Step::DeleteNull, None) => Version::Null,
                _ => Version::Named([number as u8; 16]),
            };
            match (fixture.delete(name, Some(version)), index) {
                (Deleted::Removed { version: removed, was_marker, .. }, Some(index)) => {
                    let gone = versions.remove(index);
                    assert_eq!((removed, was_marker), (gone.version, gone.body.is_none()));
                }
                (Deleted::Nothing, None) => {}
                _ => panic!("{step:?} does not do this"),
            }
            assert_eq!(fixture.read(name, Some(version)), Err(None));
        }
    }
}

fn compare(fixture: &Fixture, model: &Model) {
    assert_eq!(entries_of(&fixture.page(&ALL)), model.list("", ""));
    for (name, versions) in &model.keys {
        let latest = match versions.last() {
            None => Err(None),
            Some(Modelled { version, body: Some(body) }) => Ok((*version, body.clone())),
            Some(Modelled { version, body: None }) => match model.versioning {
                Versioning::Unversioned => Err(None),
                _ => Err(Some(*version)),
            },
        };
        assert_eq!(fixture.read(name, None), latest, "{name}");
        for Modelled { version, body } in versions {
            let expected = body.clone().map(|body| (*version, body)).ok_or(Some(*version));
            assert_eq!(fixture.read(name, Some(*version)), expected, "{name} {version}");
        }
    }
}

fn end(fixture: &Fixture, model: &mut Model) {
    for (name, versions) in &mut model.keys {
        for it in versions.drain(..) {
            assert!(matches!(fixture.delete(name, Some(it.version)), Deleted::Removed { .. }));
        }
    }
    compare(fixture, model);
    fixture.assert_gone();
}

#[test]
fn every_short_sequence_is_as_the_model_has_it() {
    let mut sequences = vec![vec![], vec![Step::Put, Step::Put, Step::Delete]];
    for _ in 0..3 {
        sequences = sequences
            .into_iter()
            .flat_map(|start: Vec<Step>| STEPS.map(|step| [&start[..], &[step]].concat()))
            .collect();
    }
    // One bucket for all: the key is empty again after each sequence.
    let (fixture, name) = (Fixture::new(Versioning::Unversioned), "k");
    for steps in &sequences {
        for versioning in [Versioning::Unversioned, Versioning::Enabled] {
            fixture.set(versioning);
            let mut model = Model { versioning, ..Model::default() };
            for (index, step) in steps.iter().enumerate() {
                run(&fixture, &mut model, name, *step, index);
            }
            compare(&fixture, &model);
            for it in std::mem::take(model.of(name)) {
                assert!(matches!(fixture.delete(name, Some(it.version)), Deleted::Removed { .. }));
            }
            let left = fixture.page(&ALL);
            assert!(left.entries.is_empty(), "{steps:?} leaves {left:?}");
            assert!(!fixture.history(name).parent().unwrap().exists(), "{steps:?}");
        }
    }
}

const KEYS: [&str; 8] = ["a", "a/b", "a/b/c", "dir/", "dir//x", "é/../z", "a-b", "long"];

fn full_key(name: &str) -> String {
    if name == "long" { format!("long/{}", "y".repeat(300)) } else { name.to_owned() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sequences_on_related_keys_are_as_the_model_has_them(
        start in 0..3usize,
        steps in prop::collection::vec((0..KEYS.len(), 0..STEPS.len() + 4), 1..40),
        page_keys in 1..5usize,
    ) {
        let versioning = [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended][start];
        let fixture = Fixture::new(versioning);
        let mut model = Model { versioning, ..Model::default() };
        for (number, (name, step)) in steps.into_iter().enumerate() {
            // Puts are more frequent than the rest. What other programs do to files in directories' places is not here.
            let step = STEPS.get(step).copied().filter(|step| *step != Step::Foreign).unwrap_or(Step::Put);
            run(&fixture, &mut model, &full_key(KEYS[name]), step, number);
        }
        compare(&fixture, &model);
        for (prefix, delimiter) in [("", ""), ("", "/"), ("a", "/"), ("a/", "/"), ("dir/", ""), ("", "b")] {
            let (mut found, mut marker) = (Vec::new(), (Vec::new(), None));
            loop {
                let request = VersionRequest {
                    prefix: prefix.as_bytes(),
                    delimiter: delimiter.as_bytes(),
                    key_marker: &marker.0,
                    version_marker: marker.1,
                    max_keys: page_keys,
                };
                let page = fixture.page(&request);
                let entries = entries_of(&page);
                prop_assert!(entries.len() <= page_keys);
                prop_assert!(entries.len() == page_keys || page.next.is_none());
                found.extend(entries);
                let Some(next) = page.next else { break };
                marker = next;
            }
            prop_assert_eq!(&found, &model.list(prefix, delimiter), "{} {}", prefix, delimiter);
        }
        end(&fixture, &mut model);
    }
}

#[test]
fn files_are_where_they_are_said_to_be() {
    let fixture = Fixture::new(Versioning::Enabled);
    let (old, new) = (fixture.put("a/b", "old"), fixture.put("a/b", "new"));
    assert!(new.to_string() < old.to_string(), "newer ids sort first");
    assert_eq!(std::fs::read_to_string(fixture.natural("a/b")).unwrap(), "new");
    let kept = fixture.history("a/b").join(old.to_string());
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "old");
    assert!(fixture.history("a/b").parent().unwrap().join(".sgate~@").is_file());
    assert_eq!(kept.metadata().unwrap().nlink(), 1);
    let Deleted::Marked { version, .. } = fixture.delete("a/b", None) else { panic!("a marker is made") };
    assert!(!fixture.natural("a").exists(), "empty directories go");
    assert!(fixture.history("a/b").join(format!("{version}.marker")).is_file());
    fixture.delete("a/b", Some(version));
    assert_eq!(std::fs::read_to_string(fixture.natural("a/b")).unwrap(), "new");
    assert_eq!(std::fs::metadata(fixture.natural("a/b")).unwrap().uid(), process_owner().uid);
}

#[test]
fn a_crash_between_two_steps_shows_nothing_and_loses_nothing() {
    let fixture = Fixture::new(Versioning::Enabled);
    let first = fixture.put("k", "first");
    let second = fixture.put("k", "second");
    // A PUT that got no further than the link.
    std::fs::hard_link(fixture.natural("k"), fixture.history("k").join(second.to_string())).unwrap();
    assert_eq!(fixture.page(&ALL).entries.len(), 2);
    let third = fixture.put("k", "third");
    let versions: Vec<_> = fixture.page(&ALL).entries.iter().map(|it| it.version).collect();
    assert_eq!(versions, [third, second, first]);
    // The same, and then that version is deleted.
    std::fs::hard_link(fixture.natural("k"), fixture.history("k").join(third.to_string())).unwrap();
    assert!(matches!(fixture.delete("k", Some(third)), Deleted::Removed { .. }));
    assert_eq!(fixture.read("k", None), Ok((second, "second".to_owned())));
    assert_eq!(fixture.read("k", Some(third)), Err(None));
    // A deletion without an id that got no further than the marker.
    let phantom = Kept::marker(Version::Named(Version::new_id(fixture.root.tick()).unwrap()), 0);
    std::fs::write(fixture.history("k").join(std::str::from_utf8(phantom.name()).unwrap()), "").unwrap();
    assert_eq!(fixture.read("k", None), Ok((second, "second".to_owned())));
    // Null entries behind another.
    fixture.set(Versioning::Suspended);
    fixture.put("k", "null");
    for nanos in [1, 2] {
        let kept = Kept::data(Version::Null, nanos);
        std::fs::write(fixture.history("k").join(std::str::from_utf8(kept.name()).unwrap()), "stale")
            .unwrap();
    }
    let nulls = |fixture: &Fixture| {
        fixture.page(&ALL).entries.iter().filter(|it| it.version == Version::Null).count()
    };
    assert_eq!((nulls(&fixture), fixture.read("k", Some(Version::Null)).unwrap().1), (1, "null".to_owned()));
    fixture.set(Versioning::Enabled);
    fixture.put("k", "fourth");
    assert_eq!((nulls(&fixture), fixture.read("k", Some(Version::Null)).unwrap().1), (1, "null".to_owned()));
    fixture.delete("k", Some(Version::Null));
    assert_eq!((nulls(&fixture), fixture.read("k", Some(Version::Null))), (0, Err(None)));
}

#[test]
fn what_other_programs_do_breaks_nothing() {
    let fixture = Fixture::new(Versioning::Enabled);
    let first = fixture.put("k", "first");
    fixture.put("k", "second");
    // They remove the current file: there is none, and no marker either.
    std::fs::remove_file(fixture.natural("k")).unwrap();
    assert_eq!(fixture.read("k", None), Err(None));
    assert!(!fixture.page(&ALL).entries[0].is_latest);
    // They put one there, with a time of long ago: it is the null version, and stays between its neighbours.
    std::fs::write(fixture.natural("k"), "foreign").unwrap();
    let file = std::fs::File::options().write(true).open(fixture.natural("k")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let third = fixture.put("k", "third");
    let versions: Vec<_> = fixture.page(&ALL).entries.iter().map(|it| it.version).collect();
    assert_eq!(versions, [third, Version::Null, first]);
    fixture.delete("k", Some(third));
    assert_eq!(fixture.read("k", None), Ok((Version::Null, "foreign".to_owned())));
    // They copy a version with its record over the current file: the one in the history is not lost to it.
    let kept = fixture.history("k").join(first.to_string());
    fixture.put("k", "fourth");
    std::fs::remove_file(fixture.natural("k")).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(&kept).arg(fixture.natural("k")).status();
    assert!(copied.unwrap().success());
    let fifth = fixture.put("k", "fifth");
    let bodies: Vec<_> =
        fixture.page(&ALL).entries.iter().map(|it| fixture.read("k", Some(it.version)).unwrap().1).collect();
    assert_eq!(bodies, ["fifth", "first", "foreign", "first"]);
    assert_eq!(fixture.read("k", Some(fifth)).unwrap().1, "fifth");
}

#[test]
fn a_locked_null_version_is_not_pushed_out_by_another() {
    let fixture = Fixture::new(Versioning::Suspended);
    let mut record = Record::new(0, Timestamp::from_seconds(0), ETag::Md5([7; 16]));
    record.retention = Some(Retention { mode: RetentionMode::Compliance, until_seconds: i64::MAX });
    fixture.put_record("k", "locked", record);
    fixture.set(Versioning::Enabled);
    fixture.put("k", "named");
    std::fs::write(fixture.natural("k"), "foreign").unwrap();
    fixture.put("k", "last");
    assert_eq!(fixture.read("k", Some(Version::Null)).unwrap().1, "locked");
    let bodies: Vec<_> =
        fixture.page(&ALL).entries.iter().map(|it| fixture.read("k", Some(it.version)).unwrap().1).collect();
    assert_eq!(bodies, ["last", "foreign", "locked"]);
}

#[test]
fn ids_grow_although_the_clock_does_not() {
    let fixture = Fixture::new(Versioning::Enabled);
    // What another gateway, whose clock is ahead, wrote.
    let ahead = fixture.root.tick() + 3_600_000_000_000;
    let mut record = Record::new(0, Timestamp::from_seconds(0), ETag::Md5([7; 16]));
    record.tags = crate::storage::record::Tags::from_pairs([("k", "v")]).unwrap();
    let first = fixture.put_record("k", "first", record.clone());
    let amended = object::amend::<Never>(&fixture.root, &fixture.bucket, &key("k"), None, &|found| {
        let mut record = found.unwrap().record.clone().unwrap();
        record.version = Some(Version::new_id(ahead).unwrap());
        Ok(record)
    });
    assert!(amended.unwrap().is_ok());
    let Ok((current, _)) = fixture.read("k", None) else { panic!("the object is there") };
    assert_ne!(current, first);
    let second = fixture.put_record("k", "second", record);
    assert!(second.to_string() < current.to_string());
    let Ok(object) = find(&fixture.root, &fixture.bucket, &key("k"), None).unwrap() else {
        panic!("is there")
    };
    assert_eq!((object.version, object.record.unwrap().tags.count()), (second, 1));
    let Deleted::Marked { version, .. } = fixture.delete("k", None) else { panic!("a marker is made") };
    assert!(version.to_string() < second.to_string());
    assert_eq!(fixture.read("k", None), Err(Some(version)));
}

#[test]
fn conditions_are_decided_on_what_is_deleted() {
    let fixture = Fixture::new(Versioning::Enabled);
    let owner = process_owner();
    let run = |version, decide: Decide<'_, &'static str>| {
        delete(&fixture.root, &fixture.bucket, &key("k"), version, owner, Some(decide)).unwrap()
    };
    let refuse: Decide<'_, &'static str> = &|_| Err("no");
    assert!(matches!(run(None, &|found| Ok(found.is_ok())), Ok(Deleted::Nothing)));
    let first = fixture.put("k", "first");
    let second = fixture.put("k", "second");
    for version in [None, Some(first), Some(second)] {
        assert!(matches!(run(version, refuse), Err("no")));
    }
    let body = |expected: Version| {
        move |found: Result<&Object, &Absence>| {
            assert_eq!(found.unwrap().version, expected);
            Ok(true)
        }
    };
    assert!(matches!(run(None, &body(second)), Ok(Deleted::Marked { .. })));
    assert!(matches!(
        run(None, &|found| Ok(!matches!(found, Err(Absence::Marker(_))))),
        Ok(Deleted::Nothing)
    ));
    assert!(matches!(run(Some(first), &body(first)), Ok(Deleted::Removed { .. })));
    assert!(matches!(run(Some(first), refuse), Err("no")));
    assert_eq!(fixture.page(&ALL).entries.len(), 2);
}

#[test]
fn a_bucket_with_versions_is_not_empty() {
    let fixture = Fixture::new(Versioning::Enabled);
    fixture.put("deep/er/k", "body");
    let Deleted::Marked { version: marker, .. } = fixture.delete("deep/er/k", None) else {
        panic!("a marker")
    };
    let gone = |fixture: &Fixture| {
        matches!(bucket::delete(&fixture.root, &fixture.bucket.name).unwrap(), bucket::Deleted::Gone(_))
    };
    assert!(!gone(&fixture));
    for entry in fixture.page(&ALL).entries {
        fixture.delete("deep/er/k", Some(entry.version));
    }
    assert_eq!(fixture.read("deep/er/k", Some(marker)), Err(None));
    // What a crash left: a key that is said to have versions, and has none.
    std::fs::create_dir_all(fixture.history("x/y")).unwrap();
    std::fs::write(fixture.history("x/y").parent().unwrap().join(".sgate~@"), "").unwrap();
    assert!(fixture.page(&ALL).entries.is_empty());
    assert!(gone(&fixture));
    // The versions of a bucket whose directory another program removed are nothing of the next one's.
    let name = fixture.bucket.name;
    let fixture = Fixture { bucket: remake(&fixture.root, &name), ..fixture };
    fixture.put("k", "body");
    fixture.put("k", "body");
    std::fs::remove_dir_all(fixture.natural("")).unwrap();
    let fixture = Fixture { bucket: remake(&fixture.root, &name), ..fixture };
    assert!(fixture.page(&ALL).entries.is_empty());
}

fn remake(root: &Root, name: &BucketName) -> Bucket {
    assert!(matches!(bucket::create(root, name, "me", process_owner()).unwrap(), Created::Made(_)));
    root.bucket(name).unwrap().unwrap()
}
