//! The short answers: what a deletion, a copy, a multipart upload or a bucket's configuration comes back with.
//!
//! Plain values in, bytes out; nothing is decided here.
//! Spec: DeleteObjects, CopyObject, UploadPartCopy, CreateMultipartUpload, CompleteMultipartUpload, GetBucketLocation
//! and GetBucketVersioning in the Amazon S3 API reference.

use super::Writer;
use crate::codec::dates::Timestamp;
use crate::storage::Versioning;

/// What became of one key of DeleteObjects.
#[derive(Clone, Copy, Debug)]
pub enum DeleteOutcome<'a> {
    /// It is gone, or was never there. Left out when the request was quiet.
    Deleted {
        /// The key as sent.
        key: &'a [u8],
        /// The version id as sent.
        version_id: Option<&'a str>,
        /// The id of the delete marker that was made, or removed.
        marker: Option<&'a str>,
    },
    /// It is still there.
    Failed {
        /// The key as sent.
        key: &'a [u8],
        /// The version id as sent.
        version_id: Option<&'a str>,
        /// The code (`AccessDenied`).
        code: &'a str,
        /// The text for people.
        message: &'a str,
    },
}

/// Appends a `DeleteResult`. With `quiet` only the failures are told.
pub fn write_delete_result<'e>(
    out: &mut Vec<u8>,
    quiet: bool,
    outcomes: impl IntoIterator<Item = DeleteOutcome<'e>>,
) {
    let mut writer = Writer::document(out);
    writer.open_root("DeleteResult");
    for outcome in outcomes {
        match outcome {
            DeleteOutcome::Deleted { .. } if quiet => {}
            DeleteOutcome::Deleted { key, version_id, marker } => {
                writer.open("Deleted");
                writer.text("Key", key);
                writer.optional_text("VersionId", version_id);
                if let Some(marker) = marker {
                    writer.boolean("DeleteMarker", true);
                    writer.text("DeleteMarkerVersionId", marker);
                }
                writer.close("Deleted");
            }
            DeleteOutcome::Failed { key, version_id, code, message } => {
                writer.open("Error");
                writer.text("Key", key);
                writer.optional_text("VersionId", version_id);
                writer.text("Code", code);
                writer.text("Message", message);
                writer.close("Error");
            }
        }
    }
    writer.close("DeleteResult");
}

/// A checksum as documents show it.
#[derive(Clone, Copy, Debug)]
pub struct ChecksumText<'a> {
    /// The element, `ChecksumCRC32` and so on.
    pub element: &'static str,
    /// The value in base64, with `-N` behind it where it is composite.
    pub value: &'a str,
    /// `FULL_OBJECT` or `COMPOSITE`; a part has none.
    pub kind: Option<&'a str>,
}

fn write_checksum(writer: &mut Writer<'_>, checksum: Option<&ChecksumText<'_>>) {
    if let Some(checksum) = checksum {
        writer.text(checksum.element, checksum.value);
        writer.optional_text("ChecksumType", checksum.kind);
    }
}

/// What CopyObject and UploadPartCopy answer.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// When the copy was written.
    pub last_modified: Timestamp,
    /// The entity tag of the copy, without quotes.
    pub etag: &'a [u8],
    /// Its checksum, if it has one.
    pub checksum: Option<ChecksumText<'a>>,
}

impl Copied<'_> {
    /// Appends a `CopyObjectResult`.
    pub fn write_object(&self, out: &mut Vec<u8>) {
        self.write("CopyObjectResult", out);
    }

    /// Appends a `CopyPartResult`.
    pub fn write_part(&self, out: &mut Vec<u8>) {
        self.write("CopyPartResult", out);
    }

    fn write(&self, root: &str, out: &mut Vec<u8>) {
        let mut writer = Writer::document(out);
        writer.open_root(root);
        writer.text("LastModified", self.last_modified.iso8601_millis());
        writer.etag(self.etag);
        write_checksum(&mut writer, self.checksum.as_ref());
        writer.close(root);
    }
}

/// Appends an `InitiateMultipartUploadResult`.
pub fn write_initiate_multipart_upload(out: &mut Vec<u8>, bucket: &str, key: &[u8], upload_id: &str) {
    let mut writer = Writer::document(out);
    writer.open_root("InitiateMultipartUploadResult");
    writer.text("Bucket", bucket);
    writer.text("Key", key);
    writer.text("UploadId", upload_id);
    writer.close("InitiateMultipartUploadResult");
}

/// What CompleteMultipartUpload answers.
#[derive(Clone, Copy, Debug)]
pub struct Completed<'a> {
    /// The URL of the object.
    pub location: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a [u8],
    /// The entity tag, without quotes.
    pub etag: &'a [u8],
    /// The checksum of the whole, if the upload has one.
    pub checksum: Option<ChecksumText<'a>>,
}

