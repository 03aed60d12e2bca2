//! The header `x-amz-copy-source`: what CopyObject and UploadPartCopy read.
//!
//! Forms that clients send: `bucket/key`, `/bucket/key`, either of them percent-encoded with or without the slashes, and
//! any with `?versionId=` behind it. Decoding happens once, after the version id is cut off: a question mark that belongs
//! to the key comes encoded. A `+` is a plus. ARNs of access points are refused: there are none here.
//! Spec: CopyObject in the Amazon S3 API reference; the forms are measured.

use super::parameters::VersionId;
use crate::codec::percent;
use crate::s3::error::S3Error;
use crate::storage::layout::{BucketName, ObjectKey};

/// What is to be copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopySource {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version, if one is named.
    pub version_id: Option<VersionId>,
}

/// The header's name.
pub(super) const HEADER: &str = "x-amz-copy-source";

const VERSION_SEPARATOR: &[u8] = b"?versionId=";

impl CopySource {
    /// Reads the value of the header.
    ///
    /// # Errors
    /// `InvalidArgument` that says what is wrong.
    pub fn parse(value: &[u8]) -> Result<Self, S3Error> {
        Self::parse_header(HEADER, value)
    }

    /// As [`parse`](Self::parse), from the header `name`, which has the same form.
    pub(super) fn parse_header(name: &'static str, value: &[u8]) -> Result<Self, S3Error> {
        let refuse =
            |message: String| S3Error::invalid_argument(name, String::from_utf8_lossy(value), message);
        let (path, version) = match memchr::memmem::rfind(value, VERSION_SEPARATOR) {
            None => (value, None),
            Some(at) => (&value[..at], Some(&value[at + VERSION_SEPARATOR.len()..])),
        };
        let version_id = match version {
            None => None,
            Some(id) => {
                let id = percent::decode(id).map_err(|error| refuse(sentence(&error)))?;
                let id = std::str::from_utf8(&id).ok().and_then(VersionId::new);
                Some(id.ok_or_else(|| refuse("The version id of the copy source is not valid.".to_owned()))?)
            }
        };
        let path = percent::decode(path).map_err(|error| refuse(sentence(&error)))?;
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        let slash = memchr::memchr(b'/', path).filter(|at| at + 1 < path.len()).ok_or_else(|| {
            refuse("The source must mention the source bucket and key: sourcebucket/sourcekey".to_owned())
        })?;
        let bucket = BucketName::parse(&path[..slash]).map_err(|error| refuse(error.to_string()))?;
        let key = ObjectKey::parse(&path[slash + 1..]).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { bucket, key, version_id })
    }
}

fn sentence(error: &percent::Malformed) -> String {
    format!("The copy source is not percent-encoded: {error}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;

    #[test]
    fn forms() {
        let check = |value: &[u8], bucket: &str, key: &str, version: Option<&str>| {
            let source = CopySource::parse(value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
            let found = (source.bucket.as_str(), source.key.as_str());
            assert_eq!(found, (bucket, key), "{value:?}");
            assert_eq!(source.version_id.as_ref().map(VersionId::as_str), version, "{value:?}");
        };
        check(b"b01/k", "b01", "k", None);
        check(b"/b01/k", "b01", "k", None);
        check(b"b01//k", "b01", "/k", None);
        check("b01/a%20b%2B~%C3%A9//x".as_bytes(), "b01", "a b+~é//x", None);
        check("/b01/é+".as_bytes(), "b01", "é+", None);
        check(b"b01%2Fdir%2Fk", "b01", "dir/k", None);
        check(b"%2Fb01%2Fk", "b01", "k", None);
        check(b"b01/k?versionId=null", "b01", "k", Some("null"));
        check(b"b01/k?versionId=a%2Bb", "b01", "k", Some("a+b"));
        check(b"b01/k%3FversionId=x", "b01", "k?versionId=x", None);
        check(b"b01/k?versionId=a?versionId=b", "b01", "k?versionId=a", Some("b"));
        check(b"b01/k?x", "b01", "k?x", None);
        check(b"b01/../k", "b01", "../k", None);
        check(b"b01/%2541", "b01", "%41", None);
    }

    #[test]
    fn refusals() {
        let overlong = [b"b01/".as_slice(), &[b'k'; 1025]].concat();
        let values: [&[u8]; 14] = [
            b"",
            b"/",
            b"//",
            b"b01",
            b"b01/",
            b"/b01/",
            b"B01/k",
            b"b/k",
            b"b01/%zz",
            b"b01/%ff",
            b"b01/k?versionId=",
            b"b01/k?versionId=%",
            b"arn:aws:s3:us-east-1:123456789012:accesspoint/a/object/k",
            &overlong,
        ];
        for value in values {
            let error = CopySource::parse(value).expect_err("refused");
            assert_eq!(error.code(), Code::InvalidArgument, "{value:?}");
            assert_eq!(error.extra("ArgumentName"), Some(HEADER), "{value:?}");
        }
    }
}
