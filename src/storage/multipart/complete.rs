//! Completing an upload: checking the parts against what the client says, putting the file together, publishing it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::super::commit::Change;
use super::super::content::copy_range;
use super::super::error::{At, Result, Subject};
use super::super::object::{self, Condition};
use super::super::record::{ETag, PartChecksums, PartTable, Record, StoredChecksum};
use super::super::root::{Bucket, Root};
use super::super::writer::Staged;
use super::super::{layout, walk};
use super::{ABORTING_SUFFIX, COMPLETING_SUFFIX, DATA, Part, PartETag, Place, Upload, part_name, remove};
use crate::digest::{Checksum, ChecksumType, FullObject, Md5State, composite};
use crate::failpoint;
use crate::limits;
use crate::runtime::credentials::{self, Credentials};
use crate::runtime::file;

/// A part as the client's CompleteMultipartUpload names it.
#[derive(Clone, Debug)]
pub struct PartWanted {
    /// Its number.
    pub number: u32,
    /// Its ETag; a text that no part can have matches none.
    pub etag: Option<PartETag>,
    /// Its checksum, if the client repeats it.
    pub checksum: Option<Checksum>,
}

/// Why an upload cannot be completed as asked.
#[derive(Debug)]
pub enum CompleteError<E> {
    /// The upload is gone, or being completed or aborted by somebody else.
    NoSuchUpload,
    /// No part of this number was uploaded with this ETag and checksum.
    InvalidPart(u32),
    /// This part is smaller than 5 MiB and not the last.
    TooSmall {
        /// Its number.
        number: u32,
        /// Its size in bytes.
        size: u64,
    },
    /// The parts together exceed 5 TiB.
    TooLarge,
    /// The object's size or checksum is not what the client says.
    Mismatch(&'static str),
    /// The condition's answer.
    Refused(E),
}

/// What was asked of the object as a whole.
pub struct Expected {
    /// `x-amz-mp-object-size`.
    pub size: Option<u64>,
    /// `x-amz-checksum-*` of the object: full-object value.
    pub checksum: Option<Checksum>,
}

/// A completed upload.
pub struct Completed {
    /// The object's record, as it was published.
    pub record: Record,
    /// What a commit has to make durable.
    pub change: Change,
}

/// Puts the parts that `wanted` names (ascending by number, at least one) together and publishes the object, as
/// `publisher` if there is one: the parts are the server's, the object's directory is not.
pub fn complete<E>(
    root: &Root,
    bucket: &Bucket,
    upload: &Upload,
    wanted: &[PartWanted],
    expected: &Expected,
    condition: &Condition<'_, E>,
    publisher: Option<&Credentials>,
) -> Result<std::result::Result<Completed, CompleteError<E>>> {
    // Once before anybody else is shut out, so that a mistaken call disturbs nobody.
    if let Err(error) = assemble(upload, wanted, expected)? {
        // Parts may be missing because somebody else has just completed or aborted it.
        return Ok(Err(if upload.exists(root)? { error } else { CompleteError::NoSuchUpload }));
    }
    let above = walk::open_directory(root.uploads.as_fd(), upload.bucket.as_bytes())
        .at(Subject::Upload, "open the uploads of the bucket")?;
    let aside = format!("{}{COMPLETING_SUFFIX}", upload.id.as_str());
    match fs::renameat(&above, upload.id.as_str(), &above, aside.as_str()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Err(CompleteError::NoSuchUpload)),
        Err(errno) => return Err(errno).at(Subject::Upload, "take the upload for completion"),
    }
    failpoint::pass("complete:taken");
    let completed = complete_alone(root, bucket, upload, wanted, expected, condition, publisher);
    failpoint::pass("complete:published");
    match &completed {
        Ok(Ok(_)) => {
            // From here on the upload is over, also after a crash.
            let over = format!("{}{ABORTING_SUFFIX}", upload.id.as_str());
            let renamed = fs::renameat(&above, aside.as_str(), &above, over.as_str());
            failpoint::pass("complete:over");
            let name = if renamed.is_ok() { over } else { aside };
            remove(above.as_fd(), name.as_bytes(), upload.directory.as_fd());
            failpoint::pass("complete:removed");
        }
        _ => {
            let _ = fs::renameat(&above, aside.as_str(), &above, upload.id.as_str());
        }
    }
    completed
}

