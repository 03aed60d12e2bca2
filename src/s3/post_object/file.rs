//! The file of a form: found by the delimiter behind it, and given on as it comes.
//!
//! The length of the file is not known until its end is found, and the delimiter may lie anywhere in the buffers: what
//! could be the beginning of it is held back until more has come. One buffer is all that is held, whatever the file is.
//!
//! This reads from no socket: [`Payload`](crate::s3::payload::Payload) fills the buffer and asks again.
//!
//! Spec: RFC 2046 section 5.1.1. What comes after the file is ignored, as AWS says, but is bounded.

use std::ops::{Range, RangeInclusive};

use memchr::memmem;

use super::form::{Line, delimiter_line, malformed, too_large};
use crate::limits::{BUFFERED_BYTES_MAX, FORM_BYTES_MAX};
use crate::runtime::AlignedBuf;
use crate::s3::error::{Code, S3Error};

// The line behind a delimiter, as long as it may be, and the delimiter fit into the smallest buffer.
const _: () = assert!(FORM_BYTES_MAX + 128 <= BUFFERED_BYTES_MAX);

/// A file on its way.
pub struct FormFile {
    /// Bytes of the body as they came.
    pub input: AlignedBuf,
    /// What of the input is known to be the file's and not given on yet.
    content: Range<usize>,
    /// Where the rest of the input begins, of which nothing is known.
    next: usize,
    delimiter: Box<[u8]>,
    place: Place,
    received: u64,
    sizes: RangeInclusive<u64>,
    after_bytes: usize,
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// The delimiter behind the file.
    File,
    /// The end of the delimiter's line.
    Line,
    /// The end of the body.
    After,
    /// Nothing: the body has ended.
    End,
}

impl FormFile {
    /// The file begins at `start` in `input`. `whole`: there is no more of the body.
    ///
    /// # Errors
    /// As [`FormFile::look`].
    pub fn new(
        input: AlignedBuf,
        start: usize,
        delimiter: Box<[u8]>,
        whole: bool,
    ) -> Result<FormFile, S3Error> {
        let mut file = FormFile {
            input,
            content: start..start,
            next: start,
            delimiter,
            place: Place::File,
            received: 0,
            sizes: 0..=u64::MAX,
            after_bytes: 0,
        };
        file.look(whole)?;
        Ok(file)
    }

    /// The file must have a size in this range.
    pub fn limit(&mut self, sizes: RangeInclusive<u64>) {
        self.sizes = sizes;
    }

    /// Moves what is known to be the file's into `buf`, as much as fits.
    ///
    /// # Errors
    /// `EntityTooLarge`, `EntityTooSmall`: the size is out of its range.
    pub fn give(&mut self, buf: &mut AlignedBuf) -> Result<(), S3Error> {
        let taken = buf.append(&self.input[self.content.clone()]);
        self.content.start += taken;
        self.received += taken as u64;
        let (min, max) = (*self.sizes.start(), *self.sizes.end());
        let refuse = |code: Code, limit, bytes: u64| {
            Err(code.with("ProposedSize", self.received.to_string()).with(limit, bytes.to_string()))
        };
        if self.received > max {
            return refuse(Code::EntityTooLarge, "MaxSizeAllowed", max);
        }
        if self.is_done() && self.received < min {
            return refuse(Code::EntityTooSmall, "MinSizeAllowed", min);
        }
        Ok(())
    }

    /// The size of the file, if its end was found already and nothing of it was given on.
    pub fn length(&self) -> Option<u64> {
        (self.place == Place::End).then_some(self.content.len() as u64)
    }

    /// Whether all of the file was given on, and the body has ended.
    pub fn is_done(&self) -> bool {
        self.content.is_empty() && self.place == Place::End
    }

    /// Whether the input is a small buffer, in which forms begin: whoever sends one is not known yet.
    pub fn is_small(&self) -> bool {
        self.input.len() + self.input.room() <= BUFFERED_BYTES_MAX
    }

