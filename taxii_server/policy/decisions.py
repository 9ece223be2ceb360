"""A policy in force, and the three questions it answers: may one read, what may one read, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from taxii_server.errors import Problem
from taxii_server.model import Removal
from taxii_server.policy.compile import Compiler, concerns
from taxii_server.policy.conditions import ANY, Clause, Single
from taxii_server.policy.engine import UNMAPPED, JudgedCase, Outcome, Ruling, answer, judge
from taxii_server.policy.facets import UNCLEAR, Facets, FacetSource, Vocabulary
from taxii_server.policy.floor import UNCLEAR_RANK, Ask, Entry, View, is_released_to, unmarked_rank
from taxii_server.policy.guard import Guard, PostExample
from taxii_server.policy.markings import LEVELS, RANKS, Meaning, Meanings
from taxii_server.policy.rules import Audience, Defaults, Example, Release, Rule, in_us
from taxii_server.tlp import TLP_IDS

Verdict = Literal["read", "derive", "hide"]

#: A policy keeps what it worked out for so many combinations of facets; beyond, it starts anew.
CASES_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Decision:
    """Read, read in part or hide, with a stable code, the rule that decided if one did, and a sentence for operators.

    "derive": a copy without what `removal` says. `delay_us`: so long after it was added.
    """

    verdict: Verdict
    reason: str
    rule: str | None = None
    text: str = ""
    delay_us: int = 0
    removal: Removal | None = None


class Access(NamedTuple):
    """How an audience reads what carries a label: so long after it was added, and without these parts."""

    delay_us: int = 0
    removal: Removal | None = None


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


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may read what. Immutable; `decide`, `explain` and `allowed` agree by construction.

    Decisions are for a moment (µs since 1970); without one they are timeless: releases hold, and embargoes do.
    `warnings` are rules that can never matter. `guards` decide nothing about reading: they are for whoever takes
    posts, with `posts` as their examples.
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
    warnings: tuple[Problem, ...] = ()
    guards: tuple[Guard, ...] = ()
    posts: tuple[PostExample, ...] = ()
    compiler: Compiler = field(init=False, repr=False, compare=False)
    views: Mapping[str, View] = field(init=False, repr=False, compare=False)
    clauses: tuple[Clause, ...] = field(init=False, repr=False, compare=False)
    _ranks: Mapping[str, int | None] = field(init=False, repr=False, compare=False)
    _cases: dict[tuple[Meanings, int | None], dict[Facets, FacetsCase]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        owners = {id_: audience.name for audience in self.audiences.values() for id_ in audience.identities}
        compiler = Compiler(self.facets, owners)
        ranks = {name: unmarked_rank(text) for name, text in self.collections.items()}
        default = unmarked_rank(self.defaults.unmarked)
        views = {
            name: View(
                audience=audience,
                clearance=RANKS[audience.clearance],
                default_rank=default,
                collection_ranks=ranks,
                entries=compiler.entries(self.rules, audience),
                releases=tuple(release for release in self.releases if is_released_to(release, audience)),
                derives=self.defaults.granular == "derive",
            )
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

    def with_warnings(self, warnings: Sequence[Problem]) -> Policy:
        """The same policy with these warnings."""
        return replace(self, warnings=tuple(warnings))

    def concerns(self, rule: Rule, audience: str) -> bool:
        """Whether the rule's `to` names this audience."""
        return concerns(rule, self.audiences[audience])

    def unmarked_rank(self, collection: str) -> int | None:
        """The level that an unmarked object of this collection counts as; None: deny."""
        return self._ranks.get(collection, unmarked_rank(self.defaults.unmarked))

    def moments(self, meanings: Meanings) -> tuple[int, ...]:
        """Every instant (µs) at which some decision changes by itself, ascending."""
        found = set(meanings.instants())
        for release in self.releases:
            found.update(in_us(each) for each in (release.not_before, release.until) if each is not None)
        found.update(in_us(rule.until) for rule in self.rules if rule.until is not None)
        return tuple(sorted(found))

    def delays(self) -> tuple[int, ...]:
        """The different delays of embargoes (µs), ascending."""
        return tuple(sorted({rule.delay_us for rule in self.rules if rule.delay_us}))

    def is_orcon(self, facets: Facets, meanings: Meanings) -> bool:
        """Whether a marking of the object leaves every further step to its originator: no copy is made of it."""
        return any(meaning.orcon for _, meaning in self.case(facets, meanings).markings)

    def decide(
        self,
        audience: str,
        facets: Facets,
        meanings: Meanings,
        governor: Facets | None = None,
        carried: frozenset[str] | None = None,
        moment: int | None = None,
        age_us: int = 0,
    ) -> Decision:
        """Whether this audience may read an object with these facets. Never raises: a failure hides.

        `governor` are the facets of the newest version by the same submitter, None when this is it.
        `carried` are the ids of the markings on objects that the audience can read: another
        marking-definition is readable only then. None: not known, treated as carried. `age_us` counts without a
        moment only: how long ago the object was added, for embargoes that last some time.
        """
        try:
            return self._decide(audience, facets, meanings, governor, Ask(carried, moment, age_us=age_us), None)
        except Exception:  # noqa: BLE001 - one object that cannot be judged must not show (C14)
            return Decision("hide", "error", None, "the decision failed; see the log of this request")

    def _decide(
        self,
        audience: str,
        facets: Facets,
        meanings: Meanings,
        governor: Facets | None,
        ask: Ask,
        trace: list[tuple[str, Ruling]] | None,
    ) -> Decision:
        view = self.views.get(audience)
        if view is None:
            return _decision(UNMAPPED)
        ruling = judge(view, self.case(facets, meanings, ask.moment), ask, trace)
        if governor is not None and self.defaults.versions != "independent":
            newest = judge(view, self.case(governor, meanings, ask.moment), ask)
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
        moment: int | None = None,
    ) -> Explanation:
        """What `decide` answers, with every step and every rule that concerns the audience."""
        trace: list[tuple[str, Ruling]] = []
        try:
            decision = self._decide(audience, facets, meanings, governor, Ask(carried, moment), trace)
            steps = self._checks(audience, self.case(facets, meanings, moment), trace)
        except Exception:  # noqa: BLE001 - as in decide
            decision = self.decide(audience, facets, meanings, governor, carried, moment)
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
            checks.extend(_rule_check(name, entry, case, ruling) for entry in entries)
            if view is not None and name in ("markings", "granular"):
                marks = case.markings if name == "markings" else case.granular
                released = any(ruling.reason == "release" for step, ruling in trace if step == "release")
                checks.extend(_marking_check(name, view, id_, meaning, released) for id_, meaning in marks)
            if name == "level" and case.levels() != (None,):
                levels = ", ".join(
                    "unclear" if n == UNCLEAR_RANK else LEVELS[n] for n in case.levels() if n is not None
                )
                checks.append(Check(name, "neutral", f"in effect: {levels}"))
        return tuple(checks)

    def case(self, facets: Facets, meanings: Meanings, moment: int | None = None) -> FacetsCase:
        """The case of these facets, kept so that the next audience finds its answers worked out."""
        # The moment matters to what markings mean only where one of them begins or ends.
        key = meanings, (moment if meanings.instants() else None)
        cases = self._cases.get(key)
        if cases is None:
            # Meanings only grow; what was worked out under older ones is not asked for again.
            self._cases.clear()
            cases = self._cases[key] = {}
        case = cases.get(facets)
        if case is None:
            if len(cases) >= CASES_KEPT:
                cases.clear()
            case = cases[facets] = FacetsCase(facets, self, meanings, moment)
        return case


