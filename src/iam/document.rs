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
//! U+00FF), `Id` in identity policies, a `Principal` of everybody in the policies of a role. Narrower: only the services
//! `s3`, `sts` and `iam`, and a type check of operator against key. Spec: AWS IAM User Guide, "Grammar of the IAM JSON policy language"; Amazon S3 User Guide, "Bucket policies".

use super::action::{ActionSet, ResourceKind};
use super::caller::{Caller, Callers};
use super::condition::Condition;
use super::element::{
    members, only_one, parse_actions, parse_callers, parse_conditions, parse_effect, parse_resources,
    parse_sid, parse_version, resources_of_trust, text,
};
use super::json::Json;
use super::pattern::ResourcePattern;
use super::refusal::{Parsed, PolicyError, Reason, malformed, unknown_element, wrong_type};

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
    /// Of a role: what its sessions may do. No principals; but one of everybody, which says nothing that is not so, is
    /// accepted, because other stores accept it.
    Role,
    /// Of a role: who may assume it. Needs principals, and speaks of that role and of actions of STS only.
    Trust,
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
    /// The operator as written.
    pub operator_name: String,
    /// The key as written.
    pub key_name: String,
    /// The values as written, bare numbers and booleans as text.
    pub values: Vec<String>,
    pub(super) condition: Condition,
}

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn parse(text: &[u8], kind: Kind) -> Result<Document, PolicyError> {
        let bytes_max = match kind {
            Kind::Identity | Kind::Session | Kind::Role | Kind::Trust => POLICY_BYTES_MAX,
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
                let parsed = match kind {
                    Kind::Bucket(_) | Kind::Trust => parse_callers(value, &place, name == "NotPrincipal")?,
                    Kind::Role if name == "Principal" && is_everybody(&value) => continue,
                    Kind::Identity | Kind::Session | Kind::Role => {
                        let fix = "remove it: the policy applies to whom it is attached";
                        return Err(malformed(&place, "only bucket and trust policies name principals", fix));
                    }
                };
                only_one(callers.replace(parsed), path, "Principal", "NotPrincipal")?;
            }
            "Action" | "NotAction" => {
                let parsed = parse_actions(value, &place, name == "NotAction")?;
                only_one(actions.replace(parsed), path, "Action", "NotAction")?;
            }
            "Resource" | "NotResource" if kind == Kind::Trust => {
                let fix = "remove it: the policy is about the role it belongs to";
                return Err(malformed(&place, "a trust policy names no resource", fix));
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
    if kind == Kind::Trust {
        resources = Some(resources_of_trust());
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
    match kind {
        Kind::Bucket(bucket) => check_bucket_statement(&statement, path, bucket)?,
        Kind::Trust => check_trust_statement(&statement, path)?,
        Kind::Identity | Kind::Session | Kind::Role => {}
    }
    Ok(statement)
}

/// `"*"` or `{"AWS": "*"}`.
fn is_everybody(principal: &Json) -> bool {
    let is_star = |value: &Json| matches!(value, Json::Text(text) if text == "*");
    match principal {
        Json::Object(members) => {
            matches!(&members[..], [(kind, value)] if kind == "AWS" && match value {
                Json::List(list) => matches!(&list[..], [only] if is_star(only)),
                single => is_star(single),
            })
        }
        other => is_star(other),
    }
}

/// What AWS checks of trust policies only.
fn check_trust_statement(statement: &Statement, path: &str) -> Parsed<()> {
    let callers = statement.callers.as_ref();
    let Some(callers) = callers.filter(|callers| !callers.negated) else {
        let fix =
            "say who may assume the role, for example {\"AWS\": \"arn:aws:iam::<account>:user/<name>\"}";
        return Err(malformed(&format!("{path}.Principal"), "it is missing", fix));
    };
    debug_assert!(!callers.list.is_empty(), "the parser refuses empty lists");
    let of_sts = ActionSet::expand("sts:*").unwrap_or_default();
    let foreign = statement.actions.set.iter().find(|action| !of_sts.contains(*action));
    if statement.actions.negated || foreign.is_some() {
        let problem = "a trust policy speaks of the actions of STS only";
        return Err(malformed(&format!("{path}.Action"), problem, "use \"sts:AssumeRole\""));
    }
    Ok(())
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
            callers.list.iter().any(|caller| match caller {
                Caller::Account(known) => **known == *id,
                Caller::OwnAccount => id.is_empty(),
                _ => false,
            })
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
                ResourceKind::Account | ResourceKind::Entity => false,
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

/// Parses arbitrary bytes as each kind of policy and decides with what comes out: nothing may panic, what was accepted
/// keeps its promises, and a policy without Allow never allows.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use super::{Action, Context, Policy, Request, decide};
    for kind in [Kind::Identity, Kind::Session, Kind::Bucket("photos"), Kind::Role, Kind::Trust] {
        let document = match Document::parse(data, kind) {
            Ok(document) => document,
            Err(error) => {
                assert!(!error.problem.is_empty() && !error.fix.is_empty());
                continue;
            }
        };
        assert!(!document.statements.is_empty());
        let allows = document.statements.iter().any(|statement| statement.effect == Effect::Allow);
        let policy = Policy::compile(&document);
        let context = Context {
            username: Some("alice"),
            prefix: Some(b"home/\xff"),
            user_agent: Some(data),
            existing_object_tags: &[("a", "b")],
            ..Context::default()
        };
        for (action, bucket, key) in [
            (Action::ListAllMyBuckets, "", &b""[..]),
            (Action::ListBucket, "photos", b""),
            (Action::GetObject, "photos", b"home/alice/x"),
            (Action::PutObject, "photos", data),
        ] {
            let request = Request { action, bucket, key, context: &context };
            let decision = decide(Some(&policy), Some(&policy), Some(&policy), false, &request);
            assert!(allows || !decision.is_allowed());
            assert_eq!(decision, decide(Some(&policy), Some(&policy), Some(&policy), false, &request));
        }
    }
}

#[cfg(test)]
mod tests;
