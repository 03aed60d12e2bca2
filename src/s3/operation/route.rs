//! From a head to an operation: address first, then sub-resource, then method.

use super::Operation;
use super::address::{Address, address};
use super::copy_source::{self, CopySource};
use super::parameters::{
    AbortMultipartUpload, CompleteMultipartUpload, CopyObject, DeleteObject, GetObject, HeadObject,
    ListBuckets, ListMultipartUploads, ListObjectVersions, ListObjects, ListObjectsV2, ListParts,
    ObjectVersion, PartNumber, Preflight, PutObject, RenameObject, ResponseOverrides, UploadId, UploadPart,
    UploadPartCopy,
};
use super::query::{Query, decimal};
use super::subresource::Subresource;
use crate::http::head::{Head, Method};
use crate::s3::error::{Code, S3Error};
use crate::storage::layout::{BucketName, ObjectKey};

/// Names the object that RenameObject renames.
const RENAME_SOURCE: &str = "x-amz-rename-source";
/// Most buckets of one page of ListBuckets.
const BUCKETS_PAGE_MAX: u64 = 10_000;

/// A head with its parameters.
pub(super) struct Request<'h> {
    head: &'h Head,
    query: Query<'h>,
}

/// Finds out what a request asks for. `domains` are the host names of the server, without port, for virtual-host style.
///
/// # Errors
/// What AWS answers to a request that is no operation: `InvalidBucketName`, `InvalidURI`, `KeyTooLongError`,
/// `MethodNotAllowed`, `InvalidArgument` with the parameter in question, `NoSuchUpload` for an upload id that cannot be
/// one, `NotImplemented` for functions of relatives of S3 that must not be mistaken for a plain upload.
pub fn route(head: &Head, domains: &[String]) -> Result<Operation, S3Error> {
    if head.is_asterisk() {
        return Ok(Operation::Preflight(Preflight::default()));
    }
    if head.method() == Method::Post && head.path() == b"/WriteGetObjectResponse" {
        return Ok(Operation::WriteGetObjectResponse);
    }
    let address = address(head, domains)?;
    if head.method() == Method::Options {
        // A preflight asks about a request to come; its parameters are looked at when that one comes.
        return Ok(Operation::Preflight(match address {
            Address::Service => Preflight::default(),
            Address::Bucket(bucket) => Preflight { bucket: Some(bucket), key: None },
            Address::Object(bucket, key) => Preflight { bucket: Some(bucket), key: Some(key) },
        }));
    }
    let request = Request { head, query: Query::parse(head.query())? };
    match address {
        Address::Service => route_service(&request),
        Address::Bucket(bucket) => route_bucket(bucket, &request),
        Address::Object(bucket, key) => route_object(bucket, key, &request),
    }
}

fn route_service(request: &Request<'_>) -> Result<Operation, S3Error> {
    let Request { head, query } = request;
    if let Some(subresource) = query.subresource {
        return Err(request.no_such_subresource(
            subresource.name,
            "belongs to a bucket or an object, and the request names none. If it names a bucket in its host, that \
             host's domain is missing in the configuration of the server",
        ));
    }
    match head.method() {
        Method::Get => {
            let max_buckets = query.count("max-buckets", 1)?;
            if let Some(count) = max_buckets.filter(|count| *count > BUCKETS_PAGE_MAX) {
                let message = format!("max-buckets must be an integer between 1 and {BUCKETS_PAGE_MAX}");
                return Err(S3Error::invalid_argument("max-buckets", count.to_string(), message));
            }
            Ok(Operation::ListBuckets(ListBuckets {
                prefix: query.text_or_empty("prefix")?,
                continuation_token: query.continuation_token()?,
                max_buckets: max_buckets.and_then(|count| u32::try_from(count).ok()),
                bucket_region: query.filled("bucket-region")?,
            }))
        }
        Method::Post if request.has_content_type("application/x-www-form-urlencoded") => {
            Ok(if request.is_signed_for(b"iam") { Operation::Iam } else { Operation::Sts })
        }
        _ => Err(S3Error::method_not_allowed(head.method_bytes(), "SERVICE", "GET, POST, OPTIONS")),
    }
}

