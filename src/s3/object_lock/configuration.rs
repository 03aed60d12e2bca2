//! The configuration of a bucket's object lock, and its document.

use crate::codec::dates::Timestamp;
use crate::s3::context::Service;
use crate::s3::error::{Code, S3Error};
use crate::s3::settings::{BucketSettings, Setting};
use crate::s3::xml::Writer;
use crate::s3::xml::reader::{Malformed, Reader, name, once};
use crate::storage::bucket_config::Item;
use crate::storage::record::{Retention, RetentionMode};

/// The object lock of a bucket that has it enabled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ObjectLock {
    /// What new versions get that name no retention of their own.
    pub default_retention: Option<DefaultRetention>,
}

/// A retention that begins when a version is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultRetention {
    /// Whom it binds.
    pub mode: RetentionMode,
    /// How long it lasts.
    pub period: Period,
}

/// How long a default retention lasts: at least one day, at most a hundred years.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// In days.
    Days(u32),
    /// In years of 365 days.
    Years(u32),
}

impl DefaultRetention {
    /// The retention of a version that is made now.
    pub(super) fn from(self, now: Timestamp) -> Retention {
        let days = match self.period {
            Period::Days(days) => days,
            Period::Years(years) => years * 365,
        };
        Retention { mode: self.mode, until_seconds: now.seconds + i64::from(days) * 86_400 }
    }
}

impl Setting for ObjectLock {
    const ITEM: Item = Item::ObjectLock;
    const MISSING: Code = Code::ObjectLockConfigurationNotFoundError;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let read = read_configuration(document)?;
        let Some((mode, days, years)) = read else { return Ok(Self::default()) };
        let period = |count: i64, most: u32| {
            match u32::try_from(count) {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(Code::InvalidRetentionPeriod.because(format!(
                "The default retention period must be a positive number of at most {DAYS_MAX} days or {YEARS_MAX} years."
            ))),
        }
        };
        let period = match (days, years) {
            (Some(days), None) => Period::Days(period(days, DAYS_MAX)?),
            (None, Some(years)) => Period::Years(period(years, YEARS_MAX)?),
            _ => return Err(Code::MalformedXML.into()),
        };
        Ok(Self { default_retention: Some(DefaultRetention { mode, period }) })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::document(out);
        writer.open_root("ObjectLockConfiguration");
        writer.text("ObjectLockEnabled", "Enabled");
        if let Some(DefaultRetention { mode, period }) = self.default_retention {
            writer.open("Rule");
            writer.open("DefaultRetention");
            writer.text("Mode", mode.name());
            match period {
                Period::Days(days) => writer.number("Days", days.into()),
                Period::Years(years) => writer.number("Years", years.into()),
            }
            writer.close("DefaultRetention");
            writer.close("Rule");
        }
        writer.close("ObjectLockConfiguration");
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.object_lock
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.object_lock.as_ref()
    }

    /// What is locked stays locked.
    fn when_damaged() -> Option<Self> {
        Some(Self::default())
    }

    fn check(&self, _service: &Service, beside: &BucketSettings) -> Result<(), S3Error> {
        if beside.versioning.is_some_and(|versioning| versioning.enabled) {
            return Ok(());
        }
        Err(Code::InvalidBucketState
            .because("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"))
    }
}

type Rule = (RetentionMode, Option<i64>, Option<i64>);

/// The default retention of an `ObjectLockConfiguration` document: mode, days, years.
fn read_configuration(document: &[u8]) -> Result<Option<Rule>, Malformed> {
    let mut reader = Reader::open(document, "ObjectLockConfiguration")?;
    let (mut enabled, mut rule) = (None, None);
    while let Some(element) = reader.child()? {
        match name(&element) {
            "ObjectLockEnabled" => once(&mut enabled, reader.text()?)?,
            "Rule" => once(&mut rule, read_rule(&mut reader)?)?,
            _ => return Err(Malformed),
        }
    }
    reader.finish()?;
    if enabled.as_deref() == Some("Enabled") { Ok(rule.flatten()) } else { Err(Malformed) }
}

fn read_rule(reader: &mut Reader<'_>) -> Result<Option<Rule>, Malformed> {
    let mut rule = None;
    while let Some(element) = reader.child()? {
        if name(&element) != "DefaultRetention" {
            return Err(Malformed);
        }
        let (mut mode, mut days, mut years) = (None, None, None);
        while let Some(element) = reader.child()? {
            let text = reader.text()?;
            let number = || text.trim().parse::<i64>().map_err(|_| Malformed);
            match name(&element) {
                "Mode" => once(&mut mode, RetentionMode::parse(&text).ok_or(Malformed)?)?,
                "Days" => once(&mut days, number()?)?,
                "Years" => once(&mut years, number()?)?,
                _ => return Err(Malformed),
            }
        }
        once(&mut rule, (mode.ok_or(Malformed)?, days, years))?;
    }
    Ok(rule)
}

/// The longest default retention (AWS: "Object Lock considerations").
const DAYS_MAX: u32 = 36_500;
const YEARS_MAX: u32 = 100;

/// Whatever configuration is taken is written and read back as the same.
pub(super) fn fuzz(data: &[u8]) {
    if let Ok(value) = ObjectLock::parse(data) {
        let mut document = Vec::new();
        value.write(&mut document);
        assert_eq!(ObjectLock::parse(&document).ok(), Some(value));
    }
}
