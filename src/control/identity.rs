//! The rules of users, policies and service accounts, and the `Snapshot` the data plane reads.
//!
//! Every change is one method: take the lock → check everything → one durable commit → change the state in memory
//! → build and publish the next `Snapshot` → return. So a change holds on every core before its caller hears of
//! it, and what fails leaves nothing behind. The calls block for the flush of the commit (milliseconds): run them
//! outside an asynchronous executor's own threads.
//!
//! Does not check who calls: `admin` does, and the service account calls take their owner's name from a verified
//! request.
//!
//! Invariants:
//! - No two credentials have the same access key, be they users, access keys of users or service accounts.
//! - A policy that is attached exists; the user of a service account and of an access key exists.
//! - Policies are compiled when they are added and when the server starts, never for a snapshot.
//! - A snapshot that is replaced is freed here, not by the worker that let go of it last, as far as that can be
//!   told: the data plane shall not pay for freeing thousands of credentials.

mod iam;
mod state;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use self::state::{Inline, PolicyEntry, ServiceAccountEntry, State, UserEntry, compile};
use super::record::{self, PolicyRecord, SecretText, ServiceAccountRecord, UserRecord};
use super::seal::MasterKey;
use super::store::{Store, StoredSecret, Write};
use super::{Error, ErrorKind, StartError, wire};
use crate::iam::{BUILT_IN_POLICIES, Kind, Policy, PosixOwner, Snapshot};
use crate::iam_api::names::{ACCOUNT_DIGITS, is_account};

/// The identities of the server: owns the store and publishes the snapshots.
pub struct Identity {
    store: Store,
    state: Mutex<State>,
    published: Arc<ArcSwap<Snapshot>>,
}

/// A user to be made.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// User name and access key.
    pub name: &'a str,
    /// Secret key.
    pub secret: &'a SecretText,
    /// Owner of the files its keys create.
    pub owner: PosixOwner,
    /// Its supplementary groups.
    pub groups: wire::PosixGroups,
    /// Policy to attach in the same step.
    pub policy: Option<&'a str>,
    /// The account whose root it is, for the names by which AWS knows it.
    pub account_root: Option<&'a str>,
}

impl Identity {
    /// Opens the store below this root, or makes an empty one, and publishes the first snapshot.
    ///
    /// # Errors
    /// As [`Store::open`], and when a stored policy is not valid for this program.
    pub fn open(root: &Path, master_key: Option<MasterKey>) -> Result<Self, StartError> {
        let (store, contents) = Store::open(root, master_key)?;
        let state = State::load(contents)?;
        let published = Arc::new(ArcSwap::from_pointee(state.snapshot()));
        Ok(Self { store, state: Mutex::new(state), published })
    }

    /// Sets the id of the server's own account: twelve digits, or empty.
    pub fn set_account(&self, account: &str) {
        let mut state = self.state.lock();
        state.account = account.into();
        state.generation += 1;
        self.publish(&mut state);
    }

    /// Where the current snapshot is always found.
    pub fn published(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.published
    }

