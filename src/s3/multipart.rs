//! CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload, ListParts.
//!
//! Spec: the operations of these names in the Amazon S3 API reference.

use smallvec::smallvec;

use super::access::Authorized;
use super::acl::{self, Asked};
use super::attributes;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::failure::refused_to_user;
use super::integrity::{Integrity, requested_algorithm};
use super::notification::{EventKind, Noted};
use super::object_lock;
use super::operation::{
    self, AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, ListParts, UploadPart,
};
use super::put_object::{Sink, content_length, holds, owner, receive};
use super::reply::Reply;
use super::versioning;
use super::xml;
use super::xml::{ChecksumText, Completed, write_initiate_multipart_upload};
use super::xml::{Owner, PartEntry, Parts};
use crate::codec::dates::Timestamp;
use crate::codec::hex;
use crate::digest::{Algorithm, CHECKSUM_BASE64_BYTES_MAX, Checksum, ChecksumType};
use crate::http::conditional::WriteConditions;
use crate::limits;
use crate::runtime::{AlignedBuf, sleep};
use crate::storage::Change;
use crate::storage::layout::{BucketName, ObjectKey};
use crate::storage::multipart::{
    self, CompleteError, Description, Expected, PartETag, PartWanted, PartWriter, Upload, UploadId,
};
use crate::storage::object::{self, Condition, Object};
use crate::storage::profile::ETagKind;
use crate::storage::record::{ETag, Record};
use crate::storage::versions::Versioning;

/// `POST /bucket/key?uploads`.
pub async fn create_multipart_upload(
    ctx: &Ctx<'_>,
    operation: Authorized<CreateMultipartUpload>,
) -> Result<Reply, S3Error> {
    let CreateMultipartUpload { bucket, key } = operation.into_inner();
    let opened = ctx.bucket(&bucket)?;
    let named = requested_algorithm(ctx.head)?;
    let mut record = Record::new(0, Timestamp::from_seconds(0), ETag::Md5([0; 16]));
    attributes::of_request(ctx.head, &mut record)?;
    object_lock::of_request(ctx, &bucket, &mut record)?;
    let asked = Asked::of(|name| ctx.head.header(name))?;
    let owner = acl::of_new_object(&ctx.caller, asked.as_ref(), &opened, owner(ctx)?, &mut record)?;
    let description = Description {
        key: key.clone(),
        initiated: ctx.now,
        initiator: (ctx.caller.owner_id().0.to_owned(), ctx.caller.owner_id().1.to_owned()),
        owner,
        // As S3: without a wish of the client the server computes this one.
        checksum: Some(named.unwrap_or((Algorithm::Crc64Nvme, ChecksumType::FullObject))),
        record,
    };
    let (id, change) = multipart::create(&ctx.service.root, &bucket, &description)?;
    ctx.service.root.commit_data(&bucket, change).await?;
    let mut document = Vec::with_capacity(512);
    write_initiate_multipart_upload(&mut document, bucket.as_str(), key.as_bytes(), id.as_str());
    let mut reply = Reply::new(ctx, 200);
    if let Some((algorithm, kind)) = named {
        reply.header("x-amz-checksum-algorithm", algorithm.name().as_bytes());
        reply.header("x-amz-checksum-type", kind.name().as_bytes());
    }
    reply.xml(document);
    Ok(reply)
}

/// `PUT /bucket/key?partNumber&uploadId`.
pub async fn upload_part(ctx: &mut Ctx<'_>, operation: Authorized<UploadPart>) -> Result<Reply, S3Error> {
    let UploadPart { bucket, key, upload_id, part_number } = operation.into_inner();
    let service = ctx.service.clone();
    let length = content_length(ctx)?;
    let integrity = Integrity::of(ctx.head, &ctx.payload_kind)?;
    ctx.bucket(&bucket)?;
    let upload = open_upload(ctx, &bucket, &key, upload_id.as_str())?;
    let algorithm = upload.description.checksum.map(|(algorithm, _)| algorithm);
    let mut part = PartWriter::create(&service.root, &upload, part_number.get(), length)?;
    let md5 = service.root.profile(&bucket).etag == ETagKind::Md5;
    let digests = receive(&mut ctx.payload, integrity.wanted(md5, algorithm), &mut part).await?;
    integrity.verify(&digests, ctx.payload.trailers())?;
    let etag = service.root.part_etag(digests.md5.filter(|_| md5));
    let of_upload = digests.checksums.into_iter().flatten().find(|sum| Some(sum.algorithm()) == algorithm);
    let Some(entered) = part.finish(etag, of_upload, ctx.now).await? else {
        return Err(no_such_upload(upload_id.as_str()));
    };
    entered.commit(&service.root).await?;
    let mut reply = Reply::new(ctx, 200);
    let mut text = Vec::with_capacity(40);
    etag.shown().write_into(&mut text);
    reply.resume().etag(&text);
    if let Some(checksum) = digests.checksums[0].or(of_upload) {
        let mut buffer = [0; CHECKSUM_BASE64_BYTES_MAX];
        reply.header(checksum.algorithm().header_name(), checksum.base64(&mut buffer).as_bytes());
    }
    Ok(reply)
}

