"""Users and policies over S3: who may do what, whose files they are, and what cannot be forged."""

import json
import os

import botocore.exceptions
import pytest

from accounts import IS_ROOT, SECRET, Server, allow, arn, command_refused, denied, policy, refused, statement


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        server.root_user = server.add_user("owner")
        server.root_user.create_bucket(Bucket="data")
        server.root_user.put_object(Bucket="data", Key="k", Body=b"k")
        yield server


def complete(s3, bucket, key, upload, part):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})


def test_without_a_policy_nothing_works_and_changes_act_at_once(server):
    user = server.add_user("plain", policy=None)
    calls = [lambda: user.list_buckets(), lambda: user.put_object(Bucket="data", Key="p", Body=b""),
             lambda: user.get_object(Bucket="data", Key="k"), lambda: user.create_bucket(Bucket="plains"),
             lambda: user.list_objects_v2(Bucket="data")]
    for call in calls:
        with denied():
            call()
    with command_refused("has no policy"):
        server.account("plain", "add")
    server.cli("policy", "attach", "readonly", "plain")
    assert [bucket["Name"] for bucket in user.list_buckets()["Buckets"]] == ["data"]
    user.list_objects_v2(Bucket="data")
    user.get_object(Bucket="data", Key="k")
    user.get_bucket_location(Bucket="data")
    for call in (lambda: user.put_object(Bucket="data", Key="p", Body=b""), lambda: user.delete_object(Bucket="data", Key="k"),
                 lambda: user.create_bucket(Bucket="plains"), lambda: user.get_object_tagging(Bucket="data", Key="k")):
        with denied():
            call()
    server.cli("policy", "detach", "plain")
    for call in calls:
        with denied():
            call()


def test_writeonly(server):
    user = server.add_user("writer", "writeonly")
    user.put_object(Bucket="data", Key="w", Body=b"w")
    upload = user.create_multipart_upload(Bucket="data", Key="m")["UploadId"]
    part = user.upload_part(Bucket="data", Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    with denied():
        user.list_parts(Bucket="data", Key="m", UploadId=upload)
    with denied():
        user.abort_multipart_upload(Bucket="data", Key="m", UploadId=upload)
    complete(user, "data", "m", upload, part)
    for call in (lambda: user.get_object(Bucket="data", Key="w"), lambda: user.list_objects_v2(Bucket="data"),
                 lambda: user.delete_object(Bucket="data", Key="w"), lambda: user.list_buckets()):
        with denied():
            call()
    # Whether a key exists is not for this user to know.
    for key in ("w", "missing"):
        with refused("403", 403):
            user.head_object(Bucket="data", Key=key)


def test_readwrite(server):
    user = server.add_user("worker", "readwrite")
    user.create_bucket(Bucket="work")
    user.put_object(Bucket="work", Key="a", Body=b"a")
    user.copy_object(Bucket="work", Key="b", CopySource="work/a")
    assert user.get_object(Bucket="work", Key="b")["Body"].read() == b"a"
    upload = user.create_multipart_upload(Bucket="work", Key="m")["UploadId"]
    user.upload_part(Bucket="work", Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    assert len(user.list_parts(Bucket="work", Key="m", UploadId=upload)["Parts"]) == 1
    user.abort_multipart_upload(Bucket="work", Key="m", UploadId=upload)
    user.put_bucket_policy(Bucket="work", Policy=json.dumps(
        policy(statement("Allow", "s3:GetObject", arn("work/*"), Principal="*"))))
    user.delete_bucket_policy(Bucket="work")
    user.delete_objects(Bucket="work", Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]})
    user.delete_bucket(Bucket="work")
    with refused("404", 404):
        user.head_object(Bucket="data", Key="missing")


def test_a_missing_key_is_404_only_to_those_who_may_list(server):
    reader = server.add_user("getter", allow("s3:GetObject", arn("data/*")))
    with denied():
        reader.get_object(Bucket="data", Key="missing")
    lister = server.add_user("lister", allow(["s3:GetObject", "s3:ListBucket"], [arn("data"), arn("data/*")]))
    with refused("NoSuchKey", 404):
        lister.get_object(Bucket="data", Key="missing")


