"""Guessing gets slower, and nobody is kept out by what others guess elsewhere."""

from __future__ import annotations

import pytest

from taxii_server.auth.lockout import ADDRESS_FACTOR, NAME_FACTOR, Lockout
from taxii_server.auth.shared import Table
from taxii_server.errors import LockedOut
from tests.unit.auth.clock import Clock

HERE, THERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lockout(clock: Clock) -> Lockout:
    return Lockout(Table(rows=4096, clock=clock), after=3, first_s=30, longest_s=120)


def wait_of(lockout: Lockout, address: str, name: str) -> int:
    """The seconds that a client is told to wait; 0 when its secret is looked at."""
    try:
        lockout.require_open(address, name)
    except LockedOut as error:
        return error.retry_after_s
    return 0


def guess(lockout: Lockout, address: str, name: str, times: int = 1) -> int:
    """Guess wrong as often as that is looked at, up to so many times; how often it was."""
    looked_at = 0
    for _ in range(times):
        if not wait_of(lockout, address, name):
            lockout.note(address, name, None, right=False)
            looked_at += 1
    return looked_at


def test_the_limit_is_looked_at_and_what_follows_is_not(lockout: Lockout) -> None:
    assert guess(lockout, HERE, "cert", 100) == 3
    assert wait_of(lockout, HERE, "cert") == 30


def test_each_further_wrong_one_doubles_the_wait_up_to_the_longest(lockout: Lockout, clock: Clock) -> None:
    guess(lockout, HERE, "cert", 3)
    waits = []
    for _ in range(4):
        waits.append(wait_of(lockout, HERE, "cert"))
        clock.now += waits[-1]
        assert guess(lockout, HERE, "cert", 5) == 1
    assert waits == [30, 60, 120, 120]


def test_a_right_one_after_the_wait_clears_the_count(lockout: Lockout, clock: Clock) -> None:
    guess(lockout, HERE, "cert", 3)
    clock.now += 30
    assert not wait_of(lockout, HERE, "cert")
    lockout.note(HERE, "cert", None, right=True)
    assert guess(lockout, HERE, "cert", 100) == 3


def test_nobody_is_locked_out_by_guesses_from_elsewhere(lockout: Lockout, clock: Clock) -> None:
    lockout.note(HERE, "cert", None, right=True)
    for number in range(1000):
        guess(lockout, f"203.0.{number // 250}.{number % 250}", "cert", 5)
        clock.now += 0.01
    assert wait_of(lockout, HERE, "cert") == 0
    assert wait_of(lockout, THERE, "cert") == 0, "a first attempt from a new address is looked at, too"


def test_a_name_that_is_guessed_from_everywhere_has_one_guess_an_address(lockout: Lockout) -> None:
    counts = [guess(lockout, f"203.0.113.{number}", "cert", 5) for number in range(40)]
    assert counts[0] == 3
    assert sum(counts[:10]) == NAME_FACTOR * 3
    assert counts[10:] == [1] * 30


def test_one_password_tried_on_many_names_stops_the_address_but_not_who_was_right_there(lockout: Lockout) -> None:
    lockout.note(HERE, "cert", None, right=True)
    assert sum(guess(lockout, HERE, f"name{number}", 1) for number in range(500)) == ADDRESS_FACTOR * 3
    assert wait_of(lockout, HERE, "one-more") > 0
    assert wait_of(lockout, HERE, "cert") == 0
    assert wait_of(lockout, THERE, "one-more") == 0


def test_a_guesser_with_an_account_of_its_own_does_not_clear_its_address_with_it(lockout: Lockout) -> None:
    for number in range(500):
        guess(lockout, HERE, f"name{number}", 1)
        lockout.note(HERE, "own", None, right=True)
    assert wait_of(lockout, HERE, "cert") > 0


def test_a_lockout_is_over_some_time(lockout: Lockout, clock: Clock) -> None:
    guess(lockout, HERE, "cert", 100)
    clock.now += 240
    assert guess(lockout, HERE, "cert", 100) == 3


def test_it_can_be_switched_off(clock: Clock) -> None:
    off = Lockout(Table(rows=16, clock=clock), after=0, first_s=30, longest_s=120)
    assert guess(off, HERE, "cert", 100) == 100


def test_the_audit_tells_of_it_once_a_time_and_never_a_name_that_nobody_has(
    lockout: Lockout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "taxii_server.audit")
    for _ in range(10):
        if not wait_of(lockout, HERE, "basic hunter2"):
            lockout.note(HERE, "basic hunter2", "cert-de", right=False)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"locked-out partner=cert-de address={HERE} failures=3 seconds=30"]
