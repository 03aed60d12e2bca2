//! What was changed and is not known to be durable, so that nobody acknowledges it unseen.
//!
//! A change whose flush fails is there, and its client is told of the failure. Who repeats it may find nothing left to do:
//! the object is gone, the condition holds no longer, the bucket exists. An answer that says so would acknowledge what a
//! power cut can still undo. So a bucket owes a flush from then on, and every change in it pays first ([`Root::pay`]).
//!
//! The same goes for what is being removed and waits for its flush: who finds nothing to delete meanwhile waits as well
//! ([`Root::confirm_removed`]). Reads never wait: they acknowledge nothing.
//!
//! A restart forgets what is owed. What stands then is what the disk has, or what the kernel still writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::smallvec;

use super::commit::{Change, Durability};
use super::error::{At, Result, Subject};
use super::layout::BucketName;
use super::root::Root;

/// The buckets that owe a flush, and how many removals are under way.
#[derive(Default)]
pub(super) struct Owed {
    /// Whether any bucket does.
    any: AtomicBool,
    /// How often a flush has failed since the last one that made everything durable.
    buckets: Mutex<HashMap<BucketName, u64>>,
    removals: AtomicUsize,
}

/// Names are being removed, until this is dropped: once that is durable, or owed.
pub struct Removing<'r>(&'r Owed);

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        self.0.removals.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Owed {
    /// Notes what became of the flush of a change in a bucket.
    pub(super) fn note<T>(&self, bucket: &BucketName, flushed: Result<T>) -> Result<T> {
        if flushed.is_err() {
            let mut buckets = self.buckets.lock();
            *buckets.entry(*bucket).or_default() += 1;
            self.any.store(true, Ordering::SeqCst);
        }
        flushed
    }

    fn by(&self, bucket: &BucketName) -> Option<u64> {
        if !self.any.load(Ordering::SeqCst) {
            return None;
        }
        self.buckets.lock().get(bucket).copied()
    }

    /// Everything is durable that was changed before so many flushes had failed.
    fn paid(&self, bucket: &BucketName, failures: u64) {
        let mut buckets = self.buckets.lock();
        if buckets.get(bucket) == Some(&failures) {
            buckets.remove(bucket);
        }
        self.any.store(!buckets.is_empty(), Ordering::SeqCst);
    }
}

impl Root {
    /// Says that names are going to be removed. Taken before that, and held until it is durable or has failed.
    pub fn removing(&self) -> Removing<'_> {
        self.owed.removals.fetch_add(1, Ordering::SeqCst);
        Removing(&self.owed)
    }

    /// Flushes what a bucket owes, if it does.
    ///
    /// # Errors
    /// It could not be flushed.
    pub async fn pay(&self, bucket: &BucketName) -> Result<()> {
        let Some(failures) = self.owed.by(bucket) else { return Ok(()) };
        self.committer.commit(self.durability(bucket), self.everything_in(bucket)?).await?;
        self.owed.paid(bucket, failures);
        Ok(())
    }

    /// Before an answer that something is gone which this request did not remove: waits until that is durable, if
    /// somebody else may be removing it, or has tried to.
    ///
    /// # Errors
    /// It could not be flushed.
    pub async fn confirm_removed(&self, bucket: &BucketName) -> Result<()> {
        let durability = self.durability(bucket);
        if durability != Durability::None && self.owed.removals.load(Ordering::SeqCst) > 0 {
            let flushed = self.committer.commit(durability, self.everything_in(bucket)?).await;
            self.owed.note(bucket, flushed)?;
        }
        self.pay(bucket).await
    }

    fn everything_in(&self, bucket: &BucketName) -> Result<Change> {
        let directory = match self.bucket(bucket)? {
            Some(bucket) => bucket.fd,
            // It is gone, and what is owed is that.
            None => self.fd.try_clone().at(Subject::Root, "flush what was changed to stable storage")?.into(),
        };
        Ok(Change { files: smallvec![directory], wide: true })
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::super::error::Error;
    use super::*;

    #[test]
    fn a_failure_is_owed_until_a_later_flush() {
        let [photos, music] = [b"photos", b"musics"].map(|name| BucketName::parse(name).unwrap());
        let owed = Owed::default();
        let failed =
            || -> Result<()> { Err(Error { op: "flush", subject: Subject::Root, errno: Errno::IO }) };
        assert!(owed.note(&photos, Ok(())).is_ok());
        assert_eq!(owed.by(&photos), None);
        assert!(owed.note(&photos, failed()).is_err());
        assert_eq!((owed.by(&photos), owed.by(&music)), (Some(1), None));
        // Another one failed while the flush that pays was under way.
        assert!(owed.note(&photos, failed()).is_err());
        owed.paid(&photos, 1);
        assert_eq!(owed.by(&photos), Some(2));
        owed.paid(&photos, 2);
        assert_eq!(owed.by(&photos), None);
        assert!(!owed.any.load(Ordering::SeqCst));
    }
}
