"""The store on MongoDB (6.0 or newer, a replica set): for several machines and for large collections.

Why one clock document
    Every write starts by changing it (see mongo_connection), so writes are serial over all processes, and a
    position, taken inside the transaction, follows the order in which records become visible. Readers never
    wait for it. It also holds the epochs and the length of the log, so `state` reads one document.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bson import Int64
from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.monitoring import CommandListener

from taxii_server.errors import StorageError
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
from taxii_server.storage import mongo_events as events
from taxii_server.storage import mongo_log as log
from taxii_server.storage import mongo_pages as pages
from taxii_server.storage import mongo_schema as schema
from taxii_server.storage import mongo_statuses as statuses_of
from taxii_server.storage import mongo_writes as steps
from taxii_server.storage.base import EventPlanner, Planner, Store, group_by_id, require_epoch
from taxii_server.storage.ledger import LedgerStore
from taxii_server.storage.mongo_chores import MongoChores
from taxii_server.storage.mongo_connection import ALL_AT_ONCE, CLOCK, NOT_PREPARED, Connection, Document
from taxii_server.storage.mongo_events import InsideMongo
from taxii_server.storage.mongo_health import MongoHealth
from taxii_server.storage.mongo_inspection import MongoInspection
from taxii_server.storage.mongo_ledger import MongoLedger
from taxii_server.storage.mongo_quarantine import MongoQuarantine
from taxii_server.storage.mongo_spool import SpooledLedger
from taxii_server.storage.mongo_whole import MongoWhole
from taxii_server.storage.positions import NEXT, positions_after, rounded_up
from taxii_server.storage.together import WRITES_TOGETHER, Joined, Together, Write, join, share_no_id, with_those_alone
from taxii_server.times import now_position


class MongoStore(Store):
    """The database that the URL names, `taxii_server` when it names none.

    Connects at first use, once in each process: a store may be made before a server forks its workers.
    `timeout_s` limits a read, `write_timeout_s` a write with the time it waits for its turn. Up to `writes_together`
    writes of this process that wait for their turn share one transaction (together.py). With `ledger_spool`, entries of
    the ledger go by way of this folder (mongo_spool.py).
    Raises ConfigError when the URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], int] = now_position,
        timeout_s: float = 5.0,
        write_timeout_s: float = 30.0,
        event_listeners: Sequence[CommandListener] = (),
        writes_together: int = WRITES_TOGETHER,
        ledger_spool: Path | None = None,
    ) -> None:
        self._now = now
        self._connection = Connection(
            url, timeout_s=timeout_s, write_timeout_s=write_timeout_s, event_listeners=event_listeners
        )
        self._writes = Together(
            self._write_all,
            wait_s=write_timeout_s,
            most=writes_together,
            fits=share_no_id,
            ran=lambda count: self.wrote_together(count),
        )
        self._statuses = Together(self._save_statuses, wait_s=timeout_s)
        self._sweeps = statuses_of.Sweeps()
        ledger = MongoLedger(self._connection)
        self._ledger = SpooledLedger(ledger, ledger_spool, self._mark) if ledger_spool else ledger
        #: whether there may be records whose terms are not known: nobody adds any
        self._may_lack_terms = True

    @property
    def ledger(self) -> LedgerStore:
        return self._ledger

    # ---- life

    def prepare(self) -> None:
        with self._connection.call(patient=True) as database:
            schema.prepare(database)

    def close(self) -> None:
        self._ledger.close()
        self._connection.close()

    def state(self) -> StoreState:
        clock = self._meta(CLOCK)
        self._connection.require_era(clock)
        return StoreState(clock["catalog_epoch"], clock["credentials_epoch"], clock["log"], int(clock["position"]))

    def secret(self) -> bytes:
        return bytes(self._meta("secret")["value"])

    def _mark(self) -> str:
        """A name of this database that tells nothing of its secret."""
        return hashlib.sha256(b"taxii ledger spool" + self.secret()).hexdigest()[:16]

    def _meta(self, key: str) -> Document:
        with self._connection.call() as database:
            found = database["meta"].find_one({"_id": key})
        if found is None:
            raise StorageError(NOT_PREPARED)
        return found

    # ---- the log

    def log_after(self, number: int) -> list[LogEntry]:
        with self._connection.call() as database:
            rows = database["log"].find({"_id": {"$gt": number}}, batch_size=ALL_AT_ONCE).sort("_id", ASCENDING)
            return [LogEntry(row["_id"], row["kind"], row["payload"]) for row in rows]

    def append_log(self, entries: Sequence[tuple[str, str]]) -> list[LogEntry]:
        keys = [log.key_of(kind, payload) for kind, payload in entries]
        with self._connection.call() as database:
            numbers = log.numbers_of(database, set(keys))
        if len(numbers) < len(set(keys)):
            wanted = dict(zip(keys, entries, strict=True))
            numbers = self._connection.transaction(
                lambda database, session, clock: log.append_missing(database, session, clock, wanted)
            )
        return [LogEntry(numbers[key], *entry) for key, entry in zip(keys, entries, strict=True)]

    # ---- records

    def write(self, ids: Collection[str], planner: Planner) -> tuple[int, ...]:
        return self._writes.do(Write(tuple(ids), planner))

    def _write_all(self, writes: Sequence[Write], limit_s: float) -> list[tuple[int, ...] | Exception]:
        """One transaction for all of these, and one for each with an event."""
        until = time.monotonic() + limit_s
        wanted = [id_ for write in writes for id_ in write.ids]

        def run(
            database: Database[Document], session: ClientSession, clock: Document
        ) -> tuple[Joined, tuple[int, ...]]:
            joined = join(writes, group_by_id(events.records_of(database, session, wanted)), clock["log"])
            plan = joined.plan
            if plan.is_empty():
                # Committed all the same: what was found there ("already present") is on a majority then, too.
                return joined, ()
            steps.clear(database, session, plan)
            positions = positions_after(clock["position"], self._now(), [draft.at for draft, _ in plan.inserts])
            if plan.inserts:
                self._may_lack_terms |= any(draft.terms is None for draft, _ in plan.inserts)
                steps.insert(database, session, plan, positions)
            inside = InsideMongo(database, session, clock)
            steps.move_clock(inside, self._write_event(inside, plan.event, positions, plan.event_at()))
            if joined.status_planners:
                statuses_of.insert(database, session, joined.statuses(positions))
            self.before_commit()
            return joined, positions

        joined, positions = self._connection.transaction(run, limit_s)
        if joined.status_planners:
            self._sweep()
        return with_those_alone(joined.results(positions), joined.alone, writes, self._write_all, until)

    def _write_event(
        self, inside: InsideMongo, event: EventPlanner | None, positions: Sequence[int], at: int
    ) -> Document:
        """Write the event, if there is one, behind everything that there is, where it wants to stand; what changes of
        the clock document."""
        planned = None if event is None else event(inside)
        if planned is None:
            return {"position": Int64(positions[-1])} if positions else {}
        last = positions[-1] if positions else inside.clock["position"]
        (base,) = positions_after(last, self._now(), [at])
        length, end = events.write_event(inside, planned, base, positions, log.key_of)
        return {"position": Int64(end), "log": length}

    def present(self) -> int:
        return self._now()

    def clock(self) -> int:
        return int(self._meta(CLOCK)["position"])

    def tick(self) -> int:
        def run(database: Database[Document], session: ClientSession, clock: Document) -> int:
            present = rounded_up(max(self._now(), clock["position"]))
            moved = {"$set": {"position": Int64(present)}}
            database["meta"].update_one({"_id": CLOCK}, moved, session=session)
            return present

        return self._connection.transaction(run)

    def page(self, query: PageQuery) -> Page:
        lacks_terms = query.terms is not None and self._lacks_terms()
        parts = pages.parts(query, lacks_terms=lacks_terms)
        if parts:
            return pages.read_in_parts(self._connection, query, parts)
        return pages.read_at_once(self._connection, query, lacks_terms=lacks_terms)

    def lookup(self, ids: Collection[str]) -> dict[str, list[Record]]:
        wanted = list(ids)
        return group_by_id(
            self._connection.snapshot(lambda database, session: events.records_of(database, session, wanted))
        )

    def records_at(
        self, positions: Collection[int], *, content: bool = True, limit_bytes: int = 0
    ) -> tuple[list[Record], bool]:
        wanted = list(positions)
        return self._connection.snapshot(
            lambda database, session: events.records_at(database, session, wanted, content, limit_bytes)
        )

    def referrers(self, ids: Collection[str]) -> list[Record]:
        wanted = list(ids)
        return self._connection.snapshot(lambda database, session: events.referrers(database, session, wanted))

    def band(self, event: int, classes: Collection[int], after: int, limit: int) -> list[tuple[int, int]]:
        with self._connection.call() as database:
            return events.band(database, event, classes, after, limit)

    def places(self, event: int, classes: Collection[int], positions: Collection[int]) -> dict[int, int]:
        if not positions:
            return {}
        with self._connection.call() as database:
            return events.places(database, event, classes, positions)

    def save_aliases(self, originals: Mapping[str, str]) -> None:
        with self._connection.call() as database:
            events.save_aliases(database, originals)

    def aliases(self, ids: Collection[str]) -> dict[str, str]:
        with self._connection.call() as database:
            return events.aliases(database, ids)

    def count_by_label(self) -> dict[int, int]:
        count: list[Document] = [{"$match": {"L": {"$gt": 0}}}, {"$group": {"_id": "$L", "count": {"$sum": 1}}}]

        def read(database: Database[Document], session: ClientSession) -> dict[int, int]:
            rows = database["records"].aggregate(count, session=session, hint=schema.BY_LABEL, batchSize=ALL_AT_ONCE)
            return {row["_id"]: row["count"] for row in rows}

        return self._connection.snapshot(read, patient=True)

    def unfilled(self, limit: int) -> list[Record]:
        return self._connection.snapshot(lambda database, session: steps.unfilled(database, session, limit))

    def fill(self, terms: Mapping[int, Sequence[int]]) -> None:
        if terms:
            with self._connection.call() as database:
                steps.fill(database, terms)

    def _lacks_terms(self) -> bool:
        """Whether some records have to be looked at because what they are found by is not known."""
        if self._may_lack_terms:
            with self._connection.call() as database:
                self._may_lack_terms = steps.any_unfilled(database)
        return self._may_lack_terms

    @property
    def quarantine(self) -> MongoQuarantine:
        return MongoQuarantine(self._connection, self._now)

    @property
    def whole(self) -> MongoWhole:
        return MongoWhole(self._connection)

    @property
    def inspection(self) -> MongoInspection:
        return MongoInspection(self._connection)

    @property
    def chores(self) -> MongoChores:
        return MongoChores(self._connection, self._now)

    @property
    def health(self) -> MongoHealth:
        return MongoHealth(self._connection)

    # ---- statuses

    def save_status(self, status: StoredStatus) -> None:
        self._statuses.do(status)

    def _save_statuses(self, statuses: Sequence[StoredStatus], limit_s: float) -> list[None]:
        sweeps = self._sweeps.are_due()
        with self._connection.call() as database:
            statuses_of.save(database, statuses, self._now() if sweeps else None)
        if sweeps:
            self._sweeps.are_done()
        return [None] * len(statuses)

    def _sweep(self) -> None:
        """Remove the expired statuses now and then, outside of transactions. What was written stays so without it."""
        if self._sweeps.are_due():
            with suppress(StorageError), self._connection.call() as database:
                statuses_of.sweep(database, self._now())
            self._sweeps.are_done()

    def status(self, status_id: str, now: int) -> StoredStatus | None:
        with self._connection.call() as database:
            return statuses_of.find(database, status_id, now)

    def recent_statuses(self, limit: int, head_bytes: int) -> list[StoredStatus]:
        with self._connection.call() as database:
            return statuses_of.recent(database, limit, head_bytes)

    # ---- credentials

    def save_credential(self, credential: Credential) -> None:
        document = asdict(credential)
        key = document.pop("id")

        def run(database: Database[Document], session: ClientSession, clock: Document) -> None:
            database["credentials"].replace_one({"_id": key}, document, upsert=True, session=session)
            _next_epoch(database, session, "credentials_epoch")

        self._connection.transaction(run)

    def revoke_credential(self, credential_id: str) -> bool:
        def run(database: Database[Document], session: ClientSession, clock: Document) -> bool:
            revoked = {"$set": {"revoked": True}}
            result = database["credentials"].update_one({"_id": credential_id}, revoked, session=session)
            if result.matched_count == 0:
                session.abort_transaction()
                return False
            _next_epoch(database, session, "credentials_epoch")
            return True

        return self._connection.transaction(run)

    def credentials(self) -> list[Credential]:
        with self._connection.call() as database:
            rows = list(database["credentials"].find(batch_size=ALL_AT_ONCE))
        found = [Credential(id=row.pop("_id"), **row) for row in rows]
        return sorted(found, key=lambda one: (one.partner, one.id))

    # ---- the catalog in force

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
        def run(database: Database[Document], session: ClientSession, clock: Document) -> AppliedCatalog:
            newest = _newest_catalog(database, session)
            require_epoch(newest, expected_epoch)
            judged = moment if newest is None else max(moment, newest.moment)
            if newest is not None and (newest.digest, newest.moment) == (digest, judged):
                session.abort_transaction()
                return newest
            inside = InsideMongo(database, session, clock)
            is_empty = database["records"].find_one({"_id": {"$gte": Int64(0)}}, {"_id": 1}, session=session) is None
            steps.move_clock(inside, self._write_event(inside, event, (), NEXT if is_empty else 0))
            epoch = clock["catalog_epoch"] + 1
            applied = AppliedCatalog(epoch, digest, self._now(), applied_by, dict(files), judged)
            database["catalog"].insert_one(
                {
                    "_id": epoch,
                    "digest": digest,
                    "applied": Int64(applied.applied),
                    "applied_by": applied_by,
                    # Pairs: a file name may have dots, which are awkward in names of BSON fields.
                    "files": [[name, text] for name, text in files.items()],
                    "moment": Int64(judged),
                },
                session=session,
            )
            _next_epoch(database, session, "catalog_epoch")
            return applied

        return self._connection.transaction(run)

    def catalog(self) -> AppliedCatalog | None:
        with self._connection.call() as database:
            return _newest_catalog(database, None)


def _next_epoch(database: Database[Document], session: ClientSession, name: str) -> None:
    database["meta"].update_one({"_id": CLOCK}, {"$inc": {name: 1}}, session=session)


def _newest_catalog(database: Database[Document], session: ClientSession | None) -> AppliedCatalog | None:
    found = database["catalog"].find_one({}, session=session, sort=[("_id", DESCENDING)])
    if found is None:
        return None
    return AppliedCatalog(
        found["_id"],
        found["digest"],
        int(found["applied"]),
        found["applied_by"],
        dict(found["files"]),
        int(found.get("moment", 0)),
    )
