//! The client's side: signs a request head in the `Authorization` header, for the commands of this program.
//!
//! The head is given as it will be sent, and the canonical request is made of it by the code that verifies requests.
//! All of its headers are signed. No session tokens, no presigned URLs, no chunks: the commands need none.
//! Spec: AWS "Signature Version 4", authorization header.

use smallvec::SmallVec;

use super::canonical::{self, PathRule, SignedHeader};
use super::key::SigningKey;
use crate::codec::dates::Timestamp;
use crate::codec::hex;
use crate::http::head::Head;

/// Whose keys sign, for which scope, and when.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The access key.
    pub access_key: &'a str,
    /// The secret key.
    pub secret: &'a [u8],
    /// The region of the scope; may be empty for STS.
    pub region: &'a str,
    /// The service of the scope.
    pub service: &'a str,
    /// The clock. The head must have an `x-amz-date` of this second.
    pub now: Timestamp,
}

impl Signer<'_> {
    /// The value of the `Authorization` header that belongs to this head. `body_sha256` is the hash of the body.
    #[must_use]
    pub fn authorization(&self, head: &Head, body_sha256: &[u8; 32]) -> String {
        let mut names: SmallVec<[(String, &[u8]); 8]> = head
            .headers()
            .map(|(name, value)| (String::from_utf8_lossy(name).to_ascii_lowercase(), value))
            .collect();
        // Stable: the first line of a repeated name stays first.
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        names.dedup_by(|(one, _), (other, _)| one == other);
        let signed: Vec<SignedHeader<'_>> = names
            .iter()
            .map(|(name, value)| SignedHeader {
                name: name.as_bytes(),
                value,
                present: true,
                repeated: head.header_all(name).count() > 1,
            })
            .collect();
        let request = canonical::Request {
            method: head.method_bytes(),
            path: head.path(),
            path_rule: PathRule::Service { normalize: true },
            query: head.query(),
            head,
            signed: &signed,
            payload: &hex::encode32(body_sha256),
        };
        let (amz_date, date8) = (self.now.amz(), self.now.date8());
        let (amz_date, date) = (String::from_utf8_lossy(&amz_date), String::from_utf8_lossy(&date8));
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let digest = hex::encode32(&request.digest());
        let text = format!("AWS4-HMAC-SHA256\n{amz_date}\n{scope}\n{}", String::from_utf8_lossy(&digest));
        let key = SigningKey::derive(self.secret, &date8, self.region, self.service);
        let signature = hex::encode32(&key.sign(text.as_bytes()));
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={}",
            self.access_key,
            names.join(";"),
            String::from_utf8_lossy(&signature)
        )
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::super::{Authorization, Rules, Service, authorization, verify};
    use super::*;

    const NOW: Timestamp = Timestamp { seconds: 1_440_938_160, nanos: 7 };

    fn signer<'a>(region: &'a str, service: &'a str) -> Signer<'a> {
        Signer {
            access_key: "AKIDEXAMPLE",
            secret: b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region,
            service,
            now: NOW,
        }
    }

    fn head(text: &str) -> Head {
        Head::parse(&mut text.as_bytes().into()).expect("a head").expect("a whole head")
    }

    /// "get-vanilla" and "post-vanilla" of the AWS Signature Version 4 test suite.
    #[test]
    fn signs_the_published_requests() {
        let check = |method: &str, expected: &str| {
            let head = head(&format!(
                "{method} / HTTP/1.1\r\nHost:example.amazonaws.com\r\nX-Amz-Date:20150830T123600Z\r\n\r\n"
            ));
            let value = signer("us-east-1", "service").authorization(&head, &Sha256::digest(b"").into());
            assert_eq!(
                value,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature={expected}"
                )
            );
        };
        check("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        check("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    }

    #[test]
    fn what_is_signed_here_is_verified_here() {
        for region in ["", "us-east-1"] {
            let lines = "Host: h:9000\r\nX-Amz-Date: 20150830T123600Z\r\nX-Twice: a  b\r\nx-twice: c\r\n";
            let text = format!("POST / HTTP/1.1\r\n{lines}");
            let hash: [u8; 32] = Sha256::digest(b"Action=GetCallerIdentity").into();
            let signer = signer(region, "sts");
            let value = signer.authorization(&head(&format!("{text}\r\n")), &hash);
            let signed = head(&format!("{text}Authorization: {value}\r\n\r\n"));
            let rules =
                Rules { region: "us-east-1", service: Service::Sts, now: NOW, location_request: false };
            let Ok(Authorization::Signed(claim)) = authorization(&signed, &rules) else {
                panic!("not accepted: {value}");
            };
            let key = SigningKey::derive(signer.secret, b"20150830", region, "sts");
            assert!(verify(&signed, &claim, &key, Some(&hash)).is_ok());
            assert!(verify(&signed, &claim, &key, Some(&[0; 32])).is_err());
        }
    }
}
