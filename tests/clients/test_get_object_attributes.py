"""GetObjectAttributes: what is asked for and nothing else, parts in pages, and who may ask."""

import base64
import xml.etree.ElementTree
import zlib

import pytest
from botocore.exceptions import ClientError

from conftest import new_bucket
from wire import ask

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
PART = 5 * 1024 * 1024


def refused(call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    answer = failure.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def upload(s3, bucket, key, parts, **arguments):
    """Uploads an object in parts; the answer of its completion."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **arguments)["UploadId"]
    done = []
    for number, data in enumerate(parts, 1):
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        checksums = {name: value for name, value in part.items() if name.startswith("Checksum")}
        done.append({"PartNumber": number, "ETag": part["ETag"], **checksums})
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})


def attributes(s3, bucket, key, names=ALL, **more):
    answer = s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=names, **more)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_an_object_of_one_piece(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="a/b", Body=b"data", StorageClass="STANDARD_IA")
    head = s3.head_object(Bucket=bucket, Key="a/b")
    assert attributes(s3, bucket, "a/b") == {
        "LastModified": head["LastModified"], "ETag": put["ETag"].strip('"'), "ObjectSize": 4,
        "StorageClass": "STANDARD_IA",
        "Checksum": {"ChecksumCRC32": crc32(b"data"), "ChecksumType": "FULL_OBJECT"},
    }
    for name in ALL:
        told = attributes(s3, bucket, "a/b", [name])
        assert set(told) == {"LastModified", name} - {"ObjectParts"}, name


def test_a_file_of_another_program(server, s3, bucket):
    server.path(bucket, "foreign").write_bytes(b"12345")
    told = attributes(s3, bucket, "foreign")
    etag = s3.head_object(Bucket=bucket, Key="foreign")["ETag"].strip('"')
    assert (told["ETag"], told["ObjectSize"], told["StorageClass"]) == (etag, 5, "STANDARD")
    assert "Checksum" not in told and "ObjectParts" not in told


def test_parts_come_with_their_checksums_in_pages(s3, bucket):
    data = [bytes([number]) * PART for number in range(3)] + [b"end"]
    done = upload(s3, bucket, "parts", data, ChecksumAlgorithm="CRC32", ChecksumType="COMPOSITE")
    told = attributes(s3, bucket, "parts")
    assert told["Checksum"] == {"ChecksumCRC32": done["ChecksumCRC32"], "ChecksumType": "COMPOSITE"}
    assert told["ETag"] == done["ETag"].strip('"') and told["ObjectSize"] == 3 * PART + 3
    expected = [{"PartNumber": number, "Size": len(part), "ChecksumCRC32": crc32(part)}
                for number, part in enumerate(data, 1)]
    parts = told["ObjectParts"]
    assert parts["Parts"] == expected and parts["TotalPartsCount"] == 4
    assert (parts["IsTruncated"], parts["MaxParts"], parts["PartNumberMarker"]) == (False, 1000, 0)
    seen, marker = [], 0
    while True:
        page = attributes(s3, bucket, "parts", ["ObjectParts"], MaxParts=3, PartNumberMarker=marker)["ObjectParts"]
        assert (page["MaxParts"], page["PartNumberMarker"], page["TotalPartsCount"]) == (3, marker, 4)
        seen += page["Parts"]
        marker = page["NextPartNumberMarker"]
        if not page["IsTruncated"]:
            break
    assert seen == expected and marker == 4


def test_parts_without_checksums(server, bucket):
    s3 = server.s3(request_checksum_calculation="when_required")
    upload(s3, bucket, "parts", [b"x" * PART, b"y"])
    parts = attributes(s3, bucket, "parts")["ObjectParts"]
    assert [(part["PartNumber"], part["Size"]) for part in parts["Parts"]] == [(1, PART), (2, 1)]


def test_conditions(server, bucket):
    etag = server.s3().put_object(Bucket=bucket, Key="k", Body=b"data")["ETag"]

    def get(*headers):
        return ask(server, "GET", f"/{bucket}/k?attributes", headers=[("x-amz-object-attributes", "ETag"), *headers])

    get(("If-Match", etag)).expect(200)
    get(("If-Match", '"other"')).expect(412, "PreconditionFailed")
    answer = get(("If-None-Match", etag))
    assert answer.status == 304 and answer.headers["etag"] == etag and "last-modified" in answer.headers
    get(("If-None-Match", '"other"')).expect(200)


def test_names_in_one_line_or_in_several(server, bucket):
    server.s3().put_object(Bucket=bucket, Key="k", Body=b"data")
    target = f"/{bucket}/k?attributes"

    def elements(*lines):
        answer = ask(server, "GET", target, headers=[("x-amz-object-attributes", line) for line in lines])
        answer.expect(200)
        root = xml.etree.ElementTree.fromstring(answer.body)
        assert root.tag == "{http://s3.amazonaws.com/doc/2006-03-01/}GetObjectAttributesResponse"
        return [child.tag.partition("}")[2] for child in root]

    assert elements("ObjectSize,ETag") == ["ETag", "ObjectSize"]
    assert elements("ObjectSize", "ETag , StorageClass") == ["ETag", "StorageClass", "ObjectSize"]
    error = ask(server, "GET", target, headers=[("x-amz-object-attributes", "ETag,Size")]).expect(400, "InvalidArgument")
    assert error["ArgumentValue"] == "Size"
    ask(server, "GET", target).expect(400, "InvalidRequest")
    for name in ["x-amz-max-parts", "x-amz-part-number-marker"]:
        headers = [("x-amz-object-attributes", "ETag"), (name, "-1")]
        assert ask(server, "GET", target, headers=headers).expect(400, "InvalidArgument")["ArgumentName"] == name


def test_what_is_missing(s3, bucket):
    assert refused(attributes, s3=s3, bucket=bucket, key="none") == (404, "NoSuchKey")
    assert refused(attributes, s3=s3, bucket="nobodys", key="none") == (404, "NoSuchBucket")
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert refused(attributes, s3=s3, bucket=bucket, key="k", VersionId="0" * 32) == (404, "NoSuchVersion")
    assert refused(attributes, s3=s3, bucket=bucket, key="k", VersionId="no-version") == (400, "InvalidArgument")
    assert attributes(s3, bucket, "k", VersionId="null")["ObjectSize"] == 0


def test_both_permissions_are_needed(http):
    server, bucket = http, new_bucket(http)
    server.s3().put_object(Bucket=bucket, Key="k", Body=b"data")
    for number, actions in enumerate([["GetObject"], ["GetObjectAttributes"], ["GetObject", "GetObjectAttributes"]]):
        name = f"attributes-{number}-{bucket}"
        server.add_policy(name, [{"Effect": "Allow", "Action": [f"s3:{action}" for action in actions],
                                  "Resource": f"arn:aws:s3:::{bucket}/*"}])
        s3 = server.s3(server.add_user(name, name, number=60 + number))
        if len(actions) == 2:
            assert attributes(s3, bucket, "k")["ObjectSize"] == 4
            # Who may not list is not told what is missing.
            assert refused(attributes, s3=s3, bucket=bucket, key="none") == (403, "AccessDenied")
        else:
            assert refused(attributes, s3=s3, bucket=bucket, key="k") == (403, "AccessDenied"), actions
