//! Where an unsorted listing stands, and its form in a token.
//!
//! | bytes | meaning |
//! |---|---|
//! | varint | number of steps: the directories on the way from that of the prefix |
//! | for each: 1 | 0 = a directory, 1 = one in which long components go on |
//! | … varint, n | length and text of its name, as a part of keys |
//! | … varint | the place behind it in the directory above |
//! | 1 | 0 = a place in the last directory, 1 = the same and the own object of the next entry is told, 2 = a key |
//! | varint | (0, 1) the place |
//! | varint, n | (1) the entry's name, (2) the key that was told last |
//!
//! Places are the file system's. A position comes from clients and is believed no further than that: a made-up one can
//! lead to no key outside the prefix, and to none that a listing without it does not show.

use smallvec::SmallVec;

use super::snapshot::Place;
use super::unsorted::DEPTH_MAX;
use crate::limits::KEY_BYTES_MAX;
use crate::storage::layout;

/// Where an unsorted listing goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    pub(super) steps: Vec<Step>,
    pub(super) at: At,
}

/// A directory on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Whether components go on in it.
    pub(super) is_piece: bool,
    /// Its name as a part of keys.
    pub(super) name: Box<[u8]>,
    /// The place behind it in the directory above.
    pub(super) after: u64,
}

/// Where in the last directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum At {
    Place {
        /// The place of the next entry.
        next: u64,
        /// If that has this name, its own object is told, and what is in it is not.
        told: Option<Box<[u8]>>,
    },
    /// After this key, in a subtree that is listed in order.
    Key(Vec<u8>),
}

impl At {
    pub(super) const BEGINNING: Self = Self::Place { next: 0, told: None };
}

impl Step {
    /// Where the directory stands in that of `place`.
    pub(super) fn path(&self, place: &Place) -> SmallVec<[u8; 256]> {
        let mut path = SmallVec::new();
        if self.is_piece {
            layout::push_piece(&self.name, &mut path);
        } else if place.cuts.is_empty() {
            layout::push_component(&self.name, &mut path);
        } else {
            layout::push_last(&self.name, &mut path);
        }
        path
    }
}

impl Position {
    /// Longest form, in bytes: no name is longer than a key.
    pub const BYTES_MAX: usize = 3 + STEPS_MAX * (1 + 2 + 10) + KEY_BYTES_MAX + 1 + 10 + 2 + KEY_BYTES_MAX;

    /// Its form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        push_varint(self.steps.len() as u64, &mut out);
        for step in &self.steps {
            out.push(u8::from(step.is_piece));
            push_text(&step.name, &mut out);
            push_varint(step.after, &mut out);
        }
        match &self.at {
            At::Place { next, told: None } => {
                out.push(0);
                push_varint(*next, &mut out);
            }
            At::Place { next, told: Some(name) } => {
                out.push(1);
                push_varint(*next, &mut out);
                push_text(name, &mut out);
            }
            At::Key(key) => {
                out.push(2);
                push_text(key, &mut out);
            }
        }
        out
    }

    /// Reads what [`encode`](Self::encode) made. `None`: it did not make this.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let count = usize::try_from(varint(&mut rest)?).ok().filter(|count| *count <= STEPS_MAX)?;
        let mut steps = Vec::with_capacity(count);
        let mut names_bytes = 0;
        for _ in 0..count {
            let is_piece = byte(&mut rest, 1)? == 1;
            let name: Box<[u8]> = text(&mut rest)?.into();
            names_bytes += name.len();
            if name.contains(&b'/') {
                return None;
            }
            steps.push(Step { is_piece, name, after: varint(&mut rest)? });
        }
        let at = match byte(&mut rest, 2)? {
            0 => At::Place { next: varint(&mut rest)?, told: None },
            1 => At::Place { next: varint(&mut rest)?, told: Some(text(&mut rest)?.into()) },
            _ => At::Key(text(&mut rest)?.to_vec()),
        };
        (rest.is_empty() && names_bytes <= KEY_BYTES_MAX).then_some(Self { steps, at })
    }
}

/// LEB128, seven bits per byte, lowest first.
fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn push_text(text: &[u8], out: &mut Vec<u8>) {
    push_varint(text.len() as u64, out);
    out.extend_from_slice(text);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, others) = rest.split_first()?;
        *rest = others;
        let bits = u64::from(first & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if first & 0x80 == 0 {
            // The shortest form is the only one.
            return (*first != 0 || shift == 0).then_some(value);
        }
    }
    None
}

fn text<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let length = usize::try_from(varint(rest)?).ok().filter(|length| *length <= KEY_BYTES_MAX)?;
    let (text, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some(text)
}

fn byte(rest: &mut &[u8], most: u8) -> Option<u8> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    (*first <= most).then_some(*first)
}

/// The directories of [`DEPTH_MAX`] and the one whose subtree is listed in order, and those between in which components
/// go on: each has a piece of 80 bytes of the key or more (240 where none is quoted as three).
const STEPS_MAX: usize = DEPTH_MAX + 1 + KEY_BYTES_MAX / 78;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let check = |steps: &[(bool, &str, u64)], at: At, bytes: &[u8]| {
            let steps = steps.iter().map(|(is_piece, name, after)| Step {
                is_piece: *is_piece,
                name: name.as_bytes().into(),
                after: *after,
            });
            let position = Position { steps: steps.collect(), at };
            assert_eq!(position.encode(), bytes);
            assert_eq!(Position::decode(bytes), Some(position));
            for end in 0..bytes.len() {
                assert_eq!(Position::decode(&bytes[..end]), None, "cut at {end}");
            }
            assert_eq!(Position::decode(&[bytes, &[0]].concat()), None);
        };
        check(&[], At::Place { next: 300, told: None }, b"\0\0\xac\x02");
        check(&[], At::Place { next: 0, told: Some(Box::from(&b"ab"[..])) }, b"\0\x01\0\x02ab");
        check(
            &[(false, "d", 1), (true, "", 2)],
            At::Key(b"d/k".to_vec()),
            b"\x02\0\x01d\x01\x01\0\x02\x02\x03d/k",
        );
        let most = [&[0xff; 9][..], &[1]].concat();
        check(&[], At::Place { next: u64::MAX, told: None }, &[&b"\0\0"[..], &most].concat());
    }

    #[test]
    fn what_no_listing_made_is_refused() {
        let over = [&[0xff; 9][..], &[2]].concat();
        for bytes in [
            &b""[..],
            b"\x01\0\x03a/b\x01\0\x01",
            b"\0\x03\x01",
            b"\x01\x02\x01a\x01\0\x01",
            b"\0\0\x80\0",
            b"\x7f",
            &[&b"\0\0"[..], &over].concat(),
        ] {
            assert_eq!(Position::decode(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_as_it_was(bytes in prop::collection::vec(0_u8..8, 0..40)) {
            if let Some(position) = Position::decode(&bytes) {
                prop_assert_eq!(position.encode(), bytes);
            }
        }
    }
}
