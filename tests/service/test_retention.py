"""Retention: what is due goes, nothing else, nobody loses anything by it, and nothing hidden comes into sight."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from taxii_server.errors import StorageUnavailable
from taxii_server.service.checking import check
from taxii_server.service.disclosures import Disclosures
from taxii_server.service.pruning import prune
from taxii_server.service.retention import Removed, Retention
from taxii_server.service.upkeep import RUNNING, Upkeep
from taxii_server.service.verify import Verifier
from taxii_server.storage.ledger import LedgerQuery
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from tests.interrupting import interrupted
from tests.service.site import ALL_V, COLLECTIONS, Site, marked, statement, versions
from tests.service.test_nothing_lost import Polls, Story
from tests.service.test_time import Clock
from tests.world import OPEN_POLICY, indicator, malware, new_id, relationship

DAY = 86_400_000_000
OLD, NEW, NEWEST = (f"202{n}-01-01T00:00:00.000Z" for n in (1, 2, 3))


def kept(name: str, **keys: int) -> str:
    """The text of a collection with these keys."""
    return "".join(f"{key} = {value}\n" for key, value in keys.items()) + COLLECTIONS[name]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def damaged() -> None:
    """For tests that leave the ledger as no hub would."""


@pytest.fixture
def site(store_url: str, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A hub that keeps what is in alice-box for 30 days, and everything else for ever."""
    kind: Any = MongoStore if store_url.startswith("mongodb") else SQLiteStore
    store = kind(store_url, now=clock)
    collections = COLLECTIONS | {"alice-box": kept("alice-box", retention_days=30)}
    made = Site(store_url, collections=collections, store=store)
    yield made
    faults = Verifier(store).check().faults
    made.close()
    assert "damaged" in request.fixturenames or faults == ()


def run(site: Site, **more: Any) -> Removed:
    return Retention(site.hub, pause=lambda: None, **more).run()


def test_what_is_older_goes_and_the_rest_stays(site: Site, clock: Clock) -> None:
    """Also DEL-14: after that it is as if it had been deleted."""
    old, new, other = (new_id("malware") for _ in range(3))
    site.store("alice", "alice-box", malware(old))
    site.store("bob", "bob-box", malware(other))
    clock.us += 20 * DAY
    site.store("alice", "alice-box", malware(new))
    assert run(site).records == {}
    clock.us += 11 * DAY
    assert run(site, dry=True).records == {"alice-box": 1}
    assert site.ids("carol") == [old, other, new]
    assert run(site).records == {"alice-box": 1}
    assert site.ids("carol") == [other, new]
    assert run(site).records == {}


def test_a_poller_in_the_middle_of_a_walk_gets_everything_that_stays(site: Site, clock: Clock) -> None:
    ids = {name: [new_id("malware") for _ in range(4)] for name in ("a", "b", "c")}
    for number in range(4):
        site.store("alice", "alice-box", malware(ids["a"][number]))
        site.store("bob", "bob-box", malware(ids["b"][number]))
    clock.us += 31 * DAY
    for each in ids["c"]:
        site.store("alice", "alice-box", malware(each))
    everything = site.ids("carol")
    first = site.page("carol", limit=3)
    places = {r.id: r.position for r in site.walk("carol")}
    run(site)
    rest = list(site.walk("carol", next=first.next))
    seen = [r.id for r in (*first.records, *rest)]
    stay = [each for each in everything if each not in ids["a"]]
    assert [each for each in seen if each in stay] == stay
    assert {r.id: r.position for r in site.walk("carol")} == {each: places[each] for each in stay}


def test_versions_above_the_number_go_and_the_newest_stay(site: Site, clock: Clock) -> None:
    site.apply(alice_box=kept("alice-box", retention_versions=2))
    id_, single = new_id("malware"), new_id("malware")
    for version in (OLD, NEW, NEWEST):
        site.store("alice", "alice-box", malware(id_, modified=version))
    site.store("alice", "alice-box", malware(single, modified=OLD))
    assert run(site).records == {"alice-box": 1}
    found = [(r.id, r.version) for r in site.walk("carol", filters=versions(ALL_V))]
    assert found == [(id_, NEW), (id_, NEWEST), (single, OLD)]
    assert [r.version for r in site.walk("carol") if r.id == id_] == [NEWEST]


