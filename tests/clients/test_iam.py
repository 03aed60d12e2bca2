"""Users, access keys, roles and inline policies through the IAM API, as boto3 uses it: what they can do, who may make
them, and what must not be reached by them."""

import json
import os
import re
import urllib.parse
import uuid

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import pytest
import urllib3

import sluicegate
from accounts import SECRET, Refused, Server, allow, arn, command_refused, denied, refused
from conftest import needs_root

ACCOUNT = "000000000000"
EVERYTHING = allow(["s3:*", "iam:*", "sts:*"], "*")
READ = allow(["s3:GetObject", "s3:ListBucket"], "arn:aws:s3:::*")
WEKA = "arn:x:ignored:by:weka-s3:"


class Keys:
    """Keys of any kind, and clients that use them."""

    def __init__(self, server, access_key, secret, token=None):
        self.server, self.access_key, self.secret, self.token = server, access_key, secret, token

    def client(self, service, **more):
        more.setdefault("region_name", sluicegate.REGION)
        return boto3.client(
            service, endpoint_url=self.server.endpoint, aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret, aws_session_token=self.token,
            verify=str(self.server.certificate.authority) if self.server.certificate else None,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}), **more)

    @property
    def s3(self):
        return self.client("s3")

    @property
    def iam(self):
        return self.client("iam")

    @property
    def sts(self):
        return self.client("sts")

    def session(self, role_arn=WEKA, **more):
        """A session of the role, or with the ARN that names none, of the user."""
        answer = self.sts.assume_role(RoleArn=role_arn, RoleSessionName="job", **more)
        return of_credentials(self.server, answer["Credentials"])


def of_credentials(server, credentials):
    return Keys(server, credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])


def new_name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def add(server, name, policy, *options):
    """A user of the cluster admin with this policy, which may be a document."""
    if isinstance(policy, dict):
        server.add_policy(f"of-{name}", policy)
        policy = f"of-{name}"
    attached = ["--policy", policy] if policy else []
    uid, gid = sluicegate.owner(9)
    server.cli("user", "add", name, "--posix-uid", uid, "--posix-gid", gid, *attached, *options, secret=SECRET)
    return Keys(server, name, SECRET)


def add_by(boss, path="/", policy=None):
    """A user of the IAM API, with keys."""
    name = new_name("made")
    boss.iam.create_user(UserName=name, Path=path)
    if policy:
        boss.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    key = boss.iam.create_access_key(UserName=name)["AccessKey"]
    keys = Keys(boss.server, key["AccessKeyId"], key["SecretAccessKey"])
    keys.name = name
    return keys


def trust(*principals):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": list(principals)}, "Action": "sts:AssumeRole"}]})


def user_arn(name, path="/", account=ACCOUNT):
    return f"arn:aws:iam::{account}:user{path}{name}"


def add_role(boss, trusted, policy=None, **more):
    name = new_name("role")
    role = boss.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(*trusted), **more)["Role"]
    if policy:
        boss.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    return role


def code_of(call, *arguments, **named):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **named)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


DENIED = ("AccessDenied", 403)
MISSING = ("NoSuchEntity", 404)
DEAD = ("InvalidAccessKeyId", 403)


@pytest.fixture(scope="module")
def one():
    with Server() as server:
        add(server, "boss", EVERYTHING)
        add(server, "plain", "readwrite")
        yield server


@pytest.fixture
def boss(one):
    return Keys(one, "boss", SECRET)


@pytest.fixture
def plain(one):
    return Keys(one, "plain", SECRET)


@pytest.fixture
def bucket(plain):
    name = new_name("bucket")
    plain.s3.create_bucket(Bucket=name)
    plain.s3.put_object(Bucket=name, Key="a", Body=b"1")
    return name


# Users and their keys.


