//! The values of a condition, parsed into the type of its operator when the policy is parsed.
//!
//! A decision compares numbers, times and networks and never reads a policy's text twice. A value of the request that is
//! not of the operator's type equals nothing. Letters fold in ASCII only. Spec: AWS IAM User Guide, "IAM JSON policy
//! elements: Condition operators"; RFC 4632 and RFC 4291 for networks.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::context::{Context, TextBuffer, Value};
use super::key::Key;
use super::operator::{Comparison, Order};
use super::pattern::{Pattern, Syntax};
use crate::codec::dates::Timestamp;

/// The values of a policy, in the type of the operator.
#[derive(Clone, Debug)]
pub(super) enum Operands {
    Equals(Box<[Pattern]>),
    EqualsIgnoreCase(Box<[Pattern]>),
    Like(Box<[Pattern]>),
    Numeric(Order, Box<[f64]>),
    Date(Order, Box<[Timestamp]>),
    Bool(Box<[bool]>),
    Binary(Box<[Box<[u8]>]>),
    IpAddress(Box<[Network]>),
    Arn(Box<[ArnPattern]>),
    /// Whether the key is to be absent.
    Null(Box<[bool]>),
}

impl Operands {
    /// Parses the values of one key.
    ///
    /// # Errors
    /// What is wrong with which value.
    pub(super) fn parse(
        comparison: Comparison,
        values: &[String],
        variables: bool,
    ) -> Result<Operands, String> {
        let literal = Syntax { wildcards: false, variables };
        let like = Syntax { wildcards: true, variables };
        Ok(match comparison {
            Comparison::StringEquals => Operands::Equals(each(values, |text| Pattern::parse(text, literal))?),
            Comparison::StringEqualsIgnoreCase => {
                Operands::EqualsIgnoreCase(each(values, |text| Pattern::parse(text, literal))?)
            }
            Comparison::StringLike => Operands::Like(each(values, |text| Pattern::parse(text, like))?),
            Comparison::Numeric(order) => Operands::Numeric(
                order,
                each(values, |text| checked(number(text.as_bytes()), text, "a decimal number"))?,
            ),
            Comparison::Date(order) => Operands::Date(
                order,
                each(values, |text| {
                    checked(date(text.as_bytes()), text, "an ISO 8601 date or epoch seconds")
                })?,
            ),
            Comparison::Bool => {
                Operands::Bool(each(values, |text| checked(flag(text.as_bytes()), text, "true or false"))?)
            }
            Comparison::Null => {
                Operands::Null(each(values, |text| checked(flag(text.as_bytes()), text, "true or false"))?)
            }
            Comparison::Binary => Operands::Binary(each(values, |text| {
                checked(STANDARD.decode(text).ok().map(Vec::into_boxed_slice), text, "base64")
            })?),
            Comparison::IpAddress => Operands::IpAddress(each(values, |text| {
                checked(Network::parse(text), text, "an IP address or a network in CIDR notation")
            })?),
            Comparison::Arn => Operands::Arn(each(values, |text| ArnPattern::parse(text, like))?),
        })
    }

