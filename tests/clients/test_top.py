"""`sluicegate top`: on a terminal, into a pipe, and once."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pytest

import sluicegate
from sluicegate import wait_until
from test_monitor import monitored_server


@pytest.fixture(scope="module")
def busy():
    """A server with a client that keeps asking."""
    with monitored_server() as server:
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        s3.put_object(Bucket="photos", Key="k", Body=bytes(10_000))
        stop = threading.Event()

        def keep_asking():
            own = server.s3()
            while not stop.is_set():
                own.get_object(Bucket="photos", Key="k")["Body"].read()
                try:
                    own.head_object(Bucket="photos", Key="missing")
                except Exception:
                    pass

        asking = threading.Thread(target=keep_asking)
        asking.start()
        yield server
        stop.set()
        asking.join()


def rows(text):
    """The cells of each operation, by its name."""
    table = text[text.index("OPERATION"):].splitlines()[1:]
    return {line.split()[0]: re.split(r"\s{2,}", line.strip()) for line in table if line.strip()}


def test_one_picture(busy):
    text = busy.admin("top", "--once")
    assert "\x1b" not in text, "no control characters: it may go to a file"
    found = rows(text)
    name, rate, errors, *times = found["GetObject"]
    assert float(rate) > 0 and float(errors) == 0
    assert all(re.fullmatch(r"[0-9.]+ (us|ms|s)", time) for time in times) and len(times) == 4
    assert float(found["HeadObject"][2]) > 0
    assert "PutObject" not in found, "it is about the interval, not about all that was"
    assert "NoSuchKey" in text and f"{busy.driver}, up " in text
    assert re.search(r"out [1-9][0-9.]* (B|KB|MB)/s", text)
    for core in range(busy.workers):
        assert f"{core}: " in text
    assert "signing_keys" in text


def test_the_address_for_monitors_serves_as_well(busy):
    assert "GetObject" in busy.admin("top", "--once", "--interval", "1s", "--monitor", f"127.0.0.1:{busy.monitor}")
    assert "--monitor" in busy.refused("top", "--once", "--monitor", "127.0.0.1:1")


def test_a_server_that_does_not_run_is_told(tmp_path):
    done = subprocess.run([sluicegate.BINARY, "top", "--root", tmp_path], capture_output=True, text=True,
                          timeout=sluicegate.PATIENCE, env=sluicegate.environment_without_settings())
    assert done.returncode == 1 and "sluicegate serve" in done.stderr and done.stdout == ""


def start(server, **streams):
    environment = {**sluicegate.environment_without_settings(), "SLUICEGATE_ROOT": str(server.root)}
    return subprocess.Popen([sluicegate.BINARY, "top"], env=environment, stdin=subprocess.DEVNULL, **streams)


def test_pictures_follow_each_other_in_a_pipe_until_nobody_reads(busy):
    top = start(busy, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    text = b""
    while text.count(b"OPERATION") < 2:
        piece = top.stdout.read1()
        assert piece, "it goes on"
        text += piece
    assert b"\x1b" not in text
    top.stdout.close()
    assert top.wait(sluicegate.PATIENCE) == 0
    assert top.stderr.read() == b""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_terminal_is_left_as_it_was(busy, how):
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
    before = termios.tcgetattr(its)
    top = start(busy, stdout=its, stderr=its)
    text = bytearray()

    def read():
        try:
            while piece := os.read(ours, 65536):
                text.extend(piece)
        except OSError:
            pass  # The other end is closed.

    reading = threading.Thread(target=read)
    reading.start()
    wait_until(lambda: text.count(b"OPERATION") >= 2, "two pictures")
    top.send_signal(how)
    assert top.wait(sluicegate.PATIENCE) == 0
    assert termios.tcgetattr(its) == before
    os.close(its)
    reading.join()
    os.close(ours)
    text = bytes(text)
    assert text.startswith(b"\x1b[?1049h\x1b[?25l"), "a screen of its own, without a cursor"
    assert text.endswith(b"\x1b[?25h\x1b[?1049l"), "and back"
    picture = text.split(b"\x1b[H")[1]
    lines = re.sub(rb"\x1b\[[0-9?;]*[A-Za-z]|\r", b"", picture).decode().split("\n")
    assert len(lines) <= 12 and all(len(line) <= 60 for line in lines), "it fits the window"


def test_a_server_that_comes_back_is_shown_again(busy):
    with sluicegate.Server() as server:
        top = start(server, stdout=subprocess.PIPE)
        assert b"OPERATION" in top.stdout.read1()
        server.stop()
        wait_until(lambda: b"there is no server" in top.stdout.read1(), "the message")
        server.start()
        wait_until(lambda: b"OPERATION" in top.stdout.read1(), "a picture")
        top.terminate()
        assert top.wait(sluicegate.PATIENCE) == 0
        top.stdout.close()
