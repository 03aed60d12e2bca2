//! AWS Signature Version 4: reads the claim of a request, verifies it, and decodes signed bodies.
//!
//! [`authorization`] reads a head and makes every check that needs no key: form, dates, scope, coverage. Its
//! [`Claim`] names the access key; the caller looks that up, takes the [`SigningKey`] from its [`SigningKeys`] and
//! calls [`verify`]. The [`Proof`] that comes back makes the [`Seed`] that a [`chunk::Decoder`] continues from.
//!
//! This looks up no keys, checks no session tokens and reads no clock: `now` comes in with [`Rules`]. The hash of a
//! plain body is compared by whoever reads the body; [`Payload::Sha256`] says which one it must be.
//!
//! Invariants:
//! - A [`Claim`] covers `host` and every `x-amz-*` header of its request but `x-amz-content-sha256`, which is the last
//!   line of the canonical request anyway.
//! - What is signed as `host` is what requests are routed by: the authority of an absolute-form target, else the
//!   `Host` header.
//! - Signatures are compared in constant time, and no error holds anything that depends on a secret.
//!
//! Spec: AWS S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".

pub mod canonical;
pub mod chunk;
pub mod claim;
pub mod error;
pub mod form;
mod header;
pub mod key;
mod presigned;
mod sha;
pub mod sign;

#[cfg(test)]
mod tests;

use smallvec::SmallVec;
use subtle::ConstantTimeEq;

pub use self::canonical::PathRule;
pub use self::chunk::{Decoder, Seed, Trailer};
pub use self::claim::{AuthType, Claim, Payload};
pub use self::error::{Error, Fault, Mismatch};
pub use self::form::FormClaim;
pub use self::key::{KeyId, SigningKey, SigningKeys};

use self::canonical::SignedHeader;
use self::header::{Credential, Fields, Form, Names, signed_headers};
use self::presigned::Parameters;
use self::sha::Sink;
use crate::codec::dates::Timestamp;
use crate::codec::{hex, percent};
use crate::http::head::Head;

/// What a signature must be made for.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The region of this server.
    pub region: &'a str,
    /// The service that the request is for.
    pub service: Service,
    /// The clock of this server.
    pub now: Timestamp,
    /// The request is GetBucketLocation, which may always be signed for us-east-1: that is how clients find out the
    /// region.
    pub location_request: bool,
}

/// Services that share the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Service {
    /// Object storage.
    S3,
    /// The Security Token Service. Its region may be empty, and its body is always hashed.
    Sts,
    /// Identity and Access Management. It is no service of a region: clients sign for us-east-1, for the region they are
    /// told, or for none. Its body is always hashed.
    Iam,
    /// The user API on the Unix socket, which is no service of AWS. Its body is always hashed.
    Control,
}

impl Service {
    /// The name in a credential scope.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Sts => "sts",
            Self::Iam => "iam",
            Self::Control => "sluicegate",
        }
    }
}

/// Who a request claims to come from.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "Lives on the stack for one request; a box would allocate for each."
)]
pub enum Authorization<'h> {
    /// Nobody: there is no signature.
    Anonymous,
    /// The owner of an access key, which [`verify`] has still to prove.
    Signed(Claim<'h>),
}