_WORDS: Mapping[Outcome, Literal["passed", "failed", "neutral"]] = {
    "passed": "passed",
    "granted": "passed",
    "failed": "failed",
    "neutral": "neutral",
    "open": "neutral",
}


def _decision(ruling: Ruling) -> Decision:
    if ruling.outcome != "granted":
        return Decision("hide", ruling.reason, ruling.rule, ruling.text)
    verdict: Verdict = "read" if ruling.removal is None else "derive"
    return Decision(verdict, ruling.reason, ruling.rule, ruling.text, ruling.delay_us, ruling.removal)


def _marking_check(step: str, view: View, id_: str, meaning: Meaning, released: bool) -> Check:
    obstacle = view.obstacle(meaning, released)
    if obstacle is None:
        return Check(step, "passed", f"{id_} ({meaning.name}): allows it")
    return Check(step, "failed", f"{id_}: {obstacle[2]}")


def _rule_check(step: str, entry: Entry, case: FacetsCase, ruling: Ruling) -> Check:
    fits, rule = case.clauses[entry.clause], entry.rule
    if fits and entry.unless is not None and case.clauses[entry.unless]:
        return Check(step, "neutral", "excused by its unless", rule.id)
    if fits and rule.kind == "strip" and rule.properties and not any(case.has("property", p) for p in rule.properties):
        fits = rule.creator
    if not fits:
        tests = " and ".join(map(str, rule.what)) or "its kind of object"
        return Check(step, "neutral", f"does not fit: wants {tests}", rule.id)
    if rule.kind in ("embargo", "strip"):
        return Check(step, _WORDS[ruling.outcome], entry.text, rule.id)
    return Check(step, "passed" if rule.kind == "permit" else "failed", entry.text, rule.id)


def allowed(
    policy: Policy,
    audience: str,
    labels: Iterable[tuple[int, Facets, Facets | None]],
    meanings: Meanings,
    carried: frozenset[str] | None = None,
    moment: int | None = None,
    *,
    suspended_too: bool = False,
) -> dict[int, Access]:
    """The labels (number, facets, governing facets) that this audience may read, and how: `decide` in bulk.

    `suspended_too`: as if the audience were not suspended.
    """
    view = policy.views.get(audience)
    if view is None or (view.audience.suspended and not suspended_too):
        return {}
    ask = Ask(carried, moment, suspended_too)
    governs = policy.defaults.versions != "independent"
    found: dict[int, Access] = {}
    for label, facets, governor in labels:
        try:
            ruling = judge(view, policy.case(facets, meanings, moment), ask)
            if ruling.outcome != "granted":
                continue
            if governs and governor is not None and governor is not facets:
                newest = judge(view, policy.case(governor, meanings, moment), ask)
                if newest.outcome != "granted":
                    continue
        except Exception:  # noqa: BLE001, S112 - as in decide: what cannot be judged stays hidden
            continue
        found[label] = Access(ruling.delay_us, ruling.removal)
    return found
