//! The `LifecycleConfiguration` document.
//!
//! What it must not say is refused with the codes of AWS: `MalformedXML` where the schema is broken, `InvalidArgument` for
//! a value, `InvalidRequest` for elements that do not go together.

use super::{Expiration, Filter, Lifecycle, Noncurrent, Predicates, Rule};
use crate::codec::dates::Timestamp;
use crate::limits::{KEY_BYTES_MAX, LIFECYCLE_RULES_MAX};
use crate::s3::attributes;
use crate::s3::bucket_tagging::read_tag;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::Writer;
use crate::s3::xml::reader::{Malformed, Reader, name, once, parse_boolean, parse_number, parse_time};
use crate::storage::record::Tags;

/// Longest id of a rule, in characters.
pub const ID_CHARS_MAX: usize = 255;

pub(super) fn read(document: &[u8]) -> Result<Lifecycle, S3Error> {
    let mut reader = Reader::open(document, "LifecycleConfiguration")?;
    let mut rules = Vec::new();
    while let Some(element) = reader.child()? {
        match name(&element) {
            "Rule" if rules.len() <= LIFECYCLE_RULES_MAX => rules.push(read_rule(&mut reader)?),
            _ => return Err(Malformed.into()),
        }
    }
    reader.finish()?;
    if rules.is_empty() {
        return Err(Malformed.into());
    }
    checked(rules)
}

/// Rules as a configuration, if they are sound. One without an id gets one.
pub(super) fn checked(mut rules: Vec<Rule>) -> Result<Lifecycle, S3Error> {
    if rules.len() > LIFECYCLE_RULES_MAX {
        return Err(Code::InvalidRequest.because(format!(
            "The number of lifecycle rules must not exceed the allowed limit of {LIFECYCLE_RULES_MAX} rules."
        )));
    }
    let mut number = 0;
    for index in 0..rules.len() {
        check(&rules[index])?;
        while rules[index].id.is_empty() {
            number += 1;
            let id = format!("rule-{number}");
            if rules.iter().all(|rule| rule.id != id) {
                rules[index].id = id;
            }
        }
    }
    let mut ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(S3Error::invalid_argument(
            "ID",
            pair[0],
            "Rule ID must be unique. Found same ID for more than one rule.",
        ));
    }
    Ok(Lifecycle { rules })
}

fn check(rule: &Rule) -> Result<(), S3Error> {
    let refuse = |why: &'static str| Err(Code::InvalidRequest.because(why));
    if rule.id.chars().count() > ID_CHARS_MAX {
        return Err(S3Error::invalid_argument(
            "ID",
            rule.id.as_str(),
            "ID length should not exceed allowed limit of 255.",
        ));
    }
    if rule.expiration.is_none() && rule.noncurrent.is_none() && rule.abort_days.is_none() {
        return refuse("At least one action needs to be specified in a rule.");
    }
    let (has_tags, has_sizes) = (rule.filter.has_tags(), rule.filter.has_sizes());
    if rule.abort_days.is_some() && (has_tags || has_sizes) {
        return refuse("AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes.");
    }
    if matches!(rule.expiration, Some(Expiration::DeleteMarkers(_))) && (has_tags || has_sizes) {
        return refuse("ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes.");
    }
    for predicates in rule.filter.all() {
        if let (Some(larger), Some(smaller)) = (predicates.larger_than, predicates.smaller_than)
            && larger >= smaller
        {
            return refuse("ObjectSizeGreaterThan should be less than ObjectSizeLessThan.");
        }
        attributes::tags_of(predicates.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())))?;
        if let Some(prefix) = predicates.prefix.as_deref().filter(|prefix| prefix.len() > KEY_BYTES_MAX) {
            let why = "The maximum size of a prefix is 1024.";
            return Err(S3Error::invalid_argument("Prefix", prefix, why));
        }
    }
    Ok(())
}

