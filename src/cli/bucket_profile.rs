//! `sluicegate bucket profile`: where a bucket differs from S3, for speed.

use clap::{Args, Subcommand};
use hyper::Method;

use super::bucket::BUCKETS;
use super::client::{Client, path_with};
use super::{Failure, print, print_json};
use crate::control::wire;

#[derive(Subcommand, Debug)]
pub(super) enum ProfileCommand {
    /// Change the profile of a bucket; what is not named stays
    Set {
        /// Bucket name
        bucket: String,
        #[command(flatten)]
        change: ProfileArgs,
    },
    /// Show the profile of a bucket
    Show {
        /// Bucket name
        bucket: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the profile of a bucket away: it is as S3 and the server say
    Clear {
        /// Bucket name
        bucket: String,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct ProfileArgs {
    /// What ETags of new objects are: md5 of the content, as with S3, or uid, an id for which nothing is computed
    #[arg(long, value_name = "KIND")]
    etag: Option<String>,
    /// How keys are listed: sorted, as with S3, or unsorted, as the directories hold them
    #[arg(long, value_name = "ORDER")]
    listing: Option<String>,
    /// What a power cut may take: commit (nothing that was acknowledged), none (the last seconds) or default (as the
    /// server's --durability says)
    #[arg(long, value_name = "LEVEL")]
    durability: Option<String>,
    /// Whether the modes of files decide as well as policies: bypass, enforce or default (as the server's
    /// --posix-permissions says)
    #[arg(long, value_name = "NAME")]
    posix_permissions: Option<String>,
    /// What the modes 0666 and 0777 of new files and directories lose, octal, or default
    #[arg(long, value_name = "MODE")]
    umask: Option<String>,
    /// Mode of new files, octal, or default
    #[arg(long, value_name = "MODE")]
    file_mode: Option<String>,
    /// Mode of new directories, octal, or default
    #[arg(long, value_name = "MODE")]
    directory_mode: Option<String>,
}

/// Runs the command.
pub(super) fn run(client: &Client, command: &ProfileCommand) -> Result<(), Failure> {
    let path = |bucket: &str| format!("{}/profile", path_with(BUCKETS, bucket));
    match command {
        ProfileCommand::Set { bucket, change } => {
            let body = wire::ChangeBucketProfile {
                etag: change.etag.clone(),
                listing: change.listing.clone(),
                durability: change.durability.clone(),
                posix_permissions: change.posix_permissions.clone(),
                umask: change.umask.clone(),
                file_mode: change.file_mode.clone(),
                directory_mode: change.directory_mode.clone(),
            };
            client.send::<wire::BucketProfile>(Method::PATCH, &path(bucket), &body)?;
            print(&format!("Changed the profile of {bucket}.\n"))
        }
        ProfileCommand::Show { bucket, json } => {
            let profile: wire::BucketProfile = client.get(&path(bucket))?;
            if *json { print_json(&profile) } else { print(&show(&profile)) }
        }
        ProfileCommand::Clear { bucket } => {
            client.delete::<()>(&path(bucket))?;
            print(&format!("{bucket} has no profile now.\n"))
        }
    }
}

fn show(profile: &wire::BucketProfile) -> String {
    let or_of_server = |own: &str, of_server: &str| match own {
        crate::s3::profile::DEFAULT => format!("{own} ({of_server})"),
        _ => own.to_owned(),
    };
    let wire::BucketProfile { etag, listing, umask, file_mode, directory_mode, .. } = profile;
    let durability = or_of_server(&profile.durability, &profile.server_durability);
    let permissions = or_of_server(&profile.posix_permissions, &profile.server_posix_permissions);
    format!(
        "ETag:        {etag}\nListing:     {listing}\nDurability:  {durability}\nPermissions: {permissions}\n\
         Modes:       umask {umask}, files {file_mode}, directories {directory_mode}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_people() {
        let check = |(durability, permissions): (&str, &str), expected: (&str, &str)| {
            let profile = wire::BucketProfile {
                etag: "uid".into(),
                listing: "sorted".into(),
                durability: durability.into(),
                posix_permissions: permissions.into(),
                umask: "default".into(),
                file_mode: "0640".into(),
                directory_mode: "default".into(),
                server_durability: "commit".into(),
                server_posix_permissions: "bypass".into(),
            };
            let (durability, permissions) = expected;
            assert_eq!(
                show(&profile),
                format!(
                    "ETag:        uid\nListing:     sorted\nDurability:  {durability}\nPermissions: {permissions}\n\
                     Modes:       umask default, files 0640, directories default\n"
                )
            );
        };
        check(("default", "default"), ("default (commit)", "default (bypass)"));
        check(("none", "enforce"), ("none", "enforce"));
    }
}
