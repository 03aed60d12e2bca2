//! Policies of the size and kind that a decision should be able to afford, and a request they decide on.

use sluicegate::codec::dates::Timestamp;
use sluicegate::iam::{Context, Document, Kind, Policy, PrincipalType};

/// Ten statements, nine with conditions, filled up to exactly 2,048 bytes.
pub fn large_policy() -> String {
    let mut text = String::from(r#"{"Version":"2012-10-17","Statement":["#);
    let statements = [
        r#"{"Sid":"Tls","Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#,
        r#"{"Sid":"Net","Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","172.16.0.0/12","192.168.0.0/16","2001:db8::/32","10.0.0.0/8"]}}}"#,
        r#"{"Sid":"Legal","Effect":"Deny","Action":"s3:Delete*","Resource":["arn:aws:s3:::photos/legal/*","arn:aws:s3:::photos/*/legal-hold/*"],"Condition":{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}}"#,
        r#"{"Sid":"Old","Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*","Condition":{"NumericGreaterThan":{"s3:signatureAge":"600000"}}}"#,
        r#"{"Sid":"Buckets","Effect":"Allow","Action":["s3:ListAllMyBuckets","s3:GetBucketLocation"],"Resource":"*"}"#,
        r#"{"Sid":"List","Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::photos","Condition":{"StringLike":{"s3:prefix":["","public/*","shared/*","projects/*/readme*","home/${aws:username}","home/${aws:username}/*"]}}}"#,
        r#"{"Sid":"Public","Effect":"Allow","Action":"s3:GetObject","Resource":["arn:aws:s3:::photos/public/*","arn:aws:s3:::photos/shared/*","arn:aws:s3:::music/*"],"Condition":{"StringLike":{"aws:UserAgent":"*boto*"}}}"#,
        r#"{"Sid":"Thumbs","Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::photos/*/thumbs/*.jpg","Condition":{"StringNotEquals":{"aws:username":["mallory","trudy"]}}}"#,
        r#"{"Sid":"Home","Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::photos/home/${aws:username}/*","Condition":{"StringEquals":{"aws:PrincipalType":["User","AssumedRole"]},"StringNotLike":{"aws:UserAgent":"curl/*"}}}"#,
        r#"{"Sid":"Acl","Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::photos/drop/*","Condition":{"StringEqualsIfExists":{"s3:x-amz-acl":["private","bucket-owner-full-control"]},"NumericLessThan":{"s3:signatureAge":"60000"}}}"#,
    ];
    text += &statements.join(",");
    text += "]}";
    assert!((1900..=2048).contains(&text.len()), "{}", text.len());
    format!("{text:2048}")
}

pub const SESSION: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Deny","Action":"s3:Delete*","Resource":"*"},
    {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::photos/home/*"}]}"#;

pub const BUCKET: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"],
     "Condition":{"NumericLessThan":{"s3:TlsVersion":"1.2"}}},
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/public/*"}]}"#;

pub fn compiled(text: &str, kind: Kind) -> Policy {
    let document = Document::parse(text.as_bytes(), kind).unwrap_or_else(|error| panic!("{error}"));
    Policy::compile(&document)
}

pub fn context() -> Context<'static> {
    Context {
        principal_type: Some(PrincipalType::User),
        username: Some("alice"),
        principal_arn: Some("arn:aws:iam::111122223333:user/alice"),
        account: Some("111122223333"),
        now: Some(Timestamp::from_seconds(1_795_478_400)),
        source_ip: Some([10, 1, 2, 3].into()),
        secure_transport: Some(true),
        tls_version: Some("1.3"),
        user_agent: Some(
            b"Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 os/linux#6.18 md/arch#x86_64 lang/python#3.13",
        ),
        signature_age_ms: Some(12),
        ..Context::default()
    }
}
