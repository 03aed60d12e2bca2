//! Sessions: opened tokens, and the per-core cache of them.
//!
//! Opening a token costs microseconds, compiling its policy tens of them; a session is used for many requests. So each
//! core keeps the sessions it has seen. Only what cannot change is kept. The user is looked up in the snapshot of each
//! request, and the end of the session is compared each time: a removed user and a passed hour act at once.
//!
//! The cache is bounded and needs no lock. Entries live in sets of four, chosen by the end of the token, where its tag
//! stands; the whole token is then compared. Not in constant time: a token is no secret by itself, as nothing can be
//! signed with it. Tokens that do not open are not kept, so that nobody without credentials can push entries out.

use std::fmt;
use std::sync::Arc;

use super::token::{self, Opened};
use crate::codec::dates::Timestamp;
use crate::iam::{Document, Kind, Policy, Role, Secret, Snapshot, User};

/// A session, without the user it belongs to.
#[derive(Debug)]
pub struct Session {
    /// The access key.
    pub access_key: Box<str>,
    /// The secret key.
    pub secret: Secret,
    /// As [`crate::iam::Credential::secret_id`].
    pub secret_id: u64,
    /// The unique id of the user it stands for.
    pub unique_id: Box<str>,
    /// The unique id of the role that the user assumed.
    pub role_id: Option<Box<str>>,
    /// `aws:userid`: the unique id of the role or else the user, and behind a colon the session's name if it has one.
    pub user_id: Box<str>,
    /// `arn:aws:sts::<account>:assumed-role/<role or else user>/<session>`; none for GetSessionToken, whose sessions are
    /// the user.
    pub arn: Option<Box<str>>,
    /// When it began.
    pub issued: Timestamp,
    /// From when on it is dead.
    pub expires: Timestamp,
    /// What it is limited to, beyond the policy of the role or else the user.
    pub policy: Option<Arc<Policy>>,
}

/// Whom a session stands for, as the snapshot has them.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'s> {
    /// The user who got it.
    pub user: &'s Arc<User>,
    /// The role that the user assumed: its permissions hold in place of the user's.
    pub role: Option<&'s Arc<Role>>,
}

/// Why a token is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It was not made here, was changed, or holds a policy that this release refuses.
    Token,
    /// It belongs to other keys.
    OtherKeys,
    /// The user it stands for is gone, or the role.
    NoUser,
    /// It has ended.
    Expired,
}

/// The sessions of one core.
pub struct Sessions {
    sets: Box<[[Option<Entry>; WAYS]]>,
    clock: u64,
}

struct Entry {
    token: Box<[u8]>,
    /// What the token was opened with: another key must open it again.
    key: Arc<Secret>,
    session: Arc<Session>,
    used: u64,
}

impl Sessions {
    /// A cache of at least `entries_max` sessions, rounded up to a power of two. One takes about 1 KiB, with a large
    /// session policy about 10 KiB.
    #[must_use]
    pub fn new(entries_max: usize) -> Sessions {
        let sets = entries_max.div_ceil(WAYS).next_power_of_two();
        Sessions { sets: (0..sets).map(|_| [const { None }; WAYS]).collect(), clock: 0 }
    }

    /// The session that `token` stands for, if `access_key` belongs to it and it lives, with its user and role as the
    /// snapshot has them. The signature is still to be verified.
    ///
    /// # Errors
    /// See [`Invalid`].
    pub fn find<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        access_key: &str,
        token: &[u8],
        now: Timestamp,
    ) -> Result<(Arc<Session>, Holder<'s>), Invalid> {
        let key = snapshot.token_key().ok_or(Invalid::Token)?;
        self.clock += 1;
        let set_index = hash(token) & (self.sets.len() - 1);
        let set = &mut self.sets[set_index];
        let is_it = |entry: &&mut Entry| Arc::ptr_eq(&entry.key, key) && *entry.token == *token;
        if let Some(entry) = set.iter_mut().flatten().find(is_it) {
            entry.used = self.clock;
            let holder = check(&entry.session, snapshot, access_key, now)?;
            return Ok((entry.session.clone(), holder));
        }
        let opened = token::open(key, token).ok_or(Invalid::Token)?;
        let session = Session::new(opened, snapshot).ok_or(Invalid::Token)?;
        let holder = check(&session, snapshot, access_key, now)?;
        let session = Arc::new(session);
        let entry =
            Entry { token: token.into(), key: key.clone(), session: session.clone(), used: self.clock };
        set[oldest(set)] = Some(entry);
        Ok((session, holder))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({} sets)", self.sets.len())
    }
}

