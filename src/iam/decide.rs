//! The decision: may this request be done?
//!
//! A Deny in any policy binds everyone. Else a signed request needs an Allow of the user's own policy or of the bucket's
//! policy, and, if its credentials carry a session or embedded policy, of that one as well: derived credentials never
//! reach further than they were given. An unsigned request needs an Allow of the bucket's policy. What nothing allows is
//! denied.
//!
//! This is stricter than AWS in one place: there, a bucket policy that names a session bypasses its session policy.
//! Nothing here allocates. Spec: AWS IAM User Guide, "Policy evaluation logic".

use super::action::Action;
use super::compile::{Asked, Policy, Rule};
use super::context::Context;
use super::pattern::Resource;

/// What is asked: an action on a resource under circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The permission that is needed. A call that needs several asks several times.
    pub action: Action,
    /// The bucket; empty at the level of the account. For the actions of IAM, and for a role to be assumed: the ARN of the
    /// user or role.
    pub bucket: &'a str,
    /// The key, decoded; empty at the level of the bucket.
    pub key: &'a [u8],
    /// The values of condition keys and variables.
    pub context: &'a Context<'a>,
}

/// The answer, and which statement gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision<'p> {
    /// Allowed by this statement of the user's or the bucket's policy.
    Allow {
        /// The statement.
        by: By<'p>,
    },
    /// Denied by this statement.
    ExplicitDeny {
        /// The statement.
        by: By<'p>,
    },
    /// Nothing allows it.
    ImplicitDeny,
}

/// A statement of one of the policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct By<'p> {
    /// Which policy.
    pub layer: Layer,
    /// Which of the documents the policy was merged from, from 0.
    pub document: usize,
    /// Which statement of that document, from 0.
    pub statement: usize,
    /// Its `Sid`.
    pub sid: Option<&'p str>,
}

/// The kinds of policy that take part in a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// Attached to the user.
    Identity,
    /// Of a session or embedded in a service account.
    Session,
    /// Of the bucket.
    Bucket,
    /// Of the role that is to be assumed.
    Trust,
}

impl Decision<'_> {
    /// Whether the request may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow { .. })
    }
}

/// Decides a request.
///
/// `identity` is what is attached to the user, `session` what limits the credentials, `bucket` the policy of the bucket
/// that is asked for; each is `None` if there is none. For an `anonymous` request `identity` and `session` never allow.
#[must_use]
pub fn decide<'p>(
    identity: Option<&'p Policy>,
    session: Option<&'p Policy>,
    bucket: Option<&'p Policy>,
    anonymous: bool,
    request: &Request<'_>,
) -> Decision<'p> {
    let mut asked = Asked {
        action: request.action,
        resource: Resource::new(request.bucket.as_bytes(), request.key),
        anonymous,
        context: request.context,
    };
    for (layer, policy) in [(Layer::Identity, identity), (Layer::Session, session), (Layer::Bucket, bucket)] {
        if let Some(rule) = policy.and_then(|policy| policy.denying(&mut asked)) {
            return Decision::ExplicitDeny { by: by(layer, rule) };
        }
    }
    let mut allowing = |layer: Layer, policy: Option<&'p Policy>| {
        let rule = policy?.allowing(&mut asked)?;
        Some(Decision::Allow { by: by(layer, rule) })
    };
    if anonymous {
        return allowing(Layer::Bucket, bucket).unwrap_or(Decision::ImplicitDeny);
    }
    if session.is_some() && allowing(Layer::Session, session).is_none() {
        return Decision::ImplicitDeny;
    }
    allowing(Layer::Identity, identity)
        .or_else(|| allowing(Layer::Bucket, bucket))
        .unwrap_or(Decision::ImplicitDeny)
}

/// Decides whether somebody may assume a role: `identity` is what is attached to whoever asks, `trust` the trust policy
/// of the role, and the resource of the request the role.
///
/// A Deny in either binds. A trust policy that names the caller itself allows it alone; one that trusts everybody or an
/// account leaves it to that account, so that the caller's own policy has to allow it, too.
///
/// Spec: AWS IAM User Guide, "Policies and accounts", "Creating a role to delegate permissions to an IAM user".
#[must_use]
pub fn decide_trust<'p>(
    identity: Option<&'p Policy>,
    trust: &'p Policy,
    request: &Request<'_>,
) -> Decision<'p> {
    let mut asked = Asked {
        action: request.action,
        resource: Resource::new(request.bucket.as_bytes(), request.key),
        anonymous: false,
        context: request.context,
    };
    for (layer, policy) in [(Layer::Identity, identity), (Layer::Trust, Some(trust))] {
        if let Some(rule) = policy.and_then(|policy| policy.denying(&mut asked)) {
            return Decision::ExplicitDeny { by: by(layer, rule) };
        }
    }
    let trusting: Vec<&Rule> = trust.all_allowing(&mut asked).collect();
    if let Some(rule) = trusting.iter().find(|rule| rule.names_individually(&asked)) {
        return Decision::Allow { by: by(Layer::Trust, rule) };
    }
    match identity.and_then(|identity| identity.allowing(&mut asked)) {
        Some(rule) if !trusting.is_empty() => Decision::Allow { by: by(Layer::Identity, rule) },
        _ => Decision::ImplicitDeny,
    }
}

fn by(layer: Layer, rule: &Rule) -> By<'_> {
    By { layer, document: rule.document, statement: rule.statement, sid: rule.sid.as_deref() }
}

#[cfg(test)]
mod tests;
