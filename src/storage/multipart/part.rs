//! One part on its way into an upload: from a client ([`PartWriter`]) or from another object ([`copy_part`]).
//!
//! Both take a [`Spot`] first, which says where the part's data goes, and enter the part into the table when the data is
//! there and as durable as configured: the table may reach the disk at any time, and must not name what is not there. A
//! part that was not entered was never there.
//!
//! A part is written into its place in `data` under a lock of that range, which belongs to the open file. So the kernel
//! gives it up with the last write in flight, also of a part whose client has gone, and of a process that was killed;
//! nobody else writes there, and Complete does not publish `data`, while such a write could still arrive.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, OFlags};
use rustix::io::Errno;
use smallvec::smallvec;

use super::super::commit::{Change, Durability};
use super::super::content::Content;
use super::super::error::{At, Result, Subject};
use super::super::layout::BucketName;
use super::super::root::Root;
use super::super::walk;
use super::super::writer::{self, Writer};
use super::table::{Part, PartETag, Place, Table};
use super::{DATA, Upload};
use crate::codec::dates::Timestamp;
use crate::digest::{BodyDigests, Checksum, Wanted};
use crate::failpoint;
use crate::limits::{self, DIRECT_ALIGNMENT};
use crate::runtime::{AlignedBuf, file};

/// One part that a client sends.
pub struct PartWriter<'r> {
    root: &'r Root,
    spot: Spot<'r>,
    writer: Writer<'r>,
}

impl<'r> PartWriter<'r> {
    /// Starts a part: in its final place if its `length` is known, it fits there, and nobody was there before.
    pub fn create(
        root: &'r Root,
        upload: &'r Upload,
        number: u32,
        length: Option<u64>,
    ) -> Result<PartWriter<'r>> {
        let (spot, fd) = Spot::take(root, upload, number, length, root.capabilities.direct_io)?;
        if let Some(length) = length.filter(|length| *length >= limits::PART_BYTES_MIN) {
            writer::allocate(fd.as_fd(), spot.offset, length)?;
        }
        let writer = Writer::at(root, fd, root.durability(&upload.bucket), spot.direct, spot.offset)?;
        Ok(PartWriter { root, spot, writer })
    }

    /// As [`Writer::spare`].
    pub fn spare(&mut self) -> Option<AlignedBuf> {
        self.writer.spare()
    }

    /// As [`Writer::write`].
    pub async fn write(&mut self, buf: AlignedBuf) -> Result<()> {
        self.writer.write(buf).await
    }

    /// Waits for the data and enters the part into the table. `Ok(None)`: the upload is gone meanwhile. Dropped
    /// instead, the part was never there.
    pub async fn finish(
        self,
        etag: PartETag,
        checksum: Option<Checksum>,
        modified: Timestamp,
    ) -> Result<Option<Entered>> {
        let PartWriter { root, spot, writer } = self;
        let (staged, size) = writer.finish().await?;
        let file = staged.into_fd()?;
        root.commit(&spot.upload.bucket, data_of(&file)?).await?;
        failpoint::pass("part:flushed");
        let part = Part { number: spot.number, size, modified, etag, checksum, place: spot.place };
        spot.enter(root, part, &file)
    }
}

/// A part that is in the table.
pub struct Entered {
    part: Part,
    bucket: BucketName,
    change: Change,
    /// The file of the part that had the number before, in this directory.
    superseded: Option<(OwnedFd, String)>,
}

impl Entered {
    /// Makes the entry as durable as configured, and removes what it supersedes only then: after a power cut the table
    /// may be the old one.
    pub async fn commit(self, root: &Root) -> Result<Part> {
        root.commit_data(&self.bucket, self.change).await?;
        failpoint::pass("part:committed");
        if let Some((directory, name)) = self.superseded {
            let _ = fs::unlinkat(&directory, name.as_str(), AtFlags::empty());
            failpoint::pass("part:superseded");
        }
        Ok(self.part)
    }
}

/// What a part is copied from.
pub struct Source {
    /// The object's file.
    pub file: OwnedFd,
    /// What it was when its ETag was judged: a copy of a file that changed since is of no version of it.
    pub content: Content,
    /// Where the range starts.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// The ETag of the part and the checksum of the range in the upload's algorithm, as far as they are known without
    /// reading it. What is not known is computed; the ETag is then the MD5.
    pub known: (Option<PartETag>, Option<Checksum>),
}

/// Copies a range of an object into a part, inside the kernel, and computes what is not known of it over the copy.
/// `Ok(None)`: the upload is gone meanwhile.
///
/// # Errors
/// EAGAIN: the source changed while it was copied (see [`Content::copy`]).
pub fn copy_part(
    root: &Root,
    upload: &Upload,
    number: u32,
    source: &Source,
    modified: Timestamp,
) -> Result<Option<Entered>> {
    let (spot, fd) = Spot::take(root, upload, number, Some(source.length), false)?;
    source.content.copy(source.file.as_fd(), source.offset, fd.as_fd(), spot.offset, source.length)?;
    failpoint::pass("part:copied");
    let (mut etag, mut checksum) = source.known;
    let algorithm = upload.description.checksum.map(|(algorithm, _)| algorithm);
    let wanted = Wanted {
        md5: etag.is_none(),
        sha256: false,
        checksums: [algorithm.filter(|_| checksum.is_none()), None],
    };
    if wanted.md5 || wanted.checksums[0].is_some() {
        let digests = read_digests(fd.as_fd(), spot.offset, source.length, wanted)?;
        etag = etag.or(digests.md5.map(PartETag::Md5));
        checksum = checksum.or(digests.checksums[0]);
    }
    if root.durability(&upload.bucket) != Durability::None {
        data_of(&fd)?.flush(root)?;
    }
    let etag = etag.unwrap_or(PartETag::Md5([0; 16]));
    let part = Part { number, size: source.length, modified, etag, checksum, place: spot.place };
    spot.enter(root, part, &fd)
}

