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
use super::context::Context;
use super::element::{
    members, only_one, parse_actions, parse_callers, parse_conditions, parse_effect, parse_resources,
    parse_sid, parse_version, resources_of_trust, text,
};
use super::json::Json;
use super::pattern::{Pattern, ResourcePattern, Syntax};
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
        match parts_named(resource, bucket) {
            Some(named) => {
                names_bucket |= named.bucket;
                names_objects |= named.objects;
            }
            None => {
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
                // An Allow that gives nothing does no harm, and ceph/s3-tests wants it; a Deny that denies nothing would.
                ResourceKind::Object => names_objects || statement.effect == Effect::Allow,
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

/// What a resource of a bucket's policy names of its bucket.
struct Named {
    bucket: bool,
    objects: bool,
}

/// `None`: the resource, without the head of its ARN, is in another bucket. A wildcard may stand for the bucket's name, so
/// that one document serves several buckets: in each it is about that one.
fn parts_named(resource: &str, bucket: &str) -> Option<Named> {
    let (name, objects) = match resource.split_once('/') {
        Some((name, _)) => (name, true),
        None => (resource, false),
    };
    let wildcards = Syntax { wildcards: true, variables: false };
    let pattern = Pattern::parse(name, wildcards).ok()?;
    let fits = pattern.matches(bucket.as_bytes(), &Context::default());
    // Without a slash behind it, a star stands for the keys as well.
    fits.then(|| Named { bucket: !objects, objects: objects || name.contains('*') })
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A document around one statement that is complete but for `Principal`.
    fn around(statement_part: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",{statement_part}}}]}}"#)
    }

    #[test]
    fn accepted() {
        fn check(text: &str, kind: Kind) {
            Document::parse(text.as_bytes(), kind).unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
        for (_, text) in super::super::BUILT_IN_POLICIES {
            check(text, Kind::Identity);
            check(text, Kind::Session);
        }
        // The policy generator's output: an Id, Sids, scalars, one statement without a list.
        check(
            r#"{"Id":"Policy1","Version":"2012-10-17","Statement":{"Sid":"Stmt1","Action":"s3:GetObject",
                "Effect":"Allow","Resource":"arn:aws:s3:::photos/*"}}"#,
            Kind::Identity,
        );
        check(r#"{"Statement":[{"Effect":"Deny","NotAction":["*"],"NotResource":"*"}]}"#, Kind::Identity);
        check(&around(r#""Action":"sts:AssumeRole","Resource":"*","Condition":{}"#), Kind::Identity);
        check(&around(r#""Action":"s3:*","Resource":["arn:*:s3:*:*:photos","*"]"#), Kind::Identity);
        check(
            &around(
                r#""Action":["iam:*User","sts:AssumeRole"],"Resource":["arn:aws:iam:::user/a","arn:aws:iam::*:role/x/*",
                "arn:*:iam::1:user/${aws:username}"]"#,
            ),
            Kind::Identity,
        );
        check(
            &around(
                r#""Action":"s3:*","Resource":"*","Condition":{"NumericLessThan":{"s3:max-keys":[10,"20",1.5]},
                "Bool":{"aws:SecureTransport":true},"StringLike":{"aws:SourceVpce":"vpce-*","s3:prefix":"é/*"}}"#,
            ),
            Kind::Identity,
        );
        // The custom bucket policy of the WEKA documentation, and a Sid of the Amazon S3 documentation.
        check(
            r#"{"Version":"2012-10-17","Id":"public","Statement":[
                {"Sid":"List what is public","Effect":"Allow","Principal":"*","Action":["s3:ListBucket"],
                 "Resource":"arn:aws:s3:::photos","Condition":{"StringEquals":{"s3:prefix":"public/"}}},
                {"Sid":"GetPublic","Effect":"Allow","Principal":{"AWS":["*"]},"Action":"s3:GetObject",
                 "Resource":"arn:aws:s3:::photos/public/*"},
                {"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::1:user/a","1"]},"Action":"*",
                 "Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}]}"#,
            Kind::Bucket("photos"),
        );
    }

    #[test]
    fn policies_of_roles() {
        let check = |kind: Kind, part: &str, expected: Option<&str>| {
            let text = around(part);
            let refused = Document::parse(text.as_bytes(), kind).err().map(|error| error.path);
            assert_eq!(
                refused.as_deref(),
                expected.map(|path| format!("Statement[0].{path}")).as_deref(),
                "{text}"
            );
        };
        let trust = |part: &str, expected: Option<&str>| check(Kind::Trust, part, expected);
        let alice = r#""Principal":{"AWS":"arn:aws:iam:::user/alice"}"#;
        trust(&format!(r#"{alice},"Action":"sts:AssumeRole""#), None);
        trust(&format!(r#"{alice},"Action":["sts:AssumeRole","sts:TagSession"]"#), None);
        trust(r#""Principal":"*","Action":"sts:*""#, None);
        trust(
            r#""Principal":{"Federated":"arn:aws:iam:::oidc-provider/x"},"Action":"sts:AssumeRole*""#,
            None,
        );
        trust(r#""Action":"sts:AssumeRole""#, Some("Principal"));
        trust(r#""NotPrincipal":"*","Action":"sts:AssumeRole""#, Some("Principal"));
        trust(&format!(r#"{alice},"Action":"s3:GetObject""#), Some("Action"));
        trust(&format!(r#"{alice},"Action":"*""#), Some("Action"));
        trust(&format!(r#"{alice},"NotAction":"s3:*""#), Some("Action"));
        trust(&format!(r#"{alice},"Action":"sts:AssumeRole","Resource":"*""#), Some("Resource"));
        trust(&format!(r#"{alice},"Action":"sts:AssumeRole","NotResource":"*""#), Some("NotResource"));
        trust(alice, Some("Action"));
        let role = |part: &str, expected: Option<&str>| {
            check(Kind::Role, &format!(r#"{part}"Action":"s3:GetObject","Resource":"*""#), expected);
        };
        role("", None);
        for everybody in [r#""*""#, r#"{"AWS":"*"}"#, r#"{"AWS":["*"]}"#] {
            role(&format!(r#""Principal":{everybody},"#), None);
            let identity = format!(r#""Principal":{everybody},"Action":"s3:GetObject","Resource":"*""#);
            check(Kind::Identity, &identity, Some("Principal"));
            check(Kind::Session, &identity, Some("Principal"));
            role(&format!(r#""NotPrincipal":{everybody},"#), Some("NotPrincipal"));
        }
        for somebody in
            [r#"{"AWS":"arn:aws:iam:::user/a"}"#, r#"{"AWS":["*","1"]}"#, r#"{"CanonicalUser":"*"}"#, "7"]
        {
            role(&format!(r#""Principal":{somebody},"#), Some("Principal"));
        }
    }

    #[test]
    fn values_are_kept_as_written() {
        let text = around(
            r#""NotAction":"S3:getobject","Resource":["arn:aws:s3:::b/k","*"],"Sid":"x","Condition":
            {"NumericEquals":{"S3:Max-Keys":[1,"2"]}}"#,
        );
        let document = Document::parse(text.as_bytes(), Kind::Identity).expect("a good policy");
        let [statement] = &document.statements[..] else { panic!("one statement") };
        assert_eq!((document.version, statement.sid.as_deref()), (Version::V2012, Some("x")));
        assert_eq!(
            (statement.actions.negated, &statement.actions.texts[..]),
            (true, &["S3:getobject".to_owned()][..])
        );
        assert_eq!(statement.resources.texts, ["b/k", "*"]);
        assert_eq!(statement.conditions[0].operator_name, "NumericEquals");
        assert_eq!(statement.conditions[0].key_name, "S3:Max-Keys");
        assert_eq!(statement.conditions[0].values, ["1", "2"]);
        assert_eq!(document.wildcard_action(), None);
    }

    #[test]
    fn refused() {
        fn check(kind: Kind, text: &str, path: &str, problem: &str) {
            let error = Document::parse(text.as_bytes(), kind).expect_err(text);
            assert_eq!(error.path, path, "{error}\n{text}");
            assert!(error.problem.contains(problem), "{error}\n{text}");
            assert_eq!(error.reason, Reason::Malformed);
        }
        let identity = |text: &str, path: &str, problem: &str| check(Kind::Identity, text, path, problem);
        let statement = |part: &str, path: &str, problem: &str| {
            let path =
                if path.is_empty() { "Statement[0]".to_owned() } else { format!("Statement[0].{path}") };
            check(Kind::Identity, &around(part), &path, problem);
        };
        identity("", "", "not JSON");
        identity("[]", "", "a list");
        identity("{}", "Statement", "missing");
        identity(r#"{"Statement":[]}"#, "Statement", "empty");
        identity(r#"{"Statement":"x"}"#, "Statement", "a string");
        identity(r#"{"Statement":[7]}"#, "Statement[0]", "a number");
        identity(r#"{"statement":[]}"#, "", "\"statement\" does not exist");
        identity(r#"{"Statement":[],"Statement":[]}"#, "", "\"Statement\" appears twice");
        identity(r#"{"Version":"2012-10-18","Statement":[]}"#, "Version", "2012-10-18");
        identity(r#"{"Version":20121017,"Statement":[]}"#, "Version", "a number");
        identity(r#"{"Id":null,"Statement":[]}"#, "Id", "null");
        let good = r#""Action":"s3:*","Resource":"*""#;
        identity(&format!(r#"{{"Statement":[{{{good}}}]}}"#), "Statement[0].Effect", "missing");
        identity(
            &format!(r#"{{"Statement":[{{"Effect":"allow",{good}}}]}}"#),
            "Statement[0].Effect",
            "allow",
        );
        statement(r#""Resource":"*""#, "Action", "missing");
        statement(r#""Action":"s3:*""#, "Resource", "missing");
        statement(&format!(r#"{good},"Action":"s3:*""#), "", "\"Action\" appears twice");
        statement(&format!(r#"{good},"NotAction":"s3:*""#), "", "both Action and NotAction");
        statement(&format!(r#"{good},"NotResource":"*""#), "", "both Resource and NotResource");
        statement(&format!(r#"{good},"Conditions":{{}}"#), "", "\"Conditions\" does not exist");
        statement(&format!(r#"{good},"Principal":"*""#), "Principal", "only bucket and trust policies");
        statement(&format!(r#"{good},"Sid":"a b""#), "Sid", "a b");
        statement(&format!(r#"{good},"Sid":"\u0007""#), "Sid", "control character");
        statement(r#""Action":[],"Resource":"*""#, "Action", "empty");
        statement(r#""Action":["s3:*",1],"Resource":"*""#, "Action", "a number");
        statement(r#""Action":["s3:*","s3:GetObjekt"],"Resource":"*""#, "Action[1]", "s3:GetObjekt");
        statement(r#""Action":"ec2:*","Resource":"*""#, "Action[0]", "ec2:*");
        for arn in
            ["b/*", "arn:aws:s3:::", "arn:aws:s3:::/k", "arn:aws:s3:b", "arn:aws-cn:s3:::b", "arn:aws:S3:::b"]
        {
            statement(&format!(r#""Action":"s3:*","Resource":"{arn}""#), "Resource[0]", arn);
        }
        statement(r#""Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:user}""#, "Resource[0]", "${aws:user}");
        let condition = |condition: &str, path: &str, problem: &str| {
            let path = format!("Condition{path}");
            statement(&format!(r#"{good},"Condition":{condition}"#), &path, problem);
        };
        condition("[]", "", "a list");
        condition(r#"{"StringLikes":{"s3:prefix":"a"}}"#, ".StringLikes", "no such condition operator");
        condition(r#"{"StringLike":{}}"#, ".StringLike", "no condition key");
        condition(r#"{"StringLike":"a"}"#, ".StringLike", "a string");
        condition(
            r#"{"StringLike":{"s3:prefixes":"a"}}"#,
            ".StringLike.s3:prefixes",
            "no such condition key",
        );
        condition(r#"{"StringLike":{"s3:prefix":[]}}"#, ".StringLike.s3:prefix", "empty");
        condition(r#"{"StringLike":{"s3:prefix":{}}}"#, ".StringLike.s3:prefix", "an object");
        condition(r#"{"StringLike":{"s3:prefix":"${"}}"#, ".StringLike.s3:prefix", "not closed");
        condition(r#"{"Bool":{"s3:max-keys":"true"}}"#, ".Bool.s3:max-keys", "never matches");
        condition(
            r#"{"IpAddress":{"aws:SourceIp":["10.0.0.0/99"]}}"#,
            ".IpAddress.aws:SourceIp",
            "10.0.0.0/99",
        );
        condition(
            r#"{"StringLike":{"s3:prefix":"a","S3:Prefix":"b"}}"#,
            ".StringLike.S3:Prefix",
            "appears twice",
        );
        condition(r#"{"Bool":{"aws:SecureTransport":"a"},"Bool":{}}"#, "", "\"Bool\" appears twice");
        let twice = format!(r#"{{"Effect":"Allow","Sid":"x",{good}}}"#);
        identity(&format!(r#"{{"Statement":[{twice},{twice}]}}"#), "Statement[1].Sid", "earlier statement");
        check(Kind::Session, &format!(r#"{{"Statement":{twice}}}"#), "Version", "missing");
    }

    #[test]
    fn refused_in_bucket_policies() {
        let check = |part: &str, path: &str, problem: &str| {
            let text = around(part);
            let error = Document::parse(text.as_bytes(), Kind::Bucket("photos")).expect_err(&text);
            assert_eq!(error.path, format!("Statement[0].{path}"), "{error}\n{text}");
            assert!(error.problem.contains(problem), "{error}\n{text}");
        };
        let object = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*""#;
        check(object, "Principal", "missing");
        check(&format!(r#""Principal":"alice",{object}"#), "Principal", "a string");
        check(&format!(r#""Principal":{{}},{object}"#), "Principal", "nobody");
        check(&format!(r#""Principal":{{"AWS":"alice"}},{object}"#), "Principal.AWS", "alice");
        check(&format!(r#""Principal":{{"aws":"*"}},{object}"#), "Principal.aws", "not a kind");
        check(&format!(r#""NotPrincipal":{{"AWS":"1"}},{object}"#), "NotPrincipal", "whole world");
        let everyone = |part: &str| format!(r#""Principal":"*",{part}"#);
        for resource in [
            "arn:aws:s3:::music/*",
            "arn:aws:s3:::photos2",
            "arn:aws:s3:::photos2*",
            "arn:aws:s3:::m*/*",
            "arn:aws:s3:::${aws:username}/*",
        ] {
            let part = everyone(&format!(r#""Action":"s3:GetObject","Resource":"{resource}""#));
            check(&part, "Resource[0]", "not in the bucket");
        }
        for (action, resource) in [
            ("s3:ListBucket", "photos/*"),
            ("s3:ListBucket", "*/*"),
            ("s3:ListAllMyBuckets", "photos"),
            ("sts:AssumeRole", "photos/*"),
        ] {
            let part =
                everyone(&format!(r#""Action":["s3:*","{action}"],"Resource":"arn:aws:s3:::{resource}""#));
            check(&part, "Action[1]", "does not apply");
        }
        let idle = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::photos"}}"#;
        let error = Document::parse(idle.as_bytes(), Kind::Bucket("photos")).expect_err("it denies nothing");
        assert!(error.problem.contains("does not apply"), "{error}");
        let lonely = r#"{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::1:user/a"},
            "Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}}"#;
        let error = Document::parse(lonely.as_bytes(), Kind::Bucket("photos")).expect_err("no account");
        assert!(error.fix.contains("arn:aws:iam::1:root"), "{error}");
    }

    #[test]
    fn accepted_in_bucket_policies() {
        for (action, resource) in [
            ("s3:ListBucket", "*"),
            ("s3:GetObject", "arn:aws:s3:::*"),
            ("s3:GetObject", "arn:aws:s3:::phot*"),
            ("s3:ListBucket", "arn:aws:s3:::p*s"),
            ("s3:GetObject", "arn:aws:s3:::*/*"),
            ("s3:GetObject", "arn:aws:s3:::photo?/a"),
            // Gives nothing, and is refused only where it would deny nothing.
            ("s3:GetObject", "arn:aws:s3:::photos"),
        ] {
            let text = around(&format!(r#""Principal":"*","Action":"{action}","Resource":"{resource}""#));
            Document::parse(text.as_bytes(), Kind::Bucket("photos")).expect(&text);
        }
    }

    #[test]
    fn sizes() {
        let padded = |bytes: usize, part: &str| {
            let text = around(part);
            format!("{text}{}", " ".repeat(bytes - text.len()))
        };
        let check = |kind: Kind, bytes_max: usize, part: &str| {
            assert!(Document::parse(padded(bytes_max, part).as_bytes(), kind).is_ok());
            let error = Document::parse(padded(bytes_max + 1, part).as_bytes(), kind).expect_err("too large");
            assert_eq!(error.reason, Reason::TooLarge);
        };
        let part = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*""#;
        check(Kind::Identity, 2048, part);
        check(Kind::Session, 2048, part);
        check(Kind::Bucket("photos"), 20_480, &format!(r#""Principal":"*",{part}"#));
    }

    #[test]
    fn a_refusal_is_one_sentence() {
        let text = around(r#""Action":"s3:*","Resource":"*","Condition":{"StringLikes":{}}"#);
        let error = Document::parse(text.as_bytes(), Kind::Identity).expect_err("no such operator");
        assert_eq!(
            error.to_string(),
            "Statement[0].Condition.StringLikes: there is no such condition operator; use one such as StringEquals, \
             StringLike, IpAddress, DateLessThan or Null."
        );
    }

    #[test]
    fn wildcards_in_actions_are_found() {
        let text = around(r#""Action":["s3:GetObject","s3:Put*"],"Resource":"*""#);
        let document = Document::parse(text.as_bytes(), Kind::Identity).expect("a good policy");
        assert_eq!(document.wildcard_action(), Some("s3:Put*"));
    }

    #[test]
    fn fuzz_over_a_corpus_with_changed_bytes() {
        let corpus = [
            super::super::BUILT_IN_POLICIES[0].1.to_owned(),
            around(
                r#""Action":"s3:*","Resource":"arn:aws:s3:::photos/${aws:username, 'x'}/*?","Condition":
                {"ForAnyValue:StringNotLikeIfExists":{"s3:RequestObjectTagKeys":["a*","b"]},"ArnLike":
                {"aws:PrincipalArn":"arn:aws:iam::*:user/${aws:username}"},"Null":{"aws:Referer":false}}"#,
            ),
            around(
                r#""Principal":{"AWS":["*","1"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*",
                "Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"DateLessThan":{"aws:CurrentTime":0}}"#,
            ),
        ];
        let mut seed = 1_u64;
        for text in corpus {
            fuzz(text.as_bytes());
            for _ in 0..2_000 {
                let mut bytes = text.clone().into_bytes();
                for _ in 0..3 {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (at, with) =
                        ((seed >> 33) as usize % bytes.len(), (seed >> 20) as usize % bytes.len());
                    match seed >> 62 {
                        0 => bytes[at] = (seed >> 8) as u8,
                        1 => bytes.truncate(at.max(1)),
                        2 => bytes.insert(at, bytes[with]),
                        _ => bytes.swap(at, with),
                    }
                }
                fuzz(&bytes);
            }
        }
    }

    proptest! {
        #[test]
        fn fuzz_over_random_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&data);
        }

        #[test]
        fn fuzz_over_json_like_text(text in "[{}\\[\\]\",:a-zA-Z0-9$*?]{0,120}") {
            fuzz(text.as_bytes());
        }
    }
}
