//! The policy document of a form: what the one who signed it allows to be uploaded with it.
//!
//! Every field of the form must be named by a condition, and every condition must hold. Exempt from the first are the
//! fields that carry the signature, `x-ignore-*`, and checksums, which say nothing but what the file is.
//!
//! Spec: "POST policy" in the Amazon S3 API reference.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::form::Fields;
use crate::codec::dates::Timestamp;
use crate::s3::error::{Code, S3Error};
use crate::storage::layout::BucketName;

/// A policy document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
    sizes: RangeInclusive<u64>,
}

/// What one field has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Condition {
    kind: Kind,
    /// In lower case.
    field: String,
    value: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Equal,
    StartsWith,
}

impl Policy {
    /// Reads a document as it stands in a form: JSON in base64.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`, with what is wrong.
    pub fn parse(text: &str) -> Result<Policy, S3Error> {
        let json = BASE64_STANDARD.decode(text).map_err(|_| invalid("it is not base64"))?;
        Self::parse_json(&json)
    }

    fn parse_json(json: &[u8]) -> Result<Policy, S3Error> {
        let document: Value = serde_json::from_slice(json).map_err(|_| invalid("it is not JSON"))?;
        let Value::Object(members) = document else { return Err(invalid("it is no JSON object")) };
        if let Some(name) = members.keys().find(|name| !matches!(name.as_str(), "expiration" | "conditions"))
        {
            return Err(invalid(format!("Unexpected: '{name}'")));
        }
        let expiration = match members.get("expiration") {
            Some(Value::String(text)) => Timestamp::parse_iso8601(text.as_bytes())
                .filter(|_| text.ends_with(['Z', 'z']))
                .ok_or_else(|| invalid(format!("Invalid 'expiration' value: '{text}'")))?,
            Some(_) => return Err(invalid("Invalid 'expiration' value: it must be a text")),
            None => return Err(invalid("Policy missing expiration.")),
        };
        let Some(Value::Array(list)) = members.get("conditions") else {
            return Err(invalid("Policy missing conditions."));
        };
        let mut policy =
            Policy { expiration, conditions: Vec::with_capacity(list.len()), sizes: 0..=u64::MAX };
        for condition in list {
            policy.add(condition)?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> Result<(), S3Error> {
        match condition {
            Value::Object(members) => {
                let mut members = members.iter();
                let (Some((field, value)), None) = (members.next(), members.next()) else {
                    return Err(invalid(
                        "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                    ));
                };
                let Value::String(value) = value else {
                    return Err(invalid("Invalid Simple-Condition: value must be a string."));
                };
                self.push(Kind::Equal, field, value);
            }
            Value::Array(items) => match &items[..] {
                [Value::String(operator), min, max]
                    if operator.eq_ignore_ascii_case("content-length-range") =>
                {
                    let (Some(min), Some(max)) = (size(min), size(max)) else {
                        return Err(invalid("Invalid content-length-range: it takes two sizes in bytes."));
                    };
                    if min > max {
                        return Err(invalid(
                            "Invalid content-length-range: the first size is the greater one.",
                        ));
                    }
                    self.sizes = min.max(*self.sizes.start())..=max.min(*self.sizes.end());
                }
                [Value::String(operator), Value::String(field), Value::String(value)] => {
                    let kind = match operator.to_ascii_lowercase().as_str() {
                        "eq" => Kind::Equal,
                        "starts-with" => Kind::StartsWith,
                        _ => {
                            return Err(invalid(format!(
                                "Invalid Condition: Unknown operator '{operator}'."
                            )));
                        }
                    };
                    let Some(field) = field.strip_prefix('$') else {
                        return Err(invalid(format!("Invalid Condition: '{field}' must begin with '$'.")));
                    };
                    self.push(kind, field, value);
                }
                _ => return Err(invalid("Invalid Condition: wrong number or kind of arguments.")),
            },
            _ => return Err(invalid("Invalid Condition: it must be an object or a list.")),
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind, field: &str, value: &str) {
        let (field, value) = (field.to_ascii_lowercase(), value.to_owned());
        self.conditions.push(Condition { kind, field, value });
    }

    /// Whether the form is one that the document allows; the sizes that its file may have.
    ///
    /// # Errors
    /// `AccessDenied`, with the condition that does not hold or the field that none names.
    pub fn check(
        &self,
        fields: &Fields,
        bucket: &BucketName,
        now: Timestamp,
    ) -> Result<RangeInclusive<u64>, S3Error> {
        if now > self.expiration {
            return Err(denied("Policy expired."));
        }
        for condition in &self.conditions {
            let value = match condition.field.as_str() {
                // Which bucket it is says the address, whatever a field of this name says.
                "bucket" => Some(bucket.as_str()),
                field => fields.get(field),
            };
            if !value.is_some_and(|value| condition.holds(value)) {
                return Err(denied(&format!("Policy Condition failed: {}", condition.text())));
            }
        }
        let is_named = |name: &str| self.conditions.iter().any(|condition| condition.field == name);
        let names = fields.iter().map(|(name, _)| name).filter(|name| *name != "bucket");
        if let Some(name) = names.chain(["bucket"]).find(|name| !is_exempt(name) && !is_named(name)) {
            return Err(denied(&format!("Extra input fields: {name}")));
        }
        Ok(self.sizes.clone())
    }
}

impl Condition {
    fn holds(&self, value: &str) -> bool {
        match self.kind {
            Kind::Equal => value == self.value,
            // A list of content types: each of them.
            Kind::StartsWith if self.field == "content-type" => {
                value.split(',').all(|value| value.trim_start().starts_with(&self.value))
            }
            Kind::StartsWith => value.starts_with(&self.value),
        }
    }

    /// As it stands in a document.
    fn text(&self) -> String {
        let operator = match self.kind {
            Kind::Equal => "eq",
            Kind::StartsWith => "starts-with",
        };
        serde_json::json!([operator, format!("${}", self.field), self.value]).to_string()
    }
}

/// A number of bytes; some tools write it as a text.
fn size(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        value => value.as_u64(),
    }
}

fn is_exempt(name: &str) -> bool {
    const EXEMPT: [&str; 4] = ["policy", "awsaccesskeyid", "signature", "x-amz-signature"];
    EXEMPT.contains(&name) || name.starts_with("x-ignore-") || name.starts_with("x-amz-checksum-")
}

fn invalid(why: impl AsRef<str>) -> S3Error {
    Code::InvalidPolicyDocument.because(format!("Invalid Policy: {}", why.as_ref()))
}

fn denied(why: &str) -> S3Error {
    Code::AccessDenied.because(format!("Invalid according to Policy: {why}"))
}

/// Reads arbitrary bytes as a document, and holds a form against what comes out.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Policy::parse(text);
    }
    if let Ok(policy) = Policy::parse_json(data)
        && let Ok(bucket) = BucketName::parse(b"bucket")
        && let Ok(sizes) = policy.check(&Fields::default(), &bucket, Timestamp::from_seconds(0))
    {
        assert!(policy.conditions.iter().all(|condition| condition.field == "bucket"));
        assert_eq!(sizes, policy.sizes);
    }
}

#[cfg(test)]
mod tests;
