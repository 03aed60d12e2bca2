use proptest::prelude::*;

use super::*;

/// A PUT as boto3 1.43 sends it over plain HTTP.
const BOTO3_PUT: &str = "PUT /bucket/a%20key?x-id=PutObject HTTP/1.1\r\n\
    Host: localhost:9000\r\n\
    Accept-Encoding: identity\r\n\
    x-amz-checksum-crc32: NSRBwg==\r\n\
    x-amz-sdk-checksum-algorithm: CRC32\r\n\
    User-Agent: Boto3/1.43.1 md/Botocore#1.43.1 ua/2.1 os/linux#6.18 md/arch#x86_64 lang/python#3.13\r\n\
    X-Amz-Date: 20261124T000000Z\r\n\
    X-Amz-Content-SHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\r\n\
    Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261124/us-east-1/s3/aws4_request, \
    SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00\r\n\
    amz-sdk-invocation-id: 6f5e2d1c-0f5b-4b7f-9a52-70f3a2f8a1d4\r\n\
    amz-sdk-request: attempt=1\r\n\
    Expect: 100-Continue\r\n\
    Content-Length: 3\r\n\r\n";

fn parse(text: &str) -> Result<Option<Head>, HeadError> {
    Head::parse(&mut BytesMut::from(text))
}

