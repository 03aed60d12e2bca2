"""Temporary credentials: AssumeRole, GetSessionToken and GetCallerIdentity, as boto3 and the command line use them."""

import datetime
import json
import os
import pty
import re
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.session
import pytest
from botocore.exceptions import ClientError

import sluicegate

ROLE = {"RoleArn": "arn:x:ignored:by:weka-s3:", "RoleSessionName": "ignored-by-weka-s3"}
WEEK = 7 * 24 * 3600
ACCOUNT = "000000000000"


def statement(effect, actions, resources, **more):
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def sts_of(server, user, token=None, **config):
    """A boto3 client of STS that never retries."""
    config.setdefault("retries", {"total_max_attempts": 1})
    return boto3.client(
        "sts", endpoint_url=server.endpoint, region_name=sluicegate.REGION, aws_access_key_id=user.name,
        aws_secret_access_key=user.secret, aws_session_token=token,
        verify=str(server.certificate.authority) if server.certificate else None,
        config=botocore.config.Config(**config),
    )


class Session:
    """Temporary keys, in the shape in which the server's clients take a user's."""

    def __init__(self, credentials):
        self.name, self.secret = credentials["AccessKeyId"], credentials["SecretAccessKey"]
        self.token, self.expiration = credentials["SessionToken"], credentials["Expiration"]


def assume(server, user, **arguments):
    return Session(sts_of(server, user).assume_role(**ROLE, **arguments)["Credentials"])


def s3_of(server, session, **config):
    return server.s3(session, session_token=session.token, **config)


def refusal(call, *arguments, **named):
    """The code and status of a call that has to fail."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def user(server):
    """A user of the test's own, that may do everything."""
    return server.add_user(f"u-{uuid.uuid4().hex[:12]}", "readwrite", number=7)


# The calls.


def test_assume_role_answers_as_aws_does(server, bucket, user):
    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    answer = sts_of(server, user).assume_role(**ROLE)
    credentials = answer["Credentials"]
    assert re.fullmatch("ASIA[A-Z2-7]{16}", credentials["AccessKeyId"])
    assert re.fullmatch("[A-Za-z0-9_-]{40}", credentials["SecretAccessKey"])
    life = (credentials["Expiration"] - before).total_seconds()
    assert 3600 <= life < 3660
    assumed = answer["AssumedRoleUser"]
    assert assumed["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{user.name}/ignored-by-weka-s3"
    assert re.fullmatch("AIDA[A-Z2-7]{17}:ignored-by-weka-s3", assumed["AssumedRoleId"])
    assert answer["ResponseMetadata"]["RequestId"]
    s3 = s3_of(server, Session(credentials))
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"by a session")
    assert s3.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"by a session"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/b"]


@pytest.mark.parametrize("seconds, granted", [
    (899, False), (900, True), (43200, True), (WEEK, True), (WEEK + 1, False),
])
def test_bounds_of_the_duration(http, seconds, granted):
    # The client library checks the lower bound itself, unless it is told not to.
    sts = sts_of(http, http.users["writer"], parameter_validation=False)
    if not granted:
        assert refusal(sts.assume_role, **ROLE, DurationSeconds=seconds) == ("ValidationError", 400)
        assert refusal(sts.get_session_token, DurationSeconds=seconds) == ("ValidationError", 400)
        return
    now = datetime.datetime.now(datetime.timezone.utc)
    for credentials in (sts.assume_role(**ROLE, DurationSeconds=seconds)["Credentials"],
                        sts.get_session_token(DurationSeconds=seconds)["Credentials"]):
        assert abs((credentials["Expiration"] - now).total_seconds() - seconds) < 60


