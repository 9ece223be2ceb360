"""The disclosure ledger: what is recorded of each request, what it tells afterwards, and that damage shows."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from taxii_server.errors import Forbidden, NotFound, StorageUnavailable
from taxii_server.model import POSITION_MAX, Actor, Origin, Record
from taxii_server.service import ledger as writing
from taxii_server.service.checking import check
from taxii_server.service.copies import Copy, Served
from taxii_server.service.disclosures import Disclosures, Event
from taxii_server.service.hub import Hub
from taxii_server.service.ledger_items import FORMS, Item, of_page, pack, unpack
from taxii_server.service.query import Filters, ReadRequest
from taxii_server.service.stream import Row
from taxii_server.storage.ledger import Entry, Head, LedgerQuery
from tests.service.site import ALL_V, IDS, Site, marked, versions
from tests.storage.samples import at_once
from tests.world import OPEN_POLICY, malware, new_id

OLD, NEW = "2020-01-01T00:00:00.000Z", "2021-01-01T00:00:00.000Z"


def told(site: Site, partner: str) -> list[Event]:
    """What the ledger tells of the partner, oldest first."""
    return list(Disclosures(site.hub.store, site.hub.book).what_did(partner))


def forms(event: Event) -> list[str]:
    return [FORMS[item.form] for item in event.items]


def visit_as(site: Site, partner: str, **origin: str) -> Any:
    return site.hub.visit(Actor(partner, "key-1", "basic", Origin(**origin)))


def served(position: int, form: Any) -> Served:
    """An item of a page, with ten times its position as label."""
    record = Record(position, "", "", "", "", "", "", "", label=10 * position)
    return Row(position, record) if form == "whole" else Copy(position, "", "", "", "", "", b"", record, form)


# ---- items


@pytest.mark.parametrize(
    "items",
    [
        [],
        [Item(0, 0, 0)],
        [Item(1, 1, 2), Item(2, 2, 1), Item(300, 128, 0), Item(POSITION_MAX, 2**31, 2)],
        [Item(1_700_000_000_000_000 + 16 * number**2, number % 7, number % 3) for number in range(1000)],
    ],
)
def test_items_come_back_as_they_were_packed(items: list[Item]) -> None:
    assert unpack(pack(items).packed) == items


def test_a_thousand_objects_take_little_room() -> None:
    # Ten minutes apart on average would be a slow feed; a label of its own for each is more than there ever are.
    items = [Item(1_700_000_000_000_000 + 600_000_000 * number + number**3, number, 0) for number in range(1000)]
    assert len(pack(items).packed) < 9000


def test_packing_takes_little_memory_beside_a_page_that_is_on_its_way() -> None:
    items = [Item(1_700_000_000_000_000 + 48 * number, number % 7, 0) for number in range(1000)]
    peaks = []
    for _ in range(3):  # threads of the drivers make something now and then, which is not the packing's
        tracemalloc.start()
        try:
            pack(items)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) < 160_000


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["whole", "copy", "relation"])), max_size=8), st.booleans()
)
def test_a_record_is_told_of_once_in_its_fullest_form(parts: list[tuple[int, Any]], content: bool) -> None:
    items = [served(position, form) for position, form in parts]
    fullest = {"whole": 0, "copy": 1, "relation": 2} if content else {"whole": 2, "copy": 2, "relation": 2}
    expected = [
        Item(position, 10 * position, min(fullest[form] for each, form in parts if each == position))
        for position in sorted({position for position, _ in parts})
    ]
    packed = of_page(items, content)
    assert unpack(packed.packed) == expected
    assert (packed.first, packed.last) == ((expected[0].position, expected[-1].position) if expected else (0, 0))


@pytest.mark.parametrize("damaged", [b"x", pack([Item(5, 1, 0)]).packed[:-1]])
def test_what_was_never_packed_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="items"):
        unpack(damaged)


# ---- what is recorded


@pytest.mark.parametrize(
    ("resource", "form"),
    [("objects", "whole"), ("object", "whole"), ("manifest", "metadata"), ("versions", "metadata")],
)
def test_each_kind_of_read_is_recorded(site: Site, resource: str, form: str) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, **marked("green")))
    (record,) = site.hub.store.lookup([id_])[id_]
    asked = ReadRequest(
        resource,
        object_id=id_ if resource in ("object", "versions") else None,
        content=form == "whole",
    )
    place = site.hub.snapshot.catalog.collections["all"]
    visit = visit_as(site, "carol", address="192.0.2.7", method="GET", path="/api1/x/", query="limit=1")
    assert len(visit.read(place, asked).items) == 1
    (event,) = told(site, "carol")
    assert event.kind == "delivered"
    assert event.object == (asked.object_id or "")
    assert event.items == (Item(record.position, record.label, FORMS.index(form)),)
    assert event.facts == {
        "credential": "key-1",
        "scheme": "basic",
        "address": "192.0.2.7",
        "method": "GET",
        "path": "/api1/x/",
        "query": "limit=1",
        "status": 200,
        "resource": resource,
        "collection": "all",
        "policy": site.hub.snapshot.catalog.digest,
        "epoch": site.hub.snapshot.epoch,
    }


def test_what_a_head_request_gives_away_is_metadata(site: Site) -> None:
    site.store("alice", "alice-box", malware(**marked("green")))
    visit_as(site, "carol", method="HEAD").read(site.hub.snapshot.catalog.collections["all"], ReadRequest("objects"))
    assert forms(told(site, "carol")[0]) == ["metadata"]


def test_a_read_that_gives_nothing_is_not_recorded(site: Site) -> None:
    assert site.page("carol").items == ()
    assert list(site.hub.store.ledger.walk()) == []


def test_each_page_is_recorded_with_what_it_held(site: Site) -> None:
    site.store("alice", "alice-box", *(malware(**marked("green")) for _ in range(7)))
    positions = [record.position for record in site.walk("carol", limit=3)]
    assert [[item.position for item in event.items] for event in told(site, "carol")] == [
        positions[:3],
        positions[3:6],
        positions[6:],
    ]


def test_a_copy_is_recorded_as_one_and_found_by_both_ids(store_url: str) -> None:
    strip = '\n[[strip]]\nid = "tickets"\nto = { not_audience = "alice" }\nproperties = ["x_ticket"]\n'
    site = Site(store_url, OPEN_POLICY + strip)
    try:
        id_ = new_id("malware")
        site.store("alice", "alice-box", malware(id_, x_ticket="T-1", **marked("green")))
        copy, relation = site.page("carol").items
        assert (copy.form, relation.form) == ("copy", "relation")
        assert site.page("bob", filters=Filters(types=("relationship",))).items[0].id == relation.id
        site.page("alice", "alice-box")
        disclosures = Disclosures(site.hub.store, site.hub.book)
        expected = [("carol", "copy"), ("bob", "metadata"), ("alice", "whole")]
        for name in (id_, copy.id):
            assert [(each.event.partner, each.form) for each in disclosures.who_received(name)] == expected
        assert check(site.hub.store).faults == ()
    finally:
        site.close()


def test_a_long_query_is_cut_and_odd_texts_are_kept_in_ascii(site: Site) -> None:
    site.store("alice", "alice-box", malware(**marked("green")))
    visit = visit_as(site, "carol", query="q" * 9000, path="/\udc80é\0/")
    visit.read(site.hub.snapshot.catalog.collections["all"], ReadRequest("objects"))
    (event,) = told(site, "carol")
    assert (event.fact("query"), event.fact("path")) == ("q" * 500, "/\udc80é\0/")
    assert check(site.hub.store).faults == ()


def test_refused_look_ups_tell_hidden_from_unknown(site: Site) -> None:
    id_, unknown = new_id("malware"), new_id("malware")
    site.store("bob", "bob-box", malware(id_, **marked("red")))
    hub, place = site.hub, site.hub.snapshot.catalog.collections
    visit = visit_as(site, "carol")
    for object_id in (id_, unknown):
        with pytest.raises(NotFound):
            visit.read(place["all"], ReadRequest("object", object_id=object_id))
    assert list(hub.store.ledger.walk()) == []  # the reads record nothing: it is the answer that is recorded
    for root, name, object_id in [
        ("api1", IDS["all"], id_),
        ("api1", IDS["all"], unknown),
        ("api1", IDS["bob-box"], id_),
        ("api1", IDS["bob-box"], ""),
        ("api1", "nowhere", id_),
        ("api9", IDS["all"], ""),
        ("api1", IDS["all"], "\0\ufffd" + "x" * 9000),
    ]:
        visit.refused(404, root, name, object_id)
    visit.refused(403, "api1", IDS["all"], id_)
    events = told(site, "carol")
    assert {event.kind for event in events} == {"refused"}
    assert [event.fact("reason") for event in events] == [
        "hidden", "unknown", "not-visible", "not-visible", "no-collection", "no-collection", "unknown", "forbidden",
    ]  # fmt: skip
    assert events[0].object == id_
    assert len(events[6].object) == 500
    assert check(hub.store).faults == ()


def test_hidden_and_unknown_are_told_apart_by_what_was_there_at_the_time(site: Site) -> None:
    id_ = new_id("malware")
    visit = visit_as(site, "carol")

    def look() -> None:
        visit.refused(404, "api1", IDS["all"], id_)

    look()
    site.store("bob", "bob-box", malware(id_, **marked("red")))
    look()
    site.delete("bob", "bob-box", id_, versions(ALL_V))
    look()
    assert [event.fact("reason") for event in told(site, "carol")] == ["unknown", "hidden", "unknown"]


def test_a_ledger_that_cannot_be_written_gives_nothing_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store("alice", "alice-box", malware(id_ := new_id("malware"), **marked("green")))
    kind = type(site.hub.store.ledger)

    def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(kind, "append", fail)
        with pytest.raises(StorageUnavailable, match="ledger"):
            site.page("carol")
        with pytest.raises(StorageUnavailable, match="ledger"):
            site.delete("alice", "alice-box", id_)
    assert len(site.page("carol").items) == 1, "it was not deleted, and the ledger works again"
    assert check(site.hub.store).faults == ()


def test_a_ledger_that_is_switched_off_records_nothing(site: Site) -> None:
    site.store("alice", "alice-box", malware(id_ := new_id("malware"), **marked("green")))
    hub = Hub(replace(site.hub.settings, ledger=False), site.hub.store)
    site.page("carol", hub=hub)
    hub.visit(Actor("carol", "c", "test")).refused(404, "api1", "all", id_)
    site.delete("alice", "alice-box", id_, hub=hub)
    assert list(site.hub.store.ledger.walk()) == []


def test_readers_at_once_share_writes_and_each_is_recorded(site: Site) -> None:
    site.store("alice", "alice-box", malware(**marked("green")))
    site.page("carol")
    at_once(*[lambda: [site.page("carol") for _ in range(10)]] * 8)
    assert len(told(site, "carol")) == 81
    finding = check(site.hub.store)
    assert (finding.entries, finding.strands, finding.faults) == (82, 1, ())


def test_a_forked_process_writes_a_strand_of_its_own(site: Site) -> None:
    site.store("alice", "alice-box", malware(**marked("green")))
    site.page("carol")
    site.hub.ledger._heads = {os.getpid() + 1: site.hub.ledger._heads[os.getpid()]}  # as in a child
    site.page("carol")
    finding = check(site.hub.store)
    assert (finding.entries, finding.strands, finding.faults) == (4, 2, ())


# ---- what it tells


def test_who_received_each_version_also_after_it_is_deleted(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, OLD, **marked("green")))
    site.page("carol")
    site.store("alice", "alice-box", malware(id_, NEW, **marked("green")))
    site.page("bob", resource="manifest", content=False)
    disclosures = Disclosures(site.hub.store, site.hub.book)

    def received() -> list[tuple[str, str, str, bool]]:
        found = disclosures.who_received(id_)
        return [
            (each.event.partner, each.version.version, each.form, each.version.deleted is not None)
            for each in found
            if each.version is not None
        ]

    assert received() == [("carol", OLD, "whole", False), ("bob", NEW, "metadata", False)]
    assert site.delete("alice", "alice-box", id_, versions(ALL_V)) == 2
    assert received() == [("carol", OLD, "whole", True), ("bob", NEW, "metadata", True)]
    (event,) = told(site, "alice")
    assert (event.kind, event.object, len(event.items)) == ("deleted", id_, 2)
    (delivery,) = disclosures.received("carol")
    assert delivery.version is not None
    assert (delivery.version.id, delivery.version.version) == (id_, OLD)
    assert disclosures.who_received(new_id("malware")) == []


def test_neighbours_on_a_page_did_not_receive_what_lies_between(site: Site) -> None:
    first, middle, last = (new_id("malware") for _ in range(3))
    site.store("alice", "alice-box", *(malware(id_, **marked("green")) for id_ in (first, middle, last)))
    site.page("carol", filters=Filters(ids=(first, last)))
    disclosures = Disclosures(site.hub.store, site.hub.book)
    assert [len(disclosures.who_received(id_)) for id_ in (first, middle, last)] == [1, 0, 1]


def test_a_recall_tells_who_has_what_and_who_has_heard_since(site: Site) -> None:
    id_ = new_id("malware")
    site.store("alice", "alice-box", malware(id_, OLD, **marked("green")))
    for partner in ("alice", "bob", "carol"):
        site.page(partner)
    site.store("alice", "alice-box", malware(id_, NEW, revoked=True, **marked("green")))
    site.page("carol")
    site.page("bob", resource="manifest", content=False)
    holders = Disclosures(site.hub.store, site.hub.book).recall(id_)
    found = [
        (h.partner, h.version.version, h.form, h.newest, h.newer and h.newer[0], h.revocation is not None)
        for h in holders
    ]
    assert found == [
        ("alice", OLD, "whole", False, None, False),
        ("bob", OLD, "whole", False, None, False),
        ("bob", NEW, "metadata", True, None, False),
        ("carol", OLD, "whole", False, NEW, True),
        ("carol", NEW, "whole", True, None, True),
    ]


# ---- damage


@pytest.fixture
def damage(site: Site, store_url: str) -> Iterator[Callable[..., None]]:
    """Sets a value of an entry, or deletes entries, as somebody with access to the database would."""
    if store_url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](store_url) as client:
            ledger = client.get_default_database()["ledger"]

            def in_mongo(strand: str, numbers: list[int], **values: object) -> None:
                which = {"s": strand, "n": {"$in": numbers}}
                names = {"facts": "j", "partner": "p", "time": "at", "items": "i", "hash": "h"}
                if values:
                    ledger.update_many(which, {"$set": {names[name]: value for name, value in values.items()}})
                else:
                    ledger.delete_many(which)

            yield in_mongo
        return

    def in_sqlite(strand: str, numbers: list[int], **values: object) -> None:
        with closing(sqlite3.connect(f"{store_url}-ledger", isolation_level=None)) as db:
            for number in numbers:
                for name, value in values.items():
                    db.execute(
                        f"UPDATE entries SET {name} = ? WHERE strand = ? AND number = ?", (value, strand, number)
                    )
                if not values:
                    db.execute("DELETE FROM entries WHERE strand = ? AND number = ?", (strand, number))

    yield in_sqlite


@pytest.fixture
def strands(site: Site) -> list[list[Entry]]:
    """The strands of three processes, in the order in which they began; five entries, three, two."""
    site.store("alice", "alice-box", malware(**marked("green")))
    for polls in (4, 2, 1):
        hub = site.worker()
        for _ in range(polls):
            site.page("carol", hub=hub)
    found: dict[str, list[Entry]] = {}
    for entry in site.hub.store.ledger.find(LedgerQuery()):
        found.setdefault(entry.strand, []).append(entry)
    assert [len(entries) for entries in found.values()] == [5, 3, 2]
    return list(found.values())


def faults(site: Site, *anchors: Head) -> list[tuple[str, int, str]]:
    return [(fault.strand, fault.number, fault.what) for fault in check(site.hub.store, anchors).faults]


def test_an_undamaged_ledger_has_no_faults(site: Site, strands: list[list[Entry]]) -> None:
    done: list[int] = []
    finding = check(site.hub.store, site.hub.store.ledger.heads(), done.append)
    assert (finding.entries, finding.strands, finding.faults) == (10, 3, ())
    assert done == list(range(1, 11))


@pytest.mark.parametrize(
    "change",
    [
        {"partner": "bob"},
        {"time": 1},
        {"facts": "{}"},
        {"items": b""},
        {"hash": b"\1" * 32},
    ],
)
def test_a_changed_entry_shows(
    site: Site, strands: list[list[Entry]], damage: Callable[..., None], change: dict[str, object]
) -> None:
    strand = strands[0][0].strand
    damage(strand, [3], **change)
    found = faults(site)
    assert found[0] == (strand, 3, "was changed")
    # Its hash is also what the next entry was made from.
    assert len(found) == (2 if "hash" in change else 1)


def test_each_byte_of_an_entry_counts(site: Site, strands: list[list[Entry]]) -> None:
    key = writing.ledger_key(site.hub.store)
    entry = strands[0][1]
    assert writing.hash_of(entry, key) == entry.hash
    for place in range(len(entry.items)):
        items = bytearray(entry.items)
        items[place] ^= 1
        assert writing.hash_of(replace(entry, items=bytes(items)), key) != entry.hash
    for moved in (
        replace(entry, kind=entry.kind[:-1], partner=entry.kind[-1] + entry.partner),
        replace(entry, partner=entry.partner[:-1], object=entry.partner[-1] + entry.object),
        replace(entry, first=entry.last, last=entry.first + 1),
    ):
        assert writing.hash_of(moved, key) != entry.hash


def test_a_deleted_entry_shows(site: Site, strands: list[list[Entry]], damage: Callable[..., None]) -> None:
    strand = strands[0][0].strand
    damage(strand, [3])
    assert faults(site) == [(strand, 3, "entry 3 is missing")]
    damage(strand, [4])
    assert faults(site) == [(strand, 3, "entries 3 to 4 are missing")]


def test_a_deleted_beginning_shows(site: Site, strands: list[list[Entry]], damage: Callable[..., None]) -> None:
    strand = strands[0][0].strand
    damage(strand, [1])
    assert faults(site) == [(strand, 1, "entry 1 is missing")]


def test_a_deleted_end_shows_when_a_later_strand_names_it(
    site: Site, strands: list[list[Entry]], damage: Callable[..., None]
) -> None:
    strand = strands[0][0].strand
    damage(strand, [4, 5])
    ((where, number, what),) = faults(site)
    assert (where, number) == (strand, 4)
    assert what.startswith("the end is missing, at least up to entry 5")


@pytest.mark.parametrize("which", [[0], [1], [0, 1]])
def test_a_deleted_strand_shows(
    site: Site, strands: list[list[Entry]], damage: Callable[..., None], which: list[int]
) -> None:
    for place in which:
        damage(strands[place][0].strand, list(range(1, 10)))
    missing = {where for where, _, what in faults(site) if what.startswith("the strand is missing")}
    # What only a strand named that is gone, too, cannot be missed; that the other one is gone shows.
    assert missing == {strands[which[-1]][0].strand}


def test_the_last_strand_is_only_missed_with_heads_that_were_written_down(
    site: Site, strands: list[list[Entry]], damage: Callable[..., None]
) -> None:
    anchors = site.hub.store.ledger.heads()
    strand = strands[2][0].strand
    damage(strand, [1, 2])
    assert faults(site) == []
    assert faults(site, *anchors) == [(strand, 1, "the strand is missing; the anchor names its entry 2")]


def test_a_ledger_written_anew_differs_from_the_heads_that_were_written_down(
    site: Site, strands: list[list[Entry]]
) -> None:
    head = site.hub.store.ledger.heads()[0]
    assert faults(site, head) == []
    ((strand, number, what),) = faults(site, replace(head, hash=b"\0" * 32))
    assert (strand, number, what) == (head.strand, head.number, "is another one than the anchor names")


def test_a_strand_that_begins_looks_for_the_others_within_the_time_of_its_write(
    site: Site, strands: list[list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[object] = []
    kind = type(site.hub.store.ledger)
    for name in ("find", "heads"):
        method = getattr(kind, name)

        def noted(*arguments: object, method: Callable[..., object] = method, **more: object) -> object:
            limits.append(more["limit_s"])
            return method(*arguments, **more)

        monkeypatch.setattr(kind, name, noted)
    site.page("carol", hub=site.worker())
    assert len(limits) == 2
    assert all(isinstance(each, float) and 0 < each <= writing._WAIT_S for each in limits)


def test_a_long_strand_names_the_others_again(
    site: Site, strands: list[list[Entry]], damage: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "NAMING_EVERY", 3)
    early, late = site.worker(), site.worker()
    site.page("carol", hub=early)
    site.page("carol", hub=late)
    late_strand = site.hub.store.ledger.find(LedgerQuery(kinds=("opened",)))
    *_, opening = late_strand
    for _ in range(4):
        site.page("carol", hub=early)
    assert faults(site) == []
    damage(opening.strand, [1, 2])
    assert (opening.strand, 1) in [fault[:2] for fault in faults(site)]


def test_deleting_what_somebody_else_may_not_delete_is_no_deletion(site: Site) -> None:
    site.store("alice", "alice-box", malware(id_ := new_id("malware"), **marked("green")))
    with pytest.raises(Forbidden):
        site.delete("carol", "all", id_)
    assert [event.kind for event in told(site, "carol")] == []
