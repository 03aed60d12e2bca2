//! How what goes wrong below becomes an answer: one place for the errors of HTTP, of signatures and of the storage.
//!
//! The client learns what was wrong and what to do; the environment's errors are logged here, once.

use super::error::{Code, S3Error};
use crate::http::body::BodyError;
use crate::http::head::HeadError;
use crate::runtime::credentials;
use crate::runtime::offload::Refused;
use crate::sigv4::{self, Fault};
use crate::storage;

/// How far the client's clock may be off, for the error that says so.
const SKEW_MS_MAX: u64 = 900_000;

impl From<HeadError> for S3Error {
    fn from(error: HeadError) -> S3Error {
        let code = match error.code() {
            "NotImplemented" => Code::NotImplemented,
            "RequestHeaderSectionTooLarge" => Code::RequestHeaderSectionTooLarge,
            "HTTPVersionNotSupported" | "HttpVersionNotSupported" => Code::HTTPVersionNotSupported,
            _ => Code::BadRequest,
        };
        code.because(error.message())
    }
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> S3Error {
        Code::IncompleteBody.because(error.message())
    }
}

impl From<Refused> for S3Error {
    fn from(refused: Refused) -> S3Error {
        match refused {
            Refused::Busy => {
                Code::SlowDown.because("Too many requests wait for the file system. Try again later.")
            }
            Refused::Panicked => Code::InternalError.into(),
        }
    }
}

impl From<storage::Error> for S3Error {
    fn from(error: storage::Error) -> S3Error {
        if error.is_no_space() {
            tracing::warn!(%error, "the storage is full");
            return Code::InsufficientStorage.into();
        }
        if error.is_changed_meanwhile() {
            return Code::SlowDown
                .because("Another program changed the object while it was read. Try again.");
        }
        if error.is_upload_gone() {
            return Code::NoSuchUpload.into();
        }
        if credentials::is_user()
            && let Some(refused) = refused_to_user(&error)
        {
            return refused;
        }
        tracing::error!(%error, "the storage failed");
        if error.is_read_only() {
            return Code::ServiceUnavailable.because(
                "The file system under the server is read-only: nothing can be written until that changes.",
            );
        }
        if error.is_not_permitted() {
            return Code::AccessDenied.because(format!(
                "The server itself is not allowed to do this: it {error}. Its administrator has to give it the right."
            ));
        }
        if error.is_exhausted() {
            return Code::SlowDown.because("The server has no descriptor or memory left. Try again later.");
        }
        match error.errno {
            rustix::io::Errno::LOOP => Code::InvalidRequest.because(
                "A symbolic link or special file made by another program stands where a directory of this key belongs. \
                 Remove it, or use another key.",
            ),
            rustix::io::Errno::NOENT if error.subject == storage::error::Subject::Bucket => Code::NoSuchBucket.into(),
            rustix::io::Errno::BUSY => Code::OperationAborted.into(),
            rustix::io::Errno::XDEV if error.subject.is_of_users() => Code::OperationAborted.because(
                "The object's directory was moved out of its bucket meanwhile, or is on another file system or subvolume \
                 than the data directory.",
            ),
            rustix::io::Errno::FBIG => {
                Code::EntityTooLarge.because("The file system under the server cannot hold a file of this size.")
            }
            _ => Code::InternalError.because(format!("The server {error}.")),
        }
    }
}

/// What a user is told to whom the kernel refused something. `None`: it was something else that failed.
pub fn refused_to_user(error: &storage::Error) -> Option<S3Error> {
    let is_refusal = error.is_not_permitted() && error.subject.is_of_users();
    is_refusal.then(|| {
        Code::AccessDenied.because(format!(
            "The POSIX permissions of the files do not allow this to the UID and GID of the caller: the server {error}. {}",
            error.lacking()
        ))
    })
}

impl From<sigv4::Error> for S3Error {
    fn from(error: sigv4::Error) -> S3Error {
        use sigv4::Error as E;
        let message = error.to_string();
        match error {
            E::AuthorizationInvalid { scheme } | E::AuthorizationTypeUnsupported { scheme } => {
                S3Error::invalid_argument("Authorization", scheme, message)
            }
            E::SignatureVersion2 => S3Error::signature_version_2(),
            E::HeaderMalformed(Fault::Region { given, expected }) => S3Error::wrong_region(&given, &expected),
            E::HeaderMalformed(_) => Code::AuthorizationHeaderMalformed.because(message),
            E::QueryMalformed(Fault::Region { given, expected }) => {
                S3Error::wrong_region_in_query(&given, &expected)
            }
            // Over before it began: answered as every URL whose time is over.
            E::QueryMalformed(Fault::ExpiresNegative) => Code::AccessDenied.because(message),
            E::QueryMalformed(_) => Code::AuthorizationQueryParametersError.because(message),
            E::TwoMechanisms => S3Error::two_authorizations(),
            E::DateMissing => S3Error::missing_date(),
            E::RequestTimeTooSkewed { request_time, server_time } => {
                S3Error::request_time_too_skewed(&request_time.amz(), server_time, SKEW_MS_MAX)
            }
            E::PresignedExpired { expires_seconds, expires_at, server_time } => {
                S3Error::request_expired(expires_seconds.into(), expires_at, server_time)
            }
            E::PresignedNotYetValid { expires_seconds, expires_at, server_time } => {
                S3Error::request_not_valid_yet(expires_seconds.into(), expires_at, server_time)
            }
            E::HeadersNotSigned { names } => S3Error::headers_not_signed(&names),
            E::ContentSha256Missing => Code::InvalidRequest.because(message),
            E::ContentSha256Invalid => {
                Code::InvalidArgument.because(message).with("ArgumentName", "x-amz-content-sha256")
            }
            E::ContentSha256Unsupported => Code::NotImplemented.because(message),
            E::ContentSha256Mismatch { client, computed } => {
                S3Error::content_sha256_mismatch(&client, &computed)
            }
            E::SignatureDoesNotMatch(mismatch) => S3Error::signature_does_not_match(
                &mismatch.access_key,
                &mismatch.string_to_sign,
                &mismatch.signature_provided,
                &mismatch.canonical_request,
            ),
            E::DecodedLengthMissing => Code::MissingContentLength.because(message),
            E::DecodedLengthInvalid => Code::InvalidArgument.because(message),
            E::IncompleteBody { .. } | E::ChunkMalformed(_) => Code::IncompleteBody.because(message),
            E::ChunkTooSmall { chunk, bytes } => S3Error::invalid_chunk_size(chunk, bytes),
            E::TrailerMalformed(_) => Code::MalformedTrailerError.because(message),
        }
    }
}
