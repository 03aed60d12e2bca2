"""Signatures against the running server: each way to get them wrong has the code, status and fields that AWS answers;
presigned URLs; payload hashes and signed chunks. Nothing that was refused is stored."""

import datetime
import hashlib
import re
import ssl
import urllib.request

import pytest

import wire
from conftest import new_bucket
from wire import Connection, Signer, ask, ask_raw, now, request, signed

EMPTY = wire.EMPTY_SHA256


@pytest.fixture(scope="module")
def bucket(http):
    return new_bucket(http)


def raw(server, method, target, headers, body=b""):
    host = f"{server.host}:{server.port}"
    return ask_raw(server, request(method, target, [("Host", host), *headers], body))


def authorized(server, value, headers=(), method="GET", target="/"):
    """A request with this text as its Authorization."""
    more = [("x-amz-date", now()), ("x-amz-content-sha256", EMPTY), *headers, ("Authorization", value)]
    return raw(server, method, target, more)


def credential(user, date=None, rest="us-east-1/s3/aws4_request"):
    return f"{user.name}/{(date or now())[:8]}/{rest}"


ZEROS = "0" * 64


def test_good_signature(http):
    ask(http, "GET", "/").expect(200)


def test_no_credentials(http, bucket):
    for method, target in [("GET", "/"), ("GET", f"/{bucket}"), ("GET", f"/{bucket}/key"), ("DELETE", f"/{bucket}/key")]:
        raw(http, method, target, []).expect(403, "AccessDenied")
    raw(http, "PUT", f"/{bucket}/key", [("Content-Length", "1")], b"x").expect(403, "AccessDenied")
    assert not http.path(bucket, "key").exists()


def test_unknown_key(http):
    signer = Signer(http.users["writer"], access_key="nobody")
    fields = ask(http, "GET", "/", signer=signer).expect(403, "InvalidAccessKeyId")
    assert fields["AWSAccessKeyId"] == "nobody"


def test_wrong_secret(http, bucket):
    user = http.users["writer"]
    signer = Signer(user, secret="Another-secret-1")
    fields = ask(http, "GET", f"/{bucket}?prefix=a%20b", signer=signer).expect(403, "SignatureDoesNotMatch")
    assert fields["AWSAccessKeyId"] == user.name
    assert fields["SignatureProvided"] == signer.signature
    # What the server shows is what a correct signer made.
    text = fields["StringToSign"]
    assert text.split("\n")[:3] == ["AWS4-HMAC-SHA256", signer.date, signer.scope]
    canonical = fields["CanonicalRequest"]
    assert hashlib.sha256(canonical.encode()).hexdigest() == text.split("\n")[3]
    assert canonical.split("\n")[:3] == ["GET", f"/{bucket}", "prefix=a%20b"]
    assert bytes.fromhex(fields["StringToSignBytes"].replace(" ", "")) == text.encode()
    assert bytes.fromhex(fields["CanonicalRequestBytes"].replace(" ", "")) == canonical.encode()
    assert user.secret not in str(fields)


def test_wrong_signature_by_one_digit(http):
    with Connection(http) as connection:
        data = signed(http.users["writer"], connection.host, "GET", "/")
        digit = data.index(b"Signature=") + len("Signature=")
        wrong = data[:digit] + (b"0" if data[digit:digit + 1] != b"0" else b"1") + data[digit + 1:]
        connection.send(wrong)
        connection.answer().expect(403, "SignatureDoesNotMatch")
        # The connection goes on.
        connection.send(data)
        connection.answer().expect(200)


@pytest.mark.parametrize("tampered", ["method", "path", "query", "header", "body"])
def test_tampering(http, bucket, tampered):
    with Connection(http) as connection:
        data = signed(http.users["writer"], connection.host, "PUT", f"/{bucket}/tampered?x-id=PutObject", b"good",
                      headers=[("x-amz-meta-colour", "blue")])
        old, new = {"method": (b"PUT /", b"GET /"), "path": (b"/tampered", b"/Tampered"),
                    "query": (b"x-id=PutObject", b"x-id=PutObjecT"), "header": (b": blue", b": bluE"),
                    "body": (b"good", b"goof")}[tampered]
        assert old in data
        connection.send(data.replace(old, new))
        if tampered == "body":
            fields = connection.answer().expect(400, "XAmzContentSHA256Mismatch")
            assert fields["ClientComputedContentSHA256"] == hashlib.sha256(b"good").hexdigest()
            assert fields["S3ComputedContentSHA256"] == hashlib.sha256(b"goof").hexdigest()
        else:
            connection.answer().expect(403, "SignatureDoesNotMatch")
    assert not http.path(bucket, "tampered").exists()
    assert not http.path(bucket, "Tampered").exists()


