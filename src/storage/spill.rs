//! Records that exceed the file system's room for attributes: `<root>/.sluicegate/spill/<id>` holds the whole record,
//! the file's attribute names it.
//!
//! The content is the inode number of the object's file (8 bytes, little-endian) and the record. An attribute can be
//! copied or forged by whoever may write the file, the inode cannot: a spill file is read and removed only for the
//! file it was written for.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{At, Result, Subject};
use super::record::{RECORD_BYTES_MAX, Record, SpillId, XATTR_NAME};
use super::root::Root;
use super::walk;
use super::writer::write_all;
use crate::codec::hex;

/// Writes the record of the file `inode` aside, durably.
pub fn write(root: &Root, record: &[u8], inode: u64) -> Result<SpillId> {
    let op = "write a large record";
    let mut id: SpillId = [0; 16];
    getrandom::fill(&mut id).map_err(|_| Errno::IO).at(Subject::Object, op)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd =
        fs::openat(&root.spill, &name(&id)[..], flags, Mode::from_raw_mode(0o600)).at(Subject::Object, op)?;
    let content = [&inode.to_le_bytes()[..], record].concat();
    let written = write_all(fd.as_fd(), &content, 0)
        .and_then(|()| fs::fsync(&fd))
        .and_then(|()| fs::fsync(&root.spill));
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
    let fd = fs::openat(&root.spill, &name(id)[..], flags, Mode::empty()).ok()?;
    let length = fs::fstat(&fd).ok()?.st_size.clamp(0, (INODE_BYTES + RECORD_BYTES_MAX) as i64) as usize;
    let mut content = vec![0; length];
    let length = rustix::io::pread(&fd, &mut content[..], 0).ok()?;
    let (owner, record) = content[..length].split_first_chunk::<INODE_BYTES>()?;
    if u64::from_le_bytes(*owner) != inode {
        return None;
    }
    Record::decode(record).ok()
}

/// The spill file of the object `name` in `directory`, which is about to be replaced or deleted.
pub fn of(directory: BorrowedFd<'_>, name: &[u8]) -> Option<Spill> {
    let (file, stat) = walk::open_regular(directory, name).ok()??;
    debug_assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile);
    of_file(file.as_fd(), stat.st_ino)
}

/// The spill file of an open object, whose record is about to be replaced.
pub fn of_file(file: BorrowedFd<'_>, inode: u64) -> Option<Spill> {
    let mut bytes = [0u8; 512];
    let length = fs::fgetxattr(file, XATTR_NAME, &mut bytes[..]).ok()?;
    Some(Spill { id: Record::decode(&bytes[..length]).ok()?.spill?, inode })
}

/// A spill file and the file it belongs to.
pub struct Spill {
    id: SpillId,
    inode: u64,
}

/// Removes a spill file whose object is gone.
pub fn remove(root: &Root, spill: &Spill) {
    if read(root, &spill.id, spill.inode).is_some() {
        let _ = fs::unlinkat(&root.spill, &name(&spill.id)[..], AtFlags::empty());
    }
}

fn name(id: &SpillId) -> [u8; 32] {
    hex::encode16(id)
}

const INODE_BYTES: usize = 8;
