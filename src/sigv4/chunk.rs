//! The `aws-chunked` framing of streamed payloads: payload out, chunk and trailer signatures verified on the way.
//!
//! ```text
//! hex-size[;chunk-signature=<64>] \r\n  data \r\n  ...  0[;chunk-signature=<64>] \r\n
//! [trailer-name:value \r\n ...  [x-amz-trailer-signature:<64> \r\n]] \r\n
//! ```
//!
//! The decoder copies no payload: [`Step::data`] is a range of the caller's input. Lines that a read cuts in two are
//! kept here, within a bound. HTTP chunked framing around it is undone before. Checksums in trailers are collected,
//! not computed.
//! Invariants: a chunk is hashed before it is handed out but verified only when its last byte has come, so nothing of
//! the payload may be published before [`Decoder::finish`] agrees. After an error every further call fails.
//! minio-go ends a trailer with a bare LF and adds one empty line, before the trailer signature or at the end; both
//! are accepted, in these two places only.
//! Spec: AWS S3 "Signature calculations: transferring payload in multiple chunks" and "Trailing headers".

use std::mem;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use super::error::{Error, Mismatch};
use super::key::SigningKey;
use super::{EMPTY_SHA256_HEX, Payload, header};
use crate::codec::hex;
use crate::http::body::Step;
use crate::http::head::Head;

/// What the signatures of chunks continue from: made of a [`super::Proof`], so the head was verified.
#[derive(Clone, Debug)]
pub struct Seed {
    pub(super) key: SigningKey,
    pub(super) access_key: SmallVec<[u8; 32]>,
    /// `amz-date \n scope \n`, as in the string to sign of the head.
    pub(super) scope: SmallVec<[u8; 96]>,
    /// Signature of the head, then of the chunk before.
    pub(super) signature: [u8; 32],
}

/// One trailer that came with a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// Lower-case name, declared in `x-amz-trailer`.
    pub name: Box<str>,
    /// Trimmed value.
    pub value: Box<[u8]>,
}

/// Incremental decoder of one `aws-chunked` body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The beginning of a line whose end has not come yet.
    line: SmallVec<[u8; 128]>,
    signing: Option<Signing>,
    with_trailer: bool,
    /// Payload bytes that `x-amz-decoded-content-length` announces.
    expected: u64,
    /// Payload bytes handed out.
    received: u64,
    /// Number of the chunk under way, from 1, and its size.
    chunk: u64,
    chunk_bytes: u64,
    declared: SmallVec<[Box<str>; 2]>,
    trailers: Vec<Trailer>,
}

#[derive(Debug)]
struct Signing {
    seed: Seed,
    /// Of the data of the chunk under way, then of the trailer lines.
    hash: Sha256,
    /// What the line of the chunk said.
    announced: [u8; 32],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the line with the size of a chunk.
    Size,
    /// In the data of a chunk, `left` > 0 bytes before its end.
    Data { left: u64 },
    /// In the CRLF behind the data, `seen` of its bytes have come.
    DataEnd { seen: usize },
    /// In the CRLF behind the final chunk of a body without trailers.
    FinalEnd { seen: usize },
    /// In the trailer lines.
    Trailer { blank: bool, signature: bool },
    /// Complete; `seen` bytes of an additional CRLF have come.
    Finished { seen: usize },
    /// After an error.
    Failed,
}

impl Decoder {
    /// The decoder of a streamed `payload`, or none if the payload is not streamed. `seed` is needed for signed
    /// chunks only.
    ///
    /// # Errors
    /// [`Error::DecodedLengthMissing`], [`Error::DecodedLengthInvalid`]; [`Error::ContentSha256Invalid`] for signed
    /// chunks without a seed, that is without a signed head; [`Error::TrailerMalformed`] for a bad `x-amz-trailer`.
    pub fn new(head: &Head, payload: &Payload, seed: Option<Seed>) -> Result<Option<Self>, Error> {
        let Payload::Streaming { signed, trailer } = *payload else { return Ok(None) };
        let signing = if signed {
            let seed = seed.ok_or(Error::ContentSha256Invalid)?;
            Some(Signing { seed, hash: Sha256::new(), announced: [0; 32] })
        } else {
            None
        };
        Ok(Some(Self {
            state: State::Size,
            line: SmallVec::new(),
            signing,
            with_trailer: trailer,
            expected: decoded_length(head)?,
            received: 0,
            chunk: 0,
            chunk_bytes: u64::MAX,
            declared: if trailer { declared_trailers(head)? } else { SmallVec::new() },
            trailers: Vec::new(),
        }))
    }

