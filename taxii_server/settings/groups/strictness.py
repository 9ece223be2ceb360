"""Settings: how strict the server is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import one_of, row, yes_no


@dataclass(frozen=True, kw_only=True)
class Strictness:
    GROUP: ClassVar = "How strict the server is"

    strict_accept: bool = row(
        yes_no(),
        True,
        "Answer 406 to a request without an Accept header, as TAXII says. Wildcards are served either way.",
    )
    trailing_slash: str = row(
        one_of("refuse", "serve"),
        "refuse",
        "A URL without its final slash: refuse answers 404, serve answers as with the slash.",
    )
    unknown_match: str = row(
        one_of("ignore", "reject"),
        "ignore",
        "A match[...] field that this server does not know: ignore it, as TAXII allows, or reject it with 400, so that "
        "a client never gets more than it meant to ask for.",
    )
