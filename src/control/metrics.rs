//! What the server says of itself to a monitoring system, over plain HTTP on an address of its own:
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | counters and gauges in the text format of Prometheus |
//! | `/health/live` | 200 as long as the control thread runs |
//! | `/health/ready` | 200 while requests can be served; 503 if the data directory does not answer |
//!
//! A server that stops takes no more calls here either, before it waits for the requests under way.
//!
//! Names, labels and values never hold a user, a bucket or a key. Nothing here can change anything. It is plain HTTP without
//! a password: the address belongs into a network whose members may know how busy the server is.
//! Spec: Prometheus "Exposition formats", text format 0.0.4.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::counters::{self, GROUP_BOUNDS, Histogram, LATENCY_BOUNDS, Requests, Totals};
use crate::s3::context::Service;
use crate::s3::journal::{Journal, Sink};

/// What the answers are made from.
#[derive(Clone)]
pub struct Monitored {
    /// The server.
    pub service: Arc<Service>,
    /// Who is told of each request.
    pub journal: Arc<Journal>,
    /// What drives its cores: `io_uring` or `epoll`.
    pub driver: &'static str,
}

/// The routes.
pub fn router(monitored: Monitored) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .with_state(monitored)
}

/// The same figures on the admin socket, for `sluicegate top`: there is not always an address for monitors.
pub fn admin_router(monitored: Monitored) -> Router {
    Router::new().route("/v1/metrics", get(metrics)).with_state(monitored)
}

/// A dashboard for Grafana over these metrics.
pub const DASHBOARD: &str = include_str!("dashboard.json");

async fn metrics(State(monitored): State<Monitored>) -> Response {
    let text = write_metrics(&counters::totals(), &monitored);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn ready(State(monitored): State<Monitored>) -> (StatusCode, &'static str) {
    let service = monitored.service.clone();
    let look = tokio::task::spawn_blocking(move || service.root.is_reachable());
    match tokio::time::timeout(READY_TIME, look).await {
        Ok(Ok(true)) => (StatusCode::OK, "ready\n"),
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "the data directory is gone\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the data directory does not answer\n"),
    }
}

fn write_metrics(totals: &Totals, monitored: &Monitored) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    let root = &monitored.service.root;
    page.head("sluicegate_info", "gauge", "The server's version and how it waits for the kernel; always 1.");
    let version = env!("CARGO_PKG_VERSION");
    page.line("sluicegate_info", &[("version", version), ("driver", monitored.driver)], 1);

    page.head(
        "sluicegate_capability",
        "gauge",
        "What the file system and the process can do (1) or lack (0).",
    );
    let can = root.capabilities;
    for (name, has) in [
        ("unnamed_files", can.unnamed_files),
        ("direct_io", can.direct_io),
        ("link_by_descriptor", can.link_by_descriptor),
        ("attributes", can.attributes),
        ("exchange", can.exchange),
        ("chown", can.chown),
        ("fine_times", can.fine_times),
        ("reports_changes", can.reports_changes),
    ] {
        page.line("sluicegate_capability", &[("name", name)], u8::from(has));
    }

    page.head("sluicegate_requests_total", "counter", "Answered requests.");
    for requests in &totals.requests {
        let status = requests.status.to_string();
        let labels = [("operation", requests.operation), ("status", &*status)];
        page.line("sluicegate_requests_total", &labels, requests.count);
    }
    page.head("sluicegate_errors_total", "counter", "Answers that were errors, by code.");
    for (code, count) in &totals.failures {
        page.line("sluicegate_errors_total", &[("code", *code)], count);
    }
    write_latencies(&mut page, totals);
    write_cores(&mut page, totals);
    page.head("sluicegate_panics_total", "counter", "Requests whose handler panicked: each is a bug.");
    page.line("sluicegate_panics_total", &[], counters::panics());

    let (objects, uploads) = counters::expirations();
    page.head("sluicegate_lifecycle_total", "counter", "What lifecycle rules deleted or aborted.");
    page.line("sluicegate_lifecycle_total", &[("what", "objects")], objects);
    page.line("sluicegate_lifecycle_total", &[("what", "uploads")], uploads);
    let (delivered, dropped) = counters::notices();
    page.head(
        "sluicegate_notices_total",
        "counter",
        "Notices for webhooks: delivered, and dropped for good.",
    );
    page.line("sluicegate_notices_total", &[("result", "delivered")], delivered);
    page.line("sluicegate_notices_total", &[("result", "dropped")], dropped);
    page.head("sluicegate_notices_waiting", "gauge", "Notices that wait for webhooks.");
    page.line("sluicegate_notices_waiting", &[], monitored.service.webhooks.waiting());

    write_journal(&mut page, &monitored.journal);

    let flushes = root.committer.statistics();
    page.head("sluicegate_flushes_total", "counter", "Changes that were made durable.");
    page.line("sluicegate_flushes_total", &[], flushes.count);
    page.head(
        "sluicegate_flush_seconds_total",
        "counter",
        "Time that changes waited for the disk, added up.",
    );
    page.line("sluicegate_flush_seconds_total", &[], flushes.took.as_secs_f64());
    page.head("sluicegate_flushes_waiting", "gauge", "Changes that wait for a flushing thread.");
    page.line("sluicegate_flushes_waiting", &[], flushes.waiting);
    write_flush_groups(&mut page, totals);
    page.head("sluicegate_cache_lookups_total", "counter", "Look-ups in caches: found there, or missed.");
    for cached in &totals.caches {
        let cache = ("cache", cached.cache.name());
        page.line("sluicegate_cache_lookups_total", &[cache, ("result", "found")], cached.found);
        page.line("sluicegate_cache_lookups_total", &[cache, ("result", "missed")], cached.missed);
    }
    page.head(
        "sluicegate_directory_cache_bytes",
        "gauge",
        "Memory of the sorted directories kept for listings.",
    );
    page.line("sluicegate_directory_cache_bytes", &[], root.directories.bytes());
    write_process(&mut page);
    page.0
}

