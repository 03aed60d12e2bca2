//! What the calls of the IAM API do, and what the cluster admin sees of it.
//!
//! Whether a call may be made was decided before, by the policies of whoever makes it. Here hold the rules of every
//! change: what exists, what is unique, the limits; then one durable commit, and the next snapshot. A caller sees only
//! the users and roles of its own account, and the root of an account is no user that a call can name.
//!
//! A user made by a call has no secret of its own, only access keys, and its files belong to the UID and GID of whoever
//! made it: so no call brings a UID into use that the cluster admin did not give. But who may make access keys for a
//! user may act as that user, UID included, as at AWS: a policy bounds that by the ARNs of users, and accounts bound it.
//! What the cluster admin made stays the cluster admin's: such a user is not deleted by a call, and policies are
//! attached by the cluster admin alone.

#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use zeroize::Zeroizing;

use self::view::{
    find_inline, find_key, find_role, find_user, get_user, list_attached, list_roles, list_users, no_policy,
    no_role, show_key, show_role, show_user, summary,
};
use super::super::record::{self, AccessKeyRecord, PolicyRecord, RoleRecord, UserRecord};
use super::super::store::{HolderKind, StoredSecret, Write};
use super::super::{Error, ErrorKind, wire};
use super::state::{AccessKeyEntry, Inline, RoleEntry, State, UserEntry, compile, iso8601};
use super::{Identity, check_new_user, now, unused_access_key};
use crate::iam::{Kind, PosixOwner};
use crate::iam_api::answer::Secret;
use crate::iam_api::call::{RoleSettings, SESSION_SECONDS};
use crate::iam_api::{Answer, By, Change, Holder, Page};
use crate::query_api::{Code, Refusal};

impl Identity {
    /// Carries out a call of the IAM API that its caller may make.
    ///
    /// # Errors
    /// As AWS documents them for each action.
    pub fn carry_out(&self, by: &By, change: Change) -> Result<Answer, Refusal> {
        let mut state = self.state.lock();
        let state = &mut *state;
        match change {
            Change::CreateUser { name, path } => self.create_user(state, by, name, path),
            Change::GetUser { name } => get_user(state, by, name.as_deref()),
            Change::ListUsers { path_prefix, paging } => Ok(list_users(state, by, &path_prefix, &paging)),
            Change::UpdateUser { name, path } => self.move_user(state, by, &name, path),
            Change::DeleteUser { name } => self.delete_user(state, by, &name),
            Change::CreateAccessKey { user } => self.create_access_key(state, by, user.as_deref()),
            Change::ListAccessKeys { user, paging } => {
                let (name, _) = find_user(state, by, user.as_deref())?;
                let keys = state.access_keys_of(&name).map(|(id, key)| show_key(id, key));
                Ok(Answer::AccessKeys(Page::of(&paging, keys, |key| key.id.clone())))
            }
            Change::UpdateAccessKey { user, id, active } => {
                self.update_access_key(state, by, user.as_deref(), &id, active)
            }
            Change::DeleteAccessKey { user, id } => self.delete_access_key(state, by, user.as_deref(), &id),
            Change::CreateRole { name, path, trust, settings } => {
                self.create_role(state, by, name, path, trust, settings)
            }
            Change::GetRole { name } => {
                Ok(Answer::Role(Box::new(show_role(state, find_role(state, by, &name)?))))
            }
            Change::ListRoles { path_prefix, paging } => Ok(list_roles(state, by, &path_prefix, &paging)),
            Change::UpdateRole { name, settings } => {
                let before = &find_role(state, by, &name)?.record;
                let record = with_settings(before.clone(), settings);
                self.put_role_record(state, &name, record)
            }
            Change::UpdateAssumeRolePolicy { name, trust } => {
                let before = &find_role(state, by, &name)?.record;
                let record = RoleRecord { trust, ..before.clone() };
                self.put_role_record(state, &name, record)
            }
            Change::DeleteRole { name } => self.delete_role(state, by, &name),
            Change::PutPolicy { holder, name, document } => {
                self.put_policy(state, by, &holder, &name, document)
            }
            Change::GetPolicy { holder, name } => {
                let policy = find_inline(state, by, &holder)?.policies().get(&name);
                let policy = policy.ok_or_else(|| no_policy(&name))?;
                Ok(Answer::Policy { name, document: policy.document.clone(), holder })
            }
            Change::ListPolicies { holder, paging } => {
                let names = find_inline(state, by, &holder)?.policies().keys().cloned();
                Ok(Answer::PolicyNames(Page::of(&paging, names, String::clone)))
            }
            Change::DeletePolicy { holder, name } => self.delete_policy(state, by, &holder, &name),
            Change::ListAttachedPolicies { holder, paging } => list_attached(state, by, &holder, &paging),
            Change::ListNothing { holder } => {
                holder.map(|holder| find_inline(state, by, &holder).map(drop)).transpose()?;
                Ok(Answer::Empty)
            }
            Change::GetAccountSummary => Ok(summary(state, by)),
        }
    }

