"""What is compared: the rows, their floors and their goals. Nothing here runs anything."""

import dataclasses
import statistics

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a figure of a row has to be."""

    figure: str
    relation: str
    bound: float

    def reached(self, value):
        return value >= self.bound if self.relation == ">=" else value <= self.bound

    def __str__(self):
        return f"{self.figure} {self.relation} {self.bound:g}"


def at_least(figure, bound):
    return Goal(figure, ">=", bound)


def at_most(figure, bound):
    return Goal(figure, "<=", bound)


# A row whose slowest hundredth takes more than so many times its median has a queue somewhere.
SPREAD = at_most("p99/p50", 5)


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    `load` are the arguments of perf/load. Each of `floors` is one way to do the same work, as arguments of perf/floor: the
    one with the best median counts. `server` and settings in place of a floor is the same server with these, as the row has
    its own in `settings`: what a setting costs. `kind` says how the row is run: `load` (a fresh root, unless objects are read),
    `cold` (without page cache), `list`, `removal`, `complete`, `idle`. `rate` is the figure that is compared; `made` is
    the number of objects that a second may make, for rows in which every key is new.
    """

    name: str
    load: str
    floors: tuple = ()
    goals: tuple = ()
    kind: str = "load"
    rate: str = "per_second"
    durability: str = "commit"
    made: int = 0
    slow: bool = False
    settings: str = ""

    @property
    def reads(self):
        """Whether its objects are made once and serve all rounds."""
        return self.load.split()[0] in ("get", "head", "range", "list")


LARGE = f"--size {64 * MIB}"
RECEIVE = "receive --hash"

