use proptest::prelude::*;

use super::*;

fn document(rules: &str) -> String {
    format!("<CORSConfiguration xmlns=\"{}\">{rules}</CORSConfiguration>", super::super::xml::NAMESPACE)
}

fn cors(rules: &str) -> BucketCors {
    BucketCors::parse(document(rules).as_bytes()).unwrap()
}

const ALL: &str = "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>";

#[test]
fn what_a_configuration_may_say() {
    let check = |rules: &str, expected: Option<Code>| {
        let parsed = BucketCors::parse(document(rules).as_bytes());
        assert_eq!(parsed.as_ref().err().map(S3Error::code), expected, "{rules}");
        fuzz(document(rules).as_bytes());
    };
    let rule = |more: &str| {
        format!(
            "<CORSRule>{more}<AllowedOrigin>http://*.a</AllowedOrigin><AllowedMethod>PUT</AllowedMethod></CORSRule>"
        )
    };
    check(ALL, None);
    check("", Some(Code::MalformedXML));
    check("<CORSRule/>", Some(Code::MalformedXML));
    check("<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>", Some(Code::MalformedXML));
    check("<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>", Some(Code::MalformedXML));
    check("<Rule/>", Some(Code::MalformedXML));
    check(&ALL.repeat(100), None);
    check(&ALL.repeat(101), Some(Code::MalformedXML));
    check(&rule("<ID>one</ID><AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>"), None);
    check(&rule("<MaxAgeSeconds>3600</MaxAgeSeconds>"), None);
    check(&rule("<MaxAgeSeconds>0</MaxAgeSeconds>"), None);
    check(&rule("<MaxAgeSeconds>-1</MaxAgeSeconds>"), Some(Code::MalformedXML));
    check(&rule("<MaxAgeSeconds>4294967296</MaxAgeSeconds>"), Some(Code::MalformedXML));
    check(
        &rule("<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>1</MaxAgeSeconds>"),
        Some(Code::MalformedXML),
    );
    check(&rule(&format!("<ID>{}</ID>", "é".repeat(255))), None);
    check(&rule(&format!("<ID>{}</ID>", "é".repeat(256))), Some(Code::MalformedXML));
    check(&rule("<AllowedOrigin>*.a*</AllowedOrigin>"), Some(Code::InvalidRequest));
    check(&rule("<AllowedOrigin/>"), Some(Code::MalformedXML));
    check(&rule("<AllowedHeader>*-*</AllowedHeader>"), Some(Code::InvalidRequest));
    check(&rule("<AllowedMethod>OPTIONS</AllowedMethod>"), Some(Code::InvalidRequest));
    check(&rule("<AllowedMethod>get</AllowedMethod>"), Some(Code::InvalidRequest));
    for name in ["*", "x y", "x\r\ny", "", "é"] {
        check(&rule(&format!("<ExposeHeader>{name}</ExposeHeader>")), Some(Code::InvalidRequest));
    }
    let long = format!("<AllowedHeader>{}</AllowedHeader>", "x".repeat(1000));
    check(&rule(&long.repeat(63)), None);
    check(&rule(&long.repeat(64)), Some(Code::EntityTooLarge));
    check(&rule(&"<AllowedHeader>&lt;</AllowedHeader>".repeat(3000)), Some(Code::EntityTooLarge));
    check(&rule(&format!("<AllowedHeader>{}</AllowedHeader>", "&quot;".repeat(60_000))), None);
}

#[test]
fn no_document_breaks_the_reader() {
    let whole = document(&ALL.replace("<AllowedMethod>", "<ID>é&lt;</ID><AllowedMethod>"));
    for length in 0..=whole.len() {
        fuzz(&whole.as_bytes()[..length]);
    }
}

proptest! {
    #[test]
    fn no_document_of_rules_breaks_the_reader(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..30),
        bytes in any::<Vec<u8>>(),
    ) {
        fuzz(document(&format!("<CORSRule>{}</CORSRule>", pieces.concat())).as_bytes());
        fuzz(&bytes);
    }

    /// The definition: there is a text that, in the place of the star, makes the pattern the text.
    #[test]
    fn patterns_follow_their_definition(pattern in "[ab]{0,3}[*]?[ab]{0,3}", text in "[ab]{0,8}") {
        let expected = pattern == text
            || pattern.contains('*')
                && (0..=text.len()).any(|start| {
                    (start..=text.len()).any(|end| pattern.replace('*', &text[start..end]) == text)
                });
        prop_assert_eq!(fits(&pattern, text.as_bytes()), expected);
    }
}

/// What rules are made of.
const PIECES: &[&str] = &[
    "<AllowedOrigin>*</AllowedOrigin>",
    "<AllowedOrigin>http://a</AllowedOrigin>",
    "<AllowedMethod>GET</AllowedMethod>",
    "<AllowedMethod>PUT</AllowedMethod>",
    "<AllowedHeader>x-*</AllowedHeader>",
    "<ExposeHeader>ETag</ExposeHeader>",
    "<MaxAgeSeconds>1</MaxAgeSeconds>",
    "<ID>é&lt;</ID>",
    "</CORSRule><CORSRule>",
    "<",
    "&amp;",
    "*",
];

#[test]
fn patterns() {
    let check = |pattern: &str, text: &str, expected| {
        assert_eq!(fits(pattern, text.as_bytes()), expected, "{pattern} {text}");
    };
    check("*", "", true);
    check("*", "http://a", true);
    check("http://a", "http://a", true);
    check("http://a", "http://A", false);
    check("http://*.a", "http://.a", true);
    check("http://*.a", "http://b.c.a", true);
    check("http://*.a", "https://b.a", false);
    check("http://*.a", "http://b.ab", false);
    check("start*end", "startend", true);
    check("start*end", "start*end", true);
    check("start*end", "startnd", false);
    check("aba*aba", "aba", false);
    check("a*a", "a", false);
}

#[test]
fn the_first_rule_that_fits_decides() {
    let cors = cors(
        "<CORSRule><ID>1</ID><AllowedOrigin>http://a</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
         <AllowedHeader>X-Amz-*</AllowedHeader></CORSRule>\
         <CORSRule><ID>2</ID><AllowedOrigin>http://a</AllowedOrigin><AllowedOrigin>http://*.b</AllowedOrigin>\
         <AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader></CORSRule>\
         <CORSRule><ID>3</ID><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule>",
    );
    let check = |origin: &str, method: &str, headers: &[&str], expected: Option<&str>| {
        let headers = headers.iter().map(|name| name.as_bytes());
        let rule = cors.rule(origin.as_bytes(), method.as_bytes(), headers);
        assert_eq!(rule.map(|rule| rule.id.as_deref().unwrap()), expected, "{origin} {method}");
    };
    check("http://a", "GET", &[], Some("1"));
    check("http://a", "GET", &["x-amz-date", "X-AMZ-META-a"], Some("1"));
    check("http://a", "GET", &["x-amz-date", "authorization"], Some("2"));
    check("http://a", "PUT", &[], Some("2"));
    check("http://x.b", "GET", &["anything"], Some("2"));
    check("http://x.c", "GET", &[], None);
    check("http://x.c", "HEAD", &[], Some("3"));
    check("http://x.c", "HEAD", &["range"], None);
    check("http://a", "DELETE", &[], None);
    check("", "GET", &[], None);
}
