//! The record of an object: what S3 knows of it that its file does not say, as one xattr `user.s3`.
//!
//! This module turns records into bytes and back. It reads and writes no file. A record is INPUT: any POSIX user may
//! put an xattr on a file of theirs, so [`Record::decode`] takes nothing on trust; and a record speaks only of the
//! content it was made for, so its reader asks [`Record::matches`] before it believes anything.
//!
//! # Format, version 1
//! Integers named *varint* are LEB128, 7 bits per byte, lowest first, in the shortest form; others are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | kind: 1 = complete, 2 = spilled (the rest stands in the spill file that field 13 names) |
//! | 1 | form of the ETag: 0 = MD5 of the content, 1 = MD5 of the parts' MD5s, 2 = opaque |
//! | 1 | content type: 0 = none, or in field 1; else its place in the table of `fields.rs` (1 = binary/octet-stream) |
//! | varint | size of the content the record was made for, bytes |
//! | varint | mtime of the file the record was made for, seconds since 1970, zigzag |
//! | 4 | … and nanoseconds |
//! | 16 | MD5 (forms 0 and 1) |
//! | varint | number of parts, 1 to 10,000 (form 1 only) |
//! | varint, n | length and text of the ETag, without quotes (form 2 only) |
//!
//! Then, each at most once and in ascending order of its number, the fields that are present:
//! one byte of number, varint length, value.
//!
//! | number | value |
//! |---|---|
//! | 1 | Content-Type, when it has no code |
//! | 2, 3, 4, 5 | Cache-Control, Content-Disposition, Content-Encoding, Content-Language |
//! | 6, 7, 8 | Expires, website redirect location, storage class |
//! | 9 | user metadata: pairs of (varint length, name), (varint length, value), ascending by name, names in lower case |
//! | 10 | tags: such pairs, in the order they were given |
//! | 11 | checksum: algorithm (1), type (1: 0 = full object, 1 = composite), [composite: varint parts], raw value |
//! | 12 | part table: runs of (varint count, varint size in bytes) of parts of equal size |
//! | 13 | spill file: 16 bytes of identifier |
//! | 14 | checksums of the parts: algorithm (1), then the raw values one after the other |
//! | 15 | the multipart upload the object was completed from: 16 bytes of identifier |
//! | 16 | version: 16 bytes of identifier (see [`versions`](super::versions)); without it this is the null version |
//! | 17 | retention: mode (1: 1 = governance, 2 = compliance), varint seconds since 1970 of its end, zigzag |
//! | 18 | legal hold (1: 0 = off, 1 = on) |
//! | 19 | access control list, unless it is private: its grants, as `acl.rs` has them |
//! | 128- | reserved for additions that an older server may ignore |
//!
//! Algorithms: 1 = CRC32, 2 = CRC32C, 3 = CRC64NVME, 4 = SHA1, 5 = SHA256, 6 = SHA512, 7 = MD5, 8 = XXHASH64,
//! 9 = XXHASH3, 10 = XXHASH128; their values are as long as the algorithm makes them, highest byte first.
//!
//! An unknown number below 128, version or kind makes the record unreadable: its reader treats the file as foreign.
//!
//! # Invariants
//! - `decode(encode(r)) == r`, and bytes that decode to a record without fields from 128 on are the encoding of it.
//! - Every text may stand in an HTTP header as it is: it has no control byte but the tabulator.
//! - The record of a 4 KiB object with MD5, a coded content type and a CRC32 has 39 bytes, and stays in the inode
//!   (room for 68 bytes on ext4 with 256-byte inodes).

mod acl;
mod etag;
mod fields;
mod lock;
mod parts;
mod wire;

use std::ffi::CStr;
use std::fmt;

pub use self::etag::{ETag, FileStamp};
pub use self::fields::{FieldText, HeaderField, Headers, Tags, UserMetadata};
pub use self::lock::{Retention, RetentionMode};
pub use self::parts::{PartChecksums, PartTable, StoredChecksum};

use self::wire::{Reader, push_bytes, push_field, push_varint, unzigzag, zigzag};
use crate::codec::dates::Timestamp;
use crate::digest::CHECKSUM_BYTES_MAX;
use crate::iam::acl::Acl;
use crate::limits::{HEAD_BYTES_MAX, PARTS_MAX, USER_METADATA_BYTES_MAX};

