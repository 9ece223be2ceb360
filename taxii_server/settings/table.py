"""The table: every setting with its type, default and help, and the frozen objects that hold the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from taxii_server.settings.rows import (
    Row,
    matching,
    one_of,
    required_row,
    row,
    rows_of,
    seconds,
    text,
    texts,
    whole,
    yes_no,
)

#: First path segments that are not API roots.
RESERVED = frozenset({"taxii2", "healthz", "livez", "readyz", "metrics", "static"})


def _is_public_url(value: str) -> bool:
    parts = urlsplit(value)
    # TAXII 2.1, 4.1.1: an API root is an absolute https URL or a relative one, without a query.
    return not value or (parts.scheme == "https" and bool(parts.netloc) and not parts.query and not parts.fragment)


def _is_below(value: str) -> bool:
    """A file below the folder of server.toml: its name is the same wherever that folder stands."""
    return bool(value) and not value.startswith("/") and ".." not in value.split("/") and value.endswith(".toml")


PUBLIC_URL = matching("https URL or empty", _is_public_url, "an https URL without a query (or empty)")
FILES = texts(
    matching("file", _is_below, "the name of a .toml file in the folder of server.toml"), "list of file names", False
)


# fmt: off
@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoot:
    """An API root: `/<name>/` on this server."""

    name: str
    title: str = required_row(text(may_be_empty=False), "The title that clients show.")
    description: str = row(text(), "", "What the collections under this root have in common.", active=True)
    max_content_length: int = row(
        whole(1024), 104_857_600, "The largest body of a POST, in bytes. A larger one is answered 413.", active=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force, and where each came from. Made by `load`."""

    store: str = row(
        text(may_be_empty=False),
        "../var/taxii.db",
        "Where objects are kept: the path of an SQLite file, or a mongodb:// URL with the name of the database.",
        group="Where things are",
        secret=True,
        active=True,
    )
    config_files: tuple[str, ...] = row(
        FILES,
        ("partners.toml", "policy.toml"),
        "The files that declare partners and rules. They are read as one policy; split them as you like.",
        group="Where things are",
        active=True,
    )
    collections_dir: str = row(
        text(may_be_empty=False),
        "../collections",
        "The folder of the collections, one .toml file each. Names that begin with _ are skipped.",
        group="Where things are",
        active=True,
    )
    title: str = row(
        text(may_be_empty=False),
        "Cyber threat intelligence hub",
        "The title in the discovery document.",
        group="How the server presents itself",
        active=True,
    )
    description: str = row(
        text(),
        "What partners share about threats. Each of them sees what the rules allow.",
        "The description in the discovery document.",
        group="How the server presents itself",
        active=True,
    )
    contact: str = row(
        text(),
        "",
        "Whom partners ask, in the discovery document: an e-mail address, a telephone number.",
        group="How the server presents itself",
        active=True,
    )
    public_url: str = row(
        PUBLIC_URL,
        "",
        "The https address under which partners reach the server. Empty: the discovery document names relative URLs, "
        "which every client resolves, also behind a proxy.",
        group="How the server presents itself",
        active=True,
    )
    host: str = row(text(may_be_empty=False), "127.0.0.1", "The address to listen on.", group="HTTP", active=True)
    port: int = row(whole(1, 65535), 6100, "The port to listen on.", group="HTTP", active=True)
    workers: int = row(
        whole(1, 256), 2, "Processes. SQLite and MongoDB both serve several; about one for each core.", group="HTTP"
    )
    threads: int = row(whole(1, 256), 8, "Requests that each worker answers at the same time.", group="HTTP")
    shutdown_grace_s: float = row(
        seconds(0), 25.0, "How long requests in flight may go on after the order to stop.", group="HTTP"
    )
    max_page: int = row(
        whole(1, 20_000), 1000, "The most objects in one page, whatever `limit` asks for.", group="Pages"
    )
    default_page: int = row(
        whole(1, 20_000),
        1000,
        "The page without a `limit`. As large as max_page, because common clients (taxii2-client, and with it OpenCTI) "
        "send no limit at first and then ask for pages as large as the first one: a small default makes them slow. "
        "Never more than max_page.",
        group="Pages",
    )
    max_ids_per_match: int = row(
        whole(1, 10_000), 500, "The most values in one match[...] parameter; more are answered 400.", group="Pages"
    )
    auth_basic: bool = row(
        yes_no(), True, "Accept a name and password (HTTP Basic). Use TLS in front of it.", group="Who may come in"
    )
    auth_bearer: bool = row(
        yes_no(), True, "Accept tokens (Authorization: Bearer, or Token as some clients say).", group="Who may come in"
    )
    anonymous_partner: str = row(
        text(),
        "",
        "The partner that a request without credentials acts as. Empty: such a request is refused. Its clearance "
        'should be "clear".',
        group="Who may come in",
    )
    hide_unauthenticated: bool = row(
        yes_no(),
        False,
        "Answer 404 in place of 401 when credentials are missing, so that a stranger learns nothing. Clients then "
        "cannot tell a wrong password from a wrong URL.",
        group="Who may come in",
    )
    password_cache_s: float = row(
        seconds(0),
        300.0,
        "How long a password that was right is remembered (as a keyed hash, in memory). Checking one costs tens of "
        "milliseconds on purpose. 0: never.",
        group="Who may come in",
    )
    strict_accept: bool = row(
        yes_no(),
        True,
        "Answer 406 to a request without an Accept header, as TAXII says. Wildcards are served either way.",
        group="How strict the server is",
    )
    trailing_slash: str = row(
        one_of("refuse", "serve"),
        "refuse",
        "A URL without its final slash: refuse answers 404, serve answers as with the slash.",
        group="How strict the server is",
    )
    unknown_match: str = row(
        one_of("ignore", "reject"),
        "ignore",
        "A match[...] field that this server does not know: ignore it, as TAXII allows, or reject it with 400, so that "
        "a client never gets more than it meant to ask for.",
        group="How strict the server is",
    )
    ledger: bool = row(
        yes_no(),
        True,
        "Record every delivery in the disclosure ledger before the answer leaves (docs/ledger.md). What is not "
        "recorded can never be told later.",
        group="Running",
    )
    posts_per_commit: int = row(
        whole(1, 1000),
        64,
        "The most requests of one worker that share a transaction when they come at the same time. None waits for "
        "others to come. 1: each has its own.",
        group="Running",
    )
    status_hours: int = row(whole(1, 8760), 48, "How long the status of a POST can be read.", group="Running")
    refresh_s: float = row(
        seconds(0.05), 0.5, "How often a worker asks the store for a new catalog and new credentials.", group="Running"
    )
    watch_config: bool = row(
        yes_no(), True,
        "Put the files of the catalog in force when they are changed, within a few seconds, as `taxii-server reload` "
        "does. What does not hold is logged with its file and key, and changes nothing.",
        group="Running",
    )
    log_format: str = row(one_of("text", "json"), "text", "How log lines are written.", group="Running")
    log_level: str = row(
        one_of("debug", "info", "warning", "error"),
        "info",
        "The least important line that is logged.",
        group="Running",
    )

    # fmt: on
    api_roots: Mapping[str, ApiRoot] = field(default_factory=lambda: MappingProxyType({}))
    #: the server.toml that was read; None without one
    file: Path | None = None
    #: where the files of the catalog stand: the folder of server.toml
    folder: Path = field(default_factory=lambda: Path("config"))
    #: name -> "default", the file, the variable or the flag that said so
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @property
    def uses_mongodb(self) -> bool:
        return is_mongodb(self.store)


#: The table: what exists, what it defaults to, what it is for.
ROWS: Mapping[str, Row] = rows_of(Settings)


def is_mongodb(store: str) -> bool:
    return store.startswith(("mongodb://", "mongodb+srv://"))
