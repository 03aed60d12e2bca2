//! A second, plain reading of the policy language, for tests: it interprets the text of a parsed document, request by
//! request, in the words of the AWS IAM User Guide, and shares no code with what compiles and decides.
//!
//! Everything is a string here. Facts are a list of key names and values; patterns are expanded into characters and
//! matched by a table; networks are compared as strings of bits; dates are counted day by day. Slow is fine.

use super::action::Action;
use super::caller::Caller;
use super::document::{Clause, Document, Effect, Statement, Version};

/// Key names in lower case (a tag's own key as it is), with their values; a key that is not listed is absent.
pub(super) type Facts = [(String, Vec<String>)];

/// Who asks. `None` for an unsigned request.
pub(super) struct Who<'a> {
    pub(super) account: &'a str,
    pub(super) user_arn: &'a str,
    pub(super) session_arn: Option<&'a str>,
    pub(super) unique_id: &'a str,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) action: Action,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) who: Option<Who<'a>>,
    pub(super) facts: &'a Facts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Allow,
    ExplicitDeny,
    ImplicitDeny,
}

/// The evaluation logic, step by step.
pub(super) fn answer(
    identity: &[&Document],
    session: Option<&Document>,
    bucket: Option<&Document>,
    question: &Question,
) -> Answer {
    let all = || identity.iter().copied().chain(session).chain(bucket);
    if all().any(|document| grants(document, Effect::Deny, question)) {
        return Answer::ExplicitDeny;
    }
    let by_bucket = bucket.is_some_and(|document| grants(document, Effect::Allow, question));
    let by_user = identity.iter().any(|document| grants(document, Effect::Allow, question));
    let by_session = session.is_none_or(|document| grants(document, Effect::Allow, question));
    let allowed = match question.who {
        None => by_bucket,
        Some(_) => by_session && (by_user || by_bucket),
    };
    if allowed { Answer::Allow } else { Answer::ImplicitDeny }
}

fn grants(document: &Document, effect: Effect, question: &Question) -> bool {
    let statements = document.statements.iter().filter(|statement| statement.effect == effect);
    statements.into_iter().any(|statement| applies(statement, document.version, question))
}

/// Whether a statement, allow or deny, is about the request.
pub(super) fn applies(statement: &Statement, version: Version, question: &Question) -> bool {
    let action_listed = statement.actions.texts.iter().any(|text| action_matches(text, question.action));
    let name = match (question.bucket, question.key) {
        ("", _) => String::new(),
        (bucket, "") => bucket.to_owned(),
        (bucket, key) => format!("{bucket}/{key}"),
    };
    let resource_listed =
        statement.resources.texts.iter().any(|text| {
            expand(text, true, version, question.facts).is_some_and(|pattern| like(&pattern, &name))
        });
    let speaks_of_caller = match &statement.callers {
        None => true,
        Some(callers) if callers.negated => !callers.list.iter().any(|caller| is_exempt(caller, question)),
        Some(callers) => callers.list.iter().any(|caller| is_named(caller, question)),
    };
    (action_listed != statement.actions.negated)
        && (resource_listed != statement.resources.negated)
        && speaks_of_caller
        && statement.conditions.iter().all(|clause| holds(clause, version, question.facts))
}

fn action_matches(text: &str, action: Action) -> bool {
    let (text, name) = (text.to_lowercase(), action.name().to_lowercase());
    if text == "*" {
        return true;
    }
    let service = |full: &str| full.split(':').next().map(str::to_owned);
    let pattern: Vec<Token> = text.chars().map(|letter| token(letter, true)).collect();
    service(&text) == service(&name) && like(&pattern, &name)
}

fn is_named(caller: &Caller, question: &Question) -> bool {
    match (caller, &question.who) {
        (Caller::Everyone, _) => true,
        (Caller::Account(id), Some(who)) => **id == *who.account,
        (Caller::Arn(arn), Some(who)) => **arn == *who.user_arn || Some(&**arn) == who.session_arn,
        (Caller::UniqueId(id), Some(who)) => **id == *who.unique_id,
        _ => false,
    }
}

fn is_exempt(caller: &Caller, question: &Question) -> bool {
    !matches!(caller, Caller::Account(_)) && is_named(caller, question)
}

fn holds(clause: &Clause, version: Version, facts: &Facts) -> bool {
    let mut operator = clause.operator_name.as_str();
    let mut prefix = "";
    if let Some((before, after)) = operator.split_once(':') {
        (prefix, operator) = (before, after);
    }
    let if_exists = operator.ends_with("IfExists");
    let operator = operator.trim_end_matches("IfExists");
    let values = lookup(&clause.key_name, facts);
    if operator == "Null" {
        return clause.values.iter().any(|wanted| (wanted.to_lowercase() == "true") == values.is_empty());
    }
    let negated = operator.contains("Not");
    let positive = operator.replace("Not", "");
    if values.is_empty() && if_exists {
        return true;
    }
    let one = |value: &String| {
        clause.values.iter().any(|other| compare(&positive, value, other, version, facts)) != negated
    };
    let mut full = values.iter().filter(|value| !value.is_empty());
    match prefix {
        "ForAllValues" => full.all(one),
        "ForAnyValue" => full.any(one),
        _ if negated => values.iter().all(one),
        _ => values.iter().any(one),
    }
}

