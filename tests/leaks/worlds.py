"""Two worlds out of one story: the model says what the audience may not read, the bare world never had it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.leaks import model, questions, scene
from tests.leaks.hub import Act, LeakHub, Pair, Texts, Value

COLLECTIONS_OF = {
    "bob": (scene.VIEW, scene.POOL),
    "carol": (scene.VIEW, scene.POOL),
    "fred": (scene.VIEW,),
    "dave": (scene.POOL,),
    "eve": (scene.POOL, scene.EVE_BOX),
}


@dataclass
class Worlds:
    """A pair with what the model knows of it."""

    pair: Pair
    facts: questions.Facts
    #: one hidden object of each hidden id
    hidden: dict[str, Value]
    readable: list[model.Entry]


Readable = Callable[[Sequence[model.Entry], str], list[model.Entry]]
#: The object as it stands in the bare world, for what the audience reads.
Shown = Callable[[model.Entry, str], Value]


def _as_it_is(entry: model.Entry, audience: str) -> Value:
    return entry.value


def split(
    acts: Sequence[Act], audience: str, readable_of: Readable = model.readable, shown: Shown = _as_it_is
) -> tuple[list[Act | None], list[model.Entry], list[model.Entry]]:
    """The acts of the bare world (None where one does not take place), and what is readable and hidden at the end."""
    entries = model.entries_of(acts)
    readable = readable_of(entries, audience)
    kept = {(entry.act, entry.place): shown(entry, audience) for entry in readable}
    bare: list[Act | None] = []
    for number, act in enumerate(acts):
        if act.partner == audience:
            bare.append(act)
            continue
        left = tuple(kept[number, place] for place in range(len(act.objects)) if (number, place) in kept)
        bare.append(replace(act, objects=left) if left else None)
    return bare, readable, [entry for entry in entries if entry not in readable]


def build(
    folder: Path,
    acts: Sequence[Act],
    audience: str,
    urls: tuple[str, str] | None = None,
    texts: Texts = scene.TEXTS,
    readable_of: Readable = model.readable,
    shown: Shown = _as_it_is,
) -> Worlds:
    """Both worlds after these acts. One position per act is the same in both: hidden objects come last in theirs."""
    acts = [_hidden_last(number, acts, audience, readable_of) for number in range(len(acts))]
    bare_acts, readable, hidden = split(acts, audience, readable_of, shown)
    full = LeakHub(folder / "full", texts, urls[0] if urls else None)
    bare = LeakHub(folder / "bare", texts, urls[1] if urls else None)
    for number, act in enumerate(acts):
        full.act(number, act)
        bare_act = bare_acts[number]
        if bare_act is not None:
            bare.act(number, bare_act)
    values = [value for act in acts for value in act.objects]
    hidden_ids = {entry.id for entry in hidden} - {entry.id for entry in readable}
    gone = {value["id"] for value in values} - {entry.id for entry in readable} - hidden_ids
    hidden_values = {value["id"]: value for value in values if value["id"] in hidden_ids | gone}
    records = full.store.lookup({value["id"] for value in values})
    facts = questions.facts_of(
        values,
        list(hidden_values.values()),
        [record.position for found in records.values() for record in found],
        own_acts=[number for number, act in enumerate(acts) if act.partner == audience and act.objects],
        foreign_acts=[number for number, act in enumerate(acts) if act.partner != audience and act.objects][:3],
    )
    return Worlds(Pair(full, bare, audience), facts, hidden_values, readable)


def _hidden_last(number: int, acts: Sequence[Act], audience: str, readable_of: Readable) -> Act:
    """Readable objects first, so that steps inside one post (an open trace, see test_known_traces) do not matter."""
    readable = readable_of(model.entries_of(acts), audience)
    kept = {id(entry.value) for entry in readable}
    return replace(acts[number], objects=tuple(sorted(acts[number].objects, key=lambda value: id(value) not in kept)))


def served(hub: LeakHub, audience: str, place: str) -> set[tuple[str, str]]:
    """The ids and versions that the audience gets of a collection, all versions and all STIX versions."""
    query = "match[version]=all&match[spec_version]=2.0,2.1"
    found = hub.walk(audience, place, "manifest", query, limit=50)
    return {(entry["id"], entry["version"]) for entry in found}
