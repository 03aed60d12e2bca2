//! GetObject and HeadObject.
//!
//! An object that this core read a moment ago is answered from [`ObjectCache`], if it still is
//! what it was; the answer is made by the same function either way.
//!
//! Spec: GetObject and HeadObject in the Amazon S3 API reference; RFC 9110 sections 13 and 14.

use std::cell::{LazyCell, OnceCell};
use std::os::fd::AsFd;

use super::access::Authorized;
use super::attributes;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::lifecycle::write_expiration;
use super::object_lock;
use super::operation::{GetObject, HeadObject, Operation, PartNumber, ResponseOverrides, VersionId};
use super::reply::{Body, FileRange, Reply};
use super::versioning;
use crate::counters::{self, Cache};
use crate::digest::{CHECKSUM_BASE64_BYTES_MAX, Checksum};
use crate::http::conditional::{ReadConditions, ReadOutcome, Validators};
use crate::http::head::Head;
use crate::http::range::{self, ByteRange, RangeOutcome};
use crate::iam::Action;
use crate::limits::JOINED_BYTES_MAX;
use crate::runtime::file::read_cached;
use crate::runtime::turn;
use crate::storage::ObjectCache;
use crate::storage::cache::{Place, Shown};
use crate::storage::layout::{BucketName, ObjectKey};
use crate::storage::object::Object;
use crate::storage::record::HeaderField;

/// `GET /bucket/key`.
pub async fn get_object(ctx: &Ctx<'_>, operation: Authorized<GetObject>) -> Result<Reply, S3Error> {
    read_object(ctx, &Read::get(operation.into_inner())).await
}

/// `HEAD /bucket/key`.
pub async fn head_object(ctx: &Ctx<'_>, operation: Authorized<HeadObject>) -> Result<Reply, S3Error> {
    read_object(ctx, &Read::head(operation.into_inner())).await
}

struct Read {
    bucket: BucketName,
    key: ObjectKey,
    version_id: Option<VersionId>,
    part_number: Option<PartNumber>,
    overrides: Option<Box<ResponseOverrides>>,
    is_head: bool,
}

impl Read {
    fn get(operation: GetObject) -> Read {
        let GetObject { bucket, key, version_id, part_number, overrides } = operation;
        Read { bucket, key, version_id, part_number, overrides, is_head: false }
    }

    fn head(operation: HeadObject) -> Read {
        let HeadObject { bucket, key, version_id, part_number, overrides } = operation;
        Read { bucket, key, version_id, part_number, overrides, is_head: true }
    }
}

/// Bytes of an object's file.
#[derive(Clone, Copy)]
struct Extent {
    offset: u64,
    length: u64,
}

impl Extent {
    /// Whether they are put behind the head, to leave in one write.
    fn is_small(self) -> bool {
        self.length <= JOINED_BYTES_MAX as u64
    }
}

async fn read_object(ctx: &Ctx<'_>, read: &Read) -> Result<Reply, S3Error> {
    if read.overrides.is_some() && ctx.caller.user().is_none() {
        return Err(Code::InvalidRequest
            .because("Request specific response headers cannot be used for anonymous GET requests."));
    }
    let versioning = ctx.service.root.versioning(&read.bucket);
    let bucket = ctx.bucket(&read.bucket)?;
    let version_id = read.version_id.as_ref();
    let found = match read.is_head {
        true => versioning::find(ctx, &bucket, &read.key, version_id),
        false => versioning::find_settled(ctx, &bucket, &read.key, version_id).await,
    };
    let object = found.map_err(|error| match error.code() {
        // ceph/s3-tests wants this of a GET. Who looks whether the key is free sends HEAD, and is told so.
        Code::NoSuchKey if !read.is_head && has_c1_control(&read.key) => Code::InvalidURI.into(),
        _ => error,
    })?;
    let (mut reply, extent) = answer(ctx, read, &object, None)?;
    if let Some(extent) = extent
        && !(!is_of_browser(ctx.head) && extent.is_small() && read_into(&mut reply, &object, extent))
    {
        let Extent { offset, length } = extent;
        let (content, file_id) = (object.content(), object.file_id);
        reply.body = Body::File(FileRange { file: object.file, file_id, offset, length, content });
        return Ok(reply);
    }
    if extent.is_some() {
        object.content().check(object.file.as_fd())?;
    }
    if may_cache(ctx.head, read.version_id.as_ref()) && !ctx.service.enforces(&read.bucket) {
        ctx.objects.keep(&ctx.service.root, (&read.bucket, &read.key), versioning, object, ctx.now);
    }
    Ok(reply)
}

