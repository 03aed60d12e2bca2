"""Object ownership: whether lists count in a bucket, and whose the objects are that are written into it."""

import json
import os

import pytest
from botocore.exceptions import ClientError

import wire
from accounts import Refused, Server, allow, arn, denied, policy, refused, statement
from conftest import needs_root, new_bucket

KINDS = ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]


def controls(kind):
    return {"Rules": [{"ObjectOwnership": kind}]}


def kind_of(s3, bucket):
    [rule] = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    return rule["ObjectOwnership"]


def test_controls_are_put_shown_and_removed(server, s3):
    bucket = new_bucket(server)
    with refused("OwnershipControlsNotFoundError", 404):
        kind_of(s3, bucket)
    for kind in KINDS:
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls(kind))
        assert kind_of(s3, bucket) == kind
        s3.create_bucket(Bucket=f"{bucket}-{kind.lower()}", ObjectOwnership=kind)
        assert kind_of(s3, f"{bucket}-{kind.lower()}") == kind
    for rules in [[], [{"ObjectOwnership": "Nobody"}], controls(KINDS[0])["Rules"] * 2]:
        with refused("MalformedXML", 400):
            s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": rules})
    assert kind_of(s3, bucket) == "ObjectWriter"
    for _ in range(2):
        s3.delete_bucket_ownership_controls(Bucket=bucket)
        with refused("OwnershipControlsNotFoundError", 404):
            kind_of(s3, bucket)
    with refused("InvalidArgument", 400):
        s3.create_bucket(Bucket=f"{bucket}-other", ObjectOwnership="Nobody")
    for call in [lambda: kind_of(s3, "not-there"), lambda: s3.delete_bucket_ownership_controls(Bucket="not-there"),
                 lambda: s3.put_bucket_ownership_controls(Bucket="not-there", OwnershipControls=controls(KINDS[0]))]:
        with refused("NoSuchBucket", 404):
            call()


def test_where_lists_are_off(server, s3):
    """As a server is that was told nothing, and as a bucket is that was told BucketOwnerEnforced."""
    told, untold = new_bucket(server), new_bucket(server)
    s3.put_bucket_ownership_controls(Bucket=told, OwnershipControls=controls("BucketOwnerEnforced"))
    for bucket in [told, untold]:
        s3.put_object(Bucket=bucket, Key="a", Body=b"1")
        s3.put_object(Bucket=bucket, Key="a", Body=b"1", ACL="bucket-owner-full-control")
        s3.put_object_acl(Bucket=bucket, Key="a", ACL="bucket-owner-full-control")
        s3.put_bucket_acl(Bucket=bucket, ACL="bucket-owner-full-control")

        def calls(**acl):
            return [lambda: s3.put_object(Bucket=bucket, Key="b", Body=b"2", **acl),
                    lambda: s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a", **acl),
                    lambda: s3.create_multipart_upload(Bucket=bucket, Key="b", **acl),
                    lambda: s3.put_object_acl(Bucket=bucket, Key="a", **acl),
                    lambda: s3.put_bucket_acl(Bucket=bucket, **acl)]

        for acl in [{"ACL": "public-read"}, {"ACL": "public-read-write"}, {"ACL": "authenticated-read"},
                    {"GrantRead": "id=other"}, {"GrantFullControl": "id=other"}]:
            for call in calls(**acl):
                with refused("AccessControlListNotSupported", 400):
                    call()
        # Of a bucket nothing was said about, what gives nobody anything is taken: clients send it without being asked.
        for call in calls(ACL="private"):
            if bucket == untold:
                call()
            else:
                with refused("AccessControlListNotSupported", 400):
                    call()
        for answer in [s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="a")]:
            assert answer["Owner"]["ID"] == "writer"
            assert [(grant["Grantee"]["ID"], grant["Permission"]) for grant in answer["Grants"]] == [
                ("writer", "FULL_CONTROL")]
            # What is shown can be put back.
            whole = {"Owner": answer["Owner"], "Grants": answer["Grants"]}
            s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=whole)
            s3.put_object_acl(Bucket=bucket, Key="a", AccessControlPolicy=whole)
    s3.create_bucket(Bucket=f"{untold}-private", ACL="private")
    for acl in [{"ACL": "public-read"}, {"GrantRead": "id=other"}]:
        for more in [{}, {"ObjectOwnership": "BucketOwnerEnforced"}]:
            with refused("InvalidBucketAclWithObjectOwnership", 400):
                s3.create_bucket(Bucket=f"{untold}-new", **acl, **more)
    s3.create_bucket(Bucket=f"{untold}-new", ACL="public-read", ObjectOwnership="ObjectWriter")
    assert s3.get_bucket_policy_status(Bucket=untold)["PolicyStatus"]["IsPublic"] is False
    assert s3.get_bucket_policy_status(Bucket=f"{untold}-new")["PolicyStatus"]["IsPublic"] is True


