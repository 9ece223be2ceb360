"""How the SQLite files are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.storage.health import Health, Vitals
from taxii_server.storage.sqlite_connection import Database
from taxii_server.storage.sqlite_schema import Migration, is_present

#: Less room than this on the disk: the next write may fail in the middle.
MIN_FREE_BYTES = 16 * 1024 * 1024


class SQLiteHealth(Health):
    """The file of the records and that of the ledger, in this order."""

    def __init__(self, databases: Sequence[Database], migrations: Sequence[Migration]) -> None:
        self._databases = databases
        self._migrations = migrations

    def check(self, timeout_s: float) -> None:
        records = self._databases[0]
        for database in self._databases:
            if not os.access(database.path, os.R_OK | os.W_OK):
                raise StorageUnavailable(f"{database.path}: is not there, or cannot be read and written by this user")
            if database.is_replaced():
                raise StorageUnavailable(f"{database.path}: the file was removed or replaced; restart the server")
        if not os.access(records.path.parent, os.W_OK):
            raise StorageUnavailable(f"{records.path.parent}: cannot be written, and SQLite keeps its log there")
        free = self._free_bytes()
        if free < MIN_FREE_BYTES:
            raise StorageUnavailable(f"{records.path.parent}: {free} bytes are left on the disk")
        with records.connection() as connection, records.reading(connection) as db:
            if not is_present(db, str(records.path), self._migrations):
                raise StorageError(f"{records.path}: the schema is older than this release; restart the server")

    def vitals(self, timeout_s: float) -> Vitals:
        sizes: dict[str, int] = {}
        for name, database in zip(("records", "ledger"), self._databases, strict=True):
            for suffix in ("", "-wal"):
                path = database.path.with_name(database.path.name + suffix)
                sizes[name + suffix] = path.stat().st_size if path.exists() else 0
        return Vitals(file_bytes=sizes, disk_free_bytes=self._free_bytes())

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._databases[0].path.parent).free
        except OSError as error:
            raise StorageUnavailable(f"{self._databases[0].path.parent}: {error.strerror}") from error
