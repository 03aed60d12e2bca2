//! Tests that decisions agree with the oracle: policies and requests are generated from a small vocabulary in which
//! nearly everything meets nearly everything.
//!
//! One generator has two sources of choices: bytes that proptest shrinks to a small counterexample, and a generator of
//! pseudo-random numbers for a million decisions.

#[cfg(test)]
use proptest::prelude::*;

use super::oracle::{self, Answer, Question, Who};
use super::*;
use crate::codec::dates::Timestamp;

/// A source of choices.
trait Choices {
    /// A number below `count`.
    fn below(&mut self, count: usize) -> usize;

    fn one_of<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len())]
    }

    /// True once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }
}

/// Choices from bytes; when they end, always the first.
struct FromBytes<'b>(&'b [u8]);

impl Choices for FromBytes<'_> {
    fn below(&mut self, count: usize) -> usize {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(byte) % count
    }
}

/// Xorshift64*.
#[cfg(test)]
struct Random(u64);

#[cfg(test)]
impl Choices for Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % count
    }
}

const BUCKET: &str = "photos";
const ACTIONS: [Action; 8] = [
    Action::GetObject,
    Action::PutObject,
    Action::DeleteObjectTagging,
    Action::ListBucket,
    Action::GetBucketCORS,
    Action::ListAllMyBuckets,
    Action::GetObject,
    Action::ListBucket,
];
const ACTION_TEXTS: [&str; 12] = [
    "s3:*",
    "*",
    "s3:Get*",
    "s3:GetObject",
    "S3:putobject",
    "s3:*Object",
    "s3:List*",
    "s3:ListBucket",
    "s3:?etObject",
    "s3:*Object*",
    "sts:*",
    "s3:GetBucketCORS",
];
const OBJECT_ACTION_TEXTS: [&str; 6] =
    ["s3:*", "*", "s3:Get*", "s3:GetObject", "S3:putobject", "s3:*Object*"];
const RESOURCES: [&str; 16] = [
    "*",
    "arn:aws:s3:::*",
    "arn:aws:s3:::photos",
    "arn:aws:s3:::photos/*",
    "arn:aws:s3:::photos/home/*",
    "arn:aws:s3:::photos/home/${aws:username}/*",
    "arn:aws:s3:::phot*",
    "arn:aws:s3:::*/home/?*/x",
    "arn:aws:s3:::photos/a",
    "arn:*:s3:*:*:photos/*/x",
    "arn:aws:s3:::data/*",
    "arn:aws:s3:::photos/${aws:referer, 'home'}/*x",
    "arn:aws:s3:::photo?/*a*b?",
    "arn:aws:s3:::photos/a${*}b",
    "arn:aws:s3:::*${s3:ExistingObjectTag/dept}*",
    "arn:aws:s3:::photos/??",
];
const BUCKET_RESOURCES: [&str; 6] = [
    "arn:aws:s3:::photos/*",
    "arn:aws:s3:::photos/home/${aws:username}/*",
    "arn:aws:s3:::photos/a",
    "arn:aws:s3:::photos/*x",
    "arn:aws:s3:::photos/home/*/x",
    "arn:aws:s3:::photos/a${*}b",
];
const PRINCIPALS: [&str; 8] = [
    r#""*""#,
    r#"{"AWS":"*"}"#,
    r#"{"AWS":"arn:aws:iam::111122223333:user/alice"}"#,
    r#"{"AWS":"111122223333"}"#,
    r#"{"AWS":["arn:aws:iam::111122223333:user/bob","arn:aws:sts::111122223333:assumed-role/alice/job"]}"#,
    r#"{"AWS":"AIDACKCEVSQ6C2EXAMPLE"}"#,
    r#"{"Service":"logging.s3.amazonaws.com"}"#,
    r#"{"AWS":"arn:aws:iam::999999999999:root"}"#,
];
const NOT_PRINCIPALS: [&str; 3] = [
    r#"{"AWS":["arn:aws:iam::111122223333:user/alice","111122223333"]}"#,
    r#"{"AWS":"111122223333"}"#,
    r#""*""#,
];
const STRING_OPERATORS: [&str; 6] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
];
const ORDERS: [&str; 6] =
    ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"];
