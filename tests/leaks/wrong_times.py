"""More servers that are wrong on purpose: releases, embargoes, dates, late grants, guards. See wrong.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from taxii_server.policy import decisions, engine, facets, floor, markings, rules, steps
from taxii_server.service import book, events, granting, guarding, newcomers, posting, references, review, sight, stream
from tests.leaks.wrong import Patch, wrong

# ---- releases


@wrong("anybody releases", "a_release_is_by_the_originator")
def _(patch: Patch) -> None:
    was = facets.Vocabulary.project

    def project(self: Any, traits: Any) -> Any:
        found = {key for (_, id_), keys in self._released.items() if id_ == traits.id for key in keys}
        return replace(was(self, traits), releases=tuple(sorted(found)))

    patch.setattr(facets.Vocabulary, "project", project)


@wrong("a release holds for ever", "a_release_holds_in_its_time")
def _(patch: Patch) -> None:
    patch.setattr(rules.Release, "holds_at", lambda self, moment: True)


@wrong("a release begins at once", "a_release_holds_in_its_time")
def _(patch: Patch) -> None:
    was = rules.Release.holds_at
    patch.setattr(rules.Release, "holds_at", lambda self, moment: was(replace(self, not_before=None), moment))


@wrong("a release does not end", "a_release_holds_in_its_time")
def _(patch: Patch) -> None:
    was = rules.Release.holds_at
    patch.setattr(rules.Release, "holds_at", lambda self, moment: was(replace(self, until=None), moment))


@wrong("a release lifts clearance", "a_release_lifts_no_clearance")
def _(patch: Patch) -> None:
    was = floor.View.level_obstacle
    patch.setattr(steps, "_LIFTED", (*steps._LIFTED, "tlp"))
    patch.setattr(
        floor.View, "level_obstacle", lambda self, level, released: None if released else was(self, level, released)
    )


@wrong("a release lifts forbid rules", "a_release_lifts_no_rule")
def _(patch: Patch) -> None:
    was = dict(engine.STEPS)["forbid"]

    def step(view: Any, case: Any, ask: Any) -> Any:
        return steps.NEUTRAL if steps._released(view, case, ask) else was(view, case, ask)

    patch.setattr(engine, "STEPS", tuple((name, step if name == "forbid" else each) for name, each in engine.STEPS))


@wrong("a release to any group", "a_release_to_a_group_is_for_its_members")
def _(patch: Patch) -> None:
    was = decisions.is_released_to
    patch.setattr(decisions, "is_released_to", lambda release, audience: bool(release.groups) or was(release, audience))


@wrong("a release to no group", "a_release_to_a_group_is_for_its_members")
def _(patch: Patch) -> None:
    patch.setattr(decisions, "is_released_to", lambda release, audience: audience.name in release.audiences)


# ---- embargoes and dates


@wrong("embargoes with an end are ignored", "an_embargo_holds_until_its_end")
def _(patch: Patch) -> None:
    was = steps.is_held_back
    patch.setattr(steps, "is_held_back", lambda rule, ask: rule.ends is None and was(rule, ask))


@wrong("embargoes end half a day early", "an_embargo_holds_until_its_end")
def _(patch: Patch) -> None:
    was = rules.Rule.__post_init__

    def post_init(self: Any) -> None:
        was(self)
        if self.ends is not None:
            object.__setattr__(self, "ends", self.ends - 12 * 3_600_000_000)

    patch.setattr(rules.Rule, "__post_init__", post_init)


def _delay(change: Callable[[int], int]) -> Callable[[Patch], None]:
    def make(patch: Patch) -> None:
        was = sight.allowed

        def allowed(*arguments: Any, **more: Any) -> Any:
            found = was(*arguments, **more)
            return {label: each._replace(delay_us=change(each.delay_us)) for label, each in found.items()}

        patch.setattr(sight, "allowed", allowed)
        was_delays = decisions.Policy.delays
        patch.setattr(decisions.Policy, "delays", lambda self: tuple(map(change, was_delays(self))))

    return make


wrong("embargoes with a delay are ignored", "an_embargo_lasts_as_long_as_it_says")(_delay(lambda us: 0))
wrong("embargoes last half their time", "an_embargo_lasts_as_long_as_it_says")(_delay(lambda us: us // 2))


@wrong(
    "what refers to something under an embargo does not wait", "what_refers_to_something_under_an_embargo_waits_as_long"
)
def _(patch: Patch) -> None:
    patch.setattr(references.References, "lag", lambda self, record: 0)


@wrong(
    "a stream knows the delays of its own labels only",
    "what_refers_to_something_under_an_embargo_elsewhere_comes_after_it",
)
def _(patch: Patch) -> None:
    patch.setattr(stream.Stream, "_delays", lambda self: sorted(self._lanes))


@wrong("markings never end", "a_marking_that_ended_sets_no_level")
def _(patch: Patch) -> None:
    was = markings.Meaning.at
    patch.setattr(markings.Meaning, "at", lambda self, moment: was(replace(self, ends=None), moment))


@wrong("markings begin at once", "a_marking_that_has_not_begun_hides")
def _(patch: Patch) -> None:
    was = markings.Meaning.at
    patch.setattr(markings.Meaning, "at", lambda self, moment: was(replace(self, starts=None), moment))


@wrong("must-not attribute is ignored", "a_marking_that_forbids_attribution_hides_the_creator")
def _(patch: Patch) -> None:
    was = markings._posted
    patch.setattr(markings, "_posted", lambda payload: replace(was(payload), hide_creator=False))


# ---- late grants


@wrong("late grants keep their old place", "what_is_granted_late_reaches_who_polls")
def _(patch: Patch) -> None:
    patch.setattr(granting.Granting, "_gain", lambda self, facets: frozenset())


@wrong("late grants have no place at all", "what_is_granted_late_reaches_who_polls")
def _(patch: Patch) -> None:
    patch.setattr(events.Event, "classes_for", lambda self, audience, view: ())


@wrong("a grant moves the order of everybody", "a_grant_moves_nobody_elses_order")
def _(patch: Patch) -> None:
    was = granting.Granting._gain
    patch.setattr(
        granting.Granting,
        "_gain",
        lambda self, facets: frozenset(self._audiences) if was(self, facets) else frozenset(),
    )


@wrong("what refers to something granted has no place", "what_refers_to_something_granted_comes_with_it")
def _(patch: Patch) -> None:
    patch.setattr(newcomers.Newcomers, "follow", lambda self, referrers: None)


@wrong("what refers to something granted keeps its old place", "what_refers_to_something_granted_comes_with_it")
def _(patch: Patch) -> None:
    patch.setattr(references.References, "moments", lambda self, record: set())


@wrong("what was granted once is kept", "what_lost_its_grant_is_gone")
def _(patch: Patch) -> None:
    was = sight.allowed
    kept: dict[tuple[str, int], Any] = {}

    def allowed(policy: Any, audience: str, *arguments: Any, **more: Any) -> Any:
        labels = list(arguments[0])
        found = was(policy, audience, labels, *arguments[1:], **more)
        kept.update({(audience, label): access for label, access in found.items() if label})
        return {**{label: kept[audience, label] for label, *_ in labels if (audience, label) in kept}, **found}

    patch.setattr(sight, "allowed", allowed)


@wrong("a page under a superseded catalog", "no_page_is_served_under_a_catalog_that_is_over")
def _(patch: Patch) -> None:
    patch.setattr(book.Book, "epoch", property(lambda self: 0, lambda self, value: None), raising=False)


# ---- guards


@wrong("guards are skipped", "what_a_guard_stops_reaches_nobody")
def _(patch: Patch) -> None:
    patch.setattr(posting, "watch_over", lambda guards, collection, submitter: None)


@wrong("what refers to something held is let in", "what_a_guard_stops_reaches_nobody")
def _(patch: Patch) -> None:
    patch.setattr(guarding, "spread", lambda stops, *more: dict(stops))


@wrong("a quarantine is for all", "a_quarantine_is_for_who_posted_and_who_decides")
def _(patch: Patch) -> None:
    patch.setattr(review, "_decides", lambda catalog, collection, partner: True)


@wrong("whoever decides about a quarantine reads it", "a_quarantine_is_for_who_posted_and_who_decides")
def _(patch: Patch) -> None:
    patch.setattr(review.Review, "_may_read", lambda self, entry: True)


@wrong("a quarantine is judged without a time", "a_release_opens_no_quarantine_before_its_time")
def _(patch: Patch) -> None:
    was = decisions.Policy.decide
    patch.setattr(decisions.Policy, "decide", lambda self, *arguments, moment=None: was(self, *arguments))
