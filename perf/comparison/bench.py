"""Runs rows: starts the server and the floors on core 0, and the load on core 1."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from .rows import MIB

PERF = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = PERF.parent
# Who the objects belong to: without the rights of root nobody else can own them.
OWNER = (20001, 30001) if os.geteuid() == 0 else (os.getuid(), os.getgid())
KEYS = {"AWS_ACCESS_KEY_ID": "perf", "AWS_SECRET_ACCESS_KEY": "Secret-of-perf-1"}
SERVER_CORE, LOAD_CORE = "0", "1"


class Failure(Exception):
    """A program that a row needs has failed."""


class Process:
    """A program pinned to the server's core that is ended with the block."""

    def __init__(self, *command, environment=None, log=None):
        self.child = subprocess.Popen(["taskset", "-c", SERVER_CORE, *map(str, command)],
                                      stdout=log or subprocess.DEVNULL, stderr=subprocess.STDOUT,
                                      env={**os.environ, **(environment or {})})
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


class Bench:
    """A directory on the file system that is measured, and the built programs."""

    def __init__(self, root, options):
        self.options = options
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="sluicegate-perf-", dir=root))
        target = target_directory()
        self.server_binary = pathlib.Path(options.server or target / "release/sluicegate")
        self.tools = pathlib.Path(options.tools or target / "perf/release")
        self.port = 19300
        self.kept = None

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)

    def build(self):
        if not self.options.server and not self.options.endpoint:
            cargo("--manifest-path", REPOSITORY / "Cargo.toml")
        if not self.options.tools:
            cargo("--manifest-path", PERF / "Cargo.toml", "--target-dir", self.tools.parent)

    def load(self, address, arguments, pid=None):
        """Runs the load once; its result."""
        command = [self.tools / "load", "--address", address, "--bucket", self.options.bucket, "--core", LOAD_CORE,
                   "--seconds", self.options.seconds, "--work", *arguments.split()]
        if pid:
            command += ["--server-pid", pid]
        environment = {**KEYS, **os.environ} if self.options.endpoint else {**os.environ, **KEYS}
        return self.json_of(command, environment)

    def floor(self, *arguments):
        """Runs a floor that measures itself; its result."""
        return self.json_of([self.tools / "floor", "--core", SERVER_CORE, *arguments], os.environ)

    def json_of(self, command, environment):
        command = list(map(str, command))
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            log = self.scratch / "server.log"
            said = log.read_text()[-2000:] if log.exists() else ""
            raise Failure(f"{' '.join(command)}\n{done.stderr}{said}")
        return json.loads(done.stdout or "{}")

    def server(self, row, fresh=True):
        """A server with the row's settings and a bucket, on an empty root if it is to be fresh: its process."""
        root, settings = self.scratch / "root", row.settings.format(scratch=self.scratch).split()
        if fresh:
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
        self.port += 1
        with open(self.scratch / "server.log", "wb") as log:
            process = Process(self.server_binary, "serve", "--root", root, "--listen", f"127.0.0.1:{self.port}",
                              "--workers", 1, "--durability", row.durability, "--log-level", "warn", *settings, log=log)
        if fresh:
            self.add_user(root)
            # A directory with a legal name is a bucket.
            bucket = root / self.options.bucket
            bucket.mkdir()
            os.chown(bucket, *OWNER)
        wait_for(self.port)
        return process

    def add_user(self, root):
        environment = {**os.environ, "SLUICEGATE_SECRET": KEYS["AWS_SECRET_ACCESS_KEY"]}
        command = [self.server_binary, "user", "--root", root, "add", KEYS["AWS_ACCESS_KEY_ID"], "--posix-uid", OWNER[0],
                   "--posix-gid", OWNER[1], "--policy", "readwrite"]
        for _ in range(200):
            done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
            if done.returncode == 0:
                return
            time.sleep(0.05)
        raise Failure(f"the server did not start: {done.stderr}{(self.scratch / 'server.log').read_text()}")

    def knows_durability(self, level):
        """Whether the server has such a level of durability. It is not started: its root cannot be."""
        command = [self.server_binary, "serve", "--durability", level, "--root", "/dev/null", "--listen", "127.0.0.1:1"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        return "durability" not in done.stderr

    def run_server(self, row):
        """One run of a row against the server, or against the endpoint that was named."""
        options, load = self.options, self.load_of(row)
        if options.endpoint:
            return self.load(options.endpoint, load, options.pid)
        if not row.reads:
            self.kept = None
        elif self.kept != row.name:
            with self.server(row):
                self.load(f"127.0.0.1:{self.port}", f"{load} --prepare-only")
            self.kept = row.name
        with self.server(row, fresh=not row.reads) as process:
            if row.kind == "complete":
                load += f" --uploads {self.scratch}/root/.sluicegate/uploads"
            if row.reads:
                load += " --prepared"
            if row.kind == "cold":
                drop_caches()
            idle = resident_mib(process.pid) if row.kind == "idle" else None
            result = self.load(f"127.0.0.1:{self.port}", load, process.pid)
            return {**result, **({"idle MiB": idle} if idle else {})}

    def load_of(self, row):
        """The arguments of the load, with as many new keys as the time may need."""
        if not row.made:
            return row.load
        return f"{row.load} --objects {int(row.made * (self.options.seconds + 2))}"

    def run_floor(self, row, arguments):
        """One run of one floor of a row."""
        kind, *settings = words = arguments.split()
        directory = self.scratch / "floor"
        if kind == "server":
            return self.run_server(dataclasses.replace(row, settings=" ".join(settings)))
        if kind == "list":
            return self.floor("list", "--directory", self.scratch / "root" / self.options.bucket / "load")
        if kind == "send" and not self.options.endpoint:
            # The files that the server sends, which has run before: other ones may lie where the disk is slower.
            directory = self.scratch / "root" / self.options.bucket / "load"
        sent = kind == "send" and (directory / "00000000").exists()
        if not sent:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        if kind == "publish":
            return self.floor(*words, "--directory", directory, "--seconds", self.options.seconds)
        if kind == "unlink":
            # As the server's: small objects are in the page cache, and removing them empties it.
            self.floor("publish", "--directory", directory, "--files", 10_000, "--group", 1000, "--path", "cache")
            return self.floor(*words, "--directory", directory)
        if kind == "send" and not sent:
            objects = int(row.load.split("--objects ")[1].split()[0])
            self.floor("make", "--directory", directory, "--files", objects, "--size", 64 * MIB)
        if kind in ("receive", "send"):
            words += ["--directory", directory]
        if row.kind == "cold":
            drop_caches()
        self.port += 1
        with Process(self.tools / "floor", *words, "--port", self.port) as process:
            wait_for(self.port)
            return self.load(f"127.0.0.1:{self.port}", floor_load(row.load, kind), process.pid)

    def clear_floor(self):
        """Takes the files of a floor away that serve all rounds of a row."""
        shutil.rmtree(self.scratch / "floor", ignore_errors=True)


def floor_load(load, kind):
    """The load that a floor is driven by: one that answers always the same has one object, which is read whole."""
    words = load.split()
    if kind == "reply":
        if words[0] == "range":
            size = words[words.index("--range") + 1]
            words = ["get", "--size", size, *words[words.index("--connections"):][:2]]
        if "--objects" in words:
            at = words.index("--objects")
            del words[at:at + 2]
        words += ["--objects", "1"]
    if kind in ("reply", "send"):
        words += ["--prepared"]
    return " ".join(words)


def target_directory():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))


def cargo(*arguments, environment=None):
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", *map(str, arguments)], check=True,
                   env={**os.environ, **(environment or {})})


def wait_for(port):
    """Until something listens."""
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.025)
    raise Failure(f"nothing listens on port {port}")


def resident_mib(pid):
    """Memory of a server that has nothing to do."""
    time.sleep(0.5)
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


def drop_caches():
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    except PermissionError:
        sys.exit("cold rows need root: they drop the page cache")
