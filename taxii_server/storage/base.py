"""The storage contract. Two stores implement it, one suite (tests/storage/contract.py) proves both.

Positions
    A record's position is its `date_added`: microseconds since 1970 (UTC), unique in the store and
    strictly increasing **in commit order**. Once a reader has seen position p, no record will ever
    appear at or below p. That is why a position is taken inside the write transaction, under the
    one clock of the store, and never before it. Steps are uneven, so that a gap in what a reader
    sees says nothing about what it may not see. A clock that steps back does not matter:
    the next position is max(now, last) plus a step.

The log
    An append-only, gap-free, numbered list of small facts that every worker keeps in memory: labels,
    meanings of marking-definitions, vocabularies. The number of a `label` entry is the label.
    An entry is committed before any record that uses it, and `Page.horizon` lets a reader notice,
    without a command of its own, that it does not know all of the labels it was asked about.

Errors
    Every method raises StorageUnavailable when the database cannot answer in time. No driver error leaves a store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from taxii_server.model import (
    AppliedCatalog,
    Credential,
    Draft,
    LogEntry,
    Page,
    PageQuery,
    Record,
    StoredStatus,
    StoreState,
)
from taxii_server.storage.quarantine import Quarantine


@dataclass(frozen=True, slots=True)
class Plan:
    """What one write transaction does: deletions, then label changes, then insertions in this order."""

    inserts: Sequence[tuple[Draft, int]] = ()
    relabels: Mapping[int, int] = field(default_factory=dict)
    deletes: Collection[int] = ()

    def is_empty(self) -> bool:
        return not (self.inserts or self.relabels or self.deletes)


#: Gets the present records of the ids asked for (without content, by id, ascending position; ids without a
#: record are absent) and the length of the log at this moment of the transaction, and says what to do. Pure: a
#: store may call it again when the transaction is tried again. Whatever it raises ends the transaction with
#: nothing written and reaches the caller of `write`.
Planner = Callable[[Mapping[str, Sequence[Record]], int], Plan]


class Store(ABC):
    """One database. Safe to use from several threads; several processes may open the same one."""

    #: Called inside the write transaction after the positions are taken and before the commit.
    #: A seam for the contract suite, which pauses a writer there. Does nothing in production.
    before_commit: Callable[[], None] = staticmethod(lambda: None)

    # ---- life

    @abstractmethod
    def prepare(self) -> None:
        """Create or migrate the schema. Idempotent. Raises SchemaTooNew for a database of a newer release."""

    @abstractmethod
    def close(self) -> None:
        """Release connections. A closed store is not used again."""

    @abstractmethod
    def state(self) -> StoreState:
        """The epochs and the length of the log, in one cheap command."""

    @abstractmethod
    def secret(self) -> bytes:
        """32 random bytes, made when the database was created: the root of every key of this server."""

    # ---- the log

    @abstractmethod
    def log_after(self, number: int) -> list[LogEntry]:
        """The entries whose number is greater, ascending."""

    @abstractmethod
    def append_log(self, entries: Sequence[tuple[str, str]]) -> list[LogEntry]:
        """The entries for these (kind, payload) pairs, in the order asked; those that were missing are appended.

        Idempotent: a pair has one number for ever, also under concurrent calls.
        """

    # ---- records

    @abstractmethod
    def write(self, ids: Collection[str], planner: Planner) -> tuple[int, ...]:
        """Run one write transaction and return the positions of the plan's insertions, in its order.

        Reads the records of `ids`, calls the planner, applies its plan; all or nothing, durable on a
        majority when it returns. Transactions are serial across all processes, so what the planner saw still
        holds at the commit. An empty plan writes nothing. A draft without a version gets its position,
        as TAXII timestamp, as version and version_key.
        """

    @abstractmethod
    def page(self, query: PageQuery) -> Page:
        """The first `limit` records after `after` that satisfy the query, ascending position, with the horizon.

        One storage command, one point in time. Cost does not depend on how many records come before
        `after`, nor on records whose label is not asked for where `labels` is short.
        """

    @abstractmethod
    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        """All records of these ids in the whole store, without content, ascending position. One storage command."""

    @abstractmethod
    def count_by_label(self) -> dict[int, int]:
        """How many records carry each label. For operators; never part of an answer to a partner."""

    @property
    @abstractmethod
    def quarantine(self) -> Quarantine:
        """What guards held back; no part of the records (see quarantine.py)."""

    # ---- statuses

    @abstractmethod
    def save_status(self, status: StoredStatus) -> None:
        """Keep a status resource until it expires."""

    @abstractmethod
    def status(self, status_id: str, now: int) -> StoredStatus | None:
        """The status resource, or None when it is unknown or expired at `now` (µs)."""

    # ---- credentials

    @abstractmethod
    def save_credential(self, credential: Credential) -> None:
        """Add a credential, or replace the one with the same id. Changes the credentials epoch."""

    @abstractmethod
    def revoke_credential(self, credential_id: str) -> bool:
        """Revoke it; False when there is no such credential. Changes the credentials epoch."""

    @abstractmethod
    def credentials(self) -> list[Credential]:
        """All credentials, revoked ones too, by partner and id."""

    # ---- the catalog in force

    @abstractmethod
    def apply_catalog(self, files: Mapping[str, str], digest: str, applied_by: str) -> AppliedCatalog:
        """Make these texts the configuration in force. Does nothing when the newest one has the same digest."""

    @abstractmethod
    def catalog(self) -> AppliedCatalog | None:
        """The configuration in force, or None in a new database."""


def group_by_id(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by id, keeping their order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.id, []).append(record)
    return found


def within(records: Iterable[Record], query: PageQuery) -> tuple[tuple[Record, ...], bool]:
    """The records up to the byte limit of the query, and whether it cut them short. Reads no further than that."""
    kept: list[Record] = []
    size = 0
    for record in records:
        kept.append(record)
        size += len(record.content)
        if query.limit_bytes and size > query.limit_bytes:
            return tuple(kept), len(kept) < query.limit
    return tuple(kept), False
