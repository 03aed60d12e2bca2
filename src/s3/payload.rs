//! The body of one request: read from the socket, freed of its framings, never stored anywhere on the way.
//!
//! A plain body is read straight into the aligned buffers it is written to disk from. A chunked body, `aws-chunked`
//! body, or one inside the other is decoded from a side buffer. Whether a body is `aws-chunked` is decided by
//! `x-amz-content-sha256` alone, never by Content-Encoding.
//!
//! The body of a form becomes the form's file once its fields are read ([`Payload::enter_file`]).
//!
//! `100 Continue` is sent at the first read, so that it follows authentication, authorization and preconditions. An empty
//! body gets it too: RFC 9110 lets a server leave it out there, but botocore (until 1.43) takes the status of an answer
//! that no `100 Continue` preceded for that of the connection's next answer as well. For its sake a connection ends with
//! such an answer.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::error::{Code, S3Error};
use super::post_object::file::FormFile;
use crate::http::body::BodyDecoder;
use crate::http::head::{Framing, Head};
use crate::http::response::CONTINUE;
use crate::limits;
use crate::runtime::{AlignedBuf, Phase, Pool, Share, Stream, Watch};
use crate::sigv4::{self, Seed, Trailer};

/// What is left of a request's body.
pub struct Payload<'c> {
    stream: &'c mut Stream,
    watch: &'c Watch,
    /// Bytes that came with the head; after the body, what belongs to the next request.
    ahead: &'c mut BytesMut,
    outer: BodyDecoder,
    /// On the heap, because every request moves its payload and few are in chunks.
    chunks: Option<Box<sigv4::Decoder>>,
    length: Option<u64>,
    /// The peer waits to be told, as far as one can know: nothing of its body came yet.
    continue_wanted: bool,
    stall: Duration,
    side: Side,
    file: Option<Box<FormFile>>,
    /// While nobody knows who sends this.
    unverified: Option<Share>,
    /// Of what was read as a whole.
    document: Option<Share>,
}

/// Where a framed body is decoded: `raw` holds bytes as they came, `framed` is what the outer framing gave of them and
/// `content` what the inner framing gave of that.
#[derive(Default)]
struct Side {
    raw: BytesMut,
    next: usize,
    framed: Range<usize>,
    content: Range<usize>,
}

