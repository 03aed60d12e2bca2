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
    opened: u64,
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
        Sessions { sets: (0..sets).map(|_| [const { None }; WAYS]).collect(), clock: 0, opened: 0 }
    }

    /// How many tokens were looked into because they were not known.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
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
        self.opened += 1;
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
mod tests;
