"""The quarantine of a store: objects that a guard held back at POST, until somebody releases or drops them.

They are kept apart from the records: no page, lookup or label knows of them, so nothing that reads records can show
one. Every store has one, reached as `store.quarantine`; one suite (tests/storage/quarantine_contract.py) proves both.

States
    held -> releasing -> released: a release first takes the entry, then stores the record, then closes the entry. A
    crash in between leaves it "releasing", which a second release finishes; nobody can drop it meanwhile. A release
    that does not succeed goes back to "held".
    held -> dropped. A released and a dropped entry have no content any more; what they were about stays on record.

Errors
    As in base.py: StorageUnavailable when the database cannot answer in time, and no driver error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["held", "releasing", "released", "dropped"]
STATES: tuple[State, ...] = ("held", "releasing", "released", "dropped")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object version that is, or was, held back.

    `version` and `version_key` as in model.Draft; `digest` is that of the draft. `held` and `decided` are µs since
    1970. `decided_by` says in words who decided. `content` is empty unless it was asked for, and after the decision.
    """

    id: str
    collection: str
    submitter: str
    object_id: str
    type: str
    spec_version: str
    version: str | None
    version_key: str | None
    digest: bytes
    guard: str
    held: int = 0
    state: State = "held"
    decided: int = 0
    decided_by: str = ""
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class EntryQuery:
    """Which entries a page may hold. None means no condition. `after`: time and id of the last entry before it."""

    limit: int
    collection: str | None = None
    submitter: str | None = None
    states: tuple[State, ...] = STATES
    after: tuple[int, str] | None = None


class Quarantine(ABC):
    """The entries of one database. Safe to use from several threads and processes."""

    @abstractmethod
    def hold(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries under which these objects are kept, in this order, without content; durable when it returns.

        The same content of the same object, posted by the same partner to the same collection, has one entry for
        ever, whatever its state: what is there already is returned as it is. `held` is the time of the store.
        """

    @abstractmethod
    def find(self, collection: str, submitter: str, object_ids: Collection[str]) -> list[Entry]:
        """The entries of these objects by this partner in this collection, oldest first, without content."""

    @abstractmethod
    def entry(self, entry_id: str) -> Entry | None:
        """The entry with its content, or None."""

    @abstractmethod
    def page(self, query: EntryQuery) -> list[Entry]:
        """The first `limit` entries, oldest first (by time, then id), without content."""

    @abstractmethod
    def move(
        self, entry_id: str, sources: Collection[State], state: State, by: str, *, erase: bool = False
    ) -> Entry | None:
        """The entry after it went into this state; None, and nothing is changed, unless it was in one of `sources`.

        Of two callers at once, one gets None when the other took the entry out of `sources`. Sets who decided and
        when. `erase`: its content is gone for good. Returned without content.
        """
