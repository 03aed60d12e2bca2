//! The parameters of a request, as far as any operation knows them.
//!
//! Each known name may come once; what is repeated could mean different things to different readers, so it is refused.
//! At most one of them is a sub-resource: two are a contradiction. Unknown names are ignored, as AWS does (`x-id`, the
//! `X-Amz-*` of presigned URLs); names are case-sensitive. Values are decoded when they are asked for, a `+` stays a
//! plus: SDKs write a space as `%20`.

use smallvec::SmallVec;

use super::parameters::{ContinuationToken, Encoding, ListSettings, VersionId};
use super::subresource::{self, Subresource};
use crate::codec::percent;
use crate::limits::PAGE_KEYS_MAX;
use crate::s3::error::{Code, S3Error};

/// The known parameters of one request.
pub(super) struct Query<'h> {
    /// The sub-resource, if one is named.
    pub(super) subresource: Option<&'static Subresource>,
    /// Known names, each once, with their values as sent.
    values: SmallVec<[(&'static str, &'h [u8]); 8]>,
}

/// Parameters that are no sub-resources, sorted.
const PARAMETERS: [&str; 27] = [
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "id",
    "key-marker",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "partNumber",
    "prefix",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "select-type",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionId",
    "x-amz-copy-source",
];

/// Where in [`PARAMETERS`] the names with each first letter are.
const PARAMETERS_BY_LETTER: LetterIndex = {
    let mut index = LetterIndex::EMPTY;
    let mut at = 0;
    while at < PARAMETERS.len() {
        index = index.with(PARAMETERS[at]);
        at += 1;
    }
    index
};

/// Ranges of a sorted table of names, one for each first letter. Every parameter of every request is looked up, most of
/// them in vain (`X-Amz-Signature`), so this has to be cheap: the few names of one letter are compared by length first.
pub(super) struct LetterIndex([u8; 27]);

impl LetterIndex {
    pub(super) const EMPTY: Self = Self([0; 27]);

    /// Counts a name in. A table that is not of lower-case names does not compile.
    pub(super) const fn with(mut self, name: &str) -> Self {
        let mut letter = (name.as_bytes()[0] - b'a') as usize + 1;
        while letter < self.0.len() {
            self.0[letter] += 1;
            letter += 1;
        }
        self
    }

    /// The part of the table in which a name would be.
    pub(super) fn range(&self, name: &[u8]) -> std::ops::Range<usize> {
        match name.first() {
            Some(letter @ b'a'..=b'z') => {
                let letter = usize::from(letter - b'a');
                usize::from(self.0[letter])..usize::from(self.0[letter + 1])
            }
            _ => 0..0,
        }
    }
}

fn find_parameter(name: &[u8]) -> Option<&'static str> {
    let candidates = &PARAMETERS[PARAMETERS_BY_LETTER.range(name)];
    candidates.iter().copied().find(|known| known.as_bytes() == name)
}

/// The greatest number that a count may be given as (AWS: `Integer`).
const COUNT_MAX: u64 = i32::MAX as u64;