/// Two histograms for each operation, whatever the status.
fn write_latencies(page: &mut Page, totals: &Totals) {
    type Of = fn(&Requests) -> &Histogram;
    let kinds: [(&str, &str, Of); 2] = [
        (
            "sluicegate_request_duration_seconds",
            "From the end of a request's head to the last byte of its answer.",
            |requests| &requests.took,
        ),
        (
            "sluicegate_first_byte_seconds",
            "From the end of a request's head to the first byte of its answer.",
            |requests| &requests.first_byte,
        ),
    ];
    for (name, help, of) in kinds {
        page.head(name, "histogram", help);
        for of_operation in totals.requests.chunk_by(|left, right| left.operation == right.operation) {
            let mut sum = Histogram::default();
            of_operation.iter().for_each(|requests| sum.add(of(requests)));
            let count = of_operation.iter().map(|requests| requests.count).sum();
            page.histogram(name, &[("operation", of_operation[0].operation)], &sum, count);
        }
    }
}

fn write_cores(page: &mut Page, totals: &Totals) {
    page.head("sluicegate_requests_in_flight", "gauge", "Requests under way.");
    let in_flight: i64 = totals.cores.iter().map(|core| core.in_flight).sum();
    page.line("sluicegate_requests_in_flight", &[], in_flight);
    page.head("sluicegate_connections", "gauge", "Open connections, for each core.");
    for (index, core) in totals.cores.iter().enumerate() {
        page.line("sluicegate_connections", &[("core", &*index.to_string())], core.connections);
    }
    page.head("sluicegate_core_requests_total", "counter", "Answered requests, for each core.");
    for (index, core) in totals.cores.iter().enumerate() {
        page.line("sluicegate_core_requests_total", &[("core", &*index.to_string())], core.requests);
    }
    let received: u64 = totals.cores.iter().map(|core| core.received_bytes).sum();
    page.head("sluicegate_received_bytes_total", "counter", "Bytes from peers, as they were on the wire.");
    page.line("sluicegate_received_bytes_total", &[], received);
    let sent: u64 = totals.cores.iter().map(|core| core.sent_bytes).sum();
    page.head("sluicegate_sent_bytes_total", "counter", "Bytes to peers, as they were on the wire.");
    page.line("sluicegate_sent_bytes_total", &[], sent);
}

fn write_journal(page: &mut Page, journal: &Journal) {
    page.head(
        "sluicegate_journal_lines_total",
        "counter",
        "Lines of the access log and the audit: written or delivered, and dropped for good.",
    );
    let totals: Vec<_> = journal.sinks().map(Sink::totals).collect();
    for of_sink in &totals {
        let sink = ("sink", of_sink.name);
        page.line("sluicegate_journal_lines_total", &[sink, ("result", "written")], of_sink.written);
        page.line("sluicegate_journal_lines_total", &[sink, ("result", "dropped")], of_sink.dropped);
    }
    page.head("sluicegate_journal_waiting", "gauge", "Lines of the access log and the audit that wait.");
    for of_sink in &totals {
        page.line("sluicegate_journal_waiting", &[("sink", of_sink.name)], of_sink.waiting);
    }
}

