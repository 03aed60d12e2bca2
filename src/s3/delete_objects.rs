//! DeleteObject and DeleteObjects.
//!
//! Without a version id a bucket that keeps versions gets a delete marker; with one the version is removed for good,
//! unless it is locked ([`object_lock`]).
//!
//! # Conditions
//! They are judged against what the deletion is about: the named version, or the latest one. A delete marker in its place
//! has no ETag and no bytes, so that of ETags only `*` matches it. Where there is nothing there is nothing to keep: the
//! answer is a success, and nothing is done.
//!
//! Spec: DeleteObject and DeleteObjects in the Amazon S3 API reference.

use super::access::Authorized;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::notification::{EventKind, Noted};
use super::object_lock;
use super::operation::{DeleteObject, Operation, VersionId};
use super::put_object::holds;
use super::reply::Reply;
use super::versioning;
use super::xml;
use super::xml::reader::{parse_number, parse_time};
use super::xml::{DeleteOutcome, write_delete_result};
use crate::codec::dates::Timestamp;
use crate::http::conditional::{Validators, WriteConditions, WriteOutcome};
use crate::http::head::Head;
use crate::iam::{Action, PosixOwner};
use crate::limits;
use crate::storage::layout::{BucketName, ObjectKey, ObjectKeyError};
use crate::storage::versions::{self, Absence, Deleted, Version};
use crate::storage::{Bucket, Change, Emptied, Object};

/// `DELETE /bucket/key`.
pub async fn delete_object(ctx: &Ctx<'_>, operation: Authorized<DeleteObject>) -> Result<Reply, S3Error> {
    let DeleteObject { bucket, key, version_id } = operation.into_inner();
    let version = versioning::named(version_id.as_ref())?;
    let root = &ctx.service.root;
    let bucket = ctx.bucket(&bucket)?;
    let conditions = HeaderConditions::of_request(ctx.head)?;
    // Permission to bypass was asked for before, because the header asks for it.
    let request = Request { version, bypass: object_lock::bypasses(ctx), now: ctx.now };
    let decide = |found: Result<&Object, &Absence>| {
        request.decide(found, conditions.is_empty(), |standing| conditions.hold(standing))
    };
    let decides = version.is_some() || !conditions.is_empty();
    let owner = ctx.caller.owner(ctx.service.anonymous);
    let removing = root.removing();
    let deleted = versions::delete(root, &bucket, &key, version, owner, decides.then_some(&decide))??;
    let mut reply = Reply::new(ctx, 204);
    let marks = matches!(deleted, Deleted::Marked { .. } | Deleted::Removed { was_marker: true, .. });
    let (named, done) = match deleted {
        Deleted::Nothing => (version, None),
        Deleted::Removed { version: gone, change, .. } => {
            (version, Some((EventKind::RemovedDelete, gone, change)))
        }
        Deleted::Marked { version, change } => {
            (Some(version), Some((EventKind::RemovedDeleteMarkerCreated, version, change)))
        }
    };
    if let Some((event, version, change)) = done {
        root.commit(&bucket.name, change).await?;
        drop(removing);
        ctx.notify(event, &bucket.name, &key, &Noted::version(version));
    } else {
        drop(removing);
        root.confirm_removed(&bucket.name).await?;
    }
    if marks {
        reply.header("x-amz-delete-marker", b"true");
    }
    if let Some(version) = named {
        reply.header("x-amz-version-id", version.to_string().as_bytes());
    }
    Ok(reply)
}

/// What a deletion is about, beside the key.
#[derive(Clone, Copy)]
struct Request {
    version: Option<Version>,
    bypass: bool,
    now: Timestamp,
}

/// What a condition is judged against: an object, or the time of a delete marker.
enum Standing<'s> {
    Object(&'s Object),
    Marker(Timestamp),
}

impl Request {
    /// Whether anything is to be done.
    fn decide(
        &self,
        found: Result<&Object, &Absence>,
        unconditional: bool,
        hold: impl FnOnce(Standing<'_>) -> Result<(), S3Error>,
    ) -> Result<bool, S3Error> {
        match found {
            Ok(object) => {
                hold(Standing::Object(object))?;
                if self.version.is_some() {
                    object_lock::may_delete(object, self.bypass, self.now)?;
                }
                Ok(true)
            }
            Err(Absence::Marker(marker)) => hold(Standing::Marker(marker.modified)).map(|()| true),
            // A delete marker on nothing is made only if nothing was expected.
            Err(Absence::Nothing) => Ok(unconditional && self.version.is_none()),
        }
    }
}

/// The conditions of DeleteObject.
struct HeaderConditions<'h> {
    tags: WriteConditions<'h>,
    last_modified: Option<Timestamp>,
    size: Option<u64>,
}

