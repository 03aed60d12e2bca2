"""HTTP/1.1 on a raw socket: keep-alive and pipelining, Expect, both chunked framings inside each other, both styles of
addresses, ranges and conditions, heads that are too long, too slow or ambiguous, and that no body is ever taken for a
request."""

import hashlib
import os
import select
import socket
import time

import pytest

import wire
from conftest import new_bucket
from sluicegate import Server, wait_until
from wire import Connection, Signer, ask, ask_raw, http_chunks, request, signed, unsigned_chunks

BODY = hashlib.shake_128(b"wire").digest(100_000)


@pytest.fixture
def bucket(server):
    return new_bucket(server)


@pytest.fixture
def connection(server):
    with Connection(server) as connection:
        yield connection


def writer(server):
    return server.users["writer"]


def put(server, connection, target, body=b"x", **options):
    return signed(writer(server), connection.host, "PUT", target, body, **options)


def get(server, connection, target, **options):
    return signed(writer(server), connection.host, "GET", target, **options)


# Connections.


def test_keep_alive(server, bucket, connection):
    for number in range(50):
        body = os.urandom(number * 37)
        connection.send(put(server, connection, f"/{bucket}/key", body))
        connection.answer().expect(200)
        connection.send(get(server, connection, f"/{bucket}/key"))
        answer = connection.answer()
        answer.expect(200)
        assert answer.body == body


def test_connection_close(server, connection):
    connection.send(get(server, connection, "/", headers=[("Connection", "close")], unsigned=["Connection"]))
    answer = connection.answer()
    answer.expect(200)
    assert answer.headers["connection"].lower() == "close"
    assert connection.is_closed()


def test_http_1_0(server, bucket, connection):
    for keep_alive in (True, False):
        headers = [("Connection", "keep-alive")] if keep_alive else []
        data = get(server, connection, f"/{bucket}", headers=headers, unsigned=["Connection"])
        connection.send(data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1))
        answer = connection.answer()
        answer.expect(200)
        assert (answer.headers.get("connection", "").lower() == "keep-alive") == keep_alive
    assert connection.is_closed()


def test_pipelining(server, bucket, connection):
    """Many requests at once, bodies among them, are answered one after the other in their order."""
    requests = b""
    for number in range(30):
        requests += put(server, connection, f"/{bucket}/pipelined-{number}", b"%d" % number * 100)
        requests += get(server, connection, f"/{bucket}/pipelined-{number}")
        requests += signed(writer(server), connection.host, "HEAD", f"/{bucket}/pipelined-{number}")
        requests += get(server, connection, f"/{bucket}/missing-{number}")
    connection.send(requests)
    for number in range(30):
        body = b"%d" % number * 100
        connection.answer().expect(200)
        answer = connection.answer()
        answer.expect(200)
        assert answer.body == body
        answer = connection.answer(to_head=True)
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(body)))
        assert connection.answer().expect(404, "NoSuchKey")["Key"] == f"missing-{number}"


