//! The S3 API: from a request head to an [`operation::Operation`], one file per family of operations that carries it
//! out, and back to XML ([`xml`]) or an error ([`error`]).

pub mod error;
pub mod operation;
pub mod xml;