    /// Makes room in the input, all of whose content was given on. `other` takes its place if there is one.
    pub fn make_room(&mut self, other: Option<AlignedBuf>) {
        debug_assert!(self.content.is_empty());
        match other {
            Some(mut other) => {
                other.append(&self.input[self.next..]);
                self.input = other;
            }
            None => {
                let kept = self.input.len() - self.next;
                self.input.copy_within(self.next.., 0);
                self.input.truncate(kept);
            }
        }
        (self.content, self.next) = (0..0, 0);
    }

    /// Looks at what came into the input. `whole`: there is no more.
    ///
    /// # Errors
    /// The body ends before the file does, or goes on as no form does.
    pub fn look(&mut self, whole: bool) -> Result<(), S3Error> {
        if self.place == Place::File {
            let rest = &self.input[self.next..];
            match memmem::find(rest, &self.delimiter) {
                Some(length) => {
                    self.content = self.next..self.next + length;
                    self.next += length + self.delimiter.len();
                    self.place = Place::Line;
                }
                None if whole => return Err(malformed("it ends before the file does")),
                None => {
                    let known = self.next + rest.len() - begun(rest, &self.delimiter);
                    self.content = self.next..known;
                    self.next = known;
                }
            }
        }
        if self.place == Place::Line {
            let rest = &self.input[self.next..];
            match delimiter_line(rest) {
                Some(Line::Next(_) | Line::Last) => self.place = Place::After,
                Some(Line::Other) => return Err(malformed("a boundary is followed by something else")),
                None if whole => return Err(malformed("it ends in a boundary")),
                None if rest.len() > FORM_BYTES_MAX => return Err(too_large()),
                None => {}
            }
        }
        if self.place == Place::After {
            self.after_bytes += self.input.len() - self.next;
            self.next = self.input.len();
            if self.after_bytes > FORM_BYTES_MAX {
                return Err(too_large());
            }
            if whole {
                self.place = Place::End;
            }
        }
        Ok(())
    }
}

