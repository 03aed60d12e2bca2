//! Floors behind a socket, on monoio.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use monoio::fs::File;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use sluicegate_perf::buffer::{ALIGNMENT, Aligned};
use sluicegate_perf::content::Contents;

use super::{Hash, Path};

/// What is read from or written to a file or socket at a time.
pub const PIECE_BYTES: usize = 1024 * 1024;
/// Operations on one file at a time.
pub const IN_FLIGHT: usize = 4;

/// A read or write of a file under way, with its buffer.
type Operation = Pin<Box<dyn Future<Output = (io::Result<usize>, Aligned)>>>;

/// A fixed answer, whatever is asked. It lies in memory once, and is sent from there: nothing is copied or allocated for
/// a request.
pub async fn reply(port: u16, size: usize) -> io::Result<()> {
    let head = head_of(size as u64);
    let whole: &'static [u8] = [&head[..], Contents::new(size).of(0)].concat().leak();
    let head = &whole[..head.len()];
    accept(port, move |stream| reply_to(stream, whole, head)).await
}

async fn reply_to(mut stream: TcpStream, whole: &'static [u8], head: &'static [u8]) -> io::Result<()> {
    let mut ahead = Vec::with_capacity(AHEAD_BYTES);
    while let Some(asked) = read_head(&mut stream, &mut ahead).await? {
        ahead.drain(..asked.end);
        stream.write_all(if asked.is_head { head } else { whole }).await.0?;
    }
    Ok(())
}

/// Bodies of requests to unnamed files.
pub async fn receive(port: u16, directory: PathBuf, hash: Hash, path: Path) -> io::Result<()> {
    let directory = Rc::new(directory);
    accept(port, move |stream| {
        let directory = directory.clone();
        async move { receive_from(stream, &directory, hash, path).await }
    })
    .await
}

