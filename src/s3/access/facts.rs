//! What a decision can depend on that the request does not say: who made the bucket, the bucket's tags, the tags of the
//! object as it stands.
//!
//! Each is fetched only when a policy that takes part reads it ([`Reads`]), because a decision otherwise costs no system
//! call. All of it is read anew for each decision: it can change at any time, also by other programs.
//!
//! # Who made a bucket
//! The directory's attribute names the user, and whoever may write to the directory may write the attribute. It is
//! therefore believed only while the directory belongs to the UID of that very user: nobody but the directory's owner
//! can then gain by it, and the owner has the rights already. A user deleted since has made nothing, nor has one of
//! the same name made later.

use std::sync::Arc;

use super::Caller;
use super::conditions::add_retain_until;
use crate::codec::dates::Timestamp;
use crate::iam::{Action, Context, Reads, Snapshot, Tag, User};
use crate::runtime::credentials::as_server;
use crate::s3::attributes;
use crate::s3::error::S3Error;
use crate::s3::operation::{Operation, Requirement};
use crate::s3::settings::BucketSettings;
use crate::storage::Bucket;
use crate::storage::bucket::{self, Maker};
use crate::storage::layout::{BucketName, ObjectKey};
use crate::storage::record::{Retention, Tags};
use crate::storage::versions::{self, Version};

/// What was found out for one decision.
#[derive(Default)]
pub(super) struct Facts {
    bucket_owner: Option<Box<str>>,
    settings: Option<Arc<BucketSettings>>,
    existing_object_tags: Option<Tags>,
    request_object_tags: Option<Tags>,
    lock: Lock,
}

/// The lock that a request puts in its body.
#[derive(Clone, Copy, Default)]
pub struct Lock {
    /// A retention.
    pub retention: Option<Retention>,
    /// A legal hold, on or off.
    pub legal_hold: Option<bool>,
}

/// The tags among the facts, as a context takes them.
pub(super) struct FactTags<'a> {
    bucket: Vec<Tag<'a>>,
    existing_object: Vec<Tag<'a>>,
    request_object: Vec<Tag<'a>>,
}

impl Facts {
    /// The facts of a bucket of which only is known who made it.
    pub(super) fn of_owner(name: Option<&str>) -> Facts {
        Facts { bucket_owner: name.map(Into::into), ..Facts::default() }
    }

    /// Adds the lock that a request puts in its body.
    pub(super) fn with_lock(self, lock: Lock) -> Facts {
        Facts { lock, ..self }
    }

    /// Fetches what is read for a decision about `requirement`.
    ///
    /// # Errors
    /// The file system failed.
    pub(super) fn gather(
        caller: &Caller<'_>,
        reads: Reads,
        requirement: &Requirement<'_>,
        operation: &Operation,
    ) -> Result<Facts, S3Error> {
        let mut facts = Facts::default();
        if reads == Reads::default() {
            return Ok(facts);
        }
        let root = &caller.service.root;
        if reads.bucket_owner {
            facts.bucket_owner = match operation {
                // The bucket that is made is the caller's, and the list of all buckets shows what is.
                Operation::CreateBucket(_) | Operation::ListBuckets(_) => {
                    caller.user().map(|user| (*user.name).into())
                }
                _ => owner_of_bucket(caller, requirement.bucket)?,
            };
        }
        let Ok(name) = BucketName::parse(requirement.bucket.as_bytes()) else { return Ok(facts) };
        if reads.bucket_tags {
            facts.settings = Some(caller.service.settings.of(&name));
        }
        if reads.existing_object_tags
            && reads_existing_object(requirement.action, operation)
            && let Ok(key) = ObjectKey::parse(requirement.key)
            && let Some(bucket) = root.bucket(&name)?
        {
            let version = operation.version_id().and_then(|id| Version::parse(id.as_str()));
            // What a policy looks at is not shown to anybody.
            let found = as_server(|| versions::find(root, &bucket, &key, version))?;
            facts.existing_object_tags =
                found.ok().and_then(|object| object.record).map(|record| record.tags);
        }
        if reads.request_object_tags
            && matches!(requirement.action, Action::PutObject | Action::PutObjectTagging)
        {
            // Tags that cannot be read are refused by the operation itself.
            facts.request_object_tags = attributes::tags(caller.head).ok();
        }
        Ok(facts)
    }

