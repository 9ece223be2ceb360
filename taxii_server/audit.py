"""One structured line per read, write, denial and change of the catalog.

Lines go to the logger `taxii_server.audit` with the facts as attributes; the log settings decide the format.
Counts, not contents: no object text and no secret is ever logged.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("taxii_server.audit")


def record(event: str, **facts: object) -> None:
    """Write one audit line. Facts that are None are left out."""
    if not _log.isEnabledFor(logging.INFO):
        return
    known = {name: value for name, value in facts.items() if value is not None}
    text = " ".join(f"{name}={value}" for name, value in known.items())
    _log.info("%s %s", event, text, extra={"event": event, "facts": known})
