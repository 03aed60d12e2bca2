//! Notifications of buckets: GetBucketNotificationConfiguration, PutBucketNotificationConfiguration, and what a handler
//! says when it has changed an object.
//!
//! A rule names events, a prefix and a suffix of keys, and the ARN of a target that the administrator of the server has
//! configured (`arn:sluicegate:sqs::NAME:webhook`). After its change is durable a handler calls [`Ctx::notify`], which
//! hands the event to the queue of each target that a rule names and never waits: if the queue is full, the event is
//! dropped and counted. `control::notify` delivers.
//!
//! A bucket without rules costs one look-up, and a server without targets nothing.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Amazon S3 Event Notifications" of the user guide.

mod document;
mod event;

pub use event::{Event, EventKind, Noted, Notice, Origin, Webhooks};

use super::access::Authorized;
use super::context::{Ctx, Service};
use super::error::{Code, S3Error};
use super::reply::Reply;
use super::settings::{self, BucketSettings, Setting};
use crate::limits;
use crate::runtime::now;
use crate::storage::bucket;
use crate::storage::bucket_config::Item;
use crate::storage::{BucketName, ObjectKey};

/// Who is told of which changes in a bucket. There is at least one rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What tells it from the others of its bucket.
    pub id: String,
    /// Under which of the three elements it was given; here they mean the same.
    pub kind: RuleKind,
    /// The name of the target.
    pub target: String,
    /// The events, as they were named.
    pub events: Vec<&'static event::Name>,
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// Only keys that end so.
    pub suffix: Option<String>,
}

/// The element of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The variants are the elements themselves.
pub enum RuleKind {
    Topic,
    Queue,
    Function,
}

impl Notification {
    /// The rules that speak of this event.
    fn matching(&self, kind: EventKind, key: &ObjectKey) -> impl Iterator<Item = &Rule> {
        let key = key.as_bytes();
        self.rules.iter().filter(move |rule| {
            rule.events.iter().any(|name| name.names(kind))
                && rule.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_bytes()))
                && rule.suffix.as_ref().is_none_or(|suffix| key.ends_with(suffix.as_bytes()))
        })
    }
}

impl Setting for Notification {
    const ITEM: Item = Item::Notification;
    // Never said: a bucket without rules has an empty configuration.
    const MISSING: Code = Code::NoSuchConfiguration;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        document::read(document)?.ok_or_else(|| Code::MalformedXML.into())
    }

    fn write(&self, out: &mut Vec<u8>) {
        document::write(&self.rules, out);
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.notification
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.notification.as_ref()
    }
}

/// `GET /bucket?notification`.
pub async fn get_bucket_notification(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    ctx.bucket(&operation)?;
    let settings = ctx.service.settings.of(&operation);
    let mut document = Vec::with_capacity(1024);
    document::write(settings.notification.as_ref().map_or(&[], |all| &all.rules), &mut document);
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// `PUT /bucket?notification`. Each target of the new rules gets a test event.
pub async fn put_bucket_notification(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    let name = operation.into_inner();
    ctx.bucket(&name)?;
    // The one of the settings whose document comes without a digest.
    let body = ctx.read_body(limits::SETTING_BODY_BYTES_MAX).await?;
    let notification = document::read(&body)?;
    let mut targets: Vec<String> =
        notification.iter().flat_map(|all| &all.rules).map(|rule| rule.target.clone()).collect();
    targets.sort_unstable();
    targets.dedup();
    if let Some(unknown) = targets.iter().find(|target| ctx.service.webhooks.find(target).is_none()) {
        return Err(S3Error::invalid_argument(
            "ARN",
            document::arn(unknown),
            "A specified destination ARN does not exist or is not well-formed. Verify the destination ARN; an \
             administrator makes targets known to the server by --notify-webhook.",
        ));
    }
    ctx.offload(move |service| settings::change(service, &name, notification)).await?;
    for target in targets.iter().filter_map(|target| ctx.service.webhooks.find(target)) {
        target.send(Notice::Test { bucket: name, time: now(), request_id: ctx.request_id });
    }
    Ok(Reply::new(ctx, 200))
}

impl Ctx<'_> {
    /// Tells whom the rules of the bucket name that this request has changed an object.
    pub fn notify(&self, kind: EventKind, bucket: &BucketName, key: &ObjectKey, subject: &Noted<'_>) {
        self.service.notify(kind, bucket, key, subject, || Origin {
            principal: self.caller.unique_id().to_owned(),
            address: self.caller.address().to_string(),
            request_id: self.request_id,
        });
    }
}

impl Service {
    /// Tells whom the rules of the bucket name that an object was changed. `origin` says by whom, and is only asked if
    /// somebody is told.
    pub fn notify(
        &self,
        kind: EventKind,
        bucket: &BucketName,
        key: &ObjectKey,
        subject: &Noted<'_>,
        origin: impl Fn() -> Origin,
    ) {
        if self.webhooks.is_empty() {
            return;
        }
        self.settings.look(bucket, |settings| {
            let matching = settings.notification.iter().flat_map(|all| all.matching(kind, key));
            for rule in matching {
                let Some(target) = self.webhooks.find(&rule.target) else { continue };
                target.send(Notice::Event(Box::new(Event {
                    kind,
                    rule: rule.id.clone(),
                    bucket: *bucket,
                    bucket_owner: self.maker_of(bucket),
                    key: key.clone(),
                    subject: subject.described(),
                    origin: origin(),
                    time: now(),
                    sequencer: event::sequencer(now()),
                })));
            }
        });
    }

    /// The unique id of who made a bucket; nothing if nobody knows.
    fn maker_of(&self, name: &BucketName) -> String {
        let maker = self.root.bucket(name).ok().flatten().and_then(|bucket| bucket::maker(&bucket).ok()?);
        maker.map_or(String::new(), |maker| maker.unique_id)
    }
}

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(Some(notification)) = document::read(data) {
        let mut document = Vec::new();
        notification.write(&mut document);
        assert_eq!(Notification::parse(&document).ok(), Some(notification));
    }
}

#[cfg(test)]
mod tests;
