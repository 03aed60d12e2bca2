//! Tables of documents and of points in time.

use std::time::Duration;

use super::*;
use crate::storage::bucket_config::CONTENT_BYTES_MAX;

fn rules(inner: &str) -> String {
    format!("<LifecycleConfiguration>{inner}</LifecycleConfiguration>")
}

/// One rule with these elements beside its status.
fn rule(inner: &str) -> String {
    rules(&format!("<Rule><Status>Enabled</Status>{inner}</Rule>"))
}

fn parsed(document: &str) -> Lifecycle {
    Lifecycle::parse(document.as_bytes()).unwrap_or_else(|error| panic!("{document}: {}", error.message()))
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse_iso8601(text.as_bytes()).unwrap()
}

const DAYS: &str = "<Expiration><Days>1</Days></Expiration>";
const OLD: &str = "<Prefix/>";
const ALL: &str = "<Filter/>";
const TAG: &str = "<Tag><Key>k</Key><Value>v</Value></Tag>";

#[test]
fn documents_are_given_back_as_they_came() {
    let check = |inner: &str| {
        let lifecycle = parsed(&rules(inner));
        let mut document = Vec::new();
        lifecycle.write(&mut document);
        let text = String::from_utf8(document).unwrap();
        let declared = "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        assert!(text.contains(&format!("{declared}{inner}</LifecycleConfiguration>")), "{text}\n{inner}");
        fuzz(inner.as_bytes());
    };
    check(&format!("<Rule><ID>a</ID><Prefix>logs/</Prefix><Status>Enabled</Status>{DAYS}</Rule>"));
    check(&format!("<Rule><ID>a</ID><Prefix/><Status>Disabled</Status>{DAYS}</Rule>"));
    check(&format!("<Rule><ID>a</ID><Filter></Filter><Status>Enabled</Status>{DAYS}</Rule>"));
    check(&format!(
        "<Rule><ID>a&amp;</ID><Filter><Prefix>é&lt;</Prefix></Filter><Status>Enabled</Status>{DAYS}</Rule>"
    ));
    check(&format!("<Rule><ID>a</ID><Filter>{TAG}</Filter><Status>Enabled</Status>{DAYS}</Rule>"));
    check(&format!(
        "<Rule><ID>a</ID><Filter><And><Prefix>x</Prefix>{TAG}<ObjectSizeGreaterThan>0</ObjectSizeGreaterThan>\
         <ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter><Status>Enabled</Status>{DAYS}</Rule>"
    ));
    check(
        "<Rule><ID>a</ID><Filter></Filter><Status>Enabled</Status><Expiration><Date>2030-01-01T00:00:00.000Z</Date>\
         </Expiration><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>5\
         </NewerNoncurrentVersions></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload>\
         <DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule><Rule><ID>b</ID>\
         <Filter></Filter><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true\
         </ExpiredObjectDeleteMarker></Expiration></Rule>",
    );
}

#[test]
fn ids_are_given_to_rules_without() {
    let without = format!("<Rule><Prefix>a</Prefix><Status>Enabled</Status>{DAYS}</Rule>");
    let named = format!("<Rule><ID>rule-2</ID><Prefix>a</Prefix><Status>Enabled</Status>{DAYS}</Rule>");
    let empty = format!("<Rule><ID/><Prefix>a</Prefix><Status>Enabled</Status>{DAYS}</Rule>");
    let lifecycle = parsed(&rules(&[without.as_str(), &named, &empty].concat()));
    let ids: Vec<&str> = lifecycle.rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["rule-1", "rule-2", "rule-3"]);
    let less = lifecycle.without("rule-1").unwrap();
    assert_eq!(less.rules().len(), 2);
    assert_eq!(less.without("rule-1"), None);
    let more = less.with(Rule { id: String::new(), ..less.rules()[0].clone() }).unwrap();
    assert_eq!(more.rules()[2].id, "rule-1");
}

