"""Bucket policies and requests without a signature: over S3, on disk, and over restarts."""

import base64
import hashlib
import json
import os

import pytest

from accounts import IS_ROOT, Server, allow, arn, denied, policy, refused, statement

EVERYBODY = {"Principal": "*"}


@pytest.fixture(scope="module")
def server():
    with Server("--anonymous-posix-uid", "4321", "--anonymous-posix-gid", "4322") as server:
        server.owner = server.add_user("owner")
        server.reader = server.add_user("reader", "readonly")
        server.nobody = server.s3()
        yield server


@pytest.fixture
def bucket(server, request):
    name = "b-" + hashlib.md5(request.node.name.encode()).hexdigest()[:12]
    server.owner.create_bucket(Bucket=name)
    server.owner.put_object(Bucket=name, Key="public/a", Body=b"a")
    server.owner.put_object(Bucket=name, Key="private/b", Body=b"b")
    return name


def put(server, bucket, document, **more):
    text = document if isinstance(document, str) else json.dumps(document)
    return server.owner.put_bucket_policy(Bucket=bucket, Policy=text, **more)


def test_a_policy_is_kept_as_it_was_sent(server, bucket):
    with refused("NoSuchBucketPolicy", 404):
        server.owner.get_bucket_policy(Bucket=bucket)
    text = '{ "Version":"2012-10-17",\n "Statement": ' + json.dumps(
        statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), Principal={"AWS": ["*"]})) + "}"
    assert put(server, bucket, text)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert server.owner.get_bucket_policy(Bucket=bucket)["Policy"] == text
    file = server.root / ".sluicegate/buckets" / bucket / "policy.json"
    assert file.read_text() == text and file.stat().st_mode & 0o777 == 0o600
    server.owner.delete_bucket_policy(Bucket=bucket)
    server.owner.delete_bucket_policy(Bucket=bucket)
    assert not file.exists()
    with refused("NoSuchBucketPolicy", 404):
        server.owner.get_bucket_policy(Bucket=bucket)


def test_a_change_holds_on_every_core_before_its_answer(server, bucket):
    document = policy(statement("Allow", "s3:GetObject", arn(f"{bucket}/public/*"), **EVERYBODY))
    for _ in range(5):
        put(server, bucket, document)
        for _ in range(8):  # New connections land on either core.
            server.s3().get_object(Bucket=bucket, Key="public/a")
        server.owner.delete_bucket_policy(Bucket=bucket)
        for _ in range(8):
            with denied():
                server.s3().get_object(Bucket=bucket, Key="public/a")


def test_malformed_policies_are_refused_with_the_place(server, bucket):
    good = statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), **EVERYBODY)
    for document, place in [
        ("{", "JSON"),
        (policy({**good, "Condition": {"StringEqual": {"s3:prefix": "x"}}}), "Statement[0].Condition.StringEqual"),
        (policy({**good, "Resource": arn("another/*")}), "Statement[0].Resource[0]"),
        (policy({**good, "Resource": arn("another*/*")}), "Statement[0].Resource[0]"),
        (policy({**good, "Effect": "Deny", "Resource": arn(bucket)}), "Statement[0].Action[0]"),
        (policy(good, {key: value for key, value in good.items() if key != "Principal"}), "Statement[1].Principal"),
        (policy({**good, "Action": "s3:GetObjekt"}), "s3:GetObjekt"),
        (policy({**good, "Conditions": {}}), "Conditions"),
        (policy({**good, "Action": "s3:ListBucket"}), "Statement[0].Action[0]"),
    ]:
        with pytest.raises(server.owner.exceptions.ClientError) as error:
            put(server, bucket, document)
        answer = error.value.response["Error"]
        assert answer["Code"] == "MalformedPolicy" and place in answer["Message"], answer
    with refused("NoSuchBucketPolicy"):
        server.owner.get_bucket_policy(Bucket=bucket)


def test_one_document_serves_several_buckets(server, bucket):
    server.owner.create_bucket(Bucket="other-of-owner")
    server.owner.put_object(Bucket="other-of-owner", Key="a", Body=b"a")
    document = policy(statement("Allow", ["s3:ListBucket", "s3:GetObject"], [arn("*"), arn("*/*")], **EVERYBODY))
    put(server, bucket, document)
    server.s3().list_objects_v2(Bucket=bucket)
    # In each it is about that bucket alone.
    with denied():
        server.s3().list_objects_v2(Bucket="other-of-owner")
    put(server, "other-of-owner", document)
    assert server.s3().get_object(Bucket="other-of-owner", Key="a")["Body"].read() == b"a"
    # What applies to nothing gives nothing.
    put(server, bucket, policy(statement("Allow", "s3:GetObject", arn(bucket), **EVERYBODY)))
    with denied():
        server.s3().get_object(Bucket=bucket, Key="public/a")