async fn receive_from(
    mut stream: TcpStream,
    directory: &std::path::Path,
    hash: Hash,
    path: Path,
) -> io::Result<()> {
    let mut ahead = Vec::with_capacity(AHEAD_BYTES);
    let mut spare: Vec<Aligned> = Vec::new();
    while let Some(asked) = read_head(&mut stream, &mut ahead).await? {
        let length = content_length(&ahead[..asked.end]);
        ahead.drain(..asked.end);
        let file = Rc::new(File::from_std(open_unnamed(directory, path, length)?)?);
        let mut digests = Digests::new(hash);
        let mut writes: VecDeque<Operation> = VecDeque::new();
        let mut offset = 0;
        while offset < length {
            let mut buf = spare.pop().unwrap_or_else(|| Aligned::new(PIECE_BYTES));
            let wanted = PIECE_BYTES.min((length - offset) as usize);
            let mut filled = ahead.len().min(wanted);
            buf.select(0, PIECE_BYTES);
            buf[..filled].copy_from_slice(&ahead[..filled]);
            ahead.drain(..filled);
            while filled < wanted {
                buf.select(filled, wanted);
                let (read, back) = stream.read(buf).await;
                buf = back;
                match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
            buf.select(0, wanted);
            digests.update(&buf);
            if path == Path::Cache {
                whole(rustix::io::pwrite(borrow(&file), &buf, offset)?, &buf)?;
                spare.push(buf);
            } else {
                let (file, at) = (file.clone(), offset);
                let write = Box::pin(async move { file.write_at(buf, at).await });
                writes.push_back(spawn_now(write));
                if writes.len() >= IN_FLIGHT
                    && let Some(write) = writes.pop_front()
                {
                    let (written, back) = write.await;
                    whole(written?, &back)?;
                    spare.push(back);
                }
            }
            offset += wanted as u64;
        }
        for write in writes {
            let (written, back) = write.await;
            whole(written?, &back)?;
            spare.push(back);
        }
        digests.finish();
        stream.write_all(head_of(0)).await.0?;
    }
    Ok(())
}

/// A write that took less than it was given would make the floor look better than it is.
pub fn whole(written: usize, buf: &[u8]) -> io::Result<()> {
    if written == buf.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Hands an operation to the ring at once; what comes back waits for its end.
fn spawn_now<T: 'static>(operation: Pin<Box<dyn Future<Output = T>>>) -> Pin<Box<dyn Future<Output = T>>> {
    Box::pin(monoio::spawn(operation))
}

/// The content of a file to whoever asks: the file in `directory` whose name is the last eight characters of the path.
///
/// The page cache is read by plain calls into a buffer that is used again and again: for pieces of this size that costs
/// less than `sendfile` and `splice`, which handle every page by itself.
pub async fn send(port: u16, directory: PathBuf, path: Path) -> io::Result<()> {
    let directory = Rc::new(rustix::fs::open(&directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?);
    accept(port, move |stream| {
        let directory = directory.clone();
        async move { send_to(stream, &directory, path).await }
    })
    .await
}

async fn send_to(mut stream: TcpStream, directory: &OwnedFd, how: Path) -> io::Result<()> {
    let direct = if how == Path::Direct { OFlags::DIRECT } else { OFlags::empty() };
    let mut ahead = Vec::with_capacity(AHEAD_BYTES);
    let mut spare: Vec<Aligned> = Vec::new();
    while let Some(asked) = read_head(&mut stream, &mut ahead).await? {
        let name = name_of(&ahead[..asked.end]).ok_or(io::ErrorKind::InvalidInput)?;
        let fd =
            rustix::fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC | direct, Mode::empty())?;
        ahead.drain(..asked.end);
        let length = rustix::fs::fstat(&fd)?.st_size as u64;
        stream.write_all(head_of(length)).await.0?;
        let file = Rc::new(File::from_std(std::fs::File::from(fd))?);
        let mut reads: VecDeque<Operation> = VecDeque::new();
        let (mut wanted, mut sent) = (0, 0);
        while sent < length {
            while wanted < length && reads.len() < IN_FLIGHT {
                let mut buf = spare.pop().unwrap_or_else(|| Aligned::new(PIECE_BYTES));
                buf.select(0, PIECE_BYTES);
                let (file, at) = (file.clone(), wanted);
                wanted += PIECE_BYTES as u64;
                if how == Path::Cache {
                    let count = rustix::io::pread(borrow(&file), &mut buf[..], at)?;
                    reads.push_back(Box::pin(std::future::ready((Ok(count), buf))));
                    break;
                }
                reads.push_back(spawn_now(Box::pin(async move { file.read_at(buf, at).await })));
            }
            let Some(read) = reads.pop_front() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            let (count, mut buf) = read.await;
            let count = count?;
            if count != PIECE_BYTES.min((length - sent) as usize) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf.select(0, count);
            let (written, buf) = stream.write_all(buf).await;
            written?;
            spare.push(buf);
            sent += count as u64;
        }
    }
    Ok(())
}

/// Makes the files that [`send`] sends, with the contents that `load` expects.
pub fn make(directory: &std::path::Path, files: usize, size: usize) -> io::Result<()> {
    let contents = Contents::new(size);
    for number in 0..files {
        std::fs::write(directory.join(format!("{number:08}")), contents.of(number))?;
    }
    rustix::fs::sync();
    Ok(())
}

async fn accept<F: Future<Output = io::Result<()>> + 'static>(
    port: u16,
    serve: impl Fn(TcpStream) -> F,
) -> io::Result<()> {
    let listener = TcpListener::bind_with_config(("127.0.0.1", port), &ListenerOpts::default())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let served = serve(stream);
        drop(monoio::spawn(async move {
            // The load hangs up when its time is over.
            let _ = served.await;
        }));
    }
}

/// A head that has arrived.
pub struct Asked {
    /// Where it ends.
    pub end: usize,
    /// Whether it is of a HEAD.
    pub is_head: bool,
}

/// Reads until a whole head is in `ahead`. `None`: the client has hung up.
async fn read_head(stream: &mut TcpStream, ahead: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    loop {
        if let Some(asked) = asked(ahead) {
            return Ok(Some(asked));
        }
        let mut buf = std::mem::take(ahead);
        buf.reserve(AHEAD_BYTES / 2);
        let (filled, end) = (buf.len(), buf.capacity());
        let (read, window) = stream.read(monoio::buf::IoBufMut::slice_mut(buf, filled..end)).await;
        *ahead = window.into_inner();
        if read? == 0 {
            return Ok(None);
        }
    }
}

/// As [`read_head`], of what is there.
pub fn asked(ahead: &[u8]) -> Option<Asked> {
    let end = memchr::memmem::find(ahead, b"\r\n\r\n")? + 4;
    Some(Asked { end, is_head: ahead.starts_with(b"HEAD") })
}

