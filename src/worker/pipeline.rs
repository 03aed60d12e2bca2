//! One request, in one place: from its head to its answer.
//!
//! 1. [`route`]: what is asked.
//! 2. [`verify`]: who asks (a call of STS is read whole before, because its signature covers its body); one look-up gives the secret, the user, its UID and GID, and its compiled policies.
//! 3. [`authorize`]: whether they may.
//! 4. `dispatch`: the operation's handler, which decides preconditions before it asks for the body.
//!
//! An error at any step is an answer. A panic ends the connection and is counted.

use std::panic::AssertUnwindSafe;

use bytes::BytesMut;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};

use super::Core;
use crate::codec::dates::Timestamp;
use crate::counters;
use crate::http::head::{Head, Method};
use crate::limits;
use crate::runtime::{Stream, Watch, now};
use crate::s3::access::{Arrival, Peer, Permit, authorize, verify};
use crate::s3::context::{Ctx, RequestId};
use crate::s3::error::{Code, S3Error, Subject};
use crate::s3::operation::{Operation, route};
use crate::s3::payload::{Payload, Rest};
use crate::s3::reply::Reply;
use crate::s3::{
    acl, bucket, bucket_policy, bucket_tagging, copy_object, delete_objects, get_object,
    list_multipart_uploads, list_objects, multipart, object_tagging, ownership, public_access_block,
    put_object, sts, upload_part_copy,
};

/// Answers one request. The rest of its body, if the request was refused before it was read, is the caller's to skip.
pub async fn answer(
    core: &Core,
    head: &Head,
    peer: Peer,
    stream: &mut Stream,
    watch: &Watch,
    ahead: &mut BytesMut,
) -> (Reply, Rest) {
    let now = now();
    let request_id = core.request_id();
    let mut payload = Some(Payload::new(head, stream, watch, ahead, core.shared.service.stall));
    let operation = route(head, &core.shared.service.domains);
    let result = match &operation {
        Ok(operation) => {
            let run = carry_out(core, head, peer, now, request_id, operation, &mut payload);
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(result) => result,
                Err(_) => {
                    counters::panicked();
                    Err(Code::InternalError.into())
                }
            }
        }
        Err(error) => Err(error.clone()),
    };
    let operation = operation.ok();
    let reply = result.unwrap_or_else(|error| {
        if operation == Some(Operation::Sts) {
            return sts::refuse(&error, now, request_id);
        }
        let subject = Subject {
            path: head.path(),
            bucket: operation.as_ref().and_then(|operation| operation.bucket()).map(|bucket| bucket.as_str()),
            key: operation.as_ref().and_then(|operation| operation.key()).map(|key| key.as_bytes()),
        };
        Reply::error(&error, &subject, head.method() == Method::Head, now, request_id)
    });
    tracing::debug!(
        request_id = request_id.as_str(),
        operation = operation.as_ref().map_or("unknown", Operation::name),
        status = reply.status(),
        "answered"
    );
    counters::answered(reply.status());
    let rest = match payload {
        Some(payload) => payload.abandon(),
        None => Rest::unknown(),
    };
    (reply, rest)
}

async fn carry_out<'c>(
    core: &'c Core,
    head: &'c Head,
    peer: Peer,
    now: Timestamp,
    request_id: RequestId,
    operation: &Operation,
    payload: &mut Option<Payload<'c>>,
) -> Result<Reply, S3Error> {
    let service = &core.shared.service;
    let form = match (operation, payload.as_mut()) {
        (Operation::Sts, Some(body)) => Some(body.read_all(limits::FORM_BODY_BYTES_MAX).await?),
        _ => None,
    };
    let body_sha256 = form.as_ref().map(|form| Sha256::digest(form).into());
    let snapshot = core.shared.identities.load_full();
    let arrival = Arrival { head, body_sha256, peer, now, service };
    let verified = verify(arrival, operation, snapshot, &mut core.keyring.borrow_mut())?;
    let permit = authorize(&verified.caller, operation)?;
    let Some(mut body) = payload.take() else { return Err(Code::InternalError.into()) };
    let unwrapped = body.unwrap_chunks(head, &verified.payload, verified.seed);
    let mut ctx = Ctx {
        service,
        head,
        payload: body,
        form,
        payload_kind: verified.payload,
        caller: verified.caller,
        now,
        request_id,
    };
    let result = match unwrapped {
        Ok(()) => dispatch(&mut ctx, operation.clone(), permit).await,
        Err(error) => Err(error),
    };
    *payload = Some(ctx.payload);
    result
}

/// The server's whole surface: one line for each operation.
async fn dispatch(ctx: &mut Ctx<'_>, operation: Operation, permit: Permit) -> Result<Reply, S3Error> {
    match operation {
        Operation::ListBuckets(op) => bucket::list_buckets(ctx, permit.of(op)).await,
        Operation::CreateBucket(op) => bucket::create_bucket(ctx, permit.of(op)).await,
        Operation::HeadBucket(op) => bucket::head_bucket(ctx, permit.of(op)).await,
        Operation::DeleteBucket(op) => bucket::delete_bucket(ctx, permit.of(op)).await,
        Operation::GetBucketLocation(op) => bucket::get_bucket_location(ctx, permit.of(op)).await,
        Operation::GetBucketVersioning(op) => bucket::get_bucket_versioning(ctx, permit.of(op)).await,
        Operation::GetBucketAcl(op) => acl::get_bucket_acl(ctx, permit.of(op)).await,
        Operation::PutBucketAcl(op) => acl::put_bucket_acl(ctx, permit.of(op)).await,
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
        Operation::ListObjects(op) => list_objects::list_objects(ctx, permit.of(op)).await,
        Operation::ListObjectsV2(op) => list_objects::list_objects_v2(ctx, permit.of(op)).await,
        Operation::ListObjectVersions(op) => list_objects::list_object_versions(ctx, permit.of(op)).await,
        Operation::PutObject(op) => put_object::put_object(ctx, permit.of(op)).await,
        Operation::GetObject(op) => get_object::get_object(ctx, permit.of(op)).await,
        Operation::HeadObject(op) => get_object::head_object(ctx, permit.of(op)).await,
        Operation::GetObjectAcl(op) => acl::get_object_acl(ctx, permit.of(op)).await,
        Operation::PutObjectAcl(op) => acl::put_object_acl(ctx, permit.of(op)).await,
        Operation::GetObjectTagging(op) => object_tagging::get_object_tagging(ctx, permit.of(op)).await,
        Operation::PutObjectTagging(op) => object_tagging::put_object_tagging(ctx, permit.of(op)).await,
        Operation::DeleteObjectTagging(op) => object_tagging::delete_object_tagging(ctx, permit.of(op)).await,
        Operation::DeleteObject(op) => delete_objects::delete_object(ctx, permit.of(op)).await,
        Operation::DeleteObjects(op) => delete_objects::delete_objects(ctx, permit.of(op)).await,
        Operation::CopyObject(op) => copy_object::copy_object(ctx, permit.of(op)).await,
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
        other => {
            Err(Code::NotImplemented.because(format!("{} is not implemented by this server.", other.name())))
        }
    }
}
