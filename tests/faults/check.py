"""What a run comes to: what was acknowledged, and whether everybody was given it, once, in commit order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.faults.load import LATE, Body, Load


@dataclass(slots=True)
class Outcome:
    """The figures of one run, or of several added up."""

    runs: int = 1
    acknowledged: int = 0
    #: acknowledged, and not in the collection, or not given to a poller, or not found by a look-up
    lost: int = 0
    #: given to somebody, and never posted, or not as it was posted
    phantom: int = 0
    #: against commit order, against the order of posting, or twice
    disorder: int = 0
    #: 5xx other than 503 with Retry-After
    wrong: int = 0
    #: requests without an answer in time
    hung: int = 0
    #: 503 and 429 with Retry-After: allowed
    refused: int = 0
    #: broken connections: allowed
    cut: int = 0
    slowest_s: float = 0.0
    #: what went wrong besides, and what a reader of the table wants to know
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        zero = (self.lost, self.phantom, self.disorder, self.wrong, self.hung)
        return not any(zero) and not self.errors and self.acknowledged > 0

    def __add__(self, other: Outcome) -> Outcome:
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__}
        return Outcome(**sums | {"slowest_s": max(self.slowest_s, other.slowest_s)})


def judge(load: Load) -> Outcome:
    """Compare the ledger of a load that has ended with what its pollers saw and what the collection holds now."""
    order = load.order("rw")
    acknowledged = load.posted.acknowledged()
    outcome = Outcome(acknowledged=len(acknowledged), errors=list(load.errors))
    count(outcome, order, acknowledged, load.posted.bodies)
    for poll in load.polls:
        told = order if poll.partner == "rw" else load.order(poll.partner)
        compare(outcome, [id_ for _, id_ in told], poll.seen, set(load.posted.names), acknowledged)
    outcome.lost += len(load.missing)
    outcome.phantom += len(load.damaged)
    tally = load.tally
    outcome.wrong, outcome.hung, outcome.refused, outcome.cut = (
        tally.wrong.total(), tally.hung, tally.refused, tally.cut,
    )  # fmt: skip
    outcome.slowest_s = tally.slowest_s
    return outcome


def count(
    outcome: Outcome, order: Sequence[tuple[str, str]], acknowledged: Sequence[str], bodies: Sequence[Body]
) -> None:
    """Compare a collection, read from the start, with the ledger.

    A body that was acknowledged before another one was first sent lies before it; so do the bodies of one poster, and
    the objects within a body.
    """
    ids = [id_ for _, id_ in order]
    place = {id_: number for number, id_ in enumerate(ids)}
    posted = {id_ for body in bodies for id_ in body.ids}
    outcome.lost += len(set(acknowledged) - place.keys())
    outcome.phantom += len(place.keys() - posted)
    outcome.disorder += len(ids) - len(place)
    dates = [date for date, _ in order]
    outcome.disorder += sum(earlier >= later for earlier, later in pairwise(dates))
    stored = [body for body in bodies if body.ids[0] in place]
    for body in stored:
        places = [place.get(id_, -1) for id_ in body.ids]
        # A body of this size is one transaction: all of it or nothing, side by side, in its order.
        outcome.disorder += places != list(range(places[0], places[0] + len(places)))
    stored.sort(key=lambda body: place[body.ids[0]])
    last_begun = 0.0
    for body in stored:
        last_begun = max(last_begun, body.begun)
        # Something that lies before it was sent only after this one had been acknowledged.
        outcome.disorder += bool(body.acknowledged) and body.acknowledged < last_begun


def compare(
    outcome: Outcome, order: Sequence[str], seen: Sequence[str], posted: set[str], acknowledged: Sequence[str]
) -> None:
    """Compare what one poller was given with what a full read gives the same partner now."""
    place = {id_: number for number, id_ in enumerate(order)}
    given = Counter(seen)
    outcome.lost += len(set(acknowledged) & place.keys() - given.keys())
    outcome.phantom += len(given.keys() - posted)
    outcome.lost += len((given.keys() & posted) - place.keys())  # it was there, and is not any more
    outcome.disorder += sum(given.values()) - len(given)
    places = [place[id_] for id_ in seen if id_ in place]
    outcome.disorder += sum(earlier > later for earlier, later in pairwise(places))


def late_ones(load: Load) -> set[str]:
    """The acknowledged objects that need a grant."""
    names = load.posted.names
    return {id_ for id_ in load.posted.acknowledged() if names[id_].endswith(LATE)}
