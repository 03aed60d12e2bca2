"""The server as a process: quickstart, signals, addresses, kernel calls, and what survives `kill -9`."""

import concurrent.futures
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import botocore.exceptions
import pytest

from conftest import needs_root, new_bucket
from sluicegate import BINARY, REGION, Server, User, scratch, wait_until

MIB = 1 << 20


def test_quickstart_finds_everything_again():
    directory = scratch()
    try:
        root = directory / "sluicegate-data"
        with Server(root=root, command="quickstart") as server:
            printed = server.output()
            secret = re.search(r"^export AWS_SECRET_ACCESS_KEY=(\S+)$", printed, re.MULTILINE)[1]
            assert f"region_name='{REGION}'" in printed
            user = server.users["writer"] = User("quickstart", secret, os.geteuid(), os.getegid())
            server.s3().create_bucket(Bucket="kept")
            server.s3().put_object(Bucket="kept", Key="a/b", Body=b"content", Metadata={"who": "me"})
            stat = server.path("kept", "a/b").stat()
            assert (stat.st_uid, stat.st_gid) == (user.uid, user.gid)
            server.restart()
            assert re.search(r"^export AWS_SECRET_ACCESS_KEY=(\S+)$", server.output(), re.MULTILINE)[1] == secret
            found = server.s3().get_object(Bucket="kept", Key="a/b")
            assert (found["Body"].read(), found["Metadata"]) == (b"content", {"who": "me"})
            assert [bucket["Name"] for bucket in server.s3().list_buckets()["Buckets"]] == ["kept"]
    finally:
        shutil.rmtree(directory)


def test_termination_finishes_what_runs():
    """A request under way at SIGTERM is answered; a connection that waits is closed; the exit status is 0."""

    class Slow:
        """A body that stops in the middle until it is told to go on."""

        def __init__(self, size):
            self.left, self.size = size, size
            self.half, self.go = threading.Event(), threading.Event()

        def __len__(self):
            return self.size

        def read(self, count=-1):
            if self.left <= self.size // 2 and not self.go.is_set():
                self.half.set()
                assert self.go.wait(60)
            count = self.left if count < 0 else min(count, self.left, 64 << 10)
            self.left -= count
            return b"x" * count

    with Server() as server:
        server.add_user("writer")
        bucket = new_bucket(server)
        url = server.s3(signature_version="s3v4").generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "slow"})
        idle = http.client.HTTPConnection(server.host, server.port)
        idle.request("GET", "/")
        idle.getresponse().read()
        body = Slow(4 * MIB)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            def put():
                connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
                connection.request("PUT", url.removeprefix(server.endpoint), body=body,
                                   headers={"Content-Length": str(len(body))})
                return connection.getresponse().status
            answer = pool.submit(put)
            assert body.half.wait(60)
            os.kill(server.pid, signal.SIGTERM)
            # The idle connection ends while the other one still runs.
            assert idle.sock.recv(1) == b""
            assert server.process.poll() is None
            body.go.set()
            assert answer.result(timeout=60) == 200
        server.ended(0)
        assert server.path(bucket, "slow").stat().st_size == 4 * MIB


def test_ipv6_and_several_addresses():
    with Server(listen="127.0.0.1:0,[::1]:0") as server:
        server.add_user("writer")
        bucket = new_bucket(server)
        four, six = server.endpoints
        assert "[::1]" in six
        server.s3(endpoint=four).put_object(Bucket=bucket, Key="k", Body=b"over IPv4")
        assert server.s3(endpoint=six).get_object(Bucket=bucket, Key="k")["Body"].read() == b"over IPv4"


def test_an_address_in_use_is_refused(server):
    second = subprocess.run(
        [BINARY, "serve", "--root", scratch(), "--listen", f"{server.host}:{server.port}"],
        capture_output=True, text=True, timeout=60,
    )
    assert second.returncode == 1
    assert f"cannot listen on {server.host}:{server.port}" in second.stderr
    assert "choose another --listen" in second.stderr


