//! Percent encoding of paths, query strings, form bodies and listings.
//!
//! Decoding happens exactly once and normalises nothing: `//`, `.` and `..` stay as they are, and the result may be any
//! bytes (the caller decides whether they must be UTF-8). A `%` without two hexadecimal digits is an error, never a
//! literal percent sign, so that two readers of one request cannot disagree on the key.
//! Encoding follows the AWS rule: `A-Za-z0-9-._~` stay, everything else becomes `%XX` in upper case.
//! Spec: RFC 3986 section 2; AWS "Signature Version 4", UriEncode; ListObjects `encoding-type=url`;
//! WHATWG `application/x-www-form-urlencoded` for form bodies.

use std::borrow::Cow;

use crate::codec::hex;

/// A `%` that two hexadecimal digits do not follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a '%' is not followed by two hexadecimal digits; write a literal percent sign as %25")
    }
}

impl std::error::Error for Malformed {}

/// Decodes `%XX`; `+` is a literal plus. Borrows when there is nothing to decode.
///
/// # Errors
/// [`Malformed`] for a `%` without two hexadecimal digits.
pub fn decode(text: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    match memchr::memchr(b'%', text) {
        None => Ok(Cow::Borrowed(text)),
        Some(first) => decode_from::<false>(text, first).map(Cow::Owned),
    }
}

/// As [`decode`], with `+` as a space: for `application/x-www-form-urlencoded` bodies only, because S3 clients write a
/// literal `+` in paths and queries.
///
/// # Errors
/// [`Malformed`] for a `%` without two hexadecimal digits.
pub fn decode_query(text: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    match memchr::memchr2(b'%', b'+', text) {
        None => Ok(Cow::Borrowed(text)),
        Some(first) => decode_from::<true>(text, first).map(Cow::Owned),
    }
}

/// Appends the AWS canonical form of a decoded path: unreserved characters and `/` stay.
pub fn encode_path_into(path: &[u8], out: &mut Vec<u8>) {
    encode_into::<KEEP_PATH>(path, out);
}

/// Appends the AWS canonical form of a decoded query name or value: unreserved characters stay, `/` does not.
pub fn encode_query_into(text: &[u8], out: &mut Vec<u8>) {
    encode_into::<KEEP_QUERY>(text, out);
}

/// True for `A-Za-z0-9-._~`, the characters that no encoder of AWS touches (RFC 3986 section 2.3).
#[must_use]
pub const fn is_unreserved(byte: u8) -> bool {
    CLASS[byte as usize] & KEEP_QUERY != 0
}

/// The three characters `%XX`, upper case, that stand for `byte`.
#[must_use]
pub const fn escape(byte: u8) -> [u8; 3] {
    let digits = b"0123456789ABCDEF";
    [b'%', digits[(byte >> 4) as usize], digits[(byte & 0x0f) as usize]]
}

/// `first` is the index of the first byte that needs work; everything before it is copied as it is.
fn decode_from<const PLUS_IS_SPACE: bool>(text: &[u8], first: usize) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(text.len());
    let (before, mut rest) = text.split_at(first);
    out.extend_from_slice(before);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err(Malformed) };
                let (Some(high), Some(low)) = (hex::digit(*high), hex::digit(*low)) else {
                    return Err(Malformed);
                };
                out.push((high << 4) | low);
                rest = after;
            }
            b'+' if PLUS_IS_SPACE => out.push(b' '),
            _ => out.push(byte),
        }
    }
    Ok(out)
}

/// Copies runs of characters that stay and escapes the others. `KEEP` is one of the bits of [`CLASS`].
fn encode_into<const KEEP: u8>(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let kept = rest.iter().position(|&byte| CLASS[usize::from(byte)] & KEEP == 0).unwrap_or(rest.len());
        let (run, after) = rest.split_at(kept);
        out.extend_from_slice(run);
        rest = after;
        if let Some((&byte, after)) = rest.split_first() {
            out.extend_from_slice(&escape(byte));
            rest = after;
        }
    }
}

const KEEP_QUERY: u8 = 1;
const KEEP_PATH: u8 = 2;

