"""minio-py: the whole round of an object, from the bucket to its removal, with what the client computes itself."""

import hashlib
import io
import json
import ssl
import urllib.error
import urllib.request
from datetime import timedelta

import minio
import minio.commonconfig
import minio.deleteobjects
import pytest
import urllib3

from programs import MIB, check_bucket, content


@pytest.fixture
def client(server):
    return client_of(server)


def client_of(server):
    """A client that asks the server for the bucket's region, and never tries twice."""
    user = server.users["writer"]
    authority = {"cert_reqs": "CERT_REQUIRED", "ca_certs": str(server.certificate.authority)} if server.certificate else {}
    pool = urllib3.PoolManager(retries=False, timeout=60, **authority)
    return minio.Minio(f"{server.host}:{server.port}", access_key=user.name, secret_key=user.secret,
                       secure=server.certificate is not None, http_client=pool)


def test_bucket_objects_and_removal(server, client, tmp_path):
    bucket = f"minio-py-{server.port}"
    assert not client.bucket_exists(bucket)
    client.make_bucket(bucket)
    assert client.bucket_exists(bucket)
    assert bucket in [entry.name for entry in client.list_buckets()]

    small, large = content("small", 100_001), content("large", 11 * MIB + 1)
    tags = minio.commonconfig.Tags.new_object_tags()
    tags["team"] = "red: a+b=c"
    made = client.put_object(bucket, "a/small +%é", io.BytesIO(small), len(small), content_type="text/x-small",
                             metadata={"made-by": "minio"}, tags=tags)
    assert made.etag == hashlib.md5(small).hexdigest()
    # Of unknown length, and in parts that are sent in parallel.
    client.put_object(bucket, "a/large", io.BytesIO(large), -1, part_size=5 * MIB)
    (tmp_path / "file").write_bytes(large)
    client.fput_object(bucket, "file", str(tmp_path / "file"), part_size=5 * MIB)
    check_bucket(server, bucket, {"a/small +%é": small, "a/large": large, "file": large})

    stat = client.stat_object(bucket, "a/small +%é")
    assert (stat.size, stat.etag, stat.content_type) == (len(small), made.etag, "text/x-small")
    assert stat.metadata["x-amz-meta-made-by"] == "minio"
    assert dict(client.get_object_tags(bucket, "a/small +%é")) == {"team": "red: a+b=c"}
    client.delete_object_tags(bucket, "a/small +%é")
    assert not client.get_object_tags(bucket, "a/small +%é")
    with client.get_object(bucket, "a/large") as answer:
        assert answer.read() == large
    with client.get_object(bucket, "a/large", offset=5 * MIB - 3, length=7) as answer:
        assert answer.read() == large[5 * MIB - 3:5 * MIB + 4]
    client.fget_object(bucket, "file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large

    client.copy_object(bucket, "copy", minio.commonconfig.CopySource(bucket, "a/small +%é"))
    client.compose_object(bucket, "composed", [minio.commonconfig.ComposeSource(bucket, "a/large"),
                                               minio.commonconfig.ComposeSource(bucket, "file"),
                                               minio.commonconfig.ComposeSource(bucket, "copy")])
    check_bucket(server, bucket, {"a/small +%é": small, "a/large": large, "file": large, "copy": small,
                                  "composed": large + large + small})
    listed = [(entry.object_name, entry.size) for entry in client.list_objects(bucket)]
    assert listed == [("composed", 2 * len(large) + len(small)), ("copy", len(small)), ("file", len(large)), ("a/", None)]
    listed = [entry.object_name for entry in client.list_objects(bucket, recursive=True, start_after="a/large")]
    assert listed == ["a/small +%é", "composed", "copy", "file"]

    client.remove_object(bucket, "file")
    with pytest.raises(minio.error.S3Error) as failure:
        client.stat_object(bucket, "file")
    assert failure.value.code == "NoSuchKey"
    with pytest.raises(minio.error.S3Error) as failure:
        client.remove_bucket(bucket)
    assert failure.value.code == "BucketNotEmpty"
    names = [entry.object_name for entry in client.list_objects(bucket, recursive=True)]
    assert list(client.remove_objects(bucket, [minio.deleteobjects.DeleteObject(name) for name in names])) == []
    client.remove_bucket(bucket)
    assert not server.path(bucket).exists()


def test_presigned_and_policy(server, client, bucket):
    def fetch(url, method="GET", data=None):
        trusted = ssl.create_default_context(cafile=server.certificate.authority) if server.certificate else None
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), context=trusted) as answer:
            return answer.read()

    body = content("presigned", 70_000)
    fetch(client.presigned_put_object(bucket, "dir/é +%", expires=timedelta(minutes=1)), "PUT", body)
    check_bucket(server, bucket, {"dir/é +%": body})
    assert fetch(client.presigned_get_object(bucket, "dir/é +%")) == body
    plain = f"{server.endpoint}/{bucket}/dir/%C3%A9%20%2B%25"
    with pytest.raises(urllib.error.HTTPError) as failure:
        fetch(plain)
    assert failure.value.code == 403

    with pytest.raises(minio.error.S3Error) as failure:
        client.get_bucket_policy(bucket)
    assert failure.value.code == "NoSuchBucketPolicy"
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/dir/*"}]}
    client.set_bucket_policy(bucket, json.dumps(policy))
    assert json.loads(client.get_bucket_policy(bucket)) == policy
    assert fetch(plain) == body
    client.delete_bucket_policy(bucket)
    with pytest.raises(urllib.error.HTTPError):
        fetch(plain)


def test_a_listing_of_many_pages(server, client, bucket):
    names = sorted(f"{number % 7}/{number:05}" for number in range(2100))
    for name in names:
        path = server.path(bucket, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [entry.object_name for entry in client.list_objects(bucket, recursive=True)] == names
    assert [entry.object_name for entry in client.list_objects(bucket, recursive=True, use_api_v1=True)] == names
    assert [entry.object_name for entry in client.list_objects(bucket)] == [f"{number}/" for number in range(7)]
