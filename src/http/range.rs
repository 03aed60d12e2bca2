//! Byte ranges: the `Range` header of reads and `x-amz-copy-source-range` of part copies.
//!
//! One range at most: like S3, several ranges in one header are answered with the whole object, never with
//! `multipart/byteranges`. What cannot be read as a range is ignored in `Range` (RFC 9110 section 14.2) and refused in
//! `x-amz-copy-source-range`, where the copy would silently be another one.
//! Spec: RFC 9110 section 14; AWS GetObject and UploadPartCopy.

use crate::http::conditional::{Validators, if_range_holds};

/// A range that is not empty and lies within the size it was resolved against: `first <= last < size`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// The bytes from `first` to `last`, both included, of an object of `size` bytes; `None` unless all of them exist.
    #[must_use]
    pub fn new(first: u64, last: u64, size: u64) -> Option<Self> {
        (first <= last && last < size).then_some(Self { first, last })
    }

    /// Offset of the first byte.
    #[must_use]
    pub fn first(self) -> u64 {
        self.first
    }

    /// Offset of the last byte, which belongs to the range.
    #[must_use]
    pub fn last(self) -> u64 {
        self.last
    }

    /// Number of bytes; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u64 {
        // No overflow: `last` is below a size that fits 64 bits.
        self.last - self.first + 1
    }
}

/// What a read sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeOutcome {
    /// 200 with all bytes: no range, or one that is ignored.
    Whole,
    /// 206 with these bytes.
    Partial(ByteRange),
    /// 416 InvalidRange, with `Content-Range: bytes */size`.
    Unsatisfiable,
}

/// Why a copy's range was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyRangeError {
    /// Not `bytes=first-last` with `first <= last`: 400 InvalidArgument.
    Malformed,
    /// The range ends beyond the source: 416 InvalidRange.
    BeyondSource,
}

/// Resolves the `Range` and `If-Range` headers of a read against an object of `size` bytes.
#[must_use]
pub fn resolve(
    range: Option<&[u8]>,
    if_range: Option<&[u8]>,
    object: &Validators<'_>,
    size: u64,
) -> RangeOutcome {
    match range {
        Some(range) if if_range.is_none_or(|value| if_range_holds(value, object)) => parse(range, size),
        _ => RangeOutcome::Whole,
    }
}

/// Resolves a `Range` header against `size`: the end is clamped, a suffix longer than the object is the whole object
/// (206), and what begins at or behind the end, or lies in an empty object, cannot be satisfied.
#[must_use]
pub fn parse(range: &[u8], size: u64) -> RangeOutcome {
    let Some((first, last)) = bounds(range) else { return RangeOutcome::Whole };
    let resolved = match (first, last) {
        (Some(first), Some(last)) if first > last => return RangeOutcome::Whole,
        (Some(first), last) => {
            ByteRange::new(first, last.unwrap_or(u64::MAX).min(size.saturating_sub(1)), size)
        }
        (None, Some(suffix)) => ByteRange::new(size.saturating_sub(suffix), size.saturating_sub(1), size),
        (None, None) => return RangeOutcome::Whole,
    };
    resolved.map_or(RangeOutcome::Unsatisfiable, RangeOutcome::Partial)
}

/// Resolves `x-amz-copy-source-range`, which names both ends of a range that the source has.
///
/// # Errors
/// [`CopyRangeError`]; nothing is clamped or ignored.
pub fn parse_copy_source(range: &[u8], size: u64) -> Result<ByteRange, CopyRangeError> {
    match bounds(range) {
        Some((Some(first), Some(last))) if first <= last => {
            ByteRange::new(first, last, size).ok_or(CopyRangeError::BeyondSource)
        }
        _ => Err(CopyRangeError::Malformed),
    }
}

/// Both ends of `bytes=first-last` as far as they are written; `None` for any other text, several ranges among them.
fn bounds(range: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = range.split_at_checked(UNIT.len())?;
    if !unit.eq_ignore_ascii_case(UNIT) {
        return None;
    }
    let range = range.trim_ascii();
    let dash = memchr::memchr(b'-', range)?;
    Some((number(&range[..dash])?, number(&range[dash + 1..])?))
}

/// `Some(None)` for no digits at all, `None` for anything but digits. Numbers beyond 64 bits are the largest one: no
/// object has a byte there.
fn number(text: &[u8]) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    let value = text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })?;
    Some(Some(value))
}

const UNIT: &[u8] = b"bytes=";

