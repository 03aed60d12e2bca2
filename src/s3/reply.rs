//! An answer: a head under construction and a body.

use std::cell::{Cell, OnceCell};
use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};

use super::context::{Ctx, RequestId};
use super::error::{Code, S3Error, Subject};
use super::payload::slow_down;
use crate::codec::dates::Timestamp;
use crate::http::response::ResponseHead;
use crate::limits::JOINED_BYTES_MAX;
use crate::runtime::{Pool, Share, buffer};
use crate::storage::content::Content;
use crate::storage::object::FileId;

/// The answer to one request. What depends on the connection (Content-Length, Connection) is added when it is sent.
pub struct Reply {
    status: u16,
    code: Option<&'static str>,
    head: BytesMut,
    /// What follows the head.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// No body: Content-Length is 0.
    Empty,
    /// The answer to a HEAD: the length a GET would have.
    Omitted(u64),
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that stand behind the head already, which is complete but for what depends on the connection.
    Joined {
        /// Where the head ends, with its empty line.
        head_bytes: usize,
    },
    /// More of them than a connection may hold by itself, with their share of the core's memory.
    Large(Bytes, Share),
    /// A range of a file.
    File(FileRange),
}

/// A range of an open file.
pub struct FileRange {
    /// The file.
    pub file: OwnedFd,
    /// Which file it is, and in which state.
    pub file_id: FileId,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// What the head says of the file: no other content may follow it.
    pub content: Content,
}

impl Reply {
    /// Begins an answer.
    pub fn new(ctx: &Ctx<'_>, status: u16) -> Reply {
        Reply::begin(status, ctx.now, ctx.request_id)
    }

    /// As [`Reply::new`], before there is a context.
    pub fn begin(status: u16, now: Timestamp, request_id: RequestId) -> Reply {
        let mut head = buffer::take_answer();
        let _ = ResponseHead::new(&mut head, status);
        head.extend_from_slice(&common_lines(now, request_id));
        Reply { status, code: None, head, body: Body::Empty }
    }

    /// An error: its XML unless it has none or answers a HEAD.
    pub fn error(
        error: &S3Error,
        subject: &Subject<'_>,
        is_head: bool,
        now: Timestamp,
        request_id: RequestId,
    ) -> Reply {
        let mut reply = Reply::begin(error.status(), now, request_id);
        reply.code = Some(error.code().name());
        if let Some(allow) = error.allow() {
            reply.header("Allow", allow.as_bytes());
        }
        for (name, value) in error.headers() {
            reply.header(name, value.as_bytes());
        }
        if error.code() == Code::NoSuchKey && error.headers().next().is_none() {
            // AWS leaves it out; clients of Ceph look for it.
            reply.header("x-amz-delete-marker", b"false");
        }
        if let Some(seconds) = error.code().retry_after_seconds() {
            reply.decimal("Retry-After", seconds.into());
        }
        if let Some(region) = error.extra("Region") {
            reply.header("x-amz-bucket-region", region.as_bytes());
        }
        if let Some(size) = error.extra("ActualObjectSize").and_then(|size| size.parse().ok()) {
            reply.resume().content_range_unsatisfied(size);
        }
        if !is_head && error.code().has_body() {
            let mut xml = Vec::with_capacity(512);
            error.write_xml(&mut xml, subject, request_id.as_str(), request_id.as_str());
            reply.xml(xml);
        }
        reply
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The code, if it is an error.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// Says that it is an error with this code.
    pub fn set_code(&mut self, code: &'static str) {
        self.code = Some(code);
    }

    /// The head as far as it is written: without Connection, and without Content-Length unless the body stands behind it.
    pub fn head(&self) -> &[u8] {
        match self.body {
            Body::Joined { head_bytes } => &self.head[..head_bytes],
            _ => &self.head,
        }
    }

    /// Bytes of the body that will be sent.
    pub fn body_bytes(&self) -> u64 {
        match &self.body {
            Body::Empty | Body::Omitted(_) => 0,
            Body::Bytes(bytes) | Body::Large(bytes, _) => bytes.len() as u64,
            Body::File(range) => range.length,
            Body::Joined { head_bytes } => (self.head.len() - head_bytes) as u64,
        }
    }

    /// What Content-Length will say. A 304 has no body, and its Content-Length would be the object's.
    pub fn content_length(&self) -> Option<u64> {
        match (&self.body, self.status) {
            (_, 304) => None,
            (Body::Omitted(length), _) => Some(*length),
            _ => Some(self.body_bytes()),
        }
    }

    /// Adds a header.
    pub fn header(&mut self, name: &'static str, value: &[u8]) -> &mut Reply {
        debug_assert!(!matches!(self.body, Body::Joined { .. }), "nothing is added behind the body");
        self.resume().header(name, value);
        self
    }

    /// Adds a header with a number.
    pub fn decimal(&mut self, name: &'static str, value: u64) -> &mut Reply {
        self.resume().header_decimal(name, value);
        self
    }

    /// Adds what `write` adds, which is the same each time, and remembers it in `lines`.
    pub fn remembered(&mut self, lines: &OnceCell<Box<[u8]>>, write: impl FnOnce(&mut Reply)) {
        match lines.get() {
            Some(lines) => self.head.extend_from_slice(lines),
            None => {
                let start = self.head.len();
                write(self);
                let _ = lines.set(self.head[start..].into());
            }
        }
    }

    /// The head, for what [`ResponseHead`] knows better.
    pub fn resume(&mut self) -> ResponseHead<'_> {
        ResponseHead::resume(&mut self.head, self.status)
    }

