//! Bucket policies: GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus, and what the admin API
//! and the start of the server do with them.
//!
//! A policy is kept as it was sent ([`bucket_config`]) and published compiled, in the identities every core reads. A
//! change is durable before it is published, and published before its call returns. Who may change a policy is decided
//! by IAM as for every operation.
//!
//! Spec: the operations of these names in the Amazon S3 API reference.

use std::sync::Arc;

use super::access::Authorized;
use super::context::{Ctx, Service, open_bucket};
use super::error::{Code, S3Error};
use super::ownership::ObjectOwnership;
use super::public_access_block::PublicAccessBlock;
use super::reply::Reply;
use super::xml::write_policy_status;
use crate::iam::document::BUCKET_POLICY_BYTES_MAX;
use crate::iam::refusal::Reason;
use crate::iam::{Document, Kind, Policy, PolicyError};
use crate::limits;
use crate::storage::bucket_config::{self, Item};
use crate::storage::{self, BucketName, Root};

/// `GET /bucket?policy`.
pub async fn get_bucket_policy(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let document = read_existing(ctx, operation.into_inner()).await?;
    let mut reply = Reply::new(ctx, 200);
    reply.json(document);
    Ok(reply)
}

/// `PUT /bucket?policy`.
pub async fn put_bucket_policy(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    ctx.bucket(&name)?;
    if ctx.payload.length().is_some_and(|length| length > BUCKET_POLICY_BYTES_MAX as u64) {
        return Err(Code::PolicyTooLarge.into());
    }
    let body = ctx.read_body(limits::FORM_BODY_BYTES_MAX).await.map_err(|error| match error.code() {
        Code::EntityTooLarge => Code::PolicyTooLarge.into(),
        _ => error,
    })?;
    ctx.offload(move |service| Ok(set(service, &name, &body)?)).await?;
    Ok(Reply::new(ctx, 204))
}

/// `DELETE /bucket?policy`.
pub async fn delete_bucket_policy(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    ctx.offload(move |service| Ok(remove(service, &name)?)).await?;
    Ok(Reply::new(ctx, 204))
}

/// `GET /bucket?policyStatus`.
pub async fn get_bucket_policy_status(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    let settings = ctx.service.settings.of(&name);
    let has_lists = ObjectOwnership::of(ctx.service, &settings).has_lists();
    let document = ctx.offload(move |service| Ok(read(service, &name)?)).await?;
    // No policy gives nothing to anybody, and one that is damaged denies everybody.
    let by_policy = document
        .and_then(|document| Document::parse(&document, Kind::Bucket(name.as_str())).ok())
        .is_some_and(|document| document.is_public());
    let by_list = has_lists
        && !PublicAccessBlock::of(&settings).ignore_public_acls
        && settings.acl.as_ref().is_some_and(|acl| acl.0.is_public());
    let is_public = by_policy || by_list;
    let mut xml = Vec::with_capacity(256);
    write_policy_status(&mut xml, is_public);
    let mut reply = Reply::new(ctx, 200);
    reply.xml(xml);
    Ok(reply)
}

async fn read_existing(ctx: &Ctx<'_>, name: BucketName) -> Result<Vec<u8>, S3Error> {
    let document = ctx.offload(move |service| Ok(read(service, &name)?)).await?;
    document.ok_or_else(|| Code::NoSuchBucketPolicy.with("BucketName", name.as_str()))
}

/// Why a policy was not read or changed.
#[derive(Debug)]
pub enum Refusal {
    /// There is no such bucket.
    NoSuchBucket,
    /// The document is not valid.
    Invalid(PolicyError),
    /// It is public, and the bucket's public access block refuses such policies.
    PublicBlocked,
    /// The file system failed.
    Storage(storage::Error),
}

impl From<storage::Error> for Refusal {
    fn from(error: storage::Error) -> Refusal {
        Refusal::Storage(error)
    }
}

impl From<Refusal> for S3Error {
    fn from(refusal: Refusal) -> S3Error {
        match refusal {
            Refusal::NoSuchBucket => Code::NoSuchBucket.into(),
            Refusal::Invalid(error) if error.reason == Reason::TooLarge => {
                Code::PolicyTooLarge.because(error.to_string())
            }
            Refusal::Invalid(error) => Code::MalformedPolicy.because(error.to_string()),
            Refusal::PublicBlocked => Code::AccessDenied.because(PUBLIC_BLOCKED),
            Refusal::Storage(error) => error.into(),
        }
    }
}

/// What is said to [`Refusal::PublicBlocked`].
pub const PUBLIC_BLOCKED: &str = "the policy is public, and the public access block of the bucket refuses such policies \
                                  (BlockPublicPolicy); allow fewer callers, or change the block first";

