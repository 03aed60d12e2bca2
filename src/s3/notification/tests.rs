//! Documents, filters, and the JSON of events.

use super::event::{NAMES, sequencer};
use super::*;
use crate::codec::dates::Timestamp;
use crate::s3::context::RequestId;
use crate::storage::record::{ETag, Record};

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text.as_bytes()).unwrap()
}

fn whole(inner: &str) -> String {
    format!("<NotificationConfiguration>{inner}</NotificationConfiguration>")
}

const QUEUE: &str = "<Queue>arn:sluicegate:sqs::hook:webhook</Queue>";
const PUT: &str = "<Event>s3:ObjectCreated:Put</Event>";

fn queue(inner: &str) -> String {
    format!("<QueueConfiguration>{inner}</QueueConfiguration>")
}

fn filter(rules: &[(&str, &str)]) -> String {
    let rules: String = rules
        .iter()
        .map(|(name, value)| format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"))
        .collect();
    format!("<Filter><S3Key>{rules}</S3Key></Filter>")
}

#[test]
fn documents_are_given_back_as_they_came() {
    let check = |inner: &str| {
        let notification = Notification::parse(whole(inner).as_bytes()).unwrap();
        let mut document = Vec::new();
        notification.write(&mut document);
        let text = String::from_utf8(document).unwrap();
        assert!(text.ends_with(&format!("\">{inner}</NotificationConfiguration>")), "{text}\n{inner}");
        fuzz(whole(inner).as_bytes());
    };
    check(&queue(&format!("<Id>a</Id>{QUEUE}{PUT}<Event>s3:ObjectRemoved:*</Event>")));
    check(&queue(&format!(
        "<Id>é&lt;</Id>{QUEUE}{PUT}{}",
        filter(&[("prefix", "a b/"), ("suffix", ".jpg")])
    )));
    let (topic, function) = ("Topic", "CloudFunction");
    check(&format!(
        "<{topic}Configuration><Id>1</Id><{topic}>arn:sluicegate:sqs::a:webhook</{topic}>{PUT}</{topic}Configuration>\
         <{function}Configuration><Id>2</Id><{function}>arn:sluicegate:sqs::b:webhook</{function}>\
         <Event>s3:ObjectTagging:*</Event></{function}Configuration>"
    ));
    assert_eq!(document::read(whole("").as_bytes()).unwrap(), None);
    let names = document::read(whole(&queue(&format!("{QUEUE}{PUT}{PUT}"))).as_bytes()).unwrap().unwrap();
    assert_eq!((names.rules[0].id.as_str(), names.rules[0].events.len()), ("rule-1", 1));
}

#[test]
fn what_is_not_sound_is_refused() {
    let check = |inner: &str, expected: Code| {
        let result = document::read(whole(inner).as_bytes());
        assert_eq!(result.map_err(|error| error.code()), Err(expected), "{inner}");
    };
    use Code::{InvalidArgument, MalformedXML, NotImplemented};
    let one = |inner: &str, expected| check(&queue(inner), expected);
    one(QUEUE, MalformedXML);
    one(PUT, MalformedXML);
    one(&format!("<Topic>arn:sluicegate:sqs::hook:webhook</Topic>{PUT}"), MalformedXML);
    for arn in [
        "",
        "hook",
        "arn:aws:sqs::hook:webhook",
        "arn:sluicegate:sqs:::webhook",
        "arn:sluicegate:sqs::a b:webhook",
        "arn:sluicegate:sqs::hook:webhook:x",
    ] {
        one(&format!("<Queue>{arn}</Queue>{PUT}"), InvalidArgument);
    }
    for event in ["", "ObjectCreated:Put", "s3:ObjectCreated", "s3:*", "s3:ObjectRestore:*", "s3:TestEvent"] {
        one(&format!("{QUEUE}<Event>{event}</Event>"), InvalidArgument);
    }
    one(&format!("{QUEUE}{PUT}{}", filter(&[("infix", "a")])), InvalidArgument);
    one(&format!("{QUEUE}{PUT}{}", filter(&[("prefix", "a"), ("Prefix", "b")])), InvalidArgument);
    one(&format!("{QUEUE}{PUT}{}", filter(&[("prefix", &"p".repeat(1025))])), InvalidArgument);
    one(&format!("{QUEUE}{PUT}<Filter><S3Key/><S3Key/></Filter>"), MalformedXML);
    one(&format!("<Id>{}</Id>{QUEUE}{PUT}", "i".repeat(256)), InvalidArgument);
    one(&format!("<Id>&#2;</Id>{QUEUE}{PUT}"), MalformedXML);
    check("<EventBridgeConfiguration/>", NotImplemented);
    let id = |id: &str, event: &str, rules: &[(&str, &str)]| {
        queue(&format!("<Id>{id}</Id>{QUEUE}<Event>s3:{event}</Event>{}", filter(rules)))
    };
    let pair = |one: String, other: String| [one, other].concat();
    let (created, removed) = ("ObjectCreated:*", "ObjectRemoved:*");
    check(&pair(id("a", created, &[]), id("a", removed, &[])), InvalidArgument);
    check(&pair(id("a", created, &[]), id("b", "ObjectCreated:Put", &[])), InvalidArgument);
    check(
        &pair(id("a", created, &[("prefix", "a")]), id("b", created, &[("prefix", "a/b")])),
        InvalidArgument,
    );
    check(
        &pair(id("a", created, &[("suffix", "g")]), id("b", created, &[("suffix", "jpg")])),
        InvalidArgument,
    );
    for fine in [
        pair(id("a", created, &[]), id("b", removed, &[])),
        pair(id("a", created, &[("prefix", "a")]), id("b", created, &[("prefix", "b")])),
        pair(
            id("a", created, &[("prefix", "a"), ("suffix", "x")]),
            id("b", created, &[("prefix", "a"), ("suffix", "y")]),
        ),
    ] {
        document::read(whole(&fine).as_bytes()).unwrap();
    }
    let many: String =
        (0..11).map(|n| id(&n.to_string(), created, &[("prefix", &format!("{n:02}"))])).collect();
    check(&many, InvalidArgument);
    let text = whole(&id("a", created, &[("prefix", "x"), ("suffix", "y")]));
    for length in 0..=text.len() {
        fuzz(&text.as_bytes()[..length]);
    }
}

#[test]
fn names_mean_their_events() {
    use EventKind::{
        CreatedCompleteMultipartUpload, CreatedPut, ExpirationDelete, RemovedDelete, TaggingDelete,
    };
    let check = |text: &str, kind, expected| {
        let name = NAMES.iter().find(|name| name.text == text).unwrap();
        assert_eq!(name.names(kind), expected, "{text} {kind:?}");
    };
    check("s3:ObjectCreated:*", CreatedPut, true);
    check("s3:ObjectCreated:*", CreatedCompleteMultipartUpload, true);
    check("s3:ObjectCreated:*", RemovedDelete, false);
    check("s3:ObjectCreated:Put", CreatedPut, true);
    check("s3:ObjectCreated:Put", CreatedCompleteMultipartUpload, false);
    check("s3:ObjectRemoved:Delete", RemovedDelete, true);
    check("s3:ObjectRemoved:Delete", ExpirationDelete, false);
    check("s3:LifecycleExpiration:*", ExpirationDelete, true);
    check("s3:ObjectTagging:Delete", TaggingDelete, true);
}

#[test]
fn rules_take_what_their_filters_say() {
    let rules = filter(&[("prefix", "in/"), ("suffix", ".jpg")]);
    let notification =
        Notification::parse(whole(&queue(&format!("{QUEUE}{PUT}{rules}"))).as_bytes()).unwrap();
    let takes = |kind, text: &str| notification.matching(kind, &key(text)).count() == 1;
    assert!(takes(EventKind::CreatedPut, "in/a.jpg"));
    assert!(takes(EventKind::CreatedPut, "in/.jpg"));
    assert!(!takes(EventKind::CreatedPut, "in/a.png"));
    assert!(!takes(EventKind::CreatedPut, "out/in/a.jpg"));
    assert!(!takes(EventKind::CreatedCopy, "in/a.jpg"));
}

#[test]
fn the_json_of_events() {
    let time = Timestamp { seconds: 1_369_353_600, nanos: 123_000_000 };
    let mut record = Record::new(42, time, ETag::Md5([0xab; 16]));
    record.size = 42;
    let event = Event {
        kind: EventKind::CreatedPut,
        rule: "images".into(),
        bucket: BucketName::parse(b"photos").unwrap(),
        bucket_owner: "AIDAOWNER".into(),
        key: key("a b/é+\"x\".jpg"),
        subject: Noted::of(&record).described(),
        origin: Origin {
            principal: "AIDAUSER".into(),
            address: "192.0.2.1".into(),
            request_id: RequestId(*b"0123456789ABCDEF"),
        },
        time,
        sequencer: 0x1234,
    };
    let parsed =
        |notice: Notice| -> serde_json::Value { serde_json::from_slice(&notice.json("region")).unwrap() };
    let gone =
        Event { kind: EventKind::RemovedDelete, subject: Noted::default().described(), ..event.clone() };
    let expected = serde_json::json!({
        "EventName": "s3:ObjectCreated:Put",
        "Key": "photos/a b/é+\"x\".jpg",
        "Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "region",
            "eventTime": "2013-05-24T00:00:00.123Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AIDAUSER"},
            "requestParameters": {"sourceIPAddress": "192.0.2.1"},
            "responseElements": {"x-amz-request-id": "0123456789ABCDEF", "x-amz-id-2": "0123456789ABCDEF"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "images",
                "bucket": {
                    "name": "photos",
                    "ownerIdentity": {"principalId": "AIDAOWNER"},
                    "arn": "arn:aws:s3:::photos",
                },
                "object": {
                    "key": "a+b/%C3%A9%2B%22x%22.jpg",
                    "size": 42,
                    "eTag": "abababababababababababababababab",
                    "sequencer": "0000000000001234",
                },
            },
        }],
    });
    assert_eq!(parsed(Notice::Event(Box::new(event))), expected);
    let object = &parsed(Notice::Event(Box::new(gone)))["Records"][0]["s3"]["object"];
    let expected = serde_json::json!({"key": "a+b/%C3%A9%2B%22x%22.jpg", "sequencer": "0000000000001234"});
    assert_eq!(*object, expected);
    let test =
        Notice::Test { bucket: BucketName::parse(b"photos").unwrap(), time, request_id: RequestId::new(1) };
    assert_eq!(parsed(test)["Event"], "s3:TestEvent");
}

