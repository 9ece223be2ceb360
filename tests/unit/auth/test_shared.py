"""The table that workers share, when threads of one of them write at once."""

from __future__ import annotations

import threading
from typing import Any

from taxii_server.auth.shared import Entry, Table
from tests.unit.auth.clock import Clock

WAIT_S = 30


class Slow:
    """Numbers of a table, of which one thread writes its first one when it may."""

    def __init__(self, numbers: Any) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.slow: threading.Thread | None = None
        self._numbers = numbers

    def __getitem__(self, at: int) -> float:
        return float(self._numbers[at])

    def __setitem__(self, at: int, number: float) -> None:
        if threading.current_thread() is self.slow:
            self.slow = None
            self.reached.set()
            assert self.go_on.wait(WAIT_S)
        self._numbers[at] = number


def test_two_threads_that_write_at_once_do_not_take_the_same_place() -> None:
    """An ended session must not be forgotten because somebody polls."""
    table = Table(rows=1, clock=Clock())
    for number in range(4):
        table.write(Entry(number, 1000, 2000 + number), "old", str(number))
    numbers = table._numbers = Slow(table._numbers)  # type: ignore[assignment]
    one = threading.Thread(target=table.write, args=(Entry(1, 1000, 9000), "one"))
    two = threading.Thread(target=table.write, args=(Entry(2, 1000, 9000), "two"))
    numbers.slow = one
    one.start()
    assert numbers.reached.wait(WAIT_S)
    two.start()
    two.join(0.2)
    numbers.go_on.set()
    for thread in (one, two):
        thread.join(WAIT_S)
    assert (table.read("one"), table.read("two")) == (Entry(1, 1000, 9000), Entry(2, 1000, 9000))
