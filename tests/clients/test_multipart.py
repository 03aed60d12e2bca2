"""Multipart uploads: uneven and re-sent parts, order, concurrency, copies as parts, lists, 10,000 parts, restarts, and that
completing equal parts touches no data."""

import base64
import concurrent.futures
import hashlib
import os
import threading
import zlib

import botocore.exceptions
import pytest

from conftest import needs_root, new_bucket
from sluicegate import Server, wait_until
from test_storage import Mounted, code_of

MIB = 1 << 20


def start(s3, bucket, key="k", **options):
    return s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]


def send(s3, bucket, upload, number, body, key="k", **options):
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **options)
    return {"PartNumber": number, "ETag": part["ETag"]}


def complete(s3, bucket, upload, parts, key="k", **options):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **options)


def etag_of(bodies):
    return '"%s-%d"' % (hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest(), len(bodies))


def upload_directory(server, bucket, upload):
    return server.root / f".sluicegate/uploads/{bucket}/{upload}"


@pytest.mark.parametrize("sizes", [
    [5 * MIB, 5 * MIB, 5 * MIB], [5 * MIB, 6 * MIB + 123, 77], [7 * MIB, 5 * MIB, 0], [5 * MIB + 1, 5 * MIB + 1, 3], [0], [1],
    [8 * MIB, 8 * MIB, 9 * MIB],
])
def test_parts_of_any_sizes(server, bucket, s3, sizes):
    bodies = [os.urandom(size) for size in sizes]
    upload = start(s3, bucket, Metadata={"a": "b"}, ContentType="text/x")
    parts = [send(s3, bucket, upload, number, body) for number, body in reversed(list(enumerate(bodies, 1)))][::-1]
    assert complete(s3, bucket, upload, parts)["ETag"] == etag_of(bodies)
    found = s3.get_object(Bucket=bucket, Key="k")
    assert found["Body"].read() == b"".join(bodies) and found["ETag"] == etag_of(bodies)
    assert found["Metadata"] == {"a": "b"} and found["ContentType"] == "text/x"
    for number, body in enumerate(bodies, 1):
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert part["Body"].read() == body and part["PartsCount"] == len(bodies), number
    assert code_of(s3.get_object, Bucket=bucket, Key="k", PartNumber=len(bodies) + 1) == (400, "InvalidPart")
    assert not upload_directory(server, bucket, upload).exists()


def test_a_part_sent_again_counts_as_sent_last(http):
    s3, bucket = http.s3(), new_bucket(http)
    upload = start(s3, bucket)
    old, new, last = (os.urandom(5 * MIB) for _ in range(3))
    first = send(s3, bucket, upload, 1, old)
    send(s3, bucket, upload, 2, b"of another size")
    tail = send(s3, bucket, upload, 2, last)
    again = send(s3, bucket, upload, 1, new)
    assert code_of(complete, s3, bucket, upload, [first, tail]) == (400, "InvalidPart")
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["ETag"]) for part in listed] == [(1, again["ETag"]), (2, tail["ETag"])]
    # Only the last of each is kept: what stands in `data`, and the two that were sent again.
    names = [name.name for name in upload_directory(http, bucket, upload).iterdir()]
    assert len([name for name in names if name.startswith("part-") and name != "part-size"]) == 2, names
    complete(s3, bucket, upload, [again, tail])
    assert http.path(bucket, "k").read_bytes() == new + last


def test_a_subset_and_gaps(http):
    s3, bucket = http.s3(), new_bucket(http)
    upload = start(s3, bucket)
    bodies = {number: os.urandom(5 * MIB) for number in (1, 2, 3, 9999, 10_000)}
    parts = {number: send(s3, bucket, upload, number, body) for number, body in bodies.items()}
    wanted = [2, 3, 10_000]
    done = complete(s3, bucket, upload, [parts[number] for number in wanted])
    assert done["ETag"] == etag_of([bodies[number] for number in wanted])
    assert http.path(bucket, "k").read_bytes() == b"".join(bodies[number] for number in wanted)
    # The first ones alone are in their places, and what stood behind is cut off.
    upload = start(s3, bucket)
    parts = {number: send(s3, bucket, upload, number, body) for number, body in bodies.items()}
    complete(s3, bucket, upload, [parts[1], parts[2]])
    assert http.path(bucket, "k").read_bytes() == bodies[1] + bodies[2]
    assert http.path(bucket, "k").stat().st_blocks * 512 < 12 * MIB


