//! What the connections of a load share: options, signed requests, the clock, and what was measured.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use sluicegate_perf::content::Contents;
use sluicegate_perf::http::{Answer, Connection};
use sluicegate_perf::sign::{Payload, Signer};
use sluicegate_perf::stats::{Stats, Usage};

/// A closed-loop S3 load.
#[derive(Parser, Debug, Clone)]
#[command(args_override_self = true)]
pub struct Options {
    /// Host and port of the server.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub address: String,
    /// The access key.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    pub access_key: String,
    /// The secret key; better given by its variable.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub secret_key: String,
    /// A bucket that exists.
    #[arg(long)]
    pub bucket: String,
    /// What is done.
    #[arg(long)]
    pub work: Work,
    /// Size of objects, or of parts, in bytes.
    #[arg(long, default_value_t = 4096)]
    pub size: usize,
    /// How many objects, or parts, there are; PUT goes round.
    #[arg(long, default_value_t = 1000)]
    pub objects: usize,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Length of a range, in bytes, for the work `range`.
    #[arg(long, default_value_t = 65536)]
    pub range: usize,
    /// Do not sign the SHA-256 of bodies.
    #[arg(long)]
    pub unsigned_payload: bool,
    /// The core that the load runs on.
    #[arg(long)]
    pub core: Option<usize>,
    /// Process whose CPU time and memory are reported with the result.
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// First part of all keys.
    #[arg(long, default_value = "load/")]
    pub prefix: String,
    /// The objects are there already.
    #[arg(long)]
    pub prepared: bool,
    /// Only make the objects.
    #[arg(long)]
    pub prepare_only: bool,
    /// Each object is read once, however long that takes: nothing is read from a cache that this run has filled.
    #[arg(long)]
    pub once: bool,
    /// Where the server keeps its uploads, for the work `complete`.
    #[arg(long)]
    pub uploads: Option<std::path::PathBuf>,
}

impl Work {
    /// As it is called in a report.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What the load does.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// PutObject.
    Put,
    /// GetObject.
    Get,
    /// HeadObject.
    Head,
    /// GetObject of a part.
    Range,
    /// ListObjectsV2 of all pages, one after the other, again and again; before each time the directory is changed.
    List,
    /// DeleteObject of objects made before.
    Delete,
    /// DeleteObjects, 1000 keys each, of objects made before.
    DeleteMany,
    /// 45 % GetObject, 30 % HeadObject, 15 % PutObject, 10 % DeleteObject and PutObject again, as warp does.
    Mixed,
    /// UploadPart, and after each `objects` parts CompleteMultipartUpload, which is timed apart.
    Multipart,
    /// CompleteMultipartUpload of `objects` equal parts without data: see `uploads.rs`.
    Complete,
    /// Connections that have had one answer each and ask for nothing more.
    Idle,
}

impl Options {
    /// Length of the contents that are sent or compared. Parts without data have none.
    pub fn size_of_content(&self) -> usize {
        if self.work == Work::Complete { 0 } else { self.size }
    }
}

impl Work {
    /// Whether it ends by itself, and not when a clock says so.
    pub fn ends_by_itself(self, options: &Options) -> bool {
        matches!(self, Work::Delete | Work::DeleteMany | Work::List | Work::Complete)
            || (self == Work::Get && options.once)
    }
}

/// What all connections share.
pub struct Shared {
    pub options: Options,
    pub address: SocketAddr,
    pub signer: Signer,
    pub contents: Contents,
    pub next: Cell<usize>,
    pub stop: Cell<bool>,
    pub measuring: Cell<bool>,
    pub stats: RefCell<Stats>,
    /// Of mixed work: each kind of operations for itself.
    pub of_kind: RefCell<BTreeMap<String, Stats>>,
    /// Of multipart uploads: the calls that complete them.
    pub completions: RefCell<Stats>,
    /// Of listings: the time of each page, in microseconds.
    pub pages: RefCell<Vec<f64>>,
    pub heads: Heads,
    pub failure: RefCell<Option<io::Error>>,
}

