//! The elements of a statement: from JSON to typed values, each with the place it stands at for the refusal.
//!
//! Spec: AWS IAM User Guide, "Grammar of the IAM JSON policy language" and the page of each element.

use super::action::ActionSet;
use super::caller::{Caller, Callers};
use super::condition::Condition;
use super::document::{Actions, Clause, Effect, Kind, Resources, Version};
use super::json::Json;
use super::key::Key;
use super::operand::Operands;
use super::operator::Operator;
use super::pattern::{Pattern, ResourcePattern, Syntax};
use super::refusal::{Parsed, malformed, wrong_type};

pub(super) fn parse_version(json: Json) -> Parsed<Version> {
    match text(json, "Version")?.as_str() {
        "2012-10-17" => Ok(Version::V2012),
        "2008-10-17" => Ok(Version::V2008),
        other => {
            let problem = format!("\"{other}\" is not a version of the policy language");
            Err(malformed("Version", problem, "use \"2012-10-17\""))
        }
    }
}

/// IAM allows letters and digits; the examples for S3 bucket policies are whole sentences.
pub(super) fn parse_sid(json: Json, path: &str, kind: Kind) -> Parsed<String> {
    let sid = text(json, path)?;
    if !matches!(kind, Kind::Bucket(_)) && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(malformed(
            path,
            format!("\"{sid}\" has other characters than A-Z, a-z and 0-9"),
            "remove them",
        ));
    }
    Ok(sid)
}

pub(super) fn parse_effect(json: Json, path: &str) -> Parsed<Effect> {
    match text(json, path)?.as_str() {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        other => Err(malformed(path, format!("\"{other}\" is no effect"), "use \"Allow\" or \"Deny\"")),
    }
}

pub(super) fn parse_callers(json: Json, path: &str, negated: bool) -> Parsed<Callers> {
    let mut list = Vec::new();
    match json {
        Json::Text(everyone) if everyone == "*" => list.push(Caller::Everyone),
        Json::Object(_) => {
            for (kind, value) in members(json, path)? {
                let place = format!("{path}.{kind}");
                for value in texts(value, &place)? {
                    let fix =
                        "use \"*\", {\"AWS\": \"*\"} or {\"AWS\": \"arn:aws:iam::<account>:user/<name>\"}";
                    let caller =
                        Caller::parse(&kind, &value).map_err(|problem| malformed(&place, problem, fix))?;
                    list.push(caller);
                }
            }
        }
        other => return Err(wrong_type(path, &other, "\"*\" or an object such as {\"AWS\": \"*\"}")),
    }
    if list.is_empty() {
        return Err(malformed(path, "it names nobody", "name a principal, for example {\"AWS\": \"*\"}"));
    }
    Ok(Callers { negated, list })
}

pub(super) fn parse_actions(json: Json, path: &str, negated: bool) -> Parsed<Actions> {
    let texts = texts(json, path)?;
    let mut set = ActionSet::EMPTY;
    for (index, name) in texts.iter().enumerate() {
        let actions = ActionSet::expand(name).ok_or_else(|| {
            let problem = format!("\"{name}\" matches no action of Amazon S3, AWS STS or AWS IAM");
            malformed(
                &format!("{path}[{index}]"),
                problem,
                "check the spelling, for example \"s3:GetObject\"",
            )
        })?;
        set = set.union(actions);
    }
    Ok(Actions { negated, texts, set })
}

pub(super) fn parse_resources(json: Json, path: &str, negated: bool, version: Version) -> Parsed<Resources> {
    let syntax = Syntax { wildcards: true, variables: version == Version::V2012 };
    let mut resources = Resources { negated, texts: Vec::new(), patterns: Vec::new() };
    for (index, arn) in texts(json, path)?.into_iter().enumerate() {
        let place = || format!("{path}[{index}]");
        let variable = |problem: String| {
            malformed(&place(), problem, "correct the variable, or write ${$} for a dollar sign")
        };
        if let Some((account, name)) = entity_name(&arn) {
            let account = match account {
                "" => None,
                account => Some(Pattern::parse(account, syntax).map_err(variable)?),
            };
            let name = Pattern::parse(name, syntax).map_err(variable)?;
            resources.texts.push(arn);
            resources.patterns.push(ResourcePattern::Entity { account, name });
            continue;
        }
        let fix = "use *, arn:aws:s3:::<bucket>, arn:aws:s3:::<bucket>/<key> or arn:aws:iam::<account>:user/<name>, with \
                   wildcards behind the last colon";
        let name = resource_name(&arn).ok_or_else(|| {
            malformed(&place(), format!("\"{arn}\" is not the ARN of a bucket, object, user or role"), fix)
        })?;
        let pattern = Pattern::parse(name, syntax).map_err(variable)?;
        resources.patterns.push(match arn.as_str() {
            "*" => ResourcePattern::Anything,
            _ => ResourcePattern::new(pattern),
        });
        resources.texts.push(name.to_owned());
    }
    Ok(resources)
}

/// What stands in the place of the resources of a trust policy, which has none: the role it belongs to.
pub(super) fn resources_of_trust() -> Resources {
    Resources { negated: false, texts: vec!["*".to_owned()], patterns: vec![ResourcePattern::Anything] }
}

