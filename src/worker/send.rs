//! Answers on their way to the socket.
//!
//! A small file goes out with its head in one write: its handler has read it behind the head, if it is in the page cache;
//! else it is read through the ring, so that a cold file never stalls the core. A large one is read a piece at a time if the
//! page cache has nearly all of it; else past it (O_DIRECT), several reads in flight, while the previous piece is being sent.
//! What is read again and again goes through the page cache instead, to stay there ([`Heat`](super::heat::Heat)). While
//! buffers are scarce a file goes on without holding one (`spare`).
//!
//! A program may change a file in place while it is sent. What follows the head is the content that the head speaks of, or
//! the answer breaks off: the file's size and time are compared once everything is read, before the last of it is sent.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::stream::{FuturesOrdered, StreamExt};
use rustix::fs::{self, OFlags};
use rustix::io::{IoSliceMut, ReadWriteFlags};

use super::Core;
use super::spare::send_sparingly;
use crate::limits::{self, DIRECT_ALIGNMENT, JOINED_BYTES_MAX, WARM_FILE_SHARE};
use crate::runtime::file::cached_bytes;
use crate::runtime::{AlignedBuf, Phase, RingFile, Stream, Watch, buffer, clock, memory};
use crate::s3::reply::{Body, FileRange, Reply};
use crate::storage;
use crate::storage::content::Content;
use crate::storage::object::FileId;

/// What became of an answer.
pub enum Sent {
    /// It is on its way.
    Whole,
    /// Nothing of it: another program changed the object's file under it. Another answer can be sent instead.
    Nothing(storage::Error),
}

/// Sends an answer. An error means that the connection cannot be used any more.
pub async fn send(
    core: &Core,
    stream: &mut Stream,
    watch: &Watch,
    stall: Duration,
    reply: Reply,
    keep_alive: bool,
    http10: bool,
) -> io::Result<Sent> {
    let (mut head, body) = reply.finish(keep_alive, http10);
    watch.allow(Phase::Peer, stall);
    let rest = match body {
        Body::Empty | Body::Omitted(_) | Body::Joined { .. } => None,
        Body::Bytes(bytes) => {
            debug_assert!(bytes.len() <= JOINED_BYTES_MAX, "a larger one has its share of the memory");
            head.extend_from_slice(&bytes);
            None
        }
        Body::File(range) if range.length <= JOINED_BYTES_MAX as u64 => {
            match read_whole(&mut head, range).await? {
                Ok(()) => None,
                Err(changed) => return Ok(Sent::Nothing(changed)),
            }
        }
        large => Some(large),
    };
    let (sent, head) = stream.write_answer(head).await;
    buffer::give_back_answer(head);
    sent?;
    match rest {
        Some(Body::Large(bytes, _share)) => stream.write(bytes).await?,
        // On the heap: an idle connection does not hold the room for it.
        Some(Body::File(range)) => Box::pin(send_file(core, stream, watch, stall, range)).await?,
        _ => {}
    }
    watch.working();
    Ok(Sent::Whole)
}