/// Signed requests by object, made before the clock runs.
#[derive(Default)]
pub struct Heads {
    pub get: Vec<Vec<u8>>,
    pub head: Vec<Vec<u8>>,
    pub put: Vec<Vec<u8>>,
    pub delete: Vec<Vec<u8>>,
}

impl Heads {
    /// Signs what the work needs.
    pub fn sign(options: &Options, signer: &Signer, contents: &Contents) -> Heads {
        let simple = |method: &'static str| -> Vec<Vec<u8>> {
            (0..options.objects)
                .map(|object| signer.head(method, &key_path(options, object), "", 0, Payload::Signed(b"")))
                .collect()
        };
        let mut heads = Heads::default();
        let work = options.work;
        if matches!(work, Work::Get | Work::Mixed | Work::Range) {
            heads.get = simple("GET");
        }
        if matches!(work, Work::Head | Work::Mixed | Work::Idle) {
            heads.head = simple("HEAD");
        }
        if matches!(work, Work::Delete | Work::Mixed) {
            heads.delete = simple("DELETE");
        }
        if matches!(work, Work::Put | Work::Mixed) {
            heads.put =
                (0..options.objects).map(|object| sign_put(options, signer, contents, object)).collect();
        }
        heads
    }
}

/// The head of a PutObject.
pub fn sign_put(options: &Options, signer: &Signer, contents: &Contents, object: usize) -> Vec<u8> {
    let body = contents.of(object);
    let payload = if options.unsigned_payload { Payload::Unsigned } else { Payload::Signed(body) };
    signer.head("PUT", &key_path(options, object), "", body.len(), payload)
}

/// The path of an object.
pub fn key_path(options: &Options, object: usize) -> String {
    format!("/{}/{}{object:08}", options.bucket, options.prefix)
}

/// The next number below `end` that nobody has taken, until the load is to stop.
pub fn take_next(shared: &Shared, end: usize) -> Option<usize> {
    let next = shared.next.get();
    shared.next.set(next + 1);
    (next < end && !shared.stop.get()).then_some(next)
}

/// Measures an operation that says how many bytes it carried.
pub async fn timed(shared: &Shared, operation: impl Future<Output = io::Result<u64>>) -> io::Result<()> {
    timed_as(shared, shared.options.work, operation).await
}

/// As [`timed`], for one of several kinds of operations.
pub async fn timed_as(
    shared: &Shared,
    kind: Work,
    operation: impl Future<Output = io::Result<u64>>,
) -> io::Result<()> {
    let began = Instant::now();
    let bytes = operation.await?;
    if shared.measuring.get() && !shared.stop.get() {
        let took = began.elapsed();
        shared.stats.borrow_mut().record(took, bytes);
        if kind != shared.options.work {
            shared.of_kind.borrow_mut().entry(kind.name()).or_default().record(took, bytes);
        }
    }
    Ok(())
}

/// Sends a request whose answer is XML or empty.
pub async fn ask(connection: &mut Connection, request: Vec<u8>, what: &str) -> io::Result<String> {
    connection.send_whole(request).await.0?;
    let mut body = Vec::new();
    let answer = connection.receive(false, |_, piece| body.extend_from_slice(piece)).await?;
    let text = String::from_utf8(body).map_err(io::Error::other)?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("{what} was answered {}: {text}", answer.status)));
    }
    Ok(text)
}

/// An error unless the status is one of these.
pub fn expect(answer: &Answer, statuses: &[u16], what: &str) -> io::Result<()> {
    if statuses.contains(&answer.status) {
        return Ok(());
    }
    Err(io::Error::other(format!("{what} was answered {}", answer.status)))
}

/// What the server has used so far.
pub fn usage(shared: &Shared) -> Option<Usage> {
    shared.options.server_pid.and_then(Usage::of)
}
