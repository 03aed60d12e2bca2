//! The table of sub-resources: which exist on a bucket and on an object, and what each method on them is.
//!
//! A sub-resource is a query parameter that turns a request into another one (`?acl`). All of the S3 API are here, also
//! those the server does not offer: a row that is missing would make `DELETE /bucket/key?tagging` delete the object.
//! Spec: the Amazon S3 API reference; the model of botocore 1.43 lists every combination.

use super::Operation;
use super::parameters::{CreateMultipartUpload, ObjectVersion};
use super::query::LetterIndex;
use super::route::{self, Request};
use crate::http::head::Method;
use crate::s3::error::S3Error;
use crate::storage::layout::BucketName;

use Maker::{Parsed, Plain};

/// One sub-resource.
pub(super) struct Subresource {
    /// The name of the parameter.
    pub(super) name: &'static str,
    /// What it is on a bucket.
    pub(super) bucket: Methods<BucketName>,
    /// What it is on an object.
    pub(super) object: Methods<ObjectVersion>,
    /// Whether each version of an object has its own, so that `versionId` goes with it.
    pub(super) of_versions: bool,
}

/// How an operation is made from what it acts on.
pub(super) enum Maker<T> {
    /// It needs no more.
    Plain(fn(T) -> Operation),
    /// It has options.
    Parsed(fn(T, &Request<'_>) -> Result<Operation, S3Error>),
}

/// The methods of a sub-resource; none at all where it does not exist. HEAD is none of them.
pub(super) struct Methods<T> {
    get: Option<Maker<T>>,
    put: Option<Maker<T>>,
    post: Option<Maker<T>>,
    delete: Option<Maker<T>>,
}

/// The sub-resource of this name.
pub(super) fn find(name: &[u8]) -> Option<&'static Subresource> {
    SUBRESOURCES[BY_LETTER.range(name)].iter().find(|known| known.name.as_bytes() == name)
}

impl<T> Maker<T> {
    /// Makes the operation.
    pub(super) fn make(&self, subject: T, request: &Request<'_>) -> Result<Operation, S3Error> {
        match self {
            Plain(make) => Ok(make(subject)),
            Parsed(make) => make(subject, request),
        }
    }
}

impl<T> Methods<T> {
    const NONE: Self = Self { get: None, put: None, post: None, delete: None };

    const fn get(self, maker: Maker<T>) -> Self {
        Self { get: Some(maker), ..self }
    }

    const fn put(self, maker: Maker<T>) -> Self {
        Self { put: Some(maker), ..self }
    }

    const fn post(self, maker: Maker<T>) -> Self {
        Self { post: Some(maker), ..self }
    }

    const fn delete(self, maker: Maker<T>) -> Self {
        Self { delete: Some(maker), ..self }
    }

    /// What this method is here.
    pub(super) fn of(&self, method: Method) -> Option<&Maker<T>> {
        match method {
            Method::Get => self.get.as_ref(),
            Method::Put => self.put.as_ref(),
            Method::Post => self.post.as_ref(),
            Method::Delete => self.delete.as_ref(),
            Method::Head | Method::Options | Method::Other => None,
        }
    }

    /// The value of an `Allow` header; empty where the sub-resource does not exist.
    pub(super) fn allow(&self) -> String {
        let present = [
            ("GET", self.get.is_some()),
            ("PUT", self.put.is_some()),
            ("POST", self.post.is_some()),
            ("DELETE", self.delete.is_some()),
        ];
        let names: Vec<&str> = present.into_iter().filter_map(|(name, here)| here.then_some(name)).collect();
        names.join(", ")
    }

