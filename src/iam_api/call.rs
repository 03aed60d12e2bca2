//! The calls: a form read strictly into one [`Call`].
//!
//! What would limit an entity and is not understood here (`PermissionsBoundary`), or would be forgotten (`Tags`), is
//! refused: a call that was answered has done all of what it asked for.
//!
//! Spec: AWS IAM API reference, the page of each action.

use super::names::{self, invalid};
use crate::iam::Action;
use crate::query_api::{Code, Form, Refusal};

/// The version of the API.
pub const VERSION: &str = "2010-05-08";
/// Shortest `MaxSessionDuration` of a role, and that of a role that asks for none.
pub const SESSION_SECONDS: u32 = 3600;
/// Longest `MaxSessionDuration` of a role.
pub const SESSION_SECONDS_MAX: u32 = 12 * 3600;
/// Items of a page that asks for no number.
pub const PAGE_ITEMS: usize = 100;
/// Most items of a page.
pub const PAGE_ITEMS_MAX: usize = 1000;

/// A call, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// What it is called, and what a policy has to allow.
    pub action: Action,
    /// What it asks for.
    pub change: Change,
}

/// What a call asks for. A user without a name is the caller.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The actions and parameters of AWS.
pub enum Change {
    CreateUser { name: String, path: String },
    GetUser { name: Option<String> },
    ListUsers { path_prefix: String, paging: Paging },
    UpdateUser { name: String, path: Option<String> },
    DeleteUser { name: String },
    CreateAccessKey { user: Option<String> },
    ListAccessKeys { user: Option<String>, paging: Paging },
    UpdateAccessKey { user: Option<String>, id: String, active: bool },
    DeleteAccessKey { user: Option<String>, id: String },
    CreateRole { name: String, path: String, trust: String, settings: RoleSettings },
    GetRole { name: String },
    ListRoles { path_prefix: String, paging: Paging },
    UpdateRole { name: String, settings: RoleSettings },
    UpdateAssumeRolePolicy { name: String, trust: String },
    DeleteRole { name: String },
    PutPolicy { holder: Holder, name: String, document: String },
    GetPolicy { holder: Holder, name: String },
    ListPolicies { holder: Holder, paging: Paging },
    DeletePolicy { holder: Holder, name: String },
    ListAttachedPolicies { holder: Holder, paging: Paging },
    ListNothing { holder: Option<Holder> },
    GetAccountSummary,
}

/// Whom an inline policy belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A user.
    User(String),
    /// A role.
    Role(String),
}

/// What of a role can be set besides its policies; what is absent stays.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RoleSettings {
    /// What it is for.
    pub description: Option<String>,
    /// Longest life of a session.
    pub session_seconds_max: Option<u32>,
}

/// Which page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paging {
    /// Most items.
    pub items_max: usize,
    /// The marker of the page before.
    pub marker: Option<String>,
}

impl Call {
    /// The name as AWS spells it: `CreateUser`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.action.name().split_once(':').map_or("", |(_, name)| name)
    }

    /// Reads a form body.
    ///
    /// # Errors
    /// The first thing found wrong, with the code that AWS has for it.
    pub fn parse(body: &[u8]) -> Result<Call, Refusal> {
        let form = Form::parse(body)?;
        let name = form.action(VERSION)?;
        let parameters = Parameters(&form);
        let unknown = || {
            Code::InvalidAction.because(format!(
                "Could not find operation {} for version {VERSION} on this server.",
                name.chars().take(SHOWN_CHARS_MAX).collect::<String>()
            ))
        };
        let action = Action::from_name(&format!("iam:{name}")).ok_or_else(unknown)?;
        let call = Call { action, change: parameters.change(action)?.ok_or_else(unknown)? };
        // Names of actions are compared in their case, as AWS does; those in policies are not.
        if call.name() == name { Ok(call) } else { Err(unknown()) }
    }
}

/// The parameters of a call, each read as what it is.
struct Parameters<'f>(&'f Form);

