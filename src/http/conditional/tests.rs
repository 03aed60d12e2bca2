use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

const ETAG: &str = "9bb58f26192e4ba00f01e2e7b136bbd8";
const MODIFIED: &str = "Fri, 24 May 2013 00:00:00 GMT";
const BEFORE: &str = "Thu, 23 May 2013 23:59:59 GMT";
const AFTER: &str = "Fri, 24 May 2013 00:00:01 GMT";

fn object() -> Validators<'static> {
    // The fraction is not shown in Last-Modified, so it must not count as "modified since".
    let last_modified = Timestamp { seconds: 1_369_353_600, nanos: 999_999_999 };
    Validators { etag: ETAG.as_bytes(), last_modified }
}

fn head(lines: &str) -> Head {
    let text = format!("GET /b/k HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    Head::parse(&mut BytesMut::from(text.as_str())).unwrap().unwrap()
}

/// The lines with `{etag}`, `{modified}`, `{before}` and `{after}` filled in.
fn filled(lines: &str) -> String {
    let pairs = [("{etag}", ETAG), ("{modified}", MODIFIED), ("{before}", BEFORE), ("{after}", AFTER)];
    pairs.iter().fold(lines.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

#[test]
fn reads_follow_the_order_of_rfc_9110() {
    use ReadOutcome::{Failed, NotModified, Proceed};
    for (lines, expected) in [
        ("", Proceed),
        ("If-Match: \"{etag}\"\r\n", Proceed),
        ("If-Match: {etag}\r\n", Proceed),
        ("If-Match: *\r\n", Proceed),
        ("If-Match: \"x\", \"{etag}\"\r\n", Proceed),
        ("If-Match: \"x\"\r\nif-match: \"{etag}\"\r\n", Proceed),
        ("If-Match: \"x\"\r\n", Failed("If-Match")),
        ("If-Match: W/\"{etag}\"\r\n", Failed("If-Match")),
        ("If-Match: \"*\"\r\n", Failed("If-Match")),
        ("If-Match:\r\n", Failed("If-Match")),
        ("If-None-Match: \"x\"\r\n", Proceed),
        ("If-None-Match:\r\n", Proceed),
        ("If-None-Match: \"{etag}\"\r\n", NotModified),
        ("If-None-Match: {etag}\r\n", NotModified),
        ("If-None-Match: W/\"{etag}\"\r\n", NotModified),
        ("If-None-Match: *\r\n", NotModified),
        ("If-Modified-Since: {before}\r\n", Proceed),
        ("If-Modified-Since: {modified}\r\n", NotModified),
        ("If-Modified-Since: {after}\r\n", NotModified),
        ("If-Modified-Since: yesterday\r\n", Proceed),
        ("If-Unmodified-Since: {before}\r\n", Failed("If-Unmodified-Since")),
        ("If-Unmodified-Since: {modified}\r\n", Proceed),
        ("If-Unmodified-Since: {after}\r\n", Proceed),
        ("If-Unmodified-Since: yesterday\r\n", Proceed),
        // The combinations that S3 documents.
        ("If-Match: \"{etag}\"\r\nIf-Unmodified-Since: {before}\r\n", Proceed),
        ("If-None-Match: \"{etag}\"\r\nIf-Modified-Since: {before}\r\n", NotModified),
        // The others that the order decides.
        ("If-Match: \"x\"\r\nIf-Unmodified-Since: {after}\r\n", Failed("If-Match")),
        ("If-None-Match: \"x\"\r\nIf-Modified-Since: {after}\r\n", Proceed),
        ("If-Match: \"x\"\r\nIf-None-Match: \"{etag}\"\r\n", Failed("If-Match")),
        ("If-Match: \"{etag}\"\r\nIf-None-Match: \"{etag}\"\r\n", NotModified),
        ("If-Unmodified-Since: {before}\r\nIf-None-Match: \"{etag}\"\r\n", Failed("If-Unmodified-Since")),
        // Headers of copies are none of a read's.
        ("x-amz-copy-source-if-match: \"x\"\r\n", Proceed),
    ] {
        let head = head(&filled(lines));
        assert_eq!(ReadConditions::of_request(&head).evaluate(&object()), expected, "{lines:?}");
    }
}

#[test]
fn copy_sources_fail_where_reads_are_not_modified() {
    use ReadOutcome::{Failed, Proceed};
    for (lines, expected) in [
        ("", Proceed),
        ("If-None-Match: \"{etag}\"\r\n", Proceed),
        ("x-amz-copy-source-if-match: \"{etag}\"\r\n", Proceed),
        ("x-amz-copy-source-if-match: \"x\"\r\n", Failed("x-amz-copy-source-If-Match")),
        ("x-amz-copy-source-if-none-match: {etag}\r\n", Failed("x-amz-copy-source-If-None-Match")),
        (
            "x-amz-copy-source-if-modified-since: {modified}\r\n",
            Failed("x-amz-copy-source-If-Modified-Since"),
        ),
        (
            "x-amz-copy-source-if-unmodified-since: {before}\r\n",
            Failed("x-amz-copy-source-If-Unmodified-Since"),
        ),
        (
            "x-amz-copy-source-if-match: \"{etag}\"\r\nx-amz-copy-source-if-unmodified-since: {before}\r\n",
            Proceed,
        ),
        (
            "x-amz-copy-source-if-none-match: \"{etag}\"\r\nx-amz-copy-source-if-modified-since: {before}\r\n",
            Failed("x-amz-copy-source-If-None-Match"),
        ),
    ] {
        let head = head(&filled(lines));
        assert_eq!(ReadConditions::of_copy_source(&head).evaluate(&object()), expected, "{lines:?}");
    }
}

#[test]
fn writes_with_and_without_an_object() {
    use WriteOutcome::{Failed, Missing, Proceed};
    for (lines, existing, absent) in [
        ("", Proceed, Proceed),
        ("If-None-Match: *\r\n", Failed("If-None-Match"), Proceed),
        ("If-None-Match: \"{etag}\"\r\n", Failed("If-None-Match"), Proceed),
        ("If-None-Match: \"x\"\r\n", Proceed, Proceed),
        ("If-Match: \"{etag}\"\r\n", Proceed, Missing),
        ("If-Match: {etag}\r\n", Proceed, Missing),
        ("If-Match: *\r\n", Proceed, Missing),
        ("If-Match: \"x\"\r\n", Failed("If-Match"), Missing),
        ("If-Match: \"{etag}\"\r\nIf-None-Match: *\r\n", Failed("If-None-Match"), Missing),
        ("If-Modified-Since: {after}\r\nIf-Unmodified-Since: {before}\r\n", Proceed, Proceed),
    ] {
        let head = head(&filled(lines));
        let conditions = WriteConditions::of_request(&head);
        assert_eq!(conditions.evaluate(Some(&object())), existing, "{lines:?}");
        assert_eq!(conditions.evaluate(None), absent, "{lines:?}");
        assert_eq!(conditions.is_create_only(), lines == "If-None-Match: *\r\n", "{lines:?}");
        assert_eq!(conditions.is_empty(), !lines.contains("Match"), "{lines:?}");
    }
}

#[test]
fn if_range() {
    for (value, holds) in [
        ("\"{etag}\"", true),
        ("{etag}", true),
        ("{modified}", true),
        ("W/\"{etag}\"", false),
        ("\"x\"", false),
        ("*", false),
        ("", false),
        ("{before}", false),
        ("{after}", false),
    ] {
        assert_eq!(if_range_holds(filled(value).as_bytes(), &object()), holds, "{value}");
    }
}

#[test]
fn lists_of_tags() {
    #[track_caller]
    fn check(list: &str, expected: &[Tag<'_>]) {
        let found: Vec<_> = Elements { rest: list.as_bytes() }.collect();
        assert_eq!(found, expected, "{list}");
    }
    check("", &[]);
    check(" , ,", &[]);
    check("\"a\" , W/\"b\",c", &[Tag::Strong(b"a"), Tag::Weak(b"b"), Tag::Strong(b"c")]);
    check("\"a,b\",\"\"", &[Tag::Strong(b"a,b"), Tag::Strong(b"")]);
    check("a , *", &[Tag::Strong(b"a"), Tag::Any]);
    check("W/a, w/b", &[Tag::Weak(b"a"), Tag::Strong(b"w/b")]);
    check("\"a\"junk,b", &[Tag::Strong(b"a"), Tag::Strong(b"b")]);
    check("\"open, \"b", &[Tag::Strong(b"open, ")]);
    check("\"open", &[Tag::Strong(b"open")]);
    check("W/", &[Tag::Weak(b"")]);
}

#[test]
fn fuzz_over_a_corpus() {
    for data in ["\"", "W/", "W/\"", ",,,\"", "*", "\"a\"\"b\"", "W/W/\"a\"", MODIFIED] {
        fuzz(data.as_bytes());
    }
}

proptest! {
    #[test]
    fn fuzz_over_random_lists(data in "[\"W/*, ab]{0,16}") {
        fuzz(data.as_bytes());
    }

    #[test]
    fn fuzz_over_random_bytes(data: Vec<u8>) {
        fuzz(&data);
    }
}
