//! SHA-256 and HMAC of the short texts of a signature: each is put together in one place, with its padding, and hashed in
//! one go. The general hashers take a text piece by piece, for any number and size of pieces, and look at each of their
//! blocks by itself (measured: a tenth of a verification).
//!
//! Spec: FIPS 180-4 sections 5.1.1, 5.3.3 and 6.2; RFC 2104.

use sha2::block_api::compress256;
use smallvec::{Array, SmallVec};
use zeroize::Zeroize;

/// Where a text goes that is put together.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn put_byte(&mut self, byte: u8);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_byte(&mut self, byte: u8) {
        self.push(byte);
    }
}

impl<A: Array<Item = u8>> Sink for SmallVec<A> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_byte(&mut self, byte: u8) {
        self.push(byte);
    }
}

/// A text whose SHA-256 is wanted. A longer one than there is room for is hashed in steps.
pub(super) struct Hasher {
    state: [u32; 8],
    hashed_bytes: u64,
    /// Less than all of it is filled.
    blocks: [[u8; BLOCK_BYTES]; BLOCKS],
    filled: usize,
}

impl Hasher {
    pub(super) fn new() -> Hasher {
        Hasher::after(INITIAL, 0)
    }

    fn after(state: [u32; 8], hashed_bytes: u64) -> Hasher {
        Hasher { state, hashed_bytes, blocks: [[0; BLOCK_BYTES]; BLOCKS], filled: 0 }
    }

    /// The SHA-256 of the text.
    pub(super) fn finish(mut self) -> [u8; 32] {
        let bits = (self.hashed_bytes + self.filled as u64) * 8;
        let (filled, whole) = (self.filled, (self.filled + 1 + 8).next_multiple_of(BLOCK_BYTES));
        if whole > BLOCKS * BLOCK_BYTES {
            self.compress();
            return self.finish();
        }
        let padded = &mut self.blocks.as_flattened_mut()[..whole];
        padded[filled..].fill(0);
        padded[filled] = 0x80;
        padded[whole - 8..].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut self.state, &self.blocks[..whole / BLOCK_BYTES]);
        bytes_of(&self.state)
    }

    /// Hashes the blocks that are full; what is behind them becomes the beginning.
    #[cold]
    fn compress(&mut self) {
        let full = self.filled / BLOCK_BYTES;
        compress256(&mut self.state, &self.blocks[..full]);
        let bytes = full * BLOCK_BYTES;
        self.blocks.as_flattened_mut().copy_within(bytes..self.filled, 0);
        self.hashed_bytes += bytes as u64;
        self.filled -= bytes;
    }

    #[cold]
    fn put_in_steps(&mut self, bytes: &[u8]) {
        // Half of the room at most is a rest that is moved.
        for piece in bytes.chunks((BLOCKS - 1) * BLOCK_BYTES) {
            self.compress();
            self.put(piece);
        }
    }
}

impl Sink for Hasher {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let room = &mut self.blocks.as_flattened_mut()[self.filled..];
        if bytes.len() < room.len() {
            room[..bytes.len()].copy_from_slice(bytes);
            self.filled += bytes.len();
        } else {
            self.put_in_steps(bytes);
        }
    }

    #[inline]
    fn put_byte(&mut self, byte: u8) {
        self.put(&[byte]);
    }
}

/// A key of HMAC-SHA256: the two states that it starts from, so that a signature costs the blocks of its text and one more.
#[derive(Clone)]
pub(super) struct HmacKey {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl HmacKey {
    pub(super) fn new(key: &[u8; 32]) -> HmacKey {
        let state = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            state
        };
        HmacKey { inner: state(0x36), outer: state(0x5c) }
    }

    /// Where the text goes that [`HmacKey::finish`] signs.
    pub(super) fn begin(&self) -> Hasher {
        Hasher::after(self.inner, BLOCK_BYTES as u64)
    }

    /// The HMAC of the text.
    pub(super) fn finish(&self, text: Hasher) -> [u8; 32] {
        let mut block = [0; BLOCK_BYTES];
        block[..32].copy_from_slice(&text.finish());
        block[32] = 0x80;
        block[BLOCK_BYTES - 8..].copy_from_slice(&((BLOCK_BYTES as u64 + 32) * 8).to_be_bytes());
        let mut state = self.outer;
        compress256(&mut state, &[block]);
        bytes_of(&state)
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

fn bytes_of(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

const BLOCK_BYTES: usize = 64;
/// Most canonical requests fit.
const BLOCKS: usize = 11;
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn hash(pieces: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Hasher::new();
        pieces.iter().for_each(|piece| hasher.put(piece));
        hasher.finish()
    }

    #[test]
    fn every_length_around_the_ends_of_blocks_and_of_the_room() {
        let text: Vec<u8> = (0..3 * BLOCKS * BLOCK_BYTES).map(|index| index as u8).collect();
        for length in 0..text.len() {
            let expected: [u8; 32] = Sha256::digest(&text[..length]).into();
            assert_eq!(hash(&[&text[..length]]), expected, "{length}");
            let (half, rest) = text[..length].split_at(length / 2);
            assert_eq!(hash(&[half, rest]), expected, "{length} in two pieces");
        }
        let mut hasher = Hasher::new();
        text.iter().for_each(|byte| hasher.put_byte(*byte));
        assert_eq!(hasher.finish(), <[u8; 32]>::from(Sha256::digest(&text)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_general_hashers(pieces: Vec<Vec<u8>>, key: [u8; 32]) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let text = pieces.concat();
            prop_assert_eq!(hash(&pieces), <[u8; 32]>::from(Sha256::digest(&text)));
            let own = HmacKey::new(&key);
            let mut signed = own.begin();
            pieces.iter().for_each(|piece| signed.put(piece));
            let mut expected = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            expected.update(&text);
            prop_assert_eq!(own.finish(signed), <[u8; 32]>::from(expected.finalize().into_bytes()));
        }
    }
}