impl<'h> Query<'h> {
    /// Splits a query as sent, without its `?`.
    pub(super) fn parse(query: &'h [u8]) -> Result<Self, S3Error> {
        let mut parsed = Self { subresource: None, values: SmallVec::new() };
        for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let value = pair.get(end + 1..).unwrap_or_default();
            let name = percent::decode(&pair[..end])
                .map_err(|error| Code::InvalidURI.because(format!("Couldn't parse the query: {error}.")))?;
            if let Some(subresource) = subresource::find(&name) {
                parsed.add(subresource.name, value)?;
                if let Some(other) = parsed.subresource.replace(subresource) {
                    return Err(contradiction(other.name, subresource.name));
                }
            } else if let Some(name) = find_parameter(&name) {
                parsed.add(name, value)?;
            }
        }
        Ok(parsed)
    }

    fn add(&mut self, name: &'static str, value: &'h [u8]) -> Result<(), S3Error> {
        if self.has(name) {
            let message = format!("The parameter '{name}' must not be given more than once.");
            return Err(S3Error::invalid_argument(name, String::from_utf8_lossy(value), message));
        }
        self.values.push((name, value));
        Ok(())
    }

    /// Whether the parameter was sent, with or without a value.
    pub(super) fn has(&self, name: &'static str) -> bool {
        self.raw(name).is_some()
    }

    fn raw(&self, name: &'static str) -> Option<&'h [u8]> {
        debug_assert!(PARAMETERS.contains(&name) || subresource::find(name.as_bytes()).is_some(), "{name}");
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The value, decoded; `None` when the parameter was not sent.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, S3Error> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let refuse = |message: String| S3Error::invalid_argument(name, String::from_utf8_lossy(raw), message);
        let value = percent::decode(raw)
            .map_err(|error| refuse(format!("The parameter '{name}' is not percent-encoded: {error}.")))?;
        match String::from_utf8(value.into_owned()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(refuse(format!("The parameter '{name}' is not UTF-8."))),
        }
    }

    /// The value, decoded; `None` when the parameter was not sent or is empty.
    pub(super) fn filled(&self, name: &'static str) -> Result<Option<String>, S3Error> {
        Ok(self.text(name)?.filter(|value| !value.is_empty()))
    }

    /// The value, decoded; empty when the parameter was not sent.
    pub(super) fn text_or_empty(&self, name: &'static str) -> Result<String, S3Error> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// A whole number of at most 31 bits; `None` when the parameter was not sent or is empty. The number `least` is the
    /// smallest allowed one.
    pub(super) fn count(&self, name: &'static str, least: u64) -> Result<Option<u64>, S3Error> {
        let Some(text) = self.filled(name)? else { return Ok(None) };
        let number = decimal(&text).filter(|number| (least..=COUNT_MAX).contains(number));
        let refuse = || {
            let message =
                format!("Provided {name} not an integer or within integer range ({least} to {COUNT_MAX})");
            S3Error::invalid_argument(name, &*text, message)
        };
        number.ok_or_else(refuse).map(Some)
    }

    /// The size of a page: what was asked for, but never more than a page holds.
    pub(super) fn page_size(&self, name: &'static str, least: u64) -> Result<u32, S3Error> {
        let asked = self.count(name, least)?.unwrap_or(PAGE_KEYS_MAX as u64);
        Ok(asked.min(PAGE_KEYS_MAX as u64) as u32)
    }

    /// `true` or `false`; false when the parameter was not sent or is empty.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, S3Error> {
        let Some(text) = self.filled(name)? else { return Ok(false) };
        if text.eq_ignore_ascii_case("true") {
            Ok(true)
        } else if text.eq_ignore_ascii_case("false") {
            Ok(false)
        } else {
            Err(S3Error::invalid_argument(
                name,
                text,
                format!("The parameter '{name}' must be true or false."),
            ))
        }
    }

    /// What all listings of a bucket have; `max_keys` names the parameter that sizes the page, and `least` its smallest
    /// value.
    pub(super) fn list_settings(&self, max_keys: &'static str, least: u64) -> Result<ListSettings, S3Error> {
        let encoding = match self.text("encoding-type")? {
            None => None,
            Some(kind) if kind == "url" => Some(Encoding::Url),
            Some(kind) => {
                let message = "Invalid Encoding Method specified in Request";
                return Err(S3Error::invalid_argument("encoding-type", kind, message));
            }
        };
        Ok(ListSettings {
            prefix: self.text_or_empty("prefix")?,
            delimiter: self.filled("delimiter")?,
            max_keys: self.page_size(max_keys, least)?,
            encoding,
        })
    }

    /// A token of [`ContinuationToken::encode`].
    pub(super) fn continuation_token(&self) -> Result<Option<ContinuationToken>, S3Error> {
        let Some(text) = self.text("continuation-token")? else { return Ok(None) };
        let refuse = || {
            S3Error::invalid_argument(
                "continuation-token",
                &*text,
                "The continuation token provided is incorrect",
            )
        };
        ContinuationToken::parse(&text).ok_or_else(refuse).map(Some)
    }

    /// The version of an object; `name` is `versionId` or `version-id-marker`.
    pub(super) fn version_id(&self, name: &'static str) -> Result<Option<VersionId>, S3Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let refuse = || {
            let empty = "Version id cannot be the empty string";
            let message = if text.is_empty() { empty } else { "Invalid version id specified" };
            S3Error::invalid_argument(name, &*text, message)
        };
        VersionId::new(&text).ok_or_else(refuse).map(Some)
    }

    /// Refuses a parameter that means something elsewhere but not in this operation.
    pub(super) fn refuse(&self, name: &'static str, message: &'static str) -> Result<(), S3Error> {
        match self.raw(name) {
            None => Ok(()),
            Some(value) => Err(S3Error::invalid_argument(name, String::from_utf8_lossy(value), message)),
        }
    }
}

