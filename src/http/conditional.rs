//! Conditional requests: which preconditions hold, and what the answer is when they do not.
//!
//! Evaluation only: fetching the object's validators, and making "check, then write" atomic, are the caller's. The order
//! is that of RFC 9110 section 13.2.2, which is also what S3 documents: a true `If-Match` makes `If-Unmodified-Since`
//! irrelevant (200), a false `If-None-Match` makes `If-Modified-Since` irrelevant (304).
//! Clients send ETags in every shape, so reading them is lenient: lists, several lines, weak tags, and tags without their
//! quotes. A date that cannot be read is ignored, as RFC 9110 demands.
//! Spec: RFC 9110 section 13; AWS "Conditional reads" and "Conditional writes"; CopyObject.

use smallvec::SmallVec;

use crate::codec::dates::Timestamp;
use crate::http::head::Head;

/// What the preconditions are compared with: the current state of one object.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'o> {
    /// ETag without its quotes. Every ETag of this server is a strong one.
    pub etag: &'o [u8],
    /// Last modification; compared in whole seconds, because `Last-Modified` shows no more.
    pub last_modified: Timestamp,
}

/// Answer of the preconditions of a read or of a copy's source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// Carry on.
    Proceed,
    /// 304 without a body; `ETag` and `Last-Modified` are still sent. Never the outcome for a copy's source.
    NotModified,
    /// 412 PreconditionFailed; the header that failed, for the error's `Condition`.
    Failed(&'static str),
}

/// Answer of the preconditions of a write or delete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteOutcome {
    /// Carry on.
    Proceed,
    /// 412 PreconditionFailed; the header that failed, for the error's `Condition`.
    Failed(&'static str),
    /// `If-Match` on an object that does not exist: 404 NoSuchKey.
    Missing,
}

/// The preconditions of GetObject, HeadObject, or of the source of CopyObject and UploadPartCopy.
#[derive(Clone, Debug)]
pub struct ReadConditions<'h> {
    if_match: Tags<'h>,
    if_none_match: Tags<'h>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
    names: &'static Names,
}

impl<'h> ReadConditions<'h> {
    /// The preconditions of a read.
    #[must_use]
    pub fn of_request(head: &'h Head) -> Self {
        Self::named(head, &REQUEST)
    }

    /// The preconditions on a copy's source: the `x-amz-copy-source-if-*` headers.
    #[must_use]
    pub fn of_copy_source(head: &'h Head) -> Self {
        Self::named(head, &COPY_SOURCE)
    }

    /// The preconditions on the object that RenameObject renames: the `x-amz-rename-source-if-*` headers.
    #[must_use]
    pub fn of_rename_source(head: &'h Head) -> Self {
        Self::named(head, &RENAME_SOURCE)
    }

    fn named(head: &'h Head, names: &'static Names) -> Self {
        let date = |name| head.header(name).and_then(Timestamp::parse_http);
        Self {
            if_match: Tags::of(head, names.if_match),
            if_none_match: Tags::of(head, names.if_none_match),
            if_modified_since: date(names.if_modified_since),
            if_unmodified_since: date(names.if_unmodified_since),
            names,
        }
    }

    /// True when the read is unconditional, so that nothing need be compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_absent()
            && self.if_none_match.is_absent()
            && self.if_modified_since.is_none()
            && self.if_unmodified_since.is_none()
    }

    /// Compares the preconditions with an object that exists. One that does not is 404 before any of them.
    #[must_use]
    pub fn evaluate(&self, object: &Validators<'_>) -> ReadOutcome {
        let modified_since = |date: Timestamp| object.last_modified.seconds > date.seconds;
        if !self.if_match.is_absent() {
            if !self.if_match.contain_strongly(object.etag) {
                return ReadOutcome::Failed(self.names.if_match_shown);
            }
        } else if self.if_unmodified_since.is_some_and(modified_since) {
            return ReadOutcome::Failed(self.names.if_unmodified_since_shown);
        }
        if !self.if_none_match.is_absent() {
            if self.if_none_match.contain_weakly(object.etag) {
                return self.not_modified(self.names.if_none_match_shown);
            }
        } else if self.if_modified_since.is_some_and(|date| !modified_since(date)) {
            return self.not_modified(self.names.if_modified_since_shown);
        }
        ReadOutcome::Proceed
    }

    /// A copy or rename has no answer 304: 412 is documented for all four.
    fn not_modified(&self, shown: &'static str) -> ReadOutcome {
        if self.names.is_source { ReadOutcome::Failed(shown) } else { ReadOutcome::NotModified }
    }
}

