"""Objects that the server read a moment ago: it keeps them open for a second, and nobody may notice.

Every test asks for an object until the server answers it without opening it, changes it, and asks once more: the very
next answer has to show the change. Whether the server opens a file is seen by its descriptors, because it keeps those.
"""

import contextlib
import ctypes
import hashlib
import os
import pathlib
import platform
import re
import signal
import subprocess
import threading
import time

import botocore.exceptions
import pytest

from conftest import needs_root, new_bucket
from sluicegate import Server, wait_until
from wire import Connection, Signer, ask

SETTLED_SECONDS = 0.05  # What changed just now is not kept open.


def open_files(server, part):
    """Which files with this in their path the server has open."""
    found = []
    for link in pathlib.Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if part in target:
            found.append(target)
    return found


def get(s3, bucket, key="k", **options):
    found = s3.get_object(Bucket=bucket, Key=key, **options)
    return found["Body"].read(), found["ETag"]


def keep_open(server, s3, bucket, key="k"):
    """Reads the object until the server keeps it open. It may close it again at any time, which changes nothing."""
    time.sleep(SETTLED_SECONDS)
    path = str(server.path(bucket, key))

    def is_kept():
        s3.head_object(Bucket=bucket, Key=key)
        return path in open_files(server, path)

    wait_until(is_kept, f"{path} to be kept open")
    return get(s3, bucket, key)


@pytest.fixture(scope="module")
def cached():
    """A server with one worker, so that every request meets the same cache, and times that are as fine as the system's."""
    with Server(options=["--workers", "1"]) as server:
        server.add_user("writer")
        yield server


def md5(body):
    return f'"{hashlib.md5(body).hexdigest()}"'


def test_an_object_is_kept_open_for_a_second_and_not_longer(cached):
    s3, bucket = cached.s3(), new_bucket(cached)
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x" * 4096)
    for number in range(20):
        keep_open(cached, s3, bucket, f"k{number}")
    path = cached.path(bucket, "k19")
    path.unlink()
    # Asked for or not: the blocks of what was deleted are given back.
    wait_until(lambda: not open_files(cached, str(path)), "the deleted file to be closed")
    # So is the directory that objects were put into.
    wait_until(lambda: not open_files(cached, str(cached.path(bucket))), "all files to be closed")


def test_the_cache_can_be_switched_off():
    with Server(options=["--workers", "1", "--object-cache", "0"]) as server:
        server.add_user("writer")
        s3, bucket = server.s3(), new_bucket(server)
        s3.put_object(Bucket=bucket, Key="k", Body=b"content")
        time.sleep(SETTLED_SECONDS)
        for _ in range(20):
            assert get(s3, bucket) == (b"content", md5(b"content"))
            assert open_files(server, str(server.path(bucket, "k"))) == []


def replaced_by_put(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"after-")
    return b"after-", md5(b"after-")


def written_in_place(server, s3, bucket):
    server.path(bucket, "k").write_bytes(b"after-")
    return b"after-", None


def written_in_place_with_its_time_set_back(server, s3, bucket):
    path = server.path(bucket, "k")
    before = path.stat()
    path.write_bytes(b"after-")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    # Whoever sets the time back on purpose passes the new content off under the record; but it is the new content.
    return b"after-", md5(b"before")


def renamed_over(server, s3, bucket):
    path = server.path(bucket, "k")
    path.with_name("other").write_bytes(b"after-")
    path.with_name("other").rename(path)
    return b"after-", None


def directory_swapped(server, s3, bucket):
    root = server.root
    (root / "aside").mkdir()
    (root / "aside/k").write_bytes(b"after-")
    (root / bucket).rename(root / "old")
    (root / "aside").rename(root / bucket)
    return b"after-", None


@pytest.mark.parametrize("change", [replaced_by_put, written_in_place, written_in_place_with_its_time_set_back,
                                    renamed_over, directory_swapped])
