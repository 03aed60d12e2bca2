//! Identity and access: the policy language of AWS IAM, decisions, and the principals they are made for.
//!
//! Reading order: [`action`] names what can be allowed, [`key`] and [`context`] what is known of a request,
//! [`document`] parses policies strictly, [`compile`] turns them into rules, [`decide()`] answers, [`principal`] is what
//! the data plane looks up; [`acl`] are the lists beside the policies. Inside, `pattern`, `condition` and `caller` are the three things a statement matches.
//!
//! Nothing here does I/O, reads a clock or randomness, or logs: bytes and values in, values out.

pub mod acl;
pub mod action;
#[cfg(any(test, fuzzing))]
pub mod agreement;
mod builtin;
mod caller;
pub mod compile;
mod condition;
pub mod context;
pub mod decide;
pub mod document;
mod element;
mod explain;
pub mod given;
mod json;
pub mod key;
mod operand;
pub mod operator;
#[cfg(any(test, fuzzing))]
mod oracle;
mod pattern;
mod preset;
pub mod principal;
mod public;
pub mod refusal;

pub use action::{Action, ActionSet, ResourceKind};
pub use builtin::{BUILT_IN_POLICIES, built_in_policy};
pub use compile::{Policy, Reads};
pub use context::{AuthType, Context, PrincipalType, Tag};
pub use decide::{By, Decision, Layer, Request, decide, decide_trust};
pub use document::{BUCKET_POLICY_BYTES_MAX, Document, Effect, Kind, POLICY_BYTES_MAX, Version};
pub use given::Given;
pub use preset::Preset;
pub use principal::{
    ACCOUNT, Credential, CredentialKind, PosixOwner, PrincipalName, Role, Secret, Snapshot, SnapshotBuilder,
    User,
};
pub use refusal::{PolicyError, Reason};
