//! The client's errors: what went wrong, as one AWS code with the text and the XML elements of the particular failure.
//!
//! A plain code costs two words and no allocation, because some are as common as success (`NoSuchKey` on a HEAD). A
//! handler writes `Err(Code::NoSuchKey.into())` or `.ok_or(Code::NoSuchKey)?`, and
//! `Code::InvalidArgument.because("…").with("ArgumentName", "max-keys")` where there is more to say. The failures of
//! authentication have one constructor each below, with the elements that SDKs and people look for.
//!
//! This module logs nothing and decides nothing. Faults of the environment become an `S3Error` elsewhere, in one place.
//!
//! Invariants: nothing here takes a secret key or anything derived from one; `Debug` and `Display`, which may reach a
//! log, show the names of the extra elements but never their values.
//! Spec: "Error responses" of the Amazon S3 API reference.

mod code;

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::codec::dates::Timestamp;
use crate::codec::hex;
use crate::s3::xml;

pub use code::Code;

/// An answer that is an error.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Error {
    code: Code,
    details: Option<Box<Details>>,
}

#[derive(Clone, PartialEq, Eq, Default)]
struct Details {
    message: Option<Cow<'static, str>>,
    extras: SmallVec<[(&'static str, String); 2]>,
    allow: Option<Cow<'static, str>>,
    headers: SmallVec<[(&'static str, String); 2]>,
}

/// What the request was about, for the elements that every error carries as far as they are known.
#[derive(Clone, Copy, Default, Debug)]
pub struct Subject<'a> {
    /// The path as it came over the wire. Never the query: it may hold a signature or a session token.
    pub path: &'a [u8],
    /// The bucket, if the request named a legal one.
    pub bucket: Option<&'a str>,
    /// The object key, decoded, if the request named one.
    pub key: Option<&'a [u8]>,
}

impl Code {
    /// This code with a text of its own.
    #[must_use]
    pub fn because(self, message: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error::from(self).because(message)
    }

    /// This code with an XML element of its own.
    #[must_use]
    pub fn with(self, element: &'static str, value: impl Into<String>) -> S3Error {
        S3Error::from(self).with(element, value)
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        Self { code, details: None }
    }
}

impl S3Error {
    /// The code; its `name()` and `status()` are what goes over the wire.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        let own = self.details.as_ref().and_then(|details| details.message.as_deref());
        own.unwrap_or(self.code.message())
    }

    /// The value of an extra XML element, for tests and for answers that repeat it in a header (`Region`).
    #[must_use]
    pub fn extra(&self, element: &str) -> Option<&str> {
        let (_, value) = self.extras().iter().find(|(name, _)| *name == element)?;
        Some(value)
    }

    /// The value of the `Allow` header that a [`Code::MethodNotAllowed`] carries (RFC 9110 section 15.5.6).
    #[must_use]
    pub fn allow(&self) -> Option<&str> {
        self.details.as_ref()?.allow.as_deref()
    }

    /// The headers that the answer carries besides those of every error.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let headers = self.details.iter().flat_map(|details| &details.headers);
        headers.map(|(name, value)| (*name, value.as_str()))
    }

    /// Adds a header to the answer. Neither part is input.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details_mut().headers.push((name, value.into()));
        self
    }

    /// Replaces the usual text of the code.
    #[must_use]
    pub fn because(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.details_mut().message = Some(message.into());
        self
    }

    /// Adds an XML element. `element` is a name of the API, not input.
    #[must_use]
    pub fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.details_mut().extras.push((element, value.into()));
        self
    }

    /// Appends the body of the answer: code, text, extra elements, then what the request was about and its ids.
    /// Bytes of the subject that are not UTF-8 become U+FFFD. The caller leaves the body out for HEAD and where
    /// [`Code::has_body`] says no.
    pub fn write_xml(&self, out: &mut Vec<u8>, subject: &Subject<'_>, request_id: &str, host_id: &str) {
        let mut writer = xml::Writer::document(out);
        writer.open("Error");
        writer.text("Code", self.code.name());
        writer.text("Message", self.message());
        for (element, value) in self.extras() {
            writer.text(element, value);
        }
        let common: [(&str, Option<&[u8]>); 3] = [
            ("Key", subject.key),
            ("BucketName", subject.bucket.map(str::as_bytes)),
            ("Resource", Some(subject.path).filter(|path| !path.is_empty())),
        ];
        for (element, value) in common {
            if let (Some(value), None) = (value, self.extra(element)) {
                writer.text(element, value);
            }
        }
        writer.text("RequestId", request_id);
        writer.text("HostId", host_id);
        writer.close("Error");
    }

    fn extras(&self) -> &[(&'static str, String)] {
        self.details.as_ref().map_or(&[], |details| &details.extras)
    }

    fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.name(), self.message())
    }
}

impl fmt::Debug for S3Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements: SmallVec<[&str; 6]> = self.extras().iter().map(|(name, _)| *name).collect();
        let mut debug = formatter.debug_struct(self.code.name());
        debug.field("message", &self.message()).field("elements", &elements).finish()
    }
}