def test_what_is_missing_is_told_to_who_may_know(server, bucket):
    nobody = server.s3()
    for name in ["no-such-bucket", "nobodys"]:
        for call in (nobody.list_objects_v2, nobody.head_bucket, nobody.delete_bucket, nobody.get_bucket_policy):
            with pytest.raises(nobody.exceptions.ClientError) as error:
                call(Bucket=name)
            assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        with refused("NoSuchBucket", 404):
            nobody.put_object(Bucket=name, Key="k", Body=b"")
    with denied():
        nobody.create_bucket(Bucket="no-such-bucket")
    server.owner.put_object(Bucket=bucket, Key="listed/there", Body=b"1")
    put(server, bucket, policy(statement("Allow", "s3:ListBucket", arn(bucket), **EVERYBODY,
                                         Condition={"StringLike": {"s3:prefix": "listed/*"}})))
    with refused("NoSuchKey", 404):
        nobody.get_object(Bucket=bucket, Key="listed/missing")
    for key in ["listed/there", "missing", "public/a"]:
        with denied():
            nobody.get_object(Bucket=bucket, Key=key)
    # Who may read, but not list all keys, learns of those that can be listed.
    put(server, bucket, policy(
        statement("Allow", "s3:ListBucket", arn(bucket), **EVERYBODY, Condition={"StringLike": {"s3:prefix": "listed/*"}}),
        statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), **EVERYBODY)))
    with refused("NoSuchKey", 404):
        nobody.get_object(Bucket=bucket, Key="listed/missing")
    with denied():
        nobody.get_object(Bucket=bucket, Key="missing")


def test_the_size_is_bounded(server, bucket):
    document = json.dumps(policy(statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), **EVERYBODY)))
    put(server, bucket, document.ljust(20 * 1024))
    for bytes_count in (20 * 1024 + 1, 100_000):
        with refused("PolicyTooLarge", 400):
            put(server, bucket, document.ljust(bytes_count))


def test_what_the_client_says_of_the_body_is_verified(server, bucket):
    document = json.dumps(policy(statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), **EVERYBODY)))
    md5 = lambda data: base64.b64encode(hashlib.md5(data).digest()).decode()
    put(server, bucket, document, ContentMD5=md5(document.encode()))
    with refused("BadDigest"):
        put(server, bucket, document + " ", ContentMD5=md5(document.encode()))
    client = server.s3("owner")
    client.meta.events.register_first(
        "before-call.s3.PutBucketPolicy",
        lambda params, **_: params["headers"].__setitem__("x-amz-checksum-crc32", "AAAAAA=="))
    with refused("BadDigest"):
        client.put_bucket_policy(Bucket=bucket, Policy=document + " ")
    assert server.owner.get_bucket_policy(Bucket=bucket)["Policy"] == document


def test_the_status_says_whether_it_is_public(server, bucket):
    status = lambda: server.owner.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    assert status() is False
    put(server, bucket, policy(statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), **EVERYBODY)))
    assert status() is True
    put(server, bucket, policy(statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), **EVERYBODY,
                                         Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})))
    assert status() is False
    user = {"AWS": "arn:aws:iam::000000000000:user/reader"}
    put(server, bucket, policy(statement("Allow", "s3:PutObject", arn(f"{bucket}/*"), Principal=user)))
    assert status() is False


def test_the_policy_needs_its_own_permissions(server, bucket):
    reader = server.reader
    document = json.dumps(policy(statement("Allow", "s3:GetObject", arn(f"{bucket}/*"), **EVERYBODY)))
    put(server, bucket, document)
    assert reader.get_bucket_policy(Bucket=bucket)["Policy"] == document
    for call in (lambda: reader.put_bucket_policy(Bucket=bucket, Policy=document),
                 lambda: reader.delete_bucket_policy(Bucket=bucket),
                 lambda: reader.get_bucket_policy_status(Bucket=bucket),
                 lambda: server.nobody.get_bucket_policy(Bucket=bucket)):
        with denied():
            call()
    with refused("NoSuchBucket", 404):
        server.owner.put_bucket_policy(Bucket="not-there", Policy=document.replace(bucket, "not-there"))
    with refused("NoSuchBucket", 404):
        server.owner.get_bucket_policy(Bucket="not-there")


def test_an_allow_adds_and_a_deny_binds_everybody(server, bucket):
    user = {"AWS": "arn:aws:iam::000000000000:user/reader"}
    put(server, bucket, policy(
        statement("Allow", "s3:PutObject", arn(f"{bucket}/*"), Principal=user),
        statement("Deny", "s3:GetObject", arn(f"{bucket}/private/*"), **EVERYBODY)))
    server.reader.put_object(Bucket=bucket, Key="new", Body=b"new")
    with denied():
        server.reader.delete_object(Bucket=bucket, Key="new")
    for client in (server.reader, server.owner, server.nobody):
        with denied():
            client.get_object(Bucket=bucket, Key="private/b")
    server.owner.get_object(Bucket=bucket, Key="public/a")
    with denied():
        server.nobody.put_object(Bucket=bucket, Key="x", Body=b"")


