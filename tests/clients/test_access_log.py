"""The access log: a line of JSON for each request, and a file that is opened again after it was moved away."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import boto3
import pytest
import urllib3
from botocore.exceptions import ClientError

import sluicegate
from conftest import with_users
from sluicegate import Server, wait_until
from test_monitor import metrics, monitored_server


def lines(path):
    """The whole lines of a log; each has to be JSON."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def logged(path, count, **members):
    """Waits for so many lines with these members, and returns them; there are not more."""
    def found():
        return [line for line in lines(path) if all(line[name] == value for name, value in members.items())]

    wait_until(lambda: len(found()) >= count, f"{count} lines with {members}")
    assert len(found()) == count, found()
    return found()


@pytest.fixture(params=["http", "https"])
def own(request, tmp_path):
    certificate = request.getfixturevalue("certificate") if request.param == "https" else None
    log = tmp_path / "access.log"
    with Server(options=["--access-log", log], certificate=certificate) as server:
        server.access_log = log
        with_users(server)
        server.s3().create_bucket(Bucket="photos")
        yield server


def test_what_a_line_says(own):
    s3 = own.s3(user_agent="an agent/1")
    before = time.time()
    body = os.urandom(1 << 20)
    answer = s3.put_object(Bucket="photos", Key="a key/é+&", Body=body)
    assert s3.get_object(Bucket="photos", Key="a key/é+&", Range="bytes=0-99")["Body"].read() == body[:100]
    s3.head_object(Bucket="photos", Key="a key/é+&")
    with pytest.raises(ClientError):
        s3.get_object(Bucket="photos", Key="missing")
    put, = logged(own.access_log, 1, operation="PutObject")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", put.pop("time"))
    assert 0 < put["first_byte_us"] <= put["total_us"] < (time.time() - before) * 1e6
    del put["first_byte_us"], put["total_us"]
    # Over HTTP, boto3 sends the body in aws-chunked framing.
    assert len(body) <= put.pop("bytes_in") < len(body) + 10_000
    assert "an agent/1" in put.pop("user_agent")
    assert put == {
        "request_id": answer["ResponseMetadata"]["RequestId"], "remote": "127.0.0.1",
        "tls": 1.3 if own.certificate else None, "user": "writer", "principal": put["principal"],
        "access_key": "writer", "method": "PUT", "path": "/photos/a%20key/%C3%A9%2B%26", "operation": "PutObject",
        "bucket": "photos", "key": "a key/é+&", "status": 200, "error": None, "bytes_out": 0, "complete": True,
    }
    assert put["principal"].endswith(":user/writer")
    got, = logged(own.access_log, 1, operation="GetObject", status=206)
    assert (got["bytes_in"], got["bytes_out"], got["complete"]) == (0, 100, True)
    head, = logged(own.access_log, 1, operation="HeadObject")
    assert head["bytes_out"] == 0
    missing, = logged(own.access_log, 1, operation="GetObject", status=404)
    assert missing["error"] == "NoSuchKey" and missing["bytes_out"] > 100
    assert logged(own.access_log, 1, operation="CreateBucket")[0]["key"] is None


def test_who_it_was_and_nothing_secret(own):
    writer, s3 = own.users["writer"], own.s3()
    s3.put_object(Bucket="photos", Key="k", Body=b"1")
    wrong = sluicegate.User("writer", "Not-the-secret-1", 0, 0)
    with pytest.raises(ClientError):
        own.s3(wrong).get_object(Bucket="photos", Key="k")
    line, = logged(own.access_log, 1, error="SignatureDoesNotMatch")
    assert line["user"] is None and line["key"] == "k", "who it was is not known"
    presigner = own.s3(signature_version="s3v4")
    url = presigner.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "k"})
    with socket.create_connection((own.host, own.port)) as plain:
        connection = plain
        if own.certificate:
            context = ssl.create_default_context(cafile=str(own.certificate.authority))
            connection = context.wrap_socket(plain, server_hostname="localhost")
        target = url.split(f":{own.port}", 1)[1]
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {own.host}:{own.port}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    presigned, = logged(own.access_log, 1, operation="GetObject", status=200)
    assert presigned["user"] == "writer" and presigned["path"] == "/photos/k" and presigned["user_agent"] is None
    client = boto3.client("sts", endpoint_url=own.endpoint, region_name="us-east-1", aws_access_key_id=writer.name,
                          aws_secret_access_key=writer.secret,
                          verify=str(own.certificate.authority) if own.certificate else None)
    assumed = client.assume_role(RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="job")["Credentials"]
    session = sluicegate.User(assumed["AccessKeyId"], assumed["SecretAccessKey"], 0, 0)
    own.s3(session, session_token=assumed["SessionToken"]).get_object(Bucket="photos", Key="k")["Body"].read()
    line, = logged(own.access_log, 1, access_key=assumed["AccessKeyId"])
    assert line["user"] == "writer" and line["principal"].endswith("/job")
    text = own.access_log.read_text()
    for secret in [writer.secret, assumed["SecretAccessKey"], assumed["SessionToken"], "Signature=", "Credential="]:
        assert secret not in text


