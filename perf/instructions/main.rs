//! The hot functions that need no I/O, for their instructions to be counted: each case runs a few times inside
//! [`counted`], which `perf/guard` looks for with valgrind's callgrind. Without valgrind this only asserts the results.
//!
//! What is printed: one line `features …` with the instruction sets that run-time detection finds, then one line for
//! each case in the order in which they run: how often it runs, how often one run allocates, and its name. Under valgrind
//! neither AVX-512 nor the SHA instructions are there, so the digests counted are the scalar MD5 and the portable SHA-256.
//! Which kernel takes several streams is decided by a clock. A change of those does not show here, but in
//! `benches/digest.rs`.
//!
//! A case must do the same work in every run: no clock, no random numbers, no hash map with a random seed.

use std::hint::black_box;

use bytes::BytesMut;
use sluicegate::codec::dates::Timestamp;
use sluicegate::digest::{Algorithm, BodyDigests, Wanted};
use sluicegate::http::head::{Framing, Head, HeadReader};
use sluicegate::http::response::ResponseHead;
use sluicegate::iam::{Action, Context, Kind, Request, decide};
use sluicegate::s3::operation::{Operation, route};
use sluicegate::s3::xml::{CompleteMultipartUpload, Delete, ObjectEntry, ObjectsV2, Page};
use sluicegate::sigv4::{self, Decoder, Payload, SigningKeys};
use sluicegate::storage::record::{Record, Summary};

#[path = "../../benches/inputs/http.rs"]
mod heads;
#[path = "../../benches/inputs/policy.rs"]
mod policies;
#[path = "../../benches/inputs/record.rs"]
mod records;
#[path = "../../benches/inputs/sigv4.rs"]
mod signed;

/// A function to count.
struct Case {
    name: &'static str,
    times: u32,
    run: Box<dyn FnMut()>,
}

fn main() {
    println!("features {}", features().join(" "));
    let mut cases = Vec::new();
    let mut add = |name, times, run| cases.push(Case { name, times, run });
    http(&mut add);
    authentication(&mut add);
    authorization(&mut add);
    record(&mut add);
    xml(&mut add);
    body(&mut add);
    for case in &mut cases {
        // What is detected, allocated or filled once is so before anything is counted.
        (case.run)();
        let allocations = allocation_counter::measure(|| (case.run)()).count_total;
        counted(case);
        println!("{} {allocations} {}", case.times, case.name);
    }
}

/// What is counted: everything from here to the return.
#[inline(never)]
fn counted(case: &mut Case) {
    for _ in 0..case.times {
        (case.run)();
    }
}

/// Takes a case: its name, how often it runs, and what runs.
type Add<'a> = dyn FnMut(&'static str, u32, Box<dyn FnMut()>) + 'a;

fn http(add: &mut Add<'_>) {
    let (mut buf, mut reader) = (BytesMut::with_capacity(16 * 1024), HeadReader::default());
    let parse = move || {
        buf.reserve(4096);
        buf.extend_from_slice(black_box(heads::BOTO3_PUT));
        let head = reader.read(&mut buf).expect("well-formed").expect("complete");
        assert_eq!(head.framing(), Framing::Length(4096));
    };
    add("http: head of a PUT", 10, Box::new(parse));

    let head = Head::parse(&mut BytesMut::from(heads::BOTO3_PUT)).expect("well-formed").expect("complete");
    let routed = move || assert!(matches!(route(black_box(&head), &[]), Ok(Operation::PutObject(_))));
    add("s3: route of a PUT", 10, Box::new(routed));
    let listing =
        signed::parse("GET /photos?list-type=2&prefix=a%2Fb&delimiter=%2F&max-keys=50 HTTP/1.1\nHost: h\n\n");
    let routed = move || assert!(matches!(route(black_box(&listing), &[]), Ok(Operation::ListObjectsV2(_))));
    add("s3: route of a listing", 10, Box::new(routed));

    let date = Timestamp::from_seconds(1_369_353_600).http();
    let mut out = BytesMut::with_capacity(4096);
    let response = move || {
        out.clear();
        let mut head = ResponseHead::new(&mut out, 200);
        head.date(black_box(&date))
            .content_length(black_box(4096))
            .etag(black_box(b"9bb58f26192e4ba00f01e2e7b136bbd8"))
            .header("Last-Modified", black_box(&date))
            .header("Content-Type", black_box(b"binary/octet-stream"))
            .header("Accept-Ranges", b"bytes")
            .header("x-amz-request-id", black_box(b"0123456789ABCDEF"));
        head.finish();
        assert!(out.ends_with(b"\r\n\r\n"));
    };
    add("http: head of an answer", 10, Box::new(response));
}

