//! The texts of a record: headers, user metadata and tags, each of which exists only if a response may carry it.

use std::fmt;

use super::RecordError;
use super::wire::{Reader, push_length_and};
use crate::limits::{HEAD_BYTES_MAX, USER_METADATA_BYTES_MAX};

/// A text that can stand in an HTTP header: no control byte but the tabulator, at most a request head long. Bytes
/// beyond ASCII are kept as they came; SDKs send UTF-8 unencoded.
#[derive(Clone)]
pub struct FieldText(Repr);

#[derive(Clone)]
enum Repr {
    // Of the table of content types: the usual object's record is decoded without an allocation.
    Static(&'static str),
    Owned(Box<[u8]>),
}

impl FieldText {
    /// Checks a header's value.
    ///
    /// # Errors
    /// [`RecordError::Text`].
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        check_text(text)?;
        Ok(Self(Repr::Owned(text.into())))
    }

    /// The value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Static(text) => text.as_bytes(),
            Repr::Owned(text) => text,
        }
    }
}

impl PartialEq for FieldText {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for FieldText {}

impl fmt::Debug for FieldText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), formatter)
    }
}

fn check_text(text: &[u8]) -> Result<(), RecordError> {
    let legal =
        text.len() <= HEAD_BYTES_MAX && !text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
    if legal { Ok(()) } else { Err(RecordError::Text) }
}

/// A header that is stored with the object and repeated by GET and HEAD.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HeaderField {
    /// Content-Type.
    ContentType = 1,
    /// Cache-Control.
    CacheControl,
    /// Content-Disposition.
    ContentDisposition,
    /// Content-Encoding, without `aws-chunked`.
    ContentEncoding,
    /// Content-Language.
    ContentLanguage,
    /// Expires, as the client wrote it.
    Expires,
    /// x-amz-website-redirect-location.
    WebsiteRedirectLocation,
    /// x-amz-storage-class; absent means STANDARD.
    StorageClass,
}

impl HeaderField {
    /// Every field, in the order of the record.
    pub const ALL: [Self; 8] = [
        Self::ContentType,
        Self::CacheControl,
        Self::ContentDisposition,
        Self::ContentEncoding,
        Self::ContentLanguage,
        Self::Expires,
        Self::WebsiteRedirectLocation,
        Self::StorageClass,
    ];

    /// The header's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::CacheControl => "cache-control",
            Self::ContentDisposition => "content-disposition",
            Self::ContentEncoding => "content-encoding",
            Self::ContentLanguage => "content-language",
            Self::Expires => "expires",
            Self::WebsiteRedirectLocation => "x-amz-website-redirect-location",
            Self::StorageClass => "x-amz-storage-class",
        }
    }

    pub(super) fn number(self) -> u8 {
        self as u8
    }

    fn index(self) -> usize {
        usize::from(self.number() - 1)
    }
}

/// The stored headers of one object.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Headers([Option<FieldText>; HeaderField::ALL.len()]);

impl Headers {
    /// One header's value.
    pub fn text(&self, field: HeaderField) -> Option<&FieldText> {
        self.0[field.index()].as_ref()
    }

    /// Sets or removes one header.
    pub fn set(&mut self, field: HeaderField, text: Option<FieldText>) {
        self.0[field.index()] = text;
    }

    /// The names and values that are present.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let present = |field: HeaderField| Some((field.name(), self.text(field)?.as_bytes()));
        HeaderField::ALL.into_iter().filter_map(present)
    }

    /// The content type's code, or 0 and the text to be stored.
    pub(super) fn coded_content_type(&self) -> (u8, Option<&FieldText>) {
        let Some(text) = self.text(HeaderField::ContentType) else {
            return (0, None);
        };
        match CONTENT_TYPES.iter().position(|known| known.as_bytes() == text.as_bytes()) {
            Some(index) => (index as u8 + 1, None),
            None => (0, Some(text)),
        }
    }

    pub(super) fn decode_field(
        &mut self,
        number: u8,
        value: &[u8],
        type_code: u8,
    ) -> Result<(), RecordError> {
        let field = HeaderField::ALL.into_iter().find(|field| field.number() == number);
        let field = field.ok_or(RecordError::Field { number })?;
        let text = FieldText::parse(value)?;
        if field == HeaderField::ContentType {
            let has_code = CONTENT_TYPES.iter().any(|known| known.as_bytes() == value);
            if has_code || type_code != 0 {
                return Err(RecordError::ContentType);
            }
        }
        self.set(field, Some(text));
        Ok(())
    }
}

/// The content type of a code. `None`: code 0.
pub(super) fn content_type_of_code(code: u8) -> Result<Option<FieldText>, RecordError> {
    let Some(index) = usize::from(code).checked_sub(1) else {
        return Ok(None);
    };
    let text = CONTENT_TYPES.get(index).ok_or(RecordError::ContentType)?;
    Ok(Some(FieldText(Repr::Static(text))))
}

/// Content types with a code: 1 is the first. The order is part of the format; new ones go to the end.
const CONTENT_TYPES: [&str; 24] = [
    "binary/octet-stream",
    "application/octet-stream",
    "application/json",
    "text/plain",
    "text/html",
    "text/css",
    "text/csv",
    "text/javascript",
    "application/javascript",
    "application/xml",
    "text/xml",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/x-tar",
    "application/x-directory",
    "application/x-www-form-urlencoded",
    "application/vnd.apache.parquet",
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/svg+xml",
    "video/mp4",
];

