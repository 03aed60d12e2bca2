//! The AWS query protocol, which STS and IAM speak: `POST /` with a form, and refusals with a code.
//!
//! [`form`] reads the parameters of a call, [`refusal`] is what a call is refused with. What the calls mean stands in
//! [`crate::sts`] and [`crate::iam_api`]; answers become XML in [`crate::s3`].
//!
//! Spec: AWS STS and IAM API references, "Making query requests"; WHATWG `application/x-www-form-urlencoded`.

pub mod form;
pub mod refusal;

pub use form::Form;
pub use refusal::{Code, Refusal};
