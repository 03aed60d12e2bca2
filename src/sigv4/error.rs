//! What can be wrong with a signature: one variant for each answer that AWS gives, with the data of its XML extras.
//!
//! The mapping to codes and statuses is the job of the S3 layer; each variant names its AWS code. `Display` gives
//! the message. No variant holds a secret: what a client sent is given back to that client only where AWS does so.
//! Spec: AWS S3 "Error responses"; AWS "Troubleshooting Signature Version 4".

use std::fmt;

use crate::codec::dates::Timestamp;

/// Why a request or a part of its body is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The `Authorization` header is not one scheme, one space and its fields. 400 InvalidArgument; ArgumentName is
    /// `Authorization`, ArgumentValue its first word, at most 32 bytes (the rest may be a credential).
    AuthorizationInvalid {
        /// For ArgumentValue.
        scheme: Box<str>,
    },
    /// Another algorithm than AWS4-HMAC-SHA256. 400 InvalidArgument; extras as for [`Error::AuthorizationInvalid`].
    AuthorizationTypeUnsupported {
        /// For ArgumentValue.
        scheme: Box<str>,
    },
    /// Signature Version 2, in the header or the query. 400 InvalidRequest.
    SignatureVersion2,
    /// 400 AuthorizationHeaderMalformed; `Region` is an extra for [`Fault::Region`].
    HeaderMalformed(Fault),
    /// 400 AuthorizationQueryParametersError; `Region` is an extra for [`Fault::Region`].
    QueryMalformed(Fault),
    /// Both a header and a query signature. 400 InvalidArgument.
    TwoMechanisms,
    /// Neither `x-amz-date` nor `Date` holds a date. 403 AccessDenied.
    DateMissing,
    /// A header-signed date more than 15 minutes off. 403 RequestTimeTooSkewed; extras RequestTime, ServerTime,
    /// MaxAllowedSkewMilliseconds.
    RequestTimeTooSkewed {
        /// When the request says it was signed.
        request_time: Timestamp,
        /// The clock of the server.
        server_time: Timestamp,
    },
    /// A presigned URL after its end. 403 AccessDenied "Request has expired"; extras X-Amz-Expires, Expires,
    /// ServerTime.
    PresignedExpired {
        /// X-Amz-Expires, in seconds.
        expires_seconds: u32,
        /// End of the URL's life.
        expires_at: Timestamp,
        /// The clock of the server.
        server_time: Timestamp,
    },
    /// A presigned URL dated more than 15 minutes ahead. 403 AccessDenied "Request is not valid yet"; the same extras.
    PresignedNotYetValid {
        /// X-Amz-Expires, in seconds.
        expires_seconds: u32,
        /// End of the URL's life.
        expires_at: Timestamp,
        /// The clock of the server.
        server_time: Timestamp,
    },
    /// `x-amz-*` headers, or `host`, that the signature does not cover. 403 AccessDenied; extra HeadersNotSigned.
    HeadersNotSigned {
        /// Lower-case names, joined with ", ".
        names: Box<str>,
    },
    /// A header-signed S3 request without `x-amz-content-sha256`. 400 InvalidRequest.
    ContentSha256Missing,
    /// `x-amz-content-sha256` is none of the values AWS defines, is repeated, or names a signed stream on a request
    /// without a signature. 400 InvalidArgument; ArgumentName is `x-amz-content-sha256`.
    ContentSha256Invalid,
    /// A payload signed with an ECDSA key. 501 NotImplemented.
    ContentSha256Unsupported,
    /// The body has another SHA-256 than `x-amz-content-sha256` says. 400 XAmzContentSHA256Mismatch; extras
    /// ClientComputedContentSHA256 and S3ComputedContentSHA256.
    ContentSha256Mismatch {
        /// What the client signed.
        client: [u8; 32],
        /// What the body has.
        computed: [u8; 32],
    },
    /// The signature of the head, of a chunk or of the trailer is another. 403 SignatureDoesNotMatch; extras in
    /// [`Mismatch`].
    SignatureDoesNotMatch(Box<Mismatch>),
    /// A streamed payload without `x-amz-decoded-content-length`. 411 MissingContentLength.
    DecodedLengthMissing,
    /// `x-amz-decoded-content-length` is not a number of bytes. 400 InvalidArgument.
    DecodedLengthInvalid,
    /// The body ends before its final chunk or has another length than `x-amz-decoded-content-length` says.
    /// 400 IncompleteBody.
    IncompleteBody {
        /// Bytes of payload announced.
        expected: u64,
        /// Bytes of payload seen so far; for a chunk that is too large, as if all of it had arrived.
        received: u64,
    },
    /// The chunk framing cannot be read. 400 IncompleteBody, as AWS answers.
    ChunkMalformed(&'static str),
    /// A signed chunk, not the last one, of less than 8,192 bytes. 403 InvalidChunkSizeError; extras Chunk and
    /// BadChunkSize.
    ChunkTooSmall {
        /// Number of the chunk, from 1.
        chunk: u64,
        /// Its size.
        bytes: u64,
    },
    /// A trailer that `x-amz-trailer` does not declare, a declared one that is missing, a repeated one, one that
    /// cannot be read, or too many. 400 MalformedTrailerError.
    TrailerMalformed(&'static str),
}

/// What a client needs to find its mistake in a signature. Everything in it was sent by that client or follows from
/// what it sent; nothing of it depends on the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// AWSAccessKeyId.
    pub access_key: Box<str>,
    /// StringToSign, and StringToSignBytes in hexadecimal.
    pub string_to_sign: Box<[u8]>,
    /// SignatureProvided.
    pub signature_provided: [u8; 64],
    /// CanonicalRequest, and CanonicalRequestBytes in hexadecimal; empty for a chunk or a trailer.
    pub canonical_request: Box<[u8]>,
}

