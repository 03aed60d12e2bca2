//! The names of buckets and objects: values that exist only if they are legal, and errors that say which rule is broken.

use std::fmt;

use smallvec::SmallVec;

use crate::limits::KEY_BYTES_MAX;

/// The legal name of a bucket. Held inline: copying it allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName {
    // The unused rest is zero, so that the derived comparisons are those of the names.
    bytes: [u8; BUCKET_NAME_BYTES_MAX],
    length: u8,
}

/// Longest bucket name, in bytes.
pub const BUCKET_NAME_BYTES_MAX: usize = 63;

impl BucketName {
    /// Checks a name against the rules for general purpose buckets.
    ///
    /// # Errors
    /// The first rule the name breaks.
    pub fn parse(name: &[u8]) -> Result<Self, BucketNameError> {
        use BucketNameError as Error;
        if !(3..=BUCKET_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(Error::Length);
        }
        if !name.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-')) {
            return Err(Error::Character);
        }
        // A label that is empty or has a hyphen at its edge could not be part of a host name.
        let is_label = |label: &[u8]| {
            let edges = [label.first(), label.last()];
            edges.iter().all(|edge| edge.is_some_and(|byte| *byte != b'-'))
        };
        if !name.split(|byte| *byte == b'.').all(is_label) {
            return Err(Error::Label);
        }
        if is_ipv4_form(name) {
            return Err(Error::IpAddress);
        }
        if RESERVED_BUCKET_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || RESERVED_BUCKET_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        {
            return Err(Error::Reserved);
        }
        let mut bytes = [0; BUCKET_NAME_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Self { bytes, length: name.len() as u8 })
    }

    /// The name's bytes: ASCII, with no `/`, so it is also the name of the bucket's directory.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("a bucket name is ASCII")
    }
}

/// Four groups of digits: clients would take the name for an address.
fn is_ipv4_form(name: &[u8]) -> bool {
    let mut groups = 0;
    let all_digits = name.split(|byte| *byte == b'.').all(|group| {
        groups += 1;
        (1..=3).contains(&group.len()) && group.iter().all(u8::is_ascii_digit)
    });
    all_digits && groups == 4
}

/// Prefixes AWS keeps for itself. `amzn-s3-demo-`, which AWS keeps for its documentation, is allowed: here it names
/// exactly what that documentation says it names.
const RESERVED_BUCKET_PREFIXES: [&[u8]; 2] = [b"xn--", b"sthree-"];

/// Suffixes AWS keeps for access points, Object Lambda, multi-region, directory and table buckets. SDKs switch to
/// another protocol when they meet one of the last three.
const RESERVED_BUCKET_SUFFIXES: [&[u8]; 5] = [b"-s3alias", b"--ol-s3", b".mrap", b"--x-s3", b"--table-s3"];

impl fmt::Display for BucketName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

/// The rule a bucket name breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BucketNameError {
    /// Fewer than 3 or more than 63 bytes.
    Length,
    /// A byte other than `a-z`, `0-9`, `.` and `-`.
    Character,
    /// A part between dots is empty, or starts or ends with a hyphen.
    Label,
    /// Looks like an IPv4 address.
    IpAddress,
    /// Starts or ends with something AWS has reserved.
    Reserved,
}

impl fmt::Display for BucketNameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Length => "A bucket name has 3 to 63 characters.",
            Self::Character => "A bucket name consists of lower-case letters, digits, dots and hyphens.",
            Self::Label => {
                "Each part of a bucket name between dots begins and ends with a letter or a digit."
            }
            Self::IpAddress => "A bucket name must not look like an IP address.",
            Self::Reserved => {
                "The bucket name starts or ends with a reserved sequence, such as 'xn--' or '-s3alias'."
            }
        })
    }
}

impl std::error::Error for BucketNameError {}

/// The legal key of an object: 1 to 1024 bytes of UTF-8, in the client's own form (nothing is normalised).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(SmallVec<[u8; 128]>);

impl ObjectKey {
    /// Checks a key, already percent-decoded.
    ///
    /// # Errors
    /// Empty, longer than [`KEY_BYTES_MAX`], or not UTF-8.
    pub fn parse(key: &[u8]) -> Result<Self, ObjectKeyError> {
        if key.is_empty() {
            return Err(ObjectKeyError::Empty);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(ObjectKeyError::TooLong { key_bytes: key.len() });
        }
        if std::str::from_utf8(key).is_err() {
            return Err(ObjectKeyError::NotUtf8);
        }
        Ok(Self(SmallVec::from_slice(key)))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text. This checks the bytes again, so prefer [`as_bytes`](Self::as_bytes) where text is not needed.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an object key is UTF-8")
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

/// The rule a key breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKeyError {
    /// A key has at least one byte.
    Empty,
    /// Over [`KEY_BYTES_MAX`] (AWS: KeyTooLongError).
    TooLong {
        /// How long it is.
        key_bytes: usize,
    },
    /// A key is UTF-8.
    NotUtf8,
}

impl fmt::Display for ObjectKeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("An object key must not be empty."),
            Self::TooLong { key_bytes } => {
                write!(
                    formatter,
                    "The object key has {key_bytes} bytes; at most {KEY_BYTES_MAX} are allowed."
                )
            }
            Self::NotUtf8 => formatter.write_str("The object key is not valid UTF-8 after percent-decoding."),
        }
    }
}

impl std::error::Error for ObjectKeyError {}
