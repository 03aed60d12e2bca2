//! What is known of a request when it is decided: the values of condition keys and policy variables.
//!
//! A struct of named fields, not a map: each field has one source that the data plane names when it fills it, so that a
//! header or query parameter which happens to be called like a key can never become its value. A field left out is an
//! absent key. Nothing here is parsed, copied or allocated.

use std::io::Write;
use std::net::IpAddr;

use super::key::{Field, Key, TagSet};
use crate::codec::dates::Timestamp;

/// One tag: key and value.
pub type Tag<'a> = (&'a str, &'a str);

/// The values of a request. `Default` has every key absent.
///
/// The fields of one action must be left absent for the others (`prefix` belongs to the listings, `version_id` to the
/// actions on a version, and so on): the Service Authorization Reference lists which key belongs to which action.
#[derive(Clone, Copy, Default, Debug)]
pub struct Context<'a> {
    /// `aws:PrincipalType`.
    pub principal_type: Option<PrincipalType>,
    /// `aws:username`: the user's name, also for the user's temporary credentials and service accounts.
    pub username: Option<&'a str>,
    /// `aws:userid`: the user's unique id, followed by `:session` for temporary credentials; `anonymous` if unsigned.
    pub userid: Option<&'a str>,
    /// `aws:PrincipalArn`: the ARN of the user, also for credentials derived from it.
    pub principal_arn: Option<&'a str>,
    /// The ARN of the session of temporary credentials. No condition key; a bucket policy may name it as `Principal`.
    pub session_arn: Option<&'a str>,
    /// The account of this server: `aws:ResourceAccount`, and `aws:PrincipalAccount` of signed requests unless
    /// `principal_account` says otherwise. Absent if the server's account has no id.
    pub account: Option<&'a str>,
    /// `aws:PrincipalAccount` of a principal that belongs to another account than the server's own.
    pub principal_account: Option<&'a str>,
    /// The canonical id of that account. No condition key; a bucket policy may name it as `Principal`.
    pub canonical_id: Option<&'a str>,
    /// `aws:TokenIssueTime`: when temporary credentials were issued. Fractions of the second are ignored.
    pub token_issue_time: Option<Timestamp>,

    /// The time of the request: `aws:CurrentTime`, `aws:EpochTime`. Fractions of the second are ignored.
    pub now: Option<Timestamp>,
    /// `aws:SourceIp`: the peer's address, or what a trusted proxy says it is.
    pub source_ip: Option<IpAddr>,
    /// `aws:SecureTransport`.
    pub secure_transport: Option<bool>,
    /// `s3:TlsVersion`: `1.2` or `1.3`.
    pub tls_version: Option<&'a str>,
    /// `aws:UserAgent`: the header, chosen by the client.
    pub user_agent: Option<&'a [u8]>,
    /// `aws:Referer`: the header, chosen by the client.
    pub referer: Option<&'a [u8]>,
    /// `aws:RequestedRegion`.
    pub requested_region: Option<&'a str>,
    /// `s3:authType`; absent for unsigned requests.
    pub auth_type: Option<AuthType>,
    /// `s3:signatureversion`: `AWS4-HMAC-SHA256`; absent for unsigned requests.
    pub signature_version: Option<&'a str>,
    /// `s3:signatureAge`: milliseconds since the request was signed.
    pub signature_age_ms: Option<u64>,
    /// `s3:x-amz-content-sha256`: the header or query parameter as sent.
    pub content_sha256: Option<&'a [u8]>,

    /// `s3:prefix`, decoded.
    pub prefix: Option<&'a [u8]>,
    /// `s3:delimiter`, decoded.
    pub delimiter: Option<&'a [u8]>,
    /// `s3:max-keys`.
    pub max_keys: Option<u64>,

    /// `s3:versionid`.
    pub version_id: Option<&'a [u8]>,
    /// Tags the object has: `s3:ExistingObjectTag/<key>`. See
    /// [`Reads::existing_object_tags`](super::Reads::existing_object_tags).
    pub existing_object_tags: &'a [Tag<'a>],
    /// Tags the request gives to the object: `s3:RequestObjectTag/<key>`, `s3:RequestObjectTagKeys`. See
    /// [`Reads::request_object_tags`](super::Reads::request_object_tags).
    pub request_object_tags: &'a [Tag<'a>],
    /// Tags of the bucket: `s3:BucketTag/<key>`, `aws:ResourceTag/<key>`. See
    /// [`Reads::bucket_tags`](super::Reads::bucket_tags).
    pub bucket_tags: &'a [Tag<'a>],
    /// Tags the request gives to the bucket: `aws:RequestTag/<key>`, `aws:TagKeys`.
    pub request_bucket_tags: &'a [Tag<'a>],

    /// `s3:x-amz-acl`.
    pub acl: Option<&'a [u8]>,
    /// `s3:x-amz-grant-read`.
    pub grant_read: Option<&'a [u8]>,
    /// `s3:x-amz-grant-write`.
    pub grant_write: Option<&'a [u8]>,
    /// `s3:x-amz-grant-read-acp`.
    pub grant_read_acp: Option<&'a [u8]>,
    /// `s3:x-amz-grant-write-acp`.
    pub grant_write_acp: Option<&'a [u8]>,
    /// `s3:x-amz-grant-full-control`.
    pub grant_full_control: Option<&'a [u8]>,
    /// `s3:x-amz-copy-source`.
    pub copy_source: Option<&'a [u8]>,
    /// `s3:x-amz-metadata-directive`.
    pub metadata_directive: Option<&'a [u8]>,
    /// `s3:x-amz-server-side-encryption`.
    pub server_side_encryption: Option<&'a [u8]>,
    /// `s3:x-amz-server-side-encryption-aws-kms-key-id`.
    pub kms_key_id: Option<&'a [u8]>,
    /// `s3:x-amz-server-side-encryption-customer-algorithm`.
    pub customer_algorithm: Option<&'a [u8]>,
    /// `s3:x-amz-storage-class`.
    pub storage_class: Option<&'a [u8]>,
    /// `s3:x-amz-website-redirect-location`.
    pub website_redirect_location: Option<&'a [u8]>,
    /// `s3:object-lock-mode`.
    pub object_lock_mode: Option<&'a [u8]>,
    /// `s3:object-lock-retain-until-date`.
    pub object_lock_retain_until: Option<Timestamp>,
    /// `s3:object-lock-remaining-retention-days`.
    pub object_lock_remaining_days: Option<i64>,
    /// `s3:object-lock-legal-hold`.
    pub object_lock_legal_hold: Option<&'a [u8]>,
    /// `s3:if-match`.
    pub if_match: Option<&'a [u8]>,
    /// `s3:if-none-match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `s3:ObjectCreationOperation`: whether the PutObject makes an object appear (false for UploadPart).
    pub object_creation_operation: Option<bool>,

    /// `s3:locationconstraint` of CreateBucket.
    pub location_constraint: Option<&'a [u8]>,
    /// `s3:x-amz-object-ownership` of CreateBucket.
    pub object_ownership: Option<&'a [u8]>,

    /// `sts:ExternalId` of AssumeRole.
    pub external_id: Option<&'a str>,
    /// `sts:RoleSessionName` of AssumeRole.
    pub role_session_name: Option<&'a str>,

    /// `sluicegate:BucketOwner`: the name of the user who made the bucket, or who makes it by this request. Absent for
    /// directories that other programs made. See [`Reads::bucket_owner`](super::Reads::bucket_owner).
    pub bucket_owner: Option<&'a str>,
}