impl<'h> HeaderConditions<'h> {
    fn of_request(head: &'h Head) -> Result<Self, S3Error> {
        fn read<T>(
            head: &Head,
            name: &'static str,
            parse: impl FnOnce(&str) -> Result<T, xml::Malformed>,
        ) -> Result<Option<T>, S3Error> {
            let Some(value) = head.header(name) else { return Ok(None) };
            let parsed = std::str::from_utf8(value).ok().and_then(|text| parse(text).ok());
            parsed.map(Some).ok_or_else(|| {
                let value = String::from_utf8_lossy(value);
                S3Error::invalid_argument(name, value, "The value of the condition cannot be read.")
            })
        }
        Ok(Self {
            tags: WriteConditions::of_request(head),
            last_modified: read(head, "x-amz-if-match-last-modified-time", parse_time)?,
            size: read(head, "x-amz-if-match-size", parse_number)?,
        })
    }

    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.last_modified.is_none() && self.size.is_none()
    }

    fn hold(&self, standing: Standing<'_>) -> Result<(), S3Error> {
        match standing {
            Standing::Object(object) => holds(&self.tags, Some(object))?,
            Standing::Marker(last_modified) => {
                if let WriteOutcome::Failed(condition) =
                    self.tags.evaluate(Some(&Validators { etag: b"", last_modified }))
                {
                    return Err(S3Error::precondition_failed(condition));
                }
            }
        }
        let (last_modified, size) = stat_of(&standing);
        check_stat(self.last_modified, self.size, last_modified, size)
    }
}

fn stat_of(standing: &Standing<'_>) -> (Timestamp, u64) {
    match standing {
        Standing::Object(object) => (object.modified, object.size),
        Standing::Marker(modified) => (*modified, 0),
    }
}

/// Times are compared in whole seconds: clients are shown no more.
fn check_stat(
    wanted_time: Option<Timestamp>,
    wanted_size: Option<u64>,
    last_modified: Timestamp,
    size: u64,
) -> Result<(), S3Error> {
    if wanted_time.is_some_and(|wanted| wanted.seconds != last_modified.seconds) {
        return Err(S3Error::precondition_failed("x-amz-if-match-last-modified-time"));
    }
    if wanted_size.is_some_and(|wanted| wanted != size) {
        return Err(S3Error::precondition_failed("x-amz-if-match-size"));
    }
    Ok(())
}

