"""Metrics that nobody counts: looked up when somebody asks for them, in the process that is asked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from taxii_server import __version__, metering
from taxii_server.errors import StorageError
from taxii_server.metering import Metric
from taxii_server.mirror.state import State, every
from taxii_server.service.hub import Hub
from taxii_server.storage.health import Vitals
from taxii_server.telemetry.counts import Counts

_log = logging.getLogger(__name__)
#: How long a look at the database may take, and how long what it saw is told.
_LIMIT_S, _KEPT_S = 2.0, 5.0


class Facts(Collector):
    """The facts of one worker's hub. `is_ready` says whether it can serve; `counts` what was counted last."""

    def __init__(self, hub: Hub, is_ready: Callable[[], bool], counts: Callable[[], Counts | None]) -> None:
        self._hub = hub
        self._is_ready = is_ready
        self._counts = counts
        self._lock = threading.Lock()
        self._seen: tuple[float, Vitals | None, list[State]] = (float("-inf"), None, [])

    def describe(self) -> list[Family]:
        """Nothing: which there are depends on the store."""
        return []

    def collect(self) -> Iterator[Family]:
        yield _gauge(metering.BUILD, [((__version__,), 1)])
        is_ready = self._is_ready()
        yield _gauge(metering.READY, [((), is_ready)])
        snapshot = self._hub.in_force
        if snapshot is not None:
            yield _gauge(metering.POLICY, [((snapshot.catalog.digest,), 1)])
        counts = self._counts()
        if counts is not None:
            yield _gauge(metering.VISIBLE, _by_name(counts.visible))
            yield _gauge(metering.HIDDEN, counts.hidden.items())
            yield _gauge(metering.COUNTED_AT, [((), counts.at_s)])
        # A database that does not answer is not waited for twice.
        vitals, mirrors = self._look() if is_ready else (None, [])
        if vitals is not None:
            yield from _of_store(vitals)
        if mirrors:
            yield from _of_mirrors(mirrors)

    def _look(self) -> tuple[Vitals | None, list[State]]:
        """How the store and its mirrors are; nothing when that cannot be found out now. One look every few seconds."""
        with self._lock:
            at, vitals, mirrors = self._seen
            if time.monotonic() - at >= _KEPT_S:
                try:
                    vitals = self._hub.store.health.vitals(_LIMIT_S)
                    mirrors = [each for each in every(self._hub.store) if each.interval_s]
                except StorageError as error:
                    _log.debug("no metrics of the store: %s", error)
                    vitals, mirrors = None, []
                self._seen = (time.monotonic(), vitals, mirrors)
            return vitals, mirrors


def _of_mirrors(mirrors: Sequence[State]) -> Iterator[Family]:
    names = {(each.name, each.kind): each for each in mirrors}
    yield _gauge(metering.MIRROR_SUCCESS, ((key, each.last_success / 1e6) for key, each in names.items()))
    yield _gauge(metering.MIRROR_INTERVAL, ((key, each.interval_s) for key, each in names.items()))
    results = ("stored", "refused", "deleted")
    counts = (((*key, result), getattr(each, result)) for key, each in names.items() for result in results)
    yield _gauge(metering.MIRROR_OBJECTS, counts)


def _of_store(vitals: Vitals) -> Iterator[Family]:
    if vitals.file_bytes:
        yield _gauge(metering.SQLITE_BYTES, _by_name(vitals.file_bytes))
    if vitals.disk_free_bytes is not None:
        yield _gauge(metering.DISK_FREE, [((), vitals.disk_free_bytes)])
    replica_set = vitals.replica_set
    if replica_set is not None:
        yield _gauge(metering.MONGO_MEMBERS, _by_name(replica_set.members))
        yield _gauge(metering.MONGO_LAG, _by_name(replica_set.lag_s))
        if replica_set.oplog_s is not None:
            yield _gauge(metering.MONGO_OPLOG, [((), replica_set.oplog_s)])


def _gauge(metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def _by_name(numbers: Mapping[str, float]) -> Iterator[tuple[tuple[str, ...], float]]:
    return (((name,), number) for name, number in numbers.items())
