//! What stands in lines, and that nothing secret does.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use serde_json::{Value, json};

use super::*;

const HEAD: &[u8] = b"PUT /bucket/a%20key?X-Amz-Signature=5ec2e7&X-Amz-Security-Token=5ec2e7 HTTP/1.1\r\nHost: h\r\n\
    Authorization: AWS4-HMAC-SHA256 Credential=alice/5ec2e7\r\nUser-Agent: a \"quoted\"\\ \xff agent\r\nX-Twice: 1\r\n\
    x-amz-security-token: 5ec2e7\r\nX-TWICE: 2\r\nCookie: 5ec2e7\r\nReferer: https://p.example/x?X-Amz-Signature=5ec2e7\r\n\
    x-amz-server-side-encryption-customer-key: 5ec2e7\r\nContent-Length: 5\r\n\r\n";

fn noted() -> Note {
    let head = Head::parse(&mut BytesMut::from(HEAD)).unwrap();
    Note {
        time: Some(Timestamp { seconds: 1_369_353_600, nanos: 7 }),
        request_id: Some(RequestId::new(0xab)),
        bucket: "bucket".into(),
        key: "a key\n\u{1f980}".into(),
        caller: Some(Named {
            user: "alice".into(),
            arn: "arn:aws:iam::1:user/alice".into(),
            access_key: "KEY".into(),
        }),
        head,
        body_bytes: 5,
        reply_head: b"HTTP/1.1 404 Not Found\r\nServer: s\r\nVary: a\r\nVary: b\r\n".to_vec(),
        reply_length: Some(99),
        ..Note::default()
    }
}

fn ending() -> Ending {
    Ending {
        peer: Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), tls_version: Some(1.3) },
        outcome: Outcome {
            operation: "PutObject",
            status: 404,
            code: Some("NoSuchBucket"),
            first_byte: None,
        },
        took: Took { total: Duration::from_nanos(1_234_567), first_byte: Duration::from_micros(17) },
        sent_bytes: 99,
        is_whole: true,
    }
}

fn text(line: &impl Serialize) -> (Value, String) {
    let text = serde_json::to_string(line).unwrap();
    assert!(!text.contains("5ec2e7"), "a secret is told: {text}");
    assert!(!text.contains('\n'), "one line");
    (serde_json::from_str(&text).unwrap(), text)
}

#[test]
fn a_line_of_the_access_log() {
    let (note, ending) = (noted(), ending());
    let (line, _) = text(&AccessLine::of(&note, &ending));
    let expected = json!({
        "time": "2013-05-24T00:00:00.000000007Z", "request_id": "00000000000000AB", "remote": "127.0.0.1", "tls": 1.3,
        "user": "alice", "principal": "arn:aws:iam::1:user/alice", "access_key": "KEY", "method": "PUT",
        "path": "/bucket/a%20key", "operation": "PutObject", "bucket": "bucket", "key": "a key\n\u{1f980}", "status": 404,
        "error": "NoSuchBucket", "bytes_in": 5, "bytes_out": 99, "complete": true, "first_byte_us": 17,
        "total_us": 1234, "user_agent": "a \"quoted\"\\ \u{fffd} agent",
    });
    assert_eq!(line, expected);
}

#[test]
fn a_request_of_which_nothing_is_known_has_a_line() {
    let note = Note::default();
    let (line, _) = text(&AccessLine::of(&note, &ending()));
    for member in ["time", "user", "bucket", "key", "path", "user_agent"] {
        assert_eq!(line[member], Value::Null, "{member}");
    }
    let (event, _) = text(&AuditEvent::of(&note, &ending(), &ServerFacts::default(), None));
    assert_eq!(event["requestHeader"], json!({}));
}

