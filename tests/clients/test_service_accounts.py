"""Service accounts: made by their users, limited by their users' policies, gone with them."""

import json
import os
import socket
import subprocess

import pytest

from accounts import (BINARY, IS_ROOT, SECRET, Server, allow, arn, command_refused, denied, environment_without_settings,
                      policy, refused, statement)


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        owner = (21001, 31001) if IS_ROOT else None
        server.alice = server.add_user("alice", owner=owner)
        server.bob = server.add_user("bob")
        server.alice.create_bucket(Bucket="data")
        server.alice.put_object(Bucket="data", Key="a/1", Body=b"1")
        server.alice.put_object(Bucket="data", Key="b/2", Body=b"2")
        yield server


READ_A = allow("s3:GetObject", arn("data/a/*"))


def test_it_may_do_what_its_user_may(server):
    keys = server.add_account("alice")
    assert len(keys["access_key"]) == 20 and len(keys["secret_key"]) == 40
    child = server.s3_of(keys)
    child.put_object(Bucket="data", Key="child", Body=b"child")
    assert child.get_object(Bucket="data", Key="child")["Body"].read() == b"child"
    if IS_ROOT:
        status = os.stat(server.root / "data/child")
        assert (status.st_uid, status.st_gid) == (21001, 31001)


def test_an_embedded_policy_limits_and_never_adds(server):
    child = server.s3_of(server.add_account("alice", READ_A))
    assert child.get_object(Bucket="data", Key="a/1")["Body"].read() == b"1"
    for call in (lambda: child.get_object(Bucket="data", Key="b/2"), lambda: child.list_buckets(),
                 lambda: child.put_object(Bucket="data", Key="a/1", Body=b"")):
        with denied():
            call()
    server.add_user("narrow", allow("s3:GetObject", arn("data/b/*")))
    wide = server.s3_of(server.add_account("narrow", allow("s3:*", "*")))
    wide.get_object(Bucket="data", Key="b/2")
    with denied():
        wide.get_object(Bucket="data", Key="a/1")
    with denied():
        wide.put_object(Bucket="data", Key="b/2", Body=b"")


def test_a_deny_in_the_embedded_policy_wins(server):
    child = server.s3_of(server.add_account("alice", policy(
        statement("Allow", "s3:*", "*"), statement("Deny", "s3:GetObject", arn("data/b/*")))))
    child.get_object(Bucket="data", Key="a/1")
    with denied():
        child.get_object(Bucket="data", Key="b/2")


def test_it_follows_its_user_at_once(server):
    user = server.add_user("changing")
    child = server.s3_of(server.add_account("changing", READ_A))
    child.get_object(Bucket="data", Key="a/1")
    server.cli("policy", "attach", "writeonly", "changing")
    with denied():
        child.get_object(Bucket="data", Key="a/1")
    server.cli("policy", "detach", "changing")
    with denied():
        child.get_object(Bucket="data", Key="a/1")
    server.cli("policy", "attach", "readonly", "changing")
    child.get_object(Bucket="data", Key="a/1")
    # The user's new secret is not its accounts' secret.
    server.cli("user", "passwd", "changing", secret="Another-passw0rd")
    with refused("SignatureDoesNotMatch", 403):
        user.list_buckets()
    child.get_object(Bucket="data", Key="a/1")
    assert "service account" in server.cli("user", "remove", "changing")
    with refused("InvalidAccessKeyId", 403):
        child.get_object(Bucket="data", Key="a/1")
    # A user of the same name is another one.
    server.add_user("changing")
    with refused("InvalidAccessKeyId", 403):
        child.get_object(Bucket="data", Key="a/1")


def test_the_secret_is_shown_once(server):
    server.add_user("once")
    text = server.account("once", "add", "--policy-file", server.file(READ_A))
    access_key, secret_key = (line.split(": ")[1] for line in text.splitlines())
    assert [line.split(":")[0] for line in text.splitlines()] == ["Access-Key", "Secret-Key"]
    for arguments in (["list"], ["list", "--json"], ["show", access_key], ["show", access_key, "--json"]):
        shown = server.account("once", *arguments)
        assert access_key in shown and secret_key not in shown
    shown = json.loads(server.account("once", "show", access_key, "--json"))
    assert shown["parent_user"] == "once" and shown["implied_policy"] is False
    assert json.loads(shown["policy_content"]) == READ_A
    inherited = server.add_account("once")["access_key"]
    shown = json.loads(server.account("once", "show", inherited, "--json"))
    assert shown["implied_policy"] is True and "s3:*" in shown["policy_content"]
    assert server.account("once", "remove", access_key) == f"Removed {access_key}.\n"
    with command_refused("no service account"):
        server.account("once", "show", access_key)


