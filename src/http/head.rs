//! The head of a request: request line and header fields, from the read buffer to typed questions.
//!
//! [`HeadReader`] finds the end of the head, looking at each byte once however the bytes arrive; [`Head`] then owns
//! exactly those bytes, split off the read buffer without a copy, and keeps positions instead of strings. Nothing is
//! decoded, lower-cased or joined here: the signature is over what the client sent.
//!
//! A server behind a proxy is only as safe as their agreement on where a request ends, so every head on which two
//! readers could differ is refused: bare LF or CR, folded lines, space before a colon, `Content-Length` together with
//! `Transfer-Encoding`, differing or malformed lengths, any coding but `chunked`, a missing or repeated `Host`.
//! Invariants: a head has at most `HEAD_BYTES_MAX` bytes and `HEADERS_MAX` fields, so that positions fit `u16`; its
//! path begins with `/`; its framing is unambiguous.
//! Spec: RFC 9112 sections 2 to 6, RFC 9110 sections 5 and 7.2.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

pub use error::HeadError;
use fields::{Fields, Flags, Target};

mod error;
mod fields;
#[cfg(test)]
mod tests;

// Positions are kept as `u16`.
const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize);

/// Request method. S3 uses the first six; the others are answered with 405 by the router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other token; see [`Head::method_bytes`].
    Other,
}

/// How the end of the request's body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Neither length nor coding was sent: there is no body.
    None,
    /// `Content-Length` in bytes; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Finds the end of one head in a growing buffer. One reader serves a connection: after each head it begins anew.
#[derive(Default, Debug)]
pub struct HeadReader {
    /// Bytes of the buffer that were searched; the search goes on from here.
    scanned: usize,
    /// Where the line that is being read begins.
    line_start: usize,
    /// Complete lines seen, the request line among them.
    line_count: usize,
    /// The one empty line that may precede a head was taken.
    leading_line_taken: bool,
}

impl HeadReader {
    /// Takes one head off the front of `buf`, or `None` when more bytes are needed. Between two calls `buf` may only
    /// have grown at its end.
    ///
    /// # Errors
    /// [`HeadError`], as soon as the bytes at hand prove it; it does not depend on how the bytes arrived.
    pub fn read(&mut self, buf: &mut BytesMut) -> Result<Option<Head>, HeadError> {
        let Some(head_bytes) = self.find_end(buf)? else { return Ok(None) };
        *self = Self::default();
        Head::from_complete(buf.split_to(head_bytes).freeze()).map(Some)
    }

    /// True when bytes of a head have arrived, so that the head timeout applies instead of the idle timeout.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.scanned > 0
    }

    /// Length of the head at the front of `buf`, with its empty line. Walks from LF to LF, so that bare LFs, the number
    /// of lines and the size are judged before anything is parsed.
    fn find_end(&mut self, buf: &mut BytesMut) -> Result<Option<usize>, HeadError> {
        if self.scanned == 0 && !self.take_leading_line(buf)? {
            return Ok(None);
        }
        let window = &buf[..buf.len().min(HEAD_BYTES_MAX)];
        for newline in memchr::memchr_iter(b'\n', &window[self.scanned..]) {
            let newline = self.scanned + newline;
            if newline == self.line_start || window[newline - 1] != b'\r' {
                return Err(HeadError::BareLineFeed);
            }
            if newline == self.line_start + 1 {
                return Ok(Some(newline + 1));
            }
            self.line_start = newline + 1;
            self.line_count += 1;
            if self.line_count > HEADERS_MAX + 1 {
                return Err(HeadError::TooManyHeaders);
            }
        }
        self.scanned = window.len();
        if window.len() == HEAD_BYTES_MAX { Err(HeadError::HeadTooLarge) } else { Ok(None) }
    }

    /// Skips the one CR LF that old clients send after a body (RFC 9112 section 2.2), and refuses at once what cannot
    /// begin a request: a TLS client on a plain port must not wait for the head timeout. False when more is needed.
    fn take_leading_line(&mut self, buf: &mut BytesMut) -> Result<bool, HeadError> {
        if !self.leading_line_taken && buf.first() == Some(&b'\r') {
            match buf.get(1) {
                None => return Ok(false),
                Some(b'\n') => buf.advance(2),
                Some(_) => return Err(HeadError::RequestLine),
            }
            self.leading_line_taken = true;
        }
        match buf.first() {
            None => Ok(false),
            Some(&byte) if is_token(byte) => Ok(true),
            Some(_) => Err(HeadError::RequestLine),
        }
    }
}

