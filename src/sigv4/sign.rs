//! Signs a request: the client's side, for the command line.
//!
//! Only what the command line sends: a path that is canonical on the wire already, no query, a body in memory, three
//! signed headers. The verifier is written apart from this, and the tests let one check the other.
//! Spec: AWS "Signature Version 4", create a signed request.

use sha2::{Digest, Sha256};

use super::{Service, SigningKey};
use crate::codec::dates::Timestamp;
use crate::codec::{hex, percent};

/// A request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// In upper case.
    pub method: &'a str,
    /// As it will stand on the wire, without a query.
    pub path: &'a str,
    /// The `Host` header.
    pub host: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Region of the credential scope.
    pub region: &'a str,
    /// Service of the credential scope.
    pub service: Service,
    /// The client's clock.
    pub now: Timestamp,
}

/// The headers that a signed request has to carry besides `Host`: names in lower case, and values.
pub type SignatureHeaders = [(&'static str, String); 3];

/// Signs a request with these keys.
#[must_use]
pub fn sign(request: &Outgoing<'_>, access_key: &str, secret: &[u8]) -> SignatureHeaders {
    let Outgoing { method, path, host, body, region, service, now } = *request;
    let (amz_date, date8) = (text(&now.amz()), now.date8());
    let hash = text(&hex::encode32(&Sha256::digest(body).into()));
    // Services but S3 sign the path of the wire encoded once more.
    let mut canonical_path = Vec::new();
    match service {
        Service::S3 => canonical_path.extend_from_slice(path.as_bytes()),
        Service::Sts | Service::Iam | Service::Control => {
            percent::encode_path_into(path.as_bytes(), &mut canonical_path)
        }
    }
    let canonical_path = text(&canonical_path);
    let canonical = format!(
        "{method}\n{canonical_path}\n\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{amz_date}\n\n{SIGNED}\n{hash}"
    );
    let scope = format!("{}/{region}/{}/aws4_request", text(&date8), service.as_str());
    let digest = text(&hex::encode32(&Sha256::digest(canonical).into()));
    let key = SigningKey::derive(secret, &date8, region, service.as_str());
    let signature = text(&hex::encode32(
        &key.sign(format!("AWS4-HMAC-SHA256\n{amz_date}\n{scope}\n{digest}").as_bytes()),
    ));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={SIGNED}, Signature={signature}"
    );
    [("x-amz-date", amz_date), ("x-amz-content-sha256", hash), ("authorization", authorization)]
}

fn text(ascii: &[u8]) -> String {
    String::from_utf8_lossy(ascii).into_owned()
}

const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::{Authorization, Error, Rules, authorization, verify};
    use super::*;
    use crate::http::head::Head;

    #[test]
    fn the_verifier_takes_what_is_signed_and_nothing_else() {
        let now = Timestamp::from_seconds(1_369_353_600);
        let check = |service: Service, path: &str, sent_path: &str, body: &[u8], sent_body: &[u8]| {
            let region = "eu-north-1";
            let request = Outgoing { method: "POST", path, host: "h:1", body, region, service, now };
            let headers = sign(&request, "alice", b"Passw0rd");
            let mut wire = format!("POST {sent_path} HTTP/1.1\r\nhost: h:1\r\ncontent-length: 4\r\n");
            for (name, value) in headers {
                wire += &format!("{name}: {value}\r\n");
            }
            let head = Head::parse(&mut BytesMut::from(&*(wire + "\r\n"))).unwrap().unwrap();
            let rules = Rules { region, service, now, location_request: false };
            let Authorization::Signed(claim) = authorization(&head, &rules).unwrap() else {
                panic!("it is signed");
            };
            assert_eq!(claim.access_key(), "alice");
            let key = SigningKey::derive(b"Passw0rd", &claim.date8(), region, service.as_str());
            verify(&head, &claim, &key, Some(&Sha256::digest(sent_body).into())).map(|_| ())
        };
        for service in [Service::S3, Service::Sts, Service::Control] {
            check(service, "/", "/", b"body", b"body").unwrap();
            let wrong = check(service, "/", "/", b"body", b"b0dy").unwrap_err();
            assert!(matches!(wrong, Error::ContentSha256Mismatch { .. }), "{wrong:?}");
            let wrong = check(service, "/", "/x", b"body", b"body").unwrap_err();
            assert!(matches!(wrong, Error::SignatureDoesNotMatch(_)), "{wrong:?}");
        }
        check(Service::Control, "/v1/a%2Fb%20c", "/v1/a%2Fb%20c", b"", b"").unwrap();
    }
}
