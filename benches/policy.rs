//! Cost of parsing, compiling and deciding policies. Every measured decision is compared with its expected answer.
//!
//! Targets, median on one core: a decision over a 2,048-byte policy of ten statements with conditions 100 ns; session
//! policy, user's policy and bucket policy together 150 ns; compiling 50 µs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate::iam::{Action, Context, Decision, Document, Kind, Policy, Request, decide};

use self::inputs::{BUCKET, SESSION, compiled, context, large_policy};

#[path = "inputs/policy.rs"]
mod inputs;

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