#[test]
fn an_audit_event_has_the_shape_of_weka() {
    let (note, ending) = (noted(), ending());
    let server = ServerFacts { deployment_id: "id".into(), region: "r".into(), host: "h".into() };
    let (event, _) = text(&AuditEvent::of(&note, &ending, &server, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))));
    let version = env!("CARGO_PKG_VERSION");
    let expected = json!({
        "auditVersion": "1.weka", "deploymentid": "id", "time": "2013-05-24T00:00:00.000000007Z",
        "api": {
            "name": "PutObject", "bucket": "bucket", "object": "a key\n\u{1f980}", "status": "Not Found", "statusCode": 404,
            "timeToResponse": "1234567ns",
        },
        "remotehost": "127.0.0.1", "requestID": "00000000000000AB", "userAgent": "a \"quoted\"\\ \u{fffd} agent",
        "requestHeader": {
            "Host": "h", "Authorization": "*REDACTED*", "User-Agent": "a \"quoted\"\\ \u{fffd} agent", "X-Twice": "1, 2",
            "x-amz-security-token": "*REDACTED*", "Cookie": "*REDACTED*", "Referer": "https://p.example/x?*REDACTED*",
            "x-amz-server-side-encryption-customer-key": "*REDACTED*", "Content-Length": "5",
        },
        "responseHeader": { "Server": "s", "Vary": "a, b", "Content-Length": "99" },
        "wekaInfo": {
            "clusterGUID": "id", "clusterName": "r", "release": version, "serverIP": "127.0.0.1", "serverName": "h",
            "version": version,
        },
        "accessKey": "KEY", "parentUser": "alice",
    });
    assert_eq!(event, expected);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (sink, outlet) = Sink::new("test");
    let sheet = |bytes: usize| Sheet { lines: vec![b'x'; bytes].into(), count: 3 };
    sink.send(sheet(JOURNAL_QUEUE_BYTES_MAX));
    sink.send(sheet(1));
    let totals = SinkTotals { name: "test", waiting: 3, written: 0, dropped: 3 };
    assert_eq!(sink.totals(), totals);
    let first = outlet.sheets.recv().unwrap();
    outlet.done(first.count, first.lines.len());
    sink.send(sheet(1));
    let second = outlet.sheets.recv().unwrap();
    outlet.dropped(second.count, second.lines.len());
    assert_eq!(sink.totals(), SinkTotals { waiting: 0, written: 3, dropped: 6, ..totals });
    assert!(outlet.sheets.is_empty());
    drop(outlet);
    sink.send(sheet(1));
    assert_eq!(sink.totals().dropped, 9, "nobody is there");
}

#[test]
fn sheets_hold_whole_lines_and_are_handed_over_when_they_are_full() {
    let (sink, outlet) = Sink::new("test");
    let mut draft = Draft::default();
    let sinks = [sink];
    draft.hand_over(&sinks);
    let mut count = 0;
    while outlet.sheets.is_empty() {
        draft.write(&sinks, &json!({ "number": count }));
        count += 1;
    }
    draft.write(&sinks, &json!({ "number": count }));
    draft.hand_over(&sinks);
    let sheets: Vec<Sheet> = outlet.sheets.drain().collect();
    assert_eq!(sheets.iter().map(|sheet| sheet.count).collect::<Vec<_>>(), [count, 1]);
    assert!((JOURNAL_SHEET_BYTES..JOURNAL_SHEET_BYTES + 100).contains(&sheets[0].lines.len()));
    let numbers = sheets.iter().flat_map(|sheet| sheet.lines.split_inclusive(|byte| *byte == b'\n'));
    for (expected, line) in numbers.enumerate() {
        assert_eq!(serde_json::from_slice::<Value>(line).unwrap(), json!({ "number": expected }));
    }
}

#[test]
fn notes_are_forgotten_before_they_are_used_again() {
    let mut note = noted();
    note.clear();
    assert!(note.caller.is_none() && note.head.is_none() && note.bucket.is_empty() && note.key.is_empty());
    assert!(note.reply_head.is_empty() && note.request_id.is_none() && note.body_bytes == 0);
}
