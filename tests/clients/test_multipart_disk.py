"""Multipart uploads on the disk: which blocks and inodes an object gets, what Complete does and leaves alone, what a crash, a
refused Complete and a client that goes away leave behind."""

import concurrent.futures
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import pytest

from conftest import needs_root, new_bucket
from sluicegate import Server, wait_until
from test_multipart import MIB, complete, etag_of, send, start, upload_directory
from test_storage import Mounted, code_of
from wire import Connection, signed


def extents(path):
    """Where the blocks of a file are: (logical, physical, length), neighbours joined (FS_IOC_FIEMAP)."""
    found = []
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        begin, last = 0, False
        while not last:
            count = 256
            buffer = bytearray(struct.pack("=QQIIII", begin, 2**63 - 1, 1, 0, count, 0)) + bytearray(56 * count)
            fcntl.ioctl(file, 0xC020660B, buffer)
            mapped = struct.unpack_from("=I", buffer, 20)[0]
            if not mapped:
                break
            for index in range(mapped):
                logical, physical, length, _, _, flags = struct.unpack_from("=QQQQQI", buffer, 32 + 56 * index)
                if found and (found[-1][0] + found[-1][2], found[-1][1] + found[-1][2]) == (logical, physical):
                    found[-1] = (*found[-1][:2], found[-1][2] + length)
                else:
                    found.append((logical, physical, length))
                begin, last = logical + length, bool(flags & 1)
    return found


def physical(path, begin=0, end=None):
    """Where each 512 bytes of a file lie."""
    blocks = {}
    for logical, where, length in extents(path):
        for offset in range(0, length, 512):
            blocks[logical + offset] = where + offset
    end = os.stat(path).st_size if end is None else end
    return [blocks.get(offset) for offset in range(begin, end, 512)]


