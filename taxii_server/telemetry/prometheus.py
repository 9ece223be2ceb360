"""The meter behind `GET /metrics`: prometheus-client in its multi-process mode.

Each worker writes into files of its own in a folder of the server; whoever is asked for the metrics adds them up.

Why numbers are handed over and written a moment later: a request costs one append here. The loop of the worker writes
them, those that came together at once, within FLUSH_S. They then survive the process, however it ends.

Why the files of dead workers are merged: their counts stay, and a worker that is replaced every minute does not leave
a file behind every minute.

Why files are given all their room when they are made: they are mapped into memory, and a page for which the disk has no
room ends the process that touches it. Whatever goes wrong here costs numbers and nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from taxii_server.metering import Meter, Metric

_log = logging.getLogger(__name__)
#: So many are written at once by whoever hands over one more, where no loop does it.
_MOST_WAITING = 2000
#: Room for each file: for some thousand values, of which a hub with 100 partners has about as many.
_FILE_BYTES = 1024 * 1024
_PREFIX = "taxii-server-metrics-"
_OWNER, _MERGING = "owner.lock", "merging.lock"
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_DEAD = "dead"


class PrometheusMeter(Meter):
    """Writes into `folder`, which is made before workers are forked and belongs to this server alone."""

    counts = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._owner: int | None = None
        self._waiting: deque[tuple[Metric, float, tuple[str, ...]]] = deque()
        self._lock = threading.Lock()
        self._pid = 0
        self._dead: set[int] = set()
        self._failing = False
        self._parents: dict[Metric, Any] = {}
        self._children: dict[tuple[Metric, tuple[str, ...]], Any] = {}
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._waiting.clear()

    # ---- numbers in

    def count(self, metric: Metric, amount: float = 1.0, *labels: str) -> None:
        self._waiting.append((metric, amount, labels))

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        self._waiting.append((metric, value, labels))
        if len(self._waiting) > _MOST_WAITING:
            self.flush()

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        self._waiting.append((metric, value, labels))

    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def flush(self) -> None:
        with self._lock:
            gathered: dict[tuple[Metric, tuple[str, ...]], list[float]] = {}
            for _ in range(len(self._waiting)):
                metric, number, labels = self._waiting.popleft()
                gathered.setdefault((metric, labels), []).append(number)
            try:
                for key, numbers in gathered.items():
                    self._write(self._children.get(key) or self._child(*key), key[0], numbers)
            except Exception as error:  # noqa: BLE001 - nobody waits for a number
                if not self._failing:
                    _log.error("numbers for the metrics are lost (%s): %s", type(error).__name__, error)
                self._failing = True
            else:
                self._failing = False

    @staticmethod
    def _write(child: Any, metric: Metric, numbers: Sequence[float]) -> None:
        if metric.kind == "counter":
            child.inc(sum(numbers))
        elif metric.kind == "gauge":
            child.set(numbers[-1])
        elif len(numbers) == 1:
            child.observe(numbers[0])
        else:
            # As `observe`, once for each bucket instead of once for each value.
            found: dict[int, int] = {}
            for number in numbers:
                at = bisect_left(metric.buckets, number)
                found[at] = found.get(at, 0) + 1
            child._sum.inc(sum(numbers))
            for at, count in found.items():
                child._buckets[at].inc(count)

    def _child(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        if self._pid != os.getpid():
            # What was made before a fork belongs to the parent.
            self._pid = os.getpid()
            self._parents.clear()
            self._children.clear()
            os.environ[_FOLDER_VARIABLE] = str(self.folder)
            # As prometheus-client does when it is imported with this variable set.
            values.ValueClass = values.MultiProcessValue()
        parent = self._parents.get(metric)
        if parent is None:
            self._make_file(metric)
            parent = self._parents[metric] = _declared(metric)
        child = self._children[metric, labels] = parent.labels(*labels) if metric.labels else parent
        return child

    def _make_file(self, metric: Metric) -> None:
        """The file that prometheus-client puts this metric into, with all its room. Raises OSError without that."""
        kind = f"gauge_{metric.mode}" if metric.kind == "gauge" else metric.kind
        file = self.folder / f"{kind}_{self._pid}.db"
        if file.exists():
            return
        # It has its name when it has its room: whoever reads the files meanwhile can make nothing of an empty one.
        new = file.with_suffix(".new")
        handle = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, _FILE_BYTES)
        finally:
            os.close(handle)
        new.rename(file)

    # ---- numbers out

    def exposition(self, accept: str, collectors: Sequence[Collector] = ()) -> tuple[bytes, str]:
        """The metrics of all workers and those of the collectors, in the form that the client takes; and its name."""
        self.flush()
        registry = CollectorRegistry()
        registry.register(_Merged(self))
        for collector in collectors:
            registry.register(collector)
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    # ---- the folder

    def bury(self, pid: int) -> None:
        """Merge the files of a worker that is dead: what it counted stays, what it was does not. In the parent."""
        try:
            self._bury(pid)
        except Exception:  # noqa: BLE001 - the parent of all workers goes on
            _log.exception("what a worker counted that is gone is lost")

    def _bury(self, pid: int) -> None:
        self._dead.add(pid)
        # Somebody reads just now: those who wait are merged with the next one.
        with suppress(BlockingIOError), self._merging(fcntl.LOCK_EX | fcntl.LOCK_NB):
            for each in sorted(pid for pid in self._dead if not _is_running(pid)):
                mark_process_dead(each, str(self.folder))
                for file in sorted(self.folder.glob(f"*_{each}.db")):
                    _merge(file, file.with_name(f"{file.stem.rpartition('_')[0]}_{_DEAD}.db"))
            self._dead.clear()

    @contextmanager
    def _merging(self, how: int) -> Iterator[None]:
        """Nobody reads files while they are merged. The parent never waits for a reader."""
        handle = os.open(self.folder / _MERGING, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def read(self) -> list[Family]:
        """What all workers wrote, added up."""
        with self._merging(fcntl.LOCK_SH):
            return list(MultiProcessCollector(None, str(self.folder)).collect())

    def remove(self) -> None:
        """Remove the folder: the server ends."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _Merged(Collector):
    """What all workers wrote."""

    def __init__(self, meter: PrometheusMeter) -> None:
        self._meter = meter

    def describe(self) -> list[Family]:
        """Nothing: which metrics there are shows when they are read."""
        return []

    def collect(self) -> list[Family]:
        return self._meter.read()