#[test]
fn sequencers_rise_also_when_the_clock_does_not() {
    let now = Timestamp { seconds: 1_900_000_000, nanos: 5 };
    let first = sequencer(now);
    assert!(sequencer(now) > first);
    assert!(sequencer(Timestamp { seconds: -5, nanos: 0 }) > first + 1);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let webhooks = Webhooks::default();
    assert!(webhooks.is_empty());
    let notices = webhooks.add("hook");
    let target = webhooks.find("hook").unwrap();
    let bucket = BucketName::parse(b"photos").unwrap();
    let test = Notice::Test { bucket, time: now(), request_id: RequestId::new(1) };
    let (_, before) = crate::counters::notices();
    for _ in 0..limits::NOTIFICATION_QUEUE_MAX + 3 {
        target.send(test.clone());
    }
    assert_eq!(notices.len(), limits::NOTIFICATION_QUEUE_MAX);
    assert_eq!(crate::counters::notices().1 - before, 3);
    // What waits for a target that is gone still comes out, and then it ends.
    let kept = webhooks.add("kept");
    webhooks.keep(|name| name == "kept");
    assert!(webhooks.find("hook").is_none() && webhooks.find("kept").is_some());
    drop(target);
    assert_eq!(notices.iter().count(), limits::NOTIFICATION_QUEUE_MAX);
    assert!(notices.is_disconnected() && !kept.is_disconnected());
}
