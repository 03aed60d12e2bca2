//! Who gets temporary credentials, and which.
//!
//! Only a user with its own keys and with a policy gets them: a user that may do nothing may not do this either, a
//! session gets no further session (it would outlive its end), and service accounts have keys that never end. No policy
//! has to allow the call, but an explicit Deny of `sts:AssumeRole` or `sts:GetSessionToken` in the user's policy holds.
//!
//! A role is assumed by whom its trust policy lets, also by users without a policy if it names them: then the
//! session has the permissions of the role in place of the user's. A `RoleArn` in the server's own account names a role,
//! and if there is none, nobody may assume it: to give a session of the caller instead would give more than was asked
//! for. Any other ARN without a role is ignored, and the session is the caller's, as with WEKA S3.
//!
//! Spec: AWS STS API reference, AssumeRole and GetSessionToken; WEKA S3, "Manage S3 users and authentication".

use super::form::Wanted;
use super::token::{Grant, Sealed, TOKEN_ID_BYTES, seal};
use crate::codec::dates::Timestamp;
use crate::iam::{
    Action, Context, Decision, Document, Kind, Reason, Request, Role, Secret, Snapshot, User, decide,
    decide_trust,
};
use crate::query_api::{Code, Refusal};

/// Who signed the call.
#[derive(Clone, Copy, Debug)]
pub enum Requester<'a> {
    /// Nobody.
    Anonymous,
    /// A user, with its own keys.
    User(&'a User),
    /// A service account of this user.
    ServiceAccount(&'a User),
    /// A session of this user.
    Session(&'a User),
}

/// New temporary credentials.
#[derive(Debug)]
pub struct Issued {
    /// Access key, secret and token.
    pub sealed: Sealed,
    /// From when on they are dead; whole seconds.
    pub expires: Timestamp,
}

/// Makes temporary credentials. `action` is the permission that a policy may deny, `context` what its conditions see,
/// `key` the key of tokens, and `id` random.
///
/// # Errors
/// `AccessDenied` for everybody but users with a policy, `MissingAuthenticationToken` for anonymous calls;
/// `MalformedPolicyDocument` with what is wrong in the session policy, and where.
pub fn issue(
    action: Action,
    wanted: &Wanted,
    requester: Requester<'_>,
    context: &Context<'_>,
    key: &Secret,
    id: &[u8; TOKEN_ID_BYTES],
) -> Result<Issued, Refusal> {
    let user = entitled(action, requester, context)?;
    make(wanted, user, "", context, key, id)
}

/// Makes temporary credentials for a role. Otherwise as [`issue`].
///
/// # Errors
/// `AccessDenied` for everybody but users whom the trust policy lets; `ValidationError` for a session longer than the
/// role's may be; and as [`issue`].
pub fn issue_of_role(
    role: &Role,
    wanted: &Wanted,
    requester: Requester<'_>,
    context: &Context<'_>,
    key: &Secret,
    id: &[u8; TOKEN_ID_BYTES],
) -> Result<Issued, Refusal> {
    let user = user_of(requester)?;
    if user.principal.is_root {
        return Err(Code::AccessDenied.because("Roles may not be assumed by root accounts."));
    }
    let context = Context {
        external_id: wanted.external_id.as_deref(),
        role_session_name: Some(&wanted.session_name),
        ..*context
    };
    let request =
        Request { action: Action::AssumeRole, bucket: &role.principal.arn, key: b"", context: &context };
    if !decide_trust(user.policy.as_deref(), &role.trust, &request).is_allowed() {
        return Err(may_not_assume(user, &role.principal.arn));
    }
    if wanted.duration_seconds > role.session_seconds_max {
        return Err(Code::ValidationError.because(format!(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role, {}.",
            role.session_seconds_max
        )));
    }
    make(wanted, user, &role.unique_id, &context, key, id)
}

/// The role that the call names; none if its ARN can name none.
///
/// # Errors
/// `AccessDenied` if there is no such role, in the same words as for a role that does not trust the caller.
pub fn role_named<'s>(
    wanted: &Wanted,
    requester: Requester<'_>,
    snapshot: &'s Snapshot,
) -> Result<Option<&'s Role>, Refusal> {
    let Some(arn) = &wanted.role_arn else { return Ok(None) };
    let parts = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(':'));
    let Some((account, resource)) = parts.filter(|(_, resource)| resource.starts_with("role/")) else {
        return Ok(None);
    };
    let own = account.is_empty() || account == snapshot.account();
    let account = if own { snapshot.account() } else { account };
    let arn = format!("arn:aws:iam::{account}:{resource}");
    match snapshot.role_by_arn(&arn) {
        Some(role) => Ok(Some(role)),
        None if own => Err(may_not_assume(user_of(requester)?, &arn)),
        None => Ok(None),
    }
}

