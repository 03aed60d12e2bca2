//! TLS on a connection: rustls driven by hand over the core's own reads and writes.
//!
//! No adapter crate: ciphertext is read into one buffer of this connection, plaintext goes straight into the
//! caller's buffer, and what rustls wants to send is written before the next wait.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::BytesMut;
use monoio::buf::{IoBuf, IoBufMut};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};

use super::buffer::AlignedBuf;
use super::socket::Plain;

/// A TLS connection, server side.
pub struct TlsStream {
    plain: Plain,
    session: ServerConnection,
    /// Ciphertext as it came, of which `received` bytes are content and `taken` of those are with rustls.
    incoming: Vec<u8>,
    received: usize,
    taken: usize,
    /// What the next read asks for: little while little comes, so that an idle connection holds little.
    asked: usize,
    /// Ciphertext to be sent, of which the last `unsent` bytes are not with the kernel yet.
    outgoing: Vec<u8>,
    unsent: usize,
}

impl TlsStream {
    /// Starts a session; the handshake happens with the first read.
    pub(super) fn accept(plain: Plain, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(PLAINTEXT_BYTES_MAX + RECORD_OVERHEAD_MAX));
        let (incoming, outgoing, asked) = (Vec::new(), Vec::new(), INCOMING_BYTES_MIN);
        Ok(TlsStream { plain, session, incoming, received: 0, taken: 0, asked, outgoing, unsent: 0 })
    }

    pub(super) fn plain(&self) -> &Plain {
        &self.plain
    }

    pub(super) fn plain_mut(&mut self) -> &mut Plain {
        &mut self.plain
    }

    pub(super) fn version(&self) -> Option<f64> {
        match self.session.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some(1.2),
            ProtocolVersion::TLSv1_3 => Some(1.3),
            _ => None,
        }
    }

    pub(super) async fn read_bytes(&mut self, mut buf: BytesMut) -> (io::Result<usize>, BytesMut) {
        let start = buf.len();
        let end = buf.capacity().min(start + INCOMING_BYTES_MAX);
        buf.resize(end, 0);
        let result = loop {
            match self.session.reader().read(&mut buf[start..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => break done,
            }
            if let Err(error) = self.receive().await {
                break Err(error);
            }
        };
        buf.truncate(start + *result.as_ref().unwrap_or(&0));
        (result, buf)
    }

    pub(super) async fn read_aligned(
        &mut self,
        mut buf: AlignedBuf,
        count: usize,
    ) -> (io::Result<usize>, AlignedBuf) {
        loop {
            match buf.append_with(count, |to| self.session.reader().read(to)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return (done, buf),
            }
            if let Err(error) = self.receive().await {
                return (Err(error), buf);
            }
        }
    }

    /// Brings more ciphertext to rustls, and sends what rustls answers (handshake, alerts, key updates).
    async fn receive(&mut self) -> io::Result<()> {
        if self.taken == self.received {
            self.flush().await?;
            let mut incoming = std::mem::take(&mut self.incoming);
            incoming.clear();
            // Whatever is larger was for what has been read and sent: the peer may take its time now.
            if incoming.capacity() > self.asked {
                incoming = Vec::new();
            }
            if self.outgoing.capacity() > INCOMING_BYTES_MIN {
                self.outgoing = Vec::new();
            }
            incoming.reserve_exact(self.asked);
            let (result, back) = self.plain.read(incoming.slice_mut(0..self.asked)).await;
            self.incoming = back.into_inner();
            (self.received, self.taken) = (result?, 0);
            if self.received == self.asked {
                self.asked = INCOMING_BYTES_MAX;
            } else if self.received <= INCOMING_BYTES_MIN / 2 {
                self.asked = INCOMING_BYTES_MIN;
            }
        }
        // At the end of the stream rustls is told so by a read of 0 bytes, and its reader then returns 0, or an
        // error if there was no close_notify.
        self.taken += self.session.read_tls(&mut &self.incoming[self.taken..self.received])?;
        if let Err(error) = self.session.process_new_packets() {
            // The alert says why; the peer may be gone already.
            let _ = self.flush().await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        self.flush().await
    }

    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(PLAINTEXT_BYTES_MAX)];
            let written = self.session.writer().write(piece)?;
            bytes = &bytes[written..];
            self.flush().await?;
        }
        Ok(())
    }

    pub(super) async fn close_notify(&mut self) {
        self.session.send_close_notify();
        let _ = self.flush().await;
    }

    /// Encrypts as much of `bytes` as the peer takes without being waited for. A record at most stays behind, until the
    /// next call or [`flush`](Self::flush).
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while self.flush_now()? && taken < bytes.len() {
            let record = &bytes[taken..bytes.len().min(taken + RECORD_BYTES_MAX)];
            taken += self.session.writer().write(record)?;
        }
        Ok(taken)
    }

    /// Whether everything is with the kernel.
    fn flush_now(&mut self) -> io::Result<bool> {
        self.encrypt()?;
        while self.unsent > 0 {
            match self.plain.send_now(&self.outgoing[self.outgoing.len() - self.unsent..])? {
                0 => return Ok(false),
                sent => self.unsent -= sent,
            }
        }
        Ok(true)
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.encrypt()?;
        if self.unsent == 0 {
            return Ok(());
        }
        let outgoing = std::mem::take(&mut self.outgoing);
        let end = outgoing.len();
        let start = end - std::mem::take(&mut self.unsent);
        let (result, back) = self.plain.write_all(outgoing.slice(start..end)).await;
        self.outgoing = back.into_inner();
        if self.outgoing.capacity() > 2 * PLAINTEXT_BYTES_MAX {
            self.outgoing = Vec::new();
        }
        result
    }

    /// Adds what rustls wants to send to what is to be sent.
    fn encrypt(&mut self) -> io::Result<()> {
        if self.unsent == 0 {
            self.outgoing.clear();
        }
        while self.session.wants_write() {
            self.unsent += self.session.write_tls(&mut self.outgoing)?;
        }
        Ok(())
    }
}

/// Ciphertext read at once: four full records.
const INCOMING_BYTES_MAX: usize = 4 * (16 * 1024 + 256);
/// The same while little comes: the head of a request.
const INCOMING_BYTES_MIN: usize = 8 * 1024;
/// Plaintext handed to rustls at once, before it is written out.
const PLAINTEXT_BYTES_MAX: usize = 128 * 1024;
/// Plaintext of one record.
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Room for the headers and tags of the records of one piece, and of a handshake flight.
const RECORD_OVERHEAD_MAX: usize = 32 * 1024;