def test_pipelining_behind_framed_bodies(server, bucket, connection):
    """What follows a chunked body in the same packet is the next request."""
    requests = b""
    for number in range(20):
        body = BODY[:number * 997]
        headers = [("x-amz-decoded-content-length", str(len(body))), ("Transfer-Encoding", "chunked")]
        head = signed(writer(server), connection.host, "PUT", f"/{bucket}/{number}", headers=headers, length=False,
                      payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        requests += head + http_chunks(unsigned_chunks(body, size=8192), size=1 + number * 700)
        requests += get(server, connection, f"/{bucket}/{number}")
    connection.send(requests)
    for number in range(20):
        connection.answer().expect(200)
        answer = connection.answer()
        answer.expect(200)
        assert answer.body == BODY[:number * 997]


def test_byte_by_byte(server, bucket, connection):
    data = put(server, connection, f"/{bucket}/slow", b"body of a slow client") + get(server, connection, "/")
    for at in range(len(data)):
        connection.send(data[at:at + 1])
    connection.answer().expect(200)
    connection.answer().expect(200)
    assert server.path(bucket, "slow").read_bytes() == b"body of a slow client"


def test_empty_lines_before_a_request(server, connection):
    connection.send(b"\r\n" + get(server, connection, "/"))
    connection.answer().expect(200)


def test_aborted_uploads_leave_nothing(server, bucket):
    """The client disappears in the middle of a body."""
    before = server.descriptors()
    for size in (1, 5000, 90_000):
        with Connection(server) as connection:
            data = put(server, connection, f"/{bucket}/aborted", BODY)
            connection.send(data[:len(data) - len(BODY) + size])
    wait_until(lambda: server.descriptors() <= before, "the server to close the connections and files")
    assert os.listdir(server.path(bucket)) == []
    assert server.system_files() == []


def test_half_closed(http):
    """The client ends its side early: the body is incomplete, and the answer still comes."""
    bucket = new_bucket(http)
    with Connection(http) as connection:
        data = put(http, connection, f"/{bucket}/half", BODY)
        connection.send(data[:-1])
        connection.socket.shutdown(socket.SHUT_WR)
        connection.answer().expect(400, "IncompleteBody")
    assert not http.path(bucket, "half").exists()


# Expect: 100-continue.


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
def test_expect(server, bucket, connection, expect):
    data = put(server, connection, f"/{bucket}/expected", BODY, headers=[("Expect", expect)], unsigned=["Expect"])
    connection.send(data[:-len(BODY)])
    assert connection.head() == (100, {})
    connection.send(BODY)
    connection.answer().expect(200)
    assert server.path(bucket, "expected").read_bytes() == BODY
    # The body came without waiting: no interim answer is needed, and one does no harm.
    connection.send(data)
    connection.answer().expect(200)


def test_expect_of_an_empty_body(server, bucket, connection):
    """Clients are known that take an answer without 100 for a broken one, or for the next one as well (botocore until
    1.43): it comes for an empty body too, and an answer that it could not precede is the connection's last."""
    data = put(server, connection, f"/{bucket}/empty", b"", headers=[("Expect", "100-continue")], unsigned=["Expect"])
    for _ in range(2):
        connection.send(data)
        assert connection.head() == (100, {})
        answer = connection.answer()
        answer.expect(200)
        assert "connection" not in answer.headers
    data = put(server, connection, f"/{bucket}/empty", b"", unsigned=["Expect"],
               headers=[("Expect", "100-continue"), ("If-None-Match", "*")])
    connection.send(data)
    answer = connection.answer()
    answer.expect(412, "PreconditionFailed")
    assert answer.interim == [] and answer.headers["connection"] == "close"
    assert connection.is_closed()


def refused_expectations(server, bucket):
    user, none = writer(server), server.users["none"]
    yield "bad signature", dict(signer=Signer(user, secret="Wrong-secret-1")), user, (403, "SignatureDoesNotMatch")
    yield "not allowed", {}, none, (403, "AccessDenied")
    yield "precondition", dict(headers=[("If-None-Match", "*")]), user, (412, "PreconditionFailed")
    yield "no such bucket", dict(target="/no-such-bucket/key"), user, (404, "NoSuchBucket")
    yield "bad digest header", dict(headers=[("Content-MD5", "x")]), user, (400, "InvalidDigest")


@pytest.mark.parametrize("case", range(5))
def test_expect_is_refused_without_100(server, bucket, case):
    """Authentication, authorization and preconditions come before the body; a refusal is the only answer, and the
    body that the client then sends all the same is no request."""
    if "none" not in server.users:
        server.add_user("none", policy=None, number=3)
    server.path(bucket, "there").write_bytes(b"there")
    _, options, user, (status, code) = list(refused_expectations(server, bucket))[case]
    target = options.pop("target", f"/{bucket}/there")
    headers = [("Expect", "100-continue"), *options.pop("headers", [])]
    with Connection(server) as connection:
        smuggled = get(server, connection, "/")
        data = signed(user, connection.host, "PUT", target, smuggled, headers=headers, unsigned=["Expect"], **options)
        connection.send(data[:-len(smuggled)])
        answer = connection.answer()
        answer.expect(status, code)
        assert answer.interim == []
        try:
            connection.send(smuggled)
        except OSError:
            pass
        if answer.headers.get("connection", "").lower() == "close":
            assert connection.is_closed()
        else:
            connection.send(get(server, connection, f"/{bucket}/there"))
            answer = connection.answer()
            answer.expect(200)
            assert answer.body == b"there"
    assert server.path(bucket, "there").read_bytes() == b"there"


# Framing of bodies.


def chunked_put(server, connection, target, body, trailers=(), payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", size=4000,
                decoded=None, more=()):
    headers = [("x-amz-decoded-content-length", str(len(body) if decoded is None else decoded)),
               ("Transfer-Encoding", "chunked"), ("Content-Encoding", "aws-chunked"), *more]
    if trailers:
        headers.append(("x-amz-trailer", ",".join(name for name, _ in trailers)))
    head = signed(writer(server), connection.host, "PUT", target, headers=headers, length=False, payload=payload)
    return head + http_chunks(unsigned_chunks(body, trailers), size)


@pytest.mark.parametrize("length, size", [
    (0, 1), (1, 1), (4096, 1), (0, 17), (4095, 17), (65536, 17), (100_000, 17), (4096, 4096), (65536, 4096),
    (100_000, 4096), (4095, 70_000), (65536, 70_000), (100_000, 70_000),
])
def test_chunked_inside_chunked(server, bucket, connection, length, size):
    body = BODY[:length]
    connection.send(chunked_put(server, connection, f"/{bucket}/chunked", body, size=size))
    connection.answer().expect(200)
    assert server.path(bucket, "chunked").read_bytes() == body
    connection.send(get(server, connection, f"/{bucket}/chunked"))
    answer = connection.answer()
    assert answer.body == body
    assert "content-encoding" not in answer.headers


def test_signed_chunks_inside_chunked(server, bucket, connection):
    signer = Signer(writer(server))
    headers = [("Host", connection.host), ("x-amz-decoded-content-length", str(len(BODY))),
               ("Transfer-Encoding", "chunked")]
    headers = signer.headers("PUT", f"/{bucket}/both", headers, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    connection.send(request("PUT", f"/{bucket}/both", headers, http_chunks(signer.chunks(BODY), 999)))
    connection.answer().expect(200)
    assert server.path(bucket, "both").read_bytes() == BODY


def test_plain_chunked(server, bucket, connection):
    """A body in HTTP chunks whose length nobody says."""
    for payload in (hashlib.sha256(BODY).hexdigest(), "UNSIGNED-PAYLOAD"):
        head = signed(writer(server), connection.host, "PUT", f"/{bucket}/plain", payload=payload, length=False,
                      headers=[("Transfer-Encoding", "chunked")])
        connection.send(head + http_chunks(BODY, 7777))
        connection.answer().expect(200)
        assert server.path(bucket, "plain").read_bytes() == BODY
        server.path(bucket, "plain").unlink()


def test_chunk_extensions_and_http_trailers(server, bucket, connection):
    head = signed(writer(server), connection.host, "PUT", f"/{bucket}/extended", payload="UNSIGNED-PAYLOAD",
                  length=False, headers=[("Transfer-Encoding", "chunked")])
    connection.send(head + b'5;name="a;b"\r\nhello\r\n0\r\nX-Trailer: ignored\r\n\r\n')
    connection.answer().expect(200)
    assert server.path(bucket, "extended").read_bytes() == b"hello"


@pytest.mark.parametrize("body", [
    b"g\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffffff\r\nhello", b"5 " + b" " * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"\r\n5\r\nhello\r\n0\r\n\r\n",
], ids=lambda body: repr(body[:20]))
def test_malformed_chunks(server, bucket, connection, body):
    """Nothing is stored, and nothing after it is taken for a request."""
    head = signed(writer(server), connection.host, "PUT", f"/{bucket}/malformed", payload="UNSIGNED-PAYLOAD",
                  length=False, headers=[("Transfer-Encoding", "chunked")])
    connection.send(head + body + get(server, connection, "/"))
    answer = connection.answer()
    assert answer.status == 400, answer
    assert connection.is_closed()
    assert not server.path(bucket, "malformed").exists()


def test_no_length(server, bucket, connection):
    connection.send(put(server, connection, f"/{bucket}/no-length", b"", length=False))
    connection.answer().expect(411, "MissingContentLength")


def test_an_early_error_does_not_make_the_body_a_request(server, bucket):
    """The rest of a refused body is skipped or the connection closed: both are right, a second answer is not."""
    for size in (0, 10, 100_000, 3_000_000):
        with Connection(server) as connection:
            smuggled = put(server, connection, f"/{bucket}/smuggled")
            body = smuggled + b"x" * size
            data = signed(writer(server), connection.host, "PUT", "/no-such-bucket/key", body)
            try:
                connection.send(data)
            except OSError:
                # It closed after its answer, which is there to read.
                pass
            answer = connection.answer()
            answer.expect(404, "NoSuchBucket")
            if answer.headers.get("connection", "").lower() == "close":
                assert connection.is_closed()
            else:
                connection.send(get(server, connection, f"/{bucket}/missing"))
                connection.answer().expect(404, "NoSuchKey")
        assert not server.path(bucket, "smuggled").exists()


def test_a_body_where_none_belongs(server, bucket, connection):
    """A GET with a body: the body is skipped."""
    body = put(server, connection, f"/{bucket}/smuggled")
    data = get(server, connection, f"/{bucket}", headers=[("Content-Length", str(len(body)))])
    connection.send(data + body + get(server, connection, f"/{bucket}/missing"))
    connection.answer().expect(200)
    connection.answer().expect(404, "NoSuchKey")
    assert not server.path(bucket, "smuggled").exists()


# Heads.


AMBIGUOUS = {
    "length and coding": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "coding and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "list of lengths": b"Content-Length: 5, 6\r\n",
    "signed length": b"Content-Length: +5\r\n",
    "hexadecimal length": b"Content-Length: 0x5\r\n",
    "negative length": b"Content-Length: -1\r\n",
    "huge length": b"Content-Length: 99999999999999999999\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "coding twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "other coding last": b"Transfer-Encoding: chunked, identity\r\n",
    "hidden coding": b"Transfer-Encoding: xchunked\r\n",
    "space before the colon": b"Content-Length : 5\r\n",
    "folded header": b"X-Folded: a\r\n b\r\n",
    "bare line feed": b"X-Bare: a\nContent-Length: 5\r\n",
    "bare carriage return": b"X-Bare: a\rContent-Length: 5\r\n",
    "null": b"X-Null: a\0b\r\n",
    "second host": b"Host: other\r\n",
    "empty name": b": value\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_heads(server, bucket, connection, name):
    """A head that two readers could understand differently is refused, and the connection closed."""
    host = connection.host.encode()
    smuggled = put(server, connection, f"/{bucket}/smuggled")
    connection.send(b"PUT /%s/key HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (bucket.encode(), host, AMBIGUOUS[name])
                    + b"0\r\n\r\n" + smuggled)
    answer = connection.answer()
    assert answer.status in (400, 501), answer
    assert connection.is_closed()
    assert not server.path(bucket, "smuggled").exists()


@pytest.mark.parametrize("line", [
    b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"GET / HTTP/1.2.3", b"GET /", b"GET  / HTTP/1.1", b"GET / b HTTP/1.1", b"get",
    b"\x16\x03\x01\x02\x00\x01\x00", b"GET nothing HTTP/1.1", b"GET / http/1.1", b"G\xc3\xa9T / HTTP/1.1",
])
def test_bad_request_lines(server, connection, line):
    connection.send(line + b"\r\nHost: " + connection.host.encode() + b"\r\n\r\n" + get(server, connection, "/"))
    answer = connection.answer()
    assert answer.status in (400, 505), answer
    assert connection.is_closed()


def test_missing_host(server, connection):
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    connection.answer().expect(400)
    assert connection.is_closed()


def test_long_heads(server, connection):
    """Up to 16 KiB and 100 headers are taken, signed ones too; more is refused as soon as it is seen."""
    connection.send(get(server, connection, "/", headers=[("X-Long", "a" * 15_000)]))
    connection.answer().expect(200)
    connection.send(get(server, connection, "/", headers=[(f"X-{number}", "a") for number in range(95)]))
    connection.answer().expect(200)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["complete", "endless"])
def test_too_long_a_head(server, connection, end):
    head = b"GET / HTTP/1.1\r\nHost: %s\r\nX-Long: %s" % (connection.host.encode(), b"a" * 17_000)
    connection.send(head + end)
    connection.answer().expect(400, "RequestHeaderSectionTooLarge")
    assert connection.is_closed()


def test_too_many_headers(server, connection):
    connection.send(get(server, connection, "/", headers=[(f"X-{number}", "a") for number in range(100)]))
    connection.answer().expect(400, "RequestHeaderSectionTooLarge")
    assert connection.is_closed()


def test_metadata_is_read_back_by_whoever_sent_it(server, bucket, connection):
    user, target = writer(server), f"/{bucket}/metadata"

    def metadata(sent, agent):
        # Headers are written in ISO-8859-1 here, so that a string of bytes reaches the wire as it is.
        headers = [("x-amz-meta-a", sent.encode().decode("latin-1"))]
        connection.send(signed(user, connection.host, "PUT", target, headers=headers))
        connection.answer().expect(200)
        connection.send(signed(user, connection.host, "GET", target, headers=[("User-Agent", agent)]))
        return connection.answer().headers["x-amz-meta-a"].encode("latin-1")

    botocore = "Boto3/1.44.8 md/Botocore#1.44.8 cfg/retry-mode#standard Botocore/1.44.8"
    for text in ["plain", "Hello Wörld é", "日本語", "é 日"]:
        assert metadata(text, "aws-sdk-rust/1.3.0") == text.encode()
    # It sends UTF-8 and reads ISO-8859-1.
    for text, encoding in [("plain", "ascii"), ("Hello Wörld é", "latin-1"), ("日本語", "utf-8"), ("é 日", "utf-8")]:
        assert metadata(text, botocore) == text.encode(encoding)


def test_keys_with_c1_controls(server, bucket, connection):
    user, target = writer(server), f"/{bucket}/%C2%AE%C2%8A-"

    def ask_for(method, body=b""):
        connection.send(signed(user, connection.host, method, target, body))
        return connection.answer(to_head=method == "HEAD")

    ask_for("HEAD").expect(404)
    ask_for("GET").expect(400, "InvalidURI")
    ask_for("PUT", b"body").expect(200)
    assert ask_for("GET").body == b"body"
    ask_for("DELETE").expect(204)


def test_metadata_too_large(server, bucket, connection):
    connection.send(put(server, connection, f"/{bucket}/meta", headers=[("x-amz-meta-a", "b" * 2047)]))
    connection.answer().expect(200)
    connection.send(put(server, connection, f"/{bucket}/meta", headers=[("x-amz-meta-a", "b" * 2048)]))
    connection.answer().expect(400, "MetadataTooLarge")


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
def test_slow_heads(driver):
    """The head has its time from its first byte on, however slowly it comes; an idle connection has another."""
    with Server(options=["--head-timeout", "1s", "--idle-timeout", "3s"], driver=driver) as server:
        server.add_user("writer")
        with Connection(server) as slow, Connection(server) as idle:
            began = time.monotonic()
            data = get(server, slow, "/")
            for byte in data:
                try:
                    slow.send(bytes([byte]))
                except OSError:
                    break
                if select.select([slow.socket], [], [], 0.05)[0]:
                    break
            lasted = time.monotonic() - began
            assert 0.5 < lasted < 5, f"the slow head lasted {lasted} s"
            assert slow.is_closed(), slow.pending
            began_idle = time.monotonic() - began
            assert idle.is_closed()
            assert 2 < time.monotonic() - began < 10, began_idle


def test_stalled_body():
    """A body that stands still ends with its connection, and leaves nothing."""
    with Server(options=["--stall-timeout", "1s"]) as server:
        server.add_user("writer")
        bucket = new_bucket(server)
        with Connection(server) as connection:
            data = put(server, connection, f"/{bucket}/stalled", BODY)
            connection.send(data[:-1])
            began = time.monotonic()
            answer = connection.answer()
            answer.expect(400, "RequestTimeout")
            assert 0.5 < time.monotonic() - began < 10
            assert connection.is_closed()
        assert os.listdir(server.path(bucket)) == []


# Addresses.


def test_virtual_host_style(http):
    """bucket.domain is the bucket, whatever the case of the host; the longest domain wins."""
    bucket = new_bucket(http)
    dotted = bucket + ".with.dots"
    http.s3().create_bucket(Bucket=dotted)
    for host, target, path in [
        (f"{bucket}.s3.test", "/key", (bucket, "key")),
        (f"{bucket}.S3.Test:8080", "/key2", (bucket, "key2")),
        (f"{dotted}.s3.test", "/dir/key", (dotted, "dir/key")),
        (f"{bucket}.deep.s3.test", "/deep", (bucket, "deep")),
        ("s3.test", f"/{bucket}/path-style", (bucket, "path-style")),
        ("unknown.example", f"/{bucket}/other-name", (bucket, "other-name")),
    ]:
        ask_raw(http, signed(writer(http), host, "PUT", target, b"x")).expect(200)
        assert http.path(*path).read_bytes() == b"x"
    answer = ask_raw(http, signed(writer(http), f"{bucket}.s3.test", "GET", "/?list-type=2&prefix=deep"))
    answer.expect(200)
    assert b"<Key>deep</Key>" in answer.body and f"<Name>{bucket}</Name>".encode() in answer.body


def test_virtual_host_style_of_boto3(http, monkeypatch):
    look_up = socket.getaddrinfo
    names = []

    def look_up_locally(host, *rest, **options):
        names.append(host)
        return look_up("127.0.0.1" if host.endswith(".s3.test") else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_locally)
    s3 = http.s3(endpoint=f"http://s3.test:{http.port}", s3={"addressing_style": "virtual"})
    s3.create_bucket(Bucket="virtual")
    s3.put_object(Bucket="virtual", Key="dir/key", Body=b"virtual")
    assert http.path("virtual", "dir/key").read_bytes() == b"virtual"
    assert s3.get_object(Bucket="virtual", Key="dir/key")["Body"].read() == b"virtual"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="virtual")["Contents"]] == ["dir/key"]
    assert set(names) == {"virtual.s3.test"}


