//! Hot functions of `http` and `codec`: what every request pays before anything of S3 happens. Each asserts its result.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sluicegate::codec::dates::Timestamp;
use sluicegate::codec::{hex, percent};
use sluicegate::http::body::ChunkedDecoder;
use sluicegate::http::conditional::{ReadConditions, ReadOutcome, Validators};
use sluicegate::http::head::{Framing, Head, HeadReader};
use sluicegate::http::response::ResponseHead;

use self::inputs::BOTO3_PUT;

#[path = "inputs/http.rs"]
mod inputs;

fn head(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    // As a connection does it: one read buffer, refilled by every read, and a head that is dropped after its request.
    group.bench_function("boto3 PUT, 12 headers", |bencher| {
        let mut buf = BytesMut::with_capacity(16 * 1024);
        let mut reader = HeadReader::default();
        bencher.iter(|| {
            buf.reserve(4096);
            buf.extend_from_slice(black_box(BOTO3_PUT));
            let head = reader.read(&mut buf).expect("well-formed").expect("complete");
            assert_eq!(head.framing(), Framing::Length(4096));
            black_box(head).bytes_len()
        });
    });
    group.bench_function("the same in 8 pieces", |bencher| {
        let mut buf = BytesMut::with_capacity(16 * 1024);
        let mut reader = HeadReader::default();
        bencher.iter(|| {
            let mut found = None;
            for piece in BOTO3_PUT.chunks(BOTO3_PUT.len().div_ceil(8)) {
                buf.reserve(4096);
                buf.extend_from_slice(black_box(piece));
                found = reader.read(&mut buf).expect("well-formed");
            }
            assert_eq!(black_box(found).expect("complete").headers().count(), 12);
        });
    });
    group.bench_function("20 look-ups in 12 headers", |bencher| {
        let head = Head::parse(&mut BytesMut::from(BOTO3_PUT)).expect("well-formed").expect("complete");
        let names = ["content-length", "x-amz-date", "range", "if-match", "x-amz-copy-source"];
        bencher.iter(|| {
            let lookups = names.iter().cycle().take(20);
            let found = lookups.filter(|name| black_box(&head).header(black_box(name)).is_some()).count();
            assert_eq!(found, 8);
        });
    });
    group.finish();
}

fn body(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    let body = [b"10000\r\n", vec![b'x'; 0x1_0000].as_slice(), b"\r\n0\r\n\r\n"].concat();
    group.bench_function("chunked, one chunk of 64 KiB", |bencher| {
        bencher.iter(|| {
            let mut decoder = ChunkedDecoder::default();
            let step = decoder.step(black_box(&body)).expect("well-formed");
            assert!(step.done && step.data.len() == 0x1_0000);
        });
    });
    group.finish();
}

fn conditions(criterion: &mut Criterion) {
    let head = Head::parse(&mut BytesMut::from(BOTO3_PUT)).expect("well-formed").expect("complete");
    let object = Validators { etag: b"abc", last_modified: Timestamp::from_seconds(0) };
    criterion.bench_function("conditional/read without conditions", |bencher| {
        bencher.iter(|| {
            let outcome = ReadConditions::of_request(black_box(&head)).evaluate(black_box(&object));
            assert_eq!(outcome, ReadOutcome::Proceed);
        });
    });
}

fn response(criterion: &mut Criterion) {
    let date = Timestamp::from_seconds(1_369_353_600).http();
    criterion.bench_function("response/GetObject head", |bencher| {
        let buffer = || BytesMut::with_capacity(4096);
        bencher.iter_batched_ref(
            buffer,
            |out| {
                let mut head = ResponseHead::new(out, 200);
                head.date(black_box(&date))
                    .content_length(black_box(4096))
                    .etag(black_box(b"9bb58f26192e4ba00f01e2e7b136bbd8"))
                    .header("Last-Modified", black_box(&date))
                    .header("Content-Type", black_box(b"binary/octet-stream"))
                    .header("Accept-Ranges", b"bytes")
                    .header("x-amz-request-id", black_box(b"0123456789ABCDEF"))
                    .header("x-amz-id-2", black_box(b"0123456789ABCDEF0123456789ABCDEF"));
                head.finish();
                assert_eq!(out.len(), 325);
            },
            BatchSize::SmallInput,
        );
    });
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let now = Timestamp::from_seconds(1_369_353_600);
    group.bench_function("date to HTTP", |bencher| {
        bencher.iter(|| assert_eq!(&black_box(now).http(), b"Fri, 24 May 2013 00:00:00 GMT"));
    });
    group.bench_function("date from x-amz-date", |bencher| {
        bencher.iter(|| assert_eq!(Timestamp::parse_amz(black_box(b"20130524T000000Z")), Some(now)));
    });
    group.bench_function("date from HTTP", |bencher| {
        let text = b"Fri, 24 May 2013 00:00:00 GMT";
        bencher.iter(|| assert_eq!(Timestamp::parse_http(black_box(text)), Some(now)));
    });
    group.bench_function("hex of 32 bytes", |bencher| {
        bencher.iter(|| assert_eq!(hex::encode32(black_box(&[0xaa; 32])), [b'a'; 64]));
    });
    group.bench_function("hex to 32 bytes", |bencher| {
        let text = [b'a'; 64];
        bencher.iter(|| {
            let mut out = [0; 32];
            assert!(hex::decode(black_box(&text), &mut out) && out == [0xaa; 32]);
        });
    });
    group.bench_function("percent-decode a key of 40 bytes", |bencher| {
        let key = b"photos/2013/May%20holiday/IMG%2B0001.jpg";
        bencher.iter(|| assert_eq!(percent::decode(black_box(key)).map(|key| key.len()), Ok(36)));
    });
    group.bench_function("percent-encode a key of 36 bytes", |bencher| {
        let mut out = Vec::with_capacity(128);
        bencher.iter(|| {
            out.clear();
            percent::encode_path_into(black_box(b"photos/2013/May holiday/IMG+0001.jpg"), &mut out);
            assert_eq!(out.len(), 40);
        });
    });
    group.finish();
}

criterion_group!(benches, head, body, conditions, response, codec);
criterion_main!(benches);
