"""The optional filters said a second time, as plainly as can be, and objects and filters made at random."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any

from taxii_server.tlp import TLP_2_IDS

Value = dict[str, Any]
#: name of a filter -> its values, as in a query
Asked = Mapping[str, Sequence[str]]

WHITE = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"
GREEN = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
AMBER = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
RED = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
TLP = {"white": WHITE, "green": GREEN, "amber": AMBER, "red": RED}

TIER_1 = [
    "account_type",
    "confidence",
    "context",
    "data_type",
    "dst_port",
    "encryption_algorithm",
    "identity_class",
    "name",
    "number",
    "opinion",
    "pattern",
    "pattern_type",
    "primary_motivation",
    "region",
    "relationship_type",
    "resource_level",
    "result",
    "revoked",
    "src_port",
    "sophistication",
    "subject",
    "value",
]
TIER_2 = [
    "aliases",
    "architecture_execution_envs",
    "capabilities",
    "extension_types",
    "implementation_languages",
    "indicator_types",
    "infrastructure_types",
    "labels",
    "malware_types",
    "personal_motivations",
    "report_types",
    "roles",
    "secondary_motivations",
    "sectors",
    "threat_actor_types",
    "tool_types",
]
TIER_3 = [
    "address_family",
    "external_id",
    "MD5",
    "SHA-1",
    "SHA-256",
    "SHA-512",
    "SHA3-256",
    "SHA3-512",
    "SSDEEP",
    "TLSH",
    "integrity_level",
    "pe_type",
    "phase_name",
    "service_status",
    "service_type",
    "socket_type",
    "source_name",
    "start_type",
    "tlp",
]
CALCULATIONS = [
    "confidence-gte",
    "confidence-lte",
    "modified-gte",
    "modified-lte",
    "number-gte",
    "number-lte",
    "src_port-gte",
    "src_port-lte",
    "dst_port-gte",
    "dst_port-lte",
    "valid_until-gte",
    "valid_from-lte",
]
EVERY_NAME = [*TIER_1, *TIER_2, *TIER_3, "relationships-all", *CALCULATIONS]
NUMBERS = ("confidence", "number", "src_port", "dst_port")


def fits(value: Value, asked: Asked) -> bool:
    """Whether the object fits all of the filters."""
    return all(any(_fits(value, name, text) for text in texts) for name, texts in asked.items())


def _fits(value: Value, name: str, text: str) -> bool:
    if name == "revoked":
        return str(value.get("revoked", False)).lower() == text
    if name == "tlp":
        parts = [part.get("marking_ref") for part in value.get("granular_markings", ())]
        return TLP[text] in [*value.get("object_marking_refs", ()), *parts]
    if name == "relationships-all":
        return text in _references(value)
    if name in CALCULATIONS:
        name, _, sign = name.partition("-")
        if name not in value:
            return False
        read: Any = int if name in NUMBERS else datetime.fromisoformat
        left, right = read(value[name]), read(text)
        return bool(left >= right if sign == "gte" else left <= right)
    if name in NUMBERS:
        return name in value and value[name] == int(text)
    if name in TIER_3:
        return any(found == (name, text) for found in _inside(value))
    return text in value[name] if isinstance(value.get(name), list) else value.get(name) == text


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield name, member
            yield from _inside(member)
    elif isinstance(value, list):
        for member in value:
            yield from _inside(member)


def _references(value: Any) -> list[str]:
    found: list[str] = []
    for name, member in _inside(value):
        if name.endswith("_ref"):
            found.append(member)
        elif name.endswith("_refs"):
            found += member
    return found


# ---- at random


class Making:
    """Objects of all kinds that the filters speak of, which refer to each other. Few values, so that filters fit."""

    def __init__(self, seed: int, creators: Sequence[str] = ()) -> None:
        self.random = Random(seed)
        self.creators = creators
        self.ids: list[str] = []
        self.made: list[Value] = []

    def objects(self, count: int) -> list[Value]:
        """So many, some of them later versions of others."""
        for _ in range(count):
            self.made.append(self._later() if self.made and self.random.random() < 0.15 else self._new())
        return self.made

    def asked(self, random: Random) -> Asked:
        """One to three filters, mostly with values that occur."""
        names = random.sample(EVERY_NAME, random.choice((1, 1, 1, 2, 2, 3)))
        return {name: sorted({self._text(random, name) for _ in range(random.choice((1, 1, 2, 3)))}) for name in names}

    def _text(self, random: Random, name: str) -> str:
        if name == "revoked":
            return random.choice(("true", "false"))
        if name == "tlp":
            return random.choice(list(TLP))
        if name == "relationships-all":
            return random.choice([*self.ids, *self.creators, GREEN, AMBER, TLP_2_IDS["green"]])
        if name == "relationship_type":
            return random.choice(("uses", "derived-from", "indicates"))
        if name.partition("-")[0] in NUMBERS:
            return str(random.choice((0, 5, 30, 50, 80, 443, 8080, 65535, 70000)))
        if name in CALCULATIONS:
            return random.choice(_TIMES)
        return random.choice(_WORDS)

    def _later(self) -> Value:
        earlier = self.random.choice(self.made)
        if "modified" not in earlier:
            return self._new()
        return {**self._new(earlier["type"], earlier["id"]), "modified": self.random.choice(_TIMES[1:])}

    def _new(self, type_: str | None = None, id_: str | None = None) -> Value:
        random = self.random
        type_ = type_ or random.choice((*_KINDS, *_OBSERVABLES))
        id_ = id_ or f"{type_}--{uuid.UUID(int=random.getrandbits(128), version=4)}"
        value: Value = {"type": type_, "spec_version": "2.1", "id": id_}
        self.ids.append(id_)
        value["labels"] = random.sample(_WORDS, random.choice((1, 1, 2)))
        value |= {name: self._member(name) for name in random.sample([*TIER_1, *TIER_2], 6)}
        if type_ in _KINDS:
            value |= {"created": "2010-01-01T00:00:00.000Z", "modified": random.choice(_TIMES[1:])}
            if random.random() < 0.5 and self.creators:
                value["created_by_ref"] = random.choice(self.creators)
            value["external_references"] = [
                {name: random.choice(_WORDS) for name in ("source_name", "external_id")}
                | {"hashes": {"MD5": random.choice(_WORDS)}}
                for _ in range(random.randrange(3))
            ] or [{"source_name": "a"}]
            if random.random() < 0.4:
                value["kill_chain_phases"] = [{"kill_chain_name": "k", "phase_name": random.choice(_WORDS)}]
        value |= self._special(type_)
        if random.random() < 0.4:
            value["hashes"] = {name: random.choice(_WORDS) for name in random.sample(_HASHES, 3)}
        if random.random() < 0.4:
            members = {name: random.choice(_WORDS) for name in random.sample(_IN_EXTENSIONS, 3)}
            value["extensions"] = {"windows-service-ext": members}
        value["object_marking_refs"] = [random.choice((WHITE, GREEN, GREEN, GREEN, AMBER, TLP_2_IDS["green"]))]
        if random.random() < 0.4:
            value["granular_markings"] = self._parts(value)
        if random.random() < 0.3:
            value["x_ticket"] = {"some_ref": self._other(), "external_id": "not asked for here"}
        return value

    def _member(self, name: str) -> Any:
        random = self.random
        if name in TIER_2:
            return random.sample(_WORDS, 2)
        if name == "confidence":
            return random.choice((0, 5, 30, 50, 80))
        if name in NUMBERS:
            return random.choice((0, 50, 80, 443, 8080, 65535))
        return random.random() < 0.5 if name == "revoked" else random.choice(_WORDS)

    def _special(self, type_: str) -> Value:
        random = self.random
        if type_ == "relationship":
            kind = random.choice(("uses", "indicates"))
            return {"source_ref": self._other(), "target_ref": self._other(), "relationship_type": kind}
        if type_ == "report":
            return {"object_refs": sorted({self._other() for _ in range(3)}), "published": "2018-01-01T00:00:00.000Z"}
        if type_ == "indicator":
            until = {"valid_until": random.choice(_TIMES[1:])} if random.random() < 0.5 else {}
            return {"valid_from": random.choice(_TIMES[:-1]), "pattern": "[a:b = 1]", **until}
        return {}

    def _other(self) -> str:
        return self.random.choice([*self.ids, *self.creators] or ["identity--00000000-0000-4000-8000-000000000000"])

    def _parts(self, value: Value) -> list[Value]:
        random = self.random
        some = (*TIER_1, *TIER_2, "external_references", "kill_chain_phases", "hashes")
        whole = [name for name in value if name in some]
        inside = [f"external_references.[0]{end}" for end in ("", ".source_name") if "external_references" in value]
        marked = random.sample([*whole, *inside], min(2, len(whole)))
        return [{"marking_ref": random.choice((GREEN, AMBER, RED)), "selectors": [name]} for name in marked]


_KINDS = ("indicator", "malware", "report", "report", "relationship", "identity", "threat-actor")
_OBSERVABLES = ("file", "network-traffic", "autonomous-system", "ipv4-addr", "process")
_HASHES = ("SHA-1", "SHA-256", "SHA-512", "SHA3-256", "SHA3-512", "SSDEEP", "TLSH")
_IN_EXTENSIONS = (
    "address_family",
    "integrity_level",
    "pe_type",
    "service_status",
    "service_type",
    "socket_type",
    "start_type",
)
_WORDS = ["a", "b", "c", "uses", "x y", "é"]
_TIMES = [
    "1960-01-01T00:00:00.000Z",
    "2015-06-01T12:00:00.000Z",
    "2020-01-01T00:00:00.000Z",
    "2020-01-01T00:00:00.001Z",
    "2020-01-03T00:00:00Z",
    "2024-02-29T23:59:59.999999Z",
    "2060-01-01T00:00:00.000Z",
]