def test_those_of_others_do_not_exist(server):
    keys = server.add_account("alice")
    assert keys["access_key"] not in server.account("bob", "list")
    for action in ("show", "remove"):
        for key in (keys["access_key"], "../users/alice", "a b/%41"):
            with command_refused("no service account"):
                server.account("bob", action, key)
    server.s3_of(keys).list_buckets()


def test_only_a_users_own_keys_manage_them(server):
    keys = server.add_account("alice")
    with command_refused("a service account may not"):
        server.cli("service-account", "add", "--access-key", keys["access_key"], secret=keys["secret_key"])
    with command_refused("secret of"):
        server.account("alice", "list", secret="Wrong-passw0rd")
    with command_refused("no access key"):
        server.account("nobody", "list")
    with command_refused("say which by --access-key", status=2):
        server.cli("service-account", "list", secret=SECRET)
    server.add_user("idle", policy=None)
    for action in (["add"], ["list"]):
        with command_refused("has no policy"):
            server.account("idle", *action)


def raw(path, request):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(path))
        stream.sendall(request)
        answer = b""
        while piece := stream.recv(65536):
            answer += piece
    return answer.decode()


def test_the_cluster_admin_is_refused(server):
    head = b"GET /v1/service-accounts HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    answer = raw(server.root / ".sluicegate-user.sock", head)
    assert answer.startswith("HTTP/1.1 403") and "AccessDenied" in answer and "keys of a user" in answer
    # And on the admin socket there is no such thing.
    assert raw(server.root / ".sluicegate/admin.sock", head).startswith("HTTP/1.1 404")
    # Nor is there anything of the admin on the user socket.
    for path in (b"/v1/users", b"/v1/policies", b"/v1/buckets"):
        answer = raw(server.root / ".sluicegate-user.sock", head.replace(b"/v1/service-accounts", path))
        assert answer.startswith("HTTP/1.1 404"), answer


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_every_user_of_the_machine_reaches_the_user_socket_and_no_other(server):
    def run(*arguments):
        return subprocess.run([BINARY, *arguments, "--root", str(server.root)], capture_output=True, text=True, user=65534,
                              group=65534, extra_groups=[], env={**environment_without_settings(), "SLUICEGATE_SECRET": SECRET})

    try:
        subprocess.run([BINARY, "--version"], user=65534, group=65534, extra_groups=[], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the binary lies where other users cannot run it")
    done = run("service-account", "add", "--access-key", "bob")
    assert done.returncode == 0 and "Secret-Key: " in done.stdout, done
    done = run("user", "list")
    assert done.returncode == 1 and "may not be used by this user" in done.stderr, done


def test_policies_are_checked_before_anything_is_made(server):
    server.add_user("strict")
    exact = str(allow("s3:GetObject", arn("data/*"))).replace("'", '"')
    server.account("strict", "add", "--policy-file", server.file(exact.ljust(2048)))
    with command_refused("2049 bytes"):
        server.account("strict", "add", "--policy-file", server.file(exact.ljust(2049)))
    with command_refused("Version"):
        server.add_account("strict", {"Statement": READ_A["Statement"]})
    with command_refused("Principal"):
        server.add_account("strict", allow("s3:GetObject", arn("data/*"), Principal="*"))
    with command_refused("JSON"):
        server.add_account("strict", "not json at all")
    assert len(server.account("strict", "list").splitlines()) == 2


def test_a_hundred_of_a_user(server):
    server.add_user("many")
    for _ in range(100):
        last = server.add_account("many")
    with command_refused("100 service accounts, which is the limit"):
        server.add_account("many")
    server.account("many", "remove", last["access_key"])
    with refused("InvalidAccessKeyId"):
        server.s3_of(last).list_buckets()
    server.add_account("many")
    server.add_account("bob")


def test_they_survive_a_restart():
    with Server() as server:
        server.add_user("alice")
        keys = server.add_account("alice", allow("s3:ListAllMyBuckets", "*"))
        server.restart()
        child = server.s3_of(keys)
        child.list_buckets()
        with denied():
            child.create_bucket(Bucket="data")
        assert keys["access_key"] in server.account("alice", "list")


def test_the_user_socket_can_lie_elsewhere():
    with Server("--user-socket", "/var/tmp/sluicegate-test-user.sock") as server:
        server.add_user("alice")
        with command_refused("no server on the user socket"):
            server.account("alice", "list")
        elsewhere = ("--user-socket", "/var/tmp/sluicegate-test-user.sock")
        assert server.account("alice", "list", *elsewhere).startswith("ACCESS KEY")
        assert not (server.root / ".sluicegate-user.sock").exists()
    assert not os.path.exists("/var/tmp/sluicegate-test-user.sock")


def test_the_socket_is_no_bucket(server):
    assert [bucket["Name"] for bucket in server.alice.list_buckets()["Buckets"]] == ["data"]
