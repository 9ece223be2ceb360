"""How much of what came in nobody but its submitter can read, and why: for whoever brings data into a hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from taxii_server.service.explaining import NO_DOOR, in_words
from taxii_server.service.hub import Hub

_PORTION = 1000


@dataclass(frozen=True, slots=True)
class Unread:
    """So many object versions, why most of the others do not read them, in a few words, and the id of one of them."""

    count: int = 0
    reason: str = ""
    example: str = ""


def unread(hub: Hub, submitter: str, collection_id: str, stored: Sequence[tuple[str, str]]) -> Unread:
    """What no other partner can read of these object versions (id, version) that were stored there.

    As far as labels tell, which are few: what an object refers to is not looked at (`explain` does).
    """
    wanted = set(stored)
    ids = sorted({id_ for id_, _ in stored})
    counts: Counter[int] = Counter()
    examples: dict[int, str] = {}
    for start in range(0, len(ids), _PORTION):
        for records in hub.store.lookup(ids[start : start + _PORTION]).values():
            for each in records:
                is_ours = (each.submitter, each.collection) == (submitter, collection_id)
                if is_ours and (each.id, each.version) in wanted:
                    counts[each.label] += 1
                    examples.setdefault(each.label, each.id)
    reasons: Counter[str] = Counter()
    found: Counter[int] = Counter()
    for number, count in counts.items():
        key = hub.book.label(number).key
        if not hub.snapshot.sights.readers(key.facets, key.governor).keys() - {submitter}:
            found[number] = count
            for reason in _reasons(hub, submitter, number):
                reasons[reason] += count
    if not found:
        return Unread()
    return Unread(found.total(), reasons.most_common(1)[0][0], examples[found.most_common(1)[0][0]])


def _reasons(hub: Hub, submitter: str, number: int) -> list[str]:
    """Why each of the others that a collection shows it to does not read what carries this label."""
    snapshot = hub.snapshot
    catalog, sights = snapshot.catalog, snapshot.sights
    named = sights.named(hub.book.label(number))
    collection = hub.book.label(number).key.facets.collection
    near = [each for each in catalog.policy.audiences if each != submitter and collection in catalog.reachable(each)]
    if named is None or not near:
        return [in_words(NO_DOOR)]
    _, facets, governor = named
    return [
        in_words(
            catalog.policy.decide(
                each, facets, hub.book.meanings, governor, sights.of(each).carried, moment=sights.moment
            )
        )
        for each in near
    ]
