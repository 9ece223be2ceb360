"""`verify` finds each kind of damage in a real database, repairs what texts tell, and finds nothing in a good one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from bson import Int64
from pymongo import MongoClient

from taxii_server.service.verify import Report, Verifier
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from tests.service.site import Site, marked
from tests.service.test_nothing_lost import Story
from tests.service.test_time import Clock
from tests.world import OPEN_POLICY, indicator, malware, new_id, relationship

#: column -> name of the field on MongoDB
FIELDS = {
    "label": "L", "id": "i", "type": "t", "version": "v", "version_key": "k", "digest": "d", "content": "j",
    "hard_refs": "h", "spec_version": "sv", "submitter": "p",
}  # fmt: skip
OLD, NEW = "2021-01-01T00:00:00.000Z", "2022-01-01T00:00:00.000Z"


class Damage:
    """Changes a database behind the back of its store."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def is_mongo(self) -> bool:
        return self.url.startswith("mongodb")

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.url)) as db, db:
            db.execute(statement, values)

    def mongo(self, change: Callable[[Any], object]) -> None:
        with MongoClient[dict[str, Any]](self.url) as client:
            change(client.get_default_database())

    def record(self, position: int, **columns: Any) -> None:
        """Other columns of the record at this position."""
        if self.is_mongo:
            values = {FIELDS[name]: value for name, value in columns.items()}
            self.mongo(lambda db: db["records"].update_one({"_id": Int64(position)}, {"$set": values}))
            return
        for name, value in columns.items():
            stored = json.dumps(value) if name.endswith("refs") else value
            self.sql(f"UPDATE records SET {name} = ? WHERE position = ?", stored, position)

    def either(self, statement: str, change: Callable[[Any], object]) -> None:
        """The statement on SQLite, the change on MongoDB."""
        if self.is_mongo:
            self.mongo(change)
        else:
            self.sql(statement)


@pytest.fixture
def damage(site: Site) -> Damage:
    return Damage(site.url)


@pytest.fixture
def ids(site: Site) -> dict[str, str]:
    """A hub with two versions of a malware, a red indicator, a relationship between them, and an event."""
    names = {"old": new_id("malware"), "red": new_id("indicator"), "link": new_id("relationship")}
    site.store("alice", "alice-box", malware(names["old"], modified=OLD, **marked("green")))
    site.store("alice", "alice-box", malware(names["old"], modified=NEW, **marked("green")))
    site.store("alice", "alice-box", indicator(names["red"], **marked("red")))
    site.store("bob", "bob-box", {**relationship(names["old"], names["red"], **marked("green")), "id": names["link"]})
    site.store("alice", "alice-box", indicator(gone := new_id("indicator"), **marked("red")))
    site.store("bob", "bob-box", relationship(names["old"], gone, **marked("green")))
    site.delete("alice", "all", gone)
    site.page("carol")
    return names


def checked(site: Site) -> Report:
    return Verifier(site.worker().store).check()


def repaired(site: Site) -> Report:
    """What is left after a repair by another process than the one that serves."""
    hub = site.worker()
    verifier = Verifier(hub.store)
    verifier.check()
    verifier.repair(hub.writer)
    return checked(site)


def positions(site: Site, id_: str) -> list[int]:
    return [record.position for record in site.hub.store.lookup([id_])[id_]]


def test_a_good_database_has_no_fault(site: Site, ids: dict[str, str]) -> None:
    report = checked(site)
    assert report.faults == ()
    assert report.counts["records"] == 5
    assert min(report.counts[part] for part in ("log", "bands", "catalogs", "ledger")) > 0


@pytest.mark.parametrize(
    ("which", "number", "columns", "part", "says"),
    [
        ("old", 1, {"label": 999_999}, "labels", "which the log does not know"),
        ("old", 1, {"version": OLD}, "records", "version is"),
        ("old", 0, {"version_key": "2023-01-01T00:00:00"}, "records", "version_key is"),
        ("old", 0, {"type": "tool"}, "records", "type is"),
        ("old", 1, {"id": "malware--00000000-0000-4000-8000-000000000000"}, "records", "id is"),
        ("link", 0, {"hard_refs": ["tool--00000000-0000-4000-8000-000000000000"]}, "records", "hard_refs is"),
        ("red", 0, {"hard_refs": ["tool--00000000-0000-4000-8000-000000000000"]}, "records", "hard_refs is"),
    ],
)
def test_what_the_text_tells_is_repaired(
    site: Site,
    ids: dict[str, str],
    damage: Damage,
    which: str,
    number: int,
    columns: dict[str, Any],
    part: str,
    says: str,
) -> None:
    before = {partner: site.ids(partner) for partner in ("alice", "bob", "carol")}
    damage.record(positions(site, ids[which])[number], **columns)
    faults = checked(site).faults
    assert [(each.part, each.repairable) for each in faults if says in each.what] == [(part, True)], faults
    assert all(each.repairable for each in faults)
    assert repaired(site).faults == ()
    # The running server is right again without a word; what came back may stand at a later place.
    assert {partner: sorted(site.ids(partner)) for partner in before} == {p: sorted(each) for p, each in before.items()}


