//! The `Authorization` header, and what it has in common with presigned URLs: credential, list of signed headers,
//! signature.
//!
//! This reads text and judges its form; region, service, dates and coverage are judged in [`super`]. All results
//! borrow from the request unless an access key is percent-encoded.
//! Spec: AWS S3 "Authenticating Requests: Using the Authorization Header".

use std::borrow::Cow;

use memchr::{memchr, memrchr, memrchr2};
use smallvec::SmallVec;

use super::{Error, Fault};
use crate::codec::{hex, percent};
use crate::limits::HEADERS_MAX;

/// The three fields that both ways of signing have.
#[derive(Debug)]
pub(super) struct Fields<'h> {
    pub credential: Credential<'h>,
    /// For [`signed_headers`].
    pub signed_headers: &'h [u8],
    pub signature: [u8; 32],
}

/// Names of signed headers: lower case, sorted, distinct.
pub(super) type Names<'h> = SmallVec<[&'h [u8]; 16]>;

/// The parts of `<access key>/<yyyymmdd>/<region>/<service>/aws4_request`.
#[derive(Debug)]
pub(super) struct Credential<'h> {
    pub access_key: Cow<'h, str>,
    pub date8: [u8; 8],
    pub region: Cow<'h, str>,
    pub service: &'h [u8],
}

/// How the fields are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Plain,
    /// Percent-encoded, as query values are.
    Encoded,
}

/// Reads the value of an `Authorization` header.
///
/// # Errors
/// For anything but a well-formed `AWS4-HMAC-SHA256` header.
pub(super) fn parse(value: &[u8]) -> Result<Fields<'_>, Error> {
    let invalid = || Error::AuthorizationInvalid { scheme: scheme_of(value) };
    let space = memchr(b' ', value).ok_or_else(invalid)?;
    let rest = &value[space + 1..];
    match &value[..space] {
        b"AWS4-HMAC-SHA256" => fields(rest).map_err(Error::HeaderMalformed),
        // Version 2 is `AWS <access key>:<signature>`.
        b"AWS" if rest.contains(&b':') => Err(Error::SignatureVersion2),
        b"AWS" => Err(invalid()),
        _ => Err(Error::AuthorizationTypeUnsupported { scheme: scheme_of(value) }),
    }
}

fn fields(text: &[u8]) -> Result<Fields<'_>, Fault> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let mut values = [None; 3];
    let mut rest = text;
    loop {
        let end = memchr(b',', rest);
        let field = rest[..end.unwrap_or(rest.len())].trim_ascii();
        let equals = memchr(b'=', field).ok_or(Fault::UnknownField)?;
        let index =
            NAMES.iter().position(|name| name.as_bytes() == &field[..equals]).ok_or(Fault::UnknownField)?;
        if values[index].replace(&field[equals + 1..]).is_some() {
            return Err(Fault::Repeated(NAMES[index]));
        }
        match end {
            Some(end) => rest = &rest[end + 1..],
            None => break,
        }
    }
    let value = |index: usize| values[index].filter(|v| !v.is_empty()).ok_or(Fault::Missing(NAMES[index]));
    Ok(Fields {
        credential: credential(value(0)?, Form::Plain)?,
        signed_headers: value(1)?,
        signature: signature(value(2)?)?,
    })
}

/// Reads a credential from its end, because access keys may hold slashes.
pub(super) fn credential(text: &[u8], form: Form) -> Result<Credential<'_>, Fault> {
    let split = |text| split_last(text, b'/', form).ok_or(Fault::Credential);
    let (rest, terminal) = split(text)?;
    let (rest, service) = split(rest)?;
    let (rest, region) = split(rest)?;
    let (access_key, date) = split(rest)?;
    if access_key.is_empty() {
        return Err(Fault::Credential);
    }
    if terminal != b"aws4_request" {
        return Err(Fault::Terminal);
    }
    let date8 = <[u8; 8]>::try_from(date).map_err(|_| Fault::ScopeDate)?;
    if !date8.iter().all(u8::is_ascii_digit) {
        return Err(Fault::ScopeDate);
    }
    Ok(Credential { access_key: plain(access_key, form)?, date8, region: plain(region, form)?, service })
}

/// Reads a list of signed headers, sorted if it is not sorted.
pub(super) fn signed_headers(text: &[u8], form: Form) -> Result<Names<'_>, Fault> {
    let mut names = Names::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (before, name) = match split_last(text, b';', form) {
            Some((before, name)) => (Some(before), name),
            None => (None, text),
        };
        if name.is_empty() || !is_lower_name(name) || names.len() == HEADERS_MAX {
            return Err(Fault::SignedHeaders);
        }
        names.push(name);
        rest = before;
    }
    names.reverse();
    let ascends = |names: &[&[u8]]| names.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascends(&names) {
        // Clients sort the list; one that does not has still signed the sorted headers.
        names.sort_unstable();
        if !ascends(&names) {
            return Err(Fault::SignedHeaders);
        }
    }
    Ok(names)
}

