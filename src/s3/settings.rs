//! What is configured for a bucket besides its policy: tags, versioning, CORS, and the like, one [`Setting`] each.
//!
//! A setting is a document, mostly of XML. It is parsed once, when it is put or when the server starts; every request looks at
//! the parsed values, which all cores share ([`Settings`]). What is kept on disk ([`bucket_config`]) is the document
//! that [`Setting::write`] makes of the values, which is also what a client gets back, so that there is one parser and
//! one writer for each setting. A change is durable before it is published, and published before its call returns.
//!
//! The handlers of a setting are [`get`], [`put`] and [`delete`]; who may call them is decided by IAM as for every
//! operation. What a setting means is said in the file of its family.

use std::collections::HashMap;
use std::sync::Arc;

use super::acl::BucketAcl;
use super::bucket_tagging::BucketTagging;
use super::context::{Ctx, Service, open_bucket};
use super::cors::BucketCors;
use super::error::{Code, S3Error};
use super::lifecycle::Lifecycle;
use super::notification::Notification;
use super::object_lock::ObjectLock;
use super::ownership::OwnershipControls;
use super::public_access_block::PublicAccessBlock;
use super::reply::Reply;
use super::versioning::BucketVersioning;
use crate::limits;
use crate::storage::bucket_config::{self, Item};
use crate::storage::{self, BucketName, ByBucket, Profile, Root};

/// One thing that can be configured for a bucket.
pub trait Setting: Sized + Send + 'static {
    /// Where it is kept.
    const ITEM: Item;
    /// What is said when it is asked for and not configured.
    const MISSING: Code;

    /// Reads the document a client sent, or the one that [`write`](Self::write) made.
    ///
    /// # Errors
    /// What the client did wrong: nothing is stored then.
    fn parse(document: &[u8]) -> Result<Self, S3Error>;

    /// Appends the document. [`parse`](Self::parse) makes the same value of it.
    fn write(&self, out: &mut Vec<u8>);

    /// Where it stands among the settings of a bucket.
    fn slot(settings: &mut BucketSettings) -> &mut Option<Self>;

    /// As [`slot`](Self::slot), to read.
    fn of(settings: &BucketSettings) -> Option<&Self>;

    /// What holds for a bucket whose document on disk is damaged. A setting that restricts something has to answer
    /// with the strictest value here.
    fn when_damaged() -> Option<Self> {
        None
    }

    /// Whether it may be configured beside what else is configured for the bucket. Asked while nothing else can change.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, _service: &Service, _beside: &BucketSettings) -> Result<(), S3Error> {
        Ok(())
    }
    /// Tells the storage what it has to know of the setting, before the others are told. Also called at the start.
    fn published(_root: &Root, _bucket: &BucketName, _value: Option<&Self>) {}
}

/// The settings of one bucket. `Default` has none.
#[derive(Clone, Default, Debug)]
pub struct BucketSettings {
    /// Its access control list; private if there is none.
    pub acl: Option<BucketAcl>,
    /// Which pages of other origins may use it from a browser.
    pub cors: Option<BucketCors>,
    /// Rules that delete objects.
    pub lifecycle: Option<Lifecycle>,
    /// Who is told of changes of objects.
    pub notification: Option<Notification>,
    /// Its object lock.
    pub object_lock: Option<ObjectLock>,
    /// Its ownership controls.
    pub ownership: Option<OwnershipControls>,
    /// Where it differs from S3, for speed.
    pub profile: Option<Profile>,
    /// Its public access block.
    pub public_access_block: Option<PublicAccessBlock>,
    /// Tags of the bucket.
    pub tagging: Option<BucketTagging>,
    /// Its versioning, if that was ever set.
    pub versioning: Option<BucketVersioning>,
}

/// The settings of all buckets, as every core sees them.
#[derive(Default)]
pub struct Settings {
    of_buckets: ByBucket<Arc<BucketSettings>>,
    none: Arc<BucketSettings>,
}

impl Settings {
    /// Reads the settings of all buckets, for the start of the server. A damaged one does not stop the server: it is
    /// said, and [`Setting::when_damaged`] holds.
    pub fn load(root: &Root) -> storage::Result<Settings> {
        let mut of_buckets = HashMap::new();
        load_all::<BucketAcl>(root, &mut of_buckets)?;
        load_all::<BucketCors>(root, &mut of_buckets)?;
        load_all::<Lifecycle>(root, &mut of_buckets)?;
        load_all::<Notification>(root, &mut of_buckets)?;
        load_all::<ObjectLock>(root, &mut of_buckets)?;
        load_all::<OwnershipControls>(root, &mut of_buckets)?;
        load_all::<Profile>(root, &mut of_buckets)?;
        load_all::<PublicAccessBlock>(root, &mut of_buckets)?;
        load_all::<BucketTagging>(root, &mut of_buckets)?;
        load_all::<BucketVersioning>(root, &mut of_buckets)?;
        let settings = Settings::default();
        let of_buckets = of_buckets.into_iter().map(|(name, settings)| (name, Arc::new(settings)));
        settings.of_buckets.replace(of_buckets.collect());
        Ok(settings)
    }

    /// The settings of a bucket, as they are now.
    pub fn of(&self, bucket: &BucketName) -> Arc<BucketSettings> {
        self.of_buckets.look(bucket, Arc::clone).unwrap_or_else(|| self.none.clone())
    }

    /// Looks at the settings of a bucket, as they are now, without taking hold of them: for the way of every request.
    /// `None`: nothing is configured.
    pub fn look<T>(&self, bucket: &BucketName, look: impl FnOnce(&BucketSettings) -> T) -> Option<T> {
        self.of_buckets.look(bucket, |settings| look(settings))
    }