#[test]
fn what_is_not_sound_is_refused() {
    let check = |document: &str, expected: Code| {
        let result = Lifecycle::parse(document.as_bytes());
        assert_eq!(result.map_err(|error| error.code()), Err(expected), "{document}");
        fuzz(document.as_bytes());
    };
    let one = |inner: &str, expected| check(&rule(inner), expected);
    use Code::{InvalidArgument, InvalidRequest, InvalidTag, MalformedXML, NotImplemented};
    check("", MalformedXML);
    check("<LifecycleConfiguration/>", MalformedXML);
    check(&rules(&format!("<Rule>{ALL}{DAYS}</Rule>")), MalformedXML);
    check(&rules(&format!("<Rule><Status>enabled</Status>{ALL}{DAYS}</Rule>")), MalformedXML);
    one(DAYS, MalformedXML);
    one(&format!("{OLD}{ALL}{DAYS}"), MalformedXML);
    one(&format!("{ALL}{DAYS}{DAYS}"), MalformedXML);
    one(&format!("{ALL}<Expiration/>"), MalformedXML);
    one(ALL, InvalidRequest);
    for days in ["0", "-1", "2147483648"] {
        one(&format!("{ALL}<Expiration><Days>{days}</Days></Expiration>"), InvalidArgument);
    }
    for days in ["", "x", "1.5", "99999999999999999999"] {
        one(&format!("{ALL}<Expiration><Days>{days}</Days></Expiration>"), MalformedXML);
    }
    for date in ["2030-01-01T00:00:01Z", "2030-01-01T05:00:00Z", "9999-12-31T19:00:00-05:00"] {
        one(&format!("{ALL}<Expiration><Date>{date}</Date></Expiration>"), InvalidArgument);
    }
    one(&format!("{ALL}<Expiration><Date>20300101</Date></Expiration>"), MalformedXML);
    one(&format!("{ALL}<Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>"), MalformedXML);
    one(
        &format!(
            "{ALL}<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
        ),
        MalformedXML,
    );
    one(&format!("<Filter>{TAG}{TAG}</Filter>{DAYS}"), MalformedXML);
    one(&format!("<Filter><And/></Filter>{DAYS}"), MalformedXML);
    one(&format!("<Filter><And>{TAG}{TAG}</And></Filter>{DAYS}"), InvalidTag);
    one(&format!("<Filter><Tag><Key/><Value/></Tag></Filter>{DAYS}"), InvalidTag);
    let tags: String = (0..11).map(|n| format!("<Tag><Key>{n}</Key><Value/></Tag>")).collect();
    one(&format!("<Filter><And>{tags}</And></Filter>{DAYS}"), InvalidTag);
    one(&format!("<Filter><And>{tags}{TAG}</And></Filter>{DAYS}"), MalformedXML);
    let sizes = "<ObjectSizeGreaterThan>9</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan>";
    one(&format!("<Filter><And>{sizes}</And></Filter>{DAYS}"), InvalidRequest);
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>";
    one(&format!("<Filter>{TAG}</Filter>{abort}"), InvalidRequest);
    one(&format!("<Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>{abort}"), InvalidRequest);
    one(&format!("{ALL}<AbortIncompleteMultipartUpload/>"), MalformedXML);
    let markers = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    one(&format!("<Filter>{TAG}</Filter>{markers}"), InvalidRequest);
    let newer = |count| {
        format!(
            "{ALL}<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>{count}\
             </NewerNoncurrentVersions></NoncurrentVersionExpiration>"
        )
    };
    parsed(&rule(&newer(100)));
    one(&newer(0), InvalidArgument);
    one(&newer(101), InvalidArgument);
    one(&format!("{ALL}<NoncurrentVersionExpiration/>"), MalformedXML);
    parsed(&rule(&format!("<ID>{}</ID>{ALL}{DAYS}", "é".repeat(255))));
    one(&format!("<ID>{}</ID>{ALL}{DAYS}", "é".repeat(256)), InvalidArgument);
    one(&format!("<ID>&#1;</ID>{ALL}{DAYS}"), MalformedXML);
    one(&format!("<Prefix>{}</Prefix>{DAYS}", "p".repeat(1025)), InvalidArgument);
    let same = format!("<Rule><ID>a</ID><Status>Enabled</Status>{ALL}{DAYS}</Rule>");
    check(&rules(&same.repeat(2)), InvalidArgument);
    let transition = "<Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition>";
    one(&format!("{ALL}{transition}"), NotImplemented);
    one(&format!("{ALL}{}", transition.replace('0', "-1")), InvalidArgument);
    let many = format!("<Rule><Status>Enabled</Status>{ALL}{DAYS}</Rule>");
    assert_eq!(parsed(&rules(&many.repeat(1000))).rules().len(), 1000);
    check(&rules(&many.repeat(1001)), InvalidRequest);
    check(&rules(&many.repeat(1002)), MalformedXML);
}

