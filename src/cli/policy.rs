//! `sluicegate policy`: the policies of a running server, and to whom they are attached.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;

use super::client::{Client, path_with};
use super::{Failure, ServerArgs, print, print_json, table};
use crate::control::record::POLICY_BYTES_MAX;
use crate::control::wire;
use crate::iam::document::BUCKET_POLICY_BYTES_MAX;

/// The command line of `sluicegate policy`.
#[derive(Args, Debug)]
pub struct PolicyArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand, Debug)]
enum PolicyCommand {
    /// List all policies
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the document of a policy
    Show {
        /// Policy name
        name: String,
        /// As JSON, with the users it is attached to
        #[arg(long)]
        json: bool,
    },
    /// Add a policy
    Add {
        /// Policy name: 1 to 128 letters, digits and _ . @ + -
        name: String,
        /// File with a JSON document of the IAM policy language, `-` for standard input; at most 2048 bytes
        file: PathBuf,
        /// Take the place of the policy of this name; users it is attached to are limited by the new one at once
        #[arg(long)]
        replace: bool,
    },
    /// Remove a policy that is attached to no user
    Remove {
        /// Policy name
        name: String,
    },
    /// Attach a policy to a user, in place of the one attached before
    Attach {
        /// Policy name
        policy: String,
        /// User name
        user: String,
    },
    /// Detach the policy of a user, who then may do nothing
    Detach {
        /// User name
        user: String,
    },
    /// Say whether a request would be carried out, and which statement decides; nothing is done
    Simulate(SimulateArgs),
}

#[derive(Args, Debug)]
struct SimulateArgs {
    /// Name of the user who asks
    #[arg(long, value_name = "NAME")]
    user: String,
    /// What is asked for: s3:GetObject
    #[arg(long, value_name = "ACTION")]
    action: String,
    /// On what: arn:aws:s3:::BUCKET, arn:aws:s3:::BUCKET/KEY, or * for actions on no bucket
    #[arg(long, value_name = "ARN")]
    resource: String,
    /// File with the policy of a session or service account that limits the user
    #[arg(long, value_name = "FILE")]
    session_policy: Option<PathBuf>,
    /// File with a bucket policy to try in place of the bucket's own
    #[arg(long, value_name = "FILE")]
    bucket_policy: Option<PathBuf>,
    /// Values of condition keys: aws:SourceIp=10.0.0.1; those that are not given are absent, but for the user's own
    /// and the time
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    context: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &PolicyArgs) -> Result<(), Failure> {
    let client = args.server.client();
    let attachment = |user: &str| format!("{}/policy", path_with("/v1/users", user));
    match &args.command {
        PolicyCommand::List { json } => {
            let policies: wire::Policies = client.get(POLICIES)?;
            if *json { print_json(&policies) } else { print(&list(&policies.policies)) }
        }
        PolicyCommand::Show { name, json } => {
            let policy: wire::Policy = client.get(&path_with(POLICIES, name))?;
            if *json {
                return print_json(&policy);
            }
            print(&format!("{}\n", policy.document.unwrap_or_default().trim_end()))
        }
        PolicyCommand::Add { name, file, replace } => {
            let body = wire::AddPolicy {
                name: name.clone(),
                document: read(file, POLICY_BYTES_MAX)?,
                replace: *replace,
            };
            let _: wire::Policy = client.send(Method::POST, POLICIES, &body)?;
            print(&format!("Added {name}.\n"))
        }
        PolicyCommand::Remove { name } => {
            client.delete::<()>(&path_with(POLICIES, name))?;
            print(&format!("Removed {name}.\n"))
        }
        PolicyCommand::Attach { policy, user } => {
            let body = wire::AttachPolicy { policy: policy.clone() };
            let changed: wire::ChangedAttachment = client.send(Method::PUT, &attachment(user), &body)?;
            match changed.replaced {
                Some(before) => print(&format!("Attached {policy} to {user} in place of {before}.\n")),
                None => print(&format!("Attached {policy} to {user}.\n")),
            }
        }
        PolicyCommand::Detach { user } => {
            let changed: wire::ChangedAttachment = client.delete(&attachment(user))?;
            match changed.replaced {
                Some(before) => print(&format!("Detached {before} from {user}, who may do nothing now.\n")),
                None => print(&format!("{user} had no policy.\n")),
            }
        }
        PolicyCommand::Simulate(simulated) => simulate(&client, simulated),
    }
}