impl Sink for PartWriter<'_> {
    fn spare(&mut self) -> Option<AlignedBuf> {
        PartWriter::spare(self)
    }

    fn write(&mut self, buf: AlignedBuf) -> impl Future<Output = Result<(), crate::storage::Error>> {
        PartWriter::write(self, buf)
    }
}

/// `POST /bucket/key?uploadId`.
pub async fn complete_multipart_upload(
    ctx: &mut Ctx<'_>,
    operation: Authorized<CompleteMultipartUpload>,
) -> Result<Reply, S3Error> {
    let CompleteMultipartUpload { bucket: name, key, upload_id } = operation.into_inner();
    // `x-amz-checksum-*` speaks of the object here, not of the body.
    let integrity = Integrity::of_body_alone(ctx.head, &ctx.payload_kind)?;
    let body = ctx.read_protected(&integrity, limits::XML_BODY_BYTES_MAX).await?;
    let request =
        xml::CompleteMultipartUpload::parse(&body).map_err(|_| S3Error::from(Code::MalformedXML))?;
    if !request.parts.is_sorted_by_key(|part| part.part_number) {
        return Err(Code::InvalidPartOrder.into());
    }
    for attempt in 0.. {
        if attempt > 0 {
            // Only while somebody else completes the same upload, which mostly is a rename.
            sleep(limits::COMPLETION_POLL).await;
        }
        match complete_once(ctx, &name, &key, &upload_id, &request).await {
            Err(error) if error.code() == Code::NoSuchUpload => {}
            done => return done,
        }
        let id = UploadId::parse(upload_id.as_str().as_bytes());
        let under_way = match &id {
            Some(id) => multipart::is_completing(&ctx.service.root, &name, id)?,
            None => false,
        };
        if !under_way {
            return completed_before(ctx, &name, &key, &upload_id).await;
        }
        if attempt >= limits::COMPLETION_POLLS_MAX {
            break;
        }
    }
    Err(Code::SlowDown.because("Another request is completing this upload. Try again later."))
}

/// Completes the upload as far as nobody else does.
///
/// # Errors
/// `NoSuchUpload` also while somebody else completes it.
async fn complete_once(
    ctx: &Ctx<'_>,
    name: &BucketName,
    key: &ObjectKey,
    upload_id: &operation::UploadId,
    request: &xml::CompleteMultipartUpload,
) -> Result<Reply, S3Error> {
    let bucket = ctx.bucket(name)?;
    let mut upload = open_upload(ctx, name, key, upload_id.as_str())?;
    let expected = expected(ctx, &upload)?;
    let wanted = parts_wanted(request, &upload)?;
    object_lock::set_default(ctx.service, name, ctx.now, &mut upload.description.record);
    let (head, publisher) = (ctx.head.clone(), ctx.user_in(name).await?);
    let completed = ctx
        .offload(move |service| {
            let conditions = WriteConditions::of_request(&head);
            let decide = |current: Option<&Object>| holds(&conditions, current);
            let condition =
                if conditions.is_empty() { Condition::Always } else { Condition::Decide(&decide) };
            let root = &service.root;
            multipart::complete(root, &bucket, &upload, &wanted, &expected, &condition, publisher.as_ref())
                .map_err(|error| match publisher {
                    Some(_) => refused_to_user(&error).unwrap_or_else(|| error.into()),
                    None => error.into(),
                })?
                .map_err(complete_error)
        })
        .await?;
    ctx.service.root.commit(name, completed.change).await?;
    let subject = Noted::of(&completed.record);
    ctx.notify(EventKind::CreatedCompleteMultipartUpload, name, key, &subject);
    Ok(complete_answer(ctx, name, key, &completed.record))
}

