//! Checksums and the table of parts.

use std::ops::Range;

use smallvec::SmallVec;

use super::RecordError;
use super::wire::{Reader, push_varint};
use crate::digest::{Algorithm, Checksum, ChecksumType};
use crate::limits::PARTS_MAX;

/// The checksum of an object, and what it is of. Held inline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredChecksum {
    checksum: Checksum,
    // `None`: of the full object.
    composite_of: Option<u16>,
}

impl StoredChecksum {
    /// The checksum of all bytes of the object.
    ///
    /// # Errors
    /// [`RecordError::Checksum`]: the value's length is not the algorithm's.
    pub fn full_object(algorithm: Algorithm, value: &[u8]) -> Result<Self, RecordError> {
        Self::new(algorithm, None, value)
    }

    /// The checksum of the checksums of the parts.
    ///
    /// # Errors
    /// [`RecordError::Checksum`]: the value's length is not the algorithm's, or the number of parts is not 1 to 10,000.
    pub fn composite(algorithm: Algorithm, value: &[u8], part_count: u32) -> Result<Self, RecordError> {
        if !(1..=PARTS_MAX).contains(&part_count) {
            return Err(RecordError::Checksum);
        }
        Self::new(algorithm, Some(part_count as u16), value)
    }

    fn new(algorithm: Algorithm, composite_of: Option<u16>, value: &[u8]) -> Result<Self, RecordError> {
        let checksum = Checksum::from_bytes(algorithm, value).ok_or(RecordError::Checksum)?;
        Ok(Self { checksum, composite_of })
    }

    /// Which function.
    pub fn algorithm(&self) -> Algorithm {
        self.checksum.algorithm()
    }

    /// Of the object or of its parts' checksums.
    pub fn checksum_type(&self) -> ChecksumType {
        if self.composite_of.is_some() { ChecksumType::Composite } else { ChecksumType::FullObject }
    }

    /// How many parts a composite checksum is made of: the number after its dash.
    pub fn part_count(&self) -> Option<u32> {
        self.composite_of.map(u32::from)
    }

    /// The value with its algorithm.
    pub fn checksum(&self) -> &Checksum {
        &self.checksum
    }

    /// The value, as many bytes as the algorithm gives.
    pub fn value(&self) -> &[u8] {
        self.checksum.as_bytes()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.algorithm().code(), u8::from(self.composite_of.is_some())]);
        if let Some(part_count) = self.composite_of {
            push_varint(u64::from(part_count), out);
        }
        out.extend_from_slice(self.value());
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let [code, composite] = reader.array()?;
        let algorithm = Algorithm::from_code(code).ok_or(RecordError::Checksum)?;
        match composite {
            0 => Self::full_object(algorithm, reader.rest()),
            1 => {
                let part_count = u32::try_from(reader.varint()?).map_err(|_| RecordError::Checksum)?;
                Self::composite(algorithm, reader.rest(), part_count)
            }
            _ => Err(RecordError::Checksum),
        }
    }
}

/// The sizes of the parts, in the order of the object. Parts of equal size next to each other take one entry, so that
/// the table of 10,000 of them takes a few bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartTable {
    runs: SmallVec<[Run; 2]>,
    part_count: u32,
    total_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    part_count: u32,
    part_bytes: u64,
}

impl PartTable {
    /// Takes the sizes of all parts, in bytes.
    ///
    /// # Errors
    /// [`RecordError::Parts`]: none, more than 10,000, or a sum beyond 64 bits.
    pub fn from_sizes(sizes: impl IntoIterator<Item = u64>) -> Result<Self, RecordError> {
        let mut table = Self { runs: SmallVec::new(), part_count: 0, total_bytes: 0 };
        for part_bytes in sizes {
            match table.runs.last_mut() {
                Some(run) if run.part_bytes == part_bytes => run.part_count += 1,
                _ => table.runs.push(Run { part_count: 1, part_bytes }),
            }
            table.count(Run { part_count: 1, part_bytes })?;
        }
        if table.part_count == 0 { Err(RecordError::Parts) } else { Ok(table) }
    }

