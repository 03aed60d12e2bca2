//! Why a request head is refused, and what the client is told.
//!
//! Each refusal is final for its connection. The texts are constants: nothing that the client sent is repeated.

use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

// The texts below name both limits.
const _: () = assert!(HEAD_BYTES_MAX == 16 * 1024 && HEADERS_MAX == 100);

/// Why a head was refused. The connection cannot be used any further: where the next request begins is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadError {
    /// The head does not end within `HEAD_BYTES_MAX`.
    HeadTooLarge,
    /// More than `HEADERS_MAX` header lines.
    TooManyHeaders,
    /// The request line is not `method SP target SP version`, or the first byte cannot begin one (TLS on a plain port).
    RequestLine,
    /// The target is in none of the forms that a server may be sent, or carries a fragment.
    Target,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported,
    /// A header name is empty, has a character outside `token`, or is followed by space before its colon.
    HeaderName,
    /// A header value holds a control character.
    HeaderValue,
    /// A header line begins with white space (obs-fold).
    FoldedHeader,
    /// A line ends in LF without CR.
    BareLineFeed,
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// More than one `Host`.
    DuplicateHost,
    /// The authority holds characters outside RFC 3986's `host [":" port]`.
    InvalidHost,
    /// `Content-Length` is not a decimal number of at most 64 bits.
    InvalidContentLength,
    /// Several `Content-Length` lines that are not the same.
    ConflictingContentLength,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndTransferEncoding,
    /// `Transfer-Encoding` is empty, repeated, or sent with HTTP/1.0.
    InvalidTransferEncoding,
    /// `Transfer-Encoding` names a coding other than exactly `chunked`.
    NotImplementedTransferEncoding,
}

impl HeadError {
    /// HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotImplementedTransferEncoding => 501,
            Self::VersionNotSupported => 505,
            _ => 400,
        }
    }

    /// S3 error code of the answer, in AWS's words where AWS has one.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::HeadTooLarge | Self::TooManyHeaders => "RequestHeaderSectionTooLarge",
            Self::NotImplementedTransferEncoding => "NotImplemented",
            Self::VersionNotSupported => "HttpVersionNotSupported",
            _ => "BadRequest",
        }
    }

    /// What was wrong and what to send instead.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "The request line and headers exceed 16 KiB.",
            Self::TooManyHeaders => "The request has more than 100 header lines.",
            Self::RequestLine => {
                "The request line is not 'method target HTTP/1.1'. Does the client speak TLS here?"
            }
            Self::Target => {
                "The request target must be a path that begins with '/', an http URL, or '*' with OPTIONS."
            }
            Self::VersionNotSupported => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            Self::HeaderName => {
                "A header name is empty, has an illegal character, or a space before its colon."
            }
            Self::HeaderValue => "A header value has a control character.",
            Self::FoldedHeader => "A header is folded over several lines; send it on one line.",
            Self::BareLineFeed => "A line ends in LF alone; lines end in CR LF.",
            Self::MissingHost => "The Host header is missing.",
            Self::DuplicateHost => "The Host header was sent more than once.",
            Self::InvalidHost => "The Host header is not 'host' or 'host:port'.",
            Self::InvalidContentLength => "The Content-Length header is not a decimal number.",
            Self::ConflictingContentLength => "Several Content-Length headers contradict each other.",
            Self::LengthAndTransferEncoding => {
                "Content-Length and Transfer-Encoding must not be sent together."
            }
            Self::InvalidTransferEncoding => {
                "Transfer-Encoding must be sent once, as 'chunked', and with HTTP/1.1."
            }
            Self::NotImplementedTransferEncoding => "The only transfer coding implemented here is 'chunked'.",
        }
    }
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HeadError {}
