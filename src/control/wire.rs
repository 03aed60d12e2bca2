//! Bodies of the admin API: one definition for the server and its client.
//!
//! Requests refuse unknown members, so that a mistyped one never passes as absent. Answers may grow members, so
//! the client ignores those it does not know.

use serde::{Deserialize, Serialize};

use super::backup::Backup;
use super::record::SecretText;

/// `POST /v1/users`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddUser {
    /// User name and access key.
    pub name: String,
    /// Secret key.
    pub secret: SecretText,
    /// Owner of the files the user's keys create.
    #[serde(default)]
    pub posix_uid: u32,
    /// Group of the files the user's keys create.
    #[serde(default)]
    pub posix_gid: u32,
    /// Its supplementary groups.
    #[serde(default)]
    pub posix_groups: PosixGroups,
    /// Policy to attach in the same step.
    #[serde(default)]
    pub policy: Option<String>,
    /// The account whose root it is.
    #[serde(default)]
    pub account_root: Option<String>,
}

/// `PATCH /v1/users/{name}`: what is absent stays.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// New owner of files created from now on.
    #[serde(default)]
    pub posix_uid: Option<u32>,
    /// New group of files created from now on.
    #[serde(default)]
    pub posix_gid: Option<u32>,
    /// New supplementary groups.
    #[serde(default)]
    pub posix_groups: Option<PosixGroups>,
}

/// The supplementary groups of a user, where permissions are enforced.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PosixGroups {
    /// Those that the system's databases name.
    #[default]
    System,
    /// These, whatever the databases name.
    Listed(Vec<u32>),
}

impl PosixGroups {
    /// As they are kept: each once, in order.
    pub fn into_listed(self) -> Option<Vec<u32>> {
        match self {
            PosixGroups::System => None,
            PosixGroups::Listed(mut groups) => {
                groups.sort_unstable();
                groups.dedup();
                Some(groups)
            }
        }
    }
}

/// `PUT /v1/users/{name}/secret`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// The new secret key; the old one is refused from now on.
    pub secret: SecretText,
}

/// `PUT /v1/users/{name}/policy`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachPolicy {
    /// Name of the policy; it takes the place of an attached one.
    pub policy: String,
}

/// `POST /v1/policies`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPolicy {
    /// Name of the policy.
    pub name: String,
    /// The JSON document as a string: its bytes count against the limit and are kept as they are.
    pub document: String,
    /// Take the place of a custom policy of this name.
    #[serde(default)]
    pub replace: bool,
}

/// A user as shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// User name and access key.
    pub name: String,
    /// New for each creation.
    pub unique_id: String,
    /// Its ARN.
    #[serde(default)]
    pub arn: String,
    /// Owner of the files the user's keys create.
    pub posix_uid: u32,
    /// Group of the files the user's keys create.
    pub posix_gid: u32,
    /// Its supplementary groups; none: those of the system.
    #[serde(default)]
    pub posix_groups: Option<Vec<u32>>,
    /// The attached policy.
    pub policy: Option<String>,
    /// Names of the policies that were put into it through the IAM API.
    #[serde(default)]
    pub inline_policies: Vec<String>,
    /// Its access keys that were made through the IAM API.
    #[serde(default)]
    pub access_keys: Vec<String>,
    /// How many service accounts belong to the user.
    pub service_accounts: usize,
    /// ISO 8601, UTC.
    pub created: String,
}

/// Answer to `POST /v1/users` and `PATCH /v1/users/{name}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangedUser {
    /// The user as it is now.
    pub user: User,
    /// What will not work as asked.
    pub warnings: Vec<String>,
}

/// Answer to `GET /v1/users`, in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Users {
    /// All users.
    pub users: Vec<User>,
}

/// Answer to `DELETE /v1/users/{name}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemovedUser {
    /// Service accounts that went with the user.
    pub service_accounts: usize,
}