/// Gives a bucket a policy in place of the one it had. Waits for the disk.
pub fn set(service: &Service, name: &BucketName, document: &[u8]) -> Result<(), Refusal> {
    let policy = compile(name, document).map_err(Refusal::Invalid)?;
    let _changing = service.root.lock_configuration();
    require(service, name)?;
    if policy.is_public() && PublicAccessBlock::of(&service.settings.of(name)).block_public_policy {
        return Err(Refusal::PublicBlocked);
    }
    bucket_config::write(&service.root, name, Item::Policy, document)?;
    (service.publish_policy)(name, Some(policy));
    tracing::info!(bucket = name.as_str(), "changed a bucket policy");
    Ok(())
}

/// Takes the policy of a bucket away. False: it had none. Waits for the disk.
pub fn remove(service: &Service, name: &BucketName) -> Result<bool, Refusal> {
    let _changing = service.root.lock_configuration();
    require(service, name)?;
    let removed = bucket_config::remove(&service.root, name, Item::Policy)?;
    (service.publish_policy)(name, None);
    if removed {
        tracing::info!(bucket = name.as_str(), "removed a bucket policy");
    }
    Ok(removed)
}

/// The policy of a bucket as it was sent. Waits for the disk.
pub fn read(service: &Service, name: &BucketName) -> Result<Option<Vec<u8>>, Refusal> {
    require(service, name)?;
    Ok(bucket_config::read(&service.root, name, Item::Policy)?)
}

fn require(service: &Service, name: &BucketName) -> Result<(), Refusal> {
    match open_bucket(&service.root, name) {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Code::NoSuchBucket => Err(Refusal::NoSuchBucket),
        Err(_) => service.root.bucket(name).map(|_| ()).map_err(Refusal::from),
    }
}

/// The name of a bucket and its policy, as the identities take it.
type Loaded = (Arc<str>, Option<Arc<Policy>>);

/// All bucket policies, compiled, for the start of the server. One that is damaged does not stop the server: its bucket
/// denies everybody everything until it has another policy, because what the policy denied is not known.
pub fn load(root: &Root) -> storage::Result<Vec<Loaded>> {
    let mut policies = Vec::new();
    for name in bucket_config::with(root, Item::Policy)? {
        let document = bucket_config::read(root, &name, Item::Policy)?.unwrap_or_default();
        let policy = compile(&name, &document).unwrap_or_else(|error| {
            tracing::error!(
                bucket = name.as_str(),
                "the policy of this bucket is damaged, so the bucket denies everybody: {error} Give it another one by \
                 `sluicegate bucket policy set`, or take it away by `sluicegate bucket policy unset`"
            );
            deny_everybody(&name)
        });
        policies.push((Arc::from(name.as_str()), Some(policy)));
    }
    Ok(policies)
}

fn compile(name: &BucketName, document: &[u8]) -> Result<Arc<Policy>, PolicyError> {
    Document::parse(document, Kind::Bucket(name.as_str()))
        .map(|document| Arc::new(Policy::compile(&document)))
}

fn deny_everybody(name: &BucketName) -> Arc<Policy> {
    let document = format!(
        r#"{{"Statement":{{"Effect":"Deny","Principal":"*","Action":"*","Resource":["arn:aws:s3:::{name}","arn:aws:s3:::{name}/*"]}}}}"#
    );
    compile(name, document.as_bytes()).expect("the document is written here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::{Action, Context, Request, decide};
    use crate::storage::Durability;

    #[test]
    fn a_damaged_policy_denies_everybody_and_others_are_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let name = |text: &str| BucketName::parse(text.as_bytes()).unwrap();
        let preset = crate::iam::Preset::Public.document("good").unwrap();
        for (bucket, content) in
            [("bad", &preset.as_bytes()[..40]), ("empty", b""), ("good", preset.as_bytes())]
        {
            bucket_config::write(&root, &name(bucket), Item::Policy, content).unwrap();
        }
        let loaded = load(&root).unwrap();
        let allows = |bucket: &str, anonymous| {
            let (_, policy) = loaded.iter().find(|(found, _)| &**found == bucket).unwrap();
            let context = Context::default();
            let request = Request { action: Action::GetObject, bucket, key: b"k", context: &context };
            let readwrite = compile(&name(bucket), preset.replace("good", bucket).as_bytes()).unwrap();
            decide(Some(&readwrite), None, policy.as_deref(), anonymous, &request).is_allowed()
        };
        assert!(allows("good", true) && allows("good", false));
        for damaged in ["bad", "empty"] {
            assert!(!allows(damaged, true) && !allows(damaged, false), "{damaged}");
        }
    }
}
