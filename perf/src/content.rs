//! What objects contain: a piece of one fixed random text, at a place that the object's number says. So any byte of any
//! object can be checked while it is read, without keeping the objects.

/// The text that all contents are cut from.
pub struct Contents {
    text: Vec<u8>,
    size: usize,
}

/// How far apart the contents of neighbouring objects begin.
const STEP: usize = 8;
/// After so many objects contents repeat.
const PLACES: usize = 4096;

impl Contents {
    /// Contents of `size` bytes.
    pub fn new(size: usize) -> Contents {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let words = (size + STEP * PLACES).div_ceil(8);
        let mut text = Vec::with_capacity(words * 8);
        for _ in 0..words {
            // xorshift64*: incompressible, and the same in every run.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            text.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        Contents { text, size }
    }

    /// The content of an object.
    pub fn of(&self, object: usize) -> &[u8] {
        let start = object % PLACES * STEP;
        &self.text[start..start + self.size]
    }
}
