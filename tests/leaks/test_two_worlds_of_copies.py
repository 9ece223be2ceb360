"""Two worlds where objects are read in part, released, held back and granted: what is hidden, and what is taken out
of what is shown, changes no byte of any answer (policy design, C8 and NI-24).

What an audience may not read at all is not in the bare world. What it reads in part stands there with other words in
the parts that it does not get. Lists that lose some of their ids are left out: see generator_of_copies.py.
"""

from __future__ import annotations

import pytest

from tests.leaks import generator_of_copies, model_of_copies, questions, scene, worlds

AUDIENCES = ("bob", "carol", "dave", "eve", "fred")


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("seed", range(2))
def test_no_answer_depends_on_what_is_hidden_or_taken_out(tmp_path, seed, audience):
    _hunt(_build(tmp_path, seed, audience))


@pytest.mark.parametrize(("seed", "audience"), [(7, "bob")])
def test_no_answer_depends_on_what_is_hidden_or_taken_out_on_mongodb(tmp_path, mongo_database_urls, seed, audience):
    _hunt(_build(tmp_path, seed, audience, mongo_database_urls))


def _build(folder, seed, audience, urls=None):
    return worlds.build(
        folder,
        generator_of_copies.acts_of(seed, audience),
        audience,
        urls,
        generator_of_copies.TEXTS,
        model_of_copies.readable,
        generator_of_copies.other_secret,
    )


def _hunt(made):
    pair, facts = made.pair, made.facts
    audience = pair.audience
    try:
        assert made.hidden, "a hub without anything hidden proves nothing"
        parts = [entry for entry in made.readable if model_of_copies.removed(entry, audience)]
        assert parts, "a hub without anything read in part proves nothing"
        shown = _shown(pair)
        _require_model(made, shown)
        facts.ids = sorted({*facts.ids, *shown})
        for path in ("/taxii2/rights/", "/api1/releases/", "/api2/releases/", "/api1/releases/r0/"):
            pair.ask("GET", path)
        questions.ask_everything(pair, facts, worlds.COLLECTIONS_OF[audience])
        questions.disturb(pair, facts, scene.POOL, made.hidden)
        for place in worlds.COLLECTIONS_OF[audience]:
            questions.ask_pages(pair, place)
            questions.ask_objects(pair, place, facts)
    finally:
        pair.full.close()
        pair.bare.close()


def _shown(pair):
    """The ids that the audience gets, from both worlds."""
    found = set()
    for place in worlds.COLLECTIONS_OF[pair.audience]:
        query = "match[version]=all&match[spec_version]=2.0,2.1"
        for page in pair.walk(f"/api1/collections/{place}/manifest/?{query}", 50):
            found.update(entry["id"] for entry in page.json.get("objects", ()))
    return found


def _require_model(made, shown):
    """What is delivered is what the plain model allows, whole or in part."""
    audience = made.pair.audience
    originals = made.pair.full.store.aliases(shown)
    whole = {entry.id for entry in made.readable if not model_of_copies.removed(entry, audience)}
    assert {id_ for id_ in shown if id_ not in originals} <= whole
    here = {scene.POOL, scene.EVE_BOX} if audience == "eve" else {scene.POOL}
    expected = {e.id for e in made.readable if audience in ("bob", "carol", "fred") or e.into in here}
    assert {originals.get(id_, id_) for id_ in shown} == expected
