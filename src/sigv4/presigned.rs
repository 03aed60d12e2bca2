//! Presigned URLs: the signature and its parameters in the query.
//!
//! This finds and reads the parameters; when a URL is valid is judged in [`super`]. The values of `X-Amz-Credential`
//! and `X-Amz-SignedHeaders` are taken apart while still encoded, so that a URL as SDKs write it costs no allocation.
//! Spec: AWS S3 "Authenticating Requests: Using Query Parameters".

use super::canonical::parameters_of;
use super::header::{self, Fields, Form};
use super::{Error, Fault};
use crate::codec::dates::Timestamp;

/// The values of the parameters that belong to a signature, still encoded.
#[derive(Default, Debug)]
pub(super) struct Parameters<'h> {
    values: [Option<&'h [u8]>; NAMES.len()],
    repeated: Option<&'static str>,
    version2: u8,
}

/// What a presigned URL says besides the fields of [`Fields`].
#[derive(Debug)]
pub(super) struct Presigned {
    pub signed_at: Timestamp,
    /// At most [`EXPIRES_SECONDS_MAX`].
    pub expires_seconds: u32,
}

/// Longest life of a presigned URL: seven days.
pub(super) const EXPIRES_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

impl<'h> Parameters<'h> {
    /// Looks for the parameters in the query of the wire.
    pub(super) fn find(query: &'h [u8]) -> Self {
        let mut found = Self::default();
        for (name, value) in parameters_of(query) {
            let Some(index) = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            else {
                // The parameters of version 2 are only remembered to refuse them by name.
                found.version2 |= u8::from(name == b"AWSAccessKeyId") | (u8::from(name == b"Signature") << 1);
                continue;
            };
            if found.values[index].replace(value).is_some() {
                found.repeated = Some(NAMES[index]);
            }
        }
        found
    }

    /// The query claims to be signed, rightly or not.
    pub(super) fn claim_a_signature(&self) -> bool {
        self.values[..REQUIRED].iter().any(Option::is_some) || self.is_version2()
    }

    /// `X-Amz-Security-Token`, still encoded.
    pub(super) fn security_token(&self) -> Option<&'h [u8]> {
        self.values[SECURITY_TOKEN]
    }

    /// `X-Amz-Content-Sha256`, still encoded.
    pub(super) fn content_sha256(&self) -> Option<&'h [u8]> {
        self.values[CONTENT_SHA256]
    }

    /// Reads the parameters.
    ///
    /// # Errors
    /// [`Error::SignatureVersion2`], or [`Error::QueryMalformed`] for a parameter that is missing, repeated or cannot
    /// be read.
    pub(super) fn parse(&self) -> Result<(Fields<'h>, Presigned), Error> {
        if self.is_version2() && self.values.iter().all(Option::is_none) {
            return Err(Error::SignatureVersion2);
        }
        self.fields().map_err(Error::QueryMalformed)
    }

    fn fields(&self) -> Result<(Fields<'h>, Presigned), Fault> {
        if let Some(name) = self.repeated {
            return Err(Fault::Repeated(name));
        }
        let mut required = [b"".as_slice(); REQUIRED];
        for (index, value) in required.iter_mut().enumerate() {
            *value = self.values[index].filter(|v| !v.is_empty()).ok_or(Fault::Missing(NAMES[index]))?;
        }
        let [algorithm, text, date, expires, signed_headers, signature] = required;
        if algorithm != b"AWS4-HMAC-SHA256" {
            return Err(Fault::Algorithm);
        }
        let credential = header::credential(text, Form::Encoded)?;
        let signed_at = Timestamp::parse_amz(date).ok_or(Fault::Date)?;
        let fields = Fields { credential, signed_headers, signature: header::signature(signature)? };
        Ok((fields, Presigned { signed_at, expires_seconds: expires_seconds(expires)? }))
    }

    fn is_version2(&self) -> bool {
        self.version2 == 3
    }
}

fn expires_seconds(text: &[u8]) -> Result<u32, Fault> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::ExpiresNotANumber);
    }
    if digits.len() < text.len() {
        return Err(Fault::ExpiresNegative);
    }
    let add = |seconds: u32, &digit: &u8| seconds.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    let seconds = digits.iter().fold(0, add);
    if seconds > EXPIRES_SECONDS_MAX { Err(Fault::ExpiresTooLong) } else { Ok(seconds) }
}

