//! Integers and lengths of the record: the only code that touches its bytes one by one.

use super::RecordError;

/// What is left to decode. Every take is measured first.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = usize::try_from(self.varint()?).map_err(|_| RecordError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn varint(&mut self) -> Result<u64, RecordError> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let group = u64::from(byte & 0x7F);
            if (group << shift) >> shift != group {
                return Err(RecordError::Varint);
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                // A last group of zero would be a longer form of the same number.
                return if group == 0 && shift > 0 { Err(RecordError::Varint) } else { Ok(value) };
            }
        }
        Err(RecordError::Varint)
    }
}

pub(super) fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub(super) fn push_length_and(bytes: &[u8], out: &mut Vec<u8>) {
    push_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a numbered field with a value at hand.
pub(super) fn push_bytes(number: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(number);
    push_length_and(value, out);
}

/// Appends a numbered field whose value `write` appends. The length is put in front afterwards, because a value is
/// nearly always shorter than 128 bytes and then nothing has to move.
pub(super) fn push_field(number: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[number, 0]);
    let start = out.len();
    write(out);
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    push_varint(length as u64, &mut prefix);
    out.splice(start - 1..start, prefix);
}

/// Maps small magnitudes of either sign to small numbers.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            push_varint(value, &mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.is_empty());
        }
        let check =
            |bytes: &[u8], expected| assert_eq!(Reader::new(bytes).varint(), Err(expected), "{bytes:?}");
        check(&[], RecordError::Truncated);
        check(&[0x80], RecordError::Truncated);
        check(&[0x80, 0], RecordError::Varint);
        check(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], RecordError::Varint);
        check(&[0xFF; 11], RecordError::Varint);
    }

    #[test]
    fn zigzags() {
        for (value, expected) in [(0, 0), (-1, 1), (1, 2), (i64::MAX, u64::MAX - 1), (i64::MIN, u64::MAX)] {
            assert_eq!(zigzag(value), expected);
            assert_eq!(unzigzag(expected), value);
        }
    }

    #[test]
    fn long_fields_have_long_lengths() {
        for length in [0, 127, 128, 70_000] {
            let (mut expected, mut found) = (Vec::new(), b"before".to_vec());
            push_bytes(7, &vec![1; length], &mut expected);
            push_field(7, &mut found, |out| out.extend(vec![1; length]));
            assert_eq!(found[6..], expected);
        }
    }
}
