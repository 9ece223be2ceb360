"""Why an audience may or may not read an object: for operators only, since the answer tells what is hidden.

Same code path as a read: the policy's own decision for each stored version, then what lies outside the label
(the way in, references, other copies).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

from taxii_server.errors import NotFound
from taxii_server.model import PageQuery, Record
from taxii_server.policy import Decision, Explanation
from taxii_server.service.copies import Served
from taxii_server.service.hub import Hub
from taxii_server.service.query import EVERY, Filters
from taxii_server.service.resolver import Resolver
from taxii_server.service.versions import age
from taxii_server.service.visit import Snapshot
from taxii_server.times import format_position

#: A decision's reason in a few words, for tables; the policy's own text has the details.
_PHRASES = {
    "suspended": "partner is suspended",
    "unmarked": "has no TLP level",
    "unknown-marking": "a marking nobody understands",
    "tlp": "above its clearance",
    "tlp-red-not-named": "TLP:RED that does not name it",
    "rel-to": "not releasable to it",
    "not-rel-to": "not releasable to it",
    "orcon": "originator has not released it",
    "not-in-force": "its marking is not in force yet",
    "embargo": "held back for a while",
    "strip": "what has to be taken out cannot be",
    "no-copy": "what has to be taken out cannot be",
    "other-copy": "another copy stands in its place",
    "forbid": "forbidden",
    "select": "not relevant",
    "no-permit": "no rule permits it",
    "granular": "a part of it is not for it",
    "newer-version-hidden": "its newest version is hidden",
    "marking-not-carried": "marks nothing that it reads",
    "no-door": "no collection that it reads shows it",
    "hidden-reference": "refers to something hidden",
    "unmapped": "is no partner",
    "error": "cannot be judged",
    "permit": "permitted",
    "submitter": "posted by it",
    "built-in": "a public TLP definition",
    "marking-carried": "marks something that it reads",
}

#: What hides an object that the policy alone would let the audience read.
NO_DOOR = Decision("hide", "no-door", None, "no door leads to it: no collection that it reads shows it")
_REFERENCE = Decision("hide", "hidden-reference", None, "it refers to something hidden")
_WAITS = Decision("hide", "embargo", None, "it is held back until")
_NO_COPY = Decision(
    "hide", "no-copy", None, "a part has to be taken out of it, and what is left would be no valid object"
)
_OTHER_COPY = Decision("hide", "other-copy", None, "another copy stands in its place")


@dataclass(frozen=True, slots=True)
class VersionExplained:
    """One stored version: what the policy says, what hides it, and where the audience gets it.

    `doors` are the collections that show what is stored where this is, `served` those of them that serve it:
    all of them when it is readable, save where another copy of the same version stands.
    """

    record: Record
    collection: str
    date_added: str
    explanation: Explanation
    doors: tuple[str, ...]
    hidden_references: tuple[str, ...]
    readable: bool
    served: tuple[str, ...]
    #: the date_added that the audience sees, where it gets the version; None where it does not
    place: str | None = None
    #: the id of the copy that it gets in its place
    copy_id: str | None = None
    #: until when it has to wait for it, or for what it refers to
    waits_until: str | None = None

    @property
    def outcome(self) -> Decision:
        """What decides in the end: the policy, or what hides the version although the policy allows it."""
        decision = self.explanation.decision
        if self.served or decision.verdict == "hide":
            return decision
        if not self.doors:
            return NO_DOOR
        if self.waits_until is not None:
            return replace(_WAITS, rule=decision.rule, text=f"{_WAITS.text} {self.waits_until}")
        if self.hidden_references:
            return replace(_REFERENCE, text=f"{_REFERENCE.text}: {self.hidden_references[0]}")
        return _OTHER_COPY if self.readable and decision.verdict == "read" else _NO_COPY


def explain(hub: Hub, audience: str, object_id: str) -> list[VersionExplained]:
    """Every stored version of the object, ascending date_added. Raises NotFound when there is none."""
    hub.book.sync()
    return hub.book.settled(lambda: _explained(hub, audience, object_id))


def _explained(hub: Hub, audience: str, object_id: str) -> list[VersionExplained]:
    """As `explain`. Raises Behind when versions with labels come that this process does not know."""
    snapshot = hub.snapshot
    records = hub.store.lookup([object_id]).get(object_id, [])
    if not records:
        raise NotFound
    resolver = _resolver(hub, snapshot, audience)
    readable = {record.position for record in resolver.readable(records, hub.store.clock())}
    passed = hub.store.clock()
    served = _served(hub, snapshot, audience, [record for record in records if record.position in readable], passed)
    names = {collection.id: collection.name for collection in snapshot.catalog.collections.values()}
    explained: list[VersionExplained] = []
    for record in records:
        items = [found[record.position] for found in served.values() if record.position in found]
        waits = resolver.waits_until(record, passed)
        explained.append(
            VersionExplained(
                record=record,
                collection=names.get(record.collection, f"{record.collection} (no such collection any more)"),
                date_added=format_position(record.position),
                explanation=_explanation(hub, snapshot, audience, record),
                doors=_doors(snapshot, audience, record.collection),
                hidden_references=resolver.hidden_references(record),
                readable=record.position in readable,
                served=tuple(name for name, found in served.items() if record.position in found),
                place=format_position(items[0].at) if items else None,
                copy_id=items[0].id if items and items[0].form == "copy" else None,
                waits_until=None if waits is None else format_position(waits),
            )
        )
    return explained


@dataclass(frozen=True, slots=True)
class Access:
    """Whether one audience gets an object: how many of its `stored` versions, where, and what decides.

    `decision` is about the newest version that it gets; if there is none, about the newest that it could get.
    """

    audience: str
    versions: int
    stored: int
    collections: tuple[str, ...]
    decision: Decision
    #: the id of the copy that it gets in place of that version
    copy_id: str | None = None


def who_can(hub: Hub, object_id: str) -> list[Access]:
    """For each partner whether it gets the object, by name. Raises NotFound when there is none."""
    found: list[Access] = []
    for audience in sorted(hub.snapshot.catalog.policy.audiences):
        versions = sorted(explain(hub, audience, object_id), key=lambda version: age(version.record))
        served = [version for version in versions if version.served]
        telling = (served or [version for version in versions if version.doors] or versions)[-1]
        doors = sorted({door for version in served for door in version.served})
        found.append(Access(audience, len(served), len(versions), tuple(doors), telling.outcome, telling.copy_id))
    return found


@dataclass(frozen=True, slots=True)
class Census:
    """How many objects of a collection an audience sees, how many it does not, and why, most frequent first."""

    visible: int
    hidden: int
    reasons: tuple[tuple[str, int], ...]


def census(hub: Hub, audience: str, collection_name: str) -> Census:
    """Counts over the newest versions that the collection shows or hides. Reads every record once: for operators."""
    hub.book.sync()
    snapshot = hub.snapshot
    collection = snapshot.catalog.collections[collection_name]
    feeds = frozenset(snapshot.catalog.feeds(collection))
    ids = sorted(_ids(hub, feeds))

    def counted(some: list[str]) -> tuple[int, Counter[str]]:
        resolver = _resolver(hub, snapshot, audience)
        visible, reasons = 0, Counter[str]()
        for records in hub.store.lookup(some).values():
            shown = [record for record in records if record.collection in feeds]
            if resolver.readable(shown, hub.store.clock()):
                visible += 1
            elif shown:
                reasons[hidden_because(hub, snapshot, audience, shown[-1])] += 1
        return visible, reasons

    visible, reasons = 0, Counter[str]()
    for start in range(0, len(ids), 1000):
        seen, why = hub.book.settled(partial(counted, ids[start : start + 1000]))
        visible += seen
        reasons += why
    return Census(visible, reasons.total(), tuple(reasons.most_common()))


def _ids(hub: Hub, feeds: frozenset[str]) -> set[str]:
    labels = tuple(n for n, label in sorted(hub.book.labels.items()) if label.key.facets.collection in feeds)
    ids: set[str] = set()
    after = 0
    while True:
        page = hub.store.page(PageQuery(labels, tuple(sorted(feeds)), after, 1000, content=False))
        ids.update(record.id for record in page.records)
        if len(page.records) < 1000:
            return ids
        after = page.records[-1].position


def hidden_because(hub: Hub, snapshot: Snapshot, audience: str, record: Record) -> str:
    """Why the audience is not served this record although a door leads to it, in a few words: that of its label, else
    that it refers to something hidden."""
    decision = _explanation(hub, snapshot, audience, record).decision
    return in_words(_REFERENCE if decision.verdict == "read" else decision)


def in_words(decision: Decision) -> str:
    """A decision in a few words, with its rule; for tables."""
    return f"{phrase(decision)}: {decision.rule}" if decision.rule else phrase(decision)


def phrase(decision: Decision) -> str:
    """A decision in a few words, without its rule."""
    return _PHRASES.get(decision.reason) or decision.text or decision.reason


def _explanation(hub: Hub, snapshot: Snapshot, audience: str, record: Record) -> Explanation:
    sight = snapshot.sights.of(audience)
    label = hub.book.label(record.label)
    named = snapshot.sights.named(label)
    facets, governor = (named[1], named[2]) if named else (label.key.facets, label.key.governor)
    moment = snapshot.sights.moment
    return snapshot.catalog.policy.explain(audience, facets, hub.book.meanings, governor, sight.carried, moment)


def _doors(snapshot: Snapshot, audience: str, collection_id: str) -> tuple[str, ...]:
    """The collections through which the audience reads what is stored in this one."""
    catalog = snapshot.catalog
    return tuple(
        collection.name
        for collection in catalog.collections.values()
        if catalog.rights(collection, audience).read and collection_id in catalog.feeds(collection)
    )


def _served(
    hub: Hub, snapshot: Snapshot, audience: str, readable: list[Record], passed: int
) -> dict[str, dict[int, Served]]:
    """For each collection that the audience reads: what it serves of these readable records of one id, by position."""
    catalog, reader = snapshot.catalog, snapshot.reader
    sight = snapshot.sights.of(audience)
    every = Filters(spec_versions=("2.0", "2.1"), versions=EVERY)
    served: dict[str, dict[int, Served]] = {}
    for collection in catalog.collections.values():
        if catalog.rights(collection, audience).read:
            feeds = catalog.feeds(collection)
            offered = [record for record in readable if record.collection in feeds]
            resolver, stream = reader.resolver(sight, collection), reader.stream(sight, collection, every)
            rows = stream.rows_of(offered, [resolver.expected(record, stream) for record in offered])
            standing, _ = resolver.standing(rows, every, stream, passed)
            items = reader.serve(standing, resolver)
            served[collection.name] = {item.record.position: item for item in items if item.form != "relation"}
    return served


def _resolver(hub: Hub, snapshot: Snapshot, audience: str) -> Resolver:
    sight = snapshot.sights.of(audience)
    return Resolver(hub.store, hub.book, snapshot.catalog, sight, snapshot.catalog.reachable(audience))