/// How many bytes at the end of `text` could be the beginning of `delimiter`: the most that are.
fn begun(text: &[u8], delimiter: &[u8]) -> usize {
    let window = text.len().min(delimiter.len() - 1);
    let tail = &text[text.len() - window..];
    // A delimiter begins with a carriage return.
    memchr::memchr_iter(b'\r', tail)
        .find(|start| delimiter.starts_with(&tail[*start..]))
        .map_or(0, |start| tail.len() - start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELIMITER: &[u8] = b"\r\n--b";

    /// Feeds `body` in pieces of the given sizes; what comes out, in buffers that take `out` bytes at a time.
    fn run(body: &[u8], cuts: &[usize], sizes: RangeInclusive<u64>) -> Result<Vec<u8>, Code> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts.iter().copied().chain([body.len()]) {
            let cut = cut.clamp(start, body.len());
            pieces.push(&body[start..cut]);
            start = cut;
        }
        let mut pieces = pieces.into_iter();
        let mut next = |input: &mut AlignedBuf| {
            let piece = pieces.next().unwrap_or_default();
            assert_eq!(input.append(piece), piece.len(), "there is room");
            pieces.len() == 0
        };
        let run = || -> Result<Vec<u8>, S3Error> {
            let mut input = AlignedBuf::take_for(0).unwrap();
            let whole = next(&mut input);
            let mut file = FormFile::new(input, 0, DELIMITER.into(), whole)?;
            file.limit(sizes);
            let mut out = AlignedBuf::take_for(0).unwrap();
            loop {
                file.give(&mut out)?;
                assert!(out.room() > 0);
                if file.is_done() {
                    return Ok(out.to_vec());
                }
                let other = (cuts.len() == 1).then(|| AlignedBuf::take().unwrap());
                file.make_room(other);
                let whole = next(&mut file.input);
                file.look(whole)?;
            }
        };
        run().map_err(|error| error.code())
    }

    #[test]
    fn the_delimiter_is_found_wherever_the_buffers_end() {
        for content in [&b""[..], b"data", b"\r\n-", b"\r\r\n--", b"\r\n--\r\n--a", b"\r\n\r\n\r\n"] {
            for end in [&b"--\r\n"[..], b"--", b"\r\nContent-Disposition", b" \t\r\n", b"--more"] {
                let body = [content, DELIMITER, end].concat();
                for first in 0..=body.len() {
                    assert_eq!(
                        run(&body, &[first], 0..=u64::MAX).as_deref(),
                        Ok(content),
                        "{body:?} {first}"
                    );
                    for second in first..=body.len() {
                        let given = run(&body, &[first, second], 0..=u64::MAX);
                        assert_eq!(given.as_deref(), Ok(content), "{body:?} {first} {second}");
                    }
                }
                let every: Vec<usize> = (0..=body.len()).collect();
                assert_eq!(run(&body, &every, 0..=u64::MAX).as_deref(), Ok(content), "{body:?}");
            }
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let check = |body: &[u8], expected: Code| {
            let every: Vec<usize> = (0..=body.len()).collect();
            for cuts in [&[][..], &every] {
                assert_eq!(run(body, cuts, 0..=u64::MAX), Err(expected), "{body:?}");
            }
        };
        for body in [&b""[..], b"data", b"data\r\n--", b"data\r\n--b", b"data\r\n--b-", b"data\r\n--b \t"] {
            check(body, Code::MalformedPOSTRequest);
        }
        check(b"data\r\n--bc\r\n", Code::MalformedPOSTRequest);
        check(b"data\r\n--b --\r\n", Code::MalformedPOSTRequest);
        check(b"data\r\n--b\n", Code::MalformedPOSTRequest);
        let long = [b"data\r\n--b--", &[b'x'; FORM_BYTES_MAX][..]].concat();
        check(&long, Code::MaxPostPreDataLengthExceededError);
        assert_eq!(run(&long[..FORM_BYTES_MAX], &[], 0..=9).as_deref(), Ok(&b"data"[..]));
        let blanks = [b"data\r\n--b", &[b' '; FORM_BYTES_MAX + 1][..], b"\r\n"].concat();
        assert_eq!(run(&blanks, &[30_000], 0..=9).err(), Some(Code::MaxPostPreDataLengthExceededError));
    }

    proptest! {
        /// The plain version: the content ends where the delimiter is found in the body as a whole.
        #[test]
        fn any_body_in_any_pieces(
            body in prop::collection::vec(prop::sample::select(&b"\r\n-b \tx"[..]), 0..60),
            mut cuts in prop::collection::vec(0..60usize, 0..8),
        ) {
            cuts.sort_unstable();
            let expected = memmem::find(&body, DELIMITER).and_then(|end| {
                let line = delimiter_line(&body[end + DELIMITER.len()..]);
                matches!(line, Some(Line::Next(_) | Line::Last)).then(|| body[..end].to_vec())
            });
            prop_assert_eq!(run(&body, &cuts, 0..=u64::MAX).ok(), expected);
        }
    }

    #[test]
    fn sizes_are_limited() {
        let check = |sizes: RangeInclusive<u64>, expected: Option<Code>| {
            let body = b"data\r\n--b--";
            let every: Vec<usize> = (0..=body.len()).collect();
            for cuts in [&[][..], &every] {
                assert_eq!(run(body, cuts, sizes.clone()).err(), expected, "{sizes:?}");
            }
        };
        check(4..=4, None);
        check(0..=4, None);
        check(0..=3, Some(Code::EntityTooLarge));
        check(5..=9, Some(Code::EntityTooSmall));
        assert_eq!(run(b"\r\n--b--", &[], 1..=9).err(), Some(Code::EntityTooSmall));
        assert_eq!(run(b"\r\n--b--", &[], 0..=0).as_deref(), Ok(&b""[..]));
    }
}
