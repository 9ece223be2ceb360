"""What a mirror is: one collection elsewhere, one collection here, and the partner between them; as mirrors.toml says.

Why two tables, `[pull.NAME]` and `[push.NAME]`: which way objects go must not depend on a word in the middle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from taxii_server.errors import ConfigError, Problem
from taxii_server.settings import is_safe_url, why_unreadable
from taxii_server.settings.rows import (
    is_name,
    join_key,
    matching,
    one_of,
    parse_toml,
    read_table,
    required_row,
    row,
    rows_of,
    seconds,
    text,
    texts,
    whole,
    yes_no,
)
from taxii_server.times import parse_instant

KINDS = ("pull", "push")
_FILES = ("password_file", "token_file", "ca_file", "client_certificate", "client_key")


def _is_collection_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.password is None and not parts.fragment and not parts.query
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and "/collections/" in parts.path


def _is_instant(value: str) -> bool:
    if not value:
        return True
    try:
        parse_instant(value)
    except ValueError:
        return False
    return True


COLLECTION_URL = matching(
    "URL of a collection",
    _is_collection_url,
    "the URL of a collection, such as https://hub.example/api/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/ "
    "(without a login: see token_file and password_file)",
)
INSTANT = matching("time", _is_instant, "a time such as 2026-01-31T00:00:00Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One mirror. `kind` is "pull" or "push"; paths are absolute."""

    name: str
    kind: str
    url: str = required_row(COLLECTION_URL, "The collection elsewhere.")
    collection: str = required_row(
        text(may_be_empty=False),
        "The collection of this hub, by the name of its file: objects go into it (pull) or come from it (push).",
    )
    partner: str = row(
        text(),
        "",
        "pull: the partner as whom objects are posted; empty: the owner of the collection. push: the partner who is "
        "the peer: it gets what it may read here, and the ledger says so.",
        active=True,
    )
    every_s: float = row(seconds(1), 300.0, "How often `mirror run` looks.", active=True)
    user: str = row(text(), "", "The name at the peer, for a password (HTTP Basic).")
    password_file: str = row(
        text(), "", "The file with the password. Or the variable TAXII_MIRROR_PASSWORD_<NAME>, TAXII_MIRROR_PASSWORD."
    )
    token_file: str = row(
        text(),
        "",
        "The file with a token, in place of a password. Or the variable TAXII_MIRROR_TOKEN_<NAME>, TAXII_MIRROR_TOKEN.",
    )
    token_scheme: str = row(
        one_of("Bearer", "Token"), "Bearer", "The word before the token in the header Authorization."
    )
    ca_file: str = row(text(), "", "The CA that the peer's certificate comes from, when it is none that is known.")
    client_certificate: str = row(text(), "", "The certificate to show to the peer, with its chain.")
    client_key: str = row(text(), "", "Its key, when that is not in the same file.")
    proxy: str = row(text(), "", "The URL of an HTTP proxy. Variables such as HTTPS_PROXY are not looked at.")
    allow_http: bool = row(
        yes_no(), False, "Allow http:// to another machine: everybody in between reads the secret and the objects."
    )
    types: tuple[str, ...] = row(
        texts(), (), "Only objects of these types, with the markings and identities they name."
    )
    ids: tuple[str, ...] = row(texts(), (), "Only these objects, with the markings and identities they name.")
    spec_versions: tuple[str, ...] = row(
        texts(one_of("2.0", "2.1"), "list of STIX versions"),
        (),
        "Only objects of these STIX versions. Empty: those that the collection here accepts.",
    )
    added_after: str = row(INSTANT, "", "Only what was added there after this time. Empty: everything.")
    all_versions: bool = row(yes_no(), True, "Every version of an object, not only the latest.")
    overlap_s: float = row(
        seconds(0),
        10.0,
        "pull: what was added there so shortly before the end of the last walk is read once more, for peers whose "
        "objects appear a little behind their date.",
    )
    page: int = row(whole(1, 20_000), 1000, "Objects of one page (pull) or of one envelope (push), at most.")
    max_page_bytes: int = row(
        whole(65_536, 1_073_741_824),
        33_554_432,
        "pull: no answer may be larger. push: no envelope is, nor larger than the peer says.",
    )
    max_objects: int = row(
        whole(1),
        1_000_000,
        "After so many objects a run ends; the next one goes on there. A bound for what a peer sends.",
    )
    timeout_s: float = row(
        seconds(0.1), 30.0, "How long the peer may say nothing; an answer may take ten times as long."
    )
    attempts: int = row(whole(1, 20), 5, "How often a request is tried in one run, with longer and longer pauses.")
    status_wait_s: float = row(seconds(0), 120.0, "push: how long a run waits for the peer to finish with an envelope.")
    follow_deletions: bool = row(
        yes_no(), False, "pull: delete what this mirror brought and the peer does not have any more."
    )
    follow_every_s: float = row(
        seconds(1), 86_400.0, "How often `mirror run` looks for that; it reads the whole manifest."
    )
    max_deletions_percent: int = row(
        whole(0, 100),
        10,
        "When more of what the mirror brought were to go, nothing goes before an operator says so (mirror pull --yes).",
    )


