//! What a connection needs from the request target and the header fields: host, framing, persistence.
//!
//! These few questions decide where a request ends and for whom it is, so each of them refuses whatever a proxy in
//! front could read differently. Every other header is left alone.
//! Spec: RFC 9112 sections 3.2 (targets), 6 (framing) and 9.3 (persistence).

use super::{Framing, HeadError, Method, alphanumeric_and};

/// What the connection itself needs from the header fields, gathered in one pass over them.
pub(super) struct Fields<'h> {
    pub(super) host: Option<&'h [u8]>,
    pub(super) length: Option<&'h [u8]>,
    pub(super) encoding: Option<&'h [u8]>,
    pub(super) flags: Flags,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) http10: bool,
    pub(super) asterisk: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) expect_continue: bool,
}

impl<'h> Fields<'h> {
    pub(super) fn note(&mut self, name: &[u8], value: &'h [u8]) -> Result<(), HeadError> {
        // The length of the name rules out nearly every header before a byte is compared.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                return self.host.replace(value).map_or(Ok(()), |_| Err(HeadError::DuplicateHost));
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.flags.expect_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.flags.close |= option.eq_ignore_ascii_case(b"close");
                    self.flags.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let differs = self.length.replace(value).is_some_and(|before| before != value);
                return if differs { Err(HeadError::ConflictingContentLength) } else { Ok(()) };
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                return self
                    .encoding
                    .replace(value)
                    .map_or(Ok(()), |_| Err(HeadError::InvalidTransferEncoding));
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn framing(&self) -> Result<Framing, HeadError> {
        match (self.length, self.encoding) {
            (None, None) => Ok(Framing::None),
            (Some(_), Some(_)) => Err(HeadError::LengthAndTransferEncoding),
            (Some(length), None) => {
                parse_length(length).map(Framing::Length).ok_or(HeadError::InvalidContentLength)
            }
            (None, Some(encoding)) if self.flags.http10 || encoding.is_empty() => {
                Err(HeadError::InvalidTransferEncoding)
            }
            (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (None, Some(_)) => Err(HeadError::NotImplementedTransferEncoding),
        }
    }

    /// The target's authority wins over `Host`, which must be there all the same (RFC 9112 section 3.2).
    pub(super) fn host(&self, authority: Option<&'h [u8]>) -> Result<Option<&'h [u8]>, HeadError> {
        if self.host.is_none() && !self.flags.http10 {
            return Err(HeadError::MissingHost);
        }
        for host in [self.host, authority].into_iter().flatten() {
            if !host.iter().all(|&byte| HOST[usize::from(byte)]) {
                return Err(HeadError::InvalidHost);
            }
        }
        Ok(authority.or(self.host))
    }
}

/// The request target, taken apart (RFC 9112 section 3.2).
pub(super) struct Target<'h> {
    pub(super) authority: Option<&'h [u8]>,
    /// Empty for `*` and for a URL without a path.
    pub(super) path: &'h [u8],
    pub(super) query: &'h [u8],
    pub(super) asterisk: bool,
}

impl<'h> Target<'h> {
    pub(super) fn parse(target: &'h [u8], method: Method) -> Result<Self, HeadError> {
        if target == b"*" && method == Method::Options {
            return Ok(Self { authority: None, path: &target[..0], query: &target[..0], asterisk: true });
        }
        let (authority, rest) = match target {
            [b'/', ..] => (None, target),
            _ => {
                let after_scheme = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
                    let (start, rest) = target.split_at_checked(scheme.len())?;
                    start.eq_ignore_ascii_case(scheme).then_some(rest)
                });
                let url = after_scheme.ok_or(HeadError::Target)?;
                let end = memchr::memchr2(b'/', b'?', url).unwrap_or(url.len());
                let (authority, rest) = url.split_at(end);
                if authority.is_empty() {
                    return Err(HeadError::Target);
                }
                (Some(authority), rest)
            }
        };
        // A fragment is never sent; a reader that cut it off would see another key.
        if memchr::memchr(b'#', rest).is_some() {
            return Err(HeadError::Target);
        }
        let (path, query) = match memchr::memchr(b'?', rest) {
            Some(mark) => (&rest[..mark], &rest[mark + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        Ok(Self { authority, path, query, asterisk: false })
    }
}

/// Digits only: `parse::<u64>` would take a plus sign, and some readers a list.
fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// `host [":" port]` of RFC 3986 section 3.2, character by character: names, IPv4 and bracketed IPv6. No userinfo.
static HOST: [bool; 256] = alphanumeric_and(b"-._~!$&'()*+;=%:[]");
