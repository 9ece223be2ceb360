"""More labels than a store asks for in single ranges: nothing is passed over."""

from __future__ import annotations

import uuid

from tests.world import OPEN_POLICY, indicator

from .site import Site

#: More than the single ranges of either store (SQLite 400, MongoDB 199).
MANY = 450


def test_a_vocabulary_that_grows_finds_the_records_behind_hundreds_of_coarse_labels(site: Site) -> None:
    markings = [f"marking-definition--{uuid.UUID(int=number + (4 << 76) + (8 << 60))}" for number in range(MANY)]
    site.store("alice", "alice-box", *(indicator(object_marking_refs=[marking]) for marking in markings))
    site.apply(policy=OPEN_POLICY + '[[forbid]]\nid = "f"\nwhat = { type = "indicator", label = "x" }\n')
    coarse = set(site.hub.book.coarse())
    assert len(coarse) >= MANY
    assert not coarse & site.hub.store.count_by_label().keys()
