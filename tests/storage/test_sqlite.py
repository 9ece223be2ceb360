"""The SQLite store: the contract, and what is its own business."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from taxii_server.errors import SchemaTooNew, StorageError, StorageUnavailable
from taxii_server.model import PageQuery, StoredStatus
from taxii_server.storage import sqlite, sqlite_connection
from taxii_server.storage.base import Store
from taxii_server.storage.quarantine import EntryQuery
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.storage.sqlite_connection import Connection, Database, _close_idle
from taxii_server.storage.sqlite_fork import ForkGate
from taxii_server.storage.sqlite_query import ARMS_MAX, LOOKUP, page_statement
from taxii_server.storage.sqlite_schema import APPLICATION_ID, MIGRATIONS, Migration, _add_quarantine
from taxii_server.times import now_position
from tests.interrupting import interrupted
from tests.patching import but_for
from tests.storage.chores_contract import ChoresContract
from tests.storage.contract import StoreContract, StoreFactory
from tests.storage.health_contract import HealthContract
from tests.storage.ledger_contract import entry as ledger_entry
from tests.storage.quarantine_contract import QuarantineContract, entry
from tests.storage.samples import (
    TIMEOUT_S,
    Background,
    Clock,
    Follower,
    Pause,
    at_once,
    draft,
    insert,
    insert_each,
    new_labels,
    object_id,
    positions,
    query,
    read,
)
from tests.storage.whole_contract import WholeContract

ROOT = Path(__file__).parents[2]


class Opener(Protocol):
    def __call__(
        self,
        now: Callable[[], int] = now_position,
        *,
        timeout_s: float = 10.0,
        migrations: Sequence[Migration] = MIGRATIONS,
        prepare: bool = True,
    ) -> SQLiteStore: ...


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub #1?.db"


@pytest.fixture
def open_sqlite(path: Path) -> Iterator[Opener]:
    opened: list[SQLiteStore] = []

    def open_one(
        now: Callable[[], int] = now_position,
        *,
        timeout_s: float = 10.0,
        migrations: Sequence[Migration] = MIGRATIONS,
        prepare: bool = True,
    ) -> SQLiteStore:
        store = SQLiteStore(path, now=now, timeout_s=timeout_s, migrations=migrations)
        opened.append(store)
        if prepare:
            store.prepare()
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_sqlite: Opener) -> SQLiteStore:
    return open_sqlite()


class TestSQLite(HealthContract, ChoresContract, WholeContract, QuarantineContract, StoreContract):
    @pytest.fixture
    def store_factory(self, open_sqlite: Opener) -> StoreFactory:
        return open_sqlite

    @pytest.fixture
    def break_driver(self) -> Callable[[Store], None]:
        def break_it(store: Store) -> None:
            assert isinstance(store, SQLiteStore)
            for connection in (*store._database._idle, *store.ledger._database._idle):
                connection.db.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)

        return break_it


def in_process(path: Path, script: str) -> subprocess.Popen[str]:
    """A Python process with `store`, a prepared store on this file, and the samples."""
    prologue = f"""
        import os, signal, sys, time
        from taxii_server.storage.sqlite import SQLiteStore
        from tests.storage.samples import *
        store = SQLiteStore({str(path)!r})
        store.prepare()
    """
    source = textwrap.dedent(prologue) + textwrap.dedent(script) + "\nstore.close()\n"
    command = [sys.executable, "-W", "error", "-c", source]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> list[int]:
    """The numbers that it printed; it must have ended well."""
    text, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    return [int(word) for word in text.split()]


class TestFile:
    def test_only_its_owner_may_read_the_database(self, path: Path, open_sqlite: Opener) -> None:
        before = os.umask(0)
        try:
            store = open_sqlite()
            insert(store, new_labels(store)[0], draft())
            store.ledger.append([ledger_entry()])
        finally:
            os.umask(before)
        files = list(path.parent.iterdir())
        suffixes = {"", "-wal", "-shm", "-ledger", "-ledger-wal", "-ledger-shm"}
        assert {file.name.removeprefix(path.name) for file in files} == suffixes
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}

    def test_nothing_is_written_into_a_file_that_was_removed_or_replaced(self, path: Path, store: SQLiteStore) -> None:
        label = new_labels(store)[0]
        insert(store, label, draft(object_id(1)))
        store.ledger.append([ledger_entry()])
        writes: list[tuple[Path, Callable[[], object]]] = [
            (path, lambda: insert(store, label, draft(object_id(2)))),
            (Path(f"{path}-ledger"), lambda: store.ledger.append([ledger_entry(number=2)])),
        ]
        for file, write in writes:
            aside = file.rename(file.with_name("aside"))
            with pytest.raises(StorageUnavailable, match="removed or replaced"):
                write()
            shutil.copy(aside, file)
            with pytest.raises(StorageUnavailable, match="removed or replaced"):
                write()
            file.unlink()
            aside.rename(file)
            write()
        assert store.ledger.count() == 2
        assert len(store.lookup([object_id(1), object_id(2)])) == 2

    def test_what_is_committed_is_on_the_disk(self, store: SQLiteStore) -> None:
        with store._database.connection() as connection:
            pragmas = {
                name: connection.db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}

    def test_a_change_of_the_working_directory_does_not_change_the_database(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with closing(SQLiteStore("here.db")) as store:
            store.prepare()
            secret = store.secret()
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
            store._database.close()
        with closing(SQLiteStore(tmp_path / "here.db")) as store:
            assert store.secret() == secret

    def test_one_missing_folder_is_made_for_its_owner_only(self, tmp_path: Path) -> None:
        with closing(SQLiteStore(tmp_path / "new" / "hub.db")) as store:
            store.prepare()
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700

    def test_two_missing_folders_are_a_misspelt_path_and_named(self, tmp_path: Path) -> None:
        store = SQLiteStore(tmp_path / "not" / "here" / "hub.db")
        with pytest.raises(StorageUnavailable, match=r"not/here/hub\.db: No such file"):
            store.prepare()
        assert list(tmp_path.iterdir()) == []

    def test_a_database_that_is_not_prepared_is_not_made_by_reading(self, path: Path, open_sqlite: Opener) -> None:
        store = open_sqlite(prepare=False)
        with pytest.raises(StorageUnavailable):
            store.state()
        assert not path.exists()

    @pytest.mark.parametrize(("free", "words"), [(4095, r" \(4095 bytes are left on the disk\)$"), (1 << 30, "error$")])
    def test_a_full_disk_is_said_to_be_full_also_where_sqlite_speaks_of_an_io_error(
        self, path: Path, open_sqlite: Opener, monkeypatch: pytest.MonkeyPatch, free: int, words: str
    ) -> None:
        open_sqlite()
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        usage = shutil._ntuple_diskusage(1 << 40, 0, free)
        monkeypatch.setattr(sqlite_connection, "shutil", but_for(shutil, disk_usage=lambda _: usage))
        with pytest.raises(StorageUnavailable, match=words), Database(path, TIMEOUT_S).connection():
            raise error

    def test_what_cannot_be_written_is_named_with_what_to_do(
        self, path: Path, open_sqlite: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_sqlite()
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        # root may write everywhere
        access = but_for(os, access=lambda what, how: how == os.F_OK or what != path.parent)
        monkeypatch.setattr(sqlite_connection, "os", access)
        with (
            pytest.raises(StorageUnavailable) as told,
            Database(path, TIMEOUT_S).connection(),
        ):
            raise error
        assert str(told.value) == (
            f"{path}: attempt to write a readonly database ({path.parent} cannot be written: mount it writable, or run "
            "this as the user of the server)"
        )

    def test_the_folder_in_which_none_can_be_made_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # root may write everywhere
        access = but_for(os, access=lambda what, how: what == tmp_path and how == os.F_OK)
        monkeypatch.setattr(sqlite_connection, "os", access)
        why = sqlite_connection._why_not_written(tmp_path / "var" / "hub.db")
        assert why.startswith(f" ({tmp_path} cannot be written: ")

    def test_a_file_that_is_no_database_is_left_alone(self, path: Path, open_sqlite: Opener) -> None:
        text = b"minutes of the meeting\n" * 1_000
        path.write_bytes(text)
        with pytest.raises(StorageUnavailable, match="not a database"):
            open_sqlite()
        assert path.read_bytes() == text

    def test_the_database_of_another_application_is_left_alone(self, path: Path, open_sqlite: Opener) -> None:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE addresses (name TEXT)")
            other.commit()
            with pytest.raises(StorageError, match="another application"):
                open_sqlite()
            assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("addresses",)]

    def test_a_closed_store_answers_with_our_error_and_keeps_no_file_open(
        self, path: Path, open_sqlite: Opener
    ) -> None:
        store = open_sqlite()
        (label,) = new_labels(store)
        at_once(*[lambda: read(store, query(label))] * 8)
        store.close()
        with pytest.raises(StorageUnavailable, match="closed"):
            store.state()
        descriptors = Path("/proc/self/fd")
        if descriptors.exists():
            targets = [str(link.readlink()) for link in descriptors.iterdir() if link.is_symlink()]
            assert not [target for target in targets if path.name in target]

    def test_a_call_that_runs_while_the_store_closes_ends_and_closes_its_connection(self, open_sqlite: Opener) -> None:
        store = open_sqlite()
        (label,) = new_labels(store)
        store.before_commit = pause = Pause()
        writer = Background(lambda: insert(store, label, draft()))
        assert pause.reached.wait(30)
        store.close()
        pause.released.set()
        assert len(writer.result()) == 1
        assert store._database._idle == []

    def test_an_sqlite_that_is_too_old_is_refused(self, open_sqlite: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "sqlite3", but_for(sqlite3, sqlite_version_info=(3, 37, 2)))
        with pytest.raises(StorageError, match=r"needs 3\.38\.0 or newer"):
            open_sqlite()


class TestSchema:
    def test_an_older_database_is_migrated_and_keeps_its_records(self, open_sqlite: Opener) -> None:
        older = open_sqlite()
        (label,) = new_labels(older)
        given = insert(older, label, draft(), draft())
        older.close()

        def add_a_table(db: sqlite3.Connection) -> None:
            assert db.execute("SELECT count(*) FROM records").fetchone() == (2,)
            db.execute("CREATE TABLE notes (position INTEGER PRIMARY KEY)")
            db.execute("INSERT INTO notes SELECT position FROM records")

        newer = open_sqlite(migrations=[*MIGRATIONS, add_a_table])
        newer.prepare()
        assert read(newer, query(label)) == given
        assert newer._read("SELECT position FROM notes ORDER BY position") == [(position,) for position in given]
        assert newer._read("PRAGMA user_version") == [(len(MIGRATIONS) + 1,)]

    def test_a_database_of_before_quarantines_gets_one(self, open_sqlite: Opener) -> None:
        older = open_sqlite(migrations=MIGRATIONS[: MIGRATIONS.index(_add_quarantine)])
        secret = older.secret()
        older.close()
        newer = open_sqlite()
        (kept,) = newer.quarantine.hold([entry(1)])
        assert newer.quarantine.page(EntryQuery(9)) == [kept]
        assert newer.secret() == secret

    def test_a_page_of_terms_reads_no_further_than_it_gives(self, open_sqlite: Opener) -> None:
        store = open_sqlite()
        labels = new_labels(store, 6)
        terms = dict.fromkeys(labels, (100, 200))

        def steps() -> int:
            count = 0

            def step() -> int:
                nonlocal count
                count += 1
                return 0

            with store._database.connection() as connection:
                connection.db.set_progress_handler(step, 1)
            found = read(store, replace(query(*labels, limit=10), terms=terms))
            with store._database.connection() as connection:
                connection.db.set_progress_handler(None, 1)
            assert len(found) == 10
            return count

        def grow(count: int) -> None:
            for _ in range(count):
                insert_each(store, [(replace(draft(), terms=(100, 200)), label) for label in labels])

        grow(10)
        few = steps()
        grow(200)
        assert steps() <= few

    def test_a_migration_that_fails_changes_nothing(self, open_sqlite: Opener) -> None:
        open_sqlite().close()

        def half(db: sqlite3.Connection) -> None:
            db.execute("CREATE TABLE half (x)")

        def broken(db: sqlite3.Connection) -> None:
            db.execute("SELECT * FROM missing")

        with pytest.raises(StorageUnavailable, match="missing"):
            open_sqlite(migrations=[*MIGRATIONS, half, broken])
        store = open_sqlite()
        assert store._read("PRAGMA user_version") == [(len(MIGRATIONS),)]
        assert store._read("SELECT name FROM sqlite_schema WHERE name = 'half'") == []

    def test_the_database_of_a_newer_release_is_refused_with_both_versions(self, open_sqlite: Opener) -> None:
        newer = open_sqlite(migrations=[*MIGRATIONS, lambda db: None])
        secret = newer.secret()
        versions = f"schema version {len(MIGRATIONS) + 1}, .* up to {len(MIGRATIONS)}:"
        with pytest.raises(SchemaTooNew, match=versions):
            open_sqlite()
        assert newer.secret() == secret

    def test_the_file_says_whose_it_is(self, store: SQLiteStore) -> None:
        assert store._read("PRAGMA application_id") == [(APPLICATION_ID,)]

    def test_a_worker_can_start_while_another_one_writes(self, open_sqlite: Opener) -> None:
        writer = open_sqlite()
        (label,) = new_labels(writer)
        writer.before_commit = pause = Pause()
        task = Background(lambda: insert(writer, label, draft()))
        assert pause.reached.wait(30)
        open_sqlite(timeout_s=0.1)
        pause.released.set()
        task.result()


class TestTrouble:
    def test_a_lock_that_is_held_too_long_is_our_error(self, path: Path, open_sqlite: Opener) -> None:
        store = open_sqlite(timeout_s=0.1)
        (label,) = new_labels(store)
        given = insert(store, label, draft())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="locked") as caught:
                insert(store, label, draft())
            assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
            assert read(store, query(label)) == given, "readers do not wait"
            assert new_labels(store) == [label], "what is in the log is found without writing"
            other.execute("ROLLBACK")
        assert insert(store, label, draft()) > given

    def test_a_writer_that_takes_too_long_stops_no_other_thread_for_ever(self, open_sqlite: Opener) -> None:
        store = open_sqlite(timeout_s=0.1)
        (label,) = new_labels(store)
        store.before_commit = pause = Pause()
        writer = Background(lambda: insert(store, label, draft()))
        assert pause.reached.wait(30)
        with pytest.raises(StorageUnavailable, match="another write"):
            insert(store, label, draft())
        pause.released.set()
        writer.result()
        assert len(insert(store, label, draft())) == 1

    def test_a_page_that_was_cut_leaves_no_point_in_time_open_for_the_next_call(
        self, store: SQLiteStore, open_sqlite: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = open_sqlite()
        (label,) = new_labels(store)
        insert(store, label, *(draft(content=b"x" * 100) for _ in range(5)))
        counts: list[int] = []
        keep = Database._keep

        def commit_first(database: Database, connection: Connection) -> None:
            monkeypatch.undo()
            insert(other, label, draft())
            counts.extend(connection.db.execute("SELECT count(*) FROM records").fetchone())
            keep(database, connection)

        monkeypatch.setattr(Database, "_keep", commit_first)
        assert store.page(replace(query(label), limit_bytes=150)).cut
        assert counts == [6]

    def test_a_full_disk_is_our_error_and_leaves_nothing_behind(self, store: SQLiteStore) -> None:
        (label,) = new_labels(store)
        given = insert(store, label, draft())
        with store._database.connection() as connection:
            (pages,) = connection.db.execute("PRAGMA page_count").fetchone()
            connection.db.execute(f"PRAGMA max_page_count = {pages + 10}")
        with pytest.raises(StorageUnavailable, match="full"):
            insert(store, label, *(draft(content=b"x" * 10_000) for _ in range(20)))
        assert read(store, query(label)) == given
        assert store.count_by_label() == {label: 1}
        assert insert(store, label, draft()) > given

    def test_an_error_of_the_planner_is_not_taken_for_one_of_the_database(self, store: SQLiteStore) -> None:
        def planner(present: object, log_length: int) -> Any:
            raise OSError("not the disk")

        with pytest.raises(OSError, match="not the disk"):
            store.write([], planner)


class TestProcesses:
    def test_processes_that_start_at_once_prepare_one_database(self, path: Path, open_sqlite: Opener) -> None:
        script = "print(int.from_bytes(store.secret(), 'big'))"
        secrets = [output(process) for process in [in_process(path, script) for _ in range(4)]]
        assert secrets == [[int.from_bytes(open_sqlite().secret(), "big")]] * 4

    def test_a_follower_of_several_processes_sees_everything_once_and_in_order(
        self, path: Path, open_sqlite: Opener
    ) -> None:
        script = """
            for n in range(25):
                (label,) = new_labels(store, 1, prefix=f"shared {n // 2}")
                print(*insert(store, label, *(draft() for _ in range(1 + n % 4))))
        """
        follower = Follower(open_sqlite())
        done = threading.Event()
        reader = Background(lambda: follower.follow(done))
        acknowledged = [output(process) for process in [in_process(path, script) for _ in range(3)]]
        done.set()
        seen = positions(reader.result())
        assert seen == tuple(sorted(position for given in acknowledged for position in given))
        assert open_sqlite().state().log_length == 13

    def test_a_writer_that_is_killed_leaves_nothing_and_frees_the_lock(self, path: Path, open_sqlite: Opener) -> None:
        store = open_sqlite()
        (label,) = new_labels(store)
        given = insert(store, label, draft())
        script = f"""
            store.before_commit = lambda: os.kill(os.getpid(), signal.SIGKILL)
            insert(store, {label}, draft(content=b"x" * 100_000))
        """
        process = in_process(path, script)
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == -signal.SIGKILL
        assert read(store, query(label)) == given
        assert insert(store, label, draft()) > given

    def test_a_store_goes_on_in_a_forked_process(self, path: Path, open_sqlite: Opener) -> None:
        script = """
            (label,) = new_labels(store)
            insert(store, label, draft())
            children = []
            for _ in range(3):
                if not (child := os.fork()):
                    given = insert(store, label, draft(), draft())
                    assert set(given) <= set(read(store, query(label)))
                    store.close()
                    os._exit(0)
                children.append(child)
            insert(store, label, draft())
            assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
            print(*read(store, query(label)))
        """
        given = output(in_process(path, script))
        assert len(given) == 8
        assert read(open_sqlite(), query(1)) == tuple(given)

    def test_what_a_child_commits_that_was_forked_in_the_middle_of_a_call_is_there_for_all(
        self, path: Path, open_sqlite: Opener
    ) -> None:
        """SQLite forgets locks over a fork: without care, the parent closes the log that the child writes to."""
        script = """
            import threading
            (label,) = new_labels(store)
            inside, told, goes_on = threading.Event(), threading.Event(), threading.Event()

            def call():
                with store._database.connection() as connection:
                    connection.db.execute("SELECT count(*) FROM records").fetchone()
                    inside.set()
                    goes_on.wait(1)

            thread = threading.Thread(target=call)
            thread.start()
            inside.wait()
            (done, tell), (may_go_on, go_on) = os.pipe(), os.pipe()
            if not (child := os.fork()):
                insert(store, label, draft())
                os.write(tell, b".")
                os.read(may_go_on, 1)
                insert(store, label, draft())
                os._exit(0)
            thread.join()
            os.read(done, 1)
            store.close()
            os.write(go_on, b".")
            assert os.waitpid(child, 0)[1] == 0
        """
        output(in_process(path, script))
        assert len(read(open_sqlite(), query(1))) == 2

    def test_a_child_that_was_forked_beside_an_endless_call_opens_no_file(self, path: Path) -> None:
        script = """
            from taxii_server.errors import StorageError
            from taxii_server.storage.sqlite_connection import FORKS
            FORKS.wait_s = 0.1
            with store._database.connection():
                if not (child := os.fork()):
                    try:
                        store.state()
                    except StorageError as error:
                        os._exit(0 if "forked" in str(error) else 2)
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            store.state()
        """
        output(in_process(path, script))


def plan_of(store: SQLiteStore, asked: PageQuery) -> list[str]:
    """The steps of SQLite's plan for a page."""
    statement = page_statement(asked)
    assert statement is not None
    with store._database.connection() as connection:
        rows = connection.db.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.values).fetchall()
    return [row[3] for row in rows]


