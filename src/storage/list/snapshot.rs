//! One directory, sorted: the entries that can be parts of keys, in the byte order of keys.
//!
//! A directory stands in it twice. Its own object, if it has one, sorts as `name`; what is inside sorts as `name/`; and
//! between the two other names may stand, such as `name-b`. Names are kept as parts of keys, that is unescaped.
//!
//! A directory that exceeds the window is kept in part: the entries from some name on, as many as fit. So memory does
//! not depend on how large a directory somebody makes; its pages then cost one more reading per window.

use std::cmp::Ordering;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use rustix::fs::{self, AtFlags, FileType, RawDir, SeekFrom, StatxFlags};
use rustix::io::Errno;
use smallvec::SmallVec;

use crate::storage::layout::{self, EntryName};

/// What an entry is to a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An object.
    File,
    /// A directory, at the place where its own object would stand.
    Own,
    /// A directory, at the place of what is inside.
    Directory,
    /// A directory of [`layout`]'s own, in which names that start like this one go on.
    Piece,
}

/// Where a directory stands in the escaping of long components.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Place {
    /// What all components in it start with; empty for every directory but a [`Kind::Piece`].
    pub(super) start: Vec<u8>,
    /// Where the pieces of `start` end.
    pub(super) cuts: SmallVec<[usize; 4]>,
}

impl Place {
    /// The place of the directory in which components go on after `piece`.
    pub(super) fn after(&self, piece: &[u8]) -> Self {
        let mut place = self.clone();
        place.start.extend_from_slice(piece);
        place.cuts.push(place.start.len());
        place
    }

    /// The path from the directory whose components these are.
    pub(super) fn path(&self) -> SmallVec<[u8; 256]> {
        let mut path = SmallVec::new();
        let mut from = 0;
        for cut in &self.cuts {
            if from > 0 {
                path.push(b'/');
            }
            layout::push_piece(&self.start[from..*cut], &mut path);
            from = *cut;
        }
        path
    }
}

/// The sorted entries of one directory, or a window of them.
#[derive(Default)]
pub(super) struct Snapshot {
    names: Box<[u8]>,
    entries: Box<[Packed]>,
    /// Whether there are [`Kind::Piece`]s in the directory, inside the window or not.
    pub(super) has_pieces: bool,
    /// Nothing that sorts before this is in the window.
    from: Box<[u8]>,
    /// Whether entries follow that had no room. There is at least one before them.
    is_cut: bool,
}

/// 16 bytes for each entry, beside its name.
#[derive(Clone, Copy)]
struct Packed {
    inode: u64,
    start: u32,
    length: u16,
    kind: Kind,
}