fn authentication(add: &mut Add<'_>) {
    for (name, head) in [
        ("sigv4: a GET", signed::get()),
        ("sigv4: a PUT", signed::put()),
        ("sigv4: a presigned GET", signed::presigned()),
    ] {
        let mut keys = SigningKeys::new(1024);
        let whole = move || {
            let claim = signed::claim(black_box(&head));
            let key = keys.get_or_derive(&claim.key_id(1), signed::SECRET);
            assert!(sigv4::verify(&head, &claim, key, None).is_ok());
        };
        add(name, 10, Box::new(whole));
    }
    add("sigv4: a signing key", 10, Box::new(|| drop(black_box(signed::key()))));

    let chunked = |trailer: &str| {
        let chunk = [b"10000\r\n", vec![b'x'; 65536].as_slice(), b"\r\n"].concat();
        [chunk.clone(), chunk, format!("0\r\n{trailer}\r\n").into_bytes()].concat()
    };
    let head = "PUT /b/k HTTP/1.1\nHost: h\nx-amz-decoded-content-length: 131072\nx-amz-trailer: x-amz-checksum-crc32\n\n";
    let head = signed::parse(head);
    let body = chunked("x-amz-checksum-crc32:AAAAAA==\r\n");
    let decode = move || {
        let payload = Payload::Streaming { signed: false, trailer: true };
        let mut decoder =
            Decoder::new(black_box(&head), &payload, None).expect("a length").expect("streamed");
        let (mut rest, mut bytes) = (body.as_slice(), 0);
        while !rest.is_empty() {
            let step = decoder.step(rest).expect("well-formed");
            bytes += step.data.len();
            rest = &rest[step.consumed..];
        }
        assert!(bytes == 131_072 && decoder.finish().is_ok() && decoder.trailers().len() == 1);
    };
    add("sigv4: aws-chunked body with a trailer", 10, Box::new(decode));
}

fn authorization(add: &mut Add<'_>) {
    let text = policies::large_policy();
    let identity = policies::compiled(&text, Kind::Identity);
    let session = policies::compiled(policies::SESSION, Kind::Session);
    let bucket = policies::compiled(policies::BUCKET, Kind::Bucket("photos"));
    let builtin = sluicegate::iam::built_in_policy("readwrite").expect("it is built in");
    let readwrite = policies::compiled(builtin, Kind::Identity);
    let context: &'static Context<'static> = Box::leak(Box::new(policies::context()));
    let request = move || {
        let key = b"home/alice/2026/11/24/image-0001.jpg";
        Request { action: Action::GetObject, bucket: "photos", key, context }
    };
    let decided = move || {
        assert!(decide(Some(black_box(&readwrite)), None, None, false, black_box(&request())).is_allowed());
    };
    add("iam: a built-in policy decides", 10, Box::new(decided));
    let decided = move || {
        let three = [&identity, &session, &bucket].map(Some);
        let [identity, session, bucket] = black_box(three);
        assert!(decide(identity, session, bucket, false, black_box(&request())).is_allowed());
    };
    add("iam: session, identity and bucket policy decide", 10, Box::new(decided));
}

