//! Cost of parsing, compiling and deciding policies. Every measured decision is compared with its expected answer.
//!
//! Targets, median on one core: a decision over a 2,048-byte policy of ten statements with conditions 100 ns; session
//! policy, user's policy and bucket policy together 150 ns; compiling 50 µs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate::codec::dates::Timestamp;
use sluicegate::iam::{Action, Context, Decision, Document, Kind, Policy, PrincipalType, Request, decide};

/// Ten statements, nine with conditions, filled up to exactly 2,048 bytes.
fn large_policy() -> String {
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

const SESSION: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Deny","Action":"s3:Delete*","Resource":"*"},
    {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::photos/home/*"}]}"#;

const BUCKET: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"],
     "Condition":{"NumericLessThan":{"s3:TlsVersion":"1.2"}}},
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/public/*"}]}"#;

fn compiled(text: &str, kind: Kind) -> Policy {
    let document = Document::parse(text.as_bytes(), kind).unwrap_or_else(|error| panic!("{error}"));
    Policy::compile(&document)
}

fn context() -> Context<'static> {
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

fn decisions(criterion: &mut Criterion) {
    let text = large_policy();
    let identity = compiled(&text, Kind::Identity);
    let session = compiled(SESSION, Kind::Session);
    let bucket = compiled(BUCKET, Kind::Bucket("photos"));
    let readwrite =
        compiled(sluicegate::iam::built_in_policy("readwrite").unwrap_or_default(), Kind::Identity);
    let context = context();
    let get =
        |key: &'static [u8]| Request { action: Action::GetObject, bucket: "photos", key, context: &context };
    let list = Context { prefix: Some(b"home/alice/2026/"), ..context };
    let listing = Request { action: Action::ListBucket, bucket: "photos", key: b"", context: &list };

    let mut group = criterion.benchmark_group("decide");
    let mut measure = |name: &str, policies: [Option<&Policy>; 3], request: &Request, allowed: bool| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let [identity, session, bucket] = black_box(policies);
                let decision = decide(identity, session, bucket, false, black_box(request));
                assert_eq!(decision.is_allowed(), allowed);
            });
        });
    };
    measure("readwrite", [Some(&readwrite), None, None], &get(b"home/alice/2026/11/24/image-0001.jpg"), true);
    let large = [Some(&identity), None, None];
    measure("2048 bytes, home directory", large, &get(b"home/alice/2026/11/24/image-0001.jpg"), true);
    measure("2048 bytes, glob in the middle", large, &get(b"x/2026/11/thumbs/image-0001.jpg"), true);
    measure("2048 bytes, nothing allows", large, &get(b"home/bob/2026/11/24/image-0001.jpg"), false);
    measure("2048 bytes, listing", large, &listing, true);
    let three = [Some(&identity), Some(&session), Some(&bucket)];
    measure("session, identity and bucket", three, &get(b"home/alice/2026/11/24/image-0001.jpg"), true);
    group.finish();

    let denied = Context { secure_transport: Some(false), ..context };
    let request = Request { context: &denied, ..get(b"home/alice/x") };
    let decision = decide(Some(&identity), None, None, false, &request);
    assert!(matches!(decision, Decision::ExplicitDeny { by } if by.sid == Some("Tls")));
}

fn documents(criterion: &mut Criterion) {
    let text = large_policy();
    let document = Document::parse(text.as_bytes(), Kind::Identity).unwrap_or_else(|error| panic!("{error}"));
    criterion.bench_function("parse 2048 bytes", |bencher| {
        bencher.iter(|| {
            let parsed = Document::parse(black_box(text.as_bytes()), Kind::Identity);
            assert!(parsed.is_ok_and(|parsed| parsed.statements.len() == 10));
        });
    });
    criterion.bench_function("compile 2048 bytes", |bencher| {
        bencher.iter(|| {
            let policy = Policy::compile(black_box(&document));
            assert!(!policy.reads().bucket_tags);
        });
    });
}

criterion_group!(benches, decisions, documents);
criterion_main!(benches);
