//! CRC32, CRC32C and CRC64NVME: streaming, and the checksum of a whole object from those of its parts.
//!
//! The bytes go through the `crc-fast` crate (carry-less multiplication, tens of GiB/s); what is ours is a state of
//! sixteen bytes, and the combination: `crc-fast` squares a 64 by 64 matrix per bit of the length, 220 µs for each part,
//! so that an upload of 10,000 parts would hold up a core for two seconds.
//!
//! All three are reflected, start from all ones and end inverted, which is what [`Shift`] relies on.
//!
//! Specification: the CRC catalogue entries CRC-32/ISO-HDLC, CRC-32/ISCSI and CRC-64/NVME.

use crc_fast::CrcAlgorithm;

/// One of the three CRCs of S3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CrcKind {
    /// CRC-32/ISO-HDLC, the one of zlib.
    Crc32,
    /// CRC-32/ISCSI, Castagnoli's polynomial.
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
}

impl CrcKind {
    const fn algorithm(self) -> CrcAlgorithm {
        match self {
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
            Self::Crc32c => CrcAlgorithm::Crc32Iscsi,
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        }
    }

    /// The polynomial without its leading term, the coefficient of x^0 in the highest bit.
    const fn polynomial(self) -> u64 {
        match self {
            Self::Crc32 => 0xedb8_8320,
            Self::Crc32c => 0x82f6_3b78,
            Self::Crc64Nvme => 0x9a6c_9329_ac4b_c9b5,
        }
    }

    /// The polynomial 1: only the coefficient of x^0.
    const fn one(self) -> u64 {
        match self {
            Self::Crc32 | Self::Crc32c => 1 << 31,
            Self::Crc64Nvme => 1 << 63,
        }
    }
}

/// A running CRC.
#[derive(Clone)]
pub(super) struct Crc {
    kind: CrcKind,
    /// The register of `crc-fast`, before the final inversion.
    state: u64,
}

impl Crc {
    pub(super) fn new(kind: CrcKind) -> Self {
        Self { kind, state: crc_fast::Digest::new(kind.algorithm()).get_state() }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        // The digest is rebuilt around the register, as it carries 300 bytes of constants.
        let mut digest = crc_fast::Digest::new_with_init_state(self.kind.algorithm(), self.state);
        digest.update(data);
        self.state = digest.get_state();
    }

    pub(super) fn finish(self) -> u64 {
        crc_fast::Digest::new_with_init_state(self.kind.algorithm(), self.state).finalize()
    }
}

/// The step from the CRC of a sequence to its share of the CRC of that sequence followed by `bytes` others:
/// multiplication by x^(8 * bytes) modulo the polynomial.
///
/// `crc(a ++ b) = shift(crc(a), len(b)) ^ crc(b)`; the initial ones of b and the two inversions cancel out.
#[derive(Clone, Copy)]
pub(super) struct Shift {
    kind: CrcKind,
    bytes: u64,
    factor: u64,
}

impl Shift {
    /// The shift by `bytes`; costs two multiplications per bit of the length.
    pub(super) fn new(kind: CrcKind, bytes: u64) -> Self {
        let mut factor = kind.one();
        // x^8, then its squares.
        let mut power = kind.one() >> 8;
        let mut rest = bytes;
        while rest > 0 {
            if rest & 1 == 1 {
                factor = multiply(kind, factor, power);
            }
            power = multiply(kind, power, power);
            rest >>= 1;
        }
        Self { kind, bytes, factor }
    }

    /// The number of bytes this shift is for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The CRC of a sequence with the CRC `first`, followed by one of this shift's length with the CRC `second`.
    pub(super) fn combine(&self, first: u64, second: u64) -> u64 {
        multiply(self.kind, self.factor, first) ^ second
    }
}

/// The product of two polynomials modulo the one of `kind`, by shift and add. Masks in place of branches, which would be
/// guessed wrong half of the time.
fn multiply(kind: CrcKind, left: u64, mut right: u64) -> u64 {
    let polynomial = kind.polynomial();
    let mut product = 0;
    for place in (0..=kind.one().ilog2()).rev() {
        product ^= right & all_if(left >> place & 1);
        // Multiply by x: the coefficients move down, and the one that leaves is replaced by the polynomial.
        right = (right >> 1) ^ (polynomial & all_if(right & 1));
    }
    product
}

/// All bits for 1, none for 0.
fn all_if(bit: u64) -> u64 {
    bit.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [CrcKind; 3] = [CrcKind::Crc32, CrcKind::Crc32c, CrcKind::Crc64Nvme];

    /// One bit at a time, as the definition has it.
    fn naive(kind: CrcKind, data: &[u8]) -> u64 {
        let ones = kind.one() | (kind.one() - 1);
        let mut register = ones;
        for byte in data {
            register ^= u64::from(*byte);
            for _ in 0..8 {
                register = (register >> 1) ^ if register & 1 == 1 { kind.polynomial() } else { 0 };
            }
        }
        register ^ ones
    }

    fn direct(kind: CrcKind, data: &[u8]) -> u64 {
        let mut crc = Crc::new(kind);
        crc.update(data);
        crc.finish()
    }

    /// The check values of the CRC catalogue.
    #[test]
    fn published_check_values() {
        assert_eq!(direct(CrcKind::Crc32, b"123456789"), 0xcbf4_3926);
        assert_eq!(direct(CrcKind::Crc32c, b"123456789"), 0xe306_9283);
        assert_eq!(direct(CrcKind::Crc64Nvme, b"123456789"), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn a_shift_by_nothing_is_nothing() {
        for kind in KINDS {
            assert_eq!(Shift::new(kind, 0).combine(0x1234_5678, 0), 0x1234_5678);
        }
    }

    /// Appending zeros is the one long sequence whose CRC is known without its bytes: halves must combine to the whole.
    #[test]
    fn lengths_beyond_32_bits_combine() {
        for kind in KINDS {
            let zeros = vec![0; 1 << 20];
            let mut crc = direct(kind, &zeros);
            let mut bytes = zeros.len() as u64;
            while bytes < 5 << 40 {
                let expected = crc_fast::checksum_combine(kind.algorithm(), crc, crc, bytes);
                crc = Shift::new(kind, bytes).combine(crc, crc);
                assert_eq!(crc, expected, "{kind:?} {bytes}");
                bytes *= 2;
            }
        }
    }

    proptest! {
        #[test]
        fn streaming_equals_the_definition(
            data in proptest::collection::vec(any::<u8>(), 0..2000), cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(data.len() + 1);
            for kind in KINDS {
                let mut crc = Crc::new(kind);
                crc.update(&data[..cut]);
                crc.update(&data[cut..]);
                prop_assert_eq!(crc.finish(), naive(kind, &data));
            }
        }

        #[test]
        fn parts_combine_to_the_whole(
            data in proptest::collection::vec(any::<u8>(), 0..2000), cut in any::<prop::sample::Index>(),
        ) {
            let (first, second) = data.split_at(cut.index(data.len() + 1));
            for kind in KINDS {
                let shift = Shift::new(kind, second.len() as u64);
                prop_assert_eq!(shift.combine(direct(kind, first), direct(kind, second)), direct(kind, &data));
            }
        }
    }
}
