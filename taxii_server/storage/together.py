"""Jobs of several threads done in one go: those that wait while one run is on its way make up the next one.

Why: a transaction costs the same few round trips and one wait for the disk, whether it stores one object or a
hundred. Requests that come at the same time share one (group commit). A job that finds nobody at work runs at once, so
that nothing waits for company that may not come, and under light load nothing changes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from taxii_server.errors import StorageUnavailable
from taxii_server.model import Draft, Record, StoredStatus
from taxii_server.storage.base import Plan, Planner, StatusPlanner

J = TypeVar("J")
R = TypeVar("R")

#: Writes of one process that share a transaction, when so many wait.
WRITES_TOGETHER = 64
#: Ids that one transaction is about, when several writes share it: as many as one large post has.
_MAX_IDS = 1000
#: The part of its time that a run has at least, however long its jobs have waited.
_LEAST = 1 / 6


@dataclass(slots=True)
class _Ticket(Generic[J, R]):
    """A job that waits, and what became of it."""

    job: J
    #: when its time is over (monotonic)
    until: float
    #: Released when there is a result, or when it is this thread's turn to run what waits. A lock and no event: that is
    #: two locks and a list, made and asked for each request.
    ready: threading.Lock = field(default_factory=threading.Lock)
    #: whether it was made this thread's turn while it waited
    leads: bool = False
    done: bool = False
    result: R | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.ready.acquire()


class _Line(Generic[J, R]):
    """Who waits in one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: list[_Ticket[J, R]] = []
        self.is_busy = False


class Together(Generic[J, R]):
    """Runs jobs of the threads of a process, several in one run where they meet.

    `run` gets the jobs in the order in which they came, and how long it may take, and gives for each its result, or the
    exception that its caller gets; it never has two runs at once. What a job waited for its turn is taken from the time
    of its run, so that nobody waits for one time limit after the other. When it raises StorageUnavailable, all of them
    get that; after anything else each job is run by itself, so that one that cannot be done takes no other down. `most`
    limits the jobs of a run, and `fits` says whether a job may join those that are in it. A job that gets no turn in
    `wait_s` raises StorageUnavailable. `ran` is told how many jobs each run had. Safe across a fork.
    """

    def __init__(
        self,
        run: Callable[[Sequence[J], float], Sequence[R | Exception]],
        *,
        wait_s: float,
        most: int = WRITES_TOGETHER,
        fits: Callable[[Sequence[J], J], bool] = lambda jobs, job: True,
        ran: Callable[[int], object] = lambda count: None,
    ) -> None:
        self.most = most
        self._ran = ran
        self._run = run
        self._wait_s = wait_s
        self._fits = fits
        self._lines: dict[int, _Line[J, R]] = {}

    def do(self, job: J) -> R:
        """What `run` gave for this job. Raises what it said, or StorageUnavailable."""
        pid = os.getpid()
        # Whoever waits in a parent process waits there.
        line = self._lines.get(pid) or self._lines.setdefault(pid, _Line())
        ticket = _Ticket[J, R](job, time.monotonic() + self._wait_s)
        with line.lock:
            line.waiting.append(ticket)
            is_alone, line.is_busy = not line.is_busy, True
        # Not `leads`: it may be this thread's turn already, and the lock that tells of it has to be taken.
        if not is_alone:
            self._wait(line, ticket)
        if not ticket.done:
            self._lead(line)
        if ticket.error is not None:
            raise ticket.error
        return cast(R, ticket.result)

    def _wait(self, line: _Line[J, R], ticket: _Ticket[J, R]) -> None:
        if ticket.ready.acquire(timeout=self._wait_s):
            return
        with line.lock:
            if not ticket.leads and ticket in line.waiting:
                line.waiting.remove(ticket)
                raise StorageUnavailable(f"no turn: another write takes more than {self._wait_s:g} s")
        # Its run is on its way, which ends within a time limit of its own.
        ticket.ready.acquire()

    def _lead(self, line: _Line[J, R]) -> None:
        """Run what waits, beginning with the job of this thread; then let the next thread lead."""
        with line.lock:
            batch = self._take(line)
        try:
            self._run_all(batch)
        finally:
            with line.lock:
                following = line.waiting[0] if line.waiting else None
                if following is None:
                    line.is_busy = False
                else:
                    following.leads = True
            if following is not None:
                following.ready.release()
            self._ran(len(batch))
            for ticket in batch:
                if not ticket.done:
                    ticket.error, ticket.done = StorageUnavailable("the write was interrupted"), True
                ticket.ready.release()

    def _take(self, line: _Line[J, R]) -> list[_Ticket[J, R]]:
        batch: list[_Ticket[J, R]] = []
        jobs: list[J] = []
        rest: list[_Ticket[J, R]] = []
        for ticket in line.waiting:
            if not batch or (len(batch) < self.most and self._fits(jobs, ticket.job)):
                batch.append(ticket)
                jobs.append(ticket.job)
            else:
                rest.append(ticket)
        line.waiting = rest
        return batch

    def _run_all(self, batch: Sequence[_Ticket[J, R]]) -> None:
        try:
            left_s = min(ticket.until for ticket in batch) - time.monotonic()
            outcomes = self._run([ticket.job for ticket in batch], max(left_s, self._wait_s * _LEAST))
        except StorageUnavailable as error:
            for number, ticket in enumerate(batch):
                ticket.error = error if number == 0 else _same(error)
        except Exception as error:  # noqa: BLE001 - it goes to whose job it is
            if len(batch) > 1:
                for ticket in batch:
                    self._run_all([ticket])
                return
            batch[0].error = error
        else:
            for ticket, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    ticket.error = outcome
                else:
                    ticket.result = outcome
        for ticket in batch:
            ticket.done = True


