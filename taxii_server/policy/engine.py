"""Decisions: may this audience read an object with these facets, and why.

One function, `judge`, walks the steps of the policy design (B.3) for every caller: `decide` for one
object, `allowed` for a whole poll, `explain` with every step written down, and the prover with an
object that is only partly fixed. Default is deny, a forbid beats every permit, and no rule lifts
what the markings demand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from taxii_server.policy.conditions import (
    UNKNOWN,
    Blank,
    Case,
    Clause,
    Test,
    clause_holds,
    fits_audience,
    for_audience,
)
from taxii_server.policy.facets import FacetSource
from taxii_server.policy.markings import LEVELS, RANKS, RED, Meaning
from taxii_server.policy.rules import Audience, Condition, Rule, RuleKind, Unless

Outcome = Literal["passed", "failed", "neutral", "granted", "open"]


class Ruling(NamedTuple):
    """What one step says. `open`: the prover has not fixed enough for an answer."""

    outcome: Outcome
    reason: str = ""
    rule: str | None = None
    text: str = ""


PASSED = Ruling("passed")
NEUTRAL = Ruling("neutral")
OPEN = Ruling("open")
CARRIED = Ruling("granted", "marking-carried", None, "a readable object carries this marking")
BUILT_IN_READ = Ruling("granted", "built-in", None, "the built-in TLP definitions are public")
NO_PERMIT = Ruling("failed", "no-permit", None, "no permit rule fits")
UNMARKED = Ruling("failed", "unmarked", None, "it has no TLP level, and unmarked objects stay with their submitter")
SUSPENDED = Ruling("failed", "suspended", None, "the audience is suspended")
UNMAPPED = Ruling("failed", "unmapped", None, "no such audience")


class JudgedCase(Case, Protocol):
    """What the steps ask of an object, besides what conditions ask."""

    #: Marking ids that may be on it and what they mean, highest level first.
    markings: Sequence[tuple[str, Meaning]]
    #: Meanings of the granular markings on it.
    granular: Sequence[tuple[str, Meaning]]
    #: Rank of the highest `tlp:` label, None without one or when they do not count.
    label_rank: int | None
    #: Answers to the numbered clauses of the policy.
    clauses: Mapping[int, bool | None]

    def posted_by(self, audience: str) -> bool:
        """Whether this audience submitted it."""

    def definition(self) -> str | Blank | None:
        """ "built-in" or the marking id that it defines; None for every other object."""


class Entry(NamedTuple):
    """One rule that concerns an audience: the numbers of its clauses, and what it says when it fits."""

    clause: int
    unless: int | None
    ruling: Ruling
    rule: Rule


#: Ranks above every level: a `tlp:` label that names no level.
UNCLEAR_RANK = len(LEVELS)


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is fixed about one audience: its clearance and the rules that concern it."""

    audience: Audience
    clearance: int
    default_rank: int | None
    collection_ranks: Mapping[str, int | None]
    entries: Mapping[RuleKind, tuple[Entry, ...]]

    def level_obstacle(self, level: int) -> tuple[int, str, str] | None:
        """Why an object of this level stays hidden, or None."""
        if level > self.clearance:
            name = LEVELS[level].upper() if level < UNCLEAR_RANK else "unclear"
            return 1, "tlp", f"TLP:{name} is above the clearance {self.audience.clearance.upper()}"
        if level >= RED:
            return 2, "tlp-red-not-named", "TLP:RED is for those whom a release names"
        return None

    def obstacle(self, meaning: Meaning) -> tuple[int, str, str] | None:
        """Why something with this marking stays hidden: rank (lowest is told first), reason, text."""
        if not meaning.understood:
            return 0, "unknown-marking", f"a marking is not understood ({meaning.name})"
        if meaning.level is not None:
            obstacle = self.level_obstacle(meaning.level)
            if obstacle is not None:
                return obstacle
        own = self.audience.countries
        if meaning.rel_to is not None:
            # Everybody in a joint team reads, so every one of its countries has to be on the list.
            listed = bool(own) and meaning.rel_to.issuperset(own)
            if not listed and meaning.rel_to_groups.isdisjoint(self.audience.groups):
                return 3, "rel-to", f"not on the release list of {meaning.name!r}"
        if not meaning.not_rel_to.isdisjoint(own):
            return 4, "not-rel-to", f"on the exclusion list of {meaning.name!r}"
        if meaning.orcon:
            return 5, "orcon", f"{meaning.name!r}: only its originator hands it on"
        return None

    def unmarked_rank(self, collection: str) -> int | None:
        """The level that an unmarked object of this collection counts as; None: deny."""
        return self.collection_ranks.get(collection, self.default_rank)


def _audience_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    return SUSPENDED if view.audience.suspended else PASSED


def _submitter_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    if case.posted_by(view.audience.name):
        return Ruling("granted", "submitter", None, f"{view.audience.name} posted it")
    return NEUTRAL


def _built_in_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    definition = case.definition()
    if definition is UNKNOWN:
        return OPEN
    return BUILT_IN_READ if definition == "built-in" else NEUTRAL


def _markings_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    worst: tuple[int, str, str] | None = None
    unsure = False
    for id_, meaning in case.markings:
        obstacle = view.obstacle(meaning)
        if obstacle is None or (worst is not None and obstacle[0] >= worst[0]):
            continue
        present = case.has("marking", id_)
        if present:
            worst = obstacle
        elif present is None:
            unsure = True
    if worst is not None:
        return Ruling("failed", worst[1], None, worst[2])
    return OPEN if unsure else PASSED


