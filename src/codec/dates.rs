//! Points in time and the date formats of S3, HTTP and XML.
//!
//! A [`Timestamp`] is UTC, without leap seconds, proleptic Gregorian. Nothing here reads a clock or a time zone; local
//! offsets are accepted only in ISO 8601. Formatting never fails: what lies outside the years 0000 to 9999, which have
//! no four-digit form, is shown as the nearest end of that range (a file's mtime may be anything).
//! Spec: RFC 9110 section 5.6.7 (HTTP dates), AWS "basic" form `yyyyMMdd'T'HHmmss'Z'`, W3C profile of ISO 8601.

/// A point in time since the Unix epoch, UTC. `nanos` is below 1,000,000,000 and counts forward from `seconds`, also
/// before the epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds into that second.
    pub nanos: u32,
}

impl Timestamp {
    /// The point `seconds` after the Unix epoch, with no fraction.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }

    /// Parses the form of `x-amz-date`, exactly `20130524T000000Z`.
    #[must_use]
    pub fn parse_amz(text: &[u8]) -> Option<Self> {
        let mut rest = Reader(text);
        let date = Date { year: rest.number(4)?, month: rest.number(2)?, day: rest.number(2)? };
        rest.literal(b"T")?;
        let time = Time { hour: rest.number(2)?, minute: rest.number(2)?, second: rest.number(2)? };
        rest.literal(b"Z")?;
        rest.end()?;
        civil(date, time, SECOND_MAX)
    }

    /// Parses the three forms that a recipient of HTTP must accept: IMF-fixdate (RFC 1123), RFC 850 and asctime. The
    /// zone may also be written `UTC`, `+0000` or `-0000`, as mail libraries do. The weekday must be one, but is not
    /// compared with the date.
    ///
    /// The two-digit year of RFC 850 is read as 1970 to 2069, because layer 0 has no clock for the sliding window of
    /// RFC 9110. Second 60 is the first second of the next minute.
    #[must_use]
    pub fn parse_http(text: &[u8]) -> Option<Self> {
        let mut rest = Reader(text);
        let long_name = rest.weekday()?;
        let (date, time);
        if rest.literal(b", ").is_some() {
            let day = rest.number(2)?;
            let separator: &[u8] = if long_name { b"-" } else { b" " };
            rest.literal(separator)?;
            let month = rest.month()?;
            rest.literal(separator)?;
            let year = if long_name { two_digit_year(rest.number(2)?) } else { rest.number(4)? };
            date = Date { year, month, day };
            rest.literal(b" ")?;
            time = rest.time()?;
            rest.literal(b" ")?;
            ZONES_UTC.iter().find_map(|zone| rest.literal(zone))?;
        } else {
            rest.literal(b" ")?;
            let month = rest.month()?;
            rest.literal(b" ")?;
            let day = if rest.literal(b" ").is_some() { rest.number(1)? } else { rest.number(2)? };
            rest.literal(b" ")?;
            time = rest.time()?;
            rest.literal(b" ")?;
            date = Date { year: rest.number(4)?, month, day };
        }
        rest.end()?;
        civil(date, time, LEAP_SECOND)
    }

    /// Parses the W3C profile of ISO 8601: `2013-05`, `2013-05-24`, or a date with `T`, `HH:MM`, optional `:SS` and
    /// fraction, and a zone (`Z` or `+HH:MM`), which is required with a time. Digits of the fraction beyond nanoseconds
    /// are dropped. A year alone is refused: it cannot be told from a number of epoch seconds.
    #[must_use]
    pub fn parse_iso8601(text: &[u8]) -> Option<Self> {
        let mut rest = Reader(text);
        let year = rest.number(4)?;
        rest.literal(b"-")?;
        let month = rest.number(2)?;
        if rest.end().is_some() {
            return civil(Date { year, month, day: 1 }, Time::default(), SECOND_MAX);
        }
        rest.literal(b"-")?;
        let date = Date { year, month, day: rest.number(2)? };
        if rest.end().is_some() {
            return civil(date, Time::default(), SECOND_MAX);
        }
        rest.literal(b"T").or_else(|| rest.literal(b"t"))?;
        let (hour, minute) = (rest.number(2)?, rest.colon()?.number(2)?);
        let second = if rest.colon().is_some() { rest.number(2)? } else { 0 };
        let nanos = if rest.literal(b".").is_some() { rest.fraction()? } else { 0 };
        let offset_seconds = rest.offset()?;
        rest.end()?;
        let local = civil(date, Time { hour, minute, second }, SECOND_MAX)?;
        Some(Self { seconds: local.seconds - offset_seconds, nanos })
    }

