"""The server is killed at every step of every change, and started again: what was acknowledged is there, what was not is
there as a whole or not at all, and nothing is left over.

The steps are the names that `failpoint::pass` has in the source. They need a program built with them
(`cargo build --features failpoints`, a debug build), which SLUICEGATE_FAILPOINT_BIN names; `tests/run` builds it.

    SLUICEGATE_KILLS=1000   also kills a server under load at so many steps drawn by lot, for the night
"""

import os
import random
import re
import shutil
import time

import pytest

from ledger import MIB, PART, Ledger, Load
from botocore.exceptions import BotoCoreError
from sluicegate import REPOSITORY, Server, scratch, wait_until

BINARY = os.environ.get("SLUICEGATE_FAILPOINT_BIN")
KILLS = int(os.environ.get("SLUICEGATE_KILLS", "0"))
# After so many kills by lot a new directory is begun: versions pile up, and all of them are looked at after each.
KILLS_OF_DIRECTORY = 20

pytestmark = pytest.mark.skipif(not BINARY, reason="SLUICEGATE_FAILPOINT_BIN names no program built with failpoints")


class Dying:
    """A server that is killed at a step, with the ledger of one user."""

    def __init__(self):
        self.directory = scratch()
        self.root, self.wish = self.directory / "data", self.directory / "failpoint"
        self.root.mkdir()
        self.server = None

    def start(self):
        """Starts the server, again or for the first time, where a step may be wished for already."""
        if self.server is None:
            # The sandbox would keep the server from the file with the wish, and from killing itself.
            options = ["--workers", "2", "--sandbox", "off"]
            self.server = Server(root=self.root, options=options, binary=BINARY,
                                 environment={"SLUICEGATE_FAILPOINT": str(self.wish)})
            self.server.add_user("writer", number=9)
        else:
            self.server.start()

    def arm(self, step, count=1):
        """The next passing of the step but `count - 1` ends the server."""
        text = self.directory / "wish"
        text.write_text(f"{step} {count}")
        text.rename(self.wish)

    def disarm(self):
        self.wish.unlink(missing_ok=True)

    def died(self, seconds=20):
        """Whether the server dies."""
        self.server.died(seconds)
        self.disarm()

    def start_again(self):
        """Starts the dead server, which puts the disk into order."""
        # A large record put aside is judged when it is old.
        for path in (self.root / ".sluicegate/spill").iterdir():
            os.utime(path, (time.time() - 7200,) * 2)
        self.start()

    def verify(self, *books):
        """What the ledgers were promised is there, and nothing else."""
        for book in books:
            book.connect(self.server)
            book.verify()
        live = {at[3] for book in books for at in book.state if at[0] == "upload"}
        assert self.leftovers(live) == []
        wait_until(lambda: not self.idle_records(), "records without an object to be removed", 20)

    def leftovers(self, live):
        """What recovery should have removed. `live`: the uploads that are to be there."""
        system = self.root / ".sluicegate"
        staging = list((system / "staging").iterdir())
        found = staging if len(staging) > 1 else list(staging[0].iterdir())
        found += [path for path in (system / "uploads").glob("*/*") if path.name not in live]
        found += [path for path in (system / "uploads").iterdir() if not (self.root / path.name).is_dir()]
        return [str(path.relative_to(system)) for path in [*found, *system.rglob("*.new")]]

    def idle_records(self):
        """Records put aside that no file names."""
        spilled = list((self.root / ".sluicegate/spill").iterdir())
        if not spilled:
            return []
        named = {}
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(directory, name)
                try:
                    named[os.stat(path).st_ino] = os.getxattr(path, "user.s3")
                except OSError:
                    pass
        return [path.name for path in spilled if bytes.fromhex(path.name) not in named.get(
            int.from_bytes(path.read_bytes()[:8], "little"), b"")]

    def end(self):
        self.disarm()
        if self.server and self.server.process:
            self.server.stop()
        shutil.rmtree(self.directory)


@pytest.fixture(scope="module")
def dying():
    """One server for all steps; its ledger knows the two buckets of all, and what the step at hand is about."""
    dying = Dying()
    dying.start()
    dying.book = Ledger(dying.server, dying.server.users["writer"], "start")
    dying.book.create_bucket("plain")
    dying.book.create_bucket("kept")
    dying.book.configure("kept", "versioning", "Enabled")
    yield dying
    dying.end()


