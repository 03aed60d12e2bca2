//! Why a policy was refused: where, what and how to fix it, for the person who wrote it.

use super::json::Json;

/// Why a document was refused. `Display` is one sentence for its author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyError {
    /// Whether the document is too large or wrong (AWS: `PolicyTooLarge` or `MalformedPolicy`).
    pub reason: Reason,
    /// Where: `Statement[1].Condition.StringLike`. Empty for the document as a whole. Statements count from 0.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

/// The class of a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// More bytes than its kind of policy may have.
    TooLarge,
    /// Not a policy, or one with something unknown or contradictory in it.
    Malformed,
}

impl std::fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.path.is_empty() { "the policy" } else { &self.path };
        write!(formatter, "{place}: {}; {}.", self.problem, self.fix)
    }
}

impl std::error::Error for PolicyError {}

/// What the parsers of policies return.
pub(super) type Parsed<T> = Result<T, PolicyError>;

pub(super) fn unknown_element(path: &str, name: &str, known: &str) -> PolicyError {
    malformed(
        path,
        format!("the element \"{name}\" does not exist"),
        &format!("the elements here are {known}"),
    )
}

pub(super) fn wrong_type(path: &str, found: &Json, expected: &str) -> PolicyError {
    malformed(path, format!("it is {}", found.kind()), &format!("make it {expected}"))
}

pub(super) fn malformed(path: &str, problem: impl Into<String>, fix: &str) -> PolicyError {
    let (path, problem, fix) = (path.to_owned(), problem.into(), fix.to_owned());
    PolicyError { reason: Reason::Malformed, path, problem, fix }
}
