//! What a crash leaves behind, one case for each step of a write at which it can fall.
//!
//! | the crash falls | what is left | what is done |
//! |---|---|---|
//! | while the body is written | an unnamed file | nothing: the kernel frees it |
//! | the same, without O_TMPFILE | a file in the process's staging directory | removed |
//! | between the link aside and the rename over the old object | a second link in staging | removed; the old object stands |
//! | after a directory was prepared, before it is exchanged for a file | a directory in staging | removed; the file stands |
//! | after that exchange | the file's old link in staging | removed; the object is in the directory |
//! | after the directories of an object were prepared, before they have their place | directories in staging, with a link of the object | removed |
//! | after that, before the object's other link is removed | a second link in staging or in its upload | removed; the object stands |
//! | while an upload is created | its directory without a description | removed |
//! | while a part is uploaded | data that the table does not name | nothing: the part is sent again |
//! | while an upload is completed | the upload's directory under another name | renamed back; if the object was published, removed |
//! | while an upload is removed | the rest of its directory | removed |
//! | between the link of the current version into its history and the rename of a new one over it | a second name of the current version | nothing: it is not listed or found twice, and the next change of the key copes |
//! | between a delete marker and the move of the current version behind it | a marker behind the current version | nothing: the deletion was not acknowledged, and the marker can be removed |
//! | between the rename of an uncovered version to its natural path and the removal of the marker before it | the same | the same; the removal can be repeated |
//! | between a null version and the removal of an older one | the older one in the history | nothing: only the newest null version counts, and the others go with it |
//! | while a bucket is deleted, after its directory went | its uploads and its configuration | the uploads are removed; the configuration when a bucket of its name is made |
//! | while the directories of a history are made or removed | a key with a history of nothing | nothing is listed of it; it is removed with the bucket |
//! | after a large record was put aside, before its object has its name | a spill file | removed by [`clear_spill`] |
//! | after directories were made, before the name in them | empty directories | they hold no object, so no listing shows them |
//!
//! Nothing half-written ever has a name in a bucket, so nothing in buckets has to be looked at.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};

use super::layout::BucketName;
use super::root::Root;
use super::{multipart, prepared, spill};
use crate::limits;

/// Removes the staging directories of processes that are gone: their lock is free.
pub fn clear_staging(all: BorrowedFd<'_>) {
    let Ok(entries) = Dir::read_from(all) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name.to_bytes().starts_with(b".") {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(directory) = fs::openat(all, name, flags, Mode::empty()) else { continue };
        if fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove_content(directory.as_fd(), prepared::LEVELS_MAX);
            let _ = fs::unlinkat(all, name, AtFlags::REMOVEDIR);
        }
    }
}

/// Puts the uploads whose creation, Complete or Abort was cut off into order, and removes those of buckets that are gone.
/// Only for the one server of this root: another one may be completing an upload right now.
pub fn settle_uploads(root: &Root) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(buckets) = Dir::read_from(&root.uploads) else { return };
    for bucket in buckets.flatten() {
        let Ok(bucket) = BucketName::parse(bucket.file_name().to_bytes()) else { continue };
        if matches!(root.has_directory(&bucket), Ok(false)) {
            multipart::remove_all(root, &bucket);
            continue;
        }
        let Ok(directory) = fs::openat(&root.uploads, bucket.as_str(), flags, Mode::empty()) else {
            continue;
        };
        let Ok(entries) = Dir::read_from(&directory) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_bytes();
            if let Some(id) = name.strip_suffix(multipart::COMPLETING_SUFFIX.as_bytes()) {
                multipart::settle_completion(root, &bucket, directory.as_fd(), id);
                continue;
            }
            let is_over = name.ends_with(multipart::ABORTING_SUFFIX.as_bytes());
            if is_over || multipart::UploadId::parse(name).is_some() {
                let Ok(upload) = fs::openat(&directory, name, flags, Mode::empty()) else { continue };
                if is_over || matches!(multipart::was_created(upload.as_fd()), Ok(false)) {
                    multipart::remove(directory.as_fd(), name, upload.as_fd());
                }
            }
        }
    }
}

/// Removes the records put aside whose objects are gone: by a crash, or because another program deleted them. This looks at
/// every such record, so it runs beside the service.
pub fn clear_spill(root: &Root) {
    let count = spill::clear(root, limits::SPILL_SECONDS_MIN);
    if count > 0 {
        tracing::info!(count, "removed large records whose objects are gone");
    }
}

/// Removes everything in a directory of the server's own. What cannot be removed stays: it is in nobody's way.
pub fn remove_content(directory: BorrowedFd<'_>, depth: usize) {
    let Ok(entries) = Dir::read_from(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if fs::unlinkat(directory, name, AtFlags::empty()).is_ok() || depth == 0 {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(inner) = fs::openat(directory, name, flags, Mode::empty()) {
            remove_content(inner.as_fd(), depth - 1);
            let _ = fs::unlinkat(directory, name, AtFlags::REMOVEDIR);
        }
    }
}

/// The server's own directories, but for those that are prepared for objects, are at most this deep.
pub const DEPTH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_are_cleared() {
        let root = tempfile::tempdir().unwrap();
        for (name, alive) in [("dead", false), ("alive", true)] {
            std::fs::create_dir_all(root.path().join(name).join("prepared")).unwrap();
            std::fs::write(root.path().join(name).join("prepared/.sgate~@"), "x").unwrap();
            let deep = root.path().join(name).join("d/".repeat(prepared::LEVELS_MAX));
            std::fs::create_dir_all(&deep).unwrap();
            std::fs::write(deep.join("object"), "x").unwrap();
            std::fs::write(root.path().join(name).join("0001"), "x").unwrap();
            if alive {
                let lock = std::fs::File::open(root.path().join(name)).unwrap();
                fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
                std::mem::forget(lock);
            }
        }
        let all = std::fs::File::open(root.path()).unwrap();
        clear_staging(all.as_fd());
        assert!(!root.path().join("dead").exists());
        assert!(root.path().join("alive/0001").exists());
    }
}