def test_the_next_answer_shows_the_change(cached, change):
    # Where the time was set back, the old checksum stands beside the new content; the test looks at that itself.
    s3, bucket = cached.s3(response_checksum_validation="when_required"), new_bucket(cached)
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    assert keep_open(cached, s3, bucket) == (b"before", md5(b"before"))
    body, etag = change(cached, s3, bucket)
    found = get(s3, bucket)
    assert found[0] == body
    if etag:
        assert found[1] == etag
    else:
        assert found[1] != md5(b"before") and "-" in found[1]
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ETag"], head["ContentLength"]) == (found[1], len(body))


class Crowd:
    """Some clients of one directory whose requests the server finds waiting together: then it looks at the directory once,
    and has the kernel report changes of files that are asked for often."""

    KEYS = ["k", "l", "m", "n"]

    def __init__(self, server, bucket):
        self.server, self.stack = server, contextlib.ExitStack()
        self.connections = [self.stack.enter_context(Connection(server)) for _ in self.KEYS]
        signer = Signer(server.users["writer"])
        self.requests = []
        for key, connection in zip(self.KEYS, self.connections):
            target = signer.presign("GET", connection.host, f"/{bucket}/{key}", expires=600)
            self.requests.append(f"GET {target} HTTP/1.1\r\nHost: {connection.host}\r\n\r\n".encode())

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.stack.close()

    def ask(self):
        """The body of the last key, which is never the first that the server answers."""
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            for connection, request in zip(self.connections, self.requests):
                connection.send(request)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
        answers = [connection.answer() for connection in self.connections]
        for answer in answers:
            answer.expect(200)
        return answers[-1].body

    def watch(self, path):
        """Asks until the file is watched."""
        def is_watched():
            self.ask()
            return path.stat().st_ino in watched(self.server)

        wait_until(is_watched, f"{path} to be watched")


def watched(server):
    """The inodes of files of which the kernel reports changes to the server."""
    found = set()
    for link in pathlib.Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if "inotify" in os.readlink(link):
                text = pathlib.Path(f"/proc/{server.pid}/fdinfo/{link.name}").read_text()
                found |= {int(inode, 16) for inode in re.findall(r"^inotify .*?ino:([0-9a-f]+)", text, re.MULTILINE)}
    return found


@pytest.fixture
def crowd(cached):
    kind = subprocess.run(["stat", "-f", "-c", "%T", cached.root], capture_output=True, text=True).stdout.strip()
    if kind not in ("ext2/ext3", "xfs", "btrfs", "tmpfs"):
        pytest.skip(f"nobody knows whether only this machine writes to {kind}")
    if tuple(map(int, re.findall(r"\d+", platform.release())[:2])) < (6, 13):
        pytest.skip("the kernel has no fine times")
    if cached.driver != "io_uring":
        pytest.skip("there are turns with a ring only")
    s3, bucket = cached.s3(), new_bucket(cached)
    for key in Crowd.KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"before")
    with Crowd(cached, bucket) as crowd:
        crowd.path = cached.path(bucket, Crowd.KEYS[-1])
        # As a program has it that opened it long ago.
        with open(crowd.path, "r+b", buffering=0) as crowd.file:
            time.sleep(SETTLED_SECONDS)
            crowd.watch(crowd.path)
            yield crowd


def by_its_descriptor(crowd):
    os.pwrite(crowd.file.fileno(), b"after-", 0)


def by_another_name(crowd):
    other = crowd.server.root / "link"
    os.link(crowd.path, other)
    crowd.watch(crowd.path)
    other.write_bytes(b"after-")
    other.unlink()


def by_cutting_it_off(crowd):
    os.ftruncate(crowd.file.fileno(), 0)
    os.pwrite(crowd.file.fileno(), b"after-", 0)


def by_a_rename(crowd):
    crowd.path.with_name("other").write_bytes(b"after-")
    crowd.path.with_name("other").rename(crowd.path)


def by_copying(crowd):
    with open(crowd.server.root / "source", "w+b", buffering=0) as source:
        source.write(b"after-")
        assert os.copy_file_range(source.fileno(), crowd.file.fileno(), 6, 0, 0) == 6


