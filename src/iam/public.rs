//! Whether a bucket policy opens the bucket to the public, as GetBucketPolicyStatus tells it.
//!
//! It does, if a statement allows everybody something and no condition ties it to fixed callers. This says nothing about
//! a single request: only [`decide()`](super::decide()) does. Spec: Amazon S3 User Guide, "Blocking public access", the
//! meaning of "public".

use super::caller::Caller;
use super::condition::Condition;
use super::document::{Clause, Document, Effect};
use super::operand::Operands;
use super::operator::Quantifier;

impl Document {
    /// Whether this bucket policy is public.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            let everyone = statement
                .callers
                .as_ref()
                .is_some_and(|callers| callers.negated || callers.list.contains(&Caller::Everyone));
            statement.effect == Effect::Allow && everyone && !statement.conditions.iter().any(is_fixing)
        })
    }
}

/// Whether the condition admits only callers that are known beforehand: the request must have the key, with one of
/// values that hold neither wildcards nor variables.
fn is_fixing(clause: &Clause) -> bool {
    let Condition { quantifier, negated, if_exists, operands, .. } = &clause.condition;
    if *negated || *if_exists || *quantifier == Quantifier::ForAllValues {
        return false;
    }
    let is_key = |known: &&str| known.eq_ignore_ascii_case(&clause.key_name);
    match operands {
        Operands::IpAddress(networks) => {
            is_key(&"aws:SourceIp") && !networks.iter().any(|network| network.is_wide())
        }
        Operands::Equals(_) | Operands::EqualsIgnoreCase(_) | Operands::Like(_) | Operands::Arn(_) => {
            let fixed = |value: &String| !value.contains(['*', '?']) && !value.contains("${");
            FIXING_KEYS.iter().any(is_key) && clause.values.iter().all(fixed)
        }
        Operands::Numeric(..)
        | Operands::Date(..)
        | Operands::Bool(_)
        | Operands::Binary(_)
        | Operands::Null(_) => false,
    }
}

/// Keys whose fixed values make a statement not public. The names of users, which AWS leaves out because others could
/// have the same there, belong to the one account here.
const FIXING_KEYS: [&str; 14] = [
    "aws:PrincipalArn",
    "aws:PrincipalAccount",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceOrgID",
    "aws:SourceOrgPaths",
    "aws:SourceVpc",
    "aws:SourceVpce",
    "aws:userid",
    "s3:DataAccessPointAccount",
    "s3:DataAccessPointArn",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn statements() {
        fn check(effect: &str, principal: &str, condition: &str, expected: bool) {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Principal":{principal},"Action":"s3:GetObject",
                "Resource":"arn:aws:s3:::photos/*","Condition":{condition}}}}}"#
            );
            let document = Document::parse(text.as_bytes(), Kind::Bucket("photos")).expect("a valid policy");
            assert_eq!(document.is_public(), expected, "{text}");
        }
        let everyone = r#""*""#;
        check("Allow", everyone, "{}", true);
        check("Allow", r#"{"AWS":["1","*"]}"#, "{}", true);
        check("Allow", r#"{"AWS":"arn:aws:iam::000000000000:user/bob"}"#, "{}", false);
        check("Deny", everyone, "{}", false);
        let with = |condition: &str, expected| check("Allow", everyone, condition, expected);
        with(r#"{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#, false);
        with(r#"{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","0.0.0.0/1"]}}"#, true);
        with(r#"{"IpAddress":{"aws:SourceIp":"8.0.0.0/7"}}"#, true);
        with(r#"{"IpAddress":{"aws:SourceIp":"11.0.0.0/8"}}"#, false);
        with(r#"{"IpAddress":{"aws:SourceIp":"2001:db8::/31"}}"#, true);
        with(r#"{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}"#, false);
        with(r#"{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#, true);
        with(r#"{"IpAddressIfExists":{"aws:SourceIp":"192.0.2.0/24"}}"#, true);
        with(r#"{"StringEquals":{"aws:SourceVpc":"vpc-91237329"}}"#, false);
        with(r#"{"StringLike":{"aws:SourceVpc":"vpc-*"}}"#, true);
        with(r#"{"StringLike":{"aws:SourceVpc":"vpc-91237329"}}"#, false);
        with(r#"{"StringEquals":{"aws:userid":"${aws:username}"}}"#, true);
        with(r#"{"StringEquals":{"s3:prefix":"public/"}}"#, true);
        with(r#"{"Bool":{"aws:SecureTransport":true}}"#, true);
        with(r#"{"ForAllValues:StringEquals":{"aws:SourceVpc":"vpc-91237329"}}"#, true);
    }
}
