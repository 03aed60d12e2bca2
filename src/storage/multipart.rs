//! Multipart uploads in progress.
//!
//! ```text
//! <root>/.sluicegate/uploads/<bucket>/<id>/
//!    upload           what CreateMultipartUpload said (JSON), written once, as `upload.new`
//!    part-size        8 bytes: the size of the parts that `data` is laid out for, set by the first part that may
//!    data             parts of that size (the last one may be shorter) at their final offsets
//!    parts            the table of parts: one slot of 256 bytes for each number (see [`table`])
//!    part-<id>        a part that is not in its place: of another size, or sent again
//! <id>.completing     the same directory while the upload is completed: no new part finds it
//! <id>.aborting       … while it is removed
//! ```
//!
//! Parts of one size are written to their final offsets in any order, so that Complete is a record and a rename,
//! independent of the size of the object. A part that was acknowledged is never overwritten: sent again, it goes into
//! a file of its own, and its slot then names that one. Only what is not in its place is copied at Complete, by
//! `copy_file_range`: XFS and btrfs share the blocks of what starts at a multiple of the block size in the object, which is
//! all of it unless a part before has an odd size; what starts elsewhere no file system can share. While somebody writes
//! into `data` (its lock is taken, see `part`), Complete copies everything instead of publishing a file that somebody
//! may still write to.

mod complete;
mod part;
mod table;
mod uploads;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

pub use self::complete::{CompleteError, Completed, Expected, PartWanted, complete};
use self::part::part_name;
pub use self::part::{Entered, PartWriter, Source, copy_part, read_digests};
use self::table::Table;
pub use self::table::{Part, PartETag, Place};
pub use self::uploads::{UploadPage, UploadRequest, Uploading, uploads};

use super::commit::Change;
use super::error::{At, Error, Result, Subject};
use super::layout::{BucketName, ObjectKey};
use super::record::Record;
use super::root::Root;
use super::writer::write_all;
use super::{object, recover, walk};
use crate::codec::dates::Timestamp;
use crate::codec::hex;
use crate::digest::{Algorithm, ChecksumType};
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;

/// The name of an upload: 32 lower-case hexadecimal digits, of which the first 16 are the time of its creation in
/// nanoseconds and the others random, so that ids sort as the uploads were created. Exists only valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadId([u8; 32]);

impl UploadId {
    /// An id that no other upload has.
    fn new(initiated: Timestamp) -> Result<UploadId> {
        let mut id = [0; 16];
        getrandom::fill(&mut id[8..]).map_err(|_| Errno::IO).at(Subject::Upload, "draw a random id")?;
        let nanos = u64::try_from(initiated.seconds).unwrap_or(0).wrapping_mul(1_000_000_000);
        id[..8].copy_from_slice(&nanos.wrapping_add(initiated.nanos.into()).to_be_bytes());
        Ok(UploadId(hex::encode16(&id)))
    }

    /// Takes an id as a client sends it back. `None`: no upload can have this id.
    pub fn parse(text: &[u8]) -> Option<UploadId> {
        let id: [u8; 32] = text.try_into().ok()?;
        id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(UploadId(id))
    }