/// The name of the xattr.
pub const XATTR_NAME: &str = "user.s3";
/// [`XATTR_NAME`] as the kernel takes it.
pub const XATTR_C_NAME: &CStr = c"user.s3";

/// Longest record, in bytes; read no more than that of a spill file.
pub const RECORD_BYTES_MAX: usize = 192 // Fixed part, numbers and lengths of fields, spill file, version and its lock.
    + ETag::BYTES_MAX
    + HeaderField::ALL.len() * HEAD_BYTES_MAX
    + 3 * USER_METADATA_BYTES_MAX // At most two lengths for each byte.
    + Tags::BYTES_MAX
    + acl::BYTES_MAX
    + PARTS_MAX as usize * (1 + 10 + CHECKSUM_BYTES_MAX); // Count, size and checksum of each part.

/// Longest value that Linux stores in one xattr, in bytes: a buffer of this size reads any record that was not spilled.
pub const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Identifies a spill file: 16 random bytes, so that naming one needs to know it.
pub type SpillId = [u8; 16];

/// What S3 knows of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Size of the content this speaks of, in bytes.
    pub size: u64,
    /// Modification time of the file when that content was complete.
    pub mtime: Timestamp,
    /// Entity tag.
    pub etag: ETag,
    /// Headers that GET and HEAD repeat.
    pub headers: Headers,
    /// `x-amz-meta-*`.
    pub user_metadata: UserMetadata,
    /// Object tags.
    pub tags: Tags,
    /// Checksum of the whole object, as the client chose it.
    pub checksum: Option<StoredChecksum>,
    /// Sizes of the parts of a multipart upload; their sum is `size`.
    pub parts: Option<PartTable>,
    /// Checksums of those parts.
    pub part_checksums: Option<PartChecksums>,
    /// The multipart upload it was completed from, so that a repeated Complete finds what it made.
    pub upload: Option<[u8; 16]>,
    /// Which version of its key it is; none for the null version.
    pub version: Option<[u8; 16]>,
    /// Until when the version is not to be deleted.
    pub retention: Option<Retention>,
    /// Whether the version is held for legal reasons; none if that was never said.
    pub legal_hold: Option<bool>,
    /// Who may do what with it besides its owner; `None`: the owner everything, and nobody else anything.
    pub acl: Option<Acl>,
    /// The file that holds the complete record, when this one holds only the essentials.
    pub spill: Option<SpillId>,
}

/// What a listing shows of a record. Decoding it allocates nothing unless the storage class or ETag is unusual.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// As [`Record::size`].
    pub size: u64,
    /// As [`Record::mtime`].
    pub mtime: Timestamp,
    /// As [`Record::etag`].
    pub etag: ETag,
    /// As [`Record::checksum`].
    pub checksum: Option<StoredChecksum>,
    /// As [`HeaderField::StorageClass`].
    pub storage_class: Option<FieldText>,
    /// As [`Record::version`].
    pub version: Option<[u8; 16]>,
}

impl Record {
    /// A record with nothing but the essentials.
    pub fn new(size: u64, mtime: Timestamp, etag: ETag) -> Self {
        Self {
            size,
            mtime,
            etag,
            headers: Headers::default(),
            user_metadata: UserMetadata::default(),
            tags: Tags::default(),
            checksum: None,
            parts: None,
            part_checksums: None,
            upload: None,
            version: None,
            retention: None,
            legal_hold: None,
            acl: None,
            spill: None,
        }
    }

    /// Whether the encoding, if it is one, is that of a record with a spill file.
    pub fn is_spilled(encoding: &[u8]) -> bool {
        encoding.get(1) == Some(&KIND_SPILLED)
    }

    /// Whether the record speaks of a file that is now so large and was last modified then.
    pub fn matches(&self, size: u64, mtime: Timestamp) -> bool {
        self.size == size && self.mtime == mtime
    }

    /// Whether the version must not be deleted at this time, in seconds since 1970, by anybody without a special right.
    pub fn is_locked(&self, now_seconds: i64) -> bool {
        self.legal_hold == Some(true)
            || self.retention.is_some_and(|retention| retention.is_active(now_seconds))
    }

    /// What stays in the xattr when the record has no room there: enough for a listing and for a conditional request.
    pub fn spilled(&self, id: SpillId) -> Self {
        let mut essentials = Self::new(self.size, self.mtime, self.etag.clone());
        essentials.checksum = self.checksum;
        essentials.version = self.version;
        essentials.spill = Some(id);
        // A longer name than any class of AWS has is metadata in disguise, and may be what had no room.
        let class = self.headers.text(HeaderField::StorageClass);
        essentials
            .headers
            .set(HeaderField::StorageClass, class.filter(|text| text.as_bytes().len() <= 32).cloned());
        essentials
    }