/// Reads who a request claims to come from, and makes every check that needs no key.
///
/// # Errors
/// Every variant of [`Error`] up to [`Error::ContentSha256Unsupported`].
pub fn authorization<'h>(head: &'h Head, rules: &Rules<'_>) -> Result<Authorization<'h>, Error> {
    let parameters = Parameters::find(head.query());
    // An empty header is no credential; AWS treats it as absent.
    let mut lines = head.header_all("authorization").filter(|line| !line.is_empty());
    let signed = match (lines.next(), parameters.claim_a_signature()) {
        (None, false) => return Ok(Authorization::Anonymous),
        (Some(_), true) => return Err(Error::TwoMechanisms),
        (Some(_), false) if lines.next().is_some() => {
            return Err(Error::AuthorizationInvalid { scheme: "".into() });
        }
        (Some(line), false) => by_header(head, line, rules)?,
        (None, true) => by_query(&parameters, rules)?,
    };
    let Signed { fields, signed_at, amz_date, expires_seconds } = signed;
    let presigned = expires_seconds.is_some();
    let content_sha256 = match parameters.content_sha256().filter(|_| presigned) {
        Some(text) => Some(text),
        None => content_sha256_header(head)?,
    };
    let payload = match (content_sha256.map(Payload::parse).transpose()?, rules.service) {
        (
            Some(Payload::Unsigned | Payload::Streaming { .. }),
            Service::Sts | Service::Iam | Service::Control,
        ) => {
            return Err(Error::ContentSha256Invalid);
        }
        (Some(payload), _) => payload,
        (None, Service::S3 | Service::Control) if !presigned => return Err(Error::ContentSha256Missing),
        (None, _) => Payload::Unsigned,
    };
    let token = match parameters.security_token().filter(|_| presigned) {
        Some(text) => Some(percent::decode(text).map_err(|_| Error::QueryMalformed(Fault::SecurityToken))?),
        None => None,
    };
    let names = match presigned {
        true => signed_headers(fields.signed_headers, Form::Encoded).map_err(Error::QueryMalformed)?,
        false => signed_headers(fields.signed_headers, Form::Plain).map_err(Error::HeaderMalformed)?,
    };
    let signed = coverage(head, &names)?;
    Ok(Authorization::Signed(Claim {
        credential: fields.credential,
        service: rules.service,
        signature: fields.signature,
        absent: signed.iter().any(|header| !header.present),
        signed,
        signed_at,
        amz_date,
        expires_seconds,
        payload,
        content_sha256,
        token,
    }))
}

/// Verifies the signature of `claim`, which [`authorization`] has read from `head`. `key` belongs to
/// [`Claim::key_id`]. `body_hash` is the SHA-256 of the body where it is known already: always for STS, where `None`
/// means an empty body.
///
/// # Errors
/// [`Error::SignatureDoesNotMatch`]; [`Error::ContentSha256Mismatch`] if the claim names another hash than
/// `body_hash`.
pub fn verify<'c, 'h>(
    head: &Head,
    claim: &'c Claim<'h>,
    key: &'c SigningKey,
    body_hash: Option<&[u8; 32]>,
) -> Result<Proof<'c, 'h>, Error> {
    let body_hex;
    let payload: &[u8] = match (claim.content_sha256, claim.service, body_hash) {
        (Some(text), ..) => text,
        (None, Service::S3, _) => b"UNSIGNED-PAYLOAD",
        (None, Service::Sts | Service::Iam | Service::Control, None) => EMPTY_SHA256_HEX,
        (None, Service::Sts | Service::Iam | Service::Control, Some(hash)) => {
            body_hex = hex::encode32(hash);
            &body_hex
        }
    };
    let request = canonical::Request {
        method: head.method_bytes(),
        path: head.path(),
        path_rule: match claim.service {
            Service::S3 => PathRule::S3,
            Service::Control => PathRule::Service { normalize: false },
            Service::Sts | Service::Iam => PathRule::Service { normalize: true },
        },
        query: head.query(),
        head,
        signed: &claim.signed,
        payload,
    };
    let hash = request.digest();
    let computed = key.sign_with(|text| write_string_to_sign(claim, &hash, text));
    if !bool::from(computed.ct_eq(&claim.signature)) || claim.absent {
        return Err(Error::SignatureDoesNotMatch(Box::new(Mismatch {
            access_key: claim.access_key().into(),
            string_to_sign: string_to_sign(claim, &hash).as_slice().into(),
            signature_provided: hex::encode32(&claim.signature),
            canonical_request: request.text().into(),
        })));
    }
    if let (Payload::Sha256(client), Some(&computed)) = (claim.payload, body_hash)
        && client != computed
    {
        return Err(Error::ContentSha256Mismatch { client, computed });
    }
    Ok(Proof { claim, key })
}

