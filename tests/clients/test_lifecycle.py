"""Lifecycle rules: how they are configured, what answers say of them, and what they delete."""

import concurrent.futures
import datetime
import email.utils
import os
import re
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from sluicegate import Server, wait_until
from webhook import Webhook

DAY = 1.0
OPTIONS = ["--lifecycle-day", f"{DAY:.0f}s", "--lifecycle-interval", "50ms"]


def code(call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return failure.value.response["Error"]["Code"]


def put(s3, bucket, *rules):
    rules = [{"Status": "Enabled", "Filter": {}, **rule} for rule in rules]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def keys(s3, bucket):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture(scope="module")
def quick():
    """A server on which a day lasts a second."""
    with Server(options=OPTIONS) as own_server:
        own_server.add_user("writer")
        yield own_server


@pytest.fixture
def own(quick, request):
    """A bucket on it."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name)[:60].strip("-")
    quick.s3().create_bucket(Bucket=name)
    yield name
    quick.s3().delete_bucket_lifecycle(Bucket=name)


def passed(quick, own):
    """Waits until the rules have been carried out once more from now on: a witness of its own has gone."""
    s3 = quick.s3()
    rules = s3.get_bucket_lifecycle_configuration(Bucket=own)["Rules"]
    witness = {"ID": "witness", "Filter": {"Prefix": "~"}, "Expiration": {"Days": 1}}
    s3.put_object(Bucket=own, Key="~", Body=b"")
    put(s3, own, *rules, witness)
    wait_until(lambda: "~" not in keys(s3, own), "the witness to go")
    put(s3, own, *rules)


def test_a_configuration_is_kept():
    with Server() as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        get = lambda: s3.get_bucket_lifecycle_configuration(Bucket="photos")
        assert code(get) == "NoSuchLifecycleConfiguration"
        midnight = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)
        rules = [
            {"ID": "old", "Prefix": "logs/", "Status": "Enabled", "Expiration": {"Days": 7}},
            {"ID": "é <&>", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Status": "Disabled",
             "Expiration": {"Date": midnight}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}},
            {"ID": "and", "Status": "Enabled", "Expiration": {"Days": 1},
             "Filter": {"And": {"Prefix": "a", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}}},
            {"ID": "uploads", "Filter": {}, "Status": "Enabled",
             "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
        ]
        answer = s3.put_bucket_lifecycle_configuration(Bucket="photos", LifecycleConfiguration={"Rules": rules})
        assert answer["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
        assert get()["Rules"] == rules
        assert get()["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
        transition = {"Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}
        refused = s3.put_bucket_lifecycle_configuration
        for bad, expected in [([transition], "NotImplemented"), ([rules[0], rules[0]], "InvalidArgument"), ([], "MalformedXML")]:
            assert code(refused, Bucket="photos", LifecycleConfiguration={"Rules": bad}) == expected
        assert code(refused, Bucket="nobodys", LifecycleConfiguration={"Rules": rules}) == "NoSuchBucket"
        server.restart()
        s3 = server.s3()
        assert get()["Rules"] == rules, "what is refused changes nothing, and a restart neither"
        s3.delete_bucket_lifecycle(Bucket="photos")
        assert code(get) == "NoSuchLifecycleConfiguration"
        put(s3, "photos", {"Expiration": {"Days": 1}}, {"Expiration": {"Days": 2}})
        assert [rule["ID"] for rule in get()["Rules"]] == ["rule-1", "rule-2"]
        s3.delete_bucket(Bucket="photos")
        s3.create_bucket(Bucket="photos")
        assert code(get) == "NoSuchLifecycleConfiguration", "rules go with their bucket"


def test_answers_say_when_an_object_expires(server, s3, bucket):
    put(s3, bucket, {"ID": "week rule", "Filter": {"Prefix": "in/"}, "Expiration": {"Days": 7}},
        {"ID": "tagged", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 2}})
    expires = lambda answer: re.fullmatch(r'expiry-date="(.*)", rule-id="(.*)"', answer["Expiration"]).groups()
    answer = s3.put_object(Bucket=bucket, Key="in/a", Body=b"1")
    date, rule = expires(answer)
    assert rule == "week%20rule"
    moment = email.utils.parsedate_to_datetime(date)
    head = s3.head_object(Bucket=bucket, Key="in/a")
    assert (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    assert datetime.timedelta(days=7) <= moment - head["LastModified"] <= datetime.timedelta(days=8)
    assert expires(head) == (date, rule)
    assert expires(s3.get_object(Bucket=bucket, Key="in/a")) == (date, rule)
    assert expires(s3.copy_object(Bucket=bucket, Key="in/b", CopySource=f"{bucket}/in/a"))[1] == rule
    upload = s3.create_multipart_upload(Bucket=bucket, Key="in/parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="in/parts", UploadId=upload, PartNumber=1, Body=b"123")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    done = s3.complete_multipart_upload(Bucket=bucket, Key="in/parts", UploadId=upload, MultipartUpload=parts)
    assert expires(done)[1] == rule
    assert expires(s3.put_object(Bucket=bucket, Key="in/t", Body=b"1", Tagging="k=v"))[1] == "tagged"
    assert "Expiration" not in s3.put_object(Bucket=bucket, Key="out", Body=b"1")
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="out")
    s3.put_object_tagging(Bucket=bucket, Key="out", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert expires(s3.head_object(Bucket=bucket, Key="out"))[1] == "tagged"
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="in/a")


def test_what_expires_goes_and_nothing_else(quick, own):
    s3 = quick.s3()
    for key in ["expire/a", "expire/dir/b", "expire/c/", "keep/a", "expired", "later"]:
        s3.put_object(Bucket=own, Key=key, Body=b"" if key.endswith("/") else b"1")
    put(s3, own, {"Filter": {"Prefix": "expire/"}, "Expiration": {"Days": 1}},
        {"Filter": {"Prefix": "keep/"}, "Expiration": {"Days": 1}, "Status": "Disabled"},
        {"Filter": {"Prefix": "later"}, "Expiration": {"Days": 10_000}})
    begun = time.monotonic()
    wait_until(lambda: not any(key.startswith("expire/") for key in keys(s3, own)), "the objects to expire")
    assert time.monotonic() - begun < 30
    passed(quick, own)
    assert keys(s3, own) == ["expired", "keep/a", "later"]
    assert not quick.path(own, "expire").exists(), "empty directories go with the objects"
    assert "carried out lifecycle rules" in quick.log()


def test_an_object_lives_its_days(quick, own):
    s3 = quick.s3()
    put(s3, own, {"Expiration": {"Days": 3}})
    begun = time.time()
    s3.put_object(Bucket=own, Key="a", Body=b"1")
    wait_until(lambda: keys(s3, own) == [], "the object to expire")
    # A file's time is that of the kernel's last tick.
    assert time.time() - begun >= 3 * DAY - 0.05


def test_files_of_other_programs_age_by_their_time(quick, own):
    s3 = quick.s3()
    for name, age in [("old", 10_000), ("new", -10_000)]:
        quick.path(own, name).write_bytes(b"1")
        os.utime(quick.path(own, name), (time.time() - age,) * 2)
    os.symlink("/etc/passwd", quick.path(own, "link"))
    os.mkfifo(quick.path(own, "fifo"))
    put(s3, own, {"Expiration": {"Days": 5}})
    wait_until(lambda: keys(s3, own) == ["new"], "the old file to go")
    assert quick.path(own, "link").is_symlink() and quick.path(own, "fifo").exists()


def test_one_that_cannot_be_deleted_stops_nobody(quick, own):
    s3 = quick.s3()
    for key in ["a", "immutable", "z"]:
        s3.put_object(Bucket=own, Key=key, Body=b"1")
    path = quick.path(own, "immutable")
    if subprocess.run(["chattr", "+i", path], capture_output=True).returncode != 0:
        pytest.skip("needs root, and a file system with immutable files")
    try:
        put(s3, own, {"Expiration": {"Days": 1}})
        wait_until(lambda: keys(s3, own) == ["immutable"], "the others to go")
        wait_until(lambda: "could not be deleted" in quick.log(), "a warning")
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    wait_until(lambda: keys(s3, own) == [], "the next run")


def test_tags_and_sizes(quick, own):
    s3 = quick.s3()
    s3.put_object(Bucket=own, Key="tagged", Body=b"1", Tagging="k=v&x=y")
    s3.put_object(Bucket=own, Key="otherwise", Body=b"1", Tagging="k=w")
    s3.put_object(Bucket=own, Key="untagged", Body=b"1")
    s3.put_object(Bucket=own, Key="small", Body=b"1" * 10)
    s3.put_object(Bucket=own, Key="large", Body=b"1" * 2000)
    put(s3, own, {"Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}},
        {"Filter": {"And": {"ObjectSizeGreaterThan": 9, "ObjectSizeLessThan": 11}}, "Expiration": {"Days": 1}})
    wait_until(lambda: keys(s3, own) == ["large", "otherwise", "untagged"], "what the rules say")
    passed(quick, own)
    assert keys(s3, own) == ["large", "otherwise", "untagged"]
    # Tags that an object gets later count from its writing on.
    s3.put_object_tagging(Bucket=own, Key="untagged", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    wait_until(lambda: keys(s3, own) == ["large", "otherwise"], "the tag to be seen")


def test_a_date_in_the_past_and_one_to_come(quick, own):
    s3 = quick.s3()
    for key in ["past", "future"]:
        s3.put_object(Bucket=own, Key=key, Body=b"1")
    date = lambda year: datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc)
    put(s3, own, {"Filter": {"Prefix": "past"}, "Expiration": {"Date": date(2015)}},
        {"Filter": {"Prefix": "future"}, "Expiration": {"Date": date(2999)}})
    wait_until(lambda: keys(s3, own) == ["future"], "the date to hold")
    passed(quick, own)
    assert keys(s3, own) == ["future"]


def test_pages_of_many_objects(quick, own):
    s3 = quick.s3()
    for number in range(1203):
        quick.path(own, f"{number:04}").write_bytes(b"1")
    os.utime(quick.path(own, "0700"), (time.time() + 10_000,) * 2)
    put(s3, own, {"Expiration": {"Days": 1}})
    wait_until(lambda: keys(s3, own) == ["0700"], "all pages")


def test_uploads_that_were_left_are_aborted(quick, own):
    s3 = quick.s3()
    uploads = {}
    for key in ["left/a", "other"]:
        uploads[key] = s3.create_multipart_upload(Bucket=own, Key=key)["UploadId"]
        s3.upload_part(Bucket=own, Key=key, UploadId=uploads[key], PartNumber=1, Body=b"1")
    put(s3, own, {"Filter": {"Prefix": "left/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
    listed = lambda: [upload["Key"] for upload in s3.list_multipart_uploads(Bucket=own).get("Uploads", [])]
    wait_until(lambda: listed() == ["other"], "the upload to be aborted")
    assert code(s3.list_parts, Bucket=own, Key="left/a", UploadId=uploads["left/a"]) == "NoSuchUpload"
    assert len(s3.list_parts(Bucket=own, Key="other", UploadId=uploads["other"])["Parts"]) == 1
    s3.abort_multipart_upload(Bucket=own, Key="other", UploadId=uploads["other"])


def test_what_is_written_again_lives_on(quick, own):
    """An object is written over and over while rules run: it never is older than its day, and never goes."""
    s3 = quick.s3()
    put(s3, own, {"Expiration": {"Days": 1}})
    s3.put_object(Bucket=own, Key="left", Body=b"1")
    writes = 0
    while "left" in keys(s3, own) or writes < 20:
        begun = time.time()
        s3.put_object(Bucket=own, Key="busy", Body=b"1")
        writes += 1
        # On a machine that is too busy it can have got a day old meanwhile.
        assert "busy" in keys(s3, own) or time.time() - begun >= DAY - 0.05
    wait_until(lambda: keys(s3, own) == [], "the last one to expire")


def test_rules_are_carried_out_after_a_restart_and_told():
    with Webhook() as hook, Server(options=[*OPTIONS, "--notify-webhook", f"hook={hook.url}"]) as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        rule = {"QueueArn": "arn:sluicegate:sqs::hook:webhook", "Events": ["s3:LifecycleExpiration:*"]}
        configuration = {"QueueConfigurations": [rule]}
        s3.put_bucket_notification_configuration(Bucket="photos", NotificationConfiguration=configuration)
        put(s3, "photos", {"Expiration": {"Days": 2}})
        s3.put_object(Bucket="photos", Key="a", Body=b"1")
        server.restart()
        s3 = server.s3()
        wait_until(lambda: keys(s3, "photos") == [], "the object to expire")
        [event] = hook.wait(1)
        assert event["eventName"] == "LifecycleExpiration:Delete" and event["s3"]["object"]["key"] == "a"
        assert event["userIdentity"] == {"principalId": "sluicegate"}


# Buckets that keep versions.

def versioned(s3, bucket, status="Enabled"):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def versions(s3, bucket):
    """Keys with their versions and delete markers, each newest first: `a` is one that is current, `(a)` one that is not,
    `-a` and `(-a)` are delete markers."""
    answer = s3.list_object_versions(Bucket=bucket)
    shown = lambda entry, sign: (sign + entry["Key"]) if entry["IsLatest"] else f"({sign}{entry['Key']})"
    found = [(entry["Key"], not entry["IsLatest"], entry["LastModified"], shown(entry, "")) for entry in answer.get("Versions", [])]
    found += [(entry["Key"], not entry["IsLatest"], entry["LastModified"], shown(entry, "-"))
              for entry in answer.get("DeleteMarkers", [])]
    return [text for *_, text in sorted(found, key=lambda it: it[:2])]


def test_what_expires_in_a_versioned_bucket_gets_a_delete_marker(quick, own):
    s3 = quick.s3()
    versioned(s3, own)
    version = s3.put_object(Bucket=own, Key="a", Body=b"kept")["VersionId"]
    s3.put_object(Bucket=own, Key="young", Body=b"1")
    put(s3, own, {"Filter": {"Prefix": "a"}, "Expiration": {"Days": 1}})
    wait_until(lambda: versions(s3, own) == ["-a", "(a)", "young"], "a delete marker")
    time.sleep(2 * DAY)
    passed_versions = versions(s3, own)
    assert passed_versions == ["-a", "(a)", "young"], "one marker, once"
    assert s3.get_object(Bucket=own, Key="a", VersionId=version)["Body"].read() == b"kept"


def test_noncurrent_versions_are_removed(quick, own):
    s3 = quick.s3()
    versioned(s3, own)
    for number in range(4):
        for key in ["all", "three"]:
            s3.put_object(Bucket=own, Key=key, Body=b"%d" % number)
    s3.put_object(Bucket=own, Key="other", Body=b"1")
    s3.put_object(Bucket=own, Key="other", Body=b"2")
    s3.delete_object(Bucket=own, Key="gone")  # A delete marker on nothing.
    s3.put_object(Bucket=own, Key="gone", Body=b"1")
    s3.delete_object(Bucket=own, Key="gone")
    expire = lambda prefix, **more: {
        "Filter": {"Prefix": prefix}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1, **more},
    }
    put(s3, own, expire("all"), expire("three", NewerNoncurrentVersions=2), expire("gone"))
    expected = ["all", "-gone", "other", "(other)", "three", "(three)", "(three)"]
    wait_until(lambda: versions(s3, own) == expected, f"the versions to go from {versions(s3, own)}")
    time.sleep(2 * DAY)
    assert versions(s3, own) == expected
    for key in ["all", "three"]:
        assert s3.get_object(Bucket=own, Key=key)["Body"].read() == b"3"
    # The marker is alone now.
    put(s3, own, {"Filter": {"Prefix": "gone"}, "Expiration": {"ExpiredObjectDeleteMarker": True}})
    wait_until(lambda: "-gone" not in versions(s3, own), "the marker to go")
    assert versions(s3, own) == ["all", "other", "(other)", "three", "(three)", "(three)"]


def test_markers_with_versions_behind_them_stay(quick, own):
    s3 = quick.s3()
    versioned(s3, own)
    for key in ["a", "b", "c"]:
        s3.put_object(Bucket=own, Key=key, Body=b"1")
        s3.delete_object(Bucket=own, Key=key)
    s3.delete_object(Bucket=own, Key="bb")
    s3.delete_object(Bucket=own, Key="z")
    put(s3, own, {"Expiration": {"ExpiredObjectDeleteMarker": True}})
    wait_until(lambda: versions(s3, own) == ["-a", "(a)", "-b", "(b)", "-c", "(c)"], "the lone markers to go")
    time.sleep(DAY)
    assert versions(s3, own) == ["-a", "(a)", "-b", "(b)", "-c", "(c)"]


def test_everything_of_a_key_goes_in_the_end(quick, own):
    s3 = quick.s3()
    versioned(s3, own)
    for number in range(3):
        s3.put_object(Bucket=own, Key="dir/a", Body=b"1")
    put(s3, own, {"Expiration": {"Days": 1}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    wait_until(lambda: versions(s3, own) == [], "all of it to go")
    s3.delete_bucket_lifecycle(Bucket=own)
    assert not list((quick.root / ".sluicegate/versions" / own).rglob("*")), "nothing is left on the disk"


def test_suspended_versioning(quick, own):
    s3 = quick.s3()
    s3.put_object(Bucket=own, Key="null", Body=b"1")
    versioned(s3, own)
    kept = s3.put_object(Bucket=own, Key="named", Body=b"1")["VersionId"]
    versioned(s3, own, "Suspended")
    put(s3, own, {"Expiration": {"Days": 1}})
    # The null version is replaced by its marker, which then is alone and goes, too.
    wait_until(lambda: versions(s3, own) == ["-named", "(named)"], "the objects to expire")
    assert s3.get_object(Bucket=own, Key="named", VersionId=kept)["Body"].read() == b"1"


def test_locked_versions_are_never_removed(quick):
    s3 = quick.s3()
    name = "locked"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    s3.put_object(Bucket=name, Key="retained", Body=b"1", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    s3.put_object(Bucket=name, Key="held", Body=b"1", ObjectLockLegalHoldStatus="ON")
    s3.put_object(Bucket=name, Key="free", Body=b"1")
    put(s3, name, {"Expiration": {"Days": 1}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    expected = ["-held", "(held)", "-retained", "(retained)"]
    wait_until(lambda: versions(s3, name) == expected, "all but the locked ones to go")
    time.sleep(2 * DAY)
    assert versions(s3, name) == expected
    s3.delete_bucket_lifecycle(Bucket=name)


def test_a_file_of_another_program_over_a_version(quick, own):
    """Its time can be anything: the versions behind it are noncurrent since they were moved there, not since then."""
    s3 = quick.s3()
    versioned(s3, own)
    s3.put_object(Bucket=own, Key="a", Body=b"1")
    s3.put_object(Bucket=own, Key="a", Body=b"2")
    quick.path(own, "a").write_bytes(b"by another program")
    os.utime(quick.path(own, "a"), (1_000_000_000,) * 2)
    put(s3, own, {"NoncurrentVersionExpiration": {"NoncurrentDays": 6}})
    begun = time.time()
    time.sleep(DAY)
    assert versions(s3, own) == ["a", "(a)"]
    wait_until(lambda: versions(s3, own) == ["a"], "the version to go")
    assert time.time() - begun >= 4 * DAY
    assert s3.get_object(Bucket=own, Key="a")["Body"].read() == b"by another program"


def test_versions_beyond_a_page(quick, own):
    s3 = quick.s3()
    versioned(s3, own)
    with concurrent.futures.ThreadPoolExecutor(10) as writers:
        list(writers.map(lambda number: s3.put_object(Bucket=own, Key="a", Body=b"1"), range(1009)))
    s3.put_object(Bucket=own, Key="a", Body=b"last")
    put(s3, own, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 3}})
    wait_until(lambda: versions(s3, own) == ["a", "(a)", "(a)", "(a)"], "the versions to go")
    assert s3.get_object(Bucket=own, Key="a")["Body"].read() == b"last"


def test_expirations_of_versions_are_told():
    with Webhook() as hook, Server(options=[*OPTIONS, "--notify-webhook", f"hook={hook.url}"]) as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        versioned(s3, "photos")
        rule = {"QueueArn": "arn:sluicegate:sqs::hook:webhook",
                "Events": ["s3:LifecycleExpiration:*", "s3:ObjectRemoved:*"]}
        configuration = {"QueueConfigurations": [rule]}
        s3.put_bucket_notification_configuration(Bucket="photos", NotificationConfiguration=configuration)
        version = s3.put_object(Bucket="photos", Key="a", Body=b"1")["VersionId"]
        put(s3, "photos", {"Expiration": {"Days": 1}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
        events = hook.wait(3)
        told = [(event["eventName"], event["s3"]["object"]["versionId"]) for event in events]
        marker = told[0][1]
        assert told == [("LifecycleExpiration:DeleteMarkerCreated", marker), ("LifecycleExpiration:Delete", version),
                        ("LifecycleExpiration:Delete", marker)]
        s3.delete_bucket_lifecycle(Bucket="photos")
        version = s3.put_object(Bucket="photos", Key="b", Body=b"1")["VersionId"]
        marker = s3.delete_object(Bucket="photos", Key="b")["VersionId"]
        s3.delete_objects(Bucket="photos", Delete={"Objects": [{"Key": "b", "VersionId": version}, {"Key": "c"}]})
        told = [(event["eventName"], event["s3"]["object"]["key"], event["s3"]["object"]["versionId"])
                for event in hook.wait(6)[3:]]
        assert told[:2] == [("ObjectRemoved:DeleteMarkerCreated", "b", marker), ("ObjectRemoved:Delete", "b", version)]
        assert told[2][:2] == ("ObjectRemoved:DeleteMarkerCreated", "c")
