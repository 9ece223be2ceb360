"""OpenTAXII: the tables of its TAXII 2.1 half, and of its accounts, which may lie in a database of their own.

An account reads and writes the collections that its permissions name; an administrator all of them; whoever has no
credentials what is public. Passwords are kept as hashes that only OpenTAXII can check.

Left behind: what TAXII 1 posted, which is no STIX 2, and its jobs, which are about POSTs of the past.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from taxii_server.migrate.medallion import instant_of, text_of
from taxii_server.migrate.old import (
    OldCollection,
    OldObject,
    OldRoot,
    OldServer,
    OldUser,
    SourceError,
    Unreadable,
)
from taxii_server.migrate.sql import Row, Sql

_ROOTS, _COLLECTIONS = "opentaxii_api_root", "opentaxii_collection"
_OBJECTS, _JOBS = "opentaxii_stixobject", "opentaxii_job"
_ACCOUNTS, _BLOCKS = "accounts", "content_blocks"
#: JSON as text, so that no driver rounds a number on the way.
_TEXT = {"postgresql": "CAST(serialized_data AS TEXT)", "mysql": "CAST(serialized_data AS CHAR)"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Whoever has no credentials, in the lists of a collection.
_NOBODY = ""


class OpenTaxii:
    """The database of its persistence API at a URL. See old.Source."""

    def __init__(self, url: str, accounts_url: str | None = None) -> None:
        self._sql = Sql(url)
        tables = self._sql.tables()
        missing = {_ROOTS, _COLLECTIONS, _OBJECTS} - tables
        if missing:
            raise SourceError(
                f"this database has no table {', '.join(sorted(missing))}: it is not that of the TAXII 2.1 half of "
                "OpenTAXII. Its address is `taxii2: persistence_api: parameters: db_connection` in OpenTAXII's "
                "configuration"
            )
        self._server = self._look(tables, accounts_url)

    @property
    def server(self) -> OldServer:
        return self._server

    def _look(self, tables: set[str], accounts_url: str | None) -> OldServer:
        notes: list[str] = []
        accounts = self._accounts(tables, accounts_url, notes)
        permissions = {str(row["username"]): _permissions(row, notes) for row in accounts}
        admins = {str(row["username"]) for row in accounts if row["is_admin"]}
        roots = list(self._sql.rows(f"SELECT * FROM {_ROOTS} ORDER BY title, id"))  # noqa: S608
        public = {_id(row["id"]) for row in roots if row.get("is_public")}
        versions: dict[str, set[str]] = {}
        for row in self._sql.rows(f"SELECT DISTINCT collection_id, spec_version FROM {_OBJECTS}"):  # noqa: S608
            versions.setdefault(_id(row["collection_id"]), set()).add(str(row["spec_version"]))
        collections: list[OldCollection] = []
        for row in self._sql.rows(f"SELECT * FROM {_COLLECTIONS} ORDER BY title, id"):  # noqa: S608
            id_, root = _id(row["id"]), _id(row["api_root_id"])

            def having(right: str, public_too: object, id_: str = id_) -> frozenset[str]:
                names = {name for name in permissions if name in admins or right in permissions[name].get(id_, ())}
                return frozenset({*permissions, _NOBODY} if public_too else names)

            collections.append(
                OldCollection(
                    root=f"taxii2/{root}",
                    id=id_,
                    title=str(row["title"]),
                    description=str(row["description"] or ""),
                    alias=str(row["alias"] or ""),
                    readers=having("read", row["is_public"]),
                    writers=having("write", row["is_public_write"]),
                    viewers=frozenset({*permissions, *([_NOBODY] if root in public else [])}),
                    spec_versions=tuple(sorted(versions.get(id_, set()) & {"2.0", "2.1"} or {"2.1"}, reverse=True)),
                )
            )
        notes += self._left_behind(tables)
        default = next((row for row in roots if row["default"]), roots[0] if roots else None)
        return OldServer(
            kind="opentaxii",
            title=str(default["title"]) if default else "TAXII server",
            description="",
            contact="",
            roots=[
                OldRoot(
                    path=f"taxii2/{_id(row['id'])}",
                    title=str(row["title"]),
                    description=str(row["description"] or ""),
                    is_default=bool(row["default"]),
                )
                for row in roots
            ],
            collections=collections,
            users=[
                OldUser(
                    str(row["username"]),
                    note="an administrator: read and wrote everything" if str(row["username"]) in admins else "",
                )
                for row in accounts
            ],
            notes=notes,
        )

    def _accounts(self, tables: set[str], url: str | None, notes: list[str]) -> list[Row]:
        statement = f"SELECT username, is_admin, _permissions FROM {_ACCOUNTS} ORDER BY username"  # noqa: S608
        if url is None:
            if _ACCOUNTS in tables:
                return list(self._sql.rows(statement))
            notes.append(
                "no accounts are in this database: name theirs with --accounts (`auth_api: parameters: db_connection` "
                "in OpenTAXII's configuration), or nobody can read what is moved in"
            )
            return []
        sql = Sql(url)
        try:
            if _ACCOUNTS not in sql.tables():
                raise SourceError(f"the database of --accounts has no table {_ACCOUNTS}: it is not OpenTAXII's")
            return list(sql.rows(statement))
        finally:
            sql.close()

    def _left_behind(self, tables: set[str]) -> list[str]:
        notes = []
        for table, what in (
            (_JOBS, "status resources of past POSTs"),
            (_BLOCKS, "content blocks of TAXII 1, which are no STIX 2,"),
        ):
            if table in tables:
                count = self._count(table)
                if count:
                    notes.append(f"{count} {what} are left behind")
        return notes

    def _count(self, table: str) -> int:
        (row,) = self._sql.rows(f"SELECT count(*) AS number FROM {table}")  # noqa: S608
        return int(row["number"])

    def count(self) -> int:
        return self._count(_OBJECTS)

    def objects(self) -> Iterator[OldObject | Unreadable]:
        roots = {collection.id: collection.root for collection in self._server.collections}
        content = _TEXT.get(self._sql.dialect, "serialized_data")
        statement = (
            f"SELECT id, collection_id, type, spec_version, date_added, version, {content} AS content "  # noqa: S608
            f"FROM {_OBJECTS} ORDER BY date_added, id, version"
        )
        for row in self._sql.rows(statement):
            collection = _id(row["collection_id"])
            yield _object_of(roots.get(collection, ""), collection, row)

    def close(self) -> None:
        self._sql.close()


def _object_of(root: str, collection: str, row: Row) -> OldObject | Unreadable:
    id_, version = str(row["id"]), str(row["version"] or "")
    added = _microseconds(row["date_added"])
    if added is None:
        return Unreadable(root, collection, id_, version, f"date_added is no time: {row['date_added']!r}")
    try:
        found = row["content"]
        rest = json.loads(found) if isinstance(found, str | bytes) else found
        if not isinstance(rest, Mapping):
            return Unreadable(root, collection, id_, version, "serialized_data is no JSON object")
        head = {"type": row["type"], "spec_version": row["spec_version"], "id": id_}
        text = text_of({**{key: value for key, value in head.items() if value is not None}, **rest})
    except (TypeError, ValueError, RecursionError) as error:
        return Unreadable(root, collection, id_, version, f"serialized_data cannot be read: {error}")
    shown = rest.get("modified", rest.get("created", ""))
    return OldObject(root, collection, added, id_, shown if isinstance(shown, str) else "", text)


def _permissions(row: Row, notes: list[str]) -> dict[str, list[str]]:
    """Collection id -> read, write. What is for TAXII 1 is of another form, and left out."""
    name = row["username"]
    try:
        found: dict[str, Any] = json.loads(row["_permissions"] or "{}")
        return {key.lower(): list(map(str, value)) for key, value in found.items() if isinstance(value, list)}
    except (TypeError, ValueError, AttributeError):
        notes.append(f"the permissions of account '{name}' cannot be read: it gets none")
        return {}


def _id(value: object) -> str:
    """A UUID in its usual form, however the database keeps it."""
    try:
        return str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value)))
    except ValueError:
        return str(value)


def _microseconds(value: object) -> int | None:
    """µs since 1970 of a time in UTC, as a driver gives it or as SQLite keeps it."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)
    text = str(value or "").replace(" ", "T", 1)
    return instant_of(text if text.endswith("Z") or "+" in text else f"{text}Z")
