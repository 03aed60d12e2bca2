//! Calls of STS on the S3 endpoint: `POST /` with a form.
//!
//! What a call says and who gets credentials is decided in [`crate::sts`]; here it meets the request, and answers become
//! XML. Nothing is written: a token carries its session, so a burst of calls costs no disk.
//!
//! Spec: AWS STS API reference, version 2011-06-15.

use super::access::Authorized;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::query_answer::{STS, document, iso8601, refused, reply};
use super::reply::Reply;
use crate::iam::Action;
use crate::query_api::{Code as QueryCode, Refusal};
use crate::sts::session::{session_arn, user_id};
use crate::sts::{Call, Issued, TOKEN_ID_BYTES, Wanted, issue, issue_of_role, role_named};

/// `POST /` with a form.
pub fn answer(ctx: &Ctx<'_>, _permit: Authorized<()>) -> Result<Reply, S3Error> {
    let call = match Call::parse(ctx.form.as_deref().unwrap_or_default()) {
        Ok(call) => call,
        Err(refusal) => return Ok(refused(STS, &refusal, ctx)),
    };
    let outcome = match &call {
        Call::AssumeRole(wanted) => credentials(ctx, Action::AssumeRole, wanted)?,
        Call::GetSessionToken(wanted) => credentials(ctx, Action::GetSessionToken, wanted)?,
        Call::GetCallerIdentity => identity(ctx),
    };
    Ok(match outcome {
        Ok(document) => reply(ctx, document),
        Err(refusal) => refused(STS, &refusal, ctx),
    })
}

/// The answer to AssumeRole and GetSessionToken.
fn credentials(ctx: &Ctx<'_>, action: Action, wanted: &Wanted) -> Result<Result<Vec<u8>, Refusal>, S3Error> {
    let mut id = [0; TOKEN_ID_BYTES];
    getrandom::fill(&mut id).map_err(|error| {
        tracing::error!(%error, "the system gives no randomness");
        Code::InternalError
    })?;
    let snapshot = ctx.caller.snapshot();
    let key = snapshot.token_key().ok_or(Code::InternalError)?;
    let requester = ctx.caller.requester();
    let role = match role_named(wanted, requester, snapshot) {
        Ok(role) => role,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let issued = ctx.caller.with_context(|context| match role {
        Some(role) => issue_of_role(role, wanted, requester, context, key, &id),
        None => issue(action, wanted, requester, context, key, &id),
    });
    let issued = match issued {
        Ok(issued) => issued,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let user = ctx.caller.user().ok_or(Code::InternalError)?;
    tracing::info!(
        user = &*user.name,
        role = role.map(|role| &*role.name),
        access_key = issued.sealed.access_key,
        session = wanted.session_name,
        seconds = wanted.duration_seconds,
        limited = wanted.policy.is_some(),
        "made temporary credentials"
    );
    let (principal, assumed, unique_id) = match role {
        Some(role) => (&role.principal, &role.name, &role.unique_id),
        None => (&user.principal, &user.name, &user.unique_id),
    };
    let assumed = (action == Action::AssumeRole).then(|| Assumed {
        id: user_id(unique_id, &wanted.session_name),
        arn: session_arn(&principal.account, assumed, &wanted.session_name),
    });
    Ok(Ok(write_credentials(ctx, &issued, assumed.as_ref())))
}

/// `AssumedRoleUser`.
struct Assumed {
    id: Box<str>,
    arn: Box<str>,
}

fn write_credentials(ctx: &Ctx<'_>, issued: &Issued, assumed: Option<&Assumed>) -> Vec<u8> {
    let action = if assumed.is_some() { "AssumeRole" } else { "GetSessionToken" };
    document(
        STS,
        action,
        ctx.request_id,
        Some(&mut |writer| {
            writer.open("Credentials");
            writer.text("AccessKeyId", &issued.sealed.access_key);
            writer.text("SecretAccessKey", issued.sealed.secret.expose());
            writer.text("SessionToken", &issued.sealed.token);
            writer.text("Expiration", iso8601(issued.expires));
            writer.close("Credentials");
            if let Some(assumed) = assumed {
                writer.open("AssumedRoleUser");
                writer.text("AssumedRoleId", assumed.id.as_bytes());
                writer.text("Arn", assumed.arn.as_bytes());
                writer.close("AssumedRoleUser");
            }
        }),
    )
}

/// The answer to GetCallerIdentity, which needs no permission.
fn identity(ctx: &Ctx<'_>) -> Result<Vec<u8>, Refusal> {
    let (Some(user), Some(principal)) = (ctx.caller.user(), ctx.caller.principal()) else {
        return Err(QueryCode::MissingAuthenticationToken
            .because("Request is missing Authentication Token. Sign it for the service sts."));
    };
    let session = ctx.caller.session();
    let arn = session.and_then(|session| session.arn.as_deref()).unwrap_or(&principal.arn);
    let id = match session {
        // The session of GetSessionToken is the user itself.
        Some(session) if session.arn.is_some() => &session.user_id,
        _ if principal.is_root => &*principal.account,
        _ => &*user.unique_id,
    };
    let result = document(
        STS,
        "GetCallerIdentity",
        ctx.request_id,
        Some(&mut |writer| {
            writer.text("Arn", arn);
            writer.text("UserId", id);
            writer.text("Account", &*principal.account);
        }),
    );
    Ok(result)
}