def test_absolute_form(server, bucket, connection):
    """The target is a whole URL, as to a proxy: its authority counts, not the Host header."""
    data = put(server, connection, f"/{bucket}/absolute", b"absolute")
    scheme = b"https" if server.certificate else b"http"
    prefix = scheme + b"://" + connection.host.encode()
    connection.send(data.replace(b"PUT /", b"PUT " + prefix + b"/", 1))
    connection.answer().expect(200)
    assert server.path(bucket, "absolute").read_bytes() == b"absolute"
    data = get(server, connection, "/")
    connection.send(data.replace(b"GET / ", b"GET " + prefix + b" ", 1))
    connection.answer().expect(200)


def test_bucket_with_and_without_slash(server, bucket, connection):
    for target in (f"/{bucket}", f"/{bucket}/", f"/{bucket}?list-type=2", f"/{bucket}/?list-type=2"):
        connection.send(get(server, connection, target))
        answer = connection.answer()
        answer.expect(200)
        assert b"ListBucketResult" in answer.body


# HEAD, ranges, conditions.


@pytest.fixture
def stored(server, bucket, connection):
    connection.send(put(server, connection, f"/{bucket}/stored", BODY, headers=[("Content-Type", "text/x-test")]))
    answer = connection.answer()
    answer.expect(200)
    return f"/{bucket}/stored", answer.headers["etag"]


