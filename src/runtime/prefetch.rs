//! Hints to the processor.

/// Says that `value` is going to be looked at in a moment: what of it is in memory alone is brought into the processor's
/// caches meanwhile. At most the first [`BYTES_MAX`] bytes; nothing else happens.
#[inline]
pub fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for offset in (0..size_of_val(value).min(BYTES_MAX)).step_by(LINE_BYTES) {
            // SAFETY: the offset is below the size of `value`. A prefetch neither reads nor faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// More lines than that are more than a processor fetches at a time.
pub const BYTES_MAX: usize = 1024;
const LINE_BYTES: usize = 64;
