"""The AWS SDK for Rust (tests/sdk-rust) against the server, over HTTP and TLS; then the files it left behind."""

import os
import subprocess

from conftest import numbers
from sluicegate import PATIENCE, REPOSITORY, environment_without_settings
from test_sizes import check_file

PROGRAM = os.environ.get("SLUICEGATE_SDK_RUST", REPOSITORY / "target/sdk-rust/debug/sdk-rust")
SIZES = [0, 1, 4095, 4096, 4097, 100_000, 8 << 20]


def content(size):
    """The same bytes as the program's."""
    return bytes((index * 7 + index // 251) & 255 for index in range(size))


def test_sdk_rust(server, tmp_path):
    user, bucket = server.users["writer"], f"bucket-{next(numbers)}"
    environment = {
        **environment_without_settings(), "ENDPOINT": server.endpoint, "BUCKET": bucket, "ACCESS_KEY": user.name,
        "SECRET_KEY": user.secret, "WORK": str(tmp_path), "RUST_BACKTRACE": "1",
    }
    if server.certificate:
        environment["CERTIFICATE"] = str(server.certificate.authority)
    done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 2 * len(SIZES) + 5 + 5 + 2, done.stdout
    for size in SIZES:
        body = content(size)
        check_file(server, bucket, f"whole/{size}", body)
        check_file(server, bucket, f"streamed/{size}", body)
    check_file(server, bucket, "multipart/object", content((12 << 20) + 5))
    assert not server.path(bucket, "metadata").exists()
    assert server.system_files() == []