def test_an_old_version_never_stands_as_the_newest(site: Site, clock: Clock) -> None:
    """The newest one came early, an older one late, or to a collection that keeps it."""
    late, elsewhere = new_id("malware"), new_id("malware")
    site.store("alice", "alice-box", malware(late, modified=NEW, revoked=True), malware(elsewhere, modified=NEW))
    site.store("alice", "alice-two", malware(elsewhere, modified=OLD))
    clock.us += 20 * DAY
    site.store("alice", "alice-box", malware(late, modified=OLD))
    clock.us += 11 * DAY
    assert run(site).records == {}
    assert [(r.id, r.version) for r in site.walk("carol")] == [(late, NEW), (elsewhere, NEW)]
    clock.us += 20 * DAY
    assert run(site).records == {"alice-box": 2}
    assert [(r.id, r.version) for r in site.walk("carol", "all")] == [(elsewhere, NEW)]


def test_what_hides_something_stays_until_that_goes(site: Site, clock: Clock) -> None:
    red = indicator(new_id("indicator"), **marked("red"))
    green = malware(new_id("malware"), **marked("green"))
    site.store("alice", "alice-box", red, green)
    link = relationship(green["id"], red["id"], **marked("green"))
    site.store("bob", "bob-box", link)
    assert link["id"] not in site.ids("carol")
    clock.us += 31 * DAY
    done = run(site)
    assert (done.records, done.held) == ({"alice-box": 1}, {red["id"]})
    assert site.ids("carol") == []
    assert set(site.ids("alice")) == {red["id"], link["id"]}
    site.delete("bob", "all", link["id"])
    assert run(site).records == {"alice-box": 1}
    assert site.ids("alice") == []