ROWS = [
    Row("get-4k", "get --size 4096 --connections 64", ("reply --size 4096",),
        (at_least("ratio", 0.60), at_most("cpu us", 8), SPREAD)),
    # More objects than any cache of descriptors should hold.
    Row("get-4k-100k", "get --size 4096 --connections 64 --objects 100000", ("reply --size 4096",), (SPREAD,)),
    Row("head-4k", "head --size 4096 --connections 64", ("reply --size 4096",),
        (at_least("ratio", 0.65), at_most("cpu us", 6.5), SPREAD)),
    Row("put-4k", "put --size 4096 --connections 64",
        ("publish --size 4096 --group 64", "publish --size 4096 --group 64 --path cache"),
        (at_least("ratio", 0.60), SPREAD), made=20_000),
    # The same server with a flush for each object: what sharing flushes buys (see RELATIONS).
    Row("put-4k-each", "put --size 4096 --connections 64", ("publish --size 4096 --group 1",), durability="each",
        made=5_000),
    Row("put-4k-none", "put --size 4096 --connections 64",
        ("publish --size 4096 --group 0", "publish --size 4096 --group 0 --path cache"),
        (at_least("ratio", 0.60), SPREAD), durability="none", made=40_000),
    # A thousand keys that are there already.
    Row("put-4k-again", "put --size 4096 --connections 64",
        ("publish --size 4096 --group 64 --names 1000", "publish --size 4096 --group 64 --path cache --names 1000"),
        (SPREAD,)),
    Row("put-64m-1", f"put {LARGE} --connections 1 --objects 4 --unsigned-payload", (f"{RECEIVE} md5",),
        (at_least("ratio", 0.95), SPREAD), rate="gib_per_second"),
    Row("put-64m-16", f"put {LARGE} --connections 16 --objects 16 --unsigned-payload", (f"{RECEIVE} none",),
        (at_least("ratio", 0.70), SPREAD), rate="gib_per_second"),
    Row("put-64m-16-signed", f"put {LARGE} --connections 16 --objects 16", (f"{RECEIVE} sha256",),
        (at_least("ratio", 0.80), SPREAD), rate="gib_per_second"),
    Row("get-64m-4-warm", f"get {LARGE} --connections 4 --objects 4", ("send --path direct", "send --path cache"),
        (at_least("ratio", 0.90), SPREAD), rate="gib_per_second"),
    Row("get-64m-4-cold", f"get {LARGE} --connections 4 --objects 48 --once",
        ("send --path direct", "send --path cache"), (at_least("ratio", 0.90), SPREAD), kind="cold",
        rate="gib_per_second"),
    Row("range-64k", f"range {LARGE} --range 65536 --connections 16 --objects 4", (f"reply --size {64 * KIB}",),
        (SPREAD,)),
    # All pages may cost twice what reading the directory, the stat data and the records costs.
    Row("list-10k", "list --size 0 --objects 10000", ("list",), (at_least("ratio", 0.5),), kind="list",
        rate="keys_per_second", durability="none"),
    Row("list-1m", "list --size 0 --objects 1000000", ("list",), (at_least("ratio", 0.5),), kind="list",
        rate="keys_per_second", durability="none", slow=True),
    Row("delete-many", "delete-many --size 4096 --connections 1 --objects 10000", ("unlink --batch 1000",),
        (at_least("ratio", 1 / 1.3), SPREAD), kind="removal", rate="keys_per_second"),
    Row("complete-50m", f"complete --objects 10 --size {5 * MIB}", (), (at_most("p50 us", 10_000),), kind="complete",
        rate="per_second"),
    Row("complete-50g", f"complete --objects 10 --size {5 * GIB}", (), (at_most("p50 us", 10_000),), kind="complete",
        rate="per_second"),
    Row("complete-50g-10k", f"complete --objects 10000 --size {5 * MIB}", (), (at_most("p50 us", 10_000),),
        kind="complete", rate="per_second"),
    Row("mixed-64k", "mixed --size 65536 --connections 32 --objects 2000", (), (SPREAD,)),
    Row("multipart-8m", "multipart --size 8388608 --connections 4 --objects 8 --unsigned-payload", (), (SPREAD,),
        rate="gib_per_second"),
    # What settings cost: beside the same server without them.
    Row("get-4k-sandbox", "get --size 4096 --connections 64", ("server --sandbox off",), settings="--sandbox require"),
    Row("get-4k-logged", "get --size 4096 --connections 64", ("server",), settings="--access-log {scratch}/access.log"),
    Row("get-4k-enforce", "get --size 4096 --connections 64", ("server",), settings="--posix-permissions enforce"),
    Row("put-4k-none-sandbox", "put --size 4096 --connections 64", ("server --sandbox off",), durability="none",
        made=40_000, settings="--sandbox require"),
    Row("put-4k-none-enforce", "put --size 4096 --connections 64", ("server",), durability="none", made=40_000,
        settings="--posix-permissions enforce"),
    Row("idle-10k", "idle --size 4096 --connections 10000 --warmup 2", (), (), kind="idle"),
]


@dataclasses.dataclass(frozen=True)
class Relation:
    """What the figures of two rows have to be to each other: `row`'s over `other`'s."""

    name: str
    row: str
    other: str
    figure: str
    low: float
    high: float = float("inf")

    def value(self, results):
        """`None`: one of the two was not run."""
        figures = [results[name].get(self.figure) for name in (self.row, self.other) if name in results]
        return figures[0] / figures[1] if len(figures) == 2 and all(figures) else None


RELATIONS = [
    Relation("sharing flushes", "put-4k", "put-4k-each", "rate", 3),
    Relation("a page of 1 M keys and of 10 k", "list-1m", "list-10k", "p50 us", 0.8, 1.2),
    Relation("Complete of 50 GiB and of 50 MiB", "complete-50g", "complete-50m", "p50 us", 0.8, 1.2),
]

# Memory of one running PUT: the peak with sixteen of them, above an idle server.
PUT_MIB_MAX = 4