    /// Payload bytes of the whole body, from `x-amz-decoded-content-length`.
    #[must_use]
    pub fn decoded_length(&self) -> u64 {
        self.expected
    }

    /// The trailers seen so far: all of them once [`Decoder::finish`] agrees.
    #[must_use]
    pub fn trailers(&self) -> &[Trailer] {
        &self.trailers
    }

    /// Decodes the beginning of `input`: framing up to and including one run of payload. Call again with
    /// `input[consumed..]` until that is empty. `done` says that the body is complete; what the outer framing still
    /// holds goes through this function too, which accepts one CRLF and refuses everything else.
    ///
    /// # Errors
    /// [`Error::ChunkMalformed`], [`Error::ChunkTooSmall`], [`Error::IncompleteBody`],
    /// [`Error::SignatureDoesNotMatch`], [`Error::TrailerMalformed`].
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Error> {
        let result = self.advance(input);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Says whether the body was complete and verified; called when the outer framing has ended.
    ///
    /// # Errors
    /// [`Error::IncompleteBody`] if the final chunk or a part of what follows it has not come.
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            // Half of the tolerated CRLF is no reason to refuse a body that is verified.
            State::Finished { .. } => Ok(()),
            State::Failed => Err(Error::ChunkMalformed(AFTER_ERROR)),
            _ => Err(Error::IncompleteBody { expected: self.expected, received: self.received }),
        }
    }

    fn advance(&mut self, input: &[u8]) -> Result<Step, Error> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            if rest.is_empty() {
                let done = matches!(self.state, State::Finished { .. });
                return Ok(Step { consumed: at, data: at..at, done });
            }
            match self.state {
                State::Data { left } => {
                    let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.data(&rest[..bytes], left)?;
                    return Ok(Step { consumed: at + bytes, data: at..at + bytes, done: false });
                }
                State::Size => at += self.line(rest, CHUNK_LINE_BYTES_MAX, Self::size_line)?,
                State::Trailer { .. } => at += self.line(rest, TRAILER_LINE_BYTES_MAX, Self::trailer_line)?,
                State::DataEnd { seen } => {
                    let seen = crlf(rest[0], seen)
                        .ok_or(Error::ChunkMalformed("no CRLF after the data of a chunk"))?;
                    self.state = if seen == 2 { State::Size } else { State::DataEnd { seen } };
                    at += 1;
                }
                State::FinalEnd { seen } => {
                    let seen =
                        crlf(rest[0], seen).ok_or(Error::ChunkMalformed("no CRLF after the final chunk"))?;
                    self.state =
                        if seen == 2 { State::Finished { seen: 2 } } else { State::FinalEnd { seen } };
                    at += 1;
                }
                State::Finished { seen } => {
                    let seen = crlf(rest[0], seen)
                        .ok_or(Error::ChunkMalformed("bytes after the end of the body"))?;
                    self.state = State::Finished { seen };
                    at += 1;
                    continue;
                }
                State::Failed => return Err(Error::ChunkMalformed(AFTER_ERROR)),
            }
            if matches!(self.state, State::Finished { .. }) {
                return Ok(Step { consumed: at, data: at..at, done: true });
            }
        }
    }

    /// Gives `read` the next whole line, line end included, or keeps what has come of it. Returns the bytes used.
    fn line(
        &mut self,
        input: &[u8],
        bytes_max: usize,
        read: fn(&mut Self, &[u8]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let end = memchr::memchr(b'\n', input).map(|index| index + 1);
        let used = end.unwrap_or(input.len());
        if self.line.len() + used > bytes_max {
            return Err(Error::ChunkMalformed("a line is too long"));
        }
        if end.is_some() && self.line.is_empty() {
            read(self, &input[..used])?;
            return Ok(used);
        }
        self.line.extend_from_slice(&input[..used]);
        if end.is_some() {
            let line = mem::take(&mut self.line);
            read(self, &line)?;
        }
        Ok(used)
    }

    fn size_line(&mut self, line: &[u8]) -> Result<(), Error> {
        let line =
            line.strip_suffix(b"\r\n").ok_or(Error::ChunkMalformed("a chunk line does not end in CRLF"))?;
        let semicolon = memchr::memchr(b';', line).unwrap_or(line.len());
        let (size, extension) = line.split_at(semicolon);
        let bytes =
            chunk_bytes(size).ok_or(Error::ChunkMalformed("the size of a chunk is not hexadecimal"))?;
        if self.signing.is_some() && self.chunk_bytes < SIGNED_CHUNK_BYTES_MIN && bytes > 0 {
            return Err(Error::ChunkTooSmall { chunk: self.chunk, bytes: self.chunk_bytes });
        }
        if let Some(signing) = &mut self.signing {
            let text = extension.strip_prefix(b";chunk-signature=");
            let signature = text.and_then(|text| header::signature(text).ok());
            signing.announced =
                signature.ok_or(Error::ChunkMalformed("a chunk has no well-formed signature"))?;
        }
        self.chunk += 1;
        self.chunk_bytes = bytes;
        if bytes > self.expected - self.received {
            let received = self.received.saturating_add(bytes);
            return Err(Error::IncompleteBody { expected: self.expected, received });
        }
        if bytes > 0 {
            self.state = State::Data { left: bytes };
            return Ok(());
        }
        if self.received < self.expected {
            return Err(Error::IncompleteBody { expected: self.expected, received: self.received });
        }
        self.verify_chunk()?;
        self.state = if self.with_trailer {
            State::Trailer { blank: false, signature: false }
        } else {
            State::FinalEnd { seen: 0 }
        };
        Ok(())
    }

    fn data(&mut self, data: &[u8], left: u64) -> Result<(), Error> {
        if let Some(signing) = &mut self.signing {
            signing.hash.update(data);
        }
        self.received += data.len() as u64;
        let left = left - data.len() as u64;
        self.state = if left > 0 { State::Data { left } } else { State::DataEnd { seen: 0 } };
        if left == 0 { self.verify_chunk() } else { Ok(()) }
    }

    fn verify_chunk(&mut self) -> Result<(), Error> {
        let Some(signing) = &mut self.signing else { return Ok(()) };
        let hash = signing.hash.finalize_reset().into();
        signing.seed.verify(b"AWS4-HMAC-SHA256-PAYLOAD\n", EMPTY_HASH_LINE, &hash, &signing.announced)
    }

    fn trailer_line(&mut self, line: &[u8]) -> Result<(), Error> {
        let State::Trailer { blank, signature } = self.state else {
            return Err(Error::TrailerMalformed("a trailer in the wrong place"));
        };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return self.blank_line(blank, signature);
        }
        let colon = memchr::memchr(b':', line).ok_or(Error::TrailerMalformed("a line without a colon"))?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), trimmed(&line[colon + 1..]));
        if signature {
            return Err(Error::TrailerMalformed("a trailer after the trailer signature"));
        }
        if name == b"x-amz-trailer-signature"
            && let Some(signing) = &mut self.signing
        {
            let announced = header::signature(value)
                .map_err(|_| Error::TrailerMalformed("the trailer signature is not well-formed"))?;
            let hash = signing.hash.finalize_reset().into();
            signing.seed.verify(b"AWS4-HMAC-SHA256-TRAILER\n", b"", &hash, &announced)?;
            self.state = State::Trailer { blank, signature: true };
            return Ok(());
        }
        if blank {
            return Err(Error::TrailerMalformed("a trailer after an empty line"));
        }
        self.trailer(&name, value)
    }

    fn trailer(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let declared = self.declared.iter().find(|declared| declared.as_bytes() == name);
        let name =
            declared.ok_or(Error::TrailerMalformed("a trailer that x-amz-trailer does not declare"))?;
        if self.trailers.iter().any(|trailer| trailer.name == *name) {
            return Err(Error::TrailerMalformed("a trailer is repeated"));
        }
        if let Some(signing) = &mut self.signing {
            for piece in [name.as_bytes(), b":", value, b"\n"] {
                signing.hash.update(piece);
            }
        }
        self.trailers.push(Trailer { name: name.clone(), value: value.into() });
        Ok(())
    }

    fn blank_line(&mut self, blank: bool, signature: bool) -> Result<(), Error> {
        if self.signing.is_some() && !signature {
            if blank {
                return Err(Error::TrailerMalformed("the trailer signature is missing"));
            }
            self.state = State::Trailer { blank: true, signature };
            return Ok(());
        }
        if self.trailers.len() < self.declared.len() {
            return Err(Error::TrailerMalformed("a trailer that x-amz-trailer declares is missing"));
        }
        self.state = State::Finished { seen: 0 };
        Ok(())
    }
}

