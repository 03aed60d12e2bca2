//! The walk: the keys of a bucket in byte order, from any point on, and the prefixes that stand for many of them.
//!
//! The cursor is a stack of levels, one for each directory from the one that contains the whole prefix down to the one
//! it is in. A level is a position in a sorted snapshot. (It is several positions, of which the smallest comes next,
//! where components over 255 bytes stand in directories of their own.) Upper levels are read only when the walk comes
//! back to them, so that a page deep in a tree does not pay for the directories above it.
//!
//! Metadata of a directory's files is read when the cursor leaves the directory, in the order of the inodes: on a cold
//! disk that is five times as fast as in the order of the names.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use memchr::memmem;
use smallvec::SmallVec;

use super::cache::DirectoryCache;
use super::emptiness::holds_object;
use super::metadata::{Metadata, Names, inspect, inspect_name};
use super::snapshot::Kind;
use super::sources::{Sources, first, first_component, opened, remainder};
use crate::limits::KEY_BYTES_MAX;
use crate::storage::error::Result;
use crate::storage::layout::{self, ObjectKey, SELF_NAME};
use crate::storage::permission;

/// One step of the walk.
pub(super) enum Item {
    /// A key. What its file says comes with [`Cursor::finish`].
    Key,
    /// All keys that start with [`Cursor::text`].
    Prefix,
}

/// A walk through one bucket.
pub(super) struct Cursor<'a> {
    bucket: BorrowedFd<'a>,
    cache: &'a DirectoryCache,
    prefix: &'a [u8],
    delimiter: &'a [u8],
    /// Nothing before this is of interest. It ends in 0xFF, which no key contains, to mean "after all that start so".
    bound: Vec<u8>,
    levels: Vec<Level>,
    /// The path of the top level's directory in the bucket.
    path: Vec<u8>,
    /// The key or prefix in question; it starts with the top level's part of the key.
    text: Vec<u8>,
    keys: Vec<Listed>,
}

/// A key that was found, and what its file says, once that is read.
pub(super) struct Listed {
    pub(super) key: ObjectKey,
    pub(super) metadata: Option<Metadata>,
}

/// One directory on the way.
struct Level {
    /// How much of the key all its entries share; it ends with `/`.
    base_bytes: usize,
    /// How much of the path leads to it.
    path_bytes: usize,
    /// Open while it is needed and not too many are.
    fd: Option<OwnedFd>,
    sources: Sources,
    /// The files found in it whose metadata is still to be read.
    pending: Vec<Pending>,
}

/// The next entry of the top level.
struct Next {
    /// Whose it is.
    source: usize,
    kind: Kind,
    inode: u64,
}

/// A key whose file's metadata is still to be read.
pub(super) struct Pending {
    pub(super) inode: u64,
    /// Its place among the keys.
    pub(super) index: usize,
}

impl<'a> Cursor<'a> {
    /// Starts before the first key that starts with `prefix` and does not sort before `bound`, which itself starts with
    /// `prefix` or equals it. An empty delimiter is none.
    ///
    /// # Errors
    /// The bucket or a directory in it cannot be opened, although it is there.
    pub(super) fn start(
        bucket: BorrowedFd<'a>,
        cache: &'a DirectoryCache,
        prefix: &'a [u8],
        delimiter: &'a [u8],
        bound: Vec<u8>,
    ) -> Result<Self> {
        // Every key asked for is in the directory of the prefix's last slash.
        let base_bytes = memchr::memrchr(b'/', prefix).map_or(0, |slash| slash + 1);
        let text = prefix[..base_bytes].to_vec();
        let (levels, path, keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut cursor = Self { bucket, cache, prefix, delimiter, bound, levels, path, text, keys };
        if base_bytes > KEY_BYTES_MAX {
            return Ok(cursor);
        }
        if let Some(directory) = prefix[..base_bytes].strip_suffix(b"/") {
            for component in directory.split(|byte| *byte == b'/') {
                push_path(&mut cursor.path, component);
            }
        }
        let path = if cursor.path.is_empty() { b"." } else { &cursor.path[..] };
        permission::to_list(bucket, path)?;
        if let Some(fd) = opened(bucket, path)? {
            cursor.push(fd)?;
            cursor.descend_to_bound()?;
        }
        Ok(cursor)
    }

    /// The key or prefix of the last item.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The next key or prefix.
    ///
    /// # Errors
    /// A directory or file cannot be read, although it is there.
    pub(super) fn next(&mut self) -> Result<Option<Item>> {
        while !self.levels.is_empty() {
            let Some(next) = self.peek()? else {
                self.pop()?;
                continue;
            };
            let is_asked_for = self.text.starts_with(self.prefix);
            if !is_asked_for && *self.text > *self.prefix {
                // What follows is larger still.
                break;
            }
            self.step_over(&next);
            let item = if next.kind == Kind::Directory {
                self.take_directory()?
            } else if is_asked_for && self.text.len() <= KEY_BYTES_MAX {
                self.take_file(&next)?
            } else {
                None
            };
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }

    /// Ends the walk: the first `count` keys with what their files say. Keys whose file has vanished have nothing.
    ///
    /// # Errors
    /// A file cannot be read, although it is there.
    pub(super) fn finish(mut self, count: usize) -> Result<Vec<Listed>> {
        self.keys.truncate(count);
        while !self.levels.is_empty() {
            self.pop()?;
        }
        Ok(self.keys)
    }

    /// Finds the next entry of the top level and makes its key the text, a directory's with its slash.
    fn peek(&mut self) -> Result<Option<Next>> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(None);
        };
        let base = &self.text[..level.base_bytes];
        let (source, kind, name, inode) = loop {
            // Nearly always there is something to be had without opening anything.
            if let Sources::Read(sources) = &level.sources
                && let Some(entry) = first(sources)
                && entry.1 != Kind::Piece
            {
                break entry;
            }
            let Some(fd) = reopened(&mut level.fd, self.bucket, &self.path[..level.path_bytes])? else {
                return Ok(None);
            };
            if !level.sources.prepare(fd, self.cache, first_component(remainder(&self.bound, base)))? {
                return Ok(None);
            }
        };
        let Sources::Read(sources) = &level.sources else {
            return Ok(None);
        };
        self.text.truncate(level.base_bytes);
        self.text.extend_from_slice(&sources[source].place.start);
        self.text.extend_from_slice(name);
        if kind == Kind::Directory {
            self.text.push(b'/');
        }
        Ok(Some(Next { source, kind, inode }))
    }

