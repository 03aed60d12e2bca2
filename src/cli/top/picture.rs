//! How a view is shown: lines of text for a window of some size.

use std::fmt::Write;

use super::view::{Quantiles, View};

/// A window.
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Size {
    /// No window.
    pub(super) const UNBOUNDED: Size = Size { rows: usize::MAX, columns: usize::MAX };
}

/// The picture. Lines that do not fit are cut off, and so are the last operations.
pub(super) fn draw(view: &View, size: &Size) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_view(&mut text, view);
    let lines = text.lines().take(size.rows);
    lines.map(|line| line.chars().take(size.columns).chain(['\n']).collect::<String>()).collect()
}

fn write_view(out: &mut String, view: &View) -> std::fmt::Result {
    let (version, driver) = &view.server;
    writeln!(
        out,
        "sluicegate {version}, {driver}, up {}   connections {}   in flight {}   panics {}",
        duration(view.uptime_seconds),
        view.connections,
        view.in_flight,
        view.panics
    )?;
    writeln!(
        out,
        "requests/s {}   4xx/s {}   5xx/s {}   in {}/s   out {}/s   cores busy {:.2}   memory {}",
        rate(view.requests),
        rate(view.client_errors),
        rate(view.server_errors),
        bytes(view.received_bytes),
        bytes(view.sent_bytes),
        view.processors,
        bytes(view.memory_bytes)
    )?;
    write!(out, "flushes/s {}   wait {}", rate(view.flushes), time(view.flush_seconds_mean))?;
    if let (Some(mean), Some(p99)) = (view.group_mean, view.group_p99) {
        write!(out, "   changes in one: mean {mean:.1}, p99 {p99:.0}")?;
    }
    writeln!(out, "   waiting {}", view.flushes_waiting)?;
    write!(out, "cores")?;
    for (index, (requests, connections)) in view.cores.iter().enumerate() {
        write!(out, "   {index}: {}/s of {connections}", rate(*requests))?;
    }
    writeln!(out)?;
    if !view.caches.is_empty() {
        write!(out, "found in caches")?;
        for (cache, share) in &view.caches {
            write!(out, "   {cache} {:.1}%", share * 100.0)?;
        }
        writeln!(out)?;
    }
    if view.waiting > 0.0 || view.dropped > 0.0 {
        writeln!(out, "logs and webhooks   waiting {}   dropped {}", view.waiting, view.dropped)?;
    }
    if !view.codes.is_empty() {
        write!(out, "errors/s")?;
        for (code, errors) in view.codes.iter().take(CODES_SHOWN) {
            write!(out, "   {code} {}", rate(*errors))?;
        }
        writeln!(out)?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:<32}{:>10}{:>10}{:>13}{:>10}{:>10}{:>10}",
        "OPERATION", "/S", "ERRORS/S", "FIRST P50", "P99", "ALL P50", "P99"
    )?;
    for operation in &view.operations {
        let Quantiles { p50: first_p50, p99: first_p99 } = operation.first_byte;
        let Quantiles { p50, p99 } = operation.total;
        writeln!(
            out,
            "{:<32}{:>10}{:>10}{:>13}{:>10}{:>10}{:>10}",
            operation.name,
            rate(operation.requests),
            rate(operation.errors),
            time(first_p50),
            time(first_p99),
            time(p50),
            time(p99)
        )?;
    }
    Ok(())
}

/// Error codes of one line.
const CODES_SHOWN: usize = 5;

fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn bytes(count: f64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let mut count = count;
    let mut unit = 0;
    while count >= 1000.0 && unit + 1 < units.len() {
        count /= 1000.0;
        unit += 1;
    }
    if unit == 0 || count >= 100.0 {
        format!("{count:.0} {}", units[unit])
    } else {
        format!("{count:.1} {}", units[unit])
    }
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds < 1e-3 => format!("{:.0} us", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::Operation;
    use super::*;

    fn view() -> View {
        View {
            server: ("1.2.3".into(), "io_uring".into()),
            uptime_seconds: 3_700.0,
            requests: 1234.4,
            received_bytes: 1_250_000.0,
            cores: vec![(1000.0, 3.0), (2.25, 0.0)],
            caches: vec![("sessions".into(), 0.5)],
            codes: vec![("NoSuchKey".into(), 3.0)],
            operations: vec![Operation {
                name: "GetObject".into(),
                requests: 1234.4,
                total: Quantiles { p50: Some(0.000_12), p99: Some(0.25) },
                ..Operation::default()
            }],
            ..View::default()
        }
    }

    #[test]
    fn a_picture() {
        let text = draw(&view(), &Size::UNBOUNDED);
        for part in [
            "sluicegate 1.2.3, io_uring, up 1 h 1 min ",
            "requests/s 1234 ",
            "in 1.2 MB/s",
            "cores   0: 1000/s of 3   1: 2.2/s of 0\n",
            "sessions 50.0%",
            "errors/s   NoSuchKey 3.0\n",
            "GetObject                             1234         0            -         -    120 us  250.0 ms\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'), "no control characters: it may go to a file");
    }

    #[test]
    fn it_fits_its_window() {
        let text = draw(&view(), &Size { rows: 4, columns: 20 });
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().all(|line| line.chars().count() <= 20));
    }

    #[test]
    fn figures() {
        assert_eq!(["0", "0.5", "10"], [0.0, 0.5, 10.4].map(rate).each_ref().map(String::as_str));
        assert_eq!(bytes(999.0), "999 B");
        assert_eq!(bytes(99_500.0), "99.5 KB");
        assert_eq!(bytes(2.5e15), "2500 TB");
        assert_eq!(
            (time(None), time(Some(0.0015)), time(Some(2.0))),
            ("-".into(), "1.5 ms".into(), "2.0 s".into())
        );
        assert_eq!((duration(59.0), duration(-1.0)), ("59 s".into(), "0 s".into()));
        assert_eq!((duration(90_000.0), duration(61.0)), ("1 d 1 h".into(), "1 min".into()));
    }
}
