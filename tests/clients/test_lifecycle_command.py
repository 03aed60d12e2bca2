"""`sluicegate bucket lifecycle-rule`: rules by the cluster's admin, which the S3 API shows and which are carried out."""

import json

import pytest

from sluicegate import Server, wait_until


@pytest.fixture(scope="module")
def server():
    with Server(options=["--lifecycle-day", "500ms", "--lifecycle-interval", "50ms"]) as own_server:
        own_server.add_user("writer")
        yield own_server


def rule(server, *arguments):
    return server.admin("bucket", "lifecycle-rule", *arguments)


def test_rules_are_added_listed_and_removed(server):
    s3 = server.s3()
    s3.create_bucket(Bucket="photos")
    head = "RULE    ENABLED  EXPIRES  NONCURRENT  UPLOADS  PREFIX  TAGS\n"
    assert rule(server, "list", "photos").split() == head.split()
    assert rule(server, "add", "photos", 9000) == "Added rule-1 to photos.\n"
    rule(server, "add", "photos", 9001, "--prefix", "logs/", "--tags", "team=a%26b&x=")
    rule(server, "add", "photos", 9002, "--tags", "k=v")
    rule(server, "add", "photos", 9003, "--noncurrent")
    assert s3.get_bucket_lifecycle_configuration(Bucket="photos")["Rules"] == [
        {"ID": "rule-1", "Filter": {}, "Status": "Enabled", "Expiration": {"Days": 9000}},
        {"ID": "rule-2", "Status": "Enabled", "Expiration": {"Days": 9001}, "Filter": {"And": {
            "Prefix": "logs/", "Tags": [{"Key": "team", "Value": "a&b"}, {"Key": "x", "Value": ""}]}}},
        {"ID": "rule-3", "Status": "Enabled", "Expiration": {"Days": 9002},
         "Filter": {"Tag": {"Key": "k", "Value": "v"}}},
        {"ID": "rule-4", "Filter": {}, "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 9003}},
    ]
    assert rule(server, "remove", "photos", "rule-2") == "Removed rule-2 from photos.\n"
    listed = json.loads(rule(server, "list", "photos", "--json"))["rules"]
    assert [(entry["id"], entry["expiry_days"], entry["noncurrent_days"]) for entry in listed] == [
        ("rule-1", 9000, None), ("rule-3", 9002, None), ("rule-4", None, 9003),
    ]
    odd = {"ID": "a/b ü", "Filter": {}, "Status": "Disabled", "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket="photos", LifecycleConfiguration={"Rules": [odd]})
    assert "a/b ü  no       1" in rule(server, "list", "photos")
    rule(server, "remove", "photos", "a/b ü")
    assert rule(server, "list", "photos").split() == head.split()
    rule(server, "add", "photos", 9000)
    assert rule(server, "reset", "photos") == "photos has no lifecycle rules now.\n"
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="photos")
    s3.delete_bucket(Bucket="photos")


def test_what_is_wrong_is_told(server):
    server.s3().create_bucket(Bucket="bad")
    refused = lambda *arguments: server.refused("bucket", "lifecycle-rule", *arguments)
    assert "use 1 or more" in refused("add", "bad", 0)
    assert "write k1=v1&k2=v2" in refused("add", "bad", 1, "--tags", "k")
    assert "at most 10 tags" in refused("add", "bad", 1, "--tags", "k=1&k=2")
    assert "maximum size of a prefix" in refused("add", "bad", 1, "--prefix", "p" * 1025)
    assert 'no lifecycle rule "rule-1"' in refused("remove", "bad", "rule-1")
    for arguments in [("list",), ("reset",), ("remove", "x"), ("add", 1)]:
        assert "there is no bucket nobodys" in refused(arguments[0], "nobodys", *arguments[1:])
    assert json.loads(rule(server, "list", "bad", "--json")) == {"rules": []}


def test_a_rule_is_carried_out(server):
    s3 = server.s3()
    s3.create_bucket(Bucket="short")
    s3.put_object(Bucket="short", Key="logs/a", Body=b"1")
    s3.put_object(Bucket="short", Key="kept", Body=b"1")
    rule(server, "add", "short", 1, "--prefix", "logs/")
    keys = lambda: [entry["Key"] for entry in s3.list_objects_v2(Bucket="short")["Contents"]]
    wait_until(lambda: keys() == ["kept"], "the object to expire")
