//! What a caller of the IAM API sees: the users and roles of its own account, found and shown.

use std::sync::Arc;

use super::super::super::record::{self, UserRecord};
use super::super::state::{AccessKeyEntry, Inline, RoleEntry, State, UserEntry};
use crate::iam_api::{AccessKeyShown, Answer, By, Holder, Page, Paging, RoleShown, UserShown};
use crate::query_api::{Code, Refusal};

/// The user that a call names; without a name the caller's own.
pub(super) fn find_user<'s>(
    state: &'s State,
    by: &By,
    name: Option<&str>,
) -> Result<(Arc<str>, &'s UserEntry), Refusal> {
    let missing =
        |name: &str| Code::NoSuchEntity.because(format!("The user with name {name} cannot be found."));
    match (name, &by.user) {
        (Some(name), _) => {
            let visible = |user: &UserEntry| {
                *state.account(user.record.account.as_deref()) == *by.account && !user.record.account_root
            };
            let found = state.users.get_key_value(name).filter(|(_, user)| visible(user));
            found.map(|(name, user)| (name.clone(), user)).ok_or_else(|| missing(name))
        }
        (None, Some(own)) => {
            // Not one of the same name that was made since the call was signed.
            let is_it = |user: &UserEntry| *user.record.unique_id == *own.unique_id;
            let found = state.users.get_key_value(&own.name).filter(|(_, user)| is_it(user));
            found.map(|(name, user)| (name.clone(), user)).ok_or_else(|| missing(&own.name))
        }
        (None, None) => {
            Err(Code::ValidationError.because("Must specify userName when calling with non-User credentials"))
        }
    }
}

pub(super) fn find_key<'s>(
    state: &'s State,
    by: &By,
    user: Option<&str>,
    id: &str,
) -> Result<&'s AccessKeyEntry, Refusal> {
    let (name, _) = find_user(state, by, user)?;
    let key = state.access_keys.get(id).filter(|key| *key.record.user == *name);
    key.ok_or_else(|| Code::NoSuchEntity.because(format!("The Access Key with id {id} cannot be found.")))
}

pub(super) fn find_role<'s>(state: &'s State, by: &By, name: &str) -> Result<&'s RoleEntry, Refusal> {
    let role = state.roles.get(&name.to_ascii_lowercase());
    let visible = |role: &&RoleEntry| *state.account(role.record.account.as_deref()) == *by.account;
    role.filter(visible).ok_or_else(|| no_role(name))
}

pub(super) fn find_inline<'s>(state: &'s State, by: &By, holder: &Holder) -> Result<&'s Inline, Refusal> {
    match holder {
        Holder::User(name) => find_user(state, by, Some(name)).map(|(_, user)| &user.inline),
        Holder::Role(name) => find_role(state, by, name).map(|role| &role.inline),
    }
}

pub(super) fn get_user(state: &State, by: &By, name: Option<&str>) -> Result<Answer, Refusal> {
    let (name, entry) = find_user(state, by, name)?;
    Ok(Answer::User(show_user(state, &name, &entry.record)))
}

/// In order of name, whatever its case, as AWS lists them.
pub(super) fn list_users(state: &State, by: &By, path_prefix: &str, paging: &Paging) -> Answer {
    let of_account = |record: &UserRecord| *state.account(record.account.as_deref()) == *by.account;
    let visible = state.users.iter().filter(|(_, user)| {
        of_account(&user.record) && !user.record.account_root && user.record.path().starts_with(path_prefix)
    });
    let mut users: Vec<(String, UserShown)> =
        visible.map(|(name, user)| (order_key(name), show_user(state, name, &user.record))).collect();
    users.sort_by(|(one, _), (other, _)| one.cmp(other));
    let page = Page::of(paging, users.into_iter(), |(key, _)| key.clone());
    Answer::Users(Page { items: page.items.into_iter().map(|(_, user)| user).collect(), marker: page.marker })
}

/// Sorts by letters first and by their case only then. Names hold no slash.
fn order_key(name: &str) -> String {
    format!("{}/{name}", name.to_ascii_lowercase())
}

pub(super) fn list_roles(state: &State, by: &By, path_prefix: &str, paging: &Paging) -> Answer {
    let visible = state.roles.values().filter(|role| {
        *state.account(role.record.account.as_deref()) == *by.account
            && role.record.path.starts_with(path_prefix)
    });
    let shown = visible.map(|role| show_role(state, role));
    Answer::Roles(Page::of(paging, shown, |role| role.name.to_ascii_lowercase()))
}

pub(super) fn list_attached(
    state: &State,
    by: &By,
    holder: &Holder,
    paging: &Paging,
) -> Result<Answer, Refusal> {
    find_inline(state, by, holder)?;
    let attached = match holder {
        Holder::User(name) => state.user(name)?.policy.clone(),
        Holder::Role(_) => None,
    };
    let policies =
        attached.map(|name| (name.to_string(), format!("arn:aws:iam::{}:policy/{name}", by.account)));
    Ok(Answer::AttachedPolicies(Page::of(paging, policies.into_iter(), |(name, _)| name.clone())))
}

pub(super) fn summary(state: &State, by: &By) -> Answer {
    let is_own = |account: Option<&str>| *state.account(account) == *by.account;
    let users = state
        .users
        .values()
        .filter(|user| is_own(user.record.account.as_deref()) && !user.record.account_root);
    let roles = state.roles.values().filter(|role| is_own(role.record.account.as_deref()));
    let size = crate::iam::POLICY_BYTES_MAX as u64;
    Answer::Summary(vec![
        ("AccessKeysPerUserQuota", record::ACCESS_KEYS_PER_USER_MAX as u64),
        ("AssumeRolePolicySizeQuota", size),
        ("Groups", 0),
        ("GroupsQuota", 0),
        ("PolicySizeQuota", size),
        ("RolePolicySizeQuota", size),
        ("Roles", roles.count() as u64),
        ("RolesQuota", record::ROLES_MAX as u64),
        ("UserPolicySizeQuota", size),
        ("Users", users.count() as u64),
        ("UsersQuota", record::USERS_MAX as u64),
    ])
}

pub(super) fn show_user(state: &State, name: &str, record: &UserRecord) -> UserShown {
    let principal = state.principal_of_user(name, record);
    let of_user = |text: &str| (!record.account_root).then(|| text.to_owned());
    UserShown {
        path: of_user(record.path()),
        name: of_user(name),
        id: if record.account_root { principal.account.to_string() } else { record.unique_id.clone() },
        arn: principal.arn.to_string(),
        created: record.created,
    }
}

pub(super) fn show_key(id: &str, key: &AccessKeyEntry) -> AccessKeyShown {
    AccessKeyShown {
        user: key.record.user.clone(),
        id: id.to_owned(),
        active: key.record.active,
        created: key.record.created,
    }
}

pub(super) fn show_role(state: &State, role: &RoleEntry) -> RoleShown {
    RoleShown {
        path: role.record.path.clone(),
        name: role.name.to_string(),
        id: role.record.unique_id.clone(),
        arn: state.principal_of_role(role).arn.to_string(),
        created: role.record.created,
        trust: role.record.trust.clone(),
        description: role.record.description.clone(),
        session_seconds_max: role.record.session_seconds_max,
    }
}

pub(super) fn no_role(name: &str) -> Refusal {
    Code::NoSuchEntity.because(format!("The role with name {name} cannot be found."))
}

pub(super) fn no_policy(name: &str) -> Refusal {
    Code::NoSuchEntity.because(format!("The policy with name {name} cannot be found."))
}
