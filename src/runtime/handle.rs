//! File handles: what names an inode whatever its path is, and never another one that takes its number later.
//!
//! Spec: name_to_handle_at(2). Making one takes no right; opening one takes CAP_DAC_READ_SEARCH.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The most bytes a handle has, its type included.
pub const HANDLE_BYTES_MAX: usize = TYPE_BYTES + libc::MAX_HANDLE_SZ as usize;

const TYPE_BYTES: usize = 4;

/// A handle, as the kernel fills it and takes it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileHandle {
    length: libc::c_uint,
    kind: libc::c_int,
    bytes: [u8; libc::MAX_HANDLE_SZ as usize],
}

impl FileHandle {
    /// The handle of an open file.
    ///
    /// # Errors
    /// EOPNOTSUPP: the file system has no handles.
    pub fn of(file: BorrowedFd<'_>) -> io::Result<FileHandle> {
        let bytes = [0; libc::MAX_HANDLE_SZ as usize];
        let mut handle = FileHandle { length: bytes.len() as libc::c_uint, kind: 0, bytes };
        let mut mount = 0;
        // SAFETY: the kernel writes at most `length` bytes behind the two integers, which `bytes` has; the structure has
        // the layout of `struct file_handle`, whose last member is an array of bytes. The path is a C string.
        let result = unsafe {
            libc::name_to_handle_at(
                file.as_raw_fd(),
                c"".as_ptr(),
                (&raw mut handle).cast(),
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        };
        if result == 0 { Ok(handle) } else { Err(io::Error::last_os_error()) }
    }

    /// Opens the file as a name (O_PATH), on the file system that `mount` is on.
    ///
    /// # Errors
    /// ESTALE: the file is gone. EPERM: the process lacks CAP_DAC_READ_SEARCH.
    pub fn open(&self, mount: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let mut handle = *self;
        // SAFETY: the kernel reads `length` bytes behind the two integers, which is at most what `bytes` has: both makers
        // see to it.
        let result = unsafe {
            libc::open_by_handle_at(
                mount.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(result) })
    }

    /// Appends the handle in a form that [`FileHandle::decode`] reads: its type, little-endian, and its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.bytes[..self.length as usize]);
    }

    /// Reads a handle. `None`: too short or too long to be one.
    pub fn decode(encoded: &[u8]) -> Option<FileHandle> {
        let (kind, rest) = encoded.split_first_chunk::<TYPE_BYTES>()?;
        let mut bytes = [0; libc::MAX_HANDLE_SZ as usize];
        bytes.get_mut(..rest.len())?.copy_from_slice(rest);
        Some(FileHandle {
            length: rest.len() as libc::c_uint,
            kind: libc::c_int::from_le_bytes(*kind),
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_handle_finds_its_file_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = std::fs::File::create(&path).unwrap();
        let inode = file.metadata().unwrap().ino();
        let mut encoded = Vec::new();
        FileHandle::of(file.as_fd()).unwrap().encode(&mut encoded);
        assert!(encoded.len() <= HANDLE_BYTES_MAX);
        drop(file);
        let handle = FileHandle::decode(&encoded).unwrap();
        let mount = std::fs::File::open(directory.path()).unwrap();
        std::fs::rename(&path, directory.path().join("moved")).unwrap();
        match handle.open(mount.as_fd()) {
            Ok(found) => assert_eq!(std::fs::File::from(found).metadata().unwrap().ino(), inode),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
                eprintln!("not tested: this process has no CAP_DAC_READ_SEARCH");
                return;
            }
        }
        std::fs::remove_file(directory.path().join("moved")).unwrap();
        let taken = std::fs::File::create(&path).unwrap();
        let error = handle.open(mount.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{}", taken.metadata().unwrap().ino() == inode);
    }

    #[test]
    fn what_is_no_handle_is_not_decoded() {
        assert!(FileHandle::decode(&[0; TYPE_BYTES - 1]).is_none());
        assert!(FileHandle::decode(&[0; HANDLE_BYTES_MAX]).is_some());
        assert!(FileHandle::decode(&[0; HANDLE_BYTES_MAX + 1]).is_none());
    }
}
