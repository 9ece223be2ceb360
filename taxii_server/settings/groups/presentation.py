"""Settings: how the server presents itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from taxii_server.settings.rows import matching, row, text


def _is_public_url(value: str) -> bool:
    parts = urlsplit(value)
    # TAXII 2.1, 4.1.1: an API root is an absolute https URL or a relative one, without a query.
    return not value or (parts.scheme == "https" and bool(parts.netloc) and not parts.query and not parts.fragment)


PUBLIC_URL = matching("https URL or empty", _is_public_url, "an https URL without a query (or empty)")


@dataclass(frozen=True, kw_only=True)
class Presentation:
    GROUP: ClassVar = "How the server presents itself"

    title: str = row(
        text(may_be_empty=False),
        "Cyber threat intelligence hub",
        "The title in the discovery document.",
        active=True,
    )
    description: str = row(
        text(),
        "What partners share about threats. Each of them sees what the rules allow.",
        "The description in the discovery document.",
        active=True,
    )
    contact: str = row(
        text(),
        "",
        "Whom partners ask, in the discovery document: an e-mail address, a telephone number.",
        active=True,
    )
    public_url: str = row(
        PUBLIC_URL,
        "",
        "The https address under which partners reach the server. Empty: the discovery document names relative URLs, "
        "which every client resolves, also behind a proxy.",
        active=True,
    )
