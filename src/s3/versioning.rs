//! Versions of objects, as clients see them: GetBucketVersioning, PutBucketVersioning, and the way of every operation that
//! reads an object to the version it is asked for.
//!
//! `x-amz-version-id` is in the answers about objects of buckets that keep versions or once did. A write that makes the
//! null version has none.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Using versioning in S3 buckets" and "Working with
//! delete markers" of the user guide.

use super::access::Authorized;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::get_object::missing;
use super::object_lock::ObjectLock;
use super::operation::{CopySource, Operation, VersionId};
use super::reply::Reply;
use super::settings::{self, BucketSettings, Setting};
use super::xml::reader::{Malformed, Reader, name, once};
use super::xml::write_versioning;
use crate::iam::Action;
use crate::limits;
use crate::runtime::{now, sleep};
use crate::storage::bucket_config::Item;
use crate::storage::versions::{self, Absence, Version, Versioning};
use crate::storage::{Bucket, BucketName, Object, ObjectKey, Root};

/// The versioning of a bucket for which it was ever set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BucketVersioning {
    /// Whether it is enabled; else it is suspended.
    pub enabled: bool,
}

impl BucketVersioning {
    /// What it means to the storage.
    #[must_use]
    pub fn state(self) -> Versioning {
        if self.enabled { Versioning::Enabled } else { Versioning::Suspended }
    }
}

impl Setting for BucketVersioning {
    const ITEM: Item = Item::Versioning;
    // Never said: a bucket without it has a document too.
    const MISSING: Code = Code::NoSuchConfiguration;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let (status, mfa_delete) = read(document)?;
        if mfa_delete.is_some_and(|mfa_delete| mfa_delete == "Enabled") {
            return Err(Code::NotImplemented.because(
                "MFA delete is not implemented by this server. Leave MfaDelete out; s3:DeleteObjectVersion can be denied \
                 by a policy.",
            ));
        }
        match status.as_deref() {
            Some("Enabled") => Ok(Self { enabled: true }),
            Some("Suspended") => Ok(Self { enabled: false }),
            Some(_) => Err(Code::MalformedXML.into()),
            None => Err(Code::IllegalVersioningConfigurationException.into()),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_versioning(out, self.state());
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.versioning
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.versioning.as_ref()
    }

    /// Nothing is overwritten as long as nobody says that it may be.
    fn when_damaged() -> Option<Self> {
        Some(Self { enabled: true })
    }

    fn check(&self, _service: &Service, beside: &BucketSettings) -> Result<(), S3Error> {
        if !self.enabled && ObjectLock::of(beside).is_some() {
            return Err(Code::InvalidBucketState.because(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            ));
        }
        Ok(())
    }

    fn published(root: &Root, name: &BucketName, value: Option<&Self>) {
        root.set_versioning(name, value.map_or(Versioning::Unversioned, |value| value.state()));
    }
}

/// Status and MfaDelete of a `VersioningConfiguration` document.
fn read(document: &[u8]) -> Result<(Option<String>, Option<String>), Malformed> {
    let mut reader = Reader::open(document, "VersioningConfiguration")?;
    let (mut status, mut mfa_delete) = (None, None);
    while let Some(element) = reader.child()? {
        let text = reader.text()?;
        match name(&element) {
            "Status" => once(&mut status, text)?,
            "MfaDelete" if matches!(&*text, "Enabled" | "Disabled") => once(&mut mfa_delete, text)?,
            _ => return Err(Malformed),
        }
    }
    reader.finish()?;
    Ok((status, mfa_delete))
}

