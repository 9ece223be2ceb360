"""A policy in force, and the three questions it answers: may one read, what may one read, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from taxii_server.errors import Problem
from taxii_server.policy.conditions import ANY, Clause, Single
from taxii_server.policy.engine import (
    UNCLEAR_RANK,
    UNMAPPED,
    Compiler,
    Entry,
    JudgedCase,
    Outcome,
    Ruling,
    View,
    answer,
    concerns,
    judge,
    unmarked_rank,
)
from taxii_server.policy.facets import UNCLEAR, Facets, FacetSource, Vocabulary
from taxii_server.policy.guard import Guard, PostExample
from taxii_server.policy.markings import LEVELS, RANKS, Meaning, Meanings
from taxii_server.policy.rules import Audience, Defaults, Example, Release, Rule
from taxii_server.tlp import TLP_IDS

Verdict = Literal["read", "hide"]

#: A policy keeps what it worked out for so many combinations of facets; beyond, it starts anew.
CASES_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Decision:
    """Read or hide, with a stable code, the rule that decided if one did, and a sentence for operators."""

    verdict: Verdict
    reason: str
    rule: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of an explanation: a step of the decision, or one rule within it."""

    name: str
    outcome: Literal["passed", "failed", "neutral"]
    detail: str = ""
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with everything that was looked at. `lost` are rules that fit but did not decide."""

    audience: str
    facets: Facets
    decision: Decision
    steps: tuple[Check, ...]
    lost: tuple[str, ...] = ()


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
    """An object of which all facets are known. Independent of who asks, so one serves every audience."""

    __slots__ = ("_definition", "_levels", "_sets", "clauses", "facets", "granular", "label_rank", "markings")

    def __init__(self, facets: Facets, policy: Policy, meanings: Meanings) -> None:
        def explained(ids: tuple[str, ...]) -> list[tuple[str, Meaning]]:
            return [(id_, meanings.of(id_, facets.submitter, policy.markings, sources)) for id_ in ids]

        sources = policy.defaults.marking_sources
        self.facets = facets
        self.markings: Sequence[tuple[str, Meaning]] = explained(facets.markings)
        self.granular: Sequence[tuple[str, Meaning]] = explained(facets.granular)
        self.label_rank: int | None = None
        if policy.defaults.label_tlp and facets.label_tlp is not None:
            self.label_rank = UNCLEAR_RANK if facets.label_tlp == UNCLEAR else RANKS[facets.label_tlp]
        self._definition = self._defined(facets)
        self._sets: dict[str, tuple[str, ...]] = {
            "label": facets.labels,
            "marking": facets.markings,
            "extension": facets.extensions,
            "property": facets.properties,
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


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may read what. Immutable; `decide`, `explain` and `allowed` agree by construction.

    `unsupported` lists what the file asks for and this release does not do yet: a caller must not put
    such a policy in force. `warnings` are rules that can never matter. `guards` decide nothing about reading:
    they are for whoever takes posts, with `posts` as their examples.
    """

    name: str
    digest: str
    audiences: Mapping[str, Audience]
    groups: Mapping[str, frozenset[str]]
    vocabulary: Vocabulary
    defaults: Defaults
    collections: Mapping[str, str]
    markings: Mapping[str, Meaning]
    facets: Mapping[str, FacetSource]
    rules: tuple[Rule, ...]
    releases: tuple[Release, ...]
    examples: tuple[Example, ...]
    unsupported: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    guards: tuple[Guard, ...] = ()
    posts: tuple[PostExample, ...] = ()
    compiler: Compiler = field(init=False, repr=False, compare=False)
    views: Mapping[str, View] = field(init=False, repr=False, compare=False)
    clauses: tuple[Clause, ...] = field(init=False, repr=False, compare=False)
    _ranks: Mapping[str, int | None] = field(init=False, repr=False, compare=False)
    _cases: dict[Meanings, dict[Facets, FacetsCase]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        owners = {id_: audience.name for audience in self.audiences.values() for id_ in audience.identities}
        compiler = Compiler(self.facets, owners)
        ranks = {name: unmarked_rank(text) for name, text in self.collections.items()}
        default = unmarked_rank(self.defaults.unmarked)
        views = {
            name: View(audience, RANKS[audience.clearance], default, ranks, compiler.entries(self.rules, audience))
            for name, audience in self.audiences.items()
        }
        for name, value in (
            ("compiler", compiler),
            ("views", views),
            ("clauses", tuple(compiler.numbers)),
            ("_ranks", ranks),
            ("_cases", {}),
        ):
            object.__setattr__(self, name, value)

    def with_notes(self, unsupported: Sequence[Problem], warnings: Sequence[Problem]) -> Policy:
        """The same policy with these notes."""
        return replace(self, unsupported=tuple(unsupported), warnings=tuple(warnings))

    def concerns(self, rule: Rule, audience: str) -> bool:
        """Whether the rule's `to` names this audience."""
        return concerns(rule, self.audiences[audience])

    def unmarked_rank(self, collection: str) -> int | None:
        """The level that an unmarked object of this collection counts as; None: deny."""
        return self._ranks.get(collection, unmarked_rank(self.defaults.unmarked))

    def decide(
        self,
        audience: str,
        facets: Facets,
        meanings: Meanings,
        governor: Facets | None = None,
        carried: frozenset[str] | None = None,
    ) -> Decision:
        """Whether this audience may read an object with these facets. Never raises: a failure hides.

        `governor` are the facets of the newest version by the same submitter, None when this is it.
        `carried` are the ids of the markings on objects that the audience can read: another
        marking-definition is readable only then. None: not known, treated as carried.
        """
        try:
            return self._decide(audience, facets, meanings, governor, carried, None)
        except Exception:  # noqa: BLE001 - one object that cannot be judged must not show (C14)
            return Decision("hide", "error", None, "the decision failed; see the log of this request")

    def _decide(
        self,
        audience: str,
        facets: Facets,
        meanings: Meanings,
        governor: Facets | None,
        carried: frozenset[str] | None,
        trace: list[tuple[str, Ruling]] | None,
    ) -> Decision:
        view = self.views.get(audience)
        if view is None:
            return _decision(UNMAPPED)
        ruling = judge(view, self.case(facets, meanings), carried, trace)
        if governor is not None and self.defaults.versions != "independent":
            newest = judge(view, self.case(governor, meanings), carried)
            text = "" if newest.outcome == "granted" else f"the newest version is hidden: {newest.text}"
            hidden = Ruling("failed", "newer-version-hidden", newest.rule, text)
            if trace is not None:
                trace.append(("newest", hidden if text else Ruling("passed")))
            if text and ruling.outcome == "granted":
                ruling = hidden
        return _decision(ruling)

    def explain(
        self,
        audience: str,
        facets: Facets,
        meanings: Meanings,
        governor: Facets | None = None,
        carried: frozenset[str] | None = None,
    ) -> Explanation:
        """What `decide` answers, with every step and every rule that concerns the audience."""
        trace: list[tuple[str, Ruling]] = []
        try:
            decision = self._decide(audience, facets, meanings, governor, carried, trace)
            steps = self._checks(audience, self.case(facets, meanings), trace)
        except Exception:  # noqa: BLE001 - as in decide
            decision = self.decide(audience, facets, meanings, governor, carried)
            steps = (Check("error", "failed", decision.text),)
        fitting = (check.rule for check in steps if check.rule and check.outcome != "neutral")
        lost = tuple(dict.fromkeys(rule for rule in fitting if rule != decision.rule))
        return Explanation(audience, facets, decision, steps, lost)

    def _checks(self, audience: str, case: FacetsCase, trace: list[tuple[str, Ruling]]) -> tuple[Check, ...]:
        checks: list[Check] = []
        view = self.views.get(audience)
        for name, ruling in trace:
            entries: tuple[Entry, ...] = () if view is None else view.entries.get(name, ())  # type: ignore[call-overload]
            if not entries:
                checks.append(Check(name, _WORDS[ruling.outcome], ruling.text, ruling.rule))
            elif ruling.rule is None:
                # The step as such says something that no single rule says, such as "no permit fits".
                checks.append(Check(name, _WORDS[ruling.outcome], ruling.text))
            checks.extend(_rule_check(name, entry, case) for entry in entries)
            if view is not None and name in ("markings", "granular"):
                marks = case.markings if name == "markings" else case.granular
                checks.extend(_marking_check(name, view, id_, meaning) for id_, meaning in marks)
            if name == "level" and case.levels() != (None,):
                levels = ", ".join(
                    "unclear" if n == UNCLEAR_RANK else LEVELS[n] for n in case.levels() if n is not None
                )
                checks.append(Check(name, "neutral", f"in effect: {levels}"))
        return tuple(checks)

    def case(self, facets: Facets, meanings: Meanings) -> FacetsCase:
        """The case of these facets, kept so that the next audience finds its answers worked out."""
        cases = self._cases.get(meanings)
        if cases is None:
            # Meanings only grow; what was worked out under older ones is not asked for again.
            self._cases.clear()
            cases = self._cases[meanings] = {}
        case = cases.get(facets)
        if case is None:
            if len(cases) >= CASES_KEPT:
                cases.clear()
            case = cases[facets] = FacetsCase(facets, self, meanings)
        return case


_WORDS: Mapping[Outcome, Literal["passed", "failed", "neutral"]] = {
    "passed": "passed",
    "granted": "passed",
    "failed": "failed",
    "neutral": "neutral",
    "open": "neutral",
}


def _decision(ruling: Ruling) -> Decision:
    return Decision("read" if ruling.outcome == "granted" else "hide", ruling.reason, ruling.rule, ruling.text)


def _marking_check(step: str, view: View, id_: str, meaning: Meaning) -> Check:
    obstacle = view.obstacle(meaning)
    if obstacle is None:
        return Check(step, "passed", f"{id_} ({meaning.name}): allows it")
    return Check(step, "failed", f"{id_}: {obstacle[2]}")


def _rule_check(step: str, entry: Entry, case: FacetsCase) -> Check:
    fits, rule = case.clauses[entry.clause], entry.rule
    if fits and entry.unless is not None and case.clauses[entry.unless]:
        return Check(step, "neutral", "excused by its unless", rule.id)
    if not fits:
        tests = " and ".join(map(str, rule.what)) or "its kind of object"
        return Check(step, "neutral", f"does not fit: wants {tests}", rule.id)
    return Check(step, _WORDS[entry.ruling.outcome], entry.ruling.text, rule.id)


def allowed(
    policy: Policy,
    audience: str,
    labels: Iterable[tuple[int, Facets, Facets | None]],
    meanings: Meanings,
    carried: frozenset[str] | None = None,
) -> set[int]:
    """The labels (number, facets, governing facets) that this audience may read: `decide` in bulk."""
    view = policy.views.get(audience)
    if view is None or view.audience.suspended:
        return set()
    governs = policy.defaults.versions != "independent"
    found: set[int] = set()
    for label, facets, governor in labels:
        try:
            if judge(view, policy.case(facets, meanings), carried).outcome != "granted":
                continue
            if governs and governor is not None and governor is not facets:
                newest = judge(view, policy.case(governor, meanings), carried)
                if newest.outcome != "granted":
                    continue
        except Exception:  # noqa: BLE001, S112 - as in decide: what cannot be judged stays hidden
            continue
        found.add(label)
    return found
