"""The store in one SQLite file (3.38 or newer): the standard library is all it needs.

Why it keeps the promise about positions: BEGIN IMMEDIATE lets one write transaction at a time through, in all
processes, and the position is taken inside from a row of the same database. So the order of
positions is the order of commits. A reader sees commits in that order because a WAL snapshot is a prefix of them.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.model import (
    AppliedCatalog,
    Credential,
    LogEntry,
    Page,
    PageQuery,
    Record,
    StoredStatus,
    StoreState,
)
from taxii_server.storage import sqlite_events as events
from taxii_server.storage import sqlite_log as log
from taxii_server.storage import sqlite_statuses as statuses_of
from taxii_server.storage import sqlite_terms as found_by
from taxii_server.storage import sqlite_writes as steps
from taxii_server.storage.bands import first_entries, places_of
from taxii_server.storage.base import EventPlanner, Plan, Planner, Store, group_by_id, require_epoch, within
from taxii_server.storage.positions import NEXT, positions_after, rounded_up
from taxii_server.storage.sqlite_chores import SQLiteChores
from taxii_server.storage.sqlite_connection import Connection, Database
from taxii_server.storage.sqlite_events import LOG_LENGTH, InsideSQLite, position_of, record
from taxii_server.storage.sqlite_health import SQLiteHealth
from taxii_server.storage.sqlite_inspection import SQLiteInspection
from taxii_server.storage.sqlite_ledger import SQLiteLedger
from taxii_server.storage.sqlite_quarantine import SQLiteQuarantine
from taxii_server.storage.sqlite_query import PageStatement, page_statement
from taxii_server.storage.sqlite_schema import MIGRATIONS, Migration, is_present, migrate
from taxii_server.storage.sqlite_whole import SQLiteWhole
from taxii_server.storage.together import WRITES_TOGETHER, Together, Write, join, share_no_id, with_those_alone
from taxii_server.times import now_position

#: Strict tables and json_each.
_OLDEST_SQLITE = (3, 38, 0)


class SQLiteStore(Store):
    """The file at `path`. `now` gives µs since 1970; a call waits up to `timeout_s` for other writers.

    Up to `writes_together` writes of this process that wait for their turn share one transaction (together.py).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        now: Callable[[], int] = now_position,
        timeout_s: float = 10.0,
        migrations: Sequence[Migration] = MIGRATIONS,
        writes_together: int = WRITES_TOGETHER,
    ) -> None:
        # Absolute now: a change of the working directory must not change the database.
        where = Path(path).absolute()
        self._database = Database(where, timeout_s)
        self._ledger = SQLiteLedger(where.with_name(f"{where.name}-ledger"), timeout_s)
        self._now = now
        self._migrations = migrations
        self._writes = Together(
            self._write_all,
            wait_s=timeout_s,
            most=writes_together,
            fits=share_no_id,
            ran=lambda count: self.wrote_together(count),
        )
        self._statuses = Together(self._save_statuses, wait_s=timeout_s)
        #: whether there may be records whose terms are not known: nobody adds any
        self._may_lack_terms = True

    @property
    def ledger(self) -> SQLiteLedger:
        return self._ledger

    # ---- life

    def prepare(self) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            known = ".".join(map(str, _OLDEST_SQLITE))
            raise StorageError(f"SQLite {sqlite3.sqlite_version} is too old: this store needs {known} or newer")
        self._database.create()
        where = str(self._database.path)
        # A worker that starts while another one writes does not have to wait.
        with self._database.connection() as connection, self._database.reading(connection) as db:
            present = is_present(db, where, self._migrations)
        if not present:
            with self._database.writing() as db:
                migrate(db, where, self._migrations)
        self._ledger.prepare()

    def close(self) -> None:
        self._database.close()
        self._ledger.close()

    def state(self) -> StoreState:
        epoch = "SELECT coalesce(max(epoch), 0) FROM catalogs"
        (row,) = self._read(
            f"SELECT ({epoch}), credentials_epoch, ({LOG_LENGTH}), last_position FROM facts"  # noqa: S608
        )
        return StoreState(*row)

    def secret(self) -> bytes:
        ((secret,),) = self._read("SELECT secret FROM facts")
        return bytes(secret)

    # ---- the log

    def log_after(self, number: int) -> list[LogEntry]:
        rows = self._read("SELECT number, kind, payload FROM log WHERE number > ? ORDER BY number", number)
        return [LogEntry(*row) for row in rows]

    def append_log(self, entries: Sequence[tuple[str, str]]) -> list[LogEntry]:
        hashes = [log.hash_of(kind, payload) for kind, payload in entries]
        by_hash = dict(zip(hashes, entries, strict=True))
        # Entries never change, so those that are there can be read without waiting for writers.
        with self._database.connection() as connection:
            numbers = log.numbers_of(connection.db, by_hash)
        if len(numbers) < len(by_hash):
            with self._database.writing() as db:
                numbers = log.append_missing(db, by_hash)
        return [LogEntry(numbers[hash_], *entry) for hash_, entry in zip(hashes, entries, strict=True)]

    # ---- records

    def write(self, ids: Collection[str], planner: Planner) -> tuple[int, ...]:
        return self._writes.do(Write(tuple(ids), planner))

    def _write_all(self, writes: Sequence[Write], limit_s: float) -> list[tuple[int, ...] | Exception]:
        """One transaction for all of these, and one for each with an event."""
        try:
            return self._write_joined(writes, limit_s)
        except StorageUnavailable as error:
            if len(writes) > 1 and isinstance(error.__cause__, sqlite3.Error) and not _is_of_the_database(error):
                # Something in one of them: they are tried one by one (see Together).
                raise StorageError(str(error)) from error
            raise

    def _write_joined(self, writes: Sequence[Write], limit_s: float) -> list[tuple[int, ...] | Exception]:
        until = time.monotonic() + limit_s
        with self._database.writing_connection(limit_s=limit_s) as connection:
            db = connection.db
            (log_length,) = db.execute(LOG_LENGTH).fetchone()
            wanted = [id_ for write in writes for id_ in write.ids]
            joined = join(writes, group_by_id(events.records_of(db, wanted)), log_length)
            positions: tuple[int, ...] = ()
            if not joined.plan.is_empty():
                positions = self._carry_out(connection, joined.plan)
                if joined.status_planners:
                    statuses_of.write(db, joined.statuses(positions), self._now())
                self.before_commit()
        return with_those_alone(joined.results(positions), joined.alone, writes, self._write_all, until)

    def _carry_out(self, connection: Connection, plan: Plan) -> tuple[int, ...]:
        """Write what the plan says; the positions of its insertions."""
        db = connection.db
        steps.clear(db, plan)
        positions = self._take_positions(db, [draft.at for draft, _ in plan.inserts])
        steps.insert(db, plan, positions)
        self._may_lack_terms |= any(draft.terms is None for draft, _ in plan.inserts)
        if plan.event is not None:
            self._write_event(connection, plan.event, positions, plan.event_at())
        return positions

    def _write_event(self, connection: Connection, event: EventPlanner, positions: Sequence[int], at: int) -> None:
        """Write the event, if there is one, behind everything that there is, where it wants to stand."""
        db = connection.db
        planned = event(InsideSQLite(db, connection.want))
        if planned is not None:
            (base,) = self._take_positions(db, [at])
            end = events.write_event(db, planned, base, positions, log.hash_of)
            db.execute("UPDATE facts SET last_position = ?", (end,))

    def _take_positions(self, db: sqlite3.Connection, wanted: Sequence[int]) -> tuple[int, ...]:
        if not wanted:
            return ()
        (last,) = db.execute("SELECT last_position FROM facts").fetchone()
        positions = positions_after(last, self._now(), wanted)
        db.execute("UPDATE facts SET last_position = ?", (positions[-1],))
        return positions

    def present(self) -> int:
        return self._now()

    def clock(self) -> int:
        ((last,),) = self._read("SELECT last_position FROM facts")
        return int(last)

    def tick(self) -> int:
        with self._database.writing() as db:
            (last,) = db.execute("SELECT last_position FROM facts").fetchone()
            position = rounded_up(max(last, self._now()))
            db.execute("UPDATE facts SET last_position = ?", (position,))
        return position

    def page(self, query: PageQuery) -> Page:
        lacks_terms = query.terms is not None and self._lacks_terms()
        statement = page_statement(query, lacks_terms=lacks_terms)
        with self._database.connection() as connection:
            if statement is not None and statement.wanted:
                connection.want(statement.wanted)
            # One point in time: the log that is counted holds every label that these records could have. The rows are
            # closed inside: those that are left after a cut would keep this point in time open for the next call.
            with self._database.reading(connection) as db, closing(_rows(db, statement)) as rows:
                records, cut = within(map(record, rows), query.limit_bytes, query.limit)
                positions = list(map(position_of, records))
                if positions != sorted(positions):
                    # The statement gives them in order, though SQL promises nothing: then none may be left out.
                    records, cut = tuple(sorted((*records, *map(record, rows)), key=position_of)), False
                (horizon,) = db.execute(LOG_LENGTH).fetchone()
        return Page(records, horizon, cut)

    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        with self._database.connection() as connection:
            return group_by_id(events.records_of(connection.db, ids))

    def records_at(
        self, positions: Collection[int], *, content: bool = True, limit_bytes: int = 0
    ) -> tuple[list[Record], bool]:
        with self._database.connection() as connection:
            rows = events.rows_at(connection.db, positions, content)
            records, cut = within(map(record, rows), limit_bytes, len(positions))
            rows.close()
        return list(records), cut

    def referrers(self, ids: Collection[str]) -> list[Record]:
        with self._database.connection() as connection:
            return events.referrers(connection.db, ids)

    def band(self, event: int, classes: Collection[int], after: int, limit: int) -> list[tuple[int, int]]:
        with self._database.connection() as connection:
            rows = connection.db.execute(events.CHUNKS, (event, after, json.dumps(list(classes))))
            found = first_entries(events.chunks(rows), after, limit)
            rows.close()
        return found

    def places(self, event: int, classes: Collection[int], positions: Collection[int]) -> dict[int, int]:
        if not positions:
            return {}
        with self._database.connection() as connection:
            values = (event, min(positions), max(positions), json.dumps(list(classes)))
            return places_of(events.chunks(connection.db.execute(events.CHUNKS_OF, values)), positions)

    def save_aliases(self, originals: Mapping[str, str]) -> None:
        with self._database.writing() as db:
            events.save_aliases(db, originals)

    def aliases(self, ids: Collection[str]) -> dict[str, str]:
        with self._database.connection() as connection:
            return events.aliases(connection.db, ids)

    def count_by_label(self) -> dict[int, int]:
        return dict(self._read("SELECT label, count(*) FROM records INDEXED BY records_by_label GROUP BY label"))

    def unfilled(self, limit: int) -> list[Record]:
        with self._database.connection() as connection:
            return found_by.unfilled(connection.db, limit)

    def fill(self, terms: Mapping[int, Sequence[int]]) -> None:
        with self._database.writing() as db:
            found_by.fill(db, terms)

    def _lacks_terms(self) -> bool:
        """Whether some records have to be looked at because what they are found by is not known."""
        if self._may_lack_terms:
            ((found,),) = self._read(found_by.ANY_UNFILLED)
            self._may_lack_terms = bool(found)
        return self._may_lack_terms

    @property
    def quarantine(self) -> SQLiteQuarantine:
        return SQLiteQuarantine(self._database, self._now)

    @property
    def whole(self) -> SQLiteWhole:
        return SQLiteWhole(*self.databases(), SQLiteStore)

    @property
    def inspection(self) -> SQLiteInspection:
        return SQLiteInspection(self._database)

    @property
    def chores(self) -> SQLiteChores:
        return SQLiteChores(self._database, self._now)

    @property
    def health(self) -> SQLiteHealth:
        return SQLiteHealth(self.databases(), self._migrations)

    def databases(self) -> tuple[Database, Database]:
        """The file of the store and that of its ledger."""
        return self._database, self._ledger.database

    # ---- statuses

    def save_status(self, status: StoredStatus) -> None:
        self._statuses.do(status)

    def _save_statuses(self, statuses: Sequence[StoredStatus], limit_s: float) -> list[None]:
        with self._database.writing_connection(limit_s=limit_s) as connection:
            statuses_of.write(connection.db, statuses, self._now())
        return [None] * len(statuses)

    def status(self, status_id: str, now: int) -> StoredStatus | None:
        with self._database.connection() as connection:
            return statuses_of.find(connection.db, status_id, now)

    def recent_statuses(self, limit: int, head_bytes: int) -> list[StoredStatus]:
        with self._database.connection() as connection:
            return statuses_of.recent(connection.db, limit, head_bytes)

    # ---- credentials

    def save_credential(self, credential: Credential) -> None:
        with self._database.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO credentials (id, partner, kind, secret_hash, created, comment, revoked)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    credential.id,
                    credential.partner,
                    credential.kind,
                    credential.secret_hash,
                    credential.created,
                    credential.comment,
                    credential.revoked,
                ),
            )
            _credentials_changed(db)

    def revoke_credential(self, credential_id: str) -> bool:
        with self._database.writing() as db:
            changed = db.execute("UPDATE credentials SET revoked = 1 WHERE id = ?", (credential_id,)).rowcount > 0
            if changed:
                _credentials_changed(db)
        return changed

    def credentials(self) -> list[Credential]:
        rows = self._read(
            "SELECT id, partner, kind, secret_hash, created, comment, revoked FROM credentials ORDER BY partner, id"
        )
        return [Credential(*(*row[:6], bool(row[6]))) for row in rows]

    # ---- the catalog in force

    def apply_catalog(
        self,
        files: Mapping[str, str],
        digest: str,
        applied_by: str,
        expected_epoch: int | None = None,
        *,
        moment: int = 0,
        event: EventPlanner | None = None,
    ) -> AppliedCatalog:
        with self._database.writing_connection() as connection:
            db = connection.db
            newest = _newest_catalog(db)
            require_epoch(newest, expected_epoch)
            if newest is not None:
                moment = max(moment, newest.moment)
                if (newest.digest, newest.moment) == (digest, moment):
                    return newest
            if event is not None:
                (is_empty,) = db.execute("SELECT NOT EXISTS (SELECT 1 FROM records)").fetchone()
                self._write_event(connection, event, (), NEXT if is_empty else 0)
            epoch = newest.epoch + 1 if newest else 1
            applied = AppliedCatalog(epoch, digest, self._now(), applied_by, dict(files), moment)
            db.execute(
                "INSERT INTO catalogs (epoch, digest, applied, applied_by, files, moment) VALUES (?, ?, ?, ?, ?, ?)",
                (applied.epoch, digest, applied.applied, applied_by, json.dumps(applied.files), moment),
            )
        return applied

    def catalog(self) -> AppliedCatalog | None:
        with self._database.connection() as connection:
            return _newest_catalog(connection.db)

    def _read(self, sql: str, *values: object) -> list[Any]:
        """All rows of one statement."""
        with self._database.connection() as connection:
            return connection.db.execute(sql, values).fetchall()


def _rows(db: sqlite3.Connection, statement: PageStatement | None) -> sqlite3.Cursor:
    return db.cursor() if statement is None else db.execute(statement.sql, statement.values)


def _is_of_the_database(error: StorageUnavailable) -> bool:
    """Whether the database as a whole cannot answer: locked, full, gone."""
    return isinstance(error.__cause__, sqlite3.OperationalError)


def _credentials_changed(db: sqlite3.Connection) -> None:
    db.execute("UPDATE facts SET credentials_epoch = credentials_epoch + 1")


def _newest_catalog(db: sqlite3.Connection) -> AppliedCatalog | None:
    sql = "SELECT epoch, digest, applied, applied_by, files, moment FROM catalogs ORDER BY epoch DESC LIMIT 1"
    row = db.execute(sql).fetchone()
    return None if row is None else AppliedCatalog(*(*row[:4], json.loads(row[4]), row[5]))
