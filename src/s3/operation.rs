//! What a request asks for: [`route`] turns a head into one [`Operation`], without looking at the body.
//!
//! Every operation of the S3 API has its variant, also those the server does not offer, so that a request for them is
//! answered with what it is and never mistaken for another one: `PUT /b/k?retention` must not overwrite the object. The
//! variants of what is offered carry parsed options; what may stand in them is checked here, once.
//!
//! This module authenticates nobody and touches no storage. It says which permissions an operation needs
//! ([`Operation::actions`]); whether the caller has them is decided elsewhere.
//!
//! In its directory: `route` (the table of sub-resources and methods), `address` (path style and virtual-host style, to
//! a bucket and a key), `query` (the parameters, each known one at most once), `parameters` (the options, and values in
//! them that exist only valid), `copy_source`, `continuation`, and `actions` (the permissions).
//!
//! Invariants: keys are percent-decoded exactly once and never normalised; a known sub-resource is never ignored.
//! Spec: the Amazon S3 API reference, request syntax of each operation (model of botocore 1.43); "Virtual hosting of
//! general purpose buckets" in the Amazon S3 user guide.

mod actions;
mod address;
pub mod continuation;
mod copy_source;
mod parameters;
mod query;
mod route;
mod subresource;

use crate::storage::layout::{BucketName, ObjectKey};

pub use actions::{Requirement, Requirements};
pub use copy_source::CopySource;
pub use parameters::*;
pub use route::{fuzz, route};