def test_refusals(http):
    s3, bucket = http.s3(), new_bucket(http)
    upload = start(s3, bucket)
    one, two = (send(s3, bucket, upload, number, os.urandom(5 * MIB)) for number in (1, 2))
    small = send(s3, bucket, upload, 3, b"small")
    assert code_of(complete, s3, bucket, upload, [two, one]) == (400, "InvalidPartOrder")
    assert code_of(complete, s3, bucket, upload, [one, small, {**small, "PartNumber": 4}]) == (400, "InvalidPart")
    assert code_of(complete, s3, bucket, upload, []) == (400, "MalformedXML")
    four = send(s3, bucket, upload, 4, b"last")
    assert code_of(complete, s3, bucket, upload, [one, small, four]) == (400, "EntityTooSmall")
    assert code_of(complete, s3, bucket, upload, [one], key="other") == (404, "NoSuchUpload")
    assert code_of(complete, s3, bucket, "0" * 32, [one]) == (404, "NoSuchUpload")
    assert code_of(send, s3, bucket, upload, 10_001, b"") == (400, "InvalidArgument")
    assert code_of(send, s3, bucket, upload, 0, b"") == (400, "InvalidArgument")
    # None of that did any harm.
    complete(s3, bucket, upload, [one, two, small])
    assert code_of(send, s3, bucket, upload, 1, b"late") == (404, "NoSuchUpload")
    assert code_of(s3.abort_multipart_upload, Bucket=bucket, Key="k", UploadId=upload) == (404, "NoSuchUpload")


def test_completing_at_the_same_time_has_one_winner_and_one_answer(http):
    s3, bucket = http.s3(), new_bucket(http)
    for round in range(5):
        upload = start(s3, bucket)
        bodies = [os.urandom(5 * MIB), b"tail %d" % round]
        parts = [send(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)]
        gate = threading.Barrier(6)

        def finish():
            gate.wait()
            try:
                return complete(http.s3(), bucket, upload, parts)["ETag"]
            except botocore.exceptions.ClientError as error:
                return error.response["Error"]["Code"]

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = [answer.result() for answer in [pool.submit(finish) for _ in range(6)]]
        # Who comes while the winner is at it waits for it, and all get one answer.
        assert set(answers) == {etag_of(bodies)}, answers
        # Repeated later it is answered as before.
        assert complete(s3, bucket, upload, parts)["ETag"] == etag_of(bodies)
        assert http.path(bucket, "k").read_bytes() == b"".join(bodies)
    s3.put_object(Bucket=bucket, Key="k", Body=b"newer")
    assert code_of(complete, s3, bucket, upload, parts) == (404, "NoSuchUpload")


def test_parts_at_the_same_time(http):
    """Parts race with each other, also for the same number, and with Complete; what is published never changes after."""
    s3, bucket = http.s3(), new_bucket(http)
    bodies = {number: [os.urandom(5 * MIB) for _ in range(2)] for number in (1, 2, 3)}
    upload = start(s3, bucket)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(send, http.s3(), bucket, upload, number, body) for number in bodies for body in bodies[number]]
        [future.result() for future in sent]
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    kept = {part["PartNumber"]: part["ETag"] for part in listed}
    expected = b""
    for number, candidates in bodies.items():
        expected += next(body for body in candidates if f'"{hashlib.md5(body).hexdigest()}"' == kept[number])
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        late = [pool.submit(send, http.s3(), bucket, upload, number, b"x" * (5 * MIB)) for number in (4, 5, 6, 7)]
        complete(s3, bucket, upload, [{"PartNumber": number, "ETag": tag} for number, tag in sorted(kept.items())])
        for future in late:
            assert future.exception() is None or "NoSuchUpload" in str(future.exception())
    assert http.path(bucket, "k").read_bytes() == expected
    assert not upload_directory(http, bucket, upload).exists()


def test_ten_thousand_parts(http):
    """The table of parts is as long as it can be; that the parts are too small is only said when they are all known."""
    s3, bucket = http.s3(), new_bucket(http)
    upload = start(s3, bucket)
    numbers = range(1, 10_001)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda number: send(s3, bucket, upload, number, b"%d" % number), numbers))
    pages = s3.get_paginator("list_parts").paginate(Bucket=bucket, Key="k", UploadId=upload)
    assert [part["PartNumber"] for page in pages for part in page["Parts"]] == list(numbers)
    assert code_of(complete, s3, bucket, upload, parts) == (400, "EntityTooSmall")
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert not upload_directory(http, bucket, upload).exists()