def test_policy_sizes_and_names(server):
    document = json.dumps(allow("s3:GetObject", arn("data/*")))
    server.add_policy("exact", document.ljust(2048))
    with command_refused("2049"):
        server.add_policy("longer", document.ljust(2049))
    with command_refused("exists"):
        server.add_policy("exact", document)
    with command_refused("no policy"):
        server.cli("policy", "attach", "nonesuch", "owner")
    with command_refused("no user"):
        server.cli("policy", "attach", "exact", "nobody")
    with command_refused("no user"):
        server.cli("policy", "detach", "nobody")
    with command_refused("built in"):
        server.cli("policy", "remove", "readonly")
    server.add_user("holder", "exact")
    with command_refused("attached to holder"):
        server.cli("policy", "remove", "exact")
    server.cli("policy", "detach", "holder")
    server.cli("policy", "remove", "exact")


def test_the_limit_of_policies_and_users():
    from test_identity_store import Admin
    with Server() as server, Admin(server) as admin:
        document = json.dumps(allow("s3:GetObject", "*"))
        for index in range(1024):
            assert admin.call("POST", "/v1/policies", {"name": f"p{index}", "document": document}) == 201
        assert admin.call("POST", "/v1/policies", {"name": "one-more", "document": document}) == 409
        for index in range(1024):
            assert admin.call("POST", "/v1/users", {"name": f"user{index}", "secret": SECRET}) == 201
        assert admin.call("POST", "/v1/users", {"name": "one-more", "secret": SECRET}) == 409


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_files_belong_to_their_writers(server):
    def owners(*keys):
        found = {(os.stat(server.root / "data" / key).st_uid, os.stat(server.root / "data" / key).st_gid) for key in keys}
        assert len(found) == 1, found
        return found.pop()

    def write(client, name):
        client.put_object(Bucket="data", Key=f"{name}/deep/put", Body=b"put")
        client.copy_object(Bucket="data", Key=f"{name}/copy", CopySource="data/k")
        upload = client.create_multipart_upload(Bucket="data", Key=f"{name}/multipart")["UploadId"]
        part = client.upload_part(Bucket="data", Key=f"{name}/multipart", UploadId=upload, PartNumber=1, Body=b"part")
        complete(client, "data", f"{name}/multipart", upload, part)
        return owners(name, f"{name}/deep", f"{name}/deep/put", f"{name}/copy", f"{name}/multipart")

    owned = server.add_user("owned", owner=(21011, 31011))
    assert write(owned, "of-user") == (21011, 31011)
    assert write(server.s3_of(server.add_account("owned")), "of-account") == (21011, 31011)
    server.cli("user", "add", "default", "--policy", "readwrite", secret=SECRET)
    assert write(server.s3("default"), "of-default") == (0, 0)
    server.cli("user", "update", "owned", "--posix-uid", 21012)
    assert write(owned, "of-changed") == (21012, 31011)
    server.cli("bucket", "policy", "set-custom", "data", server.file(policy(
        statement("Allow", ["s3:PutObject", "s3:GetObject"], arn("data/*"), Principal="*"))))
    assert write(server.s3(), "of-anonymous") == (65534, 65534)
    server.cli("bucket", "policy", "unset", "data")
    owned.create_bucket(Bucket="of-owned")
    assert os.stat(server.root / "of-owned").st_uid == 21012


def test_headers_and_parameters_do_not_become_condition_values(server):
    """A request that says who it is in headers or its query is not believed."""
    user = server.add_user("forger", policy(
        statement("Allow", "s3:ListBucket", arn("data"), Condition={"StringEquals": {"aws:username": "admin"}}),
        statement("Allow", "s3:GetObject", arn("data/*"), Condition={"StringEquals": {"aws:PrincipalType": "Account"}}),
        statement("Allow", "s3:PutObject", arn("data/*"), Condition={"StringEquals": {"s3:ExistingObjectTag/a": "b"}}),
        statement("Allow", "s3:PutObjectTagging", arn("data/*"))))

    def forge(request, **_):
        for name in ("Username", "aws-username", "PrincipalType", "aws-PrincipalType", "s3-ExistingObjectTag-a"):
            request.headers[name] = "admin"
        separator = "&" if "?" in request.url else "?"
        request.url += f"{separator}username=admin&aws%3Ausername=admin&aws%3APrincipalType=Account&userid=admin"

    user.meta.events.register("before-sign.s3", forge)
    for call in (lambda: user.list_objects_v2(Bucket="data"), lambda: user.get_object(Bucket="data", Key="k"),
                 lambda: user.put_object(Bucket="data", Key="k", Body=b"forged", Tagging="a=b")):
        with denied():
            call()
    # The conditions do hold for whom they name.
    admin = server.add_user("admin", allow("s3:ListBucket", arn("data"),
                                           Condition={"StringEquals": {"aws:username": "admin"}}))
    admin.list_objects_v2(Bucket="data")


