"""Objects on the disk: what a POSIX program sees and does, odd keys, file systems, a full disk."""

import hashlib
import os
import re
import stat
import subprocess

import botocore.exceptions
import pytest

from conftest import needs_root, new_bucket
from sluicegate import Server, User, scratch

MIB = 1 << 20
DASHED = re.compile(r'^"[0-9a-f]{32}-\d+"$')


def code_of(call, *arguments, **keywords):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **keywords)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def keys_of(s3, bucket, **options):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **options)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def test_foreign_files_are_objects(http):
    s3, bucket = http.s3(), new_bucket(http)
    (http.path(bucket) / "made/by hand").mkdir(parents=True)
    path = http.path(bucket, "made/by hand/page.html")
    path.write_bytes(b"<p>")
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    head = s3.head_object(Bucket=bucket, Key="made/by hand/page.html")
    assert entry["Key"] == "made/by hand/page.html" and entry["Size"] == 3
    assert DASHED.match(head["ETag"]) and entry["ETag"] == head["ETag"]
    assert head["ContentType"] == "text/html"
    assert s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() == b"<p>"


def test_an_edited_object_never_shows_its_old_md5(http):
    s3, bucket = http.s3(), new_bucket(http)
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"before", Metadata={"a": "b"})["ETag"]
    assert etag == f'"{hashlib.md5(b"before").hexdigest()}"'
    path = http.path(bucket, "k")
    path.write_bytes(b"after!")  # As long as before.
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ETag"] != etag and DASHED.match(head["ETag"])
    assert "Checksum" not in str([name for name in head if name.startswith("ChecksumCRC")])
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == head["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"after!"
    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"x", IfMatch=etag) == (412, "PreconditionFailed")


def test_links_and_special_files_are_never_followed_or_opened(http):
    s3, bucket = http.s3(), new_bucket(http)
    base = http.path(bucket)
    secret = http.root / "outside"
    secret.write_bytes(b"secret")
    (base / "link").symlink_to(secret)
    (base / "up").symlink_to(http.root)
    os.mkfifo(base / "fifo")
    (base / "dir").mkdir()
    (base / "dir/inner").symlink_to("/etc")
    for key in ["link", "up/outside", "fifo", "dir/inner/passwd", "dir"]:
        assert code_of(s3.get_object, Bucket=bucket, Key=key) == (404, "NoSuchKey"), key
    assert keys_of(s3, bucket) == []
    # Writing below a link is refused, writing its name replaces the link and not what it points at.
    assert code_of(s3.put_object, Bucket=bucket, Key="up/new", Body=b"x")[0] == 400
    assert not (http.root / "new").exists()
    s3.put_object(Bucket=bucket, Key="link", Body=b"mine")
    assert secret.read_bytes() == b"secret"
    assert not (base / "link").is_symlink() and (base / "link").read_bytes() == b"mine"
    s3.delete_object(Bucket=bucket, Key="fifo")
    assert stat.S_ISFIFO((base / "fifo").lstat().st_mode)


ODD_KEYS = [
    "a", "a/b", "a/b/c", "a-b", "a0", "dir/", "dir/file", "..", ".", "../up", "x/../y", "//", "/lead", "trail//", "a//b",
    "x" * 255, "y" * 256, "z" * 1024, "é" * 200, "d/" * 500 + "e", ".sgate~@", ".sgate~=x", "p/.sgate~+q", "%41", "a+b c",
    "\\", "😀/😀", "tab\there", "UPPER", "upper",
]


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_odd_keys_round_trip(server, order):
    s3, bucket = server.s3(), new_bucket(server)
    keys = ODD_KEYS if order == "forwards" else ODD_KEYS[::-1]
    for number, key in enumerate(keys):
        s3.put_object(Bucket=bucket, Key=key, Body=f"{number} {key}".encode())
    for number, key in enumerate(keys):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == f"{number} {key}".encode(), key
    assert keys_of(s3, bucket) == sorted(keys, key=lambda key: key.encode())
    assert keys_of(s3, bucket, PaginationConfig={"PageSize": 3}) == sorted(keys, key=lambda key: key.encode())
    assert sorted(os.listdir(server.root)) == sorted({bucket, ".sluicegate", *os.listdir(server.root)})
    for key in keys[::2]:
        s3.delete_object(Bucket=bucket, Key=key)
    assert keys_of(s3, bucket) == sorted(keys[1::2], key=lambda key: key.encode())
    for key in keys[1::2]:
        s3.delete_object(Bucket=bucket, Key=key)
    # Directories made on the way go with their last object.
    assert list(server.path(bucket).iterdir()) == []
    s3.delete_bucket(Bucket=bucket)


