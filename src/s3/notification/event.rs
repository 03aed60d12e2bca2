//! What happened, on its way from a handler to a target.
//!
//! The JSON of an event is that of AWS ("Event message structure" of the S3 user guide, version 2.1 with the fields that
//! this server has), with the two members in front that receivers of MinIO's webhooks look at: `EventName` and `Key`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use flume::{Receiver, Sender};
use serde_json::json;

use super::document::is_target_name;
use crate::codec::dates::Timestamp;
use crate::codec::percent;
use crate::counters;
use crate::limits::NOTIFICATION_QUEUE_MAX;
use crate::s3::context::RequestId;
use crate::storage::record::{ETag, Record};
use crate::storage::versions::Version;
use crate::storage::{BucketName, ObjectKey};

/// What can happen to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the names of AWS.
pub enum EventKind {
    CreatedPut,
    CreatedPost,
    CreatedCopy,
    CreatedCompleteMultipartUpload,
    RemovedDelete,
    RemovedDeleteMarkerCreated,
    TaggingPut,
    TaggingDelete,
    ExpirationDelete,
    ExpirationDeleteMarkerCreated,
}

impl EventKind {
    /// Its name in an event; a rule has `s3:` in front of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreatedPut => "ObjectCreated:Put",
            Self::CreatedPost => "ObjectCreated:Post",
            Self::CreatedCopy => "ObjectCreated:Copy",
            Self::CreatedCompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Self::RemovedDelete => "ObjectRemoved:Delete",
            Self::RemovedDeleteMarkerCreated => "ObjectRemoved:DeleteMarkerCreated",
            Self::TaggingPut => "ObjectTagging:Put",
            Self::TaggingDelete => "ObjectTagging:Delete",
            Self::ExpirationDelete => "LifecycleExpiration:Delete",
            Self::ExpirationDeleteMarkerCreated => "LifecycleExpiration:DeleteMarkerCreated",
        }
    }
}

/// An event as a rule names it: one, or all of a family by `*`.
#[derive(PartialEq, Eq, Debug)]
pub struct Name {
    /// As it is written.
    pub text: &'static str,
}

/// All names that a rule may have: of events that happen here.
pub(super) static NAMES: [Name; 14] = [
    Name { text: "s3:ObjectCreated:*" },
    Name { text: "s3:ObjectCreated:Put" },
    Name { text: "s3:ObjectCreated:Post" },
    Name { text: "s3:ObjectCreated:Copy" },
    Name { text: "s3:ObjectCreated:CompleteMultipartUpload" },
    Name { text: "s3:ObjectRemoved:*" },
    Name { text: "s3:ObjectRemoved:Delete" },
    Name { text: "s3:ObjectRemoved:DeleteMarkerCreated" },
    Name { text: "s3:ObjectTagging:*" },
    Name { text: "s3:ObjectTagging:Put" },
    Name { text: "s3:ObjectTagging:Delete" },
    Name { text: "s3:LifecycleExpiration:*" },
    Name { text: "s3:LifecycleExpiration:Delete" },
    Name { text: "s3:LifecycleExpiration:DeleteMarkerCreated" },
];

impl Name {
    /// Whether it means this event.
    pub fn names(&self, kind: EventKind) -> bool {
        let name = &self.text["s3:".len()..];
        match name.strip_suffix('*') {
            Some(family) => kind.name().starts_with(family),
            None => kind.name() == name,
        }
    }

    /// Whether both mean some event.
    pub fn overlaps(&self, other: &Name) -> bool {
        let family = |name: &'static str| name.strip_suffix('*');
        self == other
            || family(self.text).is_some_and(|family| other.text.starts_with(family))
            || family(other.text).is_some_and(|family| self.text.starts_with(family))
    }
}

/// What is said of the object itself: nothing, of one that is gone.
#[derive(Clone, Copy, Default, Debug)]
pub struct Noted<'o> {
    /// Bytes and entity tag.
    pub content: Option<(u64, &'o ETag)>,
    /// The version. The null one is not told.
    pub version: Option<Version>,
}

impl<'o> Noted<'o> {
    /// The object with this record.
    pub fn of(record: &'o Record) -> Noted<'o> {
        let version = record.version.map(Version::Named);
        Noted { content: Some((record.size, &record.etag)), version }
    }

    /// A version of which nothing else is told.
    pub fn version(version: Version) -> Noted<'o> {
        Noted { content: None, version: Some(version) }
    }

    pub(super) fn described(self) -> Described {
        let content = self.content.map(|(size, etag)| {
            let mut text = Vec::with_capacity(40);
            etag.write_into(&mut text);
            (size, String::from_utf8_lossy(&text).into_owned())
        });
        let named = self.version.filter(|version| *version != Version::Null);
        Described { content, version_id: named.map(|version| version.to_string()) }
    }
}

/// As [`Noted`], for the queue.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Described {
    content: Option<(u64, String)>,
    version_id: Option<String>,
}

/// Who changed the object.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The unique id of the user, or who else it was.
    pub principal: String,
    /// Where the request came from.
    pub address: String,
    /// Its id.
    pub request_id: RequestId,
}

/// One event, for one rule.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The id of the rule.
    pub rule: String,
    /// The bucket.
    pub bucket: BucketName,
    /// The unique id of who made the bucket.
    pub bucket_owner: String,
    /// The key of the object.
    pub key: ObjectKey,
    /// What is known of the object.
    pub subject: Described,
    /// Who did it.
    pub origin: Origin,
    /// When.
    pub time: Timestamp,
    /// A number that is higher for what happened later.
    pub sequencer: u64,
}

