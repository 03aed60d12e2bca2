//! A closed loop of S3 requests from one pinned thread: each connection sends its next request when the answer to the
//! last one is there. Prints one JSON object.
//!
//! Objects are made before the clock runs where the work reads or deletes them. What is read is compared with what was
//! written, byte for byte; an answer with another status than expected ends the run with an error.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use clap::{Parser, ValueEnum};
use serde_json::json;
use sluicegate_perf::content::Contents;
use sluicegate_perf::http::{Answer, Connection};
use sluicegate_perf::ring;
use sluicegate_perf::sign::{Payload, Signer, amz_date};
use sluicegate_perf::stats::{Stats, Usage};

/// A closed-loop S3 load.
#[derive(Parser, Debug, Clone)]
struct Options {
    /// Host and port of the server.
    #[arg(long, default_value = "127.0.0.1:9000")]
    address: String,
    /// The access key.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    access_key: String,
    /// The secret key; better given by its variable.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: String,
    /// A bucket that exists.
    #[arg(long)]
    bucket: String,
    /// What is done.
    #[arg(long)]
    work: Work,
    /// Size of objects, or of parts, in bytes.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// How many objects there are; PUT goes round.
    #[arg(long, default_value_t = 1000)]
    objects: usize,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Length of a range, in bytes, for the work `range`.
    #[arg(long, default_value_t = 65536)]
    range: usize,
    /// Do not sign the SHA-256 of bodies.
    #[arg(long)]
    unsigned_payload: bool,
    /// The core that the load runs on.
    #[arg(long)]
    core: Option<usize>,
    /// Process whose CPU time and memory are reported with the result.
    #[arg(long)]
    server_pid: Option<u32>,
    /// First part of all keys.
    #[arg(long, default_value = "load/")]
    prefix: String,
    /// The objects are there already.
    #[arg(long)]
    prepared: bool,
}

/// What the load does.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// PutObject.
    Put,
    /// GetObject.
    Get,
    /// HeadObject.
    Head,
    /// GetObject of a part.
    Range,
    /// ListObjectsV2 of all pages, one after the other.
    List,
    /// DeleteObject of objects made before.
    Delete,
    /// DeleteObjects, 1000 keys each.
    DeleteMany,
    /// 45 % GetObject, 30 % HeadObject, 15 % PutObject, 10 % DeleteObject and PutObject again, as warp does.
    Mixed,
    /// UploadPart, and after each `objects` parts CompleteMultipartUpload, which is timed apart.
    Multipart,
}

fn main() {
    let options = Options::parse();
    let core = options.core;
    match ring::run(core, run(options)) {
        Ok(()) => {}
        Err(error) => {
            eprintln!("load: {error}");
            std::process::exit(1);
        }
    }
}

/// What all connections share.
struct Shared {
    options: Options,
    address: SocketAddr,
    signer: Signer,
    contents: Contents,
    next: Cell<usize>,
    stop: Cell<bool>,
    measuring: Cell<bool>,
    stats: RefCell<Stats>,
    completions: RefCell<Stats>,
    heads: Heads,
    failure: RefCell<Option<io::Error>>,
    running: Cell<usize>,
}

/// Signed requests by object, made before the clock runs.
#[derive(Default)]
struct Heads {
    get: Vec<Vec<u8>>,
    head: Vec<Vec<u8>>,
    put: Vec<Vec<u8>>,
    delete: Vec<Vec<u8>>,
}

async fn run(options: Options) -> io::Result<()> {
    let address = options
        .address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the address has no host"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
    let signer = Signer {
        access_key: options.access_key.clone(),
        secret: options.secret_key.clone(),
        host: options.address.clone(),
        amz_date: amz_date(now.as_secs()),
    };
    let contents = Contents::new(options.size);
    let heads = sign_all(&options, &signer, &contents);
    let shared = Rc::new(Shared {
        options,
        address,
        signer,
        contents,
        next: Cell::new(0),
        stop: Cell::new(false),
        measuring: Cell::new(false),
        stats: RefCell::default(),
        completions: RefCell::default(),
        heads,
        failure: RefCell::default(),
        running: Cell::new(0),
    });
    let work = shared.options.work;
    let needs_objects = !matches!(work, Work::Put | Work::Multipart);
    if needs_objects && !shared.options.prepared {
        all_connections(&shared, Phase::Prepare).await?;
    }
    shared.next.set(0);
    let finite = matches!(work, Work::Delete | Work::DeleteMany | Work::List);
    shared.measuring.set(finite);
    let mut began = (Instant::now(), usage(&shared));
    if !finite {
        let (warmup, seconds) = (shared.options.warmup, shared.options.seconds);
        let clock = shared.clone();
        let start = Rc::new(Cell::new(began));
        let started = start.clone();
        monoio::spawn(async move {
            monoio::time::sleep(Duration::from_secs_f64(warmup)).await;
            started.set((Instant::now(), usage(&clock)));
            clock.measuring.set(true);
            monoio::time::sleep(Duration::from_secs_f64(seconds)).await;
            clock.stop.set(true);
        });
        all_connections(&shared, Phase::Work).await?;
        began = start.get();
    } else {
        all_connections(&shared, Phase::Work).await?;
    }
    let seconds = began.0.elapsed().as_secs_f64();
    let used = usage(&shared).zip(began.1).map(|(now, earlier)| now.since(earlier));
    let mut report = shared.stats.borrow().report(seconds, used);
    let Options { size, connections, objects, .. } = shared.options;
    if work == Work::Multipart {
        report["complete_p50_us"] = shared.completions.borrow().report(seconds, None)["p50_us"].clone();
    }
    report["work"] = json!(format!("{work:?}").to_lowercase());
    report["size"] = json!(size);
    report["connections"] = json!(connections);
    report["objects"] = json!(objects);
    println!("{report}");
    Ok(())
}

