"""`--posix-permissions enforce`: S3 gives a user what the modes of the files give them, and no more.

The oracle is the kernel: each thing that a client asks for is also done by a process of that user on the same files, and
the two have to agree. With SLUICEGATE_ALL_MODES set, many more modes are tried, which takes minutes.
"""

import json
import os
import pathlib
import shutil
import stat
import struct
import tempfile
import urllib.error
import urllib.request

import botocore.exceptions
import pytest

import sluicegate
from conftest import needs_root
from sluicegate import Server, User

pytestmark = needs_root

# Owner of the files, a member of their group (by the system's database), and somebody else.
UIDS = {"owner": 20001, "member": 20002, "other": 20003}
GIDS = {"owner": 30001, "member": 30002, "other": 30003}
GROUPS = {"owner": [], "member": [30001, 30009], "other": []}

# Each kind of access for each kind of user; with the variable, also what follows from them.
DIRECTORY_MODES = [0o755, 0o711, 0o733, 0o070, 0o500, 0o1777, 0o2775]
FILE_MODES = [0o640, 0o604, 0o400, 0o200, 0o040, 0o000]
if "SLUICEGATE_ALL_MODES" in os.environ:
    DIRECTORY_MODES += [0o750, 0o700, 0o775, 0o777, 0o730, 0o703, 0o300, 0o007, 0o000, 0o1775, 0o2770, 0o2777]
    FILE_MODES += [0o644, 0o600, 0o666, 0o660, 0o004, 0o060, 0o006]


def accounts(directory):
    """Puts the users into the system's databases, as one process sees them."""
    passwd, group = directory / "passwd", directory / "group"
    passwd.write_text("root:x:0:0::/:/bin/sh\n" + "".join(
        f"{name}:x:{UIDS[name]}:{GIDS[name]}::/:/bin/sh\n" for name in UIDS))
    group.write_text("root:x:0:\n" + "".join(f"{name}:x:{GIDS[name]}:\n" for name in GIDS if name != "owner")
                     + "owner:x:30001:member\nfriends:x:30009:member\n")
    mount = f"mount --bind {passwd} /etc/passwd && mount --bind {group} /etc/group && exec \"$@\""
    return ["unshare", "--fork", "--mount", "sh", "-c", mount, "sh"]


class Enforcing(Server):
    """A server that enforces permissions, with the users."""

    def __init__(self, options=(), **rest):
        self.databases = tempfile.TemporaryDirectory()
        super().__init__(options=["--posix-permissions", "enforce", *options],
                         wrapper=accounts(pathlib.Path(self.databases.name)), **rest)
        for name in UIDS:
            self.admin("user", "add", name, "--posix-uid", UIDS[name], "--posix-gid", GIDS[name], "--policy",
                       "readwrite", secret=f"Secret-of-{name}")
            self.users[name] = User(name, f"Secret-of-{name}", UIDS[name], GIDS[name])
        self.clients = {name: self.s3(self.users[name]) for name in UIDS}
        self.clients["owner"].create_bucket(Bucket="shared")
        # Everybody may do everything in the bucket itself, so that the directories below it decide.
        self.path("shared").chmod(0o777)

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.databases.cleanup()


@pytest.fixture(scope="module")
def server():
    with Enforcing() as server:
        yield server