fn route_bucket(bucket: BucketName, request: &Request<'_>) -> Result<Operation, S3Error> {
    let Request { head, query } = request;
    query.refuse("versionId", "This operation does not accept a version-id.")?;
    query.refuse("partNumber", "A part number goes with an object.")?;
    if head.method() == Method::Put {
        request.refuse_copy_source()?;
    }
    if let Some(subresource) = query.subresource {
        let methods = &subresource.bucket;
        if !methods.exist() {
            return Err(request.no_such_subresource(subresource.name, "does not exist on a bucket"));
        }
        let Some(maker) = methods.of(head.method()) else {
            let resource_type = subresource.name.to_ascii_uppercase();
            return Err(S3Error::method_not_allowed(head.method_bytes(), resource_type, methods.allow()));
        };
        return maker.make(bucket, request);
    }
    match head.method() {
        Method::Get => Ok(Operation::ListObjects(ListObjects {
            bucket,
            settings: query.list_settings("max-keys", 0)?,
            marker: query.text_or_empty("marker")?,
        })),
        Method::Head => Ok(Operation::HeadBucket(bucket)),
        Method::Put => Ok(Operation::CreateBucket(bucket)),
        Method::Delete => Ok(Operation::DeleteBucket(bucket)),
        Method::Post if request.has_content_type("multipart/form-data") => Ok(Operation::PostObject(bucket)),
        Method::Post => {
            Err(S3Error::precondition_failed("Bucket POST must be of the enclosure-type multipart/form-data"))
        }
        Method::Options | Method::Other => {
            let allow = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
            Err(S3Error::method_not_allowed(head.method_bytes(), "BUCKET", allow))
        }
    }
}

fn route_object(bucket: BucketName, key: ObjectKey, request: &Request<'_>) -> Result<Operation, S3Error> {
    let Request { head, query } = request;
    let method = head.method();
    if let Some(subresource) = query.subresource {
        return route_object_subresource(bucket, key, subresource, request);
    }
    match method {
        Method::Get | Method::Head => {
            let version_id = query.version_id("versionId")?;
            let part_number = request.part_number()?;
            if part_number.is_some() && head.header("range").is_some() {
                let message = "Cannot specify both Range header and partNumber query parameter";
                return Err(Code::InvalidRequest.because(message));
            }
            let overrides = request.response_overrides()?;
            Ok(if method == Method::Get {
                Operation::GetObject(GetObject { bucket, key, version_id, part_number, overrides })
            } else {
                Operation::HeadObject(HeadObject { bucket, key, version_id, part_number, overrides })
            })
        }
        Method::Put => {
            query.refuse("versionId", "This operation does not accept a version-id.")?;
            query.refuse("partNumber", "The parameter 'uploadId' must be given with 'partNumber'.")?;
            request.refuse_lookalikes()?;
            match head.header(copy_source::HEADER) {
                None => Ok(Operation::PutObject(PutObject { bucket, key })),
                Some(source) => {
                    let source = Box::new(CopySource::parse(source)?);
                    Ok(Operation::CopyObject(CopyObject { bucket, key, source }))
                }
            }
        }
        Method::Delete => {
            query.refuse("partNumber", "A part cannot be deleted by itself.")?;
            let version_id = query.version_id("versionId")?;
            Ok(Operation::DeleteObject(DeleteObject { bucket, key, version_id }))
        }
        Method::Post | Method::Options | Method::Other => {
            let allow = "GET, HEAD, PUT, DELETE, OPTIONS";
            Err(S3Error::method_not_allowed(head.method_bytes(), "OBJECT", allow))
        }
    }
}

fn route_object_subresource(
    bucket: BucketName,
    key: ObjectKey,
    subresource: &'static Subresource,
    request: &Request<'_>,
) -> Result<Operation, S3Error> {
    let Request { head, query } = request;
    let methods = &subresource.object;
    if !methods.exist() {
        return Err(request.no_such_subresource(subresource.name, "does not exist on an object"));
    }
    let Some(maker) = methods.of(head.method()) else {
        let resource_type = subresource.name.to_ascii_uppercase();
        return Err(S3Error::method_not_allowed(head.method_bytes(), resource_type, methods.allow()));
    };
    let is_part = subresource.name == "uploadId" && head.method() == Method::Put;
    if !is_part {
        query.refuse("partNumber", "This operation does not accept a part number.")?;
        if head.method() == Method::Put {
            request.refuse_copy_source()?;
        }
    }
    let version_id = if subresource.of_versions {
        query.version_id("versionId")?
    } else {
        query.refuse("versionId", "This operation does not accept a version-id.")?;
        None
    };
    maker.make(ObjectVersion { bucket, key, version_id }, request)
}

