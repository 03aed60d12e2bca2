"""Client programs run as a user runs them, on trees of files whose names and sizes are the awkward ones."""

import hashlib
import os
import shutil
import subprocess

import pytest

from sluicegate import PATIENCE, environment_without_settings

MIB = 1 << 20

# Names that clients and servers get wrong: what URLs, XML, shells and globs read otherwise; one file lies at the name that
# is a prefix of another's directory, and one sorts between the two.
NAMES = [
    "plain.txt", "with space", " leading and trailing ", "plus+and%20percent%", "a&b=c;d,e?f#g", "quote'\"<tag>",
    "back\\slash", "[brackets]{braces}*", "!'()~^|`", "@at:colon$", ".hidden", "..two dots", "three...", "-dash",
    "line\nbreak", "tab\tand\x7fdelete", "ünïcödé-日本語-😀", "e\u0301 decomposed", "\u00e9 composed", "UPPER", "upper",
    "deep/er/and/deeper/file", "deep/er-sibling", "deep.file", "n" * 255,
]


def content(seed, size):
    """Bytes that are the same each time, and different for every seed."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def write_tree(directory, names=NAMES, sizes=(0, 1, 4097, 70_000), large=6 * MIB + 5):
    """Files with these names below the directory, and two that every client uploads in parts; their contents."""
    tree = {name: content(name, sizes[number % len(sizes)]) for number, name in enumerate(names)}
    tree |= {f"large/{number}": content(f"large {number}", large + number) for number in range(2)}
    for name, body in tree.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return tree


def sums(tree):
    """Name and SHA-256 of each: what a failed comparison can print."""
    return {name: hashlib.sha256(body).hexdigest() for name, body in tree.items()}


def sums_below(directory):
    """The same of the files that lie below a directory."""
    return sums({str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()})


def check_bucket(server, bucket, tree, below="", user=None):
    """The bucket's directory holds these files and no others; they belong to the user, and the server keeps nothing else
    of them."""
    user = user or server.users["writer"]
    directory = server.path(bucket, below)
    assert sums_below(directory) == sums(tree)
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in directory.rglob("*") if path.is_file()}
    assert owners == {(user.uid, user.gid)}
    assert server.system_files() == []


def find(name):
    """The path of a program; the test is skipped where it is not installed."""
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


def run(*command, environment, status=0, **options):
    """Runs a program that has to end with this status, in an environment that says nothing else; its output."""
    done = subprocess.run([str(part) for part in command], env={**environment_without_settings(), **environment},
                          capture_output=True, timeout=4 * PATIENCE, **{"stdin": subprocess.DEVNULL, **options})
    told = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == status, f"{command}: {done.returncode}: {told}"
    return told


def keys(server, user=None):
    """What clients that read AWS's variables are told."""
    user = user or server.users["writer"]
    return {
        "AWS_ACCESS_KEY_ID": user.name, "AWS_SECRET_ACCESS_KEY": user.secret, "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
    }
