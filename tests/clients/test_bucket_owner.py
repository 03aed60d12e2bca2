"""`sluicegate:BucketOwner`: one policy that gives every user everything in buckets of their own, and nothing in those
of others; and the facts of buckets and objects that other conditions read."""

import json
import os

import pytest

from accounts import Server, allow, arn, denied, refused
from conftest import needs_root

OWN_BUCKETS = allow("s3:*", arn("*"), Condition={"StringEquals": {"sluicegate:BucketOwner": "${aws:username}"}})


@pytest.fixture
def server():
    with Server() as own_server:
        own_server.add_policy("own-buckets", OWN_BUCKETS)
        yield own_server


def names(s3):
    return [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


@needs_root
def test_each_user_in_their_own_buckets(server):
    alice = server.add_user("alice", "own-buckets", owner=(20001, 30001))
    bob = server.add_user("bob", "own-buckets", owner=(20002, 30002))
    admin = server.add_user("admin", "readwrite")
    alice.create_bucket(Bucket="photos", ACL="private")
    bob.create_bucket(Bucket="music")
    admin.create_bucket(Bucket="public")
    os.mkdir(server.root / "foreign")
    alice.put_object(Bucket="photos", Key="a", Body=b"1")
    assert alice.get_object(Bucket="photos", Key="a")["Body"].read() == b"1"
    for bucket in ["photos", "public", "foreign"]:
        with denied():
            bob.list_objects_v2(Bucket=bucket)
        with denied():
            bob.put_object(Bucket=bucket, Key="b", Body=b"2")
    with denied():
        bob.get_object(Bucket="photos", Key="a")
    with denied():
        bob.copy_object(Bucket="music", Key="a", CopySource="photos/a")
    with denied():
        bob.delete_bucket(Bucket="photos")
    with refused("BucketAlreadyExists", 409):
        bob.create_bucket(Bucket="photos")
    assert names(alice) == ["photos"] and names(bob) == ["music"]
    assert names(admin) == ["foreign", "music", "photos", "public"]
    # Who may name the user in a directory of somebody else gives that user nothing.
    for directory, owner in [("foreign", (0, 0)), ("public", (20001, 30001))]:
        os.chown(server.root / directory, *owner)
        os.setxattr(server.root / directory, "user.s3.bucket", os.getxattr(server.root / "music", "user.s3.bucket"))
        with denied():
            bob.list_objects_v2(Bucket=directory)
    assert names(bob) == ["music"]
    # A new user of the same name has made nothing.
    server.cli("user", "remove", "bob")
    bob = server.add_user("bob", "own-buckets", owner=(20002, 30002))
    with denied():
        bob.list_objects_v2(Bucket="music")
    assert names(bob) == []


def test_tags_in_conditions(server):
    admin = server.add_user("admin", "readwrite")
    reader = server.add_user("reader", None)
    admin.create_bucket(Bucket="photos")
    admin.put_object(Bucket="photos", Key="public", Body=b"1", Tagging="access=public")
    admin.put_object(Bucket="photos", Key="secret", Body=b"2", Tagging="access=secret")
    admin.put_object(Bucket="photos", Key="plain", Body=b"3")

    def policy(action, key, value):
        statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": action, "Resource": arn("photos/*"),
                     "Condition": {"StringEquals": {key: value}}}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        admin.put_bucket_policy(Bucket="photos", Policy=json.dumps(document))

    policy("s3:GetObject", "s3:ExistingObjectTag/access", "public")
    assert reader.get_object(Bucket="photos", Key="public")["Body"].read() == b"1"
    for key in ["secret", "plain", "missing"]:
        with denied():
            reader.get_object(Bucket="photos", Key=key)
    policy(["s3:PutObject", "s3:PutObjectTagging"], "s3:RequestObjectTag/access", "public")
    reader.put_object(Bucket="photos", Key="new", Body=b"4", Tagging="team=red&access=public")
    for tags in [{}, {"Tagging": "access=secret"}]:
        with denied():
            reader.put_object(Bucket="photos", Key="new", Body=b"5", **tags)
    policy("s3:GetObject", "aws:ResourceTag/access", "public")
    with denied():
        reader.get_object(Bucket="photos", Key="public")
    admin.put_bucket_tagging(Bucket="photos", Tagging={"TagSet": [{"Key": "access", "Value": "public"}]})
    assert reader.get_object(Bucket="photos", Key="secret")["Body"].read() == b"2"