def test_checksums_of_parts_and_whole(http):
    s3, bucket = http.s3(request_checksum_calculation="when_required"), new_bucket(http)
    bodies = [os.urandom(5 * MIB), os.urandom(6 * MIB + 1), b"tail"]
    whole = b"".join(bodies)
    crc = lambda data: base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    for kind, expected in [
        ("FULL_OBJECT", crc(whole)),
        ("COMPOSITE", crc(b"".join(zlib.crc32(body).to_bytes(4, "big") for body in bodies)) + "-3"),
    ]:
        upload = start(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType=kind)
        parts = []
        for number, body in enumerate(bodies, 1):
            part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body, ChecksumCRC32=crc(body))
            parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
        wrong = [{**parts[0], "ChecksumCRC32": crc(b"wrong")}, *parts[1:]]
        assert code_of(complete, s3, bucket, upload, wrong) == (400, "InvalidPart")
        done = complete(s3, bucket, upload, parts, ChecksumType=kind, MpuObjectSize=len(whole))
        assert (done["ChecksumCRC32"], done["ChecksumType"]) == (expected, kind)
        head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (head["ChecksumCRC32"], head["ChecksumType"]) == (expected, kind)
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, ChecksumMode="ENABLED")
        assert part["ChecksumCRC32"] == crc(bodies[1]) and part["Body"].read() == bodies[1]


# Copies as parts.


