"""Object lock: retentions, legal holds and default retentions; who may change them, and what they keep from being
deleted."""

import datetime
import itertools

import pytest
from botocore.exceptions import ClientError

from conftest import needs_root
from sluicegate import Server

IDS = itertools.count(1)
YEAR_2100 = datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
DENIED = (403, "AccessDenied")


def code(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.fixture
def locked(server, s3):
    name = f"locked-{next(IDS)}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def retention(mode="GOVERNANCE", until=YEAR_2100):
    return {"Mode": mode, "RetainUntilDate": until}


def put(s3, bucket, key="k", **arguments):
    return s3.put_object(Bucket=bucket, Key=key, Body=b"data", **arguments)["VersionId"]


def test_a_bucket_made_with_object_lock_keeps_versions_for_good(server, s3, locked):
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
    enabled = {"ObjectLockEnabled": "Enabled"}
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == enabled
    suspend = {"Status": "Suspended"}
    assert code(s3.put_bucket_versioning, Bucket=locked, VersioningConfiguration=suspend) == (
        409, "InvalidBucketState")
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 2}}}
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=rule)
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == rule
    files = sorted(path.name for path in (server.root / ".sluicegate/buckets" / locked).iterdir())
    assert files == ["object-lock.xml", "versioning.xml"]


def test_object_lock_can_be_enabled_where_versions_are_kept(s3, bucket):
    enabled = {"ObjectLockEnabled": "Enabled"}
    put_lock = s3.put_object_lock_configuration
    assert code(s3.get_object_lock_configuration, Bucket=bucket) == (404, "ObjectLockConfigurationNotFoundError")
    assert code(put_lock, Bucket=bucket, ObjectLockConfiguration=enabled) == (409, "InvalidBucketState")
    s3.put_object(Bucket=bucket, Key="old", Body=b"")
    for call in [s3.get_object_retention, s3.get_object_legal_hold]:
        assert code(call, Bucket=bucket, Key="old") == (400, "InvalidRequest")
    assert code(s3.put_object, Bucket=bucket, Key="k", ObjectLockLegalHoldStatus="ON") == (400, "InvalidRequest")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put_lock(Bucket=bucket, ObjectLockConfiguration=enabled)
    for call in [s3.get_object_retention, s3.get_object_legal_hold]:
        assert code(call, Bucket=bucket, Key="old") == (404, "NoSuchObjectLockConfiguration")
        assert code(call, Bucket=bucket, Key="new") == (404, "NoSuchKey")
    s3.put_object_legal_hold(Bucket=bucket, Key="old", VersionId="null", LegalHold={"Status": "ON"})
    assert code(s3.delete_object, Bucket=bucket, Key="old", VersionId="null") == DENIED


def test_configurations_that_are_refused(s3, locked):
    def configure(**default):
        rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}
        return code(s3.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration=rule)

    assert configure(Mode="GOVERNANCE", Days=0) == (400, "InvalidRetentionPeriod")
    assert configure(Mode="GOVERNANCE", Days=36_501) == (400, "InvalidRetentionPeriod")
    assert configure(Mode="GOVERNANCE", Days=1, Years=1) == (400, "MalformedXML")
    assert configure(Mode="governance", Days=1) == (400, "MalformedXML")


