//! Entity tags: of content this server wrote, and of files it did not.

use std::fmt;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use super::RecordError;
use super::wire::{Reader, push_length_and, push_varint};
use crate::codec::dates::Timestamp;
use crate::codec::hex;
use crate::limits::PARTS_MAX;

/// An entity tag, without the quotes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ETag {
    /// MD5 of the content: 32 hexadecimal digits.
    Md5([u8; 16]),
    /// MD5 of the MD5s of the parts: 32 hexadecimal digits, a dash and the number of parts.
    Parts {
        /// The outer MD5.
        digest: [u8; 16],
        /// How many parts, 1 to 10,000.
        part_count: u16,
    },
    /// Any other text, as [`ETag::parse`] checked it.
    Opaque(OpaqueETag),
}

/// The text of an ETag in no form of this server's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OpaqueETag(Box<[u8]>);

/// What tells one state of a file from another, from its stat data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileStamp {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last modification of the content; a POSIX user can set it back.
    pub mtime: Timestamp,
    /// Last change of content or attributes; nobody can set it.
    pub ctime: Timestamp,
}

impl From<&rustix::fs::Statx> for FileStamp {
    fn from(stat: &rustix::fs::Statx) -> Self {
        let timestamp =
            |time: &rustix::fs::StatxTimestamp| Timestamp { seconds: time.tv_sec, nanos: time.tv_nsec };
        Self {
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime: timestamp(&stat.stx_mtime),
            ctime: timestamp(&stat.stx_ctime),
        }
    }
}

impl ETag {
    /// Longest text, in bytes, without quotes. S3's own have at most 38.
    pub const BYTES_MAX: usize = 128;

    /// The ETag of a file that has no record, or whose record speaks of other content.
    ///
    /// It looks like that of a multipart upload of one part, so that no SDK takes it for an MD5. The device number is
    /// left out on purpose: it differs between gateways of one shared file system and changes when a server restarts,
    /// and a client that reads ranges through several gateways with If-Match needs the same ETag from all of them.
    pub fn foreign(stamp: &FileStamp) -> Self {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&stamp.inode.to_le_bytes());
        bytes[8..16].copy_from_slice(&stamp.size.to_le_bytes());
        for (time, slot) in [stamp.mtime, stamp.ctime].iter().zip(bytes[16..].chunks_exact_mut(12)) {
            slot[..8].copy_from_slice(&time.seconds.to_le_bytes());
            slot[8..].copy_from_slice(&time.nanos.to_le_bytes());
        }
        Self::Parts { digest: xxh3_128(&bytes).to_be_bytes(), part_count: 1 }
    }

    /// The ETag of content whose MD5 nobody computed, from a new id. It looks like that of a multipart upload of one part,
    /// for the same reason.
    pub fn unique(id: [u8; 16]) -> Self {
        Self::Parts { digest: id, part_count: 1 }
    }

    /// Reads an ETag as a client sends it, with or without quotes. A weak one (`W/"…"`) is none of S3's.
    ///
    /// # Errors
    /// [`RecordError::ETag`]: empty, over 128 bytes, or a byte that cannot stand between quotes.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
        let (digits, part_count) = match text.get(32) {
            Some(b'-') => (&text[..32], parse_part_count(&text[33..])),
            _ => (text, None),
        };
        let mut digest = [0; 16];
        // Upper-case digits would come back in lower case, and a client compares texts.
        let known = hex::decode(digits, &mut digest) && !digits.iter().any(u8::is_ascii_uppercase);
        match part_count {
            Some(part_count) if known => return Ok(Self::Parts { digest, part_count }),
            None if known && text.len() == 32 => return Ok(Self::Md5(digest)),
            _ => {}
        }
        let legal = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
        if legal { Ok(Self::Opaque(OpaqueETag(text.into()))) } else { Err(RecordError::ETag) }
    }

    /// The text, without quotes. It allocates only for one that another server made longer than S3's own.
    pub fn text(&self) -> SmallVec<[u8; 40]> {
        match self {
            Self::Md5(digest) => SmallVec::from_slice(&hex::encode16(digest)),
            Self::Parts { digest, part_count } => {
                let mut text = SmallVec::from_slice(&hex::encode16(digest));
                text.push(b'-');
                push_decimal(*part_count, &mut text);
                text
            }
            Self::Opaque(text) => SmallVec::from_slice(&text.0),
        }
    }

    /// Appends the text, without quotes.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text());
    }

    /// Appends the text in quotes, as a header shows it.
    pub fn write_quoted_into(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        self.write_into(out);
        out.push(b'"');
    }

    pub(super) fn form(&self) -> u8 {
        match self {
            Self::Md5(_) => FORM_MD5,
            Self::Parts { .. } => FORM_PARTS,
            Self::Opaque(_) => FORM_OPAQUE,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Md5(digest) => out.extend_from_slice(digest),
            Self::Parts { digest, part_count } => {
                out.extend_from_slice(digest);
                push_varint(u64::from(*part_count), out);
            }
            Self::Opaque(text) => push_length_and(&text.0, out),
        }
    }

    pub(super) fn decode(form: u8, reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        match form {
            FORM_MD5 => Ok(Self::Md5(reader.array()?)),
            FORM_PARTS => {
                let digest = reader.array()?;
                let part_count = reader.varint()?;
                if !(1..=u64::from(PARTS_MAX)).contains(&part_count) {
                    return Err(RecordError::ETag);
                }
                Ok(Self::Parts { digest, part_count: part_count as u16 })
            }
            FORM_OPAQUE => match reader.bytes().map(|text| (text, Self::parse(text)))? {
                // Parsing takes quotes off and knows the other forms; neither may have come this way.
                (text, Ok(Self::Opaque(opaque))) if *opaque.0 == *text => Ok(Self::Opaque(opaque)),
                _ => Err(RecordError::ETag),
            },
            _ => Err(RecordError::ETag),
        }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(40);
        self.write_into(&mut text);
        formatter.write_str(std::str::from_utf8(&text).expect("an ETag is ASCII"))
    }
}