def test_the_example_of_the_manual(server, bucket):
    """A scalar Resource, lists of actions, an Id, Sids, and a condition on the prefix."""
    put(server, bucket, {
        "Version": "2012-10-17", "Id": "S3PublicReadPolicy",
        "Statement": [
            {"Sid": "List the public part", "Effect": "Allow", "Principal": "*", "Action": ["s3:ListBucket"],
             "Resource": arn(bucket), "Condition": {"StringEquals": {"s3:prefix": "public/"}}},
            {"Sid": "Read it", "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
             "Resource": arn(f"{bucket}/public/*")}]})
    nobody = server.nobody
    assert [entry["Key"] for entry in nobody.list_objects_v2(Bucket=bucket, Prefix="public/")["Contents"]] == ["public/a"]
    assert nobody.get_object(Bucket=bucket, Key="public/a")["Body"].read() == b"a"
    for prefix in ("", "private/", "public/a"):
        with denied():
            nobody.list_objects_v2(Bucket=bucket, Prefix=prefix)
    with denied():
        nobody.get_object(Bucket=bucket, Key="private/b")


def test_a_policy_goes_with_its_bucket(server):
    name = "comes-and-goes"
    document = lambda: policy(statement("Allow", ["s3:GetObject"], arn(f"{name}/*"), **EVERYBODY))
    server.owner.create_bucket(Bucket=name)
    put(server, name, document())
    server.owner.delete_bucket(Bucket=name)
    assert not (server.root / ".sluicegate/buckets" / name).exists()
    server.owner.create_bucket(Bucket=name)
    server.owner.put_object(Bucket=name, Key="k", Body=b"k")
    with denied():
        server.nobody.get_object(Bucket=name, Key="k")
    # Another program removes the directory, and the bucket is made again.
    put(server, name, document())
    server.nobody.get_object(Bucket=name, Key="k")
    (server.root / name / "k").unlink()
    (server.root / name).rmdir()
    server.owner.create_bucket(Bucket=name)
    server.owner.put_object(Bucket=name, Key="k", Body=b"k")
    with denied():
        server.nobody.get_object(Bucket=name, Key="k")
    with refused("NoSuchBucketPolicy"):
        server.owner.get_bucket_policy(Bucket=name)


def test_anonymous_files_belong_to_the_configured_owner(server, bucket):
    put(server, bucket, policy(statement("Allow", "s3:PutObject", arn(f"{bucket}/*"), **EVERYBODY)))
    if not IS_ROOT:
        pytest.skip("only root gives files away")
    server.nobody.put_object(Bucket=bucket, Key="deep/er/k", Body=b"k")
    for path in ("deep", "deep/er", "deep/er/k"):
        status = os.stat(server.root / bucket / path)
        assert (status.st_uid, status.st_gid) == (4321, 4322), path
    upload = server.nobody.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = server.nobody.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    server.nobody.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert os.stat(server.root / bucket / "m").st_uid == 4321


def test_nobody_lists_buckets_without_a_signature(server, bucket):
    put(server, bucket, policy(statement("Allow", "s3:*", [arn(bucket), arn(f"{bucket}/*")], **EVERYBODY)))
    server.nobody.list_objects_v2(Bucket=bucket)
    with denied():
        server.nobody.list_buckets()
    # Making a bucket is an action on the bucket that is not there yet, so that no policy of it can allow it.
    with denied():
        server.nobody.create_bucket(Bucket="by-nobody")


def test_policies_survive_a_restart_and_a_damaged_one_denies():
    with Server() as server:
        owner = server.add_user("owner")
        nobody = server.s3()
        for name in ("good", "damaged"):
            owner.create_bucket(Bucket=name)
            owner.put_object(Bucket=name, Key="k", Body=b"k")
            owner.put_bucket_policy(Bucket=name, Policy=json.dumps(
                policy(statement("Allow", "s3:GetObject", arn(f"{name}/*"), **EVERYBODY))))
        server.stop()
        file = server.root / ".sluicegate/buckets/damaged/policy.json"
        file.write_text(file.read_text()[:-10])
        server.start()
        owner, nobody = server.s3("owner"), server.s3()
        nobody.get_object(Bucket="good", Key="k")
        for client in (owner, nobody):
            with denied():
                client.get_object(Bucket="damaged", Key="k")
        log = server.log()
        assert "damaged" in log and "sluicegate bucket policy set" in log, log
        server.cli("bucket", "policy", "unset", "damaged")
        owner.get_object(Bucket="damaged", Key="k")
        with denied():
            nobody.get_object(Bucket="damaged", Key="k")