/// A claim that [`verify`] has proven.
#[derive(Debug)]
pub struct Proof<'c, 'h> {
    claim: &'c Claim<'h>,
    key: &'c SigningKey,
}

impl Proof<'_, '_> {
    /// What the signatures of chunks continue from.
    #[must_use]
    pub fn seed(&self) -> Seed {
        let Proof { claim, key } = self;
        let text = string_to_sign(claim, &[0; 32]);
        Seed {
            key: SigningKey::clone(key),
            access_key: SmallVec::from_slice(claim.access_key().as_bytes()),
            scope: SmallVec::from_slice(&text[ALGORITHM_LINE.len()..text.len() - 64]),
            signature: claim.signature,
        }
    }
}

/// What both ways of signing say.
struct Signed<'h> {
    fields: Fields<'h>,
    signed_at: Timestamp,
    amz_date: [u8; 16],
    expires_seconds: Option<u32>,
}

fn by_header<'h>(head: &'h Head, line: &'h [u8], rules: &Rules<'_>) -> Result<Signed<'h>, Error> {
    let fields = header::parse(line)?;
    let (signed_at, amz_date) = header_date(head).ok_or(Error::DateMissing)?;
    check_scope(&fields.credential, &amz_date, rules).map_err(Error::HeaderMalformed)?;
    if rules.now > after(signed_at, SKEW_SECONDS_MAX) || signed_at > after(rules.now, SKEW_SECONDS_MAX) {
        return Err(Error::RequestTimeTooSkewed { request_time: signed_at, server_time: rules.now });
    }
    Ok(Signed { fields, signed_at, amz_date, expires_seconds: None })
}

fn by_query<'h>(parameters: &Parameters<'h>, rules: &Rules<'_>) -> Result<Signed<'h>, Error> {
    let (fields, presigned) = parameters.parse()?;
    let presigned::Presigned { signed_at, expires_seconds } = presigned;
    let amz_date = signed_at.amz();
    check_scope(&fields.credential, &amz_date, rules).map_err(Error::QueryMalformed)?;
    let (expires_at, server_time) = (after(signed_at, expires_seconds), rules.now);
    // The life of the URL decides, not the skew; only a date ahead gets the tolerance that every clock gets.
    if signed_at > after(server_time, SKEW_SECONDS_MAX) {
        return Err(Error::PresignedNotYetValid { expires_seconds, expires_at, server_time });
    }
    if server_time > expires_at {
        return Err(Error::PresignedExpired { expires_seconds, expires_at, server_time });
    }
    Ok(Signed { fields, signed_at, amz_date, expires_seconds: Some(expires_seconds) })
}

fn check_scope(credential: &Credential<'_>, amz_date: &[u8; 16], rules: &Rules<'_>) -> Result<(), Fault> {
    if !amz_date.starts_with(&credential.date8) {
        return Err(Fault::ScopeDateDiffers);
    }
    if credential.service != rules.service.as_str().as_bytes() {
        return Err(Fault::Service { expected: rules.service.as_str() });
    }
    let region = &*credential.region;
    let allowed = region == rules.region
        || (rules.location_request && region == "us-east-1")
        || (matches!(rules.service, Service::Sts | Service::Iam) && region.is_empty())
        || (rules.service == Service::Iam && region == "us-east-1");
    if !allowed {
        return Err(Fault::Region { given: region.into(), expected: rules.region.into() });
    }
    Ok(())
}

/// When the request says it was signed: `x-amz-date`, and `Date` only without it. Each may have the format of the
/// other, as with AWS. Also as it is signed, which is how most send it.
fn header_date(head: &Head) -> Option<(Timestamp, [u8; 16])> {
    let name = if head.header("x-amz-date").is_some() { "x-amz-date" } else { "date" };
    let mut lines = head.header_all(name);
    let text = lines.next().filter(|_| lines.next().is_none())?;
    match (Timestamp::parse_amz(text), <[u8; 16]>::try_from(text)) {
        (Some(signed_at), Ok(amz_date)) => Some((signed_at, amz_date)),
        _ => Timestamp::parse_http(text).map(|signed_at| (signed_at, signed_at.amz())),
    }
}

