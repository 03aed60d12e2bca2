//! How much memory the machine has to give.

use rustix::fs::{CWD, Mode, OFlags, openat};

/// What programs could have without swapping, page cache that can be dropped included, as the kernel estimates it. `None`:
/// it does not say. The call takes some 20 µs.
pub fn available_bytes() -> Option<u64> {
    let file = openat(CWD, "/proc/meminfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; MEMINFO_BYTES];
    let length = rustix::io::read(&file, &mut text).ok()?;
    available(text.get(..length)?)
}

fn available(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The line is the third.
const MEMINFO_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says() {
        let text =
            b"MemTotal:       24684092 kB\nMemFree:        19201708 kB\nMemAvailable:   22880092 kB\nBuff";
        assert_eq!(available(text), Some(22_880_092 * 1024));
        assert_eq!(available(b"MemTotal:       24684092 kB\n"), None);
        assert_eq!(available(b"MemAvailable:   2288\n"), None);
        assert_eq!(available(b"MemAvailable:   \xff kB\n"), None);
        assert_eq!(available(b"MemAvailable:   18446744073709551615 kB\n"), None);
        assert!(available_bytes().unwrap() > 1 << 20);
    }
}
