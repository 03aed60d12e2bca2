//! What keeps a version from being deleted: its retention and its legal hold.

use super::RecordError;
use super::wire::{Reader, push_varint, unzigzag, zigzag};

/// Until when a version must not be deleted, and who may do it all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Whether anybody may.
    pub mode: RetentionMode,
    /// The end, in seconds since 1970.
    pub until_seconds: i64,
}

/// Whom a retention binds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetentionMode {
    /// Everybody but who has `s3:BypassGovernanceRetention` and says so.
    Governance,
    /// Everybody.
    Compliance,
}

impl RetentionMode {
    /// The name of AWS. `None`: there is no such mode.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|mode| mode.name() == name)
    }

    /// The name of AWS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl Retention {
    /// Whether it still binds at this time, in seconds since 1970.
    #[must_use]
    pub fn is_active(&self, now_seconds: i64) -> bool {
        self.until_seconds > now_seconds
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.mode {
            RetentionMode::Governance => 1,
            RetentionMode::Compliance => 2,
        });
        push_varint(zigzag(self.until_seconds), out);
    }

    pub(super) fn decode(number: u8, value: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(value);
        let [mode] = reader.array()?;
        let mode = match mode {
            1 => RetentionMode::Governance,
            2 => RetentionMode::Compliance,
            _ => return Err(RecordError::Field { number }),
        };
        let until_seconds = unzigzag(reader.varint()?);
        if reader.is_empty() { Ok(Self { mode, until_seconds }) } else { Err(RecordError::Field { number }) }
    }
}

/// A legal hold as one byte.
pub(super) fn decode_legal_hold(number: u8, value: &[u8]) -> Result<bool, RecordError> {
    match value {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(RecordError::Field { number }),
    }
}
