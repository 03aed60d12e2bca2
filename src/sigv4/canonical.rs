//! The canonical request: what a client hashes and signs, rebuilt from the slices of the request head.
//!
//! The plain version, which the writer below streams piece by piece:
//!
//! ```text
//! METHOD \n encoded path \n sorted encoded query \n (name:value \n)... \n signed;header;names \n payload hash
//! ```
//!
//! The same code writes into a SHA-256 state (every request) and into a `Vec` (only to explain a wrong signature), so
//! that the two cannot differ. Nothing is allocated for requests with at most sixteen query parameters.
//! Paths and queries are decoded once and encoded once; a piece that is canonical on the wire already, which is what
//! SDKs send, is passed on as it is. A `%` that two digits do not follow counts as a literal percent sign here:
//! refusing it is the router's job, and no request that it accepts holds one. `+` is a literal plus.
//! Whether headers may be left unsigned is not decided here.
//! Spec: AWS "Signature Version 4", create a canonical request; RFC 3986 section 5.2.4 for normalised paths.

use std::cmp::Ordering;

use memchr::{memchr, memchr_iter};
use smallvec::SmallVec;

use super::sha::{Hasher, Sink};
use crate::codec::{hex, percent};
use crate::http::head::Head;

/// How a service turns the path of the wire into the canonical one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathRule {
    /// Decode once, encode once; `//`, `.` and `..` are parts of the key.
    S3,
    /// Encode what is on the wire, so that an encoded path is encoded twice.
    Service {
        /// Remove empty, `.` and `..` segments first.
        normalize: bool,
    },
}

/// One signed header of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedHeader<'h> {
    /// Lower-case name, as in the list of signed headers.
    pub name: &'h [u8],
    /// First value, trimmed; empty if the request has no such header.
    pub value: &'h [u8],
    /// The request has this header.
    pub present: bool,
    /// The request has more lines of this name.
    pub repeated: bool,
}

/// Everything that the canonical request is made of.
pub(super) struct Request<'a> {
    pub method: &'a [u8],
    /// Path of the wire, without the query.
    pub path: &'a [u8],
    pub path_rule: PathRule,
    /// Query of the wire, without `?`. `X-Amz-Signature` is left out: requests signed by a header have no such parameter,
    /// because two signatures are refused.
    pub query: &'a [u8],
    /// For the further lines of repeated headers.
    pub head: &'a Head,
    /// Sorted by name.
    pub signed: &'a [SignedHeader<'a>],
    /// The last line.
    pub payload: &'a [u8],
}

impl Request<'_> {
    /// SHA-256 of the canonical request.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = Hasher::new();
        self.write(&mut hasher);
        hasher.finish()
    }

    /// The canonical request itself, to show where a signature went wrong.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(1024);
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut impl Sink) {
        out.put(self.method);
        out.put_byte(b'\n');
        match self.path_rule {
            PathRule::S3 => put_canonical(out, self.path, Slash::Stays),
            PathRule::Service { normalize: false } => put_encoded(out, self.path),
            PathRule::Service { normalize: true } => put_normalized(out, self.path),
        }
        out.put_byte(b'\n');
        put_query(out, self.query);
        out.put_byte(b'\n');
        for header in self.signed {
            self.put_header(out, header);
        }
        out.put_byte(b'\n');
        for (index, header) in self.signed.iter().enumerate() {
            if index > 0 {
                out.put_byte(b';');
            }
            out.put(header.name);
        }
        out.put_byte(b'\n');
        out.put(self.payload);
    }

    fn put_header(&self, out: &mut impl Sink, header: &SignedHeader<'_>) {
        out.put(header.name);
        out.put_byte(b':');
        put_collapsed(out, header.value);
        if header.repeated {
            let lines = self.head.headers().filter(|(name, _)| name.eq_ignore_ascii_case(header.name));
            for (_, value) in lines.skip(1) {
                out.put_byte(b',');
                put_collapsed(out, value);
            }
        }
        out.put_byte(b'\n');
    }
}

/// Writes `value` with each run of spaces as one space, also inside quotes.
fn put_collapsed(out: &mut impl Sink, value: &[u8]) {
    let mut from = 0;
    for space in memchr_iter(b' ', value) {
        // The first space of a run ends a piece, the others are jumped over.
        if space > 0 && value[space - 1] == b' ' {
            from = space + 1;
        } else if value.get(space + 1) == Some(&b' ') {
            out.put(&value[from..=space]);
            from = space + 1;
        }
    }
    out.put(&value[from..]);
}

/// Whether a slash is a separator that stays as it is or a character like any other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Stays,
    Escaped,
}

/// Writes `text` decoded once and encoded once.
fn put_canonical(out: &mut impl Sink, text: &[u8], slash: Slash) {
    let (clean, rest) = text.split_at(canonical_prefix(text, slash));
    out.put(clean);
    if !rest.is_empty() {
        put_pieces(out, Canonical::new(rest, slash));
    }
}

