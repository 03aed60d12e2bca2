//! The `NotificationConfiguration` document.

use super::event::{NAMES, Name};
use super::{Notification, Rule, RuleKind};
use crate::limits::{KEY_BYTES_MAX, NOTIFICATION_RULES_MAX};
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::Writer;
use crate::s3::xml::reader::{Malformed, Reader, name, once};

/// The rules of a document; `None` if it has none, which turns notifications off.
pub(super) fn read(document: &[u8]) -> Result<Option<Notification>, S3Error> {
    let mut reader = Reader::open(document, "NotificationConfiguration")?;
    let mut rules = Vec::new();
    while let Some(element) = reader.child()? {
        let kind = match name(&element) {
            "TopicConfiguration" => RuleKind::Topic,
            "QueueConfiguration" => RuleKind::Queue,
            "CloudFunctionConfiguration" => RuleKind::Function,
            "EventBridgeConfiguration" => {
                return Err(S3Error::not_implemented("Element", "EventBridgeConfiguration"));
            }
            _ => return Err(Malformed.into()),
        };
        if rules.len() == NOTIFICATION_RULES_MAX {
            return Err(Code::InvalidArgument.because(format!(
                "A bucket has at most {NOTIFICATION_RULES_MAX} notification configurations."
            )));
        }
        rules.push(read_rule(&mut reader, kind)?);
    }
    reader.finish()?;
    if rules.is_empty() { Ok(None) } else { checked(rules).map(Some) }
}

fn checked(mut rules: Vec<Rule>) -> Result<Notification, S3Error> {
    let mut number = 0;
    for index in 0..rules.len() {
        while rules[index].id.is_empty() {
            number += 1;
            let id = format!("rule-{number}");
            if rules.iter().all(|rule| rule.id != id) {
                rules[index].id = id;
            }
        }
        let (before, rule) = (&rules[..index], &rules[index]);
        if before.iter().any(|other| other.id == rule.id) {
            let why = "The same ID must not be used for several configurations.";
            return Err(S3Error::invalid_argument("Id", rule.id.as_str(), why));
        }
        if before.iter().any(|other| overlap(other, rule)) {
            return Err(Code::InvalidArgument.because(
                "Configurations overlap. Configuration filters on the same bucket cannot share a common event type \
                 where both prefixes and suffixes overlap.",
            ));
        }
    }
    Ok(Notification { rules })
}

/// Whether one change could be meant by both, as far as AWS looks at it.
fn overlap(one: &Rule, other: &Rule) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (prefixes, suffixes) =
        ((text(&one.prefix), text(&other.prefix)), (text(&one.suffix), text(&other.suffix)));
    one.events.iter().any(|name| other.events.iter().any(|other| name.overlaps(other)))
        && (prefixes.0.starts_with(&prefixes.1) || prefixes.1.starts_with(&prefixes.0))
        && (suffixes.0.ends_with(&suffixes.1) || suffixes.1.ends_with(&suffixes.0))
}

fn read_rule(reader: &mut Reader<'_>, kind: RuleKind) -> Result<Rule, S3Error> {
    let (mut id, mut target, mut filter) = (None, None, None);
    let mut events: Vec<&'static Name> = Vec::new();
    while let Some(element) = reader.child()? {
        match name(&element) {
            "Id" => once(&mut id, reader.kept_text()?)?,
            "Event" => {
                let given = reader.text()?;
                let Some(event) = NAMES.iter().find(|name| name.text == given.trim()) else {
                    let why = "The event is not supported for notifications.";
                    return Err(S3Error::invalid_argument("Event", given, why));
                };
                if !events.contains(&event) {
                    events.push(event);
                }
            }
            "Filter" => once(&mut filter, read_filter(reader)?)?,
            element if element == target_element(kind) => once(&mut target, read_target(reader)?)?,
            _ => return Err(Malformed.into()),
        }
    }
    if events.is_empty() {
        return Err(Malformed.into());
    }
    let id = id.unwrap_or_default();
    if id.chars().count() > ID_CHARS_MAX {
        return Err(S3Error::invalid_argument("Id", id, "ID length should not exceed allowed limit of 255."));
    }
    let (prefix, suffix) = filter.unwrap_or_default();
    Ok(Rule { id, kind, target: target.ok_or(Malformed)?, events, prefix, suffix })
}

