//! Calls of STS on the S3 endpoint: `POST /` with a form.
//!
//! What a call says and who gets credentials is decided in [`crate::sts`]; here it meets the request, and answers become
//! XML. Nothing is written: a token carries its session, so a burst of calls costs no disk.
//!
//! Spec: AWS STS API reference, version 2011-06-15; "Query API errors" for the form of errors.

use super::access::Authorized;
use super::context::{Ctx, RequestId};
use super::error::{Code, S3Error};
use super::reply::Reply;
use super::xml::Writer;
use crate::codec::dates::Timestamp;
use crate::iam::{ACCOUNT, Action};
use crate::sts::session::{session_arn, user_id};
use crate::sts::{Call, Issued, Refusal, TOKEN_ID_BYTES, Wanted, issue};

/// `POST /` with a form.
pub fn answer(ctx: &Ctx<'_>, _permit: Authorized<()>) -> Result<Reply, S3Error> {
    let call = match Call::parse(ctx.form.as_deref().unwrap_or_default()) {
        Ok(call) => call,
        Err(refusal) => return Ok(refused(&refusal, ctx.now, ctx.request_id)),
    };
    let outcome = match &call {
        Call::AssumeRole(wanted) => credentials(ctx, Action::AssumeRole, wanted)?,
        Call::GetSessionToken(wanted) => credentials(ctx, Action::GetSessionToken, wanted)?,
        Call::GetCallerIdentity => identity(ctx),
    };
    let document = match outcome {
        Ok(document) => document,
        Err(refusal) => return Ok(refused(&refusal, ctx.now, ctx.request_id)),
    };
    let mut reply = Reply::new(ctx, 200);
    // Credentials belong into no cache.
    reply.header("Cache-Control", b"no-store").header("Content-Type", b"text/xml");
    reply.body = super::reply::Body::Bytes(document.into());
    Ok(reply)
}

/// The answer to a call that was refused before it was read: its signature, its keys, its size.
pub fn refuse(error: &S3Error, now: Timestamp, request_id: RequestId) -> Reply {
    let (name, status) = match error.code() {
        // The names that STS has for what S3 calls otherwise.
        Code::InvalidAccessKeyId | Code::InvalidToken => ("InvalidClientTokenId", 403),
        Code::ExpiredToken => ("ExpiredToken", 400),
        Code::AuthorizationHeaderMalformed | Code::AuthorizationQueryParametersError => {
            ("IncompleteSignature", 400)
        }
        code => (code.name(), code.status()),
    };
    let mut reply = Reply::begin(status, now, request_id);
    if let Some(seconds) = error.code().retry_after_seconds() {
        reply.decimal("Retry-After", seconds.into());
    }
    write_error(reply, name, error.message(), request_id)
}

fn refused(refusal: &Refusal, now: Timestamp, request_id: RequestId) -> Reply {
    let reply = Reply::begin(refusal.code.status(), now, request_id);
    write_error(reply, refusal.code.name(), &refusal.message, request_id)
}

fn write_error(mut reply: Reply, code: &str, message: &str, request_id: RequestId) -> Reply {
    let fault = if reply.status() < 500 { "Sender" } else { "Receiver" };
    let mut document = Vec::with_capacity(512);
    let mut writer = Writer::document(&mut document);
    writer.open_root_in("ErrorResponse", NAMESPACE);
    writer.open("Error");
    writer.text("Type", fault);
    writer.text("Code", code);
    writer.text("Message", message);
    writer.close("Error");
    writer.text("RequestId", request_id.as_str());
    writer.close("ErrorResponse");
    reply.header("Content-Type", b"text/xml");
    reply.body = super::reply::Body::Bytes(document.into());
    reply
}

/// The answer to AssumeRole and GetSessionToken.
fn credentials(ctx: &Ctx<'_>, action: Action, wanted: &Wanted) -> Result<Result<Vec<u8>, Refusal>, S3Error> {
    let mut id = [0; TOKEN_ID_BYTES];
    getrandom::fill(&mut id).map_err(|error| {
        tracing::error!(%error, "the system gives no randomness");
        Code::InternalError
    })?;
    let key = ctx.caller.snapshot().token_key().ok_or(Code::InternalError)?;
    let requester = ctx.caller.requester();
    let issued = ctx.caller.with_context(|context| issue(action, wanted, requester, context, key, &id));
    let issued = match issued {
        Ok(issued) => issued,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let user = ctx.caller.user().ok_or(Code::InternalError)?;
    tracing::info!(
        user = &*user.name,
        access_key = issued.sealed.access_key,
        session = wanted.session_name,
        seconds = wanted.duration_seconds,
        limited = wanted.policy.is_some(),
        "made temporary credentials"
    );
    let assumed = (action == Action::AssumeRole).then(|| Assumed {
        id: user_id(&user.unique_id, &wanted.session_name),
        arn: session_arn(&user.name, &wanted.session_name),
    });
    Ok(Ok(write_credentials(&issued, assumed.as_ref(), ctx.request_id)))
}

/// `AssumedRoleUser`.
struct Assumed {
    id: Box<str>,
    arn: Box<str>,
}

fn write_credentials(issued: &Issued, assumed: Option<&Assumed>, request_id: RequestId) -> Vec<u8> {
    let mut document = Vec::with_capacity(1024 + issued.sealed.token.len());
    let action = if assumed.is_some() { "AssumeRole" } else { "GetSessionToken" };
    let mut writer = open(&mut document, action);
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
    close(writer, action, request_id);
    document
}

/// The answer to GetCallerIdentity, which needs no permission.
fn identity(ctx: &Ctx<'_>) -> Result<Vec<u8>, Refusal> {
    let Some(user) = ctx.caller.user() else {
        return Err(crate::sts::Code::MissingAuthenticationToken
            .because("Request is missing Authentication Token. Sign it for the service sts."));
    };
    let of_user = || format!("arn:aws:iam::{ACCOUNT}:user/{}", user.name);
    let session = ctx.caller.session();
    let arn = session.and_then(|session| session.arn.as_deref()).map_or_else(of_user, str::to_owned);
    let id = session.map_or(&*user.unique_id, |session| &session.user_id);
    let mut document = Vec::with_capacity(512);
    let mut writer = open(&mut document, "GetCallerIdentity");
    writer.text("Arn", arn);
    writer.text("UserId", id);
    writer.text("Account", ACCOUNT);
    close(writer, "GetCallerIdentity", ctx.request_id);
    Ok(document)
}

fn open<'o>(document: &'o mut Vec<u8>, action: &str) -> Writer<'o> {
    let mut writer = Writer::document(document);
    writer.open_root_in(&format!("{action}Response"), NAMESPACE);
    writer.open(&format!("{action}Result"));
    writer
}

fn close(mut writer: Writer<'_>, action: &str, request_id: RequestId) {
    writer.close(&format!("{action}Result"));
    writer.open("ResponseMetadata");
    writer.text("RequestId", request_id.as_str());
    writer.close("ResponseMetadata");
    writer.close(&format!("{action}Response"));
}

/// `2013-05-24T00:00:00Z`: sessions end at whole seconds.
fn iso8601(time: Timestamp) -> Vec<u8> {
    [&time.iso8601_millis()[..19], b"Z"].concat()
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
