//! Whether a directory holds any object: S3 shows no empty prefixes.

use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use smallvec::SmallVec;

use super::snapshot::{Found, Place, visit};
use super::sources::{OP_READ, opened};
use crate::limits::KEY_BYTES_MAX;
use crate::storage::error::{At, Result, Subject};
use crate::storage::layout;

/// A directory that has not been looked into.
struct Unvisited {
    /// From the top directory.
    path: Vec<u8>,
    /// What the keys in it start with, in bytes.
    base_bytes: usize,
    place: Place,
}

/// Whether a key of legal length is in the directory `top`, whose keys start with `base_bytes` bytes. It looks no further
/// than the first one it finds, so that a prefix of a million keys costs one system call.
///
/// # Errors
/// A directory cannot be read, although it is there.
pub(super) fn holds_object(top: BorrowedFd<'_>, base_bytes: usize) -> Result<bool> {
    let mut unvisited = vec![Unvisited { path: Vec::new(), base_bytes, place: Place::default() }];
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    while let Some(directory) = unvisited.pop() {
        let is_top = directory.path.is_empty();
        let fd = if is_top { None } else { opened(top, &directory.path)? };
        let fd = match &fd {
            Some(fd) => fd.as_fd(),
            None if is_top => top,
            None => continue,
        };
        let take = |found: Found, name: &[u8], _: u64, _: u64| match found {
            Found::File if directory.key_bytes(name) <= KEY_BYTES_MAX => ControlFlow::Break(()),
            // The key of a directory is what its keys start with, less the slash. That of the top directory is outside.
            Found::OwnFile if !is_top => ControlFlow::Break(()),
            Found::Directory | Found::Piece if directory.key_bytes(name) < KEY_BYTES_MAX => {
                unvisited.push(directory.below(found, name));
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        };
        if visit(fd, &directory.place, &mut buffer, take).at(Subject::Directory, OP_READ)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Unvisited {
    fn key_bytes(&self, name: &[u8]) -> usize {
        self.base_bytes + self.place.start.len() + name.len()
    }

    fn below(&self, found: Found, name: &[u8]) -> Self {
        let mut stored = SmallVec::<[u8; 256]>::new();
        if !self.path.is_empty() {
            stored.push(b'/');
        }
        let (base_bytes, place) = match found {
            Found::Piece => {
                layout::push_piece(name, &mut stored);
                (self.base_bytes, self.place.after(name))
            }
            _ if self.place.cuts.is_empty() => {
                layout::push_component(name, &mut stored);
                (self.key_bytes(name) + 1, Place::default())
            }
            _ => {
                layout::push_last(name, &mut stored);
                (self.key_bytes(name) + 1, Place::default())
            }
        };
        Self { path: [&self.path[..], &stored].concat(), base_bytes, place }
    }
}

/// Some fifty entries: the first look is short.
const BUFFER_BYTES: usize = 2 * 1024;
