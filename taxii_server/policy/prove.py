"""Proof of the [[never]] claims: over every object that rules can tell apart, not over samples.

The search makes one choice after the other, always one that the evaluation has just asked about,
and turns back as soon as the claim or the decision is settled. It evaluates with `judge`, the same
code that decides in earnest, so there is no second reading of a rule that could differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from taxii_server.errors import Problem
from taxii_server.policy.conditions import Clause, clause_holds
from taxii_server.policy.decisions import Policy
from taxii_server.policy.engine import View, judge
from taxii_server.policy.examples import run
from taxii_server.policy.rules import Rule
from taxii_server.policy.space import PartialCase, Space


@dataclass(frozen=True, slots=True)
class Witness:
    """An object that breaks a claim: who reads it, by which rule, and what it is like."""

    audience: str
    rule: str | None
    reason: str
    case: PartialCase

    def __str__(self) -> str:
        by = f"rule {self.rule!r}" if self.rule else self.reason
        return f"{self.audience} reads {self.case} ({by})"


def check(policy: Policy) -> list[Problem]:
    """Every example and every claim that does not hold, each with what speaks against it."""
    return [*run(policy).failures, *broken_claims(policy)]


def broken_claims(policy: Policy) -> list[Problem]:
    """The [[never]] claims that some object breaks, each with one witness."""
    claims = [rule for rule in policy.rules if rule.kind == "never"]
    if not claims:
        return []
    space = Space(policy)
    found = []
    for claim in claims:
        witness = disprove(policy, claim, space)
        if witness is not None:
            found.append(Problem(claim.file, "", f"never {claim.id!r} does not hold: {witness}"))
    return found


def disprove(policy: Policy, claim: Rule, space: Space | None = None) -> Witness | None:
    """An object that an audience of the claim reads and must not; None when there is none.

    What an audience posted itself is not counted: one always reads one's own.
    """
    space = space or Space(policy)
    settled: set[object] = set()
    for name, view in policy.views.items():
        if view.audience.suspended or not policy.concerns(claim, name):
            continue
        clause = policy.compiler.clause(claim, view.audience)
        alike = _alike(space, view, clause)
        if alike in settled:
            continue
        witness = _search(PartialCase(space, {}), view, clause)
        if witness is not None:
            return witness
        settled.add(alike)
    return None


def satisfiable(policy: Policy, rule: Rule, audience: str, space: Space | None = None) -> bool:
    """Whether any object at all fits what the rule says, for this audience."""
    clause = policy.compiler.clause(rule, policy.audiences[audience])
    return _fitting(PartialCase(space or Space(policy), {}), clause, audience)


def _alike(space: Space, view: View, clause: Clause) -> object:
    """What tells two audiences apart in a search. A claim that holds for one holds for its equals."""
    rules = tuple((kind, tuple(entry[:2] for entry in entries)) for kind, entries in view.entries.items())
    markings = tuple(view.obstacle(meaning) is None for _, meaning in space.markings)
    submitters = tuple(space.options(("submitter",), view.audience.name))
    return clause, rules, markings, submitters


def _branches(case: PartialCase, audience: str) -> list[PartialCase]:
    # The type comes first: a marking-definition has no labels, so later choices depend on it.
    choice = case.asked if ("type",) in case.chosen else ("type",)
    if choice is None:
        raise AssertionError("nothing was asked, so everything should be decided")
    return [
        PartialCase(case.space, {**case.chosen, choice: value}, case.clauses)
        for value in case.space.options(choice, audience)
    ]


def _search(case: PartialCase, view: View, clause: Clause) -> Witness | None:
    fits = clause_holds(clause, case)
    if fits is False:
        return None
    if fits:
        case.asked = None
    ruling = judge(view, case, None) if case.chosen else None
    if ruling is not None:
        if ruling.outcome == "failed":
            return None
        if fits and ruling.outcome == "granted":
            return Witness(view.audience.name, ruling.rule, ruling.reason, case)
    for branch in _branches(case, view.audience.name):
        witness = _search(branch, view, clause)
        if witness is not None:
            return witness
    return None


def _fitting(case: PartialCase, clause: Clause, audience: str) -> bool:
    fits = clause_holds(clause, case)
    if fits is not None:
        return fits
    return any(_fitting(branch, clause, audience) for branch in _branches(case, audience))
