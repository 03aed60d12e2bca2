//! As whom a request touches the files of a bucket.
//!
//! With `bypass` the server does everything with its own rights, and gives what it makes to the user: policies alone
//! decide. With `enforce` every step of a request on objects is taken under the UID, GID and supplementary groups of the
//! caller, so that policies say what a user may do at most, and the modes of the files as well: S3 gives nobody more than
//! a shell would.
//!
//! The server's own directory stays the server's: what is configured for buckets, uploads in progress and versions (for
//! which the kernel is asked, see [`crate::storage::permission`]). So do making and deleting buckets and the list of them,
//! which are names in the data directory. Permissions count from the bucket's directory on.

use super::access::Caller;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::operation::Operation;
use crate::runtime::credentials::{self, Credentials, acting_as};
use crate::runtime::groups::KnownUsers;
use crate::storage::Root;
use crate::storage::layout::BucketName;
use crate::storage::permission::PosixPermissions;

/// What the server knows of its users as users of the machine.
#[derive(Default)]
pub struct PosixUsers {
    /// What holds for buckets that say nothing else.
    pub permissions: PosixPermissions,
    /// Their groups.
    pub known: KnownUsers,
}

/// Makes sure that the server can act as its users.
///
/// # Errors
/// A sentence that says what it lacks.
pub fn prepare(root: &Root) -> Result<(), String> {
    credentials::prepare()?;
    root.admit_users().map_err(|error| error.to_string())
}

impl Service {
    /// Whether requests act as their users in a bucket.
    pub fn enforces(&self, bucket: &BucketName) -> bool {
        let of_bucket = self.root.profile(bucket).posix_permissions;
        of_bucket.unwrap_or(self.posix.permissions) == PosixPermissions::Enforce
    }
}

/// As whom a request is carried out. `None`: the server, in buckets that do not enforce permissions, and for what touches
/// no objects.
///
/// # Errors
/// `SlowDown`: the groups of the user are not known, and cannot be asked for now.
pub async fn user_of(
    service: &Service,
    caller: &Caller<'_>,
    operation: &Operation,
) -> Result<Option<Credentials>, S3Error> {
    match operation.bucket() {
        Some(bucket) if service.enforces(bucket) && touches_objects(operation) => {
            user_in(service, caller, bucket).await
        }
        _ => Ok(None),
    }
}

async fn user_in(
    service: &Service,
    caller: &Caller<'_>,
    bucket: &BucketName,
) -> Result<Option<Credentials>, S3Error> {
    if !service.enforces(bucket) {
        return Ok(None);
    }
    let owner = caller.owner(service.anonymous);
    // The superuser may do what the server may.
    if owner.uid == 0 && service.root.process_owner().uid == 0 {
        return Ok(None);
    }
    if let Some(groups) = caller.listed_groups() {
        return Ok(Some(Credentials::new(owner.uid, owner.gid, groups)));
    }
    Ok(Some(service.posix.known.credentials(owner.uid, owner.gid, &service.offload).await?))
}

/// Whether an operation works on files in the bucket. Those on uploads do not, until one is completed, which is published
/// as the user by itself; nor does the copy of a part, whose source is read as the user.
fn touches_objects(operation: &Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::ListObjects(_)
            | O::ListObjectsV2(_)
            | O::ListObjectVersions(_)
            | O::PutObject(_)
            | O::PostObject(_)
            | O::GetObject(_)
            | O::HeadObject(_)
            | O::GetObjectAttributes(_)
            | O::GetObjectAcl(_)
            | O::PutObjectAcl(_)
            | O::GetObjectTagging(_)
            | O::PutObjectTagging(_)
            | O::DeleteObjectTagging(_)
            | O::GetObjectRetention(_)
            | O::PutObjectRetention(_)
            | O::GetObjectLegalHold(_)
            | O::PutObjectLegalHold(_)
            | O::DeleteObject(_)
            | O::DeleteObjects(_)
            | O::CopyObject(_)
            | O::RenameObject(_)
    )
}

/// Takes every step of a future as this user, or as the server.
///
/// # Errors
/// Those of the future. `InternalError`: the kernel does not let the server be this user.
pub async fn carried_out_by<T>(
    user: Option<Credentials>,
    future: impl Future<Output = Result<T, S3Error>>,
) -> Result<T, S3Error> {
    let uid = user.as_ref().map(Credentials::uid);
    acting_as(user, future).await.unwrap_or_else(|error| {
        tracing::error!(uid, %error, "the server cannot act as a user");
        Err(Code::InternalError.because("The server cannot act as the UID of the caller."))
    })
}

impl Ctx<'_> {
    /// As whom the caller touches files of a bucket.
    ///
    /// # Errors
    /// As [`user_of`].
    pub async fn user_in(&self, bucket: &BucketName) -> Result<Option<Credentials>, S3Error> {
        user_in(self.service, &self.caller, bucket).await
    }

    /// Takes every step of a future as the caller touches files of this bucket, which need not be that of the request.
    ///
    /// # Errors
    /// As [`carried_out_by`], and [`user_of`].
    pub async fn within<T>(
        &self,
        bucket: &BucketName,
        future: impl Future<Output = Result<T, S3Error>>,
    ) -> Result<T, S3Error> {
        let user = self.user_in(bucket).await?;
        carried_out_by(user, future).await
    }
}
