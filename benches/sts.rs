//! Cost of session tokens: making one, opening one, finding one that a core has opened before, and a decision for a
//! session. Every result is compared with the expected one.
//!
//! Targets, median on one core: a decision under the user's policy and a session policy 150 ns; finding a session
//! below 500 ns, which each of its requests pays; making and opening far below a millisecond, which each call of
//! AssumeRole and each core pays once.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate::codec::dates::Timestamp;
use sluicegate::iam::{
    ACCOUNT, Action, Context, Document, Kind, Policy, PosixOwner, PrincipalName, PrincipalType, Request,
    Secret, Snapshot, SnapshotBuilder, User, built_in_policy, decide,
};
use sluicegate::sts::Sessions;
use sluicegate::sts::token::{Grant, Sealed, TOKEN_ID_BYTES, open, seal};

const NOW: Timestamp = Timestamp { seconds: 1_795_478_400, nanos: 0 };
const UNIQUE_ID: &str = "AIDAAAAAAAAAAAAAAAAAA";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Deny","Action":"s3:Delete*","Resource":"*"},
    {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::photos/home/${aws:username}/*",
     "Condition":{"StringEquals":{"aws:PrincipalType":"AssumedRole"}}}]}"#;

fn grant(policy: Option<&str>) -> Grant<'_> {
    Grant {
        unique_id: UNIQUE_ID,
        role_id: "",
        session_name: "nightly-backup",
        issued: NOW,
        expires: Timestamp::from_seconds(NOW.seconds + 3600),
        policy,
    }
}

fn policy(text: &str, kind: Kind) -> Arc<Policy> {
    let document = Document::parse(text.as_bytes(), kind).unwrap_or_else(|error| panic!("{error}"));
    Arc::new(Policy::compile(&document))
}

fn snapshot(key: &Arc<Secret>) -> Snapshot {
    let mut builder = SnapshotBuilder::new(1);
    let user = User {
        name: "alice".into(),
        unique_id: UNIQUE_ID.into(),
        owner: PosixOwner { uid: 1, gid: 1 },
        groups: None,
        principal: PrincipalName::of_user(&ACCOUNT.into(), "/", "alice"),
        policy: built_in_policy("readwrite").map(|text| policy(text, Kind::Identity)),
        policy_names: Vec::new(),
    };
    builder.user(Arc::new(user)).expect("one user").token_key(key.clone());
    builder.build()
}

fn tokens(criterion: &mut Criterion) {
    let key = Arc::new(Secret::new(vec![7; 32]));
    let id = [3; TOKEN_ID_BYTES];
    let large = format!("{POLICY:2048}");
    for (name, policy) in [("plain", None), ("policy of 2048 bytes", Some(large.as_str()))] {
        let Sealed { access_key, token, .. } = seal(&key, &id, &grant(policy));
        criterion.bench_function(&format!("token/seal, {name}"), |bencher| {
            bencher.iter(|| seal(black_box(&key), &id, &grant(policy)));
        });
        criterion.bench_function(&format!("token/open, {name}"), |bencher| {
            bencher.iter(|| {
                let opened = open(black_box(&key), token.as_bytes()).expect("an own token");
                assert_eq!(opened.grant().session_name, "nightly-backup");
            });
        });
        let snapshot = snapshot(&key);
        criterion.bench_function(&format!("session/found again, {name}"), |bencher| {
            let mut sessions = Sessions::new(1024);
            bencher.iter(|| {
                let found = sessions.find(black_box(&snapshot), &access_key, token.as_bytes(), NOW);
                assert_eq!(&*found.expect("it lives").1.user.name, "alice");
            });
        });
        criterion.bench_function(&format!("session/seen first, {name}"), |bencher| {
            bencher.iter(|| {
                let mut sessions = Sessions::new(1);
                let found = sessions.find(black_box(&snapshot), &access_key, token.as_bytes(), NOW);
                assert_eq!(found.expect("it lives").0.policy.is_some(), policy.is_some());
            });
        });
    }
    criterion.bench_function("token/a forged one is refused", |bencher| {
        let other = seal(&Secret::new(vec![8; 32]), &id, &grant(None)).token;
        bencher.iter(|| assert!(open(black_box(&key), other.as_bytes()).is_none()));
    });
}

fn decisions(criterion: &mut Criterion) {
    let key = Arc::new(Secret::new(vec![7; 32]));
    let snapshot = snapshot(&key);
    let user = snapshot.user_by_unique_id(UNIQUE_ID).expect("the user");
    let session = policy(POLICY, Kind::Session);
    let context = Context {
        principal_type: Some(PrincipalType::AssumedRole),
        username: Some("alice"),
        userid: Some("AIDAAAAAAAAAAAAAAAAAA:nightly-backup"),
        token_issue_time: Some(NOW),
        now: Some(NOW),
        ..Context::default()
    };
    let ask = |key: &str, action| {
        let request = Request { action, bucket: "photos", key: key.as_bytes(), context: &context };
        decide(black_box(user.policy.as_deref()), Some(&session), None, false, &request).is_allowed()
    };
    criterion.bench_function("session/decide, allowed", |bencher| {
        bencher.iter(|| assert!(ask(black_box("home/alice/2026/07/cat.jpg"), Action::GetObject)));
    });
    criterion.bench_function("session/decide, denied", |bencher| {
        bencher.iter(|| assert!(!ask(black_box("home/bob/2026/07/cat.jpg"), Action::GetObject)));
    });
}

criterion_group!(benches, tokens, decisions);
criterion_main!(benches);
