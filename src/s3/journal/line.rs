//! What the lines say: a flat object for the access log, and the audit event of WEKA ("Audit webhook" of its S3 service),
//! which is that of MinIO with another version and the names of the cluster.
//!
//! Of a request's headers the values are told, but for those that are secret or hold something secret. Queries are not
//! told: signatures and session tokens stand in them.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Ending, Note, ServerFacts};
use crate::codec::dates::Timestamp;
use crate::http::head::Head;
use crate::http::response::reason;

/// A line of the access log.
#[derive(Serialize)]
pub(super) struct AccessLine<'n> {
    time: Option<String>,
    request_id: Option<&'n str>,
    remote: IpAddr,
    /// 1.2 or 1.3, or null.
    tls: Option<f64>,
    user: Option<&'n str>,
    /// The ARN of the user, or of the session of the role that was assumed.
    principal: Option<&'n str>,
    access_key: Option<&'n str>,
    method: Option<Cow<'n, str>>,
    /// As it was sent, percent-encoded, without the query.
    path: Option<Cow<'n, str>>,
    operation: &'static str,
    bucket: Option<&'n str>,
    key: Option<&'n str>,
    status: u16,
    error: Option<&'static str>,
    /// Bytes of the body that were read, with its framing.
    bytes_in: u64,
    /// Bytes of the body that were sent.
    bytes_out: u64,
    /// Whether all of the answer was sent.
    complete: bool,
    first_byte_us: u64,
    total_us: u64,
    user_agent: Option<Cow<'n, str>>,
}

impl<'n> AccessLine<'n> {
    pub(super) fn of(note: &'n Note, ending: &Ending) -> AccessLine<'n> {
        let caller = note.caller.as_ref();
        let head = note.head.as_ref();
        AccessLine {
            time: note.time.map(time_text),
            request_id: note.request_id.as_ref().map(|id| id.as_str()),
            remote: ending.peer.address,
            tls: ending.peer.tls_version,
            user: caller.map(|caller| &*caller.user),
            principal: caller.map(|caller| &*caller.arn),
            access_key: caller.map(|caller| &*caller.access_key),
            method: head.map(|head| String::from_utf8_lossy(head.method_bytes())),
            path: head.map(|head| String::from_utf8_lossy(head.path())),
            operation: ending.outcome.operation,
            bucket: Some(&*note.bucket).filter(|name| !name.is_empty()),
            key: Some(&*note.key).filter(|key| !key.is_empty()),
            status: ending.outcome.status,
            error: ending.outcome.code,
            bytes_in: note.body_bytes,
            bytes_out: ending.sent_bytes,
            complete: ending.is_whole,
            first_byte_us: micros(ending.took.first_byte),
            total_us: micros(ending.took.total),
            user_agent: header(head, "user-agent"),
        }
    }
}

/// An audit event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEvent<'n> {
    audit_version: &'static str,
    #[serde(rename = "deploymentid")]
    deployment_id: &'n str,
    time: Option<String>,
    api: Api<'n>,
    #[serde(rename = "remotehost")]
    remote_host: IpAddr,
    #[serde(rename = "requestID")]
    request_id: Option<&'n str>,
    user_agent: Option<Cow<'n, str>>,
    request_header: RequestHeader<'n>,
    response_header: ResponseHeader<'n>,
    weka_info: WekaInfo<'n>,
    /// Whose keys the request was signed with, and the user behind them. Not WEKA's, but MinIO's: without them nobody
    /// could tell who it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key: Option<&'n str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_user: Option<&'n str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Api<'n> {
    name: &'static str,
    bucket: &'n str,
    object: &'n str,
    status: &'static str,
    status_code: u16,
    time_to_response: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WekaInfo<'n> {
    #[serde(rename = "clusterGUID")]
    cluster_guid: &'n str,
    cluster_name: &'n str,
    release: &'static str,
    #[serde(rename = "serverIP")]
    server_ip: Option<IpAddr>,
    server_name: &'n str,
    version: &'static str,
}

