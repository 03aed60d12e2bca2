//! XML in and out: the documents that clients send are read in `read`, those they get are written in `listing` and
//! `answer`, all of them straight from and to bytes.
//!
//! No document tree is built and no schema is interpreted: a writer is a list of elements in the order AWS has them, a
//! reader names the elements it takes and refuses all others.
//!
//! # Characters that XML cannot carry
//! Keys may hold any character; XML 1.0 (section 2.2) has none of U+0000-U+001F but tab, line feed and carriage return,
//! and neither U+FFFE nor U+FFFF, not even as a reference. The writer puts U+FFFD in their place, so that an answer is
//! always well-formed; clients that need such keys ask for `encoding-type=url`, as the SDKs do. Tab, line feed and
//! carriage return are written as references, because a parser would otherwise change the last one. The reader takes
//! the forbidden characters all the same, raw or as a reference: boto3 sends them raw when it deletes such keys.

use std::borrow::Cow;

mod answer;
mod listing;
mod read;
pub mod reader;

pub use answer::{
    ChecksumText, Completed, Copied, DeleteOutcome, write_delete_result, write_initiate_multipart_upload,
    write_location_constraint, write_policy_status, write_versioning,
};
pub use listing::{
    BucketEntry, Buckets, ObjectEntry, Objects, ObjectsV2, Owner, Page, PartEntry, Parts, UploadEntry,
    Uploads, VersionContent, VersionEntry, Versions,
};
pub use read::{
    CHECKSUM_ELEMENTS, CompleteMultipartUpload, CompletedPart, CreateBucketConfiguration, Delete,
    DeleteObject, fuzz,
};

pub use reader::Malformed;

/// The namespace of every S3 document but errors.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Appends one document. Elements are written in the order of the calls; balance is the caller's duty.
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    /// Starts a document with its declaration.
    pub fn document(out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Self { out }
    }

    /// Opens the root element, in the namespace of S3.
    pub fn open_root(&mut self, name: &str) {
        self.open_root_in(name, NAMESPACE);
    }

    /// Opens the root element in another namespace.
    pub fn open_root_in(&mut self, name: &str, namespace: &str) {
        self.raw(&["<", name, " xmlns=\"", namespace, "\">"]);
    }

    /// Opens an element.
    pub fn open(&mut self, name: &str) {
        self.raw(&["<", name, ">"]);
    }

    /// Opens an element of a type of XML Schema.
    pub fn open_typed(&mut self, name: &str, of: &str) {
        const INSTANCE: &str = " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"";
        self.raw(&["<", name, INSTANCE, of, "\">"]);
    }

    /// Closes an element.
    pub fn close(&mut self, name: &str) {
        self.raw(&["</", name, ">"]);
    }

    /// An element with text, escaped; empty text makes an empty element.
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if value.is_empty() {
            return self.raw(&["<", name, "/>"]);
        }
        self.open(name);
        escape_into(value, self.out);
        self.close(name);
    }

    /// An element with text, left out when there is none to say.
    pub fn optional_text(&mut self, name: &str, value: Option<impl AsRef<[u8]>>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// An element with text that is percent-encoded when the client asked for `encoding-type=url`.
    pub fn listed(&mut self, name: &str, value: &[u8], encoding: Option<Encoding>) {
        match encoding {
            None => self.text(name, value),
            Some(Encoding::Url) if value.is_empty() => self.text(name, value),
            Some(Encoding::Url) => {
                self.open(name);
                crate::codec::percent::encode_path_into(value, self.out);
                self.close(name);
            }
        }
    }

    /// An element with a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.open(name);
        push_decimal(value, self.out);
        self.close(name);
    }

    /// An element with `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    /// An element with an entity tag; `etag` comes without its quotes and is written with them.
    pub fn etag(&mut self, etag: &[u8]) {
        self.raw(&["<ETag>&quot;"]);
        escape_into(etag, self.out);
        self.raw(&["&quot;</ETag>"]);
    }

    fn raw(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.out.extend_from_slice(piece.as_bytes());
        }
    }
}

/// How a listing writes the keys, prefixes, delimiters and markers in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// `encoding-type=url`.
    Url,
}

