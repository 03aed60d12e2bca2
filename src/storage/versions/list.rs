//! Listing the versions of a bucket's objects: pages in the order of the keys, and within a key newest first.
//!
//! Two listings are merged: of the bucket, and of the tree that has the keys with noncurrent versions. Both are read by
//! [`super::super::list`], in this order, so that a version that ceases to be current in between is still seen. For each
//! key with noncurrent versions its lock is taken while current and noncurrent ones are looked at, so that one that moves
//! between the two is seen once.
//!
//! Spec: "ListObjectVersions" of the Amazon S3 API reference.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::super::error::{At, Result, Subject};
use super::super::layout::{self, BucketName, ObjectKey};
use super::super::list::{self, Entry, ListPage, ListRequest, rolled_up};
use super::super::root::{Bucket, Root};
use super::super::{permission, recover, walk};
use super::history::History;
use super::name::Kept;
use super::{Marker, Place, Version, Versioning};
use crate::limits;
use crate::runtime::credentials;

/// Which page is wanted.
#[derive(Clone, Copy, Debug)]
pub struct VersionRequest<'a> {
    /// Only keys that start with this.
    pub prefix: &'a [u8],
    /// Keys that contain this after the prefix are rolled up to its end. Empty: none are.
    pub delimiter: &'a [u8],
    /// Only what comes after this key or common prefix; empty for all.
    pub key_marker: &'a [u8],
    /// If it is given, versions of `key_marker` itself are listed as well that come after this one, be it still there
    /// or not.
    pub version_marker: Option<Version>,
    /// At most this many versions, markers and common prefixes together.
    pub max_keys: usize,
}

/// One page.
#[derive(Debug, Default)]
pub struct VersionPage {
    /// Versions and delete markers, in order.
    pub entries: Vec<VersionEntry>,
    /// The common prefixes, in order.
    pub common_prefixes: Vec<Vec<u8>>,
    /// The last key or common prefix of the page, and the version if it is one; `None` when nothing follows.
    pub next: Option<(Vec<u8>, Option<Version>)>,
}

/// One version or delete marker of a page.
#[derive(Debug)]
pub struct VersionEntry {
    /// Its key.
    pub key: ObjectKey,
    /// Its id.
    pub version: Version,
    /// Whether a request that names no version gets this one.
    pub is_latest: bool,
    /// What it is.
    pub content: Content,
}

/// What a [`VersionEntry`] is.
#[derive(Debug)]
pub enum Content {
    /// An object.
    Object(Entry),
    /// A delete marker.
    Marker(Marker),
}

/// Lists one page of the versions of a bucket. Of a user's page what lies in directories that the user may not list is left
/// out, so that it may be shorter than there is room for.
///
/// # Errors
/// EACCES: the user may not list the directory of the prefix.
pub fn list(root: &Root, bucket: &Bucket, request: &VersionRequest<'_>) -> Result<VersionPage> {
    if !credentials::is_user() {
        return list_all(root, bucket, request);
    }
    permission::to_list_near(bucket, request.prefix)?;
    let mut page = credentials::as_server(|| list_all(root, bucket, request))?;
    let mut last: Option<(Vec<u8>, bool)> = None;
    let mut may_list = |text: &[u8]| {
        let directory = &text[..memchr::memrchr(b'/', text).map_or(0, |slash| slash + 1)];
        match &last {
            Some((known, may)) if known == directory => *may,
            _ => {
                let may = permission::to_list_near(bucket, directory).is_ok();
                last = Some((directory.to_vec(), may));
                may
            }
        }
    };
    page.entries.retain(|entry| may_list(entry.key.as_bytes()));
    page.common_prefixes.retain(|prefix| may_list(prefix));
    Ok(page)
}

