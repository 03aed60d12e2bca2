//! The decision: may this request be done?
//!
//! A Deny in any policy binds everyone. Else a signed request needs an Allow of the user's own policy or of the bucket's
//! policy, and, if its credentials carry a session or embedded policy, of that one as well: derived credentials never
//! reach further than they were given. An unsigned request needs an Allow of the bucket's policy. What nothing allows is
//! denied.
//!
//! This is stricter than AWS in one place: there, a bucket policy that names a session bypasses its session policy.
//! Nothing here allocates. Spec: AWS IAM User Guide, "Policy evaluation logic".

use super::action::Action;
use super::compile::{Asked, Policy, Rule};
use super::context::Context;
use super::pattern::Resource;

/// What is asked: an action on a resource under circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The permission that is needed. A call that needs several asks several times.
    pub action: Action,
    /// The bucket; empty at the level of the account. For the actions of IAM, and for a role to be assumed: the ARN of the
    /// user or role.
    pub bucket: &'a str,
    /// The key, decoded; empty at the level of the bucket.
    pub key: &'a [u8],
    /// The values of condition keys and variables.
    pub context: &'a Context<'a>,
}

/// The answer, and which statement gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision<'p> {
    /// Allowed by this statement of the user's or the bucket's policy.
    Allow {
        /// The statement.
        by: By<'p>,
    },
    /// Denied by this statement.
    ExplicitDeny {
        /// The statement.
        by: By<'p>,
    },
    /// Nothing allows it.
    ImplicitDeny,
}

/// A statement of one of the policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct By<'p> {
    /// Which policy.
    pub layer: Layer,
    /// Which of the documents the policy was merged from, from 0.
    pub document: usize,
    /// Which statement of that document, from 0.
    pub statement: usize,
    /// Its `Sid`.
    pub sid: Option<&'p str>,
}

/// The kinds of policy that take part in a decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// Attached to the user.
    Identity,
    /// Of a session or embedded in a service account.
    Session,
    /// Of the bucket.
    Bucket,
    /// Of the role that is to be assumed.
    Trust,
}

impl Decision<'_> {
    /// Whether the request may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow { .. })
    }
}

/// Decides a request.
///
/// `identity` is what is attached to the user, `session` what limits the credentials, `bucket` the policy of the bucket
/// that is asked for; each is `None` if there is none. For an `anonymous` request `identity` and `session` never allow.
#[must_use]
pub fn decide<'p>(
    identity: Option<&'p Policy>,
    session: Option<&'p Policy>,
    bucket: Option<&'p Policy>,
    anonymous: bool,
    request: &Request<'_>,
) -> Decision<'p> {
    let mut asked = Asked {
        action: request.action,
        resource: Resource::new(request.bucket.as_bytes(), request.key),
        anonymous,
        context: request.context,
    };
    for (layer, policy) in [(Layer::Identity, identity), (Layer::Session, session), (Layer::Bucket, bucket)] {
        if let Some(rule) = policy.and_then(|policy| policy.denying(&mut asked)) {
            return Decision::ExplicitDeny { by: by(layer, rule) };
        }
    }
    let mut allowing = |layer: Layer, policy: Option<&'p Policy>| {
        let rule = policy?.allowing(&mut asked)?;
        Some(Decision::Allow { by: by(layer, rule) })
    };
    if anonymous {
        return allowing(Layer::Bucket, bucket).unwrap_or(Decision::ImplicitDeny);
    }
    if session.is_some() && allowing(Layer::Session, session).is_none() {
        return Decision::ImplicitDeny;
    }
    allowing(Layer::Identity, identity)
        .or_else(|| allowing(Layer::Bucket, bucket))
        .unwrap_or(Decision::ImplicitDeny)
}

