//! Readers of the documents that clients send.
//!
//! How strict and how bounded they are stands in [`super::reader`].
//!
//! What a document means (do the parts exist, is the key legal) is the caller's question.
//! Spec: DeleteObjects, CompleteMultipartUpload and CreateBucket in the Amazon S3 API
//! reference.

use super::reader::{Malformed, Reader, name, once, parse_boolean, parse_number, parse_time};
use crate::codec::dates::Timestamp;
use crate::limits::{PAGE_KEYS_MAX, PARTS_MAX};
use crate::s3::bucket_tagging::{BUCKET_TAGS_MAX, read_tag_set};

/// The body of DeleteObjects.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Delete {
    /// What to delete, 1 to [`PAGE_KEYS_MAX`] entries.
    pub objects: Vec<DeleteObject>,
    /// Whether only failures are to be told.
    pub quiet: bool,
}

/// One entry of [`Delete`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DeleteObject {
    /// The key, not empty. It may still be too long: that is a failure of this key alone.
    pub key: String,
    /// The version, if one is named.
    pub version_id: Option<String>,
    /// Delete only what has this entity tag (no quotes; `*` for any).
    pub etag: Option<String>,
    /// Delete only what was last modified then.
    pub last_modified: Option<Timestamp>,
    /// Delete only what has this size in bytes.
    pub size: Option<u64>,
}

impl Delete {
    /// Reads a `Delete` document.
    ///
    /// # Errors
    /// [`Malformed`], also for no entry and for more than [`PAGE_KEYS_MAX`].
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::open(body, "Delete")?;
        let mut delete = Self::default();
        let mut quiet = None;
        while let Some(element) = reader.child()? {
            match name(&element) {
                "Object" if delete.objects.len() < PAGE_KEYS_MAX => {
                    delete.objects.push(DeleteObject::read(&mut reader)?);
                }
                "Quiet" => once(&mut quiet, parse_boolean(&reader.text()?)?)?,
                _ => return Err(Malformed),
            }
        }
        reader.finish()?;
        if delete.objects.is_empty() {
            return Err(Malformed);
        }
        delete.quiet = quiet.unwrap_or(false);
        Ok(delete)
    }
}

impl DeleteObject {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut key = None;
        let mut object = Self::default();
        while let Some(element) = reader.child()? {
            let text = reader.text()?;
            match name(&element) {
                "Key" => once(&mut key, text)?,
                "VersionId" => once(&mut object.version_id, text)?,
                "ETag" => once(&mut object.etag, unquoted(text))?,
                "LastModifiedTime" => once(&mut object.last_modified, parse_time(&text)?)?,
                "Size" => once(&mut object.size, parse_number(&text)?)?,
                _ => return Err(Malformed),
            }
        }
        object.key = key.filter(|key| !key.is_empty()).ok_or(Malformed)?;
        // Some clients write every element of the schema: an empty one says no more than none.
        object.version_id = object.version_id.filter(|id| !id.is_empty());
        object.etag = object.etag.filter(|etag| !etag.is_empty());
        Ok(object)
    }
}

/// The body of CompleteMultipartUpload.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CompleteMultipartUpload {
    /// The parts in the order of the document, 1 to [`PARTS_MAX`]. Whether that order is right is for the caller to
    /// say: it has an error of its own.
    pub parts: Vec<CompletedPart>,
}

/// One part of [`CompleteMultipartUpload`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CompletedPart {
    /// 1 to [`PARTS_MAX`].
    pub part_number: u32,
    /// The entity tag that UploadPart gave, without quotes.
    pub etag: String,
    /// The checksums sent for it, as sent: element name (`ChecksumCRC32`) and base64. Usually none or one.
    pub checksums: Vec<(&'static str, String)>,
}

/// The elements that carry a checksum of a part.
pub const CHECKSUM_ELEMENTS: [&str; 10] = [
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumSHA1",
    "ChecksumSHA256",
    "ChecksumSHA512",
    "ChecksumMD5",
    "ChecksumXXHASH64",
    "ChecksumXXHASH3",
    "ChecksumXXHASH128",
];

impl CompleteMultipartUpload {
    /// Reads a `CompleteMultipartUpload` document.
    ///
    /// # Errors
    /// [`Malformed`], also for no part and for more than [`PARTS_MAX`].
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::open(body, "CompleteMultipartUpload")?;
        let mut upload = Self::default();
        while let Some(element) = reader.child()? {
            if name(&element) != "Part" || upload.parts.len() >= PARTS_MAX as usize {
                return Err(Malformed);
            }
            upload.parts.push(CompletedPart::read(&mut reader)?);
        }
        reader.finish()?;
        if upload.parts.is_empty() {
            return Err(Malformed);
        }
        Ok(upload)
    }
}

