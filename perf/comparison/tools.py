"""Load programs of other people, where they are on the PATH: what they say of the same server.

None of them is as cheap as perf/load: on one core they show what a client with an SDK gets, not what the server can do.
"""

import os
import re
import shutil
import subprocess

from .bench import KEYS, LOAD_CORE
from .rows import Row

# warp creates its bucket, and takes its keys from variables.
WARP = {f"warp {work}": ["warp", work, "--host", "{address}", "--bucket", "{bucket}", "--obj.size", "4KiB",
                         "--concurrent", "64", "--duration", "{warp_seconds}s", "--noclear", "--no-color", *more]
        for work, more in {"put": [], "get": ["--objects", "1000"], "stat": ["--objects", "1000"],
                           "mixed": ["--objects", "1000"]}.items()}
# Of less it makes no report.
WARP_SECONDS_MIN = 15
# It takes keys only as arguments, so it is run with those of the server that lives for this one run. (Of its kind
# s3-benchmark signs with version 2 of the signatures, and counts refusals as its speed.)
OTHERS = {
    "hsbench": ["hsbench", "-a", "{access_key}", "-s", "{secret_key}", "-u", "http://{address}", "-t", "64", "-d",
                "{seconds}", "-z", "4K", "-b", "1", "-bp", "{bucket}-hs"],
}
# What they print of rates and latencies.
SAID = re.compile(r"average|speed|reqs?:|throughput|ops/s|IO/s|operation:|obj/s|error", re.IGNORECASE)
# What hsbench says of every second, and of what it does before.
INTERIM = re.compile(r"Int: \d|Mode: B")


def commands(address, bucket, seconds, own):
    """The commands of the programs that are there, by name. `own`: the server is this comparison's."""
    known = {**WARP, **(OTHERS if own else {})}
    values = {"address": address, "bucket": bucket, "seconds": max(1, int(seconds)),
              "warp_seconds": max(WARP_SECONDS_MIN, int(seconds)),
              "access_key": KEYS["AWS_ACCESS_KEY_ID"], "secret_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
    return {name: [word.format(**values) for word in command] for name, command in known.items()
            if shutil.which(command[0])}


def run(bench):
    """What each program says, as lines."""
    options = bench.options
    if options.endpoint:
        return run_all(bench, options.endpoint, own=False)
    with bench.server(Row("tools", "")):
        return run_all(bench, f"127.0.0.1:{bench.port}", own=True)


def run_all(bench, address, own):
    keys = {**KEYS, **os.environ} if bench.options.endpoint else KEYS
    environment = {**os.environ, "WARP_ACCESS_KEY": keys["AWS_ACCESS_KEY_ID"],
                   "WARP_SECRET_KEY": keys["AWS_SECRET_ACCESS_KEY"]}
    said = {}
    for name, command in commands(address, bench.options.bucket, bench.options.seconds, own).items():
        done = subprocess.run(["taskset", "-c", LOAD_CORE, *command], env=environment, cwd=bench.scratch,
                              capture_output=True, text=True)
        said[name] = spoken(done.stdout + done.stderr) or [f"ended with {done.returncode} and said nothing"]
    return said


def spoken(output):
    """The lines with rates and latencies, each once."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output)]
    return list(dict.fromkeys(line for line in lines if SAID.search(line) and not INTERIM.search(line)))
