//! The IAM API of AWS, as far as this server has it: users with access keys, roles, and inline policies of both.
//!
//! [`call`] reads a call, [`answer`] is what comes back, [`names`] the rules for names, paths and accounts. What a call
//! does is decided in the control plane ([`crate::control::identity`]), whether it may be made in [`crate::s3`] by the
//! caller's policies: `iam:*` is the power of an administrator, and only the cluster admin attaches policies.
//!
//! Nothing here does I/O, reads a clock or randomness, or logs.
//!
//! Spec: AWS IAM API reference, version 2010-05-08. Deliberately different: names of users are unique in their case,
//! because they are access keys of the users that the cluster admin makes; managed policies are attached by the cluster
//! admin only; there are no groups, tags, permission boundaries and identity providers.

pub mod answer;
pub mod call;
pub mod names;

use std::sync::Arc;

pub use answer::{AccessKeyShown, Answer, Page, RoleShown, UserShown};
pub use call::{Call, Change, Holder, Paging};

use crate::iam::{PosixOwner, User};

/// Who makes a call.
#[derive(Clone, Debug)]
pub struct By {
    /// The account it acts in: entities of others do not exist for it.
    pub account: Arc<str>,
    /// The user that a call without the name of a user is about; none for the session of a role.
    pub user: Option<Arc<User>>,
    /// Owner of the files of users that it makes.
    pub owner: PosixOwner,
}

impl By {
    /// Whom logs name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.user.as_ref().map_or("the session of a role", |user| &user.name)
    }
}