    /// Makes a user.
    ///
    /// # Errors
    /// `InvalidName`, `InvalidSecret`, `InvalidOwner`, `UserExists`, `LimitExceeded`, `NoSuchPolicy`,
    /// `StoreFailure`.
    pub fn add_user(&self, new: &NewUser<'_>) -> Result<wire::User, Error> {
        record::check_user_name(new.name)?;
        record::check_secret(new.secret)?;
        record::check_owner_id("posix-uid", new.owner.uid)?;
        record::check_owner_id("posix-gid", new.owner.gid)?;
        let posix_groups = new.groups.clone().into_listed();
        posix_groups.as_deref().map_or(Ok(()), record::check_groups)?;
        if let Some(account) = new.account_root.filter(|account| !is_account(account)) {
            let message = format!("the account {account:?} is no number of {ACCOUNT_DIGITS} digits");
            return Err(Error::new(ErrorKind::InvalidName, message));
        }
        let user = UserRecord {
            unique_id: self.unused_unique_id(record::new_unique_id)?,
            posix_uid: new.owner.uid,
            posix_gid: new.owner.gid,
            posix_groups,
            created: now(),
            path: None,
            account: new.account_root.map(str::to_owned),
            account_root: new.account_root.is_some(),
            keys_only: false,
        };
        let mut state = self.state.lock();
        if state.users.contains_key(new.name) {
            let message = format!("the user {:?} exists; choose another name, or remove it first", new.name);
            return Err(Error::new(ErrorKind::UserExists, message));
        }
        check_new_user(&state, new.name)?;
        let policy = new.policy.map(|name| state.policy(name).map(|(name, _)| name.clone())).transpose()?;

        let mut writes = vec![Write::PutUser(new.name, &user), Write::PutUserSecret(new.name, new.secret)];
        writes.extend(policy.as_deref().map(|policy| Write::Attach(new.name, policy)));
        let sequence = self.commit(&mut state, &writes)?;
        let secret = StoredSecret { id: sequence, text: new.secret.clone() };
        let entry = UserEntry { record: user, secret: Some(secret), policy, inline: Inline::default() };
        state.users.insert(new.name.into(), entry);
        self.publish(&mut state);
        tracing::info!(user = new.name, "added a user");
        state.show_user(new.name)
    }

    /// Changes the owner of the files that the user's keys create from now on, and the groups as which they act.
    ///
    /// # Errors
    /// `NoSuchUser`, `InvalidOwner`, `LimitExceeded`, `StoreFailure`.
    pub fn update_user(&self, name: &str, new: wire::UpdateUser) -> Result<wire::User, Error> {
        let wire::UpdateUser { posix_uid: uid, posix_gid: gid, posix_groups } = new;
        let groups = posix_groups.map(wire::PosixGroups::into_listed);
        groups.iter().flatten().try_for_each(|groups| record::check_groups(groups))?;
        uid.map(|uid| record::check_owner_id("posix-uid", uid)).transpose()?;
        gid.map(|gid| record::check_owner_id("posix-gid", gid)).transpose()?;
        let mut state = self.state.lock();
        let before = &state.user(name)?.record;
        let after = UserRecord {
            posix_uid: uid.unwrap_or(before.posix_uid),
            posix_gid: gid.unwrap_or(before.posix_gid),
            posix_groups: groups.unwrap_or_else(|| before.posix_groups.clone()),
            ..before.clone()
        };
        if after != *before {
            self.commit(&mut state, &[Write::PutUser(name, &after)])?;
            state.user_mut(name).record = after;
            self.publish(&mut state);
            tracing::info!(user = name, "changed the owner of a user's files");
        }
        state.show_user(name)
    }

    /// Removes a user, its service accounts, access keys and inline policies, and with its unique id every session token
    /// derived from it. Returns the number of service accounts.
    ///
    /// # Errors
    /// `NoSuchUser`, `StoreFailure`.
    pub fn remove_user(&self, name: &str) -> Result<usize, Error> {
        let mut state = self.state.lock();
        state.user(name)?;
        let children: Vec<Arc<str>> = state.service_accounts_of(name).map(|(key, _)| key.clone()).collect();
        let keys: Vec<Arc<str>> = state.access_keys_of(name).map(|(key, _)| key.clone()).collect();
        let mut writes = vec![Write::RemoveUser(name)];
        writes.extend(children.iter().map(|key| Write::RemoveServiceAccount(key)));
        writes.extend(keys.iter().map(|key| Write::RemoveAccessKey(key)));
        self.commit(&mut state, &writes)?;
        state.users.remove(name);
        for key in &keys {
            state.access_keys.remove(key);
        }
        for key in &children {
            state.service_accounts.remove(key);
        }
        self.publish(&mut state);
        tracing::info!(user = name, service_accounts = children.len(), "removed a user");
        Ok(children.len())
    }

