"""Databases of an older release: their records are found by filters at once, and by index after they were filled."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bson import Int64
from pymongo import MongoClient

from taxii_server.service.backup import Backup, make_backup, restore
from taxii_server.service.filling import fill_terms, terms_of_text
from taxii_server.service.query import Filters
from taxii_server.service.upkeep import Upkeep
from taxii_server.service.verify import Verifier
from taxii_server.stix.filters import Condition, read_condition
from taxii_server.stix.terms import VALUES_MAX, read_terms
from taxii_server.storage import open_store
from tests.service.site import Site, report
from tests.world import indicator, malware, new_id


def condition(name: str, *texts: str) -> tuple[Condition, ...]:
    return (read_condition(name, texts),)


SURE = condition("confidence-gte", "80")
NAMED = condition("name", "n3", "n7")


def grow(site: Site) -> None:
    site.store("alice", "alice-box", *(indicator(name=f"n{n}", confidence=10 * n) for n in range(10)))


def drop_terms(url: str) -> None:
    """Make it a database that knows no terms."""
    if url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](url) as client:
            database = client.get_default_database()
            database["records"].drop_index("term_label_position")
            database["records"].update_many({}, {"$unset": {"x": ""}})
            database["meta"].update_one({"_id": "schema"}, {"$set": {"version": 2}})
        return
    with closing(sqlite3.connect(url)) as db, db:
        db.execute("DROP TABLE terms")
        db.execute("ALTER TABLE records DROP COLUMN terms")
        db.execute("PRAGMA user_version = 5")


def change_terms(url: str) -> None:
    """Make it a database whose terms are others than those of today."""
    if url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](url) as client:
            database = client.get_default_database()
            database["records"].update_many({"_id": {"$gte": 0}}, {"$set": {"x": [Int64(1), Int64(17)]}})
            database["meta"].update_one({"_id": "schema"}, {"$set": {"version": 3}})
        return
    with closing(sqlite3.connect(url)) as db, db:
        db.execute("DELETE FROM terms")
        db.execute("UPDATE records SET terms = x'1100000000000000'")
        db.execute("INSERT INTO terms (term, label, position) SELECT 17, label, position FROM records")
        db.execute("PRAGMA user_version = 6")


@pytest.fixture(params=[drop_terms, change_terms])
def older(store_url: str, request: pytest.FixtureRequest) -> Any:
    """A hub on an older database, and how many records its pages looked at."""
    site = Site(store_url)
    grow(site)
    site.close()
    request.param(store_url)
    reopened = Site(store_url)
    yield reopened
    reopened.close()


def looked_at(site: Site, work: Callable[[], object]) -> int:
    """How many records the store gave."""
    store, count = site.hub.store, 0
    page = store.page

    def counted(query: Any) -> Any:
        nonlocal count
        found = page(query)
        count += len(found.records)
        return found

    store.page = counted  # type: ignore[method-assign]
    try:
        work()
    finally:
        del store.page  # type: ignore[method-assign]
    return count


def test_filters_find_everything_before_and_after(older: Site) -> None:
    site = older
    site.store("alice", "alice-box", indicator(name="new", confidence=95))
    expected = ["n8", "n9", "new"]
    assert site.names("alice", filters=Filters(conditions=SURE)) == expected
    assert site.names("alice", filters=Filters(conditions=NAMED)) == ["n3", "n7"]
    assert looked_at(site, lambda: site.names("alice", filters=Filters(conditions=SURE), limit=50)) == 11
    assert Upkeep(site.hub).fill() == 10
    assert site.hub.store.unfilled(1) == []
    assert site.names("alice", filters=Filters(conditions=SURE)) == expected
    assert site.names("alice", filters=Filters(conditions=NAMED)) == ["n3", "n7"]
    assert looked_at(site, lambda: site.names("alice", filters=Filters(conditions=SURE), limit=50)) == 3


def test_verify_says_so_and_repairs(older: Site) -> None:
    verifier = Verifier(older.hub.store)
    report = verifier.check()
    assert (report.faults, report.unfilled) == ((), True)
    verifier.repair(older.hub.writer)
    report = verifier.check()
    assert (report.faults, report.unfilled) == ((), False)
    assert older.hub.store.unfilled(1) == []


def test_verify_reads_a_database_that_was_not_prepared_yet(store_url: str) -> None:
    site = Site(store_url)
    grow(site)
    site.close()
    drop_terms(store_url)
    store = open_store(store_url)
    assert Verifier(store).check().faults == ()
    store.close()


def test_a_restored_database_needs_no_filling(older: Site, store_url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.zip"
    make_backup(older.hub.store, "test", file)
    other = str(tmp_path / "other.db") if store_url.startswith("mongodb") else str(tmp_path / "third.db")
    store = open_store(other)
    with Backup(file) as backup:
        restore(backup, store)
    store.close()
    site = Site(other)
    assert site.hub.store.unfilled(1) == []
    assert site.names("alice", filters=Filters(conditions=SURE)) == ["n8", "n9"]
    site.close()


def test_filling_is_safe_beside_deletions_and_damage(older: Site) -> None:
    store = older.hub.store
    gone = store.unfilled(1)[0]
    older.delete("alice", "alice-box", gone.id)
    store.fill({gone.position: (100,)})
    assert fill_terms(store) == 9
    assert terms_of_text(b"{not json") == terms_of_text(b"{}") == ()


def test_an_object_costs_few_terms() -> None:
    """Each is one row, or one entry of an index, and they are moved with every change of the label."""
    assert len(read_terms(indicator())) == 7
    assert len(read_terms(malware(confidence=80, labels=["a", "b"], created_by_ref=new_id("identity")))) == 8
    many = report([new_id("indicator") for _ in range(5000)], new_id("report"), labels=[str(n) for n in range(5000)])
    assert len(read_terms(many)) <= 16
    worst = {
        **many,
        "external_references": [{"source_name": str(n), "external_id": str(n)} for n in range(VALUES_MAX)],
        "labels": [str(n) for n in range(VALUES_MAX)],
    }
    assert len(read_terms(worst)) <= 3 * VALUES_MAX + 16
    assert read_terms(json.loads(json.dumps(worst))) == read_terms(worst)
