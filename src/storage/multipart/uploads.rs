//! The uploads in progress of one bucket, in pages.
//!
//! Order: by the bytes of the key, then by id, which begins with the time of creation. Every page reads the descriptions
//! of all uploads of the bucket (one small file each, and uploads in progress are few); of what matches it keeps no more
//! than the page, so that memory is bounded by the page and not by what clients left lying about.
//!
//! Specification: "ListMultipartUploads" of the Amazon S3 API reference.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use rustix::fs::Dir;
use rustix::io::Errno;

use super::super::error::{At, Result, Subject};
use super::super::layout::BucketName;
use super::super::root::Root;
use super::super::walk;
use super::{Description, UploadId, read_description};

/// Which page is wanted.
#[derive(Clone, Copy, Debug)]
pub struct UploadRequest<'a> {
    /// Only keys that start with this.
    pub prefix: &'a [u8],
    /// Keys that contain this after the prefix are rolled up to its end. Empty: none are.
    pub delimiter: &'a [u8],
    /// Only what comes after this key or common prefix; empty for all.
    pub key_marker: &'a [u8],
    /// If it is not empty, uploads of `key_marker` itself are listed as well that come after this one, be it still there
    /// or not.
    pub upload_id_marker: &'a [u8],
    /// At most this many uploads and common prefixes together.
    pub max_uploads: usize,
}

/// One upload of a page.
#[derive(Clone, Debug)]
pub struct Uploading {
    /// Its id.
    pub id: UploadId,
    /// What was said at its creation.
    pub description: Description,
}

/// One page.
#[derive(Debug, Default)]
pub struct UploadPage {
    /// The uploads, in order.
    pub uploads: Vec<Uploading>,
    /// The common prefixes, in order.
    pub common_prefixes: Vec<Vec<u8>>,
    /// The last key or common prefix of the page, and the upload if it is one; `None` when nothing follows.
    pub next: Option<(Vec<u8>, Option<UploadId>)>,
}

/// Lists one page of the uploads of a bucket. What is created or ends meanwhile may be on the page or not.
pub fn uploads(root: &Root, bucket: &BucketName, request: &UploadRequest<'_>) -> Result<UploadPage> {
    let op = "list the uploads of the bucket";
    let directory = match walk::open_directory(root.uploads.as_fd(), bucket.as_bytes()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(UploadPage::default()),
        Err(errno) => return Err(errno).at(Subject::Upload, op),
    };
    let mut found = Found { room: request.max_uploads, entries: BTreeMap::new(), more: false };
    for entry in Dir::read_from(&directory).at(Subject::Upload, op)? {
        let entry = entry.at(Subject::Upload, op)?;
        // What is being completed or aborted has another name.
        let Some(id) = UploadId::parse(entry.file_name().to_bytes()) else { continue };
        let upload = match walk::open_directory(directory.as_fd(), &id.0) {
            Ok(upload) => upload,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno).at(Subject::Upload, op),
        };
        match read_description(upload.as_fd()) {
            Ok(Some(description)) => found.take(request, Uploading { id, description }),
            Ok(None) => {}
            // One that is damaged hides no other.
            Err(error) => tracing::warn!(%error, id = id.as_str(), "an upload is not listed"),
        }
    }
    Ok(found.into_page())
}

/// The smallest entries seen so far, as many as the page has room for. A common prefix has no id and no upload.
struct Found {
    room: usize,
    entries: BTreeMap<(Vec<u8>, Vec<u8>), Option<Uploading>>,
    more: bool,
}

impl Found {
    fn take(&mut self, request: &UploadRequest<'_>, upload: Uploading) {
        let key = upload.description.key.as_bytes();
        if !key.starts_with(request.prefix) {
            return;
        }
        let rolled_up = match request.delimiter {
            b"" => None,
            delimiter => memchr::memmem::find(&key[request.prefix.len()..], delimiter)
                .map(|at| &key[..request.prefix.len() + at + delimiter.len()]),
        };
        let (entry, upload) = match rolled_up {
            // A marker inside a common prefix stands behind all of it.
            Some(prefix) if request.key_marker >= prefix => return,
            Some(prefix) => ((prefix.to_vec(), Vec::new()), None),
            None => {
                let id = &upload.id.0;
                let behind = key > request.key_marker
                    || key == request.key_marker
                        && !request.upload_id_marker.is_empty()
                        && &id[..] > request.upload_id_marker;
                if !behind {
                    return;
                }
                ((key.to_vec(), id.to_vec()), Some(upload))
            }
        };
        self.entries.insert(entry, upload);
        if self.entries.len() > self.room {
            self.entries.pop_last();
            self.more = true;
        }
    }