def test_lists_come_with_every_way_to_write(server, s3):
    bucket = new_bucket(server)
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls("ObjectWriter"))
    data = os.urandom(6 * 1024 * 1024)
    s3.put_object(Bucket=bucket, Key="a", Body=data, ACL="public-read")
    s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a", ACL="public-read")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c", ACL="public-read")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="c", UploadId=upload, PartNumber=1, Body=data)
    s3.complete_multipart_upload(Bucket=bucket, Key="c", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    for key in "abc":
        assert unsigned(server, bucket, key) == (200, data)
    s3.put_object_acl(Bucket=bucket, Key="c", ACL="private")
    assert unsigned(server, bucket, "c")[0] == 403


def unsigned(server, bucket, key):
    """What a request without a signature gets, over whatever the server speaks."""
    answer = wire.ask_raw(server, wire.request("GET", f"/{bucket}/{key}", [("Host", "localhost")]))
    return answer.status, answer.body


OWN_BUCKETS = allow("s3:*", arn("*"), Condition={"StringEquals": {"sluicegate:BucketOwner": "${aws:username}"}})


@pytest.fixture
def two():
    """A server with the bucket `photos` of Alice's, where Bob may do what he likes."""
    with Server() as server:
        server.add_policy("own-buckets", OWN_BUCKETS)
        server.alice = server.add_user("alice", "own-buckets", owner=(20001, 30001))
        server.bob = server.add_user("bob", "own-buckets", owner=(20002, 30002))
        server.alice.create_bucket(Bucket="photos")
        open_to_all = {**statement("Allow", "*", [arn("photos"), arn("photos/*")]), "Principal": {"AWS": "*"}}
        server.alice.put_bucket_policy(Bucket="photos", Policy=json.dumps(policy(open_to_all)))
        yield server


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_whose_an_object_is(two, kind):
    alice, bob = two.alice, two.bob
    alice.put_bucket_ownership_controls(Bucket="photos", OwnershipControls=controls(kind))
    bob.put_object(Bucket="photos", Key="plain", Body=b"1")
    bob.put_object(Bucket="photos", Key="given", Body=b"2", ACL="bucket-owner-full-control")
    bob.copy_object(Bucket="photos", Key="copied", CopySource="photos/plain", ACL="bucket-owner-full-control")
    upload = bob.create_multipart_upload(Bucket="photos", Key="parts", ACL="bucket-owner-full-control")["UploadId"]
    expected = "alice" if kind != "ObjectWriter" else "bob"
    assert bob.list_parts(Bucket="photos", Key="parts", UploadId=upload)["Owner"]["ID"] == expected
    [entry] = bob.list_multipart_uploads(Bucket="photos")["Uploads"]
    assert (entry["Owner"]["ID"], entry["Initiator"]["ID"]) == (expected, "bob")
    part = bob.upload_part(Bucket="photos", Key="parts", UploadId=upload, PartNumber=1, Body=b"4")
    bob.complete_multipart_upload(Bucket="photos", Key="parts", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})

    def owner(key):
        return alice.get_object_acl(Bucket="photos", Key=key)["Owner"]["ID"]

    def file_owner(key):
        return {20001: "alice", 20002: "bob"}[os.stat(two.root / "photos" / key).st_uid]

    assert owner("plain") == ("alice" if kind == "BucketOwnerEnforced" else "bob")
    assert file_owner("plain") == "bob"
    for key in ["given", "copied", "parts"]:
        assert owner(key) == expected, key
        assert file_owner(key) == ("alice" if kind == "BucketOwnerPreferred" else "bob"), key
        assert os.stat(two.root / "photos" / key).st_gid == (30001 if file_owner(key) == "alice" else 30002)


