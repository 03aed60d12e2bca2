//! Where the walk stands in one directory of keys.
//!
//! A directory of keys is one directory of the file system, unless components over 255 bytes stand in it: those go on
//! in directories of their own. What comes next is then the smallest entry of several sorted snapshots. How many is
//! bounded: all that are entered at a time start alike.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use smallvec::SmallVec;

use super::cache::DirectoryCache;
use super::metadata::is_absence;
use super::snapshot::{Kind, Place, Snapshot, compare};
use crate::storage::error::{At, Result, Subject};
use crate::storage::{layout, walk};

/// Where in the directory the walk stands.
pub(super) enum Sources {
    /// Not read yet: the first entry of interest is the one that does not sort before this.
    Unread(Vec<u8>),
    /// The directory itself comes first, for good; then those in which long components go on, while the walk is in them.
    Read(SmallVec<[Source; 1]>),
}

pub(super) struct Source {
    pub(super) place: Place,
    snapshot: Arc<Snapshot>,
    pub(super) index: usize,
}

impl Sources {
    /// Brings the source that comes next to where it shows an entry: reads the directory, its next window, or the
    /// directory in which components go on. `bound` is what is left of the walk's bound here. False: nothing is left.
    pub(super) fn prepare(
        &mut self,
        fd: BorrowedFd<'_>,
        cache: &DirectoryCache,
        bound: &[u8],
    ) -> Result<bool> {
        let sources = match self {
            Self::Unread(from) => {
                let from = std::mem::take(from);
                self.seek(fd, cache, &from)?;
                return Ok(true);
            }
            Self::Read(sources) => sources,
        };
        // A window that has run out comes first: what follows in it may be the smallest.
        let run_out = sources.iter_mut().find_map(|source| Some((source.next_window()?, source)));
        if let Some((from, source)) = run_out {
            source.snapshot = read(fd, cache, &source.place, &from)?;
            source.index = source.snapshot.position(&from);
            return Ok(true);
        }
        let Some((at, Kind::Piece, name, _)) = first(sources) else {
            return Ok(false);
        };
        let place = sources[at].place.after(name);
        sources[at].index += 1;
        // The walk may have started inside it.
        if !sources.iter().any(|source| source.place == place) {
            let from = remainder(bound, &place.start);
            let snapshot = read(fd, cache, &place, from)?;
            let index = snapshot.position(from);
            sources.push(Source { place, snapshot, index });
        }
        Ok(true)
    }

    /// Goes to the first entry that does not sort before `from`, and is not before where the walk stands.
    pub(super) fn seek(&mut self, fd: BorrowedFd<'_>, cache: &DirectoryCache, from: &[u8]) -> Result<()> {
        let place = Place::default();
        let mut main = match self {
            Self::Read(sources) if sources[0].snapshot.covers(from) => sources.swap_remove(0),
            _ => Source { snapshot: read(fd, cache, &place, from)?, index: 0, place: Place::default() },
        };
        main.index = main.index.max(main.snapshot.position(from));
        let has_pieces = main.snapshot.has_pieces;
        let mut sources = SmallVec::new();
        sources.push(main);
        if has_pieces {
            enter_pieces(fd, cache, &place, from, &mut sources)?;
        }
        *self = Self::Read(sources);
        Ok(())
    }
}

impl Source {
    pub(super) fn is_finished(&self) -> bool {
        self.index >= self.snapshot.count() && !self.snapshot.is_cut()
    }

    /// Where the next window begins, if this one has run out.
    fn next_window(&self) -> Option<Vec<u8>> {
        if self.index < self.snapshot.count() { None } else { self.snapshot.next_from() }
    }
}

/// The smallest entry of all sources: whose it is, what it is, its name and its inode.
pub(super) fn first(sources: &[Source]) -> Option<(usize, Kind, &[u8], u64)> {
    if let [source] = sources {
        let (kind, name, inode) = source.snapshot.entry(source.index)?;
        return Some((0, kind, name, inode));
    }
    // Where a window has run out, nothing is known until the next one is read.
    if sources.iter().any(|source| source.next_window().is_some()) {
        return None;
    }
    let entries = sources.iter().enumerate().filter_map(|(at, source)| {
        let (kind, name, inode) = source.snapshot.entry(source.index)?;
        Some((at, kind, name, inode))
    });
    entries.min_by(|(one_at, one_kind, one, _), (other_at, other_kind, other, _)| {
        let whole = |at: usize, name: &[u8]| [&sources[at].place.start, name].concat();
        let is_directory = |kind: &Kind| *kind == Kind::Directory;
        let (one, other) = (whole(*one_at, one), whole(*other_at, other));
        compare(&one, is_directory(one_kind), &other, is_directory(other_kind))
    })
}

/// Adds the sources that start before `from` and may hold what does not: those that `from` starts like.
fn enter_pieces(
    fd: BorrowedFd<'_>,
    cache: &DirectoryCache,
    place: &Place,
    from: &[u8],
    sources: &mut SmallVec<[Source; 1]>,
) -> Result<()> {
    let name = from.split(|byte| *byte == b'/').next().unwrap_or_default();
    for end in layout::first_piece_ends(name) {
        // What ends with the mark after all is no part of a key.
        if std::str::from_utf8(&name[..end]).is_err() {
            continue;
        }
        let (place, from) = (place.after(&name[..end]), &from[end..]);
        let snapshot = read(fd, cache, &place, from)?;
        let (index, has_pieces) = (snapshot.position(from), snapshot.has_pieces);
        if has_pieces {
            enter_pieces(fd, cache, &place, from, sources)?;
        }
        sources.push(Source { place, snapshot, index });
    }
    Ok(())
}

/// The sorted directory of a place of a level. One that is not there is empty.
fn read(level: BorrowedFd<'_>, cache: &DirectoryCache, place: &Place, from: &[u8]) -> Result<Arc<Snapshot>> {
    if place.cuts.is_empty() {
        return cache.snapshot(level, from).at(Subject::Directory, OP_READ);
    }
    // These are rare, and what is an object in them depends on their names: they are not worth a place in the cache.
    let snapshot = match opened(level, &place.path())? {
        Some(fd) => {
            Snapshot::read(fd.as_fd(), place, from, cache.window_bytes()).at(Subject::Directory, OP_READ)?
        }
        None => Snapshot::default(),
    };
    Ok(Arc::new(snapshot))
}

/// A directory beneath another. `None`: there is none, or none that could be listed.
pub(super) fn opened(directory: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>> {
    match walk::open_beneath(directory, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(fd) => Ok(Some(fd)),
        Err(errno) if is_absence(errno) => Ok(None),
        Err(errno) => Err(errno).at(Subject::Directory, "open a directory to list it"),
    }
}

/// What is left of a bound for what starts with `start`. Where it starts otherwise it is smaller, and excludes nothing.
pub(super) fn remainder<'b>(bound: &'b [u8], start: &[u8]) -> &'b [u8] {
    bound.strip_prefix(start).unwrap_or_default()
}

/// The bytes up to the first slash, with it.
pub(super) fn first_component(bytes: &[u8]) -> &[u8] {
    memchr::memchr(b'/', bytes).map_or(bytes, |slash| &bytes[..=slash])
}

pub(super) const OP_READ: &str = "read a directory to list it";
