//! GetBucketTagging, PutBucketTagging, DeleteBucketTagging.
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Using cost allocation S3 bucket tags".

use super::access::Authorized;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::reply::Reply;
use super::settings::{self, BucketSettings, Setting};
use super::xml::Writer;
use super::xml::reader::{Malformed, Reader, name, once};
use crate::storage::BucketName;
use crate::storage::bucket_config::Item;

/// The tags of a bucket, in the order they were given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BucketTagging {
    tags: Vec<(String, String)>,
}

/// Most tags of a bucket (AWS: "Using cost allocation S3 bucket tags").
pub const BUCKET_TAGS_MAX: usize = 50;

impl BucketTagging {
    /// Takes keys and values.
    ///
    /// # Errors
    /// `InvalidTag`: they break a limit of AWS.
    pub fn from_pairs(tags: Vec<(String, String)>) -> Result<Self, S3Error> {
        let is_text =
            |text: &str, chars_max| text.chars().count() <= chars_max && !text.chars().any(char::is_control);
        for (index, (key, value)) in tags.iter().enumerate() {
            if index >= BUCKET_TAGS_MAX || key.is_empty() || !is_text(key, 128) || !is_text(value, 256) {
                return Err(Code::InvalidTag.because(
                    "A bucket has at most 50 tags, with keys of 1 to 128 and values of at most 256 characters.",
                ));
            }
            if tags[..index].iter().any(|(other, _)| other == key) {
                return Err(Code::InvalidTag
                    .because("Cannot provide multiple Tags with the same key.")
                    .with("TagKey", key.as_str()));
            }
        }
        Ok(Self { tags })
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl Setting for BucketTagging {
    const ITEM: Item = Item::Tagging;
    const MISSING: Code = Code::NoSuchTagSet;

    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        Self::from_pairs(read_tagging(document, BUCKET_TAGS_MAX)?)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_tagging(out, self.iter());
    }

    fn slot(settings: &mut BucketSettings) -> &mut Option<Self> {
        &mut settings.tagging
    }

    fn of(settings: &BucketSettings) -> Option<&Self> {
        settings.tagging.as_ref()
    }
}

/// Reads a `Tagging` document, of a bucket or of an object: keys and values, more than `count_max` of them only by one,
/// so that the caller can tell.
///
/// # Errors
/// [`Malformed`].
pub fn read_tagging(document: &[u8], count_max: usize) -> Result<Vec<(String, String)>, Malformed> {
    let mut reader = Reader::open(document, "Tagging")?;
    let mut tags = None;
    while let Some(element) = reader.child()? {
        match name(&element) {
            "TagSet" => once(&mut tags, read_tag_set(&mut reader, count_max)?)?,
            _ => return Err(Malformed),
        }
    }
    reader.finish()?;
    tags.ok_or(Malformed)
}

/// Reads the `Tag` elements inside the open one, as [`read_tagging`] does.
///
/// # Errors
/// [`Malformed`].
pub fn read_tag_set(reader: &mut Reader<'_>, count_max: usize) -> Result<Vec<(String, String)>, Malformed> {
    let mut tags = Vec::new();
    while let Some(element) = reader.child()? {
        if name(&element) != "Tag" {
            return Err(Malformed);
        }
        let tag = read_tag(reader)?;
        if tags.len() <= count_max {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// Reads the content of one `Tag`.
///
/// # Errors
/// [`Malformed`].
pub fn read_tag(reader: &mut Reader<'_>) -> Result<(String, String), Malformed> {
    let (mut key, mut value) = (None, None);
    while let Some(element) = reader.child()? {
        let text = reader.kept_text()?;
        match name(&element) {
            "Key" => once(&mut key, text)?,
            "Value" => once(&mut value, text)?,
            _ => return Err(Malformed),
        }
    }
    Ok((key.ok_or(Malformed)?, value.ok_or(Malformed)?))
}

/// Appends a `Tagging` document.
pub fn write_tagging<'t>(out: &mut Vec<u8>, tags: impl Iterator<Item = (&'t str, &'t str)>) {
    let mut writer = Writer::document(out);
    writer.open_root("Tagging");
    writer.open("TagSet");
    for (key, value) in tags {
        writer.open("Tag");
        writer.text("Key", key);
        writer.text("Value", value);
        writer.close("Tag");
    }
    writer.close("TagSet");
    writer.close("Tagging");
}

/// `GET /bucket?tagging`.
pub async fn get_bucket_tagging(ctx: &Ctx<'_>, operation: Authorized<BucketName>) -> Result<Reply, S3Error> {
    settings::get::<BucketTagging>(ctx, &operation)
}

/// `PUT /bucket?tagging`.
pub async fn put_bucket_tagging(
    ctx: &mut Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::put::<BucketTagging>(ctx, operation.into_inner(), 204).await
}

/// `DELETE /bucket?tagging`.
pub async fn delete_bucket_tagging(
    ctx: &Ctx<'_>,
    operation: Authorized<BucketName>,
) -> Result<Reply, S3Error> {
    settings::delete::<BucketTagging>(ctx, operation.into_inner()).await
}

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(tagging) = BucketTagging::parse(data) {
        let mut document = Vec::new();
        tagging.write(&mut document);
        assert_eq!(BucketTagging::parse(&document).ok(), Some(tagging));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(tags: &[(&str, &str)]) -> Vec<u8> {
        let mut document = Vec::new();
        write_tagging(&mut document, tags.iter().copied());
        document
    }

    #[test]
    fn limits_of_aws_hold() {
        let check = |tags: &[(&str, &str)], expected: Option<Code>| {
            let result = BucketTagging::parse(&document(tags));
            assert_eq!(result.err().map(|error| error.code()), expected, "{tags:?}");
        };
        check(&[], None);
        check(&[("team", "red"), ("Team", ""), ("é", "ü <&>")], None);
        check(&[("team", "red"), ("team", "blue")], Some(Code::InvalidTag));
        check(&[("", "x")], Some(Code::InvalidTag));
        check(&[("a\tb", "x")], Some(Code::InvalidTag));
        check(&[(&"k".repeat(128), &"v".repeat(256))], None);
        check(&[(&"k".repeat(129), "")], Some(Code::InvalidTag));
        check(&[("k", &"v".repeat(257))], Some(Code::InvalidTag));
        let names: Vec<String> = (0..51).map(|index| format!("k{index}")).collect();
        let tags: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        check(&tags[..50], None);
        check(&tags, Some(Code::InvalidTag));
    }

    #[test]
    fn other_documents_are_refused_and_none_breaks_anything() {
        for bad in
            ["", "<Tagging/>", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "<TagSet/>"]
        {
            let refused = BucketTagging::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), Code::MalformedXML, "{bad}");
        }
        let whole = document(&[("team", "red"), ("é", "<&>")]);
        for length in 0..=whole.len() {
            fuzz(&whole[..length]);
        }
    }
}
