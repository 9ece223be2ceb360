"""What all benchmarks share: runs and their ratios, tables, a MongoDB and what is said about the machine."""

from __future__ import annotations

import math
import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.mongo import REPLICA_SET, Memory, mongo_server, mongod_binary, with_database


def timed(work: Callable[[], object], runs: int = 1) -> list[float]:
    """Milliseconds of each run."""
    found = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - start))
    return found


@dataclass(frozen=True)
class Spread:
    """Median of several runs with the least and the greatest."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self, form: str = ".2f") -> str:
        if math.isnan(self.median):
            return "-"
        low, middle, high = (format(each, form) for each in (min(self.values), self.median, max(self.values)))
        return f"{middle} ({low} to {high})"


@dataclass(frozen=True)
class Figure:
    """One line of the results: what was measured, in which unit, and its ratio to an anchor of the same run.

    `at_least` and `at_most` are the target for the ratio; None: there is none.
    """

    work: str
    store: str
    size: int
    unit: str
    ours: Spread
    anchor_name: str
    anchor: Spread
    ratio: Spread
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def is_met(self) -> bool | None:
        if self.at_least is not None:
            return self.ratio.median >= self.at_least
        return None if self.at_most is None else self.ratio.median <= self.at_most

    def line(self) -> str:
        """A row of the table in RESULTS.md."""
        met = {True: "yes", False: "**no**", None: ""}[self.is_met]
        cells = (
            self.work, self.store, f"{self.size:,}", f"{_number(self.ours.median)} {self.unit}",
            f"{self.anchor_name}: {_number(self.anchor.median)}", self.ratio.text(), self.target, met, self.note,
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| work | store | objects | ours | anchor | ratio: median (least to greatest) | target | met | |\n"
    + "|---" * 9
    + "|"
)


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass
class Pair:
    """Runs of ours and of the anchor, taken in turn."""

    ours: list[float] = field(default_factory=list)
    anchor: list[float] = field(default_factory=list)

    def figure(self, work: str, store: str, size: int, unit: str, anchor_name: str, **more: object) -> Figure:
        ratios = [ours / anchor for ours, anchor in zip(self.ours, self.anchor, strict=True)]
        return Figure(
            work, store, size, unit, Spread(self.ours), anchor_name, Spread(self.anchor), Spread(ratios),
            **more,  # type: ignore[arg-type]
        )  # fmt: skip


@dataclass
class Meter:
    """CPU time of the processes of a server for each of its answers: says the same on a busy machine."""

    cpu_s: float = 0.0
    answers: int = 0

    @property
    def ms(self) -> float:
        return 1000 * self.cpu_s / self.answers


def cpu_note(ours: Meter, anchor: Meter) -> str:
    """For the last column of the table."""
    return f"CPU of the server {ours.ms:.2f} ms an answer, anchor {anchor.ms:.2f}: {anchor.ms / ours.ms:.2f}"


def in_turn(ours: Callable[[], float], anchor: Callable[[], float], runs: int) -> Pair:
    """Both measured `runs` times, one after the other, so that what disturbs the machine disturbs both."""
    pair = Pair()
    for _ in range(runs):
        pair.anchor.append(anchor())
        pair.ours.append(ours())
    return pair


# ---- the machine


def machine() -> list[str]:
    """What the figures depend on."""
    model = _first_match(Path("/proc/cpuinfo"), "model name")
    memory_kb = int(_first_match(Path("/proc/meminfo"), "MemTotal").split()[0])
    mongod = subprocess.run([str(mongod_binary()), "--version"], capture_output=True, text=True, check=True)
    return [
        f"{os.cpu_count()} cores ({model}), {memory_kb / 1e6:.0f} GB, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{mongod.stdout.splitlines()[0]} with a cache of {MEMORY.cache_gb:g} GB",
        f"one write with fsync: {fsync_ms():.2f} ms",
    ]


def fsync_ms(count: int = 100) -> float:
    with tempfile.TemporaryFile() as file:
        start = time.perf_counter()
        for _ in range(count):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return 1000 * (time.perf_counter() - start) / count


def load() -> float:
    """How busy the machine was in the last minute."""
    return os.getloadavg()[0]


def _first_match(path: Path, name: str) -> str:
    lines = path.read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "?")


# ---- MongoDB


#: That of a small machine for a database of its own: by itself a mongod here would take half of all memory.
MEMORY = Memory(cache_gb=4.0, oplog_mb=2048)


@contextmanager
def mongo(url: str | None = None) -> Iterator[str]:
    """The URL given, or that of a new database in a replica set that is started for this run."""
    if url:
        yield url
        return
    with mongo_server(MEMORY) as uri:
        yield with_database(uri, f"bench_{uuid.uuid4().hex[:8]}")


__all__ = ["REPLICA_SET"]
