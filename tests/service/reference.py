"""What an audience should get, worked out the slow way: from the posted objects, one decision per record.

Nothing here is shared with the service except the policy's own `decide` and the reading of traits and references.
No labels, no flags, no log: facets are projected from the posted text for every question.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taxii_server.catalog import Catalog, Collection
from taxii_server.model import Record
from taxii_server.policy import Facets, Meanings
from taxii_server.service.query import Filters, VersionChoice
from taxii_server.stix.markings import read_marking_definition
from taxii_server.stix.references import read_references
from taxii_server.stix.traits import read_traits
from taxii_server.storage.base import Store
from taxii_server.times import instant_key

Value = dict[str, Any]
#: collection id, submitter, id, STIX version, and the instant or (without one) the text
Key = tuple[str, str, str, str, str]


def spec_of(value: Value) -> str:
    return str(value.get("spec_version", "2.0"))


def _version(value: Value) -> str | None:
    return value.get("modified") or value.get("created")


@dataclass
class Ledger:
    """What was posted, in order; the first one of a version stays."""

    catalog: Catalog
    values: dict[Key, Value] = field(default_factory=dict)
    meanings: Meanings = field(default_factory=Meanings.empty)
    #: every combination that records ever had after a write: what the carried markings are read off
    ever: set[tuple[str, Facets, Facets | None]] = field(default_factory=set)

    def post(self, submitter: str, into: Collection, objects: Iterable[Value]) -> None:
        """Note one body of objects."""
        for value in objects:
            if value["type"] == "marking-definition":
                self.meanings = self.meanings.with_posted(read_marking_definition(value, submitter))
            version = _version(value)
            mark = json.dumps(value, sort_keys=True) if version is None else instant_key(version)
            self.values.setdefault((into.id, submitter, value["id"], spec_of(value), mark), value)


@dataclass
class Item:
    """A record with the object that was posted."""

    record: Record
    value: Value

    @property
    def age(self) -> tuple[str, str, int]:
        return self.record.version_key, self.record.spec_version, self.record.position


class Reference:
    """The answers for the present state of a store."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self.ledger = ledger
        self.catalog = ledger.catalog
        self.policy = ledger.catalog.policy
        self.names = {each.id: each.name for each in self.catalog.collections.values()}
        self.items = self._items(store)
        self.by_id: dict[str, list[Item]] = {}
        self._open: dict[str, list[Item]] = {}
        for item in self.items:
            self.by_id.setdefault(item.record.id, []).append(item)
        for item in self.items:
            governor = self.governor(item)
            ledger.ever.add(
                (item.record.collection, self.facets(item), None if governor is None else self.facets(governor))
            )

    def _items(self, store: Store) -> list[Item]:
        values = self.ledger.values
        found = store.lookup(sorted({key[2] for key in values}))
        records = sorted((each for records in found.values() for each in records), key=lambda each: each.position)
        assert len(records) == len(values)
        items: list[Item] = []
        rest = list(values.items())
        for record in records:  # positions are in the order of the posts: the first value that fits is the one
            place = next(
                number
                for number, (key, value) in enumerate(rest)
                if key[:4] == (record.collection, record.submitter, record.id, record.spec_version)
                and (_version(value) is None or key[4] == record.version_key)
            )
            items.append(Item(record, rest.pop(place)[1]))
        return items

    def facets(self, item: Item) -> Facets:
        traits = read_traits(
            item.value,
            collection=self.names[item.record.collection],
            submitter=item.record.submitter,
            spec_version=item.record.spec_version,
        )
        return self.policy.vocabulary.project(traits)

    def governor(self, item: Item) -> Item | None:
        """The newest version by the same submitter, when it is another version or the same in a newer STIX."""
        same = [other for other in self.by_id[item.record.id] if other.record.submitter == item.record.submitter]
        newest = max(same, key=lambda other: other.age)
        return None if newest.age[:2] == item.age[:2] else newest

    def open_items(self, audience: str) -> list[Item]:
        """The items that the audience may read: policy, then references, over as many steps as it takes."""
        if audience not in self._open:
            self._open[audience] = self._work_out(audience)
        return self._open[audience]

    def _work_out(self, audience: str) -> list[Item]:
        reachable = self.catalog.reachable(audience)
        carried = self._carried(audience, reachable)
        readable = []
        for item in self.items:
            governor = self.governor(item)
            decision = self.policy.decide(
                audience,
                self.facets(item),
                self.ledger.meanings,
                None if governor is None else self.facets(governor),
                carried,
            )
            if decision.verdict == "read" and item.record.collection in reachable:
                readable.append(item)
        # Own copies do not count where others have some: nobody finds out by posting what it guesses.
        foreign = {item.record.id for item in self.items if item.record.submitter != audience}
        while True:
            hidden = foreign - {item.record.id for item in readable if item.record.submitter != audience}
            still = [item for item in readable if not hidden.intersection(self._needs(item, audience))]
            if len(still) == len(readable):
                return readable
            readable = still

    def _carried(self, audience: str, reachable: frozenset[str]) -> frozenset[str]:
        return frozenset(
            marking
            for place, facets, governor in self.ledger.ever
            if place in reachable
            and facets.defines is None
            and facets.submitter != audience
            and self.policy.decide(audience, facets, self.ledger.meanings, governor, frozenset()).verdict == "read"
            for marking in (*facets.markings, *facets.granular)
        )

    def _needs(self, item: Item, audience: str) -> set[str]:
        if item.record.submitter == audience:
            return set()
        needs = self._references(item)
        governor = self.governor(item)
        if governor is not None and self.policy.defaults.versions != "independent":
            needs |= self._references(governor)
        return needs

    def _references(self, item: Item) -> set[str]:
        hard, soft = read_references(item.value)
        return set(hard) if self.policy.defaults.refs_lists == "keep" else {*hard, *soft}

    # ---- what a collection shows

    def shown(
        self, audience: str, collection: Collection, filters: Filters | None = None, after: int = 0
    ) -> list[Record]:
        """The records that the audience gets of this collection, ascending."""
        filters = filters or Filters()
        feeds = self.catalog.feeds(collection)
        open_items = self.open_items(audience)
        found: list[Record] = []
        for id_ in sorted({item.record.id for item in open_items}):
            same = [item for item in open_items if item.record.id == id_]
            found += self._standing(audience, same, feeds, filters)
        return sorted(
            (
                record
                for record in found
                if record.position > after
                and (filters.ids is None or record.id in filters.ids)
                and (filters.types is None or record.type in filters.types)
            ),
            key=lambda record: record.position,
        )

    def _standing(self, audience: str, same: list[Item], feeds: tuple[str, ...], filters: Filters) -> list[Record]:
        rightful = {item.record.submitter for item in same if self._rightful(item)}
        if rightful:
            same = [item for item in same if item.record.submitter in {*rightful, audience}]
        same = [item for item in same if item.record.collection in feeds]
        if filters.spec_versions is not None:
            same = [item for item in same if item.record.spec_version in filters.spec_versions]
        elif any(item.record.spec_version == "2.1" for item in same):
            same = [item for item in same if item.record.spec_version == "2.1"]
        found: list[Record] = []
        for form in ("2.0", "2.1"):
            copies: dict[str, list[Item]] = {}
            for item in same:
                if item.record.spec_version == form:
                    copies.setdefault(item.record.version_key, []).append(item)
            for key in copies:
                if _picks(filters.choice, key, copies):
                    own = [item for item in copies[key] if item.record.submitter == audience]
                    found.append((own or copies[key])[0].record)
        return found

    def _rightful(self, item: Item) -> bool:
        audience = self.policy.audiences[item.record.submitter]
        return not {item.value.get("created_by_ref"), item.record.id}.isdisjoint(audience.identities)


def _picks(choice: VersionChoice, key: str, copies: Mapping[str, object]) -> bool:
    if choice.every or key in choice.keys:
        return True
    return (choice.last and key == max(copies)) or (choice.first and key == min(copies))
