"""Settings: pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import row, whole


@dataclass(frozen=True, kw_only=True)
class Pages:
    GROUP: ClassVar = "Pages"

    max_page: int = row(whole(1, 20_000), 1000, "The most objects in one page, whatever `limit` asks for.")
    default_page: int = row(
        whole(1, 20_000),
        1000,
        "The page without a `limit`. As large as max_page, because common clients (taxii2-client, and with it OpenCTI) "
        "send no limit at first and then ask for pages as large as the first one: a small default makes them slow. "
        "Never more than max_page.",
    )
    max_ids_per_match: int = row(
        whole(1, 10_000), 500, "The most values in one match[...] parameter; more are answered 400."
    )
