"""A full read does not depend on what happened: it gives what it gives of a hub that began with the present
configuration and to which the same objects were posted in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taxii_server.model import PageQuery, Record
from taxii_server.service.posting import Incoming
from taxii_server.stix.parse import read_envelope
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from tests.service.site import Site, report
from tests.service.test_nothing_lost import Polls, Story
from tests.service.test_time import Clock
from tests.world import indicator, malware, relationship

STEPS = 45


class Rewritten(Story):
    """A story in which what refers to others gets new versions, too."""

    def _object(self, again: bool) -> dict[str, Any]:
        made, some = super()._object(again), self.random
        mine = [each for each in self.alices if each.startswith(("report", "relationship"))]
        if not (again and mine and some.random() < 0.25):
            return made
        return self._again(some.choice(mine), made)

    def _again(self, id_: str, like: dict[str, Any]) -> dict[str, Any]:
        """Another version under this id, marked like that object."""
        some = self.random
        self.versions[id_] = self.versions.get(id_, 0) + 1
        more = {name: like[name] for name in ("object_marking_refs", "labels") if name in like}
        more["modified"] = f"2021-01-01T00:00:00.{self.versions[id_]:03}Z"
        if id_.startswith("report"):
            return report(some.sample(self.ids, min(3, len(self.ids))), id_, **more)
        if id_.startswith("relationship"):
            return relationship(some.choice(self.ids), some.choice(self.ids), id_, **more)
        return (malware if id_.startswith("malware") else indicator)(id_, **more)


def stored(site: Site) -> list[Record]:
    site.hub.book.sync()
    labels = tuple(sorted(site.hub.book.labels))
    return list(site.hub.store.page(PageQuery(labels, (), 0, 10_000)).records)


def begun_anew(site: Site, clock: Clock, path: Path) -> Site:
    store = SQLiteStore(path, now=clock)
    store.prepare()
    made = Site(str(path), store=store)
    made.files = dict(site.files)
    made.apply()
    collections = {each.id: each for each in made.hub.snapshot.catalog.collections.values()}
    for record in stored(site):
        (item,) = read_envelope(b'{"objects":[' + record.content + b"]}")
        incoming = Incoming(collections[record.collection], item, record.position)
        (added,) = made.hub.writer.add_items(record.submitter, [incoming])
        assert added.ok, added
    return made


def everything(site: Site, poll: Polls) -> set[tuple[str, ...]]:
    """What a full read gives, without the ids and dates of copies, which are the hub's."""
    return {
        (record.id, record.version, record.collection, record.submitter, item.form)
        for item, record in _read(site, poll)
        if item.form != "relation"
    }


def _read(site: Site, poll: Polls) -> Any:
    token = None
    while True:
        found = site.page(poll.partner, poll.of, filters=poll.filters, limit=20, next=token)
        yield from zip(found.items, found.records, strict=True)
        token = found.next
        if token is None:
            return


@pytest.mark.parametrize("seed", [*range(6), 20, 74, 100, 122])
@pytest.mark.parametrize("kind", ["sqlite", "mongodb"])
def test_a_full_read_does_not_depend_on_what_happened(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, seed: int
) -> None:
    clock = Clock()
    store: Any
    if kind == "sqlite":
        url = str(tmp_path / "hub.db")
        store = SQLiteStore(url, now=clock)
    elif seed > 90:
        url = request.getfixturevalue("mongo_database_url")
        store = MongoStore(url, now=clock)
    else:
        pytest.skip("the other seeds run on SQLite")
    store.prepare()
    site = Site(url, store=store)
    story = Rewritten(site, clock, seed)
    story._apply()
    told = [story.step() for _ in range(STEPS)]
    clock.us += 10_000_000
    site.hub.keep_time()
    anew = begun_anew(site, clock, tmp_path / "anew.db")
    for poll in story.polls:
        had, has = everything(anew, poll), everything(site, poll)
        assert has == had, "\n".join([f"{poll.partner}, {poll.of}, {poll.filters}", *told])
    anew.close()
    site.close()
