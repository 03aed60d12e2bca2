//! What two readings of the metrics say of the time between them.

use super::Reading;
use super::page::Page;

/// What is shown.
#[derive(Default, Debug)]
pub(super) struct View {
    /// Version and driver of the server.
    pub(super) server: (String, String),
    pub(super) uptime_seconds: f64,
    pub(super) connections: f64,
    pub(super) in_flight: f64,
    pub(super) panics: f64,
    /// Rates are per second.
    pub(super) requests: f64,
    pub(super) client_errors: f64,
    pub(super) server_errors: f64,
    pub(super) received_bytes: f64,
    pub(super) sent_bytes: f64,
    /// Cores that were busy.
    pub(super) processors: f64,
    pub(super) memory_bytes: f64,
    pub(super) flushes: f64,
    pub(super) flush_seconds_mean: Option<f64>,
    pub(super) flushes_waiting: f64,
    pub(super) group_mean: Option<f64>,
    pub(super) group_p99: Option<f64>,
    /// Requests, and open connections.
    pub(super) cores: Vec<(f64, f64)>,
    /// The share that was found, of caches that were asked.
    pub(super) caches: Vec<(String, f64)>,
    /// What waits for files and webhooks, and what was dropped in all.
    pub(super) waiting: f64,
    pub(super) dropped: f64,
    /// Operations that were asked for, the most frequent first.
    pub(super) operations: Vec<Operation>,
    /// Codes of errors, the most frequent first.
    pub(super) codes: Vec<(String, f64)>,
}

/// One operation. Times are in seconds.
#[derive(Default, Debug)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) first_byte: Quantiles,
    pub(super) total: Quantiles,
}

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl View {
    pub(super) fn between(before: &Reading, after: &Reading) -> View {
        // Both are read in an instant, so the time between is never quite nothing.
        let seconds = after.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let span = Span { before: &before.page, after: &after.page, seconds };
        let page = &after.page;
        let info = page.each("sluicegate_info").next();
        let label = |name| info.map_or("", |info| info.label(name)).to_owned();
        let flushes = span.rate("sluicegate_flushes_total");
        let groups = span.rate("sluicegate_flush_group_changes_count");
        View {
            server: (label("version"), label("driver")),
            uptime_seconds: now() - page.sum("process_start_time_seconds"),
            connections: page.sum("sluicegate_connections"),
            in_flight: page.sum("sluicegate_requests_in_flight"),
            panics: page.sum("sluicegate_panics_total"),
            requests: span.rate("sluicegate_requests_total"),
            client_errors: span.rate_of(REQUESTS, |status| status.starts_with('4')),
            server_errors: span.rate_of(REQUESTS, |status| status.starts_with('5')),
            received_bytes: span.rate("sluicegate_received_bytes_total"),
            sent_bytes: span.rate("sluicegate_sent_bytes_total"),
            processors: span.rate("process_cpu_seconds_total"),
            memory_bytes: page.sum("process_resident_memory_bytes"),
            flushes,
            flush_seconds_mean: (flushes > 0.0)
                .then(|| span.rate("sluicegate_flush_seconds_total") / flushes),
            flushes_waiting: page.sum("sluicegate_flushes_waiting"),
            group_mean: (groups > 0.0).then(|| span.rate("sluicegate_flush_group_changes_sum") / groups),
            group_p99: quantile(&span.buckets("sluicegate_flush_group_changes_bucket", None), 0.99),
            cores: span.cores(),
            caches: span.caches(),
            waiting: page.sum("sluicegate_journal_waiting") + page.sum("sluicegate_notices_waiting"),
            dropped: page.sum_of("sluicegate_journal_lines_total", "result", "dropped")
                + page.sum_of("sluicegate_notices_total", "result", "dropped"),
            operations: span.operations(),
            codes: span.rates("sluicegate_errors_total", "code"),
        }
    }
}

fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

const REQUESTS: &str = "sluicegate_requests_total";

struct Span<'p> {
    before: &'p Page,
    after: &'p Page,
    seconds: f64,
}

