//! Signatures in the fields of a form: over the form's policy document, not over the request.
//!
//! Version 4 is an HMAC with the same keys as everywhere else. Version 2 (HMAC-SHA1 with the plain secret) is accepted
//! here, and only here, because pages that were written for it still upload with it, and because what it signs is the
//! same policy: neither the request nor its time. Which of both a policy may use cannot be chosen by an attacker, who
//! has neither.
//!
//! The policy says how long the signature is good, so that no clock is compared here.
//! Spec: "Authenticating requests: browser-based uploads using POST (AWS signature version 4)" in the Amazon S3 API
//! reference; "Browser-based uploads using POST (AWS signature version 2)" for the other one.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::header::{self, Credential, Form};
use super::{Fault, Rules, SigningKey, check_scope};
use crate::codec::dates::Timestamp;

/// What the fields of a form claim.
#[derive(Debug)]
pub struct FormClaim<'f>(Kind<'f>);

#[derive(Debug)]
enum Kind<'f> {
    Version2 { access_key: &'f str, signature: &'f str },
    Version4 { credential: Credential<'f>, signature: [u8; 32], signed_at: Timestamp },
}

impl<'f> FormClaim<'f> {
    /// Reads `x-amz-algorithm`, `x-amz-credential`, `x-amz-date` and `x-amz-signature`.
    ///
    /// # Errors
    /// One of them cannot be what it is, or is for another service or region.
    pub fn version4(
        algorithm: &str,
        credential: &'f str,
        date: &str,
        signature: &str,
        rules: &Rules<'_>,
    ) -> Result<Self, Fault> {
        if algorithm != VERSION4 {
            return Err(Fault::Algorithm);
        }
        let credential = header::credential(credential.as_bytes(), Form::Plain)?;
        let signed_at = Timestamp::parse_amz(date.as_bytes()).ok_or(Fault::Date)?;
        check_scope(&credential, &signed_at.amz(), rules)?;
        let signature = header::signature(signature.as_bytes())?;
        Ok(Self(Kind::Version4 { credential, signature, signed_at }))
    }

    /// Takes `AWSAccessKeyId` and `signature`.
    #[must_use]
    pub fn version2(access_key: &'f str, signature: &'f str) -> Self {
        Self(Kind::Version2 { access_key, signature })
    }

    /// The access key, not known to exist.
    #[must_use]
    pub fn access_key(&self) -> &str {
        match &self.0 {
            Kind::Version2 { access_key, .. } => access_key,
            Kind::Version4 { credential, .. } => &credential.access_key,
        }
    }

    /// When the form says it was signed; version 2 does not say.
    #[must_use]
    pub fn signed_at(&self) -> Option<Timestamp> {
        match &self.0 {
            Kind::Version2 { .. } => None,
            Kind::Version4 { signed_at, .. } => Some(*signed_at),
        }
    }

    /// What AWS calls the version (`s3:signatureversion`).
    #[must_use]
    pub fn version(&self) -> &'static str {
        match &self.0 {
            Kind::Version2 { .. } => "AWS",
            Kind::Version4 { .. } => VERSION4,
        }
    }

    /// Whether the signature is that of `policy`, as it stands in the form, with this secret. The time does not depend
    /// on where two signatures differ.
    #[must_use]
    pub fn signs(&self, policy: &[u8], secret: &[u8]) -> bool {
        match &self.0 {
            Kind::Version4 { credential, signature, .. } => {
                // Derived anew and not kept: the date is the client's choice, and the cache is small.
                let service = super::Service::S3.as_str();
                let key = SigningKey::derive(secret, &credential.date8, &credential.region, service);
                key.sign(policy).ct_eq(signature).into()
            }
            Kind::Version2 { signature, .. } => {
                let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC accepts keys of any length");
                mac.update(policy);
                let computed = BASE64_STANDARD.encode(mac.finalize().into_bytes());
                computed.as_bytes().ct_eq(signature.as_bytes()).into()
            }
        }
    }
}

const VERSION4: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::Service;

    const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request";
    const DATE: &str = "20151229T000000Z";
    const RULES: Rules<'_> = Rules {
        region: "us-east-1",
        service: Service::S3,
        now: Timestamp { seconds: 0, nanos: 0 },
        location_request: false,
    };

    /// The policy of "Example: browser-based upload using HTTP POST" in the Amazon S3 API reference.
    const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6\
         ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFj\
         bCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tl\
         dC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5\
         cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZl\
         ci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoN\
         CiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVx\
         dWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAx\
         NTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
    const SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";

    #[test]
    fn the_published_example_is_taken() {
        let claim = FormClaim::version4(VERSION4, CREDENTIAL, DATE, SIGNATURE, &RULES).unwrap();
        assert_eq!(claim.access_key(), "AKIAIOSFODNN7EXAMPLE");
        assert_eq!((claim.version(), claim.signed_at()), (VERSION4, Timestamp::parse_amz(DATE.as_bytes())));
        assert!(claim.signs(POLICY.as_bytes(), SECRET));
        assert!(!claim.signs(&POLICY.as_bytes()[1..], SECRET));
        assert!(!claim.signs(POLICY.as_bytes(), &SECRET[1..]));
    }

    #[test]
    fn version_2_is_taken() {
        // HMAC_SHA1("key", "The quick brown fox jumps over the lazy dog"), a vector published in many places.
        let text = b"The quick brown fox jumps over the lazy dog";
        let claim = FormClaim::version2("AKIA", "3nybhbi3iqa8ino29wqQcBydtNk=");
        assert_eq!((claim.access_key(), claim.version(), claim.signed_at()), ("AKIA", "AWS", None));
        assert!(claim.signs(text, b"key"));
        assert!(!claim.signs(text, b"kez"));
        assert!(!claim.signs(&text[1..], b"key"));
        for wrong in ["", "3nybhbi3iqa8ino29wqQcBydtNk", "=kNtdyBcQqw92oni8aqi3ibhbyn3", "é"] {
            assert!(!FormClaim::version2("AKIA", wrong).signs(text, b"key"), "{wrong}");
        }
    }

    #[test]
    fn fields_that_cannot_be() {
        let check = |algorithm, credential, date, signature, expected: Fault| {
            let claim = FormClaim::version4(algorithm, credential, date, signature, &RULES);
            assert_eq!(claim.unwrap_err(), expected);
        };
        check("AWS4-ECDSA-P256-SHA256", CREDENTIAL, DATE, SIGNATURE, Fault::Algorithm);
        check(VERSION4, "AKIA", DATE, SIGNATURE, Fault::Credential);
        check(VERSION4, CREDENTIAL, "2015-12-29", SIGNATURE, Fault::Date);
        check(VERSION4, CREDENTIAL, "20151230T000000Z", SIGNATURE, Fault::ScopeDateDiffers);
        check(VERSION4, CREDENTIAL, DATE, "", Fault::Signature);
        let region = Fault::Region { given: "eu".into(), expected: "us-east-1".into() };
        check(VERSION4, "A/20151229/eu/s3/aws4_request", DATE, SIGNATURE, region);
        let service = Fault::Service { expected: "s3" };
        check(VERSION4, "A/20151229/us-east-1/sts/aws4_request", DATE, SIGNATURE, service);
    }
}