/// The head of a request with `lines` after a valid `Host`.
fn with(lines: &str) -> Result<Head, HeadError> {
    parse(&format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n"))
        .map(|head| head.expect("a complete head"))
}

#[test]
fn a_request_of_boto3() {
    let mut buf = BytesMut::from(format!("{BOTO3_PUT}abcGET /").as_str());
    let head = Head::parse(&mut buf).unwrap().unwrap();
    assert_eq!(&buf[..], b"abcGET /");
    assert_eq!((head.method(), head.method_bytes()), (Method::Put, &b"PUT"[..]));
    assert_eq!((head.path(), head.query()), (&b"/bucket/a%20key"[..], &b"x-id=PutObject"[..]));
    assert_eq!(head.host(), Some(&b"localhost:9000"[..]));
    assert_eq!(head.header("x-amz-date"), Some(&b"20261124T000000Z"[..]));
    assert_eq!(head.header("x-amz-security-token"), None);
    assert_eq!(head.framing(), Framing::Length(3));
    assert!(head.keep_alive() && head.expect_continue() && !head.is_http10() && !head.is_asterisk());
    assert_eq!(head.headers().count(), 12);
    assert_eq!(head.headers().nth(5), Some((&b"X-Amz-Date"[..], &b"20261124T000000Z"[..])));
    assert_eq!(head.bytes_len(), BOTO3_PUT.len());
    let shown = format!("{head:?}");
    assert!(!shown.contains("Signature") && !shown.contains("x-id"), "{shown}");
}

#[test]
fn repeated_headers_keep_their_order() {
    let head = with("X-A: 1\r\nx-b: 2\r\nx-a:\t 3 \t\r\nX-Empty:\r\nX-Blank:  ").unwrap();
    let values: Vec<&[u8]> = head.header_all("x-a").collect();
    assert_eq!(values, [b"1", b"3"]);
    assert_eq!(head.header("x-a"), Some(&b"1"[..]));
    assert_eq!((head.header("x-empty"), head.header("x-blank")), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!(with("x-utf8: \u{e9}").unwrap().header("x-utf8"), Some("é".as_bytes()));
}

#[test]
fn methods() {
    for (text, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("PUT", Method::Put),
        ("POST", Method::Post),
        ("DELETE", Method::Delete),
        ("OPTIONS", Method::Options),
        ("PATCH", Method::Other),
        ("get", Method::Other),
    ] {
        let head = parse(&format!("{text} / HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap().unwrap();
        assert_eq!((head.method(), head.method_bytes()), (method, text.as_bytes()));
    }
}

#[test]
fn targets() {
    #[track_caller]
    fn check(line: &str, expected: Result<(&str, &str, &str), HeadError>) {
        let head = parse(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).map(Option::unwrap);
        let found = head.as_ref().map(|head| {
            let text = |bytes| str::from_utf8(bytes).unwrap();
            (text(head.path()), text(head.query()), text(head.host().unwrap()))
        });
        assert_eq!(found, expected.as_ref().copied());
    }
    check("GET /", Ok(("/", "", "h")));
    check("GET /?", Ok(("/", "", "h")));
    check("GET //a/../b%2f?acl&x=?y", Ok(("//a/../b%2f", "acl&x=?y", "h")));
    check("GET http://b.example:9000/k?q", Ok(("/k", "q", "b.example:9000")));
    check("GET HTTPS://[::1]:9000", Ok(("/", "", "[::1]:9000")));
    check("GET http://b?q=1", Ok(("/", "q=1", "b")));
    check("OPTIONS *", Ok(("/", "", "h")));
    check("GET *", Err(HeadError::Target));
    check("OPTIONS *a", Err(HeadError::Target));
    check("GET b/k", Err(HeadError::Target));
    check("GET ?q", Err(HeadError::Target));
    check("GET /a#b", Err(HeadError::Target));
    check("GET ftp://h/", Err(HeadError::Target));
    check("GET http:///k", Err(HeadError::Target));
    check("CONNECT h:443", Err(HeadError::Target));
    check("GET http://user@h/", Err(HeadError::InvalidHost));
    check("GET  /", Err(HeadError::RequestLine));
    check("GET / ", Err(HeadError::VersionNotSupported));
    check("GET\t/", Err(HeadError::RequestLine));
    check("GET /a b", Err(HeadError::VersionNotSupported));
    check("GET", Err(HeadError::RequestLine));
    check("G(T /", Err(HeadError::RequestLine));
    assert!(parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().unwrap().is_asterisk());
}

#[test]
fn versions_and_persistence() {
    for (version, lines, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = parse(&format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n")).unwrap().unwrap();
        assert_eq!(
            (head.keep_alive(), head.is_http10()),
            (keep_alive, version == "1.0"),
            "{version} {lines}"
        );
    }
    for version in ["0.9", "1.2", "2.0", "1", "11"] {
        let error = parse(&format!("GET / HTTP/{version}\r\nHost: h\r\n\r\n")).unwrap_err();
        assert_eq!((error, error.status()), (HeadError::VersionNotSupported, 505), "{version}");
    }
    let http10 =
        parse("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").unwrap().unwrap();
    assert!(!http10.expect_continue() && http10.host().is_none());
}

#[test]
fn framing_is_unambiguous_or_refused() {
    for (lines, expected) in [
        ("X: y", Ok(Framing::None)),
        ("Content-Length: 0", Ok(Framing::Length(0))),
        ("content-length: 007", Ok(Framing::Length(7))),
        ("Content-Length: 18446744073709551615", Ok(Framing::Length(u64::MAX))),
        ("Content-Length: 5\r\nContent-Length: 5", Ok(Framing::Length(5))),
        ("Transfer-Encoding: chunked", Ok(Framing::Chunked)),
        ("Transfer-Encoding: Chunked", Ok(Framing::Chunked)),
        ("Content-Length: 18446744073709551616", Err(HeadError::InvalidContentLength)),
        ("Content-Length:", Err(HeadError::InvalidContentLength)),
        ("Content-Length: -1", Err(HeadError::InvalidContentLength)),
        ("Content-Length: +1", Err(HeadError::InvalidContentLength)),
        ("Content-Length: 0x1", Err(HeadError::InvalidContentLength)),
        ("Content-Length: 1 1", Err(HeadError::InvalidContentLength)),
        ("Content-Length: 5, 5", Err(HeadError::InvalidContentLength)),
        ("Content-Length: 5\r\nContent-Length: 6", Err(HeadError::ConflictingContentLength)),
        ("Content-Length: 5\r\nContent-Length: 05", Err(HeadError::ConflictingContentLength)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Err(HeadError::LengthAndTransferEncoding)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Err(HeadError::LengthAndTransferEncoding)),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", Err(HeadError::LengthAndTransferEncoding)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err(HeadError::InvalidTransferEncoding)),
        ("Transfer-Encoding:", Err(HeadError::InvalidTransferEncoding)),
        ("Transfer-Encoding: identity", Err(HeadError::NotImplementedTransferEncoding)),
        ("Transfer-Encoding: gzip, chunked", Err(HeadError::NotImplementedTransferEncoding)),
        ("Transfer-Encoding: chunked, chunked", Err(HeadError::NotImplementedTransferEncoding)),
        ("Transfer-Encoding: xchunked", Err(HeadError::NotImplementedTransferEncoding)),
        ("Transfer-Encoding: chunked;q=1", Err(HeadError::NotImplementedTransferEncoding)),
        ("Transfer-Encoding: \x0bchunked", Err(HeadError::HeaderValue)),
        ("Transfer-Encoding : chunked", Err(HeadError::HeaderName)),
    ] {
        assert_eq!(with(lines).map(|head| head.framing()), expected, "{lines:?}");
    }
    let old = parse("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.unwrap_err(), HeadError::InvalidTransferEncoding);
    assert_eq!(HeadError::NotImplementedTransferEncoding.status(), 501);
}

#[test]
fn lines_that_readers_disagree_on_are_refused() {
    for (text, expected) in [
        ("GET / HTTP/1.1\nHost: h\n\n", HeadError::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", HeadError::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", HeadError::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\n", HeadError::FoldedHeader),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", HeadError::FoldedHeader),
        ("GET / HTTP/1.1\r\nHost: h\r\n\tX: y\r\n\r\n", HeadError::FoldedHeader),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", HeadError::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", HeadError::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\n: empty\r\n\r\n", HeadError::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nX\0: y\r\n\r\n", HeadError::HeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: y\0z\r\n\r\n", HeadError::HeaderValue),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: y\rz: w\r\n\r\n", HeadError::HeaderValue),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: y\x7f\r\n\r\n", HeadError::HeaderValue),
        ("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", HeadError::RequestLine),
        ("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", HeadError::RequestLine),
        ("GET / HTTP/1.1\r\n\r\n", HeadError::MissingHost),
        ("GET http://h/ HTTP/1.1\r\n\r\n", HeadError::MissingHost),
        ("GET / HTTP/1.1\r\nHost: h\r\nHOST: h\r\n\r\n", HeadError::DuplicateHost),
        ("GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n", HeadError::DuplicateHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HeadError::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HeadError::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", HeadError::InvalidHost),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::RequestLine),
        ("\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::RequestLine),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::RequestLine),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::RequestLine),
        ("\x16\x03\x01", HeadError::RequestLine),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected, "{text:?}");
    }
}

#[test]
fn one_leading_empty_line_is_skipped() {
    let mut buf = BytesMut::from("\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\nrest");
    assert_eq!(Head::parse(&mut buf).unwrap().unwrap().path(), b"/a");
    assert_eq!(&buf[..], b"rest");
}

#[test]
fn limits_of_size_and_count() {
    let head_of = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "y".repeat(bytes - frame))
    };
    assert_eq!(parse(&head_of(HEAD_BYTES_MAX)).unwrap().unwrap().bytes_len(), HEAD_BYTES_MAX);
    assert_eq!(parse(&head_of(HEAD_BYTES_MAX + 1)).unwrap_err(), HeadError::HeadTooLarge);
    // Refused when the limit is reached, not when the end arrives.
    assert_eq!(parse(&head_of(HEAD_BYTES_MAX + 1)[..HEAD_BYTES_MAX]).unwrap_err(), HeadError::HeadTooLarge);
    assert!(parse(&head_of(HEAD_BYTES_MAX)[..HEAD_BYTES_MAX - 1]).unwrap().is_none());

    let lines = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    assert_eq!(parse(&lines(HEADERS_MAX)).unwrap().unwrap().headers().count(), HEADERS_MAX);
    assert_eq!(parse(&lines(HEADERS_MAX + 1)).unwrap_err(), HeadError::TooManyHeaders);
    assert_eq!(HeadError::TooManyHeaders.code(), "RequestHeaderSectionTooLarge");
}

#[test]
fn the_reader_looks_at_no_byte_twice() {
    let mut reader = HeadReader::default();
    let mut buf = BytesMut::new();
    for (index, byte) in BOTO3_PUT.bytes().enumerate() {
        assert_eq!(reader.is_started(), index > 0);
        buf.extend_from_slice(&[byte]);
        let head = reader.read(&mut buf).unwrap();
        let complete = index + 1 == BOTO3_PUT.len();
        assert_eq!(head.is_some(), complete);
        assert_eq!(reader.scanned, if complete { 0 } else { index + 1 });
    }
    // The reader is ready for the next request of the connection.
    buf.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(reader.read(&mut buf).unwrap().unwrap().path(), b"/next");
}

#[test]
fn fuzz_over_a_corpus() {
    let corpus = [
        BOTO3_PUT,
        "\r\nGET http://h?q HTTP/1.0\r\nHost:\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n x: y\r\n\r\n",
    ];
    for seed in corpus {
        fuzz(seed.as_bytes());
        for index in 0..seed.len() {
            for byte in [0, b'\r', b'\n', b' ', b':', b',', b'#', 0x80, 0xff] {
                let mut mutated = seed.as_bytes().to_vec();
                mutated[index] = byte;
                fuzz(&mutated);
            }
            let mut shortened = seed.as_bytes().to_vec();
            shortened.remove(index);
            fuzz(&shortened);
        }
    }
}

proptest! {
    #[test]
    fn fuzz_over_random_bytes(data: Vec<u8>) {
        fuzz(&data);
    }

    #[test]
    fn fuzz_over_random_heads(
        target in "[/a-z?#%*:]{0,20}",
        lines in prop::collection::vec("([A-Za-z-]{1,8}|Host|Content-Length|Transfer-Encoding)[: ]{1,2}[ -~]{0,9}\r?", 0..6),
    ) {
        fuzz(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n", lines.join("\n")).as_bytes());
        fuzz(format!("GET /{target} HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n", lines.join("\r\n")).as_bytes());
    }
}