impl<'n> AuditEvent<'n> {
    pub(super) fn of(
        note: &'n Note,
        ending: &Ending,
        server: &'n ServerFacts,
        local: Option<IpAddr>,
    ) -> AuditEvent<'n> {
        let head = note.head.as_ref();
        let caller = note.caller.as_ref();
        AuditEvent {
            audit_version: "1.weka",
            deployment_id: &server.deployment_id,
            time: note.time.map(time_text),
            api: Api {
                name: ending.outcome.operation,
                bucket: &note.bucket,
                object: &note.key,
                status: reason(ending.outcome.status),
                status_code: ending.outcome.status,
                time_to_response: format!("{}ns", ending.took.total.as_nanos()),
            },
            remote_host: ending.peer.address,
            request_id: note.request_id.as_ref().map(|id| id.as_str()),
            user_agent: header(head, "user-agent"),
            request_header: RequestHeader(head),
            response_header: ResponseHeader(note),
            weka_info: WekaInfo {
                cluster_guid: &server.deployment_id,
                cluster_name: &server.region,
                release: env!("CARGO_PKG_VERSION"),
                server_ip: local,
                server_name: &server.host,
                version: env!("CARGO_PKG_VERSION"),
            },
            access_key: caller.map(|caller| &*caller.access_key),
            parent_user: caller.map(|caller| &*caller.user),
        }
    }
}

/// The headers of a request as a map; values of the same name are joined.
struct RequestHeader<'n>(Option<&'n Head>);

impl Serialize for RequestHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = Headers::default();
        for (name, value) in self.0.iter().flat_map(|head| head.headers()) {
            all.add(String::from_utf8_lossy(name), told(name, value));
        }
        serializer.collect_map(all.0)
    }
}

/// The headers of an answer as a map.
struct ResponseHeader<'n>(&'n Note);

impl Serialize for ResponseHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = String::from_utf8_lossy(&self.0.reply_head);
        let mut all = Headers::default();
        // The first line is that of the status.
        for (name, value) in head.split("\r\n").skip(1).filter_map(|line| line.split_once(": ")) {
            all.add(name.into(), told(name.as_bytes(), value.as_bytes()));
        }
        if let Some(length) = self.0.reply_length {
            all.add("Content-Length".into(), length.to_string().into());
        }
        serializer.collect_map(all.0)
    }
}

/// Names and values in their order, each name once.
#[derive(Default)]
struct Headers<'h>(Vec<(Cow<'h, str>, Cow<'h, str>)>);

impl<'h> Headers<'h> {
    fn add(&mut self, name: Cow<'h, str>, value: Cow<'h, str>) {
        match self.0.iter_mut().find(|(earlier, _)| earlier.eq_ignore_ascii_case(&name)) {
            Some((_, values)) => *values = format!("{values}, {value}").into(),
            None => self.0.push((name, value)),
        }
    }
}

/// What may be told of a header's value.
fn told<'v>(name: &[u8], value: &'v [u8]) -> Cow<'v, str> {
    if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes())) {
        return REDACTED.into();
    }
    // The page that a link stood on, or leads to, may be a presigned URL.
    let is_page = name.eq_ignore_ascii_case(b"referer") || name.eq_ignore_ascii_case(b"location");
    match value.iter().position(|byte| *byte == b'?') {
        Some(query) if is_page => format!("{}?{REDACTED}", String::from_utf8_lossy(&value[..query])).into(),
        _ => String::from_utf8_lossy(value),
    }
}

/// Headers whose values are secrets, or contain one.
const SECRET_HEADERS: [&str; 8] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-s3session-token",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer-key",
];
const REDACTED: &str = "*REDACTED*";

fn header<'h>(head: Option<&'h Head>, lower_name: &str) -> Option<Cow<'h, str>> {
    head?.header(lower_name).map(String::from_utf8_lossy)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn time_text(time: Timestamp) -> String {
    String::from_utf8_lossy(&time.iso8601_nanos()).into_owned()
}
