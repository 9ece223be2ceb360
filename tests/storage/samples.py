"""What the storage tests are made of: drafts, plans, queries, threads, and a reader that polls as the service does."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from taxii_server.model import POSITION_MAX, Draft, PageQuery, Record
from taxii_server.storage.base import Plan, Planner, Store
from taxii_server.times import instant_key

T = TypeVar("T")

TIMEOUT_S = 60.0
VERSION = "2020-01-01T00:00:00.000Z"
EVERYTHING = 1_000_000


class Clock:
    """A clock that a test sets by hand, in µs."""

    def __init__(self, us: int = 1_000_000_000_000_000) -> None:
        self.us = us

    def __call__(self) -> int:
        return self.us


def object_id(number: int | str = "", type_: str = "indicator") -> str:
    """An id that is the same for the same number, or a new one."""
    value = uuid.uuid5(uuid.NAMESPACE_OID, str(number)) if number != "" else uuid.uuid4()
    return f"{type_}--{value}"


def draft(
    id_: str | None = None,
    *,
    version: str | None = VERSION,
    collection: str = "north",
    submitter: str = "cert-north",
    spec_version: str = "2.1",
    content: bytes | None = None,
    hard_refs: tuple[str, ...] = (),
    soft_refs: tuple[str, ...] = (),
) -> Draft:
    id_ = id_ or object_id()
    body = content if content is not None else f'{{"id":"{id_}","modified":"{version}"}}'.encode()
    return Draft(
        collection=collection,
        submitter=submitter,
        id=id_,
        type=id_.partition("--")[0],
        spec_version=spec_version,
        version=version,
        version_key=None if version is None else instant_key(version),
        content=body,
        digest=hashlib.sha256(body).digest(),
        hard_refs=hard_refs,
        soft_refs=soft_refs,
    )


def planning(plan: Plan) -> Planner:
    """A planner that always says this."""
    return lambda present, log_length: plan


def insert(store: Store, label: int, *drafts: Draft) -> tuple[int, ...]:
    """Write these drafts under one label."""
    plan = Plan(inserts=[(one, label) for one in drafts])
    return store.write([one.id for one in drafts], planning(plan))


def insert_each(store: Store, pairs: Iterable[tuple[Draft, int]]) -> tuple[int, ...]:
    """Write these (draft, label) pairs in one transaction."""
    inserts = list(pairs)
    return store.write([one.id for one, _ in inserts], planning(Plan(inserts=inserts)))


def new_labels(store: Store, count: int = 1, prefix: str = "label") -> list[int]:
    """The numbers of this many labels, appended to the log where they are missing."""
    return [entry.number for entry in store.append_log([("label", f'"{prefix} {n}"') for n in range(count)])]


def query(
    *labels: int,
    collections: tuple[str, ...] = ("north",),
    after: int = 0,
    limit: int = EVERYTHING,
    ids: tuple[str, ...] | None = None,
    types: tuple[str, ...] | None = None,
    spec_versions: tuple[str, ...] | None = None,
    version_keys: tuple[str, ...] | None = None,
    content: bool = True,
    before: int = POSITION_MAX,
) -> PageQuery:
    return PageQuery(labels, collections, after, limit, ids, types, spec_versions, version_keys, content, before=before)


def positions(records: Iterable[Record]) -> tuple[int, ...]:
    return tuple(record.position for record in records)


def read(store: Store, asked: PageQuery) -> tuple[int, ...]:
    """The positions on the page."""
    return positions(store.page(asked).records)


def present_positions(store: Store, *ids: str) -> list[int]:
    """The positions of everything stored under these ids, ascending."""
    return sorted(record.position for records in store.lookup(ids).values() for record in records)


def at_once(*calls: Callable[[], T], timeout_s: float = TIMEOUT_S) -> list[T]:
    """Run the calls in threads that start together; their results in order, or the first error."""
    gate = threading.Barrier(len(calls))

    def gated(call: Callable[[], T]) -> Callable[[], T]:
        def run() -> T:
            gate.wait(timeout_s)
            return call()

        return run

    tasks = [Background(gated(call)) for call in calls]
    return [task.result(timeout_s) for task in tasks]


class Background:
    """A call that runs in a thread of its own (a daemon, so that a test that fails leaves nothing behind)."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._value: object = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], object]) -> None:
        try:
            self._value = call()
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the result
            self._error = error

    def ends_within(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self, timeout_s: float = TIMEOUT_S):  # type: ignore[no-untyped-def]
        assert self.ends_within(timeout_s), "a thread did not come to an end"
        if self._error is not None:
            raise self._error
        return self._value


class Pause:
    """A `before_commit` that stops the first writer that comes by, until it is released."""

    def __init__(self) -> None:
        self._first = threading.Lock()
        self.reached = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> None:
        if self._first.acquire(blocking=False):
            self.reached.set()
            assert self.released.wait(TIMEOUT_S)


class Follower:
    """A reader that polls from its cursor, as the service does.

    It knows the labels of the log it has loaded. A page whose horizon lies beyond that is thrown away
    and asked for again with the longer log; any other page moves the cursor.
    """

    def __init__(self, store: Store, *, limit: int = 7, collections: tuple[str, ...] = ("north",)) -> None:
        self._store = store
        self._limit = limit
        self._collections = collections
        self._known = 0
        self._labels: list[int] = []
        self.cursor = 0
        self.seen: list[Record] = []

    def poll(self) -> int:
        """Read one page; how many records it had."""
        while True:
            asked = query(*self._labels, collections=self._collections, after=self.cursor, limit=self._limit)
            page = self._store.page(asked)
            if page.horizon <= self._known:
                break
            new = self._store.log_after(self._known)
            self._labels += [entry.number for entry in new if entry.kind == "label"]
            self._known = new[-1].number
        assert len(page.records) <= self._limit
        if page.records:
            self.seen += page.records
            self.cursor = page.records[-1].position
        return len(page.records)

    def follow(self, done: threading.Event) -> list[Record]:
        """Poll until everything that was there when `done` was set has been read."""
        while True:
            last_round = done.is_set()
            while self.poll():
                pass
            if last_round:
                return self.seen


Present = Mapping[str, Sequence[Record]]
