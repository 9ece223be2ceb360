"""What one audience may read, as a set of labels: the policy's answer for a whole poll, kept in memory.

Computed once per audience and policy, then extended as the book grows. Hidden unless proved readable: a label
too coarse for the policy, whose collection (or that of its newest version) is unknown, or that the audience
cannot reach is not in the set.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from taxii_server.catalog import Catalog
from taxii_server.model import Removal
from taxii_server.policy import Access, Facets, Vocabulary, allowed
from taxii_server.service.book import Book, Flags, Label
from taxii_server.service.events import Event

_log = logging.getLogger(__name__)

#: what the policy judges: label, facets, and those of the newest version where they differ
Judged = tuple[int, Facets, Facets | None]


@dataclass(frozen=True, slots=True)
class Sight:
    """The labels that `audience` may read under one policy, complete up to entry `length` of the log."""

    audience: str
    length: int
    generation: int
    #: the readable labels, and how: after which delay, without which parts
    access: Mapping[int, Access]
    by_collection: dict[str, tuple[int, ...]]
    #: marking-definition ids on anything of others that the audience may read (policy design, C12)
    carried: frozenset[str]
    #: the labels among them that it can read since an event: place of that event (policy design, C20)
    since: Mapping[int, int]
    #: those whose governing facets it can read since a later event: what carries the label stands there if it did so
    #: by then, and not if a newer version came to govern it afterwards; the band of the event tells
    later: Mapping[int, Event]
    #: feeds that it reaches since an event
    reached: Mapping[str, int]
    #: the places of the events that were for it: what it got by one stays there, also when the reason is gone
    events: frozenset[int]
    #: every delay of the policy, ascending
    delays: tuple[int, ...]
    #: the readable labels of the newest versions of ids that nobody else holds, where nothing is taken out: about such
    #: a record only what it refers to is left to be asked (see Resolver)
    settled: frozenset[int] = frozenset()

    def labels_in(self, collections: Iterable[str]) -> tuple[int, ...]:
        """The readable labels of these collections, ascending."""
        return tuple(sorted(number for id_ in collections for number in self.by_collection.get(id_, ())))


def _left_in(removal: Removal | None, facets: Facets) -> Iterable[str]:
    """The granular markings that are surely in what is read: the text of a marking can tell what it marks.

    Which of them lie in a property that a rule takes out is no facet, so none of them counts then.
    """
    if removal is None:
        return facets.granular
    if removal.properties or removal.creator:
        return ()
    return set(facets.granular).difference(removal.markings, facets.covered)


def wanted_vocabulary(catalog: Catalog) -> Vocabulary:
    """What labels have to tell apart under this catalog: what its rules name, and who is the rightful creator."""
    identities = frozenset(id_ for each in catalog.policy.audiences.values() for id_ in each.identities)
    return catalog.policy.vocabulary.union(Vocabulary(creators=identities))


class Sights:
    """The sights under one catalog at one moment (µs), by audience. Safe for several threads."""

    def __init__(self, catalog: Catalog, book: Book, moment: int) -> None:
        self.catalog = catalog
        self.moment = moment
        self._book = book
        self._vocabulary = wanted_vocabulary(catalog)
        self._names = {collection.id: collection.name for collection in catalog.collections.values()}
        self._lock = threading.Lock()
        self._known: dict[str, Sight] = {}
        #: what the policy is asked about each label; None: hidden from everybody. Log entries never change.
        self._judged: dict[int, Judged | None] = {}
        self._readers: dict[tuple[Facets, Facets | None], tuple[int, Mapping[str, int]]] = {}
        #: what an event granted an audience, in facets
        self._granted: dict[tuple[int, str], frozenset[Facets]] = {}

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

    def readers(self, facets: Facets, governor: Facets | None) -> Mapping[str, int]:
        """The audiences that may read a record with these facets, as far as a label can tell, and how much later
        than it comes, in µs (an embargo)."""
        key = facets, governor
        # Before it is worked out: what another thread reads of the log in between makes it out of date, never wrong.
        generation = self._book.generation
        known = self._readers.get(key)
        if known is None or known[0] != generation:
            known = self._readers[key] = (generation, self._readers_of(facets, governor))
        return known[1]

    def _readers_of(self, facets: Facets, governor: Facets | None) -> Mapping[str, int]:
        policy, meanings = self.catalog.policy, self._book.meanings
        named = self.in_words(facets)
        newest = None if governor is None else self.in_words(governor)
        if named is None or (newest is None and governor is not None):
            return {}
        found: dict[str, int] = {}
        for audience in policy.audiences:
            if facets.collection in self.catalog.reachable(audience):
                carried = self.of(audience).carried if facets.defines is not None else frozenset()
                access = allowed(policy, audience, [(0, named, newest)], meanings, carried, self.moment)
                if access:
                    found[audience] = access[0].delay_us
        return found

    def named(self, label: Label) -> Judged | None:
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

    def judged(self, number: int) -> Judged | None:
        """What the policy is asked about this label; None when it is too coarse or its collection unknown."""
        if number not in self._judged:
            label = self._book.labels[number]
            self._judged[number] = self.named(label) if self._book.fits(label, self._vocabulary) else None
        return self._judged[number]

    def _is_current(self, sight: Sight) -> bool:
        return sight.length == self._book.length and sight.generation == self._book.generation

    def _compute(self, audience: str, known: Sight | None) -> Sight:
        """The sight up to the present end of the log; only new labels and definitions are judged if possible."""
        book, policy = self._book, self.catalog.policy
        # In this order: an entry that is read in between makes the sight out of date, never wrong.
        length, generation, meanings, events = book.length, book.generation, book.meanings, book.events
        if known is None or known.generation != generation:
            known = Sight(audience, 0, generation, {}, {}, frozenset(), {}, {}, {}, frozenset(), ())
        reachable = self.catalog.reachable(audience)
        definitions = [number for number in book.definitions if number <= length and number not in known.access]
        fresh = set(range(known.length + 1, length + 1)).difference(definitions)
        judged = self._judged_in(sorted(fresh), reachable)

        def failed(number: int) -> None:
            _log.exception("%s: label %d cannot be judged, what carries it is hidden", audience, number)

        found = allowed(policy, audience, judged, meanings, frozenset(), self.moment, failed=failed)
        carried = set(known.carried)
        for number, facets, _ in judged:
            # Its own objects carry whatever it likes: they open no definition of others. What it will read later opens
            # none now: the text of a marking can tell what it marks.
            if number in found and facets.submitter != audience and not found[number].delay_us:
                carried.update(facets.markings, _left_in(found[number].removal, facets))
        about = self._judged_in(definitions, reachable)
        found |= allowed(policy, audience, about, meanings, frozenset(carried), self.moment, failed=failed)
        # Most events grant nothing: they are of writes. Each label is compared with those that do.
        own, later = self._granted_by(audience, found, tuple(event for event in events if audience in event.grants))
        new_events = [event for event in events if event.number > known.length]
        return Sight(
            audience=audience,
            length=length,
            generation=generation,
            access={**known.access, **found},
            by_collection=self._merged(known.by_collection, found),
            carried=frozenset(carried),
            since={**known.since, **{number: event.base for number, event in own.items()}},
            later={**known.later, **later},
            reached={
                **known.reached,
                **{feed: event.base for event in new_events for feed in event.reach.get(audience, ())},
            },
            events=known.events.union(event.base for event in new_events if event.classes_for(audience, None)),
            delays=policy.delays(),
            settled=known.settled.union(number for number, access in found.items() if self._is_settled(number, access)),
        )

    def _is_settled(self, number: int, access: Access) -> bool:
        alone = Flags.LAST | Flags.TWIN | Flags.MIXED
        return access.removal is None and self._book.labels[number].key.flags & alone == Flags.LAST

    def _granted_by(
        self, audience: str, numbers: Iterable[int], events: tuple[Event, ...]
    ) -> tuple[dict[int, Event], dict[int, Event]]:
        """The last event that let this audience read the own facets of each label, if one did, and a later one that let
        it read the governing ones, if there is one."""
        own: dict[int, Event] = {}
        later: dict[int, Event] = {}
        for number in numbers if events else ():
            key = self._book.labels[number].key
            event = self._last_grant(audience, key.facets, events)
            if event is not None:
                own[number] = event
            newest = None if key.governor is None else self._last_grant(audience, key.governor, events)
            if newest is not None and (event is None or newest.base > event.base):
                later[number] = newest
        return own, later

    def _last_grant(self, audience: str, facets: Facets, events: tuple[Event, ...]) -> Event | None:
        for event in reversed(events):
            if audience in event.grants:
                granted = self._granted_facets(event, audience)
                # What has been labelled anew since then was granted under its coarser label.
                if facets in granted or self._book.vocabulary_at(event.number).coarsen(facets) in granted:
                    return event
        return None

    def granted_behind(self, facets: Facets, place: int) -> frozenset[str]:
        """The audiences that an event behind this place let read what has these facets."""
        late = tuple(event for event in self._book.events if event.grants and event.base > place)
        audiences = {audience for event in late for audience in event.grants}
        return frozenset(audience for audience in audiences if self._last_grant(audience, facets, late) is not None)

    def _granted_facets(self, event: Event, audience: str) -> frozenset[Facets]:
        key = event.number, audience
        if key not in self._granted:
            labels = self._book.labels
            self._granted[key] = frozenset(labels[number].key.facets for number in event.grants[audience])
        return self._granted[key]

    def _judged_in(self, numbers: Iterable[int], reachable: frozenset[str]) -> list[Judged]:
        """Those of the labels, in the words of the policy, that it can judge and that lie in these collections."""
        found: list[Judged] = []
        for number in numbers:
            label = self._book.labels.get(number)
            if label is not None and label.key.facets.collection in reachable:
                judged = self.judged(number)
                if judged is not None:
                    found.append(judged)
        return found

    def _merged(self, known: Mapping[str, tuple[int, ...]], found: Iterable[int]) -> dict[str, tuple[int, ...]]:
        """The labels of each collection, ascending, with the ones that were found."""
        added: dict[str, list[int]] = {}
        for number in found:
            added.setdefault(self._book.labels[number].key.facets.collection, []).append(number)
        return {**known, **{id_: tuple(sorted((*known.get(id_, ()), *more))) for id_, more in added.items()}}
