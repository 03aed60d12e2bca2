"""S3 clients and POSIX programs on the same files at the same time."""

import collections
import os
import threading
import time

import botocore.exceptions
import pytest

import wire
from conftest import new_bucket

MIB = 1 << 20


class Disturbance:
    """A program beside the test: calls `act` again and again, from a thread, until the block ends."""

    def __init__(self, *acts):
        self.acts, self.ended, self.failures = acts, threading.Event(), []
        self.threads = [threading.Thread(target=self._run, args=[act]) for act in acts]

    def _run(self, act):
        try:
            while not self.ended.is_set():
                act()
        except BaseException as failure:
            self.failures.append(failure)

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *failure):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures


class Reader:
    """Gets one object again and again. A GET that breaks off has no body."""

    def __init__(self, server, bucket, key):
        self.server, self.target, self.connection = server, f"/{bucket}/{key}", None

    def get(self):
        self.connection = self.connection or wire.Connection(self.server)
        connection, user = self.connection, self.server.users["writer"]
        connection.send(wire.signed(user, connection.host, "GET", self.target))
        status, headers = connection.head()
        length = int(headers["content-length"])
        while len(connection.pending) < length:
            if not connection.receive():
                connection.__exit__()
                self.connection = None
                return status, headers["etag"], None
        body, connection.pending = connection.pending[:length], connection.pending[length:]
        return status, headers.get("etag"), body


def rewrite(path, content, piece=1 << 20):
    """Writes over a file in place."""
    with open(path, "r+b", buffering=0) as file:
        for start in range(0, len(content), piece):
            file.write(content[start:start + piece])


@pytest.mark.parametrize("size", [200 * 1024, 16 * MIB])
@pytest.mark.parametrize("edit", ["rewritten", "one byte", "cut", "cut and refilled", "appended"])
def test_a_get_delivers_one_version_or_breaks_off(server, size, edit):
    """The client reads slowly enough for the program to change what is not sent yet."""
    bucket = new_bucket(server)
    before, after = b"a" * size, b"b" * size
    path = server.path(bucket, "k")
    path.write_bytes(before)
    with wire.Connection(server) as connection:
        connection.send(wire.signed(server.users["writer"], connection.host, "GET", f"/{bucket}/k"))
        status, headers = connection.head()
        assert status == 200 and int(headers["content-length"]) == size
        received = connection.pending
        match edit:
            case "rewritten":
                rewrite(path, after)
            case "one byte":
                with open(path, "r+b") as file:
                    file.seek(size - 1)
                    file.write(b"b")
            case "cut":
                os.truncate(path, size // 2)
            case "cut and refilled":
                path.write_bytes(after)
            case "appended":
                with open(path, "ab") as file:
                    file.write(b"b")
        connection.pending = b""
        while len(received) < size and connection.receive():
            received += connection.pending
            connection.pending = b""
    if len(received) == size:
        # All of it was on its way before the program came.
        assert received == before
        assert size < MIB
    assert size < MIB or len(received) < size


def test_what_is_renamed_over_or_deleted_under_a_get_is_delivered_whole(server):
    s3, bucket = server.s3(), new_bucket(server)
    before = os.urandom(16 * MIB)
    for number, change in enumerate([
        lambda path: path.unlink(),
        lambda path: (path.with_name("new").write_bytes(b"new"), path.with_name("new").rename(path)),
        lambda path: s3.put_object(Bucket=bucket, Key=path.name, Body=b"new"),
        lambda path: s3.delete_object(Bucket=bucket, Key=path.name),
        lambda path: path.chmod(0o600),
        lambda path: os.setxattr(path, "user.mine", b"x"),
        lambda path: s3.put_object_tagging(Bucket=bucket, Key=path.name, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
    ]):
        server.path(bucket, f"k{number}").write_bytes(before)
        body = s3.get_object(Bucket=bucket, Key=f"k{number}")["Body"]
        start = body.read(1000)
        change(server.path(bucket, f"k{number}"))
        assert start + body.read() == before, number


@pytest.mark.parametrize("size", [100, 4096, 60_000, 200_000])
def test_an_etag_never_comes_back_for_other_content(http, size):
    """A program rewrites a file in place; whatever a GET says and delivers belongs together, and to no other content."""
    bucket = new_bucket(http)
    path = http.path(bucket, "k")
    numbers = iter(range(1, 1 << 30))

    def content():
        return f"{next(numbers):08}".encode() * (size // 8)

    path.write_bytes(content())
    etags, outcomes = collections.defaultdict(set), collections.Counter()
    with Disturbance(lambda: (rewrite(path, content(), 4096), time.sleep(0.0005))):
        reader, until = Reader(http, bucket, "k"), time.monotonic() + 1
        while time.monotonic() < until:
            status, etag, body = reader.get()
            outcomes[status if body is not None else "broken off"] += 1
            if status == 200 and body is not None:
                assert len({body[start:start + 8] for start in range(0, len(body) // 8 * 8, 8)}) == 1, "torn"
                etags[etag].add(body[:8])
    assert all(len(contents) == 1 for contents in etags.values()), etags
    assert set(outcomes) <= {200, 503, "broken off"}, outcomes
    assert outcomes[200] > 20, outcomes
