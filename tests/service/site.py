"""One database with any number of hubs on it, as worker processes would have them, and the words to use them.

Partners alice, bob and carol read everything that is shown to them; each posts to its own drop box, of which only
it is a writer; the view `all` shows the three. Tests bring other policies, partners and collections.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from taxii_server.model import Actor, Record
from taxii_server.service.hub import Hub
from taxii_server.service.post import Added
from taxii_server.service.query import Filters, ReadRequest, VersionChoice
from taxii_server.service.reading import Found
from taxii_server.settings import Settings
from taxii_server.storage import open_store
from taxii_server.storage.base import Store
from taxii_server.times import instant_key
from tests.world import OPEN_POLICY, audiences, collection

ROOT = '[api_roots.api1]\ntitle = "One"\n'
ALICE_ID = "identity--a11ce000-0000-4000-8000-000000000001"
BOB_ID = "identity--b0b00000-0000-4000-8000-000000000002"

PARTNERS = audiences(
    {
        "alice": f'kind = "vendor"\nclearance = "red"\ncountry = "FR"\nidentities = ["{ALICE_ID}"]\n',
        "bob": f'kind = "cert"\nclearance = "red"\ncountry = "DE"\nidentities = ["{BOB_ID}"]\n',
        "carol": 'kind = "cert"\nclearance = "amber"\ncountry = "PL"\n',
    }
)

IDS = {
    "alice-box": "aaaaaaaa-0000-4000-8000-000000000001",
    "alice-two": "aaaaaaaa-0000-4000-8000-000000000002",
    "bob-box": "bbbbbbbb-0000-4000-8000-000000000001",
    "carol-box": "cccccccc-0000-4000-8000-000000000001",
    "all": "dddddddd-0000-4000-8000-000000000001",
}
EVERYBODY = ["alice", "bob", "carol"]


def _box(name: str, owner: str, **more: object) -> str:
    return collection(
        IDS[name],
        f"Box {name}",
        readers=[owner],
        writers=[owner],
        accepts=["2.0", "2.1"],
        owner=owner,
        strictness="structure",
        **more,
    )


COLLECTIONS = {
    "alice-box": _box("alice-box", "alice"),
    "alice-two": _box("alice-two", "alice"),
    "bob-box": _box("bob-box", "bob"),
    "carol-box": _box("carol-box", "carol"),
    "all": collection(
        IDS["all"],
        "Everything",
        readers=EVERYBODY,
        writers=EVERYBODY,
        accepts=["2.0", "2.1"],
        strictness="structure",
        sources=["alice-box", "alice-two", "bob-box", "carol-box"],
    ),
}

FIRST_V = VersionChoice(first=True)
LAST_V = VersionChoice(last=True)
ALL_V = VersionChoice(every=True)


def at(*times: str) -> VersionChoice:
    """match[version] with single versions."""
    return VersionChoice(keys=tuple(sorted(map(instant_key, times))))


def versions(choice: VersionChoice, **more: Any) -> Filters:
    """Filters with this version choice."""
    return Filters(versions=choice, **more)


class Site:
    """One database. `hub` is the first worker; `worker()` makes more."""

    def __init__(
        self,
        url: str,
        policy: str = OPEN_POLICY,
        partners: str = PARTNERS,
        collections: Mapping[str, str] = COLLECTIONS,
        store: Store | None = None,
    ) -> None:
        self.url = url
        self.files: dict[str, str] = {
            "config/server.toml": ROOT,
            "config/policy.toml": policy,
            "config/partners.toml": partners,
            **{f"collections/{name}.toml": text for name, text in collections.items()},
        }
        self._hubs: list[Hub] = []
        self.hub = self.worker(store, load=False)
        self.apply()

    def worker(self, store: Store | None = None, *, load: bool = True) -> Hub:
        """One more hub on the database, with a store of its own."""
        hub = Hub(Settings(store=self.url), store or open_store(self.url))
        hub.store.prepare()
        self._hubs.append(hub)
        if load:
            hub.load()
        return hub

    def close(self) -> None:
        for hub in self._hubs:
            hub.store.close()

    def apply(self, hub: Hub | None = None, **texts: str | None) -> None:
        """Put the files in force; `policy`, `partners` or a collection's name with _ for - changes one (None: gone)."""
        for name, text in texts.items():
            file = f"config/{name}.toml"
            if file not in self.files:
                file = f"collections/{name.replace('_', '-')}.toml"
            if text is None:
                del self.files[file]
            else:
                self.files[file] = text
        (hub or self.hub).apply(dict(self.files), "test")

    # ---- requests at the level of the hub

    def post(self, partner: str, into: str, *objects: Any, hub: Hub | None = None) -> list[Added]:
        """What became of these objects."""
        on = hub or self.hub
        body = json.dumps({"objects": list(objects)}).encode()
        return on.writer.add(partner, on.snapshot.catalog.collections[into], body)

    def store(self, partner: str, into: str, *objects: Any, hub: Hub | None = None) -> None:
        """Post objects all of which have to be stored."""
        for added in self.post(partner, into, *objects, hub=hub):
            assert added.ok, added
            assert added.message is None, added

    def page(self, partner: str, of: str = "all", hub: Hub | None = None, **request: Any) -> Found:
        """One page; `request` as ReadRequest takes it."""
        on = hub or self.hub
        request.setdefault("resource", "objects")
        return on.visit(Actor(partner, "c", "test")).read(on.snapshot.catalog.collections[of], ReadRequest(**request))

    def walk(
        self, partner: str, of: str = "all", filters: Filters | None = None, hub: Hub | None = None, **request: Any
    ) -> Iterator[Record]:
        """All records, page by page; checks that pages hold what pages promise."""
        limit = request.setdefault("limit", 3)
        last = -1
        asked = ReadRequest(**{"resource": "objects", **request}, filters=filters)
        on = hub or self.hub
        place = on.snapshot.catalog.collections[of]
        while True:
            found = on.visit(Actor(partner, "c", "test")).read(place, asked)
            positions = [item.at for item in found.items]
            assert positions == sorted(set(positions))
            assert len(positions) <= limit
            assert not positions or positions[0] > last
            yield from found.records
            if found.next is None:
                return
            assert len(positions) == limit, "a page with a next is full"
            last = positions[-1]
            asked = replace(asked, next=found.next)

    def ids(self, partner: str, of: str = "all", filters: Filters | None = None, **more: Any) -> list[str]:
        """The ids that the partner gets, in order."""
        return [record.id for record in self.walk(partner, of, filters, **more)]

    def names(self, partner: str, of: str = "all", filters: Filters | None = None, **more: Any) -> list[str]:
        """The names of the objects that the partner gets, in order."""
        return [json.loads(record.content)["name"] for record in self.walk(partner, of, filters, **more)]

    def delete(
        self, partner: str, of: str, object_id: str, filters: Filters | None = None, hub: Hub | None = None
    ) -> int:
        """How many versions went."""
        on = hub or self.hub
        place = on.snapshot.catalog.collections[of]
        rights = on.snapshot.catalog.rights(place, partner)
        return on.visit(Actor(partner, "c", "test")).delete(place, rights, object_id, filters)

    def labels(self) -> list[str]:
        """The payloads of all labels in the log."""
        return [entry.payload for entry in self.hub.store.log_after(0) if entry.kind == "label"]


def marked(level: str) -> dict[str, Any]:
    """The marking of a TLP level, to be merged into an object."""
    from taxii_server.tlp import TLP_2_IDS

    return {"object_marking_refs": [TLP_2_IDS[level]]}


def report(refs: Iterable[str], id_: str, **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 report."""
    return {
        "type": "report",
        "spec_version": "2.1",
        "id": id_,
        "created": "2018-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z",
        "name": "report",
        "published": "2018-01-01T00:00:00.000Z",
        "object_refs": list(refs),
        **more,
    }


def statement(id_: str, text: str = "Copyright", **more: Any) -> dict[str, Any]:
    """A STIX 2.1 marking-definition with a statement."""
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": id_,
        "created": "2018-01-01T00:00:00.000Z",
        "definition_type": "statement",
        "definition": {"statement": text},
        **more,
    }


def url(value: str, id_: str, **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 cyber-observable: it has no version of its own."""
    return {"type": "url", "spec_version": "2.1", "id": id_, "value": value, **more}
