"""medallion's memory backend: one JSON file with everything, read as a whole, as medallion itself does.

An object is served when the manifest of its collection has an entry with its id and version; the entry says when it was
added. What has no such entry was never served, and stays behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from taxii_server.migrate import medallion
from taxii_server.migrate.medallion import Config
from taxii_server.migrate.old import OldCollection, OldObject, OldServer, SourceError, Unreadable

#: A property that medallion adds to observables, and takes out before it serves them.
_ADDED = "_date_added"


class MedallionFile:
    """A data file of the memory backend. See old.Source."""

    def __init__(self, document: object, file: Path, config: Config | None) -> None:
        if not isinstance(document, Mapping) or not isinstance(document.get("/discovery"), Mapping):
            raise SourceError(
                f"{file}: not the data of medallion's memory backend (no '/discovery' in it), nor its configuration "
                "(no 'backend' or 'users')"
            )
        self._file = file
        self._roots: list[tuple[str, Mapping[str, Any]]] = [
            (name, root)
            for name, root in document.items()
            if not name.startswith("/") and isinstance(root, Mapping) and isinstance(root.get("information"), Mapping)
        ]
        users = () if config is None else config.users
        self._collections = [
            (name, values) for name, root in self._roots for values in _list(root, "collections", file, name)
        ]
        self._server = medallion.server_of(
            document["/discovery"],
            [(name, root["information"]) for name, root in self._roots],
            [self._collection(name, values, users) for name, values in self._collections],
            config,
        )

    @property
    def server(self) -> OldServer:
        return self._server

    def _collection(self, root: str, values: Mapping[str, Any], users: Any) -> OldCollection:
        found = {medallion.spec_version_of(each) for each in self._objects(root, values)}
        return medallion.collection_of(root, values, users, found)

    def _objects(self, root: str, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return _list(values, "objects", self._file, f"{root}: {values.get('id')}")

    def count(self) -> int:
        return sum(len(self._objects(root, values)) for root, values in self._collections)

    def objects(self) -> Iterator[OldObject | Unreadable]:
        dated: list[tuple[int, int, OldObject]] = []
        for root, values in self._collections:
            yield from self._match(root, values, dated)
        dated.sort(key=lambda each: each[:2])
        for _, _, each in dated:
            yield each

    def _match(
        self, root: str, values: Mapping[str, Any], dated: list[tuple[int, int, OldObject]]
    ) -> Iterator[Unreadable]:
        """Add the objects that are served, with their dates and the places of their manifest entries; the others."""
        id_ = str(values.get("id", ""))
        manifest: dict[tuple[str, object], list[tuple[int, str, Mapping[str, Any]]]] = {}
        for number, listed in enumerate(_list(values, "manifest", self._file, f"{root}: {id_}")):
            key = str(listed.get("id")), _version(listed.get("version"))
            media_type = str(listed.get("media_type", "")).rpartition("=")[2]
            manifest.setdefault(key, []).append((number, media_type, listed))
        for stix in self._objects(root, values):
            own_id = str(stix.get("id"))
            version = medallion.version_of(stix) or stix.get(_ADDED)
            entries = manifest.get((own_id, _version(version)), [])
            fitting = next((each for each in entries if each[1] == medallion.spec_version_of(stix)), None)
            entry = fitting or next(iter(entries), None)
            shown = version if isinstance(version, str) else ""
            if entry is None:
                yield Unreadable(root, id_, own_id, shown, "not in the manifest: the old server did not serve it")
                continue
            if len(entries) > 1:
                entries.remove(entry)
            added = medallion.instant_of(entry[2].get("date_added"))
            if added is None:
                found = entry[2].get("date_added")
                yield Unreadable(root, id_, own_id, shown, f"date_added in the manifest is no time: {found!r}")
                continue
            text = medallion.text_of({key: value for key, value in stix.items() if key != _ADDED})
            dated.append((added, entry[0], OldObject(root, id_, added, own_id, shown, text)))

    def close(self) -> None:
        pass


def read_json(file: Path) -> object:
    """The document in a file. Raises SourceError with the place where it is no JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise SourceError(f"{file}: not JSON: {error}. It has to be a file of medallion, in UTF-8") from error


def _version(value: object) -> object:
    """Versions are the same when they are the same instant."""
    instant = medallion.instant_of(value)
    return value if instant is None else instant


def _list(values: Mapping[str, Any], key: str, file: Path, where: str) -> list[Mapping[str, Any]]:
    found = values.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise SourceError(f"{file}: {where}: {key}: a list of objects is expected")
    return found
