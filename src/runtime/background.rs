//! Threads that serve many requests at once and so gain by waiting.

/// Lets the calling thread run only where a processor is idle or the thread on it has had its turn: being woken never
/// interrupts a core. So what a core hands over while it is busy comes as one group, and not piece by piece with two changes
/// of context for each. Where the kernel refuses, nothing is lost but that.
pub fn yield_to_cores() {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads one `sched_param` behind the pointer, which points to one that lives through the call; 0 is the
    // calling thread.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const priority) };
}
