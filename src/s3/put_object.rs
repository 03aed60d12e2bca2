//! PutObject, and the way of a body into a file that UploadPart shares.
//!
//! Spec: PutObject in the Amazon S3 API reference.

use super::access::Authorized;
use super::acl::{self, Asked};
use super::attributes;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::integrity::Integrity;
use super::lifecycle::write_expiration;
use super::notification::{EventKind, Noted};
use super::object_lock;
use super::operation::PutObject;
use super::payload::{Payload, slow_down};
use super::reply::Reply;
use super::versioning;
use crate::codec::dates::Timestamp;
use crate::digest::{Algorithm, BodyDigests, Digests, Wanted};
use crate::http::conditional::{Validators, WriteConditions, WriteOutcome};
use crate::http::head::Framing;
use crate::iam::PosixOwner;
use crate::limits;
use crate::runtime::lanes::update_hashes;
use crate::runtime::{AlignedBuf, credentials};
use crate::storage::layout;
use crate::storage::object::{self, Condition, Object};
use crate::storage::profile::ETagKind;
use crate::storage::record::{ETag, Record, StoredChecksum};
use crate::storage::writer::Writer;

/// `PUT /bucket/key`.
pub async fn put_object(ctx: &mut Ctx<'_>, operation: Authorized<PutObject>) -> Result<Reply, S3Error> {
    let put = operation.into_inner();
    let record = store(ctx, &put).await?;
    ctx.notify(EventKind::CreatedPut, &put.bucket, &put.key, &Noted::of(&record));
    let mut reply = stored(ctx, &record, 200);
    write_expiration(ctx, &put.bucket, &put.key, (record.size, record.mtime), Some(&record.tags), &mut reply);
    Ok(reply)
}

/// Stores the body of a request under a key, with what the head says of it.
pub async fn store(ctx: &mut Ctx<'_>, put: &PutObject) -> Result<Record, S3Error> {
    let PutObject { bucket, key } = put;
    let service = ctx.service.clone();
    let root = &service.root;
    let length = content_length(ctx)?;
    let owner = owner(ctx)?;
    let integrity = Integrity::of(ctx.head, &ctx.payload_kind)?;
    let mut record = Record::new(0, Timestamp::from_seconds(0), ETag::Md5([0; 16]));
    attributes::of_request(ctx.head, &mut record)?;
    object_lock::of_request(ctx, bucket, &mut record)?;
    object_lock::require_integrity(&record, &integrity)?;
    let asked = Asked::of(|name| ctx.head.header(name))?;
    let bucket = ctx.bucket_to_fill(bucket)?;
    let owner = acl::of_new_object(&ctx.caller, asked.as_ref(), &bucket, owner, &mut record)?;
    let conditions = WriteConditions::of_request(ctx.head);
    let decide = |current: Option<&Object>| holds(&conditions, current);
    if !conditions.is_empty() {
        // Before the body is asked for; decided again, for good, when the object is published.
        decide(object::open(root, &bucket, key)?.as_ref())?;
    }
    let md5 = root.profile(&bucket.name).etag == ETagKind::Md5;
    let (path, directories) = (layout::path(key), ctx.directories);
    let create = || Writer::create(root, &bucket, &path, length, directories);
    let is_small = length.is_some_and(|length| length <= limits::BUFFERED_BYTES_MAX as u64);
    // The file of a small body is made once that is there, and filled, sealed and named in one go. A user is told before
    // that there may be none.
    let mut begun = if is_small && !credentials::is_user() { None } else { Some(create()?) };
    let wanted = integrity.wanted(md5, default_checksum(&integrity));
    let mut held = Held(None);
    let digests = match &mut begun {
        Some(writer) => receive(&mut ctx.payload, wanted, writer).await?,
        None => receive(&mut ctx.payload, wanted, &mut held).await?,
    };
    integrity.verify(&digests, ctx.payload.trailers())?;
    let mut writer = match begun {
        Some(writer) => writer,
        None => create()?,
    };
    if let Some(body) = held.0 {
        writer.write(body).await?;
    }
    let (staged, _) = writer.finish().await?;
    record.etag = root.etag(digests.md5.filter(|_| md5));
    record.checksum = stored_checksum(&digests);
    object_lock::set_default(&service, &bucket.name, ctx.now, &mut record);
    let condition = if conditions.is_empty() { Condition::Always } else { Condition::Decide(&decide) };
    let change = object::publish(root, &bucket, key, staged, &mut record, owner, &condition)??;
    root.commit(&bucket.name, change).await?;
    Ok(record)
}

/// Takes the pieces of a body: a new object or a part.
pub trait Sink {
    /// A buffer that is written already.
    fn spare(&mut self) -> Option<AlignedBuf>;
    /// Writes the next piece.
    fn write(&mut self, buf: AlignedBuf) -> impl Future<Output = Result<(), crate::storage::Error>>;
}