impl Seed {
    /// Compares the next signature of the chain with `announced`, and continues the chain.
    fn verify(
        &mut self,
        algorithm: &[u8],
        before_hash: &[u8],
        hash: &[u8; 32],
        announced: &[u8; 32],
    ) -> Result<(), Error> {
        let mut text = SmallVec::<[u8; 512]>::new();
        text.extend_from_slice(algorithm);
        text.extend_from_slice(&self.scope);
        text.extend_from_slice(&hex::encode32(&self.signature));
        text.push(b'\n');
        text.extend_from_slice(before_hash);
        text.extend_from_slice(&hex::encode32(hash));
        let signature = self.key.sign(&text);
        if !bool::from(signature.ct_eq(announced)) {
            return Err(Error::SignatureDoesNotMatch(Box::new(Mismatch {
                access_key: String::from_utf8_lossy(&self.access_key).into(),
                string_to_sign: text.as_slice().into(),
                signature_provided: hex::encode32(announced),
                canonical_request: Box::default(),
            })));
        }
        self.signature = signature;
        Ok(())
    }
}

/// Without the spaces and tabs around it (RFC 9110 section 5.5); other white space would not be covered by the hash.
fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Counts one more byte of a CRLF; none if it does not belong there.
fn crlf(byte: u8, seen: usize) -> Option<usize> {
    (b"\r\n".get(seen) == Some(&byte)).then_some(seen + 1)
}

