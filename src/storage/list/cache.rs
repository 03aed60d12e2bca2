//! The snapshots of large directories, kept while they are true.
//!
//! A snapshot is true while the directory's device, inode, mtime and ctime are those it was taken under, and if it was
//! taken well after that ctime. File systems keep time in steps of some milliseconds: a name made in the same step as
//! the snapshot would leave no trace in the times. (git calls such an entry racily clean.)
//!
//! # Exact times
//! Where a look at a time makes the next change get another one, however soon it comes ([`DirectoryCache::on`]), a
//! snapshot is true at once: the look comes before the directory is read. So a listing of many pages that follows a change
//! reads the directory once. The kernel remembers a look as long as it has the inode, so a snapshot that is taken while
//! the ctime is fresh keeps its directory open until the next such one is taken; [`PINS_MAX`] of them at most.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{self, AtFlags, StatxFlags};
use rustix::time::{ClockId, clock_gettime};

use super::snapshot::{Place, Snapshot};
use crate::counters::{self, Cache};
use crate::storage::root::is_local;

/// Sorted directories for listings, shared by all threads that list. Never larger than its budget.
pub struct DirectoryCache {
    budget_bytes: usize,
    /// The device whose file system has exact times.
    exact: Option<Device>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<DirectoryId, Slot>,
    /// The directories by their last use, the longest ago first.
    uses: BTreeMap<u64, DirectoryId>,
    uses_count: u64,
    bytes: usize,
    /// Those that are kept open.
    pinned: Vec<DirectoryId>,
}

struct Slot {
    snapshot: Arc<Snapshot>,
    change: Change,
    last_use: u64,
    /// Keeps the inode in memory that was looked at, while its ctime is fresh.
    pin: Option<OwnedFd>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct DirectoryId {
    device: Device,
    inode: u64,
}

/// Major and minor number.
type Device = (u32, u32);

/// The change data of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Change {
    mtime: Time,
    ctime: Time,
}

/// Seconds and nanoseconds since 1970.
type Time = (i64, u32);

impl DirectoryCache {
    /// A cache of at most `budget_bytes`. A single listing holds up to half of that of each directory it is in.
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, exact: None, kept: Mutex::default() }
    }

    /// A cache for the directories below `root`. `fine_times`: each change of a file there, however soon, gives it another
    /// time ([`Capabilities`](crate::storage::root::Capabilities)). Whether that holds for directories, and without an
    /// attribute cache of the client in between, is known of some local file systems only.
    pub fn on(root: BorrowedFd<'_>, fine_times: bool, budget_bytes: usize) -> Self {
        let device = || look(root).ok().map(|(id, _)| id.device);
        let exact = if fine_times && is_local(root) { device() } else { None };
        Self { exact, ..Self::new(budget_bytes) }
    }

    /// What is kept at the moment, in bytes; never more than the budget.
    pub fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    /// The directory behind `fd`, sorted, at least from `from` on (and then at least one entry, if there is any).
    ///
    /// # Errors
    /// Those of reading a directory.
    pub(super) fn snapshot(&self, fd: BorrowedFd<'_>, from: &[u8]) -> rustix::io::Result<Arc<Snapshot>> {
        let (id, change) = look(fd)?;
        let found = self.find(id, change, from);
        counters::looked_up(Cache::Directories, found.is_some());
        if let Some(snapshot) = found {
            return Ok(snapshot);
        }
        let now = now();
        let snapshot = Arc::new(Snapshot::read(fd, &Place::default(), from, self.window_bytes())?);
        let is_settled = is_settled(change.ctime, now);
        // A small directory is read again as fast as it is found here, and would push out a large one. One that changed
        // while it was read is true enough for this listing, but not to be kept.
        if snapshot.count() >= CACHED_ENTRIES_MIN
            && (is_settled || self.exact == Some(id.device))
            && look(fd)? == (id, change)
        {
            let pin = if is_settled { None } else { Some(rustix::io::fcntl_dupfd_cloexec(fd, 0)?) };
            self.keep(id, change, &snapshot, pin);
        }
        Ok(snapshot)
    }

    /// How much of one directory is held at once, in bytes.
    pub(super) fn window_bytes(&self) -> usize {
        self.budget_bytes / 2
    }

    fn find(&self, id: DirectoryId, change: Change, from: &[u8]) -> Option<Arc<Snapshot>> {
        let mut kept = self.kept.lock();
        let slot = kept.slots.get(&id)?;
        if slot.change != change {
            kept.remove(id);
            return None;
        }
        if !slot.snapshot.covers(from) {
            return None;
        }
        let snapshot = slot.snapshot.clone();
        kept.touch(id);
        Some(snapshot)
    }

    fn keep(&self, id: DirectoryId, change: Change, snapshot: &Arc<Snapshot>, pin: Option<OwnedFd>) {
        let bytes = cost_bytes(snapshot);
        if bytes > self.budget_bytes {
            return;
        }
        let mut kept = self.kept.lock();
        kept.remove(id);
        if pin.is_some() {
            kept.unpin_settled(now());
            if kept.pinned.len() >= PINS_MAX {
                return;
            }
            kept.pinned.push(id);
        }
        while kept.bytes + bytes > self.budget_bytes {
            let oldest = kept.uses.first_key_value().map(|(_, id)| *id);
            let Some(oldest) = oldest else { break };
            kept.remove(oldest);
        }
        kept.bytes += bytes;
        kept.slots.insert(id, Slot { snapshot: snapshot.clone(), change, last_use: 0, pin });
        kept.touch(id);
    }
}

