"""polars (the Rust crate object_store): tables written and scanned in a bucket, whole and partitioned."""

import datetime

import polars
import pytest
from polars.testing import assert_frame_equal


@pytest.fixture
def options(server, monkeypatch):
    """The options of the store. polars trusts what the system trusts, and this variable says what that is."""
    if server.certificate:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate.authority))
    user = server.users["writer"]
    return {
        "aws_access_key_id": user.name, "aws_secret_access_key": user.secret, "aws_region": "us-east-1",
        "aws_endpoint_url": server.endpoint, "aws_allow_http": "true", "max_retries": 0,
    }


def rows(count):
    return polars.DataFrame({
        "number": range(count),
        "day": [datetime.date(2026, 1, 1 + number % 3) for number in range(count)],
        "name": [["plain", "é +%/=?", "a b"][number % 3] for number in range(count)],
        "noise": [number * 2654435761 % 2**40 for number in range(count)],
    })


def test_one_file(server, bucket, options):
    table, uri = rows(1_000_000), f"s3://{bucket}/dir/table +%é.parquet"
    table.write_parquet(uri, storage_options=options)
    path, user = server.path(bucket, "dir/table +%é.parquet"), server.users["writer"]
    assert (path.stat().st_uid, path.stat().st_gid) == (user.uid, user.gid)
    assert_frame_equal(polars.read_parquet(path.read_bytes()), table)
    assert_frame_equal(polars.read_parquet(uri, storage_options=options, glob=False), table)
    lazy = polars.scan_parquet(uri, storage_options=options, glob=False)
    found = lazy.filter(polars.col("number") >= 999_990).select("number", "name").collect()
    assert_frame_equal(found, table[999_990:].select("number", "name"))
    # Smaller than the end of the file that polars asks for.
    rows(1).write_parquet(f"s3://{bucket}/small.parquet", storage_options=options)
    assert_frame_equal(polars.read_parquet(f"s3://{bucket}/small.parquet", storage_options=options), rows(1))
    with pytest.raises(FileNotFoundError):
        polars.read_parquet(f"s3://{bucket}/none.parquet", storage_options=options, glob=False)


def test_a_partitioned_table(server, bucket, options):
    table, uri = rows(50_000), f"s3://{bucket}/tables/one"
    table.lazy().sink_parquet(polars.PartitionBy(uri, key=["day", "name"]), storage_options=options, mkdir=True)
    here = server.path(bucket, "tables/one")
    names = sorted(str(path.relative_to(here).parent) for path in here.rglob("*.parquet"))
    assert len(names) == 3 and names[0] == "day=2026-01-01/name=plain", names

    def scanned(source, **options):
        lazy = polars.scan_parquet(source, hive_partitioning=True, hive_schema={"day": polars.Date, "name": polars.String},
                                   **options)
        return lazy.select(table.columns)

    assert_frame_equal(scanned(f"{uri}/", storage_options=options).sort("number").collect(), table)
    assert_frame_equal(scanned(f"{uri}/**/*.parquet", storage_options=options).sort("number").collect(), table)
    assert_frame_equal(scanned(here).sort("number").collect(), table)
    some = scanned(f"{uri}/", storage_options=options).filter(polars.col("name") == "é +%/=?").sort("number").collect()
    assert_frame_equal(some, table.filter(polars.col("name") == "é +%/=?"))
    polars.DataFrame({"a": [1]}).write_csv(f"s3://{bucket}/tables/one.csv", storage_options=options)
    assert server.path(bucket, "tables/one.csv").read_bytes() == b"a\n1\n"
    assert server.system_files() == []
