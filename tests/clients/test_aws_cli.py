"""aws-cli: directories synchronised to a bucket and back over ten connections, moved on the server, and removed. It sends
every file behind `Expect: 100-continue`, empty ones as well."""

import pathlib
import sys

import pytest

from programs import MIB, check_bucket, keys, run, sums, sums_below, write_tree


@pytest.fixture
def aws(server):
    program = pathlib.Path(sys.executable).with_name("aws")
    environment = {**keys(server), "AWS_MAX_ATTEMPTS": "1"}
    if server.certificate:
        environment["AWS_CA_BUNDLE"] = str(server.certificate.authority)
    return lambda *arguments: run(program, "--endpoint-url", server.endpoint, "--cli-read-timeout", "30", "s3", *arguments,
                                  environment=environment)


def test_sync(server, bucket, aws, tmp_path):
    source, target, remote = tmp_path / "source", tmp_path / "target", f"s3://{bucket}"
    tree = write_tree(source, large=9 * MIB)
    told = aws("sync", "--no-progress", source, f"{remote}/a/")
    assert told.count("upload: ") == len(tree), told
    check_bucket(server, bucket, tree, below="a")
    assert aws("sync", "--no-progress", source, f"{remote}/a/") == "", "nothing is sent twice"

    (source / "plain.txt").write_bytes(b"changed")
    (source / "with space").unlink()
    told = aws("sync", "--no-progress", "--delete", source, f"{remote}/a/")
    assert (told.count("upload: "), told.count("delete: ")) == (1, 1), told
    tree = {**tree, "plain.txt": b"changed"}
    del tree["with space"]
    check_bucket(server, bucket, tree, below="a")
    aws("sync", "--no-progress", f"{remote}/a/", target)
    assert sums_below(target) == sums(tree)

    aws("mv", "--no-progress", "--recursive", f"{remote}/a/", f"{remote}/b/")
    check_bucket(server, bucket, {f"b/{name}": body for name, body in tree.items()})
    told = aws("ls", "--recursive", "--summarize", remote)
    assert f"Total Objects: {len(tree)}" in told and f"Total Size: {sum(map(len, tree.values()))}" in told, told
    aws("rb", "--force", remote)
    assert not server.path(bucket).exists()
