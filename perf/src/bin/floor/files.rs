//! Floors of metadata: many small durable files, a listing, a removal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::fs::File;
use rustix::fs::{self, AtFlags, Dir, Gid, Mode, OFlags, StatxFlags, Uid, XattrFlags};
use serde_json::json;
use sluicegate_perf::buffer::Aligned;
use sluicegate_perf::content::Contents;

/// Makes files as a PUT of a small object does: an unnamed file, its data past the page cache, a record that stays in the
/// inode, its owner, its name. Each group's data is in flight together, and one flush of the directory makes the whole
/// group durable (ext4 and XFS commit in order) while the next group is being made. A group of 0 never flushes.
pub async fn publish(directory: &Path, files: usize, size: usize, group: usize) -> io::Result<()> {
    let at = Rc::new(open_directory(directory)?);
    let flusher = Rc::new(File::from_std(std::fs::File::from(at.try_clone()?))?);
    let contents = Contents::new(size);
    let together = if group == 0 { 64 } else { group };
    let mut spare: Vec<Aligned> = Vec::new();
    let mut flush = None;
    let began = (Instant::now(), cpu());
    for first in (0..files).step_by(together) {
        let mut writes = Vec::with_capacity(together);
        for number in first..(first + together).min(files) {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC | OFlags::DIRECT;
            let fd = fs::openat(&*at, ".", flags, Mode::from_raw_mode(0o644))?;
            let mut buf = spare.pop().unwrap_or_else(|| Aligned::new(size));
            buf.copy_from_slice(contents.of(number));
            let file = File::from_std(std::fs::File::from(fd))?;
            writes.push(monoio::spawn(async move {
                let (written, buf) = file.write_at(buf, 0).await;
                (written.map(|_| file), buf)
            }));
        }
        for (write, number) in writes.into_iter().zip(first..) {
            let (file, buf) = write.await;
            spare.push(buf);
            name(&file?, &at, number)?;
        }
        if group > 0 {
            finish(flush.take()).await?;
            let flusher = flusher.clone();
            flush = Some(monoio::spawn(async move { flusher.sync_all().await }));
        }
    }
    finish(flush).await?;
    report("publish", files, began, json!({"size": size, "group": group}));
    Ok(())
}

/// Gives a written file its record, its owner and its name.
fn name(file: &File, directory: &OwnedFd, number: usize) -> io::Result<()> {
    // SAFETY: the file is open as long as the reference that the result borrows.
    let fd = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    fs::fsetxattr(fd, "user.s3", &[7; 40], XattrFlags::empty())?;
    fs::fchown(fd, Some(Uid::from_raw(20_001)), Some(Gid::from_raw(30_001)))?;
    Ok(fs::linkat(fd, "", directory, format!("{number:08}"), AtFlags::EMPTY_PATH)?)
}

async fn finish(flush: Option<monoio::task::JoinHandle<io::Result<()>>>) -> io::Result<()> {
    match flush {
        Some(flush) => flush.await,
        None => Ok(()),
    }
}

/// All names of a directory, sorted, with stat data and record.
pub fn list(directory: &Path) -> io::Result<()> {
    let at = open_directory(directory)?;
    let began = (Instant::now(), cpu());
    let mut names = Vec::new();
    for entry in Dir::read_from(&at)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    let mut bytes = 0;
    let mut record = [0u8; 512];
    let base = format!("/proc/self/fd/{}/", at.as_raw_fd());
    let mut path = Vec::from(base.as_bytes());
    for name in &names {
        let stat = fs::statx(at.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
        path.truncate(base.len());
        path.extend_from_slice(name.to_bytes());
        bytes += stat.stx_size + fs::lgetxattr(&path[..], "user.s3", &mut record[..]).unwrap_or(0) as u64;
    }
    report("list", names.len(), began, json!({"bytes": bytes}));
    Ok(())
}

/// Removes every file of a directory, then one flush.
pub fn unlink(directory: &Path) -> io::Result<()> {
    let at = open_directory(directory)?;
    let names: Vec<_> = Dir::read_from(&at)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_owned()))
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
        .collect();
    let began = (Instant::now(), cpu());
    for name in &names {
        fs::unlinkat(&at, name, AtFlags::empty())?;
    }
    fs::fsync(&at)?;
    report("unlink", names.len(), began, json!({}));
    Ok(())
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn report(work: &str, count: usize, began: (Instant, Duration), more: serde_json::Value) {
    let seconds = began.0.elapsed().as_secs_f64();
    let used = cpu().saturating_sub(began.1).as_secs_f64();
    let mut report = json!({
        "work": work, "count": count, "seconds": seconds,
        "per_second": count as f64 / seconds, "cpu_us": used * 1e6 / count.max(1) as f64,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        report[name] = value.clone();
    }
    println!("{report}");
}
