//! Paths beneath a bucket: opening them without ever following a link, and making and removing directories on the
//! way.
//!
//! Every open is `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)`. Only what is known to be a
//! regular file is opened for I/O: the path is opened as a name (O_PATH), looked at, and then that very inode is
//! opened, so that a FIFO or a device is never opened, not even in a race.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::error::{At, Error, Result, Subject};
use super::layout::{self, KeyPath};
use super::open_directories::LastParent;
use super::root::{Bucket, Root};
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;
use crate::runtime::credentials;

/// Mode with which directories are made, of which the kernel takes the umask off (see [`super::modes`]).
pub const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);
/// Mode with which files are made.
pub const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// Opens `path` (relative, of legal components) beneath `dir`.
pub fn open_beneath(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut hops = layout::hops(path).peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(hop) = hops.next() {
        let flags =
            if hops.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC } else { flags };
        let from = at.as_ref().map_or(dir, AsFd::as_fd);
        at = Some(openat2(from, hop, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

/// Opens one path of at most [`layout::HOP_BYTES_MAX`] bytes beneath `dir`.
pub fn openat2(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let mut moved = 0;
    loop {
        match fs::openat2(dir, path, flags, mode, BENEATH) {
            // A rename raced with the resolution, or a signal came.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Without links and `..` nothing leads out of `dir`, but what was found may have been moved out of it before
            // the kernel looked where it is: an object that was replaced, say, or became a version. What stands there now
            // is found by looking again.
            Err(Errno::XDEV) if moved < limits::PUBLICATION_ATTEMPTS_MAX => moved += 1,
            done => return done,
        }
    }
}

/// A directory opened for making and removing names in it, and for flushing.
pub fn open_directory(dir: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    match open_beneath(dir, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        // A user may make names in a directory without being allowed to read it. What is done in it is asked for anew;
        // only listing it is not, and listings open theirs otherwise.
        Err(Errno::ACCESS) if credentials::is_user() => {
            let name = open_beneath(dir, path, OFlags::PATH | OFlags::DIRECTORY)?;
            credentials::as_server(|| reopen(name.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY))
        }
        done => done,
    }
}

/// The file at `path`, if it is a regular one, open for reading, with its stat. `Ok(None)`: nothing there that could
/// be an object.
pub fn open_regular(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Option<(OwnedFd, Stat)>> {
    match find(dir, path)? {
        Some((name, stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            let file = reopen(name.as_fd(), OFlags::RDONLY).at(Subject::Object, "open the object's file")?;
            Ok(Some((file, stat)))
        }
        _ => Ok(None),
    }
}

/// What stands at `path`, whatever it is: a descriptor that names it (O_PATH) and its stat.
pub fn find(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Option<(OwnedFd, Stat)>> {
    let name = match open_beneath(dir, path, OFlags::PATH) {
        Ok(name) => name,
        // Links in the way are not followed: behind them is no object.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Object, "look the object up"),
    };
    let stat = fs::fstat(&name).at(Subject::Object, "stat the object")?;
    Ok(Some((name, stat)))
}

/// Opens the inode that `name` (an O_PATH descriptor) stands for.
pub fn reopen(name: BorrowedFd<'_>, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    fs::open(proc_path(name).as_str(), flags | OFlags::CLOEXEC, Mode::empty())
}

/// The path by which system calls that want one reach an open file.
pub fn proc_path(fd: BorrowedFd<'_>) -> smallstr::ProcPath {
    smallstr::ProcPath::new(fd.as_raw_fd())
}

/// The directory in which the object's name stands. `Ok(None)`: there is none.
pub fn open_parent(bucket: &Bucket, path: &KeyPath) -> Result<Option<Arc<OwnedFd>>> {
    let Some(parent) = path.parent() else { return Ok(Some(bucket.fd.clone())) };
    match open_directory(bucket.fd.as_fd(), parent) {
        Ok(fd) => Ok(Some(Arc::new(fd))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno).at(Subject::Directory, "open the object's directory"),
    }
}

/// The directory in which the object's name stands, made with its parents if it is missing. New directories belong
/// to `owner`. A file in the way becomes a directory that holds it (see [`file_to_directory`]).
pub fn make_parent(root: &Root, bucket: &Bucket, path: &KeyPath, owner: PosixOwner) -> Result<Parent> {
    let Some(parent) = path.parent() else { return Ok(Parent { fd: bucket.fd.clone(), made: false }) };
    match open_directory(bucket.fd.as_fd(), parent) {
        Ok(fd) => return Ok(Parent { fd: Arc::new(fd), made: false }),
        Err(Errno::NOENT | Errno::NOTDIR) => {}
        Err(errno) => return Err(errno).at(Subject::Directory, "open the object's directory"),
    }
    let mut made = false;
    for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
        match enter_all(root, bucket, parent, owner, &mut made) {
            Ok(fd) => return Ok(Parent { fd: Arc::new(fd), made }),
            // Somebody removed a directory on the way before there was anything in it: once more from the top.
            Err(error) if error.errno == Errno::NOENT => check_bucket_stands(bucket)?,
            Err(error) => return Err(error),
        }
    }
    Err(Error {
        op: "make the object's directory, which others keep removing",
        subject: Subject::Directory,
        errno: Errno::BUSY,
    })
}

/// # Errors
/// ENOENT, of the bucket, if it was deleted while it was open.
pub fn check_bucket_stands(bucket: &Bucket) -> Result<()> {
    let op = "write to a bucket that was deleted meanwhile";
    let stat = fs::fstat(&bucket.fd).at(Subject::Bucket, op)?;
    if stat.st_nlink == 0 { Err(Errno::NOENT).at(Subject::Bucket, op) } else { Ok(()) }
}

fn enter_all(
    root: &Root,
    bucket: &Bucket,
    path: &[u8],
    owner: PosixOwner,
    made: &mut bool,
) -> Result<OwnedFd> {
    let mut at = bucket.fd.try_clone().at(Subject::Bucket, "open the bucket")?;
    let mut prefix_end = 0;
    for component in path.split(|byte| *byte == b'/') {
        prefix_end += component.len();
        at = enter(root, bucket, at, component, &path[..prefix_end], owner, made)?;
        prefix_end += 1;
    }
    Ok(at)
}

/// A directory that names can be made in.
pub struct Parent {
    /// Open for reading, so that it can be flushed.
    pub fd: Arc<OwnedFd>,
    /// Whether directories were made on the way: their own names have to become durable as well.
    pub made: bool,
}

fn enter(
    root: &Root,
    bucket: &Bucket,
    at: OwnedFd,
    component: &[u8],
    prefix: &[u8],
    owner: PosixOwner,
    made: &mut bool,
) -> Result<OwnedFd> {
    for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
        match open_directory(at.as_fd(), component) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT) => match fs::mkdirat(&at, component, DIRECTORY_MODE) {
                Ok(()) => {
                    *made = true;
                    failpoint::pass("directory:made");
                    match open_directory(at.as_fd(), component) {
                        Ok(fd) => {
                            hand_over_directory(root, bucket, fd.as_fd(), owner)?;
                            failpoint::pass("directory:given");
                            return Ok(fd);
                        }
                        // Removed again, or replaced.
                        Err(Errno::NOENT | Errno::NOTDIR) => {}
                        Err(errno) => {
                            return Err(errno).at(Subject::Directory, "open a directory just made");
                        }
                    }
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).at(Subject::Directory, "make a directory"),
            },
            Err(Errno::NOTDIR) => {
                if let Some(fd) = file_to_directory(root, bucket, at.as_fd(), component, prefix, owner)? {
                    *made = true;
                    return Ok(fd);
                }
            }
            Err(errno) => return Err(errno).at(Subject::Directory, "enter a directory"),
        }
    }
    Err(Error {
        op: "enter a directory that others keep removing",
        subject: Subject::Directory,
        errno: Errno::BUSY,
    })
}

/// Completes a directory that was just made and opened. Another program may have put one of its own in its place in
/// between, perhaps one that somebody else keeps things in: that one stays as it is.
pub(super) fn hand_over_directory(
    root: &Root,
    bucket: &Bucket,
    fd: BorrowedFd<'_>,
    owner: PosixOwner,
) -> Result<()> {
    let stat = fs::fstat(fd).at(Subject::Directory, "stat a directory just made")?;
    let made_by = credentials::current().map_or(root.process_owner().uid, |user| user.uid());
    if stat.st_uid != made_by || !is_empty(fd).at(Subject::Directory, "look into a directory just made")? {
        return Ok(());
    }
    let mode = root.modes_of(&bucket.name).of_directory(stat.st_mode);
    // A directory that a user made is that user's.
    let owner =
        if credentials::is_user() { PosixOwner { uid: stat.st_uid, gid: stat.st_gid } } else { owner };
    root.hand_over(fd, &stat, mode, owner, Subject::Directory)
}

/// Whether nothing is in a directory. Whoever may put it where it stands may as well make one.
fn is_empty(directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = fs::RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Ok(_) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

/// Turns the object `name` in `at` into a directory that holds the object under [`layout::SELF_NAME`], so that keys
/// below it can exist. A directory with a second link to the file is prepared aside and swapped in by one exchange,
/// so that the object is there at every moment. If another program puts something else there meanwhile, that stays.
/// `Ok(None)`: what stands there now has to be looked at again.
fn file_to_directory(
    root: &Root,
    bucket: &Bucket,
    at: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    owner: PosixOwner,
) -> Result<Option<OwnedFd>> {
    // Writers of the same key hold this lock while they publish, so that the file does not change in between.
    let _order = layout::key(path).map(|key| root.lock(&bucket.name, &key));
    let stat = match fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Directory, "look at a file in the way"),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Ok(None),
        FileType::RegularFile => {}
        _ => {
            return Err(Errno::LOOP)
                .at(Subject::Directory, "enter a directory: a link or special file stands in its place");
        }
    }
    let aside = root.staging_name();
    fs::mkdirat(&root.staging, aside.as_str(), DIRECTORY_MODE)
        .at(Subject::Directory, "prepare a directory")?;
    let mut taken = None;
    failpoint::pass("convert:prepared");
    let swapped = (|| {
        let directory = open_directory(root.staging.as_fd(), aside.as_bytes())?;
        hand_over_directory(root, bucket, directory.as_fd(), owner).map_err(|error| error.errno)?;
        // Users may make no second link of a file that is not theirs. This one nobody sees before the exchange, which is
        // the user's.
        let link = || fs::linkat(at, name, &directory, layout::SELF_NAME, AtFlags::empty());
        match credentials::as_server(link) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                // A directory took the file's place, and directories cannot be linked. It is entered at once: while the
                // preparation is taken back, a program that never rests may have replaced it again.
                taken = open_directory(at, name).ok();
                let untouched = taken.is_none()
                    && fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|now| is_same(&now, &stat));
                return Err(if untouched { Errno::PERM } else { Errno::NOENT });
            }
            Err(errno) => return Err(errno),
        }
        failpoint::pass("convert:linked");
        fs::renameat_with(&root.staging, aside.as_str(), at, name, fs::RenameFlags::EXCHANGE)?;
        failpoint::pass("convert:exchanged");
        // What came out is the file's old name, unless another program put something else there meanwhile.
        let out = fs::statat(&root.staging, aside.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        let kept = fs::statat(&directory, layout::SELF_NAME, AtFlags::SYMLINK_NOFOLLOW)?;
        if (out.st_dev, out.st_ino) == (kept.st_dev, kept.st_ino) {
            fs::unlinkat(&root.staging, aside.as_str(), AtFlags::empty())?;
            Ok(directory)
        } else if FileType::from_raw_mode(out.st_mode) == FileType::RegularFile {
            // A new file is newer than our link and takes its place.
            fs::renameat(&root.staging, aside.as_str(), &directory, layout::SELF_NAME)?;
            Ok(directory)
        } else {
            // Anything else is theirs, with all that may be in it: it goes back, and the next attempt looks again.
            put_back(root, &aside, at, name)?;
            Err(Errno::NOENT)
        }
    })();
    failpoint::pass("convert:done");
    if swapped.is_err()
        && let Ok(directory) = open_directory(root.staging.as_fd(), aside.as_bytes())
    {
        let _ = fs::unlinkat(&directory, layout::SELF_NAME, AtFlags::empty());
        for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
            match fs::unlinkat(&root.staging, aside.as_str(), AtFlags::REMOVEDIR) {
                // While it stood in the bucket, a program made names in it. They go to where it wanted them.
                Err(Errno::NOTEMPTY | Errno::EXIST) => move_names(root, &aside, directory.as_fd(), at, name),
                _ => break,
            }
        }
    }
    match swapped {
        // The file went away: the next attempt makes a plain directory, unless one is there.
        Err(Errno::NOENT) => Ok(taken),
        other => other.map(Some).at(Subject::Directory, "turn an object into a directory beside it"),
    }
}

