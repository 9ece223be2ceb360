"""Settings: mirroring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import row, text


@dataclass(frozen=True, kw_only=True)
class Mirroring:
    GROUP: ClassVar = "Mirroring"

    mirrors_file: str = row(
        text(may_be_empty=False),
        "mirrors.toml",
        "What `taxii-server mirror run` mirrors, from where and whereto (docs/mirroring.md).",
    )
    mirrors_dir: str = row(
        text(may_be_empty=False),
        "../var/mirrors",
        "Where mirrors keep what they brought and what was refused. How far they came is kept in the store.",
    )
