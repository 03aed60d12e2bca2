"""A server under everything at once, for as long as wanted: `tests/soak --minutes 30`.

Clients with a ledger each (see `ledger`) change objects, versions, uploads, buckets and identities; readers judge every
object they meet by its checksum; another program edits files of its own below the same buckets, and reads them through S3;
a guest's policy is given and taken, and holds at once. Meanwhile the server is killed, or ended and started again, and
everything that was promised is looked for. The last two fifths of the time are one life of the server, in which its memory
and its descriptors must stay where they are.
"""

import argparse
import hashlib
import os
import random
import threading
import time

import botocore.exceptions

import sluicegate
from ledger import MIB, Ledger, Load, Lost, generate
from sluicegate import Server, wait_until

SIZES = [0, 1, 3000, 4096, 32768, 32769, 70_000, 300_001, MIB, 2 * MIB + 7]
# A life with clients takes so many seconds before the server is killed.
LIFE = (5, 20)
# What the memory may grow between the first and the last third of the long life.
GROWTH_FACTOR, GROWTH_BYTES = 1.2, 48 * MIB


class Worker(threading.Thread):
    """Something that is done again and again until it is stopped; an error that a dying server explains ends it."""

    def __init__(self, step):
        super().__init__(daemon=True)
        self.step, self.stop, self.error, self.count = step, threading.Event(), None, 0

    def run(self):
        while not self.stop.is_set():
            try:
                self.step()
                self.count += 1
            except Exception as error:  # What it means is for `Soak` to say.
                self.error = error
                return


class Reader:
    """Reads what the listings show."""

    def __init__(self, soak, number):
        self.soak, self.chance = soak, random.Random(f"{soak.seed} reader {number}")

    def step(self):
        bucket = self.chance.choice(["plain", "plain-too", "kept"])
        s3 = self.soak.s3_of_reader
        page = s3.list_objects_v2(Bucket=bucket, Prefix=f"client-{self.chance.randrange(4)}", MaxKeys=50)
        for entry in self.chance.sample(page.get("Contents", []), min(5, page["KeyCount"])):
            try:
                answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            except botocore.exceptions.ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    continue
                raise
            body = answer["Body"].read()
            if body != generate(answer["Metadata"]["name"], int(answer["Metadata"]["size"])):
                raise Lost(f"wrong bytes of {entry['Key']}: {len(body)}")
            self.soak.bytes_read += len(body)


class Editor:
    """A program that works on files, and looks at them through S3. Nobody else touches them."""

    def __init__(self, soak):
        self.soak, self.chance, self.content = soak, random.Random(f"{soak.seed} editor"), {}
        # The key and the body of a PUT that is under way.
        self.put = None

    def step(self):
        server, s3 = self.soak.server, self.soak.s3_of_reader
        key = f"edited/{self.chance.randrange(3)}/file-{self.chance.randrange(20)}"
        path = server.path("plain", key)
        roll = self.chance.random()
        body = os.urandom(self.chance.choice([0, 10, 5000, 100_000]))
        if roll < 0.3 and key in self.content:
            path.unlink()
            del self.content[key]
        elif roll < 0.6:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}")
            aside.write_bytes(body)
            aside.rename(path)
            self.content[key] = body
        elif roll < 0.8 and key in self.content:
            with open(path, "r+b") as file:
                file.write(body)
                file.truncate()
            self.content[key] = body
        else:
            self.put = (key, body)
            s3.put_object(Bucket="plain", Key=key, Body=body)
            self.put = None
            self.content[key] = body
        self.look(key)

    def look(self, key):
        try:
            answer = self.soak.s3_of_reader.get_object(Bucket="plain", Key=key)
            found = answer["Body"].read()
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            found = None
        if found != self.content.get(key):
            raise Lost(f"{key} is not what was written to its file")
        if found is not None and "-" not in answer["ETag"] and answer["ETag"] != f'"{hashlib.md5(found).hexdigest()}"':
            raise Lost(f"{key} has the MD5 of another content")

    def resume(self):
        """After a crash all files are as this program left them; a PUT that was cut off may have been carried out."""
        if self.put:
            key, body = self.put
            path = self.soak.server.path("plain", key)
            if path.exists() and path.read_bytes() == body:
                self.content[key] = body
            self.put = None
        for key in list(self.content):
            self.look(key)


class Guest:
    """A user whose policy comes and goes."""

    def __init__(self, soak):
        self.soak, self.allowed = soak, None

    def step(self):
        server = self.soak.server
        policy = None if self.allowed else "readonly"
        server.admin(*(["policy", "attach", policy, "guest"] if policy else ["policy", "detach", "guest"]))
        self.allowed = policy
        for _ in range(5):
            try:
                self.soak.s3_of_guest.list_objects_v2(Bucket="plain", MaxKeys=1)
                answered = True
            except botocore.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "AccessDenied":
                    raise
                answered = False
            if answered != bool(policy):
                raise Lost(f"the guest is {'let in' if answered else 'kept out'} although its policy is {policy}")


