//! Where the body of a request ends: `Content-Length` and chunked transfer coding.
//!
//! The decoders are incremental and copy nothing: [`Step::data`] points into the caller's buffer. They do not know
//! aws-chunked, the framing inside the body (`sigv4::chunk`), nor time-outs. Partial framing lines need no buffer: sizes
//! are summed up digit by digit and extensions are skipped; only trailers are kept, within a bound.
//! Strict, because a body that two readers end at different places smuggles a request: CR LF only, at least one and at
//! most 16 digits, no white space around them, control characters nowhere.
//! Spec: RFC 9112 sections 6 and 7.1.

use core::ops::Range;

use crate::codec::hex;
use crate::http::head::{Framing, is_token};

/// What one call of a decoder did. An unfinished decoder that is given input consumes at least one byte of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Bytes at the front of the input that are dealt with: framing and payload.
    pub consumed: usize,
    /// Payload, inside `input[..consumed]`; may be empty.
    pub data: Range<usize>,
    /// The body has ended with the last consumed byte.
    pub done: bool,
}

/// Why a body was refused. The connection cannot be used any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// A chunk size is missing, longer than 16 digits, or followed by something else than `;` or CR LF.
    ChunkSize,
    /// A chunk's data is not followed by CR LF.
    ChunkEnd,
    /// An extension holds a control character, or the extensions of the body exceed [`EXTENSION_BYTES_MAX`].
    ChunkExtension,
    /// A trailer line is not `name: value`, or the trailers exceed [`TRAILERS_MAX`] or [`TRAILER_BYTES_MAX`].
    Trailer,
}

impl BodyError {
    /// What was wrong.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::ChunkSize => "A chunk does not begin with its size in hexadecimal digits.",
            Self::ChunkEnd => "The data of a chunk is not followed by CR LF.",
            Self::ChunkExtension => "A chunk extension is malformed or too long.",
            Self::Trailer => "The trailers are malformed or too long.",
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for BodyError {}

/// Decoder for either framing of a request's body.
#[derive(Debug)]
pub enum BodyDecoder {
    /// Bytes that are still to come.
    Length(u64),
    /// Chunked transfer coding.
    Chunked(ChunkedDecoder),
}

impl BodyDecoder {
    /// A decoder at the first byte after the head. `Framing::None` is a body of no bytes.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(bytes) => Self::Length(bytes),
            Framing::Chunked => Self::Chunked(ChunkedDecoder::default()),
        }
    }

    /// Decodes from the front of `input`; call again with `input[consumed..]` until it is empty or the body is done.
    ///
    /// # Errors
    /// [`BodyError`] for malformed chunks.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        match self {
            Self::Length(remaining) => {
                let taken = take(remaining, input.len());
                Ok(Step { consumed: taken, data: 0..taken, done: *remaining == 0 })
            }
            Self::Chunked(decoder) => decoder.step(input),
        }
    }

    /// True when the body has ended; a body of length 0 has ended before the first step.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(remaining) => *remaining == 0,
            Self::Chunked(decoder) => decoder.state == State::Done,
        }
    }

    /// Payload bytes that are surely still to come: all of them with a length, those of the current chunk otherwise.
    #[must_use]
    pub fn remaining_min(&self) -> u64 {
        match self {
            Self::Length(remaining) => *remaining,
            Self::Chunked(decoder) => decoder.remaining,
        }
    }
}

/// Decoder of the chunked transfer coding, through the empty line that ends the trailers.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// The size so far while it is read, then the data bytes of the chunk that are still to come.
    remaining: u64,
    /// Digits of the current size.
    digit_count: usize,
    /// Bytes of all extensions together.
    extension_bytes: usize,
    trailers: Trailers,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    EndLineFeed,
    Done,
}

