"""Late grants: what a change of policy, or the passing of time, lets audiences read that is there already (C20).

Worked out before the change is put in force: each label is judged under the catalog in force and under the new one.
The records behind a label that some audience gains get a place in the band of the event, and so does what refers to
them. The long part is done beside writers; what they add meanwhile is caught up with inside the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from taxii_server.model import EventPlan, PageQuery, Record
from taxii_server.policy import Access, Facets, allowed
from taxii_server.service.book import ONLY, Book, LabelKey
from taxii_server.service.events import EventClass, EventFacts
from taxii_server.service.newcomers import NOBODY, Lookup, Newcomers, looked_up
from taxii_server.service.references import References
from taxii_server.service.sight import Sights
from taxii_server.storage.base import Inside, Store

_PORTION = 1000


class Granting:
    """The event of one change from `old` (None: nothing was in force) to `new`, both on the same book."""

    def __init__(self, store: Store, book: Book, old: Sights | None, new: Sights) -> None:
        self._store = store
        self._book = book
        self._old, self._new = old, new
        self._audiences = [] if old is None else _in_both(old, new)
        self._views = {} if old is None else _grown_views(old, new)
        self._reach = {} if old is None else _grown_reach(old, new, self._audiences)
        self._same_policy = old is not None and _same_policy(old, new)
        #: whether references in lists, or newer versions, are judged in another way than before
        self._judges_anew = old is not None and _modes(old) != _modes(new)
        #: whether what lists something hidden can be read without it
        self._derives = new.catalog.policy.defaults.refs_lists == "derive"
        #: facets -> who gains them, and who waited for them in vain
        self._judged: dict[Facets, tuple[frozenset[str], Mapping[str, int]]] = {}
        self._classes: dict[int, EventClass] = {}
        self._found = Newcomers(self._key_of)
        #: positions of records that others hid, by references in lists or as newer versions, and hide no longer
        self._opened: set[int] = set()
        #: ids that somebody waited for, and does not any more because they are hidden now
        self._gone: set[str] = set()
        self._last = 0

    def prepare(self, progress: Callable[[int], None] = lambda done: None) -> None:
        """Find what is there now. `progress` is told how many records were looked at."""
        # Before the first page: what is committed from here on is caught up with later.
        self._last = self._store.clock()
        done = 0
        waited: set[str] = set()
        for records in self._pages(self._labels()):
            waited |= self._add(records)
            done += len(records)
            progress(done)
        if self._judges_anew:
            for records in self._pages(tuple(sorted(self._book.labels))):
                self._book.settled(partial(self._compare, records))
        for start in range(0, len(waited), _PORTION):
            self._free(self._store.referrers(sorted(waited)[start : start + _PORTION]), self._store.lookup)
        self._found.follow(self._store.referrers)
        self._found.add_versions(self._store.lookup)

    def _pages(self, labels: tuple[int, ...]) -> Iterator[Sequence[Record]]:
        """The records with these labels, ascending."""
        after = 0
        while labels:
            page = self._store.page(
                PageQuery(labels=labels, collections=(), after=after, limit=_PORTION, content=False)
            )
            yield page.records
            if len(page.records) < _PORTION:
                break
            after = page.records[-1].position

    def plan(self, inside: Inside) -> EventPlan:
        """The event, inside the transaction that puts the new catalog in force."""
        self._book.sync()
        self._catch_up(inside)
        facts = EventFacts(
            epoch=inside.epoch + 1,
            grants=self._grants(),
            views=self._views,
            reach=self._reach,
            classes=self._found.classes(),
        )
        gone = sorted(self._gone)
        return EventPlan(
            self._found.numbered(), lambda base, end, positions: facts.payload(base, end, self._opened, gone=gone)
        )

    # ---- who gains what

    def _labels(self) -> tuple[int, ...]:
        """The labels whose records gain a reader, or lie where somebody comes to."""
        feeds = {feed for feeds in self._reach.values() for feed in feeds}
        return tuple(
            number
            for number, label in sorted(self._book.labels.items())
            if self._class_of(number) != NOBODY or label.key.facets.collection in feeds or self._waits(label.key.facets)
        )

    def _class_of(self, number: int) -> EventClass:
        """Whom what carries the label is new for."""
        if number not in self._classes:
            key = self._book.labels[number].key
            audiences = self._gain(key.facets)
            if key.governor is not None and _modes(self._new)[1] != "independent":
                audiences |= self._gain(key.governor)
            feed = key.facets.collection
            views = frozenset(view for view, feeds in self._views.items() if feed in feeds)
            self._classes[number] = EventClass(audiences, views)
        return self._classes[number]

    def _gain(self, facets: Facets) -> frozenset[str]:
        """The audiences that can read something with these facets, and could not, or not so early or so wholly."""
        return self._judge(facets)[0]

    def _waits(self, facets: Facets) -> Mapping[str, int]:
        """The audiences that can read nothing with these facets any more and would have later, and with which delay, in
        µs: what lists such an object had to wait as long, and comes without it now."""
        return self._judge(facets)[1] if self._derives else {}

    def _judge(self, facets: Facets) -> tuple[frozenset[str], Mapping[str, int]]:
        if self._old is None or self._same_policy:
            return frozenset(), {}
        if facets not in self._judged:
            old, new = (self._access(sights, facets) for sights in (self._old, self._new))
            gained = frozenset(audience for audience, access in new.items() if _is_more(access, old.get(audience)))
            waited = {name: access.delay_us for name, access in old.items() if access.delay_us and name not in new}
            self._judged[facets] = gained, waited
        return self._judged[facets]

    def _access(self, sights: Sights, facets: Facets) -> dict[str, Access]:
        named = sights.in_words(facets)
        if named is None:
            return {}
        found: dict[str, Access] = {}
        for audience in self._audiences:
            carried = sights.of(audience).carried if facets.defines is not None else frozenset()
            access = allowed(
                sights.catalog.policy,
                audience,
                [(0, named, None)],
                self._book.meanings,
                carried,
                sights.moment,
                suspended_too=True,
            )
            if 0 in access:
                found[audience] = access[0]
        return found

    def _grants(self) -> Mapping[str, list[int]]:
        """Audience -> labels whose own facets it gains; one label for each facets."""
        labels: dict[Facets, int] = {}
        for number, label in sorted(self._book.labels.items()):
            labels.setdefault(label.key.facets, number)
        grants: dict[str, list[int]] = {}
        for facets, number in labels.items():
            for audience in self._gain(facets):
                grants.setdefault(audience, []).append(number)
        return grants

    # ---- which records

    def _key_of(self, number: int) -> LabelKey | None:
        label = self._book.labels.get(number)
        return None if label is None else label.key

    def _add(self, records: Iterable[Record]) -> set[str]:
        """Add what somebody gains of these records; the ids of those that somebody waited for and cannot read now."""
        waited: set[str] = set()
        for record in records:
            own = self._class_of(record.label)
            if own != NOBODY:
                self._found.add(record.position, own)
            feed = self._book.labels[record.label].key.facets.collection
            come = frozenset(audience for audience, feeds in self._reach.items() if feed in feeds)
            self._found.gain(record.id, EventClass(own.audiences | come, own.views))
            if self._waits(self._book.labels[record.label].key.facets):
                waited.add(record.id)
        return waited

    def _compare(self, records: Sequence[Record]) -> None:
        """Add those of the records that some audience gains, or that would stand elsewhere for it, because references
        in lists, or newer versions, are judged in another way. Raises Behind."""
        some = [r for r in records if r.soft_refs or self._book.label(r.label).key.flags != ONLY]
        for audience in self._audiences if some else ():
            old = self._references(self._old or self._new, audience, some)
            new = self._references(self._new, audience, some)
            for record in some:
                if not new.is_readable(record):
                    continue
                as_before = old.is_readable(record) and old.taken_out(record) == new.taken_out(record)
                stays = old.moments(record) <= new.moments(record) and old.granted(record) <= new.granted(record)
                if as_before and stays:
                    continue
                readers = EventClass(frozenset({audience}))
                self._opened.add(record.position)
                self._found.add(record.position, readers)
                self._found.gain(record.id, readers)

    def _references(self, sights: Sights, audience: str, records: Sequence[Record]) -> References:
        references = References(self._store, self._book, sights.catalog, sights.of(audience))
        references.load({id_ for each in records for id_ in (each.id, *each.hard_refs, *each.soft_refs)})
        return references

    def _free(self, records: Sequence[Record], lookup: Lookup) -> None:
        """Let these records come now, as far as they had to wait for something that is hidden now."""
        if not self._derives or not any(self._waits(label.key.facets) for label in list(self._book.labels.values())):
            return
        present = self._store.present()
        held = {id_ for record in records for id_ in (*record.hard_refs, *record.soft_refs)}
        delays: dict[str, dict[str, int]] = {}
        for found in looked_up(lookup, held):
            for target in (each for each in found if each.label in self._book.labels):
                delays.setdefault(target.id, {}).update(self._waits(self._book.labels[target.label].key.facets))
        for record in records:
            for id_ in (*record.hard_refs, *record.soft_refs):
                waiting = {name for name, delay in delays.get(id_, {}).items() if record.position + delay > present}
                if waiting:
                    self._found.gain(id_, EventClass(frozenset(waiting)))
                    self._gone.add(id_)

    def _catch_up(self, inside: Inside) -> None:
        """Add what was written since `prepare`."""
        every_label = tuple(sorted(self._book.labels))
        query = PageQuery(labels=every_label, collections=(), after=self._last, limit=_PORTION, content=False)
        late = list(_all(inside, query))
        known = set(self._found.ids)
        # With the older versions: a newer one that came meanwhile may have taken them out of sight until now.
        touched = {record.id for record in late}
        for records in looked_up(inside.lookup, touched):
            self._add(record for record in records if record.label in self._book.labels)
            if self._judges_anew:
                self._compare(records)
        self._free(late, inside.lookup)
        for record in late:
            self._found.refer(record)
        if set(self._found.ids) != known:
            self._found.follow(inside.referrers)
        self._found.add_versions(inside.lookup, touched)


def _all(inside: Inside, query: PageQuery) -> Iterator[Record]:
    """All records of a query, page by page."""
    while records := inside.records(query):
        yield from records
        query = replace(query, after=records[-1].position)


def _is_more(new: Access, old: Access | None) -> bool:
    return old is None or new.delay_us < old.delay_us or new.removal != old.removal


def _in_both(old: Sights, new: Sights) -> list[str]:
    """A new audience has polled nothing yet: it finds everything in its first full read."""
    return [name for name in old.catalog.policy.audiences if name in new.catalog.policy.audiences]


def _same_policy(old: Sights, new: Sights) -> bool:
    names = [{each.id: each.name for each in sights.catalog.collections.values()} for sights in (old, new)]
    same = old.catalog.policy.digest == new.catalog.policy.digest
    return same and old.moment == new.moment and names[0] == names[1]


def _modes(sights: Sights) -> tuple[str, str]:
    """How references in lists, and newer versions, are judged."""
    defaults = sights.catalog.policy.defaults
    return defaults.refs_lists, defaults.versions


def _grown_views(old: Sights, new: Sights) -> dict[str, frozenset[str]]:
    """View -> the feeds that it shows from now on and did not."""
    before = {each.id: frozenset(old.catalog.feeds(each)) for each in old.catalog.collections.values()}
    grown = {
        each.id: frozenset(new.catalog.feeds(each)) - before[each.id]
        for each in new.catalog.collections.values()
        if each.id in before
    }
    return {view: feeds for view, feeds in grown.items() if feeds}


def _grown_reach(old: Sights, new: Sights, audiences: Iterable[str]) -> dict[str, frozenset[str]]:
    """Audience -> the feeds that it reaches from now on and did not."""
    grown = {}
    for audience in audiences:
        before = old.catalog.reachable(audience)
        feeds = new.catalog.reachable(audience) - before
        if before and feeds:
            grown[audience] = feeds
    return grown
