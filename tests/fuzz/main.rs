//! Every fuzz target over its seeds and over changed ones, as the fuzzer would change them: what it once found stays
//! found, without the fuzzer. The same bytes each time.

use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

mod targets;

use targets::{TARGETS, directory, seeds};

/// Changed inputs of each target, unless its time is over before. Debug builds are slow, and some targets too.
const CHANGED_PER_TARGET: usize = 20_000;
const TIME_PER_TARGET: Duration = Duration::from_millis(400);

#[test]
fn every_target_holds_over_its_seeds_and_what_is_like_them() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let check = |input: &[u8]| {
            if catch_unwind(|| target(input)).is_err() {
                panic!("{name} fails; as a line of seeds/{name}:\n{}", input.escape_ascii());
            }
        };
        seeds.iter().for_each(|seed| check(seed));
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let begun = Instant::now();
        for _ in 0..CHANGED_PER_TARGET {
            check(&changed(&seeds, &mut random));
            if begun.elapsed() > TIME_PER_TARGET {
                break;
            }
        }
    }
}

/// A seed with a few changes: bytes replaced, inserted, removed or repeated, and pieces of other seeds in between.
fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(16)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] = random.below(256) as u8,
            1 if at < input.len() => input[at] ^= 1 << random.below(8),
            2 => input.insert(at, random.below(256) as u8),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => input.truncate(at),
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    input
}

/// A generator of Marsaglia (xorshift64): the same numbers each time.
struct Random(u64);

impl Random {
    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// A parser with a fuzz function is fuzzed, and what is here belongs to a parser.
#[test]
fn every_fuzz_function_is_a_target() {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    let mut targets: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut files: Vec<String> = std::fs::read_dir(directory().join("seeds"))
        .expect("there are seeds")
        .map(|entry| entry.expect("a seed").file_name().into_string().expect("a name"))
        .collect();
    // It is in the library only while that is fuzzed; `cargo test --lib` has its own generator.
    targets.push("iam-agreement".to_owned());
    for names in [&mut found, &mut targets, &mut files] {
        names.sort_unstable();
    }
    assert_eq!(found, targets, "the functions `pub fn fuzz` in src, and the targets");
    assert_eq!(files, targets, "the files of seeds, and the targets");
}

fn collect(directory: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory of src") {
        let path = entry.expect("an entry of src").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let name = match (prefix, stem) {
            (_, "mod") => prefix.to_owned(),
            ("", _) => stem.to_owned(),
            _ => format!("{prefix}-{stem}"),
        };
        if path.is_dir() {
            collect(&path, &name, found);
        } else if std::fs::read_to_string(&path)
            .expect("a file of src")
            .contains("\npub fn fuzz(data: &[u8])")
        {
            found.push(name);
        }
    }
}
