//! What a run measured, as one JSON object.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies and totals of the measured time.
pub struct Stats {
    latency_ns: Histogram<u64>,
    bytes: u64,
}

impl Default for Stats {
    fn default() -> Stats {
        let latency_ns =
            Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("the bounds are in order");
        Stats { latency_ns, bytes: 0 }
    }
}

impl Stats {
    /// One request or operation that carried `bytes` of content.
    pub fn record(&mut self, latency: Duration, bytes: u64) {
        self.latency_ns.saturating_record(latency.as_nanos() as u64);
        self.bytes += bytes;
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.latency_ns.len()
    }

    /// Rates over `seconds`, latencies in microseconds, and what the process `server` used meanwhile.
    pub fn report(&self, seconds: f64, server: Option<Usage>) -> Value {
        let (count, gib) = (self.count().max(1) as f64, self.bytes as f64 / (1 << 30) as f64);
        let percentile = |quantile| self.latency_ns.value_at_quantile(quantile) as f64 / 1000.0;
        let mut report = json!({
            "count": self.count(),
            "seconds": seconds,
            "per_second": self.count() as f64 / seconds,
            "gib_per_second": gib / seconds,
            "p50_us": percentile(0.5),
            "p99_us": percentile(0.99),
            "p999_us": percentile(0.999),
            "max_us": self.latency_ns.max() as f64 / 1000.0,
        });
        if let Some(used) = server {
            report["server_cpu_us"] = json!(used.cpu.as_secs_f64() * 1e6 / count);
            report["server_cpu_s_per_gib"] =
                if gib > 0.0 { json!(used.cpu.as_secs_f64() / gib) } else { Value::Null };
            report["server_rss_mib"] = json!(used.rss_bytes as f64 / (1 << 20) as f64);
        }
        report
    }
}

/// What a process has used of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time of all its threads, user and system.
    pub cpu: Duration,
    /// Resident memory now.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of a running process. `None`: it cannot be read.
    pub fn of(pid: u32) -> Option<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold spaces; the fields behind it do not.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = number(11)? + number(12)?;
        let per_second = rustix::param::clock_ticks_per_second();
        let cpu = Duration::from_secs_f64(ticks as f64 / per_second as f64);
        Some(Usage { cpu, rss_bytes: number(21)? * rustix::param::page_size() as u64 })
    }

    /// What was used since an earlier reading.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage { cpu: self.cpu.saturating_sub(earlier.cpu), ..self }
    }
}