impl Snapshot {
    /// Reads the whole directory behind `fd`. If it exceeds `window_bytes`, what sorts before `from` is left out, and
    /// from there on what has no room.
    ///
    /// # Errors
    /// Those of reading a directory.
    pub(super) fn read(
        fd: BorrowedFd<'_>,
        place: &Place,
        from: &[u8],
        window_bytes: usize,
    ) -> rustix::io::Result<Self> {
        let mut collector = Collector::new(from, window_bytes);
        fs::seek(fd, SeekFrom::Start(0))?;
        let mut buffer = Vec::with_capacity(READ_BYTES);
        visit(fd, place, buffer.spare_capacity_mut(), |found, name, inode, _| {
            match found {
                Found::File => collector.push(Kind::File, name, inode),
                Found::Directory => {
                    collector.push(Kind::Own, name, inode);
                    collector.push(Kind::Directory, name, inode);
                }
                Found::Piece => {
                    collector.has_pieces = true;
                    collector.push(Kind::Piece, name, inode);
                }
                Found::OwnFile => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(collector.finish())
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    /// What it occupies, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.names.len() + self.entries.len() * size_of::<Packed>() + self.from.len() + size_of::<Self>()
    }

    /// One entry: what it is, its part of the key, its inode.
    pub(super) fn entry(&self, index: usize) -> Option<(Kind, &[u8], u64)> {
        let entry = self.entries.get(index)?;
        Some((entry.kind, entry.name(&self.names), entry.inode))
    }

    /// The first entry that does not sort before `bound`.
    pub(super) fn position(&self, bound: &[u8]) -> usize {
        self.entries.partition_point(|entry| entry.compare_with(&self.names, bound) == Ordering::Less)
    }

    /// Whether everything from `bound` up to the end of the window is here, and something may be.
    pub(super) fn covers(&self, bound: &[u8]) -> bool {
        *self.from <= *bound && (!self.is_cut || self.position(bound) < self.entries.len())
    }

    /// Whether this is a window, with more behind it.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Where the next window begins. `None`: there is none.
    pub(super) fn next_from(&self) -> Option<Vec<u8>> {
        let last = self.entries.last().filter(|_| self.is_cut)?;
        let mut from = last.name(&self.names).to_vec();
        from.extend_from_slice(if last.kind == Kind::Directory { b"/\0" } else { b"\0" });
        Some(from)
    }
}

impl Packed {
    fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        &names[start..start + usize::from(self.length)]
    }

    fn compare(&self, other: &Self, names: &[u8]) -> Ordering {
        let is_directory = |entry: &Self| entry.kind == Kind::Directory;
        compare(self.name(names), is_directory(self), other.name(names), is_directory(other))
    }

    fn compare_with(&self, names: &[u8], bound: &[u8]) -> Ordering {
        let name = self.name(names);
        match bound.split_at_checked(name.len()) {
            None => name.cmp(bound),
            Some((start, rest)) if self.kind == Kind::Directory => name.cmp(start).then(b"/"[..].cmp(rest)),
            Some((start, rest)) => name.cmp(start).then(b""[..].cmp(rest)),
        }
    }
}

/// Compares two names, each with a `/` after it if it is a directory's. Names themselves contain none.
pub(super) fn compare(one: &[u8], one_slash: bool, other: &[u8], other_slash: bool) -> Ordering {
    let common = one.len().min(other.len());
    let next = |name: &[u8], slash: bool| name.get(common).copied().or(slash.then_some(b'/'));
    one[..common].cmp(&other[..common]).then_with(|| next(one, one_slash).cmp(&next(other, other_slash)))
}

/// Gathers entries within the window.
struct Collector<'a> {
    names: Vec<u8>,
    entries: Vec<Packed>,
    has_pieces: bool,
    from: &'a [u8],
    window_bytes: usize,
    /// Whether what sorts before `from` is left out.
    is_raised: bool,
    /// The largest entry that is kept; what sorts after it is left out.
    cut: Option<(Vec<u8>, Packed)>,
}

impl<'a> Collector<'a> {
    fn new(from: &'a [u8], window_bytes: usize) -> Self {
        let window_bytes = window_bytes.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let (names, entries) = (Vec::new(), Vec::new());
        Self { names, entries, has_pieces: false, from, window_bytes, is_raised: false, cut: None }
    }

    fn push(&mut self, kind: Kind, name: &[u8], inode: u64) {
        // The window keeps the names' bytes far below 4 GiB, and a name has at most 255.
        let entry = Packed { inode, start: self.names.len() as u32, length: name.len() as u16, kind };
        self.names.extend_from_slice(name);
        let too_early = self.is_raised && entry.compare_with(&self.names, self.from) == Ordering::Less;
        let too_late = self.cut.as_ref().is_some_and(|(cut_name, cut)| {
            compare(name, kind == Kind::Directory, cut_name, cut.kind == Kind::Directory) == Ordering::Greater
        });
        if too_early || too_late {
            self.names.truncate(entry.start as usize);
            return;
        }
        self.entries.push(entry);
        if self.names.len() + self.entries.len() * size_of::<Packed>() > self.window_bytes {
            self.shrink();
        }
    }

    /// Makes room: first by leaving out what is not asked for, then by leaving out the later half.
    fn shrink(&mut self) {
        let (names, from) = (&self.names, self.from);
        let count = self.entries.len();
        if !self.is_raised && !from.is_empty() {
            self.is_raised = true;
            self.entries.retain(|entry| entry.compare_with(names, from) != Ordering::Less);
        }
        if self.entries.len() > count / 2 {
            let middle = self.entries.len() / 2;
            let (_, cut, _) =
                self.entries.select_nth_unstable_by(middle, |one, other| one.compare(other, names));
            let cut = *cut;
            // Entries that compare equal stay together, so that the next window can begin after them.
            self.entries.retain(|entry| entry.compare(&cut, names) != Ordering::Greater);
            self.cut = Some((cut.name(names).to_vec(), cut));
        }
        let mut kept = Vec::with_capacity(self.window_bytes / 2);
        for entry in &mut self.entries {
            let name = entry.name(names);
            entry.start = kept.len() as u32;
            kept.extend_from_slice(name);
        }
        self.names = kept;
    }