def test_a_user_from_its_creation_to_its_end(boss, bucket):
    iam, name = boss.iam, new_name("bob")
    made = iam.create_user(UserName=name, Path="/team/")["User"]
    assert made["Arn"] == user_arn(name, "/team/") and made["Path"] == "/team/" and made["UserName"] == name
    assert re.fullmatch("AIDA[A-Z2-7]{17}", made["UserId"])
    assert iam.get_user(UserName=name)["User"] == made
    assert code_of(iam.create_user, UserName=name) == ("EntityAlreadyExists", 409)
    assert made in iam.list_users(PathPrefix="/team/")["Users"]
    key = iam.create_access_key(UserName=name)["AccessKey"]
    assert re.fullmatch("AKIA[A-Z2-7]{16}", key["AccessKeyId"]) and len(key["SecretAccessKey"]) == 40
    keys = Keys(boss.server, key["AccessKeyId"], key["SecretAccessKey"])
    # Nothing yet; then what its policies say, and no more.
    with denied():
        keys.s3.list_objects_v2(Bucket=bucket)
    document = json.dumps(READ)
    iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=document)
    assert keys.s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    with denied():
        keys.s3.put_object(Bucket=bucket, Key="b", Body=b"2")
    assert iam.list_user_policies(UserName=name)["PolicyNames"] == ["read"]
    shown = iam.get_user_policy(UserName=name, PolicyName="read")
    assert (shown["UserName"], shown["PolicyName"], shown["PolicyDocument"]) == (name, "read", READ)
    identity = keys.sts.get_caller_identity()
    assert (identity["Arn"], identity["UserId"], identity["Account"]) == (made["Arn"], made["UserId"], ACCOUNT)
    # An inactive key is none.
    iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert code_of(keys.s3.get_object, Bucket=bucket, Key="a") == DEAD
    assert iam.list_access_keys(UserName=name)["AccessKeyMetadata"][0]["Status"] == "Inactive"
    iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Active")
    keys.s3.get_object(Bucket=bucket, Key="a")
    # Its path is part of its ARN, its id stays.
    iam.update_user(UserName=name, NewPath="/other/")
    moved = iam.get_user(UserName=name)["User"]
    assert (moved["Arn"], moved["UserId"]) == (user_arn(name, "/other/"), made["UserId"])
    # It is deleted when nothing hangs on it.
    assert code_of(iam.delete_user, UserName=name) == ("DeleteConflict", 409)
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    assert code_of(keys.s3.get_object, Bucket=bucket, Key="a") == DEAD
    assert code_of(iam.delete_user, UserName=name) == ("DeleteConflict", 409)
    iam.delete_user_policy(UserName=name, PolicyName="read")
    iam.delete_user(UserName=name)
    assert code_of(iam.get_user, UserName=name) == MISSING
    assert code_of(iam.list_user_policies, UserName=name) == MISSING
    assert iam.create_user(UserName=name)["User"]["UserId"] != made["UserId"]


def test_inline_policies_add_to_the_attached_one(one, boss, bucket):
    keys = add(one, new_name("carl"), "writeonly")
    with denied():
        keys.s3.get_object(Bucket=bucket, Key="a")
    boss.iam.put_user_policy(UserName=keys.access_key, PolicyName="read", PolicyDocument=json.dumps(READ))
    keys.s3.get_object(Bucket=bucket, Key="a")
    keys.s3.put_object(Bucket=bucket, Key="b", Body=b"2")
    deny = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": arn(f"{bucket}/b")}}
    boss.iam.put_user_policy(UserName=keys.access_key, PolicyName="deny", PolicyDocument=json.dumps(deny))
    with denied():
        keys.s3.put_object(Bucket=bucket, Key="b", Body=b"3")
    attached = boss.iam.list_attached_user_policies(UserName=keys.access_key)["AttachedPolicies"]
    assert attached == [{"PolicyName": "writeonly", "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/writeonly"}]
    # What the cluster admin made, only the cluster admin removes; and it sees what was put there.
    assert code_of(boss.iam.delete_user, UserName=keys.access_key) == ("DeleteConflict", 409)
    shown = one.json("user", "show", keys.access_key)
    assert (shown["policy"], shown["inline_policies"]) == ("writeonly", ["deny", "read"])
    one.cli("policy", "detach", keys.access_key)
    keys.s3.get_object(Bucket=bucket, Key="a")
    with denied():
        keys.s3.put_object(Bucket=bucket, Key="c", Body=b"3")


def test_a_change_holds_on_every_core_when_it_is_answered(boss, bucket):
    keys = add_by(boss)
    for number in range(20):
        document = json.dumps(READ if number % 2 == 0 else allow("s3:PutObject", "*"))
        boss.iam.put_user_policy(UserName=keys.name, PolicyName="p", PolicyDocument=document)
        for _ in range(4):
            # Each on a connection of its own: the two cores take turns.
            client = keys.s3
            if number % 2 == 0:
                client.get_object(Bucket=bucket, Key="a")
            else:
                with denied():
                    client.get_object(Bucket=bucket, Key="a")


@needs_root
def test_files_of_a_made_user_belong_to_its_maker(one, boss, bucket):
    keys = add_by(boss, policy=allow("s3:*", "*"))
    keys.s3.put_object(Bucket=bucket, Key="mine", Body=b"x")
    status = os.stat(one.root / bucket / "mine")
    assert (status.st_uid, status.st_gid) == sluicegate.owner(9)


