//! Records of objects.

use sluicegate::codec::dates::Timestamp;
use sluicegate::digest::Algorithm;
use sluicegate::storage::record::{
    ETag, FieldText, HeaderField, PartTable, Record, StoredChecksum, Tags, UserMetadata,
};

/// What most objects have.
pub fn common() -> Record {
    let mut record = Record::new(4096, Timestamp { seconds: 1_763_900_000, nanos: 1 }, ETag::Md5([7; 16]));
    record.headers.set(HeaderField::ContentType, FieldText::parse(b"binary/octet-stream").ok());
    record.checksum = StoredChecksum::full_object(Algorithm::Crc32, &[1, 2, 3, 4]).ok();
    record
}

/// With headers, metadata and tags.
pub fn rich() -> Record {
    let mut record = common();
    record.headers.set(HeaderField::CacheControl, FieldText::parse(b"max-age=31536000, immutable").ok());
    record.headers.set(HeaderField::ContentEncoding, FieldText::parse(b"gzip").ok());
    let pairs = [(&b"mtime"[..], &b"1763900000.123456789"[..]), (b"owner", b"alice"), (b"mode", b"33188")];
    record.user_metadata = UserMetadata::from_pairs(pairs).expect("legal metadata");
    record.tags = Tags::from_pairs([("project", "sluice"), ("stage", "raw")]).expect("legal tags");
    record
}

/// Of 10,000 parts.
pub fn multipart() -> Record {
    let mut record = common();
    let sizes = std::iter::repeat_n(8 << 20, 9_999).chain([12_345]);
    let parts = PartTable::from_sizes(sizes).expect("a legal table");
    record.size = parts.total_bytes();
    record.parts = Some(parts);
    record.etag = ETag::Parts { digest: [7; 16], part_count: 10_000 };
    record
}