/// A policy as shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Built in: cannot be replaced or removed.
    pub built_in: bool,
    /// Users it is attached to, in order of name.
    pub users: Vec<String>,
    /// The document as it was sent; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Time of the last change, ISO 8601, UTC; absent for built-in policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
}

/// Answer to `GET /v1/policies`: the built-in ones first, then the others in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policies {
    /// All policies.
    pub policies: Vec<Policy>,
}

/// Answer to the attach and detach calls.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChangedAttachment {
    /// What was attached before, if it was something else.
    pub replaced: Option<String>,
}

/// A service account as shown to its owner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Its access key.
    pub access_key: String,
    /// The user it belongs to.
    pub parent_user: String,
    /// Whether it has no policy of its own and may do what its parent may.
    pub implied_policy: bool,
    /// Its own policy, or the parent's when implied; absent in lists and when the parent has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_content: Option<String>,
    /// ISO 8601, UTC.
    pub created: String,
}

/// `POST /v1/service-accounts`, on the user socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddServiceAccount {
    /// What the account is limited to, as a JSON document; none: all that its user may do.
    #[serde(default)]
    pub policy: Option<String>,
}

/// Answer to `GET /v1/service-accounts`, in order of access key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceAccounts {
    /// All service accounts of the user who asks.
    pub service_accounts: Vec<ServiceAccount>,
}

/// A new service account. The secret is shown this once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewServiceAccount {
    /// Its access key.
    pub access_key: String,
    /// Its secret key.
    pub secret_key: SecretText,
}

/// `POST /v1/buckets`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddBucket {
    /// Its name.
    pub name: String,
    /// `none`, `download`, `upload` or `public`.
    #[serde(default)]
    pub policy: Option<String>,
    /// Owner of its directory; none: the server's user.
    #[serde(default)]
    pub posix_uid: Option<u32>,
    /// Group of its directory; none: the server's group.
    #[serde(default)]
    pub posix_gid: Option<u32>,
    /// Serve the directory of this name again, which was unlinked.
    #[serde(default)]
    pub existing: bool,
}

/// A bucket as shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// `none`, `download`, `upload`, `public` or `custom`.
    pub policy: String,
    /// ISO 8601, UTC.
    pub created: String,
}

/// Answer to `GET /v1/buckets`, in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Buckets {
    /// All buckets.
    pub buckets: Vec<Bucket>,
    /// Names of directories that were unlinked.
    pub unlinked: Vec<String>,
}

/// `PUT /v1/buckets/{name}/policy`: either member.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetBucketPolicy {
    /// `none`, `download`, `upload` or `public`.
    #[serde(default)]
    pub preset: Option<String>,
    /// A JSON document, whose actions hold no wildcards.
    #[serde(default)]
    pub document: Option<String>,
}

/// Answer to `GET /v1/buckets/{name}/policy`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketPolicy {
    /// `none`, `download`, `upload`, `public` or `custom`.
    pub policy: String,
    /// The document as it was sent.
    pub document: Option<String>,
}

/// `PATCH /v1/buckets/{name}/profile`: what is absent stays.
pub type ChangeBucketProfile = crate::s3::profile::Document;

/// Answer to `GET` and `PATCH /v1/buckets/{name}/profile`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketProfile {
    /// `md5` or `uid`.
    pub etag: String,
    /// `sorted` or `unsorted`.
    pub listing: String,
    /// `commit`, `none`, or `default`: the server's.
    pub durability: String,
    /// `bypass`, `enforce`, or `default`: the server's.
    pub posix_permissions: String,
    /// Octal, or `default`: the server's.
    pub umask: String,
    /// Octal, or `default`: the server's.
    pub file_mode: String,
    /// Octal, or `default`: the server's.
    pub directory_mode: String,
    /// The server's: `commit` or `none`.
    pub server_durability: String,
    /// The server's: `bypass` or `enforce`.
    pub server_posix_permissions: String,
}

