//! What a signature claims: who signed, when, for what, and how the body is protected.
//!
//! Only [`super::authorization`] makes a [`Claim`], after every check that needs no key; only [`super::verify`] proves
//! it. Until then nothing that depends on the access key may be done.
//! Spec: AWS S3 "Authenticating Requests: Using the Authorization Header", on `x-amz-content-sha256`.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::canonical::SignedHeader;
use super::header::Credential;
use super::{Error, KeyId, Service, after, content_sha256_header};
use crate::codec::dates::Timestamp;
use crate::codec::hex;
use crate::http::head::Head;

/// A signature that has passed every check that needs no key.
#[derive(Debug)]
pub struct Claim<'h> {
    pub(super) credential: Credential<'h>,
    pub(super) service: Service,
    pub(super) signature: [u8; 32],
    pub(super) signed: SmallVec<[SignedHeader<'h>; 12]>,
    /// A signed header is missing in the request: no signature can match.
    pub(super) absent: bool,
    pub(super) signed_at: Timestamp,
    /// `signed_at` as it is signed.
    pub(super) amz_date: [u8; 16],
    /// Seconds of life of a presigned URL.
    pub(super) expires_seconds: Option<u32>,
    pub(super) payload: Payload,
    pub(super) content_sha256: Option<&'h [u8]>,
    /// From the query; in a header it is looked up when asked for.
    pub(super) token: Option<Cow<'h, [u8]>>,
}

impl<'h> Claim<'h> {
    /// The access key, not known to exist.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.credential.access_key
    }

    /// The session token, decoded: the parameter of a presigned URL, else the header.
    #[must_use]
    pub fn session_token(&self) -> Option<Cow<'_, [u8]>> {
        match &self.token {
            Some(token) => Some(Cow::Borrowed(token)),
            None => self.signed_value("x-amz-security-token").map(Cow::Borrowed),
        }
    }

    /// How the body is protected. [`Payload::Unsigned`] for an STS request that names no hash: there [`super::verify`]
    /// takes the hash of the body.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The text of `x-amz-content-sha256`, if sent.
    #[must_use]
    pub fn content_sha256(&self) -> Option<&'h [u8]> {
        self.content_sha256
    }

    /// Where the signature stands.
    #[must_use]
    pub fn auth_type(&self) -> AuthType {
        if self.expires_seconds.is_some() { AuthType::Query } else { AuthType::Header }
    }

    /// Day of the credential scope, `yyyymmdd`.
    #[must_use]
    pub fn date8(&self) -> [u8; 8] {
        self.credential.date8
    }

    /// Region of the credential scope.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.credential.region
    }

    /// Service of the credential scope.
    #[must_use]
    pub fn service(&self) -> Service {
        self.service
    }

    /// When the request was signed, by the clock of the client.
    #[must_use]
    pub fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// When a presigned URL ends; a session token may end earlier.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_seconds.map(|seconds| after(self.signed_at, seconds))
    }

    /// True if the request has this header and the signature covers it. `name` in lower case.
    #[must_use]
    pub fn is_signed(&self, name: &str) -> bool {
        self.signed_value(name).is_some()
    }

    /// What the signing key of this claim is cached under. `secret_id` as in [`KeyId::secret_id`].
    #[must_use]
    pub fn key_id(&self, secret_id: u64) -> KeyId<'_> {
        KeyId {
            access_key: self.access_key(),
            secret_id,
            date8: self.date8(),
            region: self.region(),
            service: self.service,
        }
    }

    fn signed_value(&self, name: &str) -> Option<&[u8]> {
        self.signed
            .iter()
            .find(|header| header.present && header.name == name.as_bytes())
            .map(|header| header.value)
    }
}

/// How the body of a request is protected, from `x-amz-content-sha256`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    /// The body has this SHA-256.
    Sha256([u8; 32]),
    /// The signature says nothing about the body.
    Unsigned,
    /// The body is `aws-chunked`; see [`super::Decoder`].
    Streaming {
        /// Each chunk has a signature.
        signed: bool,
        /// Trailers follow the last chunk.
        trailer: bool,
    },
}

impl Payload {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut hash = [0; 32];
        match text {
            b"UNSIGNED-PAYLOAD" => Ok(Self::Unsigned),
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::Streaming { signed: false, trailer: true }),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::Streaming { signed: true, trailer: false }),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
                Ok(Self::Streaming { signed: true, trailer: true })
            }
            b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => Err(Error::ContentSha256Unsupported),
            _ if hex::decode(text, &mut hash) => Ok(Self::Sha256(hash)),
            _ => Err(Error::ContentSha256Invalid),
        }
    }

    /// How the body of a request without a signature is protected: it may name a hash or be streamed unsigned.
    ///
    /// # Errors
    /// [`Error::ContentSha256Invalid`], also for signed chunks; [`Error::ContentSha256Unsupported`].
    pub fn of_anonymous(head: &Head) -> Result<Self, Error> {
        match content_sha256_header(head)?.map(Self::parse).transpose()? {
            Some(Self::Streaming { signed: true, .. }) => Err(Error::ContentSha256Invalid),
            Some(payload) => Ok(payload),
            None => Ok(Self::Unsigned),
        }
    }
}

/// Where a signature stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthType {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Query,
}

impl AuthType {
    /// The value of the policy condition key `s3:authType`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "REST-HEADER",
            Self::Query => "REST-QUERY-STRING",
        }
    }
}
