"""Where the entries of the disclosure ledger are kept. What they say, and how they prove it, is service/ledger.py.

A store of entries adds and reads, and never changes one. It removes the beginning of a strand when it is told so, which
service/pruning.py does after it has written down what goes. It does not look at what the hashes say, so that a check
reads exactly what is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from taxii_server.errors import StorageError
from taxii_server.model import POSITION_MAX

#: Kinds of entries that name the heads of other strands.
NAMING = ("opened", "heads")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `number` counts from 1 within its strand, without gaps; `time` is µs since 1970.

    `object` is the id that the entry is about, or empty; `first` and `last` are the lowest and the highest record
    position in `items`, or 0. `facts` is canonical JSON. `previous` is the hash of the entry before in its strand.
    """

    strand: str
    number: int
    time: int
    kind: str
    partner: str
    object: str
    first: int
    last: int
    facts: str
    items: bytes
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """An entry by its name and hash: the last one of a strand, or the one that was the last at some time."""

    strand: str
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """Which entries. All conditions are ANDed; None means no condition.

    `position`: entries whose range `first` to `last` has it inside (that it was delivered shows in `items`).
    """

    kinds: tuple[str, ...] | None = None
    partner: str | None = None
    object: str | None = None
    position: int | None = None
    since: int = 0
    until: int = POSITION_MAX


class PlaceTaken(StorageError):
    """Another entry has the place of this one."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(f"the ledger has another entry {entry.number} of strand {entry.strand}")


class LedgerStore(ABC):
    """The entries of one database. Safe to use from several threads and processes, also beside writers of records."""

    @abstractmethod
    def append(self, entries: Sequence[Entry], *, firm: bool = False) -> None:
        """Add these entries: they survive the death of this process when it returns, the power failing if `firm`.

        Raises StorageUnavailable; then none of them, all, or the first few of them are there. An entry whose strand
        and number are taken is never overwritten: that is a StorageError.
        """

    @abstractmethod
    def adopt(self, entries: Sequence[Entry]) -> None:
        """Add those of these entries that are not there yet, as `append` does with firm ones.

        Raises PlaceTaken when another entry has the place of one of them, StorageUnavailable as `append` does.
        """

    @abstractmethod
    def settle(self) -> None:
        """Bring into the database what this machine has written and is on its way there, if there is such a way.

        Every method that reads does so by itself. Raises StorageUnavailable.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what it holds, after `settle` as far as that is possible."""

    @abstractmethod
    def heads(self, *, limit_s: float | None = None) -> list[Head]:
        """The last entry of each strand, ascending by strand. Costs by the number of strands, not of entries.

        Raises StorageUnavailable after `limit_s`; None: as long as operators wait, a minute at least.
        """

    @abstractmethod
    def count(self) -> int:
        """How many entries there are."""

    @abstractmethod
    def drop(self, strand: str, through: int) -> int:
        """Remove the entries of the strand up to this number; how many."""

    @abstractmethod
    def walk(self) -> Iterator[Entry]:
        """All entries, ascending by strand and number. Those that are added meanwhile may be among them."""

    @abstractmethod
    def find(self, query: LedgerQuery, *, limit_s: float | None = None) -> Iterator[Entry]:
        """The entries that satisfy the query, ascending by time. `limit_s`: for all of them, as `heads`."""

    @abstractmethod
    def latest(self, partner: str, limit: int) -> list[Entry]:
        """The last `limit` entries of the partner, newest first. Reads no others."""
