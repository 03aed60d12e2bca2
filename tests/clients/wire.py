"""HTTP byte by byte, and signatures made by hand: what no SDK would send, and what SDKs hide of the answers.

The signer is written from the AWS documents and shares nothing with the server or with botocore.
"""

import base64
import datetime
import hashlib
import hmac
import socket
import ssl
import urllib.parse
import xml.etree.ElementTree

import sluicegate

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNRESERVED = "-._~"


def now(offset=0):
    """The time in seconds from now, as `x-amz-date` has it."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    return moment.strftime("%Y%m%dT%H%M%SZ")


class Answer:
    """One response: status, headers with lower-case names, body."""

    def __init__(self, status, headers, body, interim):
        self.status, self.headers, self.body, self.interim = status, headers, body, interim

    def __repr__(self):
        return f"Answer({self.status}, {self.headers}, {self.body[:2000]!r})"

    @property
    def error(self):
        """The fields of an S3 error."""
        root = xml.etree.ElementTree.fromstring(self.body)
        assert root.tag == "Error", self
        return {child.tag: child.text or "" for child in root}

    @property
    def code(self):
        return self.error["Code"]

    def expect(self, status, code=None):
        """Fails unless the answer is this one; returns the fields of the error."""
        assert self.status == status, self
        if code is not None:
            assert self.code == code, self
            assert self.error["RequestId"] == self.headers["x-amz-request-id"], self
            return self.error
        return None


class Connection:
    """A connection to a server. Everything has a deadline."""

    def __init__(self, server, endpoint=None):
        host, port = sluicegate.address_of(endpoint or server.endpoint)
        self.host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.socket = socket.create_connection((host, port), timeout=sluicegate.PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.certificate:
            context = ssl.create_default_context(cafile=server.certificate.authority)
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """More bytes of an answer; false at the end of the connection."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.pending += data
        return bool(data)

    def is_closed(self, seconds=sluicegate.PATIENCE):
        """Waits for the server to close the connection; false if it sends something or nothing happens."""
        self.socket.settimeout(seconds)
        try:
            return not self.receive()
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(sluicegate.PATIENCE)

    def is_silent(self, seconds=0.3):
        """Whether nothing comes for a while."""
        if self.pending:
            return False
        self.socket.settimeout(seconds)
        try:
            self.receive()
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(sluicegate.PATIENCE)

    def head(self):
        """The head of the next response, interim ones included: status and headers."""
        while b"\r\n\r\n" not in self.pending:
            assert self.receive(), f"the connection ended in a head: {self.pending!r}"
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1", lines
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            assert name.lower() not in headers, f"{name} is repeated: {lines}"
            headers[name.lower()] = value.strip()
        return int(status), headers

    def answer(self, to_head=False):
        """The next response."""
        interim = []
        while (head := self.head())[0] < 200:
            interim.append(head[0])
        status, headers = head
        if to_head or status in (204, 304):
            return Answer(status, headers, b"", interim)
        assert "transfer-encoding" not in headers, headers
        length = int(headers["content-length"])
        while len(self.pending) < length:
            assert self.receive(), f"the connection ended in a body: {status} {headers} {self.pending!r}"
        body, self.pending = self.pending[:length], self.pending[length:]
        return Answer(status, headers, body, interim)


