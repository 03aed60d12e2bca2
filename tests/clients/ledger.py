"""What the tests that break things share: a client that remembers what it was promised, and finds out what is there.

A `Ledger` makes changes one after the other, through S3 and through the admin socket, and keeps the state that each
thing must have: what was acknowledged. A change that was not acknowledged is in doubt: afterwards it was made or it was
not, as a whole. `verify` looks at everything and says what is wrong.

The content of every object follows from its name and size, which stand in its metadata, so that any object can be judged,
also one whose PUT was never answered.
"""

import collections
import hashlib
import http.client
import json
import random
import socket
import threading

import botocore.exceptions

# The id of a version that nobody was told of.
ANY = "any"
MIB = 1 << 20
PART = 5 * MIB

# What an object is: the name its content follows from, its size, its tags.
Content = collections.namedtuple("Content", "name size tags")


class Cut(Exception):
    """The answer came when the disk was gone already: it promises nothing."""


class Lost(AssertionError):
    """Something promised is not there, or something is there that nobody made."""


def generate(name, size):
    """The content that belongs to a name."""
    return random.Random(name).randbytes(size)


class Admin:
    """One connection to the admin socket, without the start of a process for each call."""

    def __init__(self, server):
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.connect(str(server.root / ".sluicegate/admin.sock"))

        self.connection = Connection("localhost", timeout=60)

    def call(self, method, path, body=None):
        """The status of the answer, and what it says."""
        try:
            self.connection.request(method, path, json.dumps(body) if body else None)
            answer = self.connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise OSError(error) from error
        return answer.status, json.loads(text) if text else None