fn list_all(root: &Root, bucket: &Bucket, request: &VersionRequest<'_>) -> Result<VersionPage> {
    let &VersionRequest { prefix, delimiter, key_marker, version_marker, max_keys } = request;
    let mut filling = Filling { root, bucket, page: VersionPage::default(), last: None, room: max_keys };
    if max_keys == 0 {
        return Ok(filling.page);
    }
    if let (Some(version), Ok(key)) = (version_marker, ObjectKey::parse(key_marker))
        && key_marker.starts_with(prefix)
        && rolled_up(key_marker, prefix, delimiter).is_none()
        && filling.take_key(key, None, true, Some(version))?
    {
        return Ok(filling.page);
    }
    let mirror = open_mirror(root, &bucket.name)?;
    let mut after = key_marker.to_vec();
    loop {
        let request = ListRequest { prefix, delimiter, start_after: &after, max_keys: filling.room.max(1) };
        let natural = list::list(bucket.fd.as_fd(), &root.directories, &request)?;
        let mirrored = match &mirror {
            Some(mirror) => list::list(mirror.fd.as_fd(), &root.directories, &request)?,
            None => ListPage::default(),
        };
        let horizon = [natural.next.clone(), mirrored.next.clone()].into_iter().flatten().min();
        for (text, found) in merged(natural, mirrored) {
            if horizon.as_ref().is_some_and(|horizon| text > *horizon) {
                break;
            }
            let is_full = match found {
                None => filling.take_prefix(text),
                Some(Found { key, current, has_history }) => {
                    filling.take_key(key, current, has_history, None)?
                }
            };
            if is_full {
                return Ok(filling.page);
            }
        }
        match horizon {
            Some(horizon) => after = horizon,
            None => return Ok(filling.page),
        }
    }
}

/// A key that is in one of the listings, or in both.
struct Found {
    key: ObjectKey,
    current: Option<Entry>,
    has_history: bool,
}

/// Both listings in order; a common prefix has nothing with it.
fn merged(natural: ListPage, mirrored: ListPage) -> BTreeMap<Vec<u8>, Option<Found>> {
    let mut all = BTreeMap::new();
    for prefix in natural.common_prefixes.into_iter().chain(mirrored.common_prefixes) {
        all.insert(prefix, None);
    }
    for entry in natural.entries {
        let key = entry.key.clone();
        let text = key.as_bytes().to_vec();
        all.insert(text, Some(Found { key, current: Some(entry), has_history: false }));
    }
    for entry in mirrored.entries {
        let text = entry.key.as_bytes().to_vec();
        all.insert(text, Some(Found { key: entry.key, current: None, has_history: true }));
    }
    all
}

/// A page that is being filled.
struct Filling<'f> {
    root: &'f Root,
    bucket: &'f Bucket,
    page: VersionPage,
    last: Option<(Vec<u8>, Option<Version>)>,
    room: usize,
}

