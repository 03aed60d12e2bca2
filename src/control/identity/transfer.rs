//! The whole store as one value, and back: `identity export` and `identity import`.
//!
//! An import is checked as a whole, as a start checks the store, and written by one commit: it holds entirely or not at
//! all. Unique ids and the key of session tokens come along, so that sessions stay bound to their users.

use std::collections::{BTreeMap, BTreeSet};

use super::super::backup::{
    Backup, BackupAccessKey, BackupPolicy, BackupRole, BackupServiceAccount, BackupUser, FORMAT,
    FORMAT_WITHOUT_IAM,
};
use super::super::record::{self, PolicyRecord, SecretText};
use super::super::store::{
    Contents, HolderKind, StoredAccessKey, StoredRole, StoredSecret, StoredServiceAccount, StoredUser,
    TOKEN_KEY_BYTES, Write,
};
use super::super::{Error, ErrorKind, wire};
use super::Identity;
use super::state::{Inline, State};
use crate::codec::hex;
use crate::iam::{BUILT_IN_POLICIES, Secret};
use crate::iam_api::names;
use crate::query_api::Refusal;

impl Identity {
    /// Everything the store holds, secrets in the clear.
    pub fn export(&self) -> Backup {
        let state = self.state.lock();
        let users = state.users.iter().map(|(name, user)| BackupUser {
            name: name.to_string(),
            record: user.record.clone(),
            secret: user.secret.as_ref().map(|secret| secret.text.clone()),
            policy: user.policy.as_ref().map(|policy| policy.to_string()),
            inline_policies: of_inline(&user.inline),
        });
        let custom = state.policies.iter().filter_map(|(name, policy)| {
            policy.record().map(|record| BackupPolicy { name: name.to_string(), record })
        });
        let accounts = state.service_accounts.iter().map(|(key, account)| BackupServiceAccount {
            access_key: key.to_string(),
            record: account.record.clone(),
            secret: account.secret.text.clone(),
        });
        let access_keys = state.access_keys.iter().map(|(access_key, key)| BackupAccessKey {
            access_key: access_key.to_string(),
            record: key.record.clone(),
            secret: key.secret.text.clone(),
        });
        let roles = state.roles.values().map(|role| BackupRole {
            name: role.name.to_string(),
            record: role.record.clone(),
            inline_policies: of_inline(&role.inline),
        });
        let mut token_key = Vec::new();
        if let Some(key) = &state.token_key {
            hex::encode_into(key.expose(), &mut token_key);
        }
        tracing::info!("exported the identity store");
        let mut backup = Backup {
            format: FORMAT,
            users: users.collect(),
            policies: custom.collect(),
            service_accounts: accounts.collect(),
            access_keys: access_keys.collect(),
            roles: roles.collect(),
            token_key: SecretText::new(String::from_utf8_lossy(&token_key).into_owned()),
        };
        if !writes(&backup, None).iter().any(Write::is_of_iam) {
            backup.format = FORMAT_WITHOUT_IAM;
        }
        backup
    }

    /// Fills an empty store, or with `replace` puts a backup in the place of everything there is.
    ///
    /// # Errors
    /// `MalformedBackup`, `StoreNotEmpty`, `LimitExceeded`, `StoreFailure`.
    pub fn import(&self, backup: Backup, replace: bool) -> Result<wire::Imported, Error> {
        let mut state = self.state.lock();
        let is_empty = state.users.is_empty()
            && state.service_accounts.is_empty()
            && state.roles.is_empty()
            && state.policies.len() == BUILT_IN_POLICIES.len();
        if !is_empty && !replace {
            let message = "the store holds users or policies; import into an empty one, or replace all of it with \
                           --replace";
            return Err(Error::new(ErrorKind::StoreNotEmpty, message));
        }
        check(&backup)?;
        let sequence = state.sequence + 1;
        let token_key = token_key(&backup.token_key)?;
        let next = State::load(contents(&backup, sequence, token_key))
            .map_err(|error| malformed(error.to_string()))?;
        let writes = writes(&backup, next.token_key.as_deref());
        self.commit(&mut state, &writes)?;
        let imported = wire::Imported {
            users: backup.users.len(),
            policies: backup.policies.len(),
            service_accounts: backup.service_accounts.len(),
            roles: backup.roles.len(),
        };
        state.users = next.users;
        state.policies = next.policies;
        state.service_accounts = next.service_accounts;
        state.access_keys = next.access_keys;
        state.roles = next.roles;
        state.token_key = next.token_key;
        self.publish(&mut state);
        tracing::info!(users = imported.users, policies = imported.policies, "imported an identity store");
        Ok(imported)
    }
}