/// `POST /bucket?delete`.
pub async fn delete_objects(ctx: &mut Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    let body = ctx.read_document(limits::XML_BODY_BYTES_MAX).await?;
    let request = xml::Delete::parse(&body).map_err(|_| S3Error::from(Code::MalformedXML))?;
    let bucket = ctx.bucket(&name)?;
    let entries: Vec<Entry> = request.objects.into_iter().map(|object| check(ctx, &name, object)).collect();
    let (owner, now) = (ctx.caller.owner(ctx.service.anonymous), ctx.now);
    let root = &ctx.service.root;
    let removing = root.removing();
    let (entries, change) =
        ctx.offload(move |service| Ok(delete_all(service, &bucket, entries, owner, now))).await?;
    match change {
        // What others have removed before is flushed with it.
        Some(change) => root.commit(&name, change).await?,
        None => {
            drop(removing);
            root.confirm_removed(&name).await?;
        }
    }
    for entry in &entries {
        if let (Some((event, version)), Ok((key, _))) = (entry.event, &entry.result) {
            ctx.notify(event, &name, key, &Noted::version(version));
        }
    }
    let mut document = Vec::with_capacity(64 * entries.len() + 256);
    let outcomes = entries.iter().map(|entry| match &entry.result {
        Ok(_) => DeleteOutcome::Deleted {
            key: entry.key.as_bytes(),
            version_id: entry.version_id.as_deref(),
            marker: entry.marker.as_deref(),
        },
        Err(error) => DeleteOutcome::Failed {
            key: entry.key.as_bytes(),
            version_id: entry.version_id.as_deref(),
            code: error.code().name(),
            message: error.message(),
        },
    });
    write_delete_result(&mut document, request.quiet, outcomes);
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// One key of the request: what is to be done with it, then what was done.
struct Entry {
    key: String,
    version_id: Option<String>,
    conditions: EntryConditions,
    bypass: bool,
    result: Result<(ObjectKey, Option<Version>), S3Error>,
    /// The delete marker that was made or removed.
    marker: Option<String>,
    /// What was done, and to which version, for those who want to be told.
    event: Option<(EventKind, Version)>,
}

/// What the object has to be for its entry to delete it.
struct EntryConditions {
    etag: Option<String>,
    last_modified: Option<Timestamp>,
    size: Option<u64>,
}

impl EntryConditions {
    fn are_none(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none() && self.size.is_none()
    }

    fn hold(&self, standing: Standing<'_>) -> Result<(), S3Error> {
        if let Some(etag) = self.etag.as_deref().map(|etag| etag.trim_matches('"'))
            && etag != "*"
        {
            let mut found = Vec::new();
            if let Standing::Object(object) = standing {
                object.etag.write_into(&mut found);
            }
            if found.is_empty() || etag.as_bytes() != found {
                return Err(S3Error::precondition_failed("If-Match"));
            }
        }
        let (last_modified, size) = stat_of(&standing);
        check_stat(self.last_modified, self.size, last_modified, size)
    }
}

/// Each key needs its own permission.
fn check(ctx: &Ctx<'_>, bucket: &BucketName, object: xml::DeleteObject) -> Entry {
    let xml::DeleteObject { key, version_id, etag, last_modified, size } = object;
    let conditions = EntryConditions { etag, last_modified, size };
    let action = if version_id.is_some() { Action::DeleteObjectVersion } else { Action::DeleteObject };
    let parsed = ObjectKey::parse(key.as_bytes());
    // What is decided for a version is decided as if it were deleted alone: policies may name it.
    let operation = match (&parsed, version_id.as_deref().and_then(VersionId::new)) {
        (Ok(key), Some(id)) => {
            let (key, version_id) = (key.clone(), Some(id));
            Operation::DeleteObject(DeleteObject { bucket: *bucket, key, version_id })
        }
        _ => Operation::DeleteObjects(*bucket),
    };
    let may = |action| ctx.caller.may_also(action, bucket.as_str(), key.as_bytes(), &operation);
    let bypass = object_lock::bypasses(ctx) && may(Action::BypassGovernanceRetention);
    let result = match parsed {
        Err(ObjectKeyError::TooLong { .. }) => Err(Code::KeyTooLongError.into()),
        Err(error) => Err(Code::InvalidArgument.because(error.to_string())),
        Ok(_) if !may(action) => Err(Code::AccessDenied.into()),
        Ok(key) => match version_id.as_deref().map(versioning::parse).transpose() {
            Ok(version) => Ok((key, version)),
            // An id that no version can have names no version either, and never the current one.
            Err(_) => Err(Code::NoSuchVersion.into()),
        },
    };
    Entry { key, version_id, conditions, bypass, result, marker: None, event: None }
}

fn delete_all(
    service: &Service,
    bucket: &Bucket,
    mut entries: Vec<Entry>,
    owner: PosixOwner,
    now: Timestamp,
) -> (Vec<Entry>, Option<Change>) {
    // What was deleted last is flushed last, and everything before it with it.
    let mut last = None;
    let mut emptied = Emptied::new(bucket);
    for entry in &mut entries {
        let Ok((key, version)) = &entry.result else { continue };
        let request = Request { version: *version, bypass: entry.bypass, now };
        let conditions = &entry.conditions;
        let decide = |found: Result<&Object, &Absence>| {
            request.decide(found, conditions.are_none(), |standing| conditions.hold(standing))
        };
        let decides = version.is_some() || !conditions.are_none();
        let root = &service.root;
        let deleted = versions::delete_one_of_many(
            root,
            bucket,
            key,
            *version,
            owner,
            decides.then_some(&decide),
            &mut emptied,
        );
        let change = match deleted.map_err(S3Error::from).flatten() {
            Ok(Deleted::Nothing) => None,
            Ok(Deleted::Removed { version, was_marker, change }) => {
                entry.marker = was_marker.then(|| version.to_string());
                entry.event = Some((EventKind::RemovedDelete, version));
                Some(change)
            }
            Ok(Deleted::Marked { version, change }) => {
                entry.marker = Some(version.to_string());
                entry.event = Some((EventKind::RemovedDeleteMarkerCreated, version));
                Some(change)
            }
            Err(error) => {
                entry.result = Err(error);
                None
            }
        };
        last = change.or(last);
    }
    drop(emptied);
    let change = last.map(|change| Change { wide: true, ..change });
    (entries, change)
}