class Ledger:
    """One client with keys, buckets and users of its own. `prefix` tells them from those of other ledgers."""

    def __init__(self, server, user, prefix, cut=None):
        self.user, self.prefix, self.cut = user, prefix, cut or threading.Event()
        self.state, self.doubts, self.versioning = {}, [], {}
        self.count = 0
        # All that was acknowledged so far.
        self.acknowledged = 0
        self.connect(server)

    def connect(self, server):
        """Goes on with a server that was started again."""
        self.server = server
        self.s3 = server.s3(self.user)
        self.admin = None

    # Changes.

    def change(self, *groups, call, halfway=None):
        """Makes a change by `call`, whose groups become what they say or stay what they are, each as a whole. `halfway`: what
        a change that is cut off may leave besides, as the server documents."""
        doubts = [[{key: self.of(key) for key in group}, group, *([halfway] if halfway else [])] for group in groups]
        self.doubts += doubts
        answer = call()
        if self.cut.is_set():
            raise Cut
        del self.doubts[-len(doubts):]
        version = answer.get("VersionId") if isinstance(answer, dict) else None
        for group in groups:
            for key, new in group.items():
                if key[0] == "object":
                    assert version or all(id != ANY for id, _ in new), answer
                    new = tuple((version if id == ANY else id, content) for id, content in new)
                self.settle(key, new)
        self.acknowledged += 1
        return answer

    def settle(self, key, new):
        if new is None or (key[0] == "object" and new == ()):
            self.state.pop(key, None)
        else:
            self.state[key] = new

    def of(self, key):
        return self.state.get(key, () if key[0] == "object" else None)

    def name(self):
        self.count += 1
        return f"{self.prefix}-{self.count}"

    # Objects.

    def with_new(self, key, content):
        """The versions of a key after a PUT, or after a DELETE if the content is none."""
        old = self.of(key)
        match self.versioning.get(key[1]):
            case "Enabled":
                return ((ANY, content), *old)
            case "Suspended":
                return (("null", content), *(version for version in old if version[0] != "null"))
        return (("null", content),) if content else ()

    def put(self, bucket, key, size, large=False, tags=None):
        """`large`: with a record that needs a file of its own on most file systems."""
        content = Content(self.name(), size, tags)
        at = ("object", bucket, key)
        options = {"Tagging": f"t={tags}"} if tags else {}
        metadata = {f"x{number:02}": "v" * 120 for number in range(14 if large else 0)}
        if large:
            options |= {"ContentDisposition": "attachment; filename=" + "f" * 1500, "CacheControl": "c" * 1500}
        return self.change({at: self.with_new(at, content)}, call=lambda: self.s3.put_object(
            Bucket=bucket, Key=key, Body=generate(content.name, size),
            Metadata={"name": content.name, "size": str(size), **metadata}, **options))

    def current(self, bucket, key):
        versions = self.of(("object", bucket, key))
        return versions[0][1] if versions else None

    def copy(self, bucket, source, key):
        at = ("object", bucket, key)
        return self.change({at: self.with_new(at, self.current(bucket, source))}, call=lambda: self.s3.copy_object(
            Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": source}))

    def rename(self, bucket, source, key):
        """Only in a bucket that keeps no versions."""
        states = {("object", bucket, source): (), ("object", bucket, key): self.of(("object", bucket, source))}
        return self.change(states, call=lambda: self.s3.rename_object(
            Bucket=bucket, Key=key, RenameSource=f"/{bucket}/{source}"))

    def delete(self, bucket, key):
        at = ("object", bucket, key)
        old, new = self.of(at), self.with_new(at, None)
        # The marker is made before the version it follows gives up its place.
        others = [version for version in new[1:] if version != old[0]]
        halfway = {at: (old[0], new[0], *others)} if new and old and old[0][1] else None
        return self.change({at: new}, call=lambda: self.s3.delete_object(Bucket=bucket, Key=key), halfway=halfway)

    def delete_version(self, bucket, key, version):
        at = ("object", bucket, key)
        old = self.of(at)
        left = tuple(it for it in old if it[0] != version)
        # The version that a marker covered is in its place before the marker goes.
        uncovers = left and old[0][0] == version and old[0][1] is None and left[0][1]
        halfway = {at: (left[0], old[0], *left[1:])} if uncovers else None
        return self.change({at: left}, call=lambda: {"none": self.s3.delete_object(
            Bucket=bucket, Key=key, VersionId=version)}, halfway=halfway)

    def delete_many(self, bucket, keys):
        """Only in a bucket that keeps no versions: the answer tells the new ones otherwise."""
        groups = [{("object", bucket, key): ()} for key in keys]

        def call():
            answer = self.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
            if answer.get("Errors"):
                error = answer["Errors"][0]
                status = {"InternalError": 500, "ServiceUnavailable": 503, "InsufficientStorage": 507}.get(error["Code"])
                raise botocore.exceptions.ClientError(
                    {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "DeleteObjects")

        return self.change(*groups, call=call)

    def tag(self, bucket, key, tags):
        at = ("object", bucket, key)
        (version, content), *others = self.of(at)
        tagging = {"TagSet": [{"Key": "t", "Value": tags}]}
        return self.change({at: ((version, content._replace(tags=tags)), *others)}, call=lambda: {
            "none": self.s3.put_object_tagging(Bucket=bucket, Key=key, Tagging=tagging)})

    # Uploads in parts. The state of one: the content it is to have, and its parts.

    def create_upload(self, bucket, key, sizes):
        """Starts an upload with parts of these sizes; returns its place in the ledger."""
        content = Content(self.name(), sum(sizes), None)
        upload = self.s3.create_multipart_upload(
            Bucket=bucket, Key=key, Metadata={"name": content.name, "size": str(content.size)})["UploadId"]
        if self.cut.is_set():
            raise Cut
        self.state["upload", bucket, key, upload] = (content, sizes, ())
        self.acknowledged += 1
        return "upload", bucket, key, upload

    def upload_part(self, at, number):
        content, sizes, parts = self.state[at]
        start = sum(sizes[:number - 1])
        body = generate(content.name, content.size)[start:start + sizes[number - 1]]
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        new = tuple(sorted({**dict(parts), number: etag}.items()))
        return self.change({at: (content, sizes, new)}, call=lambda: self.s3.upload_part(
            Bucket=at[1], Key=at[2], UploadId=at[3], PartNumber=number, Body=body))

    def complete(self, at):
        content, _, parts = self.state[at]
        new = {at: None, ("object", at[1], at[2]): self.with_new(("object", at[1], at[2]), content)}
        listed = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        return self.change(new, call=lambda: self.s3.complete_multipart_upload(
            Bucket=at[1], Key=at[2], UploadId=at[3], MultipartUpload={"Parts": listed}))

    def abort(self, at):
        return self.change({at: None}, call=lambda: self.s3.abort_multipart_upload(
            Bucket=at[1], Key=at[2], UploadId=at[3]))

    def upload(self, bucket, key, sizes, order=None):
        """A whole upload."""
        at = self.create_upload(bucket, key, sizes)
        for number in order or range(1, len(sizes) + 1):
            self.upload_part(at, number)
        return self.complete(at)

    # Buckets. The state of one: what is configured, sorted by name.

    def create_bucket(self, bucket, **options):
        new = (("versioning", "Enabled"),) if options.get("ObjectLockEnabledForBucket") else ()
        answer = self.change({("bucket", bucket): new}, call=lambda: self.s3.create_bucket(Bucket=bucket, **options))
        if new:
            self.versioning[bucket] = "Enabled"
        return answer

    def delete_bucket(self, bucket):
        """Deletes a bucket without objects."""
        answer = self.change({("bucket", bucket): None}, call=lambda: self.s3.delete_bucket(Bucket=bucket))
        self.versioning.pop(bucket, None)
        return answer

    def configure(self, bucket, item, value):
        """Gives a bucket a configuration, or takes it away if the value is none."""
        new = {name: text for name, text in self.state["bucket", bucket] if name != item}
        new = tuple(sorted([*new.items(), *([(item, value)] if value else [])]))
        answer = self.change({("bucket", bucket): new}, call=lambda: CONFIGURE[item](self.s3, bucket, value))
        if item == "versioning":
            self.versioning[bucket] = value
        return answer

    # Identities. The state of a user: UID, secret, policy; of a policy: its document; of service accounts: their keys.

    def call_admin(self, method, path, body=None):
        try:
            self.admin = self.admin or Admin(self.server)
            status, answer = self.admin.call(method, path, body)
        except OSError:
            self.admin = None
            raise
        if status not in (200, 201, 204):
            self.admin = None
            raise OSError(f"{method} {path}: {status} {answer}")
        return answer

    def put_user(self, name, secret, policy="readwrite"):
        """Adds a user, or gives it another secret and policy in two steps."""
        old = self.of(("user", name))
        if not old:
            body = {"name": name, "secret": secret, "posix_uid": self.user.uid, "posix_gid": self.user.gid,
                    "policy": policy}
            return self.change({("user", name): (secret, policy)},
                               call=lambda: self.call_admin("POST", "/v1/users", body))
        self.change({("user", name): (secret, old[1])},
                    call=lambda: self.call_admin("PUT", f"/v1/users/{name}/secret", {"secret": secret}))
        return self.change({("user", name): (secret, policy)},
                           call=lambda: self.call_admin("PUT", f"/v1/users/{name}/policy", {"policy": policy}))

    def remove_user(self, name):
        """Removes a user that has no service accounts."""
        return self.change({("user", name): None}, call=lambda: self.call_admin("DELETE", f"/v1/users/{name}"))

    def put_policy(self, name, resource):
        document = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{resource}"}]})
        body = {"name": name, "document": document, "replace": True}
        return self.change({("policy", name): document}, call=lambda: self.call_admin("POST", "/v1/policies", body))

    def remove_policy(self, name):
        return self.change({("policy", name): None}, call=lambda: self.call_admin("DELETE", f"/v1/policies/{name}"))

    def account(self, *arguments):
        """A command about the service accounts of the ledger's user."""
        done = self.server.command("service-account", *arguments, "--access-key", self.user.name,
                                   secret=self.user.secret)
        if done.returncode:
            raise OSError(done.stderr)
        return json.loads(done.stdout) if done.stdout.startswith("{") else None

    def add_account(self):
        at = ("accounts", self.user.name)
        answer = self.change({at: (*(self.of(at) or ()), ANY)}, call=lambda: self.account("add", "--json"))
        self.state[at] = tuple(sorted(self.state[at][:-1] + (answer["access_key"],)))
        return answer

    def remove_account(self, key):
        at = ("accounts", self.user.name)
        left = tuple(it for it in self.of(at) if it != key)
        return self.change({at: left or None}, call=lambda: self.account("remove", key))

    # Finding out.

    def verify(self, tidy=True):
        """Everything is as it was promised, or for what is in doubt as it may be; from now on it is as found. `tidy`: uploads
        that nobody was told of are aborted."""
        found = {}

        def look(key):
            if key not in found:
                found[key] = FIND[key[0]](self, key)
            return found[key]

        for group in self.doubts:
            states = [{key: look(key) for key in world} for world in group]
            if not any(all(fits(key, state[key], world[key]) for key in world) for state, world in zip(states, group)):
                raise Lost(f"neither done nor undone: {states[0]}; allowed is one of {group}")
            for key, state in states[0].items():
                self.settle(key, state)
        self.doubts = []
        for key, promised in list(self.state.items()):
            if not fits(key, look(key), promised):
                raise Lost(f"{key} is {found[key]}, promised was {promised}")
        self.verify_listings()
        if tidy:
            self.abort_unknown()

    def verify_listings(self):
        """No key is missing in the listings, none is there twice, and none that nobody made."""
        expected = collections.defaultdict(list)
        for key, versions in self.state.items():
            if key[0] == "object" and versions[0][1]:
                expected[key[1]].append(key[2])
        buckets = {key[1] for key in self.state if key[0] in ("object", "bucket")}
        for bucket in buckets:
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=self.prefix)
            listed = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
            if listed != sorted(expected[bucket], key=str.encode):
                raise Lost(f"{bucket} lists {listed}, promised was {sorted(expected[bucket])}")

    def abort_unknown(self):
        """Uploads that were created without an answer."""
        for bucket in {key[1] for key in self.state if key[0] in ("object", "bucket")}:
            known = {key[3] for key in self.state if key[0] == "upload" and key[1] == bucket}
            pages = self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=self.prefix)
            for upload in [upload for page in pages for upload in page.get("Uploads", [])]:
                if upload["UploadId"] not in known:
                    self.s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def find_object(self, at):
        _, bucket, key = at
        if bucket not in self.versioning:
            content = self.find_content(bucket, key)
            return (("null", content),) if content else ()
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
        versions, latest = [], None
        for page in pages:
            for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
                if entry["Key"] != key:
                    continue
                is_marker = "Size" not in entry
                content = None if is_marker else self.find_content(bucket, key, entry["VersionId"], entry["IsLatest"])
                versions.append((entry["VersionId"], content))
                if entry["IsLatest"]:
                    assert latest is None, f"two are the latest of {key}"
                    latest = versions[-1]
        if versions and latest is None:
            raise Lost(f"no version of {key} is the latest: {versions}")
        ids = [version for version, _ in versions]
        if len(set(ids)) < len(ids):
            raise Lost(f"a version of {key} is there twice: {ids}")
        # Of the others the order is the listing's own.
        return tuple(sorted(versions, key=lambda version: (version != latest, version[0])))

    def find_content(self, bucket, key, version=None, is_current=True):
        """An object, checked by itself: it is whole, and belongs to its owner."""
        options = {"VersionId": version} if version else {}
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=key, **options)
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        body, metadata = answer["Body"].read(), answer["Metadata"]
        if "name" not in metadata:
            raise Lost(f"{key} has lost its metadata, and has {len(body)} bytes")
        name, size = metadata["name"], int(metadata["size"])
        if body != generate(name, size):
            raise Lost(f"{key} is not the {size} bytes that {name} was: {len(body)} bytes")
        if "-" not in answer["ETag"] and answer["ETag"] != f'"{hashlib.md5(body).hexdigest()}"':
            raise Lost(f"{key} has another ETag than its content: {answer['ETag']}")
        if is_current:
            stat = file_of(self.server.path(bucket, key)).stat()
            if (stat.st_uid, stat.st_gid) != (self.user.uid, self.user.gid):
                raise Lost(f"{key} belongs to {stat.st_uid}:{stat.st_gid}")
        tags = None
        if answer.get("TagCount"):
            tags = self.s3.get_object_tagging(Bucket=bucket, Key=key, **options)["TagSet"][0]["Value"]
        return Content(name, size, tags)

    def find_upload(self, at):
        _, bucket, key, upload = at
        if at not in self.state:
            return None
        try:
            pages = self.s3.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
            parts = tuple((part["PartNumber"], part["ETag"]) for page in pages for part in page.get("Parts", []))
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchUpload":
                return None
            raise
        return self.state[at][:2] + (parts,)

    def find_bucket(self, at):
        try:
            self.s3.head_bucket(Bucket=at[1])
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        found = []
        for item, find in FIND_CONFIGURATION.items():
            try:
                value = find(self.s3, at[1])
            except botocore.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
                value = None
            if value:
                found.append((item, value))
        return tuple(sorted(found))

    def find_user(self, at):
        users = {user["name"]: user for user in self.call_admin("GET", "/v1/users")["users"]}
        if at[1] not in users:
            return None
        # Which of its secrets it has is found out by trying.
        secrets = {world[at][0] for group in self.doubts for world in group if world.get(at)}
        if at in self.state:
            secrets.add(self.state[at][0])
        for secret in secrets:
            user = self.user.__class__(at[1], secret, self.user.uid, self.user.gid)
            try:
                self.server.s3(user).list_buckets()
                return secret, users[at[1]]["policy"]
            except botocore.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "SignatureDoesNotMatch":
                    return secret, users[at[1]]["policy"]
        return None, users[at[1]]["policy"]

    def find_policy(self, at):
        names = {policy["name"] for policy in self.call_admin("GET", "/v1/policies")["policies"]}
        return self.call_admin("GET", f"/v1/policies/{at[1]}")["document"] if at[1] in names else None

    def find_accounts(self, _):
        keys = sorted(account["access_key"] for account in self.account("list", "--json")["service_accounts"])
        return tuple(keys) or None


