//! Steps at which a test ends the process as `kill -9` would.
//!
//! Each step of a change after which the disk looks different has a name and one line, `failpoint::pass(NAME)`, behind it.
//! With the feature `failpoints` a step and a count (`publish:linked 3`) in the file that the environment variable
//! `SLUICEGATE_FAILPOINT` names end the process at the third time that any thread passes that step from then on. Without
//! it the function is empty and nothing of this is in the program; a program that is built with optimizations cannot have
//! it.
//!
//! What has to hold after each of them is tested by `tests/clients/test_kill.py`, which knows every name.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("failpoints end the server on purpose: only debug builds for tests may have them");

/// Says that a step is done; ends the process there if a test wants that.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn pass(_step: &'static str) {}

/// Says that a step is done; ends the process there if a test wants that.
#[cfg(feature = "failpoints")]
pub fn pass(step: &'static str) {
    use std::ffi::OsString;
    use std::sync::{LazyLock, Mutex};

    static WISH: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("SLUICEGATE_FAILPOINT"));
    /// What the file said last, and how often its step was passed since.
    static PASSED: Mutex<(String, u64)> = Mutex::new((String::new(), 0));

    let Some(path) = &*WISH else { return };
    let Ok(wish) = std::fs::read_to_string(path) else { return };
    let Some((wanted, count)) = wish.split_once(' ') else { return };
    let mut passed = PASSED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if passed.0 != wish {
        *passed = (wish.clone(), 0);
    }
    passed.1 += u64::from(wanted == step);
    if Ok(passed.1) == count.parse() {
        // No destructor, no handler, no buffer is flushed: the kernel ends all threads.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}