pub(super) fn list_objects_v2(bucket: BucketName, request: &Request<'_>) -> Result<Operation, S3Error> {
    let query = &request.query;
    if let Some(kind) = query.text("list-type")?.filter(|kind| kind != "2") {
        return Err(S3Error::invalid_argument("list-type", kind, "Invalid List Type: the only one is 2."));
    }
    Ok(Operation::ListObjectsV2(ListObjectsV2 {
        bucket,
        settings: query.list_settings("max-keys", 0)?,
        continuation_token: query.continuation_token()?,
        start_after: query.text("start-after")?,
        fetch_owner: query.flag("fetch-owner")?,
    }))
}

pub(super) fn list_object_versions(bucket: BucketName, request: &Request<'_>) -> Result<Operation, S3Error> {
    let query = &request.query;
    let key_marker = query.text_or_empty("key-marker")?;
    let version_id_marker = if query.filled("version-id-marker")?.is_some() {
        query.version_id("version-id-marker")?
    } else {
        None
    };
    if let (Some(version_id), true) = (&version_id_marker, key_marker.is_empty()) {
        let message = "A version-id marker cannot be specified without a key marker.";
        return Err(S3Error::invalid_argument("version-id-marker", version_id.as_str(), message));
    }
    let settings = query.list_settings("max-keys", 0)?;
    Ok(Operation::ListObjectVersions(ListObjectVersions { bucket, settings, key_marker, version_id_marker }))
}

pub(super) fn list_multipart_uploads(
    bucket: BucketName,
    request: &Request<'_>,
) -> Result<Operation, S3Error> {
    let query = &request.query;
    let key_marker = query.text_or_empty("key-marker")?;
    // AWS ignores the upload id without the key it belongs to.
    let upload_id_marker =
        if key_marker.is_empty() { String::new() } else { query.text_or_empty("upload-id-marker")? };
    let settings = query.list_settings("max-uploads", 1)?;
    Ok(Operation::ListMultipartUploads(ListMultipartUploads {
        bucket,
        settings,
        key_marker,
        upload_id_marker,
    }))
}

pub(super) fn analytics(bucket: BucketName, request: &Request<'_>) -> Result<Operation, S3Error> {
    Ok(if request.query.has("id") {
        Operation::GetBucketAnalyticsConfiguration(bucket)
    } else {
        Operation::ListBucketAnalyticsConfigurations(bucket)
    })
}

pub(super) fn intelligent_tiering(bucket: BucketName, request: &Request<'_>) -> Result<Operation, S3Error> {
    Ok(if request.query.has("id") {
        Operation::GetBucketIntelligentTieringConfiguration(bucket)
    } else {
        Operation::ListBucketIntelligentTieringConfigurations(bucket)
    })
}

pub(super) fn inventory(bucket: BucketName, request: &Request<'_>) -> Result<Operation, S3Error> {
    Ok(if request.query.has("id") {
        Operation::GetBucketInventoryConfiguration(bucket)
    } else {
        Operation::ListBucketInventoryConfigurations(bucket)
    })
}

pub(super) fn metrics(bucket: BucketName, request: &Request<'_>) -> Result<Operation, S3Error> {
    Ok(if request.query.has("id") {
        Operation::GetBucketMetricsConfiguration(bucket)
    } else {
        Operation::ListBucketMetricsConfigurations(bucket)
    })
}

