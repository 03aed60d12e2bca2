//! Listing without an order: pages of keys as the directories hold them, for buckets whose profile says so.
//!
//! No directory is sorted or kept in memory, however large it is. A page is a walk that starts where the page before
//! ended: each directory on the way is entered again by its name and set to the place where it was left, which the file
//! system names (telldir(3)). So nothing is kept between pages, any gateway can go on, and what changes in between is
//! as in any readdir: a key that stays is listed exactly once, one that comes or goes meanwhile at most once.
//!
//! # Where this holds
//! It takes a file system whose directories keep the places of entries that stay, also while others come and go and the
//! directory grows: ext4 (places are hashes of names), XFS (offsets that never move) and btrfs (numbers that never come
//! again). [`keeps_places`] asks. Elsewhere, and for what needs an order (`start-after`, markers, delimiters other than
//! `/`), listings are sorted.
//!
//! A subtree deeper than [`DEPTH_MAX`] directories is listed in order, as a part of the whole, so that the directories
//! that are open at a time, and a position, are bounded.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;
use smallvec::SmallVec;

use super::cache::DirectoryCache;
use super::cursor::{Cursor, Item, Listed, Pending, push_path, read_pending};
use super::emptiness::holds_object;
use super::metadata::{inspect, is_absence};
use super::position::{At, Position, Step};
use super::snapshot::{Found, Place, visit};
use super::sources::{OP_READ, opened};
use super::{Entry, ListPage, ListRequest, bound};
use crate::limits::KEY_BYTES_MAX;
use crate::storage::error::{At as _, Result, Subject};
use crate::storage::layout::{self, ObjectKey, SELF_NAME};
use crate::storage::permission;

/// Which page of a bucket is wanted.
#[derive(Clone, Copy, Debug)]
pub struct UnsortedRequest<'a> {
    /// Only keys that start with this.
    pub prefix: &'a [u8],
    /// Whether keys that contain a `/` after the prefix are rolled up to it.
    pub rolls_up: bool,
    /// Where to go on. It belongs to the same prefix, or makes no sense.
    pub position: Option<&'a Position>,
    /// At most this many keys and common prefixes together.
    pub max_keys: usize,
}

/// Whether unsorted listings are to be had in this directory.
///
/// # Errors
/// The file system does not say what it is.
pub fn keeps_places(directory: BorrowedFd<'_>) -> Result<bool> {
    let stat = fs::fstatfs(directory).at(Subject::Bucket, "ask the file system what it is")?;
    Ok(KEEP_PLACES.contains(&(stat.f_type as u64)))
}

/// Lists one page of the bucket whose directory is `bucket`, and says where the next one begins. `None`: this was the
/// last one. The page's own `next` says nothing. It may have fewer keys than there is room for.
///
/// # Errors
/// The file system failed. Whatever it merely refuses to show is left out instead.
pub fn list_unsorted(
    bucket: BorrowedFd<'_>,
    cache: &DirectoryCache,
    request: &UnsortedRequest<'_>,
) -> Result<(ListPage, Option<Position>)> {
    let mut page = ListPage::default();
    // Every key asked for is in the directory of the prefix's last slash.
    let base_bytes = memchr::memrchr(b'/', request.prefix).map_or(0, |slash| slash + 1);
    if request.max_keys == 0 || base_bytes > KEY_BYTES_MAX {
        return Ok((page, None));
    }
    let mut path = Vec::new();
    if let Some(directory) = request.prefix[..base_bytes].strip_suffix(b"/") {
        for component in directory.split(|byte| *byte == b'/') {
            push_path(&mut path, component);
        }
    }
    let path = if path.is_empty() { b"." } else { &path[..] };
    permission::to_list(bucket, path)?;
    let Some(top) = opened(bucket, path)? else {
        return Ok((page, None));
    };
    let mut walk = Walk {
        bucket,
        cache,
        request,
        text: request.prefix[..base_bytes].to_vec(),
        steps: Vec::new(),
        keys: Vec::new(),
        prefixes: Vec::new(),
        full_at: None,
        buffers: Vec::new(),
    };
    let (steps, at) = request.position.map_or((&[][..], &At::BEGINNING), |it| (&it.steps[..], &it.at));
    let flow = walk.directory(top.as_fd(), &Place::default(), steps, at)?;
    page.entries = walk.keys.into_iter().filter_map(Entry::of).collect();
    page.common_prefixes = walk.prefixes;
    Ok((page, walk.full_at.filter(|_| flow.is_break())))
}

struct Walk<'a> {
    bucket: BorrowedFd<'a>,
    cache: &'a DirectoryCache,
    request: &'a UnsortedRequest<'a>,
    /// What the keys in the directory in question start with.
    text: Vec<u8>,
    /// The way to it from the directory of the prefix.
    steps: Vec<Step>,
    keys: Vec<Listed>,
    prefixes: Vec<Vec<u8>>,
    /// Where the walk stood when the page was full.
    full_at: Option<Position>,
    /// For reading directories; as many as the walk was ever deep.
    buffers: Vec<Vec<u8>>,
}

