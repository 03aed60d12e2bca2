//! The versions of a key, one after the other as a listing shows them: newest first. What each of them is to the rules
//! depends on those before it.
//!
//! # Since when a version is noncurrent
//! Since the one before it was made. The id of that one says when; but the times of a null version can be anything, since
//! another program may have written it. Then the version is taken to be noncurrent since its own file was last changed in
//! any way, which the move out of the way of its successor did: too late rather than too early.

use crate::codec::dates::Timestamp;
use crate::storage::ObjectKey;
use crate::storage::list::Entry;
use crate::storage::versions::{Content, Version, VersionEntry};

/// Where a walk through versions stands.
#[derive(Default)]
pub(super) struct Walk {
    key: Option<ObjectKey>,
    /// When the version before was made, as far as that is known.
    before: Option<Since>,
    /// Noncurrent versions of the key so far, delete markers left out.
    newer_versions: u32,
    /// The only entry of the key so far, if it is a delete marker.
    lone: Option<Lone>,
}

/// A point in time that may have to be looked at again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Since {
    pub(super) time: Timestamp,
    pub(super) is_exact: bool,
}

/// What an entry is.
pub(super) enum Place<'e> {
    /// The current version.
    Current(&'e Entry),
    /// The latest one, but a delete marker.
    Marker,
    /// A version or delete marker before those.
    Noncurrent(Noncurrent),
}

/// What the rules ask about a noncurrent version besides itself.
pub(super) struct Noncurrent {
    before: Option<Since>,
    /// How many noncurrent versions of its key are newer.
    pub(super) newer_versions: u32,
}

/// A delete marker without versions behind it.
#[derive(Clone)]
pub(super) struct Lone {
    pub(super) key: ObjectKey,
    pub(super) version: Version,
    pub(super) modified: Timestamp,
}

impl Walk {
    /// Takes the next entry. What it is, and the delete marker before it if that turns out to be alone.
    pub(super) fn enter<'e>(&mut self, entry: &'e VersionEntry) -> (Place<'e>, Option<Lone>) {
        let lone = match &self.key {
            Some(key) if *key == entry.key => {
                self.lone = None;
                None
            }
            _ => {
                let before = std::mem::take(self);
                self.key = Some(entry.key.clone());
                before.lone
            }
        };
        let place = match &entry.content {
            Content::Object(object) if entry.is_latest => Place::Current(object),
            Content::Marker(marker) if entry.is_latest => {
                let (key, version) = (entry.key.clone(), entry.version);
                self.lone = Some(Lone { key, version, modified: marker.modified });
                Place::Marker
            }
            Content::Object(_) => {
                let place = Noncurrent { before: self.before, newer_versions: self.newer_versions };
                self.newer_versions += 1;
                Place::Noncurrent(place)
            }
            Content::Marker(_) => {
                Place::Noncurrent(Noncurrent { before: self.before, newer_versions: self.newer_versions })
            }
        };
        self.before = Some(made(entry));
        (place, lone)
    }

    /// The last delete marker, if it is alone.
    pub(super) fn end(&mut self) -> Option<Lone> {
        self.lone.take()
    }
}

impl Noncurrent {
    /// Since when the version is noncurrent that was made then; of the null one, what was last modified then. It was not
    /// before it was made.
    pub(super) fn since(&self, version: Version, modified: Timestamp) -> Since {
        let made = version.created().unwrap_or(modified);
        match self.before {
            Some(before) => Since { time: before.time.max(made), ..before },
            None => Since { time: made, is_exact: false },
        }
    }
}

fn made(entry: &VersionEntry) -> Since {
    let modified = match &entry.content {
        Content::Object(object) => object.modified,
        Content::Marker(marker) => marker.modified,
    };
    match entry.version.created() {
        Some(time) => Since { time, is_exact: true },
        None => Since { time: modified, is_exact: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::PosixOwner;
    use crate::storage::record::ETag;
    use crate::storage::versions::Marker;

    const OWNER: PosixOwner = PosixOwner { uid: 1, gid: 1 };

    /// A version made at this second.
    fn named(second: u64) -> Version {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&(u64::MAX - second * 1_000_000_000).to_be_bytes());
        Version::Named(id)
    }

    fn entry(key: &str, version: Version, is_latest: bool, is_marker: bool) -> VersionEntry {
        let key = ObjectKey::parse(key.as_bytes()).unwrap();
        let modified = Timestamp::from_seconds(5);
        let content = if is_marker {
            Content::Marker(Marker { version, modified, owner: OWNER })
        } else {
            Content::Object(Entry {
                key: key.clone(),
                size: 1,
                modified,
                etag: ETag::Md5([0; 16]),
                checksum: None,
                uid: 1,
                gid: 1,
                storage_class: None,
                version,
            })
        };
        VersionEntry { key, version, is_latest, content }
    }

    /// What a walk says of entries: `C` current, `M` marker, `N<newer>@<since>` noncurrent (`~` if it is to be looked at
    /// again), `L` before what shows that the marker before is alone.
    fn walked(entries: &[VersionEntry]) -> String {
        let mut walk = Walk::default();
        let mut text = String::new();
        for entry in entries {
            let (place, lone) = walk.enter(entry);
            text.push_str(if lone.is_some() { "L " } else { "" });
            text.push_str(&match place {
                Place::Current(_) => "C ".to_owned(),
                Place::Marker => "M ".to_owned(),
                Place::Noncurrent(place) => {
                    let since = place.since(entry.version, Timestamp::from_seconds(5));
                    let about = if since.is_exact { "" } else { "~" };
                    format!("N{}@{about}{} ", place.newer_versions, since.time.seconds)
                }
            });
        }
        text.push_str(if walk.end().is_some() { "L" } else { "" });
        text.trim_end().to_owned()
    }

    #[test]
    fn what_each_version_is() {
        let (object, marker) = (false, true);
        let a = |second, latest, kind| entry("a", named(second), latest, kind);
        let b = |second, latest, kind| entry("b", named(second), latest, kind);
        let null = |latest, kind| entry("a", Version::Null, latest, kind);
        let check = |entries: &[VersionEntry], expected: &str| assert_eq!(walked(entries), expected);
        check(&[a(9, true, object)], "C");
        check(&[a(9, true, object), a(8, false, object), a(7, false, object)], "C N0@9 N1@8");
        check(&[a(9, true, marker), a(8, false, object), a(7, false, object)], "M N0@9 N1@8");
        check(&[a(9, true, object), a(8, false, marker), a(7, false, object)], "C N0@9 N0@8");
        check(&[a(9, true, marker)], "M L");
        check(&[a(9, true, marker), b(9, true, object)], "M L C");
        check(&[a(9, true, marker), a(8, false, marker)], "M N0@9");
        check(&[a(9, true, marker), b(8, true, marker), b(7, false, object)], "M L M N0@8");
        // Behind a null version nothing is exact, and nothing was noncurrent before it was made.
        check(&[null(true, object), a(8, false, object), a(7, false, object)], "C N0@~8 N1@8");
        check(&[null(true, marker), a(3, false, object)], "M N0@~5");
        // A null version behind others.
        check(&[a(9, true, object), null(false, object), a(2, false, object)], "C N0@9 N1@~5");
        // Another program removed the current one.
        check(&[a(8, false, object), a(7, false, object)], "N0@~8 N1@8");
    }
}
