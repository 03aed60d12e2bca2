"""Versions of objects: what each call does to them, how they are listed, and where they lie as files."""

import concurrent.futures
import datetime
import itertools
import os
import random
import threading

import pytest
from botocore.exceptions import ClientError

from conftest import needs_root
from sluicegate import Server

IDS = itertools.count(1)


def failure(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response


def code(call, **arguments):
    answer = failure(call, **arguments)
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def headers(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"]


def set_versioning(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


@pytest.fixture
def versioned(s3, bucket):
    set_versioning(s3, bucket, "Enabled")
    return bucket


def put(s3, bucket, key, body, **arguments):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **arguments).get("VersionId")


def read(s3, bucket, key, version=None):
    arguments = {"VersionId": version} if version else {}
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def listed(s3, bucket, **arguments):
    """All versions and markers in the order of the keys, as (key, version, is marker, is latest)."""
    answer = s3.list_object_versions(Bucket=bucket, **arguments)
    entries = [(it["Key"], it["VersionId"], False, it["IsLatest"]) for it in answer.get("Versions", [])]
    entries += [(it["Key"], it["VersionId"], True, it["IsLatest"]) for it in answer.get("DeleteMarkers", [])]
    return sorted(entries, key=lambda entry: entry[0])


def history(server, bucket, path):
    """Where the noncurrent versions of an object with an ordinary key lie."""
    return server.root / ".sluicegate/versions" / bucket / path / ".sgate~v"


def test_the_state_of_a_bucket(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ["Enabled", "Enabled", "Suspended", "Suspended", "Enabled"]:
        set_versioning(s3, bucket, status)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    put_versioning = s3.put_bucket_versioning
    assert code(put_versioning, Bucket=bucket, VersioningConfiguration={"Status": "enabled"}) == (400, "MalformedXML")
    assert code(put_versioning, Bucket=bucket, VersioningConfiguration={}) == (
        400, "IllegalVersioningConfigurationException")
    mfa = {"Status": "Enabled", "MFADelete": "Enabled"}
    assert code(put_versioning, Bucket=bucket, VersioningConfiguration=mfa) == (501, "NotImplemented")
    assert code(put_versioning, Bucket="no-such", VersioningConfiguration={"Status": "Enabled"}) == (
        404, "NoSuchBucket")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_a_bucket_without_versioning_knows_the_null_version_only(s3, bucket):
    assert put(s3, bucket, "k", b"1") is None
    assert "VersionId" not in s3.get_object(Bucket=bucket, Key="k")
    assert read(s3, bucket, "k", "null") == b"1"
    assert listed(s3, bucket) == [("k", "null", False, True)]
    unknown = "0" * 32
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId=unknown) == (404, "NoSuchVersion")
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId="x") == (400, "InvalidArgument")
    answer = s3.delete_object(Bucket=bucket, Key="k", VersionId=unknown)
    assert (answer["VersionId"], "DeleteMarker" in answer) == (unknown, False)
    answer = s3.delete_object(Bucket=bucket, Key="k")
    assert "DeleteMarker" not in answer and "VersionId" not in answer
    put(s3, bucket, "k", b"2")
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"
    assert listed(s3, bucket) == []


def test_what_a_version_is_to_every_call(s3, versioned):
    first, second = put(s3, versioned, "k", b"one"), put(s3, versioned, "k", b"second", Metadata={"n": "2"})
    assert first != second and len(first) == 32
    for version, body in [(None, b"second"), (first, b"one"), (second, b"second")]:
        assert read(s3, versioned, "k", version) == body
        named = {"VersionId": version} if version else {}
        head = s3.head_object(Bucket=versioned, Key="k", **named)
        assert (head["VersionId"], head["ContentLength"]) == (version or second, len(body))
        assert s3.get_object(Bucket=versioned, Key="k", Range="bytes=0-0", **named)["VersionId"] == (version or second)
    # Tags belong to a version.
    tagging = {"TagSet": [{"Key": "a", "Value": "1"}]}
    assert s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=first, Tagging=tagging)["VersionId"] == first
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == tagging["TagSet"]
    answer = s3.get_object_tagging(Bucket=versioned, Key="k")
    assert (answer["TagSet"], answer["VersionId"]) == ([], second)
    # A copy reads one, and makes one.
    source = {"Bucket": versioned, "Key": "k", "VersionId": first}
    answer = s3.copy_object(Bucket=versioned, Key="copy", CopySource=source)
    assert answer["CopySourceVersionId"] == first
    assert read(s3, versioned, "copy", answer["VersionId"]) == b"one"
    # An old one becomes the current one by copying it to its own key.
    third = s3.copy_object(Bucket=versioned, Key="k", CopySource=source)["VersionId"]
    assert read(s3, versioned, "k") == b"one"
    assert code(s3.copy_object, Bucket=versioned, Key="k", CopySource={"Bucket": versioned, "Key": "k"}) == (
        400, "InvalidRequest")
    assert [it[1] for it in listed(s3, versioned, Prefix="k")] == [third, second, first]
    upload = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
    part = s3.upload_part_copy(Bucket=versioned, Key="k", UploadId=upload, PartNumber=1, CopySource=source)
    assert part["CopySourceVersionId"] == first
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    completed = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload=parts)
    again = s3.complete_multipart_upload(Bucket=versioned, Key="k", UploadId=upload, MultipartUpload=parts)
    assert completed["VersionId"] == again["VersionId"] == s3.head_object(Bucket=versioned, Key="k")["VersionId"]
    for version in ["", "x", "null", "0" * 32]:
        source["VersionId"] = version
        expected = (404, "NoSuchVersion") if version in ("null", "0" * 32) else (400, "InvalidArgument")
        if version:
            assert code(s3.copy_object, Bucket=versioned, Key="o", CopySource=source) == expected, version
            assert code(s3.get_object, Bucket=versioned, Key="k", VersionId=version) == expected, version
            assert code(s3.get_object_tagging, Bucket=versioned, Key="k", VersionId=version) == expected, version
            assert code(s3.delete_object_tagging, Bucket=versioned, Key="k", VersionId=version) == expected, version