def may(name, act):
    """Whether a process of this user may do something."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(GROUPS[name])
            os.setgid(GIDS[name])
            os.setuid(UIDS[name])
            os.umask(0o022)
            act()
            os._exit(0)
        except PermissionError:
            os._exit(1)
        except BaseException:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1), f"the process failed otherwise: {status}"
    return status == 0


def allows(call, **arguments):
    """Whether the server lets a client do something. A refusal says what lacks."""
    try:
        answer = call(**arguments)
        if "Body" in answer and hasattr(answer["Body"], "read"):
            answer["Body"].read()
        return True
    except botocore.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error
        message = error.response["Error"]["Message"]
        assert error.response["Error"]["Code"] in ("AccessDenied", "403"), error
        assert "POSIX" in message or message == "Forbidden", message
        return False


def make_directory(server, name, mode, owner=("owner", "owner")):
    """A directory of the owner with this mode, and its path."""
    path = server.path("shared", name)
    path.mkdir(parents=True)
    os.chown(path, UIDS[owner[0]], GIDS[owner[1]])
    path.chmod(mode)
    return path


def make_file(path, mode=0o644, content=b"content", owner="owner"):
    path.write_bytes(content)
    os.chown(path, UIDS[owner], GIDS[owner])
    path.chmod(mode)


def replace(path):
    """What a program does that replaces a file in one step."""
    aside = path.with_name("aside")
    aside.write_bytes(b"new")
    os.rename(aside, path)


@pytest.mark.parametrize("mode", DIRECTORY_MODES, ids=oct)
def test_reading_follows_the_modes(server, mode):
    directory = make_directory(server, f"read-{mode:o}", mode)
    for file_mode in FILE_MODES:
        make_file(directory / f"{file_mode:o}", file_mode)
        for name, client in server.clients.items():
            expected = may(name, (directory / f"{file_mode:o}").read_bytes)
            target = {"Bucket": "shared", "Key": f"{directory.name}/{file_mode:o}"}
            for call in client.get_object, client.head_object, client.get_object_tagging:
                assert allows(call, **target) == expected, (name, oct(mode), oct(file_mode), call)
    # What is written by S3 is not read otherwise.
    server.clients["owner"].put_object(Bucket="shared", Key=f"s3-{mode:o}", Body=b"of S3")
    server.path("shared", f"s3-{mode:o}").chmod(mode & 0o777)
    for name, client in server.clients.items():
        expected = may(name, server.path("shared", f"s3-{mode:o}").read_bytes)
        assert allows(client.get_object, Bucket="shared", Key=f"s3-{mode:o}") == expected


def check_changes(server, directory, name, client):
    path, prefix = directory / "file", f"{directory.name}/"
    make_file(path, 0o644)
    target = {"Bucket": "shared", "Key": prefix + "file"}
    new = {"Bucket": "shared", "Key": prefix + "new"}

    expected = may(name, lambda: os.close(os.open(directory / "probe", os.O_CREAT | os.O_WRONLY)))
    (directory / "probe").unlink(missing_ok=True)
    assert allows(client.put_object, **new, Body=b"new") == expected, "make"
    assert (directory / "new").exists() == expected
    if expected:
        made = (directory / "new").stat()
        group = directory.stat().st_gid if directory.stat().st_mode & stat.S_ISGID else GIDS[name]
        assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (UIDS[name], group, 0o644)

    expected = may(name, lambda: replace(path))
    (directory / "aside").unlink(missing_ok=True)
    make_file(path, 0o600, b"before")
    assert allows(client.put_object, **target, Body=b"after") == expected, "replace"
    assert path.read_bytes() == (b"after" if expected else b"before")
    assert path.stat().st_uid == (UIDS[name] if expected else UIDS["owner"])

    upload = client.create_multipart_upload(**target)["UploadId"]
    part = client.upload_part(**target, UploadId=upload, PartNumber=1, Body=b"in parts")
    make_file(path, 0o600, b"before")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert allows(client.complete_multipart_upload, **target, UploadId=upload, MultipartUpload=parts) == expected
    assert path.read_bytes() == (b"in parts" if expected else b"before")
    assert path.stat().st_uid == (UIDS[name] if expected else UIDS["owner"])
    if not expected:
        client.abort_multipart_upload(**target, UploadId=upload)

    source = make_source(server, name)
    make_file(path, 0o600, b"before")
    assert allows(client.copy_object, **target, CopySource=source) == expected, "copy"
    assert path.read_bytes() == (b"source" if expected else b"before")

    make_file(path, 0o644)
    expected = may(name, path.unlink)
    if expected:
        make_file(path, 0o644)
    assert allows(client.delete_object, **target) == expected, "delete"
    assert path.exists() != expected
    if not path.exists():
        make_file(path, 0o600)
    answer = client.delete_objects(Bucket="shared", Delete={"Objects": [{"Key": target["Key"]}]})
    assert [error["Code"] for error in answer.get("Errors", [])] == ([] if expected else ["AccessDenied"])
    assert path.exists() != expected
    for left in "new", "file":
        (directory / left).unlink(missing_ok=True)


def make_source(server, name):
    key = f"source-{name}"
    if not server.path("shared", key).exists():
        server.clients[name].put_object(Bucket="shared", Key=key, Body=b"source")
    return {"Bucket": "shared", "Key": key}


@pytest.mark.parametrize("mode", DIRECTORY_MODES, ids=oct)
def test_changes_follow_the_modes(server, mode):
    for name, client in server.clients.items():
        directory = make_directory(server, f"write-{mode:o}-{name}", mode)
        check_changes(server, directory, name, client)


@pytest.mark.parametrize("mode", DIRECTORY_MODES, ids=oct)
def test_listings_follow_the_modes(server, mode):
    directory = make_directory(server, f"list-{mode:o}/inner", mode)
    make_file(directory / "file", 0o600)
    outer = directory.parent.name
    for name, client in server.clients.items():
        expected = may(name, lambda: [os.stat(directory / entry) for entry in os.listdir(directory)])
        for call in client.list_objects_v2, client.list_objects, client.list_object_versions:
            assert allows(call, Bucket="shared", Prefix=f"{outer}/inner/") == expected, (name, call)
        found = client.list_objects_v2(Bucket="shared", Prefix=f"{outer}/").get("Contents", [])
        assert [entry["Key"] for entry in found] == ([f"{outer}/inner/file"] if expected else [])
        found = client.list_object_versions(Bucket="shared", Prefix=f"{outer}/").get("Versions", [])
        assert [entry["Key"] for entry in found] == ([f"{outer}/inner/file"] if expected else [])
        # Without an order too.
        server.admin("bucket", "profile", "set", "shared", "--listing", "unsorted")
        assert allows(client.list_objects_v2, Bucket="shared", Prefix=f"{outer}/inner/") == expected, name
        found = client.list_objects_v2(Bucket="shared", Prefix=f"{outer}/").get("Contents", [])
        assert [entry["Key"] for entry in found] == ([f"{outer}/inner/file"] if expected else [])
        server.admin("bucket", "profile", "clear", "shared")


def test_the_bucket_itself_has_a_mode(server):
    owner = server.clients["owner"]
    for mode in 0o700, 0o750, 0o711, 0o733, 0o755:
        bucket = f"bucket-{mode:o}"
        owner.create_bucket(Bucket=bucket)
        owner.put_object(Bucket=bucket, Key="k", Body=b"content")
        path = server.path(bucket)
        path.chmod(mode)
        for name, client in server.clients.items():
            assert allows(client.get_object, Bucket=bucket, Key="k") == may(name, (path / "k").read_bytes)
            assert allows(client.list_objects_v2, Bucket=bucket) == \
                may(name, lambda: [os.stat(path / entry) for entry in os.listdir(path)])
            assert allows(client.put_object, Bucket=bucket, Key=name, Body=b"") == \
                may(name, lambda: os.close(os.open(path / f"{name}-probe", os.O_CREAT | os.O_WRONLY)))


def test_sources_of_copies_are_read_as_the_user(server):
    directory = make_directory(server, "sources", 0o755)
    for mode in 0o600, 0o640, 0o644:
        make_file(directory / f"{mode:o}", mode)
        for name, client in server.clients.items():
            expected = may(name, (directory / f"{mode:o}").read_bytes)
            source = {"Bucket": "shared", "Key": f"sources/{mode:o}"}
            target = {"Bucket": "shared", "Key": f"copy-{name}-{mode:o}"}
            assert allows(client.copy_object, **target, CopySource=source) == expected
            assert server.path("shared", target["Key"]).exists() == expected
            upload = client.create_multipart_upload(**target)["UploadId"]
            assert allows(client.upload_part_copy, **target, CopySource=source, UploadId=upload,
                          PartNumber=1) == expected
            client.abort_multipart_upload(**target, UploadId=upload)
    copy = server.path("shared", "copy-member-640").stat()
    assert (copy.st_uid, copy.st_gid) == (UIDS["member"], GIDS["member"])


def test_records_are_changed_by_whoever_may_write_the_file(server):
    directory = make_directory(server, "tags", 0o777)
    for mode in 0o600, 0o640, 0o660, 0o644, 0o666, 0o444:
        make_file(directory / f"{mode:o}", mode)
        path = directory / f"{mode:o}"
        for name, client in server.clients.items():
            expected = may(name, lambda: (path.read_bytes(), os.setxattr(path, "user.probe", b"x")))
            tags = {"TagSet": [{"Key": "by", "Value": name}]}
            target = {"Bucket": "shared", "Key": f"tags/{mode:o}"}
            assert allows(client.put_object_tagging, **target, Tagging=tags) == expected, (name, oct(mode))
            assert path.stat().st_uid == UIDS["owner"]


def test_renames_follow_the_modes(server):
    for mode in 0o755, 0o777, 0o775, 0o1777:
        for name, client in server.clients.items():
            source = make_directory(server, f"from-{mode:o}-{name}", mode)
            target = make_directory(server, f"to-{mode:o}-{name}", 0o777)
            make_file(source / "file")
            expected = may(name, lambda: os.rename(source / "file", target / "file"))
            if expected:
                os.rename(target / "file", source / "file")
            assert allows(client.rename_object, Bucket="shared", Key=f"{target.name}/file",
                          RenameSource=f"/shared/{source.name}/file") == expected
            assert (target / "file").exists() == expected and (source / "file").exists() != expected


def test_directories_are_made_by_the_user(server):
    closed = make_directory(server, "closed", 0o755)
    make_file(closed / "file")
    for name, client in server.clients.items():
        expected = name == "owner"
        assert allows(client.put_object, Bucket="shared", Key="closed/new/deep/k", Body=b"") == expected
        assert (closed / "new").exists() == expected
        if expected:
            for path in closed / "new", closed / "new/deep", closed / "new/deep/k":
                assert (path.stat().st_uid, path.stat().st_gid) == (UIDS["owner"], GIDS["owner"])
            client.delete_object(Bucket="shared", Key="closed/new/deep/k")
            assert not (closed / "new").exists()


def test_a_file_in_the_way_becomes_a_directory_only_for_who_may_replace_it(server):
    for mode in 0o755, 0o777, 0o1777:
        directory = make_directory(server, f"way-{mode:o}", mode)
        for name in reversed(list(server.clients)):
            make_file(directory / name)
            expected = may(name, lambda: os.rename(directory / name, directory / "moved"))
            if expected:
                os.rename(directory / "moved", directory / name)
            assert allows(server.clients[name].put_object, Bucket="shared", Key=f"{directory.name}/{name}/below",
                          Body=b"new") == expected, (name, oct(mode))
            assert (directory / name).is_dir() == expected
            if expected:
                assert (directory / name / "below").read_bytes() == b"new"
                assert (directory / name / ".sgate~@").read_bytes() == b"content"
                assert (directory / name / ".sgate~@").stat().st_uid == UIDS["owner"]
    assert server.system_files() == []


ACL_TAGS = {"user_obj": 0x01, "user": 0x02, "group_obj": 0x04, "group": 0x08, "mask": 0x10, "other": 0x20}


def acl(*entries):
    """An access control list as the kernel keeps it."""
    rows = [(ACL_TAGS[tag], permissions, number) for tag, permissions, number in entries]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in sorted(rows))


NOBODY = 0xFFFFFFFF


def set_acl(path, name, value):
    try:
        os.setxattr(path, f"system.posix_acl_{name}", value)
    except OSError:
        pytest.skip("the file system has no access control lists")


def test_access_control_lists_hold_and_are_inherited(server):
    directory = make_directory(server, "lists", 0o755)
    access = acl(("user_obj", 7, NOBODY), ("user", 7, UIDS["other"]), ("group_obj", 0, NOBODY), ("mask", 7, NOBODY),
                 ("other", 0, NOBODY))
    set_acl(directory, "access", access)
    default = acl(("user_obj", 7, NOBODY), ("user", 6, UIDS["other"]), ("group_obj", 4, NOBODY), ("mask", 7, NOBODY),
                  ("other", 0, NOBODY))
    set_acl(directory, "default", default)
    assert not allows(server.clients["member"].get_object, Bucket="shared", Key="lists/k")
    other = server.clients["other"]
    upload = other.create_multipart_upload(Bucket="shared", Key="lists/parts")["UploadId"]
    part = other.upload_part(Bucket="shared", Key="lists/parts", UploadId=upload, PartNumber=1, Body=b"in parts")
    other.complete_multipart_upload(Bucket="shared", Key="lists/parts", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    for key in "k", "new/deep/k", "parts":
        if key != "parts":
            assert allows(other.put_object, Bucket="shared", Key=f"lists/{key}", Body=b"new")
        made = directory / key
        may("other", lambda: (directory / "probe").write_bytes(b"new"))
        assert os.getxattr(made, "system.posix_acl_access") == os.getxattr(directory / "probe", "system.posix_acl_access")
        assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE((directory / "probe").stat().st_mode) == 0o660
    assert os.getxattr(directory / "new/deep", "system.posix_acl_default") == default
    # The group of the directory may read by the list.
    assert not may("member", (directory / "k").read_bytes)
    assert not allows(server.clients["member"].get_object, Bucket="shared", Key="lists/k")


def test_the_group_of_a_directory_goes_down(server):
    directory = make_directory(server, "group", 0o2777)
    member = server.clients["member"]
    member.put_object(Bucket="shared", Key="group/new/deep/k", Body=b"")
    upload = member.create_multipart_upload(Bucket="shared", Key="group/parts")["UploadId"]
    part = member.upload_part(Bucket="shared", Key="group/parts", UploadId=upload, PartNumber=1, Body=b"in parts")
    member.complete_multipart_upload(Bucket="shared", Key="group/parts", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    for path in "new", "new/deep", "new/deep/k", "parts":
        made = (directory / path).stat()
        assert (made.st_uid, made.st_gid) == (UIDS["member"], GIDS["owner"]), path
    assert (directory / "new").stat().st_mode & stat.S_ISGID


def test_anonymous_callers_are_the_configured_user(server):
    owner = server.clients["owner"]
    make_file(make_directory(server, "public", 0o755) / "open", 0o644)
    make_file(server.path("shared", "public") / "closed", 0o640)
    owner.put_bucket_policy(Bucket="shared", Policy=(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
        '"Resource":"arn:aws:s3:::shared/public/*"}]}'))
    with urllib.request.urlopen(f"{server.endpoint}/shared/public/open") as answer:
        assert answer.read() == b"content"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.endpoint}/shared/public/closed")
    assert refused.value.code == 403 and b"Read permission (r)" in refused.value.read()
    owner.delete_bucket_policy(Bucket="shared")


def test_the_superuser_may_everything(server):
    server.admin("user", "add", "superuser", "--posix-uid", 0, "--posix-gid", 0, "--policy", "readwrite",
                 secret="Secret-of-superuser")
    client = server.s3(User("superuser", "Secret-of-superuser", 0, 0))
    make_file(make_directory(server, "locked", 0o000) / "k", 0o000)
    assert client.get_object(Bucket="shared", Key="locked/k")["Body"].read() == b"content"
    client.put_object(Bucket="shared", Key="locked/new", Body=b"")
    assert server.path("shared", "locked/new").stat().st_uid == 0


@pytest.fixture(scope="module")
def versioned(server):
    server.clients["owner"].create_bucket(Bucket="kept")
    server.clients["owner"].put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    server.path("kept").chmod(0o777)
    return "kept"


@pytest.mark.parametrize("mode", DIRECTORY_MODES[:6], ids=oct)
def test_versions_follow_the_modes(server, versioned, mode):
    for name, client in server.clients.items():
        directory = server.path(versioned, f"{mode:o}-{name}")
        directory.mkdir()
        os.chown(directory, UIDS["owner"], GIDS["owner"])
        key = {"Bucket": versioned, "Key": f"{directory.name}/k"}
        directory.chmod(0o777)
        first = server.clients["owner"].put_object(**key, Body=b"first")["VersionId"]
        for file_mode in 0o644, 0o600:
            (directory / "k").chmod(file_mode)
            directory.chmod(mode)
            readable = may(name, (directory / "k").read_bytes)
            directory.chmod(0o777)
            make_file(directory / "probe")
            directory.chmod(mode)
            replaceable = may(name, lambda: replace(directory / "probe"))
            directory.chmod(0o777)
            current = server.clients["owner"].put_object(**key, Body=b"current")["VersionId"]
            (directory / "k").chmod(file_mode)
            history = server.path(".sluicegate", f"versions/{versioned}/{directory.name}/k/.sgate~v")
            [os.chmod(history / entry, file_mode) for entry in os.listdir(history)]
            directory.chmod(mode)
            for version in first, current:
                assert allows(client.get_object, **key, VersionId=version) == readable, (name, version)
            listed = may(name, lambda: [os.stat(directory / entry) for entry in os.listdir(directory)])
            assert allows(client.list_object_versions, Bucket=versioned, Prefix=directory.name + "/") == listed
            assert allows(client.put_object, **key, Body=b"next") == replaceable, name
            assert (directory / "k").read_bytes() == (b"next" if replaceable else b"current")
            assert allows(client.delete_object, **key) == replaceable
            assert (directory / "k").exists() != replaceable
            assert allows(client.delete_object, **key, VersionId=current) == replaceable
            directory.chmod(0o777)
            server.clients["owner"].put_object(**key, Body=b"again")
        first_of_all = server.path(".sluicegate", f"versions/{versioned}").stat()
        assert (first_of_all.st_uid, stat.S_IMODE(first_of_all.st_mode)) == (0, 0o700)


def test_supplementary_groups_count(server):
    """The groups come from the system's database, and the user's own one from the server's."""
    directory = make_directory(server, "friends", 0o2070)
    os.chown(directory, 0, 30009)
    directory.chmod(0o2070)
    for name, client in server.clients.items():
        for _ in range(2):
            assert allows(client.put_object, Bucket="shared", Key="friends/k", Body=b"") == (name == "member")
    assert (directory / "k").stat().st_gid == 30009