    fn step_over(&mut self, next: &Next) {
        let Some(Level { sources: Sources::Read(sources), .. }) = self.levels.last_mut() else {
            return;
        };
        let source = &mut sources[next.source];
        source.index += 1;
        if next.source > 0 && source.is_finished() {
            sources.swap_remove(next.source);
        }
    }

    /// Rolls the directory up into a common prefix, or enters it. The text is its key.
    fn take_directory(&mut self) -> Result<Option<Item>> {
        let is_before_bound = match self.bound.strip_prefix(&self.text[..]) {
            Some(rest) => rest.first() == Some(&AFTER_ALL),
            None => *self.bound > *self.text,
        };
        if is_before_bound || self.text.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        let Some(directory) = self.open_component()? else {
            return Ok(None);
        };
        let Some(length) = rolled_up(&self.text, self.prefix, self.delimiter) else {
            push_path(&mut self.path, component(&self.levels, &self.text));
            self.push(directory)?;
            return Ok(None);
        };
        // An empty directory is nothing in S3.
        if !holds_object(directory.as_fd(), self.text.len())? {
            return Ok(None);
        }
        if length < self.text.len() {
            self.text.truncate(length);
            self.skip_text()?;
        }
        Ok(Some(Item::Prefix))
    }

    /// Takes a file, or a directory's own object if there is one, or rolls it up. The text is its key.
    fn take_file(&mut self, next: &Next) -> Result<Option<Item>> {
        debug_assert!(*self.text >= *self.bound, "every source starts at the bound");
        let mut metadata = None;
        if next.kind == Kind::Own {
            metadata = self.inspect_own()?;
            if metadata.is_none() {
                return Ok(None);
            }
        }
        if let Some(length) = rolled_up(&self.text, self.prefix, self.delimiter) {
            self.text.truncate(length);
            self.skip_text()?;
            return Ok(Some(Item::Prefix));
        }
        let Ok(key) = ObjectKey::parse(&self.text) else {
            return Ok(None);
        };
        if next.kind == Kind::File
            && let Some(level) = self.levels.last_mut()
        {
            level.pending.push(Pending { inode: next.inode, index: self.keys.len() });
        }
        self.keys.push(Listed { key, metadata });
        Ok(Some(Item::Key))
    }

    /// Goes on after all keys that start with the text.
    fn skip_text(&mut self) -> Result<()> {
        self.bound.clear();
        self.bound.extend_from_slice(&self.text);
        self.bound.push(AFTER_ALL);
        while self.levels.last().is_some_and(|level| level.base_bytes > self.text.len()) {
            self.pop()?;
        }
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let from = first_component(&self.bound[level.base_bytes..]);
        match reopened(&mut level.fd, self.bucket, &self.path[..level.path_bytes])? {
            Some(fd) => level.sources.seek(fd, self.cache, from),
            None => Ok(()),
        }
    }

    /// Enters the directories that contain the bound, without reading those above.
    fn descend_to_bound(&mut self) -> Result<()> {
        while let Some(level) = self.levels.last_mut() {
            let rest = &self.bound[level.base_bytes..];
            let Some(slash) = memchr::memchr(b'/', rest) else { break };
            let base_bytes = level.base_bytes + slash + 1;
            if base_bytes > KEY_BYTES_MAX || rest.get(slash + 1) == Some(&AFTER_ALL) {
                break;
            }
            // When the walk comes back, it goes on after this directory.
            level.sources = Sources::Unread([&rest[..=slash], b"\0"].concat());
            self.text.clear();
            self.text.extend_from_slice(&self.bound[..base_bytes]);
            let Some(directory) = self.open_component()? else { break };
            push_path(&mut self.path, component(&self.levels, &self.text));
            self.push(directory)?;
        }
        Ok(())
    }