class Soak:
    """The whole."""

    def __init__(self, seconds, seed, say=print):
        self.seconds, self.seed, self.say = seconds, seed, say
        self.chance = random.Random(seed)
        self.bytes_read = 0
        self.kills, self.restarts, self.samples = 0, 0, []

    def run(self):
        with Server(options=["--workers", "2"]) as server:
            self.server = server
            user = server.add_user("writer", number=1)
            server.add_user("guest", None, number=2)
            self.books = [Ledger(server, user, f"client-{number}") for number in range(4)]
            identities = Ledger(server, user, "identities")
            self.buckets = ["plain", "plain-too", "kept", "plain"]
            for book, bucket in zip(self.books, self.buckets[:3]):
                book.create_bucket(bucket)
            self.books[2].configure("kept", "versioning", "Enabled")
            self.books.append(identities)
            self.readers, self.editor, self.guest = [Reader(self, 1), Reader(self, 2)], Editor(self), Guest(self)
            self.connect()
            end = time.monotonic() + self.seconds
            last_life = end - self.seconds * 0.4
            while time.monotonic() < last_life:
                self.live(min(self.chance.uniform(*LIFE), max(1, last_life - time.monotonic())), kill=True)
            self.live(end - time.monotonic(), kill=False)
            self.judge_memory()
            changes = sum(book.acknowledged for book in self.books)
            self.say(f"{changes} changes acknowledged, {self.bytes_read >> 20} MiB read and checked, {self.kills} kills, "
                     f"{self.restarts} restarts; nothing lost, nothing wrong")
            assert changes > 10 * len(self.books), "hardly anything was done"

    def connect(self):
        for book in self.books:
            book.connect(self.server)
        self.s3_of_reader = self.server.s3(self.server.users["writer"])
        self.s3_of_guest = self.server.s3(self.server.users["guest"])

    def live(self, seconds, kill):
        """One life of the server with clients, and its end."""
        seed = f"{self.seed} {self.kills + self.restarts}"
        loads = [Load(book, bucket, bucket == "kept", f"{seed} {book.prefix}", SIZES)
                 for book, bucket in zip(self.books, self.buckets)]
        loads.append(Load(self.books[-1], None, False, seed, [], identities=True))
        workers = [Worker(it.step) for it in [*self.readers, self.editor, self.guest]]
        threads = [*loads, *workers]
        at_rest = self.server.descriptors()
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        self.samples = []
        while time.monotonic() < end:
            time.sleep(0.5)
            self.samples.append(memory(self.server.pid))
            for thread in threads:
                if thread.error:
                    raise AssertionError(f"while the server lived: {thread.error!r}") from thread.error
        hard = kill and self.chance.random() < 0.7
        if hard:
            self.server.kill()
            self.kills += 1
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join(2 * sluicegate.PATIENCE)
            assert not thread.is_alive(), f"{thread} hangs"
            # A command of the administrator that is cut off is an AssertionError.
            cut_off = isinstance(thread.error, (OSError, AssertionError, botocore.exceptions.BotoCoreError))
            if thread.error and (isinstance(thread.error, Lost) or not (hard and cut_off)):
                raise AssertionError(f"in the life before: {thread.error!r}") from thread.error
        if kill:
            if not hard:
                self.server.stop()
                self.restarts += 1
            self.server.start()
            self.connect()
        else:
            # The connections of the clients stay, at most two for each; files do not.
            wait_until(lambda: self.server.descriptors() <= at_rest + 2 * len(threads), "files to be closed", 30)
        for book in self.books:
            book.verify()
        self.editor.resume()
        # Whether the guest has a policy may be in doubt.
        self.server.command("policy", "detach", "guest")
        self.guest.allowed = None

    def judge_memory(self):
        """The memory of the long life, in thirds; the first one is that of warming up."""
        third = len(self.samples) // 3
        first, last = max(self.samples[third // 2:third]), max(self.samples[-third:])
        self.say(f"resident memory: {first >> 20} MiB after the start, {last >> 20} MiB at the end")
        if last > first * GROWTH_FACTOR + GROWTH_BYTES:
            raise AssertionError(f"the memory grew from {first >> 20} to {last >> 20} MiB")


def memory(pid):
    """The resident memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main():
    parser = argparse.ArgumentParser(description="A server under everything at once, killed again and again.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", default=str(time.time_ns()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    # Nobody looks, and the machine may have other things to do.
    sluicegate.PATIENCE = 300
    Soak(options.minutes * 60, options.seed).run()


if __name__ == "__main__":
    main()