def open_meter(parent: Path | None = None) -> PrometheusMeter:
    """A meter with a folder of its own, only for this user. What servers that were killed left behind is removed.

    Raises OSError when there is no place for temporary files.
    """
    parent = parent or Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    meter = PrometheusMeter(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)))
    new = meter.folder / f"{_OWNER}.new"
    meter._owner = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    # Workers inherit it: as long as one of them lives, the folder is in use. Locked before it has its name: another
    # server that starts in this moment would take the folder for one that was left behind.
    fcntl.flock(meter._owner, fcntl.LOCK_EX)
    new.rename(meter.folder / _OWNER)
    return meter


def _is_running(pid: int) -> bool:
    """Whether the number belongs to a process, which then goes on with the file of the dead one."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def _is_left(folder: Path) -> bool:
    """Whether it is ours and nobody uses it any more."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        handle = os.open(folder / _OWNER, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _declared(metric: Metric) -> Any:
    about: dict[str, Any] = {"labelnames": metric.labels, "registry": None}
    if metric.kind == "counter":
        return Counter(metric.name, metric.help, **about)
    if metric.kind == "histogram":
        return Histogram(metric.name, metric.help, buckets=metric.buckets, **about)
    return Gauge(metric.name, metric.help, multiprocess_mode=metric.mode, **about)  # type: ignore[arg-type]


def _merge(file: Path, into: Path) -> None:
    """Add the values of a file to another one, and remove it. Of gauges the newest value stays."""
    if not into.exists():
        file.replace(into)
        return
    newest = file.name.startswith("gauge_")
    scratch = into.with_suffix(".merging")
    shutil.copyfile(into, scratch)
    merged = MmapedDict(str(scratch))
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(file)):
            before, when = merged.read_value(key)
            if newest:
                if timestamp >= when:
                    merged.write_value(key, value, timestamp)
            else:
                merged.write_value(key, before + value, 0.0)
    finally:
        merged.close()
    scratch.replace(into)
    file.unlink()
