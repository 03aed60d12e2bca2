//! The MD5 compression function, written once for any number of streams side by side.
//!
//! MD5 is a chain of 64 dependent steps per block: one stream leaves most of a core idle. Here a [`Vector`] holds the
//! same state word of `LANES` independent streams, and [`compress`] interleaves `GROUPS` such vectors, so that the
//! scalar code (one lane), a pair of scalar streams, and every SIMD width are the same forty lines.
//!
//! It knows nothing of lengths, padding or partial blocks (`md5.rs`) nor of which streams share a kernel
//! (`md5_lanes.rs`). Specification: RFC 1321, section 3.4.
//!
//! Everything here is `#[inline(always)]`: the code takes on the target features of the `#[target_feature]` function
//! it is inlined into. For the same reason there are no closures in this file, as a closure would be compiled without
//! these features.
#![expect(unsafe_code, reason = "SIMD intrinsics and reads through one pointer per lane")]

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::hint::black_box;

use super::partial::BLOCK_BYTES;

/// The most streams that one kernel takes.
pub(super) const LANES_MAX: usize = 32;

/// The state of the streams of a kernel: word `w` of lane `l` is `words[w][l]`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Words(pub(super) [[u32; LANES_MAX]; 4]);

/// The shift amounts of the four rounds, RFC 1321 section 3.4.
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The table T of RFC 1321 section 3.4: `floor(2^32 * abs(sin(step + 1)))`.
#[rustfmt::skip]
pub(super) const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// One 32-bit word of each of `LANES` streams.
///
/// The four round functions take the sum so far and return the sum with the function added, because the scalar form of
/// two of them is shorter as two additions.
///
/// # Safety
/// Every method may be called only where the processor has the features of the implementing type, which each type
/// names; `load`, `store` and `block` in addition have the pointer obligations given there.
pub(super) trait Vector: Copy {
    /// How many streams one value holds.
    const LANES: usize;

    /// All lanes set to `value`.
    unsafe fn splat(value: u32) -> Self;

    /// Reads `LANES` words, which must be readable at `words`; no alignment is needed.
    unsafe fn load(words: *const u32) -> Self;

    /// Writes `LANES` words, which must be writable at `words`; no alignment is needed.
    unsafe fn store(self, words: *mut u32);

    /// Lane-wise wrapping addition.
    unsafe fn add(self, other: Self) -> Self;

    /// Lane-wise rotation; `bits` is a constant after inlining.
    unsafe fn rotate_left(self, bits: u32) -> Self;

    /// `sum + ((b & c) | (!b & d))`.
    unsafe fn add_f(sum: Self, b: Self, c: Self, d: Self) -> Self;

    /// `sum + ((b & d) | (c & !d))`.
    unsafe fn add_g(sum: Self, b: Self, c: Self, d: Self) -> Self;

    /// `sum + (b ^ c ^ d)`.
    unsafe fn add_h(sum: Self, b: Self, c: Self, d: Self) -> Self;

    /// `sum + (c ^ (b | !d))`.
    unsafe fn add_i(sum: Self, b: Self, c: Self, d: Self) -> Self;

    /// The sixteen little-endian message words of one block per lane: lane `l` reads the 64 bytes at `inputs[l]`.
    /// `inputs` must point at `LANES` pointers, each to 64 readable bytes.
    unsafe fn block(inputs: *const *const u8) -> [Self; 16];
}

