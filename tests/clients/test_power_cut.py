"""What was acknowledged survives a power cut: the file system is shut down without flushing its journal while clients
write and delete, mounted again, and every acknowledged object is there with its bytes and owner, or is gone. The same of
every version in a bucket that keeps them."""

import fcntl
import hashlib
import os
import struct
import subprocess
import threading
import time

import pytest
from botocore.exceptions import ClientError

from conftest import needs_root
from sluicegate import Server, scratch

# EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one request; this flag drops what the journal has not written.
SHUTDOWN, WITHOUT_LOG_FLUSH = 0x8004587D, 2
SIZES = [0, 10, 4096, 5000, 70_000, 300_001, 1 << 20]


class Image:
    """A file system in a file."""

    def __init__(self, kind):
        self.kind, self.directory = kind, scratch()
        self.file, self.mount_point = self.directory / "image", self.directory / "mount"
        self.mount_point.mkdir()
        with open(self.file, "wb") as file:
            file.truncate(1 << 30)
        force = {"ext4": "-F", "xfs": "-f"}[kind]
        subprocess.run([f"/usr/sbin/mkfs.{kind}", "-q", force, self.file], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.file, self.mount_point], check=True)

    def cut(self):
        fd = os.open(self.mount_point, os.O_RDONLY)
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", WITHOUT_LOG_FLUSH))
        os.close(fd)

    def unmount(self):
        subprocess.run(["umount", self.mount_point], check=True)

    def remove(self):
        subprocess.run(["umount", "-l", self.mount_point], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", self.directory], check=True)


class Writer(threading.Thread):
    """A client that puts, replaces and deletes keys of its own, and remembers what was acknowledged."""

    def __init__(self, s3, number, cut):
        super().__init__()
        self.s3, self.number, self.cut = s3, number, cut
        self.acknowledged, self.uncertain = {}, None

    def run(self):
        for step in range(1_000_000):
            key = f"writer-{self.number}/directory-{step % 3}/key-{step % 40}"
            digest = None
            try:
                if step % 7 == 6:
                    self.s3.delete_object(Bucket="cut", Key=key)
                else:
                    body = os.urandom(SIZES[step % len(SIZES)])
                    self.s3.put_object(Bucket="cut", Key=key, Body=body)
                    digest = hashlib.sha256(body).digest()
            except Exception:  # The cut, checked by the caller.
                self.uncertain = key
            # After a real cut nobody is there to answer. This one leaves the kernel running, and a flush that was
            # under way may still report success.
            if self.cut.is_set() or self.uncertain:
                self.uncertain = key
                return
            self.acknowledged[key] = digest


def standing(path):
    return hashlib.sha256(path.read_bytes()).digest() if path.exists() else None


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("_round", range(3))
def test_acknowledged_changes_survive(kind, _round):
    image = Image(kind)
    try:
        root = image.mount_point / "data"
        root.mkdir()
        os.sync()
        server = Server(root=root)
        user = server.add_user("writer", "readwrite", number=7)
        server.s3().create_bucket(Bucket="cut")
        cut = threading.Event()
        writers = [Writer(server.s3(), number, cut) for number in range(6)]
        for writer in writers:
            writer.start()
        time.sleep(1.5)  # How long they write before the cut; nothing depends on it.
        assert all(writer.is_alive() for writer in writers)
        cut.set()
        image.cut()
        for writer in writers:
            writer.join(timeout=60)
            assert not writer.is_alive()
        server.kill()
        image.unmount()
        image.mount()
        with Server(root=root) as again:
            again.users = server.users
            checked = 0
            for writer in writers:
                for key, digest in writer.acknowledged.items():
                    if key == writer.uncertain:
                        continue
                    path = again.path("cut", key)
                    assert standing(path) == digest, key
                    if digest:
                        stat = path.stat()
                        assert (stat.st_uid, stat.st_gid) == (user.uid, user.gid)
                        body = again.s3().get_object(Bucket="cut", Key=key)["Body"].read()
                        assert hashlib.sha256(body).digest() == digest
                    checked += 1
            assert checked > 100
            assert list((root / "cut").rglob(".sgate~!*")) == []
    finally:
        image.remove()


class VersionWriter(threading.Thread):
    """A client that puts, marks and removes versions of keys of its own, and remembers what was acknowledged."""

    def __init__(self, s3, number, cut):
        super().__init__()
        self.s3, self.number, self.cut = s3, number, cut
        # The versions of each key, oldest first: id and digest, which a delete marker has not.
        self.acknowledged, self.removed, self.uncertain = {}, set(), None

    def run(self):
        for step in range(1_000_000):
            key = f"writer-{self.number}/directory-{step % 3}/key-{step % 10}"
            versions = list(self.acknowledged.get(key, []))
            removed = None
            try:
                if step % 7 == 6:
                    versions.append((self.s3.delete_object(Bucket="cut", Key=key)["VersionId"], None))
                elif step % 5 == 4 and versions:
                    removed, _ = versions.pop(step % len(versions))
                    self.s3.delete_object(Bucket="cut", Key=key, VersionId=removed)
                else:
                    body = os.urandom(SIZES[step % len(SIZES)])
                    version = self.s3.put_object(Bucket="cut", Key=key, Body=body)["VersionId"]
                    versions.append((version, hashlib.sha256(body).digest()))
            except Exception:  # The cut, checked by the caller.
                self.uncertain = key
            if self.cut.is_set() or self.uncertain:
                self.uncertain = key
                return
            self.acknowledged[key] = versions
            if removed:
                self.removed.add((key, removed))


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_acknowledged_versions_survive(kind):
    image = Image(kind)
    try:
        root = image.mount_point / "data"
        root.mkdir()
        os.sync()
        server = Server(root=root)
        server.add_user("writer", "readwrite", number=7)
        server.s3().create_bucket(Bucket="cut")
        server.s3().put_bucket_versioning(Bucket="cut", VersioningConfiguration={"Status": "Enabled"})
        cut = threading.Event()
        writers = [VersionWriter(server.s3(), number, cut) for number in range(6)]
        for writer in writers:
            writer.start()
        time.sleep(2)  # How long they write before the cut; nothing depends on it.
        assert all(writer.is_alive() for writer in writers)
        cut.set()
        image.cut()
        for writer in writers:
            writer.join(timeout=60)
            assert not writer.is_alive()
        server.kill()
        image.unmount()
        image.mount()
        with Server(root=root) as again:
            again.users = server.users
            s3, checked = again.s3(), 0
            for writer in writers:
                for key, versions in writer.acknowledged.items():
                    for version, digest in versions:
                        # What happened to this key last may have been done or not.
                        if key == writer.uncertain or digest is None:
                            continue
                        body = s3.get_object(Bucket="cut", Key=key, VersionId=version)["Body"].read()
                        assert hashlib.sha256(body).digest() == digest, (key, version)
                        checked += 1
                    if key == writer.uncertain or not versions:
                        continue
                    page = s3.list_object_versions(Bucket="cut", Prefix=key)
                    found = {it["VersionId"] for it in page.get("Versions", []) + page.get("DeleteMarkers", [])}
                    assert found == {version for version, _ in versions}, key
                    latest = [it for it in page.get("Versions", []) + page.get("DeleteMarkers", []) if it["IsLatest"]]
                    assert [it["VersionId"] for it in latest] == [versions[-1][0]], key
                for key, version in writer.removed:
                    if key != writer.uncertain:
                        with pytest.raises(ClientError):
                            s3.head_object(Bucket="cut", Key=key, VersionId=version)
            assert checked > 50
    finally:
        image.remove()
