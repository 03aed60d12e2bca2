//! Which permissions an operation needs, and on what.
//!
//! All of them must be granted. Two things are known only later and are asked for by the handlers: the tags that a copy
//! takes along ([`CopySource::tag_requirement`]), and the single keys of DeleteObjects. PostObject needs what the PutObject
//! needs that its form stands for.
//!
//! Invariant: the match over the operations is exhaustive, so that a new one cannot be forgotten here.
//! Spec: "Required permissions for Amazon S3 API operations" in the Amazon S3 user guide, and the Service Authorization
//! Reference.

use smallvec::{SmallVec, smallvec};

use super::{CopySource, ObjectVersion, Operation};
use crate::http::head::Head;
use crate::iam::action::Action;
use crate::storage::layout::{BucketName, ObjectKey};

/// One permission on one resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Requirement<'o> {
    /// What is to be allowed.
    pub action: Action,
    /// On which bucket; empty for the account.
    pub bucket: &'o str,
    /// On which object; empty for the bucket itself.
    pub key: &'o [u8],
}

/// All that an operation needs.
pub type Requirements<'o> = SmallVec<[Requirement<'o>; 4]>;

impl Operation {
    /// The permissions the caller needs before anything is done.
    ///
    /// None are needed, because another check decides, by [`DeleteObjects`](Operation::DeleteObjects) and
    /// [`PostObject`](Operation::PostObject) (the keys are in the body), [`Preflight`](Operation::Preflight) (the bucket's
    /// CORS rules), [`Sts`](Operation::Sts) and [`Iam`](Operation::Iam) (rules of their own); and by
    /// [`CreateSession`](Operation::CreateSession) and [`WriteGetObjectResponse`](Operation::WriteGetObjectResponse), which
    /// belong to other services and are never carried out.
    #[must_use]
    pub fn actions(&self, head: &Head) -> Requirements<'_> {
        use Action as A;
        let one = match self {
            Self::DeleteObjects(_)
            | Self::PostObject(_)
            | Self::Preflight(_)
            | Self::Sts
            | Self::Iam
            | Self::CreateSession(_)
            | Self::WriteGetObjectResponse => return Requirements::new(),

            // Several permissions.
            Self::CreateBucket(bucket) => return create_bucket(bucket, head),
            Self::PutObject(put) => return write_object(&put.bucket, &put.key, head),
            Self::CreateMultipartUpload(create) => return write_object(&create.bucket, &create.key, head),
            Self::CopyObject(copy) => {
                let mut needed = write_object(&copy.bucket, &copy.key, head);
                needed.push(copy.source.requirement());
                return needed;
            }
            Self::RenameObject(rename) => {
                // AWS has it only in directory buckets, with other permissions: these are those of its effect.
                return smallvec![
                    on_object(A::GetObject, &rename.bucket, &rename.source),
                    on_object(A::DeleteObject, &rename.bucket, &rename.source),
                    on_object(A::PutObject, &rename.bucket, &rename.key),
                ];
            }
            Self::UploadPartCopy(part) => {
                return smallvec![
                    on_object(A::PutObject, &part.bucket, &part.key),
                    part.source.requirement()
                ];
            }
            Self::DeleteObject(delete) => {
                let action =
                    if delete.version_id.is_some() { A::DeleteObjectVersion } else { A::DeleteObject };
                return with_bypass(on_object(action, &delete.bucket, &delete.key), head);
            }
            Self::PutObjectRetention(object) => {
                return with_bypass(object.requirement(A::PutObjectRetention, A::PutObjectRetention), head);
            }
            Self::GetObjectAttributes(object) => {
                return smallvec![
                    object.requirement(A::GetObject, A::GetObjectVersion),
                    object.requirement(A::GetObjectAttributes, A::GetObjectVersionAttributes),
                ];
            }

            // One permission on the account or an object.
            Self::ListBuckets(_) => Requirement { action: A::ListAllMyBuckets, bucket: "", key: b"" },
            Self::GetObject(get) => {
                let action = if get.version_id.is_some() { A::GetObjectVersion } else { A::GetObject };
                on_object(action, &get.bucket, &get.key)
            }
            Self::HeadObject(get) => {
                let action = if get.version_id.is_some() { A::GetObjectVersion } else { A::GetObject };
                on_object(action, &get.bucket, &get.key)
            }
            Self::UploadPart(part) => on_object(A::PutObject, &part.bucket, &part.key),
            Self::CompleteMultipartUpload(upload) => on_object(A::PutObject, &upload.bucket, &upload.key),
            Self::AbortMultipartUpload(upload) => {
                on_object(A::AbortMultipartUpload, &upload.bucket, &upload.key)
            }
            Self::ListParts(list) => on_object(A::ListMultipartUploadParts, &list.bucket, &list.key),
            Self::GetObjectAcl(object) => object.requirement(A::GetObjectAcl, A::GetObjectVersionAcl),
            Self::PutObjectAcl(object) => object.requirement(A::PutObjectAcl, A::PutObjectVersionAcl),
            Self::GetObjectTagging(object) => {
                object.requirement(A::GetObjectTagging, A::GetObjectVersionTagging)
            }
            Self::PutObjectTagging(object) => {
                object.requirement(A::PutObjectTagging, A::PutObjectVersionTagging)
            }
            Self::DeleteObjectTagging(object) => {
                object.requirement(A::DeleteObjectTagging, A::DeleteObjectVersionTagging)
            }
            Self::GetObjectLegalHold(object) => {
                object.requirement(A::GetObjectLegalHold, A::GetObjectLegalHold)
            }
            Self::PutObjectLegalHold(object) => {
                object.requirement(A::PutObjectLegalHold, A::PutObjectLegalHold)
            }
            Self::GetObjectRetention(object) => {
                object.requirement(A::GetObjectRetention, A::GetObjectRetention)
            }
            Self::RestoreObject(object) => object.requirement(A::RestoreObject, A::RestoreObject),
            Self::SelectObjectContent(object) => object.requirement(A::GetObject, A::GetObjectVersion),
            Self::GetObjectTorrent(object) => {
                object.requirement(A::GetObjectTorrent, A::GetObjectVersionTorrent)
            }
            Self::UpdateObjectEncryption(object) => {
                object.requirement(A::UpdateObjectEncryption, A::UpdateObjectEncryption)
            }

            // One permission on a bucket. Where AWS has no action for deleting a configuration, putting it covers both.
            Self::ListObjects(list) => on_bucket(A::ListBucket, &list.bucket),
            Self::ListObjectsV2(list) => on_bucket(A::ListBucket, &list.bucket),
            Self::ListObjectVersions(list) => on_bucket(A::ListBucketVersions, &list.bucket),
            Self::ListMultipartUploads(list) => on_bucket(A::ListBucketMultipartUploads, &list.bucket),
            Self::HeadBucket(bucket) => on_bucket(A::ListBucket, bucket),
            Self::DeleteBucket(bucket) => on_bucket(A::DeleteBucket, bucket),
            Self::GetBucketLocation(bucket) => on_bucket(A::GetBucketLocation, bucket),
            Self::GetBucketVersioning(bucket) => on_bucket(A::GetBucketVersioning, bucket),
            Self::GetBucketAbac(bucket) => on_bucket(A::GetBucketAbac, bucket),
            Self::PutBucketAbac(bucket) => on_bucket(A::PutBucketAbac, bucket),
            Self::GetBucketAccelerateConfiguration(bucket) => {
                on_bucket(A::GetAccelerateConfiguration, bucket)
            }
            Self::PutBucketAccelerateConfiguration(bucket) => {
                on_bucket(A::PutAccelerateConfiguration, bucket)
            }
            Self::GetBucketAcl(bucket) => on_bucket(A::GetBucketAcl, bucket),
            Self::PutBucketAcl(bucket) => on_bucket(A::PutBucketAcl, bucket),
            Self::ListBucketAnalyticsConfigurations(bucket)
            | Self::GetBucketAnalyticsConfiguration(bucket) => {
                on_bucket(A::GetAnalyticsConfiguration, bucket)
            }
            Self::PutBucketAnalyticsConfiguration(bucket)
            | Self::DeleteBucketAnalyticsConfiguration(bucket) => {
                on_bucket(A::PutAnalyticsConfiguration, bucket)
            }
            Self::GetBucketCors(bucket) => on_bucket(A::GetBucketCORS, bucket),
            Self::PutBucketCors(bucket) | Self::DeleteBucketCors(bucket) => {
                on_bucket(A::PutBucketCORS, bucket)
            }
            Self::GetBucketEncryption(bucket) => on_bucket(A::GetEncryptionConfiguration, bucket),
            Self::PutBucketEncryption(bucket) | Self::DeleteBucketEncryption(bucket) => {
                on_bucket(A::PutEncryptionConfiguration, bucket)
            }
            Self::ListBucketIntelligentTieringConfigurations(bucket)
            | Self::GetBucketIntelligentTieringConfiguration(bucket) => {
                on_bucket(A::GetIntelligentTieringConfiguration, bucket)
            }
            Self::PutBucketIntelligentTieringConfiguration(bucket)
            | Self::DeleteBucketIntelligentTieringConfiguration(bucket) => {
                on_bucket(A::PutIntelligentTieringConfiguration, bucket)
            }
            Self::ListBucketInventoryConfigurations(bucket)
            | Self::GetBucketInventoryConfiguration(bucket) => {
                on_bucket(A::GetInventoryConfiguration, bucket)
            }
            Self::PutBucketInventoryConfiguration(bucket)
            | Self::DeleteBucketInventoryConfiguration(bucket) => {
                on_bucket(A::PutInventoryConfiguration, bucket)
            }
            Self::GetBucketLifecycleConfiguration(bucket) => on_bucket(A::GetLifecycleConfiguration, bucket),
            Self::PutBucketLifecycleConfiguration(bucket) | Self::DeleteBucketLifecycle(bucket) => {
                on_bucket(A::PutLifecycleConfiguration, bucket)
            }
            Self::GetBucketLogging(bucket) => on_bucket(A::GetBucketLogging, bucket),
            Self::PutBucketLogging(bucket) => on_bucket(A::PutBucketLogging, bucket),
            Self::GetBucketMetadataConfiguration(bucket)
            | Self::GetBucketMetadataTableConfiguration(bucket) => {
                on_bucket(A::GetBucketMetadataTableConfiguration, bucket)
            }
            Self::CreateBucketMetadataConfiguration(bucket)
            | Self::CreateBucketMetadataTableConfiguration(bucket) => {
                on_bucket(A::CreateBucketMetadataTableConfiguration, bucket)
            }
            Self::DeleteBucketMetadataConfiguration(bucket)
            | Self::DeleteBucketMetadataTableConfiguration(bucket) => {
                on_bucket(A::DeleteBucketMetadataTableConfiguration, bucket)
            }
            Self::UpdateBucketMetadataInventoryTableConfiguration(bucket) => {
                on_bucket(A::UpdateBucketMetadataInventoryTableConfiguration, bucket)
            }
            Self::UpdateBucketMetadataJournalTableConfiguration(bucket) => {
                on_bucket(A::UpdateBucketMetadataJournalTableConfiguration, bucket)
            }
            Self::ListBucketMetricsConfigurations(bucket) | Self::GetBucketMetricsConfiguration(bucket) => {
                on_bucket(A::GetMetricsConfiguration, bucket)
            }
            Self::PutBucketMetricsConfiguration(bucket) | Self::DeleteBucketMetricsConfiguration(bucket) => {
                on_bucket(A::PutMetricsConfiguration, bucket)
            }
            Self::GetBucketNotificationConfiguration(bucket) => on_bucket(A::GetBucketNotification, bucket),
            Self::PutBucketNotificationConfiguration(bucket) => on_bucket(A::PutBucketNotification, bucket),
            Self::GetObjectLockConfiguration(bucket) => {
                on_bucket(A::GetBucketObjectLockConfiguration, bucket)
            }
            Self::PutObjectLockConfiguration(bucket) => {
                on_bucket(A::PutBucketObjectLockConfiguration, bucket)
            }
            Self::GetBucketOwnershipControls(bucket) => on_bucket(A::GetBucketOwnershipControls, bucket),
            Self::PutBucketOwnershipControls(bucket) | Self::DeleteBucketOwnershipControls(bucket) => {
                on_bucket(A::PutBucketOwnershipControls, bucket)
            }
            Self::GetBucketPolicy(bucket) => on_bucket(A::GetBucketPolicy, bucket),
            Self::PutBucketPolicy(bucket) => on_bucket(A::PutBucketPolicy, bucket),
            Self::DeleteBucketPolicy(bucket) => on_bucket(A::DeleteBucketPolicy, bucket),
            Self::GetBucketPolicyStatus(bucket) => on_bucket(A::GetBucketPolicyStatus, bucket),
            Self::GetPublicAccessBlock(bucket) => on_bucket(A::GetBucketPublicAccessBlock, bucket),
            Self::PutPublicAccessBlock(bucket) | Self::DeletePublicAccessBlock(bucket) => {
                on_bucket(A::PutBucketPublicAccessBlock, bucket)
            }
            Self::GetBucketReplication(bucket) => on_bucket(A::GetReplicationConfiguration, bucket),
            Self::PutBucketReplication(bucket) | Self::DeleteBucketReplication(bucket) => {
                on_bucket(A::PutReplicationConfiguration, bucket)
            }
            Self::GetBucketRequestPayment(bucket) => on_bucket(A::GetBucketRequestPayment, bucket),
            Self::PutBucketRequestPayment(bucket) => on_bucket(A::PutBucketRequestPayment, bucket),
            Self::GetBucketTagging(bucket) => on_bucket(A::GetBucketTagging, bucket),
            Self::PutBucketTagging(bucket) | Self::DeleteBucketTagging(bucket) => {
                on_bucket(A::PutBucketTagging, bucket)
            }
            Self::PutBucketVersioning(bucket) => on_bucket(A::PutBucketVersioning, bucket),
            Self::GetBucketWebsite(bucket) => on_bucket(A::GetBucketWebsite, bucket),
            Self::PutBucketWebsite(bucket) => on_bucket(A::PutBucketWebsite, bucket),
            Self::DeleteBucketWebsite(bucket) => on_bucket(A::DeleteBucketWebsite, bucket),
        };
        smallvec![one]
    }
}