fn usage(shared: &Shared) -> Option<Usage> {
    shared.options.server_pid.and_then(Usage::of)
}

fn key_path(options: &Options, object: usize) -> String {
    format!("/{}/{}{object:08}", options.bucket, options.prefix)
}

fn sign_all(options: &Options, signer: &Signer, contents: &Contents) -> Heads {
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
    if matches!(work, Work::Head | Work::Mixed) {
        heads.head = simple("HEAD");
    }
    if matches!(work, Work::Delete | Work::Mixed) {
        heads.delete = simple("DELETE");
    }
    if work != Work::Multipart {
        heads.put = (0..options.objects)
            .map(|object| {
                let body = contents.of(object);
                let payload =
                    if options.unsigned_payload { Payload::Unsigned } else { Payload::Signed(body) };
                signer.head("PUT", &key_path(options, object), "", body.len(), payload)
            })
            .collect();
    }
    heads
}

/// What the connections are to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Prepare,
    Work,
}

async fn all_connections(shared: &Rc<Shared>, phase: Phase) -> io::Result<()> {
    shared.next.set(0);
    let connections = match shared.options.work {
        // Pages come one after the other: each needs the token of the last.
        Work::List if phase == Phase::Work => 1,
        _ => shared.options.connections,
    };
    let mut tasks = Vec::new();
    for number in 0..connections {
        let shared = shared.clone();
        shared.running.set(shared.running.get() + 1);
        tasks.push(monoio::spawn(async move {
            let done = connection(&shared, phase, number).await;
            if let Err(error) = done {
                shared.stop.set(true);
                shared.failure.borrow_mut().get_or_insert(error);
            }
            shared.running.set(shared.running.get() - 1);
        }));
    }
    for task in tasks {
        task.await;
    }
    match shared.failure.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

async fn connection(shared: &Shared, phase: Phase, number: usize) -> io::Result<()> {
    let mut connection = Connection::open(shared.address).await?;
    let objects = shared.options.objects;
    if phase == Phase::Prepare {
        while let Some(object) = take_next(shared, objects) {
            put(shared, &mut connection, object).await?;
        }
        return Ok(());
    }
    match shared.options.work {
        Work::List => list(shared, &mut connection).await,
        Work::Multipart => {
            while !shared.stop.get() {
                multipart(shared, &mut connection, number).await?;
            }
            Ok(())
        }
        Work::Delete => {
            while let Some(object) = take_next(shared, objects) {
                simple(shared, &mut connection, &shared.heads.delete[object], 204).await?;
            }
            Ok(())
        }
        Work::DeleteMany => {
            while let Some(batch) = take_next(shared, objects.div_ceil(DELETE_KEYS)) {
                delete_many(shared, &mut connection, batch).await?;
            }
            Ok(())
        }
        Work::Put | Work::Get | Work::Head | Work::Range | Work::Mixed => {
            while !shared.stop.get() {
                let turn = shared.next.get();
                shared.next.set(turn + 1);
                let object = turn % objects;
                match pick(shared.options.work, turn) {
                    Work::Put => timed(shared, put(shared, &mut connection, object)).await?,
                    Work::Get => timed(shared, get(shared, &mut connection, object)).await?,
                    Work::Range => timed(shared, range(shared, &mut connection, object)).await?,
                    Work::Delete => {
                        // Gone and back at once, so that nobody else finds it missing for long: reads accept 404.
                        timed(shared, delete(shared, &mut connection, object)).await?;
                        put(shared, &mut connection, object).await?;
                    }
                    _ => timed(shared, head(shared, &mut connection, object)).await?,
                }
            }
            Ok(())
        }
    }
}

fn take_next(shared: &Shared, end: usize) -> Option<usize> {
    let next = shared.next.get();
    shared.next.set(next + 1);
    (next < end && !shared.stop.get()).then_some(next)
}

/// The share of each operation in mixed work, by the turn.
fn pick(work: Work, turn: usize) -> Work {
    match (work, turn.wrapping_mul(7919) % 100) {
        (Work::Mixed, 0..45) => Work::Get,
        (Work::Mixed, 45..75) => Work::Head,
        (Work::Mixed, 75..90) => Work::Put,
        (Work::Mixed, _) => Work::Delete,
        (other, _) => other,
    }
}

/// Measures an operation that says how many bytes it carried.
async fn timed(shared: &Shared, operation: impl Future<Output = io::Result<u64>>) -> io::Result<()> {
    let began = Instant::now();
    let bytes = operation.await?;
    if shared.measuring.get() && !shared.stop.get() {
        shared.stats.borrow_mut().record(began.elapsed(), bytes);
    }
    Ok(())
}

async fn put(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    let body = shared.contents.of(object);
    let head = &shared.heads.put[object];
    if body.len() <= JOINED_BYTES_MAX {
        let whole = [head, body].concat();
        connection.send_whole(whole).await.0?;
    } else {
        connection.send(head.clone(), None::<Vec<u8>>).await?;
        send_body(connection, body).await?;
    }
    expect(connection.receive(false, |_, _| {}).await?, &[200], "PutObject")?;
    Ok(body.len() as u64)
}

/// Sends a large body in pieces, each copied once: the kernel takes owned buffers.
async fn send_body(connection: &mut Connection, body: &[u8]) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for part in body.chunks(PIECE_BYTES) {
        piece.clear();
        piece.extend_from_slice(part);
        let (sent, back) = connection.send_whole(piece).await;
        sent?;
        piece = back;
    }
    Ok(())
}

