//! What the store holds, opened and compiled, and the snapshot made of it.
//!
//! Holds no rule of a change and does no I/O: `identity` checks, commits, and then changes the entries here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::record::{
    self, AccessKeyRecord, PolicyRecord, RoleRecord, ServiceAccountRecord, UserRecord,
};
use super::super::store::{Contents, StoredSecret};
use super::super::{Error, ErrorKind, StartError, wire};
use crate::codec::dates::Timestamp;
use crate::iam::principal::Duplicate;
use crate::iam::{
    ACCOUNT, BUILT_IN_POLICIES, Credential, CredentialKind, Document, Kind, Policy, PosixOwner,
    PrincipalName, Role, Secret, Snapshot, SnapshotBuilder, User,
};

/// What the store holds, opened and compiled.
pub(super) struct State {
    pub(super) sequence: u64,
    /// Counts the snapshots of this process.
    pub(super) generation: u64,
    pub(super) users: BTreeMap<Arc<str>, UserEntry>,
    /// The built-in ones included.
    pub(super) policies: BTreeMap<Arc<str>, PolicyEntry>,
    pub(super) service_accounts: BTreeMap<Arc<str>, ServiceAccountEntry>,
    pub(super) access_keys: BTreeMap<Arc<str>, AccessKeyEntry>,
    /// By name in lower case: names of roles are unique whatever their case.
    pub(super) roles: BTreeMap<String, RoleEntry>,
    /// The server's own account.
    pub(super) account: Arc<str>,
    pub(super) bucket_policies: BTreeMap<Arc<str>, Arc<Policy>>,
    pub(super) token_key: Option<Arc<Secret>>,
    /// Replaced snapshots that a worker still held.
    pub(super) retired: Vec<Arc<Snapshot>>,
}

pub(super) struct UserEntry {
    pub(super) record: UserRecord,
    /// None if it has access keys only.
    pub(super) secret: Option<StoredSecret>,
    pub(super) policy: Option<Arc<str>>,
    pub(super) inline: Inline,
}

pub(super) struct AccessKeyEntry {
    pub(super) record: AccessKeyRecord,
    pub(super) secret: StoredSecret,
}

pub(super) struct RoleEntry {
    pub(super) name: Arc<str>,
    pub(super) record: RoleRecord,
    pub(super) trust: Arc<Policy>,
    pub(super) inline: Inline,
}

/// The inline policies of a user or role, and all of them as one.
#[derive(Default)]
pub(super) struct Inline {
    policies: BTreeMap<String, PolicyRecord>,
    compiled: Option<Arc<Policy>>,
    /// Joined to this attached policy: joining costs more than all else that a snapshot does for a user.
    joined: RefCell<Option<Joined>>,
}

struct Joined {
    attached: Arc<Policy>,
    policy: Arc<Policy>,
}

impl Inline {
    pub(super) fn new(policies: BTreeMap<String, PolicyRecord>, kind: Kind<'_>) -> Result<Self, Error> {
        let documents = policies.values().map(|policy| parse(&policy.document, kind));
        let documents = documents.collect::<Result<Vec<_>, _>>()?;
        let compiled = (!documents.is_empty()).then(|| Arc::new(Policy::merge(&documents)));
        Ok(Self { policies, compiled, joined: RefCell::default() })
    }

    /// With this policy put or, without a record, removed.
    pub(super) fn with(
        &self,
        name: &str,
        record: Option<PolicyRecord>,
        kind: Kind<'_>,
    ) -> Result<Self, Error> {
        let mut policies = self.policies.clone();
        match record {
            Some(record) => policies.insert(name.to_owned(), record),
            None => policies.remove(name),
        };
        Self::new(policies, kind)
    }

    pub(super) fn policies(&self) -> &BTreeMap<String, PolicyRecord> {
        &self.policies
    }

    /// The inline policies behind an attached one, and the names of all in that order.
    fn behind(&self, attached: Option<(&Arc<str>, &Arc<Policy>)>) -> (Option<Arc<Policy>>, Vec<Arc<str>>) {
        let mut names: Vec<Arc<str>> = attached.iter().map(|(name, _)| (*name).clone()).collect();
        names.extend(self.policies.keys().map(|name| format!("{name} (inline)").into()));
        let policy = match (attached.map(|(_, policy)| policy), &self.compiled) {
            (Some(attached), Some(inline)) => Some(self.joined(attached, inline)),
            (Some(only), None) | (None, Some(only)) => Some(only.clone()),
            (None, None) => None,
        };
        (policy, names)
    }

