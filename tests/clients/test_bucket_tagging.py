"""Tags of buckets: kept as they were put, also over a restart, and gone with their bucket."""

import pytest
from botocore.exceptions import ClientError

from sluicegate import Server


def code(call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return failure.value.response["Error"]["Code"]


def test_tags_of_a_bucket():
    with Server() as own_server:
        check_tags(own_server)


def check_tags(own_server):
    own_server.add_user("writer")
    s3 = own_server.s3()
    s3.create_bucket(Bucket="photos")
    assert code(s3.get_bucket_tagging, Bucket="photos") == "NoSuchTagSet"
    tags = [{"Key": "team", "Value": "red"}, {"Key": "é <&>", "Value": ""}]
    answer = s3.put_bucket_tagging(Bucket="photos", Tagging={"TagSet": tags})
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_bucket_tagging(Bucket="photos")["TagSet"] == tags
    own_server.restart()
    s3 = own_server.s3()
    assert s3.get_bucket_tagging(Bucket="photos")["TagSet"] == tags
    twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    assert code(s3.put_bucket_tagging, Bucket="photos", Tagging=twice) == "InvalidTag"
    assert code(s3.put_bucket_tagging, Bucket="nobodys", Tagging={"TagSet": tags}) == "NoSuchBucket"
    assert s3.get_bucket_tagging(Bucket="photos")["TagSet"] == tags, "what is refused changes nothing"
    s3.delete_bucket_tagging(Bucket="photos")
    assert code(s3.get_bucket_tagging, Bucket="photos") == "NoSuchTagSet"
    s3.put_bucket_tagging(Bucket="photos", Tagging={"TagSet": tags})
    s3.delete_bucket(Bucket="photos")
    s3.create_bucket(Bucket="photos")
    assert code(s3.get_bucket_tagging, Bucket="photos") == "NoSuchTagSet", "tags go with their bucket"
