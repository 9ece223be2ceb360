"""Proof of the [[never]] claims: over every object that rules can tell apart, not over samples.

A claim holds at every moment: what a release may show counts as shown, what an embargo holds back as well, and
whoever reads a part of an object reads it.

The search makes one choice after the other, always one that the evaluation has just asked about,
and turns back as soon as the claim or the decision is settled. It evaluates with `judge`, the same
code that decides in earnest, so there is no second reading of a rule that could differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from taxii_server.errors import Problem
from taxii_server.policy.conditions import Clause, clause_holds
from taxii_server.policy.decisions import Policy
from taxii_server.policy.engine import judge
from taxii_server.policy.examples import run
from taxii_server.policy.floor import Ask, View
from taxii_server.policy.guard import failing_posts
from taxii_server.policy.rules import Rule
from taxii_server.policy.space import Choice, PartialCase, Space, Value

#: A search this short does not look for the reasons of its dead ends; that would cost more than it saves.
PLAIN_STEPS = 50


class _End:
    """Says that a fork has nothing left to try: None and False are values that can be tried."""


_END = _End()
#: A claim has to hold whenever: releases may hold, embargoes are over; and for copies too.
_ANY_TIME = Ask(proof=True)


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
    return [*run(policy), *failing_posts(policy.guards, policy.posts), *broken_claims(policy)]


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


def disprove(policy: Policy, claim: Rule, space: Space | None = None, plain_steps: int = PLAIN_STEPS) -> Witness | None:
    """An object that an audience of the claim reads and must not; None when there is none.

    What an audience posted itself is not counted: one always reads one's own. After `plain_steps`
    the search begins to learn from its dead ends; the answer is the same.
    """
    space = space or Space(policy)
    proved: set[object] = set()
    for name, view in policy.views.items():
        if view.audience.suspended or not policy.concerns(claim, name):
            continue
        clause = policy.compiler.clause(claim, view.audience)
        alike = _alike(space, view, clause)
        if alike in proved:
            continue
        case = _find(space, name, partial(_breaks, view, clause), plain_steps)
        if case is not None:
            ruling = judge(view, case, _ANY_TIME)
            return Witness(name, ruling.rule, ruling.reason, case)
        proved.add(alike)
    return None


def satisfiable(policy: Policy, rule: Rule, audience: str, space: Space | None = None) -> bool:
    """Whether any object at all fits what the rule says, for this audience."""
    clause = policy.compiler.clause(rule, policy.audiences[audience])
    return _find(space or Space(policy), audience, partial(clause_holds, clause)) is not None


def _alike(space: Space, view: View, clause: Clause) -> object:
    """What tells two audiences apart in a search. A claim that holds for one holds for its equals."""
    rules = tuple((kind, tuple(entry[:2] for entry in entries)) for kind, entries in view.entries.items())
    markings = tuple(
        (view.obstacle(meaning, False) is None, view.obstacle(meaning, True) is None) for _, meaning in space.markings
    )
    submitters = tuple(space.options(("submitter",), view.audience.name))
    return clause, rules, view.clearance, markings, submitters, space.released(view)


def _breaks(view: View, clause: Clause, case: PartialCase) -> bool | None:
    """Whether the case is in the claim and readable all the same; None when more has to be chosen."""
    fits = clause_holds(clause, case)
    if fits is False:
        return False
    if fits:
        case.asked = None
    outcome = judge(view, case, _ANY_TIME).outcome
    if outcome == "failed":
        return False
    return True if fits and outcome == "granted" else None


class _Fork(NamedTuple):
    """A choice being tried out: the case before it, what is still to try, what spoke against the rest."""

    case: PartialCase
    choice: Choice
    untried: Iterator[Value]
    against: set[Choice]


def _find(
    space: Space, audience: str, settle: Callable[[PartialCase], bool | None], plain_steps: int = PLAIN_STEPS
) -> PartialCase | None:
    """A case that settles as True, or None when every case settles as False.

    After a dead end, only choices that had a part in it are tried otherwise: rules that have nothing
    to do with the claim would else double the work one by one.
    """
    forks: list[_Fork] = []
    case, steps = PartialCase(space, {}), 0
    while True:
        settled, steps = settle(case), steps + 1
        if settled:
            return case
        if settled is None:
            # The type comes first: a marking-definition has no labels, so later choices depend on it.
            choice = case.asked if ("type",) in case.chosen else ("type",)
            if choice is None:
                raise AssertionError("undecided although nothing is open")
            fork = _Fork(case, choice, iter(space.options(choice, audience)), set())
            forks.append(fork)
            case = case.choose(choice, next(fork.untried))
            continue
        against = _reasons(case, settle) if steps > plain_steps else set(case.chosen)
        while forks:
            fork = forks[-1]
            if fork.choice in against:
                fork.against.update(against - {fork.choice})
                value = next(fork.untried, _END)
                if not isinstance(value, _End):
                    case = fork.case.choose(fork.choice, value)
                    break
                against = fork.against
            forks.pop()
        else:
            return None


def _reasons(case: PartialCase, settle: Callable[[PartialCase], bool | None]) -> set[Choice]:
    """A smallest set of choices under which the case is a dead end whatever the others are."""
    chosen = dict(case.chosen)
    for choice in case.chosen:
        fewer = {key: value for key, value in chosen.items() if key != choice}
        if settle(PartialCase(case.space, fewer)) is False:
            chosen = fewer
    return set(chosen)
