//! Buckets: directories of the root with a legal bucket name.
//!
//! A bucket made through S3 records who made it in the attribute `user.s3.bucket` of its directory (the user's unique
//! id, ASCII). A directory made by a POSIX program is a bucket without a known maker. The attribute is input: who may
//! write to the directory may write it, so its reader asks whether the directory belongs to that user ([`Maker`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, FileType, OFlags, RenameFlags, StatxFlags};
use rustix::io::Errno;
use smallvec::smallvec;

use super::commit::Change;
use super::error::{At, Result, Subject};
use super::layout::BucketName;
use super::root::{Bucket, Root};
use super::{multipart, versions, walk};
use crate::codec::dates::Timestamp;
use crate::failpoint;
use crate::iam::principal::PosixOwner;
use crate::limits;
use crate::runtime::credentials::as_server;

/// A bucket in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: BucketName,
    /// When its directory was made, or last changed where the file system does not say.
    pub created: Timestamp,
    /// Who made it, if that was asked for.
    pub maker: Option<Maker>,
}

/// Who made a bucket, as its directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The unique id of the user.
    pub unique_id: String,
    /// To whom the directory belongs: what it says is to be believed only of the user with this UID.
    pub uid: u32,
}

/// What became of a request to make a bucket.
pub enum Created {
    /// It was made; the change is what a commit has to make durable.
    Made(Change),
    /// It stood already; this is who made it.
    Exists(Option<String>),
    /// There are [`limits::BUCKETS_MAX`] already.
    TooMany,
}

/// Makes a bucket that belongs to `owner`. It appears complete, with its maker's id, or not at all.
pub fn create(root: &Root, name: &BucketName, maker: &str, owner: PosixOwner) -> Result<Created> {
    if let Some(bucket) = root.bucket(name)? {
        return Ok(Created::Exists(recorded_maker(&bucket)));
    }
    if names(root)?.len() >= limits::BUCKETS_MAX {
        return Ok(Created::TooMany);
    }
    // Left behind by a bucket whose directory another program removed: it is nothing of the new one's.
    versions::remove_tree(root, name)?;
    multipart::remove_all(root, name);
    let op = "make a bucket";
    let aside = root.staging_name();
    fs::mkdirat(&root.staging, aside.as_str(), walk::DIRECTORY_MODE).at(Subject::Bucket, op)?;
    let made = (|| {
        let fd = walk::open_directory(root.staging.as_fd(), aside.as_bytes()).at(Subject::Bucket, op)?;
        if root.capabilities.attributes {
            fs::fsetxattr(&fd, MAKER_XATTR, maker.as_bytes(), fs::XattrFlags::empty())
                .at(Subject::Bucket, op)?;
        }
        let stat = fs::fstat(&fd).at(Subject::Bucket, op)?;
        let mode = root.modes_of(name).of_directory(stat.st_mode);
        root.hand_over(fd.as_fd(), &stat, mode, owner, Subject::Bucket)?;
        failpoint::pass("bucket:prepared");
        match fs::renameat_with(
            &root.staging,
            aside.as_str(),
            &root.fd,
            name.as_str(),
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => Ok(Some(fd)),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(errno).at(Subject::Bucket, op),
        }
    })();
    if !matches!(made, Ok(Some(_))) {
        let _ = fs::unlinkat(&root.staging, aside.as_str(), AtFlags::REMOVEDIR);
    }
    match made? {
        Some(fd) => {
            failpoint::pass("bucket:named");
            let above = root.fd.try_clone().at(Subject::Root, op)?;
            Ok(Created::Made(Change { files: smallvec![fd.into(), above.into()], wide: false }))
        }
        None => Ok(Created::Exists(root.bucket(name)?.as_ref().and_then(recorded_maker))),
    }
}

/// What became of a request to delete a bucket.
pub enum Deleted {
    /// It is gone; the change is what a commit has to make durable.
    Gone(Change),
    /// There was none.
    Missing,
    /// It holds objects, or files that are no objects.
    NotEmpty,
}