def test_keys_that_cannot_be_stored_are_refused(http):
    s3, bucket = http.s3(), new_bucket(http)
    assert code_of(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == (400, "KeyTooLongError")


@needs_root
def test_directories_on_the_way_belong_to_the_writer(http):
    s3, bucket = http.s3(), new_bucket(http)
    user = http.users["writer"]
    s3.put_object(Bucket=bucket, Key="one/two/three", Body=b"")
    for key in ["", "one", "one/two", "one/two/three"]:
        found = http.path(bucket, key).stat()
        assert (found.st_uid, found.st_gid) == (user.uid, user.gid), key
    s3.put_object(Bucket=bucket, Key="file", Body=b"1")
    http.s3(http.users["other"]).put_object(Bucket=bucket, Key="file/below", Body=b"2")
    assert http.path(bucket, "file/.sgate~@").stat().st_uid == user.uid
    copied = http.s3(http.users["other"])
    copied.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/file")
    assert http.path(bucket, "copy").stat().st_uid == http.users["other"].uid


def test_a_directory_that_was_replaced_gets_no_more_objects(http):
    """Whatever the server still has open of it: each object comes right after the change."""
    s3, bucket = http.s3(), new_bucket(http)
    put = lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode())  # noqa: E731
    put("a/b/0")
    for turn in range(1, 40):
        moved = ["a", "a/b"][turn % 2]
        away = http.path(bucket, f"away-{turn}")
        os.rename(http.path(bucket, moved), away)
        before = sorted(str(path) for path in away.rglob("*"))
        if turn % 3:
            os.makedirs(http.path(bucket, "a/b"))
        put(f"a/b/{turn}")
        assert http.path(bucket, f"a/b/{turn}").read_bytes() == f"a/b/{turn}".encode()
        assert sorted(str(path) for path in away.rglob("*")) == before
    # A link in its place is not entered, although it leads to the same directory.
    os.rename(http.path(bucket, "a/b"), http.path(bucket, "a/c"))
    os.symlink("c", http.path(bucket, "a/b"))
    code_of(s3.put_object, Bucket=bucket, Key="a/b/linked", Body=b"")
    assert not http.path(bucket, "a/c/linked").exists()
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/b/39"}, {"Key": "a/b/39"}]})
    assert http.path(bucket, "a/c/39").exists()
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/c/39"}]})
    assert not http.path(bucket, "a/c").exists() and http.path(bucket, "a/b").is_symlink()


def test_large_metadata_spills_and_goes_with_its_object(http):
    s3, bucket = http.s3(), new_bucket(http)
    metadata = {f"name-{number}": "v" * 180 for number in range(10)}
    extra = {"ContentDisposition": "attachment; filename=" + "f" * 1500, "CacheControl": "c" * 1500}
    spill = http.root / ".sluicegate/spill"
    before = len(list(spill.iterdir()))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata=metadata, **extra)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["Metadata"] == metadata and head["CacheControl"] == extra["CacheControl"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"y")
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}
    assert len(list(spill.iterdir())) == before
    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"", Metadata={"a": "v" * 2048}) == (
        400, "MetadataTooLarge")


class Mounted:
    """A file system of its own for a server's data."""

    def __init__(self, kind, size, options="loop"):
        self.directory = scratch()
        self.mount_point = self.directory / "mount"
        self.mount_point.mkdir()
        if kind in ("tmpfs", "ramfs"):
            subprocess.run(["mount", "-t", kind, "-o", f"size={size}", kind, self.mount_point], check=True)
        else:
            image = self.directory / "image"
            with open(image, "wb") as file:
                file.truncate(size)
            force = {"ext4": ["-F"], "xfs": ["-f"], "btrfs": ["-f"]}[kind]
            subprocess.run([f"/usr/sbin/mkfs.{kind}", "-q", *force, image], check=True)
            subprocess.run(["mount", "-o", options, image, self.mount_point], check=True)
        self.root = self.mount_point / "data"
        self.root.mkdir()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        subprocess.run(["umount", self.mount_point], check=True)
        subprocess.run(["rm", "-rf", self.directory], check=True)


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_file_systems(kind):
    with Mounted(kind, 512 * MIB) as mounted, Server(root=mounted.root) as server:
        user = server.add_user("writer", number=3)
        s3, bucket = server.s3(), new_bucket(server)
        for size in [0, 1, 4095, 4096, 40_000, 300_001, 8 * MIB + 1]:
            body = os.urandom(size)
            for key in [f"d/{size}", "replaced"]:
                s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"size": str(size)})
                found = s3.get_object(Bucket=bucket, Key=key)
                assert found["Body"].read() == body
                assert found["ETag"] == f'"{hashlib.md5(body).hexdigest()}"' and found["Metadata"] == {"size": str(size)}
                assert server.path(bucket, key).stat().st_uid == user.uid
        upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
        bodies = [os.urandom(size) for size in (5 * MIB, 6 * MIB + 123, 77)]
        parts = []
        for number, body in reversed(list(enumerate(bodies, 1))):
            part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=body)
            parts.insert(0, {"PartNumber": number, "ETag": part["ETag"]})
        s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
        assert server.path(bucket, "parts").read_bytes() == b"".join(bodies)
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/parts")
        assert server.path(bucket, "copy").read_bytes() == b"".join(bodies)
        s3.put_object(Bucket=bucket, Key="copy/below", Body=b"x")
        assert keys_of(s3, bucket)[:2] == ["copy", "copy/below"]
        assert server.system_files() == []