pub(super) fn list_parts(object: ObjectVersion, request: &Request<'_>) -> Result<Operation, S3Error> {
    let ObjectVersion { bucket, key, .. } = object;
    let upload_id = request.upload_id()?;
    let marker = request.query.count("part-number-marker", 0)?.unwrap_or(0);
    let max_parts = request.query.page_size("max-parts", 0)?;
    // The count has at most 31 bits.
    let part_number_marker = u32::try_from(marker).unwrap_or(u32::MAX);
    Ok(Operation::ListParts(ListParts { bucket, key, upload_id, part_number_marker, max_parts }))
}

pub(super) fn upload_part(object: ObjectVersion, request: &Request<'_>) -> Result<Operation, S3Error> {
    let ObjectVersion { bucket, key, .. } = object;
    let part_number = request.part_number()?.ok_or_else(|| {
        let message = "The parameter 'partNumber' must be given with 'uploadId'.";
        S3Error::invalid_argument("partNumber", "", message)
    })?;
    let upload_id = request.upload_id()?;
    request.refuse_lookalikes()?;
    match request.head.header(copy_source::HEADER) {
        None => Ok(Operation::UploadPart(UploadPart { bucket, key, upload_id, part_number })),
        Some(source) => {
            let source = Box::new(CopySource::parse(source)?);
            Ok(Operation::UploadPartCopy(UploadPartCopy { bucket, key, upload_id, part_number, source }))
        }
    }
}

pub(super) fn complete_multipart_upload(
    object: ObjectVersion,
    request: &Request<'_>,
) -> Result<Operation, S3Error> {
    let ObjectVersion { bucket, key, .. } = object;
    let upload_id = request.upload_id()?;
    Ok(Operation::CompleteMultipartUpload(CompleteMultipartUpload { bucket, key, upload_id }))
}

pub(super) fn abort_multipart_upload(
    object: ObjectVersion,
    request: &Request<'_>,
) -> Result<Operation, S3Error> {
    let ObjectVersion { bucket, key, .. } = object;
    let upload_id = request.upload_id()?;
    Ok(Operation::AbortMultipartUpload(AbortMultipartUpload { bucket, key, upload_id }))
}

pub(super) fn rename_object(object: ObjectVersion, request: &Request<'_>) -> Result<Operation, S3Error> {
    let ObjectVersion { bucket, key, .. } = object;
    let value = request.head.header(RENAME_SOURCE).unwrap_or_default();
    let source = CopySource::parse_header(RENAME_SOURCE, value)?;
    if source.bucket != bucket || source.version_id.is_some() {
        let message = "An object is renamed within its bucket, and not a version of it: bucket/key.";
        return Err(S3Error::invalid_argument(RENAME_SOURCE, String::from_utf8_lossy(value), message));
    }
    Ok(Operation::RenameObject(RenameObject { bucket, key, source: Box::new(source.key) }))
}

/// Other object stores append with `?append&position=`; to them it is no PutObject, so it must not be one here.
pub(super) fn append(_: ObjectVersion, _: &Request<'_>) -> Result<Operation, S3Error> {
    Err(S3Error::not_implemented("Query", "append"))
}