/// Whether it is the stat of a directory.
pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether two stats are of one file that nobody changed in between.
fn is_same(one: &Stat, other: &Stat) -> bool {
    let key = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_ctime, stat.st_ctime_nsec);
    key(one) == key(other)
}

/// Puts what a program had at `name` back from under `aside`, in exchange for our directory if that still stands there.
fn put_back(root: &Root, aside: &str, at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
        for flags in [fs::RenameFlags::EXCHANGE, fs::RenameFlags::NOREPLACE] {
            match fs::renameat_with(&root.staging, aside, at, name, flags) {
                // The program has removed ours, or has put something there again: the other way.
                Err(Errno::NOENT | Errno::EXIST) => {}
                done => return done,
            }
        }
    }
    Err(Errno::BUSY)
}

/// Moves all names of `directory`, which stands under `aside`, into the directory `name` of `at`; a newer file takes the
/// place of an older one. If nothing is there, the directory itself goes there.
fn move_names(root: &Root, aside: &str, directory: BorrowedFd<'_>, at: BorrowedFd<'_>, name: &[u8]) {
    let Ok(to) = open_directory(at, name) else {
        let _ = fs::renameat_with(&root.staging, aside, at, name, fs::RenameFlags::NOREPLACE);
        return;
    };
    let Ok(entries) = Dir::read_from(directory) else { return };
    for entry in entries.flatten() {
        let entry = entry.file_name();
        if !matches!(entry.to_bytes(), b"." | b"..") {
            let _ = fs::renameat(directory, entry, &to, entry);
        }
    }
}

