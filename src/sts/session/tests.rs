use super::super::token::{Grant, Sealed, TOKEN_ID_BYTES, seal};
use super::*;
use crate::iam::{ACCOUNT, PosixOwner, PrincipalName, SnapshotBuilder};

const NOW: Timestamp = Timestamp { seconds: 1_000_000, nanos: 5 };
const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;

fn snapshot(unique_id: &str, key: Option<&Arc<Secret>>) -> Snapshot {
    let mut builder = SnapshotBuilder::new(1);
    let user = User {
        name: "alice".into(),
        unique_id: unique_id.into(),
        owner: PosixOwner { uid: 1, gid: 1 },
        groups: None,
        principal: PrincipalName::of_user(&ACCOUNT.into(), "/", "alice"),
        policy: None,
        policy_names: Vec::new(),
    };
    builder.user(Arc::new(user)).expect("one user");
    if let Some(key) = key {
        builder.token_key(key.clone());
    }
    builder.build()
}

fn key(byte: u8) -> Arc<Secret> {
    Arc::new(Secret::new(vec![byte; 32]))
}

fn sealed(key: &Secret, number: u64, name: &str, policy: Option<&str>) -> Sealed {
    let mut id = [0; TOKEN_ID_BYTES];
    id[..8].copy_from_slice(&number.to_le_bytes());
    let grant = Grant {
        unique_id: "AIDA1",
        role_id: "",
        session_name: name,
        issued: Timestamp::from_seconds(NOW.seconds),
        expires: Timestamp::from_seconds(NOW.seconds + 900),
        policy,
    };
    seal(key, &id, &grant)
}

#[test]
fn a_session_is_what_its_token_says() {
    let key = key(1);
    let snapshot = snapshot("AIDA1", Some(&key));
    let mut sessions = Sessions::new(8);
    let made = sealed(&key, 1, "backup", Some(POLICY));
    for _ in 0..2 {
        let found = sessions.find(&snapshot, &made.access_key, made.token.as_bytes(), NOW);
        let (session, holder) = found.expect("it lives");
        assert_eq!((&*holder.user.name, holder.role.is_none()), ("alice", true));
        assert_eq!(session.secret, made.secret);
        assert_eq!(&*session.user_id, "AIDA1:backup");
        assert_eq!(session.arn.as_deref(), Some("arn:aws:sts::000000000000:assumed-role/alice/backup"));
        assert!(session.policy.is_some());
        assert_eq!(session.issued.seconds, NOW.seconds);
    }
    let made = sealed(&key, 2, "", None);
    let found = sessions.find(&snapshot, &made.access_key, made.token.as_bytes(), NOW);
    let (session, _) = found.expect("it lives");
    assert_eq!((&*session.user_id, session.arn.as_deref()), ("AIDA1", None));
    assert!(session.policy.is_none());
}

#[test]
fn a_session_of_a_role_lives_with_the_user_and_the_role() {
    let key = key(1);
    let with_role = |unique_id: &str, role_id: &str| {
        let mut builder = SnapshotBuilder::new(1);
        let account = "123456789012".into();
        let user = User {
            name: "alice".into(),
            unique_id: unique_id.into(),
            owner: PosixOwner { uid: 1, gid: 1 },
            groups: None,
            principal: PrincipalName::of_user(&account, "/", "alice"),
            policy: None,
            policy_names: Vec::new(),
        };
        let role = Role {
            name: "backup".into(),
            unique_id: role_id.into(),
            principal: PrincipalName::of_role(&account, "/jobs/", "backup"),
            policy: None,
            trust: Arc::new(Policy::merge([])),
            session_seconds_max: 3600,
        };
        builder.user(Arc::new(user)).expect("one user").role(Arc::new(role)).expect("one role");
        builder.token_key(key.clone());
        builder.build()
    };
    let grant = Grant {
        unique_id: "AIDA1",
        role_id: "AROA1",
        session_name: "job",
        issued: NOW,
        expires: Timestamp::from_seconds(NOW.seconds + 900),
        policy: None,
    };
    let made = seal(&key, &[7; TOKEN_ID_BYTES], &grant);
    let mut sessions = Sessions::new(8);
    for (unique_id, role_id, lives) in [
        ("AIDA1", "AROA1", true),
        ("AIDA1", "AROA2", false),
        ("AIDA2", "AROA1", false),
        ("AIDA1", "AROA1", true),
    ] {
        let snapshot = with_role(unique_id, role_id);
        for sessions in [&mut Sessions::new(8), &mut sessions] {
            let found = sessions.find(&snapshot, &made.access_key, made.token.as_bytes(), NOW);
            let Ok((session, holder)) = found else {
                assert_eq!((found.err(), lives), (Some(Invalid::NoUser), false));
                continue;
            };
            assert!(lives);
            assert_eq!(holder.role.map(|role| &*role.name), Some("backup"));
            assert_eq!(&*session.user_id, "AROA1:job");
            let arn = "arn:aws:sts::123456789012:assumed-role/backup/job";
            assert_eq!(session.arn.as_deref(), Some(arn));
        }
    }
}

