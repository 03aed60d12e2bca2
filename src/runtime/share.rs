//! Memory of a core that is not in transfer buffers: what clients can make it hold for as long as they like is counted, in
//! pools with a bound each, so that no kind of it takes the memory of another kind.

use std::cell::Cell;
use std::marker::PhantomData;

use super::buffer::Exhausted;
use crate::limits;

/// What memory is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pool {
    /// Answers in memory that their receivers may read slowly.
    Answers,
    /// Bodies that are parsed as a whole.
    Documents,
    /// Bodies of senders that are not known yet.
    Unverified,
}

impl Pool {
    const COUNT: usize = 3;

    /// Bytes that a core hands out of it.
    pub const fn bytes_max(self) -> usize {
        match self {
            Pool::Answers => limits::ANSWER_MEMORY_MAX,
            Pool::Documents => limits::DOCUMENT_MEMORY_MAX,
            Pool::Unverified => limits::UNVERIFIED_MEMORY_MAX,
        }
    }
}

thread_local! {
    static HELD_BYTES: [Cell<usize>; Pool::COUNT] = const { [const { Cell::new(0) }; Pool::COUNT] };
}

/// Some bytes of a pool; they go back when this is dropped, on the core that took them.
#[derive(Debug)]
pub struct Share {
    pool: Pool,
    bytes: usize,
    of_this_core: PhantomData<*const ()>,
}

impl Share {
    /// So many bytes.
    pub fn take(pool: Pool, bytes: usize) -> Result<Share, Exhausted> {
        let mut share = Share { pool, bytes: 0, of_this_core: PhantomData };
        share.grow_to(bytes)?;
        Ok(share)
    }

    /// As many bytes in all; never less than before.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        HELD_BYTES.with(|held| {
            let held = &held[self.pool as usize];
            if more > self.pool.bytes_max().saturating_sub(held.get()) {
                return Err(Exhausted);
            }
            held.set(held.get() + more);
            self.bytes += more;
            Ok(())
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // At the end of a thread there is nothing left to count.
        let _ = HELD_BYTES.try_with(|held| {
            let held = &held[self.pool as usize];
            held.set(held.get().saturating_sub(self.bytes));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_bounded_each_for_itself() {
        let max = Pool::Documents.bytes_max();
        let mut most = Share::take(Pool::Documents, max - 1).unwrap();
        assert!(Share::take(Pool::Documents, 2).is_err());
        let one = Share::take(Pool::Documents, 1).unwrap();
        assert!(most.grow_to(max).is_err(), "nothing is left");
        assert!(Share::take(Pool::Answers, Pool::Answers.bytes_max()).is_ok(), "another pool");
        drop(one);
        most.grow_to(max).unwrap();
        most.grow_to(5).unwrap();
        assert!(Share::take(Pool::Documents, 1).is_err(), "growing never gives back");
        drop(most);
        assert!(Share::take(Pool::Documents, max).is_ok());
        assert!(Share::take(Pool::Unverified, usize::MAX).is_err());
        assert!(Share::take(Pool::Unverified, 0).is_ok());
    }
}
