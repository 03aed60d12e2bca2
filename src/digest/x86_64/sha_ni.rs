//! SHA-256 by the SHA instructions: one to three streams in turns, and one stream in turns with its MD5.
//!
//! A round instruction has a latency of four cycles and more, and the next one needs its result. What runs in turns with
//! it is for free until the execution units are full.
#![expect(unsafe_code, reason = "SHA intrinsics, and loads of blocks")]

use std::arch::x86_64::*;
use std::hint::black_box;
use std::sync::OnceLock;

use crate::digest::partial::BLOCK_BYTES;
use crate::digest::vector::{SINES, Vector, four_steps};

/// The constants K of FIPS 180-4 section 4.2.2.
#[rustfmt::skip]
static ROUND_CONSTANTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// Advances streams by whole blocks, of which each has as many. False, and nothing is done, if the processor has no SHA
/// instructions.
///
/// # Panics
/// If the streams are of different lengths.
pub(in crate::digest) fn sha256<const LANES: usize>(
    words: &mut [&mut [u32; 8]; LANES],
    blocks: &[&[u8]; LANES],
) -> bool {
    assert!(blocks.iter().all(|lane| lane.len() == blocks[0].len()), "a lane is shorter than its run");
    if !detected() {
        return false;
    }
    // SAFETY: The features were detected, and all lanes have the same whole blocks.
    unsafe { sha256_lanes(words, blocks) }
    true
}

/// Advances the MD5 and the SHA-256 of one stream by whole blocks. False, and nothing is done, if the processor has no
/// SHA instructions.
pub(in crate::digest) fn md5_and_sha256(md5: &mut [u32; 4], sha256: &mut [u32; 8], blocks: &[u8]) -> bool {
    if !detected() {
        return false;
    }
    // SAFETY: The features were detected.
    unsafe { both(md5, sha256, blocks) }
    true
}

fn detected() -> bool {
    static DETECTED: OnceLock<bool> = OnceLock::new();
    *DETECTED.get_or_init(|| {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
    })
}

/// # Safety
/// The processor has the features of the attribute, and all of `blocks` have the same length.
#[target_feature(enable = "sha,sse4.1,ssse3")]
unsafe fn sha256_lanes<const LANES: usize>(words: &mut [&mut [u32; 8]; LANES], blocks: &[&[u8]; LANES]) {
    // SAFETY: The features are those of the attribute. Block `index` of every lane is within its slice, as all are as
    // long as the first one.
    unsafe {
        let mut state = [[_mm_setzero_si128(); 2]; LANES];
        for (state, words) in state.iter_mut().zip(&*words) {
            *state = load(words);
        }
        for index in 0..blocks[0].len() / BLOCK_BYTES {
            let before = state;
            let mut message = [[_mm_setzero_si128(); 4]; LANES];
            for (message, lane) in message.iter_mut().zip(blocks) {
                *message = schedule(lane.as_ptr().add(index * BLOCK_BYTES));
            }
            four_rounds::<LANES, 0>(&mut state, &mut message);
            four_rounds::<LANES, 1>(&mut state, &mut message);
            four_rounds::<LANES, 2>(&mut state, &mut message);
            four_rounds::<LANES, 3>(&mut state, &mut message);
            four_rounds::<LANES, 4>(&mut state, &mut message);
            four_rounds::<LANES, 5>(&mut state, &mut message);
            four_rounds::<LANES, 6>(&mut state, &mut message);
            four_rounds::<LANES, 7>(&mut state, &mut message);
            four_rounds::<LANES, 8>(&mut state, &mut message);
            four_rounds::<LANES, 9>(&mut state, &mut message);
            four_rounds::<LANES, 10>(&mut state, &mut message);
            four_rounds::<LANES, 11>(&mut state, &mut message);
            four_rounds::<LANES, 12>(&mut state, &mut message);
            four_rounds::<LANES, 13>(&mut state, &mut message);
            four_rounds::<LANES, 14>(&mut state, &mut message);
            four_rounds::<LANES, 15>(&mut state, &mut message);
            add(&mut state, &before);
        }
        for (state, words) in state.into_iter().zip(words) {
            store(state, words);
        }
    }
}

/// # Safety
/// The processor has the features of the attribute.
#[target_feature(enable = "sha,sse4.1,ssse3")]
unsafe fn both(md5_words: &mut [u32; 4], sha256_words: &mut [u32; 8], blocks: &[u8]) {
    // SAFETY: The features are those of the attribute; the scalar vector needs none. Every block is within the slice.
    unsafe {
        let mut sha256 = [load(sha256_words)];
        let mut md5 = [*md5_words];
        // As in `vector::compress`: the sines are added before the round functions.
        let sines = black_box(&SINES);
        for block in blocks.chunks_exact(BLOCK_BYTES) {
            let (sha256_before, md5_before) = (sha256, md5);
            let mut schedule = [schedule(block.as_ptr())];
            let message = [<u32 as Vector>::block(&block.as_ptr())];
            in_turns::<0, 0>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<1, 4>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<2, 8>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<3, 12>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<4, 16>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<5, 20>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<6, 24>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<7, 28>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<8, 32>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<9, 36>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<10, 40>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<11, 44>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<12, 48>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<13, 52>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<14, 56>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            in_turns::<15, 60>(&mut md5, &message, sines, &mut sha256, &mut schedule);
            add(&mut sha256, &sha256_before);
            for (word, before) in md5[0].iter_mut().zip(md5_before[0]) {
                *word = word.wrapping_add(before);
            }
        }
        store(sha256[0], sha256_words);
        *md5_words = md5[0];
    }
}

