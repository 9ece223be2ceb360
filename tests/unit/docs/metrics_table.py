"""The table of metrics in docs/operations.md, written from the code: `python -m tests.unit.docs.metrics_table`."""

from __future__ import annotations

import re
from pathlib import Path

from taxii_server.metering import metrics

PAGE = Path(__file__).parents[3] / "docs/operations.md"
_BLOCK = re.compile(r"(<!-- metrics: .*?-->\n).*?(<!-- end of metrics -->)", re.DOTALL)


def table() -> str:
    """Every metric: name, kind, labels, what it tells."""
    lines = ["| metric | kind | labels | what it tells |", "|---|---|---|---|"]
    for metric in metrics():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with the table in its place."""
    assert _BLOCK.search(text)
    return _BLOCK.sub(lambda found: found[1] + table() + found[2], text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
