"""The AWS SDK for JavaScript (tests/sdk-js) against the server, over HTTP and TLS; then the files it left behind."""

import subprocess

import pytest

from conftest import numbers
from programs import MIB, find, keys, run
from sluicegate import REPOSITORY
from test_sdk_rust import SIZES, content
from test_sizes import check_file

PROGRAM = REPOSITORY / "tests/sdk-js/main.js"


def test_sdk_js(server, tmp_path):
    node = find("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"the SDK needs Node.js 20, this is {version}")
    if not PROGRAM.with_name("node_modules").exists():
        pytest.skip("the SDK is not installed: npm is missing")
    bucket = f"bucket-{next(numbers)}"
    environment = {**keys(server), "ENDPOINT": server.endpoint, "BUCKET": bucket, "WORK": str(tmp_path)}
    if server.certificate:
        environment["NODE_EXTRA_CA_CERTS"] = str(server.certificate.authority)
    told = run(node, "--no-warnings", PROGRAM, environment=environment)
    assert len([line for line in told.splitlines() if line.endswith(" holds")]) == 2 * len(SIZES) + 5 + 2 + 6, told
    for size in SIZES:
        body = content(size)
        check_file(server, bucket, f"whole/{size}", body)
        check_file(server, bucket, f"streamed/{size}", body)
    check_file(server, bucket, "checksum/CRC64NVME", content(10_000))
    check_file(server, bucket, f"uploaded/{12 * MIB + 5}", content(12 * MIB + 5))
    check_file(server, bucket, "presigned/é +%&=?.txt", content(100_000))
    assert not server.path(bucket, "gone").exists() and not server.path(bucket, "copies").exists()
    assert server.system_files() == []