/// The head of one request. Cheap to move; the bytes live as long as the last clone of them.
#[derive(Clone)]
pub struct Head {
    bytes: Bytes,
    method: Method,
    method_end: u16,
    path: Span,
    query: Span,
    /// Authority of an absolute-form target, else the value of `Host`.
    host: Option<Span>,
    framing: Framing,
    flags: Flags,
    headers: SmallVec<[Field; FIELDS_INLINE]>,
    /// One byte for each header, made from its name: look-ups search these 16 or 32 at a time and compare a name only
    /// where the byte is right. A request asks for some twenty headers, most of which were not sent.
    tags: SmallVec<[u8; FIELDS_INLINE]>,
    /// A bit for each tag: most look-ups end here.
    present: u64,
}

impl Head {
    /// One-shot form of [`HeadReader::read`] for a caller that does not keep a reader: takes one head off the front of
    /// `buf`, or returns `None` (and searches from the beginning again next time).
    ///
    /// # Errors
    /// [`HeadError`] when the bytes at hand cannot become an acceptable head.
    pub fn parse(buf: &mut BytesMut) -> Result<Option<Head>, HeadError> {
        HeadReader::default().read(buf)
    }

    /// The method, for dispatch.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as sent, for the signature. Methods are case-sensitive.
    #[must_use]
    pub fn method_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.method_end)]
    }

    /// The path as sent, still percent-encoded, without the query. Begins with `/`; for `OPTIONS *` it is `/`, and
    /// [`Head::is_asterisk`] tells the difference.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        if self.path.len() == 0 { b"/" } else { self.slice(self.path) }
    }

    /// The query as sent, without its `?`; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &[u8] {
        self.slice(self.query)
    }

    /// True for the target `*`.
    #[must_use]
    pub fn is_asterisk(&self) -> bool {
        self.flags.asterisk
    }

    /// The authority of an absolute-form target, else the `Host` header. `None` only in HTTP/1.0.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        self.host.map(|span| self.slice(span))
    }

    /// First value of the header, trimmed. `lower_name` is in lower case.
    #[must_use]
    #[inline]
    pub fn header(&self, lower_name: &str) -> Option<&[u8]> {
        self.header_all(lower_name).next()
    }

    /// Every value of the header in wire order, trimmed. `lower_name` is in lower case.
    #[inline]
    pub fn header_all<'h>(&'h self, lower_name: &str) -> impl Iterator<Item = &'h [u8]> {
        debug_assert!(!lower_name.bytes().any(|byte| byte.is_ascii_uppercase()));
        let name = lower_name.as_bytes();
        let tag = tag(name);
        let tags = if self.present & bit(tag) == 0 { &[] } else { &self.tags[..] };
        memchr::memchr_iter(tag, tags)
            .map(|index| self.headers[index])
            .filter(move |field| self.slice(field.name).eq_ignore_ascii_case(name))
            .map(|field| self.slice(field.value))
    }

    /// Names as sent and trimmed values, in wire order.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|field| (self.slice(field.name), self.slice(field.value)))
    }

    /// True when the client wants to send another request on this connection (RFC 9112 section 9.3).
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        !self.flags.close && (!self.flags.http10 || self.flags.keep_alive)
    }

    /// True for HTTP/1.0, whose clients must be told `Connection: keep-alive` and understand no chunked coding.
    #[must_use]
    pub fn is_http10(&self) -> bool {
        self.flags.http10
    }

    /// True when the client waits for `100 Continue`. Other expectations are ignored, as S3 does, and so is this one in
    /// HTTP/1.0 (RFC 9110 section 10.1.1).
    #[must_use]
    pub fn expect_continue(&self) -> bool {
        self.flags.expect_continue && !self.flags.http10
    }

    /// How the end of the body is found.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Length of the head in bytes, with its empty line.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[usize::from(span.start)..usize::from(span.end)]
    }

    /// Parses bytes that end in the first empty line, with every LF after a CR.
    fn from_complete(bytes: Bytes) -> Result<Head, HeadError> {
        debug_assert!(bytes.len() <= HEAD_BYTES_MAX && bytes.ends_with(b"\r\n\r\n"));
        // Uninitialized, because zeroing a hundred headers would cost more than parsing a dozen.
        let mut uninit = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(&bytes, &mut uninit) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            // An end other than the one found by the reader would be another idea of what a line is.
            Ok(_) => return Err(HeadError::RequestLine),
            Err(error) => return Err(refusal(error, &bytes)),
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(HeadError::RequestLine);
        };
        let origin = Origin(bytes.as_ptr().addr());
        let method_end = origin.span(method.as_bytes()).end;
        let flags = Flags { http10: version == 0, ..Flags::default() };
        let mut fields = Fields { host: None, length: None, encoding: None, flags };
        for header in request.headers.iter() {
            fields.note(header.name.as_bytes(), header.value)?;
        }
        let span = |header: &httparse::Header<'_>| Field {
            name: origin.span(header.name.as_bytes()),
            value: origin.span(header.value),
        };
        let headers = request.headers.iter().map(span).collect();
        let tags: SmallVec<[u8; FIELDS_INLINE]> =
            request.headers.iter().map(|header| tag(header.name.as_bytes())).collect();
        let present = tags.iter().fold(0, |present, tag| present | bit(*tag));
        let method = match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        };
        let target = Target::parse(target.as_bytes(), method)?;
        fields.flags.asterisk = target.asterisk;
        let framing = fields.framing()?;
        let host = fields.host(target.authority)?.map(|host| origin.span(host));
        let (path, query) = (origin.span(target.path), origin.span(target.query));
        let flags = fields.flags;
        Ok(Head { bytes, method, method_end, path, query, host, framing, flags, headers, tags, present })
    }
}

