//! The options of the operations that carry any, and the values in them. What cannot be sent cannot be made: the newtypes
//! have one maker each, which checks.
//!
//! Texts are UTF-8, percent-decoded and otherwise as sent. Counts are already cut to what one page holds.
//! Spec: URI request parameters of each operation in the Amazon S3 API reference.

use std::num::NonZeroU16;

use super::copy_source::CopySource;
use crate::limits::PARTS_MAX;
use crate::storage::layout::{BucketName, ObjectKey};

pub use super::continuation::ContinuationToken;
pub use crate::s3::xml::Encoding;

/// An object, and possibly one version of it: what the operations take that only need to know which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectVersion {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version, if one is named.
    pub version_id: Option<VersionId>,
}

/// Options of ListBuckets.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListBuckets {
    /// Only buckets whose name starts with this.
    pub prefix: String,
    /// Where to go on.
    pub continuation_token: Option<ContinuationToken>,
    /// Most buckets of a page, 1 to 10,000; all when absent.
    pub max_buckets: Option<u32>,
    /// Only buckets of this region.
    pub bucket_region: Option<String>,
}

/// What ListObjects, ListObjectsV2, ListObjectVersions and ListMultipartUploads have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListSettings {
    /// Only keys that start with this; empty for all.
    pub prefix: String,
    /// Keys that have this after the prefix are rolled up into common prefixes. Never empty: an empty delimiter is the
    /// same as none.
    pub delimiter: Option<String>,
    /// Most entries and common prefixes of the page, 0 to 1000.
    pub max_keys: u32,
    /// How the answer writes keys.
    pub encoding: Option<Encoding>,
}

/// Options of ListObjects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListObjects {
    /// The bucket.
    pub bucket: BucketName,
    /// What all listings have.
    pub settings: ListSettings,
    /// List only what comes after this; empty for all.
    pub marker: String,
}

/// Options of ListObjectsV2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListObjectsV2 {
    /// The bucket.
    pub bucket: BucketName,
    /// What all listings have.
    pub settings: ListSettings,
    /// Where to go on; wins over `start_after`.
    pub continuation_token: Option<ContinuationToken>,
    /// List only what comes after this key. Kept apart from "not sent", because it is repeated in the answer.
    pub start_after: Option<String>,
    /// Whether the answer shows owners.
    pub fetch_owner: bool,
}

impl ListObjectsV2 {
    /// What the listing starts after: the token's place, else `start-after`, else nothing.
    #[must_use]
    pub fn after(&self) -> &str {
        match (&self.continuation_token, &self.start_after) {
            (Some(token), _) if !token.after().is_empty() => token.after(),
            (_, Some(start_after)) => start_after,
            _ => "",
        }
    }
}

/// Options of ListObjectVersions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListObjectVersions {
    /// The bucket.
    pub bucket: BucketName,
    /// What all listings have.
    pub settings: ListSettings,
    /// List only what comes after this; empty for all.
    pub key_marker: String,
    /// Within `key_marker`, list only what comes after this version. Never without a key marker.
    pub version_id_marker: Option<VersionId>,
}

/// Options of ListMultipartUploads. `settings.max_keys` is `max-uploads`, 1 to 1000.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListMultipartUploads {
    /// The bucket.
    pub bucket: BucketName,
    /// What all listings have.
    pub settings: ListSettings,
    /// List only what comes after this; empty for all.
    pub key_marker: String,
    /// Within `key_marker`, list only what comes after this upload; empty for all.
    pub upload_id_marker: String,
}

/// PutObject. Its options are headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PutObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
}

/// Options of GetObject; `Range` and the conditions are headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GetObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version, if one is named.
    pub version_id: Option<VersionId>,
    /// Only this part. Never together with a `Range` header.
    pub part_number: Option<PartNumber>,
    /// Headers of the answer to replace; absent when no `response-*` parameter was sent. Only signed requests may use
    /// them.
    pub overrides: Option<Box<ResponseOverrides>>,
}

/// Options of HeadObject: those of GetObject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version, if one is named.
    pub version_id: Option<VersionId>,
    /// Only this part. Never together with a `Range` header.
    pub part_number: Option<PartNumber>,
    /// As in [`GetObject`].
    pub overrides: Option<Box<ResponseOverrides>>,
}

