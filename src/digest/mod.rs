//! Everything that is computed over the bytes of an object: the MD5 of its ETag, the SHA-256 of a signed payload, and
//! the checksums of S3.
//!
//! [`BodyDigests`] computes over one body whatever its request needs. [`update_many`] advances the MD5 of many bodies at
//! once, which is what makes MD5 affordable. No I/O, no clock, no comparison with what a client sent.
//!
//! Read in this order: `checksum.rs` (names and values), `checksummer.rs` (ten algorithms, checksums of parts), `crc.rs`
//! (the combination), `md5.rs` (one stream), `md5_lanes.rs` (many), `vector.rs` (the compression function), `x86_64/`
//! (instructions). The `unsafe` code is in the last three.

mod body;
mod checksum;
mod checksummer;
mod crc;
mod md5;
mod md5_lanes;
#[cfg(test)]
mod tests;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use self::body::{BodyDigests, CHECKSUMS_COUNT_MAX, Digests, Wanted};
#[doc(hidden)]
pub use self::checksum::fuzz;
pub use self::checksum::{
    Algorithm, CHECKSUM_BASE64_BYTES_MAX, CHECKSUM_BYTES_MAX, Checksum, ChecksumType, Composite,
};
pub use self::checksummer::{Checksummer, FullObject, composite};
pub use self::md5::{MD5_BYTES, Md5State};
pub use self::md5_lanes::update_many;
