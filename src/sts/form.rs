//! The calls: a form body of the AWS query protocol, read strictly into one [`Call`].
//!
//! A parameter that is given twice is refused, so that two readers of one call cannot disagree on it. Parameters that
//! would limit a session and are not understood here (`PolicyArns`) are refused as well: to leave them out would give
//! more than was asked for. What names roles, tags and devices that this server does not have (`RoleArn`,
//! `ExternalId`, `Tags`, `SerialNumber`, `TokenCode`, `SourceIdentity`, …) is ignored, as with WEKA S3 and MinIO.
//!
//! Spec: AWS STS API reference, AssumeRole, GetSessionToken, GetCallerIdentity; WHATWG
//! `application/x-www-form-urlencoded`.

use super::refusal::{Code, Refusal};
use super::token::SESSION_NAME_BYTES_MAX;
use crate::codec::percent;
use crate::iam::POLICY_BYTES_MAX;

/// Shortest life of a session in seconds: 15 minutes.
pub const DURATION_SECONDS_MIN: u32 = 900;
/// Longest life of a session in seconds: a week (WEKA; AWS ends at 12 hours).
pub const DURATION_SECONDS_MAX: u32 = 7 * 24 * 3600;
/// Life of an AssumeRole session that asks for none.
pub const ASSUME_ROLE_SECONDS: u32 = 3600;
/// Life of a GetSessionToken session that asks for none.
pub const SESSION_TOKEN_SECONDS: u32 = 12 * 3600;
/// Name of a session that asks for none. AWS requires one; clients of MinIO send none.
pub const SESSION_NAME: &str = "session";

/// A call, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Credentials of a session, limited further if the call says so.
    AssumeRole(Wanted),
    /// Credentials of a session that is the user itself.
    GetSessionToken(Wanted),
    /// Who signed the call.
    GetCallerIdentity,
}

/// The session that a call asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// `RoleSessionName`; empty for GetSessionToken.
    pub session_name: String,
    /// `DurationSeconds`, within the bounds.
    pub duration_seconds: u32,
    /// `Policy`, at most [`POLICY_BYTES_MAX`], not parsed yet.
    pub policy: Option<String>,
}

impl Call {
    /// The name as AWS spells it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AssumeRole(_) => "AssumeRole",
            Self::GetSessionToken(_) => "GetSessionToken",
            Self::GetCallerIdentity => "GetCallerIdentity",
        }
    }

    /// Reads a form body.
    ///
    /// # Errors
    /// The first thing found wrong, with the code that AWS has for it.
    pub fn parse(body: &[u8]) -> Result<Call, Refusal> {
        let form = Form::parse(body)?;
        let action = form
            .value("Action")
            .ok_or_else(|| Code::MissingAction.because("The request must contain the parameter Action."))?;
        match form.value("Version") {
            Some(VERSION) => {}
            None => {
                return Err(Code::MissingParameter
                    .because(format!("The request must contain the parameter Version, {VERSION}.")));
            }
            Some(version) => {
                return Err(Code::InvalidAction.because(format!(
                    "Could not find operation {action} for version {version}; this server has {VERSION}."
                )));
            }
        }
        match action {
            "AssumeRole" => form.assume_role().map(Call::AssumeRole),
            "GetSessionToken" => Ok(Call::GetSessionToken(Wanted {
                session_name: String::new(),
                duration_seconds: form.duration(SESSION_TOKEN_SECONDS)?,
                policy: None,
            })),
            "GetCallerIdentity" => Ok(Call::GetCallerIdentity),
            _ => Err(Code::InvalidAction.because(format!(
                "Could not find operation {action} for version {VERSION}. This server has AssumeRole, GetSessionToken \
                 and GetCallerIdentity."
            ))),
        }
    }
}

