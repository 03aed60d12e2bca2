//! Cost of identities at their limits: 1,024 users with a policy of their own each, and 5,000 service accounts, each with
//! an embedded policy.
//!
//! Targets: publishing 10 ms; memory 64 MiB over an empty store; finding a credential and deciding costs what it costs
//! with one user. The first and the last are measured here; memory is printed, and asserted.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate::control::Identity;
use sluicegate::control::backup::{Backup, BackupPolicy, BackupServiceAccount, BackupUser, FORMAT};
use sluicegate::control::record::{PolicyRecord, SecretText, ServiceAccountRecord, UserRecord};
use sluicegate::iam::{Action, Context, Document, Kind, Policy, PrincipalType, Request, Snapshot, decide};

const USERS: usize = 1024;
const ACCOUNTS: usize = 5000;
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// A policy of exactly 2,048 bytes.
fn document(number: usize) -> String {
    let mut statements = vec![format!(
        r#"{{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::data{number}/*"}}"#
    )];
    for index in 0..9 {
        statements.push(format!(
            r#"{{"Sid":"S{index}","Effect":"Deny","Action":"s3:Delete*","Resource":"arn:aws:s3:::data{number}/kept{index}/*","Condition":{{"StringNotLike":{{"aws:UserAgent":"agent{index}*"}}}}}}"#
        ));
    }
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    assert!((1200..=2048).contains(&text.len()), "{}", text.len());
    format!("{text:2048}")
}

/// An identity store with so many users and service accounts.
fn filled(users: usize, accounts: usize) -> (tempfile::TempDir, Identity) {
    let secret = |number: usize| SecretText::new(format!("Passw0rd-{number:032}"));
    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let identity = Identity::open(directory.path(), None).unwrap_or_else(|error| panic!("{error}"));
    let backup = Backup {
        format: FORMAT,
        users: (0..users)
            .map(|number| BackupUser {
                name: format!("user{number}"),
                record: UserRecord {
                    unique_id: format!("AIDA{number:017}"),
                    posix_uid: number as u32,
                    posix_gid: 100,
                    posix_groups: None,
                    created: 0,
                    path: None,
                    account: None,
                    account_root: false,
                    keys_only: false,
                },
                secret: Some(secret(number)),
                policy: Some(format!("policy{number}")),
                inline_policies: Vec::new(),
            })
            .collect(),
        policies: (0..users)
            .map(|number| BackupPolicy {
                name: format!("policy{number}"),
                record: PolicyRecord { document: document(number), changed: 0 },
            })
            .collect(),
        service_accounts: (0..accounts)
            .map(|number| BackupServiceAccount {
                access_key: format!("ACCOUNT{number:013}"),
                record: ServiceAccountRecord {
                    parent: format!("user{}", number % users),
                    policy: Some(document(number % users)),
                    created: 0,
                },
                secret: secret(number),
            })
            .collect(),
        access_keys: Vec::new(),
        roles: Vec::new(),
        token_key: SecretText::new("00".repeat(32)),
    };
    identity.import(backup, false).unwrap_or_else(|error| panic!("{error}"));
    (directory, identity)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// What a process of its own needs to open this store: here the memory of the filling would count as well.
fn opened_kib(root: &std::path::Path) -> u64 {
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let output = std::process::Command::new(program).arg("--bench").env(ROOT_VARIABLE, root).output();
    let output = output.unwrap_or_else(|error| panic!("{error}")).stdout;
    let text = String::from_utf8_lossy(&output);
    let number = text.lines().find_map(|line| line.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {text:?}"))
}

/// Tells the other process which store to open.
const ROOT_VARIABLE: &str = "IDENTITY_BENCH_ROOT";

fn find_and_decide(snapshot: &Snapshot, access_key: &str) -> bool {
    let Some(credential) = snapshot.credential(access_key) else { return false };
    let context = Context {
        principal_type: Some(PrincipalType::User),
        username: Some(&credential.user.name),
        user_agent: Some(b"agent"),
        ..Context::default()
    };
    let request = Request { action: Action::GetObject, bucket: "data0", key: b"a/key", context: &context };
    let embedded = credential.embedded_policy().map(|policy| &**policy);
    let bucket = snapshot.bucket_policy("data0").map(|policy| &**policy);
    decide(credential.user.policy.as_deref(), embedded, bucket, false, &request).is_allowed()
}

fn identities(criterion: &mut Criterion) {
    if let Some(root) = std::env::var_os(ROOT_VARIABLE) {
        let before = resident_kib();
        let _identity = Identity::open(root.as_ref(), None).unwrap_or_else(|error| panic!("{error}"));
        println!("{}", resident_kib().saturating_sub(before));
        std::process::exit(0);
    }
    let (directory, full) = filled(USERS, ACCOUNTS);
    drop(full);
    let used = opened_kib(directory.path());
    let full = Identity::open(directory.path(), None).unwrap_or_else(|error| panic!("{error}"));
    println!("1,024 users, 1,024 policies, 5,000 service accounts: {used} KiB");
    assert!(used <= MEMORY_KIB_MAX, "{used} KiB");
    let (_small_directory, small) = filled(1, 1);

    let text = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::open/*"}}"#;
    let document =
        Document::parse(text.as_bytes(), Kind::Bucket("open")).unwrap_or_else(|error| panic!("{error}"));
    let policy = Arc::new(Policy::compile(&document));
    criterion.bench_function("publish at the limits", |bencher| {
        bencher.iter(|| full.set_bucket_policies([("open".into(), Some(policy.clone()))]));
    });
    for (name, identity) in [("one user", &small), ("at the limits", &full)] {
        let snapshot = identity.published().load_full();
        for (kind, key) in [("user", "user0"), ("service account", "ACCOUNT0000000000000")] {
            criterion.bench_function(&format!("find and decide, {kind}, {name}"), |bencher| {
                bencher.iter(|| assert!(find_and_decide(black_box(&snapshot), black_box(key))));
            });
        }
    }
}

criterion_group!(benches, identities);
criterion_main!(benches);
