//! MD5 and SHA-256 of many uploads at once against one after the other, and all digests of one body.
//!
//! The figures that decide are the throughputs of `together/N` beside `alone/N`: N uploads, each with a buffer of 256 KiB
//! that has just arrived. Every result is compared with the md-5 and sha2 crates first.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use md5::Digest as _;
use sluicegate::digest::{Algorithm, BodyDigests, Checksum, Checksummer, FullObject, Wanted, update_many};

const BUFFER_BYTES: usize = 256 << 10;

/// Buffers that differ from each other.
fn buffers(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|seed| (0..BUFFER_BYTES).map(|index| (index * 31 + seed * 7) as u8).collect()).collect()
}

fn many(criterion: &mut Criterion) {
    for (name, md5, sha256) in [("md5", true, false), ("sha256", false, true), ("md5+sha256", true, true)] {
        let wanted = Wanted { md5, sha256, ..Wanted::default() };
        let mut group = criterion.benchmark_group(name);
        for count in [1, 2, 3, 4, 6, 8, 12, 16, 32] {
            let buffers = buffers(count);
            let mut bodies = vec![BodyDigests::new(wanted); count];
            let mut hashes: Vec<_> = bodies.iter_mut().map(BodyDigests::take_hashes).collect();
            update_many(&mut hashes.iter_mut().zip(buffers.iter().map(Vec::as_slice)).collect::<Vec<_>>());
            for ((mut body, hashes), buffer) in bodies.into_iter().zip(hashes).zip(&buffers) {
                body.put_hashes(hashes);
                let digests = body.finish();
                assert!(digests.md5.is_none_or(|digest| digest[..] == md5::Md5::digest(buffer)[..]));
                assert!(digests.sha256.is_none_or(|digest| digest[..] == sha2::Sha256::digest(buffer)[..]));
            }

            group.throughput(Throughput::Bytes((count * BUFFER_BYTES) as u64));
            group.bench_function(BenchmarkId::new("together", count), |bencher| {
                let mut hashes = vec![BodyDigests::new(wanted).take_hashes(); count];
                bencher.iter(|| {
                    let mut jobs: Vec<_> = hashes.iter_mut().zip(buffers.iter().map(Vec::as_slice)).collect();
                    update_many(black_box(&mut jobs));
                });
            });
            group.bench_function(BenchmarkId::new("alone", count), |bencher| {
                let mut bodies = vec![BodyDigests::new(wanted); count];
                bencher.iter(|| {
                    for (body, buffer) in bodies.iter_mut().zip(&buffers) {
                        body.update(black_box(buffer));
                    }
                });
            });
        }
        group.finish();
    }
    let buffer = &buffers(1)[0];
    let mut group = criterion.benchmark_group("crates");
    group.throughput(Throughput::Bytes(BUFFER_BYTES as u64));
    group.bench_function("md-5", |bencher| bencher.iter(|| md5::Md5::digest(black_box(buffer))));
    group.bench_function("sha2", |bencher| bencher.iter(|| sha2::Sha256::digest(black_box(buffer))));
    group.finish();
}

fn body(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    // Larger than the second-level cache, as a body that streams by is.
    let data = buffers(16).concat();
    group.throughput(Throughput::Bytes(data.len() as u64));
    let crc = [Some(Algorithm::Crc64Nvme), None];
    for (name, wanted) in [
        ("crc64nvme", Wanted { checksums: crc, ..Wanted::default() }),
        ("sha256", Wanted { sha256: true, ..Wanted::default() }),
        ("md5", Wanted { md5: true, ..Wanted::default() }),
        ("md5+sha256+crc64nvme", Wanted { md5: true, sha256: true, checksums: crc }),
    ] {
        let mut once = BodyDigests::new(wanted);
        once.update(&data);
        let digests = once.finish();
        assert!(digests.md5.is_none_or(|md5| md5[..] == md5::Md5::digest(&data)[..]));
        assert!(digests.checksums[0].is_none_or(|sum| sum == Checksummer::checksum(sum.algorithm(), &data)));

        group.bench_function(name, |bencher| {
            let mut digests = BodyDigests::new(wanted);
            bencher.iter(|| digests.update(black_box(&data)));
        });
    }
    group.finish();
}

/// One checksum of 10,000 parts of 8 MiB, as Complete computes it.
fn full_object(criterion: &mut Criterion) {
    let part = Checksum::parse(Algorithm::Crc64Nvme, b"rosUhgp5mIg=").expect("the checksum of 123456789");
    let combine = |parts_count| {
        let mut object = FullObject::new(Algorithm::Crc64Nvme).expect("CRCs can be combined");
        for _ in 0..parts_count {
            object.append(black_box(part), 8 << 20);
        }
        object.checksum()
    };
    assert_eq!(combine(1), part);
    criterion.bench_function("full_object/10000 parts", |bencher| bencher.iter(|| combine(10_000)));
}

criterion_group!(benches, many, body, full_object);
criterion_main!(benches);
