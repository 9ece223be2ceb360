"""Writes what `bench.run` measured into bench/RESULTS.md, between its markers, and the plots beside it.

    python -m bench.report [results.json ...]

Several files (a run of small sizes, a run of a large one) become one table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.common import HEAD, Figure, Spread

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
#: What is plotted against the size of the collection: file, title, unit, and the figures whose names begin so.
_PLOTS = {
    "page": ("A page of 1,000 objects", "ms", "page "),
    "sync": ("Full synchronisation, one worker, one client", "objects/s", "full sync, pages of 1,000"),
    "post": ("POST in envelopes of 1,000", "objects/s", "POST in envelopes of 1,000, 4 connections, two"),
}


def read(paths: Iterable[Path]) -> tuple[list[dict[str, Any]], list[Figure]]:
    """The facts of each run, and all figures by work, store and size."""
    runs = [json.loads(path.read_text()) for path in paths]
    figures = [_figure(each) for run in runs for each in run["figures"]]
    order = list(dict.fromkeys(figure.work for figure in figures))
    return runs, sorted(figures, key=lambda each: (order.index(each.work), each.store, each.size))


def _figure(values: dict[str, Any]) -> Figure:
    spreads = {name: Spread(values.pop(name)["values"]) for name in ("ours", "anchor", "ratio")}
    return Figure(**values, **spreads)


def text(runs: Sequence[dict[str, Any]], figures: Sequence[Figure]) -> str:
    """The measured part of RESULTS.md."""
    lines = []
    for run in runs:
        sizes = ", ".join(f"{size:,}" for size in run["sizes"])
        lines.append(f"* {sizes} objects, {run['runs']} runs of each; {'; '.join(run['machine'])}.")
        lines.append(f"  Load of the machine before the run: {run['load_before']:.1f}{_warning(run)}.")
        if run.get("left_out"):
            lines.append(f"  The time was over before: {'; '.join(run['left_out'])}.")
    met = [figure.is_met for figure in figures if figure.is_met is not None]
    lines += ["", f"{sum(met)} of {len(met)} targets are met.", "", HEAD]
    lines += [figure.line() for figure in figures]
    lines += [
        f"\n![{title} against the size of the collection](plots/{name}.png)" for name, (title, *_) in _PLOTS.items()
    ]
    return "\n".join(lines)


def _warning(run: dict[str, Any]) -> str:
    return " (**busy: others worked on it; rates are low, ratios uncertain**)" if run["load_before"] > 1 else ""


def plot(figures: Sequence[Figure]) -> None:
    """One picture for each of `_PLOTS`, as PNG and SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    (FOLDER / "plots").mkdir(exist_ok=True)
    for name, (title, unit, beginning) in _PLOTS.items():
        picture, axes = pyplot.subplots(figsize=(6, 3.5))
        for store in ("mongodb", "sqlite"):
            chosen = [each for each in figures if each.store == store and each.work.startswith(beginning)]
            if name == "page":
                chosen = [each for each in chosen if "against page 1" in each.work]
            best: dict[int, Figure] = {}
            for each in chosen:
                best.setdefault(each.size, each)
            sizes = sorted(best)
            if sizes:
                axes.plot(sizes, [best[size].ours.median for size in sizes], marker="o", label=store)
        axes.set(title=title, xlabel="objects in the collection", ylabel=unit, xscale="log")
        axes.set_ylim(bottom=0)
        axes.legend()
        axes.grid(visible=True, alpha=0.3)
        for kind in ("png", "svg"):
            picture.savefig(FOLDER / f"plots/{name}.{kind}", bbox_inches="tight", dpi=110, metadata=_NO_DATE[kind])
        pyplot.close(picture)


#: Equal figures make equal files.
_NO_DATE: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}


def main() -> None:
    runs, figures = read(map(Path, sys.argv[1:] or [str(FOLDER / "results.json")]))
    before, _, rest = RESULTS.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    RESULTS.write_text(f"{before}{_BEGIN}\n{text(runs, figures)}\n{_END}{after}")
    plot(figures)


if __name__ == "__main__":
    main()