@pytest.mark.parametrize("level", ["green", "clear"])
def test_what_hides_something_that_comes_while_it_is_looked_at_stays(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """What refers to it has a label that is known, or a new one."""
    red = indicator(new_id("indicator"), **marked("red"))
    green = malware(new_id("malware"), **marked("green"))
    site.store("alice", "alice-box", red, green)
    site.store("bob", "bob-box", relationship(green["id"], green["id"], **marked("green")))
    clock.us += 31 * DAY
    link = relationship(green["id"], red["id"], **marked(level))
    other, ends = site.worker(), Retention._ends

    def slow(retention: Retention, *asked: Any) -> Any:
        found = ends(retention, *asked)
        monkeypatch.setattr(Retention, "_ends", ends)
        site.store("bob", "bob-box", link, hub=other)
        return found

    monkeypatch.setattr(Retention, "_ends", slow)
    done = run(site)
    assert (done.records, done.held) == ({"alice-box": 1}, {red["id"]})
    assert link["id"] not in site.ids("carol")
    assert set(site.ids("alice")) > {red["id"], link["id"]}


def test_a_referrer_with_a_label_that_is_not_known_here_is_read_about(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = indicator(new_id("indicator"), **marked("red"))
    site.store("alice", "alice-box", red)
    clock.us += 31 * DAY
    links = [relationship(red["id"], red["id"], **marked("green"))]
    other, referrers = site.worker(), site.hub.store.referrers

    def slow(ids: Any) -> Any:
        while links:
            site.store("bob", "bob-box", links.pop(), hub=other)
        return referrers(ids)

    monkeypatch.setattr(site.hub.store, "referrers", slow)
    done = run(site)
    assert (done.records, done.held) == ({}, {red["id"]})


def test_labels_that_come_while_old_objects_are_looked_for(site: Site, clock: Clock) -> None:
    other, lines = site.worker(), 0
    for line in range(1, 20):
        site.store("alice", "alice-box", malware(old := new_id("malware")))
        clock.us += 31 * DAY

        def post() -> None:
            site.store("bob", "bob-box", malware(object_marking_refs=[new_id("marking-definition")]), hub=other)
            site.hub.book.sync()

        with interrupted("Retention._due_ids", post, at=line) as done:
            assert run(site).records == {"alice-box": 1}
        assert old not in site.ids("carol")
        lines += done()
    assert lines > 3


def test_a_run_ends_when_another_configuration_comes_into_force(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may keep what the one before let go, and hide what nothing hid."""
    site.store("alice", "alice-box", malware(old := new_id("malware")))
    clock.us += 31 * DAY
    other, ends = site.worker(), Retention._ends

    def slow(retention: Retention, *asked: Any) -> Any:
        site.apply(other, alice_box=kept("alice-box", retention_days=60))
        return ends(retention, *asked)

    monkeypatch.setattr(Retention, "_ends", slow)
    with pytest.raises(StorageUnavailable, match="another configuration"):
        run(site)
    assert site.ids("carol") == [old]
    monkeypatch.setattr(Retention, "_ends", ends)
    assert run(site).records == {}
    clock.us += 30 * DAY
    assert run(site).records == {"alice-box": 1}


def test_what_refers_to_something_that_everybody_saw_keeps_its_place(site: Site, clock: Clock) -> None:
    target = malware(new_id("malware"), **marked("green"))
    site.store("alice", "alice-box", target)
    site.store("bob", "bob-box", link := relationship(target["id"], target["id"], **marked("green")))
    poll = Polls(site, "carol", "all", None, 10)
    poll.poll()
    before, events = poll.after, len(site.hub.book.events)
    clock.us += 31 * DAY
    assert run(site).records == {"alice-box": 1}
    assert len(site.hub.book.events) == events, "no word about it"
    poll.poll()
    assert poll.after == before
    assert site.ids("carol") == [link["id"]]


def test_what_waited_for_something_that_goes_stands_at_an_event(site: Site, clock: Clock) -> None:
    """Its place came from what it refers to: a poller that is slower than the event still gets it."""
    embargo = '\n[[embargo]]\nid = "later"\nto = { audience = "carol" }\nwhat = { type = "malware" }\ndelay = "48h"\n'
    site.apply(policy=OPEN_POLICY + embargo)
    target = malware(new_id("malware"), **marked("green"))
    site.store("alice", "alice-box", target)
    clock.us += 31 * DAY
    assert run(site).records == {}, "the days begin when the last audience may read it"
    clock.us += 2 * DAY
    site.store("bob", "bob-box", link := relationship(target["id"], target["id"], **marked("green")))
    site.store("bob", "bob-box", later := indicator(new_id("indicator")))
    poll = Polls(site, "carol", "all", None, 10)
    poll.poll()
    assert link["id"] not in {each[0] for each in poll.got}, "it waits as long as what it refers to"
    assert later["id"] in {each[0] for each in poll.got}
    assert run(site).records == {"alice-box": 1}
    clock.us += DAY // 1000
    poll.poll()
    assert link["id"] in {each[0] for each in poll.got}


def test_markings_and_identities_stay_while_an_object_names_them(site: Site, clock: Clock) -> None:
    marking, free = (statement(new_id("marking-definition")) for _ in range(2))
    maker = {
        "type": "identity", "spec_version": "2.1", "id": new_id("identity"), "name": "Maker",
        "created": "2018-01-01T00:00:00.000Z", "modified": "2018-01-01T00:00:00.000Z",
    }  # fmt: skip
    site.store("alice", "alice-box", marking, free, maker)
    site.store("bob", "bob-box", malware(named := new_id("malware"), created_by_ref=maker["id"]))
    site.store("bob", "bob-box", malware(object_marking_refs=[marking["id"]]))
    clock.us += 31 * DAY
    assert Retention(site.hub, pause=lambda: None).run(definitions=False).records == {}
    done = run(site)
    assert (done.records, done.held) == ({"alice-box": 1}, {marking["id"], maker["id"]})
    site.delete("bob", "all", named)
    assert run(site).records == {"alice-box": 1}
    assert site.hub.store.lookup([marking["id"], maker["id"], free["id"]]).keys() == {marking["id"]}


def test_a_deletion_by_retention_is_in_the_ledger(site: Site, clock: Clock) -> None:
    ids = [new_id("malware") for _ in range(3)]
    site.store("alice", "alice-box", *map(malware, ids))
    site.page("carol")
    clock.us += 31 * DAY
    run(site)
    asked = Disclosures(site.hub.store, site.hub.book)
    (given,) = asked.who_received(ids[1])
    assert given.version is not None
    assert given.version.deleted is not None
    entries = list(site.hub.store.ledger.find(LedgerQuery(kinds=("deleted",))))
    assert {entry.object for entry in entries} == set(ids)
    assert {(entry.partner, json.loads(entry.facts)["scheme"]) for entry in entries} == {("retention", "retention")}
    assert check(site.hub.store).faults == ()


def test_only_one_does_it_and_only_when_it_is_time(site: Site, clock: Clock) -> None:
    site.store("alice", "alice-box", malware())
    clock.us += 31 * DAY
    kind: Any = type(site.hub.store)
    one, two = (Upkeep(site.worker(kind(site.url, now=clock))) for _ in range(2))
    assert one.tick()
    assert site.ids("carol") == []
    site.store("alice", "alice-box", malware())
    clock.us += 31 * DAY
    assert two.tick()
    assert not one.tick()
    clock.us += 59 * 60_000_000
    assert not two.tick()
    clock.us += 60_000_000
    assert site.hub.store.chores.take(RUNNING, "somebody", DAY)
    with pytest.raises(StorageUnavailable):
        one.tick()
    site.hub.store.chores.give_back(RUNNING, "somebody")
    assert two.tick(), "what was not done is done by the next one"


@pytest.mark.parametrize("seed", range(6))
def test_random_stories_with_retention_lose_nothing(store_url: str, clock: Clock, seed: int) -> None:
    """Pollers beside retention: what is there at the end was given to each of them, nothing appears by retention."""
    if store_url.startswith("mongodb") and seed > 1:
        pytest.skip("the other seeds run on SQLite")
    kind: Any = MongoStore if store_url.startswith("mongodb") else SQLiteStore
    store = kind(store_url, now=clock)
    site = Site(store_url, store=store)
    try:
        story = Story(site, clock, seed)
        site.files["collections/bob-box.toml"] = kept("bob-box", retention_days=2)
        site.files["collections/alice-box.toml"] = kept("alice-box", retention_days=1, retention_versions=2)
        story._apply()
        removed = 0
        told: list[str] = []
        for number in range(40):
            told.append(story.step())
            if number % 5 == 4:
                clock.us += 6 * DAY // 10
                for poll in story.polls:
                    # Dates come, before anything is compared.
                    poll.poll()
                before = {who: {(r.id, r.version) for r in site.walk(who)} for who in ("bob", "carol")}
                removed += run(site).total
                after = {who: {(r.id, r.version) for r in site.walk(who)} for who in ("bob", "carol")}
                appeared = {who: after[who] - before[who] for who in after}
                assert appeared == {"bob": set(), "carol": set()}, "\n".join(told)
            for poll in story.polls:
                if story.random.random() < 0.5:
                    poll.poll()
        clock.us += 10_000_000
        for poll in story.polls:
            poll.poll()
            poll.check()
        assert removed > 5
        assert Verifier(store).check().faults == ()
    finally:
        site.close()


# ---- the ledger


def test_a_pruned_ledger_can_still_be_verified(site: Site, clock: Clock) -> None:
    site.store("alice", "alice-box", malware(id_ := new_id("malware")))
    hubs = [site.worker(type(site.hub.store)(site.url, now=clock)) for _ in range(3)]  # type: ignore[call-arg]
    for hub in (*hubs, hubs[0]):
        site.page("carol", hub=hub)
    start = clock.us
    clock.us += 10 * DAY
    site.page("bob", hub=hubs[0])
    site.page("bob", hub=hubs[1])
    store = site.hub.store
    anchors = store.ledger.heads()
    before = store.ledger.count()
    assert prune(store, site.hub.ledger, start + DAY, dry=True) == 7
    assert store.ledger.count() == before
    assert prune(store, site.hub.ledger, start + DAY) == 7
    assert check(store, [head for head in anchors if head.number > 2]).faults == ()
    # A process whose whole strand went goes on with it.
    site.page("bob", hub=hubs[2])
    assert check(store).faults == ()
    assert {each.event.partner for each in Disclosures(store, site.hub.book).who_received(id_)} == {"bob"}
    # And again: the entry of the first pruning goes in its turn.
    clock.us += 10 * DAY
    site.page("bob", hub=hubs[2])
    assert prune(store, site.hub.ledger, clock.us - DAY) > 0
    assert check(store).faults == ()
    assert len(list(store.ledger.find(LedgerQuery(kinds=("pruned",))))) >= 1
    clock.us += 10 * DAY
    site.page("bob", hub=hubs[2])
    assert prune(store, site.hub.ledger, clock.us - DAY) > 0
    assert check(store).faults == ()


@pytest.mark.usefixtures("damaged")
def test_what_goes_without_being_told_of_is_missed(site: Site) -> None:
    site.store("alice", "alice-box", malware())
    for _ in range(6):
        site.page("carol")
    (head,) = site.hub.store.ledger.heads()
    site.hub.store.ledger.drop(head.strand, 2)
    assert [fault.what for fault in check(site.hub.store).faults] == ["entries 1 to 2 are missing"]


@pytest.mark.usefixtures("damaged")
def test_more_cannot_go_than_was_told_of(site: Site, clock: Clock) -> None:
    site.store("alice", "alice-box", malware())
    hub = site.worker(type(site.hub.store)(site.url, now=clock))  # type: ignore[call-arg]
    site.page("carol", hub=hub)
    clock.us += 10 * DAY
    for _ in range(4):
        site.page("carol", hub=hub)
    store = site.hub.store
    (head,) = store.ledger.heads()
    assert prune(store, site.hub.ledger, clock.us - DAY) == 2
    store.ledger.drop(head.strand, 4)
    assert [fault.what for fault in check(store).faults] == ["entries 3 to 4 are missing"]


def test_a_pruning_that_broke_off_is_finished(site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store("alice", "alice-box", malware())
    hub = site.worker(type(site.hub.store)(site.url, now=clock))  # type: ignore[call-arg]
    for _ in range(4):
        site.page("carol", hub=hub)
    clock.us += 10 * DAY
    site.page("carol", hub=hub)
    store = site.hub.store
    (head,) = store.ledger.heads()
    drop = type(store.ledger).drop

    def break_off(self: Any, strand: str, through: int) -> int:
        drop(self, strand, 2)
        raise StorageUnavailable("killed")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.ledger), "drop", break_off)
        with pytest.raises(StorageUnavailable):
            prune(store, site.hub.ledger, clock.us - DAY)
    assert check(store).faults == ()
    assert prune(store, site.hub.ledger, clock.us - DAY) == 3
    assert check(store).faults == ()
    assert min(e.number for e in store.ledger.walk() if e.strand == head.strand) == 6


def test_upkeep_prunes_the_ledger_and_forgets_old_catalogs(site: Site, clock: Clock) -> None:
    site.store("alice", "alice-box", malware(**marked("green")))
    site.page("carol")
    for word in ("a", "b", "c"):
        site.apply(policy=OPEN_POLICY + f"\n# {word}\n")
    clock.us += 40 * DAY
    site.hub.settings = replace(site.hub.settings, ledger_keep_days=10, catalog_keep_days=10)
    done = Upkeep(site.hub).work()
    assert done.retention.records == {"alice-box": 1}
    assert (done.ledger_entries, done.catalogs) == (2, 2)
    assert check(site.hub.store).faults == ()