    /// Whether one value of the request meets one of the policy's.
    #[inline]
    pub(super) fn contain(&self, value: &Value, context: &Context) -> bool {
        match self {
            Operands::Numeric(order, numbers) => {
                let number = match value {
                    Value::Number(number) => Some(*number as f64),
                    Value::Text(text) => number(text),
                    Value::Flag(_) | Value::Time(_) | Value::Address(_) => None,
                };
                number.is_some_and(|number| numbers.iter().any(|other| order.holds(&number, other)))
            }
            Operands::Date(order, times) => {
                let time = match value {
                    Value::Time(time) => Some(*time),
                    Value::Number(seconds) => Some(Timestamp::from_seconds(*seconds)),
                    Value::Text(text) => date(text),
                    Value::Flag(_) | Value::Address(_) => None,
                };
                time.is_some_and(|time| times.iter().any(|other| order.holds(&time, other)))
            }
            Operands::Bool(flags) => {
                let flag = match value {
                    Value::Flag(flag) => Some(*flag),
                    Value::Text(text) => flag(text),
                    Value::Number(_) | Value::Time(_) | Value::Address(_) => None,
                };
                flag.is_some_and(|flag| flags.contains(&flag))
            }
            Operands::IpAddress(networks) => {
                let address = match value {
                    Value::Address(address) => Some(*address),
                    Value::Text(text) => address(text),
                    Value::Number(_) | Value::Flag(_) | Value::Time(_) => None,
                };
                address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
            }
            Operands::Null(absent) => absent.contains(&false),
            Operands::Equals(_)
            | Operands::EqualsIgnoreCase(_)
            | Operands::Like(_)
            | Operands::Binary(_)
            | Operands::Arn(_) => match value {
                Value::Text(text) => self.contain_text(text, context),
                other => {
                    let mut buffer: TextBuffer = [0; 48];
                    self.contain_text(other.text(&mut buffer), context)
                }
            },
        }
    }

    /// The same for the operators that compare text.
    fn contain_text(&self, text: &[u8], context: &Context) -> bool {
        match self {
            Operands::Equals(patterns) | Operands::Like(patterns) => {
                patterns.iter().any(|pattern| pattern.matches(text, context))
            }
            Operands::EqualsIgnoreCase(patterns) => {
                patterns.iter().any(|pattern| pattern.matches_ignoring_case(text, context))
            }
            Operands::Binary(values) => values.iter().any(|bytes| **bytes == *text),
            Operands::Arn(patterns) => patterns.iter().any(|pattern| pattern.matches(text, context)),
            Operands::Numeric(..)
            | Operands::Date(..)
            | Operands::Bool(_)
            | Operands::IpAddress(_)
            | Operands::Null(_) => false,
        }
    }

    /// The keys that variables among the values name.
    pub(super) fn variable_keys(&self) -> Vec<&Key> {
        match self {
            Operands::Equals(patterns) | Operands::EqualsIgnoreCase(patterns) | Operands::Like(patterns) => {
                patterns.iter().flat_map(Pattern::variable_keys).collect()
            }
            Operands::Arn(patterns) => {
                patterns.iter().flat_map(|arn| &arn.segments).flat_map(Pattern::variable_keys).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A network of either family. IPv4 inside IPv6 is IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Network {
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

impl Network {
    /// `192.0.2.0/24`, `2001:db8::/32` or a bare address. Bits behind the prefix are ignored, as AWS does.
    pub(super) fn parse(text: &str) -> Option<Network> {
        let (address, prefix_bits) = match text.split_once('/') {
            Some((address, bits)) => {
                let plain = (1..=3).contains(&bits.len()) && bits.bytes().all(|byte| byte.is_ascii_digit());
                (address, Some(bits.parse::<u32>().ok().filter(|_| plain)?))
            }
            None => (text, None),
        };
        match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => Network::v4(address.to_bits(), prefix_bits.unwrap_or(32)),
            IpAddr::V6(address) => {
                let bits = prefix_bits.unwrap_or(128);
                match address.to_ipv4_mapped() {
                    Some(inner) if bits >= 96 => Network::v4(inner.to_bits(), bits - 96),
                    _ if bits > 128 => None,
                    _ => {
                        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                        Some(Network::V6 { network: address.to_bits() & mask, mask })
                    }
                }
            }
        }
    }

    fn v4(address: u32, bits: u32) -> Option<Network> {
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
        Some(Network::V4 { network: address & mask, mask })
    }

    /// Whether so many addresses are meant that a policy counts as public: more than a /8 of IPv4 or a /32 of IPv6.
    pub(super) fn is_wide(self) -> bool {
        match self {
            Network::V4 { mask, .. } => mask.count_ones() < 8,
            Network::V6 { mask, .. } => mask.count_ones() < 32,
        }
    }

    #[inline]
    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::V4 { network, mask }, IpAddr::V4(address)) => address.to_bits() & mask == network,
            (Network::V6 { network, mask }, IpAddr::V6(address)) => address.to_bits() & mask == network,
            _ => false,
        }
    }
}

/// An ARN whose six segments are patterns of their own: a star does not cross a colon but in the last.
#[derive(Clone, Debug)]
pub(super) struct ArnPattern {
    segments: [Pattern; 6],
}

impl ArnPattern {
    fn parse(text: &str, syntax: Syntax) -> Result<ArnPattern, String> {
        let mut segments = Vec::with_capacity(6);
        let mut rest = text;
        while segments.len() < 5 {
            let colon = colon_outside_variables(rest, syntax.variables).ok_or_else(|| {
                format!("the value \"{text}\" is not an ARN of six segments (arn:partition:service:region:account:resource)")
            })?;
            segments.push(Pattern::parse(&rest[..colon], syntax)?);
            rest = &rest[colon + 1..];
        }
        segments.push(Pattern::parse(rest, syntax)?);
        let segments: [Pattern; 6] =
            segments.try_into().map_err(|_| format!("the value \"{text}\" is not an ARN of six segments"))?;
        if !segments[0].matches(b"arn", &Context::default()) {
            return Err(format!("the value \"{text}\" does not start with \"arn:\""));
        }
        Ok(ArnPattern { segments })
    }