/// Shows no header and no query: they carry signatures and session tokens.
impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("path", &self.path().escape_ascii().to_string())
            .field("framing", &self.framing)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// Positions of a name and a value within the head.
#[derive(Clone, Copy)]
struct Field {
    name: Span,
    value: Span,
}

/// Half-open range of positions within the head.
#[derive(Clone, Copy)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn len(self) -> usize {
        usize::from(self.end - self.start)
    }
}

/// Address of the head's first byte: turns slices of the head, which the tokenizer returns, into positions.
#[derive(Clone, Copy)]
struct Origin(usize);

impl Origin {
    /// `part` is a slice of the head, whose length fits `u16`; any other slice would give positions out of range, which
    /// panic when they are used and never reach other memory.
    fn span(self, part: &[u8]) -> Span {
        if part.is_empty() {
            return Span { start: 0, end: 0 };
        }
        let start = part.as_ptr().addr().wrapping_sub(self.0);
        debug_assert!(start + part.len() <= HEAD_BYTES_MAX);
        Span { start: start as u16, end: (start + part.len()) as u16 }
    }
}

/// The bit of a tag in [`Head::present`].
fn bit(tag: u8) -> u64 {
    1 << (tag & 63)
}

/// The same for every spelling of a name, and different for nearly all names that S3 uses: from its length and its last
/// letter, which differ more than the `x-amz-` in front.
fn tag(name: &[u8]) -> u8 {
    let last = name.last().map_or(0, u8::to_ascii_lowercase);
    (name.len() as u8).wrapping_mul(31) ^ last
}

/// Our name for what the tokenizer refused.
fn refusal(error: httparse::Error, bytes: &[u8]) -> HeadError {
    match error {
        httparse::Error::Version => HeadError::VersionNotSupported,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::HeaderName if has_folded_line(bytes) => HeadError::FoldedHeader,
        httparse::Error::HeaderName => HeadError::HeaderName,
        httparse::Error::HeaderValue => HeadError::HeaderValue,
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => HeadError::RequestLine,
    }
}

fn has_folded_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, [b'\n', b' ' | b'\t']))
}

/// True for the characters of header names and methods (`tchar`, RFC 9110 section 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// Table of the ASCII letters and digits and of the characters in `more`.
const fn alphanumeric_and(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < more.len() {
        table[more[index] as usize] = true;
        index += 1;
    }
    table
}

/// Headers that fit without a heap allocation; SDKs send 8 to 20.
const FIELDS_INLINE: usize = 32;

/// Parses `data` at once and in pieces, and asserts the invariants of the module.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let whole = Head::parse(&mut BytesMut::from(data));
    if let Ok(Some(head)) = &whole {
        assert!(head.path().starts_with(b"/"));
        assert!(head.bytes_len() <= HEAD_BYTES_MAX);
        assert!(head.headers().count() <= HEADERS_MAX);
        let (length, encoding) = (head.header("content-length"), head.header("transfer-encoding"));
        assert_eq!(head.framing() == Framing::None, length.is_none() && encoding.is_none());
        assert!(length.is_none() || encoding.is_none());
        assert!(head.host().is_some() || head.is_http10());
        for (name, value) in head.headers() {
            assert!(!name.is_empty() && name.iter().all(|&byte| is_token(byte)));
            assert_eq!(value.trim_ascii(), value);
            let lower_name: String = name.iter().map(|&byte| char::from(byte.to_ascii_lowercase())).collect();
            assert!(head.header_all(&lower_name).any(|found| found == value));
            assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }
    // However the bytes arrive, the answer is the same.
    let mut reader = HeadReader::default();
    let mut buf = BytesMut::new();
    let mut pieces = Ok(None);
    for piece in data.chunks(1 + data.len() / 7) {
        buf.extend_from_slice(piece);
        pieces = reader.read(&mut buf);
        if !matches!(pieces, Ok(None)) {
            break;
        }
    }
    assert_eq!(whole.as_ref().err(), pieces.as_ref().err());
    let text =
        |head: &Result<Option<Head>, HeadError>| head.as_ref().ok().cloned().flatten().map(|head| head.bytes);
    assert_eq!(text(&whole), text(&pieces));
}
