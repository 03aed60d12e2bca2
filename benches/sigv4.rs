//! SigV4 on heads as boto3 sends them, and the aws-chunked decoder. Each benchmark asserts its result.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};
use sluicegate::sigv4::{self, Authorization, Decoder, Payload, SigningKey, SigningKeys};

use self::inputs::{SECRET, claim, get, key, parse, presigned, put, rules};

#[path = "inputs/sigv4.rs"]
mod inputs;

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