def head(server, connection, target, **options):
    connection.send(signed(writer(server), connection.host, "HEAD", target, **options))
    return connection.answer(to_head=True)


def test_head_equals_get(server, bucket, connection, stored):
    target, etag = stored
    connection.send(get(server, connection, target))
    whole = connection.answer()
    answer = head(server, connection, target)
    changing = ("date", "x-amz-request-id", "x-amz-id-2")
    assert {k: v for k, v in answer.headers.items() if k not in changing} == {
        k: v for k, v in whole.headers.items() if k not in changing}
    assert (answer.headers["content-length"], answer.headers["etag"]) == (str(len(BODY)), etag)
    assert answer.headers["content-type"] == "text/x-test"
    assert answer.headers["accept-ranges"] == "bytes"
    # Errors of HEAD have no body; what follows on the connection proves it.
    for target, status in [(f"/{bucket}/missing", 404), ("/no-such-bucket/key", 404), ("/no-such-bucket", 404),
                           (f"/{bucket}", 200)]:
        assert head(server, connection, target).status == status
    connection.send(get(server, connection, f"/{bucket}"))
    connection.answer().expect(200)


SIZE = len(BODY)


@pytest.mark.parametrize("header, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=0-9", 0, 9), ("bytes=5-5", 5, 5), (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
    ("bytes=4095-4097", 4095, 4097), ("bytes=70000-", 70000, SIZE - 1), ("bytes=-1", SIZE - 1, SIZE - 1),
    ("bytes=-5000", SIZE - 5000, SIZE - 1), (f"bytes=-{SIZE * 9}", 0, SIZE - 1), (f"bytes=1-{SIZE * 9}", 1, SIZE - 1),
    ("bytes=0-99999999999999999999", 0, SIZE - 1),
])
def test_ranges(server, connection, stored, header, first, last):
    target, etag = stored
    connection.send(get(server, connection, target, headers=[("Range", header)]))
    answer = connection.answer()
    answer.expect(206)
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.body == BODY[first:last + 1]
    assert answer.headers["etag"] == etag
    answer = head(server, connection, target, headers=[("Range", header)])
    assert (answer.status, answer.headers["content-length"]) == (206, str(last - first + 1))


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
def test_unsatisfiable_ranges(server, connection, stored, header):
    connection.send(get(server, connection, stored[0], headers=[("Range", header)]))
    answer = connection.answer()
    fields = answer.expect(416, "InvalidRange")
    assert (fields["RangeRequested"], fields["ActualObjectSize"]) == (header, str(SIZE))
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("header", ["bytes=5-4", "bytes=a-b", "bytes=", "bytes", "lines=0-1", "bytes=0-1,5-6", "bytes=--1"])
def test_ignored_ranges(server, connection, stored, header):
    connection.send(get(server, connection, stored[0], headers=[("Range", header)]))
    answer = connection.answer()
    answer.expect(200)
    assert answer.body == BODY