/// Whether a request can be answered from what this core opened a moment ago, for everybody who may read the object.
fn may_cache(head: &Head, version_id: Option<&VersionId>) -> bool {
    version_id.is_none() && !is_of_browser(head)
}

/// Whether the answer gets more headers once it is made, which cannot be added behind a body.
fn is_of_browser(head: &Head) -> bool {
    head.header("origin").is_some()
}

/// Where the object is that a request reads, if this core opened it a moment ago.
pub fn expect_cached(
    service: &Service,
    objects: &ObjectCache,
    head: &Head,
    operation: &Operation,
) -> Option<Place> {
    let (bucket, key, version_id) = match operation {
        Operation::GetObject(get) => (&get.bucket, &get.key, &get.version_id),
        Operation::HeadObject(get) => (&get.bucket, &get.key, &get.version_id),
        _ => return None,
    };
    // Where the kernel decides who may open a file, it is asked every time.
    if !may_cache(head, version_id.as_ref()) || service.enforces(bucket) {
        return None;
    }
    let place = objects.expect(bucket, key);
    if place.is_none() {
        counters::looked_up(Cache::Descriptors, false);
    }
    place
}

/// As [`get_object`] and [`head_object`], from what is where [`expect_cached`] said, if that still stands. `None`: the object
/// has to be opened, or the answer is an error.
pub fn answer_cached(ctx: &Ctx<'_>, operation: Authorized<Operation>, place: Place) -> Option<Reply> {
    let read = match operation.into_inner() {
        Operation::GetObject(operation) => Read::get(operation),
        Operation::HeadObject(operation) => Read::head(operation),
        _ => return None,
    };
    if read.overrides.is_some() && ctx.caller.user().is_none() {
        return None;
    }
    let found = ctx.objects.find(&ctx.service.root, place, &read.bucket, &read.key);
    counters::looked_up(Cache::Descriptors, found.is_some());
    let cached = &*found?;
    let (mut reply, extent) = answer(ctx, &read, &cached.object, Some(&cached.lines)).ok()?;
    let (mut shown, mut is_whole) = (Shown::Kept, false);
    if let Some(extent @ Extent { offset, length }) = extent {
        if let Some(body) = cached.body() {
            // An extent lies within the object.
            let piece = body.get(offset as usize..(offset + length) as usize)?;
            reply.join(piece.len(), |to| {
                to.extend_from_slice(piece);
                piece.len()
            });
        } else if extent.is_small() && read_into(&mut reply, &cached.object, extent) {
            (shown, is_whole) = (Shown::Read, length == cached.object.size);
        } else {
            return None;
        }
    }
    // Asked last of all: everything that was read above is then of one state of the file.
    if !ctx.objects.stands(&ctx.service.root, cached, shown, turn::current(), ctx.now) {
        ctx.objects.forget(&read.bucket, &read.key);
        return None;
    }
    if is_whole {
        ctx.objects.keep_body(cached, reply.joined());
    }
    Some(reply)
}

/// Puts the bytes behind the head, if the page cache has them all.
fn read_into(reply: &mut Reply, object: &Object, Extent { offset, length }: Extent) -> bool {
    reply.join(length as usize, |to| read_cached(object.file.as_fd(), to, length as usize, offset))
}

