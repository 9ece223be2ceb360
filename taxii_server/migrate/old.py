"""What an old server is, whatever it was made with: API roots, collections, users, and objects in its own order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from taxii_server.errors import TaxiiServerError


class SourceError(TaxiiServerError):
    """The old server's files or database cannot be read, or are not what they were said to be."""


@dataclass(frozen=True, slots=True)
class OldRoot:
    """An API root. `path` is what stands between the slashes of its URL: `trustgroup1`, `taxii2/UUID`."""

    path: str
    title: str
    description: str = ""
    max_content_length: int = 0
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class OldCollection:
    """A collection under the root at `root`. The lists hold user names; an empty name is whoever has no credentials.

    `viewers`: who learned that it exists. `spec_versions`: the STIX versions it holds or announced.
    """

    root: str
    id: str
    title: str
    description: str = ""
    alias: str = ""
    readers: frozenset[str] = frozenset()
    writers: frozenset[str] = frozenset()
    viewers: frozenset[str] = frozenset()
    spec_versions: tuple[str, ...] = ("2.1",)


@dataclass(frozen=True, slots=True)
class OldUser:
    """Somebody with credentials. `password` when the old server kept it in the clear; `note` for the report."""

    name: str
    password: str | None = field(default=None, repr=False)
    note: str = ""


@dataclass(frozen=True, slots=True)
class OldObject:
    """One stored object version: `text` as the old server served it (JSON, UTF-8), `added` its date_added (µs)."""

    root: str
    collection: str
    added: int
    id: str
    version: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the old store that is no object the old server could serve, and why it is left behind."""

    root: str
    collection: str
    id: str
    version: str
    why: str


@dataclass(frozen=True, slots=True)
class OldServer:
    """All that an old server declared, without its objects. `kind` is medallion or opentaxii."""

    kind: str
    title: str
    description: str
    contact: str
    roots: Sequence[OldRoot]
    collections: Sequence[OldCollection]
    users: Sequence[OldUser]
    notes: Sequence[str] = ()


class Source(Protocol):
    """The store of an old server. Nothing is ever written to it."""

    @property
    def server(self) -> OldServer:
        """What it declared."""

    def count(self) -> int:
        """About how many objects `objects` gives."""

    def objects(self) -> Iterator[OldObject | Unreadable]:
        """Every stored version over all collections, ascending date_added, equal ones in the old server's own order.

        Unreadable ones come anywhere. Raises SourceError.
        """

    def close(self) -> None:
        """Let go of it."""
