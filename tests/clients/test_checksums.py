"""The ten checksum algorithms: right and wrong, in headers and in trailers, stored and given back; Content-MD5; and
multipart objects with full-object and composite checksums. A body that is not what it should be is never stored."""

import base64
import hashlib
import zlib

import awscrt.checksums
import pytest
import xxhash

import wire
from conftest import new_bucket
from wire import Connection, Signer, base64_of, http_chunks, request, signed, unsigned_chunks

MIB = 1 << 20


def big_endian(value, size):
    return value.to_bytes(size, "big")


# Each algorithm by an implementation of somebody else.
ALGORITHMS = {
    "crc32": lambda body: big_endian(zlib.crc32(body), 4),
    "crc32c": lambda body: big_endian(awscrt.checksums.crc32c(body), 4),
    "crc64nvme": lambda body: big_endian(awscrt.checksums.crc64nvme(body), 8),
    "sha1": lambda body: hashlib.sha1(body).digest(),
    "sha256": lambda body: hashlib.sha256(body).digest(),
    "sha512": lambda body: hashlib.sha512(body).digest(),
    "md5": lambda body: hashlib.md5(body).digest(),
    "xxhash64": lambda body: xxhash.xxh64_digest(body),
    "xxhash3": lambda body: xxhash.xxh3_64_digest(body),
    "xxhash128": lambda body: xxhash.xxh3_128_digest(body),
}
BODIES = [b"", b"hello", hashlib.shake_128(b"checksums").digest(300_001)]


def name(algorithm):
    return f"x-amz-checksum-{algorithm}"


def value(algorithm, body):
    return base64_of(ALGORITHMS[algorithm](body))


@pytest.fixture(scope="module")
def buckets():
    return {}


@pytest.fixture
def bucket(server, buckets):
    if server not in buckets:
        buckets[server] = new_bucket(server)
    return buckets[server]


@pytest.fixture
def connection(server):
    with Connection(server) as connection:
        yield connection


def put(server, connection, target, body, headers):
    connection.send(signed(server.users["writer"], connection.host, "PUT", target, body, headers=headers))
    return connection.answer()


def put_trailer(server, connection, target, body, trailers, declared, way="unsigned"):
    """The checksum behind the body: in unsigned chunks, in signed ones, or inside HTTP chunks as SDKs do over TLS."""
    signer = Signer(server.users["writer"])
    headers = [("Host", connection.host), ("x-amz-decoded-content-length", str(len(body))),
               ("Content-Encoding", "aws-chunked")]
    headers += [("x-amz-trailer", declared)] if declared else []
    payload = f"STREAMING-{'AWS4-HMAC-SHA256' if way == 'signed' else 'UNSIGNED'}-PAYLOAD-TRAILER"
    headers = signer.headers("PUT", target, headers, payload)
    framed = signer.chunks(body, trailers=trailers) if way == "signed" else unsigned_chunks(body, trailers)
    if way == "chunked":
        framed = http_chunks(framed, 10_000)
        headers.append(("Transfer-Encoding", "chunked"))
    else:
        headers.append(("Content-Length", str(len(framed))))
    connection.send(request("PUT", target, headers, framed))
    return connection.answer()


def stored(server, connection, target, mode="ENABLED", method="GET", headers=()):
    headers = [("x-amz-checksum-mode", mode), *headers] if mode else list(headers)
    connection.send(signed(server.users["writer"], connection.host, method, target, headers=headers))
    return connection.answer(to_head=method == "HEAD")


def checksums(answer):
    return {key: text for key, text in answer.headers.items() if key.startswith("x-amz-checksum-")}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("way", ["header", "unsigned", "signed", "chunked"])
def test_right(server, bucket, connection, algorithm, way):
    for body in BODIES:
        target, right = f"/{bucket}/{algorithm}-{way}-{len(body)}", value(algorithm, body)
        if way == "header":
            answer = put(server, connection, target, body, [(name(algorithm), right)])
        else:
            answer = put_trailer(server, connection, target, body, [(name(algorithm), right)], name(algorithm), way)
        answer.expect(200)
        expected = {name(algorithm): right, "x-amz-checksum-type": "FULL_OBJECT"}
        assert checksums(answer) == expected
        for method in ("GET", "HEAD"):
            answer = stored(server, connection, target, method=method)
            answer.expect(200)
            assert checksums(answer) == expected, method
            assert answer.body == (body if method == "GET" else b"")
            assert checksums(stored(server, connection, target, mode=None, method=method)) == {}
        if body:
            # The checksum of the whole says nothing of a range.
            assert checksums(stored(server, connection, target, headers=[("Range", "bytes=1-2")])) == {}
        assert server.path(target[1:]).read_bytes() == body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("way", ["header", "unsigned", "signed", "chunked"])
