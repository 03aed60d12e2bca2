"""Access control lists: what they give, to whom, and what keeps them from giving more. All on a server where buckets
without ownership controls have ObjectWriter, and with users whose policy reaches no further than their own buckets, so
that what they may do elsewhere comes from lists alone."""

import json
import os

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from accounts import SECRET, Server, allow, arn, denied, policy, refused, statement
from conftest import needs_root

pytestmark = needs_root  # Owners are told apart by the UIDs of their files.

OWN_BUCKETS = allow("s3:*", arn("*"), Condition={"StringEquals": {"sluicegate:BucketOwner": "${aws:username}"}})
ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
SIGNED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
ALICE, BOB, CAROL = (20001, 30001), (20002, 30002), (20003, 30003)


@pytest.fixture(scope="module")
def server():
    with Server("--object-ownership", "ObjectWriter") as server:
        server.add_policy("own-buckets", OWN_BUCKETS)
        server.alice = server.add_user("alice", "own-buckets", owner=ALICE)
        server.bob = server.add_user("bob", "own-buckets", owner=BOB)
        server.carol = server.add_user("carol", None, owner=CAROL)
        server.nobody = server.s3()
        yield server


numbers = iter(range(1, 1000))


@pytest.fixture
def bucket(server):
    """A bucket of Alice's with an object of hers."""
    name = f"lists-{next(numbers)}"
    server.alice.create_bucket(Bucket=name)
    server.alice.put_object(Bucket=name, Key="a", Body=b"1")
    return name


def grants(answer):
    """The grants of a list, as it shows them."""
    shown = []
    for grant in answer["Grants"]:
        grantee = grant["Grantee"]
        assert grantee["Type"] == ("Group" if "URI" in grantee else "CanonicalUser")
        assert grantee.get("ID") == grantee.get("DisplayName")
        shown.append((grantee.get("URI") or grantee["ID"], grant["Permission"]))
    return shown


def user(name, permission):
    return {"Grantee": {"Type": "CanonicalUser", "ID": name}, "Permission": permission}


def listed(owner, *entries):
    return {"Owner": {"ID": owner}, "Grants": list(entries)}


def body(answer):
    return answer["Body"].read()


CANNED = {
    "private": [("alice", "FULL_CONTROL")],
    "public-read": [(ALL, "READ"), ("alice", "FULL_CONTROL")],
    "public-read-write": [(ALL, "READ"), (ALL, "WRITE"), ("alice", "FULL_CONTROL")],
    "authenticated-read": [(SIGNED, "READ"), ("alice", "FULL_CONTROL")],
}