def test_get_session_token_is_the_user_itself(server, bucket, user):
    credentials = sts_of(server, user).get_session_token()["Credentials"]
    life = credentials["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert 43100 < life.total_seconds() <= 43200
    session = Session(credentials)
    s3_of(server, session).put_object(Bucket=bucket, Key="k", Body=b"x")
    own = sts_of(server, user).get_caller_identity()
    as_session = sts_of(server, session, session.token).get_caller_identity()
    assert (own["Arn"], own["UserId"]) == (as_session["Arn"], as_session["UserId"])


def test_get_caller_identity(http, user_http):
    own = sts_of(http, user_http).get_caller_identity()
    assert own["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{user_http.name}"
    assert own["Account"] == ACCOUNT
    session = assume(http, user_http)
    shown = sts_of(http, session, session.token).get_caller_identity()
    assert shown["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{user_http.name}/ignored-by-weka-s3"
    assert shown["UserId"] == f"{own['UserId']}:ignored-by-weka-s3"
    # A user without a policy may at least ask who it is.
    nobody = http.add_user(f"n-{uuid.uuid4().hex[:12]}", None)
    assert sts_of(http, nobody).get_caller_identity()["Arn"].endswith(f"user/{nobody.name}")


@pytest.fixture
def user_http(http):
    return http.add_user(f"u-{uuid.uuid4().hex[:12]}", "readwrite", number=8)


# Who gets credentials.


def test_a_user_without_a_policy_gets_none(http):
    nobody = http.add_user(f"n-{uuid.uuid4().hex[:12]}", None)
    sts = sts_of(http, nobody)
    assert refusal(sts.assume_role, **ROLE) == ("AccessDenied", 403)
    assert refusal(sts.get_session_token) == ("AccessDenied", 403)
    http.admin("policy", "attach", "readonly", nobody.name)
    sts.assume_role(**ROLE)
    http.admin("policy", "detach", nobody.name)
    assert refusal(sts.assume_role, **ROLE) == ("AccessDenied", 403)


def test_sessions_get_no_sessions(http, user_http):
    for session in (assume(http, user_http), Session(sts_of(http, user_http).get_session_token()["Credentials"])):
        sts = sts_of(http, session, session.token)
        assert refusal(sts.assume_role, **ROLE) == ("AccessDenied", 403)
        assert refusal(sts.get_session_token) == ("AccessDenied", 403)


def test_service_accounts_get_no_sessions(http, user_http):
    keys = json.loads(http.admin("service-account", "add", "--access-key", user_http.name, "--json",
                                 secret=user_http.secret))
    account = sluicegate.User(keys["access_key"], keys["secret_key"], user_http.uid, user_http.gid)
    http.s3(account).list_buckets()
    sts = sts_of(http, account)
    assert refusal(sts.assume_role, **ROLE) == ("AccessDenied", 403)
    assert refusal(sts.get_session_token) == ("AccessDenied", 403)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{user_http.name}"
    # A token of the user does not go with the keys of its service account.
    session = assume(http, user_http)
    assert refusal(http.s3(account, session_token=session.token).list_buckets) == ("InvalidToken", 400)
    # And a session makes no service accounts.
    http.refused("service-account", "add", "--access-key", session.name, secret=session.secret)


def test_a_bucket_policy_reaches_sessions(http, user_http):
    """A Deny of the bucket binds a session; an Allow adds to what its user may, but not to what it is limited to."""
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    owner = http.s3()
    owner.create_bucket(Bucket=bucket)
    owner.put_object(Bucket=bucket, Key="k", Body=b"x")
    http.admin("policy", "attach", "writeonly", user_http.name)
    plain = s3_of(http, assume(http, user_http))
    limited = s3_of(http, assume(http, user_http, Policy=document(statement("Allow", "s3:PutObject", "*"))))
    assert refusal(plain.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{user_http.name}/ignored-by-weka-s3"
    objects = f"arn:aws:s3:::{bucket}/*"
    for principal in (arn, f"arn:aws:iam::{ACCOUNT}:user/{user_http.name}"):
        owner.put_bucket_policy(Bucket=bucket, Policy=document(
            statement("Allow", "s3:GetObject", objects, Principal={"AWS": principal})))
        plain.get_object(Bucket=bucket, Key="k")
        assert refusal(limited.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    limited.put_object(Bucket=bucket, Key="k", Body=b"y")
    owner.put_bucket_policy(Bucket=bucket, Policy=document(
        statement("Deny", "s3:PutObject", objects, Principal={"AWS": arn})))
    for s3 in (plain, limited):
        assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"") == ("AccessDenied", 403)
    http.s3(user_http).put_object(Bucket=bucket, Key="k", Body=b"z")


def test_a_policy_can_deny_the_call(http, user_http):
    http.add_policy("no-sessions", [
        statement("Allow", "s3:*", "*"), statement("Deny", "sts:AssumeRole", "*"),
    ])
    http.admin("policy", "attach", "no-sessions", user_http.name)
    assert refusal(sts_of(http, user_http).assume_role, **ROLE) == ("AccessDenied", 403)
    sts_of(http, user_http).get_session_token()


def test_refused_signatures_have_the_names_of_sts(http, user_http):
    stranger = sluicegate.User("nobody-here", "Secret-1-of-nobody", 1, 1)
    assert refusal(sts_of(http, stranger).get_caller_identity) == ("InvalidClientTokenId", 403)
    forger = sluicegate.User(user_http.name, "Another-secret-1", 1, 1)
    assert refusal(sts_of(http, forger).assume_role, **ROLE) == ("SignatureDoesNotMatch", 403)
    session = assume(http, user_http)
    assert refusal(sts_of(http, session).get_caller_identity) == ("InvalidClientTokenId", 403)
    assert refusal(sts_of(http, session, "garbage").get_caller_identity) == ("InvalidClientTokenId", 403)


def post(server, body, **headers):
    """An unsigned call; its status and text."""
    headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    request = urllib.request.Request(server.endpoint + "/", data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_unsigned_calls(http):
    for action in ("AssumeRole", "GetSessionToken", "GetCallerIdentity"):
        status, text = post(http, f"Action={action}&Version=2011-06-15".encode())
        assert status == 403
        assert "<Code>MissingAuthenticationToken</Code>" in text
        assert text.count('<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">') == 1
    status, text = post(http, b"x" * (64 * 1024 + 1))
    assert (status, "<Code>EntityTooLarge</Code>" in text) == (400, True), text


def signed_post(server, user, body, hashed=None, region=sluicegate.REGION):
    """A call with a body that boto3 would not send, signed for `hashed` instead of it if given."""
    request = botocore.awsrequest.AWSRequest("POST", server.endpoint + "/", data=hashed or body, headers={
        "Content-Type": "application/x-www-form-urlencoded"})
    keys = botocore.credentials.Credentials(user.name, user.secret)
    botocore.auth.SigV4Auth(keys, "sts", region).add_auth(request)
    return post(server, body, **dict(request.headers))


def test_calls_that_are_not_understood(http):
    user = http.users["writer"]
    call = b"Action=AssumeRole&Version=2011-06-15"

    def check(body, status, code):
        answered, text = signed_post(http, user, body)
        assert (answered, re.search("<Code>(.*)</Code>", text)[1]) == (status, code), body

    check(b"Version=2011-06-15", 400, "MissingAction")
    check(b"Action=AssumeRole", 400, "MissingParameter")
    check(b"Action=AssumeRoleWithSAML&Version=2011-06-15", 400, "InvalidAction")
    check(call + b"&Policy=a&Policy=b", 400, "MalformedQueryString")
    check(call + b"&Policy=%zz", 400, "MalformedQueryString")
    check(call + b"&PolicyArns.member.1.arn=arn:aws:iam::aws:policy/ReadOnlyAccess", 400, "ValidationError")
    check(call + b"&RoleSessionName=a/b", 400, "ValidationError")
    assert signed_post(http, user, call)[0] == 200


def test_regions_of_the_scope(http):
    """The region of a call may be empty, which some clients send; another one than the server's is refused."""
    call = b"Action=GetSessionToken&Version=2011-06-15"
    for region, status in [(sluicegate.REGION, 200), ("", 200), ("eu-west-1", 400)]:
        assert signed_post(http, http.users["writer"], call, region=region)[0] == status, region


def test_the_signature_covers_the_body(http):
    call = b"Action=AssumeRole&Version=2011-06-15"
    status, text = signed_post(http, http.users["writer"], call + b"&DurationSeconds=604800", hashed=call)
    assert (status, "<Code>SignatureDoesNotMatch</Code>" in text) == (403, True), text


# What a session may do.


def test_a_session_policy_narrows(server, bucket, user):
    for key in ("p/in", "out"):
        server.s3(user).put_object(Bucket=bucket, Key=key, Body=b"x")
    s3 = s3_of(server, assume(server, user, Policy=document(
        statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/p/*"))))
    s3.get_object(Bucket=bucket, Key="p/in")
    assert refusal(s3.get_object, Bucket=bucket, Key="out") == ("AccessDenied", 403)
    assert refusal(s3.put_object, Bucket=bucket, Key="p/in", Body=b"") == ("AccessDenied", 403)
    assert refusal(s3.delete_object, Bucket=bucket, Key="p/in") == ("AccessDenied", 403)
    assert refusal(s3.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
    assert refusal(s3.list_buckets) == ("AccessDenied", 403)
    answer = s3_of(server, assume(server, user, Policy=document(
        statement("Allow", "s3:*", "*"), statement("Deny", "s3:DeleteObject", f"arn:aws:s3:::{bucket}/p/*"),
    ))).delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "p/in"}, {"Key": "out"}]})
    assert [entry["Key"] for entry in answer["Deleted"]] == ["out"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("p/in", "AccessDenied")]


def test_a_wider_session_policy_gives_nothing_more(server, bucket, user):
    server.s3(user).put_object(Bucket=bucket, Key="k", Body=b"x")
    server.admin("policy", "attach", "readonly", user.name)
    s3 = s3_of(server, assume(server, user, Policy=document(statement("Allow", "s3:*", "*"))))
    s3.get_object(Bucket=bucket, Key="k")
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"") == ("AccessDenied", 403)


def test_session_policies_that_are_refused(http):
    sts = sts_of(http, http.users["writer"], parameter_validation=False)
    good = document(statement("Allow", "s3:GetObject", "*"))

    def check(policy, code):
        assert refusal(sts.assume_role, **ROLE, Policy=policy) == (code, 400), policy

    check("", "MalformedPolicyDocument")
    check("{", "MalformedPolicyDocument")
    check("{}", "MalformedPolicyDocument")
    check(json.dumps({"Statement": json.loads(good)["Statement"]}), "MalformedPolicyDocument")
    check(document(statement("Allow", "s3:GetObjekt", "*")), "MalformedPolicyDocument")
    check(document(statement("Allow", "s3:GetObject", "*", Principal="*")), "MalformedPolicyDocument")
    check(good.ljust(2049), "PackedPolicyTooLarge")
    sts.assume_role(**ROLE, Policy=good.ljust(2048))


def test_the_user_is_looked_up_with_each_request(server, bucket, user):
    s3 = s3_of(server, assume(server, user))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    server.admin("policy", "attach", "readonly", user.name)
    s3.get_object(Bucket=bucket, Key="k")
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"") == ("AccessDenied", 403)
    server.admin("policy", "detach", user.name)
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    server.admin("policy", "attach", "readwrite", user.name)
    s3.put_object(Bucket=bucket, Key="k", Body=b"y")
    # Another secret of the user leaves its sessions alone.
    server.admin("user", "passwd", user.name, secret="Another-secret-2")
    s3.get_object(Bucket=bucket, Key="k")
    assert refusal(server.s3(user).get_object, Bucket=bucket, Key="k") == ("SignatureDoesNotMatch", 403)


def test_removing_a_user_kills_its_sessions_for_good(server, bucket, user):
    kept, unused = assume(server, user), assume(server, user)
    s3_of(server, kept).put_object(Bucket=bucket, Key="k", Body=b"x")
    server.admin("user", "remove", user.name)
    for session in (kept, unused):
        assert refusal(s3_of(server, session).get_object, Bucket=bucket, Key="k") == ("InvalidAccessKeyId", 403)
        sts = sts_of(server, session, session.token)
        assert refusal(sts.get_caller_identity) == ("InvalidClientTokenId", 403)
    again = server.add_user(user.name, "readwrite", number=7, secret=user.secret)
    server.s3(again).get_object(Bucket=bucket, Key="k")
    for session in (kept, unused):
        assert refusal(s3_of(server, session).get_object, Bucket=bucket, Key="k") == ("InvalidAccessKeyId", 403)


def test_keys_and_tokens_belong_together(server, bucket, user):
    server.s3(user).put_object(Bucket=bucket, Key="k", Body=b"x")
    one, other = assume(server, user), assume(server, user)

    def check(keys, token, expected):
        s3 = server.s3(keys, session_token=token, signature_version="s3v4")
        assert refusal(s3.get_object, Bucket=bucket, Key="k") == expected
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        assert fetch(server, url)[0] == expected[1]

    for _ in range(2):
        s3_of(server, one).get_object(Bucket=bucket, Key="k")
        check(one, None, ("InvalidToken", 400))
        check(one, other.token, ("InvalidToken", 400))
        check(one, one.token[:-1], ("InvalidToken", 400))
        check(one, one.token[:-2] + ("AA" if not one.token.endswith("AA") else "BB"), ("InvalidToken", 400))
        check(one, "garbage", ("InvalidToken", 400))
        check(user, one.token, ("InvalidToken", 400))
        check(sluicegate.User(one.name, other.secret, 0, 0), one.token, ("SignatureDoesNotMatch", 403))


def fetch(server, url):
    context = ssl.create_default_context(cafile=server.certificate.authority) if server.certificate else None
    try:
        with urllib.request.urlopen(url, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_presigned_urls_carry_the_token(server, bucket, user):
    s3 = s3_of(server, assume(server, user), signature_version="s3v4")
    s3.put_object(Bucket=bucket, Key="k", Body=b"presigned")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert "X-Amz-Security-Token=" in url
    assert fetch(server, url) == (200, b"presigned")
    parts = urllib.parse.urlsplit(url)
    query = [pair for pair in parts.query.split("&") if not pair.startswith("X-Amz-Security-Token=")]
    status, body = fetch(server, parts._replace(query="&".join(query)).geturl())
    assert status == 400 and b"<Code>InvalidToken</Code>" in body


def test_files_of_a_session_belong_to_the_user(server, bucket, user):
    s3 = s3_of(server, assume(server, user))
    s3.put_object(Bucket=bucket, Key="deep/er/put", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "deep/er/put"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"p")
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    for path in ("deep", "deep/er", "deep/er/put", "copy", "parts"):
        status = server.path(bucket, path).stat()
        assert (status.st_uid, status.st_gid) == (user.uid, user.gid), path


def test_large_bodies_in_signed_chunks(server, bucket, user):
    body = os.urandom(9 * 1024 * 1024)
    s3 = s3_of(server, assume(server, user))
    s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm="CRC32C")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_condition_keys_of_a_session(server, bucket, user):
    """What policies see of a session: the user's name, its own id, type and issue time."""
    session = assume(server, user)
    s3 = s3_of(server, session)
    unique_id = sts_of(server, user).get_caller_identity()["UserId"]

    def allowed(client, condition, resource=f"arn:aws:s3:::{bucket}/*"):
        name = f"c-{uuid.uuid4().hex[:12]}"
        server.add_policy(name, [statement("Allow", "s3:PutObject", resource, Condition=condition)])
        server.admin("policy", "attach", name, user.name)
        try:
            client.put_object(Bucket=bucket, Key=f"home/{user.name}/x", Body=b"")
            return True
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            return False

    own = server.s3(user)
    home = f"arn:aws:s3:::{bucket}/home/${{aws:username}}/*"
    assert allowed(s3, {}, home)
    assert not allowed(s3, {}, f"arn:aws:s3:::{bucket}/home/${{aws:userid}}/*")
    assert allowed(s3, {"StringEquals": {"aws:username": user.name}})
    assert allowed(s3, {"StringEquals": {"aws:userid": f"{unique_id}:ignored-by-weka-s3"}})
    assert allowed(own, {"StringEquals": {"aws:userid": unique_id}})
    assert not allowed(own, {"StringLike": {"aws:userid": f"{unique_id}:*"}})
    assert allowed(s3, {"StringEquals": {"aws:PrincipalType": "AssumedRole"}})
    assert allowed(own, {"StringEquals": {"aws:PrincipalType": "User"}})
    assert not allowed(own, {"StringEquals": {"aws:PrincipalType": "AssumedRole"}})
    assert allowed(s3, {"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/{user.name}"}})
    assert allowed(s3, {"Null": {"aws:TokenIssueTime": "false"}})
    assert not allowed(own, {"Null": {"aws:TokenIssueTime": "false"}})
    assert allowed(s3, {"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}})
    assert not allowed(s3, {"DateLessThan": {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}})
    # Revoking what was issued before a moment, as the console of AWS does it.
    moment = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)).isoformat()
    server.add_policy("revoked", [
        statement("Allow", "s3:*", "*"),
        statement("Deny", "s3:*", "*", Condition={"DateLessThan": {"aws:TokenIssueTime": moment}}),
    ])
    server.admin("policy", "attach", "revoked", user.name)
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"") == ("AccessDenied", 403)
    own.put_object(Bucket=bucket, Key="k", Body=b"")


def test_what_a_client_sends_is_no_condition_key(http, user_http):
    """A header or parameter that is called like a condition key never becomes its value."""
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    http.s3().create_bucket(Bucket=bucket)
    http.add_policy("only-admin", [statement("Allow", "s3:GetObject", "*", Condition={
        "StringEquals": {"aws:username": "admin"}})])
    http.admin("policy", "attach", "only-admin", user_http.name)
    http.s3().put_object(Bucket=bucket, Key="k", Body=b"x")
    session = assume(http, user_http)
    for query in ("", "?username=admin&aws:username=admin", "?aws%3Ausername=admin"):
        request = botocore.awsrequest.AWSRequest(
            "GET", f"{http.endpoint}/{bucket}/k{query}",
            headers={"Username": "admin", "aws-username": "admin", "x-amz-username": "admin"})
        keys = botocore.credentials.Credentials(session.name, session.secret, session.token)
        botocore.auth.S3SigV4Auth(keys, "s3", sluicegate.REGION).add_auth(request)
        answer = urllib.request.Request(request.prepare().url, headers=dict(request.headers))
        assert fetch(http, answer)[0] == 403, query


# How long a session lasts.


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) {
        char text[32] = {0};
        int file = open(getenv("CLOCK_SHIFT_FILE"), O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
            close(file);
        }
    }
    return result;
}
"""


@pytest.fixture
def shifted(tmp_path):
    """A server, and a function that moves its clock."""
    (tmp_path / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "shim.so", tmp_path / "shim.c", "-ldl"], check=True)
    shift = tmp_path / "shift"
    environment = {"LD_PRELOAD": str(tmp_path / "shim.so"), "CLOCK_SHIFT_FILE": str(shift)}
    # The sandbox would keep it from the file that says how far.
    with sluicegate.Server(options=["--sandbox", "off"], environment=environment) as server:
        server.add_user("writer", "readwrite", number=1)
        yield server, lambda seconds: shift.write_text(str(seconds))


def test_the_end_of_a_session(shifted):
    server, shift = shifted
    server.s3().create_bucket(Bucket="bucket")
    # The session began 890 seconds ago by the server's clock: clients may be off by 900 seconds.
    shift(-890)
    session = assume(server, server.users["writer"], DurationSeconds=900)
    s3 = s3_of(server, session, signature_version="s3v4")
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"}, ExpiresIn=3600)
    shift(0)
    s3.get_object(Bucket="bucket", Key="k")
    assert fetch(server, url)[0] == 200
    shift(11)
    assert refusal(s3.get_object, Bucket="bucket", Key="k") == ("ExpiredToken", 400)
    # The URL would live for an hour.
    status, text = fetch(server, url)
    assert (status, b"<Code>ExpiredToken</Code>" in text) == (400, True), text
    sts = sts_of(server, session, session.token)
    assert refusal(sts.get_caller_identity) == ("ExpiredToken", 400)
    fresh = assume(server, server.users["writer"])
    assert refusal(server.s3(fresh, session_token=session.token).list_buckets)[0] in ("ExpiredToken", "InvalidToken")
    s3_of(server, fresh).get_object(Bucket="bucket", Key="k")


def test_sessions_survive_a_restart(bucket_server):
    server = bucket_server
    session = assume(server, server.users["writer"], Policy=document(statement("Allow", "s3:GetObject", "*")))
    server.s3().put_object(Bucket="bucket", Key="k", Body=b"x")
    for end in (server.stop, server.kill):
        end()
        server.start()
        s3 = s3_of(server, session)
        assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"x"
        assert refusal(s3.delete_object, Bucket="bucket", Key="k") == ("AccessDenied", 403)


def test_tokens_of_another_store_are_refused(bucket_server):
    with sluicegate.Server() as other:
        user = other.add_user("writer", "readwrite", secret=bucket_server.users["writer"].secret)
        session = assume(other, user)
        s3_of(other, session).list_buckets()
    assert refusal(s3_of(bucket_server, session).list_buckets) == ("InvalidToken", 400)


def test_nothing_is_written_for_a_session_and_nothing_secret_is_logged(bucket_server):
    server = bucket_server
    store = server.root / ".sluicegate" / "iam" / "identity.redb"
    before = store.read_bytes()
    sessions = [assume(server, server.users["writer"]) for _ in range(100)]
    assert len({session.token for session in sessions}) == len({session.name for session in sessions}) == 100
    s3_of(server, sessions[0]).list_buckets()
    assert store.read_bytes() == before
    log = server.log()
    assert sessions[0].name in log, "the access key is logged"
    for session in sessions:
        assert session.secret not in log and session.token not in log


@pytest.fixture
def bucket_server():
    with sluicegate.Server() as server:
        server.add_user("writer", "readwrite", number=1)
        server.s3().create_bucket(Bucket="bucket")
        yield server


# Clients that renew by themselves.


def test_the_provider_of_botocore_renews_by_itself(bucket_server, tmp_path, monkeypatch):
    """A profile with a role: the library calls AssumeRole by itself, and again when less than 15 minutes are left."""
    server = bucket_server
    (tmp_path / "credentials").write_text(
        f"[source]\naws_access_key_id = writer\naws_secret_access_key = {server.users['writer'].secret}\n")
    (tmp_path / "config").write_text(
        "[profile role]\nrole_arn = arn:x:ignored:by:weka-s3:\nsource_profile = source\nrole_session_name = renewed\n"
        f"region = {sluicegate.REGION}\nduration_seconds = 900\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.endpoint)
    session = boto3.Session(profile_name="role")
    s3 = session.client("s3", endpoint_url=server.endpoint)
    tokens = set()
    for number in range(3):
        s3.put_object(Bucket="bucket", Key=str(number), Body=b"x")
        tokens.add(session.get_credentials().get_frozen_credentials().token)
    assert len(tokens) == 3, "a session of 15 minutes is renewed with each use"
    names = re.findall(r'made temporary credentials.*session="?renewed', server.log())
    assert len(names) >= 3


def test_the_command_line_of_aws(bucket_server, tmp_path):
    server = bucket_server
    program = os.path.join(os.path.dirname(os.sys.executable), "aws")
    if not os.path.exists(program):
        pytest.skip("no aws beside this Python")
    environment = {
        **sluicegate.environment_without_settings(), "AWS_ACCESS_KEY_ID": "writer", "AWS_DEFAULT_REGION": sluicegate.REGION,
        "AWS_SECRET_ACCESS_KEY": server.users["writer"].secret, "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }

    def aws(*arguments, **keys):
        done = subprocess.run([program, *arguments], env={**environment, **keys}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    answer = aws("sts", "assume-role", "--role-arn", ROLE["RoleArn"], "--role-session-name", "cli",
                 "--duration-seconds", str(WEEK))
    keys = json.loads(answer)["Credentials"]
    text = aws("s3", "ls", AWS_ACCESS_KEY_ID=keys["AccessKeyId"], AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
               AWS_SESSION_TOKEN=keys["SessionToken"])
    assert "bucket" in text


# The command line of this program.


class FromText:
    def __init__(self, text):
        found = re.fullmatch(r"Access-Key: (\S+)\nSecret-Key: (\S+)\nSession-Token: (\S+)\n", text)
        assert found, text
        self.name, self.secret, self.token = found.groups()


def test_assume_role_of_the_command_line(server, bucket, user, tmp_path):
    server.s3(user).put_object(Bucket=bucket, Key="k", Body=b"x")
    where = ["--endpoint", server.endpoint]
    if server.certificate:
        where += ["--ca-file", server.certificate.authority]
    call = ["sts", "assume-role", "--access-key", user.name, *where]
    for duration in ("900s", "60m", "12h", "2d", "1w"):
        session = FromText(server.admin(*call, "--duration", duration, secret=user.secret))
        server.s3(session, session_token=session.token).get_object(Bucket=bucket, Key="k")
    policy, secret = tmp_path / "policy", tmp_path / "secret"
    policy.write_text(document(statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/other äöü + %41")))
    secret.write_text(user.secret + "\n")
    text = server.admin(*call, "--duration", "1h", "--policy-file", policy, "--secret-key-file", secret)
    session = FromText(text)
    s3 = server.s3(session, session_token=session.token)
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    shown = json.loads(server.admin(*call, "--duration", "1h", "--json", "--secret-key-file", "-", input=user.secret))
    assert set(shown) == {"access_key_id", "secret_access_key", "session_token", "expiration"}
    assert "MalformedPolicy" in server.refused(
        *call, "--duration", "1h", "--policy-file", os.devnull, secret=user.secret)
    assert "SignatureDoesNotMatch" in server.refused(*call, "--duration", "1h", secret="Wrong-secret-1")
    server.admin("policy", "detach", user.name)
    assert "AccessDenied" in server.refused(*call, "--duration", "1h", secret=user.secret)
    if server.certificate:
        done = server.command(*call[:4], "--endpoint", server.endpoint, "--duration", "1h", secret=user.secret)
        assert (done.returncode, "cannot be reached" in done.stderr or "broke" in done.stderr) == (1, True), done.stderr


def test_the_terminal_is_asked_for_the_secret(http):
    """Without a file and a variable; what is typed is not shown."""
    user = http.users["writer"]
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sluicegate.BINARY, "sts", "assume-role", "--access-key", user.name, "--duration", "1h",
                   "--endpoint", http.endpoint]
        os.execve(sluicegate.BINARY, list(map(str, command)), sluicegate.environment_without_settings())
    shown = b""
    while b"Secret: " not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, user.secret.encode() + b"\n")
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:
        pass  # This is how Linux says that the other side of a terminal is closed.
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    text = shown.decode().replace("\r", "").removeprefix("Secret: \n")
    session = FromText(text)
    assert user.secret not in shown.decode()
    http.s3(session, session_token=session.token).list_buckets()


def test_what_the_command_line_does_not_take(http):
    for arguments in (
        ["--access-key", "writer"],
        ["--duration", "1h"],
        ["--access-key", "writer", "--duration", "899s"],
        ["--access-key", "writer", "--duration", "8d"],
        ["--access-key", "writer", "--duration", "900"],
        ["--access-key", "writer", "--duration", "1h", "--secret-key", "Secret-1"],
        ["--access-key", "wri/ter", "--duration", "1h"],
        ["--access-key", "writer", "--duration", "1h", "--endpoint", "ftp://h"],
    ):
        done = http.command("sts", "assume-role", *arguments, secret="Secret-1")
        assert done.returncode == 2, (arguments, done)
    help_text = http.admin("sts", "assume-role", "--help")
    assert "every user of the machine could read it" in re.sub(r"\s+", " ", help_text)