const STRING_KEYS: [&str; 12] = [
    "aws:username",
    "AWS:UserName",
    "s3:prefix",
    "aws:Referer",
    "s3:ExistingObjectTag/dept",
    "s3:RequestObjectTag/dept",
    "s3:RequestObjectTagKeys",
    "aws:PrincipalType",
    "aws:SourceVpce",
    "aws:SourceIp",
    "s3:max-keys",
    "aws:userid",
];
const STRING_VALUES: [&str; 16] = [
    "alice",
    "ALICE",
    "a*",
    "*",
    "home/${aws:username}/*",
    "${aws:username}",
    "x",
    "",
    "?",
    "User",
    "10.0.0.7",
    "de?t",
    "${*}",
    "${s3:prefix, 'alice'}",
    "caf\u{e9}",
    "*e",
];
const NUMBERS: [&str; 5] = ["0", "10", "1e1", "-1", "10.5"];
const DATES: [&str; 5] =
    ["2026-11-24T00:00:00Z", "2026-11-24T00:00:01Z", "1795478400", "2020-02-29T12:30:00Z", "0"];
const NETWORKS: [&str; 7] =
    ["10.0.0.0/8", "10.0.0.7", "0.0.0.0/0", "10.0.0.6/31", "2001:db8::/32", "::/0", "192.0.2.0/24"];
const ARNS: [&str; 6] = [
    "arn:aws:iam::111122223333:user/alice",
    "arn:aws:iam::*:user/*",
    "arn:*:iam::1111?2223333:*",
    "arn:aws:iam::111122223333:user/${aws:username}",
    "arn:aws:s3:::x",
    "*:*:*:*:*:*",
];

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// A string or a list of up to three.
fn texts(choices: &mut impl Choices, list: &[&str]) -> String {
    match choices.below(4) {
        0 | 1 => quoted(choices.one_of(list)),
        count => {
            let values: Vec<String> = (0..count).map(|_| quoted(choices.one_of(list))).collect();
            format!("[{}]", values.join(","))
        }
    }
}

