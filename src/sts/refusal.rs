//! What a call of STS is refused with: a code of AWS and a sentence for the caller.
//!
//! Spec: AWS STS API reference, "Common errors" and the errors of AssumeRole.

use std::borrow::Cow;

/// Why a call got no credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// For people. Never contains a secret or a token.
    pub message: Cow<'static, str>,
}

/// The codes of STS that this server answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the codes themselves.
pub enum Code {
    AccessDenied,
    InvalidAction,
    MalformedPolicyDocument,
    MalformedQueryString,
    MissingAction,
    MissingAuthenticationToken,
    MissingParameter,
    PackedPolicyTooLarge,
    ValidationError,
}

impl Code {
    /// The code as it stands in the answer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::InvalidAction => "InvalidAction",
            Self::MalformedPolicyDocument => "MalformedPolicyDocument",
            Self::MalformedQueryString => "MalformedQueryString",
            Self::MissingAction => "MissingAction",
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::MissingParameter => "MissingParameter",
            Self::PackedPolicyTooLarge => "PackedPolicyTooLarge",
            Self::ValidationError => "ValidationError",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::AccessDenied | Self::MissingAuthenticationToken => 403,
            Self::InvalidAction
            | Self::MalformedPolicyDocument
            | Self::MalformedQueryString
            | Self::MissingAction
            | Self::MissingParameter
            | Self::PackedPolicyTooLarge
            | Self::ValidationError => 400,
        }
    }

    /// This code with this sentence.
    #[must_use]
    pub fn because(self, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { code: self, message: message.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Refusal {}
