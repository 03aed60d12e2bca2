//! Carries out the lifecycle rules of buckets: deletes what has expired, aborts uploads that were left unfinished.
//!
//! One thread walks through every bucket that has rules, page by page, from time to time. It works on the data as it
//! stands, whichever protocol wrote it. What the listing shows to be due is looked at again under the lock of its key
//! before it is deleted: an object that was written, changed or tagged otherwise in between stays if it is not due.
//!
//! Gentle: it runs with the lowest priority, waits after each page for as long as the page took, and keeps directories in
//! a cache of its own. Memory is bounded by the page, whatever the bucket holds. A rule that is taken away holds no
//! longer from the next page on.
//!
//! Nothing is remembered between runs. What a crash undoes, or an error leaves, is due again in the next one.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};

use crate::counters;
use crate::limits;
use crate::runtime::now;
use crate::s3::context::{RequestId, Service};
use crate::s3::lifecycle::{Day, Facts, Lifecycle};
use crate::s3::notification::{EventKind, Noted, Origin};
use crate::storage::list::{DirectoryCache, Entry, ListRequest, list};
use crate::storage::multipart::{self, UploadRequest, Uploading};
use crate::storage::object::{self, Condition, Object};
use crate::storage::record::Tags;
use crate::storage::{self, Bucket, BucketName, Change};

/// How the rules are carried out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// From the beginning of one run to that of the next.
    pub interval: Duration,
    /// How long a day of the rules lasts.
    pub day: Day,
}

/// The thread.
pub struct Job {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Job {
    /// Starts the thread. Its first run begins at once.
    pub fn start(service: Arc<Service>, options: Options) -> io::Result<Job> {
        let (stop, stopped) = flume::bounded(1);
        let work = move || {
            if rustix::process::nice(LOWEST_PRIORITY).is_err() {
                tracing::warn!("the priority of the lifecycle thread could not be lowered");
            }
            let pace = Pace { stopped };
            loop {
                let begun = Instant::now();
                let mut run = Run { service: &service, day: options.day, pace: &pace };
                match catch_unwind(AssertUnwindSafe(|| run.all())) {
                    Ok(Ok(())) => {}
                    Ok(Err(Stopped)) => return,
                    // The panic is in the log; other buckets have their turn in the next run.
                    Err(_) => counters::panicked(),
                }
                if pace.wait(options.interval.saturating_sub(begun.elapsed())).is_err() {
                    return;
                }
            }
        };
        Ok(Job { stop, thread: thread::Builder::new().name("lifecycle".to_owned()).spawn(work)? })
    }

    /// Ends the thread, in the middle of a run after the page under way.
    pub fn stop(self) {
        drop(self.stop);
        // A panic outside of a run has been logged.
        let _ = self.thread.join();
    }
}

/// The server ends.
struct Stopped;

/// When to wait, and until when.
struct Pace {
    stopped: Receiver<()>,
}

impl Pace {
    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Stopped),
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
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Stopped> {
        for name in self.service.settings.buckets() {
            let Some(rules) = self.rules(&name) else { continue };
            let mut done = Done::default();
            let walked = self.bucket(&name, &rules, &mut done);
            counters::expired(done.objects, done.uploads);
            if done != Done::default() {
                let Done { objects, uploads } = done;
                tracing::info!(bucket = name.as_str(), objects, uploads, "carried out lifecycle rules");
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
        let directories = DirectoryCache::new(limits::LIFECYCLE_CACHE_BYTES);
        for prefix in rules.prefixes(|rule| rule.expiration.is_some()) {
            let mut after = Some(Vec::new());
            while let Some(start_after) = after {
                let begun = Instant::now();
                let request = ListRequest {
                    prefix: prefix.as_bytes(),
                    delimiter: b"",
                    start_after: &start_after,
                    max_keys: limits::PAGE_KEYS_MAX,
                };
                let page = list(bucket.fd.as_fd(), &directories, &request)?;
                let Some(rules) = self.rules(name) else { return Ok(()) };
                self.expire_page(&bucket, &page.entries, &rules, done)?;
                after = page.next;
                self.pace.wait(begun.elapsed())?;
            }
        }
        if rules.prefixes(|rule| rule.abort_days.is_some()).is_empty() {
            return Ok(());
        }
        self.uploads(name, done)
    }

    fn expire_page(
        &self,
        bucket: &Bucket,
        entries: &[Entry],
        rules: &Lifecycle,
        done: &mut Done,
    ) -> storage::Result<()> {
        let root = &self.service.root;
        let (mut last, mut gone) = (None, Vec::new());
        for entry in entries {
            let key = entry.key.as_bytes();
            // Most of a page is not due, and no file of it has to be opened.
            let listed = Facts { key, size: entry.size, modified: entry.modified, tags: None };
            if !self.is_due(rules, &listed) {
                continue;
            }
            let none = Tags::default();
            let decide = |current: Option<&Object>| {
                let is_due = current.is_some_and(|object| {
                    let tags = Some(object.record.as_ref().map_or(&none, |record| &record.tags));
                    let facts = Facts { key, size: object.size, modified: object.modified, tags };
                    self.is_due(rules, &facts)
                });
                if is_due { Ok(()) } else { Err(NotDue) }
            };
            if let Ok(Some(change)) = object::delete(root, bucket, &entry.key, &Condition::Decide(&decide))? {
                done.objects += 1;
                last = Some(change);
                gone.push(&entry.key);
            }
        }
        self.commit(last)?;
        for key in gone {
            let kind = EventKind::ExpirationDelete;
            self.service.notify(kind, &bucket.name, key, &Noted::default(), own_origin);
        }
        Ok(())
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
                if due.is_some_and(|due| due <= now())
                    && let Some(change) = multipart::abort(root, name, &description.key, id)?
                {
                    done.uploads += 1;
                    last = Some(change);
                }
            }
            self.commit(last)?;
            self.pace.wait(begun.elapsed())?;
            let Some((key, id)) = page.next else { return Ok(()) };
            (key_marker, id_marker) = (key, id.map_or(Vec::new(), |id| id.as_str().as_bytes().to_vec()));
        }
    }

    fn is_due(&self, rules: &Lifecycle, facts: &Facts<'_>) -> bool {
        rules.expires(facts, self.day).is_some_and(|(moment, _)| moment <= now())
    }

    /// Makes a page of changes durable: with the last one goes everything before it.
    fn commit(&self, last: Option<Change>) -> storage::Result<()> {
        let Some(change) = last else { return Ok(()) };
        let root = &self.service.root;
        root.committer.commit_and_wait(root, &Change { wide: true, ..change })
    }
}

/// Who is named in events of what the rules do.
fn own_origin() -> Origin {
    let own = || "sluicegate".to_owned();
    Origin { principal: own(), address: own(), request_id: RequestId::new(0) }
}

/// The object in place is not the one that was due, or there is none.
struct NotDue;

/// What nice(2) adds at most.
const LOWEST_PRIORITY: i32 = 19;
