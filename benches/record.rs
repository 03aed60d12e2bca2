//! What the record costs: encoding and decoding of the common object's, of a rich one and of a large multipart one,
//! and of the summary that a listing decodes for each key.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate::storage::record::{Record, Summary};

use self::inputs::{common, multipart, rich};

#[path = "inputs/record.rs"]
mod inputs;

fn bench(criterion: &mut Criterion) {
    for (name, record, bytes_max) in
        [("common", common(), 39), ("rich", rich(), 160), ("multipart", multipart(), 60)]
    {
        let mut bytes = Vec::with_capacity(512);
        criterion.bench_function(&format!("record/encode/{name}"), |bencher| {
            bencher.iter(|| {
                bytes.clear();
                black_box(&record).encode(&mut bytes);
            });
        });
        assert!(bytes.len() <= bytes_max, "{name}: {}", bytes.len());
        assert_eq!(Record::decode(&bytes).as_ref(), Ok(&record));
        criterion.bench_function(&format!("record/decode/{name}"), |bencher| {
            bencher.iter(|| Record::decode(black_box(&bytes)).expect("a record"));
        });
        assert_eq!(Summary::decode(&bytes).map(|summary| summary.etag).as_ref(), Ok(&record.etag));
        criterion.bench_function(&format!("record/summary/{name}"), |bencher| {
            bencher.iter(|| Summary::decode(black_box(&bytes)).expect("a summary"));
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
