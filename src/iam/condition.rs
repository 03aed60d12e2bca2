//! Conditions: whether one key of the request satisfies one operator of a statement.
//!
//! Several values are alternatives, a negated operator must differ from all of them, an absent key fails a positive
//! operator and satisfies a negated one; `IfExists` and the set prefixes change what an absent key means.
//!
//! Choices where AWS leaves the answer open: a key with several values and no set prefix is met if any value is, and a
//! negated operator is the opposite of the positive one; under a set prefix an empty value counts as no value.
//! Spec: AWS IAM User Guide, "Condition operators", "Multivalued context keys".

use super::context::{Context, Tag, Value};
use super::key::Key;
use super::operand::Operands;
use super::operator::{Operator, Quantifier};

/// One key under one operator, ready to be decided.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) key: Key,
    pub(super) quantifier: Quantifier,
    pub(super) negated: bool,
    pub(super) if_exists: bool,
    pub(super) operands: Operands,
}

impl Condition {
    pub(super) fn new(operator: Operator, key: Key, operands: Operands) -> Condition {
        let Operator { quantifier, negated, if_exists, .. } = operator;
        Condition { key, quantifier, negated, if_exists, operands }
    }

    /// Whether the request satisfies the condition.
    #[inline]
    pub(super) fn holds(&self, context: &Context) -> bool {
        if let Key::TagKeys(set) = &self.key {
            return match context.tags(*set) {
                [] => self.holds_absent(),
                tags => self.holds_several(tags, context),
            };
        }
        // By reference from here on: copying the value about costs more than comparing it.
        let Some(value) = &context.value(&self.key) else {
            return self.holds_absent();
        };
        let is_empty = matches!(value, Value::Text([]));
        match self.quantifier {
            Quantifier::Plain => self.operands.contain(value, context) != self.negated,
            Quantifier::ForAllValues => is_empty || self.operands.contain(value, context) != self.negated,
            Quantifier::ForAnyValue => !is_empty && self.operands.contain(value, context) != self.negated,
        }
    }

    fn holds_absent(&self) -> bool {
        if let Operands::Null(absent) = &self.operands {
            return absent.contains(&true);
        }
        self.if_exists
            || match self.quantifier {
                Quantifier::Plain => self.negated,
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => false,
            }
    }

    fn holds_several(&self, tags: &[Tag], context: &Context) -> bool {
        let mut contained =
            tags.iter().map(|(key, _)| self.operands.contain(&Value::Text(key.as_bytes()), context));
        match self.quantifier {
            Quantifier::Plain => contained.any(|contained| contained) != self.negated,
            Quantifier::ForAllValues => contained.all(|contained| contained != self.negated),
            Quantifier::ForAnyValue => contained.any(|contained| contained != self.negated),
        }
    }