def normalized(row, result):
    """The figures of one run of a server or a floor, by the names that goals and tables use. A figure that the run does
    not have is missing."""
    figures = {
        "rate": result.get(row.rate),
        "cpu us": result.get("server_cpu_us", result.get("cpu_us")),
        "s/GiB": result.get("server_cpu_s_per_gib"),
        "p50 us": result.get("p50_us"),
        "p99 us": result.get("p99_us"),
        "RSS MiB": result.get("server_rss_mib"),
        "peak MiB": result.get("server_rss_peak_mib"),
        "load": result.get("load_busy"),
        "busy": result.get("server_busy"),
        "first us": result.get("first_pages_us"),
        "last us": result.get("last_pages_us"),
        "idle MiB": result.get("idle MiB"),
    }
    if row.kind == "list" and "listed" in result:
        figures["rate"] = result["listed"] / result["list_seconds"]
    elif row.kind == "list":
        figures["rate"] = result.get("per_second")
    if row.kind == "removal":
        figures["rate"] = 1000 / result["p50_us"] * 1e6
    if row.kind == "complete":
        figures["p50 us"], figures["p99 us"] = result["complete_p50_us"], result["complete_p99_us"]
        figures["rate"] = 1e6 / figures["p50 us"]
        # The server did more than complete uploads meanwhile.
        figures["cpu us"] = None
    if "operations" in result:
        # A read that waits for nothing beside a write that waits for the disk is no queue: each kind for itself.
        figures["p99/p50"] = max(each["p99_us"] / each["p50_us"] for each in result["operations"].values())
    return {name: value for name, value in figures.items() if value is not None}


def medians(runs):
    """The median of each figure over some runs."""
    names = {name for run in runs for name in run}
    return {name: statistics.median([run[name] for run in runs if name in run]) for name in names}


def summarized(servers, floors):
    """The figures of a row. `floors`: the runs of each floor, by its arguments."""
    figures = medians(servers)
    rates = [run["rate"] for run in servers if "rate" in run]
    if rates and figures["rate"]:
        figures["spread"] = (max(rates) - min(rates)) / figures["rate"]
    best = max(floors, key=lambda floor: medians(floors[floor])["rate"], default=None)
    if best is not None:
        floor = medians(floors[best])
        figures.update({f"floor {name}": value for name, value in floor.items()})
        figures["floor"] = best
        # Runs that are too short for a single operation have no rate.
        if floor["rate"]:
            figures["ratio"] = figures["rate"] / floor["rate"]
    if figures.get("p50 us") and "p99 us" in figures and "p99/p50" not in figures:
        figures["p99/p50"] = figures["p99 us"] / figures["p50 us"]
    return figures


def limited_by_load(figures, side=""):
    """Whether the load was busy all the time while what it measured was not: then the figure is the load's."""
    load, busy = figures.get(f"{side}load"), figures.get(f"{side}busy")
    return load is not None and busy is not None and load > 0.97 and busy < 0.95


def verdicts(rows, results):
    """All goals with what was found: name, text of the goal, value, whether it is reached (`None`: not measured)."""
    found = []
    for row in rows:
        figures = results.get(row.name)
        if figures is None:
            continue
        for goal in row.goals:
            # A row without a floor, as against another endpoint, has no ratio.
            value = figures.get(goal.figure)
            found.append((row.name, str(goal), value, None if value is None else goal.reached(value)))
    for relation in RELATIONS:
        value = relation.value(results)
        if value is not None:
            high = "" if relation.high == float("inf") else f" and <= {relation.high:g}"
            text = f"{relation.figure} of {relation.row} / {relation.other} >= {relation.low:g}{high}"
            found.append((relation.name, text, value, relation.low <= value <= relation.high))
    idle, put = results.get("idle-10k", {}).get("idle MiB"), results.get("put-64m-16", {}).get("peak MiB")
    if idle is not None and put is not None:
        each = (put - idle) / 16
        found.append(("memory of a running PUT", f"MiB <= {PUT_MIB_MAX}", each, each <= PUT_MIB_MAX))
    return found
