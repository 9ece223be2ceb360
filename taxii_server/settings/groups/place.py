"""Settings: where things are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import matching, row, text, texts


def _is_below(value: str) -> bool:
    """A file below the folder of server.toml: its name is the same wherever that folder stands."""
    return bool(value) and not value.startswith("/") and ".." not in value.split("/") and value.endswith(".toml")


FILES = texts(
    matching("file", _is_below, "the name of a .toml file in the folder of server.toml"), "list of file names", False
)


@dataclass(frozen=True, kw_only=True)
class Place:
    GROUP: ClassVar = "Where things are"

    store: str = row(
        text(may_be_empty=False),
        "../var/taxii.db",
        "Where objects are kept: the path of an SQLite file, or a mongodb:// URL with the name of the database.",
        secret=True,
        active=True,
    )
    config_files: tuple[str, ...] = row(
        FILES,
        ("partners.toml", "policy.toml"),
        "The files that declare partners and rules. They are read as one policy; split them as you like.",
        active=True,
    )
    collections_dir: str = row(
        text(may_be_empty=False),
        "../collections",
        "The folder of the collections, one .toml file each. Names that begin with _ are skipped.",
        active=True,
    )
