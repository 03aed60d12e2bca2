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
use crate::iam::{ACCOUNT, Document, Kind, Policy, Secret, Snapshot, User};

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
    /// `aws:userid`: the user's unique id, and behind a colon the session's name if it has one.
    pub user_id: Box<str>,
    /// `arn:aws:sts::<account>:assumed-role/<user>/<session>`; none for GetSessionToken, whose sessions are the user.
    pub arn: Option<Box<str>>,
    /// When it began.
    pub issued: Timestamp,
    /// From when on it is dead.
    pub expires: Timestamp,
    /// What it is limited to, beyond the policy of the user.
    pub policy: Option<Arc<Policy>>,
}

/// Why a token is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It was not made here, was changed, or holds a policy that this release refuses.
    Token,
    /// It belongs to other keys.
    OtherKeys,
    /// The user it stands for is gone.
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

    /// The session that `token` stands for, if `access_key` belongs to it and it lives, with its user as the snapshot
    /// has it. The signature is still to be verified.
    ///
    /// # Errors
    /// See [`Invalid`].
    pub fn find<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        access_key: &str,
        token: &[u8],
        now: Timestamp,
    ) -> Result<(Arc<Session>, &'s Arc<User>), Invalid> {
        let key = snapshot.token_key().ok_or(Invalid::Token)?;
        self.clock += 1;
        let set_index = hash(token) & (self.sets.len() - 1);
        let set = &mut self.sets[set_index];
        let is_it = |entry: &&mut Entry| Arc::ptr_eq(&entry.key, key) && *entry.token == *token;
        if let Some(entry) = set.iter_mut().flatten().find(is_it) {
            entry.used = self.clock;
            let user = check(&entry.session, snapshot, access_key, now)?;
            return Ok((entry.session.clone(), user));
        }
        let opened = token::open(key, token).ok_or(Invalid::Token)?;
        let user = snapshot.user_by_unique_id(opened.grant().unique_id);
        let session = Session::new(opened, user.map_or("", |user| &user.name)).ok_or(Invalid::Token)?;
        let user = check(&session, snapshot, access_key, now)?;
        let session = Arc::new(session);
        let entry =
            Entry { token: token.into(), key: key.clone(), session: session.clone(), used: self.clock };
        set[oldest(set)] = Some(entry);
        Ok((session, user))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({} sets)", self.sets.len())
    }
}

impl Session {
    /// A user's name never changes as long as its unique id lives, so it may stand in the session.
    fn new(opened: Opened, user_name: &str) -> Option<Session> {
        let grant = opened.grant();
        let policy = match grant.policy {
            None => None,
            Some(text) => {
                let document = Document::parse(text.as_bytes(), Kind::Session).ok()?;
                Some(Arc::new(Policy::compile(&document)))
            }
        };
        let (user_id, arn) = match grant.session_name {
            "" => (grant.unique_id.into(), None),
            name => (user_id(grant.unique_id, name), Some(session_arn(user_name, name))),
        };
        Some(Session {
            unique_id: grant.unique_id.into(),
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

/// `aws:userid` of a session.
#[must_use]
pub fn user_id(unique_id: &str, session_name: &str) -> Box<str> {
    format!("{unique_id}:{session_name}").into()
}

/// The ARN of a session.
#[must_use]
pub fn session_arn(user_name: &str, session_name: &str) -> Box<str> {
    format!("arn:aws:sts::{ACCOUNT}:assumed-role/{user_name}/{session_name}").into()
}

/// What has to hold at each use.
fn check<'s>(
    session: &Session,
    snapshot: &'s Snapshot,
    access_key: &str,
    now: Timestamp,
) -> Result<&'s Arc<User>, Invalid> {
    if *session.access_key != *access_key {
        return Err(Invalid::OtherKeys);
    }
    let user = snapshot.user_by_unique_id(&session.unique_id).ok_or(Invalid::NoUser)?;
    if now.seconds >= session.expires.seconds {
        return Err(Invalid::Expired);
    }
    Ok(user)
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
    use crate::iam::{PosixOwner, SnapshotBuilder};

    const NOW: Timestamp = Timestamp { seconds: 1_000_000, nanos: 5 };
    const POLICY: &str =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;

    fn snapshot(unique_id: &str, key: Option<&Arc<Secret>>) -> Snapshot {
        let mut builder = SnapshotBuilder::new(1);
        let user = User {
            name: "alice".into(),
            unique_id: unique_id.into(),
            owner: PosixOwner { uid: 1, gid: 1 },
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
            let (session, user) = found.expect("it lives");
            assert_eq!(&*user.name, "alice");
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
