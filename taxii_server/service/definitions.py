"""Which marking-definitions and identities are named by objects that are kept.

Markings and creators are no references (stix/references.py), so no index knows who names them: the texts do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from taxii_server.model import PageQuery
from taxii_server.service.book import Book
from taxii_server.storage.base import Store

_ID = re.compile(rb"(?:identity|marking-definition)--[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PAGE, _PAGE_BYTES = 500, 8_000_000


def named_in(store: Store, book: Book, ids: Collection[str], pause: Callable[[], None]) -> set[str]:
    """Those of the ids that the text of another object names, at whatever place. Reads every text of the store."""
    left = set(ids)
    named: set[str] = set()
    labels = tuple(sorted(book.labels))
    after = 0
    while left:
        page = store.page(PageQuery(labels, (), after, _PAGE, limit_bytes=_PAGE_BYTES))
        for record in page.records:
            found = {each.decode().lower() for each in _ID.findall(record.content)} & left
            found.discard(record.id)
            named |= found
            left -= found
        if len(page.records) < _PAGE and not page.cut:
            # Labels that came meanwhile belong to objects that came meanwhile: their texts were not read.
            if page.horizon > book.length:
                book.sync()
                labels, after = tuple(sorted(book.labels)), after if not page.records else page.records[-1].position
                continue
            return named
        after = page.records[-1].position
        pause()
    return named
