//! What MD5 and SHA-256 share: a stream that is cut into blocks of 64 bytes, and the padding at its end.
//!
//! Invariant: the first `bytes % 64` bytes of `block` are the end of the stream that no whole block covers yet.
//!
//! Specification: RFC 1321 section 3.1, FIPS 180-4 section 5.1.1.

/// The bytes of one block.
pub(super) const BLOCK_BYTES: usize = 64;

/// Where a stream stands between two blocks.
#[derive(Clone, Debug)]
pub(super) struct Partial {
    /// The length of the stream so far.
    bytes: u64,
    /// The bytes since the last whole block.
    block: [u8; BLOCK_BYTES],
}

impl Partial {
    /// The beginning of a stream.
    pub(super) const fn new() -> Self {
        Self { bytes: 0, block: [0; BLOCK_BYTES] }
    }

    /// Counts `data`, completes the partial block with it if there is one and gives it to `compress`, and returns what is
    /// left of the data. If anything is left, the partial block is empty.
    pub(super) fn begin<'d>(&mut self, data: &'d [u8], compress: impl FnOnce(&[u8])) -> &'d [u8] {
        let filled = self.filled();
        self.bytes = self.bytes.wrapping_add(data.len() as u64);
        if filled == 0 {
            return data;
        }
        let (head, rest) = data.split_at(data.len().min(BLOCK_BYTES - filled));
        self.block[filled..filled + head.len()].copy_from_slice(head);
        if filled + head.len() == BLOCK_BYTES {
            compress(&self.block);
        }
        rest
    }

    /// Keeps `tail`, which is less than a block and is what follows the last compressed block.
    pub(super) fn end(&mut self, tail: &[u8]) {
        assert!(tail.len() < BLOCK_BYTES, "a whole block was left over");
        if tail.is_empty() {
            return;
        }
        self.block[..tail.len()].copy_from_slice(tail);
    }

    /// The last one or two blocks: what is left, padded, and the length in bits as `length_bytes` writes it.
    pub(super) fn padded(&self, length_bytes: fn(u64) -> [u8; 8], to: &mut [u8; 2 * BLOCK_BYTES]) -> usize {
        let filled = self.filled();
        to.fill(0);
        to[..filled].copy_from_slice(&self.block[..filled]);
        to[filled] = 0x80;
        let end = if filled < BLOCK_BYTES - 8 { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
        to[end - 8..end].copy_from_slice(&length_bytes(self.bytes.wrapping_mul(8)));
        end
    }

    /// How many bytes of `block` count.
    fn filled(&self) -> usize {
        (self.bytes % BLOCK_BYTES as u64) as usize
    }
}

/// `data` as whole blocks, and what is left of it.
pub(super) fn whole_blocks(data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(data.len() - data.len() % BLOCK_BYTES)
}
