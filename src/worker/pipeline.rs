//! One request, in one place: from its head to its answer.
//!
//! 1. [`route`]: what is asked.
//! 2. [`verify`]: who asks (a call of STS or IAM is read whole before, because its signature covers its body); one look-up
//!    gives the secret, the user, its UID and GID, and its compiled policies.
//! 3. [`authorize`]: whether they may. A form says who asks and for what in its body: its fields are read
//!    ([`post_object::read`]) and verified first.
//! 4. [`user_of`]: as whom files are touched. `dispatch`: the operation's handler, which decides preconditions before it
//!    asks for the body.
//!
//! A request for what this core read a moment ago takes the same steps without waiting for anything
//! ([`answer_at_once`]).
//!
//! An error at any step is an answer. A panic ends the connection and is counted.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use bytes::BytesMut;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};

use super::Core;
use crate::counters;
use crate::http::head::{Framing, Head, Method};
use crate::limits;
use crate::runtime::{Stream, Watch, now, turn};
use crate::s3::access::{Arrival, Peer, Permit, authorize, verify};
use crate::s3::context::{Ctx, RequestId, Service};
use crate::s3::error::{Code, S3Error, Subject};
use crate::s3::journal::Note;
use crate::s3::operation::{Operation, route};
use crate::s3::payload::{Payload, Rest};
use crate::s3::posix::{carried_out_by, user_of};
use crate::s3::post_object::Form;
use crate::s3::reply::Reply;
use crate::s3::{
    acl, bucket, bucket_policy, bucket_tagging, copy_object, cors, delete_objects, get_object,
    get_object_attributes, iam, lifecycle, list_multipart_uploads, list_objects, multipart, notification,
    object_lock, object_tagging, ownership, post_object, public_access_block, put_object, query_answer,
    rename_object, sts, upload_part_copy, versioning,
};
use crate::sigv4;

/// The name of a request that is none of the known operations.
pub const UNKNOWN: &str = "unknown";

/// Answers one request. The rest of its body, if the request was refused before it was read, is the caller's to skip.
/// The name is that of its operation.
pub async fn answer(
    core: &Core,
    head: &Head,
    peer: Peer,
    stream: &mut Stream,
    watch: &Watch,
    ahead: &mut BytesMut,
    mut note: Option<&mut Note>,
) -> (Reply, Rest, &'static str) {
    let now = now();
    let request_id = core.request_id();
    // Declared before the payload, because what is in it is borrowed together with the payload.
    let posted = OnceCell::new();
    let mut payload = Some(Payload::new(head, stream, watch, ahead, core.shared.limits.stall()));
    let routed = route(head, &core.shared.service.domains);
    let name = routed.as_ref().map_or(UNKNOWN, Operation::name);
    if let Some(note) = &mut note {
        note.asked(request_id, now, routed.as_ref().ok());
    }
    let bucket = routed.as_ref().ok().and_then(Operation::bucket).copied();
    let result = match routed {
        Ok(operation) => {
            let arrival = Arrival { head, body_sha256: None, peer, now, service: &core.shared.service };
            // Pinned where it is made: it is some kilobytes, which nothing has to move.
            let run = pin!(carry_out(core, arrival, request_id, operation, &posted, &mut payload, note));
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(result) => result,
                Err(_) => {
                    counters::panicked();
                    Err(Code::InternalError.into())
                }
            }
        }
        Err(error) => Err(error),
    };
    let held = result.and_then(|mut reply| reply.hold().map(|()| reply));
    let mut reply = held.unwrap_or_else(|error| {
        // The operation has gone to its handler. Errors are rare: it is found out again.
        let operation = route(head, &core.shared.service.domains).ok();
        if let Some(operation @ (Operation::Sts | Operation::Iam)) = &operation {
            let api = if *operation == Operation::Sts { query_answer::STS } else { query_answer::IAM };
            return query_answer::refuse(api, &error, now, request_id);
        }
        let subject = Subject {
            path: head.path(),
            bucket: operation.as_ref().and_then(|operation| operation.bucket()).map(|bucket| bucket.as_str()),
            key: operation.as_ref().and_then(|operation| operation.key()).map(|key| key.as_bytes()),
        };
        Reply::error(&error, &subject, head.method() == Method::Head, now, request_id)
    });
    if head.header("origin").is_some() {
        cors::tell(&core.shared.service, head, bucket.as_ref(), &mut reply);
    }
    tracing::debug!(request_id = request_id.as_str(), operation = name, status = reply.status(), "answered");
    let rest = match payload {
        Some(payload) => payload.abandon(),
        None => Rest::unknown(),
    };
    (reply, rest, name)
}

