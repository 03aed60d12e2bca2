"""Cross-origin requests: the configuration, what a browser asks before, and what every answer says."""

import json
import urllib.parse

import pytest
from botocore.exceptions import ClientError

from conftest import new_bucket
from sluicegate import Server
from wire import Connection, Signer, ask, ask_raw, request, signed

PAGE = "http://page.test"
RULES = [
    {"ID": "page", "AllowedOrigins": [PAGE, "https://*.page.test"], "AllowedMethods": ["GET", "PUT"],
     "AllowedHeaders": ["x-amz-*", "Content-Type"], "ExposeHeaders": ["ETag", "x-amz-request-id"],
     "MaxAgeSeconds": 600},
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
]
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@pytest.fixture
def cors(s3, bucket):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    return bucket


def refused(call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return failure.value.response["Error"]["Code"]


def told(answer):
    """What an answer tells a browser."""
    prefix = "access-control-"
    return {name.removeprefix(prefix): value for name, value in answer.headers.items() if name.startswith(prefix)}


def preflight(server, target, origin=None, method=None, headers=None):
    sent = [("Host", "x"), ("Origin", origin), ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", headers)]
    return ask_raw(server, request("OPTIONS", target, [(name, value) for name, value in sent if value is not None]))


def test_the_configuration_is_kept(server, s3, bucket):
    assert refused(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    other = [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": other})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == other
    for bad, code in [
        ({"AllowedOrigins": ["*.a.*"], "AllowedMethods": ["GET"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "ExposeHeaders": ["a b"]}, "InvalidRequest"),
        ({"AllowedOrigins": [], "AllowedMethods": ["GET"]}, "MalformedXML"),
    ]:
        assert refused(s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [bad]}) == code, bad
    assert refused(s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": other * 101}) == "MalformedXML"
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == other, "what is refused changes nothing"
    s3.delete_bucket_cors(Bucket=bucket)
    s3.delete_bucket_cors(Bucket=bucket)
    assert refused(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"
    assert refused(s3.put_bucket_cors, Bucket="nobodys", CORSConfiguration={"CORSRules": other}) == "NoSuchBucket"


def test_a_preflight_needs_no_signature(server, cors):
    for target in [f"/{cors}", f"/{cors}/a/b", f"/{cors}/none?x-amz-signature=of-another-method"]:
        answer = preflight(server, target, PAGE, "PUT", "Content-Type, X-Amz-Meta-A")
        answer.expect(200)
        assert told(answer) == {
            "allow-origin": PAGE, "allow-credentials": "true", "allow-methods": "GET, PUT",
            "allow-headers": "content-type, x-amz-meta-a", "expose-headers": "ETag, x-amz-request-id",
            "max-age": "600",
        }
        assert answer.headers["vary"] == VARY and answer.body == b""
    assert told(preflight(server, f"/{cors}", "https://sub.page.test", "GET"))["allow-origin"] == "https://sub.page.test"
    anybody = preflight(server, f"/{cors}", "http://anybody", "HEAD")
    assert told(anybody) == {"allow-origin": "*", "allow-methods": "HEAD"}


def test_a_preflight_that_is_refused(server, cors):
    bucket = cors

    def check(status, code, *question, target=f"/{bucket}/k"):
        answer = preflight(server, target, *question)
        assert told(answer) == {}
        return answer.expect(status, code)

    assert "Origin" in check(400, "BadRequest")["Message"]
    assert check(400, "BadRequest", PAGE)["Message"].endswith("Access-Control-Request-Method: null")
    check(400, "BadRequest", PAGE, "get")
    error = check(403, "AccessForbidden", PAGE, "DELETE")
    assert (error["Method"], error["ResourceType"]) == ("DELETE", "OBJECT")
    assert error["Message"].startswith("CORSResponse: This CORS request is not allowed.")
    check(403, "AccessForbidden", "http://other.test", "GET")
    check(403, "AccessForbidden", PAGE, "GET", "Authorization")
    check(403, "AccessForbidden", "http://anybody", "HEAD", "range")
    server.s3().delete_bucket_cors(Bucket=bucket)
    error = check(403, "AccessForbidden", PAGE, "GET", target=f"/{bucket}")
    assert error["Message"] == "CORSResponse: CORS is not enabled for this bucket."
    assert error["ResourceType"] == "BUCKET"
    check(403, "AccessForbidden", PAGE, "GET", target="/")


def test_every_answer_tells_the_browser(server, cors):
    bucket = cors
    get = {"allow-origin": PAGE, "allow-credentials": "true", "allow-methods": "GET, PUT",
           "expose-headers": "ETag, x-amz-request-id", "max-age": "600"}
    origin = [("Origin", PAGE)]
    answers = [
        ask(server, "PUT", f"/{bucket}/k", b"data", headers=origin),
        ask(server, "GET", f"/{bucket}/k", headers=origin),
        ask(server, "GET", f"/{bucket}/k", headers=[*origin, ("Range", "bytes=0-1")]),
        ask(server, "GET", f"/{bucket}", headers=origin),
        ask(server, "GET", f"/{bucket}/none", headers=origin),
        ask_raw(server, request("GET", f"/{bucket}/k", [("Host", "x"), *origin])),
    ]
    with Connection(server) as connection:
        target = Signer(server.users["writer"]).presign("GET", connection.host, f"/{bucket}/k")
        connection.send(request("GET", target, [("Host", connection.host), *origin]))
        answers.append(connection.answer())
    assert [answer.status for answer in answers] == [200, 200, 206, 200, 404, 403, 200]
    for answer in answers:
        assert told(answer) == get and answer.headers["vary"] == VARY, answer
    head = ask(server, "HEAD", f"/{bucket}/k", headers=[("Origin", "http://anybody")])
    assert told(head) == {"allow-origin": "*", "allow-methods": "HEAD"}


def test_other_answers_tell_nothing(server, s3, cors):
    bucket = cors
    s3.put_object(Bucket=bucket, Key="k", Body=b"data")
    plain = ask(server, "GET", f"/{bucket}/k")
    assert told(plain) == {} and "vary" not in plain.headers
    for method, headers in [
        ("GET", [("Origin", "http://other.test")]),
        ("DELETE", [("Origin", PAGE)]),
        ("GET", [("Origin", PAGE), ("Access-Control-Request-Method", "DELETE")]),
    ]:
        answer = ask(server, method, f"/{bucket}/k", headers=headers)
        assert told(answer) == {} and answer.headers["vary"] == VARY, (method, headers)
    other = new_bucket(server)
    answer = ask(server, "GET", f"/{other}", headers=[("Origin", PAGE)])
    assert told(answer) == {} and "vary" not in answer.headers
    assert told(ask(server, "GET", "/", headers=[("Origin", PAGE)])) == {}


def test_rules_hold_on_every_core_and_after_a_restart():
    with Server(options=["--workers", "2"]) as server:
        server.add_user("writer")
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        s3.put_bucket_cors(Bucket="photos", CORSConfiguration={"CORSRules": RULES})
        for _ in range(8):
            preflight(server, "/photos/k", PAGE, "GET").expect(200)
        server.restart()
        preflight(server, "/photos/k", PAGE, "GET").expect(200)
        assert server.s3().get_bucket_cors(Bucket="photos")["CORSRules"] == RULES
        # A damaged configuration allows nothing, and stops nothing.
        server.stop()
        (server.root / ".sluicegate/buckets/photos/cors.xml").write_text("<CORSConfiguration><")
        server.start()
        preflight(server, "/photos/k", PAGE, "GET").expect(403, "AccessForbidden")
        s3 = server.s3()
        s3.put_bucket_cors(Bucket="photos", CORSConfiguration={"CORSRules": RULES})
        s3.delete_bucket(Bucket="photos")
        s3.create_bucket(Bucket="photos")
        preflight(server, "/photos/k", PAGE, "GET").expect(403, "AccessForbidden")


def test_a_preflight_leaves_the_connection_usable(server, s3, cors):
    s3.put_object(Bucket=cors, Key="k", Body=b"data")
    with Connection(server) as connection:
        question = [("Host", connection.host), ("Origin", PAGE), ("Access-Control-Request-Method", "GET"),
                    ("Content-Length", "5")]
        connection.send(request("OPTIONS", f"/{cors}/k", question, b"body!"))
        connection.answer().expect(200)
        connection.send(signed(server.users["writer"], connection.host, "GET", f"/{cors}/k"))
        assert connection.answer().body == b"data"


def test_a_page_reads_what_a_bucket_policy_lets_anybody_read(server, s3, cors):
    s3.put_object(Bucket=cors, Key="é +", Body=b"data")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{cors}/*"}
    s3.put_bucket_policy(Bucket=cors, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    target = f"/{cors}/{urllib.parse.quote('é +')}"
    answer = ask_raw(server, request("GET", target, [("Host", "x"), ("Origin", PAGE)]))
    assert (answer.status, answer.body, told(answer)["allow-origin"]) == (200, b"data", PAGE)
    answer = ask_raw(server, request("PUT", target, [("Host", "x"), ("Origin", PAGE), ("Content-Length", "0")]))
    answer.expect(403, "AccessDenied")
    assert told(answer)["allow-origin"] == PAGE


def test_who_may_configure(http):
    server, bucket = http, new_bucket(http)
    for number, action in enumerate(["GetBucketCORS", "PutBucketCORS"]):
        name = f"cors-{number}-{bucket}"
        server.add_policy(name, [{"Effect": "Allow", "Action": f"s3:{action}", "Resource": f"arn:aws:s3:::{bucket}"}])
        s3 = server.s3(server.add_user(name, name, number=70 + number))
        calls = [(s3.put_bucket_cors, {"CORSConfiguration": {"CORSRules": RULES}}), (s3.delete_bucket_cors, {})]
        if action == "GetBucketCORS":
            assert refused(s3.get_bucket_cors, Bucket=bucket) == "NoSuchCORSConfiguration"
            for call, more in calls:
                assert refused(call, Bucket=bucket, **more) == "AccessDenied"
        else:
            for call, more in calls:
                call(Bucket=bucket, **more)
            assert refused(s3.get_bucket_cors, Bucket=bucket) == "AccessDenied"