    fn create_user(&self, state: &mut State, by: &By, name: String, path: String) -> Result<Answer, Refusal> {
        record::check_user_name(&name)?;
        check_new_user(state, &name)?;
        let PosixOwner { uid, gid } = by.owner;
        let record = UserRecord {
            unique_id: self.unused_unique_id(record::new_unique_id)?,
            posix_uid: uid,
            posix_gid: gid,
            posix_groups: by.user.as_ref().and_then(|user| Some(user.groups.as_ref()?.to_vec())),
            created: now(),
            path: Some(path).filter(|path| path != "/"),
            account: foreign(state, by),
            account_root: false,
            keys_only: true,
        };
        self.commit(state, &[Write::PutUser(&name, &record)])?;
        tracing::info!(user = name, by = by.name(), "added a user through the IAM API");
        let shown = show_user(state, &name, &record);
        let entry = UserEntry { record, secret: None, policy: None, inline: Inline::default() };
        state.users.insert(name.into(), entry);
        self.publish(state);
        Ok(Answer::User(shown))
    }

    fn move_user(
        &self,
        state: &mut State,
        by: &By,
        name: &str,
        path: Option<String>,
    ) -> Result<Answer, Refusal> {
        let (_, entry) = find_user(state, by, Some(name))?;
        let Some(path) = path else { return Ok(Answer::Done) };
        let record = UserRecord { path: Some(path).filter(|path| path != "/"), ..entry.record.clone() };
        self.commit(state, &[Write::PutUser(name, &record)])?;
        state.user_mut(name).record = record;
        self.publish(state);
        tracing::info!(user = name, by = by.name(), "changed the path of a user through the IAM API");
        Ok(Answer::Done)
    }

    fn delete_user(&self, state: &mut State, by: &By, name: &str) -> Result<Answer, Refusal> {
        let (_, entry) = find_user(state, by, Some(name))?;
        let obstacle = if !entry.record.keys_only {
            Some("it has a secret of its own, and only the cluster administrator removes it.")
        } else if entry.policy.is_some() {
            Some("the cluster administrator must detach its policy first.")
        } else if state.access_keys_of(name).next().is_some() {
            Some("must delete access keys first.")
        } else if !entry.inline.policies().is_empty() {
            Some("must delete policies first.")
        } else if state.service_accounts_of(name).next().is_some() {
            Some("its service accounts must be removed first.")
        } else {
            None
        };
        if let Some(obstacle) = obstacle {
            return Err(Code::DeleteConflict.because(format!("Cannot delete entity, {obstacle}")));
        }
        self.commit(state, &[Write::RemoveUser(name)])?;
        state.users.remove(name);
        self.publish(state);
        tracing::info!(user = name, by = by.name(), "removed a user through the IAM API");
        Ok(Answer::Done)
    }

    fn create_access_key(&self, state: &mut State, by: &By, user: Option<&str>) -> Result<Answer, Refusal> {
        let (name, _) = find_user(state, by, user)?;
        let limit = record::ACCESS_KEYS_PER_USER_MAX;
        if state.access_keys_of(&name).count() >= limit {
            return Err(
                Code::LimitExceeded.because(format!("Cannot exceed quota for AccessKeysPerUser: {limit}"))
            );
        }
        let id = unused_access_key(state, record::new_user_access_key)?;
        let secret = record::new_secret()?;
        let record = AccessKeyRecord { user: name.to_string(), active: true, created: now() };
        let sequence = self.commit(state, &[Write::PutAccessKey(&id, &record, &secret)])?;
        let shown = Secret(Zeroizing::new(secret.expose().to_owned()));
        let entry = AccessKeyEntry { record, secret: StoredSecret { id: sequence, text: secret } };
        let key = show_key(&id, &entry);
        state.access_keys.insert(id.as_str().into(), entry);
        self.publish(state);
        tracing::info!(user = &*name, access_key = id, by = by.name(), "added an access key");
        Ok(Answer::NewAccessKey(key, shown))
    }

    fn update_access_key(
        &self,
        state: &mut State,
        by: &By,
        user: Option<&str>,
        id: &str,
        active: bool,
    ) -> Result<Answer, Refusal> {
        let entry = find_key(state, by, user, id)?;
        if entry.record.active != active {
            let record = AccessKeyRecord { active, ..entry.record.clone() };
            self.commit(state, &[Write::UpdateAccessKey(id, &record)])?;
            if let Some(entry) = state.access_keys.get_mut(id) {
                entry.record = record;
            }
            self.publish(state);
            tracing::info!(access_key = id, active, by = by.name(), "changed an access key");
        }
        Ok(Answer::Done)
    }

