"""One structured line per read, write, denial and change of the catalog.

Lines go to the logger `taxii_server.audit` with the facts as attributes; the log settings decide the format.
Counts, not contents: no object text and no secret is ever logged.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("taxii_server.audit")

_WHO = ("partner", "credential")
_ENTRY = (*_WHO, "collection", "entry", "object", "version", "digest", "submitter", "guard")
_COUNTS = ("total", "success", "failure", "refused_by_guard", "quarantined")

#: Every event: what it tells, and the facts that its line has as far as they are known.
EVENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "read": (
        "a page was delivered",
        (*_WHO, "collection", "resource", "object", "count", "first", "last", "catalog"),
    ),
    "add": ("a POST was carried out", (*_WHO, "collection", *_COUNTS)),
    "delete": ("versions of an object were deleted", (*_WHO, "collection", "object", "versions")),
    "denied": ("401 or 403 was answered", (*_WHO, "address", "status", "method", "path")),
    "refused-address": ("a right credential from the wrong network", (*_WHO, "address")),
    "locked-out": (
        "wrong credentials are not looked at for a while",
        ("partner", "address", "failures", "seconds"),
    ),
    "catalog-applied": ("a configuration was put in force", ("epoch", "digest", "by")),
    "release-filed": (
        "a partner released objects",
        ("partner", "by", "release", "objects", "to", "epoch"),
    ),
    "release-refused": ("a release would have broken a claim or an example", ("partner", "by", "objects")),
    "release-withdrawn": ("a release was taken back", ("partner", "by", "release", "epoch")),
    "quarantine-released": ("what a guard held was stored", _ENTRY),
    "quarantine-dropped": ("what a guard held was erased", _ENTRY),
    "removed": ("retention removed records", ("partner", "collection", "count")),
    "mirrored": (
        "a page of a mirror was stored (its objects are those of a POST)",
        ("mirror", "partner", "collection", "total", "failure"),
    ),
    "mirrored-deletions": (
        "a mirror deleted what its peer does not have any more",
        ("mirror", "partner", "collection", "count"),
    ),
    "moved-in": (
        "`migrate` brought objects of another server",
        ("partner", "stored", "present", "refused", "quarantined"),
    ),
    "console-login": ("somebody logged in to the console", (*_WHO, "address")),
    "console-looked": ("an operator looked at a page for operators", (*_WHO, "page", "about")),
}


def record(event: str, **facts: object) -> None:
    """Write one audit line. Facts that are None are left out."""
    if not _log.isEnabledFor(logging.INFO):
        return
    known = {name: value for name, value in facts.items() if value is not None}
    text = " ".join(f"{name}={value}" for name, value in known.items())
    _log.info("%s %s", event, text, extra={"event": event, "facts": known})
