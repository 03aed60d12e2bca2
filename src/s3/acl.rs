//! Access control lists: GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl, and the lists that come with a write.
//!
//! What a list gives is decided in [`crate::iam::acl`], whether lists count at all in [`super::ownership`], and when a
//! request is measured by one in `access/grants.rs`. Here is how they come and go: in headers and documents (`asked`,
//! `document`), in the settings of a bucket (`setting`), and in the record of an object.
//!
//! S3 shows owners and grantees as the names of users; inside, a grantee is the unique id of a user. A grantee who does
//! not exist any more is given nothing and not shown.
//!
//! The owner of an object is the user whose UID its file has (of several the one whose name sorts first); that of a
//! bucket is who made it, as far as that can be believed (`access/facts.rs`). Where there is no such user, `uid-1000`
//! stands for the owner, and owns nothing.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Access control list (ACL) overview" in the user
//! guide.

mod asked;
mod document;
mod setting;

use std::sync::Arc;

pub use asked::{Asked, Canned};
pub use document::fuzz;
pub use setting::BucketAcl;

use super::access::{Authorized, Caller};
use super::attributes;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::operation::ObjectVersion;
use super::ownership::ObjectOwnership;
use super::public_access_block::PublicAccessBlock;
use super::reply::Reply;
use super::settings::{self, BucketSettings};
use super::versioning;
use crate::iam::acl::Acl;
use crate::iam::{PosixOwner, Snapshot, User};
use crate::limits;
use crate::storage::object::{self, Object};
use crate::storage::record::Record;
use crate::storage::versions::Absence;
use crate::storage::{Bucket, BucketName};

/// Whose a bucket or an object is.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The id and name under which S3 shows them.
    pub shown: String,
    /// The user, if there is one.
    pub user: Option<Arc<User>>,
}

impl Owner {
    /// Of an object: whose UID its file has.
    pub fn of_uid(snapshot: &Snapshot, uid: u32) -> Owner {
        let user = snapshot.user_by_uid(uid).cloned();
        Owner {
            shown: user.as_ref().map_or_else(|| format!("uid-{uid}"), |user| user.name.to_string()),
            user,
        }
    }

    /// Of a bucket: who made it.
    pub fn of_bucket(caller: &Caller<'_>, bucket: &Bucket) -> Result<Owner, S3Error> {
        match caller.owner_of(bucket)? {
            Some(user) => Ok(Owner { shown: user.name.to_string(), user: Some(user) }),
            None => {
                let uid = crate::storage::bucket::uid(bucket)?;
                Ok(Owner { shown: format!("uid-{uid}"), user: None })
            }
        }
    }

    fn of_caller(caller: &Caller<'_>, files: PosixOwner) -> Owner {
        match caller.user() {
            Some(user) => Owner { shown: user.name.to_string(), user: Some(user.clone()) },
            None => Owner { shown: format!("uid-{}", files.uid), user: None },
        }
    }

    fn is(&self, user: &User) -> bool {
        self.user.as_ref().is_some_and(|own| own.unique_id == user.unique_id)
    }
}

/// Whose the objects of one bucket are.
pub struct Owners<'s> {
    snapshot: &'s Snapshot,
    of_all: Option<Owner>,
}

/// Whose the objects of a bucket are. Where lists are off, all count as the owner's of the bucket, if it has one.
pub fn owners<'c>(ctx: &'c Ctx<'_>, bucket: &Bucket) -> Result<Owners<'c>, S3Error> {
    let snapshot = ctx.caller.snapshot();
    if has_lists(ctx, &ctx.service.settings.of(&bucket.name)) {
        return Ok(Owners { snapshot, of_all: None });
    }
    let of_bucket = Owner::of_bucket(&ctx.caller, bucket)?;
    Ok(Owners { snapshot, of_all: Some(of_bucket).filter(|owner| owner.user.is_some()) })
}

impl Owners<'_> {
    /// The owner of an object whose file has this UID.
    pub fn of(&self, uid: u32) -> Owner {
        self.of_all.clone().unwrap_or_else(|| Owner::of_uid(self.snapshot, uid))
    }
}

