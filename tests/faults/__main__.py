"""Run the faults and print the table: python -m tests.faults --help

Exits 1 unless every figure that has to be zero is zero.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.faults.check import Outcome
from tests.faults.every import FAULTS
from tests.faults.fault import Fault, run
from tests.faults.servers import SINGLE, SQLITE, THREE, Site, open_site

_HEAD = ("fault", "store", "runs", "acknowledged", "lost", "phantom", "out of order", "5xx", "hung", "503", "cut")


def cells(fault: Fault, kind: str, outcome: Outcome) -> tuple[str, ...]:
    figures = (
        outcome.runs, outcome.acknowledged, outcome.lost, outcome.phantom, outcome.disorder, outcome.wrong,
        outcome.hung, outcome.refused, outcome.cut,
    )  # fmt: skip
    return fault.name, kind, *(f"{figure:,}" for figure in figures)


def line(row: Sequence[str]) -> str:
    """A row of a table in Markdown, in columns."""
    widths = (34, 10, 4, 12, 4, 7, 12, 3, 4, 6, 6)
    pairs = enumerate(zip(row, widths, strict=True))
    return "| " + " | ".join(f"{cell:<{width}}" if n < 2 else f"{cell:>{width}}" for n, (cell, width) in pairs) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults, and what they cost: nothing.")
    parser.add_argument("--short", action="store_true", help="the short form, as in `make test`")
    parser.add_argument("--runs", type=int, default=1, help="runs of each fault; the long form strikes often in each")
    parser.add_argument("--only", default="", help="only faults with these words in their name")
    parser.add_argument("--kind", choices=(SQLITE, SINGLE, THREE), help="only this kind of store")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="where randomness comes from")
    asked = parser.parse_args()
    runs = asked.runs
    print(f"seed {asked.seed}", file=sys.stderr)
    print(line(_HEAD))
    print(line(["---", "---", *["---:"] * (len(_HEAD) - 2)]), flush=True)
    clean = True
    for kind in (SQLITE, SINGLE, THREE):
        faults = [each for each in FAULTS if kind in each.kinds_of(not asked.short) and asked.only in each.name]
        if not faults or asked.kind not in (None, kind):
            continue
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taxii-faults-")))
            shared: Site | None = None
            for number, fault in enumerate(faults):
                total: Outcome | None = None
                begun = time.monotonic()
                for each in range(runs):
                    seed = asked.seed + 1000 * number + each
                    if fault.site is not None:
                        with fault.open(kind, folder / f"{number}-{each}", long=not asked.short) as site:
                            outcome = run(fault, site, seed)
                    else:
                        shared = shared or stack.enter_context(open_site(kind, folder / "site", long=not asked.short))
                        outcome = run(fault, shared, seed)
                    total = outcome if total is None else total + outcome
                assert total is not None
                print(line(cells(fault, kind, total)), flush=True)
                clean &= total.clean
                took = f"{time.monotonic() - begun:.0f} s, slowest answer {total.slowest_s:.1f} s"
                for note in (*total.errors, "; ".join([*total.notes, took])):
                    print(f"    {note}", file=sys.stderr, flush=True)
    print("nothing lost, nothing invented, everything in order" if clean else "NOT CLEAN", file=sys.stderr)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
