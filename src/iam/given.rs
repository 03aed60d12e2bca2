//! Condition values given as text, for simulations: `aws:SourceIp=10.0.0.1`.
//!
//! The data plane never comes here: there each value has its one source in the request. What no request of this server
//! carries is refused, so that a simulation never shows what cannot happen.

use std::net::IpAddr;

use super::context::{AuthType, Context, PrincipalType, Tag};
use super::key::{Field, Key, TagSet};
use crate::codec::dates::Timestamp;

/// Condition values by key.
#[derive(Clone, Default, Debug)]
pub struct Given {
    values: Vec<(Field, Text)>,
    tags: Vec<(TagSet, String, String)>,
}

#[derive(Clone, Debug)]
enum Text {
    Plain(String),
    Time(Timestamp),
    Number(u64),
    Days(i64),
    Flag(bool),
    Address(IpAddr),
    Principal(PrincipalType),
    Auth(AuthType),
}

impl Given {
    /// Adds a value. The key of tags (`s3:RequestObjectTagKeys`) may be given several times.
    ///
    /// # Errors
    /// What is wrong with the key or the value, in one sentence.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        let field = match Key::parse(name) {
            None => return Err(format!("there is no condition key {name:?}; check the spelling")),
            Some(Key::NeverPresent) => {
                return Err(format!(
                    "no request on this server has the condition key {name:?}; leave it out"
                ));
            }
            Some(Key::Tag(set, tag)) => {
                if self.tags.iter().any(|(known, key, _)| *known == set && **key == *tag) {
                    return Err(format!("the condition key {name:?} is given twice"));
                }
                self.tags.push((set, tag.into(), value.to_owned()));
                return Ok(());
            }
            Some(Key::TagKeys(set)) => {
                self.tags.push((set, value.to_owned(), String::new()));
                return Ok(());
            }
            Some(Key::Field(field)) => field,
        };
        let wrong = |what: &str| format!("the value {value:?} of the condition key {name:?} is not {what}");
        let time = || {
            Timestamp::parse_iso8601(value.as_bytes())
                .or_else(|| value.parse().ok().map(Timestamp::from_seconds))
                .ok_or_else(|| wrong("a time such as 2026-11-24T00:00:00Z"))
        };
        let text = match field {
            Field::CurrentTime
            | Field::EpochTime
            | Field::TokenIssueTime
            | Field::ObjectLockRetainUntilDate => Text::Time(time()?),
            Field::SecureTransport | Field::ObjectCreationOperation => match value {
                "true" => Text::Flag(true),
                "false" => Text::Flag(false),
                _ => return Err(wrong("true or false")),
            },
            Field::SourceIp => Text::Address(value.parse().map_err(|_| wrong("an IP address"))?),
            Field::SignatureAge | Field::MaxKeys => {
                Text::Number(value.parse().map_err(|_| wrong("a whole number"))?)
            }
            Field::ObjectLockRemainingRetentionDays => {
                Text::Days(value.parse().map_err(|_| wrong("a whole number"))?)
            }
            Field::PrincipalType => Text::Principal(
                [
                    PrincipalType::Anonymous,
                    PrincipalType::User,
                    PrincipalType::AssumedRole,
                    PrincipalType::Account,
                ]
                .into_iter()
                .find(|of| of.name() == value)
                .ok_or_else(|| wrong("Anonymous, User, AssumedRole or Account"))?,
            ),
            Field::AuthType => Text::Auth(
                [AuthType::Header, AuthType::Query, AuthType::Post]
                    .into_iter()
                    .find(|of| of.name() == value)
                    .ok_or_else(|| wrong("REST-HEADER, REST-QUERY-STRING or POST"))?,
            ),
            Field::PrincipalAccount
            | Field::PrincipalIsAwsService
            | Field::ViaAwsService
            | Field::MultiFactorAuthPresent
            | Field::StsAuthentication => {
                return Err(format!("the condition key {name:?} follows from the others; leave it out"));
            }
            _ => Text::Plain(value.to_owned()),
        };
        let same = |known: Field| known == field || (is_time(known) && is_time(field));
        if self.values.iter().any(|(known, _)| same(*known)) {
            return Err(format!("the condition key {name:?} is given twice"));
        }
        self.values.push((field, text));
        Ok(())
    }

    /// Calls `run` with the context in which these values stand in place of those of `base`.
    pub fn with<R>(&self, base: &Context<'_>, run: impl FnOnce(&Context<'_>) -> R) -> R {
        let of = |set: TagSet| -> Vec<Tag<'_>> {
            let tags = self.tags.iter().filter(|(known, ..)| *known == set);
            tags.map(|(_, key, value)| (&**key, &**value)).collect()
        };
        let (existing, request) = (of(TagSet::ExistingObject), of(TagSet::RequestObject));
        let (bucket, request_bucket) = (of(TagSet::Bucket), of(TagSet::RequestBucket));
        let mut context = Context {
            existing_object_tags: &existing,
            request_object_tags: &request,
            bucket_tags: &bucket,
            request_bucket_tags: &request_bucket,
            ..*base
        };
        for (field, text) in &self.values {
            set(&mut context, *field, text);
        }
        run(&context)
    }
}