/// `GET /bucket?versioning`.
pub async fn get_bucket_versioning(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    ctx.bucket(&operation)?;
    let mut document = Vec::with_capacity(256);
    write_versioning(&mut document, ctx.service.root.versioning(&operation));
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// `PUT /bucket?versioning`.
pub async fn put_bucket_versioning(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::put::<BucketVersioning>(ctx, operation.into_inner(), 200).await
}

/// The version that a request names.
///
/// # Errors
/// `InvalidArgument`: no version can have this id.
pub fn named(version_id: Option<&VersionId>) -> Result<Option<Version>, S3Error> {
    version_id.map(|id| parse(id.as_str())).transpose()
}

/// As [`named`], of its text.
///
/// # Errors
/// As [`named`].
pub fn parse(id: &str) -> Result<Version, S3Error> {
    Version::parse(id)
        .ok_or_else(|| S3Error::invalid_argument("versionId", id, "Invalid version id specified"))
}

/// Opens the object that a request asks for: the version it names, or the current one.
///
/// # Errors
/// As [`absent`], and of a malformed id.
pub fn find(
    ctx: &Ctx<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    version_id: Option<&VersionId>,
) -> Result<Object, S3Error> {
    let version = named(version_id)?;
    versions::find(&ctx.service.root, bucket, key, version)?
        .map_err(|absence| absent(ctx, &bucket.name, key, version, &absence))
}

/// As [`find`], of an object whose content is to be read. If another program has just written to it, this waits until
/// that is over; of one that never stops it takes what there is.
///
/// # Errors
/// As [`find`].
pub async fn find_settled(
    ctx: &Ctx<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    version_id: Option<&VersionId>,
) -> Result<Object, S3Error> {
    let mut object = find(ctx, bucket, key, version_id)?;
    for _ in 0..limits::SETTLING_ATTEMPTS_MAX {
        let Some(wait) = object.settles_in(now()) else { break };
        sleep(wait).await;
        object = find(ctx, bucket, key, version_id)?;
    }
    Ok(object)
}

/// As [`find_settled`], of what is to be copied.
///
/// # Errors
/// As [`find`]; a delete marker that is named is `InvalidRequest`.
pub async fn find_source(ctx: &Ctx<'_>, bucket: &Bucket, source: &CopySource) -> Result<Object, S3Error> {
    let found = find_settled(ctx, bucket, &source.key, source.version_id.as_ref()).await;
    found.map_err(|error| match error.code() {
        Code::MethodNotAllowed => Code::InvalidRequest.because(
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        ),
        _ => error,
    })
}

/// Why a request does not get an object: `NoSuchKey`, `NoSuchVersion`, or `MethodNotAllowed` where it names a delete
/// marker. Who may not list the bucket is not told what is missing.
pub fn absent(
    ctx: &Ctx<'_>,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Option<Version>,
    absence: &Absence,
) -> S3Error {
    match (version, absence) {
        (None, Absence::Nothing) => missing(ctx, bucket, key),
        (None, Absence::Marker(marker)) => {
            let error = missing(ctx, bucket, key);
            match error.code() {
                Code::NoSuchKey => error
                    .with_header("x-amz-delete-marker", "true")
                    .with_header("x-amz-version-id", marker.version.to_string()),
                _ => error,
            }
        }
        (Some(version), Absence::Nothing) => {
            let operation = Operation::HeadBucket(*bucket);
            if !ctx.caller.may_also(Action::ListBucketVersions, bucket.as_str(), b"", &operation) {
                return Code::AccessDenied.into();
            }
            Code::NoSuchVersion.with("Key", key.as_str()).with("VersionId", version.to_string())
        }
        (Some(_), Absence::Marker(marker)) => {
            let modified = marker.modified.http();
            S3Error::method_not_allowed(ctx.head.method_bytes(), "DeleteMarker", "DELETE")
                .with_header("x-amz-delete-marker", "true")
                .with_header("x-amz-version-id", marker.version.to_string())
                .with_header("Last-Modified", String::from_utf8_lossy(&modified))
        }
    }
}

/// Says in an answer which version an object is that was read or changed.
pub fn write_version(service: &Service, bucket: &BucketName, version: Version, reply: &mut Reply) {
    if service.root.versioning(bucket) != Versioning::Unversioned {
        reply.header("x-amz-version-id", version.to_string().as_bytes());
    }
}

/// Says in an answer which version was written, if it is not the null one.
pub fn write_new_version(version: Option<[u8; 16]>, reply: &mut Reply) {
    if let Some(id) = version {
        reply.header("x-amz-version-id", Version::Named(id).to_string().as_bytes());
    }
}

/// Says in the answer to a copy which version was read.
pub fn write_source_version(service: &Service, bucket: &BucketName, version: Version, reply: &mut Reply) {
    if service.root.versioning(bucket) != Versioning::Unversioned {
        reply.header("x-amz-copy-source-version-id", version.to_string().as_bytes());
    }
}

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(value) = BucketVersioning::parse(data) {
        let mut document = Vec::new();
        value.write(&mut document);
        assert_eq!(BucketVersioning::parse(&document).ok(), Some(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let check = |inner: &str, expected: Result<bool, Code>| {
            let document = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
            let found = BucketVersioning::parse(document.as_bytes());
            assert_eq!(found.map(|it| it.enabled).map_err(|error| error.code()), expected, "{inner}");
            fuzz(document.as_bytes());
        };
        check("<Status>Enabled</Status>", Ok(true));
        check("<MfaDelete>Disabled</MfaDelete><Status>Suspended</Status>", Ok(false));
        check("<MfaDelete>Enabled</MfaDelete><Status>Enabled</Status>", Err(Code::NotImplemented));
        check("", Err(Code::IllegalVersioningConfigurationException));
        check("<MfaDelete>Disabled</MfaDelete>", Err(Code::IllegalVersioningConfigurationException));
        check("<Status/>", Err(Code::MalformedXML));
        check("<Status>enabled</Status>", Err(Code::MalformedXML));
        check("<Status>Enabled</Status><Status>Enabled</Status>", Err(Code::MalformedXML));
        check("<Status>Enabled</Status><Other/>", Err(Code::MalformedXML));
        check("<MfaDelete>x</MfaDelete><Status>Enabled</Status>", Err(Code::MalformedXML));
        assert!(BucketVersioning::parse(b"").is_err());
    }
}
