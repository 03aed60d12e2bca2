//! CopyObject.
//!
//! The data is copied inside the kernel (`copy_file_range`, which shares blocks where the file system can) on an offload
//! thread. It is read only if something has to be computed: a checksum the source does not have, or the MD5 of a file
//! that another program wrote or of an object that has only an id in its place, unless the profile of the bucket wants
//! none. The copy of an object uploaded in parts keeps its parts and its ETag.
//!
//! Spec: CopyObject in the Amazon S3 API reference.

use std::os::fd::AsFd;

use super::access::Authorized;
use super::acl::{self, Asked};
use super::attributes;
use super::context::Ctx;
use super::error::{Code, S3Error};
use super::integrity::requested_algorithm;
use super::lifecycle::write_expiration;
use super::notification::{EventKind, Noted};
use super::object_lock;
use super::operation::{CopyObject, Operation, Requirement};
use super::put_object::{holds, owner};
use super::reply::Reply;
use super::versioning;
use super::xml::{ChecksumText, Copied};
use crate::codec::dates::Timestamp;
use crate::digest::{Algorithm, ChecksumType, Digests, Wanted};
use crate::failpoint;
use crate::http::conditional::{ReadConditions, ReadOutcome, Validators, WriteConditions};
use crate::http::head::Head;
use crate::iam::Action;
use crate::limits;
use crate::storage::error::{At, Subject};
use crate::storage::layout;
use crate::storage::multipart::read_digests;
use crate::storage::object::{self, Condition, Object};
use crate::storage::profile::ETagKind;
use crate::storage::record::{ETag, HeaderField, Record, StoredChecksum};
use crate::storage::writer::Staged;