impl CompletedPart {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut part_number = None;
        let mut etag = None;
        let mut checksums: Vec<(&'static str, String)> = Vec::new();
        while let Some(element) = reader.child()? {
            let text = reader.text()?;
            match name(&element) {
                "PartNumber" => once(&mut part_number, parse_number(&text)?)?,
                "ETag" => once(&mut etag, unquoted(text))?,
                _ => {
                    let known = CHECKSUM_ELEMENTS
                        .into_iter()
                        .find(|known| *known == name(&element))
                        .ok_or(Malformed)?;
                    if checksums.iter().any(|(other, _)| *other == known) {
                        return Err(Malformed);
                    }
                    checksums.push((known, text.trim().to_owned()));
                }
            }
        }
        let part_number = part_number.and_then(|number| u32::try_from(number).ok()).ok_or(Malformed)?;
        let etag = etag.filter(|etag| !etag.is_empty()).ok_or(Malformed)?;
        if !(1..=PARTS_MAX).contains(&part_number) {
            return Err(Malformed);
        }
        Ok(Self { part_number, etag, checksums })
    }
}

/// The body of CreateBucket.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CreateBucketConfiguration {
    /// The region to create the bucket in, if one is named.
    pub location_constraint: Option<String>,
    /// Tags to create it with, as sent; more than [`BUCKET_TAGS_MAX`] of them only by one.
    pub tags: Vec<(String, String)>,
    /// Whether it asks for a directory bucket (`Location` or `Bucket`), which this server does not have.
    pub directory_bucket: bool,
}

impl CreateBucketConfiguration {
    /// Reads a `CreateBucketConfiguration` document. An empty body is the same as an empty document.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut configuration = Self::default();
        if body.trim_ascii().is_empty() {
            return Ok(configuration);
        }
        let mut reader = Reader::open(body, "CreateBucketConfiguration")?;
        let mut tags = None;
        while let Some(element) = reader.child()? {
            match name(&element) {
                "LocationConstraint" => {
                    let region = reader.text()?.trim().to_owned();
                    once(&mut configuration.location_constraint, region)?;
                }
                "Location" => configuration.read_directory_bucket(&mut reader, ["Type", "Name"])?,
                "Bucket" => configuration.read_directory_bucket(&mut reader, ["Type", "DataRedundancy"])?,
                "Tags" => once(&mut tags, read_tag_set(&mut reader, BUCKET_TAGS_MAX)?)?,
                _ => return Err(Malformed),
            }
        }
        reader.finish()?;
        configuration.tags = tags.unwrap_or_default();
        configuration.location_constraint =
            configuration.location_constraint.filter(|region| !region.is_empty());
        Ok(configuration)
    }

    fn read_directory_bucket(
        &mut self,
        reader: &mut Reader<'_>,
        elements: [&str; 2],
    ) -> Result<(), Malformed> {
        self.directory_bucket = true;
        while let Some(element) = reader.child()? {
            if !elements.contains(&name(&element)) {
                return Err(Malformed);
            }
            reader.text()?;
        }
        Ok(())
    }
}

/// An entity tag without its quotes. Clients send it with them, without, or escaped; all mean the same.
fn unquoted(text: String) -> String {
    let trimmed = text.trim();
    let inner = trimmed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(trimmed);
    inner.to_owned()
}

/// Feeds every reader; whatever one accepts must keep its promises.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(delete) = Delete::parse(data) {
        assert!((1..=PAGE_KEYS_MAX).contains(&delete.objects.len()));
        assert!(delete.objects.iter().all(|object| !object.key.is_empty()));
    }
    if let Ok(upload) = CompleteMultipartUpload::parse(data) {
        assert!((1..=PARTS_MAX as usize).contains(&upload.parts.len()));
        let is_sound = |part: &CompletedPart| {
            (1..=PARTS_MAX).contains(&part.part_number) && part.checksums.len() <= CHECKSUM_ELEMENTS.len()
        };
        assert!(upload.parts.iter().all(is_sound));
    }
    if let Ok(configuration) = CreateBucketConfiguration::parse(data) {
        assert!(configuration.tags.len() <= BUCKET_TAGS_MAX + 1);
    }
}

#[cfg(test)]
mod tests;