/// The name in an ARN. Whether there is such a target is asked when the configuration is put.
fn read_target(reader: &mut Reader<'_>) -> Result<String, S3Error> {
    let arn = reader.text()?;
    let target = arn.trim().strip_prefix(ARN_PREFIX).and_then(|rest| rest.strip_suffix(ARN_SUFFIX));
    match target.filter(|target| is_target_name(target)) {
        Some(target) => Ok(target.to_owned()),
        None => Err(S3Error::invalid_argument(
            "ARN",
            arn.clone(),
            "The ARN is not well formed. Targets of this server have ARNs like arn:sluicegate:sqs::NAME:webhook.",
        )),
    }
}

fn read_filter(reader: &mut Reader<'_>) -> Result<(Option<String>, Option<String>), S3Error> {
    let (mut prefix, mut suffix) = (None, None);
    let mut key = None;
    while let Some(element) = reader.child()? {
        if name(&element) != "S3Key" {
            return Err(Malformed.into());
        }
        once(&mut key, ())?;
        while let Some(element) = reader.child()? {
            if name(&element) != "FilterRule" {
                return Err(Malformed.into());
            }
            let (rule, value) = read_filter_rule(reader)?;
            let slot = match rule.trim() {
                rule if rule.eq_ignore_ascii_case("prefix") => &mut prefix,
                rule if rule.eq_ignore_ascii_case("suffix") => &mut suffix,
                _ => {
                    let why = "filter rule name must be either prefix or suffix";
                    return Err(S3Error::invalid_argument("FilterRule.Name", rule, why));
                }
            };
            if value.len() > KEY_BYTES_MAX {
                let why = "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation";
                return Err(S3Error::invalid_argument("FilterRule.Value", value, why));
            }
            if slot.replace(value).is_some() {
                let why =
                    "Cannot specify more than one prefix rule in a filter, or more than one suffix rule.";
                return Err(S3Error::invalid_argument("FilterRule.Name", rule, why));
            }
        }
    }
    Ok((prefix, suffix))
}

fn read_filter_rule(reader: &mut Reader<'_>) -> Result<(String, String), S3Error> {
    let (mut rule, mut value) = (None, None);
    while let Some(element) = reader.child()? {
        match name(&element) {
            "Name" => once(&mut rule, reader.text()?)?,
            "Value" => once(&mut value, reader.kept_text()?)?,
            _ => return Err(Malformed.into()),
        }
    }
    Ok((rule.ok_or(Malformed)?, value.ok_or(Malformed)?))
}

pub(super) fn write(rules: &[Rule], out: &mut Vec<u8>) {
    let mut writer = Writer::document(out);
    writer.open_root("NotificationConfiguration");
    for rule in rules {
        let element = match rule.kind {
            RuleKind::Topic => "TopicConfiguration",
            RuleKind::Queue => "QueueConfiguration",
            RuleKind::Function => "CloudFunctionConfiguration",
        };
        writer.open(element);
        writer.text("Id", &rule.id);
        writer.text(target_element(rule.kind), arn(&rule.target));
        for event in &rule.events {
            writer.text("Event", event.text);
        }
        if rule.prefix.is_some() || rule.suffix.is_some() {
            writer.open("Filter");
            writer.open("S3Key");
            for (name, value) in [("prefix", &rule.prefix), ("suffix", &rule.suffix)] {
                if let Some(value) = value {
                    writer.open("FilterRule");
                    writer.text("Name", name);
                    writer.text("Value", value);
                    writer.close("FilterRule");
                }
            }
            writer.close("S3Key");
            writer.close("Filter");
        }
        writer.close(element);
    }
    writer.close("NotificationConfiguration");
}

fn target_element(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Topic => "Topic",
        RuleKind::Queue => "Queue",
        RuleKind::Function => "CloudFunction",
    }
}

/// The ARN of a target.
pub(super) fn arn(target: &str) -> String {
    format!("{ARN_PREFIX}{target}{ARN_SUFFIX}")
}

/// Whether a target can have this name.
pub(super) fn is_target_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=TARGET_NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_good)
}

const ARN_PREFIX: &str = "arn:sluicegate:sqs::";
const ARN_SUFFIX: &str = ":webhook";
const TARGET_NAME_CHARS_MAX: usize = 64;
const ID_CHARS_MAX: usize = 255;
