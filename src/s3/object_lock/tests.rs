//! Documents, headers, and who may change or delete what.

use super::*;

const NOW: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };

fn retention(mode: RetentionMode, seconds_from_now: i64) -> Option<Retention> {
    Some(Retention { mode, until_seconds: NOW.seconds + seconds_from_now })
}

#[test]
fn configurations() {
    let check = |inner: &str, expected: Result<Option<(RetentionMode, Period)>, Code>| {
        let document = format!("<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>");
        let found = ObjectLock::parse(document.as_bytes());
        let found = found.map(|lock| lock.default_retention.map(|it| (it.mode, it.period)));
        assert_eq!(found.map_err(|error| error.code()), expected, "{inner}");
        fuzz(document.as_bytes());
        for length in 0..document.len() {
            fuzz(&document.as_bytes()[..length]);
        }
    };
    let with = |inner: &str| {
        format!(
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{inner}</DefaultRetention></Rule>"
        )
    };
    let (governance, compliance) = (RetentionMode::Governance, RetentionMode::Compliance);
    check("<ObjectLockEnabled>Enabled</ObjectLockEnabled>", Ok(None));
    check("<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule/>", Ok(None));
    check(&with("<Mode>GOVERNANCE</Mode><Days>1</Days>"), Ok(Some((governance, Period::Days(1)))));
    check(&with("<Years>100</Years><Mode>COMPLIANCE</Mode>"), Ok(Some((compliance, Period::Years(100)))));
    for period in
        ["<Days>0</Days>", "<Days>-1</Days>", "<Days>36501</Days>", "<Years>101</Years>", "<Years>-1</Years>"]
    {
        check(&with(&format!("<Mode>GOVERNANCE</Mode>{period}")), Err(Code::InvalidRetentionPeriod));
    }
    for wrong in [
        "<Mode>GOVERNANCE</Mode>",
        "<Days>1</Days>",
        "<Mode>governance</Mode><Days>1</Days>",
        "<Mode>GOVERNANCE</Mode><Days>x</Days>",
        "<Mode>GOVERNANCE</Mode><Days>99999999999999999999</Days>",
        "<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>",
        "<Mode>GOVERNANCE</Mode><Days>1</Days><Days>1</Days>",
        "<Mode>GOVERNANCE</Mode><Hours>1</Hours>",
    ] {
        check(&with(wrong), Err(Code::MalformedXML));
    }
    check("", Err(Code::MalformedXML));
    check("<ObjectLockEnabled>Disabled</ObjectLockEnabled>", Err(Code::MalformedXML));
}

#[test]
fn default_retentions_last_as_long_as_they_say() {
    let end = |period| DefaultRetention { mode: RetentionMode::Governance, period }.from(NOW).until_seconds;
    assert_eq!(end(Period::Days(2)) - NOW.seconds, 2 * 86_400);
    assert_eq!(end(Period::Years(100)) - NOW.seconds, 36_500 * 86_400);
}

#[test]
fn retentions_and_legal_holds() {
    let check = |inner: &str, expected: Result<Option<Retention>, Malformed>| {
        assert_eq!(read_retention(format!("<Retention>{inner}</Retention>").as_bytes()), expected, "{inner}");
    };
    let until = |until_seconds| Ok(Some(Retention { mode: RetentionMode::Compliance, until_seconds }));
    let document = |date: &str| format!("<Mode>COMPLIANCE</Mode><RetainUntilDate>{date}</RetainUntilDate>");
    check(&document("2030-01-01T00:00:00Z"), until(1_893_456_000));
    check(&document("2030-01-01T00:00:00.001Z"), until(1_893_456_001));
    check("", Ok(None));
    check("<Mode>COMPLIANCE</Mode>", Err(Malformed));
    check("<RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>", Err(Malformed));
    check(&document("tomorrow"), Err(Malformed));
    check(&document("2030-01-01T00:00:00Z").replace("COMP", "comp"), Err(Malformed));
    for (status, expected) in
        [("ON", Ok(true)), ("OFF", Ok(false)), ("on", Err(Malformed)), ("", Err(Malformed))]
    {
        let document = format!("<LegalHold><Status>{status}</Status></LegalHold>");
        assert_eq!(read_legal_hold(document.as_bytes()), expected, "{status}");
    }
    assert_eq!(read_legal_hold(b"<LegalHold/>"), Err(Malformed));
}

#[test]
fn headers() {
    let check = |mode: Option<&str>, until: Option<&str>, expected: Result<Option<i64>, Code>| {
        let found = retention_of_headers(mode.map(str::as_bytes), until.map(str::as_bytes));
        let found = found.map(|it| it.map(|it| it.until_seconds)).map_err(|error| error.code());
        assert_eq!(found, expected, "{mode:?} {until:?}");
    };
    check(None, None, Ok(None));
    check(Some("GOVERNANCE"), Some("2030-01-01T00:00:00Z"), Ok(Some(1_893_456_000)));
    check(Some("GOVERNANCE"), None, Err(Code::InvalidArgument));
    check(None, Some("2030-01-01T00:00:00Z"), Err(Code::InvalidArgument));
    check(Some("governance"), Some("2030-01-01T00:00:00Z"), Err(Code::InvalidArgument));
    check(Some("GOVERNANCE"), Some("soon"), Err(Code::InvalidArgument));
    let past = retention(RetentionMode::Governance, 0);
    assert!(require_future(past.unwrap(), NOW).is_err());
    assert!(require_future(retention(RetentionMode::Governance, 1).unwrap(), NOW).is_ok());
}

#[test]
fn who_may_replace_a_retention() {
    let (governance, compliance) = (RetentionMode::Governance, RetentionMode::Compliance);
    let check = |old, new, plainly: bool, bypassing: bool| {
        assert_eq!(may_replace(old, new, false, NOW), plainly, "{old:?} {new:?}");
        assert_eq!(may_replace(old, new, true, NOW), bypassing, "{old:?} {new:?} with bypass");
    };
    for mode in [governance, compliance] {
        check(None, retention(mode, 5), true, true);
        check(retention(mode, 0), retention(governance, 5), true, true);
        check(retention(mode, 0), None, true, true);
        check(retention(mode, 9), retention(mode, 9), true, true);
        check(retention(mode, 9), retention(mode, 10), true, true);
    }
    check(retention(governance, 9), retention(governance, 8), false, true);
    check(retention(governance, 9), retention(compliance, 10), false, true);
    check(retention(governance, 9), None, false, true);
    check(retention(compliance, 9), retention(compliance, 8), false, false);
    check(retention(compliance, 9), retention(governance, 10), false, false);
    check(retention(compliance, 9), None, false, false);
}
