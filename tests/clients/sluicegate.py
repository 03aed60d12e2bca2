"""The server under test: the built binary on a data directory of its own.

A `Server` is started and stopped by the tests, never shared with anything else on the machine. Ending it checks what
has to hold of every run: the exit status, and a log without a panic.
"""

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
import botocore.config

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SLUICEGATE_BIN", REPOSITORY / "target/release/sluicegate"))
REGION = "us-east-1"
IS_ROOT = os.geteuid() == 0

# Seconds that anything may take which should take milliseconds: generous, because the machine may be busy.
PATIENCE = 60.0


class User:
    """A user of a server: its keys, and the owner its files get."""

    def __init__(self, name, secret, uid, gid):
        self.name, self.secret, self.uid, self.gid = name, secret, uid, gid

    def __repr__(self):
        return f"User({self.name})"


def owner(number):
    """The UID and GID of a test's user: other ones than the server's where it can give files away."""
    return (20000 + number, 30000 + number) if IS_ROOT else (os.geteuid(), os.getegid())


def wait_until(condition, what, seconds=PATIENCE):
    """Waits until the condition is true and returns its value; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.01)
    return value


def scratch():
    """A directory for a test's data: on a disk where there is one, and open to every user of the machine."""
    parent = os.environ.get("SLUICEGATE_SCRATCH", "/var/tmp")
    path = pathlib.Path(tempfile.mkdtemp(prefix="sluicegate-", dir=parent))
    path.chmod(0o755)
    return path


class Certificate:
    """A certificate for the loopback addresses, and the authority that clients trust for it."""

    def __init__(self, directory):
        self.file, self.key = directory / "certificate.pem", directory / "key.pem"
        self.authority, authority_key = directory / "authority.pem", directory / "authority-key.pem"
        configuration = directory / "openssl.conf"
        configuration.write_text(OPENSSL)
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "2", "-config", configuration]
        for arguments in [
            ["-subj", "/CN=test authority", "-extensions", "authority", "-keyout", authority_key,
             "-out", self.authority],
            ["-subj", "/CN=localhost", "-extensions", "server", "-keyout", self.key, "-out", self.file,
             "-CA", self.authority, "-CAkey", authority_key],
        ]:
            subprocess.run(make + arguments, check=True, capture_output=True)