fn read_rule(reader: &mut Reader<'_>) -> Result<Rule, S3Error> {
    let (mut id, mut status, mut prefix, mut filter) = (None, None, None, None);
    let (mut expiration, mut noncurrent, mut abort_days) = (None, None, None);
    let mut has_transition = false;
    while let Some(element) = reader.child()? {
        match name(&element) {
            "ID" => once(&mut id, reader.kept_text()?)?,
            "Status" => once(&mut status, reader.text()?)?,
            "Prefix" => once(&mut prefix, reader.kept_text()?)?,
            "Filter" => once(&mut filter, read_filter(reader)?)?,
            "Expiration" => once(&mut expiration, read_expiration(reader)?)?,
            "NoncurrentVersionExpiration" => once(&mut noncurrent, read_noncurrent(reader)?)?,
            "AbortIncompleteMultipartUpload" => once(&mut abort_days, read_abort(reader)?)?,
            "Transition" | "NoncurrentVersionTransition" => {
                read_transition(reader)?;
                has_transition = true;
            }
            _ => return Err(Malformed.into()),
        }
    }
    let enabled = match status.as_deref() {
        Some("Enabled") => true,
        Some("Disabled") => false,
        _ => return Err(Malformed.into()),
    };
    let filter = match (prefix, filter) {
        (None, Some(filter)) => filter,
        (Some(prefix), None) => {
            let plain = Predicates { prefix: Some(prefix), ..Predicates::default() };
            Filter { is_prefix_only: true, plain, and: None }
        }
        _ => return Err(Malformed.into()),
    };
    if has_transition {
        return Err(Code::NotImplemented.because(
            "This server has one storage class, STANDARD, so that there is nothing to transition to. Take the actions \
             Transition and NoncurrentVersionTransition out of the rules.",
        ));
    }
    Ok(Rule { id: id.unwrap_or_default(), enabled, filter, expiration, noncurrent, abort_days })
}

fn read_filter(reader: &mut Reader<'_>) -> Result<Filter, S3Error> {
    let mut filter = Filter::default();
    while let Some(element) = reader.child()? {
        match name(&element) {
            "And" => once(&mut filter.and, read_and(reader)?)?,
            "Tag" if !filter.plain.tags.is_empty() => return Err(Malformed.into()),
            other => read_predicate(reader, other, &mut filter.plain)?,
        }
    }
    Ok(filter)
}

fn read_and(reader: &mut Reader<'_>) -> Result<Predicates, S3Error> {
    let mut predicates = Predicates::default();
    while let Some(element) = reader.child()? {
        read_predicate(reader, name(&element), &mut predicates)?;
    }
    if predicates == Predicates::default() {
        return Err(Malformed.into());
    }
    Ok(predicates)
}

fn read_predicate(
    reader: &mut Reader<'_>,
    element: &str,
    predicates: &mut Predicates,
) -> Result<(), S3Error> {
    match element {
        "Prefix" => once(&mut predicates.prefix, reader.kept_text()?)?,
        // One more than there may be, so that the check finds it.
        "Tag" if predicates.tags.len() <= Tags::COUNT_MAX => {
            predicates.tags.push(read_tag(reader)?);
        }
        "ObjectSizeGreaterThan" => once(&mut predicates.larger_than, parse_number(&reader.text()?)?)?,
        "ObjectSizeLessThan" => once(&mut predicates.smaller_than, parse_number(&reader.text()?)?)?,
        _ => return Err(Malformed.into()),
    }
    Ok(())
}

fn read_expiration(reader: &mut Reader<'_>) -> Result<Expiration, S3Error> {
    let mut expiration = None;
    while let Some(element) = reader.child()? {
        let value = reader.text()?;
        let read = match name(&element) {
            "Days" => Expiration::Days(days("Days", &value, 1)?),
            "Date" => Expiration::Date(date(&value)?),
            "ExpiredObjectDeleteMarker" => Expiration::DeleteMarkers(parse_boolean(&value)?),
            _ => return Err(Malformed.into()),
        };
        once(&mut expiration, read)?;
    }
    Ok(expiration.ok_or(Malformed)?)
}

fn read_noncurrent(reader: &mut Reader<'_>) -> Result<Noncurrent, S3Error> {
    let (mut noncurrent_days, mut newer_versions) = (None, None);
    while let Some(element) = reader.child()? {
        let value = reader.text()?;
        match name(&element) {
            "NoncurrentDays" => once(&mut noncurrent_days, days("NoncurrentDays", &value, 1)?)?,
            "NewerNoncurrentVersions" => {
                let count = days("NewerNoncurrentVersions", &value, 1)?;
                if count > NEWER_VERSIONS_MAX {
                    let why = "NewerNoncurrentVersions must be 1 to 100.";
                    return Err(S3Error::invalid_argument("NewerNoncurrentVersions", value, why));
                }
                once(&mut newer_versions, count)?;
            }
            _ => return Err(Malformed.into()),
        }
    }
    Ok(Noncurrent { days: noncurrent_days.ok_or(Malformed)?, newer_versions })
}

fn read_abort(reader: &mut Reader<'_>) -> Result<u32, S3Error> {
    let mut after = None;
    while let Some(element) = reader.child()? {
        match name(&element) {
            "DaysAfterInitiation" => {
                once(&mut after, days("DaysAfterInitiation", &reader.text()?, 1)?)?;
            }
            _ => return Err(Malformed.into()),
        }
    }
    Ok(after.ok_or(Malformed)?)
}