impl ChunkedDecoder {
    /// Decodes from the front of `input`, at most to the end of one chunk's data and the framing behind it. After the
    /// end nothing more is consumed.
    ///
    /// # Errors
    /// [`BodyError`]; it does not depend on how the input is cut.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let mut at = 0;
        let mut data = 0..0;
        while at < input.len() && self.state != State::Done {
            if self.state != State::Data {
                self.frame(input[at])?;
                at += 1;
                continue;
            }
            if !data.is_empty() {
                break;
            }
            let taken = take(&mut self.remaining, input.len() - at);
            data = at..at + taken;
            at += taken;
            if self.remaining == 0 {
                self.state = State::DataReturn;
            }
        }
        Ok(Step { consumed: at, data, done: self.state == State::Done })
    }

    /// Trailers so far, in wire order: names in lower case, values trimmed. Nothing that decides about framing or
    /// authentication may be taken from them (RFC 9110 section 6.5.1).
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.trailers
            .fields
            .iter()
            .map(|(name, value)| (&self.trailers.bytes[name.clone()], &self.trailers.bytes[value.clone()]))
    }

    /// One byte of framing. Byte by byte, because framing is a few bytes for each chunk of thousands.
    fn frame(&mut self, byte: u8) -> Result<(), BodyError> {
        self.state = match (self.state, byte) {
            (State::Size, b'\r') if self.digit_count > 0 => State::SizeLineFeed,
            (State::Size, b';') if self.digit_count > 0 => State::Extension,
            (State::Size, _) => {
                let digit = hex::digit(byte).filter(|_| self.digit_count < SIZE_DIGITS_MAX);
                self.digit_count += 1;
                self.remaining = self.remaining << 4 | u64::from(digit.ok_or(BodyError::ChunkSize)?);
                State::Size
            }
            (State::Extension, b'\r') => State::SizeLineFeed,
            (State::Extension, _) => {
                self.extension_bytes += 1;
                if self.extension_bytes > EXTENSION_BYTES_MAX || !is_text(byte) {
                    return Err(BodyError::ChunkExtension);
                }
                State::Extension
            }
            (State::SizeLineFeed, b'\n') => {
                self.digit_count = 0;
                if self.remaining == 0 { State::TrailerStart } else { State::Data }
            }
            (State::SizeLineFeed, _) => return Err(BodyError::ChunkSize),
            (State::DataReturn, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => State::Size,
            (State::DataReturn | State::DataLineFeed, _) => return Err(BodyError::ChunkEnd),
            (State::TrailerStart, b'\r') => State::EndLineFeed,
            (State::Trailer, b'\r') => State::TrailerLineFeed,
            (State::TrailerStart | State::Trailer, _) => {
                self.trailers.push(byte)?;
                State::Trailer
            }
            (State::TrailerLineFeed, b'\n') => {
                self.trailers.end_line()?;
                State::TrailerStart
            }
            (State::EndLineFeed, b'\n') => State::Done,
            (State::TrailerLineFeed | State::EndLineFeed, _) => return Err(BodyError::Trailer),
            (State::Data | State::Done, _) => unreachable!("step hands only framing bytes to frame"),
        };
        Ok(())
    }
}

/// Trailer lines, one after the other without their line ends, and where their names and values are.
#[derive(Debug, Default)]
struct Trailers {
    bytes: Vec<u8>,
    line_start: usize,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Trailers {
    fn push(&mut self, byte: u8) -> Result<(), BodyError> {
        if self.bytes.len() == TRAILER_BYTES_MAX || !is_text(byte) {
            return Err(BodyError::Trailer);
        }
        self.bytes.push(byte);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), BodyError> {
        let line = &mut self.bytes[self.line_start..];
        let colon = memchr::memchr(b':', line).ok_or(BodyError::Trailer)?;
        let (name, value) = line.split_at_mut(colon);
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) || self.fields.len() == TRAILERS_MAX {
            return Err(BodyError::Trailer);
        }
        name.make_ascii_lowercase();
        let value = &value[1..];
        let start = self.line_start + colon + 1 + (value.len() - value.trim_ascii_start().len());
        let value = start..start + value.trim_ascii().len();
        self.fields.push((self.line_start..self.line_start + colon, value));
        self.line_start = self.bytes.len();
        Ok(())
    }
}

/// Takes what is there of what is needed.
fn take(remaining: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*remaining).unwrap_or(usize::MAX).min(available);
    *remaining -= taken as u64;
    taken
}