/// The required six first, in the order in which [`Parameters::fields`] takes them.
const NAMES: [&str; 8] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];
const REQUIRED: usize = 6;
const SECURITY_TOKEN: usize = 6;
const CONTENT_SHA256: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", "AK%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"),
        ("X-Amz-Date", "20130524T000000Z"),
        ("X-Amz-Expires", "86400"),
        ("X-Amz-SignedHeaders", "host"),
        ("X-Amz-Signature", "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
    ];

    fn query(parameters: &[(&str, &str)]) -> String {
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    /// The good query with one parameter replaced.
    fn with(name: &str, value: &str) -> String {
        query(&GOOD.map(|(known, good)| (known, if known == name { value } else { good })))
    }

    #[track_caller]
    fn fault(query: &str) -> Option<Fault> {
        let parameters = Parameters::find(query.as_bytes());
        assert!(parameters.claim_a_signature(), "{query}");
        match parameters.parse() {
            Ok(_) => None,
            Err(Error::QueryMalformed(fault)) => Some(fault),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_published_url() {
        let query =
            query(&GOOD) + "&x-id=GetObject&X-Amz-Security-Token=a%2Bb&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD";
        let parameters = Parameters::find(query.as_bytes());
        let (fields, presigned) = parameters.parse().unwrap();
        assert_eq!(fields.credential.access_key, "AK");
        assert_eq!(presigned.signed_at.amz(), *b"20130524T000000Z");
        assert_eq!(presigned.expires_seconds, 86400);
        assert_eq!(parameters.security_token(), Some(b"a%2Bb".as_slice()));
        assert_eq!(parameters.content_sha256(), Some(b"UNSIGNED-PAYLOAD".as_slice()));
    }

    #[test]
    fn each_of_the_six_is_required_once() {
        for (index, (name, value)) in GOOD.into_iter().enumerate() {
            let mut parameters = GOOD.to_vec();
            parameters.remove(index);
            assert_eq!(fault(&query(&parameters)), Some(Fault::Missing(name)));
            assert_eq!(fault(&with(name, "")), Some(Fault::Missing(name)));
            assert_eq!(fault(&(query(&GOOD) + &format!("&{name}={value}"))), Some(Fault::Repeated(name)));
        }
        assert_eq!(fault(&query(&GOOD)), None);
        assert_eq!(
            fault(&query(&GOOD).to_lowercase().replace("aws4-hmac-sha256", "AWS4-HMAC-SHA256")),
            Some(Fault::Date)
        );
    }

    #[test]
    fn malformed_values() {
        for (name, value, expected) in [
            ("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256", Fault::Algorithm),
            ("X-Amz-Credential", "AK", Fault::Credential),
            ("X-Amz-Credential", "AK/20130524/us-east-1/s3/aws3", Fault::Terminal),
            ("X-Amz-Credential", "AK/2013/us-east-1/s3/aws4_request", Fault::ScopeDate),
            ("X-Amz-Date", "Fri, 24 May 2013 00:00:00 GMT", Fault::Date),
            ("X-Amz-Expires", "soon", Fault::ExpiresNotANumber),
            ("X-Amz-Expires", "+5", Fault::ExpiresNotANumber),
            ("X-Amz-Expires", "-", Fault::ExpiresNotANumber),
            ("X-Amz-Expires", "-7", Fault::ExpiresNegative),
            ("X-Amz-Expires", "604801", Fault::ExpiresTooLong),
            ("X-Amz-Expires", "99999999999999999999", Fault::ExpiresTooLong),
            ("X-Amz-Signature", "abc", Fault::Signature),
        ] {
            assert_eq!(fault(&with(name, value)), Some(expected), "{name}={value}");
        }
        assert_eq!(fault(&with("X-Amz-Expires", "604800")), None);
        assert_eq!(fault(&with("X-Amz-Expires", "0")), None);
    }

    #[test]
    fn version_2_is_known_by_both_of_its_parameters() {
        let parse = |query: &str| {
            let parameters = Parameters::find(query.as_bytes());
            (parameters.claim_a_signature(), parameters.parse().err())
        };
        assert_eq!(parse("AWSAccessKeyId=A&Signature=s&Expires=1").1, Some(Error::SignatureVersion2));
        assert!(!parse("Signature=s&Expires=1").0);
        assert!(!parse("list-type=2&prefix=X-Amz-Algorithm").0);
        assert!(!parse("X-Amz-Security-Token=t").0, "a token alone signs nothing");
    }
}
