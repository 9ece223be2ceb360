"""How many labels one partner may cause: each is kept for ever, in memory of every worker and in every poll's query.

A label stands for one combination of markings and of what rules look at. Whoever posts objects with marking ids that
it makes up gets a new one each time; without an end to that, one partner could make the hub slow for all.

Combinations are counted, with those of the version that governs an older one, not labels: there are at most sixteen
labels of each, and what other partners post can only move a record between those. Two workers that count at the
same time may together let in a portion of objects more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taxii_server.service.book import Book, LabelKey, LabelsMissing


class QuotaReached(Exception):
    """The drafts at these places would need more combinations than their submitter may have."""

    def __init__(self, places: Iterable[int]) -> None:
        self.places = frozenset(places)
        super().__init__(f"{len(self.places)} drafts are beyond the quota")


class Quota:
    """`most` combinations for each submitter; 0: as many as it likes."""

    def __init__(self, book: Book, most: int) -> None:
        self._book = book
        self._most = most

    def require(self, submitter: str, missing: LabelsMissing) -> None:
        """Raise QuotaReached when some of these labels would be beyond the quota of this submitter."""
        beyond = self.beyond(submitter, missing.drafts)
        if beyond:
            raise QuotaReached(place for key in beyond for place in missing.drafts[key])

    def beyond(self, submitter: str, keys: Mapping[LabelKey, object] | Iterable[LabelKey]) -> list[LabelKey]:
        """Those of these keys that stand for a new combination of this submitter when it has no room left."""
        if not self._most:
            return []
        known = self._book.combinations(submitter)
        new = set[object]()
        beyond: list[LabelKey] = []
        for key in keys:
            combination = (key.facets, key.governor)
            if key.facets.submitter != submitter or combination in known or combination in new:
                continue
            if len(known) + len(new) >= self._most:
                beyond.append(key)
            else:
                new.add(combination)
        return beyond

    def message(self) -> str:
        """The failure of an object, for its submitter."""
        return (
            "this would be one more combination of markings, type and labels than the hub keeps for one partner "
            f"(max_labels_per_partner, {self._most}); use markings that you used before, or ask the operator of the hub"
        )