/// Writes `path` encoded, without decoding it first.
fn put_encoded(out: &mut impl Sink, path: &[u8]) {
    let stays = |byte: u8| percent::is_unreserved(byte) || byte == b'/';
    let mut rest = path;
    while !rest.is_empty() {
        let (run, after) = rest.split_at(rest.iter().position(|&byte| !stays(byte)).unwrap_or(rest.len()));
        out.put(run);
        rest = after;
        if let Some((&byte, after)) = rest.split_first() {
            out.put(&percent::escape(byte));
            rest = after;
        }
    }
}

/// Writes `path` encoded, without empty, `.` and `..` segments.
fn put_normalized(out: &mut impl Sink, path: &[u8]) {
    let mut segments = SmallVec::<[&[u8]; 16]>::new();
    let mut ends_in_slash = true;
    for segment in path.split(|&byte| byte == b'/') {
        ends_in_slash = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    for segment in &segments {
        out.put_byte(b'/');
        put_encoded(out, segment);
    }
    if ends_in_slash || segments.is_empty() {
        out.put_byte(b'/');
    }
}

/// One parameter of a query, as it stands on the wire.
struct Parameter<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// Name and value are canonical on the wire already.
    clean: bool,
}

impl Parameter<'_> {
    /// The order of the canonical query: by encoded name, then by encoded value. Comparing the whole `name=value`
    /// instead would put `a-b=` before `a=`.
    fn compare(&self, other: &Self) -> Ordering {
        if self.clean && other.clean {
            return (self.name, self.value).cmp(&(other.name, other.value));
        }
        let escaped = |text| Canonical::new(text, Slash::Escaped);
        escaped(self.name)
            .cmp(escaped(other.name))
            .then_with(|| escaped(self.value).cmp(escaped(other.value)))
    }
}

fn put_query(out: &mut impl Sink, query: &[u8]) {
    if query.is_empty() {
        return;
    }
    let mut parameters = SmallVec::<[Parameter<'_>; 16]>::new();
    for (name, value) in parameters_of(query) {
        if name.eq_ignore_ascii_case(b"X-Amz-Signature") {
            continue;
        }
        let is_clean = |text: &[u8]| canonical_prefix(text, Slash::Escaped) == text.len();
        parameters.push(Parameter { name, value, clean: is_clean(name) && is_clean(value) });
    }
    if !parameters.is_sorted_by(|a, b| a.compare(b).is_le()) {
        parameters.sort_unstable_by(Parameter::compare);
    }
    for (index, parameter) in parameters.iter().enumerate() {
        if index > 0 {
            out.put_byte(b'&');
        }
        if parameter.clean {
            out.put(parameter.name);
            out.put_byte(b'=');
            out.put(parameter.value);
        } else {
            put_canonical(out, parameter.name, Slash::Escaped);
            out.put_byte(b'=');
            put_canonical(out, parameter.value, Slash::Escaped);
        }
    }
}

/// The parameters of a query in wire order, still encoded; `acl` and `acl=` are the same. Empty pieces (`a&&b`) are
/// no parameters.
pub(super) fn parameters_of(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|&byte| byte == b'&').filter(|piece| !piece.is_empty()).map(|piece| {
        let end = memchr(b'=', piece).unwrap_or(piece.len());
        (&piece[..end], &piece[(end + 1).min(piece.len())..])
    })
}

/// How many bytes of `text` are canonical already: characters that stay, and upper-case escapes of those that do not.
fn canonical_prefix(text: &[u8], slash: Slash) -> usize {
    let mut index = 0;
    while let Some(&byte) = text.get(index) {
        if stays(byte, slash) {
            index += 1;
            continue;
        }
        match (byte, text.get(index + 1), text.get(index + 2)) {
            (b'%', Some(&high), Some(&low)) => match (hex::digit(high), hex::digit(low)) {
                (Some(upper), Some(lower))
                    if !high.is_ascii_lowercase()
                        && !low.is_ascii_lowercase()
                        && !stays((upper << 4) | lower, slash) =>
                {
                    index += 3;
                }
                _ => return index,
            },
            _ => return index,
        }
    }
    index
}

#[inline]
fn stays(byte: u8, slash: Slash) -> bool {
    percent::is_unreserved(byte) || (byte == b'/' && slash == Slash::Stays)
}

/// Hands the bytes of `canonical` to `out` in pieces of a small buffer.
fn put_pieces(out: &mut impl Sink, canonical: Canonical<'_>) {
    let mut buffer = [0; 128];
    let mut filled = 0;
    for byte in canonical {
        if filled == buffer.len() {
            out.put(&buffer);
            filled = 0;
        }
        buffer[filled] = byte;
        filled += 1;
    }
    out.put(&buffer[..filled]);
}

/// The bytes of a text decoded once and encoded once, one at a time.
struct Canonical<'a> {
    rest: &'a [u8],
    slash: Slash,
    /// The escape under way and how many of its characters are still to come.
    escape: ([u8; 3], usize),
}

impl<'a> Canonical<'a> {
    fn new(text: &'a [u8], slash: Slash) -> Self {
        Self { rest: text, slash, escape: ([0; 3], 0) }
    }
}

