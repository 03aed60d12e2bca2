//! Conditions: the operators of the policy language and whether they hold for a request.
//!
//! Values are parsed into the operator's type when the policy is parsed, so a decision compares numbers, times and
//! networks and never reads text twice. A condition holds as AWS defines it: several values are alternatives, a negated
//! operator must differ from all of them, an absent key fails a positive operator and satisfies a negated one.
//!
//! Choices where AWS leaves the answer open: a key with several values and no set prefix is met if any value is, and a
//! negated operator is the opposite of the positive one; under a set prefix empty values count as no values; a value
//! that is not of the operator's type equals nothing. Letters fold in ASCII only.
//! Spec: AWS IAM User Guide, "IAM JSON policy elements: Condition operators", "Multivalued context keys".

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::context::{Context, Tag, TextBuffer, Value, Values};
use super::key::{Key, KeyType};
use super::pattern::{Pattern, Syntax};
use crate::codec::dates::Timestamp;

/// A condition operator with its prefix and suffix: `ForAnyValue:StringNotLikeIfExists`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operator {
    /// The set prefix.
    pub quantifier: Quantifier,
    /// What is compared and how.
    pub comparison: Comparison,
    /// Whether the comparison must not hold (`…Not…`).
    pub negated: bool,
    /// Whether an absent key satisfies the operator (`…IfExists`).
    pub if_exists: bool,
}

/// How the values of a request are combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantifier {
    /// No prefix.
    Plain,
    /// `ForAllValues:`.
    ForAllValues,
    /// `ForAnyValue:`.
    ForAnyValue,
}

/// The comparison of an operator, without negation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `StringEquals`.
    StringEquals,
    /// `StringEqualsIgnoreCase`.
    StringEqualsIgnoreCase,
    /// `StringLike`.
    StringLike,
    /// `Numeric…`.
    Numeric(Order),
    /// `Date…`.
    Date(Order),
    /// `Bool`.
    Bool,
    /// `BinaryEquals`.
    Binary,
    /// `IpAddress`.
    IpAddress,
    /// `ArnEquals` and `ArnLike`, which are the same.
    Arn,
    /// `Null`.
    Null,
}

/// How a number or a time relates to the policy's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Equal.
    Equals,
    /// The request's is less.
    LessThan,
    /// The request's is less or equal.
    LessThanEquals,
    /// The request's is greater.
    GreaterThan,
    /// The request's is greater or equal.
    GreaterThanEquals,
}

/// Names, comparison, negated.
#[rustfmt::skip]
const OPERATORS: [(&str, Comparison, bool); 27] = [
    ("StringEquals", Comparison::StringEquals, false),
    ("StringNotEquals", Comparison::StringEquals, true),
    ("StringEqualsIgnoreCase", Comparison::StringEqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Comparison::StringEqualsIgnoreCase, true),
    ("StringLike", Comparison::StringLike, false),
    ("StringNotLike", Comparison::StringLike, true),
    ("NumericEquals", Comparison::Numeric(Order::Equals), false),
    ("NumericNotEquals", Comparison::Numeric(Order::Equals), true),
    ("NumericLessThan", Comparison::Numeric(Order::LessThan), false),
    ("NumericLessThanEquals", Comparison::Numeric(Order::LessThanEquals), false),
    ("NumericGreaterThan", Comparison::Numeric(Order::GreaterThan), false),
    ("NumericGreaterThanEquals", Comparison::Numeric(Order::GreaterThanEquals), false),
    ("DateEquals", Comparison::Date(Order::Equals), false),
    ("DateNotEquals", Comparison::Date(Order::Equals), true),
    ("DateLessThan", Comparison::Date(Order::LessThan), false),
    ("DateLessThanEquals", Comparison::Date(Order::LessThanEquals), false),
    ("DateGreaterThan", Comparison::Date(Order::GreaterThan), false),
    ("DateGreaterThanEquals", Comparison::Date(Order::GreaterThanEquals), false),
    ("Bool", Comparison::Bool, false),
    ("BinaryEquals", Comparison::Binary, false),
    ("IpAddress", Comparison::IpAddress, false),
    ("NotIpAddress", Comparison::IpAddress, true),
    ("ArnEquals", Comparison::Arn, false),
    ("ArnLike", Comparison::Arn, false),
    ("ArnNotEquals", Comparison::Arn, true),
    ("ArnNotLike", Comparison::Arn, true),
    ("Null", Comparison::Null, false),
];

