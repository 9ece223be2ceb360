"""One POST on its way: the catalog that judges it, what became of its objects, and its status.

Why a POST asks nothing before it is carried out: its first transaction knows which catalog is in force, as it has read
all of the log, which tells of every change. Asking before would cost as much as a poll. Only where there is no
transaction, or something is written before it, the store is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taxii_server.model import StoredStatus
from taxii_server.policy.guard import Guard
from taxii_server.service.guarding import Stopped
from taxii_server.service.reading import Superseded


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one object of a body, in its order: a success, or a failure with its reason.

    `stopped`: what a guard did with it, if one did.
    """

    id: str
    version: str
    message: str | None
    ok: bool
    stopped: Stopped | None = None


#: Makes the status resource of a body from what became of its objects, in their order.
Tell = Callable[[Sequence[Added]], StoredStatus]


@dataclass(slots=True)
class Post:
    """What a POST comes with besides its objects, and what is known of it so far."""

    #: of the catalog that judges it, and its guards
    epoch: int
    guards: Sequence[Guard]
    #: asks the store for the epoch of the catalog in force
    in_force: Callable[[], int]
    #: None: it gets no status
    tell: Tell | None
    #: whether the catalog is known to have been in force since the POST came
    is_certain: bool = False
    #: whether the status was written with the last portion of the body
    is_told: bool = False

    def require_certain(self) -> None:
        """Find out that its catalog is in force, unless that is known. Raises Superseded."""
        if not self.is_certain:
            self.require(self.in_force())
            self.is_certain = True

    def require(self, epoch: int) -> None:
        """Raise Superseded when the catalog of this epoch came into force before anything was stored or told."""
        if epoch > self.epoch and not self.is_certain:
            raise Superseded


def then(tell: Tell | None, whole: Callable[[Sequence[Added]], Sequence[Added]]) -> Tell | None:
    """`tell` for some of the objects: `whole` says what became of all by what became of those."""
    return None if tell is None else lambda some: tell(whole(some))