@pytest.mark.parametrize("canned", CANNED)
def test_canned_lists_are_shown(server, bucket, canned):
    alice = server.alice
    alice.put_bucket_acl(Bucket=bucket, ACL=canned)
    alice.put_object_acl(Bucket=bucket, Key="a", ACL=canned)
    alice.put_object(Bucket=bucket, Key="b", Body=b"2", ACL=canned)
    alice.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/a", ACL=canned)
    upload = alice.create_multipart_upload(Bucket=bucket, Key="d", ACL=canned)["UploadId"]
    part = alice.upload_part(Bucket=bucket, Key="d", UploadId=upload, PartNumber=1, Body=b"4")
    alice.complete_multipart_upload(Bucket=bucket, Key="d", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    for answer in [alice.get_bucket_acl(Bucket=bucket),
                   *[alice.get_object_acl(Bucket=bucket, Key=key) for key in "abcd"]]:
        assert answer["Owner"] == {"ID": "alice", "DisplayName": "alice"}
        assert grants(answer) == CANNED[canned]
    alice.create_bucket(Bucket=f"{bucket}-new", ACL=canned)
    assert grants(alice.get_bucket_acl(Bucket=f"{bucket}-new")) == CANNED[canned]


def test_what_the_list_of_an_object_gives(server, bucket):
    alice, bob, carol, nobody = server.alice, server.bob, server.carol, server.nobody

    def readers():
        found = [name for name, client in [("bob", bob), ("carol", carol), ("nobody", nobody)] if may(client.get_object)]
        for name, client in [("bob", bob), ("carol", carol), ("nobody", nobody)]:
            assert may(client.head_object) == (name in found)
        return found

    def may(call, **more):
        try:
            call(Bucket=bucket, Key="a", **more)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error
            return False
        return True

    assert readers() == []
    for canned, expected in [("public-read", ["bob", "carol", "nobody"]), ("authenticated-read", ["bob", "carol"]),
                             ("bucket-owner-read", []), ("public-read-write", ["bob", "carol", "nobody"])]:
        alice.put_object_acl(Bucket=bucket, Key="a", ACL=canned)
        assert readers() == expected, canned
        for client in [bob, nobody]:
            assert not may(client.get_object_acl) and not may(client.put_object_acl, ACL="private")
            assert not may(client.put_object, Body=b"2") and not may(client.delete_object)
            assert not may(client.get_object_tagging) and not may(client.copy_object, CopySource=f"{bucket}/a")
            with denied():
                client.list_objects_v2(Bucket=bucket)
    # It is read as any object is: a copy, a range, a condition.
    bob.create_bucket(Bucket=f"{bucket}-bob")
    bob.copy_object(Bucket=f"{bucket}-bob", Key="copy", CopySource=f"{bucket}/a")
    alice.put_object_acl(Bucket=bucket, Key="a", GrantRead='id="bob"', GrantReadACP="id=carol")
    assert readers() == ["bob"]
    assert not may(carol.get_object) and may(carol.get_object_acl) and not may(bob.get_object_acl)
    alice.put_object_acl(Bucket=bucket, Key="a", AccessControlPolicy=listed("alice", user("carol", "WRITE_ACP")))
    assert not may(carol.get_object_acl)
    carol.put_object_acl(Bucket=bucket, Key="a", AccessControlPolicy=listed("alice", user("carol", "FULL_CONTROL")))
    assert may(carol.get_object) and may(carol.get_object_acl) and not may(carol.put_object, Body=b"3")
    assert carol.get_object_acl(Bucket=bucket, Key="a")["Owner"]["ID"] == "alice"
    assert not may(carol.delete_object)


def test_what_the_list_of_a_bucket_gives(server, bucket):
    alice, carol, nobody = server.alice, server.carol, server.nobody
    calls = {
        "READ": [lambda: carol.list_objects(Bucket=bucket), lambda: carol.list_objects_v2(Bucket=bucket),
                 lambda: carol.list_object_versions(Bucket=bucket), lambda: carol.list_multipart_uploads(Bucket=bucket)],
        "WRITE": [lambda: carol.put_object(Bucket=bucket, Key="c", Body=b"3"),
                  lambda: carol.put_object(Bucket=bucket, Key="c", Body=b"3", ACL="private"),
                  lambda: carol.delete_object(Bucket=bucket, Key="c")],
        "READ_ACP": [lambda: carol.get_bucket_acl(Bucket=bucket)],
        "WRITE_ACP": [lambda: carol.put_bucket_acl(Bucket=bucket, GrantFullControl="id=alice", GrantWriteACP="id=carol")],
    }
    never = [lambda: carol.get_object(Bucket=bucket, Key="a"), lambda: carol.delete_bucket(Bucket=bucket),
             lambda: carol.get_bucket_policy(Bucket=bucket), lambda: carol.get_bucket_location(Bucket=bucket),
             lambda: carol.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []}),
             lambda: carol.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": []}),
             lambda: carol.put_object(Bucket=bucket, Key="c", Body=b"3", Tagging="a=b"),
             lambda: carol.delete_object(Bucket=bucket, Key="a", VersionId="null"),
             lambda: nobody.list_objects(Bucket=bucket)]
    for given in [*calls, "FULL_CONTROL"]:
        alice.put_bucket_acl(Bucket=bucket, AccessControlPolicy=listed("alice", user("alice", "FULL_CONTROL"),
                                                                       user("carol", given)))
        for call in never:
            with denied():
                call()
        for permission, some in calls.items():
            for call in some:
                if given in [permission, "FULL_CONTROL"]:
                    call()
                else:
                    with denied():
                        call()


