"""The storage contract. Two stores implement it, one suite (tests/storage/contract.py) proves both.

Positions
    A record's position is its `date_added`: microseconds since 1970 (UTC), unique in the store and
    strictly increasing **in commit order**. Once a reader has seen position p, no record will ever
    appear at or below p. That is why a position is taken inside the write transaction, under the
    one clock of the store, and never before it. Positions are multiples of POSITION_UNIT in uneven steps, so
    that a gap in what a reader sees says nothing about what it may not see. A clock that steps back does not
    matter: the next position is max(now, last) plus a step. A draft that another server had may want an older place:
    it gets the first free one at or after it, behind `last` like everything else, and the clock stays there.

Events
    A record may get further places in the order, for audiences that can read it from some moment on (policy design,
    C20). An event takes a band of positions for them from the clock, in the transaction that makes it true, and tells
    about itself in the log. Its entries are (place, record) pairs that never change; the records stay as they are.

Statuses
    A write may bring the status resource of the POST that ends with it: the one is there if and only if the other is.
    It is made when the positions are known, for the version of an observable is its position.

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
from typing import Protocol

from taxii_server.errors import CatalogMoved
from taxii_server.model import (
    AppliedCatalog,
    Credential,
    Draft,
    EventPlan,
    LogEntry,
    Page,
    PageQuery,
    Record,
    StoredStatus,
    StoreState,
)
from taxii_server.storage.chores import Chores
from taxii_server.storage.health import Health
from taxii_server.storage.inspection import Inspection
from taxii_server.storage.ledger import LedgerStore
from taxii_server.storage.positions import NEXT
from taxii_server.storage.quarantine import Quarantine
from taxii_server.storage.whole import Whole
from taxii_server.times import format_position, instant_key


class Inside(Protocol):
    """What an event may look at inside the transaction that it belongs to."""

    log_length: int
    #: epoch of the catalog in force, 0 without one
    epoch: int

    def records(self, query: PageQuery) -> list[Record]:
        """The records of a page, as `Store.page` gives them."""

    def referrers(self, ids: Collection[str]) -> list[Record]:
        """As `Store.referrers`."""

    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        """As `Store.lookup`."""


#: What stores write in the place of terms that are not known. Terms of objects are greater (stix/terms.py).
UNFILLED = 0

#: Gets the transaction when all of its plan is written, says what else to write. May be called again, as a planner.
EventPlanner = Callable[[Inside], EventPlan | None]
#: Gets the positions of the plan's insertions, and makes the status of the write. May be called again, as a planner.
StatusPlanner = Callable[[Sequence[int]], StoredStatus]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one write transaction does: deletions, label changes, insertions in this order, the event, the status."""

    inserts: Sequence[tuple[Draft, int]] = ()
    relabels: Mapping[int, int] = field(default_factory=dict)
    deletes: Collection[int] = ()
    event: EventPlanner | None = None
    #: kept with what is written; where nothing else is, it is not either
    status: StatusPlanner | None = None

    def is_empty(self) -> bool:
        """Whether it writes nothing. A status alone is no reason to write: `save_status` is for that."""
        return not (self.inserts or self.relabels or self.deletes or self.event)

    def event_at(self) -> int:
        """Where the event wants to stand: right behind the insertions when all of them want older places than the
        present, so that it is no reason to give up those of the writes to come. See positions.py."""
        return NEXT if self.inserts and all(draft.at for draft, _ in self.inserts) else 0


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
    #: Told how many calls of `write` shared each transaction. A seam for whoever counts; does nothing without one.
    wrote_together: Callable[[int], object] = staticmethod(lambda count: None)

    @property
    @abstractmethod
    def ledger(self) -> LedgerStore:
        """The entries of the disclosure ledger of this database."""

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
        holds at the commit. An empty plan writes nothing, its status neither; what its planner saw is durable on a
        majority then, too. A draft without a version gets its position, as TAXII timestamp, as version and version_key.
        """

    @abstractmethod
    def page(self, query: PageQuery) -> Page:
        """The first `limit` records after `after` that satisfy the query, ascending position, with the horizon.

        One storage command (a few where labels times terms are too many for one), one point in time.
        Cost does not depend on how many records come before
        `after`, nor on records whose label is not asked for where `labels` is short.
        """

    @abstractmethod
    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        """All records of these ids in the whole store, without content, ascending position. One storage command."""

    @abstractmethod
    def records_at(
        self, positions: Collection[int], *, content: bool = True, limit_bytes: int = 0
    ) -> tuple[list[Record], bool]:
        """The records at these positions that are there, in the order asked, and whether `limit_bytes` cut them short
        (as in PageQuery). One storage command."""

    @abstractmethod
    def referrers(self, ids: Collection[str]) -> list[Record]:
        """The records, without content, that refer to one of these ids, ascending position. Reads no others."""

    @abstractmethod
    def band(self, event: int, classes: Collection[int], after: int, limit: int) -> list[tuple[int, int]]:
        """The first `limit` entries after this place of the event with this log number, of these classes.

        Pairs of place and record position, ascending place. One storage command.
        """

    @abstractmethod
    def places(self, event: int, classes: Collection[int], positions: Collection[int]) -> dict[int, int]:
        """Where the records at these positions stand in the event, as far as they have an entry of these classes.

        Record position -> place. One storage command.
        """

    @abstractmethod
    def present(self) -> int:
        """The present (µs) as this store sees it. No command."""

    @abstractmethod
    def clock(self) -> int:
        """The last position that was taken: nothing will ever appear at or below it. One cheap command."""

    @abstractmethod
    def tick(self) -> int:
        """Advance the clock to the present and return it, so that a reader may rely on it."""

    @abstractmethod
    def save_aliases(self, originals: Mapping[str, str]) -> None:
        """Remember of which object each of these ids of derived copies is one. Idempotent."""

    @abstractmethod
    def aliases(self, ids: Collection[str]) -> dict[str, str]:
        """Those of the ids that are copies of an object: copy id -> object id."""

    @abstractmethod
    def count_by_label(self) -> dict[int, int]:
        """How many records carry each label. For operators; never part of an answer to a partner."""

    @abstractmethod
    def unfilled(self, limit: int) -> list[Record]:
        """Up to `limit` records, with content, whose terms are not known: those of a database of an older release."""

    @abstractmethod
    def fill(self, terms: Mapping[int, Sequence[int]]) -> None:
        """Say what these records are found by, by position, where it is not known. Safe beside writers."""

    @property
    @abstractmethod
    def quarantine(self) -> Quarantine:
        """What guards held back; no part of the records (see quarantine.py)."""

    @property
    @abstractmethod
    def whole(self) -> Whole:
        """All of the database as rows, out and in: backup and restore (see whole.py)."""

    @property
    @abstractmethod
    def inspection(self) -> Inspection:
        """The records as a check looks at them (see inspection.py)."""

    @property
    @abstractmethod
    def chores(self) -> Chores:
        """Leases of background work, and what is cleared away (see chores.py)."""

    @property
    @abstractmethod
    def health(self) -> Health:
        """Whether the database can be used, and how it is (see health.py)."""

    # ---- statuses

    @abstractmethod
    def save_status(self, status: StoredStatus) -> None:
        """Keep a status resource, which comes with no write, until it expires."""

    @abstractmethod
    def status(self, status_id: str, now: int) -> StoredStatus | None:
        """The status resource, or None when it is unknown or expired at `now` (µs)."""

    @abstractmethod
    def recent_statuses(self, limit: int, head_bytes: int) -> list[StoredStatus]:
        """The newest `limit` statuses (the last to expire first), each with the first `head_bytes` of its body."""

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
    def apply_catalog(
        self,
        files: Mapping[str, str],
        digest: str,
        applied_by: str,
        expected_epoch: int | None = None,
        *,
        moment: int = 0,
        event: EventPlanner | None = None,
    ) -> AppliedCatalog:
        """Make these texts the configuration in force, judged for this moment, and write the event with it.

        The moment never goes back. Does nothing when the newest one has the same digest and moment. Whatever the
        event planner raises ends the transaction with nothing written.

        While there is no record, the event does not move the clock on to the present, so that what is moved in from
        another server can still stand where it stood.

        With `expected_epoch` only while that one is in force (0: none ever was): raises CatalogMoved otherwise,
        whatever the digest, so that of two changes that started from the same configuration none is lost.
        """

    @abstractmethod
    def catalog(self) -> AppliedCatalog | None:
        """The configuration in force, or None in a new database."""


def placed(draft: Draft, label: int, position: int) -> Record:
    """The record that a draft becomes with this label at this position."""
    version = format_position(position) if draft.version is None else draft.version
    return Record(
        position,
        draft.collection,
        draft.submitter,
        draft.id,
        draft.type,
        draft.spec_version,
        version,
        instant_key(version) if draft.version_key is None else draft.version_key,
        label,
        draft.digest,
        draft.hard_refs,
        draft.soft_refs,
        draft.content,
    )


def grouped(query: PageQuery, *, lacks_terms: bool) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The labels of a query by the terms that their records may have, under () those without such a condition.

    `lacks_terms`: records whose terms are not known have to be there as well.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    asked = query.terms or {}
    for label in sorted(set(query.labels)):
        terms = asked.get(label)
        if terms is None:
            groups.setdefault((), []).append(label)
        elif terms:
            groups.setdefault((UNFILLED, *terms) if lacks_terms else terms, []).append(label)
    return {terms: tuple(labels) for terms, labels in groups.items()}


def require_epoch(newest: AppliedCatalog | None, expected: int | None) -> None:
    """Raise CatalogMoved unless the newest configuration is the expected one (see Store.apply_catalog)."""
    if expected is not None and expected != (newest.epoch if newest else 0):
        raise CatalogMoved("another configuration was put in force meanwhile; try again")


def group_by_id(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by id, keeping their order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.id, []).append(record)
    return found


def within(records: Iterable[Record], limit_bytes: int, limit: int) -> tuple[tuple[Record, ...], bool]:
    """The records up to the byte limit (0: none), and whether it cut them short before `limit` of them were there.

    Reads no further than that.
    """
    kept: list[Record] = []
    size = 0
    for record in records:
        kept.append(record)
        size += len(record.content)
        if limit_bytes and size > limit_bytes:
            return tuple(kept), len(kept) < limit
    return tuple(kept), False
