"""Storage that is full, fails, or becomes read-only in the middle of everything: a clear error, nothing half-made, never a
wrong success, and the service goes on when the storage does.

A `Ledger` knows what was promised (see `ledger`). System calls are made to fail by strace, which is attached to the running
server for that time: a flush that it makes fail was not carried out.
"""

import contextlib
import os
import subprocess
import threading
import time

import botocore.exceptions
import pytest

from conftest import needs_root
from ledger import MIB, PART, Ledger
from sluicegate import Server, wait_until
from test_power_cut import cut
from test_storage import Mounted


@contextlib.contextmanager
def serving(kind, size, options="loop"):
    """A server on a file system of its own, and the ledger of a user with a plain bucket and one that keeps versions."""
    with Mounted(kind, size, options) as mounted, Server(root=mounted.root) as server:
        book = Ledger(server, server.add_user("writer", number=3), "key")
        book.create_bucket("plain")
        book.create_bucket("kept")
        book.configure("kept", "versioning", "Enabled")
        book.mounted = mounted
        yield book


def failing(server, calls, error):
    """Makes these system calls of the server fail."""
    return disturbed(server, calls, f"error={error}")


@contextlib.contextmanager
def disturbed(server, calls, how):
    """Lets strace do this to these system calls of the server."""
    strace = subprocess.Popen(
        ["strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{how}",
         "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
    try:
        attached = 0
        threads = len(os.listdir(f"/proc/{server.pid}/task"))
        while attached < threads:
            line = strace.stderr.readline()
            assert "attached" in line, f"strace: {line}"
            # It names the process once, and how many threads it has with it.
            attached = threads if "threads" in line else attached + 1
        yield
    finally:
        strace.terminate()
        strace.wait()


def refusal(change):
    """Status, code and message of a change that must not succeed."""
    with pytest.raises((botocore.exceptions.ClientError, OSError)) as caught:
        change()
    if isinstance(caught.value, OSError):
        return None, None, str(caught.value)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def with_all_there(book):
    """What the changes below are made to. Returns them by name."""
    for bucket in ["plain", "kept"]:
        for key in ["key-small", "key-large", "key-delete", "key-tag", "key-copied"]:
            book.put(bucket, key, MIB + 3 if key == "key-large" else 3000)
    book.put("plain", "key-many", 10)
    complete = book.create_upload("plain", "key-small", [PART, 1000])
    odd = book.create_upload("plain", "key-odd", [PART + 1, PART])
    for upload in [complete, odd]:
        book.upload_part(upload, 2)
        book.upload_part(upload, 1)
    more = book.create_upload("plain", "key-more", [PART, 2000, 70])
    book.upload_part(more, 1)
    abort = book.create_upload("plain", "key-abort", [PART])
    book.create_bucket("to-go")
    book.put_user("key-user", "Secret-of-the-user")
    book.put_policy("key-policy", "one")
    return {
        "put": lambda: book.put("plain", "key-new", 3000),
        "put of nothing": lambda: book.put("plain", "key-new", 0),
        "put of a large one": lambda: book.put("plain", "key-new", 3 * MIB + 5),
        "put in a new directory": lambda: book.put("plain", "key-new/one/two", 3000),
        "put below an object": lambda: book.put("plain", "key-small/below", 3000),
        "overwrite": lambda: book.put("plain", "key-small", 4000),
        "overwrite of a large one": lambda: book.put("plain", "key-large", 2 * MIB),
        "put of a version": lambda: book.put("kept", "key-small", 4000),
        "put of a large record": lambda: book.put("plain", "key-large", 3000, large=True),
        "copy": lambda: book.copy("plain", "key-large", "key-copied"),
        "rename": lambda: book.rename("plain", "key-copied", "key-renamed"),
        "tag": lambda: book.tag("plain", "key-tag", "red"),
        "tag of a version": lambda: book.tag("kept", "key-tag", "red"),
        "delete": lambda: book.delete("plain", "key-delete"),
        "delete by a marker": lambda: book.delete("kept", "key-delete"),
        "delete of many": lambda: book.delete_many("plain", ["key-many", "key-nothing"]),
        "create an upload": lambda: book.create_upload("plain", "key-upload", [PART]),
        "upload a part": lambda: book.upload_part(more, 2),
        "upload a part again": lambda: book.upload_part(more, 1),
        "complete": lambda: book.complete(complete),
        "complete by copying": lambda: book.complete(odd),
        "abort": lambda: book.abort(abort),
        "create a bucket": lambda: book.create_bucket("new-bucket"),
        "delete a bucket": lambda: book.delete_bucket("to-go"),
        "configure": lambda: book.configure("plain", "tagging", "red"),
        "set a bucket policy": lambda: book.configure("kept", "policy", "one"),
        "add a user": lambda: book.put_user("key-new-user", "Secret-of-another"),
        "change a policy": lambda: book.put_policy("key-policy", "two"),
        "add a service account": lambda: book.add_account(),
    }


# What is not known to be done or not until it is done again, or the server is started again.
IDENTITIES = ["add a user", "change a policy", "add a service account"]
# What cannot be made twice: the first time was not promised, but may have been done.
ONCE = ["delete", "delete of many", "abort", "delete a bucket", "rename", "complete", "complete by copying"]


def again(book, changes):
    """After a restart everything is there that has to be, and can be changed."""
    book.server.restart()
    book.connect(book.server)
    book.verify()
    for name, change in changes.items():
        if name not in ONCE:
            change()
    book.verify()
    assert [path for path in book.server.system_files() if not path.startswith(("uploads", "spill"))] == []


@needs_root
def test_a_flush_that_fails_is_never_a_success():
    """Each change is refused while no flush succeeds, and can be made afterwards."""
    with serving("ext4", 512 * MIB) as book:
        changes = with_all_there(book)
        complete = next(at for at in book.state if at[0] == "upload" and at[2] == "key-small")
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in book.state[complete][2]]
        with failing(book.server, "fsync,fdatasync,syncfs,sync_file_range", "EIO"):
            # Where nobody owes a flush, what changes nothing needs none.
            book.s3.delete_object(Bucket="plain", Key="key-never")
            for name, change in changes.items():
                status, code, message = refusal(change)
                assert (status, code) in [(500, "InternalError"), (None, None)], (name, status, code, message)
                if name in IDENTITIES:
                    assert "make the change durable" in message, message
                else:
                    book.verify(tidy=False)
            # What stands there already from the first time is not durable either.
            with pytest.raises(botocore.exceptions.ClientError, match="InternalError"):
                book.s3.create_bucket(Bucket="new-bucket")
            with pytest.raises(botocore.exceptions.ClientError, match="InternalError"):
                book.s3.complete_multipart_upload(Bucket="plain", Key=complete[2], UploadId=complete[3],
                                                  MultipartUpload={"Parts": parts})
            # And what is gone already is not gone for good.
            for repeated in [lambda: book.s3.delete_object(Bucket="plain", Key="key-delete"),
                             lambda: book.s3.delete_objects(Bucket="plain", Delete={"Objects": [{"Key": "key-many"}]}),
                             lambda: book.s3.put_object(Bucket="plain", Key="key-new", IfNoneMatch="*"),
                             lambda: book.s3.delete_bucket_tagging(Bucket="plain"),
                             lambda: book.s3.delete_bucket_tagging(Bucket="plain")]:
                with pytest.raises(botocore.exceptions.ClientError, match="InternalError"):
                    repeated()
        # Once a flush succeeds, nothing is owed.
        book.delete("plain", "key-delete")
        with failing(book.server, "fsync,fdatasync,syncfs,sync_file_range", "EIO"):
            book.s3.delete_object(Bucket="plain", Key="key-delete")
            with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
                book.s3.put_object(Bucket="plain", Key="key-small", IfNoneMatch="*")
        again(book, changes)


@needs_root
def test_who_finds_nothing_to_delete_waits_for_whoever_deletes_it():
    """While the flush of a deletion is under way, the same deletion again is not answered in front of it."""
    with serving("ext4", 512 * MIB) as book:
        path = book.server.path("plain", "key-deleted")
        book.put("plain", "key-deleted", 100)
        deleting = threading.Thread(target=book.s3.delete_object, kwargs={"Bucket": "plain", "Key": "key-deleted"})
        with disturbed(book.server, "fsync", "delay_enter=1500000"):
            deleting.start()
            wait_until(lambda: not path.exists(), "the object to be deleted")
            begun = time.monotonic()
            book.s3.delete_object(Bucket="plain", Key="key-deleted")
            # Its own flush comes behind the first one.
            assert time.monotonic() - begun > 1.5
            deleting.join()
            begun = time.monotonic()
            book.s3.delete_object(Bucket="plain", Key="key-deleted")
            assert time.monotonic() - begun < 1.5, "nobody deletes anything now"


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_nothing_fits_any_more(kind):
    """What needs space is refused as a whole, what needs none is done, and everything goes on when there is space."""
    with serving(kind, {"ext4": 96, "xfs": 320, "btrfs": 256}[kind] * MIB) as book:
        changes = with_all_there(book)
        filler = book.mounted.mount_point / "filler"
        fill(filler)
        refused = []
        for name, change in changes.items():
            try:
                change()
            except OSError as error:
                assert "make the change durable" in str(error), (name, error)
                continue
            except botocore.exceptions.ClientError as error:
                response = error.response
                assert response["ResponseMetadata"]["HTTPStatusCode"] == 507, (name, response)
                assert "room" in response["Error"]["Message"], (name, response)
                refused.append(name)
            if name not in IDENTITIES:
                book.verify()
        assert {"put of a large one", "overwrite of a large one"} <= set(refused), refused
        filler.unlink()
        os.sync()
        for name, change in changes.items():
            if name not in ONCE:
                change()
        again(book, changes)


def fill(path):
    """Takes all the space there is."""
    with open(path, "wb", buffering=0) as file:
        for piece in [MIB, 4096]:
            with contextlib.suppress(OSError):
                while file.write(b"x" * piece):
                    pass
            # What was not allocated yet takes its place.
            os.sync()


@needs_root
def test_a_quota_that_is_used_up():
    """The same answer as of a full disk, and room again when something is deleted."""
    with serving("btrfs", 512 * MIB) as book:
        for command in [["quota", "enable"], ["qgroup", "limit", "24M"]]:
            done = subprocess.run(["btrfs", *command, book.mounted.mount_point], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"this kernel has no quota groups: {done.stderr}")
        refused = 0
        for number in range(12):
            try:
                book.put("plain", f"key-{number}", 4 * MIB)
            except botocore.exceptions.ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 507, error.response
                assert "room" in error.response["Error"]["Message"], error.response
                refused += 1
            book.verify()
        assert 3 < refused < 12
        for number in range(5):
            book.delete("plain", f"key-{number}")
        os.sync()
        subprocess.run(["btrfs", "filesystem", "sync", book.mounted.mount_point], check=True)
        book.put("plain", "key-again", 4 * MIB)
        book.verify()


@needs_root
def test_a_file_system_that_becomes_read_only():
    """As ext4 does when it finds itself damaged: reading goes on, writing says why not, and is possible after a repair."""
    with serving("ext4", 256 * MIB, "loop,errors=remount-ro") as book:
        changes = with_all_there(book)
        loop = subprocess.run(["findmnt", "-n", "-o", "SOURCE", book.mounted.mount_point], check=True, capture_output=True,
                              text=True).stdout.strip()
        trigger = f"/sys/fs/ext4/{os.path.basename(loop)}/trigger_fs_error"
        with open(trigger, "w") as file:
            file.write("a test")
        for name, change in changes.items():
            status, code, message = refusal(change)
            if name in IDENTITIES:
                assert "make the change durable" in message, message
            else:
                assert (status, code) == (503, "ServiceUnavailable") and "read-only" in message, (name, code, message)
                book.verify(tidy=False)
        book.server.stop()
        subprocess.run(["umount", book.mounted.mount_point], check=True)
        image = book.mounted.directory / "image"
        assert subprocess.run(["/usr/sbin/e2fsck", "-fy", image], capture_output=True).returncode in (0, 1)
        subprocess.run(["mount", "-o", "loop", image, book.mounted.mount_point], check=True)
        book.server.start()
        book.connect(book.server)
        book.verify()
        again(book, changes)


@needs_root
def test_a_file_system_that_is_gone():
    """XFS shuts itself down when its log cannot be written: nothing succeeds, nothing crashes."""
    with serving("xfs", 320 * MIB) as book:
        changes = with_all_there(book)
        cut(book.mounted.mount_point)
        for name, change in changes.items():
            status, code, message = refusal(change)
            assert (status, code) in [(500, "InternalError"), (None, None)], (name, status, code, message)
        status, code, _ = refusal(lambda: book.s3.get_object(Bucket="plain", Key="key-large"))
        assert (status, code) == (500, "InternalError")
        book.server.kill()
        subprocess.run(["umount", book.mounted.mount_point], check=True)
        subprocess.run(["mount", "-o", "loop", book.mounted.directory / "image", book.mounted.mount_point], check=True)
        book.server.start()
        again(book, changes)


@needs_root
def test_a_file_system_without_attributes():
    """Objects keep their bytes and their owner; what would stand in an attribute is said to be missing at the start."""
    with Mounted("ramfs", 64 * MIB) as mounted, Server(root=mounted.root) as server:
        user = server.add_user("writer", number=3)
        assert "no user attributes" in server.log()
        s3 = server.s3()
        s3.create_bucket(Bucket="plain")
        for size in [0, 3000, MIB + 5]:
            body = os.urandom(size)
            s3.put_object(Bucket="plain", Key=f"d/{size}", Body=body, Metadata={"a": "b"})
            s3.copy_object(Bucket="plain", Key=f"copy-{size}", CopySource=f"plain/d/{size}")
            for key in [f"d/{size}", f"copy-{size}"]:
                answer = s3.get_object(Bucket="plain", Key=key)
                assert answer["Body"].read() == body and "-" in answer["ETag"] and answer["Metadata"] == {}
                assert server.path("plain", key).stat().st_uid == user.uid
        upload = s3.create_multipart_upload(Bucket="plain", Key="parts")["UploadId"]
        bodies = [os.urandom(PART), b"tail"]
        parts = [{"PartNumber": number, "ETag": s3.upload_part(
            Bucket="plain", Key="parts", UploadId=upload, PartNumber=number, Body=body)["ETag"]}
            for number, body in enumerate(bodies, 1)]
        s3.complete_multipart_upload(Bucket="plain", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
        assert s3.get_object(Bucket="plain", Key="parts")["Body"].read() == b"".join(bodies)
        assert server.system_files() == []