/// Removes the directories on the way to `path` that have become empty, from the inside out. One that is not empty,
/// or into which a name is being made right now, stays.
pub fn remove_empty_parents(bucket: &Bucket, path: &KeyPath) {
    for directory in path.parents().rev() {
        let (above, name) = match memchr::memrchr(b'/', directory) {
            Some(slash) => (Some(&directory[..slash]), &directory[slash + 1..]),
            None => (None, directory),
        };
        let removed = match above {
            None => fs::unlinkat(&bucket.fd, name, AtFlags::REMOVEDIR),
            Some(above) => open_beneath(bucket.fd.as_fd(), above, OFlags::PATH | OFlags::DIRECTORY)
                .and_then(|above| fs::unlinkat(above, name, AtFlags::REMOVEDIR)),
        };
        if removed.is_err() {
            return;
        }
    }
}

/// The directories that deletions may have left empty: many deletions from one directory, one after the other, open it
/// once, and try once to remove it.
pub struct Emptied<'b> {
    bucket: &'b Bucket,
    last: Option<KeyPath>,
    parent: LastParent<'b>,
}

impl<'b> Emptied<'b> {
    /// Of this bucket.
    pub fn new(bucket: &'b Bucket) -> Self {
        Self { bucket, last: None, parent: LastParent::new(bucket) }
    }

