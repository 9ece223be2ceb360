"""What the disclosure ledger tells: who received an object, what a partner did and received, who has to be told.

Entries hold positions. Which object version a position is, the store says, or, when it is deleted, the entry of its
deletion. For operators: the answers tell what is hidden.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from taxii_server.catalog import parse_catalog
from taxii_server.service.book import Book
from taxii_server.service.ledger_items import FORMS, Item, unpack
from taxii_server.storage.base import Store
from taxii_server.storage.ledger import Entry, LedgerQuery

_PORTION = 500


@dataclass(frozen=True, slots=True)
class Version:
    """One object version by its position; `deleted` is when (µs) its deletion was recorded, None while it is stored."""

    position: int
    id: str
    version: str
    version_key: str
    deleted: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What one entry tells. `facts` as recorded: credential, address, method, path, query, status, policy and so on."""

    strand: str
    number: int
    time: int
    kind: str
    partner: str
    object: str
    facts: Mapping[str, Any]
    items: tuple[Item, ...]

    def fact(self, name: str) -> str:
        """One of the facts as text, empty when it was not recorded."""
        return str(self.facts.get(name, ""))


@dataclass(frozen=True, slots=True)
class Delivery:
    """One version as one request delivered it: `form` is whole, copy or metadata.

    `version` is None for a position that neither the store nor a recorded deletion explains.
    """

    event: Event
    position: int
    form: str
    revoked: bool
    version: Version | None


@dataclass(frozen=True, slots=True)
class Holder:
    """That a partner has a version: in which form at most, since when, and what it has received of the object since.

    `newest`: no newer version is known here. `newer`: the newest one that this partner received (not as metadata)
    and when, `revocation`: when it first received a version that revokes the object (this one, or a newer one).
    """

    partner: str
    version: Version
    form: str
    first: int
    last: int
    times: int
    newest: bool
    newer: tuple[str, int] | None
    revocation: int | None


