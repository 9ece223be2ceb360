"""What a change of the configuration would give and take: for each audience the labels and records gained and lost.

For operators, before a change. Both configurations are judged by the code that judges a poll (`Sights`), on the
labels of one store. A label that is too coarse for one of the two is resolved first: the records behind it are
labelled anew in memory, by the code that would do it when the configuration is applied. Nothing is written.

Counted are records (each stored version of each copy) whose label is readable and whose collection the audience
reads, here or through a view. What only a page can tell is left out: references to hidden objects, and which of
several copies a view shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from taxii_server.catalog import Catalog
from taxii_server.policy import Decision
from taxii_server.service.book import Book
from taxii_server.service.explaining import NO_DOOR, in_words
from taxii_server.service.posting import Writer
from taxii_server.service.rehearsing import Rehearsal
from taxii_server.service.sight import Sights, wanted_vocabulary
from taxii_server.storage.base import Store

Status = Literal["kept", "added", "removed"]

_NO_COLLECTION = Decision("hide", "no-collection", None, "its newest version is in no collection any more")


@dataclass(frozen=True, slots=True)
class Reason:
    """How many labels and records one reason decides now. `words` holds the rule, if a rule decides."""

    code: str
    rule: str | None
    words: str
    labels: int
    objects: int


@dataclass(frozen=True, slots=True)
class Change:
    """Labels and records gained or lost, and what decides about them now: most records first."""

    labels: int
    objects: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What the change means for one audience. `before` and `after` count the records that it may read."""

    audience: str
    status: Status
    before: int
    after: int
    gained: Change
    lost: Change

    def is_none(self) -> bool:
        """True when the audience stays and reads what it read."""
        return self.status == "kept" and not self.gained.labels and not self.lost.labels


def compare(
    store: Store, old: Catalog, new: Catalog, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Difference, ...]:
    """What every audience of the two catalogs gains and loses, by name.

    `progress` is told how many records behind coarse labels are done, and how many there are.
    """
    rehearsal = Rehearsal(store)
    book = Book(rehearsal)
    book.grow_vocabulary(wanted_vocabulary(old).union(wanted_vocabulary(new)))
    counts = rehearsal.count_by_label()
    coarse = sum(counts.get(number, 0) for number in book.coarse())
    if coarse:
        Writer(rehearsal, book, tuple).labelling.relabel(lambda done: progress(done, coarse))
        counts = rehearsal.count_by_label()
    return compare_labels(book, counts, old, new, store.present())


def compare_labels(
    book: Book, counts: Mapping[int, int], old: Catalog, new: Catalog, moment: int
) -> tuple[Difference, ...]:
    """The same, for records of which so many carry each label. The labels are exact for both catalogs.

    Both are judged at this moment (µs).
    """
    comparison = _Comparison(book, counts, old, new, moment)
    audiences = sorted({*old.policy.audiences, *new.policy.audiences})
    return tuple(comparison.of(audience) for audience in audiences)


class _Comparison:
    """Two catalogs on the labels of one book."""

    def __init__(self, book: Book, counts: Mapping[int, int], old: Catalog, new: Catalog, moment: int) -> None:
        self._book = book
        self._counts = {number: count for number, count in counts.items() if count}
        self._old, self._new = old, new
        self._old_sights, self._new_sights = (Sights(each, book, moment) for each in (old, new))

    def of(self, audience: str) -> Difference:
        before = self._readable(self._old_sights, audience)
        after = self._readable(self._new_sights, audience)
        return Difference(
            audience=audience,
            status=self._status(audience),
            before=self._objects(before),
            after=self._objects(after),
            gained=self._change(audience, after - before),
            lost=self._change(audience, before - after),
        )

    def _status(self, audience: str) -> Status:
        if audience not in self._old.policy.audiences:
            return "added"
        return "kept" if audience in self._new.policy.audiences else "removed"

    def _readable(self, sights: Sights, audience: str) -> frozenset[int]:
        return frozenset(sights.of(audience).access.keys() & self._counts.keys())

    def _objects(self, labels: Iterable[int]) -> int:
        return sum(self._counts[number] for number in labels)

    def _change(self, audience: str, labels: frozenset[int]) -> Change:
        found: dict[tuple[str, str | None], list[int]] = {}
        words: dict[tuple[str, str | None], str] = {}
        for number in sorted(labels):
            decision = decide_label(self._new_sights, self._book, audience, number)
            key = decision.reason, decision.rule
            found.setdefault(key, []).append(number)
            words[key] = in_words(decision)
        reasons = [
            Reason(*key, words[key], len(numbers), self._objects(numbers))
            for key, numbers in sorted(found.items(), key=str)
        ]
        reasons.sort(key=lambda reason: -reason.objects)
        return Change(len(labels), self._objects(labels), tuple(reasons))


def decide_label(sights: Sights, book: Book, audience: str, number: int) -> Decision:
    """What decides, for this audience, about the records with this label: the policy, or how one gets to them."""
    policy = sights.catalog.policy
    label = book.label(number)
    sight = sights.of(audience)
    named = sights.named(label)
    facets, governor = (named[1], named[2]) if named else (label.key.facets, label.key.governor)
    decision = policy.decide(audience, facets, book.meanings, governor, sight.carried, sights.moment)
    if decision.reason in ("unmapped", "suspended"):
        return decision
    if named is None:
        return NO_DOOR if sights.in_words(label.key.facets) is None else _NO_COLLECTION
    return NO_DOOR if decision.verdict == "read" and number not in sight.access else decision