/// What a target is told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// That a bucket has rules now that name it.
    Test {
        /// The bucket.
        bucket: BucketName,
        /// When.
        time: Timestamp,
        /// The request that brought the rules.
        request_id: RequestId,
    },
    /// An event.
    Event(Box<Event>),
}

impl Notice {
    /// The body of the call.
    pub fn json(&self, region: &str) -> Vec<u8> {
        let time = |time: &Timestamp| String::from_utf8_lossy(&time.iso8601_millis()).into_owned();
        let message = match self {
            Self::Test { bucket, time: at, request_id } => json!({
                "Service": "sluicegate",
                "Event": "s3:TestEvent",
                "Time": time(at),
                "Bucket": bucket.as_str(),
                "RequestId": request_id.as_str(),
                "HostId": request_id.as_str(),
            }),
            Self::Event(event) => json!({
                "EventName": format!("s3:{}", event.kind.name()),
                "Key": format!("{}/{}", event.bucket.as_str(), event.key.as_str()),
                "Records": [event.record(region, &time(&event.time))],
            }),
        };
        message.to_string().into_bytes()
    }
}

impl Event {
    fn record(&self, region: &str, time: &str) -> serde_json::Value {
        let mut key = Vec::new();
        percent::encode_query_into(self.key.as_bytes(), &mut key);
        // As AWS: a form's encoding, in which a blank is a plus and a slash stays.
        let key = String::from_utf8_lossy(&key).replace("%20", "+").replace("%2F", "/");
        let mut object = json!({ "key": key, "sequencer": format!("{:016X}", self.sequencer) });
        if let Some((size, etag)) = &self.subject.content {
            object["size"] = json!(size);
            object["eTag"] = json!(etag);
        }
        if let Some(id) = &self.subject.version_id {
            object["versionId"] = json!(id);
        }
        let request_id = self.origin.request_id.as_str();
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": region,
            "eventTime": time,
            "eventName": self.kind.name(),
            "userIdentity": { "principalId": self.origin.principal },
            "requestParameters": { "sourceIPAddress": self.origin.address },
            "responseElements": { "x-amz-request-id": request_id, "x-amz-id-2": request_id },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.rule,
                "bucket": {
                    "name": self.bucket.as_str(),
                    "ownerIdentity": { "principalId": self.bucket_owner },
                    "arn": format!("arn:aws:s3:::{}", self.bucket.as_str()),
                },
                "object": object,
            },
        })
    }
}

/// The number of an event at this time: that of nanoseconds, but higher than every one before.
pub(super) fn sequencer(now: Timestamp) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let nanos = u64::try_from(now.seconds).unwrap_or(0).saturating_mul(1_000_000_000);
    let nanos = nanos.saturating_add(now.nanos.into());
    let next = |last: u64| Some(nanos.max(last.saturating_add(1)));
    // The function never declines.
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_else(|last| last);
    nanos.max(last.saturating_add(1))
}

/// The targets of the server: their names, and the queues in front of them. They may change at any time.
#[derive(Default)]
pub struct Webhooks {
    targets: ArcSwap<Vec<Arc<Webhook>>>,
}

/// One target.
pub struct Webhook {
    name: String,
    queue: Sender<Notice>,
    /// Whether notices were dropped since the queue was last half empty: that is said once.
    is_dropping: AtomicBool,
}

impl Webhooks {
    /// Makes the queue of a target; what is sent to it comes out of the receiver.
    ///
    /// # Panics
    /// If no target can have this name.
    pub fn add(&self, name: &str) -> Receiver<Notice> {
        assert!(is_target_name(name), "names of targets are checked with the configuration");
        let (queue, notices) = flume::bounded(NOTIFICATION_QUEUE_MAX);
        let added = Arc::new(Webhook { name: name.to_owned(), queue, is_dropping: AtomicBool::new(false) });
        self.targets.rcu(|targets| targets.iter().chain([&added]).cloned().collect::<Vec<_>>());
        notices
    }

    /// Forgets the targets whose names are not to be kept. What is in their queues still comes out.
    pub fn keep(&self, is_kept: impl Fn(&str) -> bool) {
        let kept = |target: &&Arc<Webhook>| is_kept(&target.name);
        self.targets.rcu(|targets| targets.iter().filter(kept).cloned().collect::<Vec<_>>());
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.targets.load().is_empty()
    }

    /// Notices that wait, of all targets.
    pub fn waiting(&self) -> usize {
        self.targets.load().iter().map(|target| target.queue.len()).sum()
    }

    /// The target of this name.
    pub fn find(&self, name: &str) -> Option<Arc<Webhook>> {
        self.targets.load().iter().find(|target| target.name == name).cloned()
    }

    /// Whether a target can have this name.
    pub fn is_name(name: &str) -> bool {
        is_target_name(name)
    }
}

impl Webhook {
    /// Puts a notice into the queue. If that is full, the notice is dropped and counted.
    pub fn send(&self, notice: Notice) {
        if self.queue.try_send(notice).is_err() {
            counters::notices_dropped(1);
            if !self.is_dropping.swap(true, Ordering::Relaxed) {
                tracing::warn!(target = self.name, "the queue of a webhook is full: notices are dropped");
            }
        } else if self.is_dropping.load(Ordering::Relaxed) && self.queue.len() < NOTIFICATION_QUEUE_MAX / 2 {
            self.is_dropping.store(false, Ordering::Relaxed);
        }
    }
}
