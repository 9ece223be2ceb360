"""backup, restore, verify and retention, as an operator runs them beside a real server."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taxii_server import settings
from taxii_server.catalog import read_files
from taxii_server.service.hub import Hub
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.times import now_position
from tests.e2e.server import Server, lane, lanes, running, wait_until
from tests.world import COLLECTIONS, indicator, new_id

DAY_US = 86_400_000_000
#: What is the store's own part of it is tested on both in tests/service and tests/storage.
SQLITE_ALONE = pytest.mark.parametrize("own_store_url", ["sqlite"], indirect=True)


@pytest.fixture
def hub(own_store_url: str | None, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "hub").mkdir()
    with running(tmp_path / "hub", own_store_url, workers=1) as made:
        yield made


def is_mongo(server: Server) -> bool:
    return server.store.startswith("mongodb")


def test_a_hub_is_backed_up_beside_a_server_and_restored_after_it(hub: Server, tmp_path: Path) -> None:
    kept, later = new_id("indicator"), new_id("indicator")
    assert hub.post(lane(0), [indicator(id=kept)], "admin").json()["success_count"] == 1
    assert hub.get(hub.objects_url(lane(0))).status_code == 200
    file = tmp_path / "hub.zip"
    told = json.loads(hub.cli("backup", str(file), "--json").stdout)
    assert (told["rows"]["records"], told["source"]) == (1, "mongodb" if is_mongo(hub) else "sqlite")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "--force" in hub.cli("backup", str(file), status=1).stderr
    checked = hub.cli("restore", "--check", str(file)).stderr
    assert "1 records" in checked
    # Vendors are told since when they post again: the time of the backup, not of the restore.
    assert f"as they were at {told['made']}" in checked
    tried = hub.cli("--store", str(tmp_path / "tried.db"), "restore", str(file))
    assert f"as they were at {told['made']}" in tried.stderr
    assert f"--store {tmp_path / 'tried.db'} verify" in tried.stdout
    assert hub.post(lane(0), [indicator(id=later)], "admin").json()["success_count"] == 1
    last = hub.get(hub.objects_url(lane(0))).headers["X-TAXII-Date-Added-Last"]
    assert "nothing was changed" in hub.cli("restore", str(file), status=1).stderr
    if not is_mongo(hub):
        assert "stop the server" in hub.cli("restore", str(file), "--force", status=1).stderr
    hub.kill()

    restored = json.loads(hub.cli("restore", str(file), "--force", "--json").stdout)
    assert restored["clock_set_to"] >= last
    assert bool(restored["before"]) is not is_mongo(hub)
    report = json.loads(hub.cli("verify", "--json").stdout)
    assert (report["whole"], report["counts"]["records"]) == (True, 1)
    hub.start(workers=1)
    assert hub.get(f"{hub.objects_url(lane(0))}?added_after={last}").json() == {}
    assert hub.post(lane(0), [indicator(id=later)], "admin").json()["success_count"] == 1
    again = hub.get(f"{hub.objects_url(lane(0))}?added_after={last}").json()["objects"]
    assert [each["id"] for each in again] == [later]


@SQLITE_ALONE
def test_damage_is_found_and_repaired_under_a_running_server(hub: Server) -> None:
    ids = [new_id("indicator") for _ in range(3)]
    assert hub.post(lane(0), [indicator(id=each) for each in ids], "admin").json()["success_count"] == 3
    with closing(sqlite3.connect(hub.store)) as db, db:
        db.execute("UPDATE records SET label = 1000000 WHERE position = (SELECT min(position) FROM records)")
    found = hub.cli("verify", status=1).stdout.strip().split("\t")
    assert (found[0], found[1].split()[1], found[3]) == ("labels", ids[0], "repairable")
    assert "1 fault(s) repaired" in hub.cli("verify", "--repair").stderr
    assert json.loads(hub.cli("verify", "--json").stdout)["faults"] == []
    served = [each["id"] for each in hub.get(hub.objects_url(lane(0))).json()["objects"]]
    assert sorted(served) == sorted(ids)
    assert hub.cli("ledger", "prune", "--keep-days", "1", "--dry-run").stdout == "0 entries would go\n"
    assert hub.cli("ledger", "prune", "--keep-days", "1").stdout == "0 entries removed\n"


@SQLITE_ALONE
def test_a_running_server_removes_what_has_passed_its_time(own_store_url: str | None, tmp_path: Path) -> None:
    collections = COLLECTIONS | lanes(1) | {"lane-1": f"retention_days = 30\n{lanes(2)['lane-1']}"}
    server = Server(tmp_path, own_store_url, collections=collections)
    store = SQLiteStore(server.store, now=lambda: now_position() - 31 * DAY_US)
    ids = {name: new_id("indicator") for name in ("lane-0", "lane-1")}
    try:
        loaded = settings.load(server.config, flags={"store": server.store})
        store.prepare()
        hub = Hub(loaded, store)
        hub.apply(read_files(loaded), "test")
        for name, id_ in ids.items():
            body = json.dumps({"objects": [indicator(id=id_)]}).encode()
            assert hub.writer.add("rw", hub.snapshot.catalog.collections[name], body)[0].ok
    finally:
        store.close()
    counted = json.loads(server.cli("retention", "run", "--dry-run", "--json").stdout)
    assert (counted["dry_run"], counted["records"]) == (True, {"lane-1": 1})
    try:
        server.start(workers=2)
        url = server.objects_url(lane(1))
        wait_until(lambda: server.get(url).json() == {}, what="the object is removed")
        assert [each["id"] for each in server.get(server.objects_url(lane(0))).json()["objects"]] == [ids["lane-0"]]
        (deleted,) = json.loads(server.cli("ledger", "what-did", "retention", "--json").stdout)["events"]
        assert (deleted["kind"], deleted["scheme"]) == ("deleted", "retention")
    finally:
        server.kill()
