//! SigV4 from the client's side, in the plainest form: requests are signed before the clock runs.
//!
//! Spec: AWS Signature Version 4, "Authenticating requests: using the Authorization header".

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Whose requests, and to whom.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret: String,
    /// The value of the `Host` header.
    pub host: String,
    /// `YYYYMMDDThhmmssZ`.
    pub amz_date: String,
}

/// How the body of a request is protected.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Its SHA-256 is signed.
    Signed(&'a [u8]),
    /// It is not.
    Unsigned,
}

impl Signer {
    /// The whole head of a signed request. `path` is percent-encoded, `query` sorted and encoded (`a=b&c=`).
    pub fn head(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body_bytes: usize,
        payload: Payload<'_>,
    ) -> Vec<u8> {
        let hash = match payload {
            Payload::Signed(body) => hex(&Sha256::digest(body)),
            Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
        };
        let Signer { access_key, host, amz_date, .. } = self;
        let date = &amz_date[..8];
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{amz_date}\n\n{signed}\n{hash}"
        );
        let scope = format!("{date}/{REGION}/s3/aws4_request");
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{amz_date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), date.as_bytes());
        for step in [REGION, "s3", "aws4_request"] {
            key = mac(&key, step.as_bytes());
        }
        let signature = hex(&mac(&key, to_sign.as_bytes()));
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nx-amz-date: {amz_date}\r\nx-amz-content-sha256: {hash}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={signed}, \
             Signature={signature}\r\nContent-Length: {body_bytes}\r\n\r\n"
        )
        .into_bytes()
    }
}

/// The time now as SigV4 writes it.
pub fn amz_date(seconds_since_1970: u64) -> String {
    // Howard Hinnant's civil_from_days, for days since 1970-01-01.
    let (days, second) = (seconds_since_1970 / 86_400, seconds_since_1970 % 86_400);
    let shifted = days + 719_468;
    let era_day = shifted % 146_097;
    let year_of_era = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + shifted / 146_097 * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const REGION: &str = "us-east-1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |seconds, expected: &str| assert_eq!(amz_date(seconds), expected);
        check(0, "19700101T000000Z");
        check(951_782_400, "20000229T000000Z");
        check(1_369_353_600, "20130524T000000Z");
        check(1_735_689_599, "20241231T235959Z");
    }

    #[test]
    fn the_published_example() {
        // AWS documentation, "Example: GET Bucket Lifecycle": three signed headers, one query parameter.
        let signer = Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            host: "examplebucket.s3.amazonaws.com".into(),
            amz_date: amz_date(1_369_353_600),
        };
        let head = signer.head("GET", "/", "lifecycle=", 0, Payload::Signed(b""));
        let expected = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
        assert!(String::from_utf8(head).unwrap().contains(expected));
    }
}