/// The Content-Length of a head, as `load` writes it.
pub fn content_length(head: &[u8]) -> u64 {
    const NAME: &[u8] = b"Content-Length: ";
    memchr::memmem::find(head, NAME).map_or(0, |at| {
        let digits = head[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |length, digit| length * 10 + u64::from(digit - b'0'))
    })
}

/// The last eight characters of a request's path.
fn name_of(head: &[u8]) -> Option<&str> {
    let path = head.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(path.get(path.len().checked_sub(8)?..)?).ok()
}

/// The head of an answer, as long as that of an S3 server.
pub fn head_of(length: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nx-amz-request-id: 0123456789ABCDEF\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Server: floor\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         ETag: \"d41d8cd98f00b204e9800998ecf8427e\"\r\nAccept-Ranges: bytes\r\n\
         Content-Type: binary/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// An unnamed file with its space allocated.
pub fn open_unnamed(directory: &std::path::Path, path: Path, length: u64) -> io::Result<std::fs::File> {
    if !length.is_multiple_of(ALIGNMENT as u64) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the floors take bodies of whole pages"));
    }
    let direct = if path == Path::Direct { OFlags::DIRECT } else { OFlags::empty() };
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC | direct;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o644))?;
    if path == Path::Direct && length > 0 {
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length)?;
    }
    Ok(std::fs::File::from(file))
}

fn borrow(file: &File) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: the file is open as long as the reference that the result borrows.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(file.as_raw_fd()) }
}

/// How fast one core computes a hash of pieces that lie in its cache.
pub fn hash(hash: Hash, seconds: f64) {
    let piece = Contents::new(PIECE_BYTES).of(0).to_vec();
    let (mut digests, mut bytes, began) = (Digests::new(hash), 0, Instant::now());
    while began.elapsed().as_secs_f64() < seconds {
        digests.update(&piece);
        bytes += piece.len();
    }
    digests.finish();
    let rate = bytes as f64 / began.elapsed().as_secs_f64() / (1 << 30) as f64;
    println!("{}", serde_json::json!({"work": "hash", "gib_per_second": rate}));
}

/// What a connection reads ahead at least.
const AHEAD_BYTES: usize = 16 * 1024;

/// What is computed of a body.
pub struct Digests {
    md5: Option<md5_many::Md5State>,
    sha256: Option<sha2::Sha256>,
}

impl Digests {
    /// Nothing seen yet.
    pub fn new(hash: Hash) -> Digests {
        Digests {
            md5: matches!(hash, Hash::Md5 | Hash::Both).then(md5_many::Md5State::new),
            sha256: matches!(hash, Hash::Sha256 | Hash::Both).then(Default::default),
        }
    }

    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(piece);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha2::Digest::update(sha256, piece);
        }
    }

    /// The end; the digests themselves are of no interest, but have to be computed.
    pub fn finish(self) {
        std::hint::black_box(self.md5.map(|md5| md5.finalize()));
        std::hint::black_box(self.sha256.map(sha2::Digest::finalize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head = b"HEAD /perf/load/00000042 HTTP/1.1\r\nContent-Length: 4096\r\n\r\nrest";
        let found = asked(head).unwrap();
        assert!(found.is_head && &head[found.end..] == b"rest");
        assert_eq!(content_length(&head[..found.end]), 4096);
        assert_eq!(name_of(head), Some("00000042"));
        assert!(asked(&head[..found.end - 1]).is_none());
        assert_eq!(content_length(b"GET / HTTP/1.1\r\n\r\n"), 0);
        assert_eq!(name_of(b"GET /1234567 HTTP/1.1\r\n\r\n"), Some("/1234567"));
        assert_eq!(name_of(b"GET /1 HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn the_fast_md5_is_md5() {
        let mut digests = Digests::new(Hash::Md5);
        let data: Vec<u8> = (0..100_000u32).map(|index| (index * 31) as u8).collect();
        for piece in data.chunks(4097) {
            digests.update(piece);
        }
        let expected = <md5::Md5 as md5::Digest>::digest(&data);
        assert_eq!(digests.md5.unwrap().finalize()[..], expected[..]);
    }

    #[test]
    fn a_short_write_is_an_error() {
        assert!(whole(4, &[0; 4]).is_ok());
        assert!(whole(3, &[0; 4]).is_err());
    }
}
