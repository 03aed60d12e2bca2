//! Pulls elements and text out of a document that a client sent.
//!
//! Strict: the root and every element must be one the call takes, none twice where one is allowed, no attributes but
//! namespace declarations and those of XML Schema (`xsi:type`), no DTD, no processing instructions, no entities but the
//! five of XML and character references, nothing after the root. Elements may come in any order, because clients write them in any order. Namespaces are not
//! looked at beyond that: clients send several, or none.
//!
//! Bounded: the body by [`XML_BODY_BYTES_MAX`], entries by the limit of the call, depth by the elements that are known
//! (no reader nests deeper than they do), the attributes of an element by `ATTRIBUTES_MAX`. So reading takes time in
//! proportion to the body. Whatever is wrong is one error, [`Malformed`] (AWS: `MalformedXML`), because
//! that is all AWS says.
//!
//! Spec: XML 1.0 (fifth edition).

use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::codec::dates::Timestamp;
use crate::limits::XML_BODY_BYTES_MAX;
use crate::s3::error::{Code, S3Error};

/// A body that is not the document the call takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl From<Malformed> for S3Error {
    fn from(_: Malformed) -> Self {
        Code::MalformedXML.into()
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(Code::MalformedXML.message())
    }
}

impl std::error::Error for Malformed {}

/// Elements and text of one document, pulled one after the other.
pub struct Reader<'x> {
    events: quick_xml::Reader<&'x [u8]>,
}

impl<'x> Reader<'x> {
    /// Enters the root element, which must have this name.
    pub fn open(body: &'x [u8], root: &str) -> Result<Self, Malformed> {
        if body.len() > XML_BODY_BYTES_MAX {
            return Err(Malformed);
        }
        let text = std::str::from_utf8(body).map_err(|_| Malformed)?;
        let mut events = quick_xml::Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        events.config_mut().expand_empty_elements = true;
        let mut reader = Self { events };
        let mut first = true;
        loop {
            match reader.event()? {
                // A byte order mark aside, the declaration can only be the very first thing.
                Event::Decl(declaration) if first => {
                    let encoding = declaration.encoding().transpose().map_err(|_| Malformed)?;
                    let known = encoding.is_none_or(|name| {
                        name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii")
                    });
                    if !known {
                        return Err(Malformed);
                    }
                }
                Event::Start(start) if checked_name(&start)? == root => return Ok(reader),
                Event::Comment(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                _ => return Err(Malformed),
            }
            first = false;
        }
    }

    /// The next element inside the open one, which is then open itself; `None` when the open one ends. The caller
    /// has to know its name, and either read its text or its children.
    pub fn child(&mut self) -> Result<Option<BytesStart<'x>>, Malformed> {
        loop {
            match self.event()? {
                Event::Start(start) => {
                    checked_name(&start)?;
                    return Ok(Some(start));
                }
                Event::End(_) => return Ok(None),
                Event::Comment(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                _ => return Err(Malformed),
            }
        }
    }

    /// The text of the open element up to its end, blanks included: a key may consist of them.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let mut content = String::new();
        loop {
            match self.event()? {
                Event::Text(text) => content.push_str(&text.xml10_content()),
                Event::CData(text) => content.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => content.push(resolve(&reference)?),
                Event::Comment(_) => {}
                Event::End(_) => return Ok(content),
                _ => return Err(Malformed),
            }
        }
    }

    /// As [`text`](Self::text), but only of characters that XML can carry: what is to be given back as it came.
    pub fn kept_text(&mut self) -> Result<String, Malformed> {
        let text = self.text()?;
        let is_lost =
            |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}');
        if text.contains(is_lost) { Err(Malformed) } else { Ok(text) }
    }

    /// Makes sure that nothing but comments and blanks follows the root.
    pub fn finish(mut self) -> Result<(), Malformed> {
        loop {
            match self.event()? {
                Event::Eof => return Ok(()),
                Event::Comment(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                _ => return Err(Malformed),
            }
        }
    }

    fn event(&mut self) -> Result<Event<'x>, Malformed> {
        self.events.read_event().map_err(|_| Malformed)
    }
}

/// The name of an element, with its prefix.
pub fn name<'s>(start: &'s BytesStart<'_>) -> &'s str {
    start.name().into_inner()
}

/// The name of an element that has no attributes but declarations of namespaces and types: what is in an element says
/// its type as well.
fn checked_name<'s>(start: &'s BytesStart<'_>) -> Result<&'s str, Malformed> {
    for (index, attribute) in start.attributes().enumerate() {
        let key = attribute.map_err(|_| Malformed)?.key.into_inner();
        // Each one is compared with all before it.
        if index == ATTRIBUTES_MAX {
            return Err(Malformed);
        }
        if key != "xmlns" && !key.starts_with("xmlns:") && !key.starts_with("xsi:") {
            return Err(Malformed);
        }
    }
    Ok(name(start))
}

/// Most attributes of an element. Clients send two.
const ATTRIBUTES_MAX: usize = 16;

/// A character reference, or one of the five entities that need no declaration.
fn resolve(reference: &BytesRef<'_>) -> Result<char, Malformed> {
    if reference.is_char_ref() {
        return match reference.strip_prefix('#') {
            // The only reference quick-xml refuses although a key can hold the character.
            Some("0" | "x0") => Ok('\0'),
            _ => reference.resolve_char_ref().ok().flatten().ok_or(Malformed),
        };
    }
    match &**reference {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(Malformed),
    }
}

/// Whether text between elements is only XML's white space.
fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Fills a slot that a document may fill only once.
pub fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed),
    }
}

/// A number of decimal digits.
pub fn parse_number(text: &str) -> Result<u64, Malformed> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    digits.parse().map_err(|_| Malformed)
}

/// `xs:boolean`; any case, because Python writes `True`.
pub fn parse_boolean(text: &str) -> Result<bool, Malformed> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("true") || text == "1" {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") || text == "0" {
        Ok(false)
    } else {
        Err(Malformed)
    }
}

/// The schema says ISO 8601, the SDKs' models say RFC 1123; both are sent.
pub fn parse_time(text: &str) -> Result<Timestamp, Malformed> {
    let text = text.trim().as_bytes();
    Timestamp::parse_iso8601(text).or_else(|| Timestamp::parse_http(text)).ok_or(Malformed)
}