/// The functions that take something say whether it had no room, and the page is thereby complete.
impl Filling<'_> {
    fn take_prefix(&mut self, prefix: Vec<u8>) -> bool {
        if self.is_full() {
            return true;
        }
        self.last = Some((prefix.clone(), None));
        self.page.common_prefixes.push(prefix);
        false
    }

    fn take(&mut self, entry: VersionEntry) -> bool {
        if self.is_full() {
            return true;
        }
        self.last = Some((entry.key.as_bytes().to_vec(), Some(entry.version)));
        self.page.entries.push(entry);
        false
    }

    /// Says so where the page has no room for what comes next.
    fn is_full(&mut self) -> bool {
        if self.room == 0 {
            self.page.next = self.last.take();
            return true;
        }
        self.room -= 1;
        false
    }

    /// Takes the versions of a key, those after the version `marker` if there is one. What was found to be current
    /// holds only if the key has no history.
    fn take_key(
        &mut self,
        key: ObjectKey,
        current: Option<Entry>,
        has_history: bool,
        marker: Option<Version>,
    ) -> Result<bool> {
        if !has_history {
            let Some(entry) = current else { return Ok(false) };
            let version = match self.root.versioning(&self.bucket.name) {
                Versioning::Unversioned => Version::Null,
                _ => entry.version,
            };
            return Ok(self.take(VersionEntry {
                key,
                version,
                is_latest: true,
                content: Content::Object(entry),
            }));
        }
        let (root, bucket) = (self.root, self.bucket);
        let _order = root.lock(&bucket.name, &key);
        let current = Place::find(root, bucket, &key)?.current;
        let current_version = current.as_ref().map(|current| current.version);
        let history = History::open(root, &bucket.name, &layout::path(&key))?;
        let after = match (marker, &history) {
            (Some(Version::Named(id)), _) if current_version != marker => {
                Some(Kept::marker(Version::Named(id), 0))
            }
            (Some(Version::Null), Some(history)) if current_version != marker => {
                history.find(Version::Null)?
            }
            _ => None,
        };
        // A null version that is gone since left no place to go on from: its key is listed again.
        let goes_on = after.is_some() || (marker.is_some() && current_version == marker);
        if let Some(current) = current.filter(|_| !goes_on) {
            let version = current.version;
            let content = Content::Object(Entry::of_object(key.clone(), &current));
            if self.take(VersionEntry { key: key.clone(), version, is_latest: true, content }) {
                return Ok(true);
            }
        }
        let Some(history) = history else { return Ok(false) };
        let mut seen_null = false;
        let mut is_first = current_version.is_none() && !goes_on;
        for kept in history.page(after.as_ref(), current_version, self.room + 1)? {
            let version = kept.version();
            if version == Version::Null && std::mem::replace(&mut seen_null, true) {
                continue;
            }
            let content = if kept.is_marker() {
                history.marker(&kept)?.map(Content::Marker)
            } else {
                let object = history.object(root, &kept)?;
                object.map(|object| Content::Object(Entry::of_object(key.clone(), &object)))
            };
            let Some(content) = content else { continue };
            // Data without a current file: another program removed that one, and nothing is latest.
            let is_latest = std::mem::take(&mut is_first) && kept.is_marker();
            if self.take(VersionEntry { key: key.clone(), version, is_latest, content }) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Removes the tree of a bucket's noncurrent versions if it holds none. False: it does.
pub(in crate::storage) fn remove_empty_tree(root: &Root, name: &BucketName) -> Result<bool> {
    let Some(mirror) = open_mirror(root, name)? else { return Ok(true) };
    let all = ListRequest { prefix: b"", delimiter: b"", start_after: b"", max_keys: limits::PAGE_KEYS_MAX };
    let mut page = list::list(mirror.fd.as_fd(), &root.directories, &all)?;
    loop {
        for entry in &page.entries {
            let path = layout::path(&entry.key);
            let _order = root.lock(name, &entry.key);
            if let Some(history) = History::open(root, name, &path)?
                && history.newest(None)?.is_some()
            {
                return Ok(false);
            }
            History::prune(root, name, &path);
        }
        let Some(next) = page.next.take() else { break };
        let request = ListRequest { start_after: &next, ..all };
        page = list::list(mirror.fd.as_fd(), &root.directories, &request)?;
    }
    super::super::bucket::remove_empty_directories(mirror.fd.as_fd(), 0);
    match rustix::fs::unlinkat(&root.versions, name.as_str(), rustix::fs::AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno).at(Subject::Bucket, "remove the versions of the bucket"),
    }
}

/// Removes the noncurrent versions of a bucket whose directory another program removed.
pub(in crate::storage) fn remove_tree(root: &Root, name: &BucketName) -> Result<()> {
    let Some(mirror) = open_mirror(root, name)? else { return Ok(()) };
    recover::remove_content(mirror.fd.as_fd(), TREE_DEPTH_MAX);
    match rustix::fs::unlinkat(&root.versions, name.as_str(), rustix::fs::AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).at(Subject::Bucket, "remove the versions of a bucket that is gone"),
    }
}

fn open_mirror(root: &Root, name: &BucketName) -> Result<Option<Bucket>> {
    match walk::open_directory(root.versions.as_fd(), name.as_bytes()) {
        Ok(fd) => Ok(Some(Bucket { name: *name, fd: Arc::new(fd) })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).at(Subject::Bucket, "open the versions of the bucket"),
    }
}

/// A key has at most 1,024 bytes, so at most as many directories and pieces lie above a history.
const TREE_DEPTH_MAX: usize = limits::KEY_BYTES_MAX + 8;
