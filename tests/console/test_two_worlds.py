"""With and without what a partner may not read, every page for that partner is the same byte for byte."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import pytest

from taxii_server.web.console.session import Session
from tests.leaks import generator, scene, worlds
from tests.leaks.conftest import mongo_database_urls as mongo_database_urls
from tests.leaks.hub import LeakHub
from tests.world import new_id

HTML = {"Accept": "text/html"}


@pytest.mark.parametrize(("seed", "audience"), [(0, "bob"), (1, "carol"), (2, "eve")])
def test_no_page_depends_on_what_is_hidden(tmp_path, seed, audience):
    _look_everywhere(worlds.build(tmp_path, generator.acts_of(seed, audience), audience))


def test_no_page_depends_on_what_is_hidden_on_mongodb(tmp_path, mongo_database_urls):
    _look_everywhere(worlds.build(tmp_path, generator.acts_of(7, "bob"), "bob", mongo_database_urls), every=4)


def _look_everywhere(made, every=1):
    pair = made.pair
    try:
        assert made.hidden, "a hub without anything hidden proves nothing"
        for hub in (pair.full, pair.bare):
            _log_in(hub, pair.audience)
        shown = set()
        for path in list(_paths(made))[::every]:
            answer = pair.get(path, headers=HTML)
            shown.update(each.id for each in made.readable if each.id.encode() in answer.body)
            if answer.status == 200:
                assert b"Log out" in answer.body
        assert shown == {each.id for each in made.readable} or every > 1, "pages that show nothing prove nothing"
        assert shown
    finally:
        pair.full.close()
        pair.bare.close()


def _log_in(hub: LeakHub, partner: str) -> None:
    """The same session in both worlds, so that the tokens of the forms are the same."""
    sessions = hub.app.extensions["taxii_server.console"].extensions["console"].sessions
    begun = sessions.begin(hub.tokens[partner].split("_")[1])
    assert isinstance(begun, Session)
    hub.client.set_cookie("taxii-session", sessions.cookie(replace(begun, id="0" * 32)), path="/console")


def _paths(made):
    yield from ("/console/", "/console/search/", "/console/quarantine/", "/console/operator/partners/", "/console/x")
    everything = [*made.facts.ids, new_id(), new_id("malware")]
    for place in (scene.POOL, scene.VIEW, scene.EVE_BOX, scene.ALICE_BOX, scene.SECRET, scene.UNKNOWN):
        url = f"/console/api1/collections/{place}/"
        yield from (url, f"{url}objects/", f"{url}connect/", f"{url}objects/?type=indicator", f"{url}quarantine/x/")
        for id_ in everything if place in (scene.POOL, scene.VIEW) else everything[:4]:
            yield f"{url}objects/{id_}/"
    for text in [*everything, *made.facts.types, "a", "1", "indicates"]:
        yield f"/console/search/?q={quote(text)}"
    for type_ in made.facts.types:
        yield f"/console/search/?type={type_}"