def test_delete_markers(s3, versioned):
    version = put(s3, versioned, "k", b"1")
    answer = s3.delete_object(Bucket=versioned, Key="k")
    assert answer["DeleteMarker"] and answer["VersionId"] != version
    marker = answer["VersionId"]
    for call in [s3.get_object, s3.head_object]:
        missing = failure(call, Bucket=versioned, Key="k")
        assert missing["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert (headers(missing)["x-amz-delete-marker"], headers(missing)["x-amz-version-id"]) == ("true", marker)
        refused = failure(call, Bucket=versioned, Key="k", VersionId=marker)
        assert refused["ResponseMetadata"]["HTTPStatusCode"] == 405
        for name, value in [("x-amz-delete-marker", "true"), ("x-amz-version-id", marker), ("allow", "DELETE")]:
            assert headers(refused)[name] == value
        assert "last-modified" in headers(refused)
        assert read(s3, versioned, "k", version) == b"1"
    assert failure(s3.get_object, Bucket=versioned, Key="k")["Error"]["Code"] == "NoSuchKey"
    assert code(s3.get_object, Bucket=versioned, Key="k", VersionId=marker) == (405, "MethodNotAllowed")
    tagging = {"TagSet": []}
    assert code(s3.put_object_tagging, Bucket=versioned, Key="k", Tagging=tagging) == (404, "NoSuchKey")
    assert code(s3.put_object_tagging, Bucket=versioned, Key="k", Tagging=tagging, VersionId=marker) == (
        405, "MethodNotAllowed")
    source = {"Bucket": versioned, "Key": "k"}
    assert code(s3.copy_object, Bucket=versioned, Key="c", CopySource=source) == (404, "NoSuchKey")
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
    assert listed(s3, versioned) == [("k", version, False, False), ("k", marker, True, True)]
    source["VersionId"] = marker
    assert code(s3.copy_object, Bucket=versioned, Key="c", CopySource=source) == (400, "InvalidRequest")
    # What counts is that the key is deleted: a write that must not replace anything goes on.
    put(s3, versioned, "k", b"2", IfNoneMatch="*")
    assert code(s3.put_object, Bucket=versioned, Key="k", IfNoneMatch="*") == (412, "PreconditionFailed")
    second = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    assert code(s3.put_object, Bucket=versioned, Key="k", IfMatch="*") == (404, "NoSuchKey")
    # Removing the latest marker brings the object back; an older one is just gone.
    answer = s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert (answer["DeleteMarker"], answer["VersionId"]) == (True, second)
    assert read(s3, versioned, "k") == b"2"
    s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
    assert (read(s3, versioned, "k"), len(listed(s3, versioned))) == (b"2", 2)
    # A marker on nothing, and another one on that.
    one, two = (s3.delete_object(Bucket=versioned, Key="nothing")["VersionId"] for _ in range(2))
    assert listed(s3, versioned, Prefix="nothing") == [("nothing", two, True, True), ("nothing", one, True, False)]


def test_suspended_buckets_have_one_null_version(s3, versioned):
    first = put(s3, versioned, "k", b"1")
    set_versioning(s3, versioned, "Suspended")
    assert put(s3, versioned, "k", b"2") is None
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == "null"
    put(s3, versioned, "k", b"3")
    assert listed(s3, versioned) == [("k", "null", False, True), ("k", first, False, False)]
    answer = s3.delete_object(Bucket=versioned, Key="k")
    assert (answer["DeleteMarker"], answer["VersionId"]) == (True, "null")
    assert listed(s3, versioned) == [("k", first, False, False), ("k", "null", True, True)]
    assert code(s3.get_object, Bucket=versioned, Key="k", VersionId="null") == (405, "MethodNotAllowed")
    put(s3, versioned, "k", b"4")
    set_versioning(s3, versioned, "Enabled")
    last = put(s3, versioned, "k", b"5")
    assert [it[1] for it in listed(s3, versioned)] == [last, "null", first]
    s3.delete_object(Bucket=versioned, Key="k", VersionId="null")
    assert code(s3.get_object, Bucket=versioned, Key="k", VersionId="null") == (404, "NoSuchVersion")
    assert [it[1] for it in listed(s3, versioned)] == [last, first]


def test_deleting_many_versions_at_once(s3, versioned):
    versions = [put(s3, versioned, "k", b"%d" % number) for number in range(3)]
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    objects = [{"Key": "k", "VersionId": version} for version in [versions[1], marker, "0" * 32, "x"]]
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": [*objects, {"Key": "new"}]})
    assert [it["Code"] for it in answer["Errors"]] == ["NoSuchVersion"]
    gone, unmarked, unknown, marked = answer["Deleted"]
    assert (gone["VersionId"], "DeleteMarker" in gone) == (versions[1], False)
    assert unmarked == {"Key": "k", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}
    assert unknown == {"Key": "k", "VersionId": "0" * 32}
    assert marked["DeleteMarker"] and "VersionId" not in marked
    assert listed(s3, versioned) == [
        ("k", versions[2], False, True), ("k", versions[0], False, False),
        ("new", marked["DeleteMarkerVersionId"], True, True),
    ]
    quiet = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}], "Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet
    assert code(s3.head_object, Bucket=versioned, Key="k")[0] == 404


