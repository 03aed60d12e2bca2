//! Floors of metadata: small files with a record, a listing, removals.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path as Directory;
use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::fs::File;
use monoio::task::JoinHandle;
use rustix::fs::{self, AtFlags, Dir, Gid, Mode, OFlags, StatxFlags, Uid, XattrFlags};
use serde_json::{Value, json};
use sluicegate_perf::buffer::Aligned;
use sluicegate_perf::content::Contents;
use sluicegate_perf::stats::Stats;

use super::Path;
use super::serve::whole;

/// What [`publish`] makes.
#[derive(Clone, Copy, Debug)]
pub struct Publication {
    /// Bytes in each file: whole pages.
    pub size: usize,
    /// Files that share a flush; 0: nothing is flushed.
    pub group: usize,
    /// How many files at most.
    pub files: usize,
    /// For how long at most.
    pub seconds: f64,
    /// How their data is written.
    pub path: Path,
    /// The files replace each other: there are no more than so many names.
    pub names: usize,
}

/// Makes files as a PUT of a small object does: an unnamed file, its data, a record that stays in the inode, its owner,
/// its name. The members of a group are in flight together; a group becomes durable while the next one is being made.
///
/// Past the page cache, the data is on the disk when a file gets its name, and one flush of the directory makes the
/// whole group durable: ext4 and XFS commit metadata in the order in which it changed, and flush the disk's cache with
/// it. Through the page cache each file is flushed, all of the group at once, so that they share a commit.
pub async fn publish(directory: &Directory, wanted: Publication) -> io::Result<()> {
    let at = open_directory(directory)?;
    let flusher = Rc::new(File::from_std(std::fs::File::from(at.try_clone()?))?);
    let contents = Contents::new(wanted.size);
    let together = if wanted.group == 0 { GROUP_WITHOUT_FLUSH } else { wanted.group };
    let mut spare: Vec<Aligned> = Vec::new();
    let mut flushes: Vec<JoinHandle<io::Result<()>>> = Vec::new();
    let began = Began::now();
    let mut made = 0;
    while made < wanted.files && began.at.elapsed().as_secs_f64() < wanted.seconds {
        let group = made..(made + together).min(wanted.files);
        made = group.end;
        let files = match wanted.path {
            Path::Direct => fill_direct(&at, group.clone(), &contents, &mut spare).await?,
            Path::Cache => fill_cached(&at, group.clone(), &contents)?,
        };
        for (file, number) in files.iter().zip(group) {
            name(file, &at, number, wanted.names)?;
        }
        for flush in flushes.drain(..) {
            flush.await?;
        }
        match wanted.path {
            _ if wanted.group == 0 => {}
            Path::Direct => {
                let flusher = flusher.clone();
                flushes.push(monoio::spawn(async move { flusher.sync_all().await }));
            }
            Path::Cache => {
                let each = files.into_iter().map(|file| monoio::spawn(async move { file.sync_all().await }));
                flushes.extend(each);
            }
        }
    }
    for flush in flushes {
        flush.await?;
    }
    began.report("publish", made, json!({"size": wanted.size, "group": wanted.group}));
    Ok(())
}

/// Unnamed files whose data is on the disk; all writes are in flight at once.
async fn fill_direct(
    directory: &OwnedFd,
    group: Range<usize>,
    contents: &Contents,
    spare: &mut Vec<Aligned>,
) -> io::Result<Vec<File>> {
    let mut writes = Vec::with_capacity(group.len());
    for number in group {
        let file = unnamed(directory, OFlags::DIRECT)?;
        let content = contents.of(number);
        let mut buf = spare.pop().unwrap_or_else(|| Aligned::new(content.len()));
        buf.copy_from_slice(content);
        writes.push(monoio::spawn(async move {
            let (written, buf) = file.write_at(buf, 0).await;
            (file, written, buf)
        }));
    }
    let mut files = Vec::with_capacity(writes.len());
    for write in writes {
        let (file, written, buf) = write.await;
        whole(written?, &buf)?;
        spare.push(buf);
        files.push(file);
    }
    Ok(files)
}

