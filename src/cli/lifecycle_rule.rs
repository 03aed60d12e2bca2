//! `sluicegate bucket lifecycle-rule`: rules that delete the objects of a bucket after some days.

use clap::Subcommand;
use hyper::Method;

use super::bucket::BUCKETS;
use super::client::{Client, path_with};
use super::{Failure, print, print_json, table};
use crate::control::wire;

#[derive(Subcommand, Debug)]
pub(super) enum RuleCommand {
    /// Add a rule: objects are deleted so many days after they were written
    Add {
        /// Bucket name
        bucket: String,
        /// Days, at least 1; they are over at midnight UTC
        expiry_days: u32,
        /// Only objects whose keys begin so
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Only objects with these tags: k1=v1&k2=v2
        #[arg(long, value_name = "TAGS")]
        tags: Option<String>,
        /// Instead of objects, delete versions so many days after they were replaced by newer ones
        #[arg(long)]
        noncurrent: bool,
    },
    /// List the rules of a bucket, those that were put through the S3 API included
    List {
        /// Bucket name
        bucket: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a rule
    Remove {
        /// Bucket name
        bucket: String,
        /// Id of the rule, as `list` shows it
        rule: String,
    },
    /// Remove all rules of a bucket
    Reset {
        /// Bucket name
        bucket: String,
    },
}

/// Runs the command.
pub(super) fn run(client: &Client, command: &RuleCommand) -> Result<(), Failure> {
    let path = |bucket: &str| format!("{}/lifecycle", path_with(BUCKETS, bucket));
    match command {
        RuleCommand::Add { bucket, expiry_days, prefix, tags, noncurrent } => {
            let body = wire::AddLifecycleRule {
                expiry_days: *expiry_days,
                prefix: prefix.clone(),
                tags: tags.clone(),
                noncurrent: *noncurrent,
            };
            let added: wire::AddedLifecycleRule = client.send(Method::POST, &path(bucket), &body)?;
            print(&format!("Added {} to {bucket}.\n", added.id))
        }
        RuleCommand::List { bucket, json } => {
            let rules: wire::LifecycleRules = client.get(&path(bucket))?;
            if *json { print_json(&rules) } else { print(&list(&rules)) }
        }
        RuleCommand::Remove { bucket, rule } => {
            client.delete::<()>(&path_with(&path(bucket), rule))?;
            print(&format!("Removed {rule} from {bucket}.\n"))
        }
        RuleCommand::Reset { bucket } => {
            client.delete::<()>(&path(bucket))?;
            print(&format!("{bucket} has no lifecycle rules now.\n"))
        }
    }
}

fn list(rules: &wire::LifecycleRules) -> String {
    let days = |days: Option<u32>| days.map_or(String::new(), |days| days.to_string());
    let rows: Vec<[String; 7]> = rules
        .rules
        .iter()
        .map(|rule| {
            let tags: Vec<String> = rule.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            [
                rule.id.clone(),
                if rule.enabled { "yes" } else { "no" }.to_owned(),
                rule.expiry_date.clone().unwrap_or_else(|| days(rule.expiry_days)),
                days(rule.noncurrent_days),
                days(rule.upload_days),
                rule.prefix.clone(),
                tags.join("&"),
            ]
        })
        .collect();
    table(["RULE", "ENABLED", "EXPIRES", "NONCURRENT", "UPLOADS", "PREFIX", "TAGS"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_people() {
        let days = wire::LifecycleRule {
            id: "rule-1".into(),
            enabled: true,
            expiry_days: Some(30),
            expiry_date: None,
            noncurrent_days: None,
            upload_days: Some(7),
            prefix: "logs/".into(),
            tags: vec![("a".into(), "b".into()), ("c".into(), String::new())],
        };
        let date = wire::LifecycleRule {
            id: "new year".into(),
            enabled: false,
            expiry_days: None,
            expiry_date: Some("2030-01-01".into()),
            noncurrent_days: Some(5),
            upload_days: None,
            prefix: String::new(),
            tags: Vec::new(),
        };
        assert_eq!(
            list(&wire::LifecycleRules { rules: vec![days, date] }),
            "RULE      ENABLED  EXPIRES     NONCURRENT  UPLOADS  PREFIX  TAGS\n\
             rule-1    yes      30                      7        logs/   a=b&c=\n\
             new year  no       2030-01-01  5\n"
        );
    }
}
