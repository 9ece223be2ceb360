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
from taxii_server.migrate.old import OldRoot, OldServer
from taxii_server.settings import RESERVED
from taxii_server.settings.rows import is_name

_MOST_CHARS = 40
_OTHERS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Names:
    """Old name -> name here. `roots` by path, `collections` by (root, old id), `users` by user name.

    `anonymous`: the partner that whoever has no credentials acts as; empty when the old server let nobody in.
    `group`: that of all the users.
    """

    roots: Mapping[str, str]
    collections: Mapping[tuple[str, str], str]
    ids: Mapping[tuple[str, str], str]
    users: Mapping[str, str]
    anonymous: str
    group: str

    def partners(self, users: Iterable[str]) -> list[str]:
        """The partners that these users are, sorted."""
        return sorted(self.users.get(user, self.anonymous) for user in users)


def choose_names(server: OldServer, taken: Collection[str] = (), submitter: str = "") -> Names:
    """The names of everything. `taken`: names that the hub has already; they and that of the submitter are left."""
    used = {*taken, submitter}
    users = {user.name: _free(_plain(user.name) or "user", used) for user in server.users}
    is_open = any("" in {*each.readers, *each.writers, *each.viewers} for each in server.collections)
    anonymous = _free("anonymous", used) if is_open else ""
    group = _free(server.kind, {*taken})
    used = {*taken}
    collections = {(each.root, each.id): _free(_plain(each.title) or "collection", used) for each in server.collections}
    return Names(_roots(server.roots, {*taken, *RESERVED}), collections, kept_ids(server), users, anonymous, group)


def kept_ids(server: OldServer) -> dict[tuple[str, str], str]:
    """The ids of the collections, by root and old id: their own, if it is a UUID version 4 in lower case, as TAXII
    wants it, and no collection of another root has it as well; else one that is made of both."""
    used: set[str] = set()
    ids: dict[tuple[str, str], str] = {}
    for each in server.collections:
        made = hashlib.sha256(f"{each.root}/{each.id}".encode()).digest()[:16]
        id_ = each.id if _is_uuid4(each.id) and each.id not in used else str(uuid.UUID(bytes=made, version=4))
        used.add(id_)
        ids[each.root, each.id] = id_
    return ids


def _is_uuid4(text: str) -> bool:
    try:
        return UUID4.read(text) == text
    except ValueError:
        return False


def _roots(roots: Iterable[OldRoot], used: set[str]) -> dict[str, str]:
    """The names of the roots by path. First those that can keep theirs, so that nobody else takes it."""
    names: dict[str, str] = {}
    for root in roots:
        if is_name(root.path) and root.path not in used:
            used.add(root.path)
            names[root.path] = root.path
    for root in roots:
        if root.path not in names:
            names[root.path] = _free(_plain(root.title) or "root", used)
    return names


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
