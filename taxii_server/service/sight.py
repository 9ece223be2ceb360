"""What one audience may read, as a set of labels: the policy's answer for a whole poll, kept in memory.

Computed once per audience and policy, then extended as the book grows. Hidden unless proved readable:
a label too coarse for the policy, whose collection is unknown or that the audience cannot reach is not in the set.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from taxii_server.catalog import Catalog
from taxii_server.policy import Facets, allowed
from taxii_server.service.book import Book, Label

_Judged = tuple[int, Facets, Facets | None]


@dataclass(frozen=True, slots=True)
class Sight:
    """The labels that `audience` may read under one policy, complete up to entry `length` of the log."""

    audience: str
    length: int
    generation: int
    labels: frozenset[int]
    by_collection: dict[str, tuple[int, ...]]
    #: marking-definition ids on anything that the audience may read (policy design, C12)
    carried: frozenset[str]

    def labels_in(self, collections: Iterable[str]) -> tuple[int, ...]:
        """The readable labels of these collections, ascending."""
        return tuple(sorted(number for id_ in collections for number in self.by_collection.get(id_, ())))


class Sights:
    """The sights under one catalog, by audience. Safe for several threads."""

    def __init__(self, catalog: Catalog, book: Book) -> None:
        self._catalog = catalog
        self._book = book
        self._names = {collection.id: collection.name for collection in catalog.collections.values()}
        self._lock = threading.Lock()
        self._known: dict[str, Sight] = {}

    def of(self, audience: str) -> Sight:
        """The sight of this audience, up to date with the book."""
        known = self._known.get(audience)
        if known is not None and known.length == self._book.length and known.generation == self._book.generation:
            return known
        with self._lock:
            sight = self._compute(audience, self._known.get(audience))
            self._known[audience] = sight
            return sight

    def named(self, label: Label) -> _Judged | None:
        """The label in the words of the policy, which knows collections by name. None for an unknown collection."""
        facets = self.in_words(label.key.facets)
        if facets is None:
            return None
        governor = label.key.governor
        return label.number, facets, None if governor is None else self.in_words(governor) or facets

    def in_words(self, facets: Facets) -> Facets | None:
        """Facets with the collection's name in place of its id, or None when no such collection is declared."""
        name = self._names.get(facets.collection)
        return None if name is None else replace(facets, collection=name)

    def _compute(self, audience: str, known: Sight | None) -> Sight:
        book, policy = self._book, self._catalog.policy
        length, generation, meanings = book.length, book.generation, book.meanings
        start = 0
        labels: set[int] = set()
        carried: set[str] = set()
        if known is not None and known.generation == generation:
            start, labels, carried = known.length, set(known.labels), set(known.carried)
        reachable = self._catalog.reachable(audience)
        fresh: list[_Judged] = []
        definitions: list[_Judged] = []
        for number in range(1, length + 1):
            label = book.labels.get(number)
            if label is None or label.key.facets.collection not in reachable:
                continue
            is_definition = label.key.facets.defines is not None
            if not is_definition and number <= start:
                continue
            named = self.named(label)
            if named is not None and book.fits(label, policy.vocabulary):
                (definitions if is_definition else fresh).append(named)
        found = allowed(policy, audience, fresh, meanings, frozenset())
        for number, facets, _ in fresh:
            if number in found:
                carried.update(facets.markings, facets.granular)
        found |= allowed(policy, audience, definitions, meanings, frozenset(carried))
        labels |= found
        by_collection: dict[str, list[int]] = {}
        for number in sorted(labels):
            by_collection.setdefault(book.labels[number].key.facets.collection, []).append(number)
        return Sight(
            audience=audience,
            length=length,
            generation=generation,
            labels=frozenset(labels),
            by_collection={id_: tuple(numbers) for id_, numbers in by_collection.items()},
            carried=frozenset(carried),
        )
