//! What the record costs: encoding and decoding of the common object's, of a rich one and of a large multipart one,
//! and of the summary that a listing decodes for each key.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate::codec::dates::Timestamp;
use sluicegate::digest::Algorithm;
use sluicegate::storage::record::{
    ETag, FieldText, HeaderField, PartTable, Record, StoredChecksum, Summary, Tags, UserMetadata,
};

fn common() -> Record {
    let mut record = Record::new(4096, Timestamp { seconds: 1_763_900_000, nanos: 1 }, ETag::Md5([7; 16]));
    record.headers.set(HeaderField::ContentType, FieldText::parse(b"binary/octet-stream").ok());
    record.checksum = StoredChecksum::full_object(Algorithm::Crc32, &[1, 2, 3, 4]).ok();
    record
}

fn rich() -> Record {
    let mut record = common();
    record.headers.set(HeaderField::CacheControl, FieldText::parse(b"max-age=31536000, immutable").ok());
    record.headers.set(HeaderField::ContentEncoding, FieldText::parse(b"gzip").ok());
    let pairs = [(&b"mtime"[..], &b"1763900000.123456789"[..]), (b"owner", b"alice"), (b"mode", b"33188")];
    record.user_metadata = UserMetadata::from_pairs(pairs).expect("legal metadata");
    record.tags = Tags::from_pairs([("project", "sluice"), ("stage", "raw")]).expect("legal tags");
    record
}

fn multipart() -> Record {
    let mut record = common();
    let sizes = std::iter::repeat_n(8 << 20, 9_999).chain([12_345]);
    let parts = PartTable::from_sizes(sizes).expect("a legal table");
    record.size = parts.total_bytes();
    record.parts = Some(parts);
    record.etag = ETag::Parts { digest: [7; 16], part_count: 10_000 };
    record
}

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