def test_a_legal_hold_keeps_a_version_and_nothing_else(s3, locked):
    version = put(s3, locked, ObjectLockLegalHoldStatus="ON")
    assert s3.get_object_legal_hold(Bucket=locked, Key="k")["LegalHold"] == {"Status": "ON"}
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    assert code(s3.delete_object, Bucket=locked, Key="k", VersionId=version) == DENIED
    assert code(s3.delete_object, Bucket=locked, Key="k", VersionId=version, BypassGovernanceRetention=True) == DENIED
    objects = {"Objects": [{"Key": "k", "VersionId": version}]}
    answer = s3.delete_objects(Bucket=locked, Delete=objects, BypassGovernanceRetention=True)
    assert [it["Code"] for it in answer["Errors"]] == ["AccessDenied"]
    # A marker before it, a newer version, or a change of its tags are no deletion.
    other = put(s3, locked)
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    s3.put_object_tagging(Bucket=locked, Key="k", VersionId=version, Tagging={"TagSet": [{"Key": "a", "Value": ""}]})
    assert code(s3.delete_object, Bucket=locked, Key="k", VersionId=version) == DENIED
    for free in [other, marker]:
        s3.delete_object(Bucket=locked, Key="k", VersionId=free)
    assert s3.get_object(Bucket=locked, Key="k")["VersionId"] == version
    s3.put_object_legal_hold(Bucket=locked, Key="k", LegalHold={"Status": "OFF"})
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockLegalHoldStatus"] == "OFF"
    s3.delete_object(Bucket=locked, Key="k", VersionId=version)
    assert code(s3.head_object, Bucket=locked, Key="k")[0] == 404


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_what_a_retention_allows(s3, locked, mode):
    version = put(s3, locked, ObjectLockMode=mode, ObjectLockRetainUntilDate=YEAR_2100)
    head = s3.head_object(Bucket=locked, Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == (mode, YEAR_2100)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == retention(mode)
    assert code(s3.delete_object, Bucket=locked, Key="k", VersionId=version) == DENIED
    change = s3.put_object_retention
    other = {"GOVERNANCE": "COMPLIANCE", "COMPLIANCE": "GOVERNANCE"}[mode]
    for refused in [retention(mode, YEAR_2100 - DAY), retention(other, YEAR_2100 + DAY), {}]:
        assert code(change, Bucket=locked, Key="k", Retention=refused) == DENIED
        if mode == "COMPLIANCE":
            answer = code(change, Bucket=locked, Key="k", Retention=refused, BypassGovernanceRetention=True)
            assert answer == DENIED
    change(Bucket=locked, Key="k", Retention=retention(mode, YEAR_2100 + DAY))
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == retention(mode, YEAR_2100 + DAY)
    delete = {"Bucket": locked, "Key": "k", "VersionId": version, "BypassGovernanceRetention": True}
    if mode == "COMPLIANCE":
        assert code(s3.delete_object, **delete) == DENIED
        return
    change(Bucket=locked, Key="k", Retention=retention(mode, YEAR_2100 - DAY), BypassGovernanceRetention=True)
    objects = {"Objects": [{"Key": "k", "VersionId": version}]}
    assert s3.delete_objects(Bucket=locked, Delete=objects)["Errors"][0]["Code"] == "AccessDenied"
    s3.delete_object(**delete)
    assert "Versions" not in s3.list_object_versions(Bucket=locked)


def test_a_retention_ends(s3, locked):
    # Clients send whole seconds.
    soon = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=3)
    version = put(s3, locked, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=soon)
    assert code(s3.delete_object, Bucket=locked, Key="k", VersionId=version) == DENIED
    end = s3.get_object_retention(Bucket=locked, Key="k")["Retention"]["RetainUntilDate"]
    assert end == soon
    while True:
        before = datetime.datetime.now(datetime.timezone.utc)
        try:
            s3.delete_object(Bucket=locked, Key="k", VersionId=version)
            break
        except ClientError as refused:
            assert refused.response["Error"]["Code"] == "AccessDenied"
            assert before < end, "it ends when it says"
    assert datetime.datetime.now(datetime.timezone.utc) >= soon