def test_lists_come_in_pages(boss):
    path = f"/{uuid.uuid4().hex}/"
    names = [new_name(prefix) for prefix in ["aa", "Ab", "ac", "Ad", "ae"]]
    for name in reversed(names):
        boss.iam.create_user(UserName=name, Path=path)
        boss.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust("*"))
    for size in [1, 2, 5, 100]:
        for call, list_name, entry in [("list_users", "Users", "UserName"), ("list_roles", "Roles", "RoleName")]:
            pages = boss.iam.get_paginator(call).paginate(PathPrefix=path, PaginationConfig={"PageSize": size})
            assert [item[entry] for page in pages for item in page[list_name]] == names, (call, size)
    assert boss.iam.list_users(PathPrefix=path + "x")["Users"] == []
    assert code_of(boss.iam.list_users, PathPrefix="x") == ("ValidationError", 400)


def test_limits(boss):
    keys = add_by(boss)
    iam = boss.iam
    iam.create_access_key(UserName=keys.name)
    assert code_of(iam.create_access_key, UserName=keys.name) == ("LimitExceeded", 409)
    document = json.dumps(READ)
    put = iam.put_user_policy
    largest = document + " " * (2048 - len(document))
    put(UserName=keys.name, PolicyName="p", PolicyDocument=largest)
    assert code_of(put, UserName=keys.name, PolicyName="q", PolicyDocument=largest + " ") == ("LimitExceeded", 409)
    for number in range(9):
        put(UserName=keys.name, PolicyName=f"p{number}", PolicyDocument=document)
    assert code_of(put, UserName=keys.name, PolicyName="q", PolicyDocument=document) == ("LimitExceeded", 409)
    put(UserName=keys.name, PolicyName="p", PolicyDocument=document)
    assert len(iam.list_user_policies(UserName=keys.name)["PolicyNames"]) == 10
    malformed = ("MalformedPolicyDocument", 400)
    for text in ["{}", "[]", "{", json.dumps(READ).replace("GetObject", "GetObjekt"), trust("*")]:
        assert code_of(put, UserName=keys.name, PolicyName="p", PolicyDocument=text) == malformed, text
    everybody = json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}})
    assert code_of(put, UserName=keys.name, PolicyName="p", PolicyDocument=everybody) == malformed
    huge = json.dumps({"Version": "2012-10-17", "Statement": [READ["Statement"][0]] * 5000})
    assert code_of(put, UserName=keys.name, PolicyName="p", PolicyDocument=huge)[1] == 400
    assert code_of(iam.create_user, UserName="has=equals") == ("ValidationError", 400)
    assert code_of(iam.create_user, UserName=new_name("x"), Tags=[{"Key": "a", "Value": "b"}]) == ("InvalidInput", 400)
    assert code_of(iam.create_group, GroupName="g") == ("InvalidAction", 400)


# Roles.


def test_a_role_has_permissions_of_its_own(boss, plain, bucket):
    role = add_role(boss, [user_arn("plain")], allow(["s3:GetObject"], arn(f"{bucket}/*")))
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/{role['RoleName']}"
    assert re.fullmatch("AROA[A-Z2-7]{17}", role["RoleId"])
    answer = plain.sts.assume_role(RoleArn=role["Arn"], RoleSessionName="job")
    session = of_credentials(plain.server, answer["Credentials"])
    name = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/job"
    assert answer["AssumedRoleUser"] == {"AssumedRoleId": f"{role['RoleId']}:job", "Arn": name}
    identity = session.sts.get_caller_identity()
    assert (identity["Arn"], identity["UserId"], identity["Account"]) == (name, f"{role['RoleId']}:job", ACCOUNT)
    assert session.s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    # Not those of the user who assumed it.
    with denied():
        session.s3.put_object(Bucket=bucket, Key="b", Body=b"2")
    with denied():
        session.s3.list_buckets()
    plain.s3.list_buckets()
    # Its policies act live, and a session policy only takes away.
    boss.iam.put_role_policy(RoleName=role["RoleName"], PolicyName="more",
                             PolicyDocument=json.dumps(allow("s3:PutObject", "*")))
    session.s3.put_object(Bucket=bucket, Key="b", Body=b"2")
    narrow = plain.session(role["Arn"], Policy=json.dumps(allow(["s3:PutObject", "s3:ListBucket"], "*")))
    narrow.s3.put_object(Bucket=bucket, Key="c", Body=b"3")
    with denied():
        narrow.s3.get_object(Bucket=bucket, Key="a")
    with denied():
        narrow.s3.list_objects_v2(Bucket=bucket)
    boss.iam.delete_role_policy(RoleName=role["RoleName"], PolicyName="more")
    with denied():
        session.s3.put_object(Bucket=bucket, Key="d", Body=b"4")


