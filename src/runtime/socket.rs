//! Listening sockets and connections of one core, in the clear or under TLS.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketType, sockopt};

use super::buffer::AlignedBuf;
use super::tls::TlsStream;
use crate::counters;

/// Opens one listening socket for each worker on the same address (SO_REUSEPORT: the kernel spreads connections).
/// Port 0 takes one free port for all of them. An address that another process listens on is refused, although
/// SO_REUSEPORT alone would share it silently.
pub fn listen(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let probe = socket(address, false)?;
    let bound = probe.local_addr()?;
    drop(probe);
    (0..workers).map(|_| socket(bound, true)).collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        // `[::]` beside `0.0.0.0` are two addresses, as the configuration names them.
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    // Accepted connections inherit it: an answer never waits for the acknowledgement of the previous one.
    sockopt::set_tcp_nodelay(&fd, true)?;
    if shared {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    rustix::net::bind(&fd, &address)?;
    if shared {
        rustix::net::listen(&fd, BACKLOG)?;
    } else {
        // Only a listen finds out that somebody listens without SO_REUSEPORT or with it under another user.
        rustix::net::listen(&fd, 1)?;
    }
    Ok(StdListener::from(fd))
}

/// A connection as the kernel gave it.
pub struct Accepted(TcpStream);

/// The listener of one core.
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Takes a listening socket into this core's runtime.
    pub fn new(listener: StdListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener { listener: TcpListener::from_std(listener)? })
    }

    /// The next connection. Never drop this future while it waits: the connection would leak.
    pub async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        self.listener.accept().await.map(|(tcp, peer)| (Accepted(tcp), peer))
    }

    /// A handle that ends the accept in flight and every later one with an error.
    pub fn stop(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(borrow(&self.listener), Shutdown::Both)?)
    }
}

/// One connection.
pub enum Stream {
    /// HTTP in the clear.
    Plain(Plain),
    /// HTTP under TLS.
    Tls(Box<TlsStream>),
}

/// A connection in the clear.
pub struct Plain {
    tcp: TcpStream,
    open: Rc<Cell<Option<RawFd>>>,
    received: u64,
    answer: Progress,
}

/// How far an answer has come.
#[derive(Clone, Copy, Default, Debug)]
pub struct Progress {
    is_awaited: bool,
    /// When its first byte was given to the kernel.
    pub first_byte: Option<Instant>,
    /// Bytes of it, head included and before encryption, that the kernel took.
    pub bytes: u64,
}

impl Plain {
    /// Wraps an accepted connection.
    fn new(tcp: TcpStream) -> Plain {
        let open = Rc::new(Cell::new(Some(tcp.as_raw_fd())));
        Plain { tcp, open, received: 0, answer: Progress::default() }
    }

    pub(super) async fn read<T: IoBufMut>(&mut self, buf: T) -> (io::Result<usize>, T) {
        let (result, buf) = self.tcp.read(buf).await;
        counters::received(*result.as_ref().unwrap_or(&0));
        (result, buf)
    }

    pub(super) async fn write_all<T: IoBuf>(&mut self, buf: T) -> (io::Result<()>, T) {
        if std::mem::take(&mut self.answer.is_awaited) {
            self.answer.first_byte = Some(Instant::now());
        }
        let (result, buf) = self.tcp.write_all(buf).await;
        counters::sent(*result.as_ref().unwrap_or(&0));
        (result.map(|_| ()), buf)
    }
}

