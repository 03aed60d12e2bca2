//! The names of condition keys and what each stands for.
//!
//! A name is known, known but never present here (services and features this server has none of), or unknown. Only
//! the last is refused: it is a slip of the pen that would otherwise silently make a condition hold or fail for ever.
//! One name is of this server: `sluicegate:BucketOwner`, the user who made the bucket, with which one policy gives
//! each user everything in buckets of their own and nothing in those of others.
//! The values come from [`Context`](super::Context), never from a map that request headers could reach.
//!
//! Names match in any case; the tag's own key behind the slash keeps its case. Spec: AWS global condition context keys,
//! Amazon S3 condition keys of the Service Authorization Reference.

/// A condition key, resolved once when the policy is parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// A key with at most one value.
    Field(Field),
    /// The value of one tag: `s3:ExistingObjectTag/<key>` and its kin.
    Tag(TagSet, Box<str>),
    /// The keys of all tags of a set, the only kind of key with several values.
    TagKeys(TagSet),
    /// Known to AWS, never present here.
    NeverPresent,
}

/// The keys that have at most one value, named as AWS names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `aws:CurrentTime`.
    CurrentTime,
    /// `aws:EpochTime`.
    EpochTime,
    /// `aws:SecureTransport`.
    SecureTransport,
    /// `aws:SourceIp`.
    SourceIp,
    /// `aws:UserAgent`.
    UserAgent,
    /// `aws:Referer`.
    Referer,
    /// `aws:userid`.
    UserId,
    /// `aws:username`.
    Username,
    /// `aws:PrincipalArn`.
    PrincipalArn,
    /// `aws:PrincipalAccount`.
    PrincipalAccount,
    /// `aws:PrincipalType`.
    PrincipalType,
    /// `aws:PrincipalIsAWSService`: always false for a signed request.
    PrincipalIsAwsService,
    /// `aws:ViaAWSService`: always false.
    ViaAwsService,
    /// `aws:TokenIssueTime`.
    TokenIssueTime,
    /// `aws:MultiFactorAuthPresent`: false with temporary credentials, else absent.
    MultiFactorAuthPresent,
    /// `aws:RequestedRegion`.
    RequestedRegion,
    /// `aws:ResourceAccount` and `s3:ResourceAccount`.
    ResourceAccount,
    /// `s3:authType`.
    AuthType,
    /// `s3:signatureversion`.
    SignatureVersion,
    /// `s3:signatureAge`, in milliseconds.
    SignatureAge,
    /// `s3:x-amz-content-sha256`.
    ContentSha256,
    /// `s3:TlsVersion`.
    TlsVersion,
    /// `s3:prefix`.
    Prefix,
    /// `s3:delimiter`.
    Delimiter,
    /// `s3:max-keys`.
    MaxKeys,
    /// `s3:versionid`.
    VersionId,
    /// `s3:x-amz-acl`.
    Acl,
    /// `s3:x-amz-grant-read`.
    GrantRead,
    /// `s3:x-amz-grant-write`.
    GrantWrite,
    /// `s3:x-amz-grant-read-acp`.
    GrantReadAcp,
    /// `s3:x-amz-grant-write-acp`.
    GrantWriteAcp,
    /// `s3:x-amz-grant-full-control`.
    GrantFullControl,
    /// `s3:x-amz-copy-source`.
    CopySource,
    /// `s3:x-amz-metadata-directive`.
    MetadataDirective,
    /// `s3:x-amz-server-side-encryption`.
    ServerSideEncryption,
    /// `s3:x-amz-server-side-encryption-aws-kms-key-id`.
    KmsKeyId,
    /// `s3:x-amz-server-side-encryption-customer-algorithm`.
    CustomerAlgorithm,
    /// `s3:x-amz-storage-class`.
    StorageClass,
    /// `s3:x-amz-website-redirect-location`.
    WebsiteRedirectLocation,
    /// `s3:object-lock-mode`.
    ObjectLockMode,
    /// `s3:object-lock-retain-until-date`.
    ObjectLockRetainUntilDate,
    /// `s3:object-lock-remaining-retention-days`.
    ObjectLockRemainingRetentionDays,
    /// `s3:object-lock-legal-hold`.
    ObjectLockLegalHold,
    /// `s3:if-match`.
    IfMatch,
    /// `s3:if-none-match`.
    IfNoneMatch,
    /// `s3:ObjectCreationOperation`.
    ObjectCreationOperation,
    /// `s3:locationconstraint`.
    LocationConstraint,
    /// `s3:x-amz-object-ownership`.
    ObjectOwnership,
    /// `sluicegate:BucketOwner`.
    BucketOwner,
    /// `sts:authentication`, as Ceph has it: whether the request was signed with temporary credentials.
    StsAuthentication,
    /// `sts:ExternalId`.
    ExternalId,
    /// `sts:RoleSessionName`.
    RoleSessionName,
}