def test_objects_belong_to_who_wrote_them(server, bucket):
    alice, carol, nobody = server.alice, server.carol, server.nobody
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    carol.put_object(Bucket=bucket, Key="hers", Body=b"3")
    assert os.stat(server.root / bucket / "hers").st_uid == CAROL[0]
    assert body(carol.get_object(Bucket=bucket, Key="hers")) == b"3"
    assert grants(carol.get_object_acl(Bucket=bucket, Key="hers")) == [("carol", "FULL_CONTROL")]
    with denied():
        server.bob.get_object(Bucket=bucket, Key="hers")
    carol.put_object(Bucket=bucket, Key="shared", Body=b"4", ACL="bucket-owner-full-control")
    assert grants(carol.get_object_acl(Bucket=bucket, Key="shared")) == [("carol", "FULL_CONTROL"),
                                                                         ("alice", "FULL_CONTROL")]
    carol.put_object_acl(Bucket=bucket, Key="hers", ACL="bucket-owner-read")
    assert grants(carol.get_object_acl(Bucket=bucket, Key="hers")) == [("carol", "FULL_CONTROL"), ("alice", "READ")]
    # Nobody owns what nobody wrote, also not everybody else without a signature.
    nobody.put_object(Bucket=bucket, Key="nobodys", Body=b"5")
    assert os.stat(server.root / bucket / "nobodys").st_uid == 65534
    for client in [nobody, carol]:
        with denied():
            client.get_object(Bucket=bucket, Key="nobodys")
    nobody.put_object(Bucket=bucket, Key="nobodys", Body=b"5", ACL="public-read")
    assert body(nobody.get_object(Bucket=bucket, Key="nobodys")) == b"5"
    answer = alice.get_object_acl(Bucket=bucket, Key="nobodys")
    assert answer["Owner"]["ID"] == "uid-65534"
    assert grants(answer) == [(ALL, "READ"), ("uid-65534", "FULL_CONTROL")]
    # Overwriting is writing: the object is then of who did, and as open as they say.
    carol.put_object(Bucket=bucket, Key="nobodys", Body=b"6")
    with denied():
        nobody.get_object(Bucket=bucket, Key="nobodys")
    assert body(carol.get_object(Bucket=bucket, Key="nobodys")) == b"6"


def test_uploads_in_parts_by_others(server, bucket):
    alice, carol = server.alice, server.carol
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    upload = carol.create_multipart_upload(Bucket=bucket, Key="big", ACL="public-read")["UploadId"]
    part = carol.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"5" * 100)
    answer = carol.list_parts(Bucket=bucket, Key="big", UploadId=upload)
    assert (answer["Owner"]["ID"], answer["Initiator"]["ID"]) == ("carol", "carol")
    server.restart()
    alice, carol = server.s3("alice"), server.s3("carol")
    carol.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert body(server.s3("bob").get_object(Bucket=bucket, Key="big")) == b"5" * 100
    upload = carol.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read")
    with denied():
        carol.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload)
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    carol.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload)
    server.alice, server.bob, server.carol, server.nobody = alice, server.s3("bob"), carol, server.s3()


