//! What the store holds, opened and compiled, and the snapshot made of it.
//!
//! Holds no rule of a change and does no I/O: `identity` checks, commits, and then changes the entries here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::record::{self, PolicyRecord, ServiceAccountRecord, UserRecord};
use super::super::store::{Contents, StoredSecret};
use super::super::{Error, ErrorKind, StartError, wire};
use crate::codec::dates::Timestamp;
use crate::iam::principal::Duplicate;
use crate::iam::{
    BUILT_IN_POLICIES, Credential, CredentialKind, Document, Kind, Policy, PosixOwner, Secret, Snapshot,
    SnapshotBuilder, User,
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
    pub(super) bucket_policies: BTreeMap<Arc<str>, Arc<Policy>>,
    pub(super) token_key: Option<Arc<Secret>>,
    /// Replaced snapshots that a worker still held.
    pub(super) retired: Vec<Arc<Snapshot>>,
}

pub(super) struct UserEntry {
    pub(super) record: UserRecord,
    pub(super) secret: StoredSecret,
    pub(super) policy: Option<Arc<str>>,
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
            users.insert(name.into(), UserEntry { record: user.record, secret: user.secret, policy });
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
            bucket_policies: BTreeMap::new(),
            token_key: contents.token_key.map(Arc::new),
            retired: Vec::new(),
        };
        state.try_snapshot().map_err(|Duplicate(what)| {
            StartError::new(format!(
                "the identity store holds {what:?} twice, as a user, a service account or a unique id. Restore it from \
                 a backup"
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
        for (name, entry) in &self.users {
            let policy = entry.policy.as_ref();
            let user = Arc::new(User {
                name: name.clone(),
                unique_id: entry.record.unique_id.as_str().into(),
                owner: PosixOwner { uid: entry.record.posix_uid, gid: entry.record.posix_gid },
                policy: policy.map(|policy| self.policies[policy].compiled.clone()),
                policy_names: policy.into_iter().cloned().collect(),
            });
            builder.user(user.clone())?;
            builder.credential(credential(name, &entry.secret, CredentialKind::User, &user))?;
            users.insert(&**name, user);
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
        Ok(self.user(name)?.show(name, self.service_accounts_of(name).count()))
    }

    pub(super) fn show_policy(&self, name: &str) -> Result<wire::Policy, Error> {
        Ok(self.policy(name)?.1.show(name, self.users_of(name).map(str::to_owned).collect()))
    }
}

impl UserEntry {
    pub(super) fn show(&self, name: &str, service_accounts: usize) -> wire::User {
        wire::User {
            name: name.to_owned(),
            unique_id: self.record.unique_id.clone(),
            posix_uid: self.record.posix_uid,
            posix_gid: self.record.posix_gid,
            policy: self.policy.as_ref().map(|name| name.to_string()),
            service_accounts,
            created: iso8601(self.record.created),
        }
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
    record::check_policy_bytes(document.len())?;
    let document = Document::parse(document.as_bytes(), kind)
        .map_err(|error| Error::new(ErrorKind::MalformedPolicy, error.to_string()))?;
    Ok(Arc::new(Policy::compile(&document)))
}

fn iso8601(seconds: i64) -> String {
    String::from_utf8_lossy(&Timestamp::from_seconds(seconds).iso8601_millis()).into_owned()
}