def test_junk_authorization(http):
    fields = authorized(http, "junk").expect(400, "InvalidArgument")
    assert fields["ArgumentName"] == "Authorization"
    assert "ArgumentValue" in fields


def test_unsupported_authorization(http):
    for value in ["Basic dXNlcjpwYXNz", "AWS4-ECDSA-P256-SHA256 Credential=x", "Bearer x"]:
        fields = authorized(http, value).expect(400, "InvalidArgument")
        assert fields["Message"] == "Unsupported Authorization Type"


def test_version_2(http, bucket):
    fields = authorized(http, "AWS writer:frJIUN8DYpKDtOLCwo//yllqDzg=").expect(400, "InvalidRequest")
    assert "AWS4-HMAC-SHA256" in fields["Message"]
    target = f"/{bucket}/key?AWSAccessKeyId=writer&Signature=c2ln&Expires=9999999999"
    raw(http, "GET", target, []).expect(400, "InvalidRequest")


@pytest.mark.parametrize("value", [
    pytest.param(f"SignedHeaders=host, Signature={ZEROS}", id="no credential"),
    pytest.param(f"Credential=GOOD, Signature={ZEROS}", id="no signed headers"),
    pytest.param("Credential=GOOD, SignedHeaders=host", id="no signature"),
    pytest.param("Credential=GOOD, SignedHeaders=host, Signature=abc", id="short signature"),
    pytest.param(f"Credential=writer, SignedHeaders=host, Signature={ZEROS}", id="bare access key"),
    pytest.param("", id="empty"),
])
def test_malformed_fields(http, value):
    good = credential(http.users["writer"])
    answer = authorized(http, "AWS4-HMAC-SHA256 " + value.replace("GOOD", good))
    # The scheme alone is no header of this scheme at all.
    answer.expect(400, "AuthorizationHeaderMalformed" if value else "InvalidArgument")


@pytest.mark.parametrize("options", [
    {"service": "ec2"}, {"terminal": "aws3_request"}, {"scope_date": "2024-1-1"}, {"scope_date": "20240101"},
], ids=str)
def test_malformed_scope(http, options):
    ask(http, "GET", "/", signer=Signer(http.users["writer"], **options)).expect(400, "AuthorizationHeaderMalformed")


def test_wrong_region(http, bucket):
    signer = Signer(http.users["writer"], region="eu-west-1")
    fields = ask(http, "GET", f"/{bucket}", signer=signer).expect(400, "AuthorizationHeaderMalformed")
    assert fields["Region"] == "us-east-1"
    assert "the region 'eu-west-1' is wrong; expecting 'us-east-1'" in fields["Message"]


@pytest.mark.parametrize("minutes, status", [(-16, 403), (16, 403), (-14, 200), (14, 200)])
def test_clock_skew(http, minutes, status):
    date = now(60 * minutes)
    answer = ask(http, "GET", "/", signer=Signer(http.users["writer"], date=date))
    if status == 200:
        answer.expect(200)
    else:
        fields = answer.expect(403, "RequestTimeTooSkewed")
        assert fields["MaxAllowedSkewMilliseconds"] == "900000"
        assert fields["RequestTime"] == date
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", fields["ServerTime"]), fields


def test_no_date(http):
    value = f"AWS4-HMAC-SHA256 Credential={credential(http.users['writer'])}, SignedHeaders=host, Signature={ZEROS}"
    headers = [("x-amz-content-sha256", EMPTY), ("Authorization", value)]
    fields = raw(http, "GET", "/", headers).expect(403, "AccessDenied")
    assert fields["Message"] == "AWS authentication requires a valid Date or x-amz-date header"


def test_date_header_instead(http):
    """`Date` counts where `x-amz-date` is absent."""
    user, host = http.users["writer"], f"{http.host}:{http.port}"
    signer = Signer(user)
    date = datetime.datetime.strptime(signer.date, "%Y%m%dT%H%M%SZ").strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = [("Host", host), ("Date", date), ("x-amz-content-sha256", EMPTY)]
    names = ["date", "host", "x-amz-content-sha256"]
    signature = signer.sign(signer.string_to_sign(Signer.canonical("GET", "/", headers, names, EMPTY)))
    value = (f"AWS4-HMAC-SHA256 Credential={user.name}/{signer.scope}, SignedHeaders={';'.join(names)}, "
             f"Signature={signature}")
    ask_raw(http, request("GET", "/", [*headers, ("Authorization", value)])).expect(200)


