"""Conditions made ready for one audience: tests that any case answers with yes, no or not known.

A case is either the facets of an object, which always answers yes or no, or the prover's partly
fixed object, which may answer None. Both go through the code here; there is no second evaluation.

Two readings of one condition. Where it *grants* (permit, unless), the audience's own values must all
fit and a creator must be verified; where it *denies* (forbid, select, embargo, strip, never), any one value is
enough, and so is a creator that is claimed, or the owner of the identity as the submitter: whoever is denied cannot
escape by another name or by none (policy design, C13). `not_` swaps the two, so that every doubt hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol

from taxii_server.policy.facets import FacetSource
from taxii_server.policy.markings import RANKS
from taxii_server.policy.rules import Audience, Condition


class Blank(Enum):
    """The type of UNKNOWN, so that type checkers can tell it from None."""

    UNKNOWN = 0


#: The answer of a case for a single-valued dimension that it has not fixed.
UNKNOWN: Final = Blank.UNKNOWN
#: As a value in `has`: whether the dimension has any value at all.
ANY: Final = "*any"

Single = str | tuple[int, int] | None
Member = tuple[str, str]


class Case(Protocol):
    """An object, wholly or partly known, as conditions ask about it."""

    def one(self, dimension: str) -> Single | Blank:
        """The value of a single-valued dimension; UNKNOWN when it is not fixed."""

    def has(self, dimension: str, value: str) -> bool | None:
        """Whether a set has this value (ANY: any value); None when it is not fixed."""

    def levels(self) -> tuple[int | None, ...]:
        """The TLP levels it may have in effect; exactly one when all is known, None for no level."""


def every(answers: Iterable[bool | None]) -> bool | None:
    """No as soon as one is no; else not known when one is not known; else yes."""
    result: bool | None = True
    for answer in answers:
        if answer is False:
            return False
        if answer is None:
            result = None
    return result


def some(answers: Iterable[bool | None]) -> bool | None:
    """Yes as soon as one is yes; else not known when one is not known; else no."""
    result: bool | None = False
    for answer in answers:
        if answer is True:
            return True
        if answer is None:
            result = None
    return result


Operation = Literal["one", "sets", "level", "below", "at_least", "pairs"]


@dataclass(frozen=True, slots=True)
class Test:
    """One condition, ready for one audience.

    one: the dimension's value is in `values`. sets: one of `groups` is wholly present. level: the
    effective level is in `ranks`. below / at_least: of the confidence, against `number`. pairs: as sets,
    of single-valued dimensions, such as a creator and its owner as the submitter.
    """

    operation: Operation
    dimension: str = ""
    values: frozenset[str] = frozenset()
    groups: tuple[tuple[Member, ...], ...] = ()
    ranks: frozenset[int] = frozenset()
    number: int = 0
    negated: bool = False

    def holds(self, case: Case) -> bool | None:
        """Whether the case passes this test; None when the case does not know."""
        answer = self._plain(case)
        return (not answer) if self.negated and answer is not None else answer

    def _plain(self, case: Case) -> bool | None:
        if self.operation == "one":
            value = case.one(self.dimension)
            return None if value is UNKNOWN else value in self.values
        if self.operation == "sets":
            return some(every(case.has(*member) for member in group) for group in self.groups)
        if self.operation == "level":
            return self._level(case)
        if self.operation == "pairs":
            return some(every(self._equal(case, *member) for member in pair) for pair in self.groups)
        band = case.one("confidence")
        if band is UNKNOWN:
            return None
        # No number at all counts as below every threshold: relevance has to be claimed.
        lowest = band[0] if isinstance(band, tuple) else -1
        return lowest < self.number if self.operation == "below" else lowest >= self.number

    def _level(self, case: Case) -> bool | None:
        fits = [level in self.ranks for level in case.levels()]
        return fits[0] if all(fit == fits[0] for fit in fits) else None

    @staticmethod
    def _equal(case: Case, dimension: str, wanted: str) -> bool | None:
        value = case.one(dimension)
        return None if value is UNKNOWN else value == wanted


Clause = tuple[Test, ...]


def clause_holds(clause: Clause, case: Case) -> bool | None:
    """Whether the case passes every test."""
    return every(test.holds(case) for test in clause)


def fits_audience(condition: Condition, audience: Audience, grant: bool) -> bool:
    """Whether a condition on the reader holds for this audience.

    A joint team, or an audience with several values of an attribute, is granted something only if
    all of its values are named, and denied it if any is. One without a value is in no list.
    """
    grant = grant != condition.negated
    values = set(condition.values)
    own: tuple[str, ...]
    if condition.key == "country":
        own = audience.countries
    elif condition.key == "attribute":
        own = audience.values_of(condition.name)
    else:
        members: Mapping[str, Iterable[str]] = {
            "audience": (audience.name,),
            "group": audience.groups,
            "kind": (audience.kind,),
            "sector": (audience.sector,) if audience.sector else (),
            "client_of": audience.client_of,
        }
        return bool(values.intersection(members[condition.key])) != condition.negated
    found = values.intersection(own)
    fits = bool(own) and len(found) == len(set(own)) if grant else bool(found)
    return fits != condition.negated


_SINGLE: Mapping[str, str] = {
    "type": "type",
    "spec_version": "spec_version",
    "identity_class": "identity_class",
    "collection": "collection",
    "revoked": "revoked",
}
_SETS = ("label", "marking", "extension")


def for_audience(
    condition: Condition,
    audience: Audience,
    grant: bool,
    facets: Mapping[str, FacetSource],
    owners: Mapping[str, str],
) -> Test:
    """The test that a condition on the object makes for this audience.

    `owners` maps identity id -> the audience it belongs to.
    """
    key, values, negated = condition.key, condition.values, condition.negated
    # Inside a "not", granting and denying change places.
    grant = grant != negated
    if key == "creator":
        return Test("pairs", groups=tuple(_creators(values, owners, grant)), negated=negated)
    if key in _SINGLE:
        return Test("one", _SINGLE[key], frozenset(values), negated=negated)
    if key == "by":
        posters = {name for value in values for name in (audience.client_of if value.startswith("@") else (value,))}
        return Test("one", "submitter", frozenset(posters), negated=negated)
    if key == "tlp":
        return Test("level", ranks=frozenset(RANKS[value] for value in values), negated=negated)
    if key == "confidence_below":
        return Test("below", number=int(values[0]), negated=negated)
    if key == "confidence_at_least":
        return Test("at_least", number=int(values[0]), negated=negated)
    if key in _SETS:
        return Test("sets", groups=tuple(((key, value),) for value in values), negated=negated)
    if key == "has_facet":
        return Test("sets", groups=tuple(((dimension_of(facets[name]), ANY),) for name in values), negated=negated)
    dimension = dimension_of(facets[condition.name])
    groups: list[tuple[Member, ...]] = []
    for value in values:
        if not value.startswith("@"):
            groups.append(((dimension, value),))
            continue
        own = audience.values_of(value[1:])
        if grant:
            # An audience without the value is granted nothing by it.
            groups.extend([tuple((dimension, text) for text in own)] if own else [])
        else:
            # ... and is denied whatever has the facet at all.
            groups.extend(((dimension, text),) for text in (own or (ANY,)))
    return Test("sets", groups=tuple(groups), negated=negated)


def _creators(values: Sequence[str], owners: Mapping[str, str], grant: bool) -> list[tuple[Member, ...]]:
    """Verified: the identity, posted by its owner. Else also the identity by anybody, and anything by its owner."""
    owned = [(("creator", id_), ("submitter", owners[id_])) for id_ in values if id_ in owners]
    if grant:
        return list(owned)
    return [*((("creator", id_),) for id_ in values), *((by,) for by in dict.fromkeys(by for _, by in owned))]


def dimension_of(source: FacetSource) -> str:
    """The name under which `has` knows a configured facet."""
    return f"facet:{source.key}"


def answer(clauses: Sequence[Clause], number: int, case: Case) -> bool | None:
    """Whether the case passes the clause of this number."""
    return clause_holds(clauses[number], case)
