//! Page-aligned transfer buffers, recycled per core.
//!
//! One buffer is what a socket read fills, hashes read and an O_DIRECT write takes: a body is never copied. The
//! buffers of a core are counted, so that memory is a function of [`limits`] and not of the load.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use bytes::BytesMut;
use monoio::buf::{IoBuf, IoBufMut};

use super::gate::{self, Pass};
use crate::limits::{self, BUFFERED_BYTES_MAX, DIRECT_ALIGNMENT, TRANSFER_BYTES};

/// A buffer at a multiple of [`DIRECT_ALIGNMENT`]; its first `len` bytes are content.
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
    size: Size,
}

/// The sizes of buffers: a small body must not occupy the memory of a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    const fn bytes(self) -> usize {
        match self {
            Size::Small => BUFFERED_BYTES_MAX,
            Size::Medium => TRANSFER_BYTES,
            Size::Large => limits::LARGE_TRANSFER_BYTES,
        }
    }

    const fn layout(self) -> Layout {
        match Layout::from_size_align(self.bytes(), DIRECT_ALIGNMENT) {
            Ok(layout) => layout,
            Err(_) => panic!("the alignment is a power of two"),
        }
    }

    const fn kept(self) -> usize {
        match self {
            Size::Small => limits::SMALL_BUFFERS_KEPT,
            Size::Medium => limits::TRANSFER_BUFFERS_KEPT,
            Size::Large => limits::LARGE_BUFFERS_KEPT,
        }
    }
}

const SMALL_MAX: u64 = BUFFERED_BYTES_MAX as u64;
const LARGE_MIN: u64 = limits::LARGE_BODY_BYTES_MIN;

/// The core has handed out all the memory it may ([`limits::TRANSFER_MEMORY_MAX`]): answer 503 SlowDown.
#[derive(Debug)]
pub struct Exhausted;

/// A buffer that is lent for a moment.
pub struct Spare {
    /// It must not be kept when this is dropped.
    pub buf: AlignedBuf,
    _pass: Pass,
}

