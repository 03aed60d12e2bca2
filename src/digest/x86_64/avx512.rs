//! Four, eight and sixteen MD5 streams with AVX-512.
//!
//! Its rotation and its three-input logic make a step four dependent operations instead of seven. With the vector
//! length extension that holds for the narrow vectors too, which is why there are types of four and eight lanes: they
//! are faster than sixteen lanes of which most idle, and on some processors four lanes with one live stream are faster
//! than scalar code.
#![expect(unsafe_code, reason = "SIMD intrinsics and reads through one pointer per lane")]

use std::arch::x86_64::*;

use super::avx2::transpose_x8;
use super::sse2::transpose_x4;
use crate::digest::vector::Vector;

/// Four lanes; needs AVX-512F and AVX-512VL.
#[derive(Clone, Copy)]
pub(super) struct Avx512x4(__m128i);

/// Eight lanes; needs AVX-512F and AVX-512VL.
#[derive(Clone, Copy)]
pub(super) struct Avx512x8(__m256i);

/// Sixteen lanes; needs AVX-512F.
#[derive(Clone, Copy)]
pub(super) struct Avx512x16(__m512i);

impl Vector for Avx512x4 {
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
        unsafe { Self(_mm_rolv_epi32(self.0, _mm_set1_epi32(bits.cast_signed()))) }
    }

    #[inline(always)]
    unsafe fn add_f(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm_ternarylogic_epi32::<0xCA>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_g(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm_ternarylogic_epi32::<0xE4>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_h(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm_ternarylogic_epi32::<0x96>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_i(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm_ternarylogic_epi32::<0x39>(b.0, c.0, d.0))) }
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

impl Vector for Avx512x8 {
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
        unsafe { Self(_mm256_rolv_epi32(self.0, _mm256_set1_epi32(bits.cast_signed()))) }
    }

    #[inline(always)]
    unsafe fn add_f(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm256_ternarylogic_epi32::<0xCA>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_g(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm256_ternarylogic_epi32::<0xE4>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_h(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm256_ternarylogic_epi32::<0x96>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_i(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm256_ternarylogic_epi32::<0x39>(b.0, c.0, d.0))) }
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

impl Vector for Avx512x16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: u32) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { Self(_mm512_set1_epi32(value.cast_signed())) }
    }

    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        // SAFETY: The caller promises the features and 16 readable words.
        unsafe { Self(_mm512_loadu_si512(words.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        // SAFETY: The caller promises the features and 16 writable words.
        unsafe { _mm512_storeu_si512(words.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { Self(_mm512_add_epi32(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn rotate_left(self, bits: u32) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { Self(_mm512_rolv_epi32(self.0, _mm512_set1_epi32(bits.cast_signed()))) }
    }

    #[inline(always)]
    unsafe fn add_f(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm512_ternarylogic_epi32::<0xCA>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_g(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm512_ternarylogic_epi32::<0xE4>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_h(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm512_ternarylogic_epi32::<0x96>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn add_i(sum: Self, b: Self, c: Self, d: Self) -> Self {
        // SAFETY: The caller promises the features of this type.
        unsafe { sum.add(Self(_mm512_ternarylogic_epi32::<0x39>(b.0, c.0, d.0))) }
    }

    #[inline(always)]
    unsafe fn block(inputs: *const *const u8) -> [Self; 16] {
        // SAFETY: The caller promises the features, and 16 pointers to 64 readable bytes each.
        let words = unsafe { transpose_x16(inputs) };
        let mut block = [Self(words[0]); 16];
        for (to, from) in block.iter_mut().zip(words) {
            *to = Self(from);
        }
        block
    }
}

/// Word `w` of the result holds word `w` of the block of each of 16 lanes.
///
/// # Safety
/// The processor has AVX-512F; `inputs` points at 16 pointers to 64 readable bytes each.
#[inline(always)]
unsafe fn transpose_x16(inputs: *const *const u8) -> [__m512i; 16] {
    // SAFETY: Each row is one load of the 64 readable bytes of its lane.
    unsafe {
        // Quad `4 * i + j`: 128-bit part `p` holds word `4 * p + j` of lanes `4 * i` to `4 * i + 3`.
        let mut quads = [_mm512_setzero_si512(); 16];
        for four in 0..4 {
            let mut rows = [_mm512_setzero_si512(); 4];
            for (lane, row) in rows.iter_mut().enumerate() {
                *row = _mm512_loadu_si512((*inputs.add(4 * four + lane)).cast());
            }
            let low_01 = _mm512_unpacklo_epi32(rows[0], rows[1]);
            let high_01 = _mm512_unpackhi_epi32(rows[0], rows[1]);
            let low_23 = _mm512_unpacklo_epi32(rows[2], rows[3]);
            let high_23 = _mm512_unpackhi_epi32(rows[2], rows[3]);
            quads[4 * four] = _mm512_unpacklo_epi64(low_01, low_23);
            quads[4 * four + 1] = _mm512_unpackhi_epi64(low_01, low_23);
            quads[4 * four + 2] = _mm512_unpacklo_epi64(high_01, high_23);
            quads[4 * four + 3] = _mm512_unpackhi_epi64(high_01, high_23);
        }
        // The remaining step is a 4 by 4 transposition of 128-bit parts for each `j`.
        let mut words = [_mm512_setzero_si512(); 16];
        for j in 0..4 {
            let parts_01_low = _mm512_shuffle_i32x4::<0x44>(quads[j], quads[4 + j]);
            let parts_23_low = _mm512_shuffle_i32x4::<0xEE>(quads[j], quads[4 + j]);
            let parts_01_high = _mm512_shuffle_i32x4::<0x44>(quads[8 + j], quads[12 + j]);
            let parts_23_high = _mm512_shuffle_i32x4::<0xEE>(quads[8 + j], quads[12 + j]);
            words[j] = _mm512_shuffle_i32x4::<0x88>(parts_01_low, parts_01_high);
            words[4 + j] = _mm512_shuffle_i32x4::<0xDD>(parts_01_low, parts_01_high);
            words[8 + j] = _mm512_shuffle_i32x4::<0x88>(parts_23_low, parts_23_high);
            words[12 + j] = _mm512_shuffle_i32x4::<0xDD>(parts_23_low, parts_23_high);
        }
        words
    }
}
