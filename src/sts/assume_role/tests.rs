use std::sync::Arc;

use super::super::token::open;
use super::*;
use crate::iam::{ACCOUNT, Policy, PosixOwner, PrincipalName, SnapshotBuilder, built_in_policy};

const NOW: Timestamp = Timestamp { seconds: 1_795_478_400, nanos: 999 };
const ID: [u8; TOKEN_ID_BYTES] = [5; TOKEN_ID_BYTES];

fn user(policy: Option<&str>) -> User {
    let compiled = policy.map(|text| {
        let document = Document::parse(text.as_bytes(), Kind::Identity).expect("a valid policy");
        Arc::new(Policy::compile(&document))
    });
    User {
        name: "alice".into(),
        unique_id: "AIDAAAAAAAAAAAAAAAAAA".into(),
        owner: PosixOwner { uid: 1, gid: 1 },
        groups: None,
        principal: PrincipalName::of_user(&ACCOUNT.into(), "/", "alice"),
        policy: compiled,
        policy_names: Vec::new(),
    }
}

fn wanted(policy: Option<&str>) -> Wanted {
    Wanted {
        session_name: "test".into(),
        duration_seconds: 900,
        policy: policy.map(str::to_owned),
        ..Wanted::default()
    }
}

fn ask(requester: Requester<'_>, wanted: &Wanted) -> Result<Issued, Code> {
    let context = Context { now: Some(NOW), username: Some("alice"), ..Context::default() };
    let key = Secret::new(vec![1; 32]);
    issue(Action::AssumeRole, wanted, requester, &context, &key, &ID).map_err(|refusal| {
        assert!(!refusal.message.is_empty());
        refusal.code
    })
}

#[test]
fn only_users_with_a_policy_get_credentials() {
    let (able, unable) = (user(built_in_policy("writeonly")), user(None));
    let check = |requester, expected: Option<Code>| {
        assert_eq!(ask(requester, &wanted(None)).err(), expected, "{requester:?}");
    };
    check(Requester::User(&able), None);
    check(Requester::User(&unable), Some(Code::AccessDenied));
    check(Requester::ServiceAccount(&able), Some(Code::AccessDenied));
    check(Requester::Session(&able), Some(Code::AccessDenied));
    check(Requester::Anonymous, Some(Code::MissingAuthenticationToken));
}

#[test]
fn an_explicit_deny_holds_with_its_conditions() {
    let policy = |action: &str, user: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:*","Resource":"*"}},
               {{"Effect":"Deny","Action":"{action}","Resource":"*","Condition":{{"StringEquals":{{"aws:username":"{user}"}}}}}}]}}"#
        )
    };
    for (action, name, allowed) in [
        ("sts:AssumeRole", "alice", false),
        ("sts:*", "alice", false),
        ("sts:AssumeRole", "bob", true),
        ("sts:GetSessionToken", "alice", true),
    ] {
        let user = user(Some(&policy(action, name)));
        assert_eq!(ask(Requester::User(&user), &wanted(None)).is_ok(), allowed, "{action} {name}");
    }
}

fn role(trust: &str) -> Role {
    let document = Document::parse(trust.as_bytes(), Kind::Trust).expect("a valid policy");
    Role {
        name: "backup".into(),
        unique_id: "AROAAAAAAAAAAAAAAAAAA".into(),
        principal: PrincipalName::of_role(&ACCOUNT.into(), "/jobs/", "backup"),
        policy: None,
        trust: Arc::new(Policy::compile(&document)),
        session_seconds_max: 3600,
    }
}

const TRUSTS_ALICE: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Principal":{"AWS":"arn:aws:iam:::user/alice"},"Action":"sts:AssumeRole"}}"#;