/// The parameters, decoded; no name twice.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Result<Form, Refusal> {
        let malformed =
            |problem: &str| Code::MalformedQueryString.because(format!("The form body {problem}."));
        let text = |bytes: &[u8]| {
            let decoded =
                percent::decode_query(bytes).map_err(|error| malformed(&format!("is malformed: {error}")))?;
            String::from_utf8(decoded.into_owned()).map_err(|_| malformed("is not UTF-8"))
        };
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(malformed(&format!("has more than {PARAMETERS_MAX} parameters")));
            }
            let equals = memchr::memchr(b'=', piece).unwrap_or(piece.len());
            let value = piece.get(equals + 1..).unwrap_or_default();
            let (name, value) = (text(&piece[..equals])?, text(value)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(malformed(&format!("has the parameter {name} more than once")));
            }
            pairs.push((name, value));
        }
        Ok(Form(pairs))
    }

    /// The value of a parameter; an empty one counts as absent.
    fn value(&self, name: &str) -> Option<&str> {
        self.value_as_sent(name).filter(|value| !value.is_empty())
    }

    fn value_as_sent(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    fn assume_role(&self) -> Result<Wanted, Refusal> {
        if self.0.iter().any(|(name, _)| name.starts_with("PolicyArns.")) {
            return Err(Code::ValidationError
                .because("PolicyArns is not supported by this server. Send the document itself as Policy."));
        }
        // An empty policy is one that cannot be parsed, not the wish for none: a file that failed to be written must not
        // give more than it was to give.
        let policy = self.value_as_sent("Policy");
        if let Some(policy) = policy.filter(|policy| policy.len() > POLICY_BYTES_MAX) {
            return Err(Code::PackedPolicyTooLarge.because(format!(
                "The session policy has {} bytes, and the limit is {POLICY_BYTES_MAX}. Shorten it; white space counts.",
                policy.len()
            )));
        }
        Ok(Wanted {
            session_name: self.session_name()?,
            duration_seconds: self.duration(ASSUME_ROLE_SECONDS)?,
            policy: policy.map(str::to_owned),
        })
    }

    fn session_name(&self) -> Result<String, Refusal> {
        let Some(name) = self.value("RoleSessionName") else { return Ok(SESSION_NAME.to_owned()) };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if (2..=SESSION_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal) {
            return Ok(name.to_owned());
        }
        Err(Code::ValidationError.because(
            "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must have 2 to \
             64 characters and satisfy regular expression pattern: [\\w+=,.@-]*",
        ))
    }

    fn duration(&self, default: u32) -> Result<u32, Refusal> {
        let Some(text) = self.value("DurationSeconds") else { return Ok(default) };
        let invalid = |constraint: String| {
            Code::ValidationError.because(format!(
                "1 validation error detected: Value '{}' at 'durationSeconds' failed to satisfy constraint: Member must \
                 {constraint}",
                text.chars().take(SHOWN_CHARS_MAX).collect::<String>()
            ))
        };
        let seconds = match text.parse::<u64>() {
            Ok(seconds) if text.bytes().all(|byte| byte.is_ascii_digit()) => seconds,
            _ => return Err(invalid("be a number of seconds".to_owned())),
        };
        if seconds < DURATION_SECONDS_MIN.into() {
            return Err(invalid(format!("have value greater than or equal to {DURATION_SECONDS_MIN}")));
        }
        match u32::try_from(seconds) {
            Ok(seconds) if seconds <= DURATION_SECONDS_MAX => Ok(seconds),
            _ => Err(invalid(format!("have value less than or equal to {DURATION_SECONDS_MAX}"))),
        }
    }
}

/// The version of the API.
pub const VERSION: &str = "2011-06-15";
/// 50 tags with key and value, 50 transitive keys and all single parameters stay below it.
const PARAMETERS_MAX: usize = 256;
const SHOWN_CHARS_MAX: usize = 32;

