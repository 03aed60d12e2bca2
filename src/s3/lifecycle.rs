//! Lifecycle rules of buckets: GetBucketLifecycleConfiguration, PutBucketLifecycleConfiguration, DeleteBucketLifecycle,
//! and the header `x-amz-expiration`.
//!
//! The rules are carried out by `control::lifecycle`, on the data as it stands, whichever protocol wrote it: the age of
//! an object is the age of its file's content. When something is due is said by the pure functions of `due`, for the
//! engine and for the header alike; what the XML says is in `document`.
//!
//! There is one storage class, so that transitions cannot be carried out, and a configuration with one is refused.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Managing the lifecycle of objects" and
//! "Lifecycle configuration elements" of the S3 user guide.

mod document;
mod due;

pub use document::ID_CHARS_MAX;
pub use due::{Day, Facts};

use super::access::Authorized;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::reply::Reply;
use super::settings::{self, BucketSettings, Setting};
use crate::codec::dates::Timestamp;
use crate::codec::percent;
use crate::storage::bucket_config::Item;
use crate::storage::record::Tags;
use crate::storage::{BucketName, ObjectKey};

/// The rules of a bucket, in the order they were given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Lifecycle {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// What tells it from the others of its bucket, 1 to [`ID_CHARS_MAX`] characters.
    pub id: String,
    /// Whether it is carried out.
    pub enabled: bool,
    /// What it speaks of.
    pub filter: Filter,
    /// When a current version is deleted.
    pub expiration: Option<Expiration>,
    /// When a noncurrent version is removed.
    pub noncurrent: Option<Noncurrent>,
    /// After how many days an upload in parts that was not completed is aborted.
    pub abort_days: Option<u32>,
}

/// What a rule speaks of: everything that meets all predicates, those beside the `And` and those in it. (AWS takes one
/// predicate beside it; clients of Ceph send several, which can mean nothing else.)
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    /// The rule has a `Prefix` and no `Filter`, which is the older form; it is given back as it came.
    pub is_prefix_only: bool,
    /// The predicates directly in the filter.
    pub plain: Predicates,
    /// Those in its `And`.
    pub and: Option<Predicates>,
}

/// What has to hold of an object.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Predicates {
    /// Its key begins so.
    pub prefix: Option<String>,
    /// It has these tags, besides others.
    pub tags: Vec<(String, String)>,
    /// It has more bytes.
    pub larger_than: Option<u64>,
    /// It has fewer bytes.
    pub smaller_than: Option<u64>,
}

/// When a current version is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiration {
    /// So many days after it was written; at least one.
    Days(u32),
    /// From this midnight on.
    Date(Timestamp),
    /// Not at all; but a delete marker with no version behind it is removed, if this is true.
    DeleteMarkers(bool),
}

/// When a noncurrent version is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noncurrent {
    /// So many days after it ceased to be the current one; at least one.
    pub days: u32,
    /// And if there are so many noncurrent versions of the key that are newer.
    pub newer_versions: Option<u32>,
}

impl Lifecycle {
    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The same rules and one more, which gets an id of its own.
    ///
    /// # Errors
    /// There are too many rules then, or the new one breaks a limit.
    pub fn with(&self, rule: Rule) -> Result<Lifecycle, S3Error> {
        let mut rules = self.rules.clone();
        rules.push(rule);
        document::checked(rules)
    }

    /// The same rules but this one. `None`: there is none of this id.
    pub fn without(&self, id: &str) -> Option<Lifecycle> {
        let rules: Vec<Rule> = self.rules.iter().filter(|rule| rule.id != id).cloned().collect();
        (rules.len() < self.rules.len()).then_some(Lifecycle { rules })
    }
}

impl Setting for Lifecycle {
    const ITEM: Item = Item::Lifecycle;
    const MISSING: Code = Code::NoSuchLifecycleConfiguration;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        document::read(document)
    }

    fn write(&self, out: &mut Vec<u8>) {
        document::write(self, out);
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.lifecycle
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.lifecycle.as_ref()
    }
}

/// `GET /bucket?lifecycle`.
pub async fn get_bucket_lifecycle(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    let mut reply = settings::get::<Lifecycle>(ctx, &operation)?;
    reply.header(MINIMUM_SIZE_HEADER, MINIMUM_SIZE);
    Ok(reply)
}

/// `PUT /bucket?lifecycle`.
pub async fn put_bucket_lifecycle(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    if let Some(other) = ctx.head.header(MINIMUM_SIZE_HEADER).filter(|value| *value != MINIMUM_SIZE) {
        return Err(S3Error::invalid_argument(
            MINIMUM_SIZE_HEADER,
            String::from_utf8_lossy(other),
            "This server has no transitions; leave the header out, or send all_storage_classes_128K.",
        ));
    }
    let mut reply = settings::put::<Lifecycle>(ctx, operation.into_inner(), 200).await?;
    reply.header(MINIMUM_SIZE_HEADER, MINIMUM_SIZE);
    Ok(reply)
}

/// `DELETE /bucket?lifecycle`.
pub async fn delete_bucket_lifecycle(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::delete::<Lifecycle>(ctx, operation.into_inner()).await
}

/// Says in an answer when the current version of an object expires, if a rule of its bucket says so. The header speaks of
/// days of the calendar, also where the engine is told that a day lasts less.
pub fn write_expiration(
    ctx: &Ctx<'_>,
    bucket: &BucketName,
    key: &ObjectKey,
    (size, modified): (u64, Timestamp),
    tags: Option<&Tags>,
    reply: &mut Reply,
) {
    ctx.service.settings.look(bucket, |settings| {
        let none = Tags::default();
        let facts = Facts { key: key.as_bytes(), size, modified, tags: Some(tags.unwrap_or(&none)) };
        let expiring = settings.lifecycle.as_ref().and_then(|rules| rules.expires(&facts, Day::CALENDAR));
        if let Some((moment, rule)) = expiring {
            reply.header("x-amz-expiration", &expiration_text(moment, rule));
        }
    });
}

fn expiration_text(moment: Timestamp, rule: &Rule) -> Vec<u8> {
    let mut text = Vec::with_capacity(96);
    text.extend_from_slice(b"expiry-date=\"");
    text.extend_from_slice(&moment.http());
    text.extend_from_slice(b"\", rule-id=\"");
    percent::encode_query_into(rule.id.as_bytes(), &mut text);
    text.push(b'"');
    text
}

/// What speaks of transitions in the calls of lifecycle configurations; clients wait until they read what they sent.
const MINIMUM_SIZE_HEADER: &str = "x-amz-transition-default-minimum-object-size";
const MINIMUM_SIZE: &[u8] = b"all_storage_classes_128K";

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(lifecycle) = Lifecycle::parse(data) {
        let mut document = Vec::new();
        lifecycle.write(&mut document);
        assert_eq!(Lifecycle::parse(&document).ok(), Some(lifecycle));
    }
}

#[cfg(test)]
mod tests;