/// The preconditions of PutObject, CompleteMultipartUpload, CopyObject's target and DeleteObject. Dates are no
/// preconditions of writes in S3 and are ignored.
#[derive(Clone, Debug)]
pub struct WriteConditions<'h> {
    if_match: Tags<'h>,
    if_none_match: Tags<'h>,
}

impl<'h> WriteConditions<'h> {
    /// The preconditions of a write.
    #[must_use]
    pub fn of_request(head: &'h Head) -> Self {
        Self {
            if_match: Tags::of(head, REQUEST.if_match),
            if_none_match: Tags::of(head, REQUEST.if_none_match),
        }
    }

    /// True when the write is unconditional, so that the current object need not be looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_absent() && self.if_none_match.is_absent()
    }

    /// True for `If-None-Match: *` alone: a write that must not replace anything, which the file system can decide.
    #[must_use]
    pub fn is_create_only(&self) -> bool {
        self.if_match.is_absent() && self.if_none_match.iter().any(|tag| tag == Tag::Any)
    }

    /// Compares the preconditions with the current object, `None` when there is none.
    #[must_use]
    pub fn evaluate(&self, current: Option<&Validators<'_>>) -> WriteOutcome {
        if !self.if_match.is_absent() {
            let Some(object) = current else { return WriteOutcome::Missing };
            if !self.if_match.contain_strongly(object.etag) {
                return WriteOutcome::Failed(REQUEST.if_match_shown);
            }
        }
        if current.is_some_and(|object| self.if_none_match.contain_weakly(object.etag)) {
            return WriteOutcome::Failed(REQUEST.if_none_match_shown);
        }
        WriteOutcome::Proceed
    }
}

/// True when an `If-Range` value still fits the object, so that a range may be sent (RFC 9110 section 13.1.5): the same
/// strong ETag, or exactly the date of `Last-Modified`.
#[must_use]
pub fn if_range_holds(value: &[u8], object: &Validators<'_>) -> bool {
    match Timestamp::parse_http(value) {
        Some(date) => date.seconds == object.last_modified.seconds,
        None => Elements { rest: value }.next() == Some(Tag::Strong(object.etag)),
    }
}

/// Names of the four headers, in lower case to find them and as S3's errors show them.
#[derive(Debug)]
struct Names {
    if_match: &'static str,
    if_none_match: &'static str,
    if_modified_since: &'static str,
    if_unmodified_since: &'static str,
    if_match_shown: &'static str,
    if_none_match_shown: &'static str,
    if_modified_since_shown: &'static str,
    if_unmodified_since_shown: &'static str,
    /// Of what a write takes, not of what a read gives.
    is_source: bool,
}

static REQUEST: Names = Names {
    if_match: "if-match",
    if_none_match: "if-none-match",
    if_modified_since: "if-modified-since",
    if_unmodified_since: "if-unmodified-since",
    if_match_shown: "If-Match",
    if_none_match_shown: "If-None-Match",
    if_modified_since_shown: "If-Modified-Since",
    if_unmodified_since_shown: "If-Unmodified-Since",
    is_source: false,
};

static COPY_SOURCE: Names = Names {
    if_match: "x-amz-copy-source-if-match",
    if_none_match: "x-amz-copy-source-if-none-match",
    if_modified_since: "x-amz-copy-source-if-modified-since",
    if_unmodified_since: "x-amz-copy-source-if-unmodified-since",
    if_match_shown: "x-amz-copy-source-If-Match",
    if_none_match_shown: "x-amz-copy-source-If-None-Match",
    if_modified_since_shown: "x-amz-copy-source-If-Modified-Since",
    if_unmodified_since_shown: "x-amz-copy-source-If-Unmodified-Since",
    is_source: true,
};

