//! MD5 of many independent streams at once, in SIMD lanes.
//!
//! One MD5 stream cannot use a core, as each of its steps needs the step before. Uploads are independent of each other,
//! so that the bodies that one worker receives at the same time are hashed side by side: 16 streams take little longer
//! than one.
//!
//! [`update_many`] takes any number of streams of any lengths. It sorts them by length, fills the lanes with the
//! longest, lets the lanes of a kernel run until the shortest of them has no whole block left, and gives a lane that has
//! become free to the next stream. The kernel is chosen anew for each such run by the number of live lanes; a kernel
//! that is wider than that repeats the first lane's input in the lanes left over, with a state that nobody reads.
//!
//! Which kernel is the fastest for a number of streams depends on the processor: with one stream, four lanes of AVX-512
//! beat the scalar code on some and lose by a third on others. So the kernels are timed once, on first use, for some
//! hundred microseconds ([`Plan::timed`]). There is no number of streams at which this is slower than one stream after
//! the other.
//!
//! Nothing here allocates.
#![expect(
    unsafe_code,
    reason = "calls the kernels, which take one pointer per lane and need processor features"
)]

use std::cmp::Reverse;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::md5::Md5State;
use super::partial::BLOCK_BYTES;
use super::vector::{LANES_MAX, Words, compress};
#[cfg(target_arch = "x86_64")]
use super::x86_64;

/// A kernel: advances the first `lanes` columns of `Words` by a number of blocks.
type Compress = unsafe fn(&mut Words, &[*const u8; LANES_MAX], usize);

/// A compression function for a fixed number of lanes.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    lanes: usize,
    compress: Compress,
}

impl Kernel {
    /// # Safety
    /// `compress` may be called on this processor wherever the kernel can be reached, and touches at most the first
    /// `lanes` inputs, of which it reads as many blocks as it is told.
    pub(super) const unsafe fn new(lanes: usize, compress: Compress) -> Self {
        assert!(lanes <= LANES_MAX);
        Self { lanes, compress }
    }

    /// Advances lane `l` of `words` by the first `blocks` blocks of `inputs[l]`.
    ///
    /// # Panics
    /// If the input of one of this kernel's lanes is shorter.
    fn run(&self, words: &mut Words, inputs: &[&[u8]; LANES_MAX], blocks: usize) {
        let mut pointers = [std::ptr::null(); LANES_MAX];
        for (pointer, input) in pointers.iter_mut().zip(inputs).take(self.lanes) {
            assert!(input.len() / BLOCK_BYTES >= blocks, "a lane is shorter than its run");
            *pointer = input.as_ptr();
        }
        // SAFETY: `new` promises that the processor can run the kernel and that it reads `blocks` blocks of the first
        // `lanes` inputs; the loop above has just checked that each of these is that long.
        unsafe { (self.compress)(words, &pointers, blocks) }
    }
}

/// One lane on any processor.
// SAFETY: The scalar vector needs no feature, and has one lane in one group.
pub(super) const ONE: Kernel = unsafe { Kernel::new(1, scalar_x1) };

/// Two scalar streams in turns, on any processor.
// SAFETY: The scalar vector needs no feature, and has one lane in each of two groups.
pub(super) const TWO: Kernel = unsafe { Kernel::new(2, scalar_x2) };

/// The kernels of any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
const PORTABLE: &[Kernel] = &[ONE, TWO];

unsafe fn scalar_x1(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The scalar vector needs no feature; the inputs are the caller's obligation.
    unsafe { compress::<u32, 1>(words, inputs, blocks) }
}

unsafe fn scalar_x2(words: &mut Words, inputs: &[*const u8; LANES_MAX], blocks: usize) {
    // SAFETY: The scalar vector needs no feature; the inputs are the caller's obligation.
    unsafe { compress::<u32, 2>(words, inputs, blocks) }
}

/// Appends to each stream its data, all streams side by side.
///
/// Any number of jobs, of any lengths, in any state. Afterwards the jobs may be in another order and their data slices
/// are empty.
pub(super) fn update_many(jobs: &mut [(&mut Md5State, &[u8])]) {
    update_many_with(plan(), jobs);
}