    /// How many parts, 1 to 10,000.
    pub fn part_count(&self) -> u32 {
        self.part_count
    }

    /// Their sum, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Which bytes of the object are part `number`, counted from 1. `None`: there is no such part.
    pub fn range(&self, number: u32) -> Option<Range<u64>> {
        let mut before = u64::from(number.checked_sub(1)?);
        let mut start = 0;
        for run in &self.runs {
            if before < u64::from(run.part_count) {
                start += before * run.part_bytes;
                return Some(start..start + run.part_bytes);
            }
            before -= u64::from(run.part_count);
            start += u64::from(run.part_count) * run.part_bytes;
        }
        None
    }

    /// The size of each part, in bytes.
    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(|run| std::iter::repeat_n(run.part_bytes, run.part_count as usize))
    }

    /// Adds parts to the sums, within their bounds.
    fn count(&mut self, run: Run) -> Result<(), RecordError> {
        self.part_count = self.part_count.checked_add(run.part_count).ok_or(RecordError::Parts)?;
        let bytes = run.part_bytes.checked_mul(u64::from(run.part_count)).ok_or(RecordError::Parts)?;
        self.total_bytes = self.total_bytes.checked_add(bytes).ok_or(RecordError::Parts)?;
        if self.part_count > PARTS_MAX { Err(RecordError::Parts) } else { Ok(()) }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for run in &self.runs {
            push_varint(u64::from(run.part_count), out);
            push_varint(run.part_bytes, out);
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut table = Self { runs: SmallVec::new(), part_count: 0, total_bytes: 0 };
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let part_count = u32::try_from(reader.varint()?).map_err(|_| RecordError::Parts)?;
            let run = Run { part_count, part_bytes: reader.varint()? };
            let repeats = table.runs.last().is_some_and(|last| last.part_bytes == run.part_bytes);
            if part_count == 0 || repeats {
                return Err(RecordError::Parts);
            }
            table.count(run)?;
            table.runs.push(run);
        }
        if table.part_count == 0 { Err(RecordError::Parts) } else { Ok(table) }
    }
}

/// The checksums of all parts, one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartChecksums {
    algorithm: Algorithm,
    values: Box<[u8]>,
}

impl PartChecksums {
    /// Takes the raw values of all parts, one after the other.
    ///
    /// # Errors
    /// [`RecordError::Checksum`]: not 1 to 10,000 values of the algorithm's length.
    pub fn new(algorithm: Algorithm, values: &[u8]) -> Result<Self, RecordError> {
        let value_bytes = algorithm.digest_bytes();
        let legal = values.len().is_multiple_of(value_bytes)
            && (1..=PARTS_MAX as usize).contains(&(values.len() / value_bytes));
        if legal { Ok(Self { algorithm, values: values.into() }) } else { Err(RecordError::Checksum) }
    }

    /// Which function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How many parts.
    pub fn part_count(&self) -> u32 {
        (self.values.len() / self.algorithm.digest_bytes()) as u32
    }

