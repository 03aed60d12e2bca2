"""Tags of objects: put, replaced and deleted in the object's record, whatever brought them, without touching its data."""

import os

import pytest
from botocore.exceptions import ClientError

from sluicegate import Server


def code(call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return failure.value.response["Error"]["Code"]


def tag_set(**tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def tags(s3, bucket, key):
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]}


def test_tags_are_put_replaced_and_deleted_and_nothing_else_changes(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"data", ContentType="text/css", Metadata={"m": "v"})
    before = s3.head_object(Bucket=bucket, Key="a/b")
    written = server.path(bucket, "a/b").stat()
    assert tags(s3, bucket, "a/b") == {} and "TagCount" not in before
    s3.put_object_tagging(Bucket=bucket, Key="a/b", Tagging=tag_set(team="red", stage=""))
    assert tags(s3, bucket, "a/b") == {"team": "red", "stage": ""}
    s3.put_object_tagging(Bucket=bucket, Key="a/b", Tagging=tag_set(**{"é <&>": "ü +%"}))
    assert tags(s3, bucket, "a/b") == {"é <&>": "ü +%"}
    answer = s3.get_object(Bucket=bucket, Key="a/b")
    assert (answer["TagCount"], answer["Body"].read()) == (1, b"data")
    answer = s3.delete_object_tagging(Bucket=bucket, Key="a/b")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tags(s3, bucket, "a/b") == {}
    after = s3.head_object(Bucket=bucket, Key="a/b")
    for name in ["ETag", "LastModified", "ContentType", "Metadata", "ContentLength"]:
        assert after[name] == before[name], name
    now = server.path(bucket, "a/b").stat()
    assert (now.st_ino, now.st_mtime_ns) == (written.st_ino, written.st_mtime_ns), "the file is the same one"


def test_tags_are_listed_by_key_whichever_way_they_came(s3, bucket):
    s3.put_object(Bucket=bucket, Key="put", Body=b"", Tagging="z=1&a=%26+%C3%A9&m")
    expected = [{"Key": "a", "Value": "& é"}, {"Key": "m", "Value": ""}, {"Key": "z", "Value": "1"}]
    assert s3.get_object_tagging(Bucket=bucket, Key="put")["TagSet"] == expected
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "put"})
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == expected
    s3.copy_object(Bucket=bucket, Key="other", CopySource={"Bucket": bucket, "Key": "put"}, Tagging="o=1",
                   TaggingDirective="REPLACE")
    assert tags(s3, bucket, "other") == {"o": "1"}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", Tagging="p=1&q=2")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert tags(s3, bucket, "parts") == {"p": "1", "q": "2"}


def test_limits(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    full = {f"{number:0128}": "v" * 256 for number in range(10)}
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(**full))
    for refused in [{**full, "one more": ""}, {"k" * 129: ""}, {"k": "v" * 257}]:
        assert code(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=tag_set(**refused)) == "InvalidTag"
    twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    assert code(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=twice) == "InvalidTag"
    assert tags(s3, bucket, "k") == full, "what is refused changes nothing"
    assert code(s3.put_object_tagging, Bucket=bucket, Key="none", Tagging=tag_set(a="b")) == "NoSuchKey"
    assert code(s3.get_object_tagging, Bucket=bucket, Key="none") == "NoSuchKey"
    assert code(s3.delete_object_tagging, Bucket="nobodys", Key="none") == "NoSuchBucket"


def test_a_file_of_another_program_keeps_what_it_is(server, s3, bucket):
    path = server.path(bucket, "page.html")
    path.write_bytes(b"<p>")
    before = s3.head_object(Bucket=bucket, Key="page.html")
    s3.put_object_tagging(Bucket=bucket, Key="page.html", Tagging=tag_set(team="red"))
    after = s3.head_object(Bucket=bucket, Key="page.html")
    for name in ["ETag", "LastModified", "ContentType"]:
        assert after[name] == before[name], name
    assert tags(s3, bucket, "page.html") == {"team": "red"}
    path.write_bytes(b"<p>other")
    os.utime(path, (1, 1))
    assert tags(s3, bucket, "page.html") == {}, "a new content has no tags"


def test_each_action_is_allowed_by_itself(server, bucket):
    actions = {"get": "GetObjectTagging", "put": "PutObjectTagging", "delete": "DeleteObjectTagging"}
    server.s3().put_object(Bucket=bucket, Key="k", Body=b"", Tagging="a=b")
    for number, (name, action) in enumerate(actions.items(), 40):
        server.add_policy(f"tags-{name}-{bucket}", [
            {"Effect": "Allow", "Action": f"s3:{action}", "Resource": f"arn:aws:s3:::{bucket}/*"}])
        user = server.add_user(f"tags-{name}-{bucket}", f"tags-{name}-{bucket}", number=number)
        s3 = server.s3(user)
        calls = {
            "get": lambda: s3.get_object_tagging(Bucket=bucket, Key="k"),
            "put": lambda: s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(a="b")),
            "delete": lambda: s3.delete_object_tagging(Bucket=bucket, Key="k"),
        }
        for other, call in calls.items():
            if other == name:
                call()
            else:
                assert code(call) == "AccessDenied", (name, other)


def test_tags_survive_a_restart_and_a_record_too_large_for_the_file_system():
    with Server() as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        s3.put_object(Bucket="photos", Key="k", Body=b"data", Metadata={"m": "v" * 2000})
        full = {f"{number:0128}": "é" * 256 for number in range(10)}
        s3.put_object_tagging(Bucket="photos", Key="k", Tagging=tag_set(**full))
        server.restart()
        s3 = server.s3()
        assert tags(s3, "photos", "k") == full
        assert s3.head_object(Bucket="photos", Key="k")["Metadata"] == {"m": "v" * 2000}
        s3.delete_object_tagging(Bucket="photos", Key="k")
        s3.delete_object(Bucket="photos", Key="k")
        assert server.system_files() == [], "nothing is left of the large record"


def test_a_bucket_is_made_with_tags(server):
    s3 = server.s3()
    given = [{"Key": "team", "Value": "red"}, {"Key": "stage", "Value": ""}]
    name = f"tagged-{server.port}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": given})
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == given
    many = {"Tags": [{"Key": f"k{number}", "Value": ""} for number in range(51)]}
    assert code(s3.create_bucket, Bucket=name + "-2", CreateBucketConfiguration=many) == "InvalidTag"
    assert code(s3.head_bucket, Bucket=name + "-2") == "404"
    server.add_policy("makes-buckets", [{"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*"}])
    maker = server.add_user("maker", "makes-buckets", number=50)
    refused = server.s3(maker)
    assert code(refused.create_bucket, Bucket=name + "-3", CreateBucketConfiguration={"Tags": given}) == "AccessDenied"
    refused.create_bucket(Bucket=name + "-3")
