"""The steps of a decision: what each of them says of an object, by itself (policy design, B.3).

Default is deny, a forbid beats every permit, and no rule lifts what the markings demand. In which order they are
asked, and what becomes of their rulings, is in engine.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple, Protocol

from taxii_server.model import Removal
from taxii_server.policy.conditions import (
    UNKNOWN,
    Blank,
    Case,
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


def audience_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """A suspended audience reads nothing."""
    return SUSPENDED if view.audience.suspended and not ask.suspended_too else PASSED


def submitter_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """Who posted it reads it."""
    if case.posted_by(view.audience.name):
        return Ruling("granted", "submitter", None, f"{view.audience.name} posted it")
    return NEUTRAL


def built_in_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """The TLP definitions of STIX itself are for everybody."""
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


def release_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """Says nothing by itself: a release lifts TLP:RED and ORCON in the steps that follow."""
    for release in case.releases(view):
        if release.holds_at(ask.moment) and case.has("release", release.facet):
            named = f"it names {view.audience.name}, as TLP:RED and ORCON ask"
            text = f"released by {release.by}: {named}; it lifts no clearance and no rule"
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


def markings_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """What its markings demand; of several that are not met, the worst."""
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


def level_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
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


def carried_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """A marking-definition is read only by whoever reads an object that carries it."""
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


def forbid_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """The first forbid that fits hides it."""
    return _first(view.entries["forbid"], case, "failed")


def select_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """What the audience does not want."""
    return _first(view.entries["select"], case, "failed")


def embargo_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
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


def permit_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
    """The first permit that fits. A marking-definition needs none: what carries it has decided."""
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


def granular_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
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


def strip_step(view: View, case: JudgedCase, ask: Ask) -> Ruling:
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
