"""Clients that mean harm: heads and bodies that come slowly or never, more connections than anybody needs, bombs, and
requests that two readers could take for different ones. Each bound of memory comes from the server's limits, and others
are served all the time. How fast is never asserted: only that it goes on.

SLUICEGATE_TEST_CONNECTIONS (default 2000) is how many connections the tests of many connections make; with 20000 the
limit of open files of this process and of the server has to allow it.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import resource
import select
import socket
import ssl
import threading
from http.client import HTTPResponse
from random import Random

import pytest

import sluicegate
import wire
from conftest import new_bucket, with_users
from sluicegate import Server, wait_until
from wire import Connection, Signer, ask, ask_raw, http_chunks, request, signed, unsigned_chunks

CONNECTIONS = int(os.environ.get("SLUICEGATE_TEST_CONNECTIONS", 2000))

KIB, MIB = 1024, 1024 * 1024

# What the server's `limits` say.
HEAD_BYTES_MAX = 16 * KIB
READ_BUFFER_BYTES_MIN = 4 * KIB
JOINED_BYTES_MAX = 64 * KIB
TRANSFER_BYTES, TRANSFER_MEMORY_MAX = 256 * KIB, 256 * MIB
SPARE_BYTES_MAX = 32 * TRANSFER_BYTES
XML_BODY_BYTES_MAX, DOCUMENT_MEMORY_MAX = 8 * MIB, 64 * MIB
ANSWER_MEMORY_MAX = 128 * MIB
# Pages of listings that are made and not answers yet: their keys, and what is known of each.
KEYS_IN_HAND_BYTES_MAX = 16 * 1000 * (1024 + 512)
UNVERIFIED_BYTES_MAX, UNVERIFIED_MEMORY_MAX = (2 * 32 + 64) * KIB, 128 * MIB
# What a connection takes besides its buffers: its task, its watch, its socket's share. TLS has records of 16 KiB both ways.
CONNECTION_BYTES, TLS_BYTES = 12 * KIB, 64 * KIB
# What an allocator and a lazily mapped binary may add to any of these.
SLACK = 64 * MIB


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    """As many as the tests need; servers inherit the hard limit."""
    wanted = CONNECTIONS + 4096
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def one_core():
    """A server whose memory can be told: one core, and nobody else's requests."""
    with Server(options=["--workers", "1"]) as server:
        yield with_users(server)


@pytest.fixture(scope="module")
def one_core_tls(certificate):
    with Server(options=["--workers", "1"], certificate=certificate) as server:
        yield with_users(server)


@pytest.fixture(params=["one_core", "one_core_tls"])
def alone(request):
    return request.getfixturevalue(request.param)


def memory(server):
    """The resident memory of the server in bytes."""
    with open(f"/proc/{server.pid}/status") as status:
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status.read(), re.MULTILINE).group(1)) * KIB


@contextlib.contextmanager
def bounded(server, bytes_max):
    """The server's memory grows by no more than this, while it happens and afterwards."""
    before, most, over = memory(server), 0, threading.Event()

    def watch():
        nonlocal most
        while not over.wait(0.02):
            most = max(most, memory(server))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    most = max(most, memory(server))
    assert most - before <= bytes_max + SLACK, f"{(most - before) / MIB:.1f} MiB more, not {bytes_max / MIB:.1f}"


def serves(server, bucket, times=20):
    """Others are served: small objects are written and read."""
    with Connection(server) as connection:
        for number in range(times):
            target, body = f"/{bucket}/served-{number}", b"served %d" % number
            connection.send(signed(server.users["writer"], connection.host, "PUT", target, body))
            connection.answer().expect(200)
            connection.send(signed(server.users["writer"], connection.host, "GET", target))
            answer = connection.answer()
            answer.expect(200)
            assert answer.body == body


class Crowd:
    """Many connections, from as many loopback addresses as their ports need."""

    def __init__(self, server, count, tls=False, receive=None):
        self.sockets = []
        context = ssl.create_default_context(cafile=server.certificate.authority) if tls else None
        for number in range(count):
            opened = socket.socket()
            opened.settimeout(sluicegate.PATIENCE)
            if receive:
                # A window this small is closed soon when nobody reads.
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            opened.bind((f"127.0.0.{2 + number // 4000}", 0))
            opened.connect((server.host, server.port))
            self.sockets.append(context.wrap_socket(opened, server_hostname=server.host) if tls else opened)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for opened in self.sockets:
            opened.close()

    def send(self, data):
        for opened in self.sockets:
            opened.sendall(data)

    def told(self):
        """Those that have something to read."""
        poll = select.poll()
        by_number = {opened.fileno(): opened for opened in self.sockets}
        for number in by_number:
            poll.register(number, select.POLLIN)
        return [by_number[number] for number, _ in poll.poll(0)]

    def statuses(self):
        """What the server answered each of them before it closed, if anything; waits for its ends."""
        found = []
        for opened in self.sockets:
            opened.settimeout(sluicegate.PATIENCE)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while data := opened.recv(4096):
                    answer += data
            found.append(int(answer.split(b" ", 2)[1]) if answer else None)
        return found


# Many connections, and slow ones.


