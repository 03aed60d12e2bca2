//! Object lock: GetObjectLockConfiguration, PutObjectLockConfiguration, GetObjectRetention, PutObjectRetention,
//! GetObjectLegalHold, PutObjectLegalHold; what new objects get of it; and what it forbids.
//!
//! A lock keeps one version from being deleted through S3 ([`may_delete`]); a delete marker before it is always possible.
//! Its bucket keeps versions, and cannot cease to. A retention can be extended by whoever may put it. Shortened, taken
//! away, or changed to compliance mode it can be in governance mode only, with `s3:BypassGovernanceRetention` and the
//! header `x-amz-bypass-governance-retention: true`.
//!
//! The lock binds S3 clients. The current version is a plain file, whose POSIX owner can remove or overwrite it as any
//! other file; noncurrent versions are in a directory that only the superuser can enter.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Locking objects with Object Lock".

mod configuration;

pub use self::configuration::{DefaultRetention, ObjectLock, Period};

use super::access::{Authorized, Lock};
use super::attributes;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::integrity::Integrity;
use super::operation::{ObjectVersion, Operation};
use super::reply::Reply;
use super::settings::{self, Setting};
use super::versioning;
use super::xml::Writer;
use super::xml::reader::{Malformed, Reader, name, once, parse_time};
use crate::codec::dates::Timestamp;
use crate::iam::Action;
use crate::limits;
use crate::storage::record::{Record, Retention, RetentionMode};
use crate::storage::versions::{Absence, Versioning};
use crate::storage::{BucketName, Object, ObjectKey, object};

/// `GET /bucket?object-lock`.
pub async fn get_object_lock_configuration(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::get::<ObjectLock>(ctx, &operation)
}

/// `PUT /bucket?object-lock`.
pub async fn put_object_lock_configuration(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::put::<ObjectLock>(ctx, operation.into_inner(), 200).await
}

/// `GET /bucket/key?retention`.
pub async fn get_object_retention(
    ctx: &Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let (object, bucket) = locked_object(ctx, &operation)?;
    let Some(retention) = object.record.as_ref().and_then(|record| record.retention) else {
        return Err(Code::NoSuchObjectLockConfiguration.into());
    };
    let mut document = Vec::with_capacity(256);
    let mut writer = Writer::document(&mut document);
    writer.open_root("Retention");
    writer.text("Mode", retention.mode.name());
    writer.text("RetainUntilDate", until_text(retention));
    writer.close("Retention");
    let mut reply = Reply::new(ctx, 200);
    versioning::write_version(ctx.service, &bucket, object.version, &mut reply);
    reply.xml(document);
    Ok(reply)
}

/// `GET /bucket/key?legal-hold`.
pub async fn get_object_legal_hold(
    ctx: &Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let (object, bucket) = locked_object(ctx, &operation)?;
    let Some(held) = object.record.as_ref().and_then(|record| record.legal_hold) else {
        return Err(Code::NoSuchObjectLockConfiguration.into());
    };
    let mut document = Vec::with_capacity(256);
    let mut writer = Writer::document(&mut document);
    writer.open_root("LegalHold");
    writer.text("Status", hold_text(held));
    writer.close("LegalHold");
    let mut reply = Reply::new(ctx, 200);
    versioning::write_version(ctx.service, &bucket, object.version, &mut reply);
    reply.xml(document);
    Ok(reply)
}

/// `PUT /bucket/key?retention`.
pub async fn put_object_retention(
    ctx: &mut Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let body = ctx.read_document(limits::SETTING_BODY_BYTES_MAX).await;
    let wanted = body.and_then(|body| Ok(read_retention(&body)?));
    // First of all whether the caller may, which can depend on what is wanted.
    let lock = Lock { retention: wanted.as_ref().ok().copied().flatten(), legal_hold: None };
    ctx.caller.require_with_lock(&Operation::PutObjectRetention(operation.clone()), lock)?;
    let wanted = wanted?;
    require_lock(ctx, &operation.bucket)?;
    if let Some(retention) = wanted {
        require_future(retention, ctx.now)?;
    }
    let (now, bypass) = (ctx.now, bypasses(ctx));
    change(ctx, &operation, |record| {
        if may_replace(record.retention, wanted, bypass, now) {
            record.retention = wanted;
            return Ok(());
        }
        Err(denied())
    })
    .await
}

/// `PUT /bucket/key?legal-hold`.
pub async fn put_object_legal_hold(
    ctx: &mut Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let body = ctx.read_document(limits::SETTING_BODY_BYTES_MAX).await;
    let held = body.and_then(|body| Ok(read_legal_hold(&body)?));
    let lock = Lock { retention: None, legal_hold: held.as_ref().ok().copied() };
    ctx.caller.require_with_lock(&Operation::PutObjectLegalHold(operation.clone()), lock)?;
    let held = held?;
    require_lock(ctx, &operation.bucket)?;
    change(ctx, &operation, |record| {
        record.legal_hold = Some(held);
        Ok(())
    })
    .await
}

