//! One part on its way into an upload: from a client ([`PartWriter`]) or from another object ([`copy_part`]).
//!
//! Both take a [`Spot`] first, which says where the part's data goes, and enter the part into the table when the data is
//! there. A part that was not entered was never there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, FlockOperation, OFlags};
use rustix::io::Errno;
use smallvec::smallvec;

use super::super::commit::Change;
use super::super::error::{At, Result, Subject};
use super::super::object::Content;
use super::super::root::Root;
use super::super::walk;
use super::super::writer::{self, Writer};
use super::complete::copy;
use super::table::{Part, Place, Table};
use super::{DATA, PRIVATE_FILE, Upload};
use crate::codec::dates::Timestamp;
use crate::digest::{BodyDigests, Checksum, Wanted};
use crate::limits;
use crate::runtime::AlignedBuf;

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
        let direct = root.capabilities.direct_io;
        let (spot, fd) = Spot::take(root, upload, number, length, direct)?;
        let writer = Writer::at(root, fd, direct, spot.offset)?;
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
        md5: [u8; 16],
        checksum: Option<Checksum>,
        modified: Timestamp,
    ) -> Result<Option<(Part, Change)>> {
        let PartWriter { root, spot, writer } = self;
        let (staged, size) = writer.finish().await?;
        let part = Part { number: spot.number, size, modified, md5, checksum, place: spot.place };
        spot.enter(root, part, staged.into_fd()?)
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
    /// The MD5 of the range and its checksum in this algorithm, as far as they are known without reading it.
    pub known: (Option<[u8; 16]>, Option<Checksum>),
}

/// Copies a range of an object into a part, inside the kernel, and computes what is not known of it over the copy.
/// `Ok(None)`: the upload is gone meanwhile.
///
/// # Errors
/// EAGAIN: the source changed while it was copied (see [`Content::check`]).
pub fn copy_part(
    root: &Root,
    upload: &Upload,
    number: u32,
    source: &Source,
    modified: Timestamp,
) -> Result<Option<(Part, Change)>> {
    let (spot, fd) = Spot::take(root, upload, number, Some(source.length), false)?;
    copy(source.file.as_fd(), source.offset, fd.as_fd(), spot.offset, source.length)?;
    let (mut md5, mut checksum) = source.known;
    let algorithm = upload.description.checksum.map(|(algorithm, _)| algorithm);
    let wanted = Wanted {
        md5: md5.is_none(),
        sha256: false,
        checksums: [algorithm.filter(|_| checksum.is_none()), None],
    };
    if wanted.md5 || wanted.checksums[0].is_some() {
        let digests = read_digests(fd.as_fd(), spot.offset, source.length, wanted)?;
        md5 = md5.or(digests.md5);
        checksum = checksum.or(digests.checksums[0]);
    }
    source.content.check(source.file.as_fd())?;
    let md5 = md5.unwrap_or_default();
    let part = Part { number, size: source.length, modified, md5, checksum, place: spot.place };
    spot.enter(root, part, fd)
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

/// Where a part's data goes.
struct Spot<'u> {
    upload: &'u Upload,
    number: u32,
    place: Place,
    offset: u64,
    claim: Option<Claim<'u>>,
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
        let claimed = match part_size {
            Some(size) if length.is_some_and(|length| length <= size) => {
                claim(root, upload, number)?.map(|claim| (claim, size))
            }
            _ => None,
        };
        let mut flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        if direct {
            flags |= OFlags::DIRECT;
        }
        let (place, offset, name, claim) = match claimed {
            Some((claim, size)) => (Place::Data, u64::from(number - 1) * size, DATA.to_owned(), Some(claim)),
            None => {
                let mut random = [0; 8];
                getrandom::fill(&mut random)
                    .map_err(|_| Errno::IO)
                    .at(Subject::Upload, "draw a random id")?;
                let id = u64::from_ne_bytes(random);
                (Place::Beside(id), 0, part_name(id), None)
            }
        };
        let fd = fs::openat(&upload.directory, name.as_str(), flags, walk::FILE_MODE)
            .at(Subject::Upload, "open the part's file")?;
        if let Some(length) = length.filter(|length| *length >= limits::PART_BYTES_MIN) {
            writer::allocate(fd.as_fd(), offset, length)?;
        }
        Ok((Spot { upload, number, place, offset, claim }, fd))
    }

    /// Enters the part into the table. `Ok(None)`: the upload is gone meanwhile.
    fn enter(self, root: &Root, part: Part, file: OwnedFd) -> Result<Option<(Part, Change)>> {
        let Spot { upload, number, claim, .. } = self;
        let Some(table) = Table::open(upload.directory.as_fd(), true)? else { return Ok(None) };
        let replaced = {
            let _order = root.lock_bytes(&upload.id.0, &number.to_le_bytes());
            let replaced = table.read(number)?;
            table.write(&part)?;
            replaced
        };
        drop(claim);
        if let Some(Part { place: Place::Beside(id), .. }) = replaced {
            let _ = fs::unlinkat(&upload.directory, part_name(id).as_str(), AtFlags::empty());
        }
        if !upload.exists(root)? {
            return Ok(None);
        }
        let directory = upload.directory.try_clone().at(Subject::Upload, "open the upload")?;
        Ok(Some((part, Change { files: smallvec![table.into_fd(), file, directory], wide: false })))
    }
}

