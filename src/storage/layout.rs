//! Where a key lives: bucket names, object keys, and the one mapping between a key and a path.
//!
//! This module turns bytes into names and back. It opens nothing and knows nothing of records or buckets' contents.
//!
//! # The mapping
//! A key is split at every `/`; each part is a *component*. A component is stored under its own bytes, unless it
//! - is empty, `.` or `..`,
//! - is longer than 255 bytes,
//! - contains a NUL byte, or
//! - starts with [`RESERVED_PREFIX`].
//!
//! Such a component is *escaped*: NUL is quoted as `%00` and `%` as `%25`; the quoted bytes are cut from the left into
//! the longest pieces of at most [`PIECE_BYTES_MAX`] bytes that split neither a `%XX` nor a UTF-8 character; every piece
//! but the last becomes a directory `.sgate~+<piece>`, the last one is `.sgate~=<piece>`. So
//!
//! | key | path in the bucket's directory |
//! |---|---|
//! | `photos/2024/a.jpg` | `photos/2024/a.jpg` |
//! | `dir/` | `dir/.sgate~=` |
//! | `a//b` | `a/.sgate~=/b` |
//! | `../x` | `.sgate~=../x` |
//! | 300 × `x` | `.sgate~+` 240 × `x` `/.sgate~=` 60 × `x` |
//! | `a`, while the directory `a` exists | `a/.sgate~@` ([`SELF_NAME`]) |
//!
//! # Invariants
//! - The mapping is injective, and a path is an object's only if it is exactly what its key maps to: every other name
//!   under the reserved prefix (temporaries, for instance) is no object.
//! - So two keys are never one file, provided that the file system tells names apart by their bytes: one that folds case
//!   (a directory of ext4 with the attribute F) does not.
//! - No path is absolute, and none contains an empty, `.` or `..` component, or a name over 255 bytes.
//!
//! Specifications: "Bucket naming rules" and "Creating object key names" of the Amazon S3 user guide.

mod names;

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;

use smallvec::SmallVec;

pub use self::names::{BUCKET_NAME_BYTES_MAX, BucketName, BucketNameError, ObjectKey, ObjectKeyError};

/// Every name the server makes for its own purposes inside a bucket starts with these bytes.
pub const RESERVED_PREFIX: &[u8] = b".sgate~";

/// The object whose key is the directory's own path, inside that directory.
pub const SELF_NAME: &[u8] = b".sgate~@";

/// The directory of a key's noncurrent versions, in a tree beside the buckets ([`versions`](super::versions)). No part of
/// a key, so that no bucket can hold one for S3.
pub const HISTORY_NAME: &[u8] = b".sgate~v";

/// Prefix of names being prepared next to their target, such as a link about to be renamed. Never an object.
pub const TEMPORARY_PREFIX: &[u8] = b".sgate~!";

/// The server's own directory, at the root of the data directory. It is not a legal bucket name.
pub const SYSTEM_DIR: &str = ".sluicegate";

/// Longest name of one directory entry on Linux (NAME_MAX), in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest piece of an escaped component, in quoted bytes. With its marker a name stays 7 bytes below the limit.
pub const PIECE_BYTES_MAX: usize = 240;

/// Longest path one system call takes (PATH_MAX less the terminating NUL), in bytes.
pub const HOP_BYTES_MAX: usize = 4095;

const PIECE_PREFIX: &[u8] = b".sgate~+";
const LAST_PREFIX: &[u8] = b".sgate~=";

const _: () = assert!(PIECE_PREFIX.len() + PIECE_BYTES_MAX <= NAME_BYTES_MAX);

/// The path of one object, relative to its bucket's directory.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPath {
    // With a terminating NUL, so that a system call takes it without a copy.
    bytes: SmallVec<[u8; 256]>,
}

/// Maps a key to its path, on the assumption that no directory has that path (see [`KeyPath::in_directory`]).
pub fn path(key: &ObjectKey) -> KeyPath {
    let mut bytes = SmallVec::new();
    for (index, component) in key.as_bytes().split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            bytes.push(b'/');
        }
        push_component(component, &mut bytes);
    }
    bytes.push(0);
    KeyPath { bytes }
}