def test_conditions_of_deletions(s3, versioned):
    put(s3, versioned, "k", b"1")
    version = put(s3, versioned, "k", b"12")
    head = s3.head_object(Bucket=versioned, Key="k")
    past = datetime.datetime(2015, 1, 1)
    wrong = [{"IfMatch": '"0"'}, {"IfMatchLastModifiedTime": past}, {"IfMatchSize": 1}]
    right = {"IfMatch": head["ETag"], "IfMatchLastModifiedTime": head["LastModified"], "IfMatchSize": 2}
    for arguments in wrong:
        for named in [{}, {"VersionId": version}]:
            answer = code(s3.delete_object, Bucket=versioned, Key="k", **arguments, **named)
            assert answer == (412, "PreconditionFailed"), arguments
        # Nothing to keep, nothing to do.
        s3.delete_object(Bucket=versioned, Key="never", **arguments)
        s3.delete_object(Bucket=versioned, Key="k", VersionId="0" * 32, **arguments)
    assert len(listed(s3, versioned)) == 2
    assert s3.delete_object(Bucket=versioned, Key="k", **right)["DeleteMarker"]
    for arguments in wrong:
        assert code(s3.delete_object, Bucket=versioned, Key="k", **arguments) == (412, "PreconditionFailed"), arguments
    s3.delete_object(Bucket=versioned, Key="k", VersionId=version, **right)
    assert code(s3.get_object, Bucket=versioned, Key="k", VersionId=version) == (404, "NoSuchVersion")