def test_a_list_leaves_the_object_as_it_is(server, bucket):
    alice = server.alice
    alice.put_object(Bucket=bucket, Key="a", Body=b"1", Metadata={"m": "x"}, Tagging="t=1", ContentType="text/plain")
    before, stat = alice.head_object(Bucket=bucket, Key="a"), os.stat(server.root / bucket / "a")
    alice.put_object_acl(Bucket=bucket, Key="a", ACL="public-read")
    after = alice.head_object(Bucket=bucket, Key="a")
    for name in ["ETag", "LastModified", "Metadata", "ContentType", "TagCount", "ContentLength"]:
        assert after[name] == before[name], name
    assert os.stat(server.root / bucket / "a").st_mtime_ns == stat.st_mtime_ns
    # Tags and lists are changed one without the other.
    alice.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": []})
    assert body(server.nobody.get_object(Bucket=bucket, Key="a")) == b"1"
    server.restart()
    server.alice, server.bob, server.carol, server.nobody = (server.s3(name) for name in ["alice", "bob", "carol", None])
    assert body(server.nobody.get_object(Bucket=bucket, Key="a")) == b"1"
    assert grants(server.alice.get_object_acl(Bucket=bucket, Key="a")) == CANNED["public-read"]
    # A copy and a new object of the key begin without.
    server.alice.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/a")
    server.alice.put_object(Bucket=bucket, Key="a", Body=b"2")
    for key in ["a", "copy"]:
        assert grants(server.alice.get_object_acl(Bucket=bucket, Key=key)) == CANNED["private"]
    server.alice.put_object_acl(Bucket=bucket, Key="a", ACL="public-read", VersionId="null")
    assert grants(server.alice.get_object_acl(Bucket=bucket, Key="a", VersionId="null")) == CANNED["public-read"]
    with refused("NoSuchVersion", 404):
        server.alice.get_object_acl(Bucket=bucket, Key="a", VersionId="0" * 32)
    with refused("InvalidArgument", 400):
        server.alice.get_object_acl(Bucket=bucket, Key="a", VersionId="other")
    for version in ["null", "0" * 32, "other"]:
        with denied():
            server.bob.get_object_acl(Bucket=bucket, Key="a", VersionId=version)


