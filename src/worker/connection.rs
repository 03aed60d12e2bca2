//! The life of a connection: read a head, answer the request, write the answer, go on.
//!
//! Requests of a connection are answered one after the other, which is all that pipelining needs. After an early error
//! the rest of a body is skipped if it is short; otherwise the connection is closed, and never is a body read as a
//! request.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;

use super::send::{self, Sent};
use super::{Core, pipeline};
use crate::counters::{self, Outcome};
use crate::http::head::{Head, HeadError, HeadReader};
use crate::limits;
use crate::runtime::{Accepted, Phase, Stream, Watch, now, turn, watch};
use crate::s3::access::Peer;
use crate::s3::error::{Code, S3Error, Subject};
use crate::s3::journal::Ended;
use crate::s3::reply::Reply;

/// Serves one accepted connection until it ends.
pub async fn serve(core: Rc<Core>, tcp: Accepted, address: IpAddr) {
    let Ok(mut stream) = Stream::accept(tcp, core.tls()) else { return };
    let _connected = counters::connected();
    let watch = Watch::new(stream.hangup());
    let mut reader = HeadReader::default();
    let mut ahead = BytesMut::new();
    loop {
        // It is some hundred bytes, which are written in their place.
        let mut place = None;
        match read_head(&core, &mut stream, &watch, &mut reader, &mut ahead, &mut place).await {
            End::Head => {}
            End::Closed => break,
            End::Bad(error) => {
                answer_and_close(&core, address, &mut stream, &watch, &S3Error::from(error)).await;
                break;
            }
        }
        let Some(head) = &place else { break };
        let peer = Peer { address, tls_version: stream.tls_version() };
        let begun = counters::begun(turn::moment().instant);
        let mut note = core.desk.begin(stream.received() - ahead.len() as u64);
        let noted = note.as_deref_mut();
        let at_once = pipeline::answer_at_once(&core, head, peer, &mut stream, &watch, &mut ahead, noted);
        let (reply, rest, operation) = match at_once {
            Some(answered) => answered,
            // On the heap: a connection that waits for its next request does not hold the room of one.
            None => {
                let noted = note.as_deref_mut();
                Box::pin(pipeline::answer(&core, head, peer, &mut stream, &watch, &mut ahead, noted)).await
            }
        };
        let (mut status, mut code) = (reply.status(), reply.code());
        let keep_alive =
            head.keep_alive() && rest.is_skippable(limits::LINGER_BYTES_MAX) && !watch::draining();
        let http10 = head.is_http10();
        // An answer may take long to send: nothing of the request is held meanwhile.
        if let (Some(note), Some(head)) = (&mut note, place.take()) {
            note.carried_out(head, stream.received() - ahead.len() as u64, &reply);
        }
        let stall = core.shared.limits.stall();
        stream.begin_answer();
        let mut sent = send::send(&core, &mut stream, &watch, stall, reply, keep_alive, http10).await;
        if let Ok(Sent::Nothing(changed)) = sent {
            let error = S3Error::from(changed);
            let reply = Reply::error(&error, &Subject::default(), false, now(), core.request_id());
            (status, code) = (reply.status(), reply.code());
            note.iter_mut().for_each(|note| note.answered_by(&reply));
            sent = send::send(&core, &mut stream, &watch, stall, reply, keep_alive, http10).await;
        }
        let outcome = Outcome { operation, status, code, first_byte: stream.answer().first_byte };
        let took = begun.answered(turn::moment().instant, outcome);
        if let Some(note) = note {
            core.desk.finish(note, peer, outcome, took, Ended { stream: &stream, is_whole: sent.is_ok() });
        }
        if sent.is_err() {
            return;
        }
        watch.allow(Phase::Peer, Duration::from_millis(limits::LINGER_MS_MAX));
        if !keep_alive || !rest.skip(&mut stream, &mut ahead, limits::LINGER_BYTES_MAX).await {
            break;
        }
    }
    linger(&mut stream, &watch).await;
}

