"""Which hub it is moved into: the real one, or one that is thrown away; and what there stands for what was there."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from taxii_server.catalog import FILED, Catalog, read_files
from taxii_server.errors import StorageError, StorageUnavailable
from taxii_server.migrate.moving import MigrateError, Targets
from taxii_server.migrate.names import choose_names, kept_ids
from taxii_server.migrate.old import OldServer
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings
from taxii_server.storage import open_store, store_of
from taxii_server.storage.base import Store

_HOW = (
    "--new-hub DIR writes a new hub that has all of it; --fragments DIR writes the files for this one, to be reviewed, "
    "copied and put in force with 'taxii-server policy apply'"
)


@contextmanager
def rehearsal(settings: Settings) -> Iterator[tuple[Hub, Store | None]]:
    """A hub with this configuration on a store that is thrown away, and the real store, if there is one."""
    files = read_files(settings)
    with tempfile.TemporaryDirectory(prefix="taxii-server-migrate-") as folder:
        real = existing(settings)
        scratch = open_store(str(Path(folder) / "rehearsal.db"))
        try:
            scratch.prepare()
            hub = Hub(settings, scratch)
            hub.apply(files, "taxii-server")
            yield hub, real
        finally:
            scratch.close()
            if real is not None:
                real.close()


def existing(settings: Settings) -> Store | None:
    """The store of the settings as it is; None when there is none yet. Raises StorageUnavailable."""
    if not settings.uses_mongodb and not Path(settings.store.removeprefix("sqlite:///")).exists():
        return None
    store = store_of(settings)
    try:
        store.state()
    except StorageUnavailable:
        store.close()
        raise
    except StorageError:
        store.close()
        return None
    return store


def find_targets(catalog: Catalog, server: OldServer, submitter: str) -> Targets:
    """Where each collection of the old server goes. Raises MigrateError when one has no place, or is closed."""
    by_id = {each.id: each for each in catalog.collections.values()}
    ids = kept_ids(server)
    missing = [
        f"'{each.title}' ({id_})" for each in server.collections if (id_ := ids[each.root, each.id]) not in by_id
    ]
    if missing:
        raise MigrateError(f"the hub has no collection with the id of {', '.join(missing[:5])}: {_HOW}")
    if submitter not in catalog.policy.audiences:
        raise MigrateError(f"the hub has no partner '{submitter}' to store the objects for: name one with --as; {_HOW}")
    found = {key: by_id[id_] for key, id_ in ids.items()}
    closed = sorted({each.name for each in found.values() if not catalog.rights(each, submitter).write})
    if closed:
        raise MigrateError(
            f"'{submitter}' may not write to {', '.join(closed[:5])}: add it to `writers` there, for as long as this "
            "takes, and run 'taxii-server policy apply'"
        )
    return found


def find_partners(catalog: Catalog, server: OldServer) -> dict[str, str]:
    """User -> partner of this hub: the one whose title is the user's name, else the one of that name.

    Only among those of the group that the configuration which was written has for the users: somebody who happens to be
    called like a partner of this hub must not become that partner.
    """
    group = re.compile(rf"{server.kind}(-[0-9]+)?")
    users = {name: each for name, each in catalog.policy.audiences.items() if any(map(group.fullmatch, each.groups))}
    titles = {each.title: name for name, each in users.items()}
    usual = choose_names(server).users
    found: dict[str, str] = {}
    for user in server.users:
        name = titles.get(user.name) or usual[user.name]
        if name in users:
            found[user.name] = name
    return found


def not_in_force(store: Store, settings: Settings) -> list[str]:
    """What to tell when the files of the configuration were edited and not applied."""
    applied = store.catalog()
    own = {} if applied is None else {name: text for name, text in applied.files.items() if not name.startswith(FILED)}
    if own == read_files(settings):
        return []
    return ["the configuration on disk is not the one in force, which was used: 'taxii-server policy apply' applies it"]


def strangers(server: OldServer, partners: Mapping[str, str]) -> list[str]:
    """What to tell of the users who are no partners here."""
    return [
        f"user '{user.name}' is no partner of this hub: none in the group '{server.kind}' has this name or title; "
        "nobody looked what it would lose"
        for user in server.users
        if user.name not in partners
    ]