/// Reads one to sixteen hexadecimal digits.
fn chunk_bytes(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.iter().try_fold(0, |bytes, &digit| Some((bytes << 4) | u64::from(hex::digit(digit)?)))
}

fn decoded_length(head: &Head) -> Result<u64, Error> {
    let mut lines = head.header_all("x-amz-decoded-content-length");
    let text = lines.next().ok_or(Error::DecodedLengthMissing)?;
    if lines.next().is_some() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Error::DecodedLengthInvalid);
    }
    let text = std::str::from_utf8(text).map_err(|_| Error::DecodedLengthInvalid)?;
    text.parse().map_err(|_| Error::DecodedLengthInvalid)
}

fn declared_trailers(head: &Head) -> Result<SmallVec<[Box<str>; 2]>, Error> {
    let mut declared = SmallVec::<[Box<str>; 2]>::new();
    let names = head.header_all("x-amz-trailer").flat_map(|line| line.split(|&byte| byte == b','));
    for name in names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name)
            .map_err(|_| Error::TrailerMalformed("x-amz-trailer is not a list of header names"))?;
        if declared.len() == TRAILERS_MAX {
            return Err(Error::TrailerMalformed("x-amz-trailer declares too many trailers"));
        }
        let name = name.to_ascii_lowercase().into_boxed_str();
        if !declared.contains(&name) {
            declared.push(name);
        }
    }
    Ok(declared)
}

/// Longest line of a chunk: sixteen digits, `;chunk-signature=`, 64 digits and CRLF are 99 bytes; the rest is room for
/// extensions of unsigned chunks.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Longest trailer line. A checksum takes 90 bytes of value at most.
const TRAILER_LINE_BYTES_MAX: usize = 1024;
/// Most trailers of one body. SDKs send one; there are ten checksums.
const TRAILERS_MAX: usize = 16;
/// AWS refuses signed chunks below this size, but for the last one.
const SIGNED_CHUNK_BYTES_MIN: u64 = 8192;
/// The line of a chunk's string to sign that stands for headers a chunk does not have.
const EMPTY_HASH_LINE: &[u8] = {
    const LINE: [u8; 65] = {
        let mut line = [b'\n'; 65];
        let mut index = 0;
        while index < 64 {
            line[index] = EMPTY_SHA256_HEX[index];
            index += 1;
        }
        line
    };
    &LINE
};
const AFTER_ERROR: &str = "an earlier chunk was refused";

