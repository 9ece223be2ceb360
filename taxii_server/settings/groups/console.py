"""Settings: the web console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import one_of, row, whole


@dataclass(frozen=True, kw_only=True)
class Console:
    GROUP: ClassVar = "The console"

    console: str = row(
        one_of("auto", "on", "off"),
        "auto",
        "The pages for people at /console/ and at / (docs/console.md): on, off, or auto: on where only this machine "
        "reaches the port (host is a loopback address, no trusted_proxies, not hide_unauthenticated).",
    )
    console_session_minutes: int = row(
        whole(1, 480),
        30,
        "After how many minutes without a click the console forgets who logged in; at the latest after eight hours.",
    )
