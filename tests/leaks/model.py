"""Who may read what in the scene, written down from the policy design without a line of the server's own code.

Slow and plain on purpose: one pass over all that was posted for every question. The hunts compare what the server
delivers with this, and take it as the measure of what to leave out of the bare world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.leaks import scene
from tests.leaks.hub import Act, Value

_LEVEL = {
    scene.CLEAR: 0, scene.WHITE_1: 0, scene.GREEN: 1, scene.AMBER: 2, scene.AMBER_1: 2, scene.STRICT: 3, scene.RED: 4,
}  # fmt: skip
_RELEASED = {scene.REL_FR: {"FR"}, scene.REL_FR_PL: {"FR", "PL"}}
_CLEARANCE = {"alice": 4, "bob": 2, "carol": 1, "dave": 0, "eve": 3, "fred": 4}
_COUNTRIES = {"alice": {"FR"}, "bob": {"FR"}, "carol": {"FR", "PL"}, "dave": {"DE"}, "eve": {"PL"}, "fred": {"PL"}}
_VENDORS = {"dave", "eve"}
_WAYS_IN = {
    "alice": {scene.POOL, scene.ALICE_BOX, scene.SECRET, scene.DROP},
    "bob": {scene.POOL, scene.ALICE_BOX, scene.EVE_BOX, scene.VIEW},
    "carol": {scene.POOL, scene.ALICE_BOX, scene.EVE_BOX, scene.VIEW},
    "fred": {scene.POOL, scene.ALICE_BOX, scene.EVE_BOX, scene.VIEW},
    "dave": {scene.POOL},
    "eve": {scene.POOL, scene.EVE_BOX},
}
_REFERENCES = (
    "source_ref", "target_ref", "sighting_of_ref", "where_sighted_refs", "object_ref", "object_refs", "belongs_to_ref",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One object version that somebody posted, with the place of its act and its place in the act."""

    act: int
    place: int
    submitter: str
    into: str
    value: Value

    @property
    def id(self) -> str:
        return str(self.value["id"])

    @property
    def age(self) -> tuple[str, str, int, int]:
        # Every posting of an observable is a version of its own.
        version = str(self.value.get("modified", f"{self.act:06}/{self.place:06}"))
        return version, str(self.value["spec_version"]), self.act, self.place


def entries_of(acts: Sequence[Act]) -> list[Entry]:
    """What is there after these acts; each act's deletion has taken effect."""
    found: list[Entry] = []
    for number, act in enumerate(acts):
        if act.delete is not None:
            found = [e for e in found if not (e.id == act.delete and e.submitter == act.partner and e.into == act.into)]
        found += [Entry(number, place, act.partner, act.into, value) for place, value in enumerate(act.objects)]
    return found


def readable(entries: Sequence[Entry], audience: str) -> list[Entry]:
    """What the audience may read of all this, whatever collection it asks."""
    newest: dict[tuple[str, str], Entry] = {}
    for entry in sorted(entries, key=lambda each: each.age):
        newest[entry.id, entry.submitter] = entry
    governors = {id(entry): newest[entry.id, entry.submitter] for entry in entries}
    left = [
        entry
        for entry in entries
        if entry.into in _WAYS_IN[audience]
        and _passes(entry, audience)
        and (_passes(governors[id(entry)], audience) or governors[id(entry)].age[:2] == entry.age[:2])
    ]
    # A copy of one's own opens nothing of what others say about the id.
    foreign = {entry.id for entry in entries if entry.submitter != audience}
    while True:
        hidden = foreign - {entry.id for entry in left if entry.submitter != audience}
        still = [
            entry
            for entry in left
            if entry.submitter == audience
            or hidden.isdisjoint(refers(entry.value) | refers(governors[id(entry)].value))
        ]
        if len(still) == len(left):
            return left
        left = still


def refers(value: Value) -> set[str]:
    """The ids that the object refers to, markings apart."""
    found: set[str] = set()
    for name in _REFERENCES:
        member: Any = value.get(name, [])
        found.update([member] if isinstance(member, str) else member)
    return found


def _passes(entry: Entry, audience: str) -> bool:
    if entry.submitter == audience:
        return True
    value = entry.value
    marks = list(value.get("object_marking_refs", []))
    parts = [each["marking_ref"] for each in value.get("granular_markings", []) if "marking_ref" in each]
    if any(not _allows(mark, audience) for mark in (*marks, *parts)):
        return False
    levels = [_LEVEL[mark] for mark in marks if mark in _LEVEL]
    if not levels:
        if entry.into != scene.POOL:
            return False
        levels = [1]
    words = [label.lower() for label in value.get("labels", [])]
    for word in words:
        if word.startswith("tlp:"):
            levels.append(["clear", "green", "amber", "amber+strict", "red"].index(word[4:]))
    if max(levels) > _CLEARANCE[audience] or max(levels) == 4:
        return False
    if audience in _VENDORS and ("victim" in words or value.get("identity_class") == "individual"):
        return False
    uncertain = value["type"] == "malware" and value.get("confidence", -1) < 50 and not value.get("revoked")
    return not (audience == "carol" and uncertain)


def _allows(mark: str, audience: str) -> bool:
    if mark in _LEVEL:
        return _LEVEL[mark] <= _CLEARANCE[audience] and _LEVEL[mark] < 4
    return mark in _RELEASED and _COUNTRIES[audience] <= _RELEASED[mark]