/// Whose tags a key speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagSet {
    /// Tags the object has already: `s3:ExistingObjectTag/<key>`.
    ExistingObject,
    /// Tags the request gives to an object: `s3:RequestObjectTag/<key>`, `s3:RequestObjectTagKeys`.
    RequestObject,
    /// Tags of the bucket: `s3:BucketTag/<key>`, `aws:ResourceTag/<key>`.
    Bucket,
    /// Tags the request gives to a bucket: `aws:RequestTag/<key>`, `aws:TagKeys`.
    RequestBucket,
}

/// The type AWS documents for a key. It decides which families of operators make sense for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// Text that may hold anything, so that every family of operators is accepted.
    Text,
    /// A decimal number.
    Number,
    /// A point in time.
    Date,
    /// Seconds since the epoch: a number and a point in time.
    Epoch,
    /// True or false.
    Flag,
    /// An IP address.
    Address,
    /// An ARN.
    Arn,
}

impl Key {
    /// The key of this name. `None` if neither AWS nor Amazon S3 documents it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Key> {
        if let Some(&(_, field, _)) = FIELDS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) {
            return Some(Key::Field(field));
        }
        if let Some(&(_, set)) = TAG_KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Some(Key::TagKeys(set));
        }
        if let Some((family, tag)) = name.split_once('/') {
            if tag.is_empty() {
                return None;
            }
            if let Some(&(_, set)) = TAG_FAMILIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(family))
            {
                return Some(Key::Tag(set, tag.into()));
            }
            return TAG_FAMILIES_NEVER_PRESENT
                .iter()
                .any(|known| known.eq_ignore_ascii_case(family))
                .then_some(Key::NeverPresent);
        }
        NEVER_PRESENT.iter().any(|known| known.eq_ignore_ascii_case(name)).then_some(Key::NeverPresent)
    }

    /// The documented type. What is never present takes every operator.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        match self {
            Key::Field(field) => {
                FIELDS.iter().find(|(_, known, _)| known == field).map_or(KeyType::Text, |&(_, _, of)| of)
            }
            Key::Tag(..) | Key::TagKeys(_) | Key::NeverPresent => KeyType::Text,
        }
    }

    /// Whether a request can carry several values of this key.
    #[must_use]
    pub fn is_multivalued(&self) -> bool {
        matches!(self, Key::TagKeys(_))
    }
}

/// The names of all keys with at most one value.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, ..)| *name)
}

