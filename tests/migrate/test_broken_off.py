"""A move that is killed, what does not come along, what is moved into a hub that is in use, on both stores."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from taxii_server.times import format_position, parse_position
from tests.e2e.server import environment
from tests.migrate.hub import Hub, run
from tests.migrate.stix import RED, indicator, relationship
from tests.mongo import with_database

ONE, TWO = "0ba75fe7-9b4e-4f8c-a5ad-4a8a3e0f4a11", "1ba75fe7-9b4e-4f8c-a5ad-4a8a3e0f4a12"
ROOT = "intel"
START = parse_position("2025-05-05T10:00:00.000000Z")


def data(objects: list[tuple[str, int, dict[str, Any]]]) -> dict[str, Any]:
    """A data file of medallion with these objects: collection, date_added, object. Its own server writes the same."""
    collections: dict[str, dict[str, Any]] = {
        id_: {"id": id_, "title": title, "can_read": True, "can_write": True,
              "media_types": ["application/stix+json;version=2.1"], "objects": [], "manifest": []}
        for id_, title in ((ONE, "One"), (TWO, "Two"))
    }  # fmt: skip
    for id_, added, stix in objects:
        date = format_position(added)
        kept = stix if "modified" in stix else {**stix, "_date_added": date}
        collections[id_]["objects"].append(kept)
        version = stix.get("modified", date)
        entry = {"id": stix["id"], "date_added": date, "version": version}
        collections[id_]["manifest"].append(entry | {"media_type": "application/stix+json;version=2.1"})
    information = {"title": "Intel", "versions": [], "max_content_length": 9765625}
    root = {"information": information, "status": [], "collections": list(collections.values())}
    return {"/discovery": {"title": "Old", "api_roots": []}, ROOT: root}


def write(folder: Path, objects: list[tuple[str, int, dict[str, Any]]]) -> str:
    file = folder / f"data-{len(list(folder.glob('data-*')))}.json"
    file.write_text(json.dumps(data(objects)))
    return str(file)


@pytest.fixture(params=["sqlite", "mongodb"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, new_name: str) -> Any:
    if request.param == "sqlite":
        yield Hub(tmp_path / "new")
        return
    uri = request.getfixturevalue("mongo_uri")
    yield Hub(tmp_path / "new", with_database(uri, new_name))
    with MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(new_name)


def order(hub: Hub) -> list[tuple[str, str]]:
    """Id and date of everything that moved-in has in both collections."""
    found: list[tuple[str, str]] = []
    for id_ in (ONE, TWO):
        path = f"/{ROOT}/collections/{id_}/manifest/?match[version]=all"
        page = hub.read(path, "moved-in")
        while True:
            found += [(each["id"], each["date_added"]) for each in page.get("objects", [])]
            if not page.get("more"):
                break
            page = hub.read(f"{path}&next={page['next']}", "moved-in")
    return sorted(found, key=lambda each: each[1])


#: Ends itself as kill -9 does: in the middle of the second transaction on SQLite; on MongoDB, where a transaction that
#: nobody ends would hold up the next writer for seconds, right behind one.
KILLED = """
import os, signal, sys
from taxii_server.cli import main
from taxii_server.migrate import moving
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
moving.PORTION = 100
left = [2]
def die(store):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
SQLiteStore.before_commit = die
write = MongoStore.write
def write_and_die(store, ids, planner):
    positions = write(store, ids, planner)
    die(store)
    return positions
