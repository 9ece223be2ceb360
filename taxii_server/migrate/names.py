"""What the parts of an old server are called here. The same old server always gives the same names and ids.

Collection ids and API roots are in the settings of every client, so they stay, as far as TAXII and URLs allow.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from taxii_server.catalog.schema import UUID4
from taxii_server.migrate.old import OldCollection, OldRoot, OldServer
from taxii_server.settings import RESERVED
from taxii_server.settings.rows import is_name

_MOST_CHARS = 40
_OTHERS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Names:
    """Old name -> name here. `roots` by path, `collections` by (root, old id), `users` by user name.

    `anonymous`: the partner that whoever has no credentials acts as; empty when the old server let nobody in.
    """

    roots: Mapping[str, str]
    collections: Mapping[tuple[str, str], str]
    ids: Mapping[tuple[str, str], str]
    users: Mapping[str, str]
    anonymous: str

    def partners(self, users: Iterable[str]) -> list[str]:
        """The partners that these users are, sorted."""
        return sorted(self.users.get(user, self.anonymous) for user in users)


def choose_names(server: OldServer, taken: Collection[str] = (), submitter: str = "") -> Names:
    """The names of everything. `taken`: names that the hub has already; they and that of the submitter are left."""
    used = {*taken, submitter, *RESERVED}
    roots = {root.path: _root_name(root, used) for root in server.roots}
    users = {user.name: _free(_plain(user.name) or "user", used) for user in server.users}
    is_open = any("" in {*each.readers, *each.writers, *each.viewers} for each in server.collections)
    used = {*taken}
    return Names(
        roots=roots,
        collections={
            (each.root, each.id): _free(_plain(each.title) or "collection", used) for each in server.collections
        },
        ids={(each.root, each.id): kept_id(each) for each in server.collections},
        users=users,
        anonymous=_free("anonymous", {*taken, *users.values()}) if is_open else "",
    )


def kept_id(collection: OldCollection) -> str:
    """The id of a collection: its own when it is a UUID version 4 in lower case, as TAXII wants it, else one made of
    it."""
    try:
        return UUID4.read(collection.id)
    except ValueError:
        made = hashlib.sha256(f"{collection.root}/{collection.id}".encode()).digest()[:16]
        return str(uuid.UUID(bytes=made, version=4))


def _root_name(root: OldRoot, used: set[str]) -> str:
    if is_name(root.path) and root.path not in used:
        used.add(root.path)
        return root.path
    return _free(_plain(root.title) or "root", used)


def _plain(text: str) -> str:
    """The text as a name: letters without accents, digits, single hyphens; empty when nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _OTHERS.sub("-", plain).strip("-")[:_MOST_CHARS].strip("-")


def _free(name: str, used: set[str]) -> str:
    """The name, or the first one of name-2, name-3, ... that is not used; used from now on."""
    found, number = name, 1
    while found in used:
        number += 1
        found = f"{name}-{number}"
    used.add(found)
    return found