def test_a_crowd_of_slow_heads():
    """Each sends the beginning of a head and then nothing. It costs a page each, nobody waits for it, and it ends."""
    with Server(options=["--workers", "1", "--head-timeout", "5s"]) as server:
        with_users(server)
        bucket = new_bucket(server)
        before = server.descriptors()
        with bounded(server, CONNECTIONS * (READ_BUFFER_BYTES_MIN + CONNECTION_BYTES)):
            with Crowd(server, CONNECTIONS) as crowd:
                crowd.send(b"GET /slow HTTP/1.1\r\nHost: slow\r\nX-Slow: ")
                serves(server, bucket)
                statuses = crowd.statuses()
        assert set(statuses) == {None}
        wait_until(lambda: server.descriptors() <= before, "the server to close the connections")
        serves(server, bucket)


def test_a_crowd_of_idle_connections(alone):
    """Connections that were used once and stay open: others are served as before."""
    count = CONNECTIONS if not alone.certificate else CONNECTIONS // 10
    bucket = new_bucket(alone)
    each = READ_BUFFER_BYTES_MIN + CONNECTION_BYTES + (TLS_BYTES if alone.certificate else 0)
    with bounded(alone, count * each):
        with Crowd(alone, count, tls=bool(alone.certificate)) as crowd:
            crowd.send(b"GET / HTTP/1.1\r\nHost: idle\r\n\r\n")
            for opened in crowd.sockets:
                assert opened.recv(12) == b"HTTP/1.1 403"
            serves(alone, bucket)
            # Behind the rest of its first answer comes another one.
            first, answer = crowd.sockets[0], b""
            first.sendall(b"GET / HTTP/1.1\r\nHost: idle\r\n\r\n")
            while b"HTTP/1.1 403" not in answer:
                answer += first.recv(1 << 16)
                assert answer


def test_a_crowd_of_unfinished_handshakes(certificate):
    """A handshake is a part of the head: whoever does not finish it is closed like a slow head."""
    with Server(options=["--workers", "1", "--head-timeout", "2s", "--idle-timeout", "4s"],
                certificate=certificate) as server:
        with_users(server)
        bucket = new_bucket(server)
        before = server.descriptors()
        with bounded(server, 500 * (TLS_BYTES + CONNECTION_BYTES)):
            with Crowd(server, 500) as crowd:
                # The beginning of a ClientHello of 200 bytes.
                crowd.send(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03")
                serves(server, bucket)
                crowd.statuses()
        wait_until(lambda: server.descriptors() <= before, "the server to close the connections")


def test_garbage_instead_of_tls(one_core_tls):
    bucket = new_bucket(one_core_tls)
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000,
                 b"\x80\x2e\x01\x03\x01", b"\x17\x03\x03\x40\x01" + b"x" * 20_000):
        with socket.create_connection((one_core_tls.host, one_core_tls.port), timeout=sluicegate.PATIENCE) as raw:
            with contextlib.suppress(ConnectionError):
                raw.sendall(data)
                while raw.recv(4096):
                    pass
    serves(one_core_tls, bucket)


def test_a_crowd_of_slow_uploads(one_core):
    """Uploads that stand still hold their buffers, and no more of them are taken than the memory allows: the others are
    told to come back, until some are gone."""
    bucket, user = new_bucket(one_core), one_core.users["writer"]
    host = f"{one_core.host}:{one_core.port}"
    data = signed(user, host, "PUT", f"/{bucket}/large", payload="UNSIGNED-PAYLOAD", length=False,
                  headers=[("Content-Length", str(MIB))]) + b"x"
    fit = TRANSFER_MEMORY_MAX // TRANSFER_BYTES
    with bounded(one_core, TRANSFER_MEMORY_MAX):
        with Crowd(one_core, fit + 50) as crowd:
            crowd.send(data)
            wait_until(lambda: len(crowd.told()) >= 50, "50 uploads to be refused")
            told = crowd.told()
            assert len(told) == 50
            assert all(opened.recv(12) == b"HTTP/1.1 503" for opened in told)
            # What needs no buffer is still done.
            ask(one_core, "GET", f"/{bucket}?list-type=2").expect(200)
            ask(one_core, "PUT", f"/{bucket}/small", b"x").expect(503, "SlowDown")
        wait_until(lambda: ask(one_core, "PUT", f"/{bucket}/small", b"x").status == 200, "room for a small object")
    serves(one_core, bucket)
    assert not one_core.path(bucket, "large").exists()
    wait_until(lambda: one_core.system_files() == [], "nothing to be left of the uploads")


FORM = b"POST / HTTP/1.1\r\nHost: s3\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n"


def browser_form(bucket):
    return (b"POST /%s HTTP/1.1\r\nHost: s3\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 60000"
            b"\r\n\r\n--b\r\n" % bucket.encode())


@pytest.mark.parametrize("kind", ["sts", "browser"])
def test_a_crowd_that_is_not_known(one_core, kind):
    """Bodies that are read before their signature is known have a bound of their own: whoever is known is served."""
    bucket = new_bucket(one_core)
    fit = UNVERIFIED_MEMORY_MAX // UNVERIFIED_BYTES_MAX
    with bounded(one_core, UNVERIFIED_MEMORY_MAX):
        with Crowd(one_core, fit + 30) as crowd:
            crowd.send(FORM if kind == "sts" else browser_form(bucket))
            wait_until(lambda: len(crowd.told()) >= 30, "30 forms to be refused")
            told = crowd.told()
            assert len(told) == 30
            assert all(opened.recv(12) == b"HTTP/1.1 503" for opened in told)
            serves(one_core, bucket)
            ask(one_core, "PUT", f"/{bucket}/large", os.urandom(3 * MIB)).expect(200)
            assert len(crowd.told()) == 30, "the others wait"
    wait_until(lambda: ask_raw(one_core, b"POST / HTTP/1.1\r\nHost: s3\r\nContent-Length: 8\r\nContent-Type: "
                               b"application/x-www-form-urlencoded\r\n\r\nAction=x").status != 503, "room for a form")