# What is done before, and the change during which the server dies. Each is a function of a ledger, a plain bucket, one that
# keeps versions, and a key of its own; it returns the change.

def put(book, plain, kept, key):
    return lambda: book.put(plain, key, 3000)


def put_large(book, plain, kept, key):
    return lambda: book.put(plain, key, MIB + 5)


def put_in_new_directories(book, plain, kept, key):
    return lambda: book.put(plain, f"{key}/new/k", 3000)


def put_below_an_object(book, plain, kept, key):
    book.put(plain, key, 3000)
    return lambda: book.put(plain, f"{key}/below", 4000)


def overwrite(book, plain, kept, key):
    book.put(plain, key, 3000)
    return lambda: book.put(plain, key, 4000)


def overwrite_large(book, plain, kept, key):
    book.put(plain, key, 2 * MIB)
    return lambda: book.put(plain, key, MIB)


def put_with_large_record(book, plain, kept, key):
    return lambda: book.put(plain, key, 3000, large=True)


def overwrite_large_record(book, plain, kept, key):
    book.put(plain, key, 3000, large=True)
    return lambda: book.put(plain, key, 4000, large=True)


def delete_large_record(book, plain, kept, key):
    book.put(plain, key, 3000, large=True)
    return lambda: book.delete(plain, key)


def tag(book, plain, kept, key):
    book.put(plain, key, 3000)
    return lambda: book.tag(plain, key, "red")


def tag_large_record(book, plain, kept, key):
    book.put(plain, key, 3000, large=True)
    return lambda: book.tag(plain, key, "red")


def copy(book, plain, kept, key):
    book.put(plain, key, MIB)
    return lambda: book.copy(plain, key, f"{key}-copy")


def rename(book, plain, kept, key):
    book.put(plain, f"{key}/old", 3000)
    book.put(plain, f"{key}-new", 4000)
    return lambda: book.rename(plain, f"{key}/old", f"{key}-new")


def delete(book, plain, kept, key):
    book.put(plain, f"{key}/k", 3000)
    return lambda: book.delete(plain, f"{key}/k")


def delete_many(book, plain, kept, key):
    keys = [f"{key}/{number}" for number in range(5)]
    for name in keys:
        book.put(plain, name, 10)
    return lambda: book.delete_many(plain, keys)


def create_upload(book, plain, kept, key):
    return lambda: book.create_upload(plain, key, [PART])


def upload_part(book, plain, kept, key):
    at = book.create_upload(plain, key, [PART, 10])
    return lambda: book.upload_part(at, 1)


def upload_part_again(book, plain, kept, key):
    """Twice: the second one goes beside the data, and the third supersedes it."""
    at = book.create_upload(plain, key, [PART, 10])
    book.upload_part(at, 1)
    book.upload_part(at, 1)
    return lambda: book.upload_part(at, 1)


def copy_part(book, plain, kept, key):
    """A part that is a copy of an object; it is in the table or not, and the upload is aborted then."""
    book.put(plain, f"{key}-source", PART)
    at = book.create_upload(plain, key, [PART])
    book.state.pop(at)
    return lambda: book.s3.upload_part_copy(Bucket=plain, Key=key, UploadId=at[3], PartNumber=1,
                                            CopySource=f"{plain}/{key}-source")


def complete(book, plain, kept, key):
    book.put(plain, key, 10)
    at = book.create_upload(plain, key, [PART, 1000])
    book.upload_part(at, 2)
    book.upload_part(at, 1)
    return lambda: book.complete(at)


def complete_odd_parts(book, plain, kept, key):
    at = book.create_upload(plain, key, [PART + 1, PART, 5])
    for number in [2, 3, 1]:
        book.upload_part(at, number)
    return lambda: book.complete(at)


def abort(book, plain, kept, key):
    at = book.create_upload(plain, key, [PART, 10])
    book.upload_part(at, 2)
    return lambda: book.abort(at)


def put_version(book, plain, kept, key):
    book.put(kept, f"{key}/k", 3000)
    return lambda: book.put(kept, f"{key}/k", 4000)