def test_source_address_and_agent_conditions(server):
    local = server.add_user("local", allow("s3:GetObject", arn("data/*"),
                                           Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))
    local.get_object(Bucket="data", Key="k")
    remote = server.add_user("remote", allow("s3:GetObject", arn("data/*"),
                                             Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))

    def claim(request, **_):
        request.headers["X-Forwarded-For"] = "10.0.0.1"
        request.headers["X-Real-IP"] = "10.0.0.1"

    remote.meta.events.register("before-sign.s3", claim)
    with denied():
        remote.get_object(Bucket="data", Key="k")
    secure = server.add_user("secure", policy(
        statement("Allow", "s3:*", "*"),
        statement("Deny", "s3:*", "*", Condition={"Bool": {"aws:SecureTransport": "false"}})))
    with denied():
        secure.list_buckets()


def test_home_directories(server):
    document = policy(
        statement("Allow", "s3:ListBucket", arn("data"),
                  Condition={"StringLike": {"s3:prefix": ["home/${aws:username}/*"]}}),
        statement("Allow", ["s3:GetObject", "s3:PutObject"], arn("data/home/${aws:username}/*")))
    server.add_policy("home", document)
    for name in ("anna", "bert"):
        server.add_user(name, "home").put_object(Bucket="data", Key=f"home/{name}/k", Body=b"k")
    anna = server.s3("anna")
    child = server.s3_of(server.add_account("anna"))
    for client in (anna, child):
        client.get_object(Bucket="data", Key="home/anna/k")
        client.list_objects_v2(Bucket="data", Prefix="home/anna/")
        for call in (lambda: client.get_object(Bucket="data", Key="home/bert/k"),
                     lambda: client.list_objects_v2(Bucket="data", Prefix="home/bert/"),
                     lambda: client.list_objects_v2(Bucket="data", Prefix="home/"),
                     lambda: client.put_object(Bucket="data", Key="home/anna", Body=b"")):
            with denied():
                call()


def test_calls_that_need_several_permissions(server):
    server.root_user.put_object(Bucket="data", Key="from/a", Body=b"a")
    copier = server.add_user("copier", allow("s3:PutObject", arn("data/to/*")))
    with denied():
        copier.copy_object(Bucket="data", Key="to/a", CopySource="data/from/a")
    server.add_policy("of-copier", policy(
        statement("Allow", "s3:PutObject", arn("data/to/*")), statement("Allow", "s3:GetObject", arn("data/from/*"))),
        "--replace")
    copier.copy_object(Bucket="data", Key="to/a", CopySource="data/from/a")
    with denied():
        copier.copy_object(Bucket="data", Key="from/b", CopySource="data/from/a")
    with denied():
        copier.put_object(Bucket="data", Key="to/tagged", Body=b"", Tagging="a=b")
    # A version is another permission than the object.
    with denied():
        copier.get_object(Bucket="data", Key="from/a", VersionId="null")
    with denied():
        copier.delete_object(Bucket="data", Key="to/a", VersionId="null")


def test_a_deletion_of_many_is_decided_key_by_key(server):
    for key in ("mine/a", "mine/b", "yours/c"):
        server.root_user.put_object(Bucket="data", Key=key, Body=b"")
    deleter = server.add_user("deleter", allow("s3:DeleteObject", arn("data/mine/*")))
    answer = deleter.delete_objects(Bucket="data", Delete={"Objects": [
        {"Key": "mine/a"}, {"Key": "yours/c"}, {"Key": "mine/b"}]})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == ["mine/a", "mine/b"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("yours/c", "AccessDenied")]
    server.root_user.get_object(Bucket="data", Key="yours/c")


def test_a_deny_beats_every_allow(server):
    user = server.add_user("torn", policy(
        statement("Allow", "s3:*", "*"), statement("Deny", "s3:DeleteObject", arn("data/kept/*"))))
    user.put_object(Bucket="data", Key="kept/a", Body=b"a")
    with denied():
        user.delete_object(Bucket="data", Key="kept/a")
    server.root_user.put_bucket_policy(Bucket="data", Policy=json.dumps(policy(
        statement("Allow", "s3:DeleteObject", arn("data/kept/*"), Principal="*"))))
    with denied():
        user.delete_object(Bucket="data", Key="kept/a")
    server.s3().delete_object(Bucket="data", Key="kept/a")
    server.root_user.delete_bucket_policy(Bucket="data")


def test_a_removed_user_is_gone_at_once(server):
    user = server.add_user("brief")
    user.list_buckets()
    server.cli("user", "remove", "brief")
    with refused("InvalidAccessKeyId", 403):
        user.list_buckets()