fn write_flush_groups(page: &mut Page, totals: &Totals) {
    const NAME: &str = "sluicegate_flush_group_changes";
    page.head(NAME, "histogram", "How many changes became durable with one flush.");
    let groups = &totals.flush_groups;
    let mut below = 0;
    for (bound, count) in GROUP_BOUNDS.iter().zip(groups.buckets) {
        below += count;
        page.line(&format!("{NAME}_bucket"), &[("le", &*bound.to_string())], below);
    }
    let count: u64 = groups.buckets.iter().sum();
    page.line(&format!("{NAME}_bucket"), &[("le", "+Inf")], count);
    page.line(&format!("{NAME}_sum"), &[], groups.changes);
    page.line(&format!("{NAME}_count"), &[], count);
}

/// What every exporter says of its process, under the names that dashboards know.
fn write_process(page: &mut Page) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold spaces; the fields behind it do not (proc_pid_stat(5)).
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    page.head("process_cpu_seconds_total", "counter", "User and system time.");
    page.line("process_cpu_seconds_total", &[], (field(14) + field(15)) as f64 / ticks);
    page.head("process_resident_memory_bytes", "gauge", "Resident memory.");
    page.line("process_resident_memory_bytes", &[], field(24) * rustix::param::page_size() as u64);
    page.head("process_open_fds", "gauge", "Open descriptors.");
    page.line("process_open_fds", &[], std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count));
    page.head("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.");
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as f64;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    page.line("process_start_time_seconds", &[], (now - uptime + field(22) as f64 / ticks).round());
}

/// A page under construction. Writing to a string cannot fail.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Label values are the server's own words, which need no escape.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        debug_assert!(labels.iter().all(|(_, value)| !value.contains(['"', '\\', '\n'])));
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A histogram of times over [`LATENCY_BOUNDS`]; `count` includes what was longer than the last.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], times: &Histogram, count: u64) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in LATENCY_BOUNDS.iter().zip(times.buckets) {
            below += count;
            let bound = bound.as_secs_f64().to_string();
            self.line(&bucket, &[labels, &[("le", &*bound)]].concat(), below);
        }
        // Read one after the other: a request that came in between must not make it smaller than the last bucket.
        let count = count.max(below);
        self.line(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.line(&format!("{name}_sum"), labels, times.sum.as_secs_f64());
        self.line(&format!("{name}_count"), labels, count);
    }
}

/// How long the data directory may take to answer.
const READY_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Requests;

    #[test]
    fn histograms_are_cumulative_and_over_all_statuses() {
        let requests = |operation, status, first| {
            let mut took = Histogram { sum: Duration::from_millis(500), ..Histogram::default() };
            (took.buckets[1], took.buckets[3]) = (first, 1);
            let mut first_byte = Histogram::default();
            first_byte.buckets[0] = first + 1;
            Requests { operation, status, count: first + 2, took, first_byte }
        };
        let totals = Totals {
            requests: vec![
                requests("GetObject", 200, 3),
                requests("GetObject", 404, 1),
                requests("PutObject", 200, 0),
            ],
            ..Totals::default()
        };
        let mut page = Page(String::new());
        write_latencies(&mut page, &totals);
        for line in [
            "# TYPE sluicegate_request_duration_seconds histogram",
            "sluicegate_request_duration_seconds_bucket{operation=\"GetObject\",le=\"0.000025\"} 0",
            "sluicegate_request_duration_seconds_bucket{operation=\"GetObject\",le=\"0.00005\"} 4",
            "sluicegate_request_duration_seconds_bucket{operation=\"GetObject\",le=\"0.0001\"} 4",
            "sluicegate_request_duration_seconds_bucket{operation=\"GetObject\",le=\"60\"} 6",
            "sluicegate_request_duration_seconds_bucket{operation=\"GetObject\",le=\"+Inf\"} 8",
            "sluicegate_request_duration_seconds_sum{operation=\"GetObject\"} 1",
            "sluicegate_request_duration_seconds_count{operation=\"PutObject\"} 2",
            "sluicegate_first_byte_seconds_bucket{operation=\"GetObject\",le=\"0.000025\"} 6",
        ] {
            assert!(page.0.lines().any(|other| other == line), "{line} is not in {}", page.0);
        }
    }
}
