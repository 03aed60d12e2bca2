//! What goes into the store and what comes out of it.

use std::collections::BTreeMap;

use super::super::record::{
    AccessKeyRecord, PolicyRecord, RoleRecord, SecretText, ServiceAccountRecord, UserRecord,
};
#[cfg(doc)]
use super::FORMAT_WITHOUT_IAM;
use crate::iam::Secret;

/// Everything the store holds, as found at start.
#[derive(Debug, Default)]
pub struct Contents {
    /// Sequence of the last commit.
    pub sequence: u64,
    /// Users by name.
    pub users: BTreeMap<String, StoredUser>,
    /// Custom policies by name.
    pub policies: BTreeMap<String, PolicyRecord>,
    /// Service accounts by access key.
    pub service_accounts: BTreeMap<String, StoredServiceAccount>,
    /// Access keys of users.
    pub access_keys: BTreeMap<String, StoredAccessKey>,
    /// Roles by name.
    pub roles: BTreeMap<String, StoredRole>,
    /// The key that session tokens are sealed under. It lives as long as the store, so that tokens survive a restart.
    pub token_key: Option<Secret>,
}

/// A user with what the other tables say about it.
#[derive(Debug)]
pub struct StoredUser {
    /// Its record.
    pub record: UserRecord,
    /// Its secret; none if it has access keys only.
    pub secret: Option<StoredSecret>,
    /// Its attachment.
    pub policy: Option<String>,
    /// Its inline policies by name.
    pub inline: BTreeMap<String, PolicyRecord>,
}

/// An access key and its secret.
#[derive(Debug)]
pub struct StoredAccessKey {
    /// Its record.
    pub record: AccessKeyRecord,
    /// Its secret.
    pub secret: StoredSecret,
}

/// A role with its inline policies.
#[derive(Debug)]
pub struct StoredRole {
    /// Its record.
    pub record: RoleRecord,
    /// Its inline policies by name.
    pub inline: BTreeMap<String, PolicyRecord>,
}

/// A service account and its secret.
#[derive(Debug)]
pub struct StoredServiceAccount {
    /// Its record.
    pub record: ServiceAccountRecord,
    /// Its secret.
    pub secret: StoredSecret,
}

/// An opened secret.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// Sequence of the commit that wrote it: different for each secret an access key ever had.
    pub id: u64,
    /// The secret.
    pub text: SecretText,
}

/// One write of a commit.
#[derive(Debug)]
pub enum Write<'a> {
    /// Insert or replace a user's record.
    PutUser(&'a str, &'a UserRecord),
    /// Insert or replace the secret of a user.
    PutUserSecret(&'a str, &'a SecretText),
    /// Remove a user with its secret, attachment and inline policies. Its service accounts and access keys are removed
    /// by writes of their own.
    RemoveUser(&'a str),
    /// Insert or replace a custom policy.
    PutPolicy(&'a str, &'a PolicyRecord),
    /// Remove a custom policy.
    RemovePolicy(&'a str),
    /// Attach the policy (second) to the user (first), in place of another.
    Attach(&'a str, &'a str),
    /// Detach what is attached to the user.
    Detach(&'a str),
    /// Insert a service account and its secret.
    PutServiceAccount(&'a str, &'a ServiceAccountRecord, &'a SecretText),
    /// Remove a service account and its secret.
    RemoveServiceAccount(&'a str),
    /// Insert an access key and its secret.
    PutAccessKey(&'a str, &'a AccessKeyRecord, &'a SecretText),
    /// Replace the record of an access key.
    UpdateAccessKey(&'a str, &'a AccessKeyRecord),
    /// Remove an access key and its secret.
    RemoveAccessKey(&'a str),
    /// Insert or replace a role.
    PutRole(&'a str, &'a RoleRecord),
    /// Remove a role with its inline policies.
    RemoveRole(&'a str),
    /// Insert or replace an inline policy (third) of a holder (second).
    PutInlinePolicy(HolderKind, &'a str, &'a str, &'a PolicyRecord),
    /// Remove an inline policy (third) of a holder (second).
    RemoveInlinePolicy(HolderKind, &'a str, &'a str),
    /// Remove everything but the keys of the store.
    Clear,
    /// Replace the key of session tokens.
    PutTokenKey(&'a Secret),
}

/// What holds an inline policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolderKind {
    /// A user.
    User,
    /// A role.
    Role,
}

impl Write<'_> {
    /// Whether releases that read [`FORMAT_WITHOUT_IAM`] only do not know what it writes.
    pub fn is_of_iam(&self) -> bool {
        match self {
            Self::PutUser(_, record) => record.account.is_some() || record.account_root || record.keys_only,
            Self::PutAccessKey(..)
            | Self::UpdateAccessKey(..)
            | Self::PutRole(..)
            | Self::PutInlinePolicy(..) => true,
            _ => false,
        }
    }
}