def test_a_role_raises_a_user_to_what_it_allows_and_no_further(one, boss, bucket):
    keys = add(one, new_name("dora"), "writeonly")
    role = add_role(boss, [user_arn(keys.access_key)], READ)
    session = keys.session(role["Arn"])
    session.s3.get_object(Bucket=bucket, Key="a")
    with denied():
        session.s3.put_object(Bucket=bucket, Key="b", Body=b"2")
    with denied():
        keys.s3.get_object(Bucket=bucket, Key="a")
    # The bucket's policy names the role, or its session, not the user behind it.
    for principal, expected in [(role["Arn"], True), (f"arn:aws:iam:::role/{role['RoleName']}", True),
                                (f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/job", True),
                                (role["RoleId"], True), (user_arn(keys.access_key), False)]:
        document = {"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": {"AWS": principal}, "Action": "s3:DeleteObject",
            "Resource": arn(f"{bucket}/*")}}
        Keys(one, "plain", SECRET).s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))
        if expected:
            session.s3.delete_object(Bucket=bucket, Key="nothing")
        else:
            with denied():
                session.s3.delete_object(Bucket=bucket, Key="nothing")
            keys.s3.delete_object(Bucket=bucket, Key="nothing")


def test_who_may_assume_a_role(one, boss, plain):
    assume = {"RoleSessionName": "job"}
    named = add_role(boss, [user_arn("plain")])
    plain.session(named["Arn"])
    assert code_of(boss.sts.assume_role, RoleArn=named["Arn"], **assume) == DENIED
    # A trust policy of everybody or of the account leaves it to the user's own policy.
    for principal in ["*", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", "arn:aws:iam:::root"]:
        role = add_role(boss, [principal])
        assert code_of(plain.sts.assume_role, RoleArn=role["Arn"], **assume) == DENIED, principal
        boss.session(role["Arn"])
    # Whom the trust policy names needs no policy, but a Deny holds.
    nobody = add_by(boss)
    assert code_of(nobody.sts.assume_role, RoleArn=WEKA, **assume) == DENIED
    role = add_role(boss, [user_arn(nobody.name)], READ)
    nobody.session(role["Arn"]).sts.get_caller_identity()
    deny = {"Version": "2012-10-17",
            "Statement": {"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": role["Arn"]}}
    boss.iam.put_user_policy(UserName=nobody.name, PolicyName="deny", PolicyDocument=json.dumps(deny))
    assert code_of(nobody.sts.assume_role, RoleArn=role["Arn"], **assume) == DENIED
    # A changed trust policy holds at once for new sessions.
    boss.iam.update_assume_role_policy(RoleName=named["RoleName"], PolicyDocument=trust(user_arn("boss")))
    assert code_of(plain.sts.assume_role, RoleArn=named["Arn"], **assume) == DENIED
    boss.session(named["Arn"])
    # Neither sessions nor service accounts assume a role.
    session = boss.session(named["Arn"])
    assert code_of(session.sts.assume_role, RoleArn=named["Arn"], **assume) == DENIED
    assert code_of(boss.session().sts.assume_role, RoleArn=named["Arn"], **assume) == DENIED
    account = one.add_account("boss")
    account = Keys(one, account["access_key"], account["secret_key"])
    assert code_of(account.sts.assume_role, RoleArn=named["Arn"], **assume) == DENIED


def test_an_external_id_and_the_longest_session(boss, plain):
    name = new_name("role")
    document = {"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": user_arn("plain")}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "shared"}}}}
    role = boss.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document), Description="a role",
                                MaxSessionDuration=7200)["Role"]
    shown = boss.iam.get_role(RoleName=name.upper())["Role"]
    assert (shown["Description"], shown["MaxSessionDuration"]) == ("a role", 7200)
    assert (shown["RoleId"], shown["AssumeRolePolicyDocument"]) == (role["RoleId"], document)
    call = plain.sts.assume_role
    arguments = {"RoleArn": role["Arn"], "RoleSessionName": "job"}
    assert code_of(call, **arguments) == DENIED
    assert code_of(call, **arguments, ExternalId="other") == DENIED
    call(**arguments, ExternalId="shared", DurationSeconds=7200)
    longer = {**arguments, "ExternalId": "shared", "DurationSeconds": 7201}
    assert code_of(call, **longer) == ("ValidationError", 400)
    boss.iam.update_role(RoleName=name, MaxSessionDuration=43200)
    call(**longer)
    assert boss.iam.get_role(RoleName=name)["Role"]["Description"] == "a role"
    for trusted in [json.dumps(READ), "{}", trust("arn:aws:iam::1:group/g")]:
        refusal = code_of(boss.iam.create_role, RoleName=new_name("r"), AssumeRolePolicyDocument=trusted)
        assert refusal == ("MalformedPolicyDocument", 400)


def test_a_role_that_is_none_is_assumed_by_nobody(boss, plain, bucket):
    """Else a mistyped or deleted role would give the session all that the user may do."""
    for missing in [f"arn:aws:iam::{ACCOUNT}:role/missing", "arn:aws:iam:::role/missing"]:
        assert code_of(plain.sts.assume_role, RoleArn=missing, RoleSessionName="job") == DENIED
    # What cannot be a role of this server is ignored, as WEKA does.
    for ignored in [WEKA, "arn:aws:iam::123456789012:role/ignored"]:
        plain.session(ignored).s3.put_object(Bucket=bucket, Key="b", Body=b"2")