def test_lists_that_are_refused(server, bucket):
    alice = server.alice
    everybody = {"Grantee": {"Type": "Group", "URI": ALL}, "Permission": "READ"}
    mail = {"Grantee": {"Type": "AmazonCustomerByEmail", "EmailAddress": "x@example.com"}, "Permission": "READ"}
    logs = {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"}, "Permission": "WRITE"}

    def check(code, status, **arguments):
        for call in [lambda: alice.put_bucket_acl(Bucket=bucket, **arguments),
                     lambda: alice.put_object_acl(Bucket=bucket, Key="a", **arguments)]:
            with refused(code, status):
                call()

    check("AccessDenied", 403, AccessControlPolicy=listed("bob", everybody))
    check("MalformedACLError", 400, AccessControlPolicy={"Grants": [everybody]})
    check("MalformedACLError", 400, AccessControlPolicy=listed("alice", *[everybody] * 101))
    check("MalformedACLError", 400, AccessControlPolicy=listed("alice", user("bob", "ALL")))
    check("InvalidArgument", 400, AccessControlPolicy=listed("alice", user("nobody-of-this-name", "READ")))
    check("UnresolvableGrantByEmailAddress", 400, AccessControlPolicy=listed("alice", mail))
    check("NotImplemented", 501, AccessControlPolicy=listed("alice", logs))
    check("NotImplemented", 501, ACL="log-delivery-write")
    check("InvalidArgument", 400, ACL="public")
    check("InvalidArgument", 400, GrantRead="bob")
    check("InvalidRequest", 400, ACL="private", GrantRead="id=bob")
    check("MissingSecurityHeader", 400)
    check("UnexpectedContent", 400, ACL="private", AccessControlPolicy=listed("alice", everybody))
    for arguments in [{"ACL": "public"}, {"GrantRead": "id=nobody-of-this-name"}]:
        for call in [lambda: alice.put_object(Bucket=bucket, Key="a", Body=b"2", **arguments),
                     lambda: alice.copy_object(Bucket=bucket, Key="a", CopySource=f"{bucket}/a",
                                               MetadataDirective="REPLACE", **arguments),
                     lambda: alice.create_multipart_upload(Bucket=bucket, Key="a", **arguments),
                     lambda: alice.create_bucket(Bucket=f"{bucket}-2", **arguments)]:
            with refused("InvalidArgument", 400):
                call()
    assert body(alice.get_object(Bucket=bucket, Key="a")) == b"1"
    with refused("NoSuchBucket", 404):
        alice.list_objects(Bucket=f"{bucket}-2")
    assert grants(alice.get_bucket_acl(Bucket=bucket)) == CANNED["private"]
    assert grants(alice.get_object_acl(Bucket=bucket, Key="a")) == CANNED["private"]
    # As many as there may be, and a list that gives nobody anything.
    alice.put_bucket_acl(Bucket=bucket, AccessControlPolicy=listed("alice", *[everybody] * 100))
    assert len(alice.get_bucket_acl(Bucket=bucket)["Grants"]) == 100
    alice.put_object_acl(Bucket=bucket, Key="a", AccessControlPolicy=listed("alice"))
    assert grants(alice.get_object_acl(Bucket=bucket, Key="a")) == []


def test_a_deny_binds(server, bucket):
    alice = server.alice
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    alice.put_object_acl(Bucket=bucket, Key="a", ACL="public-read")
    deny = {**statement("Deny", ["s3:GetObject", "s3:PutObject", "s3:ListBucket"], [arn(bucket), arn(f"{bucket}/*")]),
            "Principal": "*"}
    alice.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy(deny)))
    for client in [server.bob, server.nobody, server.carol]:
        with denied():
            client.get_object(Bucket=bucket, Key="a")
        with denied():
            client.list_objects_v2(Bucket=bucket)
        with denied():
            client.put_object(Bucket=bucket, Key="b", Body=b"2")
    alice.delete_bucket_policy(Bucket=bucket)
    assert body(server.nobody.get_object(Bucket=bucket, Key="a")) == b"1"
    # Of the user's own policy as well.
    server.add_policy(f"deny-{bucket}", policy(statement("Deny", "s3:GetObject", arn(f"{bucket}/*"))))
    bound = server.add_user(f"bound-{bucket}", f"deny-{bucket}", owner=(20009, 30009))
    with denied():
        bound.get_object(Bucket=bucket, Key="a")
    bound.list_objects_v2(Bucket=bucket)


def test_keys_with_a_limit_reach_no_further(server, bucket):
    alice = server.alice
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    for key in ["a", "b"]:
        alice.put_object(Bucket=bucket, Key=key, Body=b"1", ACL="public-read")
    only_a = allow("s3:GetObject", arn(f"{bucket}/a"))
    sts = boto3.client("sts", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id="bob",
                       aws_secret_access_key=SECRET, config=botocore.config.Config(retries={"total_max_attempts": 1}))
    role = {"RoleArn": "arn:x:any:role:of:none:at:all", "RoleSessionName": "test"}
    session = sts.assume_role(**role, Policy=json.dumps(only_a))["Credentials"]
    wide = sts.assume_role(**role)["Credentials"]

    def of_session(keys):
        return boto3.client(
            "s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
            config=botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}))

    for limited in [server.s3_of(server.add_account("bob", only_a)), of_session(session)]:
        assert body(limited.get_object(Bucket=bucket, Key="a")) == b"1"
        for call in [lambda: limited.get_object(Bucket=bucket, Key="b"), lambda: limited.list_objects_v2(Bucket=bucket),
                     lambda: limited.put_object(Bucket=bucket, Key="c", Body=b"2"),
                     lambda: limited.get_object(Bucket=bucket, Key="missing")]:
            with denied():
                call()
    for unlimited in [server.s3_of(server.add_account("bob")), of_session(wide)]:
        assert body(unlimited.get_object(Bucket=bucket, Key="b")) == b"1"
        unlimited.put_object(Bucket=bucket, Key="of-bob", Body=b"2")
        # They are their user, also as an owner and as a grantee.
        assert body(unlimited.get_object(Bucket=bucket, Key="of-bob")) == b"2"
        alice.put_object(Bucket=bucket, Key="b", Body=b"1", GrantRead="id=bob")
        assert body(unlimited.get_object(Bucket=bucket, Key="b")) == b"1"
    with refused("InvalidArgument", 400):
        alice.put_object_acl(Bucket=bucket, Key="b", GrantRead=f"id={server.add_account('bob')['access_key']}")


