//! UploadPartCopy: a part whose data comes from another object.
//!
//! The data is copied inside the kernel (`copy_file_range`, which shares blocks where the file system can) on an offload
//! thread, into its final place if it has the size of the upload's parts. It is read only if something has to be computed:
//! the copy of a whole object brings its MD5 and perhaps its checksum along. Like S3, the server takes ranges of objects of
//! any size, also below 5 MiB.
//!
//! Spec: UploadPartCopy in the Amazon S3 API reference.

use super::access::Authorized;
use super::context::Ctx;
use super::copy_object::check_source;
use super::error::{Code, S3Error};
use super::multipart::{no_such_upload, open_upload};
use super::operation::UploadPartCopy;
use super::reply::Reply;
use super::versioning;
use super::xml::{ChecksumText, Copied};
use crate::digest::{Algorithm, CHECKSUM_BASE64_BYTES_MAX, Checksum, ChecksumType};
use crate::http::range::{CopyRangeError, parse_copy_source};
use crate::storage::multipart::{self, PartETag, Source};
use crate::storage::object::Object;
use crate::storage::profile::ETagKind;
use crate::storage::record::ETag;

/// `PUT /bucket/key?partNumber&uploadId` with `x-amz-copy-source`.
pub async fn upload_part_copy(
    ctx: &Ctx<'_>,
    operation: Authorized<UploadPartCopy>,
) -> Result<Reply, S3Error> {
    let UploadPartCopy { bucket, key, upload_id, part_number, source } = operation.into_inner();
    let service = ctx.service;
    ctx.bucket(&bucket)?;
    let upload = open_upload(ctx, &bucket, &key, upload_id.as_str())?;
    let from = ctx.bucket(&source.bucket)?;
    let original = ctx.within(&source.bucket, versioning::find_source(ctx, &from, &source)).await?;
    let (from, version) = (source.bucket, original.version);
    let (offset, length) = range(ctx, &original)?;
    check_source(ctx.head, &original, length)?;
    let algorithm = upload.description.checksum.map(|(algorithm, _)| algorithm);
    let (etag, checksum) = match length == original.size {
        true => known_digests(&original, algorithm),
        false => (None, None),
    };
    let etag = match service.root.profile(&bucket).etag {
        ETagKind::Md5 => etag,
        ETagKind::Uid => etag.or_else(|| Some(service.root.part_etag(None))),
    };
    let known = (etag, checksum);
    let source = Source { content: original.content(), file: original.file, offset, length, known };
    let now = ctx.now;
    let copied = ctx
        .offload(move |service| {
            Ok(multipart::copy_part(&service.root, &upload, part_number.get(), &source, now)?)
        })
        .await?;
    let Some(entered) = copied else { return Err(no_such_upload(upload_id.as_str())) };
    let part = entered.commit(&ctx.service.root).await?;
    let mut buffer = [0; CHECKSUM_BASE64_BYTES_MAX];
    let checksum = part.checksum.as_ref().map(|checksum| ChecksumText {
        element: checksum.algorithm().element_name(),
        value: checksum.base64(&mut buffer),
        kind: None,
    });
    let mut document = Vec::with_capacity(512);
    let mut etag = Vec::with_capacity(40);
    part.etag.shown().write_into(&mut etag);
    Copied { last_modified: part.modified, etag: &etag, checksum }.write_part(&mut document);
    let mut reply = Reply::new(ctx, 200);
    versioning::write_source_version(ctx.service, &from, version, &mut reply);
    reply.xml(document);
    Ok(reply)
}

/// Offset and length of what is to be copied: all of the source unless a range is named.
fn range(ctx: &Ctx<'_>, source: &Object) -> Result<(u64, u64), S3Error> {
    let Some(header) = ctx.head.header(RANGE) else { return Ok((0, source.size)) };
    match parse_copy_source(header, source.size) {
        Ok(range) => Ok((range.first(), range.len())),
        Err(CopyRangeError::Malformed) => Err(S3Error::invalid_argument(
            RANGE,
            String::from_utf8_lossy(header),
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )),
        Err(CopyRangeError::BeyondSource) => Err(Code::InvalidRange
            .because(format!("Range specified is not valid for source object of size: {}", source.size))
            .with("RangeRequested", String::from_utf8_lossy(header))
            .with("ActualObjectSize", source.size.to_string())),
    }
}

/// What the record of a source that is copied whole says of its content.
fn known_digests(source: &Object, algorithm: Option<Algorithm>) -> (Option<PartETag>, Option<Checksum>) {
    let Some(record) = &source.record else { return (None, None) };
    let etag = match &record.etag {
        ETag::Md5(md5) => Some(PartETag::Md5(*md5)),
        _ => None,
    };
    let checksum = record.checksum.as_ref().zip(algorithm).and_then(|(stored, algorithm)| {
        let fits = stored.algorithm() == algorithm && stored.checksum_type() == ChecksumType::FullObject;
        if fits { Checksum::from_bytes(algorithm, stored.value()) } else { None }
    });
    (etag, checksum)
}

const RANGE: &str = "x-amz-copy-source-range";
