"""The long form: `python -m tests.fuzz`; `--help` names the options.

Prints a row per part and store. Ends with 1 and the failure, made small, when anything is not as it should be; the same
seed repeats the run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.e2e.server import running
from tests.fuzz import interface, machine
from tests.fuzz.corpus import LIMIT_BYTES, corpus
from tests.fuzz.scene import Scene
from tests.fuzz.siege import Siege, growth, mutations
from tests.mongo import mongo_server, with_database
from tests.world import COLLECTIONS, world

#: Of one scale: cases of an operation, stories and their steps, rounds of the corpus, mutations.
CASES, STORIES, STEPS, ROUNDS, MUTATIONS = 100, 60, 40, 4, 3000
#: What the workers may hold more after the last round than after the second: by then every thread has had its share.
GROWTH_KB = 150_000
GROWTH_BYTES = 300_000


@dataclass
class Row:
    """One part on one store."""

    part: str
    store: str
    cases: int
    faults: int
    seconds: float
    note: str


class Run:
    """One run: where it works, how much, and what it tells."""

    def __init__(self, folder: str, seed: int, scale: int, progress: Progress) -> None:
        self.folder = Path(folder)
        self.seed, self.scale, self.progress = seed, scale, progress

    def new_folder(self) -> Path:
        folder = self.folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        return folder

    def interface(self, store: str | None) -> tuple[int, str]:
        scene = Scene(self.new_folder(), store)
        task = self.progress.add_task("interface", total=len(list(interface.operations(scene.world))))
        try:
            figures = interface.fuzz_all(
                scene, CASES * self.scale, self.seed, lambda label, _: self.progress.advance(task)
            )
        finally:
            scene.world.close()
            self.progress.remove_task(task)
        return figures.cases, _counts(sum(figures.answers.values(), Counter()))

    def machine(self, store: str | None) -> tuple[int, str]:
        stories = STORIES * self.scale
        task = self.progress.add_task("state machine", total=None)
        try:
            machine.run(self.new_folder(), store, stories, STEPS, self.seed)
        finally:
            self.progress.remove_task(task)
        return stories, f"{stories} stories of {STEPS} steps"

    def corpus(self, store: str | None) -> tuple[int, str]:
        rounds = ROUNDS * self.scale
        bodies = list(corpus())
        task = self.progress.add_task("corpus", total=rounds * len(bodies))
        files = {"collections": COLLECTIONS, "max_content_length": LIMIT_BYTES}
        with running(self.new_folder(), store, workers=1, **files) as server:
            siege = Siege(server)
            siege.send_frames()
            settled = siege.memory_kb()
            for number in range(rounds):
                for hostile in bodies:
                    try:
                        siege.send(hostile)
                    except AssertionError as error:
                        raise AssertionError(f"{hostile.name}: {error}") from error
                    self.progress.advance(task)
                if number == 1:
                    settled = siege.memory_kb()
            siege.require_unharmed()
            now = siege.memory_kb()
            assert now - settled < GROWTH_KB, f"memory grew from {settled} to {now} kB"
            assert "Traceback" not in server.stderr()
            self.progress.remove_task(task)
            held = f"{settled // 1000} MB, then {now // 1000} MB, peak {siege.peak_kb() // 1000} MB"
            return siege.answers.total(), f"{_counts(siege.answers)}; {held}"

    def mutations(self, store: str | None) -> tuple[int, str]:
        count = MUTATIONS * self.scale
        first = random.Random(self.seed).randrange(2**40)
        task = self.progress.add_task("mutations", total=count)
        with world(self.new_folder(), store, max_content_length=LIMIT_BYTES) as made:
            answers = mutations(made, range(first, first + count), lambda: self.progress.advance(task))
            left = growth(made, rounds=2)
        self.progress.remove_task(task)
        assert left < 2 * GROWTH_BYTES, f"{left} bytes are left of two rounds"
        return count, f"{_counts(answers)}; {left // 1000} kB left of two rounds of the corpus"


PARTS: dict[str, Callable[[Run, str | None], tuple[int, str]]] = {
    "interface": Run.interface,
    "machine": Run.machine,
    "corpus": Run.corpus,
    "mutations": Run.mutations,
}


def _counts(answers: Counter[int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(answers.items()))


@contextmanager
def stores(names: list[str]) -> Iterator[list[tuple[str, Callable[[], str | None]]]]:
    """The stores of these names, each with what gives the URL of a new database."""
    found: list[tuple[str, Callable[[], str | None]]] = []
    if "sqlite" in names:
        found.append(("sqlite", lambda: None))
    if "mongodb" not in names:
        yield found
        return
    databases: list[str] = []
    with mongo_server() as uri:

        def new_database() -> str:
            databases.append(f"taxii_fuzz_{uuid.uuid4().hex[:16]}")
            return with_database(uri, databases[-1])

        try:
            yield [*found, ("mongodb", new_database)]
        finally:
            with MongoClient[dict[str, object]](uri) as client:
                for name in databases:
                    client.drop_database(name)


def main(arguments: list[str]) -> int:
    """Run what is asked for. 0 when everything is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Thousands of requests of every kind.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31), help="repeats a run")
    parser.add_argument("--scale", type=int, default=1, help="so many times as much")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas: %(default)s")
    parser.add_argument("--store", default="sqlite,mongodb", help="stores, with commas: %(default)s")
    given = parser.parse_args(arguments)
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))} (known: {', '.join(PARTS)})")
    warnings.simplefilter("ignore")
    console = Console()
    console.print(f"seed {given.seed}: python -m tests.fuzz --seed {given.seed} --scale {given.scale}")
    rows = []
    with (
        Progress(console=console, transient=True) as progress,
        tempfile.TemporaryDirectory(prefix="taxii-fuzz-") as folder,
        stores(given.store.split(",")) as found,
    ):
        run = Run(folder, given.seed, given.scale, progress)
        for part in parts:
            for name, url in found:
                rows.append(_row(run, part, name, url()))
    table = Table("part", "store", "cases", "faults", "seconds", "answers")
    for row in rows:
        table.add_row(row.part, row.store, str(row.cases), str(row.faults), f"{row.seconds:.0f}", row.note)
    console.print(table)
    return 1 if any(row.faults for row in rows) else 0


def _row(run: Run, part: str, store: str, url: str | None) -> Row:
    started = time.monotonic()
    try:
        cases, note = PARTS[part](run, url)
        faults = 0
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts go on
        run.progress.console.print("".join(traceback.format_exception(error)[-40:]), markup=False)
        cases, note, faults = 0, f"{type(error).__name__}, see above; seed {run.seed}", 1
    except BaseExceptionGroup as error:
        run.progress.console.print("".join(traceback.format_exception(error)[-40:]), markup=False)
        cases, note, faults = 0, f"failures, see above; seed {run.seed}", 1
    return Row(part, store, cases, faults, time.monotonic() - started, note)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