def test_a_forged_list_opens_its_own_object_alone(server, bucket):
    alice, nobody = server.alice, server.nobody
    alice.put_object(Bucket=bucket, Key="b", Body=b"2")
    path = server.root / bucket / "a"
    record = os.getxattr(path, "user.s3")

    def forge(field):
        os.setxattr(path, "user.s3", record + field)

    forge(bytes([19, 1, 0x41]))  # FULL_CONTROL for everybody.
    assert body(nobody.get_object(Bucket=bucket, Key="a")) == b"1"
    assert grants(nobody.get_object_acl(Bucket=bucket, Key="a")) == [(ALL, "FULL_CONTROL")]
    for call in [lambda: nobody.put_object(Bucket=bucket, Key="a", Body=b"3"),
                 lambda: nobody.delete_object(Bucket=bucket, Key="a"),
                 lambda: nobody.get_object(Bucket=bucket, Key="b"),
                 lambda: nobody.get_object_tagging(Bucket=bucket, Key="a"),
                 lambda: nobody.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": []}),
                 lambda: nobody.list_objects_v2(Bucket=bucket), lambda: nobody.get_bucket_acl(Bucket=bucket),
                 lambda: nobody.put_object(Bucket=bucket, Key="a/b", Body=b"3")]:
        with denied():
            call()
    # It does not stay with the name: the next object of the key is as its writer wants it.
    alice.put_object(Bucket=bucket, Key="a", Body=b"4")
    with denied():
        nobody.get_object(Bucket=bucket, Key="a")
    # Where lists are off, it means nothing.
    record = os.getxattr(path, "user.s3")
    forge(bytes([19, 1, 0x41]))
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    alice.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    with denied():
        nobody.get_object(Bucket=bucket, Key="a")
    alice.delete_bucket_ownership_controls(Bucket=bucket)
    # One that cannot be read makes the record one that cannot be read, which gives nobody anything.
    for field in [b"\x13\x01\x40", b"\x13\x01\x51", b"\x13\x01\x43", b"\x13\x02\x43\x00", b"\x13\x02\x43\x7f",
                  b"\x13\x03\x43\x01-", b"\x13\x65" + b"\x41" * 101, b"\x13\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"]:
        forge(field)
        with denied():
            nobody.get_object(Bucket=bucket, Key="a")
        assert grants(alice.get_object_acl(Bucket=bucket, Key="a")) == CANNED["private"]
        assert body(alice.get_object(Bucket=bucket, Key="a")) == b"4"


def test_files_of_other_programs(server, bucket):
    alice, carol = server.alice, server.carol
    for name, owner in [("of-carol", CAROL), ("of-root", (0, 0))]:
        (server.root / bucket / name).write_text("5")
        os.chown(server.root / bucket / name, *owner)
    assert body(carol.get_object(Bucket=bucket, Key="of-carol")) == b"5"
    assert grants(carol.get_object_acl(Bucket=bucket, Key="of-carol")) == [("carol", "FULL_CONTROL")]
    with denied():
        carol.get_object(Bucket=bucket, Key="of-root")
    answer = alice.get_object_acl(Bucket=bucket, Key="of-root")
    assert answer["Owner"]["ID"] == "uid-0" and grants(answer) == [("uid-0", "FULL_CONTROL")]
    alice.put_object_acl(Bucket=bucket, Key="of-root", AccessControlPolicy=listed(
        "uid-0", user("uid-0", "FULL_CONTROL"), user("carol", "READ")))
    assert body(carol.get_object(Bucket=bucket, Key="of-root")) == b"5"
    # Another content is another object, of which nothing was said.
    (server.root / bucket / "of-root").write_text("changed")
    with denied():
        carol.get_object(Bucket=bucket, Key="of-root")


