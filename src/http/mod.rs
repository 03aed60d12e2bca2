//! HTTP/1.1 as S3 needs it, sans I/O: request heads, body framing, ranges, conditional requests, response heads.
//!
//! Bytes go in and values come out; sockets, clocks and timeouts belong to the worker. HTTP/2 and upgrades are not
//! offered: no S3 SDK asks for them.
//! Spec: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).

pub mod body;
pub mod conditional;
pub mod head;
pub mod range;
pub mod response;
