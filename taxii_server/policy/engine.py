"""Decisions: may this audience read an object with these facets, and why.

One function, `judge`, walks the steps of the policy design (B.3) for every caller: `decide` for one
object, `allowed` for a whole poll, `explain` with every step written down, and the prover with an
object that is only partly fixed. Default is deny, a forbid beats every permit, and no rule lifts
what the markings demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, Protocol

from taxii_server.model import Removal
from taxii_server.policy.conditions import (
    UNKNOWN,
    Blank,
    Case,
    Clause,
    clause_holds,
    some,
)
from taxii_server.policy.floor import Ask, Entry, Obstacle, View
from taxii_server.policy.markings import Meaning
from taxii_server.policy.rules import Release, Rule

Outcome = Literal["passed", "failed", "neutral", "granted", "open"]


class Ruling(NamedTuple):
    """What one step says. `open`: the prover has not fixed enough for an answer.

    `delay_us` and `removal`: it is read later than it was added, and not all of it.
    """

    outcome: Outcome
    reason: str = ""
    rule: str | None = None
    text: str = ""
    delay_us: int = 0
    removal: Removal | None = None


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
    #: Granular marking ids whose parts, and properties, that cannot be taken out.
    firm: Sequence[str]
    fixed: Sequence[str]

    def posted_by(self, audience: str) -> bool:
        """Whether this audience submitted it."""

    def definition(self) -> str | Blank | None:
        """ "built-in" or the marking id that it defines; None for every other object."""

    def releases(self, view: View) -> Iterable[Release]:
        """The releases to the audience of this view that may name it; `has` says whether one does."""


def _audience_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    return SUSPENDED if view.audience.suspended and not ask.suspended_too else PASSED


def _submitter_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    if case.posted_by(view.audience.name):
        return Ruling("granted", "submitter", None, f"{view.audience.name} posted it")
    return NEUTRAL


def _built_in_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    definition = case.definition()
    if definition is UNKNOWN:
        return OPEN
    return BUILT_IN_READ if definition == "built-in" else NEUTRAL


def _released(view: View, case: JudgedCase, ask: Ask) -> bool | None:
    """Whether its originator has released it to this audience."""
    if not view.releases:
        return False
    now = None if ask.proof else ask.moment
    return some(case.has("release", release.facet) for release in case.releases(view) if release.holds_at(now))


def _release_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """Says nothing by itself: a release lifts TLP:RED and ORCON in the steps that follow."""
    for release in case.releases(view):
        if release.holds_at(ask.moment) and case.has("release", release.facet):
            text = f"released by {release.by}: neither TLP:RED nor ORCON keeps it from {view.audience.name}"
            return Ruling("neutral", "release", release.id, text)
    return NEUTRAL


#: Reasons of obstacles that a release takes away.
_LIFTED = ("tlp-red-not-named", "orcon")


def _weigh(
    find: Callable[[bool], Obstacle | None], view: View, case: JudgedCase, ask: Ask
) -> tuple[Obstacle | None, bool]:
    """The obstacle that `find` names to those who have (True) or have not (False) a release, as it stands here.

    And whether that is open: a release that is not fixed might take away more.
    """
    obstacle = find(False)
    if obstacle is None or obstacle[1] not in _LIFTED:
        return obstacle, False
    released = _released(view, case, ask)
    return (obstacle, False) if released is False else (find(True), released is None)


def _markings_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    worst: Obstacle | None = None
    unsure = False
    for id_, meaning in case.markings:
        obstacle = view.obstacle(meaning, False)
        if obstacle is None or (worst is not None and obstacle[0] >= worst[0]):
            continue
        present = case.has("marking", id_)
        if present:
            obstacle, is_open = _weigh(partial(view.obstacle, meaning), view, case, ask)
            unsure = unsure or is_open
            if obstacle is not None and (worst is None or obstacle[0] < worst[0]):
                worst = obstacle
        elif present is None:
            unsure = True
    if worst is not None:
        return Ruling("failed", worst[1], None, worst[2])
    return OPEN if unsure else PASSED


def _level_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
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
    levels: list[int] = [] if case.label_rank is None else [case.label_rank]
    if marked is False:
        collection = case.one("collection")
        if collection is UNKNOWN:
            return OPEN
        rank = view.unmarked_rank(str(collection))
        if rank is None:
            return UNMARKED
        levels.insert(0, rank)
    unsure = marked is None
    for level in levels:
        obstacle, is_open = _weigh(partial(view.level_obstacle, level), view, case, ask)
        unsure = unsure or is_open
        if obstacle is not None:
            return Ruling("failed", obstacle[1], None, obstacle[2])
    return OPEN if unsure else PASSED


def _carried_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    definition = case.definition()
    if definition is None or ask.carried is None or definition in ask.carried:
        return NEUTRAL
    return Ruling("failed", "marking-not-carried", None, "no object that the audience reads carries this marking")


def _fits(entry: Entry, case: JudgedCase) -> bool | None:
    """Whether the rule fits and nothing excuses the case from it."""
    fits = case.clauses[entry.clause]
    if fits is False or entry.unless is None:
        return fits
    excused = case.clauses[entry.unless]
    if excused:
        return False
    return None if excused is None else fits


def _first(entries: tuple[Entry, ...], case: JudgedCase, outcome: Outcome) -> Ruling:
    """The first rule that fits; NEUTRAL when none does."""
    unsure = False
    for entry in entries:
        fits = _fits(entry, case)
        if fits:
            return Ruling(outcome, entry.reason, entry.rule.id, entry.text)
        unsure = unsure or fits is None
    return OPEN if unsure else NEUTRAL


def _forbid_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    return _first(view.entries["forbid"], case, "failed")


def _select_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    return _first(view.entries["select"], case, "failed")


def _embargo_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """Until a moment: hidden. For some time: read that much later, of several rules the longest."""
    if ask.proof:
        return NEUTRAL
    longest: Entry | None = None
    for entry in view.entries["embargo"]:
        if not case.clauses[entry.clause]:
            continue
        if is_held_back(entry.rule, ask):
            return Ruling("failed", entry.reason, entry.rule.id, entry.text)
        if entry.rule.delay_us and (longest is None or entry.rule.delay_us > longest.rule.delay_us):
            longest = entry
    if longest is None:
        return NEUTRAL
    return Ruling("neutral", "embargo", longest.rule.id, longest.text, longest.rule.delay_us)


def is_held_back(embargo: Rule, ask: Ask) -> bool:
    """Whether the embargo hides what it fits. One with a delay only delays, where the moment is known."""
    if embargo.ends is not None:
        return ask.moment is None or ask.moment < embargo.ends
    return ask.moment is None and embargo.delay_us > ask.age_us


def _permit_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    if case.definition() is not None:
        return CARRIED
    ruling = _first(view.entries["permit"], case, "granted")
    return NO_PERMIT if ruling is NEUTRAL else ruling


def _without(view: View, case: JudgedCase, parts: Iterable[str], reason: str, why: str) -> Ruling | frozenset[str]:
    """The granular markings whose parts a copy may not hold: these, and what only its originator hands on.

    Of ORCON material no copy is made, even where it is released: from a copy such parts are taken out. A ruling
    where no copy can be made.
    """
    if any(meaning.orcon for _, meaning in case.markings):
        return Ruling("failed", reason, None, f"{why}, and ORCON allows no copy")
    orcon = {id_ for id_, meaning in case.granular if meaning.orcon}
    if orcon and not view.derives:
        return Ruling("failed", reason, None, f"{why}, and ORCON allows no copy of a part")
    found = orcon.union(parts)
    if not found.isdisjoint(case.firm):
        return Ruling("failed", reason, None, f"{why}, and a part of it that would have to go with it cannot")
    return frozenset(found)


def _granular_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """Markings of parts only tighten: an unreadable part is taken out, or the whole object is hidden."""
    if not case.granular or ask.proof:
        return NEUTRAL
    unreadable: dict[str, str] = {}
    for id_, meaning in case.granular:
        obstacle, _ = _weigh(partial(view.obstacle, meaning), view, case, ask)
        if obstacle is not None:
            unreadable[id_] = obstacle[2]
    if not unreadable:
        return PASSED
    why = "; ".join(dict.fromkeys(unreadable.values()))
    if not view.derives:
        return Ruling("failed", "granular", None, f"a part of it is not readable: {why}")
    if not unreadable.keys().isdisjoint(case.firm):
        return Ruling("failed", "granular", None, f"a part that cannot be taken out is not readable: {why}")
    without = _without(view, case, unreadable, "granular", f"a part of it is not readable ({why})")
    if isinstance(without, Ruling):
        return without
    return Ruling("passed", "granular", None, f"a part of it is taken out: {why}", removal=Removal(markings=without))


def _strip_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """What rules, and markings that hide who made something, take out of it."""
    if ask.proof:
        return NEUTRAL
    has_creator = case.one("creator") is not None
    properties: set[str] = set()
    rules: list[str] = []
    creator = False
    for entry in view.entries["strip"]:
        if case.clauses[entry.clause]:
            found = {name for name in entry.rule.properties if case.has("property", name)}
            if found or (entry.rule.creator and has_creator):
                rules.append(entry.rule.id)
            properties |= found
            creator = creator or (entry.rule.creator and has_creator)
    if has_creator and any(meaning.hide_creator for _, meaning in (*case.markings, *case.granular)):
        creator = True
    if not (properties or creator):
        return NEUTRAL
    what = [*sorted(properties), *(["its creator"] if creator else [])]
    by = (
        f"rule{'s' if len(rules) > 1 else ''} {', '.join(map(repr, rules))}" if rules else "a marking hides who made it"
    )
    text = f"{', '.join(what)} {'is' if len(what) == 1 else 'are'} taken out ({by})"
    rule = rules[0] if rules else None
    fixed = sorted(properties.intersection(case.fixed))
    if fixed:
        return Ruling("failed", "strip", rule, f"{fixed[0]} has to be taken out of it and cannot")
    without = _without(view, case, (), "strip", text)
    if isinstance(without, Ruling):
        return without._replace(rule=rule)
    removal = Removal(markings=without, properties=frozenset(properties), creator=creator)
    return Ruling("passed", "strip", rule, text, removal=removal)


class Step(Protocol):
    """One step of the decision."""

    def __call__(self, view: View, case: JudgedCase, ask: Ask) -> Ruling:
        """What this step says of the case."""


#: The order of the decision. Newer versions come after it, because they ask all of this again.
STEPS: tuple[tuple[str, Step], ...] = (
    ("audience", _audience_step),
    ("submitter", _submitter_step),
    ("built-in", _built_in_step),
    ("release", _release_step),
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


def judge(view: View, case: JudgedCase, ask: Ask, trace: list[tuple[str, Ruling]] | None = None) -> Ruling:
    """A ruling "granted" or "failed"; "open" only for a case that is partly unknown.

    A granted one says with which delay, and without which parts. With `trace`, every step is asked and written
    there; the first that decides still decides.
    """
    decided: Ruling | None = None
    granted: Ruling | None = None
    unsure = False
    delay_us = 0
    removal: Removal | None = None
    notes: list[str] = []
    for name, step in STEPS:
        if step is _release_step and trace is None:
            continue
        ruling = step(view, case, ask)
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
        if ruling.delay_us or ruling.removal is not None:
            delay_us = max(delay_us, ruling.delay_us)
            removal = united(removal, ruling.removal)
            notes.append(ruling.text)
        if decided is not None and trace is None:
            return decided
    if decided is not None:
        return decided
    if unsure or granted is None:
        return OPEN
    if not (delay_us or removal):
        return granted
    return granted._replace(text="; ".join([granted.text, *notes]), delay_us=delay_us, removal=removal)


def united(one: Removal | None, other: Removal | None) -> Removal | None:
    """What either of the two takes out."""
    if one is None or other is None:
        return one or other
    return replace(
        one,
        markings=one.markings | other.markings,
        properties=one.properties | other.properties,
        creator=one.creator or other.creator,
        references=one.references | other.references,
    )


def answer(clauses: Sequence[Clause], number: int, case: Case) -> bool | None:
    """Whether the case passes the clause of this number."""
    return clause_holds(clauses[number], case)
