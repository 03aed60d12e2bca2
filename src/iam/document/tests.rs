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
    trust(r#""Principal":{"Federated":"arn:aws:iam:::oidc-provider/x"},"Action":"sts:AssumeRole*""#, None);
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
        let path = if path.is_empty() { "Statement[0]".to_owned() } else { format!("Statement[0].{path}") };
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
    identity(&format!(r#"{{"Statement":[{{"Effect":"allow",{good}}}]}}"#), "Statement[0].Effect", "allow");
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
    condition(r#"{"StringLike":{"s3:prefixes":"a"}}"#, ".StringLike.s3:prefixes", "no such condition key");
    condition(r#"{"StringLike":{"s3:prefix":[]}}"#, ".StringLike.s3:prefix", "empty");
    condition(r#"{"StringLike":{"s3:prefix":{}}}"#, ".StringLike.s3:prefix", "an object");
    condition(r#"{"StringLike":{"s3:prefix":"${"}}"#, ".StringLike.s3:prefix", "not closed");
    condition(r#"{"Bool":{"s3:max-keys":"true"}}"#, ".Bool.s3:max-keys", "never matches");
    condition(r#"{"IpAddress":{"aws:SourceIp":["10.0.0.0/99"]}}"#, ".IpAddress.aws:SourceIp", "10.0.0.0/99");
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
    for resource in
        ["*", "arn:aws:s3:::music/*", "arn:aws:s3:::photos2", "arn:aws:s3:::phot*", "arn:aws:s3:::*"]
    {
        let part = everyone(&format!(r#""Action":"s3:GetObject","Resource":"{resource}""#));
        check(&part, "Resource[0]", "not in the bucket");
    }
    for (action, resource) in [
        ("s3:GetObject", "photos"),
        ("s3:ListBucket", "photos/*"),
        ("s3:ListAllMyBuckets", "photos"),
        ("sts:AssumeRole", "photos/*"),
    ] {
        let part = everyone(&format!(r#""Action":["s3:*","{action}"],"Resource":"arn:aws:s3:::{resource}""#));
        check(&part, "Action[1]", "does not apply");
    }
    let lonely = r#"{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::1:user/a"},
        "Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}}"#;
    let error = Document::parse(lonely.as_bytes(), Kind::Bucket("photos")).expect_err("no account");
    assert!(error.fix.contains("arn:aws:iam::1:root"), "{error}");
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
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (at, with) = ((seed >> 33) as usize % bytes.len(), (seed >> 20) as usize % bytes.len());
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