/// `aws:PrincipalType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrincipalType {
    /// An unsigned request.
    Anonymous,
    /// A user with its own keys, or a service account.
    User,
    /// Temporary credentials.
    AssumedRole,
    /// The account itself.
    Account,
}

impl PrincipalType {
    /// The value as policies write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PrincipalType::Anonymous => "Anonymous",
            PrincipalType::User => "User",
            PrincipalType::AssumedRole => "AssumedRole",
            PrincipalType::Account => "Account",
        }
    }
}

/// `s3:authType`: where the signature was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthType {
    /// In the Authorization header.
    Header,
    /// In the query: a presigned URL.
    Query,
    /// In the form of a POST upload.
    Post,
}

impl AuthType {
    /// The value as policies write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AuthType::Header => "REST-HEADER",
            AuthType::Query => "REST-QUERY-STRING",
            AuthType::Post => "POST",
        }
    }
}

/// The value of a key, in the type it arrived in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value<'a> {
    Text(&'a [u8]),
    Number(i64),
    Flag(bool),
    Time(Timestamp),
    Address(IpAddr),
}

/// Room for the text of any value that is not text itself; an IPv6 address is the longest.
pub(super) type TextBuffer = [u8; 48];

impl<'a> Value<'a> {
    /// The value as a string operator or a variable sees it: numbers in decimal, `true` or `false`, dates as
    /// `2013-05-24T00:00:00Z`, addresses in their usual form.
    pub(super) fn text<'b>(&self, buffer: &'b mut TextBuffer) -> &'b [u8]
    where
        'a: 'b,
    {
        let mut room = &mut buffer[..];
        let space = room.len();
        let written = match *self {
            Value::Text(text) => return text,
            Value::Flag(flag) => return if flag { b"true" } else { b"false" },
            Value::Number(number) => write!(room, "{number}"),
            Value::Address(address) => write!(room, "{address}"),
            Value::Time(time) => {
                let millis = time.iso8601_millis();
                room.write_all(&millis[..19]).and_then(|()| room.write_all(b"Z"))
            }
        };
        debug_assert!(written.is_ok(), "the buffer holds the longest value");
        let length = space - room.len();
        &buffer[..length]
    }
}