#[rustfmt::skip]
const FIELDS: [(&str, Field, KeyType); 53] = [
    ("aws:CurrentTime", Field::CurrentTime, KeyType::Date),
    ("aws:EpochTime", Field::EpochTime, KeyType::Epoch),
    ("aws:SecureTransport", Field::SecureTransport, KeyType::Flag),
    ("aws:SourceIp", Field::SourceIp, KeyType::Address),
    ("aws:UserAgent", Field::UserAgent, KeyType::Text),
    ("aws:Referer", Field::Referer, KeyType::Text),
    ("aws:userid", Field::UserId, KeyType::Text),
    ("aws:username", Field::Username, KeyType::Text),
    ("aws:PrincipalArn", Field::PrincipalArn, KeyType::Arn),
    ("aws:PrincipalAccount", Field::PrincipalAccount, KeyType::Text),
    ("aws:PrincipalType", Field::PrincipalType, KeyType::Text),
    ("aws:PrincipalIsAWSService", Field::PrincipalIsAwsService, KeyType::Flag),
    ("aws:ViaAWSService", Field::ViaAwsService, KeyType::Flag),
    ("aws:TokenIssueTime", Field::TokenIssueTime, KeyType::Date),
    ("aws:MultiFactorAuthPresent", Field::MultiFactorAuthPresent, KeyType::Flag),
    ("aws:RequestedRegion", Field::RequestedRegion, KeyType::Text),
    ("aws:ResourceAccount", Field::ResourceAccount, KeyType::Text),
    ("s3:ResourceAccount", Field::ResourceAccount, KeyType::Text),
    ("s3:authType", Field::AuthType, KeyType::Text),
    ("s3:signatureversion", Field::SignatureVersion, KeyType::Text),
    ("s3:signatureAge", Field::SignatureAge, KeyType::Number),
    ("s3:x-amz-content-sha256", Field::ContentSha256, KeyType::Text),
    ("s3:TlsVersion", Field::TlsVersion, KeyType::Number),
    ("s3:prefix", Field::Prefix, KeyType::Text),
    ("s3:delimiter", Field::Delimiter, KeyType::Text),
    ("s3:max-keys", Field::MaxKeys, KeyType::Number),
    ("s3:versionid", Field::VersionId, KeyType::Text),
    ("s3:x-amz-acl", Field::Acl, KeyType::Text),
    ("s3:x-amz-grant-read", Field::GrantRead, KeyType::Text),
    ("s3:x-amz-grant-write", Field::GrantWrite, KeyType::Text),
    ("s3:x-amz-grant-read-acp", Field::GrantReadAcp, KeyType::Text),
    ("s3:x-amz-grant-write-acp", Field::GrantWriteAcp, KeyType::Text),
    ("s3:x-amz-grant-full-control", Field::GrantFullControl, KeyType::Text),
    ("s3:x-amz-copy-source", Field::CopySource, KeyType::Text),
    ("s3:x-amz-metadata-directive", Field::MetadataDirective, KeyType::Text),
    ("s3:x-amz-server-side-encryption", Field::ServerSideEncryption, KeyType::Text),
    ("s3:x-amz-server-side-encryption-aws-kms-key-id", Field::KmsKeyId, KeyType::Text),
    ("s3:x-amz-server-side-encryption-customer-algorithm", Field::CustomerAlgorithm, KeyType::Text),
    ("s3:x-amz-storage-class", Field::StorageClass, KeyType::Text),
    ("s3:x-amz-website-redirect-location", Field::WebsiteRedirectLocation, KeyType::Text),
    ("s3:object-lock-mode", Field::ObjectLockMode, KeyType::Text),
    ("s3:object-lock-retain-until-date", Field::ObjectLockRetainUntilDate, KeyType::Date),
    ("s3:object-lock-remaining-retention-days", Field::ObjectLockRemainingRetentionDays, KeyType::Number),
    ("s3:object-lock-legal-hold", Field::ObjectLockLegalHold, KeyType::Text),
    ("s3:if-match", Field::IfMatch, KeyType::Text),
    ("s3:if-none-match", Field::IfNoneMatch, KeyType::Text),
    ("s3:ObjectCreationOperation", Field::ObjectCreationOperation, KeyType::Flag),
    ("s3:locationconstraint", Field::LocationConstraint, KeyType::Text),
    ("s3:x-amz-object-ownership", Field::ObjectOwnership, KeyType::Text),
    ("sluicegate:BucketOwner", Field::BucketOwner, KeyType::Text),
    ("sts:authentication", Field::StsAuthentication, KeyType::Flag),
    ("sts:ExternalId", Field::ExternalId, KeyType::Text),
    ("sts:RoleSessionName", Field::RoleSessionName, KeyType::Text),
];

const TAG_KEYS: [(&str, TagSet); 2] =
    [("s3:RequestObjectTagKeys", TagSet::RequestObject), ("aws:TagKeys", TagSet::RequestBucket)];

const TAG_FAMILIES: [(&str, TagSet); 5] = [
    ("s3:ExistingObjectTag", TagSet::ExistingObject),
    ("s3:RequestObjectTag", TagSet::RequestObject),
    ("s3:BucketTag", TagSet::Bucket),
    ("aws:ResourceTag", TagSet::Bucket),
    ("aws:RequestTag", TagSet::RequestBucket),
];

/// Users here carry no tags, and there are no access points.
const TAG_FAMILIES_NEVER_PRESENT: [&str; 2] = ["aws:PrincipalTag", "s3:AccessPointTag"];

