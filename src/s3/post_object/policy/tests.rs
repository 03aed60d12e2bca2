use proptest::prelude::*;

use super::super::form;
use super::*;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 0 };
const LATER: &str = "2023-11-14T22:13:21Z";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut body = Vec::new();
    for (name, value) in pairs {
        body.extend_from_slice(
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
    form::parse(&body, b"\r\n--b", true).unwrap().0
}

fn document(conditions: &str) -> String {
    format!("{{\"expiration\": \"{LATER}\", \"conditions\": [{conditions}]}}")
}

#[test]
fn what_a_document_may_say() {
    let check = |json: &str, expected: Option<&str>| {
        let error = Policy::parse(&BASE64_STANDARD.encode(json)).err();
        assert!(error.as_ref().is_none_or(|error| error.code() == Code::InvalidPolicyDocument), "{json}");
        match (expected, error) {
            (None, None) => {}
            (Some(text), Some(error)) => assert!(error.message().contains(text), "{json}: {error}"),
            (expected, error) => panic!("{json}: {expected:?} {error:?}"),
        }
        fuzz(json.as_bytes());
        for length in 0..json.len() {
            fuzz(&json.as_bytes()[..length]);
        }
    };
    check(&document(""), None);
    check(
        &document("{\"bucket\": \"b\"}, [\"EQ\", \"$KEY\", \"k\"], [\"Starts-With\", \"$key\", \"\"]"),
        None,
    );
    check(&document("[\"content-length-range\", 0, 10], [\"Content-Length-Range\", \"1\", \"9\"]"), None);
    check("", Some("not JSON"));
    check("[]", Some("no JSON object"));
    check("{}", Some("missing expiration"));
    check(&format!("{{\"EXPIRATION\": \"{LATER}\", \"conditions\": []}}"), Some("EXPIRATION"));
    check(&format!("{{\"expiration\": \"{LATER}\"}}"), Some("missing conditions"));
    check(&format!("{{\"expiration\": \"{LATER}\", \"CONDITIONS\": []}}"), Some("CONDITIONS"));
    check(&format!("{{\"expiration\": \"{LATER}\", \"conditions\": {{}}}}"), Some("missing conditions"));
    for expiration in
        ["\"2023-11-14 22:13:21+00:00\"", "\"2023-11-14T22:13:21\"", "\"2023-11-14\"", "1", "null"]
    {
        check(&format!("{{\"expiration\": {expiration}, \"conditions\": []}}"), Some("'expiration'"));
    }
    check(&document("{}"), Some("exactly one"));
    check(&document("{\"a\": \"b\", \"c\": \"d\"}"), Some("exactly one"));
    check(&document("{\"a\": 1}"), Some("string"));
    check(&document("\"a\""), Some("object or a list"));
    check(&document("[]"), Some("arguments"));
    check(&document("[\"eq\", \"$a\"]"), Some("arguments"));
    check(&document("[\"eq\", \"$a\", \"b\", \"c\"]"), Some("arguments"));
    check(&document("[\"eq\", \"a\", \"b\"]"), Some("'$'"));
    check(&document("[\"ends-with\", \"$a\", \"b\"]"), Some("operator"));
    for range in ["0", "-1, 0", "0, 1.5", "\"x\", 1", "\"\", 1", "2, 1", "0, 18446744073709551616"] {
        let list = format!("[\"content-length-range\", {range}]");
        let expected = if range == "0" { "arguments" } else { "content-length-range" };
        check(&document(&list), Some(expected));
    }
    assert_eq!(Policy::parse("%").unwrap_err().code(), Code::InvalidPolicyDocument);
    // Deep nesting must not exhaust the stack.
    fuzz("[".repeat(20_000).as_bytes());
}

#[test]
fn what_a_form_may_say() {
    let bucket = BucketName::parse(b"photos").unwrap();
    let check = |conditions: &str, pairs: &[(&str, &str)], expected: Option<&str>| {
        let json = document(&format!("{{\"bucket\": \"photos\"}}{conditions}"));
        let policy = Policy::parse_json(json.as_bytes()).unwrap();
        match (expected, policy.check(&fields(pairs), &bucket, NOW)) {
            (None, Ok(_)) => {}
            (Some(text), Err(error)) => {
                assert_eq!(error.code(), Code::AccessDenied);
                let text = format!("Invalid according to Policy: {text}");
                assert_eq!(error.message(), text, "{conditions} {pairs:?}");
            }
            (expected, other) => panic!("{conditions} {pairs:?}: {expected:?} {other:?}"),
        }
    };
    check("", &[], None);
    check("", &[("key", "k")], Some("Extra input fields: key"));
    check(",{\"key\": \"k\"}", &[("KEY", "k")], None);
    check(",{\"kEy\": \"k\"}", &[("key", "K")], Some("Policy Condition failed: [\"eq\",\"$key\",\"k\"]"));
    check(",{\"key\": \"k\"}", &[], Some("Policy Condition failed: [\"eq\",\"$key\",\"k\"]"));
    check(",[\"starts-with\", \"$key\", \"user/\"]", &[("key", "user/a")], None);
    let failed = "Policy Condition failed: [\"starts-with\",\"$key\",\"user/\"]";
    check(",[\"starts-with\", \"$key\", \"user/\"]", &[("key", "users")], Some(failed));
    check(",[\"starts-with\", \"$key\", \"\"]", &[("key", "anything")], None);
    let failed = "Policy Condition failed: [\"starts-with\",\"$key\",\"\"]";
    check(",[\"starts-with\", \"$key\", \"\"]", &[], Some(failed));
    // A file's name is put in before.
    check(",[\"eq\", \"$key\", \"a/f\"]", &[("key", "a/${filename}")], None);
    let images = ",[\"starts-with\", \"$Content-Type\", \"image/\"]";
    check(images, &[("Content-Type", "image/png, image/jpeg")], None);
    let failed = "Policy Condition failed: [\"starts-with\",\"$content-type\",\"image/\"]";
    check(images, &[("Content-Type", "image/png, text/plain")], Some(failed));
    let signature = [
        ("policy", "x"),
        ("AWSAccessKeyId", "x"),
        ("Signature", "x"),
        ("X-Amz-Signature", "x"),
        ("x-ignore-it", "x"),
    ];
    check("", &signature, None);
    check("", &[("x-amz-checksum-crc32", "x")], None);
    check("", &[("x-amz-credential", "x")], Some("Extra input fields: x-amz-credential"));
    check("", &[("x-amz-meta-a", "x")], Some("Extra input fields: x-amz-meta-a"));
    check("", &[("submit", "Upload")], Some("Extra input fields: submit"));
    // Another bucket in a field is not the bucket of the address.
    check("", &[("bucket", "music")], None);
    check(
        ",[\"eq\", \"$bucket\", \"music\"]",
        &[("bucket", "music")],
        Some("Policy Condition failed: [\"eq\",\"$bucket\",\"music\"]"),
    );
}

proptest! {
    #[test]
    fn no_bytes_break_the_parser(
        bytes in any::<Vec<u8>>(),
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..30),
    ) {
        fuzz(&bytes);
        fuzz(document(&pieces.concat()).as_bytes());
    }
}