/// A request, understood. The variants are the operations of the S3 API, spelled as AWS spells them, and four calls
/// beside it: [`PostObject`](Operation::PostObject), [`Preflight`](Operation::Preflight), [`Sts`](Operation::Sts) and
/// [`Iam`](Operation::Iam).
/// `GetBucketLifecycle`, `PutBucketLifecycle`, `GetBucketNotification` and `PutBucketNotification` are old names of calls
/// that look the same on the wire as their successors and so have no variant; `ListDirectoryBuckets` looks the same as
/// [`ListBuckets`](Operation::ListBuckets).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `GET /`.
    ListBuckets(ListBuckets),
    /// `PUT /bucket`.
    CreateBucket(BucketName),
    /// `HEAD /bucket`.
    HeadBucket(BucketName),
    /// `DELETE /bucket`.
    DeleteBucket(BucketName),
    /// `GET /bucket?location`.
    GetBucketLocation(BucketName),
    /// `GET /bucket?versioning`.
    GetBucketVersioning(BucketName),
    /// `GET /bucket`.
    ListObjects(ListObjects),
    /// `GET /bucket?list-type=2`.
    ListObjectsV2(ListObjectsV2),
    /// `GET /bucket?versions`.
    ListObjectVersions(ListObjectVersions),
    /// `PUT /bucket/key`.
    PutObject(PutObject),
    /// `GET /bucket/key`.
    GetObject(GetObject),
    /// `HEAD /bucket/key`.
    HeadObject(HeadObject),
    /// `DELETE /bucket/key`.
    DeleteObject(DeleteObject),
    /// `POST /bucket?delete`.
    DeleteObjects(BucketName),
    /// `PUT /bucket/key` with `x-amz-copy-source`.
    CopyObject(CopyObject),
    /// `POST /bucket` with a form.
    PostObject(BucketName),
    /// `POST /bucket/key?uploads`.
    CreateMultipartUpload(CreateMultipartUpload),
    /// `PUT /bucket/key?partNumber&uploadId`.
    UploadPart(UploadPart),
    /// `PUT /bucket/key?partNumber&uploadId` with `x-amz-copy-source`.
    UploadPartCopy(UploadPartCopy),
    /// `POST /bucket/key?uploadId`.
    CompleteMultipartUpload(CompleteMultipartUpload),
    /// `DELETE /bucket/key?uploadId`.
    AbortMultipartUpload(AbortMultipartUpload),
    /// `GET /bucket/key?uploadId`.
    ListParts(ListParts),
    /// `GET /bucket?uploads`.
    ListMultipartUploads(ListMultipartUploads),
    /// `GET /bucket?abac`.
    GetBucketAbac(BucketName),
    /// `PUT /bucket?abac`.
    PutBucketAbac(BucketName),
    /// `GET /bucket?accelerate`.
    GetBucketAccelerateConfiguration(BucketName),
    /// `PUT /bucket?accelerate`.
    PutBucketAccelerateConfiguration(BucketName),
    /// `GET /bucket?acl`.
    GetBucketAcl(BucketName),
    /// `PUT /bucket?acl`.
    PutBucketAcl(BucketName),
    /// `GET /bucket?analytics`.
    ListBucketAnalyticsConfigurations(BucketName),
    /// `GET /bucket?analytics&id`.
    GetBucketAnalyticsConfiguration(BucketName),
    /// `PUT /bucket?analytics`.
    PutBucketAnalyticsConfiguration(BucketName),
    /// `DELETE /bucket?analytics`.
    DeleteBucketAnalyticsConfiguration(BucketName),
    /// `GET /bucket?cors`.
    GetBucketCors(BucketName),
    /// `PUT /bucket?cors`.
    PutBucketCors(BucketName),
    /// `DELETE /bucket?cors`.
    DeleteBucketCors(BucketName),
    /// `GET /bucket?encryption`.
    GetBucketEncryption(BucketName),
    /// `PUT /bucket?encryption`.
    PutBucketEncryption(BucketName),
    /// `DELETE /bucket?encryption`.
    DeleteBucketEncryption(BucketName),
    /// `GET /bucket?intelligent-tiering`.
    ListBucketIntelligentTieringConfigurations(BucketName),
    /// `GET /bucket?intelligent-tiering&id`.
    GetBucketIntelligentTieringConfiguration(BucketName),
    /// `PUT /bucket?intelligent-tiering`.
    PutBucketIntelligentTieringConfiguration(BucketName),
    /// `DELETE /bucket?intelligent-tiering`.
    DeleteBucketIntelligentTieringConfiguration(BucketName),
    /// `GET /bucket?inventory`.
    ListBucketInventoryConfigurations(BucketName),
    /// `GET /bucket?inventory&id`.
    GetBucketInventoryConfiguration(BucketName),
    /// `PUT /bucket?inventory`.
    PutBucketInventoryConfiguration(BucketName),
    /// `DELETE /bucket?inventory`.
    DeleteBucketInventoryConfiguration(BucketName),
    /// `GET /bucket?lifecycle`.
    GetBucketLifecycleConfiguration(BucketName),
    /// `PUT /bucket?lifecycle`.
    PutBucketLifecycleConfiguration(BucketName),
    /// `DELETE /bucket?lifecycle`.
    DeleteBucketLifecycle(BucketName),
    /// `GET /bucket?logging`.
    GetBucketLogging(BucketName),
    /// `PUT /bucket?logging`.
    PutBucketLogging(BucketName),
    /// `GET /bucket?metadataConfiguration`.
    GetBucketMetadataConfiguration(BucketName),
    /// `POST /bucket?metadataConfiguration`.
    CreateBucketMetadataConfiguration(BucketName),
    /// `DELETE /bucket?metadataConfiguration`.
    DeleteBucketMetadataConfiguration(BucketName),
    /// `PUT /bucket?metadataInventoryTable`.
    UpdateBucketMetadataInventoryTableConfiguration(BucketName),
    /// `PUT /bucket?metadataJournalTable`.
    UpdateBucketMetadataJournalTableConfiguration(BucketName),
    /// `GET /bucket?metadataTable`.
    GetBucketMetadataTableConfiguration(BucketName),
    /// `POST /bucket?metadataTable`.
    CreateBucketMetadataTableConfiguration(BucketName),
    /// `DELETE /bucket?metadataTable`.
    DeleteBucketMetadataTableConfiguration(BucketName),
    /// `GET /bucket?metrics`.
    ListBucketMetricsConfigurations(BucketName),
    /// `GET /bucket?metrics&id`.
    GetBucketMetricsConfiguration(BucketName),
    /// `PUT /bucket?metrics`.
    PutBucketMetricsConfiguration(BucketName),
    /// `DELETE /bucket?metrics`.
    DeleteBucketMetricsConfiguration(BucketName),
    /// `GET /bucket?notification`.
    GetBucketNotificationConfiguration(BucketName),
    /// `PUT /bucket?notification`.
    PutBucketNotificationConfiguration(BucketName),
    /// `GET /bucket?object-lock`.
    GetObjectLockConfiguration(BucketName),
    /// `PUT /bucket?object-lock`.
    PutObjectLockConfiguration(BucketName),
    /// `GET /bucket?ownershipControls`.
    GetBucketOwnershipControls(BucketName),
    /// `PUT /bucket?ownershipControls`.
    PutBucketOwnershipControls(BucketName),
    /// `DELETE /bucket?ownershipControls`.
    DeleteBucketOwnershipControls(BucketName),
    /// `GET /bucket?policy`.
    GetBucketPolicy(BucketName),
    /// `PUT /bucket?policy`.
    PutBucketPolicy(BucketName),
    /// `DELETE /bucket?policy`.
    DeleteBucketPolicy(BucketName),
    /// `GET /bucket?policyStatus`.
    GetBucketPolicyStatus(BucketName),
    /// `GET /bucket?publicAccessBlock`.
    GetPublicAccessBlock(BucketName),
    /// `PUT /bucket?publicAccessBlock`.
    PutPublicAccessBlock(BucketName),
    /// `DELETE /bucket?publicAccessBlock`.
    DeletePublicAccessBlock(BucketName),
    /// `GET /bucket?replication`.
    GetBucketReplication(BucketName),
    /// `PUT /bucket?replication`.
    PutBucketReplication(BucketName),
    /// `DELETE /bucket?replication`.
    DeleteBucketReplication(BucketName),
    /// `GET /bucket?requestPayment`.
    GetBucketRequestPayment(BucketName),
    /// `PUT /bucket?requestPayment`.
    PutBucketRequestPayment(BucketName),
    /// `GET /bucket?session`.
    CreateSession(BucketName),
    /// `GET /bucket?tagging`.
    GetBucketTagging(BucketName),
    /// `PUT /bucket?tagging`.
    PutBucketTagging(BucketName),
    /// `DELETE /bucket?tagging`.
    DeleteBucketTagging(BucketName),
    /// `PUT /bucket?versioning`.
    PutBucketVersioning(BucketName),
    /// `GET /bucket?website`.
    GetBucketWebsite(BucketName),
    /// `PUT /bucket?website`.
    PutBucketWebsite(BucketName),
    /// `DELETE /bucket?website`.
    DeleteBucketWebsite(BucketName),
    /// `GET /bucket/key?acl`.
    GetObjectAcl(ObjectVersion),
    /// `PUT /bucket/key?acl`.
    PutObjectAcl(ObjectVersion),
    /// `GET /bucket/key?attributes`.
    GetObjectAttributes(ObjectVersion),
    /// `PUT /bucket/key?encryption`.
    UpdateObjectEncryption(ObjectVersion),
    /// `GET /bucket/key?legal-hold`.
    GetObjectLegalHold(ObjectVersion),
    /// `PUT /bucket/key?legal-hold`.
    PutObjectLegalHold(ObjectVersion),
    /// `PUT /bucket/key?renameObject`.
    RenameObject(RenameObject),
    /// `POST /bucket/key?restore`.
    RestoreObject(ObjectVersion),
    /// `GET /bucket/key?retention`.
    GetObjectRetention(ObjectVersion),
    /// `PUT /bucket/key?retention`.
    PutObjectRetention(ObjectVersion),
    /// `POST /bucket/key?select`.
    SelectObjectContent(ObjectVersion),
    /// `GET /bucket/key?tagging`.
    GetObjectTagging(ObjectVersion),
    /// `PUT /bucket/key?tagging`.
    PutObjectTagging(ObjectVersion),
    /// `DELETE /bucket/key?tagging`.
    DeleteObjectTagging(ObjectVersion),
    /// `GET /bucket/key?torrent`.
    GetObjectTorrent(ObjectVersion),
    /// `OPTIONS` on anything: the question a browser asks before a cross-origin request.
    Preflight(Preflight),
    /// `POST /WriteGetObjectResponse`.
    WriteGetObjectResponse,
    /// `POST /` with a form: a call of AWS STS, not of S3.
    Sts,
    /// `POST /` with a form that is signed for IAM: a call of AWS IAM, not of S3.
    Iam,
}

