//! Calls of IAM on the S3 endpoint: `POST /` with a form that is signed for the service `iam`.
//!
//! Here it is decided whether a call may be made: by the same policies as for S3, session and embedded ones included,
//! for the action `iam:<call>` on the ARN of the user or role that the call names. What the call does is the control
//! plane's ([`Service::iam`](super::context::Service::iam)), which waits for the disk on an offload thread; the answer becomes XML here.
//!
//! Spec: AWS IAM API reference, version 2010-05-08; Service Authorization Reference, "Actions, resources, and condition
//! keys for AWS Identity and Access Management".

use super::access::Authorized;
use super::context::{Ctx, RequestId};
use super::error::{Code, S3Error};
use super::query_answer::{IAM, document, iso8601, refused, reply};
use super::reply::Reply;
use super::xml::Writer;
use crate::codec::dates::Timestamp;
use crate::codec::percent;
use crate::iam::{PrincipalName, Snapshot};
use crate::iam_api::{AccessKeyShown, Answer, By, Call, Change, Holder, RoleShown, UserShown};
use crate::query_api::{Code as QueryCode, Refusal};

/// `POST /` with a form.
pub async fn answer(ctx: &Ctx<'_>, _permit: Authorized<()>) -> Result<Reply, S3Error> {
    let call = Call::parse(ctx.form.as_deref().unwrap_or_default());
    let (by, call) = match call.and_then(|call| Ok((by(ctx, &call)?, call))) {
        Ok(allowed) => allowed,
        Err(refusal) => return Ok(refused(IAM, &refusal, ctx)),
    };
    let name = call.name();
    let outcome = ctx.offload(move |service| Ok((service.iam)(&by, call.change))).await?;
    match outcome {
        Ok(result) => Ok(reply(ctx, write(ctx.request_id, name, &result))),
        Err(refusal) if refusal.code == QueryCode::ServiceFailure => {
            tracing::error!(%refusal, call = name, "a call of IAM failed");
            Err(Code::InternalError.into())
        }
        Err(refusal) => Ok(refused(IAM, &refusal, ctx)),
    }
}

/// Who makes the call, if they may.
fn by(ctx: &Ctx<'_>, call: &Call) -> Result<By, Refusal> {
    let caller = &ctx.caller;
    let (Some(user), Some(principal)) = (caller.user(), caller.principal()) else {
        return Err(QueryCode::MissingAuthenticationToken
            .because("Request is missing Authentication Token. Sign it for the service iam."));
    };
    let target = target(&call.change, principal, caller.snapshot());
    // Who moves a user needs the right on where it goes, too: else the path would be no bound for a delegate.
    let moved_to = match &call.change {
        Change::UpdateUser { name, path: Some(path) } => {
            Some(format!("arn:aws:iam::{}:user{path}{name}", principal.account))
        }
        _ => None,
    };
    for arn in [Some(target), moved_to].into_iter().flatten() {
        if !caller.may_administer(call.action, &arn) {
            return Err(QueryCode::AccessDenied.because(format!(
                "User: {} is not authorized to perform: {} on resource: {arn} because no policy allows the action or \
                 one denies it. A cluster administrator attaches policies.",
                principal.arn,
                call.action.name(),
            )));
        }
    }
    let own = caller.role().is_none().then(|| user.clone());
    Ok(By { account: principal.account.clone(), user: own, owner: user.owner })
}

/// The ARN that a policy has to allow the call on. What does not exist is called as it would be without a path.
fn target(change: &Change, caller: &PrincipalName, snapshot: &Snapshot) -> String {
    let account = &caller.account;
    let user = |name: Option<&str>| match name {
        None => caller.arn.to_string(),
        Some(name) => {
            let found = snapshot.user_by_name(name).map(|user| &user.principal);
            let found = found.filter(|found| found.account == *account && !found.is_root);
            found.map_or_else(|| format!("arn:aws:iam::{account}:user/{name}"), |found| found.arn.to_string())
        }
    };
    let role = |name: &str| {
        let found = snapshot.role_by_name(name).map(|role| &role.principal);
        let found = found.filter(|found| found.account == *account);
        found.map_or_else(|| format!("arn:aws:iam::{account}:role/{name}"), |found| found.arn.to_string())
    };
    let of_account = |what: &str| format!("arn:aws:iam::{account}:{what}");
    match change {
        Change::CreateUser { name, path } => of_account(&format!("user{path}{name}")),
        Change::CreateRole { name, path, .. } => of_account(&format!("role{path}{name}")),
        Change::ListUsers { .. } => of_account("user/"),
        Change::ListRoles { .. } => of_account("role/"),
        Change::ListNothing { holder: None } | Change::GetAccountSummary => of_account("*"),
        Change::GetUser { name } => user(name.as_deref()),
        Change::UpdateUser { name, .. } | Change::DeleteUser { name } => user(Some(name)),
        Change::CreateAccessKey { user: name }
        | Change::ListAccessKeys { user: name, .. }
        | Change::UpdateAccessKey { user: name, .. }
        | Change::DeleteAccessKey { user: name, .. } => user(name.as_deref()),
        Change::GetRole { name }
        | Change::UpdateRole { name, .. }
        | Change::UpdateAssumeRolePolicy { name, .. }
        | Change::DeleteRole { name } => role(name),
        Change::PutPolicy { holder, .. }
        | Change::GetPolicy { holder, .. }
        | Change::ListPolicies { holder, .. }
        | Change::DeletePolicy { holder, .. }
        | Change::ListAttachedPolicies { holder, .. }
        | Change::ListNothing { holder: Some(holder) } => match holder {
            Holder::User(name) => user(Some(name)),
            Holder::Role(name) => role(name),
        },
    }
}

