//! The answers that list: buckets, objects, versions, parts and multipart uploads.
//!
//! Each result is a plain struct with what stands in the head of the document, and takes the entries as iterators, so
//! that a page is written without being copied first. Whoever lists decides what is in it; nothing here sorts or cuts.
//!
//! What the client sent is repeated as it was sent: `Prefix` and `Marker` always (clients fail on a missing one),
//! `Delimiter`, `StartAfter` and the tokens when they were given. With [`Encoding::Url`] every key, prefix, delimiter
//! and marker is percent-encoded; tokens and version ids never are.
//! Spec: ListBuckets, ListObjects, ListObjectsV2, ListObjectVersions, ListParts and ListMultipartUploads in the Amazon
//! S3 API reference.

use super::{Encoding, Writer};
use crate::codec::dates::Timestamp;

/// Whom a bucket, an object or an upload belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The canonical id.
    pub id: &'a str,
    /// The name for people.
    pub display_name: &'a str,
}

/// One bucket of ListBuckets.
#[derive(Clone, Copy, Debug)]
pub struct BucketEntry<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was created.
    pub created: Timestamp,
    /// Its region; AWS shows it when the call used any of the newer parameters.
    pub region: Option<&'a str>,
}

/// The head of ListBuckets.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a> {
    /// The caller.
    pub owner: Owner<'a>,
    /// The prefix as sent, if any.
    pub prefix: Option<&'a str>,
    /// Where the next page starts, if there is one.
    pub continuation_token: Option<&'a str>,
}

impl Buckets<'_> {
    /// Appends the document.
    pub fn write<'e>(&self, out: &mut Vec<u8>, buckets: impl IntoIterator<Item = BucketEntry<'e>>) {
        let mut writer = Writer::document(out);
        writer.open_root("ListAllMyBucketsResult");
        write_owner(&mut writer, "Owner", &self.owner);
        writer.open("Buckets");
        for bucket in buckets {
            writer.open("Bucket");
            writer.text("Name", bucket.name);
            writer.text("CreationDate", bucket.created.iso8601_millis());
            writer.optional_text("BucketRegion", bucket.region);
            writer.close("Bucket");
        }
        writer.close("Buckets");
        writer.optional_text("ContinuationToken", self.continuation_token);
        writer.optional_text("Prefix", self.prefix);
        writer.close("ListAllMyBucketsResult");
    }
}

/// One object of a listing.
#[derive(Clone, Copy, Debug)]
pub struct ObjectEntry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// When it was written.
    pub last_modified: Timestamp,
    /// The entity tag, without quotes.
    pub etag: &'a [u8],
    /// Its size in bytes.
    pub size: u64,
    /// The storage class (`STANDARD`).
    pub storage_class: &'a str,
    /// Whose it is: always in version 1, with `fetch-owner` in version 2.
    pub owner: Option<Owner<'a>>,
    /// The algorithm (`CRC32`) and type (`FULL_OBJECT`) of its checksum, if it has one.
    pub checksum: Option<(&'a str, &'a str)>,
}

/// What all listings of a bucket's objects share.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The prefix as sent, or empty.
    pub prefix: &'a [u8],
    /// The delimiter as sent.
    pub delimiter: Option<&'a [u8]>,
    /// The greatest number of keys and common prefixes.
    pub max_keys: u64,
    /// Whether more follows.
    pub truncated: bool,
    /// How keys are written.
    pub encoding: Option<Encoding>,
}

impl Page<'_> {
    /// The elements every listing of objects has after its markers.
    fn write_settings(&self, writer: &mut Writer<'_>) {
        writer.number("MaxKeys", self.max_keys);
        if let Some(delimiter) = self.delimiter {
            writer.listed("Delimiter", delimiter, self.encoding);
        }
        if let Some(Encoding::Url) = self.encoding {
            writer.text("EncodingType", "url");
        }
        writer.boolean("IsTruncated", self.truncated);
    }
}

/// The head of ListObjects (version 1).
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// What all listings share.
    pub page: Page<'a>,
    /// The marker as sent, or empty.
    pub marker: &'a [u8],
    /// Where the next page starts. AWS gives it only with a delimiter: without one it is the last key.
    pub next_marker: Option<&'a [u8]>,
}

