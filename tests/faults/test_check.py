"""The comparison notices what it is there for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.check import Outcome, compare, count
from tests.faults.client import Answer, Tally
from tests.faults.load import Body

BODIES = [Body(0, ("a", "b"), 1.0, 2.0), Body(1, ("c",), 3.0, 4.0), Body(0, ("d",), 3.5, 0.0)]
ACKNOWLEDGED = ["a", "b", "c"]


def figures(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.lost, outcome.phantom, outcome.disorder


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("abc", (0, 0, 0)),
        ("abcd", (0, 0, 0)),  # what was never answered may be there
        ("abdc", (0, 0, 0)),  # both were on their way at the same time
        ("ab", (1, 0, 0)),
        ("b", (2, 0, 0)),
        ("abcx", (0, 1, 0)),
        ("bac", (0, 0, 1)),
        ("acb", (0, 0, 2)),  # torn apart, and "c" lies before what was acknowledged when it was sent
        ("cab", (0, 0, 1)),
        ("abcc", (0, 0, 2)),
    ],
)
def test_a_collection_is_compared_with_the_ledger(order: str, expected: tuple[int, int, int]) -> None:
    outcome = Outcome()
    dated = [(f"{place:03}", id_) for place, id_ in enumerate(order)]
    count(outcome, dated, ACKNOWLEDGED, BODIES)
    lost, phantom, disorder = figures(outcome)
    assert (lost, phantom, disorder > 0) == (*expected[:2], expected[2] > 0)


def test_dates_that_do_not_increase_are_disorder() -> None:
    outcome = Outcome()
    count(outcome, [("001", "a"), ("002", "b"), ("002", "c")], ACKNOWLEDGED, BODIES)
    assert figures(outcome) == (0, 0, 1)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("abc", (0, 0, 0)),
        ("ac", (1, 0, 0)),
        ("acb", (0, 0, 1)),
        ("abbc", (0, 0, 1)),
        ("abcx", (0, 1, 0)),
        ("abcd", (1, 0, 0)),  # it was given, and the collection does not have it any more
        ("", (3, 0, 0)),
    ],
)
def test_what_a_poller_was_given_is_compared_with_a_full_read(
    seen: Sequence[str], expected: tuple[int, int, int]
) -> None:
    outcome = Outcome()
    compare(outcome, "abc", list(seen), set("abcd"), ACKNOWLEDGED)
    assert figures(outcome) == expected


@pytest.mark.parametrize(
    ("status", "headers", "wrong", "refused"),
    [
        (202, {}, 0, 0),
        (503, {"retry-after": "2"}, 0, 1),
        (429, {"retry-after": "2"}, 0, 1),
        (503, {}, 1, 0),
        (429, {}, 1, 0),
        (500, {"retry-after": "2"}, 1, 0),
    ],
)
def test_only_a_503_that_says_when_to_come_back_is_allowed(
    status: int, headers: dict[str, str], wrong: int, refused: int
) -> None:
    tally = Tally()
    tally.note(Answer(status, headers, b""), 0.0)
    assert (tally.wrong.total(), tally.refused) == (wrong, refused)


def test_a_run_that_acknowledged_nothing_is_not_clean() -> None:
    assert Outcome(acknowledged=1).clean
    assert not Outcome().clean
    assert not Outcome(acknowledged=1, hung=1).clean
    assert not Outcome(acknowledged=1, errors=["no progress"]).clean