def test_a_user_of_the_same_name_is_another_one(server, bucket):
    alice = server.alice
    dave = server.add_user("dave", None, owner=(20004, 30004))
    alice.put_bucket_acl(Bucket=bucket, GrantRead="id=dave", GrantFullControl="id=alice")
    alice.put_object_acl(Bucket=bucket, Key="a", GrantRead="id=dave", GrantFullControl="id=alice")
    dave.list_objects_v2(Bucket=bucket), dave.get_object(Bucket=bucket, Key="a")
    server.cli("user", "remove", "dave")
    dave = server.add_user("dave", None, owner=(20005, 30005))
    with denied():
        dave.list_objects_v2(Bucket=bucket)
    with denied():
        dave.get_object(Bucket=bucket, Key="a")
    # Those who are gone are not shown, so that what is shown can be put back.
    for answer, put in [(alice.get_bucket_acl(Bucket=bucket), alice.put_bucket_acl),
                        (alice.get_object_acl(Bucket=bucket, Key="a"),
                         lambda **arguments: alice.put_object_acl(Key="a", **arguments))]:
        assert grants(answer) == CANNED["private"]
        put(Bucket=bucket, AccessControlPolicy={"Owner": answer["Owner"], "Grants": answer["Grants"]})


def test_what_is_not_there(server, bucket):
    alice, bob, nobody = server.alice, server.bob, server.nobody
    for client in [bob, nobody]:
        with denied():
            client.get_object(Bucket=bucket, Key="missing")
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read")
    for client in [bob, nobody]:
        with refused("NoSuchKey", 404):
            client.get_object(Bucket=bucket, Key="missing")
        with denied():
            client.get_object(Bucket=bucket, Key="a")
    for call in [lambda client: client.get_object(Bucket="not-there", Key="a"),
                 lambda client: client.delete_object(Bucket="not-there", Key="a"),
                 lambda client: client.list_objects_v2(Bucket="not-there"),
                 lambda client: client.get_bucket_acl(Bucket="not-there"),
                 lambda client: client.delete_bucket(Bucket="not-there"),
                 lambda client: client.get_bucket_policy(Bucket="not-there")]:
        for client in [alice, bob, nobody]:
            with refused("NoSuchBucket", 404):
                call(client)
    with refused("NoSuchKey", 404):
        alice.put_object_acl(Bucket=bucket, Key="missing", ACL="private")


def test_the_list_goes_with_the_bucket_and_a_damaged_one_gives_nothing(server, bucket):
    alice, nobody = server.alice, server.nobody
    alice.delete_object(Bucket=bucket, Key="a")
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read")
    file = server.root / ".sluicegate/buckets" / bucket / "acl.xml"
    assert file.exists()
    # Making it again changes nothing, least of all in silence.
    for arguments in [{}, {"ACL": "public-read-write"}]:
        with refused("BucketAlreadyExists", 409):
            alice.create_bucket(Bucket=bucket, **arguments)
    alice.create_bucket(Bucket=bucket, ACL="public-read")
    nobody.list_objects_v2(Bucket=bucket)
    alice.delete_bucket(Bucket=bucket)
    alice.create_bucket(Bucket=bucket)
    with denied():
        nobody.list_objects_v2(Bucket=bucket)
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read")
    file.write_bytes(file.read_bytes()[:-5])
    server.restart()
    server.alice, server.bob, server.carol, server.nobody = (server.s3(name) for name in ["alice", "bob", "carol", None])
    with denied():
        server.nobody.list_objects_v2(Bucket=bucket)
    assert grants(server.alice.get_bucket_acl(Bucket=bucket)) == CANNED["private"]
    server.alice.put_bucket_acl(Bucket=bucket, ACL="public-read")
    server.nobody.list_objects_v2(Bucket=bucket)