fn contradiction(first: &'static str, second: &'static str) -> S3Error {
    let message = format!("Conflicting query string parameters: {first}, {second}");
    Code::InvalidArgument.because(message).with("ArgumentName", "ResourceType").with("ArgumentValue", second)
}

/// Digits only: no sign, no blanks. `None` also for more than a `u64` holds.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_apart_from_the_subresources() {
        assert!(PARAMETERS.is_sorted_by(|left, right| left < right));
        assert!(PARAMETERS.iter().all(|name| subresource::find(name.as_bytes()).is_none()));
        assert!(PARAMETERS.iter().all(|name| find_parameter(name.as_bytes()) == Some(*name)));
        for unknown in ["", "x", "z", "X-Amz-Date", "prefiy", "prefi", "prefixx", "{", "`"] {
            assert_eq!(find_parameter(unknown.as_bytes()), None, "{unknown}");
        }
    }

    fn parse(query: &str) -> Query<'_> {
        Query::parse(query.as_bytes()).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    #[test]
    fn values() {
        let query = parse("prefix=a%20b+c%2Bd&&marker&max-keys=7&x-id=%&fetch-owner=True&=x&acl&delimiter=");
        assert_eq!(query.text("prefix").ok().flatten().as_deref(), Some("a b+c+d"));
        assert_eq!(query.text("marker").ok().flatten().as_deref(), Some(""));
        assert_eq!(query.filled("marker"), Ok(None));
        assert_eq!(query.filled("delimiter"), Ok(None));
        assert_eq!(query.text("start-after"), Ok(None));
        assert_eq!(query.count("max-keys", 0), Ok(Some(7)));
        assert_eq!(query.flag("fetch-owner"), Ok(true));
        assert_eq!(query.subresource.map(|subresource| subresource.name), Some("acl"));
        assert_eq!(parse("p%72efix=a").text("prefix").ok().flatten().as_deref(), Some("a"));
        assert_eq!(parse("Prefix=a").text("prefix"), Ok(None));
        assert_eq!(parse("prefix=a=b").text("prefix").ok().flatten().as_deref(), Some("a=b"));
    }

    #[test]
    fn page_sizes() {
        let check = |query: &str, expected: Option<u32>| {
            assert_eq!(parse(query).page_size("max-keys", 0).ok(), expected, "{query}");
        };
        check("", Some(1000));
        check("max-keys=", Some(1000));
        check("max-keys=0", Some(0));
        check("max-keys=1000", Some(1000));
        check("max-keys=2147483647", Some(1000));
        check("max-keys=2147483648", None);
        check("max-keys=99999999999999999999", None);
        check("max-keys=-1", None);
        check("max-keys=+1", None);
        check("max-keys=%201", None);
        check("max-keys=blah", None);
        check("max-keys=%ff", None);
    }
}
