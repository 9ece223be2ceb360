"""medallion 3: its configuration, and what its two backends have in common.

Everybody with a password may use every collection, as far as the collection's own `can_read` and `can_write` allow.
Passwords stand in the configuration in the clear.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taxii_server.migrate.old import OldCollection, OldRoot, OldServer, OldUser, SourceError
from taxii_server.times import parse_instant

#: Passwords of the examples that come with medallion, and of its default user: everybody knows them.
_PUBLIC = frozenset({"pass", "Password0", "Password1", "Password2"})
_STIX = "application/stix+json;version="


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration file of medallion: its users, and where its backend keeps things (one of the two, or neither)."""

    users: tuple[OldUser, ...]
    filename: Path | None = None
    uri: str | None = None
    notes: tuple[str, ...] = ()


def is_config(document: object) -> bool:
    """Whether a JSON document is a configuration, not the data of the memory backend."""
    return isinstance(document, Mapping) and "/discovery" not in document and bool({"backend", "users"} & set(document))


def read_config(document: Mapping[str, Any], file: Path) -> Config:
    """The configuration in this document. Raises SourceError for a backend that is none of the two of medallion 3."""
    backend = document.get("backend", {})
    if not isinstance(backend, Mapping):
        raise SourceError(f"{file}: backend: a table is expected")
    class_name = str(backend.get("module_class", ""))
    filename = uri = None
    if backend.get("uri"):
        uri = str(backend["uri"])
    elif backend.get("filename"):
        filename = _beside(file, str(backend["filename"]))
    elif class_name not in ("", "MemoryBackend", "MongoBackend"):
        raise SourceError(
            f"{file}: backend: '{class_name}' is not one that can be read; known are MemoryBackend with a filename and "
            "MongoBackend with a uri"
        )
    users = document.get("users")
    if users is None:
        # What medallion itself does then.
        note = f"{file} names no users: medallion then lets in everybody as 'user' with the password 'pass'"
        return Config((_user("user", "pass"),), filename, uri, (note,))
    if not isinstance(users, Mapping):
        raise SourceError(f"{file}: users: a table of name and password is expected")
    return Config(tuple(_user(str(name), password) for name, password in sorted(users.items())), filename, uri)


def _beside(file: Path, name: str) -> Path:
    """The data file that a configuration names: as medallion finds it from where one stands, else beside the file."""
    here = Path(name)
    return here if here.is_absolute() or here.exists() else file.parent / name


def _user(name: str, password: object) -> OldUser:
    if not isinstance(password, str) or not password:
        return OldUser(name, None, "has no password that could be kept")
    note = "its password is one of medallion's own examples: everybody knows it" if password in _PUBLIC else ""
    return OldUser(name, password, note)


def server_of(
    discovery: Mapping[str, Any],
    roots: Iterable[tuple[str, Mapping[str, Any]]],
    collections: Iterable[OldCollection],
    config: Config | None,
) -> OldServer:
    """The old server: its discovery document, its roots (name and information), its collections."""
    default = str(discovery.get("default", "")).rstrip("/").rpartition("/")[2]
    return OldServer(
        kind="medallion",
        title=str(discovery.get("title") or "TAXII Server"),
        description=str(discovery.get("description") or ""),
        contact=str(discovery.get("contact") or ""),
        roots=[
            OldRoot(
                path=name,
                title=str(information.get("title") or name),
                description=str(information.get("description") or ""),
                max_content_length=_whole(information.get("max_content_length")),
                is_default=name == default,
            )
            for name, information in roots
        ],
        collections=list(collections),
        users=() if config is None else config.users,
        notes=() if config is None else config.notes,
    )


def collection_of(
    root: str, values: Mapping[str, Any], users: Iterable[OldUser], found: Iterable[str]
) -> OldCollection:
    """A collection resource as it is stored. `found`: the STIX versions of its objects, as far as they are known."""
    names = frozenset(user.name for user in users)
    announced = {
        str(each).replace(" ", "").removeprefix(_STIX)
        for each in values.get("media_types") or ()
        if str(each).replace(" ", "").startswith(_STIX)
    }
    versions = sorted(({*announced, *found} & {"2.0", "2.1"}) or {"2.1"}, reverse=True)
    return OldCollection(
        root=root,
        id=str(values.get("id", "")),
        title=str(values.get("title") or values.get("id", "")),
        description=str(values.get("description") or ""),
        alias=str(values.get("alias") or ""),
        # Its views ask whether these are False.
        readers=names if values.get("can_read") is not False else frozenset(),
        writers=names if values.get("can_write") is not False else frozenset(),
        viewers=names,
        spec_versions=tuple(versions),
    )


def spec_version_of(stix: Mapping[str, Any]) -> str:
    """The STIX version that medallion takes an object for."""
    if "created" not in stix and "modified" not in stix:
        return "2.1"
    return str(stix.get("spec_version", "2.0"))


def version_of(stix: Mapping[str, Any]) -> Any:
    """The value of an object that medallion takes for its version, None for an observable."""
    return stix.get("modified", stix.get("created"))


def instant_of(value: object) -> int | None:
    """µs since 1970 of a timestamp in text, None when it is none."""
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except ValueError:
        return None


def text_of(stix: Mapping[str, Any]) -> bytes:
    """The object as JSON: numbers as they are, also those that others would round. Raises TypeError, ValueError."""
    try:
        return json.dumps(stix, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: as an escape, which is refused by its name
        return json.dumps(stix, separators=(",", ":")).encode()


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