impl Session {
    /// The name and account of a user or role never change as long as its unique id lives, so they may stand in the
    /// session. Those of one that is gone are not looked at again.
    fn new(opened: Opened, snapshot: &Snapshot) -> Option<Session> {
        let grant = opened.grant();
        let user = snapshot.user_by_unique_id(grant.unique_id);
        let role = snapshot.role_by_unique_id(grant.role_id);
        let (account, assumed) = match (role, user) {
            (Some(role), _) => (&*role.principal.account, &*role.name),
            (None, Some(user)) => (&*user.principal.account, &*user.name),
            (None, None) => ("", ""),
        };
        let policy = match grant.policy {
            None => None,
            Some(text) => {
                let document = Document::parse(text.as_bytes(), Kind::Session).ok()?;
                Some(Arc::new(Policy::compile(&document)))
            }
        };
        let (user_id, arn) = match grant.session_name {
            "" => (grant.unique_id.into(), None),
            name => {
                let id = if grant.role_id.is_empty() { grant.unique_id } else { grant.role_id };
                (user_id(id, name), Some(session_arn(account, assumed, name)))
            }
        };
        Some(Session {
            unique_id: grant.unique_id.into(),
            role_id: (!grant.role_id.is_empty()).then(|| grant.role_id.into()),
            user_id,
            arn,
            issued: grant.issued,
            expires: grant.expires,
            policy,
            access_key: opened.access_key.as_str().into(),
            secret_id: opened.secret_id,
            secret: opened.secret,
        })
    }
}

/// `aws:userid` of a session of the role, or else the user, with this unique id.
#[must_use]
pub fn user_id(unique_id: &str, session_name: &str) -> Box<str> {
    format!("{unique_id}:{session_name}").into()
}

/// The ARN of a session of the role, or else the user, with this name.
#[must_use]
pub fn session_arn(account: &str, assumed: &str, session_name: &str) -> Box<str> {
    format!("arn:aws:sts::{account}:assumed-role/{assumed}/{session_name}").into()
}

/// What has to hold at each use.
fn check<'s>(
    session: &Session,
    snapshot: &'s Snapshot,
    access_key: &str,
    now: Timestamp,
) -> Result<Holder<'s>, Invalid> {
    if *session.access_key != *access_key {
        return Err(Invalid::OtherKeys);
    }
    let user = snapshot.user_by_unique_id(&session.unique_id).ok_or(Invalid::NoUser)?;
    let role = match &session.role_id {
        None => None,
        Some(id) => Some(snapshot.role_by_unique_id(id).ok_or(Invalid::NoUser)?),
    };
    if now.seconds >= session.expires.seconds {
        return Err(Invalid::Expired);
    }
    Ok(Holder { user, role })
}

/// The way of `set` to give away: an empty one, else the one used longest ago.
fn oldest(set: &[Option<Entry>; WAYS]) -> usize {
    let used = |way: usize| set[way].as_ref().map_or(0, |entry| entry.used);
    (0..WAYS).min_by_key(|&way| used(way)).unwrap_or(0)
}

/// The last characters of a token are those of its tag, which is as good as random.
fn hash(token: &[u8]) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let tail = token.last_chunk().map_or(0, |tail| u128::from_le_bytes(*tail));
    let folded = ((tail >> 64) as u64 ^ tail as u64).wrapping_mul(ODD);
    (folded >> 32) as usize
}

/// Entries of one set.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
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
}
