//! One libFuzzer binary for every target: the variable FUZZ_TARGET names the one to run. `tests/fuzz/run` builds it with
//! the instrumentation and runs it.
//!
//! Other variables make it do something else and end: FUZZ_LIST prints the names of the targets, FUZZ_EXPAND writes each seed
//! of the target into a file of that directory, and FUZZ_ESCAPE prints a file as a line for a file of seeds. A program of
//! its own could not do that: whatever is compiled with the instrumentation needs libFuzzer.
#![no_main]

use std::env;
use std::sync::OnceLock;

#[path = "targets.rs"]
mod targets;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        if !is_errand().expect("files can be read and written") {
            let name = env::var("FUZZ_TARGET").unwrap_or_default();
            let target = targets::TARGETS.iter().find(|(known, _)| *known == name);
            let (_, target) = target.unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name:?}"));
            TARGET.get_or_init(|| *target);
        } else {
            std::process::exit(0);
        }
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(data);
        }
    }
);

/// Does what the variables ask for; false when they ask for nothing.
fn is_errand() -> std::io::Result<bool> {
    if env::var_os("FUZZ_LIST").is_some() {
        targets::TARGETS.iter().for_each(|(name, _)| println!("{name}"));
    } else if let Some(directory) = env::var_os("FUZZ_EXPAND") {
        let target = env::var("FUZZ_TARGET").unwrap_or_default();
        for (index, seed) in targets::seeds(&target).iter().enumerate() {
            std::fs::write(std::path::Path::new(&directory).join(format!("seed-{index}")), seed)?;
        }
    } else if let Some(file) = env::var_os("FUZZ_ESCAPE") {
        println!("{}", std::fs::read(file)?.escape_ascii());
    } else {
        return Ok(false);
    }
    Ok(true)
}
