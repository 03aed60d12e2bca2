//! What is known of some buckets, and of most of them nothing: read by every request of every core, and replaced as a whole
//! by the few changes there are. A look that finds that nothing is known of any bucket costs one load.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::layout::BucketName;

/// A value for each of some buckets. Changes come one at a time: whoever makes one holds the lock of the configuration.
pub struct ByBucket<T> {
    all: ArcSwap<HashMap<BucketName, T>>,
    /// There is a value, or there will be in a moment.
    any: AtomicBool,
}

impl<T> Default for ByBucket<T> {
    fn default() -> Self {
        ByBucket { all: ArcSwap::default(), any: AtomicBool::new(false) }
    }
}

impl<T> ByBucket<T> {
    /// Looks at the value of a bucket, as it is now. `None`: it has none.
    #[inline]
    pub fn look<R>(&self, bucket: &BucketName, look: impl FnOnce(&T) -> R) -> Option<R> {
        if self.any.load(Ordering::Acquire) { self.all.load().get(bucket).map(look) } else { None }
    }

    /// All values, as they are now.
    pub fn load(&self) -> Guard<Arc<HashMap<BucketName, T>>> {
        self.all.load()
    }

    /// These are the values from now on.
    pub fn replace(&self, all: HashMap<BucketName, T>) {
        let any = !all.is_empty();
        // Whoever is told that there are none finds none: it is said before there is one, and unsaid after.
        if any {
            self.any.store(true, Ordering::Release);
        }
        self.all.store(Arc::new(all));
        self.any.store(any, Ordering::Release);
    }
}

impl<T: Clone> ByBucket<T> {
    /// The value of a bucket from now on; `None` takes it away.
    pub fn set(&self, bucket: &BucketName, value: Option<T>) {
        let mut all = HashMap::clone(&self.load());
        match value {
            Some(value) => all.insert(*bucket, value),
            None => all.remove(bucket),
        };
        self.replace(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_there_until_it_is_taken_away() {
        let name = |name: &str| BucketName::parse(name.as_bytes()).unwrap();
        let values = ByBucket::default();
        let look = |bucket: &str| values.look(&name(bucket), |value| *value);
        assert_eq!(look("one"), None);
        values.set(&name("one"), Some(1));
        values.set(&name("two"), Some(2));
        assert_eq!((look("one"), look("two"), look("three")), (Some(1), Some(2), None));
        values.set(&name("one"), Some(3));
        values.set(&name("two"), None);
        assert_eq!((look("one"), look("two"), values.load().len()), (Some(3), None, 1));
        values.replace(HashMap::new());
        assert_eq!((look("one"), values.any.load(Ordering::Relaxed)), (None, false));
        values.set(&name("one"), Some(4));
        assert_eq!(look("one"), Some(4));
    }
}
