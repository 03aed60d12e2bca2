//! What the rules do with the entries of one page, each decided again under the lock of its key.

use super::history::{Lone, Noncurrent, Since};
use super::{Done, Run, commit};
use crate::codec::dates::Timestamp;
use crate::iam::PosixOwner;
use crate::runtime::now;
use crate::s3::context::{RequestId, Service};
use crate::s3::lifecycle::{Day, Facts, Lifecycle};
use crate::s3::notification::{EventKind, Noted, Origin};
use crate::s3::object_lock;
use crate::storage::list::Entry;
use crate::storage::owed::Removing;
use crate::storage::record::Tags;
use crate::storage::versions::{self, Absence, Content, Deleted, Version, VersionEntry};
use crate::storage::{self, Bucket, Change, Object, ObjectKey};

/// The work on one page.
pub(super) struct Page<'p> {
    service: &'p Service,
    bucket: &'p Bucket,
    rules: &'p Lifecycle,
    day: Day,
    none: Tags,
    done: &'p mut Done,
    last: Option<Change>,
    /// Until the page is durable.
    _removing: Removing<'p>,
    events: Vec<(EventKind, ObjectKey, Version)>,
}

impl<'p> Page<'p> {
    pub(super) fn new(
        run: &Run<'p>,
        bucket: &'p Bucket,
        rules: &'p Lifecycle,
        done: &'p mut Done,
    ) -> Page<'p> {
        let Run { service, day, .. } = *run;
        let _removing = service.root.removing();
        Page {
            service,
            bucket,
            rules,
            day,
            none: Tags::default(),
            done,
            last: None,
            _removing,
            events: Vec::new(),
        }
    }

    /// Deletes a current version if it has expired: in a bucket that keeps versions by a delete marker.
    pub(super) fn expire(&mut self, entry: &Entry) {
        // Most of a page is not due, and no file of it has to be opened.
        let key = entry.key.as_bytes();
        let listed = Facts { key, size: entry.size, modified: entry.modified, tags: None };
        if !self.is_expired(&listed) {
            return;
        }
        let owner = PosixOwner { uid: entry.uid, gid: entry.gid };
        let deleted = self.delete(&entry.key, None, owner, |found| {
            found.is_ok_and(|object| self.is_expired(&self.facts(&entry.key, object)))
        });
        self.note(&entry.key, deleted);
    }

    /// Removes a noncurrent version, or a delete marker among them, if it is due.
    pub(super) fn remove(&mut self, entry: &VersionEntry, place: &Noncurrent) {
        let (key, version) = (entry.key.as_bytes(), entry.version);
        let (size, modified) = match &entry.content {
            Content::Object(object) => (Some(object.size), object.modified),
            Content::Marker(marker) => (None, marker.modified),
        };
        // A delete marker has neither tags nor a size: it is taken by rules that ask for none.
        let tags = size.is_none().then_some(&self.none);
        let listed = Facts { key, size: size.unwrap_or_default(), modified, tags };
        let since = place.since(version, modified);
        if !self.is_outdated(&listed, since.time, place.newer_versions, size.is_none()) {
            return;
        }
        let deleted = self.delete(&entry.key, Some(version), self.service.root.process_owner(), |found| {
            if self.is_latest(&entry.key, version) {
                return false;
            }
            match found {
                Ok(object) => {
                    let since = if since.is_exact { since } else { since.at_least(changed(object)) };
                    let facts = self.facts(&entry.key, object);
                    object_lock::may_delete(object, false, now()).is_ok()
                        && self.is_outdated(&facts, since.time, place.newer_versions, false)
                }
                Err(Absence::Marker(_)) => size.is_none(),
                Err(Absence::Nothing) => false,
            }
        });
        self.note(&entry.key, deleted);
    }

    /// Removes a delete marker that has no versions behind it, if a rule says so.
    pub(super) fn remove_lone(&mut self, lone: &Lone) {
        let due = self.rules.removes_marker(lone.key.as_bytes(), lone.modified, self.day);
        if due.is_none_or(|due| due > now()) {
            return;
        }
        let owner = self.service.root.process_owner();
        let deleted = self.delete(&lone.key, Some(lone.version), owner, |found| {
            // New versions come before it, never behind: if it is the latest one, it is alone.
            matches!(found, Err(Absence::Marker(_))) && self.is_latest(&lone.key, lone.version)
        });
        self.note(&lone.key, deleted);
    }

    /// Makes the page durable and tells whom it concerns.
    pub(super) fn finish(self) -> storage::Result<()> {
        commit(self.service, &self.bucket.name, self.last)?;
        for (kind, key, version) in &self.events {
            self.service.notify(*kind, &self.bucket.name, key, &Noted::version(*version), own_origin);
        }
        Ok(())
    }

    fn delete(
        &self,
        key: &ObjectKey,
        version: Option<Version>,
        owner: PosixOwner,
        decide: impl Fn(Result<&Object, &Absence>) -> bool,
    ) -> storage::Result<Deleted> {
        let decide = |found: Result<&Object, &Absence>| Ok::<_, storage::Error>(decide(found));
        versions::delete(&self.service.root, self.bucket, key, version, owner, Some(&decide))?
    }

    /// Keeps what was done. What fails with one key is due again in the next run; the others have their turn.
    fn note(&mut self, key: &ObjectKey, deleted: storage::Result<Deleted>) {
        let (kind, version, change) = match deleted {
            Ok(Deleted::Nothing) => return,
            Ok(Deleted::Removed { version, change, .. }) => (EventKind::ExpirationDelete, version, change),
            Ok(Deleted::Marked { version, change }) => {
                (EventKind::ExpirationDeleteMarkerCreated, version, change)
            }
            Err(error) => {
                self.done.failed += 1;
                tracing::debug!(%error, bucket = self.bucket.name.as_str(), key = key.as_str(), "was not deleted");
                return;
            }
        };
        self.done.objects += 1;
        self.events.push((kind, key.clone(), version));
        self.last = Some(change);
    }

    fn facts<'f>(&'f self, key: &'f ObjectKey, object: &'f Object) -> Facts<'f> {
        let tags = object.record.as_ref().map_or(&self.none, |record| &record.tags);
        Facts { key: key.as_bytes(), size: object.size, modified: object.modified, tags: Some(tags) }
    }

    fn is_expired(&self, facts: &Facts<'_>) -> bool {
        self.rules.expires(facts, self.day).is_some_and(|(moment, _)| moment <= now())
    }

    fn is_outdated(&self, facts: &Facts<'_>, since: Timestamp, newer_versions: u32, is_marker: bool) -> bool {
        let due = self.rules.removes(facts, since, newer_versions, is_marker, self.day);
        due.is_some_and(|due| due <= now())
    }

    /// Whether a version is the latest one of its key. What cannot be found out counts as if it were.
    fn is_latest(&self, key: &ObjectKey, version: Version) -> bool {
        match versions::find(&self.service.root, self.bucket, key, None) {
            Ok(Ok(object)) => object.version == version,
            Ok(Err(Absence::Marker(marker))) => marker.version == version,
            Ok(Err(Absence::Nothing)) => false,
            Err(_) => true,
        }
    }
}

/// When a file was last changed in any way: given another name, for one.
fn changed(object: &Object) -> Timestamp {
    // A file that cannot be looked at was changed just now.
    rustix::fs::fstat(&object.file)
        .map_or_else(|_| now(), |stat| Timestamp { seconds: stat.st_ctime, nanos: stat.st_ctime_nsec as u32 })
}

impl Since {
    fn at_least(self, time: Timestamp) -> Since {
        Since { time: self.time.max(time), ..self }
    }
}

/// Who is named in events of what the rules do.
fn own_origin() -> Origin {
    let own = || "sluicegate".to_owned();
    Origin { principal: own(), address: own(), request_id: RequestId::new(0) }
}
