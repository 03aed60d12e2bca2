//! MD5 kernels for x86-64: SSE2 (every such processor), AVX2, and AVX-512 with the vector length extension; SHA-256 by
//! the SHA instructions (`sha_ni.rs`).
//!
//! Here stands which kernels there are and when they may run. The operations of each vector type and the transposition
//! of the message words are in the files below; the algorithm is `vector.rs`.
#![expect(unsafe_code, reason = "kernels need processor features and take one pointer per lane")]

mod avx2;
mod avx512;
pub(super) mod sha_ni;
mod sse2;

use self::avx2::Avx2x8;
use self::avx512::{Avx512x4, Avx512x8, Avx512x16};
use self::sse2::Sse2x4;
use super::md5_lanes::{Kernel, ONE, TWO};
use super::vector::{LANES_MAX, Words, compress};

/// The kernels of every x86-64 processor, narrowest first.
pub(super) fn sse2() -> &'static [Kernel] {
    // SAFETY: SSE2 is part of the baseline that this file is compiled for. The widths are LANES * GROUPS of each.
    const KERNELS: &[Kernel] = unsafe { &[ONE, TWO, Kernel::new(4, sse2_x4), Kernel::new(8, sse2_x8)] };
    KERNELS
}

/// The AVX2 kernels, narrowest first, if the processor and the operating system support them.
pub(super) fn avx2() -> Option<&'static [Kernel]> {
    // SAFETY: The constant leaves this function only after its feature was detected. The widths are LANES * GROUPS.
    const KERNELS: &[Kernel] =
        unsafe { &[ONE, TWO, Kernel::new(4, avx2_x4), Kernel::new(8, avx2_x8), Kernel::new(16, avx2_x16)] };
    is_x86_feature_detected!("avx2").then_some(KERNELS)
}

/// The AVX-512 kernels, narrowest first, if the processor and the operating system support them.
pub(super) fn avx512() -> Option<&'static [Kernel]> {
    // SAFETY: The constant leaves this function only after its features were detected. The widths are LANES * GROUPS.
    const KERNELS: &[Kernel] = unsafe {
        &[
            ONE,
            TWO,
            Kernel::new(4, avx512_x4),
            Kernel::new(8, avx512_x8),
            Kernel::new(16, avx512_x16),
            Kernel::new(32, avx512_x32),
        ]
    };
    let detected = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl");
    detected.then_some(KERNELS)
}

// Of each function below the safety conditions are those of `compress`: the processor has the features of the
// attribute, and each of the first lanes' inputs points to `blocks` blocks of 64 readable bytes.

#[target_feature(enable = "sse2")]
unsafe fn sse2_x4(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Sse2x4`; the inputs are the caller's obligation.
    unsafe { compress::<Sse2x4, 1>(words, inputs, blocks) }
}

#[target_feature(enable = "sse2")]
unsafe fn sse2_x8(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Sse2x4`; the inputs are the caller's obligation.
    unsafe { compress::<Sse2x4, 2>(words, inputs, blocks) }
}

#[target_feature(enable = "avx2")]
unsafe fn avx2_x4(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Sse2x4`; the inputs are the caller's obligation.
    unsafe { compress::<Sse2x4, 1>(words, inputs, blocks) }
}

#[target_feature(enable = "avx2")]
unsafe fn avx2_x8(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Avx2x8`; the inputs are the caller's obligation.
    unsafe { compress::<Avx2x8, 1>(words, inputs, blocks) }
}

#[target_feature(enable = "avx2")]
unsafe fn avx2_x16(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Avx2x8`; the inputs are the caller's obligation.
    unsafe { compress::<Avx2x8, 2>(words, inputs, blocks) }
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
unsafe fn avx512_x4(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Avx512x4`; the inputs are the caller's obligation.
    unsafe { compress::<Avx512x4, 1>(words, inputs, blocks) }
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
unsafe fn avx512_x8(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Avx512x8`; the inputs are the caller's obligation.
    unsafe { compress::<Avx512x8, 1>(words, inputs, blocks) }
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
unsafe fn avx512_x16(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Avx512x16`; the inputs are the caller's obligation.
    unsafe { compress::<Avx512x16, 1>(words, inputs, blocks) }
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
unsafe fn avx512_x32(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The attribute states the features of `Avx512x16`; the inputs are the caller's obligation.
    unsafe { compress::<Avx512x16, 2>(words, inputs, blocks) }
}