/// Decides whether somebody may assume a role: `identity` is what is attached to whoever asks, `trust` the trust policy
/// of the role, and the resource of the request the role.
///
/// A Deny in either binds. A trust policy that names the caller itself allows it alone; one that trusts everybody or an
/// account leaves it to that account, so that the caller's own policy has to allow it, too. As in policies of buckets, an
/// ARN names whoever has it at the time; a unique id names one user for good.
///
/// Spec: AWS IAM User Guide, "Policies and accounts", "Creating a role to delegate permissions to an IAM user".
#[must_use]
pub fn decide_trust<'p>(
    identity: Option<&'p Policy>,
    trust: &'p Policy,
    request: &Request<'_>,
) -> Decision<'p> {
    let mut asked = Asked {
        action: request.action,
        resource: Resource::new(request.bucket.as_bytes(), request.key),
        anonymous: false,
        context: request.context,
    };
    for (layer, policy) in [(Layer::Identity, identity), (Layer::Trust, Some(trust))] {
        if let Some(rule) = policy.and_then(|policy| policy.denying(&mut asked)) {
            return Decision::ExplicitDeny { by: by(layer, rule) };
        }
    }
    let trusting: Vec<&Rule> = trust.all_allowing(&mut asked).collect();
    if let Some(rule) = trusting.iter().find(|rule| rule.names_individually(&asked)) {
        return Decision::Allow { by: by(Layer::Trust, rule) };
    }
    match identity.and_then(|identity| identity.allowing(&mut asked)) {
        Some(rule) if !trusting.is_empty() => Decision::Allow { by: by(Layer::Identity, rule) },
        _ => Decision::ImplicitDeny,
    }
}

fn by(layer: Layer, rule: &Rule) -> By<'_> {
    By { layer, document: rule.document, statement: rule.statement, sid: rule.sid.as_deref() }
}

#[cfg(test)]
mod tests {
    use super::super::{Document, Kind, PrincipalType, Reads, built_in_policy};
    use super::*;

    fn identity(text: &str) -> Policy {
        Policy::compile(
            &Document::parse(text.as_bytes(), Kind::Identity).unwrap_or_else(|error| panic!("{error}")),
        )
    }

