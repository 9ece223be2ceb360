"""The rules of a policy made ready for each audience."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from taxii_server.policy.conditions import Clause, Test, fits_audience, for_audience
from taxii_server.policy.facets import FacetSource
from taxii_server.policy.floor import Entry
from taxii_server.policy.rules import Audience, Condition, Rule, RuleKind, Unless


class Compiler:
    """Makes the views of a policy. Equal clauses get one number, whoever they were made for."""

    def __init__(self, facets: Mapping[str, FacetSource], owners: Mapping[str, str]) -> None:
        self.facets, self.owners = facets, owners
        self.numbers: dict[Clause, int] = {}

    def number(self, clause: Clause) -> int:
        """The number of this clause."""
        return self.numbers.setdefault(clause, len(self.numbers))

    def clause(self, rule: Rule, audience: Audience) -> Clause:
        """What the object has to be, for the rule to fit it."""
        grant = rule.kind == "permit"
        tests = [for_audience(c, audience, grant, self.facets, self.owners) for c in rule.what]
        if rule.kind == "select":
            # Relevance never stops a revocation (C10).
            tests.insert(0, Test("one", "revoked", frozenset({"false"})))
        return tuple(tests)

    def unless(self, unless: Unless | None, audience: Audience) -> int | Literal["always"] | None:
        """The number of the excusing clause, None when nothing excuses, "always" for the audience as such."""
        if unless is None:
            return None
        if any(fits_audience(condition, audience, True) for condition in unless.alternatives):
            return "always"
        if not unless.conditions:
            return None
        on_reader = [c for c in unless.conditions if concerns_reader(c)]
        if not all(fits_audience(condition, audience, True) for condition in on_reader):
            return None
        on_object = [c for c in unless.conditions if not concerns_reader(c)]
        if not on_object:
            return "always"
        return self.number(tuple(for_audience(c, audience, True, self.facets, self.owners) for c in on_object))

    def entries(self, rules: Iterable[Rule], audience: Audience) -> dict[RuleKind, tuple[Entry, ...]]:
        """The rules that concern this audience, by kind."""
        found: dict[RuleKind, list[Entry]] = {k: [] for k in ("permit", "forbid", "select", "embargo", "strip")}
        for rule in rules:
            if rule.kind == "never" or not concerns(rule, audience):
                continue
            excuse = self.unless(rule.unless, audience)
            if excuse == "always":
                continue
            number = self.number(self.clause(rule, audience))
            found[rule.kind].append(Entry(number, excuse, rule.kind, _text(rule), rule))
        return {kind: tuple(entries) for kind, entries in found.items()}


def concerns(rule: Rule, audience: Audience) -> bool:
    """Whether the rule's `to` names this audience."""
    return all(fits_audience(condition, audience, rule.kind == "permit") for condition in rule.to)


def concerns_reader(condition: Condition) -> bool:
    """True for a condition on the reader, False for one on the object."""
    return condition.key in ("audience", "group", "kind", "country", "sector", "client_of", "attribute")


_VERBS: Mapping[str, str] = {"permit": "permitted", "forbid": "forbidden", "select": "not wanted", "strip": "cut"}


def _text(rule: Rule) -> str:
    """What to say when the rule decides."""
    verb = _VERBS.get(rule.kind) or "held back" + (
        f" until {rule.until.isoformat()}" if rule.until else f" for {rule.delay}" if rule.delay else ""
    )
    return f"{verb} by rule {rule.id!r}" + (f": {rule.why}" if rule.why else "")