def test_equal_parts_are_completed_without_copying(http):
    """Parts of one size, in any order, lie at their places: completing leaves the very inode they were written to."""
    s3, bucket = http.s3(), new_bucket(http)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    bodies = {1: os.urandom(5 * MIB), 2: os.urandom(5 * MIB), 3: os.urandom(1234)}
    parts = []
    for number in [2, 3, 1]:
        part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=bodies[number])
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    data = http.root / f".sluicegate/uploads/{bucket}/{upload}/data"
    inode = data.stat().st_ino
    parts.sort(key=lambda part: part["PartNumber"])
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert http.path(bucket, "k").stat().st_ino == inode
    assert http.path(bucket, "k").read_bytes() == bodies[1] + bodies[2] + bodies[3]


@needs_root
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_full_disk_stores_nothing_and_service_goes_on(kind):
    with Mounted(kind, 64 * MIB) as mounted, Server(root=mounted.root) as server:
        server.add_user("writer", number=3)
        s3, bucket = server.s3(), new_bucket(server)
        s3.put_object(Bucket=bucket, Key="kept", Body=b"kept")
        refusals = set()
        for number in range(20):
            try:
                s3.put_object(Bucket=bucket, Key=f"fill-{number}", Body=b"x" * (8 * MIB))
            except botocore.exceptions.ClientError as error:
                response = error.response
                refusals.add(response["ResponseMetadata"]["HTTPStatusCode"])
                assert "room" in response["Error"]["Message"]
                assert not server.path(bucket, f"fill-{number}").exists()
        assert refusals == {507}
        assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept"
        for key in keys_of(s3, bucket, Prefix="fill-"):
            s3.delete_object(Bucket=bucket, Key=key)
        s3.put_object(Bucket=bucket, Key="again", Body=b"y" * (8 * MIB))
        assert server.system_files() == []


@needs_root
def test_without_the_right_to_chown_a_foreign_owner_is_refused():
    """A server that may not give files away says so when the user is added, and refuses that user's writes."""
    # The shell stays, so that the server is its child.
    wrapper = ["sh", "-c", 'setpriv --bounding-set=-chown --inh-caps=-chown "$@"; exit $?', "sh"]
    with Server(wrapper=wrapper) as server:
        added = server.command("user", "add", "own", "--posix-uid", "0", "--posix-gid", "0", "--policy", "readwrite",
                               secret="Secret-of-writer-1")
        assert added.returncode == 0 and "CAP_CHOWN" not in added.stderr
        added = server.command("user", "add", "foreign", "--posix-uid", "4242", "--posix-gid", "4242", "--policy",
                               "readwrite", secret="Secret-of-writer-1")
        assert added.returncode == 0 and "CAP_CHOWN" in added.stderr
        own, foreign = (server.s3(User(name, "Secret-of-writer-1", 0, 0)) for name in ["own", "foreign"])
        own.create_bucket(Bucket="bucket")
        own.put_object(Bucket="bucket", Key="k", Body=b"x")
        with pytest.raises(botocore.exceptions.ClientError, match="CAP_CHOWN"):
            foreign.put_object(Bucket="bucket", Key="foreign", Body=b"x")
        assert foreign.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
        assert os.listdir(server.path("bucket")) == ["k"]
        server.restart()
        assert "CAP_CHOWN" in server.log()
