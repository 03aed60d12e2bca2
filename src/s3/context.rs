//! What a handler has at hand: the server's parts that all cores share, and one request.

use std::sync::Arc;
use std::time::Duration;

use super::access::Caller;
use super::error::{Code, S3Error};
use super::payload::Payload;
use crate::codec::dates::Timestamp;
use crate::http::head::Head;
use crate::iam::{Policy, PosixOwner};
use crate::runtime::Offload;
use crate::sigv4;
use crate::storage::{Bucket, BucketName, Root};

/// What all requests on all cores share.
pub struct Service {
    /// The data directory.
    pub root: Root,
    /// Threads for what may wait on the disk.
    pub offload: Offload,
    /// The region this server says it is in.
    pub region: String,
    /// Domains under which `bucket.domain` names a bucket.
    pub domains: Vec<String>,
    /// Whom files belong to that anonymous requests make.
    pub anonymous: PosixOwner,
    /// Publishes the policy of a bucket, or that it has none, to all cores.
    pub publish_policy: PublishPolicy,
    /// How long a peer may keep silent in the middle of a body or an answer.
    pub stall: Duration,
}

/// How a bucket policy gets into the identities that every core reads. It returns when they all do.
pub type PublishPolicy = Box<dyn Fn(&BucketName, Option<Arc<Policy>>) + Send + Sync>;

/// One request, for its handler.
pub struct Ctx<'c> {
    /// What all requests share.
    pub service: &'c Arc<Service>,
    /// The request's head.
    pub head: &'c Head,
    /// The request's body.
    pub payload: Payload<'c>,
    /// The body of a call of STS, which is read before its signature can be verified.
    pub form: Option<Vec<u8>>,
    /// How the body is protected.
    pub payload_kind: sigv4::Payload,
    /// Who asks.
    pub caller: Caller<'c>,
    /// When the request was taken up.
    pub now: Timestamp,
    /// The request's id, in its answer and in logs.
    pub request_id: RequestId,
}

/// An id that no other request of this server has: 16 upper-case hexadecimal digits.
#[derive(Clone, Copy)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// The id of a number.
    pub fn new(number: u64) -> RequestId {
        let mut digits = [0; 16];
        for (index, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789ABCDEF"[(number >> (60 - 4 * index)) as usize & 15];
        }
        RequestId(digits)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Ctx<'_> {
    /// Opens a bucket that has to exist.
    pub fn bucket(&self, name: &BucketName) -> Result<Bucket, S3Error> {
        open_bucket(&self.service.root, name)
    }

    /// Runs a job that may wait on the disk on an offload thread.
    pub async fn offload<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Service) -> Result<T, S3Error> + Send + 'static,
    ) -> Result<T, S3Error> {
        let service = self.service.clone();
        self.service.offload.run(move || job(&service)).await?
    }
}

/// Opens a bucket that has to exist.
pub fn open_bucket(root: &Root, name: &BucketName) -> Result<Bucket, S3Error> {
    root.bucket(name)?.ok_or_else(|| Code::NoSuchBucket.with("BucketName", name.as_str()))
}