impl<'c> Payload<'c> {
    /// The body that follows `head`.
    pub fn new(
        head: &Head,
        stream: &'c mut Stream,
        watch: &'c Watch,
        ahead: &'c mut BytesMut,
        stall: Duration,
    ) -> Payload<'c> {
        let framing = head.framing();
        let length = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        Payload {
            stream,
            watch,
            ahead,
            outer: BodyDecoder::new(framing),
            chunks: None,
            length,
            continue_wanted: head.expect_continue(),
            stall,
            side: Side::default(),
            file: None,
            unverified: None,
            document: None,
        }
    }

    /// Says how the body is protected, once the head is verified.
    pub fn unwrap_chunks(
        &mut self,
        head: &Head,
        payload: &sigv4::Payload,
        seed: Option<Box<Seed>>,
    ) -> Result<(), S3Error> {
        self.chunks = sigv4::Decoder::new(head, payload, seed.map(|seed| *seed))?.map(Box::new);
        if let Some(chunks) = &self.chunks {
            self.length = Some(chunks.decoded_length());
        }
        Ok(())
    }

    /// What is read until [`Payload::verified`] comes from somebody who is not known. It has a bound of its own on the
    /// memory, and all of it must come within the time that others may stand still.
    pub fn begin_unverified(&mut self) -> Result<(), S3Error> {
        let share = Share::take(Pool::Unverified, limits::UNVERIFIED_BYTES_MAX).map_err(|_| slow_down())?;
        self.unverified = Some(share);
        self.watch.allow(Phase::Peer, self.stall);
        Ok(())
    }

    /// From here on the sender is known.
    pub fn verified(&mut self) {
        if self.unverified.take().is_some() {
            self.watch.working();
        }
    }

    /// Bytes of content, if the request says how many.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The trailers of the body, once it is read.
    pub fn trailers(&self) -> &[Trailer] {
        self.chunks.as_ref().map_or(&[], |chunks| chunks.trailers())
    }

    /// From here on the content is the file of a form. How long it is nobody has said: that is known only if all of it
    /// has come.
    pub fn enter_file(&mut self, file: FormFile) {
        self.length = file.length();
        self.file = Some(Box::new(file));
    }

    /// The file of the form must have a size in this range, or reading it fails.
    pub fn limit_file(&mut self, sizes: RangeInclusive<u64>) {
        if let Some(file) = &mut self.file {
            file.limit(sizes);
        }
    }

    /// Fills `buf` up; true at the end of the body.
    pub async fn fill(&mut self, buf: AlignedBuf) -> Result<(AlignedBuf, bool), S3Error> {
        match self.file.take() {
            None => self.fill_body(buf).await,
            Some(file) => self.fill_from_file(file, buf).await,
        }
    }

    /// As [`Payload::fill`], from the file of a form. The next call goes on, unless this one failed.
    async fn fill_from_file(
        &mut self,
        mut file: Box<FormFile>,
        mut buf: AlignedBuf,
    ) -> Result<(AlignedBuf, bool), S3Error> {
        loop {
            file.give(&mut buf)?;
            let done = file.is_done();
            if done || buf.room() == 0 {
                self.file = Some(file);
                return Ok((buf, done));
            }
            let larger = match file.is_small() {
                true => Some(AlignedBuf::take().map_err(|_| slow_down())?),
                false => None,
            };
            file.make_room(larger);
            let (input, whole) = self.fill_body(file.input).await?;
            file.input = input;
            file.look(whole)?;
        }
    }

    async fn fill_body(&mut self, buf: AlignedBuf) -> Result<(AlignedBuf, bool), S3Error> {
        self.wait_for_peer();
        let filled = match (&self.outer, &self.chunks) {
            (BodyDecoder::Length(_), None) => self.fill_plain(buf).await,
            _ => self.fill_decoded(buf).await,
        };
        if self.unverified.is_none() {
            self.watch.working();
        }
        filled
    }

    /// Reads a body of at most `bytes_max` bytes, for what is parsed as a whole.
    pub async fn read_all(&mut self, bytes_max: usize) -> Result<Vec<u8>, S3Error> {
        let too_large = || {
            Code::EntityTooLarge
                .because(format!("The body of this request must not exceed {bytes_max} bytes."))
        };
        if self.length.is_some_and(|length| length > bytes_max as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        // Who is not known gets a small buffer only, whatever was announced.
        let announced = if self.unverified.is_some() { 0 } else { self.length.unwrap_or(0) };
        let mut buf = AlignedBuf::take_for(announced).map_err(|_| slow_down())?;
        loop {
            buf.clear();
            let (back, done) = self.fill(buf).await?;
            buf = back;
            let length = body.len() + buf.len();
            if length > bytes_max {
                return Err(too_large());
            }
            if length > body.capacity() {
                // As a vector grows, by what has come and not by what was announced.
                let capacity = (2 * body.capacity()).clamp(length, bytes_max);
                self.count_document(capacity)?;
                body.reserve_exact(capacity - body.len());
            }
            body.extend_from_slice(&buf);
            if done {
                return Ok(body);
            }
        }
    }

    /// Counts a body of so many bytes as memory of the core, until the request is answered.
    fn count_document(&mut self, bytes: usize) -> Result<(), S3Error> {
        match (&self.unverified, &mut self.document) {
            // Counted already, with the most it can be.
            (Some(_), _) => Ok(()),
            (None, Some(share)) => share.grow_to(bytes).map_err(|_| slow_down()),
            (None, none) => {
                *none = Some(Share::take(Pool::Documents, bytes).map_err(|_| slow_down())?);
                Ok(())
            }
        }
    }

    /// Gives the body up. What is left of it has to be skipped before the next request can be read.
    pub fn abandon(self) -> Rest {
        let Payload { ahead, outer, side, continue_wanted, .. } = self;
        let Side { mut raw, next, .. } = side;
        if next < raw.len() {
            let mut unread = raw.split_off(next);
            unread.unsplit(ahead.split());
            *ahead = unread;
        }
        Rest { outer, never_sent: continue_wanted }
    }

    async fn fill_plain(&mut self, mut buf: AlignedBuf) -> Result<(AlignedBuf, bool), S3Error> {
        loop {
            let BodyDecoder::Length(left) = &mut self.outer else { unreachable!("`fill` looked") };
            if *left == 0 {
                self.send_continue().await?;
                return Ok((buf, true));
            }
            if buf.room() == 0 {
                return Ok((buf, false));
            }
            let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.room());
            if !self.ahead.is_empty() {
                let taken = self.ahead.len().min(wanted);
                buf.append(&self.ahead[..taken]);
                bytes::Buf::advance(self.ahead, taken);
                *left -= taken as u64;
                self.continue_wanted = false;
                continue;
            }
            self.send_continue().await?;
            let (read, back) = self.stream.read_aligned(buf, wanted).await;
            buf = back;
            let got = self.received(read)?;
            let BodyDecoder::Length(left) = &mut self.outer else { unreachable!("`fill` looked") };
            *left -= got as u64;
        }
    }

    async fn fill_decoded(&mut self, mut buf: AlignedBuf) -> Result<(AlignedBuf, bool), S3Error> {
        loop {
            // Content that is decoded already.
            let side = &mut self.side;
            let taken = buf.append(&side.raw[side.content.clone()]);
            side.content.start += taken;
            if !side.content.is_empty() {
                return Ok((buf, false));
            }
            // The inner framing.
            if !side.framed.is_empty() {
                match &mut self.chunks {
                    None => side.content = std::mem::take(&mut side.framed),
                    Some(chunks) => {
                        let step = chunks.step(&side.raw[side.framed.clone()])?;
                        let start = side.framed.start;
                        side.content = start + step.data.start..start + step.data.end;
                        side.framed.start += step.consumed;
                    }
                }
                continue;
            }
            if self.outer.is_done() {
                if let Some(chunks) = &self.chunks {
                    chunks.finish()?;
                }
                // What came after the body belongs to the next request.
                let rest = side.raw.split_off(side.next);
                if !rest.is_empty() {
                    *self.ahead = rest;
                }
                side.next = side.raw.len();
                return Ok((buf, true));
            }
            // The outer framing.
            if side.next < side.raw.len() {
                let step = self.outer.step(&side.raw[side.next..]).map_err(S3Error::from)?;
                side.framed = side.next + step.data.start..side.next + step.data.end;
                side.next += step.consumed;
                continue;
            }
            self.receive().await?;
        }
    }

    /// More bytes into the side buffer, whose content is used up.
    async fn receive(&mut self) -> Result<(), S3Error> {
        let side = &mut self.side;
        side.next = 0;
        // Empty by now, but at positions that the next bytes may not reach.
        (side.framed, side.content) = (0..0, 0..0);
        if !self.ahead.is_empty() {
            side.raw = self.ahead.split();
            self.continue_wanted = false;
            return Ok(());
        }
        self.send_continue().await?;
        let mut raw = std::mem::take(&mut self.side.raw);
        raw.clear();
        // A short body needs no large buffer: its framing is at most about as long as itself.
        let wanted = self.length.map_or(limits::DECODE_BUFFER_BYTES, |length| {
            usize::try_from(length)
                .unwrap_or(usize::MAX)
                .saturating_add(1024)
                .min(limits::DECODE_BUFFER_BYTES)
        });
        let wanted = match self.unverified {
            Some(_) => wanted.min(limits::BUFFERED_BYTES_MAX),
            None => wanted,
        };
        raw.reserve(wanted);
        let (read, raw) = self.stream.read(raw).await;
        self.side.raw = raw;
        self.received(read)?;
        Ok(())
    }

    fn received(&self, read: std::io::Result<usize>) -> Result<usize, S3Error> {
        match read {
            Ok(got) if got > 0 => {
                self.wait_for_peer();
                Ok(got)
            }
            _ if self.watch.expired() => Err(Code::RequestTimeout.into()),
            _ => Err(Code::IncompleteBody.into()),
        }
    }

    /// The peer may stand still again for as long; somebody who is not known, only once.
    fn wait_for_peer(&self) {
        if self.unverified.is_none() {
            self.watch.allow(Phase::Peer, self.stall);
        }
    }

    async fn send_continue(&mut self) -> Result<(), S3Error> {
        if self.continue_wanted {
            self.continue_wanted = false;
            let sent = self.stream.write(Bytes::from_static(CONTINUE)).await;
            sent.map_err(|_| S3Error::from(Code::IncompleteBody))?;
        }
        Ok(())
    }
}