/// What documents are made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"eq\"",
    "\"starts-with\"",
    "\"content-length-range\"",
    "\"$key\"",
    "\"bucket\"",
    "\"\"",
    "0",
    "-1",
    "1e9",
    "null",
    "{\"bucket\": \"bucket\"}",
    "[\"content-length-range\", 0, 1]",
];

#[test]
fn the_bucket_must_be_named_and_the_time_not_be_over() {
    let bucket = BucketName::parse(b"photos").unwrap();
    let message = |json: &str, now| {
        let refused = Policy::parse_json(json.as_bytes()).unwrap().check(&Fields::default(), &bucket, now);
        refused.map_err(|error| error.message().to_owned())
    };
    let named = document(
        "{\"bucket\": \"photos\"}, [\"content-length-range\", 1, 10], [\"content-length-range\", 0, 9]",
    );
    assert_eq!(message(&named, NOW), Ok(1..=9));
    assert_eq!(message(&named, Timestamp::from_seconds(NOW.seconds + 1)), Ok(1..=9));
    let late = message(&named, Timestamp::from_seconds(NOW.seconds + 2));
    assert_eq!(late, Err("Invalid according to Policy: Policy expired.".into()));
    let unnamed = "Invalid according to Policy: Extra input fields: bucket";
    assert_eq!(message(&document(""), NOW), Err(unnamed.into()));
}
