//! Step 1 and 2 of a write: a file that nobody can see yet, and the body on its way into it.
//!
//! 1. The file is unnamed (O_TMPFILE), in the target's directory if that exists already and else in the nearest one above
//!    it, from which it has the group and the access control list that go down the tree; opened with O_DIRECT unless the
//!    body is small; space is allocated when the length is known and large, so that a full disk is found before
//!    the body is read.
//! 2. Whole aligned buffers go through the core's ring, several in flight. A body of at most
//!    [`limits::BUFFERED_BYTES_MAX`] is one plain write into the page cache. So is the unaligned tail of a direct
//!    one: cutting the file to an unaligned length afterwards would cost more. The file can get a name once all of it is
//!    on the device ([`Committer::settle`](super::commit::Committer::settle)).
//!
//! Whatever fails, dropping the [`Writer`] or the [`Staged`] file leaves nothing behind.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::fs::{self, AtFlags, FallocateFlags, OFlags, RenameFlags};
use rustix::io::Errno;

use super::commit::Durability;
use super::error::{At, Result, Subject};
use super::layout::KeyPath;
use super::modes::{self, Modes};
use super::open_directories::{OpenDirectories, Seen};
use super::root::{Bucket, Root};
use super::spill::{self, Spill};
use super::walk;
use crate::failpoint;
use crate::limits::{self, DIRECT_ALIGNMENT};
use crate::runtime::{AlignedBuf, RingFile, credentials};

/// A complete file that has no name in a bucket yet.
pub struct Staged<'r> {
    root: &'r Root,
    file: StagedFile,
    /// Its name in a directory of the server's own, if it has one: where the file system knows no unnamed files, and
    /// for the data of a multipart upload.
    name: Option<StagedName>,
    /// What its record has outside, until it is published.
    spill: StagedSpill<'r>,
    /// The directory that it is to have a name in, if that was there when the file was made.
    pub(super) directory: Option<Seen>,
}

/// A part of a record that goes with its file if that is not published.
struct StagedSpill<'r> {
    root: &'r Root,
    spill: Cell<Option<Spill>>,
}

impl Drop for StagedSpill<'_> {
    fn drop(&mut self) {
        if let Some(spill) = self.spill.take() {
            spill::remove(self.root, &spill);
        }
    }
}

/// A name outside the buckets.
struct StagedName {
    directory: Arc<OwnedFd>,
    name: String,
    /// The name is not removed with the file: the upload goes on if the file is not published, or it was renamed.
    keep: bool,
}

enum StagedFile {
    /// Written by plain system calls.
    Plain(OwnedFd),
    /// Written through the ring.
    Ring(Rc<RingFile>),
}

/// A file being written.
pub struct Writer<'r> {
    staged: Staged<'r>,
    /// Of the bucket.
    durability: Durability,
    direct: bool,
    start: u64,
    offset: u64,
    in_flight: FuturesUnordered<Write>,
    spare: Vec<AlignedBuf>,
    tail: Vec<u8>,
}

type Write = Pin<Box<dyn Future<Output = (io::Result<()>, AlignedBuf)>>>;

