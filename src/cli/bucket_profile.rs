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
}

/// Runs the command.
pub(super) fn run(client: &Client, command: &ProfileCommand) -> Result<(), Failure> {
    let path = |bucket: &str| format!("{}/profile", path_with(BUCKETS, bucket));
    match command {
        ProfileCommand::Set { bucket, change } => {
            let ProfileArgs { etag, listing, durability } = change;
            let body = wire::ChangeBucketProfile {
                etag: etag.clone(),
                listing: listing.clone(),
                durability: durability.clone(),
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
    let wire::BucketProfile { etag, listing, durability, server_durability } = profile;
    let of_server = match durability.as_str() {
        crate::s3::profile::DEFAULT => format!(" ({server_durability})"),
        _ => String::new(),
    };
    format!("ETag:        {etag}\nListing:     {listing}\nDurability:  {durability}{of_server}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_people() {
        let check = |durability: &str, expected: &str| {
            let profile = wire::BucketProfile {
                etag: "uid".into(),
                listing: "sorted".into(),
                durability: durability.into(),
                server_durability: "commit".into(),
            };
            assert_eq!(
                show(&profile),
                format!("ETag:        uid\nListing:     sorted\nDurability:  {expected}\n")
            );
        };
        check("default", "default (commit)");
        check("none", "none");
    }
}
