"""All that a database holds, as plain rows, out and in again: what a backup is made of and a restore writes.

Both stores give and take the same rows, so that a backup of one can be restored into the other. What a store can make
itself (indexes, rows that say who refers to what) is no part of them, nor are leases: they belong to running servers.
Every store has one, reached as `store.whole`; one suite (tests/storage/whole_contract.py) proves both.

Values
    int, text, bytes; `refs`: a tuple of ids (or the text as found, when it cannot be read: a backup must not fail
    over a record that `verify` would complain of); `content`: bytes that are JSON texts; `flag`: 0 or 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "text", "maybe", "bytes", "content", "refs", "flag"]
Value = int | str | bytes | tuple[str, ...] | None
Row = tuple[Value, ...]

#: part -> its columns with their kinds, in the order of the rows. The parts in the order in which they are written.
PARTS: Mapping[str, Mapping[str, Kind]] = {
    "log": {"number": "int", "kind": "text", "payload": "text"},
    "records": {
        "position": "int",
        "collection": "text",
        "submitter": "text",
        "id": "text",
        "type": "text",
        "spec_version": "text",
        "version": "text",
        "version_key": "text",
        "label": "int",
        "digest": "bytes",
        "hard_refs": "refs",
        "soft_refs": "refs",
        "content": "content",
    },
    "bands": {
        "event": "int",
        "first": "int",
        "class": "int",
        "last": "int",
        "low": "int",
        "high": "int",
        "entries": "bytes",
    },
    "aliases": {"id": "text", "original": "text"},
    "statuses": {"id": "text", "api_root": "text", "submitter": "text", "body": "content", "expires": "int"},
    "credentials": {
        "id": "text",
        "partner": "text",
        "kind": "text",
        "secret_hash": "text",
        "created": "text",
        "comment": "text",
        "revoked": "flag",
    },
    "catalogs": {
        "epoch": "int",
        "digest": "text",
        "applied": "int",
        "applied_by": "text",
        "files": "text",
        "moment": "int",
    },
    "quarantine": {
        "id": "text",
        "collection": "text",
        "submitter": "text",
        "object_id": "text",
        "type": "text",
        "spec_version": "text",
        "version": "maybe",
        "version_key": "maybe",
        "digest": "bytes",
        "guard": "text",
        "held": "int",
        "state": "text",
        "decided": "int",
        "decided_by": "text",
        "content": "content",
    },
    "ledger": {
        "strand": "text",
        "number": "int",
        "time": "int",
        "kind": "text",
        "partner": "text",
        "object": "text",
        "first": "int",
        "last": "int",
        "facts": "text",
        "items": "bytes",
        "previous": "bytes",
        "hash": "bytes",
    },
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a database knows besides rows: its secret, its clock (the last position taken), the credentials epoch."""

    secret: bytes
    clock: int
    credentials_epoch: int


class Snapshot(ABC):
    """A database at one point in time. Writers go on; what they write is not seen."""

    @abstractmethod
    def facts(self) -> Facts:
        """The facts at that point."""

    @abstractmethod
    def count(self, part: str) -> int:
        """About how many rows the part has: for showing progress."""

    @abstractmethod
    def rows(self, part: str) -> Iterator[Row]:
        """The rows of one of PARTS: log, records and catalogs by their number, the ledger by strand and number."""

    @abstractmethod
    def positions(self) -> Iterator[int]:
        """The positions of the records, ascending, without reading the records."""


class Loading(ABC):
    """A database that is being filled. Nobody uses it before `finish`."""

    @abstractmethod
    def put(self, part: str, rows: Sequence[Row], terms: Sequence[Sequence[int]] | None = None) -> None:
        """Add these rows. `terms`: what each of these records is found by; None: not known (see Draft)."""

    @abstractmethod
    def finish(self, facts: Facts) -> str:
        """Put what was written in place, durably. A sentence about what was there before, or nothing."""


class Whole(ABC):
    """A whole database as rows."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The database as it is now, for as long as the block lasts.

        Raises StorageUnavailable, also in the middle, when the database cannot keep the point in time any longer.
        """

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is no database yet, or nothing but a schema in it, or what a broken-off restore left."""

    @abstractmethod
    def last_position(self) -> int:
        """The clock of the database that is there, 0 when there is none or it cannot be read."""

    @abstractmethod
    def replace(self) -> AbstractContextManager[Loading]:
        """A new database in the place of this one, whatever is there.

        When the block ends without `finish`, an SQLite database is what it was before, and one on MongoDB refuses
        servers until a restore has succeeded. Raises StorageUnavailable while somebody else has the SQLite file open.
        """