impl<'r> Writer<'r> {
    /// Opens a file for an object at `path`, whose length is `length` if that is known. `directories` are this core's.
    pub fn create(
        root: &'r Root,
        bucket: &Bucket,
        path: &KeyPath,
        length: Option<u64>,
        directories: &OpenDirectories,
    ) -> Result<Writer<'r>> {
        let small = length.is_some_and(|length| length <= limits::BUFFERED_BYTES_MAX as u64);
        let direct = root.capabilities.direct_io && !small;
        let directory = directories.parent(root, bucket, path);
        let (fd, name) = create_file(root, bucket, path, directory.as_ref(), direct)?;
        failpoint::pass("write:made");
        if let Some(length) = length
            && length >= ALLOCATE_BYTES_MIN
        {
            allocate(fd.as_fd(), 0, length)?;
        }
        let file = if small {
            StagedFile::Plain(fd)
        } else {
            StagedFile::Ring(Rc::new(RingFile::new(fd).at(Subject::Object, "open a file")?))
        };
        let staged = Staged { directory, ..Staged::new(root, file, name) };
        Ok(Writer::new(staged, root.durability(&bucket.name), direct, 0))
    }

    fn new(staged: Staged<'r>, durability: Durability, direct: bool, offset: u64) -> Writer<'r> {
        Writer {
            staged,
            durability,
            direct,
            start: offset,
            offset,
            in_flight: FuturesUnordered::new(),
            spare: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// Takes a finished buffer back for the next piece of the body, if there is one.
    pub fn spare(&mut self) -> Option<AlignedBuf> {
        self.spare.pop()
    }

    /// Writes the next piece. Every piece but the last is a whole buffer.
    pub async fn write(&mut self, mut buf: AlignedBuf) -> Result<()> {
        debug_assert!(self.tail.is_empty(), "only the last piece is not a whole buffer");
        match &self.staged.file {
            StagedFile::Plain(fd) => {
                write_all(fd.as_fd(), &buf, self.offset).at(Subject::Object, OP_WRITE)?;
                self.offset += buf.len() as u64;
                self.keep(buf);
                Ok(())
            }
            StagedFile::Ring(file) => {
                if self.direct {
                    let aligned = buf.len() - buf.len() % DIRECT_ALIGNMENT;
                    self.tail.extend_from_slice(&buf[aligned..]);
                    buf.truncate(aligned);
                }
                if buf.is_empty() {
                    return Ok(());
                }
                let (file, offset, length) = (file.clone(), self.offset, buf.len() as u64);
                self.in_flight.push(Box::pin(async move { file.write_at(buf, offset).await }));
                self.offset += length;
                // The first poll hands the write to the ring.
                while let Some(Some(done)) = self.in_flight.next().now_or_never() {
                    self.finished(done)?;
                }
                while self.in_flight.len() >= limits::WRITES_IN_FLIGHT {
                    self.next_finished().await?;
                }
                Ok(())
            }
        }
    }

    /// Waits for everything in flight, writes the tail, and waits until no part of it is in the page cache alone. Returns
    /// the file and how much was written.
    pub async fn finish(mut self) -> Result<(Staged<'r>, u64)> {
        while !self.in_flight.is_empty() {
            self.next_finished().await?;
        }
        if !self.tail.is_empty() {
            let fd = self.staged.as_fd();
            if self.direct {
                let flags = fs::fcntl_getfl(fd).at(Subject::Object, OP_WRITE)?;
                fs::fcntl_setfl(fd, flags - OFlags::DIRECT).at(Subject::Object, OP_WRITE)?;
            }
            write_all(fd, &self.tail, self.offset).at(Subject::Object, OP_WRITE)?;
            self.offset += self.tail.len() as u64;
        }
        let length = self.offset - self.start;
        let is_direct = self.direct && self.tail.is_empty();
        let staged =
            if length == 0 { self.staged } else { self.staged.settle(self.durability, is_direct).await? };
        failpoint::pass("write:done");
        Ok((staged, length))
    }

    async fn next_finished(&mut self) -> Result<()> {
        match self.in_flight.next().await {
            Some(done) => self.finished(done),
            None => Ok(()),
        }
    }

    fn finished(&mut self, (result, buf): (io::Result<()>, AlignedBuf)) -> Result<()> {
        self.keep(buf);
        result.at(Subject::Object, OP_WRITE)
    }

    fn keep(&mut self, mut buf: AlignedBuf) {
        buf.clear();
        self.spare.push(buf);
    }
}

/// A writer into a range of a file that exists already: one part of a multipart upload.
impl<'r> Writer<'r> {
    /// Writes from `offset` (aligned) on into `fd`, which was opened with O_DIRECT if `direct`.
    pub fn at(
        root: &'r Root,
        fd: OwnedFd,
        durability: Durability,
        direct: bool,
        offset: u64,
    ) -> Result<Writer<'r>> {
        let file = StagedFile::Ring(Rc::new(RingFile::new(fd).at(Subject::Upload, "open a file")?));
        Ok(Writer::new(Staged::new(root, file, None), durability, direct, offset))
    }
}

impl<'r> Staged<'r> {
    fn new(root: &'r Root, file: StagedFile, name: Option<StagedName>) -> Staged<'r> {
        let spill = StagedSpill { root, spill: Cell::new(None) };
        Staged { root, file, name, spill, directory: None }
    }

    /// Takes charge of what the file's record has outside.
    pub(super) fn owns(&self, spill: Spill) {
        self.spill.spill.set(Some(spill));
    }

    /// Creates an empty file for an object at `path`, to be filled by plain system calls (a copy, say).
    pub fn create(root: &'r Root, bucket: &Bucket, path: &KeyPath) -> Result<Staged<'r>> {
        let (fd, name) = create_file(root, bucket, path, None, false)?;
        Ok(Staged::new(root, StagedFile::Plain(fd), name))
    }

    /// Takes over a file that stands under `name` in a directory of the server's own and keeps that name unless it is
    /// published.
    pub(super) fn standing(root: &'r Root, directory: OwnedFd, name: &str, fd: OwnedFd) -> Staged<'r> {
        let name = StagedName { directory: Arc::new(directory), name: name.to_owned(), keep: true };
        Staged::new(root, StagedFile::Plain(fd), Some(name))
    }

    /// Waits until the data is on the device. `is_direct`: all of it was to go past the page cache.
    async fn settle(self, durability: Durability, is_direct: bool) -> Result<Staged<'r>> {
        let Staged { root, file, name, spill, directory } = self;
        let file = match file {
            StagedFile::Plain(fd) => StagedFile::Plain(root.committer.settle(durability, fd).await?),
            StagedFile::Ring(file) => {
                // The tail, and all of it where the file system does not write past the page cache after all.
                if is_direct {
                    root.committer.settle_direct(durability, file.as_fd()).await?;
                } else if durability != Durability::None {
                    let fd = file.as_fd().try_clone_to_owned().at(Subject::Object, OP_WRITE)?;
                    root.committer.settle_large(durability, fd).await?;
                }
                StagedFile::Ring(file)
            }
        };
        Ok(Staged { root, file, name, spill, directory })
    }

    /// Gives the file a name which must be free (EEXIST otherwise).
    pub(super) fn link(&self, directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        match &self.name {
            Some(staged) => {
                let (from, old) = (&staged.directory, staged.name.as_str());
                match fs::renameat_with(from, old, directory, name, RenameFlags::NOREPLACE) {
                    // The file system knows no such rename.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        fs::linkat(from, old, directory, name, AtFlags::empty())?;
                        fs::unlinkat(from, old, AtFlags::empty())
                    }
                    done => done,
                }
            }
            None => match self.link_unnamed(directory, name) {
                // It was given to another user than the one it is published for, and may be renamed but not linked.
                Err(Errno::PERM) if credentials::is_user() => {
                    let aside = self.link_aside()?;
                    let staged = (&aside.directory, aside.name.as_str());
                    fs::renameat_with(staged.0, staged.1, directory, name, RenameFlags::NOREPLACE)
                }
                done => done,
            },
        }
    }

    fn link_unnamed(&self, directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        // Users would need CAP_DAC_READ_SEARCH for that.
        if self.root.capabilities.link_by_descriptor && !credentials::is_user() {
            match fs::linkat(self.as_fd(), "", directory, name, AtFlags::EMPTY_PATH) {
                // So would the server, for a file that was opened as a user.
                Err(Errno::NOENT) => {}
                done => return done,
            }
        }
        let path = walk::proc_path(self.as_fd());
        fs::linkat(fs::CWD, path.as_str(), directory, name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Puts the file in the place of whatever has the name.
    pub(super) fn replace(&mut self, directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        if self.name.is_none() {
            self.name = Some(self.link_aside()?);
            failpoint::pass("replace:aside");
        }
        let Some(staged) = &mut self.name else { return Err(Errno::NOENT) };
        fs::renameat(&staged.directory, staged.name.as_str(), directory, name)?;
        // It is not there any more.
        staged.keep = true;
        Ok(())
    }

    /// Gives the file a second name, which must be free, beside one outside the buckets that it has or gets. Until
    /// [`Staged::left`] that one stays.
    pub(super) fn link_too(&mut self, directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        let staged = match self.name.take() {
            Some(staged) => staged,
            None => self.link_aside()?,
        };
        let staged = self.name.insert(staged);
        // Users may make no link of what was given to another one.
        credentials::as_server(|| {
            fs::linkat(&staged.directory, staged.name.as_str(), directory, name, AtFlags::empty())
        })
    }

    /// Takes away the name outside the buckets.
    pub(super) fn left(&mut self) {
        if let Some(mut staged) = self.name.take() {
            staged.keep = false;
            credentials::as_server(|| drop(staged));
        }
    }

    /// Gives the file a name in the staging directory.
    fn link_aside(&self) -> rustix::io::Result<StagedName> {
        let name = self.root.staging_name();
        let link = || self.link_unnamed(self.root.staging.as_fd(), name.as_bytes());
        match link() {
            // A user may make no link of what was given to another one.
            Err(Errno::PERM) if credentials::is_user() => credentials::as_server(link)?,
            done => done?,
        }
        Ok(StagedName { directory: self.root.staging.clone(), name, keep: false })
    }

    /// Gives a file that was made elsewhere what it would have from `directory` if it had been made there: the group of
    /// one that passes it on, and the default access control list.
    pub(super) fn inherit(&self, directory: BorrowedFd<'_>, modes: Modes) -> Result<()> {
        if self.name.is_none() {
            return Ok(());
        }
        let op = "give a new object the group and access control list of its directory";
        let inherit = if modes.file.is_some() { modes::inherit_group } else { modes::inherit };
        credentials::as_server(|| inherit(self.as_fd(), directory)).at(Subject::Object, op)
    }

    /// The descriptor, for the flush that follows a publication.
    pub(super) fn into_fd(self) -> Result<OwnedFd> {
        self.spill.spill.set(None);
        match self.file {
            StagedFile::Plain(fd) => Ok(fd),
            StagedFile::Ring(file) => file.as_fd().try_clone_to_owned().at(Subject::Object, "open a file"),
        }
    }
}

impl AsFd for Staged<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.file {
            StagedFile::Plain(fd) => fd.as_fd(),
            StagedFile::Ring(file) => file.as_fd(),
        }
    }
}

impl Drop for StagedName {
    fn drop(&mut self) {
        if !self.keep {
            // After a publication the name is gone already.
            let _ = fs::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty());
        }
    }
}

fn create_file(
    root: &Root,
    bucket: &Bucket,
    path: &KeyPath,
    directory: Option<&Seen>,
    direct: bool,
) -> Result<(OwnedFd, Option<StagedName>)> {
    let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
    if direct {
        flags |= OFlags::DIRECT;
    }
    let op = "create a file";
    if !root.capabilities.unnamed_files {
        let name = root.staging_name();
        let flags = flags | OFlags::CREATE | OFlags::EXCL;
        let fd = fs::openat(&root.staging, name.as_str(), flags, walk::FILE_MODE).at(Subject::Object, op)?;
        return Ok((fd, Some(StagedName { directory: root.staging.clone(), name, keep: false })));
    }
    flags |= OFlags::TMPFILE;
    if let Some(seen) = directory
        && let Ok(fd) = walk::openat2(seen.directory.fd.as_fd(), b".", flags, walk::FILE_MODE)
    {
        return Ok((fd, None));
    }
    for parent in path.parents().rev().filter(|parent| parent.len() < super::layout::HOP_BYTES_MAX) {
        match walk::openat2(bucket.fd.as_fd(), parent, flags, walk::FILE_MODE) {
            Ok(fd) => return Ok((fd, None)),
            // The directory does not exist yet; it is made when the object is published. EPERM: it was removed just
            // now (ext4); a directory that is closed to us says so again then.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno).at(Subject::Object, op),
        }
    }
    match walk::openat2(bucket.fd.as_fd(), b".", flags, walk::FILE_MODE) {
        Ok(fd) => Ok((fd, None)),
        Err(errno) => {
            walk::check_bucket_stands(bucket)?;
            Err(errno).at(Subject::Object, op)
        }
    }
}

/// Allocates space, so that it is there when the data comes. A file system that cannot is no error.
pub(super) fn allocate(fd: BorrowedFd<'_>, offset: u64, length: u64) -> Result<()> {
    match fs::fallocate(fd, FallocateFlags::empty(), offset, length) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno).at(Subject::Object, "allocate the object's space"),
    }
}

/// Writes all of `bytes` at `offset` by plain system calls.
pub(super) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(fd, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

const OP_WRITE: &str = "write the object's data";

/// From this length on space is allocated before the first write: below it the call costs more than it saves.
const ALLOCATE_BYTES_MIN: u64 = 1024 * 1024;
