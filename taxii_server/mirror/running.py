"""Several mirrors in one process: each in a thread of its own, at its interval, none in the way of the others."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from taxii_server.errors import ConfigError, TaxiiServerError
from taxii_server.mirror import state as states
from taxii_server.mirror.connection import Stopped
from taxii_server.mirror.pull import Pull
from taxii_server.mirror.push import Push
from taxii_server.mirror.run import Job, Report, Surroundings
from taxii_server.mirror.schema import Mirror
from taxii_server.service.hub import Hub

_log = logging.getLogger(__name__)
#: After failures a mirror waits longer and longer, up to this.
_LONGEST_S = 3600.0
#: How long the end of a service waits for a mirror to finish its page.
_END_S = 30.0
#: Somebody else has the mirror, as an operator who pulls by hand.
_BUSY_S = 30.0


def job_of(hub: Hub, mirror: Mirror, around: Surroundings, *, follow: bool = False, sure: bool = False) -> Job:
    """The run of a mirror. Raises ConfigError when it does not fit the catalog in force."""
    if mirror.kind == "push":
        return Push(hub, mirror, around)
    return Pull(hub, mirror, around, follow=follow, sure=sure)


@dataclass(slots=True)
class _Runner:
    mirror: Mirror
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Service:
    """The mirrors of one process. `reported` is told of every run that came to its end, for metrics and tests."""

    def __init__(self, hub: Hub, reported: Callable[[Report], None] = lambda report: None) -> None:
        self._hub = hub
        self._reported = reported
        self._runners: dict[str, _Runner] = {}

    def set(self, mirrors: Sequence[Mirror]) -> None:
        """Run these from now on: those that are gone or changed end, those that are new begin, the others go on."""
        wanted = {mirror.name: mirror for mirror in mirrors}
        old = [each for name, each in self._runners.items() if wanted.get(name) != each.mirror]
        self._end(old)
        self._runners = {name: each for name, each in self._runners.items() if each not in old}
        for name, mirror in wanted.items():
            if name not in self._runners:
                runner = self._runners[name] = _Runner(mirror)
                runner.thread = threading.Thread(target=self._run, args=(runner,), name=f"mirror {name}", daemon=True)
                runner.thread.start()

    def end(self) -> None:
        """End all of them, each after the page that it is at."""
        self._end(list(self._runners.values()))
        self._runners = {}

    def once(self, mirrors: Sequence[Mirror], stop: threading.Event) -> list[Report]:
        """Run each of these once, one after the other; what they did, in their order."""
        reports: list[Report] = []
        for mirror in mirrors:
            if stop.is_set():
                break
            reports.append(self._once(mirror, stop))
        return reports

    def _end(self, runners: Sequence[_Runner]) -> None:
        for runner in runners:
            runner.stop.set()
        for runner in runners:
            if runner.thread is not None:
                runner.thread.join(_END_S)

    # ---- one mirror

    def _run(self, runner: _Runner) -> None:
        mirror, failures = runner.mirror, 0
        wait_s = self._begin_s(mirror)
        while not runner.stop.wait(wait_s):
            report = self._once(mirror, runner.stop)
            failures = failures + 1 if report.error else 0
            # What was enough for one run, and not all, goes on at once.
            wait_s = mirror.every_s if report.complete else 0.0
            if failures:
                # Chance, so that mirrors that failed together do not come back together.
                longer = min(_LONGEST_S, mirror.every_s * 2.0 ** min(failures - 1, 20))
                wait_s = max(report.retry_after_s, longer * random.uniform(0.75, 1.0))  # noqa: S311

    def _begin_s(self, mirror: Mirror) -> float:
        """How long the peer asked to be left alone, when it did that of an earlier process."""
        try:
            state = states.load(self._hub.store, job_of(self._hub, mirror, Surroundings()).key)
        except TaxiiServerError:
            return 0.0
        return 0.0 if state is None else max(0.0, (state.not_before - self._hub.store.present()) / 1e6)

    def _once(self, mirror: Mirror, stop: threading.Event) -> Report:
        """One run; whatever goes wrong is in the report and in the log."""
        report = Report(mirror.name, mirror.kind, "")
        try:
            around = Surroundings(
                stop,
                told=lambda message: _log.warning("mirror %s: %s", mirror.name, message),
                interval_s=mirror.every_s,
            )
            job = job_of(self._hub, mirror, around)
            report = job.report
            job.run()
        except Stopped:
            return report
        except states.Busy as error:
            report.error, report.retry_after_s = str(error), _BUSY_S
        except ConfigError as error:
            report.error = "; ".join(str(problem) for problem in error.problems)
        except TaxiiServerError as error:
            report.error = str(error)
        except Exception as error:  # noqa: BLE001 - the other mirrors, and the next run, must not suffer from it
            _log.exception("mirror %s: a fault of this program", mirror.name)
            report.error = f"a fault of this program: {type(error).__name__}"
        _tell(report)
        self._reported(report)
        return report


def _tell(report: Report) -> None:
    counts = report.counts
    facts = (
        f"{counts.received} received, {counts.stored} stored, {counts.present} here already, {counts.refused} refused,"
        f" {counts.quarantined} held in quarantine, {report.deleted} deleted"
    )
    for warning in report.warnings:
        _log.warning("mirror %s: %s", report.name, warning)
    if report.error:
        _log.error("mirror %s: %s (%s)", report.name, report.error, facts)
    elif counts.stored or counts.refused or report.deleted:
        _log.info("mirror %s: %s", report.name, facts)
    else:
        _log.debug("mirror %s: nothing new", report.name)