def test_sessions_end_with_the_role_and_with_the_user(one, boss, bucket):
    keys = add_by(boss)
    role = add_role(boss, [user_arn(keys.name)], READ)
    first = keys.session(role["Arn"])
    first.s3.get_object(Bucket=bucket, Key="a")
    # A key that is gone takes no session along; the user does.
    assert code_of(boss.iam.delete_role, RoleName=role["RoleName"]) == ("DeleteConflict", 409)
    boss.iam.delete_role_policy(RoleName=role["RoleName"], PolicyName="own")
    with denied():
        first.s3.get_object(Bucket=bucket, Key="a")
    boss.iam.delete_role(RoleName=role["RoleName"])
    assert code_of(first.s3.get_object, Bucket=bucket, Key="a") == DEAD
    again = boss.iam.create_role(RoleName=role["RoleName"], AssumeRolePolicyDocument=trust(user_arn(keys.name)))["Role"]
    assert again["Arn"] == role["Arn"] and again["RoleId"] != role["RoleId"]
    boss.iam.put_role_policy(RoleName=role["RoleName"], PolicyName="own", PolicyDocument=json.dumps(READ))
    assert code_of(first.s3.get_object, Bucket=bucket, Key="a") == DEAD
    second = keys.session(again["Arn"])
    second.s3.get_object(Bucket=bucket, Key="a")
    boss.iam.delete_access_key(UserName=keys.name, AccessKeyId=keys.access_key)
    second.s3.get_object(Bucket=bucket, Key="a")
    boss.iam.delete_user(UserName=keys.name)
    assert code_of(second.s3.get_object, Bucket=bucket, Key="a") == DEAD
    boss.iam.create_user(UserName=keys.name)
    assert code_of(second.s3.get_object, Bucket=bucket, Key="a") == DEAD
    # The cluster admin ends them as well.
    admin_made = add(one, new_name("erin"), None)
    boss.iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=trust(user_arn(admin_made.access_key)))
    third = admin_made.session(again["Arn"])
    third.s3.get_object(Bucket=bucket, Key="a")
    assert role["RoleName"] in one.cli("role", "list")
    shown = one.json("role", "show", role["RoleName"])
    assert shown["unique_id"] == again["RoleId"] and json.loads(shown["policies"][0][1]) == READ
    one.cli("role", "remove", role["RoleName"])
    assert code_of(third.s3.get_object, Bucket=bucket, Key="a") == DEAD
    with command_refused("there is no role"):
        one.cli("role", "show", role["RoleName"])


def test_temporary_credentials_as_a_condition(one, boss, bucket):
    """Ceph's `sts:authentication`: here, nothing without a session."""
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "s3:*", "Resource": "*",
         "Condition": {"BoolIfExists": {"sts:authentication": "false"}}},
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    keys = add_by(boss, policy=document)
    with denied():
        keys.s3.get_object(Bucket=bucket, Key="a")
    of_credentials(one, keys.sts.get_session_token()["Credentials"]).s3.get_object(Bucket=bucket, Key="a")


# Who may call.


def calls(iam, name="somebody"):
    """One call of each kind."""
    document = json.dumps(READ)
    return [
        (iam.create_user, {"UserName": name}), (iam.get_user, {"UserName": name}), (iam.list_users, {}),
        (iam.update_user, {"UserName": name, "NewPath": "/x/"}), (iam.delete_user, {"UserName": name}),
        (iam.create_access_key, {"UserName": name}), (iam.create_access_key, {}),
        (iam.list_access_keys, {"UserName": name}), (iam.list_access_keys, {}),
        (iam.update_access_key, {"UserName": name, "AccessKeyId": "A" * 20, "Status": "Active"}),
        (iam.delete_access_key, {"UserName": name, "AccessKeyId": "A" * 20}),
        (iam.put_user_policy, {"UserName": name, "PolicyName": "p", "PolicyDocument": document}),
        (iam.get_user_policy, {"UserName": name, "PolicyName": "p"}), (iam.list_user_policies, {"UserName": name}),
        (iam.delete_user_policy, {"UserName": name, "PolicyName": "p"}),
        (iam.list_attached_user_policies, {"UserName": name}),
        (iam.create_role, {"RoleName": name, "AssumeRolePolicyDocument": trust("*")}),
        (iam.get_role, {"RoleName": name}), (iam.list_roles, {}), (iam.update_role, {"RoleName": name}),
        (iam.update_assume_role_policy, {"RoleName": name, "PolicyDocument": trust("*")}),
        (iam.delete_role, {"RoleName": name}),
        (iam.put_role_policy, {"RoleName": name, "PolicyName": "p", "PolicyDocument": document}),
        (iam.get_role_policy, {"RoleName": name, "PolicyName": "p"}), (iam.list_role_policies, {"RoleName": name}),
        (iam.delete_role_policy, {"RoleName": name, "PolicyName": "p"}),
        (iam.list_attached_role_policies, {"RoleName": name}), (iam.get_account_summary, {}),
        (iam.list_groups, {}), (iam.list_open_id_connect_providers, {}),
    ]


