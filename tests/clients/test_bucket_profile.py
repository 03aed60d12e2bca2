"""`sluicegate bucket profile`: buckets that give up promises of S3 for speed, and what they keep."""

import base64
import hashlib
import json
import re
import socket
import urllib.request

import pytest
from botocore.exceptions import ClientError

from conftest import new_bucket
from programs import check_bucket, find, run, sums, sums_below, write_tree
from sluicegate import Server
from test_aws_cli import aws  # noqa: F401
from test_rclone import rclone  # noqa: F401

UID = re.compile(r'"[0-9a-f]{32}-1"')
BIG = 5 << 20
DEFAULT = {"etag": "md5", "listing": "sorted", "durability": "default", "posix_permissions": "default", "umask": "default",
           "file_mode": "default", "directory_mode": "default", "server_durability": "commit",
           "server_posix_permissions": "bypass"}
SHOWN = """ETag:        md5
Listing:     sorted
Durability:  default (commit)
Permissions: default (bypass)
Modes:       umask default, files default, directories default
"""


def profile(server, *arguments):
    return server.admin("bucket", "profile", *arguments)


def shown(server, bucket):
    return json.loads(profile(server, "show", bucket, "--json"))


def code(call, *arguments, **parameters):
    with pytest.raises(ClientError) as refused:
        call(*arguments, **parameters)
    return refused.value.response["Error"]["Code"]


@pytest.fixture
def fast(server):
    """A bucket whose ETags are ids."""
    name = new_bucket(server)
    profile(server, "set", name, "--etag", "uid")
    return name


def test_a_profile_is_changed_shown_and_cleared():
    with Server() as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        assert shown(server, "photos") == DEFAULT
        assert profile(server, "show", "photos") == SHOWN
        assert profile(server, "set", "photos", "--etag", "uid") == "Changed the profile of photos.\n"
        profile(server, "set", "photos", "--durability", "none")
        assert shown(server, "photos") == {**DEFAULT, "etag": "uid", "durability": "none"}
        server.restart()
        assert shown(server, "photos") == {**DEFAULT, "etag": "uid", "durability": "none"}
        assert UID.fullmatch(server.s3().put_object(Bucket="photos", Key="a", Body=b"a")["ETag"])
        assert profile(server, "clear", "photos") == "photos has no profile now.\n"
        assert shown(server, "photos") == DEFAULT
        assert not (server.root / ".sluicegate/buckets/photos/profile.json").exists()
        # It goes with its bucket.
        profile(server, "set", "photos", "--etag", "uid")
        s3 = server.s3()
        s3.delete_object(Bucket="photos", Key="a")
        s3.delete_bucket(Bucket="photos")
        s3.create_bucket(Bucket="photos")
        assert shown(server, "photos") == DEFAULT


def test_what_is_wrong_is_told(server):
    name = new_bucket(server)
    refused = lambda *arguments: server.refused("bucket", "profile", *arguments)
    assert "use md5 or uid" in refused("set", name, "--etag", "sha256")
    assert "use sorted or unsorted" in refused("set", name, "--listing", "random")
    assert "use commit, none or default" in refused("set", name, "--durability", "some")
    assert "use bypass, enforce or default" in refused("set", name, "--posix-permissions", "some")
    assert "use octal digits" in refused("set", name, "--umask", "8")
    assert "use octal digits" in refused("set", name, "--file-mode", "1777")
    assert "use octal digits" in refused("set", name, "--directory-mode", "rwx")
    assert "there is no bucket nobody" in refused("show", "nobody")
    assert "there is no bucket nobody" in refused("set", "nobody", "--etag", "uid")
    assert "there is no bucket nobody" in refused("clear", "nobody")
    assert server.command("bucket", "profile", "set", name).returncode == 2
    assert shown(server, name)["etag"] == "md5"


def test_a_damaged_profile_stops_nobody():
    with Server(options=["--durability", "none"]) as server:
        server.add_user("writer")
        server.s3().create_bucket(Bucket="photos")
        profile(server, "set", "photos", "--etag", "uid")
        server.stop()
        (server.root / ".sluicegate/buckets/photos/profile.json").write_text('{"etag":"uid","speed":"all"}')
        server.start()
        strict = {"durability": "commit", "server_durability": "none", "posix_permissions": "enforce"}
        assert shown(server, "photos") == {**DEFAULT, **strict}
        assert "this configuration of the bucket is damaged" in server.log()


