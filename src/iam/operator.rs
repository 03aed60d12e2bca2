//! The names of condition operators: comparison, negation, set prefix and `IfExists`.
//!
//! Names are matched exactly, as AWS writes them; what is not in the table does not exist. Spec: AWS IAM User Guide,
//! "IAM JSON policy elements: Condition operators".

use super::key::KeyType;

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

impl Order {
    /// Whether the request's value relates to the policy's as the operator says.
    pub(super) fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Order::Equals => left == right,
            Order::LessThan => left < right,
            Order::LessThanEquals => left <= right,
            Order::GreaterThan => left > right,
            Order::GreaterThanEquals => left >= right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let plain = |comparison, negated| {
            Some(Operator { quantifier: Quantifier::Plain, comparison, negated, if_exists: false })
        };
        fn check(name: &str, expected: Option<Operator>) {
            assert_eq!(Operator::parse(name), expected, "{name}");
        }
        check("StringEquals", plain(Comparison::StringEquals, false));
        check("StringNotLike", plain(Comparison::StringLike, true));
        check("ArnEquals", plain(Comparison::Arn, false));
        check("ArnLike", plain(Comparison::Arn, false));
        check("NotIpAddress", plain(Comparison::IpAddress, true));
        check("Null", plain(Comparison::Null, false));
        check(
            "ForAnyValue:StringNotEqualsIgnoreCaseIfExists",
            Some(Operator {
                quantifier: Quantifier::ForAnyValue,
                comparison: Comparison::StringEqualsIgnoreCase,
                negated: true,
                if_exists: true,
            }),
        );
        check(
            "ForAllValues:DateLessThanEquals",
            Some(Operator {
                quantifier: Quantifier::ForAllValues,
                comparison: Comparison::Date(Order::LessThanEquals),
                negated: false,
                if_exists: false,
            }),
        );
        for wrong in ["", "stringequals", "StringEqual", "StringEqualsIfExist", "IfExists", "NullIfExists"] {
            check(wrong, None);
        }
        for wrong in ["ForAllValues:Null", "ForSomeValues:Bool", "forallvalues:Bool", "BoolNot", "NotBool"] {
            check(wrong, None);
        }
    }

    #[test]
    fn every_operator_takes_the_suffix_and_the_prefixes_but_null() {
        for (name, comparison, _) in OPERATORS {
            let takes = comparison != Comparison::Null;
            assert_eq!(Operator::parse(&format!("{name}IfExists")).is_some(), takes, "{name}");
            assert_eq!(Operator::parse(&format!("ForAllValues:{name}")).is_some(), takes, "{name}");
            assert_eq!(Operator::parse(&format!("ForAnyValue:{name}IfExists")).is_some(), takes, "{name}");
        }
    }
}