def test_wrong(server, bucket, connection, algorithm, way):
    for body in BODIES:
        target, wrong = f"/{bucket}/wrong", value(algorithm, body + b"!")
        if way == "header":
            answer = put(server, connection, target, body, [(name(algorithm), wrong)])
        else:
            answer = put_trailer(server, connection, target, body, [(name(algorithm), wrong)], name(algorithm), way)
        answer.expect(400, "BadDigest")
        assert not server.path(target[1:]).exists()
    assert server.system_files() == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("malformed", ["", "!", "AAAA", "A" * 200], ids=["empty", "no base64", "short", "long"])
def test_malformed(server, bucket, connection, algorithm, malformed):
    target = f"/{bucket}/malformed"
    put(server, connection, target, b"hello", [(name(algorithm), malformed)]).expect(400, "BadDigest")
    answer = put_trailer(server, connection, target, b"hello", [(name(algorithm), malformed)], name(algorithm))
    answer.expect(400, "InvalidRequest")
    assert not server.path(target[1:]).exists()


def test_contradictions(server, bucket, connection):
    target = f"/{bucket}/contradicting"
    crc, sha = (name("crc32"), value("crc32", b"hello")), (name("sha1"), value("sha1", b"hello"))
    put(server, connection, target, b"hello", [crc, sha]).expect(400, "InvalidRequest")
    put(server, connection, target, b"hello", [(name("crc16"), "AAAA")]).expect(400, "InvalidRequest")
    sdk = "x-amz-sdk-checksum-algorithm"
    put(server, connection, target, b"hello", [crc, (sdk, "SHA1")]).expect(400, "InvalidRequest")
    put(server, connection, target, b"hello", [(sdk, "CRC32")]).expect(400, "InvalidRequest")
    put(server, connection, target, b"hello", [crc, (sdk, "NOTHING")]).expect(400, "InvalidRequest")
    # Trailers: not declared, declared and missing, another one, twice.
    for trailers, declared in [([crc], None), ([], crc[0]), ([sha], crc[0]), ([crc, crc], crc[0])]:
        answer = put_trailer(server, connection, target, b"hello", trailers, declared)
        answer.expect(400, "MalformedTrailerError")
    assert not server.path(target[1:]).exists()


def test_the_server_computes_one_itself(server, bucket, connection):
    target = f"/{bucket}/own"
    answer = put(server, connection, target, b"hello", [])
    expected = {name("crc64nvme"): value("crc64nvme", b"hello"), "x-amz-checksum-type": "FULL_OBJECT"}
    assert checksums(answer) == expected
    assert checksums(stored(server, connection, target)) == expected


def test_mode_in_lower_case(server, bucket, connection):
    """As the AWS SDK for C++ writes it."""
    target = f"/{bucket}/mode"
    put(server, connection, target, b"hello", []).expect(200)
    assert checksums(stored(server, connection, target, mode="enabled"))


def test_content_md5(server, bucket, connection):
    target, right = f"/{bucket}/md5", base64_of(hashlib.md5(b"hello").digest())
    wrong = base64_of(hashlib.md5(b"hellO").digest())
    put(server, connection, target, b"hello", [("Content-MD5", wrong)]).expect(400, "BadDigest")
    for malformed in ("", "!", "AAAA", right[:-2], hashlib.md5(b"hello").hexdigest()):
        put(server, connection, target, b"hello", [("Content-MD5", malformed)]).expect(400, "InvalidDigest")
    assert not server.path(target[1:]).exists()
    put(server, connection, target, b"hello", [("Content-MD5", right)]).expect(200)
    crc = (name("crc32"), value("crc32", b"hello"))
    put(server, connection, target, b"hello", [("Content-MD5", right), crc]).expect(200)
    put(server, connection, target, b"hello", [("Content-MD5", wrong), crc]).expect(400, "BadDigest")