def test_groups_that_are_kept_with_the_user(server):
    """They take the place of those of the system's databases, at once."""
    directory = make_directory(server, "kept-groups", 0o750)
    make_file(directory / "file", 0o640)
    target = {"Bucket": "shared", "Key": "kept-groups/file"}
    client, member = server.clients["other"], server.clients["member"]

    def shown(name):
        return json.loads(server.admin("user", "show", name, "--json"))["posix_groups"]

    # A UID that no database need know.
    server.admin("user", "add", "stranger", "--posix-uid", 29999, "--posix-gid", 39999, "--posix-groups", "39998,30001",
                 "--policy", "readwrite", secret="Secret-of-stranger")
    stranger = server.s3(User("stranger", "Secret-of-stranger", 29999, 39999))
    assert shown("stranger") == [30001, 39998]
    assert allows(stranger.get_object, **target) and not allows(client.get_object, **target)
    try:
        said = server.admin("user", "update", "other", "--posix-groups", "30001,7,30001")
        assert said == "New files of other belong to 20003:30003; its groups are 7,30001.\n"
        assert allows(client.get_object, **target)
        assert "7,30001" in server.admin("user", "list")
        # The owner of files does not change with it, nor the other way round.
        client.put_object(Bucket="shared", Key="kept-groups-new", Body=b"x")
        stat = server.path("shared", "kept-groups-new").stat()
        assert (stat.st_uid, stat.st_gid) == (UIDS["other"], GIDS["other"])
        server.admin("user", "update", "other", "--posix-gid", GIDS["other"])
        assert allows(client.get_object, **target)
        server.restart()
        clients = {name: server.s3(server.users[name]) for name in UIDS}
        server.clients.update(clients)
        client, member = clients["other"], clients["member"]
        assert allows(client.get_object, **target), "they are kept"
        # None at all, whatever the databases say.
        assert allows(member.get_object, **target)
        server.admin("user", "update", "member", "--posix-groups", "none")
        assert shown("member") == [] and not allows(member.get_object, **target)
        for bad in ("x", "1,,2", "4294967296"):
            assert server.command("user", "update", "other", "--posix-groups", bad).returncode == 2
        assert "posix-groups" in server.refused("user", "update", "other", "--posix-groups", "4294967295")
        assert shown("other") == [7, 30001]
    finally:
        for name in ("member", "other"):
            server.admin("user", "update", name, "--posix-groups", "system")
        server.admin("user", "remove", "stranger")
    assert shown("other") is None
    assert allows(member.get_object, **target) and not allows(client.get_object, **target)



