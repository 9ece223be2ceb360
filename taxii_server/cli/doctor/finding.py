"""What an examination finds: one sentence that says what is so, and one that says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `do` is empty when there is nothing to do.

    A failure keeps the server from working, or lets somebody in who must not; a warning is going to, or may.
    """

    area: str
    level: Level
    what: str
    do: str = ""


def ok(area: str, what: str) -> Finding:
    return Finding(area, "ok", what)


def warning(area: str, what: str, do: str) -> Finding:
    return Finding(area, "warning", what, do)


def failure(area: str, what: str, do: str) -> Finding:
    return Finding(area, "failure", what, do)


def or_ok(found: Iterable[Finding], area: str, what: str) -> Iterator[Finding]:
    """What was found; that all is well when nothing was."""
    some = False
    for each in found:
        some = True
        yield each
    if not some:
        yield ok(area, what)
