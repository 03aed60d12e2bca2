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
            report["server_busy"] = json!(used.cpu.as_secs_f64() / seconds);
            report["server_cpu_us"] = json!(used.cpu.as_secs_f64() * 1e6 / count);
            report["server_cpu_s_per_gib"] =
                if gib > 0.0 { json!(used.cpu.as_secs_f64() / gib) } else { Value::Null };
            report["server_rss_mib"] = json!(used.rss_bytes as f64 / (1 << 20) as f64);
            report["server_rss_peak_mib"] = json!(used.rss_peak_bytes as f64 / (1 << 20) as f64);
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
    /// The most it has been.
    pub rss_peak_bytes: u64,
}

impl Usage {
    /// Of a running process. `None`: it cannot be read.
    pub fn of(pid: u32) -> Option<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let ticks = processor_ticks(&stat)?;
        let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        let memory = |name| kibibytes(&status, name).map(|count| count * 1024);
        Some(Usage { cpu, rss_bytes: memory("VmRSS:")?, rss_peak_bytes: memory("VmHWM:")? })
    }

    /// Of this process, by the exact clock; without memory.
    pub fn own() -> Usage {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Usage { cpu: Duration::new(time.tv_sec as u64, time.tv_nsec as u32), rss_bytes: 0, rss_peak_bytes: 0 }
    }

    /// What was used since an earlier reading.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage { cpu: self.cpu.saturating_sub(earlier.cpu), ..self }
    }
}

/// User and system time of `/proc/<pid>/stat`.
fn processor_ticks(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold spaces; the fields behind it do not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(number(11)? + number(12)?)
}

/// A line of `/proc/<pid>/status`.
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// The middle of some numbers; of two middles the lower one. 0 of none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(numbers.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 3 4 20 0 1 0 5 6 7";
        assert_eq!(processor_ticks(stat), Some(42));
        assert_eq!(processor_ticks("7 (a) S 1"), None);
        let status = "Name:\tx\nVmHWM:\t    9000 kB\nVmRSS:\t    8192 kB\n";
        assert_eq!((kibibytes(status, "VmRSS:"), kibibytes(status, "VmHWM:")), (Some(8192), Some(9000)));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
        let own = Usage::of(std::process::id()).unwrap();
        assert!(own.rss_bytes > 0 && own.rss_peak_bytes >= own.rss_bytes);
    }

    #[test]
    fn reports() {
        let mut stats = Stats::default();
        for micros in 1..=100 {
            stats.record(Duration::from_micros(micros), 1 << 20);
        }
        let used = Usage { cpu: Duration::from_secs(1), rss_bytes: 3 << 20, rss_peak_bytes: 4 << 20 };
        let report = stats.report(2.0, Some(used));
        let near = |name: &str, expected: f64| {
            let found = report[name].as_f64().unwrap();
            assert!((found - expected).abs() <= expected * 0.002, "{name}: {found}");
        };
        near("per_second", 50.0);
        near("gib_per_second", 100.0 / 1024.0 / 2.0);
        near("p50_us", 50.0);
        near("p99_us", 99.0);
        near("server_busy", 0.5);
        near("server_cpu_us", 10_000.0);
        near("server_cpu_s_per_gib", 10.24);
        near("server_rss_mib", 3.0);
        near("server_rss_peak_mib", 4.0);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}
