"""What is stored already and a guard of the present policy would stop today: guards look at posts only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from taxii_server.model import PageQuery, Record
from taxii_server.policy.guard import Stop, Watch, watch_over
from taxii_server.service.hub import Hub

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A stored record (without content), the name of its collection, and why it would be stopped."""

    record: Record
    collection: str
    stop: Stop


def guard_audit(hub: Hub, progress: Callable[[int], None] = lambda done: None) -> Iterator[Found]:
    """Every stored version that a guard would stop by itself, oldest first. Reads the content of guarded collections.

    What only refers to such an object is not among them. Changes nothing.
    """
    catalog = hub.snapshot.catalog
    names = {each.id: each.name for each in catalog.collections.values()}
    watches: dict[tuple[str, str], Watch | None] = {}
    labels = []
    for number, label in hub.book.labels.items():
        facets = label.key.facets
        key = facets.collection, facets.submitter
        if key not in watches:
            name = names.get(facets.collection)
            watches[key] = None if name is None else watch_over(catalog.policy.guards, name, facets.submitter)
        if watches[key] is not None:
            labels.append(number)
    after = done = 0
    while labels:
        page = hub.store.page(PageQuery(labels=tuple(sorted(labels)), collections=(), after=after, limit=_PAGE))
        for record in page.records:
            watch = watches.get((record.collection, record.submitter))
            stop = watch.judge(orjson.loads(record.content)) if watch is not None else None
            if stop is not None:
                yield Found(record, names[record.collection], stop)
        done += len(page.records)
        progress(done)
        if len(page.records) < _PAGE:
            return
        after = page.records[-1].position
