"""`sluicegate policy simulate`: the conditions and variables of the policy language, row by row, and who decided."""

import json

import pytest

from accounts import Server, allow, arn, command_refused, denied, policy, statement


@pytest.fixture(scope="module")
def server():
    with Server("--log-level", "debug") as server:
        server.add_user("tester", policy=None)
        server.add_user("idle", policy=None)
        yield server


def simulate(server, *context, action="s3:GetObject", resource=arn("bucket/key"), user="tester", **files):
    options = []
    for name, document in files.items():
        options += [f"--{name.replace('_', '-')}", server.file(document)]
    if context:
        options += ["--context", *context]
    return server.json("policy", "simulate", "--user", user, "--action", action, "--resource", resource, *options)


# Each line: an operator, a key, the values of the policy, what the request has (None: nothing), and whether it holds.
ROWS = """
StringEquals                 aws:UserAgent  a,b     a     yes
StringEquals                 aws:UserAgent  a,b     c     no
StringEquals                 aws:UserAgent  a       A     no
StringEquals                 aws:UserAgent  a*      ab    no
StringNotEquals              aws:UserAgent  a,b     c     yes
StringNotEquals              aws:UserAgent  a,b     b     no
StringEqualsIgnoreCase       aws:UserAgent  a       A     yes
StringNotEqualsIgnoreCase    aws:UserAgent  a       A     no
StringLike                   aws:UserAgent  a*c?    abbcd yes
StringLike                   aws:UserAgent  a*c?    ABBCD no
StringNotLike                aws:UserAgent  a*,b*   c     yes
StringNotLike                aws:UserAgent  a*,b*   bc    no
NumericEquals                s3:max-keys    10      10    yes
NumericNotEquals             s3:max-keys    10      11    yes
NumericLessThan              s3:max-keys    10      10    no
NumericLessThanEquals        s3:max-keys    10      10    yes
NumericGreaterThan           s3:max-keys    10      11    yes
NumericGreaterThanEquals     s3:max-keys    10      9     no
DateEquals                   aws:CurrentTime 2026-11-24T00:00:00Z 2026-11-24T00:00:00Z yes
DateEquals                   aws:CurrentTime 1795478400           2026-11-24T00:00:00Z yes
DateNotEquals                aws:CurrentTime 2026-11-24T00:00:00Z 2026-11-24T00:00:01Z yes
DateLessThan                 aws:CurrentTime 2026-11-24T00:00:00Z 2026-11-23T23:59:59Z yes
DateLessThan                 aws:CurrentTime 2026-11-24T00:00:00Z 2026-11-24T00:00:00Z no
DateLessThanEquals           aws:CurrentTime 2026-11-24T00:00:00Z 2026-11-24T00:00:00Z yes
DateGreaterThan              aws:EpochTime  1795478400            1795478401 yes
DateGreaterThanEquals        aws:EpochTime  1795478400            1795478399 no
Bool                         aws:SecureTransport true  true  yes
Bool                         aws:SecureTransport true  false no
BinaryEquals                 aws:UserAgent  YWJj    abc   yes
BinaryEquals                 aws:UserAgent  YWJj    abd   no
IpAddress                    aws:SourceIp   10.0.0.0/8,192.0.2.1 10.9.9.9  yes
IpAddress                    aws:SourceIp   10.0.0.0/8,192.0.2.1 192.0.2.1 yes
IpAddress                    aws:SourceIp   10.0.0.0/8,192.0.2.1 192.0.2.2 no
IpAddress                    aws:SourceIp   2001:db8::/32 2001:db8:1::1  yes
IpAddress                    aws:SourceIp   2001:db8::/32 2001:db9::1    no
NotIpAddress                 aws:SourceIp   10.0.0.0/8,192.0.2.1 192.0.2.2 yes
NotIpAddress                 aws:SourceIp   10.0.0.0/8,192.0.2.1 192.0.2.1 no
ArnEquals                    aws:PrincipalArn arn:aws:iam::*:user/t* arn:aws:iam::1:user/tom yes
ArnLike                      aws:PrincipalArn arn:aws:iam::*:user/t* arn:aws:iam::1:role/tom no
ArnNotEquals                 aws:PrincipalArn arn:aws:iam::1:user/a  arn:aws:iam::1:user/b  yes
ArnNotLike                   aws:PrincipalArn arn:aws:iam::1:user/*  arn:aws:iam::1:user/b  no
Null                         aws:UserAgent  true    None  yes
Null                         aws:UserAgent  true    a     no
Null                         aws:UserAgent  false   a     yes
Null                         aws:UserAgent  false   None  no
StringEquals                 aws:UserAgent  a       None  no
StringNotEquals              aws:UserAgent  a       None  yes
StringEqualsIfExists         aws:UserAgent  a       None  yes
StringEqualsIfExists         aws:UserAgent  a       b     no
NumericLessThanIfExists      s3:max-keys    10      None  yes
IpAddressIfExists            aws:SourceIp   10.0.0.0/8 None yes
NotIpAddress                 aws:SourceIp   10.0.0.0/8 None yes
BoolIfExists                 aws:SecureTransport true None yes
ForAllValues:StringEquals    s3:RequestObjectTagKeys a,b None yes
ForAllValues:StringEquals    s3:RequestObjectTagKeys a,b a    yes
ForAllValues:StringEquals    s3:RequestObjectTagKeys a,b a+c  no
ForAnyValue:StringEquals     s3:RequestObjectTagKeys a,b None no
ForAnyValue:StringEquals     s3:RequestObjectTagKeys a,b a+c  yes
ForAnyValue:StringEquals     s3:RequestObjectTagKeys a,b c    no
StringEquals                 AWS:useragent  a       a     yes
StringEquals                 s3:ExistingObjectTag/Team blue blue yes
"""


