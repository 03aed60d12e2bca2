//! Carries out the lifecycle rules of buckets: deletes what has expired, aborts uploads that were left unfinished.
//!
//! One thread walks through every bucket that has rules, page by page, from time to time. It works on the data as it
//! stands, whichever protocol wrote it. What the listing shows to be due is looked at again under the lock of its key
//! before it is deleted: an object that was written, changed or tagged otherwise in between stays if it is not due.
//!
//! Gentle: it runs with a low priority, and waits after each page for as long as the page took. Memory is bounded by the
//! page, whatever the bucket holds. A rule that is taken away holds no longer from the next page on.
//!
//! In a bucket that keeps versions, what expires gets a delete marker (`page`), and what is noncurrent is removed by rules
//! of its own (`history`). A version under object lock is never removed.
//!
//! Nothing is remembered between runs. What a crash undoes, or an error leaves, is due again in the next one.

mod history;
mod page;

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};

use self::history::{Place, Walk};
use self::page::Page;
use crate::counters;
use crate::limits;
use crate::runtime::now;
use crate::s3::context::Service;
use crate::s3::lifecycle::{Day, Lifecycle};
use crate::storage::list::{DirectoryCache, ListRequest, list};
use crate::storage::multipart::{self, UploadRequest, Uploading};
use crate::storage::versions::{self, Version, VersionRequest, Versioning};
use crate::storage::{self, Bucket, BucketName, Change};

/// How the rules are carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// From the beginning of one run to that of the next.
    pub interval: Duration,
    /// How long a day of the rules lasts.
    pub day: Day,
}

/// The thread.
pub struct Job {
    orders: Orders,
    thread: JoinHandle<()>,
}

/// What the thread can be told.
#[derive(Clone)]
pub struct Orders(Sender<Order>);

enum Order {
    /// The next run is carried out so. The one under way goes on as it began.
    Change(Options),
    Stop,
}

impl Orders {
    /// From the next run on; it begins when the new interval says.
    pub fn change(&self, options: Options) {
        // If the thread has ended, there are no more runs.
        let _ = self.0.send(Order::Change(options));
    }
}

impl Job {
    /// Starts the thread. Its first run begins at once.
    pub fn start(service: Arc<Service>, options: Options) -> io::Result<Job> {
        let (orders, given) = flume::unbounded();
        let work = move || {
            if rustix::process::nice(NICE).is_err() {
                tracing::warn!("the priority of the lifecycle thread could not be lowered");
            }
            let pace = Pace { given, options: Cell::new(options) };
            loop {
                let begun = Instant::now();
                let mut run = Run { service: &service, day: pace.options.get().day, pace: &pace };
                match catch_unwind(AssertUnwindSafe(|| run.all())) {
                    Ok(Ok(())) => {}
                    Ok(Err(Stopped)) => return,
                    // The panic is in the log; other buckets have their turn in the next run.
                    Err(_) => counters::panicked(),
                }
                if pace.wait_until(|options| begun + options.interval).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("lifecycle".to_owned()).spawn(work)?;
        Ok(Job { orders: Orders(orders), thread })
    }

    /// What tells the thread of other options.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Ends the thread, in the middle of a run after the page under way.
    pub fn stop(self) {
        let _ = self.orders.0.send(Order::Stop);
        // A panic outside of a run has been logged.
        let _ = self.thread.join();
    }
}

/// The server ends.
struct Stopped;

/// When to wait, and until when.
struct Pace {
    given: Receiver<Order>,
    /// Those of the next run.
    options: Cell<Options>,
}

impl Pace {
    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        let end = Instant::now() + time;
        self.wait_until(|_| end)
    }

    /// Waits until then, by the options as they are at any time meanwhile.
    fn wait_until(&self, end: impl Fn(Options) -> Instant) -> Result<(), Stopped> {
        loop {
            match self.given.recv_deadline(end(self.options.get())) {
                Ok(Order::Change(options)) => self.options.set(options),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Err(Stopped),
            }
        }
    }
}

/// One run through all buckets.
struct Run<'r> {
    service: &'r Service,
    day: Day,
    pace: &'r Pace,
}

/// Why the work on a bucket did not come to its end.
enum Ended {
    Stopped,
    Failed(storage::Error),
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Ended {
        Ended::Stopped
    }
}

impl From<storage::Error> for Ended {
    fn from(error: storage::Error) -> Ended {
        Ended::Failed(error)
    }
}