    fn matches(&self, text: &[u8], context: &Context) -> bool {
        let mut parts = text.splitn(6, |&byte| byte == b':');
        self.segments.iter().all(|segment| parts.next().is_some_and(|part| segment.matches(part, context)))
    }
}

/// The first colon that is not part of a variable: `${aws:username}` has one that separates nothing.
fn colon_outside_variables(text: &str, variables: bool) -> Option<usize> {
    let mut from = 0;
    loop {
        let colon = from + text[from..].find(':')?;
        match text[from..colon].find("${") {
            Some(open) if variables => from = from + open + text[from + open..].find('}')? + 1,
            _ => return Some(colon),
        }
    }
}

/// A decimal number: digits with an optional sign, fraction and exponent; neither infinite nor not a number.
fn number(text: &[u8]) -> Option<f64> {
    let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E');
    if !text.iter().all(digits) {
        return None;
    }
    str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// An ISO 8601 date or a whole number of seconds since the epoch.
fn date(text: &[u8]) -> Option<Timestamp> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.len() <= 12 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        return str::from_utf8(text).ok()?.parse().ok().map(Timestamp::from_seconds);
    }
    Timestamp::parse_iso8601(text)
}

fn flag(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        Some(true)
    } else {
        text.eq_ignore_ascii_case(b"false").then_some(false)
    }
}

