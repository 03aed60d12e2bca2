//! What access control lists give where no policy does, and what cuts the reach of public policies.
//!
//! A list is asked only when the policies neither allow nor deny, and only in a bucket where lists count
//! ([`ObjectOwnership`](crate::s3::ownership::ObjectOwnership)), so that every other request costs nothing more. What
//! limits the caller's keys (a session policy, the policy of a service account) has to allow the action as well.
//!
//! # What a forged list can do
//! The list of an object is in its record, which whoever may write to the file may write. It is asked for that very
//! object alone, and only for reading its data and its list and for setting the list: nothing that a writer of the file
//! could not do by reading it out, or by setting the list through S3. What a bucket gives (listing, writing, deleting) is
//! decided by the bucket's list alone, which is where no POSIX user can write.
//!
//! A list is read when the request is decided, before the operation opens the object, as everything is that a decision
//! depends on: an object that is replaced in the moment between is served by the list of the one before.
//!
//! # What is not there
//! Where lists count, a missing bucket is told to everybody, as at AWS, and a missing object to whoever may list the
//! bucket. It is told here, because there is no list then that could let the request pass.

use super::Caller;
use super::facts::Facts;
use crate::iam::acl::{Acl, Asker, Permission, Target, permission_for};
use crate::iam::{Action, User, decide};
use crate::runtime::credentials::as_server;
use crate::s3::error::{Code, S3Error};
use crate::s3::operation::{Operation, Requirement, VersionId};
use crate::s3::public_access_block::PublicAccessBlock;
use crate::storage::Bucket;
use crate::storage::layout::{BucketName, ObjectKey};
use crate::storage::versions::{self, Version};