/// A client that lost the answer repeats its Complete: if the object in place is what this upload made, the answer is the
/// same again.
async fn completed_before(
    ctx: &Ctx<'_>,
    name: &BucketName,
    key: &ObjectKey,
    upload_id: &operation::UploadId,
) -> Result<Reply, S3Error> {
    let mut id = [0; 16];
    if !hex::decode(upload_id.as_str().as_bytes(), &mut id) {
        return Err(no_such_upload(upload_id.as_str()));
    }
    let root = &ctx.service.root;
    let made = |object: &Object| object.record.as_ref().is_some_and(|record| record.upload == Some(id));
    let bucket = ctx.bucket(name)?;
    match ctx.within(name, async { Ok(object::open(root, &bucket, key)?) }).await?.filter(made) {
        Some(Object { file, record: Some(record), .. }) => {
            // Whoever completed it may still wait for the disk.
            root.commit(name, Change { files: smallvec![file.into()], wide: true }).await?;
            Ok(complete_answer(ctx, name, key, &record))
        }
        _ => Err(no_such_upload(upload_id.as_str())),
    }
}

fn complete_answer(ctx: &Ctx<'_>, name: &BucketName, key: &ObjectKey, record: &Record) -> Reply {
    let mut etag = Vec::new();
    record.etag.write_into(&mut etag);
    let stored = record.checksum.as_ref();
    let text = stored.map(attributes::checksum_text);
    let checksum = stored.zip(text.as_deref()).map(|(stored, value)| ChecksumText {
        element: stored.algorithm().element_name(),
        value,
        kind: Some(stored.checksum_type().name()),
    });
    let version = record.version.filter(|_| ctx.service.root.versioning(name) != Versioning::Unversioned);
    let location = ctx.location(name, key);
    let mut document = Vec::with_capacity(1024);
    Completed { location: &location, bucket: name.as_str(), key: key.as_bytes(), etag: &etag, checksum }
        .write(&mut document);
    let mut reply = Reply::new(ctx, 200);
    super::lifecycle::write_expiration(
        ctx,
        name,
        key,
        (record.size, record.mtime),
        Some(&record.tags),
        &mut reply,
    );
    versioning::write_new_version(version, &mut reply);
    reply.xml(document);
    reply
}

fn expected(ctx: &Ctx<'_>, upload: &Upload) -> Result<Expected, S3Error> {
    let size = match ctx.head.header("x-amz-mp-object-size") {
        None => None,
        Some(text) => {
            Some(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                S3Error::invalid_argument(
                    "x-amz-mp-object-size",
                    String::from_utf8_lossy(text),
                    "The size must be a number of bytes.",
                )
            })?)
        }
    };
    if let Some(text) = ctx.head.header("x-amz-checksum-type")
        && let Some((algorithm, kind)) = upload.description.checksum
        && ChecksumType::from_name(text) != Some(kind)
    {
        return Err(Code::InvalidRequest.because(format!(
            "The upload was created using the {} checksum mode of {}. The complete request must use the same checksum mode.",
            kind.name(),
            algorithm.name()
        )));
    }
    let mut checksum = None;
    for algorithm in Algorithm::ALL {
        if let Some(text) = ctx.head.header(algorithm.header_name()) {
            // A composite value ends in the number of parts, which the upload knows.
            let digits = text.split(|byte| *byte == b'-').next().unwrap_or_default();
            // What is no checksum at all is that of no object.
            let value = Checksum::parse(algorithm, digits)
                .ok_or_else(|| S3Error::checksum_mismatch(algorithm.header_name()))?;
            checksum = Some(value);
        }
    }
    Ok(Expected { size, checksum })
}

fn parts_wanted(request: &xml::CompleteMultipartUpload, upload: &Upload) -> Result<Vec<PartWanted>, S3Error> {
    let algorithm = upload.description.checksum.map(|(algorithm, _)| algorithm);
    let parts = &request.parts;
    let next = parts.iter().skip(1).map(Some).chain([None]);
    parts
        .iter()
        .zip(next)
        // A client that sent a part twice may name it twice: the last one counts.
        .filter(|(part, next)| next.is_none_or(|next| next.part_number != part.part_number))
        .map(|(part, _)| {
            // A checksum in another algorithm than the upload's was verified with the part and not kept.
            let of_upload = part.checksums.iter().find_map(|(element, text)| {
                let named = Algorithm::from_element_name(element.as_bytes())?;
                (Some(named) == algorithm).then_some((named, text))
            });
            let checksum = match of_upload {
                None => None,
                Some((named, text)) => Some(
                    Checksum::parse(named, text.as_bytes())
                        .ok_or_else(|| S3Error::invalid_checksum(named.element_name()))?,
                ),
            };
            Ok(PartWanted { number: part.part_number, etag: PartETag::parse(part.etag.as_bytes()), checksum })
        })
        .collect()
}