/// Answer to `GET /v1/buckets/{name}/lifecycle`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LifecycleRules {
    /// The rules in the order they were given.
    pub rules: Vec<LifecycleRule>,
}

/// One lifecycle rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// What tells it from the others of its bucket.
    pub id: String,
    /// Whether it is carried out.
    pub enabled: bool,
    /// After how many days objects expire.
    pub expiry_days: Option<u32>,
    /// From which day on objects expire: `2030-01-01`.
    pub expiry_date: Option<String>,
    /// After how many days noncurrent versions are removed.
    pub noncurrent_days: Option<u32>,
    /// After how many days unfinished uploads are aborted.
    pub upload_days: Option<u32>,
    /// Only keys that begin so.
    pub prefix: String,
    /// Only objects with these tags.
    pub tags: Vec<(String, String)>,
}

/// `POST /v1/buckets/{name}/lifecycle`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddLifecycleRule {
    /// After how many days objects expire.
    pub expiry_days: u32,
    /// Only keys that begin so.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Only objects with these tags: `k1=v1&k2=v2`.
    #[serde(default)]
    pub tags: Option<String>,
    /// Not the current version but those before it, counted from when they were replaced.
    #[serde(default)]
    pub noncurrent: bool,
}

/// Answer to `POST /v1/buckets/{name}/lifecycle`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddedLifecycleRule {
    /// The id that the rule got.
    pub id: String,
}

/// `POST /v1/simulate`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulate {
    /// Name of the user who asks.
    pub user: String,
    /// One action: `s3:GetObject`.
    pub action: String,
    /// One ARN: `arn:aws:s3:::bucket/key`; `*` for actions on the account.
    pub resource: String,
    /// What limits the credentials: the policy of a session or of a service account.
    #[serde(default)]
    pub session_policy: Option<String>,
    /// Stands in place of the bucket's policy.
    #[serde(default)]
    pub bucket_policy: Option<String>,
    /// Condition keys and values.
    #[serde(default)]
    pub context: Vec<(String, String)>,
}

/// Answer to `POST /v1/simulate`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Simulated {
    /// Whether the request would be carried out.
    pub allowed: bool,
    /// The decision in words, as in the server's log.
    pub decision: String,
    /// `identity`, `session` or `bucket`, if a statement decided.
    pub layer: Option<String>,
    /// The name of the deciding policy, if it is one of the user's.
    pub policy: Option<String>,
    /// Which statement of the policy decided, from 0.
    pub statement: Option<usize>,
    /// Its `Sid`.
    pub sid: Option<String>,
}

/// `PUT /v1/identity`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// What `GET /v1/identity` answered.
    pub backup: Backup,
    /// Take the place of what the store holds.
    #[serde(default)]
    pub replace: bool,
}

/// Answer to `PUT /v1/identity`: how many of each there are now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// Users.
    pub users: usize,
    /// Custom policies.
    pub policies: usize,
    /// Service accounts.
    pub service_accounts: usize,
    /// Roles.
    #[serde(default)]
    pub roles: usize,
}

/// Answer to `POST /v1/reload`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// Names of settings that changed and hold now.
    pub changed: Vec<String>,
    /// Names of settings that changed and hold after a restart only.
    pub restart: Vec<String>,
    /// Whether new connections get the certificate as it is now.
    pub certificate: bool,
}

/// A role as shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// New for each creation.
    pub unique_id: String,
    /// Its ARN.
    pub arn: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who may assume it: the document as it was sent.
    pub trust: String,
    /// Its policies by name, as they were sent.
    pub policies: Vec<(String, String)>,
    /// Longest life of a session.
    pub session_seconds_max: u32,
    /// ISO 8601, UTC.
    pub created: String,
}

/// Answer to `GET /v1/roles`, in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Roles {
    /// All roles.
    pub roles: Vec<Role>,
}

/// Every refusal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// `ErrorKind::code`.
    pub code: String,
    /// What was wrong and how to fix it.
    pub message: String,
}