def test_only_policies_that_allow_iam_reach_it(one, boss, plain):
    target = add_by(boss)
    before = one.json("user", "show", target.name)
    everything_of_s3 = add(one, new_name("f"), allow("*", "arn:aws:s3:::*"))
    nothing = add(one, new_name("g"), None)
    service_account = one.add_account("boss", policy=allow("s3:*", "*"))
    limited = [
        plain, everything_of_s3, nothing, target, plain.session(),
        of_credentials(one, plain.sts.get_session_token()["Credentials"]),
        Keys(one, service_account["access_key"], service_account["secret_key"]),
        boss.session(Policy=json.dumps(allow("s3:*", "*"))),
        boss.session(Policy=json.dumps(allow(["s3:*", "iam:*"], arn("*")))),
        boss.session(add_role(boss, [user_arn("boss")], allow("s3:*", "*"))["Arn"]),
    ]
    for keys in limited:
        for name in ["somebody", target.name]:
            for call, arguments in calls(keys.iam, name):
                assert code_of(call, **arguments) == DENIED, (keys.access_key, call.__name__, arguments)
    assert one.json("user", "show", target.name) == before
    # Derived credentials without a limit are as good as the user's, and a role's as what its policies say.
    whole = one.add_account("boss")
    for keys in [Keys(one, whole["access_key"], whole["secret_key"]), boss.session(),
                 of_credentials(one, boss.sts.get_session_token()["Credentials"]),
                 plain.session(add_role(boss, [user_arn("plain")], allow("iam:GetUser", "*"))["Arn"])]:
        assert keys.iam.get_user(UserName=target.name)["User"]["UserName"] == target.name
    # The session of a role is no user: a call about "oneself" has nobody to be about.
    role = boss.session(add_role(boss, [user_arn("boss")], EVERYTHING)["Arn"])
    assert code_of(role.iam.create_access_key) == ("ValidationError", 400)
    role.iam.list_users()


def test_a_delegate_reaches_no_further_than_its_resources(one, boss):
    interns = "arn:aws:iam::*:user/interns/*"
    delegate = add(one, new_name("lead"), {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["iam:CreateUser", "iam:PutUserPolicy", "iam:CreateAccessKey"],
         "Resource": interns},
        {"Effect": "Allow", "Action": "iam:*AccessKey*", "Resource": "arn:aws:iam:::user/${aws:username}"}]})
    iam, intern = delegate.iam, new_name("intern")
    document = json.dumps(EVERYTHING)
    iam.create_user(UserName=intern, Path="/interns/")
    iam.put_user_policy(UserName=intern, PolicyName="p", PolicyDocument=json.dumps(READ))
    iam.create_access_key(UserName=intern)
    assert code_of(iam.create_user, UserName=new_name("x")) == DENIED
    assert code_of(iam.create_user, UserName=new_name("x"), Path="/interns-not/") == DENIED
    for name in [delegate.access_key, "boss", add_by(boss).name]:
        assert code_of(iam.put_user_policy, UserName=name, PolicyName="p", PolicyDocument=document) == DENIED
        if name != delegate.access_key:
            assert code_of(iam.create_access_key, UserName=name) == DENIED
    # Who may move users needs the right at both ends.
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "iam:UpdateUser", "Resource": interns}]}
    assert code_of(iam.update_user, UserName=intern, NewPath="/interns/x/") == DENIED
    boss.iam.put_user_policy(UserName=delegate.access_key, PolicyName="move", PolicyDocument=json.dumps(document))
    iam.update_user(UserName=intern, NewPath="/interns/x/")
    assert code_of(iam.update_user, UserName=intern, NewPath="/") == DENIED
    assert code_of(iam.update_user, UserName="boss", NewPath="/interns/") == DENIED
    # Its own keys, with and without saying whose.
    key = iam.create_access_key()["AccessKey"]
    own = Keys(one, key["AccessKeyId"], key["SecretAccessKey"])
    assert own.sts.get_caller_identity()["Arn"] == user_arn(delegate.access_key)
    assert [entry["AccessKeyId"] for entry in iam.list_access_keys()["AccessKeyMetadata"]] == [key["AccessKeyId"]]
    own.iam.delete_access_key(AccessKeyId=key["AccessKeyId"])
    assert code_of(own.sts.get_caller_identity)[0] == "InvalidClientTokenId"