    fn into_page(self) -> UploadPage {
        let mut page = UploadPage::default();
        for ((key, _), upload) in self.entries {
            let id = upload.as_ref().map(|upload| upload.id.clone());
            match upload {
                Some(upload) => page.uploads.push(upload),
                None => page.common_prefixes.push(key.clone()),
            }
            page.next = self.more.then_some((key, id));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dates::Timestamp;
    use crate::iam::principal::PosixOwner;
    use crate::storage::commit::Durability;
    use crate::storage::layout::ObjectKey;
    use crate::storage::record::{ETag, Record};
    use crate::storage::{Root, multipart};

    fn description(key: &str, seconds: i64) -> Description {
        Description {
            key: ObjectKey::parse(key.as_bytes()).unwrap(),
            initiated: Timestamp { seconds, nanos: 5 },
            initiator: ("id".into(), "name".into()),
            owner: PosixOwner { uid: 1, gid: 1 },
            checksum: None,
            record: Record::new(0, Timestamp::from_seconds(0), ETag::Md5([0; 16])),
        }
    }

    /// What ListMultipartUploads says of a bucket, from its definition.
    fn model(all: &[(String, String)], request: &UploadRequest<'_>) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (prefix, delimiter) = (text(request.prefix), text(request.delimiter));
        let marker = (text(request.key_marker), text(request.upload_id_marker));
        let mut entries: Vec<(String, String)> = Vec::new();
        for (key, id) in all {
            let Some(rest) = key.strip_prefix(&prefix) else { continue };
            let entry = match rest.split_once(&delimiter).filter(|_| !delimiter.is_empty()) {
                Some((head, _)) => (format!("{prefix}{head}{delimiter}"), String::new()),
                None => (key.clone(), id.clone()),
            };
            let listed = match (entry.1.is_empty(), marker.1.is_empty()) {
                (true, _) => entry.0 > marker.0,
                (false, true) => entry.0 > marker.0,
                (false, false) => entry > marker,
            };
            if listed && !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        entries.sort();
        entries
    }

    #[test]
    fn pages_are_as_the_model_has_them() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path(), Durability::None).unwrap();
        let bucket = BucketName::parse(b"bucket").unwrap();
        let empty = UploadRequest {
            prefix: b"",
            delimiter: b"",
            key_marker: b"",
            upload_id_marker: b"",
            max_uploads: 1000,
        };
        assert!(uploads(&root, &bucket, &empty).unwrap().uploads.is_empty());
        let keys = ["a", "a", "a/", "a/b", "a/b/c", "a-b", "b/x", "b/y", "b", "é/ü", "é", "a", "c//d"];
        let mut all = Vec::new();
        for (key, seconds) in keys.iter().zip(0..) {
            let (id, _) =
                multipart::create(&root, &bucket, &description(key, 1_800_000_000 + seconds)).unwrap();
            all.push((key.to_string(), id.as_str().to_owned()));
        }
        assert!(all.is_sorted_by_key(|(_, id)| id.clone()), "ids sort as the uploads were created");
        for prefix in ["", "a", "a/", "b/", "é", "x"] {
            for delimiter in ["", "/", "b", "//", "/ü"] {
                for max_uploads in [1, 2, 3, 1000] {
                    let asked = UploadRequest {
                        prefix: prefix.as_bytes(),
                        delimiter: delimiter.as_bytes(),
                        max_uploads,
                        ..empty
                    };
                    let expected = model(&all, &asked);
                    let (mut found, mut marker, mut id_marker) = (Vec::new(), Vec::new(), Vec::new());
                    loop {
                        let request =
                            UploadRequest { key_marker: &marker, upload_id_marker: &id_marker, ..asked };
                        let page = uploads(&root, &bucket, &request).unwrap();
                        assert_eq!(page.next.is_some(), model(&all, &request).len() > max_uploads);
                        let mut entries: Vec<(String, String)> = page
                            .uploads
                            .iter()
                            .map(|it| (it.description.key.as_str().to_owned(), it.id.as_str().to_owned()))
                            .collect();
                        let prefixes = page.common_prefixes.iter().cloned();
                        entries.extend(prefixes.map(|it| (String::from_utf8(it).unwrap(), String::new())));
                        entries.sort();
                        assert!(entries.len() <= max_uploads);
                        found.extend(entries);
                        let Some((key, id)) = page.next else { break };
                        (marker, id_marker) =
                            (key, id.map_or(Vec::new(), |id| id.as_str().as_bytes().to_vec()));
                    }
                    assert_eq!(
                        found, expected,
                        "prefix {prefix:?} delimiter {delimiter:?} pages of {max_uploads}"
                    );
                }
            }
        }
    }
}
