//! What a listing shows of one object, read from its file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{self, AtFlags, FileType, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::codec::dates::Timestamp;
use crate::digest::{Algorithm, ChecksumType};
use crate::storage::error::{At, Result, Subject};
use crate::storage::record::{ETag, FieldText, FileStamp, Summary, XATTR_BYTES_MAX, XATTR_NAME};
use crate::storage::walk;

/// What the file of an object and its record say.
pub(super) struct Metadata {
    pub(super) size: u64,
    pub(super) modified: Timestamp,
    pub(super) etag: ETag,
    pub(super) checksum: Option<(Algorithm, ChecksumType)>,
    pub(super) storage_class: Option<FieldText>,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Looks at the object at `path` beneath `directory`. `None`: there is no regular file, or no longer.
///
/// The file is opened as a name only (O_PATH), so that stat and record are those of one inode, and so that a FIFO or a
/// device in its place is never opened for I/O.
pub(super) fn inspect(directory: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Metadata>> {
    let name = match walk::open_beneath(directory, path, OFlags::PATH) {
        Ok(name) => name,
        Err(errno) if is_absence(errno) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Object, "look a listed object up"),
    };
    let mask = StatxFlags::BASIC_STATS;
    let stat = match fs::statx(&name, c"", AtFlags::EMPTY_PATH, mask) {
        Ok(stat) => stat,
        Err(errno) if is_absence(errno) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Object, "stat a listed object"),
    };
    if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
        return Ok(None);
    }
    let stamp = FileStamp::from(&stat);
    let record = read_summary(name.as_fd())?.filter(|record| record.matches(stamp.size, stamp.mtime));
    let (etag, checksum, storage_class) = match record {
        Some(Summary { etag, checksum, storage_class, .. }) => (etag, checksum, storage_class),
        None => (ETag::foreign(&stamp), None, None),
    };
    Ok(Some(Metadata {
        size: stamp.size,
        modified: stamp.mtime,
        etag,
        checksum: checksum.map(|checksum| (checksum.algorithm(), checksum.checksum_type())),
        storage_class,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
    }))
}

/// Whether an error says that nothing is there that could be listed: it vanished, or a POSIX user put something else
/// in its place, or keeps it to themselves.
pub(super) fn is_absence(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::STALE | Errno::ACCESS | Errno::PERM
    )
}

fn read_summary(name: BorrowedFd<'_>) -> Result<Option<Summary>> {
    use std::io::Write;
    let mut path = [0; PATH_BYTES];
    let mut rest = &mut path[..];
    // A prefix of 14 bytes and at most 10 digits fit.
    let _ = write!(rest, "/proc/self/fd/{}", name.as_raw_fd());
    let length = PATH_BYTES - rest.len();
    let path = &path[..length];
    let mut small = [0; SMALL_RECORD_BYTES];
    let decoded = match fs::getxattr(path, XATTR_NAME, &mut small[..]) {
        Ok(length) => Summary::decode(&small[..length]),
        Err(Errno::RANGE) => {
            let mut large = vec![0; XATTR_BYTES_MAX];
            match fs::getxattr(path, XATTR_NAME, &mut large[..]) {
                Ok(length) => Summary::decode(&large[..length]),
                // It changed meanwhile; whoever did that is at it still.
                Err(_) => return Ok(None),
            }
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::STALE | Errno::ACCESS | Errno::PERM) => {
            return Ok(None);
        }
        Err(errno) => return Err(errno).at(Subject::Object, "read the record of a listed object"),
    };
    // A record that cannot be decoded counts as none: any program may have written it.
    Ok(decoded.ok())
}

/// Most records are far smaller; a larger one costs a second call.
const SMALL_RECORD_BYTES: usize = 512;

const PATH_BYTES: usize = 32;