    /// Gives a user a new secret. The old one is refused from now on; service accounts and session tokens have
    /// secrets of their own and stay valid.
    ///
    /// # Errors
    /// `NoSuchUser`, `InvalidSecret`, `StoreFailure`.
    pub fn set_secret(&self, name: &str, secret: &SecretText) -> Result<(), Error> {
        record::check_secret(secret)?;
        let mut state = self.state.lock();
        // A user with access keys only has a secret of its own from now on.
        let after = UserRecord { keys_only: false, ..state.user(name)?.record.clone() };
        let writes = [Write::PutUser(name, &after), Write::PutUserSecret(name, secret)];
        let sequence = self.commit(&mut state, &writes)?;
        let user = state.user_mut(name);
        user.record = after;
        user.secret = Some(StoredSecret { id: sequence, text: secret.clone() });
        self.publish(&mut state);
        tracing::info!(user = name, "changed the secret of a user");
        Ok(())
    }

    /// All users in order of name.
    pub fn users(&self) -> Vec<wire::User> {
        let state = self.state.lock();
        let mut children: BTreeMap<&str, usize> = BTreeMap::new();
        for account in state.service_accounts.values() {
            *children.entry(&account.record.parent).or_default() += 1;
        }
        let shown = state.users.iter();
        shown
            .map(|(name, user)| state.show(name, user, children.get(&**name).copied().unwrap_or(0)))
            .collect()
    }