    /// The id as an object's record keeps it.
    pub fn bytes(&self) -> Option<[u8; 16]> {
        let mut id = [0; 16];
        hex::decode(&self.0, &mut id).then_some(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What is known of an upload from its creation on.
#[derive(Clone, Debug)]
pub struct Description {
    /// The key of the object to be.
    pub key: ObjectKey,
    /// When it was created.
    pub initiated: Timestamp,
    /// The unique id of the user who created it, and that user's name.
    pub initiator: (String, String),
    /// Who will own the object.
    pub owner: PosixOwner,
    /// The checksum its parts carry, if the client named one.
    pub checksum: Option<(Algorithm, ChecksumType)>,
    /// Headers, metadata and tags of the object to be.
    pub record: Record,
}

/// An open upload.
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// What was said at its creation.
    pub description: Description,
    bucket: BucketName,
    directory: OwnedFd,
}

/// Creates an upload. The change makes it durable.
pub fn create(root: &Root, bucket: &BucketName, description: &Description) -> Result<(UploadId, Change)> {
    let op = "create the upload";
    let id = UploadId::new(description.initiated)?;
    match fs::mkdirat(&root.uploads, bucket.as_str(), PRIVATE_DIRECTORY) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).at(Subject::Upload, op),
    }
    let above = walk::open_directory(root.uploads.as_fd(), bucket.as_bytes()).at(Subject::Upload, op)?;
    fs::mkdirat(&above, id.as_str(), PRIVATE_DIRECTORY).at(Subject::Upload, op)?;
    failpoint::pass("upload:directory");
    let directory = walk::open_directory(above.as_fd(), &id.0).at(Subject::Upload, op)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = fs::openat(&directory, DESCRIPTION_NEW, flags, PRIVATE_FILE).at(Subject::Upload, op)?;
    failpoint::pass("upload:file");
    write_all(file.as_fd(), &description.to_json(), 0).at(Subject::Upload, op)?;
    failpoint::pass("upload:written");
    // Whoever lists the uploads finds it whole or not at all. The rename changes the file, so that its flush is the last.
    fs::renameat(&directory, DESCRIPTION_NEW, &directory, DESCRIPTION).at(Subject::Upload, op)?;
    failpoint::pass("upload:named");
    Ok((id, Change { files: smallvec![file.into(), directory.into(), above.into()], wide: false }))
}

/// Opens an upload of `key`. `Ok(None)`: there is none of this id for this key.
pub fn open(root: &Root, bucket: &BucketName, key: &ObjectKey, id: &UploadId) -> Result<Option<Upload>> {
    let Some(directory) = open_upload_directory(root, bucket, id.as_str())? else { return Ok(None) };
    let description = read_description(directory.as_fd())?;
    Ok(description.filter(|description| description.key == *key).map(|description| Upload {
        id: id.clone(),
        description,
        bucket: *bucket,
        directory,
    }))
}

/// Removes an upload with its parts. `Ok(None)`: there is none of this id for this key.
pub fn abort(root: &Root, bucket: &BucketName, key: &ObjectKey, id: &UploadId) -> Result<Option<Change>> {
    let Some(upload) = open(root, bucket, key, id)? else { return Ok(None) };
    let above = walk::open_directory(root.uploads.as_fd(), bucket.as_bytes()).at(Subject::Upload, "abort")?;
    let aside = format!("{}{ABORTING_SUFFIX}", id.as_str());
    match fs::renameat(&above, id.as_str(), &above, aside.as_str()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Upload, "abort the upload"),
    }
    failpoint::pass("abort:taken");
    remove(above.as_fd(), aside.as_bytes(), upload.directory.as_fd());
    Ok(Some(Change { files: smallvec![above.into()], wide: false }))
}

/// Whether an upload that is not found under its id is being completed right now.
pub fn is_completing(root: &Root, bucket: &BucketName, id: &UploadId) -> Result<bool> {
    Ok(open_upload_directory(root, bucket, &format!("{}{COMPLETING_SUFFIX}", id.as_str()))?.is_some())
}

/// Removes the directory of an upload that is over. What cannot be removed stays: it is in nobody's way.
pub(super) fn remove(above: BorrowedFd<'_>, name: &[u8], directory: BorrowedFd<'_>) {
    for _ in 0..limits::PUBLICATION_ATTEMPTS_MAX {
        recover::remove_content(directory, recover::DEPTH_MAX);
        failpoint::pass("upload:emptied");
        // A part that is on its way may make its file, or the table, at the last moment; it then finds the upload gone.
        if !matches!(fs::unlinkat(above, name, AtFlags::REMOVEDIR), Err(Errno::NOTEMPTY | Errno::EXIST)) {
            return;
        }
    }
}

/// Removes all uploads of a bucket that is gone. What cannot be removed stays for the next start.
pub(super) fn remove_all(root: &Root, bucket: &BucketName) {
    if let Ok(uploads) = walk::open_directory(root.uploads.as_fd(), bucket.as_bytes()) {
        recover::remove_content(uploads.as_fd(), recover::DEPTH_MAX);
        failpoint::pass("bucket:uploads");
        let _ = fs::unlinkat(&root.uploads, bucket.as_str(), AtFlags::REMOVEDIR);
    }
}