/// Answers a connection for which there is no room: 503, whatever it asks.
pub async fn turn_away(core: Rc<Core>, tcp: Accepted, address: IpAddr) {
    let Ok(mut stream) = Stream::accept(tcp, core.tls()) else { return };
    let watch = Watch::new(stream.hangup());
    // With TLS the handshake needs some of the peer's bytes first.
    watch.allow(Phase::Peer, Duration::from_millis(limits::LINGER_MS_MAX));
    let asked = BytesMut::with_capacity(limits::READ_BUFFER_BYTES_MIN);
    if matches!(stream.read(asked).await.0, Ok(count) if count > 0) {
        let error = Code::SlowDown.because("The server has as many connections as it may. Try again later.");
        answer_and_close(&core, address, &mut stream, &watch, &error).await;
    }
    linger(&mut stream, &watch).await;
}

/// How the wait for a request ended.
enum End {
    /// There is one.
    Head,
    /// The peer, or its slowness, ended the connection.
    Closed,
    /// What came is no request.
    Bad(HeadError),
}

async fn read_head(
    core: &Core,
    stream: &mut Stream,
    watch: &Watch,
    reader: &mut HeadReader,
    ahead: &mut BytesMut,
    head: &mut Option<Head>,
) -> End {
    let configured = &core.shared.limits;
    watch.allow(Phase::Idle, configured.idle());
    let mut started = false;
    loop {
        if !ahead.is_empty() {
            match reader.read(ahead) {
                Ok(None) => {}
                Ok(read) => {
                    *head = read;
                    watch.working();
                    return End::Head;
                }
                Err(error) => return End::Bad(error),
            }
            if !started {
                // One limit from the first byte to the last, however slowly they come.
                started = true;
                watch.allow(Phase::Peer, configured.head());
            }
        }
        let mut buf = std::mem::take(ahead);
        if buf.capacity() - buf.len() < limits::READ_BUFFER_BYTES_MIN / 4 {
            buf.reserve(limits::READ_BUFFER_BYTES_MIN);
        }
        let (read, buf) = stream.read(buf).await;
        *ahead = buf;
        if matches!(read, Ok(0) | Err(_)) {
            return End::Closed;
        }
    }
}

/// Sends an error that is the last answer of its connection.
async fn answer_and_close(core: &Core, address: IpAddr, stream: &mut Stream, watch: &Watch, error: &S3Error) {
    let begun = counters::begun(turn::moment().instant);
    let mut note = core.desk.begin(stream.received());
    let (now, request_id) = (now(), core.request_id());
    let reply = Reply::error(error, &Subject::default(), false, now, request_id);
    let (status, code) = (reply.status(), reply.code());
    if let Some(note) = &mut note {
        note.asked(request_id, now, None);
        note.answered_by(&reply);
    }
    stream.begin_answer();
    let sent = send::send(core, stream, watch, core.shared.limits.stall(), reply, false, false).await;
    let first_byte = stream.answer().first_byte;
    let outcome = Outcome { operation: pipeline::UNKNOWN, status, code, first_byte };
    let took = begun.answered(turn::moment().instant, outcome);
    if let Some(note) = note {
        let peer = Peer { address, tls_version: stream.tls_version() };
        core.desk.finish(note, peer, outcome, took, Ended { stream, is_whole: sent.is_ok() });
    }
}

/// Closes so that the peer can read the last answer: a socket that is closed with unread bytes is reset, and the answer
/// may be lost with it.
async fn linger(stream: &mut Stream, watch: &Watch) {
    watch.allow(Phase::Peer, Duration::from_millis(limits::LINGER_MS_MAX));
    stream.finish().await;
    let mut buf = BytesMut::with_capacity(limits::READ_BUFFER_BYTES_MIN);
    let mut discarded = 0;
    while discarded < limits::LINGER_BYTES_MAX {
        buf.clear();
        let (read, back) = stream.read(buf).await;
        buf = back;
        match read {
            Ok(count) if count > 0 => discarded += count as u64,
            _ => return,
        }
    }
}
