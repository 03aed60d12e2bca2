//! `sluicegate role`: the roles of a running server, which are made through the IAM API.

use clap::{Args, Subcommand};

use super::client::path_with;
use super::{Failure, ServerArgs, print, print_json, table};
use crate::control::wire;

/// The command line of `sluicegate role`.
#[derive(Args, Debug)]
pub struct RoleArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: RoleCommand,
}

#[derive(Subcommand, Debug)]
enum RoleCommand {
    /// List all roles
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a role: who may assume it, and its policies
    Show {
        /// Role name
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a role, its policies and its sessions
    Remove {
        /// Role name
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &RoleArgs) -> Result<(), Failure> {
    let client = args.server.client();
    match &args.command {
        RoleCommand::List { json } => {
            let roles: wire::Roles = client.get(ROLES)?;
            if *json { print_json(&roles) } else { print(&list(&roles.roles)) }
        }
        RoleCommand::Show { name, json } => {
            let role: wire::Role = client.get(&path_with(ROLES, name))?;
            if *json { print_json(&role) } else { print(&show(&role)) }
        }
        RoleCommand::Remove { name } => {
            client.delete::<()>(&path_with(ROLES, name))?;
            print(&format!("Removed {name}.\n"))
        }
    }
}

const ROLES: &str = "/v1/roles";

fn list(roles: &[wire::Role]) -> String {
    let rows: Vec<[String; 3]> = roles
        .iter()
        .map(|role| [role.name.clone(), role.arn.clone(), role.policies.len().to_string()])
        .collect();
    table(["ROLE", "ARN", "POLICIES"], &rows)
}

fn show(role: &wire::Role) -> String {
    let mut text = format!(
        "Role:              {}\nUnique id:         {}\nARN:               {}\nDescription:       {}\n\
         Longest session:   {} s\nCreated:           {}\nWho may assume it: {}\n",
        role.name,
        role.unique_id,
        role.arn,
        role.description.as_deref().unwrap_or("-"),
        role.session_seconds_max,
        role.created,
        role.trust,
    );
    for (name, document) in &role.policies {
        text.push_str(&format!("Policy {name}: {document}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_people() {
        let role = wire::Role {
            name: "backup".into(),
            unique_id: "AROAAAAAAAAAAAAAAAAAA".into(),
            arn: "arn:aws:iam::1:role/backup".into(),
            description: None,
            trust: "{}".into(),
            policies: vec![("p".into(), "{1}".into())],
            session_seconds_max: 3600,
            created: "2013-05-24T00:00:00.000Z".into(),
        };
        assert_eq!(
            list(std::slice::from_ref(&role)),
            "ROLE    ARN                         POLICIES\nbackup  arn:aws:iam::1:role/backup  1\n"
        );
        let text = show(&role);
        assert!(text.contains("Longest session:   3600 s\n") && text.ends_with("Policy p: {1}\n"), "{text}");
    }
}