    /// The directory in which the name at `path` stands. `Ok(None)`: there is none.
    pub(super) fn parent(&mut self, root: &Root, path: &KeyPath) -> Result<Option<Arc<OwnedFd>>> {
        self.parent.open(root, path)
    }

    /// Notes that `path` is gone.
    pub(super) fn note(&mut self, path: KeyPath) {
        if self.last.as_ref().is_some_and(|last| last.parent() == path.parent()) {
            return;
        }
        if let Some(last) = self.last.replace(path) {
            remove_empty_parents(self.bucket, &last);
        }
    }
}

impl Drop for Emptied<'_> {
    fn drop(&mut self) {
        if let Some(last) = &self.last {
            remove_empty_parents(self.bucket, last);
            failpoint::pass("delete:pruned");
        }
    }
}

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

mod smallstr {
    /// `/proc/self/fd/N` without an allocation.
    pub struct ProcPath {
        bytes: [u8; 32],
        len: usize,
    }

    impl ProcPath {
        pub(super) fn new(fd: i32) -> ProcPath {
            use std::io::Write;
            let mut path = ProcPath { bytes: [0; 32], len: 0 };
            let mut rest = &mut path.bytes[..];
            // 14 bytes of prefix and at most 11 digits fit.
            let _ = write!(rest, "/proc/self/fd/{fd}");
            path.len = 32 - rest.len();
            path
        }

        /// The path as text.
        pub fn as_str(&self) -> &str {
            std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
        }
    }
}
