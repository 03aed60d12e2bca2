//! `policy simulate`: what the running server would decide, by the very policies it decides with.
//!
//! The policies are those of the snapshot; a session policy and another bucket policy may be tried in their place. Of the
//! context only what holds for every request of the user is filled in; everything else is given by the caller, and
//! absent without.

use super::identity::now;
use super::{Error, ErrorKind, wire};
use crate::codec::dates::Timestamp;
use crate::iam::{
    Action, Context, Decision, Document, Given, Kind, Layer, Policy, PrincipalType, Request, ResourceKind,
    Snapshot, decide,
};

use crate::storage::BucketName;

/// Decides one request.
///
/// # Errors
/// `NoSuchUser`, `MalformedPolicy`, `PolicyTooLarge`, `InvalidRequest`.
pub fn run(snapshot: &Snapshot, asked: &wire::Simulate) -> Result<wire::Simulated, Error> {
    let user = snapshot.user_by_name(&asked.user).ok_or_else(|| {
        let message = format!("there is no user {:?}; `sluicegate user list` shows all", asked.user);
        Error::new(ErrorKind::NoSuchUser, message)
    })?;
    let action = Action::from_name(&asked.action)
        .ok_or_else(|| invalid(format!("there is no action {:?}; one is s3:GetObject", asked.action)))?;
    let (bucket, key) = resource(action, &asked.resource)?;
    let session = asked.session_policy.as_deref().map(|text| compile(text, Kind::Session)).transpose()?;
    let tried = asked.bucket_policy.as_deref().map(|text| compile(text, Kind::Bucket(bucket))).transpose()?;
    let stored = snapshot.bucket_policy(bucket).map(|policy| &**policy);
    let mut given = Given::default();
    for (name, value) in &asked.context {
        given.add(name, value).map_err(invalid)?;
    }
    let base = Context {
        principal_type: Some(PrincipalType::User),
        username: Some(&user.name),
        userid: Some(&user.unique_id),
        principal_arn: Some(&user.principal.arn),
        account: Some(snapshot.account()).filter(|account| !account.is_empty()),
        principal_account: Some(&*user.principal.account).filter(|account| !account.is_empty()),
        now: Some(Timestamp::from_seconds(now())),
        ..Context::default()
    };
    Ok(given.with(&base, |context| {
        let request = Request { action, bucket, key: key.as_bytes(), context };
        let decision =
            decide(user.policy.as_deref(), session.as_ref(), tried.as_ref().or(stored), false, &request);
        show(decision, &user.policy_names)
    }))
}

fn show(decision: Decision<'_>, names: &[std::sync::Arc<str>]) -> wire::Simulated {
    let by = decision.by();
    wire::Simulated {
        allowed: decision.is_allowed(),
        decision: decision.to_string(),
        layer: by.map(|by| {
            let name = match by.layer {
                Layer::Identity => "identity",
                Layer::Session => "session",
                Layer::Bucket => "bucket",
                Layer::Trust => "trust",
            };
            name.to_owned()
        }),
        policy: by
            .filter(|by| by.layer == Layer::Identity)
            .and_then(|by| names.get(by.document))
            .map(|name| name.to_string()),
        statement: by.map(|by| by.statement),
        sid: by.and_then(|by| by.sid).map(str::to_owned),
    }
}

/// The bucket and the key of an ARN, which must be what the action acts on.
fn resource(action: Action, arn: &str) -> Result<(&str, &str), Error> {
    let name = action.name();
    let wrong = |expected: &str| Err(invalid(format!("{name} does not act on {arn:?}, but on {expected}")));
    let resource = arn.strip_prefix("arn:aws:s3:::").or((arn == "*").then_some("*"));
    if action.resource_kind() == ResourceKind::Entity {
        let is_entity = arn.starts_with("arn:aws:iam::") && arn.splitn(6, ':').count() == 6;
        return if is_entity {
            Ok((arn, ""))
        } else {
            wrong("a user or role: arn:aws:iam::ACCOUNT:user/NAME")
        };
    }
    let Some(resource) = resource else { return wrong("arn:aws:s3:::BUCKET, arn:aws:s3:::BUCKET/KEY or *") };
    let (bucket, key) =
        resource.split_once('/').map_or((resource, None), |(bucket, key)| (bucket, Some(key)));
    let is_bucket = BucketName::parse(bucket.as_bytes()).is_ok();
    match (action.resource_kind(), key) {
        (ResourceKind::Account, None) if bucket == "*" => Ok(("", "")),
        (ResourceKind::Bucket, None) if is_bucket => Ok((bucket, "")),
        (ResourceKind::Object, Some(key)) if is_bucket && !key.is_empty() => Ok((bucket, key)),
        (ResourceKind::Account | ResourceKind::Entity, _) => wrong("*"),
        (ResourceKind::Bucket, _) => wrong("a bucket: arn:aws:s3:::BUCKET"),
        (ResourceKind::Object, _) => wrong("an object: arn:aws:s3:::BUCKET/KEY"),
    }
}

fn compile(text: &str, kind: Kind<'_>) -> Result<Policy, Error> {
    let document = Document::parse(text.as_bytes(), kind)
        .map_err(|error| Error::new(ErrorKind::MalformedPolicy, error.to_string()))?;
    Ok(Policy::compile(&document))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_fit_their_actions() {
        let check = |action: &str, arn: &str, expected: Option<(&str, &str)>| {
            let action = Action::from_name(action).unwrap();
            assert_eq!(resource(action, arn).ok(), expected, "{action:?} {arn}");
        };
        check("s3:GetObject", "arn:aws:s3:::photos/a/b c", Some(("photos", "a/b c")));
        check("s3:GetObject", "arn:aws:s3:::photos", None);
        check("s3:GetObject", "arn:aws:s3:::photos/", None);
        check("s3:GetObject", "photos/a", None);
        check("s3:ListBucket", "arn:aws:s3:::photos", Some(("photos", "")));
        check("s3:ListBucket", "arn:aws:s3:::photos/a", None);
        check("s3:ListBucket", "arn:aws:s3:::Photos*", None);
        check("s3:ListAllMyBuckets", "*", Some(("", "")));
        check("s3:ListAllMyBuckets", "arn:aws:s3:::*", Some(("", "")));
        check("s3:ListAllMyBuckets", "arn:aws:s3:::photos", None);
        let alice = "arn:aws:iam::123456789012:user/alice";
        check("iam:GetUser", alice, Some((alice, "")));
        check("iam:GetUser", "arn:aws:s3:::photos", None);
        check("iam:GetUser", "*", None);
    }
}