    /// Whether the sub-resource exists here.
    pub(super) fn exist(&self) -> bool {
        self.get.is_some() || self.put.is_some() || self.post.is_some() || self.delete.is_some()
    }
}

const fn on_bucket(name: &'static str, bucket: Methods<BucketName>) -> Subresource {
    both(name, bucket, Methods::NONE)
}

const fn on_object(name: &'static str, object: Methods<ObjectVersion>) -> Subresource {
    both(name, Methods::NONE, object)
}

const fn both(
    name: &'static str,
    bucket: Methods<BucketName>,
    object: Methods<ObjectVersion>,
) -> Subresource {
    Subresource { name, bucket, object, of_versions: false }
}

impl Subresource {
    const fn of_versions(self) -> Self {
        Self { of_versions: true, ..self }
    }
}

fn create_multipart_upload(object: ObjectVersion) -> Operation {
    Operation::CreateMultipartUpload(CreateMultipartUpload { bucket: object.bucket, key: object.key })
}

/// Every sub-resource, sorted by name.
static SUBRESOURCES: [Subresource; 41] = [
    on_bucket(
        "abac",
        Methods::NONE.get(Plain(Operation::GetBucketAbac)).put(Plain(Operation::PutBucketAbac)),
    ),
    on_bucket(
        "accelerate",
        Methods::NONE
            .get(Plain(Operation::GetBucketAccelerateConfiguration))
            .put(Plain(Operation::PutBucketAccelerateConfiguration)),
    ),
    both(
        "acl",
        Methods::NONE.get(Plain(Operation::GetBucketAcl)).put(Plain(Operation::PutBucketAcl)),
        Methods::NONE.get(Plain(Operation::GetObjectAcl)).put(Plain(Operation::PutObjectAcl)),
    )
    .of_versions(),
    on_bucket(
        "analytics",
        Methods::NONE
            .get(Parsed(route::analytics))
            .put(Plain(Operation::PutBucketAnalyticsConfiguration))
            .delete(Plain(Operation::DeleteBucketAnalyticsConfiguration)),
    ),
    on_object("append", Methods::NONE.put(Parsed(route::append)).post(Parsed(route::append))),
    on_object("attributes", Methods::NONE.get(Plain(Operation::GetObjectAttributes))).of_versions(),
    on_bucket(
        "cors",
        Methods::NONE
            .get(Plain(Operation::GetBucketCors))
            .put(Plain(Operation::PutBucketCors))
            .delete(Plain(Operation::DeleteBucketCors)),
    ),
    on_bucket("delete", Methods::NONE.post(Plain(Operation::DeleteObjects))),
    both(
        "encryption",
        Methods::NONE
            .get(Plain(Operation::GetBucketEncryption))
            .put(Plain(Operation::PutBucketEncryption))
            .delete(Plain(Operation::DeleteBucketEncryption)),
        Methods::NONE.put(Plain(Operation::UpdateObjectEncryption)),
    )
    .of_versions(),
    on_bucket(
        "intelligent-tiering",
        Methods::NONE
            .get(Parsed(route::intelligent_tiering))
            .put(Plain(Operation::PutBucketIntelligentTieringConfiguration))
            .delete(Plain(Operation::DeleteBucketIntelligentTieringConfiguration)),
    ),
    on_bucket(
        "inventory",
        Methods::NONE
            .get(Parsed(route::inventory))
            .put(Plain(Operation::PutBucketInventoryConfiguration))
            .delete(Plain(Operation::DeleteBucketInventoryConfiguration)),
    ),
    on_object(
        "legal-hold",
        Methods::NONE.get(Plain(Operation::GetObjectLegalHold)).put(Plain(Operation::PutObjectLegalHold)),
    )
    .of_versions(),
    on_bucket(
        "lifecycle",
        Methods::NONE
            .get(Plain(Operation::GetBucketLifecycleConfiguration))
            .put(Plain(Operation::PutBucketLifecycleConfiguration))
            .delete(Plain(Operation::DeleteBucketLifecycle)),
    ),
    on_bucket("list-type", Methods::NONE.get(Parsed(route::list_objects_v2))),
    on_bucket("location", Methods::NONE.get(Plain(Operation::GetBucketLocation))),
    on_bucket(
        "logging",
        Methods::NONE.get(Plain(Operation::GetBucketLogging)).put(Plain(Operation::PutBucketLogging)),
    ),
    on_bucket(
        "metadataConfiguration",
        Methods::NONE
            .get(Plain(Operation::GetBucketMetadataConfiguration))
            .post(Plain(Operation::CreateBucketMetadataConfiguration))
            .delete(Plain(Operation::DeleteBucketMetadataConfiguration)),
    ),
    on_bucket(
        "metadataInventoryTable",
        Methods::NONE.put(Plain(Operation::UpdateBucketMetadataInventoryTableConfiguration)),
    ),
    on_bucket(
        "metadataJournalTable",
        Methods::NONE.put(Plain(Operation::UpdateBucketMetadataJournalTableConfiguration)),
    ),
    on_bucket(
        "metadataTable",
        Methods::NONE
            .get(Plain(Operation::GetBucketMetadataTableConfiguration))
            .post(Plain(Operation::CreateBucketMetadataTableConfiguration))
            .delete(Plain(Operation::DeleteBucketMetadataTableConfiguration)),
    ),
    on_bucket(
        "metrics",
        Methods::NONE
            .get(Parsed(route::metrics))
            .put(Plain(Operation::PutBucketMetricsConfiguration))
            .delete(Plain(Operation::DeleteBucketMetricsConfiguration)),
    ),
    on_bucket(
        "notification",
        Methods::NONE
            .get(Plain(Operation::GetBucketNotificationConfiguration))
            .put(Plain(Operation::PutBucketNotificationConfiguration)),
    ),
    on_bucket(
        "object-lock",
        Methods::NONE
            .get(Plain(Operation::GetObjectLockConfiguration))
            .put(Plain(Operation::PutObjectLockConfiguration)),
    ),
    on_bucket(
        "ownershipControls",
        Methods::NONE
            .get(Plain(Operation::GetBucketOwnershipControls))
            .put(Plain(Operation::PutBucketOwnershipControls))
            .delete(Plain(Operation::DeleteBucketOwnershipControls)),
    ),
    on_bucket(
        "policy",
        Methods::NONE
            .get(Plain(Operation::GetBucketPolicy))
            .put(Plain(Operation::PutBucketPolicy))
            .delete(Plain(Operation::DeleteBucketPolicy)),
    ),
    on_bucket("policyStatus", Methods::NONE.get(Plain(Operation::GetBucketPolicyStatus))),
    on_bucket(
        "publicAccessBlock",
        Methods::NONE
            .get(Plain(Operation::GetPublicAccessBlock))
            .put(Plain(Operation::PutPublicAccessBlock))
            .delete(Plain(Operation::DeletePublicAccessBlock)),
    ),
    on_object("renameObject", Methods::NONE.put(Parsed(route::rename_object))),
    on_bucket(
        "replication",
        Methods::NONE
            .get(Plain(Operation::GetBucketReplication))
            .put(Plain(Operation::PutBucketReplication))
            .delete(Plain(Operation::DeleteBucketReplication)),
    ),
    on_bucket(
        "requestPayment",
        Methods::NONE
            .get(Plain(Operation::GetBucketRequestPayment))
            .put(Plain(Operation::PutBucketRequestPayment)),
    ),
    on_object("restore", Methods::NONE.post(Plain(Operation::RestoreObject))).of_versions(),
    on_object(
        "retention",
        Methods::NONE.get(Plain(Operation::GetObjectRetention)).put(Plain(Operation::PutObjectRetention)),
    )
    .of_versions(),
    on_object("select", Methods::NONE.post(Plain(Operation::SelectObjectContent))),
    on_bucket("session", Methods::NONE.get(Plain(Operation::CreateSession))),
    both(
        "tagging",
        Methods::NONE
            .get(Plain(Operation::GetBucketTagging))
            .put(Plain(Operation::PutBucketTagging))
            .delete(Plain(Operation::DeleteBucketTagging)),
        Methods::NONE
            .get(Plain(Operation::GetObjectTagging))
            .put(Plain(Operation::PutObjectTagging))
            .delete(Plain(Operation::DeleteObjectTagging)),
    )
    .of_versions(),
    on_object("torrent", Methods::NONE.get(Plain(Operation::GetObjectTorrent))),
    on_object(
        "uploadId",
        Methods::NONE
            .get(Parsed(route::list_parts))
            .put(Parsed(route::upload_part))
            .post(Parsed(route::complete_multipart_upload))
            .delete(Parsed(route::abort_multipart_upload)),
    ),
    both(
        "uploads",
        Methods::NONE.get(Parsed(route::list_multipart_uploads)),
        Methods::NONE.post(Plain(create_multipart_upload)),
    ),
    on_bucket(
        "versioning",
        Methods::NONE.get(Plain(Operation::GetBucketVersioning)).put(Plain(Operation::PutBucketVersioning)),
    ),
    on_bucket("versions", Methods::NONE.get(Parsed(route::list_object_versions))),
    on_bucket(
        "website",
        Methods::NONE
            .get(Plain(Operation::GetBucketWebsite))
            .put(Plain(Operation::PutBucketWebsite))
            .delete(Plain(Operation::DeleteBucketWebsite)),
    ),
];

/// Where in [`SUBRESOURCES`] the names with each first letter are.
const BY_LETTER: LetterIndex = {
    let mut index = LetterIndex::EMPTY;
    let mut at = 0;
    while at < SUBRESOURCES.len() {
        index = index.with(SUBRESOURCES[at].name);
        at += 1;
    }
    index
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(SUBRESOURCES.is_sorted_by(|left, right| left.name < right.name));
        for row in &SUBRESOURCES {
            assert!(row.bucket.exist() || row.object.exist(), "{} exists nowhere", row.name);
            assert!(row.object.exist() || !row.of_versions, "{} has versions but no object", row.name);
            assert!(std::ptr::eq(find(row.name.as_bytes()).expect(row.name), row));
        }
        assert!(find(b"").is_none() && find(b"ACL").is_none() && find(b"aclx").is_none());
    }

    #[test]
    fn allow() {
        let row = find(b"tagging").expect("a row");
        assert_eq!(
            (row.bucket.allow().as_str(), row.object.allow().as_str()),
            ("GET, PUT, DELETE", "GET, PUT, DELETE")
        );
        let row = find(b"uploads").expect("a row");
        assert_eq!((row.bucket.allow().as_str(), row.object.allow().as_str()), ("GET", "POST"));
        assert_eq!(find(b"torrent").expect("a row").bucket.allow(), "");
    }
}
