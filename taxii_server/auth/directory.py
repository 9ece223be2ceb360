"""The credentials in memory: replaced whole when the store's credentials epoch moves, looked up without a command."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from taxii_server.auth.secrets import expiry_of
from taxii_server.model import Credential


class Directory:
    """The credentials that are not revoked, by id. Reading needs no lock: the map is swapped, never changed."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        #: id -> the credential, and the moment (seconds since 1970) from which on it is not taken
        self._by_id: dict[str, tuple[Credential, float]] = {}

    def replace(self, credentials: Iterable[Credential]) -> None:
        """Make these the credentials in force; revoked ones are left out."""
        self._by_id = {each.id: (each, _end(each)) for each in credentials if not each.revoked}

    def find(self, credential_id: str) -> Credential | None:
        """The credential in force with this id; None also for one that has expired."""
        credential, end = self._by_id.get(credential_id, (None, 0.0))
        return credential if self._now() < end else None


def _end(credential: Credential) -> float:
    expiry = expiry_of(credential)
    return math.inf if expiry is None else expiry.timestamp()
