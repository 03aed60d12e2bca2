//! Everything that is computed over the bytes of an object: the MD5 of its ETag, the SHA-256 of a signed payload, and
//! the checksums of S3.
//!
//! [`BodyDigests`] computes over one body whatever its request needs. [`update_many`] advances MD5 and SHA-256 of many
//! bodies at once, which is what makes them affordable. No I/O, no comparison with what a client sent.
//!
//! Read in this order: `checksum.rs` (names and values), `checksummer.rs` (ten algorithms, checksums of parts), `crc.rs`
//! (the combination), `partial.rs` (blocks and padding), `md5.rs` (one stream), `md5_lanes.rs` (many), `vector.rs` (the
//! compression function), `sha256.rs` (one stream and many), `x86_64/` (instructions). The `unsafe` code is in `md5_lanes.rs`,
//! `vector.rs` and `x86_64/`.

mod body;
mod checksum;
mod checksummer;
mod crc;
mod md5;
mod md5_lanes;
mod partial;
mod sha256;
#[cfg(test)]
mod tests;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use self::body::{BodyDigests, CHECKSUMS_COUNT_MAX, Digests, Hashes, Wanted, update_many};
#[doc(hidden)]
pub use self::checksum::fuzz;
pub use self::checksum::{
    Algorithm, CHECKSUM_BASE64_BYTES_MAX, CHECKSUM_BYTES_MAX, Checksum, ChecksumType, Composite,
};
pub use self::checksummer::{Checksummer, FullObject, composite};
pub use self::md5::{MD5_BYTES, Md5State};
pub use self::sha256::{SHA256_BYTES, Sha256State};
