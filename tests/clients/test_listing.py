"""Listings of large and of changing buckets: what a page costs, and that no key is missed or doubled.

What a page shows is held against a model in `test_keys` and in the crate's own tests.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from random import Random

import pytest

from conftest import needs_root, new_bucket
from sluicegate import scratch
from test_keys import Client

# Longer than a directory needs to count as unchanged.
SETTLE = 0.15


class Calls:
    """The system calls of a server while the block runs, by name."""

    def __init__(self, server):
        if not shutil.which("strace"):
            pytest.skip("strace is not installed")
        self.pid = server.pid

    def __enter__(self):
        self.directory = scratch()
        self.strace = subprocess.Popen(
            ["strace", "-f", "-o", self.directory / "trace", "-e", "trace=file,desc", "-p", str(self.pid)],
            stderr=subprocess.PIPE, text=True)
        assert "attached" in self.strace.stderr.readline()
        self.counts = {}
        return self

    def __exit__(self, *failure):
        self.strace.send_signal(signal.SIGINT)
        self.strace.wait(timeout=60)
        for line in (self.directory / "trace").read_text().splitlines():
            # A call that was interrupted by another thread's has a second line, without a parenthesis after its name.
            if found := re.match(r"\d+ +(\w+)\(", line):
                self.counts[found[1]] = self.counts.get(found[1], 0) + 1
        shutil.rmtree(self.directory)

    @property
    def of_files(self):
        """How many there were, without those of connections and of the ring."""
        others = {"read", "write", "sendto", "recvfrom", "io_uring_enter", "epoll_wait", "epoll_ctl", "fcntl", "ioctl"}
        return sum(count for name, count in self.counts.items() if name not in others)


def make(directory, names):
    """Empty files, quickly."""
    descriptor = os.open(directory, os.O_RDONLY)
    for name in names:
        os.mknod(name, dir_fd=descriptor)
    os.close(descriptor)


def all_pages(client, **query):
    """The keys and prefixes of all pages of a listing, page by page."""
    more = {"list-type": 2, **query}
    while more is not None:
        keys, prefixes, root = client.page(**more)
        yield keys, prefixes
        token = root.findtext("NextContinuationToken")
        more = {"list-type": 2, **query, "continuation-token": token} if token else None


@needs_root
def test_a_page_of_a_large_directory_costs_the_page(http):
    """100,000 files in one directory: once it is read, a page costs two calls for each key it shows, wherever it is."""
    bucket = new_bucket(http)
    client, count = Client(http, bucket), 100_000
    (http.path(bucket) / "flat").mkdir()
    make(http.path(bucket, "flat"), [f"{number:06}" for number in range(count)])
    make(http.path(bucket), ["a", "z"])
    time.sleep(SETTLE)
    with Calls(http) as first:
        client.page(**{"list-type": 2, "max-keys": 100})
    # Some 1,500 entries for each call.
    assert count / 3000 < first.counts["getdents64"] < count / 500, first.counts
    for query in [{}, {"start-after": "flat/000500"}, {"start-after": "flat/060000x"}, {"prefix": "flat/0999"},
                  {"prefix": "flat/", "delimiter": "/", "start-after": "flat/099000"}, {"prefix": "flat/09999", "delimiter": "9"}]:
        with Calls(http) as calls:
            keys, prefixes, _ = client.page(**{"list-type": 2, "max-keys": 100, **query})
        assert keys or prefixes
        assert calls.of_files <= 2 * len(keys) + 30, (query, calls.counts)
        assert calls.counts.get("getdents64", 0) <= 4, (query, calls.counts)
    # All of it rolled up is one prefix, and costs a look.
    with Calls(http) as calls:
        assert client.page(**{"list-type": 2, "delimiter": "/"})[:2] == (["a", "z"], ["flat/"])
    assert calls.of_files < 40, calls.counts
    shutil.rmtree(http.path(bucket, "flat"))


@needs_root
def test_a_listing_of_a_tree_costs_the_tree(http):
    """Twice as many directories, or twice as deep ones, cost twice as much, in pages of any size."""
    def tree(width, depth):
        bucket = new_bucket(http)
        for number in range(width):
            directory = http.path(bucket, "/".join([f"{number:03}", *["d"] * depth]))
            directory.mkdir(parents=True)
            make(directory, ["k"])
            make(directory.parent, ["k"])
        time.sleep(SETTLE)
        client = Client(http, bucket)
        with Calls(http) as calls:
            keys = [key for page, _ in all_pages(client, **{"max-keys": 20}) for key in page]
        assert len(keys) == len(set(keys)) == 2 * width and keys == sorted(keys)
        return calls.of_files

    small = tree(40, 10)
    assert small < 40 * 10 * 12
    assert tree(80, 10) < 2.5 * small
    assert tree(40, 20) < 2.5 * small


@pytest.mark.parametrize("settled", [True, False])
def test_keys_that_stay_are_in_a_listing_once_whatever_changes_between_its_pages(http, settled):
    """Programs and clients add, replace and delete keys all around, with the directories cached and not."""
    bucket, random = new_bucket(http), Random(3)
    client, base = Client(http, bucket), http.path(bucket)
    stays = [f"{directory}k{number:03}" for directory in ["", "d/", "d/e/"] for number in range(40)]
    for key in stays:
        client.ask("PUT", key, b"x").expect(200)
    others = {f"{key}{tail}" for key in stays for tail in ["-", "0", "/below", "/"]}
    there = set()

    def change():
        for key in random.sample(sorted(others), 6):
            if key in there:
                client.ask("DELETE", key).expect(204)
                there.remove(key)
            else:
                client.ask("PUT", key, b"x").expect(200)
                there.add(key)
        kept = base / random.choice(stays)
        if kept.is_file():
            # As editors save.
            kept.with_name("new~").write_bytes(b"edited")
            kept.with_name("new~").rename(kept)

    for size in [25] if settled else [3, 50]:
        found = []
        for keys, _ in all_pages(client, **{"max-keys": size}):
            found += keys
            change()
            if settled:
                time.sleep(SETTLE)
                # Read now, this page is cached; the next change makes it out of date.
                client.page(**{"list-type": 2, "start-after": found[-1] if found else "", "max-keys": 1})
        assert found == sorted(set(found)), "in order, and none twice"
        assert not set(stays) - set(found), "none that stayed is missing"
        assert set(found) <= set(stays) | others


def test_keys_that_are_replaced_all_the_time_are_always_listed(http):
    bucket = new_bucket(http)
    client, base = Client(http, bucket), http.path(bucket)
    names = [f"{number:04}" for number in range(300)]
    make(base, names)
    ended = threading.Event()

    def program():
        random = Random(1)
        while not ended.is_set():
            (base / "new~").write_bytes(b"x")
            (base / "new~").rename(base / random.choice(names))

    def writer():
        own, random = Client(http, bucket), Random(2)
        while not ended.is_set():
            own.ask("PUT", random.choice(names), b"y").expect(200)

    threads = [threading.Thread(target=act) for act in (program, writer)]
    for thread in threads:
        thread.start()
    try:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            keys = [key for page, _ in all_pages(client, **{"max-keys": 120}) for key in page]
            assert [key for key in keys if key != "new~"] == names
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_the_settings_of_a_listing_are_repeated_and_obeyed(server):
    s3, bucket = server.s3(), new_bucket(server)
    for key in ["a b+c", "a%2Fb/é", "z"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x", ChecksumAlgorithm="SHA256")
    client = Client(server, bucket)
    owned = client.ask("GET", **{"list-type": 2, "fetch-owner": "true", "max-keys": 2})
    assert owned.body.count(b"<Owner>") == 2 and owned.body.count(b"<ChecksumAlgorithm>SHA256<") == 2
    assert b"<KeyCount>2<" in owned.body and b"<MaxKeys>2<" in owned.body and b"<IsTruncated>true<" in owned.body
    assert b"<Owner>" not in client.ask("GET", **{"list-type": 2}).body
    assert client.ask("GET").body.count(b"<Owner>") == 3
    encoded = client.ask("GET", **{"list-type": 2, "encoding-type": "url", "delimiter": "/", "start-after": "a "}).body
    assert b"<EncodingType>url<" in encoded and b"<Prefix>a%252Fb/<" in encoded and b"<Key>z<" in encoded
    assert re.search(rb"<StartAfter>a(%20|\+)<", encoded) and re.search(rb"<Key>a(%20|\+)b%2Bc<", encoded)
    for limit in [0, 1, 2, 3, 1000, 5000]:
        answer = s3.list_objects_v2(Bucket=bucket, MaxKeys=limit)
        assert answer["KeyCount"] == len(answer.get("Contents", [])) == min(limit, 3)
        assert answer["IsTruncated"] == (0 < limit < 3) and ("NextContinuationToken" in answer) == (0 < limit < 3)
        assert answer["MaxKeys"] == min(limit, 1000)
