"""Tables for people, and the record for programs."""

import datetime
import json
import os
import pathlib
import platform
import subprocess

from .bench import PERF, REPOSITORY
from .rows import limited_by_load, verdicts

# Heading, figure, digits.
COLUMNS = [("rate", "rate", 2), ("floor", "floor rate", 2), ("ratio", "ratio", 2), ("cpu us", "cpu us", 1),
           ("floor us", "floor cpu us", 1), ("s/GiB", "s/GiB", 2), ("p50 us", "p50 us", 0), ("p99 us", "p99 us", 0),
           ("p99/p50", "p99/p50", 1), ("RSS", "RSS MiB", 0), ("peak", "peak MiB", 0), ("spread", "spread", 2)]

# It decides how bodies are paced: on loopback bbr halves the rate of large ones, of which cubic keeps all.
CONGESTION = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")


def figure(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(head, rows):
    """Columns that are as wide as they have to be; the first one to the left."""
    widths = [max(len(str(row[column])) for row in [head, *rows]) for column in range(len(head))]
    lines = [[str(cell).rjust(width) if index else str(cell).ljust(width)
              for index, (cell, width) in enumerate(zip(row, widths))] for row in [head, *rows]]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def text_of(about, rows, results, paths, tools):
    """The whole report."""
    lines = [f"{name} {value}" for name, value in about.items()] + [""]
    body = []
    for row in rows:
        figures = results.get(row.name)
        if figures is None:
            continue
        notes = [figures.get("floor", "")]
        notes += ["THE LOAD WAS THE LIMIT"] if limited_by_load(figures) else []
        notes += ["THE LOAD WAS THE FLOOR'S LIMIT"] if limited_by_load(figures, "floor ") else []
        body.append([row.name, *(figure(figures.get(name), digits) for _, name, digits in COLUMNS),
                     "; ".join(filter(None, notes))])
    lines += [table(["row", *(heading for heading, _, _ in COLUMNS), ""], body), ""]
    goals = [[name, goal, figure(value, 2), {True: "reached", False: "missed", None: "not measured"}[reached]]
             for name, goal, value, reached in verdicts(rows, results)]
    if goals:
        lines += [table(["row", "goal", "found", ""], goals), ""]
    if "idle-10k" in results and "RSS MiB" in results["idle-10k"]:
        found = results["idle-10k"]
        each = f", {(found['RSS MiB'] - found['idle MiB']) * 1024 / 10_000:.1f} KiB each" if "idle MiB" in found else ""
        lines += [f"memory: {figure(found.get('idle MiB'))} MiB idle, {figure(found['RSS MiB'])} MiB with 10,000 idle "
                  f"connections{each}", ""]
    listing = [[name, *(figure(results[name].get(of), 0) for of in ("first us", "p50 us", "last us"))]
               for name in ("list-10k", "list-1m") if name in results]
    if listing:
        lines += [table(["pages", "first tenth us", "all us", "last tenth us"], listing), ""]
    if paths:
        lines += [table(["write path", "GiB/s", "s/GiB"],
                        [[path, figure(found.get("rate"), 2), figure(found.get("s/GiB"), 2)]
                         for path, found in paths.items()]), ""]
    for name, said in tools.items():
        lines += [f"{name}:", *(f"    {line}" for line in said), ""]
    return "\n".join(lines)


def about(root, options):
    """What has to be known of a measurement to compare it with another."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    server = {"endpoint": options.endpoint}
    if not options.endpoint:
        build = "as given" if options.server else "cargo build --release"
        server = {"commit": said("git", "-C", REPOSITORY, "describe", "--always", "--dirty"),
                  "build": "guided by a profile (perf/release)" if options.guided else build}
    return {**server, "date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}", "kernel": platform.release(),
            "cpu": f"{model}, {os.cpu_count()} cores", "rustc": said("rustc", "--version"),
            "congestion control": CONGESTION.read_text().strip(),
            "file system": said("findmnt", "-no", "FSTYPE,SOURCE,OPTIONS", "-T", root),
            "medians of": f"{options.rounds} alternating runs of {options.seconds:g} s"}


def said(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return done.stdout.strip() or "?"


def record(name, text, about, results, runs, directory=PERF / "record"):
    """Keeps a measurement: the report, and every figure of every run."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.txt").write_text(text)
    content = {"about": about, "rows": results, "runs": runs}
    (directory / f"{name}.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