impl Objects<'_> {
    /// Appends the document.
    pub fn write<'e>(
        &self,
        out: &mut Vec<u8>,
        objects: impl IntoIterator<Item = ObjectEntry<'e>>,
        common_prefixes: impl IntoIterator<Item = &'e [u8]>,
    ) {
        let page = &self.page;
        let mut writer = Writer::document(out);
        writer.open_root("ListBucketResult");
        writer.text("Name", page.bucket);
        // botocore does not decode it here, minio-go does: what decodes to itself is written so that both are right.
        let decodes_to_itself = page.prefix.iter().all(|byte| !matches!(byte, b'%' | b'+'));
        let plain = decodes_to_itself && super::can_carry(page.prefix);
        writer.listed("Prefix", page.prefix, page.encoding.filter(|_| !plain));
        writer.listed("Marker", self.marker, page.encoding);
        if let Some(next_marker) = self.next_marker {
            writer.listed("NextMarker", next_marker, page.encoding);
        }
        page.write_settings(&mut writer);
        write_contents(&mut writer, page.encoding, objects);
        write_common_prefixes(&mut writer, page.encoding, common_prefixes);
        writer.close("ListBucketResult");
    }
}

/// The head of ListObjectsV2.
#[derive(Clone, Copy, Debug)]
pub struct ObjectsV2<'a> {
    /// What all listings share.
    pub page: Page<'a>,
    /// The token as sent, also when it was empty.
    pub continuation_token: Option<&'a str>,
    /// Where the next page starts. Clients fail on a truncated page without it.
    pub next_continuation_token: Option<&'a str>,
    /// `start-after` as sent.
    pub start_after: Option<&'a [u8]>,
}

impl ObjectsV2<'_> {
    /// Appends the document. `KeyCount` comes last, when it is known; no client minds the order.
    pub fn write<'e>(
        &self,
        out: &mut Vec<u8>,
        objects: impl IntoIterator<Item = ObjectEntry<'e>>,
        common_prefixes: impl IntoIterator<Item = &'e [u8]>,
    ) {
        let page = &self.page;
        let mut writer = Writer::document(out);
        writer.open_root("ListBucketResult");
        writer.text("Name", page.bucket);
        writer.listed("Prefix", page.prefix, page.encoding);
        writer.optional_text("ContinuationToken", self.continuation_token);
        writer.optional_text("NextContinuationToken", self.next_continuation_token);
        if let Some(start_after) = self.start_after {
            writer.listed("StartAfter", start_after, page.encoding);
        }
        page.write_settings(&mut writer);
        let objects = write_contents(&mut writer, page.encoding, objects);
        let prefixes = write_common_prefixes(&mut writer, page.encoding, common_prefixes);
        writer.number("KeyCount", objects + prefixes);
        writer.close("ListBucketResult");
    }
}

/// One version of an object.
#[derive(Clone, Copy, Debug)]
pub struct VersionEntry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The object as it is in this version, or the delete marker.
    pub content: VersionContent<'a>,
    /// The version's id; `null` for what was written without versioning.
    pub version_id: &'a str,
    /// Whether a GET without a version id reads this version.
    pub is_latest: bool,
}

/// What a [`VersionEntry`] is.
#[derive(Clone, Copy, Debug)]
pub enum VersionContent<'a> {
    /// An object.
    Object(ObjectEntry<'a>),
    /// A delete marker.
    Marker {
        /// When it was made.
        last_modified: Timestamp,
        /// Who made it.
        owner: Owner<'a>,
    },
}

/// The head of ListObjectVersions.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a> {
    /// What all listings share.
    pub page: Page<'a>,
    /// `key-marker` as sent, or empty.
    pub key_marker: &'a [u8],
    /// `version-id-marker` as sent, or empty.
    pub version_id_marker: &'a str,
    /// The last key of this page and its version id, if more follows. The id is absent after a common prefix.
    pub next: Option<(&'a [u8], Option<&'a str>)>,
}

