"""The whole comparison, black-box over HTTP with real processes: `make bench`.

    python -m bench.run [--sizes 10000,1000000,100000] [--stores mongodb,sqlite] [--runs 3] [--quick] [--only WORD]
                        [--minutes 35]

Each size and store begins with an empty database that is filled with the same objects. Ours and the anchor are
measured in turn, and every figure is the ratio of two runs that follow each other. At a million objects only what
depends on the size is measured. What does not begin before the time is over is left out, and named. Writes
bench/results.json; what it holds goes into bench/RESULTS.md and the plots with `python -m bench.report`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench import common, peers, reads, site, writes
from bench.common import Figure
from bench.place import Place

RESULTS = Path(__file__).with_name("results.json")
#: The middle one last: should the time be over, it is the one to be missed least.
SIZES = (10_000, 1_000_000, 100_000)
#: What is measured, in this order; `--only` names some of it.
PARTS: dict[str, Callable[[Place], Iterator[Figure]]] = {
    "sync": reads.full_sync,
    "latency": reads.page_latency,
    "policy": reads.policy,
    "polls": reads.polls,
    "gzip": reads.gzip,
    "memory": reads.memory,
    "start": reads.start,
    "envelopes": writes.envelopes,
    "singles": writes.singles,
    "peers": peers.peers,
}
#: Beyond so many objects only these: the others do not depend on what is stored.
_LARGE = 500_000
OF_LARGE = ("sync", "latency", "policy", "start")


@contextmanager
def a_place(store: str, size: int, runs: int) -> Iterator[Place]:
    """A store of this kind with so many objects."""
    with tempfile.TemporaryDirectory(prefix="taxii-bench-") as name:
        folder = Path(name)
        if store == "sqlite":
            url = str(folder / "hub.db")
            yield Place(store, url, size, runs, folder, site.fill(url, size))
        else:
            with common.mongo() as url:
                yield Place(store, url, size, runs, folder, site.fill(url, size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--stores", default="mongodb,sqlite")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="10,000 objects, two runs")
    parser.add_argument("--minutes", type=float, default=35.0, help="nothing begins after this time")
    parser.add_argument("--only", default="", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    sizes = [10_000] if given.quick else [int(each) for each in given.sizes.split(",")]
    runs = 2 if given.quick else given.runs
    chosen = given.only.split(",") if given.only else list(PARTS)
    figures: list[Figure] = []
    left_out: list[str] = []
    facts = {"machine": common.machine(), "load_before": common.load(), "runs": runs, "sizes": sizes}
    end = time.monotonic() + 60 * given.minutes
    print(common.HEAD)
    for size in sizes:
        # Filling a store with a million objects takes minutes.
        reserve_s = 240 if size >= _LARGE else 30
        for store in given.stores.split(","):
            if time.monotonic() + reserve_s > end:
                left_out.append(f"{size:,} objects on {store}")
                continue
            begin = time.monotonic()
            with a_place(store, size, runs) as place:
                print(f"<!-- {size:,} objects on {store}: filled in {time.monotonic() - begin:.0f} s -->", flush=True)
                for part in chosen:
                    if size >= _LARGE and part not in OF_LARGE and not given.only:
                        continue
                    if time.monotonic() + 30 > end:
                        left_out.append(f"{part} at {size:,} objects on {store}")
                        continue
                    begin = time.monotonic()
                    for figure in PARTS[part](place):
                        figures.append(figure)
                        print(figure.line(), flush=True)
                    print(f"<!-- {part}: {time.monotonic() - begin:.0f} s -->", flush=True)
                    # After each part: a run that is ended keeps what it has.
                    _write(given.out, facts, left_out, figures)
    _write(given.out, facts, left_out, figures)


def _write(path: Path, facts: dict[str, object], left_out: list[str], figures: list[Figure]) -> None:
    everything = {**facts, "left_out": left_out, "figures": [asdict(each) for each in figures]}
    path.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
