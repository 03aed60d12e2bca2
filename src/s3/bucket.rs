//! Buckets: ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.
//!
//! Spec: the operations of these names in the Amazon S3 API reference.

use smallvec::smallvec;

use super::access::Authorized;
use super::acl::BucketAcl;
use super::bucket_tagging::BucketTagging;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::object_lock::ObjectLock;
use super::operation::{ContinuationToken, ListBuckets, Operation, Requirement};
use super::ownership::ObjectOwnership;
use super::reply::Reply;
use super::settings::{self, BucketSettings};
use super::versioning::BucketVersioning;
use super::xml::CreateBucketConfiguration;
use super::xml::write_location_constraint;
use super::xml::{BucketEntry, Buckets, Owner};
use crate::http::head::Head;
use crate::iam::{Action, PosixOwner};
use crate::limits;
use crate::storage;
use crate::storage::bucket::{self, Created, Deleted};
use crate::storage::bucket_config;
use crate::storage::commit::Change;
use crate::storage::layout::BucketName;

/// `GET /`.
pub async fn list_buckets(ctx: &Ctx<'_>, operation: Authorized<ListBuckets>) -> Result<Reply, S3Error> {
    let ListBuckets { prefix, continuation_token, max_buckets, bucket_region } = operation.into_inner();
    let elsewhere = bucket_region.is_some_and(|region| region != ctx.service.region);
    let may_see = ctx.caller.may_see();
    let with_makers = may_see.is_some();
    let all = ctx.offload(move |service| Ok(bucket::list(&service.root, with_makers)?)).await?;
    let after = continuation_token.as_ref().map_or("", ContinuationToken::after);
    let mut wanted = all.iter().filter(|entry| {
        !elsewhere
            && entry.name.as_str().starts_with(&prefix)
            && entry.name.as_str() > after
            && may_see.as_ref().is_none_or(|may_see| may_see(entry.maker.as_ref()))
    });
    let count = max_buckets.map_or(limits::BUCKETS_MAX, |count| count as usize);
    let page: Vec<_> = wanted.by_ref().take(count).collect();
    let next = match (wanted.next(), page.last()) {
        (Some(_), Some(last)) => Some(ContinuationToken::encode(last.name.as_str())),
        _ => None,
    };
    let (id, display_name) = ctx.caller.owner_id();
    let paged = max_buckets.is_some() || continuation_token.is_some() || !prefix.is_empty();
    let answer = Buckets {
        owner: Owner { id, display_name },
        prefix: (!prefix.is_empty()).then_some(prefix.as_str()),
        continuation_token: next.as_deref(),
    };
    let mut document = Vec::with_capacity(256 + 128 * page.len());
    answer.write(
        &mut document,
        page.iter().map(|entry| BucketEntry {
            name: entry.name.as_str(),
            created: entry.created,
            region: paged.then_some(ctx.service.region.as_str()),
        }),
    );
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// `PUT /bucket`.
pub async fn create_bucket(ctx: &mut Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    let object_lock = object_lock_wanted(ctx.head)?;
    let tagging = read_configuration(ctx, &name).await?;
    let owner = super::put_object::owner(ctx)?;
    let controls = ObjectOwnership::of_header(ctx.head.header("x-amz-object-ownership"))?;
    let ownership = controls.map_or(ctx.service.object_ownership, |controls| controls.0);
    let acl = super::acl::of_new_bucket(ctx, ownership, owner)?;
    let asked_acl = acl.clone();
    let initial = BucketSettings {
        acl,
        object_lock: object_lock.then(ObjectLock::default),
        ownership: controls,
        tagging,
        versioning: object_lock.then_some(BucketVersioning { enabled: true }),
        ..BucketSettings::default()
    };
    let maker = ctx.caller.unique_id().to_owned();
    let job_maker = maker.clone();
    let created = ctx.offload(move |service| Ok(make(service, &name, &job_maker, owner, initial)?)).await?;
    match created {
        Created::Made(change) => ctx.service.root.commit(&name, change).await?,
        // As ceph, for AWS would give the bucket the new list: nobody who makes a bucket again wants that.
        Created::Exists(Some(other))
            if other == maker && !has_list(ctx.service, &name, asked_acl.as_ref()) =>
        {
            return Err(Code::BucketAlreadyExists
                .because(
                    "You made this bucket before, with another access control list, or gave it another one since. Change \
                     it by PutBucketAcl.",
                )
                .with("BucketName", name.as_str()));
        }
        // As AWS: in its first region the owner's repeated call succeeds, in all others it is told.
        Created::Exists(Some(other)) if other == maker && ctx.service.region == FIRST_REGION => {
            // Whoever made it may still wait for the disk, or have waited in vain.
            let change = Change { files: smallvec![ctx.bucket(&name)?.fd], wide: true };
            ctx.service.root.commit(&name, change).await?;
        }
        Created::Exists(Some(other)) if other == maker => {
            return Err(Code::BucketAlreadyOwnedByYou.with("BucketName", name.as_str()));
        }
        Created::Exists(_) => return Err(Code::BucketAlreadyExists.with("BucketName", name.as_str())),
        Created::TooMany => return Err(Code::TooManyBuckets.into()),
    }
    let mut reply = Reply::new(ctx, 200);
    reply.header("Location", format!("/{}", name.as_str()).as_bytes());
    Ok(reply)
}

/// Whether the bucket is to have object lock from the beginning.
fn object_lock_wanted(head: &Head) -> Result<bool, S3Error> {
    const NAME: &str = "x-amz-bucket-object-lock-enabled";
    let Some(value) = head.header(NAME) else { return Ok(false) };
    match value {
        _ if value.eq_ignore_ascii_case(b"true") => Ok(true),
        _ if value.eq_ignore_ascii_case(b"false") => Ok(false),
        _ => Err(S3Error::invalid_argument(
            NAME,
            String::from_utf8_lossy(value),
            "The value of the header is true or false.",
        )),
    }
}

/// Whether this is the list of a bucket. Where lists are off, any is.
fn has_list(service: &Service, name: &BucketName, acl: Option<&BucketAcl>) -> bool {
    let settings = service.settings.of(name);
    !ObjectOwnership::of(service, &settings).has_lists() || settings.acl.as_ref() == acl
}

/// The body, if there is one, may name this server's region, and the tags to make the bucket with.
async fn read_configuration(ctx: &mut Ctx<'_>, name: &BucketName) -> Result<Option<BucketTagging>, S3Error> {
    let body = ctx.read_body(limits::SETTING_BODY_BYTES_MAX).await?;
    let configuration =
        CreateBucketConfiguration::parse(&body).map_err(|_| S3Error::from(Code::MalformedXML))?;
    if configuration.directory_bucket {
        return Err(S3Error::not_implemented("Element", "Bucket"));
    }
    match configuration.location_constraint {
        Some(region) if !region.is_empty() && region != ctx.service.region => {
            Err(Code::InvalidLocationConstraint
                .because(format!(
                    "This server is in the region {}: name that one, or none.",
                    ctx.service.region
                ))
                .with("LocationConstraint", region))
        }
        _ if configuration.tags.is_empty() => Ok(None),
        _ => {
            let needed = Requirement { action: Action::TagResource, bucket: name.as_str(), key: b"" };
            ctx.caller.require(&needed, &Operation::CreateBucket(*name))?;
            BucketTagging::from_pairs(configuration.tags).map(Some)
        }
    }
}

/// `HEAD /bucket`.
pub async fn head_bucket(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    ctx.bucket(&operation)?;
    let mut reply = Reply::new(ctx, 200);
    reply.header("x-amz-bucket-region", ctx.service.region.as_bytes());
    Ok(reply)
}

/// `DELETE /bucket`.
pub async fn delete_bucket(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    match ctx.offload(move |service| Ok(remove(service, &name)?)).await? {
        Deleted::Gone(change) => ctx.service.root.commit(&name, change).await?,
        Deleted::Missing => return Err(Code::NoSuchBucket.with("BucketName", name.as_str())),
        Deleted::NotEmpty => return Err(Code::BucketNotEmpty.with("BucketName", name.as_str())),
    }
    Ok(Reply::new(ctx, 204))
}

/// Makes a bucket with the settings `initial`, and no others, also when some are left behind from an earlier bucket of its
/// name. They hold before the bucket is there. Waits for the disk.
pub fn make(
    service: &Service,
    name: &BucketName,
    maker: &str,
    owner: PosixOwner,
    initial: BucketSettings,
) -> storage::Result<Created> {
    let root = &service.root;
    let _changing = root.lock_configuration();
    if root.is_unlinked(name) {
        if root.has_directory(name)? {
            return Ok(Created::Exists(None));
        }
        root.link(name)?;
    }
    if root.bucket(name)?.is_some() {
        return bucket::create(root, name, maker, owner);
    }
    if bucket_config::remove_all(root, name)? {
        service.forget_configuration(name);
    }
    let made = configure(service, name, initial).and_then(|()| bucket::create(root, name, maker, owner));
    if !matches!(made, Ok(Created::Made(_))) {
        forget(service, name);
    }
    made
}

fn configure(service: &Service, name: &BucketName, initial: BucketSettings) -> storage::Result<()> {
    let BucketSettings { acl, object_lock, ownership, tagging, versioning, .. } = initial;
    if ownership.is_some() {
        settings::change_locked(service, name, ownership)?;
    }
    if acl.is_some() {
        settings::change_locked(service, name, acl)?;
    }
    if versioning.is_some() {
        settings::change_locked(service, name, versioning)?;
    }
    if object_lock.is_some() {
        settings::change_locked(service, name, object_lock)?;
    }
    if tagging.is_some() {
        settings::change_locked(service, name, tagging)?;
    }
    Ok(())
}

fn forget(service: &Service, name: &BucketName) {
    if let Err(error) = bucket_config::remove_all(&service.root, name) {
        // The bucket is gone; the next one of its name removes it before it is made.
        tracing::warn!(%error, bucket = name.as_str(), "the configuration of a bucket is left behind");
    }
    service.forget_configuration(name);
}

/// Deletes a bucket that holds no files, and its configuration. Waits for the disk.
pub fn remove(service: &Service, name: &BucketName) -> storage::Result<Deleted> {
    let _changing = service.root.lock_configuration();
    let deleted = bucket::delete(&service.root, name)?;
    if matches!(deleted, Deleted::Gone(_)) {
        forget(service, name);
    }
    Ok(deleted)
}

/// Forgets a bucket: its configuration goes, its directory stays with all that is in it and is served no more. False:
/// there is no such bucket. Waits for the disk.
pub fn unlink(service: &Service, name: &BucketName) -> storage::Result<bool> {
    let _changing = service.root.lock_configuration();
    if service.root.bucket(name)?.is_none() {
        return Ok(false);
    }
    service.root.unlink(name)?;
    bucket_config::remove_settings(&service.root, name)?;
    service.forget_configuration(name);
    Ok(true)
}

/// `GET /bucket?location`.
pub async fn get_bucket_location(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    ctx.bucket(&operation)?;
    let mut document = Vec::with_capacity(256);
    write_location_constraint(&mut document, &ctx.service.region);
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// The region whose CreateBucket is idempotent for the owner of the bucket.
const FIRST_REGION: &str = "us-east-1";
