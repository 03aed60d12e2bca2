//! The fields of a form: everything of a `multipart/form-data` body in front of the file.
//!
//! The whole of it is small and is parsed at once. The file is not looked at here; see [`super::file`].
//!
//! Invariants: no field is there twice; names are in lower case, because AWS does not tell them apart by case; values
//! are UTF-8 with `${filename}` replaced, and together no larger than a form may be. Nothing depends on where the
//! buffers of the body end.
//!
//! Spec: RFC 7578, RFC 2046 section 5.1; "POST Object" in the Amazon S3 API reference.

use memchr::memmem;

use crate::limits::{FORM_BYTES_MAX, FORM_FIELDS_MAX};
use crate::s3::error::{Code, S3Error};

/// The fields in front of the file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fields {
    fields: Vec<(String, String)>,
}

impl Fields {
    /// The value of a field; its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Names in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), S3Error> {
        let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(malformed("a field is not UTF-8")),
        };
        let name = text(name)?.to_ascii_lowercase();
        if self.get(&name).is_some() {
            return Err(Code::InvalidArgument
                .because(format!("Bucket POST must contain the field '{name}' only once."))
                .with("ArgumentName", name));
        }
        if self.fields.len() == FORM_FIELDS_MAX {
            return Err(too_large());
        }
        self.fields.push((name, text(value)?));
        Ok(())
    }

    /// Puts the name of the file in the place of its variable, in all fields but the policy, which is signed as it is.
    fn expand(&mut self, filename: &str) -> Result<(), S3Error> {
        let mut bytes = 0;
        for (name, value) in &mut self.fields {
            if name == "policy" {
                continue;
            }
            // Many variables and a long name would make much out of little.
            bytes += value.len() + value.matches(FILENAME).count() * filename.len();
            if bytes > FORM_BYTES_MAX {
                return Err(too_large());
            }
            if value.contains(FILENAME) {
                *value = value.replace(FILENAME, filename);
            }
        }
        Ok(())
    }
}

/// What separates the parts of a form whose `Content-Type` is this: a line break, two dashes and the boundary.
///
/// # Errors
/// The header names no boundary that RFC 2046 allows.
pub fn delimiter(content_type: Option<&[u8]>) -> Result<Box<[u8]>, S3Error> {
    let boundary = parameter(content_type.unwrap_or_default(), "boundary").unwrap_or_default();
    let of_boundary = |byte: &u8| matches!(byte, b' '..=b'~');
    let legal = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        && boundary.iter().all(of_boundary)
        && boundary.last() != Some(&b' ');
    if !legal {
        return Err(malformed("its Content-Type needs a boundary of 1 to 70 characters"));
    }
    Ok([b"\r\n--", &boundary[..]].concat().into())
}

/// Reads the fields; `bytes` are the beginning of the body, `whole` says that there is no more. Also returns where the
/// content of the file begins.
///
/// # Errors
/// The form is malformed, has no file, or more than [`FORM_BYTES_MAX`] bytes in front of it.
pub fn parse(bytes: &[u8], delimiter: &[u8], whole: bool) -> Result<(Fields, usize), S3Error> {
    let is_cut = bytes.len() > FORM_BYTES_MAX;
    let bytes = &bytes[..bytes.len().min(FORM_BYTES_MAX)];
    debug_assert!(whole || is_cut, "the first buffer of a body holds more than a form");
    let mut rest = Rest { bytes, at: 0 };
    let parsed = parse_fields(&mut rest, delimiter)?;
    match parsed {
        Some(fields) => Ok((fields, rest.at)),
        None if is_cut => Err(too_large()),
        None => Err(malformed("it ends before the file does")),
    }
}

/// `None`: the bytes end before the file begins.
fn parse_fields(rest: &mut Rest<'_>, delimiter: &[u8]) -> Result<Option<Fields>, S3Error> {
    let mut fields = Fields::default();
    // The first boundary may be at the very beginning; whatever is in front of it means nothing.
    if rest.bytes.starts_with(&delimiter[2..]) {
        rest.at = delimiter.len() - 2;
    } else if rest.until(delimiter).is_none() {
        return Ok(None);
    }
    loop {
        match delimiter_line(&rest.bytes[rest.at..]) {
            Some(Line::Next(length)) => rest.at += length,
            Some(Line::Last) => return Err(Code::IncorrectNumberOfFilesInPostRequest.into()),
            Some(Line::Other) => return Err(malformed("a boundary is followed by something else")),
            None => return Ok(None),
        }
        let Some(part) = Part::read(rest)? else { return Ok(None) };
        if part.name.eq_ignore_ascii_case(b"file") {
            let filename = std::str::from_utf8(&part.filename);
            let filename = filename.map_err(|_| malformed("the name of the file is not UTF-8"))?;
            // Some browsers send the path of the file on the user's machine.
            fields.expand(filename.rsplit(['/', '\\']).next().unwrap_or_default())?;
            return Ok(Some(fields));
        }
        let Some(value) = rest.until(delimiter) else { return Ok(None) };
        fields.add(&part.name, value)?;
    }
}

