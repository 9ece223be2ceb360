"""Backup and restore: nothing is missing, partners poll on where they were, also on the other kind of store."""

from __future__ import annotations

import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from taxii_server.errors import StorageUnavailable
from taxii_server.model import POSITION_UNIT
from taxii_server.service.backup import MANIFEST, Backup, BackupError, make_backup, restore
from taxii_server.service.verify import Verifier
from taxii_server.storage import open_store
from taxii_server.storage.base import Store
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.times import format_position
from tests.service.site import ALL_V, Site, marked, versions
from tests.world import indicator, malware, new_id, relationship

DERIVING = """
schema = 1

[defaults]
granular = "derive"
refs_lists = "derive"

[[permit]]
id = "everything"
why = "a test"
to = "*"
what = "*"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.zip"


@pytest.fixture
def other_url(store_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A store of the other kind than the site's."""
    if store_url.startswith("mongodb"):
        return str(tmp_path / "other.db")
    return str(request.getfixturevalue("mongo_database_url"))


@pytest.fixture
def opened() -> Iterator[Callable[[str], Store]]:
    stores: list[Store] = []

    def open_one(url: str) -> Store:
        stores.append(open_store(url))
        return stores[-1]

    yield open_one
    for each in stores:
        each.close()


def taken(site: Site, file: Path) -> Backup:
    make_backup(site.hub.store, "test", file)
    return Backup(file)


def test_partners_poll_on_where_they_were_on_the_other_store(
    site: Site, other_url: str, file: Path, opened: Callable[[str], Store]
) -> None:
    ids = [new_id("malware") for _ in range(6)]
    site.store("alice", "alice-box", *(malware(each, **marked("green")) for each in ids))
    site.store("alice", "alice-box", indicator(hidden := new_id("indicator"), **marked("red")))
    site.store("bob", "bob-box", relationship(ids[0], hidden, **marked("green")))
    site.delete("alice", "all", hidden)  # an event: the relationship comes into carol's sight
    everything = [(r.id, r.version) for r in site.walk("carol", filters=versions(ALL_V))]
    first = site.page("carol", limit=2)
    assert first.next is not None
    with taken(site, file) as backup:
        after_backup = site.page("carol", "all", limit=100).items[-1].at
        site.store("alice", "alice-box", malware(lost := new_id("malware"), **marked("green")))
        newest = site.page("carol", limit=100).items[-1].at
        assert newest > after_backup
        done = restore(backup, opened(other_url))
    moved = Site.__new__(Site)
    moved.__dict__.update(site.__dict__, url=other_url, _hubs=[])
    moved.hub = moved.worker()
    try:
        assert [(r.id, r.version) for r in moved.walk("carol", filters=versions(ALL_V))] == everything
        # The same secret: a token of the old hub is good here, and goes on where it was.
        rest = moved.page("carol", limit=100, next=first.next)
        assert [r.id for r in (*first.records, *rest.records)] == [each for each, _ in everything]
        assert lost not in moved.ids("carol")
        # Whoever has seen what was added after the backup, gets all that is added after the restore.
        moved.store("alice", "alice-box", malware(fresh := new_id("malware"), **marked("green")))
        assert [r.id for r in moved.page("carol", added_after=newest).records] == [fresh]
        assert done.clock >= newest
        assert done.clock % POSITION_UNIT == 0
        # Posting again what was lost works, and what was kept is a duplicate.
        assert [a.message for a in moved.post("alice", "alice-box", malware(lost, **marked("green")))] == [None]
        assert [a.message for a in moved.post("alice", "alice-box", malware(ids[0], **marked("green")))] == [
            "already present"
        ]
        assert Verifier(moved.hub.store).check().faults == ()
        assert moved.hub.store.ledger.count() > 0
    finally:
        moved.close()


