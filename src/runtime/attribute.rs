//! Extended attributes of files that are named, not opened: getxattrat(2), from Linux 6.13 on.
//!
//! It costs a third of lgetxattr(2) on `/proc/self/fd/<directory>/<name>`, which is the way to say the same before.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use rustix::io::{Errno, Result};
use rustix::path::Arg;

/// Whether the kernel, and what filters its calls, offer [`get_at`].
pub fn is_offered() -> bool {
    static OFFERED: OnceLock<bool> = OnceLock::new();
    *OFFERED.get_or_init(|| {
        let tried = call(libc::AT_FDCWD, c"/", c"user.s3", &mut [0; 1]);
        // Some filters refuse calls that are newer than they are with EPERM.
        !matches!(tried, Err(Errno::NOSYS | Errno::PERM))
    })
}

/// Reads an attribute of the file that has this name in a directory, as many bytes as it has. A link is not followed.
///
/// # Errors
/// ERANGE: `value` is too short. ENODATA: there is none. ENOSYS: see [`is_offered`].
pub fn get_at(
    directory: BorrowedFd<'_>,
    name: impl Arg,
    attribute: &CStr,
    value: &mut [u8],
) -> Result<usize> {
    name.into_with_c_str(|name| call(directory.as_raw_fd(), name, attribute, value))
}

fn call(directory: libc::c_int, name: &CStr, attribute: &CStr, value: &mut [u8]) -> Result<usize> {
    let arguments = Arguments {
        value: value.as_mut_ptr() as u64,
        // A longer one is not used: no attribute has more than 64 KiB.
        size: u32::try_from(value.len()).unwrap_or(u32::MAX),
        flags: 0,
    };
    // SAFETY: the kernel reads two C strings and `Arguments`, whose size it is told and whose layout is that of `struct
    // xattr_args`, and writes at most `size` bytes to `value`, which has at least as many. All live through the call.
    let length = unsafe {
        libc::syscall(
            SYS_GETXATTRAT,
            directory,
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            attribute.as_ptr(),
            &raw const arguments,
            size_of::<Arguments>(),
        )
    };
    usize::try_from(length).map_err(|_| {
        let error = std::io::Error::last_os_error();
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    })
}

/// `struct xattr_args` of linux/xattr.h.
#[repr(C, align(8))]
struct Arguments {
    value: u64,
    size: u32,
    flags: u32,
}

/// The same number on every architecture.
pub const SYS_GETXATTRAT: libc::c_long = 464;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn attributes_by_name() {
        if !is_offered() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("file")).unwrap();
        std::os::unix::fs::symlink("file", directory.path().join("link")).unwrap();
        if rustix::fs::fsetxattr(&file, "user.s3", b"value", rustix::fs::XattrFlags::empty()).is_err() {
            return;
        }
        let fd = File::open(directory.path()).unwrap();
        let get =
            |name: &CStr, attribute: &CStr, value: &mut [u8]| get_at(fd.as_fd(), name, attribute, value);
        let mut value = [0; 8];
        assert_eq!(get(c"file", c"user.s3", &mut value), Ok(5));
        assert_eq!(&value, b"value\0\0\0");
        assert_eq!(get(c"file", c"user.s3", &mut value[..4]), Err(Errno::RANGE));
        assert_eq!(get(c"file", c"user.other", &mut value), Err(Errno::NODATA));
        assert_eq!(get(c"none", c"user.s3", &mut value), Err(Errno::NOENT));
        // User attributes are for files; following it would find one.
        assert!(matches!(get(c"link", c"user.s3", &mut value), Err(Errno::PERM | Errno::NODATA)));
    }
}
