"""Servers that are wrong on purpose, one fault each, with the check that has to notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from taxii_server.policy import cases, compile, engine, facets, floor, markings, steps
from taxii_server.service import references, resolver, sight, versions
from taxii_server.stix import references as stix_references
from taxii_server.stix import validate
from tests.leaks import scene
from tests.leaks.checks import PlannedError

Patch = pytest.MonkeyPatch
WRONG: list[Wrong] = []


@dataclass(frozen=True)
class Wrong:
    """One fault: what it is, how it is made, and which check notices."""

    name: str
    make: Callable[[Patch], None]
    noticed_by: str


def wrong(name: str, noticed_by: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def note(make: Callable[[Patch], None]) -> Callable[[Patch], None]:
        WRONG.append(Wrong(name, make, noticed_by))
        return make

    return note


def _step(patch: Patch, name: str, step: Any) -> None:
    patch.setattr(engine, "STEPS", tuple((each, step if each == name else was) for each, was in engine.STEPS))


def _without_step(name: str) -> Callable[[Patch], None]:
    return lambda patch: _step(patch, name, lambda view, case, ask: steps.NEUTRAL)


# ---- the floor


@wrong("AMBER gives AMBER+STRICT", "amber_does_not_give_amber_strict")
def _(patch: Patch) -> None:
    was = floor.View.level_obstacle
    patch.setattr(
        floor.View, "level_obstacle", lambda self, level, released: was(self, 2 if level == 3 else level, released)
    )


@wrong("RED by clearance alone", "red_is_for_those_who_are_named")
def _(patch: Patch) -> None:
    was = floor.View.level_obstacle
    patch.setattr(floor.View, "level_obstacle", lambda self, level, released: was(self, level, True))


@wrong("any marking understood instead of every", "every_marking_has_to_be_understood")
def _(patch: Patch) -> None:
    def step(view: Any, case: Any, ask: Any) -> Any:
        found = [view.obstacle(meaning, False) for _, meaning in case.markings]
        if not found or None in found:
            return steps.PASSED
        return steps.Ruling("failed", "tlp")

    _step(patch, "markings", step)


@wrong("the weakest level counts", "the_strictest_marking_counts")
def _(patch: Patch) -> None:
    was = dict(engine.STEPS)["markings"]

    def step(view: Any, case: Any, ask: Any) -> Any:
        levels = [meaning.level for _, meaning in case.markings if meaning.level is not None]
        ruling = was(view, case, ask)
        return steps.PASSED if ruling.reason == "tlp" and min(levels) <= view.clearance else ruling

    _step(patch, "markings", step)


@wrong("REL TO united instead of intersected", "release_lists_intersect")
def _(patch: Patch) -> None:
    was = cases.FacetsCase.__init__

    def init(self: Any, *arguments: Any) -> None:
        was(self, *arguments)
        union = frozenset().union(*(meaning.rel_to or () for _, meaning in self.markings))
        self.markings = [
            (id_, meaning if meaning.rel_to is None else replace(meaning, rel_to=union))
            for id_, meaning in self.markings
        ]

    patch.setattr(cases.FacetsCase, "__init__", init)


@wrong("a joint team needs one of its countries", "a_joint_team_needs_all_its_countries")
def _(patch: Patch) -> None:
    was = floor.View.obstacle

    def obstacle(self: Any, meaning: Any, released: bool) -> Any:
        found = was(self, meaning, released)
        return None if found and found[1] == "rel-to" and meaning.rel_to & set(self.audience.countries) else found

    patch.setattr(floor.View, "obstacle", obstacle)


@wrong("ORCON is a statement", "orcon_stays_with_its_originator")
def _(patch: Patch) -> None:
    was = floor.View.obstacle
    patch.setattr(
        floor.View, "obstacle", lambda self, meaning, released: was(self, replace(meaning, orcon=False), released)
    )


@wrong("unmarked readable", "unmarked_is_hidden")
def _(patch: Patch) -> None:
    patch.setattr(floor.View, "unmarked_rank", lambda self, collection: 0)


@wrong("labels relax TLP", "labels_only_tighten")
def _(patch: Patch) -> None:
    was = dict(engine.STEPS)["markings"]

    def step(view: Any, case: Any, ask: Any) -> Any:
        ruling = was(view, case, ask)
        relaxed = case.label_rank is not None and case.label_rank <= view.clearance
        return steps.PASSED if ruling.reason == "tlp" and relaxed else ruling

    _step(patch, "markings", step)


@wrong("labels do not tighten TLP", "labels_only_tighten")
def _(patch: Patch) -> None:
    patch.setattr(facets, "_label_level", lambda labels: None)


@wrong("a stored TLP copy changes the meaning", "a_stored_copy_does_not_change_what_tlp_means")
def _(patch: Patch) -> None:
    patch.setattr(markings, "BUILT_IN", {})


@wrong("a stranger's marking-definition counts", "a_strangers_definition_explains_nothing")
def _(patch: Patch) -> None:
    was = markings.Meanings.of

    def of(self: Any, id_: str, submitter: str, configured: Any, sources: Any = ()) -> Any:
        return was(self, id_, submitter, configured, [poster for poster, _ in self._posted])

    patch.setattr(markings.Meanings, "of", of)


# ---- the rules


@wrong("a forbid rule that errors is skipped", "a_rule_that_fails_hides")
def _(patch: Patch) -> None:
    was = dict(engine.STEPS)["forbid"]

    def step(view: Any, case: Any, ask: Any) -> Any:
        try:
            return was(view, case, ask)
        except PlannedError:
            return steps.NEUTRAL

    _step(patch, "forbid", step)


@wrong("a permit beats a forbid", "forbidden_beats_permitted")
def _(patch: Patch) -> None:
    _without_step("forbid")(patch)


@wrong("select stops revocations", "relevance_never_stops_a_revocation")
def _(patch: Patch) -> None:
    was = compile.Compiler.clause
    patch.setattr(
        compile.Compiler,
        "clause",
        lambda self, rule, audience: was(self, rule, audience)[1 if rule.kind == "select" else 0 :],
    )


@wrong("missing confidence counts as 100", "no_confidence_is_no_certainty")
def _(patch: Patch) -> None:
    was = facets.Vocabulary._band
    patch.setattr(facets.Vocabulary, "_band", lambda self, value: was(self, 100 if value is None else value))


@wrong("the submitter is created_by_ref", "a_claimed_creator_owns_nothing")
def _(patch: Patch) -> None:
    owners = {scene.ALICE_ID: "alice", scene.EVE_ID: "eve"}
    patch.setattr(
        cases.FacetsCase,
        "posted_by",
        lambda self, audience: owners.get(self.facets.creator, self.facets.submitter) == audience,
    )


WRONG.append(Wrong("granular markings ignored", _without_step("granular"), "markings_of_parts_hide_the_whole"))
WRONG.append(Wrong("definitions for everybody", _without_step("carried"), "a_definition_is_read_with_what_carries_it"))


@wrong("an object of one's own carries a definition into sight", "a_definition_is_read_with_what_carries_it")
def _(patch: Patch) -> None:
    was = sight.allowed
    own: set[str] = set()

    def allowed(policy: Any, audience: str, labels: Any, meanings: Any, carried: Any, *more: Any, **rest: Any) -> Any:
        for _, found, _ in labels:
            if found.submitter == audience:
                own.update(found.markings)
        return was(policy, audience, labels, meanings, carried | own, *more, **rest)

    patch.setattr(sight, "allowed", allowed)


# ---- versions and copies


@wrong("the newest version of any submitter governs", "only_versions_of_the_submitter_govern")
def _(patch: Patch) -> None:
    was = versions._governor

    def governor(member: Any, newest: Any) -> Any:
        last = max(newest.values(), key=versions._age)
        return was(member, {member.submitter: last})

    patch.setattr(versions, "_governor", governor)


@wrong("the newest version does not govern", "the_newest_version_governs")
def _(patch: Patch) -> None:
    patch.setattr(versions, "_governor", lambda member, newest: None)


@wrong("the governing part of a label is ignored", "the_newest_version_governs")
def _(patch: Patch) -> None:
    was = sight.allowed

    def allowed(policy: Any, audience: str, labels: Any, *more: Any, **rest: Any) -> Any:
        return was(policy, audience, [(number, own, None) for number, own, _ in labels], *more, **rest)

    patch.setattr(sight, "allowed", allowed)


@wrong("a conflict is reported to the second poster", "a_post_that_meets_something_hidden_is_as_new")
def _(patch: Patch) -> None:
    was = versions._compare

    def compare(draft: Any, members: Any, drafts: Any) -> Any:
        return was(draft, [replace(member, submitter=draft.submitter) for member in members], drafts)

    patch.setattr(versions, "_compare", compare)


def _choose_among_all(self: Any, id_: str, filters: Any, passed: int) -> frozenset[int]:
    records = self.references.records[id_]
    keys = [record.version_key for record in records]
    return frozenset(r.position for r in records if filters.choice.picks(r.version_key, min(keys), max(keys)))


@wrong("the last version chosen before policy", "the_latest_is_chosen_among_what_is_readable")
def _(patch: Patch) -> None:
    patch.setattr(resolver.Resolver, "_choose", _choose_among_all)


@wrong("the first version chosen before policy", "the_first_is_chosen_among_what_is_readable")
def _(patch: Patch) -> None:
    patch.setattr(resolver.Resolver, "_choose", _choose_among_all)


# ---- references


@wrong("references ignored", "what_refers_to_something_hidden_is_hidden")
def _(patch: Patch) -> None:
    patch.setattr(validate, "read_references", lambda value: ((), ()))


@wrong("references followed one step", "references_are_followed_to_the_end")
def _(patch: Patch) -> None:
    was = references.References._close

    def close(self: Any, record: Any) -> list[str]:
        was(self, record)
        self._hidden.discard(record.id)
        return []

    patch.setattr(references.References, "_close", close)


@wrong("references in lists ignored", "references_in_lists_count")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "strict", lambda self, record: () if self.is_own(record) else record.hard_refs)


@wrong("single references ignored", "what_refers_to_something_hidden_is_hidden")
def _(patch: Patch) -> None:
    patch.setattr(stix_references, "names_references", lambda name: name.endswith("_refs"))


@wrong("references of the governing version ignored", "the_newest_version_governs_by_what_it_refers_to")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "_governor", lambda self, record: None)


@wrong("a copy of one's own opens what refers to the id", "a_copy_of_ones_own_opens_nothing")
def _(patch: Patch) -> None:
    was = references.References._judge

    def judge(self: Any, fresh: Any, too_deep: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(references.References, "is_own", lambda self, record: False)
            was(self, fresh, too_deep)

    patch.setattr(references.References, "_judge", judge)