def fits(key, found, promised):
    """Whether what was found is what was promised; an id that nobody was told of may be any."""
    if key[0] not in ("object", "accounts") or not found or not promised:
        return found == promised
    if len(found) != len(promised):
        return False
    if key[0] == "accounts":
        return set(promised) - {ANY} <= set(found)
    known = {version for version, _ in promised}

    def same(one, other):
        return one[1] == other[1] and (one[0] == other[0] or (other[0] == ANY and one[0] not in known | {"null"}))

    if not same(found[0], promised[0]):
        return False
    left = list(found[1:])
    for version in promised[1:]:
        match = next((it for it in left if same(it, version)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def file_of(path):
    """The file of an object, which may stand in the directory of its name."""
    return path / ".sgate~@" if path.is_dir() else path


FIND = {"object": Ledger.find_object, "upload": Ledger.find_upload, "bucket": Ledger.find_bucket,
        "user": Ledger.find_user, "policy": Ledger.find_policy, "accounts": Ledger.find_accounts}


def configure_tagging(s3, bucket, value):
    if not value:
        return s3.delete_bucket_tagging(Bucket=bucket)
    return s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "t", "Value": value}]})


def configure_policy(s3, bucket, value):
    if not value:
        return s3.delete_bucket_policy(Bucket=bucket)
    return s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Sid": value, "Effect": "Deny", "Principal": "*", "Action": "s3:GetBucketCORS",
         "Resource": f"arn:aws:s3:::{bucket}"}]}))


