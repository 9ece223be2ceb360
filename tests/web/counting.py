"""How many calls a piece of work makes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any


def calls(work: Callable[[], object], warm: int = 1) -> int:
    """Of functions, Python's and C's, once it has been done `warm` times: the least of three, because a second or a
    minute that begins just then has a few calls of its own. Without the lines of the log: whoever runs the tests may
    want to see more of them."""
    logging.disable(logging.CRITICAL)
    try:
        for _ in range(warm):
            work()
        return min(_counted(work) for _ in range(3))
    finally:
        logging.disable(logging.NOTSET)


def _counted(work: Callable[[], object]) -> int:
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
