"""What the tests of identities share: a server of their own, its command line, and boto3 clients of its users."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import boto3
import botocore
import botocore.config
import botocore.exceptions

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SLUICEGATE_BIN", str(REPOSITORY / "target/release/sluicegate"))
SECRET = "Passw0rd-of-everybody"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICEGATE_", "AWS_"))}
IS_ROOT = os.geteuid() == 0
PATIENCE = 60


class Refused(Exception):
    """A command that ended with another status than 0."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class Server:
    """The built binary on a data directory of its own."""

    def __init__(self, *options, root=None, environment=None):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="sluicegate-", dir="/var/tmp"))
        self.scratch.chmod(0o755)
        self.root = pathlib.Path(root) if root else self.scratch / "data"
        self.root.mkdir(exist_ok=True)
        self.options, self.environment = options, environment or {}
        self.process = None
        self.starts = 0
        self.start()

    def start(self):
        self.starts += 1
        self.log_path = self.scratch / f"log-{self.starts}"
        out_path = self.scratch / f"out-{self.starts}"
        with open(self.log_path, "w") as log, open(out_path, "w") as out:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--root", self.root, "--listen", "127.0.0.1:0", "--workers", "2", *self.options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=log, env={**CLEAN, **self.environment})
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(r" on (http://\S+)", out_path.read_text())):
            if self.process.poll() is not None:
                raise Refused(self.process.returncode, self.log())
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.005)
        self.endpoint = match.group(1)

    def log(self):
        return self.log_path.read_text()

    def all_logs(self):
        return "".join(path.read_text() for path in sorted(self.scratch.glob("log-*")))

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return
        self.process.send_signal(how)
        status = self.process.wait(timeout=PATIENCE)
        self.process = None
        assert "panicked" not in self.log(), self.log()
        assert status == (0 if how == signal.SIGTERM else -how), self.log()

    def restart(self):
        self.stop()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.scratch)

    # The command line.

    def cli(self, *arguments, secret=None, variables=None, input=None):
        """Runs a command; returns what it printed, or raises what it said."""
        environment = {**CLEAN, **(variables or {})}
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
        path = self.scratch / f"file-{time.monotonic_ns()}"
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