NAMES = ["a", "a/b", "a/b/c", "a-b", "dir/", "dir//x", "é/../ü", "p/" + "y" * 400, "z"]


def modelled(model, prefix, delimiter):
    entries = []
    for key in sorted(model, key=lambda key: key.encode()):
        if not key.startswith(prefix) or not model[key]:
            continue
        rest = key[len(prefix):]
        if delimiter and delimiter in rest:
            rolled = prefix + rest[:rest.index(delimiter) + len(delimiter)]
            if ("prefix", rolled) not in entries:
                entries.append(("prefix", rolled))
            continue
        entries += [(key, version) for version, _ in reversed(model[key])]
    return entries


def pages(s3, bucket, size, prefix, delimiter):
    arguments = {"Prefix": prefix, **({"Delimiter": delimiter} if delimiter else {})}
    found = []
    while True:
        page = s3.list_object_versions(Bucket=bucket, MaxKeys=size, **arguments)
        entries = [(it["Key"], it["VersionId"]) for it in page.get("Versions", []) + page.get("DeleteMarkers", [])]
        entries += [("prefix", it["Prefix"]) for it in page.get("CommonPrefixes", [])]
        assert len(entries) <= size
        found += entries
        if not page["IsTruncated"]:
            return found
        assert len(entries) == size
        arguments["KeyMarker"] = page["NextKeyMarker"]
        arguments["VersionIdMarker"] = page.get("NextVersionIdMarker", "")
        if not arguments["VersionIdMarker"]:
            del arguments["VersionIdMarker"]


@pytest.fixture
def own_server():
    with Server() as server:
        server.add_user("writer")
        yield server


