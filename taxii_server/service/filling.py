"""What records of an older database are found by: read off their texts, once (docs/storage.md, "Terms").

Each portion is a write of its own, so that servers go on beside it, and whoever breaks off has lost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from taxii_server.errors import BadContent
from taxii_server.stix.parse import read_object
from taxii_server.stix.terms import read_terms
from taxii_server.storage.base import Store

PORTION = 500


def terms_of_text(content: bytes) -> tuple[int, ...]:
    """The terms of a stored text; none for one that is damaged: no filter could find it fit."""
    try:
        return read_terms(read_object(content))
    except (BadContent, KeyError, TypeError, ValueError, AttributeError):
        return ()


def fill_terms(store: Store, done: Callable[[int], None] = lambda count: None) -> int:
    """Write the terms of all records whose terms are not known; how many there were. Safe beside servers.

    `done` is told after each portion how many there have been; what it raises ends the work.
    """
    count = 0
    while records := store.unfilled(PORTION):
        store.fill({record.position: terms_of_text(record.content) for record in records})
        count += len(records)
        done(count)
    return count