    /// The answer is this XML document.
    pub fn xml(&mut self, document: Vec<u8>) -> &mut Reply {
        self.header("Content-Type", b"application/xml");
        self.bytes(document)
    }

    /// The answer is this JSON document.
    pub fn json(&mut self, document: Vec<u8>) -> &mut Reply {
        self.header("Content-Type", b"application/json");
        self.bytes(document)
    }

    fn bytes(&mut self, document: Vec<u8>) -> &mut Reply {
        self.body = Body::Bytes(document.into());
        self
    }

    /// Ends the head and puts the body behind it, which `read` reads: it appends up to `length` bytes. False: it had
    /// fewer, and the answer is what it was before. Nothing can be added to the head afterwards.
    pub fn join(&mut self, length: usize, read: impl FnOnce(&mut BytesMut) -> usize) -> bool {
        let before = self.head.len();
        let mut head = ResponseHead::resume(&mut self.head, self.status);
        head.content_length(length as u64);
        head.finish();
        let head_bytes = self.head.len();
        if read(&mut self.head) != length {
            self.head.truncate(before);
            return false;
        }
        self.body = Body::Joined { head_bytes };
        true
    }

    /// What [`Reply::join`] has put behind the head.
    pub fn joined(&self) -> &[u8] {
        match self.body {
            Body::Joined { head_bytes } => &self.head[head_bytes..],
            _ => &[],
        }
    }

    /// Counts an answer that may take long to send as memory of the core.
    ///
    /// # Errors
    /// 503 SlowDown: so much of it is being sent already.
    pub fn hold(&mut self) -> Result<(), S3Error> {
        match &mut self.body {
            Body::Bytes(bytes) if bytes.len() > JOINED_BYTES_MAX => {
                let share = Share::take(Pool::Answers, bytes.len()).map_err(|_| slow_down())?;
                // Not with the room that it was written in, which nobody counts: it may stay for long.
                self.body = Body::Large(Bytes::copy_from_slice(bytes), share);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the head; the connection is closed afterwards unless `keep_alive`.
    pub fn finish(mut self, keep_alive: bool, http10: bool) -> (BytesMut, Body) {
        if let Body::Joined { head_bytes } = self.body {
            if keep_alive && !http10 {
                return (self.head, self.body);
            }
            // What is to be said comes before the empty line; the body moves.
            let body = self.head.split_off(head_bytes);
            self.head.truncate(head_bytes - b"\r\n".len());
            let mut head = ResponseHead::resume(&mut self.head, self.status);
            head.connection(keep_alive);
            head.finish();
            let head_bytes = self.head.len();
            self.head.unsplit(body);
            return (self.head, Body::Joined { head_bytes });
        }
        let length = self.content_length();
        let mut head = ResponseHead::resume(&mut self.head, self.status);
        if let Some(length) = length {
            head.content_length(length);
        }
        if !keep_alive || http10 {
            head.connection(keep_alive);
        }
        head.finish();
        (self.head, self.body)
    }
}

/// The lines that every answer has, put together at once.
fn common_lines(now: Timestamp, request_id: RequestId) -> [u8; COMMON_LINES.len()] {
    let (second, mut lines) = LINES.get();
    if second != now.seconds {
        lines[DATE_AT..][..29].copy_from_slice(&now.http());
        LINES.set((now.seconds, lines));
    }
    lines[REQUEST_ID_AT..][..16].copy_from_slice(&request_id.0);
    lines[ID_2_AT..][..16].copy_from_slice(&request_id.0);
    lines
}

thread_local! {
    /// The second that was shown last, and how.
    static LINES: Cell<(i64, [u8; COMMON_LINES.len()])> = const { Cell::new((0, *COMMON_LINES)) };
}

const COMMON_LINES: &[u8; 103] = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    x-amz-request-id: 0000000000000000\r\n\
    x-amz-id-2: 0000000000000000\r\n";
const DATE_AT: usize = b"Date: ".len();
const REQUEST_ID_AT: usize = DATE_AT + 29 + b"\r\nx-amz-request-id: ".len();
const ID_2_AT: usize = REQUEST_ID_AT + 16 + b"\r\nx-amz-id-2: ".len();
