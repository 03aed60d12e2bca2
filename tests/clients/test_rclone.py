"""rclone: directories synchronised to a bucket and back, with names that are awkward somewhere, and compared by rclone's
own check, by hashes, and in the bucket's files."""

import hashlib
import json
import os

import pytest

from programs import check_bucket, content, find, run, sums, sums_below, write_tree


@pytest.fixture(params=["1", "2"])
def rclone(request, server, tmp_path):
    """Runs rclone with the remote `s3`, listing by either version of ListObjects. It tries once."""
    program, user = find("rclone"), server.users["writer"]
    environment = {
        "RCLONE_CONFIG": os.devnull, "HOME": str(tmp_path), "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "Other", "RCLONE_CONFIG_S3_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_S3_LIST_VERSION": request.param,
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": user.name, "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": user.secret,
        "RCLONE_CONFIG_S3_REGION": "us-east-1", "RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true",
        "RCLONE_S3_CHUNK_SIZE": "5Mi", "RCLONE_S3_UPLOAD_CUTOFF": "5Mi", "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
    }
    if server.certificate:
        environment["RCLONE_CA_CERT"] = str(server.certificate.authority)
    return lambda *arguments, **options: run(program, *arguments, environment=environment, **options)


def test_sync_both_ways(server, bucket, rclone, tmp_path):
    source, target, remote = tmp_path / "source", tmp_path / "target", f"s3:{bucket}"
    tree = write_tree(source)
    rclone("sync", source, remote)
    check_bucket(server, bucket, tree)
    rclone("check", source, remote)
    rclone("check", "--download", source, remote)
    assert "There was nothing to transfer" in rclone("sync", "-v", source, remote)

    # Changed, deleted and new on this side; a file that another program put into the bucket, on the other.
    (source / "plain.txt").write_bytes(b"changed")
    (source / "with space").unlink()
    tree = {**tree, "plain.txt": b"changed", "new": b"new"}
    del tree["with space"]
    (source / "new").write_bytes(b"new")
    rclone("check", source, remote, status=1)
    rclone("sync", source, remote)
    check_bucket(server, bucket, tree)
    server.path(bucket, "from posix").write_bytes(b"by another program")
    tree["from posix"] = b"by another program"

    rclone("sync", remote, target)
    assert sums_below(target) == sums(tree)
    times = {path.name: path.stat().st_mtime_ns for path in source.rglob("*") if path.is_file()}
    back = {path.name: path.stat().st_mtime_ns for path in target.rglob("*") if path.is_file()}
    assert {name: back[name] for name in times} == times, "rclone keeps the times of files in metadata"
    rclone("check", target, remote)


def test_copies_on_the_server_and_removal(server, bucket, rclone, tmp_path):
    source, remote = tmp_path / "source", f"s3:{bucket}"
    tree = write_tree(source)
    rclone("copy", source, f"{remote}/here")
    rclone("move", f"{remote}/here", f"{remote}/there")
    check_bucket(server, bucket, tree, below="there")
    assert not server.path(bucket, "here").exists()
    # Above the cut-off a copy is one of parts: UploadPartCopy.
    rclone("--s3-copy-cutoff", "5Mi", "copyto", f"{remote}/there/large/1", f"{remote}/there/copy")
    check_bucket(server, bucket, {**tree, "copy": tree["large/1"]}, below="there")
    # rclone shows control characters as pictures of them. The MD5 of what it sent in parts is in metadata it wrote.
    listed = json.loads(rclone("lsjson", "-R", "--files-only", "--hash", f"{remote}/there"))
    shown = str.maketrans("\n\t\x7f", "␊␉␡")
    assert {entry["Path"]: (entry["Size"], entry["Hashes"]["md5"]) for entry in listed} == \
        {name.translate(shown): (len(body), hashlib.md5(body).hexdigest())
         for name, body in {**tree, "copy": tree["large/1"]}.items()}
    rclone("delete", f"{remote}/there", "--include", "/deep/**")
    assert not server.path(bucket, "there/deep").exists() and server.path(bucket, "there/deep.file").exists()
    rclone("purge", remote)
    assert not server.path(bucket).exists()


def test_a_stream_and_a_range(server, bucket, rclone, tmp_path):
    body = content("stream", 11_000_000)
    (tmp_path / "body").write_bytes(body)
    with open(tmp_path / "body", "rb") as stream:
        rclone("rcat", f"s3:{bucket}/stream", stdin=stream)
    check_bucket(server, bucket, {"stream": body})
    rclone("copyto", f"s3:{bucket}/stream", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == body
    server.path(bucket, "letters").write_bytes(b"abcdefghij")
    assert rclone("cat", "--offset", "2", "--count", "3", f"s3:{bucket}/letters") == "cde"
