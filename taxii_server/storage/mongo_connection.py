"""One MongoDB deployment: a client per process, serial transactions, snapshot reads, errors in our words.

Why the clock document
    Every transaction starts by changing it. Two transactions at once therefore conflict at their first command,
    in whatever process they run, and the loser starts again on what the winner committed. Transactions are
    serial, so positions and log numbers taken inside them are in commit order.

Why writers end the transactions of others
    A process that is killed inside a transaction leaves the clock document locked until the server gives that
    transaction up: 60 to 90 s by default (measured: 89.7 s). A writer that waits therefore ends transactions of this
    database in which nothing has happened for `ABANDONED_S`. One that was alive after all starts again.

Why the driver looks at the servers more often than by default
    A primary that stands still (a machine that is stopped, a cable that is pulled) answers nothing and breaks nothing.
    With the defaults the driver finds out after 30 s; every writer stood still for all of them, although another
    primary had been elected after 10. Besides, the driver keeps the time of its looks, up to 20 s of them, and refuses
    whatever has less time than they took: a server that came back was refused work for some 25 s more (measured).

Why the database has an era
    A process knows what the numbers of labels mean. In a database that a restore put in the place of the first one
    they mean something else, and what is hidden would be given away. The clock document and the marker (mongo_schema)
    name the era of the database, which a restore changes; a process that meets another era than before answers nothing
    from then on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from random import SystemRandom
from typing import Any, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from taxii_server.errors import ConfigError, Problem, StorageError, StorageUnavailable

Document = dict[str, Any]
T = TypeVar("T")

DEFAULT_DATABASE = "taxii_server"
ALL_AT_ONCE = 1_000_000  # rows per batch; the server cuts a reply at 16 MB anyway
CLOCK = "clock"
NOT_PREPARED = "the database is not prepared: run prepare() first"
REPLACED = (
    "another database was put in the place of the one that this process began with, as `taxii-server restore` does:"
    " restart the server"
)
NEEDS_REPLICA_SET = (
    "the store needs a replica set (one node is enough): start mongod with --replSet NAME"
    " and run rs.initiate() once in mongosh"
)

#: How long a transaction may rest between two commands before another writer ends it.
ABANDONED_S = 5.0

_DURABLE = WriteConcern("majority", j=True)
_SNAPSHOT_GONE = frozenset({239, 246})  # SnapshotTooOld; SnapshotUnavailable, for a moment after an index is made
#: TransactionTooLargeForCache: so a server says, too, that has no room for the moment as its disk does not keep up.
_NO_ROOM = 388
#: What a server says that stops, steps down, has just started, or could not do it in time: the driver marks only
#: those of commands that it would have repeated itself.
_PASSING = frozenset(
    {6, 7, 24, 43, 50, 64, 89, 91, 112, 134, 175, 189, 237, 251, 262, 9001, 10058, 10107, 11600, 11601, 11602}
    | {13435, 13436, 14031}  # ... and not enough room on the disk
    | {_NO_ROOM}
    | _SNAPSHOT_GONE
)
_WAIT_S = 0.02
_ABORT_S = 1.0
_PATIENCE_S = 60.0
#: How long the driver looks for a primary, waits for a connection or for the answer to a look, and how often it looks.
#: A look must take less than a read may.
_DRIVER_MS = {"serverSelectionTimeoutMS": 3000, "connectTimeoutMS": 3000, "heartbeatFrequencyMS": 5000}
_PASSING_LABELS = ("TransientTransactionError", "UnknownTransactionCommitResult", "RetryableWriteError")
_random = SystemRandom()


class _Process:
    """What must not be shared with a forked process: the client and the lock around transactions."""

    def __init__(self, client: MongoClient[Document]) -> None:
        self.client = client
        # Reads what a majority has, writes durably on a majority. Made once: that takes as long as encoding a query.
        self.database = client.get_default_database(
            DEFAULT_DATABASE,
            read_concern=ReadConcern("majority"),
            write_concern=_DURABLE,
            read_preference=ReadPreference.PRIMARY,
        )
        self.turn = threading.Lock()


class Connection:
    """The database that a MongoDB URL names (`taxii_server` when it names none).

    Nothing is connected before the first use. Reads end after `timeout_s`, transactions with all their
    retries after `write_timeout_s`. The driver waits as `_DRIVER_MS` says unless the URL says otherwise.
    Raises ConfigError for a URL that the driver cannot read.
    """

    def __init__(
        self, url: str, *, timeout_s: float, write_timeout_s: float, event_listeners: Sequence[CommandListener]
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._write_timeout_s = write_timeout_s
        self._listeners = list(event_listeners)
        self._processes: dict[int, _Process] = {}
        self._closed = False
        #: of the database when it was first looked at; None: it was not yet
        self._era: str | None = None
        self._is_replaced = False
        self.where, _, database = url.partition("://")[2].rpartition("@")[2].partition("?")[0].partition("/")
        #: What the server lists as the application: tells the transactions of this database from those of others.
        self.app_name = f"taxii-server/{database or DEFAULT_DATABASE}"
        try:
            if not url.startswith("mongodb+srv://"):  # reading that one asks the name servers: later
                parse_uri(url)
        except (PyMongoError, ValueError):
            # The driver quotes parts of the URL, which may be parts of the password.
            problem = Problem("", "store", "not a MongoDB URL: mongodb://HOST:PORT/DATABASE?replicaSet=NAME")
            raise ConfigError([problem]) from None

    def close(self) -> None:
        """Close the client of this process. Whoever still asks, a thread in the background, does not open another."""
        self._closed = True
        process = self._processes.pop(os.getpid(), None)
        if process is not None:
            process.client.close()

    def database(self) -> Database[Document]:
        """The database: reads what a majority has, writes durably on a majority."""
        return self._process().database

    def require_era(self, found: Document) -> None:
        """Raise StorageUnavailable, now and ever after, when this document is of another era than before.

        It is the clock or the marker. What was read together with it must not be used.
        """
        # A database that was made before there were eras is of the empty one.
        era = found.get("era", "")
        if self._era is None:
            self._era = era
        elif era != self._era:
            self._is_replaced = True
            raise StorageUnavailable(f"MongoDB at {self.where}: {REPLACED}")

    def begin_era(self, era: str) -> None:
        """What this process does from now on is meant for this era: it has begun it."""
        self._era = era

    @contextmanager
    def call(self, *, patient: bool = False, limit_s: float | None = None) -> Iterator[Database[Document]]:
        """The database for single commands: `timeout_s` for all of them, our errors instead of the driver's.

        `patient`: for what operators wait for, a minute at least. `limit_s`: in place of both.
        """
        with self._translated():
            self._await_primary()
            with pymongo.timeout(self._limit_s(patient) if limit_s is None else limit_s):
                yield self.database()

    @contextmanager
    def unhurried(self) -> Iterator[Database[Document]]:
        """The database for what takes as long as it takes, as a backup does; our errors instead of the driver's."""
        with self._translated():
            self._await_primary()
            yield self.database()

    def snapshot(self, read: Callable[[Database[Document], ClientSession], T], *, patient: bool = False) -> T:
        """What `read` returns; all it reads with this session is of one point in time.

        Without a snapshot, a scan that yields while a record commits or changes its label could step over it.
        """

        def attempt(database: Database[Document]) -> T:
            with database.client.start_session(snapshot=True) as session:
                return read(database, session)

        return self._at_one_time(attempt, patient)

    def find(self, command: Document) -> tuple[list[Document], bool]:
        """The documents of the first reply to a find command, all of one point in time, and whether there are more.

        As `snapshot` for one command, tried once more when the connection breaks. The command says by itself that it
        wants a snapshot: without a session and a cursor of the driver's a poll takes a tenth less, a page of 1,000 a
        seventh (bench/RESULTS.md).
        """

        def attempt(database: Database[Document]) -> tuple[list[Document], bool]:
            at_once = {**command, "readConcern": {"level": "snapshot"}}
            try:
                cursor = database.command(at_once)["cursor"]
            except ServerSelectionTimeoutError:
                raise
            except ConnectionFailure:
                # The driver repeats no commands but its own. A primary that steps down is such an error, too.
                cursor = database.command(at_once)["cursor"]
            if cursor["id"]:
                with suppress(PyMongoError):  # the server ends it in the end
                    database.command({"killCursors": command["find"], "cursors": [cursor["id"]]})
            return cursor["firstBatch"], bool(cursor["id"])

        return self._at_one_time(attempt)

    def _at_one_time(self, attempt: Callable[[Database[Document]], T], patient: bool = False) -> T:
        """What `attempt` returns; tried again where the point in time that it wanted is gone."""
        with self.call(patient=patient) as database:
            deadline = time.monotonic() + self._limit_s(patient)
            while True:
                try:
                    return attempt(database)
                except OperationFailure as error:
                    if error.code not in _SNAPSHOT_GONE or time.monotonic() + _WAIT_S > deadline:
                        raise
                time.sleep(_WAIT_S)

    def _limit_s(self, patient: bool) -> float:
        return max(self._timeout_s, _PATIENCE_S) if patient else self._timeout_s

    def transaction(
        self, body: Callable[[Database[Document], ClientSession, Document], T], limit_s: float | None = None
    ) -> T:
        """What `body` returns, after its commit. Serial over all processes; durable on a majority.

        `body` gets the clock document as the transaction found it and may be called again. It may abort
        the transaction itself, and whatever else it raises aborts it and reaches the caller.
        Raises StorageUnavailable when there was no turn, or no commit, within `limit_s`, else `write_timeout_s`.
        """
        limit_s = self._write_timeout_s if limit_s is None else limit_s
        deadline = time.monotonic() + limit_s
        process = self._process()
        # Threads of one process wait here in peace; only processes have to try again.
        if not process.turn.acquire(timeout=limit_s):
            raise StorageUnavailable(f"MongoDB at {self.where}: no turn to write in {limit_s:g} s")
        try:
            wait_s = 0.001
            look_at = time.monotonic() + ABANDONED_S
            while True:
                try:
                    with self._translated():
                        return self._attempt(process.client, body, deadline)
                except StorageUnavailable as error:
                    if not _may_be_repeated(error.__cause__) or time.monotonic() + wait_s > deadline:
                        raise
                if time.monotonic() > look_at:
                    self._end_abandoned(process.client)
                    look_at = time.monotonic() + 1
                time.sleep(_random.uniform(0, wait_s))
                wait_s = min(2 * wait_s, _WAIT_S)
        finally:
            process.turn.release()

    def _attempt(
        self,
        client: MongoClient[Document],
        body: Callable[[Database[Document], ClientSession, Document], T],
        deadline: float,
    ) -> T:
        self._await_primary()
        database = self.database()
        with client.start_session() as session:
            try:
                with pymongo.timeout(max(0.001, deadline - time.monotonic())):
                    session.start_transaction(ReadConcern("snapshot"), _DURABLE, ReadPreference.PRIMARY)
                    # It must really change, or two transactions would not conflict: hence the counter.
                    clock = database["meta"].find_one_and_update({"_id": CLOCK}, {"$inc": {"turn": 1}}, session=session)
                    if clock is None:
                        raise StorageError(NOT_PREPARED)
                    self.require_era(clock)
                    result = body(database, session, clock)
                    if session.in_transaction:
                        _commit(session, deadline)
                    return result
            except BaseException:
                # Outside of the timeout, which may be over: an abort that is not sent leaves the clock
                # document locked until the server ends the transaction (after 60 s by default).
                if session.in_transaction:
                    with pymongo.timeout(_ABORT_S):
                        session.abort_transaction()
                raise

    def _end_abandoned(self, client: MongoClient[Document]) -> None:
        """End the resting transactions of this database. Needs no privilege for those of the same login."""
        resting = {
            "type": "idleSession",
            "appName": self.app_name,
            "transaction.timeInactiveMicros": {"$gte": int(ABANDONED_S * 1_000_000)},
        }
        look: list[Document] = [{"$currentOp": {"allUsers": False, "idleSessions": True}}, {"$match": resting}]
        # Without success it is the server that ends them, later.
        with suppress(PyMongoError), pymongo.timeout(self._timeout_s):
            sessions = [{"id": found["lsid"]["id"]} for found in client.admin.aggregate(look)]
            if sessions:
                client.admin.command("killSessions", sessions)

    def _await_primary(self) -> None:
        """Give up early when no server is there: within pymongo.timeout the driver would look for one to the end."""
        client = self._process().client
        if not client.topology_description.has_writable_server():
            with pymongo.timeout(client.options.server_selection_timeout):
                client.admin.command("ping")

    def _process(self) -> _Process:
        if self._is_replaced:
            raise StorageUnavailable(f"MongoDB at {self.where}: {REPLACED}")
        pid = os.getpid()
        process = self._processes.get(pid)
        if process is None:
            if self._closed:
                raise StorageUnavailable(f"MongoDB at {self.where}: the store is closed")
            # A client inherited over a fork stays in the dict untouched: its sockets belong to the parent.
            # setdefault is atomic: no lock that another thread could hold at the moment of the fork.
            process = self._processes.setdefault(pid, _Process(self._new_client()))
        return process

    def _new_client(self) -> MongoClient[Document]:
        options: dict[str, Any] = {"appname": self.app_name, "event_listeners": self._listeners}
        options |= {name: ms for name, ms in _DRIVER_MS.items() if f"{name.lower()}=" not in self._url.lower()}
        with self._translated():
            return MongoClient(self._url, connect=False, **options)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ServerSelectionTimeoutError as error:
            message = f"MongoDB at {self.where} does not answer, or has no primary; {NEEDS_REPLICA_SET}"
            raise StorageUnavailable(message) from error
        except (PyMongoError, BSONError) as error:
            kind = StorageUnavailable if _is_passing(error) else StorageError
            raise kind(f"MongoDB at {self.where}: {_short(error)}") from error