def put_another_version(book, plain, kept, key):
    book.put(kept, key, 3000)
    book.put(kept, key, MIB)
    return lambda: book.put(kept, key, 4000)


def complete_a_version(book, plain, kept, key):
    book.put(kept, key, 10)
    at = book.create_upload(kept, key, [PART, 1000])
    book.upload_part(at, 1)
    book.upload_part(at, 2)
    return lambda: book.complete(at)


def mark(book, plain, kept, key):
    book.put(kept, f"{key}/k", 3000)
    return lambda: book.delete(kept, f"{key}/k")


def mark_nothing(book, plain, kept, key):
    return lambda: book.delete(kept, f"{key}/k")


def restore(book, plain, kept, key):
    """Removing the marker uncovers the version before it."""
    book.put(kept, f"{key}/k", 3000)
    marker = book.delete(kept, f"{key}/k")["VersionId"]
    return lambda: book.delete_version(kept, f"{key}/k", marker)


def remove_current(book, plain, kept, key):
    book.put(kept, key, 3000)
    version = book.put(kept, key, 4000)["VersionId"]
    return lambda: book.delete_version(kept, key, version)


def remove_noncurrent(book, plain, kept, key):
    version = book.put(kept, key, 3000)["VersionId"]
    book.put(kept, key, 4000)
    return lambda: book.delete_version(kept, key, version)


def remove_only(book, plain, kept, key):
    version = book.put(kept, f"{key}/k", 3000)["VersionId"]
    return lambda: book.delete_version(kept, f"{key}/k", version)


def suspended(book, plain, kept, key):
    """A bucket of its own with a null version, two others, and versioning suspended."""
    bucket = book.prefix.lower()
    book.create_bucket(bucket)
    book.put(bucket, key, 1000)
    book.configure(bucket, "versioning", "Enabled")
    at = ("object", bucket, key)
    book.put(bucket, key, 2000)
    book.put(bucket, key, 3000)
    book.configure(bucket, "versioning", "Suspended")
    return bucket


def put_null_version(book, plain, kept, key):
    bucket = suspended(book, plain, kept, key)
    return lambda: book.put(bucket, key, 4000)


def put_null_version_again(book, plain, kept, key):
    bucket = suspended(book, plain, kept, key)
    book.put(bucket, key, 4000)
    return lambda: book.put(bucket, key, 5000)


def mark_null_version(book, plain, kept, key):
    bucket = suspended(book, plain, kept, key)
    return lambda: book.delete(bucket, key)


def mark_null_version_again(book, plain, kept, key):
    bucket = suspended(book, plain, kept, key)
    book.put(bucket, key, 4000)
    return lambda: book.delete(bucket, key)


def create_bucket(book, plain, kept, key):
    return lambda: book.create_bucket(book.prefix.lower())


def create_bucket_with_lock(book, plain, kept, key):
    return lambda: book.create_bucket(book.prefix.lower(), ObjectLockEnabledForBucket=True)


def delete_bucket(book, plain, kept, key):
    """With an upload and a configuration, which go with it."""
    bucket = book.prefix.lower()
    book.create_bucket(bucket)
    book.configure(bucket, "tagging", "red")
    at = book.create_upload(bucket, key, [PART])
    book.state.pop(at)
    return lambda: book.delete_bucket(bucket)


def configure(book, plain, kept, key):
    return lambda: book.configure(plain, "tagging", key)


def configure_again(book, plain, kept, key):
    book.configure(plain, "policy", "one")
    return lambda: book.configure(plain, "policy", "two")


def configure_first(book, plain, kept, key):
    bucket = book.prefix.lower()
    book.create_bucket(bucket)
    return lambda: book.configure(bucket, "tagging", "red")


def unconfigure(book, plain, kept, key):
    book.configure(plain, "tagging", "red")
    return lambda: book.configure(plain, "tagging", None)


def add_user(book, plain, kept, key):
    return lambda: book.put_user(key, "Secret-of-the-user")


def change_user(book, plain, kept, key):
    book.put_user(key, "Secret-of-the-user")
    return lambda: book.put_user(key, "Another-secret", "readonly")


def remove_user(book, plain, kept, key):
    book.put_user(key, "Secret-of-the-user")
    return lambda: book.remove_user(key)


def replace_policy(book, plain, kept, key):
    book.put_policy(key, "one")
    return lambda: book.put_policy(key, "two")


