//! The identity of a version, and the names of files that keep noncurrent ones.

use std::fmt;

use super::super::error::{At, Result, Subject};
use crate::codec::dates::Timestamp;
use crate::codec::hex;
use rustix::io::Errno;

/// Which version of a key: the text a client knows it by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// `null`: written while the bucket kept no versions, or by another program.
    Null,
    /// Made while the bucket kept versions: the time of its creation in nanoseconds, subtracted from the greatest number,
    /// so that newer ones sort first (8 bytes, big-endian), and 8 random bytes. As text 32 hexadecimal digits.
    Named([u8; 16]),
}

impl Version {
    /// Takes an id as a client sends it. `None`: no version can have it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Version> {
        if text == "null" {
            return Some(Version::Null);
        }
        Self::parse_hex(text.as_bytes()).map(Version::Named)
    }

    /// An id of that time that no other version has.
    pub(in crate::storage) fn new_id(nanos: u64) -> Result<[u8; 16]> {
        let mut id = [0; 16];
        getrandom::fill(&mut id[8..]).map_err(|_| Errno::IO).at(Subject::Object, "draw a random id")?;
        id[..8].copy_from_slice(&(u64::MAX - nanos).to_be_bytes());
        Ok(id)
    }

    /// The version of an object whose record says this.
    pub(in crate::storage) fn of_record(version: Option<[u8; 16]>) -> Version {
        version.map_or(Version::Null, Version::Named)
    }

    /// When it was made; `None` of the null version, whose times can be anything.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        let Version::Named(id) = self else { return None };
        let nanos = nanos_of(id);
        let seconds = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
        Some(Timestamp { seconds, nanos: (nanos % 1_000_000_000) as u32 })
    }

    fn parse_hex(text: &[u8]) -> Option<[u8; 16]> {
        let mut id = [0; 16];
        let lower = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 32 && lower && hex::decode(text, &mut id)).then_some(id)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Null => formatter.write_str("null"),
            Version::Named(id) => {
                formatter.write_str(std::str::from_utf8(&hex::encode16(id)).unwrap_or_default())
            }
        }
    }
}

/// The time in a version's id, in nanoseconds since 1970.
pub(in crate::storage) fn nanos_of(id: &[u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    u64::MAX - u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// One noncurrent version, as the name of its file says it:
///
/// | name | what it is |
/// |---|---|
/// | `<id>` | data |
/// | `<id>.marker` | a delete marker: an empty file |
/// | `<first 8 bytes of an id>-null`, `….marker` | the same of the null version, at the place where it came between the others |
///
/// Names sort as the versions do: newest first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::storage) struct Kept {
    name: Vec<u8>,
}

impl Kept {
    /// Data of a version; the null one came between the others at `nanos`.
    pub(super) fn data(version: Version, nanos: u64) -> Kept {
        let mut name = Vec::with_capacity(NAME_BYTES);
        match version {
            Version::Named(id) => name.extend_from_slice(&hex::encode16(&id)),
            Version::Null => {
                hex::encode_into(&(u64::MAX - nanos).to_be_bytes(), &mut name);
                name.extend_from_slice(NULL_SUFFIX);
            }
        }
        Kept { name }
    }

    /// As [`Kept::data`], for a delete marker.
    pub(super) fn marker(version: Version, nanos: u64) -> Kept {
        let mut kept = Self::data(version, nanos);
        kept.name.extend_from_slice(MARKER_SUFFIX);
        kept
    }

    /// `None`: the name is no version's.
    pub(super) fn parse(name: &[u8]) -> Option<Kept> {
        let stem = name.strip_suffix(MARKER_SUFFIX).unwrap_or(name);
        let known = match stem.strip_suffix(NULL_SUFFIX) {
            Some(place) => {
                place.len() == 16 && place.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            }
            None => Version::parse_hex(stem).is_some(),
        };
        known.then(|| Kept { name: name.to_vec() })
    }

    /// The name of its file.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether it is a delete marker.
    pub(super) fn is_marker(&self) -> bool {
        self.name.ends_with(MARKER_SUFFIX)
    }

    /// Which version it is.
    pub(super) fn version(&self) -> Version {
        let stem = self.name.strip_suffix(MARKER_SUFFIX).unwrap_or(&self.name);
        Version::of_record(Version::parse_hex(stem))
    }

    /// The time it sorts by, in nanoseconds since 1970.
    pub(super) fn nanos(&self) -> u64 {
        let digits = self.name.get(..16).and_then(|digits| std::str::from_utf8(digits).ok());
        let inverted = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        u64::MAX - inverted.unwrap_or(u64::MAX)
    }
}

const NULL_SUFFIX: &[u8] = b"-null";
const MARKER_SUFFIX: &[u8] = b".marker";
const NAME_BYTES: usize = 32 + MARKER_SUFFIX.len();

/// Reads `data` as a version id and as the name of a file. What is taken is written again as it was.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Some(version) = std::str::from_utf8(data).ok().and_then(Version::parse) {
        assert_eq!(version.to_string().as_bytes(), data);
        assert!(version.created().is_none_or(|created| created.nanos < 1_000_000_000));
    }
    if let Some(kept) = Kept::parse(data) {
        let of = if kept.is_marker() { Kept::marker } else { Kept::data };
        assert_eq!(of(kept.version(), kept.nanos()), kept);
        assert_eq!(kept.name(), data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id = Version::new_id(5).unwrap();
        let version = Version::Named(id);
        assert_eq!(Version::parse(&version.to_string()), Some(version));
        assert_eq!(
            (Version::parse("null"), Version::Null.to_string()),
            (Some(Version::Null), "null".to_owned())
        );
        assert_eq!((nanos_of(&id), nanos_of(&Version::new_id(u64::MAX).unwrap())), (5, u64::MAX));
        for wrong in ["", "Null", "0", &"0".repeat(31), &"0".repeat(33), &"G".repeat(32), &"A".repeat(32)] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
        assert!(Version::new_id(6).unwrap() < id, "newer ones sort first");
    }

    #[test]
    fn names() {
        let id = Version::new_id(1_000).unwrap();
        let all = [
            Kept::data(Version::Named(Version::new_id(1_002).unwrap()), 0),
            Kept::marker(Version::Null, 1_001),
            Kept::data(Version::Null, 1_000),
            Kept::data(Version::Named(id), 0),
            Kept::marker(Version::Named(Version::new_id(999).unwrap()), 0),
        ];
        assert!(all.is_sorted());
        for kept in &all {
            assert_eq!(Kept::parse(kept.name()).as_ref(), Some(kept));
        }
        assert_eq!(all.each_ref().map(Kept::nanos), [1_002, 1_001, 1_000, 1_000, 999]);
        assert_eq!(all.each_ref().map(Kept::is_marker), [false, true, false, false, true]);
        assert_eq!((all[1].version(), all[3].version()), (Version::Null, Version::Named(id)));
        for wrong in
            [&b""[..], b".", b"null", b"x-null", b"0123456789abcdef-nulL", b"0123.marker", b".marker"]
        {
            assert_eq!(Kept::parse(wrong), None, "{wrong:?}");
        }
    }
}
