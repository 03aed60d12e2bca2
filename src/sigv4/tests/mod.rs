//! Tests over whole requests: an independent signer as the oracle, the table of refusals, published vectors.

mod chunks;
mod refusals;
mod signer;
mod vectors;

use bytes::BytesMut;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use self::signer::Signer;
use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const REGION: &str = "us-east-1";

fn head_of(text: &[u8]) -> Head {
    Head::parse(&mut BytesMut::from(text)).expect("a well-formed head").expect("a whole head")
}

fn rules_at(amz_date: &str) -> Rules<'static> {
    let now = Timestamp::parse_amz(amz_date.as_bytes()).unwrap();
    Rules { region: REGION, service: Service::S3, now, location_request: false }
}

fn claim<'h>(head: &'h Head, rules: &Rules<'_>) -> Result<Claim<'h>, Error> {
    match authorization(head, rules)? {
        Authorization::Signed(claim) => Ok(claim),
        Authorization::Anonymous => panic!("the request has a signature"),
    }
}

fn key_of(claim: &Claim<'_>, secret: &str) -> SigningKey {
    SigningKey::derive(secret.as_bytes(), &claim.date8(), claim.region(), claim.service().as_str())
}

/// Reads and verifies a head with the example secret.
fn verified(head: &Head, rules: &Rules<'_>) -> Result<Seed, Error> {
    let claim = claim(head, rules)?;
    verify(head, &claim, &key_of(&claim, SECRET), None).map(|proof| proof.seed())
}

#[test]
fn a_signed_request_tells_what_it_is() {
    let mut signer = Signer::get("/bucket/key");
    signer.headers.push(("X-Amz-Security-Token".into(), "tok+en/=".into()));
    let head = head_of(&signer.by_header());
    let claim = claim(&head, &rules_at(&signer.date)).unwrap();
    assert_eq!(claim.access_key(), ACCESS_KEY);
    assert_eq!(claim.auth_type().as_str(), "REST-HEADER");
    assert_eq!(claim.payload(), &Payload::Unsigned);
    assert_eq!(claim.content_sha256(), Some(b"UNSIGNED-PAYLOAD".as_slice()));
    assert_eq!(claim.session_token().as_deref(), Some(b"tok+en/=".as_slice()));
    assert_eq!((&claim.date8(), claim.region(), claim.service()), (b"20130524", REGION, Service::S3));
    assert_eq!(claim.signed_at().amz().as_slice(), signer.date.as_bytes());
    assert_eq!(claim.expires_at(), None);
    assert!(claim.is_signed("host") && claim.is_signed("x-amz-date") && !claim.is_signed("range"));
    assert_eq!(claim.key_id(7).secret_id, 7);
    assert!(verify(&head, &claim, &key_of(&claim, SECRET), None).is_ok());
    assert!(verify(&head, &claim, &key_of(&claim, "another"), None).is_err());
}

#[test]
fn a_presigned_url_tells_what_it_is() {
    let mut signer = Signer::get("/bucket/a key+\u{e9}");
    signer.headers.retain(|(name, _)| name == "Host");
    signer.parameters.push(("X-Amz-Security-Token".into(), "tok+en/=".into()));
    let head = head_of(&signer.by_query("600"));
    let rules = rules_at("20130524T000500Z");
    let claim = claim(&head, &rules).unwrap();
    assert_eq!(claim.auth_type().as_str(), "REST-QUERY-STRING");
    assert_eq!(claim.session_token().as_deref(), Some(b"tok+en/=".as_slice()));
    assert_eq!(claim.payload(), &Payload::Unsigned);
    assert_eq!(claim.expires_at().unwrap().amz(), *b"20130524T001000Z");
    assert!(verify(&head, &claim, &key_of(&claim, SECRET), None).is_ok());
}

