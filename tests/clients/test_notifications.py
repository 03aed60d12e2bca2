"""Notifications of buckets: how they are configured, and what arrives at a webhook."""

import threading
import urllib.parse

import pytest
from botocore.exceptions import ClientError

from sluicegate import Server, User, wait_until
from webhook import Webhook

ARN = "arn:sluicegate:sqs::hook:webhook"


def code(call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return failure.value.response["Error"]["Code"]


def queue(*events, arn=ARN, **more):
    return {"QueueArn": arn, "Events": [f"s3:{event}" for event in events], **more}


def key_filter(**rules):
    return {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}}


@pytest.fixture
def hook():
    with Webhook() as webhook:
        yield webhook


@pytest.fixture
def own(hook):
    """A server with one webhook, and a bucket on it."""
    with Server(options=["--notify-webhook", f"hook={hook.url}"]) as own_server:
        own_server.add_user("writer")
        own_server.s3().create_bucket(Bucket="photos")
        yield own_server


def put(s3, *queues, **kinds):
    configuration = {"QueueConfigurations": list(queues), **kinds} if queues else kinds
    return s3.put_bucket_notification_configuration(Bucket="photos", NotificationConfiguration=configuration)


def names(events):
    return [(event["eventName"], urllib.parse.unquote_plus(event["s3"]["object"]["key"])) for event in events]


def test_a_configuration_is_kept(own, hook):
    s3 = own.s3()
    get = lambda: {
        name: value
        for name, value in s3.get_bucket_notification_configuration(Bucket="photos").items()
        if name != "ResponseMetadata"
    }
    assert get() == {}
    images = queue("ObjectCreated:*", Id="images", Filter=key_filter(prefix="in/", suffix=".jpg"))
    topic = {"TopicArn": ARN, "Events": ["s3:ObjectRemoved:Delete"], "Id": "gone"}
    function = {"LambdaFunctionArn": ARN, "Events": ["s3:ObjectTagging:*"], "Id": "tags"}
    put(s3, images, TopicConfigurations=[topic], LambdaFunctionConfigurations=[function])
    expected = {
        "QueueConfigurations": [images], "TopicConfigurations": [topic], "LambdaFunctionConfigurations": [function],
    }
    assert get() == expected
    wait_until(lambda: hook.calls, "the test event")
    path, headers, body, _ = hook.calls[0]
    assert path == "/hook?x=1" and headers["Content-Type"] == "application/json"
    assert body["Event"] == "s3:TestEvent" and body["Bucket"] == "photos"
    refused = s3.put_bucket_notification_configuration
    for bad in [queue("ObjectCreated:*", arn="arn:sluicegate:sqs::other:webhook"), queue("ObjectRestore:*"),
                queue("ObjectCreated:*", arn="arn:aws:sqs:us-east-1:123456789012:q")]:
        configuration = {"QueueConfigurations": [bad]}
        assert code(refused, Bucket="photos", NotificationConfiguration=configuration) == "InvalidArgument"
    configuration = {"QueueConfigurations": [images]}
    assert code(refused, Bucket="nobodys", NotificationConfiguration=configuration) == "NoSuchBucket"
    own.restart()
    s3 = own.s3()
    assert get() == expected, "what is refused changes nothing, and a restart neither"
    put(s3)
    assert get() == {}
    s3.put_object(Bucket="photos", Key="in/a.jpg", Body=b"1")
    put(s3, images)
    s3.delete_bucket_lifecycle(Bucket="photos")
    assert [body["Event"] for _, _, body, _ in hook.calls if "Event" in body][0] == "s3:TestEvent"
    assert hook.events() == [], "nothing was told while nothing was configured"


