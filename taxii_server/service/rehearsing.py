"""A store on which a change of policy can be tried: it reads a real one and keeps in memory what is written.

Why a store and not a calculation of its own: the label book and the relabelling then run on it as they would on the
real one, so what is rehearsed is what would happen. Nothing here calls a method of the real store that writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from taxii_server.model import (
    AppliedCatalog,
    Credential,
    LogEntry,
    Page,
    PageQuery,
    Record,
    StoredStatus,
    StoreState,
)
from taxii_server.storage.base import EventPlanner, Planner, Store
from taxii_server.storage.ledger import LedgerStore


class Rehearsal(Store):
    """The store as it is now, with labels and vocabularies of its own on top.

    Costs memory for each record that gets another label (some 100 bytes). A label that somebody makes in the real
    store meanwhile is not seen, nor are its records.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = store.log_after(0)
        self._numbers = {(entry.kind, entry.payload): entry.number for entry in self._log}
        #: entries up to here are the real ones
        self._real = len(self._log)
        self._counts = Counter({n: count for n, count in store.count_by_label().items() if n <= self._real})
        #: position -> label, of the records that were labelled anew; the labels that they have in the real store
        self._moved: dict[int, int] = {}
        self._left: set[int] = set()

    # ---- the log

    def log_after(self, number: int) -> list[LogEntry]:
        return self._log[number:]

    def append_log(self, entries: Sequence[tuple[str, str]]) -> list[LogEntry]:
        for entry in entries:
            if entry not in self._numbers:
                self._numbers[entry] = len(self._log) + 1
                self._log.append(LogEntry(len(self._log) + 1, *entry))
        return [self._log[self._numbers[entry] - 1] for entry in entries]

    def state(self) -> StoreState:
        return replace(self._store.state(), log_length=len(self._log))

    # ---- records

    def write(self, ids: Collection[str], planner: Planner) -> tuple[int, ...]:
        present = self.lookup(ids)
        plan = planner(present, len(self._log))
        if plan.inserts or plan.deletes:
            self._refuse()
        for records in present.values():
            for record in records:
                label = plan.relabels.get(record.position, record.label)
                if label != record.label:
                    if record.position not in self._moved:
                        self._left.add(record.label)
                    self._moved[record.position] = label
                    self._counts[record.label] -= 1
                    self._counts[label] += 1
        return ()

    def page(self, query: PageQuery) -> Page:
        wanted = frozenset(query.labels)
        stored = {label for label in wanted if label <= self._real} | self._left
        # Terms are for the labels that are asked for, not for those that the records have in the store.
        asked = replace(query, labels=tuple(sorted(stored)), terms=None)
        found: list[Record] = []
        while True:
            page = self._store.page(asked)
            found += [record for record in self._relabelled(page.records) if record.label in wanted]
            if len(found) >= query.limit or len(page.records) < query.limit:
                return Page(tuple(found[: query.limit]), len(self._log))
            asked = replace(asked, after=page.records[-1].position)

    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        found = {id_: self._relabelled(records) for id_, records in self._store.lookup(ids).items()}
        return {id_: records for id_, records in found.items() if records}

    def count_by_label(self) -> dict[int, int]:
        return {label: count for label, count in self._counts.items() if count > 0 and label <= len(self._log)}

    def _relabelled(self, records: Iterable[Record]) -> list[Record]:
        """The records that were there at the start, with the labels that they have here."""
        return [
            record._replace(label=self._moved[record.position]) if record.position in self._moved else record
            for record in records
            if record.label <= self._real
        ]

    # ---- read through

    def records_at(
        self, positions: Collection[int], *, content: bool = True, limit_bytes: int = 0
    ) -> tuple[list[Record], bool]:
        records, cut = self._store.records_at(positions, content=content, limit_bytes=limit_bytes)
        return self._relabelled(records), cut

    def referrers(self, ids: Collection[str]) -> list[Record]:
        return self._relabelled(self._store.referrers(ids))

    def band(self, event: int, classes: Collection[int], after: int, limit: int) -> list[tuple[int, int]]:
        return self._store.band(event, classes, after, limit)

    def places(self, event: int, classes: Collection[int], positions: Collection[int]) -> dict[int, int]:
        return self._store.places(event, classes, positions)

    def present(self) -> int:
        return self._store.present()

    def clock(self) -> int:
        return self._store.clock()

    def aliases(self, ids: Collection[str]) -> dict[str, str]:
        return self._store.aliases(ids)

    def secret(self) -> bytes:
        return self._store.secret()

    def status(self, status_id: str, now: int) -> StoredStatus | None:
        return self._store.status(status_id, now)

    def recent_statuses(self, limit: int, head_bytes: int) -> list[StoredStatus]:
        return self._store.recent_statuses(limit, head_bytes)

    def credentials(self) -> list[Credential]:
        return self._store.credentials()

    def catalog(self) -> AppliedCatalog | None:
        return self._store.catalog()

    # ---- not here

    @property
    def quarantine(self) -> NoReturn:
        self._refuse()

    @property
    def ledger(self) -> LedgerStore:
        self._refuse()

    @property
    def inspection(self) -> NoReturn:
        self._refuse()

    @property
    def chores(self) -> NoReturn:
        self._refuse()

    @property
    def health(self) -> NoReturn:
        self._refuse()

    @property
    def whole(self) -> NoReturn:
        self._refuse()

    def prepare(self) -> None:
        """Nothing: the real store is left as it is."""

    def close(self) -> None:
        """Nothing: who opened the real store closes it."""

    def save_status(self, status: StoredStatus) -> None:
        self._refuse()

    def save_credential(self, credential: Credential) -> None:
        self._refuse()

    def revoke_credential(self, credential_id: str) -> bool:
        self._refuse()

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
        self._refuse()

    def unfilled(self, limit: int) -> list[Record]:
        self._refuse()

    def fill(self, terms: Mapping[int, Sequence[int]]) -> None:
        self._refuse()

    def tick(self) -> int:
        self._refuse()

    def save_aliases(self, originals: Mapping[str, str]) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotImplementedError("a rehearsal only labels records anew")
