"""How the MongoDB deployment is."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Any

import pymongo
from pymongo.errors import OperationFailure

from taxii_server.errors import SchemaTooNew, StorageError, StorageUnavailable
from taxii_server.storage.health import Health, ReplicaSet, Vitals
from taxii_server.storage.mongo_connection import Connection, Document
from taxii_server.storage.mongo_schema import SCHEMA_VERSION


class MongoHealth(Health):
    """The deployment that a connection leads to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self, timeout_s: float) -> None:
        with self._connection.call() as database, pymongo.timeout(timeout_s):
            hello = database.client.admin.command("hello")
            found = database["meta"].find_one({"_id": "schema"})
        where = self._connection.where
        if not hello.get("isWritablePrimary"):
            raise StorageUnavailable(f"MongoDB at {where}: no primary that can be written")
        version = None if found is None else int(found["version"])
        if version is None or version < SCHEMA_VERSION:
            raise StorageError(f"MongoDB at {where}: the schema is older than this release; restart the server")
        if version > SCHEMA_VERSION:
            raise SchemaTooNew(f"MongoDB at {where}: schema {version}, this release knows {SCHEMA_VERSION}")

    def vitals(self, timeout_s: float) -> Vitals:
        with self._connection.call() as database, pymongo.timeout(timeout_s):
            members: list[Document] = []
            oplog_s = None
            # A login that may only use its own database (readWrite) sees neither: clusterMonitor is the role for that.
            with suppress(OperationFailure):
                members = database.client.admin.command("replSetGetStatus")["members"]
            with suppress(OperationFailure):
                oplog_s = _oplog_s(database.client.local["oplog.rs"])
        return Vitals(replica_set=replica_set_of(members, oplog_s))


def replica_set_of(members: list[Document], oplog_s: float | None) -> ReplicaSet:
    """What a `replSetGetStatus` says of its members."""
    states = Counter(str(each["stateStr"]) for each in members)
    applied = {str(each["name"]): each["optimeDate"] for each in members if each["stateStr"] == "SECONDARY"}
    newest = max((each["optimeDate"] for each in members if each["stateStr"] == "PRIMARY"), default=None)
    return ReplicaSet(states, {} if newest is None else _behind(newest, applied), oplog_s)


def _behind(newest: datetime, applied: dict[str, datetime]) -> dict[str, float]:
    return {name: max(0.0, (newest - when).total_seconds()) for name, when in applied.items()}


def _oplog_s(oplog: Any) -> float | None:
    ends = [oplog.find_one({}, {"ts": 1}, sort=[("$natural", order)]) for order in (1, -1)]
    if None in ends:
        return None
    first, last = (end["ts"].time for end in ends)
    return float(last - first)
