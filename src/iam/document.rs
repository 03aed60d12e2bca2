//! Policy documents: strict parsing of the JSON policy language.
//!
//! What is not known is refused: elements, operators, actions, condition keys, malformed ARNs, values that are not of
//! their operator's type, an element given twice. A policy that is silently half understood would grant or deny
//! something else than its author meant. The refusal says where, what and how to fix it.
//!
//! A parsed document is complete and typed; compiling it cannot fail. It also keeps the text of every value, so that it
//! can be interpreted by another reading of the specification (the oracle of the tests).
//!
//! Deliberately wider than AWS: a single statement without the list, any printable Unicode in values (AWS: up to
//! U+00FF), `Id` in identity policies. Narrower: only the services `s3` and `sts`, and a type check of operator against
//! key. Spec: AWS IAM User Guide, "Grammar of the IAM JSON policy language"; Amazon S3 User Guide, "Bucket policies".

use super::action::{ActionSet, ResourceKind};
use super::caller::{Caller, Callers};
use super::condition::{Condition, Operands, Operator};
use super::json::Json;
use super::key::Key;
use super::pattern::{Pattern, ResourcePattern, Syntax};

/// Largest identity or session policy in bytes, as sent: the limit of WEKA, and of AWS for session policies.
pub const POLICY_BYTES_MAX: usize = 2048;
/// Largest bucket policy in bytes, as sent (AWS: 20 KB).
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;

/// What a document is used for, which decides what it may and must contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// Attached to a user. No principals.
    Identity,
    /// Sent with AssumeRole or embedded in a service account. No principals; `Version` is required.
    Session,
    /// Of the bucket with this name. Needs principals, and speaks of this bucket only.
    Bucket(&'a str),
}

/// The `Version` element: the language, not a date of the document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// 2008-10-17, also if absent: `${` is plain text.
    V2008,
    /// 2012-10-17: with policy variables.
    V2012,
}

/// The `Effect` element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Grants what nothing denies.
    Allow,
    /// Denies whatever allows.
    Deny,
}