impl Versions<'_> {
    /// Appends the document.
    pub fn write<'e>(
        &self,
        out: &mut Vec<u8>,
        versions: impl IntoIterator<Item = VersionEntry<'e>>,
        common_prefixes: impl IntoIterator<Item = &'e [u8]>,
    ) {
        let page = &self.page;
        let mut writer = Writer::document(out);
        writer.open_root("ListVersionsResult");
        writer.text("Name", page.bucket);
        writer.listed("Prefix", page.prefix, page.encoding);
        writer.listed("KeyMarker", self.key_marker, page.encoding);
        writer.text("VersionIdMarker", self.version_id_marker);
        if let Some((key, version_id)) = self.next {
            writer.listed("NextKeyMarker", key, page.encoding);
            writer.optional_text("NextVersionIdMarker", version_id);
        }
        page.write_settings(&mut writer);
        for version in versions {
            let element = match version.content {
                VersionContent::Object(_) => "Version",
                VersionContent::Marker { .. } => "DeleteMarker",
            };
            writer.open(element);
            writer.listed("Key", version.key, page.encoding);
            writer.text("VersionId", version.version_id);
            writer.boolean("IsLatest", version.is_latest);
            match &version.content {
                VersionContent::Object(object) => write_object(&mut writer, object),
                VersionContent::Marker { last_modified, owner } => {
                    writer.text("LastModified", last_modified.iso8601_millis());
                    write_owner(&mut writer, "Owner", owner);
                }
            }
            writer.close(element);
        }
        write_common_prefixes(&mut writer, page.encoding, common_prefixes);
        writer.close("ListVersionsResult");
    }
}

/// One part of ListParts.
#[derive(Clone, Copy, Debug)]
pub struct PartEntry<'a> {
    /// 1 to 10,000.
    pub part_number: u64,
    /// When it was written.
    pub last_modified: Timestamp,
    /// The entity tag, without quotes.
    pub etag: &'a [u8],
    /// Its size in bytes.
    pub size: u64,
    /// The element (`ChecksumCRC32`) and value in base64 of its checksum, if it has one.
    pub checksum: Option<(&'static str, &'a str)>,
}

/// The head of ListParts.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a [u8],
    /// The upload.
    pub upload_id: &'a str,
    /// Who started the upload.
    pub initiator: Owner<'a>,
    /// Who will own the object.
    pub owner: Owner<'a>,
    /// The storage class of the object to come.
    pub storage_class: &'a str,
    /// `part-number-marker` as sent, or 0.
    pub part_number_marker: u64,
    /// The last part of this page, 0 if it has none.
    pub next_part_number_marker: u64,
    /// The greatest number of parts.
    pub max_parts: u64,
    /// Whether more follows.
    pub truncated: bool,
    /// The algorithm and type of the checksum the upload was created with.
    pub checksum: Option<(&'a str, &'a str)>,
}

impl Parts<'_> {
    /// Appends the document.
    pub fn write<'e>(&self, out: &mut Vec<u8>, parts: impl IntoIterator<Item = PartEntry<'e>>) {
        let mut writer = Writer::document(out);
        writer.open_root("ListPartsResult");
        writer.text("Bucket", self.bucket);
        writer.text("Key", self.key);
        writer.text("UploadId", self.upload_id);
        write_owner(&mut writer, "Initiator", &self.initiator);
        write_owner(&mut writer, "Owner", &self.owner);
        writer.text("StorageClass", self.storage_class);
        writer.number("PartNumberMarker", self.part_number_marker);
        writer.number("NextPartNumberMarker", self.next_part_number_marker);
        writer.number("MaxParts", self.max_parts);
        writer.boolean("IsTruncated", self.truncated);
        write_checksum_kind(&mut writer, self.checksum);
        for part in parts {
            writer.open("Part");
            writer.number("PartNumber", part.part_number);
            writer.text("LastModified", part.last_modified.iso8601_millis());
            writer.etag(part.etag);
            writer.number("Size", part.size);
            if let Some((element, value)) = part.checksum {
                writer.text(element, value);
            }
            writer.close("Part");
        }
        writer.close("ListPartsResult");
    }
}

/// One upload of ListMultipartUploads.
#[derive(Clone, Copy, Debug)]
pub struct UploadEntry<'a> {
    /// The key of the object to come.
    pub key: &'a [u8],
    /// The upload.
    pub upload_id: &'a str,
    /// Who started the upload.
    pub initiator: Owner<'a>,
    /// Who will own the object.
    pub owner: Owner<'a>,
    /// The storage class of the object to come.
    pub storage_class: &'a str,
    /// When it was started.
    pub initiated: Timestamp,
    /// The algorithm and type of the checksum it was created with.
    pub checksum: Option<(&'a str, &'a str)>,
}