/// Reads a signature: 64 lower-case hexadecimal digits.
pub(super) fn signature(text: &[u8]) -> Result<[u8; 32], Fault> {
    let mut bytes = [0; 32];
    // Judged once at the end: no branch for each byte.
    let has_uppercase = text.iter().fold(false, |so_far, byte| so_far | byte.is_ascii_uppercase());
    if hex::decode(text, &mut bytes) && !has_uppercase { Ok(bytes) } else { Err(Fault::Signature) }
}

/// Splits at the last `separator`, which may be percent-encoded in [`Form::Encoded`]. So the parts of an encoded
/// credential are found without decoding it.
fn split_last(text: &[u8], separator: u8, form: Form) -> Option<(&[u8], &[u8])> {
    if form == Form::Plain {
        return memrchr(separator, text).map(|index| (&text[..index], &text[index + 1..]));
    }
    let escape = percent::escape(separator);
    let mut end = text.len();
    while let Some(index) = memrchr2(separator, b'%', &text[..end]) {
        let (before, from) = text.split_at(index);
        if from[0] == separator {
            return Some((before, &from[1..]));
        }
        if from.len() >= 3 && from[..3].eq_ignore_ascii_case(&escape) {
            return Some((before, &from[3..]));
        }
        end = index;
    }
    None
}

fn plain(text: &[u8], form: Form) -> Result<Cow<'_, str>, Fault> {
    let bytes = match form {
        Form::Plain => Cow::Borrowed(text),
        Form::Encoded => percent::decode(text).map_err(|_| Fault::Credential)?,
    };
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Fault::Credential),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Fault::Credential),
    }
}

/// True if `name` has only the characters of a header name (RFC 9110 section 5.6.2), in lower case. Judged once at the
/// end: no branch for each byte.
fn is_lower_name(name: &[u8]) -> bool {
    name.iter().fold(true, |so_far, &byte| so_far & IN_LOWER_NAMES[usize::from(byte)])
}