impl Plain {
    /// Gives the kernel what it takes of `bytes` at once and returns how much that was; 0: it takes nothing now.
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => {
                counters::sent(count);
                Ok(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.open.set(None);
    }
}

impl Stream {
    /// Starts the server's side of a connection; with a TLS configuration the handshake happens with the first
    /// read.
    pub fn accept(tcp: Accepted, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Stream> {
        let plain = Plain::new(tcp.0);
        match tls {
            None => Ok(Stream::Plain(plain)),
            Some(config) => Ok(Stream::Tls(Box::new(TlsStream::accept(plain, config)?))),
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// The TLS version as a number (1.2, 1.3), for the condition key `s3:TlsVersion`.
    pub fn tls_version(&self) -> Option<f64> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.version(),
        }
    }

    /// A handle that can end the connection from another task of this core.
    pub fn hangup(&self) -> Hangup {
        Hangup { open: self.plain().open.clone() }
    }

    /// Reads what is there into the spare room of `buf` (which must have some) and returns how much; 0 at the end.
    pub async fn read(&mut self, buf: BytesMut) -> (io::Result<usize>, BytesMut) {
        debug_assert!(buf.capacity() > buf.len());
        let filled = buf.len();
        let (result, buf) = match self {
            Stream::Plain(plain) => {
                let end = buf.capacity();
                let (result, window) = plain.read(buf.slice_mut(filled..end)).await;
                (result, window.into_inner())
            }
            Stream::Tls(tls) => tls.read_bytes(buf).await,
        };
        self.plain_mut().received += *result.as_ref().unwrap_or(&0) as u64;
        (result, buf)
    }

    /// Appends at most `count` bytes to `buf` and returns how many; 0 at the end of the stream.
    pub async fn read_aligned(&mut self, buf: AlignedBuf, count: usize) -> (io::Result<usize>, AlignedBuf) {
        let start = buf.len();
        let end = start + count.min(buf.room());
        let (result, buf) = match self {
            Stream::Plain(plain) => {
                let (result, window) = plain.read(buf.window(start, end)).await;
                let got = *result.as_ref().unwrap_or(&0);
                (result, window.into_filled(got))
            }
            Stream::Tls(tls) => tls.read_aligned(buf, end - start).await,
        };
        self.plain_mut().received += *result.as_ref().unwrap_or(&0) as u64;
        (result, buf)
    }

    /// Bytes read so far, after decryption.
    pub fn received(&self) -> u64 {
        self.plain().received
    }

    /// What is written from here on is a new answer.
    pub fn begin_answer(&mut self) {
        self.plain_mut().answer = Progress { is_awaited: true, ..Progress::default() };
    }

    /// How far the answer has come.
    pub fn answer(&self) -> Progress {
        self.plain().answer
    }

    /// The address at this end of the connection.
    pub fn local_address(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(self.plain()).ok()?.try_into().ok()
    }

    fn plain(&self) -> &Plain {
        match self {
            Stream::Plain(plain) => plain,
            Stream::Tls(tls) => tls.plain(),
        }
    }

    fn plain_mut(&mut self) -> &mut Plain {
        match self {
            Stream::Plain(plain) => plain,
            Stream::Tls(tls) => tls.plain_mut(),
        }
    }

    /// Writes all of `bytes`.
    pub async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let count = bytes.len();
        let written = match self {
            Stream::Plain(plain) => plain.write_all(bytes).await.0,
            Stream::Tls(tls) => tls.write(&bytes).await,
        };
        self.took(&written, count);
        written
    }

    /// Writes an answer, or its beginning, and gives its buffer back.
    pub async fn write_answer(&mut self, buf: BytesMut) -> (io::Result<()>, BytesMut) {
        match self {
            Stream::Plain(plain) => plain.write_all(buf).await,
            Stream::Tls(tls) => (tls.write(&buf).await, buf),
        }
    }

    /// Writes the content of `buf` from `start` on and gives the buffer back.
    pub async fn write_aligned(&mut self, buf: AlignedBuf, start: usize) -> (io::Result<()>, AlignedBuf) {
        let count = buf.len() - start;
        let (written, buf) = match self {
            Stream::Plain(plain) => {
                let end = buf.len();
                let (result, window) = plain.write_all(buf.window(start, end)).await;
                (result, window.into_inner())
            }
            Stream::Tls(tls) => {
                let result = tls.write(&buf[start..]).await;
                (result, buf)
            }
        };
        self.took(&written, count);
        (written, buf)
    }

    /// Waits until the peer takes more, or is gone.
    pub async fn writable(&self) -> io::Result<()> {
        self.plain().tcp.writable(false).await
    }

    /// Writes as much of `bytes` as the peer takes without being waited for, and returns how much that was. With TLS up to
    /// a record may stay behind, which [`Stream::flush`] brings after it.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Stream::Plain(plain) => plain.send_now(bytes),
            Stream::Tls(tls) => tls.write_now(bytes),
        }?;
        self.plain_mut().answer.bytes += written as u64;
        Ok(written)
    }

    /// Waits until all that was written is with the kernel.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => tls.flush().await,
        }
    }

    fn took(&mut self, written: &io::Result<()>, count: usize) {
        if written.is_ok() {
            self.plain_mut().answer.bytes += count as u64;
        }
    }

    /// Says that nothing more will be sent: TLS close_notify and the end of the TCP stream.
    pub async fn finish(&mut self) {
        if let Stream::Tls(tls) = self {
            tls.close_notify().await;
        }
        self.hangup().end_of_answers();
    }
}

/// Ends a connection from another task of the core; does nothing once the connection is gone.
#[derive(Clone)]
pub struct Hangup {
    open: Rc<Cell<Option<RawFd>>>,
}

impl Hangup {
    /// Both directions end: a read in flight returns 0 or an error.
    pub fn now(&self) {
        self.shutdown(Shutdown::Both);
    }

    /// No more requests are read; what runs is still answered.
    pub fn end_of_requests(&self) {
        self.shutdown(Shutdown::Read);
    }

    fn end_of_answers(&self) {
        self.shutdown(Shutdown::Write);
    }

    fn shutdown(&self, how: Shutdown) {
        if let Some(fd) = self.open.get() {
            // SAFETY: `Plain` clears the cell before it drops the socket, on this same thread, so a descriptor in
            // the cell is open.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            // ENOTCONN: the peer was faster.
            let _ = rustix::net::shutdown(fd, how);
        }
    }
}

fn borrow(socket: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: the socket is open as long as the reference that the result borrows.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(&self.tcp)
    }
}

/// Connections that may wait to be accepted, per worker (the kernel caps it at net.core.somaxconn).
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_refused_and_port_0_is_one_port() {
        let listeners = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        assert_eq!(listen(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