def test_range_of_an_empty_object(server, bucket, connection):
    connection.send(put(server, connection, f"/{bucket}/empty", b""))
    connection.answer().expect(200)
    connection.send(get(server, connection, f"/{bucket}/empty", headers=[("Range", "bytes=0-")]))
    connection.answer().expect(416, "InvalidRange")


def test_if_range(server, connection, stored):
    target, etag = stored
    for value, status in [(etag, 206), ('"other"', 200)]:
        connection.send(get(server, connection, target, headers=[("Range", "bytes=0-1"), ("If-Range", value)]))
        connection.answer().expect(status)


def test_conditions(server, connection, stored):
    target, etag = stored
    modified = head(server, connection, target).headers["last-modified"]
    past, future = "Mon, 01 Jan 2001 00:00:00 GMT", "Sat, 01 Jan 2101 00:00:00 GMT"
    for headers, status in [
        ([("If-Match", etag)], 200), ([("If-Match", "*")], 200), ([("If-Match", etag.strip('"'))], 200),
        ([("If-Match", '"other"')], 412), ([("If-Match", f'"other", {etag}')], 200),
        ([("If-None-Match", etag)], 304), ([("If-None-Match", "*")], 304), ([("If-None-Match", '"other"')], 200),
        ([("If-None-Match", f'W/{etag}')], 304),
        ([("If-Modified-Since", modified)], 304), ([("If-Modified-Since", past)], 200),
        ([("If-Unmodified-Since", modified)], 200), ([("If-Unmodified-Since", past)], 412),
        ([("If-Match", etag), ("If-Unmodified-Since", past)], 200),
        ([("If-None-Match", '"other"'), ("If-Modified-Since", future)], 200),
        ([("If-Modified-Since", "no date")], 200),
    ]:
        connection.send(get(server, connection, target, headers=headers))
        answer = connection.answer()
        assert answer.status == status, (headers, answer)
        if status == 304:
            assert (answer.headers["etag"], answer.headers["last-modified"]) == (etag, modified)
        if status == 412:
            assert answer.expect(412, "PreconditionFailed")["Condition"].startswith("If-")
        assert head(server, connection, target, headers=headers).status == status, headers