impl Caller<'_> {
    /// Whether a list gives what no policy does.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`, or the file system failed.
    #[cold]
    pub(super) fn is_granted(
        &self,
        requirement: &Requirement<'_>,
        operation: &Operation,
        facts: &Facts,
    ) -> Result<bool, S3Error> {
        let Ok(name) = BucketName::parse(requirement.bucket.as_bytes()) else { return Ok(false) };
        let settings = self.settings_of(&name);
        if !self.ownership(&settings).has_lists() {
            return Ok(false);
        }
        if matches!(operation, Operation::CreateBucket(_)) {
            // Who may make the bucket owns it, and gives it what list they like; that they may is another requirement.
            return Ok(requirement.action == Action::PutBucketAcl
                && self.user().is_some()
                && self.limit_allows(requirement, operation, facts));
        }
        let Some(bucket) = self.service.root.bucket(&name)? else {
            return Err(Code::NoSuchBucket.with("BucketName", name.as_str()));
        };
        let Some((target, permission)) = permission_for(requirement.action) else { return Ok(false) };
        if !self.limit_allows(requirement, operation, facts) {
            return Ok(false);
        }
        let ignore_public = PublicAccessBlock::of(&settings).ignore_public_acls;
        let private = Acl::private();
        match target {
            Target::Bucket | Target::BucketOfOwner => {
                let owner = self.owner_of(&bucket)?;
                let asker = self.asker(owner.as_deref());
                let acl = settings.acl.as_ref().map_or(&private, |acl| &acl.0);
                let is_due = target == Target::Bucket || asker.is_owner;
                Ok(is_due && acl.gives(permission, asker, ignore_public))
            }
            // Who may write the object owns it, as above.
            Target::Object if makes_object(operation, requirement) => Ok(true),
            Target::Object => self.object_gives(&bucket, requirement, operation, permission, ignore_public),
        }
    }

    fn object_gives(
        &self,
        bucket: &Bucket,
        requirement: &Requirement<'_>,
        operation: &Operation,
        permission: Permission,
        ignore_public: bool,
    ) -> Result<bool, S3Error> {
        let Ok(key) = ObjectKey::parse(requirement.key) else { return Ok(false) };
        // No list of one version says anything about another.
        let version = match version_of(requirement.action, operation) {
            Some(None) => None,
            Some(Some(id)) => match Version::parse(id.as_str()) {
                Some(version) => Some(version),
                None => return Ok(false),
            },
            None => return Ok(false),
        };
        let found = as_server(|| versions::find(&self.service.root, bucket, &key, version))?;
        let Ok(object) = found else {
            let lists = Requirement { action: Action::ListBucket, bucket: requirement.bucket, key: b"" };
            // Any operation without listing options decides alike.
            if self.may(&lists, &Operation::HeadBucket(bucket.name))? {
                let code = if version.is_some() { Code::NoSuchVersion } else { Code::NoSuchKey };
                return Err(code.with("Key", key.as_str()));
            }
            return Ok(false);
        };
        let asker = self.asker(self.snapshot.user_by_uid(object.owner.uid).map(|user| &**user));
        let acl = object.record.and_then(|record| record.acl).unwrap_or_else(Acl::private);
        Ok(acl.gives(permission, asker, ignore_public))
    }

    fn asker(&self, owner: Option<&User>) -> Asker<'_> {
        // A role has what its policies say and nothing of the user who assumed it.
        let user = self.user().filter(|_| self.role().is_none()).map(|user| &*user.unique_id);
        Asker { user, is_owner: user.is_some() && owner.map(|owner| &*owner.unique_id) == user }
    }

    /// Whether what limits the caller's keys lets the request pass.
    fn limit_allows(&self, requirement: &Requirement<'_>, operation: &Operation, facts: &Facts) -> bool {
        self.limit().is_none_or(|limit| {
            self.with_request(requirement, Some(operation), facts, |request| {
                decide(Some(limit), None, None, false, request).is_allowed()
            })
        })
    }

    /// Whether the public access block of the bucket keeps the caller from what its public policy allows.
    pub(super) fn is_cut_off(&self, requirement: &Requirement<'_>) -> Result<bool, S3Error> {
        let Ok(name) = BucketName::parse(requirement.bucket.as_bytes()) else { return Ok(false) };
        if !PublicAccessBlock::of(&self.settings_of(&name)).restrict_public_buckets {
            return Ok(false);
        }
        let Some(bucket) = self.service.root.bucket(&name)? else { return Ok(true) };
        let owner = self.owner_of(&bucket)?;
        Ok(!self.asker(owner.as_deref()).is_owner)
    }

    /// Whether the buckets belong to whom the request expects: headers by which a client makes sure that it does not
    /// reach a bucket that somebody else made in the place of its own. What is named is the account, or the owner as S3
    /// shows it.
    pub(super) fn check_expected_owners(&self, operation: &Operation) -> Result<(), S3Error> {
        if let (Some(expected), Some(bucket)) =
            (self.head.header("x-amz-expected-bucket-owner"), operation.bucket())
        {
            self.check_expected_owner(expected, bucket)?;
        }
        let source = match operation {
            Operation::CopyObject(copy) => &copy.source,
            Operation::UploadPartCopy(part) => &part.source,
            _ => return Ok(()),
        };
        match self.head.header("x-amz-source-expected-bucket-owner") {
            Some(expected) => self.check_expected_owner(expected, &source.bucket),
            None => Ok(()),
        }
    }

    fn check_expected_owner(&self, expected: &[u8], bucket: &BucketName) -> Result<(), S3Error> {
        let account = self.snapshot.account();
        if expected == account.as_bytes() {
            return Ok(());
        }
        // That a bucket is missing is told by the operation itself.
        let Some(bucket) = self.service.root.bucket(bucket)? else { return Ok(()) };
        match self.owner_of(&bucket)? {
            Some(owner) if [&owner.name, &owner.unique_id].iter().any(|id| id.as_bytes() == expected) => Ok(()),
            _ => Err(Code::AccessDenied.because(format!(
                "The bucket does not belong to whom the request expects. The account of this server is {account:?}."
            ))),
        }
    }
}

/// Whether the requirement is about the object that the operation makes.
fn makes_object(operation: &Operation, requirement: &Requirement<'_>) -> bool {
    requirement.action == Action::PutObjectAcl
        && matches!(
            operation,
            Operation::PutObject(_)
                | Operation::PostObject(_)
                | Operation::CopyObject(_)
                | Operation::CreateMultipartUpload(_)
        )
}

/// The version that an action is about: `Some(None)` if it is the current one, `None` if that is not known.
fn version_of(action: Action, operation: &Operation) -> Option<Option<&VersionId>> {
    use Action as A;
    if !matches!(action, A::GetObjectVersion | A::GetObjectVersionAcl | A::PutObjectVersionAcl) {
        return Some(None);
    }
    operation.version_id().map(Some)
}
