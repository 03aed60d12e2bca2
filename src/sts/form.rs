//! The calls: a form body of the AWS query protocol, read strictly into one [`Call`].
//!
//! Parameters that would limit a session and are not understood here (`PolicyArns`) are refused: to leave them out would
//! give more than was asked for. What names tags and devices that this server does not have (`Tags`, `SerialNumber`,
//! `TokenCode`, `SourceIdentity`, …) is ignored, as with WEKA S3 and MinIO.
//!
//! Spec: AWS STS API reference, AssumeRole, GetSessionToken, GetCallerIdentity; WHATWG
//! `application/x-www-form-urlencoded`.

use super::token::SESSION_NAME_BYTES_MAX;
use crate::iam::POLICY_BYTES_MAX;
use crate::query_api::{Code, Form, Refusal};

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
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Wanted {
    /// `RoleSessionName`; empty for GetSessionToken.
    pub session_name: String,
    /// `DurationSeconds`, within the bounds.
    pub duration_seconds: u32,
    /// `Policy`, at most [`POLICY_BYTES_MAX`], not parsed yet.
    pub policy: Option<String>,
    /// `RoleArn` as sent. It names a role of this server, or is none and ignored.
    pub role_arn: Option<String>,
    /// `ExternalId` as sent, for the conditions of a role's trust policy.
    pub external_id: Option<String>,
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
        let action = form.action(VERSION)?;
        match action {
            "AssumeRole" => assume_role(&form).map(Call::AssumeRole),
            "GetSessionToken" => Ok(Call::GetSessionToken(Wanted {
                duration_seconds: duration(&form, SESSION_TOKEN_SECONDS)?,
                ..Wanted::default()
            })),
            "GetCallerIdentity" => Ok(Call::GetCallerIdentity),
            _ => Err(Code::InvalidAction.because(format!(
                "Could not find operation {action} for version {VERSION}. This server has AssumeRole, GetSessionToken \
                 and GetCallerIdentity."
            ))),
        }
    }
}

fn assume_role(form: &Form) -> Result<Wanted, Refusal> {
    if form.has_members("PolicyArns") {
        return Err(Code::ValidationError
            .because("PolicyArns is not supported by this server. Send the document itself as Policy."));
    }
    // An empty policy is one that cannot be parsed, not the wish for none: a file that failed to be written must not
    // give more than it was to give.
    let policy = form.value_as_sent("Policy");
    if let Some(policy) = policy.filter(|policy| policy.len() > POLICY_BYTES_MAX) {
        return Err(Code::PackedPolicyTooLarge.because(format!(
            "The session policy has {} bytes, and the limit is {POLICY_BYTES_MAX}. Shorten it; white space counts.",
            policy.len()
        )));
    }
    Ok(Wanted {
        session_name: session_name(form)?,
        duration_seconds: duration(form, ASSUME_ROLE_SECONDS)?,
        policy: policy.map(str::to_owned),
        role_arn: form.value("RoleArn").map(str::to_owned),
        external_id: form.value("ExternalId").map(str::to_owned),
    })
}

fn session_name(form: &Form) -> Result<String, Refusal> {
    let Some(name) = form.value("RoleSessionName") else { return Ok(SESSION_NAME.to_owned()) };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if (2..=SESSION_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(name.to_owned());
    }
    Err(Code::ValidationError.because(
        "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must have 2 to \
         64 characters and satisfy regular expression pattern: [\\w+=,.@-]*",
    ))
}

fn duration(form: &Form, default: u32) -> Result<u32, Refusal> {
    let Some(text) = form.value("DurationSeconds") else { return Ok(default) };
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

/// The version of the API.
pub const VERSION: &str = "2011-06-15";
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
            role_arn: Some("arn:x:ignored:by:weka-s3:".into()),
            external_id: None,
        };
        assert_eq!(Call::parse(body.as_bytes()), Ok(Call::AssumeRole(wanted)));
    }

    #[test]
    fn defaults() {
        let wanted = Wanted { session_name: "session".into(), duration_seconds: 3600, ..Wanted::default() };
        assert_eq!(parse(""), Ok(Call::AssumeRole(wanted.clone())));
        assert_eq!(parse("&DurationSeconds=&RoleSessionName"), Ok(Call::AssumeRole(wanted.clone())));
        let empty = Wanted { policy: Some(String::new()), ..wanted };
        assert_eq!(parse("&Policy="), Ok(Call::AssumeRole(empty)));
        let wanted = Wanted { duration_seconds: 43200, ..Wanted::default() };
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
            "&SerialNumber=y&TokenCode=123456&Tags.member.1.Key=k&Tags.member.1.Value=v\
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
