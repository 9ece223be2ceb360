"""Stores: what they promise is in base.py, `open_store` picks one by its URL."""

from __future__ import annotations

import re
from pathlib import Path

from taxii_server.errors import ConfigError, Problem
from taxii_server.settings import Settings
from taxii_server.storage.base import Store
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.storage.sqlite_connection import FORKS
from taxii_server.storage.together import WRITES_TOGETHER

__all__ = ["Store", "is_spoilt_by_fork", "open_store", "store_of"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_KNOWN = "known: a path, sqlite:///relative/path, sqlite:////absolute/path, mongodb://..., mongodb+srv://..."


def open_store(url: str, *, writes_together: int = WRITES_TOGETHER, ledger_spool: str = "") -> Store:
    """The store that a URL names, not yet prepared and not yet connected.

    A path or `sqlite:///path` is an SQLite file (three slashes and a relative path, four and an absolute one,
    as everywhere in Python); `mongodb://` and `mongodb+srv://` are MongoDB. Raises ConfigError for anything else.
    Up to `writes_together` writes that come at the same time share one transaction. `ledger_spool` is a folder of this
    machine by way of which the ledger goes into MongoDB; empty, and on SQLite, it goes there at once.
    """
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if scheme in ("mongodb", "mongodb+srv"):
        # Imported here: who runs on SQLite does not wait for the driver.
        from taxii_server.storage.mongo import MongoStore

        spool = Path(ledger_spool) if ledger_spool else None
        return MongoStore(scheme + url[len(scheme) :], writes_together=writes_together, ledger_spool=spool)
    if scheme == "sqlite":
        path = url[len("sqlite:///") :] if url.lower().startswith("sqlite:///") else ""
    elif scheme:
        # The rest of the URL may hold a password.
        raise _refused(f"unknown kind of store '{scheme}:'")
    else:
        path = url
    if not path or path == ":memory:" or "\0" in path:
        raise _refused("a store needs the path of a file")
    return SQLiteStore(path, writes_together=writes_together)


def store_of(settings: Settings) -> Store:
    """The store that the settings name, as `open_store`."""
    return open_store(settings.store, writes_together=settings.posts_per_commit, ledger_spool=settings.ledger_spool)


def is_spoilt_by_fork() -> bool:
    """Whether no SQLite file can be opened, because another thread of the parent used one when this process was forked.

    Such a process has to end; the next one will be in luck.
    """
    return FORKS.is_spoilt


def _refused(message: str) -> ConfigError:
    return ConfigError([Problem("", "store", f"{message} ({_KNOWN})")])
