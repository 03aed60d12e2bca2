use proptest::prelude::*;

use super::*;

const MAY_2013: Timestamp = Timestamp::from_seconds(1_369_353_600);

#[test]
fn one_instant_in_every_form() {
    assert_eq!(&MAY_2013.amz(), b"20130524T000000Z");
    assert_eq!(&MAY_2013.date8(), b"20130524");
    assert_eq!(&MAY_2013.http(), b"Fri, 24 May 2013 00:00:00 GMT");
    assert_eq!(&MAY_2013.iso8601_millis(), b"2013-05-24T00:00:00.000Z");
    let precise = Timestamp { nanos: 987_654_321, ..MAY_2013 };
    assert_eq!(&precise.iso8601_millis(), b"2013-05-24T00:00:00.987Z");
}

#[test]
fn calendar_corners_as_gnu_date_prints_them() {
    for (seconds, http) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
        (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (SECONDS_MIN, "Sat, 01 Jan 0000 00:00:00 GMT"),
        (i64::MIN, "Sat, 01 Jan 0000 00:00:00 GMT"),
        (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        let shown = Timestamp::from_seconds(seconds).http();
        assert_eq!(str::from_utf8(&shown), Ok(http));
        let clamped = Timestamp::from_seconds(seconds.clamp(SECONDS_MIN, SECONDS_MAX));
        assert_eq!(Timestamp::parse_http(&shown), Some(clamped));
    }
}

#[test]
fn http_dates_of_rfc_9110() {
    let expected = Some(Timestamp::from_seconds(784_111_777));
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 -0000",
    ] {
        assert_eq!(Timestamp::parse_http(text.as_bytes()), expected, "{text}");
    }
    for text in [
        "",
        "Sun",
        "Sun,",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sunday Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 EST",
        "Sun, 06 Nov 1994 08:49:37 +0100",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Xun, 06 Nov 1994 08:49:37 GMT",
    ] {
        assert_eq!(Timestamp::parse_http(text.as_bytes()), None, "{text}");
    }
    let leap = Timestamp::parse_http(b"Sat, 31 Dec 2016 23:59:60 GMT");
    assert_eq!(leap, Some(Timestamp::from_seconds(1_483_228_800)));
    let years = ["69", "70"].map(|year| format!("Tuesday, 01-Jan-{year} 00:00:00 GMT"));
    let seconds = years.map(|text| Timestamp::parse_http(text.as_bytes()).map(|time| time.seconds));
    assert_eq!(seconds, [Some(3_124_224_000), Some(0)]);
}

#[test]
fn amz_dates() {
    assert_eq!(Timestamp::parse_amz(b"20130524T000000Z"), Some(MAY_2013));
    for text in [
        "20130524T000000",
        "20130524T000000z",
        "20130524 000000Z",
        "2013-05-24T00:00:00Z",
        "20130524T000060Z",
        "20130524T240000Z",
        "20130024T000000Z",
        "20131324T000000Z",
        "20130229T000000Z",
        "20130524T000000ZZ",
        " 20130524T000000Z",
        "",
    ] {
        assert_eq!(Timestamp::parse_amz(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn iso_8601_dates() {
    for (text, seconds, nanos) in [
        ("2013-05-24T00:00:00Z", 0, 0),
        ("2013-05-24T00:00:00.000Z", 0, 0),
        ("2013-05-24T00:00:00.5z", 0, 500_000_000),
        ("2013-05-24t00:00:00.1234567899Z", 0, 123_456_789),
        ("2013-05-24T00:00Z", 0, 0),
        ("2013-05-24", 0, 0),
        ("2013-05", -23 * 86_400, 0),
        ("2013-05-24T02:00:01+02:00", 1, 0),
        ("2013-05-23T18:30:00-05:30", 0, 0),
    ] {
        let expected = Timestamp { seconds: MAY_2013.seconds + seconds, nanos };
        assert_eq!(Timestamp::parse_iso8601(text.as_bytes()), Some(expected), "{text}");
    }
    for text in [
        "2013",
        "2013-5-24",
        "2013-05-24T00:00:00",
        "2013-05-24T00Z",
        "2013-05-24 00:00:00Z",
        "2013-05-24T00:00:00.Z",
        "2013-05-24T00:00:60Z",
        "2013-05-24T00:00:00+0200",
        "2013-05-24T00:00:00+24:00",
        "2013-05-24Z",
        "2013-05-",
        "2013-05T00:00Z",
        "2013-05-24T00:00:00ZZ",
        "1369353600",
    ] {
        assert_eq!(Timestamp::parse_iso8601(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn nanoseconds_are_nine_digits() {
    for (nanos, expected) in [
        (0, "2013-05-24T00:00:00.000000000Z"),
        (7, "2013-05-24T00:00:00.000000007Z"),
        (123_456_789, "2013-05-24T00:00:00.123456789Z"),
        (999_999_999, "2013-05-24T00:00:00.999999999Z"),
    ] {
        assert_eq!(str::from_utf8(&Timestamp { nanos, ..MAY_2013 }.iso8601_nanos()), Ok(expected));
    }
}

#[test]
fn every_day_of_an_era_follows_the_one_before() {
    // The naive calendar: count days one by one from a known date.
    let (mut date, mut seconds) = (Date { year: 1899, month: 12, day: 31 }, -2_209_075_200);
    for _ in 0..ERA_DAYS {
        let timestamp = Timestamp::from_seconds(seconds);
        assert_eq!(timestamp.civil(), (date, Time::default()));
        assert_eq!(civil(date, Time::default(), SECOND_MAX), Some(timestamp));
        seconds += DAY_SECONDS;
        date.day += 1;
        if date.day > days_in_month(date.year, date.month) {
            date = Date { month: date.month + 1, day: 1, ..date };
        }
        if date.month > 12 {
            date = Date { year: date.year + 1, month: 1, day: 1 };
        }
    }
}

#[test]
fn fuzz_over_a_corpus() {
    let corpus: [&[u8]; 6] = [
        b"20130524T000000Z",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Fri, 31 Dec 9999 23:59:60 GMT",
        b"9999-12-31T23:59:59.999999999-23:59",
        b"0000-01-01T00:00:00+23:59",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
    ];
    for seed in corpus {
        fuzz(seed);
        for index in 0..seed.len() {
            fuzz(&seed[..index]);
            for byte in [0, b' ', b'0', b'9', b'Z', b'+', 0xff] {
                let mut mutated = seed.to_vec();
                mutated[index] = byte;
                fuzz(&mutated);
            }
        }
    }
}

proptest! {
    #[test]
    fn fuzz_over_random_bytes(data: Vec<u8>) {
        fuzz(&data);
    }

    #[test]
    fn every_second_round_trips(seconds in SECONDS_MIN..=SECONDS_MAX, nanos in 0..1_000_000_000u32) {
        let timestamp = Timestamp { seconds, nanos };
        fuzz(&timestamp.amz());
        prop_assert_eq!(Timestamp::parse_amz(&timestamp.amz()), Some(Timestamp::from_seconds(seconds)));
        prop_assert_eq!(&timestamp.amz()[..8], &timestamp.date8()[..]);
    }
}
