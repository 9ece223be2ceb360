"""Reading TOML tables with closed key sets: every wrong value becomes a Problem, reading goes on.

Why not stop at the first: an operator who edits a policy wants the whole list at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taxii_server.errors import Problem
from taxii_server.policy.facets import OTHER, FacetSource

#: How a file writes a span of time.
DELAY = re.compile(r"[1-9][0-9]{0,4}(m|h|d|w)")


@dataclass(frozen=True, slots=True)
class Names:
    """What rules and examples may name. `collections` None: not known, so not checked."""

    audiences: frozenset[str]
    groups: frozenset[str]
    facets: Mapping[str, FacetSource]
    declared_facets: frozenset[str]
    markings: frozenset[str]
    attributes: frozenset[str]
    collections: frozenset[str] | None
    identities: dict[str, tuple[str, ...]]


def known(names: Iterable[str]) -> str:
    """`(known: a, b, c)`, sorted and cut after forty, for the end of a message."""
    listed = sorted(names)
    more = ", ..." if len(listed) > 40 else ""
    return f"(known: {', '.join(listed[:40])}{more})" if listed else "(known: none)"


def kind_of(value: object) -> str:
    """What TOML calls this sort of value, and the value itself when it is short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return repr(value) if isinstance(value, str) else str(value).lower()


class Table:
    """One TOML table: read values through it, and what is wrong with them is noted in `problems`."""

    def __init__(
        self,
        data: object,
        file: str,
        key: str,
        problems: list[Problem],
        keys: Collection[str] | None = None,
        suffix: str = "",
    ) -> None:
        self.file, self.key, self.problems, self.suffix = file, key, problems, suffix
        self.data: Mapping[str, Any] = {}
        if isinstance(data, dict):
            self.data = data
        else:
            self.wrong("", f"{kind_of(data)} found where a table is wanted")
        if keys is not None:
            for name in self.data:
                if name not in keys:
                    self.wrong("", f"unknown key {name!r} {known(keys)}")

    def path(self, name: str) -> str:
        """The key path of one value of this table."""
        return ".".join(part for part in (self.key, name) if part)

    def wrong(self, name: str, message: str) -> None:
        """Notes a problem with one value, or with the whole table when `name` is empty."""
        self.problems.append(Problem(self.file, self.path(name), message + self.suffix))

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def text(self, name: str, required: bool = False) -> str | None:
        """One text that is not empty, or None with a problem noted."""
        if name not in self.data:
            if required:
                self.wrong(name, "missing")
            return None
        value = self.data[name]
        if not isinstance(value, str) or not value.strip() or value == OTHER:
            self.wrong(name, f"{kind_of(value)} found where a text is wanted")
            return None
        return value

    def note(self, name: str) -> None:
        """Text for people that decides nothing, so it may be empty: only a problem where it is something else."""
        if not isinstance(self.data.get(name, ""), str):
            self.wrong(name, f"{kind_of(self.data[name])} found where a text is wanted")

    def choice(self, name: str, options: Collection[str], default: str) -> str:
        """One of a few words."""
        value = self.text(name)
        if value is not None and value not in options:
            self.wrong(name, f"unknown value {value!r} {known(options)}")
            return default
        return value or default

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            self.wrong(name, f"{kind_of(value)} found where true or false is wanted")
            return default
        return value

    def number(self, name: str, lowest: int, highest: int) -> int | None:
        """A whole number between two others, or None."""
        if name not in self.data:
            return None
        value = self.data[name]
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            self.wrong(name, f"{kind_of(value)} found where a number from {lowest} to {highest} is wanted")
            return None
        return value

    def moment(self, name: str) -> datetime | None:
        """A date and time with its offset, or None."""
        if name not in self.data:
            return None
        value = self.data[name]
        if not isinstance(value, datetime) or value.tzinfo is None:
            self.wrong(name, "a date and time with offset is wanted, such as 2026-06-01T00:00:00Z")
            return None
        return value

    def texts(self, name: str, empty: bool = False) -> tuple[str, ...]:
        """One text or a list of texts. An empty list is a problem unless `empty`: it would fit nothing."""
        if name not in self.data:
            return ()
        value = self.data[name]
        items = value if isinstance(value, list) else [value]
        good = [item for item in items if isinstance(item, str) and item.strip() and item != OTHER]
        if len(good) != len(items):
            bad = next(item for item in items if item not in good)
            self.wrong(name, f"{kind_of(bad)} found where a text or a list of texts is wanted")
        elif not items and not empty:
            self.wrong(name, "an empty list fits nothing; leave the key out or name something")
        return tuple(dict.fromkeys(good))

    def names(self, name: str, names: Collection[str], what: str, empty: bool = False) -> tuple[str, ...]:
        """Texts that all have to be known names of something."""
        values = self.texts(name, empty)
        for value in values:
            if value not in names:
                self.wrong(name, f"unknown {what} {value!r} {known(names)}")
        return tuple(value for value in values if value in names)

    def table(self, name: str, keys: Collection[str] | None = None) -> Table | None:
        """A table inside this one, or None when it is left out. An empty one is a problem."""
        if name not in self.data:
            return None
        value = self.data[name]
        if value == {}:
            self.wrong(name, "an empty table says nothing; leave the key out")
        return Table(value, self.file, self.path(name), self.problems, keys, self.suffix)