    fn delete_access_key(
        &self,
        state: &mut State,
        by: &By,
        user: Option<&str>,
        id: &str,
    ) -> Result<Answer, Refusal> {
        find_key(state, by, user, id)?;
        self.commit(state, &[Write::RemoveAccessKey(id)])?;
        state.access_keys.remove(id);
        self.publish(state);
        tracing::info!(access_key = id, by = by.name(), "removed an access key");
        Ok(Answer::Done)
    }

    fn create_role(
        &self,
        state: &mut State,
        by: &By,
        name: String,
        path: String,
        trust: String,
        settings: RoleSettings,
    ) -> Result<Answer, Refusal> {
        let lower_case = name.to_ascii_lowercase();
        if state.roles.contains_key(&lower_case) {
            return Err(Code::EntityAlreadyExists.because(format!("Role with name {name} already exists.")));
        }
        if state.roles.len() >= record::ROLES_MAX {
            let limit = record::ROLES_MAX;
            return Err(
                Code::LimitExceeded.because(format!("Cannot exceed quota for RolesPerAccount: {limit}"))
            );
        }
        let compiled = compile(&trust, Kind::Trust)?;
        let record = RoleRecord {
            unique_id: self.unused_unique_id(record::new_role_id)?,
            path,
            account: foreign(state, by),
            trust,
            description: None,
            session_seconds_max: SESSION_SECONDS,
            created: now(),
        };
        let record = with_settings(record, settings);
        self.commit(state, &[Write::PutRole(&name, &record)])?;
        tracing::info!(role = name, by = by.name(), "added a role");
        let entry =
            RoleEntry { name: name.as_str().into(), record, trust: compiled, inline: Inline::default() };
        let shown = show_role(state, &entry);
        state.roles.insert(lower_case, entry);
        self.publish(state);
        Ok(Answer::Role(Box::new(shown)))
    }

    fn put_role_record(&self, state: &mut State, name: &str, record: RoleRecord) -> Result<Answer, Refusal> {
        let trust = compile(&record.trust, Kind::Trust)?;
        let lower_case = name.to_ascii_lowercase();
        let entry = state.roles.get(&lower_case).ok_or_else(|| no_role(name))?;
        let stored_name = entry.name.clone();
        self.commit(state, &[Write::PutRole(&stored_name, &record)])?;
        if let Some(entry) = state.roles.get_mut(&lower_case) {
            (entry.record, entry.trust) = (record, trust);
        }
        self.publish(state);
        tracing::info!(role = &*stored_name, "changed a role");
        Ok(Answer::Done)
    }

    fn delete_role(&self, state: &mut State, by: &By, name: &str) -> Result<Answer, Refusal> {
        let entry = find_role(state, by, name)?;
        if !entry.inline.policies().is_empty() {
            return Err(Code::DeleteConflict.because("Cannot delete entity, must delete policies first."));
        }
        let stored_name = entry.name.clone();
        self.drop_role(state, &stored_name)?;
        Ok(Answer::Done)
    }

    fn drop_role(&self, state: &mut State, stored_name: &str) -> Result<(), Error> {
        self.commit(state, &[Write::RemoveRole(stored_name)])?;
        state.roles.remove(&stored_name.to_ascii_lowercase());
        self.publish(state);
        tracing::info!(role = stored_name, "removed a role");
        Ok(())
    }

    fn put_policy(
        &self,
        state: &mut State,
        by: &By,
        holder: &Holder,
        name: &str,
        document: String,
    ) -> Result<Answer, Refusal> {
        let inline = find_inline(state, by, holder)?;
        let limit = record::INLINE_POLICIES_MAX;
        if inline.policies().len() >= limit && !inline.policies().contains_key(name) {
            return Err(Code::LimitExceeded.because(format!(
                "Cannot exceed quota for inline policies: {limit}. Delete one, or put two into one."
            )));
        }
        let record = PolicyRecord { document, changed: now() };
        let next = inline.with(name, Some(record.clone()), policy_kind(holder))?;
        let (kind, key) = storage_key(state, holder);
        self.commit(state, &[Write::PutInlinePolicy(kind, &key, name, &record)])?;
        set_inline(state, holder, next);
        self.publish(state);
        tracing::info!(holder = ?holder, policy = name, by = by.name(), "put an inline policy");
        Ok(Answer::Done)
    }

