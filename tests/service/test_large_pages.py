"""A page of large objects is cut by bytes: nothing is lost, nothing comes twice, memory stays bounded."""

from __future__ import annotations

import pytest

from taxii_server.model import Actor
from taxii_server.service import reading
from taxii_server.service.query import ReadRequest
from tests.world import indicator

from .site import Site

SIZE = 10_000
BUDGET = 35_000


def test_a_page_of_large_objects_ends_early_and_the_walk_gets_all_of_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MAX_PAGE_BYTES", BUDGET)
    sent = [indicator(description="x" * size) for size in (SIZE, SIZE, SIZE, SIZE, SIZE * 9, 1, SIZE * 9, 1, 1)]
    site.store("alice", "alice-box", *sent)
    visit = site.hub.visit(Actor("alice", "c", "test"))
    place = visit.catalog.collections["alice-box"]
    got: list[str] = []
    pages: list[int] = []
    token: str | None = None
    while True:
        found = visit.read(place, ReadRequest("objects", limit=100, next=token))
        assert sum(len(record.content) for record in found.records[1:]) <= BUDGET
        got += [record.id for record in found.records]
        pages.append(len(found.records))
        token = found.next
        if token is None:
            break
        assert found.records
    assert got == [each["id"] for each in sent]
    assert len(pages) > 3
    manifest = visit.read(place, ReadRequest("manifest", limit=100, content=False))
    assert (len(manifest.records), manifest.next) == (len(sent), None)
