"""Every key is an object of its own: keys that stand in each other's way, held against a plain dictionary."""

import contextlib
import os
import re
import subprocess
import threading
import urllib.parse
import xml.etree.ElementTree
from random import Random

import pytest

import wire
from conftest import needs_root, new_bucket
from sluicegate import Server, User
from test_storage import Mounted, code_of, keys_of

MIB = 1 << 20
NOBODY = 65534
# The shell stays, so that the server is its child.
AS_NOBODY = ["sh", "-c", f'setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"; exit $?', "sh"]


class OnFileSystem:
    """A server on a file system of its own, run by root or by a user without any right."""

    def __init__(self, kind, identity):
        self.mounted = Mounted(kind, 512 * MIB)
        try:
            if identity == "nobody":
                os.chown(self.mounted.root, NOBODY, NOBODY)
                self.server = Server(root=self.mounted.root, wrapper=AS_NOBODY)
                self.server.admin("user", "add", "writer", "--posix-uid", NOBODY, "--posix-gid", NOBODY,
                                  "--policy", "readwrite", secret="Secret-of-writer-1")
                self.server.users["writer"] = User("writer", "Secret-of-writer-1", NOBODY, NOBODY)
            else:
                self.server = Server(root=self.mounted.root)
                self.server.add_user("writer")
        except BaseException:
            self.mounted.__exit__()
            raise

    def __enter__(self):
        return self.server

    def __exit__(self, *failure):
        try:
            self.server.stop()
        finally:
            self.mounted.__exit__()


class Client:
    """Requests by hand: fast, and with any key."""

    def __init__(self, server, bucket):
        self.user, self.bucket, self.connection = server.users["writer"], bucket, wire.Connection(server)

    def ask(self, method, key=None, body=b"", **query):
        target = f"/{self.bucket}" + ("" if key is None else "/" + urllib.parse.quote(key, safe=""))
        if query:
            target += "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
        self.connection.send(wire.signed(self.user, self.connection.host, method, target, body))
        return self.connection.answer(to_head=method == "HEAD")

    def page(self, **query):
        """The keys, the common prefixes, and the root of one page."""
        answer = self.ask("GET", **{"encoding-type": "url", **query})
        answer.expect(200)
        root = xml.etree.ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", answer.body))

        def texts(path):
            return [urllib.parse.unquote_plus(found.text) for found in root.findall(path)]
        return texts("Contents/Key"), texts("CommonPrefixes/Prefix"), root


def page_of(keys, prefix, delimiter, after, limit):
    """What a page shows: the definition. Also whether more follows, and after what."""
    def rolled(key):
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        return key if at < 0 else key[:at + len(delimiter)], at >= 0
    items = sorted({rolled(key) for key in keys if key.startswith(prefix)}, key=lambda item: item[0].encode())
    items = [item for item in items if item[0].encode() > after.encode()]
    shown = items[:limit]
    names = [[text for text, is_prefix in shown if is_prefix == wanted] for wanted in (False, True)]
    return *names, limit > 0 and len(items) > limit


COMPONENTS = [
    "", ".", "..", "...", "a", "b", "ab", "A", "a-", "a0", " ", "%", "%00", "%2F", "+", "\\", "\0", "a\0%", "\x01", "\x7f",
    "é", "e\u0301", "😀", "\ufffe", "\uffff", "\ue000", ".sgate~", ".sgate~@", ".sgate~=", ".sgate~=a", ".sgate~+a",
    ".sgate~!1", ".sluicegate", ".git", "~", "*", "?", "[a]", "con", "x" * 239 + "é" + "y" * 30, "x" * 240, "x" * 255,
    "x" * 256, "x" * 241 + "z", "é" * 128, "\0" * 90, "😀" * 70,
]


def any_keys(random, count):
    """Keys that start alike, with what is above, below and beside them."""
    keys = set()
    while len(keys) < count:
        key = "/".join(random.choices(COMPONENTS, k=random.randint(1, 4)))
        near = [key, key + "/", key + "//", key + "/x", key + "/x/y", key + "-", key.rpartition("/")[0], key[:-1]]
        keys |= {key for key in random.sample(near, 4) if 0 < len(key.encode()) <= 1024}
    return sorted(keys)


