//! The floors: the work that no server can avoid, and nothing else. No signature, no policy, no names, no errors of a
//! client: what they reach on a machine is what a server on it can at most reach.
//!
//! `reply`, `receive` and `send` speak enough HTTP for `load` to drive them; `publish`, `list` and `unlink` are measured by
//! themselves and print one JSON object.

mod files;
mod serve;
mod tokio_path;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sluicegate_perf::ring;

use self::files::Publication;

/// The work no server can avoid.
#[derive(Parser)]
struct Options {
    /// The core it runs on.
    #[arg(long, global = true)]
    core: Option<usize>,
    #[command(subcommand)]
    floor: Floor,
}

#[derive(Subcommand)]
enum Floor {
    /// Answers every request with the same body.
    Reply {
        /// Port on 127.0.0.1.
        #[arg(long)]
        port: u16,
        /// Length of the body.
        #[arg(long, default_value_t = 4096)]
        size: usize,
    },
    /// Writes the bodies of requests to files that never get a name.
    Receive {
        /// Port on 127.0.0.1.
        #[arg(long)]
        port: u16,
        /// Where the files are.
        #[arg(long)]
        directory: PathBuf,
        /// What is computed of each body.
        #[arg(long, value_enum, default_value_t = Hash::None)]
        hash: Hash,
        /// How the files are written.
        #[arg(long, value_enum, default_value_t = Path::Direct)]
        path: Path,
        /// Write through tokio-uring in place of monoio.
        #[arg(long)]
        tokio: bool,
    },
    /// Computes a hash of what is in memory.
    Hash {
        /// Which.
        #[arg(long, value_enum)]
        hash: Hash,
        /// For how long.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Makes the files that `send` sends.
    Make {
        /// Where the files are.
        #[arg(long)]
        directory: PathBuf,
        /// How many.
        #[arg(long)]
        files: usize,
        /// Bytes in each.
        #[arg(long)]
        size: usize,
    },
    /// Answers a request with the content of the file that the last eight characters of its path name.
    Send {
        /// Port on 127.0.0.1.
        #[arg(long)]
        port: u16,
        /// Where the files are.
        #[arg(long)]
        directory: PathBuf,
        /// How they are read.
        #[arg(long, value_enum, default_value_t = Path::Direct)]
        path: Path,
    },
    /// Makes small files with a record and an owner, durable in groups.
    Publish {
        /// Where the files are.
        #[arg(long)]
        directory: PathBuf,
        /// How many at most.
        #[arg(long, default_value_t = usize::MAX)]
        files: usize,
        /// For how long at most.
        #[arg(long, default_value_t = f64::INFINITY)]
        seconds: f64,
        /// Bytes in each.
        #[arg(long, default_value_t = 4096)]
        size: usize,
        /// Files that share a flush; 0: nothing is flushed.
        #[arg(long, default_value_t = 64)]
        group: usize,
        /// How their data is written.
        #[arg(long, value_enum, default_value_t = Path::Direct)]
        path: Path,
        /// So many names are used again and again.
        #[arg(long, default_value_t = usize::MAX)]
        names: usize,
    },
    /// Reads a directory, and stat data and record of every file in it.
    List {
        /// The directory.
        #[arg(long)]
        directory: PathBuf,
    },
    /// Removes all files of a directory, with a flush after each batch.
    Unlink {
        /// The directory.
        #[arg(long)]
        directory: PathBuf,
        /// Files that share a flush.
        #[arg(long, default_value_t = 1000)]
        batch: usize,
    },
}

/// What is computed of a body.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hash {
    /// Nothing.
    None,
    /// One stream of MD5.
    Md5,
    /// SHA-256.
    Sha256,
    /// Both, one after the other.
    Both,
}

/// Past the page cache or through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Path {
    /// O_DIRECT, several operations in flight.
    Direct,
    /// The page cache, by plain calls.
    Cache,
}

fn main() {
    let Options { core, floor } = Options::parse();
    let result = match floor {
        Floor::Reply { port, size } => ring::run(core, serve::reply(port, size)),
        Floor::Receive { port, directory, hash, path, tokio: true } => {
            tokio_path::receive(core, port, directory, hash, path)
        }
        Floor::Receive { port, directory, hash, path, tokio: false } => {
            ring::run(core, serve::receive(port, directory, hash, path))
        }
        Floor::Hash { hash, seconds } => {
            core.into_iter().for_each(ring::pin);
            serve::hash(hash, seconds);
            Ok(())
        }
        Floor::Make { directory, files, size } => serve::make(&directory, files, size),
        Floor::Send { port, directory, path } => ring::run(core, serve::send(port, directory, path)),
        Floor::Publish { directory, files, seconds, size, group, path, names } => {
            let wanted = Publication { size, group, files, seconds, path, names };
            ring::run(core, files::publish(&directory, wanted))
        }
        Floor::List { directory } => {
            core.into_iter().for_each(ring::pin);
            files::list(&directory)
        }
        Floor::Unlink { directory, batch } => {
            core.into_iter().for_each(ring::pin);
            files::unlink(&directory, batch)
        }
    };
    if let Err(error) = result {
        eprintln!("floor: {error}");
        std::process::exit(1);
    }
}
