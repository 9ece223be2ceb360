"""Files with secrets in them: who else on this machine could read them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from taxii_server.errors import Problem

#: What stands beside an SQLite file, and what SQLite puts beside each of the two.
_BESIDE = tuple(file + part for file in ("", "-ledger") for part in ("", "-wal", "-shm", "-journal"))


def world_readable(path: Path, what: str, key: str = "") -> list[Problem]:
    """The problem when everybody on this machine can read the file; none when there is no such file.

    A group may read it: that is how a file of root is given to the user of a service.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return []  # whoever opens it says why it cannot
    if not mode & (stat.S_IROTH | stat.S_IWOTH):
        return []
    message = f"{what} and every user of this machine can read or write it; run: chmod o-rwx {path}"
    return [Problem(path.as_posix(), key, f"{message} (check_file_modes = false switches this check off)")]


def world_readable_database(path: Path) -> list[Problem]:
    """The problems of an SQLite file and of the ledger, and of what SQLite puts beside them."""
    return list(_each(path.with_name(path.name + suffix) for suffix in _BESIDE))


def _each(paths: Iterable[Path]) -> Iterable[Problem]:
    for path in paths:
        yield from world_readable(path, "it holds what partners shared, and the ledger,")
