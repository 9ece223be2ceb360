"""What servers do in the background: one of them at a time, by a lease; what they note, and what they clear away.

Every store has one, reached as `store.chores`; one suite (tests/storage/chores_contract.py) proves both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class Chores(ABC):
    """Leases and old rows of one database. Safe to use from several threads and processes."""

    @abstractmethod
    def take(self, name: str, holder: str, duration_us: int, *, renew: bool = False) -> bool:
        """Whether the holder has the lease of this name from now on, for so long.

        Only when nobody has it: it is new, given back, or has run out. `renew`: also when the holder has it still.
        Of two that ask at once, one gets it.
        """

    @abstractmethod
    def give_back(self, name: str, holder: str) -> None:
        """End the lease, if this holder has it."""

    @abstractmethod
    def note(self, name: str, text: str) -> None:
        """Keep this text under this name, in place of the one before; durable when it returns. Empty: keep none.

        Notes are no part of a backup: whoever goes on after a restore must not rely on what was done after the backup.
        """

    @abstractmethod
    def notes(self, prefix: str = "") -> dict[str, str]:
        """The texts that are kept, by the names that begin so, in the order of the names."""

    @abstractmethod
    def forget_statuses(self) -> int:
        """Remove the status resources that have expired; how many."""

    @abstractmethod
    def forget_catalogs(self, before: int) -> int:
        """Remove the configurations that were replaced before this time (µs), oldest first; how many.

        Never the one in force, nor the one before it.
        """
