"""The table: every setting with its type, default and help, and the frozen objects that hold the values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType

from taxii_server.settings.groups.access import Access
from taxii_server.settings.groups.console import Console
from taxii_server.settings.groups.http import Http
from taxii_server.settings.groups.limits import Limits
from taxii_server.settings.groups.mirroring import Mirroring
from taxii_server.settings.groups.pages import Pages
from taxii_server.settings.groups.place import Place
from taxii_server.settings.groups.presentation import Presentation
from taxii_server.settings.groups.running import Running
from taxii_server.settings.groups.strictness import Strictness
from taxii_server.settings.groups.tls import Tls
from taxii_server.settings.groups.watching import Watching
from taxii_server.settings.rows import Row, matching, required_row, row, rows_of, text, whole

#: First path segments that are not API roots.
RESERVED = frozenset({"taxii2", "healthz", "livez", "readyz", "metrics", "static", "console"})


_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,100}")


def _is_path(value: str) -> bool:
    """Segments that a URL can hold as they are; no `.` and `..`, which clients take out."""
    return not value or all(_SEGMENT.fullmatch(each) and each.strip(".") for each in value.split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoot:
    """An API root: `/<name>/` on this server, and `/<path>/` where it has one."""

    name: str
    title: str = required_row(text(may_be_empty=False), "The title that clients show.")
    description: str = row(text(), "", "What the collections under this root have in common.", active=True)
    max_content_length: int = row(
        whole(1024), 104_857_600, "The largest body of a POST, in bytes. A larger one is answered 413.", active=True
    )
    path: str = row(
        matching("path", _is_path, "one or more names with slashes between them, such as taxii2/UUID"),
        "",
        "Where it is served as well, and what discovery names: for clients that know it by the URL that it had on "
        "another server, such as taxii2/UUID of OpenTAXII. Empty: at its name only. Takes effect at the next start.",
    )


# Fields of a dataclass come from the last base first: read upwards, this is the order of server.toml.
@dataclass(frozen=True, kw_only=True)
class Settings(
    Watching, Mirroring, Running, Strictness, Limits, Console, Access, Pages, Tls, Http, Presentation, Place
):
    """The settings in force, and where each came from. Made by `load`."""

    api_roots: Mapping[str, ApiRoot] = field(default_factory=lambda: MappingProxyType({}))
    #: the server.toml that was read; None without one
    file: Path | None = None
    #: where the files of the catalog stand: the folder of server.toml
    folder: Path = field(default_factory=lambda: Path("config"))
    #: name -> "default", the file, the variable or the flag that said so
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the port."""
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    @property
    def has_console(self) -> bool:
        """Whether the pages for people are served."""
        if self.console == "auto":
            return self.is_local and not self.trusted_proxies and not self.hide_unauthenticated
        return self.console == "on"

    @property
    def uses_mongodb(self) -> bool:
        return is_mongodb(self.store)


#: The table: what exists, what it defaults to, what it is for.
ROWS: Mapping[str, Row] = rows_of(Settings)


def is_mongodb(store: str) -> bool:
    return store.startswith(("mongodb://", "mongodb+srv://"))
