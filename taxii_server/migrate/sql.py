"""A database of somebody else, by URL, for reading: SQLite with the standard library, others through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from taxii_server.migrate.old import SourceError

Row = dict[str, Any]
_SQLITE = "sqlite:///"
_MORE = "reading {} needs more: pip install 'taxii-server[migrate]'"
_MAGIC = b"SQLite format 3\0"


class Sql:
    """One database. `dialect` is SQLAlchemy's name of its kind: sqlite, postgresql, mysql."""

    def __init__(self, url: str) -> None:
        self.dialect = "sqlite"
        self._file: Path | None = None
        if url.startswith(_SQLITE):
            self._file = Path(url.removeprefix(_SQLITE))
        elif "://" not in url:
            self._file = Path(url)
        if self._file is not None:
            _require_sqlite(self._file)
        else:
            self._engine, self.dialect = _engine(url)

    def rows(self, statement: str) -> Iterator[Row]:
        """The rows of a SELECT, one after the other. Raises SourceError."""
        yield from self._rows_of_file(self._file, statement) if self._file else self._rows_of_engine(statement)

    def tables(self) -> set[str]:
        """The names of its tables."""
        if self._file:
            return {row["name"] for row in self.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        import sqlalchemy

        try:
            return set(sqlalchemy.inspect(self._engine).get_table_names())
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise SourceError(_told(error)) from error

    @staticmethod
    def _rows_of_file(file: Path, statement: str) -> Iterator[Row]:
        try:
            # Opened to read: whatever is done here, nothing is written, not even by accident.
            uri = f"file:{quote(str(file.absolute()))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as db, closing(db.cursor()) as cursor:
                cursor.execute(statement)
                names = [column[0] for column in cursor.description]
                for row in cursor:
                    yield dict(zip(names, row, strict=True))
        except sqlite3.Error as error:
            raise SourceError(f"{file}: {error}") from error

    def _rows_of_engine(self, statement: str) -> Iterator[Row]:
        import sqlalchemy

        try:
            with self._engine.connect() as connection:
                options = {"postgresql_readonly": True} if self.dialect == "postgresql" else {}
                found = connection.execution_options(stream_results=True, **options).execute(sqlalchemy.text(statement))
                for row in found.yield_per(500).mappings():
                    yield dict(row)
                connection.rollback()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise SourceError(_told(error)) from error

    def close(self) -> None:
        """Let go of its connections."""
        if self._file is None:
            self._engine.dispose()


def _require_sqlite(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            is_one = stream.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise SourceError(
            f"{file}: cannot be read: {error.strerror}. A database is named by its URL, such as "
            "sqlite:////var/lib/opentaxii/data.db (four slashes before an absolute path) or postgresql://..."
        ) from error
    if not is_one:
        raise SourceError(f"{file}: not an SQLite database")


#: The driver of each kind that the extra brings: whatever driver the URL of the old server names, this one reads.
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}


def _engine(url: str) -> tuple[Any, str]:
    try:
        import sqlalchemy
    except ImportError as error:
        raise SourceError(_MORE.format(url.partition("://")[0])) from error
    try:
        parts = sqlalchemy.make_url(url)
        kind = parts.drivername.partition("+")[0]
        engine = sqlalchemy.create_engine(parts.set(drivername=_DRIVERS.get(kind, parts.drivername)))
    except ImportError as error:
        raise SourceError(_MORE.format(kind)) from error
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise SourceError("this is not the URL of a database, such as postgresql://user@host/opentaxii") from error
    return engine, engine.dialect.name


def _told(error: Exception) -> str:
    """What the driver says, without the link and the statement that SQLAlchemy adds."""
    return f"the database cannot be read: {str(getattr(error, 'orig', None) or error).strip()}"
