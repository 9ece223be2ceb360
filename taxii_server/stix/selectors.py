"""Selectors of granular markings (STIX 2.1, section 7.2.3.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_INDEX = re.compile(r"\[(0|[1-9][0-9]{0,8})\]")
_MISSING = object()


def resolves(selector: str, value: Mapping[str, Any]) -> bool:
    """True when the selector names something that exists in this object.

    Steps are separated by dots: a property or dictionary key, or `[n]` for the n-th item of a list, counted from
    zero, as in `external_references.[0].source_name`. `[n]` stands for a list item only, a name for a member only.
    """
    place: Any = value
    for step in selector.split("."):
        place = _step(place, step)
        if place is _MISSING:
            return False
    return True


def _step(place: Any, step: str) -> Any:
    if isinstance(place, dict):
        return place.get(step, _MISSING)
    if isinstance(place, list):
        match = _INDEX.fullmatch(step)
        if match is not None and int(match[1]) < len(place):
            return place[int(match[1])]
    return _MISSING
