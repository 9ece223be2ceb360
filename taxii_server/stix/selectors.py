"""Selectors of granular markings (STIX 2.1, section 7.2.3.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_INDEX = re.compile(r"\[(0|[1-9][0-9]{0,8})\]")

#: Steps from an object to a part of it: names of members, and numbers of list items.
Path = tuple[str | int, ...]


def resolves(selector: str, value: Mapping[str, Any]) -> bool:
    """True when the selector names something that exists in this object; see `path_of`."""
    return path_of(selector, value) is not None


def path_of(selector: str, value: Mapping[str, Any]) -> Path | None:
    """The steps to the part of this object that the selector names, None when there is none.

    Steps are separated by dots: a property or dictionary key, or `[n]` for the n-th item of a list, counted from
    zero, as in `external_references.[0].source_name`. `[n]` stands for a list item only, a name for a member only.
    """
    place: Any = value
    path: list[str | int] = []
    for text in selector.split("."):
        step = _step(place, text)
        if step is None:
            return None
        path.append(step)
        place = place[step]
    return tuple(path)


def selector_of(path: Path) -> str:
    """The selector that names this part."""
    return ".".join(f"[{step}]" if isinstance(step, int) else step for step in path)


def _step(place: Any, text: str) -> str | int | None:
    if isinstance(place, dict):
        return text if text in place else None
    if isinstance(place, list):
        match = _INDEX.fullmatch(text)
        if match is not None and int(match[1]) < len(place):
            return int(match[1])
    return None
