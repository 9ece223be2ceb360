"""Settings: running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import one_of, row, seconds, text, whole, yes_no


@dataclass(frozen=True, kw_only=True)
class Running:
    GROUP: ClassVar = "Running"

    ledger: bool = row(
        yes_no(),
        True,
        "Record every delivery in the disclosure ledger before the answer leaves (docs/ledger.md). What is not "
        "recorded can never be told later.",
    )
    ledger_spool: str = row(
        text(),
        "",
        "MongoDB: a folder on a disk of this machine where entries of the ledger are kept until MongoDB has them, a "
        "moment later (docs/ledger.md). Pages are faster; a disk that is destroyed takes the last seconds along. "
        "Empty: an answer waits until a majority has its entry.",
    )
    posts_per_commit: int = row(
        whole(1, 1000),
        64,
        "The most requests of one worker that share a transaction when they come at the same time. None waits for "
        "others to come. 1: each has its own.",
    )
    status_hours: int = row(whole(1, 8760), 48, "How long the status of a POST can be read.")
    refresh_s: float = row(
        seconds(0.05), 0.5, "How often a worker asks the store for a new catalog and new credentials."
    )
    watch_config: bool = row(
        yes_no(),
        True,
        "Put the files of the catalog in force when they are changed, within a few seconds, as `taxii-server reload` "
        "does. What does not hold is logged with its file and key, and changes nothing.",
    )
    check_file_modes: bool = row(
        yes_no(),
        True,
        "Refuse to start when everybody on this machine can read a file with secrets: a server.toml with a password in "
        "it, an SQLite database. Switch it off for file systems without such rights.",
    )
    upkeep_minutes: int = row(
        whole(0, 10_080),
        60,
        "How often one of the workers removes what has passed its time (docs/upkeep.md). 0: never by itself, only with "
        "`taxii-server retention run`.",
    )
    ledger_keep_days: int = row(
        whole(0, 36_500),
        0,
        "After how many days entries of the disclosure ledger are removed, which leaves it verifiable. 0: never.",
    )
    catalog_keep_days: int = row(
        whole(0, 36_500),
        0,
        "After how many days a configuration that was replaced is removed from the store. 0: never.",
    )
    log_format: str = row(one_of("text", "json"), "text", "How log lines are written.")
    log_level: str = row(
        one_of("debug", "info", "warning", "error"),
        "info",
        "The least important line that is logged.",
    )
