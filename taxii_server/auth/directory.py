"""The credentials in memory: replaced whole when the store's credentials epoch moves, looked up without a command."""

from __future__ import annotations

from collections.abc import Iterable

from taxii_server.model import Credential


class Directory:
    """The credentials that are not revoked, by id. Reading needs no lock: the map is swapped, never changed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Credential] = {}

    def replace(self, credentials: Iterable[Credential]) -> None:
        """Make these the credentials in force; revoked ones are left out."""
        self._by_id = {each.id: each for each in credentials if not each.revoked}

    def find(self, credential_id: str) -> Credential | None:
        """The credential in force with this id."""
        return self._by_id.get(credential_id)
