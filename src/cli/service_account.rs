//! `sluicegate service-account`: what an S3 user does with its own service accounts.
//!
//! The calls go to the user socket, which every user of the machine may reach, and are signed with the user's keys: the
//! cluster admin has no part in it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper::Method;

use super::client::{Client, Keys, path_with};
use super::secret::known;
use super::{Failure, print, print_json, table};
use crate::config;
use crate::config::settings::setting;
use crate::control::record::POLICY_BYTES_MAX;
use crate::control::wire;

/// The command line of `sluicegate service-account`.
#[derive(Args, Debug)]
pub struct ServiceAccountArgs {
    /// Access key of the S3 user, which is its name; without it, SLUICEGATE_ACCESS_KEY
    #[arg(long, global = true, value_name = "NAME", display_order = 99)]
    access_key: Option<String>,
    /// File whose first line is the secret of the access key, `-` for standard input; without it, SLUICEGATE_SECRET is
    /// used, or else the terminal asks
    #[arg(long, global = true, value_name = "FILE", display_order = 99)]
    secret_file: Option<PathBuf>,
    /// Root directory of the running server; without it, SLUICEGATE_ROOT or ./sluicegate-data
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    root: Option<PathBuf>,
    /// Its user socket; without it, SLUICEGATE_USER_SOCKET or ROOT/.sluicegate-user.sock
    #[arg(long, global = true, value_name = "FILE", display_order = 100)]
    user_socket: Option<PathBuf>,
    #[command(subcommand)]
    command: ServiceAccountCommand,
}

#[derive(Subcommand, Debug)]
enum ServiceAccountCommand {
    /// Add a service account and print its keys; the secret key is shown this once
    Add {
        /// File with a policy that limits the account to a part of what the user may do, `-` for standard input; at
        /// most 2048 bytes
        #[arg(long, value_name = "FILE")]
        policy_file: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the user's service accounts
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a service account and the policy that limits it
    Show {
        /// Its access key
        key: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a service account; its keys are refused at once
    Remove {
        /// Its access key
        key: String,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &ServiceAccountArgs) -> Result<(), Failure> {
    match &args.command {
        ServiceAccountCommand::Add { policy_file, json } => {
            let policy =
                policy_file.as_deref().map(|file| super::policy::read(file, POLICY_BYTES_MAX)).transpose()?;
            let body = wire::AddServiceAccount { policy };
            let added: wire::NewServiceAccount = args.client()?.send(Method::POST, ACCOUNTS, &body)?;
            if *json {
                return print_json(&added);
            }
            print(&format!("Access-Key: {}\nSecret-Key: {}\n", added.access_key, added.secret_key.expose()))
        }
        ServiceAccountCommand::List { json } => {
            let accounts: wire::ServiceAccounts = args.client()?.get(ACCOUNTS)?;
            if *json { print_json(&accounts) } else { print(&list(&accounts.service_accounts)) }
        }
        ServiceAccountCommand::Show { key, json } => {
            let account: wire::ServiceAccount = args.client()?.get(&path_with(ACCOUNTS, key))?;
            if *json { print_json(&account) } else { print(&show(&account)) }
        }
        ServiceAccountCommand::Remove { key } => {
            args.client()?.delete::<()>(&path_with(ACCOUNTS, key))?;
            print(&format!("Removed {key}.\n"))
        }
    }
}

const ACCOUNTS: &str = "/v1/service-accounts";
/// The environment variable an access key can be given in.
const ACCESS_KEY_VARIABLE: &str = "SLUICEGATE_ACCESS_KEY";

impl ServiceAccountArgs {
    fn client(&self) -> Result<Client, Failure> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let access_key = match (&self.access_key, variable(ACCESS_KEY_VARIABLE)) {
            (Some(key), _) => key.clone(),
            (None, Some(key)) => key
                .into_string()
                .map_err(|_| Failure::Refused(format!("{ACCESS_KEY_VARIABLE} is no text")))?,
            (None, None) => {
                return Err(Failure::Usage(format!(
                    "service accounts belong to an S3 user; say which by --access-key or {ACCESS_KEY_VARIABLE}"
                )));
            }
        };
        let path = |name: &str| variable(&setting(name).variable()).map(PathBuf::from);
        // A root that is named explicitly wins over a socket that is not.
        let socket = match (&self.user_socket, &self.root) {
            (Some(socket), _) => socket.clone(),
            (None, Some(root)) => config::default_user_socket(root),
            (None, None) => path("user-socket").unwrap_or_else(|| {
                let root = path("root").unwrap_or_else(|| PathBuf::from(setting("root").default));
                config::default_user_socket(&root)
            }),
        };
        Ok(Client::signed(
            socket,
            Keys { access_key, secret: known(self.secret_file.as_deref(), "--secret-file")? },
        ))
    }
}

fn policy_of(account: &wire::ServiceAccount) -> &'static str {
    if account.implied_policy { "inherited" } else { "embedded" }
}

fn list(accounts: &[wire::ServiceAccount]) -> String {
    let rows: Vec<[String; 3]> = accounts
        .iter()
        .map(|account| [account.access_key.clone(), policy_of(account).to_owned(), account.created.clone()])
        .collect();
    table(["ACCESS KEY", "POLICY", "CREATED"], &rows)
}

fn show(account: &wire::ServiceAccount) -> String {
    format!(
        "Access key:   {}\nParent user:  {}\nPolicy:       {}\nCreated:      {}\n{}\n",
        account.access_key,
        account.parent_user,
        policy_of(account),
        account.created,
        account.policy_content.as_deref().unwrap_or_default().trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_people() {
        let account = wire::ServiceAccount {
            access_key: "ABC".into(),
            parent_user: "alice".into(),
            implied_policy: true,
            policy_content: Some("{}\n".into()),
            created: "2013-05-24T00:00:00.000Z".into(),
        };
        assert_eq!(
            list(std::slice::from_ref(&account)),
            "ACCESS KEY  POLICY     CREATED\nABC         inherited  2013-05-24T00:00:00.000Z\n"
        );
        assert!(show(&account).ends_with("Created:      2013-05-24T00:00:00.000Z\n{}\n"));
    }
}
