//! The head of a response, written straight into the connection's write buffer.
//!
//! Nothing is allocated but what the buffer itself grows by, and nothing is formatted with `format!`. The body is the
//! caller's, and so is the decision which headers a status needs.
//! Invariant: response splitting is impossible. Values may come from clients (user metadata, `response-*` overrides) and
//! from the disk; every control character in them is written as a space, which RFC 9110 section 5.5 allows, and a header
//! whose name is not a token is left out.
//! Spec: RFC 9112 sections 4 and 5, RFC 9110 sections 5.5, 8.6 and 14.4.

use bytes::{BufMut, BytesMut};

use crate::http::head::is_token;
use crate::http::range::ByteRange;

/// What a client with `Expect: 100-continue` waits for before it sends the body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response head that is being written. [`ResponseHead::finish`] ends it; without that the buffer holds half a head.
#[must_use = "the head is incomplete until `finish`"]
#[derive(Debug)]
pub struct ResponseHead<'b> {
    out: &'b mut BytesMut,
    status: u16,
}

impl<'b> ResponseHead<'b> {
    /// Begins a head with the status line and `Server`. `status` has three digits, or the server has a bug.
    pub fn new(out: &'b mut BytesMut, status: u16) -> Self {
        assert!((100..=999).contains(&status), "{status} is no HTTP status");
        out.reserve(TYPICAL_BYTES);
        if status == 200 {
            out.put_slice(b"HTTP/1.1 200 OK\r\nServer: sluicegate\r\n");
            return Self { out, status };
        }
        out.put_slice(b"HTTP/1.1 ");
        put_decimal(out, u64::from(status));
        out.put_slice(b" ");
        out.put_slice(reason(status).as_bytes());
        out.put_slice(b"\r\nServer: sluicegate\r\n");
        Self { out, status }
    }

    /// Goes on with a head that `new` began in `out` with the same `status`, and that is not finished.
    pub fn resume(out: &'b mut BytesMut, status: u16) -> Self {
        debug_assert!(out.starts_with(b"HTTP/1.1 ") && !out.ends_with(b"\r\n\r\n"));
        Self { out, status }
    }

    /// `Date`, from the 29 bytes that the worker renews once in a second.
    pub fn date(&mut self, date: &[u8; 29]) -> &mut Self {
        self.header("Date", date)
    }

    /// A header. `name` is one of ours; `value` may come from anywhere.
    pub fn header(&mut self, name: &'static str, value: &[u8]) -> &mut Self {
        debug_assert!(!name.is_empty() && name.bytes().all(is_token));
        self.out.put_slice(name.as_bytes());
        self.out.put_slice(b": ");
        self.value(value);
        self.out.put_slice(b"\r\n");
        self
    }

    /// A header with a decimal value.
    pub fn header_decimal(&mut self, name: &'static str, value: u64) -> &mut Self {
        self.out.put_slice(name.as_bytes());
        self.out.put_slice(b": ");
        put_decimal(self.out, value);
        self.out.put_slice(b"\r\n");
        self
    }

    /// A header whose name ends in text from a client, such as `x-amz-meta-` and its suffix. Left out when `suffix` is
    /// empty or no token; false says so.
    pub fn header_suffixed(&mut self, prefix: &'static str, suffix: &[u8], value: &[u8]) -> bool {
        let writable = !suffix.is_empty() && suffix.iter().all(|&byte| is_token(byte));
        if writable {
            self.out.put_slice(prefix.as_bytes());
            self.out.put_slice(suffix);
            self.out.put_slice(b": ");
            self.value(value);
            self.out.put_slice(b"\r\n");
        }
        writable
    }

    /// `ETag` in its quotes; `etag` is without them.
    pub fn etag(&mut self, etag: &[u8]) -> &mut Self {
        self.out.put_slice(b"ETag: \"");
        self.value(etag);
        self.out.put_slice(b"\"\r\n");
        self
    }

    /// `Content-Length` in bytes. Left out with 1xx and 204, where it is forbidden (RFC 9110 section 8.6).
    pub fn content_length(&mut self, bytes: u64) -> &mut Self {
        if self.status < 200 || self.status == 204 {
            return self;
        }
        self.header_decimal("Content-Length", bytes)
    }

    /// `Content-Range` of a 206, for an object of `size` bytes.
    pub fn content_range(&mut self, range: ByteRange, size: u64) -> &mut Self {
        self.out.put_slice(b"Content-Range: bytes ");
        put_decimal(self.out, range.first());
        self.out.put_slice(b"-");
        put_decimal(self.out, range.last());
        self.out.put_slice(b"/");
        put_decimal(self.out, size);
        self.out.put_slice(b"\r\n");
        self
    }

    /// `Content-Range` of a 416: the size the client should have asked within.
    pub fn content_range_unsatisfied(&mut self, size: u64) -> &mut Self {
        self.out.put_slice(b"Content-Range: bytes */");
        put_decimal(self.out, size);
        self.out.put_slice(b"\r\n");
        self
    }

    /// `Connection: close`: this is the last response of the connection.
    pub fn connection_close(&mut self) -> &mut Self {
        self.header("Connection", b"close")
    }

    /// `Connection: keep-alive`, which HTTP/1.0 clients that asked for it need to hear.
    pub fn connection_keep_alive(&mut self) -> &mut Self {
        self.header("Connection", b"keep-alive")
    }

    /// One of the two.
    pub fn connection(&mut self, keep_alive: bool) -> &mut Self {
        if keep_alive { self.connection_keep_alive() } else { self.connection_close() }
    }