/// Answers a request for an object that this core read a moment ago, which takes no waiting: the hot path. The steps are
/// those of [`answer`], which everything else is left to, refusals as well (`None`).
pub fn answer_at_once(
    core: &Core,
    head: &Head,
    peer: Peer,
    stream: &mut Stream,
    watch: &Watch,
    ahead: &mut BytesMut,
    note: Option<&mut Note>,
) -> Option<(Reply, Rest, &'static str)> {
    if core.objects.is_empty() || !is_plain_read(head) {
        return None;
    }
    let attempt = AssertUnwindSafe(|| try_at_once(core, head, peer, stream, watch, ahead, note));
    catch_unwind(attempt).unwrap_or_else(|_| {
        counters::panicked();
        None
    })
}

/// Whether a request may be a read, and has no body.
fn is_plain_read(head: &Head) -> bool {
    matches!(head.method(), Method::Get | Method::Head)
        && matches!(head.framing(), Framing::None | Framing::Length(0))
}

fn try_at_once(
    core: &Core,
    head: &Head,
    peer: Peer,
    stream: &mut Stream,
    watch: &Watch,
    ahead: &mut BytesMut,
    note: Option<&mut Note>,
) -> Option<(Reply, Rest, &'static str)> {
    let service = &core.shared.service;
    let operation = route(head, &service.domains).ok()?;
    let place = get_object::expect_cached(service, &core.objects, head, &operation)?;
    let now = turn::moment().time;
    let arrival = Arrival { head, body_sha256: None, peer, now, service };
    let snapshot = core.shared.identities.load_full();
    let verified = verify(arrival, &operation, snapshot, &mut core.keyring.borrow_mut()).ok()?;
    core.objects.foresee(place);
    let permit = authorize(&verified.caller, &operation).ok()?;
    let name = operation.name();
    let request_id = core.request_id();
    let ctx = Ctx {
        service,
        objects: &core.objects,
        directories: &core.directories,
        head,
        payload: Payload::new(head, stream, watch, ahead, core.shared.limits.stall()),
        form: None,
        posted: None,
        payload_kind: verified.payload,
        caller: verified.caller,
        now,
        request_id,
    };
    let noted = note.map(|note| (note, operation.clone()));
    let reply = get_object::answer_cached(&ctx, permit.of(operation), place)?;
    if let Some((note, operation)) = noted {
        note.asked(request_id, now, Some(&operation));
        note.sent_by(&ctx.caller, None);
    }
    tracing::debug!(request_id = request_id.as_str(), operation = name, status = reply.status(), "answered");
    Some((reply, ctx.payload.abandon(), name))
}