def test_a_backup_beside_writers_is_one_point_in_time(
    site: Site, file: Path, tmp_path: Path, opened: Callable[[str], Store]
) -> None:
    site.store("alice", "alice-box", *(malware(new_id("malware")) for _ in range(300)))
    writer = site.worker()
    stop = threading.Event()
    answered: list[list[str]] = []

    def post() -> None:
        while not stop.is_set():
            ids = [new_id("malware") for _ in range(3)]
            site.store("bob", "bob-box", *map(malware, ids), hub=writer)
            answered.append(ids)

    thread = threading.Thread(target=post)
    thread.start()
    try:
        while len(answered) < 3:
            stop.wait(0.01)
        before = list(answered)
        with taken(site, file) as backup:
            made = len(answered)
            while len(answered) < made + 3:
                stop.wait(0.01)
            store = opened(str(tmp_path / "copy.db"))
            restore(backup, store)
    finally:
        stop.set()
        thread.join()
    store.prepare()
    found = store.lookup([each for ids in answered for each in ids])
    there = [all(each in found for each in ids) for ids in answered]
    assert all(there[: len(before)]), "what was answered before the backup began is in it"
    assert not any(there[there.index(False) :]), "and a prefix of what came meanwhile"
    assert all(len({each in found for each in ids}) == 1 for ids in answered), "each POST whole or not at all"


