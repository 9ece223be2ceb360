"""Whatever happens to policy, partners, views, objects and time: a client that polls with added_after has, after each
poll, everything that a full read gives it, and a full read gives each thing once."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from taxii_server.errors import NotFound
from taxii_server.model import Record
from taxii_server.service.query import Filters
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.tlp import TLP_2_IDS
from tests.service.site import ALL_V, COLLECTIONS, PARTNERS, Site, report, versions
from tests.service.test_time import HOUR, ORCON, Clock, when
from tests.world import OPEN_POLICY, indicator, malware, new_id, relationship

READERS = ("bob", "carol")
WORDS = ("a", "b", "c", "d")


class Polls:
    """One client of one view: what it got so far, as (id, version, content)."""

    def __init__(self, site: Site, partner: str, of: str, filters: Filters | None, limit: int) -> None:
        self.site, self.partner, self.of, self.filters, self.limit = site, partner, of, filters, limit
        self.after = 0
        self.got: set[tuple[str, str, bytes]] = set()
        #: position of a record -> how long the longest form was in which it came
        self.largest: dict[int, int] = {}
        self.newest: dict[str, str] = {}

    def poll(self) -> None:
        while True:
            found = self.site.page(
                self.partner, self.of, filters=self.filters, added_after=self.after, limit=self.limit
            )
            for item in found.items:
                assert item.at > self.after
                self.after = item.at
                self.got.add((item.id, item.version, item.content))
                if item.form != "relation":
                    record = item.record
                    self.largest[record.position] = max(self.largest.get(record.position, 0), len(item.content))
                    self.newest[record.id] = max(self.newest.get(record.id, ""), record.version)
            if found.next is None:
                return

    def check(self) -> None:
        token: str | None = None
        places: list[int] = []
        seen: list[tuple[str, str, bytes]] = []
        records: dict[tuple[str, str], Record] = {}
        relations: set[str] = set()
        while True:
            found = self.site.page(self.partner, self.of, filters=self.filters, limit=3, next=token)
            places += [item.at for item in found.items]
            seen += [(item.id, item.version, item.content) for item in found.items]
            relations |= {item.id for item in found.items if item.form == "relation"}
            records |= {(item.id, item.version): item.record for item in found.items}
            token = found.next
            if token is None:
                break
            assert len(found.items) == 3
        assert places == sorted(set(places))
        assert len({each[:2] for each in seen}) == len(seen), "once each"
        # Who had more of an object before something of it was hidden, need not be given what is left; and who has a
        # newer version need not be given an older one because the newer one has gone since: nothing can tell of that.
        # A copy says since when its first version can be read, which may change with what can be read of it.
        lost = [
            each
            for each in seen
            if each not in self.got
            and each[:2] not in {had[:2] for had in self.got}
            and each[0] not in relations
            and self.largest.get(records[each[:2]].position, 0) < len(each[2])
            and self.newest.get(records[each[:2]].id, "") <= records[each[:2]].version
        ]
        assert not lost, (self.partner, self.of, lost)
        for id_ in {each[0] for each in seen[:4]}:
            try:
                alone = self.site.page(self.partner, self.of, resource="object", object_id=id_, filters=self.filters)
            except NotFound:
                pytest.fail(f"{self.partner} finds {id_} in {self.of} and not by its id")
            assert {(item.id, item.version, item.content) for item in alone.items} <= set(seen)


class Story:
    """A random story of a hub."""

    def __init__(self, site: Site, clock: Clock, seed: int) -> None:
        self.site, self.clock, self.random = site, clock, random.Random(seed)
        self.ids: list[str] = []
        self.alices: list[str] = []
        self.versions: dict[str, int] = {}
        self.rules: dict[str, str] = {}
        self.partners = PARTNERS
        self.polls = [
            Polls(site, partner, of, filters, limit)
            for partner, of in (("bob", "all"), ("carol", "all"), ("alice", "all"), ("bob", "bob-box"))
            for filters, limit in ((None, 2), (versions(ALL_V), 3), (Filters(types=("malware",)), 2))
        ]

    def run(self, steps: int) -> None:
        """So much happens while everybody polls now and then; at the end everybody has what a full read gives."""
        self._apply()
        told: list[str] = []
        for _ in range(steps):
            told.append(self.step())
            for poll in self.polls:
                if self.random.random() < 0.5:
                    poll.poll()
        self.clock.us += 10_000_000
        for poll in self.polls:
            poll.poll()
            try:
                poll.check()
            except AssertionError as error:
                raise AssertionError("\n".join(told)) from error

    def step(self) -> str:
        acts = [self.post, self.post, self.post, self.rule, self.rule, self.person, self.view, self.time, self.delete]
        act = self.random.choice(acts)
        told = act()
        self.clock.us += self.random.choice((1_000, 1_000_000))
        return f"{act.__name__}: {told}"

    def post(self) -> Any:
        partner, into = self.random.choice([("alice", "alice-box"), ("alice", "all"), ("bob", "bob-box")])
        # Who posts under an id of somebody else brings nothing into sight: the work would tell of what is hidden.
        made = [self._object(into != "bob-box") for _ in range(self.random.choice((1, 2, 4)))]
        for added in self.site.post(partner, into, *made):
            assert added.ok or "other content" in (added.message or ""), added
        return partner, into, [(each["id"], each.get("labels"), each.get("object_marking_refs")) for each in made]

    def _object(self, again: bool) -> dict[str, Any]:
        some = self.random
        marks = [TLP_2_IDS[some.choice(("clear", "green", "amber", "amber", "red"))]]
        if some.random() < 0.1:
            marks.append(ORCON)
        more: dict[str, Any] = {"object_marking_refs": marks}
        if some.random() < 0.7:
            more["labels"] = some.sample(WORDS, some.choice((1, 1, 2)))
        if some.random() < 0.3:
            more["x_note"] = f"note {some.random()}"
        old = (
            again
            and some.random() < 0.35
            and [each for each in self.alices if each.startswith(("malware", "indicator"))]
        )
        if old:
            id_ = some.choice(old)
            self.versions[id_] = self.versions.get(id_, 0) + 1
            more["modified"] = f"2021-01-01T00:00:00.{self.versions[id_]:03}Z"
            maker = malware if id_.startswith("malware") else indicator
            return maker(id_, **more)
        kind = some.random()
        if kind < 0.25 and self.ids:
            made = relationship(some.choice(self.ids), some.choice(self.ids), **more)
        elif kind < 0.4 and self.ids:
            made = report(some.sample(self.ids, min(3, len(self.ids))), new_id("report"), **more)
        else:
            made = some.choice((malware, indicator))(**more)
            if some.random() < 0.3:
                part = [{"marking_ref": TLP_2_IDS[some.choice(("amber+strict", "red"))], "selectors": ["labels.[0]"]}]
                made |= {"labels": ["w", *more.get("labels", ())], "granular_markings": part}
        self.ids.append(made["id"])
        if again:
            self.alices.append(made["id"])
        return made

    def rule(self) -> Any:
        some = self.random
        name = some.choice(("r1", "r2", "r3"))
        reader, word = some.choice(READERS), some.choice(WORDS)
        to = f'to = {{ audience = "{reader}" }}\n'
        what = f'what = {{ label = "{word}" }}\n'
        until = when((self.clock.us // 1_000_000 + some.choice((5, 4000))) * 1_000_000)
        chosen = some.sample(self.ids, min(4, len(self.ids)))
        objects = json.dumps(chosen)
        kinds = {
            "": "",
            "forbid": f'[[forbid]]\nid = "{name}"\n{to}{what}',
            "embargo": f'[[embargo]]\nid = "{name}"\n{to}{what}delay = "{some.choice(("1h", "2h"))}"\n',
            "until": f'[[embargo]]\nid = "{name}"\n{to}{what}until = {until}\n',
            "strip": f'[[strip]]\nid = "{name}"\n{to}properties = ["x_note"]\n',
            "release": f'[[release]]\nid = "{name}"\nby = "alice"\n{to}until = {until}\nobjects = {objects}\n',
        }
        kind = some.choice([each for each in kinds if each != "release" or chosen])
        self.rules[name] = kinds[kind]
        self._apply()
        return kind, reader, word

    def person(self) -> Any:
        was, now = self.random.sample(("green", "amber", "red"), 2)
        lines = PARTNERS.replace('clearance = "amber"', f'clearance = "{now}"')
        if self.random.random() < 0.2:
            lines = lines.replace('country = "PL"', 'country = "PL"\nsuspended = true')
        self.partners = lines
        self._apply()
        return was, now

    def view(self) -> Any:
        sources = self.random.choice(('"alice-box", ', '"bob-box", ', ""))
        self.site.files["collections/all.toml"] = COLLECTIONS["all"].replace(sources, "")
        self._apply()
        return sources

    def time(self) -> Any:
        jump = self.random.choice((1_000_000, HOUR // 2, HOUR))
        self.clock.us += jump
        return jump

    def delete(self) -> Any:
        mine = [each for each in self.ids if self.versions.get(each)]
        if not mine:
            return None
        id_ = self.random.choice(mine)
        try:
            choice = versions(self.random.choice((ALL_V, None)) or ALL_V.__class__(last=True))
            return id_, self.site.delete("alice", "all", id_, choice)
        except Exception as error:  # noqa: BLE001 - not its own, or gone
            return id_, type(error).__name__

    def _apply(self) -> None:
        head = OPEN_POLICY.replace("[defaults]", '[defaults]\ngranular = "derive"\nrefs_lists = "derive"')
        rules = "\n".join(self.rules.values())
        self.site.files["config/partners.toml"] = self.partners
        self.site.apply(policy=f'{head}\n[markings."{ORCON}"]\norcon = true\n{rules}')


@pytest.fixture(params=["sqlite", "mongodb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("seed", [*range(8), 27, 51, 80, 105, 133, 295, 297])
def test_a_poller_has_what_a_full_read_gives(
    kind: str, tmp_path: Any, request: pytest.FixtureRequest, seed: int
) -> None:
    clock = Clock()
    store: Any
    if kind == "sqlite":
        url = str(tmp_path / "hub.db")
        store = SQLiteStore(url, now=clock)
    elif seed < 2:
        url = request.getfixturevalue("mongo_database_url")
        store = MongoStore(url, now=clock)
    else:
        pytest.skip("the other seeds run on SQLite")
    store.prepare()
    site = Site(url, store=store)
    try:
        Story(site, clock, seed).run(60)
    finally:
        site.close()
