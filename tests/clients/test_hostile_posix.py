"""POSIX users of the machine who mean harm, beside a server that runs as root.

They may write in a bucket, and turn what the server is about to use into something else: links, devices, directories of
others. And they may say of their files whatever they like, in the attribute that is the server's record. Nothing outside
of the bucket is to be read, written, given away or listed, and of what is inside nobody gets more than the file.

The attacks last SLUICEGATE_HOSTILE_SECONDS each (2 by default).
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import stat
import threading
import time
from random import Random

import botocore.exceptions
import pytest

import wire
from conftest import needs_root
from sluicegate import Server, User

pytestmark = needs_root

SECONDS = float(os.environ.get("SLUICEGATE_HOSTILE_SECONDS", "2"))
ATTACKER, VICTIM = 21001, 21002
SECRET = b"secret of the canary"
RENAME_EXCHANGE, AT_FDCWD = 2, -100

libc = ctypes.CDLL(None, use_errno=True)


def exchange(one, other):
    """Swaps two names in one step."""
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


class Attack:
    """Processes of the attacker, each of which calls a function again and again until the block ends."""

    def __init__(self, *acts, uid=ATTACKER):
        self.acts, self.uid, self.children = acts, uid, []

    def __enter__(self):
        for act in self.acts:
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.setgroups([])
                os.setgid(self.uid)
                os.setuid(self.uid)
                while True:
                    with contextlib.suppress(OSError):
                        act()
            self.children.append(child)

    def __exit__(self, *failure):
        for child in self.children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


class Canary:
    """Files of others, outside of every bucket."""

    def __init__(self, path):
        self.path = path
        path.mkdir(mode=0o755)
        for name, uid in ("file", 0), ("victim", VICTIM):
            (path / name).write_bytes(SECRET)
            os.chown(path / name, uid, uid)
            (path / name).chmod(0o600)
        for name in "inner", "empty":
            (path / name).mkdir(mode=0o755)
        (path / "inner/file").write_bytes(SECRET)
        self.before = self.seen()

    def seen(self):
        """All that there is to be seen of it but when it was read."""
        found = {}
        for path in [self.path, *sorted(self.path.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else sorted(os.listdir(path))
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns,
                                status.st_ino, os.listxattr(path), content)
        return found

    def check(self):
        assert self.seen() == self.before


def hostile_server(permissions, **options):
    server = Server(options=["--posix-permissions", permissions], **options)
    for name, uid in ("attacker", ATTACKER), ("victim", VICTIM):
        server.admin("user", "add", name, "--posix-uid", uid, "--posix-gid", uid, "--policy", "readwrite",
                     secret=f"Secret-of-{name}")
        server.users[name] = User(name, f"Secret-of-{name}", uid, uid)
    return server


@pytest.fixture(scope="module", params=["bypass", "enforce"])
def server(request):
    with hostile_server(request.param) as server:
        yield server


@pytest.fixture
def canary(server):
    path = server.root.parent / f"canary-{time.monotonic_ns()}"
    canary = Canary(path)
    yield canary
    canary.check()


numbers = iter(range(1 << 30))


@pytest.fixture
def bucket(server):
    name = f"hostile-{next(numbers)}"
    server.s3(server.users["attacker"]).create_bucket(Bucket=name)
    assert server.path(name).stat().st_uid == ATTACKER
    return name


class Clients:
    """Threads in which clients do all they can with some keys, until the time is over. What they are answered is looked at:
    no failure of the server, nothing of the canary."""

    def __init__(self, server, bucket, keys, seconds=SECONDS, user="attacker"):
        self.server, self.bucket, self.keys = server, bucket, keys
        self.ends, self.failures, self.answers = time.monotonic() + seconds, [], 0
        self.client = server.s3(server.users[user])

    def run(self, count=4):
        threads = [threading.Thread(target=self._run, args=[Random(number)]) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.failures, self.failures[:3]

    def _run(self, random):
        try:
            # A busy machine gets some more time to do anything at all.
            while (time.monotonic() < self.ends or self.answers < 30) and not self.failures:
                self._once(random.choice(self.ACTS), random.choice(self.keys))
                self.answers += 1
        except BaseException as failure:
            self.failures.append(failure)

    def _once(self, act, key):
        try:
            act(self, {"Bucket": self.bucket, "Key": key})
        except botocore.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] not in (500, 501), error
        except (botocore.exceptions.ResponseStreamingError, botocore.exceptions.IncompleteReadError):
            # The file was changed while it was sent.
            pass

    def get(self, target):
        answer = self.client.get_object(**target)
        assert SECRET not in answer["Body"].read()

    def put(self, target):
        self.client.put_object(**target, Body=b"of the attacker")

    def delete(self, target):
        self.client.delete_object(**target)

    def list(self, target):
        answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=target["Key"].rpartition("/")[0])
        assert not any("canary" in entry["Key"] or entry["Size"] == len(SECRET) for entry in answer.get("Contents", []))

    def copy(self, target):
        self.client.copy_object(Bucket=self.bucket, Key="copied", CopySource=target)
        self.get({"Bucket": self.bucket, "Key": "copied"})

    def tag(self, target):
        self.client.put_object_tagging(**target, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})

    def below(self, target):
        self.client.put_object(Bucket=self.bucket, Key=target["Key"] + "/below/deep", Body=b"")

    def parts(self, target):
        upload = self.client.create_multipart_upload(**target)["UploadId"]
        part = self.client.upload_part(**target, UploadId=upload, PartNumber=1, Body=b"in parts")
        self.client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})

    def rename(self, target):
        self.client.rename_object(**target, RenameSource=f"/{self.bucket}/copied")

    def remove_all(self, target):
        self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in self.keys]})

    ACTS = [get, get, put, put, put, delete, list, copy, tag, below, parts, rename, remove_all]


def test_directories_and_files_swapped_with_links(server, canary, bucket):
    base = server.path(bucket)

    def swap(name, target):
        own, link = base / name, base / f"link-{name}"

        def act():
            with contextlib.suppress(OSError):
                os.symlink(target, link)
            with contextlib.suppress(OSError):
                os.mkdir(own)
            exchange(own, link)
        return act

    def swap_file():
        own, link = base / "file", base / "link-file"
        with contextlib.suppress(OSError):
            os.symlink(canary.path / "file", link)
        with contextlib.suppress(OSError):
            own.write_bytes(b"mine")
        exchange(own, link)

    with Attack(swap("a", canary.path), swap("b", "../../" + canary.path.name + "/inner"), swap_file):
        Clients(server, bucket, ["a/file", "a/inner/file", "a/new", "b/file", "b/new/deep", "file", "file/below"]).run()


def test_directories_moved_out_of_the_bucket_and_back(server, canary, bucket):
    """The attacker's own directory beside the bucket, where the server's user could see everything."""
    base, outside = server.path(bucket), server.root.parent / f"outside-{bucket}"
    outside.mkdir()
    os.chown(outside, ATTACKER, ATTACKER)

    def move():
        with contextlib.suppress(OSError):
            (base / "d/e").mkdir(parents=True)
        os.rename(base / "d/e", outside / "e")
        time.sleep(0.0005)
        os.rename(outside / "e", base / "d/e")

    def turn():
        with contextlib.suppress(OSError):
            (base / "x/y").mkdir(parents=True)
        os.rename(base / "x/y", base / "y")
        os.rename(base / "x", base / "y/x")
        os.rename(base / "y/x", base / "x")
        os.rename(base / "y", base / "x/y")

    with Attack(move, turn):
        Clients(server, bucket, ["d/e/f", "d/e/g/h", "x/y/z", "y/x/z", "x/z"]).run()


@pytest.mark.parametrize("permissions", ["bypass", "enforce"])
def test_nothing_of_others_is_given_away(permissions):
    """Directories of others stand in the attacker's bucket, and take the places of those that the server makes right after
    it made them, for which it is slowed down."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    slowly = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=mkdirat", "-e", "inject=mkdirat:delay_exit=2000"]
    with hostile_server(permissions, wrapper=slowly) as server:
        bucket = "own"
        server.s3(server.users["attacker"]).create_bucket(Bucket=bucket)
        base, held = server.path(bucket), {}
        for name, uid in ("rooted", 0), ("victims", VICTIM):
            path = base / name
            path.mkdir(mode=0o700)
            (path / "file").write_bytes(SECRET)
            for own in path / "file", path:
                os.chown(own, uid, uid)
                held[own.stat().st_ino] = uid

        def swap(name, made):
            one, other = os.fsencode(base / name), os.fsencode(base / made)

            def act():
                # As often as it goes, to come between the making of a directory and its opening.
                if not libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE):
                    time.sleep(0.003)
                    libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
            return act

        with Attack(swap("rooted", "m1"), swap("victims", "m2")):
            clients = Clients(server, bucket, ["m1/new", "m2/new", "m1/n/n", "m2/n/n"])
            clients.ACTS = [Clients.put, Clients.put, Clients.delete, Clients.delete]
            clients.run()
        found = {path.lstat().st_ino: path.lstat().st_uid for path in base.rglob("*")}
        assert {inode: found[inode] for inode in held} == held