/// Which kernel takes a number of streams.
struct Plan {
    kernels: &'static [Kernel],
    /// For each number of live streams the index of the kernel that runs next. It may take fewer streams than there are.
    best: [usize; LANES_MAX + 1],
    /// The most streams that are worth having in lanes at the same time.
    lanes: usize,
}

impl Plan {
    /// The plan by what each kernel takes for one block here and now.
    fn timed(kernels: &'static [Kernel]) -> Plan {
        let data = [0x5a; TIMED_BLOCKS * BLOCK_BYTES];
        Plan::new(kernels, |kernel| {
            let mut words = Words([[0; LANES_MAX]; 4]);
            // The quickest of some runs: the others were interrupted, or waited for a wider unit to wake up.
            let once = |_| {
                let began = Instant::now();
                kernel.run(&mut words, &[&data; LANES_MAX], TIMED_BLOCKS);
                began.elapsed()
            };
            (0..TIMED_RUNS).map(once).min().unwrap_or_default()
        })
    }

    /// The plan that needs the least time for every number of streams, when a block takes each kernel `time`.
    fn new(kernels: &'static [Kernel], mut time: impl FnMut(&Kernel) -> Duration) -> Plan {
        let lanes = kernels.iter().map(|kernel| kernel.lanes).max().expect("every processor has a kernel");
        let (mut best, mut needed) = ([0; LANES_MAX + 1], [Duration::MAX; LANES_MAX + 1]);
        needed[0] = Duration::ZERO;
        let mut times = [Duration::ZERO; KERNELS_COUNT_MAX];
        for (time_of, kernel) in times.iter_mut().zip(kernels) {
            *time_of = time(kernel);
        }
        for streams in 1..=lanes {
            for (index, (kernel, time)) in kernels.iter().zip(times).enumerate() {
                let total = needed[streams.saturating_sub(kernel.lanes)].saturating_add(time);
                if total < needed[streams] {
                    (best[streams], needed[streams]) = (index, total);
                }
            }
        }
        Plan { kernels, best, lanes }
    }

    /// The kernel that runs next when `live` streams have data.
    fn kernel(&self, live: usize) -> &'static Kernel {
        &self.kernels[self.best[live]]
    }
}

/// Long enough to be timed, short enough to stay in the first-level cache.
const TIMED_BLOCKS: usize = 64;
const TIMED_RUNS: usize = 5;

/// No processor has more kernels.
const KERNELS_COUNT_MAX: usize = 6;

/// The plan of this processor.
fn plan() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| Plan::timed(kernels()))
}

/// The widest set of kernels that this processor can run, narrowest first.
fn kernels() -> &'static [Kernel] {
    #[cfg(target_arch = "x86_64")]
    return x86_64::avx512().or_else(x86_64::avx2).unwrap_or_else(x86_64::sse2);
    #[cfg(not(target_arch = "x86_64"))]
    PORTABLE
}

/// Advances the state of one stream by `blocks`, whole blocks of 64 bytes.
pub(super) fn compress_one(state: &mut [u32; 4], blocks: &[u8]) {
    debug_assert_eq!(blocks.len() % BLOCK_BYTES, 0);
    let mut words = Words([[0; LANES_MAX]; 4]);
    for (row, word) in words.0.iter_mut().zip(*state) {
        row[0] = word;
    }
    // The fastest kernel for one stream may have idle lanes, which repeat the stream.
    plan().kernel(1).run(&mut words, &[blocks; LANES_MAX], blocks.len() / BLOCK_BYTES);
    for (row, word) in words.0.iter().zip(state) {
        *word = row[0];
    }
}

fn update_many_with(plan: &Plan, jobs: &mut [(&mut Md5State, &[u8])]) {
    for (state, data) in jobs.iter_mut() {
        *data = state.begin(data);
    }
    // Longest first, so that the lanes stay full as long as possible and the short streams fill the gaps at the end.
    jobs.sort_unstable_by_key(|(_, data)| Reverse(data.len() / BLOCK_BYTES));
    let with_blocks = jobs.partition_point(|(_, data)| data.len() >= BLOCK_BYTES);
    run_blocks(plan, &mut jobs[..with_blocks]);
    for (state, data) in jobs.iter_mut() {
        state.end(data);
        *data = &[];
    }
}

