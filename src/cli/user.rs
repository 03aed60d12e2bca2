//! `sluicegate user`: the users of a running server.

use clap::{Args, Subcommand};
use hyper::Method;

use super::client::{Client, path_with};
use super::secret::{ChosenSecret, SecretArgs};
use super::{Failure, ServerArgs, plural, print, print_json, table};
use crate::control::wire;

/// The command line of `sluicegate user`.
#[derive(Args, Debug)]
pub struct UserArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Subcommand, Debug)]
enum UserCommand {
    /// Add a user
    Add {
        /// User name, which is also the access key: 3 to 64 letters, digits and _ . @ + -
        name: String,
        /// Owner of the files the user's requests create
        #[arg(long, value_name = "N", default_value_t = 0)]
        posix_uid: u32,
        /// Group of the files the user's requests create
        #[arg(long, value_name = "N", default_value_t = 0)]
        posix_gid: u32,
        /// Supplementary groups as which the user's requests act with --posix-permissions enforce: `100,200`, `none`, or
        /// `system` for those that the system's databases name
        #[arg(long, value_name = "N,..", default_value = "system", value_parser = groups)]
        posix_groups: wire::PosixGroups,
        /// Policy to attach; without one the user may do nothing
        #[arg(long, value_name = "POLICY")]
        policy: Option<String>,
        /// Make it the root of this account of 12 digits: users and roles that it makes through the IAM API belong to
        /// the account. This gives it a name and no rights: those come from its policy
        #[arg(long, value_name = "ACCOUNT")]
        account_root: Option<String>,
        #[command(flatten)]
        secret: SecretArgs,
    },
    /// List all users
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a user
    Show {
        /// User name
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change the owner of the files that the user's requests create from now on, and the groups as which they act
    #[command(group(clap::ArgGroup::new("change").args(["posix_uid", "posix_gid", "posix_groups"]).required(true).multiple(true)))]
    Update {
        /// User name
        name: String,
        /// New owner
        #[arg(long, value_name = "N")]
        posix_uid: Option<u32>,
        /// New group
        #[arg(long, value_name = "N")]
        posix_gid: Option<u32>,
        /// New supplementary groups: `100,200`, `none` or `system`
        #[arg(long, value_name = "N,..", value_parser = groups)]
        posix_groups: Option<wire::PosixGroups>,
    },
    /// Remove a user, its service accounts and its session tokens
    Remove {
        /// User name
        name: String,
    },
    /// Give a user a new secret; the old one is refused at once
    Passwd {
        /// User name
        name: String,
        #[command(flatten)]
        secret: SecretArgs,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &UserArgs) -> Result<(), Failure> {
    let client = args.server.client();
    match &args.command {
        UserCommand::Add { name, posix_uid, posix_gid, posix_groups, policy, account_root, secret } => {
            let ChosenSecret { text, generated } = secret.choose()?;
            let body = wire::AddUser {
                name: name.clone(),
                secret: text.clone(),
                posix_uid: *posix_uid,
                posix_gid: *posix_gid,
                posix_groups: posix_groups.clone(),
                policy: policy.clone(),
                account_root: account_root.clone(),
            };
            let added: wire::ChangedUser = client.send(Method::POST, USERS, &body)?;
            warn(&added.warnings);
            if added.user.policy.is_none() {
                warn(&[format!(
                    "{name} may do nothing yet; attach a policy with `sluicegate policy attach`"
                )]);
            }
            print_keys(name, generated.then(|| text.expose()))
        }
        UserCommand::List { json } => {
            let users: wire::Users = client.get(USERS)?;
            if *json { print_json(&users) } else { print(&list(&users.users)) }
        }
        UserCommand::Show { name, json } => {
            let user: wire::User = client.get(&path_with(USERS, name))?;
            if *json { print_json(&user) } else { print(&show(&user)) }
        }
        UserCommand::Update { name, posix_uid, posix_gid, posix_groups } => {
            let body = wire::UpdateUser {
                posix_uid: *posix_uid,
                posix_gid: *posix_gid,
                posix_groups: posix_groups.clone(),
            };
            let changed: wire::ChangedUser = client.send(Method::PATCH, &path_with(USERS, name), &body)?;
            warn(&changed.warnings);
            let user = changed.user;
            print(&format!(
                "New files of {name} belong to {}:{}; its groups are {}.\n",
                user.posix_uid,
                user.posix_gid,
                shown_groups(&user)
            ))
        }
        UserCommand::Remove { name } => remove(&client, name),
        UserCommand::Passwd { name, secret } => {
            let ChosenSecret { text, generated } = secret.choose()?;
            let body = wire::SetSecret { secret: text.clone() };
            let path = format!("{}/secret", path_with(USERS, name));
            client.send::<()>(Method::PUT, &path, &body)?;
            print_keys(name, generated.then(|| text.expose()))
        }
    }
}

const USERS: &str = "/v1/users";

/// Reads supplementary groups as they are given.
fn groups(text: &str) -> Result<wire::PosixGroups, String> {
    let listed =
        |text: &str| text.split(',').map(|item| item.trim().parse().ok()).collect::<Option<Vec<u32>>>();
    match text {
        "system" => Ok(wire::PosixGroups::System),
        "none" => Ok(wire::PosixGroups::Listed(Vec::new())),
        text => listed(text)
            .map(wire::PosixGroups::Listed)
            .ok_or_else(|| "write numbers with commas between, `none` or `system`".to_owned()),
    }
}

/// The supplementary groups, as they can be given.
fn shown_groups(user: &wire::User) -> String {
    match &user.posix_groups {
        None => "system".to_owned(),
        Some(groups) if groups.is_empty() => "none".to_owned(),
        Some(groups) => groups.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    }
}

fn remove(client: &Client, name: &str) -> Result<(), Failure> {
    let removed: wire::RemovedUser = client.delete(&path_with(USERS, name))?;
    match removed.service_accounts {
        0 => print(&format!("Removed {name}.\n")),
        count => print(&format!("Removed {name} and {}.\n", plural(count, "service account"))),
    }
}

/// The keys as WEKA prints them; the secret only when its owner does not know it.
fn print_keys(name: &str, secret: Option<&str>) -> Result<(), Failure> {
    match secret {
        Some(secret) => print(&format!("Access-Key: {name}\nSecret-Key: {secret}\n")),
        None => print(&format!("Access-Key: {name}\n")),
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        // With standard error closed there is nobody left to warn.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("sluicegate: warning: {warning}\n"),
        );
    }
}

fn list(users: &[wire::User]) -> String {
    let rows: Vec<[String; 6]> = users
        .iter()
        .map(|user| {
            [
                user.name.clone(),
                user.posix_uid.to_string(),
                user.posix_gid.to_string(),
                shown_groups(user),
                user.policy.clone().unwrap_or_else(|| "-".to_owned()),
                user.service_accounts.to_string(),
            ]
        })
        .collect();
    table(["USER", "UID", "GID", "GROUPS", "POLICY", "SERVICE ACCOUNTS"], &rows)
}

fn show(user: &wire::User) -> String {
    let policy = user.policy.as_deref().unwrap_or("-");
    let names = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
    format!(
        "User:              {}\nUnique id:         {}\nARN:               {}\nPOSIX uid:         {}\n\
         POSIX gid:         {}\nPOSIX groups:      {}\nPolicy:            {policy}\nInline policies:   {}\nAccess keys:       {}\n\
         Service accounts:  {}\nCreated:           {}\n",
        user.name,
        user.unique_id,
        user.arn,
        user.posix_uid,
        user.posix_gid,
        shown_groups(user),
        names(&user.inline_policies),
        names(&user.access_keys),
        user.service_accounts,
        user.created
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_people() {
        let user = wire::User {
            name: "alice".into(),
            unique_id: "AIDAAAAAAAAAAAAAAAAAA".into(),
            arn: "arn:aws:iam::1:user/alice".into(),
            posix_uid: 1001,
            posix_gid: 100,
            posix_groups: Some(vec![7, 200]),
            policy: None,
            inline_policies: Vec::new(),
            access_keys: vec!["AKIA1".into(), "AKIA2".into()],
            service_accounts: 2,
            created: "2013-05-24T00:00:00.000Z".into(),
        };
        assert_eq!(
            list(std::slice::from_ref(&user)),
            "USER   UID   GID  GROUPS  POLICY  SERVICE ACCOUNTS\nalice  1001  100  7,200   -       2\n"
        );
        let text = show(&user);
        assert_eq!(text.lines().count(), 11);
        assert!(text.contains("Access keys:       AKIA1, AKIA2\n"), "{text}");
        assert!(text.contains("POSIX uid:         1001\n"), "{text}");
        assert!(text.contains("POSIX groups:      7,200\n"), "{text}");
    }

    #[test]
    fn groups_are_numbers_or_a_word() {
        let listed = |groups: &[u32]| Ok(wire::PosixGroups::Listed(groups.to_vec()));
        assert_eq!(groups("100, 7"), listed(&[100, 7]));
        assert_eq!(groups("none"), listed(&[]));
        assert_eq!(groups("system"), Ok(wire::PosixGroups::System));
        for bad in ["", "1,", "x", "-1", "4294967296", "none,1"] {
            assert!(groups(bad).is_err(), "{bad}");
        }
    }
}
