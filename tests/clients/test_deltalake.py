"""delta-rs: a Delta table in a bucket, without a lock table. Its commits are files of its log that are put only where there
is none yet, so two writers at once exclude each other by `If-None-Match: *` alone."""

import json
import pathlib
import subprocess
import sys

import deltalake
import pyarrow
import pytest

from sluicegate import PATIENCE, environment_without_settings

COMMITS = 15


@pytest.fixture
def options(server, monkeypatch):
    """The options of the store. delta-rs trusts what the system trusts, and this variable says what that is."""
    if server.certificate:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate.authority))
    user = server.users["writer"]
    return {
        "aws_access_key_id": user.name, "aws_secret_access_key": user.secret, "aws_region": "us-east-1",
        "aws_endpoint_url": server.endpoint, "aws_allow_http": "true", "aws_conditional_put": "etag",
    }


def rows(writer, commit):
    return pyarrow.table({"writer": [writer] * 10, "commit": [commit] * 10, "row": range(10)})


def append():
    """What each of the writers does, in a process of its own, once it is told what and that the others are ready too."""
    print("ready", flush=True)
    uri, options, writer = json.loads(sys.stdin.readline())
    for commit in range(COMMITS):
        deltalake.write_deltalake(uri, rows(writer, commit), mode="append", storage_options=options,
                                  commit_properties=deltalake.CommitProperties(max_commit_retries=100))


def test_two_writers_at_once(server, bucket, options):
    uri = f"s3://{bucket}/tables/one"
    deltalake.write_deltalake(uri, rows("first", 0), storage_options=options)
    writers = [subprocess.Popen([sys.executable, "-c", "import test_deltalake; test_deltalake.append()"], text=True,
                                cwd=pathlib.Path(__file__).parent, env=environment_without_settings(),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
               for _ in range(2)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n", writer.stdout.read()
    for number, writer in enumerate(writers):
        print(json.dumps([uri, options, f"writer {number}"]), file=writer.stdin, flush=True)
    for writer in writers:
        told, _ = writer.communicate(timeout=2 * PATIENCE)
        assert writer.returncode == 0, told

    # The log has every version once, and each commit of each writer once; neither has waited for the other's end.
    log = server.path(bucket, "tables/one/_delta_log")
    commits = sorted(path for path in log.iterdir() if path.suffix == ".json")
    assert [path.name for path in commits] == [f"{version:020}.json" for version in range(1 + 2 * COMMITS)]
    added, authors = [], []
    for path in commits:
        actions = [json.loads(line) for line in path.read_text().splitlines()]
        assert len([action for action in actions if "commitInfo" in action]) == 1
        added += [action["add"]["path"] for action in actions if "add" in action]
        authors += [writer for action in actions if "add" in action for writer in ["writer 0", "writer 1"]
                    if writer in action["add"]["stats"]]
    assert sum(one != next for one, next in zip(authors, authors[1:])) > 3, authors
    assert len(added) == len(set(added)) == 1 + 2 * COMMITS
    expected = [("first", 0)] + [(f"writer {number}", commit) for number in range(2) for commit in range(COMMITS)]
    table = deltalake.DeltaTable(uri, storage_options=options)
    assert table.version() == 2 * COMMITS
    found = table.to_pyarrow_table().sort_by([("writer", "ascending"), ("commit", "ascending"), ("row", "ascending")])
    assert found.to_pylist() == [row for name in expected for row in rows(*name).to_pylist()]
    # The same table, read from the bucket's files without the server.
    assert deltalake.DeltaTable(str(server.path(bucket, "tables/one"))).to_pyarrow_table().num_rows == found.num_rows
    user = server.users["writer"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in commits} == {(user.uid, user.gid)}
    assert server.system_files() == []


def test_a_table_through_its_life(server, bucket, options):
    uri, here = f"s3://{bucket}/t", server.path(bucket, "t")
    for commit in range(3):
        deltalake.write_deltalake(uri, rows(f"w {commit}", commit), mode="append", partition_by=["writer"],
                                  storage_options=options)
    table = deltalake.DeltaTable(uri, storage_options=options)
    table.create_checkpoint()
    assert (here / "_delta_log/00000000000000000002.checkpoint.parquet").exists()
    assert (here / "writer=w%201").is_dir() or (here / "writer=w 1").is_dir(), list(here.iterdir())
    assert table.delete("writer = 'w 1'")["num_removed_files"] == 1
    deltalake.write_deltalake(uri, rows("w 0", 7), mode="overwrite", predicate="writer = 'w 0'", storage_options=options)
    table = deltalake.DeltaTable(uri, storage_options=options)
    assert sorted(set(table.to_pyarrow_table()["commit"].to_pylist())) == [2, 7]
    assert deltalake.DeltaTable(uri, version=2, storage_options=options).to_pyarrow_table().num_rows == 30
    unused = table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert len(unused) == 2 and len(list(here.rglob("*.parquet"))) == 2 + 1
    assert table.to_pyarrow_table().num_rows == 20
    with pytest.raises(deltalake.exceptions.TableNotFoundError):
        deltalake.DeltaTable(f"s3://{bucket}/none", storage_options=options)
