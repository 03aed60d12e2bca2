//! Checksums and bodies against what real clients and S3 itself compute.

use proptest::prelude::*;

use super::*;

/// 300,000 bytes with a period that divides no block.
fn long() -> Vec<u8> {
    (0..300_000_u32).map(|index| (index % 251) as u8).collect()
}

/// The checksums of the empty body, of `123456789` and of [`long`], as botocore 1.44.5 with awscrt 0.38.1 sends them
/// (MD5, which botocore does not offer, from Python's hashlib).
#[rustfmt::skip]
const VECTORS: [(Algorithm, [&str; 3]); 10] = [
    (Algorithm::Crc32, ["AAAAAA==", "y/Q5Jg==", "MSHyGA=="]),
    (Algorithm::Crc32c, ["AAAAAA==", "4waSgw==", "bhUrcQ=="]),
    (Algorithm::Crc64Nvme, ["AAAAAAAAAAA=", "rosUhgp5mIg=", "86k1XIneAO0="]),
    (Algorithm::Sha1, ["2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "98O8HYCOBHMq32eZZczDTKeuNEE=", "TsQlVfalAwnM2yKuN3onWYVsAjE="]),
    (Algorithm::Sha256, [
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        "PGXqk0JKnDYv7A46aeo2Ax6KNYRBR53WZcxhEOq+ewg=",
    ]),
    (Algorithm::Sha512, [
        "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
        "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==",
        "1hkhPqhs94Kh7ppBX9rNbyko6yTSdEfuU7Iwx7IfZOVbA0dZVvTy0NA/vrpcDIrxndScZYsoxQqzKkNkgYTTtQ==",
    ]),
    (Algorithm::Md5, ["1B2M2Y8AsgTpgAmY7PhCfg==", "JfnnlDI7RTiF9RgfG2JNCw==", "NPrfKXWDTpo1fsQdPm3wZw=="]),
    (Algorithm::XxHash64, ["70bbN1HY6Zk=", "jLhB20DmroM=", "gzli5TpPnrs="]),
    (Algorithm::XxHash3, ["LQaABTjTlMI=", "ctyxi2ehff8=", "XRKUH0z1QcU="]),
    (Algorithm::XxHash128, ["maoG0wFHmNhgAcMkRo1Jfw==", "MxGUd+3l3NXpcWQnaB1YYA==", "tlr3OMYbX8FdEpQfTPVBxQ=="]),
];

#[test]
fn values_are_those_of_the_sdks() {
    assert_eq!(VECTORS.map(|(algorithm, _)| algorithm), Algorithm::ALL);
    for (algorithm, expected) in VECTORS {
        for (data, expected) in [&b""[..], b"123456789", &long()].into_iter().zip(expected) {
            let checksum = Checksummer::checksum(algorithm, data);
            assert_eq!(checksum.to_string(), expected, "{}", algorithm.name());
            assert_eq!(Checksum::parse(algorithm, expected.as_bytes()), Some(checksum));
            assert_eq!(checksum.as_bytes().len(), algorithm.digest_bytes());
        }
    }
}

#[test]
fn names_are_those_of_the_request_model() {
    for algorithm in Algorithm::ALL {
        let name = algorithm.name();
        assert_eq!(algorithm.header_name(), format!("x-amz-checksum-{}", name.to_lowercase()));
        assert_eq!(algorithm.element_name(), format!("Checksum{name}"));
        assert_eq!(Algorithm::from_name(name.as_bytes()), Some(algorithm));
        assert_eq!(Algorithm::from_name(name.to_lowercase().as_bytes()), Some(algorithm));
        assert_eq!(Algorithm::from_header_name(algorithm.header_name().as_bytes()), Some(algorithm));
        assert_eq!(Algorithm::from_element_name(algorithm.element_name().as_bytes()), Some(algorithm));
        assert_eq!(Algorithm::from_code(algorithm.code()), Some(algorithm));
    }
    assert_eq!(Algorithm::ALL.map(Algorithm::code), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "codes are on disk");
    assert_eq!([Algorithm::from_code(0), Algorithm::from_code(11)], [None, None]);
    for name in ["", "CRC", "CRC32CC", "SHA-256", "XXH3", "CRC64"] {
        assert_eq!(Algorithm::from_name(name.as_bytes()), None, "{name}");
    }
    for name in
        ["x-amz-checksum-", "x-amz-checksum-type", "x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz"]
    {
        assert_eq!(Algorithm::from_header_name(name.as_bytes()), None, "{name}");
    }
    assert_eq!(ChecksumType::from_name(b"FULL_OBJECT"), Some(ChecksumType::FullObject));
    assert_eq!(ChecksumType::from_name(b"COMPOSITE"), Some(ChecksumType::Composite));
    assert_eq!(ChecksumType::from_name(b"FULL"), None);
}

#[test]
fn types_are_those_that_s3_allows() {
    use ChecksumType::{Composite, FullObject};
    for algorithm in Algorithm::ALL {
        let (full_object, composite, default_type) = match algorithm {
            Algorithm::Crc32 | Algorithm::Crc32c => (true, true, Composite),
            Algorithm::Crc64Nvme => (true, false, FullObject),
            _ => (false, true, Composite),
        };
        assert_eq!(algorithm.allows(FullObject), full_object, "{}", algorithm.name());
        assert_eq!(algorithm.allows(Composite), composite, "{}", algorithm.name());
        assert_eq!(algorithm.default_type(), default_type, "{}", algorithm.name());
        assert_eq!(super::FullObject::new(algorithm).is_some(), full_object, "{}", algorithm.name());
    }
}

#[test]
fn values_that_are_not_exactly_base64_of_the_length_are_refused() {
    fn check(algorithm: Algorithm, value: &str) {
        assert_eq!(Checksum::parse(algorithm, value.as_bytes()), None, "{value:?}");
    }
    check(Algorithm::Crc32, "");
    check(Algorithm::Crc32, "y/Q5Jg");
    check(Algorithm::Crc32, "y/Q5Jg=");
    check(Algorithm::Crc32, "y/Q5Jg==\n");
    check(Algorithm::Crc32, " y/Q5Jg=");
    check(Algorithm::Crc32, "y_Q5Jg==");
    check(Algorithm::Crc32, "y/Q5Jh==");
    check(Algorithm::Crc32, "y/Q5JgA=");
    check(Algorithm::Crc32, "y/Q5JgAA");
    check(Algorithm::Crc32, "y/Q=====");
    check(Algorithm::Crc32, "cbf43926");
    check(Algorithm::Crc64Nvme, "y/Q5Jg==");
    check(Algorithm::Md5, "JfnnlDI7RTiF9RgfG2JNC");
    check(Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b");
    check(Algorithm::Sha512, &"A".repeat(88));
}

/// Captured from S3 (eu-west-1, 2026-09-03): an upload of parts of 5, 5 and 1 MiB.
#[test]
fn composite_is_that_of_s3() {
    let parts = [
        "lcKa6Boe7a167tUCN5C4OaFygGSYD8MBnBARTrdL+1w=",
        "gHjhbUT4oo2tSCtSZJdlKi+jeNXJT+VImqdPXsXvkOc=",
        "4l9PQ3zOPZ0oGFvknFX+J4zZwE4WMzO+l3r8XrbWOeM=",
    ];
    let parts = parts.map(|part| Checksum::parse(Algorithm::Sha256, part.as_bytes()).unwrap());
    let object = composite(Algorithm::Sha256, parts);
    assert_eq!(object.to_string(), "rVWtNbadtsaKXJAcgWPWjifHzJaXde/iV4jaJAOdivc=-3");
    assert_eq!(Composite::parse(Algorithm::Sha256, object.to_string().as_bytes()), Some(object));
}

/// Three parts of [`long`]; the values from the libraries of [`VECTORS`].
#[test]
fn composites_of_every_algorithm() {
    #[rustfmt::skip]
    let expected = [
        "BoftHw==-3",
        "fH7EnA==-3",
        "Ss/qUY2hOQU=-3",
        "53nOV6Fo47/s/FJ2YChFpIutCE8=-3",
        "L3RJqJADeF7xjs+9D7s4v/X1jyxZT+S2af3V3CsTxRg=-3",
        "vCXum29NYR7j+WsXx+STghf8hnESGP3kXgAtF5uIepiud26atN4VO2UVRM+X2gC6W8oKjpBA4jfAekLZhOcECw==-3",
        "TdkulHWZFu35c2h8omCAxA==-3",
        "quKarEn4uzA=-3",
        "tE818Q4dcfM=-3",
        "7qMf33151k8IrFpKxc2pDg==-3",
    ];
    let data = long();
    for (algorithm, expected) in Algorithm::ALL.into_iter().zip(expected) {
        let parts = data.chunks(100_000).map(|part| Checksummer::checksum(algorithm, part));
        assert_eq!(composite(algorithm, parts).to_string(), expected);
    }
}

#[test]
fn composites_that_are_malformed_are_refused() {
    for value in
        ["", "-", "y/Q5Jg==", "y/Q5Jg==-", "y/Q5Jg==-0", "y/Q5Jg==-03", "y/Q5Jg==-+3", "y/Q5Jg==-10001"]
    {
        assert_eq!(Composite::parse(Algorithm::Crc32, value.as_bytes()), None, "{value:?}");
    }
    for value in
        ["y/Q5Jg-3", "y/Q5Jg==-100000", "y/Q5Jg==-99999999999999999999", "y/Q5Jg==-3-3", "y/Q5Jg==-3 "]
    {
        assert_eq!(Composite::parse(Algorithm::Crc32, value.as_bytes()), None, "{value:?}");
    }
    assert_eq!(
        Composite::parse(Algorithm::Crc32, b"y/Q5Jg==-10000").map(|value| value.parts_count),
        Some(10_000)
    );
}

#[test]
fn a_body_computes_what_is_wanted_and_nothing_else() {
    let data = &long()[..20_000];
    let expected = Algorithm::ALL.map(|algorithm| Checksummer::checksum(algorithm, data));
    let expected = |algorithm: Algorithm| expected[usize::from(algorithm.code()) - 1];
    for first in [None].into_iter().chain(Algorithm::ALL.map(Some)) {
        for second in [None].into_iter().chain(Algorithm::ALL.map(Some)) {
            let bits = [false, true];
            for (md5, sha256) in bits.into_iter().flat_map(|md5| bits.map(|sha256| (md5, sha256))) {
                let mut body = BodyDigests::new(Wanted { md5, sha256, checksums: [first, second] });
                // More than a slice, and not a multiple of it.
                body.update(&data[..17]);
                body.update(&data[17..]);
                let digests = body.finish();
                assert_eq!(digests.checksums, [first.map(expected), second.map(expected)]);

                let wants = |algorithm| first == Some(algorithm) || second == Some(algorithm);
                let md5 = (md5 || wants(Algorithm::Md5)).then(|| expected(Algorithm::Md5));
                let sha256 = (sha256 || wants(Algorithm::Sha256)).then(|| expected(Algorithm::Sha256));
                assert_eq!(digests.md5.as_ref().map(|md5| &md5[..]), md5.as_ref().map(Checksum::as_bytes));
                assert_eq!(
                    digests.sha256.as_ref().map(|sha| &sha[..]),
                    sha256.as_ref().map(Checksum::as_bytes)
                );
            }
        }
    }
}

#[test]
fn bodies_whose_hashes_are_computed_together_equal_those_alone() {
    let data = long();
    let wanted = |index: usize| Wanted {
        md5: index % 3 != 2,
        sha256: index % 3 != 1,
        checksums: [Some(Algorithm::Crc32), None],
    };
    for count in [1, 2, 5, 40] {
        let mut bodies: Vec<_> = (0..count).map(|index| BodyDigests::new(wanted(index))).collect();
        for round in [1_usize, 1000, 30_000] {
            let piece = |index: usize| &data[index * 1000..][..round + index * 100];
            let mut hashes: Vec<_> = bodies.iter_mut().map(BodyDigests::take_hashes).collect();
            let jobs = hashes.iter_mut().enumerate();
            update_many(&mut jobs.map(|(index, hashes)| (hashes, piece(index))).collect::<Vec<_>>());
            for (index, (body, hashes)) in bodies.iter_mut().zip(hashes).enumerate() {
                body.put_hashes(hashes);
                body.update_checksums(piece(index));
            }
        }
        check_together(bodies, &data, wanted);
    }
}

fn check_together(bodies: Vec<BodyDigests>, data: &[u8], wanted: impl Fn(usize) -> Wanted) {
    for (index, body) in bodies.into_iter().enumerate() {
        let mut alone = BodyDigests::new(wanted(index));
        for round in [1_usize, 1000, 30_000] {
            alone.update(&data[index * 1000..][..round + index * 100]);
        }
        let (together, alone) = (body.finish(), alone.finish());
        assert_eq!(together.md5, alone.md5);
        assert_eq!(together.sha256, alone.sha256);
        assert_eq!(together.checksums, alone.checksums);
    }
}

#[test]
fn a_state_that_requests_carry_stays_small() {
    assert!(size_of::<Checksummer>() <= 256, "{}", size_of::<Checksummer>());
    assert!(size_of::<BodyDigests>() <= 768, "{}", size_of::<BodyDigests>());
}

#[test]
fn fuzz_on_a_corpus_and_mutations() {
    let mut corpus: Vec<Vec<u8>> =
        VECTORS.iter().flat_map(|(_, values)| values.map(|value| value.into())).collect();
    corpus.extend(VECTORS.iter().map(|(_, values)| format!("{}-12", values[2]).into_bytes()));
    for algorithm in Algorithm::ALL {
        corpus.extend([
            algorithm.name().into(),
            algorithm.header_name().into(),
            algorithm.element_name().into(),
        ]);
    }
    corpus.extend([b"FULL_OBJECT".to_vec(), b"COMPOSITE".to_vec(), b"x-amz-checksum-type".to_vec(), vec![]]);

    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for seed in &corpus {
        fuzz(seed);
        for _ in 0..200 {
            let mut data = seed.clone();
            for _ in 0..=next(3) {
                match next(4) {
                    0 if !data.is_empty() => drop(data.remove(next(data.len()))),
                    1 if !data.is_empty() => {
                        let at = next(data.len());
                        data[at] = next(256) as u8;
                    }
                    2 => data.truncate(next(data.len() + 1)),
                    _ => data.insert(next(data.len() + 1), b"=-+/Aa09\0\xff"[next(10)]),
                }
            }
            fuzz(&data);
        }
    }
    for _ in 0..2000 {
        let bytes = next(100);
        fuzz(&(0..bytes).map(|_| next(256) as u8).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn cuts_do_not_matter(
        data in proptest::collection::vec(any::<u8>(), 0..3000),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(data.len() + 1)).collect();
        cuts.sort_unstable();
        for algorithm in Algorithm::ALL {
            let mut checksummer = Checksummer::new(algorithm);
            let mut start = 0;
            for cut in cuts.iter().copied().chain([data.len()]) {
                checksummer.update(&data[start..cut]);
                start = cut;
            }
            prop_assert_eq!(checksummer.algorithm(), algorithm);
            prop_assert_eq!(checksummer.finish(), Checksummer::checksum(algorithm, &data));
        }
    }

    #[test]
    fn checksums_of_parts_make_that_of_the_object(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
    ) {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let mut object = FullObject::new(algorithm).unwrap();
            for part in &parts {
                object.append(Checksummer::checksum(algorithm, part), part.len() as u64);
            }
            let whole = parts.concat();
            prop_assert_eq!(object.checksum(), Checksummer::checksum(algorithm, &whole));
            prop_assert_eq!(object.bytes(), whole.len() as u64);
        }
    }
}