@needs_root
@pytest.mark.parametrize("identity", ["root", "nobody"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_bucket_is_a_dictionary(kind, identity):
    seed = int(os.environ.get("SLUICEGATE_TEST_SEED", "1"))
    random = Random(f"{seed} {kind} {identity}")
    with OnFileSystem(kind, identity) as server:
        bucket = new_bucket(server)
        client, model = Client(server, bucket), {}
        pool = any_keys(random, 70)
        for number in range(500):
            key, action = random.choice(pool), random.random()
            if action < 0.45:
                body = f"{number} {key}".encode()
                client.ask("PUT", key, body).expect(200)
                model[key] = body
            elif action < 0.6:
                client.ask("DELETE", key).expect(204)
                model.pop(key, None)
            elif action < 0.7:
                answer = client.ask("GET", key)
                answer.expect(*((200,) if key in model else (404, "NoSuchKey")))
                assert key not in model or answer.body == model[key], (seed, key)
            else:
                other = random.choice(pool)
                prefix = key[:random.randint(0, len(key))] if random.random() < 0.6 else ""
                delimiter = random.choice(["", "/", "/", "//", "x", "-", "é", "a/", ".s", other[:2], other[-3:]])
                after = random.choice(["", other, other[:-1], prefix])
                limit = random.choice([0, 1, 2, 3, 5, 20, 1000])
                version = random.choice([1, 2])
                query = {"list-type": 2, "start-after": after} if version == 2 else {"marker": after}
                keys, prefixes, root = client.page(**query, prefix=prefix, delimiter=delimiter, **{"max-keys": limit})
                expected = page_of(model, prefix, delimiter, after, limit)
                asked = (seed, number, version, prefix, delimiter, after, limit)
                assert (keys, prefixes, root.findtext("IsTruncated") == "true") == expected, asked
        for key in pool:
            answer = client.ask("GET", key)
            assert (answer.body if answer.status == 200 else None) == model.get(key), (seed, key)
        # Every object is a file of its own, with its own content.
        stored = []
        for directory, _, names in os.walk(os.fsencode(server.path(bucket))):
            descriptor = os.open(directory, os.O_RDONLY)
            for name in names:
                with open(os.open(name, os.O_RDONLY, dir_fd=descriptor), "rb") as file:
                    stored.append(file.read())
            os.close(descriptor)
        assert sorted(stored) == sorted(model.values())
        # All pages of any size are the bucket, by their tokens and by their last keys.
        for size in [1, 7]:
            for version in [1, 2]:
                found, more = [], {"list-type": 2} if version == 2 else {}
                while more is not None:
                    keys, _, root = client.page(**more, **{"max-keys": size})
                    found += keys
                    token = root.findtext("NextContinuationToken")
                    more = {"list-type": 2, "continuation-token": token} if token else None
                    if version == 1 and root.findtext("IsTruncated") == "true":
                        more = {"marker": keys[-1]}
                assert found == sorted(model, key=lambda key: key.encode()), (seed, size, version)
        for key in model:
            client.ask("DELETE", key).expect(204)
        assert os.listdir(server.path(bucket)) == [], seed


def test_every_character_of_xml_comes_back(server):
    """In a listing without an encoding, in an error, and in DeleteObjects."""
    s3, bucket = server.s3(), new_bucket(server)
    planes = [chr(code) for code in [*range(0x20, 0x7F), 0x85, 0xA0, 0x2028, 0xD7FF, 0xE000, 0xFDD0, 0xFFFD, 0x10000, 0x10FFFF]]
    keys = [f"k{character}z" for character in planes] + ["tab\tin", "line\nfeed", "return\rin", "]]>", "&amp;", "<a>", "\r\n"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    client, listed = Client(server, bucket), []
    for version in [{}, {"list-type": 2}, {"versions": ""}]:
        answer = client.ask("GET", **version)
        root = xml.etree.ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", answer.body))
        listed = [key.text for key in root.iter("Key")]
        assert listed == sorted(keys, key=lambda key: key.encode()), version
    missing = client.ask("GET", "none \t\r\n<&>\"'é😀")
    assert missing.expect(404, "NoSuchKey")["Key"] == "none \t\r\n<&>\"'é😀"
    assert keys_of(s3, bucket) == listed
    for start in range(0, len(listed), 100):
        deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in listed[start:start + 100]]})
        assert "Errors" not in deleted and [entry["Key"] for entry in deleted["Deleted"]] == listed[start:start + 100]
    assert os.listdir(server.path(bucket)) == []