/// The answer without its body, and what of the file is its body. `lines` is where what is said of the object alone can be
/// remembered.
fn answer(
    ctx: &Ctx<'_>,
    read: &Read,
    object: &Object,
    lines: Option<&OnceCell<Box<[u8]>>>,
) -> Result<(Reply, Option<Extent>), S3Error> {
    // Most requests ask for nothing that needs the text.
    let etag = LazyCell::new(|| object.etag.text());
    let validators = || Validators { etag: &etag, last_modified: object.modified };
    let conditions = ReadConditions::of_request(ctx.head);
    let outcome =
        if conditions.is_empty() { ReadOutcome::Proceed } else { conditions.evaluate(&validators()) };
    match outcome {
        ReadOutcome::Proceed => {}
        ReadOutcome::Failed(condition) => return Err(S3Error::precondition_failed(condition)),
        ReadOutcome::NotModified => {
            let mut reply = Reply::new(ctx, 304);
            reply.header("Last-Modified", &object.modified.http());
            reply.resume().etag(&etag);
            versioning::write_version(ctx.service, &read.bucket, object.version, &mut reply);
            return Ok((reply, None));
        }
    }
    let selected = select(ctx, read, object, validators)?;
    // The last part of an upload may be empty, which no Content-Range can say.
    let empty_part = read.part_number.is_some() && selected.is_none() && object.size > 0;
    let mut reply = Reply::new(ctx, if selected.is_some() || empty_part { 206 } else { 200 });
    let write = |reply: &mut Reply| write_object(ctx, read, object, &etag, reply);
    match lines {
        Some(lines)
            if read.overrides.is_none()
                && (lines.get().is_some() || attributes::are_read_alike(object.record.as_ref())) =>
        {
            reply.remembered(lines, write);
        }
        _ => write(&mut reply),
    }
    if let Some(range) = selected {
        reply.resume().content_range(range, object.size);
    }
    object_lock::write(ctx, &read.bucket, &read.key, object.record.as_ref(), &mut reply);
    write_parts_and_checksum(ctx, read, object, selected, &mut reply);
    if read.version_id.is_none() {
        let tags = object.record.as_ref().map(|record| &record.tags);
        write_expiration(ctx, &read.bucket, &read.key, (object.size, object.modified), tags, &mut reply);
    }
    for (field, value) in read.overrides.as_deref().map(overridden).into_iter().flatten() {
        if let Some(value) = value {
            reply.header(field.name(), value.as_bytes());
        }
    }
    let (offset, length) = match selected {
        Some(range) => (range.first(), range.len()),
        None if empty_part => (0, 0),
        None => (0, object.size),
    };
    let extent = if read.is_head {
        reply.body = Body::Omitted(length);
        None
    } else {
        (length > 0).then_some(Extent { offset, length })
    };
    Ok((reply, extent))
}

/// Writes what is said of an object whatever part of it is asked for.
fn write_object(ctx: &Ctx<'_>, read: &Read, object: &Object, etag: &[u8], reply: &mut Reply) {
    reply.header("Last-Modified", &object.modified.http()).header("Accept-Ranges", b"bytes");
    reply.resume().etag(etag);
    versioning::write_version(ctx.service, &read.bucket, object.version, reply);
    let overrides = read.overrides.as_deref().map(overridden);
    attributes::write(object.record.as_ref(), &read.key, ctx.head, reply, |field| {
        overrides.iter().flatten().any(|(other, value)| *other == field && value.is_some())
    });
}