impl Operator {
    /// The operator of this name. `None` if there is none; `Null` takes neither prefix nor suffix.
    #[must_use]
    pub fn parse(name: &str) -> Option<Operator> {
        let (quantifier, name) = match name.split_once(':') {
            None => (Quantifier::Plain, name),
            Some(("ForAllValues", name)) => (Quantifier::ForAllValues, name),
            Some(("ForAnyValue", name)) => (Quantifier::ForAnyValue, name),
            Some(_) => return None,
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let &(_, comparison, negated) = OPERATORS.iter().find(|(known, ..)| *known == name)?;
        if comparison == Comparison::Null && (if_exists || quantifier != Quantifier::Plain) {
            return None;
        }
        Some(Operator { quantifier, comparison, negated, if_exists })
    }

    /// Whether a key of this type can ever satisfy the operator. A mismatch is refused when the policy is parsed,
    /// because AWS would let it be silently false.
    pub(super) fn suits(&self, of: KeyType) -> bool {
        match self.comparison {
            Comparison::StringEquals
            | Comparison::StringEqualsIgnoreCase
            | Comparison::StringLike
            | Comparison::Null => true,
            Comparison::Numeric(_) => matches!(of, KeyType::Text | KeyType::Number | KeyType::Epoch),
            Comparison::Date(_) => matches!(of, KeyType::Text | KeyType::Date | KeyType::Epoch),
            Comparison::Bool => matches!(of, KeyType::Text | KeyType::Flag),
            Comparison::Binary => of == KeyType::Text,
            Comparison::IpAddress => matches!(of, KeyType::Text | KeyType::Address),
            Comparison::Arn => matches!(of, KeyType::Text | KeyType::Arn),
        }
    }
}

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
    fn contain(&self, value: Value, context: &Context) -> bool {
        let mut buffer: TextBuffer = [0; 48];
        match self {
            Operands::Equals(patterns) | Operands::Like(patterns) => {
                let text = value.text(&mut buffer);
                patterns.iter().any(|pattern| pattern.matches(text, context))
            }
            Operands::EqualsIgnoreCase(patterns) => {
                let text = value.text(&mut buffer);
                patterns.iter().any(|pattern| pattern.matches_ignoring_case(text, context))
            }
            Operands::Numeric(order, numbers) => {
                let number = match value {
                    Value::Number(number) => Some(number as f64),
                    Value::Text(text) => number(text),
                    Value::Flag(_) | Value::Time(_) | Value::Address(_) => None,
                };
                number.is_some_and(|number| numbers.iter().any(|other| order.holds(&number, other)))
            }
            Operands::Date(order, times) => {
                let time = match value {
                    Value::Time(time) => Some(time),
                    Value::Number(seconds) => Some(Timestamp::from_seconds(seconds)),
                    Value::Text(text) => date(text),
                    Value::Flag(_) | Value::Address(_) => None,
                };
                time.is_some_and(|time| times.iter().any(|other| order.holds(&time, other)))
            }
            Operands::Bool(flags) => {
                let flag = match value {
                    Value::Flag(flag) => Some(flag),
                    Value::Text(text) => flag(text),
                    Value::Number(_) | Value::Time(_) | Value::Address(_) => None,
                };
                flag.is_some_and(|flag| flags.contains(&flag))
            }
            Operands::Binary(values) => {
                let text = value.text(&mut buffer);
                values.iter().any(|bytes| **bytes == *text)
            }
            Operands::IpAddress(networks) => {
                let address = match value {
                    Value::Address(address) => Some(address),
                    Value::Text(text) => address(text),
                    Value::Number(_) | Value::Flag(_) | Value::Time(_) => None,
                };
                address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
            }
            Operands::Arn(patterns) => {
                let text = value.text(&mut buffer);
                patterns.iter().any(|pattern| pattern.matches(text, context))
            }
            Operands::Null(absent) => absent.contains(&false),
        }
    }

    /// The keys that variables among the values name.
    fn variable_keys(&self) -> Vec<&Key> {
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
        match context.values(&self.key) {
            Values::Absent => self.holds_absent(),
            Values::One(value) => match self.quantifier {
                Quantifier::Plain => self.operands.contain(value, context) != self.negated,
                Quantifier::ForAllValues => {
                    value == Value::Text(b"") || self.operands.contain(value, context) != self.negated
                }
                Quantifier::ForAnyValue => {
                    value != Value::Text(b"") && self.operands.contain(value, context) != self.negated
                }
            },
            Values::TagKeys(tags) => self.holds_several(tags, context),
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
            tags.iter().map(|(key, _)| self.operands.contain(Value::Text(key.as_bytes()), context));
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

impl Order {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Order::Equals => left == right,
            Order::LessThan => left < right,
            Order::LessThanEquals => left <= right,
            Order::GreaterThan => left > right,
            Order::GreaterThanEquals => left >= right,
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
pub(super) fn number(text: &[u8]) -> Option<f64> {
    let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E');
    if !text.iter().all(digits) {
        return None;
    }
    str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// An ISO 8601 date or a whole number of seconds since the epoch.
pub(super) fn date(text: &[u8]) -> Option<Timestamp> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.len() <= 12 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        return str::from_utf8(text).ok()?.parse().ok().map(Timestamp::from_seconds);
    }
    Timestamp::parse_iso8601(text)
}

pub(super) fn flag(text: &[u8]) -> Option<bool> {
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
