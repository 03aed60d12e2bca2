"""The identity store of the running server: keys, damage, crashes, and where secrets must not be."""

import http.client
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

from accounts import BINARY, SECRET, Refused, Server, allow, arn, environment_without_settings
from sluicegate import wait_until

CHANGES = int(os.environ.get("SLUICEGATE_CRASH_CHANGES", "1000"))


@pytest.fixture
def stopped():
    """A server with a user, stopped."""
    with Server() as server:
        server.add_user("alice")
        server.stop()
        yield server


def iam(server):
    return server.root / ".sluicegate/iam"


def start_refused(server, *texts):
    with pytest.raises(Refused) as refusal:
        server.start()
    for text in texts:
        assert text in refusal.value.text, refusal.value.text
    assert refusal.value.status == 1


def test_another_key_is_refused_with_what_to_do(stopped):
    key = iam(stopped) / "key"
    right = key.read_text()
    key.write_text("00" * 32 + "\n")
    start_refused(stopped, "sealed under another key", "SLUICEGATE_MASTER_KEY")
    key.write_text(right[:40])
    start_refused(stopped, "damaged", "Restore it from a backup")
    key.write_text(right)
    key.chmod(0o644)
    start_refused(stopped, "chmod 600")
    key.unlink()
    start_refused(stopped, "key")
    # The key may come from the environment instead.
    stopped.environment = {"SLUICEGATE_MASTER_KEY": "11" * 32}
    start_refused(stopped, "sealed under another key")
    stopped.environment = {"SLUICEGATE_MASTER_KEY": right.strip()}
    stopped.start()
    stopped.s3("alice").list_buckets()


def test_a_damaged_store_is_refused_and_never_taken_as_empty(stopped):
    path = iam(stopped) / "identity.redb"
    whole = path.read_bytes()
    for content in (whole[:len(whole) // 2], b"", b"\0" * len(whole), whole[:100] + b"\xff" * 100 + whole[200:]):
        path.write_bytes(content)
        start_refused(stopped, "identity store", "backup")
        start_refused(stopped, "identity store", "backup")
    path.write_bytes(whole)
    stopped.start()
    stopped.s3("alice").list_buckets()


def test_a_second_server_and_open_directories_are_refused(stopped):
    stopped.start()
    done = subprocess.run([BINARY, "serve", "--root", stopped.root, "--listen", "127.0.0.1:0"], env=environment_without_settings(),
                          capture_output=True, text=True)
    assert done.returncode == 1 and "another server runs on this root" in done.stderr, done
    stopped.stop()
    iam(stopped).chmod(0o755)
    start_refused(stopped, "chmod 700")
    iam(stopped).chmod(0o700)
    stopped.start()


def test_no_acknowledged_change_is_lost_by_kill():
    """Several changes in each life of the server; what was acknowledged is there in the next, whatever was cut off."""
    with Server() as server:
        server.add_user("alice")
        users, cut, made, lives = {"alice"}, set(), 0, 0
        chance = random.Random(2)
        while made < CHANGES:
            lives += 1
            stop = threading.Event()
            # The cut falls while changes go on, a little after one of the next fifty.
            first = made + chance.randint(1, 50)
            timer = threading.Timer(chance.random() * 0.003, lambda: (stop.set(), os.kill(server.pid, signal.SIGKILL)))
            with Admin(server) as admin:
                while not stop.is_set():
                    if made == first:
                        timer.start()
                    name = f"user{made}"
                    remove = len(users) > 300 and (users - {"alice"})
                    if remove:
                        name = chance.choice(sorted(remove))
                    try:
                        status = admin.call("DELETE", f"/v1/users/{name}") if remove else admin.call(
                            "POST", "/v1/users", {"name": name, "secret": SECRET})
                    except OSError:
                        cut.add(name)
                        made += 1
                        break
                    assert status in (200, 201, 204), status
                    (users.discard if remove else users.add)(name)
                    made += 1
            timer.join()
            server.ended(-signal.SIGKILL)
            server.start()
            found = {user["name"] for user in server.json("user", "list")["users"]}
            assert found - cut == users - cut, f"in life {lives}, after {made} changes"
            users, cut = found, set()
        assert lives > 5
        server.s3("alice").list_buckets()


class Admin:
    """One connection to the admin socket, without the start of a process for each call."""

    def __init__(self, server):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.connect(str(server.root / ".sluicegate/admin.sock"))

        self.connection = Connection("localhost")

    def call(self, method, path, body=None):
        try:
            self.connection.request(method, path, json.dumps(body) if body else None)
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except http.client.HTTPException as error:
            raise OSError(error) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def test_secrets_are_nowhere_but_sealed():
    """Not in logs of any level, not in the arguments or the environment that others see, not on disk."""
    known = "Kn0wn-secret-of-the-test"
    seen = []
    with Server("--log-level", "trace", "--log-format", "json") as server:
        watching = threading.Event()

        def watch():
            while not watching.is_set():
                for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        line = path.read_bytes()
                    except OSError:
                        continue
                    if b"sluicegate" in line:
                        seen.append(line)
                time.sleep(0.01)

        thread = threading.Thread(target=watch)
        thread.start()
        # A command that waits for its secret, so that it is surely looked at.
        slow = subprocess.Popen([BINARY, "user", "add", "slow", "--secret-file", "-", "--root", server.root],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                                env=environment_without_settings())
        wait_until(lambda: any(b"slow" in line for line in seen), "the watch to see a command")
        slow.communicate(known + "3\n", timeout=60)
        assert slow.returncode == 0
        server.cli("user", "add", "alice", "--policy", "readwrite", secret=known)
        client = server.s3("alice", known)
        client.create_bucket(Bucket="data")
        keys = server.add_account("alice", allow("s3:*", "*"), secret=known)
        child = server.s3_of(keys)
        child.put_object(Bucket="data", Key="k", Body=b"k")
        generated = server.cli("user", "add", "made", "--generate").split("Secret-Key: ")[1].strip()
        for wrong in (known + "x", "A" + known):
            for call in (lambda: server.s3("alice", wrong).list_buckets(),
                         lambda: server.account("alice", "list", secret=wrong)):
                with pytest.raises(Exception) as error:
                    call()
                assert known not in str(error.value)
        server.cli("user", "passwd", "alice", "--secret-file", server.file(known + "2\n"))
        server.restart()
        server.s3("alice", known + "2").list_buckets()
        watching.set()
        thread.join()
        secrets = [known, keys["secret_key"], generated]
        logs = server.all_logs()
        assert "added a user" in logs
        disk = b"".join(path.read_bytes() for path in server.root.rglob("*") if path.is_file())
        for secret in secrets:
            assert secret not in logs
            assert secret.encode() not in disk
            assert not any(secret.encode() in line for line in seen)