/// Computes digests over a range of a file.
pub fn read_digests(
    file: BorrowedFd<'_>,
    mut offset: u64,
    length: u64,
    wanted: Wanted,
) -> Result<crate::digest::Digests> {
    let mut digests = BodyDigests::new(wanted);
    let mut buf = vec![0; limits::TRANSFER_BYTES];
    let end = offset.saturating_add(length);
    while offset < end {
        let piece = (end - offset).min(limits::TRANSFER_BYTES as u64) as usize;
        match rustix::io::pread(file, &mut buf[..piece], offset).at(Subject::Object, "read a copy")? {
            0 => break,
            count => {
                digests.update(&buf[..count]);
                offset += count as u64;
            }
        }
    }
    Ok(digests.finish())
}

/// Where a part's data goes. Dropped before it is entered, it takes a file of the part's own with it.
struct Spot<'u> {
    upload: &'u Upload,
    number: u32,
    place: Place,
    offset: u64,
    /// Whether the file is open for direct writes.
    direct: bool,
    entered: bool,
}

impl<'u> Spot<'u> {
    /// The part's final place if its `length` is known, it fits there, and nobody was there before; else a new file.
    fn take(
        root: &Root,
        upload: &'u Upload,
        number: u32,
        length: Option<u64>,
        direct: bool,
    ) -> Result<(Spot<'u>, OwnedFd)> {
        let part_size = length.map(|length| upload.settle_part_size(length)).transpose()?.flatten();
        let spot = |place, offset, direct| Spot { upload, number, place, offset, direct, entered: false };
        if let Some(size) = part_size
            && length.is_some_and(|length| length <= size)
            && u64::from(number).saturating_mul(size) <= limits::OBJECT_BYTES_MAX
        {
            let offset = u64::from(number - 1) * size;
            let direct = direct && offset.is_multiple_of(DIRECT_ALIGNMENT as u64);
            let data = open(upload, DATA, direct)?;
            // The lock first: whoever held it before has entered its part by now, and Complete takes the upload its name
            // before it locks everything, so one of the two sees the other.
            let locked = file::lock_range(data.as_fd(), offset, size);
            if locked.at(Subject::Upload, "lock the part's place")? && upload.exists(root)? {
                let table = Table::open(upload.directory.as_fd(), false)?;
                if table.map(|table| table.read(number)).transpose()?.flatten().is_none() {
                    return Ok((spot(Place::Data, offset, direct), data));
                }
            }
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| Errno::IO).at(Subject::Upload, "draw a random id")?;
        let id = u64::from_ne_bytes(random);
        let beside = open(upload, &part_name(id), direct)?;
        Ok((spot(Place::Beside(id), 0, direct), beside))
    }

    /// Enters the part into the table. `Ok(None)`: the upload is gone meanwhile.
    fn enter(mut self, root: &Root, part: Part, file: &OwnedFd) -> Result<Option<Entered>> {
        let upload = self.upload;
        if !upload.exists(root)? {
            return Ok(None);
        }
        let Some(table) = Table::open(upload.directory.as_fd(), true)? else { return Ok(None) };
        let replaced = {
            let _order = root.lock_bytes(&upload.id.0, &self.number.to_le_bytes());
            let replaced = table.read(self.number)?;
            table.write(&part)?;
            failpoint::pass("part:entered");
            replaced
        };
        self.entered = true;
        if part.place == Place::Data {
            // Nothing is in flight any more. The file itself is closed some time later, the lock must be free by the answer.
            file::unlock(file.as_fd()).at(Subject::Upload, "unlock the part's place")?;
        }
        // Should a Complete that began meanwhile be undone, the part is there.
        if !upload.exists(root)? {
            return Ok(None);
        }
        let clone = || upload.directory.try_clone().at(Subject::Upload, "open the upload");
        let superseded = match replaced {
            Some(Part { place: Place::Beside(id), .. }) => Some((clone()?, part_name(id))),
            _ => None,
        };
        let change = Change { files: smallvec![table.into_fd().into(), clone()?.into()], wide: false };
        Ok(Some(Entered { part, bucket: upload.bucket, change, superseded }))
    }
}

impl Drop for Spot<'_> {
    fn drop(&mut self) {
        if let (Place::Beside(id), false) = (self.place, self.entered) {
            let _ = fs::unlinkat(&self.upload.directory, part_name(id).as_str(), AtFlags::empty());
        }
    }
}

fn open(upload: &Upload, name: &str, direct: bool) -> Result<OwnedFd> {
    let mut flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    flags.set(OFlags::DIRECT, direct);
    fs::openat(&upload.directory, name, flags, walk::FILE_MODE).at(Subject::Upload, "open the part's file")
}

/// The data of a part, as a change of its own.
fn data_of(file: &OwnedFd) -> Result<Change> {
    let file = file.try_clone().at(Subject::Upload, "open the part's file")?;
    Ok(Change { files: smallvec![file.into()], wide: false })
}

/// The file of a part that is not in its place.
pub(super) fn part_name(id: u64) -> String {
    format!("part-{id:016x}")
}