/// The head of one part.
struct Part {
    name: Vec<u8>,
    filename: Vec<u8>,
}

impl Part {
    /// Reads the headers up to the empty line. `None`: the bytes end before.
    fn read(rest: &mut Rest<'_>) -> Result<Option<Part>, S3Error> {
        let mut part = None;
        loop {
            let Some(line) = rest.until(b"\r\n") else { return Ok(None) };
            if line.is_empty() {
                return part.map(Some).ok_or_else(|| malformed("a part has no name"));
            }
            let Some(colon) = memchr::memchr(b':', line) else {
                return Err(malformed("a header of a part has no colon"));
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if !name.eq_ignore_ascii_case(b"content-disposition") {
                continue;
            }
            let named = parameter(value, "name").filter(|name| !name.is_empty());
            part =
                named.map(|name| Part { name, filename: parameter(value, "filename").unwrap_or_default() });
        }
    }
}

struct Rest<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Rest<'b> {
    /// The bytes up to `mark`, and goes on behind it.
    fn until(&mut self, mark: &[u8]) -> Option<&'b [u8]> {
        let rest = &self.bytes[self.at..];
        let end = memmem::find(rest, mark)?;
        self.at += end + mark.len();
        Some(&rest[..end])
    }
}

/// What follows a boundary in its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// Its end, so many bytes on: another part.
    Next(usize),
    /// Two dashes: there are no more parts.
    Last,
    /// Nothing that may stand there.
    Other,
}

/// Reads the rest of the line after a boundary. `None`: there are too few bytes to tell.
pub fn delimiter_line(rest: &[u8]) -> Option<Line> {
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match (blanks, &rest[blanks..]) {
        (0, [b'-', b'-', ..]) => Some(Line::Last),
        (_, [b'\r', b'\n', ..]) => Some(Line::Next(blanks + 2)),
        (0, b"-") | (_, b"" | b"\r") => None,
        _ => Some(Line::Other),
    }
}

/// The value of a parameter of a header, such as `name` in `form-data; name="key"`. In quotes, a backslash escapes a
/// quote or itself, as curl writes it; any other one is itself, as in the paths that some browsers send.
fn parameter(header: &[u8], wanted: &str) -> Option<Vec<u8>> {
    let mut rest = &header[memchr::memchr(b';', header)?..];
    while let Some(after) = rest.strip_prefix(b";") {
        let equals = memchr::memchr2(b'=', b';', after)?;
        let name = after[..equals].trim_ascii();
        if after[equals] == b';' {
            rest = &after[equals..];
            continue;
        }
        let (value, next) = value(after[equals + 1..].trim_ascii_start())?;
        if name.eq_ignore_ascii_case(wanted.as_bytes()) {
            return Some(value);
        }
        rest = next.trim_ascii_start();
    }
    None
}

/// A token or a quoted text, and what follows.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        return Some((text[..end].trim_ascii_end().to_vec(), &text[end..]));
    };
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some((value, rest)),
            [b'\\', escaped @ (b'"' | b'\\'), rest @ ..] => {
                value.push(*escaped);
                rest
            }
            [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
            [] => return None,
        };
    }
}

/// The body is no form, or not one of these.
pub fn malformed(why: &str) -> S3Error {
    Code::MalformedPOSTRequest
        .because(format!("The body of your POST request is not well-formed multipart/form-data: {why}."))
}

/// There is too much in front of the file, or behind it.
pub fn too_large() -> S3Error {
    Code::MaxPostPreDataLengthExceededError.because(format!(
        "The fields of your POST request are too large: all but the file may have {FORM_BYTES_MAX} bytes and \
         {FORM_FIELDS_MAX} fields."
    ))
}

const FILENAME: &str = "${filename}";
/// RFC 2046 section 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// Reads arbitrary bytes as a form. Whatever is taken keeps the promises of this module.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let _ = delimiter(Some(data));
    if let Ok((fields, start)) = parse(data, b"\r\n--b", true) {
        assert!(start <= data.len().min(FORM_BYTES_MAX) && fields.fields.len() <= FORM_FIELDS_MAX);
        for (index, (name, _)) in fields.fields.iter().enumerate() {
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
            assert!(!fields.fields[..index].iter().any(|(other, _)| other == name));
        }
    }
}

#[cfg(test)]
mod tests;
