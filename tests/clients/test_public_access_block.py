"""The public access block: each of its switches against what it is for."""

import json

import pytest

from accounts import Server, allow, arn, command_refused, denied, policy, refused, statement
from conftest import needs_root, new_bucket

pytestmark = needs_root  # The owner of a bucket is told by its UID.

SWITCHES = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
OWN_BUCKETS = allow("s3:*", arn("*"), Condition={"StringEquals": {"sluicegate:BucketOwner": "${aws:username}"}})
EVERYBODY, BOB = {"Principal": "*"}, {"Principal": {"AWS": "arn:aws:iam::000000000000:user/bob"}}


def block(*switches):
    return {name: name in switches for name in SWITCHES}


@pytest.fixture(scope="module")
def one():
    with Server("--object-ownership", "ObjectWriter") as server:
        server.add_policy("own-buckets", OWN_BUCKETS)
        server.alice = server.add_user("alice", "own-buckets", owner=(20001, 30001))
        server.bob = server.add_user("bob", "own-buckets", owner=(20002, 30002))
        server.reader = server.add_user("reader", "readonly", owner=(20003, 30003))
        server.nobody = server.s3()
        yield server


numbers = iter(range(1, 1000))


@pytest.fixture
def photos(one):
    """A bucket of Alice's with a public object."""
    name = f"photos-{next(numbers)}"
    one.alice.create_bucket(Bucket=name, ACL="public-read")
    one.alice.put_object(Bucket=name, Key="a", Body=b"1", ACL="public-read")
    return name


def put(server, bucket, *switches):
    server.alice.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block(*switches))


def put_policy(server, bucket, actions, principal):
    document = policy({**statement("Allow", actions, [arn(bucket), arn(f"{bucket}/*")]), **principal})
    server.alice.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


def test_it_is_put_shown_and_removed(server, s3):
    bucket = new_bucket(server)
    get = lambda: s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        get()
    for switches in [[], SWITCHES[:1], SWITCHES[1:], SWITCHES]:
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block(*switches))
        assert get() == block(*switches)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
    assert get() == block("BlockPublicPolicy")
    for _ in range(2):
        s3.delete_public_access_block(Bucket=bucket)
        with refused("NoSuchPublicAccessBlockConfiguration", 404):
            get()
    with refused("NoSuchBucket", 404):
        s3.get_public_access_block(Bucket="not-there")


def test_block_public_acls(one, photos):
    alice = one.alice
    put(one, photos, "BlockPublicAcls")
    for acl in [{"ACL": "public-read"}, {"ACL": "public-read-write"}, {"ACL": "authenticated-read"},
                {"GrantRead": "uri=http://acs.amazonaws.com/groups/global/AllUsers"}]:
        for call in [lambda: alice.put_bucket_acl(Bucket=photos, **acl),
                     lambda: alice.put_object_acl(Bucket=photos, Key="a", **acl),
                     lambda: alice.put_object(Bucket=photos, Key="b", Body=b"2", **acl),
                     lambda: alice.copy_object(Bucket=photos, Key="b", CopySource=f"{photos}/a", **acl),
                     lambda: alice.create_multipart_upload(Bucket=photos, Key="b", **acl)]:
            with denied():
                call()
    # What stands, stays; what is not public is not blocked.
    one.nobody.get_object(Bucket=photos, Key="a")
    one.nobody.list_objects_v2(Bucket=photos)
    alice.put_object(Bucket=photos, Key="b", Body=b"2", GrantRead="id=bob")
    one.bob.get_object(Bucket=photos, Key="b")
    alice.put_object_acl(Bucket=photos, Key="a", ACL="private")
    with denied():
        one.nobody.get_object(Bucket=photos, Key="a")


def test_ignore_public_acls(one, photos):
    alice, bob, nobody = one.alice, one.bob, one.nobody
    alice.put_object(Bucket=photos, Key="b", Body=b"2", GrantRead="id=bob")
    assert alice.get_bucket_policy_status(Bucket=photos)["PolicyStatus"]["IsPublic"] is True
    put(one, photos, "IgnorePublicAcls")
    assert alice.get_bucket_policy_status(Bucket=photos)["PolicyStatus"]["IsPublic"] is False
    for client in [bob, nobody]:
        with denied():
            client.get_object(Bucket=photos, Key="a")
        with denied():
            client.list_objects_v2(Bucket=photos)
    bob.get_object(Bucket=photos, Key="b")
    alice.put_object(Bucket=photos, Key="c", Body=b"3", ACL="public-read")
    assert len(alice.get_object_acl(Bucket=photos, Key="c")["Grants"]) == 2
    alice.delete_public_access_block(Bucket=photos)
    nobody.get_object(Bucket=photos, Key="c")