impl Completed<'_> {
    /// Appends a `CompleteMultipartUploadResult`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::document(out);
        writer.open_root("CompleteMultipartUploadResult");
        writer.text("Location", self.location);
        writer.text("Bucket", self.bucket);
        writer.text("Key", self.key);
        writer.etag(self.etag);
        write_checksum(&mut writer, self.checksum.as_ref());
        writer.close("CompleteMultipartUploadResult");
    }
}

/// Appends a `LocationConstraint`. AWS says nothing for its first region, and old clients rely on that.
pub fn write_location_constraint(out: &mut Vec<u8>, region: &str) {
    let mut writer = Writer::document(out);
    writer.open_root("LocationConstraint");
    if region != "us-east-1" {
        super::escape_into(region.as_bytes(), writer.out);
    }
    writer.close("LocationConstraint");
}

/// Appends a `VersioningConfiguration`.
pub fn write_versioning(out: &mut Vec<u8>, versioning: Versioning) {
    let mut writer = Writer::document(out);
    writer.open_root("VersioningConfiguration");
    match versioning {
        Versioning::Unversioned => {}
        Versioning::Enabled => writer.text("Status", "Enabled"),
        Versioning::Suspended => writer.text("Status", "Suspended"),
    }
    writer.close("VersioningConfiguration");
}

/// Appends a `PolicyStatus`.
pub fn write_policy_status(out: &mut Vec<u8>, is_public: bool) {
    let mut writer = Writer::document(out);
    writer.open_root("PolicyStatus");
    writer.text("IsPublic", if is_public { "true" } else { "false" });
    writer.close("PolicyStatus");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Vec<u8>), root: &str, inner: &str) {
        let mut out = Vec::new();
        write(&mut out);
        let expected = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</{root}>"
        );
        assert_eq!(String::from_utf8(out).expect("the answer is UTF-8"), expected);
    }

    #[test]
    fn delete_result() {
        let outcomes = [
            DeleteOutcome::Deleted { key: b"a", version_id: None, marker: None },
            DeleteOutcome::Deleted { key: b"b&", version_id: Some("null"), marker: None },
            DeleteOutcome::Deleted { key: b"m", version_id: None, marker: Some("0af") },
            DeleteOutcome::Failed {
                key: b"c",
                version_id: Some("null"),
                code: "AccessDenied",
                message: "No",
            },
        ];
        let failure = "<Error><Key>c</Key><VersionId>null</VersionId><Code>AccessDenied</Code>\
                       <Message>No</Message></Error>";
        let told = "<Deleted><Key>a</Key></Deleted><Deleted><Key>b&amp;</Key><VersionId>null</VersionId></Deleted>\
             <Deleted><Key>m</Key><DeleteMarker>true</DeleteMarker>\
             <DeleteMarkerVersionId>0af</DeleteMarkerVersionId></Deleted>";
        check(|out| write_delete_result(out, false, outcomes), "DeleteResult", &format!("{told}{failure}"));
        check(|out| write_delete_result(out, true, outcomes), "DeleteResult", failure);
    }

    #[test]
    fn copies() {
        let last_modified = Timestamp::from_seconds(1_369_353_600);
        let plain = Copied { last_modified, etag: b"0af", checksum: None };
        let inner = "<LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;0af&quot;</ETag>";
        check(|out| plain.write_object(out), "CopyObjectResult", inner);
        let checksum =
            ChecksumText { element: "ChecksumCRC32", value: "AAAAAA==", kind: Some("FULL_OBJECT") };
        let with_checksum = Copied { checksum: Some(checksum), ..plain };
        let inner =
            format!("{inner}<ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>");
        check(|out| with_checksum.write_part(out), "CopyPartResult", &inner);
    }

    #[test]
    fn multipart() {
        check(
            |out| write_initiate_multipart_upload(out, "b", b"k<", "u"),
            "InitiateMultipartUploadResult",
            "<Bucket>b</Bucket><Key>k&lt;</Key><UploadId>u</UploadId>",
        );
        let checksum = ChecksumText { element: "ChecksumSHA256", value: "x-2", kind: Some("COMPOSITE") };
        let location = "http://h/b/k";
        let completed =
            Completed { location, bucket: "b", key: b"k", etag: b"0-2", checksum: Some(checksum) };
        check(
            |out| completed.write(out),
            "CompleteMultipartUploadResult",
            "<Location>http://h/b/k</Location><Bucket>b</Bucket><Key>k</Key><ETag>&quot;0-2&quot;</ETag>\
             <ChecksumSHA256>x-2</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType>",
        );
    }

    #[test]
    fn bucket_configurations() {
        check(|out| write_location_constraint(out, "us-east-1"), "LocationConstraint", "");
        check(|out| write_location_constraint(out, "eu-1"), "LocationConstraint", "eu-1");
        let check_versioning = |versioning, inner: &str| {
            check(|out| write_versioning(out, versioning), "VersioningConfiguration", inner);
        };
        check_versioning(Versioning::Unversioned, "");
        check_versioning(Versioning::Enabled, "<Status>Enabled</Status>");
        check_versioning(Versioning::Suspended, "<Status>Suspended</Status>");
    }
}