    fn statements(list: &str) -> Policy {
        identity(&format!(r#"{{"Version":"2012-10-17","Statement":[{list}]}}"#))
    }

    fn of_bucket(list: &str) -> Policy {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{list}]}}"#);
        let document =
            Document::parse(text.as_bytes(), Kind::Bucket("b")).unwrap_or_else(|error| panic!("{error}"));
        Policy::compile(&document)
    }

    fn built_in(name: &str) -> Policy {
        identity(built_in_policy(name).expect("a built-in policy"))
    }

    fn allowed(policy: &Policy, action: Action, bucket: &str, key: &str) -> bool {
        let context = Context::default();
        let request = Request { action, bucket, key: key.as_bytes(), context: &context };
        decide(Some(policy), None, None, false, &request).is_allowed()
    }

    #[test]
    fn built_in_policies_allow_what_weka_says() {
        let readonly = [
            Action::ListAllMyBuckets,
            Action::ListBucket,
            Action::ListBucketMultipartUploads,
            Action::ListMultipartUploadParts,
            Action::GetBucketLocation,
            Action::GetBucketPolicy,
            Action::GetBucketTagging,
            Action::GetObject,
        ];
        let (read, write, both) = (built_in("readonly"), built_in("writeonly"), built_in("readwrite"));
        for action in Action::ALL {
            let (bucket, key) = match action.resource_kind() {
                super::super::ResourceKind::Object => ("b", "k"),
                super::super::ResourceKind::Bucket => ("b", ""),
                super::super::ResourceKind::Account => ("", ""),
                super::super::ResourceKind::Entity => ("arn:aws:iam::1:user/a", ""),
            };
            assert_eq!(allowed(&read, action, bucket, key), readonly.contains(&action), "{action:?}");
            assert_eq!(allowed(&write, action, bucket, key), action == Action::PutObject, "{action:?}");
            assert_eq!(allowed(&both, action, bucket, key), action.name().starts_with("s3:"), "{action:?}");
        }
    }

    #[test]
    fn a_bucket_action_needs_the_bucket_and_an_object_action_its_objects() {
        let objects = statements(r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}"#);
        assert!(
            allowed(&objects, Action::GetObject, "b", "k") && !allowed(&objects, Action::ListBucket, "b", "")
        );
        let bucket = statements(r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b"}"#);
        assert!(
            !allowed(&bucket, Action::GetObject, "b", "k") && allowed(&bucket, Action::ListBucket, "b", "")
        );
        assert!(!allowed(&bucket, Action::ListAllMyBuckets, "", ""));
    }

    #[test]
    fn what_is_negated_is_everything_else() {
        let policy = statements(
            r#"{"Effect":"Allow","NotAction":"s3:Delete*","Resource":"*"},
               {"Effect":"Deny","Action":"s3:*","NotResource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}"#,
        );
        assert!(allowed(&policy, Action::GetObject, "b", "k"));
        assert!(!allowed(&policy, Action::DeleteObject, "b", "k"));
        assert!(!allowed(&policy, Action::GetObject, "c", "k"));
        assert!(!allowed(&policy, Action::ListAllMyBuckets, "", ""));
    }

    /// Which layers allow or deny, and the answer to a signed and to an unsigned request.
    #[test]
    fn every_combination_of_layers() {
        let allow = statements(r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Sid":"yes"}"#);
        let deny = statements(
            r#"{"Effect":"Allow","Action":"*","Resource":"*"},
               {"Effect":"Deny","Action":"s3:*","Resource":"*","Sid":"no"}"#,
        );
        let silent = statements(r#"{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}"#);
        let on = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
        let bucket_allow = of_bucket(&format!(r#"{{"Effect":"Allow","Principal":"*",{on}}}"#));
        let bucket_deny = of_bucket(&format!(r#"{{"Effect":"Deny","Principal":"*",{on}}}"#));
        let layers = [None, Some(&silent), Some(&allow), Some(&deny)];
        let context = Context::default();
        let request = Request { action: Action::GetObject, bucket: "b", key: b"k", context: &context };
        for (user, identity) in layers.into_iter().enumerate() {
            for (limit, session) in layers.into_iter().enumerate() {
                for (resource, bucket) in
                    [None, Some(&bucket_allow), Some(&bucket_deny)].into_iter().enumerate()
                {
                    let denied = user == 3 || limit == 3 || resource == 2;
                    let limited = limit == 1;
                    let expected = if denied {
                        "deny"
                    } else if !limited && (user == 2 || resource == 1) {
                        "allow"
                    } else {
                        "nothing"
                    };
                    let word = |decision| match decision {
                        Decision::Allow { .. } => "allow",
                        Decision::ExplicitDeny { .. } => "deny",
                        Decision::ImplicitDeny => "nothing",
                    };
                    let found = decide(identity, session, bucket, false, &request);
                    assert_eq!(word(found), expected, "{user} {limit} {resource}");
                    let found = decide(None, None, bucket, true, &request);
                    assert_eq!(word(found), ["nothing", "allow", "deny"][resource]);
                    // An unsigned request has no policies of its own, but if given, they allow nothing.
                    let found = decide(identity, None, None, true, &request);
                    assert!(!found.is_allowed());
                }
            }
        }
    }

    #[test]
    fn the_deciding_statement_is_named() {
        let parse = |text: &str| Document::parse(text.as_bytes(), Kind::Identity).expect("a good policy");
        let first = parse(r#"{"Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}}"#);
        let second = parse(
            r#"{"Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"},
                {"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*","Sid":"keep"},
                {"Effect":"Allow","Action":"s3:*Object","Resource":"*","Sid":"objects"}]}"#,
        );
        let merged = Policy::merge([&first, &second]);
        let context = Context::default();
        let ask = |action| {
            decide(
                Some(&merged),
                None,
                None,
                false,
                &Request { action, bucket: "b", key: b"k", context: &context },
            )
        };
        let by = |document, statement, sid| By { layer: Layer::Identity, document, statement, sid };
        assert_eq!(ask(Action::PutObject), Decision::Allow { by: by(0, 0, None) });
        assert_eq!(ask(Action::GetObject), Decision::Allow { by: by(1, 2, Some("objects")) });
        assert_eq!(ask(Action::DeleteObject), Decision::ExplicitDeny { by: by(1, 1, Some("keep")) });
        assert_eq!(ask(Action::GetObjectAcl), Decision::ImplicitDeny);
    }

    #[test]
    fn joined_policies_decide_as_their_documents_do() {
        let parse = |text: &str| Document::parse(text.as_bytes(), Kind::Identity).expect("a good policy");
        let documents = [
            r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Deny","Action":"s3:Put*","Resource":"*","Sid":"no"}}"#,
            r#"{"Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"},
                {"Effect":"Deny","Action":"s3:GetObject","Resource":"*",
                 "Condition":{"StringEquals":{"s3:ExistingObjectTag/a":"b"}}}]}"#,
        ]
        .map(parse);
        let merged = Policy::merge(&documents);
        let one = Policy::merge(&documents[..1]);
        let rest = Policy::merge(&documents[1..]);
        let joined = Policy::join([&one, &Policy::merge([]), &rest]);
        assert!(joined.reads() == merged.reads() && joined.reads().existing_object_tags);
        let context = Context { existing_object_tags: &[("a", "b")], ..Context::default() };
        for action in Action::ALL {
            let request = Request { action, bucket: "b", key: b"k", context: &context };
            let ask = |policy| decide(Some(policy), None, None, false, &request);
            assert_eq!(ask(&joined), ask(&merged), "{action:?}");
        }
    }

    #[test]
    fn users_and_roles_are_resources_of_their_own() {
        let check = |resource: &str, asked: &str, expected: bool| {
            let policy = statements(&format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{resource}"}}"#));
            let context = Context { account: Some("1"), username: Some("alice"), ..Context::default() };
            let request = Request { action: Action::GetUser, bucket: asked, key: b"", context: &context };
            let found = decide(Some(&policy), None, None, false, &request).is_allowed();
            assert_eq!(found, expected, "{resource} {asked}");
        };
        let alice = "arn:aws:iam::1:user/a/alice";
        check("*", alice, true);
        check("arn:aws:iam::1:user/a/alice", alice, true);
        check("arn:aws:iam:::user/a/alice", alice, true);
        check("arn:aws:iam:::user/a/alice", "arn:aws:iam::2:user/a/alice", false);
        check("arn:aws:iam::*:user/*", "arn:aws:iam::2:user/a/alice", true);
        check("arn:aws:iam::1:user/*", "arn:aws:iam::2:user/a/alice", false);
        check("arn:aws:iam::1:user/a/${aws:username}", alice, true);
        check("arn:aws:iam::1:user/a/${aws:username}", "arn:aws:iam::1:user/a/bob", false);
        check("arn:aws:iam::1:role/*", alice, false);
        check("arn:aws:iam::1:user/alice", alice, false);
        // No pattern of buckets ever speaks of users, however wide it is, nor the other way round.
        for s3 in ["arn:aws:s3:::*", "arn:aws:s3:::a*", "arn:aws:s3:::*/*", "arn:aws:s3:::*:*"] {
            check(s3, alice, false);
            check(s3, "arn:aws:iam::1:root", false);
        }
        check("arn:aws:iam::*:*", "photos", false);
        check("arn:aws:iam::*:*", "", false);
    }

    #[test]
    fn who_may_assume_a_role() {
        const ROLE: &str = "arn:aws:iam::1:role/backup";
        let trust = |principal: &str, more: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},
                    "Action":"sts:AssumeRole"}}{more}]}}"#
            );
            let document = Document::parse(text.as_bytes(), Kind::Trust);
            Policy::compile(&document.unwrap_or_else(|error| panic!("{error}")))
        };
        let allow = |resource: &str| {
            statements(&format!(r#"{{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"{resource}"}}"#))
        };
        let deny = statements(r#"{"Effect":"Deny","Action":"sts:*","Resource":"*"}"#);
        let (all, this, another) = (allow("*"), allow(ROLE), allow("arn:aws:iam::1:role/other"));
        let of_s3 = built_in("readwrite");
        let check = |identity: Option<&Policy>, trust: &Policy, expected: bool| {
            let context = Context {
                principal_type: Some(PrincipalType::User),
                account: Some("1"),
                principal_arn: Some("arn:aws:iam::1:user/alice"),
                userid: Some("AIDACKCEVSQ6C2EXAMPLE"),
                external_id: Some("x"),
                ..Context::default()
            };
            let request = Request { action: Action::AssumeRole, bucket: ROLE, key: b"", context: &context };
            let decision = decide_trust(identity, trust, &request);
            assert_eq!(decision.is_allowed(), expected, "{identity:?}\n{trust:?}");
        };
        // Named by itself: the trust policy is enough, and a Deny of either binds.
        for principal in [
            r#"{"AWS":"arn:aws:iam::1:user/alice"}"#,
            r#"{"AWS":"arn:aws:iam:::user/alice"}"#,
            r#"{"AWS":["arn:aws:iam::1:user/bob","AIDACKCEVSQ6C2EXAMPLE"]}"#,
        ] {
            let named = trust(principal, "");
            for identity in [None, Some(&all), Some(&another), Some(&of_s3)] {
                check(identity, &named, true);
            }
            check(Some(&deny), &named, false);
            let denied = r#",{"Effect":"Deny","Principal":"*","Action":"sts:*"}"#;
            check(Some(&all), &trust(principal, denied), false);
        }
        // As one of many: the user's own policy decides.
        for principal in [r#""*""#, r#"{"AWS":"1"}"#, r#"{"AWS":"arn:aws:iam::1:root"}"#] {
            let many = trust(principal, "");
            check(None, &many, false);
            check(Some(&of_s3), &many, false);
            check(Some(&another), &many, false);
            check(Some(&this), &many, true);
            check(Some(&all), &many, true);
            check(Some(&deny), &many, false);
        }
        // Not at all.
        for principal in
            [r#"{"AWS":"arn:aws:iam::1:user/bob"}"#, r#"{"AWS":"2"}"#, r#"{"Service":"ec2.amazonaws.com"}"#]
        {
            check(Some(&all), &trust(principal, ""), false);
        }
        // Conditions hold.
        let conditional = |id: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::1:user/alice"}},
                    "Action":"sts:AssumeRole","Condition":{{"StringEquals":{{"sts:ExternalId":"{id}"}}}}}}}}"#
            );
            Policy::compile(&Document::parse(text.as_bytes(), Kind::Trust).expect("a good policy"))
        };
        check(None, &conditional("x"), true);
        check(None, &conditional("y"), false);
    }

    #[test]
    fn home_directories() {
        let policy = statements(
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/home/${aws:username}/*"},
               {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b",
                "Condition":{"StringLike":{"s3:prefix":["","home/${aws:username}/*"]}}}"#,
        );
        let ask = |username: Option<&str>, action, key: &str, prefix: Option<&str>| {
            let context = Context { username, prefix: prefix.map(str::as_bytes), ..Context::default() };
            let request = Request { action, bucket: "b", key: key.as_bytes(), context: &context };
            decide(Some(&policy), None, None, false, &request).is_allowed()
        };
        assert!(ask(Some("alice"), Action::GetObject, "home/alice/x", None));
        assert!(!ask(Some("alice"), Action::GetObject, "home/bob/x", None));
        assert!(!ask(Some("*"), Action::GetObject, "home/bob/x", None));
        assert!(!ask(None, Action::GetObject, "home//x", None));
        assert!(ask(Some("alice"), Action::ListBucket, "", Some("home/alice/x")));
        assert!(ask(Some("alice"), Action::ListBucket, "", Some("")));
        assert!(!ask(Some("alice"), Action::ListBucket, "", Some("home/")));
        assert!(!ask(Some("alice"), Action::ListBucket, "", None));
    }

    #[test]
    fn presets_for_anonymous_access() {
        let download = of_bucket(
            r#"{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetBucketLocation","s3:ListBucket"],
                "Resource":["arn:aws:s3:::b"]},
               {"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::b/*"]}"#,
        );
        let context = Context { principal_type: Some(PrincipalType::Anonymous), ..Context::default() };
        let ask = |action, bucket, key: &'static [u8]| {
            decide(None, None, Some(&download), true, &Request { action, bucket, key, context: &context })
                .is_allowed()
        };
        assert!(ask(Action::GetObject, "b", b"k") && ask(Action::ListBucket, "b", b""));
        assert!(!ask(Action::PutObject, "b", b"k") && !ask(Action::ListAllMyBuckets, "", b""));
        assert!(!ask(Action::GetObject, "other", b"k"));
    }

    #[test]
    fn named_principals() {
        let policy = of_bucket(
            r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:user/alice"},"Action":"s3:GetObject",
                "Resource":"arn:aws:s3:::b/*"},
               {"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::1:user/alice","arn:aws:iam::1:user/bob","1"]},
                "Action":"s3:*","Resource":"arn:aws:s3:::b/secret/*"}"#,
        );
        let full = statements(r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#);
        let ask = |identity: Option<&Policy>, user: &str, key: &'static [u8]| {
            let arn = format!("arn:aws:iam::1:user/{user}");
            let context = Context { principal_arn: Some(&arn), account: Some("1"), ..Context::default() };
            let request = Request { action: Action::GetObject, bucket: "b", key, context: &context };
            decide(identity, None, Some(&policy), false, &request).is_allowed()
        };
        assert!(ask(None, "alice", b"k") && ask(None, "alice", b"secret/k"));
        assert!(!ask(None, "bob", b"k") && ask(Some(&full), "bob", b"secret/k"));
        assert!(ask(Some(&full), "carol", b"k") && !ask(Some(&full), "carol", b"secret/k"));
    }

    #[test]
    fn a_policy_knows_what_it_reads() {
        let check = |part: &str, expected: Reads| {
            let policy = statements(&format!(r#"{{"Effect":"Allow","Action":"s3:*",{part}}}"#));
            assert_eq!(policy.reads(), expected, "{part}");
        };
        let nothing = Reads::default();
        let existing = Reads { existing_object_tags: true, ..nothing };
        let tested = |key: &str| format!(r#""Resource":"*","Condition":{{"StringEquals":{{"{key}":"x"}}}}"#);
        check(r#""Resource":"*""#, nothing);
        check(&tested("s3:prefix"), nothing);
        check(&tested("s3:RequestObjectTag/a"), Reads { request_object_tags: true, ..nothing });
        check(&tested("s3:ExistingObjectTag/a"), existing);
        check(&tested("aws:ResourceTag/a"), Reads { bucket_tags: true, ..nothing });
        check(&tested("sluicegate:BucketOwner"), Reads { bucket_owner: true, ..nothing });
        check(r#""Resource":"arn:aws:s3:::b/${s3:ExistingObjectTag/a}/*""#, existing);
        let by_variable = r#"{"StringLike":{"s3:prefix":"${s3:BucketTag/a}"}}"#;
        check(
            &format!(r#""Resource":"*","Condition":{by_variable}"#),
            Reads { bucket_tags: true, ..nothing },
        );
    }

    #[test]
    fn each_user_in_buckets_of_their_own() {
        let policy = statements(
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*",
                "Condition":{"StringEquals":{"sluicegate:BucketOwner":"${aws:username}"}}}"#,
        );
        let ask = |username: &str, bucket_owner: Option<&str>| {
            let context = Context { username: Some(username), bucket_owner, ..Context::default() };
            let request = Request { action: Action::GetObject, bucket: "b", key: b"k", context: &context };
            decide(Some(&policy), None, None, false, &request).is_allowed()
        };
        assert!(ask("alice", Some("alice")));
        assert!(!ask("alice", Some("bob")) && !ask("alice", None) && !ask("*", Some("bob")));
    }
}
