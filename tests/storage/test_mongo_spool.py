"""The way of the ledger to MongoDB over the disk of this machine: the contract, and what is true of the way alone."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.storage import mongo_spool
from taxii_server.storage.base import Store
from taxii_server.storage.ledger import Entry, Head, PlaceTaken
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.mongo_spool import SpooledLedger
from taxii_server.times import now_position
from tests.patching import NoThread, but_for
from tests.storage.contract import StoreFactory
from tests.storage.ledger_contract import LedgerContract, entry

WAIT_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def store_factory(mongo_database_url: str, folder: Path) -> Iterator[StoreFactory]:
    """Opens prepared stores on the database of the test, all by way of one folder."""
    opened: list[MongoStore] = []

    def open_store(now: Callable[[], int] = now_position) -> Store:
        store = MongoStore(mongo_database_url, now=now, ledger_spool=folder)
        opened.append(store)
        store.prepare()
        return store

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def plain(mongo_database_url: str) -> Iterator[MongoStore]:
    """The same database without the folder: what is in MongoDB."""
    store = MongoStore(mongo_database_url)
    yield store
    store.close()


def way(store: Store) -> SpooledLedger:
    assert isinstance(store.ledger, SpooledLedger)
    return store.ledger


def files(folder: Path, suffix: str = ".entries") -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Cut:
    """Nothing gets through to MongoDB from this store while it is cut off."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_cut = True
        self.tried = threading.Event()
        adopt = way(store)._ledger.adopt

        def adopted(entries: Sequence[Entry]) -> None:
            self.tried.set()
            if self.is_cut:
                raise StorageUnavailable("cut off")
            adopt(entries)

        monkeypatch.setattr(way(store)._ledger, "adopt", adopted)


class TestContract(LedgerContract):
    @pytest.fixture
    def store_factory(self, store_factory: StoreFactory) -> StoreFactory:
        return store_factory

    def test_nothing_is_written_over(self, store: Store) -> None:
        """It shows when it gets there, so the later one is kept in a file."""
        store.ledger.append([entry(time=1)])
        store.ledger.settle()
        with pytest.raises(StorageError):
            store.ledger.append([entry(time=2, hash=b"other")], firm=True)
        assert list(store.ledger.walk()) == [entry(time=1)]


def test_entries_come_to_mongodb_by_themselves(store_factory: StoreFactory, plain: MongoStore, folder: Path) -> None:
    store = store_factory()
    store.ledger.append([entry("a", 1), entry("a", 2)])
    (segment,) = files(folder)
    assert (folder.stat().st_mode & 0o777, segment.stat().st_mode & 0o777) == (0o700, 0o600)
    until(lambda: plain.ledger.count() == 2)
    until(lambda: segment.stat().st_size == 0)
    store.close()
    assert files(folder) == []


