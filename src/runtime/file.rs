//! Files whose data goes through the core's ring; their metadata is read and changed by plain system calls.

use std::fs::File as StdFile;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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

impl AsFd for RingFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `self.file` lives, which the returned lifetime is bound to.
        unsafe { BorrowedFd::borrow_raw(self.file.as_raw_fd()) }
    }
}
