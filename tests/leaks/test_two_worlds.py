"""Two worlds: with and without what a partner may not read, every answer to that partner is the same byte for byte."""

from __future__ import annotations

import pytest

from tests.leaks import generator, questions, scene, worlds

AUDIENCES = ("bob", "carol", "dave", "eve", "fred")


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("seed", range(3))
def test_no_answer_depends_on_what_is_hidden(tmp_path, seed, audience):
    _hunt(worlds.build(tmp_path, generator.acts_of(seed, audience), audience))


@pytest.mark.parametrize(("seed", "audience"), [(7, "bob"), (8, "carol"), (9, "eve")])
def test_no_answer_depends_on_what_is_hidden_on_mongodb(tmp_path, mongo_database_urls, seed, audience):
    _hunt(worlds.build(tmp_path, generator.acts_of(seed, audience), audience, mongo_database_urls))


def _hunt(made):
    try:
        pair, facts = made.pair, made.facts
        _require_model(made)
        assert made.hidden, "a hub without anything hidden proves nothing"
        questions.ask_everything(pair, facts, worlds.COLLECTIONS_OF[pair.audience])
        questions.disturb(pair, facts, scene.POOL, made.hidden)
        for place in worlds.COLLECTIONS_OF[pair.audience]:
            questions.ask_pages(pair, place)
            questions.ask_objects(pair, place, facts)
        assert pair.asked > 300
    finally:
        made.pair.full.close()
        made.pair.bare.close()


def _require_model(made):
    """What the server delivers is what the plain model allows: neither world is right by accident."""
    audience = made.pair.audience
    allowed = {(e.id, e.value.get("modified")) for e in made.readable}
    for place in worlds.COLLECTIONS_OF[audience]:
        for id_, version in worlds.served(made.pair.full, audience, place):
            assert (id_, version) in allowed or (id_, None) in allowed, (id_, version)
    if audience in ("bob", "carol", "fred"):
        shown = {id_ for id_, _ in worlds.served(made.pair.full, audience, scene.VIEW)}
        assert shown == {entry.id for entry in made.readable}