/// Changes the record of a version, durably.
async fn change(
    ctx: &Ctx<'_>,
    target: &ObjectVersion,
    change: impl Fn(&mut Record) -> Result<(), S3Error>,
) -> Result<Reply, S3Error> {
    let ObjectVersion { bucket: name, key, version_id } = target;
    let (root, version) = (&ctx.service.root, versioning::named(version_id.as_ref())?);
    let record_of = |found: Result<&Object, &Absence>| {
        let object = found.map_err(|absence| versioning::absent(ctx, name, key, version, absence))?;
        let mut record = attributes::record_of(object, key);
        change(&mut record)?;
        Ok::<_, S3Error>(record)
    };
    let (version, change) = object::amend(root, &ctx.bucket(name)?, key, version, &record_of)??;
    root.commit(name, change).await?;
    let mut reply = Reply::new(ctx, 200);
    versioning::write_version(ctx.service, name, version, &mut reply);
    Ok(reply)
}

/// The version that a request is about, in a bucket with object lock.
fn locked_object(ctx: &Ctx<'_>, target: &ObjectVersion) -> Result<(Object, BucketName), S3Error> {
    let bucket = ctx.bucket(&target.bucket)?;
    require_lock(ctx, &target.bucket)?;
    let object = versioning::find(ctx, &bucket, &target.key, target.version_id.as_ref())?;
    Ok((object, target.bucket))
}

fn require_lock(ctx: &Ctx<'_>, bucket: &BucketName) -> Result<(), S3Error> {
    ctx.bucket(bucket)?;
    match ObjectLock::of(&ctx.service.settings.of(bucket)) {
        Some(_) => Ok(()),
        None => Err(missing_configuration()),
    }
}

fn missing_configuration() -> S3Error {
    Code::InvalidRequest.because("Bucket is missing Object Lock Configuration")
}

/// Whether one retention may take the place of another.
fn may_replace(old: Option<Retention>, new: Option<Retention>, bypass: bool, now: Timestamp) -> bool {
    let Some(old) = old.filter(|old| old.is_active(now.seconds)) else { return true };
    if bypass && old.mode == RetentionMode::Governance {
        return true;
    }
    new.is_some_and(|new| new.mode == old.mode && new.until_seconds >= old.until_seconds)
}

/// Whether a version may be deleted for good.
///
/// # Errors
/// `AccessDenied`: it is locked.
pub fn may_delete(object: &Object, bypass: bool, now: Timestamp) -> Result<(), S3Error> {
    let Some(record) = &object.record else { return Ok(()) };
    if !record.is_locked(now.seconds) {
        return Ok(());
    }
    let governed =
        record.retention.is_none_or(|it| it.mode == RetentionMode::Governance || !it.is_active(now.seconds));
    if bypass && governed && record.legal_hold != Some(true) { Ok(()) } else { Err(denied()) }
}

fn denied() -> S3Error {
    Code::AccessDenied.because("Access Denied because object protected by object lock.")
}

/// Whether the request asks to go past a retention in governance mode. That it may is another question.
pub fn bypasses(ctx: &Ctx<'_>) -> bool {
    let header = ctx.head.header("x-amz-bypass-governance-retention");
    header.is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
}

/// Reads what the headers of a request say of the locks of the object it makes.
///
/// # Errors
/// They cannot be understood, or the bucket has no object lock.
pub fn of_request(ctx: &Ctx<'_>, bucket: &BucketName, record: &mut Record) -> Result<(), S3Error> {
    let header = |name| ctx.head.header(name);
    let (mode, until, hold) = (header(MODE_HEADER), header(UNTIL_HEADER), header(HOLD_HEADER));
    (record.retention, record.legal_hold) = (None, None);
    if mode.is_none() && until.is_none() && hold.is_none() {
        return Ok(());
    }
    record.retention = retention_of_headers(mode, until)?;
    if let Some(retention) = record.retention {
        require_future(retention, ctx.now)?;
    }
    record.legal_hold = match hold {
        None => None,
        Some(b"ON") => Some(true),
        Some(b"OFF") => Some(false),
        Some(other) => return Err(invalid(HOLD_HEADER, other, "Legal Hold must be either of 'ON' or 'OFF'")),
    };
    match ObjectLock::of(&ctx.service.settings.of(bucket)) {
        Some(_) => Ok(()),
        None => Err(missing_configuration()),
    }
}

/// Refuses an object with locks whose body comes without a digest, as S3 does.
///
/// # Errors
/// `InvalidRequest`.
pub fn require_integrity(record: &Record, integrity: &Integrity) -> Result<(), S3Error> {
    if (record.retention.is_none() && record.legal_hold.is_none()) || integrity.is_protected() {
        return Ok(());
    }
    Err(Code::InvalidRequest.because(
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
    ))
}