#[test]
fn no_document_breaks_the_reader_and_the_largest_one_is_kept() {
    let whole = rule(&format!("<ID>a</ID><Filter><And><Prefix>x</Prefix>{TAG}</And></Filter>{DAYS}"));
    for length in 0..=whole.len() {
        fuzz(&whole.as_bytes()[..length]);
    }
    let id = "\"".repeat(ID_CHARS_MAX - 4);
    let many: String = (0..1000)
        .map(|n| format!("<Rule><ID>{id}{n:04}</ID><Status>Enabled</Status>{OLD}{DAYS}</Rule>"))
        .collect();
    let mut document = Vec::new();
    parsed(&rules(&many)).write(&mut document);
    assert!(document.len() > CONTENT_BYTES_MAX, "such a document is refused when it is put");
}

#[test]
fn days_of_the_calendar_end_at_midnight() {
    let check = |start: &str, days, expected: &str| {
        assert_eq!(Day::CALENDAR.after(time(start), days), time(expected), "{start} + {days}");
    };
    check("2014-01-15T10:30:00Z", 3, "2014-01-19T00:00:00Z");
    check("2014-01-15T00:00:00Z", 3, "2014-01-18T00:00:00Z");
    check("2014-01-15T00:00:00.000000001Z", 3, "2014-01-19T00:00:00Z");
    check("2014-01-15T23:59:59.9Z", 1, "2014-01-17T00:00:00Z");
    check("2024-02-28T12:00:00Z", 1, "2024-03-01T00:00:00Z");
    check("1969-12-31T12:00:00Z", 1, "1970-01-02T00:00:00Z");
    let short = |ms, start: &str, days, expected: &str| {
        let day = Day::lasting(Duration::from_millis(ms));
        assert_eq!(day.after(time(start), days), time(expected), "{start} + {days} of {ms} ms");
    };
    short(1000, "2014-01-15T10:30:00.5Z", 3, "2014-01-15T10:30:03.5Z");
    short(1500, "2014-01-15T10:30:00.5Z", 3, "2014-01-15T10:30:05Z");
    short(1, "2014-01-15T10:30:00Z", 1000, "2014-01-15T10:30:01Z");
    for day in [Day::CALENDAR, Day::lasting(Duration::from_millis(999))] {
        // No file's time breaks the arithmetic.
        for seconds in [i64::MIN, -1, 0, i64::MAX] {
            day.after(Timestamp { seconds, nanos: 999_999_999 }, u32::MAX);
        }
    }
}