impl ObjectVersion {
    /// The first action on the object, the second when a version is named.
    fn requirement(&self, plain: Action, versioned: Action) -> Requirement<'_> {
        let action = if self.version_id.is_some() { versioned } else { plain };
        on_object(action, &self.bucket, &self.key)
    }
}

impl CopySource {
    /// What reading the source needs.
    #[must_use]
    pub fn requirement(&self) -> Requirement<'_> {
        let action = if self.version_id.is_some() { Action::GetObjectVersion } else { Action::GetObject };
        on_object(action, &self.bucket, &self.key)
    }

    /// What taking the source's tags along needs besides. It is asked for once the source turned out to have tags and
    /// the copy is to keep them, together with PutObjectTagging on the target.
    #[must_use]
    pub fn tag_requirement(&self) -> Requirement<'_> {
        let versioned = self.version_id.is_some();
        let action = if versioned { Action::GetObjectVersionTagging } else { Action::GetObjectTagging };
        on_object(action, &self.bucket, &self.key)
    }
}

fn on_bucket(action: Action, bucket: &BucketName) -> Requirement<'_> {
    Requirement { action, bucket: bucket.as_str(), key: b"" }
}

fn on_object<'o>(action: Action, bucket: &'o BucketName, key: &'o ObjectKey) -> Requirement<'o> {
    Requirement { action, bucket: bucket.as_str(), key: key.as_bytes() }
}