async fn get(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    connection.send_whole(shared.heads.get[object].clone()).await.0?;
    let expected = shared.contents.of(object);
    read_back(shared, connection, expected, "GetObject").await
}

async fn range(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    let length = shared.options.range.min(shared.options.size);
    let places = (shared.options.size - length) / length + 1;
    let start = shared.next.get() % places * length;
    // `Range` need not be signed: it goes in before the empty line that ends the signed head.
    let mut request = shared.heads.get[object].clone();
    request.truncate(request.len() - 2);
    request.extend_from_slice(format!("Range: bytes={start}-{}\r\n\r\n", start + length - 1).as_bytes());
    connection.send_whole(request).await.0?;
    let expected = &shared.contents.of(object)[start..start + length];
    read_back(shared, connection, expected, "GetObject of a range").await
}

/// Reads a body and compares it.
async fn read_back(
    shared: &Shared,
    connection: &mut Connection,
    expected: &[u8],
    what: &str,
) -> io::Result<u64> {
    let mut same = true;
    let answer = connection
        .receive(false, |offset, piece| {
            let from = offset as usize;
            same &= expected.get(from..from + piece.len()) == Some(piece);
        })
        .await?;
    if shared.options.work == Work::Mixed && answer.status == 404 {
        return Ok(0);
    }
    let length = answer.length;
    expect(answer, &[200, 206], what)?;
    if !same || length != expected.len() as u64 {
        return Err(io::Error::other(format!("{what}: the content is not what was written")));
    }
    Ok(length)
}

async fn head(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    connection.send_whole(shared.heads.head[object].clone()).await.0?;
    let answer = connection.receive(true, |_, _| {}).await?;
    if shared.options.work == Work::Mixed && answer.status == 404 {
        return Ok(0);
    }
    if answer.length != shared.options.size as u64 {
        return Err(io::Error::other("HeadObject: the length is not what was written"));
    }
    expect(answer, &[200], "HeadObject")?;
    Ok(0)
}

async fn delete(shared: &Shared, connection: &mut Connection, object: usize) -> io::Result<u64> {
    connection.send_whole(shared.heads.delete[object].clone()).await.0?;
    expect(connection.receive(false, |_, _| {}).await?, &[204], "DeleteObject")?;
    Ok(0)
}

async fn simple(shared: &Shared, connection: &mut Connection, request: &[u8], status: u16) -> io::Result<()> {
    let operation = async {
        connection.send_whole(request.to_vec()).await.0?;
        expect(connection.receive(false, |_, _| {}).await?, &[status], "the request")?;
        Ok(0)
    };
    timed(shared, operation).await
}