    /// The tags, to be kept while the context that [`Facts::add`] fills is used.
    pub(super) fn tags(&self) -> FactTags<'_> {
        let bucket = self.settings.as_ref().and_then(|settings| settings.tagging.as_ref());
        FactTags {
            bucket: bucket.iter().flat_map(|tagging| tagging.iter()).collect(),
            existing_object: of_object(self.existing_object_tags.as_ref()),
            request_object: of_object(self.request_object_tags.as_ref()),
        }
    }

    /// Puts the facts into a context.
    pub(super) fn add<'a>(&'a self, tags: &'a FactTags<'a>, context: &mut Context<'a>) {
        context.bucket_owner = self.bucket_owner.as_deref();
        context.bucket_tags = &tags.bucket;
        context.existing_object_tags = &tags.existing_object;
        context.request_object_tags = &tags.request_object;
        if let (Some(retention), Some(now)) = (self.lock.retention, context.now) {
            context.object_lock_mode = Some(retention.mode.name().as_bytes());
            add_retain_until(context, Some(Timestamp::from_seconds(retention.until_seconds)), now);
        }
        if let Some(held) = self.lock.legal_hold {
            context.object_lock_legal_hold = Some(if held { b"ON" } else { b"OFF" });
        }
    }
}

fn of_object(tags: Option<&Tags>) -> Vec<Tag<'_>> {
    tags.into_iter().flat_map(Tags::iter).collect()
}

/// Whether the action has the key `s3:ExistingObjectTag`: those on an object that is there, not those that replace or
/// delete it.
fn reads_existing_object(action: Action, operation: &Operation) -> bool {
    use Action as A;
    let makes_object = matches!(
        operation,
        Operation::PutObject(_)
            | Operation::PostObject(_)
            | Operation::CopyObject(_)
            | Operation::CreateMultipartUpload(_)
    );
    match action {
        A::GetObject
        | A::GetObjectVersion
        | A::GetObjectAcl
        | A::GetObjectVersionAcl
        | A::GetObjectAttributes
        | A::GetObjectVersionAttributes
        | A::GetObjectTagging
        | A::GetObjectVersionTagging
        | A::DeleteObjectTagging
        | A::DeleteObjectVersionTagging => true,
        A::PutObjectTagging | A::PutObjectVersionTagging | A::PutObjectAcl | A::PutObjectVersionAcl => {
            !makes_object
        }
        _ => false,
    }
}

/// The name of the user who made a bucket.
fn owner_of_bucket(caller: &Caller<'_>, bucket: &str) -> Result<Option<Box<str>>, S3Error> {
    let Ok(name) = BucketName::parse(bucket.as_bytes()) else { return Ok(None) };
    let Some(bucket) = caller.service.root.bucket(&name)? else { return Ok(None) };
    Ok(caller.owner_of(&bucket)?.map(|user| (*user.name).into()))
}

impl Caller<'_> {
    /// The user who made a bucket.
    pub fn owner_of(&self, bucket: &Bucket) -> Result<Option<Arc<User>>, S3Error> {
        let maker = bucket::maker(bucket)?;
        Ok(maker.and_then(|maker| user_of(&self.snapshot, &maker)).cloned())
    }
}

/// The user who made a bucket, if what the directory says of it can be believed.
pub fn user_of<'s>(snapshot: &'s Snapshot, maker: &Maker) -> Option<&'s Arc<User>> {
    snapshot.user_by_unique_id(&maker.unique_id).filter(|user| user.owner.uid == maker.uid)
}
