//! What goes over the wire for each kind of failure.

use super::*;

fn body(error: &S3Error, subject: &Subject<'_>) -> String {
    let mut out = Vec::new();
    error.write_xml(&mut out, subject, "4442587FB7D0A2F9", "host-1");
    String::from_utf8(out).expect("the answer is UTF-8")
}

const OBJECT: Subject<'_> = Subject { path: b"/b1/a%26b", bucket: Some("b1"), key: Some(b"a&b") };

#[test]
fn a_plain_code() {
    let error = S3Error::from(Code::NoSuchKey);
    assert_eq!(
        body(&error, &OBJECT),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
         <Message>The specified key does not exist.</Message><Key>a&amp;b</Key><BucketName>b1</BucketName>\
         <Resource>/b1/a%26b</Resource><RequestId>4442587FB7D0A2F9</RequestId><HostId>host-1</HostId></Error>"
    );
    assert_eq!(size_of::<S3Error>(), 16);
}

#[test]
fn own_text_and_elements_come_escaped_and_win_over_the_common_ones() {
    let error = Code::InvalidBucketName.because("A <name> & more.").with("BucketName", "B\"\u{1}é");
    assert_eq!(
        body(&error, &Subject { path: b"/\xff", bucket: Some("b1"), key: None }),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidBucketName</Code>\
         <Message>A &lt;name&gt; &amp; more.</Message><BucketName>B&quot;\u{fffd}é</BucketName>\
         <Resource>/\u{fffd}</Resource><RequestId>4442587FB7D0A2F9</RequestId><HostId>host-1</HostId></Error>"
    );
}

#[test]
fn nothing_is_said_about_a_subject_that_is_not_known() {
    let text = body(&Code::BadRequest.into(), &Subject::default());
    assert!(
        !text.contains("<Key>") && !text.contains("<BucketName>") && !text.contains("<Resource>"),
        "{text}"
    );
}

#[test]
fn elements_of_each_failure() {
    let now = Timestamp::from_seconds(1_369_353_600);
    let later = Timestamp::from_seconds(1_369_353_601);
    let check = |error: S3Error, code: Code, elements: &[(&str, &str)]| {
        assert_eq!(error.code(), code, "{error:?}");
        let found: Vec<(&str, &str)> = error.extras().iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(found, elements, "{error:?}");
    };
    check(
        S3Error::invalid_argument("max-keys", "x", "No."),
        Code::InvalidArgument,
        &[("ArgumentName", "max-keys"), ("ArgumentValue", "x")],
    );
    check(
        S3Error::method_not_allowed(b"PATCH", "OBJECT", "GET"),
        Code::MethodNotAllowed,
        &[("Method", "PATCH"), ("ResourceType", "OBJECT")],
    );
    check(S3Error::not_implemented("Query", "append"), Code::NotImplemented, &[("Query", "append")]);
    check(
        S3Error::invalid_range(b"bytes=9-", 5),
        Code::InvalidRange,
        &[("RangeRequested", "bytes=9-"), ("ActualObjectSize", "5")],
    );
    check(S3Error::precondition_failed("If-Match"), Code::PreconditionFailed, &[("Condition", "If-Match")]);
    check(S3Error::invalid_access_key_id("AK"), Code::InvalidAccessKeyId, &[("AWSAccessKeyId", "AK")]);
    check(
        S3Error::signature_does_not_match("AK", b"s\n", b"00", b"c"),
        Code::SignatureDoesNotMatch,
        &[
            ("AWSAccessKeyId", "AK"),
            ("StringToSign", "s\n"),
            ("SignatureProvided", "00"),
            ("StringToSignBytes", "73 0a"),
            ("CanonicalRequest", "c"),
            ("CanonicalRequestBytes", "63"),
        ],
    );
    check(
        S3Error::unsupported_authorization(b"Bearer hunter2"),
        Code::InvalidArgument,
        &[("ArgumentName", "Authorization"), ("ArgumentValue", "Bearer")],
    );
    check(S3Error::signature_version_2(), Code::InvalidRequest, &[]);
    check(S3Error::wrong_region("x", "y"), Code::AuthorizationHeaderMalformed, &[("Region", "y")]);
    check(
        S3Error::wrong_region_in_query("x", "y"),
        Code::AuthorizationQueryParametersError,
        &[("Region", "y")],
    );
    check(
        S3Error::request_expired(1, now, later),
        Code::AccessDenied,
        &[
            ("X-Amz-Expires", "1"),
            ("Expires", "2013-05-24T00:00:00Z"),
            ("ServerTime", "2013-05-24T00:00:01Z"),
        ],
    );
    check(
        S3Error::request_time_too_skewed(b"20130524T000000Z", later, 900_000),
        Code::RequestTimeTooSkewed,
        &[
            ("RequestTime", "20130524T000000Z"),
            ("ServerTime", "2013-05-24T00:00:01Z"),
            ("MaxAllowedSkewMilliseconds", "900000"),
        ],
    );
    check(S3Error::missing_date(), Code::AccessDenied, &[]);
    check(S3Error::two_authorizations(), Code::InvalidArgument, &[("ArgumentName", "Authorization")]);
    check(S3Error::headers_not_signed("x-amz-acl"), Code::AccessDenied, &[("HeadersNotSigned", "x-amz-acl")]);
    check(S3Error::invalid_token(b"t"), Code::InvalidToken, &[("Token-0", "t")]);
    check(S3Error::expired_token(b"t"), Code::ExpiredToken, &[("Token-0", "t")]);
    check(
        S3Error::content_sha256_mismatch(&[0; 32], &[0xff; 32]),
        Code::XAmzContentSHA256Mismatch,
        &[("ClientComputedContentSHA256", &"00".repeat(32)), ("S3ComputedContentSHA256", &"ff".repeat(32))],
    );
    check(S3Error::invalid_content_md5(b"x"), Code::InvalidDigest, &[("Content-MD5", "x")]);
    check(
        S3Error::content_md5_mismatch("a", "b"),
        Code::BadDigest,
        &[("ExpectedDigest", "a"), ("CalculatedDigest", "b")],
    );
    check(S3Error::invalid_checksum("x-amz-checksum-crc32"), Code::InvalidRequest, &[]);
    check(S3Error::checksum_mismatch("CRC32"), Code::BadDigest, &[]);
    check(S3Error::several_checksums(), Code::InvalidRequest, &[]);
    check(
        S3Error::invalid_chunk_size(2, 3),
        Code::InvalidChunkSizeError,
        &[("Chunk", "2"), ("BadChunkSize", "3")],
    );
    let early = S3Error::request_not_valid_yet(1, later, now);
    assert_eq!(
        (early.message(), early.extra("Expires")),
        ("Request is not valid yet", Some("2013-05-24T00:00:01Z"))
    );
}

#[test]
fn the_allowed_methods_go_into_a_header() {
    assert_eq!(S3Error::method_not_allowed(b"PUT", "SERVICE", "GET, POST").allow(), Some("GET, POST"));
    assert_eq!(S3Error::from(Code::NoSuchKey).allow(), None);
}

#[test]
fn values_never_reach_a_log() {
    let error = S3Error::invalid_token(b"very-secret");
    assert!(!format!("{error:?}").contains("very-secret") && format!("{error:?}").contains("Token-0"));
    assert_eq!(format!("{error}"), "InvalidToken: The provided token is malformed or otherwise invalid.");
}
