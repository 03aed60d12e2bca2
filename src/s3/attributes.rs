//! Between the headers of a request or answer and the record of an object: content headers, user metadata, tags.

use std::borrow::Cow;

use super::error::{Code, S3Error};
use super::reply::Reply;
use crate::codec::percent;
use crate::digest::{CHECKSUM_BASE64_BYTES_MAX, Checksum, ChecksumType};
use crate::http::head::Head;
use crate::limits;
use crate::storage::layout::ObjectKey;
use crate::storage::object::Object;
use crate::storage::record::{FieldText, HeaderField, Headers, Record, StoredChecksum, Tags, UserMetadata};

/// Reads what PutObject, CopyObject with REPLACE and CreateMultipartUpload say of their object, but for its locks (see
/// [`object_lock::of_request`](super::object_lock::of_request)).
pub fn of_request(head: &Head, record: &mut Record) -> Result<(), S3Error> {
    refuse_unsupported(head)?;
    record.headers = headers(head)?;
    record.user_metadata = user_metadata(head)?;
    record.tags = tags(head)?;
    Ok(())
}

fn headers(head: &Head) -> Result<Headers, S3Error> {
    let mut headers = Headers::default();
    for field in HeaderField::ALL {
        let name = field.name();
        let value = head.header(&name.to_ascii_lowercase());
        let value = match (field, value) {
            (HeaderField::ContentEncoding, Some(value)) => without_aws_chunked(value),
            (HeaderField::StorageClass, Some(value)) if value != b"STANDARD" => {
                if !STORAGE_CLASSES.contains(&value) {
                    return Err(Code::InvalidStorageClass
                        .with("StorageClassRequested", String::from_utf8_lossy(value)));
                }
                Some(value.to_vec())
            }
            (HeaderField::StorageClass, _) => None,
            (_, value) => value.map(<[u8]>::to_vec),
        };
        let text = match value.filter(|value| !value.is_empty()) {
            Some(value) => Some(FieldText::parse(&value).map_err(|_| {
                S3Error::invalid_argument(
                    name,
                    String::from_utf8_lossy(&value),
                    "The header holds a control character.",
                )
            })?),
            None => None,
        };
        headers.set(field, text);
    }
    if headers.text(HeaderField::ContentType).is_none() {
        headers.set(HeaderField::ContentType, FieldText::parse(DEFAULT_CONTENT_TYPE).ok());
    }
    Ok(headers)
}

/// Content-Encoding without `aws-chunked`, which speaks of the transfer, wherever it stands.
fn without_aws_chunked(value: &[u8]) -> Option<Vec<u8>> {
    let kept: Vec<&[u8]> = value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.eq_ignore_ascii_case(b"aws-chunked") && !token.is_empty())
        .collect();
    (!kept.is_empty()).then(|| kept.join(&b", "[..]))
}

fn user_metadata(head: &Head) -> Result<UserMetadata, S3Error> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    for (name, value) in head.headers() {
        let Some((prefix, rest)) = name.split_at_checked(METADATA_PREFIX.len()) else { continue };
        if !prefix.eq_ignore_ascii_case(METADATA_PREFIX) || rest.is_empty() {
            continue;
        }
        let name = rest.to_ascii_lowercase();
        bytes += name.len() + value.len();
        // Lines of one name are one value, as in any HTTP header.
        match pairs.iter_mut().find(|(other, _)| *other == name) {
            Some((_, joined)) => {
                joined.push(b',');
                joined.extend_from_slice(value);
            }
            None => pairs.push((name, value.to_vec())),
        }
    }
    if bytes > limits::USER_METADATA_BYTES_MAX {
        return Err(Code::MetadataTooLarge
            .with("Size", bytes.to_string())
            .with("MaxSizeAllowed", limits::USER_METADATA_BYTES_MAX.to_string()));
    }
    let pairs = pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    UserMetadata::from_pairs(pairs).map_err(|_| {
        Code::InvalidArgument.because("A user metadata header has a name or value that HTTP cannot carry.")
    })
}

/// The tags that the header `x-amz-tagging` gives to an object.
pub fn tags(head: &Head) -> Result<Tags, S3Error> {
    let Some(header) = head.header("x-amz-tagging").filter(|header| !header.is_empty()) else {
        return Ok(Tags::default());
    };
    let invalid =
        |why: &'static str| Code::InvalidArgument.because(why).with("ArgumentName", "x-amz-tagging");
    let mut pairs = Vec::new();
    for pair in header.split(|byte| *byte == b'&') {
        let (key, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[..0]),
        };
        let decode = |text| {
            let text = percent::decode_query(text).ok()?.into_owned();
            String::from_utf8(text).ok()
        };
        match (decode(key), decode(value)) {
            (Some(key), Some(value)) => pairs.push((key, value)),
            _ => {
                return Err(invalid(
                    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters.",
                ));
            }
        }
    }
    for (index, (key, _)) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|(other, _)| other == key) {
            return Err(invalid("The header 'x-amz-tagging' shall not have a tag key twice."));
        }
    }
    tags_of(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// Keys and values as the tags of an object.
///
/// # Errors
/// `InvalidTag`: they break a limit.
pub fn tags_of<'t>(pairs: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<Tags, S3Error> {
    Tags::from_pairs(pairs).map_err(|_| {
        Code::InvalidTag.because(
            "An object has at most 10 tags, each key once, with keys of 1 to 128 and values of at most 256 characters \
             without control characters.",
        )
    })
}