def test_what_is_no_request_and_what_breaks_off(own):
    if own.certificate:
        pytest.skip("the bytes are the same")
    s3 = own.s3()
    s3.put_object(Bucket="photos", Key="large", Body=bytes(64 << 20))
    with socket.create_connection((own.host, own.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    line, = logged(own.access_log, 1, operation="unknown")
    assert (line["status"], line["error"], line["path"], line["user"]) == (400, "BadRequest", None, None)
    presigner = own.s3(signature_version="s3v4")
    url = presigner.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "large"})
    with socket.create_connection((own.host, own.port)) as connection:
        target = url.split(f":{own.port}", 1)[1]
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {own.host}:{own.port}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
    line, = logged(own.access_log, 1, operation="GetObject")
    assert line["status"] == 200 and line["complete"] is False and line["bytes_out"] < 64 << 20


def test_a_form_is_logged_with_its_key(own):
    if own.certificate:
        pytest.skip("the same over TLS")
    post = own.s3().generate_presigned_post("photos", "posted")
    answer = urllib3.PoolManager().request("POST", post["url"], fields={**post["fields"], "file": "content"})
    assert answer.status == 204
    line, = logged(own.access_log, 1, operation="PostObject")
    assert (line["bucket"], line["key"], line["user"]) == ("photos", "posted", "writer")


def test_a_moved_file_is_opened_again_and_no_line_is_lost(own):
    s3 = own.s3()
    moved = own.access_log.with_suffix(".1")
    for number in range(300):
        s3.put_object(Bucket="photos", Key=f"k{number}", Body=b"1")
        if number == 150:
            own.access_log.rename(moved)
            os.kill(own.pid, signal.SIGHUP)
            wait_until(own.access_log.exists, "the new file")
    wait_until(lambda: len([line for line in lines(own.access_log) if line["key"] == "k299"]) == 1, "the last line")
    keys = [line["key"] for path in [moved, own.access_log] for line in lines(path) if line["operation"] == "PutObject"]
    # Each core has a sheet of its own, so the order of their lines may differ.
    assert sorted(keys) == sorted(f"k{number}" for number in range(300))
    assert lines(moved) and lines(own.access_log)
    assert own.access_log.stat().st_mode & 0o777 == 0o640


def test_the_last_lines_are_written_before_the_end(tmp_path):
    log = tmp_path / "access.log"
    with Server(options=["--access-log", log]) as server:
        with_users(server)
        server.s3().create_bucket(Bucket="photos")
        server.stop()
    assert [line["operation"] for line in lines(log)] == ["CreateBucket"]


def test_standard_output():
    with Server(options=["--access-log", "-"]) as server:
        with_users(server)
        server.s3().create_bucket(Bucket="photos")
        wait_until(lambda: '"operation":"CreateBucket"' in server.output(), "the line")


def test_a_file_that_cannot_be_made_stops_the_start(tmp_path):
    with pytest.raises(AssertionError, match="--access-log"):
        Server(options=["--access-log", tmp_path / "missing" / "access.log"])


@pytest.mark.skipif(not sluicegate.IS_ROOT, reason="needs root")
def test_a_full_disk_loses_lines_but_no_request(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mounted], check=True)
    log = mounted / "access.log"
    try:
        with monitored_server("--access-log", log) as server:
            s3 = server.s3()
            s3.create_bucket(Bucket="photos")
            dropped = 'sluicegate_journal_lines_total{sink="access_log",result="dropped"}'
            while not metrics(server)[dropped]:
                for number in range(50):
                    s3.put_object(Bucket="photos", Key=f"k{number}", Body=b"1")
            os.truncate(log, 1000)
            s3.put_object(Bucket="photos", Key="last", Body=b"1")
            wait_until(lambda: '"key":"last"' in log.read_text(), "a line after there was room again")
            last = log.read_text().splitlines()[-1]
            assert json.loads(last)["key"] == "last", "a line that was torn does not spoil the next"
            assert "cannot be written to" in server.log() and "can be written to again" in server.log()
            found = metrics(server)
            assert found['sluicegate_journal_waiting{sink="access_log"}'] == 0
            assert found['sluicegate_journal_lines_total{sink="access_log",result="written"}'] > 0
            server.stop()
    finally:
        subprocess.run(["umount", mounted], check=True)