/// Reads `data` as a form. Nothing may panic, and what is read must be within the bounds.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let body = [b"Action=AssumeRole&Version=2011-06-15&".as_slice(), data].concat();
    for body in [data, &body] {
        match Call::parse(body) {
            Ok(Call::AssumeRole(wanted) | Call::GetSessionToken(wanted)) => {
                assert!((DURATION_SECONDS_MIN..=DURATION_SECONDS_MAX).contains(&wanted.duration_seconds));
                assert!(wanted.session_name.len() <= SESSION_NAME_BYTES_MAX);
                assert!(wanted.policy.is_none_or(|policy| policy.len() <= POLICY_BYTES_MAX));
            }
            Ok(Call::GetCallerIdentity) => {}
            Err(refusal) => assert!(!refusal.message.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(rest: &str) -> Result<Call, Refusal> {
        Call::parse(format!("Action=AssumeRole&Version=2011-06-15{rest}").as_bytes())
    }

    #[test]
    fn the_call_of_boto3() {
        let body = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Ax%3Aignored%3Aby%3Aweka-s3%3A\
                    &RoleSessionName=ignored-by-weka-s3&Policy=%7B%22a+b%22%3A%2B%7D&DurationSeconds=900";
        let wanted = Wanted {
            session_name: "ignored-by-weka-s3".into(),
            duration_seconds: 900,
            policy: Some("{\"a b\":+}".into()),
        };
        assert_eq!(Call::parse(body.as_bytes()), Ok(Call::AssumeRole(wanted)));
    }

    #[test]
    fn defaults() {
        let wanted = Wanted { session_name: "session".into(), duration_seconds: 3600, policy: None };
        assert_eq!(parse(""), Ok(Call::AssumeRole(wanted.clone())));
        assert_eq!(parse("&DurationSeconds=&RoleSessionName"), Ok(Call::AssumeRole(wanted.clone())));
        let empty = Wanted { policy: Some(String::new()), ..wanted };
        assert_eq!(parse("&Policy="), Ok(Call::AssumeRole(empty)));
        let wanted = Wanted { session_name: String::new(), duration_seconds: 43200, policy: None };
        let body = b"Version=2011-06-15&Action=GetSessionToken";
        assert_eq!(Call::parse(body), Ok(Call::GetSessionToken(wanted)));
        assert_eq!(Call::parse(b"Version=2011-06-15&Action=GetCallerIdentity&"), Ok(Call::GetCallerIdentity));
    }

    #[test]
    fn bounds_of_the_duration() {
        let check = |text: &str, expected: Option<u32>| {
            for action in ["AssumeRole", "GetSessionToken"] {
                let body = format!("Action={action}&Version=2011-06-15&DurationSeconds={text}");
                match (Call::parse(body.as_bytes()), expected) {
                    (Ok(Call::AssumeRole(wanted) | Call::GetSessionToken(wanted)), Some(expected)) => {
                        assert_eq!(wanted.duration_seconds, expected);
                    }
                    (Err(refusal), None) => assert_eq!(refusal.code, Code::ValidationError, "{text}"),
                    (other, _) => panic!("{text}: {other:?}"),
                }
            }
        };
        check("899", None);
        check("900", Some(900));
        check("604800", Some(604_800));
        check("604801", None);
        check("4294967296", None);
        check("99999999999999999999999", None);
        check("-900", None);
        check("%2B900", None);
        check("900.0", None);
        check("1h", None);
    }

    #[test]
    fn refusals() {
        let check = |body: &str, code: Code| {
            assert_eq!(Call::parse(body.as_bytes()).map_err(|refusal| refusal.code), Err(code), "{body}");
        };
        check("", Code::MissingAction);
        check("Version=2011-06-15", Code::MissingAction);
        check("Action=AssumeRole", Code::MissingParameter);
        check("Action=AssumeRole&Version=2010-05-08", Code::InvalidAction);
        check("Action=AssumeRoleWithSAML&Version=2011-06-15", Code::InvalidAction);
        check("Action=assumerole&Version=2011-06-15", Code::InvalidAction);
        let with = |rest: &str| format!("Action=AssumeRole&Version=2011-06-15&{rest}");
        check(&with("Action=GetCallerIdentity"), Code::MalformedQueryString);
        check(&with("Policy=%7B%7D&Policy=%7B%7D"), Code::MalformedQueryString);
        check(&with("%50olicy=1&Policy=2"), Code::MalformedQueryString);
        check(&with("Policy=%zz"), Code::MalformedQueryString);
        check(&with("Policy=%ff"), Code::MalformedQueryString);
        check(&with(&(0..300).map(|n| format!("p{n}=&")).collect::<String>()), Code::MalformedQueryString);
        check(&with("PolicyArns.member.1.arn=arn:aws:iam::aws:policy/x"), Code::ValidationError);
        for name in ["x", &"x".repeat(65), "a%20b", "a/b", "a:b", "a*b", "%C3%A4%C3%A4"] {
            check(&with(&format!("RoleSessionName={name}")), Code::ValidationError);
        }
        check(&with(&format!("Policy={}", "x".repeat(2049))), Code::PackedPolicyTooLarge);
        assert!(parse(&format!("&Policy={}", "x".repeat(2048))).is_ok());
        assert!(parse(&format!("&RoleSessionName={}", "x".repeat(64))).is_ok());
        assert!(parse("&RoleSessionName=a%2B%3D,.@-_").is_ok());
    }

    #[test]
    fn what_this_server_does_not_have_is_ignored() {
        let call = parse(
            "&ExternalId=x&SerialNumber=y&TokenCode=123456&Tags.member.1.Key=k&Tags.member.1.Value=v\
             &TransitiveTagKeys.member.1=k&SourceIdentity=z&TokenRevokeType=r",
        );
        assert_eq!(call, parse(""));
    }

    #[test]
    fn fuzz_finds_nothing_in_a_corpus() {
        for data in ["", "&&&", "=", "=&=", "%", "Policy", "DurationSeconds=900", "RoleSessionName=%00%00"] {
            fuzz(data.as_bytes());
        }
        fuzz(b"\xff\xfe=\x80");
    }

    proptest! {
        #[test]
        fn fuzz_finds_nothing(data in proptest::collection::vec(any::<u8>(), 0..200), text in "[A-Za-z.=&%+0-9]{0,200}") {
            fuzz(&data);
            fuzz(text.as_bytes());
        }
    }
}
