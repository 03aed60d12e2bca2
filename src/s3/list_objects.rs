//! ListObjects, ListObjectsV2, ListObjectVersions.
//!
//! Spec: the operations of these names in the Amazon S3 API reference.

use std::os::fd::AsFd;

use super::access::Authorized;
use super::context::{Ctx, InHand};
use super::error::S3Error;
use super::operation::{
    ContinuationToken, ListObjectVersions, ListObjects, ListObjectsV2, ListSettings, VersionId,
};
use super::reply::Reply;
use super::xml::{ObjectEntry, Objects, ObjectsV2, Owner, Page, VersionContent, VersionEntry, Versions};
use crate::iam::Snapshot;
use crate::storage::layout::BucketName;
use crate::storage::list::{self, Entry, ListPage, ListRequest, UnsortedRequest};
use crate::storage::profile::ListingOrder;
use crate::storage::versions::{self, Content, Version, VersionPage, VersionRequest};

/// `GET /bucket`.
pub async fn list_objects(ctx: &Ctx<'_>, operation: Authorized<ListObjects>) -> Result<Reply, S3Error> {
    let ListObjects { bucket, settings, marker } = operation.into_inner();
    let page = read_page(ctx, &bucket, &settings, &marker).await?;
    let texts = Texts::of(&page, Some(ctx.caller.snapshot()));
    let mut document = Vec::with_capacity(texts.document_bytes());
    let answer = Objects {
        page: settings_of(&bucket, &settings, page.next.is_some()),
        marker: marker.as_bytes(),
        // As S3: without a delimiter the client goes on from the last key.
        next_marker: page.next.as_deref().filter(|_| settings.delimiter.is_some()),
    };
    answer.write(&mut document, texts.entries(&page), prefixes(&page));
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// `GET /bucket?list-type=2`.
pub async fn list_objects_v2(ctx: &Ctx<'_>, operation: Authorized<ListObjectsV2>) -> Result<Reply, S3Error> {
    let list = operation.into_inner();
    let read = match is_unsorted(ctx, &list)? {
        true => read_unsorted(ctx, &list).await?,
        false => read_page(ctx, &list.bucket, &list.settings, list.after()).await?.map(|page| {
            let next = page.next.as_deref().and_then(|next| std::str::from_utf8(next).ok());
            let next = next.map(ContinuationToken::encode);
            (page, next)
        }),
    };
    let (page, next) = &*read;
    let texts = Texts::of(page, list.fetch_owner.then_some(ctx.caller.snapshot()));
    let mut document = Vec::with_capacity(texts.document_bytes());
    let answer = ObjectsV2 {
        page: settings_of(&list.bucket, &list.settings, next.is_some()),
        continuation_token: list.continuation_token.as_ref().map(ContinuationToken::as_sent),
        next_continuation_token: next.as_deref(),
        start_after: list.start_after.as_deref().map(str::as_bytes),
    };
    answer.write(&mut document, texts.entries(page), prefixes(page));
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// `GET /bucket?versions`.
pub async fn list_object_versions(
    ctx: &Ctx<'_>,
    operation: Authorized<ListObjectVersions>,
) -> Result<Reply, S3Error> {
    let ListObjectVersions { bucket, settings, key_marker, version_id_marker } = operation.into_inner();
    let page = read_versions(ctx, &bucket, &settings, &key_marker, version_id_marker.as_ref()).await?;
    let texts: Vec<_> =
        page.entries.iter().map(|entry| VersionTexts::of(entry, ctx.caller.snapshot())).collect();
    let next_version = page.next.as_ref().and_then(|(_, version)| version.map(|version| version.to_string()));
    let mut document = Vec::with_capacity(1024 + 512 * texts.len());
    let answer = Versions {
        page: settings_of(&bucket, &settings, page.next.is_some()),
        key_marker: key_marker.as_bytes(),
        version_id_marker: version_id_marker.as_ref().map_or("", VersionId::as_str),
        next: page.next.as_ref().map(|(key, _)| (&**key, next_version.as_deref())),
    };
    let versions = page.entries.iter().zip(&texts).map(|(entry, texts)| texts.entry(entry));
    answer.write(&mut document, versions, page.common_prefixes.iter().map(Vec::as_slice));
    let mut reply = Reply::new(ctx, 200);
    reply.xml(document);
    Ok(reply)
}

/// Whether a listing comes without an order: its bucket's profile says so and nothing about it needs one, or it began so.
fn is_unsorted(ctx: &Ctx<'_>, list: &ListObjectsV2) -> Result<bool, S3Error> {
    let began_so = list.continuation_token.as_ref().filter(|token| token.position().is_some());
    if began_so.is_none() {
        let wanted = ctx.service.root.profile(&list.bucket).listing == ListingOrder::Unsorted;
        if !wanted || !list.after().is_empty() {
            return Ok(false);
        }
    }
    let can = matches!(list.settings.delimiter.as_deref(), None | Some("" | "/"))
        && list::keeps_places(ctx.bucket(&list.bucket)?.fd.as_fd())?;
    match began_so {
        Some(token) if !can => Err(S3Error::invalid_argument(
            "continuation-token",
            token.as_sent(),
            "The continuation token provided is incorrect",
        )),
        _ => Ok(can),
    }
}

/// A page, and the token of the next one.
type PageOfTokens = InHand<(ListPage, Option<String>)>;

async fn read_unsorted(ctx: &Ctx<'_>, list: &ListObjectsV2) -> Result<PageOfTokens, S3Error> {
    let bucket = ctx.bucket(&list.bucket)?;
    let (settings, token) = (list.settings.clone(), list.continuation_token.clone());
    ctx.offload_page(move |service| {
        let request = UnsortedRequest {
            prefix: settings.prefix.as_bytes(),
            rolls_up: settings.delimiter.as_deref() == Some("/"),
            position: token.as_ref().and_then(ContinuationToken::position),
            max_keys: settings.max_keys as usize,
        };
        let (page, next) = list::list_unsorted(bucket.fd.as_fd(), &service.root.directories, &request)?;
        Ok((page, next.as_ref().map(ContinuationToken::encode_position)))
    })
    .await
}

async fn read_page(
    ctx: &Ctx<'_>,
    bucket: &BucketName,
    settings: &ListSettings,
    after: &str,
) -> Result<InHand<ListPage>, S3Error> {
    let bucket = ctx.bucket(bucket)?;
    let (settings, after) = (settings.clone(), after.to_owned());
    ctx.offload_page(move |service| {
        let request = ListRequest {
            prefix: settings.prefix.as_bytes(),
            delimiter: settings.delimiter.as_deref().unwrap_or("").as_bytes(),
            start_after: after.as_bytes(),
            max_keys: settings.max_keys as usize,
        };
        Ok(list::list(bucket.fd.as_fd(), &service.root.directories, &request)?)
    })
    .await
}

async fn read_versions(
    ctx: &Ctx<'_>,
    bucket: &BucketName,
    settings: &ListSettings,
    key_marker: &str,
    version_marker: Option<&VersionId>,
) -> Result<InHand<VersionPage>, S3Error> {
    let version_marker = match version_marker {
        None => None,
        Some(id) => Some(Version::parse(id.as_str()).ok_or_else(|| {
            S3Error::invalid_argument("version-id-marker", id.as_str(), "Invalid version id specified")
        })?),
    };
    let bucket = ctx.bucket(bucket)?;
    let (settings, key_marker) = (settings.clone(), key_marker.to_owned());
    ctx.offload_page(move |service| {
        let request = VersionRequest {
            prefix: settings.prefix.as_bytes(),
            delimiter: settings.delimiter.as_deref().unwrap_or("").as_bytes(),
            key_marker: key_marker.as_bytes(),
            version_marker,
            max_keys: settings.max_keys as usize,
        };
        Ok(versions::list(&service.root, &bucket, &request)?)
    })
    .await
}

fn settings_of<'a>(bucket: &'a BucketName, settings: &'a ListSettings, truncated: bool) -> Page<'a> {
    Page {
        bucket: bucket.as_str(),
        prefix: settings.prefix.as_bytes(),
        delimiter: settings.delimiter.as_deref().map(str::as_bytes),
        max_keys: settings.max_keys.into(),
        truncated,
        encoding: settings.encoding,
    }
}

fn prefixes(page: &ListPage) -> impl Iterator<Item = &[u8]> {
    page.common_prefixes.iter().map(Vec::as_slice)
}

/// What the document borrows of each entry and the entry does not have as text.
struct Texts {
    /// The ETags, one behind the other, and where each ends.
    etags: Vec<u8>,
    ends: Vec<usize>,
    /// The names of all UIDs, if owners are shown. Mostly there is one.
    owners: Vec<(u32, String)>,
}

impl Texts {
    fn of(page: &ListPage, owners_in: Option<&Snapshot>) -> Texts {
        let count = page.entries.len();
        let mut texts = Texts {
            etags: Vec::with_capacity(40 * count),
            ends: Vec::with_capacity(count),
            owners: Vec::new(),
        };
        for entry in &page.entries {
            entry.etag.write_into(&mut texts.etags);
            texts.ends.push(texts.etags.len());
            if let Some(snapshot) = owners_in
                && texts.owner(entry.uid).is_none()
            {
                texts.owners.push((entry.uid, owner_name(snapshot, entry.uid)));
            }
        }
        texts
    }

    fn owner(&self, uid: u32) -> Option<&str> {
        self.owners.iter().find(|(of, _)| *of == uid).map(|(_, name)| name.as_str())
    }

    fn entries<'a>(&'a self, page: &'a ListPage) -> impl Iterator<Item = ObjectEntry<'a>> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let etags = starts.zip(&self.ends).map(|(start, end)| &self.etags[*start..*end]);
        page.entries.iter().zip(etags).map(|(entry, etag)| shown(entry, etag, self.owner(entry.uid)))
    }

    fn document_bytes(&self) -> usize {
        1024 + 512 * self.ends.len()
    }
}

fn texts_of(entry: &Entry, snapshot: &Snapshot) -> (Vec<u8>, String) {
    let mut etag = Vec::with_capacity(40);
    entry.etag.write_into(&mut etag);
    (etag, owner_name(snapshot, entry.uid))
}

fn shown<'a>(entry: &'a Entry, etag: &'a [u8], owner: Option<&'a str>) -> ObjectEntry<'a> {
    let class = entry.storage_class.as_ref().and_then(|class| std::str::from_utf8(class.as_bytes()).ok());
    ObjectEntry {
        key: entry.key.as_bytes(),
        last_modified: entry.modified,
        etag,
        size: entry.size,
        storage_class: class.unwrap_or("STANDARD"),
        owner: owner.map(|name| Owner { id: name, display_name: name }),
        checksum: entry.checksum.map(|(algorithm, kind)| (algorithm.name(), kind.name())),
    }
}