def test_delete_objects_needs_protection(server, bucket, connection):
    """Content-MD5 or any checksum will do; neither is refused."""
    body = b'<Delete><Object><Key>missing</Key></Object></Delete>'
    user = server.users["writer"]

    def post(headers):
        connection.send(signed(user, connection.host, "POST", f"/{bucket}?delete", body, headers=headers))
        return connection.answer()

    post([]).expect(400, "InvalidRequest")
    post([("Content-MD5", base64_of(hashlib.md5(body).digest()))]).expect(200)
    post([("Content-MD5", base64_of(hashlib.md5(b"x").digest()))]).expect(400, "BadDigest")
    for algorithm in ALGORITHMS:
        post([(name(algorithm), value(algorithm, body))]).expect(200)
        post([(name(algorithm), value(algorithm, b"x"))]).expect(400, "BadDigest")


# Multipart.


PARTS = [hashlib.shake_128(b"1").digest(5 * MIB), hashlib.shake_128(b"2").digest(5 * MIB), b"the last part"]
FULL = ["crc32", "crc32c", "crc64nvme"]
COMPOSITE = [algorithm for algorithm in ALGORITHMS if algorithm != "crc64nvme"]


def field(algorithm):
    return f"Checksum{algorithm.upper()}"


def upload(server, connection, target, algorithm, kind, parts=PARTS, with_values=True):
    """Starts an upload and sends its parts; the upload id and the parts for Complete."""
    user = server.users["writer"]
    headers = [("x-amz-checksum-algorithm", algorithm.upper()), ("x-amz-checksum-type", kind)] if algorithm else []
    connection.send(signed(user, connection.host, "POST", f"{target}?uploads", headers=headers))
    answer = connection.answer()
    answer.expect(200)
    if algorithm:
        assert answer.headers["x-amz-checksum-algorithm"] == algorithm.upper()
        assert answer.headers["x-amz-checksum-type"] == kind
    upload_id = answer.body.split(b"<UploadId>")[1].split(b"</UploadId>")[0].decode()
    lines = ""
    for number, part in enumerate(parts, 1):
        headers = [(name(algorithm), value(algorithm, part))] if algorithm and with_values else []
        part_target = f"{target}?partNumber={number}&uploadId={upload_id}"
        connection.send(signed(user, connection.host, "PUT", part_target, part, headers=headers))
        answer = connection.answer()
        answer.expect(200)
        assert answer.headers["etag"] == f'"{hashlib.md5(part).hexdigest()}"'
        if algorithm:
            assert answer.headers[name(algorithm)] == value(algorithm, part)
        checksum = f"<{field(algorithm)}>{value(algorithm, part)}</{field(algorithm)}>" if algorithm and with_values else ""
        lines += f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['etag']}</ETag>{checksum}</Part>"
    return upload_id, f"<CompleteMultipartUpload>{lines}</CompleteMultipartUpload>".encode()


def complete(server, connection, target, upload_id, body, headers=()):
    target = f"{target}?uploadId={upload_id}"
    connection.send(signed(server.users["writer"], connection.host, "POST", target, body, headers=headers))
    return connection.answer()


def check_parts(server, connection, target, algorithm, expected, kind):
    """HEAD and GET of the object and of each part."""
    whole = b"".join(PARTS)
    etag = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in PARTS)).hexdigest()
    answer = stored(server, connection, target, method="HEAD")
    assert answer.headers["etag"] == f'"{etag}-{len(PARTS)}"'
    assert answer.headers["content-length"] == str(len(whole))
    assert checksums(answer) == {name(algorithm): expected, "x-amz-checksum-type": kind}
    offset = 0
    for number, part in enumerate(PARTS, 1):
        for method in ("GET", "HEAD"):
            answer = stored(server, connection, f"{target}?partNumber={number}", method=method)
            answer.expect(206)
            assert answer.headers["content-range"] == f"bytes {offset}-{offset + len(part) - 1}/{len(whole)}"
            assert answer.headers["x-amz-mp-parts-count"] == str(len(PARTS))
            assert answer.headers["etag"] == f'"{etag}-{len(PARTS)}"'
            assert checksums(answer)[name(algorithm)] == value(algorithm, part)
            assert answer.body == (part if method == "GET" else b"")
        offset += len(part)
    stored(server, connection, f"{target}?partNumber={len(PARTS) + 1}").expect(400, "InvalidPart")
    assert server.path(target[1:]).read_bytes() == whole
    user = server.users["writer"]
    stat = server.path(target[1:]).stat()
    assert (stat.st_uid, stat.st_gid) == (user.uid, user.gid)