/// One value of the request against one of the policy, by an operator without negation.
fn compare(operator: &str, value: &str, other: &str, version: Version, facts: &Facts) -> bool {
    let lower = |tokens: Vec<Token>| tokens.into_iter().map(Token::lower).collect::<Vec<_>>();
    match operator {
        "StringEquals" => expand(other, false, version, facts).is_some_and(|text| like(&text, value)),
        "StringEqualsIgnoreCase" => expand(other, false, version, facts)
            .is_some_and(|text| like(&lower(text), &value.to_ascii_lowercase())),
        "StringLike" => expand(other, true, version, facts).is_some_and(|pattern| like(&pattern, value)),
        "ArnEquals" | "ArnLike" => arn_matches(other, value, version, facts),
        "Bool" => value.to_lowercase() == other.to_lowercase(),
        "BinaryEquals" => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(value) == other
        }
        "IpAddress" => network_contains(other, value),
        _ => match operator.strip_prefix("Numeric") {
            Some(order) => match (value.parse::<f64>(), other.parse::<f64>()) {
                (Ok(value), Ok(other)) => ordered(order, value.total_cmp(&other)),
                _ => false,
            },
            None => match (seconds(value), seconds(other)) {
                (Some(value), Some(other)) => {
                    ordered(operator.strip_prefix("Date").expect("the last family"), value.cmp(&other))
                }
                _ => false,
            },
        },
    }
}

fn ordered(order: &str, found: std::cmp::Ordering) -> bool {
    match order {
        "Equals" => found.is_eq(),
        "LessThan" => found.is_lt(),
        "LessThanEquals" => found.is_le(),
        "GreaterThan" => found.is_gt(),
        "GreaterThanEquals" => found.is_ge(),
        _ => panic!("no such order: {order}"),
    }
}

/// The six segments are matched one by one; the last takes the remaining colons.
fn arn_matches(pattern: &str, value: &str, version: Version, facts: &Facts) -> bool {
    // A colon inside a variable separates nothing: hide it while the pattern is cut.
    let mut hidden = String::new();
    let mut in_variable = false;
    for (index, letter) in pattern.char_indices() {
        in_variable |= version == Version::V2012 && pattern[index..].starts_with("${");
        in_variable &= letter != '}';
        hidden.push(if in_variable && letter == ':' { '\u{1}' } else { letter });
    }
    let patterns: Vec<String> = hidden.splitn(6, ':').map(|part| part.replace('\u{1}', ":")).collect();
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    patterns.len() == parts.len()
        && patterns.iter().zip(parts).all(|(pattern, part)| {
            expand(pattern, true, version, facts).is_some_and(|pattern| like(&pattern, part))
        })
}

fn network_contains(network: &str, address: &str) -> bool {
    let bits = |text: &str| -> Option<String> {
        match text.parse::<std::net::IpAddr>().ok()? {
            std::net::IpAddr::V4(address) => Some(format!("{:032b}", u32::from(address))),
            std::net::IpAddr::V6(address) => Some(format!("{:0128b}", u128::from(address))),
        }
    };
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base, length.parse().ok()),
        None => (network, None),
    };
    let (Some(base), Some(address)) = (bits(base), bits(address)) else { return false };
    let length = length.unwrap_or(base.len());
    base.len() == address.len() && base[..length] == address[..length]
}

/// Seconds since the epoch of `2013-05-24T00:00:00Z` or of plain digits.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = |year: i64, month: i64| match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let years: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let months: i64 = (1..month).map(|month| month_days(year, month)).sum();
    Some(((years + months + day - 1) * 24 + field(11, 13)?) * 3600 + field(14, 16)? * 60 + field(17, 19)?)
}

fn lookup<'f>(name: &str, facts: &'f Facts) -> &'f [String] {
    let name = match name.split_once('/') {
        Some((family, tag)) => format!("{}/{tag}", family.to_lowercase()),
        None => name.to_lowercase(),
    };
    facts.iter().find(|(known, _)| *known == name).map_or(&[], |(_, values)| values)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Token {
    Letter(char),
    AnyLetter,
    AnyRun,
}

impl Token {
    fn lower(self) -> Token {
        match self {
            Token::Letter(letter) => Token::Letter(letter.to_ascii_lowercase()),
            other => other,
        }
    }
}

fn token(letter: char, wildcards: bool) -> Token {
    match letter {
        '*' if wildcards => Token::AnyRun,
        '?' if wildcards => Token::AnyLetter,
        _ => Token::Letter(letter),
    }
}

/// Replaces variables. `None` if one has neither a value nor a default: the text then matches nothing.
fn expand(text: &str, wildcards: bool, version: Version, facts: &Facts) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if version == Version::V2012 && rest.starts_with("${") {
            let end = rest.find('}').expect("checked when parsed");
            let inside = &rest[2..end];
            rest = &rest[end + 1..];
            let value = match inside {
                "*" | "?" | "$" => inside.to_owned(),
                _ => {
                    let (name, default) = match inside.split_once(',') {
                        Some((name, default)) => (name, Some(default.trim().trim_matches('\'').to_owned())),
                        None => (inside, None),
                    };
                    lookup(name.trim(), facts).first().cloned().or(default)?
                }
            };
            tokens.extend(value.chars().map(Token::Letter));
        } else {
            tokens.push(token(letter, wildcards));
            rest = &rest[letter.len_utf8()..];
        }
    }
    Some(tokens)
}

/// Whether the pattern matches the whole text: a table of "the first i tokens match the first j letters".
fn like(pattern: &[Token], text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let mut reached = vec![false; letters.len() + 1];
    reached[0] = true;
    for token in pattern {
        let mut next = vec![false; letters.len() + 1];
        for at in 0..=letters.len() {
            next[at] = match token {
                Token::AnyRun => reached[at] || (at > 0 && next[at - 1]),
                Token::AnyLetter => at > 0 && reached[at - 1],
                Token::Letter(letter) => at > 0 && reached[at - 1] && letters[at - 1] == *letter,
            };
        }
        reached = next;
    }
    reached[letters.len()]
}
