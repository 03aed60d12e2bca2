"""Uploads by forms of web pages: what browsers and SDKs make of a policy, byte by byte on the wire."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import os
import ssl
import urllib.parse
import xml.etree.ElementTree
import zlib

import boto3
import pytest
from botocore.exceptions import ClientError

from conftest import needs_root, new_bucket
from sluicegate import REGION
from wire import Connection, Signer, ask, ask_raw, http_chunks, request, signed

BOUNDARY = "----form-7MA4YWxkTrZu0gW"
TAGGING = "<Tagging><TagSet><Tag><Key>team</Key><Value>é &amp; ü</Value></Tag></TagSet></Tagging>"


def field(name, value):
    value = value if isinstance(value, bytes) else value.encode()
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"


def form(fields, content=b"data", filename="f.txt", end=None):
    """The body of a form."""
    pairs = fields.items() if isinstance(fields, dict) else fields
    head = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: text/plain\r\n\r\n").encode()
    end = f"\r\n--{BOUNDARY}--\r\n".encode() if end is None else end
    return b"".join(field(*pair) for pair in pairs) + head + content + end


def post_bytes(bucket, body, headers=(), framing=None):
    framing = framing or ("Content-Length", str(len(body)))
    return request("POST", f"/{bucket}", [("Host", "localhost:1"), framing, *headers,
                                          ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")], body)


def post(server, bucket, fields, *arguments, headers=(), **more):
    return ask_raw(server, post_bytes(bucket, form(fields, *arguments, **more), headers))


def document(conditions, seconds=60):
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    text = json.dumps({"expiration": end.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "conditions": conditions})
    return base64.b64encode(text.encode()).decode()


def conditions(bucket, fields, more):
    return [{"bucket": bucket}, *({name: value} for name, value in fields.items()), *more]


def version4(user, bucket, fields, more=(), seconds=60, policy=None, token=None, **options):
    """The fields with a policy that names them all, signed."""
    signer = Signer(user, **options)
    fields = {**fields, "x-amz-algorithm": "AWS4-HMAC-SHA256",
              "x-amz-credential": f"{signer.access_key}/{signer.scope}", "x-amz-date": signer.date}
    if token:
        fields["x-amz-security-token"] = token
    policy = policy or document(conditions(bucket, fields, more), seconds)
    return {**fields, "policy": policy, "x-amz-signature": signer.sign(policy)}


def version2(user, bucket, fields, more=(), seconds=60):
    policy = document(conditions(bucket, fields, more), seconds)
    mac = hmac.new(user.secret.encode(), policy.encode(), hashlib.sha1).digest()
    return {**fields, "AWSAccessKeyId": user.name, "policy": policy, "signature": base64.b64encode(mac).decode()}


@pytest.fixture
def writer(server):
    return server.users["writer"]


def exists(s3, bucket, key):
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "404", error
        return False
    return True


def test_what_boto3_presigns(server, s3, bucket):
    presigned = s3.generate_presigned_post(
        bucket, "user/${filename}", Fields={"Content-Type": "image/png", "x-amz-meta-a": "é"},
        Conditions=[["starts-with", "$Content-Type", "image/"], {"x-amz-meta-a": "é"},
                    ["content-length-range", 1, 10]])
    assert presigned["url"] == f"{server.endpoint}/{bucket}"
    answer = post(server, bucket, presigned["fields"], b"picture", "a b.png")
    assert answer.status == 204 and answer.body == b"", answer
    got = s3.get_object(Bucket=bucket, Key="user/a b.png")
    assert got["Body"].read() == b"picture"
    assert got["ETag"] == answer.headers["etag"] == f'"{hashlib.md5(b"picture").hexdigest()}"'
    assert got["ContentType"] == "image/png" and got["ResponseMetadata"]["HTTPHeaders"]["x-amz-meta-a"]
    assert answer.headers["location"].endswith(f"/{bucket}/user/a%20b.png")
    for content, code in [(b"", "EntityTooSmall"), (b"x" * 11, "EntityTooLarge")]:
        error = post(server, bucket, presigned["fields"], content, "other").expect(400, code)
        assert error["ProposedSize" if content else "MinSizeAllowed"] == ("11" if content else "1")
    assert not exists(s3, bucket, "user/other")


@pytest.mark.parametrize("sign", [version4, version2])
def test_attributes_come_as_fields(server, s3, bucket, writer, sign):
    content = os.urandom(70_000)
    fields = {
        "key": "a/é", "acl": "private", "Content-Type": "text/css", "Cache-Control": "no-store",
        "Content-Disposition": "attachment", "Content-Encoding": "br", "Expires": "Thu, 01 Dec 2033 16:00:00 GMT",
        "x-amz-meta-Name": "value", "tagging": TAGGING, "x-amz-storage-class": "STANDARD_IA",
        "Content-MD5": base64.b64encode(hashlib.md5(content).digest()).decode(),
        "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode(),
        "x-ignore-this": "anything",
    }
    post(server, bucket, sign(writer, bucket, fields), content).expect(204)
    got = s3.get_object(Bucket=bucket, Key="a/é", ChecksumMode="ENABLED")
    assert got["Body"].read() == content
    for name in ["ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "StorageClass"]:
        sent = {"ContentType": "Content-Type", "CacheControl": "Cache-Control", "StorageClass": "x-amz-storage-class",
                "ContentDisposition": "Content-Disposition", "ContentEncoding": "Content-Encoding"}[name]
        assert got[name] == fields[sent], name
    assert got["Metadata"] == {"name": "value"} and got["ChecksumCRC32"] == fields["x-amz-checksum-crc32"]
    tags = s3.get_object_tagging(Bucket=bucket, Key="a/é")["TagSet"]
    assert tags == [{"Key": "team", "Value": "é & ü"}]


def test_the_boundary_may_lie_anywhere_in_the_buffers(server, s3, bucket, writer):
    fields = version4(writer, bucket, {"key": "k"})
    content = b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n\r\n--"
    whole = post_bytes(bucket, form(fields, content))
    start = whole.index(content)
    # One connection for all cuts: each answer leaves it usable.
    with Connection(server) as connection:
        for cut in range(start - 4, len(whole) + 1):
            connection.send(whole[:cut])
            connection.send(whole[cut:])
            connection.answer().expect(204)
            if cut % 16 == 0:
                assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content, cut
        for byte in range(len(whole)):
            connection.send(whole[byte:byte + 1])
        connection.answer().expect(204)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content


def test_large_files_end_anywhere_in_the_transfer_buffers(server, s3, bucket, writer):
    fields = version4(writer, bucket, {"key": "k"})
    head = len(form(fields, b"", end=b""))
    # Around every multiple of the buffer's 256 KiB, in which the delimiter or the content may end.
    for size in [256 * 1024 - head - 1, 256 * 1024 - head, 256 * 1024 - 1, 256 * 1024, 512 * 1024 - head - 20,
                 512 * 1024 + 1, 3_000_000]:
        content = os.urandom(size)
        post(server, bucket, fields, content).expect(204)
        got = s3.get_object(Bucket=bucket, Key="k")
        assert got["Body"].read() == content and got["ETag"] == f'"{hashlib.md5(content).hexdigest()}"', size
    content = (b"\r\n--" + BOUNDARY.encode()[:-2]) * 30_000
    post(server, bucket, fields, content).expect(204)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content


def test_no_length_needs_to_be_known(server, s3, bucket, writer):
    content = os.urandom(600_000)
    body = form(version4(writer, bucket, {"key": "k"}), content)
    for size in [1000, 100_000]:
        sent = post_bytes(bucket, http_chunks(body, size), framing=("Transfer-Encoding", "chunked"))
        ask_raw(server, sent).expect(204)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content
    small = form(version4(writer, bucket, {"key": "k"}), b"")
    ask_raw(server, post_bytes(bucket, http_chunks(small, 7), framing=("Transfer-Encoding", "chunked"))).expect(204)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b""


def test_a_browser_waits_for_100_continue(server, bucket, writer):
    body = form(version4(writer, bucket, {"key": "k"}))
    sent = post_bytes(bucket, body, headers=[("Expect", "100-continue")])
    with Connection(server) as connection:
        connection.send(sent[:-len(body)])
        assert connection.head()[0] == 100
        connection.send(body)
        connection.answer().expect(204)


def test_answers(server, s3, bucket, writer):
    def ask_for(**more):
        fields = {"key": "a b/é", **more}
        return post(server, bucket, version4(writer, bucket, fields))

    etag = f'"{hashlib.md5(b"data").hexdigest()}"'
    for status, expected in [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)]:
        answer = ask_for(success_action_status=status)
        assert answer.status == expected, status
        assert answer.headers["etag"] == etag
        location = answer.headers["location"]
        assert location.endswith(f"localhost:1/{bucket}/a%20b/%C3%A9")
        if expected == 201:
            told = {child.tag: child.text for child in xml.etree.ElementTree.fromstring(answer.body)}
            assert told == {"Location": location, "Bucket": bucket, "Key": "a b/é", "ETag": etag}
        else:
            assert answer.body == b""
    for name in ["success_action_redirect", "redirect"]:
        answer = ask_for(**{name: "http://page.test/done?x=1", "success_action_status": "201"})
        assert answer.status == 303 and answer.body == b""
        place, _, query = answer.headers["location"].partition("?")
        assert place == "http://page.test/done"
        assert urllib.parse.parse_qsl(query) == [("x", "1"), ("bucket", bucket), ("key", "a b/é"), ("etag", etag)]
        assert ask_for(**{name: "javascript:alert(1)"}).status == 204


def test_a_page_of_another_origin_reads_the_answer(server, s3, bucket, writer):
    rule = {"AllowedOrigins": ["http://page.test"], "AllowedMethods": ["POST"], "ExposeHeaders": ["ETag"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    origin = [("Origin", "http://page.test")]
    done = post(server, bucket, version4(writer, bucket, {"key": "k"}), headers=origin)
    refused = post(server, bucket, {"key": "k"}, headers=origin)
    assert (done.status, refused.status) == (204, 403)
    for answer in [done, refused]:
        assert answer.headers["access-control-allow-origin"] == "http://page.test"


def test_what_the_policy_does_not_allow(server, s3, bucket, writer):
    def check(fields, status, code, text=""):
        error = post(server, bucket, fields).expect(status, code)
        assert text in error["Message"], error

    denied = "Invalid according to Policy: "
    good = version4(writer, bucket, {"key": "k"}, [["starts-with", "$x-amz-meta-a", ""]])
    check({**good, "x-amz-meta-a": "1", "x-amz-meta-b": "1"}, 403, "AccessDenied", denied + "Extra input fields: x-amz-meta-b")
    check(good, 403, "AccessDenied", denied + 'Policy Condition failed: ["starts-with","$x-amz-meta-a",""]')
    check({**good, "x-amz-meta-a": "1", "key": "K"}, 403, "AccessDenied", 'Policy Condition failed: ["eq","$key","k"]')
    check(version4(writer, bucket, {"key": "k"}, seconds=-5), 403, "AccessDenied", denied + "Policy expired.")
    check(version4(writer, "other-bucket", {"key": "k"}), 403, "AccessDenied", "Policy Condition failed")
    unnamed = document([["starts-with", "$key", ""], *([["starts-with", f"$x-amz-{name}", ""]
                                                       for name in ["algorithm", "credential", "date"]])])
    check(version4(writer, bucket, {"key": "k"}, policy=unnamed), 403, "AccessDenied", "Extra input fields: bucket")
    for policy in ["", "%", base64.b64encode(b"[]").decode(), base64.b64encode(b'{"conditions": []}').decode(),
                   document([{}]), document([["content-length-range", -1, 0]]), document(["x"])]:
        check(version4(writer, bucket, {"key": "k"}, policy=policy or "="), 400, "InvalidPolicyDocument", "Invalid Policy")
    assert not exists(s3, bucket, "k") and not exists(s3, bucket, "K")


def test_signatures_that_are_wrong(server, s3, bucket, writer):
    def check(fields, status, code):
        return post(server, bucket, fields).expect(status, code)

    for sign, name in [(version4, "x-amz-signature"), (version2, "signature")]:
        good = sign(writer, bucket, {"key": "k"})
        check({**good, name: good[name][::-1]}, 403, "SignatureDoesNotMatch")
        error = check({**good, "policy": document([])}, 403, "SignatureDoesNotMatch")
        assert writer.secret not in json.dumps(error)
        for missing in [name, "policy"]:
            error = check({other: value for other, value in good.items() if other != missing}, 400, "InvalidArgument")
            assert error["ArgumentName"] == missing
    check(version4(writer, bucket, {"key": "k"}, secret="Another-secret-1"), 403, "SignatureDoesNotMatch")
    check(version4(writer, bucket, {"key": "k"}, access_key="nobody-has-it"), 403, "InvalidAccessKeyId")
    check({**version2(writer, bucket, {"key": "k"}), "AWSAccessKeyId": "nobody-has-it"}, 403, "InvalidAccessKeyId")
    error = check(version4(writer, bucket, {"key": "k"}, region="eu-west-1"), 400, "InvalidArgument")
    assert error["Region"] == REGION
    check(version4(writer, bucket, {"key": "k"}, service="sts"), 400, "InvalidArgument")
    check(version4(writer, bucket, {"key": "k"}, token="of-nobody"), 400, "InvalidToken")
    # A form is signed once.
    fields = version4(writer, bucket, {"key": "k"})
    with Connection(server) as connection:
        content_type = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
        connection.send(signed(writer, connection.host, "POST", f"/{bucket}", form(fields), headers=content_type))
        connection.answer().expect(400, "InvalidRequest")
    assert not exists(s3, bucket, "k")


def test_bodies_that_are_no_form(server, s3, bucket, writer):
    fields = version4(writer, bucket, {"key": "k"})
    last = f"\r\n--{BOUNDARY}".encode()

    def check(body, status, code, content_type=None):
        sent = request("POST", f"/{bucket}", [
            ("Host", "x"), ("Content-Length", str(len(body))),
            ("Content-Type", content_type or f"multipart/form-data; boundary={BOUNDARY}")], body)
        ask_raw(server, sent).expect(status, code)

    check(b"", 400, "MalformedPOSTRequest")
    check(b"key=value", 400, "MalformedPOSTRequest")
    check(form(fields), 400, "MalformedPOSTRequest", "multipart/form-data")
    check(form(fields), 400, "MalformedPOSTRequest", "multipart/form-data; boundary=" + "x" * 71)
    for end in [b"", last, last + b"-", last + b"x\r\n"]:
        check(form(fields, end=end), 400, "MalformedPOSTRequest")
        check(form(fields, b"x" * 400_000, end=end), 400, "MalformedPOSTRequest")
    no_file = b"".join(field(*pair) for pair in fields.items()) + f"--{BOUNDARY}--\r\n".encode()
    check(no_file, 400, "IncorrectNumberOfFilesInPostRequest")
    check(form([*fields.items(), ("KEY", "k")]), 400, "InvalidArgument")
    check(form({**fields, "x-ignore-a": "x" * 20_480}), 400, "MaxPostPreDataLengthExceededError")
    check(form({**fields, **{f"x-ignore-{n}": "" for n in range(201)}}), 400, "MaxPostPreDataLengthExceededError")
    check(form(fields, end=last + b"--" + b"x" * 30_000), 400, "MaxPostPreDataLengthExceededError")
    without_key = {name: value for name, value in fields.items() if name != "key"}
    check(form(without_key), 400, "InvalidArgument")
    check(form({**without_key, "key": ""}), 400, "InvalidArgument")
    check(form({**without_key, "key": "x" * 1025}), 400, "KeyTooLongError")
    check(form({**fields, "x-amz-meta-a": "1\r\nx-amz-acl: public-read"}), 400, "InvalidArgument")
    check(form({**fields, "tagging": "<Tagging>"}), 400, "MalformedXML")
    assert not exists(s3, bucket, "k")
    # What comes after the file is ignored.
    check_end = last + b"\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nUpload" + last + b"--"
    ask_raw(server, post_bytes(bucket, form(fields, end=check_end))).expect(204)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"data"


def test_what_is_refused_stores_nothing(server, s3, bucket, writer):
    def check(status, code, content=b"data", **more):
        fields = version4(writer, bucket, {"key": "d/k", **more})
        post(server, bucket, fields, content).expect(status, code)

    check(400, "BadDigest", **{"Content-MD5": base64.b64encode(bytes(16)).decode()})
    check(400, "InvalidDigest", **{"Content-MD5": "x"})
    check(400, "BadDigest", **{"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()})
    check(400, "BadDigest", **{"x-amz-checksum-sha256": "sailor"})
    check(400, "InvalidStorageClass", **{"x-amz-storage-class": "COLD"})
    check(501, "NotImplemented", **{"x-amz-server-side-encryption": "aws:kms"})
    check(400, "MetadataTooLarge", **{"x-amz-meta-a": "x" * 2048})
    fields = version4(writer, bucket, {"key": "d/k"}, [["content-length-range", 0, 300_000]])
    post(server, bucket, fields, b"x" * 300_001).expect(400, "EntityTooLarge")
    # So much is not read to its end: with a client that goes on sending, the answer may be lost.
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        post(server, bucket, fields, b"x" * 2_000_000).expect(400, "EntityTooLarge")
    post(server, "nobodys", version4(writer, "nobodys", {"key": "d/k"})).expect(404, "NoSuchBucket")
    with Connection(server) as connection:
        whole = post_bytes(bucket, form(fields, b"x" * 290_000))
        connection.send(whole[:-1000])
    assert not exists(s3, bucket, "d/k")
    assert not server.path(bucket, "d").exists() and server.system_files() == []


def test_the_connection_goes_on_after_a_refusal(server, bucket, writer):
    with Connection(server) as connection:
        connection.send(post_bytes(bucket, form({"key": "k"})))
        connection.answer().expect(403, "AccessDenied")
        connection.send(post_bytes(bucket, form(version4(writer, bucket, {"key": "k"}))))
        connection.answer().expect(204)


def test_anybody_may_where_the_bucket_policy_says_so(server, s3, bucket):
    def allow(*actions, **condition):
        statement = {"Effect": "Allow", "Principal": "*", "Action": [f"s3:{action}" for action in actions],
                     "Resource": f"arn:aws:s3:::{bucket}/drop/*", **condition}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    post(server, bucket, {"key": "drop/a"}).expect(403, "AccessDenied")
    allow("PutObject")
    post(server, bucket, {"key": "drop/a", "anything": "x"}).expect(204)
    assert s3.get_object(Bucket=bucket, Key="drop/a")["Body"].read() == b"data"
    post(server, bucket, {"key": "other/a"}).expect(403, "AccessDenied")
    post(server, bucket, {"key": "drop/${filename}"}, b"data", "x/../b").expect(204)
    assert exists(s3, bucket, "drop/b")
    # Tags need a permission of their own.
    post(server, bucket, {"key": "drop/c", "tagging": TAGGING}).expect(403, "AccessDenied")
    allow("PutObject", "PutObjectTagging")
    post(server, bucket, {"key": "drop/c", "tagging": TAGGING}).expect(204)
    allow("PutObject", "PutObjectTagging", Condition={"StringEquals": {"s3:RequestObjectTag/team": "red"}})
    post(server, bucket, {"key": "drop/d", "tagging": TAGGING}).expect(403, "AccessDenied")
    post(server, bucket, {"key": "drop/d", "tagging": TAGGING.replace("é &amp; ü", "red")}).expect(204)
    allow("PutObject", Condition={"StringEquals": {"aws:Referer": "http://page.test/"}})
    post(server, bucket, {"key": "drop/e"}).expect(403, "AccessDenied")
    post(server, bucket, {"key": "drop/e"}, headers=[("Referer", "http://page.test/")]).expect(204)


def test_a_form_may_what_its_signer_may(http):
    server, bucket = http, new_bucket(http)
    resource = {"Effect": "Allow", "Resource": f"arn:aws:s3:::{bucket}/mine/*", "Action": "s3:PutObject"}
    server.add_policy(f"mine-{bucket}", [resource])
    user = server.add_user(f"mine-{bucket}", f"mine-{bucket}", number=80)
    for sign in [version4, version2]:
        post(server, bucket, sign(user, bucket, {"key": "mine/a"})).expect(204)
        post(server, bucket, sign(user, bucket, {"key": "yours/a"})).expect(403, "AccessDenied")
        post(server, bucket, sign(user, bucket, {"key": "mine/a", "tagging": TAGGING})).expect(403, "AccessDenied")
    # Only forms, and only of version 4.
    server.add_policy(f"mine-{bucket}", [{**resource, "Condition": {
        "StringEquals": {"s3:authType": "POST", "s3:signatureversion": "AWS4-HMAC-SHA256"},
        "NumericLessThan": {"s3:signatureAge": 600_000}}}])
    post(server, bucket, version4(user, bucket, {"key": "mine/a"})).expect(204)
    post(server, bucket, version2(user, bucket, {"key": "mine/a"})).expect(403, "AccessDenied")
    ask(server, "PUT", f"/{bucket}/mine/a", b"data", user=user).expect(403, "AccessDenied")


def test_a_session_signs_a_form(http):
    server, bucket = http, new_bucket(http)
    writer = server.users["writer"]
    sts = boto3.client("sts", endpoint_url=server.endpoint, region_name=REGION, aws_access_key_id=writer.name,
                       aws_secret_access_key=writer.secret)
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/session/*"}]}
    keys = sts.assume_role(RoleArn="arn:x:ignored:by:everyone:", RoleSessionName="form",
                           Policy=json.dumps(policy))["Credentials"]
    options = {"access_key": keys["AccessKeyId"], "secret": keys["SecretAccessKey"]}
    good = version4(writer, bucket, {"key": "session/a"}, token=keys["SessionToken"], **options)
    post(server, bucket, good).expect(204)
    outside = version4(writer, bucket, {"key": "a"}, token=keys["SessionToken"], **options)
    post(server, bucket, outside).expect(403, "AccessDenied")
    without = version4(writer, bucket, {"key": "session/a"}, **options)
    post(server, bucket, without).expect(400, "InvalidToken")
    # botocore signs the same.
    s3 = boto3.client("s3", endpoint_url=server.endpoint, region_name=REGION, aws_access_key_id=keys["AccessKeyId"],
                      aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])
    presigned = s3.generate_presigned_post(bucket, "session/b")
    post(server, bucket, presigned["fields"]).expect(204)


@needs_root
def test_the_file_belongs_to_the_signer(http):
    server, bucket = http, new_bucket(http)
    writer = server.users["writer"]
    post(server, bucket, version4(writer, bucket, {"key": "d/k"})).expect(204)
    for path in [server.path(bucket, "d"), server.path(bucket, "d/k")]:
        stat = path.stat()
        assert (stat.st_uid, stat.st_gid) == (writer.uid, writer.gid), path
    assert server.path(bucket, "d/k").read_bytes() == b"data"


def test_virtual_hosts(http):
    server, bucket = http, new_bucket(http)
    body = form(version4(server.users["writer"], bucket, {"key": "k"}))
    sent = request("POST", "/", [("Host", f"{bucket}.s3.test"), ("Content-Length", str(len(body))),
                                 ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")], body)
    ask_raw(server, sent).expect(204)
    assert exists(server.s3(), bucket, "k")