def test_labels_of_other_records_are_found_and_what_comes_back_reaches_a_poller(
    site: Site, ids: dict[str, str], damage: Damage
) -> None:
    (red,) = positions(site, ids["red"])
    old, new = positions(site, ids["old"])
    labels = {record.position: record.label for record in site.hub.store.lookup(ids.values())[ids["old"]]}
    (red_label,) = {record.label for record in site.hub.store.lookup([ids["red"]])[ids["red"]]}
    damage.record(new, label=red_label)  # hidden from carol
    damage.record(old, label=labels[new])  # says that it is the newest one
    damage.record(red, label=labels[new])  # shown to carol: a leak
    assert sorted(each.where.split()[0] for each in checked(site).faults) == sorted(map(str, (red, old, new)))
    poller = site.page("carol", limit=100)
    last = poller.items[-1].at if poller.items else 0
    seen = {(record.id, record.version) for record in poller.records}
    assert (ids["old"], NEW) not in seen
    assert repaired(site).faults == ()
    assert ids["red"] not in site.ids("carol")
    back = {(record.id, record.version) for record in site.page("carol", added_after=last, limit=100).records}
    assert (ids["old"], NEW) in back
    assert {r.position: r.label for r in site.hub.store.lookup([ids["old"]])[ids["old"]]} == labels


def test_references_that_are_not_found_are_repaired(site: Site, ids: dict[str, str], damage: Damage) -> None:
    (link,) = positions(site, ids["link"])
    damage.either(
        f"DELETE FROM refs WHERE position = {link}",
        lambda db: db["records"].update_one({"_id": Int64(link)}, {"$set": {"m": True}, "$rename": {"h": "H"}}),
    )
    ((part, what),) = [(each.part, each.what) for each in checked(site).faults]
    assert (part, what) == ("references", "is not found by what it refers to")
    assert repaired(site).faults == ()
    assert [record.id for record in site.hub.store.referrers([ids["red"]])] == [ids["link"]]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"content": b'{"type":"malware"'}, "cannot be read"),
        ({"content": b'{"type":"malware","id":"malware--1"}'}, "not the one that was posted"),
        ({"digest": b"\0" * 32}, "not the one that was posted"),
    ],
)
def test_a_text_that_is_not_the_posted_one_is_listed_and_left(
    site: Site, ids: dict[str, str], damage: Damage, columns: dict[str, Any], says: str
) -> None:
    position = positions(site, ids["old"])[1]
    damage.record(position, **columns)
    (fault,) = checked(site).faults
    assert (fault.part, fault.where, fault.repairable) == ("records", f"{position} {ids['old']}", False)
    assert says in fault.what
    assert repaired(site).faults == (fault,)


def test_a_position_above_the_clock_shows(site: Site, ids: dict[str, str], damage: Damage) -> None:
    damage.either(
        "UPDATE facts SET last_position = last_position - 160",
        lambda db: db["meta"].update_one({"_id": "clock"}, {"$inc": {"position": Int64(-160)}}),
    )
    assert [each.part for each in checked(site).faults] == ["clock"]


def test_positions_off_the_grid_and_in_a_band_show(site: Site, ids: dict[str, str]) -> None:
    hub = site.hub
    (event,) = hub.book.events
    record = hub.store.lookup([ids["red"]])[ids["red"]][0]
    with hub.store.whole.snapshot() as snapshot:
        rows = {part: list(snapshot.rows(part)) for part in ("log", "records", "bands", "catalogs")}
        facts = snapshot.facts()
    moved = {record.position: record.position + 1, positions(site, ids["old"])[1]: event.end}
    rows["records"] = [(moved.get(int(str(row[0])), row[0]), *row[1:]) for row in rows["records"]]
    for each in site._hubs:
        each.store.close()
    site._hubs.clear()
    store = site.worker(load=False).store
    with store.whole.replace() as loading:
        for part, some in rows.items():
            loading.put(part, some)
        loading.finish(facts)
    whats = sorted((each.where.split()[0], each.what) for each in checked(site).faults)
    assert whats == sorted(
        [
            (str(record.position + 1), "its position is not a multiple of 16"),
            (str(event.end), "its position lies in the band of an event"),
        ]
    )


