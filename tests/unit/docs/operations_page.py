"""The tables in docs/operations.md, written from the code: `python -m tests.unit.docs.operations_page`."""

from __future__ import annotations

import re
from pathlib import Path

from taxii_server.audit import EVENTS
from taxii_server.logs import FIELDS
from taxii_server.metering import metrics

PAGE = Path(__file__).parents[3] / "docs/operations.md"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"|{'|'.join(f' {cell} ' if cell != '---' else cell for cell in line)}|\n" for line in lines)


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def tables() -> dict[str, str]:
    """What stands between the marks of each name."""
    return {
        "metrics": _table(
            ("metric", "kind", "labels", "what it tells"),
            [(f"`{each.name}`", each.kind, _code(each.labels), each.help) for each in metrics()],
        ),
        "fields": _table(("field", "what it says"), [(f"`{name}`", words) for name, words in FIELDS.items()]),
        "events": _table(
            ("event", "when", "facts"),
            [(f"`{name}`", when, _code(facts)) for name, (when, facts) in EVENTS.items()],
        ),
    }


def page(text: str) -> str:
    """The page with the tables in their places."""
    for name, table in tables().items():
        block = re.compile(rf"(<!-- {name}: .*?-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text, count = block.subn(lambda found, table=table: found[1] + table + found[2], text)  # type: ignore[misc]
        assert count == 1, name
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