impl Span<'_> {
    /// What counters grew by; those that became smaller began anew with their server.
    fn grown(&self, before: f64, after: f64) -> f64 {
        if after >= before { after - before } else { after }
    }

    fn rate(&self, name: &str) -> f64 {
        self.grown(self.before.sum(name), self.after.sum(name)) / self.seconds
    }

    fn rate_of(&self, name: &str, is_meant: fn(&str) -> bool) -> f64 {
        let sum = |page: &Page| -> f64 {
            page.each(name).filter(|sample| is_meant(sample.label("status"))).map(|sample| sample.value).sum()
        };
        self.grown(sum(self.before), sum(self.after)) / self.seconds
    }

    /// The rates for each value of a label that grew, the highest first.
    fn rates(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut values: Vec<&str> = self.after.each(name).map(|sample| sample.label(label)).collect();
        values.sort_unstable();
        values.dedup();
        let rate = |value: &str| {
            let (before, after) =
                (self.before.sum_of(name, label, value), self.after.sum_of(name, label, value));
            self.grown(before, after) / self.seconds
        };
        let mut rates: Vec<(String, f64)> =
            values.into_iter().map(|value| (value.to_owned(), rate(value))).collect();
        rates.retain(|(_, rate)| *rate > 0.0);
        rates.sort_by(|left, right| right.1.total_cmp(&left.1));
        rates
    }

    fn cores(&self) -> Vec<(f64, f64)> {
        let requests = |page: &Page, core: &str| page.sum_of("sluicegate_core_requests_total", "core", core);
        let connections = self.after.each("sluicegate_connections");
        connections
            .map(|sample| {
                let core = sample.label("core");
                let grown = self.grown(requests(self.before, core), requests(self.after, core));
                (grown / self.seconds, sample.value)
            })
            .collect()
    }

    fn caches(&self) -> Vec<(String, f64)> {
        let name = "sluicegate_cache_lookups_total";
        let count = |page: &Page, cache: &str, result: &str| -> f64 {
            let of = page.each(name).filter(|it| it.label("cache") == cache && it.label("result") == result);
            of.map(|sample| sample.value).sum()
        };
        let grown = |cache: &str, result: &str| {
            self.grown(count(self.before, cache, result), count(self.after, cache, result))
        };
        let found = self.after.each(name).filter(|sample| sample.label("result") == "found");
        found
            .filter_map(|sample| {
                let cache = sample.label("cache");
                let (found, missed) = (grown(cache, "found"), grown(cache, "missed"));
                (found + missed > 0.0).then(|| (cache.to_owned(), found / (found + missed)))
            })
            .collect()
    }

    fn operations(&self) -> Vec<Operation> {
        let rates = self.rates(REQUESTS, "operation");
        rates.into_iter().map(|(name, requests)| self.operation(name, requests)).collect()
    }

    fn operation(&self, name: String, requests: f64) -> Operation {
        let failed = |page: &Page| -> f64 {
            let of =
                page.each(REQUESTS).filter(|it| it.label("operation") == name && it.label("status") >= "400");
            of.map(|sample| sample.value).sum()
        };
        let errors = self.grown(failed(self.before), failed(self.after)) / self.seconds;
        let quantiles = |metric: &str| {
            let buckets = self.buckets(metric, Some(&name));
            Quantiles { p50: quantile(&buckets, 0.5), p99: quantile(&buckets, 0.99) }
        };
        Operation {
            requests,
            errors,
            first_byte: quantiles("sluicegate_first_byte_seconds_bucket"),
            total: quantiles("sluicegate_request_duration_seconds_bucket"),
            name,
        }
    }

    /// Upper bounds, and how many were at most so large.
    fn buckets(&self, metric: &str, operation: Option<&str>) -> Vec<(f64, f64)> {
        let count = |page: &Page, bound: &str| -> f64 {
            let of = page.each(metric).filter(|sample| sample.label("le") == bound);
            let of = of.filter(|sample| operation.is_none_or(|name| sample.label("operation") == name));
            of.map(|sample| sample.value).sum()
        };
        let of = self.after.each(metric);
        let of = of.filter(|sample| operation.is_none_or(|name| sample.label("operation") == name));
        of.filter_map(|sample| {
            let bound = sample.label("le");
            let grown = self.grown(count(self.before, bound), sample.value);
            Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, grown))
        })
        .collect()
    }
}

/// The value that this share is at most as large as: between the bounds of its bucket, in proportion. What is beyond all
/// bounds is told as the last of them.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let (_, all) = *buckets.last()?;
    if all <= 0.0 {
        return None;
    }
    let wanted = all * share;
    let index = buckets.iter().position(|(_, count)| *count >= wanted)?;
    let (bound, count) = buckets[index];
    let (below_bound, below) = if index == 0 { (0.0, 0.0) } else { buckets[index - 1] };
    if bound.is_infinite() {
        return Some(below_bound);
    }
    Some(below_bound + (bound - below_bound) * (wanted - below) / (count - below).max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn reading(at: Instant, text: &str) -> Reading {
        Reading { at, page: Page::parse(text) }
    }

    #[test]
    fn rates_are_per_second_and_begin_anew_with_the_server() {
        let begin = Instant::now();
        let page = |gets: u32, missing: u32| {
            format!(
                "sluicegate_requests_total{{operation=\"GetObject\",status=\"200\"}} {gets}\n\
                 sluicegate_requests_total{{operation=\"GetObject\",status=\"404\"}} {missing}\n\
                 sluicegate_errors_total{{code=\"NoSuchKey\"}} {missing}\n\
                 sluicegate_connections{{core=\"0\"}} 3\nsluicegate_core_requests_total{{core=\"0\"}} {gets}\n\
                 sluicegate_cache_lookups_total{{cache=\"sessions\",result=\"found\"}} 0\n\
                 sluicegate_cache_lookups_total{{cache=\"signing_keys\",result=\"found\"}} {gets}\n\
                 sluicegate_cache_lookups_total{{cache=\"signing_keys\",result=\"missed\"}} {missing}\n"
            )
        };
        let before = reading(begin, &page(100, 10));
        let after = reading(begin + Duration::from_secs(2), &page(160, 30));
        let view = View::between(&before, &after);
        assert_eq!((view.requests, view.client_errors, view.server_errors), (40.0, 10.0, 0.0));
        assert_eq!(view.codes, [("NoSuchKey".to_owned(), 10.0)]);
        assert_eq!(view.cores, [(30.0, 3.0)]);
        assert_eq!(view.caches, [("signing_keys".to_owned(), 0.75)]);
        let [operation] = view.operations.as_slice() else { panic!("one operation") };
        assert_eq!((&*operation.name, operation.requests, operation.errors), ("GetObject", 40.0, 10.0));
        let anew = reading(begin + Duration::from_secs(3), &page(7, 0));
        assert_eq!(View::between(&after, &anew).requests, 7.0);
        assert!(View::between(&anew, &anew).operations.is_empty());
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let buckets = [(1.0, 50.0), (2.0, 90.0), (4.0, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile(&buckets, 0.5), Some(1.0));
        assert_eq!(quantile(&buckets, 0.7), Some(1.5));
        assert_eq!(quantile(&buckets, 0.95), Some(3.0));
        assert_eq!(quantile(&[(1.0, 0.0), (f64::INFINITY, 5.0)], 0.5), Some(1.0), "beyond all bounds");
        assert_eq!(quantile(&[(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
