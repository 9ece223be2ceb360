"""Old dates become places: unique, in order, never where a client could miss something."""

from __future__ import annotations

from itertools import groupby, pairwise

from hypothesis import given
from hypothesis import strategies as st

from taxii_server.migrate import places
from taxii_server.migrate.places import place
from taxii_server.model import POSITION_UNIT

DATES = st.lists(st.integers(1_600_000_000_000_000, 1_600_000_000_002_000), max_size=60).map(sorted)
SECOND = 1_000_000


def placed(dates: list[int], seed: bytes = b"a") -> list[int]:
    return [each.at for each in place(((date, number) for number, date in enumerate(dates)), seed)]


@given(DATES)
def test_places_increase_and_are_multiples_of_the_unit(dates: list[int]) -> None:
    found = placed(dates)
    assert len(found) == len(dates)
    assert all(earlier < later for earlier, later in pairwise(found))
    assert not [at for at in found if at % POSITION_UNIT]


@given(DATES)
def test_a_client_never_misses_what_it_did_not_have(dates: list[int]) -> None:
    """Whoever has everything up to a date remembers it: what is of a later date stands behind it."""
    found = placed(dates)
    for date in set(dates):
        assert all(at > date for at, own in zip(found, dates, strict=True) if own > date)


@given(DATES)
def test_what_stands_after_its_date_says_so(dates: list[int]) -> None:
    for each, date in zip(place(((date, None) for date in dates), b""), dates, strict=True):
        assert each.is_late == (each.at > date)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 200)), max_size=20))
def test_where_there_is_room_nothing_is_served_again(posts: list[tuple[int, int]]) -> None:
    """POSTs of some objects, at least as far apart as their objects need places."""
    dates, now = [], 1_600_000_000_000_000
    for count, pause in posts:
        now += (count + 1) * POSITION_UNIT + pause
        dates += [now] * count
    found = placed(dates)
    assert all(at <= date for at, date in zip(found, dates, strict=True))


def test_the_newest_of_a_date_stands_at_it() -> None:
    dates = [5 * SECOND] * 3 + [9 * SECOND + 7] * 2
    found = placed(dates)
    assert (found[2], found[4]) == (5 * SECOND, (9 * SECOND + 7) // 16 * 16)


def test_steps_are_the_same_on_every_run_and_foreseen_by_nobody() -> None:
    dates = [5 * SECOND] * 50
    assert placed(dates) == placed(dates)
    assert placed(dates) != placed(dates, b"another hub")
    steps = {later - earlier for earlier, later in pairwise(placed(dates))}
    assert steps == {16, 32, 48}


def test_one_date_for_everything_is_not_held_in_memory(monkeypatch: object) -> None:
    """What is beyond the first so many stands after the date, and in order."""
    assert isinstance(places.MOST_AT_ONCE, int)
    original, places.MOST_AT_ONCE = places.MOST_AT_ONCE, 10
    try:
        found = list(place(((SECOND, number) for number in range(25)), b""))
    finally:
        places.MOST_AT_ONCE = original
    assert [each.what for each in found] == list(range(25))
    assert [late for late, _ in groupby(each.is_late for each in found)] == [False, True]
    assert sum(each.is_late for each in found) == 15