impl KeyPath {
    /// The path, without the terminating NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - 1]
    }

    /// The path for a system call. Longer than [`HOP_BYTES_MAX`] only for odd keys; see [`hops`](Self::hops).
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes).expect("NUL is escaped in a path")
    }

    /// The final name, inside [`parent`](Self::parent).
    pub fn name(&self) -> &[u8] {
        &self.as_bytes()[self.name_start()..]
    }

    /// The final name for a system call.
    pub fn name_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes[self.name_start()..]).expect("NUL is escaped in a path")
    }

    /// The directory of the object. `None`: the bucket's own.
    pub fn parent(&self) -> Option<&[u8]> {
        self.name_start().checked_sub(1).map(|end| &self.as_bytes()[..end])
    }

    /// Every directory on the way, outermost first: `a`, then `a/b`, for `a/b/c`.
    pub fn parents(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        let bytes = self.as_bytes();
        memchr::memchr_iter(b'/', bytes).map(move |end| &bytes[..end])
    }

    /// The path of the same key once a directory stands at this path.
    pub fn in_directory(&self) -> Self {
        let mut bytes = SmallVec::with_capacity(self.bytes.len() + 1 + SELF_NAME.len());
        bytes.extend_from_slice(self.as_bytes());
        bytes.push(b'/');
        bytes.extend_from_slice(SELF_NAME);
        bytes.push(0);
        Self { bytes }
    }

    /// Whether it is such a path.
    pub fn is_in_directory(&self) -> bool {
        self.name() == SELF_NAME
    }

    /// The path in sections that one system call takes each: all but the last are directories, to be opened one inside
    /// the other. A key of 1024 slashes maps to 9 KiB of path, so that without this not every key could be stored.
    pub fn hops(&self) -> impl Iterator<Item = &[u8]> {
        hops(self.as_bytes())
    }

    fn name_start(&self) -> usize {
        memchr::memrchr(b'/', self.as_bytes()).map_or(0, |slash| slash + 1)
    }
}

impl fmt::Debug for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), formatter)
    }
}

/// As [`KeyPath::hops`], for any relative path: its components must be non-empty and at most 255 bytes long.
pub fn hops(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = match rest.get(..HOP_BYTES_MAX + 1) {
            None => rest.len(),
            Some(window) => memchr::memrchr(b'/', window)?,
        };
        let hop = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(hop)
    })
}

/// Maps a path back to the key of the object stored there. `None`: no object has this path.
pub fn key(path_bytes: &[u8]) -> Option<ObjectKey> {
    let mut key_bytes = Vec::with_capacity(path_bytes.len());
    let mut in_directory = false;
    let mut component_open = false;
    for (index, name) in path_bytes.split(|byte| *byte == b'/').enumerate() {
        let entry = EntryName::decode(name);
        if in_directory {
            return None;
        }
        if index > 0 && !component_open && entry != EntryName::Own {
            key_bytes.push(b'/');
        }
        component_open = false;
        match entry {
            EntryName::Plain(bytes) => key_bytes.extend_from_slice(bytes),
            EntryName::Last(bytes) => key_bytes.extend_from_slice(&bytes),
            EntryName::Piece(bytes) => {
                key_bytes.extend_from_slice(&bytes);
                component_open = true;
            }
            EntryName::Own => in_directory = true,
            EntryName::Other => return None,
        }
    }
    let key = ObjectKey::parse(&key_bytes).ok()?;
    // What precedes only undoes the encoding. That nothing but the encoding of this key is taken is decided here.
    let mut canonical = path(&key);
    if in_directory {
        canonical = canonical.in_directory();
    }
    (canonical.as_bytes() == path_bytes).then_some(key)
}

/// What the name of a directory entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryName<'a> {
    /// A component under its own bytes.
    Plain(&'a [u8]),
    /// The last (or only) piece of an escaped component, unquoted. [`is_cut`] decides whether it is in its place.
    Last(Cow<'a, [u8]>),
    /// A piece with more to come: a directory, in which the component goes on.
    Piece(Cow<'a, [u8]>),
    /// [`SELF_NAME`]: the object whose key is the directory's.
    Own,
    /// No part of a key: `.`, `..`, not UTF-8, a temporary, or malformed.
    Other,
}

impl<'a> EntryName<'a> {
    /// Takes the name of one directory entry apart.
    pub fn decode(name: &'a [u8]) -> Self {
        if std::str::from_utf8(name).is_err() {
            return Self::Other;
        }
        if !name.starts_with(RESERVED_PREFIX) {
            return if is_escaped(name) { Self::Other } else { Self::Plain(name) };
        }
        if name == SELF_NAME {
            return Self::Own;
        }
        let (last, quoted) = match (name.strip_prefix(LAST_PREFIX), name.strip_prefix(PIECE_PREFIX)) {
            (Some(quoted), _) => (true, quoted),
            (_, Some(quoted)) => (false, quoted),
            _ => return Self::Other,
        };
        match unquote(quoted) {
            Some(bytes) if quoted.len() <= PIECE_BYTES_MAX && last => Self::Last(bytes),
            Some(bytes) if quoted.len() <= PIECE_BYTES_MAX && !bytes.is_empty() => Self::Piece(bytes),
            _ => Self::Other,
        }
    }
}

/// Whether a component that came in pieces (unquoted, all but the last ending where `cuts` says) is cut as
/// [`path`] cuts it, and has to be cut at all.
pub fn is_cut(component: &[u8], cuts: &[usize]) -> bool {
    is_escaped(component) && piece_ends(component).eq(cuts.iter().copied().chain([component.len()]))
}

/// Whether a component is not stored under its own bytes.
pub fn is_escaped(component: &[u8]) -> bool {
    matches!(component, b"" | b"." | b"..")
        || component.len() > NAME_BYTES_MAX
        || component.starts_with(RESERVED_PREFIX)
        || memchr::memchr(0, component).is_some()
}

/// Appends the names, joined by `/`, under which a component of a key is stored.
pub fn push_component<A: smallvec::Array<Item = u8>>(component: &[u8], out: &mut SmallVec<A>) {
    if !is_escaped(component) {
        out.extend_from_slice(component);
        return;
    }
    let mut start = 0;
    for end in piece_ends(component) {
        let last = end == component.len();
        out.extend_from_slice(if last { LAST_PREFIX } else { PIECE_PREFIX });
        push_quoted(&component[start..end], out);
        if !last {
            out.push(b'/');
        }
        start = end;
    }
}

/// Appends the name of the directory that holds components going on after `piece`.
pub fn push_piece<A: smallvec::Array<Item = u8>>(piece: &[u8], out: &mut SmallVec<A>) {
    out.extend_from_slice(PIECE_PREFIX);
    push_quoted(piece, out);
}

/// Appends the name of the last piece of a component that came in several.
pub fn push_last<A: smallvec::Array<Item = u8>>(piece: &[u8], out: &mut SmallVec<A>) {
    out.extend_from_slice(LAST_PREFIX);
    push_quoted(piece, out);
}

/// The ends of the first pieces a component starting with these bytes may have: a piece that is not the last lacks the
/// room for one more character, so at most four ends come into question.
pub fn first_piece_ends(component: &[u8]) -> impl Iterator<Item = usize> {
    let mut quoted_bytes = 0;
    let mut end = 0;
    std::iter::from_fn(move || {
        while end < component.len() {
            let (unit, quoted) = unit_bytes(component, end);
            quoted_bytes += quoted;
            end += unit;
            if quoted_bytes > PIECE_BYTES_MAX {
                return None;
            }
            if quoted_bytes + UNIT_QUOTED_BYTES_MAX > PIECE_BYTES_MAX {
                return Some(end);
            }
        }
        None
    })
}

/// Where each piece of a component ends; the last one ends with the component. An empty component has one piece.
fn piece_ends(component: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let mut end = next?;
        let mut quoted_bytes = 0;
        while end < component.len() {
            let (unit, quoted) = unit_bytes(component, end);
            if quoted_bytes + quoted > PIECE_BYTES_MAX {
                break;
            }
            quoted_bytes += quoted;
            end += unit;
        }
        next = (end < component.len()).then_some(end);
        Some(end)
    })
}