def test_every_way_of_writing_gives_a_version_its_locks(s3, locked):
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}}
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=rule)
    own = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": YEAR_2100, "ObjectLockLegalHoldStatus": "ON"}

    def copied(**arguments):
        return s3.copy_object(Bucket=locked, Key="copy", CopySource={"Bucket": locked, "Key": "source"}, **arguments)

    def in_parts(**arguments):
        upload = s3.create_multipart_upload(Bucket=locked, Key="parts", **arguments)["UploadId"]
        part = s3.upload_part(Bucket=locked, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        return s3.complete_multipart_upload(Bucket=locked, Key="parts", UploadId=upload, MultipartUpload=parts)

    put(s3, locked, "source", **own)
    writes = [("put", lambda **arguments: put(s3, locked, "put", **arguments)), ("copy", copied), ("parts", in_parts)]
    for key, write in writes:
        write(**own)
        head = s3.head_object(Bucket=locked, Key=key)
        found = (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"], head["ObjectLockLegalHoldStatus"])
        assert found == ("COMPLIANCE", YEAR_2100, "ON"), key
        write()
        head = s3.head_object(Bucket=locked, Key=key)
        assert "ObjectLockLegalHoldStatus" not in head, "a copy does not take the locks along"
        remaining = head["ObjectLockRetainUntilDate"] - datetime.datetime.now(datetime.timezone.utc)
        assert head["ObjectLockMode"] == "GOVERNANCE" and DAY < remaining <= 2 * DAY, key
        assert code(s3.delete_object, Bucket=locked, Key=key, VersionId=head["VersionId"]) == DENIED


def test_headers_that_are_refused(s3, locked):
    def written(**arguments):
        return code(s3.put_object, Bucket=locked, Key="k", Body=b"", **arguments)

    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    assert written(ObjectLockMode="GOVERNANCE") == (400, "InvalidArgument")
    assert written(ObjectLockRetainUntilDate=YEAR_2100) == (400, "InvalidArgument")
    assert written(ObjectLockMode="governance", ObjectLockRetainUntilDate=YEAR_2100) == (400, "InvalidArgument")
    assert written(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=past) == (400, "InvalidArgument")
    assert written(ObjectLockLegalHoldStatus="on") == (400, "InvalidArgument")
    put(s3, locked)
    assert code(s3.put_object_retention, Bucket=locked, Key="k", Retention=retention(until=past)) == (
        400, "InvalidArgument")
    assert code(s3.put_object_retention, Bucket=locked, Key="k", Retention={"Mode": "GOVERNANCE"}) == (
        400, "MalformedXML")
    assert code(s3.put_object_legal_hold, Bucket=locked, Key="k", LegalHold={"Status": "on"}) == (
        400, "MalformedXML")
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    assert code(s3.put_object_legal_hold, Bucket=locked, Key="k", VersionId=marker, LegalHold={"Status": "ON"}) == (
        405, "MethodNotAllowed")


def test_locks_survive_a_restart_and_a_damaged_configuration():
    with Server() as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        version = put(s3, "locked", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=YEAR_2100)
        newer = put(s3, "locked")
        for damage in ["", "object-lock.xml", "versioning.xml"]:
            server.stop()
            if damage:
                (server.root / ".sluicegate/buckets/locked" / damage).write_text("<broken")
            server.start()
            s3 = server.s3()
            assert s3.get_bucket_versioning(Bucket="locked")["Status"] == "Enabled"
            assert code(s3.put_bucket_versioning, Bucket="locked", VersioningConfiguration={"Status": "Suspended"}) == (
                409, "InvalidBucketState")
            assert code(s3.delete_object, Bucket="locked", Key="k", VersionId=version) == DENIED
            assert s3.head_object(Bucket="locked", Key="k")["VersionId"] == newer


@needs_root
def test_policies_limit_retentions(http):
    http.add_policy("ten-days", [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": ["s3:PutObject", "s3:PutObjectRetention"], "Resource": "*",
         "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}},
        {"Effect": "Deny", "Action": "s3:PutObjectRetention", "Resource": "*",
         "Condition": {"StringEquals": {"s3:object-lock-mode": "COMPLIANCE"}}},
    ])
    http.add_user("brief", "ten-days", number=20)
    s3 = http.s3(http.users["brief"])
    bucket = f"policies-of-locks-{next(IDS)}"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    for days, allowed in [(1, True), (10, True), (11, False)]:
        until = now + days * DAY
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
        calls = [(s3.put_object, {"Bucket": bucket, "Key": "put", "Body": b"", **lock}),
                 (s3.put_object_retention, {"Bucket": bucket, "Key": "k", "Retention": retention(until=until)})]
        put(s3, bucket)
        for call, arguments in calls:
            if allowed:
                call(**arguments)
            else:
                assert code(call, **arguments) == DENIED, days
    compliance = retention("COMPLIANCE", now + DAY)
    assert code(s3.put_object_retention, Bucket=bucket, Key="put", Retention=compliance) == DENIED
    # Who may not is told so before anything else.
    nobody = http.s3(http.add_user("lockless-too", None, number=21))
    assert code(nobody.put_object_retention, Bucket=bucket, Key="k", Retention={"Mode": "x"}) == DENIED
    assert code(nobody.put_object_retention, Bucket="no-such-bucket", Key="k", Retention=compliance) == DENIED


@needs_root
def test_locks_need_permissions_of_their_own(http):
    s3 = http.s3()
    bucket = f"permissions-of-locks-{next(IDS)}"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    plain = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject*"]
    grants = {"lockless": plain, "locker": [*plain, "s3:PutObjectRetention", "s3:PutObjectLegalHold"],
              "bypasser": [*plain, "s3:BypassGovernanceRetention", "s3:GetObjectRetention"]}
    for number, (name, actions) in enumerate(grants.items()):
        http.add_policy(f"only-{name}", [{"Effect": "Allow", "Action": actions, "Resource": "*"}])
        http.add_user(name, f"only-{name}", number=10 + number)
    lockless, locker, bypasser = (http.s3(http.users[name]) for name in grants)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": YEAR_2100}
    for arguments in [lock, {"ObjectLockLegalHoldStatus": "ON"}]:
        assert code(lockless.put_object, Bucket=bucket, Key="k", Body=b"", **arguments) == DENIED
    version = put(locker, bucket, **lock)
    # Shown to those who may see it.
    assert "ObjectLockMode" not in lockless.head_object(Bucket=bucket, Key="k")
    assert bypasser.head_object(Bucket=bucket, Key="k")["ObjectLockMode"] == "GOVERNANCE"
    shorter = {"Bucket": bucket, "Key": "k", "Retention": retention(until=YEAR_2100 - DAY)}
    assert code(locker.put_object_retention, **shorter, BypassGovernanceRetention=True) == DENIED
    assert code(bypasser.put_object_retention, **shorter, BypassGovernanceRetention=True) == DENIED
    one = {"Bucket": bucket, "Key": "k", "VersionId": version, "BypassGovernanceRetention": True}
    assert code(lockless.delete_object, **one) == DENIED
    many = {"Bucket": bucket, "Delete": {"Objects": [{"Key": "k", "VersionId": version}]}}
    for user, arguments in [(lockless, {"BypassGovernanceRetention": True}), (bypasser, {})]:
        assert user.delete_objects(**many, **arguments)["Errors"][0]["Code"] == "AccessDenied"
    assert "Errors" not in bypasser.delete_objects(**many, BypassGovernanceRetention=True)
    assert code(s3.head_object, Bucket=bucket, Key="k")[0] == 404