/// Decodes `data` in every mode, at once and cut into pieces whose lengths its own bytes choose, and asserts that both
/// give the same payload, trailers and end. Then `data` is the payload: framed, it comes back, and a signed one does not
/// come back as another.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let seed = &seed();
    let length = data.first().map_or(0, |&byte| u64::from(byte) * 3);
    for (signed, trailer) in [(false, false), (false, true), (true, false), (true, true)] {
        let decoder = || decoder(seed, signed, trailer, length);
        let whole = decode_in_pieces(decoder(), data, |_| usize::MAX);
        let cut = decode_in_pieces(decoder(), data, |at| usize::from(data[at] % 7) + 1);
        assert_eq!(whole, cut);
        assert!(whole.0.len() as u64 <= length);

        let decoder = || self::decoder(seed, signed, trailer, data.len() as u64);
        let mut body = encode(seed, signed, trailer, data);
        let (payload, end) = decode_in_pieces(decoder(), &body, |at| usize::from(body[at] % 7) + 1);
        assert!(payload == data && end.is_ok(), "{end:?}");
        assert_eq!(end.map(|trailers| trailers.len()), Ok(usize::from(trailer)));
        let at = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let at = at % body.len();
        body[at] ^= 1 << (length % 8);
        let (payload, end) = decode_in_pieces(decoder(), &body, |_| usize::MAX);
        assert!(!signed || end.is_err() || payload == data, "another payload was verified");
    }
}

fn decoder(seed: &Seed, signed: bool, with_trailer: bool, expected: u64) -> Decoder {
    Decoder {
        state: State::Size,
        line: SmallVec::new(),
        signing: signed.then(|| Signing { seed: seed.clone(), hash: Sha256::new(), announced: [0; 32] }),
        with_trailer,
        expected,
        received: 0,
        chunk: 0,
        chunk_bytes: u64::MAX,
        declared: SmallVec::from_iter(["x-amz-checksum-crc32".into()]),
        trailers: Vec::new(),
    }
}

fn seed() -> Seed {
    Seed {
        key: SigningKey::derive(b"secret", b"20130524", "us-east-1", "s3"),
        access_key: SmallVec::from_slice(b"AK"),
        scope: SmallVec::from_slice(b"20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"),
        signature: [0; 32],
    }
}

/// A body with this payload: in one chunk if it is signed, else in chunks that its bytes choose.
fn encode(seed: &Seed, signed: bool, trailer: bool, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut signature = [0; 32];
    let mut sign = |algorithm: &str, hashes: &[&[u8]]| {
        let mut text = algorithm.as_bytes().to_vec();
        text.extend_from_slice(&seed.scope);
        text.extend_from_slice(&hex::encode32(&signature));
        for hash in hashes {
            text.push(b'\n');
            text.extend_from_slice(hash);
        }
        signature = seed.key.sign(&text);
        String::from_utf8_lossy(&hex::encode32(&signature)).into_owned()
    };
    let hash = |bytes: &[u8]| hex::encode32(&Sha256::digest(bytes).into());
    let mut rest = payload;
    loop {
        let most = if signed { rest.len() } else { rest.first().map_or(0, |&byte| usize::from(byte) + 1) };
        let (chunk, after) = rest.split_at(most.min(rest.len()));
        rest = after;
        body.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if signed {
            let signature = sign("AWS4-HMAC-SHA256-PAYLOAD\n", &[EMPTY_SHA256_HEX, &hash(chunk)]);
            body.extend_from_slice(format!(";chunk-signature={signature}").as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        if chunk.is_empty() {
            break;
        }
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    if trailer {
        body.extend_from_slice(b"x-amz-checksum-crc32: AAAAAA==\r\n");
        if signed {
            let lines = hash(b"x-amz-checksum-crc32:AAAAAA==\n");
            let signature = sign("AWS4-HMAC-SHA256-TRAILER\n", &[&lines]);
            body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
    }
    body.extend_from_slice(b"\r\n");
    body
}

type Decoded = (Vec<u8>, Result<Vec<Trailer>, Error>);

/// Decodes `input` in pieces; `piece` says how long the piece at an index may be.
fn decode_in_pieces(mut decoder: Decoder, input: &[u8], piece: impl Fn(usize) -> usize) -> Decoded {
    let (mut payload, mut at) = (Vec::new(), 0);
    while at < input.len() {
        let end = input.len().min(at.saturating_add(piece(at)));
        match decoder.step(&input[at..end]) {
            Ok(step) => {
                assert!(step.consumed > 0, "a step makes progress");
                assert!(step.data.start <= step.data.end && step.data.end <= step.consumed);
                payload.extend_from_slice(&input[at..end][step.data]);
                at += step.consumed;
            }
            Err(error) => {
                assert!(decoder.step(b"0\r\n\r\n").is_err() && decoder.finish().is_err(), "errors are final");
                return (payload, Err(error));
            }
        }
    }
    let end = decoder.finish();
    (payload, end.map(|()| decoder.trailers))
}
