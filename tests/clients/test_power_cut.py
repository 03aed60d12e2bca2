"""What was acknowledged survives a power cut: the file system is shut down without flushing its journal while clients
change everything there is to change, mounted again, and all that was acknowledged is there, and nothing half-made.

A `Ledger` knows what was promised (see `ledger`). The same file system goes through one cut after the other, ten of them:
versions pile up, and all of them are looked at after each.

    SLUICEGATE_POWER_CUTS=200   so many cuts of the whole in all, for the night; ten unless it is set
    SLUICEGATE_SEED=N           other changes
"""

import fcntl
import os
import struct
import subprocess
import threading
import time

import pytest

from conftest import needs_root
from ledger import MIB, Ledger, Load
from sluicegate import Server, scratch, wait_until

# EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one request; this flag drops what the journal has not written.
SHUTDOWN, WITHOUT_LOG_FLUSH = 0x8004587D, 2
CUTS = int(os.environ.get("SLUICEGATE_POWER_CUTS", "10"))
CUTS_OF_IMAGE = 10
SEED = os.environ.get("SLUICEGATE_SEED", "1")
SMALL = [0, 1, 10, 3000, 4096, 5000, 32768]
SIZES = [*SMALL, *SMALL, 32769, 70_000, 300_001, MIB, 5 * MIB + 3]
LARGEST = [*SIZES, 20 * MIB]


def cut(mount_point):
    """Shuts a file system down without writing its journal."""
    fd = os.open(mount_point, os.O_RDONLY)
    fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", WITHOUT_LOG_FLUSH))
    os.close(fd)


class Image:
    """A file system in a file."""

    def __init__(self, kind):
        self.kind, self.directory = kind, scratch()
        self.file, self.mount_point = self.directory / "image", self.directory / "mount"
        self.mount_point.mkdir()
        with open(self.file, "wb") as file:
            file.truncate(2 << 30)
        force = {"ext4": "-F", "xfs": "-f"}[kind]
        subprocess.run([f"/usr/sbin/mkfs.{kind}", "-q", force, self.file], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.file, self.mount_point], check=True)

    def cut(self):
        cut(self.mount_point)

    def unmount(self):
        subprocess.run(["umount", self.mount_point], check=True)
        # Another mount namespace that was made meanwhile keeps the file system alive, and dead as it is.
        devices = ["losetup", "--associated", self.file]
        wait_until(lambda: not subprocess.run(devices, check=True, capture_output=True).stdout, "the end of the mount")

    def remove(self):
        subprocess.run(["umount", "-l", self.mount_point], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", self.directory], check=True)


class Client:
    """A ledger and what it is about."""

    def __init__(self, server, user, name, bucket, sizes=(), identities=False):
        self.ledger = Ledger(server, user, name)
        self.bucket, self.sizes, self.identities = bucket, sizes, identities

    def load(self, cut, seed):
        self.ledger.cut = cut
        return Load(self.ledger, self.bucket, self.bucket == "kept", f"{seed} {self.ledger.prefix}", self.sizes,
                    self.identities)


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_acknowledged_changes_survive(kind):
    numbers = range((CUTS + 1) // 2)
    for first in numbers[::CUTS_OF_IMAGE]:
        go_through_cuts(kind, numbers[first:first + CUTS_OF_IMAGE])


def go_through_cuts(kind, numbers):
    """The cuts of one file system."""
    image = Image(kind)
    try:
        root = image.mount_point / "data"
        root.mkdir()
        os.sync()
        server = Server(root=root)
        users = [server.add_user(f"user-{number}", number=number) for number in range(1, 4)]
        clients = [Client(server, users[number % 3], f"client-{number}", ["plain", "plain-too", "kept"][number % 3],
                          LARGEST if number == 0 else SIZES) for number in range(4)]
        clients.append(Client(server, users[2], "identities", None, identities=True))
        for client in clients[:3]:
            client.ledger.create_bucket(client.bucket)
        clients[2].ledger.configure("kept", "versioning", "Enabled")
        for number in numbers:
            cut = threading.Event()
            loads = [client.load(cut, f"{SEED} {kind} {number}") for client in clients]
            before = sum(client.ledger.acknowledged for client in clients)
            for load in loads:
                load.start()
            time.sleep(1)  # How long they write at least before the cut; nothing depends on it.
            wait_until(lambda: sum(client.ledger.acknowledged for client in clients) > before + 100
                       or not all(load.is_alive() for load in loads), "enough to be written")
            assert all(load.is_alive() for load in loads), [load.error for load in loads if load.error]
            # After a real cut nobody is there to answer. This one leaves the kernel running, and a flush that was
            # under way may still report success.
            cut.set()
            image.cut()
            for load in loads:
                load.stop.set()
                load.join(timeout=60)
                assert not load.is_alive()
            server.kill()
            image.unmount()
            image.mount()
            server.start()
            for client in clients:
                client.ledger.connect(server)
                try:
                    client.ledger.verify()
                except AssertionError as error:
                    raise AssertionError(f"after cut {number} of {kind}, seed {SEED}") from error
            assert [path for path in server.system_files() if not path.startswith(("uploads", "spill"))] == []
            assert list(root.glob("plain*/**/.sgate~!*")) == []
        server.stop()
    finally:
        image.remove()


class SmallPuts(threading.Thread):
    """A client that replaces one small object again and again."""

    def __init__(self, book, cut):
        super().__init__(daemon=True)
        self.book, self.cut, self.error = book, cut, None

    def run(self):
        try:
            while True:
                self.book.put("small", self.book.prefix, 1 + self.book.count * 997 % 32768)
        except Exception as error:  # The cut, checked by the caller.
            self.error = error


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_small_objects_are_the_old_or_the_new_one(kind):
    """Many wait for the disk at the moment of the cut: none of them shows a name without its data."""
    image = Image(kind)
    try:
        root = image.mount_point / "data"
        root.mkdir()
        os.sync()
        server = Server(root=root)
        user = server.add_user("writer", number=7)
        books = [Ledger(server, user, f"client-{number:02}") for number in range(12)]
        books[0].create_bucket("small")
        for _ in range(CUTS):
            cut = threading.Event()
            for book in books:
                book.cut = cut
            puts = [SmallPuts(book, cut) for book in books]
            before = sum(book.acknowledged for book in books)
            for put in puts:
                put.start()
            wait_until(lambda: sum(book.acknowledged for book in books) > before + 100, "enough to be written")
            assert all(put.is_alive() for put in puts), [put.error for put in puts]
            cut.set()
            image.cut()
            for put in puts:
                put.join(timeout=60)
                assert not put.is_alive()
            server.kill()
            image.unmount()
            image.mount()
            server.start()
            for book in books:
                book.connect(server)
                book.verify()
        server.stop()
    finally:
        image.remove()