    fn joined(&self, attached: &Arc<Policy>, inline: &Policy) -> Arc<Policy> {
        let mut kept = self.joined.borrow_mut();
        match &*kept {
            Some(joined) if Arc::ptr_eq(&joined.attached, attached) => joined.policy.clone(),
            _ => {
                let policy = Arc::new(Policy::join([&**attached, inline]));
                *kept = Some(Joined { attached: attached.clone(), policy: policy.clone() });
                policy
            }
        }
    }
}

pub(super) struct PolicyEntry {
    pub(super) document: Arc<str>,
    pub(super) compiled: Arc<Policy>,
    /// None: built in.
    pub(super) changed: Option<i64>,
}

pub(super) struct ServiceAccountEntry {
    pub(super) record: ServiceAccountRecord,
    pub(super) secret: StoredSecret,
    pub(super) embedded: Option<Arc<Policy>>,
}

impl State {
    pub(super) fn load(contents: Contents) -> Result<Self, StartError> {
        let invalid = |what: &str, error: &dyn std::fmt::Display| {
            StartError::new(format!(
                "the stored policy of {what} is not valid for this program: {error}. Start the release that wrote it, \
                 replace the policy there, and upgrade then"
            ))
        };
        let mut policies = BTreeMap::new();
        for (name, document) in BUILT_IN_POLICIES {
            let compiled = compile(document, Kind::Identity).map_err(|error| invalid(name, &error))?;
            let entry = PolicyEntry { document: document.into(), compiled, changed: None };
            policies.insert(Arc::from(name), entry);
        }
        for (name, policy) in contents.policies {
            let compiled =
                compile(&policy.document, Kind::Identity).map_err(|error| invalid(&name, &error))?;
            if policies.insert(name.as_str().into(), PolicyEntry::custom(policy, compiled)).is_some() {
                return Err(invalid(&name, &"its name is now that of a built-in policy"));
            }
        }
        let mut users = BTreeMap::new();
        for (name, user) in contents.users {
            let policy = match &user.policy {
                None => None,
                Some(policy) => match policies.get_key_value(policy.as_str()) {
                    Some((policy, _)) => Some(policy.clone()),
                    None => {
                        return Err(invalid(
                            &name,
                            &format_args!("it attaches {policy:?}, which is missing"),
                        ));
                    }
                },
            };
            let inline = Inline::new(user.inline, Kind::Identity).map_err(|error| invalid(&name, &error))?;
            let entry = UserEntry { record: user.record, secret: user.secret, policy, inline };
            users.insert(name.into(), entry);
        }
        let access_keys = contents.access_keys.into_iter().map(|(access_key, key)| {
            (Arc::from(access_key), AccessKeyEntry { record: key.record, secret: key.secret })
        });
        let mut roles = BTreeMap::new();
        for (name, role) in contents.roles {
            let broken = |error: Error| invalid(&name, &error);
            let trust = compile(&role.record.trust, Kind::Trust).map_err(broken)?;
            let inline = Inline::new(role.inline, Kind::Role).map_err(broken)?;
            let entry = RoleEntry { name: name.as_str().into(), record: role.record, trust, inline };
            if roles.insert(name.to_ascii_lowercase(), entry).is_some() {
                return Err(invalid(&name, &"another role has the same name in another case"));
            }
        }
        let mut service_accounts = BTreeMap::new();
        for (access_key, account) in contents.service_accounts {
            let embedded = account.record.policy.as_deref();
            let embedded = embedded
                .map(|document| compile(document, Kind::Session))
                .transpose()
                .map_err(|error| invalid(&access_key, &error))?;
            let entry = ServiceAccountEntry { record: account.record, secret: account.secret, embedded };
            service_accounts.insert(access_key.into(), entry);
        }
        let state = Self {
            sequence: contents.sequence,
            generation: 1,
            users,
            policies,
            service_accounts,
            access_keys: access_keys.collect(),
            roles,
            account: ACCOUNT.into(),
            bucket_policies: BTreeMap::new(),
            token_key: contents.token_key.map(Arc::new),
            retired: Vec::new(),
        };
        state.try_snapshot().map_err(|Duplicate(what)| {
            StartError::new(format!(
                "the identity store holds {what:?} twice, as a user, a service account, an access key or a unique id. \
                 Restore it from a backup"
            ))
        })?;
        Ok(state)
    }