    /// Whether `complete`, read from the spill file this record names, belongs to it.
    pub fn is_essence_of(&self, complete: &Self) -> bool {
        complete.spill.is_none()
            && complete.matches(self.size, self.mtime)
            && complete.etag == self.etag
            && complete.checksum == self.checksum
            && complete.version == self.version
    }

    /// Appends the encoded record.
    ///
    /// # Panics
    /// If the parts do not add up to the object: that is an error of the program that would make the record unreadable.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let kind = if self.spill.is_some() { KIND_SPILLED } else { KIND_COMPLETE };
        let (type_code, type_text) = self.headers.coded_content_type();
        out.extend_from_slice(&[VERSION, kind, self.etag.form(), type_code]);
        push_varint(self.size, out);
        push_varint(zigzag(self.mtime.seconds), out);
        out.extend_from_slice(&self.mtime.nanos.to_le_bytes());
        self.etag.encode(out);

        for field in HeaderField::ALL {
            let text = match field {
                HeaderField::ContentType => type_text,
                _ => self.headers.text(field),
            };
            if let Some(text) = text {
                push_field(field.number(), out, |out| out.extend_from_slice(text.as_bytes()));
            }
        }
        if !self.user_metadata.is_empty() {
            push_field(FIELD_USER_METADATA, out, |out| self.user_metadata.encode(out));
        }
        if !self.tags.is_empty() {
            push_field(FIELD_TAGS, out, |out| self.tags.encode(out));
        }
        if let Some(checksum) = &self.checksum {
            push_field(FIELD_CHECKSUM, out, |out| checksum.encode(out));
        }
        if let Some(parts) = &self.parts {
            assert_eq!(parts.total_bytes(), self.size, "the parts add up to the object");
            push_field(FIELD_PARTS, out, |out| parts.encode(out));
        }
        if let Some(id) = &self.spill {
            push_bytes(FIELD_SPILL, id, out);
        }
        if let Some(checksums) = &self.part_checksums {
            let part_count = self.parts.as_ref().map_or(0, PartTable::part_count);
            assert_eq!(checksums.part_count(), part_count, "every part has a checksum");
            push_field(FIELD_PART_CHECKSUMS, out, |out| checksums.encode(out));
        }
        if let Some(id) = &self.upload {
            push_bytes(FIELD_UPLOAD, id, out);
        }
        if let Some(id) = &self.version {
            push_bytes(FIELD_VERSION, id, out);
        }
        if let Some(retention) = &self.retention {
            push_field(FIELD_RETENTION, out, |out| retention.encode(out));
        }
        if let Some(held) = self.legal_hold {
            push_bytes(FIELD_LEGAL_HOLD, &[held.into()], out);
        }
        if let Some(acl) = &self.acl {
            push_field(FIELD_ACL, out, |out| acl::encode(acl, out));
        }
    }

    /// Reads a record that anybody may have written.
    ///
    /// # Errors
    /// The record is damaged or of another version: its reader treats the file as one without a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let head = FixedPart::decode(bytes.len(), &mut reader)?;
        let mut record = Self::new(head.size, head.mtime, head.etag);
        if let Some(text) = fields::content_type_of_code(head.type_code)? {
            record.headers.set(HeaderField::ContentType, Some(text));
        }
        for_each_field(&mut reader, |number, value| {
            match number {
                // What is empty has no field: a record has one encoding.
                FIELD_USER_METADATA | FIELD_TAGS if value.is_empty() => {
                    return Err(RecordError::Field { number });
                }
                FIELD_USER_METADATA => record.user_metadata = UserMetadata::decode(value)?,
                FIELD_TAGS => record.tags = Tags::decode(value)?,
                FIELD_CHECKSUM => record.checksum = Some(StoredChecksum::decode(value)?),
                FIELD_PARTS => record.parts = Some(PartTable::decode(value)?),
                FIELD_SPILL => {
                    record.spill = Some(value.try_into().map_err(|_| RecordError::Field { number })?)
                }
                FIELD_PART_CHECKSUMS => record.part_checksums = Some(PartChecksums::decode(value)?),
                FIELD_UPLOAD => {
                    record.upload = Some(value.try_into().map_err(|_| RecordError::Field { number })?)
                }
                FIELD_VERSION => record.version = Some(decode_version(value)?),
                FIELD_RETENTION => record.retention = Some(Retention::decode(number, value)?),
                FIELD_LEGAL_HOLD => record.legal_hold = Some(lock::decode_legal_hold(number, value)?),
                FIELD_ACL => record.acl = Some(acl::decode(value)?),
                FIELD_IGNORABLE_MIN.. => {}
                _ => record.headers.decode_field(number, value, head.type_code)?,
            }
            Ok(())
        })?;
        if record.parts.as_ref().is_some_and(|parts| parts.total_bytes() != record.size) {
            return Err(RecordError::Field { number: FIELD_PARTS });
        }
        if let Some(checksums) = &record.part_checksums
            && record.parts.as_ref().map(PartTable::part_count) != Some(checksums.part_count())
        {
            return Err(RecordError::Field { number: FIELD_PART_CHECKSUMS });
        }
        if (head.kind == KIND_SPILLED) != record.spill.is_some() {
            return Err(RecordError::Field { number: FIELD_SPILL });
        }
        Ok(record)
    }
}

