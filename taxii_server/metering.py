"""What is counted while the server works: every metric, and the meter that the parts of the server hand numbers to.

The table of all metrics is here and nowhere else; docs/operations.md, the alerts and the dashboard are compared with
it. Whoever counts gets a `Meter` and does not know what becomes of the numbers: without metrics, nothing.

Labels are names that the operator declared (partners, collections), names of routes and methods, or words of our own:
nothing that a client sends becomes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
#: How gauges of several workers become one number: see the documentation of prometheus-client.
Mode = Literal["livesum", "livemin", "livemax", "mostrecent", "scrape"]

#: How long a number may wait before it is written, where a loop does that.
FLUSH_S = 0.05

_FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric. `mode` is for gauges; "scrape": not counted but looked up when somebody asks for the metrics."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    mode: Mode = "livesum"


class Meter:
    """Takes numbers. This one forgets them: what is switched off costs a call. Safe for several threads."""

    #: whether it is worth finding out a number that nobody needs otherwise
    counts = False

    def count(self, metric: Metric, amount: float = 1.0, *labels: str) -> None:
        """Add to a counter."""

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """One value for a histogram."""

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """The present value of a gauge."""

    def is_waiting(self) -> bool:
        """Whether `flush` has something to do."""
        return False

    def flush(self) -> None:
        """Put what was handed over where it survives the death of this process."""


NO_METER = Meter()


def _counter(name: str, about: str, labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, "counter", about, labels)


def _gauge(name: str, about: str, labels: tuple[str, ...] = (), *, mode: Mode = "livesum") -> Metric:
    return Metric(name, "gauge", about, labels, mode=mode)


def _looked_up(name: str, about: str, labels: tuple[str, ...] = ()) -> Metric:
    return _gauge(name, about, labels, mode="scrape")


def _histogram(name: str, about: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Metric:
    return Metric(name, "histogram", about, labels, buckets)


# ---- requests

REQUESTS = _counter("taxii_requests_total", "Requests answered.", ("route", "method", "status"))
REQUEST_SECONDS = _histogram(
    "taxii_request_seconds",
    "From the moment when a thread takes a request to its answer, without the time that the client takes.",
    _FAST_S,
    ("route",),
)
WAIT_SECONDS = _histogram("taxii_thread_wait_seconds", "How long a request waited for a thread.", _FAST_S)
OVERLOADED = _counter(
    "taxii_overloaded_total",
    "Requests answered 503 by the worker itself: the queue is full, the wait took too long, no memory for bodies.",
    ("why",),
)
REFUSED = _counter(
    "taxii_refused_total",
    "Requests answered 429: locked out after wrong credentials, too many requests, no room for another body.",
    ("why",),
)
MALFORMED = _counter("taxii_malformed_total", "Requests that were not understood at HTTP level.")
CONNECTIONS = _gauge("taxii_connections", "Open connections of all workers.")
CONNECTIONS_ENDED = _counter(
    "taxii_connections_ended_total",
    "Connections that the server ended to make room: idle ones, and slow ones when buffer_mb was full.",
    ("why",),
)
BUSY = _gauge("taxii_requests_in_progress", "Requests that have a thread or wait for one.")
HELD_BYTES = _gauge("taxii_held_bytes", "Bodies and answers kept in memory for slow clients.")

# ---- objects

DELIVERED = _counter("taxii_objects_delivered_total", "Objects and versions in answers.", ("partner", "collection"))
RECEIVED = _counter(
    "taxii_objects_received_total",
    "Objects in POSTs, by what became of them: stored (or there already), failed, refused or quarantined by a guard.",
    ("partner", "collection", "result"),
)
DELETED = _counter("taxii_objects_deleted_total", "Versions deleted by partners.", ("partner", "collection"))
LAST_READ = _gauge(
    "taxii_partner_last_read_timestamp_seconds",
    "When the partner last read this collection, also when there was nothing new.",
    ("partner", "collection"),
    mode="mostrecent",
)
VISIBLE = _looked_up("taxii_objects_visible", "Stored records that the partner may read.", ("partner",))
HIDDEN = _looked_up(
    "taxii_objects_hidden",
    "Stored records that the partner may not read, by the reason of the policy.",
    ("partner", "reason"),
)
COUNTED_AT = _looked_up("taxii_objects_counted_timestamp_seconds", "When visible and hidden records were counted.")

# ---- policy and configuration

BUILD = _looked_up("taxii_build_info", "1, with the version of this server.", ("version",))
POLICY = _looked_up("taxii_policy_info", "1, with the hash of the configuration in force.", ("digest",))
POLICY_EPOCH = _gauge(
    "taxii_policy_epoch", "Number of the newest configuration that a worker has in force.", mode="livemax"
)
POLICY_EPOCH_OLDEST = _gauge(
    "taxii_policy_epoch_oldest", "The same of the worker that is furthest behind.", mode="livemin"
)
RELOAD_OK = _gauge(
    "taxii_config_reload_successful",
    "1: the last change of the files was put in force; 0: it does not hold, and the old configuration stays.",
    mode="mostrecent",
)
RELOADED_AT = _gauge(
    "taxii_config_reload_timestamp_seconds", "When the files were last put in force by this server.", mode="mostrecent"
)

# ---- the ledger

LEDGER_BATCH = _histogram("taxii_ledger_batch_entries", "Entries that waited and were written in one go.", _SIZES)
LEDGER_WAIT = _histogram(
    "taxii_ledger_wait_seconds",
    "From the wish to write an entry of the ledger until it is written: the oldest of each batch.",
    _FAST_S,
)
LEDGER_FAILED = _counter(
    "taxii_ledger_failures_total", "Writes of the ledger that failed; their requests were answered 503."
)

# ---- the store

STORE_SECONDS = _histogram("taxii_store_seconds", "Time of the operations of the store.", _FAST_S, ("operation",))
GROUP_SIZE = _histogram("taxii_commit_group_size", "Writes that shared one transaction (group commit).", _SIZES)
READY = _looked_up("taxii_ready", "1 while /readyz of the worker that was asked says so.")
SQLITE_BYTES = _looked_up(
    "taxii_sqlite_file_bytes", "Size of the SQLite files: records and ledger, each with its write-ahead log.", ("file",)
)
DISK_FREE = _looked_up("taxii_disk_free_bytes", "Room on the disk of the SQLite files.")
MONGO_MEMBERS = _looked_up("taxii_mongodb_members", "Members of the replica set, by their state.", ("state",))
MONGO_LAG = _looked_up(
    "taxii_mongodb_replication_lag_seconds", "How far a secondary is behind the primary.", ("member",)
)
MONGO_OPLOG = _looked_up(
    "taxii_mongodb_oplog_window_seconds",
    "From the oldest to the newest entry of the oplog: for so long a member may be away.",
)

# ---- work in the background

TASK_RUN = _gauge(
    "taxii_task_last_run_timestamp_seconds",
    "When a task of this server last ended: upkeep, arrivals, relabel, count.",
    ("task",),
    mode="mostrecent",
)
TASK_OK = _gauge(
    "taxii_task_last_run_successful", "Whether it did what it had to (1) or failed (0).", ("task",), mode="mostrecent"
)
REMOVED = _counter("taxii_upkeep_removed_total", "What upkeep removed: records, ledger, statuses, catalogs.", ("what",))

# ---- mirrors

MIRROR_SUCCESS = _looked_up(
    "taxii_mirror_last_success_timestamp_seconds",
    "When a mirror that runs as a service last came to its end; 0: never.",
    ("mirror", "way"),
)
MIRROR_INTERVAL = _looked_up("taxii_mirror_interval_seconds", "How often it is to run (every_s).", ("mirror", "way"))
MIRROR_OBJECTS = _looked_up(
    "taxii_mirror_objects",
    "What its runs stored, could not store (refused) and deleted, so far.",
    ("mirror", "way", "result"),
)

# ---- processes

WORKERS = _gauge("taxii_workers", "Workers that run.")
MEMORY = _gauge("taxii_resident_memory_bytes", "Memory of all workers (resident).")
MEMORY_LARGEST = _gauge(
    "taxii_resident_memory_largest_bytes", "Memory of the largest worker (resident).", mode="livemax"
)


def metrics() -> Iterator[Metric]:
    """Every metric, in the order of this module."""
    return (each for each in globals().values() if isinstance(each, Metric))
