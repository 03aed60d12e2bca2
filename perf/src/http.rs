//! The client's side of one HTTP/1.1 connection, with no more than a load needs: a whole request is written, an answer
//! is read up to its Content-Length.

use std::io;
use std::net::SocketAddr;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

/// A connection that is kept alive.
pub struct Connection {
    tcp: TcpStream,
    buf: Vec<u8>,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Length of the body as the head says it.
    pub length: u64,
    /// The ETag, with its quotes.
    pub etag: Option<String>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let tcp = TcpStream::connect_addr(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Connection { tcp, buf: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends bytes that are a whole request; the buffer comes back.
    pub async fn send_whole<B: monoio::buf::IoBuf>(&mut self, request: B) -> (io::Result<()>, B) {
        let (result, request) = self.tcp.write_all(request).await;
        (result.map(drop), request)
    }

    /// Reads an answer and hands the pieces of its body over, each with its offset.
    pub async fn receive(&mut self, is_head: bool, mut take: impl FnMut(u64, &[u8])) -> io::Result<Answer> {
        let (answer, mut at) = loop {
            if let Some(parsed) = parse(&self.buf)? {
                break parsed;
            }
            self.fill().await?;
        };
        let length = if is_head { 0 } else { answer.length };
        let mut offset = 0;
        loop {
            let there = (self.buf.len() - at).min((length - offset) as usize);
            if there > 0 {
                take(offset, &self.buf[at..at + there]);
            }
            (offset, at) = (offset + there as u64, at + there);
            if offset == length {
                self.buf.drain(..at);
                return Ok(answer);
            }
            self.buf.clear();
            at = 0;
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut buf = std::mem::take(&mut self.buf);
        buf.reserve(READ_BYTES / 4);
        let (filled, end) = (buf.len(), buf.capacity());
        let (read, window) = self.tcp.read(monoio::buf::IoBufMut::slice_mut(buf, filled..end)).await;
        self.buf = window.into_inner();
        match read? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            _ => Ok(()),
        }
    }
}

/// The head at the start of `bytes` and its length, once it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP/1.1");
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(malformed)?;
    let mut answer = Answer { status, length: 0, etag: None };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            answer.length = value.trim().parse().map_err(|_| malformed())?;
        } else if name.eq_ignore_ascii_case("etag") {
            answer.etag = Some(value.trim().to_owned());
        }
    }
    Ok(Some((answer, end + 4)))
}

const READ_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let (answer, bytes) =
            parse(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\nETag: \"x\"\r\n\r\nbody").unwrap().unwrap();
        assert_eq!(
            (answer.status, answer.length, answer.etag.as_deref(), bytes),
            (200, 12, Some("\"x\""), 50)
        );
        assert!(parse(b"HTTP/1.1 200 OK\r\n").unwrap().is_none());
        assert!(parse(b"junk\r\n\r\n").is_err());
    }
}