fn is_time(field: Field) -> bool {
    matches!(field, Field::CurrentTime | Field::EpochTime)
}

fn set<'a>(context: &mut Context<'a>, field: Field, text: &'a Text) {
    match (field, text) {
        (Field::CurrentTime | Field::EpochTime, Text::Time(time)) => context.now = Some(*time),
        (Field::TokenIssueTime, Text::Time(time)) => context.token_issue_time = Some(*time),
        (Field::ObjectLockRetainUntilDate, Text::Time(time)) => {
            context.object_lock_retain_until = Some(*time)
        }
        (Field::SecureTransport, Text::Flag(flag)) => context.secure_transport = Some(*flag),
        (Field::ObjectCreationOperation, Text::Flag(flag)) => context.object_creation_operation = Some(*flag),
        (Field::SourceIp, Text::Address(address)) => context.source_ip = Some(*address),
        (Field::SignatureAge, Text::Number(number)) => context.signature_age_ms = Some(*number),
        (Field::MaxKeys, Text::Number(number)) => context.max_keys = Some(*number),
        (Field::ObjectLockRemainingRetentionDays, Text::Days(days)) => {
            context.object_lock_remaining_days = Some(*days);
        }
        (Field::PrincipalType, Text::Principal(of)) => context.principal_type = Some(*of),
        (Field::AuthType, Text::Auth(of)) => context.auth_type = Some(*of),
        (field, Text::Plain(text)) => set_plain(context, field, text),
        (field, text) => unreachable!("{field:?} is not parsed as {text:?}"),
    }
}

fn set_plain<'a>(context: &mut Context<'a>, field: Field, text: &'a str) {
    let bytes = Some(text.as_bytes());
    match field {
        Field::UserAgent => context.user_agent = bytes,
        Field::Referer => context.referer = bytes,
        Field::UserId => context.userid = Some(text),
        Field::Username => context.username = Some(text),
        Field::PrincipalArn => context.principal_arn = Some(text),
        Field::RequestedRegion => context.requested_region = Some(text),
        Field::ResourceAccount => context.account = Some(text),
        Field::SignatureVersion => context.signature_version = Some(text),
        Field::ContentSha256 => context.content_sha256 = bytes,
        Field::TlsVersion => context.tls_version = Some(text),
        Field::Prefix => context.prefix = bytes,
        Field::Delimiter => context.delimiter = bytes,
        Field::VersionId => context.version_id = bytes,
        Field::Acl => context.acl = bytes,
        Field::GrantRead => context.grant_read = bytes,
        Field::GrantWrite => context.grant_write = bytes,
        Field::GrantReadAcp => context.grant_read_acp = bytes,
        Field::GrantWriteAcp => context.grant_write_acp = bytes,
        Field::GrantFullControl => context.grant_full_control = bytes,
        Field::CopySource => context.copy_source = bytes,
        Field::MetadataDirective => context.metadata_directive = bytes,
        Field::ServerSideEncryption => context.server_side_encryption = bytes,
        Field::KmsKeyId => context.kms_key_id = bytes,
        Field::CustomerAlgorithm => context.customer_algorithm = bytes,
        Field::StorageClass => context.storage_class = bytes,
        Field::WebsiteRedirectLocation => context.website_redirect_location = bytes,
        Field::ObjectLockMode => context.object_lock_mode = bytes,
        Field::ObjectLockLegalHold => context.object_lock_legal_hold = bytes,
        Field::IfMatch => context.if_match = bytes,
        Field::IfNoneMatch => context.if_none_match = bytes,
        Field::LocationConstraint => context.location_constraint = bytes,
        Field::ObjectOwnership => context.object_ownership = bytes,
        Field::BucketOwner => context.bucket_owner = Some(text),
        Field::ExternalId => context.external_id = Some(text),
        Field::RoleSessionName => context.role_session_name = Some(text),
        Field::CurrentTime
        | Field::EpochTime
        | Field::TokenIssueTime
        | Field::ObjectLockRetainUntilDate
        | Field::SecureTransport
        | Field::ObjectCreationOperation
        | Field::SourceIp
        | Field::SignatureAge
        | Field::MaxKeys
        | Field::ObjectLockRemainingRetentionDays
        | Field::PrincipalType
        | Field::AuthType
        | Field::PrincipalAccount
        | Field::PrincipalIsAwsService
        | Field::ViaAwsService
        | Field::MultiFactorAuthPresent
        | Field::StsAuthentication => unreachable!("{field:?} is not plain text"),
    }
}