#[test]
fn requests_without_a_signature_are_anonymous() {
    for lines in ["", "Authorization: \r\n", "X-Amz-Date: 20130524T000000Z\r\nX-Amz-Meta-A: b\r\n"] {
        let head =
            head_of(format!("GET /b/k?X-Amz-Security-Token=t HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes());
        let result = authorization(&head, &rules_at("20130524T000000Z"));
        assert!(matches!(result, Ok(Authorization::Anonymous)), "{lines}");
    }
}

#[test]
fn payloads_of_anonymous_requests() {
    let payload = |line: &str| {
        Payload::of_anonymous(&head_of(format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{line}\r\n").as_bytes()))
    };
    assert_eq!(payload(""), Ok(Payload::Unsigned));
    assert_eq!(payload("x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"), Ok(Payload::Unsigned));
    assert_eq!(
        payload("x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n"),
        Ok(Payload::Streaming { signed: false, trailer: true })
    );
    for text in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "junk", ""] {
        let line = format!("x-amz-content-sha256: {text}\r\n");
        assert_eq!(payload(&line), Err(Error::ContentSha256Invalid), "{text}");
    }
}

/// A header signed by nobody cannot stand in for the one that was: the authority of an absolute-form target is what
/// requests are routed by, so it is what the signature must cover.
#[test]
fn the_signed_host_is_the_routed_host() {
    let signer = Signer::get("/key");
    let text = String::from_utf8(signer.by_header()).unwrap();
    let rules = rules_at(&signer.date);
    assert!(verified(&head_of(text.as_bytes()), &rules).is_ok());
    let same = text.replacen("GET /key", "GET http://s3.example.com/key", 1);
    assert!(verified(&head_of(same.as_bytes()), &rules).is_ok());
    let other = text.replacen("GET /key", "GET http://other.example.com/key", 1);
    assert!(matches!(verified(&head_of(other.as_bytes()), &rules), Err(Error::SignatureDoesNotMatch(_))));
}

#[test]
fn sts_hashes_the_body_and_accepts_an_empty_region() {
    let body: [u8; 32] = Sha256::digest(b"Action=AssumeRole").into();
    for region in ["", REGION] {
        let mut signer = Signer::get("/");
        signer.method = "POST".into();
        signer.headers.retain(|(name, _)| name != "X-Amz-Content-Sha256");
        signer.payload = String::from_utf8(hex::encode32(&body).to_vec()).unwrap();
        (signer.region, signer.service) = (region.into(), "sts".into());
        let head = head_of(&signer.by_header());
        let rules = Rules { service: Service::Sts, ..rules_at(&signer.date) };
        let claim = claim(&head, &rules).unwrap();
        let key = key_of(&claim, SECRET);
        assert!(verify(&head, &claim, &key, Some(&body)).is_ok());
        assert!(verify(&head, &claim, &key, Some(&[0; 32])).is_err());
        assert!(verify(&head, &claim, &key, None).is_err());
    }
}

#[test]
fn a_known_body_hash_is_compared() {
    let mut signer = Signer::get("/b/k");
    let client: [u8; 32] = Sha256::digest(b"body").into();
    signer.payload = String::from_utf8(hex::encode32(&client).to_vec()).unwrap();
    signer.headers.retain(|(name, _)| name != "X-Amz-Content-Sha256");
    signer.headers.push(("X-Amz-Content-Sha256".into(), signer.payload.clone()));
    let head = head_of(&signer.by_header());
    let claim = claim(&head, &rules_at(&signer.date)).unwrap();
    assert_eq!(claim.payload(), &Payload::Sha256(client));
    let key = key_of(&claim, SECRET);
    assert!(verify(&head, &claim, &key, Some(&client)).is_ok());
    let computed = [7; 32];
    let refused = verify(&head, &claim, &key, Some(&computed)).unwrap_err();
    assert_eq!(refused, Error::ContentSha256Mismatch { client, computed });
}

#[test]
fn fuzz_corpus_and_seeded_bytes() {
    let signer = Signer::get("/bucket/key?");
    let mut presigned = signer.clone();
    presigned.headers.retain(|(name, _)| name == "Host");
    let by_query = presigned.by_query("600");
    let query = by_query.iter().skip_while(|&&byte| byte != b'?').skip(1).take_while(|&&byte| byte != b' ');
    let by_header = signer.by_header();
    let line =
        by_header.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"Authorization: ")).unwrap();
    let corpus = [
        by_header.clone(),
        by_query.clone(),
        query.copied().collect(),
        line["Authorization: ".len()..].trim_ascii().to_vec(),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for seed in &corpus {
        fuzz(seed);
        for _ in 0..2000 {
            let mut data = seed.clone();
            for _ in 0..random() % 4 + 1 {
                let index = random() % data.len().max(1);
                if data.is_empty() {
                    break;
                }
                match random() % 3 {
                    0 => data[index] = random() as u8,
                    1 => drop(data.remove(index)),
                    _ => data.truncate(index.max(1)),
                }
            }
            fuzz(&data);
        }
    }
    for length in 0..500 {
        fuzz(&(0..length).map(|_| random() as u8).collect::<Vec<_>>());
    }
}

/// Any byte as it may stand in a request target: itself where that is legal, else or sometimes escaped.
fn on_the_wire(text: &str, choices: &[u8], keep: &[u8]) -> String {
    let mut wire = String::new();
    for (index, byte) in text.bytes().enumerate() {
        let choice = choices.get(index % choices.len().max(1)).copied().unwrap_or(0);
        let raw = (byte.is_ascii_alphanumeric() || b"-._~!'()*,:@$;".contains(&byte) || keep.contains(&byte))
            && choice % 3 > 0;
        match raw {
            true => wire.push(char::from(byte)),
            false if choice % 2 == 0 => wire.push_str(&format!("%{byte:02X}")),
            false => wire.push_str(&format!("%{byte:02x}")),
        }
    }
    wire
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is sent and however it is escaped, what the naive signer signs is verified, by header and by query,
    /// and a change of any part is not.
    #[test]
    fn agrees_with_the_naive_signer(
        method in "(GET|PUT|HEAD|POST|DELETE|PATCH)",
        path in "/[ -~\u{e9}\u{1234}]{0,40}",
        parameters in proptest::collection::vec(("[ -~\u{e9}]{1,8}", "[ -~\u{e9}]{0,12}"), 0..24),
        headers in proptest::collection::vec(("[A-Za-z][A-Za-z0-9_-]{0,10}", "([!-~]{1,6}[ ]{0,3}){0,4}[!-~]"), 0..20),
        choices in proptest::collection::vec(any::<u8>(), 1..20),
        presigned in any::<bool>(),
    ) {
        let mut signer = Signer::get(&path);
        signer.method = method;
        signer.wire_path = format!("/{}", on_the_wire(&path[1..], &choices, b"/+=&"));
        for (name, value) in parameters {
            if !name.to_ascii_lowercase().starts_with("x-amz-") && name != "AWSAccessKeyId" {
                signer.parameters.push((name, value));
            }
        }
        signer.wire_query = Some(signer.parameters.iter().map(|(name, value)| {
            let name = on_the_wire(name, &choices, b"/+");
            if value.is_empty() && choices[0].is_multiple_of(2) {
                name
            } else {
                format!("{name}={}", on_the_wire(value, &choices, b"/+="))
            }
        }).collect::<Vec<_>>().join("&"));
        if presigned {
            signer.headers.retain(|(name, _)| name == "Host");
        }
        for (index, (name, value)) in headers.into_iter().enumerate() {
            // Names that the HTTP layer gives a meaning to are not for this test.
            let name = if index % 3 == 0 { format!("x-amz-meta-{name}") } else { format!("h-{name}") };
            signer.headers.push((name, value));
        }
        let text = if presigned { signer.by_query("600") } else { signer.by_header() };
        let head = head_of(&text);
        let rules = rules_at(&signer.date);
        let claim = claim(&head, &rules).unwrap();
        let key = key_of(&claim, SECRET);
        let result = verify(&head, &claim, &key, None);
        prop_assert!(result.is_ok(), "{}\n{:?}", String::from_utf8_lossy(&text), signer.canonical);

        // One byte changed: the head may become unreadable, lose its signature or name another key, whose secret
        // would be another; it is never verified.
        let index = usize::from(choices[0]) * 31 % text.len();
        let mut changed = text.clone();
        changed[index] = if changed[index].eq_ignore_ascii_case(&b'x') { b'y' } else { b'x' };
        if let Ok(Some(head)) = Head::parse(&mut BytesMut::from(changed.as_slice()))
            && let Ok(Authorization::Signed(claim)) = authorization(&head, &rules)
            && claim.access_key() == ACCESS_KEY
        {
            let result = verify(&head, &claim, &key_of(&claim, SECRET), None).map(|_| ());
            prop_assert!(result.is_err(), "{}", String::from_utf8_lossy(&changed));
        }
    }
}
