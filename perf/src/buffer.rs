//! A page-aligned buffer for direct files and sockets, owned by the operation it is in.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use monoio::buf::{IoBuf, IoBufMut};

/// What O_DIRECT asks of addresses, offsets and lengths.
pub const ALIGNMENT: usize = 4096;

/// Zeroed memory at a multiple of [`ALIGNMENT`]; the first `len` bytes take part in operations.
pub struct Aligned {
    start: NonNull<u8>,
    bytes: usize,
    begin: usize,
    end: usize,
}

impl Aligned {
    /// A buffer of `bytes`, all of which take part.
    ///
    /// # Panics
    /// `bytes` is zero or no multiple of the alignment.
    pub fn new(bytes: usize) -> Aligned {
        assert!(bytes > 0 && bytes.is_multiple_of(ALIGNMENT), "whole pages");
        // SAFETY: the layout's size is not zero, as asserted.
        let start = unsafe { alloc_zeroed(layout(bytes)) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout(bytes)));
        Aligned { start, bytes, begin: 0, end: bytes }
    }

    /// The part that the next operation reads or fills.
    ///
    /// # Panics
    /// It does not lie inside the buffer.
    pub fn select(&mut self, begin: usize, end: usize) {
        assert!(begin <= end && end <= self.bytes, "inside the buffer");
        (self.begin, self.end) = (begin, end);
    }

    /// How many bytes there are in all.
    pub fn capacity(&self) -> usize {
        self.bytes
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGNMENT).expect("a page is a power of two")
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `begin..end` lies inside the allocation (`select`), which is initialized and owned by `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(self.begin), self.end - self.begin) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(self.begin), self.end - self.begin) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: it came from `alloc_zeroed` with this layout.
        unsafe { dealloc(self.start.as_ptr(), layout(self.bytes)) }
    }
}

// SAFETY: the memory is on the heap and does not move with the value; `begin..end` lies inside it and is initialized.
unsafe impl IoBuf for Aligned {
    fn read_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as for `IoBuf`; there is nothing to record about initialization.
unsafe impl IoBufMut for Aligned {
    fn write_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.len()
    }

    unsafe fn set_init(&mut self, _position: usize) {}
}

// SAFETY: as for monoio's traits above: stable heap memory, initialized as a whole.
unsafe impl tokio_uring::buf::IoBuf for Aligned {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }

    fn bytes_total(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above.
unsafe impl tokio_uring::buf::IoBufMut for Aligned {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    unsafe fn set_init(&mut self, _position: usize) {}
}
