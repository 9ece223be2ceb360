"""What leaves the hub: stored texts as they are, or copies without the parts that an audience may not read.

A copy is made when it is asked for (stix/derive.py); nothing of it is stored but which object its id belongs to, so
that whoever was given the id can ask for it. Its dates are the hub's: created and modified are when the first version
that the audience reads, and this one, were added. A relationship beside it says where it comes from.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from taxii_server.model import POSITION_UNIT, Record
from taxii_server.service.references import References
from taxii_server.service.stream import Row
from taxii_server.service.versions import age
from taxii_server.stix.derive import Derived, Maker, derive, takes_away
from taxii_server.storage.base import Store
from taxii_server.times import format_position, instant_key

_log = logging.getLogger(__name__)

#: Where the relationship of a copy stands behind the copy: between two places of records.
RELATION_SHIFT = POSITION_UNIT // 2
#: Ids that this process knows to be remembered by the store.
_KNOWN_MAX = 100_000
_MS = 1000
#: Texts that are in memory at once beside those of the page.
_TEXTS_AT_ONCE = 100


class Copy(NamedTuple):
    """A copy, or the relationship beside it. `record` is what is stored; `content` is empty for metadata."""

    at: int
    id: str
    type: str
    spec_version: str
    version: str
    version_key: str
    content: bytes
    record: Record
    form: Literal["copy", "relation"] = "copy"

    def without_text(self) -> Copy:
        return self._replace(content=b"")


#: One object version as an audience gets it: as it is, as all of nearly every page, or a copy.
Served = Row | Copy


class Copies:
    """Makes copies for one hub. Safe for several threads."""

    def __init__(self, store: Store, maker: Maker) -> None:
        self._store = store
        self._maker = maker
        self._lock = threading.Lock()
        self._known: set[str] = set()

    @property
    def identity(self) -> str:
        """Who stands as the creator of copies."""
        return self._maker.identity

    def serve(self, rows: Sequence[Row], references: References) -> Sequence[Served]:
        """What the audience gets of these rows, in their order. What can be no copy is left out: it is hidden."""
        cut = [row for row in rows if row.removal is not None]
        if not cut:
            return rows
        references.load(row.record.id for row in cut)
        made: dict[int, Sequence[Served]] = {}
        for start in range(0, len(cut), _TEXTS_AT_ONCE):
            some = cut[start : start + _TEXTS_AT_ONCE]
            texts = self._texts(some)
            # What is not there any more was deleted meanwhile.
            made.update((row.at, self._tried(row, texts[row.at], references)) for row in some if row.at in texts)
        served = [item for row in rows for item in ([row] if row.removal is None else made.get(row.at, []))]
        self._remember(served)
        return served

    def originals(self, ids: Collection[str]) -> dict[str, str]:
        """Those of the ids that belong to copies: id -> id of the original."""
        return self._store.aliases(ids)

    def _texts(self, rows: Sequence[Row]) -> dict[int, bytes]:
        """The stored texts of these rows, by place."""
        missing = [row.record.position for row in rows if not row.record.content]
        read = {record.position: record.content for record in self._store.records_at(missing)[0]} if missing else {}
        texts = {row.at: row.record.content or read.get(row.record.position, b"") for row in rows}
        return {at: text for at, text in texts.items() if text}

    def _tried(self, row: Row, text: bytes, references: References) -> Sequence[Served]:
        """As `_copies`; nothing when that fails: one object must not break a page, which would show that it is there
        (policy design, C14)."""
        try:
            return self._copies(row, text, references)
        except Exception:  # noqa: BLE001 - whatever it is, see above
            _log.exception("no copy of %s version %s can be made: it is hidden", row.record.id, row.record.version)
            return []

    def _copies(self, row: Row, text: bytes, references: References) -> Sequence[Served]:
        """The copy and its relationship; the original when nothing has to be taken out of it; nothing if neither."""
        value = json.loads(text)  # orjson would turn integers beyond 64 bits into floats
        if row.removal is None or not takes_away(value, row.removal):
            return [row._replace(removal=None)]
        created, modified = _dates(row.record, references)
        made = derive(value, row.removal, self._maker, created, modified, row.record.spec_version)
        return [] if made is None else _served(row, made, modified)

    def _remember(self, served: Iterable[Served]) -> None:
        """Make sure that the store knows to which objects these ids belong, before anybody is given one."""
        fresh = {each.id: each.record.id for each in served if each.form != "whole" and each.id not in self._known}
        if fresh:
            self._store.save_aliases(fresh)
            with self._lock:
                if len(self._known) > _KNOWN_MAX:
                    self._known.clear()
                self._known.update(fresh)


def _served(row: Row, made: Derived, modified: str) -> list[Copy]:
    record = row.record
    wants_text = bool(record.content)
    key = instant_key(modified)
    copy = Copy(
        at=row.at,
        id=made.id,
        type=made.type,
        spec_version=record.spec_version,
        version=modified,
        version_key=key,
        content=made.content if wants_text else b"",
        record=record,
    )
    if not made.relation_id:
        return [copy]
    relation = copy._replace(
        at=row.at + RELATION_SHIFT,
        id=made.relation_id,
        type="relationship",
        content=made.relation if wants_text else b"",
        form="relation",
    )
    return [copy, relation]


def _dates(record: Record, references: References) -> tuple[str, str]:
    """`created` and `modified` of a copy: when the first version and this one were added, in milliseconds.

    Only versions that the audience may read count. Versions that came in one millisecond, or not in their order, are
    a millisecond apart: a later version has to be later.
    """
    lineage = sorted(
        (
            each
            for each in references.records.get(record.id, ())
            if (each.submitter, each.collection, each.spec_version)
            == (record.submitter, record.collection, record.spec_version)
            and (each.position == record.position or references.is_readable(each))
        ),
        key=age,
    )
    first = last = -1
    for each in lineage:
        last = max(each.position // _MS, last + 1)
        first = last if first < 0 else first
        if each.position == record.position:
            break
    return _in_ms(first), _in_ms(last)


def _in_ms(ms: int) -> str:
    return format_position(ms * _MS)[:-4] + "Z"
