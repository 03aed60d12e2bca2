//! The parameters of one call: a form body, read strictly.
//!
//! A parameter that is given twice is refused, so that two readers of one call cannot disagree on it.

use super::refusal::{Code, Refusal};
use crate::codec::percent;

/// The parameters, decoded; no name twice.
#[derive(Debug)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form body.
    ///
    /// # Errors
    /// `MalformedQueryString` with what is wrong.
    pub fn parse(body: &[u8]) -> Result<Form, Refusal> {
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

    /// The action that is called, which must be one of this version of the API.
    ///
    /// # Errors
    /// `MissingAction`, `MissingParameter`, `InvalidAction`.
    pub fn action(&self, expected_version: &str) -> Result<&str, Refusal> {
        let action = self
            .value("Action")
            .ok_or_else(|| Code::MissingAction.because("The request must contain the parameter Action."))?;
        match self.value("Version") {
            Some(version) if version == expected_version => Ok(action),
            None => Err(Code::MissingParameter
                .because(format!("The request must contain the parameter Version, {expected_version}."))),
            Some(version) => Err(Code::InvalidAction.because(format!(
                "Could not find operation {action} for version {version}; this server has {expected_version}."
            ))),
        }
    }

    /// The value of a parameter; an empty one counts as absent.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.value_as_sent(name).filter(|value| !value.is_empty())
    }

    /// The value of a parameter, also an empty one.
    #[must_use]
    pub fn value_as_sent(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Whether there is a member of this list or structure: a parameter called `name.…`.
    #[must_use]
    pub fn has_members(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }
}

/// 50 tags with key and value, 50 transitive keys and all single parameters stay below it.
const PARAMETERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let form = Form::parse(b"Action=A&Version=1&x=a+b%2B&Tags=&Tags2.member.1.Key=k&&y").expect("a form");
        assert_eq!(form.action("1"), Ok("A"));
        assert_eq!(form.value("x"), Some("a b+"));
        assert_eq!((form.value("Tags"), form.value_as_sent("Tags")), (None, Some("")));
        assert_eq!(
            (form.value("y"), form.value_as_sent("y"), form.value_as_sent("z")),
            (None, Some(""), None)
        );
        assert!(
            form.has_members("Tags2") && !form.has_members("Tags") && !form.has_members("Tags2.member.1.Ke")
        );
    }

    #[test]
    fn refusals() {
        let check = |body: &[u8], code: Code| {
            let result = Form::parse(body).and_then(|form| form.action("1").map(str::to_owned));
            assert_eq!(result.map_err(|refusal| refusal.code), Err(code), "{}", body.escape_ascii());
        };
        check(b"", Code::MissingAction);
        check(b"Action=&Version=1", Code::MissingAction);
        check(b"Action=A", Code::MissingParameter);
        check(b"Action=A&Version=2", Code::InvalidAction);
        check(b"Action=A&Action=A&Version=1", Code::MalformedQueryString);
        check(b"Action=A&%41ction=B&Version=1", Code::MalformedQueryString);
        check(b"Action=%", Code::MalformedQueryString);
        check(b"Action=\xff", Code::MalformedQueryString);
        let many: String = (0..300).map(|n| format!("p{n}=&")).collect();
        check(many.as_bytes(), Code::MalformedQueryString);
    }
}