/// One bit for each encoder that leaves the byte as it is.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~') {
            table[byte] = KEEP_QUERY | KEEP_PATH;
        }
        byte += 1;
    }
    table[b'/' as usize] = KEEP_PATH;
    table
};

/// Runs every decoder and encoder over `data` and asserts what must hold for any input.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    for decoded in [decode(data), decode_query(data)].into_iter().flatten() {
        assert!(decoded.len() <= data.len());
    }
    type Encoder = fn(&[u8], &mut Vec<u8>);
    let encoders: [Encoder; 2] = [encode_path_into, encode_query_into];
    for encode in encoders {
        let mut text = Vec::new();
        encode(data, &mut text);
        assert!(text.is_ascii() && text.len() <= data.len() * 3);
        // Some clients read the keys of a listing as a form: a plus never stands for itself.
        assert_eq!(decode(&text).as_deref(), Ok(data));
        assert_eq!(decode_query(&text).as_deref(), Ok(data));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decode_table() {
        #[track_caller]
        fn check(text: &str, plain: Result<&[u8], Malformed>, form: Result<&[u8], Malformed>) {
            assert_eq!(decode(text.as_bytes()).as_deref(), plain.as_deref(), "{text}");
            assert_eq!(decode_query(text.as_bytes()).as_deref(), form.as_deref(), "{text}");
        }
        check("", Ok(b""), Ok(b""));
        check("a/b//../.", Ok(b"a/b//../."), Ok(b"a/b//../."));
        check("a+b", Ok(b"a+b"), Ok(b"a b"));
        check("a%2Bb%2b", Ok(b"a+b+"), Ok(b"a+b+"));
        check("%2525", Ok(b"%25"), Ok(b"%25"));
        check("%00%ff%C3%a9", Ok(b"\x00\xff\xc3\xa9"), Ok(b"\x00\xff\xc3\xa9"));
        for bad in ["%", "%2", "a%zz", "%2g", "%%41", "ab%4", "% 41", "%+1"] {
            check(bad, Err(Malformed), Err(Malformed));
        }
        assert!(matches!(decode(b"plain+text"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn encode_table() {
        #[track_caller]
        fn check(input: &[u8], path: &str, query: &str) {
            let (mut p, mut q) = (Vec::new(), Vec::new());
            encode_path_into(input, &mut p);
            encode_query_into(input, &mut q);
            assert_eq!([p, q].map(|text| String::from_utf8(text).unwrap()), [path, query]);
        }
        check(b"", "", "");
        check(b"a-._~Z9", "a-._~Z9", "a-._~Z9");
        check(b"a/b c+d", "a/b%20c%2Bd", "a%2Fb%20c%2Bd");
        check(b"  ", "%20%20", "%20%20");
        check("é!'()*".as_bytes(), "%C3%A9%21%27%28%29%2A", "%C3%A9%21%27%28%29%2A");
        check(b"\x00\n%\xff", "%00%0A%25%FF", "%00%0A%25%FF");
    }

    #[test]
    fn unreserved_is_the_set_of_rfc_3986() {
        let set: Vec<u8> = (0..=255).filter(|&byte| is_unreserved(byte)).collect();
        assert_eq!(set, b"-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~");
    }

    #[test]
    fn fuzz_over_a_corpus() {
        for data in [&b"%"[..], b"%%", b"%2", b"+%2B %20", b"a/b?c=d&e", b"\xff%ff"] {
            fuzz(data);
        }
    }

    proptest! {
        #[test]
        fn fuzz_over_random_bytes(data: Vec<u8>) {
            fuzz(&data);
        }

        #[test]
        fn decode_agrees_with_the_naive_version(text in "[%+a0-9A-F]{0,12}") {
            fn naive(text: &str) -> Option<Vec<u8>> {
                let mut out = Vec::new();
                let mut rest = text;
                while let Some(character) = rest.chars().next() {
                    if character == '%' {
                        out.push(u8::from_str_radix(rest.get(1..3).filter(|hex| !hex.contains('+'))?, 16).ok()?);
                        rest = &rest[3..];
                    } else {
                        out.push(character as u8);
                        rest = &rest[1..];
                    }
                }
                Some(out)
            }
            prop_assert_eq!(decode(text.as_bytes()).ok().map(Cow::into_owned), naive(&text));
        }
    }
}