def add_account(book, plain, kept, key):
    return lambda: book.add_account()


def remove_account(book, plain, kept, key):
    account = book.add_account()["access_key"]
    return lambda: book.remove_account(account)


PUBLICATIONS = [put, overwrite, put_below_an_object, copy, complete, put_version, put_null_version]
FLUSHES = [put, put_large, overwrite, tag, copy, rename, delete, delete_many, create_upload, upload_part, complete, abort,
           put_version, mark, restore, remove_current, create_bucket, delete_bucket]
CONFIGURATIONS = [configure, configure_again, configure_first, create_bucket_with_lock]
IDENTITIES = [add_user, change_user, remove_user, replace_policy, add_account, remove_account]

# Every step, and the changes that are cut off at it. A number says at which passing.
STEPS = {
    "write:made": [put, put_large],
    "write:done": [put, overwrite_large],
    "publish:sealed": PUBLICATIONS,
    "publish:kept": [put_version, put_another_version, complete_a_version, put_null_version],
    "publish:replaced": [overwrite, overwrite_large_record, complete, put_another_version, put_null_version_again],
    "publish:linked": PUBLICATIONS,
    "replace:aside": [overwrite, overwrite_large, put_another_version],
    "record:spilled": [put_with_large_record, overwrite_large_record, tag_large_record],
    "record:replaced": [tag, tag_large_record],
    "amend:done": [tag, tag_large_record],
    "spill:made": [put_with_large_record, tag_large_record],
    "spill:written": [put_with_large_record, tag_large_record],
    "delete:unlinked": [delete, delete_large_record, (delete_many, 3)],
    "delete:pruned": [delete],
    "directory:made": [put_in_new_directories, (put_in_new_directories, 2)],
    "directory:given": [put_in_new_directories],
    "convert:prepared": [put_below_an_object],
    "convert:linked": [put_below_an_object],
    "convert:exchanged": [put_below_an_object],
    "convert:done": [put_below_an_object],
    "commit:taken": FLUSHES,
    "commit:flushed": FLUSHES,
    "copy:done": [copy],
    "rename:done": [rename],
    "upload:directory": [create_upload],
    "upload:file": [create_upload],
    "upload:written": [create_upload],
    "upload:named": [create_upload],
    "part-size:written": [upload_part],
    "part-size:linked": [upload_part],
    "part:flushed": [upload_part, upload_part_again],
    "part:entered": [upload_part, upload_part_again],
    "part:committed": [upload_part, upload_part_again],
    "part:superseded": [upload_part_again],
    "part:copied": [copy_part],
    "complete:taken": [complete, complete_odd_parts],
    "complete:assembled": [complete, complete_odd_parts],
    "complete:published": [complete, complete_odd_parts, complete_a_version],
    "complete:over": [complete, complete_odd_parts],
    "complete:removed": [complete, complete_odd_parts],
    "abort:taken": [abort],
    "upload:emptied": [abort, complete],
    "keep:history": [put_version, put_null_version],
    "keep:placed": [put_version, put_another_version, mark, put_null_version],
    "nulls:removed": [put_null_version, mark_null_version],
    "mark:made": [mark, mark_nothing],
    "mark:given": [mark, mark_nothing, mark_null_version],
    "mark:moved": [mark, mark_null_version_again],
    "remove:current": [remove_current, remove_only],
    "remove:uncovered": [restore],
    "remove:replaced": [remove_current],
    "remove:entry": [restore, remove_noncurrent],
    "history:directory": [put_version, (put_version, 2), (put_version, 3)],
    "history:noted": [put_version],
    "history:removed": [remove_noncurrent, restore],
    "version:unlinked": [remove_noncurrent, restore, remove_only, put_null_version],
    "bucket:prepared": [create_bucket],
    "bucket:named": [create_bucket, create_bucket_with_lock],
    "bucket:emptied": [delete_bucket],
    "bucket:removed": [delete_bucket],
    "bucket:uploads": [delete_bucket],
    "configuration:aside": CONFIGURATIONS,
    "configuration:directory": CONFIGURATIONS,
    "configuration:renamed": [*CONFIGURATIONS, (create_bucket_with_lock, 2)],
    "configuration:removed": [unconfigure],
    "configuration:emptied": [delete_bucket],
    "identity:written": IDENTITIES,
    "identity:committed": IDENTITIES,
}
# Those of the first start.
FIRST_START = ["format:made", "format:written", "format:named", "key:beside", "key:linked", "identity:key",
               "identity:beside", "identity:named"]