impl Request<'_> {
    fn part_number(&self) -> Result<Option<PartNumber>, S3Error> {
        let Some(text) = self.query.text("partNumber")? else { return Ok(None) };
        match decimal(&text).and_then(PartNumber::new) {
            Some(number) => Ok(Some(number)),
            None => {
                let message = "Part number must be an integer between 1 and 10000, inclusive";
                Err(S3Error::invalid_argument("partNumber", text, message))
            }
        }
    }

    fn upload_id(&self) -> Result<UploadId, S3Error> {
        let text = self.query.text_or_empty("uploadId")?;
        UploadId::new(&text).ok_or_else(|| Code::NoSuchUpload.with("UploadId", text))
    }

    fn response_overrides(&self) -> Result<Option<Box<ResponseOverrides>>, S3Error> {
        let overrides = ResponseOverrides {
            cache_control: self.response_override("response-cache-control")?,
            content_disposition: self.response_override("response-content-disposition")?,
            content_encoding: self.response_override("response-content-encoding")?,
            content_language: self.response_override("response-content-language")?,
            content_type: self.response_override("response-content-type")?,
            expires: self.response_override("response-expires")?,
        };
        Ok((overrides != ResponseOverrides::default()).then(|| Box::new(overrides)))
    }

    /// A value becomes a header of the answer, so nothing that could end a header line is let through.
    fn response_override(&self, name: &'static str) -> Result<Option<String>, S3Error> {
        let value = self.query.text(name)?;
        match value {
            Some(value) if value.bytes().any(|byte| byte.is_ascii_control()) => {
                let message = "A header value must not contain control characters.";
                Err(S3Error::invalid_argument(name, value, message))
            }
            value => Ok(value),
        }
    }

    /// A copy source where nothing is copied: the client means something else than what would be done.
    fn refuse_copy_source(&self) -> Result<(), S3Error> {
        match self.head.header(copy_source::HEADER) {
            None => Ok(()),
            Some(value) => Err(S3Error::invalid_argument(
                copy_source::HEADER,
                String::from_utf8_lossy(value),
                "You can only specify a copy source header for copy requests.",
            )),
        }
    }

    /// What looks like an upload but is none: the headers by which S3 Express and MinIO append or unpack an archive, and
    /// a copy whose source a presigning SDK has moved from the header into the URL. Taking any of them for an upload
    /// would overwrite the object.
    fn refuse_lookalikes(&self) -> Result<(), S3Error> {
        if self.query.has(copy_source::HEADER) {
            return Err(S3Error::not_implemented("Query", copy_source::HEADER).because(
                "The copy source must be sent as a header. Sign the URL so that 'x-amz-copy-source' stays one.",
            ));
        }
        for name in ["x-amz-write-offset-bytes", "x-amz-meta-snowball-auto-extract", "x-minio-extract"] {
            if self.head.header(name).is_some() {
                return Err(S3Error::not_implemented("Header", name));
            }
        }
        Ok(())
    }

    fn no_such_subresource(&self, name: &'static str, why: &str) -> S3Error {
        let value = self.query.text(name).ok().flatten().unwrap_or_default();
        S3Error::invalid_argument(name, value, format!("The sub-resource '{name}' {why}."))
    }

    /// Whether the body is of this media type, whatever its parameters.
    fn has_content_type(&self, media_type: &str) -> bool {
        let value = self.head.header("content-type").unwrap_or_default();
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        value[..end].trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
    }

    /// Whether the signature claims to be made for this service. At AWS the host tells calls of IAM from those of STS;
    /// here they share it, and the scope of the signature tells them apart.
    fn is_signed_for(&self, service: &[u8]) -> bool {
        let line = self.head.header("authorization").unwrap_or_default();
        let credential = memchr::memmem::find(line, b"Credential=").map_or(&b""[..], |at| &line[at..]);
        let end = memchr::memchr2(b',', b' ', credential).unwrap_or(credential.len());
        let mut scope = credential[..end].rsplit(|byte| *byte == b'/');
        scope.next() == Some(b"aws4_request") && scope.next() == Some(service)
    }
}

/// Makes a head out of arbitrary bytes and routes it; whatever comes out must keep its promises.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"];
    let (&first, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let extra = lines.next().unwrap_or_default();
    let mut bytes = bytes::BytesMut::new();
    bytes.extend_from_slice(METHODS[usize::from(first) % METHODS.len()].as_bytes());
    bytes.extend_from_slice(b" /");
    bytes.extend_from_slice(target);
    bytes.extend_from_slice(b" HTTP/1.1\r\nHost: b01.s3.example.com\r\nx-amz-copy-source: ");
    bytes.extend_from_slice(extra);
    bytes.extend_from_slice(b"\r\n\r\n");
    let Ok(Some(head)) = Head::parse(&mut bytes) else { return };
    for domains in [&[][..], &["s3.example.com".to_owned()]] {
        let Ok(operation) = route(&head, domains) else { continue };
        assert!(!operation.name().is_empty());
        assert!(operation.key().is_none() || operation.bucket().is_some(), "a key without a bucket");
        for requirement in operation.actions(&head) {
            assert!(requirement.key.is_empty() || !requirement.bucket.is_empty(), "a key without a bucket");
        }
        let decoded = crate::codec::percent::decode(head.path()).expect("what was routed was decoded");
        if let Some(key) = operation.key() {
            assert!(decoded.ends_with(key.as_bytes()), "the key is not the end of the path");
        }
    }
}