fn complete_alone<E>(
    root: &Root,
    bucket: &Bucket,
    upload: &Upload,
    wanted: &[PartWanted],
    expected: &Expected,
    condition: &Condition<'_, E>,
    publisher: Option<&Credentials>,
) -> Result<std::result::Result<Completed, CompleteError<E>>> {
    let Assembled { parts, last_in_data, mut record } = match assemble(upload, wanted, expected)? {
        Ok(assembled) => assembled,
        Err(error) => return Ok(Err(error)),
    };
    let owner = upload.description.owner;
    let key = &upload.description.key;
    let in_place = match upload.part_size()? {
        Some(size) if fits(&parts, size, last_in_data) => take_data(upload, &parts)?.map(|data| (data, size)),
        _ => None,
    };
    let staged = match in_place {
        Some((data, size)) => laid_out(root, upload, &parts, data, size)?,
        None => copied(root, bucket, upload, &parts)?,
    };
    failpoint::pass("complete:assembled");
    if publisher.is_some() {
        // The data leaves this directory by a rename, which only who may change it can do. Those above it are closed.
        fs::fchmod(&upload.directory, Mode::from_raw_mode(0o777)).at(Subject::Upload, OP_ASSEMBLE)?;
    }
    let publish = || object::publish(root, bucket, key, staged, &mut record, owner, condition);
    Ok(credentials::as_user(publisher, publish)
        .at(Subject::Object, "act as the user")??
        .map(|change| Completed { record, change })
        .map_err(CompleteError::Refused))
}

/// What an object is put together from.
struct Assembled {
    /// The parts, in order.
    parts: Vec<Part>,
    /// The greatest number of a part in `data`, be it wanted or not; 0 if there is none.
    last_in_data: u32,
    /// What the object's record will say.
    record: Record,
}

/// Checks the parts and computes what the object's record says.
fn assemble<E>(
    upload: &Upload,
    wanted: &[PartWanted],
    expected: &Expected,
) -> Result<std::result::Result<Assembled, CompleteError<E>>> {
    let there = upload.parts()?;
    let mut parts = Vec::with_capacity(wanted.len());
    let mut next = 0;
    for want in wanted {
        // Mostly all that are there, in order.
        if there.get(next).is_none_or(|part| part.number != want.number) {
            next = there.binary_search_by_key(&want.number, |part| part.number).unwrap_or(there.len());
        }
        let part = there.get(next);
        next += 1;
        match part {
            Some(part)
                if want.etag == Some(part.etag)
                    && want
                        .checksum
                        .as_ref()
                        .is_none_or(|checksum| part.checksum.as_ref() == Some(checksum)) =>
            {
                parts.push(part.clone());
            }
            _ => return Ok(Err(CompleteError::InvalidPart(want.number))),
        }
    }
    if let Some(small) =
        parts.split_last().and_then(|(_, most)| most.iter().find(|part| part.size < limits::PART_BYTES_MIN))
    {
        return Ok(Err(CompleteError::TooSmall { number: small.number, size: small.size }));
    }
    let size = parts.iter().map(|part| part.size).sum::<u64>();
    if size > limits::OBJECT_BYTES_MAX {
        return Ok(Err(CompleteError::TooLarge));
    }
    if expected.size.is_some_and(|expected| expected != size) {
        return Ok(Err(CompleteError::Mismatch("x-amz-mp-object-size")));
    }
    let mut outer = Md5State::new();
    parts.iter().for_each(|part| outer.update(part.etag.bytes()));
    let mut record = upload.description.record.clone();
    record.size = size;
    record.etag = ETag::Parts { digest: outer.finish(), part_count: parts.len() as u16 };
    record.upload = upload.id.bytes();
    record.parts = PartTable::from_sizes(parts.iter().map(|part| part.size)).ok();
    if let Err(error) = checksums(upload, &parts, expected, &mut record) {
        return Ok(Err(error));
    }
    let in_data = there.iter().rev().find(|part| part.place == Place::Data);
    let last_in_data = in_data.map_or(0, |part| part.number);
    Ok(Ok(Assembled { parts, last_in_data, record }))
}

fn checksums<E>(
    upload: &Upload,
    parts: &[Part],
    expected: &Expected,
    record: &mut Record,
) -> std::result::Result<(), CompleteError<E>> {
    let Some((algorithm, kind)) = upload.description.checksum else { return Ok(()) };
    let values: Option<Vec<Checksum>> = parts.iter().map(|part| part.checksum).collect();
    let Some(values) = values else { return Ok(()) };
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.as_bytes().iter().copied()).collect();
    record.part_checksums = PartChecksums::new(algorithm, &bytes).ok();
    record.checksum = match kind {
        ChecksumType::Composite => {
            let composite = composite(algorithm, values);
            StoredChecksum::composite(algorithm, composite.checksum.as_bytes(), composite.parts_count).ok()
        }
        ChecksumType::FullObject => {
            let Some(mut full) = FullObject::new(algorithm) else { return Ok(()) };
            parts.iter().zip(values).for_each(|(part, value)| full.append(value, part.size));
            StoredChecksum::full_object(algorithm, full.checksum().as_bytes()).ok()
        }
    };
    let computed = record.checksum.as_ref().map(StoredChecksum::value);
    match &expected.checksum {
        Some(expected) if expected.algorithm() != algorithm || Some(expected.as_bytes()) != computed => {
            Err(CompleteError::Mismatch(expected.algorithm().header_name()))
        }
        _ => Ok(()),
    }
}

