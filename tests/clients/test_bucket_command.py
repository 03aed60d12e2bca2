"""`sluicegate bucket`: buckets and their policies by the cluster's admin."""

import json
import os

import pytest

from accounts import IS_ROOT, SECRET, Server, allow, arn, command_refused, denied, policy, refused, statement


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        server.owner = server.add_user("owner")
        server.nobody = server.s3()
        yield server


def allowed(call):
    """Whether an anonymous call gets past the decision: what it answers beyond is not looked at."""
    import botocore.exceptions
    try:
        call()
        return True
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] != 403


def abilities(server, bucket):
    """What anybody may do in a bucket that holds `k` and an upload."""
    s3, owner = server.nobody, server.owner
    owner.put_object(Bucket=bucket, Key="k", Body=b"k")
    upload = owner.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    calls = {
        "GetBucketLocation": lambda: s3.get_bucket_location(Bucket=bucket),
        "ListBucket": lambda: s3.list_objects_v2(Bucket=bucket),
        "GetObject": lambda: s3.get_object(Bucket=bucket, Key="k"),
        "PutObject": lambda: s3.put_object(Bucket=bucket, Key="new", Body=b"new"),
        "ListMultipartUploadParts": lambda: s3.list_parts(Bucket=bucket, Key="m", UploadId=upload),
        "AbortMultipartUpload": lambda: s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload),
        "DeleteObject": lambda: s3.delete_object(Bucket=bucket, Key="k"),
        "ListBucketMultipartUploads": lambda: s3.list_multipart_uploads(Bucket=bucket),
        "GetBucketPolicy": lambda: s3.get_bucket_policy(Bucket=bucket),
        "DeleteBucket": lambda: s3.delete_bucket(Bucket=bucket),
        "PutObjectTagging": lambda: s3.put_object(Bucket=bucket, Key="new", Body=b"", Tagging="a=b"),
    }
    return {name for name, call in calls.items() if allowed(call)}


