"""Why a decision is as it is: every step, every marking and every rule that concerns the audience, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from taxii_server.model import Removal
from taxii_server.policy.cases import FacetsCase
from taxii_server.policy.floor import UNCLEAR_RANK, Ask, Entry, View
from taxii_server.policy.markings import LEVELS, Meaning
from taxii_server.policy.rules import Release, shown
from taxii_server.policy.steps import Outcome, Ruling, is_held_back

Word = Literal["passed", "failed", "neutral"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of an explanation: a step of the decision, or one marking, release or rule within it."""

    name: str
    outcome: Word
    detail: str = ""
    rule: str | None = None


Trace = Iterable[tuple[str, Ruling]]


def checks(
    view: View | None, case: FacetsCase, ask: Ask, trace: Trace, releases: Iterable[Release]
) -> tuple[Check, ...]:
    """The lines for these steps, in their order. `releases` are all of the policy."""
    found: list[Check] = []
    released = False
    for name, ruling in trace:
        if name == "release":
            released = ruling.reason == "release"
        entries: tuple[Entry, ...] = () if view is None else view.entries.get(name, ())  # type: ignore[call-overload]
        lines = () if view is None else _lines(name, view, case, ask, ruling, released, releases)
        if not entries or ruling.rule is None:
            # With rules: the step as such says something that no single rule says, such as "no permit fits".
            found.append(Check(name, WORDS[ruling.outcome], ruling.text, None if name == "release" else ruling.rule))
        found.extend(_rule_check(name, entry, case, ask, ruling) for entry in entries)
        found.extend(lines)
    return tuple(found)


def lost(found: Iterable[Check], decided: str | None) -> tuple[str, ...]:
    """The rules that fit, and yet another one (or a marking) decided."""
    fitting = (check.rule for check in found if check.rule and check.outcome != "neutral" and check.name != "release")
    return tuple(dict.fromkeys(rule for rule in fitting if rule != decided))


def _lines(
    name: str, view: View, case: FacetsCase, ask: Ask, ruling: Ruling, released: bool, releases: Iterable[Release]
) -> Iterator[Check]:
    """What stands under a step besides its rules."""
    if name == "release":
        for release in releases:
            if case.has("release", release.facet):
                yield _release_check(release, view, ask)
    elif name == "markings":
        for id_, meaning in case.markings:
            yield _marking_check(name, view, id_, meaning, released)
    elif name == "granular":
        for id_, meaning in case.granular:
            yield _part_check(view, id_, meaning, released, ruling.removal)
    elif name == "level" and case.levels() != (None,):
        levels = ("unclear" if rank == UNCLEAR_RANK else LEVELS[rank] for rank in case.levels() if rank is not None)
        yield Check(name, "neutral", f"in effect: {', '.join(levels)}")


def _release_check(release: Release, view: View, ask: Ask) -> Check:
    """Whether a release that names the object reaches this audience, now."""
    if release.facet not in view.releases:
        return Check("release", "neutral", f"{release.by} has released it, but not to {view.audience.name}", release.id)
    if release.not_before is not None and not release.holds_at(ask.moment) and _before(release.begins, ask):
        text = f"{release.by} releases it to {view.audience.name} from {shown(release.not_before)} on"
        return Check("release", "neutral", text, release.id)
    until = "" if release.until is None else f" until {shown(release.until)}"
    if not release.holds_at(ask.moment):
        return Check("release", "neutral", f"released to {view.audience.name}{until}, which is over", release.id)
    return Check("release", "passed", f"{release.by} has released it to {view.audience.name}{until}", release.id)


def _before(begins: int | None, ask: Ask) -> bool:
    return begins is not None and ask.moment is not None and ask.moment < begins


def _marking_check(step: str, view: View, id_: str, meaning: Meaning, released: bool) -> Check:
    obstacle = view.obstacle(meaning, released)
    if obstacle is None:
        return Check(step, "passed", f"{id_} ({meaning.name}): allows it")
    return Check(step, "failed", f"{id_}: {obstacle[2]}")


def _part_check(view: View, id_: str, meaning: Meaning, released: bool, removal: Removal | None) -> Check:
    check = _marking_check("granular", view, id_, meaning, released)
    if removal is not None and id_ in removal.markings:
        return Check("granular", "neutral", f"the part marked {check.detail}; it is taken out")
    return check


def _rule_check(step: str, entry: Entry, case: FacetsCase, ask: Ask, ruling: Ruling) -> Check:
    fits, rule = case.clauses[entry.clause], entry.rule
    if fits and entry.unless is not None and case.clauses[entry.unless]:
        return Check(step, "neutral", "excused by its unless", rule.id)
    if not fits:
        tests = " and ".join(map(str, rule.what)) or "its kind of object"
        return Check(step, "neutral", f"does not fit: wants {tests}", rule.id)
    if rule.kind == "embargo":
        if is_held_back(rule, ask):
            return Check(step, "failed", entry.text, rule.id)
        text = entry.text if rule.until is None else f"over since {shown(rule.until)}"
        return Check(step, "neutral", text, rule.id)
    if rule.kind == "strip":
        there = [name for name in rule.properties if case.has("property", name)]
        if rule.creator and case.one("creator") is not None:
            there.append("its creator")
        if not there:
            wanted = ", ".join([*rule.properties, *(["a creator"] if rule.creator else [])])
            return Check(step, "neutral", f"finds nothing to take out: it has none of {wanted}", rule.id)
        outcome: Word = "failed" if ruling.outcome == "failed" else "passed"
        return Check(step, outcome, f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} taken out", rule.id)
    return Check(step, "passed" if rule.kind == "permit" else "failed", entry.text, rule.id)


WORDS: Mapping[Outcome, Word] = {
    "passed": "passed",
    "granted": "passed",
    "failed": "failed",
    "neutral": "neutral",
    "open": "neutral",
}