/// A parsed policy document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The version of the language.
    pub version: Version,
    /// The `Id` element.
    pub id: Option<String>,
    /// The statements in the order of the document; at least one.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The `Sid` element.
    pub sid: Option<String>,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`.
    pub(super) callers: Option<Callers>,
    /// `Action` or `NotAction`.
    pub actions: Actions,
    /// `Resource` or `NotResource`.
    pub resources: Resources,
    /// `Condition`: all of them must hold.
    pub conditions: Vec<Clause>,
}

/// `Action` or `NotAction`.
#[derive(Clone, Debug)]
pub struct Actions {
    /// `NotAction`.
    pub negated: bool,
    /// The names and patterns as written.
    pub texts: Vec<String>,
    /// What the texts stand for, before negation.
    pub(super) set: ActionSet,
}

/// `Resource` or `NotResource`.
#[derive(Clone, Debug)]
pub struct Resources {
    /// `NotResource`.
    pub negated: bool,
    /// The part behind `arn:aws:s3:::`, or `*`.
    pub texts: Vec<String>,
    pub(super) patterns: Vec<ResourcePattern>,
}

/// One key under one operator.
#[derive(Clone, Debug)]
pub struct Clause {
    /// How it compares.
    pub operator: Operator,
    /// The key as written.
    pub key_name: String,
    /// The values as written, bare numbers and booleans as text.
    pub values: Vec<String>,
    pub(super) condition: Condition,
}

/// Why a document was refused. `Display` is one sentence for its author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyError {
    /// Whether the document is too large or wrong (AWS: `PolicyTooLarge` or `MalformedPolicy`).
    pub reason: Reason,
    /// Where: `Statement[1].Condition.StringLike`. Empty for the document as a whole. Statements count from 0.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

/// The class of a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// More bytes than its kind of policy may have.
    TooLarge,
    /// Not a policy, or one with something unknown or contradictory in it.
    Malformed,
}

impl std::fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.path.is_empty() { "the policy" } else { &self.path };
        write!(formatter, "{place}: {}; {}.", self.problem, self.fix)
    }
}

impl std::error::Error for PolicyError {}

type Parsed<T> = Result<T, PolicyError>;

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn parse(text: &[u8], kind: Kind) -> Result<Document, PolicyError> {
        let bytes_max = match kind {
            Kind::Identity | Kind::Session => POLICY_BYTES_MAX,
            Kind::Bucket(_) => BUCKET_POLICY_BYTES_MAX,
        };
        if text.len() > bytes_max {
            let problem = format!("it has {} bytes, more than {bytes_max}", text.len());
            let fix = "shorten it, for example with wildcards or without white space".into();
            return Err(PolicyError { reason: Reason::TooLarge, path: String::new(), problem, fix });
        }
        let json = Json::parse(text)
            .map_err(|problem| malformed("", format!("it is not JSON ({problem})"), "correct the syntax"))?;
        document(json, kind)
    }

    /// The first `Action` or `NotAction` value with a wildcard, for front ends that refuse them in bucket policies.
    #[must_use]
    pub fn wildcard_action(&self) -> Option<&str> {
        let mut texts = self.statements.iter().flat_map(|statement| &statement.actions.texts);
        texts.find(|text| text.contains(['*', '?'])).map(String::as_str)
    }
}

fn document(json: Json, kind: Kind) -> Parsed<Document> {
    let mut version = None;
    let mut id = None;
    let mut statements = None;
    for (name, value) in members(json, "")? {
        match name.as_str() {
            "Version" => version = Some(parse_version(value)?),
            "Id" => id = Some(text(value, "Id")?),
            "Statement" => statements = Some(value),
            _ => return Err(unknown_element("", &name, "Version, Id and Statement")),
        }
    }
    if version.is_none() && kind == Kind::Session {
        return Err(malformed("Version", "it is missing", "add \"Version\": \"2012-10-17\""));
    }
    let version = version.unwrap_or(Version::V2008);
    let statements = match statements {
        Some(Json::List(list)) => list,
        Some(single @ Json::Object(_)) => vec![single],
        Some(other) => return Err(wrong_type("Statement", &other, "a statement or a list of statements")),
        None => return Err(malformed("Statement", "it is missing", "add a list of statements")),
    };
    if statements.is_empty() {
        return Err(malformed("Statement", "the list is empty", "add a statement"));
    }
    let mut parsed: Vec<Statement> = Vec::with_capacity(statements.len());
    for (index, value) in statements.into_iter().enumerate() {
        let statement = statement(value, &format!("Statement[{index}]"), version, kind)?;
        let sid = statement.sid.as_ref().filter(|sid| !sid.is_empty());
        if sid.is_some() && parsed.iter().any(|earlier| earlier.sid.as_ref() == sid) {
            let problem = format!("\"{}\" is the Sid of an earlier statement", sid.map_or("", |sid| sid));
            return Err(malformed(
                &format!("Statement[{index}].Sid"),
                problem,
                "give each statement its own",
            ));
        }
        parsed.push(statement);
    }
    Ok(Document { version, id, statements: parsed })
}

fn statement(json: Json, path: &str, version: Version, kind: Kind) -> Parsed<Statement> {
    let at = |element: &str| format!("{path}.{element}");
    let (mut sid, mut effect, mut callers) = (None, None, None);
    let (mut actions, mut resources, mut conditions) = (None, None, None);
    for (name, value) in members(json, path)? {
        let place = at(&name);
        match name.as_str() {
            "Sid" => sid = Some(parse_sid(value, &place, kind)?),
            "Effect" => effect = Some(parse_effect(value, &place)?),
            "Principal" | "NotPrincipal" => {
                if !matches!(kind, Kind::Bucket(_)) {
                    let fix = "remove it: the policy applies to whom it is attached";
                    return Err(malformed(&place, "only bucket policies name principals", fix));
                }
                let parsed = parse_callers(value, &place, name == "NotPrincipal")?;
                only_one(callers.replace(parsed), path, "Principal", "NotPrincipal")?;
            }
            "Action" | "NotAction" => {
                let parsed = parse_actions(value, &place, name == "NotAction")?;
                only_one(actions.replace(parsed), path, "Action", "NotAction")?;
            }
            "Resource" | "NotResource" => {
                let parsed = parse_resources(value, &place, name == "NotResource", version)?;
                only_one(resources.replace(parsed), path, "Resource", "NotResource")?;
            }
            "Condition" => conditions = Some(parse_conditions(value, &place, version)?),
            _ => {
                let known = "Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource and Condition";
                return Err(unknown_element(path, &name, known));
            }
        }
    }
    let missing = |element: &str, fix: &str| malformed(&at(element), "it is missing", fix);
    let statement = Statement {
        sid,
        effect: effect.ok_or_else(|| missing("Effect", "add \"Effect\": \"Allow\" or \"Deny\""))?,
        callers,
        actions: actions.ok_or_else(|| missing("Action", "add the actions the statement is about"))?,
        resources: resources.ok_or_else(|| missing("Resource", "add the ARNs the statement is about"))?,
        conditions: conditions.unwrap_or_default(),
    };
    if let Kind::Bucket(bucket) = kind {
        check_bucket_statement(&statement, path, bucket)?;
    }
    Ok(statement)
}

/// What AWS checks of bucket policies only.
fn check_bucket_statement(statement: &Statement, path: &str, bucket: &str) -> Parsed<()> {
    let Some(callers) = &statement.callers else {
        let fix = "add \"Principal\": \"*\" for everybody, or the ARNs of users";
        return Err(malformed(&format!("{path}.Principal"), "it is missing", fix));
    };
    if callers.negated {
        let place = format!("{path}.NotPrincipal");
        if statement.effect == Effect::Allow {
            let problem = "together with Allow it would grant the actions to the whole world";
            return Err(malformed(&place, problem, "use Principal, or Deny with NotPrincipal"));
        }
        let account_is_listed = |id: &str| {
            callers.list.iter().any(|caller| matches!(caller, Caller::Account(known) if **known == *id))
        };
        let lonely = callers.list.iter().filter_map(Caller::account_of_arn).find(|id| !account_is_listed(id));
        if let Some(id) = lonely {
            let problem =
                "it lists a user without the user's account, so that the user would be denied as well";
            return Err(malformed(&place, problem, &format!("also list \"arn:aws:iam::{id}:root\"")));
        }
    }
    let element = if statement.resources.negated { "NotResource" } else { "Resource" };
    let (mut names_bucket, mut names_objects) = (false, false);
    for (index, resource) in statement.resources.texts.iter().enumerate() {
        match resource.strip_prefix(bucket) {
            Some("") => names_bucket = true,
            Some(rest) if rest.starts_with('/') => names_objects = true,
            _ => {
                let problem = format!("\"{resource}\" is not in the bucket \"{bucket}\"");
                let fix = format!("use arn:aws:s3:::{bucket} or arn:aws:s3:::{bucket}/*");
                return Err(malformed(&format!("{path}.{element}[{index}]"), problem, &fix));
            }
        }
    }
    if statement.actions.negated || statement.resources.negated {
        return Ok(());
    }
    for (index, name) in statement.actions.texts.iter().enumerate() {
        let applies =
            ActionSet::expand(name).unwrap_or_default().iter().any(|action| match action.resource_kind() {
                ResourceKind::Object => names_objects,
                ResourceKind::Bucket => names_bucket,
                ResourceKind::Account => false,
            });
        if !applies {
            let problem = format!("\"{name}\" does not apply to any resource in the statement");
            let fix =
                format!("object actions need arn:aws:s3:::{bucket}/*, bucket actions arn:aws:s3:::{bucket}");
            return Err(malformed(&format!("{path}.Action[{index}]"), problem, &fix));
        }
    }
    Ok(())
}

fn parse_version(json: Json) -> Parsed<Version> {
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
fn parse_sid(json: Json, path: &str, kind: Kind) -> Parsed<String> {
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

fn parse_effect(json: Json, path: &str) -> Parsed<Effect> {
    match text(json, path)?.as_str() {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        other => Err(malformed(path, format!("\"{other}\" is no effect"), "use \"Allow\" or \"Deny\"")),
    }
}

fn parse_callers(json: Json, path: &str, negated: bool) -> Parsed<Callers> {
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

fn parse_actions(json: Json, path: &str, negated: bool) -> Parsed<Actions> {
    let texts = texts(json, path)?;
    let mut set = ActionSet::EMPTY;
    for (index, name) in texts.iter().enumerate() {
        let actions = ActionSet::expand(name).ok_or_else(|| {
            let problem = format!("\"{name}\" matches no action of Amazon S3 or AWS STS");
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

fn parse_resources(json: Json, path: &str, negated: bool, version: Version) -> Parsed<Resources> {
    let syntax = Syntax { wildcards: true, variables: version == Version::V2012 };
    let mut resources = Resources { negated, texts: Vec::new(), patterns: Vec::new() };
    for (index, arn) in texts(json, path)?.into_iter().enumerate() {
        let place = || format!("{path}[{index}]");
        let fix = "use *, arn:aws:s3:::<bucket> or arn:aws:s3:::<bucket>/<key>, with wildcards behind the last colon";
        let name = resource_name(&arn).ok_or_else(|| {
            malformed(&place(), format!("\"{arn}\" is not the ARN of a bucket or object"), fix)
        })?;
        let pattern = Pattern::parse(name, syntax).map_err(|problem| {
            malformed(&place(), problem, "correct the variable, or write ${$} for a dollar sign")
        })?;
        resources.texts.push(name.to_owned());
        resources.patterns.push(ResourcePattern::new(pattern));
    }
    Ok(resources)
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

fn parse_conditions(json: Json, path: &str, version: Version) -> Parsed<Vec<Clause>> {
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
            clauses.push(Clause { operator, key_name, values, condition });
        }
    }
    Ok(clauses)
}

/// The members of an object, each name at most once.
fn members(json: Json, path: &str) -> Parsed<Vec<(String, Json)>> {
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

fn text(json: Json, path: &str) -> Parsed<String> {
    let Json::Text(text) = json else {
        return Err(wrong_type(path, &json, "a string"));
    };
    if text.chars().any(|character| character.is_control() && !matches!(character, '\t' | '\n' | '\r')) {
        return Err(malformed(path, "it has a control character", "remove it"));
    }
    Ok(text)
}

fn only_one<T>(earlier: Option<T>, path: &str, one: &str, other: &str) -> Parsed<()> {
    match earlier {
        None => Ok(()),
        Some(_) => Err(malformed(path, format!("it has both {one} and {other}"), "remove one of the two")),
    }
}

fn unknown_element(path: &str, name: &str, known: &str) -> PolicyError {
    malformed(
        path,
        format!("the element \"{name}\" does not exist"),
        &format!("the elements here are {known}"),
    )
}

fn wrong_type(path: &str, found: &Json, expected: &str) -> PolicyError {
    malformed(path, format!("it is {}", found.kind()), &format!("make it {expected}"))
}

fn malformed(path: &str, problem: impl Into<String>, fix: &str) -> PolicyError {
    let (path, problem, fix) = (path.to_owned(), problem.into(), fix.to_owned());
    PolicyError { reason: Reason::Malformed, path, problem, fix }
}