PRESETS = {
    "none": set(),
    "download": {"GetBucketLocation", "ListBucket", "GetObject"},
    "upload": {"GetBucketLocation", "ListBucketMultipartUploads", "DeleteObject", "ListMultipartUploadParts", "PutObject",
               "AbortMultipartUpload"},
    "public": {"GetBucketLocation", "ListBucket", "ListBucketMultipartUploads", "ListMultipartUploadParts", "PutObject",
               "AbortMultipartUpload", "DeleteObject", "GetObject"},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_allow_what_they_list(server, preset):
    name = f"preset-{preset}"
    server.cli("bucket", "create", name)
    assert server.cli("bucket", "policy", "get", name) == "none\n"
    server.cli("bucket", "policy", "set", name, preset)
    assert server.cli("bucket", "policy", "get", name) == f"{preset}\n"
    assert abilities(server, name) == PRESETS[preset]
    if preset == "none":
        with command_refused("has no policy"):
            server.cli("bucket", "policy", "get-json", name)
    else:
        document = server.cli("bucket", "policy", "get-json", name).strip()
        assert server.owner.get_bucket_policy(Bucket=name)["Policy"] == document
        on_bucket, on_objects = json.loads(document)["Statement"]
        assert on_bucket["Resource"] == [arn(name)] and on_objects["Resource"] == [arn(f"{name}/*")]
        listed = {action.removeprefix("s3:") for action in on_bucket["Action"] + on_objects["Action"]}
        assert listed == PRESETS[preset] and on_bucket["Principal"] == {"AWS": ["*"]}
    server.cli("bucket", "policy", "unset", name)
    assert server.cli("bucket", "policy", "get", name) == "none\n"
    assert abilities(server, name) == set()


def test_a_bucket_is_made_with_its_policy_and_owner(server):
    owner = ["--posix-uid", "21005", "--posix-gid", "31005"] if IS_ROOT else []
    assert server.cli("bucket", "create", "made", "--policy", "download", *owner) == "Created made.\n"
    if IS_ROOT:
        status = os.stat(server.root / "made")
        assert (status.st_uid, status.st_gid) == (21005, 31005)
    server.nobody.list_objects_v2(Bucket="made")
    listed = {bucket["name"]: bucket for bucket in server.json("bucket", "list")["buckets"]}
    assert listed["made"]["policy"] == "download"
    assert "made" in server.cli("bucket", "list")
    with command_refused("exists"):
        server.cli("bucket", "create", "made")
    with command_refused("no legal bucket name"):
        server.cli("bucket", "create", "Made")
    with command_refused("no preset"):
        server.cli("bucket", "create", "other", "--policy", "private")
    assert not (server.root / "other").exists()
    with command_refused("4294967295"):
        server.cli("bucket", "create", "other", "--posix-uid", 4294967295)
    assert server.cli("bucket", "destroy", "made") == "Destroyed made.\n"
    assert not (server.root / "made").exists()
    with command_refused("no bucket made"):
        server.cli("bucket", "destroy", "made")
    with command_refused("no bucket made"):
        server.cli("bucket", "policy", "get", "made")


def test_a_full_bucket_is_not_destroyed(server):
    server.cli("bucket", "create", "full")
    server.owner.put_object(Bucket="full", Key="k", Body=b"k")
    with command_refused("holds objects"):
        server.cli("bucket", "destroy", "full")
    server.owner.get_object(Bucket="full", Key="k")


def test_an_unlinked_bucket_keeps_its_directory_and_comes_back(server):
    server.cli("bucket", "create", "parted", "--policy", "public")
    server.owner.put_object(Bucket="parted", Key="a/k", Body=b"k", Metadata={"kept": "yes"})
    assert "directory stays" in server.cli("bucket", "destroy", "parted", "--unlink")
    assert (server.root / "parted/a/k").read_bytes() == b"k"
    for _ in range(2):
        owner = server.s3("owner")
        for call in (lambda: owner.list_objects_v2(Bucket="parted"), lambda: owner.get_object(Bucket="parted", Key="a/k"),
                     lambda: owner.put_object(Bucket="parted", Key="b", Body=b""),
                     lambda: owner.delete_bucket(Bucket="parted")):
            with refused("NoSuchBucket", 404):
                call()
        assert "parted" not in [bucket["Name"] for bucket in owner.list_buckets()["Buckets"]]
        with refused("BucketAlreadyExists", 409):
            owner.create_bucket(Bucket="parted")
        assert server.json("bucket", "list")["unlinked"] == ["parted"]
        server.restart()
    with command_refused("--existing"):
        server.cli("bucket", "create", "parted")
    server.cli("bucket", "create", "parted", "--existing")
    owner, server.nobody = server.s3("owner"), server.s3()
    server.owner = owner
    assert owner.get_object(Bucket="parted", Key="a/k")["Metadata"] == {"kept": "yes"}
    with denied():
        server.nobody.get_object(Bucket="parted", Key="a/k")
    with command_refused("no unlinked directory"):
        server.cli("bucket", "create", "parted", "--existing")
    # Where the directory is gone, the name is free.
    server.cli("bucket", "create", "vanished")
    server.cli("bucket", "destroy", "vanished", "--unlink")
    (server.root / "vanished").rmdir()
    owner.create_bucket(Bucket="vanished")
    owner.put_object(Bucket="vanished", Key="k", Body=b"k")


def test_custom_policies(server):
    server.cli("bucket", "create", "custom")
    document = policy(
        statement("Allow", ["s3:ListBucket"], arn("custom"), Principal="*",
                  Condition={"StringEquals": {"s3:prefix": "public/"}}),
        statement("Allow", ["s3:GetObject"], arn("custom/public/*"), Principal="*"))
    server.cli("bucket", "policy", "set-custom", "custom", server.file(document))
    assert server.cli("bucket", "policy", "get", "custom") == "custom\n"
    assert json.loads(server.cli("bucket", "policy", "get-json", "custom")) == document
    server.nobody.list_objects_v2(Bucket="custom", Prefix="public/")
    with denied():
        server.nobody.list_objects_v2(Bucket="custom", Prefix="")
    for action in ("s3:*", "s3:Get*", "*", ["s3:GetObject", "s3:List?ucket"]):
        wild = policy(statement("Allow", action, [arn("custom"), arn("custom/*")], Principal="*"))
        with command_refused("wildcard"):
            server.cli("bucket", "policy", "set-custom", "custom", server.file(wild))
    with command_refused("Statement[0].Principal"):
        server.cli("bucket", "policy", "set-custom", "custom", server.file(allow("s3:GetObject", arn("custom/*"))))
    with command_refused("20480"):
        server.cli("bucket", "policy", "set-custom", "custom", server.file(json.dumps(document).ljust(20481)))
    assert json.loads(server.cli("bucket", "policy", "get-json", "custom")) == document
    # The S3 API takes what AWS takes.
    server.owner.put_bucket_policy(Bucket="custom", Policy=json.dumps(
        policy(statement("Allow", "s3:Get*", arn("custom/*"), Principal="*"))))
