//! MD5 of one stream, incremental: the state that [`update_many`](super::update_many) advances for many streams.
//!
//! MD5 is broken as a cryptographic hash. It is here because S3 defines the ETag and `Content-MD5` by it; nothing in
//! this crate may rely on it against an attacker.
//!
//! Specification: RFC 1321.

use super::md5_lanes::compress_one;
use super::partial::{BLOCK_BYTES, Partial, whole_blocks};

/// The bytes of an MD5 digest.
pub const MD5_BYTES: usize = 16;

/// The running MD5 of one stream.
#[derive(Clone, Debug)]
pub struct Md5State {
    /// A, B, C, D after all whole blocks so far.
    pub(super) words: [u32; 4],
    partial: Partial,
}

impl Default for Md5State {
    fn default() -> Self {
        Self::new()
    }
}

impl Md5State {
    /// The state of the empty stream.
    pub const fn new() -> Self {
        Self { words: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476], partial: Partial::new() }
    }

    /// The digest of `data`.
    pub fn digest(data: &[u8]) -> [u8; MD5_BYTES] {
        let mut state = Self::new();
        state.update(data);
        state.finish()
    }

    /// Appends `data` to the stream.
    ///
    /// Where several streams have data at the same time, [`update_many`](super::update_many) is several times faster.
    pub fn update(&mut self, data: &[u8]) {
        let (blocks, tail) = whole_blocks(self.begin(data));
        compress_one(&mut self.words, blocks);
        self.end(tail);
    }

    /// The digest of the stream.
    pub fn finish(mut self) -> [u8; MD5_BYTES] {
        let mut padded = [0; 2 * BLOCK_BYTES];
        let end = self.partial.padded(u64::to_le_bytes, &mut padded);
        compress_one(&mut self.words, &padded[..end]);
        let mut digest = [0; MD5_BYTES];
        for (to, word) in digest.chunks_exact_mut(4).zip(self.words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }

    /// Takes in what completes a block that was begun; returns what is left of `data` ([`Partial::begin`]).
    pub(super) fn begin<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        self.partial.begin(data, |block| compress_one(&mut self.words, block))
    }

    /// Keeps what follows the last compressed block ([`Partial::end`]).
    pub(super) fn end(&mut self, tail: &[u8]) {
        self.partial.end(tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &[u8], expected: &str) {
        let hex: String = Md5State::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    /// RFC 1321, appendix A.5.
    #[test]
    fn published_vectors() {
        check(b"", "d41d8cd98f00b204e9800998ecf8427e");
        check(b"a", "0cc175b9c0f1b6a831c399e269772661");
        check(b"abc", "900150983cd24fb0d6963f7d28e17f72");
        check(b"message digest", "f96b697d7cb7938d525a2f31aaf161d0");
        check(b"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b");
        check(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "d174ab98d277d9f5a5611c2c9f419d9f",
        );
        check(&b"1234567890".repeat(8), "57edf4a22be3c955ac49da2e2107b67a");
    }

    /// Every length around the ends of blocks, where the padding takes one block or two, and every way to cut it once.
    #[test]
    fn every_length_and_cut_equals_the_md5_crate() {
        use ::md5::Digest as _;
        let data: Vec<u8> = (0..200_u32).map(|index| (index * 37 % 251) as u8).collect();
        for bytes in 0..=data.len() {
            let expected = ::md5::Md5::digest(&data[..bytes]);
            for cut in 0..=bytes {
                let mut state = Md5State::new();
                state.update(&data[..cut]);
                state.update(&data[cut..bytes]);
                assert_eq!(state.finish()[..], expected[..], "{bytes} bytes cut at {cut}");
            }
        }
    }
}