impl Kept {
    fn touch(&mut self, id: DirectoryId) {
        self.uses_count += 1;
        if let Some(slot) = self.slots.get_mut(&id) {
            self.uses.remove(&slot.last_use);
            slot.last_use = self.uses_count;
            self.uses.insert(slot.last_use, id);
        }
    }

    fn remove(&mut self, id: DirectoryId) {
        if let Some(slot) = self.slots.remove(&id) {
            self.uses.remove(&slot.last_use);
            self.bytes -= cost_bytes(&slot.snapshot);
            if slot.pin.is_some() {
                self.pinned.retain(|pinned| *pinned != id);
            }
        }
    }

    /// Closes the directories whose ctime is fresh no more.
    fn unpin_settled(&mut self, now: Time) {
        let slots = &mut self.slots;
        self.pinned.retain(|id| match slots.get_mut(id) {
            Some(slot) if is_settled(slot.change.ctime, now) => {
                slot.pin = None;
                false
            }
            slot => slot.is_some(),
        });
    }
}

fn cost_bytes(snapshot: &Snapshot) -> usize {
    snapshot.bytes() + SLOT_BYTES
}

fn look(fd: BorrowedFd<'_>) -> rustix::io::Result<(DirectoryId, Change)> {
    let mask = StatxFlags::INO | StatxFlags::MTIME | StatxFlags::CTIME;
    let stat = fs::statx(fd, c"", AtFlags::EMPTY_PATH, mask)?;
    let id = DirectoryId { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino };
    let time = |time: &fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
    Ok((id, Change { mtime: time(&stat.stx_mtime), ctime: time(&stat.stx_ctime) }))
}

fn now() -> Time {
    let now = clock_gettime(ClockId::Realtime);
    (now.tv_sec, now.tv_nsec as u32)
}

/// Whether a directory last changed at `ctime` would show another time if it changed after `now`.
fn is_settled(ctime: Time, now: Time) -> bool {
    let nanos = |(seconds, nanos): Time| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    nanos(now) - nanos(ctime) > SETTLED_MS * 1_000_000
}

/// The coarsest clock of Linux ticks every 10 ms. The rest is for the clock of the file server, which may lag behind
/// ours. Waiting longer costs little: a directory that changes as often as this has no snapshot to keep.
const SETTLED_MS: i128 = 100;

/// Directories that are open because they changed a moment ago.
const PINS_MAX: usize = 16;

/// Directories with fewer entries are not kept.
const CACHED_ENTRIES_MIN: usize = 32;