#[rustfmt::skip]
const NEVER_PRESENT: [&str; 64] = [
    "aws:AssumedRoot", "aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast", "aws:ChatbotSourceArn",
    "aws:Ec2InstanceSourcePrivateIPv4", "aws:Ec2InstanceSourceVpc", "aws:FederatedProvider",
    "aws:IsMcpServiceAction", "aws:MultiFactorAuthAge", "aws:PrincipalOrgID", "aws:PrincipalOrgPaths",
    "aws:PrincipalServiceName", "aws:PrincipalServiceNamesList", "aws:ResourceOrgID", "aws:ResourceOrgPaths",
    "aws:SignInSessionArn", "aws:SourceAccount", "aws:SourceArn", "aws:SourceIdentity", "aws:SourceOrgID",
    "aws:SourceOrgPaths", "aws:SourceVpc", "aws:SourceVpcArn", "aws:SourceVpce", "aws:ViaAWSMCPService",
    "aws:VpceAccount", "aws:VpceOrgID", "aws:VpceOrgPaths", "aws:VpcSourceIp",
    "ec2:RoleDelivery", "ec2:SourceInstanceArn", "glue:CredentialIssuingService", "lambda:SourceFunctionArn",
    "identitystore:UserId", "ssm:SourceInstanceArn",
    "s3:AccessGrantScope", "s3:AccessGrantsInstanceArn", "s3:AccessGrantsLocationScope",
    "s3:AccessPointNetworkOrigin", "s3:annotation-prefix", "s3:DataAccessPointAccount",
    "s3:DataAccessPointArn", "s3:deliverySourceArn", "s3:destinationRegion", "s3:ExistingJobOperation",
    "s3:ExistingJobPriority", "s3:InventoryAccessibleOptionalFields", "s3:isReplicationPauseRequest",
    "s3:JobSuspendedCause", "s3:logType", "s3:max-annotation-results", "s3:RequestJobOperation",
    "s3:RequestJobPriority", "s3:resourceArnBeingAuthorized", "s3:x-amz-bucket-namespace",
    "s3:x-amz-object-annotation-directive", "s3:x-amz-object-if-match",
    "sts:DurationSeconds", "sts:SourceIdentity",
    "sts:TransitiveTagKeys", "sts:AWSServiceName", "sts:RequestContext", "sts:RequestContextProviders",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        fn check(name: &str, expected: Option<Key>) {
            assert_eq!(Key::parse(name), expected, "{name}");
        }
        check("aws:SourceIp", Some(Key::Field(Field::SourceIp)));
        check("AWS:sourceIP", Some(Key::Field(Field::SourceIp)));
        check("s3:LocationConstraint", Some(Key::Field(Field::LocationConstraint)));
        check("s3:existingobjecttag/Dept", Some(Key::Tag(TagSet::ExistingObject, "Dept".into())));
        check("aws:RequestTag/a/b", Some(Key::Tag(TagSet::RequestBucket, "a/b".into())));
        check("s3:RequestObjectTagKeys", Some(Key::TagKeys(TagSet::RequestObject)));
        check("aws:SourceVpce", Some(Key::NeverPresent));
        check("aws:PrincipalTag/team", Some(Key::NeverPresent));
        check("aws:PrincipalTag/", None);
        check("aws:PrincipalTag", None);
        check("s3:prefixx", None);
        check("prefix", None);
        check("aws:SourceIp/x", None);
        check("", None);
    }

    #[test]
    fn every_field_has_its_type() {
        for (name, field, of) in FIELDS {
            assert_eq!(Key::parse(name).map(|key| key.key_type()), Some(of), "{name} {field:?}");
        }
    }

    #[test]
    fn no_name_is_in_two_tables() {
        let names = FIELDS
            .iter()
            .map(|entry| entry.0)
            .chain(TAG_KEYS.iter().map(|entry| entry.0))
            .chain(TAG_FAMILIES.iter().map(|entry| entry.0))
            .chain(TAG_FAMILIES_NEVER_PRESENT)
            .chain(NEVER_PRESENT)
            .map(str::to_ascii_lowercase);
        let mut sorted: Vec<_> = names.collect();
        let count = sorted.len();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), count);
    }
}
