"""What one audience may read, as a set of labels: the policy's answer for a whole poll, kept in memory.

Computed once per audience and policy, then extended as the book grows. Hidden unless proved readable: a label
too coarse for the policy, whose collection (or that of its newest version) is unknown, or that the audience
cannot reach is not in the set.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from taxii_server.catalog import Catalog
from taxii_server.policy import Facets, Vocabulary, allowed
from taxii_server.service.book import Book, Label

#: what the policy judges: label, facets, and those of the newest version where they differ
_Judged = tuple[int, Facets, Facets | None]


@dataclass(frozen=True, slots=True)
class Sight:
    """The labels that `audience` may read under one policy, complete up to entry `length` of the log."""

    audience: str
    length: int
    generation: int
    labels: frozenset[int]
    by_collection: dict[str, tuple[int, ...]]
    #: marking-definition ids on anything of others that the audience may read (policy design, C12)
    carried: frozenset[str]

    def labels_in(self, collections: Iterable[str]) -> tuple[int, ...]:
        """The readable labels of these collections, ascending."""
        return tuple(sorted(number for id_ in collections for number in self.by_collection.get(id_, ())))


def wanted_vocabulary(catalog: Catalog) -> Vocabulary:
    """What labels have to tell apart under this catalog: what its rules name, and who is the rightful creator."""
    identities = frozenset(id_ for each in catalog.policy.audiences.values() for id_ in each.identities)
    return catalog.policy.vocabulary.union(Vocabulary(creators=identities))


class Sights:
    """The sights under one catalog, by audience. Safe for several threads."""

    def __init__(self, catalog: Catalog, book: Book) -> None:
        self._catalog = catalog
        self._book = book
        self._vocabulary = wanted_vocabulary(catalog)
        self._names = {collection.id: collection.name for collection in catalog.collections.values()}
        self._lock = threading.Lock()
        self._known: dict[str, Sight] = {}
        #: what the policy is asked about each label; None: hidden from everybody. Log entries never change.
        self._judged: dict[int, _Judged | None] = {}

    def of(self, audience: str) -> Sight:
        """The sight of this audience, up to date with the book."""
        known = self._known.get(audience)
        if known is not None and self._is_current(known):
            return known
        with self._lock:
            known = self._known.get(audience)
            if known is None or not self._is_current(known):
                known = self._known[audience] = self._compute(audience, known)
            return known

    def named(self, label: Label) -> _Judged | None:
        """The label in the words of the policy, which knows collections by name. None for an unknown collection."""
        facets = self.in_words(label.key.facets)
        governor = None if label.key.governor is None else self.in_words(label.key.governor)
        if facets is None or (governor is None and label.key.governor is not None):
            return None
        return label.number, facets, governor

    def in_words(self, facets: Facets) -> Facets | None:
        """Facets with the collection's name in place of its id, or None when no such collection is declared."""
        name = self._names.get(facets.collection)
        return None if name is None else replace(facets, collection=name)

    def _is_current(self, sight: Sight) -> bool:
        return sight.length == self._book.length and sight.generation == self._book.generation

    def _compute(self, audience: str, known: Sight | None) -> Sight:
        """The sight up to the present end of the log; only new labels and definitions are judged if possible."""
        book, policy = self._book, self._catalog.policy
        # In this order: an entry that is read in between makes the sight out of date, never wrong.
        length, generation, meanings = book.length, book.generation, book.meanings
        if known is None or known.generation != generation:
            known = Sight(audience, 0, generation, frozenset(), {}, frozenset())
        reachable = self._catalog.reachable(audience)
        definitions = [number for number in book.definitions if number <= length and number not in known.labels]
        fresh = set(range(known.length + 1, length + 1)).difference(definitions)
        judged = self._judged_in(sorted(fresh), reachable)
        found = allowed(policy, audience, judged, meanings, frozenset())
        carried = set(known.carried)
        for number, facets, _ in judged:
            # Its own objects carry whatever it likes: they open no definition of others.
            if number in found and facets.submitter != audience:
                carried.update(facets.markings, facets.granular)
        found |= allowed(policy, audience, self._judged_in(definitions, reachable), meanings, frozenset(carried))
        return Sight(
            audience=audience,
            length=length,
            generation=generation,
            labels=known.labels | found,
            by_collection=self._merged(known.by_collection, found),
            carried=frozenset(carried),
        )

    def _judged_in(self, numbers: Iterable[int], reachable: frozenset[str]) -> list[_Judged]:
        """Those of the labels, in the words of the policy, that it can judge and that lie in these collections."""
        found: list[_Judged] = []
        for number in numbers:
            label = self._book.labels.get(number)
            if label is None or label.key.facets.collection not in reachable:
                continue
            if number not in self._judged:
                self._judged[number] = self.named(label) if self._book.fits(label, self._vocabulary) else None
            judged = self._judged[number]
            if judged is not None:
                found.append(judged)
        return found

    def _merged(self, known: Mapping[str, tuple[int, ...]], found: Iterable[int]) -> dict[str, tuple[int, ...]]:
        """The labels of each collection, ascending, with the ones that were found."""
        added: dict[str, list[int]] = {}
        for number in found:
            added.setdefault(self._book.labels[number].key.facets.collection, []).append(number)
        return {**known, **{id_: tuple(sorted((*known.get(id_, ()), *more))) for id_, more in added.items()}}