def test_every_write_has_an_id_of_its_own(server, fast):
    s3 = server.s3()
    tags = {s3.put_object(Bucket=fast, Key=key, Body=b"same")["ETag"] for key in ["a", "a", "b", "b"]}
    assert len(tags) == 4 and all(UID.fullmatch(tag) for tag in tags)
    tag = s3.put_object(Bucket=fast, Key="a", Body=b"last")["ETag"]
    assert s3.head_object(Bucket=fast, Key="a")["ETag"] == tag
    assert s3.get_object(Bucket=fast, Key="a")["ETag"] == tag
    assert {entry["Key"]: entry["ETag"] for entry in s3.list_objects_v2(Bucket=fast)["Contents"]}["a"] == tag
    told = s3.get_object_attributes(Bucket=fast, Key="a", ObjectAttributes=["ETag", "ObjectParts", "Checksum"])
    assert told["ETag"] == tag.strip('"') and "ObjectParts" not in told and told["Checksum"]
    # It survives what changes the record and not the content.
    s3.put_object_tagging(Bucket=fast, Key="a", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert s3.head_object(Bucket=fast, Key="a")["ETag"] == tag
    # The other buckets are as before.
    other = new_bucket(server)
    assert s3.put_object(Bucket=other, Key="a", Body=b"x")["ETag"] == f'"{hashlib.md5(b"x").hexdigest()}"'


def test_conditions_go_by_the_id(server, fast):
    s3 = server.s3()
    tag = s3.put_object(Bucket=fast, Key="a", Body=b"one", IfNoneMatch="*")["ETag"]
    assert code(s3.put_object, Bucket=fast, Key="a", Body=b"two", IfNoneMatch="*") == "PreconditionFailed"
    assert s3.get_object(Bucket=fast, Key="a", IfMatch=tag)["Body"].read() == b"one"
    assert code(s3.get_object, Bucket=fast, Key="a", IfNoneMatch=tag) == "304"
    other = s3.put_object(Bucket=fast, Key="a", Body=b"one", IfMatch=tag)["ETag"]
    assert other != tag
    assert code(s3.put_object, Bucket=fast, Key="a", Body=b"two", IfMatch=tag) == "PreconditionFailed"
    assert code(s3.delete_object, Bucket=fast, Key="a", IfMatch=tag) == "PreconditionFailed"
    s3.delete_object(Bucket=fast, Key="a", IfMatch=other)


def test_what_the_client_says_of_the_body_is_still_verified(server, fast):
    s3 = server.s3()
    digest = lambda body: base64.b64encode(hashlib.md5(body).digest()).decode()
    assert code(s3.put_object, Bucket=fast, Key="a", Body=b"body", ContentMD5=digest(b"other")) == "BadDigest"
    assert code(s3.head_object, Bucket=fast, Key="a") == "404"
    assert UID.fullmatch(s3.put_object(Bucket=fast, Key="a", Body=b"body", ContentMD5=digest(b"body"))["ETag"])
    upload = s3.create_multipart_upload(Bucket=fast, Key="p")["UploadId"]
    part = {"Bucket": fast, "Key": "p", "UploadId": upload, "PartNumber": 1, "Body": b"body"}
    assert code(s3.upload_part, **part, ContentMD5=digest(b"other")) == "BadDigest"
    assert UID.fullmatch(s3.upload_part(**part, ContentMD5=digest(b"body"))["ETag"])


def test_uploads_in_parts(server, fast):
    s3 = server.s3()
    s3.put_object(Bucket=fast, Key="source", Body=b"s" * BIG)
    upload = {"Bucket": fast, "Key": "p", "UploadId": s3.create_multipart_upload(Bucket=fast, Key="p")["UploadId"]}
    first = s3.upload_part(**upload, PartNumber=1, Body=b"1" * BIG)["ETag"]
    again = s3.upload_part(**upload, PartNumber=1, Body=b"1" * BIG)["ETag"]
    copied = s3.upload_part_copy(**upload, PartNumber=2, CopySource=f"{fast}/source")["CopyPartResult"]["ETag"]
    # One that came while the bucket had another profile.
    profile(server, "set", fast, "--etag", "md5")
    last = s3.upload_part(**upload, PartNumber=3, Body=b"3")["ETag"]
    profile(server, "set", fast, "--etag", "uid")
    assert last == f'"{hashlib.md5(b"3").hexdigest()}"'
    assert all(UID.fullmatch(tag) for tag in [first, again, copied]) and first != again
    assert [part["ETag"] for part in s3.list_parts(**upload)["Parts"]] == [again, copied, last]
    named = lambda *tags: {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}
    complete = s3.complete_multipart_upload
    for wrong in [first, again.replace("-1", ""), again.replace("-1", "-2"), "x"]:
        assert code(complete, **upload, MultipartUpload=named(wrong, copied, last)) == "InvalidPart", wrong
    tag = complete(**upload, MultipartUpload=named(again, copied, last))["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{32}-3"', tag)
    # A client that lost the answer asks again.
    assert complete(**upload, MultipartUpload=named(again, copied, last))["ETag"] == tag
    found = s3.get_object(Bucket=fast, Key="p")
    assert found["ETag"] == tag and found["Body"].read() == b"1" * BIG + b"s" * BIG + b"3"
    assert s3.head_object(Bucket=fast, Key="p", PartNumber=2)["PartsCount"] == 3


def test_parts_of_other_buckets_keep_their_md5(server):
    s3 = server.s3()
    name = new_bucket(server)
    upload = {"Bucket": name, "Key": "p", "UploadId": s3.create_multipart_upload(Bucket=name, Key="p")["UploadId"]}
    tag = s3.upload_part(**upload, PartNumber=1, Body=b"1")["ETag"]
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    md5 = hashlib.md5(b"1").digest()
    assert tag == f'"{md5.hex()}"' and done["ETag"] == f'"{hashlib.md5(md5).hexdigest()}-1"'


def test_copies(server, fast):
    s3 = server.s3()
    plain = new_bucket(server)
    copy = lambda target, source: s3.copy_object(Bucket=target, Key="copy", CopySource=source)["CopyObjectResult"]["ETag"]
    md5 = f'"{hashlib.md5(b"body").hexdigest()}"'
    tag = s3.put_object(Bucket=fast, Key="a", Body=b"body")["ETag"]
    s3.put_object(Bucket=plain, Key="a", Body=b"body")
    # A bucket with MD5s gets one; what is known is kept.
    assert copy(plain, f"{fast}/a") == md5 == s3.head_object(Bucket=plain, Key="copy")["ETag"]
    assert copy(fast, f"{fast}/a") == tag and copy(fast, f"{plain}/a") == md5
    # Nothing is known of a file of another program.
    server.path(fast, "foreign").write_bytes(b"body")
    server.path(plain, "foreign").write_bytes(b"body")
    foreign = s3.head_object(Bucket=fast, Key="foreign")["ETag"]
    assert UID.fullmatch(copy(fast, f"{fast}/foreign")) and copy(fast, f"{fast}/foreign") != foreign
    assert s3.head_object(Bucket=fast, Key="copy")["ETag"] not in (foreign, md5)
    assert copy(plain, f"{fast}/foreign") == md5
    # A multipart object keeps its ETag, as anywhere else here.
    upload = {"Bucket": fast, "Key": "p", "UploadId": s3.create_multipart_upload(Bucket=fast, Key="p")["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=b"1")["ETag"]
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    assert copy(plain, f"{fast}/p") == done["ETag"]


def test_versions(server, fast):
    s3 = server.s3()
    s3.put_bucket_versioning(Bucket=fast, VersioningConfiguration={"Status": "Enabled"})
    put = [s3.put_object(Bucket=fast, Key="a", Body=b"same") for _ in range(3)]
    tags = {one["VersionId"]: one["ETag"] for one in put}
    assert len(set(tags.values())) == 3
    listed = s3.list_object_versions(Bucket=fast)["Versions"]
    assert {one["VersionId"]: one["ETag"] for one in listed} == tags
    for version, tag in tags.items():
        assert s3.head_object(Bucket=fast, Key="a", VersionId=version)["ETag"] == tag


def test_a_change_holds_on_every_core_at_once():
    with Server(options=["--workers", "4"]) as server:
        server.add_user("writer")
        server.s3().create_bucket(Bucket="photos")
        # Each client has a connection of its own, which some core takes.
        clients = [server.s3() for _ in range(12)]
        for kind in ["uid", "md5", "uid"]:
            profile(server, "set", "photos", "--etag", kind)
            tags = [client.put_object(Bucket="photos", Key=f"{at}", Body=b"")["ETag"] for at, client in enumerate(clients)]
            assert {bool(UID.fullmatch(tag)) for tag in tags} == {kind == "uid"}, kind


@pytest.mark.parametrize("of_server", ["commit", "none"])
def test_durability(of_server):
    """What is flushed is counted."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monitor = f"127.0.0.1:{probe.getsockname()[1]}"
    with Server(options=["--durability", of_server, "--monitor-listen", monitor]) as server:
        server.add_user("writer")
        s3 = server.s3()

        def flushes():
            page = urllib.request.urlopen(f"http://{monitor}/metrics").read().decode()
            return int(float(re.search(r"^sluicegate_flushes_total (\S+)$", page, re.MULTILINE)[1]))

        def writes(bucket):
            """Flushes of one of each kind of write."""
            before = flushes()
            s3.put_object(Bucket=bucket, Key="dir/a", Body=b"a")
            s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/dir/a")
            s3.put_object_tagging(Bucket=bucket, Key="b", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
            upload = s3.create_multipart_upload(Bucket=bucket, Key="p")["UploadId"]
            part = s3.upload_part(Bucket=bucket, Key="p", UploadId=upload, PartNumber=1, Body=b"1")["ETag"]
            s3.complete_multipart_upload(Bucket=bucket, Key="p", UploadId=upload,
                                         MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
            s3.delete_object(Bucket=bucket, Key="dir/a")
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "p"}]})
            return flushes() - before

        for name in ["plain", "safe", "fast"]:
            s3.create_bucket(Bucket=name)
        profile(server, "set", "safe", "--durability", "commit")
        profile(server, "set", "fast", "--durability", "none")
        all_of_them = writes("safe")
        assert all_of_them >= 9 and writes("fast") == 0
        assert writes("plain") == (all_of_them if of_server == "commit" else 0)
        profile(server, "set", "safe", "--durability", "default")
        profile(server, "clear", "fast")
        assert {writes("safe"), writes("fast")} == {all_of_them if of_server == "commit" else 0}


# Listings.

@pytest.fixture
def unsorted(server):
    """A bucket whose listings have no order."""
    name = new_bucket(server)
    profile(server, "set", name, "--listing", "unsorted")
    return name


KEYS = {f"{directory}k{number:02}" for directory in ["", "a/", "a/b/", "c/"] for number in range(40)} | {"a", "a/"}


def pages(s3, **parameters):
    """All pages of ListObjectsV2."""
    while True:
        page = s3.list_objects_v2(**parameters)
        yield page
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            return
        parameters["ContinuationToken"] = page["NextContinuationToken"]


def listed(s3, **parameters):
    """The keys and common prefixes of all pages, none of which may come twice."""
    found, prefixes = [], []
    for page in pages(s3, **parameters):
        found += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] <= parameters.get("MaxKeys", 1000)
    assert len(set(found)) == len(found) and len(set(prefixes)) == len(prefixes)
    return found, prefixes


def test_listings_without_an_order(server, unsorted):
    s3 = server.s3()
    for key in KEYS:
        s3.put_object(Bucket=unsorted, Key=key, Body=key.encode())
    for count in [1, 7, 1000]:
        found, prefixes = listed(s3, Bucket=unsorted, MaxKeys=count)
        assert set(found) == KEYS and not prefixes
        found, prefixes = listed(s3, Bucket=unsorted, MaxKeys=count, Delimiter="/")
        assert set(found) == {key for key in KEYS if "/" not in key} and set(prefixes) == {"a/", "c/"}
        found, prefixes = listed(s3, Bucket=unsorted, MaxKeys=count, Delimiter="/", Prefix="a/")
        assert set(found) == {key for key in KEYS if key.startswith("a/") and "b/" not in key} and prefixes == ["a/b/"]
        found, prefixes = listed(s3, Bucket=unsorted, MaxKeys=count, Prefix="a/b/k1")
        assert set(found) == {key for key in KEYS if key.startswith("a/b/k1")}
    assert found != sorted(found) or listed(s3, Bucket=unsorted)[0] != sorted(KEYS), "there is an order after all"
    entries = {entry["Key"]: entry for page in pages(s3, Bucket=unsorted, FetchOwner=True) for entry in page["Contents"]}
    assert all(entries[key]["Size"] == len(key) and entries[key]["Owner"]["ID"] == "writer" for key in KEYS)
    assert all(entry["ETag"] == f'"{hashlib.md5(key.encode()).hexdigest()}"' for key, entry in entries.items())


def test_what_needs_an_order_has_one(server, unsorted):
    s3 = server.s3()
    for key in KEYS:
        s3.put_object(Bucket=unsorted, Key=key, Body=b"")
    in_order = sorted(KEYS)
    assert listed(s3, Bucket=unsorted, MaxKeys=7, StartAfter="a/b/k30")[0] == [key for key in in_order if key > "a/b/k30"]
    assert listed(s3, Bucket=unsorted, MaxKeys=7, Delimiter="k")[1] == ["a/b/k", "a/k", "c/k", "k"]
    found, marker = [], ""
    while marker is not None:
        page = s3.list_objects(Bucket=unsorted, MaxKeys=7, Marker=marker)
        found += [entry["Key"] for entry in page["Contents"]]
        marker = found[-1] if page["IsTruncated"] else None
    assert found == in_order
    versions = s3.list_object_versions(Bucket=unsorted)["Versions"]
    assert [entry["Key"] for entry in versions] == in_order


def test_tokens_survive(server, unsorted):
    """Keys that come and go between two pages, a restart of the server, and another profile disturb no listing."""
    s3 = server.s3()
    for number in range(300):
        server.path(unsorted, f"k{number:03}").write_bytes(b"")
    found, token, number = [], {}, 0
    while True:
        page = s3.list_objects_v2(Bucket=unsorted, MaxKeys=50, **token)
        found += [entry["Key"] for entry in page["Contents"]]
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
        for _ in range(20):
            number += 1
            server.path(unsorted, f"new{number:03}").write_bytes(b"")
            server.path(unsorted, f"k{number:03}").unlink()
        if number == 40:
            profile(server, "clear", unsorted)
    assert len(set(found)) == len(found)
    assert {f"k{at:03}" for at in [0, *range(number + 1, 300)]} <= set(found)
    page = s3.list_objects_v2(Bucket=unsorted, MaxKeys=50)
    assert [entry["Key"] for entry in page["Contents"]] == sorted(entry["Key"] for entry in page["Contents"])


def test_tokens_that_make_no_sense(server, unsorted):
    s3 = server.s3()
    for key in ["a/1", "a/2", "b/secret"]:
        s3.put_object(Bucket=unsorted, Key=key, Body=b"")
    token = s3.list_objects_v2(Bucket=unsorted, MaxKeys=1)["NextContinuationToken"]
    assert code(s3.list_objects_v2, Bucket=unsorted, ContinuationToken=token, Delimiter="-") == "InvalidArgument"
    assert code(s3.list_objects_v2, Bucket=unsorted, ContinuationToken=token[:-1] + "!") == "InvalidArgument"
    # A token of another prefix leads to no key outside the one that is asked for, for which it may be permitted alone.
    for prefix in ["a/", "b/", "c/"]:
        answer = s3.list_objects_v2(Bucket=unsorted, ContinuationToken=token, Prefix=prefix)
        assert all(entry["Key"].startswith(prefix) for entry in answer.get("Contents", []))


# Programs. Over HTTP alone: what is new here does not depend on the framing.

over_http = pytest.mark.parametrize("server", ["http"], indirect=True)


@pytest.fixture
def all_at_once(server):
    name = new_bucket(server)
    profile(server, "set", name, "--etag", "uid", "--listing", "unsorted", "--durability", "none")
    return name


@over_http
def test_aws_cli(server, all_at_once, aws, tmp_path):
    source, target, remote = tmp_path / "source", tmp_path / "target", f"s3://{all_at_once}/a/"
    tree = write_tree(source, large=9 << 20)
    aws("cp", "--recursive", "--no-progress", source, remote)
    check_bucket(server, all_at_once, tree, below="a")
    aws("cp", "--recursive", "--no-progress", remote, target)
    assert sums_below(target) == sums(tree)
    aws("rm", "--recursive", remote)
    assert "Contents" not in server.s3().list_objects_v2(Bucket=all_at_once)


@over_http
@pytest.mark.parametrize("rclone", ["2"], indirect=True)
def test_rclone(server, all_at_once, rclone, tmp_path):
    source, target, remote = tmp_path / "source", tmp_path / "target", f"s3:{all_at_once}"
    tree = write_tree(source)
    rclone("sync", source, remote)
    check_bucket(server, all_at_once, tree)
    # Its check finds no hashes to compare, and compares what it downloads instead.
    rclone("check", "--download", source, remote)
    assert "There was nothing to transfer" in rclone("sync", "-v", source, remote)
    rclone("sync", remote, target)
    assert sums_below(target) == sums(tree)


@over_http
def test_restic(server, all_at_once, tmp_path):
    program, user = find("restic"), server.users["writer"]
    environment = {
        "AWS_ACCESS_KEY_ID": user.name, "AWS_SECRET_ACCESS_KEY": user.secret, "RESTIC_PASSWORD": "open sesame",
        "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{all_at_once}/a/repository", "HOME": str(tmp_path),
    }
    trusted = ["--cacert", server.certificate.authority] if server.certificate else []
    restic = lambda *arguments, **options: run(program, "--no-cache", *trusted, *arguments, environment=environment, **options)
    source = tmp_path / "source"
    restic("init")
    tree = write_tree(source)
    restic("backup", ".", cwd=source)
    restic("check", "--read-data")
    restic("forget", "--keep-last", "1", "--prune")
    restic("restore", "latest", "--target", tmp_path / "back")
    assert sums_below(tmp_path / "back") == sums(tree)