impl std::error::Error for S3Error {}

/// What is wrong with a request as such.
impl S3Error {
    /// A parameter or header with a value it cannot have. The value is repeated to the client, so it must not be a
    /// secret.
    #[must_use]
    pub fn invalid_argument(
        name: &'static str,
        value: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Code::InvalidArgument.because(message).with("ArgumentName", name).with("ArgumentValue", value)
    }

    /// The resource exists but has no such method. `resource_type` is what AWS calls it (`OBJECT`, `BUCKET`,
    /// `SERVICE`, or a sub-resource in upper case); `allow` lists the methods it has, for the `Allow` header.
    #[must_use]
    pub fn method_not_allowed(
        method: &[u8],
        resource_type: impl Into<String>,
        allow: impl Into<Cow<'static, str>>,
    ) -> Self {
        let method = String::from_utf8_lossy(method);
        let mut error = Code::MethodNotAllowed.with("Method", method).with("ResourceType", resource_type);
        error.details_mut().allow = Some(allow.into());
        error
    }

    /// A function of the S3 API, or of a relative of it, that this server does not offer. `element` is `Header` or
    /// `Query`, and `name` the header or parameter that asks for it.
    #[must_use]
    pub fn not_implemented(element: &'static str, name: &'static str) -> Self {
        Code::NotImplemented
            .because(format!("'{name}' asks for a function that this server does not offer. Leave it out."))
            .with(element, name)
    }

    /// A range that starts at or behind the end. `range` is the header as sent, `object_bytes` the object's size.
    #[must_use]
    pub fn invalid_range(range: &[u8], object_bytes: u64) -> Self {
        Code::InvalidRange
            .with("RangeRequested", String::from_utf8_lossy(range))
            .with("ActualObjectSize", object_bytes.to_string())
    }

    /// A condition that does not hold; `condition` is the header's name as AWS writes it (`If-Match`).
    #[must_use]
    pub fn precondition_failed(condition: &'static str) -> Self {
        Code::PreconditionFailed.with("Condition", condition)
    }
}

/// Authentication, header by header (AWS: "Authenticating requests").
impl S3Error {
    /// The access key belongs to nobody here.
    #[must_use]
    pub fn invalid_access_key_id(access_key: &str) -> Self {
        Code::InvalidAccessKeyId.with("AWSAccessKeyId", access_key)
    }

    /// The signature is another one. Both strings are made of what the client sent, so that it can compare them with
    /// its own; they hold neither the secret nor the signature that would have been right.
    #[must_use]
    pub fn signature_does_not_match(
        access_key: &str,
        string_to_sign: &[u8],
        signature_provided: &[u8],
        canonical_request: &[u8],
    ) -> Self {
        Code::SignatureDoesNotMatch
            .with("AWSAccessKeyId", access_key)
            .with("StringToSign", String::from_utf8_lossy(string_to_sign))
            .with("SignatureProvided", String::from_utf8_lossy(signature_provided))
            .with("StringToSignBytes", spaced_hex(string_to_sign))
            .with("CanonicalRequest", String::from_utf8_lossy(canonical_request))
            .with("CanonicalRequestBytes", spaced_hex(canonical_request))
    }

    /// An `Authorization` header of no known form. Only its first word is repeated: the rest may be a password or a
    /// bearer token meant for another server.
    #[must_use]
    pub fn unsupported_authorization(header: &[u8]) -> Self {
        let scheme = header.split(|byte| *byte == b' ').next().unwrap_or_default();
        Self::invalid_argument(
            "Authorization",
            String::from_utf8_lossy(scheme),
            "Unsupported Authorization Type. Please use AWS4-HMAC-SHA256.",
        )
    }

