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

# ---- requests

REQUESTS = Metric("taxii_requests_total", "counter", "Requests answered.", ("route", "method", "status"))
REQUEST_SECONDS = Metric(
    "taxii_request_seconds",
    "histogram",
    "From the moment when a thread takes a request to its answer, without the time that the client takes.",
    ("route",),
    _FAST_S,
)
WAIT_SECONDS = Metric(
    "taxii_thread_wait_seconds", "histogram", "How long a request waited for a thread.", buckets=_FAST_S
)
OVERLOADED = Metric(
    "taxii_overloaded_total",
    "counter",
    "Requests answered 503 by the worker itself: the queue is full, the wait took too long, no memory for bodies.",
    ("why",),
)
REFUSED = Metric(
    "taxii_refused_total",
    "counter",
    "Requests answered 429: locked out after wrong credentials, too many requests, no room for another body.",
    ("why",),
)
MALFORMED = Metric("taxii_malformed_total", "counter", "Requests that were not understood at HTTP level.")
CONNECTIONS = Metric("taxii_connections", "gauge", "Open connections of all workers.")
CONNECTIONS_ENDED = Metric(
    "taxii_connections_ended_total",
    "counter",
    "Connections that the server ended to make room: idle ones, and slow ones when buffer_mb was full.",
    ("why",),
)
BUSY = Metric("taxii_requests_in_progress", "gauge", "Requests that have a thread or wait for one.")
HELD_BYTES = Metric("taxii_held_bytes", "gauge", "Bodies and answers kept in memory for slow clients.")

# ---- objects

DELIVERED = Metric(
    "taxii_objects_delivered_total", "counter", "Objects and versions in answers.", ("partner", "collection")
)
RECEIVED = Metric(
    "taxii_objects_received_total",
    "counter",
    "Objects in POSTs, by what became of them: stored, failed, refused or quarantined by a guard.",
    ("partner", "collection", "result"),
)
DELETED = Metric("taxii_objects_deleted_total", "counter", "Versions deleted by partners.", ("partner", "collection"))
LAST_READ = Metric(
    "taxii_partner_last_read_timestamp_seconds",
    "gauge",
    "When the partner last read this collection, also when there was nothing new.",
    ("partner", "collection"),
    mode="mostrecent",
)
VISIBLE = Metric(
    "taxii_objects_visible", "gauge", "Stored records that the partner may read.", ("partner",), mode="scrape"
)
HIDDEN = Metric(
    "taxii_objects_hidden",
    "gauge",
    "Stored records that the partner may not read, by the reason of the policy.",
    ("partner", "reason"),
    mode="scrape",
)
COUNTED_AT = Metric(
    "taxii_objects_counted_timestamp_seconds",
    "gauge",
    "When visible and hidden records were counted.",
    mode="scrape",
)

# ---- policy and configuration

BUILD = Metric("taxii_build_info", "gauge", "1, with the version of this server.", ("version",), mode="scrape")
POLICY = Metric(
    "taxii_policy_info", "gauge", "1, with the hash of the configuration in force.", ("digest",), mode="scrape"
)
POLICY_EPOCH = Metric(
    "taxii_policy_epoch", "gauge", "Number of the newest configuration that a worker has in force.", mode="livemax"
)
POLICY_EPOCH_OLDEST = Metric(
    "taxii_policy_epoch_oldest", "gauge", "The same of the worker that is furthest behind.", mode="livemin"
)
RELOAD_OK = Metric(
    "taxii_config_reload_successful",
    "gauge",
    "1: the last change of the files was put in force; 0: it does not hold, and the old configuration stays.",
    mode="mostrecent",
)
RELOADED_AT = Metric(
    "taxii_config_reload_timestamp_seconds",
    "gauge",
    "When the files were last put in force by this server.",
    mode="mostrecent",
)

# ---- the ledger

LEDGER_BATCH = Metric(
    "taxii_ledger_batch_entries", "histogram", "Entries that waited and were written in one go.", buckets=_SIZES
)
LEDGER_WAIT = Metric(
    "taxii_ledger_wait_seconds",
    "histogram",
    "From the wish to write an entry of the ledger until it is written: the oldest of each batch.",
    buckets=_FAST_S,
)
LEDGER_FAILED = Metric(
    "taxii_ledger_failures_total", "counter", "Writes of the ledger that failed; their requests were answered 503."
)

# ---- the store

STORE_SECONDS = Metric(
    "taxii_store_seconds", "histogram", "Time of the operations of the store.", ("operation",), _FAST_S
)
GROUP_SIZE = Metric(
    "taxii_commit_group_size", "histogram", "Writes that shared one transaction (group commit).", buckets=_SIZES
)
READY = Metric("taxii_ready", "gauge", "1 while /readyz of the worker that was asked says so.", mode="scrape")
SQLITE_BYTES = Metric(
    "taxii_sqlite_file_bytes",
    "gauge",
    "Size of the SQLite files: records and ledger, each with its write-ahead log.",
    ("file",),
    mode="scrape",
)
DISK_FREE = Metric("taxii_disk_free_bytes", "gauge", "Room on the disk of the SQLite files.", mode="scrape")
MONGO_MEMBERS = Metric(
    "taxii_mongodb_members", "gauge", "Members of the replica set, by their state.", ("state",), mode="scrape"
)
MONGO_LAG = Metric(
    "taxii_mongodb_replication_lag_seconds",
    "gauge",
    "How far a secondary is behind the primary.",
    ("member",),
    mode="scrape",
)
MONGO_OPLOG = Metric(
    "taxii_mongodb_oplog_window_seconds",
    "gauge",
    "From the oldest to the newest entry of the oplog: for so long a member may be away.",
    mode="scrape",
)

# ---- work in the background

TASK_RUN = Metric(
    "taxii_task_last_run_timestamp_seconds",
    "gauge",
    "When a task of this server last ended: upkeep, relabel, count.",
    ("task",),
    mode="mostrecent",
)
TASK_OK = Metric(
    "taxii_task_last_run_successful", "gauge", "Whether it did what it had to (1) or failed (0).", ("task",),
    mode="mostrecent",
)  # fmt: skip
REMOVED = Metric(
    "taxii_upkeep_removed_total", "counter", "What upkeep removed: records, ledger, statuses, catalogs.", ("what",)
)

# ---- mirrors

MIRROR_SUCCESS = Metric(
    "taxii_mirror_last_success_timestamp_seconds",
    "gauge",
    "When a mirror that runs as a service last came to its end; 0: never.",
    ("mirror", "way"),
    mode="scrape",
)
MIRROR_INTERVAL = Metric(
    "taxii_mirror_interval_seconds", "gauge", "How often it is to run (every_s).", ("mirror", "way"), mode="scrape"
)
MIRROR_OBJECTS = Metric(
    "taxii_mirror_objects",
    "gauge",
    "What its runs stored, could not store (refused) and deleted, so far.",
    ("mirror", "way", "result"),
    mode="scrape",
)

# ---- processes

WORKERS = Metric("taxii_workers", "gauge", "Workers that run.")
MEMORY = Metric("taxii_resident_memory_bytes", "gauge", "Memory of all workers (resident).")
MEMORY_LARGEST = Metric(
    "taxii_resident_memory_largest_bytes", "gauge", "Memory of the largest worker (resident).", mode="livemax"
)


def metrics() -> Iterator[Metric]:
    """Every metric, in the order of this module."""
    return (each for each in globals().values() if isinstance(each, Metric))