def test_lists_in_conditions_of_policies(server):
    """`s3:x-amz-acl` and `s3:x-amz-grant-*` of every call that sets a list."""
    open_lists = policy(
        statement("Allow", "s3:*", "*"),
        statement("Deny", "s3:*", "*", Condition={"StringLike": {"s3:x-amz-acl": "public-*"}}),
        statement("Deny", "s3:*", "*", Condition={"Null": {"s3:x-amz-grant-read": "false"}}))
    careful = server.add_user("careful", open_lists, owner=(20006, 30006))
    careful.create_bucket(Bucket="careful")
    careful.put_object(Bucket="careful", Key="a", Body=b"1", ACL="authenticated-read")
    for arguments in [{"ACL": "public-read"}, {"GrantRead": "id=bob"}]:
        for call in [lambda: careful.create_bucket(Bucket="careful-2", **arguments),
                     lambda: careful.put_bucket_acl(Bucket="careful", **arguments),
                     lambda: careful.put_object(Bucket="careful", Key="a", Body=b"2", **arguments),
                     lambda: careful.copy_object(Bucket="careful", Key="b", CopySource="careful/a", **arguments),
                     lambda: careful.create_multipart_upload(Bucket="careful", Key="a", **arguments),
                     lambda: careful.put_object_acl(Bucket="careful", Key="a", **arguments),
                     lambda: careful.put_object_acl(Bucket="careful", Key="a", VersionId="null", **arguments)]:
            with denied():
                call()
    careful.put_object_acl(Bucket="careful", Key="a", ACL="private")
    careful.put_object_acl(Bucket="careful", Key="a", GrantReadACP="id=bob")


def test_rights_from_lists_alone(server):
    """The owner of a bucket with no policy but to make it: the lists give the rest, and to nobody else."""
    maker = server.add_user("maker", allow("s3:CreateBucket", "*"), owner=(20007, 30007))
    maker.create_bucket(Bucket="made", ACL="private")
    maker.put_object(Bucket="made", Key="a", Body=b"1")
    assert [entry["Key"] for entry in maker.list_objects_v2(Bucket="made")["Contents"]] == ["a"]
    assert body(maker.get_object(Bucket="made", Key="a")) == b"1"
    maker.put_bucket_acl(Bucket="made", AccessControlPolicy=listed("maker"))
    with denied():
        maker.list_objects_v2(Bucket="made")
    with denied():
        maker.put_object(Bucket="made", Key="b", Body=b"2")
    maker.put_bucket_acl(Bucket="made", ACL="private")
    done = maker.delete_objects(Bucket="made", Delete={"Objects": [{"Key": "a"}, {"Key": "b", "VersionId": "null"}]})
    assert len(done["Deleted"]) == 2
    with denied():
        server.carol.create_bucket(Bucket="made-too", ACL="private")


def test_the_owner_that_a_request_expects(server, bucket):
    alice, nobody = server.alice, server.nobody
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    for expected in ["alice", "000000000000"]:
        nobody.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=expected)
        alice.put_object(Bucket=bucket, Key="b", Body=b"2", ExpectedBucketOwner=expected)
        alice.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/b", ExpectedSourceBucketOwner=expected)
    for expected in ["bob", "alicefoo", "111122223333"]:
        for call in [lambda: nobody.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=expected),
                     lambda: alice.put_object(Bucket=bucket, Key="b", Body=b"3", ExpectedBucketOwner=expected),
                     lambda: alice.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/b",
                                               ExpectedSourceBucketOwner=expected),
                     lambda: alice.get_bucket_acl(Bucket=bucket, ExpectedBucketOwner=expected)]:
            with denied():
                call()
    with refused("NoSuchBucket", 404):
        alice.get_bucket_acl(Bucket="not-there", ExpectedBucketOwner="bob")
