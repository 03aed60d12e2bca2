//! The answers of the AWS query protocol: XML around the results of STS and IAM, and their form of errors.
//!
//! Spec: AWS STS and IAM API references, "Making query requests", "Common errors".

use super::context::{Ctx, RequestId};
use super::error::{Code, S3Error};
use super::reply::{Body, Reply};
use super::xml::Writer;
use crate::codec::dates::Timestamp;
use crate::query_api::Refusal;

/// An API that speaks this protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Api {
    namespace: &'static str,
}

/// AWS STS.
pub const STS: Api = Api { namespace: "https://sts.amazonaws.com/doc/2011-06-15/" };
/// AWS IAM.
pub const IAM: Api = Api { namespace: "https://iam.amazonaws.com/doc/2010-05-08/" };

/// The answer with this document.
pub fn reply(ctx: &Ctx<'_>, document: Vec<u8>) -> Reply {
    let mut reply = Reply::new(ctx, 200);
    // Credentials belong into no cache.
    reply.header("Cache-Control", b"no-store").header("Content-Type", b"text/xml");
    reply.body = Body::Bytes(document.into());
    reply
}

/// The document of a call that was carried out; `write` writes its result, if the call has one.
pub fn document(
    api: Api,
    action: &str,
    request_id: RequestId,
    write: Option<&mut dyn FnMut(&mut Writer<'_>)>,
) -> Vec<u8> {
    let mut document = Vec::with_capacity(1024);
    let mut writer = Writer::document(&mut document);
    let (response, result) = (format!("{action}Response"), format!("{action}Result"));
    writer.open_root_in(&response, api.namespace);
    if let Some(write) = write {
        writer.open(&result);
        write(&mut writer);
        writer.close(&result);
    }
    writer.open("ResponseMetadata");
    writer.text("RequestId", request_id.as_str());
    writer.close("ResponseMetadata");
    writer.close(&response);
    document
}

/// The answer to a call that was refused before it was read: its signature, its keys, its size.
pub fn refuse(api: Api, error: &S3Error, now: Timestamp, request_id: RequestId) -> Reply {
    let (name, status) = match error.code() {
        // The names that STS and IAM have for what S3 calls otherwise.
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
    write_error(api, reply, name, error.message(), request_id)
}

/// The answer to a call that was read and refused.
pub fn refused(api: Api, refusal: &Refusal, ctx: &Ctx<'_>) -> Reply {
    let reply = Reply::new(ctx, refusal.code.status());
    write_error(api, reply, refusal.code.name(), &refusal.message, ctx.request_id)
}

fn write_error(
    api: Api,
    mut reply: Reply,
    code: &'static str,
    message: &str,
    request_id: RequestId,
) -> Reply {
    reply.set_code(code);
    let fault = if reply.status() < 500 { "Sender" } else { "Receiver" };
    let mut document = Vec::with_capacity(512);
    let mut writer = Writer::document(&mut document);
    writer.open_root_in("ErrorResponse", api.namespace);
    writer.open("Error");
    writer.text("Type", fault);
    writer.text("Code", code);
    writer.text("Message", message);
    writer.close("Error");
    writer.text("RequestId", request_id.as_str());
    writer.close("ErrorResponse");
    reply.header("Content-Type", b"text/xml");
    reply.body = Body::Bytes(document.into());
    reply
}

/// `2013-05-24T00:00:00Z`: these APIs know whole seconds.
pub fn iso8601(time: Timestamp) -> Vec<u8> {
    [&time.iso8601_millis()[..19], b"Z"].concat()
}