def test_two_mechanisms(http, bucket):
    host = f"{http.host}:{http.port}"
    target = Signer(http.users["writer"]).presign("GET", host, f"/{bucket}")
    ask(http, "GET", target).expect(400, "InvalidArgument")


def test_unsigned_header(http, bucket):
    answer = ask(http, "PUT", f"/{bucket}/unsigned-header", b"x", headers=[("x-amz-meta-colour", "blue")],
                 unsigned=["x-amz-meta-colour"])
    fields = answer.expect(403, "AccessDenied")
    assert fields["HeadersNotSigned"] == "x-amz-meta-colour"
    # Others may be added by whatever stands between.
    ask(http, "GET", "/", headers=[("X-Forwarded-For", "::1")], unsigned=["X-Forwarded-For"]).expect(200)


def test_host_not_signed(http):
    answer = ask(http, "GET", "/", unsigned=["Host"])
    assert answer.status in (400, 403), answer


def test_session_token_with_permanent_keys(http):
    answer = ask(http, "GET", "/", headers=[("x-amz-security-token", "a-token")])
    fields = answer.expect(400, "InvalidToken")
    assert fields["Token-0"] == "a-token"


def test_payload_header(http, bucket):
    user, host = http.users["writer"], f"{http.host}:{http.port}"
    signer = Signer(user)
    for payload, status, code in [
        ("not-a-hash", 400, "InvalidArgument"), ("UNSIGNED-payload", 400, "InvalidArgument"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", 501, "NotImplemented"),
    ]:
        ask(http, "PUT", f"/{bucket}/payload", b"x", payload=payload).expect(status, code)
    # The header is missing: signed all the same, the hash as the last line.
    headers = [("Host", host), ("x-amz-date", signer.date)]
    signature = signer.sign(signer.string_to_sign(Signer.canonical("GET", "/", headers, ["host", "x-amz-date"], EMPTY)))
    value = (f"AWS4-HMAC-SHA256 Credential={user.name}/{signer.scope}, SignedHeaders=host;x-amz-date, "
             f"Signature={signature}")
    ask_raw(http, request("GET", "/", [*headers, ("Authorization", value)])).expect(400, "InvalidRequest")
    assert not http.path(bucket, "payload").exists()


def test_unsigned_payload(http, bucket):
    ask(http, "PUT", f"/{bucket}/unsigned", b"anything", payload="UNSIGNED-PAYLOAD").expect(200)
    assert http.path(bucket, "unsigned").read_bytes() == b"anything"


# Presigned URLs.


def host_of(server):
    return f"{server.host}:{server.port}"


def get(server, target, method="GET", headers=(), body=b""):
    headers = [("Host", host_of(server)), *headers]
    if body:
        headers.append(("Content-Length", str(len(body))))
    return ask_raw(server, request(method, target, headers, body), to_head=method == "HEAD")


def test_presigned_by_boto3(server):
    """What boto3 presigns, a browser can use."""
    bucket = new_bucket(server)
    s3 = server.s3(signature_version="s3v4")
    context = ssl.create_default_context(cafile=server.certificate.authority) if server.certificate else None
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b+c/ü"}, ExpiresIn=60)
    put = urllib.request.Request(url, data=b"body", method="PUT")
    assert urllib.request.urlopen(put, context=context).status == 200
    assert server.path(bucket, "a b+c/ü").read_bytes() == b"body"
    url = s3.generate_presigned_url("get_object", ExpiresIn=604800, Params={
        "Bucket": bucket, "Key": "a b+c/ü", "ResponseContentType": "text/x-test",
        "ResponseContentDisposition": 'attachment; filename="x"'})
    with urllib.request.urlopen(url, context=context) as answer:
        assert answer.read() == b"body"
        assert answer.headers["Content-Type"] == "text/x-test"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="x"'


def test_presigned_by_hand(http, bucket):
    http.path(bucket, "shared").write_bytes(b"shared")
    signer = Signer(http.users["writer"])
    target = signer.presign("GET", host_of(http), f"/{bucket}/shared?x-id=GetObject")
    answer = get(http, target)
    answer.expect(200)
    assert answer.body == b"shared"
    # The method is part of the signature; so is every other parameter.
    get(http, target, method="DELETE").expect(403, "SignatureDoesNotMatch")
    get(http, target + "&response-content-type=text/html").expect(403, "SignatureDoesNotMatch")
    get(http, target.replace("/shared", "/other")).expect(403, "SignatureDoesNotMatch")
    get(http, target, headers=[("x-amz-checksum-mode", "ENABLED")]).expect(403, "AccessDenied")
    # Other headers are the client's own.
    get(http, target, headers=[("Range", "bytes=0-1")]).expect(206)


def test_presigned_for_the_full_week(http, bucket):
    """The clock skew does not count for a URL: a week is a week."""
    http.path(bucket, "old").write_bytes(b"old")
    signer = Signer(http.users["writer"], date=now(-6 * 86400))
    get(http, signer.presign("GET", host_of(http), f"/{bucket}/old", expires=604800)).expect(200)


def test_presigned_expired(http, bucket):
    signer = Signer(http.users["writer"], date=now(-120))
    fields = get(http, signer.presign("GET", host_of(http), f"/{bucket}/key")).expect(403, "AccessDenied")
    assert fields["Message"] == "Request has expired"
    assert fields["X-Amz-Expires"] == "60"
    assert {"Expires", "ServerTime"} <= set(fields)
    signer = Signer(http.users["writer"], date=now(3600))
    fields = get(http, signer.presign("GET", host_of(http), f"/{bucket}/key")).expect(403, "AccessDenied")
    assert fields["Message"] == "Request is not valid yet"


@pytest.mark.parametrize("missing", ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
                                     "X-Amz-SignedHeaders", "X-Amz-Signature"])