    /// The buckets for which something is configured.
    pub fn buckets(&self) -> Vec<BucketName> {
        let mut names: Vec<BucketName> = self.of_buckets.load().keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Forgets the settings of a bucket that is gone. The caller holds the lock of the configuration.
    pub fn forget(&self, bucket: &BucketName) {
        if self.of_buckets.load().contains_key(bucket) {
            self.of_buckets.set(bucket, None);
        }
    }

    /// Publishes a change. The caller holds the lock of the configuration.
    fn publish<S: Setting>(&self, bucket: &BucketName, value: Option<S>) {
        let mut settings = BucketSettings::clone(&self.of(bucket));
        *S::slot(&mut settings) = value;
        self.of_buckets.set(bucket, Some(Arc::new(settings)));
    }
}

fn load_all<S: Setting>(root: &Root, all: &mut HashMap<BucketName, BucketSettings>) -> storage::Result<()> {
    for name in bucket_config::with(root, S::ITEM)? {
        let document = bucket_config::read(root, &name, S::ITEM)?.unwrap_or_default();
        let value = S::parse(&document).map_or_else(
            |error| {
                tracing::error!(
                    bucket = name.as_str(),
                    item = S::ITEM.file(),
                    "this configuration of the bucket is damaged: {} Put it again.",
                    error.message()
                );
                S::when_damaged()
            },
            Some,
        );
        S::published(root, &name, value.as_ref());
        *S::slot(all.entry(name).or_default()) = value;
    }
    Ok(())
}

/// Configures a setting, or takes it away. Waits for the disk.
///
/// # Errors
/// `NoSuchBucket`, what [`Setting::check`] says, or the file system failed.
pub fn change<S: Setting>(service: &Service, name: &BucketName, value: Option<S>) -> Result<(), S3Error> {
    update(service, name, |_| Ok(value))
}

/// As [`change`], to what `new` makes of the bucket's settings; they do not change in between.
///
/// # Errors
/// As [`change`], and what `new` says.
pub fn update<S: Setting>(
    service: &Service,
    name: &BucketName,
    new: impl FnOnce(&BucketSettings) -> Result<Option<S>, S3Error>,
) -> Result<(), S3Error> {
    let _changing = service.root.lock_configuration();
    open_bucket(&service.root, name)?;
    let settings = service.settings.of(name);
    let value = new(&settings)?;
    if let Some(value) = &value {
        value.check(service, &settings)?;
        let mut document = Vec::with_capacity(1024);
        value.write(&mut document);
        // Characters that XML has to write as references can make it longer than what was sent.
        if document.len() > bucket_config::CONTENT_BYTES_MAX {
            return Err(Code::MaxMessageLengthExceeded.into());
        }
    }
    change_locked(service, name, value)?;
    tracing::info!(bucket = name.as_str(), item = S::ITEM.file(), "changed the configuration of a bucket");
    Ok(())
}

/// As [`change`], for a caller that holds the lock of the configuration and has looked after the bucket.
///
/// # Errors
/// The file system failed.
pub fn change_locked<S: Setting>(
    service: &Service,
    name: &BucketName,
    value: Option<S>,
) -> storage::Result<()> {
    match &value {
        Some(value) => {
            let mut document = Vec::with_capacity(1024);
            value.write(&mut document);
            bucket_config::write(&service.root, name, S::ITEM, &document)?;
        }
        None => {
            bucket_config::remove(&service.root, name, S::ITEM)?;
        }
    }
    S::published(&service.root, name, value.as_ref());
    service.settings.publish(name, value);
    Ok(())
}

/// Answers with the document of a setting.
pub fn get<S: Setting>(ctx: &Ctx<'_>, name: &BucketName) -> Result<Reply, S3Error> {
    ctx.bucket(name)?;
    let settings = ctx.service.settings.of(name);
    let value = S::of(&settings).ok_or_else(|| S::MISSING.with("BucketName", name.as_str()))?;
    let mut document = Vec::with_capacity(1024);
    value.write(&mut document);
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// Takes the document of a setting from the body of the request; the answer has the status `status`.
pub async fn put<S: Setting>(ctx: &mut Ctx<'_>, name: BucketName, status: u16) -> Result<Reply, S3Error> {
    ctx.bucket(&name)?;
    let body = ctx.read_document(limits::SETTING_BODY_BYTES_MAX).await?;
    let value = S::parse(&body)?;
    ctx.offload(move |service| change(service, &name, Some(value))).await?;
    Ok(Reply::new(ctx, status))
}

/// Takes a setting away, whether it was there or not.
pub async fn delete<S: Setting>(ctx: &Ctx<'_>, name: BucketName) -> Result<Reply, S3Error> {
    ctx.offload(move |service| change::<S>(service, &name, None)).await?;
    Ok(Reply::new(ctx, 204))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Durability;

    fn name(text: &str) -> BucketName {
        BucketName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn settings_are_loaded_and_a_damaged_one_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let good = b"<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>";
        bucket_config::write(&root, &name("good"), Item::Tagging, good).unwrap();
        bucket_config::write(&root, &name("bad"), Item::Tagging, &good[..40]).unwrap();
        let settings = Settings::load(&root).unwrap();
        assert!(settings.of(&name("good")).tagging.is_some());
        assert!(settings.of(&name("bad")).tagging.is_none());
        assert!(settings.of(&name("other")).tagging.is_none());
        settings.publish::<BucketTagging>(&name("good"), None);
        assert!(settings.of(&name("good")).tagging.is_none());
        settings.forget(&name("good"));
        assert!(!settings.of_buckets.load().contains_key(&name("good")));
    }
}
