//! An answer: a head under construction and a body.

use std::os::fd::OwnedFd;

use bytes::{Bytes, BytesMut};

use super::context::{Ctx, RequestId};
use super::error::{Code, S3Error, Subject};
use super::payload::slow_down;
use crate::codec::dates::Timestamp;
use crate::http::response::ResponseHead;
use crate::limits::JOINED_BYTES_MAX;
use crate::runtime::{Pool, Share};
use crate::storage::object::Content;

/// The answer to one request. What depends on the connection (Content-Length, Connection) is added when it is sent.
pub struct Reply {
    status: u16,
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
    /// More of them than a connection may hold by itself, with their share of the core's memory.
    Large(Bytes, Share),
    /// A range of a file.
    File(FileRange),
}

/// A range of an open file.
pub struct FileRange {
    /// The file.
    pub file: OwnedFd,
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
        let mut head = BytesMut::with_capacity(HEAD_BYTES);
        ResponseHead::new(&mut head, status)
            .date(&now.http())
            .header("x-amz-request-id", &request_id.0)
            .header("x-amz-id-2", &request_id.0);
        Reply { status, head, body: Body::Empty }
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

    /// Adds a header.
    pub fn header(&mut self, name: &'static str, value: &[u8]) -> &mut Reply {
        self.resume().header(name, value);
        self
    }

    /// Adds a header with a number.
    pub fn decimal(&mut self, name: &'static str, value: u64) -> &mut Reply {
        self.resume().header_decimal(name, value);
        self
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
        let length = match &self.body {
            Body::Empty => 0,
            Body::Omitted(length) => *length,
            Body::Bytes(bytes) | Body::Large(bytes, _) => bytes.len() as u64,
            Body::File(range) => range.length,
        };
        let mut head = ResponseHead::resume(&mut self.head, self.status);
        // A 304 has no body, and its Content-Length would be the object's.
        if self.status != 304 {
            head.content_length(length);
        }
        if !keep_alive {
            head.connection_close();
        } else if http10 {
            head.connection_keep_alive();
        }
        head.finish();
        (self.head, self.body)
    }
}

/// A typical head with room to grow: one allocation for each answer.
const HEAD_BYTES: usize = 1024;