def test_the_file_is_the_owners_and_is_not_overwritten(site: Site, file: Path) -> None:
    manifest, digest = make_backup(site.hub.store, "test", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    with pytest.raises(BackupError, match="--force"):
        make_backup(site.hub.store, "test", file)
    assert file.read_bytes() == before
    site.store("alice", "alice-box", malware())
    make_backup(site.hub.store, "test", file, force=True)
    assert Backup(file).manifest.parts["records"].rows == manifest.parts["records"].rows + 1
    assert len(digest) == 64
    assert [each.name for each in file.parent.glob("*.part")] == []


def test_a_backup_that_breaks_off_leaves_nothing(site: Site, file: Path) -> None:
    def fail(part: str, done: int, of: int) -> None:
        raise StorageUnavailable("gone")

    with pytest.raises(StorageUnavailable):
        make_backup(site.hub.store, "test", file, progress=fail)
    assert not list(file.parent.glob("*.zip*"))
    assert not list(file.parent.glob(".*.part"))


def rewritten(file: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of a backup with other members (None: left out)."""
    made = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            member = change(name, old.read(name))
            if member is not None:
                new.writestr(name, member)
    return made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda name, text: text.replace(b"mal", b"lam") if name == "records.jsonl" else text, "records is not what"),
        (lambda name, text: b"" if name == "log.jsonl" else text, "log is not what"),
        (lambda name, text: None if name == "ledger.jsonl" else text, "ledger is damaged or missing"),
        (lambda name, text: bytes(32) if name == "secret" else text, "secret is not what"),
        (lambda name, text: None if name == MANIFEST else text, "not a backup"),
        (lambda name, text: b"{}" if name == MANIFEST else text, "not a backup"),
        (
            lambda name, text: text.replace(b'"version": 1', b'"version": 2') if name == MANIFEST else text,
            "does not know",
        ),
    ],
)
def test_a_backup_that_was_changed_changes_nothing(
    tmp_path: Path, file: Path, change: Callable[[str, bytes], bytes | None], says: str, opened: Callable[[str], Store]
) -> None:
    site = Site(str(tmp_path / "hub.db"))
    site.store("alice", "alice-box", malware())
    site.page("carol")
    make_backup(site.hub.store, "test", file)
    site.close()
    store = opened(str(tmp_path / "new.db"))
    with pytest.raises(BackupError, match=says), Backup(rewritten(file, change)) as backup:
        restore(backup, store)
    assert not list(tmp_path.glob("new.db*"))


def test_a_file_that_is_cut_off_is_no_backup(tmp_path: Path, file: Path) -> None:
    site = Site(str(tmp_path / "hub.db"))
    make_backup(site.hub.store, "test", file)
    site.close()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BackupError, match="cut off"):
        Backup(file)


def test_what_is_there_is_replaced_only_when_told(site: Site, file: Path, opened: Callable[[str], Store]) -> None:
    site.store("alice", "alice-box", malware(kept := new_id("malware")))
    with taken(site, file) as backup:
        site.store("alice", "alice-box", malware(later := new_id("malware")))
        site.hub.store.ledger.count()
        highest = site.hub.store.clock()
        site.close()
        store = opened(site.url)
        with pytest.raises(BackupError, match="nothing was changed"):
            restore(backup, store)
        assert later in store.lookup([later])
        done = restore(backup, store, force=True)
    fresh = opened(site.url)
    fresh.prepare()
    assert set(fresh.lookup([kept, later])) == {kept}
    assert fresh.clock() == done.clock >= highest


def test_an_open_sqlite_database_is_not_replaced_and_the_old_one_is_kept(tmp_path: Path, file: Path) -> None:
    url = str(tmp_path / "hub.db")
    site = Site(url)
    with taken(site, file) as backup:
        site.store("alice", "alice-box", malware(later := new_id("malware")))
        store = SQLiteStore(url)
        with pytest.raises(StorageUnavailable, match="stop the server"):
            restore(backup, store, force=True)
        assert later in site.hub.store.lookup([later])
        site.close()
        done = restore(backup, store, force=True)
        store.close()
    assert not list(tmp_path.glob("*restoring*"))
    aside = done.before.removeprefix("what was there before is kept as ")
    old = SQLiteStore(aside)
    assert later in old.lookup([later])
    old.close()
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob("hub.db*")} == {0o600}


def test_a_damaged_sqlite_database_can_be_replaced(tmp_path: Path, file: Path) -> None:
    url = tmp_path / "hub.db"
    site = Site(str(url))
    backup = taken(site, file)
    site.close()
    url.write_bytes(b"no database " * 1000)
    store = SQLiteStore(url)
    with backup:
        restore(backup, store, force=True)
    store.prepare()
    assert store.catalog() is not None
    store.close()


def test_positions_go_on_behind_whatever_the_ledger_the_target_and_the_operator_know(
    tmp_path: Path, file: Path
) -> None:
    """The clock of this machine has stopped."""
    now = 1_800_000_000_000_000
    store = SQLiteStore(tmp_path / "hub.db", now=lambda: now)
    site = Site(str(tmp_path / "hub.db"), store=store)
    site.store("alice", "alice-box", malware(), malware())
    make_backup(store, "test", file)
    site.store("alice", "alice-box", malware())
    highest = store.clock()
    assert highest > now
    site.close()
    target = SQLiteStore(tmp_path / "hub.db", now=lambda: now)
    with Backup(file) as backup:
        assert backup.manifest.clock < highest
        assert restore(backup, target, force=True).clock == highest
        elsewhere = SQLiteStore(tmp_path / "elsewhere.db", now=lambda: now)
        assert restore(backup, elsewhere, clock=now + 10**9 + 1).clock == now + 10**9 + POSITION_UNIT
        behind = SQLiteStore(tmp_path / "behind.db", now=lambda: now - 1)
        with pytest.raises(BackupError, match="behind the backup"):
            restore(backup, behind)
        assert not (tmp_path / "behind.db").exists()
        restore(backup, behind, clock=now)
    for each in (target, elsewhere, behind):
        each.close()


def test_the_archive_is_plain(site: Site, file: Path) -> None:
    """Any tool can read it, without this program."""
    site.store("alice", "alice-box", malware(id_ := new_id("malware"), name="Wörm"))
    make_backup(site.hub.store, "sqlite", file)
    with zipfile.ZipFile(file) as archive:
        manifest = orjson.loads(archive.read(MANIFEST))
        (row,) = map(orjson.loads, archive.read("records.jsonl").splitlines())
        assert archive.read("secret") == site.hub.store.secret()
    assert manifest["parts"]["records"]["rows"] == 1
    assert (row[3], orjson.loads(row[-1])["name"]) == (id_, "Wörm")
    assert manifest["made"] == format_position(manifest["made_us"])