#[test]
fn refusals_hold_for_new_and_for_kept_sessions() {
    let (first, second) = (key(1), key(2));
    let alive = snapshot("AIDA1", Some(&first));
    let made = sealed(&first, 1, "s1", None);
    let other = sealed(&first, 2, "s2", None);
    for kept in [false, true] {
        let check = |snapshot: &Snapshot, access_key: &str, token: &str, later: i64, expected| {
            let mut sessions = Sessions::new(8);
            if kept {
                sessions.find(&alive, &made.access_key, made.token.as_bytes(), NOW).expect("it lives");
            }
            let now = Timestamp { seconds: NOW.seconds + later, nanos: 0 };
            let found = sessions.find(snapshot, access_key, token.as_bytes(), now);
            assert_eq!(found.err(), expected, "kept: {kept}");
        };
        let (access_key, token) = (&made.access_key, &made.token);
        check(&alive, access_key, token, 0, None);
        check(&alive, access_key, token, 899, None);
        check(&alive, access_key, token, 900, Some(Invalid::Expired));
        check(&alive, &other.access_key, token, 0, Some(Invalid::OtherKeys));
        check(&alive, access_key, &other.token, 0, Some(Invalid::OtherKeys));
        check(&alive, access_key, "AAAA", 0, Some(Invalid::Token));
        check(&alive, access_key, "", 0, Some(Invalid::Token));
        check(&snapshot("AIDA2", Some(&first)), access_key, token, 0, Some(Invalid::NoUser));
        check(&snapshot("AIDA1", Some(&second)), access_key, token, 0, Some(Invalid::Token));
        check(&snapshot("AIDA1", None), access_key, token, 0, Some(Invalid::Token));
    }
}

#[test]
fn a_policy_that_is_not_understood_fails_closed() {
    let key = key(1);
    let snapshot = snapshot("AIDA1", Some(&key));
    let made = sealed(&key, 1, "s1", Some("{}"));
    let found = Sessions::new(8).find(&snapshot, &made.access_key, made.token.as_bytes(), NOW);
    assert_eq!(found.err(), Some(Invalid::Token));
}

#[test]
fn the_cache_stays_bounded_and_keeps_what_is_used() {
    let key = key(1);
    let snapshot = snapshot("AIDA1", Some(&key));
    let mut sessions = Sessions::new(WAYS);
    let made: Vec<Sealed> = (0..100).map(|number| sealed(&key, number, "s1", None)).collect();
    let mut find = |made: &Sealed| {
        let found = sessions.find(&snapshot, &made.access_key, made.token.as_bytes(), NOW);
        let (session, _) = found.expect("it lives");
        (session, sessions.sets.iter().flatten().flatten().count())
    };
    let (first, _) = find(&made[0]);
    for other in &made[1..] {
        let (session, count) = find(other);
        assert_eq!(session.secret, other.secret);
        assert!(count <= WAYS);
        let (again, _) = find(&made[0]);
        assert!(Arc::ptr_eq(&first, &again), "the one in use stays");
    }
}