fn may_not_assume(user: &User, arn: &str) -> Refusal {
    Code::AccessDenied.because(format!(
        "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
        user.principal.arn
    ))
}

fn make(
    wanted: &Wanted,
    user: &User,
    role_id: &str,
    context: &Context<'_>,
    key: &Secret,
    id: &[u8; TOKEN_ID_BYTES],
) -> Result<Issued, Refusal> {
    if let Some(policy) = &wanted.policy {
        check_policy(policy)?;
    }
    // The token knows whole seconds; so does its end.
    let issued = Timestamp::from_seconds(context.now.map_or(0, |now| now.seconds));
    let expires = Timestamp::from_seconds(issued.seconds.saturating_add(wanted.duration_seconds.into()));
    let grant = Grant {
        unique_id: &user.unique_id,
        role_id,
        session_name: &wanted.session_name,
        issued,
        expires,
        policy: wanted.policy.as_deref(),
    };
    Ok(Issued { sealed: seal(key, id, &grant), expires })
}

/// The user who signed with its own keys.
fn user_of(requester: Requester<'_>) -> Result<&User, Refusal> {
    match requester {
        Requester::User(user) => Ok(user),
        Requester::Anonymous => Err(Code::MissingAuthenticationToken
            .because("Request is missing Authentication Token. Sign it for the service sts.")),
        Requester::ServiceAccount(user) => Err(Code::AccessDenied.because(format!(
            "A service account of {} gets no temporary credentials. Sign with the keys of the user.",
            user.name
        ))),
        Requester::Session(user) => Err(Code::AccessDenied.because(format!(
            "A session of {} gets no further session. Sign with the keys of the user.",
            user.name
        ))),
    }
}

fn entitled<'a>(
    action: Action,
    requester: Requester<'a>,
    context: &Context<'_>,
) -> Result<&'a User, Refusal> {
    let denied = |why: String| Err(Code::AccessDenied.because(why));
    let user = user_of(requester)?;
    let Some(policy) = &user.policy else {
        return denied(format!(
            "User: {} is not authorized to perform: {}, because it has no policy. A cluster administrator attaches one.",
            user.name,
            action.name()
        ));
    };
    let request = Request { action, bucket: "", key: b"", context };
    match decide(Some(policy), None, None, false, &request) {
        Decision::ExplicitDeny { .. } => denied(format!(
            "User: {} is not authorized to perform: {} with an explicit deny in its policy.",
            user.name,
            action.name()
        )),
        Decision::Allow { .. } | Decision::ImplicitDeny => Ok(user),
    }
}

fn check_policy(policy: &str) -> Result<(), Refusal> {
    match Document::parse(policy.as_bytes(), Kind::Session) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.reason {
            Reason::TooLarge => Code::PackedPolicyTooLarge,
            Reason::Malformed => Code::MalformedPolicyDocument,
        }
        .because(format!("The session policy is malformed. In {error}"))),
    }
}

#[cfg(test)]
mod tests;
