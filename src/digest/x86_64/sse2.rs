//! Four MD5 streams in 128-bit vectors with SSE2, which every x86-64 processor has.
#![expect(unsafe_code, reason = "SIMD intrinsics and reads through one pointer per lane")]

use std::arch::x86_64::*;

use crate::digest::vector::Vector;

/// Four lanes; needs SSE2.
#[derive(Clone, Copy)]
pub(super) struct Sse2x4(__m128i);

impl Vector for Sse2x4 {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: u32) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { Self(_mm_set1_epi32(value.cast_signed())) }
    }

    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        // SAFETY: The caller promises the features and 4 readable words.
        unsafe { Self(_mm_loadu_si128(words.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        // SAFETY: The caller promises the features and 4 writable words.
        unsafe { _mm_storeu_si128(words.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { Self(_mm_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn rotate_left(self, bits: u32) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe {
            let left = _mm_sll_epi32(self.0, _mm_cvtsi32_si128(bits.cast_signed()));
            let right = _mm_srl_epi32(self.0, _mm_cvtsi32_si128((32 - bits).cast_signed()));
            Self(_mm_or_si128(left, right))
        }
    }

    #[inline(always)]
    unsafe fn add_f(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm_xor_si128(_mm_and_si128(_mm_xor_si128(c.0, d.0), b.0), d.0))) }
    }

    #[inline(always)]
    unsafe fn add_g(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm_xor_si128(_mm_and_si128(_mm_xor_si128(b.0, c.0), d.0), c.0))) }
    }

    #[inline(always)]
    unsafe fn add_h(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm_xor_si128(_mm_xor_si128(c.0, d.0), b.0))) }
    }

    #[inline(always)]
    unsafe fn add_i(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe {
            sum.add(Self(_mm_xor_si128(_mm_or_si128(b.0, _mm_xor_si128(d.0, _mm_set1_epi32(-1))), c.0)))
        }
    }

    #[inline(always)]
    unsafe fn block(inputs: *const *const u8) -> [Self; 16] {
        // SAFETY: The caller promises the features, and 4 pointers to 64 readable bytes each.
        let words = unsafe { transpose_x4(inputs) };
        let mut block = [Self(words[0]); 16];
        for (to, from) in block.iter_mut().zip(words) {
            *to = Self(from);
        }
        block
    }
}

/// Word `w` of the result holds word `w` of the block of each of 4 lanes.
///
/// # Safety
/// The processor has SSE2; `inputs` points at 4 pointers to 64 readable bytes each.
#[inline(always)]
pub(super) unsafe fn transpose_x4(inputs: *const *const u8) -> [__m128i; 16] {
    // SAFETY: Quarter `q` of lane `l` is the 16 bytes at `16 * q`, `q < 4`, within the 64 readable bytes.
    unsafe {
        let mut words = [_mm_setzero_si128(); 16];
        for quarter in 0..4 {
            let mut rows = [_mm_setzero_si128(); 4];
            for (lane, row) in rows.iter_mut().enumerate() {
                *row = _mm_loadu_si128((*inputs.add(lane)).add(16 * quarter).cast());
            }
            let low_01 = _mm_unpacklo_epi32(rows[0], rows[1]);
            let high_01 = _mm_unpackhi_epi32(rows[0], rows[1]);
            let low_23 = _mm_unpacklo_epi32(rows[2], rows[3]);
            let high_23 = _mm_unpackhi_epi32(rows[2], rows[3]);
            words[4 * quarter] = _mm_unpacklo_epi64(low_01, low_23);
            words[4 * quarter + 1] = _mm_unpackhi_epi64(low_01, low_23);
            words[4 * quarter + 2] = _mm_unpacklo_epi64(high_01, high_23);
            words[4 * quarter + 3] = _mm_unpackhi_epi64(high_01, high_23);
        }
        words
    }
}