/// Resolves `data` against several sizes and asserts that what comes out exists.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    for size in [0, 1, 10, u64::MAX] {
        if let RangeOutcome::Partial(range) = parse(data, size) {
            assert!(range.first() <= range.last() && range.last() < size && range.len() <= size);
        }
        if let Ok(range) = parse_copy_source(data, size) {
            assert_eq!(parse(data, size), RangeOutcome::Partial(range));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::dates::Timestamp;

    fn partial(first: u64, last: u64) -> RangeOutcome {
        RangeOutcome::Partial(ByteRange { first, last })
    }

    #[test]
    fn ranges_of_reads() {
        use RangeOutcome::{Unsatisfiable, Whole};
        for (range, of_ten, of_empty) in [
            ("bytes=0-0", partial(0, 0), Unsatisfiable),
            ("bytes=0-9", partial(0, 9), Unsatisfiable),
            ("bytes=0-8388607", partial(0, 9), Unsatisfiable),
            ("bytes=4-7", partial(4, 7), Unsatisfiable),
            ("bytes=4-", partial(4, 9), Unsatisfiable),
            ("bytes=9-9", partial(9, 9), Unsatisfiable),
            ("bytes=-1", partial(9, 9), Unsatisfiable),
            ("bytes=-10", partial(0, 9), Unsatisfiable),
            ("bytes=-262144", partial(0, 9), Unsatisfiable),
            ("bytes=-99999999999999999999999", partial(0, 9), Unsatisfiable),
            ("bytes=0-99999999999999999999999", partial(0, 9), Unsatisfiable),
            ("Bytes=1-2", partial(1, 2), Unsatisfiable),
            ("bytes= 1-2", partial(1, 2), Unsatisfiable),
            ("bytes=10-", Unsatisfiable, Unsatisfiable),
            ("bytes=10-20", Unsatisfiable, Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable, Unsatisfiable),
            ("bytes=-0", Unsatisfiable, Unsatisfiable),
            ("bytes=7-4", Whole, Whole),
            ("bytes=-", Whole, Whole),
            ("bytes=", Whole, Whole),
            ("bytes", Whole, Whole),
            ("", Whole, Whole),
            ("bytes=0-1,3-4", Whole, Whole),
            ("bytes=0-1,", Whole, Whole),
            ("bytes=1 - 2", Whole, Whole),
            ("bytes =1-2", Whole, Whole),
            ("bytes=a-b", Whole, Whole),
            ("bytes=0x1-2", Whole, Whole),
            ("bytes=+1-2", Whole, Whole),
            ("bytes=--1", Whole, Whole),
            ("bytes=1--2", Whole, Whole),
            ("items=0-1", Whole, Whole),
            ("0-1", Whole, Whole),
        ] {
            assert_eq!(parse(range.as_bytes(), 10), of_ten, "{range}");
            assert_eq!(parse(range.as_bytes(), 0), of_empty, "{range}");
        }
    }

    #[test]
    fn ranges_of_copies_are_strict() {
        use CopyRangeError::{BeyondSource, Malformed};
        for (range, expected) in [
            ("bytes=0-9", Ok((0, 10))),
            ("bytes=3-3", Ok((3, 1))),
            ("bytes=0-10", Err(BeyondSource)),
            ("bytes=10-11", Err(BeyondSource)),
            ("bytes=3-", Err(Malformed)),
            ("bytes=-3", Err(Malformed)),
            ("bytes=3-2", Err(Malformed)),
            ("bytes=0-1,3-4", Err(Malformed)),
            ("0-3", Err(Malformed)),
            ("bytes=hello-world", Err(Malformed)),
            ("bytes=0", Err(Malformed)),
            ("", Err(Malformed)),
        ] {
            let found = parse_copy_source(range.as_bytes(), 10).map(|range| (range.first(), range.len()));
            assert_eq!(found, expected, "{range}");
        }
    }

    #[test]
    fn a_range_applies_only_while_if_range_holds() {
        let object = Validators { etag: b"e", last_modified: Timestamp::from_seconds(0) };
        for (range, if_range, expected) in [
            (None, None, RangeOutcome::Whole),
            (None, Some("\"e\""), RangeOutcome::Whole),
            (Some("bytes=1-2"), None, partial(1, 2)),
            (Some("bytes=1-2"), Some("\"e\""), partial(1, 2)),
            (Some("bytes=1-2"), Some("Thu, 01 Jan 1970 00:00:00 GMT"), partial(1, 2)),
            (Some("bytes=1-2"), Some("\"f\""), RangeOutcome::Whole),
            (Some("bytes=10-"), Some("\"f\""), RangeOutcome::Whole),
        ] {
            let found = resolve(range.map(str::as_bytes), if_range.map(str::as_bytes), &object, 10);
            assert_eq!(found, expected, "{range:?} {if_range:?}");
        }
    }

    #[test]
    fn fuzz_over_a_corpus() {
        for data in
            ["bytes=0-18446744073709551615", "bytes=18446744073709551614-", "bytes=-18446744073709551616"]
        {
            fuzz(data.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn fuzz_over_random_bytes(data: Vec<u8>) {
            fuzz(&data);
        }

        #[test]
        fn fuzz_over_random_ranges(data in "bytes=[0-9]{0,21}-?[0-9, -]{0,21}") {
            fuzz(data.as_bytes());
        }

        #[test]
        fn agrees_with_the_bytes_a_naive_reader_selects(first in 0..12usize, last in 0..12usize, size in 0..10usize) {
            let selected: Vec<usize> = (0..size).filter(|&at| first <= at && at <= last).collect();
            let found = match parse(format!("bytes={first}-{last}").as_bytes(), size as u64) {
                RangeOutcome::Partial(range) => (range.first()..=range.last()).map(|at| at as usize).collect(),
                RangeOutcome::Whole => { prop_assert!(first > last); Vec::new() }
                RangeOutcome::Unsatisfiable => { prop_assert!(first <= last); Vec::new() }
            };
            prop_assert_eq!(found, selected);
        }
    }
}
