"""Servers that several tests share. Each test makes a bucket of its own, so that they do not meet."""

import itertools
import os
import shutil

import pytest

import sluicegate

# Nothing outside may change what the clients send.
for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

needs_root = pytest.mark.skipif(not sluicegate.IS_ROOT, reason="needs root")


def with_users(server):
    """The users most tests need: one that may write, and one for each other policy."""
    server.add_user("writer", "readwrite", number=1)
    server.add_user("other", "readwrite", number=2)
    return server


@pytest.fixture(scope="session")
def certificate():
    directory = sluicegate.scratch()
    yield sluicegate.Certificate(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def http():
    with sluicegate.Server(options=["--domain", "s3.test,deep.s3.test"]) as server:
        yield with_users(server)


@pytest.fixture(scope="session")
def https(certificate):
    with sluicegate.Server(certificate=certificate) as server:
        yield with_users(server)


@pytest.fixture(scope="session")
def http_epoll():
    with sluicegate.Server(driver="epoll") as server:
        yield with_users(server)


@pytest.fixture(scope="session")
def https_epoll(certificate):
    with sluicegate.Server(certificate=certificate, driver="epoll") as server:
        yield with_users(server)


@pytest.fixture(params=["http", "https"])
def server(request):
    """The same over HTTP and over TLS, where clients frame their uploads otherwise."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["http", "https", "http_epoll", "https_epoll"])
def any_server(request):
    """As `server`, on both drivers."""
    return request.getfixturevalue(request.param)


numbers = itertools.count(1)


def new_bucket(server):
    name = f"bucket-{next(numbers)}"
    server.s3().create_bucket(Bucket=name)
    return name


@pytest.fixture
def bucket(server):
    return new_bucket(server)


@pytest.fixture(autouse=True)
def no_upload_is_left(request):
    """Uploads that a test leaves unfinished on a shared server end with it: other tests look for leftovers."""
    yield
    for name in {"http", "https", "http_epoll", "https_epoll"} & set(request.fixturenames):
        server = request.getfixturevalue(name)
        s3 = server.s3()
        for directory in (server.root / ".sluicegate/uploads").iterdir():
            for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=directory.name):
                for upload in page.get("Uploads", []):
                    s3.abort_multipart_upload(Bucket=directory.name, Key=upload["Key"], UploadId=upload["UploadId"])


@pytest.fixture
def s3(server):
    return server.s3()
