//! What one content of a file is, while other programs may write to it, and copies of it: inside the kernel, where it can.

use std::os::fd::BorrowedFd;

use rustix::fs;
use rustix::io::Errno;

use super::error::{At, Error, Result, Subject};
use super::object::modified;
use super::writer::write_all;
use crate::codec::dates::Timestamp;
use crate::limits;

/// One call copies at most this much, so that a long copy can be interrupted.
const COPY_BYTES_MAX: u64 = 1 << 30;

/// What tells one content of a file from another: every program that writes to the file changes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    size: u64,
    modified: Timestamp,
}

impl Content {
    /// Of a file of this size and time of its last change.
    pub fn new(size: u64, modified: Timestamp) -> Content {
        Content { size, modified }
    }

    /// Whether an open file still has this content: what was read of it meanwhile is then of one version.
    ///
    /// # Errors
    /// EAGAIN: another program changed it.
    pub fn check(self, file: BorrowedFd<'_>) -> Result<()> {
        let stat = fs::fstat(file).at(Subject::Object, "stat the object")?;
        let same = self == Content::new(stat.st_size as u64, modified(&stat));
        if same { Ok(()) } else { Err(Self::changed()) }
    }

    /// Copies `length` bytes of an open file that start `at`, to `offset` of `to`, all of them of this content.
    ///
    /// # Errors
    /// EAGAIN: another program changed it.
    pub fn copy(
        self,
        file: BorrowedFd<'_>,
        at: u64,
        to: BorrowedFd<'_>,
        offset: u64,
        length: u64,
    ) -> Result<()> {
        match copy_range(file, at, to, offset, length)? {
            copied if copied == length => self.check(file),
            _ => Err(Self::changed()),
        }
    }

    /// The error of a file that another program changed while it was read.
    pub fn changed() -> Error {
        Error { op: "read one version of the object", subject: Subject::Object, errno: Errno::AGAIN }
    }
}

/// Copies `length` bytes of `from` that start `at`, to `offset` of `to`, and returns how many there were: fewer if the
/// source ends before. The file system shares the blocks where it can.
pub fn copy_range(
    from: BorrowedFd<'_>,
    mut at: u64,
    to: BorrowedFd<'_>,
    mut offset: u64,
    length: u64,
) -> Result<u64> {
    let mut left = length;
    while left > 0 {
        let piece = left.min(COPY_BYTES_MAX) as usize;
        match fs::copy_file_range(from, Some(&mut at), to, Some(&mut offset), piece) {
            Ok(0) => break,
            Ok(count) => left -= count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return Ok(length - left + by_hand(from, at, to, offset, left)?);
            }
            Err(errno) => return Err(errno).at(Subject::Object, OP),
        }
    }
    Ok(length - left)
}

fn by_hand(
    from: BorrowedFd<'_>,
    mut at: u64,
    to: BorrowedFd<'_>,
    mut offset: u64,
    length: u64,
) -> Result<u64> {
    let mut buf = vec![0; limits::TRANSFER_BYTES];
    let mut left = length;
    while left > 0 {
        let piece = left.min(buf.len() as u64) as usize;
        match rustix::io::pread(from, &mut buf[..piece], at).at(Subject::Object, OP)? {
            0 => break,
            count => {
                write_all(to, &buf[..count], offset).at(Subject::Object, OP)?;
                (at, offset, left) = (at + count as u64, offset + count as u64, left - count as u64);
            }
        }
    }
    Ok(length - left)
}

const OP: &str = "copy data";

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    const TEXT: &[u8] = b"all of it";

    fn source() -> (File, Content) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(TEXT).unwrap();
        let content = Content::new(TEXT.len() as u64, modified(&fs::fstat(&file).unwrap()));
        (file, content)
    }

    /// What another program does to a file is no failure of the storage, wherever the copy notices it.
    #[test]
    fn a_source_that_changes_is_told_from_a_failure() {
        let to = tempfile::tempfile().unwrap();
        let copied = |(file, content): &(File, Content)| {
            content.copy(file.as_fd(), 0, to.as_fd(), 0, TEXT.len() as u64)
        };
        assert_eq!(copied(&source()), Ok(()));

        let cut = source();
        cut.0.set_len(3).unwrap();
        assert!(copied(&cut).unwrap_err().is_changed_meanwhile());

        let mut grown = source();
        grown.0.write_all(b" and more").unwrap();
        assert!(copied(&grown).unwrap_err().is_changed_meanwhile());
    }

    #[test]
    fn copies_say_how_much_there_was() {
        let (file, _) = source();
        for copy in [copy_range, by_hand] {
            let to = tempfile::tempfile().unwrap();
            for (at, length, there) in [(0, 9, 9), (4, 5, 5), (4, 6, 5), (9, 1, 0)] {
                assert_eq!(copy(file.as_fd(), at, to.as_fd(), 100, length), Ok(there));
                let mut copied = vec![0; there as usize];
                rustix::io::pread(&to, &mut copied[..], 100).unwrap();
                assert_eq!(copied, TEXT[at as usize..(at + there) as usize]);
            }
        }
    }
}