/// Deletes a bucket that holds no files, and no versions of any. Empty directories in it, which no S3 client can see, go with it, and so do
/// its unfinished uploads.
pub fn delete(root: &Root, name: &BucketName) -> Result<Deleted> {
    let Some(bucket) = root.bucket(name)? else { return Ok(Deleted::Missing) };
    if !versions::remove_empty_tree(root, name)? {
        return Ok(Deleted::NotEmpty);
    }
    remove_empty_directories(bucket.fd.as_fd(), 0);
    failpoint::pass("bucket:emptied");
    match fs::unlinkat(&root.fd, name.as_str(), AtFlags::REMOVEDIR) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Deleted::Missing),
        Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Deleted::NotEmpty),
        Err(errno) => return Err(errno).at(Subject::Bucket, "delete the bucket"),
    }
    failpoint::pass("bucket:removed");
    multipart::remove_all(root, name);
    let above = root.fd.try_clone().at(Subject::Root, "delete the bucket")?;
    Ok(Deleted::Gone(Change { files: smallvec![above.into()], wide: true }))
}

/// All buckets in byte order of their names, with their makers if they are asked for.
pub fn list(root: &Root, with_makers: bool) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = names(root)?
        .into_iter()
        .filter_map(|name| {
            let stat = fs::statx(&root.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW, WANTED).ok()?;
            if FileType::from_raw_mode(u32::from(stat.stx_mode)) != FileType::Directory {
                return None;
            }
            let maker = if with_makers { maker(&root.bucket(&name).ok()??).ok()? } else { None };
            Some(Entry { name, created: created(&stat), maker })
        })
        .collect();
    entries.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
    Ok(entries)
}

/// Who made a bucket through S3.
pub fn maker(bucket: &Bucket) -> Result<Option<Maker>> {
    let Some(unique_id) = recorded_maker(bucket) else { return Ok(None) };
    Ok(Some(Maker { unique_id, uid: uid(bucket)? }))
}

/// To whom the directory of a bucket belongs.
pub fn uid(bucket: &Bucket) -> Result<u32> {
    Ok(fs::fstat(&bucket.fd).at(Subject::Bucket, "stat the bucket")?.st_uid)
}

fn recorded_maker(bucket: &Bucket) -> Option<String> {
    let mut id = [0u8; 64];
    // It is shown to those who may not read the directory as well.
    let length = as_server(|| fs::fgetxattr(&bucket.fd, MAKER_XATTR, &mut id[..])).ok()?;
    let id = std::str::from_utf8(&id[..length]).ok()?;
    id.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| id.to_owned())
}

fn names(root: &Root) -> Result<Vec<BucketName>> {
    let op = "list the buckets";
    let mut names = Vec::new();
    for entry in Dir::read_from(&root.fd).at(Subject::Root, op)? {
        let entry = entry.at(Subject::Root, op)?;
        // Some file systems do not say what an entry is; those are looked at one by one when they are listed.
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            && let Ok(name) = BucketName::parse(entry.file_name().to_bytes())
            && !root.is_unlinked(&name)
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn created(stat: &fs::Statx) -> Timestamp {
    let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let time = if known { &stat.stx_btime } else { &stat.stx_mtime };
    Timestamp { seconds: time.tv_sec, nanos: time.tv_nsec }
}

/// Removes directories that hold nothing but empty directories, as deep as keys can reach.
pub(super) fn remove_empty_directories(directory: BorrowedFd<'_>, depth: usize) {
    let Ok(entries) = Dir::read_from(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) || depth >= DEPTH_MAX {
            return;
        }
        if fs::unlinkat(directory, name, AtFlags::REMOVEDIR).is_ok() {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(inner) = fs::openat(directory, name, flags, fs::Mode::empty()) else { return };
        remove_empty_directories(OwnedFd::as_fd(&inner), depth + 1);
        if fs::unlinkat(directory, name, AtFlags::REMOVEDIR).is_err() {
            return;
        }
    }
}

const MAKER_XATTR: &str = "user.s3.bucket";
const WANTED: StatxFlags = StatxFlags::TYPE.union(StatxFlags::BTIME).union(StatxFlags::MTIME);

/// A key has at most 1,024 bytes, so at most as many directories lie above an object.
const DEPTH_MAX: usize = 1024;