def test_presigned_without(http, bucket, missing):
    target = Signer(http.users["writer"]).presign("GET", host_of(http), f"/{bucket}/key")
    target = re.sub(f"[?&]{missing}=[^&]*", "", target).replace("key&", "key?")
    assert missing not in target
    get(http, target).expect(400, "AuthorizationQueryParametersError")


@pytest.mark.parametrize("expires", ["604801", "soon", ""])
def test_presigned_expires(http, bucket, expires):
    target = Signer(http.users["writer"]).presign("GET", host_of(http), f"/{bucket}/key", expires=expires)
    get(http, target).expect(400, "AuthorizationQueryParametersError")


def test_presigned_for_no_time_at_all(http, bucket):
    target = Signer(http.users["writer"]).presign("GET", host_of(http), f"/{bucket}/key", expires=-1)
    get(http, target).expect(403, "AccessDenied")


@pytest.mark.parametrize("options", [{"region": "eu-west-1"}, {"service": "ec2"}, {"terminal": "x"}], ids=str)
def test_presigned_scope(http, bucket, options):
    target = Signer(http.users["writer"], **options).presign("GET", host_of(http), f"/{bucket}/key")
    get(http, target).expect(400, "AuthorizationQueryParametersError")


# Signed chunks.


def streaming(server, target, body, trailers=None, declared=None, length=None, **options):
    """A PUT in signed chunks."""
    user = server.users["writer"]
    signer = Signer(user)
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("" if trailers is None else "-TRAILER")
    headers = [("Host", host_of(server)), ("x-amz-decoded-content-length", str(len(body) if length is None else length)),
               ("Content-Encoding", "aws-chunked")]
    if trailers is not None:
        names = [name for name, _ in trailers] if declared is None else declared
        headers.append(("x-amz-trailer", ",".join(names)))
    headers = signer.headers("PUT", target, headers, payload)
    framed = signer.chunks(body, trailers=trailers, **options)
    with Connection(server) as connection:
        connection.send(request("PUT", target, [*headers, ("Content-Length", str(len(framed)))], framed))
        return connection.answer()


BODY = bytes(range(256)) * 700  # Three chunks of 64 KiB, the last one short.


@pytest.mark.parametrize("size", [0, 1, 65536, len(BODY)])
def test_signed_chunks(http, bucket, size):
    streaming(http, f"/{bucket}/chunks-{size}", BODY[:size]).expect(200)
    assert http.path(bucket, f"chunks-{size}").read_bytes() == BODY[:size]
    head = ask(http, "HEAD", f"/{bucket}/chunks-{size}")
    assert "content-encoding" not in head.headers


