"""Two worlds by hand: the ways in which hidden objects usually show, one story each, with every question asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.leaks import questions, worlds
from tests.leaks.hub import Act
from tests.leaks.scene import (
    ALICE_BOX,
    ALICE_ID,
    AMBER,
    CLEAR,
    EVE_BOX,
    GREEN,
    POOL,
    RED,
    REL_FR,
    SECRET,
    STRICT,
    email,
    id_of,
    indicator,
    malware,
    note,
    observed,
    opinion,
    relationship,
    report,
    sighting,
    statement,
    thing,
    translation,
)  # fmt: skip

X = id_of("indicator", "x")
M = "marking-definition--22222222-0000-4000-8000-000000000001"
ADDRESS = email("victim@example.org")["id"]


def _alice(*objects: Any, into: str = POOL) -> Act:
    return Act("alice", into, objects)


def _eve(*objects: Any, into: str = POOL) -> Act:
    return Act("eve", into, objects)


SEEN = [_alice(indicator(1, GREEN)), _eve(malware(2, CLEAR, confidence=90)), _alice(indicator(3, CLEAR))]

#: name -> what happened, for the audiences that must not notice. What is hidden follows from the model.
STORIES: dict[str, list[Act]] = {
    "a red object between two green ones": [SEEN[0], _alice(indicator("x", RED)), SEEN[1]],
    "a burst of red objects in one post": [SEEN[0], _alice(*(indicator(f"b{n}", RED) for n in range(60))), SEEN[1]],
    "red objects before, between and behind": [
        _alice(indicator("x", RED)), SEEN[0], _alice(indicator("y", RED)), SEEN[1], _alice(indicator("z", RED)),
    ],
    "a red first version and a green second": [
        _alice(indicator("x", RED)), SEEN[0], _alice(indicator("x", GREEN, version=1)),
    ],
    "a green first version and a red second that came first": [
        _alice(indicator("x", RED, version=2)), SEEN[0], _alice(indicator("x", RED, version=1)), SEEN[2],
    ],
    "another submitter's red version that is newer": [
        _alice(indicator("x", CLEAR)), _eve(indicator("x", RED, version=3)), SEEN[1],
    ],
    "another submitter's red version that is older": [
        _eve(indicator("x", RED)), _alice(indicator("x", CLEAR, version=3)), SEEN[1],
    ],
    "another submitter's red copy of the very version": [
        _eve(indicator("x", RED, name="other")), _alice(indicator("x", CLEAR)), SEEN[1],
    ],
    "a red copy in a collection that is out of sight": [
        _alice(indicator("y", CLEAR)), _alice(indicator("x", CLEAR), into=SECRET), SEEN[1],
    ],
    "a hidden forgery beside the rightful object": [
        _alice(indicator("x", CLEAR, created_by_ref=ALICE_ID)),
        _eve(indicator("x", RED, version=4, created_by_ref=ALICE_ID)),
    ],
    "a hidden rightful object beside what others posted of it": [
        _eve(indicator("x", CLEAR, created_by_ref=ALICE_ID)),
        _alice(indicator("x", RED, version=4, created_by_ref=ALICE_ID)),
    ],
    "everything that can speak about a red object": [
        _alice(indicator("x", RED)),
        _alice(indicator("y", CLEAR)),
        _eve(relationship(1, X, id_of("indicator", "y"), CLEAR)),
        _eve(relationship(2, id_of("indicator", "y"), X, CLEAR)),
        _alice(sighting(1, X, CLEAR), sighting(2, id_of("indicator", "y"), CLEAR, where=[X])),
        _eve(report(1, [id_of("indicator", "y"), X], CLEAR)),
        _alice(note(1, [id_of("indicator", "y"), X], CLEAR), opinion(1, [X], CLEAR)),
        _eve(translation(1, X, CLEAR)),
        _alice(observed(1, [X], CLEAR)),
        SEEN[2],
    ],
    "a chain of five steps to a red object": [
        _alice(indicator("x", RED)),
        _alice(relationship(1, X, X, CLEAR)),
        _eve(report(1, [id_of("relationship", 1)], CLEAR)),
        _alice(note(1, [id_of("report", 1)], CLEAR)),
        _eve(opinion(1, [id_of("note", 1)], CLEAR)),
        _alice(translation(1, id_of("opinion", 1), CLEAR)),
        SEEN[2],
    ],
    "what speaks about it comes before the red object": [
        _eve(report(1, [X], CLEAR)), SEEN[0], _alice(indicator("x", RED)), SEEN[2],
    ],
    "a report whose newest version speaks about a red object": [
        _alice(indicator("x", RED)), _eve(report(1, [id_of("indicator", 1)], CLEAR)), SEEN[0],
        _eve(report(1, [X], CLEAR, version=1)),
    ],
    "a long stretch of objects that speak about a red one": [
        _alice(indicator("x", RED)), SEEN[0], _eve(*(note(f"s{n}", [X], CLEAR) for n in range(40))), SEEN[1], SEEN[2],
    ],
    "an observable whose id gives it away": [
        _alice(email("victim@example.org", RED)),
        _eve(report(1, [ADDRESS], CLEAR), note(1, [ADDRESS], CLEAR)),
        _alice(email("holder@example.org", CLEAR, belongs_to_ref=ADDRESS)),
        SEEN[2],
    ],
    "the same observable from two partners, one of them red": [
        _alice(email("shared@example.org", RED)), _eve(email("shared@example.org", CLEAR)), SEEN[0],
    ],
    "posted, then deleted": [SEEN[0], _alice(indicator("x", RED)), Act("alice", POOL, delete=X), SEEN[2]],
    "a victim and what is said about it": [
        _alice(thing("identity", "v", CLEAR, labels=["Victim"], identity_class="organization")),
        _alice(sighting(1, id_of("indicator", 3), CLEAR, where=[id_of("identity", "v")])), SEEN[2],
    ],
    "markings of parts": [
        _alice(indicator("x", CLEAR, granular_markings=[{"marking_ref": RED, "selectors": ["name"]}])), SEEN[2],
    ],
    "released to some countries": [_alice(indicator("x", CLEAR, REL_FR)), _eve(note(1, [X], CLEAR)), SEEN[2]],
    "a definition that only hidden objects carry": [
        _alice(statement(M, "Operation Nightfall", CLEAR)), _alice(indicator("x", RED, M)), SEEN[2],
    ],
    "two STIX versions of one object, one of them red": [
        _alice({**indicator("x", CLEAR), "spec_version": "2.0"}), _alice(indicator("x", RED, version=1)), SEEN[2],
    ],
    "another STIX version of another submitter": [
        _alice({**indicator("x", CLEAR), "spec_version": "2.0"}), _eve(indicator("x", RED, version=1)), SEEN[2],
    ],
    "in a box that only a view shows": [
        _alice(indicator("x", STRICT), into=ALICE_BOX), _eve(indicator("y", AMBER), into=EVE_BOX), SEEN[0],
    ],
}  # fmt: skip

AUDIENCES = ("bob", "carol", "dave")


def _run(folder, acts: list[Act], audience: str, probe: Callable[[worlds.Worlds], None] | None = None, urls=None):
    made = worlds.build(folder, acts, audience, urls)
    try:
        if probe is not None:
            probe(made)
        place = worlds.COLLECTIONS_OF[audience][0]
        questions.ask_pages(made.pair, place)
        questions.ask_filters(made.pair, place, made.facts)
        questions.ask_objects(made.pair, place, made.facts)
        questions.disturb(made.pair, made.facts, POOL, made.hidden)
        questions.ask_pages(made.pair, place)
    finally:
        made.pair.full.close()
        made.pair.bare.close()


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("story", STORIES)
def test_nobody_notices(tmp_path, story, audience):
    _run(tmp_path, STORIES[story], audience)


@pytest.mark.parametrize(
    "story", ["everything that can speak about a red object", "a victim and what is said about it"]
)
def test_nobody_notices_on_mongodb(tmp_path, mongo_database_urls, story):
    _run(tmp_path, STORIES[story], "bob", urls=mongo_database_urls)


def test_a_guessed_id_that_is_posted_brings_nothing_to_light(tmp_path):
    """The ids of observables can be worked out: whoever posts a guess must not see what others say about it."""

    def guess(made: worlds.Worlds) -> None:
        made.pair.post(POOL, email("victim@example.org"), email("nobody@example.org"))
        for id_ in (id_of("report", 1), id_of("note", 1), email("holder@example.org")["id"]):
            assert made.pair.get(f"/api1/collections/{POOL}/objects/{id_}/").status == 404
            assert made.pair.ask("DELETE", f"/api1/collections/{POOL}/objects/{id_}/").status == 404
        made.pair.walk(f"/api1/collections/{POOL}/objects/", 2)

    _run(tmp_path, STORIES["an observable whose id gives it away"], "bob", guess)


def test_an_object_of_ones_own_opens_no_marking_definition(tmp_path):
    """Whoever knows the id of a marking can put it on an object of its own: its text stays hidden."""

    def carry(made: worlds.Worlds) -> None:
        made.pair.post(POOL, indicator("mine", CLEAR, M))
        assert made.pair.get(f"/api1/collections/{POOL}/objects/{M}/").status == 404

    _run(tmp_path, STORIES["a definition that only hidden objects carry"], "dave", carry)