OPENSSL = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, DNS:*.s3.test, IP:127.0.0.1, IP:::1
"""


class Server:
    """A running `sluicegate serve`, or `quickstart`."""

    def __init__(self, root=None, options=(), listen="127.0.0.1:0", certificate=None, driver=None,
                 command="serve", wrapper=(), environment=None, binary=BINARY):
        self._scratch = None
        if root is None:
            self._scratch = scratch()
            root = self._scratch / "data"
            root.mkdir()
        self.root = pathlib.Path(root)
        self.certificate = certificate
        self.users = {}
        self.wrapper = list(wrapper)
        self.binary = binary
        self.environment = environment or {}
        if command == "quickstart":
            self.arguments = ["quickstart", self.root, "--listen", listen]
        else:
            self.arguments = ["serve", "--root", self.root, "--listen", listen]
        if certificate:
            self.arguments += ["--tls-cert", certificate.file, "--tls-key", certificate.key]
        if driver:
            self.arguments += ["--driver", driver]
        self.arguments += options
        self.process = None
        self.ended_log = None
        self.start()

    def start(self):
        """Starts the server, and returns when it says that it serves. The port is another one each time."""
        self._logs = pathlib.Path(tempfile.mkdtemp(prefix="sluicegate-log-"))
        self.ended_log = None
        with open(self._logs / "out", "wb") as out, open(self._logs / "err", "wb") as err:
            self.process = subprocess.Popen(
                [*self.wrapper, self.binary, *self.arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**environment_without_settings(), "RUST_BACKTRACE": "1", **self.environment},
            )

        def announcement():
            found = re.search(r"^sluicegate serves \S+ on (.*) \((\d+) workers, (\w+)\)$", self.output(), re.MULTILINE)
            if not found and self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.log()}")
            return found

        endpoints, workers, self.driver = wait_until(announcement, "the server to start").groups()
        self.endpoints = endpoints.split()
        self.workers = int(workers)
        self.endpoint = self.endpoints[0]
        self.host, self.port = address_of(self.endpoint)
        assert self.endpoint.startswith("https://" if self.certificate else "http://")

    def output(self):
        """What the server wrote to its standard output."""
        return (self._logs / "out").read_text()

    def log(self):
        """What the server wrote to its standard error, also after its end."""
        return (self._logs / "err").read_text() if self.ended_log is None else self.ended_log

    @property
    def pid(self):
        """The server's own process, also under a wrapper."""
        pid = self.process.pid
        if self.wrapper:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
            pid = int(wait_until(lambda: children.read_text().split(), "the wrapped server")[0])
        return pid

    def stop(self, expected=0):
        """Ends the server as its administrator would, and checks how it ends."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        self.ended(expected)

    def ended(self, expected=0):
        """Waits for the end of the server, and checks its exit status and its log."""
        process, self.process = self.process, None
        try:
            status = process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = "nothing: it had to be killed"
        process.wait()
        self.ended_log = self.log()
        shutil.rmtree(self._logs)
        assert "panicked" not in self.ended_log, self.ended_log
        assert status == expected, f"the server ended with {status}: {self.ended_log}"

    def kill(self):
        """Kills the server without notice, as a crash would."""
        os.kill(self.pid, signal.SIGKILL)
        self.ended(-signal.SIGKILL)

    def died(self, seconds=PATIENCE):
        """Waits for the server to kill itself, which a test has asked it for."""
        wait_until(lambda: self.process.poll() is not None, "the server to die", seconds)
        self.ended(-signal.SIGKILL)

    def restart(self):
        """Ends the server, and starts it again on the same data."""
        self.stop()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        try:
            self.stop()
        finally:
            if self._scratch:
                shutil.rmtree(self._scratch)

    # The administrator's side.

    def command(self, *arguments, secret=None, input=None):
        """Runs a command of the program against this server."""
        environment = {**environment_without_settings(), "SLUICEGATE_ROOT": str(self.root)}
        if secret:
            environment["SLUICEGATE_SECRET"] = secret
        return subprocess.run([BINARY, *map(str, arguments)], env=environment, input=input, text=True,
                              capture_output=True, timeout=PATIENCE)

    def admin(self, *arguments, **options):
        """Runs a command that has to succeed; its output."""
        done = self.command(*arguments, **options)
        assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"
        return done.stdout

    def refused(self, *arguments, **options):
        """Runs a command that has to be refused; its message."""
        done = self.command(*arguments, **options)
        assert done.returncode == 1, f"{arguments}: {done.returncode}: {done.stdout}{done.stderr}"
        assert done.stderr.startswith("sluicegate: "), done.stderr
        return done.stderr

    def add_user(self, name, policy="readwrite", number=1, secret=None, options=()):
        """Adds a user with this policy, or with none."""
        uid, gid = owner(number)
        secret = secret or f"Secret-of-{name}-1"
        attach = ["--policy", policy] if policy else []
        self.admin("user", "add", name, "--posix-uid", uid, "--posix-gid", gid, *attach, *options, secret=secret)
        self.users[name] = User(name, secret, uid, gid)
        return self.users[name]

    def add_policy(self, name, statements):
        """Adds a policy with these statements, or replaces it."""
        document = {"Version": "2012-10-17", "Statement": statements}
        self.admin("policy", "add", name, "-", "--replace", input=json.dumps(document))

    # The client's side.

    def s3(self, user=None, endpoint=None, session_token=None, **config):
        """A boto3 client. It never retries: a failure that a retry would hide is a failure."""
        user = user or self.users["writer"]
        config.setdefault("s3", {})
        config["s3"] = {"addressing_style": "path", **config["s3"]}
        config.setdefault("retries", {"total_max_attempts": 1})
        return boto3.client(
            "s3", endpoint_url=endpoint or self.endpoint, region_name=REGION, aws_access_key_id=user.name,
            aws_secret_access_key=user.secret, aws_session_token=session_token,
            verify=str(self.certificate.authority) if self.certificate else None,
            config=botocore.config.Config(read_timeout=PATIENCE, connect_timeout=PATIENCE, **config),
        )

    def path(self, bucket, key=""):
        """Where an object with an ordinary key lies."""
        return self.root / bucket / key

    def system_files(self):
        """Every file below the server's own directory but the identity store, the configuration of buckets, noncurrent
        versions of objects and what marks the layout: empty when nothing is under way."""
        system = self.root / ".sluicegate"
        found = []
        for directory, _, names in os.walk(system):
            relative = pathlib.Path(directory).relative_to(system)
            if relative.parts[:1] not in [("iam",), ("buckets",), ("versions",)]:
                found += [str(relative / name) for name in names]
        return sorted(set(found) - {"format", "admin.sock", "deployment-id"})

    def descriptors(self):
        """How many files and sockets the server has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def environment_without_settings():
    """The environment without variables that would change what the program or the clients do."""
    unwanted = ("SLUICEGATE_", "AWS_", "RUST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}


def address_of(endpoint):
    """The host and port of `http://host:port`."""
    host, port = endpoint.split("://")[1].rsplit(":", 1)
    return host.strip("[]"), int(port)