impl<'a> Context<'a> {
    /// The value of a key that has at most one.
    #[inline]
    pub(super) fn value(&self, key: &Key) -> Option<Value<'a>> {
        match key {
            Key::Field(field) => self.field(*field),
            Key::Tag(set, name) => self
                .tags(*set)
                .iter()
                .find(|(tag, _)| **tag == **name)
                .map(|(_, value)| Value::Text(value.as_bytes())),
            Key::TagKeys(_) | Key::NeverPresent => None,
        }
    }

    /// The account that whoever signed belongs to.
    pub(super) fn account_of_principal(&self) -> Option<&'a str> {
        self.principal_account.or(self.account)
    }

    /// Whether the request was signed by somebody of the account.
    fn is_signed(&self) -> bool {
        self.principal_type.is_some_and(|of| of != PrincipalType::Anonymous)
    }

    /// The tags of a set; none if the slice is empty.
    pub(super) fn tags(&self, set: TagSet) -> &'a [Tag<'a>] {
        match set {
            TagSet::ExistingObject => self.existing_object_tags,
            TagSet::RequestObject => self.request_object_tags,
            TagSet::Bucket => self.bucket_tags,
            TagSet::RequestBucket => self.request_bucket_tags,
        }
    }

    fn field(&self, field: Field) -> Option<Value<'a>> {
        match field {
            Field::CurrentTime => self.now.map(|now| Value::Time(Timestamp::from_seconds(now.seconds))),
            Field::EpochTime => self.now.map(|now| Value::Number(now.seconds)),
            Field::SecureTransport => self.secure_transport.map(Value::Flag),
            Field::SourceIp => self.source_ip.map(|address| Value::Address(address.to_canonical())),
            Field::UserAgent => self.user_agent.map(Value::Text),
            Field::Referer => self.referer.map(Value::Text),
            Field::UserId => text(self.userid),
            Field::Username => text(self.username),
            Field::PrincipalArn => text(self.principal_arn),
            Field::PrincipalAccount => text(self.account_of_principal()).filter(|_| self.is_signed()),
            Field::PrincipalType => self.principal_type.map(|of| Value::Text(of.name().as_bytes())),
            Field::PrincipalIsAwsService => self.is_signed().then_some(Value::Flag(false)),
            Field::ViaAwsService => Some(Value::Flag(false)),
            Field::TokenIssueTime => {
                self.token_issue_time.map(|at| Value::Time(Timestamp::from_seconds(at.seconds)))
            }
            Field::MultiFactorAuthPresent => self.token_issue_time.map(|_| Value::Flag(false)),
            Field::RequestedRegion => text(self.requested_region),
            Field::ResourceAccount => text(self.account),
            Field::AuthType => self.auth_type.map(|of| Value::Text(of.name().as_bytes())),
            Field::SignatureVersion => text(self.signature_version),
            Field::SignatureAge => number(self.signature_age_ms),
            Field::ContentSha256 => self.content_sha256.map(Value::Text),
            Field::TlsVersion => text(self.tls_version),
            Field::Prefix => self.prefix.map(Value::Text),
            Field::Delimiter => self.delimiter.map(Value::Text),
            Field::MaxKeys => number(self.max_keys),
            Field::VersionId => self.version_id.map(Value::Text),
            Field::Acl => self.acl.map(Value::Text),
            Field::GrantRead => self.grant_read.map(Value::Text),
            Field::GrantWrite => self.grant_write.map(Value::Text),
            Field::GrantReadAcp => self.grant_read_acp.map(Value::Text),
            Field::GrantWriteAcp => self.grant_write_acp.map(Value::Text),
            Field::GrantFullControl => self.grant_full_control.map(Value::Text),
            Field::CopySource => self.copy_source.map(Value::Text),
            Field::MetadataDirective => self.metadata_directive.map(Value::Text),
            Field::ServerSideEncryption => self.server_side_encryption.map(Value::Text),
            Field::KmsKeyId => self.kms_key_id.map(Value::Text),
            Field::CustomerAlgorithm => self.customer_algorithm.map(Value::Text),
            Field::StorageClass => self.storage_class.map(Value::Text),
            Field::WebsiteRedirectLocation => self.website_redirect_location.map(Value::Text),
            Field::ObjectLockMode => self.object_lock_mode.map(Value::Text),
            Field::ObjectLockRetainUntilDate => self.object_lock_retain_until.map(Value::Time),
            Field::ObjectLockRemainingRetentionDays => self.object_lock_remaining_days.map(Value::Number),
            Field::ObjectLockLegalHold => self.object_lock_legal_hold.map(Value::Text),
            Field::IfMatch => self.if_match.map(Value::Text),
            Field::IfNoneMatch => self.if_none_match.map(Value::Text),
            Field::ObjectCreationOperation => self.object_creation_operation.map(Value::Flag),
            Field::LocationConstraint => self.location_constraint.map(Value::Text),
            Field::ObjectOwnership => self.object_ownership.map(Value::Text),
            Field::BucketOwner => text(self.bucket_owner),
            Field::StsAuthentication => {
                self.is_signed().then_some(Value::Flag(self.token_issue_time.is_some()))
            }
            Field::ExternalId => text(self.external_id),
            Field::RoleSessionName => text(self.role_session_name),
        }
    }
}

