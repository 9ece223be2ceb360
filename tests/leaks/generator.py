"""Hubs out of a seed: what several partners did, hard cases more often than a fair draw would have them."""

from __future__ import annotations

from random import Random

from tests.leaks import model, scene
from tests.leaks.hub import Act, Value

_MARKS = (
    (), (), (scene.CLEAR,), (scene.GREEN,), (scene.GREEN,), (scene.WHITE_1,), (scene.AMBER,), (scene.AMBER_1,),
    (scene.STRICT,), (scene.RED,), (scene.GREEN, scene.RED), (scene.GREEN, scene.REL_FR),
    (scene.AMBER, scene.REL_FR_PL), (scene.GREEN, scene.REL_FR, scene.REL_FR_PL), (scene.CLEAR, scene.NOBODY_KNOWS),
    (scene.GREEN, scene.ORCON),
)  # fmt: skip
_LABELS = ((), (), (), ("victim",), ("TLP:AMBER",), ("tlp:clear",), ("other",))
_PLACES = (("alice", scene.POOL), ("alice", scene.ALICE_BOX), ("eve", scene.EVE_BOX), ("eve", scene.POOL),
           ("fred", scene.POOL), ("alice", scene.SECRET))  # fmt: skip
OBJECTS = 10


def acts_of(seed: int, audience: str, posts: int = 22) -> list[Act]:
    """What happened on the hub of this seed; `audience` posts a little, under ids of its own and of others."""
    random = Random(f"{seed}/{audience}")
    acts: list[Act] = []
    posted: dict[str, str] = {}
    versions: dict[tuple[str, str, str], int] = {}
    for number in range(posts):
        if number % 7 == 5:
            own = scene.indicator(f"own {number}", version=number % 3)
            copied = scene.email(f"user{random.randrange(OBJECTS)}@example.org", name=f"mine {number}")
            acts.append(Act(audience, scene.POOL, (own, copied)))
            continue
        submitter, into = random.choice([place for place in _PLACES if place[0] != audience])
        if number % 11 == 10 and posted:
            acts.append(_deletion(random, acts))
            continue
        values = []
        for _ in range(random.choice((1, 1, 2, 3))):
            value = _value(random, list(posted))
            key = (submitter, into, value["id"])
            if "modified" in value:
                # Each submitter goes on with its own versions, sometimes with an older one that comes late.
                version = versions.get(key, -1) + random.choice((1, 2))
                versions[key] = version
                value["modified"] = scene.time_of(version)
                value["name"] = f"{value['type']} by {submitter} v{version}"
            elif key in versions:
                continue
            versions.setdefault(key, 0)
            posted[value["id"]] = submitter
            values.append(value)
            if "modified" in value and random.random() < 0.15:
                # The same version in the older STIX, marked in its own way.
                marks = {"object_marking_refs": list(random.choice(_MARKS[2:]))}
                values.append({**value, "spec_version": "2.0", **marks})
        if values:
            unique = {(value["id"], value["spec_version"]): value for value in values}
            acts.append(Act(submitter, into, tuple(unique.values())))
    return acts


def _value(random: Random, ids: list[str]) -> Value:
    marks = random.choice(_MARKS)
    number = random.randrange(OBJECTS)
    some = random.sample(ids, min(len(ids), random.choice((1, 1, 2, 3))))
    kind = random.choice(("indicator", "malware", "identity", "email", "note", "report", "rel", "sighting", "lang",
                          "opinion", "observed", "account"))  # fmt: skip
    if not some and kind in ("note", "report", "rel", "sighting", "lang", "opinion", "observed", "account"):
        kind = "indicator"
    first = some[0] if some else ""
    made: Value
    if kind == "indicator":
        made = scene.indicator(number, *marks)
    elif kind == "malware":
        made = scene.malware(number, *marks)
        if random.random() < 0.7:
            made["confidence"] = random.choice((10, 49, 50, 90))
    elif kind == "identity":
        made = scene.thing("identity", number, *marks)
        made["identity_class"] = random.choice(("individual", "organization"))
    elif kind == "email":
        return scene.email(f"user{number}@example.org", *marks)
    elif kind == "account":
        return scene.email(f"holder{number}@example.org", *marks, belongs_to_ref=first)
    elif kind == "rel":
        made = scene.relationship(number, first, some[-1], *marks)
    elif kind == "sighting":
        made = scene.sighting(number, first, *marks, where=some if random.random() < 0.5 else None)
    elif kind == "lang":
        made = scene.translation(number, first, *marks)
    elif kind == "note":
        made = scene.note(number, some, *marks)
    elif kind == "opinion":
        made = scene.opinion(number, some, *marks)
    elif kind == "observed":
        made = scene.observed(number, some, *marks)
    else:
        made = scene.report(number, some, *marks)
    labels = random.choice(_LABELS)
    if labels:
        made["labels"] = list(labels)
    if random.random() < 0.1:
        made["revoked"] = True
    if random.random() < 0.15:
        part = random.choice((scene.RED, scene.AMBER, scene.CLEAR))
        made["granular_markings"] = [{"marking_ref": part, "selectors": ["name"]}]
    return made


def _deletion(random: Random, acts: list[Act]) -> Act:
    """Somebody deletes something of its own.

    Nothing that others speak of: what was hidden with it would come into sight, as late as it was deleted.
    """
    spoken_of = {each for act in acts for value in act.objects for each in model.refers(value)}
    deleted = {(act.partner, act.into, act.delete) for act in acts if act.delete}
    candidates = [
        Act(act.partner, act.into, delete=value["id"])
        for act in acts
        for value in act.objects
        if (act.partner, act.into, value["id"]) not in deleted and value["id"] not in spoken_of
    ]
    return random.choice(candidates)