impl Iterator for Canonical<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.escape.1 > 0 {
            self.escape.1 -= 1;
            return Some(self.escape.0[2 - self.escape.1]);
        }
        let (&first, mut rest) = self.rest.split_first()?;
        let mut byte = first;
        if let (b'%', [high, low, after @ ..]) = (first, rest)
            && let (Some(high), Some(low)) = (hex::digit(*high), hex::digit(*low))
        {
            byte = (high << 4) | low;
            rest = after;
        }
        self.rest = rest;
        if stays(byte, self.slash) {
            return Some(byte);
        }
        self.escape = (percent::escape(byte), 2);
        Some(b'%')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths() {
        #[track_caller]
        fn check(path: &str, s3: &str, service: &str, normalized: &str) {
            assert_eq!(written(|out| put_canonical(out, path.as_bytes(), Slash::Stays)), s3, "{path}");
            assert_eq!(written(|out| put_encoded(out, path.as_bytes())), service, "{path}");
            assert_eq!(written(|out| put_normalized(out, path.as_bytes())), normalized, "{path}");
        }
        check("/", "/", "/", "/");
        check("/a/b", "/a/b", "/a/b", "/a/b");
        check("/a//./../b/", "/a//./../b/", "/a//./../b/", "/b/");
        check("/a/b/..", "/a/b/..", "/a/b/..", "/a/");
        check("/../..", "/../..", "/../..", "/");
        check("/%c3%a9%7E", "/%C3%A9~", "/%25c3%25a9%257E", "/%25c3%25a9%257E");
        check("/\u{e9}", "/%C3%A9", "/%C3%A9", "/%C3%A9");
        check("/a%2Fb", "/a/b", "/a%252Fb", "/a%252Fb");
        check("/!'()*", "/%21%27%28%29%2A", "/%21%27%28%29%2A", "/%21%27%28%29%2A");
        check("/a+b", "/a%2Bb", "/a%2Bb", "/a%2Bb");
        check("/%", "/%25", "/%25", "/%25");
        check("/%4", "/%254", "/%254", "/%254");
        check("/%zz", "/%25zz", "/%25zz", "/%25zz");
        check("/%2541", "/%2541", "/%252541", "/%252541");
    }

    #[test]
    fn queries() {
        #[track_caller]
        fn check(query: &str, expected: &str) {
            assert_eq!(written(|out| put_query(out, query.as_bytes())), expected, "{query}");
        }
        check("", "");
        check("acl", "acl=");
        check("acl=", "acl=");
        check("b=2&a=1", "a=1&b=2");
        check("a=2&a=1&a=2", "a=1&a=2&a=2");
        check("a-b=1&a=2", "a=2&a-b=1");
        check("&a&&b&", "a=&b=");
        check("a==b=c", "a=%3Db%3Dc");
        check("prefix=a/b", "prefix=a%2Fb");
        check("a+b=c+d", "a%2Bb=c%2Bd");
        // Sorted after encoding: `~` (0x7e) stays and comes after `%C3`, and `Z` comes before `a`.
        check("~=1&\u{e9}=2&a=3&Z=4", "%C3%A9=2&Z=4&a=3&~=1");
        check("%7e=1&%41=2&%2f=%2f", "%2F=%2F&A=2&~=1");
        check("z=1&X-Amz-Signature=ff&y=2", "y=2&z=1");
    }

    #[test]
    fn spaces_collapse() {
        for (value, expected) in [
            ("", ""),
            ("a", "a"),
            ("a b c", "a b c"),
            ("a  b", "a b"),
            ("\"a   b  c\"    d e", "\"a b c\" d e"),
            ("a \t b", "a \t b"),
        ] {
            assert_eq!(written(|out| put_collapsed(out, value.as_bytes())), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn encoding_agrees_with_the_codec(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            // Literal percent signs are not what the codec accepts; they are in the tables above.
            let text: Vec<u8> = text.into_iter().map(|byte| if byte == b'%' { b'x' } else { byte }).collect();
            let mut lower = Vec::new();
            for &byte in &text {
                if byte % 3 == 0 {
                    lower.push(b'%');
                    hex::encode_into(&[byte], &mut lower);
                } else {
                    lower.push(byte);
                }
            }
            for wire in [&text, &lower] {
                let mut expected = Vec::new();
                percent::encode_query_into(&text, &mut expected);
                let mut out = Vec::new();
                put_canonical(&mut out, wire, Slash::Escaped);
                prop_assert_eq!(&out, &expected);
                prop_assert_eq!(canonical_prefix(&out, Slash::Escaped), out.len());
                expected.clear();
                percent::encode_path_into(&text, &mut expected);
                out.clear();
                put_canonical(&mut out, wire, Slash::Stays);
                prop_assert_eq!(&out, &expected);
            }
        }

        #[test]
        fn spaces_collapse_like_a_filter(value in "[ a\t]{0,40}") {
            let mut expected = String::new();
            for character in value.chars() {
                if character != ' ' || !expected.ends_with(' ') {
                    expected.push(character);
                }
            }
            prop_assert_eq!(written(|out| put_collapsed(out, value.as_bytes())), expected);
        }
    }
}