/// Transitions are refused, but what is wrong in one is told first.
fn read_transition(reader: &mut Reader<'_>) -> Result<(), S3Error> {
    while let Some(element) = reader.child()? {
        let value = reader.text()?;
        match name(&element) {
            "Days" => drop(days("Days", &value, 0)?),
            "Date" => drop(date(&value)?),
            "NoncurrentDays" => drop(days("NoncurrentDays", &value, 0)?),
            "NewerNoncurrentVersions" => drop(days("NewerNoncurrentVersions", &value, 1)?),
            "StorageClass" => {}
            _ => return Err(Malformed.into()),
        }
    }
    Ok(())
}

/// A number of days, at least `min` and at most what 31 bits hold.
fn days(element: &'static str, value: &str, min: i64) -> Result<u32, S3Error> {
    let number: i64 = value.trim().parse().map_err(|_| Malformed)?;
    u32::try_from(number).ok().filter(|_| (min..=i64::from(i32::MAX)).contains(&number)).ok_or_else(|| {
        let why = if min > 0 {
            "The number must be a positive integer."
        } else {
            "The number must be a nonnegative integer."
        };
        S3Error::invalid_argument(element, value, format!("'{element}': {why}"))
    })
}

fn date(value: &str) -> Result<Timestamp, S3Error> {
    let date = parse_time(value)?;
    // A zone can lead out of the years with four digits, which could not be given back.
    let is_kept = Timestamp::parse_iso8601(&date.iso8601_millis()) == Some(date);
    if !is_kept || date.nanos != 0 || date.seconds.rem_euclid(24 * 60 * 60) != 0 {
        return Err(S3Error::invalid_argument("Date", value, "'Date' must be at midnight GMT."));
    }
    Ok(date)
}

pub(super) fn write(lifecycle: &Lifecycle, out: &mut Vec<u8>) {
    let mut writer = Writer::document(out);
    writer.open_root("LifecycleConfiguration");
    for rule in &lifecycle.rules {
        writer.open("Rule");
        writer.text("ID", &rule.id);
        if rule.filter.is_prefix_only {
            writer.text("Prefix", rule.filter.prefix());
        } else {
            writer.open("Filter");
            write_predicates(&mut writer, &rule.filter.plain);
            if let Some(and) = &rule.filter.and {
                writer.open("And");
                write_predicates(&mut writer, and);
                writer.close("And");
            }
            writer.close("Filter");
        }
        writer.text("Status", if rule.enabled { "Enabled" } else { "Disabled" });
        write_actions(&mut writer, rule);
        writer.close("Rule");
    }
    writer.close("LifecycleConfiguration");
}

fn write_predicates(writer: &mut Writer<'_>, predicates: &Predicates) {
    writer.optional_text("Prefix", predicates.prefix.as_ref());
    for (key, value) in &predicates.tags {
        writer.open("Tag");
        writer.text("Key", key);
        writer.text("Value", value);
        writer.close("Tag");
    }
    if let Some(bytes) = predicates.larger_than {
        writer.number("ObjectSizeGreaterThan", bytes);
    }
    if let Some(bytes) = predicates.smaller_than {
        writer.number("ObjectSizeLessThan", bytes);
    }
}

fn write_actions(writer: &mut Writer<'_>, rule: &Rule) {
    if let Some(expiration) = rule.expiration {
        writer.open("Expiration");
        match expiration {
            Expiration::Days(days) => writer.number("Days", days.into()),
            Expiration::Date(date) => writer.text("Date", date.iso8601_millis()),
            Expiration::DeleteMarkers(wanted) => writer.boolean("ExpiredObjectDeleteMarker", wanted),
        }
        writer.close("Expiration");
    }
    if let Some(noncurrent) = rule.noncurrent {
        writer.open("NoncurrentVersionExpiration");
        writer.number("NoncurrentDays", noncurrent.days.into());
        if let Some(count) = noncurrent.newer_versions {
            writer.number("NewerNoncurrentVersions", count.into());
        }
        writer.close("NoncurrentVersionExpiration");
    }
    if let Some(days) = rule.abort_days {
        writer.open("AbortIncompleteMultipartUpload");
        writer.number("DaysAfterInitiation", days.into());
        writer.close("AbortIncompleteMultipartUpload");
    }
}

/// Most newer versions that a rule can keep.
const NEWER_VERSIONS_MAX: u32 = 100;