/// One directory of the walk.
#[derive(Clone, Copy)]
struct Here<'h> {
    fd: BorrowedFd<'h>,
    place: &'h Place,
}

impl Walk<'_> {
    /// Walks through a directory and what is below, from where `steps` and then `at` lead. Break: the page is full, and
    /// there is more.
    fn directory(
        &mut self,
        fd: BorrowedFd<'_>,
        place: &Place,
        steps: &[Step],
        at: &At,
    ) -> Result<ControlFlow<()>> {
        let here = Here { fd, place };
        let mut next = match (steps.split_first(), at) {
            (Some((step, rest)), _) => {
                if self.enter(here, step.clone(), rest, at)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                step.after
            }
            (None, At::Place { next, .. }) => *next,
            // Below such a position there is no directory to read.
            (None, At::Key(_)) => return Ok(ControlFlow::Continue(())),
        };
        match fs::seek(fd, SeekFrom::Start(next)) {
            Ok(_) => {}
            // No place of a directory.
            Err(Errno::INVAL | Errno::OVERFLOW) => return Ok(ControlFlow::Continue(())),
            Err(errno) => return Err(errno).at(Subject::Directory, OP_READ),
        }
        let told = match at {
            At::Place { told: Some(told), .. } if steps.is_empty() => Some(&**told),
            _ => None,
        };
        let mut first = told;
        let mut buffer = self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(READ_BYTES));
        let (mut pending, mut failure) = (Vec::new(), None);
        let take = |found: Found, name: &[u8], inode: u64, after: u64| {
            let own_is_told = first.take() == Some(name);
            let before = std::mem::replace(&mut next, after);
            let taken = match found {
                Found::File => self.file(here, name, inode, after, &mut pending),
                Found::OwnFile => self.own_file(here, after),
                Found::Directory if self.request.rolls_up => {
                    self.roll_up(here, name, own_is_told, before, after)
                }
                Found::Directory => {
                    self.enter(here, Step { is_piece: false, name: name.into(), after }, &[], &At::BEGINNING)
                }
                Found::Piece => {
                    self.enter(here, Step { is_piece: true, name: name.into(), after }, &[], &At::BEGINNING)
                }
            };
            taken.unwrap_or_else(|error| {
                failure = Some(error);
                ControlFlow::Break(())
            })
        };
        let is_ended = visit(fd, place, buffer.spare_capacity_mut(), take).at(Subject::Directory, OP_READ)?;
        self.buffers.push(buffer);
        if let Some(error) = failure {
            return Err(error);
        }
        read_pending(fd, self.text.len(), pending, &mut self.keys)?;
        Ok(if is_ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Takes a file: whether that goes on.
    fn file(
        &mut self,
        here: Here<'_>,
        name: &[u8],
        inode: u64,
        after: u64,
        pending: &mut Vec<Pending>,
    ) -> Result<ControlFlow<()>> {
        let key = [&self.text, &here.place.start, name].concat();
        let Some(key) = self.asked_for(&key) else { return Ok(ControlFlow::Continue(())) };
        if self.is_full() {
            return Ok(ControlFlow::Break(()));
        }
        let metadata = if here.place.cuts.is_empty() {
            pending.push(Pending { inode, index: self.keys.len() });
            None
        } else {
            let mut path = SmallVec::<[u8; 256]>::new();
            layout::push_last(name, &mut path);
            inspect(here.fd, &path)?
        };
        self.keys.push(Listed { key, metadata });
        self.note(|| At::Place { next: after, told: None });
        Ok(ControlFlow::Continue(()))
    }

    /// Takes the object whose key is the directory's own. That of the topmost one does not start with the prefix.
    fn own_file(&mut self, here: Here<'_>, after: u64) -> Result<ControlFlow<()>> {
        if self.steps.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let key = self.text.strip_suffix(b"/").unwrap_or(&self.text);
        let Some(key) = self.asked_for(key) else { return Ok(ControlFlow::Continue(())) };
        if self.is_full() {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(metadata) = inspect(here.fd, SELF_NAME)? {
            self.keys.push(Listed { key, metadata: Some(metadata) });
            self.note(|| At::Place { next: after, told: None });
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes a directory that stands for all that is in it: its own object, if there is one, and a common prefix.
    fn roll_up(
        &mut self,
        here: Here<'_>,
        name: &[u8],
        own_is_told: bool,
        before: u64,
        after: u64,
    ) -> Result<ControlFlow<()>> {
        let mut text = [&self.text, &here.place.start, name].concat();
        if !text.starts_with(self.request.prefix) {
            return Ok(ControlFlow::Continue(()));
        }
        let step = Step { is_piece: false, name: name.into(), after };
        let Some(fd) = opened(here.fd, &step.path(here.place))? else {
            return Ok(ControlFlow::Continue(()));
        };
        if !own_is_told
            && let Some(key) = self.asked_for(&text)
            && let Some(metadata) = inspect(fd.as_fd(), SELF_NAME)?
        {
            if self.is_full() {
                return Ok(ControlFlow::Break(()));
            }
            self.keys.push(Listed { key, metadata: Some(metadata) });
            self.note(|| At::Place { next: before, told: Some(name.into()) });
        }
        text.push(b'/');
        if text.len() > KEY_BYTES_MAX || !holds_object(fd.as_fd(), text.len())? {
            return Ok(ControlFlow::Continue(()));
        }
        if self.is_full() {
            return Ok(ControlFlow::Break(()));
        }
        self.prefixes.push(text);
        self.note(|| At::Place { next: after, told: None });
        Ok(ControlFlow::Continue(()))
    }

    /// Walks through a directory below, from where `steps` and then `at` lead.
    fn enter(&mut self, here: Here<'_>, step: Step, steps: &[Step], at: &At) -> Result<ControlFlow<()>> {
        let base_bytes = self.text.len();
        let place = if step.is_piece { here.place.after(&step.name) } else { Place::default() };
        if step.is_piece {
            // In such a directory the components go on, and no key is complete.
            let start = [&self.text[..], &place.start].concat();
            let prefix = self.request.prefix;
            if !start.starts_with(prefix) && !prefix.starts_with(&start) {
                return Ok(ControlFlow::Continue(()));
            }
        } else {
            let more = here.place.start.len() + step.name.len();
            if base_bytes + more > KEY_BYTES_MAX {
                return Ok(ControlFlow::Continue(()));
            }
            self.text.extend_from_slice(&here.place.start);
            self.text.extend_from_slice(&step.name);
            self.text.push(b'/');
        }
        let directory = match self.text.starts_with(self.request.prefix) || step.is_piece {
            true => opened(here.fd, &step.path(here.place))?,
            false => None,
        };
        let is_deep = self.steps.iter().filter(|step| !step.is_piece).count() >= DEPTH_MAX && !step.is_piece;
        self.steps.push(step);
        let flow = match directory {
            None => ControlFlow::Continue(()),
            Some(directory) if is_deep => self.subtree(&directory, at)?,
            Some(directory) => self.directory(directory.as_fd(), &place, steps, at)?,
        };
        self.steps.pop();
        self.text.truncate(base_bytes);
        Ok(flow)
    }

    /// Lists a whole subtree in order: its directory's own object, and all keys below.
    fn subtree(&mut self, directory: &OwnedFd, at: &At) -> Result<ControlFlow<()>> {
        let own = self.text.strip_suffix(b"/").unwrap_or(&self.text).to_vec();
        let after = match at {
            At::Key(key) => key.clone(),
            At::Place { .. } => {
                if let Some(key) = self.asked_for(&own)
                    && let Some(metadata) = inspect(directory.as_fd(), SELF_NAME)?
                {
                    if self.is_full() {
                        return Ok(ControlFlow::Break(()));
                    }
                    self.keys.push(Listed { key, metadata: Some(metadata) });
                    self.note(|| At::Key(own.clone()));
                }
                own
            }
        };
        let prefix = self.text.clone();
        let request = ListRequest { prefix: &prefix, delimiter: b"", start_after: &after, max_keys: 1 };
        let Some(bound) = bound(&request) else { return Ok(ControlFlow::Continue(())) };
        let mut cursor = match Cursor::start(self.bucket, self.cache, &prefix, b"", bound) {
            // As any directory that the user may not read.
            Err(error) if is_absence(error.errno) => return Ok(ControlFlow::Continue(())),
            started => started?,
        };
        let (mut count, room) = (0, self.request.max_keys - self.keys.len() - self.prefixes.len());
        let mut last = Vec::new();
        let mut flow = ControlFlow::Continue(());
        while let Some(Item::Key) = cursor.next()? {
            if count == room {
                flow = ControlFlow::Break(());
                break;
            }
            count += 1;
            last.clear();
            last.extend_from_slice(cursor.text());
        }
        self.keys.extend(cursor.finish(count)?);
        if count > 0 {
            self.note(|| At::Key(last));
        }
        Ok(flow)
    }

    /// The key of this text, if it is asked for.
    fn asked_for(&self, text: &[u8]) -> Option<ObjectKey> {
        text.starts_with(self.request.prefix).then(|| ObjectKey::parse(text).ok()).flatten()
    }

    fn is_full(&self) -> bool {
        self.keys.len() + self.prefixes.len() >= self.request.max_keys
    }

    /// Notes where the walk stands if what was just taken has filled the page.
    fn note(&mut self, at: impl FnOnce() -> At) {
        if self.is_full() {
            self.full_at = Some(Position { steps: self.steps.clone(), at: at() });
        }
    }
}

/// What one system call reads of a directory: some hundred entries, so that the last one of a page reads little in vain.
const READ_BYTES: usize = 16 * 1024;

/// Directories below each other that are open at the same time.
pub(super) const DEPTH_MAX: usize = 16;

/// ext4 (and 2 and 3), XFS, btrfs (statfs(2)).
const KEEP_PLACES: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

#[cfg(test)]
mod tests;