def test_hard_links_keep_their_owner_and_content(server, canary, bucket):
    """A link to a file of somebody else is a file like others; to write its key replaces the link."""
    base, clients = server.path(bucket), server.s3(server.users["attacker"])
    elsewhere = server.root.parent / f"linked-{bucket}"
    for number, change in enumerate([
        lambda target: clients.put_object(**target, Body=b"new"),
        lambda target: clients.put_object(**target, Body=bytes(1 << 20)),
        lambda target: clients.copy_object(**target, CopySource=f"{bucket}/source"),
        lambda target: Clients(server, bucket, []).parts(target),
        lambda target: clients.delete_object(**target),
        lambda target: clients.put_object(Bucket=bucket, Key=target["Key"] + "/below", Body=b""),
        lambda target: clients.rename_object(**target, RenameSource=f"/{bucket}/source"),
    ]):
        clients.put_object(Bucket=bucket, Key="source", Body=b"source")
        elsewhere.write_bytes(b"of the victim")
        os.chown(elsewhere, VICTIM, VICTIM)
        elsewhere.chmod(0o604)
        os.link(elsewhere, base / f"k{number}")
        change({"Bucket": bucket, "Key": f"k{number}"})
        found = elsewhere.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (VICTIM, VICTIM, 0o604), number
        assert elsewhere.read_bytes() == b"of the victim", number
        elsewhere.unlink()