fn with_bypass<'o>(needed: Requirement<'o>, head: &Head) -> Requirements<'o> {
    let bypass = head.header("x-amz-bypass-governance-retention");
    if bypass.is_some_and(|value| value.eq_ignore_ascii_case(b"true")) {
        smallvec![needed, Requirement { action: Action::BypassGovernanceRetention, ..needed }]
    } else {
        smallvec![needed]
    }
}

fn create_bucket<'o>(bucket: &'o BucketName, head: &Head) -> Requirements<'o> {
    let extras = Extras::of(head);
    let mut needed: Requirements<'o> = smallvec![on_bucket(Action::CreateBucket, bucket)];
    if extras.acl {
        needed.push(on_bucket(Action::PutBucketAcl, bucket));
    }
    if extras.bucket_lock {
        needed.push(on_bucket(Action::PutBucketObjectLockConfiguration, bucket));
        needed.push(on_bucket(Action::PutBucketVersioning, bucket));
    }
    if extras.ownership {
        needed.push(on_bucket(Action::PutBucketOwnershipControls, bucket));
    }
    needed
}

fn write_object<'o>(bucket: &'o BucketName, key: &'o ObjectKey, head: &Head) -> Requirements<'o> {
    let extras = Extras::of(head);
    let mut needed: Requirements<'o> = smallvec![on_object(Action::PutObject, bucket, key)];
    if extras.acl {
        needed.push(on_object(Action::PutObjectAcl, bucket, key));
    }
    if extras.tagging {
        needed.push(on_object(Action::PutObjectTagging, bucket, key));
    }
    if extras.retention {
        needed.push(on_object(Action::PutObjectRetention, bucket, key));
    }
    if extras.legal_hold {
        needed.push(on_object(Action::PutObjectLegalHold, bucket, key));
    }
    needed
}