def test_puts_and_deletes_in_one_directory_at_once(http):
    """No PUT fails because its directory goes: by the DELETE that empties it, or by a program that removes empty ones."""
    bucket, failures, ended = new_bucket(http), [], threading.Event()

    def client(number):
        try:
            own = Client(http, bucket)
            for turn in range(40):
                key = ["d/e/f/", "d/e//", "d/"][turn % 3] + str(number)
                own.ask("PUT", key, key.encode()).expect(200)
                assert own.ask("GET", key).body == key.encode()
                own.ask("PUT", "d", b"above").expect(200)
                own.ask("DELETE", key).expect(204)
                own.ask("DELETE", "d").expect(204)
        except BaseException as failure:
            failures.append(failure)

    def program():
        while not ended.wait(0.0005):
            for directory in ["d/e/f", "d/e/.sgate~=", "d/e", "d"]:
                with contextlib.suppress(OSError):
                    http.path(bucket, directory).rmdir()

    clients = [threading.Thread(target=client, args=[number]) for number in range(6)]
    remover = threading.Thread(target=program)
    for thread in [remover, *clients]:
        thread.start()
    for thread in clients:
        thread.join()
    ended.set()
    remover.join()
    assert not failures, failures
    assert os.listdir(http.path(bucket)) == []


@needs_root
def test_a_server_without_rights_shows_what_it_may():
    with OnFileSystem("ext4", "nobody") as server:
        s3, bucket = server.s3(), new_bucket(server)
        base = server.path(bucket)
        s3.put_object(Bucket=bucket, Key="mine/k", Body=b"mine")
        assert (base / "mine/k").stat().st_uid == (base / "mine").stat().st_uid == NOBODY
        (base / "readable").write_bytes(b"of root")
        (base / "closed").write_bytes(b"of root")
        (base / "closed").chmod(0o600)
        for name, mode in [("shut", 0o700), ("fixed", 0o755)]:
            (base / name).mkdir()
            (base / name / "k").write_bytes(b"x")
            (base / name).chmod(mode)
        assert keys_of(s3, bucket) == ["closed", "fixed/k", "mine/k", "readable"]
        page = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
        assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["fixed/", "mine/"]
        assert keys_of(s3, bucket, Prefix="shut/") == []
        assert s3.get_object(Bucket=bucket, Key="readable")["Body"].read() == b"of root"
        for call, key in [(s3.get_object, "closed"), (s3.get_object, "shut/k"), (s3.delete_object, "fixed/k"),
                          (s3.delete_object, "shut/k")]:
            assert code_of(call, Bucket=bucket, Key=key) == (403, "AccessDenied"), key
        for key in ["fixed/new", "shut/new", "fixed/k"]:
            assert code_of(s3.put_object, Bucket=bucket, Key=key, Body=b"") == (403, "AccessDenied"), key
        # What stands in a directory of its own it may replace and delete, whoever wrote it.
        for key in ["readable", "closed"]:
            s3.put_object(Bucket=bucket, Key=key, Body=b"new")
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"new"
            s3.delete_object(Bucket=bucket, Key=key)
        assert server.system_files() == []
        subprocess.run(["rm", "-r", base / "shut", base / "fixed"], check=True)
        s3.delete_object(Bucket=bucket, Key="mine/k")
        s3.delete_bucket(Bucket=bucket)