impl Summary {
    /// Reads what a listing needs. Fields it does not need are skipped unchecked.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let head = FixedPart::decode(bytes.len(), &mut reader)?;
        let (mut checksum, mut storage_class, mut version) = (None, None, None);
        for_each_field(&mut reader, |number, value| {
            if number == FIELD_CHECKSUM {
                checksum = Some(StoredChecksum::decode(value)?);
            } else if number == HeaderField::StorageClass.number() {
                storage_class = Some(FieldText::parse(value)?);
            } else if number == FIELD_VERSION {
                version = Some(decode_version(value)?);
            }
            Ok(())
        })?;
        Ok(Self { size: head.size, mtime: head.mtime, etag: head.etag, checksum, storage_class, version })
    }

    /// As [`Record::matches`].
    pub fn matches(&self, size: u64, mtime: Timestamp) -> bool {
        self.size == size && self.mtime == mtime
    }
}

fn decode_version(value: &[u8]) -> Result<[u8; 16], RecordError> {
    value.try_into().map_err(|_| RecordError::Field { number: FIELD_VERSION })
}

/// Everything before the numbered fields.
struct FixedPart {
    kind: u8,
    type_code: u8,
    size: u64,
    mtime: Timestamp,
    etag: ETag,
}

impl FixedPart {
    fn decode(record_bytes: usize, reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        if record_bytes > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong { record_bytes });
        }
        let [version, kind, etag_form, type_code] = reader.array()?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        if kind != KIND_COMPLETE && kind != KIND_SPILLED {
            return Err(RecordError::Kind(kind));
        }
        let size = reader.varint()?;
        let seconds = unzigzag(reader.varint()?);
        let nanos = u32::from_le_bytes(reader.array()?);
        if nanos >= 1_000_000_000 {
            return Err(RecordError::Mtime);
        }
        let etag = ETag::decode(etag_form, reader)?;
        Ok(Self { kind, type_code, size, mtime: Timestamp { seconds, nanos }, etag })
    }
}

/// Hands each numbered field over, in the one order they may have.
fn for_each_field<'a>(
    reader: &mut Reader<'a>,
    mut take: impl FnMut(u8, &'a [u8]) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut last = 0;
    while !reader.is_empty() {
        let [number] = reader.array()?;
        if number <= last {
            return Err(RecordError::Order { number });
        }
        if number > FIELD_LAST && number < FIELD_IGNORABLE_MIN {
            return Err(RecordError::Field { number });
        }
        last = number;
        take(number, reader.bytes()?)?;
    }
    Ok(())
}

const VERSION: u8 = 1;
const KIND_COMPLETE: u8 = 1;
const KIND_SPILLED: u8 = 2;

// Fields 1 to 8 are those of `HeaderField`.
const FIELD_USER_METADATA: u8 = 9;
const FIELD_TAGS: u8 = 10;
const FIELD_CHECKSUM: u8 = 11;
const FIELD_PARTS: u8 = 12;
const FIELD_SPILL: u8 = 13;
const FIELD_PART_CHECKSUMS: u8 = 14;
const FIELD_UPLOAD: u8 = 15;
const FIELD_VERSION: u8 = 16;
const FIELD_RETENTION: u8 = 17;
const FIELD_LEGAL_HOLD: u8 = 18;
const FIELD_ACL: u8 = 19;
const FIELD_LAST: u8 = FIELD_ACL;
const FIELD_IGNORABLE_MIN: u8 = 128;

