//! `sluicegate identity`: backups of the identity store, sealed under a passphrase.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;
use zeroize::Zeroizing;

use super::progress::Progress;
use super::secret::passphrase;
use super::{Failure, ServerArgs, plural, print};
use crate::control::backup::{self, BACKUP_BYTES_MAX, Backup, PASSPHRASE_BYTES_MIN};
use crate::control::wire;

/// The command line of `sluicegate identity`.
#[derive(Args, Debug)]
pub struct IdentityArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// File whose first line is the passphrase, `-` for standard input; without it, SLUICEGATE_PASSPHRASE is used, or
    /// else the terminal asks
    #[arg(long, global = true, value_name = "FILE", display_order = 99)]
    passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    command: IdentityCommand,
}

#[derive(Subcommand, Debug)]
enum IdentityCommand {
    /// Write all users, policies and service accounts into a new file
    Export {
        /// File to make
        file: PathBuf,
    },
    /// Read them back, all or nothing
    Import {
        /// File that was exported
        file: PathBuf,
        /// Take the place of everything in the store, which else must be empty
        #[arg(long)]
        replace: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: &IdentityArgs) -> Result<(), Failure> {
    let client = args.server.client();
    match &args.command {
        IdentityCommand::Export { file } => {
            let words = passphrase(args.passphrase_file.as_deref(), true)?;
            if words.expose().len() < PASSPHRASE_BYTES_MIN {
                let problem = format!("the passphrase must have at least {PASSPHRASE_BYTES_MIN} bytes");
                return Err(Failure::Refused(problem));
            }
            let exported: Backup = client.get(IDENTITY)?;
            let text = serde_json::to_vec(&exported).map(Zeroizing::new);
            let text = text.map_err(|error| super::refused(&error))?;
            let progress = Progress::begin("sealing the backup");
            let sealed = backup::seal(&text, words.expose().as_bytes()).map_err(Failure::Refused)?;
            drop(progress);
            write(file, &sealed)?;
            let users = plural(exported.users.len(), "user");
            print(&format!("Exported {users} to {}.\n", file.display()))
        }
        IdentityCommand::Import { file, replace } => {
            let unusable = |problem: &dyn std::fmt::Display| {
                Failure::Refused(format!("{} cannot be imported: {problem}", file.display()))
            };
            let mut sealed = Vec::new();
            File::open(file)
                .and_then(|file| file.take(BACKUP_BYTES_MAX as u64).read_to_end(&mut sealed))
                .map_err(|error| unusable(&error))?;
            let words = passphrase(args.passphrase_file.as_deref(), false)?;
            let progress = Progress::begin("opening the backup");
            let text = backup::open(&sealed, words.expose().as_bytes()).map_err(|error| unusable(&error))?;
            drop(progress);
            let backup = serde_json::from_slice(&text)
                .map_err(|_| unusable(&"its content is that of another release"))?;
            let body = wire::Import { backup, replace: *replace };
            let imported: wire::Imported = client.send(Method::PUT, IDENTITY, &body)?;
            print(&format!(
                "Imported {}, {} policies and {}.\n",
                plural(imported.users, "user"),
                imported.policies,
                plural(imported.service_accounts, "service account")
            ))
        }
    }
}

const IDENTITY: &str = "/v1/identity";

/// Writes a new file that only its owner can read. A backup never takes the place of another.
fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| {
        Failure::Refused(format!("{} cannot be written: {error}. Name a new file", path.display()))
    })
}