def test_random_changes_are_listed_as_a_model_has_them(own_server):
    s3 = own_server.s3()
    chance = random.Random(7)
    bucket = f"versions-{next(IDS)}"
    s3.create_bucket(Bucket=bucket)
    set_versioning(s3, bucket, "Enabled")
    model = {name: [] for name in NAMES}
    for number in range(150):
        name = chance.choice(NAMES)
        versions = model[name]
        match chance.choice(["put", "put", "put", "delete", "remove", "state"]):
            case "put":
                body = b"%d" % number
                version = put(s3, bucket, name, body) or "null"
                versions[:] = [it for it in versions if it[0] != version] + [(version, body)]
            case "delete":
                version = s3.delete_object(Bucket=bucket, Key=name)["VersionId"]
                versions[:] = [it for it in versions if it[0] != version] + [(version, None)]
            case "remove" if versions:
                version, _ = versions.pop(chance.randrange(len(versions)))
                s3.delete_object(Bucket=bucket, Key=name, VersionId=version)
            case "state":
                set_versioning(s3, bucket, chance.choice(["Enabled", "Enabled", "Suspended"]))
    own_server.restart()
    s3 = own_server.s3()
    for name, versions in model.items():
        for version, body in versions:
            if body is not None:
                assert read(s3, bucket, name, version) == body
        if versions and versions[-1][1] is not None:
            assert read(s3, bucket, name) == versions[-1][1]
        else:
            assert code(s3.head_object, Bucket=bucket, Key=name)[0] == 404
    # A page has versions and markers apart from each other, so that their order is known of pages of one only.
    for prefix, delimiter in [("", ""), ("", "/"), ("a", "/"), ("dir/", "/"), ("a/", ""), ("", "b")]:
        expected = modelled(model, prefix, delimiter)
        assert pages(s3, bucket, 1, prefix, delimiter) == expected, (prefix, delimiter)
        for size in [2, 3, 7, 1000]:
            assert sorted(pages(s3, bucket, size, prefix, delimiter)) == sorted(expected), (prefix, delimiter)
    assert s3.list_object_versions(Bucket=bucket, MaxKeys=0)["IsTruncated"] is False
    assert code(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    for name, versions in model.items():
        for version, _ in versions:
            s3.delete_object(Bucket=bucket, Key=name, VersionId=version)
    s3.delete_bucket(Bucket=bucket)
    assert not (own_server.root / ".sluicegate/versions" / bucket).exists()


def test_markers_of_a_listing_stand_in_order_and_show_owners(server, s3, versioned):
    put(s3, versioned, "a b", b"1")
    s3.delete_object(Bucket=versioned, Key="a b")
    page = s3.list_object_versions(Bucket=versioned, EncodingType="url")
    assert page["DeleteMarkers"][0]["Key"] == page["Versions"][0]["Key"] == "a%20b"
    assert page["DeleteMarkers"][0]["Owner"]["ID"] == page["Versions"][0]["Owner"]["ID"] == "writer"
    assert page["DeleteMarkers"][0]["LastModified"] >= page["Versions"][0]["LastModified"]
    assert code(s3.list_object_versions, Bucket=versioned, VersionIdMarker="null") == (400, "InvalidArgument")
    assert code(s3.list_object_versions, Bucket=versioned, KeyMarker="a", VersionIdMarker="x") == (
        400, "InvalidArgument")


def test_versions_are_plain_files(server, s3, versioned):
    first = put(s3, versioned, "d/k", b"first")
    inode = server.path(versioned, "d/k").stat().st_ino
    second = put(s3, versioned, "d/k", b"second")
    assert server.path(versioned, "d/k").read_bytes() == b"second"
    kept = history(server, versioned, "d/k")
    assert [it.name for it in kept.iterdir()] == [first]
    assert (kept / first).read_bytes() == b"first"
    stat = (kept / first).stat()
    writer = server.users["writer"]
    assert (stat.st_ino, stat.st_nlink, stat.st_uid, stat.st_gid) == (inode, 1, writer.uid, writer.gid)
    assert (server.root / ".sluicegate").stat().st_mode & 0o777 == 0o700
    marker = s3.delete_object(Bucket=versioned, Key="d/k")["VersionId"]
    assert sorted(it.name for it in kept.iterdir()) == sorted([first, second, f"{marker}.marker"])
    assert not server.path(versioned, "d").exists()
    assert (kept / f"{marker}.marker").stat().st_uid == writer.uid
    s3.delete_object(Bucket=versioned, Key="d/k", VersionId=marker)
    assert server.path(versioned, "d/k").read_bytes() == b"second"
    s3.delete_object(Bucket=versioned, Key="d/k", VersionId=second)
    assert server.path(versioned, "d/k").stat().st_ino == inode
    assert not (server.root / ".sluicegate/versions" / versioned / "d").exists(), "nothing is left of it"


def test_other_programs_write_null_versions(server, s3, versioned):
    first = put(s3, versioned, "k", b"first")
    aside = server.path(versioned, "aside")
    aside.write_bytes(b"foreign")
    os.utime(aside, (0, 0))
    aside.rename(server.path(versioned, "k"))
    answer = s3.get_object(Bucket=versioned, Key="k")
    assert (answer["Body"].read(), answer["VersionId"]) == (b"foreign", "null")
    # The version it replaced is gone as for every program; a version of S3 keeps it.
    assert code(s3.get_object, Bucket=versioned, Key="k", VersionId=first) == (404, "NoSuchVersion")
    second = put(s3, versioned, "k", b"second")
    assert [it[1] for it in listed(s3, versioned)] == [second, "null"]
    assert read(s3, versioned, "k", "null") == b"foreign"
    server.path(versioned, "k").unlink()
    assert code(s3.get_object, Bucket=versioned, Key="k") == (404, "NoSuchKey")
    assert listed(s3, versioned) == [("k", "null", False, False)]
    third = put(s3, versioned, "k", b"third")
    assert [it[1] for it in listed(s3, versioned)] == [third, "null"]


def test_large_records_go_with_their_versions(server, s3, versioned):
    metadata = [{f"name{index}": f"{number}" * 150 for index in range(10)} for number in range(3)]
    tags = "&".join(f"{'k' * 100}{index}={'v' * 250}" for index in range(10))
    versions = [put(s3, versioned, "k", b"%d" % number, Metadata=metadata[number], Tagging=tags) for number in range(3)]
    for number, version in enumerate(versions):
        head = s3.head_object(Bucket=versioned, Key="k", VersionId=version)
        assert (head["Metadata"], head["TagCount"]) == (metadata[number], 10)
    s3.delete_object(Bucket=versioned, Key="k", VersionId=versions[2])
    assert s3.head_object(Bucket=versioned, Key="k")["Metadata"] == metadata[1]
    for version in versions[:2]:
        s3.delete_object(Bucket=versioned, Key="k", VersionId=version)
    assert listed(s3, versioned) == []


def test_writers_of_one_key_at_once_lose_nothing(server, s3, versioned):
    def write(number):
        return [put(server.s3(), versioned, "k", b"%d-%d" % (number, index)) for index in range(8)]

    stop = threading.Event()

    def watch():
        client, seen = server.s3(), 0
        while not stop.is_set():
            assert client.get_object(Bucket=versioned, Key="k")["Body"].read()
            seen += 1
        return seen

    put(s3, versioned, "k", b"start")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        watcher = pool.submit(watch)
        versions = list(itertools.chain(*pool.map(write, range(4))))
        stop.set()
        assert watcher.result() > 0, "readers never see a gap"
    entries = listed(s3, versioned)
    assert len(entries) == 33 and sum(latest for *_, latest in entries) == 1
    assert {version for _, version, *_ in entries} >= set(versions)
    # Removed one after the other, each uncovers the next.
    for _, version, *_ in entries:
        assert s3.head_object(Bucket=versioned, Key="k")["VersionId"] == version
        s3.delete_object(Bucket=versioned, Key="k", VersionId=version)
    assert listed(s3, versioned) == []


def test_no_version_is_lost_or_made_up_when_the_server_is_killed(own_server):
    server, s3 = own_server, own_server.s3()
    s3.create_bucket(Bucket="bucket")
    set_versioning(s3, "bucket", "Enabled")
    known, lock = [], threading.Lock()

    def change(number):
        client, chance = server.s3(), random.Random(number)
        own = []
        try:
            for index in range(10_000):
                key, body = chance.choice(["a", "a/b", "c"]), b"%d-%d" % (number, index)
                if own and chance.random() < 0.3:
                    gone = own.pop()
                    with lock:
                        known.append(("gone", *gone))
                    client.delete_object(Bucket="bucket", Key=gone[0], VersionId=gone[1])
                elif chance.random() < 0.2:
                    client.delete_object(Bucket="bucket", Key=key)
                else:
                    own.append((key, put(client, "bucket", key, body), body))
        except Exception:  # The server is gone.
            with lock:
                known.extend(("kept", *it) for it in own)

    for _ in range(3):
        threads = [threading.Thread(target=change, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        threading.Event().wait(0.7)
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
        s3 = server.s3()
        entries = []
        for page in s3.get_paginator("list_object_versions").paginate(Bucket="bucket"):
            entries += [(it["Key"], it["VersionId"]) for it in page.get("Versions", [])]
            entries += [(it["Key"], it["VersionId"]) for it in page.get("DeleteMarkers", [])]
            latest = [it["Key"] for it in page.get("Versions", []) + page.get("DeleteMarkers", []) if it["IsLatest"]]
            assert len(latest) == len(set(latest))
        assert len(entries) == len(set(entries)), "each version is listed once"
        begun = {it[1:3] for it in known if it[0] == "gone"}
        for state, key, version, body in known:
            if state == "kept" and (key, version) not in begun:
                assert (key, version) in entries
                assert read(s3, "bucket", key, version) == body
        known.clear()
    for key in {key for key, _ in entries}:
        while True:
            versions = listed(s3, "bucket", Prefix=key)
            mine = [it for it in versions if it[0] == key]
            if not mine:
                break
            s3.delete_objects(Bucket="bucket",
                              Delete={"Objects": [{"Key": key, "VersionId": it[1]} for it in mine]})
    assert listed(s3, "bucket") == []
    s3.delete_bucket(Bucket="bucket")


@needs_root
def test_versions_have_permissions_of_their_own(http):
    http.add_policy("reader-of-objects", [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": "*"}])
    http.add_user("plain", "reader-of-objects", number=5)
    s3, plain = http.s3(), http.s3(http.users["plain"])
    bucket = f"permissions-{next(IDS)}"
    s3.create_bucket(Bucket=bucket)
    set_versioning(s3, bucket, "Enabled")
    version = put(plain, bucket, "k", b"1")
    assert read(plain, bucket, "k") == b"1"
    for call in [plain.get_object, plain.delete_object]:
        assert code(call, Bucket=bucket, Key="k", VersionId=version) == (403, "AccessDenied")
    assert code(plain.list_object_versions, Bucket=bucket) == (403, "AccessDenied")
    assert plain.delete_object(Bucket=bucket, Key="k")["DeleteMarker"]
    # A policy can speak of one version, and of the tags of the version in question.
    tagged = put(s3, bucket, "tagged", b"old", Tagging="secret=yes")
    untagged = put(s3, bucket, "tagged", b"new")
    http.add_policy("some-versions", [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": ["s3:GetObjectVersion", "s3:DeleteObjectVersion"], "Resource": "*",
         "Condition": {"StringEquals": {"s3:versionid": version}}},
        {"Effect": "Deny", "Action": "s3:GetObjectVersion", "Resource": "*",
         "Condition": {"StringEquals": {"s3:ExistingObjectTag/secret": "yes"}}},
    ])
    http.add_user("some", "some-versions", number=6)
    some = http.s3(http.users["some"])
    assert read(some, bucket, "tagged") == read(some, bucket, "tagged", untagged) == b"new"
    for key, denied in [("tagged", tagged), ("k", version)]:
        assert code(some.get_object, Bucket=bucket, Key=key, VersionId=denied) == (403, "AccessDenied")
        source = {"Bucket": bucket, "Key": key, "VersionId": denied}
        assert code(some.copy_object, Bucket=bucket, Key="copy", CopySource=source) == (403, "AccessDenied")
    # Also where many are deleted at once.
    other = put(s3, bucket, "k", b"2")
    answer = some.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": "k", "VersionId": id} for id in [version, other]]})
    assert [entry["VersionId"] for entry in answer["Deleted"]] == [other]
    assert [(entry["VersionId"], entry["Code"]) for entry in answer["Errors"]] == [(version, "AccessDenied")]
    # Who may not list is not told of markers either.
    missing = failure(plain.get_object, Bucket=bucket, Key="k")
    assert missing["Error"]["Code"] == "AccessDenied" and "x-amz-version-id" not in headers(missing)
    assert read(s3, bucket, "k", version) == b"1"