    /// Signature version 2 in the header or the query.
    #[must_use]
    pub fn signature_version_2() -> Self {
        Code::InvalidRequest.because(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    }

    /// The credential scope names another region. The caller repeats `expected` in `x-amz-bucket-region`.
    #[must_use]
    pub fn wrong_region(given: &str, expected: &str) -> Self {
        Code::AuthorizationHeaderMalformed
            .because(format!(
                "The authorization header is malformed; the region '{given}' is wrong; expecting '{expected}'"
            ))
            .with("Region", expected)
    }

    /// As [`wrong_region`](Self::wrong_region), in a presigned URL.
    #[must_use]
    pub fn wrong_region_in_query(given: &str, expected: &str) -> Self {
        Code::AuthorizationQueryParametersError
            .because(format!(
                "Error parsing the X-Amz-Credential parameter; the region '{given}' is wrong; expecting '{expected}'"
            ))
            .with("Region", expected)
    }

    /// A presigned URL past its end. `expires_seconds` is what the URL says, `expired_at` when it ended.
    #[must_use]
    pub fn request_expired(expires_seconds: u64, expired_at: Timestamp, now: Timestamp) -> Self {
        Code::AccessDenied
            .because("Request has expired")
            .with("X-Amz-Expires", expires_seconds.to_string())
            .with("Expires", iso8601_seconds(expired_at))
            .with("ServerTime", iso8601_seconds(now))
    }

    /// A presigned URL from the future.
    #[must_use]
    pub fn request_not_valid_yet(expires_seconds: u64, expires_at: Timestamp, now: Timestamp) -> Self {
        Self::request_expired(expires_seconds, expires_at, now).because("Request is not valid yet")
    }

    /// The clocks differ by more than `skew_ms_max`. `request_time` is the date as sent.
    #[must_use]
    pub fn request_time_too_skewed(request_time: &[u8], now: Timestamp, skew_ms_max: u64) -> Self {
        Code::RequestTimeTooSkewed
            .with("RequestTime", String::from_utf8_lossy(request_time))
            .with("ServerTime", iso8601_seconds(now))
            .with("MaxAllowedSkewMilliseconds", skew_ms_max.to_string())
    }

    /// Neither `x-amz-date` nor `Date`.
    #[must_use]
    pub fn missing_date() -> Self {
        Code::AccessDenied.because("AWS authentication requires a valid Date or x-amz-date header")
    }

    /// Signed in the header and in the query at once. Nothing is repeated, because either may be valid.
    #[must_use]
    pub fn two_authorizations() -> Self {
        Code::InvalidArgument
            .because(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified",
            )
            .with("ArgumentName", "Authorization")
    }

    /// Headers named `x-amz-*` that the signature does not cover; `names` is separated by commas and blanks.
    #[must_use]
    pub fn headers_not_signed(names: &str) -> Self {
        Code::AccessDenied
            .because("There were headers present in the request which were not signed")
            .with("HeadersNotSigned", names)
    }

    /// A session token that is malformed, or belongs to another key. AWS repeats it to its sender as `Token-0`.
    #[must_use]
    pub fn invalid_token(token: &[u8]) -> Self {
        Code::InvalidToken.with("Token-0", String::from_utf8_lossy(token))
    }

    /// A session token past its end.
    #[must_use]
    pub fn expired_token(token: &[u8]) -> Self {
        Code::ExpiredToken.with("Token-0", String::from_utf8_lossy(token))
    }
}

/// Integrity of bodies.
impl S3Error {
    /// The body is not the one whose SHA-256 was signed.
    #[must_use]
    pub fn content_sha256_mismatch(client: &[u8; 32], computed: &[u8; 32]) -> Self {
        let text = |hash| String::from_utf8_lossy(&hex::encode32(hash)).into_owned();
        Code::XAmzContentSHA256Mismatch
            .with("ClientComputedContentSHA256", text(client))
            .with("S3ComputedContentSHA256", text(computed))
    }

    /// A Content-MD5 that is not base64 of 16 bytes.
    #[must_use]
    pub fn invalid_content_md5(value: &[u8]) -> Self {
        Code::InvalidDigest
            .because("The Content-MD5 you specified was invalid.")
            .with("Content-MD5", String::from_utf8_lossy(value))
    }

    /// A Content-MD5 of another body; both in base64.
    #[must_use]
    pub fn content_md5_mismatch(expected: &str, calculated: &str) -> Self {
        Code::BadDigest
            .because("The Content-MD5 you specified did not match what we received.")
            .with("ExpectedDigest", expected)
            .with("CalculatedDigest", calculated)
    }

    /// A checksum header or trailer whose value has the wrong form; `name` is the header (`x-amz-checksum-crc32`).
    #[must_use]
    pub fn invalid_checksum(name: &str) -> Self {
        Code::InvalidRequest.because(format!("Value for {name} header is invalid."))
    }

    /// A checksum of another body; `algorithm` as AWS writes it (`CRC32`).
    #[must_use]
    pub fn checksum_mismatch(algorithm: &str) -> Self {
        Code::BadDigest
            .because(format!("The {algorithm} you specified did not match the calculated checksum."))
    }

    /// More than one checksum header or trailer.
    #[must_use]
    pub fn several_checksums() -> Self {
        Code::InvalidRequest
            .because("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    }

    /// A chunk of an aws-chunked body below 8192 bytes that is not the last; `chunk` counts from 1.
    #[must_use]
    pub fn invalid_chunk_size(chunk: u64, chunk_bytes: u64) -> Self {
        Code::InvalidChunkSizeError
            .with("Chunk", chunk.to_string())
            .with("BadChunkSize", chunk_bytes.to_string())
    }
}

/// `2013-05-24T00:00:00Z`.
fn iso8601_seconds(time: Timestamp) -> String {
    let millis = time.iso8601_millis();
    let mut text = String::from_utf8_lossy(&millis[..19]).into_owned();
    text.push('Z');
    text
}

/// Two digits a byte, separated by blanks, as AWS shows the bytes of what was signed.
fn spaced_hex(bytes: &[u8]) -> String {
    let mut digits = Vec::with_capacity(bytes.len() * 2);
    hex::encode_into(bytes, &mut digits);
    let mut text = String::with_capacity(bytes.len() * 3);
    for pair in digits.chunks(2) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(pair.iter().map(|&digit| char::from(digit)));
    }
    text
}

#[cfg(test)]
mod tests;