/// What a slot costs beside its snapshot: two map entries and their share of free room.
const SLOT_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    fn filled(count: usize) -> (tempfile::TempDir, std::fs::File) {
        let directory = tempfile::tempdir().unwrap();
        for index in 0..count {
            std::fs::write(directory.path().join(format!("{index:05}")), b"").unwrap();
        }
        let file = std::fs::File::open(directory.path()).unwrap();
        (directory, file)
    }

    fn exact(directory: &std::fs::File) -> Option<DirectoryCache> {
        let fine_times = crate::storage::root::probe(directory.as_fd()).unwrap().fine_times;
        let cache = DirectoryCache::on(directory.as_fd(), fine_times, 1 << 20);
        cache.exact.is_some().then_some(cache)
    }

    fn settle() {
        std::thread::sleep(Duration::from_millis(SETTLED_MS as u64 + 30));
    }

    #[test]
    fn a_snapshot_is_kept_until_the_directory_changes() {
        let cache = DirectoryCache::new(1 << 20);
        let (directory, file) = filled(100);
        // Right after a change nothing is kept.
        let first = cache.snapshot(file.as_fd(), b"").unwrap();
        assert_eq!((first.count(), cache.bytes()), (100, 0));
        settle();
        let second = cache.snapshot(file.as_fd(), b"").unwrap();
        assert!(cache.bytes() > 100 * 16);
        assert!(Arc::ptr_eq(&second, &cache.snapshot(file.as_fd(), b"00050").unwrap()));
        std::fs::write(directory.path().join("new"), b"").unwrap();
        let third = cache.snapshot(file.as_fd(), b"").unwrap();
        assert_eq!((third.count(), cache.bytes()), (101, 0));
    }

    #[test]
    fn with_exact_times_a_snapshot_is_kept_at_once_and_shows_each_change() {
        let (directory, file) = filled(100);
        let Some(cache) = exact(&file) else { return };
        for count in 101..1000 {
            std::fs::write(directory.path().join(format!("new{count}")), b"").unwrap();
            let first = cache.snapshot(file.as_fd(), b"").unwrap();
            assert_eq!(first.count(), count);
            assert!(Arc::ptr_eq(&first, &cache.snapshot(file.as_fd(), b"00050").unwrap()));
        }
        assert_eq!(cache.kept.lock().pinned.len(), 1);
        settle();
        cache.kept.lock().unpin_settled(now());
        let kept = cache.kept.lock();
        assert!(kept.pinned.is_empty() && kept.slots.values().all(|slot| slot.pin.is_none()));
    }

    #[test]
    fn few_directories_are_kept_open() {
        let directories: Vec<_> = (0..PINS_MAX + 4).map(|_| filled(CACHED_ENTRIES_MIN)).collect();
        let Some(cache) = exact(&directories[0].1) else { return };
        // Fresh, all of them.
        for (path, _) in &directories {
            std::fs::write(path.path().join("new"), b"").unwrap();
        }
        for (_, file) in &directories {
            cache.snapshot(file.as_fd(), b"").unwrap();
        }
        let pins = |cache: &DirectoryCache| cache.kept.lock().pinned.len();
        assert_eq!((pins(&cache), cache.kept.lock().slots.len()), (PINS_MAX, PINS_MAX));
        std::fs::remove_file(directories[0].0.path().join("new")).unwrap();
        cache.snapshot(directories[0].1.as_fd(), b"").unwrap();
        assert_eq!((pins(&cache), cache.kept.lock().slots.len()), (PINS_MAX, PINS_MAX));
    }

    #[test]
    fn the_budget_holds_and_the_longest_unused_goes() {
        let directories: Vec<_> = (0..4).map(|_| filled(200)).collect();
        settle();
        let one = cost_bytes(&DirectoryCache::new(1 << 20).snapshot(directories[0].1.as_fd(), b"").unwrap());
        let cache = DirectoryCache::new(2 * one + one / 2);
        let snapshot = |index: usize| cache.snapshot(directories[index].1.as_fd(), b"").unwrap();
        let (first, second) = (snapshot(0), snapshot(1));
        assert!(Arc::ptr_eq(&first, &snapshot(0)));
        snapshot(2);
        assert_eq!(cache.bytes(), 2 * one);
        assert!(Arc::ptr_eq(&first, &snapshot(0)), "used later than the second");
        assert!(!Arc::ptr_eq(&second, &snapshot(1)));
        assert_eq!(
            DirectoryCache::new(100).snapshot(directories[3].1.as_fd(), b"").unwrap().bytes().min(1),
            1
        );
    }

    #[test]
    fn small_directories_are_not_kept() {
        let (_directory, file) = filled(CACHED_ENTRIES_MIN - 1);
        settle();
        let cache = DirectoryCache::new(1 << 20);
        cache.snapshot(file.as_fd(), b"").unwrap();
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn a_directory_larger_than_the_window_comes_in_windows() {
        let (_directory, file) = filled(3_000);
        settle();
        let cache = DirectoryCache::new(16 * 1024);
        let (mut names, mut from) = (Vec::new(), Vec::new());
        let mut windows = 0;
        loop {
            let snapshot = cache.snapshot(file.as_fd(), &from).unwrap();
            assert!(cache.bytes() <= 16 * 1024 && snapshot.bytes() <= 9 * 1024);
            windows += 1;
            for index in snapshot.position(&from)..snapshot.count() {
                names.push(snapshot.entry(index).unwrap().1.to_vec());
            }
            match snapshot.next_from() {
                Some(next) => from = next,
                None => break,
            }
        }
        assert!(windows > 8);
        assert!(names.into_iter().eq((0..3_000).map(|index| format!("{index:05}").into_bytes())));
    }

    #[test]
    fn times_settle() {
        assert!(!is_settled((10, 0), (10, 100_000_000)));
        assert!(is_settled((10, 0), (10, 100_000_001)));
        assert!(is_settled((9, 950_000_000), (10, 60_000_000)));
        // A file server whose clock is ahead of ours.
        assert!(!is_settled((11, 0), (10, 0)));
    }
}
