//! Bodies: every refusal of the chunk decoder, and its independence of how the bytes arrive.

use proptest::prelude::*;

use super::*;

/// One chunk as clients write it; the final chunk has no data and no CRLF after it.
pub fn chunk_text(data: &[u8], signature: Option<&str>) -> Vec<u8> {
    let mut text = format!("{:x}", data.len()).into_bytes();
    if let Some(signature) = signature {
        text.extend_from_slice(format!(";chunk-signature={signature}").as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(data);
    if !data.is_empty() {
        text.extend_from_slice(b"\r\n");
    }
    text
}

type Decoded = (Vec<u8>, Result<Vec<Trailer>, Error>);

/// Decodes a body whole.
pub fn decode(head: &Head, body: &[u8]) -> Decoded {
    decode_in_pieces(head, body, &[usize::MAX])
}

fn decoder(head: &Head) -> Result<Decoder, Error> {
    let rules = rules_at("20130524T000000Z");
    let (payload, seed) = match authorization(head, &rules)? {
        Authorization::Anonymous => (Payload::of_anonymous(head)?, None),
        Authorization::Signed(claim) => {
            (*claim.payload(), Some(verify(head, &claim, &key_of(&claim, SECRET), None)?.seed()))
        }
    };
    Ok(Decoder::new(head, &payload, seed)?.expect("a streamed payload"))
}

fn decode_in_pieces(head: &Head, body: &[u8], pieces: &[usize]) -> Decoded {
    let mut payload = Vec::new();
    let mut decoder = match decoder(head) {
        Ok(decoder) => decoder,
        Err(error) => return (payload, Err(error)),
    };
    let mut lengths = pieces.iter().cycle();
    let mut rest = body;
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at((*lengths.next().unwrap()).clamp(1, rest.len()));
        rest = after;
        while !piece.is_empty() {
            match decoder.step(piece) {
                Ok(step) => {
                    payload.extend_from_slice(&piece[step.data]);
                    piece = &piece[step.consumed..];
                }
                Err(error) => {
                    assert!(decoder.finish().is_err());
                    return (payload, Err(error));
                }
            }
        }
    }
    let end = decoder.finish();
    (payload, end.map(|()| decoder.trailers().to_vec()))
}

/// A head for an unsigned stream.
fn unsigned(length: &str, trailers: &str) -> Head {
    head_of(
        format!(
            "PUT /b/k HTTP/1.1\r\nHost: h\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\
             x-amz-decoded-content-length: {length}\r\nx-amz-trailer: {trailers}\r\n\r\n"
        )
        .as_bytes(),
    )
}

/// A signed head for a stream, and the body that continues its signature.
fn signed(sizes: &[usize], length: usize, trailer: Option<(&str, &str)>) -> (Head, Vec<u8>) {
    let mode = if trailer.is_some() { "-TRAILER" } else { "" };
    let mut signer = Signer::get("/b/k");
    signer.method = "PUT".into();
    signer.payload = format!("STREAMING-AWS4-HMAC-SHA256-PAYLOAD{mode}");
    signer.headers.retain(|(name, _)| name != "X-Amz-Content-Sha256");
    signer.headers.push(("X-Amz-Content-Sha256".into(), signer.payload.clone()));
    signer.headers.push(("X-Amz-Decoded-Content-Length".into(), length.to_string()));
    if let Some((name, _)) = trailer {
        signer.headers.push(("X-Amz-Trailer".into(), name.into()));
    }
    let head = head_of(&signer.by_header());
    let seed = verified(&head, &rules_at(&signer.date)).unwrap();
    let scope = "20130524T000000Z\n20130524/us-east-1/s3/aws4_request";
    let hex_of = |bytes: [u8; 32]| String::from_utf8(hex::encode32(&bytes).to_vec()).unwrap();
    let empty = hex_of(Sha256::digest(b"").into());
    let mut previous = hex_of(seed.signature);
    let mut body = Vec::new();
    for (index, &size) in sizes.iter().chain([&0]).enumerate() {
        let data = vec![b'a' + (index % 26) as u8; size];
        let hash = hex_of(Sha256::digest(&data).into());
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{scope}\n{previous}\n{empty}\n{hash}");
        previous = hex_of(seed.key.sign(text.as_bytes()));
        body.extend_from_slice(&chunk_text(&data, Some(&previous)));
    }
    if let Some((name, value)) = trailer {
        let hash = hex_of(Sha256::digest(format!("{name}:{value}\n")).into());
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{scope}\n{previous}\n{hash}");
        let signature = hex_of(seed.key.sign(text.as_bytes()));
        body.extend_from_slice(
            format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes(),
        );
    }
    body.extend_from_slice(b"\r\n");
    (head, body)
}

#[test]
fn unsigned_streams() {
    #[track_caller]
    fn check(length: &str, trailers: &str, body: &str, expected: Result<&str, Error>) {
        let (payload, end) = decode(&unsigned(length, trailers), body.as_bytes());
        match expected {
            Ok(expected) => {
                let seen: Vec<_> = end
                    .unwrap_or_else(|error| panic!("{body:?}: {error}"))
                    .into_iter()
                    .map(|trailer| format!("{}={}", trailer.name, String::from_utf8_lossy(&trailer.value)))
                    .collect();
                assert_eq!(
                    format!("{} {}", String::from_utf8_lossy(&payload), seen.join(",")),
                    expected,
                    "{body:?}"
                );
            }
            Err(expected) => assert_eq!(end, Err(expected), "{body:?}"),
        }
    }
    let crc = "x-amz-checksum-crc32";
    let line = "x-amz-checksum-crc32:AAAAAA==";
    let malformed = |what| Err(Error::ChunkMalformed(what));
    let trailer = |what| Err(Error::TrailerMalformed(what));
    let incomplete = |expected, received| Err(Error::IncompleteBody { expected, received });

    check("5", crc, &format!("5\r\nhello\r\n0\r\n{line}\r\n\r\n"), Ok("hello x-amz-checksum-crc32=AAAAAA=="));
    // minio-go.
    check(
        "5",
        crc,
        &format!("5\r\nhello\r\n0\r\n{line}\n\r\n\r\n"),
        Ok("hello x-amz-checksum-crc32=AAAAAA=="),
    );
    check("5", "", "2\r\nhe\r\n3;\r\nllo\r\n0\r\n\r\n", Ok("hello "));
    check(
        "5",
        "X-Amz-Checksum-Crc32",
        "5;ext=1\r\nhello\r\n0\r\nX-AMZ-Checksum-CRC32: A \r\n\r\n",
        Ok("hello x-amz-checksum-crc32=A"),
    );
    check("0", "", "0\r\n\r\n", Ok(" "));
    check("26", "", "1A\r\nabcdefghijklmnopqrstuvwxyz\r\n00\r\n\r\n", Ok("abcdefghijklmnopqrstuvwxyz "));

    check("5", "", "", incomplete(5, 0));
    check("5", "", "5\r\nhel", incomplete(5, 3));
    check("5", "", "5\r\nhello\r\n", incomplete(5, 5));
    check("5", "", "5\r\nhello\r\n0\r\n", incomplete(5, 5));
    check("5", "", "4\r\nhell\r\n0\r\n\r\n", incomplete(5, 4));
    check("5", "", "6\r\nhello!\r\n0\r\n\r\n", incomplete(5, 6));
    check("5", "", "3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n", incomplete(5, 6));
    check("5", "", "ffffffffffffffff\r\n", incomplete(5, u64::MAX));

    check("5", "", "\r\n", malformed("the size of a chunk is not hexadecimal"));
    check("5", "", "0x5\r\nhello", malformed("the size of a chunk is not hexadecimal"));
    check("5", "", "00000000000000005\r\nhello", malformed("the size of a chunk is not hexadecimal"));
    check("5", "", "5\nhello", malformed("a chunk line does not end in CRLF"));
    check("5", "", "5\r\nhello!\r\n", malformed("no CRLF after the data of a chunk"));
    check("5", "", "5\r\nhello\n0\r\n\r\n", malformed("no CRLF after the data of a chunk"));
    check("5", "", &format!("5;{}\r\nhello", "x".repeat(300)), malformed("a line is too long"));
    check("5", "", "5\r\nhello\r\n0\r\n\r\n\r\nGET", malformed("bytes after the end of the body"));
    check("5", "", "5\r\nhello\r\n0\r\n\r\n0", malformed("bytes after the end of the body"));

    let body = |tail: &str| format!("5\r\nhello\r\n0\r\n{tail}\r\n\r\n");
    check(
        "5",
        crc,
        &body("x-amz-checksum-crc32c:A"),
        trailer("a trailer that x-amz-trailer does not declare"),
    );
    check("5", "", &body(line), trailer("a trailer that x-amz-trailer does not declare"));
    check("5", crc, &body(&format!("{line}\r\n{line}")), trailer("a trailer is repeated"));
    check("5", crc, &body("x-amz-checksum-crc32"), trailer("a line without a colon"));
    check("5", crc, "5\r\nhello\r\n0\r\n\r\n", trailer("a trailer that x-amz-trailer declares is missing"));
    check("5", crc, &body(&format!("x:{}", "y".repeat(2000))), malformed("a line is too long"));
    let many = (0..17).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
    check("5", &many, "0\r\n\r\n", trailer("x-amz-trailer declares too many trailers"));

    for length in ["", "five", "-5", "+5", "5.0", "99999999999999999999"] {
        check(length, "", "0\r\n\r\n", Err(Error::DecodedLengthInvalid));
    }
}

#[test]
fn a_stream_needs_its_decoded_length() {
    let head = head_of(
        b"PUT /b/k HTTP/1.1\r\nHost: h\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\r\n",
    );
    assert_eq!(decoder(&head).err(), Some(Error::DecodedLengthMissing));
    let twice = head_of(
        b"PUT /b/k HTTP/1.1\r\nHost: h\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\
          x-amz-decoded-content-length: 5\r\nx-amz-decoded-content-length: 6\r\n\r\n",
    );
    assert_eq!(decoder(&twice).err(), Some(Error::DecodedLengthInvalid));
    let plain = Decoder::new(&head, &Payload::Unsigned, None).unwrap();
    assert!(plain.is_none(), "a plain body has no framing");
    let signed = Payload::Streaming { signed: true, trailer: false };
    assert_eq!(Decoder::new(&head, &signed, None).err(), Some(Error::ContentSha256Invalid));
}

#[test]
fn signed_streams() {
    for trailer in [None, Some(("x-amz-checksum-crc32", "AAAAAA=="))] {
        let (head, body) = signed(&[8192, 10000, 1], 18193, trailer);
        let (payload, end) = decode(&head, &body);
        assert_eq!((payload.len(), end.unwrap().len()), (18193, usize::from(trailer.is_some())));
        assert_eq!(decoder(&head).unwrap().decoded_length(), 18193);

        // No byte of the body can change, and none can be missing.
        for index in (0..body.len()).step_by(97).chain(body.len() - 200..body.len()) {
            let mut changed = body.clone();
            changed[index] ^= 1;
            let (_, end) = decode(&head, &changed);
            // The case of a trailer's name and that of hexadecimal sizes are free, and flip with another bit.
            assert!(end.is_err(), "byte {index}");
            assert!(decode(&head, &body[..index]).1.is_err(), "cut at {index}");
        }
    }
}

#[test]
fn refusals_of_signed_streams() {
    let (head, body) = signed(&[8192, 100], 8292, None);
    let error = |body: &[u8]| decode(&head, body).1.unwrap_err();

    let text = String::from_utf8(body.clone()).unwrap();
    let bare = text.replacen(";chunk-signature=", ";signature=", 1);
    assert_eq!(error(bare.as_bytes()), Error::ChunkMalformed("a chunk has no well-formed signature"));
    // The second chunk without the first, and the final chunk alone.
    let first = 4 + ";chunk-signature=".len() + 64 + 2 + 8192 + 2;
    assert!(matches!(error(&body[first..]), Error::SignatureDoesNotMatch(_)));
    let last = body.len() - (1 + ";chunk-signature=".len() + 64 + 4);
    assert_eq!(error(&body[last..]), Error::IncompleteBody { expected: 8292, received: 0 });
    assert_eq!(error(&body[..last]), Error::IncompleteBody { expected: 8292, received: 8292 });
    assert_eq!(
        error(&[&body, b"x".as_slice()].concat()),
        Error::ChunkMalformed("bytes after the end of the body")
    );
    let Error::SignatureDoesNotMatch(mismatch) = error(text.replacen("aaaa", "aaab", 1).as_bytes()) else {
        panic!()
    };
    assert_eq!(&*mismatch.access_key, ACCESS_KEY);
    assert!(
        mismatch
            .string_to_sign
            .starts_with(b"AWS4-HMAC-SHA256-PAYLOAD\n20130524T000000Z\n20130524/us-east-1/")
    );
    assert!(mismatch.canonical_request.is_empty());

    let (head, body) = signed(&[8192, 8191, 8192], 24575, None);
    assert_eq!(decode(&head, &body).1, Err(Error::ChunkTooSmall { chunk: 2, bytes: 8191 }));
    let (head, body) = signed(&[10], 10, None);
    assert!(decode(&head, &body).1.is_ok(), "the last chunk may be small");

    let (head, body) = signed(&[10], 10, Some(("x-amz-checksum-crc32", "AAAAAA==")));
    let text = String::from_utf8(body).unwrap();
    let at = text.find("x-amz-trailer-signature").unwrap();
    let error = |body: String| decode(&head, body.as_bytes()).1.unwrap_err();
    assert_eq!(
        error(text[..at].to_owned() + "\r\n\r\n"),
        Error::TrailerMalformed("the trailer signature is missing")
    );
    assert_eq!(
        error(text[..at].to_owned() + "x-amz-trailer-signature:abc\r\n\r\n"),
        Error::TrailerMalformed("the trailer signature is not well-formed")
    );
    let after = text.trim_end().to_owned() + "\r\nx-amz-checksum-crc32:BBBBBB==\r\n\r\n";
    assert_eq!(error(after), Error::TrailerMalformed("a trailer after the trailer signature"));
    let blank = text.replacen("x-amz-checksum-crc32:", "\r\nx-amz-checksum-crc32:", 1);
    assert_eq!(error(blank), Error::TrailerMalformed("a trailer after an empty line"));
}

#[test]
fn fuzz_corpus_and_seeded_bytes() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    // The first byte sets the announced length, three times its value: "8" is 168 bytes and "0" 144.
    let corpus = [
        "84\r\n".to_owned()
            + &"x".repeat(132)
            + "\r\n24\r\n"
            + &"y".repeat(36)
            + "\r\n0\r\nx-amz-checksum-crc32:A\r\n\r\n",
        "090\r\n".to_owned() + &"x".repeat(144) + "\r\n0\r\nx-amz-checksum-crc32:A\n\r\n\r\n",
        format!("00;chunk-signature={}\r\n\r\n", "0".repeat(64)),
    ];
    for seed in &corpus {
        chunk::fuzz(seed.as_bytes());
        for _ in 0..2000 {
            let mut data = seed.clone().into_bytes();
            for _ in 0..random() % 3 + 1 {
                let index = random() % data.len().max(1);
                if data.is_empty() {
                    break;
                }
                match random() % 3 {
                    0 => data[index] = b"0123456789abcdef;:\r\n"[random() % 20],
                    1 => drop(data.remove(index)),
                    _ => data.truncate(index.max(1)),
                }
            }
            chunk::fuzz(&data);
        }
    }
    for length in 0..300 {
        chunk::fuzz(&(0..length).map(|_| b"01f;:\r\na"[random() % 8]).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_make_no_difference(
        sizes in proptest::collection::vec(8192_usize..9000, 0..3),
        last in 0_usize..100,
        with_trailer in any::<bool>(),
        pieces in proptest::collection::vec(1_usize..3000, 1..40),
    ) {
        let mut sizes = sizes;
        if last > 0 {
            sizes.push(last);
        }
        let length = sizes.iter().sum();
        let (head, body) = signed(&sizes, length, with_trailer.then_some(("x-amz-checksum-crc32", "AAAAAA==")));
        let whole = decode(&head, &body);
        prop_assert_eq!(whole.0.len(), length);
        prop_assert!(whole.1.is_ok());
        prop_assert_eq!(decode_in_pieces(&head, &body, &pieces), whole);
    }
}