def test_acknowledged_objects_survive_a_crash():
    with Server() as server:
        server.add_user("writer")
        bucket = new_bucket(server)
        bodies = {f"d/{number}": os.urandom(number * 7001) for number in range(30)}
        for key, body in bodies.items():
            server.s3().put_object(Bucket=bucket, Key=key, Body=body)
        upload = server.s3().create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
        first = os.urandom(5 * MIB)
        part = server.s3().upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=first)
        server.kill()
        server.start()
        for key, body in bodies.items():
            assert server.s3().get_object(Bucket=bucket, Key=key)["Body"].read() == body
        second = server.s3().upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=2, Body=b"end")
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]
        complete = lambda: server.s3().complete_multipart_upload(
            Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
        etag = complete()["ETag"]
        # A client that lost the answer asks again.
        assert complete()["ETag"] == etag
        assert server.path(bucket, "parts").read_bytes() == first + b"end"
        assert server.system_files() == []


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
def test_create_only_has_one_winner(driver):
    with Server(driver=driver) as server:
        server.add_user("writer")
        bucket = new_bucket(server)
        clients = [server.s3() for _ in range(8)]

        def put(client, key, body):
            try:
                client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
                return body
            except botocore.exceptions.ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
                return None

        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            for round_ in range(25):
                key = f"round-{round_}"
                bodies = [f"{round_} by {number}".encode() for number in range(len(clients))]
                results = list(pool.map(put, clients, [key] * len(clients), bodies))
                winners = [result for result in results if result]
                assert len(winners) == 1
                assert server.path(bucket, key).read_bytes() == winners[0]


@needs_root
def test_a_large_put_goes_past_the_page_cache_through_the_ring():
    """strace of one 64 MiB PUT: the file is opened with O_DIRECT, the ring is entered, and no write(2) has the body."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    directory = scratch()
    try:
        trace = directory / "trace"
        with Server(driver="io_uring") as server:
            server.add_user("writer")
            bucket = new_bucket(server)
            strace = subprocess.Popen(
                ["strace", "-f", "-o", trace, "-e", "trace=openat,openat2,write,pwrite64,writev,pwritev2,io_uring_enter,"
                 "fallocate,fsync,linkat", "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
            assert "attached" in strace.stderr.readline()
            body = os.urandom(64 * MIB)
            server.s3().put_object(Bucket=bucket, Key="large", Body=body)
            strace.send_signal(signal.SIGINT)
            strace.wait(timeout=60)
            assert server.path(bucket, "large").read_bytes() == body
        calls = trace.read_text()
        opened = [line for line in calls.splitlines() if "O_TMPFILE" in line]
        assert len(opened) == 1 and "O_DIRECT" in opened[0]
        assert "io_uring_enter(" in calls and "fallocate(" in calls and "linkat(" in calls and "fsync(" in calls
        written = [int(size) for size in re.findall(r"(?:write|pwrite64|writev|pwritev2)\(.* = (\d+)$", calls, re.MULTILINE)]
        assert max(written, default=0) < 4096
    finally:
        shutil.rmtree(directory)


def test_bad_settings_say_what_to_do():
    def refused(*arguments):
        run = subprocess.run([BINARY, *arguments], capture_output=True, text=True,
                             timeout=60)
        assert run.returncode in (1, 2)
        return run.stderr

    assert "The data directory must exist" in refused("serve", "--root", "/nonexistent/root")
    assert "--durability" in refused("serve", "--durability", "sometimes")


def test_too_many_connections_are_told_to_come_back():
    with Server(options=["--workers", "1", "--connections-max", "4"]) as server:
        kept = [http.client.HTTPConnection(server.host, server.port, timeout=60) for _ in range(4)]
        for connection in kept:
            connection.request("GET", "/")
            connection.getresponse().read()
        refused = http.client.HTTPConnection(server.host, server.port, timeout=60)
        refused.request("GET", "/")
        answer = refused.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (503, "close")
        assert answer.getheader("Retry-After") and b"<Code>SlowDown</Code>" in answer.read()
        kept[0].request("GET", "/")
        assert kept[0].getresponse().status == 403
        kept.pop().close()

        def served():
            again = http.client.HTTPConnection(server.host, server.port, timeout=60)
            again.request("GET", "/")
            return again.getresponse().status == 403

        wait_until(served, "room for a new connection")


def test_a_limit_of_open_files_that_is_too_small_is_told(tmp_path):
    """At start, with what to do; and the doctor says so before."""
    limited = ["sh", "-c", 'ulimit -n 4096; "$@"; exit $?', "sh"]
    file = tmp_path / "sluicegate.toml"
    file.write_text("connections_max = 100\n")
    with Server(options=["--workers", "2", "--config", file], wrapper=limited) as server:
        assert "open files" not in server.log()
        file.write_text("connections_max = 5000\n")
        assert "Changed: connections-max" in server.admin("reload")
        wait_until(lambda: "the limit of open files is reached before connections-max" in server.log(), "the warning")
        server.restart()
        assert "limit of open files is reached" in server.log()
    done = subprocess.run([*limited, BINARY, "doctor", "--json", tmp_path], capture_output=True, text=True, check=True)
    [finding] = [found for found in json.loads(done.stdout) if found["name"] == "open files"]
    assert (finding["ok"], finding["found"]) == (False, "4096") and "--connections-max" in finding["advice"]