def post(server, body, service, keys=("boss", SECRET), region=sluicegate.REGION, **headers):
    """A raw call, signed for this service."""
    url = server.endpoint + "/"
    headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    request = botocore.awsrequest.AWSRequest("POST", url, headers=headers, data=body)
    if keys:
        credentials = botocore.credentials.Credentials(*keys)
        botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    with urllib3.PoolManager() as pool:
        answer = pool.request("POST", url, body=body, headers=dict(request.headers.items()), retries=False)
    text = answer.data.decode()
    code = re.search("<Code>(.*?)</Code>", text)
    return answer.status, code and code.group(1), text


def test_calls_that_are_signed_wrongly_or_say_nothing(one):
    who = "Action=GetUser&Version=2010-05-08"
    status, code, text = post(one, who, "iam")
    assert (status, code) == (200, None)
    assert '<GetUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetUserResult><User>' in text
    # IAM belongs to no region: clients sign for us-east-1, for their region or for none.
    assert post(one, who, "iam", region="us-east-1")[0] == 200
    assert post(one, who, "iam", region="eu-west-1")[:2] == (400, "IncompleteSignature")
    status, code, text = post(one, who, "iam", keys=("boss", "wrong"))
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>' in text
    assert post(one, who, "iam", keys=("nobody", SECRET))[:2] == (403, "InvalidClientTokenId")
    # Without a signature nothing says that it is for IAM.
    assert post(one, who, "iam", keys=None)[:2] == (400, "InvalidAction")
    # A call of one service is none of the other, whatever it was signed for.
    assert post(one, who, "sts")[:2] == (400, "InvalidAction")
    assert post(one, "Action=GetCallerIdentity&Version=2011-06-15", "iam")[:2] == (400, "InvalidAction")
    assert post(one, "Action=GetCallerIdentity&Version=2010-05-08", "iam")[:2] == (400, "InvalidAction")
    assert post(one, who, "s3")[0] in (400, 403)
    for body, expected in [
        ("", "MissingAction"), ("Action=GetUser", "MissingParameter"), ("Action=getuser&Version=2010-05-08", "InvalidAction"),
        (who + "&Action=DeleteUser", "MalformedQueryString"), (who + "&UserName=%zz", "MalformedQueryString"),
        ("Action=AttachUserPolicy&Version=2010-05-08", "InvalidAction"),
        ("Action=CreateUser&Version=2010-05-08", "ValidationError"),
    ]:
        assert post(one, body, "iam")[:2] == (400, expected), body
    # A body that is not the one that was signed.
    signed = urllib.parse.urlencode({"Action": "GetUser", "Version": "2010-05-08"})
    request = botocore.awsrequest.AWSRequest("POST", one.endpoint + "/", data=signed, headers={
        "Content-Type": "application/x-www-form-urlencoded"})
    botocore.auth.SigV4Auth(botocore.credentials.Credentials("boss", SECRET), "iam", "us-east-1").add_auth(request)
    with urllib3.PoolManager() as pool:
        answer = pool.request("POST", one.endpoint + "/", body=signed.replace("GetUser", "DelUser"),
                              headers=dict(request.headers.items()), retries=False)
    assert answer.status == 403 and b"SignatureDoesNotMatch" in answer.data
    assert post(one, who + "&x=" + "y" * 70000, "iam")[0] == 400


# Accounts.


def test_the_account_in_arns():
    for account in ["", "123456789012"]:
        with Server(f"--account-id={account}") as server:
            boss, plain = add(server, "boss", EVERYTHING), add(server, "plain", "readwrite")
            identity = plain.sts.get_caller_identity()
            assert (identity["Account"], identity["Arn"]) == (account, user_arn("plain", account=account))
            session = plain.session()
            assert session.sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{account}:assumed-role/plain/job"
            role = add_role(boss, ["arn:aws:iam:::user/plain"], READ)
            assert role["Arn"] == f"arn:aws:iam::{account}:role/{role['RoleName']}"
            for named in [role["Arn"], f"arn:aws:iam:::role/{role['RoleName']}"]:
                assumed = plain.session(named).sts.get_caller_identity()
                assert assumed["Arn"] == f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/job"
            # Both forms of a principal name the same user; another account's names nobody here.
            plain.s3.create_bucket(Bucket="photos")
            reader = add(server, "reader", None)
            for principal, expected in [(user_arn("reader", account=account), True), ("arn:aws:iam:::user/reader", True),
                                        ("arn:aws:iam:::root", True), (user_arn("reader", account="999999999999"), False)]:
                document = {"Version": "2012-10-17", "Statement": {
                    "Effect": "Allow", "Principal": {"AWS": principal}, "Action": "s3:ListBucket",
                    "Resource": arn("photos")}}
                plain.s3.put_bucket_policy(Bucket="photos", Policy=json.dumps(document))
                if expected:
                    reader.s3.list_objects_v2(Bucket="photos")
                else:
                    with denied():
                        reader.s3.list_objects_v2(Bucket="photos")
    with pytest.raises(Refused) as refusal:
        Server("--account-id=12345")
    assert refusal.value.status == 2 and "12 digits" in refusal.value.text


