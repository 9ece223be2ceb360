"""The policy file format as Markdown, from the tables that the parser reads. docs/policy.md holds a copy; a test
compares the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taxii_server.policy.schema import (
    FACET_EXTENSION,
    GUARD_WHAT,
    HEAD,
    LISTS,
    NAMED,
    OBJECT,
    RELEASE_TO,
    TABLES,
    TO,
    WHAT,
    Keys,
    spelled,
    unless_keys,
)


def reference_text() -> str:
    """Every section and key, in tables."""
    sections: list[tuple[str, Keys]] = [("At the top of a file", HEAD)]
    sections += [(f"`[{name}]`", keys) for name, keys in TABLES.items()]
    sections += [(f"`[{name}.NAME]`", keys) for name, keys in NAMED.items()]
    sections += [(f"`[[{name}]]`", keys) for name, keys in LISTS.items()]
    sections += [
        ("`extension` of a facet", FACET_EXTENSION),
        ("`to` of a release", RELEASE_TO),
        ("`object` of a test", OBJECT),
        ("`to`: whom a rule concerns", spelled(TO)),
        ("`what` and `drop`: which objects", spelled(WHAT)),
        ("`unless`: all of these, and besides", _only(unless_keys(), {**spelled(TO), **spelled(WHAT)})),
        ("`what` of a guard: which posted objects", spelled(GUARD_WHAT)),
    ]
    return "\n".join(part for title, keys in sections for part in _section(title, keys.items()))


def _only(keys: Mapping[str, str], known: Mapping[str, str]) -> Keys:
    return {name: text for name, text in keys.items() if name not in known}


def _section(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"### {title}", "", "| key | meaning |", "|---|---|"]
    return [*lines, *(f"| `{name}` | {text} |" for name, text in rows), ""]