def test_write_conditions(server, bucket, connection, stored):
    target, etag = stored
    new = f"/{bucket}/new"
    for target, headers, status, code in [
        (target, [("If-None-Match", "*")], 412, "PreconditionFailed"),
        (target, [("If-Match", '"other"')], 412, "PreconditionFailed"),
        (target, [("If-Match", etag)], 200, None),
        (new, [("If-Match", etag)], 404, "NoSuchKey"),
        (new, [("If-None-Match", "*")], 200, None),
        (new, [("If-None-Match", "*")], 412, "PreconditionFailed"),
    ]:
        connection.send(put(server, connection, target, b"new", headers=headers))
        connection.answer().expect(status, code)


# Methods and parameters.


def test_unknown_things_are_refused(server, bucket, connection):
    for method, target, status, code in [
        ("PATCH", f"/{bucket}/key", 405, "MethodNotAllowed"), ("POST", f"/{bucket}/key", 405, "MethodNotAllowed"),
        ("GET", "/UPPER/key", 400, "InvalidBucketName"), ("PUT", "/a_b", 400, "InvalidBucketName"),
        ("GET", f"/{bucket}?list-type=2&max-keys=-1", 400, "InvalidArgument"),
        ("GET", f"/{bucket}?list-type=2&max-keys=x", 400, "InvalidArgument"),
        ("GET", f"/{bucket}?encoding-type=rot13", 400, "InvalidArgument"),
        ("GET", f"/{bucket}/key?partNumber=0", 400, "InvalidArgument"),
        ("GET", f"/{bucket}/key?partNumber=10001", 400, "InvalidArgument"),
        ("GET", f"/{bucket}/key?acl&tagging", 400, "InvalidArgument"),
        ("GET", f"/{bucket}/%ff", 400, None), ("GET", f"/{bucket}/%zz", 400, None),
        ("GET", f"/{bucket}/{'k' * 1025}", 400, "KeyTooLongError"),
    ]:
        connection.send(signed(writer(server), connection.host, method, target))
        connection.answer().expect(status, code)