fn complete_error(error: CompleteError<S3Error>) -> S3Error {
    match error {
        CompleteError::NoSuchUpload => Code::NoSuchUpload.into(),
        CompleteError::InvalidPart(number) => Code::InvalidPart.with("PartNumber", number.to_string()),
        CompleteError::TooSmall { number, size } => Code::EntityTooSmall
            .with("PartNumber", number.to_string())
            .with("ProposedSize", size.to_string())
            .with("MinSizeAllowed", limits::PART_BYTES_MIN.to_string()),
        CompleteError::TooLarge => {
            Code::EntityTooLarge.with("MaxSizeAllowed", limits::OBJECT_BYTES_MAX.to_string())
        }
        CompleteError::Mismatch("x-amz-mp-object-size") => Code::InvalidRequest
            .because("The provided 'x-amz-mp-object-size' header does not match what was computed."),
        CompleteError::Mismatch(header) => S3Error::checksum_mismatch(header),
        CompleteError::Refused(error) => error,
    }
}

/// `DELETE /bucket/key?uploadId`.
pub async fn abort_multipart_upload(
    ctx: &Ctx<'_>,
    operation: Authorized<AbortMultipartUpload>,
) -> Result<Reply, S3Error> {
    let AbortMultipartUpload { bucket, key, upload_id } = operation.into_inner();
    ctx.bucket(&bucket)?;
    let Some(id) = UploadId::parse(upload_id.as_str().as_bytes()) else {
        return Err(no_such_upload(upload_id.as_str()));
    };
    let aborted =
        ctx.offload(move |service| Ok(multipart::abort(&service.root, &bucket, &key, &id)?)).await?;
    let Some(change) = aborted else { return Err(no_such_upload(upload_id.as_str())) };
    ctx.service.root.commit(&bucket, change).await?;
    Ok(Reply::new(ctx, 204))
}

/// `GET /bucket/key?uploadId`.
pub async fn list_parts(ctx: &Ctx<'_>, operation: Authorized<ListParts>) -> Result<Reply, S3Error> {
    let ListParts { bucket, key, upload_id, part_number_marker, max_parts } = operation.into_inner();
    let owners = acl::owners(ctx, &ctx.bucket(&bucket)?)?;
    let upload = open_upload(ctx, &bucket, &key, upload_id.as_str())?;
    let description = upload.description.clone();
    let parts = ctx.offload(move |_| Ok(upload.parts()?)).await?;
    let start = parts.partition_point(|part| part.number <= part_number_marker);
    let page = &parts[start..parts.len().min(start + max_parts as usize)];
    let truncated = start + page.len() < parts.len();
    let (initiator, initiator_name) = &description.initiator;
    let owner = owners.of(description.owner.uid);
    let texts: Vec<_> = page
        .iter()
        .map(|part| {
            let mut buffer = [0; CHECKSUM_BASE64_BYTES_MAX];
            let checksum =
                part.checksum.map(|sum| (sum.algorithm().element_name(), sum.base64(&mut buffer).to_owned()));
            let mut etag = Vec::with_capacity(40);
            part.etag.shown().write_into(&mut etag);
            (etag, checksum)
        })
        .collect();
    let mut document = Vec::with_capacity(1024 + 256 * page.len());
    Parts {
        bucket: bucket.as_str(),
        key: key.as_bytes(),
        upload_id: upload_id.as_str(),
        initiator: Owner { id: initiator, display_name: initiator_name },
        owner: Owner { id: &owner.shown, display_name: &owner.shown },
        storage_class: "STANDARD",
        part_number_marker: part_number_marker.into(),
        next_part_number_marker: page.last().map_or(0, |part| part.number.into()),
        max_parts: max_parts.into(),
        truncated,
        checksum: description.checksum.map(|(algorithm, kind)| (algorithm.name(), kind.name())),
    }
    .write(
        &mut document,
        page.iter().zip(&texts).map(|(part, (etag, checksum))| PartEntry {
            part_number: part.number.into(),
            last_modified: part.modified,
            etag,
            size: part.size,
            checksum: checksum.as_ref().map(|(element, value)| (*element, value.as_str())),
        }),
    );
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// Opens an upload that has to exist.
pub fn open_upload(ctx: &Ctx<'_>, bucket: &BucketName, key: &ObjectKey, id: &str) -> Result<Upload, S3Error> {
    let upload = match UploadId::parse(id.as_bytes()) {
        Some(id) => multipart::open(&ctx.service.root, bucket, key, &id)?,
        None => None,
    };
    upload.ok_or_else(|| no_such_upload(id))
}

/// There is no upload of this id for the key, or it is completed or aborted.
pub fn no_such_upload(id: &str) -> S3Error {
    Code::NoSuchUpload.with("UploadId", id)
}
