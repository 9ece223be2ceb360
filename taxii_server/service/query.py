"""What a read asks for, after the web part has checked its form (TAXII 2.1, 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taxii_server.stix.filters import Condition


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """`match[version]`: the union of these choices. The default is the latest version."""

    first: bool = False
    last: bool = False
    every: bool = False
    #: instants (times.instant_key) of single versions
    keys: tuple[str, ...] = ()

    def picks(self, key: str, oldest: str, newest: str) -> bool:
        """Whether a version with this instant is chosen among versions from `oldest` to `newest`."""
        return (
            self.every
            or (self.last and key == newest)
            or (self.first and key == oldest)
            or (bool(self.keys) and key in self.keys)
        )

    def only_keys(self) -> bool:
        """True when nothing but single versions is asked for."""
        return bool(self.keys) and not (self.first or self.last or self.every)


LATEST = VersionChoice(last=True)
EVERY = VersionChoice(every=True)


@dataclass(frozen=True, slots=True)
class Filters:
    """The match fields, ANDed; values within one field are ORed; None means not asked for."""

    ids: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    spec_versions: tuple[str, ...] | None = None
    #: None: not asked for; reads then take the latest version, deletion all of them
    versions: VersionChoice | None = None
    #: the optional filters, by name
    conditions: tuple[Condition, ...] = ()

    @property
    def choice(self) -> VersionChoice:
        """The version choice of a read."""
        return self.versions or LATEST

    def to_json(self) -> dict[str, Any]:
        """The shape that travels in a `next` token; defaults are left out."""
        parts: dict[str, Any] = {}
        if self.ids is not None:
            parts["i"] = self.ids
        if self.types is not None:
            parts["t"] = self.types
        if self.spec_versions is not None:
            parts["s"] = self.spec_versions
        if self.versions is not None:
            choice = self.versions
            parts["v"] = [choice.first, choice.last, choice.every, choice.keys]
        if self.conditions:
            parts["c"] = [[each.name, each.values] for each in self.conditions]
        return parts

    @classmethod
    def from_json(cls, parts: dict[str, Any]) -> Filters:
        """The inverse of to_json."""
        versions = None
        if "v" in parts:
            first, last, every, keys = parts["v"]
            versions = VersionChoice(first, last, every, tuple(keys))
        return cls(
            ids=tuple(parts["i"]) if "i" in parts else None,
            types=tuple(parts["t"]) if "t" in parts else None,
            spec_versions=tuple(parts["s"]) if "s" in parts else None,
            versions=versions,
            conditions=tuple(Condition(name, tuple(values)) for name, values in parts.get("c", ())),
        )


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One page of one resource. `resource` is objects, manifest, object or versions.

    `filters` is None when the request named none (a `next` then brings its own); `limit` None means the server's.
    `only_texts`: of what is found nothing is looked at but texts and places (see PageQuery.only_texts).
    """

    resource: str
    object_id: str | None = None
    filters: Filters | None = None
    added_after: int | None = None
    limit: int | None = None
    next: str | None = None
    content: bool = True
    only_texts: bool = False
