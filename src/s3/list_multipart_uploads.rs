//! ListMultipartUploads.
//!
//! Spec: ListMultipartUploads in the Amazon S3 API reference.

use super::access::Authorized;
use super::acl;
use super::context::Ctx;
use super::error::S3Error;
use super::operation::ListMultipartUploads;
use super::reply::Reply;
use super::xml::{Owner, Page, UploadEntry, Uploads};
use crate::storage::multipart::{self, UploadId, UploadRequest, Uploading};
use crate::storage::record::HeaderField;

/// `GET /bucket?uploads`.
pub async fn list_multipart_uploads(
    ctx: &Ctx<'_>,
    operation: Authorized<ListMultipartUploads>,
) -> Result<Reply, S3Error> {
    let list = operation.into_inner();
    let owners = acl::owners(ctx, &ctx.bucket(&list.bucket)?)?;
    let asked = list.clone();
    let page = ctx
        .offload_page(move |service| {
            let request = UploadRequest {
                prefix: asked.settings.prefix.as_bytes(),
                delimiter: asked.settings.delimiter.as_deref().unwrap_or("").as_bytes(),
                key_marker: asked.key_marker.as_bytes(),
                upload_id_marker: asked.upload_id_marker.as_bytes(),
                max_uploads: asked.settings.max_keys as usize,
            };
            Ok(multipart::uploads(&service.root, &asked.bucket, &request)?)
        })
        .await?;
    let answer = Uploads {
        page: Page {
            bucket: list.bucket.as_str(),
            prefix: list.settings.prefix.as_bytes(),
            delimiter: list.settings.delimiter.as_deref().map(str::as_bytes),
            max_keys: list.settings.max_keys.into(),
            truncated: page.next.is_some(),
            encoding: list.settings.encoding,
        },
        key_marker: list.key_marker.as_bytes(),
        upload_id_marker: &list.upload_id_marker,
        next: page.next.as_ref().map(|(key, id)| (key.as_slice(), id.as_ref().map_or("", UploadId::as_str))),
    };
    let shown: Vec<String> =
        page.uploads.iter().map(|upload| owners.of(upload.description.owner.uid).shown).collect();
    let mut document = Vec::with_capacity(1024 + 512 * page.uploads.len());
    answer.write(
        &mut document,
        page.uploads.iter().zip(&shown).map(|(upload, owner)| entry(upload, owner)),
        page.common_prefixes.iter().map(Vec::as_slice),
    );
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

fn entry<'a>(upload: &'a Uploading, owner: &'a str) -> UploadEntry<'a> {
    let description = &upload.description;
    let (id, display_name) = &description.initiator;
    let class = description.record.headers.text(HeaderField::StorageClass);
    UploadEntry {
        key: description.key.as_bytes(),
        upload_id: upload.id.as_str(),
        initiator: Owner { id, display_name },
        owner: Owner { id: owner, display_name: owner },
        storage_class: class
            .and_then(|class| std::str::from_utf8(class.as_bytes()).ok())
            .unwrap_or("STANDARD"),
        initiated: description.initiated,
        checksum: description.checksum.map(|(algorithm, kind)| (algorithm.name(), kind.name())),
    }
}
