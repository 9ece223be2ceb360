"""Bodies that nobody sends by accident, made here so that none of them lies in the repository as a megabyte.

Each says how it has to end: refused as a whole (`status` 4xx, the description matches `says`), or taken with its
objects refused one by one (202, `says` matches the first failure), or stored and served as it came (202, `stored`
objects), or either of the two (`stored` None: what STIX says about it is not the point here).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.world import indicator

#: What the server that gets these takes at most.
LIMIT_BYTES = 10_000_000


@dataclass(frozen=True)
class Hostile:
    """One body. `made` makes it when it is sent: some are large, and ids have to be new. `heavy`: takes a second."""

    name: str
    made: Callable[[], bytes]
    status: int
    says: str = ""
    stored: int | None = 0
    headers: dict[str, str] = field(default_factory=dict)
    heavy: bool = False


def envelope(*objects: object) -> bytes:
    return json.dumps({"objects": objects}).encode()


def within(inside: bytes, **more: Any) -> bytes:
    """An envelope with an indicator that has this text as the value of a property of its own."""
    return envelope(indicator(x_hole="?", **more)).replace(b'"?"', inside)


def refused(name: str, body: Callable[[], bytes] | bytes, says: str, status: int = 422, **headers: str) -> Hostile:
    made = body if callable(body) else lambda: body
    return Hostile(name, made, status, says, headers={key.replace("_", "-"): each for key, each in headers.items()})


def failed(name: str, made: Callable[[], bytes], says: str) -> Hostile:
    return Hostile(name, made, 202, says)


def taken(name: str, made: Callable[[], bytes], stored: int | None = 1) -> Hostile:
    return Hostile(name, made, 202, stored=stored)