/// Whether an upload is one that a client was told of: its creation was not cut off.
pub(super) fn was_created(upload: BorrowedFd<'_>) -> Result<bool> {
    Ok(read_description(upload)?.is_some())
}

/// Settles an upload whose Complete was cut off: undone, unless the object was published already.
pub(super) fn settle_completion(root: &Root, bucket: &BucketName, above: BorrowedFd<'_>, id: &[u8]) {
    let name = [id, COMPLETING_SUFFIX.as_bytes()].concat();
    let Ok(directory) = walk::open_directory(above, &name) else { return };
    // What cannot be read now is left for the next start.
    match was_published(root, bucket, directory.as_fd(), id) {
        Ok(true) => remove(above, &name, directory.as_fd()),
        Ok(false) => drop(fs::renameat(above, name.as_slice(), above, id)),
        Err(error) => tracing::warn!(%error, "an upload whose completion was cut off stays as it is"),
    }
}

fn was_published(root: &Root, bucket: &BucketName, upload: BorrowedFd<'_>, id: &[u8]) -> Result<bool> {
    // Without its description it was being removed.
    let Some(description) = read_description(upload)? else { return Ok(true) };
    let parts = Table::open(upload, false)?.map_or(Ok(Vec::new()), |table| table.read_all())?;
    let in_data = parts.iter().any(|part| part.place == Place::Data);
    if in_data && fs::accessat(upload, DATA, fs::Access::EXISTS, AtFlags::empty()) == Err(Errno::NOENT) {
        return Ok(true);
    }
    let Some(bucket) = root.bucket(bucket)? else { return Ok(false) };
    let record = object::open(root, &bucket, &description.key)?.and_then(|object| object.record);
    let id = UploadId::parse(id).and_then(|id| id.bytes());
    Ok(record.is_some_and(|record| record.upload.is_some() && record.upload == id))
}

impl Upload {
    /// The parts that are there, ascending by number.
    pub fn parts(&self) -> Result<Vec<Part>> {
        Table::open(self.directory.as_fd(), false)?.map_or(Ok(Vec::new()), |table| table.read_all())
    }

    /// Whether the upload still exists under its id.
    fn exists(&self, root: &Root) -> Result<bool> {
        Ok(open_upload_directory(root, &self.bucket, self.id.as_str())?.is_some())
    }

    fn part_size(&self) -> Result<Option<u64>> {
        let op = "read the upload's part size";
        match fs::openat(&self.directory, PART_SIZE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => {
                let mut bytes = [0; 8];
                let length = rustix::io::pread(&file, &mut bytes, 0).at(Subject::Upload, op)?;
                Ok((length == 8).then(|| u64::from_le_bytes(bytes)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).at(Subject::Upload, op),
        }
    }

    /// The part size the data is laid out for; set to `size` if it is not set and can be.
    fn settle_part_size(&self, size: u64) -> Result<Option<u64>> {
        if let Some(settled) = self.part_size()? {
            return Ok(Some(settled));
        }
        // What is smaller is the last part of its upload.
        if size < limits::PART_BYTES_MIN {
            return Ok(None);
        }
        let op = "settle the upload's part size";
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| Errno::IO).at(Subject::Upload, op)?;
        let new = format!("part-size-{:016x}", u64::from_ne_bytes(random));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = fs::openat(&self.directory, new.as_str(), flags, PRIVATE_FILE).at(Subject::Upload, op)?;
        write_all(file.as_fd(), &size.to_le_bytes(), 0).at(Subject::Upload, op)?;
        fs::fsync(&file).at(Subject::Upload, op)?;
        failpoint::pass("part-size:written");
        let linked = fs::linkat(&self.directory, new.as_str(), &self.directory, PART_SIZE, AtFlags::empty());
        failpoint::pass("part-size:linked");
        let _ = fs::unlinkat(&self.directory, new.as_str(), AtFlags::empty());
        match linked {
            Ok(()) => Ok(Some(size)),
            Err(Errno::EXIST) => self.part_size(),
            Err(errno) => Err(errno).at(Subject::Upload, op),
        }
    }
}

fn open_upload_directory(root: &Root, bucket: &BucketName, name: &str) -> Result<Option<OwnedFd>> {
    let path = format!("{}/{name}", bucket.as_str());
    match walk::open_directory(root.uploads.as_fd(), path.as_bytes()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).at(Subject::Upload, "open the upload"),
    }
}