/// `GET /bucket?acl`.
pub async fn get_bucket_acl(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let bucket = ctx.bucket(&operation)?;
    let settings = ctx.service.settings.of(&operation);
    let owner = Owner::of_bucket(&ctx.caller, &bucket)?;
    let acl = settings.acl.as_ref().filter(|_| has_lists(ctx, &settings)).map(|acl| &acl.0);
    Ok(answer(ctx, &owner, acl))
}

/// `PUT /bucket?acl`.
pub async fn put_bucket_acl(ctx: &mut Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    let bucket = ctx.bucket(&name)?;
    let owner = Owner::of_bucket(&ctx.caller, &bucket)?;
    let asked = read_asked(ctx, &owner).await?;
    let settings = ctx.service.settings.of(&name);
    if let Some(acl) = new_list(&ctx.caller, &settings, &asked, &owner, None)? {
        let acl = (!acl.is_private()).then_some(BucketAcl(acl));
        ctx.offload(move |service| settings::change(service, &name, acl)).await?;
    }
    Ok(Reply::new(ctx, 200))
}

/// `GET /bucket/key?acl`.
pub async fn get_object_acl(ctx: &Ctx<'_>, operation: Authorized<ObjectVersion>) -> Result<Reply, S3Error> {
    let ObjectVersion { bucket: name, key, version_id } = operation.into_inner();
    let bucket = ctx.bucket(&name)?;
    let object = versioning::find(ctx, &bucket, &key, version_id.as_ref())?;
    let owner = owners(ctx, &bucket)?.of(object.owner.uid);
    let acl = object.record.and_then(|record| record.acl);
    let acl = acl.as_ref().filter(|_| has_lists(ctx, &ctx.service.settings.of(&name)));
    let mut reply = answer(ctx, &owner, acl);
    versioning::write_version(ctx.service, &name, object.version, &mut reply);
    Ok(reply)
}

/// `PUT /bucket/key?acl`.
pub async fn put_object_acl(
    ctx: &mut Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let ObjectVersion { bucket: name, key, version_id } = operation.into_inner();
    let version = versioning::named(version_id.as_ref())?;
    let bucket = ctx.bucket(&name)?;
    let service = ctx.service.clone();
    let root = &service.root;
    let standing = versioning::find(ctx, &bucket, &key, version_id.as_ref())?;
    let owner = Owner::of_uid(ctx.caller.snapshot(), standing.owner.uid);
    let asked = read_asked(ctx, &owner).await?;
    let settings = ctx.service.settings.of(&name);
    let of_bucket = Owner::of_bucket(&ctx.caller, &bucket)?;
    let Some(acl) = new_list(&ctx.caller, &settings, &asked, &owner, Some(&of_bucket))? else {
        return Ok(Reply::new(ctx, 200));
    };
    let record_of = |found: Result<&Object, &Absence>| -> Result<_, S3Error> {
        let object = found.map_err(|absence| versioning::absent(ctx, &name, &key, version, absence))?;
        if object.owner.uid != standing.owner.uid {
            // The list was made for somebody else's object, which was replaced meanwhile.
            return Err(Code::OperationAborted.into());
        }
        let mut record = attributes::record_of(object, &key);
        record.acl = Some(acl.clone()).filter(|acl| !acl.is_private());
        Ok(record)
    };
    let (version, change) = object::amend(root, &bucket, &key, version, &record_of)??;
    root.commit(&name, change).await?;
    let mut reply = Reply::new(ctx, 200);
    versioning::write_version(ctx.service, &name, version, &mut reply);
    Ok(reply)
}

/// Gives the record of an object that is about to be written the list that the request asks for. Returns whom the file
/// is to belong to: `writer`, or the owner of the bucket, if the object becomes theirs.
///
/// # Errors
/// `AccessControlListNotSupported`, `AccessDenied` for a public list that is blocked, and what is wrong with the list.
pub fn of_new_object(
    caller: &Caller<'_>,
    asked: Option<&Asked>,
    bucket: &Bucket,
    writer: PosixOwner,
    record: &mut Record,
) -> Result<PosixOwner, S3Error> {
    record.acl = None;
    let Some(asked) = asked else { return Ok(writer) };
    let settings = caller.settings_of(&bucket.name);
    let of_bucket = Owner::of_bucket(caller, bucket)?;
    let owner = Owner::of_caller(caller, writer);
    let acl = new_list(caller, &settings, asked, &owner, Some(&of_bucket))?;
    let becomes_the_buckets = caller.ownership(&settings) == ObjectOwnership::BucketOwnerPreferred
        && asked.canned() == Some(Canned::BucketOwnerFullControl);
    if let (true, Some(user)) = (becomes_the_buckets, &of_bucket.user) {
        return caller.givable(user.owner);
    }
    record.acl = acl.filter(|acl| !acl.is_private());
    Ok(writer)
}