def test_restic_sends_no_content_encoding(http, bucket):
    """The framing is announced by x-amz-content-sha256 alone."""
    signer, target = Signer(http.users["writer"]), f"/{bucket}/restic"
    headers = [("Host", host_of(http)), ("x-amz-decoded-content-length", "5")]
    headers = signer.headers("PUT", target, headers, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    framed = signer.chunks(b"hello")
    ask_raw(http, request("PUT", target, [*headers, ("Content-Length", str(len(framed)))], framed)).expect(200)
    assert http.path(bucket, "restic").read_bytes() == b"hello"


@pytest.mark.parametrize("sent, kept", [("aws-chunked,gzip", "gzip"), ("gzip, aws-chunked", "gzip"), ("gzip", "gzip")])
def test_content_encoding_keeps_the_rest(http, bucket, sent, kept):
    signer, target = Signer(http.users["writer"]), f"/{bucket}/encoded"
    headers = [("Host", host_of(http)), ("x-amz-decoded-content-length", "5"), ("Content-Encoding", sent)]
    headers = signer.headers("PUT", target, headers, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    framed = signer.chunks(b"hello")
    ask_raw(http, request("PUT", target, [*headers, ("Content-Length", str(len(framed)))], framed)).expect(200)
    assert ask(http, "HEAD", target).headers["content-encoding"] == kept


@pytest.mark.parametrize("chunk", [0, 1, 2, 3])
def test_wrong_chunk_signature(http, bucket, chunk):
    streaming(http, f"/{bucket}/bad-chunk", BODY, wrong_chunk=chunk).expect(403, "SignatureDoesNotMatch")
    assert not http.path(bucket, "bad-chunk").exists()


def test_small_chunk(http, bucket):
    fields = streaming(http, f"/{bucket}/small-chunk", BODY, size=4096).expect(403, "InvalidChunkSizeError")
    assert (fields["Chunk"], fields["BadChunkSize"]) == ("1", "4096")


@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1, 0])
def test_wrong_decoded_length(http, bucket, length):
    streaming(http, f"/{bucket}/bad-length", BODY, length=length).expect(400, "IncompleteBody")
    assert not http.path(bucket, "bad-length").exists()


def test_missing_final_chunk(http, bucket):
    streaming(http, f"/{bucket}/unended", BODY, final=False).expect(400, "IncompleteBody")
    assert not http.path(bucket, "unended").exists()


def test_no_decoded_length(http, bucket):
    signer, target = Signer(http.users["writer"]), f"/{bucket}/no-length"
    headers = signer.headers("PUT", target, [("Host", host_of(http))], "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    framed = signer.chunks(b"hello")
    data = request("PUT", target, [*headers, ("Content-Length", str(len(framed)))], framed)
    ask_raw(http, data).expect(411, "MissingContentLength")


def test_signed_trailer(http, bucket):
    crc = wire.base64_of((0x3610A686).to_bytes(4, "big"))  # CRC32 of "hello".
    trailers = [("x-amz-checksum-crc32", crc)]
    streaming(http, f"/{bucket}/trailer", b"hello", trailers).expect(200)
    assert http.path(bucket, "trailer").read_bytes() == b"hello"
    answer = streaming(http, f"/{bucket}/bad-trailer", b"hello", trailers, wrong_trailer=True)
    answer.expect(403, "SignatureDoesNotMatch")
    answer = streaming(http, f"/{bucket}/bad-trailer", b"hello", trailers, declared=["x-amz-checksum-sha1"])
    answer.expect(400, "MalformedTrailerError")
    answer = streaming(http, f"/{bucket}/bad-trailer", b"hellO", trailers)
    answer.expect(400, "BadDigest")
    assert not http.path(bucket, "bad-trailer").exists()
    assert http.system_files() == []


# Canonicalisation, as the wire has it.


@pytest.mark.parametrize("target, name", [
    ("/{}/a%20b", "a b"), ("/{}/a+b", "a+b"), ("/{}/a%2Bb2", "a+b2"), ("/{}/%c3%bc", "ü"), ("/{}/%7Etilde", "~tilde"),
    ("/{}/~tilde2", "~tilde2"), ("/{}/(!'*)", "(!'*)"), ("/{}/%28x%29", "(x)"), ("/{}/a%2Fslash", "a/slash"),
    ("/{}/per%25cent", "per%cent"), ("/{}/colon:@=&$,;", "colon:@=&$,;"), ("/{}/q%3Fmark%23", "q?mark#"),
])
def test_paths(http, bucket, target, name):
    ask(http, "PUT", target.format(bucket), b"x").expect(200)
    assert http.path(bucket, name).read_bytes() == b"x"


def test_query_order_and_encoding(http, bucket):
    for query in ["prefix=a&list-type=2&delimiter=/", "prefix=%C3%A9&list-type=2&prefiy=~", "list-type=2&prefix",
                  "list-type=2&prefix=a%2Bb&foo=bar&foo=Bar&foo"]:
        ask(http, "GET", f"/{bucket}?{query}").expect(200)


def test_headers_with_spaces(http, bucket):
    ask(http, "PUT", f"/{bucket}/spaces", b"x", headers=[("x-amz-meta-text", "a   b  \" c   d \"")]).expect(200)
    ask(http, "PUT", f"/{bucket}/repeated", b"x", headers=[("x-amz-meta-a", "1"), ("x-amz-meta-A", "2")]).expect(200)
