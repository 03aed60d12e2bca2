//! Listing the objects of a bucket: pages of keys in byte order, with common prefixes.
//!
//! This is blocking code: its caller runs it where waiting for the disk holds up nobody. It knows nothing of the
//! versions of the protocol; ListObjects, ListObjectsV2 and ListObjectVersions show the same pages.
//!
//! # What is listed
//! Regular files at the paths that [`layout`](super::layout) gives to keys, whoever wrote them. Links, FIFOs, devices,
//! names that are no part of a key, and empty directories are not there. What vanishes during the walk is left out, and
//! nothing that a POSIX user can put into a bucket is an error.
//!
//! # Order
//! By the bytes of the whole key, unless the bucket wants none ([`list_unsorted`]). A directory therefore has two
//! places: that of the object with its own key (`a`, found at `a/.sgate~@`), and that of what is inside (`a/…`); `a-b`
//! stands between them, and `a0` after both.
//!
//! # Costs
//! A page costs the page: every directory is entered at the place where the page starts, by binary search in a sorted
//! snapshot that [`DirectoryCache`] keeps. The directories above the prefix are not read at all. Only files that are
//! returned are looked at (1.5 µs each). Memory is bounded by the window of the snapshots, the depth and the page.
//!
//! Specification: "ListObjectsV2" of the Amazon S3 API reference.

mod cache;
mod cursor;
mod emptiness;
mod metadata;
mod position;
mod snapshot;
mod sources;
mod unsorted;

use std::os::fd::BorrowedFd;

pub use self::cache::DirectoryCache;
pub use self::position::Position;
pub use self::unsorted::{UnsortedRequest, keeps_places, list_unsorted};

pub(super) use self::cursor::rolled_up;
use self::cursor::{AFTER_ALL, Cursor, Item, Listed};
use self::metadata::Metadata;
use super::error::Result;
use super::layout::ObjectKey;
use super::object::Object;
use super::record::{ETag, FieldText, HeaderField};
use super::versions::Version;
use crate::codec::dates::Timestamp;
use crate::digest::{Algorithm, ChecksumType};

/// Which page of a bucket is wanted.
#[derive(Clone, Copy, Debug)]
pub struct ListRequest<'a> {
    /// Only keys that start with this.
    pub prefix: &'a [u8],
    /// Keys that contain this after the prefix are rolled up to its end. Empty: none are.
    pub delimiter: &'a [u8],
    /// Only what sorts after this: a key, or a common prefix of an earlier page and with it all its keys. A key inside
    /// a common prefix leaves out that prefix too. Empty: from the beginning.
    pub start_after: &'a [u8],
    /// At most this many keys and common prefixes together.
    pub max_keys: usize,
}

/// One page.
#[derive(Debug, Default)]
pub struct ListPage {
    /// The keys, in order. There may be fewer than the page has room for, even if there are more pages: files can vanish
    /// between being found and being looked at.
    pub entries: Vec<Entry>,
    /// The common prefixes, in order.
    pub common_prefixes: Vec<Vec<u8>>,
    /// What to pass as `start_after` for the next page. `None`: this was the last one.
    pub next: Option<Vec<u8>>,
}

/// One object of a page.
#[derive(Debug)]
pub struct Entry {
    /// Its key.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: Timestamp,
    /// As GET and HEAD would show it.
    pub etag: ETag,
    /// Which checksum of it is stored.
    pub checksum: Option<(Algorithm, ChecksumType)>,
    /// The POSIX user it belongs to.
    pub uid: u32,
    /// The POSIX group it belongs to.
    pub gid: u32,
    /// Its storage class; `None` means STANDARD.
    pub storage_class: Option<FieldText>,
    /// Which version its record says it is. In a bucket that never kept versions that means nothing.
    pub version: Version,
}

/// Lists one page of the bucket whose directory is `bucket`.
///
/// # Errors
/// The file system failed. Whatever it merely refuses to show is left out instead.
pub fn list(bucket: BorrowedFd<'_>, cache: &DirectoryCache, request: &ListRequest<'_>) -> Result<ListPage> {
    let mut page = ListPage::default();
    let Some(bound) = bound(request).filter(|_| request.max_keys > 0) else {
        return Ok(page);
    };
    let mut cursor = Cursor::start(bucket, cache, request.prefix, request.delimiter, bound)?;
    let mut keys_count = 0;
    let mut last = Vec::new();
    while let Some(item) = cursor.next()? {
        if keys_count + page.common_prefixes.len() == request.max_keys {
            page.next = Some(last);
            break;
        }
        last.clear();
        last.extend_from_slice(cursor.text());
        match item {
            Item::Key => keys_count += 1,
            Item::Prefix => page.common_prefixes.push(last.clone()),
        }
    }
    page.entries = cursor.finish(keys_count)?.into_iter().filter_map(Entry::of).collect();
    Ok(page)
}

/// The smallest text that may be on the page. `None`: nothing can be.
fn bound(request: &ListRequest<'_>) -> Option<Vec<u8>> {
    let &ListRequest { prefix, delimiter, start_after, .. } = request;
    if start_after < prefix {
        return Some(prefix.to_vec());
    }
    if !start_after.starts_with(prefix) {
        return None;
    }
    Some(match rolled_up(start_after, prefix, delimiter) {
        Some(length) => [&start_after[..length], &[AFTER_ALL]].concat(),
        None => [start_after, b"\0"].concat(),
    })
}

impl Entry {
    /// An open object as a listing shows it.
    pub(super) fn of_object(key: ObjectKey, object: &Object) -> Self {
        let record = object.record.as_ref();
        let checksum = record.and_then(|record| record.checksum.as_ref());
        Self {
            key,
            size: object.size,
            modified: object.modified,
            etag: object.etag.clone(),
            checksum: checksum.map(|checksum| (checksum.algorithm(), checksum.checksum_type())),
            uid: object.owner.uid,
            gid: object.owner.gid,
            storage_class: record.and_then(|record| record.headers.text(HeaderField::StorageClass)).cloned(),
            version: object.version,
        }
    }

    /// `None`: the file vanished after it was found.
    fn of(listed: Listed) -> Option<Self> {
        let Metadata { size, modified, etag, checksum, storage_class, version, uid, gid } = listed.metadata?;
        Some(Self { key: listed.key, size, modified, etag, checksum, uid, gid, storage_class, version })
    }
}

#[cfg(test)]
mod tests;
