"""File systems to measure on: the one of a given directory, or a new one in an image on it."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile

IMAGE_BYTES = 32 << 30
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-i", "8192"], "xfs": ["mkfs.xfs", "-q", "-f"]}


@contextlib.contextmanager
def file_system(kind, root):
    """A directory on a file system of this kind; without a kind, `root` itself.

    The image is a sparse file below `root`, behind a loop device that passes writes to the disk without caching them a
    second time. What the loop device costs, server and floors pay alike.
    """
    if kind is None:
        yield pathlib.Path(root)
        return
    with contextlib.ExitStack() as stack:
        image = stack.enter_context(tempfile.NamedTemporaryFile(prefix="sluicegate-perf-", dir=root))
        image.truncate(IMAGE_BYTES)
        device = run("losetup", "--find", "--show", "--direct-io=on", image.name)
        stack.callback(run, "losetup", "--detach", device)
        run(*MAKE[kind], device)
        mounted = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-perf-"))
        run("mount", device, mounted)
        stack.callback(run, "umount", mounted)
        yield pathlib.Path(mounted)


def run(*command):
    path = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=path)
    if done.returncode:
        sys.exit(f"--file-system needs root, losetup and mkfs: {' '.join(command)}: {done.stderr}")
    return done.stdout.strip()