async fn list(shared: &Shared, connection: &mut Connection) -> io::Result<()> {
    let (mut token, mut keys) = (None::<String>, 0);
    loop {
        let encoded_prefix = encode(&shared.options.prefix);
        let query = match &token {
            Some(token) => {
                format!("continuation-token={}&list-type=2&prefix={encoded_prefix}", encode(token))
            }
            None => format!("list-type=2&prefix={encoded_prefix}"),
        };
        let path = format!("/{}", shared.options.bucket);
        let request = shared.signer.head("GET", &path, &query, 0, Payload::Signed(b""));
        let mut page = Vec::new();
        let operation = async {
            connection.send_whole(request).await.0?;
            let answer = connection.receive(false, |_, piece| page.extend_from_slice(piece)).await?;
            expect(answer, &[200], "ListObjectsV2")?;
            Ok(0)
        };
        timed(shared, operation).await?;
        let text = String::from_utf8(page).map_err(io::Error::other)?;
        keys += text.matches("<Key>").count();
        token = between(&text, "<NextContinuationToken>", "</NextContinuationToken>").map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    if keys != shared.options.objects {
        return Err(io::Error::other(format!("{keys} keys were listed, not {}", shared.options.objects)));
    }
    Ok(())
}

async fn delete_many(shared: &Shared, connection: &mut Connection, batch: usize) -> io::Result<()> {
    let mut body = String::from("<Delete><Quiet>true</Quiet>");
    for object in batch * DELETE_KEYS..((batch + 1) * DELETE_KEYS).min(shared.options.objects) {
        body += &format!("<Object><Key>{}{object:08}</Key></Object>", shared.options.prefix);
    }
    body += "</Delete>";
    let path = format!("/{}", shared.options.bucket);
    let payload = Payload::Signed(body.as_bytes());
    let mut request = shared.signer.head("POST", &path, "delete=", body.len(), payload);
    let md5 = <md5::Md5 as md5::Digest>::digest(body.as_bytes());
    request.truncate(request.len() - 2);
    request.extend_from_slice(format!("Content-MD5: {}\r\n\r\n{body}", base64(&md5)).as_bytes());
    let operation = async {
        connection.send_whole(request).await.0?;
        let mut answer = Vec::new();
        expect(
            connection.receive(false, |_, piece| answer.extend_from_slice(piece)).await?,
            &[200],
            "DeleteObjects",
        )?;
        if answer.windows(7).any(|window| window == b"<Error>") {
            return Err(io::Error::other("DeleteObjects: a key was not deleted"));
        }
        Ok(0)
    };
    timed(shared, operation).await
}

/// One whole upload.
async fn multipart(shared: &Shared, connection: &mut Connection, number: usize) -> io::Result<()> {
    let path = key_path(&shared.options, number);
    let create = shared.signer.head("POST", &path, "uploads=", 0, Payload::Signed(b""));
    connection.send_whole(create).await.0?;
    let mut text = Vec::new();
    let answer = connection.receive(false, |_, piece| text.extend_from_slice(piece)).await?;
    expect(answer, &[200], "CreateMultipartUpload")?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    let id = between(&text, "<UploadId>", "</UploadId>").ok_or_else(|| io::Error::other("no UploadId"))?;
    let mut parts = String::new();
    for part in 1..=shared.options.objects {
        let body = shared.contents.of(part);
        let payload = if shared.options.unsigned_payload { Payload::Unsigned } else { Payload::Signed(body) };
        let query = format!("partNumber={part}&uploadId={id}");
        let request = shared.signer.head("PUT", &path, &query, body.len(), payload);
        let mut etag = None;
        let operation = async {
            connection.send(request, None::<Vec<u8>>).await?;
            send_body(connection, body).await?;
            let answer = connection.receive(false, |_, _| {}).await?;
            etag = answer.etag.clone();
            expect(answer, &[200], "UploadPart")?;
            Ok(body.len() as u64)
        };
        timed(shared, operation).await?;
        let etag = etag.ok_or_else(|| io::Error::other("UploadPart: no ETag"))?;
        parts += &format!("<Part><PartNumber>{part}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let payload = Payload::Signed(body.as_bytes());
    let query = format!("uploadId={id}");
    let request = shared.signer.head("POST", &path, &query, body.len(), payload);
    let began = Instant::now();
    connection.send(request, Some(body.into_bytes())).await?;
    expect(connection.receive(false, |_, _| {}).await?, &[200], "CompleteMultipartUpload")?;
    shared.completions.borrow_mut().record(began.elapsed(), 0);
    Ok(())
}

fn expect(answer: Answer, statuses: &[u16], what: &str) -> io::Result<()> {
    if statuses.contains(&answer.status) {
        return Ok(());
    }
    Err(io::Error::other(format!("{what} was answered {}", answer.status)))
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let from = text.find(start)? + start.len();
    Some(&text[from..from + text[from..].find(end)?])
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

const DELETE_KEYS: usize = 1000;
/// Up to this size head and body leave in one write.
const JOINED_BYTES_MAX: usize = 256 * 1024;
const PIECE_BYTES: usize = 1024 * 1024;