    fn finish(self) -> Snapshot {
        Snapshot {
            entries: sorted(&self.names, self.entries),
            names: self.names.into(),
            has_pieces: self.has_pieces,
            from: if self.is_raised { self.from.into() } else { Box::default() },
            is_cut: self.cut.is_some(),
        }
    }
}

/// Sorts by name. Names in one directory often start alike, so the eight bytes after what all have in common are put
/// beside each entry: they decide nearly every comparison without looking at the names (a third of the time).
fn sorted(names: &[u8], entries: Vec<Packed>) -> Box<[Packed]> {
    let Some(first) = entries.first().map(|entry| entry.name(names)) else {
        return Box::default();
    };
    let common = entries.iter().fold(first.len(), |common, entry| {
        let pairs = first[..common].iter().zip(entry.name(names));
        pairs.take_while(|(one, other)| one == other).count()
    });
    let mut decisive: Vec<(u64, Packed)> = entries
        .into_iter()
        .map(|entry| {
            let mut bytes = [0; 8];
            // Shorter names are filled up with zeroes, which may tie but never mislead.
            let rest = entry.name(names)[common..].iter();
            let slash = (entry.kind == Kind::Directory).then_some(&b'/');
            bytes.iter_mut().zip(rest.chain(slash)).for_each(|(slot, byte)| *slot = *byte);
            (u64::from_be_bytes(bytes), entry)
        })
        .collect();
    decisive.sort_unstable_by(|(one_bytes, one), (other_bytes, other)| {
        one_bytes.cmp(other_bytes).then_with(|| one.compare(other, names))
    });
    decisive.into_iter().map(|(_, entry)| entry).collect()
}

/// What stands in a directory, as far as it concerns keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    File,
    Directory,
    Piece,
    /// The object of the directory itself.
    OwnFile,
}

/// Calls `take` with each entry of the directory behind `fd`, in the order of the file system: what it is, its part of
/// the key, its inode, the place behind it. Everything that is no part of a key is left out: links, devices, FIFOs, sockets, temporaries,
/// names that are not UTF-8 or not canonical. True: `take` ended it.
pub(super) fn visit(
    fd: BorrowedFd<'_>,
    place: &Place,
    buffer: &mut [MaybeUninit<u8>],
    mut take: impl FnMut(Found, &[u8], u64, u64) -> ControlFlow<()>,
) -> rustix::io::Result<bool> {
    let mut directory = RawDir::new(fd, buffer);
    while let Some(entry) = directory.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::INTR) => continue,
            // Removed while it was read: it is empty.
            Err(Errno::NOENT | Errno::STALE) => break,
            Err(errno) => return Err(errno),
        };
        let raw_name = entry.file_name().to_bytes();
        let decoded = EntryName::decode(raw_name);
        if decoded == EntryName::Other {
            continue;
        }
        let file_type = match entry.file_type() {
            FileType::Unknown => type_of(fd, raw_name)?,
            file_type => file_type,
        };
        let whole = if file_type == FileType::RegularFile { Found::File } else { Found::Directory };
        if whole == Found::Directory && file_type != FileType::Directory {
            continue;
        }
        let (inode, after) = (entry.ino(), entry.next_entry_cookie());
        let flow = match &decoded {
            EntryName::Plain(name) if place.cuts.is_empty() => take(whole, name, inode, after),
            EntryName::Last(name) if is_canonical(place, name) => take(whole, name, inode, after),
            EntryName::Piece(name) if whole == Found::Directory => take(Found::Piece, name, inode, after),
            EntryName::Own if place.cuts.is_empty() && whole == Found::File => {
                take(Found::OwnFile, b"", inode, after)
            }
            _ => ControlFlow::Continue(()),
        };
        if flow.is_break() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a component that ends with `last` in this place is cut as [`layout`] would cut it.
fn is_canonical(place: &Place, last: &[u8]) -> bool {
    if place.cuts.is_empty() {
        return layout::is_cut(last, &[]);
    }
    let component = [&place.start, last].concat();
    layout::is_cut(&component, &place.cuts)
}

/// The type of an entry on file systems that do not say it when a directory is read.
fn type_of(fd: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<FileType> {
    match fs::statx(fd, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.stx_mode.into())),
        Err(Errno::NOENT | Errno::STALE | Errno::ACCESS) => Ok(FileType::Unknown),
        Err(errno) => Err(errno),
    }
}

/// What one system call reads of a directory: some 1,500 entries.
const READ_BYTES: usize = 64 * 1024;

/// A window has room for some entries, however small the cache is.
const WINDOW_BYTES_MIN: usize = 256;

/// Positions of names are kept in 32 bits.
const WINDOW_BYTES_MAX: usize = 1 << 30;