/// The head of ListMultipartUploads. `page.max_keys` is `max-uploads`.
#[derive(Clone, Copy, Debug)]
pub struct Uploads<'a> {
    /// What all listings share.
    pub page: Page<'a>,
    /// `key-marker` as sent, or empty.
    pub key_marker: &'a [u8],
    /// `upload-id-marker` as sent, or empty.
    pub upload_id_marker: &'a str,
    /// The last key and upload of this page, if more follows.
    pub next: Option<(&'a [u8], &'a str)>,
}

impl Uploads<'_> {
    /// Appends the document.
    pub fn write<'e>(
        &self,
        out: &mut Vec<u8>,
        uploads: impl IntoIterator<Item = UploadEntry<'e>>,
        common_prefixes: impl IntoIterator<Item = &'e [u8]>,
    ) {
        let page = &self.page;
        let mut writer = Writer::document(out);
        writer.open_root("ListMultipartUploadsResult");
        writer.text("Bucket", page.bucket);
        writer.listed("KeyMarker", self.key_marker, page.encoding);
        writer.text("UploadIdMarker", self.upload_id_marker);
        if let Some((key, upload_id)) = self.next {
            writer.listed("NextKeyMarker", key, page.encoding);
            writer.text("NextUploadIdMarker", upload_id);
        }
        writer.listed("Prefix", page.prefix, page.encoding);
        if let Some(delimiter) = page.delimiter {
            writer.listed("Delimiter", delimiter, page.encoding);
        }
        if let Some(Encoding::Url) = page.encoding {
            writer.text("EncodingType", "url");
        }
        writer.number("MaxUploads", page.max_keys);
        writer.boolean("IsTruncated", page.truncated);
        for upload in uploads {
            writer.open("Upload");
            writer.listed("Key", upload.key, page.encoding);
            writer.text("UploadId", upload.upload_id);
            write_owner(&mut writer, "Initiator", &upload.initiator);
            write_owner(&mut writer, "Owner", &upload.owner);
            writer.text("StorageClass", upload.storage_class);
            writer.text("Initiated", upload.initiated.iso8601_millis());
            write_checksum_kind(&mut writer, upload.checksum);
            writer.close("Upload");
        }
        write_common_prefixes(&mut writer, page.encoding, common_prefixes);
        writer.close("ListMultipartUploadsResult");
    }
}

fn write_contents<'e>(
    writer: &mut Writer<'_>,
    encoding: Option<Encoding>,
    objects: impl IntoIterator<Item = ObjectEntry<'e>>,
) -> u64 {
    let mut count = 0;
    for object in objects {
        writer.open("Contents");
        writer.listed("Key", object.key, encoding);
        write_object(writer, &object);
        writer.close("Contents");
        count += 1;
    }
    count
}

/// What follows the key, and in a version the version id.
fn write_object(writer: &mut Writer<'_>, object: &ObjectEntry<'_>) {
    writer.text("LastModified", object.last_modified.iso8601_millis());
    writer.etag(object.etag);
    write_checksum_kind(writer, object.checksum);
    writer.number("Size", object.size);
    if let Some(owner) = &object.owner {
        write_owner(writer, "Owner", owner);
    }
    writer.text("StorageClass", object.storage_class);
}

fn write_common_prefixes<'e>(
    writer: &mut Writer<'_>,
    encoding: Option<Encoding>,
    prefixes: impl IntoIterator<Item = &'e [u8]>,
) -> u64 {
    let mut count = 0;
    for prefix in prefixes {
        writer.open("CommonPrefixes");
        writer.listed("Prefix", prefix, encoding);
        writer.close("CommonPrefixes");
        count += 1;
    }
    count
}

fn write_owner(writer: &mut Writer<'_>, element: &str, owner: &Owner<'_>) {
    writer.open(element);
    writer.text("ID", owner.id);
    writer.text("DisplayName", owner.display_name);
    writer.close(element);
}

fn write_checksum_kind(writer: &mut Writer<'_>, checksum: Option<(&str, &str)>) {
    if let Some((algorithm, kind)) = checksum {
        writer.text("ChecksumAlgorithm", algorithm);
        writer.text("ChecksumType", kind);
    }
}

#[cfg(test)]
mod tests;