@pytest.mark.parametrize("permissions", ["bypass", "enforce"])
def test_modes_and_umask(permissions):
    for options, modes in [
        ((), (0o644, 0o755)),
        (("--umask", "027"), (0o640, 0o750)),
        (("--umask", "0002"), (0o664, 0o775)),
        (("--file-mode", "600", "--directory-mode", "0711"), (0o600, 0o711)),
        (("--umask", "077", "--file-mode", "0444"), (0o444, 0o700)),
    ]:
        with Server(options=["--posix-permissions", permissions, *options]) as server:
            writer = server.add_user("writer")
            s3 = server.s3()
            s3.create_bucket(Bucket="modes")
            directory = server.path("modes")
            s3.put_object(Bucket="modes", Key="a/b/k", Body=b"small")
            s3.put_object(Bucket="modes", Key="a/large", Body=bytes(3 << 20))
            s3.put_object(Bucket="modes", Key="a/b/k/below", Body=b"")
            s3.copy_object(Bucket="modes", Key="c", CopySource="modes/a/large")
            upload = s3.create_multipart_upload(Bucket="modes", Key="d/parts")["UploadId"]
            part = s3.upload_part(Bucket="modes", Key="d/parts", UploadId=upload, PartNumber=1, Body=b"in parts")
            s3.complete_multipart_upload(Bucket="modes", Key="d/parts", UploadId=upload, MultipartUpload={
                "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
            for path in [directory, *directory.rglob("*")]:
                found = path.stat()
                wanted = modes[1] if path.is_dir() else modes[0]
                assert stat.S_IMODE(found.st_mode) == wanted, (path, options)
                assert (found.st_uid, found.st_gid) == (writer.uid, writer.gid), path
            for key in "a/b/k", "a/large", "c", "d/parts":
                assert s3.head_object(Bucket="modes", Key=key)["ETag"]
            # The record could be set, whoever may write the file.
            assert b"user.s3" in [name.encode() for name in os.listxattr(directory / "c")]
            assert server.system_files() == []


def test_a_bucket_may_differ_from_the_server():
    """One that enforces permissions, and one that does not, on a server of the other kind."""
    for of_server, other in ("bypass", "enforce"), ("enforce", "bypass"):
        with Server(options=["--posix-permissions", of_server]) as server:
            first, second = server.add_user("first", number=1), server.add_user("second", number=2)
            owner, client = server.s3(first), server.s3(second)
            for bucket in "plain", "differs":
                owner.create_bucket(Bucket=bucket)
                owner.put_object(Bucket=bucket, Key="closed", Body=b"content")
                server.path(bucket, "closed").chmod(0o600)
            server.admin("bucket", "profile", "set", "differs", "--posix-permissions", other, "--umask", "007")
            enforcing, bypassing = ("differs", "plain") if other == "enforce" else ("plain", "differs")
            assert f"Permissions: {other}\n" in server.admin("bucket", "profile", "show", "differs")

            def check(client):
                assert not allows(client.get_object, Bucket=enforcing, Key="closed")
                assert not allows(client.put_object, Bucket=enforcing, Key="new", Body=b"")
                assert allows(client.get_object, Bucket=bypassing, Key="closed")
                assert allows(client.put_object, Bucket=bypassing, Key="new", Body=b"")
                # Each side of a copy is what its bucket says.
                server.path(enforcing).chmod(0o777)
                assert allows(client.copy_object, Bucket=enforcing, Key="copy", CopySource=f"{bypassing}/closed")
                assert not allows(client.copy_object, Bucket=bypassing, Key="copy", CopySource=f"{enforcing}/closed")
                server.path(enforcing).chmod(0o755)
                made = server.path(enforcing, "copy").stat()
                assert (made.st_uid, stat.S_IMODE(made.st_mode)) == \
                    (second.uid, 0o660 if enforcing == "differs" else 0o644)
                assert stat.S_IMODE(server.path(bypassing, "new").stat().st_mode) == \
                    (0o660 if bypassing == "differs" else 0o644)

            check(client)
            server.restart()
            check(server.s3(second))
            server.admin("bucket", "profile", "clear", "differs")
            client = server.s3(second)
            assert allows(client.get_object, Bucket="differs", Key="closed") == (of_server == "bypass")


def test_a_directory_with_a_list_decides_itself_what_its_files_get():
    with Server(options=["--umask", "077"]) as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="lists")
        default = acl(("user_obj", 7, NOBODY), ("group_obj", 5, NOBODY), ("group", 7, 30009), ("mask", 7, NOBODY),
                      ("other", 0, NOBODY))
        set_acl(server.path("lists"), "default", default)
        for key in "k", "new/k":
            s3.put_object(Bucket="lists", Key=key, Body=b"")
            assert stat.S_IMODE(server.path("lists", key).stat().st_mode) == 0o660
        assert os.getxattr(server.path("lists", "new"), "system.posix_acl_default") == default


CAPABILITIES = "+setuid,+setgid,+chown,+dac_override,+dac_read_search,+fowner,+fsetid"
SERVER_UID = 20500


def without_root(capabilities):
    """Runs the server as a user of its own that has these capabilities."""
    return ["unshare", "--fork", "setpriv", "--reuid", str(SERVER_UID), "--regid", str(SERVER_UID), "--clear-groups",
            f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]


@pytest.fixture
def data():
    """A data directory of that user."""
    directory = sluicegate.scratch()
    root = directory / "data"
    root.mkdir()
    os.chown(root, SERVER_UID, SERVER_UID)
    yield root
    shutil.rmtree(directory)


def test_a_server_with_single_capabilities_gives_up_those_that_pass_modes(data):
    """The kernel takes nothing from a server that is not UID 0, which must not matter to a user."""
    with Server(root=data, options=["--posix-permissions", "enforce"], wrapper=without_root(CAPABILITIES)) as server:
        clients = {}
        # One of them is the server itself.
        for number, name in enumerate(["first", "second", "server"]):
            uid = SERVER_UID if name == "server" else 20600 + number
            server.admin("user", "add", name, "--posix-uid", uid, "--posix-gid", uid, "--policy", "readwrite",
                         secret=f"Secret-of-{name}")
            clients[name] = server.s3(User(name, f"Secret-of-{name}", uid, uid))
        clients["first"].create_bucket(Bucket="own")
        server.path("own").chmod(0o777)
        for name, client in clients.items():
            client.put_object(Bucket="own", Key=name, Body=b"content")
            server.path("own", name).chmod(0o600)
        for name, client in clients.items():
            for other in clients:
                assert allows(client.get_object, Bucket="own", Key=other) == (name == other), (name, other)
        server.path("own").chmod(0o755)
        for name, client in clients.items():
            assert allows(client.put_object, Bucket="own", Key="new", Body=b"") == (name == "first")
            assert allows(client.delete_object, Bucket="own", Key=name) == (name == "first")


def test_a_server_without_the_capabilities_says_so(data):
    with pytest.raises(AssertionError) as failure:
        Server(root=data, options=["--posix-permissions", "enforce"], wrapper=without_root("-all"))
    assert "CAP_SETUID, CAP_SETGID and CAP_CHOWN" in str(failure.value)
    assert "--posix-permissions bypass" in str(failure.value)
    with Server(root=data, wrapper=without_root("-all")) as server:
        (data / "bucket").mkdir()
        refused = server.refused("bucket", "profile", "set", "bucket", "--posix-permissions", "enforce")
        assert "CAP_SETUID, CAP_SETGID and CAP_CHOWN" in refused


@pytest.mark.parametrize("bad", [["--posix-permissions", "strict"], ["--umask", "999"], ["--file-mode", "1777"],
                                 ["--directory-mode", "rwx"]])
def test_settings_that_cannot_be_used_are_named(bad):
    with pytest.raises(AssertionError) as failure:
        Server(options=bad)
    assert bad[0].strip("-") in str(failure.value)
