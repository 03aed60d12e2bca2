//! The directory of the store and the lock on it: private, and of one server at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::super::StartError;
use super::{STORE_DIRECTORY, SYSTEM_DIRECTORY};

/// The directory of the store, made private if it is not there yet.
pub(super) fn private_directory(root: &Path) -> Result<PathBuf, StartError> {
    let system = root.join(SYSTEM_DIRECTORY);
    let store = system.join(STORE_DIRECTORY);
    for directory in [&system, &store] {
        let shown = directory.display();
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StartError::new(format!(
                    "the directory {shown} cannot be made: {error}. Make its parent exist and writable for the user the \
                     server runs as"
                )));
            }
            _ => {}
        }
        let metadata = fs::symlink_metadata(directory)
            .map_err(|error| StartError::new(format!("{shown} cannot be examined: {error}")))?;
        let own = rustix::process::geteuid().as_raw();
        if !metadata.is_dir() {
            return Err(StartError::new(format!(
                "{shown} is no directory (a symbolic link is not followed). Move it away and start again"
            )));
        }
        if metadata.uid() != own {
            return Err(StartError::new(format!(
                "{shown} belongs to uid {} and the server runs as uid {own}. Run the server as the owner, or `chown -R \
                 {own} {shown}` if you trust what is in it",
                metadata.uid()
            )));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(StartError::new(format!(
                "{shown} has mode {:04o}, so others could reach the secrets. Run `chmod 700 {shown}`",
                metadata.mode() & 0o7777
            )));
        }
    }
    Ok(store)
}

/// Takes the lock that keeps a second server off this root. It ends with the process, however that ends.
pub(super) fn lock(directory: &Path) -> Result<File, StartError> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| {
            StartError::new(format!("the lock file {} cannot be opened: {error}", path.display()))
        })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::new(format!(
            "another server runs on this root: it holds {}. End it first, or serve another root",
            path.display()
        ))),
        Err(error) => Err(StartError::new(format!("{} cannot be locked: {error}", path.display()))),
    }
}