def test_an_entry_is_on_the_disk_when_append_returns_and_whoever_reads_finds_it(
    store_factory: StoreFactory, plain: MongoStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = store_factory(), store_factory()
    cut = Cut(store, monkeypatch)
    synced: list[int] = []
    sync = but_for(os, fdatasync=lambda handle: synced.append(os.fstat(handle).st_size))
    monkeypatch.setattr(mongo_spool, "os", sync)
    store.ledger.append([entry("a", 1)])
    store.ledger.append([entry("a", 2)])
    assert synced == [files(folder)[0].stat().st_size // 2, files(folder)[0].stat().st_size]
    assert plain.ledger.count() == 0
    assert list(other.ledger.walk()) == [entry("a", 1), entry("a", 2)]
    assert other.ledger.heads() == [Head("a", 2, b"a2")]
    assert len(files(folder)) == 1, "that of a process that lives stays"
    cut.is_cut = False
    store.ledger.settle()
    assert plain.ledger.count() == 2


_DIES = """
import os, sys
from pathlib import Path
from typing import Any
from taxii_server.errors import StorageUnavailable
from taxii_server.storage.mongo import MongoStore
from tests.storage.ledger_contract import entry

def cut(entries):
    raise StorageUnavailable("cut off")

store = MongoStore(sys.argv[1], ledger_spool=Path(sys.argv[2]))
store.ledger._ledger.adopt = cut
for number in range(1, 41):
    store.ledger.append([entry(sys.argv[3], number)])
os._exit(9)
"""


def die(url: str, folder: Path, strand: str) -> None:
    """A process that writes forty entries, brings none to MongoDB, and ends at once."""
    command = [sys.executable, "-c", _DIES, url, str(folder), strand]
    assert subprocess.run(command, check=False, timeout=60).returncode == 9


def test_what_a_dead_process_had_on_the_disk_is_found_by_the_next_one(
    store_factory: StoreFactory, mongo_database_url: str, plain: MongoStore, folder: Path
) -> None:
    store = store_factory()
    die(mongo_database_url, folder, "a")
    assert plain.ledger.count() == 0
    assert len(files(folder)) == 1
    assert store.ledger.heads() == [Head("a", 40, b"a40")]
    assert files(folder) == []
    assert [each.number for each in plain.ledger.walk()] == [*range(1, 41)]


def test_a_process_takes_over_before_its_first_entry(
    store_factory: StoreFactory, mongo_database_url: str, plain: MongoStore, folder: Path
) -> None:
    store = store_factory()
    die(mongo_database_url, folder, "a")
    store.ledger.append([entry("b", 1)])
    assert plain.ledger.heads()[0] == Head("a", 40, b"a40")


def test_what_is_there_already_is_not_added_twice(
    store_factory: StoreFactory, mongo_database_url: str, plain: MongoStore, folder: Path
) -> None:
    store = store_factory()
    plain.ledger.append([entry("a", number) for number in range(1, 21)])
    die(mongo_database_url, folder, "a")
    assert store.ledger.count() == 40


def test_half_an_entry_at_the_end_is_kept_aside(
    store_factory: StoreFactory, mongo_database_url: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_factory()
    die(mongo_database_url, folder, "a")
    (segment,) = files(folder)
    with segment.open("r+b") as file:
        file.truncate(segment.stat().st_size - 3)
    with caplog.at_level(logging.ERROR):
        assert store.ledger.count() == 39
    assert files(folder) == []
    assert len(files(folder, ".damaged")) == 1
    assert "no whole entry" in caplog.text


def test_a_changed_entry_on_the_disk_does_not_come_into_the_ledger(
    store_factory: StoreFactory, mongo_database_url: str, folder: Path
) -> None:
    store = store_factory()
    die(mongo_database_url, folder, "a")
    (segment,) = files(folder)
    segment.write_bytes(segment.read_bytes().replace(b"carol", b"caroL", 5))
    assert store.ledger.count() == 0
    assert len(files(folder, ".damaged")) == 1


def test_entries_of_another_database_stay_where_they_are(
    store_factory: StoreFactory, mongo_database_url: str, folder: Path
) -> None:
    store_factory()
    die(mongo_database_url, folder, "a")
    other = MongoStore(f"{mongo_database_url.replace('/taxii_test_', '/taxii_test_other_', 1)}", ledger_spool=folder)
    try:
        other.prepare()
        assert other.ledger.count() == 0
        assert len(files(folder)) == 1
    finally:
        with other._connection.call() as database:
            database.client.drop_database(database.name)
        other.close()


def test_a_firm_entry_is_in_mongodb_when_append_returns(store_factory: StoreFactory, plain: MongoStore) -> None:
    store = store_factory()
    store.ledger.append([entry("a", 1)])
    store.ledger.append([entry("a", 2)], firm=True)
    assert plain.ledger.count() == 2


def test_answers_wait_when_entries_have_waited_for_too_long(
    store_factory: StoreFactory, plain: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_factory()
    cut = Cut(store, monkeypatch)
    store.ledger.append([entry("a", 1)])
    assert cut.tried.wait(WAIT_S)
    monkeypatch.setattr(mongo_spool, "LATE_S", 0.0)
    with pytest.raises(StorageUnavailable, match="cut off"):
        store.ledger.append([entry("a", 2)])
    cut.is_cut = False
    store.ledger.append([entry("a", 2)])
    store.ledger.settle()
    assert plain.ledger.count() == 2


def test_a_disk_that_is_full_makes_it_slow_and_loses_nothing(
    store_factory: StoreFactory, plain: MongoStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_factory()
    cut = Cut(store, monkeypatch)
    store.ledger.append([entry("a", 1)])

    def half(handle: int, data: bytes) -> int:
        os.write(handle, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mongo_spool, "os", but_for(os, write=half))
    with pytest.raises(StorageUnavailable):
        store.ledger.append([entry("a", 2)])
    cut.is_cut = False
    with caplog.at_level(logging.ERROR):
        for number in (2, 3, 4):
            store.ledger.append([entry("a", number)])
            assert plain.ledger.count() == number
    monkeypatch.setattr(mongo_spool, "os", os)
    monkeypatch.setattr(mongo_spool, "_AVOID_S", 0.0)
    way(store)._processes[os.getpid()].avoid_until = 0.0
    store.ledger.append([entry("a", 5)])
    assert [each.number for each in store.ledger.walk()] == [1, 2, 3, 4, 5]


def test_a_folder_that_cannot_be_made_is_told_once(
    mongo_database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    store = MongoStore(mongo_database_url, ledger_spool=tmp_path / "file" / "spool")
    store.prepare()
    with caplog.at_level(logging.ERROR), pytest.raises(StorageUnavailable, match="cannot be read"):
        store.ledger.append([entry("a", 1)])
    store.close()


def test_a_segment_ends_when_it_is_full_and_goes_when_it_is_sent(
    store_factory: StoreFactory, plain: MongoStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_spool, "SEGMENT_BYTES", 1000)
    store = store_factory()
    cut = Cut(store, monkeypatch)
    for number in range(1, 41):
        store.ledger.append([entry("a", number)])
    assert len(files(folder)) > 3
    cut.is_cut = False
    store.ledger.settle()
    assert len(files(folder)) <= 1
    assert [each.number for each in plain.ledger.walk()] == [*range(1, 41)]


def test_another_entry_at_the_place_is_told_and_the_way_stays_open(
    store_factory: StoreFactory, plain: MongoStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_factory()
    plain.ledger.append([entry("a", 1, hash=b"forged")])
    with caplog.at_level(logging.ERROR), pytest.raises(PlaceTaken):
        store.ledger.append([entry("a", 1)], firm=True)
    assert "another entry 1 of strand a" in caplog.text
    assert len(files(folder, ".damaged")) == 1
    store.ledger.append([entry("b", 1)], firm=True)
    assert [each.strand for each in plain.ledger.walk()] == ["a", "b"]


def test_what_was_sent_is_not_on_the_disk_for_long(
    store_factory: StoreFactory, plain: MongoStore, folder: Path, mongo_database_url: str
) -> None:
    """Or an entry that upkeep removed could come back."""
    store = store_factory()
    store.ledger.append([entry("a", number) for number in range(1, 4)])
    until(lambda: files(folder)[0].stat().st_size == 0)
    assert store.ledger.drop("a", 2) == 2
    store.ledger.append([entry("a", 4)])
    other = store_factory()
    assert [each.number for each in other.ledger.walk()] == [3, 4]


class Overtaken(deque[Any]):
    """Entries of which the last one is sent by another thread when it has been seen that there are some."""

    def __bool__(self) -> bool:
        found = len(self) > 0
        self.clear()
        return found


def test_an_entry_that_is_sent_while_it_is_asked_how_late_it_is_is_not_late() -> None:
    own = mongo_spool._Own(waiting=Overtaken([(entry(), -1e9)]))
    own.is_late()
    assert mongo_spool._Own(waiting=deque([(entry(), -1e9)])).is_late()
    assert not mongo_spool._Own().is_late()


def test_without_a_thread_entries_are_sent_when_they_are_late(
    store_factory: StoreFactory, plain: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_factory()
    with monkeypatch.context() as patch:
        patch.setattr(mongo_spool, "threading", but_for(threading, Thread=NoThread))
        store.ledger.append([entry("a", 1)])
    assert list(plain.ledger.walk()) == []
    monkeypatch.setattr(mongo_spool, "LATE_S", -1.0)
    monkeypatch.setattr(mongo_spool, "_GATHER_S", WAIT_S)
    store.ledger.append([entry("a", 2)])
    assert [each.number for each in plain.ledger.walk()] == [1]


def test_a_segment_that_cannot_be_emptied_does_not_end_the_way(
    store_factory: StoreFactory, plain: MongoStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def fail(handle: int, size: int) -> None:
        failed.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(mongo_spool, "os", but_for(os, ftruncate=fail))
    monkeypatch.setattr(mongo_spool, "_IDLE_S", 0.01)
    monkeypatch.setattr(mongo_spool, "_AVOID_S", 0.0)
    store = store_factory()
    store.ledger.append([entry("a", 1)])
    assert failed.wait(WAIT_S)
    until(lambda: not way(store)._processes[os.getpid()].is_open)
    store.ledger.append([entry("a", 2)])
    until(lambda: plain.ledger.count() == 2)
    store.close()
    assert files(folder) == []
