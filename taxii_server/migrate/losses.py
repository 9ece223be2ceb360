"""Who does not see here what the old server showed: partner by partner, object by object, and why.

Asked of the reader that answers polls, so that it is what clients get. Nothing is recorded, as nothing is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from taxii_server.catalog import Collection as Target
from taxii_server.errors import StorageUnavailable
from taxii_server.model import PageQuery, Record
from taxii_server.policy import Access
from taxii_server.service.explaining import hidden_because
from taxii_server.service.hub import Hub
from taxii_server.service.query import EVERY, Filters, ReadRequest
from taxii_server.service.reading import Superseded
from taxii_server.service.visit import Snapshot

_PAGE = 1000
_EVERYTHING = Filters(spec_versions=("2.0", "2.1"), versions=EVERY)


@dataclass(frozen=True, slots=True)
class Lost:
    """One version that a partner could read on the old server and cannot read here."""

    partner: str
    collection: str
    id: str
    version: str
    why: str


def find_losses(
    hub: Hub,
    readers: Mapping[str, Iterable[str]],
    submitter: str,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Lost]:
    """What was moved in and is not served, for each collection and the partners who could read it on the old server.

    `progress` is told how many (partner, collection) pairs are done. Raises StorageUnavailable when another
    configuration came into force meanwhile.
    """
    hub.book.sync()
    snapshot = hub.snapshot
    done = 0
    for name, partners in readers.items():
        collection = snapshot.catalog.collections[name]
        # Partners with the same sight get the same: that is most of them.
        known: list[tuple[tuple[bool, Mapping[int, Access]], list[tuple[Record, str]]]] = []
        for partner in sorted(set(partners) - {submitter}):
            may_read = snapshot.catalog.rights(collection, partner).read
            key = may_read, snapshot.sights.of(partner).access
            lost = next((found for other, found in known if other == key), None)
            if lost is None:
                lost = list(_lost(hub, snapshot, partner, collection, submitter, may_read))
                known.append((key, lost))
            for record, why in lost:
                yield Lost(partner, name, record.id, record.version, why)
            done += 1
            progress(done)


def _lost(
    hub: Hub, snapshot: Snapshot, partner: str, collection: Target, submitter: str, may_read: bool
) -> Iterator[tuple[Record, str]]:
    served = _served(snapshot, partner, collection) if may_read else frozenset()
    reasons: dict[int, str] = {}
    for record in _records(hub, collection.id, submitter):
        if record.position not in served:
            if record.label not in reasons:
                reasons[record.label] = hidden_because(hub, snapshot, partner, record)
            yield record, reasons[record.label] if may_read else "the collection is closed to it"


def _served(snapshot: Snapshot, partner: str, collection: Target) -> Collection[int]:
    """The positions of the records that the partner gets, whole or as copies."""
    served: set[int] = set()
    token: str | None = None
    while True:
        request = ReadRequest("objects", filters=_EVERYTHING, next=token, content=False)
        try:
            found = snapshot.reader.read(partner, collection, request, _PAGE)
        except Superseded as error:
            raise StorageUnavailable("the configuration was changed meanwhile; run it again") from error
        served.update(record.position for record in found.records)
        token = found.next
        if token is None:
            return served


def _records(hub: Hub, collection: str, submitter: str) -> Iterator[Record]:
    """What this submitter has in the collection, ascending position."""
    labels = tuple(
        number
        for number, label in sorted(hub.book.labels.items())
        if (label.key.facets.collection, label.key.facets.submitter) == (collection, submitter)
    )
    after = 0
    while labels:
        page = hub.store.page(PageQuery(labels, (collection,), after, _PAGE, content=False))
        yield from page.records
        if len(page.records) < _PAGE:
            return
        after = page.records[-1].position