fn content_sha256_header(head: &Head) -> Result<Option<&[u8]>, Error> {
    let mut lines = head.header_all("x-amz-content-sha256");
    let text = lines.next();
    if lines.next().is_some() { Err(Error::ContentSha256Invalid) } else { Ok(text) }
}

/// Finds the values of the signed headers, and refuses headers that must be signed and are not.
fn coverage<'h>(head: &'h Head, names: &Names<'h>) -> Result<SmallVec<[SignedHeader<'h>; 12]>, Error> {
    let mut signed = SmallVec::<[SignedHeader<'h>; 12]>::new();
    // One number for length and outer letters, so that finding a name compares numbers, not texts.
    let mut marks = SmallVec::<[u32; 16]>::new();
    for &name in names {
        signed.push(SignedHeader { name, value: b"", present: false, repeated: false });
        marks.push(mark(name));
    }
    let mut unsigned = Vec::new();
    for (name, value) in head.headers() {
        let wanted = mark(name);
        let matches =
            |&(index, &mark): &(usize, &u32)| mark == wanted && name.eq_ignore_ascii_case(signed[index].name);
        match marks.iter().enumerate().find(matches).map(|(index, _)| index) {
            Some(index) => {
                let header = &mut signed[index];
                if header.present {
                    header.repeated = true;
                } else {
                    (header.value, header.present) = (value, true);
                }
            }
            None if must_be_signed(name) => unsigned.push(name.to_ascii_lowercase()),
            None => {}
        }
    }
    match (signed.iter_mut().find(|header| header.name == b"host"), head.host()) {
        (Some(header), Some(host)) => (header.value, header.present) = (host, true),
        (None, _) => unsigned.insert(0, b"host".to_vec()),
        (Some(_), None) => {}
    }
    if !unsigned.is_empty() {
        let names = String::from_utf8_lossy(&unsigned.join(b", ".as_slice())).into();
        return Err(Error::HeadersNotSigned { names });
    }
    Ok(signed)
}

fn must_be_signed(name: &[u8]) -> bool {
    name.len() > 6
        && name[..6].eq_ignore_ascii_case(b"x-amz-")
        && !name.eq_ignore_ascii_case(b"x-amz-content-sha256")
}

/// Equal for names that differ in case only.
fn mark(name: &[u8]) -> u32 {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return 0 };
    let middle = name[name.len() / 2];
    let letter = |byte: u8| u32::from(byte | 0x20);
    (name.len() as u32) << 24 | letter(first) << 16 | letter(middle) << 8 | letter(last)
}

/// `AWS4-HMAC-SHA256 \n amz-date \n date/region/service/aws4_request \n hex(hash)`
fn write_string_to_sign(claim: &Claim<'_>, hash: &[u8; 32], out: &mut impl Sink) {
    out.put(ALGORITHM_LINE);
    out.put(&claim.amz_date);
    out.put_byte(b'\n');
    out.put(&claim.credential.date8);
    out.put_byte(b'/');
    out.put(claim.credential.region.as_bytes());
    out.put_byte(b'/');
    out.put(claim.service.as_str().as_bytes());
    out.put(b"/aws4_request\n");
    out.put(&hex::encode32(hash));
}

fn string_to_sign(claim: &Claim<'_>, hash: &[u8; 32]) -> SmallVec<[u8; 256]> {
    let mut text = SmallVec::new();
    write_string_to_sign(claim, hash, &mut text);
    text
}

fn after(time: Timestamp, seconds: u32) -> Timestamp {
    Timestamp { seconds: time.seconds.saturating_add(i64::from(seconds)), nanos: time.nanos }
}

