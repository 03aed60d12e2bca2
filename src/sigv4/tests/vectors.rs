//! The published vectors: the examples of the AWS S3 documentation and the suite of aws-c-auth, all 52 of them.
//!
//! The examples of S3 run through [`authorization`] and [`verify`]. The suite of aws-c-auth is made for services that
//! encode paths twice and may normalise them, and its request lines hold raw spaces and UTF-8, so it runs through the
//! canonical request alone, with the rule and the path that each vector asks for.

use serde_json::Value;

use super::chunks::{chunk_text, decode};
use super::*;

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../tests/vectors/sigv4.json")).unwrap()
}

fn field<'v>(vector: &'v Value, name: &str) -> &'v str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} in {vector}"))
}

fn signature_of(name: &str) -> String {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector["name"] == name).expect("a vector of this name");
    field(vector, "signature").to_owned()
}

#[test]
fn all_are_used() {
    let (mut s3, mut services, mut chunks) = (0, 0, 0);
    for vector in vectors() {
        match (vector.get("request").is_some(), vector.get("canonical").is_some()) {
            (true, true) => {
                check_service(&vector);
                services += 1;
            }
            (false, true) => {
                check_s3(&vector);
                s3 += 1;
            }
            // These are checked as two whole bodies below.
            _ => chunks += 1,
        }
    }
    assert_eq!((s3, services, chunks), (7, 38, 7));
}

/// Makes the request whose canonical form the vector holds, and verifies it.
fn check_s3(vector: &Value) {
    let canonical = field(vector, "canonical");
    let text = s3_head(vector);
    let head = head_of(text.as_bytes());
    let amz_date = vector["date"].as_str().unwrap_or("20130524T000000Z");
    let rules = rules_at(amz_date);
    verified(&head, &rules).unwrap_or_else(|error| panic!("{canonical}: {error:?}"));

    // With another secret the refusal shows what was hashed.
    let claim = claim(&head, &rules).unwrap();
    let Err(Error::SignatureDoesNotMatch(mismatch)) = verify(&head, &claim, &key_of(&claim, "another"), None)
    else {
        panic!("verified with another secret");
    };
    assert_eq!(String::from_utf8_lossy(&mismatch.canonical_request), canonical);
    assert_eq!(&*mismatch.access_key, ACCESS_KEY);
    assert_eq!(mismatch.signature_provided.as_slice(), field(vector, "signature").as_bytes());
    let hash = hex::encode32(&Sha256::digest(canonical.as_bytes()).into());
    let string_to_sign = String::from_utf8_lossy(&mismatch.string_to_sign).into_owned();
    let expected = format!("AWS4-HMAC-SHA256\n{amz_date}\n20130524/us-east-1/s3/aws4_request\n");
    assert_eq!(string_to_sign, expected + std::str::from_utf8(&hash).unwrap());
}

