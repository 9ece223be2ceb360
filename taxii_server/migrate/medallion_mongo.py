"""medallion's MongoDB backend: `discovery_database`, and one database for each API root, named as the root.

It keeps times as floating-point seconds: `created` and `modified` come back as medallion serves them, with three digits
or, where that loses something, six. Nothing else of an object was changed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from taxii_server.migrate import medallion
from taxii_server.migrate.medallion import Config
from taxii_server.migrate.old import OldObject, OldServer, SourceError, Unreadable

_DISCOVERY = "discovery_database"
#: The order in which medallion serves objects of one date.
_ORDER = {"_manifest.date_added": 1, "created": 1, "modified": 1, "_id": 1}
_OWN = ("_id", "_collection_id", "_manifest")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Document = dict[str, Any]


class MedallionMongo:
    """The databases of the MongoDB backend at a URL. See old.Source."""

    def __init__(self, uri: str, config: Config | None) -> None:
        try:
            self._client: MongoClient[Document] = MongoClient(uri, appname="taxii-server migrate")
        except (PyMongoError, ValueError) as error:
            raise _unreadable(error) from error
        try:
            self._names, self._server = self._look(config)
        except PyMongoError as error:
            self.close()
            raise _unreadable(error) from error
        except SourceError:
            self.close()
            raise

    @property
    def server(self) -> OldServer:
        return self._server

    def _look(self, config: Config | None) -> tuple[Sequence[str], OldServer]:
        database = self._client[_DISCOVERY]
        discovery = database["discovery_information"].find_one({}, {"_id": 0})
        roots = list(database["api_root_info"].find({}, {"_id": 0}))
        if discovery is None or not roots:
            raise SourceError(
                f"there is no '{_DISCOVERY}' of medallion 3 at this URL (its discovery_information and api_root_info "
                "are missing or empty). Name the server, without a database; and the user needs the right to read it"
            )
        names = [str(root["_name"]) for root in roots if root.get("_name")]
        # Its discovery document holds the names of the roots; the URLs stand beside them.
        default = str(discovery.get("default", ""))
        by_url = {str(root.get("_url", "")).rstrip("/"): str(root.get("_name")) for root in roots}
        discovery["default"] = by_url.get(default.rstrip("/"), default)
        users = () if config is None else config.users
        collections = [
            medallion.collection_of(name, values, users, self._spec_versions(name, str(values.get("id"))))
            for name in names
            for values in self._client[name]["collections"].find({}, {"_id": 0}).sort("_id", 1)
        ]
        informations = [(str(root["_name"]), root) for root in roots if root.get("_name")]
        return names, medallion.server_of(discovery, informations, collections, config)

    def _spec_versions(self, root: str, collection: str) -> list[str]:
        types = self._client[root]["objects"].distinct("_manifest.media_type", {"_collection_id": collection})
        return [str(each).rpartition("=")[2] for each in types]

    def count(self) -> int:
        try:
            return sum(self._client[name]["objects"].estimated_document_count() for name in self._names)
        except PyMongoError as error:
            raise _unreadable(error) from error

    def objects(self) -> Iterator[OldObject | Unreadable]:
        streams = [self._objects_of(name) for name in self._names]
        yield from heapq.merge(*streams, key=lambda each: each.added if isinstance(each, OldObject) else 0)

    def _objects_of(self, root: str) -> Iterator[OldObject | Unreadable]:
        objects = self._client[root]["objects"]
        try:
            # The dates have no index there: sorted on disk where it does not fit into memory.
            with objects.aggregate([{"$sort": _ORDER}], allowDiskUse=True, batchSize=500) as rows:
                for row in rows:
                    yield _object_of(root, row)
        except PyMongoError as error:
            raise _unreadable(error) from error

    def close(self) -> None:
        self._client.close()


def _unreadable(error: Exception) -> SourceError:
    # What the driver adds is about its own timeouts and what it knows of every server.
    reason = str(error).partition(" (configured timeouts")[0]
    return SourceError(f"the MongoDB of medallion cannot be read: {reason}")


def _object_of(root: str, row: Document) -> OldObject | Unreadable:
    collection, id_ = str(row.get("_collection_id", "")), str(row.get("id", row.get("_id")))
    manifest = row.get("_manifest")
    stix = {key: _served(key, value) for key, value in row.items() if key not in _OWN}
    version = medallion.version_of(stix)
    shown = version if isinstance(version, str) else ""
    if not isinstance(manifest, Mapping):
        return Unreadable(root, collection, id_, shown, "has no _manifest: not written by medallion 3")
    added = _microseconds(manifest.get("date_added"))
    if added is None:
        found = manifest.get("date_added")
        return Unreadable(root, collection, id_, shown, f"_manifest.date_added is no time: {found!r}")
    try:
        return OldObject(root, collection, added, id_, shown, medallion.text_of(stix))
    except (TypeError, ValueError) as error:
        return Unreadable(root, collection, id_, shown, f"holds a value that JSON does not have: {error}")


def _served(key: str, value: Any) -> Any:
    """The value as medallion serves it."""
    if key not in ("created", "modified") or isinstance(value, str):
        return value
    instant = _microseconds(value)
    return value if instant is None else _stix_text(instant)


def _stix_text(us: int) -> str:
    text = (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text if us % 1000 else text[:-3]}Z"


def _microseconds(value: object) -> int | None:
    """µs since 1970, rounded as Python rounds the seconds of a timestamp."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        fraction, whole = math.modf(value)
        return int(whole) * 1_000_000 + round(fraction * 1_000_000)
    return medallion.instant_of(value)