/// Headers that a signed GET or HEAD sets in its own answer (`response-content-type` and so on). No value has a control
/// character.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ResponseOverrides {
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Expires`.
    pub expires: Option<String>,
}

/// Options of DeleteObject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version to remove for good, if one is named.
    pub version_id: Option<VersionId>,
}

/// Options of CopyObject; what to do with metadata and tags stands in headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyObject {
    /// The target's bucket.
    pub bucket: BucketName,
    /// The target's key.
    pub key: ObjectKey,
    /// What to copy. Boxed, because it would double the size of every operation.
    pub source: Box<CopySource>,
}

/// Options of RenameObject; its conditions are headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RenameObject {
    /// The bucket of both keys.
    pub bucket: BucketName,
    /// The new key.
    pub key: ObjectKey,
    /// The key that the object has. Boxed as in [`CopyObject`].
    pub source: Box<ObjectKey>,
}

/// CreateMultipartUpload. Its options are headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateMultipartUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
}

/// Options of UploadPart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadPart {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
    /// Which part the body is.
    pub part_number: PartNumber,
}

/// Options of UploadPartCopy; `x-amz-copy-source-range` is a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadPartCopy {
    /// The target's bucket.
    pub bucket: BucketName,
    /// The target's key.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
    /// Which part the copy becomes.
    pub part_number: PartNumber,
    /// What to copy.
    pub source: Box<CopySource>,
}

/// Options of CompleteMultipartUpload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompleteMultipartUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
}

/// Options of AbortMultipartUpload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AbortMultipartUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
}

/// Options of ListParts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListParts {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload_id: UploadId,
    /// List only parts with a greater number.
    pub part_number_marker: u32,
    /// Most parts of the page, 0 to 1000.
    pub max_parts: u32,
}

/// A CORS preflight. What it asks about may be the service, a bucket or an object.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Preflight {
    /// The bucket, if the path or host names one.
    pub bucket: Option<BucketName>,
    /// The key, if the path names one.
    pub key: Option<ObjectKey>,
}

/// The number of a part, 1 to 10,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartNumber(NonZeroU16);

const _: () = assert!(PARTS_MAX <= u16::MAX as u32);

impl PartNumber {
    /// `None` for 0 and for more than [`PARTS_MAX`].
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        let number = u16::try_from(number).ok().filter(|number| u32::from(*number) <= PARTS_MAX)?;
        NonZeroU16::new(number).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get() as u32
    }
}

/// The id of a multipart upload, as far as its form goes: 1 to 128 letters, digits, `-` and `_`. So it is always safe as
/// part of a file name, and whatever else a client sends is an upload that cannot exist.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UploadId(Box<str>);

impl UploadId {
    /// Longest id, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// `None` for what cannot be an id.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let sound = (1..=Self::BYTES_MAX).contains(&id.len()) && id.bytes().all(is_sound);
        sound.then(|| Self(id.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a version of an object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum VersionId {
    /// `null`: the version that was written without versioning, the only one a bucket without versioning has.
    Null,
    /// Any other id, 1 to 1024 bytes.
    Named(Box<str>),
}

impl VersionId {
    /// Longest id, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// `None` for an empty or overlong text.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        match id {
            "null" => Some(Self::Null),
            _ => (1..=Self::BYTES_MAX).contains(&id.len()).then(|| Self::Named(id.into())),
        }
    }

    /// The id as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Named(id) => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers() {
        let check = |number, expected| assert_eq!(PartNumber::new(number).map(PartNumber::get), expected);
        check(0, None);
        check(1, Some(1));
        check(10_000, Some(10_000));
        check(10_001, None);
        check(65_537, None);
        check(u64::MAX, None);
        assert_eq!(size_of::<Option<PartNumber>>(), 2);
    }

    #[test]
    fn upload_ids() {
        let check = |id: &str, expected| assert_eq!(UploadId::new(id).is_some(), expected, "{id}");
        check("0af9-_Z", true);
        check("", false);
        check("..", false);
        check("a/b", false);
        check("a.b", false);
        check("a\0", false);
        check("é", false);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
    }

    #[test]
    fn version_ids() {
        assert_eq!(VersionId::new("null"), Some(VersionId::Null));
        assert_eq!(VersionId::new("Null").as_ref().map(VersionId::as_str), Some("Null"));
        assert_eq!(VersionId::new(""), None);
        assert!(VersionId::new(&"x".repeat(1024)).is_some());
        assert_eq!(VersionId::new(&"x".repeat(1025)), None);
    }
}