/// Adds arbitrary keys and values: nothing may panic, and what was taken has a value.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (name, value) = text.split_once('=').unwrap_or((&text, ""));
    let mut given = Given::default();
    if given.add(name, value).is_ok() {
        let Some(key) = Key::parse(name) else { unreachable!("an unknown key was taken") };
        let found = given.with(&Context::default(), |context| context.value(&key).is_some());
        assert!(found || matches!(key, Key::TagKeys(_)), "{name}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::names;
    use super::*;

    #[test]
    fn every_key_takes_a_value_or_says_why_not() {
        for name in names() {
            let samples = ["plain", "true", "10.0.0.1", "7", "2026-11-24T00:00:00Z", "User", "REST-HEADER"];
            let taken = samples.iter().any(|value| {
                fuzz(format!("{name}={value}").as_bytes());
                Given::default().add(name, value).is_ok()
            });
            let derived = [
                "aws:PrincipalAccount",
                "aws:PrincipalIsAWSService",
                "aws:ViaAWSService",
                "aws:MultiFactorAuthPresent",
                "sts:authentication",
            ];
            assert_eq!(taken, !derived.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |pairs: &[(&str, &str)], expected: &str| {
            let mut given = Given::default();
            let result = pairs.iter().try_for_each(|(name, value)| given.add(name, value));
            assert!(result.clone().is_err_and(|error| error.contains(expected)), "{pairs:?} {result:?}");
        };
        check(&[("aws:SourceIP4", "10.0.0.1")], "no condition key");
        check(&[("username", "alice")], "no condition key");
        check(&[("aws:SourceVpc", "vpc-1")], "no request on this server");
        check(&[("aws:SourceIp", "10.0.0.0/8")], "not an IP address");
        check(&[("aws:SecureTransport", "yes")], "not true or false");
        check(&[("aws:CurrentTime", "soon")], "not a time");
        check(&[("s3:max-keys", "-1")], "not a whole number");
        check(&[("s3:prefix", "a"), ("s3:Prefix", "b")], "twice");
        check(&[("aws:CurrentTime", "0"), ("aws:EpochTime", "0")], "twice");
        check(&[("s3:RequestObjectTag/a", "1"), ("s3:RequestObjectTag/a", "2")], "twice");
        check(&[("aws:ViaAWSService", "true")], "follows from the others");
    }

    #[test]
    fn given_values_stand_in_place_of_others() {
        let mut given = Given::default();
        for (name, value) in [
            ("aws:username", "bob"),
            ("aws:EpochTime", "1369353600"),
            ("s3:ExistingObjectTag/Team", "blue"),
            ("s3:RequestObjectTagKeys", "one"),
            ("s3:RequestObjectTagKeys", "two"),
        ] {
            given.add(name, value).unwrap();
        }
        let base = Context { username: Some("alice"), userid: Some("AIDA1"), ..Context::default() };
        given.with(&base, |context| {
            assert_eq!((context.username, context.userid), (Some("bob"), Some("AIDA1")));
            assert_eq!(context.now, Some(Timestamp::from_seconds(1_369_353_600)));
            assert_eq!(context.existing_object_tags, [("Team", "blue")]);
            assert_eq!(context.request_object_tags, [("one", ""), ("two", "")]);
        });
    }

    proptest! {
        #[test]
        fn fuzz_random(data in proptest::collection::vec(any::<u8>(), 0..60)) {
            fuzz(&data);
        }

        #[test]
        fn fuzz_keys(index in 0_usize..80, value in "[0-9a-zA-Z:.-]{0,20}") {
            let name = names().nth(index).unwrap_or("s3:BucketTag/x");
            fuzz(format!("{name}={value}").as_bytes());
        }
    }
}