@pytest.mark.parametrize("row", [line.split() for line in ROWS.strip().splitlines()], ids=lambda row: "-".join(row))
def test_conditions(server, row):
    operator, key, values, has, expected = row
    document = policy(statement("Allow", ["s3:GetObject"], arn("bucket/*"), Principal="*",
                                Condition={operator: {key: values.split(",")}}))
    context = [] if has == "None" else [f"{key}={value}" for value in has.split("+")]
    answer = simulate(server, *context, bucket_policy=document)
    assert answer["allowed"] == (expected == "yes"), answer


def test_operators_and_keys_are_all_required(server):
    document = policy(statement("Allow", "s3:GetObject", arn("bucket/*"), Principal="*", Condition={
        "StringEquals": {"aws:UserAgent": "a", "aws:Referer": "r"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
    full = ["aws:UserAgent=a", "aws:Referer=r", "aws:SourceIp=10.0.0.1"]
    assert simulate(server, *full, bucket_policy=document)["allowed"]
    for missing in full:
        rest = [pair for pair in full if pair != missing]
        assert not simulate(server, *rest, bucket_policy=document)["allowed"], missing


@pytest.mark.parametrize("resource, pattern, allowed", [
    ("home/tester/x", "home/${aws:username}/*", True),
    ("home/idle/x", "home/${aws:username}/*", False),
    ("home/tester/x", "home/${AWS:UserName}/*", True),
    ("a*b", "a${*}b", True),
    ("axb", "a${*}b", False),
    ("a?b/$", "a${?}b/${$}", True),
    ("agent/none", "agent/${aws:UserAgent, 'none'}", True),
    ("agent/", "agent/${aws:UserAgent}", False),
    ("agent/*", "agent/${aws:UserAgent}", False),
])
def test_variables_in_resources(server, resource, pattern, allowed):
    document = policy(statement("Allow", "s3:GetObject", arn(f"bucket/{pattern}"), Principal="*"))
    assert simulate(server, resource=arn(f"bucket/{resource}"), bucket_policy=document)["allowed"] is allowed
    # In the first version of the language they are plain text.
    old = {**document, "Version": "2008-10-17"}
    assert not simulate(server, resource=arn(f"bucket/{resource}"), bucket_policy=old)["allowed"]


def test_variables_in_conditions(server):
    def check(operator, pattern, prefix, expected):
        document = policy(statement("Allow", "s3:ListBucket", arn("bucket"), Principal="*",
                                    Condition={operator: {"s3:prefix": pattern}}))
        answer = simulate(server, f"s3:prefix={prefix}", action="s3:ListBucket", resource=arn("bucket"),
                          bucket_policy=document)
        assert answer["allowed"] is expected, (operator, pattern, prefix)

    check("StringLike", "home/${aws:username}/*", "home/tester/a", True)
    check("StringLike", "home/${aws:username}/*", "home/idle/a", False)
    check("StringEquals", "home/${aws:UserAgent}", "home/", False)
    check("StringNotEquals", "home/${aws:UserAgent}", "home/", True)
    check("StringLike", "${*}", "*", True)
    check("StringLike", "${*}", "x", False)


def test_a_value_is_no_pattern(server):
    """What the request brings is compared as it is, also when it looks like a wildcard."""
    document = policy(statement("Allow", "s3:GetObject", arn("bucket/${aws:UserAgent}/*"), Principal="*"))
    assert simulate(server, "aws:UserAgent=a", resource=arn("bucket/a/k"), bucket_policy=document)["allowed"]
    assert not simulate(server, "aws:UserAgent=*", resource=arn("bucket/a/k"), bucket_policy=document)["allowed"]
    with command_refused("user name contains '*'"):
        server.add_user("any*")


ALLOW, DENY = ("Allow", "Deny")


@pytest.mark.parametrize("layers, allowed, layer", [
    ({"identity": ALLOW}, True, "identity"),
    ({"bucket": ALLOW}, True, "bucket"),
    ({}, False, None),
    ({"session": ALLOW}, False, None),
    ({"identity": ALLOW, "session": ALLOW}, True, "identity"),
    ({"bucket": ALLOW, "session": ALLOW}, True, "bucket"),
    ({"identity": ALLOW, "session": None}, False, None),
    ({"identity": ALLOW, "bucket": ALLOW, "session": None}, False, None),
    ({"identity": DENY, "bucket": ALLOW, "session": ALLOW}, False, "identity"),
    ({"identity": ALLOW, "bucket": DENY, "session": ALLOW}, False, "bucket"),
    ({"identity": ALLOW, "bucket": ALLOW, "session": DENY}, False, "session"),
    ({"identity": DENY, "bucket": DENY, "session": DENY}, False, "identity"),
], ids=str)
def test_a_deny_wins_in_every_combination(server, layers, allowed, layer):
    other = statement("Allow", "s3:PutObject", arn("bucket/*"))

    def document(effect, **more):
        statements = [{**other, **more}]
        if effect:
            statements.append(statement("Allow", "s3:GetObject", arn("bucket/*"), Sid="Yes", **more))
        if effect == DENY:
            statements.append(statement("Deny", "s3:GetObject", arn("bucket/*"), Sid="No", **more))
        return policy(*statements)

    files = {}
    if "bucket" in layers:
        files["bucket_policy"] = document(layers["bucket"], Principal="*")
    if "session" in layers:
        files["session_policy"] = document(layers["session"])
    server.add_policy("layered", document(layers.get("identity")), "--replace")
    server.cli("policy", "attach", "layered", "tester")
    answer = simulate(server, **files)
    server.cli("policy", "detach", "tester")
    assert (answer["allowed"], answer["layer"]) == (allowed, layer), answer
    if layer:
        sid = "Yes" if allowed else "No"
        assert (answer["statement"], answer["sid"]) == (1 if allowed else 2, sid)
        assert answer["policy"] == ("layered" if layer == "identity" else None)
        assert f'(Sid "{sid}")' in answer["decision"]
    else:
        assert answer["decision"] == "denied because no statement allows it"


def test_the_log_of_a_denied_request_says_the_same(server):
    owner = server.add_user("owner")
    owner.create_bucket(Bucket="logged")
    client = server.add_user("careful", policy(
        statement("Allow", "s3:*", "*"), statement("Deny", "s3:GetObject", arn("logged/secret/*"), Sid="Hands0ff")))
    with denied():
        client.get_object(Bucket="logged", Key="secret/k")
    answer = simulate(server, user="careful", resource=arn("logged/secret/k"))
    assert answer["decision"] == 'denied by statement 1 (Sid "Hands0ff") of the user\'s policy'
    lines = [line for line in server.log().splitlines() if "careful" in line and "denied" in line]
    assert lines and answer["decision"] in lines[0].replace('\\"', '"') and "s3:GetObject" in lines[0], lines
    shown = server.cli("policy", "simulate", "--user", "careful", "--action", "s3:GetObject", "--resource",
                       arn("logged/secret/k"))
    assert shown == f"deny\n{answer['decision']} (of-careful)\n"
    # The bucket's own policy takes part unless another one is tried.
    server.cli("bucket", "policy", "set", "logged", "download")
    assert simulate(server, user="idle", resource=arn("logged/a"))["layer"] == "bucket"
    other = policy(statement("Deny", "s3:GetObject", arn("logged/*"), Principal="*"))
    assert not simulate(server, user="idle", resource=arn("logged/a"), bucket_policy=other)["allowed"]


def test_what_makes_no_sense_is_refused(server):
    for context, text in [("aws:SourceIPs=10.0.0.1", "no condition key"), ("username=admin", "no condition key"),
                          ("aws:SourceVpc=vpc-1", "no request on this server"), ("aws:SourceIp=x", "not an IP address")]:
        with command_refused(text):
            simulate(server, context)
    with command_refused("has no =", status=2):
        simulate(server, "aws:SourceIp")
    with command_refused("no user"):
        simulate(server, user="nobody")
    with command_refused("no action"):
        simulate(server, action="s3:Get*")
    with command_refused("does not act on"):
        simulate(server, action="s3:ListBucket")
    with command_refused("does not act on"):
        simulate(server, resource="bucket/key")
    with command_refused("not in the bucket"):
        simulate(server, bucket_policy=policy(statement("Allow", "s3:GetObject", arn("other/*"), Principal="*")))
    with command_refused("Version"):
        simulate(server, session_policy={"Statement": statement("Allow", "s3:GetObject", "*")})