def test_events_arrive_as_they_happen(own, hook):
    s3 = own.s3()
    put(s3, queue("ObjectCreated:*", "ObjectRemoved:*", "ObjectTagging:*", Id="all"))
    key = "a b/é+&.txt"
    etag = s3.put_object(Bucket="photos", Key=key, Body=b"12345")["ETag"]
    s3.copy_object(Bucket="photos", Key="copy", CopySource={"Bucket": "photos", "Key": key})
    upload = s3.create_multipart_upload(Bucket="photos", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="photos", Key="parts", UploadId=upload, PartNumber=1, Body=b"123")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    s3.complete_multipart_upload(Bucket="photos", Key="parts", UploadId=upload, MultipartUpload=parts)
    s3.put_object_tagging(Bucket="photos", Key="copy", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    s3.delete_object_tagging(Bucket="photos", Key="copy")
    s3.delete_object(Bucket="photos", Key=key)
    s3.delete_object(Bucket="photos", Key="was never there")
    objects = [{"Key": "copy"}, {"Key": "nor this"}, {"Key": "parts"}]
    s3.delete_objects(Bucket="photos", Delete={"Objects": objects})
    events = hook.wait(8)
    assert names(events) == [
        ("ObjectCreated:Put", key), ("ObjectCreated:Copy", "copy"), ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectTagging:Put", "copy"), ("ObjectTagging:Delete", "copy"), ("ObjectRemoved:Delete", key),
        ("ObjectRemoved:Delete", "copy"), ("ObjectRemoved:Delete", "parts"),
    ]
    first = events[0]
    assert first["eventSource"] == "aws:s3" and first["awsRegion"] == "us-east-1"
    assert first["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert len(first["responseElements"]["x-amz-request-id"]) == 16
    assert first["s3"]["configurationId"] == "all"
    assert first["s3"]["bucket"]["name"] == "photos" and first["s3"]["bucket"]["arn"] == "arn:aws:s3:::photos"
    user = first["userIdentity"]["principalId"]
    assert user.startswith("AIDA") and first["s3"]["bucket"]["ownerIdentity"] == {"principalId": user}
    assert (first["s3"]["object"]["size"], first["s3"]["object"]["eTag"]) == (5, etag.strip('"'))
    assert first["s3"]["object"]["key"] == "a+b/%C3%A9%2B%26.txt"
    sequencers = [event["s3"]["object"]["sequencer"] for event in events]
    assert sequencers == sorted(sequencers) and len(set(sequencers)) == 8


def test_rules_filter(own, hook):
    s3 = own.s3()
    put(s3,
        queue("ObjectCreated:Put", Id="images", Filter=key_filter(prefix="in/", suffix=".jpg")),
        queue("ObjectRemoved:*", Id="gone"))
    for key in ["in/a.jpg", "in/a.png", "out/a.jpg"]:
        s3.put_object(Bucket="photos", Key=key, Body=b"1")
    s3.copy_object(Bucket="photos", Key="in/b.jpg", CopySource="photos/in/a.jpg")
    s3.put_object_tagging(Bucket="photos", Key="in/a.jpg", Tagging={"TagSet": []})
    s3.delete_object(Bucket="photos", Key="out/a.jpg")
    assert [(event["s3"]["configurationId"], *name) for event, name in zip(hook.wait(2), names(hook.events()))] == [
        ("images", "ObjectCreated:Put", "in/a.jpg"), ("gone", "ObjectRemoved:Delete", "out/a.jpg"),
    ]


def test_what_a_request_does_not_do_is_not_told(own, hook):
    s3 = own.s3()
    put(s3, queue("ObjectCreated:*", "ObjectRemoved:*"))
    assert code(s3.put_object, Bucket="photos", Key="a", Body=b"1", IfMatch='"x"') == "NoSuchKey"
    assert code(s3.put_object, Bucket="photos", Key="a", Body=b"1", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==") == "BadDigest"
    stranger = own.s3(User("writer", "not-the-Secret-1", 0, 0))
    assert code(stranger.delete_object, Bucket="photos", Key="a") == "SignatureDoesNotMatch"
    s3.put_object(Bucket="photos", Key="a", Body=b"1")
    assert names(hook.wait(1)) == [("ObjectCreated:Put", "a")]


def test_a_webhook_that_is_away_gets_what_it_missed_in_order(own, hook):
    s3 = own.s3()
    put(s3, queue("ObjectCreated:*"))
    wait_until(lambda: hook.calls, "the test event")
    hook.stop()
    for number in range(20):
        s3.put_object(Bucket="photos", Key=f"{number}", Body=b"1")
    wait_until(lambda: "takes no calls" in own.log(), "a warning")
    hook.start()
    assert names(hook.wait(20)) == [("ObjectCreated:Put", f"{number}") for number in range(20)]
    assert "takes calls again" in own.log()


def test_failures_are_tried_again_and_refusals_are_not(own, hook):
    s3 = own.s3()
    put(s3, queue("ObjectCreated:*"))
    wait_until(lambda: hook.calls, "the test event")
    hook.answers = [503, 429, 200, 400, 200]
    for key in ["tried-again", "refused", "next"]:
        s3.put_object(Bucket="photos", Key=key, Body=b"1")
    assert names(hook.wait(2)) == [("ObjectCreated:Put", "tried-again"), ("ObjectCreated:Put", "next")]
    statuses = [status for _, _, _, status in hook.calls[1:]]
    assert statuses == [503, 429, 200, 400, 200]
    assert "given up" in own.log() and "400" in own.log()


def test_what_waits_at_the_end_is_delivered(own, hook):
    s3 = own.s3()
    put(s3, queue("ObjectCreated:*"))
    wait_until(lambda: hook.calls, "the test event")
    hook.answers = [500, 500, 500]
    for number in range(10):
        s3.put_object(Bucket="photos", Key=f"{number}", Body=b"1")
    own.stop()
    assert len(hook.events()) == 10
    own.start()


def test_a_webhook_that_never_answers_disturbs_nobody(own, hook):
    """The data plane does not wait, and neither do other targets."""
    own.stop()
    hanging = threading.Event()
    with Webhook() as slow:
        slow.server.RequestHandlerClass.do_POST = lambda handler: hanging.wait()
        own.arguments += ["--notify-webhook", f"slow={slow.url}", "--drain-timeout", "100ms"]
        own.start()
        s3 = own.s3()
        put(s3, queue("ObjectCreated:*", Id="slow", arn="arn:sluicegate:sqs::slow:webhook"),
            queue("ObjectRemoved:*", Id="fast"))
        for number in range(50):
            s3.put_object(Bucket="photos", Key=f"{number}", Body=b"1")
            s3.delete_object(Bucket="photos", Key=f"{number}")
        assert len(hook.wait(50)) == 50 and slow.events() == []
        own.stop()
        assert "notices that wait for webhooks are lost" in own.ended_log
        hanging.set()
    own.start()


def test_over_tls_with_a_token(certificate, tmp_path):
    token = tmp_path / "token"
    token.write_text("Bearer very-secret-token\n")
    with Webhook(certificate) as hook:
        options = ["--notify-webhook", f"hook={hook.url}", "--notify-token-file", f"hook={token}",
                   "--notify-ca", str(certificate.authority), "--log-level", "trace"]
        with Server(options=options) as own_server:
            own_server.add_user("writer")
            s3 = own_server.s3()
            s3.create_bucket(Bucket="photos")
            put(s3, queue("ObjectCreated:*"))
            s3.put_object(Bucket="photos", Key="a", Body=b"1")
            hook.wait(1)
            assert {headers["Authorization"] for _, headers, _, _ in hook.calls} == {"Bearer very-secret-token"}
            own_server.stop()
            assert "very-secret" not in own_server.ended_log and "/hook" not in own_server.ended_log
            own_server.start()


def test_files_that_cannot_be_used_stop_the_start(tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("")
    for options, part in [
        (["--notify-webhook", "hook=https://127.0.0.1/", "--notify-ca", str(empty)], "holds no certificate"),
        (["--notify-webhook", "hook=http://h/", "--notify-token-file", f"hook={empty}"], "it is empty"),
        (["--notify-webhook", "hook=http://h/", "--notify-token-file", f"hook={tmp_path / 'none'}"], "No such file"),
    ]:
        with pytest.raises(AssertionError) as failure:
            Server(options=options)
        assert part in str(failure.value)
