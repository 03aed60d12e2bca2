//! The binary: everything is in the library.

use std::process::ExitCode;

/// Per-thread heaps: no core waits for another one's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sluicegate::cli::run()
}
