"""An object of which everything is known that rules can tell apart, as the steps of a decision ask about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from taxii_server.policy.conditions import ANY, Clause, Single, answer
from taxii_server.policy.facets import UNCLEAR, Facets
from taxii_server.policy.floor import UNCLEAR_RANK, View
from taxii_server.policy.markings import RANKS, Meaning, Meanings
from taxii_server.policy.rules import Release
from taxii_server.policy.steps import JudgedCase
from taxii_server.tlp import TLP_IDS

if TYPE_CHECKING:
    from taxii_server.policy.decisions import Policy


class _Answers(dict[int, bool | None]):
    """The answers to the numbered clauses for one case, worked out when first asked for."""

    __slots__ = ("case", "numbered")

    def __init__(self, numbered: Sequence[Clause], case: JudgedCase) -> None:
        super().__init__()
        self.numbered, self.case = numbered, case

    def __missing__(self, number: int) -> bool | None:
        result = self[number] = answer(self.numbered, number, self.case)
        return result


class FacetsCase:
    """The case of these facets. Independent of who asks, so one serves every audience.

    `moment` (µs; None: while they are in force) decides what markings with dates mean.
    """

    __slots__ = (
        "_definition",
        "_levels",
        "_sets",
        "clauses",
        "facets",
        "firm",
        "fixed",
        "granular",
        "label_rank",
        "markings",
    )

    def __init__(self, facets: Facets, policy: Policy, meanings: Meanings, moment: int | None) -> None:
        def explained(ids: tuple[str, ...]) -> list[tuple[str, Meaning]]:
            return [(id_, meanings.of(id_, facets.submitter, policy.markings, sources).at(moment)) for id_ in ids]

        sources = policy.defaults.marking_sources
        self.facets = facets
        self.markings: Sequence[tuple[str, Meaning]] = explained(facets.markings)
        self.granular: Sequence[tuple[str, Meaning]] = explained(facets.granular)
        self.firm: Sequence[str] = facets.firm
        self.fixed: Sequence[str] = facets.fixed
        self.label_rank: int | None = None
        if policy.defaults.label_tlp and facets.label_tlp is not None:
            self.label_rank = UNCLEAR_RANK if facets.label_tlp == UNCLEAR else RANKS[facets.label_tlp]
        self._definition = self._defined(facets)
        self._sets: dict[str, tuple[str, ...]] = {
            "label": facets.labels,
            "marking": facets.markings,
            "extension": facets.extensions,
            "property": facets.properties,
            "release": facets.releases,
            **{f"facet:{key}": values for key, values in facets.facets},
        }
        level = max((m.level for _, m in self.markings if m.level is not None), default=None)
        if level is None and self._definition is None:
            level = policy.unmarked_rank(facets.collection)
        if level is not None and self.label_rank is not None:
            level = max(level, self.label_rank)
        self._levels = (level,)
        self.clauses: Mapping[int, bool | None] = _Answers(policy.clauses, self)

    @staticmethod
    def _defined(facets: Facets) -> str | None:
        # STIX gives a marking-definition no labels, confidence or revoked. One that has them is
        # treated like any other object: it gets no exemption by which such content could pass.
        if facets.defines is None or facets.labels or facets.label_tlp or facets.confidence or facets.revoked:
            return None
        plain = not (facets.markings or facets.granular)
        return "built-in" if plain and facets.defines in TLP_IDS else facets.defines

    def posted_by(self, audience: str) -> bool:
        return self.facets.submitter == audience

    def definition(self) -> str | None:
        return self._definition

    def one(self, dimension: str) -> Single:
        if dimension == "revoked":
            return "true" if self.facets.revoked else "false"
        value: Single = getattr(self.facets, dimension)
        return value

    def has(self, dimension: str, value: str) -> bool:
        values = self._sets.get(dimension, ())
        return bool(values) if value == ANY else value in values

    def levels(self) -> tuple[int | None, ...]:
        return self._levels

    def releases(self, view: View) -> Iterable[Release]:
        return [view.releases[key] for key in self.facets.releases if key in view.releases]