/// Appends text with everything that means something to XML replaced. What is not UTF-8, or a character that XML 1.0
/// does not have, becomes U+FFFD.
pub fn escape_into(text: &[u8], out: &mut Vec<u8>) {
    let text: Cow<'_, str> = String::from_utf8_lossy(text);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let plain = rest.iter().position(|&byte| MAY_NEED_ESCAPE[usize::from(byte)]).unwrap_or(rest.len());
        let (run, after) = rest.split_at(plain);
        out.extend_from_slice(run);
        let (replacement, used): (&[u8], usize) = match after {
            [] => break,
            [b'&', ..] => (b"&amp;", 1),
            [b'<', ..] => (b"&lt;", 1),
            [b'>', ..] => (b"&gt;", 1),
            [b'"', ..] => (b"&quot;", 1),
            [b'\t', ..] => (b"&#9;", 1),
            [b'\n', ..] => (b"&#10;", 1),
            [b'\r', ..] => (b"&#13;", 1),
            // U+FFFE and U+FFFF.
            [0xef, 0xbf, 0xbe | 0xbf, ..] => (REPLACEMENT, 3),
            // Any other character that starts with this byte is fine; its remaining bytes are plain.
            [0xef, ..] => (&after[..1], 1),
            [_, ..] => (REPLACEMENT, 1),
        };
        out.extend_from_slice(replacement);
        rest = &after[used..];
    }
}

/// Whether XML 1.0 can carry the whole text, so that [`escape_into`] replaces nothing in it.
pub fn can_carry(text: &[u8]) -> bool {
    let carried = |character: char| match character {
        '\t' | '\n' | '\r' => true,
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => false,
        _ => true,
    };
    std::str::from_utf8(text).is_ok_and(|text| text.chars().all(carried))
}

/// U+FFFD.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The bytes at which [`escape_into`] has to look closer.
const MAY_NEED_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = true;
        control += 1;
    }
    table[b'&' as usize] = true;
    table[b'<' as usize] = true;
    table[b'>' as usize] = true;
    table[b'"' as usize] = true;
    table[0xef] = true;
    table
};

/// Appends a number in decimal digits, without the detour of a formatter.
fn push_decimal(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20]; // u64::MAX has 20 digits.
    let mut first = digits.len();
    let mut rest = value;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape_into(text, &mut out);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn escapes() {
        let check = |text: &[u8], expected: &str| assert_eq!(escaped(text), expected, "{text:?}");
        check(b"", "");
        check(b"plain/key", "plain/key");
        check(b"<a b=\"c\">&'", "&lt;a b=&quot;c&quot;&gt;&amp;'");
        check(b"a\tb\nc\rd", "a&#9;b&#10;c&#13;d");
        check(b"\x00\x01\x1f\x7f", "\u{fffd}\u{fffd}\u{fffd}\u{7f}");
        check("é\u{fffd}\u{feff}\u{f900}😀".as_bytes(), "é\u{fffd}\u{feff}\u{f900}😀");
        check("a\u{fffe}b\u{ffff}".as_bytes(), "a\u{fffd}b\u{fffd}");
        check(b"\xff\xfe<", "\u{fffd}\u{fffd}&lt;");
        check(b"]]>", "]]&gt;");
    }

    #[test]
    fn elements() {
        let mut out = Vec::new();
        let mut writer = Writer { out: &mut out };
        writer.open_root("R");
        writer.text("T", "");
        writer.optional_text("O", None::<&str>);
        writer.optional_text("O", Some("x"));
        writer.listed("L", b"a b+c/<", Some(Encoding::Url));
        writer.listed("L", b"a b+c/<", None);
        writer.listed("L", b"", Some(Encoding::Url));
        writer.number("N", 0);
        writer.number("N", u64::MAX);
        writer.boolean("B", true);
        writer.etag(b"0-1");
        writer.close("R");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><T/><O>x</O><L>a%20b%2Bc/%3C</L><L>a b+c/&lt;</L>\
             <L/><N>0</N><N>18446744073709551615</N><B>true</B><ETag>&quot;0-1&quot;</ETag></R>"
        );
    }

    /// The definition of [`escape_into`], one character at a time.
    fn escaped_plainly(text: &[u8]) -> String {
        let mut out = String::new();
        for character in String::from_utf8_lossy(text).chars() {
            match character {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(character))),
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
                _ => out.push(character),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn escaping_follows_its_definition(text in any::<Vec<u8>>(), characters in any::<String>()) {
            prop_assert_eq!(escaped(&text), escaped_plainly(&text));
            prop_assert_eq!(escaped(characters.as_bytes()), escaped_plainly(characters.as_bytes()));
        }

        #[test]
        fn decimal(value in any::<u64>()) {
            let mut out = Vec::new();
            push_decimal(value, &mut out);
            prop_assert_eq!(out, value.to_string().into_bytes());
        }
    }
}
