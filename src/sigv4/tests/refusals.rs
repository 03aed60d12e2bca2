//! The table of refusals: one row for each way in which a claim can be wrong.

use super::*;

/// A good request, of which one part is changed.
fn by_header(change: impl FnOnce(&mut Signer)) -> String {
    let mut signer = Signer::get("/bucket/key");
    change(&mut signer);
    String::from_utf8(signer.by_header()).unwrap()
}

fn by_query(expires: &str, change: impl FnOnce(&mut Signer)) -> String {
    let mut signer = Signer::get("/bucket/key");
    signer.headers.retain(|(name, _)| name == "Host");
    change(&mut signer);
    String::from_utf8(signer.by_query(expires)).unwrap()
}

fn result_at(text: &str, rules: &Rules<'_>) -> Result<(), Error> {
    verified(&head_of(text.as_bytes()), rules).map(|_| ())
}

#[track_caller]
fn check(text: &str, expected: Error) {
    assert_eq!(result_at(text, &rules_at("20130524T000000Z")), Err(expected), "{text}");
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn the_unchanged_requests_are_good() {
    let rules = rules_at("20130524T000000Z");
    assert_eq!(result_at(&by_header(|_| ()), &rules), Ok(()));
    assert_eq!(result_at(&by_query("600", |_| ()), &rules), Ok(()));
}

#[test]
fn bad_signature() {
    let text = by_header(|_| ());
    for (from, to) in [
        ("GET ", "PUT "),
        ("/bucket/key", "/bucket/kez"),
        ("/bucket/key ", "/bucket/key?acl "),
        ("s3.example.com", "s4.example.com"),
        ("Signature=", "Signature=0000000000000000000000000000000000000000000000000000000000000000,Old="),
    ] {
        let changed = text.replacen(from, to, 1).replace(",Old=", ";");
        let changed = match changed.find(';').filter(|_| to.contains("Old")) {
            Some(_) => {
                let end = changed.find("Signature=").unwrap() + "Signature=".len() + 64;
                format!("{}\r\n\r\n", &changed[..end])
            }
            None => changed,
        };
        let result = result_at(&changed, &rules_at("20130524T000000Z"));
        assert!(matches!(result, Err(Error::SignatureDoesNotMatch(_))), "{changed}: {result:?}");
    }
    let text = by_query("600", |_| ());
    for (from, to) in [("X-Amz-Expires=600", "X-Amz-Expires=601"), ("GET ", "PUT "), (" HTTP", "&x=y HTTP")] {
        let result = result_at(&text.replacen(from, to, 1), &rules_at("20130524T000000Z"));
        assert!(matches!(result, Err(Error::SignatureDoesNotMatch(_))), "{to}: {result:?}");
    }
}

/// A list that names a header the request does not have matches nothing, although an empty value would.
#[test]
fn a_signed_header_that_is_absent() {
    let text = by_header(|signer| signer.headers.push(header("X-Gone", "")));
    assert_eq!(result_at(&text, &rules_at("20130524T000000Z")), Ok(()));
    let result = result_at(&text.replacen("X-Gone: \r\n", "", 1), &rules_at("20130524T000000Z"));
    assert!(matches!(result, Err(Error::SignatureDoesNotMatch(_))), "{result:?}");
}

#[test]
fn authorization_headers_that_are_none() {
    let with = |value: &str| format!("GET /b/k HTTP/1.1\r\nHost: h\r\nAuthorization: {value}\r\n\r\n");
    check(&with("junk"), Error::AuthorizationInvalid { scheme: "junk".into() });
    check(&with("Bearer x"), Error::AuthorizationTypeUnsupported { scheme: "Bearer".into() });
    check(&with("AWS AKIA:c2ln"), Error::SignatureVersion2);
    check(&with("AWS4-HMAC-SHA256 x=y"), Error::HeaderMalformed(Fault::UnknownField));
    let text = by_header(|_| ());
    let twice = text.replacen("Authorization: ", "Authorization: AWS4-HMAC-SHA256 x\r\nAuthorization: ", 1);
    check(&twice, Error::AuthorizationInvalid { scheme: "".into() });
    check(
        "GET /b/k?AWSAccessKeyId=A&Expires=1&Signature=s HTTP/1.1\r\nHost: h\r\n\r\n",
        Error::SignatureVersion2,
    );
}

#[test]
fn scopes() {
    let region = || Fault::Region { given: "eu-west-1".into(), expected: REGION.into() };
    let service = Fault::Service { expected: "s3" };
    type Row = (fn(&mut Signer), Fault);
    let rows: [Row; 3] = [
        (|signer| signer.region = "eu-west-1".into(), region()),
        (|signer| signer.region = "".into(), Fault::Region { given: "".into(), expected: REGION.into() }),
        (|signer| signer.service = "sts".into(), service),
    ];
    for (change, fault) in rows {
        check(&by_header(change), Error::HeaderMalformed(fault.clone()));
        check(&by_query("600", change), Error::QueryMalformed(fault));
    }
    let other_day =
        |text: String| text.replacen("20130524/", "20130523/", 1).replacen("20130524%2F", "20130523%2F", 1);
    check(&other_day(by_header(|_| ())), Error::HeaderMalformed(Fault::ScopeDateDiffers));
    check(&other_day(by_query("600", |_| ())), Error::QueryMalformed(Fault::ScopeDateDiffers));
    check(&by_header(|_| ()).replace("aws4_request", "aws4"), Error::HeaderMalformed(Fault::Terminal));
}

#[test]
fn the_location_of_a_bucket_can_be_asked_from_us_east_1() {
    let rules =
        |location_request| Rules { region: "eu-west-1", location_request, ..rules_at("20130524T000000Z") };
    let text = by_header(|signer| signer.parameters.push(header("location", "")));
    assert_eq!(result_at(&text, &rules(true)), Ok(()));
    let fault = Fault::Region { given: REGION.into(), expected: "eu-west-1".into() };
    assert_eq!(result_at(&text, &rules(false)), Err(Error::HeaderMalformed(fault)));
    let text = by_header(|signer| signer.region = "mars-1".into());
    assert!(result_at(&text, &rules(true)).is_err());
}

#[test]
fn skew() {
    let text = by_header(|_| ());
    let request_time = Timestamp::parse_amz(b"20130524T000000Z").unwrap();
    for (now, good) in [
        ("20130524T001500Z", true),
        ("20130524T001501Z", false),
        ("20130523T234500Z", true),
        ("20130523T234459Z", false),
        ("20230524T000000Z", false),
    ] {
        let rules = rules_at(now);
        let expected = if good {
            Ok(())
        } else {
            Err(Error::RequestTimeTooSkewed { request_time, server_time: rules.now })
        };
        assert_eq!(result_at(&text, &rules), expected, "{now}");
    }
}

#[test]
fn dates_of_headers() {
    let without_date = |signer: &mut Signer| signer.headers.retain(|(name, _)| name != "X-Amz-Date");
    check(&by_header(without_date), Error::DateMissing);
    for text in ["", "yesterday", "2013-05-24T00:00:00Z", "20130524T000000", "20139924T000000Z"] {
        let request = by_header(|signer| {
            without_date(signer);
            signer.headers.push(header("X-Amz-Date", text));
            // A good Date does not help: x-amz-date wins.
            signer.headers.push(header("Date", "Fri, 24 May 2013 00:00:00 GMT"));
        });
        check(&request, Error::DateMissing);
    }
    check(
        &by_header(|signer| signer.headers.push(header("X-Amz-Date", "20130524T000000Z"))),
        Error::DateMissing,
    );
    for text in ["Fri, 24 May 2013 00:00:00 GMT", "20130524T000000Z"] {
        let request = by_header(|signer| {
            without_date(signer);
            signer.headers.push(header("Date", text));
        });
        assert_eq!(result_at(&request, &rules_at("20130524T000000Z")), Ok(()), "{text}");
    }
}

#[test]
fn presigned_life() {
    let text = by_query("600", |_| ());
    let expires_at = Timestamp::parse_amz(b"20130524T001000Z").unwrap();
    let expired = |server_time| Error::PresignedExpired { expires_seconds: 600, expires_at, server_time };
    let early = |server_time| Error::PresignedNotYetValid { expires_seconds: 600, expires_at, server_time };
    type Expected<'e> = Option<&'e dyn Fn(Timestamp) -> Error>;
    let rows: [(&str, Expected<'_>); 6] = [
        ("20130524T001000Z", None),
        ("20130524T001001Z", Some(&expired)),
        ("20140524T000000Z", Some(&expired)),
        ("20130523T234500Z", None),
        ("20130523T234459Z", Some(&early)),
        ("20130524T000000Z", None),
    ];
    for (now, error) in rows {
        let rules = rules_at(now);
        assert_eq!(result_at(&text, &rules), error.map_or(Ok(()), |error| Err(error(rules.now))), "{now}");
    }
    // No skew check: a URL of seven days is good on the seventh.
    assert_eq!(result_at(&by_query("604800", |_| ()), &rules_at("20130531T000000Z")), Ok(()));
    // A URL of no life is over as soon as the clock has moved at all.
    let mut rules = rules_at("20130524T000000Z");
    rules.now.nanos = 1;
    assert!(matches!(result_at(&by_query("0", |_| ()), &rules), Err(Error::PresignedExpired { .. })));
}

#[test]
fn presigned_parameters() {
    check(
        "GET /b?X-Amz-Credential=x HTTP/1.1\r\nHost: h\r\n\r\n",
        Error::QueryMalformed(Fault::Missing("X-Amz-Algorithm")),
    );
    for (expires, fault) in
        [("x", Fault::ExpiresNotANumber), ("-7", Fault::ExpiresNegative), ("604801", Fault::ExpiresTooLong)]
    {
        check(&by_query(expires, |_| ()), Error::QueryMalformed(fault));
    }
}

#[test]
fn two_mechanisms() {
    let both =
        by_query("600", |_| ()).replacen("\r\n\r\n", "\r\nAuthorization: AWS4-HMAC-SHA256 x\r\n\r\n", 1);
    check(&both, Error::TwoMechanisms);
    let version2 = by_header(|_| ()).replacen(" HTTP", "?AWSAccessKeyId=A&Signature=s HTTP", 1);
    check(&version2, Error::TwoMechanisms);
}

#[test]
fn headers_that_must_be_signed() {
    let unsigned = |names: &str| Error::HeadersNotSigned { names: names.into() };
    let add = |text: String, lines: &str| text.replacen("\r\n\r\n", &format!("\r\n{lines}\r\n"), 1);
    for text in [by_header(|_| ()), by_query("600", |_| ())] {
        check(&add(text.clone(), "X-Amz-Meta-A: b\r\n"), unsigned("x-amz-meta-a"));
        check(&add(text.clone(), "x-amz-acl: private\r\nX-AMZ-b: c\r\n"), unsigned("x-amz-acl, x-amz-b"));
        check(&add(text.clone(), "X-Amz-Security-Token: t\r\n"), unsigned("x-amz-security-token"));
        let others = add(text, "X-Amzn-Trace-Id: 1\r\nContent-Type: text/plain\r\nUser-Agent: x\r\n");
        assert_eq!(result_at(&others, &rules_at("20130524T000000Z")), Ok(()));
    }
    let no_host = by_header(|_| ()).replacen("SignedHeaders=host;", "SignedHeaders=", 1);
    check(&no_host, unsigned("host"));
    // x-amz-content-sha256 is the last line of what is signed: naming it is not required.
    let mut signer = Signer::get("/bucket/key");
    signer.headers.retain(|(name, _)| name != "X-Amz-Content-Sha256");
    let text = String::from_utf8(signer.by_header()).unwrap();
    let text = add(text, "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n");
    assert_eq!(result_at(&text, &rules_at("20130524T000000Z")), Ok(()));
}

#[test]
fn payload_hashes() {
    let with = |value: &str| {
        by_header(|signer| {
            signer.headers.retain(|(name, _)| name != "X-Amz-Content-Sha256");
            signer.headers.push(header("X-Amz-Content-Sha256", value));
            signer.payload = value.to_owned();
        })
    };
    let missing = by_header(|signer| signer.headers.retain(|(name, _)| name != "X-Amz-Content-Sha256"));
    check(&missing, Error::ContentSha256Missing);
    for value in ["junk", "", "e3b0", "unsigned-payload", "STREAMING-AWS4-HMAC-SHA512-PAYLOAD"] {
        check(&with(value), Error::ContentSha256Invalid);
    }
    for value in
        ["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"]
    {
        check(&with(value), Error::ContentSha256Unsupported);
    }
    let twice = by_header(|signer| signer.headers.push(header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")));
    check(&twice, Error::ContentSha256Invalid);
    for value in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", &"e3b0c442".repeat(8), &"E3B0C442".repeat(8)] {
        assert_eq!(result_at(&with(value), &rules_at("20130524T000000Z")), Ok(()), "{value}");
    }
    // Presigned, the value may come as a parameter or as a header; the parameter wins.
    let hash = "e3b0c442".repeat(8);
    let parameter = by_query("600", |signer| {
        signer.parameters.push(header("X-Amz-Content-Sha256", &hash));
        signer.payload = hash.clone();
    });
    assert_eq!(result_at(&parameter, &rules_at("20130524T000000Z")), Ok(()));
    let as_header = by_query("600", |signer| signer.payload = hash.clone());
    let as_header = as_header.replacen("\r\n\r\n", &format!("\r\nx-amz-content-sha256: {hash}\r\n\r\n"), 1);
    assert_eq!(result_at(&as_header, &rules_at("20130524T000000Z")), Ok(()));
    // STS hashes its body itself and takes nothing else.
    let text = by_header(|signer| signer.service = "sts".into());
    let rules = Rules { service: Service::Sts, ..rules_at("20130524T000000Z") };
    assert_eq!(result_at(&text, &rules), Err(Error::ContentSha256Invalid));
}

#[test]
fn lists_of_signed_headers() {
    let header = by_header(|_| ()).replacen("SignedHeaders=host;", "SignedHeaders=Host;", 1);
    check(&header, Error::HeaderMalformed(Fault::SignedHeaders));
    let url = by_query("600", |_| ()).replacen("SignedHeaders=host", "SignedHeaders=host%3Bhost", 1);
    check(&url, Error::QueryMalformed(Fault::SignedHeaders));
}

#[test]
fn session_tokens_of_urls() {
    let broken = by_query("600", |signer| signer.parameters.push(header("X-Amz-Security-Token", "t")));
    let broken = broken.replacen("Security-Token=t", "Security-Token=%zz", 1);
    check(&broken, Error::QueryMalformed(Fault::SecurityToken));
}

#[test]
fn messages_name_no_secret_and_nothing_is_empty() {
    let text = by_header(|signer| signer.headers.push(header("X-Amz-Security-Token", "very-secret-token")));
    let head = head_of(text.as_bytes());
    let claim = claim(&head, &rules_at("20130524T000000Z")).unwrap();
    let error = verify(&head, &claim, &key_of(&claim, "another"), None).unwrap_err();
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(
            !shown.contains("very-secret-token") && !shown.contains("another") && !shown.is_empty(),
            "{shown}"
        );
    }
}
