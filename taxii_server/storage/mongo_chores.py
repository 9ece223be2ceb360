"""Leases, notes and old documents in the MongoDB database of the store."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bson import Int64
from pymongo.errors import DuplicateKeyError

from taxii_server.storage.chores import Chores
from taxii_server.storage.mongo_connection import Connection
from taxii_server.storage.mongo_statuses import sweep

COLLECTION = "leases"
NOTES = "memos"


class MongoChores(Chores):
    """The collections of the store. `now` gives µs since 1970."""

    def __init__(self, connection: Connection, now: Callable[[], int]) -> None:
        self._connection = connection
        self._now = now

    def take(self, name: str, holder: str, duration_us: int, *, renew: bool = False) -> bool:
        now = self._now()
        free: list[dict[str, Any]] = [{"until": {"$lte": Int64(now)}}]
        if renew:
            free.append({"holder": holder})
        taken = {"$set": {"holder": holder, "until": Int64(now + duration_us)}}
        with self._connection.call() as database:
            try:
                database[COLLECTION].update_one({"_id": name, "$or": free}, taken, upsert=True)
            except DuplicateKeyError:  # somebody has it
                return False
        return True

    def give_back(self, name: str, holder: str) -> None:
        with self._connection.call() as database:
            database[COLLECTION].delete_one({"_id": name, "holder": holder})

    def note(self, name: str, text: str) -> None:
        with self._connection.call() as database:
            if text:
                database[NOTES].replace_one({"_id": name}, {"text": text}, upsert=True)
            else:
                database[NOTES].delete_one({"_id": name})

    def notes(self, prefix: str = "") -> dict[str, str]:
        with self._connection.call() as database:
            found = database[NOTES].find({"_id": {"$regex": f"^{re.escape(prefix)}"}}, sort=[("_id", 1)])
            return {row["_id"]: row["text"] for row in found}

    def forget_statuses(self) -> int:
        with self._connection.call() as database:
            return sweep(database, self._now())

    def forget_catalogs(self, before: int) -> int:
        with self._connection.call() as database:
            newest = database["catalog"].find_one({}, {"_id": 1}, sort=[("_id", -1)])
            later = database["catalog"].find_one({"applied": {"$gte": Int64(before)}}, {"_id": 1}, sort=[("_id", 1)])
            if newest is None:
                return 0
            first = min(newest["_id"], (later or newest)["_id"])
            return database["catalog"].delete_many({"_id": {"$lt": first - 1}}).deleted_count