impl Operation {
    /// The version that the request names: of the object it is about, or of the source of a copy.
    #[must_use]
    pub fn version_id(&self) -> Option<&VersionId> {
        match self {
            Self::GetObject(get) => get.version_id.as_ref(),
            Self::HeadObject(get) => get.version_id.as_ref(),
            Self::DeleteObject(delete) => delete.version_id.as_ref(),
            Self::CopyObject(copy) => copy.source.version_id.as_ref(),
            Self::UploadPartCopy(part) => part.source.version_id.as_ref(),
            Self::GetObjectAcl(object)
            | Self::PutObjectAcl(object)
            | Self::GetObjectAttributes(object)
            | Self::GetObjectLegalHold(object)
            | Self::PutObjectLegalHold(object)
            | Self::GetObjectRetention(object)
            | Self::PutObjectRetention(object)
            | Self::GetObjectTagging(object)
            | Self::PutObjectTagging(object)
            | Self::DeleteObjectTagging(object) => object.version_id.as_ref(),
            _ => None,
        }
    }

    /// The name as AWS spells it, for logs, metrics and audit.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ListBuckets(_) => "ListBuckets",
            Self::CreateBucket(_) => "CreateBucket",
            Self::HeadBucket(_) => "HeadBucket",
            Self::DeleteBucket(_) => "DeleteBucket",
            Self::GetBucketLocation(_) => "GetBucketLocation",
            Self::GetBucketVersioning(_) => "GetBucketVersioning",
            Self::ListObjects(_) => "ListObjects",
            Self::ListObjectsV2(_) => "ListObjectsV2",
            Self::ListObjectVersions(_) => "ListObjectVersions",
            Self::PutObject(_) => "PutObject",
            Self::GetObject(_) => "GetObject",
            Self::HeadObject(_) => "HeadObject",
            Self::DeleteObject(_) => "DeleteObject",
            Self::DeleteObjects(_) => "DeleteObjects",
            Self::CopyObject(_) => "CopyObject",
            Self::PostObject(_) => "PostObject",
            Self::CreateMultipartUpload(_) => "CreateMultipartUpload",
            Self::UploadPart(_) => "UploadPart",
            Self::UploadPartCopy(_) => "UploadPartCopy",
            Self::CompleteMultipartUpload(_) => "CompleteMultipartUpload",
            Self::AbortMultipartUpload(_) => "AbortMultipartUpload",
            Self::ListParts(_) => "ListParts",
            Self::ListMultipartUploads(_) => "ListMultipartUploads",
            Self::GetBucketAbac(_) => "GetBucketAbac",
            Self::PutBucketAbac(_) => "PutBucketAbac",
            Self::GetBucketAccelerateConfiguration(_) => "GetBucketAccelerateConfiguration",
            Self::PutBucketAccelerateConfiguration(_) => "PutBucketAccelerateConfiguration",
            Self::GetBucketAcl(_) => "GetBucketAcl",
            Self::PutBucketAcl(_) => "PutBucketAcl",
            Self::ListBucketAnalyticsConfigurations(_) => "ListBucketAnalyticsConfigurations",
            Self::GetBucketAnalyticsConfiguration(_) => "GetBucketAnalyticsConfiguration",
            Self::PutBucketAnalyticsConfiguration(_) => "PutBucketAnalyticsConfiguration",
            Self::DeleteBucketAnalyticsConfiguration(_) => "DeleteBucketAnalyticsConfiguration",
            Self::GetBucketCors(_) => "GetBucketCors",
            Self::PutBucketCors(_) => "PutBucketCors",
            Self::DeleteBucketCors(_) => "DeleteBucketCors",
            Self::GetBucketEncryption(_) => "GetBucketEncryption",
            Self::PutBucketEncryption(_) => "PutBucketEncryption",
            Self::DeleteBucketEncryption(_) => "DeleteBucketEncryption",
            Self::ListBucketIntelligentTieringConfigurations(_) => {
                "ListBucketIntelligentTieringConfigurations"
            }
            Self::GetBucketIntelligentTieringConfiguration(_) => "GetBucketIntelligentTieringConfiguration",
            Self::PutBucketIntelligentTieringConfiguration(_) => "PutBucketIntelligentTieringConfiguration",
            Self::DeleteBucketIntelligentTieringConfiguration(_) => {
                "DeleteBucketIntelligentTieringConfiguration"
            }
            Self::ListBucketInventoryConfigurations(_) => "ListBucketInventoryConfigurations",
            Self::GetBucketInventoryConfiguration(_) => "GetBucketInventoryConfiguration",
            Self::PutBucketInventoryConfiguration(_) => "PutBucketInventoryConfiguration",
            Self::DeleteBucketInventoryConfiguration(_) => "DeleteBucketInventoryConfiguration",
            Self::GetBucketLifecycleConfiguration(_) => "GetBucketLifecycleConfiguration",
            Self::PutBucketLifecycleConfiguration(_) => "PutBucketLifecycleConfiguration",
            Self::DeleteBucketLifecycle(_) => "DeleteBucketLifecycle",
            Self::GetBucketLogging(_) => "GetBucketLogging",
            Self::PutBucketLogging(_) => "PutBucketLogging",
            Self::GetBucketMetadataConfiguration(_) => "GetBucketMetadataConfiguration",
            Self::CreateBucketMetadataConfiguration(_) => "CreateBucketMetadataConfiguration",
            Self::DeleteBucketMetadataConfiguration(_) => "DeleteBucketMetadataConfiguration",
            Self::UpdateBucketMetadataInventoryTableConfiguration(_) => {
                "UpdateBucketMetadataInventoryTableConfiguration"
            }
            Self::UpdateBucketMetadataJournalTableConfiguration(_) => {
                "UpdateBucketMetadataJournalTableConfiguration"
            }
            Self::GetBucketMetadataTableConfiguration(_) => "GetBucketMetadataTableConfiguration",
            Self::CreateBucketMetadataTableConfiguration(_) => "CreateBucketMetadataTableConfiguration",
            Self::DeleteBucketMetadataTableConfiguration(_) => "DeleteBucketMetadataTableConfiguration",
            Self::ListBucketMetricsConfigurations(_) => "ListBucketMetricsConfigurations",
            Self::GetBucketMetricsConfiguration(_) => "GetBucketMetricsConfiguration",
            Self::PutBucketMetricsConfiguration(_) => "PutBucketMetricsConfiguration",
            Self::DeleteBucketMetricsConfiguration(_) => "DeleteBucketMetricsConfiguration",
            Self::GetBucketNotificationConfiguration(_) => "GetBucketNotificationConfiguration",
            Self::PutBucketNotificationConfiguration(_) => "PutBucketNotificationConfiguration",
            Self::GetObjectLockConfiguration(_) => "GetObjectLockConfiguration",
            Self::PutObjectLockConfiguration(_) => "PutObjectLockConfiguration",
            Self::GetBucketOwnershipControls(_) => "GetBucketOwnershipControls",
            Self::PutBucketOwnershipControls(_) => "PutBucketOwnershipControls",
            Self::DeleteBucketOwnershipControls(_) => "DeleteBucketOwnershipControls",
            Self::GetBucketPolicy(_) => "GetBucketPolicy",
            Self::PutBucketPolicy(_) => "PutBucketPolicy",
            Self::DeleteBucketPolicy(_) => "DeleteBucketPolicy",
            Self::GetBucketPolicyStatus(_) => "GetBucketPolicyStatus",
            Self::GetPublicAccessBlock(_) => "GetPublicAccessBlock",
            Self::PutPublicAccessBlock(_) => "PutPublicAccessBlock",
            Self::DeletePublicAccessBlock(_) => "DeletePublicAccessBlock",
            Self::GetBucketReplication(_) => "GetBucketReplication",
            Self::PutBucketReplication(_) => "PutBucketReplication",
            Self::DeleteBucketReplication(_) => "DeleteBucketReplication",
            Self::GetBucketRequestPayment(_) => "GetBucketRequestPayment",
            Self::PutBucketRequestPayment(_) => "PutBucketRequestPayment",
            Self::CreateSession(_) => "CreateSession",
            Self::GetBucketTagging(_) => "GetBucketTagging",
            Self::PutBucketTagging(_) => "PutBucketTagging",
            Self::DeleteBucketTagging(_) => "DeleteBucketTagging",
            Self::PutBucketVersioning(_) => "PutBucketVersioning",
            Self::GetBucketWebsite(_) => "GetBucketWebsite",
            Self::PutBucketWebsite(_) => "PutBucketWebsite",
            Self::DeleteBucketWebsite(_) => "DeleteBucketWebsite",
            Self::GetObjectAcl(_) => "GetObjectAcl",
            Self::PutObjectAcl(_) => "PutObjectAcl",
            Self::GetObjectAttributes(_) => "GetObjectAttributes",
            Self::UpdateObjectEncryption(_) => "UpdateObjectEncryption",
            Self::GetObjectLegalHold(_) => "GetObjectLegalHold",
            Self::PutObjectLegalHold(_) => "PutObjectLegalHold",
            Self::RenameObject(_) => "RenameObject",
            Self::RestoreObject(_) => "RestoreObject",
            Self::GetObjectRetention(_) => "GetObjectRetention",
            Self::PutObjectRetention(_) => "PutObjectRetention",
            Self::SelectObjectContent(_) => "SelectObjectContent",
            Self::GetObjectTagging(_) => "GetObjectTagging",
            Self::PutObjectTagging(_) => "PutObjectTagging",
            Self::DeleteObjectTagging(_) => "DeleteObjectTagging",
            Self::GetObjectTorrent(_) => "GetObjectTorrent",
            Self::Preflight(_) => "Preflight",
            Self::WriteGetObjectResponse => "WriteGetObjectResponse",
            Self::Sts => "Sts",
            Self::Iam => "Iam",
        }
    }

    /// The bucket the request acts on.
    #[must_use]
    pub const fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::ListBuckets(_) | Self::WriteGetObjectResponse | Self::Sts | Self::Iam => None,
            Self::Preflight(preflight) => preflight.bucket.as_ref(),
            Self::ListObjects(options) => Some(&options.bucket),
            Self::ListObjectsV2(options) => Some(&options.bucket),
            Self::ListObjectVersions(options) => Some(&options.bucket),
            Self::PutObject(options) => Some(&options.bucket),
            Self::GetObject(options) => Some(&options.bucket),
            Self::HeadObject(options) => Some(&options.bucket),
            Self::DeleteObject(options) => Some(&options.bucket),
            Self::CopyObject(options) => Some(&options.bucket),
            Self::CreateMultipartUpload(options) => Some(&options.bucket),
            Self::UploadPart(options) => Some(&options.bucket),
            Self::UploadPartCopy(options) => Some(&options.bucket),
            Self::CompleteMultipartUpload(options) => Some(&options.bucket),
            Self::AbortMultipartUpload(options) => Some(&options.bucket),
            Self::RenameObject(options) => Some(&options.bucket),
            Self::ListParts(options) => Some(&options.bucket),
            Self::ListMultipartUploads(options) => Some(&options.bucket),
            Self::GetObjectAcl(object)
            | Self::PutObjectAcl(object)
            | Self::GetObjectAttributes(object)
            | Self::UpdateObjectEncryption(object)
            | Self::GetObjectLegalHold(object)
            | Self::PutObjectLegalHold(object)
            | Self::RestoreObject(object)
            | Self::GetObjectRetention(object)
            | Self::PutObjectRetention(object)
            | Self::SelectObjectContent(object)
            | Self::GetObjectTagging(object)
            | Self::PutObjectTagging(object)
            | Self::DeleteObjectTagging(object)
            | Self::GetObjectTorrent(object) => Some(&object.bucket),
            Self::CreateBucket(bucket)
            | Self::HeadBucket(bucket)
            | Self::DeleteBucket(bucket)
            | Self::GetBucketLocation(bucket)
            | Self::GetBucketVersioning(bucket)
            | Self::DeleteObjects(bucket)
            | Self::PostObject(bucket)
            | Self::GetBucketAbac(bucket)
            | Self::PutBucketAbac(bucket)
            | Self::GetBucketAccelerateConfiguration(bucket)
            | Self::PutBucketAccelerateConfiguration(bucket)
            | Self::GetBucketAcl(bucket)
            | Self::PutBucketAcl(bucket)
            | Self::ListBucketAnalyticsConfigurations(bucket)
            | Self::GetBucketAnalyticsConfiguration(bucket)
            | Self::PutBucketAnalyticsConfiguration(bucket)
            | Self::DeleteBucketAnalyticsConfiguration(bucket)
            | Self::GetBucketCors(bucket)
            | Self::PutBucketCors(bucket)
            | Self::DeleteBucketCors(bucket)
            | Self::GetBucketEncryption(bucket)
            | Self::PutBucketEncryption(bucket)
            | Self::DeleteBucketEncryption(bucket)
            | Self::ListBucketIntelligentTieringConfigurations(bucket)
            | Self::GetBucketIntelligentTieringConfiguration(bucket)
            | Self::PutBucketIntelligentTieringConfiguration(bucket)
            | Self::DeleteBucketIntelligentTieringConfiguration(bucket)
            | Self::ListBucketInventoryConfigurations(bucket)
            | Self::GetBucketInventoryConfiguration(bucket)
            | Self::PutBucketInventoryConfiguration(bucket)
            | Self::DeleteBucketInventoryConfiguration(bucket)
            | Self::GetBucketLifecycleConfiguration(bucket)
            | Self::PutBucketLifecycleConfiguration(bucket)
            | Self::DeleteBucketLifecycle(bucket)
            | Self::GetBucketLogging(bucket)
            | Self::PutBucketLogging(bucket)
            | Self::GetBucketMetadataConfiguration(bucket)
            | Self::CreateBucketMetadataConfiguration(bucket)
            | Self::DeleteBucketMetadataConfiguration(bucket)
            | Self::UpdateBucketMetadataInventoryTableConfiguration(bucket)
            | Self::UpdateBucketMetadataJournalTableConfiguration(bucket)
            | Self::GetBucketMetadataTableConfiguration(bucket)
            | Self::CreateBucketMetadataTableConfiguration(bucket)
            | Self::DeleteBucketMetadataTableConfiguration(bucket)
            | Self::ListBucketMetricsConfigurations(bucket)
            | Self::GetBucketMetricsConfiguration(bucket)
            | Self::PutBucketMetricsConfiguration(bucket)
            | Self::DeleteBucketMetricsConfiguration(bucket)
            | Self::GetBucketNotificationConfiguration(bucket)
            | Self::PutBucketNotificationConfiguration(bucket)
            | Self::GetObjectLockConfiguration(bucket)
            | Self::PutObjectLockConfiguration(bucket)
            | Self::GetBucketOwnershipControls(bucket)
            | Self::PutBucketOwnershipControls(bucket)
            | Self::DeleteBucketOwnershipControls(bucket)
            | Self::GetBucketPolicy(bucket)
            | Self::PutBucketPolicy(bucket)
            | Self::DeleteBucketPolicy(bucket)
            | Self::GetBucketPolicyStatus(bucket)
            | Self::GetPublicAccessBlock(bucket)
            | Self::PutPublicAccessBlock(bucket)
            | Self::DeletePublicAccessBlock(bucket)
            | Self::GetBucketReplication(bucket)
            | Self::PutBucketReplication(bucket)
            | Self::DeleteBucketReplication(bucket)
            | Self::GetBucketRequestPayment(bucket)
            | Self::PutBucketRequestPayment(bucket)
            | Self::CreateSession(bucket)
            | Self::GetBucketTagging(bucket)
            | Self::PutBucketTagging(bucket)
            | Self::DeleteBucketTagging(bucket)
            | Self::PutBucketVersioning(bucket)
            | Self::GetBucketWebsite(bucket)
            | Self::PutBucketWebsite(bucket)
            | Self::DeleteBucketWebsite(bucket) => Some(bucket),
        }
    }

    /// The key of the object the request acts on. The keys of DeleteObjects and PostObject are in their bodies.
    #[must_use]
    pub const fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Preflight(preflight) => preflight.key.as_ref(),
            Self::PutObject(options) => Some(&options.key),
            Self::GetObject(options) => Some(&options.key),
            Self::HeadObject(options) => Some(&options.key),
            Self::DeleteObject(options) => Some(&options.key),
            Self::CopyObject(options) => Some(&options.key),
            Self::CreateMultipartUpload(options) => Some(&options.key),
            Self::UploadPart(options) => Some(&options.key),
            Self::UploadPartCopy(options) => Some(&options.key),
            Self::CompleteMultipartUpload(options) => Some(&options.key),
            Self::AbortMultipartUpload(options) => Some(&options.key),
            Self::RenameObject(options) => Some(&options.key),
            Self::ListParts(options) => Some(&options.key),
            Self::GetObjectAcl(object)
            | Self::PutObjectAcl(object)
            | Self::GetObjectAttributes(object)
            | Self::UpdateObjectEncryption(object)
            | Self::GetObjectLegalHold(object)
            | Self::PutObjectLegalHold(object)
            | Self::RestoreObject(object)
            | Self::GetObjectRetention(object)
            | Self::PutObjectRetention(object)
            | Self::SelectObjectContent(object)
            | Self::GetObjectTagging(object)
            | Self::PutObjectTagging(object)
            | Self::DeleteObjectTagging(object)
            | Self::GetObjectTorrent(object) => Some(&object.key),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