/// Advances each state by the whole blocks of its data, and cuts these off.
fn run_blocks(plan: &Plan, jobs: &mut [(&mut Md5State, &[u8])]) {
    let mut words = Words([[0; LANES_MAX]; 4]);
    let mut inputs: [&[u8]; LANES_MAX] = [&[]; LANES_MAX];
    let mut job_of_lane = [0; LANES_MAX];
    let mut live = 0;
    let mut next = 0;
    loop {
        while live < plan.lanes && next < jobs.len() {
            for (row, word) in words.0.iter_mut().zip(jobs[next].0.words) {
                row[live] = word;
            }
            inputs[live] = jobs[next].1;
            job_of_lane[live] = next;
            live += 1;
            next += 1;
        }
        if live == 0 {
            return;
        }

        let kernel = plan.kernel(live);
        let running = live.min(kernel.lanes);
        let repeated = inputs[0];
        inputs[running..kernel.lanes].fill(repeated);
        let shortest = inputs[..running].iter().map(|input| input.len() / BLOCK_BYTES).min();
        let blocks = shortest.expect("at least one lane is live");
        kernel.run(&mut words, &inputs, blocks);
        for input in &mut inputs[..running] {
            *input = &input[blocks * BLOCK_BYTES..];
        }

        // Retire what has no whole block left; the last live lane moves into the gap.
        let mut lane = 0;
        while lane < live {
            if inputs[lane].len() >= BLOCK_BYTES {
                lane += 1;
                continue;
            }
            let (state, data) = &mut jobs[job_of_lane[lane]];
            *data = inputs[lane];
            live -= 1;
            for (row, word) in words.0.iter_mut().zip(&mut state.words) {
                *word = row[lane];
                row[lane] = row[live];
            }
            inputs[lane] = inputs[live];
            job_of_lane[lane] = job_of_lane[live];
        }
    }
}