fn address(text: &[u8]) -> Option<IpAddr> {
    str::from_utf8(text).ok()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn each<T>(values: &[String], parse: impl Fn(&str) -> Result<T, String>) -> Result<Box<[T]>, String> {
    values.iter().map(|text| parse(text)).collect()
}

fn checked<T>(value: Option<T>, text: &str, what: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("the value \"{text}\" is not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parsed_in_the_operators_type() {
        fn check(comparison: Comparison, value: &str, accepted: bool) {
            let parsed = Operands::parse(comparison, &[value.to_owned()], true);
            assert_eq!(parsed.is_ok(), accepted, "{comparison:?} {value}");
        }
        let numeric = Comparison::Numeric(Order::Equals);
        for (value, accepted) in [
            ("1", true),
            ("-1.5", true),
            ("1e3", true),
            ("", false),
            ("one", false),
            ("inf", false),
            ("NaN", false),
            ("1e999", false),
            ("0x1", false),
            ("1 ", false),
            ("${s3:max-keys}", false),
        ] {
            check(numeric, value, accepted);
        }
        let dated = Comparison::Date(Order::Equals);
        for (value, accepted) in [
            ("2026-11-24T00:00:00Z", true),
            ("2026-11-24", true),
            ("1795478400", true),
            ("-5", true),
            ("", false),
            ("-", false),
            ("yesterday", false),
            ("2026-13-01", false),
            ("9999999999999", false),
        ] {
            check(dated, value, accepted);
        }
        for (value, accepted) in [("true", true), ("FALSE", true), ("", false), ("yes", false), ("1", false)]
        {
            check(Comparison::Bool, value, accepted);
            check(Comparison::Null, value, accepted);
        }
        for (value, accepted) in [("", true), ("YQ==", true), ("YQ", false), ("?", false)] {
            check(Comparison::Binary, value, accepted);
        }
        for (value, accepted) in [
            ("10.0.0.0/8", true),
            ("10.1.2.3", true),
            ("2001:db8::/32", true),
            ("::/0", true),
            ("0.0.0.0/0", true),
            ("::ffff:10.0.0.0/104", true),
            ("10.0.0.0/33", false),
            ("::/129", false),
            ("10.0.0/8", false),
            ("10.0.0.0/", false),
            ("10.0.0.0/+8", false),
            ("10.0.0.0/0008", false),
            ("host", false),
            ("", false),
        ] {
            check(Comparison::IpAddress, value, accepted);
        }
        for (value, accepted) in [
            ("arn:aws:iam::1:user/x", true),
            ("arn:*:*:*:*:*", true),
            ("arn:aws:iam::1:user/${aws:username}", true),
            ("arn:${aws:username}:iam::1:x", true),
            ("*", false),
            ("arn:aws:iam::1", false),
            ("nra:a:b:c:d:e", false),
            ("arn:aws:iam::1:${aws:user}", false),
            ("arn:aws:${aws:username:c:d:e", false),
        ] {
            check(Comparison::Arn, value, accepted);
        }
    }

    #[test]
    fn networks() {
        fn check(network: &str, inside: &str, expected: bool) {
            let address: IpAddr = inside.parse().expect("an address");
            let network = Network::parse(network).expect("a network");
            assert_eq!(network.contains(address.to_canonical()), expected, "{network:?} {inside}");
        }
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.9.9.9/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.7", "10.0.0.7", true);
        check("10.0.0.7", "10.0.0.8", false);
        check("0.0.0.0/0", "255.1.2.3", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "10.0.0.1", false);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::1", false);
        check("::ffff:10.0.0.0/104", "10.3.0.1", true);
        check("10.0.0.0/8", "::ffff:10.3.0.1", true);
        check("::ffff:10.0.0.1", "10.0.0.1", true);
    }

    #[test]
    fn arns_are_matched_segment_by_segment() {
        fn check(pattern: &str, value: &str, expected: bool) {
            let like = Syntax { wildcards: true, variables: true };
            let pattern = ArnPattern::parse(pattern, like).expect("an ARN");
            let context = Context { username: Some("a:b"), ..Context::default() };
            assert_eq!(pattern.matches(value.as_bytes(), &context), expected, "{pattern:?} {value}");
        }
        check("arn:aws:iam::1:user/*", "arn:aws:iam::1:user/alice", true);
        check("arn:aws:*:user/*:*:*", "arn:aws:iam::1:user/alice", false);
        check("arn:*:*:*:*:*", "arn:aws:iam::1:user/alice", true);
        check("arn:*:*:*:*:*", "arn:aws:iam", false);
        check("arn:aws:iam::1:user/a*e", "arn:aws:iam::1:user/a:b:e", true);
        check("arn:aws:iam::?:user/x", "arn:aws:iam:::user/x", false);
        check("arn:aws:iam::1:user/${aws:username}", "arn:aws:iam::1:user/a:b", true);
        check("*:aws:iam::1:x", "nra:aws:iam::1:x", true);
        check("arn:aws:iam::1:x", "", false);
    }
}