fn record(add: &mut Add<'_>) {
    for (names, record) in [
        (["record: encode", "record: decode", "record: summary"], records::common()),
        (["record: encode, rich", "record: decode, rich", "record: summary, rich"], records::rich()),
        (
            ["record: encode, 10,000 parts", "record: decode, 10,000 parts", "record: summary, 10,000 parts"],
            records::multipart(),
        ),
    ] {
        let mut bytes = Vec::with_capacity(512);
        record.encode(&mut bytes);
        let (encoded, etag, expected) = (bytes.clone(), record.etag.clone(), bytes.clone());
        let encode = move || {
            bytes.clear();
            black_box(&record).encode(&mut bytes);
            assert_eq!(bytes, expected);
        };
        add(names[0], 10, Box::new(encode));
        let (again, size) = (encoded.clone(), Record::decode(&encoded).expect("a record").size);
        let decode = move || assert_eq!(Record::decode(black_box(&encoded)).expect("a record").size, size);
        add(names[1], 10, Box::new(decode));
        let summary = move || assert_eq!(Summary::decode(black_box(&again)).expect("a summary").etag, etag);
        add(names[2], 10, Box::new(summary));
    }
}

fn xml(add: &mut Add<'_>) {
    let keys: Vec<String> = (0..1000).map(|number| format!("photos/2026/{number:08}.jpg")).collect();
    let mut out = Vec::with_capacity(512 * 1024);
    let listing = move || {
        out.clear();
        let page = Page {
            bucket: "photos",
            prefix: b"photos/",
            delimiter: None,
            max_keys: 1000,
            truncated: true,
            encoding: None,
        };
        let token = Some("MTIzNDU2Nzg5");
        let head =
            ObjectsV2 { page, continuation_token: None, next_continuation_token: token, start_after: None };
        let entries = keys.iter().map(|key| ObjectEntry {
            key: key.as_bytes(),
            last_modified: Timestamp { seconds: 1_795_478_400, nanos: 123_000_000 },
            etag: b"9bb58f26192e4ba00f01e2e7b136bbd8",
            size: 4096,
            storage_class: "STANDARD",
            owner: None,
            checksum: Some(("CRC32", "FULL_OBJECT")),
        });
        head.write(black_box(&mut out), entries, []);
        assert!(out.ends_with(b"<KeyCount>1000</KeyCount></ListBucketResult>"));
    };
    add("xml: a listing of 1,000 keys", 1, Box::new(listing));

    let objects: String =
        (0..1000).map(|number| format!("<Object><Key>k{number:07}</Key></Object>")).collect();
    let delete = format!("<Delete><Quiet>true</Quiet>{objects}</Delete>");
    let read = move || {
        assert_eq!(Delete::parse(black_box(delete.as_bytes())).expect("well-formed").objects.len(), 1000)
    };
    add("xml: DeleteObjects of 1,000 keys", 1, Box::new(read));
    let part =
        |number| format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{number:032x}\"</ETag></Part>");
    let parts: String = (1..=1000).map(part).collect();
    let complete = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let read = move || {
        let upload = CompleteMultipartUpload::parse(black_box(complete.as_bytes())).expect("well-formed");
        assert_eq!(upload.parts.len(), 1000);
    };
    add("xml: CompleteMultipartUpload of 1,000 parts", 1, Box::new(read));
}

fn body(add: &mut Add<'_>) {
    let data: Vec<u8> = (0..64 * 1024u32).map(|index| (index * 31) as u8).collect();
    let small = data[..4096].to_vec();
    let crc = [Some(Algorithm::Crc64Nvme), None];
    for (name, wanted, data) in [
        ("digest: MD5 of 4 KiB", Wanted { md5: true, ..Wanted::default() }, &small),
        ("digest: MD5 of 64 KiB", Wanted { md5: true, ..Wanted::default() }, &data),
        ("digest: SHA-256 of 64 KiB", Wanted { sha256: true, ..Wanted::default() }, &data),
        ("digest: CRC64NVME of 64 KiB", Wanted { checksums: crc, ..Wanted::default() }, &data),
    ] {
        let data = data.clone();
        let digest = move || {
            let mut digests = BodyDigests::new(wanted);
            digests.update(black_box(&data));
            black_box(digests.finish());
        };
        add(name, 1, Box::new(digest));
    }
}

/// The instruction sets that matter here and are detected.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("sha", is_x86_feature_detected!("sha")),
        ("vpclmulqdq", is_x86_feature_detected!("vpclmulqdq")),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// Of other processors none is looked for.
#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
