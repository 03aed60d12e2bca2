//! The control plane: who may use the server, kept durably and published to the data plane.
//!
//! A change runs top to bottom through four modules: [`admin`] (JSON over a Unix socket, cluster admins only) →
//! [`identity`] (the rules; builds and publishes the next `Snapshot`) → [`store`] (the embedded database, one
//! durable commit per change) → [`seal`] (secrets at rest). [`record`] holds what is stored and the rules for
//! names and secrets, [`user_api`] what users do themselves, [`wire`] the bodies that the admin API and its client share.
//! [`metrics`] tells monitoring systems how the server is.
//!
//! Besides that, [`buckets`] and [`lifecycle_rules`] are the admin API of buckets, [`lifecycle`] carries out the rules that delete
//! objects, [`notify`] tells webhooks what happened, and [`journal`] writes the access log and the audit.
//!
//! Nothing here serves S3. The data plane sees only the `Snapshot`, which is never changed after it was
//! published.
//!
//! Invariants:
//! - A change is durable before it is published, and published before its call returns.
//! - After the durable commit nothing can fail: what could (parsing, compiling, limits) is checked before it.
//! - No secret is logged, shown by `Debug`, or written to disk unsealed.

pub mod admin;
pub mod backup;
pub mod buckets;
pub mod identity;
pub mod journal;
pub mod lifecycle;
pub mod lifecycle_rules;
pub mod metrics;
pub mod notify;
pub mod record;
pub mod reload;
pub mod seal;
pub mod simulate;
pub mod socket;
pub mod store;
pub mod user_api;
mod webhook;
pub mod wire;

use std::fmt;

pub use identity::Identity;

/// Why a control call was refused: a stable code for programs, and one sentence that says what was wrong and how
/// to fix it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The class of the problem.
    pub kind: ErrorKind,
    /// For people; never contains a secret.
    pub message: String,
}

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The classes of control errors. [`ErrorKind::code`] is part of the admin API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The body is no JSON, or lacks or has too many members.
    InvalidRequest,
    /// A user or policy name breaks the rules of [`record`].
    InvalidName,
    /// A secret breaks the rules of [`record`].
    InvalidSecret,
    /// A UID or GID that no file can have.
    InvalidOwner,
    /// The policy document is not valid.
    MalformedPolicy,
    /// The policy document exceeds [`record::POLICY_BYTES_MAX`].
    PolicyTooLarge,
    /// A backup that is damaged, contradicts itself, or is of another release.
    MalformedBackup,
    /// The configuration that should be read again cannot be used.
    InvalidConfiguration,
    /// The store is not empty and replacing it was not asked for.
    StoreNotEmpty,
    /// No role of this name.
    NoSuchRole,
    /// No such user.
    NoSuchUser,
    /// No such policy.
    NoSuchPolicy,
    /// No such service account, or it belongs to another user.
    NoSuchServiceAccount,
    /// No such bucket, or it has no policy.
    NoSuchBucket,
    /// The bucket has no such lifecycle rule.
    NoSuchRule,
    /// There is a bucket or a directory of this name.
    BucketExists,
    /// The bucket holds objects or files of other programs.
    BucketNotEmpty,
    /// The name is in use by a user or a service account.
    UserExists,
    /// The policy exists and replacing it was not asked for.
    PolicyExists,
    /// The policy is attached to users.
    PolicyInUse,
    /// The policy is built in and cannot change.
    PolicyBuiltIn,
    /// One of the count limits of [`record`] is reached.
    LimitExceeded,
    /// The caller may not do this.
    AccessDenied,
    /// No such control route.
    NoSuchRoute,
    /// The route exists but not with this method.
    MethodNotAllowed,
    /// The body exceeds [`admin::BODY_BYTES_MAX`].
    BodyTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The store could not make the change durable, or the server failed.
    StoreFailure,
}

impl ErrorKind {
    /// The code as it stands in the answer.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "InvalidRequest",
            Self::InvalidName => "InvalidName",
            Self::InvalidSecret => "InvalidSecret",
            Self::InvalidOwner => "InvalidOwner",
            Self::MalformedPolicy => "MalformedPolicy",
            Self::PolicyTooLarge => "PolicyTooLarge",
            Self::MalformedBackup => "MalformedBackup",
            Self::InvalidConfiguration => "InvalidConfiguration",
            Self::StoreNotEmpty => "StoreNotEmpty",
            Self::NoSuchRole => "NoSuchRole",
            Self::NoSuchUser => "NoSuchUser",
            Self::NoSuchPolicy => "NoSuchPolicy",
            Self::NoSuchServiceAccount => "NoSuchServiceAccount",
            Self::NoSuchBucket => "NoSuchBucket",
            Self::NoSuchRule => "NoSuchRule",
            Self::BucketExists => "BucketExists",
            Self::BucketNotEmpty => "BucketNotEmpty",
            Self::UserExists => "UserExists",
            Self::PolicyExists => "PolicyExists",
            Self::PolicyInUse => "PolicyInUse",
            Self::PolicyBuiltIn => "PolicyBuiltIn",
            Self::LimitExceeded => "LimitExceeded",
            Self::AccessDenied => "AccessDenied",
            Self::NoSuchRoute => "NoSuchRoute",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::BodyTooLarge => "BodyTooLarge",
            Self::RequestTimeout => "RequestTimeout",
            Self::StoreFailure => "StoreFailure",
        }
    }

    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest
            | Self::InvalidName
            | Self::InvalidSecret
            | Self::InvalidOwner
            | Self::MalformedPolicy
            | Self::MalformedBackup
            | Self::InvalidConfiguration
            | Self::PolicyTooLarge => 400,
            Self::AccessDenied => 403,
            Self::NoSuchUser
            | Self::NoSuchPolicy
            | Self::NoSuchServiceAccount
            | Self::NoSuchRole
            | Self::NoSuchBucket
            | Self::NoSuchRule
            | Self::NoSuchRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::UserExists
            | Self::StoreNotEmpty
            | Self::BucketExists
            | Self::BucketNotEmpty
            | Self::PolicyExists
            | Self::PolicyInUse
            | Self::PolicyBuiltIn
            | Self::LimitExceeded => 409,
            Self::BodyTooLarge => 413,
            Self::StoreFailure => 500,
        }
    }
}

/// Why the control plane could not start: the problem, its likely cause and what to do, in full sentences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartError(pub String);

impl StartError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