/// The user's own metadata, ordered by name. Held as it is stored: one allocation, whatever it contains.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UserMetadata {
    packed: Box<[u8]>,
}

impl UserMetadata {
    /// Takes names (without `x-amz-meta-`, in any case) and values. Values of one name are joined by a comma, as HTTP
    /// allows and AWS does.
    ///
    /// # Errors
    /// [`RecordError::UserMetadata`]: a name is no token, or all names and values together exceed
    /// [`USER_METADATA_BYTES_MAX`]. [`RecordError::Text`]: a value contains a control byte.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, RecordError> {
        let mut sorted: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut counted_bytes = 0;
        for (name, value) in pairs {
            counted_bytes += name.len() + value.len();
            if counted_bytes > USER_METADATA_BYTES_MAX {
                return Err(RecordError::UserMetadata);
            }
            let name = name.to_ascii_lowercase();
            match sorted.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(index) => {
                    sorted[index].1.push(b',');
                    sorted[index].1.extend_from_slice(value);
                }
                Err(index) => sorted.insert(index, (name, value.to_vec())),
            }
        }
        let mut packed = Vec::with_capacity(counted_bytes + 4 * sorted.len());
        for (name, value) in &sorted {
            push_length_and(name, &mut packed);
            push_length_and(value, &mut packed);
        }
        Self::decode(&packed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Names in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pairs(&self.packed).map_while(Result::ok)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.packed);
    }

    pub(super) fn decode(packed: &[u8]) -> Result<Self, RecordError> {
        let mut counted_bytes = 0;
        let mut last: &[u8] = b"";
        for pair in pairs(packed) {
            let (name, value) = pair?;
            counted_bytes += name.len() + value.len();
            // In ascending order no name is empty or given twice.
            if name <= last || !name.iter().all(is_lower_token) || counted_bytes > USER_METADATA_BYTES_MAX {
                return Err(RecordError::UserMetadata);
            }
            check_text(value)?;
            last = name;
        }
        Ok(Self { packed: packed.into() })
    }
}

impl fmt::Debug for UserMetadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_pairs(&self.packed, formatter)
    }
}

/// The characters of a header's name (RFC 9110, section 5.6.2), in lower case.
fn is_lower_token(byte: &u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9') || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// The tags of an object, in the order they were given.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tags {
    packed: Box<[u8]>,
}

impl Tags {
    /// Most tags of one object.
    pub const COUNT_MAX: usize = 10;
    /// Longest key, in characters.
    pub const KEY_CHARS_MAX: usize = 128;
    /// Longest value, in characters.
    pub const VALUE_CHARS_MAX: usize = 256;
    /// The most that tags take in a record, in bytes: four for each character, and the lengths.
    pub const BYTES_MAX: usize = Self::COUNT_MAX * (4 * (Self::KEY_CHARS_MAX + Self::VALUE_CHARS_MAX) + 4);

    /// Takes keys and values.
    ///
    /// # Errors
    /// [`RecordError::Tags`] if they break a limit of AWS or contain a control character.
    pub fn from_pairs<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RecordError> {
        let mut packed = Vec::new();
        for (key, value) in tags.into_iter().take(Self::COUNT_MAX + 1) {
            push_length_and(key.as_bytes(), &mut packed);
            push_length_and(value.as_bytes(), &mut packed);
        }
        Self::decode(&packed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.packed).map_while(|pair| {
            let (key, value) = pair.ok()?;
            Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?))
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.packed);
    }

    pub(super) fn decode(packed: &[u8]) -> Result<Self, RecordError> {
        let mut keys: [&[u8]; Self::COUNT_MAX] = [b""; Self::COUNT_MAX];
        for (index, pair) in pairs(packed).enumerate() {
            let (key, value) = pair?;
            let legal = index < Self::COUNT_MAX
                && !key.is_empty()
                && !keys[..index].contains(&key)
                && is_tag_text(key, Self::KEY_CHARS_MAX)
                && is_tag_text(value, Self::VALUE_CHARS_MAX);
            if !legal {
                return Err(RecordError::Tags);
            }
            keys[index] = key;
        }
        Ok(Self { packed: packed.into() })
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_pairs(&self.packed, formatter)
    }
}

fn is_tag_text(bytes: &[u8], chars_max: usize) -> bool {
    // No character has more than four bytes: this bounds the work before the text is looked at.
    bytes.len() <= 4 * chars_max
        && std::str::from_utf8(bytes)
            .is_ok_and(|text| text.chars().count() <= chars_max && !text.chars().any(char::is_control))
}

/// Walks through packed pairs; ends after the first error.
fn pairs(packed: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), RecordError>> {
    let mut reader = Some(Reader::new(packed));
    std::iter::from_fn(move || {
        let mut rest = reader.take().filter(|rest| !rest.is_empty())?;
        let pair = rest.bytes().and_then(|name| Ok((name, rest.bytes()?)));
        reader = pair.is_ok().then_some(rest);
        Some(pair)
    })
}

fn debug_pairs(packed: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let texts = pairs(packed).map_while(Result::ok);
    let lossy = |(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    formatter.debug_map().entries(texts.map(lossy)).finish()
}
