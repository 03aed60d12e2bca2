//! Decisions in words: the one text for logs and for `policy simulate`.

use std::fmt;

use super::decide::{By, Decision, Layer};

impl Layer {
    /// Whose policy it is.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "the user's policy",
            Self::Session => "the session or embedded policy",
            Self::Bucket => "the bucket's policy",
            Self::Trust => "the role's trust policy",
        }
    }
}

impl fmt::Display for By<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "statement {}", self.statement)?;
        if let Some(sid) = self.sid.filter(|sid| !sid.is_empty()) {
            write!(formatter, " (Sid \"{sid}\")")?;
        }
        write!(formatter, " of {}", self.layer.name())
    }
}

/// Statements count from 0, as in the refusals of policies.
impl fmt::Display for Decision<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow { by } => write!(formatter, "allowed by {by}"),
            Self::ExplicitDeny { by } => write!(formatter, "denied by {by}"),
            Self::ImplicitDeny => formatter.write_str("denied because no statement allows it"),
        }
    }
}

impl<'p> Decision<'p> {
    /// The statement that decided, if one did.
    #[must_use]
    pub fn by(&self) -> Option<By<'p>> {
        match *self {
            Self::Allow { by } | Self::ExplicitDeny { by } => Some(by),
            Self::ImplicitDeny => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let by = |layer, statement, sid| By { layer, document: 0, statement, sid };
        let check = |decision: Decision<'_>, expected: &str| assert_eq!(decision.to_string(), expected);
        check(
            Decision::Allow { by: by(Layer::Identity, 0, Some("All")) },
            "allowed by statement 0 (Sid \"All\") of the user's policy",
        );
        check(
            Decision::ExplicitDeny { by: by(Layer::Bucket, 2, None) },
            "denied by statement 2 of the bucket's policy",
        );
        check(
            Decision::ExplicitDeny { by: by(Layer::Session, 1, Some("")) },
            "denied by statement 1 of the session or embedded policy",
        );
        check(Decision::ImplicitDeny, "denied because no statement allows it");
    }
}