impl Vector for u32 {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: u32) -> Self {
        value
    }

    #[inline(always)]
    unsafe fn load(words: *const u32) -> Self {
        // SAFETY: The caller promises one readable word.
        unsafe { words.read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, words: *mut u32) {
        // SAFETY: The caller promises one writable word.
        unsafe { words.write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    unsafe fn rotate_left(self, bits: u32) -> Self {
        self.rotate_left(bits)
    }

    #[inline(always)]
    unsafe fn add_f(sum: Self, b: Self, c: Self, d: Self) -> Self {
        sum.wrapping_add(((c ^ d) & b) ^ d)
    }

    /// The two terms of G have no bit in common, so that adding both is the same as adding their union, and the term
    /// without `b`, the newest word, leaves the chain of dependent operations (measured: 15 % of one stream). The
    /// compiler would see that too and form the union again, hence the opaque value in between.
    #[inline(always)]
    unsafe fn add_g(sum: Self, b: Self, c: Self, d: Self) -> Self {
        opaque(sum.wrapping_add(c & !d)).wrapping_add(b & d)
    }

    #[inline(always)]
    unsafe fn add_h(sum: Self, b: Self, c: Self, d: Self) -> Self {
        sum.wrapping_add((c ^ d) ^ b)
    }

    #[inline(always)]
    unsafe fn add_i(sum: Self, b: Self, c: Self, d: Self) -> Self {
        sum.wrapping_add(c ^ (b | !d))
    }

    #[inline(always)]
    unsafe fn block(inputs: *const *const u8) -> [Self; 16] {
        let mut words = [0; 16];
        // SAFETY: The caller promises one pointer to 64 readable bytes, and the sixteen words cover just these.
        unsafe {
            let input = *inputs;
            for (index, word) in words.iter_mut().enumerate() {
                *word = u32::from_le(input.add(4 * index).cast::<u32>().read_unaligned());
            }
        }
        words
    }
}

/// The same value, as one the compiler knows nothing about.
#[inline(always)]
fn opaque(value: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut value = value;
        // SAFETY: No instruction is executed; the operand keeps its value.
        unsafe { asm!("/* {0:e} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
        value
    }
    // Elsewhere it was not measured, and the compiler is left alone.
    #[cfg(not(target_arch = "x86_64"))]
    value
}

/// Runs `blocks` blocks of `GROUPS * V::LANES` streams through MD5.
///
/// # Safety
/// The processor has the features of `V`, `GROUPS * V::LANES <= LANES_MAX`, and each of the first
/// `GROUPS * V::LANES` inputs points to `blocks * 64` readable bytes.
#[inline(always)]
pub(super) unsafe fn compress<V: Vector, const GROUPS: usize>(
    words: &mut Words,
    inputs: &[*const u8; LANES_MAX],
    blocks: usize,
) {
    const { assert!(GROUPS * V::LANES <= LANES_MAX) };
    let mut inputs = *inputs;
    // The compiler would fold a known constant into a step where it is cheapest to encode, which is last, in the chain
    // of dependent operations. A table that it cannot see through is added first. That is worth 20 % where the chain is
    // the limit; the widest kernel is limited by the execution ports instead, and prefers constants by 10 %.
    let sines = if GROUPS * V::LANES < LANES_MAX { black_box(&SINES) } else { &SINES };
    // SAFETY: The features are the caller's obligation. Every pointer into `words` and `inputs` covers the lanes
    // `group * LANES .. (group + 1) * LANES`, which the assertion above keeps below LANES_MAX. Each input pointer is
    // read 64 bytes at a time at most `blocks` times, within what the caller promises; after the last block it is one
    // past what was promised, and is not read again.
    unsafe {
        let mut state = [[V::splat(0); 4]; GROUPS];
        for (group, state) in state.iter_mut().enumerate() {
            for (to, row) in state.iter_mut().zip(&words.0) {
                *to = V::load(row.as_ptr().add(group * V::LANES));
            }
        }
        for _ in 0..blocks {
            let mut message = [[V::splat(0); 16]; GROUPS];
            for (group, message) in message.iter_mut().enumerate() {
                *message = V::block(inputs.as_ptr().add(group * V::LANES));
            }
            for input in inputs.iter_mut().take(GROUPS * V::LANES) {
                *input = input.wrapping_add(BLOCK_BYTES);
            }
            let before = state;
            rounds(&mut state, &message, sines);
            for (word, before) in state.as_flattened_mut().iter_mut().zip(before.as_flattened()) {
                *word = word.add(*before);
            }
        }
        for (group, state) in state.iter().enumerate() {
            for (word, row) in state.iter().zip(&mut words.0) {
                word.store(row.as_mut_ptr().add(group * V::LANES));
            }
        }
    }
}

/// The 64 steps. Written out by fours, as only then every shift and every message index is a constant.
///
/// # Safety
/// The processor has the features of `V`.
#[inline(always)]
unsafe fn rounds<V: Vector, const GROUPS: usize>(
    state: &mut [[V; 4]; GROUPS],
    message: &[[V; 16]; GROUPS],
    sines: &[u32; 64],
) {
    // SAFETY: The same obligation.
    unsafe {
        four_steps::<V, GROUPS, 0>(state, message, sines);
        four_steps::<V, GROUPS, 4>(state, message, sines);
        four_steps::<V, GROUPS, 8>(state, message, sines);
        four_steps::<V, GROUPS, 12>(state, message, sines);
        four_steps::<V, GROUPS, 16>(state, message, sines);
        four_steps::<V, GROUPS, 20>(state, message, sines);
        four_steps::<V, GROUPS, 24>(state, message, sines);
        four_steps::<V, GROUPS, 28>(state, message, sines);
        four_steps::<V, GROUPS, 32>(state, message, sines);
        four_steps::<V, GROUPS, 36>(state, message, sines);
        four_steps::<V, GROUPS, 40>(state, message, sines);
        four_steps::<V, GROUPS, 44>(state, message, sines);
        four_steps::<V, GROUPS, 48>(state, message, sines);
        four_steps::<V, GROUPS, 52>(state, message, sines);
        four_steps::<V, GROUPS, 56>(state, message, sines);
        four_steps::<V, GROUPS, 60>(state, message, sines);
    }
}

/// Steps `FIRST` to `FIRST + 3`, in which each of the four state words is replaced once.
///
/// # Safety
/// The processor has the features of `V`.
#[inline(always)]
pub(super) unsafe fn four_steps<V: Vector, const GROUPS: usize, const FIRST: usize>(
    state: &mut [[V; 4]; GROUPS],
    message: &[[V; 16]; GROUPS],
    sines: &[u32; 64],
) {
    for offset in 0..4 {
        // Step by step the roles of the words move on: a, d, c, b is the word that is replaced.
        let (a, b, c, d) = ((4 - offset) % 4, (5 - offset) % 4, (6 - offset) % 4, (7 - offset) % 4);
        for group in 0..GROUPS {
            // SAFETY: The same obligation.
            unsafe {
                let [b, c, d] = [state[group][b], state[group][c], state[group][d]];
                state[group][a] =
                    step::<V>(FIRST + offset, [state[group][a], b, c, d], &message[group], sines);
            }
        }
    }
}

/// One step: `b + ((a + function(b, c, d) + message word + sine) <<< shift)`.
///
/// # Safety
/// The processor has the features of `V`.
#[inline(always)]
unsafe fn step<V: Vector>(index: usize, [a, b, c, d]: [V; 4], message: &[V; 16], sines: &[u32; 64]) -> V {
    let round = index / 16;
    let word = match round {
        0 => index,
        1 => (5 * index + 1) % 16,
        2 => (3 * index + 5) % 16,
        _ => (7 * index) % 16,
    };
    // SAFETY: The same obligation.
    unsafe {
        // The sum without the round function does not wait for the step before.
        let sum = a.add(message[word].add(V::splat(sines[index])));
        let sum = match round {
            0 => V::add_f(sum, b, c, d),
            1 => V::add_g(sum, b, c, d),
            2 => V::add_h(sum, b, c, d),
            _ => V::add_i(sum, b, c, d),
        };
        b.add(sum.rotate_left(SHIFTS[round][index % 4]))
    }
}
