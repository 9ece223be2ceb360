"""Hubs out of a seed on which all that part 2 of the policy brings is at work: copies, releases, embargoes, grants.

Lists of references that lose some of their ids are not in these hubs. Under `refs_lists = "derive"` they make a
difference by their nature: where the hidden object does not exist, its id is unknown, and what is unknown may stand
in a list (STIX 2.1, 3.3; policy design, C11). `without_shortened_lists` takes such objects out of the story.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.leaks import generator, model_of_copies, scene
from tests.leaks.hub import Act, Texts, Value
from tests.leaks.scene import id_of

#: Ids of `[[release]]`: who releases what to whom. Times are whole seconds of 2026; comparisons are made from 100 s on.
RELEASES = (
    ("alice", [id_of(type_, n) for type_ in ("indicator", "note") for n in range(5)], 'audience = ["bob", "fred"]', ""),
    ("alice", [id_of("malware", n) for n in range(5)], 'group = ["ring"]', ""),
    ("eve", [id_of("indicator", n) for n in range(5)], 'audience = ["carol", "dave"]', ""),
    ("alice", [id_of("indicator", n) for n in range(5, 9)], 'group = ["ring"]', "not_before = 2026-06-01T00:00:00Z"),
    ("eve", [id_of("indicator", n) for n in range(5, 9)], 'audience = ["fred"]', "until = 2025-01-01T00:00:00Z"),
)
_RELEASES = "".join(
    f'\n[[release]]\nid = "r{number}"\nby = "{by}"\nobjects = {ids!r}\nto = {{ {to} }}\n{when}\n'.replace("'", '"')
    for number, (by, ids, to, when) in enumerate(RELEASES)
)
_EMBARGOES = """
[[embargo]]
id = "warm"
to = { kind = ["cert", "vendor"] }
what = { label = "warm" }
delay = "1m"

[[embargo]]
id = "hot"
to = { kind = ["cert", "vendor"] }
what = { label = "hot" }
delay = "1d"

[[embargo]]
id = "june"
to = { kind = ["le", "vendor"] }
what = { label = "june" }
until = 2026-06-01T00:00:00Z

[[embargo]]
id = "january"
what = { label = "january" }
until = 2025-06-01T00:00:00Z
"""
POLICY = scene.DERIVING + _RELEASES + _EMBARGOES
TEXTS = Texts(POLICY, scene.PARTNERS, scene.COLLECTIONS)

X = id_of("indicator", 1)
_WORDS = ((), (), ("warm",), ("warm",), ("hot",), ("june",), ("january",))
_PARTS = (("name",), ("x_secret",), ("labels.[0]",), ("name", "x_secret"))


def acts_of(seed: int, audience: str) -> list[Act]:
    """What happened on the hub of this seed."""
    random = Random(f"copies {seed}/{audience}")
    acts: list[Act] = []
    for number, act in enumerate(generator.acts_of(seed, audience, 36)):
        acts.append(replace(act, objects=tuple(_changed(random, value) for value in act.objects)))
        if number % 6 == 1:
            acts.append(_half(random, number))
    return without_shortened_lists(acts, audience)


def _half(random: Random, number: int) -> Act:
    """An object that everybody reads, parts of which nobody does, and what speaks of it."""
    cut = scene.indicator(f"cut {number % 4}", scene.CLEAR, version=number // 6, labels=["secret word"])
    cut |= {"x_secret": "the secret", **scene.part(scene.RED, *random.choice(_PARTS))}
    about = scene.relationship(f"about {number}", cut["id"], random.choice((X, cut["id"])), scene.CLEAR)
    return Act("alice", scene.POOL, (cut, about, scene.translation(f"of {number}", cut["id"], scene.CLEAR)))


def _changed(random: Random, value: Value) -> Value:
    """The object with parts of it marked, or a ticket, or a label of an embargo."""
    made: dict[str, Any] = {name: member for name, member in value.items() if name != "granular_markings"}
    if "modified" not in made:
        return made
    made["labels"] = ["secret word", *made.get("labels", []), *random.choice(_WORDS)]
    made["x_secret"] = "the secret of " + made["id"]
    if random.random() < 0.3:
        made["x_ticket"] = f"ticket {random.randrange(10_000)}"
    if random.random() < 0.6:
        marking = random.choice((scene.RED, scene.AMBER, scene.STRICT, scene.GREEN, scene.NOBODY_KNOWS, scene.ORCON))
        made |= scene.part(marking, *random.choice(_PARTS))
    return made


def without_shortened_lists(acts: list[Act], audience: str) -> list[Act]:
    """The story without the objects that this audience would get with shorter lists."""
    while True:
        entries = model_of_copies.entries_of(acts)
        shortened = {(e.act, e.place) for e in model_of_copies.shortened(entries, audience)}
        if not shortened:
            return acts
        acts = [
            replace(act, objects=tuple(v for place, v in enumerate(act.objects) if (number, place) not in shortened))
            for number, act in enumerate(acts)
        ]
        acts = [act for act in acts if act.objects or act.delete]


def other_secret(entry: Any, audience: str) -> Value:
    """The object as it stands in the bare world: with other words in all that the audience does not read of it."""
    value = dict(entry.value)
    for name in model_of_copies.removed(entry, audience):
        if name == "labels.[0]":
            value["labels"] = ["another word, and a longer one", *value["labels"][1:]]
        elif name == "x_secret":
            value["x_secret"] = {"quite": ["another", {"shape": 1}]}
        else:
            value[name] = "another text"
    return value