def test_every_step_is_known():
    passed = set()
    for path in (REPOSITORY / "src").rglob("*.rs"):
        passed |= set(re.findall(r'failpoint::pass\("([^"]+)"\)', path.read_text()))
    assert passed == {*STEPS, *FIRST_START}


@pytest.mark.parametrize("step", FIRST_START)
def test_a_first_start_that_is_cut_off_is_repeated(step):
    dying = Dying()
    try:
        dying.arm(step)
        with pytest.raises(AssertionError, match="the server ended with -9"):
            dying.start()
        dying.disarm()
        dying.start()
        book = Ledger(dying.server, dying.server.users["writer"], "first")
        book.create_bucket("first")
        book.put("first", "first-k", 1000)
        dying.server.restart()
        dying.verify(book)
    finally:
        dying.end()


# By day one change for each step, by night all of them.
CASES = [(step, *(case if isinstance(case, tuple) else (case, 1)))
         for step, cases in STEPS.items() for case in (cases if KILLS else cases[:1])]


@pytest.mark.parametrize(("step", "change", "count"), CASES,
                         ids=[f"{step}-{change.__name__}-{count}" for step, change, count in CASES])
def test_killed_at(dying, step, change, count):
    book = dying.book
    for at in [at for at in book.state if at[0] == "upload"]:
        book.abort(at)
    book.state = {at: state for at, state in book.state.items()
                  if at in [("bucket", "plain"), ("bucket", "kept"), ("accounts", book.user.name)]}
    book.doubts = []
    book.prefix = f"case-{CASES.index((step, change, count))}"
    run = change(book, "plain", "kept", f"{book.prefix}-key")
    before = dict(book.state)
    dying.arm(step, count)
    try:
        run()
    except (OSError, BotoCoreError):
        pass
    dying.died()
    dying.start_again()
    dying.verify(book)
    # What was not done can be done now.
    if book.state == before and change is not copy_part:
        run()
        dying.verify(book)


SIZES = [0, 1, 3000, 4096, 32768, 32769, 70_000, 300_001, MIB, 2 * MIB + 7]


def test_killed_under_load():
    """Four clients at once; the server dies at steps drawn by lot."""
    seed = int(os.environ.get("SLUICEGATE_SEED", "1"))
    chance, numbers = random.Random(seed), range(max(KILLS, 5))
    for first in numbers[::KILLS_OF_DIRECTORY]:
        kill_again_and_again(numbers[first:first + KILLS_OF_DIRECTORY], chance, seed)


def kill_again_and_again(numbers, chance, seed):
    """The kills of one data directory."""
    dying = Dying()
    try:
        dying.start()
        user = dying.server.users["writer"]
        books = [Ledger(dying.server, user, f"client-{number}") for number in range(4)]
        for book, bucket in zip(books, ["plain", "plain-too", "kept"]):
            book.create_bucket(bucket)
        books[2].configure("kept", "versioning", "Enabled")
        for kill in numbers:
            step, count = chance.choice(sorted(STEPS)), chance.choice([1, 1, 2, 5, 20])
            dying.arm(step, count)
            loads = [Load(book, bucket, bucket == "kept", f"{seed}-{kill}-{book.prefix}", SIZES, bucket is None)
                     for book, bucket in zip(books, ["plain", "plain-too", "kept", None])]
            for load in loads:
                load.start()
            began = time.monotonic()
            while dying.server.process.poll() is None:
                # A step that chance does not come to.
                if time.monotonic() > began + 3:
                    dying.server.process.kill()
                time.sleep(0.01)
            for load in loads:
                load.stop.set()
                load.join(60)
                assert isinstance(load.error, (OSError, BotoCoreError)) or load.error is None, load.error
            dying.died()
            dying.start_again()
            try:
                dying.verify(*books)
            except AssertionError as error:
                raise AssertionError(f"after kill {kill} at {step} {count} of seed {seed}") from error
        assert all(book.acknowledged for book in books)
    finally:
        dying.end()
