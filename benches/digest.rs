//! The MD5 of many uploads at once against one after the other, and all digests of one body.
//!
//! The figure that decides is the throughput of `md5/lanes/N` beside `md5/alone/N`: N uploads, each with a buffer of
//! 256 KiB that has just arrived. Every result is compared with the md-5 crate first.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use md5::Digest as _;
use sluicegate::digest::{
    Algorithm, BodyDigests, Checksum, Checksummer, FullObject, Md5State, Wanted, update_many,
};

const BUFFER_BYTES: usize = 256 << 10;

/// Buffers that differ from each other.
fn buffers(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|seed| (0..BUFFER_BYTES).map(|index| (index * 31 + seed * 7) as u8).collect()).collect()
}

fn lanes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("md5");
    for count in [1, 2, 3, 4, 6, 8, 12, 16, 32] {
        let buffers = buffers(count);
        let mut states = vec![Md5State::new(); count];
        let mut jobs: Vec<_> = states.iter_mut().zip(buffers.iter().map(Vec::as_slice)).collect();
        update_many(&mut jobs);
        for (state, buffer) in states.into_iter().zip(&buffers) {
            assert_eq!(state.finish()[..], md5::Md5::digest(buffer)[..]);
        }

        group.throughput(Throughput::Bytes((count * BUFFER_BYTES) as u64));
        group.bench_function(BenchmarkId::new("lanes", count), |bencher| {
            let mut states = vec![Md5State::new(); count];
            bencher.iter(|| {
                let mut jobs: Vec<_> = states.iter_mut().zip(buffers.iter().map(Vec::as_slice)).collect();
                update_many(black_box(&mut jobs));
            });
        });
        group.bench_function(BenchmarkId::new("alone", count), |bencher| {
            let mut states = vec![Md5State::new(); count];
            bencher.iter(|| {
                for (state, buffer) in states.iter_mut().zip(&buffers) {
                    state.update(black_box(buffer));
                }
            });
        });
    }
    let buffer = &buffers(1)[0];
    group.throughput(Throughput::Bytes(BUFFER_BYTES as u64));
    group.bench_function("md-5 crate/1", |bencher| bencher.iter(|| md5::Md5::digest(black_box(buffer))));
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

criterion_group!(benches, lanes, body, full_object);
criterion_main!(benches);
