"""pyarrow (the AWS SDK for C++): a partitioned dataset written, listed, read in pieces and deleted; and files as a file
system's user sees them."""

import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest
from pyarrow.fs import FileType

from programs import MIB, check_bucket, content


@pytest.fixture
def files(server):
    user = server.users["writer"]
    return pyarrow.fs.S3FileSystem(
        access_key=user.name, secret_key=user.secret, region="us-east-1", scheme=server.endpoint.split(":")[0],
        endpoint_override=f"{server.host}:{server.port}", allow_bucket_creation=True, allow_bucket_deletion=True,
        tls_ca_file_path=str(server.certificate.authority) if server.certificate else None,
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=1))


def rows(count):
    """Rows of two years and of days whose names have to be escaped in a path, with enough bytes to be sent in parts."""
    return pyarrow.table({
        "year": [2025 + number % 2 for number in range(count)],
        "day": [["mon day", "tue/sday", "wed=nes%day"][number % 3] for number in range(count)],
        "number": range(count),
        "bytes": [content(number, 64) for number in range(count)],
    })


def in_order(table):
    return table.select(["year", "day", "number", "bytes"]).sort_by("number").combine_chunks()


def test_a_partitioned_dataset(server, bucket, files):
    table, partitioning = rows(30_000), pyarrow.dataset.partitioning(
        pyarrow.schema([("year", pyarrow.int64()), ("day", pyarrow.string())]), flavor="hive")

    def dataset(path, filesystem):
        return pyarrow.dataset.dataset(path, filesystem=filesystem, partitioning=partitioning)

    pyarrow.dataset.write_dataset(table, f"{bucket}/a/table", filesystem=files, format="parquet", partitioning=partitioning,
                                  max_rows_per_file=4000, max_rows_per_group=4000)
    assert in_order(dataset(f"{bucket}/a/table", files).to_table()).equals(table)
    # The same files, read without the server.
    here = server.path(bucket, "a/table")
    assert in_order(dataset(str(here), pyarrow.fs.LocalFileSystem()).to_table()).equals(table)
    user = server.users["writer"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in here.rglob("*.parquet")} == {(user.uid, user.gid)}

    wanted = (pyarrow.dataset.field("year") == 2026) & (pyarrow.dataset.field("number") < 100)
    found = dataset(f"{bucket}/a/table", files).to_table(columns=["number"], filter=wanted)
    assert sorted(found["number"].to_pylist()) == list(range(1, 100, 2))

    listed = files.get_file_info(pyarrow.fs.FileSelector(f"{bucket}/a", recursive=True))
    sizes = {str(path.relative_to(server.root)): path.stat().st_size for path in here.rglob("*.parquet")}
    assert {info.path: info.size for info in listed if info.type == FileType.File} == sizes and len(sizes) == 12
    assert len([info for info in listed if info.type == FileType.Directory]) == 1 + 2 + 6

    # A file that another program writes into the table is part of it.
    more = rows(7)
    pyarrow.parquet.write_table(more.drop_columns(["year", "day"]), here / "year=2025/day=mon%20day/more.parquet")
    assert dataset(f"{bucket}/a/table", files).count_rows() == 30_007

    files.delete_dir(f"{bucket}/a/table/year=2025")
    assert [path.name for path in here.iterdir() if path.is_dir()] == ["year=2026"]
    assert dataset(f"{bucket}/a/table", files).count_rows() == 15_000
    files.delete_dir_contents(f"{bucket}/a")
    assert [path for path in server.path(bucket, "a").iterdir() if path.is_dir()] == []
    assert files.get_file_info(f"{bucket}/a").type == FileType.Directory
    assert files.get_file_info(f"{bucket}/a/table").type == FileType.NotFound
    assert server.system_files() == []


def test_files_and_directories(server, files):
    bucket = f"pyarrow-{server.port}"
    files.create_dir(bucket)
    files.create_dir(f"{bucket}/empty/in empty")
    assert files.get_file_info(f"{bucket}/empty/in empty").type == FileType.Directory
    large, small = content("large", 23 * MIB + 3), content("small", 1000)
    with files.open_output_stream(f"{bucket}/dir/large", metadata={"Content-Type": "application/x-large"}) as stream:
        for start in range(0, len(large), 3 * MIB):
            stream.write(large[start:start + 3 * MIB])
    with files.open_output_stream(f"{bucket}/dir/small é+%") as stream:
        stream.write(small)
    with files.open_output_stream(f"{bucket}/dir/nothing") as stream:
        pass
    check_bucket(server, bucket, {"large": large, "small é+%": small, "nothing": b""}, below="dir")

    with files.open_input_file(f"{bucket}/dir/large") as file:
        assert file.size() == len(large)
        assert file.read_at(5, 16 * MIB - 2) == large[16 * MIB - 2:16 * MIB + 3]
        file.seek(-4, 2)
        assert file.read() == large[-4:]
    with files.open_input_stream(f"{bucket}/dir/large") as stream:
        assert stream.read() == large
        assert stream.metadata()["Content-Type"] == b"application/x-large"
    with pytest.raises(FileNotFoundError):
        files.open_input_file(f"{bucket}/dir")
    with pytest.raises(FileNotFoundError):
        files.open_input_file(f"{bucket}/dir/none")

    files.copy_file(f"{bucket}/dir/small é+%", f"{bucket}/copy")
    files.move(f"{bucket}/dir/small é+%", f"{bucket}/moved")
    # What moves out of a directory may be the last in it: pyarrow puts the object `dir/`, and has put those of empty ones.
    markers = {f"{directory}/.sgate~=": b"" for directory in ["dir", "empty", "empty/in empty"]}
    check_bucket(server, bucket, {"copy": small, "moved": small, "dir/large": large, "dir/nothing": b"", **markers})
    files.delete_file(f"{bucket}/dir/nothing")
    files.delete_file(f"{bucket}/dir/large")
    assert files.get_file_info(f"{bucket}/dir").type == FileType.Directory, "pyarrow keeps what was a directory"
    files.delete_dir(f"{bucket}/dir")
    files.delete_dir(f"{bucket}/empty")
    assert sorted(info.base_name for info in files.get_file_info(pyarrow.fs.FileSelector(bucket))) == ["copy", "moved"]
    files.delete_dir(bucket)
    assert not server.path(bucket).exists()