    /// `Transfer-Encoding: chunked`, for a body whose length is not known; never for HTTP/1.0 clients.
    pub fn transfer_encoding_chunked(&mut self) -> &mut Self {
        self.header("Transfer-Encoding", b"chunked")
    }

    /// Ends the head with its empty line.
    pub fn finish(self) {
        self.out.put_slice(b"\r\n");
    }

    fn value(&mut self, value: &[u8]) {
        let start = self.out.len();
        self.out.put_slice(value);
        for byte in &mut self.out[start..] {
            // No branch, so that the loop is vectorized: a value is a few dozen bytes and nearly always clean.
            let control = (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
            *byte = if control { b' ' } else { *byte };
        }
    }
}

/// Appends `value` in decimal digits.
pub fn put_decimal(out: &mut BytesMut, mut value: u64) {
    let mut digits = [0; DECIMAL_DIGITS_MAX];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}

/// The registered reason phrase of every status that S3 answers with; empty for others, which RFC 9112 allows.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// A GetObject head with a checksum and a few metadata stays below this.
const TYPICAL_BYTES: usize = 1024;
/// `u64::MAX` has 20 digits.
const DECIMAL_DIGITS_MAX: usize = 20;

/// Writes `data` as name and value and asserts that it stays one header.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let (name, value) = data.split_at(data.len() / 2);
    let mut out = BytesMut::new();
    let mut head = ResponseHead::new(&mut out, 200);
    let named = head.header_suffixed("x-amz-meta-", name, value);
    head.header("Content-Type", value).etag(value);
    head.finish();
    let mut headers = [httparse::EMPTY_HEADER; 8];
    let mut response = httparse::Response::new(&mut headers);
    assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())));
    assert_eq!(response.headers.len(), 3 + usize::from(named));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_get_object_head() {
        let mut out = BytesMut::from("earlier");
        let mut head = ResponseHead::new(&mut out, 206);
        head.date(b"Fri, 24 May 2013 00:00:00 GMT")
            .content_length(4)
            .content_range(ByteRange::new(2, 5, 10).unwrap(), 10)
            .etag(b"abc-2")
            .header("x-amz-request-id", b"0A1B")
            .connection_keep_alive();
        assert!(head.header_suffixed("x-amz-meta-", b"color", "bl\u{fc}\tx".as_bytes()));
        head.finish();
        let expected = "earlierHTTP/1.1 206 Partial Content\r\nServer: sluicegate\r\n\
            Date: Fri, 24 May 2013 00:00:00 GMT\r\nContent-Length: 4\r\nContent-Range: bytes 2-5/10\r\n\
            ETag: \"abc-2\"\r\nx-amz-request-id: 0A1B\r\nConnection: keep-alive\r\nx-amz-meta-color: bl\u{fc}\tx\r\n\r\n";
        assert_eq!(str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn heads_without_a_body() {
        for (status, expected) in [
            (204, "HTTP/1.1 204 No Content\r\nServer: sluicegate\r\n\r\n"),
            (200, "HTTP/1.1 200 OK\r\nServer: sluicegate\r\nContent-Length: 0\r\n\r\n"),
            (599, "HTTP/1.1 599 \r\nServer: sluicegate\r\nContent-Length: 0\r\n\r\n"),
        ] {
            let mut out = BytesMut::new();
            let mut head = ResponseHead::new(&mut out, status);
            head.content_length(0);
            head.finish();
            assert_eq!(str::from_utf8(&out), Ok(expected));
        }
        let mut out = BytesMut::new();
        let mut head = ResponseHead::new(&mut out, 416);
        head.content_range_unsatisfied(10).connection_close().transfer_encoding_chunked();
        head.finish();
        assert!(out.ends_with(
            b"\r\nContent-Range: bytes */10\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
    }

    #[test]
    fn a_value_cannot_end_its_header() {
        let mut out = BytesMut::new();
        let mut head = ResponseHead::new(&mut out, 200);
        head.header("Content-Type", b"a\r\nSet-Cookie: b\r\n\r\n<html>\0\x7f\x1b");
        for name in [&b""[..], b"a b", b"a:b", b"a\r\nb", "\u{e9}".as_bytes()] {
            assert!(!head.header_suffixed("x-amz-meta-", name, b"v"));
        }
        head.finish();
        let expected =
            "HTTP/1.1 200 OK\r\nServer: sluicegate\r\nContent-Type: a  Set-Cookie: b    <html>   \r\n\r\n";
        assert_eq!(str::from_utf8(&out), Ok(expected));
    }

    #[test]
    #[should_panic(expected = "no HTTP status")]
    fn a_status_of_two_digits_is_a_bug() {
        ResponseHead::new(&mut BytesMut::new(), 99).finish();
    }

    #[test]
    fn fuzz_over_a_corpus() {
        for data in [&b""[..], b"name\r\nx", b"a\0", b"\r\n\r\n\r\n\r\n", b"tokentoken", b"\xff\xff\xff"] {
            fuzz(data);
        }
    }

    proptest! {
        #[test]
        fn fuzz_over_random_bytes(data: Vec<u8>) {
            fuzz(&data);
        }

        #[test]
        fn decimals_are_those_of_the_standard_library(value: u64, shift in 0..64u32) {
            let mut out = BytesMut::new();
            put_decimal(&mut out, value >> shift);
            let expected = (value >> shift).to_string();
            prop_assert_eq!(&out[..], expected.as_bytes());
        }
    }
}