#[cfg(test)]
mod tests {
    use ::md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    /// Every set of kernels that this processor can run.
    fn levels() -> Vec<&'static [Kernel]> {
        let mut levels = vec![PORTABLE];
        #[cfg(target_arch = "x86_64")]
        levels.extend([Some(x86_64::sse2()), x86_64::avx2(), x86_64::avx512()].into_iter().flatten());
        levels
    }

    /// Plans of each level: wide kernels preferred, narrow ones preferred, and each stream nearly for itself.
    fn plans() -> Vec<Plan> {
        let of = |kernels| {
            let time = |weight: u32| {
                move |kernel: &Kernel| {
                    Duration::from_nanos(100) + Duration::from_nanos(1) * weight * kernel.lanes as u32
                }
            };
            [0, 30, 1000].map(|weight| Plan::new(kernels, time(weight)))
        };
        levels().into_iter().flat_map(of).collect()
    }

    #[test]
    fn no_number_of_streams_is_planned_slower_than_one_after_the_other() {
        for kernels in levels() {
            for narrow in [1, 50, 100, 300] {
                let time = |kernel: &Kernel| {
                    Duration::from_nanos(if kernel.lanes <= 2 { narrow * kernel.lanes as u64 } else { 100 })
                };
                let plan = Plan::new(kernels, time);
                let alone = time(plan.kernel(1));
                for streams in 1..=plan.lanes {
                    let (mut left, mut total) = (streams, Duration::ZERO);
                    while left > 0 {
                        let kernel = plan.kernel(left);
                        total += time(kernel);
                        left = left.saturating_sub(kernel.lanes);
                    }
                    assert!(total <= alone * streams as u32, "{streams} streams, {narrow}");
                }
            }
        }
    }

    /// Bytes in which no two blocks are alike.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()
        };
        std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
    }

    /// Gives every stream its (stream, length) of each round, all streams of a round at once, and compares each with
    /// the md-5 crate.
    fn check(plan: &Plan, streams_count: usize, rounds: &[Vec<(usize, usize)>]) {
        let data = noise(1 << 16);
        let mut states = vec![Md5State::new(); streams_count];
        let mut oracles = vec![::md5::Md5::new(); streams_count];
        for (round, lengths) in rounds.iter().enumerate() {
            let mut slices = vec![&data[..0]; streams_count];
            for &(stream, bytes) in lengths {
                let start = (stream * 977 + round * 131) % (data.len() / 2);
                slices[stream] = &data[start..start + bytes];
            }
            for (oracle, slice) in oracles.iter_mut().zip(&slices) {
                oracle.update(slice);
            }
            let mut jobs: Vec<_> = states.iter_mut().zip(slices).collect();
            update_many_with(plan, &mut jobs);
            assert!(jobs.iter().all(|(_, data)| data.is_empty()));
        }
        for (stream, (state, oracle)) in states.into_iter().zip(oracles).enumerate() {
            assert_eq!(state.finish()[..], oracle.finalize()[..], "stream {stream} of {streams_count}");
        }
    }

    #[test]
    fn every_number_of_equal_streams() {
        for plan in &plans() {
            for streams in 0..=70 {
                let round: Vec<_> = (0..streams).map(|stream| (stream, 512)).collect();
                check(plan, streams, &[round.clone(), round]);
            }
        }
    }

    #[test]
    fn streams_of_uneven_lengths_that_start_and_end_inside_blocks() {
        for plan in &plans() {
            for streams in [1, 2, 3, 5, 7, 9, 17, 33, 100] {
                let round = |seed: usize| -> Vec<_> {
                    (0..streams).map(|stream| (stream, (stream + seed) * 7919 % 4099)).collect()
                };
                check(plan, streams, &[round(1), round(2), round(63), round(64)]);
            }
        }
    }

    #[test]
    fn one_long_stream_among_short_ones() {
        for plan in &plans() {
            let mut round: Vec<_> = (0..40).map(|stream| (stream, stream)).collect();
            round[20].1 = 30_000;
            check(plan, 40, &[round]);
        }
    }

    #[test]
    fn an_idle_lane_never_leaks_into_a_live_one() {
        // Three streams in a kernel of four: the fourth lane repeats the first one's input.
        for plan in &plans() {
            check(plan, 3, &[vec![(0, 640), (1, 128), (2, 64)], vec![(0, 1), (1, 64), (2, 65)]]);
        }
    }

    #[test]
    fn each_kernel_equals_the_scalar_one() {
        let data = noise(LANES_MAX * 256);
        for kernel in levels().concat() {
            let mut words = Words([[0; LANES_MAX]; 4]);
            for (index, word) in words.0.iter_mut().flatten().enumerate() {
                *word = (index as u32).wrapping_mul(0x9e37_79b9);
            }
            let before = words;
            let mut inputs: [&[u8]; LANES_MAX] = [&[]; LANES_MAX];
            for (input, data) in inputs.iter_mut().zip(data.chunks_exact(256)) {
                *input = data;
            }
            kernel.run(&mut words, &inputs, 4);
            for (lane, input) in inputs.iter().enumerate() {
                let mut alone = Words([[0; LANES_MAX]; 4]);
                for (row, before) in alone.0.iter_mut().zip(&before.0) {
                    row[0] = before[lane];
                }
                // Lanes past the kernel's width stay as they were.
                let blocks = if lane < kernel.lanes { 4 } else { 0 };
                ONE.run(&mut alone, &[input; LANES_MAX], blocks);
                for (row, alone) in words.0.iter().zip(&alone.0) {
                    assert_eq!(row[lane], alone[0], "lane {lane} of {}", kernel.lanes);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a lane is shorter than its run")]
    fn a_kernel_refuses_an_input_that_is_too_short() {
        ONE.run(&mut Words([[0; LANES_MAX]; 4]), &[&[0; 127]; LANES_MAX], 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn equals_the_md5_crate(rounds in proptest::collection::vec(
            proptest::collection::vec((0_usize..40, prop_oneof![0_usize..200, 0_usize..5000]), 0..60), 1..5)
        ) {
            for plan in &plans() {
                check(plan, 40, &rounds);
            }
        }
    }
}