@pytest.mark.parametrize("algorithm", FULL)
def test_full_object(server, bucket, connection, algorithm):
    target, expected = f"/{bucket}/full-{algorithm}", value(algorithm, b"".join(PARTS))
    upload_id, body = upload(server, connection, target, algorithm, "FULL_OBJECT")
    wrong = complete(server, connection, target, upload_id, body, [(name(algorithm), value(algorithm, b"wrong"))])
    wrong.expect(400, "BadDigest")
    wrong = complete(server, connection, target, upload_id, body, [("x-amz-mp-object-size", "1")])
    assert wrong.status == 400, wrong
    assert not server.path(target[1:]).exists()
    answer = complete(server, connection, target, upload_id, body, [
        (name(algorithm), expected), ("x-amz-checksum-type", "FULL_OBJECT"),
        ("x-amz-mp-object-size", str(sum(map(len, PARTS))))])
    answer.expect(200)
    assert f"<{field(algorithm)}>{expected}</{field(algorithm)}>".encode() in answer.body
    assert b"<ChecksumType>FULL_OBJECT</ChecksumType>" in answer.body
    check_parts(server, connection, target, algorithm, expected, "FULL_OBJECT")
    assert server.system_files() == []


@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_composite(server, bucket, connection, algorithm):
    target = f"/{bucket}/composite-{algorithm}"
    digests = b"".join(ALGORITHMS[algorithm](part) for part in PARTS)
    expected = f"{value(algorithm, digests)}-{len(PARTS)}"
    upload_id, body = upload(server, connection, target, algorithm, "COMPOSITE")
    wrong = body.replace(value(algorithm, PARTS[1]).encode(), value(algorithm, b"x").encode())
    assert wrong != body
    complete(server, connection, target, upload_id, wrong).expect(400, "InvalidPart")
    answer = complete(server, connection, target, upload_id, body)
    answer.expect(200)
    assert f"<{field(algorithm)}>{expected}</{field(algorithm)}>".encode() in answer.body
    assert b"<ChecksumType>COMPOSITE</ChecksumType>" in answer.body
    check_parts(server, connection, target, algorithm, expected, "COMPOSITE")


def test_multipart_without_a_wish(server, bucket, connection):
    """The server computes CRC64NVME of the whole, as S3 does."""
    target = f"/{bucket}/no-wish"
    upload_id, body = upload(server, connection, target, None, None)
    complete(server, connection, target, upload_id, body).expect(200)
    check_parts(server, connection, target, "crc64nvme", value("crc64nvme", b"".join(PARTS)), "FULL_OBJECT")


def test_kinds_that_do_not_exist(server, bucket, connection):
    user = server.users["writer"]
    for algorithm, kind in [("CRC64NVME", "COMPOSITE"), ("SHA256", "FULL_OBJECT"), ("CRC32", "OTHER"), ("CRC16", None)]:
        headers = [("x-amz-checksum-algorithm", algorithm)] + ([("x-amz-checksum-type", kind)] if kind else [])
        connection.send(signed(user, connection.host, "POST", f"/{bucket}/kind?uploads", headers=headers))
        answer = connection.answer()
        assert (answer.status, answer.code) in [(400, "InvalidRequest"), (400, "InvalidArgument")], (algorithm, kind)
    assert server.system_files() == []


def test_wrong_part(server, bucket, connection):
    """A part whose checksum is wrong was never uploaded."""
    target = f"/{bucket}/wrong-part"
    upload_id, body = upload(server, connection, target, "crc32", "FULL_OBJECT", parts=PARTS[:1])
    user = server.users["writer"]
    part = f"{target}?partNumber=2&uploadId={upload_id}"
    for headers, code in [([(name("crc32"), value("crc32", b"x"))], "BadDigest"),
                          ([("Content-MD5", base64_of(hashlib.md5(b"x").digest()))], "BadDigest")]:
        connection.send(signed(user, connection.host, "PUT", part, PARTS[1], headers=headers))
        connection.answer().expect(400, code)
    connection.send(signed(user, connection.host, "GET", f"{target}?uploadId={upload_id}"))
    answer = connection.answer()
    answer.expect(200)
    assert answer.body.count(b"<PartNumber>") == 1
    connection.send(signed(user, connection.host, "DELETE", f"{target}?uploadId={upload_id}"))
    assert connection.answer().status == 204
    assert server.system_files() == []


def test_sizes_of_checksums():
    """The implementations that judge the server give what the algorithms' definitions say."""
    known = {"crc32": "y/Q5Jg==", "crc32c": "4waSgw==", "crc64nvme": "rosUhgp5mIg=", "sha1": "98O8HYCOBHMq32eZZczDTKeuNEE="}
    for algorithm, expected in known.items():
        assert base64.b64encode(ALGORITHMS[algorithm](b"123456789")).decode() == expected, algorithm
