"""Audit events in the shape of WEKA, in a file and at a webhook."""

import json
import re
import threading

import boto3
import pytest
import urllib3
from botocore.exceptions import ClientError

import sluicegate
from conftest import with_users
from sluicegate import Server, wait_until
from test_monitor import metrics, monitored_server
from webhook import Webhook


def events(path):
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture
def hook():
    with Webhook() as webhook:
        yield webhook


def bodies(hook):
    return [body for _, _, body, status in hook.calls if status == 200]


def test_an_event_has_the_shape_of_weka(tmp_path, hook):
    log, token = tmp_path / "audit.log", tmp_path / "token"
    token.write_text("Splunk 0123-4567\n")
    with Server(options=["--audit-log", log, "--audit-webhook", hook.url, "--audit-token-file", token]) as server:
        with_users(server)
        s3 = server.s3(user_agent="an agent/1")
        s3.create_bucket(Bucket="photos")
        answer = s3.put_object(Bucket="photos", Key="a key", Body=b"12345", Metadata={"color": "blue"})
        wait_until(lambda: len(bodies(hook)) == 2 and len(events(log)) == 2, "the events")
        assert sorted(map(json.dumps, events(log))) == sorted(map(json.dumps, bodies(hook))), "both are told the same"
        assert [headers["Authorization"] for _, headers, _, _ in hook.calls] == ["Splunk 0123-4567"] * 2
        assert hook.calls[0][1]["Content-Type"] == "application/json"
        event = next(event for event in events(log) if event["api"]["name"] == "PutObject")
        assert set(event) == {
            "auditVersion", "deploymentid", "time", "api", "remotehost", "requestID", "userAgent", "requestHeader",
            "responseHeader", "wekaInfo", "accessKey", "parentUser",
        }
        assert event["auditVersion"] == "1.weka" and event["remotehost"] == "127.0.0.1"
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["deploymentid"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", event["time"])
        assert re.fullmatch(r"[1-9]\d*ns", event["api"].pop("timeToResponse"))
        assert event["api"] == {
            "name": "PutObject", "bucket": "photos", "object": "a key", "status": "OK", "statusCode": 200}
        assert event["requestID"] == answer["ResponseMetadata"]["RequestId"] and len(event["requestID"]) == 16
        assert "an agent/1" in event["userAgent"]
        assert (event["accessKey"], event["parentUser"]) == ("writer", "writer")
        request, response = event["requestHeader"], event["responseHeader"]
        assert request["Authorization"] == "*REDACTED*" and request["x-amz-meta-color"] == "blue"
        assert response["ETag"] == answer["ETag"] and response["Content-Length"] == "0"
        info = event["wekaInfo"]
        assert set(info) == {"clusterGUID", "clusterName", "release", "serverIP", "serverName", "version"}
        assert info["serverIP"] == "127.0.0.1" and info["clusterGUID"] == event["deploymentid"]
        assert info["clusterName"] == "us-east-1" and info["serverName"]
        server.restart()
        server.s3().list_buckets()
        wait_until(lambda: len(bodies(hook)) == 3, "an event after the restart")
        assert bodies(hook)[2]["deploymentid"] == event["deploymentid"], "it is that of the data directory"
        assert "Splunk" not in server.log()


def test_no_secret_is_told(tmp_path):
    log = tmp_path / "audit.log"
    with Server(options=["--audit-log", log]) as server:
        with_users(server)
        writer, s3 = server.users["writer"], server.s3()
        s3.create_bucket(Bucket="photos")
        sts = boto3.client("sts", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=writer.name,
                           aws_secret_access_key=writer.secret)
        assumed = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="job")["Credentials"]
        user = sluicegate.User(assumed["AccessKeyId"], assumed["SecretAccessKey"], 0, 0)
        session = server.s3(user, session_token=assumed["SessionToken"])
        session.put_object(Bucket="photos", Key="k", Body=b"1")
        presigner = server.s3(user, session_token=assumed["SessionToken"], signature_version="s3v4")
        url = presigner.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "k"})
        assert urllib3.PoolManager().request("GET", url, headers={"Referer": url, "Cookie": "a=secret-cookie"}).status == 200
        wrong = sluicegate.User("writer", "Not-the-secret-1", 0, 0)
        with pytest.raises(ClientError):
            server.s3(wrong).get_object(Bucket="photos", Key="k")
        wait_until(lambda: len(events(log)) == 5, "the events")
        text = log.read_text()
        for secret in [writer.secret, assumed["SecretAccessKey"], assumed["SessionToken"], "Signature=", "Credential=",
                       "secret-cookie", "Not-the-secret-1"]:
            assert secret not in text, secret
        found = {event["api"]["statusCode"]: event for event in events(log)}
        assert found[403]["api"]["status"] == "Forbidden" and "accessKey" not in found[403]
        put = next(event for event in events(log) if event["api"]["name"] == "PutObject")
        assert put["accessKey"] == assumed["AccessKeyId"] and put["parentUser"] == "writer"
        assert put["requestHeader"]["X-Amz-Security-Token"] == "*REDACTED*"