/// The list that CreateBucket gives to the bucket it makes. `None`: none is asked for, or a private one.
///
/// # Errors
/// `InvalidBucketAclWithObjectOwnership`: lists are off in the bucket.
pub fn of_new_bucket(
    ctx: &Ctx<'_>,
    ownership: ObjectOwnership,
    files: PosixOwner,
) -> Result<Option<BucketAcl>, S3Error> {
    let Some(asked) = Asked::of(|name| ctx.head.header(name))? else { return Ok(None) };
    let acl = asked.resolve(ctx.caller.snapshot(), &Owner::of_caller(&ctx.caller, files), None)?;
    if acl.is_private() {
        return Ok(None);
    }
    if !ownership.has_lists() {
        return Err(Code::InvalidBucketAclWithObjectOwnership.into());
    }
    Ok(Some(BucketAcl(acl)))
}

/// The list that a request sets on what stands in a bucket with these settings. `None`: lists are off, and this one
/// changes nothing. `of_bucket` is the owner of the bucket, if the list is an object's.
fn new_list(
    caller: &Caller<'_>,
    settings: &BucketSettings,
    asked: &Asked,
    owner: &Owner,
    of_bucket: Option<&Owner>,
) -> Result<Option<Acl>, S3Error> {
    let acl = asked.resolve(caller.snapshot(), owner, of_bucket)?;
    if !caller.ownership(settings).has_lists() {
        let harmless = match asked.canned() {
            Some(Canned::BucketOwnerFullControl) => true,
            Some(Canned::Private | Canned::BucketOwnerRead) => settings.ownership.is_none(),
            Some(_) => false,
            None => acl.is_private(),
        };
        return if harmless { Ok(None) } else { Err(Code::AccessControlListNotSupported.into()) };
    }
    refuse_public(settings, &acl)?;
    Ok(Some(acl))
}

/// Refuses a public list where public lists are blocked.
fn refuse_public(settings: &BucketSettings, acl: &Acl) -> Result<(), S3Error> {
    if acl.is_public() && PublicAccessBlock::of(settings).block_public_acls {
        return Err(Code::AccessDenied.because(
            "The public access block of the bucket refuses access control lists that give anything to everybody.",
        ));
    }
    Ok(())
}

/// The list that a PutBucketAcl or PutObjectAcl sets: in its headers, else in its body.
async fn read_asked(ctx: &mut Ctx<'_>, owner: &Owner) -> Result<Asked, S3Error> {
    let in_headers = Asked::of(|name| ctx.head.header(name))?;
    let body = ctx.read_body(limits::SETTING_BODY_BYTES_MAX).await?;
    match in_headers {
        Some(asked) if body.trim_ascii().is_empty() => Ok(asked),
        Some(_) => Err(Code::UnexpectedContent.because(
            "A request that sets an access control list in headers has no body: send one of the two.",
        )),
        None if body.trim_ascii().is_empty() => {
            Err(Code::MissingSecurityHeader.with("MissingHeaderName", "x-amz-acl"))
        }
        None => {
            let (named, asked) = document::parse(&body)?;
            if named != owner.shown {
                return Err(Code::AccessDenied.because(format!(
                    "The Owner of the list must be the owner as GetBucketAcl and GetObjectAcl show it, which is {}: it \
                     cannot be changed.",
                    owner.shown
                )));
            }
            Ok(asked)
        }
    }
}

fn has_lists(ctx: &Ctx<'_>, settings: &BucketSettings) -> bool {
    ctx.caller.ownership(settings).has_lists()
}

fn answer(ctx: &Ctx<'_>, owner: &Owner, acl: Option<&Acl>) -> Reply {
    let mut xml = Vec::with_capacity(1024);
    document::write(&mut xml, ctx.caller.snapshot(), owner, acl.unwrap_or(&Acl::private()));
    let mut reply = Reply::new(ctx, 200);
    reply.xml(xml);
    reply
}