/// Why bytes are no record, or a value cannot stand in one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// The bytes end inside a field.
    Truncated,
    /// Over [`RECORD_BYTES_MAX`].
    TooLong {
        /// Its length in bytes.
        record_bytes: usize,
    },
    /// Written by another version of this server.
    Version(u8),
    /// Neither complete nor spilled.
    Kind(u8),
    /// An integer is not in its shortest form, or exceeds 64 bits.
    Varint,
    /// A second has fewer than a thousand million nanoseconds.
    Mtime,
    /// The ETag's form is unknown, or its text cannot stand between quotes.
    ETag,
    /// The content type's code is unknown, or a text stands beside it.
    ContentType,
    /// A field is out of order or given twice.
    Order {
        /// The field's number.
        number: u8,
    },
    /// A field is unknown, or its value is malformed.
    Field {
        /// The field's number.
        number: u8,
    },
    /// A text that a header cannot carry: it contains a control byte, or is too long.
    Text,
    /// User metadata: a name is no HTTP token, or names and values exceed 2 KiB (AWS: MetadataTooLarge).
    UserMetadata,
    /// Tags: more than ten, a key twice, empty or over 128 characters, a value over 256 characters.
    Tags,
    /// A checksum whose length is not its algorithm's, or whose algorithm or type is unknown.
    Checksum,
    /// No part, more than 10,000 of them, or sizes that exceed 64 bits.
    Parts,
    /// An access control list: over 100 grants, an unknown grantee or permission, or a private one, which is none.
    Acl,
}

impl fmt::Display for RecordError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => formatter.write_str("the record ends inside a field"),
            Self::TooLong { record_bytes } => write!(formatter, "the record has {record_bytes} bytes"),
            Self::Version(version) => write!(formatter, "the record has version {version}, not {VERSION}"),
            Self::Kind(kind) => write!(formatter, "the record is of the unknown kind {kind}"),
            Self::Varint => formatter.write_str("an integer of the record is malformed"),
            Self::Mtime => formatter.write_str("the record's modification time is malformed"),
            Self::ETag => formatter.write_str("the ETag is malformed"),
            Self::ContentType => formatter.write_str("the content type's code is malformed"),
            Self::Order { number } => write!(formatter, "field {number} of the record is out of order"),
            Self::Field { number } => {
                write!(formatter, "field {number} of the record is unknown or malformed")
            }
            Self::Text => formatter.write_str("a text contains a control byte or is too long"),
            Self::UserMetadata => formatter.write_str("the user metadata is malformed or exceeds 2 KiB"),
            Self::Tags => formatter.write_str("the tags are malformed or too many"),
            Self::Checksum => formatter.write_str("a checksum is malformed"),
            Self::Parts => formatter.write_str("the part table is malformed"),
            Self::Acl => formatter.write_str("the access control list is malformed"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Decodes arbitrary bytes and checks the invariants of this module on what comes out.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(record) = Record::decode(data) else {
        return;
    };
    let summary = Summary::decode(data).expect("a record has a summary");
    assert_eq!((summary.size, &summary.etag), (record.size, &record.etag));
    assert_eq!((summary.checksum, summary.version), (record.checksum, record.version));
    assert_eq!(summary.storage_class.as_ref(), record.headers.text(HeaderField::StorageClass));
    let mut encoded = Vec::new();
    record.encode(&mut encoded);
    assert!(data.starts_with(&encoded), "a record has one encoding");
    assert!(data.get(encoded.len()).is_none_or(|number| *number >= FIELD_IGNORABLE_MIN));
    assert_eq!(Record::decode(&encoded).as_ref(), Ok(&record));
    for (_, text) in record.headers.iter().chain(record.user_metadata.iter().map(|(_, value)| ("", value))) {
        assert!(!text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
    }
    if let Some(parts) = &record.parts {
        let last = parts.range(parts.part_count()).expect("a part table has a last part");
        assert_eq!(last.end, record.size);
        assert_eq!(parts.sizes().sum::<u64>(), record.size);
    }
    let mut text = Vec::new();
    record.etag.write_into(&mut text);
    assert_eq!(text, record.etag.to_string().into_bytes());
}

#[cfg(test)]
mod tests;