#[test]
fn a_role_is_assumed_by_users_whom_it_trusts() {
    let role = role(TRUSTS_ALICE);
    let ask = |requester: Requester<'_>, name: &str, wanted: &Wanted| {
        let principal = PrincipalName::of_user(&ACCOUNT.into(), "/", name);
        let context = Context {
            now: Some(NOW),
            account: Some(ACCOUNT),
            principal_arn: Some(&principal.arn),
            ..Context::default()
        };
        let key = Secret::new(vec![1; 32]);
        let issued = issue_of_role(&role, wanted, requester, &context, &key, &ID);
        issued.map_err(|refusal| refusal.code).map(|issued| {
            let opened = open(&key, issued.sealed.token.as_bytes()).expect("a token");
            assert_eq!(opened.grant().role_id, "AROAAAAAAAAAAAAAAAAAA");
            assert_eq!(opened.grant().unique_id, "AIDAAAAAAAAAAAAAAAAAA");
        })
    };
    let (able, unable) = (user(built_in_policy("readonly")), user(None));
    let root = User { principal: PrincipalName::of_root(&ACCOUNT.into()), ..user(None) };
    // A user without a policy is one whom the trust policy names.
    assert_eq!(ask(Requester::User(&able), "alice", &wanted(None)), Ok(()));
    assert_eq!(ask(Requester::User(&unable), "alice", &wanted(None)), Ok(()));
    for (requester, name) in [
        (Requester::User(&able), "bob"),
        (Requester::User(&root), "alice"),
        (Requester::Session(&able), "alice"),
        (Requester::ServiceAccount(&able), "alice"),
    ] {
        assert_eq!(ask(requester, name, &wanted(None)), Err(Code::AccessDenied), "{requester:?}");
    }
    assert_eq!(ask(Requester::Anonymous, "alice", &wanted(None)), Err(Code::MissingAuthenticationToken));
    let longer = Wanted { duration_seconds: 3601, ..wanted(None) };
    assert_eq!(ask(Requester::User(&able), "alice", &longer), Err(Code::ValidationError));
    assert_eq!(ask(Requester::User(&able), "alice", &wanted(Some("{}"))), Err(Code::MalformedPolicyDocument));
}

#[test]
fn an_arn_of_the_own_account_names_a_role_or_nobody_may() {
    let user = user(built_in_policy("readwrite"));
    let check = |account: &str, arn: &str, expected: Result<bool, Code>| {
        let mut builder = SnapshotBuilder::new(1);
        builder.account(account.into());
        let own = Role {
            principal: PrincipalName::of_role(&account.into(), "/jobs/", "backup"),
            ..role(TRUSTS_ALICE)
        };
        let other = Role {
            unique_id: "AROA2".into(),
            principal: PrincipalName::of_role(&"210987654321".into(), "/", "other"),
            ..role(TRUSTS_ALICE)
        };
        builder.role(Arc::new(own)).expect("one role").role(Arc::new(other)).expect("two roles");
        let snapshot = builder.build();
        let wanted = Wanted { role_arn: Some(arn.into()), ..wanted(None) };
        let found = role_named(&wanted, Requester::User(&user), &snapshot);
        let found = found.map(|role| role.is_some()).map_err(|refusal| refusal.code);
        assert_eq!(found, expected, "{account:?} {arn}");
    };
    for account in ["", "123456789012"] {
        check(account, "arn:aws:iam:::role/jobs/backup", Ok(true));
        check(account, &format!("arn:aws:iam::{account}:role/jobs/backup"), Ok(true));
        check(account, &format!("arn:aws:iam::{account}:role/backup"), Err(Code::AccessDenied));
        check(account, "arn:aws:iam:::role/Jobs/backup", Err(Code::AccessDenied));
        check(account, "arn:aws:iam:::role/", Err(Code::AccessDenied));
        check(account, "arn:aws:iam::210987654321:role/other", Ok(true));
        check(account, "arn:aws:iam::210987654321:role/none", Ok(false));
        check(account, "arn:aws:iam:::user/alice", Ok(false));
        check(account, "arn:x:ignored:by:weka-s3:", Ok(false));
        check(account, "x", Ok(false));
    }
}

#[test]
fn the_token_says_what_was_asked_for() {
    let user = user(built_in_policy("readwrite"));
    let policy =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
    let issued = ask(Requester::User(&user), &wanted(Some(policy))).expect("it is allowed");
    let opened = open(&Secret::new(vec![1; 32]), issued.sealed.token.as_bytes()).expect("a token");
    let expected = Grant {
        unique_id: "AIDAAAAAAAAAAAAAAAAAA",
        role_id: "",
        session_name: "test",
        issued: Timestamp::from_seconds(NOW.seconds),
        expires: Timestamp::from_seconds(NOW.seconds + 900),
        policy: Some(policy),
    };
    assert_eq!(opened.grant(), expected);
    assert_eq!(issued.expires, expected.expires);
}

#[test]
fn a_session_policy_is_parsed_strictly() {
    let user = user(built_in_policy("readwrite"));
    let check = |policy: &str| ask(Requester::User(&user), &wanted(Some(policy))).err();
    let statement = r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#;
    assert_eq!(check(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)), None);
    for policy in ["", "{", "{}", "null", &format!(r#"{{"Statement":{statement}}}"#)] {
        assert_eq!(check(policy), Some(Code::MalformedPolicyDocument), "{policy}");
    }
    let padded = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}{:2048}"#, "");
    assert_eq!(check(&padded), Some(Code::PackedPolicyTooLarge));
}