impl fmt::Debug for Mismatch {
    /// Leaves the texts out: they hold header values that do not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mismatch").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// What is wrong with the fields of an `Authorization` header or with the parameters of a presigned URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The named field or parameter is absent or empty.
    Missing(&'static str),
    /// The named field or parameter is given twice.
    Repeated(&'static str),
    /// A field that the header does not have.
    UnknownField,
    /// `Credential` is not `<access key>/<yyyymmdd>/<region>/<service>/aws4_request`.
    Credential,
    /// The credential does not end in `aws4_request`.
    Terminal,
    /// The date of the credential is not `yyyymmdd`.
    ScopeDate,
    /// The date of the credential is not the day on which the request was signed.
    ScopeDateDiffers,
    /// The credential is for another service.
    Service {
        /// The service of this endpoint.
        expected: &'static str,
    },
    /// The credential is for another region.
    Region {
        /// The region of the credential.
        given: Box<str>,
        /// The region of this server, for the extra `Region`.
        expected: Box<str>,
    },
    /// `SignedHeaders` is not a list of distinct lower-case header names.
    SignedHeaders,
    /// `Signature` is not 64 lower-case hexadecimal digits.
    Signature,
    /// `X-Amz-Algorithm` is not AWS4-HMAC-SHA256.
    Algorithm,
    /// `X-Amz-Date` is not `yyyymmddThhmmssZ`.
    Date,
    /// `X-Amz-Security-Token` is not percent-encoded correctly.
    SecurityToken,
    /// `X-Amz-Expires` is not a number.
    ExpiresNotANumber,
    /// `X-Amz-Expires` is negative.
    ExpiresNegative,
    /// `X-Amz-Expires` is over a week.
    ExpiresTooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::Repeated(name) => write!(f, "{name} is given more than once"),
            Self::UnknownField => f.write_str("only Credential, SignedHeaders and Signature are known fields"),
            Self::Credential => f.write_str(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"",
            ),
            Self::Terminal => f.write_str("incorrect terminal in the Credential; this endpoint uses \"aws4_request\""),
            Self::ScopeDate => f.write_str("incorrect date format in the Credential; expecting \"yyyyMMdd\""),
            Self::ScopeDateDiffers => {
                f.write_str("Invalid credential date. Date is not the same as X-Amz-Date")
            }
            Self::Service { expected } => {
                write!(f, "incorrect service in the Credential; this endpoint belongs to \"{expected}\"")
            }
            Self::Region { given, expected } => {
                write!(f, "the region '{given}' is wrong; expecting '{expected}'")
            }
            Self::SignedHeaders => f.write_str(
                "SignedHeaders must be a list of distinct lower-case header names separated by semicolons",
            ),
            Self::Signature => f.write_str("Signature must be 64 lower-case hexadecimal digits"),
            Self::Algorithm => f.write_str("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""),
            Self::Date => {
                f.write_str("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
            }
            Self::SecurityToken => f.write_str("X-Amz-Security-Token is not percent-encoded correctly"),
            Self::ExpiresNotANumber => f.write_str("X-Amz-Expires should be a number"),
            Self::ExpiresNegative => f.write_str("X-Amz-Expires must be non-negative"),
            Self::ExpiresTooLong => {
                f.write_str("X-Amz-Expires must be less than a week (in seconds); that is 604800")
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorizationInvalid { .. } => {
                f.write_str("Authorization header is invalid -- one and only one ' ' (space) required")
            }
            Self::AuthorizationTypeUnsupported { .. } => f.write_str("Unsupported Authorization Type"),
            Self::SignatureVersion2 => f.write_str(
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ),
            Self::HeaderMalformed(fault) => {
                write!(f, "The authorization header is malformed; {fault}.")
            }
            Self::QueryMalformed(Fault::Missing(_)) => f.write_str(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ),
            Self::QueryMalformed(fault) => write!(f, "Error parsing the query parameters; {fault}."),
            Self::TwoMechanisms => f.write_str(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified",
            ),
            Self::DateMissing => {
                f.write_str("AWS authentication requires a valid Date or x-amz-date header")
            }
            Self::RequestTimeTooSkewed { .. } => {
                f.write_str("The difference between the request time and the current time is too large.")
            }
            Self::PresignedExpired { .. } => f.write_str("Request has expired"),
            Self::PresignedNotYetValid { .. } => f.write_str("Request is not valid yet"),
            Self::HeadersNotSigned { .. } => {
                f.write_str("There were headers present in the request which were not signed")
            }
            Self::ContentSha256Missing => {
                f.write_str("Missing required header for this request: x-amz-content-sha256")
            }
            Self::ContentSha256Invalid => f.write_str(
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, or a valid sha256 \
                 value.",
            ),
            Self::ContentSha256Unsupported => {
                f.write_str("Payloads signed with AWS4-ECDSA-P256-SHA256 are not implemented.")
            }
            Self::ContentSha256Mismatch { .. } => {
                f.write_str("The provided 'x-amz-content-sha256' header does not match what was computed.")
            }
            Self::SignatureDoesNotMatch(_) => f.write_str(
                "The request signature we calculated does not match the signature you provided. Check your key and \
                 signing method.",
            ),
            Self::DecodedLengthMissing => {
                f.write_str("You must provide the x-amz-decoded-content-length HTTP header.")
            }
            Self::DecodedLengthInvalid => {
                f.write_str("x-amz-decoded-content-length must be a number of bytes.")
            }
            Self::IncompleteBody { expected, received } => write!(
                f,
                "x-amz-decoded-content-length announces {expected} bytes, but the chunks of the body hold {received}."
            ),
            Self::ChunkMalformed(what) => write!(f, "The aws-chunked framing of the body is malformed: {what}."),
            Self::ChunkTooSmall { .. } => {
                f.write_str("Only the last chunk is allowed to have a size less than 8192 bytes")
            }
            Self::TrailerMalformed(what) => write!(
                f,
                "The request contained trailing data that was not well-formed or did not conform to our published \
                 schema: {what}."
            ),
        }
    }
}

impl std::error::Error for Error {}
