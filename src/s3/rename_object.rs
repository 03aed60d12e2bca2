//! RenameObject: another key for an object of the same bucket, by one rename of its file.
//!
//! A bucket that keeps versions, or did once, refuses it, as AWS does: a version has one key.
//!
//! AWS offers this in directory buckets, with sessions of S3 Express One Zone. Here every bucket has it, and the caller
//! needs what the same result would take otherwise: GetObject and DeleteObject on the old key, PutObject on the new one.
//!
//! `x-amz-client-token`, which SDKs send by themselves, makes a second try of a rename that succeeded succeed. The
//! server remembers the last [`RENAMES_REMEMBERED_MAX`] of them in memory: after a restart a second try finds no object
//! under the old key, and says so.
//!
//! Spec: RenameObject in the Amazon S3 API reference.

use std::collections::VecDeque;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::access::Authorized;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::get_object::missing;
use super::operation::RenameObject;
use super::put_object::{holds, owner};
use super::reply::Reply;
use crate::codec::dates::Timestamp;
use crate::http::conditional::{ReadConditions, ReadOutcome, Validators, WriteConditions};
use crate::http::head::Head;
use crate::limits::RENAMES_REMEMBERED_MAX;
use crate::storage::Versioning;
use crate::storage::object::{self, Object};
use crate::storage::rename::rename;

/// `PUT /bucket/key?renameObject`.
pub async fn rename_object(ctx: &Ctx<'_>, operation: Authorized<RenameObject>) -> Result<Reply, S3Error> {
    let RenameObject { bucket: name, key, source } = operation.into_inner();
    let token = client_token(ctx.head)?;
    let parameters = digest(&[name.as_bytes(), source.as_bytes(), key.as_bytes()]);
    let token = token.map(|token| digest(&[ctx.caller.unique_id().as_bytes(), token]));
    match token.and_then(|token| ctx.service.renames.find(&token)) {
        Some(done) if done == parameters => return Ok(Reply::new(ctx, 200)),
        Some(_) => return Err(Code::IdempotencyParameterMismatch.into()),
        None => {}
    }
    let root = &ctx.service.root;
    let owner = owner(ctx)?;
    let bucket = ctx.bucket(&name)?;
    if root.versioning(&name) != Versioning::Unversioned {
        return Err(Code::InvalidRequest.because(
            "RenameObject is for buckets without versioning: elsewhere copy the object and delete the old key.",
        ));
    }
    let decide = |source: &Object, target: Option<&Object>| -> Result<(), S3Error> {
        source_holds(ctx.head, source)?;
        target_holds(ctx.head, target)
    };
    // Before anything is made for it; decided again, for good, under the locks of both keys.
    match object::open(root, &bucket, &source)? {
        None => return Err(missing(ctx, &name, &source)),
        Some(object) => decide(&object, object::open(root, &bucket, &key)?.as_ref())?,
    }
    let _removing = root.removing();
    let Some(change) = rename(root, &bucket, &source, &key, owner, &decide)?? else {
        return Err(missing(ctx, &name, &source));
    };
    root.commit(&name, change).await?;
    if let Some(token) = token {
        ctx.service.renames.remember(token, parameters);
    }
    Ok(Reply::new(ctx, 200))
}

/// The conditions on the object: all four fail with 412.
fn source_holds(head: &Head, source: &Object) -> Result<(), S3Error> {
    evaluate(&ReadConditions::of_rename_source(head), source)
}

/// The conditions on what has the new key.
fn target_holds(head: &Head, target: Option<&Object>) -> Result<(), S3Error> {
    holds(&WriteConditions::of_request(head), target)?;
    match target {
        Some(target) => evaluate(&ReadConditions::of_request(head), target),
        // What is not there was not modified since.
        None if head.header("if-modified-since").and_then(Timestamp::parse_http).is_some() => {
            Err(S3Error::precondition_failed("If-Modified-Since"))
        }
        None => Ok(()),
    }
}

fn evaluate(conditions: &ReadConditions<'_>, object: &Object) -> Result<(), S3Error> {
    let mut etag = Vec::new();
    object.etag.write_into(&mut etag);
    match conditions.evaluate(&Validators { etag: &etag, last_modified: object.modified }) {
        ReadOutcome::Proceed => Ok(()),
        ReadOutcome::Failed(condition) => Err(S3Error::precondition_failed(condition)),
        ReadOutcome::NotModified => Err(S3Error::precondition_failed("If-Modified-Since")),
    }
}

/// 1 to 64 visible characters of ASCII.
fn client_token(head: &Head) -> Result<Option<&[u8]>, S3Error> {
    match head.header(TOKEN_HEADER) {
        Some(token) if !(1..=64).contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) => {
            Err(S3Error::invalid_argument(
                TOKEN_HEADER,
                String::from_utf8_lossy(token),
                "A client token has 1 to 64 visible characters of ASCII.",
            ))
        }
        token => Ok(token),
    }
}

/// One digest of several texts, none of which can run into the next.
fn digest(texts: &[&[u8]]) -> [u8; 32] {
    let mut state = Sha256::new();
    for text in texts {
        state.update((text.len() as u64).to_le_bytes());
        state.update(text);
    }
    state.finalize().into()
}

/// The renames that succeeded last, by their client tokens: digests of who sent the token and what for.
#[derive(Default)]
pub struct Renames {
    done: Mutex<VecDeque<Done>>,
}

struct Done {
    token: [u8; 32],
    parameters: [u8; 32],
}

impl Renames {
    /// What was renamed with a token.
    fn find(&self, token: &[u8; 32]) -> Option<[u8; 32]> {
        self.done.lock().iter().find(|done| done.token == *token).map(|done| done.parameters)
    }

    fn remember(&self, token: [u8; 32], parameters: [u8; 32]) {
        let mut all = self.done.lock();
        if all.len() == RENAMES_REMEMBERED_MAX {
            all.pop_front();
        }
        all.push_back(Done { token, parameters });
    }
}

const TOKEN_HEADER: &str = "x-amz-client-token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_renames_are_remembered() {
        let renames = Renames::default();
        let text = |number: usize| digest(&[&number.to_le_bytes()]);
        for number in 0..=RENAMES_REMEMBERED_MAX {
            assert_eq!(renames.find(&text(number)), None);
            renames.remember(text(number), text(number + 1));
            assert_eq!(renames.find(&text(number)), Some(text(number + 1)));
        }
        assert_eq!(renames.find(&text(0)), None, "the oldest is forgotten");
        assert_eq!(renames.find(&text(1)), Some(text(2)));
        assert_eq!(renames.done.lock().len(), RENAMES_REMEMBERED_MAX);
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"", b"a"]), digest(&[b"a", b""]));
    }
}