    /// The form of `x-amz-date`: `20130524T000000Z`.
    #[must_use]
    pub fn amz(&self) -> [u8; 16] {
        let (date, time) = self.civil();
        let mut out = *b"00000000T000000Z";
        put4(&mut out[0..4], date.year);
        put2(&mut out[4..6], date.month);
        put2(&mut out[6..8], date.day);
        put2(&mut out[9..11], time.hour);
        put2(&mut out[11..13], time.minute);
        put2(&mut out[13..15], time.second);
        out
    }

    /// The day of a credential scope: `20130524`.
    #[must_use]
    pub fn date8(&self) -> [u8; 8] {
        let (date, _) = self.civil();
        let mut out = [0; 8];
        put4(&mut out[0..4], date.year);
        put2(&mut out[4..6], date.month);
        put2(&mut out[6..8], date.day);
        out
    }

    /// IMF-fixdate, the form of `Date` and `Last-Modified`: `Fri, 24 May 2013 00:00:00 GMT`.
    #[must_use]
    pub fn http(&self) -> [u8; 29] {
        let (date, time) = self.civil();
        // The epoch was a Thursday; the clamp of `civil` holds here too, so that the weekday fits the date shown.
        let weekday = (self.days().0 + 4).rem_euclid(7);
        let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        out[0..3].copy_from_slice(&WEEKDAYS[weekday as usize][..3]);
        put2(&mut out[5..7], date.day);
        out[8..11].copy_from_slice(MONTHS[date.month as usize - 1]);
        put4(&mut out[12..16], date.year);
        put2(&mut out[17..19], time.hour);
        put2(&mut out[20..22], time.minute);
        put2(&mut out[23..25], time.second);
        out
    }

    /// The form of S3's XML, with milliseconds cut off, not rounded: `2013-05-24T00:00:00.000Z`.
    #[must_use]
    pub fn iso8601_millis(&self) -> [u8; 24] {
        let (date, time) = self.civil();
        let mut out = *b"1970-01-01T00:00:00.000Z";
        put4(&mut out[0..4], date.year);
        put2(&mut out[5..7], date.month);
        put2(&mut out[8..10], date.day);
        put2(&mut out[11..13], time.hour);
        put2(&mut out[14..16], time.minute);
        put2(&mut out[17..19], time.second);
        let millis = self.nanos / 1_000_000 % 1000;
        out[20] = b'0' + (millis / 100) as u8;
        put2(&mut out[21..23], millis % 100);
        out
    }

    /// RFC 3339 with nanoseconds: `2013-05-24T00:00:00.000000000Z`.
    #[must_use]
    pub fn iso8601_nanos(&self) -> [u8; 30] {
        let mut out = *b"1970-01-01T00:00:00.000000000Z";
        out[..19].copy_from_slice(&self.iso8601_millis()[..19]);
        let mut left = self.nanos % 1_000_000_000;
        for digit in out[20..29].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        out
    }

    /// Days since the epoch and seconds into the day, clamped to the years with four digits.
    fn days(&self) -> (i64, u32) {
        let seconds = self.seconds.clamp(SECONDS_MIN, SECONDS_MAX);
        (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS) as u32)
    }

    /// Calendar date and time of day. The date is the algorithm `civil_from_days` of Howard Hinnant
    /// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the leap day is the last,
    /// and 400 of them, an era, have 146,097 days.
    fn civil(&self) -> (Date, Time) {
        let (days, second) = self.days();
        // Days since 0000-03-01. January and February of year 0 are in era -1, hence the Euclidean division.
        let days = days + DAYS_FROM_MARCH_0000_TO_EPOCH;
        let era = days.div_euclid(ERA_DAYS);
        let day_of_era = days.rem_euclid(ERA_DAYS);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
        let year = (era * 400 + year_of_era + i64::from(month <= 2)) as u32;
        debug_assert!(year <= 9999 && (1..=12).contains(&month) && (1..=31).contains(&day));
        let time = Time { hour: second / 3600, minute: second / 60 % 60, second: second % 60 };
        (Date { year, month, day }, time)
    }
}

/// Calendar date; `month` and `day` begin at 1. Checked only by [`civil`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Date {
    year: u32,
    month: u32,
    day: u32,
}

/// Time of day. Checked only by [`civil`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Time {
    hour: u32,
    minute: u32,
    second: u32,
}