@needs_root
def test_turning_lists_off(two):
    alice, bob, nobody = two.alice, two.bob, two.s3()
    alice.delete_bucket_policy(Bucket="photos")
    alice.put_bucket_ownership_controls(Bucket="photos", OwnershipControls=controls("ObjectWriter"))
    alice.put_bucket_acl(Bucket="photos", ACL="public-read-write")
    alice.put_object(Bucket="photos", Key="a", Body=b"1", ACL="public-read")
    bob.put_object(Bucket="photos", Key="b", Body=b"2")
    nobody.get_object(Bucket="photos", Key="a")
    with refused("InvalidBucketAclWithObjectOwnership", 400):
        alice.put_bucket_ownership_controls(Bucket="photos", OwnershipControls=controls("BucketOwnerEnforced"))

    def closed():
        for client in [bob, nobody]:
            for call in [lambda: client.get_object(Bucket="photos", Key="a"), lambda: client.list_objects(Bucket="photos"),
                         lambda: client.put_object(Bucket="photos", Key="c", Body=b"3")]:
                with denied():
                    call()
        with denied():
            bob.get_object(Bucket="photos", Key="b")
        assert len(alice.get_bucket_acl(Bucket="photos")["Grants"]) == 1
        assert len(alice.get_object_acl(Bucket="photos", Key="a")["Grants"]) == 1

    # Without controls they are off on this server; the lists stay, and have no effect.
    alice.delete_bucket_ownership_controls(Bucket="photos")
    closed()
    alice.put_bucket_ownership_controls(Bucket="photos", OwnershipControls=controls("BucketOwnerPreferred"))
    nobody.get_object(Bucket="photos", Key="a")
    bob.get_object(Bucket="photos", Key="b")
    alice.put_bucket_acl(Bucket="photos", ACL="private")
    alice.put_bucket_ownership_controls(Bucket="photos", OwnershipControls=controls("BucketOwnerEnforced"))
    closed()
    two.restart()
    alice, bob, nobody = two.s3("alice"), two.s3("bob"), two.s3()
    closed()
    # A damaged document turns them off.
    alice.put_bucket_ownership_controls(Bucket="photos", OwnershipControls=controls("ObjectWriter"))
    nobody.get_object(Bucket="photos", Key="a")
    file = two.root / ".sluicegate/buckets/photos/ownership.xml"
    file.write_bytes(file.read_bytes()[:-5])
    two.restart()
    alice, bob, nobody = two.s3("alice"), two.s3("bob"), two.s3()
    closed()
    assert kind_of(alice, "photos") == "BucketOwnerEnforced"


def test_the_setting_of_the_server():
    with pytest.raises(Refused) as failure:
        Server("--object-ownership", "Nobody")
    assert "object-ownership" in failure.value.text and "BucketOwnerEnforced" in failure.value.text
    for source in [{"options": ["--object-ownership", "BucketOwnerPreferred"]},
                   {"environment": {"SLUICEGATE_OBJECT_OWNERSHIP": "BucketOwnerPreferred"}}]:
        with Server(*source.get("options", []), environment=source.get("environment")) as server:
            writer = server.add_user("writer")
            writer.create_bucket(Bucket="photos", ACL="public-read")
            server.s3().list_objects_v2(Bucket="photos")
            with refused("OwnershipControlsNotFoundError", 404):
                kind_of(writer, "photos")
            writer.create_bucket(Bucket="closed", ObjectOwnership="BucketOwnerEnforced")
            with refused("AccessControlListNotSupported", 400):
                writer.put_object(Bucket="closed", Key="a", Body=b"1", ACL="public-read")


def test_the_permissions_it_needs():
    with Server() as server:
        writer = server.add_user("writer")
        writer.create_bucket(Bucket="photos")
        maker = server.add_user("maker", allow(["s3:CreateBucket", "s3:GetBucketOwnershipControls"], "*"))
        assert_denied = lambda call, **arguments: pytest.raises(ClientError, call, **arguments)
        for failure in [
            assert_denied(maker.create_bucket, Bucket="more", ObjectOwnership="ObjectWriter"),
            assert_denied(maker.create_bucket, Bucket="more", ACL="private"),
            assert_denied(maker.put_bucket_ownership_controls, Bucket="photos", OwnershipControls=controls(KINDS[0])),
            assert_denied(maker.delete_bucket_ownership_controls, Bucket="photos"),
        ]:
            assert failure.value.response["Error"]["Code"] == "AccessDenied"
        with refused("OwnershipControlsNotFoundError", 404):
            kind_of(maker, "photos")
