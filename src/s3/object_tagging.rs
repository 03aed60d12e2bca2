//! GetObjectTagging, PutObjectTagging, DeleteObjectTagging.
//!
//! Tags are a field of the object's record, which is replaced in place under the key's lock: neither the data nor its
//! time of modification changes. The tags of a new object come in the header `x-amz-tagging` (see [`attributes`]).
//!
//! Spec: the operations of these names in the Amazon S3 API reference; "Categorizing your objects using tags".

use super::access::Authorized;
use super::attributes;
use super::bucket_tagging::{read_tagging, write_tagging};
use super::context::Ctx;
use super::error::S3Error;
use super::notification::{EventKind, Noted};
use super::operation::ObjectVersion;
use super::reply::Reply;
use super::versioning;
use crate::limits;
use crate::storage::object::{self, Object};
use crate::storage::record::Tags;
use crate::storage::versions::Absence;

/// `GET /bucket/key?tagging`.
pub async fn get_object_tagging(
    ctx: &Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let ObjectVersion { bucket, key, version_id } = operation.into_inner();
    let object = versioning::find(ctx, &ctx.bucket(&bucket)?, &key, version_id.as_ref())?;
    let version = object.version;
    let tags = object.record.map(|record| record.tags).unwrap_or_default();
    // By key, whatever their order was when they were given: clients compare the list as a whole.
    let mut sorted: Vec<(&str, &str)> = tags.iter().collect();
    sorted.sort_unstable();
    let mut document = Vec::with_capacity(512);
    write_tagging(&mut document, sorted.into_iter());
    let mut reply = Reply::new(ctx, 200);
    versioning::write_version(ctx.service, &bucket, version, &mut reply);
    reply.xml(document);
    Ok(reply)
}

/// `PUT /bucket/key?tagging`.
pub async fn put_object_tagging(
    ctx: &mut Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    let object = operation.into_inner();
    let body = ctx.read_document(limits::SETTING_BODY_BYTES_MAX).await?;
    replace(ctx, &object, parse(&body)?, (200, EventKind::TaggingPut)).await
}

/// `DELETE /bucket/key?tagging`.
pub async fn delete_object_tagging(
    ctx: &Ctx<'_>,
    operation: Authorized<ObjectVersion>,
) -> Result<Reply, S3Error> {
    replace(ctx, &operation, Tags::default(), (204, EventKind::TaggingDelete)).await
}

/// The tags of a `Tagging` document.
///
/// # Errors
/// `MalformedXML`; `InvalidTag` where a limit is broken.
pub fn parse(document: &[u8]) -> Result<Tags, S3Error> {
    let pairs = read_tagging(document, Tags::COUNT_MAX)?;
    attributes::tags_of(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// Gives an object these tags in place of what it has, durably, with this status of the answer and this event.
async fn replace(
    ctx: &Ctx<'_>,
    object: &ObjectVersion,
    tags: Tags,
    (status, event): (u16, EventKind),
) -> Result<Reply, S3Error> {
    let ObjectVersion { bucket: name, key, version_id } = object;
    let (root, version) = (&ctx.service.root, versioning::named(version_id.as_ref())?);
    let record_of = |found: Result<&Object, &Absence>| {
        let object = found.map_err(|absence| versioning::absent(ctx, name, key, version, absence))?;
        let mut record = attributes::record_of(object, key);
        record.tags.clone_from(&tags);
        Ok::<_, S3Error>(record)
    };
    let (version, change) = object::amend(root, &ctx.bucket(name)?, key, version, &record_of)??;
    root.commit(name, change).await?;
    ctx.notify(event, name, key, &Noted::version(version));
    let mut reply = Reply::new(ctx, status);
    versioning::write_version(ctx.service, name, version, &mut reply);
    Ok(reply)
}

/// Whatever is taken is written and read back as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(tags) = parse(data) {
        let mut document = Vec::new();
        write_tagging(&mut document, tags.iter());
        assert_eq!(parse(&document).ok(), Some(tags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;

    fn document(tags: &[(&str, &str)]) -> Vec<u8> {
        let mut document = Vec::new();
        write_tagging(&mut document, tags.iter().copied());
        document
    }

    #[test]
    fn limits_of_aws_hold() {
        let check = |tags: &[(&str, &str)], expected: Option<Code>| {
            assert_eq!(parse(&document(tags)).err().map(|error| error.code()), expected, "{tags:?}");
        };
        check(&[], None);
        check(&[("team", "red"), ("Team", ""), ("é", "ü <&>")], None);
        check(&[("team", "red"), ("team", "blue")], Some(Code::InvalidTag));
        check(&[("", "x")], Some(Code::InvalidTag));
        check(&[(&"é".repeat(128), &"ü".repeat(256))], None);
        check(&[(&"k".repeat(129), "")], Some(Code::InvalidTag));
        check(&[("k", &"v".repeat(257))], Some(Code::InvalidTag));
        let names: Vec<String> = (0..200).map(|index| format!("k{index}")).collect();
        let tags: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        check(&tags[..10], None);
        check(&tags[..11], Some(Code::InvalidTag));
        check(&tags, Some(Code::InvalidTag));
    }

    #[test]
    fn no_document_breaks_the_reader() {
        let whole = document(&[("team", "red"), ("é", "<&>")]);
        for length in 0..=whole.len() {
            fuzz(&whole[..length]);
        }
        assert_eq!(parse(b"<TagSet/>").map_err(|error| error.code()), Err(Code::MalformedXML));
    }
}