class Signer:
    """Signs requests for one user, and lets each part of the signature be wrong."""

    def __init__(self, user, date=None, region=sluicegate.REGION, service="s3", terminal="aws4_request",
                 scope_date=None, access_key=None, secret=None):
        self.access_key = access_key or user.name
        self.secret = secret or user.secret
        self.date = date or now()
        self.scope = f"{scope_date or self.date[:8]}/{region}/{service}/{terminal}"
        key = ("AWS4" + self.secret).encode()
        for part in self.scope.split("/"):
            key = self._hmac(key, part.encode())
        self.key = key

    @staticmethod
    def _hmac(key, data):
        return hmac.new(key, data, hashlib.sha256).digest()

    def sign(self, text):
        return self._hmac(self.key, text.encode()).hex()

    @staticmethod
    def canonical(method, target, headers, signed, payload, without=()):
        """The canonical request. `headers` are pairs as they are sent."""
        path, _, query = target.partition("?")
        path = urllib.parse.quote(urllib.parse.unquote_to_bytes(path), safe="/" + UNRESERVED)
        pairs = []
        for parameter in query.split("&") if query else []:
            name, _, value = parameter.partition("=")
            pair = [urllib.parse.quote(urllib.parse.unquote_to_bytes(part), safe=UNRESERVED) for part in (name, value)]
            if pair[0] not in without:
                pairs.append(tuple(pair))
        query = "&".join(f"{name}={value}" for name, value in sorted(pairs))
        lines = []
        for name in signed:
            values = [" ".join(value.split()) for sent, value in headers if sent.lower() == name]
            lines.append(f"{name}:{','.join(values)}\n")
        return "\n".join([method, path, query, "".join(lines), ";".join(signed), payload])

    def string_to_sign(self, canonical):
        digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
        return f"AWS4-HMAC-SHA256\n{self.date}\n{self.scope}\n{digest}"

    def headers(self, method, target, headers, payload, unsigned=()):
        """The headers with those of the signature added. Those named in `unsigned` are sent without protection."""
        headers = [("x-amz-date", self.date), ("x-amz-content-sha256", payload), *headers]
        signed = sorted({name.lower() for name, _ in headers} - {name.lower() for name in unsigned})
        canonical = self.canonical(method, target, headers, signed, payload)
        self.signature = self.sign(self.string_to_sign(canonical))
        value = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{self.scope}, SignedHeaders={';'.join(signed)}, "
                 f"Signature={self.signature}")
        return [*headers, ("Authorization", value)]

    def presign(self, method, host, target, expires=60, headers=(), more=()):
        """A target whose query carries the signature."""
        headers = [("host", host), *headers]
        signed = sorted(name.lower() for name, _ in headers)
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{self.access_key}/{self.scope}",
            "X-Amz-Date": self.date, "X-Amz-Expires": str(expires), "X-Amz-SignedHeaders": ";".join(signed),
            **dict(more),
        }
        query = "&".join(f"{name}={urllib.parse.quote(value, safe=UNRESERVED)}" for name, value in parameters.items())
        target = target + ("&" if "?" in target else "?") + query
        canonical = self.canonical(method, target, headers, signed, "UNSIGNED-PAYLOAD")
        return f"{target}&X-Amz-Signature={self.sign(self.string_to_sign(canonical))}"

    # aws-chunked bodies.

    def chunks(self, body, size=65536, trailers=None, wrong_chunk=None, wrong_trailer=False, final=True):
        """A signed body; call after `headers`, whose signature the first chunk continues."""
        before, out = self.signature, b""
        pieces = [body[at:at + size] for at in range(0, len(body), size)] + ([b""] if final else [])
        for index, piece in enumerate(pieces):
            text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", self.date, self.scope, before, EMPTY_SHA256,
                              hashlib.sha256(piece).hexdigest()])
            before = self.sign(text)
            sent = before if index != wrong_chunk else "0" * 64
            out += f"{len(piece):x};chunk-signature={sent}\r\n".encode() + piece + (b"\r\n" if piece else b"")
        if trailers is None:
            return out + b"\r\n"
        lines = "".join(f"{name}:{value}\n" for name, value in trailers)
        text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", self.date, self.scope, before,
                          hashlib.sha256(lines.encode()).hexdigest()])
        signature = self.sign(text) if not wrong_trailer else "0" * 64
        sent = "".join(f"{name}:{value}\r\n" for name, value in trailers)
        return out + f"{sent}x-amz-trailer-signature:{signature}\r\n\r\n".encode()


def unsigned_chunks(body, trailers=(), size=65536):
    """An aws-chunked body without signatures."""
    out = b""
    for at in range(0, len(body), size):
        piece = body[at:at + size]
        out += f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    return out + b"0\r\n" + "".join(f"{name}:{value}\r\n" for name, value in trailers).encode() + b"\r\n"


def http_chunks(body, size=1000):
    """A body in HTTP's own chunks."""
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(f"{len(piece):X}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def request(method, target, headers, body=b""):
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def signed(user, host, method, target, body=b"", headers=(), payload=None, length=True, unsigned=(), signer=None):
    """The bytes of a signed request."""
    signer = signer or Signer(user)
    payload = payload or hashlib.sha256(body).hexdigest()
    headers = [("Host", host), *headers]
    if length and (body or method in ("PUT", "POST")):
        headers.append(("Content-Length", str(len(body))))
    return request(method, target, signer.headers(method, target, headers, payload, unsigned), body)


def ask(server, method, target, body=b"", user=None, **options):
    """One signed request on a connection of its own."""
    user = user or server.users["writer"]
    with Connection(server) as connection:
        connection.send(signed(user, connection.host, method, target, body, **options))
        return connection.answer(to_head=method == "HEAD")


def ask_raw(server, data, to_head=False):
    """Sends bytes on a connection of their own; the first answer."""
    with Connection(server) as connection:
        connection.send(data)
        return connection.answer(to_head)


def base64_of(data):
    return base64.b64encode(data).decode()