/// [`Description`] as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    key: String,
    initiated: (i64, u32),
    initiator: (String, String),
    owner: (u32, u32),
    /// Code of the algorithm, and whether the checksum is composite.
    checksum: Option<(u8, bool)>,
    /// The encoded record, hexadecimal.
    record: String,
}

impl Description {
    fn to_json(&self) -> Vec<u8> {
        let mut record = Vec::new();
        self.record.encode(&mut record);
        let mut text = Vec::new();
        hex::encode_into(&record, &mut text);
        let stored = Stored {
            key: self.key.as_str().to_owned(),
            initiated: (self.initiated.seconds, self.initiated.nanos),
            initiator: self.initiator.clone(),
            owner: (self.owner.uid, self.owner.gid),
            checksum: self
                .checksum
                .map(|(algorithm, kind)| (algorithm.code(), kind == ChecksumType::Composite)),
            record: String::from_utf8(text).unwrap_or_default(),
        };
        serde_json::to_vec(&stored).expect("a struct of numbers and strings can be written as JSON")
    }

    fn from_json(json: &[u8]) -> Option<Description> {
        let stored: Stored = serde_json::from_slice(json).ok()?;
        let mut record = vec![0; stored.record.len() / 2];
        if !hex::decode(stored.record.as_bytes(), &mut record) {
            return None;
        }
        let checksum = match stored.checksum {
            Some((code, composite)) => {
                let kind = if composite { ChecksumType::Composite } else { ChecksumType::FullObject };
                Some((Algorithm::from_code(code)?, kind))
            }
            None => None,
        };
        Some(Description {
            key: ObjectKey::parse(stored.key.as_bytes()).ok()?,
            initiated: Timestamp { seconds: stored.initiated.0, nanos: stored.initiated.1 },
            initiator: stored.initiator,
            owner: PosixOwner { uid: stored.owner.0, gid: stored.owner.1 },
            checksum,
            record: Record::decode(&record).ok()?,
        })
    }
}

/// `Ok(None)`: the upload has none (yet). After a power cut the file may be there without its content; the answer that
/// named the upload was never sent then.
fn read_description(directory: BorrowedFd<'_>) -> Result<Option<Description>> {
    let op = "read the upload's description";
    let file = match fs::openat(directory, DESCRIPTION, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).at(Subject::Upload, op),
    };
    let length = fs::fstat(&file).at(Subject::Upload, op)?.st_size as usize;
    let mut json = vec![0; length.min(DESCRIPTION_BYTES_MAX)];
    let length = rustix::io::pread(&file, &mut json[..], 0).at(Subject::Upload, op)?;
    if length == 0 {
        return Ok(None);
    }
    match Description::from_json(&json[..length]) {
        Some(description) => Ok(Some(description)),
        None => Err(Error {
            op: "understand the upload's description",
            subject: Subject::Upload,
            errno: Errno::IO,
        }),
    }
}

const TABLE: &str = "parts";
pub(super) const COMPLETING_SUFFIX: &str = ".completing";
pub(super) const ABORTING_SUFFIX: &str = ".aborting";
const DESCRIPTION: &str = "upload";
const DESCRIPTION_NEW: &str = "upload.new";
const PART_SIZE: &str = "part-size";
const DATA: &str = "data";
const PRIVATE_DIRECTORY: Mode = Mode::from_raw_mode(0o700);
const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);

/// A description holds a key, a record and little else; hexadecimal doubles the record.
const DESCRIPTION_BYTES_MAX: usize = 2 * super::record::RECORD_BYTES_MAX + 16 * 1024;