impl Parameters<'_> {
    /// None for an action that this server does not have.
    fn change(&self, action: Action) -> Result<Option<Change>, Refusal> {
        use Action as A;
        let user = || self.required("UserName");
        let role = || self.required("RoleName");
        let of_user = || user().map(Holder::User);
        let of_role = || role().map(Holder::Role);
        Ok(Some(match action {
            A::CreateUser => {
                self.refuse(&["Tags", "PermissionsBoundary"])?;
                Change::CreateUser { name: user()?, path: self.path("Path")?.unwrap_or_else(root_path) }
            }
            A::GetUser => Change::GetUser { name: self.optional("UserName")? },
            A::ListUsers => Change::ListUsers { path_prefix: self.path_prefix()?, paging: self.paging()? },
            A::UpdateUser => {
                let name = user()?;
                if self.optional("NewUserName")?.is_some_and(|new| new != name) {
                    return Err(Code::InvalidInput.because(
                        "The name of a user does not change on this server, because keys, policies and buckets refer to \
                         it. Create a user of the new name.",
                    ));
                }
                Change::UpdateUser { name, path: self.path("NewPath")? }
            }
            A::DeleteUser => Change::DeleteUser { name: user()? },
            A::CreateAccessKey => Change::CreateAccessKey { user: self.optional("UserName")? },
            A::ListAccessKeys => {
                Change::ListAccessKeys { user: self.optional("UserName")?, paging: self.paging()? }
            }
            A::UpdateAccessKey => Change::UpdateAccessKey {
                user: self.optional("UserName")?,
                id: self.required("AccessKeyId")?,
                active: match self.required("Status")?.as_str() {
                    "Active" => true,
                    "Inactive" => false,
                    _ => return Err(invalid("status", "satisfy enum value set: [Active, Inactive]")),
                },
            },
            A::DeleteAccessKey => Change::DeleteAccessKey {
                user: self.optional("UserName")?,
                id: self.required("AccessKeyId")?,
            },
            A::CreateRole => {
                self.refuse(&["Tags", "PermissionsBoundary"])?;
                let name = role()?;
                names::check_role_name(&name)?;
                Change::CreateRole {
                    name,
                    path: self.path("Path")?.unwrap_or_else(root_path),
                    trust: self.document("AssumeRolePolicyDocument")?,
                    settings: self.role_settings()?,
                }
            }
            A::GetRole => Change::GetRole { name: role()? },
            A::ListRoles => Change::ListRoles { path_prefix: self.path_prefix()?, paging: self.paging()? },
            A::UpdateRole => Change::UpdateRole { name: role()?, settings: self.role_settings()? },
            A::UpdateAssumeRolePolicy => {
                Change::UpdateAssumeRolePolicy { name: role()?, trust: self.document("PolicyDocument")? }
            }
            A::DeleteRole => Change::DeleteRole { name: role()? },
            A::PutUserPolicy => self.put_policy(of_user()?)?,
            A::PutRolePolicy => self.put_policy(of_role()?)?,
            A::GetUserPolicy => Change::GetPolicy { holder: of_user()?, name: self.policy_name()? },
            A::GetRolePolicy => Change::GetPolicy { holder: of_role()?, name: self.policy_name()? },
            A::DeleteUserPolicy => Change::DeletePolicy { holder: of_user()?, name: self.policy_name()? },
            A::DeleteRolePolicy => Change::DeletePolicy { holder: of_role()?, name: self.policy_name()? },
            A::ListUserPolicies => Change::ListPolicies { holder: of_user()?, paging: self.paging()? },
            A::ListRolePolicies => Change::ListPolicies { holder: of_role()?, paging: self.paging()? },
            A::ListAttachedUserPolicies => {
                Change::ListAttachedPolicies { holder: of_user()?, paging: self.paging()? }
            }
            A::ListAttachedRolePolicies => {
                Change::ListAttachedPolicies { holder: of_role()?, paging: self.paging()? }
            }
            A::ListGroupsForUser => Change::ListNothing { holder: Some(of_user()?) },
            A::ListInstanceProfilesForRole => Change::ListNothing { holder: Some(of_role()?) },
            A::ListGroups | A::ListOpenIDConnectProviders => Change::ListNothing { holder: None },
            A::GetAccountSummary => Change::GetAccountSummary,
            _ => return Ok(None),
        }))
    }

    fn put_policy(&self, holder: Holder) -> Result<Change, Refusal> {
        Ok(Change::PutPolicy {
            holder,
            name: self.policy_name()?,
            document: self.document("PolicyDocument")?,
        })
    }

    fn policy_name(&self) -> Result<String, Refusal> {
        let name = self.required("PolicyName")?;
        names::check_policy_name(&name)?;
        Ok(name)
    }

    fn role_settings(&self) -> Result<RoleSettings, Refusal> {
        let description = self.0.value_as_sent("Description");
        if description.is_some_and(|text| text.chars().count() > names::DESCRIPTION_CHARS_MAX) {
            return Err(invalid("description", "have length less than or equal to 1000"));
        }
        let bounds = u64::from(SESSION_SECONDS)..=u64::from(SESSION_SECONDS_MAX);
        let seconds = match self.0.value("MaxSessionDuration") {
            None => None,
            Some(text) => match number(text).filter(|seconds| bounds.contains(seconds)) {
                Some(seconds) => u32::try_from(seconds).ok(),
                None => return Err(invalid("maxSessionDuration", "have value between 3600 and 43200")),
            },
        };
        Ok(RoleSettings { description: description.map(str::to_owned), session_seconds_max: seconds })
    }

    fn paging(&self) -> Result<Paging, Refusal> {
        let items_max = match self.0.value("MaxItems") {
            None => PAGE_ITEMS,
            Some(text) => match number(text).and_then(|count| usize::try_from(count).ok()) {
                Some(count @ 1..=PAGE_ITEMS_MAX) => count,
                _ => return Err(invalid("maxItems", "have value between 1 and 1000")),
            },
        };
        Ok(Paging { items_max, marker: self.0.value("Marker").map(str::to_owned) })
    }

    /// A document, not parsed yet. An empty one is malformed, not absent.
    fn document(&self, name: &str) -> Result<String, Refusal> {
        self.0.value_as_sent(name).map(str::to_owned).ok_or_else(|| missing(name))
    }

    fn path(&self, name: &str) -> Result<Option<String>, Refusal> {
        let path = self.0.value(name);
        path.map(names::check_path).transpose()?;
        Ok(path.map(str::to_owned))
    }

    fn path_prefix(&self) -> Result<String, Refusal> {
        let prefix = self.0.value("PathPrefix").unwrap_or("/");
        if !prefix.starts_with('/') || prefix.len() > names::PATH_CHARS_MAX {
            return Err(invalid("pathPrefix", "begin with / and have at most 512 characters"));
        }
        Ok(prefix.to_owned())
    }

    fn required(&self, name: &str) -> Result<String, Refusal> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    fn optional(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.value(name) {
            Some(value) if value.len() > VALUE_BYTES_MAX => {
                Err(invalid(name, &format!("have length less than or equal to {VALUE_BYTES_MAX}")))
            }
            value => Ok(value.map(str::to_owned)),
        }
    }

    fn refuse(&self, names: &[&str]) -> Result<(), Refusal> {
        let given = |name: &&&str| self.0.value(name).is_some() || self.0.has_members(name);
        match names.iter().find(given) {
            None => Ok(()),
            Some(name) => {
                Err(Code::InvalidInput
                    .because(format!("{name} is not supported by this server. Leave it out.")))
            }
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn missing(name: &str) -> Refusal {
    Code::ValidationError.because(format!("The request must contain the parameter {name}."))
}

fn root_path() -> String {
    "/".to_owned()
}

/// Longest value of a parameter that is no document.
const VALUE_BYTES_MAX: usize = 512;
const SHOWN_CHARS_MAX: usize = 64;

/// Reads `data` as a form. Nothing may panic, and what is read must be within the bounds.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let bodies = ["CreateUser", "CreateRole", "PutUserPolicy", "UpdateAccessKey", "ListRoles"]
        .map(|action| [format!("Action={action}&Version={VERSION}&").as_bytes(), data].concat());
    for body in bodies.iter().map(Vec::as_slice).chain([data]) {
        match Call::parse(body) {
            Ok(call) => {
                assert!(!call.name().is_empty());
                if let Change::ListRoles { paging, .. } = &call.change {
                    assert!((1..=PAGE_ITEMS_MAX).contains(&paging.items_max));
                }
            }
            Err(refusal) => assert!(!refusal.message.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests;