    /// The state as the data plane reads it. Built anew each time, from shared names and compiled policies, so that
    /// no bookkeeping of what a change touches can go wrong; at the limits it costs a few milliseconds.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.try_snapshot().expect("names and unique ids differ: checked at start and before each commit")
    }

    fn try_snapshot(&self) -> Result<Snapshot, Duplicate> {
        let mut builder = SnapshotBuilder::new(self.generation);
        let mut users = BTreeMap::new();
        builder.account(self.account.clone());
        // Whom the cluster admin made comes first, then who was made first: the owner of files of a shared UID is never
        // somebody whom a user of the IAM API, or anybody later, has added to it.
        let mut users_in_order: Vec<_> = self.users.iter().collect();
        users_in_order.sort_by_key(|(_, entry)| (entry.record.keys_only, entry.record.created));
        for (name, entry) in users_in_order {
            let attached = entry.policy.as_ref().map(|name| (name, &self.policies[name].compiled));
            let (policy, policy_names) = entry.inline.behind(attached);
            let user = Arc::new(User {
                name: name.clone(),
                unique_id: entry.record.unique_id.as_str().into(),
                owner: PosixOwner { uid: entry.record.posix_uid, gid: entry.record.posix_gid },
                groups: entry.record.posix_groups.as_deref().map(Arc::from),
                principal: self.principal_of_user(name, &entry.record),
                policy,
                policy_names,
            });
            builder.user(user.clone())?;
            if let Some(secret) = &entry.secret {
                builder.credential(credential(name, secret, CredentialKind::User, &user))?;
            }
            users.insert(&**name, user);
        }
        for (access_key, entry) in self.access_keys.iter().filter(|(_, entry)| entry.record.active) {
            let user = &users[entry.record.user.as_str()];
            builder.credential(credential(access_key, &entry.secret, CredentialKind::User, user))?;
        }
        for entry in self.roles.values() {
            let (policy, _) = entry.inline.behind(None);
            builder.role(Arc::new(Role {
                name: entry.name.clone(),
                unique_id: entry.record.unique_id.as_str().into(),
                principal: self.principal_of_role(entry),
                policy,
                trust: entry.trust.clone(),
                session_seconds_max: entry.record.session_seconds_max,
            }))?;
        }
        for (access_key, entry) in &self.service_accounts {
            let kind = CredentialKind::ServiceAccount { embedded: entry.embedded.clone() };
            let parent = &users[entry.record.parent.as_str()];
            builder.credential(credential(access_key, &entry.secret, kind, parent))?;
        }
        for (bucket, policy) in &self.bucket_policies {
            builder.bucket_policy(bucket.clone(), policy.clone())?;
        }
        if let Some(key) = &self.token_key {
            builder.token_key(key.clone());
        }
        Ok(builder.build())
    }

    /// The account with this id, or without one the server's own.
    pub(super) fn account(&self, id: Option<&str>) -> Arc<str> {
        id.map_or_else(|| self.account.clone(), Into::into)
    }

    pub(super) fn principal_of_user(&self, name: &str, record: &UserRecord) -> PrincipalName {
        let account = self.account(record.account.as_deref());
        match record.account_root {
            true => PrincipalName::of_root(&account),
            false => PrincipalName::of_user(&account, record.path(), name),
        }
    }

    pub(super) fn principal_of_role(&self, entry: &RoleEntry) -> PrincipalName {
        let account = self.account(entry.record.account.as_deref());
        PrincipalName::of_role(&account, &entry.record.path, &entry.name)
    }

    /// Whether no credential and no user may be called so any more.
    pub(super) fn is_taken(&self, access_key: &str) -> bool {
        self.users.contains_key(access_key)
            || self.service_accounts.contains_key(access_key)
            || self.access_keys.contains_key(access_key)
    }

    pub(super) fn access_keys_of<'a>(
        &'a self,
        user: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a AccessKeyEntry)> {
        self.access_keys.iter().filter(move |(_, key)| key.record.user == user)
    }

    pub(super) fn user(&self, name: &str) -> Result<&UserEntry, Error> {
        self.users.get(name).ok_or_else(|| {
            let message = format!("there is no user {name:?}; `sluicegate user list` shows all");
            Error::new(ErrorKind::NoSuchUser, message)
        })
    }

    /// A user that [`State::user`] has found under the same lock.
    pub(super) fn user_mut(&mut self, name: &str) -> &mut UserEntry {
        self.users.get_mut(name).expect("the user was found under this lock")
    }

    pub(super) fn policy(&self, name: &str) -> Result<(&Arc<str>, &PolicyEntry), Error> {
        self.policies.get_key_value(name).ok_or_else(|| {
            let message = format!("there is no policy {name:?}; `sluicegate policy list` shows all");
            Error::new(ErrorKind::NoSuchPolicy, message)
        })
    }

    pub(super) fn service_account(
        &self,
        owner: &str,
        access_key: &str,
    ) -> Result<&ServiceAccountEntry, Error> {
        self.service_accounts.get(access_key).filter(|account| account.record.parent == owner).ok_or_else(
            || {
                let message = format!("the user {owner:?} has no service account {access_key:?}");
                Error::new(ErrorKind::NoSuchServiceAccount, message)
            },
        )
    }

    pub(super) fn users_of<'a>(&'a self, policy: &'a str) -> impl Iterator<Item = &'a str> {
        let attached = self.users.iter().filter(move |(_, user)| user.policy.as_deref() == Some(policy));
        attached.map(|(name, _)| &**name)
    }

    pub(super) fn service_accounts_of<'a>(
        &'a self,
        owner: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a ServiceAccountEntry)> {
        self.service_accounts.iter().filter(move |(_, account)| account.record.parent == owner)
    }

    pub(super) fn show_user(&self, name: &str) -> Result<wire::User, Error> {
        Ok(self.show(name, self.user(name)?, self.service_accounts_of(name).count()))
    }

    pub(super) fn show(&self, name: &str, user: &UserEntry, service_accounts: usize) -> wire::User {
        wire::User {
            name: name.to_owned(),
            unique_id: user.record.unique_id.clone(),
            arn: self.principal_of_user(name, &user.record).arn.to_string(),
            posix_uid: user.record.posix_uid,
            posix_gid: user.record.posix_gid,
            posix_groups: user.record.posix_groups.clone(),
            policy: user.policy.as_ref().map(|name| name.to_string()),
            inline_policies: user.inline.policies.keys().cloned().collect(),
            access_keys: self.access_keys_of(name).map(|(key, _)| key.to_string()).collect(),
            service_accounts,
            created: iso8601(user.record.created),
        }
    }

    pub(super) fn show_policy(&self, name: &str) -> Result<wire::Policy, Error> {
        Ok(self.policy(name)?.1.show(name, self.users_of(name).map(str::to_owned).collect()))
    }
}