/// As [`Texts`], of one version or delete marker.
struct VersionTexts {
    etag: Vec<u8>,
    owner: String,
    version: String,
}

impl VersionTexts {
    fn of(entry: &versions::VersionEntry, snapshot: &Snapshot) -> VersionTexts {
        let version = entry.version.to_string();
        let (etag, owner) = match &entry.content {
            Content::Object(object) => texts_of(object, snapshot),
            Content::Marker(marker) => (Vec::new(), owner_name(snapshot, marker.owner.uid)),
        };
        VersionTexts { etag, owner, version }
    }

    fn entry<'a>(&'a self, entry: &'a versions::VersionEntry) -> VersionEntry<'a> {
        let content = match &entry.content {
            Content::Object(object) => VersionContent::Object(shown(object, &self.etag, Some(&self.owner))),
            Content::Marker(marker) => VersionContent::Marker {
                last_modified: marker.modified,
                owner: Owner { id: &self.owner, display_name: &self.owner },
            },
        };
        VersionEntry {
            key: entry.key.as_bytes(),
            content,
            version_id: &self.version,
            is_latest: entry.is_latest,
        }
    }
}

/// The S3 user whose files have this UID; a UID that no user has is shown as such.
fn owner_name(snapshot: &Snapshot, uid: u32) -> String {
    snapshot.user_by_uid(uid).map_or_else(|| format!("uid-{uid}"), |user| user.name.to_string())
}