#[test]
fn what_expires_when() {
    let written = "2014-01-15T10:30:00Z";
    let tags = |pairs: &[(&str, &str)]| Tags::from_pairs(pairs.iter().copied()).unwrap();
    let check = |document: &str, key: &str, size, tags: Option<&Tags>, expected: Option<(&str, &str)>| {
        let lifecycle = parsed(document);
        let facts = Facts { key: key.as_bytes(), size, modified: time(written), tags };
        let found = lifecycle.expires(&facts, Day::CALENDAR);
        let found = found.map(|(moment, rule)| (moment, rule.id.as_str()));
        assert_eq!(found, expected.map(|(at, id)| (time(at), id)), "{document} {key} {size} {tags:?}");
    };
    let (next, none) = (Some(("2014-01-17T00:00:00Z", "rule-1")), tags(&[]));
    check(&rule(&format!("<Prefix>a/</Prefix>{DAYS}")), "a/b", 0, Some(&none), next);
    check(&rule(&format!("<Prefix>a/</Prefix>{DAYS}")), "a", 0, Some(&none), None);
    check(&rule(&format!("{ALL}{DAYS}")), "a", 0, Some(&none), next);
    check(&rule(&format!("{ALL}{DAYS}")).replace("Enabled", "Disabled"), "a", 0, Some(&none), None);
    let tagged = rule(&format!("<Filter>{TAG}</Filter>{DAYS}"));
    check(&tagged, "a", 0, Some(&tags(&[("x", "y"), ("k", "v")])), next);
    check(&tagged, "a", 0, Some(&tags(&[("k", "w")])), None);
    check(&tagged, "a", 0, Some(&none), None);
    check(&tagged, "a", 0, None, next);
    let sizes = "<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>8</ObjectSizeLessThan>";
    let sized = rule(&format!("<Filter><And>{sizes}</And></Filter>{DAYS}"));
    for (size, expected) in [(5, None), (6, next), (7, next), (8, None)] {
        check(&sized, "a", size, Some(&none), expected);
    }
    // All predicates of a filter have to hold, wherever they stand.
    let both = rule(&format!(
        "<Filter><Prefix>a/</Prefix>{TAG}<And><Prefix>a</Prefix><Tag><Key>l</Key><Value>w</Value></Tag></And></Filter>{DAYS}"
    ));
    check(&both, "a/b", 0, Some(&tags(&[("k", "v"), ("l", "w")])), next);
    check(&both, "a/b", 0, Some(&tags(&[("k", "v")])), None);
    check(&both, "ab", 0, Some(&tags(&[("k", "v"), ("l", "w")])), None);
    // The earliest one holds, of several at the same time the first.
    let several = |first: &str, second: &str| {
        rules(&format!(
            "<Rule><ID>1</ID><Status>Enabled</Status>{ALL}<Expiration>{first}</Expiration></Rule>\
             <Rule><ID>2</ID><Status>Enabled</Status>{ALL}<Expiration>{second}</Expiration></Rule>"
        ))
    };
    let (days, date) = (|n| format!("<Days>{n}</Days>"), "<Date>2014-01-18T00:00:00Z</Date>");
    check(&several(&days(3), &days(2)), "a", 0, Some(&none), Some(("2014-01-18T00:00:00Z", "2")));
    check(&several(&days(3), date), "a", 0, Some(&none), Some(("2014-01-18T00:00:00Z", "2")));
    check(&several(&days(2), date), "a", 0, Some(&none), Some(("2014-01-18T00:00:00Z", "1")));
    let markers = "<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>";
    check(&several(markers, &days(9)), "a", 0, Some(&none), Some(("2014-01-25T00:00:00Z", "2")));
}

#[test]
fn uploads_are_aborted_by_the_shortest_rule() {
    let abort = |prefix: &str, days| {
        format!(
            "<Rule><Status>Enabled</Status><Prefix>{prefix}</Prefix><AbortIncompleteMultipartUpload>\
             <DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"
        )
    };
    let lifecycle = parsed(&rules(&[abort("a", 5), abort("a/b", 2)].concat()));
    let aborts = |key: &str| lifecycle.aborts(key.as_bytes(), time("2014-01-15T00:00:00Z"), Day::CALENDAR);
    assert_eq!(aborts("a"), Some(time("2014-01-20T00:00:00Z")));
    assert_eq!(aborts("a/b/c"), Some(time("2014-01-17T00:00:00Z")));
    assert_eq!(aborts("b"), None);
}