impl Sink for Writer<'_> {
    fn spare(&mut self) -> Option<AlignedBuf> {
        Writer::spare(self)
    }

    fn write(&mut self, buf: AlignedBuf) -> impl Future<Output = Result<(), crate::storage::Error>> {
        Writer::write(self, buf)
    }
}

/// A body that is one piece, while there is no file for it.
struct Held(Option<AlignedBuf>);

impl Sink for Held {
    fn spare(&mut self) -> Option<AlignedBuf> {
        None
    }

    async fn write(&mut self, buf: AlignedBuf) -> Result<(), crate::storage::Error> {
        debug_assert!(self.0.is_none(), "a buffer has room for all of it");
        self.0 = Some(buf);
        Ok(())
    }
}

/// Moves a whole body into a sink and computes what is wanted of it.
pub async fn receive(
    payload: &mut Payload<'_>,
    wanted: Wanted,
    sink: &mut impl Sink,
) -> Result<Digests, S3Error> {
    let mut digests = BodyDigests::new(wanted);
    let mut received = 0;
    loop {
        let buf = match sink.spare() {
            Some(buf) => buf,
            None => AlignedBuf::take_for(payload.length().unwrap_or(u64::MAX)).map_err(|_| slow_down())?,
        };
        let (buf, done) = payload.fill(buf).await?;
        let buf = digest(&mut digests, buf).await;
        received = check_length(received + buf.len() as u64)?;
        if !buf.is_empty() {
            sink.write(buf).await?;
        }
        if done {
            return Ok(digests.finish());
        }
    }
}

/// Computes over one piece. Its MD5 and SHA-256, unless it is very short, are computed together with those of the core's other uploads.
async fn digest(digests: &mut BodyDigests, buf: AlignedBuf) -> AlignedBuf {
    let hashes = digests.take_hashes();
    if hashes.is_empty() || buf.len() < limits::SHARED_HASH_BYTES_MIN {
        digests.put_hashes(hashes);
        digests.update(&buf);
        return buf;
    }
    let (hashes, buf) = update_hashes(hashes, buf).await;
    digests.put_hashes(hashes);
    digests.update_checksums(&buf);
    buf
}

/// The length of a body to be stored, at most 5 GiB. It is not known for a chunked body that does not say it; a request
/// that names neither a length nor chunks is refused, as S3 does.
pub fn content_length(ctx: &Ctx<'_>) -> Result<Option<u64>, S3Error> {
    match ctx.payload.length() {
        _ if ctx.head.framing() == Framing::None => Err(Code::MissingContentLength.into()),
        Some(length) => check_length(length).map(Some),
        None => Ok(None),
    }
}

fn check_length(length: u64) -> Result<u64, S3Error> {
    if length <= limits::PUT_BYTES_MAX {
        return Ok(length);
    }
    Err(Code::EntityTooLarge
        .with("ProposedSize", length.to_string())
        .with("MaxSizeAllowed", limits::PUT_BYTES_MAX.to_string()))
}

/// Whom the caller's files belong to, if the server can give files to that owner.
pub fn owner(ctx: &Ctx<'_>) -> Result<PosixOwner, S3Error> {
    ctx.caller.givable(ctx.caller.owner(ctx.service.anonymous))
}

/// What the write conditions say of the object in place.
pub fn holds(conditions: &WriteConditions<'_>, current: Option<&Object>) -> Result<(), S3Error> {
    let mut etag = Vec::new();
    let validators = current.map(|object| {
        object.etag.write_into(&mut etag);
        Validators { etag: &etag, last_modified: object.modified }
    });
    match conditions.evaluate(validators.as_ref()) {
        WriteOutcome::Proceed => Ok(()),
        WriteOutcome::Failed(condition) => Err(S3Error::precondition_failed(condition)),
        WriteOutcome::Missing => Err(Code::NoSuchKey.into()),
    }
}

/// The checksum the server computes when the client names none, as S3 does.
pub fn default_checksum(integrity: &Integrity) -> Option<Algorithm> {
    integrity.algorithm().is_none().then_some(Algorithm::Crc64Nvme)
}

/// The checksum to store: the client's, else the server's own.
pub fn stored_checksum(digests: &Digests) -> Option<StoredChecksum> {
    let checksum = digests.checksums.iter().flatten().next()?;
    StoredChecksum::full_object(checksum.algorithm(), checksum.as_bytes()).ok()
}

/// The answer for a stored object.
pub fn stored(ctx: &Ctx<'_>, record: &Record, status: u16) -> Reply {
    let mut reply = Reply::new(ctx, status);
    let mut etag = Vec::with_capacity(40);
    record.etag.write_into(&mut etag);
    reply.resume().etag(&etag);
    if let Some(checksum) = &record.checksum {
        attributes::write_checksum(checksum, &mut reply);
    }
    versioning::write_new_version(record.version, &mut reply);
    reply
}