/// Whether `data` can become the object: the parts are numbered from 1 without a gap, all but the last have the size it is
/// laid out for, and no part stands behind them in it, which would be lost if the object is not published after all.
fn fits(parts: &[Part], size: u64, last_in_data: u32) -> bool {
    let Some((last, most)) = parts.split_last() else { return false };
    parts.iter().zip(1..).all(|(part, number)| part.number == number)
        && most.iter().all(|part| part.size == size)
        && last_in_data <= last.number
}

/// Opens `data` and locks all of it. `Ok(None)`: a part is still being written into it.
fn take_data(upload: &Upload, parts: &[Part]) -> Result<Option<OwnedFd>> {
    // It is made only if it has nothing to hold yet.
    let create = parts.iter().all(|part| part.place != Place::Data);
    let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
    flags.set(OFlags::CREATE, create);
    let data =
        fs::openat(&upload.directory, DATA, flags, walk::FILE_MODE).at(Subject::Object, OP_ASSEMBLE)?;
    let locked = file::lock_range(data.as_fd(), 0, 0).at(Subject::Upload, OP_ASSEMBLE)?;
    Ok(locked.then_some(data))
}

/// `data` itself, with the parts that are not in their places copied there.
fn laid_out<'r>(
    root: &'r Root,
    upload: &Upload,
    parts: &[Part],
    data: OwnedFd,
    size: u64,
) -> Result<Staged<'r>> {
    let mut copied = false;
    for part in parts {
        if let Place::Beside(id) = part.place {
            let from = open_part(upload.directory.as_fd(), &part_name(id))?;
            copy_into_place(from.as_fd(), 0, data.as_fd(), u64::from(part.number - 1) * size, part.size)?;
            copied = true;
        }
    }
    let total = parts.iter().map(|part| part.size).sum::<u64>();
    if fs::fstat(&data).at(Subject::Upload, OP_ASSEMBLE)?.st_size as u64 != total {
        // Parts that did not arrive whole stood behind.
        fs::ftruncate(&data, total).at(Subject::Upload, OP_ASSEMBLE)?;
    }
    let directory = upload.directory.try_clone().at(Subject::Upload, OP_ASSEMBLE)?;
    let staged = Staged::standing(root, directory, DATA, data);
    if copied {
        flush_copies(root, upload, &staged)?;
    }
    Ok(staged)
}

/// A new file with everything copied into it.
fn copied<'r>(root: &'r Root, bucket: &Bucket, upload: &Upload, parts: &[Part]) -> Result<Staged<'r>> {
    let staged = Staged::create(root, bucket, &layout::path(&upload.description.key))?;
    let part_size = upload.part_size()?.unwrap_or(0);
    let mut offset = 0;
    for part in parts {
        let (name, from) = match part.place {
            Place::Data => (DATA.to_owned(), u64::from(part.number - 1) * part_size),
            Place::Beside(id) => (part_name(id), 0),
        };
        let file = open_part(upload.directory.as_fd(), &name)?;
        copy_into_place(file.as_fd(), from, staged.as_fd(), offset, part.size)?;
        offset += part.size;
    }
    flush_copies(root, upload, &staged)?;
    Ok(staged)
}

/// What was copied is on the disk before the object has its name: the parts are removed right after, and a power cut
/// must not leave the name alone.
fn flush_copies(root: &Root, upload: &Upload, staged: &Staged<'_>) -> Result<()> {
    root.committer.settle_and_wait(root.durability(&upload.bucket), staged.as_fd())
}

fn open_part(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .at(Subject::Object, OP_ASSEMBLE)
}

/// Copies a part to its place in the object.
fn copy_into_place(from: BorrowedFd<'_>, at: u64, to: BorrowedFd<'_>, offset: u64, size: u64) -> Result<()> {
    match copy_range(from, at, to, offset, size)? {
        copied if copied == size => Ok(()),
        _ => Err(Errno::IO).at(Subject::Upload, "copy a part: its file is shorter than the part was"),
    }
}

const OP_ASSEMBLE: &str = "put the parts together";
