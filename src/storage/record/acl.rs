//! The access control list of an object as a field of its record.
//!
//! Grants, one after the other, in the order they were given, at most 100:
//!
//! | bytes | value |
//! |---|---|
//! | 1 | permission × 16 + kind of the grantee |
//! | varint, n | length and text of the unique id: letters and digits (kind 3 only) |
//!
//! Permissions: 0 = READ, 1 = WRITE, 2 = READ_ACP, 3 = WRITE_ACP, 4 = FULL_CONTROL. Kinds: 0 = the owner of the object,
//! 1 = everybody, 2 = everybody who signs, 3 = a user.
//!
//! The owner alone with FULL_CONTROL is written by leaving the field out, and in no other way. An empty list gives
//! nobody anything.

use super::RecordError;
use super::wire::{Reader, push_length_and};
use crate::iam::acl::{Acl, Grant, Grantee, Permission};

/// The most a list takes in a record, in bytes.
pub(super) const BYTES_MAX: usize = Acl::GRANTS_MAX * (2 + Grantee::ID_BYTES_MAX);
const _: () = assert!(Grantee::ID_BYTES_MAX < 128, "the length of an id is one byte");

pub(super) fn encode(acl: &Acl, out: &mut Vec<u8>) {
    for Grant { grantee, permission } in acl.grants() {
        let permission = match permission {
            Permission::Read => 0,
            Permission::Write => 1,
            Permission::ReadAcp => 2,
            Permission::WriteAcp => 3,
            Permission::FullControl => 4,
        };
        let kind = match grantee {
            Grantee::Owner => 0,
            Grantee::AllUsers => 1,
            Grantee::AuthenticatedUsers => 2,
            Grantee::User(_) => 3,
        };
        out.push(permission << 4 | kind);
        if let Grantee::User(id) = grantee {
            push_length_and(id.as_bytes(), out);
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Acl, RecordError> {
    let mut reader = Reader::new(bytes);
    let mut grants = Vec::new();
    while !reader.is_empty() {
        let [byte] = reader.array()?;
        let permission = match byte >> 4 {
            0 => Permission::Read,
            1 => Permission::Write,
            2 => Permission::ReadAcp,
            3 => Permission::WriteAcp,
            4 => Permission::FullControl,
            _ => return Err(RecordError::Acl),
        };
        let grantee = match byte & 15 {
            0 => Grantee::Owner,
            1 => Grantee::AllUsers,
            2 => Grantee::AuthenticatedUsers,
            3 => std::str::from_utf8(reader.bytes()?).ok().and_then(Grantee::user).ok_or(RecordError::Acl)?,
            _ => return Err(RecordError::Acl),
        };
        if grants.len() >= Acl::GRANTS_MAX {
            return Err(RecordError::Acl);
        }
        grants.push(Grant { grantee, permission });
    }
    Acl::new(grants).filter(|acl| !acl.is_private()).ok_or(RecordError::Acl)
}
