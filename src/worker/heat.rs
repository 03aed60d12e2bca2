//! Which large files a core reads again and again: those are worth having in the page cache.
//!
//! A large object is written and read past the page cache, which costs the least for what is read once, and leaves the
//! cache to others. From the page cache it costs less still; but nothing would ever bring it there. So each core counts
//! what it reads past the cache. Once that is as much of a file as the file has, what is read of it next goes through the
//! page cache and stays there.
//!
//! # Invariants
//! - What is read once, as a whole or in ranges, does not go through the page cache.
//! - What does not stay there, because others need the memory, is not brought there over and over: of each file at most
//!   [`limits::WARM_READS_MAX`] times its size goes through the cache within a window.
//! - What the page cache has already is not counted: who reads asks the kernel before.
//! - Bounded: a new file takes the place of the one that was read longest ago.

use std::cell::RefCell;
use std::time::Duration;

use crate::limits;
use crate::storage::object::FileId;

/// What a core read of large files lately.
#[derive(Default)]
pub struct Heat {
    /// Few enough to look through them for each large answer.
    files: RefCell<Vec<Warmth>>,
}

struct Warmth {
    file: FileId,
    /// When its window began.
    since: Duration,
    last_read: Duration,
    /// What was read of it within the window while the page cache did not have it.
    bytes: u64,
}

impl Heat {
    /// Counts that `length` bytes of a file are about to be read, which the page cache does not have. True: they are to go
    /// through it. `now` is of a clock that nobody sets.
    pub fn read(&self, file: FileId, length: u64, now: Duration) -> bool {
        let mut files = self.files.borrow_mut();
        let index = files.iter().position(|known| known.file == file).unwrap_or_else(|| {
            if files.len() < limits::WARM_FILES_MAX {
                files.push(Warmth { file, since: now, last_read: now, bytes: 0 });
                return files.len() - 1;
            }
            let coldest = files.iter().enumerate().min_by_key(|(_, known)| known.last_read);
            let index = coldest.map_or(0, |(index, _)| index);
            files[index] = Warmth { file, since: now, last_read: now, bytes: 0 };
            index
        });
        let known = &mut files[index];
        if now.saturating_sub(known.since) > limits::WARM_WINDOW {
            (known.since, known.bytes) = (now, 0);
        }
        let before = known.bytes;
        known.last_read = now;
        known.bytes = before.saturating_add(length);
        let size = file.stamp.size;
        (size..size.saturating_mul(1 + limits::WARM_READS_MAX)).contains(&before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dates::Timestamp;
    use crate::storage::record::FileStamp;

    const SIZE: u64 = 1000;

    fn file(inode: u64, changed: i64) -> FileId {
        let time = Timestamp::from_seconds(changed);
        FileId { device: 1, stamp: FileStamp { inode, size: SIZE, mtime: time, ctime: time } }
    }

    /// Reads `length` bytes of a file at each of the times; whether each goes through the page cache.
    fn check(length: u64, seconds: &[u64], expected: &str) {
        let heat = Heat::default();
        let read = |second: &u64| heat.read(file(1, 0), length, Duration::from_secs(*second));
        let found: String = seconds.iter().map(|second| if read(second) { 'W' } else { '.' }).collect();
        assert_eq!(found, expected, "{length} bytes at {seconds:?}");
    }

    #[test]
    fn what_is_read_a_second_time_goes_through_the_page_cache() {
        check(SIZE, &[5, 5], ".W");
        check(SIZE, &[5, 65], ".W");
        check(SIZE, &[5, 66], "..");
        check(SIZE, &[5, 66, 67], "..W");
        check(SIZE, &[5, 6, 66, 67], ".W.W");
    }

    #[test]
    fn ranges_count_by_their_bytes() {
        check(SIZE / 4, &[1, 1, 1, 1, 2, 2], "....WW");
        check(SIZE / 4 + 1, &[1, 1, 1, 1, 2, 2], "....WW");
        check(1, &[1; 1002], &format!("{}WW", ".".repeat(1000)));
    }

    #[test]
    fn what_does_not_stay_in_the_page_cache_is_left_alone() {
        assert_eq!(limits::WARM_READS_MAX, 4);
        check(SIZE, &[1, 2, 3, 4, 5, 6, 7], ".WWWW..");
        check(SIZE, &[1, 2, 3, 4, 5, 6, 62, 63], ".WWWW..W");
    }

    #[test]
    fn another_content_of_a_file_begins_anew() {
        let heat = Heat::default();
        let now = Duration::from_secs(1);
        assert!(!heat.read(file(1, 0), SIZE, now));
        assert!(!heat.read(file(1, 1), SIZE, now));
        assert!(!heat.read(file(2, 0), SIZE, now));
        assert!(heat.read(file(1, 0), SIZE, now));
    }

    #[test]
    fn the_file_that_was_read_longest_ago_is_forgotten() {
        let heat = Heat::default();
        let files = limits::WARM_FILES_MAX as u64;
        let at = |milliseconds| Duration::from_millis(milliseconds);
        for inode in 0..files {
            assert!(!heat.read(file(inode, 0), SIZE, at(inode)));
        }
        // The first is read once more, and then one more than there is room for.
        assert!(heat.read(file(0, 0), SIZE, at(files)));
        assert!(!heat.read(file(files, 0), SIZE, at(files + 1)));
        assert_eq!(heat.files.borrow().len(), limits::WARM_FILES_MAX);
        assert!(heat.read(file(0, 0), SIZE, at(files + 2)));
        assert!(heat.read(file(2, 0), SIZE, at(files + 2)));
        assert!(!heat.read(file(1, 0), SIZE, at(files + 2)));
    }
}
