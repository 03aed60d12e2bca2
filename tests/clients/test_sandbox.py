"""What the server gives up at start: capabilities, files outside its directories, system calls; the unit for systemd and
the doctor.

The other tests run with the same sandbox (`auto` is the default), so that what is given up is needed by none of them.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest

from conftest import needs_root
from sluicegate import BINARY, Server, scratch, wait_until

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, SETGID, SETUID = (1 << number for number in (0, 1, 2, 3, 6, 7))
SERVING = CHOWN | DAC_OVERRIDE | FOWNER | SETGID | SETUID


def status_of(task: pathlib.Path) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)


@needs_root
def test_every_thread_keeps_what_serving_takes_and_no_more():
    with Server(options=["--sandbox", "require"]) as server:
        names = set()
        for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
            status = status_of(task)
            names.add(status["Name"].strip())
            allowed = SERVING | (DAC_READ_SEARCH if status["Name"].strip() == "clean-up" else 0)
            for kind in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
                assert int(status[kind], 16) & ~allowed == 0, (status["Name"], kind, status[kind])
            assert status["NoNewPrivs"].strip() == "1", status["Name"]
            assert status["Seccomp"].strip() == "2", status["Name"]
        assert {"worker-0", "commit-0"} <= names, names


@needs_root
def test_a_request_reaches_no_file_outside(tmp_path):
    """Landlock is what stands when all else fails: seen by a log in a place that was not named at start."""
    place = scratch()
    logs, outside = place / "logs", place / "outside"
    logs.mkdir()
    outside.mkdir()
    with Server(options=["--sandbox", "require", "--access-log", logs / "access.json"]) as server:
        # The directory of the log is one of the server's places; what stands beside it is not.
        logs.rename(place / "moved")
        logs.symlink_to(outside)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "could not be read again" in server.log(), "the refusal to open the log")
        assert list(outside.iterdir()) == []
    shutil.rmtree(place)


def test_off_changes_nothing():
    with Server(options=["--sandbox", "off"]) as server:
        status = status_of(pathlib.Path(f"/proc/{server.process.pid}"))
        assert status["Seccomp"].strip() == status_of(pathlib.Path("/proc/self"))["Seccomp"].strip()


def test_the_supervisor_is_told_when_the_server_serves_and_when_it_stops(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(30)
        with Server(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
            assert supervisor.recv(100) == b"READY=1"
            assert server.process.poll() is None
        assert supervisor.recv(100) == b"STOPPING=1"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("arguments", [[], ["--user", "daemon"], ["--config", "/etc/sluicegate.toml"]])
def test_the_unit_is_sound_and_its_exposure_low(tmp_path, arguments):
    unit = tmp_path / "sluicegate.service"
    unit.write_bytes(subprocess.check_output([BINARY, "systemd-unit", "--root", "/srv/s3", *arguments]))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    complaints = [line for line in verified.stderr.splitlines() if "sluicegate.service" in line]
    assert not complaints, complaints
    judged = subprocess.run(["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True)
    level = re.search(r"Overall exposure level.*: ([0-9.]+)", judged.stdout)
    assert level and float(level[1]) <= 3.0, judged.stdout


def test_the_doctor_says_what_a_directory_lacks(tmp_path):
    done = subprocess.run([BINARY, "doctor", "--json", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert findings["file system"]["ok"] and findings["kernel"]["found"] == os.uname().release
    assert all(finding["ok"] == (finding["advice"] == "") for finding in findings.values())
    assert list(tmp_path.iterdir()) == [], "the doctor leaves nothing behind"
    absent = subprocess.run([BINARY, "doctor", tmp_path / "absent"], capture_output=True, text=True)
    assert absent.returncode == 1 and "cannot be served" in absent.stderr and "LACK" in absent.stdout