    /// Opens the directory of the top level whose key is the text. `None`: it is gone.
    fn open_component(&mut self) -> Result<Option<OwnedFd>> {
        let path = component_path(component(&self.levels, &self.text));
        match self.top_fd()? {
            Some(fd) => opened(fd, &path),
            None => Ok(None),
        }
    }

    /// What the object says whose key is the text, while a directory of the top level has that path.
    fn inspect_own(&mut self) -> Result<Option<Metadata>> {
        let mut path = component_path(component(&self.levels, &self.text));
        path.push(b'/');
        path.extend_from_slice(SELF_NAME);
        match self.top_fd()? {
            Some(fd) => inspect(fd, &path),
            None => Ok(None),
        }
    }

    fn top_fd(&mut self) -> Result<Option<BorrowedFd<'_>>> {
        match self.levels.last_mut() {
            Some(level) => reopened(&mut level.fd, self.bucket, &self.path[..level.path_bytes]),
            None => Ok(None),
        }
    }

    /// Adds a level for the directory whose key is the text, to which the path leads.
    fn push(&mut self, directory: OwnedFd) -> Result<()> {
        if let Some(crowded) = self.levels.len().checked_sub(OPEN_LEVELS_MAX) {
            self.leave(crowded)?;
        }
        let from = first_component(remainder(&self.bound, &self.text)).to_vec();
        self.levels.push(Level {
            base_bytes: self.text.len(),
            path_bytes: self.path.len(),
            fd: Some(directory),
            sources: Sources::Unread(from),
            pending: Vec::new(),
        });
        Ok(())
    }

    fn pop(&mut self) -> Result<()> {
        if let Some(top) = self.levels.len().checked_sub(1) {
            self.leave(top)?;
            self.levels.truncate(top);
            self.path.truncate(self.levels.last().map_or(0, |level| level.path_bytes));
        }
        Ok(())
    }

    /// Reads the metadata of the files found in a level's directory, and closes it.
    fn leave(&mut self, level: usize) -> Result<()> {
        let level = &mut self.levels[level];
        let pending = std::mem::take(&mut level.pending);
        if !pending.is_empty()
            && let Some(fd) = reopened(&mut level.fd, self.bucket, &self.path[..level.path_bytes])?
        {
            read_pending(fd, level.base_bytes, pending, &mut self.keys)?;
        }
        level.fd = None;
        Ok(())
    }
}

/// Reads the metadata of files found in a directory, whose keys share `base_bytes`.
pub(super) fn read_pending(
    directory: BorrowedFd<'_>,
    base_bytes: usize,
    mut pending: Vec<Pending>,
    keys: &mut [Listed],
) -> Result<()> {
    pending.sort_unstable_by_key(|pending| pending.inode);
    let mut names = Names::new(directory);
    for Pending { index, .. } in pending {
        // The key beyond the page, which was looked for to know whether there is one, is gone already.
        let Some(listed) = keys.get_mut(index) else { continue };
        let component = &listed.key.as_bytes()[base_bytes..];
        listed.metadata = if layout::is_escaped(component) {
            inspect(directory, &component_path(component))?
        } else {
            inspect_name(&mut names, component)?
        };
    }
    Ok(())
}

/// Up to where a key (or all keys that start like this, when it is a directory's) is rolled up into a common prefix:
/// to the end of the first delimiter after the prefix of the request. `None`: it is not.
pub(in crate::storage) fn rolled_up(text: &[u8], prefix: &[u8], delimiter: &[u8]) -> Option<usize> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = text.strip_prefix(prefix)?;
    let found =
        if let [byte] = delimiter { memchr::memchr(*byte, rest) } else { memmem::find(rest, delimiter) };
    Some(prefix.len() + found? + delimiter.len())
}

/// The component of the top level that a key in it has.
fn component<'t>(levels: &[Level], text: &'t [u8]) -> &'t [u8] {
    let rest = &text[levels.last().map_or(0, |level| level.base_bytes)..];
    rest.split(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Where a component stands in its directory.
fn component_path(component: &[u8]) -> SmallVec<[u8; 256]> {
    let mut path = SmallVec::new();
    layout::push_component(component, &mut path);
    path
}

/// Appends a component to a path.
pub(super) fn push_path(path: &mut Vec<u8>, component: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(&component_path(component));
}

/// A level's directory, opened again if it was closed. `None`: it is gone.
fn reopened<'f>(
    fd: &'f mut Option<OwnedFd>,
    bucket: BorrowedFd<'_>,
    path: &[u8],
) -> Result<Option<BorrowedFd<'f>>> {
    if fd.is_none() {
        *fd = opened(bucket, if path.is_empty() { b"." } else { path })?;
    }
    Ok(fd.as_ref().map(AsFd::as_fd))
}

/// Means "after all that starts so" at the end of a bound: no key contains it, because keys are UTF-8.
pub(super) const AFTER_ALL: u8 = 0xFF;

/// Levels whose directories are open at the same time. A key of slashes has a thousand; those further up are opened
/// again when the walk comes back.
const OPEN_LEVELS_MAX: usize = 16;
