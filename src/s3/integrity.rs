//! What a client says its body is, and whether it is: Content-MD5, SHA-256, `x-amz-checksum-*` in headers or trailers.
//!
//! Spec: "Checking object integrity" of the S3 user guide; the ten algorithms of botocore 1.44.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::error::{Code, S3Error};
use crate::digest::{Algorithm, Checksum, ChecksumType, Digests, Wanted};
use crate::http::head::Head;
use crate::sigv4::{self, Trailer};

/// What the body of one request has to be.
#[derive(Debug)]
pub struct Integrity {
    content_md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    checksum: Option<Announced>,
}

#[derive(Debug, Clone, Copy)]
struct Announced {
    algorithm: Algorithm,
    /// The value, or none if it comes in a trailer.
    value: Option<Checksum>,
}

impl Integrity {
    /// Reads the headers of a request with a body.
    pub fn of(head: &Head, payload: &sigv4::Payload) -> Result<Integrity, S3Error> {
        Ok(Integrity { checksum: announced(head)?, ..Integrity::of_body_alone(head, payload)? })
    }

    /// As [`Integrity::of`] for a request whose `x-amz-checksum-*` headers speak of something else than its body.
    pub fn of_body_alone(head: &Head, payload: &sigv4::Payload) -> Result<Integrity, S3Error> {
        let content_md5 = match head.header("content-md5") {
            Some(text) => Some(content_md5(text).ok_or_else(|| S3Error::invalid_content_md5(text))?),
            None => None,
        };
        let sha256 = match payload {
            sigv4::Payload::Sha256(hash) => Some(*hash),
            sigv4::Payload::Unsigned | sigv4::Payload::Streaming { .. } => None,
        };
        Ok(Integrity { content_md5, sha256, checksum: None })
    }

    /// Whether the client protects the body at all, which some operations demand.
    pub fn is_protected(&self) -> bool {
        self.content_md5.is_some() || self.checksum.is_some()
    }

    /// The algorithm of the checksum that the client sends.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.map(|announced| announced.algorithm)
    }

    /// What has to be computed over the body. The second checksum is the server's own wish, if it is another one.
    pub fn wanted(&self, md5: bool, also: Option<Algorithm>) -> Wanted {
        let sent = self.algorithm();
        Wanted {
            md5: md5 || self.content_md5.is_some(),
            sha256: self.sha256.is_some(),
            checksums: [sent, also.filter(|also| Some(*also) != sent)],
        }
    }

    /// Compares the body with what was said of it.
    pub fn verify(&self, digests: &Digests, trailers: &[Trailer]) -> Result<(), S3Error> {
        if let (Some(client), Some(computed)) = (&self.sha256, &digests.sha256)
            && client != computed
        {
            return Err(S3Error::content_sha256_mismatch(client, computed));
        }
        if let (Some(client), Some(computed)) = (&self.content_md5, &digests.md5)
            && client != computed
        {
            let text = |md5: &[u8; 16]| BASE64_STANDARD.encode(md5);
            return Err(S3Error::content_md5_mismatch(&text(client), &text(computed)));
        }
        if let Some(Announced { algorithm, value }) = self.checksum {
            let said = match value {
                Some(value) => value,
                None => from_trailer(algorithm, trailers)?,
            };
            if digests.checksums[0] != Some(said) {
                return Err(S3Error::checksum_mismatch(algorithm.name()));
            }
        }
        Ok(())
    }
}

/// The checksum that a request names for an object it does not carry itself: CreateMultipartUpload, CopyObject.
pub fn requested_algorithm(head: &Head) -> Result<Option<(Algorithm, ChecksumType)>, S3Error> {
    let kind = match head.header("x-amz-checksum-type") {
        None => None,
        Some(text) => Some(ChecksumType::from_name(text).ok_or_else(|| {
            S3Error::invalid_argument(
                "x-amz-checksum-type",
                String::from_utf8_lossy(text),
                "The checksum type must be COMPOSITE or FULL_OBJECT.",
            )
        })?),
    };
    let Some(name) = head.header("x-amz-checksum-algorithm") else {
        return match kind {
            Some(_) => Err(Code::InvalidRequest.because(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
            None => Ok(None),
        };
    };
    let algorithm = Algorithm::from_name(name).ok_or_else(|| unknown_algorithm(name))?;
    let kind = kind.unwrap_or(algorithm.default_type());
    if !algorithm.allows(kind) {
        return Err(Code::InvalidRequest.because(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name().to_ascii_lowercase()
        )));
    }
    Ok(Some((algorithm, kind)))
}

/// The value of a Content-MD5 header.
pub fn content_md5(text: &[u8]) -> Option<[u8; 16]> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

fn announced(head: &Head) -> Result<Option<Announced>, S3Error> {
    let mut found: Option<Announced> = None;
    let mut add = |announced: Announced| match found.replace(announced) {
        None => Ok(()),
        Some(_) => Err(S3Error::several_checksums()),
    };
    for (name, value) in head.headers() {
        let mut lower = [0u8; 32];
        let Some(lower) = lower.get_mut(..name.len()) else { continue };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        if let Some(algorithm) = Algorithm::from_header_name(lower) {
            // What is no checksum at all is that of no body: ceph/s3-tests wants this, AWS says InvalidRequest.
            let value = Checksum::parse(algorithm, value)
                .ok_or_else(|| S3Error::checksum_mismatch(algorithm.name()))?;
            add(Announced { algorithm, value: Some(value) })?;
        } else if lower.starts_with(b"x-amz-checksum-") && !OTHER_CHECKSUM_HEADERS.contains(&&lower[15..]) {
            return Err(unknown_algorithm(&lower[15..]));
        }
    }
    for names in head.header_all("x-amz-trailer") {
        for name in names.split(|byte| *byte == b',') {
            let name = name.trim_ascii().to_ascii_lowercase();
            match Algorithm::from_header_name(&name) {
                Some(algorithm) => add(Announced { algorithm, value: None })?,
                None if name.starts_with(b"x-amz-checksum-") => return Err(unknown_algorithm(&name[15..])),
                None => {}
            }
        }
    }
    if let Some(name) = head.header("x-amz-sdk-checksum-algorithm") {
        let algorithm = Algorithm::from_name(name).ok_or_else(|| unknown_algorithm(name))?;
        match &found {
            None => {
                return Err(Code::InvalidRequest.because(
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                     headers were found.",
                ));
            }
            Some(announced) if announced.algorithm != algorithm => {
                return Err(Code::InvalidRequest.because(
                    "Value for x-amz-sdk-checksum-algorithm header is invalid: the checksum sent is another.",
                ));
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

fn from_trailer(algorithm: Algorithm, trailers: &[Trailer]) -> Result<Checksum, S3Error> {
    let name = algorithm.header_name();
    let trailer = trailers.iter().find(|trailer| trailer.name.eq_ignore_ascii_case(name));
    let Some(trailer) = trailer else {
        return Err(Code::MalformedTrailerError
            .because(format!("The body has no trailer {name}, which its head declares.")));
    };
    Checksum::parse(algorithm, &trailer.value).ok_or_else(|| S3Error::invalid_checksum(name))
}

fn unknown_algorithm(name: &[u8]) -> S3Error {
    Code::InvalidRequest.because(format!(
        "The checksum algorithm '{}' is not known. Use one of CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, \
         XXHASH64, XXHASH3, XXHASH128.",
        String::from_utf8_lossy(name)
    ))
}

/// Headers that begin like a checksum and are none.
const OTHER_CHECKSUM_HEADERS: [&[u8]; 3] = [b"algorithm", b"mode", b"type"];
