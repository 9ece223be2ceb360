"""Another thread that comes in between, at a chosen line and without a thread: what a race does, each time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interrupted(function: str, work: Callable[[], object], *, at: int = 1) -> Iterator[Callable[[], bool]]:
    """While this lasts, `work` is done once: before the line number `at` that the function with this name comes to.

    What is inside of it counts, and of a comprehension each step. Gives what says whether the work was done.
    """
    lines = 0

    def on_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == at:
            # Nothing of the work is interrupted itself.
            sys.settrace(None)
            try:
                work()
            finally:
                sys.settrace(on_call)
        return on_line

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        return on_line if frame.f_code.co_qualname.startswith(function) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield lambda: lines >= at
    finally:
        sys.settrace(before)