@pytest.mark.parametrize("kind", ["sts", "browser", "known"])
def test_bodies_that_drip(kind):
    """A body that comes a byte at a time never stands still. A sender who is known may take the time; one who is not has
    it once."""
    with Server(options=["--workers", "1", "--stall-timeout", "3s"]) as server:
        with_users(server)
        bucket = new_bucket(server)
        with Connection(server) as connection:
            if kind == "known":
                data = signed(server.users["writer"], connection.host, "PUT", f"/{bucket}/drip", b"x" * 30)
                connection.send(data[:-30])
            else:
                connection.send(FORM if kind == "sts" else browser_form(bucket))
            sent, ended = 0, []
            while not ended and sent < (30 if kind == "known" else 600):
                connection.send(b"x")
                sent += 1
                ended = select.select([connection.socket], [], [], 0.25)[0]
            answer = connection.answer()
            if kind == "known":
                answer.expect(200)
                assert server.path(bucket, "drip").read_bytes() == b"x" * 30
            else:
                assert sent < 600
                assert answer.status == 400 and b"RequestTimeout" in answer.body, answer
                assert connection.is_closed()


# Much at once, on one connection.


def test_thousands_of_pipelined_requests(alone):
    """They are answered in their order, and none of them is taken before the answers in front of it have left: a client
    that reads nothing makes the server hold nothing."""
    bucket = new_bucket(alone)
    count = 10_000 if not alone.certificate else 1000
    with bounded(alone, HEAD_BYTES_MAX + MIB), Connection(alone) as connection:
        user = alone.users["writer"]
        good = signed(user, connection.host, "GET", f"/{bucket}/missing")
        bad = b"GET /%s/nobody HTTP/1.1\r\nHost: %s\r\n\r\n" % (bucket.encode(), connection.host.encode())
        last = signed(user, connection.host, "GET", "/", headers=[("Connection", "close")], unsigned=["Connection"])
        data = (good + bad) * (count // 2) + last
        sender = threading.Thread(target=connection.send, args=[data])
        if alone.certificate:
            # One thread at a time may use a TLS socket: as much as fits is sent in front of each answer.
            send_and_read(connection, data, count)
        else:
            sender.start()
            for _ in range(count // 2):
                assert connection.answer().status == 404
                assert connection.answer().status == 403
            sender.join()
        connection.answer().expect(200)
        assert connection.is_closed()


def send_and_read(connection, data, count):
    """Sends everything and reads the answers to all but the last request meanwhile."""
    at, piece = 0, 16 * KIB
    for number in range(count):
        while at < len(data) and (at - piece) * count <= number * len(data):
            connection.send(data[at:at + piece])
            at += piece
        assert connection.answer().status == (403 if number % 2 else 404)


def test_a_pipeline_whose_answers_nobody_reads(one_core):
    bucket = new_bucket(one_core)
    ask(one_core, "PUT", f"/{bucket}/object", os.urandom(60_000)).expect(200)
    with bounded(one_core, 100 * (JOINED_BYTES_MAX + HEAD_BYTES_MAX + CONNECTION_BYTES)):
        with Crowd(one_core, 100) as crowd:
            data = signed(one_core.users["writer"], f"{one_core.host}:{one_core.port}", "GET", f"/{bucket}/object") * 500
            for opened in crowd.sockets:
                opened.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    opened.send(data)
            serves(one_core, bucket)


def test_listings_that_nobody_reads(one_core):
    """A page of the longest keys takes megabytes: so many of them are held, and the others are told to come back."""
    bucket, user = new_bucket(one_core), one_core.users["writer"]
    # Quotes are written as references of six bytes.
    quotes = '"' * 250
    directory = one_core.path(bucket) / quotes / quotes / quotes
    directory.mkdir(parents=True)
    for number in range(1000):
        (directory / (quotes + f"{number:04}")).touch()
    page = ask(one_core, "GET", f"/{bucket}")
    page.expect(200)
    assert page.body.count(b"<Key>") == 1000 and len(page.body) > 5_000_000
    data = signed(user, f"{one_core.host}:{one_core.port}", "GET", f"/{bucket}")
    fit = ANSWER_MEMORY_MAX // len(page.body)
    with bounded(one_core, ANSWER_MEMORY_MAX + KEYS_IN_HAND_BYTES_MAX):
        # All at once: pages are not made faster than the core makes answers of them.
        with Crowd(one_core, fit + 60, receive=4096) as crowd:
            crowd.send(data)
            wait_until(lambda: len(crowd.told()) == fit + 60, "each of them to be answered, or its answer begun")
            statuses = [opened.recv(12)[9:] for opened in crowd.sockets]
            assert set(statuses) == {b"200", b"503"}
            serves(one_core, bucket)
            # And again and again, with smaller pages, once they take what is left: nothing stays of those that are refused.
            smaller = signed(user, f"{one_core.host}:{one_core.port}", "GET", f"/{bucket}?max-keys=500")
            with Crowd(one_core, 5, receive=4096) as rest, Connection(one_core) as connection:
                rest.send(smaller)
                wait_until(lambda: len(rest.told()) == 5, "each of them to be answered, or its answer begun")
                for _ in range(100):
                    connection.send(smaller)
                    connection.answer().expect(503, "SlowDown")
    wait_until(lambda: ask(one_core, "GET", f"/{bucket}").status == 200, "room for a page")


def test_documents_that_never_end(one_core):
    """The largest documents, all but their end: so many are held, and the others are told to come back."""
    bucket, user = new_bucket(one_core), one_core.users["writer"]
    count = DOCUMENT_MEMORY_MAX // XML_BODY_BYTES_MAX + 4
    data = signed(user, f"{one_core.host}:{one_core.port}", "POST", f"/{bucket}?delete", payload="UNSIGNED-PAYLOAD",
                  length=False, headers=[("Content-Length", str(XML_BODY_BYTES_MAX)), ("x-amz-checksum-crc32", "AAAAAA==")])
    with bounded(one_core, DOCUMENT_MEMORY_MAX + 2 * XML_BODY_BYTES_MAX + count * TRANSFER_BYTES):
        with Crowd(one_core, count) as crowd:
            with contextlib.suppress(ConnectionError):
                for opened in crowd.sockets:
                    opened.sendall(data + b" " * (XML_BODY_BYTES_MAX - 1))
            wait_until(crowd.told, "one of them to be refused")
            assert all(opened.recv(12) == b"HTTP/1.1 503" for opened in crowd.told())
            serves(one_core, bucket)
    tagging = b"<Tagging><TagSet/></Tagging>"
    wait_until(lambda: ask(one_core, "PUT", f"/{bucket}/served-0?tagging", tagging,
                           headers=[("Content-MD5", md5(tagging))]).status == 200, "room for a document")


def md5(body):
    return wire.base64_of(hashlib.md5(body).digest())


# Bombs.


def post(server, target, body, method="POST"):
    return ask(server, method, target, body, headers=[("Content-MD5", md5(body))])


def entities(count):
    lines = ["<!ENTITY a0 \"ha\">"] + [f"<!ENTITY a{n} \"&a{n - 1};&a{n - 1};\">" for n in range(1, count)]
    return f"<!DOCTYPE Delete [{''.join(lines)}]><Delete><Object><Key>&a{count - 1};</Key></Object></Delete>".encode()


BOMBS = {
    "entities": entities(40),
    "external entity": b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key></Object></Delete>',
    "depth": b"<Delete>" + b"<Object>" * 900_000,
    "attributes": b"<Delete " + b" ".join(b'xmlns:a%d=""' % n for n in range(400_000)) + b"></Delete>",
    "one attribute": b'<Delete xmlns="' + b"x" * 8_000_000 + b'"><x/></Delete>',
    "one name": b"<" + b"a" * 8_000_000 + b"/>",
    "comments": b"<Delete>" + b"<!---->" * 1_100_000 + b"</Delete>",
    "one comment": b"<Delete><!--" + b"-" * 8_000_000,
    "instructions": b"<?x?>" * 1_500_000,
    "references": b"<Delete><Object><Key>" + b"&#65;" * 1_500_000 + b"</Key></Object><x/></Delete>",
    "open brackets": b"<" * 8_000_000,
    "data": b"<Delete><Object><Key><![CDATA[" + b"]" * 8_000_000,
    "too many objects": b"<Delete>" + b"<Object><Key>k</Key></Object>" * 250_000 + b"</Delete>",
}


@pytest.mark.parametrize("name", BOMBS)
def test_xml_bombs(one_core, name):
    bucket = new_bucket(one_core)
    with bounded(one_core, 3 * XML_BODY_BYTES_MAX):
        post(one_core, f"/{bucket}?delete", BOMBS[name]).expect(400, "MalformedXML")
    serves(one_core, bucket, times=1)


def test_the_largest_deletion(one_core):
    """A thousand keys of 1,024 bytes, each byte written as a reference."""
    bucket = new_bucket(one_core)
    keys = [f"{number:04}/".ljust(250, "k") + "/" + "k" * 250 + "/" + "k" * 250 + "/" + "k" * 271
            for number in range(1000)]
    assert {len(key) for key in keys} == {1024}
    references = ["".join(f"&#{ord(character):03};" for character in key) for key in keys]
    body = "".join(f"<Object><Key>{key}</Key></Object>" for key in references)
    body = f"<Delete>{body}</Delete>".encode()
    assert 6_000_000 < len(body) <= XML_BODY_BYTES_MAX
    with bounded(one_core, 4 * XML_BODY_BYTES_MAX):
        answer = post(one_core, f"/{bucket}?delete", body)
        answer.expect(200)
    assert answer.body.count(b"<Deleted>") == 1000 and keys[999].encode() in answer.body


def test_the_largest_completion(one_core):
    """Ten thousand parts with every checksum there is, of an upload that has none of them; and one more than may be."""
    bucket = new_bucket(one_core)
    upload = one_core.s3().create_multipart_upload(Bucket=bucket, Key="key")["UploadId"]
    checksums = "".join(f"<Checksum{name}>AAAAAA==</Checksum{name}>" for name in ("CRC32", "CRC32C", "SHA1", "SHA256"))

    def body(count):
        parts = (f"<Part><PartNumber>{number}</PartNumber><ETag>{'0' * 32}</ETag>{checksums}</Part>"
                 for number in range(1, count + 1))
        return f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()

    with bounded(one_core, 6 * XML_BODY_BYTES_MAX):
        post(one_core, f"/{bucket}/key?uploadId={upload}", body(10_000)).expect(400)
        post(one_core, f"/{bucket}/key?uploadId={upload}", body(10_001)).expect(400, "MalformedXML")
    one_core.s3().abort_multipart_upload(Bucket=bucket, Key="key", UploadId=upload)


def statement(**elements):
    return {"Effect": "Allow", "Action": "s3:GetObject", "Principal": "*", **elements}


def test_policy_bombs(one_core):
    """Documents that are deep, long, or full of patterns that a careless matcher tries in every way."""
    bucket = new_bucket(one_core)
    resource = f"arn:aws:s3:::{bucket}/"
    depth = 8000
    for text in [b"[" * 20_000, b'{"a":' * 3000, b'{"Version":"2012-10-17","Statement":' + b"[" * depth + b"]" * depth + b"}",
                 b'{"Statement":[' + b'{"Effect":"Allow"},' * 900, b'"' + b"\\u0000" * 3000 + b'"', b"1e" + b"9" * 15_000]:
        post(one_core, f"/{bucket}?policy", text, "PUT").expect(400, "MalformedPolicy")
    too_large = {"Version": "2012-10-17", "Statement": [statement(Resource=resource + "x" * 21_000)]}
    assert post(one_core, f"/{bucket}?policy", json.dumps(too_large).encode(), "PUT").status == 400
    stars = {"Version": "2012-10-17", "Statement": [
        statement(Resource=[resource + "*a" * 100 + "b"] * 60,
                  Condition={"StringLike": {"aws:Referer": ["*a" * 200 + "b"] * 10}})]}
    assert len(json.dumps(stars)) < 20 * KIB
    with bounded(one_core, 16 * MIB):
        post(one_core, f"/{bucket}?policy", json.dumps(stars).encode(), "PUT").expect(204)
        for _ in range(20):
            asked = b"GET /%s/%s HTTP/1.1\r\nHost: s3\r\nReferer: %s\r\n\r\n" % (bucket.encode(), b"a" * 1000, b"a" * 8000)
            assert ask_raw(one_core, asked).status == 403
    ask(one_core, "DELETE", f"/{bucket}?policy").expect(204)


def test_queries_and_headers_full_of_nothing(one_core):
    """As many parameters, values and names as a head can hold."""
    bucket, user = new_bucket(one_core), one_core.users["writer"]
    ask(one_core, "PUT", f"/{bucket}/key", b"x").expect(200)
    with Connection(one_core) as connection:
        def check(target, expected, **options):
            connection.send(signed(user, connection.host, "GET", target, **options))
            answer = connection.answer()
            assert answer.status in expected, answer

        check(f"/{bucket}?" + "&".join(f"z{number}" for number in range(2500, 0, -1)), {200})
        # The signer has another idea of what a parameter without a name is than AWS.
        check(f"/{bucket}?" + "&" * 14_000, {403})
        check(f"/{bucket}?prefix=" + "%25" * 4500, {200})
        check(f"/{bucket}/" + "%2F" * 1024, {400, 404})
        check(f"/{bucket}/" + "../" * 340, {400, 404})
        check(f"/{bucket}/key", {200, 206, 416}, headers=[("Range", "bytes=" + ",".join(["0-0"] * 3500))])
        check(f"/{bucket}/key", {200}, headers=[("If-None-Match", ",".join(['"a"'] * 3800))])
        check(f"/{bucket}/key", {412}, headers=[("If-Match", ",".join(['W/"a"'] * 2300))])
        check(f"/{bucket}/key", {200}, headers=[("x-amz-meta-blanks", " a" * 7000)])
        check(f"/{bucket}/key", {200}, headers=[("Origin", "o" * 7000), ("Access-Control-Request-Headers", "a," * 3000)])
        names = ";".join(["host"] * 3000)
        head = request("GET", f"/{bucket}/key", [("Host", connection.host), ("x-amz-date", wire.now()), (
            "Authorization", f"AWS4-HMAC-SHA256 Credential={user.name}/{wire.now()[:8]}/us-east-1/s3/aws4_request, "
            f"SignedHeaders={names}, Signature={'0' * 64}")])
        connection.send(head)
        assert connection.answer().status in (400, 403)


def test_chunks_of_one_byte(server):
    """Both framings may come in the smallest pieces; what they make of it is the object, and memory does not grow."""
    bucket = new_bucket(server)
    body = os.urandom(50_000)
    for framed, name in [(unsigned_chunks(body, size=1), "inner"), (http_chunks(unsigned_chunks(body), size=1), "outer")]:
        headers = [("x-amz-decoded-content-length", str(len(body)))]
        headers.append(("Transfer-Encoding", "chunked") if name == "outer" else ("Content-Length", str(len(framed))))
        with Connection(server) as connection:
            head = signed(server.users["writer"], connection.host, "PUT", f"/{bucket}/{name}", headers=headers,
                          length=False, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            connection.send(head + framed)
            connection.answer().expect(200)
        assert server.path(bucket, name).read_bytes() == body


def test_lines_of_chunks_are_bounded(server):
    """What frames a body is no place to put gigabytes: extensions and trailers end somewhere."""
    bucket = new_bucket(server)
    long = b"x" * 100_000
    for body in (b"1;" + long, b"1" * 100_000, b"0\r\nx-amz-checksum-crc32:" + long, b"0\r\n" + b"a: b\r\n" * 20_000):
        for payload in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
            with Connection(server) as connection:
                headers = [("Transfer-Encoding", "chunked")]
                if payload != "UNSIGNED-PAYLOAD":
                    headers.append(("x-amz-decoded-content-length", "1"))
                    body = http_chunks(body, size=4096)
                head = signed(server.users["writer"], connection.host, "PUT", f"/{bucket}/bounded", payload=payload,
                              headers=headers, length=False)
                with contextlib.suppress(ConnectionError):
                    connection.send(head + body)
                answer = connection.answer()
                assert answer.status == 400, answer
    assert not server.path(bucket, "bounded").exists()


# Requests that two readers take for different ones.


SMUGGLED = {
    "coding on the next line": b"Transfer-Encoding:\r\n chunked\r\n",
    "tab before the colon": b"Transfer-Encoding\t: chunked\r\n",
    "vertical tab": b"Transfer-Encoding:\x0bchunked\r\n",
    "form feed": b"Transfer-Encoding: chunked\x0c\r\n",
    "quoted coding": b'Transfer-Encoding: "chunked"\r\n',
    "coding with a parameter": b"Transfer-Encoding: chunked;a=b\r\n",
    "empty coding": b"Transfer-Encoding:\r\nContent-Length: 5\r\n",
    "empty item": b"Transfer-Encoding: ,chunked,\r\nContent-Length: 5\r\n",
    "unknown coding and length": b"Transfer-Encoding: x\r\nContent-Length: 5\r\n",
    "gzip first": b"Transfer-Encoding: gzip, chunked\r\n",
    "non-ASCII space": b"Transfer-Encoding: \xa0chunked\r\n",
    "length with a blank inside": b"Content-Length: 5 5\r\n",
    "length with an underscore": b"Content-Length: 1_0\r\n",
    "length with a point": b"Content-Length: 5.0\r\n",
    "empty length": b"Content-Length:\r\n",
    "length with a full-width digit": "Content-Length: \uff15\r\n".encode(),
    "lengths that differ in zeros": b"Content-Length: 5\r\nContent-Length: 05\r\n",
    "line feed in a value": b"X-A: b\n\r\n",
    "carriage return in a name": b"X-A\r: b\r\n",
    "no colon": b"X-A\r\n",
    "header with a null in its name": b"X\0A: b\r\n",
    "two hosts in one": b"Host: a, b\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_smuggled_requests(server, name):
    """What follows such a head is nobody's request: there is one answer, and then the connection ends."""
    bucket = new_bucket(server)
    with Connection(server) as connection:
        host = connection.host.encode()
        smuggled = signed(server.users["writer"], connection.host, "PUT", f"/{bucket}/smuggled", b"x")
        connection.send(b"PUT /%s/key HTTP/1.1\r\nHost: %s\r\n%s\r\n0\r\n\r\n" % (bucket.encode(), host, SMUGGLED[name])
                        + smuggled)
        answer = connection.answer()
        assert answer.status in (400, 501), answer
        assert connection.is_closed()
    assert not server.path(bucket, "smuggled").exists()


@pytest.mark.parametrize("body", [
    b"5\r\nhello\r\n+0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5\rhello\r0\r\r",
    b"5;a\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5;\0\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nA: b\n\r\n",
], ids=repr)
def test_smuggled_chunks(server, body):
    bucket = new_bucket(server)
    with Connection(server) as connection:
        head = signed(server.users["writer"], connection.host, "PUT", f"/{bucket}/key", payload="UNSIGNED-PAYLOAD",
                      length=False, headers=[("Transfer-Encoding", "chunked")])
        connection.send(head + body + signed(server.users["writer"], connection.host, "PUT", f"/{bucket}/smuggled", b"x"))
        answer = connection.answer()
        assert answer.status == 400, answer
        assert connection.is_closed()
    assert os.listdir(server.path(bucket)) == []


def test_trailers_are_no_headers(server):
    """What a trailer says of the framing, the sender or the object means nothing."""
    bucket = new_bucket(server)
    with Connection(server) as connection:
        head = signed(server.users["writer"], connection.host, "PUT", f"/{bucket}/key", payload="UNSIGNED-PAYLOAD",
                      length=False, headers=[("Transfer-Encoding", "chunked")])
        trailers = b"Content-Length: 500\r\nTransfer-Encoding: chunked\r\nx-amz-meta-a: b\r\nAuthorization: x\r\n"
        connection.send(head + b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n"
                        + signed(server.users["writer"], connection.host, "HEAD", f"/{bucket}/key"))
        connection.answer().expect(200)
        answer = connection.answer(to_head=True)
        assert (answer.status, answer.headers["content-length"]) == (200, "5")
        assert "x-amz-meta-a" not in answer.headers


@pytest.mark.parametrize("line, statuses", [
    (b"CONNECT evil:443 HTTP/1.1", {400, 405, 501}), (b"TRACE / HTTP/1.1", {400, 405, 501}),
    (b"PRI * HTTP/2.0", {400, 505}), (b"GET http://evil/bucket HTTP/1.1", {403, 404}), (b"GET http://user@evil/x HTTP/1.1", {400, 403}),
    (b"GET ftp://evil/ HTTP/1.1", {400}), (b"GET //evil/x HTTP/1.1", {400, 403}), (b"GET /\\evil HTTP/1.1", {400, 403}),
    (b"GET /%00 HTTP/1.1", {400, 403}), (b"GET /a#b HTTP/1.1", {400, 403}), (b"* / HTTP/1.1", {400, 405, 501}),
    (b"OPTIONS * HTTP/1.1", {400, 403, 405}), (b"get / HTTP/1.1", {400, 405, 501}),
], ids=lambda value: repr(value) if isinstance(value, bytes) else "")
def test_targets_that_are_not_ours(server, line, statuses):
    """They are answered as what they are, and the next request as well, if the connection goes on."""
    with Connection(server) as connection:
        connection.send(line + b"\r\nHost: " + connection.host.encode() + b"\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        answer = connection.answer()
        assert answer.status in statuses, answer
        assert "upgrade" not in answer.headers
        if answer.headers.get("connection", "").lower() != "close":
            connection.send(signed(server.users["writer"], connection.host, "GET", "/"))
            connection.answer().expect(200)
        else:
            assert connection.is_closed()


def test_the_authority_of_an_absolute_target_is_signed(http):
    """Who signs one host is not let in for another one, whichever of the two lines names it."""
    user = http.users["writer"]
    host = f"{http.host}:{http.port}"
    data = signed(user, host, "GET", "/")
    ask_raw(http, data.replace(b"GET /", b"GET http://evil/", 1)).expect(403, "SignatureDoesNotMatch")
    # The header is not looked at, as RFC 9112 wants it: the authority is what was signed.
    ask_raw(http, data.replace(b"GET /", b"GET http://%s/" % host.encode(), 1)).expect(200)


# Half of a connection.


def test_half_closed_before_a_head_is_whole(server):
    for data in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: h\r\n", b"\r\n"):
        with Connection(server) as connection:
            if data:
                connection.send(data)
            half_close(connection)
            assert connection.is_closed(), connection.pending


def half_close(connection):
    # A TLS socket would say goodbye in both directions.
    socket.socket.shutdown(connection.socket, socket.SHUT_WR)


def test_half_closed_while_an_answer_comes(http):
    """The client says that it asks for nothing more; what it asked for comes to its end."""
    bucket = new_bucket(http)
    body = os.urandom(12 * MIB)
    http.path(bucket, "large").write_bytes(body)
    with Connection(http) as connection:
        data = signed(http.users["writer"], connection.host, "GET", f"/{bucket}/large")
        connection.send(data * 2)
        half_close(connection)
        for _ in range(2):
            assert connection.answer().body == body
        assert connection.is_closed()


def test_answers_that_nobody_reads_end():
    """Whoever asks for a large object and reads nothing holds some buffers for the time a client may stand still; small
    objects are served meanwhile."""
    with Server(options=["--workers", "1", "--stall-timeout", "3s"]) as server:
        with_users(server)
        bucket = new_bucket(server)
        server.path(bucket, "large").write_bytes(b"x" * 8 * MIB)
        before = server.descriptors()
        data = signed(server.users["writer"], f"{server.host}:{server.port}", "GET", f"/{bucket}/large")
        with bounded(server, TRANSFER_MEMORY_MAX):
            with Crowd(server, 100, receive=4096) as crowd:
                crowd.send(data)
                serves(server, bucket)
                wait_until(lambda: server.descriptors() <= before, "the server to give them up")
        answer = ask(server, "GET", f"/{bucket}/large")
        assert len(answer.body) == 8 * MIB


@pytest.mark.parametrize("encrypted, count, pieces", [(False, 400, 64), (True, 180, 16)], ids=["http", "tls"])
def test_a_crowd_of_stalled_readers(certificate, encrypted, count, pieces):
    """They read nothing until they are told to, with HTTP more of them than there are buffers: large and small objects of
    others come and go meanwhile, and in the end they have theirs, byte by byte."""
    with Server(options=["--workers", "1"], certificate=certificate if encrypted else None) as server:
        with_users(server)
        bucket, piece = new_bucket(server), os.urandom(MIB)
        with server.path(bucket, "large").open("wb") as file:
            for number in range(pieces):
                file.write(piece[number:] + piece[:number])
            # Not from the page cache: several reads in flight for each.
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        other = os.urandom(9 * MIB + 1)
        data = signed(server.users["writer"], f"{server.host}:{server.port}", "GET", f"/{bucket}/large")
        with bounded(server, TRANSFER_MEMORY_MAX + SPARE_BYTES_MAX + (count * TLS_BYTES if encrypted else 0)):
            with Crowd(server, count, tls=encrypted, receive=4096) as crowd:
                crowd.send(data)
                wait_until(lambda: len(crowd.told()) == count, "each of the answers to begin")
                for _ in range(5):
                    ask(server, "PUT", f"/{bucket}/other", other).expect(200)
                    answer = ask(server, "GET", f"/{bucket}/other")
                    answer.expect(200)
                    assert answer.body == other
                serves(server, bucket)
                for opened in (crowd.sockets[0], crowd.sockets[count // 2], crowd.sockets[-1]):
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
                    with HTTPResponse(opened) as answer:
                        answer.begin()
                        assert answer.status == 200
                        for number in range(pieces):
                            assert answer.read(MIB) == piece[number:] + piece[:number]
                assert len(crowd.told()) >= count - 3, "the others wait"
        serves(server, bucket)


# Signatures and tokens.


def other(byte):
    """Another character of the same kind, so that only its value is wrong."""
    for kind in (b"0123456789", b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
        if byte in kind:
            return kind[(kind.index(byte) + 1) % len(kind)]
    return byte ^ 1


def altered(data, skip):
    """Every request that has one byte of `data` changed, but for those at the positions in `skip`."""
    for at in range(len(data)):
        if at not in skip:
            yield at, data[:at] + bytes([other(data[at])]) + data[at + 1:]


def positions(data, *texts):
    return {at for text in texts for found in re.finditer(re.escape(text), data) for at in range(*found.span())}


def test_no_byte_of_a_signed_head_can_be_changed(http):
    """Method, path, query, each header, each part of the credential, and the signature itself."""
    bucket, host = new_bucket(http), f"{http.host}:{http.port}"
    data = signed(http.users["writer"], host, "PUT", f"/{bucket}/key?x-id=PutObject", b"",
                  headers=[("x-amz-meta-a", "b"), ("Content-Type", "text/plain")])
    ask_raw(http, data).expect(200)
    http.s3().delete_object(Bucket=bucket, Key="key")
    # The version and the blanks around values are no part of a signature; a line that does not end ends nothing.
    skip = positions(data, b"HTTP/1.1", b"\r\n", b": ", b", ")
    check_altered(http, data, skip)
    assert os.listdir(http.path(bucket)) == []


def check_altered(server, data, skip, good=()):
    """Sends each of them, and expects a refusal; the connection is made anew when it was closed."""
    connection = Connection(server)
    try:
        for at, changed in altered(data, skip):
            try:
                connection.send(changed)
                answer = connection.answer()
            except (AssertionError, ConnectionError):
                raise AssertionError(f"no answer to {changed[:at]!r} {changed[at:]!r}") from None
            assert 400 <= answer.status < 500, (changed[max(0, at - 20):at + 20], answer)
            if answer.headers.get("connection", "").lower() == "close":
                connection.socket.close()
                connection = Connection(server)
    finally:
        connection.socket.close()


def test_no_byte_of_a_presigned_url_can_be_changed(http):
    bucket, host = new_bucket(http), f"{http.host}:{http.port}"
    http.path(bucket, "key").write_bytes(b"x")
    target = Signer(http.users["writer"]).presign("GET", host, f"/{bucket}/key?x-id=GetObject", expires=600)
    data = b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target.encode(), host.encode())
    ask_raw(http, data).expect(200)
    check_altered(http, data, positions(data, b"HTTP/1.1", b"\r\n", b": "))


@pytest.fixture(scope="module")
def sessions(http):
    """Keys of two sessions of the same user."""
    from test_sts import assume
    return assume(http, http.users["writer"]), assume(http, http.users["writer"]), assume(http, http.users["other"])


def test_no_byte_of_a_session_token_can_be_changed(http, sessions):
    """Also signed anew with the keys that belong to the token, every change of it is noticed: a bit, a piece, the order."""
    session, sibling, stranger = sessions
    host = f"{http.host}:{http.port}"

    def data(token):
        return signed(session, host, "GET", "/", headers=[("x-amz-security-token", token)])

    ask_raw(http, data(session.token)).expect(200)
    token = session.token
    wrong = [token[:at] + chr(other(ord(token[at]))) + token[at + 1:] for at in range(len(token))]
    wrong += [token[:length] for length in range(len(token))]
    wrong += [token + "A", token + token, token[::-1], sibling.token, stranger.token, token[:40] + sibling.token[40:]]
    with Connection(http) as connection:
        for text in wrong:
            connection.send(data(text))
            answer = connection.answer()
            assert (answer.status, answer.code) in [(400, "InvalidToken"), (403, "InvalidAccessKeyId")], (text, answer)


def test_a_signature_is_good_for_its_time_only(http):
    """The same bytes may come again, as often as they like, but only while they are fresh."""
    with Connection(http) as connection:
        data = signed(http.users["writer"], connection.host, "GET", "/")
        for _ in range(3):
            connection.send(data)
            connection.answer().expect(200)
        for date in (wire.now(-16 * 60), wire.now(16 * 60), wire.now(-86_400)):
            connection.send(signed(http.users["writer"], connection.host, "GET", "/",
                                   signer=Signer(http.users["writer"], date=date)))
            connection.answer().expect(403, "RequestTimeTooSkewed")


# Everything at once.


def test_noise_while_others_work(one_core):
    """Several clients send garbage as fast as they can; each of the good ones ends with what it asked for."""
    bucket, over = new_bucket(one_core), threading.Event()
    user, host = one_core.users["writer"], f"{one_core.host}:{one_core.port}"
    good = signed(user, host, "PUT", f"/{bucket}/noise", b"noise", headers=[("x-amz-meta-a", "b")])

    def noise(seed):
        random = Random(seed)
        while not over.is_set():
            data = bytearray(good * 3)
            for _ in range(random.randrange(1, 9)):
                data[random.randrange(len(data))] = random.randrange(256)
            with contextlib.suppress(OSError):
                with socket.create_connection((one_core.host, one_core.port), timeout=5) as raw:
                    raw.sendall(data[:random.randrange(len(data))])
                    if random.randrange(2):
                        raw.settimeout(0.2)
                        raw.recv(1 << 16)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        makers = [pool.submit(noise, seed) for seed in range(3)]
        try:
            serves(one_core, bucket, times=100)
        finally:
            over.set()
        for maker in makers:
            maker.result()
    before = one_core.descriptors()
    wait_until(lambda: one_core.descriptors() <= before, "the connections to end")
    assert one_core.process.poll() is None and "panicked" not in one_core.log()