def configure_versioning(s3, bucket, value):
    return s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": value})


CONFIGURE = {"tagging": configure_tagging, "policy": configure_policy, "versioning": configure_versioning}
FIND_CONFIGURATION = {
    "tagging": lambda s3, bucket: s3.get_bucket_tagging(Bucket=bucket)["TagSet"][0]["Value"],
    "policy": lambda s3, bucket: json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Sid"],
    "versioning": lambda s3, bucket: s3.get_bucket_versioning(Bucket=bucket).get("Status"),
}


class Load(threading.Thread):
    """A ledger that makes changes by chance until something goes wrong, or until `stop`."""

    def __init__(self, ledger, bucket, versions, seed, sizes, identities=False, keys=16):
        super().__init__(daemon=True)
        self.ledger, self.bucket, self.versions, self.sizes, self.keys = ledger, bucket, versions, sizes, keys
        self.chance, self.identities = random.Random(seed), identities
        self.stop, self.error = threading.Event(), None

    def run(self):
        while not self.stop.is_set():
            try:
                self.step()
            except Exception as error:  # What it means is for the test to say.
                self.error = error
                return

    def key(self, number=None):
        # `d-1` is an object and a directory of others.
        number = self.chance.randrange(self.keys) if number is None else number
        return self.ledger.prefix + ["/a-{0}", "/d-{1}/k-{0}", "/d-{1}", "/e-{1}/f/k-{0}"][number % 4].format(
            number, number % 3)

    def existing(self):
        keys = [key[2] for key, versions in self.ledger.state.items()
                if key[0] == "object" and key[1] == self.bucket and versions[0][1]]
        return self.chance.choice(sorted(keys)) if keys else None

    def step(self):
        """One change, or one upload in parts."""
        ledger, bucket, chance = self.ledger, self.bucket, self.chance
        if self.identities:
            return self.change_identities()
        existing, roll = self.existing(), chance.random()
        if roll < 0.5 or not existing:
            return ledger.put(bucket, self.key(), chance.choice(self.sizes), chance.random() < 0.1,
                              chance.choice([None, None, "red", "green"]))
        if roll < 0.6:
            to = self.key()
            return ledger.copy(bucket, existing, to) if to != existing else None
        if roll < 0.64:
            sizes = chance.choice([[PART, 1234], [PART, PART, 0], [PART + 1, PART], [3000]])
            order = list(range(1, len(sizes) + 1))
            chance.shuffle(order)
            return ledger.upload(bucket, self.key(), sizes, order)
        if roll < 0.72:
            return ledger.tag(bucket, existing, chance.choice(["red", "green", "blue"]))
        if self.versions and roll < 0.85:
            version, _ = chance.choice(ledger.of(("object", bucket, existing)))
            return ledger.delete_version(bucket, existing, version)
        if not self.versions and roll < 0.76:
            to = self.key()
            return ledger.rename(bucket, existing, to) if to != existing else None
        if not self.versions and roll < 0.85:
            return ledger.delete_many(bucket, sorted({existing, self.key(), self.key()}))
        return ledger.delete(bucket, existing)

    def change_identities(self):
        """One change of buckets, their configuration, users, policies or service accounts."""
        ledger, chance = self.ledger, self.chance
        name = f"{ledger.prefix}-{chance.randrange(4)}"
        roll = chance.randrange(5)
        if roll == 0:
            if ledger.of(("bucket", name)) is None:
                return ledger.create_bucket(name)
            return ledger.delete_bucket(name)
        if roll == 1:
            if ledger.of(("bucket", name)) is None:
                return ledger.create_bucket(name)
            return ledger.configure(name, chance.choice(["tagging", "policy"]), chance.choice([None, "one", "two"]))
        if roll == 2:
            if ledger.of(("user", name)) and chance.random() < 0.3:
                return ledger.remove_user(name)
            return ledger.put_user(name, f"Secret-{ledger.name()}", chance.choice(["readwrite", "readonly"]))
        if roll == 3:
            if ledger.of(("policy", name)) and chance.random() < 0.3:
                return ledger.remove_policy(name)
            return ledger.put_policy(name, ledger.name())
        accounts = ledger.of(("accounts", ledger.user.name)) or ()
        if accounts and chance.random() < 0.5:
            return ledger.remove_account(accounts[0])
        return ledger.add_account()