    /// The raw value of part `number`, counted from 1. `None`: there is no such part.
    pub fn value(&self, number: u32) -> Option<&[u8]> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.values.chunks_exact(self.algorithm.digest_bytes()).nth(index)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.algorithm.code());
        out.extend_from_slice(&self.values);
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let [code] = reader.array()?;
        Self::new(Algorithm::from_code(code).ok_or(RecordError::Checksum)?, reader.rest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_its_code_and_length_on_disk() {
        // Part of the format: neither may ever change.
        let expected = [
            (Algorithm::Crc32, 1, 4),
            (Algorithm::Crc32c, 2, 4),
            (Algorithm::Crc64Nvme, 3, 8),
            (Algorithm::Sha1, 4, 20),
            (Algorithm::Sha256, 5, 32),
            (Algorithm::Sha512, 6, 64),
            (Algorithm::Md5, 7, 16),
            (Algorithm::XxHash64, 8, 8),
            (Algorithm::XxHash3, 9, 8),
            (Algorithm::XxHash128, 10, 16),
        ];
        for (algorithm, code, value_bytes) in expected {
            let value = vec![7; value_bytes];
            let checksum = StoredChecksum::composite(algorithm, &value, 3).unwrap();
            let mut encoded = Vec::new();
            checksum.encode(&mut encoded);
            assert_eq!(encoded, [&[code, 1, 3], &value[..]].concat());
            assert_eq!(StoredChecksum::decode(&encoded), Ok(checksum));
            assert_eq!((checksum.value(), checksum.part_count()), (&value[..], Some(3)));
            assert_eq!(checksum.checksum_type(), ChecksumType::Composite);
            for length in [value_bytes - 1, value_bytes + 1] {
                assert_eq!(
                    StoredChecksum::full_object(algorithm, &vec![0; length]),
                    Err(RecordError::Checksum)
                );
            }
        }
        assert_eq!(StoredChecksum::decode(&[0, 0, 1, 1, 1, 1]), Err(RecordError::Checksum));
        assert_eq!(StoredChecksum::decode(&[11, 0, 1, 1, 1, 1]), Err(RecordError::Checksum));
        for part_count in [0, 10_001, 65_537] {
            assert_eq!(
                StoredChecksum::composite(Algorithm::Crc32, &[0; 4], part_count),
                Err(RecordError::Checksum)
            );
        }
    }

    #[test]
    fn part_tables() {
        let sizes = [5, 5, 5, 8, 0, 8, 8, 1];
        let table = PartTable::from_sizes(sizes).unwrap();
        assert_eq!((table.part_count(), table.total_bytes()), (8, 40));
        assert!(table.sizes().eq(sizes));
        let mut start = 0;
        for (number, size) in (1..).zip(sizes) {
            assert_eq!(table.range(number), Some(start..start + size));
            start += size;
        }
        assert_eq!((table.range(0), table.range(9), table.range(u32::MAX)), (None, None, None));

        let mut encoded = Vec::new();
        PartTable::from_sizes([8 << 20; 10_000]).unwrap().encode(&mut encoded);
        assert_eq!(encoded.len(), 6, "ten thousand equal parts take a few bytes");
        assert_eq!(PartTable::from_sizes([]), Err(RecordError::Parts));
        assert_eq!(PartTable::from_sizes([1; 10_001]), Err(RecordError::Parts));
        assert_eq!(PartTable::from_sizes([u64::MAX, 1]), Err(RecordError::Parts));
    }

    #[test]
    fn malformed_part_tables() {
        let check = |numbers: &[u64]| {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|number| push_varint(*number, &mut bytes));
            assert!(PartTable::decode(&bytes).is_err(), "{numbers:?}");
        };
        check(&[]);
        check(&[1]);
        check(&[0, 5]);
        check(&[1, 5, 1, 5]);
        check(&[10_001, 1]);
        check(&[10_000, 1, 1, 2]);
        check(&[u64::from(u32::MAX) + 1, 1]);
        check(&[2, u64::MAX]);
        check(&[1, u64::MAX, 1, 1]);
    }

    #[test]
    fn part_checksums() {
        let checksums = PartChecksums::new(Algorithm::Crc32, b"aaaabbbb").unwrap();
        assert_eq!(checksums.part_count(), 2);
        assert_eq!((checksums.value(1), checksums.value(2)), (Some(&b"aaaa"[..]), Some(&b"bbbb"[..])));
        assert_eq!((checksums.value(0), checksums.value(3)), (None, None));
        for values in [&b""[..], b"aaa", b"aaaab", &[0; 4 * 10_001]] {
            assert_eq!(PartChecksums::new(Algorithm::Crc32, values), Err(RecordError::Checksum));
        }
    }
}