async fn carry_out<'c>(
    core: &'c Core,
    arrival: Arrival<'c>,
    request_id: RequestId,
    operation: Operation,
    posted: &'c OnceCell<Box<Form>>,
    payload: &mut Option<Payload<'c>>,
    note: Option<&mut Note>,
) -> Result<Reply, S3Error> {
    let service = &core.shared.service;
    let Arrival { head, now, .. } = arrival;
    if let Operation::Preflight(preflight) = &operation {
        // Without a signature: browsers send none, and the URL may be presigned for another method.
        return cors::preflight(service, head, preflight, now, request_id);
    }
    let form = match (&operation, payload.as_mut()) {
        (Operation::Sts | Operation::Iam, Some(body)) => {
            body.begin_unverified()?;
            Some(body.read_all(limits::FORM_BODY_BYTES_MAX).await?)
        }
        _ => None,
    };
    let body_sha256 = form.as_ref().map(|form| Sha256::digest(form).into());
    let snapshot = core.shared.identities.load_full();
    let arrival = Arrival { body_sha256, ..arrival };
    let mut verified = verify(arrival, &operation, snapshot, &mut core.keyring.borrow_mut())?;
    if let (Operation::PostObject(bucket), Some(body)) = (&operation, payload.as_mut()) {
        body.begin_unverified()?;
        // The fields of a form say who asks and for what; what follows them is the body of that.
        let form = Box::new(post_object::read(head, bucket, body).await?);
        let form = posted.get_or_init(|| form);
        let keyring = &mut core.keyring.borrow_mut();
        verified.caller = post_object::verify(form, verified.caller, &service.region, now, keyring, body)?;
        verified.payload = sigv4::Payload::Unsigned;
    }
    let posted = posted.get().map(|form| &**form);
    if let Some(note) = note {
        note.sent_by(&verified.caller, posted.map(|form| &form.operation));
    }
    let head = posted.map_or(head, |form| &form.head);
    let permit = authorize(&verified.caller, posted.map_or(&operation, |form| &form.operation))?;
    let Some(mut body) = payload.take() else { return Err(Code::InternalError.into()) };
    body.verified();
    let unwrapped = body.unwrap_chunks(head, &verified.payload, verified.seed);
    let mut ctx = Ctx {
        service,
        objects: &core.objects,
        directories: &core.directories,
        head,
        payload: body,
        form,
        posted,
        payload_kind: verified.payload,
        caller: verified.caller,
        now,
        request_id,
    };
    let ready = match unwrapped {
        Ok(()) => pay(service, head, &operation).await,
        Err(error) => Err(error),
    };
    let result = match ready {
        Ok(()) => match user_of(service, &ctx.caller, &operation).await {
            // Pinned here, so that it is not moved twice more.
            Ok(user) => carried_out_by(user, pin!(dispatch(&mut ctx, operation, permit))).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    *payload = Some(ctx.payload);
    result
}

/// A change makes sure first that what its bucket owes is durable: it may find that done which somebody was told had failed.
async fn pay(service: &Service, head: &Head, operation: &Operation) -> Result<(), S3Error> {
    match operation.bucket() {
        Some(bucket) if !matches!(head.method(), Method::Get | Method::Head) => {
            Ok(service.root.pay(bucket).await?)
        }
        _ => Ok(()),
    }
}

/// The server's whole surface: one line for each operation.
async fn dispatch(ctx: &mut Ctx<'_>, operation: Operation, permit: Permit) -> Result<Reply, S3Error> {
    match operation {
        Operation::ListBuckets(op) => bucket::list_buckets(ctx, permit.of(op)).await,
        Operation::CreateBucket(op) => bucket::create_bucket(ctx, permit.of(op)).await,
        Operation::HeadBucket(op) => bucket::head_bucket(ctx, permit.of(op)).await,
        Operation::DeleteBucket(op) => bucket::delete_bucket(ctx, permit.of(op)).await,
        Operation::GetBucketLocation(op) => bucket::get_bucket_location(ctx, permit.of(op)).await,
        Operation::GetBucketVersioning(op) => versioning::get_bucket_versioning(ctx, permit.of(op)).await,
        Operation::PutBucketVersioning(op) => versioning::put_bucket_versioning(ctx, permit.of(op)).await,
        Operation::GetBucketAcl(op) => acl::get_bucket_acl(ctx, permit.of(op)).await,
        Operation::PutBucketAcl(op) => acl::put_bucket_acl(ctx, permit.of(op)).await,
        Operation::GetBucketCors(op) => cors::get_bucket_cors(ctx, permit.of(op)).await,
        Operation::PutBucketCors(op) => cors::put_bucket_cors(ctx, permit.of(op)).await,
        Operation::DeleteBucketCors(op) => cors::delete_bucket_cors(ctx, permit.of(op)).await,
        Operation::GetBucketOwnershipControls(op) => {
            ownership::get_bucket_ownership_controls(ctx, permit.of(op)).await
        }
        Operation::PutBucketOwnershipControls(op) => {
            ownership::put_bucket_ownership_controls(ctx, permit.of(op)).await
        }
        Operation::DeleteBucketOwnershipControls(op) => {
            ownership::delete_bucket_ownership_controls(ctx, permit.of(op)).await
        }
        Operation::GetPublicAccessBlock(op) => {
            public_access_block::get_public_access_block(ctx, permit.of(op)).await
        }
        Operation::PutPublicAccessBlock(op) => {
            public_access_block::put_public_access_block(ctx, permit.of(op)).await
        }
        Operation::DeletePublicAccessBlock(op) => {
            public_access_block::delete_public_access_block(ctx, permit.of(op)).await
        }
        Operation::GetBucketTagging(op) => bucket_tagging::get_bucket_tagging(ctx, permit.of(op)).await,
        Operation::PutBucketTagging(op) => bucket_tagging::put_bucket_tagging(ctx, permit.of(op)).await,
        Operation::DeleteBucketTagging(op) => bucket_tagging::delete_bucket_tagging(ctx, permit.of(op)).await,
        Operation::GetBucketPolicy(op) => bucket_policy::get_bucket_policy(ctx, permit.of(op)).await,
        Operation::PutBucketPolicy(op) => bucket_policy::put_bucket_policy(ctx, permit.of(op)).await,
        Operation::DeleteBucketPolicy(op) => bucket_policy::delete_bucket_policy(ctx, permit.of(op)).await,
        Operation::GetBucketPolicyStatus(op) => {
            bucket_policy::get_bucket_policy_status(ctx, permit.of(op)).await
        }
        Operation::GetBucketLifecycleConfiguration(op) => {
            lifecycle::get_bucket_lifecycle(ctx, permit.of(op)).await
        }
        Operation::PutBucketLifecycleConfiguration(op) => {
            lifecycle::put_bucket_lifecycle(ctx, permit.of(op)).await
        }
        Operation::DeleteBucketLifecycle(op) => lifecycle::delete_bucket_lifecycle(ctx, permit.of(op)).await,
        Operation::GetBucketNotificationConfiguration(op) => {
            notification::get_bucket_notification(ctx, permit.of(op)).await
        }
        Operation::PutBucketNotificationConfiguration(op) => {
            notification::put_bucket_notification(ctx, permit.of(op)).await
        }
        Operation::GetObjectLockConfiguration(op) => {
            object_lock::get_object_lock_configuration(ctx, permit.of(op)).await
        }
        Operation::PutObjectLockConfiguration(op) => {
            object_lock::put_object_lock_configuration(ctx, permit.of(op)).await
        }
        Operation::ListObjects(op) => list_objects::list_objects(ctx, permit.of(op)).await,
        Operation::ListObjectsV2(op) => list_objects::list_objects_v2(ctx, permit.of(op)).await,
        Operation::ListObjectVersions(op) => list_objects::list_object_versions(ctx, permit.of(op)).await,
        Operation::PutObject(op) => put_object::put_object(ctx, permit.of(op)).await,
        Operation::GetObject(op) => get_object::get_object(ctx, permit.of(op)).await,
        Operation::HeadObject(op) => get_object::head_object(ctx, permit.of(op)).await,
        Operation::GetObjectAttributes(op) => {
            get_object_attributes::get_object_attributes(ctx, permit.of(op)).await
        }
        Operation::GetObjectAcl(op) => acl::get_object_acl(ctx, permit.of(op)).await,
        Operation::PutObjectAcl(op) => acl::put_object_acl(ctx, permit.of(op)).await,
        Operation::GetObjectTagging(op) => object_tagging::get_object_tagging(ctx, permit.of(op)).await,
        Operation::PutObjectTagging(op) => object_tagging::put_object_tagging(ctx, permit.of(op)).await,
        Operation::DeleteObjectTagging(op) => object_tagging::delete_object_tagging(ctx, permit.of(op)).await,
        Operation::GetObjectRetention(op) => object_lock::get_object_retention(ctx, permit.of(op)).await,
        Operation::PutObjectRetention(op) => object_lock::put_object_retention(ctx, permit.of(op)).await,
        Operation::GetObjectLegalHold(op) => object_lock::get_object_legal_hold(ctx, permit.of(op)).await,
        Operation::PutObjectLegalHold(op) => object_lock::put_object_legal_hold(ctx, permit.of(op)).await,
        Operation::PostObject(op) => post_object::post_object(ctx, permit.of(op)).await,
        Operation::DeleteObject(op) => delete_objects::delete_object(ctx, permit.of(op)).await,
        Operation::DeleteObjects(op) => delete_objects::delete_objects(ctx, permit.of(op)).await,
        Operation::CopyObject(op) => copy_object::copy_object(ctx, permit.of(op)).await,
        Operation::RenameObject(op) => rename_object::rename_object(ctx, permit.of(op)).await,
        Operation::CreateMultipartUpload(op) => multipart::create_multipart_upload(ctx, permit.of(op)).await,
        Operation::UploadPart(op) => multipart::upload_part(ctx, permit.of(op)).await,
        Operation::UploadPartCopy(op) => upload_part_copy::upload_part_copy(ctx, permit.of(op)).await,
        Operation::CompleteMultipartUpload(op) => {
            multipart::complete_multipart_upload(ctx, permit.of(op)).await
        }
        Operation::AbortMultipartUpload(op) => multipart::abort_multipart_upload(ctx, permit.of(op)).await,
        Operation::ListParts(op) => multipart::list_parts(ctx, permit.of(op)).await,
        Operation::ListMultipartUploads(op) => {
            list_multipart_uploads::list_multipart_uploads(ctx, permit.of(op)).await
        }
        Operation::Sts => sts::answer(ctx, permit.of(())),
        Operation::Iam => iam::answer(ctx, permit.of(())).await,
        other => {
            Err(Code::NotImplemented.because(format!("{} is not implemented by this server.", other.name())))
        }
    }
}