/// How far the clock of a client may be off: 15 minutes.
const SKEW_SECONDS_MAX: u32 = 15 * 60;
const ALGORITHM_LINE: &[u8] = b"AWS4-HMAC-SHA256\n";
/// SHA-256 of nothing.
const EMPTY_SHA256_HEX: &[u8; 64] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Reads `data` as a request head, as an `Authorization` header, as a query and as the fields of a form. Nothing may panic,
/// and nothing that was not signed with the key may be verified; but what is signed as the refusal says is verified.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let visible = |byte: &u8| if byte.is_ascii_graphic() { *byte } else { b' ' };
    let header: Vec<u8> = data.iter().map(visible).collect();
    let query: Vec<u8> = header.iter().map(|&byte| if byte == b' ' { b'&' } else { byte }).collect();
    let fixed =
        b"Host: h\r\nX-Amz-Date: 20130524T000000Z\r\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n".as_slice();
    let now = Timestamp::from_seconds(1_369_353_600);
    let key = SigningKey::derive(b"secret", b"20130524", "us-east-1", "s3");
    let heads = [
        data.to_vec(),
        [b"GET /b/k HTTP/1.1\r\n", fixed, b"Authorization: ", &header, b"\r\n\r\n"].concat(),
        [b"GET /b/k?", query.as_slice(), b" HTTP/1.1\r\n", fixed, b"\r\n"].concat(),
    ];
    for wire in heads {
        let Ok(Some(head)) = Head::parse(&mut wire.as_slice().into()) else { continue };
        for service in [Service::S3, Service::Sts] {
            let rules = Rules { region: "us-east-1", service, now, location_request: false };
            match authorization(&head, &rules) {
                Ok(Authorization::Anonymous) => {}
                Ok(Authorization::Signed(claim)) => {
                    assert!(claim.is_signed("host") || claim.absent);
                    let Err(Error::SignatureDoesNotMatch(mismatch)) = verify(&head, &claim, &key, None)
                    else {
                        panic!("a forged signature was verified");
                    };
                    let right = hex::encode32(&key.sign(&mismatch.string_to_sign));
                    let signed = replaced(&wire, &mismatch.signature_provided, &right);
                    if !claim.absent {
                        check_signed(&signed, &rules, &key);
                    }
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    let mut fields =
        data.split(|&byte| byte == b'\n').map(|field| std::str::from_utf8(field).unwrap_or_default());
    let mut field = || fields.next().unwrap_or_default();
    let rules = Rules { region: "us-east-1", service: Service::S3, now, location_request: false };
    let version2 = FormClaim::version2(field(), field());
    if let Ok(version4) = FormClaim::version4(field(), field(), field(), field(), &rules) {
        assert!(!version4.signs(data, b"secret") && version4.signed_at().is_some());
    }
    assert!(!version2.signs(data, b"secret"), "a forged signature was verified");
}

/// `wire` with the signature in it replaced, in whatever case it is written.
fn replaced(wire: &[u8], signature: &[u8; 64], by: &[u8; 64]) -> Vec<u8> {
    let mut wire = wire.to_vec();
    let starts: Vec<usize> = wire
        .windows(signature.len())
        .enumerate()
        .filter(|(_, window)| window.eq_ignore_ascii_case(signature))
        .map(|(start, _)| start)
        .collect();
    for start in starts {
        wire[start..start + by.len()].copy_from_slice(by);
    }
    wire
}

/// What has this signature is verified, unless the text that is signed has the signature in it as well.
fn check_signed(wire: &[u8], rules: &Rules<'_>, key: &SigningKey) {
    let head = Head::parse(&mut wire.into()).ok().flatten().expect("only digits were replaced");
    let Ok(Authorization::Signed(claim)) = authorization(&head, rules) else { return };
    match verify(&head, &claim, key, None) {
        Ok(_) => {}
        Err(Error::SignatureDoesNotMatch(mismatch)) => {
            let again = memchr::memmem::find(&mismatch.canonical_request, &mismatch.signature_provided);
            assert!(again.is_some(), "a right signature was refused");
        }
        Err(error) => panic!("a right signature was refused: {error}"),
    }
}