    /// Every key the condition reads: its own and those of variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(self.operands.variable_keys())
    }

    /// A rough order of cost: what is cheap is tried first.
    pub(super) fn cost(&self) -> u8 {
        match &self.operands {
            Operands::Null(_) | Operands::Bool(_) => 0,
            Operands::IpAddress(_) | Operands::Numeric(..) | Operands::Date(..) => 1,
            Operands::Equals(_) | Operands::EqualsIgnoreCase(_) | Operands::Binary(_) => 2,
            Operands::Like(_) | Operands::Arn(_) => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::{AuthType, PrincipalType};
    use super::*;
    use crate::codec::dates::Timestamp;

    /// One operator, one key, its values.
    fn holds(operator: &str, key: &str, values: &[&str], context: &Context) -> bool {
        let operator = Operator::parse(operator).unwrap_or_else(|| panic!("no operator {operator}"));
        let key = Key::parse(key).unwrap_or_else(|| panic!("no key {key}"));
        assert!(operator.suits(key.key_type()), "{operator:?} {key:?}");
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        let operands = Operands::parse(operator.comparison, &values, true).expect("good values");
        Condition::new(operator, key, operands).holds(context)
    }

    /// The request that most rows are about.
    fn request() -> Context<'static> {
        Context {
            principal_type: Some(PrincipalType::AssumedRole),
            username: Some("alice"),
            principal_arn: Some("arn:aws:iam::1:user/alice"),
            now: Some(Timestamp { seconds: 1_795_478_400, nanos: 999 }),
            token_issue_time: Some(Timestamp::from_seconds(1_795_470_000)),
            source_ip: Some([10, 0, 0, 7].into()),
            secure_transport: Some(true),
            tls_version: Some("1.2"),
            auth_type: Some(AuthType::Query),
            signature_age_ms: Some(600_000),
            prefix: Some(b"home/alice/"),
            delimiter: Some(b""),
            max_keys: Some(10),
            existing_object_tags: &[("dept", "it")],
            request_object_tags: &[("dept", "it"), ("team", "x")],
            ..Context::default()
        }
    }

    #[test]
    fn each_operator() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, &[&str], bool)] = &[
            ("StringEquals", "aws:username", &["bob", "alice"], true),
            ("StringEquals", "aws:username", &["Alice"], false),
            ("StringEquals", "aws:username", &["al*"], false),
            ("StringEquals", "aws:username", &["${aws:username}"], true),
            ("StringEquals", "AWS:UserName", &["alice"], true),
            ("StringEquals", "s3:ExistingObjectTag/dept", &["it"], true),
            ("StringEquals", "s3:delimiter", &[""], true),
            ("StringEquals", "aws:SourceIp", &["10.0.0.7"], true),
            ("StringEquals", "s3:authType", &["REST-QUERY-STRING"], true),
            ("StringNotEquals", "aws:username", &["bob", "carol"], true),
            ("StringNotEquals", "aws:username", &["bob", "alice"], false),
            ("StringEqualsIgnoreCase", "aws:username", &["ALICE"], true),
            ("StringEqualsIgnoreCase", "aws:username", &["${aws:PrincipalType}"], false),
            ("StringNotEqualsIgnoreCase", "aws:username", &["ALICE"], false),
            ("StringLike", "s3:prefix", &["home/${aws:username}/*"], true),
            ("StringLike", "s3:prefix", &["home/bob/*", "h?me/*"], true),
            ("StringLike", "s3:prefix", &["${*}"], false),
            ("StringNotLike", "s3:prefix", &["home/*"], false),
            ("StringNotLike", "s3:prefix", &["home"], true),
            ("NumericEquals", "s3:max-keys", &["10.0"], true),
            ("NumericEquals", "s3:max-keys", &["1", "10"], true),
            ("NumericNotEquals", "s3:max-keys", &["1", "10"], false),
            ("NumericNotEquals", "s3:max-keys", &["1", "9"], true),
            ("NumericLessThan", "s3:max-keys", &["10"], false),
            ("NumericLessThan", "s3:max-keys", &["10.5"], true),
            ("NumericLessThanEquals", "s3:max-keys", &["10"], true),
            ("NumericGreaterThan", "s3:signatureAge", &["600000"], false),
            ("NumericGreaterThan", "s3:signatureAge", &["599999"], true),
            ("NumericGreaterThanEquals", "s3:signatureAge", &["600000"], true),
            ("NumericLessThan", "s3:TlsVersion", &["1.3"], true),
            ("NumericLessThan", "s3:TlsVersion", &["1.2"], false),
            ("NumericEquals", "aws:EpochTime", &["1795478400"], true),
            ("NumericEquals", "s3:ExistingObjectTag/dept", &["0"], false),
            ("NumericNotEquals", "s3:ExistingObjectTag/dept", &["0"], true),
            ("DateEquals", "aws:CurrentTime", &["2026-11-24T00:00:00Z"], true),
            ("DateEquals", "aws:CurrentTime", &["1795478400"], true),
            ("DateEquals", "aws:EpochTime", &["2026-11-24"], true),
            ("DateNotEquals", "aws:CurrentTime", &["2026-11-24T00:00:00Z"], false),
            ("DateLessThan", "aws:CurrentTime", &["2026-11-24T00:00:00Z"], false),
            ("DateLessThanEquals", "aws:CurrentTime", &["2026-11-24T00:00:00Z"], true),
            ("DateGreaterThan", "aws:CurrentTime", &["2026-11-24T01:00:00+02:00"], true),
            ("DateGreaterThanEquals", "aws:TokenIssueTime", &["2026-11-24T00:00:00Z"], false),
            ("Bool", "aws:SecureTransport", &["true"], true),
            ("Bool", "aws:SecureTransport", &["False"], false),
            ("Bool", "aws:MultiFactorAuthPresent", &["false"], true),
            ("Bool", "aws:ViaAWSService", &["false"], true),
            ("Bool", "aws:username", &["false"], false),
            ("BinaryEquals", "aws:username", &["YWxpY2U="], true),
            ("BinaryEquals", "aws:username", &["Ym9i"], false),
            ("IpAddress", "aws:SourceIp", &["192.0.2.0/24", "10.0.0.0/8"], true),
            ("IpAddress", "aws:SourceIp", &["192.0.2.0/24", "2001:db8::/32"], false),
            ("NotIpAddress", "aws:SourceIp", &["192.0.2.0/24", "10.0.0.0/8"], false),
            ("NotIpAddress", "aws:SourceIp", &["192.0.2.0/24"], true),
            ("ArnEquals", "aws:PrincipalArn", &["arn:aws:iam::1:user/al*"], true),
            ("ArnLike", "aws:PrincipalArn", &["arn:aws:iam::*:user/${aws:username}"], true),
            ("ArnNotEquals", "aws:PrincipalArn", &["arn:aws:iam::1:user/al*"], false),
            ("ArnNotLike", "aws:PrincipalArn", &["arn:aws:iam::1:role/*"], true),
            ("ArnLike", "s3:prefix", &["arn:*:*:*:*:*"], false),
            ("Null", "aws:username", &["false"], true),
            ("Null", "aws:username", &["true"], false),
            ("Null", "s3:delimiter", &["false"], true),
            ("Null", "s3:RequestObjectTagKeys", &["false"], true),
        ];
        for (operator, key, values, expected) in rows {
            let found = holds(operator, key, values, &request());
            assert_eq!(found, *expected, "{operator} {key} {values:?}");
            if *operator != "Null" {
                let with_suffix = holds(&format!("{operator}IfExists"), key, values, &request());
                assert_eq!(with_suffix, *expected, "{operator}IfExists {key} {values:?}");
            }
        }
    }

    #[test]
    fn absent_keys() {
        #[rustfmt::skip]
        let operators: &[(&str, &str, &str)] = &[
            ("StringEquals", "aws:username", "alice"), ("StringEqualsIgnoreCase", "aws:username", "alice"),
            ("StringLike", "aws:username", "*"), ("NumericEquals", "s3:max-keys", "1"),
            ("NumericLessThan", "s3:max-keys", "1"), ("NumericGreaterThanEquals", "s3:max-keys", "1"),
            ("DateEquals", "aws:CurrentTime", "0"), ("DateGreaterThan", "aws:CurrentTime", "0"),
            ("Bool", "aws:SecureTransport", "false"), ("BinaryEquals", "aws:username", "YQ=="),
            ("IpAddress", "aws:SourceIp", "0.0.0.0/0"), ("ArnLike", "aws:PrincipalArn", "arn:*:*:*:*:*"),
            ("StringLike", "s3:RequestObjectTagKeys", "*"), ("StringLike", "aws:SourceVpce", "*"),
            ("StringLike", "s3:ExistingObjectTag/x", "*"),
        ];
        let nothing = Context::default();
        for (operator, key, value) in operators {
            let check = |operator: String, expected| {
                assert_eq!(holds(&operator, key, &[value], &nothing), expected, "{operator} {key}");
            };
            check((*operator).to_owned(), false);
            check(format!("{operator}IfExists"), true);
            check(format!("ForAllValues:{operator}"), true);
            check(format!("ForAnyValue:{operator}"), false);
            check(format!("ForAnyValue:{operator}IfExists"), true);
        }
        for negated in ["StringNotEquals", "StringNotLike", "StringNotEqualsIgnoreCase"] {
            assert!(holds(negated, "aws:username", &["alice"], &nothing));
            assert!(!holds(&format!("ForAnyValue:{negated}"), "aws:username", &["alice"], &nothing));
        }
        assert!(holds("NotIpAddress", "aws:SourceIp", &["0.0.0.0/0"], &nothing));
        assert!(holds("NumericNotEquals", "s3:max-keys", &["1"], &nothing));
        assert!(holds("DateNotEquals", "aws:CurrentTime", &["0"], &nothing));
        assert!(holds("ArnNotLike", "aws:PrincipalArn", &["arn:*:*:*:*:*"], &nothing));
        assert!(!holds("StringEquals", "s3:ExistingObjectTag/Dept", &["it"], &request()));
        assert!(holds("Null", "aws:username", &["true"], &nothing));
        assert!(!holds("Null", "aws:username", &["false"], &nothing));
        assert!(holds("Null", "s3:RequestObjectTagKeys", &["true"], &nothing));
    }

    #[test]
    fn several_values() {
        let check = |operator: &str, values: &[&str], expected: bool| {
            let found = holds(operator, "s3:RequestObjectTagKeys", values, &request());
            assert_eq!(found, expected, "{operator} {values:?}");
        };
        // The request has the keys dept and team.
        check("ForAllValues:StringEquals", &["dept", "team", "cost"], true);
        check("ForAllValues:StringEquals", &["dept"], false);
        check("ForAnyValue:StringEquals", &["dept"], true);
        check("ForAnyValue:StringEquals", &["cost"], false);
        check("ForAllValues:StringNotEquals", &["cost"], true);
        check("ForAllValues:StringNotEquals", &["dept"], false);
        check("ForAnyValue:StringNotEquals", &["dept"], true);
        check("ForAnyValue:StringNotEquals", &["dept", "team"], false);
        check("StringEquals", &["dept"], true);
        check("StringNotEquals", &["dept"], false);
        check("StringNotEquals", &["cost"], true);
    }

    #[test]
    fn an_empty_value_is_none_to_a_set_operator() {
        let check = |operator: &str, expected: bool| {
            assert_eq!(holds(operator, "s3:delimiter", &[""], &request()), expected, "{operator}");
        };
        check("StringEquals", true);
        check("ForAnyValue:StringEquals", false);
        check("ForAllValues:StringEquals", true);
        check("ForAllValues:StringNotEquals", true);
        check("ForAnyValue:StringNotEquals", false);
    }

    #[test]
    fn a_variable_without_a_value_matches_nothing() {
        let nothing = Context { prefix: Some(b"x"), ..Context::default() };
        assert!(!holds("StringEquals", "s3:prefix", &["${aws:username}"], &nothing));
        assert!(!holds("StringLike", "s3:prefix", &["*${aws:username}*"], &nothing));
        assert!(holds("StringLike", "s3:prefix", &["${aws:username}", "x"], &nothing));
        assert!(holds("StringNotEquals", "s3:prefix", &["${aws:username}"], &nothing));
        assert!(holds("StringNotLike", "s3:prefix", &["${aws:username}*"], &nothing));
    }
}