thread_local! {
    static FREE: [RefCell<Vec<AlignedBuf>>; 3] = const { [const { RefCell::new(Vec::new()) }; 3] };
    static HANDED_OUT_BYTES: Cell<usize> = const { Cell::new(0) };
    static ANSWERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

impl AlignedBuf {
    /// An empty buffer of [`TRANSFER_BYTES`], recycled if the core has one.
    pub fn take() -> Result<AlignedBuf, Exhausted> {
        AlignedBuf::take_of(Size::Medium)
    }

    /// An empty buffer for content of `bytes`, or for a piece of it if that is more than a buffer holds. Long content has
    /// larger pieces, as long as the core has handed out little.
    pub fn take_for(bytes: u64) -> Result<AlignedBuf, Exhausted> {
        let larger = HANDED_OUT_BYTES.get() + limits::LARGE_TRANSFER_BYTES;
        AlignedBuf::take_of(match bytes {
            0..=SMALL_MAX => Size::Small,
            LARGE_MIN.. if larger <= limits::LARGE_TRANSFER_MEMORY_MAX => Size::Large,
            _ => Size::Medium,
        })
    }

    /// Whether so many are handed out that nobody should hold one while a peer may keep it.
    pub fn are_scarce() -> bool {
        HANDED_OUT_BYTES.get() > limits::TRANSFER_MEMORY_SCARCE
    }

    /// An empty buffer of [`TRANSFER_BYTES`] for a moment in which no peer is waited for, however many others are handed
    /// out. It may take other such moments to come by.
    pub async fn take_spare() -> Spare {
        let pass = gate::spare_buffer().await;
        Spare { buf: AlignedBuf::hand_out(Size::Medium), _pass: pass }
    }

    fn take_of(size: Size) -> Result<AlignedBuf, Exhausted> {
        if HANDED_OUT_BYTES.get() + size.bytes() > limits::TRANSFER_MEMORY_MAX {
            return Err(Exhausted);
        }
        Ok(AlignedBuf::hand_out(size))
    }

    fn hand_out(size: Size) -> AlignedBuf {
        HANDED_OUT_BYTES.set(HANDED_OUT_BYTES.get() + size.bytes());
        let recycled = FREE.with(|free| free[size as usize].borrow_mut().pop());
        let mut buf = recycled.unwrap_or_else(|| AlignedBuf::allocate(size));
        buf.len = 0;
        buf
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.size.bytes() - self.len
    }

    /// Forgets the content.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Cuts the content to its first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends as much of `bytes` as fits and returns how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        let start = self.len;
        self.len += count;
        self[start..].copy_from_slice(&bytes[..count]);
        count
    }

    /// Appends up to `count` bytes which `fill` produces into the memory it is given; it returns how many it wrote.
    pub fn append_with<E>(
        &mut self,
        count: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let start = self.len;
        let count = count.min(self.room());
        self.len += count;
        let filled = fill(&mut self[start..]);
        self.len = start + *filled.as_ref().unwrap_or(&0).min(&count);
        filled
    }

    /// The part of the memory that an operation reads from or writes to, as a value that owns the buffer.
    pub(super) fn window(self, start: usize, end: usize) -> Window {
        assert!(start <= end && end <= self.size.bytes(), "the window lies inside the buffer");
        Window { buf: self, start, end }
    }

    fn allocate(size: Size) -> AlignedBuf {
        // SAFETY: none of the sizes is zero.
        let start = unsafe { alloc_zeroed(size.layout()) };
        match NonNull::new(start) {
            Some(start) => AlignedBuf { start, len: 0, size },
            None => handle_alloc_error(size.layout()),
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        debug_assert!(self.len <= self.size.bytes());
        // SAFETY: `start` points at `size` bytes that were zeroed when allocated and are owned by `self`; `len` never
        // exceeds that.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        debug_assert!(self.len <= self.size.bytes());
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let size = self.size;
        HANDED_OUT_BYTES.set(HANDED_OUT_BYTES.get().saturating_sub(size.bytes()));
        let kept = FREE.try_with(|free| match free[size as usize].try_borrow_mut() {
            Ok(mut free) if free.len() < size.kept() => {
                free.push(AlignedBuf { start: self.start, len: 0, size });
                true
            }
            _ => false,
        });
        if kept != Ok(true) {
            // SAFETY: `start` came from `alloc_zeroed` with this layout, and nobody else owns it: it was not put back.
            unsafe { dealloc(self.start.as_ptr(), size.layout()) };
        }
    }
}

/// A range of a buffer that an operation in flight owns; nobody can name the buffer in between.
pub(super) struct Window {
    buf: AlignedBuf,
    start: usize,
    end: usize,
}

impl Window {
    pub(super) fn into_inner(self) -> AlignedBuf {
        self.buf
    }

    /// The buffer with `count` bytes more than before the window.
    pub(super) fn into_filled(mut self, count: usize) -> AlignedBuf {
        self.buf.len = (self.start + count).min(self.end);
        self.buf
    }
}

// SAFETY: the memory is on the heap and does not move with the value, and `start..end` lies inside the
// initialized bytes (asserted in `window`).
unsafe impl IoBuf for Window {
    fn read_ptr(&self) -> *const u8 {
        // SAFETY: `start` is at most the size of the allocation.
        unsafe { self.buf.start.as_ptr().add(self.start) }
    }

    fn bytes_init(&self) -> usize {
        self.end - self.start
    }
}

// SAFETY: as for `IoBuf`. All bytes are initialized already, so `set_init` has nothing to record.
unsafe impl IoBufMut for Window {
    fn write_ptr(&mut self) -> *mut u8 {
        // SAFETY: as in `read_ptr`.
        unsafe { self.buf.start.as_ptr().add(self.start) }
    }

    fn bytes_total(&mut self) -> usize {
        self.end - self.start
    }

    unsafe fn set_init(&mut self, _position: usize) {}
}

/// A buffer for the head of an answer and a small body behind it, recycled if the core has one.
pub fn take_answer() -> BytesMut {
    let recycled = ANSWERS.with(|free| free.borrow_mut().pop());
    recycled.unwrap_or_else(|| BytesMut::with_capacity(limits::ANSWER_BUFFER_BYTES))
}

/// Gives the buffer of an answer back once that is sent. Those that grew larger go back to the allocator.
pub fn give_back_answer(mut answer: BytesMut) {
    answer.clear();
    if answer.capacity() == limits::ANSWER_BUFFER_BYTES {
        let _ = ANSWERS.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < limits::ANSWER_BUFFERS_KEPT {
                free.push(answer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_recycled_and_counted() {
        let mut first = AlignedBuf::take().unwrap();
        assert_eq!(first.start.as_ptr() as usize % DIRECT_ALIGNMENT, 0);
        assert_eq!(first.append(&[7; 100]), 100);
        assert_eq!(first.room(), TRANSFER_BYTES - 100);
        let address = first.start;
        drop(first);
        let again = AlignedBuf::take().unwrap();
        assert_eq!((again.start, again.len), (address, 0));
        let all: Vec<_> = std::iter::from_fn(|| AlignedBuf::take().ok()).collect();
        assert_eq!(all.len(), limits::TRANSFER_MEMORY_MAX / TRANSFER_BYTES - 1);
        assert!(AlignedBuf::take().is_err());
        drop(all);
        assert!(AlignedBuf::take().is_ok());
    }

    #[test]
    fn small_content_gets_a_small_buffer() {
        let sizes = [0, SMALL_MAX, SMALL_MAX + 1, LARGE_MIN - 1];
        let rooms = sizes.map(|bytes| AlignedBuf::take_for(bytes).unwrap().room());
        assert_eq!(rooms, [BUFFERED_BYTES_MAX, BUFFERED_BYTES_MAX, TRANSFER_BYTES, TRANSFER_BYTES]);
    }

    #[test]
    fn long_content_gets_large_buffers_while_there_are_some() {
        let large = limits::LARGE_TRANSFER_MEMORY_MAX / limits::LARGE_TRANSFER_BYTES;
        for bytes in [LARGE_MIN, u64::MAX] {
            let all: Vec<_> = std::iter::from_fn(|| AlignedBuf::take_for(bytes).ok()).collect();
            let rooms: Vec<_> = all.iter().map(AlignedBuf::room).collect();
            assert!(rooms[..large].iter().all(|room| *room == limits::LARGE_TRANSFER_BYTES));
            assert!(rooms[large..].iter().all(|room| *room == TRANSFER_BYTES));
            assert_eq!(rooms.iter().sum::<usize>(), limits::TRANSFER_MEMORY_MAX);
        }
        assert_eq!(HANDED_OUT_BYTES.get(), 0);
    }

    #[test]
    fn append_stops_at_the_end() {
        let mut buf = AlignedBuf::take().unwrap();
        assert_eq!(buf.append(&vec![1; TRANSFER_BYTES - 1]), TRANSFER_BYTES - 1);
        assert_eq!(buf.append(b"abc"), 1);
        assert_eq!(buf[TRANSFER_BYTES - 1], b'a');
        buf.truncate(2);
        assert_eq!(
            buf.append_with(10, |to| {
                to.fill(9);
                Ok::<_, ()>(4)
            }),
            Ok(4)
        );
        assert_eq!(&buf[..], &[1, 1, 9, 9, 9, 9]);
    }
}
