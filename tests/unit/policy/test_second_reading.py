"""Every decision compared with a second reading of the rules: over the raw object and the TOML, sentence by sentence.

The sentences are those of docs/policy.md, "Order of decision". Nothing of the engine is used but `parse` and `decide`.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from taxii_server.model import Removal, Traits
from taxii_server.policy import Meanings, parse
from taxii_server.tlp import TLP_2_IDS
from tests.unit.policy.conftest import HEAD
from tests.unit.policy.test_tighter import (
    GRANULAR,
    JUNE,
    MOMENTS,
    READERS,
    RULES,
    SEEDS,
    releases,
    rules_of,
    some_object,
)

LEVELS = ("clear", "green", "amber", "amber+strict", "red")
JUNE_TEXT = "2026-06-01T00:00:00Z"
#: Markings that origin, and nobody else, has posted: FIRST IEP 2.0 with dates, and one that hides who made it.
POSTED: dict[str, dict[str, str]] = {
    "marking-definition--1e900000-0000-4000-8000-000000000001": {"tlp": "green", "end_date": JUNE_TEXT},
    "marking-definition--1e900000-0000-4000-8000-000000000002": {"tlp": "green", "start_date": JUNE_TEXT},
    "marking-definition--1e900000-0000-4000-8000-000000000003": {"tlp": "clear", "attribution": "must-not"},
    "marking-definition--1e900000-0000-4000-8000-000000000004": {"tlp": "red", "end_date": JUNE_TEXT},
}
MEANINGS = Meanings.empty().with_posted(
    *(json.dumps({"submitter": "origin", "id": id_, "kind": "iep", **payload}) for id_, payload in POSTED.items())
)
UNMARKED = ("deny", "tlp:green", "tlp:red")
COLLECTION = '[collections]\nvendor = { unmarked = "tlp:amber" }\n'


def rank_of_default(text: str) -> int | None:
    return None if text == "deny" else LEVELS.index(text.removeprefix("tlp:"))


@dataclass(frozen=True)
class Marking:
    """What a marking says at a moment, read off the files and the posted payloads."""

    level: int | None = None
    rel_to: frozenset[str] | None = None
    rel_to_groups: frozenset[str] = frozenset()
    not_rel_to: frozenset[str] = frozenset()
    orcon: bool = False
    hides: bool = False
    hides_creator: bool = False


@dataclass(frozen=True)
class Reading:
    """One reader, one moment, one policy."""

    policy: dict[str, Any]
    name: str
    moment: int | None

    @property
    def reader(self) -> dict[str, Any]:
        return dict(self.policy["audience"][self.name])

    @property
    def groups(self) -> set[str]:
        found = set(self.reader.get("groups", ()))
        for group in [*found]:
            found.update(self.policy["groups"][group].get("within", ()))
        return found

    @property
    def countries(self) -> set[str]:
        return {*self.reader.get("countries", ()), *([self.reader["country"]] if "country" in self.reader else [])}

    def marking(self, id_: str, submitter: str) -> Marking:
        for level, known in TLP_2_IDS.items():
            if id_ == known:
                return Marking(LEVELS.index(level))
        if id_ in self.policy["markings"]:
            data = self.policy["markings"][id_]
            listed = "rel_to" in data or "rel_to_groups" in data
            return Marking(
                rel_to=frozenset(data.get("rel_to", ())) if listed else None,
                rel_to_groups=frozenset(data.get("rel_to_groups", ())),
                not_rel_to=frozenset(data.get("not_rel_to", ())),
                orcon=data.get("orcon", False),
            )
        if id_ not in POSTED or submitter != "origin":
            return Marking(hides=True)
        data = POSTED[id_]
        early = self.moment is not None and self.moment < JUNE
        over = "end_date" in data and self.moment is not None and not early
        return Marking(
            level=None if over else LEVELS.index(data["tlp"]),
            hides="start_date" in data and early,
            hides_creator=data.get("attribution") == "must-not",
        )

    def passes(self, marking: Marking, released: bool) -> bool:
        if marking.hides or (marking.level is not None and not self.reaches(marking.level, released)):
            return False
        in_list = marking.rel_to is None or (bool(self.countries) and self.countries <= marking.rel_to)
        if not in_list and not self.groups & marking.rel_to_groups:
            return False
        return not (self.countries & marking.not_rel_to) and (released or not marking.orcon)

    def reaches(self, level: int, released: bool) -> bool:
        return level <= LEVELS.index(self.reader["clearance"]) and (level < LEVELS.index("red") or released)

    def released(self, thing: Traits) -> bool:
        for each in self.policy.get("release", ()):
            begun = "not_before" not in each or self.moment is None or self.moment >= JUNE
            ended = "until" in each and self.moment is not None and self.moment >= JUNE
            named = self.name in each["to"].get("audience", ()) or self.groups & {*each["to"].get("group", ())}
            if each["by"] == thing.submitter and thing.id in each["objects"] and named and begun and not ended:
                return True
        return False

    def fits(self, rule: dict[str, Any], thing: Traits, level: int, *, grants: bool) -> bool:
        to = rule.get("to", {})
        if to.get("kind", self.reader["kind"]) != self.reader["kind"]:
            return False
        if "group" in to and to["group"] not in self.groups:
            return False
        if "not_country" in to:
            # One country that is excluded is enough to be granted nothing; denied is all that is not all in it.
            excluded = {to["not_country"]}
            inside = bool(self.countries & excluded) if grants else bool(self.countries) and self.countries <= excluded
            if inside:
                return False
        return self.is_what(rule.get("what", {}), thing, level)

    @staticmethod
    def is_what(what: dict[str, Any], thing: Traits, level: int) -> bool:
        levels = [what["tlp"]] if isinstance(what.get("tlp"), str) else what.get("tlp")
        return (
            ("label" not in what or what["label"] in thing.labels)
            and ("not_label" not in what or what["not_label"] not in thing.labels)
            and (levels is None or LEVELS[level] in levels)
            and ("by" not in what or what["by"] == thing.submitter)
        )

    def reads(self, thing: Traits, *, governs: bool = False) -> tuple[int, Removal] | None:
        """After which delay (µs) and without what; None: it does not."""
        # 1 and 2
        if self.reader.get("suspended"):
            return None
        if thing.submitter == self.name:
            return 0, Removal()
        # 4
        released = self.released(thing)
        markings = [self.marking(id_, thing.submitter) for id_ in thing.markings]
        if not all(self.passes(marking, released) for marking in markings):
            return None
        levels = [marking.level for marking in markings if marking.level is not None]
        if not levels:
            collection = self.policy["collections"].get(thing.collection, {})
            default = rank_of_default(collection.get("unmarked", self.policy["defaults"]["unmarked"]))
            if default is None:
                return None
            levels = [default]
        levels += [LEVELS.index(label.removeprefix("tlp:")) for label in thing.labels if label.startswith("tlp:")]
        level = max(levels)
        if not self.reaches(level, released):
            return None
        # 5
        for rule in self.policy.get("forbid", ()):
            unless = rule.get("unless", {})
            excused = unless.get("kind") == self.reader["kind"] or unless.get("label") in thing.labels
            if self.fits(rule, thing, level, grants=False) and not excused:
                return None
        # 7
        delay_us = 0
        for rule in self.policy.get("embargo", ()):
            if not self.fits(rule, thing, level, grants=False):
                continue
            if "until" in rule and (self.moment is None or self.moment < JUNE):
                return None
            if "delay" in rule and self.moment is None and not governs:
                return None
            if "delay" in rule:
                delay_us = max(delay_us, int(rule["delay"].removesuffix("h")) * 3_600_000_000)
        # 8
        if not any(self.fits(rule, thing, level, grants=True) for rule in self.policy.get("permit", ())):
            return None
        # 9 and 10
        removal = self.taken_out(thing, markings, level, released)
        return None if removal is None else (delay_us, removal)

    def taken_out(self, thing: Traits, markings: list[Marking], level: int, released: bool) -> Removal | None:
        """What no copy of it may hold; None: no copy can be made."""
        parts = {id_: self.marking(id_, thing.submitter) for id_ in thing.granular}
        unreadable = {id_ for id_, marking in parts.items() if not self.passes(marking, released)}
        properties: set[str] = set()
        creator = any(marking.hides_creator for marking in (*markings, *parts.values()))
        for rule in self.policy.get("strip", ()):
            if self.fits(rule, thing, level, grants=False):
                properties.update(name for name in rule.get("properties", ()) if name in thing.properties)
                creator = creator or rule.get("creator", False)
        creator = creator and thing.creator is not None
        if not (unreadable or properties or creator):
            return Removal()
        gone = unreadable | {id_ for id_, marking in parts.items() if marking.orcon}
        if (
            (gone and self.policy["defaults"]["granular"] == "hide")
            or any(marking.orcon for marking in markings)
            or gone & {*thing.firm_granular}
            or properties & {*thing.fixed_properties}
        ):
            return None
        return Removal(markings=frozenset(gone), properties=frozenset(properties), creator=creator)


def things(seed: int) -> Iterator[tuple[Traits, Traits | None, int | None]]:
    """Objects as in test_tighter, more of them unmarked or with markings that have dates; newer versions; moments."""
    random = Random(seed)

    def one() -> Traits:
        found = some_object(random)
        if random.random() < 0.4:
            dated = tuple(sorted({*random.sample(sorted(POSTED), random.choice([0, 1, 1, 2]))}))
            found = replace(found, markings=dated, collection=random.choice(["shared", "vendor"]))
        if random.random() < 0.2:
            found = replace(found, granular=tuple(sorted({*found.granular, random.choice(sorted(POSTED))})))
        return found

    for _ in range(50):
        first = one()
        newest = replace(one(), submitter=first.submitter) if random.random() < 0.2 else None
        yield first, newest, random.choice(MOMENTS)


SEARCH = settings(
    max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
met: Counter[str] = Counter()


def test_the_engine_decides_as_the_sentences_say():
    met.clear()
    compare()
    # Otherwise this would have compared nothing.
    assert all(met[outcome] > 50 for outcome in ("hide", "read", "copy", "delayed")), met


OPEN = '[[permit]]\nid = "open"\n'
LATE = '[[embargo]]\nid = "embargo10"\nwhat = { not_label = "a" }\ndelay = "1h"\n'
CUT = '[[strip]]\nid = "strip0"\nwhat = { not_label = "a" }\nproperties = ["x_a"]\n'


# With these alone each outcome comes about often enough; embargoes are rare among what is drawn.
@SEARCH
@example(OPEN + CUT, LATE, "", "derive", "tlp:green", 1)
@example(OPEN + CUT, LATE, "", "derive", "tlp:green", 2)
@example(OPEN + CUT, LATE, "", "derive", "tlp:green", 3)
@given(RULES, rules_of("embargo", 10, 2), releases(0, 2), GRANULAR, st.sampled_from(UNMARKED), SEEDS)
def compare(rules, embargo, released, granular, unmarked, seed):
    head = HEAD.replace(
        "schema = 1", f'schema = 1\n[defaults]\ngranular = "{granular}"\nunmarked = "{unmarked}"\n{COLLECTION}'
    )
    text = head + rules + embargo + released
    policy, raw = parse({"p": text}), tomllib.loads(text)
    for thing, newest, moment in things(seed):
        facets = policy.vocabulary.project(thing)
        governor = None if newest is None else policy.vocabulary.project(newest)
        for name in (*READERS, "off"):
            reading = Reading(raw, name, moment)
            expected = reading.reads(thing)
            if newest is not None and reading.reads(newest, governs=True) is None:
                expected = None
            decision = policy.decide(name, facets, MEANINGS, governor, None, moment)
            found = None if decision.verdict == "hide" else (decision.delay_us, decision.removal or Removal())
            assert found == expected, (name, moment, thing, newest, decision)
            met["hide" if expected is None else "copy" if expected[1] != Removal() else "read"] += 1
            met["delayed"] += expected is not None and expected[0] > 0