fn condition(choices: &mut impl Choices) -> String {
    let (operator, key, values) = match choices.below(12) {
        0..=4 => {
            let operator = choices.one_of(&STRING_OPERATORS).to_owned();
            (operator, choices.one_of(&STRING_KEYS), texts(choices, &STRING_VALUES))
        }
        5 => {
            let operator = format!("Numeric{}", choices.one_of(&ORDERS));
            (
                operator,
                choices.one_of(&["s3:max-keys", "s3:signatureAge", "aws:Referer"]),
                texts(choices, &NUMBERS),
            )
        }
        6 => {
            let operator = format!("Date{}", choices.one_of(&ORDERS));
            let keys = ["aws:CurrentTime", "aws:EpochTime", "aws:TokenIssueTime", "aws:Referer"];
            (operator, choices.one_of(&keys), texts(choices, &DATES))
        }
        7 => {
            let keys =
                ["aws:SecureTransport", "aws:ViaAWSService", "aws:MultiFactorAuthPresent", "aws:Referer"];
            ("Bool".to_owned(), choices.one_of(&keys), texts(choices, &["true", "false", "True"]))
        }
        8 => {
            let operator = choices.one_of(&["IpAddress", "NotIpAddress"]).to_owned();
            (operator, choices.one_of(&["aws:SourceIp", "aws:Referer"]), texts(choices, &NETWORKS))
        }
        9 => {
            let operator = choices.one_of(&["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"]).to_owned();
            (operator, choices.one_of(&["aws:PrincipalArn", "aws:Referer"]), texts(choices, &ARNS))
        }
        10 => ("BinaryEquals".to_owned(), "aws:username", texts(choices, &["YWxpY2U=", "eA=="])),
        _ => {
            let key = choices.one_of(&STRING_KEYS);
            return format!(r#"{{"Null":{{"{key}":{}}}}}"#, texts(choices, &["true", "false"]));
        }
    };
    let prefix = choices.one_of(&["", "", "", "ForAllValues:", "ForAnyValue:"]);
    let suffix = choices.one_of(&["", "", "IfExists"]);
    format!(r#"{{"{prefix}{operator}{suffix}":{{"{key}":{values}}}}}"#)
}

/// A policy document; `in_bucket` makes it one of [`BUCKET`].
fn policy(choices: &mut impl Choices, in_bucket: bool) -> String {
    let version = if choices.once_in(5) { "2008-10-17" } else { "2012-10-17" };
    let statements: Vec<String> = (0..=choices.below(3)).map(|_| statement(choices, in_bucket)).collect();
    let list = match &statements[..] {
        [only] => only.clone(),
        several => format!("[{}]", several.join(",")),
    };
    format!(r#"{{"Version":"{version}","Statement":{list}}}"#)
}

fn statement(choices: &mut impl Choices, in_bucket: bool) -> String {
    let deny = choices.once_in(4);
    let not = |choices: &mut dyn FnMut() -> bool| if choices() { "Not" } else { "" };
    let not_action = not(&mut || choices.once_in(8));
    let not_resource = not(&mut || choices.once_in(8));
    let mut out = format!(r#"{{"Effect":"{}""#, if deny { "Deny" } else { "Allow" });
    let (actions, resources) = if in_bucket {
        let (principal, who) = match deny && choices.once_in(3) {
            true => ("NotPrincipal", choices.one_of(&NOT_PRINCIPALS)),
            false => ("Principal", choices.one_of(&PRINCIPALS)),
        };
        out += &format!(r#","{principal}":{who}"#);
        (texts(choices, &OBJECT_ACTION_TEXTS), texts(choices, &BUCKET_RESOURCES))
    } else {
        (texts(choices, &ACTION_TEXTS), texts(choices, &RESOURCES))
    };
    out += &format!(r#","{not_action}Action":{actions},"{not_resource}Resource":{resources}"#);
    if choices.once_in(2) {
        out += &format!(r#","Condition":{}"#, condition(choices));
    }
    out + "}"
}

/// The circumstances of a request, from which the context and the oracle's facts are made separately.
#[derive(Debug)]
struct World {
    action: Action,
    bucket: &'static str,
    key: &'static str,
    user: Option<&'static str>,
    session: bool,
    address: Option<&'static str>,
    secure: bool,
    now: i64,
    prefix: Option<&'static str>,
    max_keys: Option<u64>,
    referer: Option<&'static str>,
    existing: &'static [Tag<'static>],
    requested: &'static [Tag<'static>],
    arn: String,
    session_arn: String,
}

const UNIQUE_ID: &str = "AIDACKCEVSQ6C2EXAMPLE";
const UNIQUE_ID_OF_SESSION: &str = "AIDACKCEVSQ6C2EXAMPLE:job";
const ACCOUNT: &str = "111122223333";
const NOW: i64 = 1_795_478_400;

fn world(choices: &mut impl Choices) -> World {
    let action = ACTIONS[choices.below(ACTIONS.len())];
    let keys = ["home/alice/x", "a", "home/bob/x", "home/*/x", "a*b", "aab\u{e9}", "x", "\u{e9}\u{e9}"];
    let (bucket, key) = match action.resource_kind() {
        ResourceKind::Object => {
            (["photos", "photos", "data"][choices.below(3)], keys[choices.below(keys.len())])
        }
        ResourceKind::Bucket => (["photos", "photos", "data"][choices.below(3)], ""),
        ResourceKind::Account | ResourceKind::Entity => ("", ""),
    };
    let users = [Some("alice"), Some("bob"), Some("*"), None];
    let user = users[choices.below(users.len())];
    let tags: [&'static [Tag]; 5] = [
        &[],
        &[("dept", "alice")],
        &[("Dept", "x")],
        &[("team", "x"), ("dept", "")],
        &[("dept", "x"), ("x", "x")],
    ];
    let referers = [
        None,
        None,
        Some("alice"),
        Some("10"),
        Some("2026-11-24T00:00:00Z"),
        Some("10.0.0.7"),
        Some("true"),
        Some("arn:aws:iam::111122223333:user/alice"),
        Some(""),
        Some("home"),
    ];
    World {
        action,
        bucket,
        key,
        user,
        session: choices.once_in(3) && user.is_some(),
        address: [Some("10.0.0.7"), Some("192.0.2.9"), Some("2001:db8::1"), None][choices.below(4)],
        secure: choices.once_in(2),
        now: NOW + choices.below(2) as i64,
        prefix: [None, Some(""), Some("home/alice/"), Some("a*")][choices.below(4)],
        max_keys: [None, Some(0), Some(10), Some(11)][choices.below(4)],
        referer: referers[choices.below(referers.len())],
        existing: tags[choices.below(tags.len())],
        requested: tags[choices.below(tags.len())],
        arn: format!("arn:aws:iam::{ACCOUNT}:user/{}", user.unwrap_or_default()),
        session_arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/{}/job", user.unwrap_or_default()),
    }
}

impl World {
    fn context(&self) -> Context<'_> {
        let signed = self.user.is_some();
        Context {
            principal_type: Some(match (signed, self.session) {
                (false, _) => PrincipalType::Anonymous,
                (true, false) => PrincipalType::User,
                (true, true) => PrincipalType::AssumedRole,
            }),
            username: self.user,
            userid: Some(match (signed, self.session) {
                (false, _) => "anonymous",
                (true, false) => UNIQUE_ID,
                (true, true) => UNIQUE_ID_OF_SESSION,
            }),
            principal_arn: signed.then_some(&self.arn),
            session_arn: self.session.then_some(&self.session_arn),
            account: Some(ACCOUNT),
            token_issue_time: self.session.then_some(Timestamp { seconds: NOW, nanos: 999 }),
            now: Some(Timestamp { seconds: self.now, nanos: 500_000_000 }),
            source_ip: self.address.and_then(|address| address.parse().ok()),
            secure_transport: Some(self.secure),
            referer: self.referer.map(str::as_bytes),
            prefix: self.prefix.map(str::as_bytes),
            max_keys: self.max_keys,
            existing_object_tags: self.existing,
            request_object_tags: self.requested,
            ..Context::default()
        }
    }

    fn facts(&self) -> Vec<(String, Vec<String>)> {
        let mut facts: Vec<(String, Vec<String>)> = Vec::new();
        let mut fact = |name: &str, value: Option<String>| {
            facts.extend(value.map(|value| (name.to_owned(), vec![value])))
        };
        fact("aws:username", self.user.map(str::to_owned));
        fact("aws:principalarn", self.user.map(|user| format!("arn:aws:iam::111122223333:user/{user}")));
        let (of, userid) = match (self.user, self.session) {
            (None, _) => ("Anonymous", "anonymous"),
            (Some(_), false) => ("User", UNIQUE_ID),
            (Some(_), true) => ("AssumedRole", UNIQUE_ID_OF_SESSION),
        };
        fact("aws:principaltype", Some(of.to_owned()));
        fact("aws:userid", Some(userid.to_owned()));
        fact("aws:viaawsservice", Some("false".to_owned()));
        fact("aws:multifactorauthpresent", self.session.then(|| "false".to_owned()));
        fact("aws:tokenissuetime", self.session.then(|| "2026-11-24T00:00:00Z".to_owned()));
        fact("aws:currenttime", Some(format!("2026-11-24T00:00:0{}Z", self.now - NOW)));
        fact("aws:epochtime", Some(self.now.to_string()));
        fact("aws:sourceip", self.address.map(str::to_owned));
        fact("aws:securetransport", Some(self.secure.to_string()));
        fact("aws:referer", self.referer.map(str::to_owned));
        fact("s3:prefix", self.prefix.map(str::to_owned));
        fact("s3:max-keys", self.max_keys.map(|count| count.to_string()));
        for (key, value) in self.existing {
            fact(&format!("s3:existingobjecttag/{key}"), Some((*value).to_owned()));
        }
        for (key, value) in self.requested {
            fact(&format!("s3:requestobjecttag/{key}"), Some((*value).to_owned()));
        }
        if !self.requested.is_empty() {
            let keys = self.requested.iter().map(|(key, _)| (*key).to_owned()).collect();
            facts.push(("s3:requestobjecttagkeys".to_owned(), keys));
        }
        facts
    }
}

/// The policies that take part, parsed and compiled.
struct Policies {
    texts: Vec<String>,
    identity: Vec<Document>,
    session: Option<Document>,
    bucket: Option<Document>,
    compiled: [Option<Policy>; 3],
}

fn policies(choices: &mut impl Choices) -> Policies {
    let mut texts = Vec::new();
    let mut parsed = |choices: &mut _, kind| {
        let text = policy(choices, matches!(kind, Kind::Bucket(_)));
        let document =
            Document::parse(text.as_bytes(), kind).unwrap_or_else(|error| panic!("{error}\n{text}"));
        texts.push(text);
        document
    };
    let identity: Vec<Document> = (0..choices.below(3)).map(|_| parsed(choices, Kind::Identity)).collect();
    let session = choices.once_in(3).then(|| parsed(choices, Kind::Session));
    let bucket = choices.once_in(2).then(|| parsed(choices, Kind::Bucket(BUCKET)));
    let compiled = [
        (!identity.is_empty()).then(|| Policy::merge(&identity)),
        session.as_ref().map(Policy::compile),
        bucket.as_ref().map(Policy::compile),
    ];
    Policies { texts, identity, session, bucket, compiled }
}

/// Decides both ways. The statement that the decision names must apply in the oracle's eyes, too.
fn agree(policies: &Policies, world: &World) -> Result<Answer, String> {
    let context = world.context();
    let request =
        Request { action: world.action, bucket: world.bucket, key: world.key.as_bytes(), context: &context };
    let [identity, session, bucket] = &policies.compiled;
    let of_bucket = (world.bucket == BUCKET).then_some(());
    let bucket_policy = of_bucket.and(bucket.as_ref());
    let decision = decide(identity.as_ref(), session.as_ref(), bucket_policy, world.user.is_none(), &request);

    let facts = world.facts();
    let who = world.user.map(|_| Who {
        account: ACCOUNT,
        user_arn: &world.arn,
        session_arn: world.session.then_some(&world.session_arn),
        unique_id: UNIQUE_ID,
    });
    let question =
        Question { action: world.action, bucket: world.bucket, key: world.key, who, facts: &facts };
    let identity: Vec<&Document> = policies.identity.iter().collect();
    let bucket = of_bucket.and(policies.bucket.as_ref());
    let expected = oracle::answer(&identity, policies.session.as_ref(), bucket, &question);

    let (found, by) = match decision {
        Decision::Allow { by } => (Answer::Allow, Some(by)),
        Decision::ExplicitDeny { by } => (Answer::ExplicitDeny, Some(by)),
        Decision::ImplicitDeny => (Answer::ImplicitDeny, None),
    };
    let named_applies = by.is_none_or(|by| {
        let document = match by.layer {
            Layer::Identity => identity.get(by.document).copied(),
            Layer::Session => policies.session.as_ref(),
            Layer::Bucket => bucket,
            Layer::Trust => None,
        };
        document.is_some_and(|document| {
            let statement = &document.statements[by.statement];
            let effect = if found == Answer::Allow { Effect::Allow } else { Effect::Deny };
            statement.effect == effect && oracle::applies(statement, document.version, &question)
        })
    });
    if found == expected && named_applies {
        return Ok(found);
    }
    Err(format!("{decision:?}, but the oracle says {expected:?}\n{}\n{world:#?}", policies.texts.join("\n")))
}

/// Policies and a request from `data`, decided both ways. For the fuzzer only: what it needs is not in the server.
#[doc(hidden)]
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    let mut choices = FromBytes(data);
    let policies = policies(&mut choices);
    for _ in 0..4 {
        let world = world(&mut choices);
        agree(&policies, &world).unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[cfg(test)]
proptest! {
    #[test]
    fn decisions_agree_with_the_oracle(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        let mut choices = FromBytes(&bytes);
        let policies = policies(&mut choices);
        let world = world(&mut choices);
        prop_assert!(agree(&policies, &world).is_ok(), "{}", agree(&policies, &world).unwrap_err());
    }
}

/// A million decisions, and each of the three answers often enough that the agreement says something.
#[test]
fn a_million_decisions_agree_with_the_oracle() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut counts = [0_usize; 3];
    let decisions = decisions();
    for _ in 0..decisions / REQUESTS_PER_POLICY {
        let policies = policies(&mut random);
        for _ in 0..REQUESTS_PER_POLICY {
            let answer =
                agree(&policies, &world(&mut random)).unwrap_or_else(|difference| panic!("{difference}"));
            counts[answer as usize] += 1;
        }
    }
    assert_eq!(counts.iter().sum::<usize>(), decisions);
    assert!(counts.iter().all(|&count| count > decisions / 20), "{counts:?}");
}

#[cfg(test)]
const REQUESTS_PER_POLICY: usize = 50;
/// Debug builds are some ten times slower. Whoever has the time sets the number: `tests/run` does.
#[cfg(test)]
fn decisions() -> usize {
    let asked = std::env::var("SLUICEGATE_TEST_DECISIONS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 100_000 } else { 1_000_000 })
}