/// The right to write a part into its place, given back when dropped. The lock on its file says that its holder is alive:
/// a claim that a crash left behind holds up nobody.
struct Claim<'r> {
    upload: &'r Upload,
    number: u32,
    _lock: OwnedFd,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let _ = fs::unlinkat(&self.upload.directory, claim_name(self.number).as_str(), AtFlags::empty());
    }
}

/// Claims the place of a part in `data`, unless the part is there already or on its way, or the upload is over: Complete
/// takes the upload its name first and looks for claims then, so one of the two sees the other.
fn claim<'u>(root: &Root, upload: &'u Upload, number: u32) -> Result<Option<Claim<'u>>> {
    let Some(lock) = claim_file(upload, number).at(Subject::Upload, "claim the part's place")? else {
        return Ok(None);
    };
    let claim = Claim { upload, number, _lock: lock };
    if !upload.exists(root)? {
        return Ok(None);
    }
    // Looked up after the claim: whoever held it before has entered its part by now.
    let taken = match Table::open(upload.directory.as_fd(), false)? {
        Some(table) => table.read(number)?.is_some(),
        None => false,
    };
    Ok((!taken).then_some(claim))
}

/// The locked file of a claim. `Ok(None)`: somebody else has it.
fn claim_file(upload: &Upload, number: u32) -> rustix::io::Result<Option<OwnedFd>> {
    let (name, flags) = (claim_name(number), OFlags::WRONLY | OFlags::CLOEXEC);
    for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
        let create = OFlags::CREATE | OFlags::EXCL;
        let (file, made) = match fs::openat(&upload.directory, name.as_str(), flags | create, PRIVATE_FILE) {
            Ok(file) => (file, true),
            Err(Errno::EXIST) => match fs::openat(&upload.directory, name.as_str(), flags, PRIVATE_FILE) {
                Ok(file) => (file, false),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        };
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            // Without locks a claim is its name alone, and what a crash left behind stays.
            Err(_) if made => {}
            Err(_) => return Ok(None),
        }
        // Its last holder may have removed it between our two calls.
        if fs::fstat(&file)?.st_nlink > 0 {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Whether a part is being written into its place right now.
pub(super) fn has_claims(directory: BorrowedFd<'_>) -> Result<bool> {
    let op = "read the upload's directory";
    for entry in Dir::read_from(directory).at(Subject::Upload, op)? {
        let entry = entry.at(Subject::Upload, op)?;
        let name = entry.file_name();
        if !name.to_bytes().starts_with(CLAIM_PREFIX.as_bytes()) {
            continue;
        }
        let left_behind = match fs::openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, PRIVATE_FILE) {
            Ok(file) => fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
            Err(Errno::NOENT) => true,
            Err(errno) => return Err(errno).at(Subject::Upload, op),
        };
        if !left_behind {
            return Ok(true);
        }
    }
    Ok(false)
}

fn claim_name(number: u32) -> String {
    format!("{CLAIM_PREFIX}{number}")
}

/// The file of a part that is not in its place.
pub(super) fn part_name(id: u64) -> String {
    format!("part-{id:016x}")
}

const CLAIM_PREFIX: &str = "claim-";