def test_the_root_of_an_account(one, boss, bucket):
    root = add(one, new_name("root"), EVERYTHING, "--account-root", "123456789012")
    powerless = add(one, new_name("root"), None, "--account-root", "123456789012")
    with command_refused("12 digits"):
        add(one, new_name("root"), None, "--account-root", "1234")
    identity = root.sts.get_caller_identity()
    assert (identity["Arn"], identity["UserId"], identity["Account"]) == (
        "arn:aws:iam::123456789012:root", "123456789012", "123456789012")
    assert root.iam.get_user()["User"]["Arn"] == "arn:aws:iam::123456789012:root"
    # It is a name, not a right.
    assert code_of(powerless.iam.get_user) == DENIED
    with denied():
        powerless.s3.list_buckets()
    # What it makes belongs to its account, and what belongs to another does not exist for it.
    made = add_by(root, policy=allow("iam:*", "*"))
    assert made.sts.get_caller_identity()["Arn"] == user_arn(made.name, account="123456789012")
    foreign = add_by(boss)
    for keys in [root, made]:
        assert code_of(keys.iam.get_user, UserName=foreign.name) == MISSING
        assert code_of(keys.iam.create_access_key, UserName="boss") == MISSING
        assert code_of(keys.iam.put_user_policy, UserName="boss", PolicyName="p",
                       PolicyDocument=json.dumps(READ)) == MISSING
        assert {user["UserName"] for user in keys.iam.list_users()["Users"]} == {made.name}
    assert code_of(boss.iam.get_user, UserName=made.name) == MISSING
    # Not even its own users reach the root by its name.
    for name in [root.access_key, powerless.access_key]:
        assert code_of(made.iam.create_access_key, UserName=name) == MISSING
        assert code_of(made.iam.put_user_policy, UserName=name, PolicyName="p",
                       PolicyDocument=json.dumps(EVERYTHING)) == MISSING
    role = add_role(root, [user_arn(made.name, account="123456789012")], READ)
    made.session(role["Arn"]).s3.get_object(Bucket=bucket, Key="a")
    assert code_of(root.sts.assume_role, RoleArn=role["Arn"], RoleSessionName="job") == DENIED
    # `*` names the account of a user; the account in a bucket's policy is that of the caller.
    reader = add_by(root)
    document = {"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "s3:GetObject", "Resource": arn(f"{bucket}/*")}}
    Keys(one, "plain", SECRET).s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))
    reader.s3.get_object(Bucket=bucket, Key="a")
    with denied():
        foreign.s3.get_object(Bucket=bucket, Key="a")


# What stays.


def test_everything_survives_a_restart_and_a_backup(tmp_path):
    with Server() as server:
        boss, plain = add(server, "boss", EVERYTHING), add(server, "plain", "readwrite")
        plain.s3.create_bucket(Bucket="photos")
        plain.s3.put_object(Bucket="photos", Key="a", Body=b"1")
        keys = add_by(boss, "/team/", READ)
        role = add_role(boss, [user_arn(keys.name, "/team/")], READ)
        session = keys.session(role["Arn"])

        def check():
            for holder in [keys, session]:
                assert holder.s3.get_object(Bucket="photos", Key="a")["Body"].read() == b"1"
                with denied():
                    holder.s3.put_object(Bucket="photos", Key="b", Body=b"2")
            assert boss.iam.get_user(UserName=keys.name)["User"]["Path"] == "/team/"

        check()
        server.restart()
        check()
        server.kill()
        server.start()
        check()
        # The cluster admin removes a made user like any other: its keys and sessions are dead, also after a restart.
        assert keys.name in server.cli("user", "list")
        server.cli("user", "remove", keys.name)
        for _ in range(2):
            for holder in [keys, session]:
                assert code_of(holder.s3.get_object, Bucket="photos", Key="a") == DEAD
            server.restart()
        secrets = [keys.secret, session.secret, session.token]
        assert not any(secret in server.all_logs() for secret in secrets)
        for file in (server.root / ".sluicegate/iam").iterdir():
            assert keys.secret.encode() not in file.read_bytes(), file


def test_over_tls(https):
    boss = https.add_user(new_name("boss"), "readwrite", number=3)
    https.add_policy("everything", EVERYTHING["Statement"])
    https.admin("policy", "attach", "everything", boss.name)
    boss = Keys(https, boss.name, boss.secret)
    keys = add_by(boss)
    role = add_role(boss, [user_arn(keys.name)], allow("s3:ListAllMyBuckets", "*"))
    keys.session(role["Arn"]).s3.list_buckets()
