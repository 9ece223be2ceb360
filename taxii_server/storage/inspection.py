"""A store as a check looks at it: every record with its text, and what the store keeps beside the records.

Reads in portions, each at one point in time, so that a check beside a running server holds nobody up. What a damaged
record says is given as far as it can be read. Every store has one, reached as `store.inspection`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from taxii_server.model import Record


@dataclass(frozen=True, slots=True)
class Found:
    """A record with its content. `unreadable` says what of it cannot be read, if anything.

    `is_found`: whether the store finds it by what it refers to (`Store.referrers`).
    """

    record: Record
    unreadable: str = ""
    is_found: bool = True


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that the store itself knows to be wrong: in which part, where, and what.

    `is_mended`: `mend` sets it right, whatever records it is given.
    """

    part: str
    where: str
    what: str
    is_mended: bool = False


class Inspection(ABC):
    """The records of one database, read as they are."""

    @abstractmethod
    def ids(self, after: str, limit: int) -> list[str]:
        """The first `limit` ids of records after this one, ascending."""

    @abstractmethod
    def records(self, ids: Collection[str]) -> list[Found]:
        """All records of these ids with their content, by id, ascending position. One point in time."""

    @abstractmethod
    def oddities(self) -> list[Oddity]:
        """What is wrong between the parts that only this kind of store has: indexes, counters, marks."""

    @abstractmethod
    def mend(self, records: Sequence[Record]) -> None:
        """Write the id, type, versions and references of these records, by position, and all that follows from them.

        One write transaction. Not the text, the digest or the label. Positions without a record are passed over.
        """