const IN_LOWER_NAMES: [bool; 256] = {
    let others = b"-_.!#$&'*+^`|~";
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_lowercase() || (byte as u8).is_ascii_digit();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

/// The first word of an `Authorization` header, cut to 32 bytes.
fn scheme_of(value: &[u8]) -> Box<str> {
    let end = memchr(b' ', value).unwrap_or(value.len()).min(32);
    String::from_utf8_lossy(&value[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";

    #[test]
    fn a_header_is_read_with_and_without_spaces_in_any_order() {
        for value in [
            format!(
                "AWS4-HMAC-SHA256 Credential=AK/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature={SIGNATURE}"
            ),
            format!(
                "AWS4-HMAC-SHA256 Credential=AK/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-date,Signature={SIGNATURE}"
            ),
            format!(
                "AWS4-HMAC-SHA256 Signature={SIGNATURE},SignedHeaders=x-amz-date;host,Credential=AK/20130524/us-east-1/s3/aws4_request"
            ),
        ] {
            let fields = parse(value.as_bytes()).unwrap();
            assert_eq!(fields.credential.access_key, "AK");
            assert_eq!(&fields.credential.date8, b"20130524");
            assert_eq!(fields.credential.region, "us-east-1");
            assert_eq!(fields.credential.service, b"s3");
            let names = signed_headers(fields.signed_headers, Form::Plain).unwrap();
            assert_eq!(names.as_slice(), [b"host".as_slice(), b"x-amz-date"]);
            assert_eq!(hex::encode32(&fields.signature).as_slice(), SIGNATURE.as_bytes());
        }
    }

    #[test]
    fn credentials() {
        #[track_caller]
        fn check(text: &str, form: Form, expected: Result<(&str, &str, &[u8]), Fault>) {
            let got = credential(text.as_bytes(), form);
            let got = got.as_ref().map(|c| (&*c.access_key, &*c.region, c.service)).map_err(Clone::clone);
            assert_eq!(got, expected, "{text}");
        }
        check("A/20130524/r/s3/aws4_request", Form::Plain, Ok(("A", "r", b"s3")));
        check("A/20130524//iam/aws4_request", Form::Plain, Ok(("A", "", b"iam")));
        check("team/a+b=/20130524/r/s3/aws4_request", Form::Plain, Ok(("team/a+b=", "r", b"s3")));
        check("A%2F20130524%2Fr%2fs3/aws4_request", Form::Encoded, Ok(("A", "r", b"s3")));
        check("t%2FA%40x%2F20130524%2Fr%2Fs3%2Faws4_request", Form::Encoded, Ok(("t/A@x", "r", b"s3")));
        check("A%2F20130524%2Fr%2Fs3%2Faws4_request", Form::Plain, Err(Fault::Credential));
        check("%zz/20130524/r/s3/aws4_request", Form::Encoded, Err(Fault::Credential));
        check("%ff/20130524/r/s3/aws4_request", Form::Encoded, Err(Fault::Credential));
        check("/20130524/r/s3/aws4_request", Form::Plain, Err(Fault::Credential));
        check("20130524/r/s3/aws4_request", Form::Plain, Err(Fault::Credential));
        check("A", Form::Plain, Err(Fault::Credential));
        check("A/20130524/r/s3/aws3_request", Form::Plain, Err(Fault::Terminal));
        check("A/2013052/r/s3/aws4_request", Form::Plain, Err(Fault::ScopeDate));
        check("A/2013-5-4/r/s3/aws4_request", Form::Plain, Err(Fault::ScopeDate));
    }

    #[test]
    fn lists_of_signed_headers() {
        #[track_caller]
        fn check(text: &str, form: Form, expected: Option<&str>) {
            let got = signed_headers(text.as_bytes(), form).ok();
            let got = got.map(|names| String::from_utf8(names.join(&b' ')).unwrap());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
        check("host", Form::Plain, Some("host"));
        check("x-amz-date;host", Form::Plain, Some("host x-amz-date"));
        check("host%3Brange%3bx-amz-date", Form::Encoded, Some("host range x-amz-date"));
        check("host;range", Form::Encoded, Some("host range"));
        check("", Form::Plain, None);
        check("host;", Form::Plain, None);
        check(";host", Form::Plain, None);
        check("host;host", Form::Plain, None);
        check("range;host;range", Form::Plain, None);
        check("Host", Form::Plain, None);
        check("ho st", Form::Plain, None);
        check("ho%20st", Form::Encoded, None);
        let many = (0..HEADERS_MAX).map(|n| format!("h{n:03}")).collect::<Vec<_>>().join(";");
        assert_eq!(signed_headers(many.as_bytes(), Form::Plain).unwrap().len(), HEADERS_MAX);
        check(&format!("{many};host"), Form::Plain, None);
    }

    #[test]
    fn malformed_headers() {
        #[track_caller]
        fn check(value: &str, expected: Error) {
            assert_eq!(parse(value.as_bytes()).err(), Some(expected), "{value}");
        }
        let credential = "Credential=AK/20130524/us-east-1/s3/aws4_request";
        let list = "SignedHeaders=host";
        let signature = format!("Signature={SIGNATURE}");
        let invalid = |scheme: &str| Error::AuthorizationInvalid { scheme: scheme.into() };
        let unsupported = |scheme: &str| Error::AuthorizationTypeUnsupported { scheme: scheme.into() };
        check("junk", invalid("junk"));
        check("AWS4-HMAC-SHA256", invalid("AWS4-HMAC-SHA256"));
        check(&"x".repeat(100), invalid(&"x".repeat(32)));
        check("AWS HAHAHA", invalid("AWS"));
        check("AWS AKIA:frJIUN8DYpKDtOLCwo//yllqDzg=", Error::SignatureVersion2);
        check("Basic dXNlcjpwYXNz", unsupported("Basic"));
        check("AWS4-ECDSA-P256-SHA256 Credential=x", unsupported("AWS4-ECDSA-P256-SHA256"));
        let malformed =
            |text: String, fault| check(&format!("AWS4-HMAC-SHA256 {text}"), Error::HeaderMalformed(fault));
        malformed(format!("{list},{signature}"), Fault::Missing("Credential"));
        malformed(format!("{credential},{signature}"), Fault::Missing("SignedHeaders"));
        malformed(format!("{credential},{list}"), Fault::Missing("Signature"));
        malformed(format!("Credential=,{list},{signature}"), Fault::Missing("Credential"));
        malformed(format!("{credential},{credential},{list},{signature}"), Fault::Repeated("Credential"));
        malformed(format!("{credential},{list},{signature},x=y"), Fault::UnknownField);
        malformed(format!("{credential},{list},{signature},"), Fault::UnknownField);
        malformed("junk".to_owned(), Fault::UnknownField);
        malformed(format!("{credential},{list},Signature=abc"), Fault::Signature);
        malformed(format!("{credential},{list},Signature={}", SIGNATURE.to_uppercase()), Fault::Signature);
        malformed(format!("Credential=AK,{list},{signature}"), Fault::Credential);
    }
}
