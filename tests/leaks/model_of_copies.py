"""Who may read what on the hubs of generator_of_copies.py, and which parts. See model.py: no line of the server's code.

Written for the time of the comparison: some minutes after the start of 2026, when all acts are long over.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.leaks import model, scene
from tests.leaks.hub import Value
from tests.leaks.model import Entry, entries_of

__all__ = ["entries_of", "readable", "removed", "shortened"]

_RING = {"carol", "fred"}
_CERTS_AND_VENDORS = {"bob", "carol", "dave", "eve"}
_ENFORCED_LONG = {"alice", "fred", "dave", "eve"}
_LISTS = ("object_refs", "where_sighted_refs")
#: Types that stay valid without a name.
_NAMELESS = {"indicator", "note", "opinion", "relationship", "sighting", "observed-data"}
_WHOLE_OR_NOTHING = {"language-content", "email-addr"}


def readable(entries: Sequence[Entry], audience: str) -> list[Entry]:
    """What the audience may read of all this, whole or in part."""
    return _settled(entries, audience)[0]


def shortened(entries: Sequence[Entry], audience: str) -> list[Entry]:
    """What of that it would read with shorter lists, or what such an object governs."""
    left, hidden, governors = _settled(entries, audience)
    return [
        entry
        for entry in left
        if entry.submitter != audience
        for each in (entry, governors[id(entry)])
        if not hidden.isdisjoint(_listed(each.value)) and not _is_orcon(each.value)
    ]


def removed(entry: Entry, audience: str) -> list[str]:
    """The parts that the audience does not get of what it reads: names, and "labels.[0]"."""
    if entry.submitter == audience:
        return []
    found = []
    for marking in entry.value.get("granular_markings", []):
        if not _allows(marking["marking_ref"], entry, audience):
            found += marking["selectors"]
    if audience == "carol" and "x_ticket" in entry.value:
        found.append("x_ticket")
    return found


def _settled(entries: Sequence[Entry], audience: str) -> tuple[list[Entry], set[str], dict[int, Entry]]:
    newest: dict[tuple[str, str], Entry] = {}
    for entry in sorted(entries, key=lambda each: each.age):
        newest[entry.id, entry.submitter] = entry
    governors = {id(entry): newest[entry.id, entry.submitter] for entry in entries}
    left = []
    for entry in entries:
        governor = governors[id(entry)]
        if (
            entry.into in model._WAYS_IN[audience]
            and _passes(entry, audience)
            and (_passes(governor, audience) or governor.age[:2] == entry.age[:2])
        ):
            left.append(entry)
    foreign = {entry.id for entry in entries if entry.submitter != audience}
    left, hidden = _closed(left, audience, foreign, governors)
    left = _come(left, audience, governors)
    return left, hidden, governors


def _closed(
    left: list[Entry], audience: str, foreign: set[str], governors: dict[int, Entry]
) -> tuple[list[Entry], set[str]]:
    """What is left without what refers to something hidden, and the hidden ids; delays apart."""
    while True:
        now = [entry for entry in left if entry.submitter != audience and not _is_delayed(entry, audience)]
        hidden = foreign - {entry.id for entry in left if entry.submitter != audience}
        redacted = {entry.id for entry in now} - {entry.id for entry in now if not removed(entry, audience)}
        still = [
            entry
            for entry in left
            if entry.submitter == audience
            or (
                all(_is_open(each.value, hidden) for each in (entry, governors[id(entry)]))
                and not redacted & _translated(entry, governors[id(entry)])
            )
        ]
        if len(still) == len(left):
            return left, hidden
        left = still


def _come(left: list[Entry], audience: str, governors: dict[int, Entry]) -> list[Entry]:
    """What is left without what waits for the end of an embargo, and what refers to such."""
    open_ids = {entry.id for entry in left if entry.submitter != audience}
    here = [entry for entry in left if not _is_delayed(entry, audience)]
    while True:
        waiting = open_ids - {entry.id for entry in here if entry.submitter != audience}
        still = [
            entry
            for entry in here
            if entry.submitter == audience
            or all(waiting.isdisjoint(model.refers(each.value)) for each in (entry, governors[id(entry)]))
        ]
        if len(still) == len(here):
            return here
        here = still


def _translated(entry: Entry, governor: Entry) -> set[str]:
    if entry.value["type"] != "language-content":
        return set()
    return {str(each.value["object_ref"]) for each in (entry, governor) if "object_ref" in each.value}


def _listed(value: Value) -> set[str]:
    if value["type"] in ("note", "opinion"):
        return set()
    return {ref for name in _LISTS for ref in value.get(name, ())}


def _is_open(value: Value, hidden: set[str]) -> bool:
    listed = _listed(value)
    strict = model.refers(value) - listed
    if _is_orcon(value):
        strict |= listed
    if not hidden.isdisjoint(strict):
        return False
    return not (listed and listed <= hidden)


def _is_orcon(value: Value) -> bool:
    parts = [each["marking_ref"] for each in value.get("granular_markings", [])]
    return scene.ORCON in [*value.get("object_marking_refs", []), *parts]


def _is_delayed(entry: Entry, audience: str) -> bool:
    """Whether an embargo that lasts a day is still on: it does not hide older versions."""
    return entry.submitter != audience and "hot" in entry.value.get("labels", []) and audience in _CERTS_AND_VENDORS


def _passes(entry: Entry, audience: str) -> bool:
    if entry.submitter == audience:
        return True
    value = entry.value
    marks = [mark for mark in value.get("object_marking_refs", []) if not _lifts(mark, entry, audience)]
    plain = {name: member for name, member in value.items() if name != "granular_markings"}
    if "object_marking_refs" in value:
        plain["object_marking_refs"] = marks
    lifted = [m for m in value.get("object_marking_refs", []) if m not in marks]
    if scene.RED in lifted and not any(mark in model._LEVEL for mark in marks):
        # A released RED is a level that the audience has.
        plain["object_marking_refs"] = [*marks, scene.CLEAR]
    if not model._passes(Entry(entry.act, entry.place, entry.submitter, entry.into, plain), audience):
        return False
    if "june" in value.get("labels", []) and audience in _ENFORCED_LONG:
        return False
    parts = removed(entry, audience)
    if not parts:
        return True
    if value["type"] in _WHOLE_OR_NOTHING:
        return False
    kept = set(value.get("object_marking_refs", []))
    for marking in value.get("granular_markings", []):
        if _allows(marking["marking_ref"], entry, audience):
            kept.add(marking["marking_ref"])
    if scene.ORCON in kept:
        return False
    return "name" not in parts or value["type"] in _NAMELESS


def _lifts(mark: str, entry: Entry, audience: str) -> bool:
    """Whether a release takes away what this marking demands."""
    if not _is_released(entry, audience):
        return False
    return mark == scene.ORCON or (mark == scene.RED and model._CLEARANCE[audience] == 4)


def _allows(mark: str, entry: Entry, audience: str) -> bool:
    return model._allows(mark, audience) or _lifts(mark, entry, audience)


def _is_released(entry: Entry, audience: str) -> bool:
    by, id_ = entry.submitter, entry.id
    first = [scene.id_of(type_, n) for type_ in ("indicator", "note") for n in range(5)]
    if by == "alice" and id_ in first:
        return audience in ("bob", "fred")
    if by == "alice" and id_ in [scene.id_of("malware", n) for n in range(5)]:
        return audience in _RING
    return by == "eve" and id_ in [scene.id_of("indicator", n) for n in range(5)] and audience in ("carol", "dave")
