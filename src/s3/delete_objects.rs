//! DeleteObject and DeleteObjects.
//!
//! Spec: DeleteObject and DeleteObjects in the Amazon S3 API reference.

use super::access::Authorized;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::get_object::require_null_version;
use super::notification::{EventKind, Noted};
use super::operation::{DeleteObject, Operation, VersionId};
use super::put_object::holds;
use super::reply::Reply;
use super::xml;
use super::xml::{DeleteOutcome, write_delete_result};
use crate::codec::dates::Timestamp;
use crate::http::conditional::WriteConditions;
use crate::iam::Action;
use crate::limits;
use crate::storage::layout::{BucketName, ObjectKey, ObjectKeyError};
use crate::storage::object::{self, Condition, Object};
use crate::storage::{Bucket, Change};

/// `DELETE /bucket/key`.
pub async fn delete_object(ctx: &Ctx<'_>, operation: Authorized<DeleteObject>) -> Result<Reply, S3Error> {
    let DeleteObject { bucket, key, version_id } = operation.into_inner();
    require_null_version(version_id.as_ref())?;
    let root = &ctx.service.root;
    let bucket = ctx.bucket(&bucket)?;
    let conditions = WriteConditions::of_request(ctx.head);
    let decide = |current: Option<&Object>| holds(&conditions, current);
    let condition = if conditions.is_empty() { Condition::Always } else { Condition::Decide(&decide) };
    if let Some(change) = object::delete(root, &bucket, &key, &condition)?? {
        root.committer.commit(change).await?;
        ctx.notify(EventKind::RemovedDelete, &bucket.name, &key, &Noted::default());
    }
    let mut reply = Reply::new(ctx, 204);
    if version_id.is_some() {
        reply.header("x-amz-version-id", b"null");
    }
    Ok(reply)
}

/// `POST /bucket?delete`.
pub async fn delete_objects(ctx: &mut Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    let body = ctx.read_document(limits::XML_BODY_BYTES_MAX).await?;
    let request = xml::Delete::parse(&body).map_err(|_| S3Error::from(Code::MalformedXML))?;
    let bucket = ctx.bucket(&name)?;
    let entries: Vec<Entry> = request.objects.into_iter().map(|object| check(ctx, &name, object)).collect();
    let (entries, change) = ctx.offload(move |service| Ok(delete_all(service, &bucket, entries))).await?;
    if let Some(change) = change {
        ctx.service.root.committer.commit(change).await?;
    }
    for key in entries.iter().filter(|entry| entry.is_gone).filter_map(|entry| entry.result.as_ref().ok()) {
        ctx.notify(EventKind::RemovedDelete, &name, key, &Noted::default());
    }
    let mut document = Vec::with_capacity(64 * entries.len() + 256);
    let outcomes = entries.iter().map(|entry| match &entry.result {
        Ok(_) => {
            DeleteOutcome::Deleted { key: entry.key.as_bytes(), version_id: entry.version_id.as_deref() }
        }
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
    conditions: Conditions,
    result: Result<ObjectKey, S3Error>,
    /// Whether there was an object, which is deleted.
    is_gone: bool,
}

/// What the object has to be for its entry to delete it.
struct Conditions {
    etag: Option<String>,
    last_modified: Option<Timestamp>,
    size: Option<u64>,
}

impl Conditions {
    fn are_none(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none() && self.size.is_none()
    }

    /// An object that is gone already satisfies every condition: there is nothing to keep.
    fn hold(&self, current: Option<&Object>) -> Result<(), S3Error> {
        let Some(object) = current else { return Ok(()) };
        let mut standing = Vec::new();
        object.etag.write_into(&mut standing);
        let same_etag = self.etag.as_deref().is_none_or(|etag| {
            let etag = etag.trim_matches('"');
            etag == "*" || etag.as_bytes() == standing
        });
        let same_time = self.last_modified.is_none_or(|time| time.seconds == object.modified.seconds);
        let same_size = self.size.is_none_or(|size| size == object.size);
        if same_etag && same_time && same_size {
            Ok(())
        } else {
            Err(S3Error::precondition_failed("If-Match"))
        }
    }
}

/// Each key needs its own permission.
fn check(ctx: &Ctx<'_>, bucket: &BucketName, object: xml::DeleteObject) -> Entry {
    let xml::DeleteObject { key, version_id, etag, last_modified, size } = object;
    let conditions = Conditions { etag, last_modified, size };
    let action = if version_id.is_some() { Action::DeleteObjectVersion } else { Action::DeleteObject };
    let operation = Operation::DeleteObjects(*bucket);
    let result = match ObjectKey::parse(key.as_bytes()) {
        Err(ObjectKeyError::TooLong { .. }) => Err(Code::KeyTooLongError.into()),
        Err(error) => Err(Code::InvalidArgument.because(error.to_string())),
        Ok(_) if !ctx.caller.may_also(action, bucket.as_str(), key.as_bytes(), &operation) => {
            Err(Code::AccessDenied.into())
        }
        Ok(key) => match version_id.as_deref().map(VersionId::new) {
            // An id that no version can have names no version either, and never the current one.
            Some(None) => Err(Code::NoSuchVersion.into()),
            named => require_null_version(named.flatten().as_ref()).map(|()| key),
        },
    };
    Entry { key, version_id, conditions, result, is_gone: false }
}

fn delete_all(service: &Service, bucket: &Bucket, mut entries: Vec<Entry>) -> (Vec<Entry>, Option<Change>) {
    // What was deleted last is flushed last, and everything before it with it.
    let mut last = None;
    for entry in &mut entries {
        let Ok(key) = &entry.result else { continue };
        let decide = |current: Option<&Object>| entry.conditions.hold(current);
        let condition =
            if entry.conditions.are_none() { Condition::Always } else { Condition::Decide(&decide) };
        let deleted = object::delete(&service.root, bucket, key, &condition);
        match deleted.map_err(S3Error::from).flatten() {
            Ok(change) => {
                entry.is_gone = change.is_some();
                last = change.or(last);
            }
            Err(error) => entry.result = Err(error),
        }
    }
    let change = last.map(|change| Change { wide: true, ..change });
    (entries, change)
}
