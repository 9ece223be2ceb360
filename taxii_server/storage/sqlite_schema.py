"""The tables of the SQLite store, and how an older database becomes a present one.

Why these indexes (measured, 200 000 records): a page that asks for few labels is the merge of one index range
per label, so its cost depends neither on hidden records nor on the size of the store. A page that asks for many
labels walks its collections in order of position and tests each label. Each filter has an index of the same
two kinds. All six together cost about 30 µs per record written. The content stands in the row: a table of its
own made pages with content slower and pages without it no faster.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence

from taxii_server.errors import SchemaTooNew, StorageError
from taxii_server.storage import sqlite_chores, sqlite_quarantine

#: Marks a file as ours ("TAXI"), so that a mistyped path cannot fill the database of another application.
APPLICATION_ID = 0x54415849

_VERSION_1 = (
    """CREATE TABLE facts (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        secret BLOB NOT NULL,
        last_position INTEGER NOT NULL DEFAULT 0,
        credentials_epoch INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    """CREATE TABLE log (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        payload TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE
    ) STRICT""",
    # The content comes last: what stands before it is read without touching the pages it spills to.
    """CREATE TABLE records (
        position INTEGER PRIMARY KEY,
        collection TEXT NOT NULL,
        submitter TEXT NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        spec_version TEXT NOT NULL,
        version TEXT NOT NULL,
        version_key TEXT NOT NULL,
        label INTEGER NOT NULL,
        digest BLOB NOT NULL,
        hard_refs TEXT NOT NULL,
        soft_refs TEXT NOT NULL,
        content BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX records_by_label ON records (label, position, spec_version)",
    "CREATE INDEX records_by_collection ON records (collection, position, label, spec_version)",
    "CREATE INDEX records_by_type_label ON records (type, label, position, spec_version)",
    "CREATE INDEX records_by_type ON records (type, position, label, spec_version)",
    "CREATE INDEX records_by_id ON records (id, label, position)",
    "CREATE INDEX records_by_version ON records (version_key, label, position)",
    """CREATE TABLE statuses (
        id TEXT PRIMARY KEY,
        api_root TEXT NOT NULL,
        submitter TEXT NOT NULL,
        body BLOB NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX statuses_by_expiry ON statuses (expires)",
    """CREATE TABLE credentials (
        id TEXT PRIMARY KEY,
        partner TEXT NOT NULL,
        kind TEXT NOT NULL,
        secret_hash TEXT NOT NULL,
        created TEXT NOT NULL,
        comment TEXT NOT NULL,
        revoked INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE catalogs (
        epoch INTEGER PRIMARY KEY,
        digest TEXT NOT NULL,
        applied INTEGER NOT NULL,
        applied_by TEXT NOT NULL,
        files TEXT NOT NULL
    ) STRICT""",
)


def _create(db: sqlite3.Connection) -> None:
    for statement in _VERSION_1:
        db.execute(statement)
    db.execute("INSERT INTO facts (one, secret) VALUES (1, ?)", (secrets.token_bytes(32),))


_VERSION_2 = (
    # Who refers to an id: what was hidden because of it becomes readable with it.
    """CREATE TABLE refs (
        target TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (target, position)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE bands (
        event INTEGER NOT NULL,
        first INTEGER NOT NULL,
        class INTEGER NOT NULL,
        last INTEGER NOT NULL,
        low INTEGER NOT NULL,
        high INTEGER NOT NULL,
        entries BLOB NOT NULL,
        PRIMARY KEY (event, first, class)
    ) STRICT""",
    """CREATE TABLE aliases (
        id TEXT PRIMARY KEY,
        original TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "ALTER TABLE catalogs ADD COLUMN moment INTEGER NOT NULL DEFAULT 0",
    """INSERT OR IGNORE INTO refs (target, position)
        SELECT j.value, r.position FROM records AS r, json_each(r.hard_refs) AS j
        UNION SELECT j.value, r.position FROM records AS r, json_each(r.soft_refs) AS j""",
    # Positions are multiples of 16 from here on; older ones keep the place that they have.
    "UPDATE facts SET last_position = (last_position / 16 + 1) * 16 WHERE last_position % 16",
)


def _add_events(db: sqlite3.Connection) -> None:
    for statement in _VERSION_2:
        db.execute(statement)


def _add_quarantine(db: sqlite3.Connection) -> None:
    for statement in sqlite_quarantine.SCHEMA:
        db.execute(statement)


def _add_leases(db: sqlite3.Connection) -> None:
    for statement in sqlite_chores.SCHEMA:
        db.execute(statement)


def _add_notes(db: sqlite3.Connection) -> None:
    for statement in sqlite_chores.NOTES:
        db.execute(statement)


_VERSION_6 = (
    # What records are found by: one range for each term and label holds what is readable and nothing else.
    """CREATE TABLE terms (
        term INTEGER NOT NULL,
        label INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (term, label, position)
    ) STRICT, WITHOUT ROWID""",
    # The terms of a record once more, as int64 one after the other: they have to be found to be moved or removed.
    # Those of records that are there already are not known (UNFILLED) until the service has read their texts.
    "ALTER TABLE records ADD COLUMN terms BLOB NOT NULL DEFAULT x'0000000000000000'",
    "INSERT INTO terms (term, label, position) SELECT 0, label, position FROM records",
)


def _add_terms(db: sqlite3.Connection) -> None:
    for statement in _VERSION_6:
        db.execute(statement)


#: Terms are others than before, so those of all records are not known.
_VERSION_7 = (
    "DELETE FROM terms",
    "UPDATE records SET terms = x'0000000000000000'",
    "INSERT INTO terms (term, label, position) SELECT 0, label, position FROM records",
)


def _renew_terms(db: sqlite3.Connection) -> None:
    for statement in _VERSION_7:
        db.execute(statement)


Migration = Callable[[sqlite3.Connection], None]

#: From an empty file to the present schema; the version of a database is how many of them it has been through.
#: One that has been released is never changed: a new one is appended.
MIGRATIONS: Sequence[Migration] = (
    _create,
    _add_events,
    _add_quarantine,
    _add_leases,
    _add_notes,
    _add_terms,
    _renew_terms,
)


def is_present(db: sqlite3.Connection, where: str, migrations: Sequence[Migration]) -> bool:
    """Whether the schema is that of this release, inside a transaction of the caller.

    Raises SchemaTooNew for the database of a newer release, StorageError for that of another application.
    """
    return not _pending(db, where, migrations)


def migrate(db: sqlite3.Connection, where: str, migrations: Sequence[Migration]) -> None:
    """Bring the schema up to date, inside the write transaction of the caller; same errors as `is_present`."""
    steps = _pending(db, where, migrations)
    for step in steps:
        step(db)
    if steps:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")


def _pending(db: sqlite3.Connection, where: str, migrations: Sequence[Migration]) -> Sequence[Migration]:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM main.sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or found or tables):
        raise StorageError(f"{where}: this is the SQLite database of another application; give a path of its own")
    known = len(migrations)
    if found > known:
        raise SchemaTooNew(
            f"{where}: the database has schema version {found}, this release of taxii-server knows versions up to"
            f" {known}: start the newer release that wrote it"
        )
    return migrations[found:]