def _level_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    """The unmarked rule, and `tlp:` labels: they tighten but do not count as a mark."""
    if case.definition() is not None:
        return NEUTRAL
    marked: bool | None = False
    for id_, meaning in case.markings:
        if meaning.level is not None:
            present = case.has("marking", id_)
            if present:
                marked = True
                break
            if present is None:
                marked = None
    obstacle = None
    if marked is False:
        collection = case.one("collection")
        if collection is UNKNOWN:
            return OPEN
        rank = view.unmarked_rank(str(collection))
        if rank is None:
            return UNMARKED
        obstacle = view.level_obstacle(rank)
    if obstacle is None and case.label_rank is not None:
        obstacle = view.level_obstacle(case.label_rank)
    if obstacle is not None:
        return Ruling("failed", obstacle[1], None, obstacle[2])
    return OPEN if marked is None else PASSED


def _carried_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    definition = case.definition()
    if definition is None or carried is None or definition in carried:
        return NEUTRAL
    return Ruling("failed", "marking-not-carried", None, "no object that the audience reads carries this marking")


def _first(entries: tuple[Entry, ...], case: JudgedCase) -> Ruling:
    """The first rule that fits; NEUTRAL when none does."""
    unsure = False
    clauses = case.clauses
    for clause, unless, ruling, _ in entries:
        fits = clauses[clause]
        if fits is False:
            continue
        if unless is not None:
            excused = clauses[unless]
            if excused:
                continue
            if excused is None:
                fits = None
        if fits:
            return ruling
        unsure = True
    return OPEN if unsure else NEUTRAL


def _forbid_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    return _first(view.entries["forbid"], case)


def _select_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    return _first(view.entries["select"], case)


def _embargo_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    return _first(view.entries["embargo"], case)


def _permit_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    if case.definition() is not None:
        return CARRIED
    ruling = _first(view.entries["permit"], case)
    return NO_PERMIT if ruling is NEUTRAL else ruling


def _granular_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    """Markings of parts only tighten; with an unreadable part the whole object is hidden."""
    for _, meaning in case.granular:
        obstacle = view.obstacle(meaning)
        if obstacle is not None:
            return Ruling("failed", "granular", None, f"a part of it is not readable: {obstacle[2]}")
    return PASSED if case.granular else NEUTRAL


def _strip_step(view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
    return _first(view.entries["strip"], case)


class Step(Protocol):
    """One step of the decision."""

    def __call__(self, view: View, case: JudgedCase, carried: frozenset[str] | None) -> Ruling:
        """What this step says of the case."""


#: The order of the decision. Newer versions come after it, because they ask all of this again.
STEPS: tuple[tuple[str, Step], ...] = (
    ("audience", _audience_step),
    ("submitter", _submitter_step),
    ("built-in", _built_in_step),
    ("markings", _markings_step),
    ("level", _level_step),
    ("carried", _carried_step),
    ("forbid", _forbid_step),
    ("select", _select_step),
    ("embargo", _embargo_step),
    ("permit", _permit_step),
    ("granular", _granular_step),
    ("strip", _strip_step),
)


def judge(
    view: View,
    case: JudgedCase,
    carried: frozenset[str] | None,
    trace: list[tuple[str, Ruling]] | None = None,
) -> Ruling:
    """A ruling "granted" or "failed"; "open" only for a case that is partly unknown.

    With `trace`, every step is asked and written there; the first that decides still decides.
    """
    decided: Ruling | None = None
    granted: Ruling | None = None
    unsure = False
    for name, step in STEPS:
        ruling = step(view, case, carried)
        if trace is not None:
            trace.append((name, ruling))
        outcome = ruling[0]
        if outcome == "granted":
            if step is _permit_step:
                granted = ruling
            else:
                decided = decided or ruling
        elif outcome == "failed":
            decided = decided or ruling
        elif outcome == "open":
            unsure = True
            if step is _built_in_step:
                return OPEN
        if decided is not None and trace is None:
            return decided
    if decided is not None:
        return decided
    return OPEN if unsure or granted is None else granted


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
        if rule.kind == "strip" and not rule.creator:
            tests.append(Test("sets", groups=tuple((("property", name),) for name in rule.properties)))
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
            outcome: Outcome = "granted" if rule.kind == "permit" else "failed"
            verb = {"permit": "permitted", "forbid": "forbidden", "select": "not wanted"}.get(rule.kind)
            text = f"{verb or 'held back'} by rule {rule.id!r}" + (f": {rule.why}" if rule.why else "")
            number = self.number(self.clause(rule, audience))
            found[rule.kind].append(Entry(number, excuse, Ruling(outcome, rule.kind, rule.id, text), rule))
        return {kind: tuple(entries) for kind, entries in found.items()}


def concerns(rule: Rule, audience: Audience) -> bool:
    """Whether the rule's `to` names this audience."""
    return all(fits_audience(condition, audience, rule.kind == "permit") for condition in rule.to)


def concerns_reader(condition: Condition) -> bool:
    """True for a condition on the reader, False for one on the object."""
    return condition.key in ("audience", "group", "kind", "country", "sector", "client_of", "attribute")


def unmarked_rank(text: str) -> int | None:
    """The rank that an `unmarked` setting stands for; None for "deny"."""
    return None if text == "deny" else RANKS[text.removeprefix("tlp:")]


def answer(clauses: Sequence[Clause], number: int, case: Case) -> bool | None:
    """Whether the case passes the clause of this number."""
    return clause_holds(clauses[number], case)
