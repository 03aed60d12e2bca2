//! Files whose data goes through the core's ring; their metadata is read and changed by plain system calls.

use std::fs::File as StdFile;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use monoio::fs::File;

use super::buffer::AlignedBuf;

/// An open file of this core. Its descriptor is closed through the ring when the value is dropped, after the
/// operations in flight.
pub struct RingFile {
    file: File,
}

impl RingFile {
    /// Takes over an open file.
    pub fn new(fd: OwnedFd) -> io::Result<RingFile> {
        Ok(RingFile { file: File::from_std(StdFile::from(fd))? })
    }

    /// Writes the whole content of `buf` at `offset`. With O_DIRECT on the file, offset and length are multiples
    /// of [`crate::limits::DIRECT_ALIGNMENT`]. The buffer comes back for reuse.
    pub async fn write_at(&self, buf: AlignedBuf, offset: u64) -> (io::Result<()>, AlignedBuf) {
        let end = buf.len();
        let mut window = buf.window(0, end);
        let mut done = 0;
        loop {
            let (result, back) = self.file.write_at(window, offset + done as u64).await;
            let buf = back.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(count) => {
                    done += count;
                    if done >= end {
                        return (Ok(()), buf);
                    }
                    window = buf.window(done, end);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => window = buf.window(done, end),
                Err(error) => return (Err(error), buf),
            }
        }
    }

    /// Appends up to `count` bytes from `offset` to `buf`; fewer only at the end of the file.
    pub async fn read_at(
        &self,
        buf: AlignedBuf,
        count: usize,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuf) {
        let start = buf.len();
        let end = start + count.min(buf.room());
        let mut at = start;
        let mut buf = buf;
        while at < end {
            let (result, back) = self.file.read_at(buf.window(at, end), offset + (at - start) as u64).await;
            match result {
                Ok(0) => return (Ok(at - start), back.into_filled(0)),
                Ok(got) => {
                    buf = back.into_filled(got);
                    at += got;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => buf = back.into_inner(),
                Err(error) => return (Err(error), back.into_inner()),
            }
        }
        (Ok(at - start), buf)
    }
}

/// Appends what the page cache has of the `length` bytes at `offset` of a file, without waiting for the disk; returns how
/// many bytes that were.
pub fn read_cached(file: BorrowedFd<'_>, to: &mut BytesMut, length: usize, offset: u64) -> usize {
    to.reserve(length);
    let room = &mut to.spare_capacity_mut()[..length];
    let Ok(offset) = libc::off_t::try_from(offset) else { return 0 };
    let iov = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: the kernel writes at most `iov_len` bytes behind `iov_base`, which is memory of `to` that nobody else refers
    // to; the descriptor is open as long as it is borrowed.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const iov, 1, offset, libc::RWF_NOWAIT) };
    // EAGAIN: not in the cache; EOPNOTSUPP: the file system cannot say.
    let read = usize::try_from(read).unwrap_or(0).min(length);
    // SAFETY: the kernel has written so many bytes from the start of the spare capacity on, which has at least `length`.
    unsafe { to.set_len(to.len() + read) };
    read
}

/// Starts to write to the device what the page cache has of a file, without waiting for it.
pub fn start_writeback(file: BorrowedFd<'_>) -> io::Result<()> {
    sync_range(file, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until everything that the page cache has of a file is on the device. Nothing is flushed: the device's own cache
/// may hold it, and the file system's journal what says where it is.
pub fn write_back(file: BorrowedFd<'_>) -> io::Result<()> {
    // All three flags together also write what someone else has locked or is writing just now.
    sync_range(
        file,
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER,
    )
}

fn sync_range(file: BorrowedFd<'_>, flags: libc::c_uint) -> io::Result<()> {
    loop {
        // SAFETY: the call touches no memory of ours; the descriptor is open as long as it is borrowed. An offset and a
        // length of 0 are the whole file.
        match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ => return Ok(()),
        }
    }
}
/// How many bytes of a range of a file are in the page cache, in whole pages; with a length of 0, from `offset` on. `None`:
/// the kernel does not say (before Linux 6.5, or to whoever may not write to the file).
pub fn cached_bytes(file: BorrowedFd<'_>, offset: u64, length: u64) -> Option<u64> {
    let range: [u64; 2] = [offset, length];
    let mut pages: [u64; 5] = [0; 5];
    // SAFETY: cachestat reads a `struct cachestat_range`, two integers of 64 bits, and writes a `struct cachestat`, five of
    // them; both live through the call, and the descriptor is open as long as it is borrowed.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), range.as_ptr(), pages.as_mut_ptr(), 0) };
    (result == 0).then(|| pages[0].saturating_mul(rustix::param::page_size() as u64))
}

/// The same on every architecture with 64 bits that Linux supports but two old ones, where another call answers ENOSYS.
pub const SYS_CACHESTAT: libc::c_long = 451;

/// Locks a range of a file for writing, if nobody has locked any of it; `length` 0 is all from `start` on. False: somebody
/// has, or the file system knows no such locks. The lock belongs to the open file: it is held until the last descriptor
/// of it is closed and the last operation on it has ended, dropped ones included.
pub fn lock_range(file: BorrowedFd<'_>, start: u64, length: u64) -> io::Result<bool> {
    match set_lock(file, libc::F_WRLCK, start, length) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(
                libc::EAGAIN | libc::EACCES | libc::EINVAL | libc::ENOLCK | libc::ENOSYS | libc::EOPNOTSUPP,
            ) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Gives up all locks that this open file has.
pub fn unlock(file: BorrowedFd<'_>) -> io::Result<()> {
    set_lock(file, libc::F_UNLCK, 0, 0)
}

fn set_lock(file: BorrowedFd<'_>, kind: libc::c_int, start: u64, length: u64) -> io::Result<()> {
    let offset = |value: u64| libc::off_t::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset(start)?,
        l_len: offset(length)?,
        l_pid: 0,
    };
    // SAFETY: F_OFD_SETLK reads one `flock` behind the pointer, which points to one that lives through the call; the
    // descriptor is open as long as it is borrowed.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

impl AsFd for RingFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `self.file` lives, which the returned lifetime is bound to.
        unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) }
    }
}
