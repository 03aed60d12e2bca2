"""`sluicegate identity`: everything of one server's store in another one's."""

import os
import subprocess

import pytest

from accounts import BINARY, Refused, SECRET, Server, allow, arn, command_refused, denied, environment_without_settings, refused

WORDS = "correct horse battery"


def identity(server, *arguments, words=WORDS):
    environment = {**environment_without_settings(), "SLUICEGATE_PASSPHRASE": words}
    done = subprocess.run([BINARY, "identity", *map(str, arguments), "--root", server.root], env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.returncode, done.stderr)
    return done.stdout


def test_a_store_moves_to_another_server():
    with Server() as old, Server() as new:
        old.add_user("alice", allow("s3:*", "*"))
        old.add_user("reader", "readonly")
        keys = old.add_account("alice", allow("s3:ListAllMyBuckets", "*"))
        file = old._scratch / "backup"
        assert "2 users" in identity(old, "export", file)
        assert file.stat().st_mode & 0o777 == 0o600
        content = file.read_bytes()
        for secret in (SECRET, keys["secret_key"], keys["access_key"], "alice"):
            assert secret.encode() not in content
        with command_refused("Name a new file"):
            identity(old, "export", file)
        with command_refused("at least 8"):
            identity(old, "export", f"{file}-short", words="short")
        with command_refused("passphrase is another one"):
            identity(new, "import", file, words=WORDS + "x")
        assert identity(new, "import", file) == "Imported 2 users, 1 policies and 1 service account.\n"
        for _ in range(2):
            new.s3("alice").create_bucket(Bucket=f"data-{_}")
            child = new.s3_of(keys)
            child.list_buckets()
            with denied():
                child.create_bucket(Bucket="other")
            with denied():
                new.s3("reader").create_bucket(Bucket="other")
            assert old.json("user", "show", "alice")["unique_id"] == new.json("user", "show", "alice")["unique_id"]
            new.restart()
        with command_refused("--replace"):
            identity(new, "import", file)
        new.add_user("extra")
        identity(new, "import", file, "--replace")
        with refused("InvalidAccessKeyId"):
            new.s3("extra").list_buckets()
        damaged = bytearray(content)
        damaged[-1] ^= 1
        file.write_bytes(damaged)
        with command_refused("damaged"):
            identity(new, "import", file, "--replace")
        file.write_bytes(content.replace(b"backup 1", b"backup 9"))
        with command_refused("newer release"):
            identity(new, "import", file, "--replace")
        new.s3("alice").list_buckets()