/// `PUT /bucket/key` with `x-amz-copy-source`.
pub async fn copy_object(ctx: &Ctx<'_>, operation: Authorized<CopyObject>) -> Result<Reply, S3Error> {
    let CopyObject { bucket: name, key, source } = operation.into_inner();
    let service = ctx.service.clone();
    let root = &service.root;
    let owner = owner(ctx)?;
    let replace_metadata = directive(ctx.head, "x-amz-metadata-directive")?;
    let replace_tags = directive(ctx.head, "x-amz-tagging-directive")?;
    let wanted_checksum = requested_algorithm(ctx.head)?;
    let from = ctx.bucket(&source.bucket)?;
    let original = ctx.within(&source.bucket, versioning::find_source(ctx, &from, &source)).await?;
    check_source(ctx.head, &original, original.size)?;
    let takes_tags = original.record.as_ref().is_some_and(|record| !record.tags.is_empty()) && !replace_tags;
    if takes_tags {
        let operation =
            Operation::CopyObject(CopyObject { bucket: name, key: key.clone(), source: source.clone() });
        let writes =
            Requirement { action: Action::PutObjectTagging, bucket: name.as_str(), key: key.as_bytes() };
        for requirement in [source.tag_requirement(), writes] {
            ctx.caller.require(&requirement, &operation)?;
        }
    }
    let mut record = new_record(ctx.head, &original, replace_metadata, replace_tags)?;
    object_lock::of_request(ctx, &name, &mut record)?;
    let asked = Asked::of(|name| ctx.head.header(name))?;
    let changes_nothing = !replace_metadata
        && !replace_tags
        && wanted_checksum.is_none()
        && ctx.head.header("x-amz-storage-class").is_none()
        && ctx.head.header("x-amz-website-redirect-location").is_none();
    // A version that is named is copied to its key to become the current one again.
    if source.bucket == name && source.key == key && source.version_id.is_none() && changes_nothing {
        return Err(Code::InvalidRequest.because(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let bucket = ctx.bucket(&name)?;
    // The list of the source is never taken along.
    let owner = acl::of_new_object(&ctx.caller, asked.as_ref(), &bucket, owner, &mut record)?;
    let conditions = WriteConditions::of_request(ctx.head);
    let decide = |current: Option<&Object>| holds(&conditions, current);
    if !conditions.is_empty() {
        decide(object::open(root, &bucket, &key)?.as_ref())?;
    }
    let staged = Staged::create(root, &bucket, &layout::path(&key))?;
    let kind = root.profile(&name).etag;
    let compute = missing_digests(&original, wanted_checksum.map(|(algorithm, _)| algorithm), kind);
    let to = staged.as_fd().try_clone_to_owned().at(Subject::Object, "open a file")?;
    let (size, content) = (original.size, original.content());
    let source_file = original.file.try_clone().at(Subject::Object, "open a file")?;
    let durability = root.durability(&name);
    let digests = ctx
        .offload(move |service| {
            content.copy(source_file.as_fd(), 0, to.as_fd(), 0, size)?;
            service.root.committer.settle_and_wait(durability, to.as_fd())?;
            failpoint::pass("copy:done");
            Ok(match compute {
                Some(wanted) => Some(read_digests(to.as_fd(), 0, size, wanted)?),
                None => None,
            })
        })
        .await?;
    if original.record.is_none() {
        // Until its MD5 is known, if it is to be.
        record.etag = root.etag(None);
    }
    if let Some(digests) = digests {
        apply(&digests, &mut record);
    }
    object_lock::set_default(&service, &name, ctx.now, &mut record);
    let condition = if conditions.is_empty() { Condition::Always } else { Condition::Decide(&decide) };
    let change = object::publish(root, &bucket, &key, staged, &mut record, owner, &condition)??;
    root.commit(&name, change).await?;
    ctx.notify(EventKind::CreatedCopy, &name, &key, &Noted::of(&record));
    let mut reply = Reply::new(ctx, 200);
    write_expiration(ctx, &name, &key, (record.size, record.mtime), Some(&record.tags), &mut reply);
    versioning::write_new_version(record.version, &mut reply);
    versioning::write_source_version(&service, &source.bucket, original.version, &mut reply);
    reply.xml(document(&record));
    Ok(reply)
}

/// COPY (false) or REPLACE (true).
fn directive(head: &Head, name: &'static str) -> Result<bool, S3Error> {
    match head.header(name) {
        None | Some(b"COPY") => Ok(false),
        Some(b"REPLACE") => Ok(true),
        Some(other) => Err(S3Error::invalid_argument(
            name,
            String::from_utf8_lossy(other),
            "The directive is COPY or REPLACE.",
        )),
    }
}

/// Whether `length` bytes of the source may be copied: its conditions hold and they are not too many.
pub fn check_source(head: &Head, source: &Object, length: u64) -> Result<(), S3Error> {
    let mut etag = Vec::new();
    source.etag.write_into(&mut etag);
    let validators = Validators { etag: &etag, last_modified: source.modified };
    match ReadConditions::of_copy_source(head).evaluate(&validators) {
        ReadOutcome::Proceed => {}
        ReadOutcome::Failed(condition) => return Err(S3Error::precondition_failed(condition)),
        ReadOutcome::NotModified => return Err(Code::PreconditionFailed.into()),
    }
    if length > limits::PUT_BYTES_MAX {
        return Err(Code::InvalidRequest.because(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {}. Copy it in parts.",
            limits::PUT_BYTES_MAX
        )));
    }
    Ok(())
}

/// What the copy's record takes from the source and what from the request.
fn new_record(
    head: &Head,
    source: &Object,
    replace_metadata: bool,
    replace_tags: bool,
) -> Result<Record, S3Error> {
    let mut asked = Record::new(0, Timestamp::from_seconds(0), ETag::Md5([0; 16]));
    attributes::of_request(head, &mut asked)?;
    let mut record = match &source.record {
        Some(record) => record.clone(),
        None => asked.clone(),
    };
    record.spill = None;
    // The storage class and the redirect are never taken along.
    for field in [HeaderField::StorageClass, HeaderField::WebsiteRedirectLocation] {
        record.headers.set(field, asked.headers.text(field).cloned());
    }
    if replace_metadata {
        record.headers = asked.headers;
        record.user_metadata = asked.user_metadata;
    }
    if replace_tags {
        record.tags = asked.tags;
    }
    Ok(record)
}

/// What has to be computed over the data, if anything.
fn missing_digests(source: &Object, wanted: Option<Algorithm>, kind: ETagKind) -> Option<Wanted> {
    let stored = source.record.as_ref().and_then(|record| record.checksum.as_ref());
    let has = match (wanted, stored) {
        (None, Some(_)) => true,
        (Some(algorithm), Some(stored)) => {
            stored.algorithm() == algorithm && stored.checksum_type() == ChecksumType::FullObject
        }
        (_, None) => false,
    };
    let md5 = kind == ETagKind::Md5 && !source.record.as_ref().is_some_and(has_etag_of_s3);
    if has && !md5 {
        return None;
    }
    let checksum = (!has).then_some(wanted.unwrap_or(Algorithm::Crc64Nvme));
    Some(Wanted { md5, sha256: false, checksums: [checksum, None] })
}

/// Whether the ETag is one that S3 could have given: the MD5 of the content, or one of an upload in parts.
fn has_etag_of_s3(record: &Record) -> bool {
    matches!(record.etag, ETag::Md5(_)) || record.parts.is_some()
}

fn apply(digests: &Digests, record: &mut Record) {
    if let Some(md5) = digests.md5 {
        record.etag = ETag::Md5(md5);
    }
    if let Some(checksum) = digests.checksums[0] {
        record.checksum = StoredChecksum::full_object(checksum.algorithm(), checksum.as_bytes()).ok();
        record.part_checksums = None;
    }
}

fn document(record: &Record) -> Vec<u8> {
    let mut etag = Vec::new();
    record.etag.write_into(&mut etag);
    let text = record.checksum.as_ref().map(attributes::checksum_text);
    let checksum = record.checksum.as_ref().zip(text.as_deref()).map(|(stored, value)| ChecksumText {
        element: stored.algorithm().element_name(),
        value,
        kind: Some(stored.checksum_type().name()),
    });
    let mut document = Vec::with_capacity(512);
    Copied { last_modified: record.mtime, etag: &etag, checksum }.write_object(&mut document);
    document
}
