//! Which modes new files and directories get.
//!
//! They are made with 0666 and 0777, as any program makes them, and the kernel takes the umask of the process off, or
//! applies the default access control list of their directory instead. Only where something else is wanted is the mode
//! changed afterwards, before the file has a name: the umask of the process is that of all its threads.
//!
//! What was made elsewhere and gets its place later is given what its directory passes on (`inherit`).

use std::os::fd::BorrowedFd;

use rustix::fs::{self, Mode};
use rustix::io::Errno;

use super::walk;

/// What is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Modes {
    /// What 0666 and 0777 lose, unless the directory has a default access control list.
    pub umask: u32,
    /// The mode of files, whatever the rest says.
    pub file: Option<u32>,
    /// The mode of directories, whatever the rest says.
    pub directory: Option<u32>,
}

impl Modes {
    /// The umask of the process, which it sets itself when it starts.
    pub const UMASK: u32 = 0o022;

    /// The mode to give a new file which the kernel gave the mode `made`. `None`: it is right.
    pub fn of_file(&self, made: u32) -> Option<u32> {
        self.wanted(self.file, 0o666, made)
    }

    /// As [`Modes::of_file`], of a new directory. What it has beyond the permissions stays (the group goes on to what is
    /// made in it).
    pub fn of_directory(&self, made: u32) -> Option<u32> {
        self.wanted(self.directory, 0o777, made).map(|mode| mode | (made & 0o7000))
    }

    fn wanted(&self, named: Option<u32>, all: u32, made: u32) -> Option<u32> {
        let made = made & 0o777;
        // A mode that the umask did not make is that of an access control list.
        let wanted = named.unwrap_or(if made == all & !Self::UMASK { all & !self.umask } else { made });
        (wanted != made).then_some(wanted)
    }
}

impl Default for Modes {
    fn default() -> Self {
        Modes { umask: Self::UMASK, file: None, directory: None }
    }
}

/// Gives a file or directory that was made elsewhere what it would have from `directory` if it had been made there: the
/// group, if that one passes it on, and the default access control list.
pub(super) fn inherit(made: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    inherit_group(made, directory)?;
    let mut list = [0u8; ACL_BYTES_MAX];
    let list = match fs::fgetxattr(directory, DEFAULT_ACL, &mut list[..]) {
        Ok(length) => &list[..length],
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    fs::fsetxattr(made, ACCESS_ACL, list, fs::XattrFlags::empty())?;
    let stat = fs::fstat(made)?;
    if walk::is_directory(&stat) {
        return fs::fsetxattr(made, DEFAULT_ACL, list, fs::XattrFlags::empty());
    }
    // As the kernel does for a file made with 0666: nobody may execute it.
    fs::fchmod(made, Mode::from_raw_mode(stat.st_mode & walk::FILE_MODE.as_raw_mode()))
}

/// Gives a file or directory that was made elsewhere the group of `directory`, if that one passes it on.
pub(super) fn inherit_group(made: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let above = fs::fstat(directory)?;
    if above.st_mode & Mode::SGID.as_raw_mode() == 0 {
        return Ok(());
    }
    fs::fchown(made, None, Some(fs::Gid::from_raw(above.st_gid)))?;
    let stat = fs::fstat(made)?;
    if walk::is_directory(&stat) {
        fs::fchmod(made, Mode::from_raw_mode(stat.st_mode) | Mode::SGID)
    } else {
        Ok(())
    }
}

const DEFAULT_ACL: &str = "system.posix_acl_default";
const ACCESS_ACL: &str = "system.posix_acl_access";

/// A list of the 500 entries that XFS knows at most takes half of it.
const ACL_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(modes: Modes, made: (u32, u32), wanted: (Option<u32>, Option<u32>)) {
        assert_eq!((modes.of_file(made.0), modes.of_directory(made.1)), wanted, "{modes:?} {made:?}");
    }

    #[test]
    fn only_what_is_wrong_is_changed() {
        let of = |umask| Modes { umask, ..Modes::default() };
        check(of(0o022), (0o100644, 0o040755), (None, None));
        check(of(0o027), (0o100644, 0o040755), (Some(0o640), Some(0o750)));
        check(of(0o002), (0o100644, 0o042755), (Some(0o664), Some(0o2775)));
        check(of(0o077), (0o100660, 0o042770), (None, None));
        let named = Modes { umask: 0o077, file: Some(0o640), directory: Some(0o711) };
        check(named, (0o100644, 0o040755), (Some(0o640), Some(0o711)));
        check(named, (0o100660, 0o042770), (Some(0o640), Some(0o2711)));
        check(named, (0o100640, 0o040711), (None, None));
    }
}
