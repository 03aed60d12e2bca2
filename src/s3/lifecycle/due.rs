//! When a rule acts on what: facts and rules in, points in time out.
//!
//! Spec: "Lifecycle configuration elements" of the S3 user guide, on rules that are based on an object's age or on a
//! date, and on several rules that speak of one object: the earliest expiration holds.

use std::time::Duration;

use super::{Expiration, Filter, Lifecycle, Predicates, Rule};
use crate::codec::dates::Timestamp;
use crate::storage::record::Tags;

/// How long a day of the rules lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Day(Duration);

impl Day {
    /// A day of the calendar.
    pub const CALENDAR: Day = Day(Duration::from_secs(SECONDS));

    /// A day that lasts so long.
    pub const fn lasting(duration: Duration) -> Day {
        Day(duration)
    }

    /// The point in time that is `days` days after `start`. Days of the calendar end at midnight UTC: it is the first
    /// midnight from then on. Shorter ones, with which rules are tried, are counted from `start`.
    pub fn after(self, start: Timestamp, days: u32) -> Timestamp {
        let span = i64::from(days).saturating_mul(self.0.as_secs() as i64);
        let moment = start.seconds.saturating_add(span);
        if self == Day::CALENDAR {
            let begun = i64::from(start.nanos > 0);
            let midnight = moment.saturating_add(SECONDS as i64 - 1 + begun).div_euclid(SECONDS as i64);
            return Timestamp::from_seconds(midnight.saturating_mul(SECONDS as i64));
        }
        // Less than 2^32 nanoseconds, 2^32 times.
        let nanos = u64::from(days) * u64::from(self.0.subsec_nanos()) + u64::from(start.nanos);
        let carried = moment.saturating_add((nanos / 1_000_000_000) as i64);
        Timestamp { seconds: carried, nanos: (nanos % 1_000_000_000) as u32 }
    }
}

/// What is known of an object.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'o> {
    /// Its key.
    pub key: &'o [u8],
    /// Its bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// Its tags; `None` while they are not read, and then a rule that asks for tags counts as one that may speak of it.
    pub tags: Option<&'o Tags>,
}

impl Lifecycle {
    /// When the current version of this object expires, and by which rule; `None` if it never does.
    pub fn expires(&self, facts: &Facts<'_>, day: Day) -> Option<(Timestamp, &Rule)> {
        let moments = self.rules.iter().filter(|rule| rule.enabled).filter_map(|rule| {
            let moment = match rule.expiration? {
                Expiration::Days(days) => day.after(facts.modified, days),
                Expiration::Date(date) => date,
                Expiration::DeleteMarkers(_) => return None,
            };
            rule.filter.takes(facts).then_some((moment, rule))
        });
        // Of several at the same time, the first one of the document.
        moments.min_by_key(|(moment, _)| *moment)
    }

    /// When a noncurrent version is removed that ceased to be current at `since`, with `newer_versions` noncurrent ones
    /// that are newer; `None` if it never is. A delete marker has no size.
    pub fn removes(
        &self,
        facts: &Facts<'_>,
        since: Timestamp,
        newer_versions: u32,
        is_marker: bool,
        day: Day,
    ) -> Option<Timestamp> {
        let moments = self.rules.iter().filter(|rule| rule.enabled).filter_map(|rule| {
            let noncurrent = rule.noncurrent?;
            let takes = rule.filter.takes(facts)
                && !(is_marker && rule.filter.has_sizes())
                && noncurrent.newer_versions.is_none_or(|kept| newer_versions >= kept);
            takes.then(|| day.after(since, noncurrent.days))
        });
        moments.min()
    }

    /// When a delete marker is removed that has no versions behind it and was made at `modified`; `None` if it never is.
    /// It has neither tags nor a size.
    pub fn removes_marker(&self, key: &[u8], modified: Timestamp, day: Day) -> Option<Timestamp> {
        let moments = self.rules.iter().filter(|rule| rule.enabled).filter_map(|rule| {
            let of_markers = !rule.filter.has_tags() && !rule.filter.has_sizes();
            let takes = of_markers && key.starts_with(rule.filter.prefix().as_bytes());
            match rule.expiration? {
                Expiration::Days(days) => takes.then(|| day.after(modified, days)),
                Expiration::Date(date) => takes.then_some(date),
                Expiration::DeleteMarkers(wanted) => (takes && wanted).then_some(modified),
            }
        });
        moments.min()
    }

    /// When an upload that began at `initiated` is aborted; `None` if it never is.
    pub fn aborts(&self, key: &[u8], initiated: Timestamp, day: Day) -> Option<Timestamp> {
        let of_key = |rule: &&Rule| rule.enabled && key.starts_with(rule.filter.prefix().as_bytes());
        let days = self.rules.iter().filter(of_key).filter_map(|rule| rule.abort_days).min()?;
        Some(day.after(initiated, days))
    }

    /// The prefixes of all keys that a rule with such an action speaks of: none of them is a prefix of another.
    pub fn prefixes(&self, has_action: impl Fn(&Rule) -> bool) -> Vec<&str> {
        let acting = self.rules.iter().filter(|rule| rule.enabled && has_action(rule));
        let mut prefixes: Vec<&str> = acting.map(|rule| rule.filter.prefix()).collect();
        prefixes.sort_unstable();
        // In this order, what begins with another one stands right behind it, or behind its like.
        prefixes.dedup_by(|later, earlier| later.starts_with(*earlier));
        prefixes
    }
}

impl Filter {
    /// Whether an object meets all predicates.
    pub fn takes(&self, facts: &Facts<'_>) -> bool {
        self.all().all(|predicates| predicates.hold(facts))
    }

    /// A prefix of all keys that can meet the predicates: the longest that is named.
    pub fn prefix(&self) -> &str {
        let named = self.all().filter_map(|predicates| predicates.prefix.as_deref());
        named.max_by_key(|prefix| prefix.len()).unwrap_or_default()
    }

    /// Whether it asks for tags.
    pub fn has_tags(&self) -> bool {
        self.all().any(|predicates| !predicates.tags.is_empty())
    }

    /// Whether it asks for a size.
    pub fn has_sizes(&self) -> bool {
        self.all().any(|predicates| predicates.larger_than.is_some() || predicates.smaller_than.is_some())
    }

    /// All tags it asks for.
    pub fn tags(&self) -> impl Iterator<Item = &(String, String)> {
        self.all().flat_map(|predicates| &predicates.tags)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Predicates> {
        std::iter::once(&self.plain).chain(&self.and)
    }
}

impl Predicates {
    fn hold(&self, facts: &Facts<'_>) -> bool {
        let has_tag = |(key, value): &(String, String)| {
            facts.tags.is_none_or(|tags| tags.iter().any(|tag| tag == (key.as_str(), value.as_str())))
        };
        self.prefix.as_ref().is_none_or(|prefix| facts.key.starts_with(prefix.as_bytes()))
            && self.larger_than.is_none_or(|bytes| facts.size > bytes)
            && self.smaller_than.is_none_or(|bytes| facts.size < bytes)
            && self.tags.iter().all(has_tag)
    }
}

/// Seconds of a day of the calendar.
const SECONDS: u64 = 24 * 60 * 60;