def identity(mirror: Mirror, collection_id: str) -> str:
    """A short key that is the same for mirrors that would bring the same: who goes on where another one stopped.

    Other filters make another mirror: what they let through from of old has to be fetched.
    """
    parts = [
        mirror.kind, mirror.url, collection_id, mirror.partner, sorted(mirror.types), sorted(mirror.ids),
        sorted(mirror.spec_versions), mirror.added_after, mirror.all_versions,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def read_mirrors(path: Path) -> list[Mirror]:
    """The mirrors of a file, in its order. Raises ConfigError with everything that is wrong."""
    try:
        raw = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = f"cannot be read: {why_unreadable(error)}; docs/mirroring.md says what goes into it"
        raise ConfigError([Problem(path.as_posix(), "", why)]) from error
    values, problems = parse_toml(raw, path.as_posix())
    found: list[Mirror] = []
    for kind, tables in values.items():
        if kind not in KINDS or not isinstance(tables, Mapping):
            problems.append(Problem(path.as_posix(), kind, "expected tables such as [pull.NAME] or [push.NAME]"))
            continue
        for name, table in tables.items():
            try:
                found.append(make_mirror(name, kind, table, path.parent, path.as_posix(), join_key(kind, name)))
            except ConfigError as error:
                problems += error.problems
    names = [each.name for each in found]
    for name in sorted({each for each in names if names.count(each) > 1}):
        problems.append(Problem(path.as_posix(), f"push.{name}", "there is a pull of the same name; give another one"))
    if not values and not problems:
        problems.append(Problem(path.as_posix(), "", "no mirror in it; add a table such as [pull.NAME]"))
    if problems:
        raise ConfigError(problems)
    return found


def make_mirror(name: str, kind: str, values: object, folder: Path, file: str, key: str = "") -> Mirror:
    """The mirror that these values declare; relative paths stand in `folder`. Raises ConfigError."""
    found, problems = read_table(Mirror, values, file, key)
    if not is_name(name):
        problems.append(Problem(file, key, "the name of a mirror is one word: a-z, 0-9, - and _"))
    for each in _FILES:
        if found.get(each):
            found[each] = str(folder.absolute() / found[each])
    if not problems:
        mirror = Mirror(name=name, kind=kind, **found)
        problems += _contradictions(mirror, file, key)
    if problems:
        raise ConfigError(problems)
    return replace(mirror, url=_bare(mirror.url))


def _contradictions(mirror: Mirror, file: str, key: str) -> list[Problem]:
    problems = []

    def wrong(name: str, message: str) -> None:
        problems.append(Problem(file, join_key(key, name), message))

    if not is_safe_url(mirror.url) and not mirror.allow_http:
        wrong("url", "it is http:// to another machine: use https://, or allow_http = true if nobody is in between")
    if mirror.password_file and mirror.token_file:
        wrong("token_file", "there is a password_file, too; give one of them")
    if mirror.client_key and not mirror.client_certificate:
        wrong("client_key", "there is no client_certificate that it belongs to")
    if mirror.kind == "push" and not mirror.partner:
        wrong("partner", "missing (--as): which partner is the peer? It gets what that partner may read here")
    if mirror.kind == "push" and mirror.follow_deletions:
        wrong("follow_deletions", "only a pull can follow deletions; TAXII has no message for them")
    return problems


def _bare(url: str) -> str:
    """The URL of the collection, however it was given."""
    return url.rstrip("/").removesuffix("/objects") + "/"


def flags_of(mirror: type = Mirror) -> tuple[str, ...]:
    """The names of the keys of a mirror."""
    return tuple(each.name for each in fields(mirror) if each.name in rows_of(mirror))
