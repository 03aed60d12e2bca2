"""Objects of every interesting size, written and read back by boto3, aws-cli and s3fs over HTTP and TLS, on both
drivers: the object's file holds the same bytes and belongs to the user who wrote it."""

import hashlib
import os
import subprocess
import sys

import boto3.s3.transfer
import pytest
import s3fs

from conftest import new_bucket
from sluicegate import PATIENCE, REGION, Server, environment_without_settings

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# Around one page: what is written past the page cache has an unaligned tail, or none.
SIZES = [0, 1, 4 * KIB - 1, 4 * KIB, 4 * KIB + 1, 8 * MIB]
# Around the sizes at which the server changes how it writes and reads.
MORE_SIZES = [32 * KIB, 32 * KIB + 1, 64 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 1 * MIB + 4095,
              8 * MIB + 512 * KIB - 1, 8 * MIB + 512 * KIB + 1]


def content(size, seed=b"sluicegate"):
    """Bytes that are the same each time, and different at every place."""
    return hashlib.shake_128(seed + size.to_bytes(8, "big")).digest(size)


def check_file(server, bucket, key, body, user=None):
    """The object's file is the object, and belongs to its writer."""
    user = user or server.users["writer"]
    path = server.path(bucket, key)
    stat = path.lstat()
    assert stat.st_size == len(body)
    assert path.read_bytes() == body
    assert (stat.st_uid, stat.st_gid) == (user.uid, user.gid)


@pytest.mark.parametrize("size", SIZES + MORE_SIZES)
def test_boto3(any_server, size):
    s3, bucket, body = any_server.s3(), new_bucket(any_server), content(size)
    put = s3.put_object(Bucket=bucket, Key="object", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    check_file(any_server, bucket, "object", body)
    head = s3.head_object(Bucket=bucket, Key="object")
    assert (head["ContentLength"], head["ETag"]) == (size, put["ETag"])
    got = s3.get_object(Bucket=bucket, Key="object")
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"]
    if size > 1:
        got = s3.get_object(Bucket=bucket, Key="object", Range=f"bytes=1-{size - 1}")
        assert got["Body"].read() == body[1:]
        assert got["ContentRange"] == f"bytes 1-{size - 1}/{size}"


@pytest.mark.parametrize("size", SIZES)
def test_aws_cli(server, bucket, size, tmp_path):
    body = content(size)
    (tmp_path / "up").write_bytes(body)
    user = server.users["writer"]
    environment = {
        **environment_without_settings(), "AWS_ACCESS_KEY_ID": user.name, "AWS_SECRET_ACCESS_KEY": user.secret,
        "AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": os.devnull, "AWS_MAX_ATTEMPTS": "1",
    }
    if server.certificate:
        environment["AWS_CA_BUNDLE"] = str(server.certificate.authority)

    def aws(*arguments):
        command = [os.path.join(os.path.dirname(sys.executable), "aws"), "--endpoint-url", server.endpoint, "s3"]
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True,
                              timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    aws("cp", str(tmp_path / "up"), f"s3://{bucket}/some/object")
    check_file(server, bucket, "some/object", body)
    aws("cp", f"s3://{bucket}/some/object", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == body
    assert aws("ls", f"s3://{bucket}/some/").split()[2:] == [str(size), "object"]
    aws("rm", f"s3://{bucket}/some/object")
    assert not server.path(bucket, "some/object").exists()


@pytest.mark.parametrize("size", SIZES)
def test_s3fs(server, bucket, size, tmp_path):
    body = content(size)
    user = server.users["writer"]
    kwargs = {"endpoint_url": server.endpoint, "region_name": REGION}
    if server.certificate:
        kwargs["verify"] = str(server.certificate.authority)
    files = s3fs.S3FileSystem(key=user.name, secret=user.secret, client_kwargs=kwargs, skip_instance_cache=True,
                              config_kwargs={"s3": {"addressing_style": "path"}})
    name = f"{bucket}/a directory/object"
    files.pipe_file(name, body)
    check_file(server, bucket, "a directory/object", body)
    files.invalidate_cache()
    assert files.size(name) == size
    assert files.cat_file(name) == body
    with files.open(f"{bucket}/stream", "wb", block_size=5 * MIB) as stream:
        stream.write(body)
    check_file(server, bucket, "stream", body)
    assert files.find(bucket) == [name, f"{bucket}/stream"]
    files.rm(bucket + "/a directory", recursive=True)
    assert not server.path(bucket, "a directory/object").exists()


@pytest.mark.parametrize("size", [0, 1, 4 * KIB + 1, 8 * MIB])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_ipv6(size, tls, certificate, request):
    body = content(size)
    with Server(listen="127.0.0.1:0,[::1]:0", certificate=certificate if tls else None) as server:
        server.add_user("writer")
        v4, v6 = server.endpoints
        assert "[::1]" in v6
        bucket = new_bucket(server)
        server.s3(endpoint=v6).put_object(Bucket=bucket, Key="object", Body=body)
        check_file(server, bucket, "object", body)
        assert server.s3(endpoint=v6).get_object(Bucket=bucket, Key="object")["Body"].read() == body
        assert server.s3(endpoint=v4).get_object(Bucket=bucket, Key="object")["Body"].read() == body


def test_one_gib_by_multipart(server, bucket, tmp_path):
    """boto3's own transfer manager: parts in parallel, and ranges in parallel on the way back."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    block = content(16 * MIB)
    digest = hashlib.sha256()
    with open(source, "wb") as file:
        for number in range(GIB // len(block)):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece)
            digest.update(piece)
    settings = boto3.s3.transfer.TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=16 * MIB,
                                                max_concurrency=4)
    s3 = server.s3()
    s3.upload_file(str(source), bucket, "big/object", Config=settings)
    stat = server.path(bucket, "big/object").stat()
    user = server.users["writer"]
    assert (stat.st_size, stat.st_uid, stat.st_gid) == (GIB, user.uid, user.gid)
    assert sha256_of(server.path(bucket, "big/object")) == digest.hexdigest()
    head = s3.head_object(Bucket=bucket, Key="big/object", PartNumber=1)
    assert (head["ContentLength"], head["PartsCount"]) == (16 * MIB, 64)
    assert head["ETag"].endswith('-64"')
    source.unlink()
    s3.download_file(bucket, "big/object", str(copy), Config=settings)
    assert sha256_of(copy) == digest.hexdigest()
    copy.unlink()
    s3.delete_object(Bucket=bucket, Key="big/object")
    assert not server.path(bucket, "big").exists()
    assert server.system_files() == []


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
