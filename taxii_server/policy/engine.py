"""Decisions: may this audience read an object with these facets, and why.

One function, `judge`, walks the steps of the policy design (B.3) for every caller: `decide` for one
object, `allowed` for a whole poll, `explain` with every step written down, and the prover with an
object that is only partly fixed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from taxii_server.model import Removal
from taxii_server.policy.floor import Ask, View
from taxii_server.policy.steps import (
    OPEN,
    JudgedCase,
    Ruling,
    audience_step,
    built_in_step,
    carried_step,
    embargo_step,
    forbid_step,
    granular_step,
    level_step,
    markings_step,
    permit_step,
    release_step,
    select_step,
    strip_step,
    submitter_step,
)


class Step(Protocol):
    """One step of the decision."""

    def __call__(self, view: View, case: JudgedCase, ask: Ask) -> Ruling:
        """What this step says of the case."""


#: The order of the decision. Newer versions come after it, because they ask all of this again.
STEPS: tuple[tuple[str, Step], ...] = (
    ("audience", audience_step),
    ("submitter", submitter_step),
    ("built-in", built_in_step),
    ("release", release_step),
    ("markings", markings_step),
    ("level", level_step),
    ("carried", carried_step),
    ("forbid", forbid_step),
    ("select", select_step),
    ("embargo", embargo_step),
    ("permit", permit_step),
    ("granular", granular_step),
    ("strip", strip_step),
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
        if step is release_step and trace is None:
            continue
        ruling = step(view, case, ask)
        if trace is not None:
            trace.append((name, ruling))
        outcome = ruling[0]
        if outcome == "granted":
            if step is permit_step:
                granted = ruling
            else:
                decided = decided or ruling
        elif outcome == "failed":
            decided = decided or ruling
        elif outcome == "open":
            unsure = True
            if step is built_in_step:
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