/// The headers of a write that need a permission of their own, found in one pass over the head.
#[derive(Default)]
struct Extras {
    acl: bool,
    tagging: bool,
    retention: bool,
    legal_hold: bool,
    bucket_lock: bool,
    ownership: bool,
}

impl Extras {
    fn of(head: &Head) -> Self {
        const PREFIX: &[u8] = b"x-amz-";
        let mut extras = Self::default();
        for (name, value) in head.headers() {
            let Some((prefix, rest)) = name.split_at_checked(PREFIX.len()) else { continue };
            if !prefix.eq_ignore_ascii_case(PREFIX) {
                continue;
            }
            let is = |known: &[u8]| rest.eq_ignore_ascii_case(known);
            let starts_with =
                |known: &[u8]| rest.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known));
            if is(b"acl") || starts_with(b"grant-") {
                extras.acl = true;
            } else if is(b"tagging") {
                extras.tagging = true;
            } else if is(b"object-lock-mode") || is(b"object-lock-retain-until-date") {
                extras.retention = true;
            } else if is(b"object-lock-legal-hold") {
                extras.legal_hold = true;
            } else if is(b"bucket-object-lock-enabled") {
                extras.bucket_lock = value.eq_ignore_ascii_case(b"true");
            } else if is(b"object-ownership") {
                extras.ownership = true;
            }
        }
        extras
    }
}

#[cfg(test)]
mod tests;
