"""S3 clients and POSIX programs on the same files at the same time."""

import collections
import contextlib
import itertools
import os
import subprocess
import threading
import time
from random import Random

import botocore.exceptions
import pytest

import wire
from conftest import needs_root, new_bucket
from sluicegate import Server, wait_until
from test_storage import keys_of

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
    with Disturbance(lambda: (rewrite(path, content(), 4096), time.sleep(0.04))):
        reader, until = Reader(http, bucket, "k"), time.monotonic() + 1.5
        while time.monotonic() < until:
            status, etag, body = reader.get()
            outcomes[status if body is not None else "broken off"] += 1
            if status == 200 and body is not None:
                assert len({body[start:start + 8] for start in range(0, len(body) // 8 * 8, 8)}) == 1, "torn"
                etags[etag].add(body[:8])
    assert all(len(contents) == 1 for contents in etags.values()), etags
    assert set(outcomes) <= {200, 503, "broken off"}, outcomes
    assert outcomes[200] > 20, outcomes


LARGE = {
    "Metadata": {f"name-{number}": "v" * 170 for number in range(11)},
    "Tagging": "&".join(f"{number}{'k' * 127}={'v' * 256}" for number in range(10)),
}


def spilled(server):
    return sorted((server.root / ".sluicegate/spill").iterdir())


def test_records_larger_than_the_attributes_of_a_file(http):
    """Everything works as with small ones, and nothing is left of them."""
    s3, bucket = http.s3(), new_bucket(http)
    before = spilled(http)

    def check(key):
        head = s3.head_object(Bucket=bucket, Key=key)
        found = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert found["Body"].read() == b"large"
        for answer in [head, found]:
            assert answer["Metadata"] == LARGE["Metadata"] and answer["ETag"] == etag
        assert found["TagCount"] == 10 and found["ChecksumCRC32"] == checksum
        tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        assert sorted(f"{tag['Key']}={tag['Value']}" for tag in tags) == sorted(LARGE["Tagging"].split("&"))

    stored = s3.put_object(Bucket=bucket, Key="k", Body=b"large", **LARGE)
    etag, checksum = stored["ETag"], stored["ChecksumCRC32"]
    check("k")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    check("copy")
    s3.put_object(Bucket=bucket, Key="k/below", Body=b"x")
    check("k")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", **LARGE)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"large")
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert s3.head_object(Bucket=bucket, Key="parts")["Metadata"] == LARGE["Metadata"]
    listed = {entry["Key"]: entry["ETag"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed["k"] == listed["copy"] == etag
    for refused in [{"IfNoneMatch": "*"}, {"IfMatch": '"0"'}]:
        with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", **LARGE, **refused)
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == LARGE["Metadata"]
    http.path(bucket, "copy").write_bytes(b"edited")
    assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {}
    s3.put_object(Bucket=bucket, Key="copy", Body=b"small")
    for key in ["k", "copy", "k/below", "parts"]:
        s3.delete_object(Bucket=bucket, Key=key)
    assert spilled(http) == before
    s3.delete_bucket(Bucket=bucket)


@needs_root
def test_what_programs_leave_of_large_records_is_cleared_at_start():
    with Server() as server:
        server.add_user("writer")
        s3, bucket = server.s3(), new_bucket(server)
        for key in ["stays", "moved", "removed", "young"]:
            s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), **LARGE)
            if key != "young":
                for path in spilled(server):
                    os.utime(path, (0, 0))
        assert len(spilled(server)) in (0, 4)
        if not spilled(server):
            pytest.skip("this file system has room for every record")
        server.path(bucket, "moved").rename(server.path(bucket, "moved-away"))
        server.path(bucket, "removed").unlink()
        server.path(bucket, "young").unlink()
        server.restart()
        wait_until(lambda: len(spilled(server)) == 3, "the record of the object that is gone to go")
        s3 = server.s3()
        for key in ["stays", "moved-away"]:
            head = s3.head_object(Bucket=bucket, Key=key)
            assert head["Metadata"] == LARGE["Metadata"] and "-" not in head["ETag"]


def test_a_read_is_never_older_than_its_request(http):
    """Many reads at once, of objects in one directory, which is what the server asks the least about. What a program has
    done before a request is sent shows in the answer."""
    bucket, keys = new_bucket(http), [f"d/k{number}" for number in range(8)]
    base, user = http.path(bucket), http.users["writer"]
    numbers, done, pause = itertools.count(1), [0] * len(keys), Random(7)

    def renamed(path, content):
        path.with_name("new").write_bytes(content)
        path.with_name("new").rename(path)

    def written_over(path, content):
        with open(path, "r+b") as file:
            file.write(content)

    def removed_and_made(path, content):
        path.unlink()
        path.write_bytes(content)

    def program():
        for change in [renamed, written_over, removed_and_made]:
            index, number = pause.randrange(len(keys)), next(numbers)
            change(base / keys[index], b"%08d" % number)
            done[index] = number
            time.sleep(pause.uniform(0.01, 0.2))
        # Another directory in the place of this one: nothing happens to any file.
        number = next(numbers)
        (base / "next").mkdir()
        for key in keys:
            (base / "next" / key[2:]).write_bytes(b"%08d" % number)
        time.sleep(0.05)
        (base / "d").rename(base / "before")
        (base / "next").rename(base / "d")
        done[:] = [number] * len(keys)
        subprocess.run(["rm", "-r", base / "before"], check=True)
        time.sleep(pause.uniform(0.01, 0.2))

    (base / "d").mkdir()
    for key in keys:
        (base / key).write_bytes(b"%08d" % 0)
    answers = 0
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(wire.Connection(http)) for _ in range(4 * len(keys))]
        requests = [wire.signed(user, connections[0].host, "GET", f"/{bucket}/{key}") for key in keys]
        stack.enter_context(Disturbance(program))
        end = time.monotonic() + 6
        while time.monotonic() < end:
            before = done.copy()
            for index, connection in enumerate(connections):
                connection.send(requests[index % len(keys)])
            for index, connection in enumerate(connections):
                answer = connection.answer()
                # Between the two renames, or while an object is removed and made, or is written to.
                if answer.status == 200 and answer.body:
                    assert int(answer.body) >= before[index % len(keys)]
                    answers += 1
                else:
                    assert answer.status in (200, 404, 503), answer
    assert answers > 1000


def test_programs_at_work_under_the_load_of_clients(http):
    """Programs create, edit, rename, chmod, cut and delete; no request of a client fails for that."""
    s3, bucket = http.s3(), new_bucket(http)
    base = http.path(bucket)
    names = [f"{directory}k{number}" for directory in ["", "d/", "d/e/"] for number in range(4)]
    seeds = itertools.count()

    def program():
        random = Random(next(seeds))
        path = base / random.choice(names)
        with contextlib.suppress(OSError):
            match random.randrange(8):
                case 0:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"p" * random.randrange(5000))
                case 1:
                    os.truncate(path, random.randrange(5000))
                case 2:
                    path.rename(base / random.choice(names))
                case 3:
                    path.chmod(random.choice([0o600, 0o644, 0o000]))
                case 4:
                    path.unlink()
                case 5:
                    path.symlink_to("/etc/passwd")
                case 6:
                    os.utime(path)
                case 7:
                    path.parent.rmdir()

    def client():
        s3, random = clients.pop(), Random(next(seeds))
        while not ended.is_set():
            key = random.choice(names)
            try:
                match random.randrange(6):
                    case 0:
                        s3.put_object(Bucket=bucket, Key=key, Body=b"s" * random.randrange(5000))
                    case 1:
                        s3.delete_object(Bucket=bucket, Key=key)
                    case 2:
                        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                        assert body.strip(b"p\0") == b"" or body.strip(b"s\0") == b"", body
                    case 3:
                        s3.head_object(Bucket=bucket, Key=key)
                    case 4:
                        s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
                    case 5:
                        found = keys_of(s3, bucket, PaginationConfig={"PageSize": 3})
                        assert found == sorted(set(found)) and set(found) <= set(names), found
            except botocore.exceptions.ClientError as error:
                # What is not there; a link in the way; what changes while it is read; what keeps changing.
                answer = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
                assert answer in [(404, "NoSuchKey"), (404, "404"), (400, "InvalidRequest"), (503, "SlowDown")], answer

    clients, ended = [http.s3() for _ in range(3)], threading.Event()
    with Disturbance(program, client, client, client):
        time.sleep(3)
        ended.set()
    subprocess.run(["find", base, "-mindepth", "1", "-delete"], check=True)
    assert keys_of(s3, bucket) == []
    s3.delete_bucket(Bucket=bucket)