def test_block_public_policy(one, photos):
    put_policy(one, photos, "s3:GetObject", EVERYBODY)
    put(one, photos, "BlockPublicPolicy")
    for actions in ["s3:GetObject", "s3:*"]:
        with denied():
            put_policy(one, photos, actions, EVERYBODY)
    with command_refused("BlockPublicPolicy"):
        one.cli("bucket", "policy", "set", photos, "public")
    # The one that stands, stays.
    one.alice.put_object_acl(Bucket=photos, Key="a", ACL="private")
    one.nobody.get_object(Bucket=photos, Key="a")
    put_policy(one, photos, "s3:GetObject", BOB)
    with denied():
        one.nobody.get_object(Bucket=photos, Key="a")
    one.bob.get_object(Bucket=photos, Key="a")
    with denied():
        put_policy(one, photos, "s3:GetObject", EVERYBODY)
    one.alice.delete_public_access_block(Bucket=photos)
    put_policy(one, photos, "s3:GetObject", EVERYBODY)


def test_restrict_public_buckets(one, photos):
    alice, bob, reader, nobody = one.alice, one.bob, one.reader, one.nobody
    alice.put_bucket_acl(Bucket=photos, ACL="private")
    alice.put_object_acl(Bucket=photos, Key="a", ACL="private")
    put_policy(one, photos, ["s3:GetObject", "s3:ListBucket"], EVERYBODY)
    for client in [bob, nobody]:
        client.get_object(Bucket=photos, Key="a")
    put(one, photos, "RestrictPublicBuckets")
    for client in [bob, nobody]:
        with denied():
            client.get_object(Bucket=photos, Key="a")
        with denied():
            client.list_objects_v2(Bucket=photos)
    # Who has rights of their own, or is given some by name, keeps them.
    for client in [alice, reader]:
        client.get_object(Bucket=photos, Key="a")
    alice.put_object_acl(Bucket=photos, Key="a", GrantRead="id=bob")
    bob.get_object(Bucket=photos, Key="a")
    with denied():
        bob.list_objects_v2(Bucket=photos)
    put_policy(one, photos, ["s3:GetObject", "s3:ListBucket"], BOB)
    bob.list_objects_v2(Bucket=photos)
    # The owner, also one whom only the public policy allows anything.
    maker = one.add_user(f"maker-{photos}", allow(["s3:CreateBucket", "s3:PutBucketPolicy"], "*"), owner=(20007, 30007))
    maker.create_bucket(Bucket=f"{photos}-made")
    document = policy({**statement("Allow", "s3:*", [arn(f"{photos}-made"), arn(f"{photos}-made/*")]), **EVERYBODY})
    maker.put_bucket_policy(Bucket=f"{photos}-made", Policy=json.dumps(document))
    maker.put_public_access_block(Bucket=f"{photos}-made", PublicAccessBlockConfiguration=block(*SWITCHES))
    maker.get_bucket_location(Bucket=f"{photos}-made")
    for client in [bob, nobody]:
        with denied():
            client.list_objects_v2(Bucket=f"{photos}-made")


def test_it_lasts_and_a_damaged_one_is_the_strictest(one, photos):
    put(one, photos, "IgnorePublicAcls")
    one.restart()
    one.alice, one.bob, one.reader, one.nobody = (one.s3(name) for name in ["alice", "bob", "reader", None])
    with denied():
        one.nobody.get_object(Bucket=photos, Key="a")
    file = one.root / ".sluicegate/buckets" / photos / "public-access-block.xml"
    file.write_bytes(b"<PublicAccessBlockConfiguration>")
    one.restart()
    one.alice, one.bob, one.reader, one.nobody = (one.s3(name) for name in ["alice", "bob", "reader", None])
    answer = one.alice.get_public_access_block(Bucket=photos)
    assert answer["PublicAccessBlockConfiguration"] == block(*SWITCHES)
    one.alice.delete_object(Bucket=photos, Key="a")
    one.alice.delete_bucket(Bucket=photos)
    one.alice.create_bucket(Bucket=photos)
    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        one.alice.get_public_access_block(Bucket=photos)
