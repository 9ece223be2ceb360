"""How many calls a piece of work makes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def calls(work: Callable[[], object], warm: int = 1) -> int:
    """Of functions, Python's and C's, once it has been done `warm` times."""
    for _ in range(warm):
        work()
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