static RENAME_SOURCE: Names = Names {
    if_match: "x-amz-rename-source-if-match",
    if_none_match: "x-amz-rename-source-if-none-match",
    if_modified_since: "x-amz-rename-source-if-modified-since",
    if_unmodified_since: "x-amz-rename-source-if-unmodified-since",
    if_match_shown: "x-amz-rename-source-If-Match",
    if_none_match_shown: "x-amz-rename-source-If-None-Match",
    if_modified_since_shown: "x-amz-rename-source-If-Modified-Since",
    if_unmodified_since_shown: "x-amz-rename-source-If-Unmodified-Since",
    is_source: true,
};

/// The entity tags of one header, all its lines together.
#[derive(Clone, Debug)]
struct Tags<'h> {
    lines: SmallVec<[&'h [u8]; 1]>,
}

impl<'h> Tags<'h> {
    fn of(head: &'h Head, lower_name: &'static str) -> Self {
        Self { lines: head.header_all(lower_name).collect() }
    }

    /// True when the header was not sent. A header that was sent empty is there, and matches nothing.
    fn is_absent(&self) -> bool {
        self.lines.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = Tag<'h>> {
        self.lines.iter().flat_map(|&rest| Elements { rest })
    }

    /// The comparison of `If-Match`: a weak tag never matches.
    fn contain_strongly(&self, etag: &[u8]) -> bool {
        self.iter().any(|tag| tag == Tag::Any || tag == Tag::Strong(etag))
    }

    /// The comparison of `If-None-Match`: weak and strong tags are the same.
    fn contain_weakly(&self, etag: &[u8]) -> bool {
        self.iter().any(|tag| tag == Tag::Any || tag == Tag::Strong(etag) || tag == Tag::Weak(etag))
    }
}

/// One element of a list of entity tags, without its quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag<'h> {
    Any,
    Strong(&'h [u8]),
    Weak(&'h [u8]),
}

/// Walks a list of entity tags. Commas inside quotes belong to the tag; what stands between a closing quote and the
/// next comma is skipped.
struct Elements<'h> {
    rest: &'h [u8],
}

impl<'h> Iterator for Elements<'h> {
    type Item = Tag<'h>;

    fn next(&mut self) -> Option<Tag<'h>> {
        while let [b',' | b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        let weak = self.rest.strip_prefix(b"W/");
        let tag = weak.unwrap_or(self.rest);
        let (opaque, rest, quoted) = match tag.strip_prefix(b"\"") {
            Some(open) => match memchr::memchr(b'"', open) {
                Some(close) => (&open[..close], &open[close + 1..], true),
                None => (open.trim_ascii(), &open[open.len()..], true),
            },
            None if self.rest.is_empty() => return None,
            None => {
                let (opaque, rest) = tag.split_at(memchr::memchr(b',', tag).unwrap_or(tag.len()));
                (opaque.trim_ascii(), rest, false)
            }
        };
        self.rest = &rest[memchr::memchr(b',', rest).unwrap_or(rest.len())..];
        Some(match weak {
            Some(_) => Tag::Weak(opaque),
            None if opaque == b"*" && !quoted => Tag::Any,
            None => Tag::Strong(opaque),
        })
    }
}

/// Reads `data` as a list of tags and as a precondition.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let count = Elements { rest: data }.count();
    assert!(count <= data.len());
    let object = Validators { etag: b"a", last_modified: Timestamp::from_seconds(0) };
    let tags = Tags { lines: SmallVec::from_slice(&[data]) };
    assert!(!tags.contain_strongly(object.etag) || tags.contain_weakly(object.etag));
    let _ = if_range_holds(data, &object);
}

#[cfg(test)]
mod tests;