/// What is known of an object, to be changed and attached to it. A file of another program gets the content type that
/// reading it shows.
pub fn record_of(object: &Object, key: &ObjectKey) -> Record {
    object.record.clone().unwrap_or_else(|| {
        let mut record = Record::new(object.size, object.modified, object.etag.clone());
        record.headers.set(HeaderField::ContentType, FieldText::parse(guessed_content_type(key)).ok());
        record
    })
}

/// The content type of a file that another program wrote: by its name.
fn guessed_content_type(key: &ObjectKey) -> &'static [u8] {
    mime_guess::from_path(key.as_str()).first_raw().map_or(DEFAULT_CONTENT_TYPE, str::as_bytes)
}

/// Headers that ask for what the server does not do are refused, not ignored.
fn refuse_unsupported(head: &Head) -> Result<(), S3Error> {
    for (name, supported) in REFUSED {
        if let Some(value) = head.header(name)
            && !supported.contains(&value)
        {
            return Err(S3Error::not_implemented("Header", name));
        }
    }
    Ok(())
}

/// Writes what a record says of its object; `head` is the request's.
pub fn write(
    record: Option<&Record>,
    key: &ObjectKey,
    head: &Head,
    reply: &mut Reply,
    overridden: impl Fn(HeaderField) -> bool,
) {
    let Some(record) = record else {
        if !overridden(HeaderField::ContentType) {
            reply.header("Content-Type", guessed_content_type(key));
        }
        return;
    };
    for field in HeaderField::ALL {
        if let Some(text) = record.headers.text(field)
            && !overridden(field)
        {
            reply.header(field.name(), text.as_bytes());
        }
    }
    for (name, value) in record.user_metadata.iter() {
        reply.resume().header_suffixed("x-amz-meta-", name, &as_read(head, value));
    }
    if !record.tags.is_empty() {
        reply.decimal("x-amz-tagging-count", record.tags.count() as u64);
    }
}

/// Whether all clients are shown the same of an object.
pub fn are_read_alike(record: Option<&Record>) -> bool {
    record.is_none_or(|record| record.user_metadata.iter().all(|(_, value)| value.is_ascii()))
}

/// User metadata in the encoding in which the client reads headers. All clients send UTF-8 and most read it; botocore
/// reads ISO-8859-1, and would show `Ã©` for an `é` that it sent itself. What that encoding does not have stays UTF-8.
fn as_read<'v>(head: &Head, value: &'v [u8]) -> Cow<'v, [u8]> {
    let reads_latin1 = || {
        let agent = head.header("user-agent").unwrap_or_default();
        memchr::memmem::find(agent, b"Botocore/").is_some()
    };
    if value.is_ascii() || !reads_latin1() {
        return Cow::Borrowed(value);
    }
    let latin1 = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect());
    latin1.map_or(Cow::Borrowed(value), Cow::Owned)
}

/// Writes the checksum of an object.
pub fn write_checksum(stored: &StoredChecksum, reply: &mut Reply) {
    let text = checksum_text(stored);
    reply.header(stored.algorithm().header_name(), text.as_bytes());
    reply.header("x-amz-checksum-type", stored.checksum_type().name().as_bytes());
}

/// A checksum as S3 writes it: base64, with the number of parts behind a dash if it is a composite one.
pub fn checksum_text(stored: &StoredChecksum) -> String {
    let mut buffer = [0; CHECKSUM_BASE64_BYTES_MAX];
    let mut text = Checksum::from_bytes(stored.algorithm(), stored.value())
        .map(|checksum| checksum.base64(&mut buffer).to_owned())
        .unwrap_or_default();
    if let (ChecksumType::Composite, Some(parts)) = (stored.checksum_type(), stored.part_count()) {
        text.push_str(&format!("-{parts}"));
    }
    text
}

/// The content type of an object whose writer named none, as S3 has it.
const DEFAULT_CONTENT_TYPE: &[u8] = b"binary/octet-stream";
const METADATA_PREFIX: &[u8] = b"x-amz-meta-";
const STORAGE_CLASSES: [&[u8]; 9] = [
    b"REDUCED_REDUNDANCY",
    b"STANDARD_IA",
    b"ONEZONE_IA",
    b"INTELLIGENT_TIERING",
    b"GLACIER",
    b"DEEP_ARCHIVE",
    b"OUTPOSTS",
    b"GLACIER_IR",
    b"EXPRESS_ONEZONE",
];

/// Headers of a write that ask for a function, with the values that ask for nothing.
const REFUSED: [(&str, &[&[u8]]); 5] = [
    ("x-amz-server-side-encryption", &[]),
    ("x-amz-server-side-encryption-aws-kms-key-id", &[]),
    ("x-amz-server-side-encryption-customer-algorithm", &[]),
    ("x-amz-server-side-encryption-context", &[]),
    ("x-amz-write-offset-bytes", &[]),
];
