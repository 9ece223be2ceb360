"""The condition of a database, for whoever runs it: looked at from outside, nothing is made or migrated.

`Store.prepare` brings a database to the present schema; this says beforehand which one it has, and what the machines
behind it say of themselves.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from taxii_server.errors import StorageUnavailable
from taxii_server.storage.sqlite_schema import APPLICATION_ID, MIGRATIONS

#: How long the members of a replica set that were not heard of yet are waited for.
_DISCOVERY_S = 3.0
_HEADER_BYTES = 100


@dataclass(frozen=True, slots=True)
class Condition:
    """What a database says of itself.

    `schema` is its version, None when there is no database of ours yet; `known` the one of this release. `product` is
    what runs it. `clock_us` is its own clock at the moment (µs), None where it has none of its own. `free_bytes` of
    `total_bytes` are free where it keeps its files; None: it does not say. `members` is each node of a replica set with
    whether it answers; empty where there are none. `is_foreign`: the database of another application.
    """

    product: str
    schema: int | None
    known: int
    clock_us: int | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    members: Sequence[tuple[str, bool]] = ()
    is_foreign: bool = False


def is_made(path: Path) -> bool:
    """Whether there is an SQLite database at this path, of whomever. Raises OSError when that cannot be told."""
    return _header(path) != b"" or _has_log(path)


def why_not_ours(path: Path) -> str:
    """Why what is at this path is no database of ours and cannot become one; empty where it can, or nobody can tell.

    Looked at without SQLite, which would make files beside it.
    """
    try:
        if path.exists() and not path.is_file():
            return "this is no file"
        header = _header(path)
        if not header or _has_log(path):
            return ""  # what is not in the file yet says whose it is
    except OSError:
        return ""
    if len(header) < _HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        return "this is no database"
    is_used = any(header[40:44] + header[60:64] + header[68:72])
    is_other = is_used and int.from_bytes(header[68:72]) != APPLICATION_ID
    return "this is the SQLite database of another application" if is_other else ""


def _header(path: Path) -> bytes:
    """The first bytes of the file; none when there is no file. At 40: changes of its schema, 60: user_version, 68:
    application_id (SQLite file format, 1.3)."""
    try:
        with path.open("rb") as stream:
            return stream.read(_HEADER_BYTES)
    except FileNotFoundError:
        return b""


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def sqlite_condition(path: Path) -> Condition:
    """The condition of an SQLite file, also when there is none yet. Raises StorageUnavailable for one that fails."""
    product, known = f"SQLite {sqlite3.sqlite_version}", len(MIGRATIONS)
    if not path.exists():
        return Condition(product, None, known)
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise StorageUnavailable(f"{path}: {error}") from error
    if application != APPLICATION_ID:
        return Condition(product, None, known, is_foreign=bool(application or version or tables))
    return Condition(product, int(version), known)


def mongo_condition(url: str) -> Condition:
    """The condition of a MongoDB deployment and of the database that the URL names.

    Raises StorageUnavailable when no primary answers within the driver's time.
    """
    # Imported here: who runs on SQLite does not wait for the driver.
    from taxii_server.storage.mongo_connection import Connection
    from taxii_server.storage.mongo_schema import SCHEMA_VERSION

    connection = Connection(url, timeout_s=10, write_timeout_s=10, event_listeners=())
    try:
        with connection.call() as database:
            hello = database.client.admin.command("hello")
            sizes = database.command("dbStats")
            version = database.client.server_info()["version"]
            found = database["meta"].find_one({"_id": "schema"})
            named = sorted({*hello.get("hosts", ()), *hello.get("passives", ())})
            deadline = time.monotonic() + _DISCOVERY_S
            while True:
                described = database.client.topology_description.server_descriptions()
                answers = {f"{host}:{port}" for (host, port), each in described.items() if each.is_server_type_known}
                if answers.issuperset(named) or time.monotonic() > deadline:
                    break
                time.sleep(0.1)
        return Condition(
            product=f"MongoDB {version}",
            schema=None if found is None else int(found["version"]),
            known=SCHEMA_VERSION,
            clock_us=round(hello["localTime"].replace(tzinfo=UTC).timestamp() * 1_000_000),
            # Nothing is said of a database that does not exist yet.
            free_bytes=int(sizes["fsTotalSize"] - sizes["fsUsedSize"]) if sizes.get("fsTotalSize") else None,
            total_bytes=int(sizes["fsTotalSize"]) if sizes.get("fsTotalSize") else None,
            members=[(name, name in answers) for name in named],
        )
    finally:
        connection.close()