/// Appends a small range of a file to the head. The inner error: another program changed the file.
async fn read_whole(head: &mut BytesMut, range: FileRange) -> io::Result<storage::Result<()>> {
    let FileRange { file, offset, length, content, .. } = range;
    let file = RingFile::new(file)?;
    let buf = AlignedBuf::take_for(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let (read, buf) = file.read_at(buf, length as usize, offset).await;
    if read? < length as usize {
        return Ok(Err(Content::changed()));
    }
    head.extend_from_slice(&buf);
    Ok(content.check(file.as_fd()))
}

async fn send_file(
    core: &Core,
    stream: &mut Stream,
    watch: &Watch,
    stall: Duration,
    range: FileRange,
) -> io::Result<()> {
    if AlignedBuf::are_scarce() {
        let FileRange { file, offset, length, content, .. } = range;
        let file = RingFile::new(file)?;
        return send_sparingly(stream, watch, stall, &file, (offset, offset + length), content).await;
    }
    let through_cache = is_cached(range.file.as_fd(), range.offset, range.length)
        || !core.shared.service.root.capabilities.direct_io
        || is_worth_caching(core, range.file_id, range.length);
    if through_cache {
        return send_through_cache(stream, watch, stall, range).await;
    }
    let flags = fs::fcntl_getfl(&range.file)?;
    fs::fcntl_setfl(&range.file, flags | OFlags::DIRECT)?;
    send_directly(stream, watch, stall, range).await
}

/// One piece at a time through one buffer, which stays in the processor's caches. What is not in the page cache is read
/// through the ring. Several such reads at the same time would be slower: they keep the kernel from reading ahead in large
/// steps, and what it reads in small ones costs four times as much to copy ever after.
async fn send_through_cache(
    stream: &mut Stream,
    watch: &Watch,
    stall: Duration,
    range: FileRange,
) -> io::Result<()> {
    let FileRange { file, offset, length, content, .. } = range;
    let (mut at, end) = (offset, offset + length);
    let file = RingFile::new(file)?;
    let mut buf = AlignedBuf::take_for(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    while at < end && !AlignedBuf::are_scarce() {
        buf.clear();
        let wanted = buf.room().min((end - at) as usize);
        let cached = buf.append_with(wanted, |to| Ok::<_, io::Error>(read_cached(file.as_fd(), to, at)))?;
        if cached < wanted {
            let (read, back) = file.read_at(buf, wanted - cached, at + cached as u64).await;
            if read? < wanted - cached {
                return Err(io::Error::other(Content::changed()));
            }
            buf = back;
        }
        at += wanted as u64;
        if at == end {
            content.check(file.as_fd()).map_err(io::Error::other)?;
        }
        watch.allow(Phase::Peer, stall);
        let (sent, back) = stream.write_aligned(buf, 0).await;
        sent?;
        buf = back;
    }
    drop(buf);
    if at < end {
        return send_sparingly(stream, watch, stall, &file, (at, end), content).await;
    }
    Ok(())
}

/// Whether the page cache has nearly all of a range. It is looked at in a few places, because a look takes the longer the
/// more there is to see.
fn is_cached(file: BorrowedFd<'_>, offset: u64, length: u64) -> bool {
    let look = LOOK_BYTES.min(length);
    let last = length - look;
    let found = [0, last / 2, last].into_iter().map(|start| cached_bytes(file, offset + start, look));
    match found.sum::<Option<u64>>() {
        Some(found) => found >= 3 * look / 8 * 7,
        // The kernel does not say: the first byte stands for all. Asking for it makes the kernel read ahead.
        None => read_cached(file, &mut [0], offset) > 0,
    }
}

/// Whether a range of a file that is not in the page cache is to come there: it is read again and again, and leaves room
/// for others.
fn is_worth_caching(core: &Core, file: FileId, length: u64) -> bool {
    core.heat.read(file, length, clock::coarse())
        && memory::available_bytes().is_some_and(|available| file.stamp.size <= available / WARM_FILE_SHARE)
}

/// A range of a file, read in aligned pieces.
struct Pieces {
    offset: u64,
    end: u64,
}

impl Pieces {
    /// Where the next piece for a buffer of `room` bytes is read from, how much of it comes before the range, and how much of
    /// it is wanted.
    fn next(&mut self, room: usize) -> Option<(u64, usize, usize)> {
        if self.are_over() {
            return None;
        }
        let before = self.offset % DIRECT_ALIGNMENT as u64;
        let from = self.offset - before;
        let wanted = (self.end - self.offset).min(room as u64 - before);
        self.offset += wanted;
        Some((from, before as usize, wanted as usize))
    }

    fn are_over(&self) -> bool {
        self.offset >= self.end
    }
}

type PieceRead = Pin<Box<dyn Future<Output = (io::Result<usize>, AlignedBuf, usize, usize)>>>;

/// From a file that is open with O_DIRECT: several reads in flight, while the previous piece is being sent.
async fn send_directly(
    stream: &mut Stream,
    watch: &Watch,
    stall: Duration,
    range: FileRange,
) -> io::Result<()> {
    let FileRange { file, offset, length, content, .. } = range;
    let file = Rc::new(RingFile::new(file)?);
    let mut pieces = Pieces { offset, end: offset + length };
    let mut reads: FuturesOrdered<PieceRead> = FuturesOrdered::new();
    let start = |buf: AlignedBuf, (from, before, wanted): (u64, usize, usize)| -> PieceRead {
        let file = file.clone();
        Box::pin(async move {
            // A direct read has an aligned length too; the end of the file cuts it off.
            let length = (before + wanted).next_multiple_of(DIRECT_ALIGNMENT);
            let (read, buf) = file.read_at(buf, length, from).await;
            (read, buf, before, wanted)
        })
    };
    while reads.len() < limits::READS_IN_FLIGHT && !pieces.are_over() {
        match AlignedBuf::take_for(length) {
            Ok(buf) => reads.extend(pieces.next(buf.room()).map(|piece| start(buf, piece))),
            Err(_) if !reads.is_empty() => break,
            Err(_) => return Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
    while let Some((read, mut buf, before, wanted)) = reads.next().await {
        if read? < before + wanted {
            return Err(io::Error::other(Content::changed()));
        }
        if reads.is_empty() && pieces.are_over() {
            content.check(file.as_fd()).map_err(io::Error::other)?;
        }
        buf.truncate(before + wanted);
        watch.allow(Phase::Peer, stall);
        let (sent, mut buf) = stream.write_aligned(buf, before).await;
        sent?;
        buf.clear();
        if !AlignedBuf::are_scarce()
            && let Some(piece) = pieces.next(buf.room())
        {
            reads.push_back(start(buf, piece));
        }
    }
    if !pieces.are_over() {
        return send_sparingly(stream, watch, stall, &file, (pieces.offset, pieces.end), content).await;
    }
    Ok(())
}

/// Reads what the page cache has, without waiting for the disk.
pub(super) fn read_cached(file: BorrowedFd<'_>, to: &mut [u8], offset: u64) -> usize {
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(to)], offset, ReadWriteFlags::NOWAIT);
    // EAGAIN: not in the cache; EOPNOTSUPP: the file system cannot say. Both are read through the ring.
    read.unwrap_or(0)
}

/// What one look at the page cache takes in: some hundred pages.
const LOOK_BYTES: u64 = 1024 * 1024;
