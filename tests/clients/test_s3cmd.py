"""s3cmd: files put, listed, looked at, copied, synchronised both ways and deleted."""

import pathlib
import sys

from programs import NAMES, check_bucket, content, run, sums_below, write_tree

CONFIGURATION = """[default]
access_key = {user.name}
secret_key = {user.secret}
host_base = {server.host}:{server.port}
host_bucket = {server.host}:{server.port}
use_https = {tls}
ca_certs_file = {authority}
check_ssl_certificate = {tls}
multipart_chunk_size_mb = 5
max_retries = 1
"""


def test_s3cmd(server, tmp_path):
    user, tls = server.users["writer"], server.certificate is not None
    configuration = tmp_path / "s3cfg"
    authority = server.certificate.authority if tls else ""
    configuration.write_text(CONFIGURATION.format(user=user, server=server, tls=tls, authority=authority))
    program = pathlib.Path(sys.executable).with_name("s3cmd")

    def s3cmd(*arguments, **options):
        return run(sys.executable, program, "-c", configuration, "--no-progress", *arguments,
                   environment={"PYTHONWARNINGS": "ignore"}, **options)

    bucket = f"s3cmd-{server.port}"
    remote, source = f"s3://{bucket}", tmp_path / "source"
    s3cmd("mb", remote)
    assert remote in s3cmd("ls")
    told = s3cmd("info", remote)
    assert "Location:  us-east-1" in told, told

    body = content("s3cmd", 12_000_000)
    (tmp_path / "body").write_bytes(body)
    s3cmd("put", "--add-header", "x-amz-meta-made-by:s3cmd", tmp_path / "body", f"{remote}/dir/a+b c%20d.bin")
    check_bucket(server, bucket, {"dir/a+b c%20d.bin": body})
    told = s3cmd("info", f"{remote}/dir/a+b c%20d.bin")
    assert "File size: 12000000" in told and "x-amz-meta-made-by: s3cmd" in told, told
    s3cmd("get", f"{remote}/dir/a+b c%20d.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == body
    s3cmd("cp", f"{remote}/dir/a+b c%20d.bin", f"{remote}/copy é.bin")
    s3cmd("mv", f"{remote}/copy é.bin", f"{remote}/moved é.bin")
    check_bucket(server, bucket, {"dir/a+b c%20d.bin": body, "moved é.bin": body})
    told = s3cmd("ls", remote)
    assert f"DIR  {remote}/dir/" in told and f"12000000  {remote}/moved é.bin" in told, told
    s3cmd("del", "--recursive", "--force", remote)
    assert list(server.path(bucket).iterdir()) == []

    # s3cmd cannot send names with control characters.
    names = [name for name in NAMES if name.isprintable()]
    tree = write_tree(source, names)
    s3cmd("sync", f"{source}/", f"{remote}/tree/")
    check_bucket(server, bucket, tree, below="tree")
    (source / "plain.txt").write_bytes(b"changed")
    (source / "upper").unlink()
    told = s3cmd("sync", "--delete-removed", f"{source}/", f"{remote}/tree/")
    assert told.count("upload: ") == 1 and told.count("delete: ") == 1, told
    s3cmd("sync", f"{remote}/tree/", f"{tmp_path}/target/")
    assert sums_below(tmp_path / "target") == sums_below(source)
    s3cmd("rb", "--recursive", "--force", remote)
    assert not server.path(bucket).exists()
