//! Eight MD5 streams in 256-bit vectors with AVX2.
#![expect(unsafe_code, reason = "SIMD intrinsics and reads through one pointer per lane")]

use std::arch::x86_64::*;

use crate::digest::vector::Vector;

/// Eight lanes; needs AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2x8(__m256i);

impl Vector for Avx2x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: u32) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { Self(_mm256_set1_epi32(value.cast_signed())) }
    }

    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        // SAFETY: The caller promises the features and 8 readable words.
        unsafe { Self(_mm256_loadu_si256(words.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        // SAFETY: The caller promises the features and 8 writable words.
        unsafe { _mm256_storeu_si256(words.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { Self(_mm256_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn rotate_left(self, bits: u32) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe {
            let left = _mm256_sll_epi32(self.0, _mm_cvtsi32_si128(bits.cast_signed()));
            let right = _mm256_srl_epi32(self.0, _mm_cvtsi32_si128((32 - bits).cast_signed()));
            Self(_mm256_or_si256(left, right))
        }
    }

    #[inline(always)]
    unsafe fn add_f(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(c.0, d.0), b.0), d.0))) }
    }

    #[inline(always)]
    unsafe fn add_g(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm256_xor_si256(_mm256_and_si256(_mm256_xor_si256(b.0, c.0), d.0), c.0))) }
    }

    #[inline(always)]
    unsafe fn add_h(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm256_xor_si256(_mm256_xor_si256(c.0, d.0), b.0))) }
    }

    #[inline(always)]
    unsafe fn add_i(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe {
            sum.add(Self(_mm256_xor_si256(
                _mm256_or_si256(b.0, _mm256_xor_si256(d.0, _mm256_set1_epi32(-1))),
                c.0,
            )))
        }
    }

    #[inline(always)]
    unsafe fn block(inputs: *const *const u8) -> [Self; 16] {
        // SAFETY: The caller promises the features, and 8 pointers to 64 readable bytes each.
        let words = unsafe { transpose_x8(inputs) };
        let mut block = [Self(words[0]); 16];
        for (to, from) in block.iter_mut().zip(words) {
            *to = Self(from);
        }
        block
    }
}

/// Word `w` of the result holds word `w` of the block of each of 8 lanes.
///
/// Lanes 4 to 7 are loaded into the upper half of the row of lanes 0 to 3, so that no shuffle crosses a half.
///
/// # Safety
/// The processor has AVX2; `inputs` points at 8 pointers to 64 readable bytes each.
#[inline(always)]
pub(super) unsafe fn transpose_x8(inputs: *const *const u8) -> [__m256i; 16] {
    // SAFETY: Quarter `q` of lane `l` is the 16 bytes at `16 * q`, `q < 4`, within the 64 readable bytes.
    unsafe {
        let mut words = [_mm256_setzero_si256(); 16];
        for quarter in 0..4 {
            let mut rows = [_mm256_setzero_si256(); 4];
            for (lane, row) in rows.iter_mut().enumerate() {
                let low = _mm_loadu_si128((*inputs.add(lane)).add(16 * quarter).cast());
                let high = _mm_loadu_si128((*inputs.add(lane + 4)).add(16 * quarter).cast());
                *row = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            }
            let low_01 = _mm256_unpacklo_epi32(rows[0], rows[1]);
            let high_01 = _mm256_unpackhi_epi32(rows[0], rows[1]);
            let low_23 = _mm256_unpacklo_epi32(rows[2], rows[3]);
            let high_23 = _mm256_unpackhi_epi32(rows[2], rows[3]);
            words[4 * quarter] = _mm256_unpacklo_epi64(low_01, low_23);
            words[4 * quarter + 1] = _mm256_unpackhi_epi64(low_01, low_23);
            words[4 * quarter + 2] = _mm256_unpacklo_epi64(high_01, high_23);
            words[4 * quarter + 3] = _mm256_unpackhi_epi64(high_01, high_23);
        }
        words
    }
}