fn retention_of_headers(mode: Option<&[u8]>, until: Option<&[u8]>) -> Result<Option<Retention>, S3Error> {
    let (mode, until) = match (mode, until) {
        (None, None) => return Ok(None),
        (Some(mode), Some(until)) => (mode, until),
        _ => {
            return Err(Code::InvalidArgument
                .because(format!("{UNTIL_HEADER} and {MODE_HEADER} must both be supplied"))
                .with("ArgumentName", if mode.is_some() { UNTIL_HEADER } else { MODE_HEADER }));
        }
    };
    let known = std::str::from_utf8(mode).ok().and_then(RetentionMode::parse);
    let known = known.ok_or_else(|| invalid(MODE_HEADER, mode, "Unknown wormMode directive."))?;
    let time = std::str::from_utf8(until).ok().and_then(|text| parse_time(text).ok());
    let time = time.ok_or_else(|| {
        invalid(UNTIL_HEADER, until, "The retain until date must be provided in ISO 8601 format")
    })?;
    Ok(Some(Retention { mode: known, until_seconds: end_of(time) }))
}

/// Gives the record of a new object the retention that its bucket gives to those without one of their own.
pub fn set_default(service: &Service, bucket: &BucketName, now: Timestamp, record: &mut Record) {
    if record.retention.is_none() && service.root.versioning(bucket) != Versioning::Unversioned {
        let settings = service.settings.of(bucket);
        let default = ObjectLock::of(&settings).and_then(|lock| lock.default_retention);
        record.retention = default.map(|default| default.from(now));
    }
}

/// Shows the locks of an object to those who may see them.
pub fn write(
    ctx: &Ctx<'_>,
    bucket: &BucketName,
    key: &ObjectKey,
    record: Option<&Record>,
    reply: &mut Reply,
) {
    let Some(record) = record else { return };
    // Any operation without listing options decides alike.
    let operation = Operation::HeadBucket(*bucket);
    let may = |action| ctx.caller.may_also(action, bucket.as_str(), key.as_bytes(), &operation);
    if let Some(retention) = record.retention
        && may(Action::GetObjectRetention)
    {
        reply.header(MODE_HEADER, retention.mode.name().as_bytes());
        reply.header(UNTIL_HEADER, &until_text(retention));
    }
    if let Some(held) = record.legal_hold
        && may(Action::GetObjectLegalHold)
    {
        reply.header(HOLD_HEADER, hold_text(held).as_bytes());
    }
}

/// A `Retention` document; one without content takes the retention away.
fn read_retention(document: &[u8]) -> Result<Option<Retention>, Malformed> {
    let mut reader = Reader::open(document, "Retention")?;
    let (mut mode, mut until) = (None, None);
    while let Some(element) = reader.child()? {
        let text = reader.text()?;
        match name(&element) {
            "Mode" => once(&mut mode, RetentionMode::parse(&text).ok_or(Malformed)?)?,
            "RetainUntilDate" => once(&mut until, end_of(parse_time(&text)?))?,
            _ => return Err(Malformed),
        }
    }
    reader.finish()?;
    match (mode, until) {
        (None, None) => Ok(None),
        (Some(mode), Some(until_seconds)) => Ok(Some(Retention { mode, until_seconds })),
        _ => Err(Malformed),
    }
}

/// The status of a `LegalHold` document.
fn read_legal_hold(document: &[u8]) -> Result<bool, Malformed> {
    let mut reader = Reader::open(document, "LegalHold")?;
    let mut held = None;
    while let Some(element) = reader.child()? {
        let text = reader.text()?;
        match (name(&element), text.as_str()) {
            ("Status", "ON") => once(&mut held, true)?,
            ("Status", "OFF") => once(&mut held, false)?,
            _ => return Err(Malformed),
        }
    }
    reader.finish()?;
    held.ok_or(Malformed)
}

/// The first whole second that is not before a time: what is retained is never let go early.
fn end_of(time: Timestamp) -> i64 {
    time.seconds.saturating_add(i64::from(time.nanos > 0))
}

fn require_future(retention: Retention, now: Timestamp) -> Result<(), S3Error> {
    if retention.is_active(now.seconds) {
        return Ok(());
    }
    Err(Code::InvalidArgument.because("The retain until date must be in the future!"))
}

fn until_text(retention: Retention) -> [u8; 24] {
    Timestamp::from_seconds(retention.until_seconds).iso8601_millis()
}

fn hold_text(held: bool) -> &'static str {
    if held { "ON" } else { "OFF" }
}

fn invalid(header: &'static str, value: &[u8], message: &'static str) -> S3Error {
    S3Error::invalid_argument(header, String::from_utf8_lossy(value), message)
}

const MODE_HEADER: &str = "x-amz-object-lock-mode";
const UNTIL_HEADER: &str = "x-amz-object-lock-retain-until-date";
const HOLD_HEADER: &str = "x-amz-object-lock-legal-hold";

/// Reads arbitrary bytes as each of the documents.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    configuration::fuzz(data);
    let _ = (read_retention(data), read_legal_hold(data));
}

#[cfg(test)]
mod tests;
