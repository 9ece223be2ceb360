"""Everything that a partner can ask a hub, as one walk over both worlds of a pair. Each answer has to be the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from taxii_server.times import format_position
from tests.leaks import scene
from tests.leaks.hub import Answer, Pair, Value

API = "/api1/collections"


@dataclass
class Facts:
    """What the questions are about: ids, types and versions of everything in the full world, hidden or not."""

    ids: list[str]
    hidden_ids: list[str]
    versions: list[str]
    types: list[str]
    #: positions of the full world, hidden ones included
    positions: list[int]
    #: numbers of the acts of the audience itself, and of others whose acts are in both worlds or in one
    own_acts: list[int] = field(default_factory=list)
    foreign_acts: list[int] = field(default_factory=list)


def ask_everything(pair: Pair, facts: Facts, collections: Sequence[str]) -> None:
    """All that only reads."""
    ask_around(pair)
    for place in collections:
        ask_pages(pair, place)
        ask_filters(pair, place, facts)
        ask_optional_filters(pair, place, facts)
        ask_positions(pair, place, facts)
        ask_objects(pair, place, facts)
    ask_statuses(pair, facts)


def ask_around(pair: Pair) -> None:
    """Discovery, roots, collections, and places that are hidden, unknown or asked in a wrong way."""
    for path in ("/taxii2/", "/api1/", "/api2/", "/api3/", f"{API}/", "/api2/collections/", "/nowhere/", "/api1/x/"):
        pair.ask("GET", path)
        pair.ask("HEAD", path)
    for place in (scene.SECRET, scene.SECRET_ALIAS, scene.UNKNOWN, scene.ELSEWHERE, scene.DROP, scene.ALICE_BOX):
        for end in ("", "objects/", "manifest/", f"objects/{scene.id_of('indicator', 1)}/", "objects/?limit=0"):
            pair.ask("GET", f"{API}/{place}/{end}")
        pair.post(place, scene.indicator("stray"))
        pair.ask("DELETE", f"{API}/{place}/objects/{scene.id_of('indicator', 1)}/")
    for method in ("PUT", "PATCH", "DELETE", "POST", "OPTIONS"):
        pair.ask(method, f"{API}/{scene.SECRET}/manifest/")
        pair.ask(method, f"{API}/{scene.POOL}/")
    pair.ask("GET", f"{API}/{scene.POOL}/objects/", headers={"Accept": "text/html"})
    pair.ask("GET", f"{API}/{scene.SECRET}/objects/", headers={"Accept": "text/html"})


def ask_pages(pair: Pair, place: str) -> None:
    """Full walks of objects and manifest, by `next` and by date, with several limits and all versions."""
    base = f"{API}/{place}"
    pair.ask("GET", f"{base}/")
    pair.ask("HEAD", f"{base}/objects/")
    pair.ask("GET", f"{base}/objects/", headers={"If-None-Match": "*", "Range": "bytes=0-9"})
    for limit in (1, 2, 5, 100):
        pair.walk(f"{base}/manifest/?match[version]=all", limit)
    pair.walk(f"{base}/objects/", 3)
    pair.walk_dates(f"{base}/objects/?match[version]=all", 2)
    pair.walk(f"{base}/manifest/?match[version]=first&match[spec_version]=2.0,2.1", 2)


def ask_filters(pair: Pair, place: str, facts: Facts) -> None:
    """Each filter, with hidden ids and versions among its values, and combinations."""
    ids, hidden = ",".join(facts.ids), ",".join(facts.hidden_ids[:8])
    types, versions = ",".join(facts.types), ",".join(facts.versions[:6])
    queries = [f"match[id]={ids}&match[version]=all", f"match[type]={types}", f"match[version]={versions}"]
    queries += [f"match[type]={type_}&match[version]=first" for type_ in facts.types]
    queries += [f"match[version]={version}" for version in facts.versions]
    queries += ["match[version]=first,last", "match[version]=first", f"match[version]=last,{facts.versions[0]}"]
    queries += [f"match[spec_version]={spec}&match[version]=all" for spec in ("2.0", "2.1", "2.0,2.1", "9.9")]
    if hidden:
        queries += [f"match[id]={hidden}&match[version]={choice}" for choice in ("first", "last", "all")]
        queries += [f"match[id]={hidden}&match[type]={types}&match[spec_version]=2.1"]
    queries += [f"match[id]={ids}&match[type]={facts.types[0]}&match[version]={versions}&limit=2"]
    for query in queries:
        pair.ask("GET", f"{API}/{place}/manifest/?{query}")
    for query in queries[:2]:
        pair.walk(f"{API}/{place}/objects/?{query}", 2)


def ask_optional_filters(pair: Pair, place: str, facts: Facts) -> None:
    """Each kind of optional filter, with values that only hidden objects and hidden parts have."""
    ids = ",".join([*facts.ids[:12], *facts.hidden_ids[:12]])
    names = ",".join(f"{type_} {number} v0" for type_ in ("indicator", "malware", "report") for number in range(6))
    queries = [f"match[name]={names}&match[version]=all", "match[pattern_type]=stix", "match[opinion]=agree"]
    queries += ["match[labels]=secret word,victim,warm,heron", "match[labels]=another word", "match[name]=another text"]
    queries += ["match[confidence-gte]=50", "match[confidence-lte]=49", "match[revoked]=true", "match[revoked]=false"]
    queries += ["match[tlp]=white,amber", "match[relationship_type]=derived-from", "match[value]=a@b.example"]
    queries += [f"match[relationships-all]={each}" for each in (scene.ALICE_ID, scene.RED, scene.AMBER, scene.REL_FR)]
    queries += [f"match[relationships-all]={each}" for each in facts.hidden_ids[:3]]
    queries += [
        "match[modified-gte]=2020-01-02T00:00:00Z&match[version]=all",
        "match[modified-lte]=2020-01-01T12:00:00Z",
    ]
    queries += [
        f"match[relationships-all]={ids}&match[type]={','.join(facts.types)}&limit=2",
        "match[valid_from-lte]=2020-01-01T00:00:00Z",
    ]
    queries += ["match[labels]=secret word&match[confidence-gte]=1&match[modified-gte]=2020-01-01T00:00:00Z"]
    for query in queries:
        pair.ask("GET", f"{API}/{place}/manifest/?{query}")
    pair.walk(f"{API}/{place}/objects/?match[relationships-all]={ids}", 2)
    for id_ in (*facts.ids[:3], *facts.hidden_ids[:2]):
        pair.ask("GET", f"{API}/{place}/objects/{id_}/?match[labels]=secret word")


def ask_positions(pair: Pair, place: str, facts: Facts) -> None:
    """added_after just before, at and behind every position, hidden ones included."""
    for position in facts.positions:
        for after in (position - 1, position):
            pair.ask("GET", f"{API}/{place}/manifest/?limit=1&added_after={format_position(after)}")
    for far in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        pair.ask("GET", f"{API}/{place}/objects/?limit=2&added_after={far}")


def ask_objects(pair: Pair, place: str, facts: Facts) -> None:
    """Each object and its versions by id."""
    for id_ in (*facts.ids, scene.id_of("indicator", "never posted"), "*", "indicator--1", "%00"):
        pair.ask("GET", f"{API}/{place}/objects/{id_}/?match[version]=all")
        pair.ask("GET", f"{API}/{place}/objects/{id_}/versions/?limit=1")
    for id_ in facts.hidden_ids:
        pair.ask("GET", f"{API}/{place}/objects/{id_}/?match[version]={facts.versions[0]}")
        pair.ask("GET", f"{API}/{place}/objects/{id_}/versions/?match[spec_version]=2.0")


def ask_statuses(pair: Pair, facts: Facts) -> None:
    """Own statuses, those of others (they are in one world only), and one that nobody has."""
    for number in facts.own_acts:
        pair.compare(
            f"own status of act {number}",
            lambda hub, number=number: hub.get(f"/api1/status/{hub.statuses[number]}/", pair.audience),
        )
    for number in facts.foreign_acts:
        foreign = pair.full.statuses[number]
        for root in ("api1", "api2"):
            assert pair.ask("GET", f"/{root}/status/{foreign}/").status == 404
    pair.ask("GET", f"/api1/status/{scene.UNKNOWN}/")


def disturb(pair: Pair, facts: Facts, place: str, values: dict[str, Value]) -> list[Answer]:
    """All that writes: posts that meet hidden objects, and deletions. Answers in order."""
    answers: list[Answer] = []
    for number, id_ in enumerate(facts.hidden_ids[:9]):
        value = values[id_]
        earlier = {**value, "name": "mine, older"}
        later = {**value, "name": "mine, newer"}
        if "modified" in value:
            earlier |= {"created": "2019-01-01T00:00:00.000Z", "modified": "2019-01-01T00:00:00.000Z"}
            later |= {"modified": "2021-01-01T00:00:00.000Z"}
        for mine in (value, {**value, "name": "mine"}, earlier, later):
            answers.append(pair.post(place, unmarked(mine)))
        answers.append(pair.ask("GET", f"{API}/{place}/objects/{id_}/versions/"))
        answers.append(pair.ask("DELETE", f"{API}/{place}/objects/{id_}/?match[version]=first"))
        if number % 2:
            continue  # own copies of hidden objects stay
        answers.append(pair.ask("DELETE", f"{API}/{place}/objects/{id_}/"))
        answers.append(pair.ask("DELETE", f"{API}/{place}/objects/{id_}/"))
    some = facts.hidden_ids[:4]
    if some:
        stray = scene.id_of("indicator", "nobody's")
        answers.append(pair.post(place, scene.report("probe", [*some, stray]), scene.note("probe", some)))
        answers.append(pair.post(place, scene.relationship("probe", some[0], stray), scene.sighting("probe", some[0])))
        answers.append(pair.post(place, scene.report("probe", [*some, stray])))
    for id_ in facts.ids:
        if id_ not in facts.hidden_ids:
            answers.append(pair.ask("DELETE", f"{API}/{place}/objects/{id_}/?match[version]=2000-01-01T00:00:00Z"))
    answers.append(pair.ask("DELETE", f"{API}/{place}/objects/{scene.id_of('indicator', 'never posted')}/"))
    return answers


def unmarked(value: Value) -> Value:
    """The same without markings."""
    return {name: member for name, member in value.items() if name not in ("object_marking_refs", "granular_markings")}


def facts_of(values: Sequence[Value], hidden: Sequence[Value], positions: Sequence[int], **more: Any) -> Facts:
    """The facts about these objects, of which some are hidden."""
    hidden_ids = sorted({value["id"] for value in hidden})
    versions = sorted({value["modified"] for value in values if "modified" in value})
    return Facts(
        ids=sorted({value["id"] for value in values}),
        hidden_ids=hidden_ids,
        versions=versions,
        types=sorted({value["type"] for value in values}),
        positions=sorted(positions),
        **more,
    )