/// What may stand in extensions and trailer lines: no control character but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Digits of a 64-bit size; leading zeros count, so that a size line is bounded.
const SIZE_DIGITS_MAX: usize = 16;
/// Extensions carry nothing for us: this is what one body may waste on them, as much as one head.
pub const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Trailer lines of one body. AWS clients send their trailers inside aws-chunked, and at most three.
pub const TRAILERS_MAX: usize = 16;
/// Bytes of all trailer lines of one body.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;

/// Decodes `data` at once and in pieces, and asserts that the results agree.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let whole = decode_in_pieces(data, data.len());
    assert_eq!(whole, decode_in_pieces(data, 1));
    assert_eq!(whole, decode_in_pieces(data, 7));
}

/// What a body decodes to. How much payload was seen before an error depends on the cut and is left out.
#[derive(PartialEq, Debug, Default)]
struct Decoded {
    payload: Vec<u8>,
    consumed: usize,
    done: bool,
    trailers: Vec<Vec<u8>>,
}

fn decode_in_pieces(data: &[u8], piece_bytes: usize) -> Result<Decoded, BodyError> {
    let mut decoder = ChunkedDecoder::default();
    let mut decoded = Decoded::default();
    for piece in data.chunks(piece_bytes.max(1)) {
        let mut rest = piece;
        while !rest.is_empty() && !decoded.done {
            let step = decoder.step(rest)?;
            assert!(step.consumed > 0 && step.consumed <= rest.len() && step.data.end <= step.consumed);
            decoded.payload.extend_from_slice(&rest[step.data]);
            decoded.consumed += step.consumed;
            decoded.done = step.done;
            rest = &rest[step.consumed..];
        }
    }
    decoded.trailers = decoder.trailers().map(|(name, value)| [name, b":", value].concat()).collect();
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(body: &str) -> Result<Decoded, BodyError> {
        decode_in_pieces(body.as_bytes(), body.len())
    }

    #[test]
    fn chunked_table() {
        /// Expects payload and unread rest of a complete body, or `None` for one that goes on.
        #[track_caller]
        fn check(input: &str, expected: Result<Option<(&str, &str)>, BodyError>) {
            let decoded = decode(input);
            let found = decoded.as_ref().map(|body| {
                let rest = &input[body.consumed..];
                body.done.then(|| (str::from_utf8(&body.payload).unwrap(), rest))
            });
            assert_eq!(found.map_err(|error| *error), expected, "{input:?}");
        }
        check("0\r\n\r\n", Ok(Some(("", ""))));
        check("5\r\nhello\r\n0\r\n\r\nGET /", Ok(Some(("hello", "GET /"))));
        check(
            "5\r\nhello\r\n00A\r\n, world!!!\r\n0000000000000000\r\n\r\n",
            Ok(Some(("hello, world!!!", ""))),
        );
        check("1;a=b;c=\"d e\"\r\nx\r\n0;\r\n\r\n", Ok(Some(("x", ""))));
        check("0\r\nX-A: 1\r\nx-b:\r\n\r\nrest", Ok(Some(("", "rest"))));
        for incomplete in ["", "5", "5\r", "5\r\nhell", "5\r\nhello\r\n", "0\r\n", "0\r\n\r", "0\r\nx: y\r\n"]
        {
            check(incomplete, Ok(None));
        }
        for bad in
            ["\r\n", ";\r\n", "g\r\n", " 5\r\n", "5 \r\n", "5 ;a\r\n", "-1\r\n", "0x5\r\n", "+5\r\n", "5\n"]
        {
            check(bad, Err(BodyError::ChunkSize));
        }
        check("5\rx", Err(BodyError::ChunkSize));
        check("5;a\rx", Err(BodyError::ChunkSize));
        check("00000000000000005\r\n", Err(BodyError::ChunkSize));
        check("1;a\nx\r\n0\r\n\r\n", Err(BodyError::ChunkExtension));
        check("1;\0\r\nx\r\n0\r\n\r\n", Err(BodyError::ChunkExtension));
        for bad in ["1\r\nxy\r\n", "1\r\nx\n", "1\r\nx\r5", "1\r\nx0\r\n"] {
            check(bad, Err(BodyError::ChunkEnd));
        }
        for bad in
            ["0\r\nx\r\n", "0\r\n: y\r\n", "0\r\nx : y\r\n", "0\r\n x: y\r\n", "0\r\nx: y\n", "0\r\n\n"]
        {
            check(bad, Err(BodyError::Trailer));
        }
        check("0\r\nx: y\rz", Err(BodyError::Trailer));
        check("0\r\n\rx", Err(BodyError::Trailer));
    }

    #[test]
    fn the_largest_size_is_read_and_not_overflowed() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let input = b"ffffFFFFffffFFFF\r\nabc";
        let step = decoder.step(input).unwrap();
        assert_eq!(step, Step { consumed: input.len(), data: 18..21, done: false });
        assert_eq!(decoder.remaining_min(), u64::MAX - 3);
    }

    #[test]
    fn trailers_are_kept_within_bounds() {
        let mut decoder = ChunkedDecoder::default();
        let step = decoder.step(b"0\r\nX-Amz-Checksum-CRC32: \tNSRBwg== \r\nX-B:\r\n\r\n").unwrap();
        assert!(step.done);
        let trailers: Vec<_> = decoder.trailers().collect();
        assert_eq!(trailers, [(&b"x-amz-checksum-crc32"[..], &b"NSRBwg=="[..]), (b"x-b", b"")]);

        let lines = |count: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(decode(&lines(TRAILERS_MAX)).is_ok());
        assert_eq!(decode(&lines(TRAILERS_MAX + 1)), Err(BodyError::Trailer));
        let long = |bytes: usize| format!("0\r\na: {}\r\n\r\n", "b".repeat(bytes - 3));
        assert!(decode(&long(TRAILER_BYTES_MAX)).is_ok());
        assert_eq!(decode(&long(TRAILER_BYTES_MAX + 1)), Err(BodyError::Trailer));
    }

    #[test]
    fn extensions_are_bounded_over_the_whole_body() {
        let body = |bytes: usize| {
            let half = "e".repeat(bytes / 2);
            format!("1;{half}\r\nx\r\n0;{half}\r\n\r\n")
        };
        assert!(decode(&body(EXTENSION_BYTES_MAX)).is_ok());
        assert_eq!(decode(&body(EXTENSION_BYTES_MAX + 2)), Err(BodyError::ChunkExtension));
    }

    #[test]
    fn a_length_is_counted_down() {
        let mut decoder = BodyDecoder::new(Framing::Length(5));
        assert_eq!(decoder.step(b"abc"), Ok(Step { consumed: 3, data: 0..3, done: false }));
        assert_eq!(decoder.remaining_min(), 2);
        assert_eq!(decoder.step(b"defg"), Ok(Step { consumed: 2, data: 0..2, done: true }));
        assert!(decoder.is_done());
        for framing in [Framing::None, Framing::Length(0)] {
            let mut empty = BodyDecoder::new(framing);
            assert!(empty.is_done());
            assert_eq!(empty.step(b"GET"), Ok(Step { consumed: 0, data: 0..0, done: true }));
        }
    }

    #[test]
    fn fuzz_over_a_corpus() {
        let seed = b"5;ext=\"1\"\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-A: b\r\ny: z \r\n\r\nGET /";
        fuzz(seed);
        for index in 0..seed.len() {
            fuzz(&seed[..index]);
            for byte in [0, b'\r', b'\n', b';', b':', b'0', b'f', b' ', 0xff] {
                let mut mutated = seed.to_vec();
                mutated[index] = byte;
                fuzz(&mutated);
            }
        }
    }

    proptest! {
        #[test]
        fn fuzz_over_random_framing(data in "([0-9a-f]{1,2}(;[a-z]*)?\r\n[a-z\r\n]{0,4}\r\n|0\r\n([a-z: ]*\r\n)?|\r\n){0,6}") {
            fuzz(data.as_bytes());
        }

        #[test]
        fn fuzz_over_random_bytes(data: Vec<u8>) {
            fuzz(&data);
        }

        #[test]
        fn what_is_encoded_decodes(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8)) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\nnext");
            fuzz(&body);
            let decoded = decode_in_pieces(&body, body.len()).unwrap();
            prop_assert_eq!((decoded.payload, decoded.consumed), (chunks.concat(), body.len() - 4));
            prop_assert!(decoded.done);
        }
    }
}