#[test]
fn prefixes_do_not_overlap() {
    let check = |given: &[&str], expected: &[&str]| {
        let document: String = given
            .iter()
            .map(|prefix| format!("<Rule><Status>Enabled</Status><Prefix>{prefix}</Prefix>{DAYS}</Rule>"))
            .collect();
        let lifecycle = parsed(&rules(&document));
        assert_eq!(lifecycle.prefixes(|rule| rule.expiration.is_some()), expected, "{given:?}");
        assert!(lifecycle.prefixes(|rule| rule.abort_days.is_some()).is_empty());
    };
    check(&["b/", "a", "a/b", "a", "ab"], &["a", "b/"]);
    check(&["x", "", "y"], &[""]);
    check(&["ab", "ac", "a0"], &["a0", "ab", "ac"]);
    let disabled = rule(&format!("<Prefix>a</Prefix>{DAYS}")).replace("Enabled", "Disabled");
    assert!(parsed(&disabled).prefixes(|_| true).is_empty());
}

#[test]
fn the_header_names_the_day_and_the_rule() {
    let lifecycle = parsed(&rule(&format!("<ID>old logs/é</ID>{ALL}{DAYS}")));
    let text = expiration_text(time("2012-12-21T00:00:00Z"), &lifecycle.rules()[0]);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\", rule-id=\"old%20logs%2F%C3%A9\""
    );
}

#[test]
fn when_noncurrent_versions_and_markers_go() {
    let noncurrent = |filter: &str, days, newer: &str| {
        format!(
            "<Rule><Status>Enabled</Status><Filter>{filter}</Filter><NoncurrentVersionExpiration><NoncurrentDays>{days}\
             </NoncurrentDays>{newer}</NoncurrentVersionExpiration></Rule>"
        )
    };
    let tags = Tags::from_pairs([("k", "v")]).unwrap();
    let since = "2014-01-15T10:00:00Z";
    let removes = |document: &str, newer_versions, is_marker, expected: Option<&str>| {
        let modified = time("2001-01-01T00:00:00Z");
        let facts = Facts { key: b"a", size: 0, modified, tags: Some(&tags) };
        let found = parsed(document).removes(&facts, time(since), newer_versions, is_marker, Day::CALENDAR);
        assert_eq!(found, expected.map(time), "{document} {newer_versions} {is_marker}");
    };
    let next = Some("2014-01-17T00:00:00Z");
    let plain = rules(&noncurrent("", 1, ""));
    removes(&plain, 0, false, next);
    removes(&plain, 0, true, next);
    removes(&plain.replace("Enabled", "Disabled"), 0, false, None);
    removes(&rules(&noncurrent("<Prefix>b</Prefix>", 1, "")), 0, false, None);
    removes(&rules(&noncurrent(TAG, 1, "")), 0, false, next);
    removes(&rules(&[noncurrent("", 9, ""), noncurrent("", 1, "")].concat()), 0, false, next);
    let sized = rules(&noncurrent("<ObjectSizeLessThan>9</ObjectSizeLessThan>", 1, ""));
    removes(&sized, 0, false, next);
    removes(&sized, 0, true, None);
    let two = rules(&noncurrent("", 1, "<NewerNoncurrentVersions>2</NewerNoncurrentVersions>"));
    removes(&two, 1, false, None);
    removes(&two, 2, false, next);
    removes(&rule(&format!("{ALL}{DAYS}")), 0, false, None);
    let marker = |document: &str, expected: Option<&str>| {
        let found = parsed(document).removes_marker(b"a", time(since), Day::CALENDAR);
        assert_eq!(found, expected.map(time), "{document}");
    };
    let flag = |wanted| {
        rule(&format!(
            "{ALL}<Expiration><ExpiredObjectDeleteMarker>{wanted}</ExpiredObjectDeleteMarker></Expiration>"
        ))
    };
    marker(&flag(true), Some(since));
    marker(&flag(false), None);
    marker(&rule(&format!("{ALL}{DAYS}")), next);
    marker(&rule(&format!("<Prefix>b</Prefix>{DAYS}")), None);
    marker(&rule(&format!("<Filter>{TAG}</Filter>{DAYS}")), None);
    marker(&rule(&format!("<Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>{DAYS}")), None);
    let date = "<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>";
    marker(&rule(&format!("{ALL}{date}")), Some("2030-01-01T00:00:00Z"));
    marker(&plain, None);
}