@pytest.mark.parametrize("change", [by_its_descriptor, by_another_name, by_cutting_it_off, by_a_rename, by_copying])
def test_the_next_answer_shows_the_change_of_a_watched_file(crowd, change):
    assert crowd.ask() == b"before"
    change(crowd)
    assert crowd.ask() == b"after-"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are those of x86-64")
def test_what_the_kernel_does_not_report_shows_within_a_second(crowd):
    """io_submit(2) by a program that had opened the file before."""
    system = ctypes.CDLL(None, use_errno=True).syscall
    context, body = ctypes.c_ulong(), ctypes.create_string_buffer(b"after-", 6)
    assert system(206, 1, ctypes.byref(context)) == 0, "io_setup"
    # struct iocb: data, key and flags, opcode (PWRITE) and priority, descriptor, buffer, length, offset.
    request = (ctypes.c_uint64 * 8)(0, 0, 1 | crowd.file.fileno() << 32, ctypes.addressof(body), 6, 0, 0, 0)
    requests = (ctypes.c_void_p * 1)(ctypes.addressof(request))
    assert system(209, context, 1, requests) == 1, "io_submit"
    events = (ctypes.c_uint64 * 4)()
    assert system(208, context, 1, 1, events, None) == 1, "io_getevents"
    assert events[2] == 6, events[:]
    system(207, context)
    wait_until(lambda: crowd.ask() == b"after-", "the change to be shown", seconds=2)


def test_what_the_record_says_is_shown_at_once(cached):
    s3, bucket = cached.s3(response_checksum_validation="when_required"), new_bucket(cached)
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", Metadata={"a": "1"}, ChecksumAlgorithm="SHA256")
    keep_open(cached, s3, bucket)
    assert "TagCount" not in s3.get_object(Bucket=bucket, Key="k")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "t", "Value": "v"}]})
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 1
    keep_open(cached, s3, bucket)
    for _ in range(2):
        found = s3.get_object(Bucket=bucket, Key="k")
        assert (found["TagCount"], found["Metadata"], found["Body"].read()) == (1, {"a": "1"}, b"content")
        # What depends on the request is not remembered.
        asked = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", ResponseContentType="text/x")
        assert asked["ChecksumSHA256"] and asked["ContentType"] == "text/x"
        part = s3.get_object(Bucket=bucket, Key="k", Range="bytes=3-4")
        assert (part["Body"].read(), part["ContentRange"]) == (b"te", "bytes 3-4/7")
        assert found["ContentType"] == "binary/octet-stream" and "ChecksumSHA256" not in found
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=found["ETag"])
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            s3.get_object(Bucket=bucket, Key="k", IfMatch='"other"')
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", Metadata={"b": "2"}, MetadataDirective="REPLACE")
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"b": "2"}


def test_metadata_beyond_ascii_is_written_for_each_client(cached):
    s3, bucket = cached.s3(), new_bucket(cached)
    utf8 = "é".encode().decode("latin-1")  # As the bytes of a header are shown here.
    ask(cached, "PUT", f"/{bucket}/k", b"x", headers=[("x-amz-meta-a", utf8)]).expect(200)
    keep_open(cached, s3, bucket)
    for agent, expected in [("curl/8", utf8), ("Botocore/1.43", "é"), ("curl/8", utf8)]:
        answer = ask(cached, "HEAD", f"/{bucket}/k", headers=[("User-Agent", agent)])
        assert answer.headers["x-amz-meta-a"] == expected, agent


def test_deleted_and_versioned_and_denied(cached):
    s3, bucket = cached.s3(), new_bucket(cached)
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    keep_open(cached, s3, bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"two")["VersionId"]
    for _ in range(3):
        assert keep_open(cached, s3, bucket)[0] == b"two"
        assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == second
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == second
    marker = s3.delete_object(Bucket=bucket, Key="k")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.head_object(Bucket=bucket, Key="k")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert get(s3, bucket, VersionId=second)[0] == b"two"
    # Who may read is asked every time.
    plain = new_bucket(cached)
    s3.put_object(Bucket=plain, Key="k", Body=b"content")
    keep_open(cached, s3, plain)
    nobody = cached.add_user("nobody-" + plain, policy=None)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        cached.s3(nobody).get_object(Bucket=plain, Key="k")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    keep_open(cached, s3, plain)
    cached.admin("bucket", "destroy", plain, "--unlink")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.get_object(Bucket=plain, Key="k")
    assert caught.value.response["Error"]["Code"] == "NoSuchBucket"