/// The rules that each value had to follow when it was made, and that a start does not check again.
fn check(backup: &Backup) -> Result<(), Error> {
    if backup.format != FORMAT && backup.format != FORMAT_WITHOUT_IAM {
        return Err(malformed(format!(
            "it has format {} and this server knows formats up to {FORMAT}; import it with the release that made it",
            backup.format
        )));
    }
    let limits = [
        ("users", backup.users.len(), record::USERS_MAX),
        ("policies", backup.policies.len(), record::POLICIES_MAX),
        ("service accounts", backup.service_accounts.len(), record::SERVICE_ACCOUNTS_MAX),
        ("access keys", backup.access_keys.len(), record::USERS_MAX * record::ACCESS_KEYS_PER_USER_MAX),
        ("roles", backup.roles.len(), record::ROLES_MAX),
    ];
    for (what, count, limit) in limits {
        if count > limit {
            let message = format!("the backup has {count} {what} and the limit is {limit}");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
    }
    let mut names = BTreeSet::new();
    for user in &backup.users {
        let name = &user.name;
        if user.secret.is_none() != user.record.keys_only {
            return Err(malformed(format!(
                "the user {name:?} has no secret, or one that it should not have"
            )));
        }
        check_entity("user", name, user.record.path(), user.record.account.as_deref())?;
        check_inline("user", name, &user.inline_policies)?;
        record::check_user_name(name)
            .and_then(|()| user.secret.as_ref().map_or(Ok(()), record::check_secret))
            .and_then(|()| record::check_owner_id("posix-uid", user.record.posix_uid))
            .and_then(|()| record::check_owner_id("posix-gid", user.record.posix_gid))
            .and_then(|()| user.record.posix_groups.as_deref().map_or(Ok(()), record::check_groups))
            .map_err(|error| malformed(format!("user {:?}: {error}", user.name)))?;
        if !names.insert(&user.name) {
            return Err(malformed(format!("the user {:?} stands in it twice", user.name)));
        }
    }
    let mut policies = BTreeSet::new();
    for policy in &backup.policies {
        record::check_policy_name(&policy.name)
            .map_err(|error| malformed(format!("policy {:?}: {error}", policy.name)))?;
        if !policies.insert(&policy.name) {
            return Err(malformed(format!("the policy {:?} stands in it twice", policy.name)));
        }
    }
    for role in &backup.roles {
        let name = &role.name;
        let of_api = |refusal: Refusal| malformed(format!("role {name:?}: {}", refusal.message));
        names::check_role_name(name).map_err(of_api)?;
        check_entity("role", name, &role.record.path, role.record.account.as_deref())?;
        check_inline("role", name, &role.inline_policies)?;
    }
    let mut keys = BTreeSet::new();
    for key in &backup.access_keys {
        let access_key = &key.access_key;
        record::check_user_name(access_key)
            .and_then(|()| record::check_secret(&key.secret))
            .map_err(|error| malformed(format!("access key {access_key:?}: {error}")))?;
        if !names.contains(&key.record.user) {
            return Err(malformed(format!("the user of the access key {access_key:?} is missing")));
        }
        if !keys.insert(access_key) {
            return Err(malformed(format!("the access key {access_key:?} stands in it twice")));
        }
    }
    for account in &backup.service_accounts {
        let key = &account.access_key;
        record::check_user_name(key)
            .and_then(|()| record::check_secret(&account.secret))
            .map_err(|error| malformed(format!("service account {key:?}: {error}")))?;
        if !names.contains(&account.record.parent) {
            return Err(malformed(format!("the user of the service account {key:?} is missing")));
        }
        if !keys.insert(key) {
            return Err(malformed(format!("the service account {key:?} stands in it twice")));
        }
    }
    Ok(())
}

/// The path and the account, which stand in the ARN.
fn check_entity(what: &str, name: &str, path: &str, account: Option<&str>) -> Result<(), Error> {
    names::check_path(path).map_err(|refusal| malformed(format!("{what} {name:?}: {}", refusal.message)))?;
    match account.filter(|account| !names::is_account(account)) {
        None => Ok(()),
        Some(account) => Err(malformed(format!("{what} {name:?}: {account:?} is no account"))),
    }
}

fn check_inline(what: &str, name: &str, policies: &[BackupPolicy]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for policy in policies {
        names::check_policy_name(&policy.name)
            .map_err(|refusal| malformed(format!("a policy of the {what} {name:?}: {}", refusal.message)))?;
        if !seen.insert(&policy.name) {
            return Err(malformed(format!("the {what} {name:?} has the policy {:?} twice", policy.name)));
        }
    }
    if policies.len() > record::INLINE_POLICIES_MAX {
        return Err(malformed(format!(
            "the {what} {name:?} has more than {} policies",
            record::INLINE_POLICIES_MAX
        )));
    }
    Ok(())
}

fn of_inline(inline: &Inline) -> Vec<BackupPolicy> {
    let policies = inline.policies().iter();
    policies.map(|(name, record)| BackupPolicy { name: name.clone(), record: record.clone() }).collect()
}

fn to_inline(policies: &[BackupPolicy]) -> BTreeMap<String, PolicyRecord> {
    policies.iter().map(|policy| (policy.name.clone(), policy.record.clone())).collect()
}

fn token_key(text: &SecretText) -> Result<Secret, Error> {
    let mut key = vec![0; TOKEN_KEY_BYTES];
    match hex::decode(text.expose().as_bytes(), &mut key) {
        true => Ok(Secret::new(key)),
        false => Err(malformed("its key of session tokens is malformed".to_owned())),
    }
}

fn contents(backup: &Backup, sequence: u64, token_key: Secret) -> Contents {
    let secret = |text: &SecretText| StoredSecret { id: sequence, text: text.clone() };
    let users = backup.users.iter().map(|user| {
        let stored = StoredUser {
            record: user.record.clone(),
            secret: user.secret.as_ref().map(secret),
            policy: user.policy.clone(),
            inline: to_inline(&user.inline_policies),
        };
        (user.name.clone(), stored)
    });
    let policies = backup.policies.iter().map(|policy| (policy.name.clone(), policy.record.clone()));
    let accounts = backup.service_accounts.iter().map(|account| {
        let stored = StoredServiceAccount { record: account.record.clone(), secret: secret(&account.secret) };
        (account.access_key.clone(), stored)
    });
    let access_keys = backup.access_keys.iter().map(|key| {
        let stored = StoredAccessKey { record: key.record.clone(), secret: secret(&key.secret) };
        (key.access_key.clone(), stored)
    });
    let roles = backup.roles.iter().map(|role| {
        let stored = StoredRole { record: role.record.clone(), inline: to_inline(&role.inline_policies) };
        (role.name.clone(), stored)
    });
    Contents {
        sequence,
        users: users.collect(),
        policies: policies.collect(),
        service_accounts: accounts.collect(),
        access_keys: access_keys.collect(),
        roles: roles.collect(),
        token_key: Some(token_key),
    }
}

fn writes<'a>(backup: &'a Backup, token_key: Option<&'a Secret>) -> Vec<Write<'a>> {
    let mut writes = vec![Write::Clear];
    writes.extend(token_key.map(Write::PutTokenKey));
    for policy in &backup.policies {
        writes.push(Write::PutPolicy(&policy.name, &policy.record));
    }
    for user in &backup.users {
        writes.push(Write::PutUser(&user.name, &user.record));
        writes.extend(user.secret.as_ref().map(|secret| Write::PutUserSecret(&user.name, secret)));
        writes.extend(user.policy.as_deref().map(|policy| Write::Attach(&user.name, policy)));
        writes.extend(user.inline_policies.iter().map(|policy| {
            Write::PutInlinePolicy(HolderKind::User, &user.name, &policy.name, &policy.record)
        }));
    }
    for role in &backup.roles {
        writes.push(Write::PutRole(&role.name, &role.record));
        writes.extend(role.inline_policies.iter().map(|policy| {
            Write::PutInlinePolicy(HolderKind::Role, &role.name, &policy.name, &policy.record)
        }));
    }
    for key in &backup.access_keys {
        writes.push(Write::PutAccessKey(&key.access_key, &key.record, &key.secret));
    }
    for account in &backup.service_accounts {
        writes.push(Write::PutServiceAccount(&account.access_key, &account.record, &account.secret));
    }
    writes
}

fn malformed(problem: String) -> Error {
    Error::new(ErrorKind::MalformedBackup, format!("the backup cannot be used: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::super::NewUser;
    use super::*;
    use crate::iam::PosixOwner;

    fn identity() -> (tempfile::TempDir, Identity) {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::open(directory.path(), None).unwrap();
        (directory, identity)
    }

    fn filled() -> Backup {
        let (_directory, identity) = identity();
        let document =
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
        identity.add_policy("mine", document, false).unwrap();
        let secret = SecretText::new("Passw0rd".to_owned());
        let owner = PosixOwner { uid: 5, gid: 6 };
        let new = NewUser {
            name: "alice",
            secret: &secret,
            owner,
            groups: wire::PosixGroups::Listed(vec![7, 5, 7]),
            policy: Some("mine"),
            account_root: None,
        };
        identity.add_user(&new).unwrap();
        identity.add_service_account("alice", Some(document)).unwrap();
        identity.export()
    }

    #[test]
    fn what_was_exported_is_imported_and_survives_a_reopening() {
        let backup = filled();
        let text = serde_json::to_string(&backup).unwrap();
        let (directory, identity) = identity();
        let imported = identity.import(serde_json::from_str(&text).unwrap(), false).unwrap();
        assert_eq!(imported, wire::Imported { users: 1, policies: 1, service_accounts: 1, roles: 0 });
        assert!(text.starts_with("{\"format\":1,"), "an earlier release reads it: {text}");
        assert_eq!(serde_json::to_string(&identity.export()).unwrap(), text);
        drop(identity);
        let identity = Identity::open(directory.path(), None).unwrap();
        assert_eq!(serde_json::to_string(&identity.export()).unwrap(), text);
        assert_eq!(identity.published().load().credential_count(), 2);
    }

    #[test]
    fn a_store_is_replaced_only_if_asked_and_as_a_whole() {
        let (_directory, identity) = identity();
        let secret = SecretText::new("Passw0rd".to_owned());
        let owner = PosixOwner { uid: 5, gid: 6 };
        let bob = NewUser {
            name: "bob",
            secret: &secret,
            owner,
            groups: wire::PosixGroups::System,
            policy: None,
            account_root: None,
        };
        identity.add_user(&bob).unwrap();
        let error = identity.import(filled(), false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::StoreNotEmpty);
        identity.import(filled(), true).unwrap();
        let names: Vec<String> = identity.users().into_iter().map(|user| user.name).collect();
        assert_eq!(names, ["alice"]);
        assert!(identity.published().load().credential("bob").is_none());
    }

    #[test]
    fn a_backup_that_contradicts_itself_changes_nothing() {
        let check = |change: fn(&mut Backup), expected: &str| {
            let (_directory, identity) = identity();
            let mut backup = filled();
            change(&mut backup);
            let error = identity.import(backup, false).unwrap_err();
            assert!(error.message.contains(expected) && !error.message.contains("Passw0rd"), "{error}");
            assert!(identity.users().is_empty() && identity.policies().len() == BUILT_IN_POLICIES.len());
        };
        check(|backup| backup.format = 3, "format 3");
        check(|backup| backup.users[0].name = "a/b".into(), "a/b");
        check(|backup| backup.users[0].policy = Some("nonesuch".into()), "nonesuch");
        check(|backup| backup.users.clear(), "is missing");
        check(|backup| backup.users.push(backup.users[0].clone()), "twice");
        check(|backup| backup.policies[0].record.document = "{".into(), "JSON");
        check(|backup| backup.policies[0].name = "readonly".into(), "built-in");
        check(|backup| backup.service_accounts[0].access_key = "alice".into(), "alice");
        check(|backup| backup.token_key = SecretText::new("00".into()), "session tokens");
    }
}
