"""A policy in force, and the three questions it answers: may one read, what may one read, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from taxii_server.errors import Problem
from taxii_server.model import Removal
from taxii_server.policy.cases import FacetsCase
from taxii_server.policy.compile import Compiler, concerns
from taxii_server.policy.conditions import Clause
from taxii_server.policy.engine import judge
from taxii_server.policy.explain import Check, checks, lost
from taxii_server.policy.facets import Facets, FacetSource, Vocabulary
from taxii_server.policy.floor import UNCLEAR_RANK, Ask, View, is_released_to, of_governor, unmarked_rank
from taxii_server.policy.guard import Guard, PostExample
from taxii_server.policy.markings import LEVELS, RANKS, Meaning, Meanings
from taxii_server.policy.rules import Audience, Defaults, Example, Release, Rule
from taxii_server.policy.steps import UNMAPPED, Ruling
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


class Counted(NamedTuple):
    """The level that an object has here although no TLP marking on it says so, and why: for its readers."""

    level: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with everything that was looked at. `lost` are rules that fit but did not decide."""

    audience: str
    facets: Facets
    decision: Decision
    steps: tuple[Check, ...]
    lost: tuple[str, ...] = ()


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
                releases={r.facet: r for r in self.releases if is_released_to(r, audience)},
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
            found.update(each for each in (release.begins, release.ends) if each is not None)
        found.update(rule.ends for rule in self.rules if rule.ends is not None)
        return tuple(sorted(found))

    def delays(self) -> tuple[int, ...]:
        """The different delays of embargoes (µs), ascending."""
        return tuple(sorted({rule.delay_us for rule in self.rules if rule.delay_us}))

    def is_orcon(self, facets: Facets, meanings: Meanings) -> bool:
        """Whether a marking of the object, or of a part, leaves every step to its originator: no copy is made of it."""
        case = self.case(facets, meanings)
        return any(meaning.orcon for _, meaning in (*case.markings, *case.granular))

    def counts_as(self, facets: Facets, meanings: Meanings, moment: int | None = None) -> Counted | None:
        """The level in effect, where it is higher than the TLP markings on the object say; else None.

        None for an unmarked object on whose level nobody agreed, and for one whose label names no level: whoever reads
        that one posted it.
        """
        case = self.case(facets, meanings, moment)
        (rank,) = case.levels()
        said = max((RANKS[TLP_IDS[id_]] for id_ in facets.markings if id_ in TLP_IDS), default=-1)
        if rank is None or rank <= said or rank >= UNCLEAR_RANK:
            return None
        if rank == case.label_rank:
            why = "a label of it says so"
        elif any(meaning.level is not None for _, meaning in case.markings):
            why = "that is what its markings mean"
        else:
            why = "none of its markings is a TLP level" if facets.markings else "it carries no marking"
        return Counted(LEVELS[rank], why)

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
        except Exception as error:  # noqa: BLE001 - one object that cannot be judged must not show (C14)
            return Decision("hide", "error", None, f"the decision failed: {type(error).__name__}: {error}")

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
        if governor is not None and self.defaults.newest_governs:
            newest = judge(view, self.case(governor, meanings, ask.moment), of_governor(ask))
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
        ask = Ask(carried, moment)
        try:
            decision = self._decide(audience, facets, meanings, governor, ask, trace)
            steps = checks(self.views.get(audience), self.case(facets, meanings, moment), ask, trace, self.releases)
        except Exception:  # noqa: BLE001 - as in decide
            decision = self.decide(audience, facets, meanings, governor, carried, moment)
            steps = (Check("error", "failed", decision.text),)
        return Explanation(audience, facets, decision, steps, lost(steps, decision.rule))

    def case(self, facets: Facets, meanings: Meanings, moment: int | None = None) -> FacetsCase:
        """The case of these facets, kept so that the next audience finds its answers worked out."""
        # To what markings mean, only those instants matter at which one of them begins or ends.
        key = meanings, (None if moment is None else meanings.passed(moment))
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


def _decision(ruling: Ruling) -> Decision:
    if ruling.outcome != "granted":
        return Decision("hide", ruling.reason, ruling.rule, ruling.text)
    verdict: Verdict = "read" if ruling.removal is None else "derive"
    return Decision(verdict, ruling.reason, ruling.rule, ruling.text, ruling.delay_us, ruling.removal)


def allowed(
    policy: Policy,
    audience: str,
    labels: Iterable[tuple[int, Facets, Facets | None]],
    meanings: Meanings,
    carried: frozenset[str] | None = None,
    moment: int | None = None,
    *,
    suspended_too: bool = False,
    failed: Callable[[int], None] = lambda label: None,
) -> dict[int, Access]:
    """The labels (number, facets, governing facets) that this audience may read, and how: `decide` in bulk.

    `suspended_too`: as if the audience were not suspended. `failed` hears of labels that cannot be judged, while the
    exception is being handled.
    """
    view = policy.views.get(audience)
    if view is None or (view.audience.suspended and not suspended_too):
        return {}
    ask = Ask(carried, moment, suspended_too)
    governs = policy.defaults.newest_governs
    found: dict[int, Access] = {}
    for label, facets, governor in labels:
        try:
            ruling = judge(view, policy.case(facets, meanings, moment), ask)
            if ruling.outcome != "granted":
                continue
            if governs and governor is not None and governor is not facets:
                newest = judge(view, policy.case(governor, meanings, moment), of_governor(ask))
                if newest.outcome != "granted":
                    continue
        except Exception:  # noqa: BLE001 - as in decide: what cannot be judged stays hidden
            failed(label)
            continue
        found[label] = Access(ruling.delay_us, ruling.removal)
    return found