def _same(error: StorageUnavailable) -> StorageUnavailable:
    """The error for another thread: two threads must not add to the traceback of one."""
    other = StorageUnavailable(str(error))
    other.__cause__ = error.__cause__ or error
    return other


# ---- writes


@dataclass(frozen=True, slots=True)
class Write:
    """A write that waits for its transaction: see Store.write."""

    ids: tuple[str, ...]
    planner: Planner


def share_no_id(jobs: Sequence[Write], job: Write) -> bool:
    """Whether a write may join these in one transaction.

    Not when it is about an id of theirs: its planner must see what they did. Not when they become too many.
    """
    if sum(len(each.ids) for each in jobs) + len(job.ids) > _MAX_IDS:
        return False
    return all(set(job.ids).isdisjoint(each.ids) for each in jobs)


@dataclass(slots=True)
class Joined:
    """The plans of several writes as one, and what becomes of each.

    Applying it is the same as applying them one after the other: they share no id, so none could see what another did.
    """

    plan: Plan
    #: for each write what its caller gets already: its error, or no positions for an empty plan; None: still to come
    outcomes: list[tuple[int, ...] | Exception | None]
    #: where the insertions of each write stand among those of the plan
    spans: list[tuple[int, int]]
    #: numbers of the writes with an event, which looks at all that is written: they need a transaction of their own
    alone: list[int] = field(default_factory=list)
    #: number of a write -> what makes its status
    status_planners: dict[int, StatusPlanner] = field(default_factory=dict)

    def statuses(self, positions: tuple[int, ...]) -> list[StoredStatus]:
        """The statuses to keep with what is written at these positions; each sees those of its own write."""
        return [make(positions[slice(*self.spans[number])]) for number, make in self.status_planners.items()]

    def results(self, positions: tuple[int, ...]) -> list[tuple[int, ...] | Exception]:
        """What the callers get, but for those of `alone`."""
        return [
            positions[start:stop] if outcome is None else outcome
            for outcome, (start, stop) in zip(self.outcomes, self.spans, strict=True)
        ]


def join(writes: Sequence[Write], present: Mapping[str, Sequence[Record]], log_length: int) -> Joined:
    """Ask each planner. What one raises is its own outcome; a single write raises it."""
    if len(writes) == 1:
        plan = writes[0].planner(present, log_length)
        alone = Joined(plan, [() if plan.is_empty() else None], [(0, len(plan.inserts))])
        if plan.status is not None and not plan.is_empty():
            alone.status_planners[0] = plan.status
        return alone
    inserts: list[tuple[Draft, int]] = []
    relabels: dict[int, int] = {}
    deletes: list[int] = []
    joined = Joined(Plan(), [], [])
    for number, write in enumerate(writes):
        start, outcome = len(inserts), None
        try:
            plan = write.planner({id_: present[id_] for id_ in write.ids if id_ in present}, log_length)
        except Exception as error:  # noqa: BLE001 - it reaches the caller of this write
            outcome = error
        else:
            if plan.event is not None:
                joined.alone.append(number)
            elif not plan.is_empty():
                inserts += plan.inserts
                relabels |= plan.relabels
                deletes += plan.deletes
                if plan.status is not None:
                    joined.status_planners[number] = plan.status
        nothing: tuple[int, ...] = ()
        joined.outcomes.append(outcome or (None if len(inserts) > start else nothing))
        joined.spans.append((start, len(inserts)))
    joined.plan = Plan(inserts, relabels, deletes)
    return joined


def with_those_alone(
    results: list[tuple[int, ...] | Exception],
    alone: Sequence[int],
    writes: Sequence[Write],
    run: Callable[[Sequence[Write], float], list[tuple[int, ...] | Exception]],
    until: float,
) -> list[tuple[int, ...] | Exception]:
    """The results, with those of the writes that need a transaction of their own, which run now.

    All within the time that is left until then (monotonic): everybody waits for them. One that comes too late is not
    tried any more.
    """
    for number in alone:
        left_s = until - time.monotonic()
        try:
            if left_s <= 0:
                raise StorageUnavailable("no time is left: the writes before this one took all of it")
            (results[number],) = run([writes[number]], left_s)
        except Exception as error:  # noqa: BLE001 - it reaches the caller of this write
            results[number] = error
    return results
