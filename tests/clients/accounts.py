"""What the tests of identities share: a server of their own, its command line, and boto3 clients of its users."""

import contextlib
import json
import os
import subprocess
import time

import boto3
import botocore
import botocore.config
import botocore.exceptions

import sluicegate
from sluicegate import BINARY, IS_ROOT, PATIENCE, environment_without_settings

SECRET = "Passw0rd-of-everybody"


class Refused(Exception):
    """A command that ended with another status than 0."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class Server(sluicegate.Server):
    """A server on two cores whose users all have the same secret."""

    def __init__(self, *options, environment=None):
        self.ended_logs = ""
        super().__init__(options=["--workers", "2", *options], environment=environment)

    def start(self):
        try:
            super().start()
        except AssertionError:
            if self.process is None or self.process.poll() is None:
                raise
            status, text = self.process.wait(), self.log()
            self.process = None
            assert "panicked" not in text, text
            raise Refused(status, text) from None

    def ended(self, expected=0):
        super().ended(expected)
        self.ended_logs += self.ended_log

    def all_logs(self):
        """What the server wrote in all of its lives."""
        return self.ended_logs + (self.log() if self.process else "")

    # The command line.

    def cli(self, *arguments, secret=None, input=None):
        """Runs a command; returns what it printed, or raises what it said."""
        environment = environment_without_settings()
        if secret is not None:
            environment["SLUICEGATE_SECRET"] = secret
        done = subprocess.run([BINARY, *map(str, arguments), "--root", str(self.root)], env=environment, input=input,
                              stdin=None if input is not None else subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE)
        assert "panicked" not in done.stderr, done.stderr
        if done.returncode:
            raise Refused(done.returncode, done.stderr)
        return done.stdout

    def json(self, *arguments, **more):
        return json.loads(self.cli(*arguments, "--json", **more))

    def add_user(self, name, policy="readwrite", owner=None):
        """Adds a user and returns its S3 client. A policy that is no name is a document."""
        uid, gid = owner or (os.geteuid(), os.getegid())
        options = []
        if isinstance(policy, dict):
            self.add_policy(f"of-{name}", policy)
            policy = f"of-{name}"
        if policy:
            options = ["--policy", policy]
        self.cli("user", "add", name, "--posix-uid", uid, "--posix-gid", gid, *options, secret=SECRET)
        return self.s3(name)

    def add_policy(self, name, document, *options):
        return self.cli("policy", "add", name, self.file(document), *options)

    def file(self, content):
        """A file with this content, JSON unless it is text."""
        text = content if isinstance(content, str) else json.dumps(content)
        path = self._scratch / f"file-{time.monotonic_ns()}"
        path.write_text(text)
        return path

    def account(self, user, *arguments, secret=SECRET):
        return self.cli("service-account", *arguments, "--access-key", user, secret=secret)

    def add_account(self, user, policy=None, secret=SECRET):
        """Adds a service account of a user; returns its keys."""
        options = ["--policy-file", self.file(policy)] if policy is not None else []
        return json.loads(self.account(user, "add", *options, "--json", secret=secret))

    # boto3.

    def s3(self, access_key=None, secret=SECRET, **config):
        """The client of a user, or of nobody."""
        signature = "s3v4" if access_key else botocore.UNSIGNED
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=access_key or "x",
            aws_secret_access_key=secret,
            config=botocore.config.Config(signature_version=signature, retries={"total_max_attempts": 1},
                                          s3={"addressing_style": "path"}, **config))

    def s3_of(self, keys):
        return self.s3(keys["access_key"], keys["secret_key"])


@contextlib.contextmanager
def refused(code, status=None):
    """The S3 call inside must be refused with this code."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, error
        assert status is None or error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error
    else:
        raise AssertionError(f"it was not refused with {code}")


def denied():
    return refused("AccessDenied", 403)


@contextlib.contextmanager
def command_refused(text, status=1):
    """The command inside must be refused with this text."""
    try:
        yield
    except Refused as refusal:
        assert text in refusal.text and refusal.status == status, refusal
    else:
        raise AssertionError(f"it was not refused with {text!r}")


def allow(actions, resources, **more):
    """A policy of one statement."""
    return {"Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resources, **more}]}


def statement(effect, actions, resources, **more):
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def arn(name):
    return f"arn:aws:s3:::{name}"
