"""Schema versions, the same for every store.

The version of a database is the number of migrations it has been through, so the list of migrations of a
release says which version it knows. A migration is never changed once it is released; a new one is appended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from taxii_server.errors import SchemaTooNew

#: What a store hands to its migrations: its connection, its database.
Handle = TypeVar("Handle")


def pending(
    where: str, found: int, migrations: Sequence[Callable[[Handle], None]]
) -> Sequence[Callable[[Handle], None]]:
    """The migrations that a database of version `found` still needs, in order.

    `where` names the database in the message. Raises SchemaTooNew when the database is ahead of this release.
    """
    known = len(migrations)
    if found > known:
        raise SchemaTooNew(
            f"{where}: the database has schema version {found}, this release of taxii-server knows versions up to"
            f" {known}: start the newer release that wrote it"
        )
    return migrations[found:]
