"""Large objects are read past the page cache, until one is read again and again: then it comes there and stays.

What the page cache has of an object is asked with mincore(2) on its file. The servers have one worker, because each counts
for itself.
"""

import ctypes
import mmap
import os

import pytest

from conftest import new_bucket, with_users
from sluicegate import Server

MIB = 1 << 20
SIZE = 8 * MIB + 1000  # The last block is not whole.
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module", params=["http", "https", "http_epoll"])
def server(request):
    options = {"driver": "epoll"} if request.param == "http_epoll" else {}
    if request.param == "https":
        options["certificate"] = request.getfixturevalue("certificate")
    with Server(options=["--workers", "1"], **options) as server:
        yield with_users(server)


@pytest.fixture
def bucket(server):
    return new_bucket(server)


def cached_bytes(path):
    """How much of a file is in the page cache, in whole pages."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        if LIBC.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), pages):
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(page & 1 for page in pages) * mmap.PAGESIZE


def drop(path):
    """Takes a file out of the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert cached_bytes(path) < MIB


def put(server, bucket, key="large"):
    """A new object, of which the page cache has nothing; its content and where it lies."""
    body = os.urandom(SIZE)
    server.s3().put_object(Bucket=bucket, Key=key, Body=body)
    path = server.path(bucket, key)
    drop(path)
    return body, path


def read(server, bucket, key="large", **options):
    return server.s3().get_object(Bucket=bucket, Key=key, **options)["Body"].read()


def test_what_is_read_again_comes_into_the_page_cache(server, bucket):
    body, path = put(server, bucket)
    assert read(server, bucket) == body
    assert cached_bytes(path) < MIB, "what is read once leaves nothing in the page cache"
    assert read(server, bucket) == body
    assert cached_bytes(path) >= SIZE, "the second read goes through the page cache"
    for _ in range(3):
        assert read(server, bucket) == body
    assert read(server, bucket, Range="bytes=1000000-3000000") == body[1_000_000:3_000_001]


def test_ranges_count_by_their_bytes(server, bucket):
    body, path = put(server, bucket)
    # Up to four times the size and no two of them alike: what goes through the cache is not aligned either.
    ranges = [(start, min(start + 3 * MIB // 2 + 77, SIZE)) for start in range(0, SIZE, MIB)]
    for start, end in ranges[:-4]:
        assert read(server, bucket, Range=f"bytes={start}-{end - 1}") == body[start:end]
    assert cached_bytes(path) < MIB, "less than the whole object was read"
    for start, end in ranges * 2:
        assert read(server, bucket, Range=f"bytes={start}-{end - 1}") == body[start:end]
    assert cached_bytes(path) >= SIZE


def test_a_scan_leaves_nothing_in_the_page_cache(server, bucket):
    made = [put(server, bucket, f"large-{number}") for number in range(6)]
    for number, (body, _) in enumerate(made):
        assert read(server, bucket, f"large-{number}") == body
    assert [cached_bytes(path) for _, path in made if cached_bytes(path) >= MIB] == []


def test_a_new_object_under_the_key_is_a_new_one(server, bucket):
    body, path = put(server, bucket)
    for _ in range(3):
        assert read(server, bucket) == body
    assert cached_bytes(path) >= SIZE
    other, path = put(server, bucket)
    assert read(server, bucket) == other
    assert cached_bytes(path) < MIB, "what was read of the one before does not count"
    assert read(server, bucket) == other


def test_what_another_program_writes_is_read(server, bucket):
    body, path = put(server, bucket)
    for _ in range(3):
        assert read(server, bucket) == body
    changed = body[:MIB] + os.urandom(4096) + body[MIB + 4096:]
    with open(path, "r+b") as file:
        file.seek(MIB)
        file.write(changed[MIB:MIB + 4096])
    for _ in range(3):
        assert read(server, bucket) == changed


def test_what_does_not_stay_is_not_brought_back_for_ever(server, bucket):
    body, path = put(server, bucket)
    came = []
    for _ in range(8):
        drop(path)
        assert read(server, bucket) == body
        came.append(cached_bytes(path) >= SIZE)
    assert came == [False] + [True] * 4 + [False] * 3


def test_what_was_dropped_in_the_middle_is_read_from_the_disk(server, bucket):
    body, path = put(server, bucket)
    for _ in range(3):
        assert read(server, bucket) == body
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 5 * MIB, MIB // 2, os.POSIX_FADV_DONTNEED)
    assert cached_bytes(path) < SIZE
    assert read(server, bucket) == body
