//! What a listing shows of one object, read from its file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{self, AtFlags, FileType, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use smallvec::SmallVec;

use crate::codec::dates::Timestamp;
use crate::digest::{Algorithm, ChecksumType};
use crate::runtime::attribute;
use crate::storage::error::{At, Result, Subject};
use crate::storage::record::{
    ETag, FieldText, FileStamp, Summary, XATTR_BYTES_MAX, XATTR_C_NAME, XATTR_NAME,
};
use crate::storage::versions::Version;
use crate::storage::walk;

/// What the file of an object and its record say.
pub(super) struct Metadata {
    pub(super) size: u64,
    pub(super) modified: Timestamp,
    pub(super) etag: ETag,
    pub(super) checksum: Option<(Algorithm, ChecksumType)>,
    pub(super) storage_class: Option<FieldText>,
    pub(super) version: Version,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Looks at the object `name` in a directory, under its own name. `None`: there is no regular file, or no longer.
///
/// This takes two calls, neither of which opens the file or follows a link: a third faster than [`inspect`], which judges
/// where the two disagree because the file was replaced or deleted in between.
pub(super) fn inspect_name(names: &mut Names<'_>, name: &[u8]) -> Result<Option<Metadata>> {
    let directory = names.directory;
    let stat = match fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
        Ok(stat) => stat,
        Err(errno) if is_absence(errno) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Object, OP_STAT),
    };
    let mut is_there = true;
    let record = read_summary(|buffer| {
        let read = names.record(name, buffer);
        is_there &= !matches!(read, Err(errno) if is_absence(errno));
        read
    })?;
    match record {
        Some(record) if !matches_stat(&record, &stat) => inspect(directory, name),
        None if !is_there => inspect(directory, name),
        record => Ok(Metadata::of(&stat, record)),
    }
}

/// Looks at the object at `path` beneath `directory`. `None`: there is no regular file, or no longer.
///
/// The file is opened as a name only (O_PATH), so that stat and record are those of one inode, and so that a FIFO or a
/// device in its place is never opened for I/O.
pub(super) fn inspect(directory: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Metadata>> {
    let file = match walk::open_beneath(directory, path, OFlags::PATH) {
        Ok(file) => file,
        Err(errno) if is_absence(errno) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Object, "look a listed object up"),
    };
    let stat = match fs::statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS) {
        Ok(stat) => stat,
        Err(errno) if is_absence(errno) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Object, OP_STAT),
    };
    let mut proc_path = ProcPath::new(file.as_fd());
    let record = read_summary(|buffer| fs::getxattr(proc_path.whole(), XATTR_NAME, buffer))?;
    Ok(Metadata::of(&stat, record.filter(|record| matches_stat(record, &stat))))
}

impl Metadata {
    /// `None`: not a regular file. The record has been found to match.
    fn of(stat: &Statx, record: Option<Summary>) -> Option<Self> {
        if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
            return None;
        }
        let stamp = FileStamp::from(stat);
        let (etag, checksum, storage_class, version) = match record {
            Some(Summary { etag, checksum, storage_class, version, .. }) => {
                (etag, checksum, storage_class, version)
            }
            None => (ETag::foreign(&stamp), None, None, None),
        };
        Some(Self {
            size: stamp.size,
            modified: stamp.mtime,
            etag,
            checksum: checksum.map(|checksum| (checksum.algorithm(), checksum.checksum_type())),
            storage_class,
            version: Version::of_record(version),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
        })
    }
}

fn matches_stat(record: &Summary, stat: &Statx) -> bool {
    let stamp = FileStamp::from(stat);
    record.matches(stamp.size, stamp.mtime)
}

/// The files of one directory, as the kernel is asked for them.
pub(super) struct Names<'d> {
    directory: BorrowedFd<'d>,
    /// Only where the kernel knows no better way to their attributes.
    proc_path: Option<ProcPath>,
}

impl<'d> Names<'d> {
    pub(super) fn new(directory: BorrowedFd<'d>) -> Self {
        let proc_path = (!attribute::is_offered()).then(|| ProcPath::new(directory));
        Self { directory, proc_path }
    }

    fn record(&mut self, name: &[u8], value: &mut [u8]) -> rustix::io::Result<usize> {
        match &mut self.proc_path {
            Some(proc_path) => fs::lgetxattr(proc_path.of(name), XATTR_NAME, value),
            None => attribute::get_at(self.directory, name, XATTR_C_NAME, value),
        }
    }
}

/// The path by which calls that know no descriptors reach what one stands for: `/proc/self/fd/<number>`.
pub(super) struct ProcPath {
    bytes: SmallVec<[u8; 64]>,
    own_bytes: usize,
}

impl ProcPath {
    pub(super) fn new(fd: BorrowedFd<'_>) -> Self {
        let mut bytes = SmallVec::from_slice(b"/proc/self/fd/");
        let mut digits = [0; 10];
        let mut start = digits.len();
        let mut rest = fd.as_raw_fd().unsigned_abs();
        while rest > 0 || start == digits.len() {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        bytes.extend_from_slice(&digits[start..]);
        Self { own_bytes: bytes.len(), bytes }
    }

    /// The path of the descriptor itself.
    fn whole(&mut self) -> &[u8] {
        self.bytes.truncate(self.own_bytes);
        &self.bytes
    }

    /// The path of a name in the directory.
    fn of(&mut self, name: &[u8]) -> &[u8] {
        self.bytes.truncate(self.own_bytes);
        self.bytes.push(b'/');
        self.bytes.extend_from_slice(name);
        &self.bytes
    }
}

/// Whether an error says that nothing is there that could be listed: it vanished, or a POSIX user put something else
/// in its place, or keeps it to themselves.
pub(super) fn is_absence(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::STALE | Errno::ACCESS | Errno::PERM
    )
}

/// Reads the record by a call that fills a buffer. `None`: there is none that can be read or understood; any program may
/// have written it.
fn read_summary(mut read: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>) -> Result<Option<Summary>> {
    let mut small = [0; SMALL_RECORD_BYTES];
    match read(&mut small) {
        Ok(length) => Ok(Summary::decode(&small[..length]).ok()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; XATTR_BYTES_MAX];
            // A failure now means that somebody is changing it.
            Ok(read(&mut large).ok().and_then(|length| Summary::decode(&large[..length]).ok()))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        // The file has vanished since its stat.
        Err(errno) if is_absence(errno) => Ok(None),
        Err(errno) => Err(errno).at(Subject::Object, "read the record of a listed object"),
    }
}

/// Most records are far smaller; a larger one costs a second call.
const SMALL_RECORD_BYTES: usize = 512;

const OP_STAT: &str = "stat a listed object";