def _commit(session: ClientSession, deadline: float) -> None:
    """Commit, asking again while it is unknown whether the commit happened."""
    while True:
        try:
            session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label("UnknownTransactionCommitResult") or time.monotonic() + _WAIT_S > deadline:
                raise
        else:
            return
        time.sleep(_WAIT_S)


def _may_be_repeated(error: BaseException | None) -> bool:
    """Nothing of this transaction was or will be written, and there was a server to talk to."""
    if isinstance(error, ServerSelectionTimeoutError) or not isinstance(error, PyMongoError):
        return False
    has_no_room = isinstance(error, OperationFailure) and _NO_ROOM in _codes(error)
    return has_no_room or error.has_error_label("TransientTransactionError")


def _is_passing(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, ConnectionFailure | ExecutionTimeout | WTimeoutError):
        return True
    if not isinstance(error, PyMongoError):
        return False
    if isinstance(error, OperationFailure) and not _PASSING.isdisjoint(_codes(error)):
        return True
    return error.timeout or any(error.has_error_label(label) for label in _PASSING_LABELS)


def _codes(error: OperationFailure) -> set[int | None]:
    """The codes of an error, those of the parts of a bulk write as well."""
    details = error.details or {}
    parts = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    return {error.code, *(part.get("code") for part in parts)}


def _short(error: Exception) -> str:
    """The kind and the server's words, cut: they may quote a document."""
    words = str(error).partition(", full error:")[0]
    if isinstance(error, ConnectionFailure) and words == "operation cancelled":
        return "it does not answer; the driver gave the command up"
    return f"{type(error).__name__}: {words[:200]}"