def test_upload_part_copy(server, bucket, s3):
    body = os.urandom(11 * MIB + 5)
    s3.put_object(Bucket=bucket, Key="a b/é+", Body=body)
    source = {"Bucket": bucket, "Key": "a b/é+"}
    upload = start(s3, bucket, ChecksumAlgorithm="CRC32")
    ranges = [(0, 5 * MIB), (5 * MIB, 10 * MIB), (10 * MIB, len(body))]
    parts = []
    for number, (begin, end) in enumerate(ranges, 1):
        copied = s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, CopySource=source,
                                     CopySourceRange=f"bytes={begin}-{end - 1}")["CopyPartResult"]
        piece = body[begin:end]
        assert copied["ETag"] == f'"{hashlib.md5(piece).hexdigest()}"'
        assert base64.b64decode(copied["ChecksumCRC32"]) == zlib.crc32(piece).to_bytes(4, "big")
        parts.append({"PartNumber": number, "ETag": copied["ETag"], "ChecksumCRC32": copied["ChecksumCRC32"]})
    # In their places: one file, and the table beside it.
    names = {name.name for name in upload_directory(server, bucket, upload).iterdir()}
    assert names == {"upload", "part-size", "parts", "data"}
    complete(s3, bucket, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    # Whole, mixed with parts that are sent, and empty.
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    upload = start(s3, bucket)
    whole = s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, CopySource=source)["CopyPartResult"]
    sent = send(s3, bucket, upload, 2, b"x" * (5 * MIB))
    empty = s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=3, CopySource=f"{bucket}/empty")
    parts = [{"PartNumber": 1, "ETag": whole["ETag"]}, sent, {"PartNumber": 3, "ETag": empty["CopyPartResult"]["ETag"]}]
    assert whole["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    complete(s3, bucket, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body + b"x" * (5 * MIB)


def test_upload_part_copy_refusals(http):
    s3, bucket = http.s3(), new_bucket(http)
    etag = s3.put_object(Bucket=bucket, Key="source", Body=b"12345")["ETag"]
    upload = start(s3, bucket)

    def copy(source=f"{bucket}/source", **options):
        options = {"UploadId": upload, **options}
        return s3.upload_part_copy(Bucket=bucket, Key="k", PartNumber=1, CopySource=source, **options)

    for text in ["0-2", "bytes=0", "bytes=hello-world", "bytes=0-bar", "bytes=hello-", "bytes=0-2,3-5", "bytes=-2", "bytes=2-",
                 "bytes=3-2"]:
        assert code_of(copy, CopySourceRange=text) == (400, "InvalidArgument"), text
    for text in ["bytes=0-5", "bytes=5-5", "bytes=0-18446744073709551616"]:
        assert code_of(copy, CopySourceRange=text)[1] == "InvalidRange", text
    assert code_of(copy, source=f"{bucket}/missing") == (404, "NoSuchKey")
    assert code_of(copy, source="nobucket/source") == (404, "NoSuchBucket")
    assert code_of(copy, UploadId="0" * 32) == (404, "NoSuchUpload")
    assert code_of(copy, CopySourceIfMatch='"0"') == (412, "PreconditionFailed")
    assert code_of(copy, CopySourceIfNoneMatch=etag) == (412, "PreconditionFailed")
    assert copy(CopySourceIfMatch=etag, CopySourceRange="bytes=1-2")["CopyPartResult"]["ETag"] == (
        f'"{hashlib.md5(b"23").hexdigest()}"')
    # A file that another program wrote has no MD5 until somebody reads it.
    http.path(bucket, "foreign").write_bytes(b"by hand")
    assert copy(source=f"{bucket}/foreign")["CopyPartResult"]["ETag"] == f'"{hashlib.md5(b"by hand").hexdigest()}"'
    # As does one that it changed: the record's MD5 is not believed.
    http.path(bucket, "source").write_bytes(b"54321")
    assert copy()["CopyPartResult"]["ETag"] == f'"{hashlib.md5(b"54321").hexdigest()}"'


def test_list_multipart_uploads(server, bucket, s3):
    keys = ["a", "a", "a/b", "a/c", "b c+é", "z"]
    uploads = [(key, start(s3, bucket, key)) for key in keys]
    done = start(s3, bucket, "done")
    complete(s3, bucket, done, [send(s3, bucket, done, 1, b"x", key="done")], key="done")
    aborted = start(s3, bucket, "aborted")
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=aborted)
    # Of one key the older upload comes first.
    for size in [1, 2, 1000]:
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
        found = [(upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", [])]
        assert found == uploads
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", EncodingType="url")
    assert [upload["Key"] for upload in page["Uploads"]] == ["a", "a", "b%20c%2B%C3%A9", "z"]
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["a/"]
    upload = page["Uploads"][-1]
    assert upload["Initiator"] == upload["Owner"] == {"ID": "writer", "DisplayName": "writer"}
    assert upload["StorageClass"] == "STANDARD" and not page["IsTruncated"] and page["MaxUploads"] == 1000
    page = s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")
    assert [upload["Key"] for upload in page["Uploads"]] == ["a/b", "a/c"]
    # A marker that is gone meanwhile still says where to go on.
    s3.abort_multipart_upload(Bucket=bucket, Key="a", UploadId=uploads[0][1])
    page = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a", UploadIdMarker=uploads[0][1])
    assert [upload["UploadId"] for upload in page["Uploads"]] == [upload for _, upload in uploads[1:]]
    page = s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a")
    assert [upload["UploadId"] for upload in page["Uploads"]] == [upload for _, upload in uploads[2:]]


# Crashes, and what completing costs.


def test_uploads_survive_a_kill():
    """The server is killed in the middle of a part; the upload goes on, and equal parts are still completed in place."""
    with Server() as server:
        server.add_user("writer")
        s3, bucket = server.s3(), new_bucket(server)
        upload = start(s3, bucket, Metadata={"kept": "yes"})
        bodies = [os.urandom(5 * MIB) for _ in range(3)]
        parts = [send(s3, bucket, upload, 1, bodies[0])]

        class Stalling:
            """A body that stops in the middle until the server is gone."""

            def __init__(self):
                self.sent, self.gone = 0, threading.Event()

            def __len__(self):
                return 5 * MIB

            def read(self, size=-1):
                if self.sent >= 2 * MIB:
                    self.gone.wait(30)
                    raise ConnectionError("as the test wants")
                self.sent += MIB
                return bodies[1][self.sent - MIB:self.sent]

        body = Stalling()
        directory = upload_directory(server, bucket, upload)

        def cut_off():
            with pytest.raises(Exception):
                server.s3(request_checksum_calculation="when_required").upload_part(
                    Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, Body=body)

        thread = threading.Thread(target=cut_off)
        thread.start()
        try:
            size = (directory / "data").stat().st_size
            wait_until(lambda: (directory / "data").stat().st_size > size or not thread.is_alive(), "the part to begin")
        finally:
            server.kill()
            body.gone.set()
            thread.join()
        server.start()
        s3 = server.s3()
        assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"] == upload
        assert [part["PartNumber"] for part in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]] == [1]
        parts += [send(s3, bucket, upload, number, bodies[number - 1]) for number in (2, 3)]
        inode = (directory / "data").stat().st_ino
        complete(s3, bucket, upload, parts)
        assert server.path(bucket, "k").read_bytes() == b"".join(bodies)
        assert server.path(bucket, "k").stat().st_ino == inode
        assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"kept": "yes"}
        assert server.system_files() == []
