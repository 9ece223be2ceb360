"""What partners have been doing lately, from what is kept anyway and with a bounded number of look-ups.

When a partner last received something says the ledger, one look-up for each partner; what it posted say the status
resources, which are kept for `status_hours`: the newest ones of all partners are read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from taxii_server.storage.base import Store
from taxii_server.times import parse_position

#: So many of the newest status resources are looked at, and so much of each: the counts stand at its beginning.
STATUSES = 1_000
_HEAD_BYTES = 400
#: So far back in the ledger the last delivery of a partner is looked for, in entries of that partner.
_ENTRIES = 50
_COUNTS = re.compile(rb'"request_timestamp":"([^"]+)","total_count":(\d+),"success_count":(\d+),"failure_count":(\d+)')


@dataclass(frozen=True, slots=True)
class Posts:
    """Posts of one partner: how many, with how many objects, how many of those failed, and when the last one was."""

    number: int = 0
    objects: int = 0
    failures: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """One partner: when it last received something (µs, 0: not lately), and what it posted."""

    received: int
    refused: int
    posts: Posts


def activities(store: Store, partners: Iterable[str]) -> tuple[dict[str, Activity], bool]:
    """The activity of each of these partners; True when there are older posts than those that were looked at."""
    statuses = store.recent_statuses(STATUSES, _HEAD_BYTES)
    posts: dict[str, Posts] = {}
    for status in statuses:
        found = _COUNTS.search(status.body)
        if found is not None:
            known = posts.get(status.submitter, Posts())
            requested = parse_position(found[1].decode())
            posts[status.submitter] = Posts(
                known.number + 1,
                known.objects + int(found[2]),
                known.failures + int(found[4]),
                max(known.last, requested),
            )
    return {name: _activity(store, name, posts.get(name, Posts())) for name in partners}, len(statuses) == STATUSES


def _activity(store: Store, partner: str, posts: Posts) -> Activity:
    entries = store.ledger.latest(partner, _ENTRIES)
    received = next((each.time for each in entries if each.kind == "delivered"), 0)
    return Activity(received, sum(each.kind == "refused" for each in entries), posts)