fn text(value: Option<&str>) -> Option<Value<'_>> {
    value.map(|text| Value::Text(text.as_bytes()))
}

fn number(value: Option<u64>) -> Option<Value<'static>> {
    value.map(|number| Value::Number(i64::try_from(number).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        fn check(value: Value, expected: &str) {
            assert_eq!(value.text(&mut [0; 48]), expected.as_bytes());
        }
        check(Value::Text(b"as it is"), "as it is");
        check(Value::Number(i64::MIN), "-9223372036854775808");
        check(Value::Flag(true), "true");
        check(Value::Flag(false), "false");
        check(Value::Time(Timestamp { seconds: 1_369_353_600, nanos: 5 }), "2013-05-24T00:00:00Z");
        check(Value::Address([10, 0, 0, 1].into()), "10.0.0.1");
        check(
            Value::Address([0xfe80, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666, 0x7777].into()),
            "fe80:1111:2222:3333:4444:5555:6666:7777",
        );
    }

    #[test]
    fn an_empty_context_has_nothing_of_the_caller() {
        let context = Context::default();
        for name in ["aws:CurrentTime", "aws:PrincipalAccount", "aws:PrincipalIsAWSService", "s3:prefix"] {
            let key = Key::parse(name).expect("a known key");
            assert!(context.value(&key).is_none(), "{name}");
        }
        let via = Key::parse("aws:ViaAWSService").expect("a known key");
        assert_eq!(context.value(&via), Some(Value::Flag(false)));
    }

    #[test]
    fn an_address_of_ipv4_in_ipv6_is_the_ipv4_address() {
        let context = Context { source_ip: "::ffff:192.0.2.7".parse().ok(), ..Context::default() };
        assert_eq!(context.field(Field::SourceIp), Some(Value::Address([192, 0, 2, 7].into())));
    }

    #[test]
    fn the_account_is_the_principals_only_when_signed() {
        let context = |of| Context { principal_type: Some(of), account: Some("1"), ..Context::default() };
        assert!(context(PrincipalType::Anonymous).field(Field::PrincipalAccount).is_none());
        assert!(context(PrincipalType::Anonymous).field(Field::ResourceAccount).is_some());
        assert!(context(PrincipalType::User).field(Field::PrincipalAccount).is_some());
    }
}