/// Four steps of MD5 from `STEP` on, and the four rounds of SHA-256 that are quad `QUAD`.
///
/// # Safety
/// The processor has the SHA instructions and SSE4.1.
#[inline(always)]
unsafe fn in_turns<const QUAD: usize, const STEP: usize>(
    md5: &mut [[u32; 4]; 1],
    message: &[[u32; 16]; 1],
    sines: &[u32; 64],
    sha256: &mut [[__m128i; 2]; 1],
    schedule: &mut [[__m128i; 4]; 1],
) {
    // SAFETY: The scalar vector needs no feature; the others are the caller's obligation.
    unsafe {
        four_steps::<u32, 1, STEP>(md5, message, sines);
        four_rounds::<1, QUAD>(sha256, schedule);
    }
}

/// Rounds `4 * QUAD` to `4 * QUAD + 3` of every lane. `message` holds the sixteen words before them, word `w` in vector
/// `w / 4 % 4`.
///
/// # Safety
/// The processor has the SHA instructions and SSSE3.
#[inline(always)]
unsafe fn four_rounds<const LANES: usize, const QUAD: usize>(
    state: &mut [[__m128i; 2]; LANES],
    message: &mut [[__m128i; 4]; LANES],
) {
    for (state, message) in state.iter_mut().zip(message) {
        // SAFETY: The features are the caller's obligation; four constants stand from `4 * QUAD` on.
        unsafe {
            if QUAD >= 4 {
                let last = message[(QUAD + 3) % 4];
                let seven_back = _mm_alignr_epi8::<4>(last, message[(QUAD + 2) % 4]);
                let sixteen_back = _mm_sha256msg1_epu32(message[QUAD % 4], message[(QUAD + 1) % 4]);
                message[QUAD % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(sixteen_back, seven_back), last);
            }
            let constants = _mm_loadu_si128(ROUND_CONSTANTS.as_ptr().add(4 * QUAD).cast());
            let sum = _mm_add_epi32(message[QUAD % 4], constants);
            state[1] = _mm_sha256rnds2_epu32(state[1], state[0], sum);
            state[0] = _mm_sha256rnds2_epu32(state[0], state[1], _mm_shuffle_epi32::<0x0e>(sum));
        }
    }
}

/// The sixteen big-endian words of a block.
///
/// # Safety
/// The processor has SSSE3; 64 bytes are readable at `block`.
#[inline(always)]
unsafe fn schedule(block: *const u8) -> [__m128i; 4] {
    // SAFETY: The caller's obligations.
    unsafe {
        let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let mut words = [_mm_setzero_si128(); 4];
        for (index, words) in words.iter_mut().enumerate() {
            *words = _mm_shuffle_epi8(_mm_loadu_si128(block.add(16 * index).cast()), big_endian);
        }
        words
    }
}

/// The state as the round instruction takes it: A, B, E, F and C, D, G, H.
///
/// # Safety
/// The processor has SSE4.1.
#[inline(always)]
unsafe fn load(words: &[u32; 8]) -> [__m128i; 2] {
    // SAFETY: Eight words are readable.
    unsafe {
        let badc = _mm_shuffle_epi32::<0xb1>(_mm_loadu_si128(words.as_ptr().cast()));
        let hgfe = _mm_shuffle_epi32::<0x1b>(_mm_loadu_si128(words.as_ptr().add(4).cast()));
        [_mm_alignr_epi8::<8>(badc, hgfe), _mm_blend_epi16::<0xf0>(hgfe, badc)]
    }
}

/// # Safety
/// The processor has SSE4.1.
#[inline(always)]
unsafe fn store(state: [__m128i; 2], words: &mut [u32; 8]) {
    // SAFETY: Eight words are writable.
    unsafe {
        let feba = _mm_shuffle_epi32::<0x1b>(state[0]);
        let dchg = _mm_shuffle_epi32::<0xb1>(state[1]);
        _mm_storeu_si128(words.as_mut_ptr().cast(), _mm_blend_epi16::<0xf0>(feba, dchg));
        _mm_storeu_si128(words.as_mut_ptr().add(4).cast(), _mm_alignr_epi8::<8>(dchg, feba));
    }
}

/// # Safety
/// SSE2, which every such processor has.
#[inline(always)]
unsafe fn add<const LANES: usize>(state: &mut [[__m128i; 2]; LANES], before: &[[__m128i; 2]; LANES]) {
    for (word, before) in state.as_flattened_mut().iter_mut().zip(before.as_flattened()) {
        // SAFETY: SSE2 is part of the baseline that this file is compiled for.
        *word = unsafe { _mm_add_epi32(*word, *before) };
    }
}
