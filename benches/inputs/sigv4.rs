//! Signed heads as boto3 and curl send them, and what verifies them.

use bytes::BytesMut;
use sluicegate::codec::dates::Timestamp;
use sluicegate::codec::hex;
use sluicegate::http::head::Head;
use sluicegate::sigv4::{self, Authorization, Claim, Rules, Service, SigningKey};

pub const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
const DATE: &str = "20130524T000000Z";

pub fn rules() -> Rules<'static> {
    let now = Timestamp::parse_amz(DATE.as_bytes()).expect("a date");
    Rules { region: "us-east-1", service: Service::S3, now, location_request: false }
}

pub fn claim(head: &Head) -> Claim<'_> {
    match sigv4::authorization(head, &rules()) {
        Ok(Authorization::Signed(claim)) => claim,
        other => panic!("not signed: {other:?}"),
    }
}

pub fn key() -> SigningKey {
    SigningKey::derive(SECRET, b"20130524", "us-east-1", "s3")
}

/// A head with the right signature, which the refusal of a wrong one tells how to make.
fn signed(text: &str) -> Head {
    let unsigned = text.replace("{signature}", &"0".repeat(64));
    let head = parse(&unsigned);
    let Err(sigv4::Error::SignatureDoesNotMatch(mismatch)) =
        sigv4::verify(&head, &claim(&head), &key(), None)
    else {
        panic!("a signature of zeros matched");
    };
    let signature = hex::encode32(&key().sign(&mismatch.string_to_sign));
    parse(&text.replace("{signature}", std::str::from_utf8(&signature).expect("hexadecimal")))
}

pub fn parse(text: &str) -> Head {
    let text = text.replace('\n', "\r\n");
    Head::parse(&mut BytesMut::from(text.as_bytes())).expect("well-formed").expect("whole")
}

pub fn get() -> Head {
    signed(&format!(
        "GET /photos/2024/12/holiday/IMG_20241224_180000.jpg HTTP/1.1\n\
         Host: s3.example.com:9000\nAccept-Encoding: identity\nx-amz-checksum-mode: ENABLED\n\
         User-Agent: Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux#6.18 md/arch#x86_64 lang/python#3.13.0\n\
         X-Amz-Date: {DATE}\n\
         X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
         Authorization: AWS4-HMAC-SHA256 Credential={CREDENTIAL}, \
         SignedHeaders=host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date, Signature={{signature}}\n\
         amz-sdk-invocation-id: 4f2b0e47-1111-4222-8333-944445555666\namz-sdk-request: attempt=1\n\n"
    ))
}

pub fn put() -> Head {
    signed(&format!(
        "PUT /photos/2024/12/holiday/IMG_20241224_180000.jpg HTTP/1.1\n\
         Host: s3.example.com:9000\nAccept-Encoding: identity\nx-amz-sdk-checksum-algorithm: CRC32\n\
         x-amz-checksum-crc32: DUoRhQ==\nContent-Type: image/jpeg\n\
         User-Agent: Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux#6.18 md/arch#x86_64 lang/python#3.13.0\n\
         Expect: 100-continue\nX-Amz-Date: {DATE}\n\
         X-Amz-Content-SHA256: b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\n\
         Authorization: AWS4-HMAC-SHA256 Credential={CREDENTIAL}, \
         SignedHeaders=content-type;host;x-amz-checksum-crc32;x-amz-content-sha256;x-amz-date;\
         x-amz-sdk-checksum-algorithm, Signature={{signature}}\n\
         amz-sdk-invocation-id: 4f2b0e47-1111-4222-8333-944445555666\namz-sdk-request: attempt=1\n\
         Content-Length: 11\n\n"
    ))
}

pub fn presigned() -> Head {
    signed(&format!(
        "GET /photos/IMG_20241224_180000.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}\
         &X-Amz-Date={DATE}&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature={{signature}} HTTP/1.1\n\
         Host: s3.example.com:9000\nAccept: */*\nUser-Agent: curl/8.10.1\n\n",
        CREDENTIAL.replace('/', "%2F")
    ))
}
