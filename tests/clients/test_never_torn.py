"""An object is never visible half-written, also after a power cut that comes before its answer: what has a name has all of
its data on the disk.

The server's flushes are held up, so that nothing is acknowledged. As soon as the names are there another program flushes a
file of its own, which makes every name durable, and the file system is shut down without another word to the disk."""

import os
import shutil
import subprocess
import threading

import pytest

from conftest import needs_root
from sluicegate import Server, wait_until
from test_power_cut import Image

# Below, at and above a block; small ones go through the page cache, large ones past it but for their tail.
SIZES = [1, 4096, 5000, 32_768, 32_769, 70_000, 300_001, 1 << 20]
COPY_BYTES = 20_000


class HeldFlushes:
    """While it lasts, no flush of the server begins."""

    def __init__(self, server):
        self.strace = subprocess.Popen(
            ["strace", "-f", "-o", os.devnull, "-e", "trace=fsync,fdatasync,syncfs",
             "-e", "inject=fsync,fdatasync,syncfs:delay_enter=600s", "-p", str(server.pid)],
            stderr=subprocess.PIPE, text=True)
        assert "attached" in self.strace.stderr.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.strace.kill()
        self.strace.wait()


def content(name, size):
    return (name.encode() * (size // len(name) + 1))[:size]


def standing(path):
    """What is there after the cut, or why it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        return error


@needs_root
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_has_a_name_is_whole(kind):
    image = Image(kind)
    try:
        root = image.mount_point / "data"
        root.mkdir()
        server = Server(root=root)
        server.add_user("writer", "readwrite", number=7)
        s3 = server.s3()
        s3.create_bucket(Bucket="cut")
        s3.put_object(Bucket="cut", Key="source", Body=content("source", COPY_BYTES))
        expected = {"copied": content("source", COPY_BYTES), "copied-over": content("source", COPY_BYTES)}
        s3.put_object(Bucket="cut", Key="copied-over", Body=b"old")
        for size in SIZES:
            expected[f"new-{size}"] = content("new", size)
            expected[f"replaced-{size}"] = content("replacing", size)
            s3.put_object(Bucket="cut", Key=f"replaced-{size}", Body=content("old", size))

        def inode(key):
            path = server.path("cut", key)
            return path.stat().st_ino if path.exists() else None

        before = {key: inode(key) for key in expected}
        acknowledged = []

        def write(key):
            try:
                if key.startswith("copied"):
                    s3.copy_object(Bucket="cut", Key=key, CopySource="cut/source")
                else:
                    s3.put_object(Bucket="cut", Key=key, Body=expected[key])
                acknowledged.append(key)
            except Exception:  # The end of the server.
                pass

        with HeldFlushes(server):
            writers = [threading.Thread(target=write, args=[key]) for key in expected]
            for writer in writers:
                writer.start()
            wait_until(lambda: all(inode(key) not in (None, before[key]) for key in expected), "the names")
            with open(image.mount_point / "other", "wb") as other:
                other.write(b"of another program")
                os.fsync(other.fileno())
            image.cut()
            early = list(acknowledged)
        # Only now: what is held up does not even end by a kill. Flushes that go on meet a file system that is gone.
        server.kill()
        for writer in writers:
            writer.join(timeout=60)
            assert not writer.is_alive()
        assert early == [], "the flushes were held up"
        image.unmount()
        image.mount()
        torn = {key: found for key in expected if (found := standing(server.path("cut", key))) != expected[key]}
        assert {key: str(found)[:80] for key, found in torn.items()} == {}, "names without their data"
    finally:
        image.remove()