fn s3_head(vector: &Value) -> String {
    let lines: Vec<_> = field(vector, "canonical").split('\n').collect();
    let (method, path, query) = (lines[0], lines[1], lines[2]);
    let headers = &lines[3..lines.len() - 3];
    let list = lines[lines.len() - 2];
    let signature = field(vector, "signature");
    let mut text = format!("{method} {path}?{query}");
    if query.contains("X-Amz-Algorithm") {
        text += &format!("&X-Amz-Signature={signature} HTTP/1.1\r\n");
    } else {
        let scope = field(vector, "scope");
        text += &format!(
            " HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},SignedHeaders={list},\
             Signature={signature}\r\n"
        );
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    text + "\r\n"
}

fn check_service(vector: &Value) {
    let name = field(vector, "name");
    let canonical = field(vector, "canonical");
    let lines: Vec<_> = canonical.split('\n').collect();
    let request = field(vector, "request").split("\n\n").next().unwrap();
    let (target, request_headers) = request.split_once('\n').unwrap();
    let (method, target) = target.split_once(' ').unwrap();
    let (path, query) = target.strip_suffix(" HTTP/1.1").unwrap().split_once('?').unwrap_or((target, ""));
    let path = path.strip_suffix(" HTTP/1.1").unwrap_or(path);

    // Folded lines are refused by the HTTP layer; unfolded, their spaces collapse as the vector wants. The date, and
    // in some vectors the token and the payload hash, are added by the signer.
    let mut text = format!("{method} / HTTP/1.1\r\n");
    for line in request_headers.replace("\n  ", "  ").lines().filter(|line| !line.is_empty()) {
        text += &format!("{line}\r\n");
    }
    for header in &lines[3..lines.len() - 3] {
        let own = format!("\n{}:", header.split(':').next().unwrap());
        if !text.to_lowercase().contains(&own) {
            text += &format!("{header}\r\n");
        }
    }
    let head = head_of((text + "\r\n").as_bytes());
    let names = header::signed_headers(lines[lines.len() - 2].as_bytes(), header::Form::Plain).unwrap();
    let signed = coverage(&head, &names).unwrap();
    let request = canonical::Request {
        method: method.as_bytes(),
        path: path.as_bytes(),
        path_rule: PathRule::Service { normalize: vector["normalize"].as_bool().unwrap() },
        query: query.as_bytes(),
        head: &head,
        signed: &signed,
        payload: lines[lines.len() - 1].as_bytes(),
    };
    assert_eq!(String::from_utf8_lossy(&request.text()), canonical, "{name}");
    assert_eq!(request.digest(), <[u8; 32]>::from(Sha256::digest(canonical.as_bytes())), "{name}");

    let (date, region, service) = (field(vector, "date"), field(vector, "region"), field(vector, "service"));
    let date8 = date.as_bytes()[..8].try_into().unwrap();
    let key = SigningKey::derive(field(vector, "secret").as_bytes(), date8, region, service);
    let hash = hex::encode32(&request.digest());
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{}/{region}/{service}/aws4_request\n{}",
        &date[..8],
        std::str::from_utf8(&hash).unwrap()
    );
    assert_eq!(
        hex::encode32(&key.sign(text.as_bytes())).as_slice(),
        field(vector, "signature").as_bytes(),
        "{name}"
    );
}

/// The example of "transferring payload in multiple chunks": 65,536 and 1,024 times `a`.
fn example_body(names: [&str; 3], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in names.into_iter().zip([65536, 1024, 0]) {
        body.extend_from_slice(&chunk_text(&vec![b'a'; bytes], Some(&signature_of(name))));
    }
    body.extend_from_slice(trailer.as_bytes());
    body.extend_from_slice(b"\r\n");
    body
}

#[test]
fn the_published_chunks() {
    let vectors = vectors();
    let seed = vectors.iter().find(|vector| vector["name"] == "chunked seed").unwrap();
    let head = head_of(s3_head(seed).as_bytes());
    let body = example_body(["chunk 1", "chunk 2", "chunk final"], "");
    assert_eq!(body.len(), 66824, "the Content-Length of the example");
    let (payload, end) = decode(&head, &body);
    assert_eq!(end, Ok(Vec::new()));
    assert_eq!(payload, vec![b'a'; 66560]);
}

#[test]
fn the_published_trailer() {
    let vectors = vectors();
    let seed = vectors.iter().find(|vector| vector["name"] == "trailer seed").unwrap();
    let head = head_of(s3_head(seed).as_bytes());
    let signature = signature_of("trailer signature");
    // The documentation and the SDKs of AWS end the line with CRLF, minio-go with LF and an empty line.
    for line_end in ["\r\n", "\n\r\n"] {
        let trailer =
            format!("x-amz-checksum-crc32c:sOO8/Q=={line_end}x-amz-trailer-signature:{signature}\r\n");
        let (payload, end) =
            decode(&head, &example_body(["t chunk 1", "t chunk 2", "t chunk final"], &trailer));
        assert_eq!(payload.len(), 66560);
        let trailers = end.unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(
            (&*trailers[0].name, &*trailers[0].value),
            ("x-amz-checksum-crc32c", b"sOO8/Q==".as_slice())
        );

        let changed = trailer.replace("sOO8", "sOO9");
        let (_, end) = decode(&head, &example_body(["t chunk 1", "t chunk 2", "t chunk final"], &changed));
        assert!(matches!(end, Err(Error::SignatureDoesNotMatch(_))));
    }
}
