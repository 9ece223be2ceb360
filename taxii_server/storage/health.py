"""Whether a database can be used now, and how it is: for probes and for whoever watches over it.

Every store has one, reached as `store.health`; one suite (tests/storage/health_contract.py) proves both. Nothing of it
is on the way of a request, and none of it writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """A replica set as its primary sees it. What this login may not look at is missing."""

    #: state, such as PRIMARY -> number of members
    members: Mapping[str, int] = field(default_factory=dict)
    #: host of a secondary -> seconds behind the primary
    lag_s: Mapping[str, float] = field(default_factory=dict)
    #: seconds between the oldest and the newest entry of the oplog
    oplog_s: float | None = None


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a database is. Of the two kinds of store each fills in what it has."""

    #: what the file is -> bytes
    file_bytes: Mapping[str, int] = field(default_factory=dict)
    disk_free_bytes: int | None = None
    replica_set: ReplicaSet | None = None


class Health(ABC):
    """Looks at one database. Safe to use from several threads."""

    @abstractmethod
    def check(self, timeout_s: float) -> None:
        """Return when records can be read and written, and the schema is the one of this release.

        Raises StorageUnavailable or another StorageError with the reason, for an operator. Cheap: no more than two
        commands. Does not wait for other writers.
        """

    @abstractmethod
    def vitals(self, timeout_s: float) -> Vitals:
        """How the database is. Raises StorageUnavailable."""