/// What nobody read of a body.
pub struct Rest {
    outer: BodyDecoder,
    never_sent: bool,
}

impl Rest {
    /// The state of the body is not known any more (its handler panicked): the connection cannot go on.
    pub fn unknown() -> Rest {
        Rest { outer: BodyDecoder::Length(u64::MAX), never_sent: true }
    }

    /// Whether the connection can go on: the rest is short, and it will come. A peer that was not told to continue may
    /// never send it.
    pub fn is_skippable(&self, bytes_max: u64) -> bool {
        !self.never_sent && (self.outer.is_done() || self.outer.remaining_min() <= bytes_max)
    }

    /// Reads the rest, at most `bytes_max` bytes of it; true when the next request may be read.
    pub async fn skip(mut self, stream: &mut Stream, ahead: &mut BytesMut, bytes_max: u64) -> bool {
        let mut skipped = 0;
        while !self.outer.is_done() && skipped <= bytes_max {
            if ahead.is_empty() {
                let mut buf = std::mem::take(ahead);
                buf.reserve(limits::READ_BUFFER_BYTES_MIN);
                let (read, buf) = stream.read(buf).await;
                *ahead = buf;
                if matches!(read, Ok(0) | Err(_)) {
                    return false;
                }
            }
            let Ok(step) = self.outer.step(ahead) else { return false };
            bytes::Buf::advance(ahead, step.consumed);
            skipped += step.consumed as u64;
        }
        self.outer.is_done()
    }
}

/// The core's transfer buffers are all in use.
pub fn slow_down() -> S3Error {
    Code::SlowDown.because("The server is moving as much data as its memory allows. Try again later.")
}
