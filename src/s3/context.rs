//! What a handler has at hand: the server's parts that all cores share, and one request.

use std::ops::Deref;
use std::sync::Arc;

use super::access::Caller;
use super::error::{Code, S3Error};
use super::integrity::Integrity;
use super::notification::Webhooks;
use super::ownership::ObjectOwnership;
use super::payload::Payload;
use super::posix::PosixUsers;
use super::post_object::Form;
use super::rename_object::Renames;
use super::settings::Settings;
use crate::codec::dates::Timestamp;
use crate::codec::percent;
use crate::digest::BodyDigests;
use crate::http::head::Head;
use crate::iam::{Policy, PosixOwner};
use crate::iam_api::{Answer, By, Change};
use crate::query_api::Refusal;
use crate::runtime::{Offload, Pass, credentials, gate};
use crate::sigv4;
use crate::storage::layout::ObjectKey;
use crate::storage::{Bucket, BucketName, ObjectCache, OpenDirectories, Root, Versioning};

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
    /// What buckets without ownership controls have.
    pub object_ownership: ObjectOwnership,
    /// Whom files belong to that anonymous requests make.
    pub anonymous: PosixOwner,
    /// As whom requests touch files.
    pub posix: PosixUsers,
    /// Publishes the policy of a bucket, or that it has none, to all cores.
    pub publish_policy: PublishPolicy,
    /// Carries out calls of IAM.
    pub iam: IamApi,
    /// What is configured for buckets besides their policies.
    pub settings: Settings,
    /// Renames that succeeded, for second tries of them.
    pub renames: Renames,
    /// Who can be told of changes of objects.
    pub webhooks: Webhooks,
}

/// How a bucket policy gets into the identities that every core reads. It returns when they all do.
pub type PublishPolicy = Box<dyn Fn(&BucketName, Option<Arc<Policy>>) + Send + Sync>;

/// How a call of IAM gets to the control plane, once it is known that it may be made. It returns when what it changed
/// is durable and holds on every core.
pub type IamApi = Box<dyn Fn(&By, Change) -> Result<Answer, Refusal> + Send + Sync>;

impl Service {
    /// Forgets what is configured for a bucket that is gone. The caller holds the lock of the configuration.
    pub fn forget_configuration(&self, bucket: &BucketName) {
        (self.publish_policy)(bucket, None);
        self.root.set_versioning(bucket, Versioning::Unversioned);
        self.root.set_profile(bucket, None);
        self.settings.forget(bucket);
    }
}

/// One request, for its handler.
pub struct Ctx<'c> {
    /// What all requests share.
    pub service: &'c Arc<Service>,
    /// What this core opened a moment ago.
    pub objects: &'c ObjectCache,
    /// Where this core put objects a moment ago.
    pub directories: &'c OpenDirectories,
    /// The request's head.
    pub head: &'c Head,
    /// The request's body.
    pub payload: Payload<'c>,
    /// The body of a call of STS or IAM, which is read before its signature can be verified.
    pub form: Option<Vec<u8>>,
    /// The form of a PostObject; `head` is the one it stands for.
    pub posted: Option<&'c Form>,
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
#[derive(Clone, Copy, Debug)]
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

    /// As [`Ctx::bucket`], for a request that puts an object into it.
    pub fn bucket_to_fill(&self, name: &BucketName) -> Result<Bucket, S3Error> {
        self.directories.bucket(&self.service.root, name)?.ok_or_else(|| no_such_bucket(name))
    }

    /// The URL of an object.
    pub fn location(&self, bucket: &BucketName, key: &ObjectKey) -> String {
        let host = String::from_utf8_lossy(self.head.host().unwrap_or_default());
        let scheme = if self.caller.is_encrypted() { "https" } else { "http" };
        let mut path = Vec::new();
        percent::encode_path_into(key.as_bytes(), &mut path);
        format!("{scheme}://{host}/{}/{}", bucket.as_str(), String::from_utf8_lossy(&path))
    }

    /// Reads a whole body and verifies what the client said of it.
    ///
    /// # Errors
    /// It has more than `bytes_max`, or is not what the client said.
    pub async fn read_body(&mut self, bytes_max: usize) -> Result<Vec<u8>, S3Error> {
        let integrity = Integrity::of(self.head, &self.payload_kind)?;
        self.read_protected(&integrity, bytes_max).await
    }

    /// As [`Ctx::read_body`], for the operations whose body has to come with a digest: Content-MD5 or a checksum.
    pub async fn read_document(&mut self, bytes_max: usize) -> Result<Vec<u8>, S3Error> {
        let integrity = Integrity::of(self.head, &self.payload_kind)?;
        if !integrity.is_protected() {
            return Err(Code::InvalidRequest
                .because("Missing required header for this request: Content-MD5 or x-amz-checksum-*."));
        }
        self.read_protected(&integrity, bytes_max).await
    }

    /// As [`Ctx::read_body`], where what the client said has been read already.
    pub async fn read_protected(
        &mut self,
        integrity: &Integrity,
        bytes_max: usize,
    ) -> Result<Vec<u8>, S3Error> {
        let body = self.payload.read_all(bytes_max).await?;
        let mut digests = BodyDigests::new(integrity.wanted(false, None));
        digests.update(&body);
        integrity.verify(&digests.finish(), self.payload.trailers())?;
        Ok(body)
    }

    /// Runs a job that may wait on the disk on an offload thread, as the user or server that this thread acts as.
    pub async fn offload<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Service) -> Result<T, S3Error> + Send + 'static,
    ) -> Result<T, S3Error> {
        let (service, user) = (self.service.clone(), credentials::current());
        let job = move || credentials::as_user(user.as_ref(), || job(&service));
        self.service.offload.run(job).await?.unwrap_or_else(|_| Err(Code::InternalError.into()))
    }

    /// As [`Ctx::offload`], of a page of a listing, which may be large. The core has so many in hand at a
    /// time.
    pub async fn offload_page<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Service) -> Result<T, S3Error> + Send + 'static,
    ) -> Result<InHand<T>, S3Error> {
        let pass = gate::page().await;
        Ok(InHand { page: self.offload(job).await?, _pass: pass })
    }
}

/// A page of a listing on its way to become an answer.
pub struct InHand<T> {
    page: T,
    _pass: Pass,
}

impl<T> InHand<T> {
    /// What `read` makes of it.
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> InHand<U> {
        InHand { page: read(self.page), _pass: self._pass }
    }
}

impl<T> Deref for InHand<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.page
    }
}

/// Opens a bucket that has to exist.
pub fn open_bucket(root: &Root, name: &BucketName) -> Result<Bucket, S3Error> {
    root.bucket(name)?.ok_or_else(|| no_such_bucket(name))
}

fn no_such_bucket(name: &BucketName) -> S3Error {
    Code::NoSuchBucket.with("BucketName", name.as_str())
}
