//! SigV4 on heads as boto3 sends them, and the aws-chunked decoder. Each benchmark asserts its result.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

use sluicegate::codec::dates::Timestamp;
use sluicegate::codec::hex;
use sluicegate::http::head::Head;
use sluicegate::sigv4::{
    self, Authorization, Claim, Decoder, Payload, Rules, Service, SigningKey, SigningKeys,
};

const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
const DATE: &str = "20130524T000000Z";

fn rules() -> Rules<'static> {
    let now = Timestamp::parse_amz(DATE.as_bytes()).expect("a date");
    Rules { region: "us-east-1", service: Service::S3, now, location_request: false }
}

fn claim(head: &Head) -> Claim<'_> {
    match sigv4::authorization(head, &rules()) {
        Ok(Authorization::Signed(claim)) => claim,
        other => panic!("not signed: {other:?}"),
    }
}

fn key() -> SigningKey {
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

fn parse(text: &str) -> Head {
    let text = text.replace('\n', "\r\n");
    Head::parse(&mut BytesMut::from(text.as_bytes())).expect("well-formed").expect("whole")
}

fn get() -> Head {
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

fn put() -> Head {
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

fn presigned() -> Head {
    signed(&format!(
        "GET /photos/IMG_20241224_180000.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}\
         &X-Amz-Date={DATE}&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature={{signature}} HTTP/1.1\n\
         Host: s3.example.com:9000\nAccept: */*\nUser-Agent: curl/8.10.1\n\n",
        CREDENTIAL.replace('/', "%2F")
    ))
}

fn heads(c: &mut Criterion) {
    let key = key();
    for (name, head) in [("get", get()), ("put", put()), ("presigned", presigned())] {
        let claimed = claim(&head);
        c.bench_function(&format!("sigv4/authorization/{name}"), |b| {
            b.iter(|| {
                assert!(matches!(
                    sigv4::authorization(black_box(&head), &rules()),
                    Ok(Authorization::Signed(_))
                ))
            });
        });
        c.bench_function(&format!("sigv4/verify/{name}"), |b| {
            b.iter(|| assert!(sigv4::verify(black_box(&head), black_box(&claimed), &key, None).is_ok()));
        });
        let mut keys = SigningKeys::new(1024);
        c.bench_function(&format!("sigv4/whole/{name}"), |b| {
            b.iter(|| {
                let claim = claim(black_box(&head));
                let key = keys.get_or_derive(&claim.key_id(1), SECRET);
                assert!(sigv4::verify(&head, &claim, key, None).is_ok());
            });
        });
    }
}

fn keys(c: &mut Criterion) {
    let expected = key().sign(b"message");
    c.bench_function("sigv4/derive", |b| {
        b.iter(|| SigningKey::derive(black_box(SECRET), b"20130524", "us-east-1", "s3"));
    });
    c.bench_function("sigv4/sign", |b| {
        let key = key();
        b.iter(|| assert_eq!(key.sign(black_box(b"message")), expected));
    });
    // The floor of a verification: the hash of a canonical request of 400 bytes and one HMAC.
    c.bench_function("sigv4/floor", |b| {
        let (key, text) = (key(), [b'x'; 400]);
        b.iter(|| key.sign(&<[u8; 32]>::from(Sha256::digest(black_box(&text)))));
    });
}

fn chunks(c: &mut Criterion) {
    const BYTES: usize = 1 << 20;
    let head = parse(&format!("PUT /b/k HTTP/1.1\nHost: h\nx-amz-decoded-content-length: {BYTES}\n\n"));
    let payload = Payload::Streaming { signed: false, trailer: true };
    let mut body = Vec::new();
    for _ in 0..BYTES / 65536 {
        body.extend_from_slice(b"10000\r\n");
        body.extend_from_slice(&[b'x'; 65536]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let mut group = c.benchmark_group("sigv4/chunks");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("unsigned", |b| {
        b.iter(|| {
            let mut decoder = Decoder::new(&head, &payload, None).expect("a length").expect("streamed");
            let (mut rest, mut bytes) = (body.as_slice(), 0);
            while !rest.is_empty() {
                let step = decoder.step(rest).expect("well-formed");
                bytes += step.data.len();
                rest = &rest[step.consumed..];
            }
            assert_eq!(bytes, BYTES);
            assert!(decoder.finish().is_ok());
        });
    });
    group.finish();
}

criterion_group!(benches, heads, keys, chunks);
criterion_main!(benches);
