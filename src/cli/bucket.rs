//! `sluicegate bucket`: the buckets of a running server and their policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper::Method;

use super::client::{Client, path_with};
use super::{Failure, ServerArgs, print, print_json, table};
use crate::control::wire;
use crate::iam::document::BUCKET_POLICY_BYTES_MAX;

/// The command line of `sluicegate bucket`.
#[derive(Args, Debug)]
pub struct BucketArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: BucketCommand,
}

#[derive(Subcommand, Debug)]
enum BucketCommand {
    /// Make a bucket
    Create {
        /// Bucket name
        name: String,
        /// What requests without a signature may do: none, download, upload or public
        #[arg(long, value_name = "PRESET")]
        policy: Option<String>,
        /// Owner of the bucket's directory; without it, the user the server runs as
        #[arg(long, value_name = "N", conflicts_with = "existing")]
        posix_uid: Option<u32>,
        /// Group of the bucket's directory; without it, the group the server runs as
        #[arg(long, value_name = "N", conflicts_with = "existing")]
        posix_gid: Option<u32>,
        /// Serve the directory of this name again, which `destroy --unlink` has left
        #[arg(long)]
        existing: bool,
    },
    /// List all buckets: every directory of the root with a legal bucket name that is not unlinked
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a bucket that is empty
    Destroy {
        /// Bucket name
        name: String,
        /// Only forget the bucket and its policy: the directory stays as it is, with all objects, and is served no
        /// more; `create --existing` brings it back
        #[arg(long)]
        unlink: bool,
    },
    /// Rules that delete the objects of a bucket after some days
    LifecycleRule {
        #[command(subcommand)]
        command: super::lifecycle_rule::RuleCommand,
    },
    /// Show and change the policy of a bucket
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Show and change where a bucket differs from S3, for speed
    Profile {
        #[command(subcommand)]
        command: super::bucket_profile::ProfileCommand,
    },
}

#[derive(Subcommand, Debug)]
enum PolicyCommand {
    /// Say what requests without a signature may do
    Set {
        /// Bucket name
        bucket: String,
        /// none, download (list and read), upload (write and delete) or public (all of it)
        preset: String,
    },
    /// Set a policy of one's own
    SetCustom {
        /// Bucket name
        bucket: String,
        /// File with a JSON document of the policy language, `-` for standard input; at most 20 KiB, without wildcards
        /// in actions
        file: PathBuf,
    },
    /// Print the name of the policy: none, download, upload, public or custom
    Get {
        /// Bucket name
        bucket: String,
    },
    /// Print the document of the policy
    GetJson {
        /// Bucket name
        bucket: String,
    },
    /// Take the policy away
    Unset {
        /// Bucket name
        bucket: String,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &BucketArgs) -> Result<(), Failure> {
    let client = args.server.client();
    match &args.command {
        BucketCommand::Create { name, policy, posix_uid, posix_gid, existing } => {
            let body = wire::AddBucket {
                name: name.clone(),
                policy: policy.clone(),
                posix_uid: *posix_uid,
                posix_gid: *posix_gid,
                existing: *existing,
            };
            client.send::<()>(Method::POST, BUCKETS, &body)?;
            print(&format!("Created {name}.\n"))
        }
        BucketCommand::List { json } => {
            let buckets: wire::Buckets = client.get(BUCKETS)?;
            if *json { print_json(&buckets) } else { print(&list(&buckets)) }
        }
        BucketCommand::Destroy { name, unlink: false } => {
            client.delete::<()>(&path_with(BUCKETS, name))?;
            print(&format!("Destroyed {name}.\n"))
        }
        BucketCommand::Destroy { name, unlink: true } => {
            let path = format!("{}/unlinked", path_with(BUCKETS, name));
            client.send::<()>(Method::PUT, &path, &())?;
            print(&format!("Unlinked {name}; its directory stays.\n"))
        }
        BucketCommand::LifecycleRule { command } => super::lifecycle_rule::run(&client, command),
        BucketCommand::Policy { command } => policy(&client, command),
        BucketCommand::Profile { command } => super::bucket_profile::run(&client, command),
    }
}

pub(super) const BUCKETS: &str = "/v1/buckets";

fn policy(client: &Client, command: &PolicyCommand) -> Result<(), Failure> {
    let path = |bucket: &str| format!("{}/policy", path_with(BUCKETS, bucket));
    let set = |bucket: &str, body: &wire::SetBucketPolicy| {
        client.send::<()>(Method::PUT, &path(bucket), body)?;
        print(&format!("Changed the policy of {bucket}.\n"))
    };
    match command {
        PolicyCommand::Set { bucket, preset } => {
            set(bucket, &wire::SetBucketPolicy { preset: Some(preset.clone()), document: None })
        }
        PolicyCommand::SetCustom { bucket, file } => {
            let document = super::policy::read(file, BUCKET_POLICY_BYTES_MAX)?;
            set(bucket, &wire::SetBucketPolicy { preset: None, document: Some(document) })
        }
        PolicyCommand::Get { bucket } => {
            let shown: wire::BucketPolicy = client.get(&path(bucket))?;
            print(&format!("{}\n", shown.policy))
        }
        PolicyCommand::GetJson { bucket } => {
            let shown: wire::BucketPolicy = client.get(&path(bucket))?;
            match shown.document {
                Some(document) => print(&format!("{}\n", document.trim_end())),
                None => Err(Failure::Refused(format!("the bucket {bucket} has no policy"))),
            }
        }
        PolicyCommand::Unset { bucket } => {
            client.delete::<()>(&path(bucket))?;
            print(&format!("{bucket} has no policy now.\n"))
        }
    }
}

fn list(buckets: &wire::Buckets) -> String {
    let rows: Vec<[String; 3]> = buckets
        .buckets
        .iter()
        .map(|bucket| [bucket.name.clone(), bucket.policy.clone(), bucket.created.clone()])
        .chain(buckets.unlinked.iter().map(|name| [name.clone(), "(unlinked)".to_owned(), String::new()]))
        .collect();
    table(["BUCKET", "POLICY", "CREATED"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_people() {
        let bucket = wire::Bucket {
            name: "photos".into(),
            policy: "none".into(),
            created: "2013-05-24T00:00:00.000Z".into(),
        };
        let buckets = wire::Buckets { buckets: vec![bucket], unlinked: vec!["old".into()] };
        assert_eq!(
            list(&buckets),
            "BUCKET  POLICY      CREATED\nphotos  none        2013-05-24T00:00:00.000Z\nold     (unlinked)\n"
        );
    }
}