@needs_root
@pytest.mark.parametrize("sizes", [[8 * MIB] * 4, [5 * MIB + 1] * 4, [6 * MIB] * 3 + [7 * MIB + 5], [6 * MIB] * 3 + [17]])
def test_complete_of_equal_parts_touches_no_data(sizes):
    """The object is the very file that the parts were written to: its inode, its blocks; no call moves data."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with Mounted("ext4", 128 * MIB) as mounted, Server(root=mounted.root) as server:
        server.add_user("writer")
        s3, bucket = server.s3(), new_bucket(server)
        upload = start(s3, bucket)
        bodies = [os.urandom(size) for size in sizes]
        parts = [send(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
        data = upload_directory(server, bucket, upload) / "data"
        # The last part is larger than the others in one case: it alone is moved.
        in_place = sum(size for size in sizes if size <= sizes[0])
        inode, before = data.stat().st_ino, physical(data, end=in_place)
        assert None not in before
        trace = mounted.directory / "trace"
        strace = subprocess.Popen(["strace", "-f", "-o", trace, "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
        try:
            assert "attached" in strace.stderr.readline()
            assert complete(s3, bucket, upload, parts)["ETag"] == etag_of(bodies)
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait(timeout=60)
        path = server.path(bucket, "k")
        assert path.stat().st_ino == inode and physical(path, end=in_place) == before
        assert path.read_bytes() == b"".join(bodies)
        calls = trace.read_text()
        assert "renameat" in calls and "fsetxattr" in calls
        copies = re.findall(r"(?:copy_file_range|sendfile|splice|fallocate|ioctl\(\d+, FICLONE\w*).* = (\d+)$", calls, re.MULTILINE)
        assert sum(map(int, copies)) == sum(sizes) - in_place
        moved = re.findall(r"(?:pwrite64|pwritev2?|pread64|preadv2?)\(.* = (\d+)$", calls, re.MULTILINE)
        # What is read is the upload's description and the table of parts.
        assert sum(map(int, moved)) < 16 * 1024, calls


@needs_root
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_uneven_parts_are_moved_by_sharing_their_blocks(kind):
    """Parts of any sizes that are whole blocks, and a last one of any size, give their blocks to the object."""
    with Mounted(kind, 512 * MIB) as mounted, Server(root=mounted.root) as server:
        server.add_user("writer")
        s3, bucket = server.s3(), new_bucket(server)
        upload = start(s3, bucket)
        bodies = [os.urandom(size) for size in (5 * MIB, 7 * MIB, 6 * MIB + 4096, 5 * MIB, 777)]
        parts = [send(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
        directory, before = upload_directory(server, bucket, upload), []
        by_size = {path.stat().st_size: path for path in directory.glob("part-*") if path.name != "part-size"}
        for number, body in enumerate(bodies, 1):
            if number in (1, 4, 5):
                before += physical(directory / "data", (number - 1) * 5 * MIB, (number - 1) * 5 * MIB + len(body))
            else:
                before += physical(by_size[len(body)])
        assert None not in before
        complete(s3, bucket, upload, parts)
        path = server.path(bucket, "k")
        assert path.read_bytes() == b"".join(bodies)
        # The last block is whole in the part and in the object; XFS and btrfs share it as well.
        assert physical(path) == before


@needs_root
def test_ten_thousand_parts_are_completed():
    """50 GB from one object of 5 MiB, whose blocks XFS shares ten thousand times."""
    with Mounted("xfs", 512 * MIB) as mounted, Server(root=mounted.root, options=["--durability", "none"]) as server:
        server.add_user("writer")
        s3, bucket = server.s3(max_pool_connections=8), new_bucket(server)
        body = os.urandom(5 * MIB)
        # Its checksum is the upload's, so that nothing has to be read to know those of the parts.
        s3.put_object(Bucket=bucket, Key="source", Body=body, ChecksumAlgorithm="CRC64NVME")
        upload = start(s3, bucket, ChecksumAlgorithm="CRC64NVME")

        def copy(number):
            part = s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, CopySource=f"{bucket}/source")
            return {"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]}

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(copy, range(1, 10_001)))
        data = (upload_directory(server, bucket, upload) / "data").stat()
        done = complete(s3, bucket, upload, parts, MpuObjectSize=10_000 * 5 * MIB)
        assert done["ETag"].endswith('-10000"') and done["ChecksumCRC64NVME"]
        assert server.path(bucket, "k").stat().st_ino == data.st_ino
        head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert head["ContentLength"] == 10_000 * 5 * MIB and head["ChecksumCRC64NVME"] == done["ChecksumCRC64NVME"]
        for number in [1, 2, 5000, 10_000]:
            part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
            begin = (number - 1) * 5 * MIB
            assert part["ContentRange"] == f"bytes {begin}-{begin + 5 * MIB - 1}/{10_000 * 5 * MIB}"
            assert part["PartsCount"] == 10_000 and part["Body"].read() == body


# What does not end as it should.


def test_a_refused_complete_takes_nothing_away(http):
    """A Complete of the first parts that is refused at the last moment leaves those behind them where they are."""
    s3, bucket = http.s3(), new_bucket(http)
    s3.put_object(Bucket=bucket, Key="k", Body=b"stands")
    upload = start(s3, bucket)
    bodies = [os.urandom(5 * MIB) for _ in range(3)]
    parts = [send(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
    for _ in range(2):
        assert code_of(complete, s3, bucket, upload, parts[:1], IfNoneMatch="*") == (412, "PreconditionFailed")
        assert code_of(complete, s3, bucket, upload, parts[:2], IfMatch='"0"') == (412, "PreconditionFailed")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"stands"
    complete(s3, bucket, upload, parts)
    assert http.path(bucket, "k").read_bytes() == b"".join(bodies)


class HalfSent(Connection):
    """A connection on which a client sends the first half of a part, and then waits."""

    def __init__(self, server, bucket, upload, number, body):
        super().__init__(server)
        target = f"/{bucket}/k?partNumber={number}&uploadId={upload}"
        data = signed(server.users["writer"], self.host, "PUT", target, body)
        self.rest = data[-(len(body) // 2):]
        self.send(data[:-len(self.rest)])

    def finish(self):
        self.send(self.rest)
        return self.answer()

    def vanish(self):
        """Resets the connection, so that the server learns of it at once."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def test_a_client_that_goes_away_leaves_nothing_and_holds_nobody_up(http):
    s3, bucket = http.s3(), new_bucket(http)
    upload = start(s3, bucket)
    bodies = [os.urandom(5 * MIB) for _ in range(3)]
    directory = upload_directory(http, bucket, upload)
    first = send(s3, bucket, upload, 1, bodies[0])
    for number, size in [(2, 5 * MIB), (3, 6 * MIB), (1, 5 * MIB)]:
        HalfSent(http, bucket, upload, number, os.urandom(size)).vanish()
    wait_until(lambda: not list(directory.glob("part-[0-9a-f]*")), "the files of the parts to go")
    parts = [first, *(send(s3, bucket, upload, number, bodies[number - 1]) for number in (2, 3))]
    complete(s3, bucket, upload, parts)
    assert http.path(bucket, "k").read_bytes() == b"".join(bodies)