/// The number after the dash, in the only form this server writes it. `None`: not such a number.
fn parse_part_count(digits: &[u8]) -> Option<u16> {
    if !(1..=5).contains(&digits.len()) || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    (value <= PARTS_MAX).then_some(value as u16)
}

fn push_decimal(value: u16, out: &mut SmallVec<[u8; 40]>) {
    let mut digits = [0; 5];
    let mut start = digits.len();
    let mut rest = value;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

const FORM_MD5: u8 = 0;
const FORM_PARTS: u8 = 1;
const FORM_OPAQUE: u8 = 2;

const _: () = assert!(PARTS_MAX <= u16::MAX as u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = ETag::parse(text.as_bytes()).ok().map(|etag| etag.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        };
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        check(md5, Some(md5));
        check(&format!("\"{md5}\""), Some(md5));
        for tail in ["-1", "-10000", "-9", "-10001", "-0", "-01", "-", "-x", "x"] {
            let text = format!("{md5}{tail}");
            check(&text, Some(&text));
            let etag = ETag::parse(text.as_bytes()).unwrap();
            assert_eq!(matches!(etag, ETag::Parts { .. }), ["-1", "-10000", "-9"].contains(&tail), "{text}");
        }
        assert!(matches!(ETag::parse(md5.to_uppercase().as_bytes()), Ok(ETag::Opaque(_))));
        check("anything", Some("anything"));
        check("W/\"x\"", None);
        for text in ["", "\"\"", "a b", "a\nb", "ä", &"x".repeat(129)] {
            check(text, None);
        }
        let mut quoted = Vec::new();
        ETag::Parts { digest: [0xAB; 16], part_count: 120 }.write_quoted_into(&mut quoted);
        assert_eq!(quoted, format!("\"{}-120\"", "ab".repeat(16)).into_bytes());
    }

    #[test]
    fn a_foreign_etag_changes_with_each_datum_and_is_no_md5() {
        let time = |seconds, nanos| Timestamp { seconds, nanos };
        let stamp = FileStamp { inode: 1, size: 2, mtime: time(3, 4), ctime: time(5, 6) };
        let states = [
            stamp,
            FileStamp { inode: 9, ..stamp },
            FileStamp { size: 9, ..stamp },
            FileStamp { mtime: time(9, 4), ..stamp },
            FileStamp { mtime: time(3, 9), ..stamp },
            FileStamp { ctime: time(9, 6), ..stamp },
            FileStamp { ctime: time(5, 9), ..stamp },
            FileStamp { mtime: stamp.ctime, ctime: stamp.mtime, ..stamp },
        ];
        let etags: std::collections::HashSet<_> = states.iter().map(ETag::foreign).collect();
        assert_eq!(etags.len(), states.len());
        assert_eq!(ETag::foreign(&stamp), ETag::foreign(&stamp));
        let text = ETag::foreign(&stamp).to_string();
        assert_eq!((text.len(), &text[32..]), (34, "-1"));
    }
}
