"""What a peer gave goes the way of a POST: checks, guards, labels, quarantine; what is refused is written down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from taxii_server import audit
from taxii_server.catalog import Collection
from taxii_server.errors import BadContent, Forbidden
from taxii_server.mirror.papers import Papers
from taxii_server.mirror.schema import Mirror
from taxii_server.mirror.walk import Page
from taxii_server.model import Record
from taxii_server.service.hub import Hub
from taxii_server.service.labelling import PORTION
from taxii_server.service.post import Added
from taxii_server.stix.canonical import digest
from taxii_server.stix.parse import Item, JsonLimits, read_envelope
from taxii_server.times import instant_key

#: What others are marked with or made by comes first, so that nothing waits for it.
_FIRST = {"marking-definition": 0, "identity": 1}
_MAX_LISTED = 1000


@dataclass(slots=True)
class Counts:
    """What became of what a peer gave. `refusals` are (id, version, reason), the first thousand."""

    received: int = 0
    stored: int = 0
    present: int = 0
    quarantined: int = 0
    refused: int = 0
    refusals: list[tuple[str, str, str]] = field(default_factory=list)

    def refuse(self, id_: str, version: str, reason: str, *, held: bool = False) -> None:
        """Count one that was not taken."""
        if held:
            self.quarantined += 1
        else:
            self.refused += 1
        if len(self.refusals) < _MAX_LISTED:
            self.refusals.append((id_, version, reason))


def writable(hub: Hub, mirror: Mirror) -> Collection:
    """The mirror's collection under the catalog in force now. Raises Forbidden when its partner may not write to it."""
    hub.follow()
    catalog = hub.snapshot.catalog
    collection = catalog.collections.get(mirror.collection)
    if collection is None or not catalog.rights(collection, mirror.partner).write:
        raise Forbidden(f"{mirror.partner} may not write to {mirror.collection} (see writers in its file)")
    return collection


class Intake:
    """Stores what one mirror gets, as its partner."""

    def __init__(self, hub: Hub, mirror: Mirror, papers: Papers, counts: Counts) -> None:
        self._hub = hub
        self._mirror = mirror
        self._papers = papers
        self._counts = counts
        settings = hub.settings
        self._limits = JsonLimits(settings.max_json_depth, settings.max_objects_per_post, settings.max_json_values)

    def take(self, page: Page) -> list[Item]:
        """The objects of a page with their texts; those that are not I-JSON are refused one by one."""
        self._counts.received += len(page.objects)
        if not page.objects:
            return []
        try:
            return read_envelope(page.text, self._limits)
        except BadContent:
            return [item for value in page.objects for item in self._alone(value)]

    def _alone(self, value: Any) -> list[Item]:
        try:
            return read_envelope(b'{"objects":[' + json.dumps(value).encode() + b"]}", self._limits)
        except (BadContent, RecursionError) as error:
            id_, version = named(value)
            self._refuse([(id_, version, str(error), False)])
            return []

    def store(self, items: Sequence[Item]) -> None:
        """Store these. Raises Forbidden when the partner may not post there any more, StorageUnavailable."""
        collection = writable(self._hub, self._mirror)
        present = self._hub.store.lookup({id_ for item in items if (id_ := named(item.value)[0])}) if items else {}
        fresh: list[Item] = []
        for item in items:
            if self._is_here(item, collection, present):
                self._counts.present += 1
            else:
                fresh.append(item)
        fresh.sort(key=lambda item: _FIRST.get(named(item.value)[0].partition("--")[0], len(_FIRST)))
        most = min(PORTION, collection.limits.max_objects or PORTION, self._hub.settings.max_objects_per_post)
        for start in range(0, len(fresh), most):
            self._store(collection, fresh[start : start + most], present)

    # ---- what is here already

    def _is_here(self, item: Item, collection: Collection, present: Mapping[str, Sequence[Record]]) -> bool:
        """Whether the same version with the same content is in this collection, whoever posted it.

        So two hubs that mirror each other come to rest, and neither posts again what it gave away itself.
        """
        id_, version = named(item.value)
        records = [record for record in present.get(id_, ()) if record.collection == collection.id]
        if not records:
            return False
        key = key_of(version)
        same = [record for record in records if not version or record.version_key == key]
        return bool(same) and digest(item.value) in {record.digest for record in same}

    # ---- storing

    def _store(self, collection: Collection, items: Sequence[Item], present: Mapping[str, Sequence[Record]]) -> None:
        partner = self._mirror.partner
        theirs = {
            (record.id, record.version_key)
            for records in present.values()
            for record in records
            if (record.collection, record.submitter) == (collection.id, partner)
        }
        versions = [named(item.value) for item in items]
        new = [each for each in versions if each[0] and (each[0], key_of(each[1])) not in theirs]
        self._papers.bring(new)
        results = self._add(collection, items)
        failed = {versions[place] for place, added in enumerate(results) if not added.ok}
        self._papers.take_back([each for each in new if each in failed])
        self._papers.accept([versions[place] for place, added in enumerate(results) if added.ok])
        for added in results:
            if added.ok:
                here = added.message is not None
                self._counts.present += here
                self._counts.stored += not here
        refused = [
            (added.id, versions[place][1], added.message or "refused", added.stopped == "quarantined")
            for place, added in enumerate(results)
            if not added.ok
        ]
        self._refuse(refused)
        audit.record(
            "mirrored",
            mirror=self._mirror.name,
            partner=partner,
            collection=collection.name,
            total=len(results),
            failure=len(refused),
        )

    def _add(self, collection: Collection, items: Sequence[Item]) -> list[Added]:
        """The results of all items, in halves where all of them together are too much for one body."""
        if not items:
            return []
        body = envelope(items)
        try:
            return self._hub.writer.add(self._mirror.partner, collection, body)
        except BadContent as error:
            if len(items) == 1:
                id_, version = named(items[0].value)
                return [Added(id_ or "?", version, str(error), ok=False)]
            half = len(items) // 2
            return [*self._add(collection, items[:half]), *self._add(collection, items[half:])]

    def _refuse(self, refused: Sequence[tuple[str, str, str, bool]]) -> None:
        told = [(id_ or "?", version, reason) for id_, version, reason, _ in refused]
        self._papers.refuse(told, self._hub.store.present())
        for (id_, version, reason), (_, _, _, held) in zip(told, refused, strict=True):
            self._counts.refuse(id_, version, reason, held=held)


def envelope(items: Iterable[Item]) -> bytes:
    """A TAXII envelope of the texts of these items."""
    parts: list[bytes] = []
    spec = None
    for item in items:
        parts.append(item.raw)
        spec = spec or item.bundle_spec
    # A bundle says for its members which STIX they are.
    head = b'{"type":"bundle","spec_version":' + orjson.dumps(spec) + b',"objects":[' if spec else b'{"objects":['
    return head + b",".join(parts) + b"]}"


def named(value: Any) -> tuple[str, str]:
    """The id and the version of an object as a stranger wrote it; empty where there is none."""
    if not isinstance(value, dict):
        return "", ""
    id_, version = value.get("id"), value.get("modified", value.get("created"))
    return id_ if isinstance(id_, str) else "", version if isinstance(version, str) else ""


def key_of(version: str) -> str:
    """What orders the version as an instant; the text itself when it is none."""
    try:
        return instant_key(version)
    except ValueError:
        return version