def test_events_wait_for_a_webhook_that_is_away_and_are_given_up_when_refused(hook):
    hook.answers = [503, 500, 200, 403, 200]
    with monitored_server("--audit-webhook", hook.url) as server:
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        wait_until(lambda: len(bodies(hook)) == 1, "the event after two failures")
        hook.stop()
        s3.put_object(Bucket="photos", Key="refused", Body=b"1")
        s3.put_object(Bucket="photos", Key="taken", Body=b"1")
        assert metrics(server)['sluicegate_journal_lines_total{sink="audit_webhook",result="written"}'] == 1
        hook.start()
        wait_until(lambda: len(bodies(hook)) == 2, "the event behind the one that was refused")
        statuses = [status for _, _, _, status in hook.calls]
        assert statuses == [503, 500, 200, 403, 200]
        expected = {
            'sluicegate_journal_lines_total{sink="audit_webhook",result="written"}': 2,
            'sluicegate_journal_lines_total{sink="audit_webhook",result="dropped"}': 1,
            'sluicegate_journal_waiting{sink="audit_webhook"}': 0,
        }
        wait_until(lambda: expected.items() <= metrics(server).items(), "the counters")
        assert "takes no calls" in server.log() and "were given up" in server.log()
        assert "/hook" not in server.log(), "the path of a webhook may hold a token"


def test_a_webhook_under_tls_takes_batches(certificate):
    with Webhook(certificate) as hook:
        taken = []
        lock = threading.Lock()
        hook.take = lambda body: (lock.acquire(), taken.extend(body.splitlines()), lock.release())
        with Server(options=["--audit-webhook", hook.url.replace("127.0.0.1", "localhost"), "--notify-ca",
                             certificate.authority, "--audit-batch", "10"]) as server:
            with_users(server)
            s3 = server.s3()
            s3.create_bucket(Bucket="photos")
            threads = [threading.Thread(target=lambda n=n: [
                server.s3().put_object(Bucket="photos", Key=f"k{n}-{m}", Body=b"1") for m in range(20)]) for n in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            wait_until(lambda: len(taken) == 81, f"the events, of which {len(taken)} came")
            keys = sorted(json.loads(line)["api"]["object"] for line in taken)
            assert keys == sorted(["", *(f"k{n}-{m}" for n in range(4) for m in range(20))])
            assert len(hook.calls) < 81, "several events came with one call"


def test_settings_that_cannot_be_used(tmp_path):
    with pytest.raises(AssertionError, match="audit-webhook"):
        Server(options=["--audit-token-file", tmp_path])
    with pytest.raises(AssertionError, match="audit-webhook"):
        Server(options=["--audit-webhook", "ftp://host/path"])
    with pytest.raises(AssertionError, match="cannot use .* as the token of the webhook audit"):
        Server(options=["--audit-webhook", "http://127.0.0.1:1/", "--audit-token-file", tmp_path / "missing"])