/// The bytes that are asked for; none for the whole object, and for a part without any.
fn select<'o>(
    ctx: &Ctx<'_>,
    read: &Read,
    object: &Object,
    validators: impl Fn() -> Validators<'o>,
) -> Result<Option<ByteRange>, S3Error> {
    let header = ctx.head.header("range");
    let Some(part) = read.part_number else {
        if header.is_none() {
            return Ok(None);
        }
        return match range::resolve(header, ctx.head.header("if-range"), &validators(), object.size) {
            RangeOutcome::Whole => Ok(None),
            RangeOutcome::Partial(range) => Ok(Some(range)),
            RangeOutcome::Unsatisfiable => {
                Err(S3Error::invalid_range(header.unwrap_or_default(), object.size))
            }
        };
    };
    if header.is_some() {
        return Err(
            Code::InvalidRequest.because("Cannot specify both Range header and partNumber query parameter.")
        );
    }
    let parts = object.record.as_ref().and_then(|record| record.parts.as_ref());
    let range = match parts {
        Some(parts) => parts.range(part.get()),
        // An object that was not uploaded in parts is its own part 1.
        None if part.get() == 1 => Some(0..object.size),
        None => None,
    };
    match range {
        Some(range) if range.is_empty() => Ok(None),
        Some(range) => Ok(ByteRange::new(range.start, range.end - 1, object.size)),
        // AWS answers 416 InvalidPartNumber; ceph/s3-tests wants this, and no client tells the two apart.
        None => Err(Code::InvalidPart
            .with("PartNumberRequested", part.get().to_string())
            .with("ActualPartCount", parts.map_or(1, |parts| parts.part_count()).to_string())),
    }
}

/// The number of parts, and a checksum of what is sent: of the whole or of the part, never of another range.
fn write_parts_and_checksum(
    ctx: &Ctx<'_>,
    read: &Read,
    object: &Object,
    selected: Option<ByteRange>,
    reply: &mut Reply,
) {
    let Some(record) = &object.record else { return };
    if let (Some(_), Some(parts)) = (read.part_number, &record.parts) {
        reply.decimal("x-amz-mp-parts-count", parts.part_count().into());
    }
    let asked =
        ctx.head.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case(b"ENABLED"));
    if !asked {
        return;
    }
    match (read.part_number, &record.part_checksums, &record.checksum) {
        (Some(part), Some(checksums), _) => {
            let value = checksums.value(part.get());
            let checksum = value.and_then(|value| Checksum::from_bytes(checksums.algorithm(), value));
            if let Some(checksum) = checksum {
                let mut buffer = [0; CHECKSUM_BASE64_BYTES_MAX];
                reply.header(checksum.algorithm().header_name(), checksum.base64(&mut buffer).as_bytes());
                let kind = record.checksum.as_ref().map(|stored| stored.checksum_type());
                reply.header(
                    "x-amz-checksum-type",
                    kind.unwrap_or(checksum.algorithm().default_type()).name().as_bytes(),
                );
            }
        }
        (None, _, Some(stored)) if selected.is_none() => attributes::write_checksum(stored, reply),
        (Some(_), None, Some(stored)) if record.parts.is_none() => attributes::write_checksum(stored, reply),
        _ => {}
    }
}

fn overridden(overrides: &ResponseOverrides) -> [(HeaderField, Option<&String>); 6] {
    [
        (HeaderField::CacheControl, overrides.cache_control.as_ref()),
        (HeaderField::ContentDisposition, overrides.content_disposition.as_ref()),
        (HeaderField::ContentEncoding, overrides.content_encoding.as_ref()),
        (HeaderField::ContentLanguage, overrides.content_language.as_ref()),
        (HeaderField::ContentType, overrides.content_type.as_ref()),
        (HeaderField::Expires, overrides.expires.as_ref()),
    ]
}

/// Whether the key has a control character of U+0080 to U+009F.
fn has_c1_control(key: &ObjectKey) -> bool {
    key.as_str().chars().any(|character| matches!(character, '\u{80}'..='\u{9f}'))
}

/// What a missing object is to this caller: who may not list the bucket is not told that it is missing.
pub fn missing(ctx: &Ctx<'_>, bucket: &BucketName, key: &ObjectKey) -> S3Error {
    // Whether the key could be listed, which a policy may make depend on `s3:prefix`.
    let operation = Operation::HeadObject(HeadObject {
        bucket: *bucket,
        key: key.clone(),
        version_id: None,
        part_number: None,
        overrides: None,
    });
    if ctx.caller.may_also(Action::ListBucket, bucket.as_str(), b"", &operation) {
        Code::NoSuchKey.with("Key", key.as_str())
    } else {
        Code::AccessDenied.into()
    }
}