def test_special_files_are_no_objects_and_stop_nobody(server, canary, bucket):
    base = server.path(bucket)
    bound = socket.socket(socket.AF_UNIX)

    def fill():
        for name, make in [("fifo", os.mkfifo), ("device", lambda path: os.mknod(path, 0o666 | stat.S_IFIFO)),
                           ("socket", lambda path: os.mknod(path, 0o666 | stat.S_IFSOCK))]:
            with contextlib.suppress(OSError):
                os.unlink(base / name)
            make(base / name)

    os.mknod(base / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    client = server.s3(server.users["attacker"])
    for key in "zero", "zero/below":
        with pytest.raises(botocore.exceptions.ClientError) as missing:
            client.get_object(Bucket=bucket, Key=key)
        assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with Attack(fill):
        Clients(server, bucket, ["fifo", "device", "socket", "zero", "fifo/below"]).run()
    bound.close()


def test_reserved_names_made_by_a_program(server, canary, bucket):
    """What looks like the server's own names is read as what it is, be it a link, a directory or nonsense."""
    base = server.path(bucket)
    names = [".sgate~@", ".sgate~=", ".sgate~v", ".sgate~!0000", ".sgate~+", ".sgate~=.sgate~@", ".sgate~\xff", ".sluicegate"]

    def fill():
        random = Random(time.monotonic_ns())
        directory = random.choice([base, base / "d", base / "d/.sgate~@", base / ".sgate~+a"])
        path = os.fsencode(directory) + b"/" + random.choice(names).encode("latin-1")
        match random.randrange(4):
            case 0:
                os.mkdir(path)
            case 1:
                os.symlink(canary.path / random.choice(["file", "inner", "."]), path)
            case 2:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            case 3:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                os.rmdir(path)

    for directory in "d", ".sgate~+a":
        (base / directory).mkdir()
        os.chown(base / directory, ATTACKER, ATTACKER)
    with Attack(fill, fill):
        Clients(server, bucket, ["d", "d/", "d/.sgate~@", ".sgate~=", ".sgate~v/x", "d/e", ".sluicegate/format"]).run()


# Forged records.


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def zigzag(number):
    return (number << 1) ^ (number >> 63) if number >= 0 else ((-number) << 1) - 1


INJECTION = b"x\r\nx-injected: 1\r\n\r\n<injected>"


def forged(random, path, others):
    """A record that a program could write: mostly well formed, so that it gets past the first checks."""
    status = path.stat()
    size = random.choice([status.st_size] * 8 + [0, (1 << 64) - 1])
    seconds, nanos = status.st_mtime_ns // 10**9, status.st_mtime_ns % 10**9
    text = lambda: random.choice([b"plain", b"", b"\xff\xfe", "ünï".encode(), INJECTION, b"\x00", b"a" * 20_000, b"\x7f", b"\t"])
    pairs = lambda: b"".join(varint(len(part)) + part for _ in range(random.randrange(4)) for part in (
        random.choice([b"a", b"b", b"UPPER", b"content-length", INJECTION, b"with space", b":", b""]), text()))
    checksum = lambda: bytes([random.randrange(12), random.randrange(3)]) + random.randbytes(random.choice([4, 8, 16, 20, 32]))
    values = {
        **{number: text for number in range(1, 9)}, 9: pairs, 10: pairs, 11: checksum,
        12: lambda: random.choice([varint(1) + varint(size), varint(10_000) + varint(1 << 40), varint(1 << 63) + varint(2),
                                   varint(2) + varint(size // 2), b""]),
        13: lambda: random.choice(others + [random.randbytes(16), bytes(16), b"short"]),
        14: checksum,
        15: lambda: random.choice(others + [random.randbytes(16)]),
        16: lambda: random.choice(others + [random.randbytes(16), bytes(16), b"\xff" * 16]),
        17: lambda: bytes([random.randrange(4)]) + varint(random.choice([0, zigzag(1 << 40), (1 << 64) - 1])),
        18: lambda: bytes([random.randrange(3)]),
        19: lambda: random.choice([random.randbytes(9), bytes([1, 2, 1, 3, 1]), varint(1 << 40), b"\x01" * 300]),
        200: lambda: random.randbytes(30),
    }
    etag = random.choice([
        (0, random.randbytes(16)), (1, random.randbytes(16) + varint(random.choice([1, 3, 10_000, 1 << 40]))),
        (2, b"\x04text"), (2, varint(len(INJECTION)) + INJECTION), (2, varint(1 << 60)), (2, b"\x01\""), (9, b"")])
    kind = random.choice([1] * 6 + [2, 0])
    chosen = [number for number in values if random.random() < 0.2]
    if kind == 2 and 13 not in chosen:
        chosen = sorted([*chosen, 13])
    record = bytes([1, kind, etag[0], random.randrange(12)]) + varint(size) + varint(zigzag(seconds))
    record += nanos.to_bytes(4, "little") + etag[1]
    for number in chosen:
        value = values[number]()
        record += bytes([number]) + varint(random.choice([len(value)] * 15 + [1 << 62])) + value
    if random.random() < 0.15:
        at = random.randrange(len(record))
        record = record[:at] + random.randbytes(2) + record[at + random.randrange(3):]
    return record


KNOWN_HEADERS = {
    "x-amz-request-id", "x-amz-id-2", "date", "server", "last-modified", "accept-ranges", "etag", "content-length",
    "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires",
    "x-amz-website-redirect-location", "x-amz-storage-class", "x-amz-tagging-count", "x-amz-mp-parts-count",
    "x-amz-version-id", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold",
    "x-amz-expiration", "connection", "x-amz-checksum-type", "content-range",
}


def raw_answer(connection):
    """Status, header lines as they came, and the rest of the answer by its length."""
    while b"\r\n\r\n" not in connection.pending:
        assert connection.receive(), connection.pending
    head, _, body = connection.pending.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
    assert len(lengths) == 1, lines
    length = int(lengths[0].split(b":")[1])
    while len(body) < length:
        assert connection.receive()
        _, _, body = connection.pending.partition(b"\r\n\r\n")
    connection.pending = body[length:]
    return int(lines[0].split()[1]), lines[1:], body[:length]


@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
def test_forged_records_give_no_more_than_the_file(server, canary, versioned):
    bucket = f"forged-{next(numbers)}"
    victim, attacker = server.s3(server.users["victim"]), server.s3(server.users["attacker"])
    attacker.create_bucket(Bucket=bucket)
    victims = bucket + "-victim"
    victim.create_bucket(Bucket=victims)
    if versioned:
        for client, name in (attacker, bucket), (victim, victims):
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    # What the victim has: a record that lies beside its file, versions, an upload in progress.
    large = {f"m{number}": "v" * 190 for number in range(9)}
    others = []
    for number in range(2):
        answer = victim.put_object(Bucket=victims, Key="k", Body=b"of the victim", Metadata=large,
                                   ContentDisposition="d" * 3000, CacheControl="c" * 3000)
        others += [bytes.fromhex(answer.get("VersionId", "00" * 16))]
    others += [bytes.fromhex(victim.create_multipart_upload(Bucket=victims, Key="k")["UploadId"])]
    system = server.root / ".sluicegate"
    others += [bytes.fromhex(name) for name in os.listdir(system / "spill")]
    held = {path: (path.read_bytes(), path.stat().st_uid) for path in
            [*(system / "spill").iterdir(), *(system / f"versions/{victims}").rglob("*"),
             *(system / f"uploads/{victims}").rglob("*"), server.path(victims, "k")] if path.is_file()}
    before = victim.head_object(Bucket=victims, Key="k")
    random = Random(7)
    user = server.users["attacker"]
    for round in range(int(30 * SECONDS)):
        key = f"k{round % 7}"
        path = server.path(bucket, key)
        content = random.randbytes(random.choice([0, 17, 5000]))
        path.write_bytes(content)
        os.chown(path, ATTACKER, ATTACKER)
        with contextlib.suppress(OSError):
            os.setxattr(path, "user.s3", forged(random, path, others))
        kept = path.stat()
        with wire.Connection(server) as connection:
            for method, target in ("GET", f"/{bucket}/{key}"), ("GET", f"/{bucket}/{key}?partNumber=1"), \
                    ("GET", f"/{bucket}?list-type=2&prefix={key}"):
                connection.send(wire.signed(user, connection.host, method, target))
                status, lines, body = raw_answer(connection)
                assert status in (200, 206, 400, 403), (status, lines, body)
                for line in lines:
                    name = line.split(b":")[0].decode("latin-1").lower()
                    assert name in KNOWN_HEADERS or name.startswith(("x-amz-meta-", "x-amz-checksum-")), line
                    assert b"\r" not in line and b"\n" not in line and b"\x00" not in line
                assert connection.pending == b""
                if status == 200 and "list-type" not in target:
                    assert body == content
                    assert b"v" * 190 not in b"".join(lines) and b"d" * 3000 not in b"".join(lines)
                if status == 206:
                    assert content.startswith(body)
        # Whatever clients do with it next works as with any file, or is refused.
        change = random.choice([
            lambda **target: attacker.put_object_tagging(**target, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
            lambda **target: attacker.copy_object(Bucket=bucket, Key="copy", CopySource=target),
            lambda **target: attacker.get_object_attributes(**target, ObjectAttributes=["ETag", "ObjectParts", "Checksum"]),
            attacker.get_object_tagging, attacker.get_object_acl, attacker.delete_object,
            lambda **target: attacker.put_object(**target, Body=b"over it"),
            lambda **target: attacker.delete_object(**target, VersionId=random.choice(others).hex()),
            lambda **target: attacker.get_object(**target, VersionId=random.choice(others).hex()),
            lambda **target: attacker.put_object(Bucket=bucket, Key=target["Key"] + "/below", Body=b""),
        ])
        try:
            change(Bucket=bucket, Key=key)
        except botocore.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] < 500, (error, change)
        assert kept.st_uid == ATTACKER
        below = server.path(bucket, key)
        if below.is_dir():
            attacker.delete_object(Bucket=bucket, Key=key + "/below")
            with contextlib.suppress(OSError):
                for left in below.iterdir():
                    left.unlink()
                below.rmdir()
    after = victim.head_object(Bucket=victims, Key="k")
    assert {name: before[name] for name in ("Metadata", "ETag", "CacheControl")} == \
        {name: after[name] for name in ("Metadata", "ETag", "CacheControl")}
    assert {path: (path.read_bytes(), path.stat().st_uid) for path in held} == held
    if versioned:
        assert len(victim.list_object_versions(Bucket=victims)["Versions"]) == 2


def test_times_at_the_edge_of_what_files_have():
    """On a file system that keeps any time: none is a reason to fail."""
    if not os.path.isdir("/dev/shm"):
        pytest.skip("no file system in memory")
    os.environ["SLUICEGATE_SCRATCH"], before = "/dev/shm", os.environ.get("SLUICEGATE_SCRATCH")
    try:
        server = hostile_server("bypass")
    finally:
        os.environ.pop("SLUICEGATE_SCRATCH")
        if before:
            os.environ["SLUICEGATE_SCRATCH"] = before
    with server:
        client = server.s3(server.users["attacker"])
        client.create_bucket(Bucket="times")
        times = [0, -1, -(1 << 31), 1 << 31, 1 << 33, 253402300800, -62135596801, (1 << 62) // 10**9, (1 << 63) // 10**9 - 1]
        for number, seconds in enumerate(times):
            path = server.path("times", f"k{number}")
            path.write_bytes(b"content")
            os.utime(path, (0, seconds))
            with wire.Connection(server) as connection:
                for target in f"/times/k{number}", "/times?list-type=2", "/times?versions":
                    connection.send(wire.signed(server.users["attacker"], connection.host, "GET", target))
                    status, _, body = raw_answer(connection)
                    assert status == 200 and (b"content" == body or b"ListBucketResult" in body or b"ListVersions" in body)