@pytest.mark.parametrize(
    ("statement", "change", "part", "says"),
    [
        (
            "UPDATE log SET payload = payload || ' ' WHERE number = 2",
            lambda db: db["log"].update_one({"_id": 2}, [{"$set": {"payload": {"$concat": ["$payload", " "]}}}]),
            "log",
            "was changed",
        ),
        (
            "UPDATE log SET number = number + 1 WHERE number = (SELECT max(number) FROM log)",
            lambda db: db["log"].insert_one(
                {**(last := db["log"].find_one({}, sort=[("_id", -1)])), "_id": last["_id"] + 2, "key": b"x"}
            ),
            "log",
            "are missing",
        ),
        ("DELETE FROM bands", lambda db: db["bands"].delete_many({}), "events", "entries are missing"),
        (
            "UPDATE bands SET low = low + 16",
            lambda db: db["bands"].update_many({}, {"$inc": {"low": Int64(16)}}),
            "events",
            "its bounds are not those of its entries",
        ),
        (
            "UPDATE bands SET event = 1",
            lambda db: db["bands"].update_many({}, {"$set": {"e": 1}}),
            "events",
            "that the log does not know",
        ),
        (
            "UPDATE bands SET class = 7",
            lambda db: db["bands"].update_many({}, {"$set": {"c": 7}}),
            "events",
            "its class is none",
        ),
        (
            "INSERT INTO aliases VALUES ('x', 'y')",
            lambda db: db["aliases"].insert_one({"_id": "x", "o": "y"}),
            "aliases",
            "is not the id of a copy",
        ),
        (
            "INSERT INTO statuses VALUES ('s', 'api1', 'alice', x'7b7d', 1)",
            lambda db: db["statuses"].insert_one(
                {"_id": "s", "api_root": "api1", "submitter": "alice", "body": b"{}", "expires": Int64(1)}
            ),
            "statuses",
            "its resource cannot be read",
        ),
        (
            "UPDATE catalogs SET digest = 'x'",
            lambda db: db["catalog"].update_many({}, {"$set": {"digest": "x"}}),
            "catalogs",
            "they have another digest",
        ),
    ],
)
def test_damage_beside_the_records_shows(
    site: Site,
    ids: dict[str, str],
    damage: Damage,
    statement: str,
    change: Callable[[Any], object],
    part: str,
    says: str,
) -> None:
    damage.either(statement, change)
    faults = [(each.part, each.repairable) for each in checked(site).faults if says in each.what]
    assert (part, False) in faults
    assert {repairable for _, repairable in faults} == {False}


def test_a_changed_ledger_shows(site: Site, ids: dict[str, str], damage: Damage) -> None:
    if damage.is_mongo:
        damage.mongo(lambda db: db["ledger"].update_many({"k": "delivered"}, {"$set": {"p": "somebody"}}))
    else:
        Damage(f"{site.url}-ledger").sql("UPDATE entries SET partner = 'somebody' WHERE kind = 'delivered'")
    assert {(each.part, each.what) for each in checked(site).faults} == {("ledger", "was changed")}


def test_rows_of_references_that_lead_nowhere_are_removed(tmp_path: Any) -> None:
    site = Site(str(tmp_path / "hub.db"))
    site.store("alice", "alice-box", malware(new_id("malware")))
    Damage(site.url).sql("INSERT INTO refs VALUES ('tool--1', 5)")
    ((part, repairable),) = [(each.part, each.repairable) for each in checked(site).faults]
    assert (part, repairable) == ("references", True)
    assert repaired(site).faults == ()
    site.close()


def test_labels_that_wait_for_the_policy_are_no_fault(site: Site, ids: dict[str, str]) -> None:
    """A change of the policy that died after it had made the vocabulary grow."""
    from taxii_server.policy import Vocabulary

    site.store("alice", "alice-box", malware(new_id("malware"), labels=["rare"]))
    site.hub.book.grow_vocabulary(Vocabulary(labels=frozenset({"rare"})))
    report = checked(site)
    assert report.faults == ()
    assert report.pending == 1


def test_a_check_beside_writers_finds_nothing(site: Site) -> None:
    from threading import Event, Thread

    stop, failed = Event(), []
    writer = site.worker()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                ids = [new_id("malware") for _ in range(5)]
                more = {"labels": [f"word {number}"]}
                site.store("alice", "alice-box", *(malware(each, modified=OLD, **more) for each in ids), hub=writer)
                site.store("alice", "alice-box", *(malware(each, modified=NEW) for each in ids[:3]), hub=writer)
                site.delete("alice", "alice-box", ids[0], hub=writer)
            except Exception as error:  # noqa: BLE001 - told below
                failed.append(error)
                return

    policy = OPEN_POLICY + "".join(
        f'\n[[forbid]]\nid = "f{n}"\nwhy = "x"\nto = {{ audience = "carol" }}\nwhat = {{ label = "word {n}" }}\n'
        for n in range(40)
    )
    site.apply(policy=policy)
    thread = Thread(target=write)
    thread.start()
    try:
        found = [fault for _ in range(6) for fault in checked(site).faults]
    finally:
        stop.set()
        thread.join()
    assert not failed
    assert found == []


@pytest.mark.parametrize("seed", [1, 5, 27, 80])
def test_a_hub_after_a_random_story_has_no_fault(site_kind: str, store_url: str, seed: int) -> None:
    clock = Clock()
    store: Any = (MongoStore if site_kind == "mongodb" else SQLiteStore)(store_url, now=clock)
    store.prepare()
    site = Site(store_url, store=store)
    try:
        story = Story(site, clock, seed)
        story._apply()
        for _ in range(40 if site_kind == "sqlite" else 15):
            story.step()
            clock.us += 1_000_000
        site.ids("carol")
        assert checked(site).faults == ()
    finally:
        site.close()


@pytest.fixture
def site_kind(store_url: str) -> str:
    return "mongodb" if store_url.startswith("mongodb") else "sqlite"
