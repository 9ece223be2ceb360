"""The table: every setting with its type, default and help, and the frozen objects that hold the values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from taxii_server.settings.rows import (
    Kind,
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
from taxii_server.settings.sources import ALGORITHMS, is_key_source

#: First path segments that are not API roots.
RESERVED = frozenset({"taxii2", "healthz", "livez", "readyz", "metrics", "static"})


def _is_public_url(value: str) -> bool:
    parts = urlsplit(value)
    # TAXII 2.1, 4.1.1: an API root is an absolute https URL or a relative one, without a query.
    return not value or (parts.scheme == "https" and bool(parts.netloc) and not parts.query and not parts.fragment)


def _is_below(value: str) -> bool:
    """A file below the folder of server.toml: its name is the same wherever that folder stands."""
    return bool(value) and not value.startswith("/") and ".." not in value.split("/") and value.endswith(".toml")


def _is_network(value: str) -> bool:
    try:
        ip_network(value)
    except ValueError:
        return False
    return True


PUBLIC_URL = matching("https URL or empty", _is_public_url, "an https URL without a query (or empty)")
FILES = texts(
    matching("file", _is_below, "the name of a .toml file in the folder of server.toml"), "list of file names", False
)
NETWORKS = texts(
    matching("network", _is_network, "an address or a network, such as 10.0.0.0/8 or 2001:db8::7"), "list of networks"
)
HEADER = matching(
    "header name", lambda value: re.fullmatch(r"[A-Za-z0-9-]*", value) is not None, "the name of a header (or empty)"
)

KEY_SOURCE = matching(
    "https URL or file",
    is_key_source,
    "an https URL without a login (http only to this machine), or the path of a file",
)
SIGNATURES: Kind[tuple[str, ...]] = texts(one_of(*ALGORITHMS), "list of signature algorithms", False)


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
    max_waiting: int = row(
        whole(0, 100_000),
        64,
        "Requests of each worker that may wait for a thread. One more is answered 503 with Retry-After at once.",
        group="HTTP",
    )
    max_wait_s: float = row(
        seconds(0.1), 10.0, "How long a request may wait for a thread before it is answered 503.", group="HTTP"
    )
    max_connections: int = row(
        whole(8, 100_000),
        1000,
        "Connections of each worker. One more takes the place of an idle one, of the address that has the most.",
        group="HTTP",
    )
    buffer_mb: int = row(
        whole(1, 1_000_000),
        256,
        "Memory of each worker for bodies that are arriving and answers that are leaving slowly. When it is full, the "
        "slowest connection is ended.",
        group="HTTP",
    )
    tls_certificate: str = row(
        text(),
        "",
        "The PEM file with the certificate of this server, and with those between it and its CA. Set: the port speaks "
        "TLS 1.2 and 1.3 and nothing else. SIGHUP reads the files again.",
        group="TLS and proxies",
    )
    tls_key: str = row(
        text(),
        "",
        "The PEM file with the private key. Refused when everybody can read it. Empty: the key is in tls_certificate.",
        group="TLS and proxies",
    )
    tls_chain: str = row(
        text(), "", "A PEM file with the certificates between that of the server and its CA.", group="TLS and proxies"
    )
    tls_client_ca: str = row(
        text(),
        "",
        "A PEM file with the CAs (or single certificates) that client certificates are checked against.",
        group="TLS and proxies",
    )
    plain_http: bool = row(
        yes_no(),
        False,
        "Listen without TLS on an address that other machines can reach, without a trusted proxy. Credentials and "
        "everything else then travel in the clear.",
        group="TLS and proxies",
    )
    trusted_proxies: tuple[str, ...] = row(
        NETWORKS,
        (),
        "Addresses or networks of proxies that may say whom they ask for. Headers of this kind are ignored from "
        "everybody else.",
        group="TLS and proxies",
    )
    forwarded_header: str = row(
        one_of("x-forwarded", "forwarded"),
        "x-forwarded",
        "Where trusted proxies say so: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239). The other is "
        "ignored.",
        group="TLS and proxies",
    )
    certificate_header: str = row(
        HEADER,
        "",
        "The header in which trusted proxies hand on the client's certificate, such as X-SSL-Client-Cert. Empty: none.",
        group="TLS and proxies",
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
    auth_certificate: str = row(
        one_of("off", "optional", "required"),
        "off",
        "Client certificates: off; optional, beside the other ways; required, before them. partners.toml says whose "
        "they are (certificates).",
        group="Who may come in",
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
    auth_oidc: bool = row(
        yes_no(),
        False,
        "Accept OpenID Connect tokens (Authorization: Bearer with a signed JWT) of partners with `claims`. Needs "
        "oidc_issuer, oidc_audiences and oidc_jwks; docs/authentication.md has examples.",
        group="Who may come in",
    )
    oidc_issuer: str = row(
        text(), "", "What the claim `iss` of a token has to be, to the letter.", group="Who may come in"
    )
    oidc_audiences: tuple[str, ...] = row(
        texts(),
        (),
        "Names of this server at the identity provider: one of them has to be in the claim `aud` of a token.",
        group="Who may come in",
    )
    oidc_jwks: str = row(
        KEY_SOURCE,
        "",
        "The public keys of the identity provider (JSON Web Key Set): an https URL, or a file that only its owner "
        "may write.",
        group="Who may come in",
    )
    oidc_algorithms: tuple[str, ...] = row(
        SIGNATURES,
        ("RS256", "PS256", "ES256", "EdDSA"),
        f"The signatures that are accepted. Known: {', '.join(ALGORITHMS)}. Those with a shared secret (HS256 ...) and "
        '"none" do not exist here.',
        group="Who may come in",
    )
    oidc_clock_skew_s: float = row(
        seconds(0),
        30.0,
        "How far the clocks of the identity provider and of this server may be apart, for exp, nbf and iat.",
        group="Who may come in",
    )
    oidc_refetch_s: float = row(
        seconds(1),
        60.0,
        "The keys are read again when a token names an unknown one, but not more often than this.",
        group="Who may come in",
    )
    oidc_max_age_s: float = row(
        seconds(10),
        3600.0,
        "The keys are read again when they are older than this. What cannot be read leaves the known keys in force.",
        group="Who may come in",
    )
    address_requests_per_minute: int = row(
        whole(0, 1_000_000),
        12_000,
        "Requests a minute from one address (one /64 of IPv6), as many at once as in a minute; more are answered 429. "
        "0: no limit. Behind a proxy that is not trusted, all clients have one address.",
        group="Limits",
    )
    partner_requests_per_minute: int = row(
        whole(0, 1_000_000),
        6_000,
        "Requests a minute of one partner, as many at once as in a minute: a full copy of a million objects in pages "
        "of 1000 takes 1000. A partner's own requests_per_minute goes before it. 0: no limit.",
        group="Limits",
    )
    lockout_after: int = row(
        whole(0, 1000),
        10,
        "After so many wrong passwords or tokens under one name from one address, others are not looked at for a while "
        "(429). Partners are not locked out by what others guess elsewhere. 0: never.",
        group="Limits",
    )
    lockout_s: float = row(
        seconds(1), 30.0, "How long that is the first time; each further wrong one doubles it.", group="Limits"
    )
    lockout_longest_s: float = row(seconds(1), 900.0, "The longest that it becomes.", group="Limits")
    max_url_bytes: int = row(
        whole(256, 8160), 8160, "The longest path with its query; a longer one is answered 414.", group="Limits"
    )
    max_headers: int = row(whole(8, 64), 64, "The most header fields; more are answered 431.", group="Limits")
    max_header_bytes: int = row(
        whole(1024, 32_768),
        32_768,
        "The most bytes in the names and values of all header fields; more are answered 431. No single one has more "
        "than 16384.",
        group="Limits",
    )
    max_query_parameters: int = row(
        whole(8, 1000), 32, "The most parameters in a query; more are answered 400.", group="Limits"
    )
    max_objects_per_post: int = row(
        whole(1, 1_000_000),
        100_000,
        "The most objects in one POST; more are answered 422. A collection may have a lower one of its own.",
        group="Limits",
    )
    max_json_depth: int = row(
        whole(10, 400),
        200,
        "How deep lists and objects may be nested inside one object of a POST; deeper ones are answered 422. STIX "
        "needs less than ten.",
        group="Limits",
    )
    max_json_values: int = row(
        whole(1000, 100_000_000),
        3_000_000,
        "The most values in the JSON of a POST, counted before it is read, by its commas and brackets (those in texts "
        "too); more are answered 422. A value takes up to 250 bytes of memory, however short it is.",
        group="Limits",
    )
    max_bodies_bytes: int = row(
        whole(1_048_576),
        268_435_456,
        "The most bytes of bodies that one worker holds at a time; further POSTs are answered 429 and come again. One "
        "body is always taken, if it is within max_content_length.",
        group="Limits",
    )
    max_labels_per_partner: int = row(
        whole(100, 1_000_000),
        20_000,
        "The most different combinations of markings and of what rules look at, of all that a partner posted (docs/"
        "storage.md, labels). What would need more is a failure of that object.",
        group="Limits",
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
    check_file_modes: bool = row(
        yes_no(), True,
        "Refuse to start when everybody on this machine can read a file with secrets: a server.toml with a password in "
        "it, an SQLite database. Switch it off for file systems without such rights.",
        group="Running",
    )
    upkeep_minutes: int = row(
        whole(0, 10_080), 60,
        "How often one of the workers removes what has passed its time (docs/upkeep.md). 0: never by itself, only with "
        "`taxii-server retention run`.",
        group="Running",
    )
    ledger_keep_days: int = row(
        whole(0, 36_500), 0,
        "After how many days entries of the disclosure ledger are removed, which leaves it verifiable. 0: never.",
        group="Running",
    )
    catalog_keep_days: int = row(
        whole(0, 36_500), 0,
        "After how many days a configuration that was replaced is removed from the store. 0: never.",
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
    def is_local(self) -> bool:
        """Whether only this machine reaches the port."""
        try:
            return ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    @property
    def uses_mongodb(self) -> bool:
        return is_mongodb(self.store)


#: The table: what exists, what it defaults to, what it is for.
ROWS: Mapping[str, Row] = rows_of(Settings)


def is_mongodb(store: str) -> bool:
    return store.startswith(("mongodb://", "mongodb+srv://"))
