"""Optional filters: which records a page has to look at, so that it costs what its reader may know and no more.

Whether an object fits is told by its text, as its reader gets it (stix/filters.py). Terms only say where to look, and
must say it by nothing that is taken out for this reader: labels tell what that is, so each label is asked for terms
of its own (stix/terms.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from taxii_server.model import Removal
from taxii_server.service.book import Book
from taxii_server.service.copies import Served
from taxii_server.service.sight import Sight
from taxii_server.stix.filters import REFERENCES, Condition, fits
from taxii_server.stix.terms import Hub, Part, ask


def named_ids(conditions: Sequence[Condition]) -> frozenset[str]:
    """The ids to which the conditions want references."""
    return frozenset(str(id_) for each in conditions if each.name == REFERENCES for id_ in each.values)


def terms_by_label(
    conditions: Sequence[Condition],
    labels: Collection[int],
    sight: Sight,
    book: Book,
    hub: Hub,
    *,
    hidden: frozenset[str],
    derives: bool,
) -> Mapping[int, tuple[int, ...]]:
    """For each of the labels the terms to look for; those without any need no look, those left out a look at each.

    `hidden`: ids that are hidden from the audience, so that what it is shown does not refer to them. `derives`: lists
    of references lose what is hidden.
    """
    known: dict[tuple[bool, bool, bool, Removal | None], tuple[int, ...] | None] = {}
    found: dict[int, tuple[int, ...]] = {}
    for number in labels:
        facets = book.label(number).key.facets
        removal = sight.access[number].removal
        is_own = facets.submitter == sight.audience
        key = is_own, facets.revoked, bool(facets.granular), removal
        if key not in known:
            part = _part(removal, is_own, bool(facets.granular), hidden, derives)
            known[key] = ask(conditions, part, hub, revoked=facets.revoked)
        terms = known[key]
        if terms is not None:
            found[number] = terms
    return found


def _part(removal: Removal | None, is_own: bool, is_marked: bool, hidden: frozenset[str], derives: bool) -> Part:
    stripped: frozenset[str] = frozenset()
    if removal is not None:
        stripped = removal.properties | ({"created_by_ref"} if removal.creator else set())
    return Part(
        is_marked=is_marked,
        loses_parts=removal is not None and bool(removal.markings),
        stripped=stripped,
        is_copied=removal is not None,
        may_be_copied=derives and removal is None and not is_own,
        # Nobody loses what it posted itself, and it may name what it cannot read.
        hidden=frozenset() if is_own else hidden,
    )


def fitting(items: Sequence[Served], conditions: Sequence[Condition], *, content: bool) -> list[Served]:
    """Those of the items, all with their texts, that fit; without the texts when they are not wanted."""
    found = [item for item in items if _fits(item.content, conditions)]
    return found if content else [item.without_text() for item in found]


def _fits(text: bytes, conditions: Sequence[Condition]) -> bool:
    try:
        value = json.loads(text)  # orjson would turn integers beyond 64 bits into floats
    except ValueError:
        return False
    return isinstance(value, dict) and fits(value, conditions)
