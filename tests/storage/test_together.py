"""Writes that wait for their turn share a transaction, and nothing of what the contract says changes for them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.model import POSITION_MAX, EventPlan, PageQuery, StoredStatus
from taxii_server.storage import open_store
from taxii_server.storage import together as together_module
from taxii_server.storage.base import Plan, StatusPlanner, Store
from taxii_server.storage.together import Together, Write, with_those_alone
from tests.patching import but_for
from tests.storage.samples import Background, Pause, Present, draft, insert, new_labels, object_id, query, read

WAIT_S = 30.0


class Gate:
    """A run that says what it gets and waits to be let through."""

    def __init__(self, answer: Callable[[Sequence[int]], Sequence[int | Exception]]) -> None:
        self.runs: list[list[int]] = []
        self.limits: list[float] = []
        self.reached = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self._answer = answer

    def __call__(self, jobs: Sequence[int], limit_s: float) -> Sequence[int | Exception]:
        self.runs.append(list(jobs))
        self.limits.append(limit_s)
        self.reached.release()
        assert self.open.acquire(timeout=WAIT_S)
        return self._answer(jobs)


def doubled(jobs: Sequence[int]) -> list[int]:
    return [2 * job for job in jobs]


def waiting(together: Together[int, int]) -> int:
    return sum(len(line.waiting) for line in together._lines.values())


def queued(together: Together[int, int], jobs: Sequence[int]) -> list[Background[int]]:
    """Threads that wait with these jobs, in this order."""
    found = []
    for job in jobs:
        before = waiting(together)
        found.append(Background(lambda job=job: together.do(job)))
        while waiting(together) == before:
            threading.Event().wait(0.001)
    return found


def test_a_job_alone_runs_at_once():
    together = Together(lambda jobs, limit_s: doubled(jobs), wait_s=WAIT_S)
    assert [together.do(n) for n in range(5)] == [0, 2, 4, 6, 8]


def test_jobs_that_wait_make_up_the_next_run():
    gate = Gate(doubled)
    together = Together(gate, wait_s=WAIT_S, most=3)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    others = queued(together, [1, 2, 3, 4, 5])
    for _ in range(3):
        gate.open.release()
    assert [each.result() for each in (first, *others)] == [0, 2, 4, 6, 8, 10]
    assert gate.runs == [[0], [1, 2, 3], [4, 5]]


def test_a_job_that_does_not_fit_waits_for_the_run_after_and_keeps_its_place():
    gate = Gate(doubled)
    together = Together(gate, wait_s=WAIT_S, fits=lambda jobs, job: job % 2 == jobs[0] % 2)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    others = queued(together, [1, 2, 3, 4])
    for _ in range(3):
        gate.open.release()
    assert [each.result() for each in (first, *others)] == [0, 2, 4, 6, 8]
    assert gate.runs == [[0], [1, 3], [2, 4]]


def test_an_outcome_that_is_an_error_reaches_its_caller_alone():
    gate = Gate(lambda jobs: [KeyError(job) if job == 2 else job for job in jobs])
    together = Together(gate, wait_s=WAIT_S)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    one, two, three = queued(together, [1, 2, 3])
    for _ in range(2):
        gate.open.release()
    assert (first.result(), one.result(), three.result()) == (0, 1, 3)
    with pytest.raises(KeyError):
        two.result()


def test_after_an_error_of_a_run_each_job_runs_by_itself():
    def answer(jobs: Sequence[int]) -> Sequence[int]:
        if 2 in jobs:
            raise ValueError("two")
        return jobs

    gate = Gate(answer)
    together = Together(gate, wait_s=WAIT_S)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    one, two, three = queued(together, [1, 2, 3])
    for _ in range(5):
        gate.open.release()
    assert (first.result(), one.result(), three.result()) == (0, 1, 3)
    with pytest.raises(ValueError, match="two"):
        two.result()
    assert gate.runs == [[0], [1, 2, 3], [1], [2], [3]]


def test_a_database_that_does_not_answer_is_not_asked_again_for_each_job():
    def fail(jobs: Sequence[int]) -> Sequence[int]:
        raise StorageUnavailable("gone")

    gate = Gate(fail)
    together = Together(gate, wait_s=WAIT_S)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    others = queued(together, [1, 2])
    for _ in range(2):
        gate.open.release()
    for each in (first, *others):
        with pytest.raises(StorageUnavailable, match="gone"):
            each.result()
    assert len(gate.runs) == 2


def test_a_job_that_gets_no_turn_in_time_is_not_run_later():
    gate = Gate(doubled)
    together = Together(gate, wait_s=0.05)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    with pytest.raises(StorageUnavailable, match="no turn"):
        together.do(1)
    gate.open.release()
    assert first.result() == 0
    gate.open.release()
    assert together.do(2) == 4
    assert gate.runs == [[0], [2]]


class SlowToLeave:
    """A lock that one thread leaves and then, once, does nothing until `go` is set."""

    def __init__(self) -> None:
        self.slow: threading.Thread | None = None
        self.left, self.go = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        if threading.current_thread() is self.slow:
            self.slow = None
            self.left.set()
            assert self.go.wait(WAIT_S)


def test_a_thread_that_gets_its_turn_before_it_begins_to_wait_runs_its_job_once():
    gate = Gate(doubled)
    together = Together(gate, wait_s=WAIT_S)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    lock = together._lines[os.getpid()].lock = SlowToLeave()

    def be_slow() -> int:
        lock.slow = threading.current_thread()
        return together.do(1)

    second = Background(be_slow)
    assert lock.left.wait(WAIT_S)
    gate.open.release()
    assert first.result() == 0
    lock.go.set()
    assert gate.reached.acquire(timeout=WAIT_S)
    (third,) = queued(together, [2])
    for _ in range(2):
        gate.open.release()
    assert (second.result(), third.result()) == (2, 4)
    assert gate.runs == [[0], [1], [2]]


def test_what_a_job_waited_is_taken_from_the_time_of_its_run(monkeypatch: pytest.MonkeyPatch):
    clock = [1000.0]
    monkeypatch.setattr(together_module, "time", but_for(time, monotonic=lambda: clock[0]))
    gate = Gate(doubled)
    together = Together(gate, wait_s=WAIT_S)
    for waited, left in ((12.0, WAIT_S - 12), (29.0, WAIT_S / 6)):
        first = Background(lambda: together.do(0))
        assert gate.reached.acquire(timeout=WAIT_S)
        (second,) = queued(together, [1])
        clock[0] += waited
        gate.open.release()
        assert gate.reached.acquire(timeout=WAIT_S)
        gate.open.release()
        assert (first.result(), second.result()) == (0, 2)
        assert gate.limits[-2:] == [WAIT_S, pytest.approx(left)]


def test_a_forked_process_does_not_wait_for_threads_of_its_parent():
    gate = Gate(doubled)
    together = Together(gate, wait_s=WAIT_S)
    first = Background(lambda: together.do(0))
    assert gate.reached.acquire(timeout=WAIT_S)
    child = os.fork()
    if not child:
        gate.open = threading.Semaphore(1)
        os._exit(7 if together.do(5) == 10 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    gate.open.release()
    assert first.result() == 0


def test_writes_that_run_alone_have_the_time_of_one_together(monkeypatch: pytest.MonkeyPatch):
    clock, limits = [1000.0], []
    monkeypatch.setattr(together_module, "time", but_for(time, monotonic=lambda: clock[0]))

    def slow(writes: Sequence[Write], limit_s: float) -> list[tuple[int, ...] | Exception]:
        limits.append(limit_s)
        clock[0] += 20
        return [(7,)]

    write = Write((), lambda present, length: Plan())
    results = with_those_alone([(1,), (), (), ()], [1, 2, 3], [write] * 4, slow, 1000.0 + WAIT_S)
    assert results[:3] == [(1,), (7,), (7,)]
    assert isinstance(results[3], StorageUnavailable)
    assert limits == [WAIT_S, WAIT_S - 20]


# ---- the stores


@pytest.fixture(params=["sqlite", "mongodb"])
def store(request: pytest.FixtureRequest, tmp_path) -> Iterator[Store]:
    url = str(tmp_path / "hub.db") if request.param == "sqlite" else request.getfixturevalue("mongo_database_url")
    opened = open_store(url)
    opened.prepare()
    yield opened
    opened.close()


class Busy:
    """A store whose writer is stopped before its commit, so that others wait behind it."""

    def __init__(self, store: Store, label: int) -> None:
        self.store = store
        self.commits = 0
        self._pause = Pause()
        store.before_commit = self._before_commit
        self.first = Background(lambda: insert(store, label, draft()))
        assert self._pause.reached.wait(WAIT_S)

    def _before_commit(self) -> None:
        self.commits += 1
        if self.commits == 1:
            self._pause()

    def queued(self, *writes: Callable[[], tuple[int, ...]]) -> list[Background[tuple[int, ...]]]:
        """Threads that wait with these writes, in this order."""
        found = []
        for write in writes:
            line = self.store._writes._lines[os.getpid()]  # type: ignore[attr-defined]
            before = len(line.waiting)
            found.append(Background(write))
            while len(line.waiting) == before:
                threading.Event().wait(0.001)
        return found

    def go_on(self) -> None:
        self._pause.released.set()


def test_writes_that_wait_share_one_transaction_in_their_order(store):
    (label,) = new_labels(store)
    busy = Busy(store, label)
    others = busy.queued(*(lambda n=n: insert(store, label, *(draft() for _ in range(n + 1))) for n in range(5)))
    busy.go_on()
    given = [busy.first.result(), *(each.result() for each in others)]
    assert busy.commits == 2
    assert [len(each) for each in given] == [1, 1, 2, 3, 4, 5]
    flat = [position for each in given for position in each]
    assert flat == sorted(flat)
    assert read(store, query(label)) == tuple(flat)


def test_each_of_them_brings_its_own_status(store):
    (label,) = new_labels(store)

    def post(name: str, *ids: str) -> tuple[int, ...]:
        def status(positions: Sequence[int]) -> StoredStatus:
            return StoredStatus(name, "hub", "p", repr(tuple(positions)).encode(), POSITION_MAX)

        return store.write(ids, lambda present, length: Plan([(draft(id_), label) for id_ in ids], status=status))

    busy = Busy(store, label)
    one, empty, without, two = busy.queued(
        lambda: post("one", object_id(), object_id()),
        lambda: post("empty"),
        lambda: insert(store, label, draft()),
        lambda: post("two", object_id()),
    )
    busy.go_on()
    given = {"one": one.result(), "two": two.result()}
    assert (empty.result(), len(without.result()), busy.commits) == ((), 1, 2)
    assert {each.id: each.body for each in store.recent_statuses(9, 99)} == {
        name: repr(positions).encode() for name, positions in given.items()
    }


def test_a_status_that_cannot_be_made_takes_no_other_write_down(store):
    (label,) = new_labels(store)

    def broken(positions: Sequence[int]) -> StoredStatus:
        raise LookupError("no status")

    def fine(positions: Sequence[int]) -> StoredStatus:
        return StoredStatus("fine", "hub", "p", b"{}", POSITION_MAX)

    def post(status: StatusPlanner) -> tuple[int, ...]:
        return store.write([], lambda present, length: Plan([(draft(), label)], status=status))

    busy = Busy(store, label)
    one, two = busy.queued(lambda: post(broken), lambda: post(fine))
    busy.go_on()
    with pytest.raises(LookupError, match="no status"):
        one.result()
    assert read(store, query(label)) == (*busy.first.result(), *two.result())
    assert [each.id for each in store.recent_statuses(9, 99)] == ["fine"]


def test_a_planner_that_fails_takes_no_other_write_down(store):
    (label,) = new_labels(store)

    def fail(present: Present, log_length: int) -> Plan:
        raise LookupError("not this one")

    busy = Busy(store, label)
    one, two, three = busy.queued(
        lambda: insert(store, label, draft()),
        lambda: store.write([object_id()], fail),
        lambda: insert(store, label, draft()),
    )
    busy.go_on()
    with pytest.raises(LookupError, match="not this one"):
        two.result()
    assert read(store, query(label)) == (*busy.first.result(), *one.result(), *three.result())
    assert busy.commits == 2


def test_what_the_database_refuses_takes_no_other_write_down(store):
    (label,) = new_labels(store)
    impossible = replace(draft(), collection={1, 2})  # type: ignore[arg-type]  # no database takes a set
    busy = Busy(store, label)
    one, two, three = busy.queued(
        lambda: insert(store, label, draft()),
        lambda: insert(store, label, impossible),
        lambda: insert(store, label, draft()),
    )
    busy.go_on()
    with pytest.raises(StorageError):
        two.result()
    assert read(store, query(label)) == (*busy.first.result(), *one.result(), *three.result())


def test_writes_about_one_id_see_each_other(store):
    (label,) = new_labels(store)
    id_ = object_id(1)

    def add_the_next(present: Present, log_length: int) -> Plan:
        count = len(present.get(id_, ()))
        return Plan(inserts=[(draft(id_, version=f"20{count:02}-01-01T00:00:00Z"), label)])

    busy = Busy(store, label)
    others = busy.queued(*(lambda: store.write([id_], add_the_next) for _ in range(4)))
    busy.go_on()
    for each in others:
        each.result()
    assert [record.version[:4] for record in store.lookup([id_])[id_]] == ["2000", "2001", "2002", "2003"]


def test_each_planner_gets_the_records_of_its_own_ids(store):
    (label,) = new_labels(store)
    ids = [object_id(n) for n in range(3)]
    insert(store, label, *(draft(id_) for id_ in ids))
    seen: dict[str, list[str]] = {}

    def planner(name: str) -> Callable[[Present, int], Plan]:
        def plan(present: Present, log_length: int) -> Plan:
            seen[name] = sorted(present)
            return Plan(deletes=[record.position for records in present.values() for record in records])

        return plan

    busy = Busy(store, label)
    others = busy.queued(*(lambda id_=id_: store.write([id_], planner(id_)) for id_ in ids))
    busy.go_on()
    assert [each.result() for each in others] == [(), (), ()]
    assert seen == {id_: [id_] for id_ in ids}
    assert read(store, query(label)) == busy.first.result()


def test_a_write_with_an_event_has_a_transaction_of_its_own(store):
    (label,) = new_labels(store)
    asked = PageQuery((label,), ("north",), 0, 100)
    seen: list[int] = []

    def with_event(present: Present, log_length: int) -> Plan:
        def event(inside) -> EventPlan:
            seen.append(len(inside.records(asked)))
            return EventPlan([], lambda base, end, positions: f'{{"from":{base},"to":{end}}}')

        return Plan(inserts=[(draft(), label)], event=event)

    busy = Busy(store, label)
    one, two, three = busy.queued(
        lambda: insert(store, label, draft()),
        lambda: store.write([object_id()], with_event),
        lambda: insert(store, label, draft()),
    )
    busy.go_on()
    given = (*busy.first.result(), *one.result(), *three.result(), *two.result())
    assert read(store, query(label)) == given == tuple(sorted(given))
    assert seen == [4], "it sees all that is written, its own included"
    assert [entry.kind for entry in store.log_after(1)] == ["event"]


def test_with_a_limit_of_one_no_write_shares(tmp_path):
    store = open_store(str(tmp_path / "hub.db"), writes_together=1)
    store.prepare()
    (label,) = new_labels(store)
    busy = Busy(store, label)
    others = busy.queued(*(lambda: insert(store, label, draft()) for _ in range(3)))
    busy.go_on()
    for each in others:
        each.result()
    assert busy.commits == 4
    store.close()