fn simulate(client: &Client, args: &SimulateArgs) -> Result<(), Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Failure::Usage(format!("--context {text:?} has no =; write aws:SourceIp=10.0.0.1"))),
    };
    let document =
        |path: &Option<PathBuf>, bytes_max| path.as_deref().map(|path| read(path, bytes_max)).transpose();
    let body = wire::Simulate {
        user: args.user.clone(),
        action: args.action.clone(),
        resource: args.resource.clone(),
        session_policy: document(&args.session_policy, POLICY_BYTES_MAX)?,
        bucket_policy: document(&args.bucket_policy, BUCKET_POLICY_BYTES_MAX)?,
        context: args.context.iter().map(pair).collect::<Result<_, _>>()?,
    };
    let answer: wire::Simulated = client.send(Method::POST, "/v1/simulate", &body)?;
    if args.json {
        return print_json(&answer);
    }
    let policy = answer.policy.map(|name| format!(" ({name})")).unwrap_or_default();
    print(&format!("{}\n{}{policy}\n", if answer.allowed { "allow" } else { "deny" }, answer.decision))
}

const POLICIES: &str = "/v1/policies";

/// The document in this file. What is longer than `bytes_max` is refused before it is sent.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Refused(format!("the policy file {} cannot be read: {error}", path.display()))
    };
    // Enough to say by how much a document is too long, if it is not absurdly so.
    let read_max = 64 * bytes_max as u64;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(read_max).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(read_max).read_to_end(&mut bytes))
    }
    .map_err(|error| failed(&error))?;
    if bytes.len() > bytes_max {
        return Err(Failure::Refused(format!(
            "the policy has {} bytes and the limit is {bytes_max}; shorten it, white space counts",
            bytes.len()
        )));
    }
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

fn list(policies: &[wire::Policy]) -> String {
    let rows: Vec<[String; 3]> = policies
        .iter()
        .map(|policy| {
            let origin = if policy.built_in { "built-in" } else { "custom" };
            [policy.name.clone(), origin.to_owned(), policy.users.len().to_string()]
        })
        .collect();
    table(["POLICY", "ORIGIN", "USERS"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_within_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.json");
        assert!(read(&path, POLICY_BYTES_MAX).unwrap_err().to_string().contains("cannot be read"));
        std::fs::write(&path, "x".repeat(POLICY_BYTES_MAX)).unwrap();
        assert_eq!(read(&path, POLICY_BYTES_MAX).unwrap().len(), POLICY_BYTES_MAX);
        std::fs::write(&path, "x".repeat(POLICY_BYTES_MAX + 1)).unwrap();
        assert!(read(&path, POLICY_BYTES_MAX).unwrap_err().to_string().contains("2049 bytes"));
        std::fs::write(&path, b"\xFF").unwrap();
        assert!(read(&path, POLICY_BYTES_MAX).unwrap_err().to_string().contains("utf-8"));
    }

    #[test]
    fn shown_to_people() {
        let policy = |name: &str, built_in, users: &[&str]| wire::Policy {
            name: name.into(),
            built_in,
            users: users.iter().map(|&user| user.into()).collect(),
            document: None,
            changed: None,
        };
        assert_eq!(
            list(&[policy("readonly", true, &[]), policy("mine", false, &["a", "b"])]),
            "POLICY    ORIGIN    USERS\nreadonly  built-in  0\nmine      custom    2\n"
        );
    }
}
