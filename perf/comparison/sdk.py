"""What SDKs ask beyond whole bodies over plain HTTP, as a load that a build of the server is trained by.

Chunked bodies with signatures or with a checksum behind them, ranges, conditions, listings, multipart uploads, copies,
tags, deletes and presigned requests, with TLS if there is a certificate. Anything but the expected answer ends it, so
that no build is trained by refusals.
"""

import base64
import concurrent.futures
import contextlib
import datetime
import functools
import hashlib
import hmac
import http.client
import random
import re
import ssl
import time
import urllib.parse
import zlib

from .rows import KIB, MIB

THREADS = 4
CHUNK = 64 * KIB
# Every so many rounds there are a multipart upload and tags, which are rare.
RARE = 10
TIMEOUT_SECONDS = 30

REGION = "us-east-1"
ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

RANDOM = random.Random(1)
SIZES = {"trailer": 64 * KIB, "signed": 200_000, "small": 4 * KIB}
BODIES = {key: RANDOM.randbytes(size) for key, size in SIZES.items()}
PART = RANDOM.randbytes(MIB)
TAGS = b"<Tagging><TagSet><Tag><Key>color</Key><Value>green</Value></Tag></TagSet></Tagging>"


class Unexpected(Exception):
    """The server's answer was not the one that the load is for."""


def run(address, keys, bucket, seconds, certificate=None):
    """Asks for so many seconds; how many rounds there were. With a certificate, over TLS and verified against it."""
    until = time.monotonic() + seconds
    clients = [Client(address, keys, bucket, f"sdk {number}/", certificate) for number in range(THREADS)]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(lambda client: client.work(until), clients))


class Client:
    """One connection, and the prefix of its keys."""

    def __init__(self, address, keys, bucket, prefix, certificate):
        self.address, self.keys, self.bucket, self.prefix = address, keys, bucket, prefix
        if certificate:
            context = ssl.create_default_context(cafile=certificate)
            self.connection = http.client.HTTPSConnection(address, timeout=TIMEOUT_SECONDS, context=context)
        else:
            self.connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)

    def work(self, until):
        rounds = 0
        with contextlib.closing(self.connection):
            while rounds == 0 or time.monotonic() < until:
                self.put()
                self.read()
                self.list()
                if rounds % RARE == 0:
                    self.upload()
                    self.tag()
                self.copy_and_delete()
                rounds += 1
        return rounds

    def put(self):
        self.ask(200, "PUT", "trailer", **with_trailer(BODIES["trailer"]))
        body = BODIES["signed"]
        headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(body))}
        self.ask(200, "PUT", "signed", headers=headers, body=body, payload=SIGNED_CHUNKS)
        body = BODIES["small"]
        headers = {"content-type": "image/png", "x-amz-meta-author": "somebody",
                   "x-amz-checksum-sha256": base64_of(hashlib.sha256(body).digest())}
        self.ask(200, "PUT", "small", headers=headers, body=body, payload=UNSIGNED)

    def read(self):
        for key, body in BODIES.items():
            answer, _ = self.ask(200, "GET", key, content=body)
            self.ask(304, "GET", key, headers={"if-none-match": answer["etag"]})
        self.ask(206, "GET", "signed", headers={"range": "bytes=1000-150000"}, content=BODIES["signed"][1000:150001])
        answer, _ = self.ask(200, "HEAD", "small")
        expect("HEAD small: its metadata", answer["x-amz-meta-author"], "somebody")
        body = BODIES["trailer"]
        answer, _ = self.ask(200, "GET", "trailer", headers={"x-amz-checksum-mode": "ENABLED"}, content=body)
        expect("GET trailer: its checksum", answer["x-amz-checksum-crc32"], crc32(body))
        self.send(200, "GET", *self.presigned("small"), {"host": self.address}, content=BODIES["small"])

    def list(self):
        query = {"list-type": "2", "encoding-type": "url", "prefix": self.prefix}
        _, page = self.ask(200, "GET", query={**query, "max-keys": "2"})
        expect(f"the keys on a page of {self.prefix}", page.count(b"<Key>"), 2)
        _, page = self.ask(200, "GET", query={**query, "prefix": self.prefix[:-1], "delimiter": "/"})
        expect(f"the common prefixes of {self.prefix}", page.count(b"<CommonPrefixes>"), 1)

    def upload(self):
        _, created = self.ask(200, "POST", "parts", {"uploads": ""}, {"x-amz-checksum-algorithm": "CRC32"})
        upload = {"uploadId": re.search(rb"<UploadId>(.+)</UploadId>", created)[1].decode()}
        part, _ = self.ask(200, "PUT", "parts", {"partNumber": "1", **upload}, **with_trailer(PART))
        parts = (f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part['etag']}</ETag>"
                 f"<ChecksumCRC32>{crc32(PART)}</ChecksumCRC32></Part></CompleteMultipartUpload>")
        self.ask(200, "POST", "parts", upload, body=parts.encode())
        self.ask(200, "GET", "parts", content=PART)
        self.ask(204, "DELETE", "parts")

    def tag(self):
        self.ask(200, "PUT", "small", {"tagging": ""}, {"content-md5": md5(TAGS)}, TAGS)
        _, tags = self.ask(200, "GET", "small", {"tagging": ""})
        expect("the tags of small", tags.count(b"<Value>green</Value>"), 1)

    def copy_and_delete(self):
        source = urllib.parse.quote(f"{self.bucket}/{self.prefix}signed")
        self.ask(200, "PUT", "copy", headers={"x-amz-copy-source": source})
        self.ask(200, "GET", "copy", content=BODIES["signed"])
        self.ask(204, "DELETE", "copy")
        objects = "".join(f"<Object><Key>{self.prefix}{key}</Key></Object>" for key in BODIES)
        body = f"<Delete>{objects}</Delete>".encode()
        _, deleted = self.ask(200, "POST", query={"delete": ""}, headers={"content-md5": md5(body)}, body=body)
        expect("the keys that DeleteObjects deleted", deleted.count(b"<Deleted>"), len(BODIES))

    def ask(self, expected, method, key="", query={}, headers={}, body=b"", payload=None, content=None):
        """Signs and sends. `payload` is the hash that is signed, if it is not the body's."""
        when, path = now(), self.path(key)
        payload = payload or hashlib.sha256(body).hexdigest()
        headers = {**headers, "host": self.address, "x-amz-content-sha256": payload, "x-amz-date": stamp(when)}
        signature = sign(method, path, query, headers, payload, self.keys, when)
        headers["authorization"] = (f"{ALGORITHM} Credential={self.keys[0]}/{scope(when)}, "
                                    f"SignedHeaders={';'.join(sorted(headers))}, Signature={signature}")
        if payload == SIGNED_CHUNKS:
            body = signed_chunks(body, signature, self.keys, when)
        return self.send(expected, method, path, query, headers, body, content)

    def presigned(self, key):
        """The path and the query of a GET."""
        when, path = now(), self.path(key)
        query = {"X-Amz-Algorithm": ALGORITHM, "X-Amz-Credential": f"{self.keys[0]}/{scope(when)}",
                 "X-Amz-Date": stamp(when), "X-Amz-Expires": "600", "X-Amz-SignedHeaders": "host"}
        signature = sign("GET", path, query, {"host": self.address}, UNSIGNED, self.keys, when)
        return path, {**query, "X-Amz-Signature": signature}

    def path(self, key):
        return f"/{self.bucket}/{self.prefix}{key}" if key else f"/{self.bucket}"

    def send(self, expected, method, path, query, headers, body=b"", content=None):
        """The headers and the body of the answer, which is to be `content` if that is given."""
        url = urllib.parse.quote(path) + ("?" + query_string(query) if query else "")
        self.connection.request(method, url, body or None, headers)
        answer = self.connection.getresponse()
        read = answer.read()
        # A document may report an error after the status was sent, or one for each key.
        if answer.status != expected or (content is None and b"<Error>" in read):
            said = read[:500].decode(errors="replace")
            raise Unexpected(f"{method} {url}: expected {expected}, got {answer.status} {said}")
        if content is not None and read != content:
            raise Unexpected(f"{method} {url}: expected the {len(content)} bytes that were put, got {len(read)} others")
        return answer.headers, read