/// What was done in one bucket.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Done {
    objects: u64,
    uploads: u64,
    failed: u64,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Stopped> {
        for name in self.service.settings.buckets() {
            let Some(rules) = self.rules(&name) else { continue };
            let mut done = Done::default();
            let walked = self.bucket(&name, &rules, &mut done);
            counters::expired(done.objects, done.uploads);
            if done.objects + done.uploads > 0 {
                let Done { objects, uploads, .. } = done;
                tracing::info!(bucket = name.as_str(), objects, uploads, "carried out lifecycle rules");
            }
            if done.failed > 0 {
                tracing::warn!(
                    bucket = name.as_str(),
                    count = done.failed,
                    "what lifecycle rules delete could not be deleted; --log-level debug says why"
                );
            }
            match walked {
                Ok(()) => {}
                Err(Ended::Stopped) => return Err(Stopped),
                Err(Ended::Failed(error)) => {
                    tracing::error!(%error, bucket = name.as_str(), "lifecycle rules were not carried out to the end");
                }
            }
        }
        Ok(())
    }

    /// The rules of a bucket as they are now.
    fn rules(&self, name: &BucketName) -> Option<Lifecycle> {
        self.service.settings.look(name, |settings| settings.lifecycle.clone()).flatten()
    }

    fn bucket(&self, name: &BucketName, rules: &Lifecycle, done: &mut Done) -> Result<(), Ended> {
        // Left behind by a bucket that another program removed.
        let Some(bucket) = self.service.root.bucket(name)? else { return Ok(()) };
        if self.service.root.versioning(name) == Versioning::Unversioned {
            for prefix in rules.prefixes(|rule| rule.expiration.is_some()) {
                self.objects(&bucket, prefix, done)?;
            }
        } else {
            for prefix in rules.prefixes(|rule| rule.expiration.is_some() || rule.noncurrent.is_some()) {
                self.versions(&bucket, prefix, done)?;
            }
        }
        if rules.prefixes(|rule| rule.abort_days.is_some()).is_empty() {
            return Ok(());
        }
        self.uploads(name, done)
    }

    fn objects(&self, bucket: &Bucket, prefix: &str, done: &mut Done) -> Result<(), Ended> {
        let directories = DirectoryCache::new(limits::LIFECYCLE_CACHE_BYTES);
        let mut after = Some(Vec::new());
        while let Some(start_after) = after {
            let begun = Instant::now();
            let request = ListRequest {
                prefix: prefix.as_bytes(),
                delimiter: b"",
                start_after: &start_after,
                max_keys: limits::PAGE_KEYS_MAX,
            };
            let found = list(bucket.fd.as_fd(), &directories, &request)?;
            let Some(rules) = self.rules(&bucket.name) else { return Ok(()) };
            let mut page = Page::new(self, bucket, &rules, done);
            for entry in &found.entries {
                page.expire(entry);
            }
            page.finish()?;
            after = found.next;
            self.pace.wait(begun.elapsed())?;
        }
        Ok(())
    }

    fn versions(&self, bucket: &Bucket, prefix: &str, done: &mut Done) -> Result<(), Ended> {
        let mut walk = Walk::default();
        let (mut key_marker, mut version_marker) = (Vec::new(), None);
        loop {
            let begun = Instant::now();
            let request = VersionRequest {
                prefix: prefix.as_bytes(),
                delimiter: b"",
                key_marker: &key_marker,
                version_marker,
                max_keys: limits::PAGE_KEYS_MAX,
            };
            let found = versions::list(&self.service.root, bucket, &request)?;
            let Some(rules) = self.rules(&bucket.name) else { return Ok(()) };
            let mut page = Page::new(self, bucket, &rules, done);
            for entry in &found.entries {
                let (place, lone) = walk.enter(entry);
                if let Some(lone) = lone {
                    page.remove_lone(&lone);
                }
                match place {
                    Place::Current(object) => page.expire(object),
                    Place::Marker => {}
                    Place::Noncurrent(noncurrent) => page.remove(entry, &noncurrent),
                }
            }
            if found.next.is_none()
                && let Some(lone) = walk.end()
            {
                page.remove_lone(&lone);
            }
            page.finish()?;
            let Some((key, version)) = found.next else { return Ok(()) };
            if version == Some(Version::Null) {
                // If this run has removed it, its key is listed from its beginning again.
                walk = Walk::default();
            }
            (key_marker, version_marker) = (key, version);
            self.pace.wait(begun.elapsed())?;
        }
    }

    fn uploads(&self, name: &BucketName, done: &mut Done) -> Result<(), Ended> {
        let root = &self.service.root;
        let (mut key_marker, mut id_marker) = (Vec::new(), Vec::new());
        loop {
            let begun = Instant::now();
            let request = UploadRequest {
                prefix: b"",
                delimiter: b"",
                key_marker: &key_marker,
                upload_id_marker: &id_marker,
                max_uploads: limits::PAGE_KEYS_MAX,
            };
            let page = multipart::uploads(root, name, &request)?;
            let Some(rules) = self.rules(name) else { return Ok(()) };
            let mut last = None;
            for Uploading { id, description } in &page.uploads {
                let due = rules.aborts(description.key.as_bytes(), description.initiated, self.day);
                if due.is_none_or(|due| due > now()) {
                    continue;
                }
                match multipart::abort(root, name, &description.key, id) {
                    Ok(None) => {}
                    Ok(Some(change)) => {
                        done.uploads += 1;
                        last = Some(change);
                    }
                    Err(error) => {
                        done.failed += 1;
                        tracing::debug!(%error, bucket = name.as_str(), upload = id.as_str(), "was not aborted");
                    }
                }
            }
            commit(self.service, name, last)?;
            self.pace.wait(begun.elapsed())?;
            let Some((key, id)) = page.next else { return Ok(()) };
            (key_marker, id_marker) = (key, id.map_or(Vec::new(), |id| id.as_str().as_bytes().to_vec()));
        }
    }
}

/// Makes a page of changes durable: with the last one goes everything before it.
fn commit(service: &Service, bucket: &BucketName, last: Option<Change>) -> storage::Result<()> {
    let Some(change) = last else { return Ok(()) };
    let root = &service.root;
    root.commit_and_wait(bucket, &Change { wide: true, ..change })
}

/// What is added to the nice value of the thread: on a busy machine it gets a tenth of the time of another one, so that
/// it waits for nobody's idleness.
const NICE: i32 = 10;