fn write(request_id: RequestId, action: &str, answer: &Answer) -> Vec<u8> {
    match answer {
        // Of the calls that answer nothing, this one has an empty result.
        Answer::Done if action != "UpdateRole" => document(IAM, action, request_id, None),
        answer => document(IAM, action, request_id, Some(&mut |writer| write_result(writer, action, answer))),
    }
}

fn write_result(writer: &mut Writer<'_>, action: &str, answer: &Answer) {
    match answer {
        Answer::Done => {}
        Answer::User(user) => write_user(writer, "User", user),
        Answer::Users(page) => {
            list(writer, "Users", &page.items, |writer, user| write_user(writer, "member", user));
            write_marker(writer, page.marker.as_deref());
        }
        Answer::NewAccessKey(key, secret) => {
            writer.open("AccessKey");
            write_key(writer, key);
            writer.text("SecretAccessKey", secret.0.as_bytes());
            writer.close("AccessKey");
        }
        Answer::AccessKeys(page) => {
            list(writer, "AccessKeyMetadata", &page.items, |writer, key| {
                writer.open("member");
                write_key(writer, key);
                writer.close("member");
            });
            write_marker(writer, page.marker.as_deref());
        }
        Answer::Role(role) => write_role(writer, "Role", role, action != "CreateRole"),
        Answer::Roles(page) => {
            list(writer, "Roles", &page.items, |writer, role| write_role(writer, "member", role, true));
            write_marker(writer, page.marker.as_deref());
        }
        Answer::Policy { holder, name, document } => {
            match holder {
                Holder::User(user) => writer.text("UserName", user),
                Holder::Role(role) => writer.text("RoleName", role),
            }
            writer.text("PolicyName", name);
            writer.text("PolicyDocument", encoded(document));
        }
        Answer::PolicyNames(page) => {
            list(writer, "PolicyNames", &page.items, |writer, name| writer.text("member", name));
            write_marker(writer, page.marker.as_deref());
        }
        Answer::AttachedPolicies(page) => {
            list(writer, "AttachedPolicies", &page.items, |writer, (name, arn)| {
                writer.open("member");
                writer.text("PolicyName", name);
                writer.text("PolicyArn", arn);
                writer.close("member");
            });
            write_marker(writer, page.marker.as_deref());
        }
        Answer::Summary(entries) => {
            list_as(writer, "SummaryMap", "entry", entries, |writer, (name, value)| {
                writer.text("key", name);
                writer.number("value", *value);
            })
        }
        Answer::Empty => {
            let name = match action {
                "ListGroups" | "ListGroupsForUser" => "Groups",
                "ListInstanceProfilesForRole" => "InstanceProfiles",
                _ => "OpenIDConnectProviderList",
            };
            list(writer, name, &[], |_, (): &()| {});
            if action != "ListOpenIDConnectProviders" {
                write_marker(writer, None);
            }
        }
    }
}

fn list<T>(writer: &mut Writer<'_>, name: &str, items: &[T], mut each: impl FnMut(&mut Writer<'_>, &T)) {
    writer.open(name);
    items.iter().for_each(|item| each(writer, item));
    writer.close(name);
}

fn list_as<T>(
    writer: &mut Writer<'_>,
    name: &str,
    member: &str,
    items: &[T],
    mut each: impl FnMut(&mut Writer<'_>, &T),
) {
    list(writer, name, items, |writer, item| {
        writer.open(member);
        each(writer, item);
        writer.close(member);
    });
}

fn write_marker(writer: &mut Writer<'_>, marker: Option<&str>) {
    writer.boolean("IsTruncated", marker.is_some());
    writer.optional_text("Marker", marker);
}

fn write_user(writer: &mut Writer<'_>, element: &str, user: &UserShown) {
    writer.open(element);
    writer.optional_text("Path", user.path.as_deref());
    writer.optional_text("UserName", user.name.as_deref());
    writer.text("UserId", &user.id);
    writer.text("Arn", &user.arn);
    writer.text("CreateDate", date(user.created));
    writer.close(element);
}

fn write_key(writer: &mut Writer<'_>, key: &AccessKeyShown) {
    writer.text("UserName", &key.user);
    writer.text("AccessKeyId", &key.id);
    writer.text("Status", if key.active { "Active" } else { "Inactive" });
    writer.text("CreateDate", date(key.created));
}

/// AWS leaves out of the answer to CreateRole what GetRole shows.
fn write_role(writer: &mut Writer<'_>, element: &str, role: &RoleShown, whole: bool) {
    writer.open(element);
    writer.text("Path", &role.path);
    writer.text("RoleName", &role.name);
    writer.text("RoleId", &role.id);
    writer.text("Arn", &role.arn);
    writer.text("CreateDate", date(role.created));
    writer.text("AssumeRolePolicyDocument", encoded(&role.trust));
    if whole {
        writer.optional_text("Description", role.description.as_deref());
        writer.number("MaxSessionDuration", role.session_seconds_max.into());
    }
    writer.close(element);
}

/// Documents stand percent-encoded in answers (RFC 3986).
fn encoded(document: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(document.len() * 2);
    percent::encode_query_into(document.as_bytes(), &mut out);
    out
}

fn date(seconds: i64) -> Vec<u8> {
    iso8601(Timestamp::from_seconds(seconds))
}

#[cfg(test)]
mod tests;
