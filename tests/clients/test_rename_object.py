"""RenameObject: another key for the same file, over S3 and as other programs see it."""

import concurrent.futures
import datetime
import os

import pytest
from botocore.exceptions import ClientError

from conftest import needs_root, new_bucket
from sluicegate import PATIENCE, Server
from wire import ask

PART = 5 * 1024 * 1024


def rename(server, bucket, source, key, *headers, user=None):
    """One rename, with the headers exactly as given."""
    headers = [("x-amz-rename-source", f"/{bucket}/{source}"), *headers]
    return ask(server, "PUT", f"/{bucket}/{key}?renameObject", headers=headers, user=user)


def keys(s3, bucket):
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_the_file_stays_the_same(server, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a/b/old", ContentType="text/css", Metadata={"m": "v"},
                                        Tagging="team=red")["UploadId"]
    parts = [{"PartNumber": number, "ETag": s3.upload_part(
        Bucket=bucket, Key="a/b/old", UploadId=upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in [(1, b"x" * PART), (2, b"y")]]
    s3.complete_multipart_upload(Bucket=bucket, Key="a/b/old", UploadId=upload, MultipartUpload={"Parts": parts})
    before, stat = s3.head_object(Bucket=bucket, Key="a/b/old"), server.path(bucket, "a/b/old").stat()
    # A user of another name renames it: the file stays whose it was.
    answer = rename(server, bucket, "a/b/old", "new/%C3%A9%20+", user=server.users["other"])
    assert answer.status == 200 and answer.body == b"", answer
    after, now = s3.head_object(Bucket=bucket, Key="new/é +"), server.path(bucket, "new/é +").stat()
    for name in ["ETag", "LastModified", "ContentType", "Metadata", "ContentLength"]:
        assert after[name] == before[name], name
    for name in ["st_ino", "st_mtime_ns", "st_uid", "st_gid", "st_size"]:
        assert getattr(now, name) == getattr(stat, name), name
    assert s3.get_object_tagging(Bucket=bucket, Key="new/é +")["TagSet"] == [{"Key": "team", "Value": "red"}]
    assert s3.get_object(Bucket=bucket, Key="new/é +", PartNumber=2)["Body"].read() == b"y"
    assert keys(s3, bucket) == ["new/é +"]
    assert not server.path(bucket, "a").exists(), "directories that became empty are gone"


def test_what_boto3_sends(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="old key+", Body=b"data")
    s3.rename_object(Bucket=bucket, Key="new", RenameSource=f"{bucket}/old%20key%2B", ClientToken="token-1")
    assert s3.get_object(Bucket=bucket, Key="new")["Body"].read() == b"data"
    # The second try of what succeeded succeeds, and does nothing.
    s3.rename_object(Bucket=bucket, Key="new", RenameSource=f"{bucket}/old%20key%2B", ClientToken="token-1")
    with pytest.raises(ClientError) as failure:
        s3.rename_object(Bucket=bucket, Key="newer", RenameSource=f"{bucket}/new", ClientToken="token-1")
    assert failure.value.response["Error"]["Code"] == "IdempotencyParameterMismatch"
    # Another user's token is another one.
    rename(server, bucket, "new", "newer", ("x-amz-client-token", "token-1"), user=server.users["other"]).expect(200)
    assert keys(s3, bucket) == ["newer"]


def test_an_object_in_place_is_replaced(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="old", Body=b"old", Metadata={"from": "old"})
    s3.put_object(Bucket=bucket, Key="new", Body=b"new", Metadata={"from": "new" + "x" * 2000})
    rename(server, bucket, "old", "new").expect(200)
    got = s3.get_object(Bucket=bucket, Key="new")
    assert (got["Body"].read(), got["Metadata"]) == (b"old", {"from": "old"})
    assert keys(s3, bucket) == ["new"] and server.system_files() == [], "no record of the replaced one is left"
    rename(server, bucket, "new", "new").expect(200)
    assert s3.get_object(Bucket=bucket, Key="new")["Body"].read() == b"old"


def test_keys_below_each_other(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    rename(server, bucket, "a", "a/b").expect(200)
    assert keys(s3, bucket) == ["a/b"] and server.path(bucket, "a/b").read_bytes() == b"a"
    rename(server, bucket, "a/b", "a").expect(200)
    assert keys(s3, bucket) == ["a"]
    s3.put_object(Bucket=bucket, Key="a/c", Body=b"c")
    rename(server, bucket, "a", "a/").expect(200)
    assert keys(s3, bucket) == ["a/", "a/c"]
    rename(server, bucket, "a/", "a").expect(200)
    assert keys(s3, bucket) == ["a", "a/c"]
    rename(server, bucket, "a/c", "a").expect(200)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"c"
    rename(server, bucket, "a", "..%2F..%2Fetc").expect(200)
    assert keys(s3, bucket) == ["../../etc"] and not server.path(bucket, "a").exists()


def test_a_file_of_another_program(server, s3, bucket):
    server.path(bucket, "foreign.html").write_bytes(b"<p>")
    os.link(server.path(bucket, "foreign.html"), server.path(bucket, "second"))
    before = s3.head_object(Bucket=bucket, Key="foreign.html")
    rename(server, bucket, "foreign.html", "page.html").expect(200)
    after = s3.head_object(Bucket=bucket, Key="page.html")
    assert (after["LastModified"], after["ContentLength"]) == (before["LastModified"], 3)
    # Two links of one file: the old one goes all the same.
    rename(server, bucket, "page.html", "second").expect(200)
    assert keys(s3, bucket) == ["second"]
    os.symlink("second", server.path(bucket, "link"))
    rename(server, bucket, "link", "x").expect(404, "NoSuchKey")
    os.unlink(server.path(bucket, "link"))


def test_conditions(server, s3, bucket):
    old = s3.put_object(Bucket=bucket, Key="old", Body=b"old")["ETag"]
    new = s3.put_object(Bucket=bucket, Key="new", Body=b"new")["ETag"]
    now = datetime.datetime.now(datetime.timezone.utc)
    date = lambda hours: (now + datetime.timedelta(hours=hours)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    source = "x-amz-rename-source-if-"
    failing = [
        (source + "match", new), (source + "none-match", old), (source + "none-match", "*"),
        (source + "modified-since", date(1)), (source + "unmodified-since", date(-1)),
        ("If-Match", old), ("If-None-Match", "*"), ("If-None-Match", new),
        ("If-Modified-Since", date(1)), ("If-Unmodified-Since", date(-1)),
    ]
    for header in failing:
        rename(server, bucket, "old", "new", header).expect(412, "PreconditionFailed")
    rename(server, bucket, "old", "none", ("If-Match", old)).expect(404, "NoSuchKey")
    rename(server, bucket, "old", "d/none", ("If-Modified-Since", date(-1))).expect(412, "PreconditionFailed")
    rename(server, bucket, "none", "new", ("If-None-Match", "*")).expect(404, "NoSuchKey")
    assert keys(s3, bucket) == ["new", "old"] and not server.path(bucket, "d").exists()
    holding = [(source + "match", old), (source + "none-match", new), (source + "modified-since", date(-1)),
               (source + "unmodified-since", date(1)), ("If-Match", new), ("If-Modified-Since", date(-1)),
               ("If-Unmodified-Since", date(1))]
    rename(server, bucket, "old", "new", *holding).expect(200)
    rename(server, bucket, "new", "fresh", ("If-None-Match", "*"), ("If-Unmodified-Since", date(-1))).expect(200)
    assert keys(s3, bucket) == ["fresh"]


def test_what_is_refused(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="old", Body=b"data")
    other = new_bucket(server)
    target = f"/{bucket}/new?renameObject"
    for source in ["", "old", f"/{other}/old", f"{bucket}/", f"{bucket}/old?versionId=null", f"{bucket}/%zz"]:
        headers = [("x-amz-rename-source", source)] if source else []
        error = ask(server, "PUT", target, headers=headers).expect(400, "InvalidArgument")
        assert error["ArgumentName"] == "x-amz-rename-source", source
    for token in ["x" * 65, "a b", "é"]:
        rename(server, bucket, "old", "new", ("x-amz-client-token", token)).expect(400, "InvalidArgument")
    rename(server, bucket, "none", "new").expect(404, "NoSuchKey")
    ask(server, "PUT", "/nobodys/new?renameObject", headers=[("x-amz-rename-source", "nobodys/old")]).expect(
        404, "NoSuchBucket")
    assert keys(s3, bucket) == ["old"]


def test_every_permission_is_needed(http):
    server, bucket = http, new_bucket(http)
    s3 = server.s3()
    all_of_them = [("GetObject", "old"), ("DeleteObject", "old"), ("PutObject", "new")]
    for number in range(4):
        name = f"renames-{number}-{bucket}"
        granted = [pair for index, pair in enumerate(all_of_them) if index != number]
        server.add_policy(name, [{"Effect": "Allow", "Action": f"s3:{action}", "Resource": f"arn:aws:s3:::{bucket}/{key}"}
                                 for action, key in granted])
        user = server.add_user(name, name, number=90 + number)
        s3.put_object(Bucket=bucket, Key="old", Body=b"data")
        answer = rename(server, bucket, "old", "new", user=user)
        if number < 3:
            answer.expect(403, "AccessDenied")
            assert keys(s3, bucket) == ["old"], all_of_them[number]
        else:
            answer.expect(200)
            # Who may not list is not told what is missing.
            rename(server, bucket, "old", "new", user=user).expect(403, "AccessDenied")


@needs_root
def test_directories_belong_to_who_renames(http):
    server, bucket = http, new_bucket(http)
    writer, other = server.users["writer"], server.users["other"]
    server.s3().put_object(Bucket=bucket, Key="old", Body=b"data")
    rename(server, bucket, "old", "made/new", user=other).expect(200)
    assert server.path(bucket, "made").stat().st_uid == other.uid
    assert server.path(bucket, "made/new").stat().st_uid == writer.uid


def test_of_many_at_once_one_wins(http):
    server, bucket = http, new_bucket(http)
    s3 = server.s3()
    targets = ["a", "b", "d/c", "d/e", "old/f"]
    with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
        for turn in range(20):
            s3.put_object(Bucket=bucket, Key="old", Body=b"%d" % turn)
            answers = list(pool.map(lambda key: rename(server, bucket, "old", key), targets, timeout=PATIENCE))
            winners = [key for key, answer in zip(targets, answers) if answer.status == 200]
            assert len(winners) == 1, answers
            assert all(answer.status == 200 or answer.code == "NoSuchKey" for answer in answers), answers
            assert keys(s3, bucket) == winners
            s3.delete_object(Bucket=bucket, Key=winners[0])
            assert list(server.path(bucket).iterdir()) == []


def test_renames_in_opposite_directions_end(http):
    server, bucket = http, new_bucket(http)
    s3 = server.s3()
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    s3.put_object(Bucket=bucket, Key="b/c", Body=b"b")
    pairs = [("a", "b/c"), ("b/c", "a"), ("a", "b"), ("b", "a")] * 30
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda pair: rename(server, bucket, *pair), pairs, timeout=PATIENCE))
    assert {answer.status for answer in answers} <= {200, 404}
    assert len(keys(s3, bucket)) == 1, "one replaced the other, and one is left"


def test_readers_get_whole_objects_meanwhile(http):
    server, bucket = http, new_bucket(http)
    s3 = server.s3(max_pool_connections=4)
    s3.put_object(Bucket=bucket, Key="a", Body=b"data" * 10_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        def renames():
            for turn in range(60):
                pair = ("a", "d/b") if turn % 2 == 0 else ("d/b", "a")
                rename(server, bucket, *pair).expect(200)
        work = pool.submit(renames)
        while not work.done():
            listed = keys(s3, bucket)
            assert listed in (["a"], ["d/b"], []), listed  # A listing is no snapshot of two directories.
            for key in ["a", "d/b"]:
                try:
                    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"data" * 10_000
                except ClientError as error:
                    assert error.response["Error"]["Code"] == "NoSuchKey"
        work.result()


def test_a_rename_survives_a_crash():
    with Server() as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        s3.put_object(Bucket="photos", Key="old", Body=b"data", Metadata={"m": "v"})
        rename(server, "photos", "old", "d/new", ("x-amz-client-token", "one")).expect(200)
        server.kill()
        server.start()
        s3 = server.s3()
        assert keys(s3, "photos") == ["d/new"]
        got = s3.get_object(Bucket="photos", Key="d/new")
        assert (got["Body"].read(), got["Metadata"]) == (b"data", {"m": "v"})
        # What was renamed before is not known any more.
        rename(server, "photos", "old", "d/new", ("x-amz-client-token", "one")).expect(404, "NoSuchKey")