MongoStore.write = write_and_die
main(sys.argv[1:])
"""


def test_a_run_that_is_killed_is_continued_with_the_same_dates(hub: Hub, tmp_path: Path) -> None:
    """Killed twice in the middle, in POSTs of forty objects with one date; then it is as one that was not."""
    objects = [
        (ONE if number % 3 else TWO, START + 1_000_000 * (number // 40), indicator(number)) for number in range(500)
    ]
    source = write(tmp_path, objects)
    flags = ("--store", hub.store) if hub.store else ()
    words = [*flags, "migrate", "medallion", source, "--new-hub", str(hub.folder)]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *words], capture_output=True, env=environment(), timeout=60
        )
        assert done.returncode == -signal.SIGKILL, done
        assert 0 < len(order(hub)) < len(objects)
    stored = len(order(hub))
    report = hub.migrate("medallion", source)
    assert (report["total"]["present"], report["total"]["stored"]) == (stored, len(objects) - stored)
    assert report["total"]["again"] == 0
    dates = {id_: parse_position(date) for id_, date in order(hub)}
    for collection in (ONE, TWO):
        own = [stix["id"] for id_, _, stix in objects if id_ == collection]
        assert sorted(own, key=dates.__getitem__) == own
    for _, added, stix in objects:
        assert added - 1_000_000 < dates[stix["id"]] <= added
    hub.run("verify")


def test_what_is_refused_is_named_with_its_property_and_comes_later(tmp_path: Path) -> None:
    bad = {key: value for key, value in indicator(1).items() if key != "pattern"}
    lone = {**indicator(2), "name": "\ud800"}
    unlisted = indicator(3)
    late = [(ONE, START + 5_000_000, indicator(4))]
    document = data([(ONE, START, bad), (ONE, START, lone), (ONE, START + 1000, indicator(5)), *late])
    document[ROOT]["collections"][0]["objects"].append(unlisted)
    file = tmp_path / "data.json"
    file.write_text(json.dumps(document))
    hub, told = Hub(tmp_path / "new"), tmp_path / "report.txt"
    report = hub.migrate("medallion", str(file), "--report", told, status=1)
    left = {each["id"]: (each["what"], each["why"]) for each in report["left"]}
    assert left[bad["id"]] == ("refused", "pattern: the property is missing; the OASIS schema requires it")
    assert left[lone["id"]][0] == "refused"
    assert "surrogate" in left[lone["id"]][1]
    assert left[unlisted["id"]] == ("unreadable", "not in the manifest: the old server did not serve it")
    for id_, (_, why) in left.items():
        assert id_ in told.read_text()
        assert why in told.read_text()
    assert report["total"] == {"stored": 2, "present": 0, "refused": 2, "quarantined": 0, "unreadable": 1, "again": 0}
    # With less strict collections the refused one comes, behind everything that clients have seen.
    for path in hub.folder.glob("collections/*.toml"):
        path.write_text(path.read_text() + 'strictness = "structure"\n')
    hub.run("policy", "apply")
    report = hub.migrate("medallion", str(file), status=1)
    assert (report["total"]["stored"], report["total"]["present"], report["total"]["again"]) == (1, 2, 1)
    assert [id_ for id_, _ in order(hub)][-1] == bad["id"]


def _guard(hub: Hub) -> None:
    """Collection one holds back customers from now on."""
    policy = hub.folder / "config/policy.toml"
    what = 'collection = "one"\nwhat = { label = "customer" }\nact = "quarantine"\n'
    guard = f'id = "customers"\nwhy = "contract"\n{what}'
    policy.write_text(f"{policy.read_text()}\n[[guard]]\n{guard}")
    hub.run("policy", "apply")


def test_guards_stop_what_they_would_stop_in_a_post(tmp_path: Path) -> None:
    named = {**indicator(1), "labels": ["customer"]}
    refers = relationship(named["id"], indicator(2)["id"])
    source = write(tmp_path, [(ONE, START, named), (ONE, START + 100, refers), (TWO, START + 200, named)])
    hub = Hub(tmp_path / "new")
    hub.migrate("medallion", write(tmp_path, []))
    _guard(hub)
    report = hub.migrate("medallion", source)
    assert {(each["collection"], each["id"], each["what"]) for each in report["left"]} == {
        ("one", named["id"], "quarantined"),
        ("one", refers["id"], "quarantined"),
    }
    assert [id_ for id_, _ in order(hub)] == [named["id"]]
    assert len(json.loads(hub.run("quarantine", "list", "--json").stdout)["quarantine"]) == 2
    again = hub.migrate("medallion", source)
    assert again["total"] == {**report["total"], "stored": 0, "present": 1}
    assert len(json.loads(hub.run("quarantine", "list", "--json").stdout)["quarantine"]) == 2


def test_a_post_is_judged_as_a_whole_however_large_it_was(tmp_path: Path) -> None:
    """What refers to something held that comes fifteen hundred objects later in the same POST is held as well."""
    named = {**indicator(1), "labels": ["customer"]}
    refers = relationship(named["id"], indicator(2)["id"])
    post = [refers, *(indicator(number) for number in range(1500)), named]
    hub = Hub(tmp_path / "new")
    hub.migrate("medallion", write(tmp_path, []))
    _guard(hub)
    report = hub.migrate("medallion", write(tmp_path, [(ONE, START, stix) for stix in post]))
    assert {each["id"] for each in report["left"]} == {refers["id"], named["id"]}
    assert report["total"]["stored"] == 1500


def test_a_hub_in_use_is_moved_into_only_if_that_is_meant(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    hub.migrate("medallion", write(tmp_path, []))
    new = indicator(9)
    (tmp_path / "new.json").write_text(json.dumps(new))
    hub.run("import", tmp_path / "new.json", "--into", "one", "--as", "moved-in")
    old = write(tmp_path, [(ONE, START, indicator(1)), (TWO, START, indicator(2))])
    # It goes on behind what is there: that is what a run that broke off looks like.
    report = hub.migrate("medallion", old)
    assert report["total"]["again"] == 2
    other = Hub(tmp_path / "other")
    other.migrate("medallion", write(tmp_path, []))
    partners = other.folder / "config/partners.toml"
    partners.write_text(partners.read_text() + '\n[audience.vendor]\nkind = "vendor"\nclearance = "green"\n')
    for path in other.folder.glob("collections/*.toml"):
        path.write_text(path.read_text().replace("writers = [", 'writers = ["vendor", '))
    other.run("policy", "apply")
    other.run("import", tmp_path / "new.json", "--into", "one", "--as", "vendor")
    for flags in ((), ("--dry-run",)):
        done = run("migrate", "medallion", old, "--new-hub", other.folder, *flags, status=1)
        assert "already" in done.stderr
        assert "--append" in done.stderr
    report = other.migrate("medallion", old, "--append")
    assert (report["total"]["stored"], report["total"]["again"]) == (2, 2)


def test_what_comes_to_the_old_server_meanwhile_is_fetched_by_another_run(hub: Hub, tmp_path: Path) -> None:
    first = [(ONE, START + number, indicator(number)) for number in range(0, 64, 16)]
    then = [(TWO, START + 900_000 + number, indicator(number)) for number in range(0, 64, 16)]
    hub.migrate("medallion", write(tmp_path, first))
    report = hub.migrate("medallion", write(tmp_path, first + then))
    assert (report["total"]["stored"], report["total"]["present"], report["total"]["again"]) == (4, 4, 0)
    assert [date for _, date in order(hub)] == [format_position(added) for _, added, _ in first + then]


def test_a_version_that_brings_an_older_one_back_does_not_end_the_old_order(hub: Hub, tmp_path: Path) -> None:
    """It makes an event, which is no reason to give up the old dates of what is still to come."""
    one = indicator(1)
    red = {**one, "modified": "2025-01-01T00:00:00.000Z", "object_marking_refs": [RED]}
    open_again = {**one, "modified": "2025-02-01T00:00:00.000Z"}
    rest = [(ONE, START + 4_000_000 * number, indicator(number)) for number in range(1200, 2400)]
    head = [(ONE, START, one), (ONE, START + 1_000_000, red)]
    hub.migrate("medallion", write(tmp_path, head))
    report = hub.migrate("medallion", write(tmp_path, [*head, (ONE, START + 2_000_000, open_again), *rest]))
    assert report["total"]["again"] == 0
    assert [date for _, date in order(hub)][2:] == [format_position(START + 2_000_000)] + [
        format_position(added) for _, added, _ in rest
    ]
    hub.run("verify")