@needs_root
def test_a_link_in_the_place_of_a_directory_leads_nowhere(cached):
    s3, bucket = cached.s3(), new_bucket(cached)
    s3.put_object(Bucket=bucket, Key="d/k", Body=b"inside")
    outside = cached.root / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "k").write_bytes(b"secret")
    keep_open(cached, s3, bucket, "d/k")
    cached.path(bucket, "d").rename(cached.path(bucket, "e"))
    cached.path(bucket, "d").symlink_to(outside)
    for _ in range(3):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            s3.get_object(Bucket=bucket, Key="d/k")
        assert caught.value.response["Error"]["Code"] == "NoSuchKey"
    # Not even to the very file, for longer than a second.
    keep_open(cached, s3, bucket, "e/k")
    cached.path(bucket, "e").rename(cached.path(bucket, "f"))
    cached.path(bucket, "e").symlink_to("f")

    def is_gone():
        try:
            s3.get_object(Bucket=bucket, Key="e/k")
            return False
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"] == "NoSuchKey"

    begun = time.monotonic()
    wait_until(is_gone, "the link not to be followed")
    assert time.monotonic() - begun < 30


def test_readers_never_see_two_contents_in_one(server):
    """A program writes the file in place all the time; each answer is of one content, and its ETag of no other."""
    s3, bucket = server.s3(), new_bucket(server)
    path, ended, size = server.path(bucket, "k"), threading.Event(), 8192
    path.write_bytes(b"0" * size)

    def write():
        with open(path, "r+b", buffering=0) as file:
            number = 0
            while not ended.is_set():
                number += 1
                os.pwrite(file.fileno(), b"%d" % (number % 10) * size, 0)
                time.sleep(0.03)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        contents, until = {}, time.monotonic() + 4
        while time.monotonic() < until:
            try:
                body, etag = get(s3, bucket)
            except botocore.exceptions.ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
                continue
            assert len(set(body)) == 1 and len(body) == size, "two contents in one answer"
            assert contents.setdefault(etag, body) == body, "one ETag for two contents"
        assert len(contents) > 3
    finally:
        ended.set()
        writer.join()


def test_closing_and_old_clients_get_the_whole_answer(cached):
    """What is said of the connection comes in front of a body that was put behind the head already."""
    s3, bucket = cached.s3(), new_bucket(cached)
    s3.put_object(Bucket=bucket, Key="k", Body=b"content" * 100)
    keep_open(cached, s3, bucket)
    for version, options, expected in [
        ("1.1", "Connection: close\r\n", "close"), ("1.0", "Connection: keep-alive\r\n", "keep-alive"),
        ("1.0", "", "close"), ("1.1", "", None),
    ]:
        with Connection(cached) as connection:
            target = Signer(cached.users["writer"]).presign("GET", connection.host, f"/{bucket}/k")
            connection.send(f"GET {target} HTTP/{version}\r\nHost: {connection.host}\r\n{options}\r\n".encode())
            answer = connection.answer()
            answer.expect(200)
            assert (answer.headers.get("connection"), answer.body) == (expected, b"content" * 100)
            assert not connection.pending
            assert expected != "close" or connection.is_closed()


def test_a_browser_gets_its_headers_in_front_of_the_body(cached):
    s3, bucket = cached.s3(), new_bucket(cached)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={
        "CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://page.test"]}]})
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    for kept in [False, True]:
        if kept:
            keep_open(cached, s3, bucket)
        for origin in ["https://page.test", None]:
            headers = [("Origin", origin)] if origin else []
            answer = ask(cached, "GET", f"/{bucket}/k", headers=headers)
            assert (answer.status, answer.body) == (200, b"content")
            assert answer.headers.get("access-control-allow-origin") == origin