class Disclosures:
    """Reads the ledger of one store. Writes nothing."""

    def __init__(self, store: Store, book: Book) -> None:
        self._store = store
        self._book = book

    def versions(self, object_id: str) -> list[Version]:
        """Every version of the object, stored or deleted, ascending by position. The id may be that of a copy."""
        id_ = self._store.aliases([object_id]).get(object_id, object_id)
        found: dict[int, Version] = {}
        for entry in self._store.ledger.find(LedgerQuery(kinds=("deleted",), object=id_)):
            found.update((each.position, each) for each in _deleted(entry))
        for record in self._store.lookup([id_]).get(id_, ()):
            found[record.position] = Version(record.position, record.id, record.version, record.version_key)
        return [found[position] for position in sorted(found)]

    def who_received(self, object_id: str) -> list[Delivery]:
        """Every delivery of a version of the object, ascending by time and position."""
        found: dict[tuple[str, int, int], Delivery] = {}
        for version in self.versions(object_id):
            query = LedgerQuery(kinds=("delivered",), position=version.position)
            for entry in self._store.ledger.find(query):
                for item in unpack(entry.items):
                    if item.position == version.position:
                        delivery = self._delivery(_event(entry), item, version)
                        found[entry.strand, entry.number, item.position] = delivery
        return sorted(found.values(), key=lambda each: (each.event.time, each.event.number, each.position))

    def partners(self) -> frozenset[str]:
        """The partners of the configuration in force. Others may have been there before."""
        applied = self._store.catalog()
        return frozenset() if applied is None else frozenset(parse_catalog(applied.files).policy.audiences)

    def what_did(self, partner: str, since: int = 0) -> Iterator[Event]:
        """Everything recorded of the partner from this time (µs) on, ascending by time.

        A refused look-up of an object gets its reason here: `hidden` when the hub held the object then, as far as
        the store and the recorded deletions tell, else `unknown`.
        """
        for entry in self._store.ledger.find(LedgerQuery(partner=partner, since=since)):
            yield self._explained(_event(entry))

    def latest(self, partner: str, limit: int) -> list[Event]:
        """The last things recorded of the partner, as `what_did` tells them, newest first."""
        return [self._explained(_event(entry)) for entry in self._store.ledger.latest(partner, limit)]

    def _explained(self, event: Event) -> Event:
        if event.kind == "refused" and event.object and "reason" not in event.facts:
            return replace(event, facts={**event.facts, "reason": self._reason(event)})
        return event

    def _reason(self, event: Event) -> str:
        held = any(
            version.position <= event.time and (version.deleted is None or version.deleted >= event.time)
            for version in self.versions(event.object)
        )
        return "hidden" if held else "unknown"

    def received(self, partner: str, since: int = 0) -> Iterator[Delivery]:
        """Everything that the partner was given from this time (µs) on, ascending by time and position."""
        query = LedgerQuery(kinds=("delivered",), partner=partner, since=since)
        for entry in self._store.ledger.find(query):
            event = _event(entry)
            versions = self._versions_at([item.position for item in event.items])
            for item in event.items:
                yield self._delivery(event, item, versions.get(item.position))

    def recall(self, object_id: str) -> list[Holder]:
        """Who has which version of the object, by partner and version."""
        deliveries = self.who_received(object_id)
        newest = max((each.version_key for each in self.versions(object_id)), default="")
        groups: dict[tuple[str, int], list[Delivery]] = {}
        for each in deliveries:
            groups.setdefault((each.event.partner, each.position), []).append(each)
        holders: list[Holder] = []
        for (partner, _), some in groups.items():
            version = some[0].version
            if version is not None:
                theirs = [each for each in deliveries if each.event.partner == partner and each.form != "metadata"]
                holders.append(_holder(partner, version, some, theirs, version.version_key == newest))
        return sorted(holders, key=lambda each: (each.partner, each.version.version_key, each.version.position))

    def _delivery(self, event: Event, item: Item, version: Version | None) -> Delivery:
        label = self._book.labels.get(item.label)
        revoked = label is not None and label.key.facets.revoked
        return Delivery(event, item.position, FORMS[item.form], revoked, version)

    def _versions_at(self, positions: list[int]) -> dict[int, Version]:
        found: dict[int, Version] = {}
        for start in range(0, len(positions), _PORTION):
            records, _ = self._store.records_at(positions[start : start + _PORTION], content=False)
            found.update((r.position, Version(r.position, r.id, r.version, r.version_key)) for r in records)
        for position in positions:
            if position not in found:
                query = LedgerQuery(kinds=("deleted",), position=position)
                gone = (each for entry in self._store.ledger.find(query) for each in _deleted(entry))
                found.update((each.position, each) for each in gone)
        return found


def _holder(partner: str, version: Version, some: list[Delivery], theirs: Iterable[Delivery], newest: bool) -> Holder:
    newer: tuple[str, str, int] | None = None
    revocations: list[int] = []
    for each in theirs:
        if each.version is None or each.version.version_key < version.version_key:
            continue
        if each.revoked:
            revocations.append(each.event.time)
        if each.version.version_key > version.version_key and (newer is None or each.version.version_key > newer[0]):
            newer = (each.version.version_key, each.version.version, each.event.time)
    times = [each.event.time for each in some]
    form = min((each.form for each in some), key=FORMS.index)
    return Holder(
        partner=partner,
        version=version,
        form=form,
        first=min(times),
        last=max(times),
        times=len(some),
        newest=newest,
        newer=newer and newer[1:],
        revocation=min(revocations, default=None),
    )


def _event(entry: Entry) -> Event:
    facts = json.loads(entry.facts)
    items = tuple(unpack(entry.items))
    return Event(entry.strand, entry.number, entry.time, entry.kind, entry.partner, entry.object, facts, items)


def _deleted(entry: Entry) -> list[Version]:
    """The versions that the entry of a deletion names."""
    return [
        Version(position, entry.object, version, key, entry.time)
        for position, version, key, *_ in json.loads(entry.facts)["versions"]
    ]