/// The account and the name of `arn:aws:iam::<account>:<kind>/<name>`. Both may hold wildcards; an empty account is the
/// server's own.
fn entity_name(arn: &str) -> Option<(&str, &str)> {
    let mut segments = arn.splitn(6, ':');
    let well_formed = segments.next() == Some("arn")
        && matches!(segments.next(), Some("aws" | "*"))
        && segments.next() == Some("iam")
        && matches!(segments.next(), Some("" | "*"));
    let (account, name) = (segments.next()?, segments.next()?);
    (well_formed && !name.is_empty()).then_some((account, name))
}

/// What stands behind `arn:aws:s3:::`. The partition may be `*`; region and account, which ARNs of S3 leave empty, too.
fn resource_name(arn: &str) -> Option<&str> {
    if arn == "*" {
        return Some(arn);
    }
    let mut segments = arn.splitn(6, ':');
    let well_formed = segments.next() == Some("arn")
        && matches!(segments.next(), Some("aws" | "*"))
        && segments.next() == Some("s3")
        && matches!(segments.next(), Some("" | "*"))
        && matches!(segments.next(), Some("" | "*"));
    let name = segments.next()?;
    (well_formed && !name.is_empty() && !name.starts_with('/')).then_some(name)
}

pub(super) fn parse_conditions(json: Json, path: &str, version: Version) -> Parsed<Vec<Clause>> {
    let mut clauses: Vec<Clause> = Vec::new();
    for (operator_name, keys) in members(json, path)? {
        let place = format!("{path}.{operator_name}");
        let operator = Operator::parse(&operator_name).ok_or_else(|| {
            let fix = "use one such as StringEquals, StringLike, IpAddress, DateLessThan or Null";
            malformed(&place, "there is no such condition operator", fix)
        })?;
        let keys = members(keys, &place)?;
        if keys.is_empty() {
            return Err(malformed(&place, "it has no condition key", "add one, or remove the operator"));
        }
        let first = clauses.len();
        for (key_name, values) in keys {
            let place = format!("{place}.{key_name}");
            if clauses[first..].iter().any(|earlier| earlier.key_name.eq_ignore_ascii_case(&key_name)) {
                return Err(malformed(&place, "the key appears twice", "put all its values into one list"));
            }
            let key = Key::parse(&key_name).ok_or_else(|| {
                let fix =
                    "check the spelling against the condition keys of Amazon S3 and the global ones of AWS";
                malformed(&place, "there is no such condition key", fix)
            })?;
            if !operator.suits(key.key_type()) {
                let fix = "use an operator of the key's type";
                return Err(malformed(&place, "the operator never matches values of this key", fix));
            }
            let values = scalars(values, &place)?;
            let operands = Operands::parse(operator.comparison, &values, version == Version::V2012)
                .map_err(|problem| malformed(&place, problem, "correct the value or use another operator"))?;
            let condition = Condition::new(operator, key, operands);
            clauses.push(Clause { operator_name: operator_name.clone(), key_name, values, condition });
        }
    }
    Ok(clauses)
}

/// The members of an object, each name at most once.
pub(super) fn members(json: Json, path: &str) -> Parsed<Vec<(String, Json)>> {
    let Json::Object(members) = json else {
        return Err(wrong_type(path, &json, "an object"));
    };
    for (index, (name, _)) in members.iter().enumerate() {
        if members[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(malformed(
                path,
                format!("the element \"{name}\" appears twice"),
                "remove one of the two",
            ));
        }
    }
    Ok(members)
}

/// A string or a list of at least one string.
fn texts(json: Json, path: &str) -> Parsed<Vec<String>> {
    let list = one_or_more(json, path)?;
    list.into_iter().map(|value| text(value, path)).collect()
}

/// A string, number or boolean, or a list of at least one of them, as text.
fn scalars(json: Json, path: &str) -> Parsed<Vec<String>> {
    let list = one_or_more(json, path)?;
    let as_text = |value| match value {
        Json::Bool(flag) => Ok(flag.to_string()),
        Json::Number(number) => Ok(number),
        other => text(other, path),
    };
    list.into_iter().map(as_text).collect()
}

fn one_or_more(json: Json, path: &str) -> Parsed<Vec<Json>> {
    match json {
        Json::List(list) if list.is_empty() => Err(malformed(path, "the list is empty", "add a value")),
        Json::List(list) => Ok(list),
        single => Ok(vec![single]),
    }
}

pub(super) fn text(json: Json, path: &str) -> Parsed<String> {
    let Json::Text(text) = json else {
        return Err(wrong_type(path, &json, "a string"));
    };
    if text.chars().any(|character| character.is_control() && !matches!(character, '\t' | '\n' | '\r')) {
        return Err(malformed(path, "it has a control character", "remove it"));
    }
    Ok(text)
}

pub(super) fn only_one<T>(earlier: Option<T>, path: &str, one: &str, other: &str) -> Parsed<()> {
    match earlier {
        None => Ok(()),
        Some(_) => Err(malformed(path, format!("it has both {one} and {other}"), "remove one of the two")),
    }
}