/// The timestamp of a date and time, if they exist in the calendar: `days_from_civil` of Howard Hinnant.
fn civil(date: Date, time: Time, second_max: u32) -> Option<Timestamp> {
    let Date { year, month, day } = date;
    if year > 9999 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if time.hour > 23 || time.minute > 59 || time.second > second_max {
        return None;
    }
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * ERA_DAYS + day_of_era - DAYS_FROM_MARCH_0000_TO_EPOCH;
    let second = i64::from(time.hour * 3600 + time.minute * 60 + time.second);
    Some(Timestamp::from_seconds(days * DAY_SECONDS + second))
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn two_digit_year(year: u32) -> u32 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

/// What is left of the text. Every method takes what it names off the front, or leaves it and returns `None`.
struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(literal)?;
        Some(())
    }

    fn colon(&mut self) -> Option<&mut Self> {
        self.literal(b":")?;
        Some(self)
    }

    /// A number of exactly `digits` digits, at most 9.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (text, rest) = self.0.split_at_checked(digits)?;
        let mut value = 0;
        for &byte in text {
            value = value * 10 + u32::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        }
        self.0 = rest;
        Some(value)
    }

    fn time(&mut self) -> Option<Time> {
        Some(Time {
            hour: self.number(2)?,
            minute: self.colon()?.number(2)?,
            second: self.colon()?.number(2)?,
        })
    }

    /// Digits after the point, in nanoseconds; at least one.
    fn fraction(&mut self) -> Option<u32> {
        let mut nanos = self.number(1)? * 100_000_000;
        let mut unit = 10_000_000;
        while let Some(digit) = self.number(1) {
            nanos += digit * unit;
            unit /= 10;
        }
        Some(nanos)
    }

    /// `Z` or `±HH:MM`, in seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.literal(b"Z").or_else(|| self.literal(b"z")).is_some() {
            return Some(0);
        }
        let sign = if self.literal(b"+").is_some() { 1 } else { self.literal(b"-").map(|()| -1)? };
        let (hours, minutes) = (self.number(2)?, self.colon()?.number(2)?);
        (hours <= 23 && minutes <= 59).then(|| sign * i64::from(hours * 3600 + minutes * 60))
    }

    /// True when the weekday was written in full and is followed by the comma of RFC 850.
    fn weekday(&mut self) -> Option<bool> {
        for name in WEEKDAYS {
            if self.0.starts_with(name) {
                self.literal(name)?;
                return self.0.starts_with(b",").then_some(true);
            }
            if self.literal(&name[..3]).is_some() {
                return Some(false);
            }
        }
        None
    }

    fn month(&mut self) -> Option<u32> {
        let index = MONTHS.iter().position(|name| self.0.starts_with(*name))?;
        self.literal(MONTHS[index])?;
        Some(index as u32 + 1)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn put2(out: &mut [u8], value: u32) {
    debug_assert!(out.len() == 2 && value < 100);
    out[0] = b'0' + (value / 10) as u8;
    out[1] = b'0' + (value % 10) as u8;
}

fn put4(out: &mut [u8], value: u32) {
    put2(&mut out[0..2], value / 100);
    put2(&mut out[2..4], value % 100);
}

const WEEKDAYS: [&[u8]; 7] =
    [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const ZONES_UTC: [&[u8]; 4] = [b"GMT", b"UTC", b"+0000", b"-0000"];

const SECOND_MAX: u32 = 59;
const LEAP_SECOND: u32 = 60;
const DAY_SECONDS: i64 = 86_400;
const ERA_DAYS: i64 = 146_097;
const DAYS_FROM_MARCH_0000_TO_EPOCH: i64 = 719_468;
/// 0000-01-01T00:00:00Z.
const SECONDS_MIN: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Runs every parser over `data`; what parses must print and parse to itself.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let parsed = [Timestamp::parse_amz(data), Timestamp::parse_http(data), Timestamp::parse_iso8601(data)];
    for timestamp in parsed.into_iter().flatten() {
        assert!(timestamp.nanos < 1_000_000_000);
        // An offset or a leap second may lead a second or a day out of the four-digit years; printing clamps it.
        let shown = Timestamp::from_seconds(timestamp.seconds.clamp(SECONDS_MIN, SECONDS_MAX));
        assert_eq!(Timestamp::parse_amz(&timestamp.amz()), Some(shown));
        assert_eq!(Timestamp::parse_http(&timestamp.http()), Some(shown));
        let millis = Timestamp { nanos: timestamp.nanos / 1_000_000 * 1_000_000, ..shown };
        assert_eq!(Timestamp::parse_iso8601(&timestamp.iso8601_millis()), Some(millis));
    }
}

#[cfg(test)]
mod tests;