def expect(what, value, expected):
    if value != expected:
        raise Unexpected(f"{what}: expected {expected}, got {value}")


def sign(method, path, query, headers, payload_hash, keys, when):
    """The signature of version 4 over all `headers`, whose names are in lower case; path and query are not encoded."""
    lines = [method, urllib.parse.quote(path), query_string(query),
             *(f"{name}:{headers[name]}" for name in sorted(headers)), "", ";".join(sorted(headers)), payload_hash]
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return mac(signing_key(keys[1], f"{when:%Y%m%d}"), "\n".join([ALGORITHM, stamp(when), scope(when), request])).hex()


def signed_chunks(body, signature, keys, when):
    """The body in chunks, each with a signature over it and the signature before it."""
    key, empty, encoded = signing_key(keys[1], f"{when:%Y%m%d}"), hashlib.sha256().hexdigest(), []
    for chunk in [*chunks(body), b""]:
        signature = mac(key, "\n".join([f"{ALGORITHM}-PAYLOAD", stamp(when), scope(when), signature, empty,
                                        hashlib.sha256(chunk).hexdigest()])).hex()
        encoded.append(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), signature.encode(), chunk))
    return b"".join(encoded)


def with_trailer(body):
    """What to ask with to send the body in chunks, and its checksum behind them."""
    headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(body)),
               "x-amz-trailer": "x-amz-checksum-crc32"}
    encoded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks(body))
    trailer = f"0\r\nx-amz-checksum-crc32:{crc32(body)}\r\n\r\n"
    return {"headers": headers, "body": encoded + trailer.encode(), "payload": TRAILER}


def chunks(body):
    return [body[at:at + CHUNK] for at in range(0, len(body), CHUNK)]


@functools.cache
def signing_key(secret, day):
    return functools.reduce(mac, [day, REGION, "s3", "aws4_request"], f"AWS4{secret}".encode())


def mac(key, text):
    return hmac.digest(key, text.encode(), "sha256")


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def stamp(when):
    return f"{when:%Y%m%dT%H%M%SZ}"


def scope(when):
    return f"{when:%Y%m%d}/{REGION}/s3/aws4_request"


def query_string(query):
    return urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote)


def base64_of(digest):
    return base64.b64encode(digest).decode()


def crc32(body):
    return base64_of(zlib.crc32(body).to_bytes(4, "big"))


def md5(body):
    return base64_of(hashlib.md5(body).digest())
