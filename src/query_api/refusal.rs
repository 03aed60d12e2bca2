//! What a call of STS or IAM is refused with: a code of AWS and a sentence for the caller.
//!
//! Spec: AWS STS and IAM API references, "Common errors" and the errors of each action.

use std::borrow::Cow;

/// Why a call was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// For people. Never contains a secret or a token.
    pub message: Cow<'static, str>,
}

/// The codes that this server answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the codes themselves.
pub enum Code {
    AccessDenied,
    DeleteConflict,
    EntityAlreadyExists,
    InvalidAction,
    InvalidInput,
    LimitExceeded,
    MalformedPolicyDocument,
    MalformedQueryString,
    MissingAction,
    MissingAuthenticationToken,
    MissingParameter,
    NoSuchEntity,
    PackedPolicyTooLarge,
    ServiceFailure,
    ValidationError,
}

impl Code {
    /// The code as it stands in the answer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::DeleteConflict => "DeleteConflict",
            Self::EntityAlreadyExists => "EntityAlreadyExists",
            Self::InvalidAction => "InvalidAction",
            Self::InvalidInput => "InvalidInput",
            Self::LimitExceeded => "LimitExceeded",
            Self::MalformedPolicyDocument => "MalformedPolicyDocument",
            Self::MalformedQueryString => "MalformedQueryString",
            Self::MissingAction => "MissingAction",
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::MissingParameter => "MissingParameter",
            Self::NoSuchEntity => "NoSuchEntity",
            Self::PackedPolicyTooLarge => "PackedPolicyTooLarge",
            Self::ServiceFailure => "ServiceFailure",
            Self::ValidationError => "ValidationError",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::AccessDenied | Self::MissingAuthenticationToken => 403,
            Self::NoSuchEntity => 404,
            Self::DeleteConflict | Self::EntityAlreadyExists | Self::LimitExceeded => 409,
            Self::ServiceFailure => 500,
            Self::InvalidAction
            | Self::InvalidInput
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