def steps_of(store: SQLiteStore, call: Callable[[], object]) -> int:
    """How many steps SQLite's machine makes for a call, in tens; the same in every run."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    call()  # Statements are in the cache now.
    for connection in (*store._database._idle, *store.ledger._database._idle):
        connection.db.set_progress_handler(step, 10)
    call()
    for connection in (*store._database._idle, *store.ledger._database._idle):
        connection.db.set_progress_handler(None, 0)
    return count


MANY = tuple(range(1, ARMS_MAX + 2))


class TestCost:
    @pytest.mark.parametrize("content", [True, False])
    @pytest.mark.parametrize(
        ("asked", "index"),
        [
            (query(1), "records_by_label (label=? AND position>?)"),
            (query(1, 2, 3), "records_by_label (label=? AND position>?)"),
            (query(*range(1, 401)), "records_by_label (label=? AND position>?)"),
            (query(1, 2, spec_versions=("2.1",)), "records_by_label (label=? AND position>?)"),
            (query(1, 2, types=("a",)), "records_by_type_label (type=? AND label=? AND position>?)"),
            (query(1, 2, types=("a", "b"), spec_versions=("2.1",)), "records_by_type_label"),
            (query(1, 2, ids=("a",)), "records_by_id (id=? AND label=? AND position>?)"),
            (query(1, 2, ids=("a", "b"), types=("a",), version_keys=("k",)), "records_by_id"),
            (query(1, 2, version_keys=("a", "b")), "records_by_version (version_key=? AND label=? AND position>?)"),
            (query(*MANY), "records_by_collection (collection=? AND position>?)"),
            (query(*MANY, collections=("a", "b", "c")), "records_by_collection (collection=? AND position>?)"),
            (query(*MANY, types=("a", "b"), spec_versions=("2.1",)), "records_by_type (type=? AND position>?)"),
        ],
    )
    def test_a_page_reads_an_index_in_order_and_sorts_nothing(
        self, asked: PageQuery, index: str, content: bool, store: SQLiteStore
    ) -> None:
        asked = PageQuery(**{**{name: getattr(asked, name) for name in PageQuery.__slots__}, "content": content})
        plan = plan_of(store, asked)
        assert not [step for step in plan if "TEMP B-TREE" in step]
        assert not [step for step in plan if step.startswith("SCAN") and not step.startswith(("SCAN hit", "SCAN (sub"))]
        if len(asked.labels) > ARMS_MAX:
            assert any("USING ROWID SEARCH ON TABLE wanted" in step for step in plan), "the labels are not copied"
        searches = [step for step in plan if step.startswith("SEARCH records")]
        assert searches
        assert all(index in search for search in searches)
        assert plan[-1] == "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"

    @pytest.mark.parametrize("asked", [query(*MANY, ids=("a", "b")), query(*MANY, version_keys=("a", "b"))])
    def test_with_many_labels_only_the_records_of_the_filter_are_sorted(
        self, asked: PageQuery, store: SQLiteStore
    ) -> None:
        plan = plan_of(store, asked)
        assert [step for step in plan if "SEARCH records USING" in step and "=?" in step]
        assert not [step for step in plan if step.startswith("SCAN records")]

    def test_a_lookup_reads_the_index_of_ids(self, store: SQLiteStore) -> None:
        plan = [row[3] for row in store._read(f"EXPLAIN QUERY PLAN {LOOKUP}", "[]")]
        assert plan[0] == "SEARCH r USING INDEX records_by_id (id=?)"
        assert not [step for step in plan if "TEMP B-TREE" in step]

    def test_the_number_of_labels_makes_few_different_statements(self) -> None:
        """The plan of a statement that is in the cache costs nothing."""
        statements = [page_statement(query(*range(1, count + 1))) for count in range(1, ARMS_MAX + 1)]
        assert len({statement.sql for statement in statements if statement}) < 20

    @pytest.mark.parametrize(
        "conditions",
        [{}, {"types": ("indicator",)}, {"ids": (object_id("shown"),)}, {"version_keys": ("2020-01-01T00:00:00",)}],
        ids=str,
    )
    def test_the_cost_of_a_page_does_not_depend_on_what_is_hidden(
        self, conditions: dict[str, Any], store: SQLiteStore
    ) -> None:
        shown, hidden = new_labels(store, 2)
        insert(store, shown, draft(object_id("shown")), draft(object_id("shown"), version="2021-01-01T00:00:00Z"))
        asked = query(shown, **conditions)
        before = steps_of(store, lambda: store.page(asked))
        insert(store, hidden, draft(object_id("shown")), *(draft() for _ in range(3_000)))
        assert abs(steps_of(store, lambda: store.page(asked)) - before) <= 1

    def test_the_cost_of_a_page_does_not_depend_on_what_comes_before_it(self, store: SQLiteStore) -> None:
        labels = new_labels(store, ARMS_MAX + 1)
        given = insert_each(store, [(draft(), labels[n % 2]) for n in range(4_000)])
        for wanted in (labels[:2], labels):
            first = steps_of(store, lambda wanted=wanted: store.page(query(*wanted, limit=50)))  # type: ignore[misc]
            last = steps_of(store, lambda wanted=wanted: store.page(query(*wanted, after=given[-51], limit=50)))  # type: ignore[misc]
            assert abs(first - last) <= 5

    def test_the_state_is_one_command(self, store: SQLiteStore) -> None:
        commands: list[str] = []
        store.state()
        for connection in (*store._database._idle, *store.ledger._database._idle):
            connection.db.set_trace_callback(commands.append)
        store.state()
        assert len(commands) == 1

    def test_sequential_calls_share_one_connection(self, store: SQLiteStore) -> None:
        (label,) = new_labels(store)
        for _ in range(5):
            insert(store, label, draft())
            read(store, query(label))
        assert len(store._database._idle) == 1


def test_expired_statuses_are_removed_when_one_is_saved(open_sqlite: Opener) -> None:
    clock = Clock(1_000)
    store = open_sqlite(now=clock)
    for number, expires in enumerate([2_000, 3_000, 9_000]):
        store.save_status(StoredStatus(f"s{number}", "hub", "p", b"{}", expires))
    clock.us = 3_000
    store.save_status(StoredStatus("s3", "hub", "p", b"{}", 9_000))
    assert store._read("SELECT id FROM statuses ORDER BY id") == [("s2",), ("s3",)]


# ---- health


def test_a_removed_file_is_not_well(open_sqlite: Opener, path: Path) -> None:
    store = open_sqlite()
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(StorageUnavailable, match="is not there"):
        store.health.check(1.0)
    path.touch(mode=0o600)
    with pytest.raises(StorageUnavailable, match="removed or replaced"):
        store.health.check(1.0)


def test_a_full_disk_is_not_well(open_sqlite: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_sqlite()
    monkeypatch.setattr("taxii_server.storage.sqlite_health.MIN_FREE_BYTES", 1 << 62)
    with pytest.raises(StorageUnavailable, match="left on the disk"):
        store.health.check(1.0)


def test_a_schema_of_another_release_is_not_well(open_sqlite: Opener) -> None:
    open_sqlite()
    older = open_sqlite(migrations=MIGRATIONS[:-1], prepare=False)
    newer = open_sqlite(migrations=(*MIGRATIONS, lambda db: None), prepare=False)
    with pytest.raises(SchemaTooNew):
        older.health.check(1.0)
    with pytest.raises(StorageError, match="older than this release"):
        newer.health.check(1.0)


def test_looking_does_not_wait_for_a_writer(open_sqlite: Opener) -> None:
    store = open_sqlite()
    with store._database.writing():
        store.health.check(1.0)


def test_the_sizes_are_those_of_the_files(open_sqlite: Opener, path: Path) -> None:
    store = open_sqlite()
    sizes = store.health.vitals(1.0).file_bytes
    assert set(sizes) == {"records", "records-wal", "ledger", "ledger-wal"}
    assert sizes["records"] == path.stat().st_size


def test_all_connections_rest_when_a_process_forks_while_another_thread_opens_a_database(tmp_path: Path) -> None:
    first = SQLiteStore(tmp_path / "first.db")
    first.prepare()
    others: list[Database] = []

    def opened() -> None:
        others.append(Database(tmp_path / "other.db", 1.0))

    lines = 0
    for line in range(1, 12):
        first.state()
        assert first.databases()[0]._idle
        with interrupted("WeakSet.__iter__", opened, at=line) as done:
            _close_idle()
        assert not first.databases()[0]._idle, line
        lines += done()
    assert lines > 3
    first.close()


def test_a_child_of_a_process_whose_connections_could_not_be_closed_opens_none() -> None:
    def fail() -> None:
        raise RuntimeError("not now")

    gate = ForkGate(fail)
    with pytest.raises(RuntimeError):
        gate.before()
    gate.after_in_child()
    with pytest.raises(StorageError, match="start it again"):
        gate.enter()