    /// One user.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub fn user(&self, name: &str) -> Result<wire::User, Error> {
        self.state.lock().show_user(name)
    }

    /// Adds a custom policy, or with `replace` puts it in the place of one. Users it is attached to are limited
    /// by the new document at once.
    ///
    /// # Errors
    /// `InvalidName`, `PolicyTooLarge`, `MalformedPolicy`, `PolicyBuiltIn`, `PolicyExists`, `LimitExceeded`,
    /// `StoreFailure`.
    pub fn add_policy(&self, name: &str, document: &str, replace: bool) -> Result<wire::Policy, Error> {
        record::check_policy_name(name)?;
        let compiled = compile(document, Kind::Identity)?;
        let policy = PolicyRecord { document: document.to_owned(), changed: now() };
        let mut state = self.state.lock();
        match state.policies.get(name) {
            Some(existing) if existing.is_built_in() => return Err(built_in(name)),
            Some(_) if !replace => {
                let message =
                    format!("the policy {name:?} exists; ask to replace it, or choose another name");
                return Err(Error::new(ErrorKind::PolicyExists, message));
            }
            Some(_) => {}
            None if state.policies.len() - BUILT_IN_POLICIES.len() >= record::POLICIES_MAX => {
                let message = format!(
                    "there are {} policies, which is the limit; remove one first",
                    record::POLICIES_MAX
                );
                return Err(Error::new(ErrorKind::LimitExceeded, message));
            }
            None => {}
        }
        self.commit(&mut state, &[Write::PutPolicy(name, &policy)])?;
        state.policies.insert(name.into(), PolicyEntry::custom(policy, compiled));
        self.publish(&mut state);
        tracing::info!(policy = name, "added or replaced a policy");
        state.show_policy(name)
    }

    /// Removes a custom policy that is attached to no user.
    ///
    /// # Errors
    /// `NoSuchPolicy`, `PolicyBuiltIn`, `PolicyInUse`, `StoreFailure`.
    pub fn remove_policy(&self, name: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.policy(name)?.1.is_built_in() {
            return Err(built_in(name));
        }
        let users: Vec<&str> = state.users_of(name).collect();
        if !users.is_empty() {
            let message = format!(
                "the policy {name:?} is attached to {}; detach it from them or attach another one first",
                enumerate(&users)
            );
            return Err(Error::new(ErrorKind::PolicyInUse, message));
        }
        self.commit(&mut state, &[Write::RemovePolicy(name)])?;
        state.policies.remove(name);
        self.publish(&mut state);
        tracing::info!(policy = name, "removed a policy");
        Ok(())
    }

    /// All policies: the built-in ones, then the others in order of name; without documents.
    pub fn policies(&self) -> Vec<wire::Policy> {
        let state = self.state.lock();
        let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, user) in &state.users {
            if let Some(policy) = &user.policy {
                users.entry(policy).or_default().push(name.to_string());
            }
        }
        let mut shown: Vec<wire::Policy> = state
            .policies
            .iter()
            .map(|(name, policy)| wire::Policy {
                document: None,
                ..policy.show(name, users.remove(&**name).unwrap_or_default())
            })
            .collect();
        shown.sort_by_key(|policy| !policy.built_in); // Stable: the names stay in order.
        shown
    }

    /// One policy with its document.
    ///
    /// # Errors
    /// `NoSuchPolicy`.
    pub fn policy(&self, name: &str) -> Result<wire::Policy, Error> {
        self.state.lock().show_policy(name)
    }

    /// Attaches a policy to a user. A user has one policy: another one is replaced, and its name returned.
    ///
    /// # Errors
    /// `NoSuchUser`, `NoSuchPolicy`, `StoreFailure`.
    pub fn attach_policy(&self, user: &str, policy: &str) -> Result<Option<String>, Error> {
        let mut state = self.state.lock();
        let policy = state.policy(policy)?.0.clone();
        let before = state.user(user)?.policy.clone();
        if before.as_ref() == Some(&policy) {
            return Ok(None);
        }
        self.commit(&mut state, &[Write::Attach(user, &policy)])?;
        tracing::info!(user, policy = &*policy, "attached a policy");
        state.user_mut(user).policy = Some(policy);
        self.publish(&mut state);
        Ok(before.map(|name| name.to_string()))
    }

    /// Detaches the policy of a user, who then may do nothing. Returns its name, if there was one.
    ///
    /// # Errors
    /// `NoSuchUser`, `StoreFailure`.
    pub fn detach_policy(&self, user: &str) -> Result<Option<String>, Error> {
        let mut state = self.state.lock();
        let Some(before) = state.user(user)?.policy.clone() else { return Ok(None) };
        self.commit(&mut state, &[Write::Detach(user)])?;
        state.user_mut(user).policy = None;
        self.publish(&mut state);
        tracing::info!(user, policy = &*before, "detached a policy");
        Ok(Some(before.to_string()))
    }

    /// Makes a service account of a user, limited to the embedded policy if there is one. Its secret is returned
    /// this once. A user without a policy may do nothing, this included.
    ///
    /// # Errors
    /// `NoSuchUser`, `AccessDenied`, `LimitExceeded`, `PolicyTooLarge`, `MalformedPolicy`, `StoreFailure`.
    pub fn add_service_account(
        &self,
        owner: &str,
        policy: Option<&str>,
    ) -> Result<wire::NewServiceAccount, Error> {
        let embedded = policy.map(|document| compile(document, Kind::Session)).transpose()?;
        let secret = record::new_secret()?;
        let account = ServiceAccountRecord {
            parent: owner.to_owned(),
            policy: policy.map(str::to_owned),
            created: now(),
        };
        let mut state = self.state.lock();
        let user = state.user(owner)?;
        if user.policy.is_none() && user.inline.policies().is_empty() {
            let message =
                format!("the user {owner:?} has no policy and may do nothing; an admin can attach one to it");
            return Err(Error::new(ErrorKind::AccessDenied, message));
        }
        if state.service_accounts_of(owner).count() >= record::SERVICE_ACCOUNTS_PER_USER_MAX {
            let limit = record::SERVICE_ACCOUNTS_PER_USER_MAX;
            let message =
                format!("the user {owner:?} has {limit} service accounts, which is the limit; remove one");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        if state.service_accounts.len() >= record::SERVICE_ACCOUNTS_MAX {
            let limit = record::SERVICE_ACCOUNTS_MAX;
            let message = format!("there are {limit} service accounts, which is the limit; remove one first");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        let access_key = unused_access_key(&state, record::new_access_key)?;
        let sequence =
            self.commit(&mut state, &[Write::PutServiceAccount(&access_key, &account, &secret)])?;
        let stored = StoredSecret { id: sequence, text: secret.clone() };
        let entry = ServiceAccountEntry { record: account, secret: stored, embedded };
        state.service_accounts.insert(access_key.as_str().into(), entry);
        self.publish(&mut state);
        tracing::info!(user = owner, access_key, "added a service account");
        Ok(wire::NewServiceAccount { access_key, secret_key: secret })
    }

    /// The service accounts of a user in order of access key, without policies.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub fn service_accounts(&self, owner: &str) -> Result<Vec<wire::ServiceAccount>, Error> {
        let state = self.state.lock();
        state.user(owner)?;
        let own = state.service_accounts_of(owner);
        Ok(own.map(|(key, account)| account.show(key, None)).collect())
    }

    /// One service account of a user with the policy that limits it. That of another user does not exist here.
    ///
    /// # Errors
    /// `NoSuchServiceAccount`.
    pub fn service_account(&self, owner: &str, access_key: &str) -> Result<wire::ServiceAccount, Error> {
        let state = self.state.lock();
        let account = state.service_account(owner, access_key)?;
        let parents = state.users.get(owner).and_then(|user| user.policy.as_deref());
        let inherited = parents.and_then(|name| state.policies.get(name)).map(|policy| &*policy.document);
        Ok(account.show(access_key, account.record.policy.as_deref().or(inherited)))
    }

    /// Removes a service account of a user.
    ///
    /// # Errors
    /// `NoSuchServiceAccount`, `StoreFailure`.
    pub fn remove_service_account(&self, owner: &str, access_key: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        state.service_account(owner, access_key)?;
        self.commit(&mut state, &[Write::RemoveServiceAccount(access_key)])?;
        state.service_accounts.remove(access_key);
        self.publish(&mut state);
        tracing::info!(user = owner, access_key, "removed a service account");
        Ok(())
    }

    /// Publishes the policies of these buckets, or that they have none, in one snapshot. The policies are kept with
    /// the buckets' configuration, not here: the caller has made them durable there.
    pub fn set_bucket_policies(&self, changes: impl IntoIterator<Item = (Arc<str>, Option<Arc<Policy>>)>) {
        let mut state = self.state.lock();
        for (bucket, policy) in changes {
            match policy {
                Some(policy) => state.bucket_policies.insert(bucket, policy),
                None => state.bucket_policies.remove(&bucket),
            };
        }
        state.generation += 1;
        self.publish(&mut state);
    }

    fn unused_unique_id(&self, new: fn() -> Result<String, Error>) -> Result<String, Error> {
        loop {
            let id = new()?;
            let snapshot = self.published.load();
            if snapshot.user_by_unique_id(&id).is_none() && snapshot.role_by_unique_id(&id).is_none() {
                return Ok(id);
            }
        }
    }

    /// One durable commit; returns its sequence.
    fn commit(&self, state: &mut State, writes: &[Write<'_>]) -> Result<u64, Error> {
        let sequence = state.sequence + 1;
        self.store.commit(sequence, writes)?;
        state.sequence = sequence;
        state.generation += 1;
        Ok(sequence)
    }

    fn publish(&self, state: &mut State) {
        let replaced = self.published.swap(Arc::new(state.snapshot()));
        state.retired.push(replaced);
        // Nobody can take a new reference to a retired snapshot, so a count of one is final.
        state.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }
}

/// What a new user must not be, whoever makes it.
fn check_new_user(state: &State, name: &str) -> Result<(), Error> {
    if state.is_taken(name) {
        let message = format!("{name:?} is the access key of another one; choose another name");
        return Err(Error::new(ErrorKind::UserExists, message));
    }
    if state.users.len() >= record::USERS_MAX {
        let message = format!("there are {} users, which is the limit; remove one first", record::USERS_MAX);
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    Ok(())
}

fn unused_access_key(state: &State, new: fn() -> Result<String, Error>) -> Result<String, Error> {
    loop {
        let key = new()?;
        if !state.is_taken(&key) {
            return Ok(key);
        }
    }
}

fn built_in(name: &str) -> Error {
    let message = format!("the policy {name:?} is built in and cannot change; choose another name");
    Error::new(ErrorKind::PolicyBuiltIn, message)
}

/// The first few names in a sentence.
fn enumerate(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 10;
    let shown = names[..names.len().min(SHOWN_MAX)].join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Seconds since the Unix epoch.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
