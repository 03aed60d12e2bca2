//! What a directory's file system can do for a server, found out without one and without leaving anything behind.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{self, Mode, OFlags};

use super::root::{Capabilities, probe};

/// What was found out about a directory.
#[derive(Debug)]
pub struct Survey {
    /// What the server itself finds out at start.
    pub capabilities: Capabilities,
    /// The name of the file system, or its magic number.
    pub file_system: String,
    /// Whether a flush of one file makes durable what was changed before it, so that many objects share one.
    pub ordered: bool,
    /// Whether files can share blocks (FICLONE), which makes copies and parts of other sizes free.
    pub reflink: bool,
    /// Bytes that are free for whoever asks.
    pub free_bytes: u64,
    /// The median time that a small write and its flush took.
    pub flush: Duration,
}

/// Looks at a directory. A directory of ours in it, with some small files, is removed again.
///
/// # Errors
/// The directory cannot be opened or written to.
pub fn survey(directory: &Path) -> io::Result<Survey> {
    let inside = directory.join(format!(".sluicegate-doctor-{}", std::process::id()));
    std::fs::create_dir(&inside)?;
    let found = look(&inside);
    let removed = std::fs::remove_dir_all(&inside);
    let found = found?;
    removed?;
    Ok(found)
}

fn look(inside: &Path) -> io::Result<Survey> {
    let fd = fs::open(inside, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let capabilities = probe(fd.as_fd())?;
    let stat = fs::fstatfs(&fd)?;
    let magic = stat.f_type as u64;
    let name = FILE_SYSTEMS.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_owned());
    Ok(Survey {
        capabilities,
        file_system: name.unwrap_or_else(|| format!("{magic:#x}")),
        ordered: super::commit::commits_in_order(fd.as_fd()),
        reflink: can_clone(inside)?,
        free_bytes: (stat.f_bavail as u64).saturating_mul(stat.f_bsize as u64),
        flush: time_of_flush(inside)?,
    })
}

fn can_clone(inside: &Path) -> io::Result<bool> {
    std::fs::write(inside.join("blocks"), [7; 4096])?;
    let from = std::fs::File::open(inside.join("blocks"))?;
    let to = std::fs::File::create(inside.join("clone"))?;
    Ok(fs::ioctl_ficlone(&to, &from).is_ok())
}

fn time_of_flush(inside: &Path) -> io::Result<Duration> {
    let mut file = std::fs::File::create(inside.join("flushed"))?;
    let mut times = [Duration::ZERO; FLUSHES];
    for time in &mut times {
        let began = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_all()?;
        *time = began.elapsed();
    }
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}

const FLUSHES: usize = 9;

/// statfs(2).
const FILE_SYSTEMS: [(u64, &str); 16] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
    (0xca45_1a4e, "bcachefs"),
    (0x6969, "nfs"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x00c3_6400, "ceph"),
    (0x6573_5546, "fuse"),
    (0x794c_7630, "overlayfs"),
    (0x1983_0326, "beegfs"),
    (0xff53_4d42, "cifs"),
    (0x4d44, "vfat"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_looked_at_and_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let found = survey(directory.path()).unwrap();
        assert!(!found.file_system.is_empty() && found.free_bytes > 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(survey(&directory.path().join("absent")).is_err());
    }
}
