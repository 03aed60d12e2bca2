//! Continuation tokens of ListObjectsV2 and ListBuckets.
//!
//! A token says after which key, common prefix or bucket the next page starts, or where an unsorted listing stands, so that any gateway can go on where
//! another one stopped and nothing is kept in between. It is opaque, not secret: its owner has seen the key, and a made-up
//! token can do no more than `start-after`, or than a listing without it.
//!
//! Form: URL-safe base64 without padding of
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | version of this form: 1, or 2 where a position follows |
//! | 4 | FNV-1a of the text, little endian: tells a damaged token from one of ours |
//! | 1 to 1024 | (1) the text, UTF-8 |
//! | … | (2) the [`Position`] |

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::limits::{HEAD_BYTES_MAX, KEY_BYTES_MAX};
use crate::storage::list::Position;

const VERSION_TEXT: u8 = 1;
const VERSION_POSITION: u8 = 2;
const HEADER_BYTES: usize = 5;
/// The text of the longest token: four characters for three bytes.
const TOKEN_BYTES_MAX: usize = (HEADER_BYTES + Position::BYTES_MAX).div_ceil(3) * 4;
const _: () = assert!(Position::BYTES_MAX >= KEY_BYTES_MAX && TOKEN_BYTES_MAX <= HEAD_BYTES_MAX / 4);

/// A token that a client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContinuationToken {
    sent: Box<str>,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    After(Box<str>),
    At(Position),
}

impl ContinuationToken {
    /// Reads a token. An empty one is the beginning: AWS SDKs send it when they are told to.
    ///
    /// `None` for what [`encode`](Self::encode) never made.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        if token.is_empty() {
            return Some(Self { sent: "".into(), place: Place::After("".into()) });
        }
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        if *header == header_of(VERSION_POSITION, rest) {
            return Some(Self { sent: token.into(), place: Place::At(Position::decode(rest)?) });
        }
        let after =
            std::str::from_utf8(rest).ok().filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len()))?;
        (*header == header_of(VERSION_TEXT, rest))
            .then(|| Self { sent: token.into(), place: Place::After(after.into()) })
    }

    /// The token for going on after a key, common prefix or bucket of 1 to [`KEY_BYTES_MAX`] bytes of UTF-8.
    #[must_use]
    pub fn encode(after: &str) -> String {
        token_of(VERSION_TEXT, after.as_bytes())
    }

    /// The token for going on with an unsorted listing.
    #[must_use]
    pub fn encode_position(position: &Position) -> String {
        token_of(VERSION_POSITION, &position.encode())
    }

    /// The token itself, for repeating it in the answer.
    #[must_use]
    pub fn as_sent(&self) -> &str {
        &self.sent
    }

    /// What the page starts after; empty for the beginning, and where the token is a position.
    #[must_use]
    pub fn after(&self) -> &str {
        match &self.place {
            Place::After(after) => after,
            Place::At(_) => "",
        }
    }

    /// Where the unsorted listing stands whose token it is.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match &self.place {
            Place::After(_) => None,
            Place::At(position) => Some(position),
        }
    }
}

fn token_of(version: u8, rest: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([&header_of(version, rest), rest].concat())
}

fn header_of(version: u8, text: &[u8]) -> [u8; HEADER_BYTES] {
    let hash = text.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193) // FNV-1a, 32 bits.
    });
    let [a, b, c, d] = hash.to_le_bytes();
    [version, a, b, c, d]
}

/// Reads `data` as a token; what is taken has one form. Then `data` is a key: its token gives it back.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(token) = ContinuationToken::parse(text) {
        assert_eq!(token.as_sent(), text);
        assert!(token.after().len() <= KEY_BYTES_MAX);
        assert!(text.is_empty() || ContinuationToken::encode(token.after()) == text, "a token has one form");
    }
    let token = ContinuationToken::encode(text);
    let after = ContinuationToken::parse(&token).map(|token| token.after().to_owned());
    let fits = (1..=KEY_BYTES_MAX).contains(&text.len());
    assert_eq!(after.as_deref(), fits.then_some(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens() {
        let beginning = ContinuationToken::parse("").expect("an empty token is the beginning");
        assert_eq!((beginning.as_sent(), beginning.after()), ("", ""));
        assert_eq!(ContinuationToken::encode("a/b"), "AcF1jjphL2I");
        let longest = "k".repeat(KEY_BYTES_MAX);
        let token = ContinuationToken::encode(&longest);
        assert!(token.len() <= TOKEN_BYTES_MAX);
        assert_eq!(ContinuationToken::parse(&token).map(|token| token.after().to_owned()), Some(longest));
        // Bits behind the end, padding, another text, another version, no text, not UTF-8.
        let damaged = ["AcF1jjphL2J", "AcF1jjphL2I=", "AcF1jjphL2M", "AsF1jjphL2I", "AcWdHIE", "AU6CC3r_"];
        for token in ["x", "AQ", "a/b", "é"].into_iter().chain(damaged) {
            assert_eq!(ContinuationToken::parse(token), None, "{token}");
        }
        assert_eq!(ContinuationToken::parse(&ContinuationToken::encode("")), None);
        assert_eq!(
            ContinuationToken::parse(&ContinuationToken::encode(&"k".repeat(KEY_BYTES_MAX + 1))),
            None
        );
    }

    #[test]
    fn positions() {
        let position = Position::decode(b"\x01\0\x01d\x05\0\x07").expect("a position");
        let token = ContinuationToken::encode_position(&position);
        let parsed = ContinuationToken::parse(&token).expect("a token of ours");
        assert_eq!((parsed.as_sent(), parsed.after(), parsed.position()), (&*token, "", Some(&position)));
        assert_eq!(ContinuationToken::parse(&token_of(VERSION_POSITION, b"\x01\0\x01d\x05\0")), None);
        assert_eq!(ContinuationToken::parse(&token_of(3, b"\0\0\x07")), None);
        assert_eq!(ContinuationToken::parse("AcF1jjphL2I").and_then(|token| token.position().cloned()), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(after in ".{1,200}") {
            let token = ContinuationToken::encode(&after);
            let parsed = ContinuationToken::parse(&token).expect("a token of ours");
            prop_assert_eq!((parsed.as_sent(), parsed.after()), (token.as_str(), after.as_str()));
        }

        #[test]
        fn noise_is_refused(token in "[A-Za-z0-9_-]{1,100}") {
            // The check has 32 bits and the version 8: noise passes once in 10^12.
            prop_assert_eq!(ContinuationToken::parse(&token), None);
        }
    }
}