    fn delete_policy(
        &self,
        state: &mut State,
        by: &By,
        holder: &Holder,
        name: &str,
    ) -> Result<Answer, Refusal> {
        let inline = find_inline(state, by, holder)?;
        if !inline.policies().contains_key(name) {
            return Err(no_policy(name));
        }
        let next = inline.with(name, None, policy_kind(holder))?;
        let (kind, key) = storage_key(state, holder);
        self.commit(state, &[Write::RemoveInlinePolicy(kind, &key, name)])?;
        set_inline(state, holder, next);
        self.publish(state);
        tracing::info!(holder = ?holder, policy = name, by = by.name(), "removed an inline policy");
        Ok(Answer::Done)
    }

    /// All roles in order of name, for the cluster admin.
    pub fn roles(&self) -> Vec<wire::Role> {
        let state = self.state.lock();
        state.roles.values().map(|role| admin_view(&state, role)).collect()
    }

    /// One role, for the cluster admin.
    ///
    /// # Errors
    /// `NoSuchRole`.
    pub fn role(&self, name: &str) -> Result<wire::Role, Error> {
        let state = self.state.lock();
        let role = state.roles.get(&name.to_ascii_lowercase()).ok_or_else(|| no_such_role(name))?;
        Ok(admin_view(&state, role))
    }

    /// Removes a role with its policies, and with its unique id every session of it, for the cluster admin.
    ///
    /// # Errors
    /// `NoSuchRole`, `StoreFailure`.
    pub fn remove_role(&self, name: &str) -> Result<(), Error> {
        let mut state = self.state.lock();
        let role = state.roles.get(&name.to_ascii_lowercase()).ok_or_else(|| no_such_role(name))?;
        let stored_name = role.name.clone();
        self.drop_role(&mut state, &stored_name)
    }
}

/// For a holder that [`find_inline`] has found under the same lock.
fn set_inline(state: &mut State, holder: &Holder, inline: Inline) {
    match holder {
        Holder::User(name) => state.user_mut(name).inline = inline,
        Holder::Role(name) => {
            let role = state.roles.get_mut(&name.to_ascii_lowercase());
            role.expect("the role was found under this lock").inline = inline;
        }
    }
}

fn storage_key(state: &State, holder: &Holder) -> (HolderKind, Arc<str>) {
    match holder {
        Holder::User(name) => (HolderKind::User, name.as_str().into()),
        Holder::Role(name) => {
            let role = state.roles.get(&name.to_ascii_lowercase());
            (HolderKind::Role, role.map_or_else(|| name.as_str().into(), |role| role.name.clone()))
        }
    }
}

fn policy_kind(holder: &Holder) -> Kind<'static> {
    match holder {
        Holder::User(_) => Kind::Identity,
        Holder::Role(_) => Kind::Role,
    }
}

/// The account as records have it: only another than the server's own.
fn foreign(state: &State, by: &By) -> Option<String> {
    (*by.account != *state.account).then(|| by.account.to_string())
}

fn with_settings(record: RoleRecord, settings: RoleSettings) -> RoleRecord {
    RoleRecord {
        description: settings.description.or(record.description).filter(|text| !text.is_empty()),
        session_seconds_max: settings.session_seconds_max.unwrap_or(record.session_seconds_max),
        ..record
    }
}

fn admin_view(state: &State, role: &RoleEntry) -> wire::Role {
    let policies = role.inline.policies().iter();
    wire::Role {
        name: role.name.to_string(),
        unique_id: role.record.unique_id.clone(),
        arn: state.principal_of_role(role).arn.to_string(),
        description: role.record.description.clone(),
        trust: role.record.trust.clone(),
        policies: policies.map(|(name, policy)| (name.clone(), policy.document.clone())).collect(),
        session_seconds_max: role.record.session_seconds_max,
        created: iso8601(role.record.created),
    }
}

fn no_such_role(name: &str) -> Error {
    Error::new(ErrorKind::NoSuchRole, format!("there is no role {name:?}; `sluicegate role list` shows all"))
}

/// The refusals of the control plane in the words of AWS.
impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match error.kind {
            ErrorKind::InvalidName | ErrorKind::InvalidOwner | ErrorKind::InvalidSecret => {
                Code::ValidationError
            }
            ErrorKind::MalformedPolicy => Code::MalformedPolicyDocument,
            ErrorKind::PolicyTooLarge | ErrorKind::LimitExceeded => Code::LimitExceeded,
            ErrorKind::NoSuchUser | ErrorKind::NoSuchRole | ErrorKind::NoSuchPolicy => Code::NoSuchEntity,
            ErrorKind::UserExists => Code::EntityAlreadyExists,
            ErrorKind::AccessDenied => Code::AccessDenied,
            _ => Code::ServiceFailure,
        };
        code.because(error.message)
    }
}