/// How many bytes the character at `start` has, plain and quoted. Bytes that are no UTF-8 count one by one.
fn unit_bytes(component: &[u8], start: usize) -> (usize, usize) {
    match component[start] {
        0 | b'%' => (1, 3),
        0xC2..=0xF4 => {
            let tail = &component[start + 1..];
            let unit = 1 + tail
                .iter()
                .take(UNIT_QUOTED_BYTES_MAX - 1)
                .take_while(|byte| **byte & 0xC0 == 0x80)
                .count();
            (unit, unit)
        }
        _ => (1, 1),
    }
}

/// The most one character needs: four bytes of UTF-8.
const UNIT_QUOTED_BYTES_MAX: usize = 4;

fn push_quoted<A: smallvec::Array<Item = u8>>(piece: &[u8], out: &mut SmallVec<A>) {
    for byte in piece {
        match byte {
            0 => out.extend_from_slice(b"%00"),
            b'%' => out.extend_from_slice(b"%25"),
            _ => out.push(*byte),
        }
    }
}

/// Undoes the quoting. `None`: a `%` that starts neither `%00` nor `%25`.
fn unquote(quoted: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'%', quoted) else {
        return Some(Cow::Borrowed(quoted));
    };
    let mut bytes = quoted[..first].to_vec();
    let mut rest = &quoted[first..];
    while let [byte, tail @ ..] = rest {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = tail;
            continue;
        }
        bytes.push(match tail.get(..2)? {
            b"00" => 0,
            b"25" => b'%',
            _ => return None,
        });
        rest = &tail[2..];
    }
    Some(Cow::Owned(bytes))
}

/// Checks the invariants of this module on arbitrary bytes, taken once as a key, once as a path, once as a bucket name.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(parsed) = ObjectKey::parse(data) {
        let path = path(&parsed);
        assert_eq!(key(path.as_bytes()).as_ref(), Some(&parsed));
        assert_eq!(key(path.in_directory().as_bytes()).as_ref(), Some(&parsed));
        for name in path.as_bytes().split(|byte| *byte == b'/') {
            assert!(!matches!(name, b"" | b"." | b"..") && name.len() <= NAME_BYTES_MAX);
        }
        let mut joined = Vec::new();
        for hop in path.hops() {
            assert!((1..=HOP_BYTES_MAX).contains(&hop.len()));
            if !joined.is_empty() {
                joined.push(b'/');
            }
            joined.extend_from_slice(hop);
        }
        assert_eq!(joined, path.as_bytes());
    }
    if let Some(found) = key(data) {
        let path = path(&found);
        assert!(path.as_bytes() == data || path.in_directory().as_bytes() == data);
    }
    if let Ok(name) = BucketName::parse(data) {
        assert_eq!(name.as_bytes(), data);
    }
}

#[cfg(test)]
pub(crate) mod tests;
