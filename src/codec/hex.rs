//! Hexadecimal, lower case out, either case in: digests, ETags, signatures and chunk sizes.
//!
//! Not constant time: compare secrets as bytes (`subtle`), never as text produced here.
//! Spec: RFC 4648 section 8, with the lower case that AWS signatures and ETags use.

/// Appends the lower-case hexadecimal text of `bytes`, two characters for each byte.
pub fn encode_into(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() * 2);
    for &byte in bytes {
        out.extend_from_slice(&PAIRS[usize::from(byte)]);
    }
}

/// Lower-case hexadecimal text of 32 bytes, such as a SHA-256 digest or a signature.
#[must_use]
pub fn encode32(bytes: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    encode_exact(bytes, &mut out);
    out
}

/// Lower-case hexadecimal text of 16 bytes, such as an MD5 digest.
#[must_use]
pub fn encode16(bytes: &[u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    encode_exact(bytes, &mut out);
    out
}

/// Decodes `text` (either case) into `out`. False, with `out` in an unspecified state, when `text` is not exactly
/// `2 * out.len()` hexadecimal digits.
#[must_use]
pub fn decode(text: &[u8], out: &mut [u8]) -> bool {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != out.len() {
        return false;
    }
    // The digits are combined first and judged once at the end: no branch for each byte.
    let mut seen = 0;
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *byte = (high << 4) | (low & 0x0f);
    }
    seen & NOT_A_DIGIT == 0
}

/// Value of one hexadecimal digit of either case.
#[must_use]
pub fn digit(character: u8) -> Option<u8> {
    let value = VALUES[usize::from(character)];
    (value != NOT_A_DIGIT).then_some(value)
}

fn encode_exact(bytes: &[u8], out: &mut [u8]) {
    debug_assert_eq!(bytes.len() * 2, out.len());
    for (pair, &byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(byte)];
    }
}

/// Mark of a byte that is no digit; the values of digits never have this bit.
const NOT_A_DIGIT: u8 = 0x80;

const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 0x0f]];
        byte += 1;
    }
    table
};

const VALUES: [u8; 256] = {
    let mut table = [NOT_A_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        table[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "66"), ("fo", "666f"), ("foobar", "666f6f626172")] {
            let mut out = Vec::new();
            encode_into(bytes.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        assert_eq!(&encode16(&[0xa5; 16]), b"a5".repeat(16).as_slice());
        assert_eq!(&encode32(&[0x0f; 32]), b"0f".repeat(32).as_slice());
    }

    #[test]
    fn decode_refuses_what_is_not_exactly_the_digits() {
        let mut out = [0; 2];
        for text in ["", "0", "012", "01234", "0g00", "00 0", "0x00", "+100", "00\u{e9}"] {
            assert!(!decode(text.as_bytes(), &mut out), "{text:?}");
        }
        assert!(decode(b"aBcD", &mut out));
        assert_eq!(out, [0xab, 0xcd]);
        assert!(decode(b"", &mut []));
    }

    #[test]
    fn digit_agrees_with_the_standard_library() {
        for byte in 0..=255u8 {
            assert_eq!(digit(byte).map(u32::from), char::from(byte).to_digit(16));
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in prop::collection::vec(any::<u8>(), 0..100), upper: bool) {
            let mut text = Vec::new();
            encode_into(&bytes, &mut text);
            let naive: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(&text, naive.as_bytes());
            if upper {
                text.make_ascii_uppercase();
            }
            let mut back = vec![0; bytes.len()];
            prop_assert!(decode(&text, &mut back));
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn decode_agrees_with_the_naive_version(text in "[0-9a-fA-Fg]{0,8}") {
            let naive = text.len() == 6 && text.chars().all(|digit| digit.is_ascii_hexdigit());
            prop_assert_eq!(decode(text.as_bytes(), &mut [0; 3]), naive);
        }
    }
}
