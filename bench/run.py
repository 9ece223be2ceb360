"""The whole comparison, black-box over HTTP with real processes: `make bench`.

    python -m bench.run [--sizes 10000,100000,1000000] [--stores mongodb,sqlite] [--runs 5] [--quick] [--only WORD]

Each size and store begins with an empty database that is filled with the same objects. Ours and the anchor are
measured in turn, and every figure is the ratio of two runs that follow each other. Writes bench/results.json; what it
holds goes into bench/RESULTS.md and the plots with `python -m bench.report`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench import common, reads, site, writes
from bench.common import Figure
from bench.place import Place

RESULTS = Path(__file__).with_name("results.json")
SIZES = (10_000, 100_000, 1_000_000)
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
}


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
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="10,000 objects, three runs")
    parser.add_argument("--only", default="", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    sizes = [10_000] if given.quick else [int(each) for each in given.sizes.split(",")]
    runs = 3 if given.quick else given.runs
    chosen = given.only.split(",") if given.only else list(PARTS)
    figures: list[Figure] = []
    busy = common.load()
    print(common.HEAD)
    facts = {"machine": common.machine(), "load_before": busy, "runs": runs, "sizes": sizes}
    for size in sizes:
        for store in given.stores.split(","):
            with a_place(store, size, runs) as place:
                for part in chosen:
                    for figure in PARTS[part](place):
                        figures.append(figure)
                        print(figure.line(), flush=True)
                    # After each part: a run that is ended keeps what it has.
                    everything = {**facts, "figures": [asdict(each) for each in figures]}
                    given.out.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