def test_nobody_writes_into_a_published_object(http):
    """Complete while a part is on its way into the same file: the object is another one, and the part finds no upload."""
    s3, bucket = http.s3(), new_bucket(http)
    upload = start(s3, bucket)
    bodies = [os.urandom(5 * MIB) for _ in range(2)]
    parts = [send(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
    data = upload_directory(http, bucket, upload) / "data"
    inode, size = data.stat().st_ino, data.stat().st_size
    late = HalfSent(http, bucket, upload, 3, os.urandom(5 * MIB))
    wait_until(lambda: data.stat().st_size > size, "the part to begin")
    complete(s3, bucket, upload, parts)
    assert http.path(bucket, "k").stat().st_ino != inode
    late.finish().expect(404, "NoSuchUpload")
    assert http.path(bucket, "k").read_bytes() == b"".join(bodies)
    assert not upload_directory(http, bucket, upload).exists()


@pytest.mark.parametrize("number, size", [(2, 5 * MIB), (1, 5 * MIB), (3, 6 * MIB)])
def test_abort_while_a_part_arrives(http, number, size):
    s3, bucket = http.s3(), new_bucket(http)
    upload = start(s3, bucket)
    send(s3, bucket, upload, 1, os.urandom(5 * MIB))
    directory = upload_directory(http, bucket, upload)
    names = set(directory.iterdir())
    space = (directory / "data").stat().st_blocks
    late = HalfSent(http, bucket, upload, number, os.urandom(size))
    wait_until(lambda: set(directory.iterdir()) != names or (directory / "data").stat().st_blocks != space,
               "the part to begin")
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    late.finish().expect(404, "NoSuchUpload")
    assert list(directory.parent.iterdir()) == []
    assert code_of(send, s3, bucket, upload, 1, b"x") == (404, "NoSuchUpload")


@pytest.mark.parametrize("sizes", [[5 * MIB, 5 * MIB, 9], [5 * MIB, 6 * MIB, 9]])
def test_a_complete_that_a_crash_cut_off(sizes):
    """At each of the steps at which it can be cut off: the object was not published, or it was and the upload still stands."""
    with Server() as server:
        server.add_user("writer")
        s3, bucket = server.s3(), new_bucket(server)
        bodies = [os.urandom(size) for size in sizes]
        upload = start(s3, bucket)
        parts = [send(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
        directory = upload_directory(server, bucket, upload)
        taken = directory.with_name(f"{upload}.completing")
        # Before the publication: as if nothing had been asked.
        server.kill()
        directory.rename(taken)
        server.start()
        s3 = server.s3()
        assert [part["PartNumber"] for part in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]] == [1, 2, 3]
        kept = server.root / "kept"
        shutil.copytree(directory, kept)
        assert complete(s3, bucket, upload, parts)["ETag"] == etag_of(bodies)
        # After it: the object has the file of the parts that were in their places, or is a new one.
        server.kill()
        kept.rename(taken)
        if sizes[0] == sizes[1]:
            (taken / "data").unlink()
        server.start()
        s3 = server.s3()
        assert not taken.exists() and not directory.exists()
        assert complete(s3, bucket, upload, parts)["ETag"] == etag_of(bodies)
        assert server.path(bucket, "k").read_bytes() == b"".join(bodies)
        # In the middle of the removal.
        server.kill()
        for name in (f"{upload}.aborting", f"{upload}.completing"):
            directory.with_name(name).mkdir()
            (directory.with_name(name) / "parts").write_bytes(b"")
        server.start()
        assert list(directory.parent.iterdir()) == []
        # A file that is gone is nobody's object: the upload can only be aborted.
        s3 = server.s3()
        upload = start(s3, bucket)
        parts = [send(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
        (upload_directory(server, bucket, upload) / "data").unlink()
        assert code_of(complete, s3, bucket, upload, parts)[0] == 500
        assert server.path(bucket, "k").read_bytes() == b"".join(bodies)
        s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
