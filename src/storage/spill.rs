//! Records that exceed the file system's room for attributes: `<root>/.sluicegate/spill/<id>` holds the whole record,
//! the file's attribute names it.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | inode number of the object's file, little-endian |
//! | 1, n | length and bytes of that file's handle; 0 where the file system has none |
//! | the rest | the record |
//!
//! An attribute can be copied or forged by whoever may write the file, the inode cannot: a spill file is read and removed
//! only for the file it was written for.
//!
//! A spill file goes with its object when the server replaces or deletes that. When another program does, or when the
//! server is killed in between, it stays behind, and [`clear`] removes it: the handle tells whether the file still exists,
//! wherever it was moved.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, AtFlags, Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{At, Result, Subject};
use super::record::{RECORD_BYTES_MAX, Record, SpillId, XATTR_NAME};
use super::root::Root;
use super::walk;
use super::writer::write_all;
use crate::codec::hex;
use crate::failpoint;
use crate::runtime::credentials::as_server;
use crate::runtime::handle::{FileHandle, HANDLE_BYTES_MAX};

/// Writes the record of `file`, which has the number `inode`, aside, durably.
pub fn write(root: &Root, record: &[u8], file: BorrowedFd<'_>, inode: u64) -> Result<SpillId> {
    as_server(|| write_file(root, record, file, inode))
}

fn write_file(root: &Root, record: &[u8], file: BorrowedFd<'_>, inode: u64) -> Result<SpillId> {
    let op = "write a large record";
    let mut id: SpillId = [0; 16];
    getrandom::fill(&mut id).map_err(|_| Errno::IO).at(Subject::Object, op)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd =
        fs::openat(&root.spill, &name(&id)[..], flags, Mode::from_raw_mode(0o600)).at(Subject::Object, op)?;
    failpoint::pass("spill:made");
    let mut handle = Vec::new();
    if let Ok(made) = FileHandle::of(file) {
        made.encode(&mut handle);
    }
    let content = [&inode.to_le_bytes()[..], &[handle.len() as u8], &handle, record].concat();
    let written = write_all(fd.as_fd(), &content, 0)
        .and_then(|()| fs::fsync(&fd))
        .and_then(|()| fs::fsync(&root.spill));
    failpoint::pass("spill:written");
    if written.is_err() {
        let _ = fs::unlinkat(&root.spill, &name(&id)[..], AtFlags::empty());
    }
    written.at(Subject::Object, op)?;
    Ok(id)
}

/// Reads the spilled record of the file `inode`. `None`: gone, damaged or another file's, and the object counts as
/// one without a record.
pub fn read(root: &Root, id: &SpillId, inode: u64) -> Option<Record> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = as_server(|| fs::openat(&root.spill, &name(id)[..], flags, Mode::empty())).ok()?;
    let length = fs::fstat(&fd).ok()?.st_size.clamp(0, CONTENT_BYTES_MAX as i64) as usize;
    let mut content = vec![0; length];
    let length = rustix::io::pread(&fd, &mut content[..], 0).ok()?;
    let (head, record) = Head::split(&content[..length])?;
    if head.inode != inode {
        return None;
    }
    Record::decode(record).ok()
}

/// What precedes the record in a spill file.
struct Head {
    inode: u64,
    handle: Option<FileHandle>,
}

impl Head {
    fn split(content: &[u8]) -> Option<(Head, &[u8])> {
        let (inode, rest) = content.split_first_chunk()?;
        let (handle_bytes, rest) = rest.split_first()?;
        let (handle, record) = rest.split_at_checked(usize::from(*handle_bytes))?;
        Some((Head { inode: u64::from_le_bytes(*inode), handle: FileHandle::decode(handle) }, record))
    }
}

/// The spill file of the object `name` in `directory`, which is about to be replaced or deleted.
pub fn of(directory: BorrowedFd<'_>, name: &[u8]) -> Option<Spill> {
    // Whoever may replace or remove a file need not be allowed to read it.
    let open = || walk::open_regular(directory, name);
    let (file, stat) = open().or_else(|_| as_server(open)).ok()??;
    debug_assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile);
    of_file(file.as_fd(), stat.st_ino)
}

/// The spill file of an open object, whose record is about to be replaced.
pub fn of_file(file: BorrowedFd<'_>, inode: u64) -> Option<Spill> {
    let mut bytes = [0u8; 512];
    let mut read = || fs::fgetxattr(file, XATTR_NAME, &mut bytes[..]);
    let length = match read() {
        Err(Errno::ACCESS) => as_server(read),
        done => done,
    };
    let length = length.ok()?;
    Some(Spill { id: Record::decode(&bytes[..length]).ok()?.spill?, inode })
}

/// A spill file and the file it belongs to.
pub struct Spill {
    id: SpillId,
    inode: u64,
}

impl Spill {
    /// That of a file whose record names `id`.
    pub fn new(id: SpillId, inode: u64) -> Self {
        Self { id, inode }
    }
}

/// Removes a spill file whose object is gone.
pub fn remove(root: &Root, spill: &Spill) {
    if read(root, &spill.id, spill.inode).is_some() {
        let _ = as_server(|| fs::unlinkat(&root.spill, &name(&spill.id)[..], AtFlags::empty()));
    }
}

/// Removes the spill files whose object is gone or has another record by now, unless they are younger than `seconds_min`:
/// their object may be about to be published. Those of files that exist cost some system calls each. How many were
/// removed; none where the process may not open handles.
pub fn clear(root: &Root, seconds_min: i64) -> usize {
    let Ok(entries) = Dir::read_from(&root.spill) else { return 0 };
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let is_leftover = |entry: &DirEntry| -> Option<bool> {
        let mut id: SpillId = [0; 16];
        if !hex::decode(entry.file_name().to_bytes(), &mut id) {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&root.spill, entry.file_name(), flags, Mode::empty()).ok()?;
        if now.saturating_sub(fs::fstat(&fd).ok()?.st_mtime) < seconds_min {
            return Some(false);
        }
        let mut start = [0; INODE_BYTES + 1 + HANDLE_BYTES_MAX];
        let length = rustix::io::pread(&fd, &mut start[..], 0).ok()?;
        // One that is torn was never named: it is whole on the disk before its object's record names it.
        let Some((head, _)) = Head::split(&start[..length]) else { return Some(true) };
        let file = match head.handle?.open(root.spill.as_fd()) {
            Ok(file) => file,
            Err(error) => return Some(Errno::from_io_error(&error) == Some(Errno::STALE)),
        };
        let mut bytes = [0u8; 512];
        let named = match fs::getxattr(walk::proc_path(file.as_fd()).as_str(), XATTR_NAME, &mut bytes[..]) {
            Ok(length) => Record::decode(&bytes[..length]).ok().and_then(|record| record.spill),
            // A record that is larger is complete.
            Err(Errno::NODATA | Errno::RANGE) => None,
            Err(_) => return None,
        };
        Some(named != Some(id) || fs::fstat(&file).ok()?.st_nlink == 0)
    };
    entries
        .flatten()
        .filter(|entry| is_leftover(entry) == Some(true))
        .filter(|entry| fs::unlinkat(&root.spill, entry.file_name(), AtFlags::empty()).is_ok())
        .count()
}

fn name(id: &SpillId) -> [u8; 32] {
    hex::encode16(id)
}

const INODE_BYTES: usize = 8;
const CONTENT_BYTES_MAX: usize = INODE_BYTES + 1 + HANDLE_BYTES_MAX + RECORD_BYTES_MAX;
const _: () = assert!(HANDLE_BYTES_MAX <= u8::MAX as usize);
