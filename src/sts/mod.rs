//! Temporary credentials, as the AWS Security Token Service hands them out: AssumeRole, GetSessionToken and
//! GetCallerIdentity.
//!
//! A session is nowhere stored. Its token carries everything about it, sealed under a key that only the servers of one
//! identity store have ([`token`]); [`session`] opens a token once per core and keeps what it found. [`form`] reads the
//! calls, [`assume_role`] decides who gets credentials and makes them.
//!
//! Nothing here does I/O, reads a clock or randomness, or logs: bytes, `now` and random ids come in, values go out.
//!
//! Invariants:
//! - A session can never do more than its user, or the role it was made for, can at that moment: both are looked up by
//!   their unique ids with each request, and its policy only takes away. A removed user's or role's tokens stay dead,
//!   also if the name is used again.
//! - A session gets no further session, and neither does a service account.
//!
//! Spec: AWS STS API reference, version 2011-06-15. Deliberately different: a `RoleArn` that cannot name a role of this
//! server is ignored and the session is one of the caller, which may last up to a week, as with WEKA S3.

pub mod assume_role;
pub mod form;
pub mod session;
pub mod token;

pub use assume_role::{Issued, Requester, issue, issue_of_role, role_named};
pub use form::{Call, Wanted};
pub use session::{Holder, Invalid, Session, Sessions};
pub use token::TOKEN_ID_BYTES;