impl PolicyEntry {
    pub(super) fn custom(record: PolicyRecord, compiled: Arc<Policy>) -> Self {
        Self { document: record.document.into(), compiled, changed: Some(record.changed) }
    }

    /// The record of a custom policy.
    pub(super) fn record(&self) -> Option<PolicyRecord> {
        self.changed.map(|changed| PolicyRecord { document: self.document.to_string(), changed })
    }

    pub(super) fn is_built_in(&self) -> bool {
        self.changed.is_none()
    }

    pub(super) fn show(&self, name: &str, users: Vec<String>) -> wire::Policy {
        wire::Policy {
            name: name.to_owned(),
            built_in: self.is_built_in(),
            users,
            document: Some(self.document.to_string()),
            changed: self.changed.map(iso8601),
        }
    }
}

impl ServiceAccountEntry {
    pub(super) fn show(&self, access_key: &str, policy_content: Option<&str>) -> wire::ServiceAccount {
        wire::ServiceAccount {
            access_key: access_key.to_owned(),
            parent_user: self.record.parent.clone(),
            implied_policy: self.record.policy.is_none(),
            policy_content: policy_content.map(str::to_owned),
            created: iso8601(self.record.created),
        }
    }
}

fn credential(
    access_key: &Arc<str>,
    secret: &StoredSecret,
    kind: CredentialKind,
    user: &Arc<User>,
) -> Arc<Credential> {
    Arc::new(Credential {
        access_key: access_key.clone(),
        secret: Secret::new(secret.text.expose().as_bytes().to_vec()),
        secret_id: secret.id,
        kind,
        user: user.clone(),
    })
}

pub(super) fn compile(document: &str, kind: Kind<'_>) -> Result<Arc<Policy>, Error> {
    Ok(Arc::new(Policy::compile(&parse(document, kind)?)))
}

fn parse(document: &str, kind: Kind<'_>) -> Result<Document, Error> {
    record::check_policy_bytes(document.len())?;
    Document::parse(document.as_bytes(), kind)
        .map_err(|error| Error::new(ErrorKind::MalformedPolicy, error.to_string()))
}

pub(super) fn iso8601(seconds: i64) -> String {
    String::from_utf8_lossy(&Timestamp::from_seconds(seconds).iso8601_millis()).into_owned()
}