/// Unnamed files whose data is in the page cache.
fn fill_cached(directory: &OwnedFd, group: Range<usize>, contents: &Contents) -> io::Result<Vec<File>> {
    let filled = group.map(|number| {
        let file = unnamed(directory, OFlags::empty())?;
        let content = contents.of(number);
        whole(rustix::io::pwrite(borrow(&file), content, 0)?, content)?;
        Ok(file)
    });
    filled.collect()
}

fn unnamed(directory: &OwnedFd, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC | more;
    let fd = fs::openat(directory, ".", flags, Mode::from_raw_mode(0o644))?;
    File::from_std(std::fs::File::from(fd))
}

/// Gives a written file its record, its owner and its name: a new one, or one of `names` that other files had before.
fn name(file: &File, directory: &OwnedFd, number: usize, names: usize) -> io::Result<()> {
    let fd = borrow(file);
    fs::fsetxattr(fd, "user.s3", &[7; 40], XattrFlags::empty())?;
    fs::fchown(fd, Some(Uid::from_raw(20_001)), Some(Gid::from_raw(30_001)))?;
    let name = format!("{:08}", number % names);
    if number < names {
        return Ok(fs::linkat(fd, "", directory, name, AtFlags::EMPTY_PATH)?);
    }
    let aside = format!("{name}.new");
    fs::linkat(fd, "", directory, &aside, AtFlags::EMPTY_PATH)?;
    Ok(fs::renameat(directory, aside, directory, name)?)
}

fn borrow(file: &File) -> BorrowedFd<'_> {
    // SAFETY: the file is open as long as the reference that the result borrows.
    unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) }
}

/// All names of a directory, sorted, with stat data and record.
pub fn list(directory: &Directory) -> io::Result<()> {
    // Names in the working directory are the shortest way to a file.
    std::env::set_current_dir(directory)?;
    let at = open_directory(Directory::new("."))?;
    let began = Began::now();
    let names = sorted_names(&at)?;
    let mut bytes = 0;
    let mut record = [0u8; 512];
    for name in &names {
        let stat = fs::statx(at.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
        bytes += stat.stx_size + fs::lgetxattr(name, "user.s3", &mut record[..]).unwrap_or(0) as u64;
    }
    began.report("list", names.len(), json!({"bytes": bytes}));
    Ok(())
}

/// Removes every file of a directory in the order of their names, with one flush after each `batch`.
pub fn unlink(directory: &Directory, batch: usize) -> io::Result<()> {
    let at = open_directory(directory)?;
    let names = sorted_names(&at)?;
    let mut stats = Stats::default();
    let began = Began::now();
    for batch in names.chunks(batch) {
        let of_batch = Instant::now();
        for name in batch {
            fs::unlinkat(&at, name, AtFlags::empty())?;
        }
        fs::fsync(&at)?;
        stats.record(of_batch.elapsed(), 0);
    }
    let seconds = began.at.elapsed().as_secs_f64();
    began.report("unlink", names.len(), json!({"p50_us": stats.report(seconds, None)["p50_us"]}));
    Ok(())
}

fn sorted_names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn open_directory(path: &Directory) -> io::Result<OwnedFd> {
    Ok(fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// When something began, and what processor time the process had used by then.
struct Began {
    at: Instant,
    cpu: Duration,
}

impl Began {
    fn now() -> Began {
        Began { at: Instant::now(), cpu: cpu() }
    }

    /// Prints what was done since.
    fn report(self, work: &str, count: usize, more: Value) {
        let seconds = self.at.elapsed().as_secs_f64();
        let used = cpu().saturating_sub(self.cpu).as_secs_f64();
        let mut report = json!({
            "work": work, "count": count, "seconds": seconds,
            "per_second": count as f64 / seconds, "cpu_us": used * 1e6 / count.max(1) as f64,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            report[name] = value.clone();
        }
        println!("{report}");
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How many writes are in flight where nothing is flushed: as many as the load has connections.
const GROUP_WITHOUT_FLUSH: usize = 64;
