//! Text codecs that every layer needs: hexadecimal, percent encoding and the date formats of S3 and HTTP.
//!
//! Nothing here does I/O, reads a clock or allocates where the answer has a fixed size. Base64 is not here: the
//! `base64` crate is used directly where a protocol asks for it.

pub mod dates;
pub mod hex;
pub mod percent;
